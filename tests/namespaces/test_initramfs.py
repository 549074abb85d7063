"""A host whose root is its initramfs, which is mounted on nothing: there the kernel's own pivot_root(2)
fails, with EINVAL; a mount that is moved over the root, and chroot(2), take its place.

Such a host is a virtual machine. By emulation each start takes seconds there, so these tests are few.
"""

import errno
import json
import os
import shutil

import bundles
import ladders
import pytest
from support import needs

pytestmark = needs("root", "userns", "busybox", "initramfs", "unshare")

MOVED = ("root-move", "root", "pivot_root", "move", errno.EINVAL)
WHY = "the root of this host is its initramfs, which pivot_root cannot move"
FIX = "exec switch_root /new /sbin/init"
HOST = ("--userns", "host")
# without id-mapped mounts more is missing below a user namespace than what is looked at here
each_user = pytest.mark.parametrize(
    "users", [pytest.param((), marks=needs("idmap")), HOST], ids=["userns", "host's ids"]
)

# With CAP_SYS_ADMIN: the root is let go of, and setns(2) finds the topmost one that is left
DIG = """\
import ctypes, os
own, libc = os.open("/proc/self/ns/mnt", os.O_RDONLY), ctypes.CDLL(None)
print(libc.umount2(b"/", 2), libc.setns(own, 0x20000), os.path.exists("/srv/checkout"))
"""


def run(minictr, *words, **options):
    return ladders.tell(minictr, "run", *words, **options)


def with_python(root):
    """Options for the root ROOT with the host's Python in it."""
    shown = [word for path in ("/usr", "/lib", "/lib64") for word in ("-v", "%s:%s:ro" % (path, path))]
    return ["--rootfs", root] + shown


def test_the_kernel_itself_refuses_pivot_root(minictr):
    script = "mount -t tmpfs new /mnt && cd /mnt && mkdir old && pivot_root . old"
    result = minictr.command("unshare", "-m", "sh", "-c", script)

    assert result.status == 1 and "Invalid argument" in result.err, result


def test_a_container_starts_and_says_why_its_root_was_moved(minictr, strong_caller, busybox_root):
    """`--require rootless` takes that for as good."""
    script = "cd ..; stat -c %d:%i / /.. . ../../..; cut -d ' ' -f 5 /proc/self/mountinfo | grep -cx /"
    words = ["--require", "rootless", "--rootfs", busybox_root, "--", "sh", "-c", script]
    told = run(minictr, *words, **strong_caller.options)

    found = os.stat(busybox_root)
    assert told.result.lines == ["%d:%d" % (found.st_dev, found.st_ino)] * 4 + ["1"], told.result
    assert told.short("idmap") == [MOVED]
    moved = told.without("idmap")[0]
    assert moved["why"] == WHY and FIX in moved["fix"] and "CAP_SYS_ADMIN" in moved["lost"]


@needs("idmap")
def test_strict_refuses_it(minictr, busybox_root):
    told = run(minictr, "--strict", "--rootfs", busybox_root, "--", "echo", "ran")

    assert told.result == (123, ""), told.result
    assert told.records == [] and len(told.errors) == 1
    assert told.errors[0].startswith("root: pivot_root is required: " + WHY) and FIX in told.errors[0]


def test_a_bundle_refuses_it_unless_it_is_told_otherwise(minictr, busybox_copy):
    made, own = bundles.Bundle(busybox_copy()), bundles.Runtime("minictr", minictr)
    made.process["args"] = ["sh", "-c", "echo ran; read line"]
    found = own.run(made)
    assert found == (123, ""), found
    assert found.err.startswith("minictr: root: pivot_root is required: " + WHY), found

    live = own.start(made, "--allow-degraded")
    live.expect("ran\n")
    state = json.loads(own.verb("state", made.identifier).ok.out)
    records = json.loads(state["annotations"]["org.minictr.degradations"])
    assert [(record["code"], record["errno"]) for record in records] == [("root-move", errno.EINVAL)]
    live.close_input()
    assert live.wait().err.startswith("minictr: warning: root: wanted pivot_root, got move; " + WHY)


@needs("idmap")
def test_whoever_does_not_want_pivot_root_loses_nothing(minictr, busybox_root):
    told = run(minictr, "--strict", "--no-pivot", "--rootfs", busybox_root, "--", "echo", "ran")

    assert told.result == (0, "ran\n", ""), told.result
    assert [record["code"] for record in told.notices] == ["root-move"]


@each_user
def test_the_report_has_the_level_and_the_step_down(minictr, busybox_root, users):
    found = minictr("report", "--json", *(users + ("--rootfs", busybox_root, "--", "true")))

    document = json.loads(found.out)
    assert (found.status, document["level"]) == (1, "container" if users else "rootless"), found
    lost = [(row["layer"], row["got"]) for row in document["layers"] if not row["ok"]]
    assert lost == [("root", "move")]
    tried = [attempt["outcome"] for attempt in document["attempts"] if attempt["layer"] == "root"]
    assert set(tried) == {"refused"}


@each_user
def test_nobody_walks_out_of_the_moved_root_but_who_may_unmount_it(minictr, busybox_copy, users):
    python = with_python(busybox_copy()) + ["--", "/usr/bin/python3", "-c"]
    told = run(minictr, *(list(users) + python + [ladders.ESCAPE]))
    assert told.result == (0, "held\n"), told.result
    assert told.short("idmap") == [MOVED]

    rights = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"]
    told = run(minictr, *(list(users) + rights + python + [DIG]))
    assert told.result == (0, "0 0 True\n"), told.result  # as the warning says


@needs("idmap")
def test_exec_is_at_the_same_root_and_nothing_is_seen_on_the_host(minictr, busybox_copy):
    with open("/proc/self/mountinfo") as file:
        before = file.read()
    root = busybox_copy()
    words = with_python(root) + ["-d", "--name", "box", "--", "sleep", "1000"]
    assert run(minictr, *words).result == (0, "box\n")
    found = minictr("exec", "box", "stat", "-c", "%d:%i", "/", "/..").ok.lines
    escape = minictr("exec", "box", "/usr/bin/python3", "-c", ladders.ESCAPE).ok.out
    with open("/proc/self/mountinfo") as file:
        during = file.read()
    minictr("delete", "--force", "box").ok

    assert found == ["%d:%d" % (os.stat(root).st_dev, os.stat(root).st_ino)] * 2
    assert (escape, during) == ("held\n", before)


@each_user
def test_the_initramfs_itself_below_an_overlay(minictr, users):
    script = "echo new >/etc/minictr-new && cat /etc/minictr-new; ls -d /srv/checkout"
    told = run(minictr, *(users + ("--overlay", "--", "sh", "-c", script)))

    assert told.result.lines == ["new", "/srv/checkout"], told.result
    assert MOVED in told.short() and not os.path.exists("/etc/minictr-new")


@needs("idmap")
def test_a_root_that_lies_in_the_initramfs_keeps_the_host_s_ids(minictr, busybox_copy):
    """The kernel maps no ids of that file system (rootfs_fs_type in init/do_mounts.c)."""
    place = "/root-in-the-initramfs"
    shutil.move(busybox_copy(), place)
    try:
        told = run(minictr, "--rootfs", place, "--", "stat", "-c", "%u", "/etc")
    finally:
        shutil.rmtree(place)

    assert told.result == (0, "65534\n"), told.result
    assert [(record["code"], record["errno"]) for record in told.warnings] == [
        ("idmap", errno.EINVAL),
        ("root-move", errno.EINVAL),
    ]
    assert told.warnings[0]["why"].startswith("rootfs cannot be mounted with other ids")


def test_the_doctor_says_what_stands_in_the_way(minictr):
    found = minictr("doctor", "--json", state=False)

    document = json.loads(found.out)
    check = [check for check in document["checks"] if check["check"] == "pivot_root"][0]
    assert (found.status, check["ok"], check["why"]) == (1, False, "Invalid argument: " + WHY), found
    assert FIX in check["fix"] and document["verdict"].endswith("what stands in the way: pivot_root")
