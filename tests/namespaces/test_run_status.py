"""`run`: what the exit status says, and that every error is one line."""

import errno
import os
import stat

import pytest
from support import needs

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")


@pytest.fixture
def inside(minictr, strong_caller, busybox_root):
    def run(*command, options=(), **more):
        words = list(options) + ["--read-only", "--rootfs", busybox_root, "--"] + list(command)
        return minictr("run", *words, **dict(strong_caller.options, **more))

    return run


def is_one_line(run, start="minictr: "):
    return run.out == "" and run.err.startswith(start) and run.err.count("\n") == 1 and run.err.endswith("\n")


# --- the program's own --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1, 2, 77, 123, 125, 126, 127, 255])
def test_the_status_is_the_programs_own(inside, status):
    assert inside("sh", "-c", "exit %d" % status) == (status, "", "")


@pytest.mark.parametrize("number", [1, 2, 6, 9, 11, 15, 34])
def test_a_signal_is_128_and_its_number(inside, number):
    """Process 1 ends by a signal only from outside; --init is outside."""
    run = inside("sh", "-c", "kill -%d $$" % number, options=("--init",))

    assert (run.status, run.out) == (128 + number, "")


def test_a_crash_is_one_too(inside):
    """A fault ends process 1 like any other: the kernel forces it."""
    run = inside("sh", "-c", "ulimit -c 0; ulimit -t 1; while :; do :; done")

    assert run.status in (128 + 24, 128 + 9)  # SIGXCPU at the soft limit, KILL at the hard one


# --- 127 and 126 --------------------------------------------------------------------------------


@pytest.fixture
def root(busybox_copy, strong_caller):
    """A root with files that cannot be executed."""
    made = busybox_copy()
    os.mkdir(made + "/odd")
    contents = {
        "text": "just words\n", "nothing": "", "no-interpreter": "#!/no/such/shell\necho\n",
        "not-executable": "#!/bin/sh\necho\n", "loop": "#!/odd/loop\n",
    }  # fmt: skip
    for name, content in contents.items():
        with open(made + "/odd/" + name, "w") as file:
            file.write(content)
        os.chmod(made + "/odd/" + name, 0o644 if name == "not-executable" else 0o755)
    with open(made + "/odd/foreign", "wb") as file:  # an ELF program for a processor that is none
        file.write(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xfe\xff\x01\x00\x00\x00" + bytes(40))
    os.chmod(made + "/odd/foreign", 0o755)
    os.symlink("/no/where", made + "/odd/dangling")
    os.symlink("circle", made + "/odd/circle")
    os.mkfifo(made + "/odd/pipe")
    return made


NOT_FOUND = {
    "no-such-program": 'exec: "no-such-program": executable file not found in $PATH',
    "sh -c true": 'exec: "sh -c true": executable file not found in $PATH; hint: it is one word',
    "/no/such/program": 'exec: "/no/such/program": stat /no/such/program: no such file or directory',
    "./relative": 'exec: "./relative": stat ./relative: no such file or directory',
    "/odd/dangling": 'exec: "/odd/dangling": stat /odd/dangling: no such file or directory',
    "/odd/circle": 'exec: "/odd/circle": stat /odd/circle: %s: no such file or directory'
    % os.strerror(errno.ELOOP).lower(),
    "/etc/passwd/x": 'exec: "/etc/passwd/x": stat /etc/passwd/x: %s: no such file or directory'
    % os.strerror(errno.ENOTDIR).lower(),
    "/odd/no-interpreter": 'exec: "/odd/no-interpreter": no such file or directory',
}
NOT_EXECUTABLE = {
    "/": 'exec: "/": is a directory',
    "/etc": 'exec: "/etc": is a directory',
    "/odd/not-executable": 'exec: "/odd/not-executable": permission denied; hint: it takes the x of its mode',
    "/odd/text": 'exec: "/odd/text": exec format error; hint: a script takes a #! line',
    "/odd/nothing": 'exec: "/odd/nothing": exec format error',
    "/odd/foreign": 'exec: "/odd/foreign": exec format error',
    "/odd/pipe": 'exec: "/odd/pipe": permission denied',
}


@pytest.mark.parametrize("command", sorted(NOT_FOUND))
@pytest.mark.parametrize(
    "options", [(), ("--init",), ("-d",), ("--userns", "host")], ids=lambda words: " ".join(words) or "-"
)
def test_what_is_not_there_is_127(minictr, root, command, options):
    run = minictr("run", *options, "--rootfs", root, "--", command)

    assert run.status == 127
    assert is_one_line(run, "minictr: " + NOT_FOUND[command])


@pytest.mark.parametrize("command", sorted(NOT_EXECUTABLE))
@pytest.mark.parametrize(
    "options", [(), ("--init",), ("-d",), ("--userns", "host")], ids=lambda words: " ".join(words) or "-"
)
def test_what_cannot_be_executed_is_126(minictr, root, command, options):
    run = minictr("run", *options, "--rootfs", root, "--", command)

    assert run.status == 126
    assert is_one_line(run, "minictr: " + NOT_EXECUTABLE[command])


def test_exec_says_the_same_of_both_with_the_status_of_its_errors(minictr, root):
    """As runc does: engines tell them from each other by the words."""
    assert minictr("run", "-d", "--name", "lives", "--rootfs", root, "--", "sleep", "1000").ok
    try:
        for command, words in sorted(dict(NOT_FOUND, **NOT_EXECUTABLE).items()):
            found = minictr("exec", "lives", command)
            assert found.status == 255, found
            assert is_one_line(found, "minictr: " + words)
    finally:
        minictr("delete", "--force", "lives").ok


def test_a_program_on_a_volume_without_exec_is_126(inside, tmp_path):
    (tmp_path / "program").write_text("#!/bin/sh\necho ran\n")
    os.chmod(str(tmp_path / "program"), 0o755)
    volume = "%s:/tmp:" % tmp_path

    assert inside("/tmp/program", options=("-v", volume + "exec")) == (0, "ran\n", "")
    run = inside("/tmp/program", options=("-v", volume + "noexec"))
    assert run.status == 126
    assert is_one_line(run, 'minictr: exec: "/tmp/program": permission denied')


def test_the_path_that_counts_is_the_containers_own(inside):
    assert inside("busybox", "true", options=("-e", "PATH=/nowhere")).status == 127
    assert inside("busybox", "true", options=("-e", "PATH=/nowhere:/bin")).status == 0
    assert inside("busybox", "true", env={"PATH": "/usr/bin:/bin:/nowhere"}).status == 0


# --- 125 ----------------------------------------------------------------------------------------

WRONG = [
    ([], "no command"),
    (["--"], "no command after --"),
    (["--rootfs", "ROOT", "true"], "is not behind a --"),
    (["--no-such-option", "--", "true"], "unknown option --no-such-option"),
    (["--rootfs"], "has no value"),
    (["--rootfs", "", "--", "true"], "has no value"),
    (["-u", "no-such-user", "--rootfs", "ROOT", "--", "true"], "no entry in etc/passwd"),
    (["-u", "0:no-such-group", "--rootfs", "ROOT", "--", "true"], "no entry in etc/group"),
    (["-u", "-1", "--rootfs", "ROOT", "--", "true"], "ids are 0 to"),
    (["-u", "4294967296", "--rootfs", "ROOT", "--", "true"], "ids are 0 to"),
    (["-w", "relative", "--rootfs", "ROOT", "--", "true"], "is not an absolute path"),
    (["-w", "/etc/passwd", "--rootfs", "ROOT", "--", "true"], "Not a directory"),
    (["--hostname", "x" * 65, "--rootfs", "ROOT", "--", "true"], "1 to 64 bytes"),
    (["--memory", "much", "--", "true"], "is not a size such as 64m"),
    (["--bundle", "/no/where", "id"], "No such file or directory"),
    (["image"], "no config.json"),
    (["image", "sh"], "names of images are not supported"),
]


@pytest.mark.parametrize(
    ("words", "why"), WRONG, ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else ""
)
def test_an_error_of_ours_is_125_and_one_line(minictr, strong_caller, busybox_root, words, why):
    words = [word.replace("ROOT", busybox_root) for word in words]
    run = minictr("run", *words, **strong_caller.options)

    assert run.status == 125
    assert is_one_line(run) and why in run.err, run


def test_a_line_from_outside_does_not_become_one_of_ours(minictr, busybox_root):
    """A name with a newline in it must not write a line of its own."""
    evil = "a\nminictr: all is well\x1b[2J"
    for words in (
        ["--rootfs", "/no/" + evil, "--", "true"],
        ["--rootfs", busybox_root, "--", evil],
        ["-u", evil, "--rootfs", busybox_root, "--", "true"],
        ["-v", evil + ":/x", "--rootfs", busybox_root, "--", "true"],
        ["--" + evil, "--", "true"],
        ["--name", evil, "--", "true"],
        ["-w", "/bin/busybox/" + evil, "--rootfs", busybox_root, "--", "true"],
    ):
        run = minictr("run", *words)
        assert run.status in (125, 127)
        assert is_one_line(run) and "\x1b" not in run.err, run
        assert "a\\nminictr: " in run.err  # the name is told, but not as it is


# --- 123 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["unranged", "no-helpers"])
def test_strict_refuses_a_step_down_with_123(minictr, request, busybox_root, name):
    import callers

    options = callers.make(request, name).options
    words = ("--strict", "--read-only", "--rootfs", busybox_root, "--", "echo", "started")
    run = minictr("run", *words, **options)

    assert run.status == 123
    assert is_one_line(run, "minictr: id map: a range of ids is required")


@needs("seccomp")
@pytest.mark.parametrize("refused", [["pivot_root"], ["sethostname"], ["unshare&CLONE_NEWCGROUP"]], ids=str)
def test_and_one_that_only_the_kernel_knows_of(inside, refused):
    assert inside("echo", "started", refuse=refused).out == "started\n"
    run = inside("echo", "started", options=("--strict",), refuse=refused)

    assert run.status == 123
    assert is_one_line(run)


@needs("idmap")
def test_strict_lets_a_whole_container_start(inside):
    assert inside("echo", "started", options=("--strict",)) == (0, "started\n", "")


# --- --debug ------------------------------------------------------------------------------------


def test_only_debug_shows_a_traceback(minictr):
    run = minictr("--debug", "run", "--rootfs", "/no/where", "--", "true")
    assert "Traceback" in run.err
    run = minictr("--debug", "run", "--pid-file", "/no/\x1b[31mwhere/pid", "--", "true")
    assert "Traceback" in run.err and "\x1b" not in run.err

    assert stat.S_ISDIR(os.stat("/").st_mode)
    run = minictr("run", "--rootfs", "/no/where", "--", "true")
    assert is_one_line(run, "minictr: --rootfs /no/where: No such file or directory")
