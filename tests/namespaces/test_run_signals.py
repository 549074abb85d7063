"""`run`: signals that reach the runtime, and the death of any of its processes."""

import os
import signal
import time

import pytest
import support
from support import children, gone, needs, wait_until

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")


def cgroups_of(name):
    """The cgroups whose names say that they are container NAME's."""
    found = []
    for _, point in support.cgroup_mounts():
        for folder, directories, _ in os.walk(point):
            found += [os.path.join(folder, directory) for directory in directories if name in directory]
    return found


@pytest.fixture
def start(minictr, strong_caller, busybox_root):
    """Starts a script in a container with options of run."""

    def start(script, *options, **more):
        words = list(options) + ["--read-only", "--rootfs", busybox_root, "--", "sh", "-c", script]
        return minictr.start("run", *words, **dict(strong_caller.options, **more))

    start.caller = strong_caller
    start.verb = lambda *argv: minictr(*argv, **strong_caller.options)
    return start


# --- forwarding ---------------------------------------------------------------------------------

FORWARDED = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH", "ALRM", "CONT", "URG", "IO", "PWR")


@pytest.mark.parametrize("name", FORWARDED)
def test_a_signal_is_forwarded(start, name):
    live = start("trap 'echo got; exit 9' %s; echo ready; while :; do sleep 0.02; done" % name)
    live.expect("ready\n")
    live.signal(getattr(signal, "SIG" + name))
    live.expect("got\n")

    assert live.wait() == (9, "ready\ngot\n", "")


@pytest.mark.parametrize("number", [signal.SIGRTMIN, signal.SIGRTMIN + 5, signal.SIGRTMAX])
def test_a_real_time_signal_is_forwarded(start, number):
    live = start("trap 'echo got; exit 9' %d; echo ready; while :; do sleep 0.02; done" % number)
    live.expect("ready\n")
    live.signal(number)

    assert live.wait() == (9, "ready\ngot\n", "")


@pytest.mark.parametrize("options", [(), ("--timeout", "20")], ids=["young", "with a timeout"])
def test_a_runtime_that_was_stopped_for_a_while_goes_on(start, options):
    live = start("trap 'exit 9' USR1; echo ready; while :; do sleep 0.02; done", *options)
    live.expect("ready\n")
    for _ in range(2):
        live.signal(signal.SIGSTOP)
        time.sleep(0.5)
        live.signal(signal.SIGCONT)
    time.sleep(0.1)
    live.signal(signal.SIGUSR1)

    assert live.wait() == (9, "ready\n", "")


def test_many_signals_are_forwarded_one_after_the_other(start):
    live = start("trap 'echo one' USR1; trap 'echo two; exit' USR2; echo ready; while :; do sleep 0.02; done")
    live.expect("ready\n")
    for count in range(1, 6):
        live.signal(signal.SIGUSR1)
        live.expect("one\n" * count)
    live.signal(signal.SIGUSR2)

    assert live.wait() == (0, "ready\n" + "one\n" * 5 + "two\n", "")


def test_a_signal_that_process_1_does_not_handle_is_as_on_any_machine_without_effect(start):
    live = start("echo ready; cat; echo done")
    live.expect("ready\n")
    live.signal(signal.SIGTERM)
    live.close_input()

    assert live.wait() == (0, "ready\ndone\n", "")


def test_a_signal_that_ended_the_program_is_its_exit_status(start):
    live = start("echo ready; exec sleep 1000")
    live.expect("ready\n")
    (init,) = children(live.pid)
    os.kill(init, signal.SIGKILL)

    assert live.wait() == (128 + 9, "ready\n", "")


@pytest.mark.parametrize("ignored", [(signal.SIGCHLD,), (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)])
def test_signals_that_the_caller_ignores_change_nothing(start, ignored):
    live = start("trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done", ignore=ignored)
    live.expect("ready\n")
    live.signal(signal.SIGTERM)

    assert live.wait().status == 9


@pytest.mark.parametrize("delay", [0, 0.005, 0.01, 0.02, 0.03, 0.05])
def test_a_signal_that_comes_while_the_container_is_made_ends_it_or_reaches_it(start, delay):
    """Whenever it comes: nothing is left behind, which the fixture checks."""
    live = start("trap 'exit 9' TERM; while :; do sleep 0.02; done")
    live.read(delay)
    live.signal(signal.SIGTERM)
    live.read(0.3)
    if live.running:  # it came before the program had its handler: process 1 is spared it
        live.signal(signal.SIGTERM)

    assert live.wait().status in (9, -signal.SIGTERM, 128 + signal.SIGTERM)


# --- death --------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["0", "1000"])
def test_a_foreground_container_ends_with_its_runtime(start, user):
    """Which the kernel forgets with each change of ids (prctl(2), PR_SET_PDEATHSIG)."""
    live = start("echo ready; sleep 1000 & exec sleep 2000", "--name", "orphan", "--user", user)
    live.expect("ready\n")
    (init,) = children(live.pid)
    live.signal(signal.SIGKILL)

    wait_until(lambda: gone(init))
    live.wait()
    assert start.verb("list", "--quiet").ok.out == ""  # which clears away what is left


@pytest.mark.parametrize("user", ["0", "1000"])
def test_a_further_program_ends_with_its_runtime(start, user, minictr):
    start("exec sleep 1000", "--detach", "--name", "first").wait()
    words = ["exec", "--user", user, "first", "sh", "-c", "echo ready; exec sleep 2000"]
    live = minictr.start(*words, **start.caller.options)
    live.expect("ready\n")
    (program,) = children(live.pid)
    live.signal(signal.SIGKILL)

    wait_until(lambda: gone(program))
    live.wait()
    assert start.verb("delete", "--force", "first").ok


def test_what_a_killed_runtime_left_is_removed_by_the_next_command(start, minictr):
    live = start("echo ready; exec sleep 1000", "--name", "left-over")
    live.expect("ready\n")
    live.signal(signal.SIGKILL)
    live.wait()
    state = minictr.state(start.caller.account)

    assert os.listdir(state) == ["left-over"]
    if start.caller.account is None and not support.lacks("cgroup"):
        assert cgroups_of("left-over") != []
    assert start("exit 0").wait().ok
    assert os.listdir(state) == []
    assert cgroups_of("left-over") == []


@pytest.mark.parametrize(
    "verb", [("list",), ("state", "left"), ("delete", "left"), ("delete", "--force", "left")]
)
def test_each_verb_copes_with_what_is_left(start, verb):
    live = start("echo ready; exec sleep 1000", "--name", "left")
    live.expect("ready\n")
    live.signal(signal.SIGKILL)
    live.wait()

    run = start.verb(*verb)
    assert run.status in (0, 125), run
    assert run.err.count("\n") == (1 if run.status else 0)
    assert start.verb("delete", "--force", "left").ok
    assert start.verb("list", "--quiet").ok.out == ""


def test_a_detached_container_lives_on_whoever_dies(start, tmp_path):
    place = str(tmp_path)
    if start.caller.account:
        os.chown(place, start.caller.account.uid, start.caller.account.gid)
    script = "echo ready; while :; do sleep 0.05; done"
    live = start(script, "-d", "--name", "daemon", "--pid-file", place + "/pid", "--log-file", place + "/log")
    assert live.wait().ok.out == "daemon\n"  # its runtime has ended, and its session
    with open(place + "/pid") as file:
        pid = int(file.read())

    assert not gone(pid)
    assert start.verb("state", "--quiet", "daemon").status == 0
    assert start.verb("list", "--quiet").ok.out == "daemon\n"
    assert start.verb("delete", "--force", "daemon").ok
    wait_until(lambda: gone(pid))


def test_a_detached_container_has_a_session_and_no_parent_of_its_callers(start, tmp_path):
    place = str(tmp_path)
    if start.caller.account:
        os.chown(place, start.caller.account.uid, start.caller.account.gid)
    assert start("exec sleep 1000", "-d", "--name", "alone", "--pid-file", place + "/pid").wait().ok
    with open(place + "/pid") as file:
        pid = int(file.read())

    assert os.getsid(pid) == pid
    with open("/proc/%d/stat" % pid) as file:
        assert file.read().rpartition(")")[2].split()[4] == "0"  # no controlling terminal
    assert start.verb("delete", "--force", "alone").ok


def test_the_death_of_process_1_ends_all_of_the_container(start):
    live = start("sleep 1000 & sleep 2000 & echo ready; wait")
    live.expect("ready\n")
    (init,) = children(live.pid)
    others = children(init)
    assert len(others) == 2
    os.kill(init, signal.SIGKILL)

    assert live.wait().status == 137
    for pid in others:
        wait_until(lambda pid=pid: gone(pid))


def test_nobody_reading_the_output_ends_the_program_as_it_would_anywhere(minictr, busybox_root):
    script = '"$0" -m minictr --root "$1" run --init --read-only --rootfs "$2" -- yes | head -n 1'
    run = minictr.command(
        "sh",
        "-c",
        script,
        support.python(),
        minictr.state(),
        busybox_root,
        env={"PYTHONPATH": support.checkout()},
    )

    assert run == (0, "y\n", "")


def test_a_broken_configuration_of_one_container_stops_no_other(start, minictr):
    """As a full disk leaves it, and the runtime is gone too."""
    live = start("echo ready; exec sleep 1000", "--name", "broken")
    live.expect("ready\n")
    live.signal(signal.SIGKILL)
    live.wait()
    with open(minictr.state(start.caller.account) + "/broken/config.json", "w") as file:
        file.write("{")

    run = start("echo started").wait()
    assert (run.status, run.out) == (0, "started\n")
    assert run.err.startswith("minictr: read the configuration of container broken: it is broken: ")
    assert start.verb("list", "--quiet").ok.out == ""


def test_one_that_cannot_be_cleared_away_stops_no_other_and_is_not_forgotten(start, minictr):
    """Its cgroup lay where nothing is mounted any more."""
    live = start("echo ready; exec sleep 1000", "--name", "left", "--cgroups", "disabled")
    live.expect("ready\n")
    live.signal(signal.SIGKILL)
    live.wait()
    place = minictr.state(start.caller.account) + "/left/state.json"
    with open(place) as file:
        whole = file.read()
    with open(place, "w") as file:
        file.write(whole.replace('"cgroups":[]', '"cgroups":["/elsewhere/left"]'))

    run = start("echo started").wait()
    assert (run.status, run.out) == (0, "started\n")
    assert run.err.startswith("minictr: clear away container left: open the cgroup /elsewhere/left: "), run
    with open(place, "w") as file:
        file.write(whole)
    assert start.verb("list", "--quiet").ok.out == ""
