"""`run` with volumes that would leave the root, or cover what must not be covered."""

import os

import pytest
import support
from canaries import refused
from support import needs

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")


@pytest.mark.parametrize("start", ["", "/../../../../../../../..", "/tmp/../.."])
@pytest.mark.parametrize("options", [(), ("--overlay",), ("--userns", "host")], ids=" ".join)
def test_a_volume_whose_target_is_a_link_out_of_the_root_lands_inside(
    minictr, busybox_copy, canary, tmp_path, start, options
):
    """CVE-2017-1002101, CVE-2019-18837; with somebody who swaps the link meanwhile in tests/security."""
    if "--overlay" in options:
        support.require("userns-overlay")
    root = busybox_copy()
    os.symlink(start + canary.path, root + "/outside")
    (tmp_path / "name").write_text("x\n")
    options += ("-v", "%s:/outside/made" % tmp_path, "-v", "%s/name:/outside/file" % tmp_path)
    run = minictr(
        "run",
        *options,
        "--rootfs",
        root,
        "--",
        "sh",
        "-c",
        "ls /outside; cat /outside/made/name /outside/file",
    )

    assert run.ok.fields == ["file", "made", "x", "x"]
    assert canary.untouched
    assert os.path.isdir(root + canary.path + "/made") == ("--overlay" not in options)


@pytest.mark.parametrize(
    ("words", "source", "target"),
    [(("-v", "/usr:/new"), "/usr", "/new"), (("--tmpfs", "/new"), "tmpfs", "/new"), ((), "proc", "/proc")],
    ids=["bind", "tmpfs", "proc"],
)
def test_who_may_not_make_a_target_is_told_to_make_it_beforehand(
    minictr, unranged, busybox_copy, words, source, target
):
    """So it is for root, too, in a user namespace, where the kernel has no id-mapped mounts."""
    root = busybox_copy()
    if target == "/proc":
        os.rmdir(root + target)
    run = minictr("run", *words, "--rootfs", root, "--", "true", user=unranged)

    told = run.err.splitlines()[-1]
    assert (run.status, run.out) == (125, ""), run
    assert told.startswith("minictr: mount %s on %s: Permission denied; hint: " % (source, target)), run
    assert told.endswith("make it in the root file system beforehand, open to all"), run

    os.mkdir(root + target)
    assert minictr("run", *words, "--rootfs", root, "--", "true", user=unranged).status == 0


def test_a_volume_below_a_link_through_proc_is_refused(minictr, busybox_copy, canary, tmp_path):
    root = busybox_copy()
    os.symlink("/proc/self/root" + canary.path, root + "/outside")
    run = minictr("run", "-v", "%s:/outside/made" % tmp_path, "--rootfs", root, "--", "true")

    refused(run, "/outside/made", (125,))
    assert canary.untouched


def test_a_volume_whose_target_is_a_link_to_the_root_is_refused(minictr, busybox_copy, tmp_path):
    root = busybox_copy()
    os.symlink("/", root + "/up")
    run = minictr("run", "-v", "%s:/up" % tmp_path, "--rootfs", root, "--", "true")

    refused(run, "the target leads back to the root")


@pytest.mark.parametrize("option", ["-v", "--tmpfs", "--mount"])
@pytest.mark.parametrize(
    "target", ["/proc", "/proc/", "/proc/sys", "//proc", "/./proc", "/etc/../proc", "/proc/1/x"]
)
def test_a_mount_over_proc_is_refused(minictr, busybox_root, tmp_path, option, target):
    """CVE-2019-16884: what is written below a false /proc goes nowhere."""
    words = {
        "-v": "%s:%s" % (tmp_path, target), "--tmpfs": target,
        "--mount": "type=bind,source=%s,target=%s" % (tmp_path, target),
    }  # fmt: skip
    run = minictr("run", option, words[option], "--rootfs", busybox_root, "--", "true")

    refused(run, "/proc", (125,))


def test_a_mount_over_proc_by_a_link_is_refused_too(minictr, busybox_copy, tmp_path):
    root = busybox_copy()
    os.symlink("proc", root + "/innocent")
    os.symlink("/proc/self", root + "/guileless")
    for target in ("/innocent", "/innocent/sys", "/guileless/attr"):
        run = minictr("run", "-v", "%s:%s" % (tmp_path, target), "--rootfs", root, "--", "true")
        refused(run, "/proc", (125,))


def test_a_place_below_a_read_only_volume_is_told_with_what_would_help(minictr, strong_caller, busybox_root):
    words = ("--overlay", "--rootfs", busybox_root, "-v", "/etc:/mnt:ro", "-v", "/usr:/mnt/new", "--", "true")
    run = minictr("run", *words, **strong_caller.options)
    hint = "choose a target that exists in what is mounted on /mnt"
    assert (run.status, run.out) == (125, "")
    assert run.err.endswith("minictr: mount /usr on /mnt/new: Read-only file system; hint: %s\n" % hint)


def test_duplicate_mounts_are_refused(minictr, busybox_root, tmp_path):
    for words in (
        ["-v", "%s:/v" % tmp_path, "-v", "/etc:/v"],
        ["-v", "%s:/v" % tmp_path, "--tmpfs", "/v/"],
        ["--tmpfs", "/v", "--mount", "type=tmpfs,target=/x/../v"],
    ):
        run = minictr("run", *words, "--rootfs", busybox_root, "--", "true")
        refused(run, "there is a mount on /v already", (125,))


@pytest.mark.parametrize(
    ("volume", "why"),
    [
        ("/no/where:/v", "No such file or directory"),
        ("/etc/passwd:/etc", "the source is a file, the target a directory"),
        ("/etc:/etc/passwd", "the source is a directory, the target a file"),
        ("/etc:relative", "is not an absolute path"),
        ("/etc", "without a source"),
        ("name:/v", "with a name"),
        ("/etc:/v:nonsense", "unknown option nonsense"),
        ("/etc:/v:ro,rw", "contradict"),
        ("/etc:/", "the root itself"),
        ("/etc:/dev", "/dev is the container's own"),
        ("/etc::", "is not of the form"),
    ],
)
def test_a_volume_that_cannot_be(minictr, busybox_root, volume, why):
    refused(minictr("run", "-v", volume, "--read-only", "--rootfs", busybox_root, "--", "true"), why, (125,))
