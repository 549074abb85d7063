"""What a container sees after a step down: what is lost is lost as it was said, and nothing else."""

import os
import shutil
import socket
import stat
import time

import callers
import ladders
import pytest
import support
from support import needs

pytestmark = needs("root", "userns", "busybox", "seccomp")

NEW_MOUNT_CALLS = "fsopen fsconfig fsmount open_tree move_mount mount_setattr"


def sh(minictr, caller, refused, script, *words, **options):
    """Run SCRIPT in a container under REFUSED; what it told."""
    words = ["run"] + list(words) + ["--", "sh", "-c", script]
    return ladders.tell(minictr, *words, refuse=refused, **dict(caller.options, **options))


# --- the root -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refused, way",
    [
        ([], None),
        (["pivot_root"], "move"),
        (["pivot_root", "mount&MS_MOVE"], "chroot"),
        (["mount"], "chroot"),
        (["clone&CLONE_NEWNS", "clone3=ENOSYS"], "chroot"),
    ],
    ids=["pivot_root", "move", "chroot", "chroot without mounts", "chroot without a mount namespace"],
)
def test_the_root_is_the_rootfs_and_no_dots_lead_out(minictr, strong_caller, busybox_root, refused, way):
    script = "cd ..; stat -c %d:%i / /.. . ../../..; cat /etc/hostname; ls -a / | sort"
    told = sh(minictr, strong_caller, refused, script, "--rootfs", busybox_root)

    assert told.result.status == 0, told.result
    found = os.stat(busybox_root)
    assert told.result.lines[:4] == ["%d:%d" % (found.st_dev, found.st_ino)] * 4
    assert told.result.lines[4:] == ["busybox", ".", ".."] + sorted(os.listdir(busybox_root))
    assert [record["got"] for record in told.warnings if record["layer"] == "root"] == ([way] if way else [])


CHDIR = ["clone&CLONE_NEWUSER", "clone3=ENOSYS"]


@needs("rootless")
def test_a_user_without_namespaces_runs_the_rootfs_program_in_it_as_itself(minictr, unranged, busybox_root):
    caller = callers.Caller("unranged", unranged, False)
    script = "pwd; id -u; id -g; readlink /proc/$$/exe; grep -c . /etc/passwd"
    words = ["--rootfs", busybox_root, "--workdir", "/home", "--user", "app"]
    told = sh(minictr, caller, CHDIR + ["landlock_create_ruleset=ENOSYS"], script, *words)

    with open("/etc/passwd") as file:  # every file of the host can be opened: that is what is lost
        count = str(len(file.readlines()))
    busybox = os.path.realpath(busybox_root + "/bin/busybox")
    expected = [busybox_root + "/home", str(unranged.uid), str(unranged.gid), busybox, count]
    assert (told.result.status, told.result.lines) == (0, expected), told.result
    lost = {record["layer"]: record["lost"] for record in told.warnings}
    kinds = ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"]
    assert sorted(lost) == sorted(["id map", "root", "Landlock"] + [kind + " namespace" for kind in kinds])
    assert "the program runs as the caller" in lost["user namespace"]
    assert "every file of the host" in lost["root"]


@needs("rootless")
@pytest.mark.parametrize(
    "command, status, out",
    [
        (["busybox", "echo", "by PATH"], 0, "by PATH\n"),
        (["/bin/busybox", "echo", "by its path"], 0, "by its path\n"),
        (["bin/busybox", "echo", "from the working directory"], 0, "from the working directory\n"),
        (["python3", "-c", ""], 127, ""),
        (["/usr/bin/python3", "-c", ""], 127, ""),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_without_a_root_programs_are_still_those_of_the_rootfs(
    minictr, ranged, busybox_root, command, status, out
):
    words = ["run", "--rootfs", busybox_root, "--"] + command
    told = ladders.tell(minictr, *words, refuse=CHDIR, user=ranged)

    assert told.result == (status, out), told.result


def test_userns_host_is_no_power_for_a_user(minictr, ranged, busybox_root):
    words = ["run", "--userns", "host", "--rootfs", busybox_root, "--", "id", "-u"]
    told = ladders.tell(minictr, *words, user=ranged)

    assert told.result == (0, "%d\n" % ranged.uid), told.result
    assert [record["wanted"] for record in told.warnings if record["layer"] == "user"] == ["user 0"]


# --- namespaces ---------------------------------------------------------------------------------

SPACES = {
    "cgroup": ("cgroup", "unshare&CLONE_NEWCGROUP"), "ipc": ("ipc", "clone&CLONE_NEWIPC"),
    "network": ("net", "clone&CLONE_NEWNET"), "pid": ("pid", "clone&CLONE_NEWPID"),
    "user": ("user", "clone&CLONE_NEWUSER"), "uts": ("uts", "clone&CLONE_NEWUTS"),
}  # fmt: skip


@pytest.mark.parametrize("kind", [None] + sorted(SPACES))
def test_the_namespace_that_was_refused_is_shared_and_no_other(minictr, busybox_root, kind):
    refused = [SPACES[kind][1], "clone3=ENOSYS"] if kind else []
    names = sorted(name for name, _ in SPACES.values()) + ["mnt"]
    script = "for n in %s; do readlink /proc/self/ns/$n; done" % " ".join(names)
    told = sh(
        minictr, callers.Caller("root", None, True), refused, script, "--host-proc", "--rootfs", busybox_root
    )

    assert told.result.status == 0, told.result
    own = [os.readlink("/proc/self/ns/" + name) for name in names]
    shared = [name for name, mine, theirs in zip(names, own, told.result.lines) if mine == theirs]
    assert shared == ([SPACES[kind][0]] if kind else [])


@pytest.mark.parametrize("call", ["sethostname", "sethostname=ENOSYS", "clone&CLONE_NEWUTS"])
def test_without_a_name_of_its_own_the_host_s_is_seen(minictr, strong_caller, busybox_root, call):
    words = ["--hostname", "box", "--rootfs", busybox_root]
    told = sh(minictr, strong_caller, [call, "clone3=ENOSYS"], "hostname", *words)

    assert told.result == (0, socket.gethostname() + "\n")


def test_a_lost_network_namespace_shows_the_host_s_devices_read_only(minictr, strong_caller, busybox_root):
    script = "ls /sys/class/net; { echo 1 > /sys/class/net/lo/mtu; } 2>&1"
    refused = ["clone&CLONE_NEWNET", "clone3=ENOSYS"]
    told = sh(minictr, strong_caller, refused, script, "--rootfs", busybox_root, "--userns", "auto")

    assert told.result.lines[:-1] == sorted(os.listdir("/sys/class/net"))
    assert told.result.lines[-1].endswith("can't create /sys/class/net/lo/mtu: Read-only file system")


@pytest.mark.parametrize("error", ["EACCES", "EINVAL", "ENOSPC", "ENOSYS", "EUSERS"])
def test_a_namespace_that_the_kernel_has_not_or_has_no_more_of_is_shared(minictr, busybox_root, error):
    refused = ["clone&CLONE_NEWUTS=" + error, "clone3=ENOSYS"]
    found = minictr("run", "--rootfs", busybox_root, "--", "hostname", refuse=refused)

    assert found == (0, socket.gethostname() + "\n"), found
    assert "minictr: warning: uts namespace: wanted a new one, got the host's" in found.err


@pytest.mark.parametrize("kind", ["net", "ipc", "uts", "pid", "user"])
@needs("rootless", "unshare")
def test_a_limit_of_namespaces_is_named_with_the_command_that_lifts_it(minictr, unranged, busybox_root, kind):
    """user.max_*_namespaces, of a user namespace around us: the host's own are not touched."""
    limit = "user.max_%s_namespaces" % kind
    set_limit = "echo 0 > /proc/sys/user/max_%s_namespaces && exec " % kind
    script = set_limit + "%s -m minictr --root %s run --rootfs %s -- echo started" % (
        support.python(), minictr.state(unranged), busybox_root,
    )  # fmt: skip
    env = {"PYTHONPATH": support.checkout()}
    result = minictr.command("unshare", "-Urm", "sh", "-c", script, user=unranged, env=env)

    assert result == (0, "started\n"), result
    line = [line for line in result.err.splitlines() if limit in line][0]
    name = {"net": "network"}.get(kind, kind)
    assert line.startswith("minictr: warning: %s namespace: wanted a new one, got the host's; " % name)
    assert "; fix: " in line and limit + "=" in line.partition("; fix: ")[2]


# --- mounts without the calls of Linux 5.2 and 5.12 -----------------------------------------------


def mounts(told):
    """Of each mount that can be seen: point, type, options."""
    assert told.result.status == 0, told.result
    found = {}
    for line in told.result.out.splitlines():
        left, _, right = line.partition(" - ")
        point, options = left.split()[4:6]
        found[point] = (right.split()[0], set(options.split(",")) - {"idmapped"})
    return found


@pytest.fixture(scope="module")
def shown():
    """A directory to show in containers."""
    directory = support.SESSION.place("shown")
    with open(directory + "/file", "w") as file:
        file.write("shown\n")
    return directory


MOUNT_OPTIONS = {
    "a rootfs": ["--rootfs", "ROOT"],
    "a read-only rootfs": ["--rootfs", "ROOT", "--read-only"],
    "volumes": [
        "--rootfs", "ROOT", "-v", "SHOWN:/mnt/rw", "-v", "SHOWN:/mnt/ro:ro",
        "-v", "SHOWN/file:/etc/shown:ro,exec",
        "-v", "SHOWN:/mnt/rro:rro", "-v", "SHOWN:/mnt/one:bind,exec", "--tmpfs", "/mnt/tmp:size=1m,exec",
    ],
    "the host's root": [],
    "the host's root with a volume": ["-v", "SHOWN:/mnt:ro"],
    "an overlay": ["--rootfs", "ROOT", "--overlay"],
    "no user namespace": ["--rootfs", "ROOT", "--userns", "host"],
}  # fmt: skip


@pytest.mark.parametrize("extra", ["", "openat2"], ids=["", "and without openat2"])
@pytest.mark.parametrize("options", sorted(MOUNT_OPTIONS))
def test_an_old_kernel_s_mounts_are_the_same(minictr, strong_caller, busybox_copy, shown, options, extra):
    if options == "no user namespace" and strong_caller.account:
        return  # a user can mount nothing without one
    root = busybox_copy(strong_caller.account)
    words = [word.replace("ROOT", root).replace("SHOWN", shown) for word in MOUNT_OPTIONS[options]]
    script = "cat /proc/self/mountinfo"
    new = sh(minictr, strong_caller, [], script, *words)
    old = sh(minictr, strong_caller, ladders.calls(NEW_MOUNT_CALLS + " " + extra, "ENOSYS"), script, *words)

    assert mounts(old) == mounts(new)
    assert [record["code"] for record in new.warnings] == []
    assert {record["code"] for record in old.warnings} <= {"idmap"}


@pytest.mark.parametrize(
    "call", ["fsopen", "fsconfig", "fsmount", "open_tree", "move_mount", "mount_setattr"]
)
def test_one_new_call_refused_changes_no_mount(minictr, strong_caller, busybox_copy, shown, call):
    root = busybox_copy(strong_caller.account)
    words = [word.replace("ROOT", root).replace("SHOWN", shown) for word in MOUNT_OPTIONS["volumes"]]
    seen = [
        mounts(sh(minictr, strong_caller, refused, "cat /proc/self/mountinfo", *words))
        for refused in ([], [call])
    ]

    assert seen[0] == seen[1]


def test_a_link_in_the_rootfs_leads_nowhere_out_without_openat2(minictr, strong_caller, busybox_copy, shown):
    root, outside = busybox_copy(strong_caller.account), support.SESSION.place("outside", 0o777)
    os.symlink(outside, root + "/link")
    os.symlink("../../../../../../.." + outside, root + "/dots")
    words = ["--rootfs", root, "-v", shown + ":/link/a", "-v", shown + ":/dots/b"]
    refused = ["openat2=ENOSYS"]
    told = sh(minictr, strong_caller, refused, "cat /link/a/file /dots/b/file", *words)

    assert told.result == (0, "shown\nshown\n"), told.result
    assert os.listdir(outside) == []


# --- smaller things -----------------------------------------------------------------------------


@pytest.mark.parametrize("refused", [[], ["close_range"], ["close_range=ENOSYS"]], ids=" ".join)
def test_no_descriptor_of_the_caller_s_reaches_the_program(minictr, strong_caller, busybox_root, refused):
    with open("/etc/hostname") as one, open("/etc/passwd") as two:
        told = sh(
            minictr, strong_caller, refused, "ls /proc/$$/fd; true", "--rootfs", busybox_root,
            pass_fds=(one.fileno(), two.fileno()),
        )  # fmt: skip

    assert told.result == (0, "0\n1\n2\n", "")


@pytest.mark.parametrize("error", ["EPERM", "EACCES", "ENOSYS"])
def test_nodes_that_cannot_be_made_are_bound(minictr, busybox_root, error):
    script = "echo gone > /dev/null; head -c 3 /dev/zero | wc -c; stat -c %t:%T /dev/tty; "
    script += "mount | grep -c /dev/zero"
    words = ["--userns", "host", "--rootfs", busybox_root]
    caller = callers.Caller("root", None, True)
    made = sh(minictr, caller, [], script, *words)
    bound = sh(minictr, caller, ["mknod=" + error], script, *words)

    assert made.result == (1, "3\n5:0\n0\n", "")
    assert bound.result == (0, "3\n5:0\n1\n", "")


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_a_container_is_ended_without_pidfds(minictr, strong_caller, busybox_root, error):
    refused = ["pidfd_open=" + error]
    options = dict(strong_caller.options, refuse=refused)
    for verb in (["kill", "long", "KILL"], ["stop", "--time", "0", "long"], ["delete", "--force", "long"]):
        minictr("run", "-d", "--name", "long", "--rootfs", busybox_root, "--", "sleep", "1000", **options).ok
        minictr(*verb, **options).ok
        if verb[0] == "kill":
            support.wait_until(lambda: minictr("state", "-q", "long", **options).status == 1)
        if verb[0] != "delete":
            minictr("delete", "long", **options).ok


def test_a_full_keyring_is_said(minictr, busybox_root, ranged):
    """The user's quota of keys is used up: the container stays in the caller's session keyring."""
    told = ladders.tell(
        minictr,
        "run",
        "--rootfs",
        busybox_root,
        "--",
        "cat",
        "/proc/key-users",
        user=ranged,
        setup=_use_up_keys,
    )

    assert told.result.status == 0, told.result
    assert [record["code"] for record in told.warnings] == ["keyring"], told.result


def _use_up_keys():
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    add_key, keyctl = {"x86_64": (248, 250), "aarch64": (217, 219)}[os.uname().machine]
    assert libc.syscall(keyctl, 1, b"minictr-test") > 0  # KEYCTL_JOIN_SESSION_KEYRING
    number = quiet = 0
    while quiet < 10:  # the kernel is still taking away those of containers that have ended
        if libc.syscall(add_key, b"user", b"key %d" % number, b"x", ctypes.c_ulong(1), -3) < 0:
            quiet += 1  # KEY_SPEC_SESSION_KEYRING; EDQUOT
            time.sleep(0.02)
        else:
            quiet, number = 0, number + 1
            assert number < 100000, "no quota of keys"


@pytest.mark.parametrize("path", ["/proc/self/ns/net", "/proc/self/ns/uts"])
def test_a_namespace_that_cannot_be_joined_is_an_error_with_its_cause(minictr, busybox_root, path):
    option = "--net" if path.endswith("net") else "--uts"
    words = ["run", option, path, "--rootfs", busybox_root, "--", "true"]
    told = ladders.tell(minictr, *words, refuse=["setns"])

    kind = {"--net": "network", "--uts": "uts"}[option]
    assert told.result.status == 125
    assert told.lines[0].startswith("minictr: join the %s namespace: " % kind)
    assert "seccomp filter" in told.lines[0] and "; hint: " in told.lines[0]


@needs("unshare", "root", "userns")
def test_a_device_that_the_host_lacks_is_told_of(minictr, busybox_root):
    place = support.SESSION.place("dev")
    words = [support.python(), "-m", "minictr", "--root", minictr.state(), "run", "--rootfs", busybox_root]
    script = "mount -t tmpfs none {0}; for name in null zero random urandom tty; do touch {0}/$name; "
    script += "mount --bind /dev/$name {0}/$name; done; mount --rbind {0} /dev\n"
    script += "{1} -- sh -c 'ls /dev/full /dev/zero 2>&1'; {1} --strict -- true 2>/dev/null; echo $?"
    text = script.format(place, " ".join(words))
    found = minictr.command("unshare", "-m", "sh", "-c", text, env={"PYTHONPATH": support.checkout()})

    assert found.out == "ls: /dev/full: No such file or directory\n/dev/zero\n123\n", found
    told = "minictr: warning: devices: wanted /dev/full, got none; the host has no /dev/full; lost: programs"
    assert found.err.startswith(told) and found.err.endswith("fix: mknod -m 666 /dev/full c 1 7\n"), found


# --- mounts below mounts ------------------------------------------------------------------------


@pytest.mark.parametrize("refused", ["", NEW_MOUNT_CALLS], ids=["new calls", "old calls"])
def test_a_volume_is_read_only_all_the_way_down(minictr, strong_caller, busybox_root, refused):
    outer, inner = support.SESSION.place("outer"), support.SESSION.place("inner", 0o777)
    os.mkdir(outer + "/below")
    words = ["--rootfs", busybox_root, "-v", outer + ":/mnt:rro", "-v", outer + ":/srv:ro"]
    script = "touch /mnt/below/x; touch /mnt/x; touch /srv/x; touch /srv/below/x"
    told = sh(
        minictr, strong_caller, ladders.calls(refused, "ENOSYS"), "{ %s; } 2>&1" % script, *words,
        cover={outer + "/below": inner},
    )  # fmt: skip

    lines = told.result.lines
    assert [line.rpartition(": ")[2] for line in lines] == ["Read-only file system"] * 4
    assert os.listdir(inner) == []


@needs("rootless", "root")
@pytest.mark.parametrize("refused", [NEW_MOUNT_CALLS, "mount_setattr"], ids=["old calls", "5.2"])
@pytest.mark.parametrize("option", ["ro", "rro"])
def test_what_lies_below_a_volume_out_of_reach_is_not_left_as_it_was_in_silence(
    minictr, ranged, busybox_copy, refused, option
):
    """Without mount_setattr(2) it has to be reached. Below the host's own root it is closed to the container
    as well; a volume is somebody's who has asked for it."""
    outer, inner = support.SESSION.place("outer"), support.SESSION.place("inner", 0o777)
    os.makedirs(outer + "/closed/below")
    os.chmod(outer + "/closed", 0o700)
    words = ["--rootfs", busybox_copy(ranged), "-v", "/srv:/mnt:" + option, "--", "true"]
    covers = {"/srv": outer, "/srv/closed/below": inner}
    refuse = [call + "=ENOSYS" for call in refused.split()]
    found = minictr("run", *words, user=ranged, refuse=refuse, cover=covers)

    why = "mount /srv on /mnt: /mnt/closed/below: Permission denied; hint: before Linux 5.12 "
    assert found.status == 125 and why in found.err, found


@pytest.mark.parametrize(
    "refused", ["", NEW_MOUNT_CALLS, "mount_setattr"], ids=["new calls", "old calls", "5.2"]
)
def test_no_device_below_the_rootfs_can_be_used(minictr, strong_caller, busybox_copy, refused):
    root, inner = busybox_copy(strong_caller.account), support.SESSION.place("inner", 0o755)
    os.mkdir(root + "/below")
    for place in (root, inner):
        os.mknod(place + "/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.chmod(place + "/null", 0o666)
    script = "{ echo x > /null; echo x > /below/null; } 2>&1"
    told = sh(
        minictr, strong_caller, ladders.calls(refused, "ENOSYS"), script, "--rootfs", root,
        cover={root + "/below": inner},
    )  # fmt: skip

    assert [line.rpartition(": ")[2] for line in told.result.lines] == ["Permission denied"] * 2, told.result


@pytest.mark.parametrize("refused", ["", NEW_MOUNT_CALLS], ids=["new calls", "old calls"])
def test_the_host_s_root_is_read_only_all_the_way_down(minictr, strong_caller, refused):
    """Also below a directory that the container's root may not enter, which does not stop the start."""
    outer, inner, closed = [support.SESSION.place(name, 0o777) for name in ("outer", "inner", "closed")]
    for place in (outer, closed):
        os.mkdir(place + "/below")
    os.chmod(closed, 0o700)
    covers = {"/srv": outer, "/srv/below": inner, "/mnt": closed, "/mnt/below": inner}
    script = "{ touch /srv/x; touch /srv/below/x; ls /mnt; } 2>&1; ls /srv"
    told = sh(minictr, strong_caller, ladders.calls(refused, "ENOSYS"), script, cover=covers)

    found = [line.rpartition(": ")[2] for line in told.result.lines]
    assert found == ["Read-only file system", "Read-only file system", "Permission denied", "below"]
    assert os.listdir(inner) == []


# --- the interpreter that starts the container ---------------------------------------------------


def own_interpreter(account, owner=None, mode=0o755):
    """A copy of Python that belongs to ACCOUNT, or to (uid, gid)."""
    source = support.python()
    inside = source.startswith(support.SESSION.directory)  # there it finds its library by its own place
    target = os.path.join(os.path.dirname(source) if inside else account.place("bin"), "python-of-a-user")
    shutil.copyfile(source, target)
    os.chown(target, *(owner or (account.uid, account.gid)))
    os.chmod(target, mode)
    return target


def by_a_stand_in(minictr, user, program, *words, group=None):
    """Whether the container of WORDS is started by the stand-in; it is run too. group: a further one"""
    command = [program, "-m", "minictr", "--root", minictr.state(user)]
    if group is not None:
        ids = "--reuid=%d --regid=%d --groups=%d,%d" % (user.uid, user.gid, user.gid, group)
        command, user = ["setpriv"] + ids.split() + command, None
    env = {"PYTHONPATH": support.checkout()}
    ran = minictr.command(*(command + ["run"] + list(words) + ["--", "true"]), user=user, env=env)
    assert ran.status == 0, ran
    told = minictr.command(*(command + ["explain"] + list(words) + ["--", "true"]), user=user, env=env)
    return any(line.endswith("execute true by a stand-in") for line in told.ok.lines)


@needs("rootless")
def test_a_user_s_own_interpreter_is_out_of_the_container_s_reach(minictr, ranged, busybox_root):
    """Root inside is the user, who may write to it."""
    words = ["--rootfs", busybox_root]

    assert by_a_stand_in(minictr, ranged, own_interpreter(ranged), *words)
    assert not by_a_stand_in(minictr, ranged, support.python(), *words)


@needs("rootless", "root", "setpriv")
@pytest.mark.parametrize("alone", [False, True], ids=["all ids", "one id"])
@pytest.mark.parametrize(
    "mode, group, expected",
    [
        (0o755, "own", False), (0o775, "own", True), (0o775, "further", True), (0o775, "other", False),
        (0o757, "other", True),
    ],
    ids=lambda value: oct(value)[2:] if type(value) is int else "",
)  # fmt: skip
def test_so_is_one_that_the_user_may_write_to_by_a_group_or_as_anybody(
    minictr, ranged, busybox_root, mode, group, expected, alone
):
    """Its groups are the container's, too."""
    gid = {"own": ranged.gid, "further": 4, "other": 0}[group]
    program = own_interpreter(ranged, (0, gid), mode)
    words = ["--uidmap", "0:%d:1" % ranged.uid, "--gidmap", "0:%d:1" % ranged.gid] if alone else []
    words += ["--rootfs", busybox_root]
    assert by_a_stand_in(minictr, ranged, program, *words, group=4) is expected


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], False),
        (["--userns", "host"], True),
        (["--uidmap", "0:0:1000"], True),
        (["--uidmap", "0:5:1000"], False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_root_s_interpreter_is_out_of_the_container_s_reach(minictr, busybox_root, words, expected):
    assert by_a_stand_in(minictr, None, support.sys.executable, "--rootfs", busybox_root, *words) is expected


@needs("root")
@pytest.mark.parametrize("mode, expected", [(0o755, False), (0o775, True)], ids=["not writable", "writable"])
def test_so_it_is_where_its_group_is_the_container_s(minictr, ranged, busybox_root, mode, expected):
    program = own_interpreter(ranged, (0, 5), mode)
    words = ("--rootfs", busybox_root, "--uidmap", "0:5:1000", "--gidmap", "0:5:1000")
    assert by_a_stand_in(minictr, None, program, *words) is expected
