"""`run`: the program's user, directory, environment, limits and descriptors."""

import os
import resource
import signal

import pytest
import support
from support import needs

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")


@pytest.fixture
def inside(minictr, strong_caller, busybox_root):
    """Runs a command in a read-only busybox root with options of run; the Result."""

    def run(command, *options, **more):
        command = ["sh", "-c", command] if isinstance(command, str) else list(command)
        words = list(options) + ["--read-only", "--rootfs", busybox_root, "--"] + command
        return minictr("run", *words, **dict(strong_caller.options, **more))

    run.caller = strong_caller
    return run


# --- who ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("", "0 0 0"),
        ("app", "1000 1000 1000 29"),
        ("1000", "1000 1000 1000 29"),
        ("nobody", "65534 65534 65534"),
        ("1000:audio", "1000 29 29"),
        ("app:0", "1000 0 0"),
        ("4321", "4321 0 0"),
        ("4321:1234", "4321 1234 1234"),
        ("0:29", "0 29 29"),
    ],
)
def test_the_user(inside, user, said):
    run = inside("echo $(id -u) $(id -g) $(id -G)", *(("-u", user) if user else ()))

    assert run.ok.out == said + "\n"


def test_more_groups(inside):
    run = inside("id -G", "-u", "app", "--group-add", "daemon", "--group-add", "77,78")
    assert run.ok.out == "1000 1 29 77 78\n"

    assert inside("id -G", "--group-add", "29").ok.out == "0 29\n"


def test_no_group_of_the_caller_comes_along(minictr, busybox_root):
    for options in ((), ("--userns", "host")):
        run = minictr(
            "run", *options, "--read-only", "--rootfs", busybox_root, "--", "id", "-G",
            setup=lambda: os.setgroups([0, 4, 24])
        )  # fmt: skip
        assert run.ok.out == "0\n"


@pytest.mark.parametrize(
    ("user", "home"), [("root", "/root"), ("app", "/home/app"), ("1000", "/home/app"), ("77", "/")]
)
def test_home_is_the_one_in_the_containers_own_passwd(inside, user, home):
    assert inside("echo $HOME", "-u", user).ok.out == home + "\n"
    assert inside("echo $HOME", "-u", user, "-e", "HOME=/elsewhere").ok.out == "/elsewhere\n"


def test_a_file_that_another_user_makes_is_theirs(minictr, strong_caller, busybox_copy):
    root = strong_caller.owns(busybox_copy)
    assert minictr("run", "-u", "app", "--rootfs", root, "--", "touch", "/tmp/x", **strong_caller.options).ok

    account = strong_caller.account
    assert os.stat(root + "/tmp/x").st_uid == (account.host_id(1000) if account else 1000)


@pytest.mark.parametrize("name", ["unranged", "no-helpers"])
def test_a_caller_without_a_range_can_be_one_user_whichever_that_is(minictr, request, busybox_root, name):
    import callers

    caller = callers.make(request, name)
    command = ("sh", "-c", "id -u; cat /proc/self/uid_map")
    options = ("-u", "app", "--read-only", "--rootfs", busybox_root)
    run = minictr("run", *options, "--", *command, **caller.options)

    assert caller.expect(run).fields == ["1000", "1000", str(caller.account.uid), "1"]


# --- where --------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["/", "/etc", "/usr/bin", "/etc/../tmp"])
def test_the_working_directory(inside, place):
    assert inside("/bin/pwd", "-w", place).ok.out == os.path.normpath(place) + "\n"


def test_a_working_directory_that_is_missing_is_made(minictr, strong_caller, busybox_copy):
    root = strong_caller.owns(busybox_copy)
    run = minictr("run", "-w", "/made/here", "--rootfs", root, "--", "pwd", **strong_caller.options)

    assert run.ok.out == "/made/here\n"
    assert os.path.isdir(root + "/made/here")


@pytest.mark.parametrize("number", [3, 5, 7, 10, 20])
def test_a_descriptor_of_the_runtimes_is_no_working_directory(inside, number):
    run = inside(["pwd"], "-w", "/proc/self/fd/%d" % number)

    assert (run.status, run.out) == (125, "")
    assert run.err.startswith("minictr: ") and run.err.count("\n") == 1


def test_only_the_three_standard_descriptors_are_open(inside):
    assert inside(["ls", "/proc/self/fd"]).ok.fields == ["0", "1", "2", "3"]  # 3 is ls's own


def test_no_more_descriptors_than_those_are_passed_on_that_were_asked_for(inside):
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    os.dup2(reader, 50)
    try:
        run = inside(["ls", "/proc/self/fd"], pass_fds=(50,))
        assert run.ok.fields == ["0", "1", "2", "3"]
    finally:
        for descriptor in (reader, writer, 50):
            os.close(descriptor)


def test_descriptors_are_passed_on_where_that_is_asked_for(minictr, strong_caller, busybox_root, tmp_path):
    for name in "abc":
        (tmp_path / name).write_text(name)
    script = 'cd %s && exec "$0" -m minictr "$@" 3<a 4<b 5<c' % tmp_path
    command = ("sh", "-c", "cat <&3; cat <&4; ls /proc/self/fd")
    state = minictr.state(strong_caller.account)
    words = ("--root", state, "run", "--preserve-fds", "2", "--read-only", "--rootfs", busybox_root, "--")
    run = minictr.command(
        "sh", "-c", script, support.python(), *(words + command),
        env={"PYTHONPATH": support.checkout()}, **strong_caller.options
    )  # fmt: skip

    assert run.ok.fields == ["ab0", "1", "2", "3", "4", "5"]


def test_more_descriptors_than_there_are_cannot_be_passed_on(inside):
    run = inside(["true"], "--preserve-fds", "5")

    assert run == (125, "", "minictr: --preserve-fds 5: descriptor 3 is not open\n")


# --- what it finds ------------------------------------------------------------------------------


def test_the_environment_is_the_containers_own(inside):
    run = inside(["env"], env={"SECRET": "of the caller's"})

    names = {line.partition("=")[0]: line.partition("=")[2] for line in run.ok.lines}
    assert sorted(names) == ["HOME", "HOSTNAME", "PATH", "container"]
    assert (names["HOME"], names["container"]) == ("/root", "minictr")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("-e", "X=1"), "X=1"),
        (("-e", "X=a b=c"), "X=a b=c"),
        (("-e", "X=1", "-e", "X=2"), "X=2"),
        (("-e", "X="), "X="),
        (("--env", "PATH=/bin"), "PATH=/bin"),
        (("-e", "OF_CALLER"), "OF_CALLER=here"),
        (("-e", "OF_*"), "OF_CALLER=here"),
        (("-e", "MISSING"), None),
    ],
    ids=str,
)
def test_a_variable(inside, options, line):
    run = inside(["/bin/env"], *options, env={"OF_CALLER": "here"})

    if line is None:
        assert "MISSING" not in run.ok.out
    else:
        assert [found for found in run.ok.lines if found.split("=")[0] == line.split("=")[0]] == [line]


def test_a_file_of_variables(inside, tmp_path):
    (tmp_path / "env").write_text("# what for\n\nA=1\nB='2'\nC\n  D=4 # no comment\nA=5\n")
    run = inside(["env"], "--env-file", str(tmp_path / "env"), "-e", "B=6", env={"C": "3"})

    assert {"A=5", "B=6", "C=3", "D=4 # no comment"} <= set(run.ok.lines)


@pytest.mark.parametrize(
    ("mask", "mode"), [((), "644"), (("--umask", "077"), "600"), (("--umask", "0"), "666")]
)
def test_the_umask(inside, mask, mode):
    run = inside("touch /dev/shm/x; stat -c %a /dev/shm/x", *mask, umask=0o027)

    assert run.ok.out == mode + "\n"


@pytest.mark.parametrize(
    ("limit", "kind", "expected"),
    [
        ("nofile=123", "Max open files", ["123", "123"]),
        ("nofile=100:200", "Max open files", ["100", "200"]),
        ("core=0", "Max core file size", ["0", "0"]),
        ("NPROC=77", "Max processes", ["77", "77"]),
        ("stack=65536:131072", "Max stack size", ["65536", "131072"]),
    ],
)
def test_a_limit(inside, limit, kind, expected):
    run = inside(["cat", "/proc/self/limits"], "--ulimit", limit)

    (line,) = [line for line in run.ok.lines if line.startswith(kind)]
    assert line[len(kind) :].split()[:2] == expected


def test_a_limit_above_the_callers_own_takes_a_capability(inside):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("there is nothing above the limit")
    drop = [] if inside.caller.account else ["SYS_RESOURCE"]
    run = inside(["true"], "--ulimit", "nofile=%d" % (hard + 1), drop=drop)

    assert (run.status, run.out) == (125, "")
    assert "CAP_SYS_RESOURCE" in run.err and run.err.count("\n") == 1


@pytest.mark.parametrize("score", ["0", "500", "1000"])
def test_the_oom_score(inside, score):
    assert inside(["cat", "/proc/self/oom_score_adj"], "--oom-score-adj", score).ok.out == score + "\n"


def test_an_oom_score_below_the_callers_takes_a_capability(inside):
    run = inside(["true"], "--oom-score-adj", "-1000", drop=[] if inside.caller.account else ["SYS_RESOURCE"])
    assert (run.status, run.out) == (125, "")
    assert run.err.endswith("; hint: less than the caller's own takes CAP_SYS_RESOURCE\n")


def test_the_callers_niceness_holds(inside):
    assert inside(["cut", "-d", " ", "-f", "19", "/proc/self/stat"], nice=5).ok.out == "5\n"


def test_what_the_caller_does_with_signals_does_not(inside):
    ignored = (signal.SIGUSR1, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE)
    run = inside(["grep", "-E", "SigIgn|SigBlk", "/proc/self/status"], ignore=ignored)

    assert run.ok.fields == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


def test_standard_input_is_passed_on(inside):
    assert inside(["cat"], stdin="typed\n").ok.out == "typed\n"
    assert inside(["cat"], "-i", stdin="typed\n").ok.out == "typed\n"


@pytest.mark.parametrize("options", [(), ("-u", "app"), ("--userns", "host", "-u", "app")], ids=" ".join)
def test_the_standard_streams_can_be_opened_again_by_their_names(minictr, busybox_root, options):
    """By root and others: log files that are links to /dev/stdout are as common as they are odd."""
    script = "cat /dev/stdin >/dev/stdout; echo two >/dev/stderr"
    words = options + ("--read-only", "--rootfs", busybox_root, "--", "sh", "-c", script)
    live = minictr.start("run", *words)
    live.send("one\n")
    live.close_input()

    assert live.wait() == (0, "one\n", "two\n")


def test_a_file_that_the_caller_writes_to_stays_the_callers(minictr, busybox_root, tmp_path):
    script = '"$0" -m minictr --root "$1" run --read-only --rootfs "$2" -- echo hello >"$3"'
    words = (support.python(), minictr.state(), busybox_root, str(tmp_path / "output"))
    assert minictr.command("sh", "-c", script, *words, env={"PYTHONPATH": support.checkout()}).ok

    state = os.stat(str(tmp_path / "output"))
    assert (state.st_uid, state.st_size) == (os.geteuid(), len("hello\n"))


def test_output_and_errors_stay_apart(inside):
    run = inside("echo one; echo two >&2; exit 3")

    assert run == (3, "one\n", "two\n")
