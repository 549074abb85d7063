"""A caller in a chroot(2), as in a rescue system: there the kernel refuses user namespaces, and pivot_root
where the root is no mount; where it is one, what lies above stays."""

import errno
import json
import os

import ladders
import pytest
import support
from support import in_child, needs

from minictr import abi, libc, mounting, namespaces, paths

pytestmark = needs("root", "userns", "busybox", "unshare")

SHOWN = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc")
HOST = ("--userns", "host")
each_user = pytest.mark.parametrize("users", [(), HOST], ids=["userns", "host's ids"])


class Chroot:
    """A directory to change the root to, with the host's programs, /proc, /sys and /dev.

    mounted: it is a mount itself; propagation: of all mounts around it
    """

    def __init__(self, minictr, mounted, propagation):
        self.minictr, self.place = minictr, support.SESSION.place("chroot")
        self.prefix = os.path.dirname(os.path.dirname(os.path.realpath(support.python())))
        shown = [path for path in SHOWN if os.path.isdir(path)]
        shown += [self.prefix, support.checkout(), support.CHECKOUT, support.SESSION.directory]
        for path in shown + ["/proc", "/sys", "/dev", "/tmp", "/run"]:
            os.makedirs(self.place + path, exist_ok=True)
        lines = ["mount --make-r%s /" % propagation]
        lines += ["mount --bind {0} {0}".format(self.place)] if mounted else []
        lines += ["mount --bind %s %s%s" % (path, self.place, path) for path in shown]
        lines += ["mount --rbind %s %s%s" % (path, self.place, path) for path in ("/proc", "/sys", "/dev")]
        self.script = " && ".join(lines)

    def shell(self, script, **options):
        """Run SCRIPT around it; in that is "$IN" for what goes before a command in it."""
        env = {"PYTHONPATH": support.checkout(), "IN": "chroot " + self.place}
        # first of all its mounts are private: what is shared would spread to the host's
        words = ["unshare", "-m", "sh", "-c", "%s && %s" % (self.script, script)]
        return self.minictr.command(*words, env=env, **options)

    def run(self, *words, account=None, before=(), **options):
        """What minictr WORDS tells in it, called by ACCOUNT; BEFORE are words for refusal.py."""
        log = os.path.join(support.SESSION.place("log", 0o777), "log")
        state = self.minictr.state(account)
        program = [support.python(), "-m", "minictr", "--root", state, "--log", log, "--log-format", "json"]
        if before:
            refusing = [support.python(), support.CHECKOUT + "/tests/refusal.py"]
            program = refusing + list(before) + ["--"] + program
        quoted = " ".join("'%s'" % word.replace("'", "'\\''") for word in program + list(words))
        become = "--userspec=%d:%d " % (account.uid, account.gid) if account else ""
        script = "exec chroot %s%s %s" % (become, self.place, quoted)
        return ladders.Told(self.shell(script, **options), log)


@pytest.fixture(
    params=[(False, "private"), (False, "shared"), (True, "private"), (True, "shared")],
    ids=["directory", "directory, shared", "mount", "mount, shared"],
)
def chroot(request, minictr):
    return Chroot(minictr, *request.param)


@pytest.fixture(params=[False, True], ids=["directory", "mount"])
def private(request, minictr):
    return Chroot(minictr, request.param, "private")


@each_user
def test_a_container_is_as_anywhere(chroot, users):
    script = "id -u; grep -c . /proc/self/uid_map; ls /proc | grep -c '^[0-9]'; cat /proc/self/uid_map"
    told = chroot.run("run", *(users + ("--", "sh", "-c", script)))

    assert (told.result.status, told.warnings) == (0, []), told.result
    root, lines, processes, first, outside, _ = told.result.fields
    assert (root, lines, first) == ("0", "1", "0"), told.result
    assert int(processes) < 10, told.result
    assert (outside == "0") is bool(users), told.result


@each_user
def test_nothing_that_lies_above_is_within_reach(private, users):
    python = "%s:%s:ro" % (private.prefix, private.prefix)
    told = private.run("run", *(users + ("-v", python, "--", support.python(), "-c", ladders.ESCAPE)))

    assert told.result.out == "held\n", told.result
    assert (told.result.status, told.warnings) == (0, [])


@each_user
def test_the_report_is_as_anywhere(private, users):
    told = private.run("report", "--json", *(users + ("--", "true")))

    found = json.loads(told.result.out)
    assert found["level"] == ("container" if users else "rootless"), told.result
    assert [row["ok"] for row in found["layers"] if row["layer"] == "root"] == [True]


def bundle(minictr, root, **linux):
    """A bundle with ROOT whose program waits, its own mounts, and LINUX."""
    path = support.SESSION.place("bundle")
    os.rename(root, path + "/rootfs")
    config = json.loads(minictr("spec").ok.out)
    config["process"].update(args=["sleep", "60"], terminal=False)
    config["linux"].update(linux, cgroupsPath="/minictr-test-chroot-%d" % os.getpid())
    return path, config


@pytest.mark.parametrize("propagation", ["", "shared"])
def test_no_mount_of_it_is_seen_outside(chroot, busybox_copy, minictr, propagation):
    """rootfsPropagation is of what is mounted on the container's root later, not of that itself."""
    path, config = bundle(minictr, busybox_copy(), rootfsPropagation=propagation)
    with open(path + "/config.json", "w") as file:
        json.dump(config, file)
    program = "$IN %s -m minictr --root %s" % (support.python(), minictr.state())
    script = "before=$(wc -l </proc/self/mountinfo); %s run -d -b %s box </dev/null" % (program, path)
    script += "; wc -l </proc/self/mountinfo; %s list -q; %s delete -f box; echo $before" % (program, program)
    result = chroot.shell(script).ok

    during, name, before = result.fields
    assert (name, during) == ("box", before), result


def test_a_time_namespace_takes_nothing_from_it(private):
    """It takes a process between the runtime and the container's first one."""
    told = private.run("run", "--time-offset", "boottime=9000", "--", "cat", "/proc/self/uid_map")

    assert (told.result.status, told.warnings) == (0, []), told.result
    assert told.result.fields[:1] == ["0"] and told.result.fields[1] != "0"


def test_maps_of_a_mount_alone(private, busybox_copy, minictr):
    """Their user namespace is made beside the container's."""
    path, config = bundle(minictr, busybox_copy())
    maps = [{"containerID": 0, "hostID": 300000, "size": 1}]
    mount = {"destination": "/vol", "type": "bind", "source": path, "options": ["bind", "idmap"]}
    config["mounts"].append(dict(mount, uidMappings=maps, gidMappings=maps))
    config["process"]["args"] = ["ls", "-lnd", "/vol"]
    with open(path + "/config.json", "w") as file:
        json.dump(config, file)
    told = private.run("run", "--allow-degraded", "-b", path, "box")

    if "idmap" in [record["code"] for record in told.warnings]:
        assert told.warnings[0]["errno"] == errno.EINVAL, told.result  # of a file system that cannot
        pytest.skip("the file system of %s shows no other ids" % path)
    assert (told.result.status, told.warnings) == (0, []), told.result
    assert told.result.fields[2:4] == ["300000", "300000"], told.result


def test_the_doctor_finds_nothing_amiss(private):
    told = private.run("doctor", "--json")

    checks = json.loads(told.result.out)["checks"]
    names = ("user namespace", "mounts", "fresh /proc", "pivot_root")
    assert [check["ok"] for check in checks if check["check"] in names] == [True] * 4, told.result
    assert told.result.status == 0


def test_a_user_is_told_of_it(minictr, ranged):
    told = Chroot(minictr, False, "private").run("run", "--", "id", "-u", account=ranged)

    assert told.result.fields == [str(ranged.uid)], told.result
    lost = [record for record in told.warnings if record["code"] == "user-namespace"]
    assert lost[0]["why"].startswith("we are in a chroot, and to leave it "), told.result


# --- where it cannot be left --------------------------------------------------------------------


def test_who_may_not_look_for_the_root_is_told(minictr, busybox_root):
    """Not in a chroot: but who could tell?"""
    told = ladders.tell(minictr, "run", "--strict", "--rootfs", busybox_root, "--", "true", refuse=["setns"])

    assert (told.result.status, told.warnings) == (0, []), told.result
    assert [record["code"] for record in told.notices] == ["root-unproven"]
    assert "filter" in told.notices[0]["why"]


def test_a_chroot_that_cannot_be_left_has_no_mounts(minictr, busybox_root):
    words = ("run",) + HOST + ("--rootfs", busybox_root, "--", "true")
    told = Chroot(minictr, False, "private").run(*words, refuse=["setns"])

    assert (told.result.status, [record["code"] for record in told.warnings][:1]) == (0, ["mounts"]), (
        told.result
    )


@pytest.mark.parametrize("mounted", [False, True], ids=["directory", "mount"])
def test_outside_of_it_no_name_is_taken_that_was_meant_inside(minictr, busybox_root, mounted):
    """Where chdir(2) alone is left, programs are found by the name of the root's directory."""
    refused = [["--refuse", call] for call in ("chroot", "pivot_root", "mount&MS_MOVE", "move_mount")]
    told = Chroot(minictr, mounted, "private").run(
        "run", *(HOST + ("--rootfs", busybox_root, "--", "echo", "started")), before=sum(refused, [])
    )

    if mounted:
        assert (told.result.status, told.result.out) == (125, ""), told.result
        assert "change the root: every way is refused" in told.errors[0]
    else:  # not left at all
        assert (told.result.status, told.result.out) == (0, "started\n"), told.result
        assert "root-chdir" in [record["code"] for record in told.warnings]


@pytest.mark.parametrize("power", ["all", "without CAP_SYS_ADMIN"])
def test_who_looks_outside_is_where_they_were(tmp_path, power):
    """With no descriptor more than before, whether it could be left or not."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "some" / "place").mkdir(parents=True)

    def body():
        libc.unshare(abi.CLONE_NEWNS)
        mounting.set_propagation("/", abi.MS_PRIVATE | abi.MS_REC)
        libc.mount("proc", str(tmp_path / "proc"), "proc", 0)
        os.chroot(str(tmp_path))
        os.chdir("/some/place")
        if power != "all":
            every = libc.capget()[0] & ~(1 << abi.CAP_SYS_ADMIN)
            libc.capset(every, every, 0)
        proc, found = paths.open_proc(), "held"
        before = os.listdir("/proc/self/fd")
        try:
            with namespaces.Outside(proc):
                found = "outside"
        except PermissionError:
            pass
        return "%s %s %s" % (found, os.getcwd(), os.listdir("/proc/self/fd") == before)

    assert in_child(body) == "%s /some/place True" % ("outside" if power == "all" else "held")


def test_who_has_no_sys_is_told_to_make_one(minictr):
    private = Chroot(minictr, True, "private")
    private.script += " && umount -l {0}/sys && rmdir {0}/sys".format(private.place)
    run = private.run("run", "--", "true").result

    assert (run.status, run.err.splitlines()[-1]) == (
        125,
        "minictr: mount sysfs on /sys: Read-only file system; hint: mkdir /sys on the host, or --overlay",
    )
