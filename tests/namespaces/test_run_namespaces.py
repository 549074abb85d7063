"""`run`: namespaces that are new, the host's, or another container's; what belongs to them."""

import ctypes
import json
import os
import pathlib
import re
import socket
import sys
import time

import pytest
import support
from support import CHECKOUT, needs

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")

OPTIONS = {"pid": "pid", "ipc": "ipc", "uts": "uts", "net": "net", "cgroupns": "cgroup", "time": "time"}
BOOTTIME = 7  # include/uapi/linux/time.h; `time` has CLOCK_BOOTTIME since Python 3.7
KINDS = sorted(OPTIONS.values()) + ["mnt", "user"]
SHOW = "for kind in %s; do readlink /proc/self/ns/$kind; done" % " ".join(KINDS)


def namespaces(text):
    return {line.partition(":")[0]: line for line in text.splitlines()}


def own_namespaces():
    return {kind: os.readlink("/proc/self/ns/" + kind) for kind in KINDS}


@pytest.fixture
def inside(minictr, strong_caller, busybox_root):
    def start(command, *options):
        command = ["sh", "-c", command] if isinstance(command, str) else command
        words = list(options) + ["--read-only", "--rootfs", busybox_root, "--"] + list(command)
        return minictr.start("run", *words, **strong_caller.options)

    def run(command, *options):
        return start(command, *options).wait()

    run.caller, run.start = strong_caller, start
    return run


def shared_with_the_host(run):
    found, own = namespaces(run.ok.out), own_namespaces()
    return sorted(kind for kind in KINDS if found[kind] == own[kind])


def test_every_namespace_but_that_of_time_is_the_containers_own(inside):
    assert shared_with_the_host(inside(SHOW)) == ["time"]


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_one_namespace_is_the_hosts_where_that_is_asked_for(inside, option):
    """Without a word: what goes with it was asked for too."""
    run = inside(SHOW, "--" + option, "host")

    assert shared_with_the_host(run) == sorted({"time", OPTIONS[option]})


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_that_is_no_step_down(inside, option):
    assert inside(["true"], "--strict", "--" + option, "host").ok


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_one_namespace_is_private_where_that_is_asked_for(inside, option):
    run = inside(SHOW, "--" + option, "private")

    assert shared_with_the_host(run) == ([] if option == "time" else ["time"])


def test_root_may_share_them_all(minictr, busybox_root):
    words = [word for option in sorted(OPTIONS) for word in ("--" + option, "host")] + ["--userns", "host"]
    run = minictr("run", *words, "--read-only", "--rootfs", busybox_root, "--", "sh", "-c", SHOW)

    assert shared_with_the_host(run) == sorted(set(KINDS) - {"mnt"})


# --- what belongs to them -----------------------------------------------------------------------


def test_the_hosts_processes_are_seen_with_its_pid_namespace(inside):
    run = inside(["ls", "/proc"], "--pid", "host")

    assert str(os.getpid()) in run.ok.fields


def test_a_process_of_the_hosts_cannot_be_signalled_all_the_same(inside):
    run = inside("kill -0 %d" % os.getpid(), "--pid", "host")

    assert run.status == 1
    assert "Operation not permitted" in run.err


def test_loopback_is_up_and_alone(inside):
    run = inside(
        "cat /sys/class/net/*/flags; ls /sys/class/net; ping -c 1 -w 5 127.0.0.1 >/dev/null && echo up"
    )

    flags, names, up = run.ok.lines[0], run.lines[1:-1], run.lines[-1]
    assert int(flags, 16) & 1  # IFF_UP
    assert "lo" in names and up == "up"


def test_a_server_of_the_hosts_is_reached_with_its_network_alone(inside):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        server.settimeout(0.2)
        script = "echo hello | nc -w 1 127.0.0.1 %d" % server.getsockname()[1]
        for options in ((), ("--net", "none")):
            assert inside(script, *options).status != 0

        live = inside.start(script, "--net", "host")
        server.settimeout(20)
        with server.accept()[0] as connection:
            assert connection.recv(100) == b"hello\n"
        live.wait()


def test_an_abstract_socket_of_the_hosts_is_out_of_reach(inside):
    """The network namespace holds those too (CVE-2020-15257)."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0minictr-test-%d" % os.getpid())
        server.listen(1)
        name = "@minictr-test-%d" % os.getpid()

        assert name not in inside(["cat", "/proc/net/unix"]).ok.out
        assert name in inside(["cat", "/proc/net/unix"], "--net", "host").ok.out


def test_host_and_domain_name(inside):
    script = "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname; echo $HOSTNAME"
    run = inside(script, "--hostname", "box.example", "--domainname", "example")
    assert run.ok.fields == ["box.example", "example", "box.example"]

    run = inside(script, "--name", "some_name.1")
    assert run.ok.fields[0] == "some-name.1"

    run = inside(script, "--uts", "host")
    assert run.ok.fields[0] == os.uname().nodename


def test_the_longest_host_name(inside):
    assert inside(["hostname"], "--hostname", "x" * 64).ok.out == "x" * 64 + "\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.ip_local_port_range", "2000 3000"),
        ("kernel.shmmax", "12345678"),
        ("kernel.msgmni", "77"),
        ("fs.mqueue.msg_max", "11"),
        ("net/ipv4/ip_default_ttl", "33"),
        ("kernel/shmall", "4321"),
    ],
)
def test_a_sysctl_of_its_namespaces(inside, name, value):
    path = "/proc/sys/" + name.replace(".", "/")
    with open(path) as file:
        before = file.read()
    run = inside(["cat", path], "--sysctl", "%s=%s" % (name, value))

    assert run.ok.fields == value.split()
    with open(path) as file:
        assert file.read() == before


@pytest.mark.parametrize(
    "name", ["kernel.panic", "vm.swappiness", "net/../vm/swappiness", "net..vm.swappiness"]
)
def test_a_sysctl_of_the_hosts_is_refused(minictr, busybox_root, name):
    """Where root could set it: in the host's user namespace, and to what it is already."""
    with open("/proc/sys/kernel/panic" if name == "kernel.panic" else "/proc/sys/vm/swappiness") as file:
        value = file.read().strip()
    options = ("--userns", "host", "--sysctl", "%s=%s" % (name, value), "--rootfs", busybox_root)
    run = minictr("run", *options, "--", "true")

    assert (run.status, run.out) == (125, "")
    assert run.err.startswith("minictr: --sysctl %s=" % name) and run.err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "name", "kind"),
    [
        ("net", "net.ipv4.ip_forward", "network"), ("ipc", "kernel.shmmax", "ipc"),
        ("ipc", "fs.mqueue.msg_max", "ipc"), ("uts", "kernel.domainname", "uts"),
    ],
)  # fmt: skip
def test_a_sysctl_of_a_namespace_that_is_the_hosts_is_refused(minictr, busybox_root, option, name, kind):
    with open("/proc/sys/" + name.replace(".", "/")) as file:
        setting = "%s=%s" % (name, file.read().strip())
    options = ("--userns", "host", "--" + option, "host", "--sysctl", setting, "--rootfs", busybox_root)
    run = minictr("run", *options, "--", "true")

    assert run == (125, "", "minictr: --sysctl %s: needs a namespace of the kind %s\n" % (setting, kind))


@pytest.mark.parametrize(
    ("flag", "name", "kind"),
    [
        ("CLONE_NEWNET", "net.ipv4.ip_default_ttl", "network"), ("CLONE_NEWIPC", "kernel.msgmni", "ipc"),
        ("CLONE_NEWUTS", "kernel.domainname", "uts"),
    ],
)  # fmt: skip
def test_a_sysctl_of_a_namespace_that_was_refused_is_not_set_on_the_host(
    minictr, busybox_root, flag, name, kind
):
    path = "/proc/sys/" + name.replace(".", "/")
    with open(path) as file:
        before = file.read()
    value = "minictr" if kind == "uts" else str(int(before) + 1)
    options = ("--userns", "host", "--sysctl", "%s=%s" % (name, value), "--rootfs", busybox_root)
    refused = ["clone3=ENOSYS", "clone&" + flag, "unshare&" + flag]
    run = minictr("run", *options, "--", "true", refuse=refused)
    with open(path) as file:
        after = file.read()
    if after != before:
        with open(path, "w") as file:
            file.write(before)

    assert (run.status, after) == (125, before)
    error = "minictr: set sysctl %s: needs a namespace of the kind %s, which was refused" % (name, kind)
    assert run.err.split("\n")[-2] == error


KEYCTL = {"x86_64": 250, "aarch64": 219}  # refusal.py has the sources
DESCRIBE = (
    "import ctypes; text = ctypes.create_string_buffer(200);"
    "ctypes.CDLL(None).syscall(%d, 6, -3, text, 200); print(text.value.decode())"
)


def session_keyring():
    """Join one with a name, as pam_keyinit does at login; KEYCTL_JOIN_SESSION_KEYRING is 1."""
    ctypes.CDLL(None).syscall(KEYCTL[os.uname().machine], 1, b"of-the-caller")


@pytest.mark.parametrize(("options", "name"), [((), "_ses"), (("--no-new-keyring",), "of-the-caller")])
def test_the_keys_of_the_callers_session_are_out_of_reach(minictr, strong_caller, options, name):
    """keyrings(7): it has a session keyring of its own, unless it is told to stay in the caller's."""
    ask = ("/usr/bin/python3", "-c", DESCRIBE % KEYCTL[os.uname().machine])
    run = minictr.command(*ask, setup=session_keyring, **strong_caller.options)
    if not run.out.rstrip().endswith(";of-the-caller"):
        pytest.skip("there are no keys here")
    # no call of the keys passes the builtin filter
    words = ("run", "--security-opt", "seccomp=unconfined", "--name", "box") + options
    run = minictr(*words, "--", *ask, setup=session_keyring, **strong_caller.options)

    assert run.ok.out.rstrip().endswith(";" + name)


# In a session of its own a keyring with the name that runc gives a container's, which everybody may search
# and write to: it says so, and waits. Before KEYCTL comes request_key, and before that add_key
LURE = (
    "import ctypes; call = ctypes.CDLL(None).syscall; call({0}, 1, None);"
    "ring = call({0} - 2, b'keyring', b'_ses.box', None, 0, -3);"
    "print(call({0}, 5, ring, 0x3F3F3F3F), flush=True); input()"
)


@pytest.mark.parametrize("options", [("--userns", "host"), ()], ids=["host", "userns"])
def test_no_user_can_make_its_session_keyring_beforehand(minictr, unranged, options):
    """Who has made it can read the keys in it."""
    number = KEYCTL[os.uname().machine]
    lure = minictr.start_command(support.python(), "-c", LURE.format(number), user=unranged)
    lure.expect("0\n")
    words = ("run", "--security-opt", "seccomp=unconfined", "--name", "box") + options
    seen = minictr(*(words + ("--", "/usr/bin/python3", "-c", DESCRIBE % number)))
    lure.close_input()
    lure.wait()
    assert seen.ok.out.split(";")[1] == "0", seen


# --- time ---------------------------------------------------------------------------------------


LATER = """\
import os, sys
sys.path.insert(0, sys.argv.pop(1))
import refusal
refusal._check(refusal._libc.unshare(refusal.FLAGS["CLONE_NEWTIME"]), "unshare")
with open("/proc/self/timens_offsets", "w") as file:
    file.write("boottime " + sys.argv.pop(1))
pid = os.fork()
if not pid:
    os.execv(sys.executable, [sys.executable] + sys.argv[1:])
sys.exit(os.WEXITSTATUS(os.waitpid(pid, 0)[1]))
"""


@needs("timens")
@pytest.mark.parametrize("offset", ["5000 0", "5000 9999999"], ids=["", "by parts of a tick"])
def test_a_caller_of_another_time_knows_who_runs(minictr, busybox_root, offset):
    """To whom the time since boot is another one, /proc tells other start times."""

    def later(*words):
        place = os.path.join(CHECKOUT, "tests")
        program = ("-m", "minictr", "--root", minictr.state(None), *words)
        unshared = (sys.executable, "-c", LATER, place, offset, *program)
        return minictr.command(*unshared, env={"PYTHONPATH": CHECKOUT}).ok

    rootfs = ("--read-only", "--rootfs", busybox_root)
    name = "time-%d" % os.getpid()
    try:
        minictr("run", "-d", "--rm", "--name", name, *rootfs, "--", "sleep", "100").ok
        assert later("list", "-q").lines == [name]
        assert later("exec", name, "echo", "in").out == "in\n"
        later("run", "-d", "--name", name + "-later", *rootfs, "--", "sleep", "100")
        statuses = [json.loads(minictr("state", one).ok.out)["status"] for one in (name, name + "-later")]
        assert statuses == ["running"] * 2
    finally:
        for one in (name, name + "-later"):
            minictr("delete", "--force", one)


@needs("timens")
@pytest.mark.parametrize(
    ("options", "monotonic", "boottime"),
    [
        (("--time-offset", "100000"), 100000, 100000),
        (("--time-offset", "boottime=200000"), 0, 200000),
        (("--time-offset", "monotonic=5000.5", "--time-offset", "boottime=300000"), 5000.5, 300000),
    ],
)
def test_clocks_are_moved(inside, options, monotonic, boottime):
    before = time.clock_gettime(BOOTTIME)
    run = inside("cat /proc/uptime; cat /proc/self/timens_offsets", *options)
    after = time.clock_gettime(BOOTTIME)

    assert before + boottime - 0.1 <= float(run.ok.fields[0]) <= after + boottime
    offsets = re.findall(r"(monotonic|boottime) +(-?\d+) +(\d+)", run.out)
    assert {clock: int(secs) + int(nanos) / 1e9 for clock, secs, nanos in offsets} == {
        "monotonic": monotonic, "boottime": boottime,
    }  # fmt: skip


@needs("timens")
def test_a_further_program_has_the_same_clocks(minictr, strong_caller, busybox_root):
    words = ["-d", "--name", "late", "--time-offset", "boottime=200000", "--rootfs", busybox_root]
    assert minictr("run", *words, "--", "sleep", "1000", **strong_caller.options).ok
    script = "for n in 1 self; do readlink /proc/$n/ns/time; done; cut -d. -f1 /proc/uptime"
    found = minictr("exec", "late", "sh", "-c", script, **strong_caller.options)
    minictr("delete", "--force", "late", **strong_caller.options).ok

    first, own, uptime = found.ok.fields
    assert first == own and int(uptime) > time.clock_gettime(BOOTTIME) + 199900


@needs("timens")
def test_a_clock_cannot_be_moved_below_zero(inside):
    run = inside(["true"], "--time-offset", "-99999999999")

    assert (run.status, run.out) == (125, "")
    assert run.err.startswith("minictr: write the time offsets: ") and run.err.count("\n") == 1


# --- cgroups ------------------------------------------------------------------------------------


@needs("cgroup")
def test_the_container_sees_its_own_cgroup_as_the_root(minictr, busybox_root):
    options = ("--cgroups", "enabled", "--name", "boxed", "--read-only", "--rootfs", busybox_root)
    run = minictr("run", *options, "--", "cat", "/proc/self/cgroup")
    assert {line.split(":")[2] for line in run.ok.lines} == {"/"}

    run = minictr("run", "--cgroupns", "host", *options, "--", "cat", "/proc/self/cgroup")
    assert any("/minictr-boxed" in line for line in run.ok.lines)


@needs("cgroup")
def test_the_same_id_under_two_state_roots_is_two_containers(minictr, busybox_root):
    made = []
    for name in ("first", "second"):
        root = support.SESSION.place(name)
        words = ("-d", "--name", "twin", "--read-only", "--rootfs", busybox_root, "--", "sleep", "1000")
        assert minictr("--root", root, "run", *words, state=False).ok
        state = minictr("--root", root, "state", "twin", state=False)
        made.append((root, json.loads(state.ok.out)["pid"]))
    assert len({pathlib.Path("/proc/%d/cgroup" % pid).read_text() for _, pid in made}) == 2
    for root, _ in made:
        assert minictr("--root", root, "delete", "--force", "twin", state=False).ok
