"""`run`: names, detached containers, their files, --init, --timeout, --keep."""

import json
import os
import select
import signal
import time

import pytest
from support import gone, needs, wait_until

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")


@pytest.fixture
def inside(minictr, strong_caller, busybox_root):
    """Runs a script in a read-only busybox root with options of run; the Result. start: not waited for."""

    def words(script, options):
        return list(options) + ["--read-only", "--rootfs", busybox_root, "--", "sh", "-c", script]

    def run(script, *options, **more):
        return minictr("run", *words(script, options), **dict(strong_caller.options, **more))

    def start(script, *options, **more):
        return minictr.start("run", *words(script, options), **dict(strong_caller.options, **more))

    run.start, run.caller, run.root = start, strong_caller, busybox_root
    run.verb = lambda *argv: minictr(*argv, **strong_caller.options)
    return run


@pytest.fixture
def place(inside, tmp_path):
    """A directory that the caller can write to."""
    if inside.caller.account:
        os.chown(str(tmp_path), inside.caller.account.uid, inside.caller.account.gid)
    return str(tmp_path)


def read(path):
    with open(path) as file:
        return file.read()


# --- names --------------------------------------------------------------------------------------


def test_the_name_is_the_id(inside):
    live = inside.start("echo ready; cat", "--name", "a_b-1.x+y")
    live.expect("ready")

    assert inside.verb("list", "--quiet").ok.out == "a_b-1.x+y\n"
    live.close_input()
    assert live.wait().ok
    assert inside.verb("list", "--quiet").ok.out == ""


def test_a_name_that_is_taken_is_refused_and_the_other_lives_on(inside):
    live = inside.start("echo ready; cat", "--name", "one")
    live.expect("ready")
    run = inside("true", "--name", "one")

    assert (run.status, run.out) == (125, "")
    assert run.err.startswith("minictr: create container one: container with id exists")
    assert inside.verb("state", "--quiet", "one").status == 0
    live.close_input()
    assert live.wait().ok


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a b", "x" * 248, "-x", "\u00e4"])
def test_a_name_that_is_none(inside, name):
    run = inside("true", "--name=" + name)

    if name == "-x":  # legal, if odd: runc has it too
        assert run.status == 0
    else:
        assert (run.status, run.out) == (125, "")
        assert run.err.startswith("minictr: --name") and run.err.count("\n") == 1


def test_the_longest_name_is_one(inside):
    assert inside("true", "--name", "x" * 247).status == 0


# --- detached -----------------------------------------------------------------------------------


def test_a_detached_container_lives_on_and_its_id_is_printed(inside, place):
    pid_file, log = place + "/pid", place + "/log"
    script = "echo out; echo err >&2; read line; echo read $?; sleep 1000"
    run = inside(
        script, "-d", "--name", "live", "--pid-file", pid_file, "--log-file", log, stdin="not for it\n"
    )

    assert run.ok.out == "live\n"
    pid = int(read(pid_file))
    wait_until(lambda: read(log) == "out\nerr\nread 1\n")  # its standard input is empty
    state = json.loads(inside.verb("state", "live").ok.out)
    assert (state["status"], state["pid"]) == ("running", pid)
    assert os.stat(log).st_mode & 0o077 in (0o040, 0)
    assert inside.verb("kill", "live", "KILL").ok
    wait_until(lambda: gone(pid))
    assert json.loads(inside.verb("state", "live").ok.out)["status"] == "stopped"
    assert inside.verb("delete", "live").ok


def test_the_id_of_a_container_that_was_only_created_is_printed_too(inside):
    created = inside.verb("create", "--read-only", "--rootfs", inside.root, "--", "true").ok
    assert created.out == inside.verb("list", "--quiet").ok.out != ""
    assert inside.verb("delete", "--force", created.out.strip()).ok


def test_a_log_file_is_added_to(inside, place):
    log = place + "/log"
    for word in ("one", "two"):
        assert inside("echo %s" % word, "--log-file", log).ok

    assert read(log) == "one\ntwo\n"


def test_a_detached_container_holds_nothing_of_the_caller(inside):
    """A pipe that it held open would keep `x=$(minictr run -d ...)` waiting."""
    live = inside.start("exec sleep 1000", "-d", "--name", "quiet")
    end = time.monotonic() + 20
    while live.ends and time.monotonic() < end:
        live.read(0.1)

    assert live.ends == []
    assert (live.wait().status, live.out) == (0, b"quiet\n")
    assert inside.verb("delete", "--force", "quiet").ok


def test_a_program_that_cannot_be_run_is_no_detached_container(inside, place):
    run = inside("true", "-d", "--name", "none", "--pid-file", place + "/pid", "-w", "/proc/nowhere")
    assert run.status == 125
    assert os.listdir(place) == []
    assert inside.verb("list", "--quiet").ok.out == ""


def test_the_pid_file_is_there_when_the_program_runs(inside, place):
    live = inside.start("echo ready; cat", "--pid-file", place + "/pid")
    live.expect("ready")

    assert not gone(int(read(place + "/pid")))
    assert os.listdir(place) == ["pid"]
    live.close_input()
    assert live.wait().ok


def test_the_id_is_in_a_new_file_when_the_program_runs(inside, place):
    live = inside.start("echo ready; cat", "--cidfile", place + "/id", "--name", "mine")
    live.expect("ready")

    assert read(place + "/id") == "mine"
    again = inside("true", "--cidfile", place + "/id", "--pid-file", place + "/pid")
    assert (again.status, again.out) == (125, "")
    assert (
        "write the id file %s/id: File exists; hint: it may be that of a container that runs" % place
        in again.err
    )
    assert (read(place + "/id"), os.listdir(place)) == ("mine", ["id"])
    live.close_input()
    assert live.wait().ok


def test_who_does_not_run_has_no_file_with_its_id(inside, place):
    files = ("--cidfile", place + "/id", "--pid-file")
    assert inside("true", *files + (place + "/pid", "-w", "/proc/nowhere")).status == 125
    assert inside("true", *files + (place + "/no/pid",)).status == 125
    assert os.listdir(place) == []


@pytest.mark.parametrize("option", ["--pid-file", "--cidfile", "--log-file"])
def test_without_the_file_that_was_asked_for_the_program_does_not_run(
    minictr, strong_caller, busybox_copy, option
):
    root = strong_caller.owns(busybox_copy)
    run = minictr(
        "run", option, "/proc/no/such/file", "--rootfs", root, "--", "touch", "/ran", **strong_caller.options
    )

    assert (run.status, run.out) == (125, "")
    assert run.err.startswith("minictr: ") and run.err.count("\n") == 1
    assert not os.path.exists(root + "/ran")


@pytest.mark.parametrize("options", [(), ("--rm",)], ids=["-", "--rm"])
def test_nothing_is_kept_of_a_container_that_has_ended(inside, options):
    assert inside("exit 3", "--name", "gone", *options).status == 3
    assert inside.verb("list", "--quiet").ok.out == ""


# --- --init -------------------------------------------------------------------------------------


def test_init_reaps_orphans(inside):
    orphan = "sh -c 'sleep 0.1 & echo $! >/dev/shm/pid'"
    script = orphan + "; pid=$(cat /dev/shm/pid); while [ -e /proc/$pid ]; do sleep 0.05; done; echo reaped"

    assert inside(script, "--init").ok.out == "reaped\n"


def test_with_init_the_program_is_not_process_1(inside):
    assert inside("echo $$", "--init").ok.out == "2\n"
    assert inside("echo $$").ok.out == "1\n"


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -6 $$", 134)]
)
def test_init_hands_on_the_exit_status(inside, script, status):
    run = inside(script, "--init")

    assert (run.status, run.err) == (status, "")


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH, signal.SIGRTMIN + 3]
)
def test_init_forwards_signals(inside, number):
    script = "trap 'echo got; exit 9' %d; echo ready; while :; do sleep 0.05; done" % number
    live = inside.start(script, "--init")
    live.expect("ready\n")
    live.signal(number)
    live.expect("got\n")

    assert live.wait().status == 9


def test_with_init_even_a_signal_that_has_no_handler_ends_the_program(inside):
    """Process 1 is spared those; a program below it is not."""
    live = inside.start("echo ready; sleep 1000", "--init")
    live.expect("ready\n")
    live.signal(signal.SIGTERM)

    assert live.wait().status == 128 + signal.SIGTERM


@needs("seccomp")
@pytest.mark.parametrize("call", ["kill", "rt_sigtimedwait", "setpgid", "wait4"])
def test_what_init_needs_and_the_filter_refuses_is_told(inside, tmp_path, call):
    """Process 1 ended without a word, and the program with it, where it did not hand on signals."""
    refused = {"names": [call], "action": "SCMP_ACT_ERRNO"}
    (tmp_path / "filter").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]}))
    run = inside("exit 3", "--init", "--security-opt", "seccomp=%s" % (tmp_path / "filter"))

    what = "make a process group of its own for the program" if call == "setpgid" else "keep a process 1"
    assert (run.status, run.out) == (125, "") and run.err.startswith("minictr: %s" % what), run
    hint = "its filter of system calls must allow kill, rt_sigtimedwait, setpgid and wait4\n"
    assert run.err.endswith(" (--init): Operation not permitted; hint: " + hint), run


def test_init_keeps_no_descriptor_of_the_programs_open(inside):
    reader, writer = os.pipe()
    options = ("--init", "-d", "--name", "box", "--preserve-fds", "1")
    try:
        script = "exec 3>&-; exec sleep 1000"
        assert inside(script, *options, setup=lambda: os.dup2(writer, 3), pass_fds=(3,)).status == 0
        os.close(writer)
        assert select.select([reader], [], [], 10)[0] and os.read(reader, 1) == b""
    finally:
        os.close(reader)
        inside.verb("delete", "--force", "box")


def test_when_the_program_ends_what_it_left_running_ends_too(inside):
    live = inside.start("sleep 1000 & sleep 2000 & echo ready; cat", "--init")
    live.expect("ready")
    live.close_input()

    assert live.wait().ok  # and nothing is left: the fixture looks


# --- --timeout, --keep, --stop-signal -----------------------------------------------------------


def test_a_container_is_killed_after_its_time(inside):
    run = inside("trap '' TERM; echo ready; sleep 1000", "--timeout", "0.5")

    assert (run.status, run.out, run.err) == (137, "ready\n", "")
    assert 0.5 <= run.seconds < 10


def test_a_container_that_ends_in_time_is_not(inside):
    assert inside("exit 4", "--timeout", "30").status == 4


def test_a_timeout_needs_somebody_to_watch(inside):
    run = inside("true", "-d", "--timeout", "5")

    assert (run.status, run.out) == (125, "")
    assert run.err.count("\n") == 1


def test_the_state_is_kept_where_that_is_asked_for(inside):
    assert inside("exit 3", "--keep", "--name", "kept").status == 3

    assert json.loads(inside.verb("state", "kept").ok.out)["status"] == "stopped"
    assert inside.verb("delete", "kept").ok


@pytest.mark.parametrize(("word", "number"), [("INT", 2), ("SIGUSR1", 10), ("RTMIN+3", 37), ("15", 15)])
def test_stop_sends_the_signal_that_run_was_told(inside, place, word, number):
    script = "trap 'echo got %d; exit' %d; echo ready; while :; do sleep 0.05; done" % (number, number)
    log = place + "/log"
    assert inside(script, "-d", "--name", "it", "--stop-signal", word, "--log-file", log).ok
    wait_until(lambda: "ready" in read(log))
    assert inside.verb("stop", "it").ok

    assert read(log) == "ready\ngot %d\n" % number
    assert inside.verb("delete", "it").ok
