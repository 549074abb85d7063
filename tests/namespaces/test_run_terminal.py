"""`run -t` under a real terminal, and no terminal without it."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import time

import pytest
import steps
import support
from support import needs, wait_until

from minictr import abi, libc, terminal

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")


@pytest.fixture
def start(minictr, strong_caller, busybox_root):
    """Starts a script with options of run on a terminal of its own."""

    def start(script, *options, **more):
        words = list(options) + ["--read-only", "--rootfs", busybox_root, "--", "sh", "-c", script]
        return minictr.start("run", *words, **dict(dict(strong_caller.options, tty=True), **more))

    start.caller = strong_caller
    return start


def text(result):
    return result.out.replace("\r\n", "\n")


# --- with -t ------------------------------------------------------------------------------------


def test_the_three_streams_are_a_terminal_of_the_containers_own(start):
    run = start("test -t 0 && test -t 1 && test -t 2 && tty && echo /dev/pts/*", "-t").wait()

    assert (run.status, text(run)) == (0, "/dev/pts/0\n/dev/pts/0 /dev/pts/ptmx\n")


def test_it_is_on_dev_console_too_and_is_the_controlling_terminal(start):
    run = start("echo one >/dev/console; echo two >/dev/tty; stat -c %F /dev/console", "-t").wait()

    assert (run.status, text(run)) == (0, "one\ntwo\ncharacter special file\n")


def test_its_time_may_be_longer_than_poll_takes(start):
    run = start("echo inside", "-t", "--timeout", "3000000").wait()

    assert (run.status, text(run)) == (0, "inside\n")


def test_without_it_there_is_none(start):
    """Even if the caller has one: nothing can be pushed into its input (TIOCSTI)."""
    script = (
        "test -t 0; echo $?; cat </dev/tty; ps -o tty | sort -u; ls /dev/pts; test -e /dev/console; echo $?"
    )
    run = start(script).wait()

    lines = text(run).splitlines()
    assert lines[0] == "0"  # the caller's terminal, for reading and writing
    assert "can't open /dev/tty: No such device or address" in lines[1]
    assert lines[2:] == ["?", "TT", "ptmx", "1"]


def test_a_detached_container_has_none_and_is_told_what_would_give_one(minictr, busybox_root):
    found = minictr("run", "-d", "-t", "--rootfs", busybox_root, "--", "sh")
    assert (found.status, found.out) == (125, "")
    assert found.err == (
        "minictr: make a terminal: with --detach nobody is left to pass on what is typed and shown; "
        "hint: leave --tty out: exec --tty gives a terminal in the running container\n"
    )


def test_nothing_can_be_pushed_into_the_callers_terminal(minictr, tmp_path):
    """By the ioctl that does it, TIOCSTI: a shell above us would execute it (CVE-2017-5226). More of it, with
    the filter and without, is in tests/security/test_powers.py."""
    program = tmp_path / "push.py"
    program.write_text(
        "import fcntl, termios\n"
        "for letter in b'evil\\n':\n"
        "    fcntl.ioctl(0, termios.TIOCSTI, bytes([letter]))\n"
    )
    command = ("/usr/bin/python3", "-IS", "/tmp/push.py")
    options = (
        "-v",
        "%s:/tmp/push.py:ro" % program,
        "--cap-add",
        "ALL",
        "--security-opt",
        "no-new-privileges=false",
    )
    live = minictr.start("run", *options, "--", *command, tty=True)
    run = live.wait()

    assert run.status == 1
    assert "Operation not permitted" in run.out or "Input/output error" in run.out
    assert "evil" not in run.out


def set_size(rows, columns):
    return lambda: fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


@pytest.mark.parametrize("options", [("-t",), ("-t", "--init")], ids=" ".join)
def test_the_size_is_the_callers_from_the_first_moment_on(start, options):
    run = start("stty size", *options, setup=set_size(44, 155)).wait()

    assert (run.status, text(run)) == (0, "44 155\n")


def test_the_size_follows_the_callers(start):
    live = start("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done", "-t")
    live.expect("ready")
    live.resize(33, 111)
    live.expect("33 111")

    assert live.wait().status == 0


def test_what_is_typed_arrives_and_is_echoed_once(start):
    live = start("echo ready; read line; echo got $line", "-t")
    live.expect("ready")
    live.send("hello\n")

    assert text(live.wait()) == "ready\nhello\ngot hello\n"


def test_the_end_of_file_is_typed_too(start):
    live = start("echo ready; cat; echo over", "-t")
    live.expect("ready")
    live.send("line\n\x04")

    assert text(live.wait()) == "ready\nline\nline\nover\n"


def test_an_interrupt_reaches_the_program_and_not_the_runtime(start):
    live = start("trap 'echo int; exit 5' INT; echo ready; while :; do sleep 0.05; done", "-t")
    live.expect("ready")
    live.send("\x03")
    live.expect("int")

    assert live.wait().status == 5


def test_with_init_an_interrupt_ends_the_program(start):
    live = start("echo ready; exec sleep 1000", "-t", "--init")
    live.expect("ready")
    live.send("\x03")

    assert live.wait().status == 128 + signal.SIGINT


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_status(start, script, status):
    assert start(script, "-t", "--init").wait().status == status
    assert start("sh -c '%s'; exit $?" % script, "-t").wait().status == status


def test_all_of_a_large_output_arrives(start):
    run = start("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done", "-t").wait()

    assert text(run) == "".join("line %d\n" % number for number in range(2000))


def test_all_of_a_large_input_arrives(minictr, strong_caller, busybox_root):
    """From a pipe, with the terminal for the output alone."""
    lines = "".join("line %d\n" % number for number in range(3000))
    options = ("-t", "--read-only", "--rootfs", busybox_root)
    run = minictr(
        "run", *options, "--", "sh", "-c", "stty -echo; wc -l", stdin=lines, **strong_caller.options
    )

    assert run.status == 0
    assert text(run).endswith("3000\n")  # what comes before `stty` is echoed


# --- the caller's terminal ----------------------------------------------------------------------


def modes(descriptor):
    return termios.tcgetattr(descriptor)[:4]


@pytest.mark.parametrize("words", ["abc", "abc\ndef", "abc\n", ""])
def test_the_end_of_what_is_piped_in_is_one_after_an_unfinished_line_too(start, words):
    run = start("stty -echo; echo up; cat; echo end", "-t", tty=False)
    run.expect("up")
    run.send(words)
    run.close_input()
    run = run.wait(5)

    assert (run.status, text(run)) == (0, "up\n" + words + "end\n")


@pytest.mark.parametrize("how", ["its time", "a signal"])
def test_who_does_not_read_the_output_keeps_nobody_from_ending_it(start, how):
    options = ["-t", "--init"] + (["--timeout", "1.5"] if how == "its time" else [])
    run = start("exec cat /dev/zero", *options, tty=False)
    time.sleep(1)
    if how == "a signal":
        run.signal(signal.SIGTERM)
        time.sleep(0.3)
        assert run.running  # what the program has said is not lost to a slow reader
        run.signal(signal.SIGTERM)
    wait_until(lambda: not run.running)

    assert run.wait().status == (137 if how == "its time" else 143)


def test_who_goes_on_to_write_there_does_not_keep_the_terminal_after_the_end():
    """As a container's own program could, with the terminal of one that `exec -t` has brought in."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ: what is read slowly is written slowly
    drain = os.fork()
    if drain == 0:
        try:
            master, slave = pty.openpty()
            if os.fork() == 0:
                libc.prctl(abi.PR_SET_PDEATHSIG, signal.SIGKILL)
                while True:
                    os.write(slave, b"spam" * 1024)
            os.set_blocking(master, False)
            os.dup2(writer, 1)
            time.sleep(0.2)
            terminal.Relay(master)._drain(os.pipe()[0], None)
        finally:
            os._exit(0)
    os.close(writer)
    found = 0
    while found < 3 << 20:
        time.sleep(0.001)  # there is always more to be had
        piece = os.read(reader, 4096)
        if not piece:
            break
        found += len(piece)
    os.close(reader)
    os.kill(drain, signal.SIGKILL)
    os.waitpid(drain, 0)
    assert 0 < found < 2 << 20


@pytest.mark.parametrize("script", ["exec yes", "trap '' HUP; while echo x; do :; done", "echo x; exec cat"])
def test_a_container_whose_output_nobody_reads_any_more_is_hung_up(start, script):
    """As one whose terminal goes away: `run -t ... | head`."""
    run = start(script, "-t", tty=False)
    run.expect("\n")
    run.ends.pop(0)
    run.process.stdout.close()
    run.send("line\n" * 3)
    wait_until(lambda: not run.running)


def test_the_callers_terminal_is_raw_while_it_runs_and_as_before_afterwards(start):
    live = start("echo ready; read line", "-t", setup=lambda: subprocess.call(["stty", "-ixon", "tostop"]))
    live.expect("ready")
    during = modes(live.terminal)
    live.send("\n")
    assert live.process.wait(20) == 0
    after = modes(live.terminal)
    live.wait()

    assert not during[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    cooked = termios.ICANON | termios.ECHO | termios.ISIG | termios.TOSTOP
    assert after[3] & cooked == cooked and not after[0] & termios.IXON and after[1] & termios.OPOST


@needs("strace")
def test_it_is_as_before_whatever_fails_of_it(minictr, busybox_root):
    """It was raw for ever where the container's could not be given its size, and there was a traceback where
    its mode could be read once and not twice."""
    made = steps.Steps(minictr)
    words = ("-t", "--rootfs", busybox_root, "--", "sleep", "0.1")
    for _ in range(2):  # the first one may write bytecode, by more calls
        whole = made.run(*words, calls="ioctl", follow=False, tty=True)
    assert whole.result == (0, "") and whole.modes[0] == whole.modes[1], whole
    requests = [text for _, _, text in whole.calls]
    last = max(at for at, text in enumerate(requests) if "TIOCSWINSZ" in text)  # by when it is raw
    raw = min(at for at, text in enumerate(requests) if "TCSETS" in text)
    read = max(at for at, words in enumerate(requests[:raw]) if words.startswith("0, TCGETS"))
    for number in (read, last):
        inject = "ioctl:error=EIO:when=%d" % (number + 1)
        broken = made.run(*words, calls="ioctl", inject=inject, follow=False, tty=True)
        said = "minictr: set the size of the terminal: Input/output error\n" if number == last else ""
        assert broken.hits and broken.modes[0] == broken.modes[1], broken
        assert (broken.result.status, text(broken.result)) == (125 if said else 0, said), broken
    back = max(at for at, text in enumerate(requests) if "TCSETS" in text)
    inject = "ioctl:error=ENOMEM:when=%d" % (back + 1)
    broken = made.run(*words, calls="ioctl", inject=inject, follow=False, tty=True)
    assert broken.hits and broken.modes[0] != broken.modes[1] and broken.result.status == 0, broken
    assert text(broken.result) == "minictr: set the terminal back: Cannot allocate memory; hint: stty sane\n"
    assert made.rest() == []


@needs("strace")
def test_an_end_that_no_byte_tells_of_is_noticed(minictr, busybox_root):
    """The kernel may have no memory for it."""
    made = steps.Steps(minictr)
    words = ("-t", "--rootfs", busybox_root, "--", "sleep", "0.1")
    for _ in range(2):  # the first one may write bytecode
        whole = made.run(*words, calls="write", follow=False, tty=True)
    (number,) = [at + 1 for at, (_, _, text) in enumerate(whole.calls) if '"\\21", 1)' in text]  # SIGCHLD
    broken = made.run(
        *words, calls="write", inject="write:error=ENOMEM:when=%d" % number, follow=False, tty=True
    )
    assert len(broken.hits) == 1 and '"\\21", 1)' in broken.hits[0][2], broken
    assert broken.result.status == 0 and broken.modes[0] == broken.modes[1], broken


def test_output_that_is_lost_is_told(minictr, busybox_root):
    with open("/dev/full", "w") as full:
        found = minictr(
            "run", "-t", "--rootfs", busybox_root, "--", "sh", "-c", "echo one; exit 3",
            setup=lambda: os.dup2(full.fileno(), 1),
        )  # fmt: skip
    assert found == (3, "", "minictr: write to the standard output: No space left on device\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_it_is_as_before_when_the_runtime_is_told_to_end(start, number):
    live = start("trap 'exit 3' %d; echo ready; while :; do sleep 0.05; done" % number, "-t")
    live.expect("ready")
    live.signal(number)
    assert live.process.wait(20) == 3

    assert modes(live.terminal)[3] & termios.ICANON
    live.wait()


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("echo ready; exec sleep 1000", ("--init",)),
        ("trap exit HUP; echo ready; while :; do sleep 0.05; done", ()),
        ("echo ready; cat", ()),
        ("stty raw; echo ready; cat", ()),
        ("PS1=rea; export PS1; exec sh -i", ()),
    ],
)
def test_a_container_whose_terminal_goes_away_is_hung_up(start, script, options):
    live = start(script, "-t", *options)
    live.expect("rea")
    os.close(live.terminal)
    live.terminal, live.ends = -1, []

    live.process.wait(20)


# --- job control --------------------------------------------------------------------------------


def stopped(pid):
    with open("/proc/%d/stat" % pid) as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def test_a_shell_inside_has_job_control(start):
    """^Z stops its job and not the runtime; fg goes on with it."""
    live = start("exec sh -i", "-t")
    live.expect("# ")
    live.send("sh -c 'echo rea\"\"dy; read line; echo got $line'\n")
    live.expect("ready")
    live.send("\x1a")
    live.expect("Stopped")
    shown = live.out.count(b"read line")
    live.send("fg\n")
    wait_until(lambda: live.read(0.05) or live.out.count(b"read line") > shown)
    live.send("hello\n")
    live.expect("got hello")
    live.send("exit 6\n")

    assert live.wait().status == 6


def test_a_runtime_in_the_background_waits_for_the_foreground(start, minictr, busybox_root):
    """To change the terminal's mode stops it, as it does every program there; fg goes on with it."""
    caller = start.caller
    inner = "echo ready; read line; echo got $line"
    script = (
        'set -m; "$0" -m minictr --root "$@" & while ! grep -q "T (stopped)" /proc/$!/status; do :; done; '
    )
    words = ("run", "-t", "--read-only", "--rootfs", busybox_root, "--", "sh", "-c", inner)
    live = minictr.start_command(
        "sh", "-c", script + "echo stopped; fg", support.python(), minictr.state(caller.account), *words,
        env={"PYTHONPATH": support.checkout()}, tty=True, **caller.options
    )  # fmt: skip
    live.expect("stopped")
    live.expect("ready")
    live.send("hello\n")

    assert "got hello" in text(live.wait()) and "Traceback" not in text(live.wait())


def test_a_runtime_that_was_stopped_goes_on_with_a_raw_terminal(start):
    """Whatever the shell that stopped it has made of the terminal meanwhile."""
    live = start("echo ready; read line; echo got $line", "-t")
    live.expect("ready")
    live.signal(signal.SIGSTOP)
    wait_until(lambda: stopped(live.pid))
    raw = termios.tcgetattr(live.terminal)
    cooked = raw[:3] + [raw[3] | termios.ICANON | termios.ECHO | termios.ISIG] + raw[4:]
    termios.tcsetattr(live.terminal, termios.TCSANOW, cooked)
    live.signal(signal.SIGCONT)
    wait_until(lambda: not modes(live.terminal)[3] & termios.ICANON)
    live.send("hello\n")

    assert text(live.wait()) == "ready\nhello\ngot hello\n"
