"""`run` into namespaces of another container that lives, by their paths below /proc."""

import json
import os
import subprocess

import pytest
import support
from support import children, needs, wait_until

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")

OPTIONS = {"pid": "pid", "ipc": "ipc", "uts": "uts", "net": "net", "cgroupns": "cgroup"}


class Other:
    """A container that lives. namespaces: by kind, as links below /proc say it"""

    def __init__(self, minictr, caller, root, *options):
        self.live = minictr.start(
            "run", "--hostname", "other", *options, "--read-only", "--rootfs", root, "--",
            "sh", "-c", "echo inside >/dev/shm/of-other; echo ready; cat", **caller.options
        )  # fmt: skip
        self.live.expect("ready\n")
        (self.pid,) = children(self.live.pid)

    def path(self, kind):
        return "/proc/%d/ns/%s" % (self.pid, kind)

    def end(self):
        self.live.close_input()
        assert self.live.wait().status == 0


@pytest.fixture
def other(minictr, strong_caller, busybox_root):
    started = Other(minictr, strong_caller, busybox_root)
    yield started
    started.end()


@pytest.fixture
def inside(minictr, strong_caller, busybox_root):
    def run(command, *options):
        command = ["sh", "-c", command] if isinstance(command, str) else command
        words = list(options) + ["--read-only", "--rootfs", busybox_root, "--"] + list(command)
        return minictr("run", *words, **strong_caller.options)

    run.caller = strong_caller
    return run


def joins(other, caller, option):
    """What names the namespace OPTION of OTHER: a user must join the one that owns it as well."""
    words = ("--" + option, other.path(OPTIONS[option]))
    return words if caller.account is None else ("--userns", other.path("user")) + words


def show(kind):
    return "readlink /proc/self/ns/%s; cat /proc/self/uid_map" % kind


@pytest.mark.parametrize("option", sorted(set(OPTIONS) - {"pid"}))
def test_one_namespace_of_another_container_is_joined(inside, other, option):
    kind = OPTIONS[option]
    run = inside(show(kind), *joins(other, inside.caller, option))

    assert (run.status, run.lines[0]) == (0, os.readlink(other.path(kind)))
    if option in FOREIGN and inside.caller.account is None:
        assert_told(run.err, FOREIGN[option])
    else:
        assert run.err == ""


FOREIGN = {  # of root, who joins that alone: the file system that goes with it is for the owner
    "net": "sysfs: wanted a fresh sysfs on /sys, got the host's, read-only; ",
    "ipc": "mqueue: wanted a fresh mqueue on /dev/mqueue, got %s; "
    % ("the host's, read-only" if os.path.ismount("/dev/mqueue") else "none"),
}


def assert_told(said, start):
    assert said.startswith("minictr: warning: " + start) and said.count("\n") == 1, said
    assert said.endswith("; fix: --userns with the user namespace that this one belongs to\n"), said


@pytest.mark.parametrize("option", ["net", "ipc"])
def test_with_its_user_namespace_what_goes_with_a_namespace_is_there(inside, other, option):
    script = "grep -q ' /sys sysfs' /proc/mounts && grep -q ' /dev/mqueue mqueue' /proc/mounts; echo $?; "
    words = ("--strict", "--userns", other.path("user"), "--" + option, other.path(OPTIONS[option]))
    assert inside(script + "ls /sys/class/net", *words).ok.lines == ["0", "lo"]


def test_the_hosts_devices_are_not_shown_in_silence_where_another_network_is_joined(minictr, busybox_root):
    run = minictr("run", "-d", "--name", "of", "--rootfs", busybox_root, "--", "sleep", "1000")
    path = "/proc/%d/ns/net" % json.loads(minictr("state", run.ok.out.strip()).ok.out)["pid"]
    words = ("--strict", "--net", path, "--read-only", "--rootfs", busybox_root, "--", "true")
    refused = minictr("run", *words)
    shared = minictr("run", "--strict", "--net", "host", *words[3:])
    assert minictr("delete", "--force", "of").ok
    assert refused.status == 123 and "minictr: sysfs: a fresh sysfs on /sys is required" in refused.err
    assert shared == (0, "", ""), "with the host's network the host's is what was asked for"


@pytest.mark.parametrize("prefix", ["", "ns:"])
def test_a_path_may_be_marked_as_one(inside, other, prefix):
    words = list(joins(other, inside.caller, "uts"))
    words[-1] = prefix + words[-1]

    assert inside(["hostname"], *words).ok.out == "other\n"


def test_the_user_namespace_is_joined(inside, other):
    run = inside("readlink /proc/self/ns/user; id -u", "--userns", other.path("user"))

    assert run.ok.lines == [os.readlink(other.path("user")), "0"]


def test_the_callers_groups_that_come_into_a_joined_user_namespace_are_told(minictr, unranged, busybox_root):
    """In one that a user has made alone they cannot be given up."""

    class Theirs:
        options = {"user": unranged}

    other = Other(minictr, Theirs, busybox_root)
    words = ["setpriv", "--reuid", str(unranged.uid), "--regid", str(unranged.gid), "--groups", "2345"]
    words += [
        support.python(),
        "-m",
        "minictr",
        "--root",
        minictr.state(unranged),
        "run",
        "--userns",
        other.path("user"),
    ]
    words += ["--rootfs", busybox_root]
    how = {"env": {"PYTHONPATH": support.checkout()}}
    try:
        found = minictr.command(*(words + ["--", "id", "-G"]), **how)
        strict = minictr.command(*(words + ["--strict", "--", "true"]), **how)
    finally:
        other.end()
    told = "groups: wanted none of the caller's, got the caller's: 65534; setgroups(2) is denied in the user"
    assert (found.status, found.out) == (0, "0 65534\n") and "minictr: warning: " + told in found.err, found
    assert strict.status == 123 and "groups: none of the caller's is required: " in strict.err, strict


def test_processes_of_the_other_container_are_seen_and_signalled(inside, other):
    options = ("--userns", other.path("user"), "--pid", other.path("pid"))
    run = inside("ps -o pid,comm; kill -0 1", *options)

    assert ["1", "cat"] in [line.split() for line in run.ok.lines]


def test_a_pid_namespace_without_its_owner_has_no_proc_to_show(minictr, busybox_root):
    """A step down: only who owns it may mount its /proc, and the host's would show too much. A user
    cannot even join it so."""

    class Root:
        options = {}

    other = Other(minictr, Root, busybox_root)
    words = ("--pid", other.path("pid"), "--read-only", "--rootfs", busybox_root, "--", "ls", "/proc")
    try:
        run, strict = minictr("run", *words), minictr("run", "--strict", *words)
    finally:
        other.end()

    assert (run.status, run.out) == (0, "")
    assert run.err.startswith("minictr: warning: proc: wanted a fresh proc on /proc, got an empty directory")
    assert (strict.status, strict.out) == (123, "")


def test_a_server_of_the_other_container_is_reached(minictr, strong_caller, busybox_root, inside):
    other = Other(minictr, strong_caller, busybox_root)
    try:
        words = joins(other, strong_caller, "net")
        command = ("sh", "-c", "echo ready; nc -l -p 4000")
        options = words + ("--read-only", "--rootfs", busybox_root)
        server = minictr.start("run", *options, "--", *command, **strong_caller.options)
        server.expect("ready\n")
        client = (
            "for i in 1 2 3 4 5 6 7 8 9; do echo hello | nc -w 1 127.0.0.1 4000 && break; sleep 0.1; done"
        )
        wait_until(lambda: inside(client, *words).status == 0, what="the server is not reached")
        server.expect("hello\n")
        server.close_input()
        server.wait()
    finally:
        other.end()


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_a_user_who_joins_one_alone_is_told_what_is_missing(minictr, ranged, busybox_root, option):
    class Theirs:
        options = {"user": ranged}

    other = Other(minictr, Theirs, busybox_root)
    try:
        options = ("--" + option, other.path(OPTIONS[option]), "--rootfs", busybox_root)
        run = minictr("run", *options, "--", "true", user=ranged)
    finally:
        other.end()

    assert (run.status, run.out) == (125, "")
    assert run.err.startswith("minictr: join the ") and "--userns PATH" in run.err
    assert run.err.count("\n") == 1


def test_a_user_cannot_join_what_is_roots(minictr, ranged, busybox_root):
    class Root:
        options = {}

    other = Other(minictr, Root, busybox_root)
    try:
        for kind, option in (("user", "userns"), ("net", "net")):
            options = ("--" + option, other.path(kind), "--rootfs", busybox_root)
            run = minictr("run", *options, "--", "true", user=ranged)
            assert (run.status, run.out) == (125, "")
            assert run.err.startswith("minictr: ") and run.err.count("\n") == 1
    finally:
        other.end()


@pytest.mark.parametrize(
    ("option", "path", "why"),
    [
        ("net", "/proc/self/ns/uts", "not a network namespace"),
        ("net", "/etc/passwd", "not a network namespace"),
        ("ipc", "/etc/passwd", "not an ipc namespace"),
        ("userns", "/proc/self/ns/user", "it is the caller's own; hint: --userns host"),
        ("uts", "/proc/self/ns/nothing", "No such file or directory"),
        ("ipc", "relative", "is not one of host, private or ns:PATH"),
    ],
)
def test_a_path_that_cannot_be_joined_is_one_clear_line(minictr, busybox_root, option, path, why):
    run = minictr("run", "--" + option, path, "--rootfs", busybox_root, "--", "true")

    assert (run.status, run.out) == (125, "")
    assert run.err.startswith("minictr: ") and why in run.err and run.err.count("\n") == 1


@needs("unshare")
def test_a_namespace_that_a_file_holds_is_joined(minictr, busybox_root, tmp_path):
    """As `ip netns add` makes them: a file that the namespace is mounted on."""
    path = str(tmp_path / "net")
    with open(path, "w"):
        pass
    subprocess.check_call(["unshare", "--net=" + path, "true"])
    try:
        inode = os.stat(path).st_ino
        options = ("--net", path, "--read-only", "--rootfs", busybox_root)
        run = minictr("run", *options, "--", "readlink", "/proc/self/ns/net")
        assert (run.status, run.out) == (0, "net:[%d]\n" % inode)
        assert_told(run.err, FOREIGN["net"])
    finally:
        subprocess.check_call(["umount", path])


@needs("unshare")
def test_one_that_the_hosts_root_owns_is_joined_beside_another_user_namespace(
    minictr, busybox_root, tmp_path
):
    """Before that: in there nobody has the right any more."""

    class Root:
        options = {}

    path = str(tmp_path / "uts")
    with open(path, "w"):
        pass
    subprocess.check_call(["unshare", "--uts=" + path, "hostname", "of-the-file"])
    other = Other(minictr, Root, busybox_root)
    try:
        words = ("--userns", other.path("user"), "--uts", path, "--read-only", "--rootfs", busybox_root)
        assert minictr("run", *words, "--", "hostname").ok.out == "of-the-file\n"
    finally:
        other.end()
        subprocess.check_call(["umount", path])
