"""`minictr doctor` on hosts that refuse things for real."""

import json
import os
import signal
import subprocess
import time

import pytest
import refusal
import support
from support import needs, wait_until

FULL = [
    "user namespace",
    "mounts",
    "fresh /proc",
    "pivot_root",
    "host name",
    "network",
    "ipc",
    "cgroup namespace",
]
VERDICT = "a full container can run here (exit status 0)"


class Report:
    """What `doctor --json` says: checks by their names."""

    def __init__(self, result):
        document = json.loads(result.out)
        self.status, self.ok, self.verdict = result.status, document["ok"], document["verdict"]
        self.checks = {check["check"]: check for check in document["checks"]}
        assert all(
            sorted(check) == ["check", "detail", "fix", "ok", "required", "why"]
            for check in document["checks"]
        )
        assert self.status == (0 if self.ok else 1)
        assert [
            name for name, check in self.checks.items() if check["ok"] is False and not check["why"]
        ] == []

    def refused(self):
        return [name for name in self.checks if self.checks[name]["required"] and not self.checks[name]["ok"]]

    def __getitem__(self, name):
        return self.checks[name]


@pytest.fixture
def doctor(minictr):
    def run(**options):
        result = minictr("doctor", "--json", state=False, **options)
        assert result.err == "", result
        return Report(result)

    return run


@pytest.fixture(params=["root", "ranged", "unranged", "number"])
def caller(request):
    """Who asks: options of Runner."""
    if request.param == "number":
        return {"user": 4000000000}
    if request.param == "root":
        return {}
    return {"user": request.getfixturevalue(request.param)}


pytestmark = needs("root", "userns")


def test_a_full_container_can_run_for_everybody(doctor, caller):
    report = doctor(**caller)

    assert report.refused() == []
    assert report.ok and report.verdict == VERDICT
    assert not {"ip", "pasta", "slirp4netns"} & set(report.checks), "nothing here would use them"


def test_each_check_is_one_line_and_the_verdict_the_last(minictr, caller):
    result = minictr("doctor", state=False, **caller)

    lines = result.out.splitlines()
    assert lines[-2:] == ["", VERDICT]
    assert all(line.split()[0] in ("ok", "no", "info") for line in lines[:-2])
    assert [line[6:24].strip() for line in lines if line[6:24].strip() in FULL] == FULL


def test_the_ids_of_a_user_with_a_range(doctor, ranged):
    check = doctor(user=ranged)["id maps"]

    assert check["ok"] and check["detail"] == "65537 ids, by newuidmap and newgidmap"


def test_the_range_of_a_user_without_one_is_added_by_one_command(doctor, unranged):
    check = doctor(user=unranged)["id maps"]

    assert not check["ok"] and not check["required"]
    assert check["why"] == "/etc/subuid has no range for %s; /etc/subgid has no range for %s" % (
        (unranged.name,) * 2
    )
    assert check["fix"].startswith("as root: usermod --add-subuids ") and check["fix"].endswith(unranged.name)


@needs("newuidmap")
def test_helpers_that_are_missing(doctor, ranged):
    check = doctor(user=ranged, cover="no-helpers")["id maps"]

    assert check["why"] == "newuidmap is not installed" and check["fix"].startswith("as root: ")


@needs("newuidmap")
def test_helpers_without_their_bit(doctor, ranged):
    check = doctor(user=ranged, cover="plain-helpers")["id maps"]

    assert "has neither the setuid bit of root nor the file capability" in check["why"]
    assert "chmod 4755" in check["fix"]


@needs("newuidmap")
def test_helpers_under_no_new_privs(doctor, ranged):
    report = doctor(user=ranged, no_new_privs=True)

    assert report.ok
    assert report["id maps"]["why"].startswith("no_new_privs is set in the caller")
    assert report["id maps"]["fix"].startswith("start from a login shell")
    assert "set in the caller" in report["no_new_privs"]["detail"]


# --- refusals ---------------------------------------------------------------------------------


@needs("seccomp")
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_pivot_root_is_refused(doctor, caller, error):
    report = doctor(refuse=["pivot_root=" + error], **caller)

    assert report.refused() == ["pivot_root"]
    assert report.verdict.endswith("what stands in the way: pivot_root")
    assert "seccomp filter" in report["pivot_root"]["why"]
    assert report["chroot"]["ok"]


def test_a_network_takes_no_tool(doctor):
    found = doctor(env={"PATH": "/nowhere"})["network"]

    assert found["ok"] and "no tool of the host's is needed" in found["detail"]


@needs("seccomp")
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_a_user_namespace_without_power_is_not_usable(doctor, caller, error):
    report = doctor(refuse=["mount=" + error], **caller)

    assert "user namespace" in report.refused() and "fresh /proc" in report.refused()
    assert report["user namespace"]["why"].startswith("it is made, but has no power: ")
    assert report["network"]["ok"]


@needs("seccomp")
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_no_user_namespace_for_a_user(doctor, ranged, error):
    report = doctor(user=ranged, refuse=refusal.userns_refusals(error))

    assert report.refused() == FULL
    assert "seccomp filter" in report["user namespace"]["why"]
    assert report["mounts"]["why"] == "only with a user namespace, or more capabilities" or error == "ENOSYS"


@needs("seccomp")
def test_no_user_namespace_for_root(doctor):
    report = doctor(refuse=refusal.userns_refusals())

    assert report.refused() == ["user namespace"]
    assert report.verdict.endswith("with --userns host everything else is there")


@needs("seccomp")
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_nothing_can_be_unshared(doctor, unranged, error):
    calls = ["unshare=" + error, "clone3=ENOSYS"] + [
        "clone&%s=%s" % (flag, error)
        for flag in refusal.FLAGS
        if flag.startswith("CLONE_NEW") and "TIME" not in flag
    ]
    report = doctor(user=unranged, refuse=calls)

    assert report.refused() == FULL
    assert report["seccomp"]["ok"]


@needs("seccomp")
@pytest.mark.parametrize(
    "call, check", [("sethostname", "host name"), ("chroot", "chroot"), ("clone&CLONE_NEWNET", "network")]
)
def test_one_thing_is_refused(doctor, unranged, call, check):
    report = doctor(user=unranged, refuse=[call, "clone3=ENOSYS"])

    assert [name for name in FULL + ["chroot"] if not report[name]["ok"]] == [check]


@needs("seccomp")
def test_an_old_kernel_is_no_obstacle(doctor, ranged):
    calls = [
        "openat2",
        "clone3",
        "fsopen",
        "open_tree",
        "move_mount",
        "mount_setattr",
        "close_range",
        "pidfd_open",
    ]
    report = doctor(user=ranged, refuse=[call + "=ENOSYS" for call in calls])

    assert report.ok
    assert report["system calls"]["detail"].startswith(
        "without openat2 clone3 fsopen open_tree mount_setattr"
    )


def test_root_without_capabilities(doctor):
    report = doctor(drop=["ALL"])

    assert report.refused()[0] == "user namespace"
    assert "CAP_SETFCAP" in report["user namespace"]["why"] or "CAP_SETUID" in report["user namespace"]["why"]


def test_root_without_cap_sys_admin_is_a_user(doctor):
    report = doctor(drop=["SYS_ADMIN"])

    assert report.ok and report["caller"]["detail"].startswith("uid 0")


@pytest.mark.parametrize("ranges", ["", "root:300000:65536\n"], ids=["none", "a range"])
def test_root_without_a_capability_maps_itself_alone_and_that_is_why(doctor, tmp_path, ranges):
    """Whether it has a range of ids or not."""
    (tmp_path / "ranges").write_text(ranges)
    cover = {"/etc/subuid": str(tmp_path / "ranges"), "/etc/subgid": str(tmp_path / "ranges")}
    check = doctor(drop=["SYS_ADMIN"], cover=cover)["id maps"]

    assert check["ok"] is False
    assert check["why"] == "CAP_SYS_ADMIN is not held, without which root maps itself alone"
    assert check["fix"]


# --- odd places -------------------------------------------------------------------------------


def as_user(uid, *steps):
    """A setup for Runner: mounts in a namespace of the command's own, before it becomes a user."""

    def setup():
        refusal.cover({})
        for step in steps:
            if os.spawnvp(os.P_WAIT, step[0], step):
                raise RuntimeError("%s failed" % (step,))
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)

    return setup


def after(minictr, steps, *words, **env):
    """minictr by a user with only a number, after mounts that root has made."""
    command = (support.python(), "-B", "-m", "minictr") + words
    library = os.path.join(os.path.dirname(os.path.dirname(support.python())), "lib")
    # a copied Python finds its library by $ORIGIN, which the loader asks /proc for
    env.update(PYTHONPATH=support.checkout(), LD_LIBRARY_PATH=library)
    return minictr.command(*command, setup=as_user(54321, *steps), env=env)


@pytest.fixture
def doctor_after(minictr):
    def run(*steps):
        result = after(minictr, steps, "doctor", "--json")
        assert result.err == "", result
        return Report(result)

    return run


def test_a_part_of_proc_is_hidden(doctor_after):
    report = doctor_after(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "/proc/acpi"])

    assert report.refused() == ["fresh /proc"]
    assert report["fresh /proc"]["why"].endswith(
        "a part of /proc is hidden (mounts on /proc/acpi), so the kernel shows no fresh one"
    )


def test_proc_is_read_only(doctor_after, minictr):
    steps = [["mount", "-o", "remount,bind,ro", "/proc"]]
    report = doctor_after(*steps)

    assert report["user namespace"]["why"] == "Read-only file system: /proc is read-only"
    fix = "as root: mount -o remount,bind,rw /proc"
    assert report["user namespace"]["fix"] == fix
    root = support.SESSION.place("root", 0o777) + "/state"
    last = after(minictr, steps, "--root", root, "run", "--", "true").err.splitlines()[-1]
    assert last == "minictr: write setgroups: /proc is read-only; hint: " + fix


def test_proc_is_something_else(doctor_after):
    report = doctor_after(["mount", "-t", "tmpfs", "tmpfs", "/proc"])

    assert report.refused()[:2] == ["/proc", "user namespace"]
    assert report["/proc"]["fix"] == "as root: mount -t proc proc /proc"


@needs("cgroup1")
def test_a_controller_is_missing(doctor):
    def setup():
        refusal.cover({})
        subprocess.check_call(["umount", "--lazy", "/sys/fs/cgroup/memory"])

    check = doctor(setup=setup)["cgroups"]

    assert not check["ok"] and " memory" not in check["detail"]
    assert check["why"] == "no hierarchy with the controller memory is mounted"
    assert check["fix"].endswith(" && mount -t cgroup -o memory cgroup /sys/fs/cgroup/memory")
    assert doctor()["cgroups"]["ok"]


def test_there_is_no_dev(doctor_after):
    report = doctor_after(["mount", "-t", "tmpfs", "tmpfs", "/dev"])

    assert report["/dev/null"]["why"] == "/dev/null is missing"


def test_nothing_is_writable(doctor_after):
    steps = []
    for place in ("/tmp", "/run", "/var/tmp", "/dev/shm"):
        steps += [["mount", "--bind", place, place], ["mount", "-o", "remount,bind,ro", place]]

    report = doctor_after(*steps)

    assert report.refused() == ["state directory"]
    assert report["state directory"]["why"] == "none of /run, /tmp, /dev/shm, /var/tmp is writable"
    fix, _, other = report["state directory"]["fix"].partition("; or ")
    assert fix == "as root: mount -t tmpfs -o mode=1777 tmpfs /tmp" and "--root DIR" in other


@pytest.mark.parametrize("options", ["nr_inodes=1", "size=4k"])
def test_no_room_for_the_state(doctor_after, options):
    """Without a file, or without a block, to spare: `run` would say so, too."""
    place, mount = "/run/user/54321", ["mount", "-t", "tmpfs", "-o"]
    fill = "chown 54321 {0}; dd if=/dev/zero of={0}/x bs=4k count=1 2>/dev/null; true".format(place)
    report = doctor_after(
        mount + ["mode=755", "tmpfs", "/run"], ["mkdir", "-p", place],
        mount + ["mode=755," + options, "tmpfs", place], ["sh", "-c", fill],
    )  # fmt: skip

    assert report.refused() == ["state directory"]
    assert report["state directory"]["why"] == place + " is on a file system that is full"
    assert "--root DIR" in report["state directory"]["fix"]


def test_where_nothing_can_be_executed_the_state_may_lie_all_the_same(minictr, busybox_root):
    steps = [["mount", "-t", "tmpfs", "-o", "noexec,nosuid,mode=700,uid=54321", "tmpfs", "/run"]]
    found = after(minictr, steps, "doctor", XDG_RUNTIME_DIR="/run")
    line = "ok    state directory    /run/minictr (nosuid, noexec: does not matter)"
    assert line in found.ok.lines, found

    words = ("run", "--overlay", "--rootfs", busybox_root, "--", "sh", "-c", "touch /x && busybox ls /x")
    found = after(minictr, steps, *words, XDG_RUNTIME_DIR="/run")
    assert (found.status, found.out) == (0, "/x\n"), found


# --- it changes nothing -----------------------------------------------------------------------


def test_a_poor_caller(doctor, unranged):
    report = doctor(
        user=unranged, ignore=(signal.SIGCHLD,), umask=0o777, close=(0,), env={"HOME": None, "PATH": None}
    )

    assert report.ok


def test_without_standard_streams_the_status_says_it(minictr, unranged):
    assert minictr("doctor", state=False, user=unranged, close=(0, 1, 2)).status == 0


def test_unknown_arguments_are_an_error(minictr):
    result = minictr("doctor", "--jason", state=False)

    assert result.status == 125 and "unknown argument --jason" in result.err


def test_nothing_of_the_host_is_changed(minictr, unranged):
    def host():
        names = []
        for place in ("/mnt", "/tmp", "/run", "/var/tmp", "/dev/shm"):
            for name in os.listdir(place):
                path = os.path.join(place, name)
                if os.path.lexists(path) and os.lstat(path).st_uid == unranged.uid:
                    names.append(path)
        with open("/proc/self/mountinfo") as file:
            mounts = [line for line in file if " - tmpfs minictr " in line]
        return names, mounts, os.uname().nodename

    before = host()
    minictr("doctor", state=False, user=unranged)

    assert host() == before


def test_killed_at_any_time_it_leaves_no_process(minictr, unranged):
    for delay in (0.05, 0.1, 0.15, 0.2):
        live = minictr.start("doctor", state=False, user=unranged)
        time.sleep(delay)
        live.kill()
        wait_until(lambda: processes(unranged.uid) == [], what="processes are left")


def processes(uid):
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat("/proc/" + name).st_uid == uid:
                found.append(name)
        except FileNotFoundError:
            pass
    return found
