"""/proc and /sys where an outer container has covered a part of them: the kernel then gives a user
namespace no fresh one, lest it show what was covered."""

import json
import os
import subprocess

import bundles
import callers
import ladders
import pytest
import refusal
import support
from support import needs

from minictr import sample

pytestmark = needs("root", "userns", "busybox", "unshare")

COVERED = {"/proc/keys": ""}  # what runc, docker and podman cover, by /dev/null

GONE = ["umount", "--recursive", "--lazy", "/sys"]

_known = {}


def rung():
    """What this kernel gives beside a covered /proc: ("proc-subset", ...) or the empty directory."""
    if not _known:
        script = (
            "mount --bind /dev/null /proc/keys && exec unshare -Urmpf mount -t proc -o subset=pid proc /mnt"
        )
        given = not support._fails("unshare", "-m", "sh", "-c", script)
        _known[0] = ("proc-subset", "subset=pid") if given else ("proc-empty", "an empty directory")
    return _known[0]


def sh(minictr, caller, script, *words, cover=COVERED, **options):
    words = ["run"] + list(words) + ["--", "sh", "-c", script]
    return ladders.tell(minictr, *words, **dict(caller.options, cover=cover, **options))


def test_the_next_way_is_taken_and_shows_nothing_of_the_host(minictr, strong_caller, busybox_root):
    script = "echo $$; ls /proc; cat /proc/keys /proc/version 2>/dev/null"
    told = sh(minictr, strong_caller, script, "--rootfs", busybox_root)

    code, got = rung()
    assert told.short() == [(code, "proc", "a fresh proc on /proc", got, 1)]
    record = told.warnings[0]
    assert "/proc/keys" in record["why"] and record["fix"]
    numbers = {name for name in told.result.lines[1:] if name.isdigit()}
    if code == "proc-empty":
        assert told.result.lines == ["1"]
    else:
        assert "1" in numbers and len(numbers) < 4
        assert {"sys", "bus", "irq", "keys", "kcore"} & set(told.result.lines) == set()


def test_the_empty_directory_cannot_be_filled(minictr, strong_caller, busybox_root):
    if rung()[0] != "proc-empty":
        pytest.skip("this kernel gives one with subset=pid")
    told = sh(minictr, strong_caller, "mkdir /proc/1 2>&1", "--rootfs", busybox_root)

    assert told.result == (1, "mkdir: can't create directory '/proc/1': Read-only file system\n")


@pytest.mark.parametrize("form", ["strict", "bundle"])
def test_strict_and_a_bundle_refuse_it(minictr, strong_caller, busybox_copy, form):
    root = busybox_copy(strong_caller.account)
    if form == "strict":
        told = sh(minictr, strong_caller, "echo started", "--strict", "--rootfs", root)
    else:
        made = bundles.Bundle(root, account=strong_caller.account)
        sample.make_rootless(made.config)
        if strong_caller.account:
            made.linux["uidMappings"][0]["hostID"] = strong_caller.account.uid
            made.linux["gidMappings"][0]["hostID"] = strong_caller.account.gid
        made.save()
        words = ["run", "--bundle", made.path, made.identifier]
        told = ladders.tell(minictr, *words, **dict(strong_caller.options, cover=COVERED))

    assert told.result == (123, "")
    assert told.lines[0].startswith("minictr: proc: a fresh proc on /proc is required: ")
    assert "/proc/keys" in told.lines[0] and "; hint: " in told.lines[0]


def test_the_host_s_is_shown_on_demand(minictr, strong_caller, busybox_root):
    """With what the outer container has covered still covered."""
    script = "ls -d /proc/%d; wc -c < /proc/keys; ls /proc/acpi | wc -l" % os.getpid()
    told = sh(minictr, strong_caller, script, "--host-proc", "--rootfs", busybox_root)

    assert told.result.status == 0, told.result
    if rung()[0] == "proc-subset":
        pytest.skip("this kernel gives one with subset=pid")
    assert told.short() == [("proc-host", "proc", "a fresh proc on /proc", "the host's", 1)]
    assert told.result.lines[0] == "/proc/%d" % os.getpid()
    assert told.result.lines[1:] == ["0", "0"]


def test_with_the_host_s_processes_its_proc_is_shown_read_only_where_it_matters(
    minictr, strong_caller, busybox_root
):
    script = "ls -d /proc/%d; echo x 2>/dev/null > /proc/sys/kernel/hostname || echo refused" % os.getpid()
    told = sh(minictr, strong_caller, script, "--pid", "host", "--rootfs", busybox_root)

    assert told.result == (0, "/proc/%d\nrefused\n" % os.getpid(), "")  # asked for, so no step down


def test_a_fresh_one_needs_no_step_where_nothing_is_covered(minictr, strong_caller, busybox_root):
    told = sh(minictr, strong_caller, "ls -d /proc/1 /proc/keys", "--rootfs", busybox_root, cover=None)

    assert told.result == (0, "/proc/1\n/proc/keys\n", "")


def test_root_without_a_user_namespace_is_not_concerned(minictr, busybox_root):
    caller = callers.Caller("root", None, True)
    told = sh(minictr, caller, "ls -d /proc/1", "--userns", "host", "--rootfs", busybox_root)

    assert told.result == (0, "/proc/1\n", "")


def test_what_reads_proc_still_has_an_answer(minictr, strong_caller, busybox_root):
    """Our own set-up must not count on the container's /proc: every option that writes there."""
    words = ["--sysctl", "net.ipv4.ip_forward=1", "--init", "--rootfs", busybox_root]
    told = sh(minictr, strong_caller, "echo started", *words)

    assert told.result == (0, "started\n"), told.result
    assert [record["code"] for record in told.warnings] == [rung()[0]]


@pytest.mark.parametrize("words", [[], ["--privileged"]], ids=["unprivileged", "privileged"])
def test_sysfs_that_is_covered_is_the_host_s_read_only(minictr, strong_caller, busybox_root, words):
    empty = support.SESSION.place("empty")
    script = "ls /sys/kernel | wc -l; echo x 2>/dev/null > /sys/class/net/lo/mtu || echo refused; "
    script += "grep -E ' /sys(/kernel)? ' /proc/mounts | grep -cv ' ro,'; ls /sys/class/net"
    covered = {"/sys/kernel": empty}
    told = sh(minictr, strong_caller, script, "--rootfs", busybox_root, *words, cover=covered)

    assert told.short() == [("sysfs-host", "sysfs", "a fresh sysfs on /sys", "the host's, read-only", 1)]
    assert "/sys/kernel" in told.warnings[0]["why"]
    assert told.result.lines[:3] == ["0", "refused", "0"]
    assert sorted(told.result.lines[3:]) == sorted(os.listdir("/sys/class/net"))


@pytest.mark.parametrize("how", ["covered", "unmounted"])
def test_where_the_host_has_no_sysfs_none_of_its_own_is_shown(minictr, strong_caller, busybox_root, how):
    """What is told of it is true: nothing of the host's is there instead."""
    if how == "unmounted" and strong_caller.account:
        pytest.skip("the tests cover files for a user, and no more")
    empty = support.SESSION.place("empty")
    options = {"cover": {"/sys": empty}}
    if how == "unmounted":
        options = {"cover": {}, "setup": lambda: refusal.cover({}) or subprocess.check_call(GONE)}
    told = sh(minictr, strong_caller, "ls -A /sys | wc -l", "--rootfs", busybox_root, **options)

    assert told.result == (0, "0\n"), told.result
    assert told.short() == [("sysfs-none", "sysfs", "a fresh sysfs on /sys", "none", 1)]
    fix = {"covered": "umount /sys", "unmounted": "mount -t sysfs sysfs /sys"}[how]
    assert told.warnings[0]["fix"].replace("as root: ", "") == fix

    report = minictr(
        "report", "--json", "--rootfs", busybox_root, "--", "true", **strong_caller.options, **options
    )
    rows = {row["layer"]: (row["got"], row["ok"]) for row in json.loads(report.out)["layers"]}
    assert (rows["sys"], rows["cgroup-files"]) == (("none", False), ("none", True))


# --- below a root that was moved ----------------------------------------------------------------

# A user namespace inside gets a fresh one, with nothing masked, where a whole one is mounted anywhere
NESTED = """
    for kind in proc sysfs; do
        if unshare -Urmnpf mount -o ro -t $kind none /tmp 2>/dev/null; then echo $kind; fi
    done
"""
OPEN = ("--security-opt", "seccomp=unconfined")


@pytest.mark.parametrize("users", [(), ("--userns", "host")], ids=["userns", "host's ids"])
def test_of_the_host_s_root_below_an_overlay_nothing_stays(minictr, users):
    words = (
        users + OPEN + ("--overlay", "--", "sh", "-c", "echo written >/etc/new && cat /etc/new; " + NESTED)
    )
    told = ladders.tell(minictr, "run", *words, refuse=["pivot_root"])

    assert told.result == (0, "written\n"), told.result
    assert [record["code"] for record in told.warnings if not record["code"].startswith("overlay")] == [
        "root-move"
    ]
    words = users + OPEN + ("--security-opt", "unmask=ALL", "--overlay", "--", "sh", "-c", NESTED)
    told = ladders.tell(minictr, "run", *words, refuse=["pivot_root"])
    assert told.result == (0, "proc\nsysfs\n"), told.result


def behind(minictr, caller, script, *words):
    """Run minictr WORDS where SCRIPT, called with a directory, has mounted more of /proc; what it told."""
    log = os.path.join(support.SESSION.place("log", 0o777), "log")
    place = support.SESSION.place("behind")
    program = [support.python(), "-m", "minictr", "--root", minictr.state(caller.account)]
    program += ["--log", log, "--log-format", "json", "run"] + list(words)
    become = []
    if caller.account:
        uid, gid = str(caller.account.uid), str(caller.account.gid)
        become = ["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups"]
    script = (
        'cd "$0" && mkdir -p in/proc && mount -t tmpfs in in && mkdir in/proc && %s && exec "$@"' % script
    )
    result = minictr.command(
        *(["unshare", "-m", "sh", "-c", script, place] + become + program),
        env={"PYTHONPATH": support.checkout()},
        refuse=["pivot_root"],
    )
    return ladders.Told(result, log), place + "/in/proc"


BEHIND = {
    "plainly": "mount -t proc proc in/proc",
    "two of them": "mount -t proc proc in/proc && mount -t proc proc in/proc",
    "under another": "mount -t proc proc in/proc && mount -t tmpfs over in/proc",
    "shared": "mount --make-shared in && mount -t proc proc in/proc",
    "behind a closed door": "mount -t proc proc in/proc && chmod 0 in",
    "shadowed": "mount -t proc proc in/proc && mount -t tmpfs over in && mkdir in/proc",
}


@pytest.mark.parametrize("where", sorted(BEHIND))
def test_a_whole_proc_somewhere_on_the_host_is_hidden_or_told(minictr, strong_caller, busybox_root, where):
    words = ("--rootfs", busybox_root, "--", "sh", "-c", NESTED)
    told, place = behind(minictr, strong_caller, BEHIND[where], *(OPEN + words))

    out = where in ("behind a closed door", "shadowed")
    assert told.result == (0, "proc\n" if out else ""), told.result
    codes = [record["code"] for record in told.warnings]
    assert codes == ["root-move"] + ["masked-below"] * out, told.result
    if out:
        assert told.warnings[1]["why"].endswith(": " + place)


def test_one_that_cannot_be_hidden_is_a_loss_where_user_namespaces_may_be_made(minictr, busybox_root):
    caller = callers.Caller("root", None, True)
    words = ("--require", "masked-paths", "--rootfs", busybox_root, "--", "echo", "ran")
    told, _ = behind(minictr, caller, BEHIND["shadowed"], *words)
    assert (told.result.out, [record["code"] for record in told.warnings]) == ("ran\n", ["root-move"])

    told, place = behind(minictr, caller, BEHIND["shadowed"], *(OPEN + words))
    assert told.result == (123, ""), told.result
    assert told.errors[0].startswith("masked paths: no whole /proc or /sys but the container's is required: ")
    assert place in told.errors[0]
