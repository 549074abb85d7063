"""containerd with minictr below it, told what to do by ctr."""

import pytest
from daemons import judged
from support import needs, wait_until

pytestmark = needs("root", "containerd", "runc", "busybox")


@pytest.fixture
def engine(containerd):
    yield containerd
    containerd.clear()


def status(engine, name):
    """What `ctr task ls` says of a task: RUNNING and so on, "" of none."""
    rows = [line.split() for line in engine("task", "ls").ok.lines]
    return "".join([row[2] for row in rows if row[0] == name])


def test_a_program_runs_and_its_output_and_status_come_back(engine):
    found = engine.run("one", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (found.status, found.out) == (7, "out\n")
    assert "err\n" in found.err


@pytest.mark.parametrize(
    "program, words",
    [
        ("no-such-program", 'exec: "no-such-program": executable file not found in $PATH'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ],
)
@judged
def test_what_cannot_run_is_told(engine, program, words):
    found = engine.run("one", program)
    assert found.status != 0
    assert "OCI runtime create failed: " in found.err
    assert words in found.err


@judged
def test_a_terminal_is_the_containers_own(engine):
    live = engine.start("run", "--rm", "--tty", *engine.options(), engine.root, "one", "sh", tty=True)
    live.send("tty; exit 3\n")
    live.expect("/dev/pts/0")
    assert live.wait().status == 3


@judged
def test_limits_are_set_and_counted(engine):
    options = ("--memory-limit", "67108864", "--cpus", "0.5")
    engine.box("one", "sleep", "1000", options=options)
    found = engine("task", "metrics", "one").ok.out
    assert "memory" in found, found


@judged
def test_a_task_is_listed_paused_resumed_and_killed(engine):
    engine.box("one", "sleep", "1000")
    assert status(engine, "one") == "RUNNING"
    engine("task", "pause", "one").ok
    assert status(engine, "one") == "PAUSED"
    engine("task", "resume", "one").ok
    assert status(engine, "one") == "RUNNING"
    engine("task", "kill", "--signal", "SIGKILL", "one").ok
    wait_until(lambda: status(engine, "one") == "STOPPED")
    engine("task", "kill", "one")
    engine("task", "delete", "one")
    engine("container", "delete", "one").ok
    assert engine("container", "ls", "--quiet").ok.out == ""


@judged
def test_programs_are_executed_in_a_task_and_listed(engine):
    engine.box("one", "sleep", "1000")
    found = engine("task", "exec", "--exec-id", "a", "one", "sh", "-c", "echo in; exit 4")
    assert (found.status, found.out) == (4, "in\n")
    assert len(engine("task", "ps", "one").ok.lines) == 2
    found = engine("task", "exec", "--exec-id", "b", "one", "no-such")
    assert found.status != 0
    assert 'exec: "no-such": executable file not found in $PATH' in found.err
    live = engine.start("task", "exec", "--tty", "--exec-id", "c", "one", "sh", tty=True)
    live.send("tty; exit 9\n")
    live.expect("/dev/pts/")
    assert live.wait().status == 9


@judged
def test_many_come_and_go(engine):
    lives = [engine.start("run", "--rm", *engine.options(), engine.root, "n%d" % n, "true") for n in range(8)]
    assert [live.wait().status for live in lives] == [0] * 8
    assert engine("container", "ls", "--quiet").ok.out == ""
