"""Odd callers: what a shell, a daemon or a program in Python may have left for us to start from."""

import ctypes
import os
import resource
import signal
import socket
import stat
import textwrap
import time

import pytest
import support
from support import needs

pytestmark = needs("root", "busybox")

RUN = ("run", "--rootfs")


# --- standard streams ---------------------------------------------------------------------------------

STREAMS = """\
for n in 0 1 2; do (stat -L -c '%F %t:%T' /proc/$$/fd/$n >>/home/seen); done
(ls /proc/$$/fd >>/home/seen)
echo to stdout
echo to stderr >&2
exit 7
"""
NULL = "character special file 1:3"


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)], ids=repr)
def test_a_stream_that_is_closed_is_null_inside(minictr, caller, busybox_root, closed):
    out = place_for(caller, "out")
    words = RUN + (busybox_root, "--volume", out + ":/home", "--", "sh", "-c", STREAMS)
    found = minictr(*words, close=closed, **caller.options)
    assert found.status == 7
    with open(out + "/seen") as file:
        lines = file.read().splitlines()
    for number in range(3):
        assert (lines[number] == NULL) == (number in closed), lines
    assert lines[3:] == ["0", "1", "2"]
    assert found.out == ("" if 1 in closed else "to stdout\n")
    assert found.err.endswith("" if 2 in closed else "to stderr\n")


def place_for(caller, name):
    """A directory that the container's root may write to."""
    path = support.SESSION.place(name)
    os.chmod(path, 0o777)
    if caller.account is not None:
        os.chown(path, caller.account.uid, caller.account.gid)
    return path


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=repr)
def test_an_error_without_a_stream_to_say_it_on_has_its_status_all_the_same(minictr, closed):
    assert minictr("run", "--rootfs", "/no/such", "--", "true", close=closed).status == 125
    assert minictr("run", "--", "no-such-program", close=closed).status == 127


def test_no_file_of_ours_takes_the_number_of_a_closed_stream(minictr, busybox_root):
    log = support.SESSION.place("log") + "/log"
    words = ("--log", log, "run", "--rootfs", busybox_root, "--", "sh", "-c", "echo out; echo err >&2; cat")
    assert minictr(*words, close=(0, 1, 2)).status == 0
    if os.path.exists(log):
        with open(log) as file:
            assert "out" not in file.read()
    assert minictr("list", "--quiet") == (0, "", "")


def test_help_for_nobody_to_read_is_no_traceback(minictr):
    read, write = os.pipe()
    os.close(read)

    def broken():
        os.dup2(write, 1)

    found = minictr("--help", setup=broken, pass_fds=(write,))
    os.close(write)
    assert (found.status != 0, found.out, found.err) == (True, "", "")


def test_a_program_that_writes_to_a_pipe_nobody_reads_ends_by_the_signal(minictr, busybox_root):
    read, write = os.pipe()
    os.close(read)

    def broken():
        os.dup2(write, 1)

    words = RUN + (busybox_root, "--", "sh", "-c", "yes; echo $? >&2")
    found = minictr(*words, setup=broken, pass_fds=(write,))
    os.close(write)
    assert found.err == "141\n"  # 128 + SIGPIPE, which Python ignores and must not hand on


# --- signals ------------------------------------------------------------------------------------------


def masks(result):
    """What a program inside found: {"SigBlk": {numbers}, "SigIgn": ...}"""
    pairs = [line.split(":\t") for line in result.lines if line.startswith("Sig") and ":\t" in line]
    return {
        name: {number for number in range(1, 65) if int(mask, 16) >> (number - 1) & 1}
        for name, mask in pairs
        if name != "SigQ"
    }


def test_a_caller_that_ignores_children_gets_the_status(minictr, caller, busybox_root):
    words = RUN + (busybox_root, "--", "sh", "-c", "cat /proc/self/status; exit 7")
    found = minictr(*words, ignore=(signal.SIGCHLD,), **caller.options)
    assert found.status == 7, found
    assert masks(found)["SigIgn"] == set()


def test_what_the_caller_ignores_and_blocks_is_not_the_programs(minictr, caller, busybox_root):
    everything = set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}
    ignored = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE, 40)

    def block():
        signal.pthread_sigmask(signal.SIG_BLOCK, everything)

    words = RUN + (busybox_root, "--", "cat", "/proc/self/status")
    found = minictr(*words, ignore=ignored, setup=block, **caller.options)
    assert found.status == 0, found
    assert masks(found) == {"SigPnd": set(), "SigBlk": set(), "SigIgn": set(), "SigCgt": set()}


def test_signals_are_passed_on_although_the_caller_blocked_them(minictr, busybox_root):
    def block():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1})

    script = "trap 'echo heard; exit 3' USR1; echo up; while :; do sleep 0.05; done"
    live = minictr.start(*(RUN + (busybox_root, "--", "sh", "-c", script)), setup=block)
    live.expect("up\n")
    live.signal(signal.SIGUSR1)
    assert live.wait() == (3, "up\nheard\n", "")


# --- umask, ids, environment, directory ------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o777, 0o077, 0])
def test_the_callers_umask_closes_nothing_inside(minictr, caller, busybox_root, umask):
    script = "umask; id -u; stat -c %a /dev/null /dev/shm /tmp; cat /etc/hostname >/dev/null && "
    script += "touch /tmp/x && stat -c %a /tmp/x"
    words = RUN + (busybox_root, "--tmpfs", "/tmp", "--user", "0", "--", "sh", "-c", script)
    found = minictr(*words, umask=umask, **caller.options)
    assert found.fields == ["0022", "0", "666", "1777", "1777", "644"], found


@pytest.mark.parametrize("umask", [0o777, 0o077, 0])
def test_devices_are_for_everybody_whatever_the_callers_umask(minictr, busybox_copy, umask):
    script = "stat -c %a /dev/null /dev/shm /dev /new"
    words = (
        "run",
        "--userns",
        "host",
        "--rootfs",
        busybox_copy(),
        "--volume",
        "/:/new:ro",
        "--workdir",
        "/made",
    )
    found = minictr(*(words + ("--", "sh", "-c", script + " /made")), umask=umask)
    assert found.ok.fields == ["666", "1777", "755", "755", "755"]


@pytest.mark.parametrize("umask", [0o777, 0o077, 0])
def test_a_user_of_the_container_can_work_whatever_the_callers_umask(
    minictr, strong_caller, busybox_copy, umask
):
    root = strong_caller.owns(busybox_copy)
    script = "id -u; echo x >/tmp/x; echo y >/dev/shm/y; echo z >/dev/null; ls / >/dev/null && pwd"
    for extra in (("--tmpfs", "/tmp"), ("--overlay",)):
        words = RUN + (root, "--user", "app") + extra + ("--", "sh", "-c", script)
        assert strong_caller.expect(minictr(*words, umask=umask, **strong_caller.options)).fields == [
            "1000",
            "/",
        ]


@pytest.mark.parametrize("umask", [0o777, 0o077, 0])
def test_the_hosts_root_can_be_shown_whatever_the_callers_umask(minictr, caller, umask):
    script = "cat /etc/passwd >/dev/null && echo x >/tmp/x && cat /tmp/x"
    found = minictr("run", "--", "sh", "-c", script, umask=umask, **caller.options)
    assert caller.expect(found).out == "x\n"


@needs("rootless", "setpriv")
@pytest.mark.parametrize("uid", [3000000000, 2**32 - 2])
def test_a_caller_with_a_large_uid_is_mapped_alone(minictr, busybox_root, uid):
    words = RUN + (
        busybox_root,
        "--",
        "sh",
        "-c",
        "id -u; cat /proc/self/uid_map /proc/self/gid_map; cat /proc/self/setgroups",
    )
    found = minictr(*words, user=uid)
    assert found.status == 0, found
    assert found.fields == ["0", "0", str(uid), "1", "0", str(uid), "1", "deny"]
    assert found.err.count("\n") == 1 and found.err.startswith("minictr: warning: id map: "), found


def test_an_empty_environment_will_do(minictr, caller, busybox_root):
    names = ("PATH", "HOME", "USER", "LOGNAME", "LANG", support.MARK)
    env = dict.fromkeys(names)
    python = support.python() if caller.account else support.sys.executable
    command = (python, "-m", "minictr", "--root", minictr.state(caller.account)) + RUN
    words = command + (busybox_root, "--", "env")
    found = minictr.command(*words, env=env, cwd=support.checkout(), **caller.options)
    inside = dict(line.split("=", 1) for line in caller.expect(found).lines)
    inside.pop("HOSTNAME")
    inside.pop("SHLVL", None)
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert inside == {"PATH": path, "HOME": "/root", "container": "minictr"}


@pytest.mark.parametrize("name", ["HOME", "PATH"])
@pytest.mark.parametrize("value", [None, "", "/no/such", "relative"])
def test_home_and_path_are_not_relied_on(minictr, caller, name, value):
    found = minictr("run", "--", "sh", "-c", "id -u; ls -d /etc", env={name: value}, **caller.options)
    assert caller.expect(found).fields == ["0", "/etc"]


def test_the_current_directory_may_be_gone(minictr, caller, busybox_root):
    def vanish():
        path = "/tmp/%s-%d" % (os.path.basename(support.SESSION.directory), os.getpid())
        os.mkdir(path)
        os.chdir(path)
        os.rmdir(path)

    words = RUN + (busybox_root, "--", "sh", "-c", "pwd")
    assert caller.expect(minictr(*words, setup=vanish, **caller.options)).out == "/\n"
    found = minictr("run", "--rootfs", "relative", "--", "true", setup=vanish, **caller.options)
    assert (found.status, found.out, found.err.count("\n")) == (125, "", 1), found
    assert "Traceback" not in found.err


@needs("rootless")
def test_the_current_directory_may_be_closed_to_the_caller(minictr, unranged, busybox_root):
    directory = unranged.place("closed")

    def close():
        os.chdir(directory)
        os.chmod(directory, 0)

    words = RUN + (busybox_root, "--", "sh", "-c", "pwd")
    found = minictr(*words, user=unranged, setup=close)
    os.chmod(directory, 0o700)
    assert (found.status, found.out) == (0, "/\n"), found


# --- how the caller runs ------------------------------------------------------------------------------------


def test_a_personality_of_32_bits_changes_no_system_call(minictr, caller, busybox_root):
    """uname(2) tells of another machine then (`linux32`, `setarch i686`): calls had the numbers of that."""

    def pretend():
        assert ctypes.CDLL(None).personality(8) >= 0  # PER_LINUX32

    words = RUN + (busybox_root, "--", "grep", "Seccomp:", "/proc/self/status")
    found = minictr(*words, setup=pretend, **caller.options)
    assert (found.status, found.fields) == (0, ["Seccomp:", "2"])


def test_a_caller_in_real_time_is_told_what_its_cgroup_lacks(minictr, busybox_root):
    def hurry():
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    found = minictr(*(RUN + (busybox_root, "--", "true")), setup=hurry)
    if not found.status:
        pytest.skip("the kernel has no real-time scheduling by groups")
    assert found.err.startswith(
        "minictr: join the cgroup: Invalid argument; hint: the caller runs in real time"
    )


# --- words that are no text -------------------------------------------------------------------------------

LATIN = {"LANG": "en_US.ISO-8859-1", "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1:strict"}
C = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ODD = os.fsdecode(b"\xff\xfe\x80 \xc3\xa4\xe2\x82\xac")


@pytest.mark.parametrize("env", [{}, C], ids=["UTF-8", "C"])
def test_arguments_and_variables_arrive_byte_by_byte(minictr, caller, busybox_root, env):
    options = dict(caller.options)
    words = RUN + (
        busybox_root,
        "--env",
        "ODD=" + ODD,
        "--",
        "sh",
        "-c",
        'printf "%s|%s" "$1" "$ODD"',
        "sh",
        ODD,
    )
    found = minictr(*words, env=env, **options)
    assert found.status == 0, found
    assert found.raw_out == os.fsencode(ODD + "|" + ODD)


@pytest.mark.parametrize("env", [{}, C], ids=["UTF-8", "C"])
def test_paths_may_be_no_text(minictr, strong_caller, busybox_copy, env):
    root = strong_caller.owns(busybox_copy)
    odd = os.path.join(root, "b" + ODD)
    os.rename(os.path.join(root, "bin"), odd)
    os.symlink(os.path.basename(odd), os.path.join(root, "bin"))
    source = support.SESSION.place("source-" + ODD)
    open(source + "/it", "w").close()
    words = RUN + (root, "--volume", "%s:/m/%s:ro" % (source, ODD), "--workdir", "/" + os.path.basename(odd))
    found = minictr(*(words + ("--", "sh", "-c", "pwd; ls /m/*")), env=env, **strong_caller.options)
    assert strong_caller.expect(found).raw_out == os.fsencode("/%s\nit\n" % os.path.basename(odd))


@pytest.mark.parametrize("env", [{}, C], ids=["UTF-8", "C"])
@pytest.mark.parametrize(
    "words",
    [
        ("run", "--rootfs", "/no/" + ODD, "--", "true"),
        ("run", "--" + ODD, "--", "true"),
        ("run", "--user", ODD, "--", "true"),
        ("run", "--", ODD),
        ("run", "--name", ODD, "--", "true"),
        ("run", "--bundle", "/no/" + ODD, "id"),
        (ODD,),
        ("state", ODD),
    ],
    ids=lambda words: " ".join(words).replace(ODD, "ODD"),
)
def test_an_error_about_odd_words_is_one_line(minictr, words, env):
    found = minictr(*words, env=env)
    assert found.status in (125, 127), found
    assert (found.out, found.err.count("\n")) == ("", 1), found
    assert found.err.startswith("minictr: "), found


@pytest.mark.parametrize("env", [{}, C, LATIN], ids=["UTF-8", "C", "Latin"])
def test_what_is_printed_about_odd_words_is_no_traceback(minictr, busybox_root, env):
    words = ("explain", "--rootfs", busybox_root, "--env", "A=" + ODD, "--", "echo", ODD)
    for extra in ((), ("--json",)):
        found = minictr(*(words[:1] + extra + words[1:]), env=env)
        assert (found.status, found.err) == (0, ""), found
    live = minictr.start(
        "run",
        "--name",
        "odd",
        "--annotation",
        "a=" + ODD,
        "--rootfs",
        busybox_root,
        "--",
        "sh",
        "-c",
        "echo up; read x; true",
        env=env,
    )
    live.expect("up\n")
    assert minictr("state", "odd", env=env).status == 0
    assert minictr("list", env=env).status == 0
    live.close_input()
    assert live.wait().status == 0


# --- limits and descriptors ------------------------------------------------------------


@pytest.mark.parametrize("limit", [64, 32])
def test_few_descriptors_are_enough(minictr, caller, busybox_root, limit):
    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    words = RUN + (busybox_root, "--", "sh", "-c", "ulimit -n; ls /proc/$$/fd; true")
    found = caller.expect(minictr(*words, setup=lower, **caller.options))
    assert found.fields == [str(limit), "0", "1", "2"]


def test_a_limit_of_processes_that_keeps_a_program_from_running_is_named(minictr, busybox_root):
    """execve(2) has EAGAIN for who has changed its user id, and is above that."""

    def lower():
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))

    minictr("run", "--detach", "--name", "crowd", "--rootfs", busybox_root, "--", "sleep", "1000").ok
    try:
        found = minictr("exec", "crowd", "true", setup=lower)
    finally:
        minictr("delete", "--force", "crowd").ok
    assert (
        found.status == 255 and "unavailable; hint: its user has more processes than ulimit -u" in found.err
    )


def test_too_few_descriptors_are_a_clear_error_and_leave_nothing_behind(minictr, busybox_root):
    seen = set()
    for limit in range(4, 30):

        def lower(limit=limit):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        found = minictr(*(RUN + (busybox_root, "--", "true")), setup=lower)
        seen.add(found.status)
        if found.status == 0:
            assert found.err == ""
        elif found.status == 125:
            lines = found.err.splitlines()
            told = "Too many open files; hint: the caller may have too few files open: ulimit -n 1024"
            assert told in lines[-1] or "load the Python library" in lines[-1], found
            assert all(line.startswith("minictr: ") for line in lines) and len(lines) <= 2, found
        else:  # the interpreter itself could not start
            assert "minictr" not in found.out and limit <= 8, found
    assert {0, 125} <= seen  # enough for a container, and too few for one


def test_a_limit_that_is_too_small_is_named_with_its_fix(minictr, busybox_root, ranged):
    def lower(kind):
        return lambda: resource.setrlimit(kind, (0, 0))

    words = RUN + (busybox_root, "--", "true")
    found = minictr(*words, setup=lower(resource.RLIMIT_FSIZE))
    assert (found.status, found.err.count("\n")) == (125, 1)
    told = ": File too large; hint: ulimit -f of the caller is too small\n"
    assert found.err.endswith(told)
    minictr("run", "-d", "--name", "box", "--userns", "host", *words[1:-1], "sleep", "1000").ok
    found = minictr("exec", "box", "true", setup=lower(resource.RLIMIT_FSIZE))  # for what stands in for us
    assert found == (255, "", "minictr: make the stand-in" + told)
    minictr("delete", "--force", "box").ok
    found = minictr(*words, setup=lower(resource.RLIMIT_NPROC), user=ranged)  # for root there is none
    assert found.status == 125
    assert "a limit of processes is reached: ulimit -u of the user" in found.err
    assert "hint: ulimit -u unlimited" in found.err


def test_a_large_limit_costs_no_time(minictr, busybox_root):
    def raise_it():
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    found = minictr(*(RUN + (busybox_root, "--", "true")), setup=raise_it).ok
    assert found.seconds < 5


def test_no_descriptor_of_the_callers_reaches_the_program(minictr, caller, busybox_root, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    kept = [os.open(str(secret), os.O_RDONLY) for _ in range(60)]
    kept += [os.open("/", os.O_RDONLY | os.O_DIRECTORY), os.open("/root", os.O_PATH)]
    kept += list(os.pipe())
    ends = socket.socketpair()
    kept += [end.fileno() for end in ends]
    os.dup2(kept[0], 900)
    kept.append(900)
    try:
        words = RUN + (busybox_root, "--", "ls", "-1", "/proc/1/fd")
        found = minictr(*words, pass_fds=tuple(kept), **caller.options)
        assert sorted(map(int, caller.expect(found).fields)) == [0, 1, 2, 3]  # 3: ls has the directory open
    finally:
        for descriptor in set(kept) - {end.fileno() for end in ends}:
            os.close(descriptor)
        for end in ends:
            end.close()


# --- 1,000 mounts ----------------------------------------------------------------------

MOUNTS = """\
mount -t tmpfs many "$0" || exit 99
cd "$0"
i=0; while [ $i -lt 1000 ]; do mkdir $i; mount -t tmpfs -o size=4k m$i $i || exit 98; i=$((i+1)); done
cd /
exec "$@"
"""


@needs("unshare")
@pytest.mark.parametrize(
    "covered", ["", "umount -l /proc; mount -t tmpfs none /proc; "], ids=["foreign", "none"]
)
def test_a_proc_of_another_pid_namespace_is_refused_at_once(minictr, busybox_root, covered):
    """As after `unshare --pid` alone: it would have other processes' files under the numbers of ours."""
    live = minictr.start("run", "--name", "lives", "--rootfs", busybox_root, "--", "sh", "-c", "echo up; cat")
    live.expect("up")
    words = [support.sys.executable, "-m", "minictr", "--root", minictr.state()]
    calls = [("run", "--rootfs", busybox_root, "--", "true"), ("list",), ("kill", "lives"), ("doctor",)]
    for call in calls:
        script = covered + 'exec "$@"'
        found = minictr.command(
            "unshare", "-mpf", "--propagation", "private", "sh", "-c", script, "sh", *words, *call,
            env={"PYTHONPATH": support.checkout()},
        )  # fmt: skip
        why = "not the proc file system" if covered else "it shows another PID namespace than ours"
        assert (found.status, found.seconds < 10) == (1 if call == ("doctor",) else 125, True), found
        assert why in found.err + found.out and "mount -t proc proc /proc" in found.err + found.out, found
    assert minictr("list", "--quiet").ok.out == "lives\n"
    live.close_input()
    assert live.wait().ok


@needs("unshare")
@pytest.mark.parametrize("source", ["the host's root", "a directory", "a directory with mounts"])
def test_a_thousand_mounts_are_no_obstacle(minictr, busybox_copy, source):
    many = support.SESSION.place("many")
    script = "touch %s/0/x 2>/dev/null; touch %s/999/x 2>/dev/null; ls %s/999; grep -c m999 /proc/mounts" % (
        many,
        many,
        many,
    )
    if source == "a directory with mounts":  # of which the first alone becomes read-only
        script = "touch %s/x 2>/dev/null && echo x; grep -c m999 /proc/mounts" % many
    words = ["run", "--", "sh", "-c", script + "; true"]
    if source != "the host's root":
        words[1:1] = ["--rootfs", busybox_copy()]
    if source == "a directory with mounts":
        words[1:1] = ["--volume", "%s:%s:ro" % (many, many)]
    python = [support.sys.executable, "-m", "minictr", "--root", minictr.state()]
    started = time.monotonic()
    found = minictr.command(
        "unshare", "-m", "--propagation", "private", "sh", "-c", MOUNTS, many, *(python + words),
        env={"PYTHONPATH": support.CHECKOUT}
    )  # fmt: skip
    seconds = time.monotonic() - started
    assert found.status == 0, found
    assert found.out == ("0\n" if source == "a directory" else "1\n"), found
    assert seconds < 20


# --- a caller in Python, with a thread -------------------------------------------------

CALLER = """\
import os, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
from minictr import lifecycle, options
from minictr.report import Report

sys.setswitchinterval(float(sys.argv[5]))  # how often a thread asks for the interpreter
ends, ticks = threading.Event(), [0]

def busy():
    while not ends.is_set():
        ticks[0] += 1  # a thread that always wants the interpreter

def idle():
    ends.wait()

threads = [threading.Thread(target=busy, daemon=True), threading.Thread(target=idle, daemon=True)]
for thread in threads:
    thread.start()
signal.signal(signal.SIGUSR1, lambda number, frame: None)

def look():
    handlers = [signal.getsignal(number) for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)]
    return signal.pthread_sigmask(signal.SIG_BLOCK, ()), handlers, os.getcwd(), os.umask(0o022)

def run(*words):
    spec = options.parse(list(words), "run")
    return lifecycle.Container(spec, sys.argv[2], Report()).run()

os.umask(0o022)
before = look()
run("--rootfs", sys.argv[3], "--", "true")  # what is opened once may stay open
files = sorted(os.listdir("/proc/self/fd"))
for number in range(int(sys.argv[4])):
    assert run("--rootfs", sys.argv[3], "--", "sh", "-c", "exit %d" % (number % 100)) == number % 100
after = look()
assert before == after, (before, after)
assert files == sorted(os.listdir("/proc/self/fd")), (files, os.listdir("/proc/self/fd"))
count = ticks[0]
time.sleep(0.05)
assert ticks[0] > count, "the thread has stopped"
ends.set()
for thread in threads:
    thread.join()
try:
    os.waitpid(-1, os.WNOHANG)
    print("a child is left")
except ChildProcessError:
    print("well")
"""


@pytest.mark.parametrize("interval, count", [("0.005", "8"), ("0.00001", "20")])
@pytest.mark.parametrize("extra", [(), ("--time-offset", "5")], ids=["directly", "by a middle process"])
def test_a_program_in_python_with_threads_runs_containers_in_its_own_process(
    minictr, strong_caller, busybox_root, tmp_path, extra, interval, count
):
    caller = strong_caller
    if extra:
        support.require("timens")
    script = tmp_path / "caller.py"
    text = CALLER.replace(
        '"--rootfs", sys.argv[3]', '"--rootfs", sys.argv[3]' + "".join(', "%s"' % word for word in extra)
    )
    script.write_text(text)
    script.chmod(stat.S_IMODE(0o644))
    account = caller.account
    python = support.python() if account else support.sys.executable
    package = support.checkout() if account else support.CHECKOUT
    found = minictr.command(
        python, str(script), package, minictr.state(account), busybox_root, count, interval, timeout=40,
        **caller.options
    )  # fmt: skip
    assert (found.status, found.out) == (0, "well\n"), found


def test_a_failure_in_a_program_in_python_is_an_exception(minictr, tmp_path, busybox_root):
    script = textwrap.dedent("""\
        import os, signal, sys
        sys.path.insert(0, sys.argv[1])
        from minictr import lifecycle, options
        from minictr.errors import ContainerError
        from minictr.report import Report

        def run(*words):
            return lifecycle.Container(options.parse(list(words), "run"), sys.argv[2], Report()).run()

        def look():
            return signal.pthread_sigmask(signal.SIG_BLOCK, ()), sorted(os.listdir("/proc/self/fd"))

        mask = look()[0]
        run("--rootfs", sys.argv[3], "--", "true")
        before = look()
        assert before[0] == mask
        for words in (["no-such-program"], ["/etc"]):
            try:
                run("--rootfs", sys.argv[3], "--", *words)
            except ContainerError as error:
                print(error.status)
        try:
            run("--rootfs", sys.argv[3], "--volume", "/no/such:/x", "--", "true")
        except ContainerError as error:
            print(error.status)
        assert look() == before, (look(), before)
    """)
    path = tmp_path / "caller.py"
    path.write_text(script)
    found = minictr.command(
        support.sys.executable, str(path), support.CHECKOUT, minictr.state(), busybox_root
    )
    assert found.ok.fields == ["127", "126", "125"]


def test_the_end_is_seen_although_another_thread_is_given_the_signal_of_it(minictr):
    script = textwrap.dedent("""\
        import os, sys, threading, time
        sys.path.insert(0, sys.argv[1])
        from minictr import foreground

        threading.Thread(target=time.sleep, args=(3,), daemon=True).start()
        foreground.hold_signals()
        child = os.fork()
        if child == 0:
            time.sleep(0.1)
            os._exit(7)
        look = foreground.ended

        def look_and_dawdle(pid):
            status = look(pid)
            time.sleep(0.2)  # meanwhile it ends, and the signal goes to who does not block it
            return status

        foreground.ended = look_and_dawdle
        print(foreground.wait(child, 0, None))
    """)
    words = (support.sys.executable, "-W", "ignore", "-c", script, support.CHECKOUT)
    found = minictr.command(*words, timeout=10)
    assert found.ok.out == "7\n"
    assert found.seconds < 3


@needs("rootless")
def test_a_process_that_dies_before_its_ids_are_written_tells_why(minictr, unranged, busybox_root):
    """By then its files below /proc are the host's root's, and the maps cannot be written."""
    script = textwrap.dedent("""\
        import sys, time
        from minictr import first, lifecycle, maps, options
        from minictr.errors import ContainerError
        from minictr.report import Report

        write = maps.write

        def dawdle(*arguments):
            time.sleep(0.2)
            return write(*arguments)

        def die(me):
            raise ContainerError("begin", "the true reason")

        maps.write = dawdle
        spec = options.parse(["--rootfs", sys.argv[2], "--", "true"], "run")
        container = lifecycle.Container(spec, sys.argv[1], Report())
        container.stages = first.STAGES[:1] + (die,) + first.STAGES[1:]
        try:
            container.run()
        except ContainerError as error:
            print(error)
    """)
    words = (support.python(), "-c", script, minictr.state(unranged), busybox_root)
    found = minictr.command(*words, user=unranged, env={"PYTHONPATH": support.checkout()})
    assert (found.status, found.out) == (0, "begin: the true reason\n"), found
