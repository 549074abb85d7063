"""`--require`: what cannot be had refuses the start with exit status 123, naming the layer, why, and what
would change it. Nothing has run then, and nothing is left."""

import json
import os
import subprocess
import tempfile

import pytest
import support
from support import needs

from minictr import abi, levels, libc, mounting, paths, signs, spec, syscalls
from minictr.errors import Degradation

pytestmark = needs("root", "userns", "busybox", "seccomp")

UNCONFINED = ("--security-opt", "seccomp=unconfined")
UNMASKED = ("--security-opt", "unmask=ALL")
HOST_ROOT = ("--userns", "host")
MAPPED_ROOT = ("--uidmap", "0:0:65536")
ALONE = ("-u", "1")


def start(minictr, busybox_root, require, *options, **keywords):
    words = ("--require", require) + options + ("--rootfs", busybox_root, "--", "echo", "ran")
    return minictr("run", *words, **keywords)


@pytest.mark.parametrize("level", ["sandbox", "container", "rootless", "container,keyring,interpreter"])
def test_what_the_default_container_has_may_be_required(minictr, strong_caller, busybox_root, level):
    run = start(minictr, busybox_root, level, **strong_caller.options)
    assert (run.status, run.out) == (0, "ran\n"), run


# what is required, options, the layer that the error names, words of its reason, words of its fix
CONTRADICTIONS = (
    ("rootless", ("--userns", "host"), "user", "the user namespace is the host's", "--userns private"),
    ("container", ("--pid", "host"), "pid", "the pid namespace is the host's", "--pid private"),
    ("container", ("--net", "host"), "network", "the network namespace is the host's", "--net private"),
    ("ipc", ("--ipc", "host"), "ipc", "the ipc namespace is the host's", "--ipc private"),
    ("uts", ("--uts", "host"), "uts", "the uts namespace is the host's", "--uts private"),
    ("cgroup", ("--cgroupns", "host"), "cgroup", "the cgroup namespace is the host's", "--cgroupns private"),
    ("time", (), "time", "the time namespace is the host's", "--time private"),
    ("sandbox", UNCONFINED, "seccomp", "there is no filter of system calls", "seccomp=unconfined"),
    ("sandbox", ("--security-opt", "no-new-privileges=false"), "no-new-privs", "not asked for", "leave"),
    ("sandbox", HOST_ROOT + ("--cap-add", "SYS_ADMIN"), "files", "it is granted CAP_SYS_ADMIN, by", "leave"),
    ("files", HOST_ROOT + ("--cap-add", "DAC_READ_SEARCH"), "files", "CAP_DAC_READ_SEARCH, by", "leave"),
    ("sandbox", HOST_ROOT + ("--cap-add", "BPF,PERFMON"), "files", "CAP_PERFMON, CAP_BPF, by", "leave"),
    ("files", HOST_ROOT + UNCONFINED + ("--cap-add", "SYS_BOOT"), "files", "CAP_SYS_BOOT, by", "leave"),
    ("sandbox", HOST_ROOT + ("--pid", "host"), "files", "/proc/PID/root", "leave --pid or --userns host out"),
    ("sandbox", HOST_ROOT + ("--host-proc",), "files", "/proc/PID/root", "leave --host-proc or"),
    ("sandbox", HOST_ROOT + ("--cgroups", "disabled"), "files", "any device may be opened", "--cgroups"),
    ("sandbox", HOST_ROOT + ("--security-opt", "unmask=/proc/sys"), "files", "/proc/sys can be", "unmask="),
    ("sandbox", MAPPED_ROOT + ("--security-opt", "unmask=/proc/sys"), "files", "/proc/sys can", "unmask="),
    ("sandbox", MAPPED_ROOT + ("--cap-add", "SYS_ADMIN"), "files", "it is granted CAP_SYS_ADMIN", "leave"),
    ("container", ("--cap-add", "SYS_ADMIN"), "capabilities", "it is granted CAP_SYS_ADMIN", "leave"),
    ("masked-paths", ("--security-opt", "unmask=ALL"), "masked-paths", "no path is masked", "unmask"),
    ("masked-paths", ("--privileged",), "masked-paths", "no path is masked", "leave --privileged out"),
    ("seccomp", ("--privileged",), "seccomp", "no filter of system calls", "leave --privileged out"),
    ("container", UNMASKED, "masked-paths", "no path is masked", "unmask"),
    ("container", UNMASKED + ("--security-opt", "mask=/etc"), "masked-paths", "/proc/kcore is not", "leave"),
    ("masked-paths", ("--security-opt", "unmask=/proc/sys"), "masked-paths", "/proc/sys can be", "unmask="),
    ("container", ("--security-opt", "unmask=/proc/sysrq*") + HOST_ROOT, "masked-paths",
     "/proc/sysrq-trigger can be written to", "unmask="),
    ("container", ("-v", "/sys:/sys") + HOST_ROOT, "masked-paths", "/sys can be written to", "/sys"),
    ("container", ("-v", "/proc/sys:/mnt") + HOST_ROOT, "masked-paths", "/mnt can be written to", "leave"),
    ("container", ("-v", "/sys/fs:/mnt") + HOST_ROOT, "masked-paths", "/mnt can be written to", "leave"),
    ("container", ("--security-opt", "unmask=/proc/bus:/proc/irq") + HOST_ROOT, "masked-paths",
     "/proc/bus can be written to", "unmask="),
    ("keyring", ("--no-new-keyring",), "keyring", "the caller's", "leave --no-new-keyring out"),
    ("resources", ("--cgroups", "disabled"), "resources", "has no cgroup", "leave --cgroups disabled out"),
    ("container", HOST_ROOT + ("--cgroups", "disabled"), "devices",
     "neither a user namespace nor a cgroup", "leave --userns host or --cgroups disabled out"),
    ("devices", HOST_ROOT + ("--privileged",), "devices", "every device may be used",
     "leave --privileged out"),
    ("devices", HOST_ROOT + ("--device-cgroup-rule", "b *:0 r"), "devices", "every device may be used",
     "leave --device-cgroup-rule out"),
    ("rootless", ALONE + ("--uidmap", "0:100000:1", "--uidmap", "1:0:1", "--gidmap", "0:100000:2"), "user",
     "user 1 inside is the host's root", "--uidmap"),
    ("rootless", ("--uidmap", "0:100000:9", "--gidmap", "0:0:9"), "user",
     "group 0 inside is the host's", "--gidmap"),
    ("apparmor", (), "apparmor", "no profile is asked for", "--security-opt apparmor="),
    ("selinux", (), "selinux", "no label is asked for", "--security-opt label="),
    ("landlock", (), "landlock", "no Landlock rules are asked for", "--landlock"),
)  # fmt: skip


@pytest.mark.parametrize("require, options, layer, why, fix", CONTRADICTIONS)
def test_what_is_not_even_asked_for_is_named(minictr, busybox_root, require, options, layer, why, fix):
    run = start(minictr, busybox_root, require, *options)
    assert (run.status, run.out) == (123, ""), run
    assert run.err.startswith("minictr: %s is required: " % layer)
    assert why in run.err and fix in run.err.partition("; hint: ")[2]
    assert run.err.count("\n") == 1


BESIDE = 'mount -t proc proc "$0" && exec "$@"'  # a further /proc of the host's, as of a chroot


def beside(minictr, place, *words):
    """minictr WORDS on a host that has a /proc in PLACE, too."""
    os.makedirs(place, exist_ok=True)
    command = ["unshare", "-m", "sh", "-c", BESIDE, place, support.python(), "-m", "minictr"]
    command += ["--root", minictr.state(), *words]
    return minictr.command(*command, env={"PYTHONPATH": support.checkout()})


# options, what is required, why not
BROUGHT = (
    (("-v", "%s:/mnt"), "masked-paths", "/mnt/a/proc/sys can be written to"),
    (("-v", "%s/a/proc:/mnt"), "masked-paths", "/mnt/sys can be written to"),
    (("-v", "%s/a/proc/sys:/mnt"), "masked-paths", "/mnt can be written to"),
    (("-v", "%s:/mnt:ro"), "masked-paths", ""),
    (("-v", "%s:/mnt:bind"), "masked-paths", ""),
    (("-v", "%s:/mnt", "--security-opt", "mask=/mnt/a/proc"), "sandbox,masked-paths", ""),
    (("-v", "%s:/mnt:ro"), "sandbox", "the roots of other processes are in reach, by /mnt/a/proc/PID/root"),
    (("-v", "/proc:/mnt:ro"), "sandbox", "the roots of other processes are in reach, by /mnt/PID/root"),
    (("-v", "/dev/null:/dev/nil"), "container", ""),
)


@needs("unshare")
@pytest.mark.parametrize("options, layers, why", BROUGHT)
def test_a_proc_that_comes_with_a_volume_is_as_open_as_the_first(
    minictr, busybox_root, tmp_path, options, layers, why
):
    words = [word.replace("%s", str(tmp_path)) for word in HOST_ROOT + options]
    words += ["--rootfs", busybox_root, "--", "echo", "ran"]
    place = str(tmp_path / "a" / "proc")
    run = beside(minictr, place, "run", "--require", layers, *words)
    if why:
        assert (run.status, run.out) == (123, "") and " is required: " + why in run.err, run
        level = beside(minictr, place, "report", *words).out.splitlines()[-1]
        assert level.startswith("level: %s" % ("container" if layers == "sandbox" else "none")), level
    else:
        assert (run.status, run.out) == (0, "ran\n"), run


def test_many_mounts_before_it_do_not_hide_one(tmp_path):
    """More of them than a megabyte of /proc/self/mountinfo has."""

    def body():
        libc.unshare(abi.CLONE_NEWNS)
        mounting.set_propagation("/", abi.MS_PRIVATE | abi.MS_REC)
        libc.mount("none", str(tmp_path), "tmpfs", 0)
        place = "%s/%s/%s" % (tmp_path, "a" * 250, "b" * 250)
        os.makedirs(place)
        for _ in range(1100):
            libc.mount(place, place, "", abi.MS_BIND)
        libc.mount("proc", place, "proc", 0)
        text = paths.read_text("/proc/self/mountinfo", 1 << 26)
        return "%d %s" % (len(text) >> 20, signs.mounts()[-1].kind)

    assert support.in_child(body) == "1 proc"


@needs("unshare")
@pytest.mark.parametrize("place, why", [("mnt/proc", "/mnt/proc/sys can be written to"), ("proc", "")])
def test_a_proc_that_comes_with_the_root_is_open_if_it_is_not_where_the_own_is(
    minictr, busybox_copy, place, why
):
    root = busybox_copy()
    words = HOST_ROOT + ("--rootfs", root, "--", "echo", "ran")
    run = beside(minictr, "%s/%s" % (root, place), "run", "--require", "container", *words)
    if why:
        assert (run.status, run.out) == (123, "") and "masked-paths is required: " + why in run.err, run
    else:
        assert (run.status, run.out) == (0, "ran\n"), run


@needs("unshare", "setpriv")
def test_in_a_user_namespace_others_of_it_have_their_files_in_reach_too(minictr, busybox_root):
    """Whoever has started the container is its root as well, and not confined."""
    script = (
        "setpriv --bounding-set -all --inh-caps -all sleep 100 & other=$!; sleep 0.2\n"
        '"$@" --rootfs "$0" -- ls /proc/$other/root; echo $?; kill $other'
    )
    command = ["unshare", "-U", "-r", "sh", "-c", script, busybox_root, support.python(), "-m", "minictr"]
    command += ["--root", minictr.state(), "run", "--userns", "host", "--pid", "host"]
    env = {"PYTHONPATH": support.checkout()}
    assert "root" in minictr.command(*command, env=env).out.split()  # the host's, /root among them
    run = minictr.command(*(command + ["--require", "sandbox"]), env=env)
    assert run.out == "123\n" and "files is required: the roots of other processes are in reach" in run.err


@pytest.mark.parametrize("readonly, why", [([], "/proc/sys can be written to"), (None, "")])
def test_a_user_namespace_that_is_joined_may_have_the_hosts_root_in_it(
    minictr, busybox_root, tmp_path, readonly, why
):
    other = subprocess.Popen(["unshare", "-U", "cat"], stdin=subprocess.PIPE)
    try:
        space = "/proc/%d/ns/user" % other.pid
        support.wait_until(lambda: os.readlink(space) != os.readlink("/proc/self/ns/user"))
        for name in ("uid_map", "gid_map"):
            with open("/proc/%d/%s" % (other.pid, name), "w") as file:
                file.write("0 0 65536")
        config = spec.default_config(["echo", "ran"], busybox_root)
        config["linux"]["namespaces"].append({"type": "user", "path": space})
        config["linux"].update({} if readonly is None else {"readonlyPaths": readonly})
        (tmp_path / "config.json").write_text(json.dumps(config))
        run = minictr("run", "--require", "files", "--bundle", str(tmp_path), "bundled")
    finally:
        other.communicate()
    if why:
        assert (run.status, run.out) == (123, "") and "files is required: " + why in run.err, run
    else:
        assert (run.status, run.out) == (0, "ran\n"), run


TAKEN_OFF = "umount /tmp && cat %s"


def test_what_takes_mounts_off_the_hosts_own_root_is_no_sandbox(minictr):
    with tempfile.NamedTemporaryFile("w", prefix="minictr-test-", dir="/tmp") as file:
        file.write("the host's")
        file.flush()
        os.chmod(file.name, 0o644)
        words = ("--cap-add", "SYS_ADMIN", "--", "sh", "-c", TAKEN_OFF % file.name)
        assert minictr("run", *words).out == "the host's"
        run = minictr("run", "--require", "sandbox", *words)
    assert (run.status, run.out) == (123, "")
    assert (
        "files is required: it is granted CAP_SYS_ADMIN, by which files of the host's are opened" in run.err
    )


@pytest.mark.parametrize(
    "options",
    [("--cap-add", "SYS_MODULE,SYS_ADMIN"), ("--pid", "host"), HOST_ROOT, MAPPED_ROOT + ("--pid", "host"),
     HOST_ROOT + ("--cap-add", "SYS_BOOT")],
)  # fmt: skip
def test_what_reaches_nothing_of_the_hosts_is_a_sandbox(minictr, busybox_root, options):
    run = start(minictr, busybox_root, "sandbox", *options)
    assert (run.status, run.out) == (0, "ran\n"), run


def test_what_a_capability_reaches_is_looked_at_again_without_the_user_namespace(minictr, busybox_root):
    options, refuse = ("--cap-add", "SYS_MODULE"), ["clone3=ENOSYS", "clone&CLONE_NEWUSER=EPERM"]
    run = start(minictr, busybox_root, "sandbox", *options, refuse=refuse)
    assert (run.status, run.out) == (123, ""), run
    assert "files is required: it is granted CAP_SYS_MODULE" in run.err.splitlines()[-1]
    run = minictr("report", *options, "--rootfs", busybox_root, "--", "true", refuse=refuse)
    assert run.out.splitlines()[-1].startswith("level: none"), run

    run = start(minictr, busybox_root, "sandbox", refuse=refuse)
    assert (run.status, run.out) == (0, "ran\n"), run


# what is required, the system calls that the kernel refuses, the layer that the error names
REFUSALS = (
    ("container", ["pivot_root=EPERM", "mount&MS_MOVE=EPERM", "move_mount=EPERM"], "root"),
    ("root", ["mount=EPERM"], "mounts"),
    ("uts", ["sethostname=EPERM"], "host name"),
    ("rootless", ["clone3=ENOSYS", "clone&CLONE_NEWUSER=EPERM"], "user namespace"),
    ("container", ["clone3=ENOSYS", "clone&CLONE_NEWNET=EPERM"], "network namespace"),
)  # fmt: skip


@pytest.mark.parametrize("require, refuse, layer", REFUSALS)
def test_what_the_kernel_refuses_ends_the_start(minictr, busybox_root, require, refuse, layer):
    run = start(minictr, busybox_root, require, refuse=refuse)
    assert (run.status, run.out) == (123, ""), run
    assert run.err.splitlines()[-1].startswith("minictr: %s: " % layer), run
    assert " is required: " in run.err.splitlines()[-1]

    run = start(minictr, busybox_root, "keyring", refuse=refuse)  # without it, a step down and a warning
    assert (run.status, run.out) == (0, "ran\n"), run
    assert run.err.startswith("minictr: warning: "), run


@pytest.mark.parametrize("code, told", [("cgroup-devices", True), ("cgroup-devices-above", False)])
def test_rules_for_devices_that_cannot_be_set_are_a_loss_and_stricter_ones_are_none(code, told):
    record = Degradation(code, "cgroup", "rules for devices", "none", "")
    assert levels.concerns(record, ("devices",)) is told


def test_a_group_of_the_host_that_a_user_is_in_is_the_users_own(minictr, unranged, busybox_root):
    """setpriv(1): a user of the host's group 0, which is mapped to itself then."""
    command = ("setpriv", "--regid", "0", "--clear-groups", "--reuid", str(unranged.uid), "--inh-caps=-all")
    words = ("run", "--require", "rootless", "--rootfs", busybox_root, "--", "cat", "/proc/self/gid_map")
    call = (support.python(), "-m", "minictr", "--root", minictr.state(unranged)) + words
    run = minictr.command(*(command + call), env={"PYTHONPATH": support.checkout()})
    assert (run.status, run.out.split()) == (0, ["0", "0", "1"]), run


def test_a_moved_mount_is_as_good_as_pivot_root(minictr, busybox_root):
    run = start(minictr, busybox_root, "container", refuse=["pivot_root=EPERM"])
    assert (run.status, run.out) == (0, "ran\n"), run
    assert "wanted pivot_root, got move" in run.err


@needs("landlock")
def test_a_sandbox_is_had_by_landlock_where_there_are_no_mounts(minictr, unranged, busybox_root):
    run = start(minictr, busybox_root, "sandbox", "--userns", "host", user=unranged)
    assert (run.status, run.out) == (0, "ran\n"), run
    assert "mount namespace: wanted a new one, got the host's" in run.err
    refuse = ["landlock_create_ruleset=ENOSYS"]
    run = start(minictr, busybox_root, "sandbox", "--userns", "host", user=unranged, refuse=refuse)
    assert (run.status, run.out) == (123, ""), run
    assert run.err.splitlines()[-1].startswith(
        "minictr: Landlock: the program confined to its root is required"
    )


def test_a_root_that_chroot_leaves_is_no_sandbox(minictr, busybox_root):
    refuse = ["pivot_root=EPERM", "mount&MS_MOVE=EPERM", "move_mount=EPERM"]
    run = start(minictr, busybox_root, "sandbox", refuse=refuse)
    assert (run.status, run.out) == (123, ""), run
    assert run.err.splitlines()[-1].startswith("minictr: root: pivot_root is required"), run


@pytest.mark.parametrize(
    "refused",
    [{"drop": ["AUDIT_WRITE"]}, {"drop": ["NET_ADMIN"]}],
    ids=["a capability", "the loopback device"],
)
def test_a_container_with_less_than_was_asked_for_is_no_weaker(minictr, busybox_root, refused):
    run = start(minictr, busybox_root, "container", "--userns", "host", **refused)
    assert (run.status, run.out) == (0, "ran\n"), run
    options = ("--userns", "host", "--rootfs", busybox_root, "--", "true")
    assert json.loads(minictr("report", "--json", *options, **refused).out)["level"] == "container"


@pytest.mark.parametrize("options", [HOST_ROOT + ("--cap-add", "BPF"), ("--cap-add", "BPF,PERFMON")])
def test_what_reads_the_kernels_memory_takes_both_and_no_user_namespace(minictr, busybox_root, options):
    run = start(minictr, busybox_root, "sandbox", *options)
    assert (run.status, run.out) == (0, "ran\n"), run


def test_a_user_alone_has_a_rootless_container(minictr, unranged, busybox_root):
    run = start(minictr, busybox_root, "rootless", user=unranged)
    assert (run.status, run.out) == (0, "ran\n"), run


def test_a_root_that_is_the_hosts_is_no_rootless_container(minictr, busybox_copy):
    options = ("--uidmap", "0:0:65536", "--gidmap", "0:0:65536")
    run = start(minictr, busybox_copy(), "rootless", *options)
    assert run.status == 123, run
    assert run.err.startswith("minictr: user is required: root inside is the host's root")


def test_a_bundle_may_be_required_to_be_confined(minictr, busybox_root, tmp_path):
    config = spec.default_config(["echo", "ran"], busybox_root)
    (tmp_path / "config.json").write_text(json.dumps(config))
    run = minictr("run", "--require", "sandbox", "--bundle", str(tmp_path), "bundled")
    assert run.status == 123
    assert run.err.startswith("minictr: seccomp is required: there is no filter of system calls")
    assert minictr("run", "--require", "root,proc", "--bundle", str(tmp_path), "bundled").ok.out == "ran\n"


@pytest.mark.parametrize(
    "layer, fix",
    [
        ("user", "a new one in linux.namespaces of config.json"),
        ("seccomp", "linux.seccomp of config.json"),
        ("no-new-privs", "process.noNewPrivileges of config.json"),
        ("masked-paths", "linux.maskedPaths and readonlyPaths of config.json, and /sys read-only"),
        ("proc", "a mount of the type proc on /proc and a new pid namespace in config.json"),
        ("capabilities", "process.capabilities of config.json"),
        ("keyring", "leave --no-new-keyring out"),
        ("apparmor", "process.apparmorProfile of config.json"),
        ("landlock", "only containers of the native form have such rules"),
    ],
)
def test_what_would_change_it_can_be_said_of_a_bundle(minictr, busybox_root, tmp_path, layer, fix):
    config = spec.default_config(["echo", "ran"], busybox_root)
    config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] != "/proc"]
    config["process"].update(noNewPrivileges=False, capabilities={"bounding": ["CAP_SYS_ADMIN"]})
    config["linux"]["maskedPaths"] = []
    (tmp_path / "config.json").write_text(json.dumps(config))
    options = ("--no-new-keyring", "--require", layer, "--bundle", str(tmp_path))
    run = minictr("run", *options, "bundled")
    assert (run.status, run.err.partition("; hint: ")[2]) == (123, fix + "\n"), run


def test_capabilities_to_inherit_are_no_container(minictr, busybox_root, tmp_path):
    """With which CVE-2022-24769 and its kin began. Those that are ambient, too, were given to the program."""
    config = spec.default_config(["echo", "ran"], busybox_root)
    sets = config["process"]["capabilities"]
    sets["inheritable"] = sets["bounding"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    words = ("run", "--require", "capabilities", "--bundle", str(tmp_path), "bundled")
    run = minictr(*words)
    assert (run.status, run.out) == (123, ""), run
    assert run.err.startswith("minictr: capabilities is required: it has capabilities to inherit"), run
    sets["ambient"] = sets["bounding"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert minictr(*words).ok.out == "ran\n"


def test_a_profile_that_denies_nothing_is_none(minictr, busybox_root, tmp_path):
    config = spec.default_config(["echo", "ran"], busybox_root)
    config["process"]["apparmorProfile"] = "unconfined"
    (tmp_path / "config.json").write_text(json.dumps(config))
    run = minictr("run", "--require", "apparmor", "--bundle", str(tmp_path), "bundled")
    assert (run.status, run.out) == (123, ""), run
    assert run.err.startswith("minictr: apparmor is required: no profile is asked for"), run
    assert minictr("run", "--strict", "--bundle", str(tmp_path), "bundled").ok.out == "ran\n"


@pytest.mark.parametrize("place", ["/proc", "/proc/", "//proc", "/x/../proc"])
def test_a_proc_of_the_hosts_is_none_of_its_own_however_its_place_is_called(
    minictr, busybox_root, tmp_path, place
):
    config = spec.default_config(["echo", "ran"], busybox_root)
    entry = {"destination": place, "type": "bind", "source": "/proc", "options": ["rbind", "ro"]}
    config["mounts"].append(entry)
    (tmp_path / "config.json").write_text(json.dumps(config))
    run = minictr("run", "--require", "proc", "--bundle", str(tmp_path), "bundled")
    assert (run.status, run.out) == (123, ""), run
    assert run.err.startswith("minictr: proc is required: there is no /proc of its own"), run


# a mount, what is masked beside what always is, and why it is no container; "" for one that is
ELSEWHERE = (
    ({"destination": "/srv", "type": "proc"}, ["/srv/kcore"], "/srv/sys can be written to"),
    ({"destination": "/srv/", "type": "proc", "options": ["ro"]}, [], "/srv/kcore is not masked"),
    ({"destination": "/srv", "type": "proc"}, ["/srv/kcore", "/srv/sys"], "/srv/sysrq-trigger can be"),
    ({"destination": "/srv", "type": "proc", "options": ["ro"]}, ["/srv/kcore"], ""),
    ({"destination": "/srv", "type": "proc", "options": ["subset=pid"]}, [], ""),
    ({"destination": "/srv", "type": "sysfs"}, [], "/srv can be written to"),
    ({"destination": "/srv", "type": "sysfs", "options": ["ro"]}, [], ""),
    ({"destination": "/srv", "type": "tracefs"}, [], "/srv can be written to"),
    ({"destination": "/srv", "type": "tracefs", "options": ["ro"]}, [], ""),
    ({"destination": "/srv", "type": "devtmpfs"}, [], "/srv can be written to"),
    ({"destination": "/srv", "type": "fusectl"}, [], "/srv can be written to"),
    ({"destination": "/srv", "type": "pstore"}, [], "/srv can be written to"),
    ({"destination": "/srv", "type": "devtmpfs", "options": ["ro"]}, [], ""),
    ({"destination": "/srv", "type": "tmpfs"}, [], ""),
)


@pytest.mark.parametrize("mount, masked, why", ELSEWHERE)
def test_a_proc_or_sys_that_a_bundle_has_elsewhere_is_as_open_as_the_first(
    minictr, busybox_copy, tmp_path, mount, masked, why
):
    """Without a user namespace: there a core_pattern is written by whoever is root inside."""
    config = spec.default_config(["echo", "ran"], busybox_copy())
    config["root"]["readonly"] = False
    config["mounts"].append(dict(mount, source="none"))
    config["linux"]["maskedPaths"] += masked
    (tmp_path / "config.json").write_text(json.dumps(config))
    run = minictr("run", "--require", "masked-paths", "--bundle", str(tmp_path), "bundled")
    if why:
        assert (run.status, run.out) == (123, ""), run
        assert run.err.startswith("minictr: masked-paths is required: " + why), run
    else:
        assert (run.status, run.out) == (0, "ran\n"), run


EVERY_CALL = sorted(syscalls.table(abi.machine()))
NEVER = {"args": [{"index": 0, "value": 0, "op": "SCMP_CMP_LT"}]}
# a profile, and why it is no filter; "" for one
PROFILES = (
    ({"defaultAction": "SCMP_ACT_ALLOW"}, "its filter lets every system call pass"),
    ({"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]},
     "its filter lets every system call pass"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mounnt"], "action": "SCMP_ACT_ERRNO"}]},
     "its filter lets every system call pass"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["keyctl"], "action": "SCMP_ACT_TRACE"}]},
     "SCMP_ACT_TRACE leaves calls to a tracer, which may be a program inside"),
    ({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": EVERY_CALL, "action": "SCMP_ACT_ALLOW"}]},
     "its filter lets every system call pass"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [dict(NEVER, names=["acct"], action="SCMP_ACT_ERRNO")]},
     "its filter lets every system call pass"),
    ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]}, ""),
)  # fmt: skip


@pytest.mark.parametrize("profile, why", PROFILES)
def test_a_filter_that_holds_nothing_back_is_none(minictr, busybox_root, tmp_path, profile, why):
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile))
    run = start(minictr, busybox_root, "sandbox", "--security-opt", "seccomp=%s" % path)
    if why:
        assert (run.status, run.out) == (123, ""), run
        assert run.err.startswith("minictr: seccomp is required: " + why), run
    else:
        assert (run.status, run.out) == (0, "ran\n"), run


@pytest.mark.parametrize("word", ["everything", "sandbox,", "pid, ipc"])
def test_a_layer_that_there_is_not_is_an_error(minictr, busybox_root, word):
    run = start(minictr, busybox_root, word)
    assert (run.status, run.out) == (125, ""), run
    assert run.err.startswith("minictr: --require %s: " % word)
    assert "or a level: container, rootless, sandbox" in run.err


def test_every_level_is_made_of_layers():
    for layers in levels.LEVELS.values():
        assert set(layers) <= set(levels.LAYERS)
