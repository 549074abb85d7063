"""AppArmor profiles and SELinux labels: on a kernel that has the module, with profiles and a policy of the
tests' own; and what is said on one that has not."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import support
from support import CHECKOUT, needs

from minictr import contexts, lsm, mounts, paths

pytestmark = needs("root", "busybox", "cgroup")

BOX, OTHER, SHUT, LAX, OPEN = ("minictr-test-" + name for name in ("box", "other", "shut", "lax", "open"))
NULL = subprocess.DEVNULL
CURRENT = "cat /proc/self/attr/current"
IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def current(pid):
    with open("/proc/%d/attr/current" % pid) as file:
        return file.read().strip("\0\n ")


def inner_user(made):
    made.namespaces("user")
    made.linux["uidMappings"] = made.linux["gidMappings"] = IDS


def reported(own, made, *options):
    """What `report` says of the label of a bundle (asked, got, ok, proof), and its exit status."""
    made.save()
    found = own.runner(*(("report", "--json") + options + ("--bundle", made.path, made.identifier)))
    return label_row(found) + (found.status,)


def label_row(found):
    assert found.out.startswith("{"), found
    rows = [row for row in json.loads(found.out)["layers"] if row["layer"] in ("apparmor", "selinux")]
    assert len(rows) == 1, found
    return tuple([rows[0][key] for key in ("asked", "got", "ok", "proof")])


PROVEN = ["label of a program read from outside"]


def pid_of(own, made):
    return json.loads(own.runner("state", made.identifier).ok.out)["pid"]


def label_of_a_hook(own, made):
    """What a startContainer hook, here the image's shell, sees of its own label."""
    script = "cat /proc/self/attr/current >/dev/shm/label"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}
    made.config["hooks"] = {"startContainer": [hook]}
    return own.sh(made, "cat /dev/shm/label").ok.out.strip("\0\n ")


# --- a kernel without the module ------------------------------------------------------------------------


@pytest.fixture(params=["AppArmor", "SELinux"])
def absent(request):
    """(layer, the property's name, a value) of a module that this kernel lacks."""
    layer = request.param
    if not lsm.why_not(layer)[0]:
        pytest.skip("this kernel has " + layer)
    return {"AppArmor": (layer, "apparmorProfile", BOX), "SELinux": (layer, "selinuxLabel", "u:r:t:s0")}[
        layer
    ]


def test_a_label_is_refused_where_no_module_would_enforce_it(own, bundle, absent):
    layer, name, value = absent
    made = bundle()
    made.process[name] = value
    found = own.sh(made, "echo ran")
    assert (found.status, found.out) == (123, "")
    assert found.err.startswith("minictr: %s: %s is required: " % (layer, value))
    assert "; hint: " in found.err and found.err.count("\n") == 1


def test_runc_refuses_it_too(runtime, bundle, absent):
    if runtime.name == "crun":
        pytest.skip("crun ignores a label that it cannot apply")
    made = bundle()
    made.process[absent[1]] = absent[2]
    found = runtime.sh(made, "echo ran")
    assert (found.status != 0, found.out) == (True, "")


def test_a_label_of_the_mounts_is_refused_as_well(own, bundle):
    if not lsm.why_not(lsm.SELINUX)[0]:
        pytest.skip("this kernel has SELinux")
    made = bundle()
    made.linux["mountLabel"] = "u:r:t:s0"
    found = own.sh(made, "echo ran")
    assert (found.status, found.out) == (123, "")
    assert found.err.startswith("minictr: SELinux: u:r:t:s0 is required: ")


def test_where_degraded_is_allowed_the_loss_is_told(own, bundle, absent):
    layer, name, value = absent
    made = bundle()
    made.process[name] = value
    made.process["args"] = ["echo", "ran"]
    found = own.run(made, "--allow-degraded")
    assert (found.status, found.out) == (0, "ran\n")
    assert found.err.startswith("minictr: warning: %s: wanted %s, got none; " % (layer, value))
    assert "lost: " in found.err and found.err.count("\n") == 1
    assert own.run(made, "--allow-degraded", "--strict").status == 123


def test_a_report_says_that_the_label_is_not_there(own, bundle, absent):
    made = bundle()
    made.process[absent[1]] = absent[2]
    assert reported(own, made, "--allow-degraded") == (absent[2], "none", False, [], 1)


@pytest.mark.parametrize("option", ["apparmor=" + BOX, "label=type:container_t", "label=type:a\x1fb"])
def test_an_option_that_cannot_be_had_is_never_left_out(minictr, option):
    layer = lsm.APPARMOR if option.startswith("apparmor") else lsm.SELINUX
    if not lsm.why_not(layer)[0]:
        pytest.skip("this kernel has " + layer)
    found = minictr("run", "--security-opt", option, "--", "echo", "ran")
    assert (found.status, found.out, found.err.count("\n")) == (123, "", 1)
    assert "; hint: " in found.err and found.err[:-1].isprintable()


@pytest.mark.parametrize("option", ["apparmor=unconfined", "label=disable"])
def test_what_asks_for_no_label_needs_no_module(minictr, option):
    assert minictr("run", "--security-opt", option, "--", "echo", "ran").ok.out == "ran\n"


def test_exec_refuses_a_label_that_it_cannot_give(own, bundle, absent):
    layer, name, value = absent
    made = bundle()
    made.process["args"] = ["sh", "-c", "echo up; read line"]
    live = own.start(made)
    live.expect("up\n")
    option = "--apparmor" if layer == lsm.APPARMOR else "--process-label"
    found = own.verb("exec", option, value, made.identifier, "echo", "ran")
    assert (found.status, found.out) == (255, "")
    assert found.err.startswith("minictr: %s: %s is required: " % (layer, value))
    live.close_input()
    live.wait()


# --- a label is written where it counts --------------------------------------------------------------------

# In a mount namespace of its own something else lies where the label would be written: a file of another
# file system, or one of procfs that swallows the write (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881)
COVERED = """\
import ctypes, os, sys
from minictr import abi, lsm, paths
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    if result < 0:
        sys.exit(os.strerror(ctypes.get_errno()))
call(libc.unshare(0x20000))
call(libc.mount(None, b"/", None, abi.MS_REC | abi.MS_PRIVATE, None))
proc = paths.open_proc()
call(libc.mount(sys.argv[1].encode(), b"/proc/thread-self/" + sys.argv[2].encode(), None, abi.MS_BIND, None))
label = lsm.Label(layer="SELinux", name="u:r:t:s0")
lsm.take(proc, lsm.open_attributes(proc, label), label)
"""


@pytest.mark.parametrize("calls", [(), ("openat2",)], ids=["", "a kernel before 5.6"])
@pytest.mark.parametrize(
    "source, target",
    [("FILE", "attr/exec"), ("/proc/thread-self/sched", "attr/exec"), ("/proc/thread-self/task", "attr")],
    ids=["another file system", "another file of procfs", "another directory of procfs"],
)
def test_no_mount_below_proc_catches_a_label(minictr, tmp_path, source, target, calls):
    trap = tmp_path / "trap"
    trap.write_text("untouched")
    source = source.replace("FILE", str(trap)).replace("/proc/thread-self/task", "/proc/1/task")
    command = [sys.executable, "-c", COVERED, source, target]
    found = minictr.command(*command, env={"PYTHONPATH": CHECKOUT}, refuse=list(calls))
    assert found.status == 1, found
    assert "something is mounted over it" in found.err.splitlines()[-1]
    assert trap.read_text() == "untouched"


def test_the_same_place_without_a_mount_over_it_is_taken(minictr):
    """Or the tests above would pass whatever lies there."""
    script = COVERED.replace("call(libc.mount(sys.argv", "(lambda *_: 0)((sys.argv")
    found = minictr.command(sys.executable, "-c", script, "x", "y", env={"PYTHONPATH": CHECKOUT})
    assert "mounted over" not in found.err


@pytest.mark.parametrize("where", ["/proc/self/attr", "/proc/thread-self/attr/exec", "/proc/1"])
def test_a_bundle_mounts_nothing_below_proc(own, bundle, where):
    made = bundle()
    made.config["mounts"].append({"destination": where, "type": "tmpfs", "source": "x", "options": []})
    found = own.sh(made, "echo ran")
    assert (found.status, found.out) == (125, "")
    assert "nothing may be mounted over /proc" in found.err


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer, name, said, equal",
    [
        ("AppArmor", "a", "a (enforce)\n", True),
        ("AppArmor", "a", "a", True),
        ("AppArmor", "a b", "a b (complain)", True),
        ("AppArmor", "a", "unconfined\n", False),
        ("AppArmor", "a", "ab (enforce)", False),
        ("AppArmor", "a (enforce)", "a (enforce)", True),
        ("AppArmor", "a(b)", "a(b) (enforce)", True),
        ("AppArmor", "a (b) c", "a (b) c (enforce)", True),
        ("AppArmor", ":ns:a", ":ns://a (enforce)", True),
        ("AppArmor", "b//&a", "a//&b (enforce)", True),
        ("AppArmor", "a", "", False),
        ("SELinux", "u:r:t:s0:c1,c2", "u:r:t:s0:c1,c2\0", True),
        ("SELinux", "u:r:t:s0:c2,c1", "u:r:t:s0:c1,c2\0", True),
        ("SELinux", "u:r:t", "u:r:t:s0\0", True),
        ("SELinux", "u:r:t:s0", "u:r:other:s0", False),
        ("SELinux", "u:r:t:s0", "u:other:t:s0", False),
        ("SELinux", "u:r:t:s0", "other:r:t:s0", False),
        ("SELinux", "u:r:t:s0", "", False),
    ],
)
def test_what_the_kernel_shows_is_known_again(layer, name, said, equal):
    assert lsm.matches(lsm.Label(layer=layer, name=name), said) is equal


@pytest.mark.parametrize(
    "kind, words, labelled",
    [
        ("tmpfs", ("size=1m",), True), ("overlay", (), True), ("devpts", (), True), ("bind", (), False),
        ("proc", (), False), ("sysfs", (), False), ("mqueue", (), False), ("cgroup", (), False),
        ("cgroup2", (), False), ("tmpfs", ('context="u:r:t:s0:c1,c2"',), False),
        ("tmpfs", ("fscontext=u:r:t",), False), ("tmpfs", ("rootcontext=u:r:t",), False),
    ],
)  # fmt: skip
def test_a_mount_has_the_label_if_its_files_are_its_own_and_have_none(kind, words, labelled):
    mount = mounts.Mount(target="/mnt", kind=kind, words=words)
    assert lsm.with_context(mount, "u:r:t:s0").context == ("u:r:t:s0" if labelled else "")


@pytest.mark.parametrize("name", ["a\nb", " a", "a ", 'a"b', "a\0b", "x" * 4096])
@pytest.mark.parametrize("layer", ["AppArmor", "SELinux"])
def test_a_name_that_would_be_read_otherwise_is_none(layer, name):
    from minictr.errors import ContainerError

    with pytest.raises(ContainerError) as caught:
        lsm.check_name(layer, name)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    "option", ["label=", "label=type", "label=type:", "label=nested", "label=colour:red"]
)
def test_an_unknown_part_of_a_label_is_refused(minictr, option):
    found = minictr("run", "--security-opt", option, "--", "true")
    assert (found.status, found.err.count("\n")) == (125, 1)
    assert found.err.startswith("minictr: --security-opt %s: " % option)


def test_parts_of_a_context_are_exchanged():
    assert contexts._changed("u:r:t:s0:c1,c2", "type", "x_t") == "u:r:x_t:s0:c1,c2"
    assert contexts._changed("u:r:t:s0:c1,c2", "level", "s0:c3") == "u:r:t:s0:c3"
    assert contexts._changed("u:r:t", "level", "s0") == "u:r:t:s0"
    drawn = {contexts._drawn() for _ in range(50)}
    assert len(drawn) > 40
    for word in drawn:
        first, second = [int(part[1:]) for part in word.split(",")]
        assert 0 <= first < second < 1024


# --- AppArmor -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def profiles():
    path = os.path.join(CHECKOUT, "tests", "apparmor.profiles")
    support.require("apparmor", "apparmor_parser")
    subprocess.run(["apparmor_parser", "-K", "-r", path], check=True)
    yield
    subprocess.run(["apparmor_parser", "-R", path], check=True)


@pytest.fixture(params=["the host's users", "users of its own"])
def boxed(bundle, profiles, request):
    """A bundle under BOX; without a user namespace it is started by the stand-in."""
    made = bundle()
    made.config["root"]["readonly"] = False
    made.process["apparmorProfile"] = BOX
    os.chmod(made.root + "/tmp", 0o1777)
    if request.param == "users of its own":
        inner_user(made)
    return made


def test_the_program_runs_under_its_profile(runtime, boxed):
    assert runtime.sh(boxed, CURRENT).ok.out == BOX + " (enforce)\n"


def test_a_hook_inside_runs_under_it_too(own, boxed):
    assert label_of_a_hook(own, boxed).startswith(BOX + " (")


def test_what_the_profile_denies_is_denied(runtime, boxed):
    made = boxed
    found = runtime.sh(made, "echo x >/dev/shm/ok; cat /dev/shm/ok; touch /tmp/forbidden; ls /tmp")
    assert found.out == "x\n"
    assert "/tmp/forbidden: Permission denied" in found.err
    del made.process["apparmorProfile"]
    if "user" not in [entry["type"] for entry in made.linux["namespaces"]]:
        assert runtime.sh(made, "touch /tmp/forbidden; ls /tmp").ok.out == "forbidden\n"


def test_the_program_itself_needs_no_permission_to_be_executed(runtime, boxed):
    """The label comes with its execve: what executes it is not under the profile yet."""
    boxed.process["apparmorProfile"] = SHUT
    boxed.process["args"] = ["cat", "/proc/self/attr/current"]
    assert runtime.run(boxed).ok.out == SHUT + " (enforce)\n"
    found = runtime.sh(boxed, "/bin/cat /proc/self/attr/current")
    assert "Permission denied" in found.err


def test_a_profile_that_is_not_loaded_ends_create(runtime, boxed):
    boxed.process["apparmorProfile"] = "minictr-test-nowhere"
    boxed.save()
    found = runtime.verb("create", "--bundle", boxed.path, boxed.identifier)
    assert found.status != 0
    if runtime.name == "minictr":
        assert (found.status, found.out) == (125, "")
        assert found.err == (
            "minictr: apply the AppArmor profile minictr-test-nowhere: no profile of that name is loaded; "
            "hint: load it: apparmor_parser -r FILE\n"
        )
        assert json.loads(runtime.verb("list", "--format", "json").ok.out) == []


def test_a_filter_and_no_new_privileges_do_not_stand_in_the_way(runtime, boxed):
    boxed.process["noNewPrivileges"] = True
    rule = {"names": ["add_key"], "action": "SCMP_ACT_ERRNO"}
    boxed.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    assert runtime.sh(boxed, CURRENT + "; grep ^Seccomp: /proc/self/status").ok.out == (
        BOX + " (enforce)\nSeccomp:\t2\n"
    )


def test_a_container_that_is_created_first_has_it_once_it_runs(own, boxed):
    boxed.process["args"] = ["sleep", "60"]
    boxed.save()
    words = [sys.executable, "-m", "minictr", "--root", own.runner.state(None)]
    env = {"PYTHONPATH": CHECKOUT, "PATH": support.PATH, support.MARK: support.SESSION.directory}
    create = words + ["create", "--bundle", boxed.path, boxed.identifier]
    subprocess.run(create, stdin=NULL, stdout=NULL, stderr=NULL, check=True, env=env)
    pid = pid_of(own, boxed)
    assert current(pid) == "unconfined"  # we wait in it
    assert own.verb("start", boxed.identifier).ok
    assert current(pid) == BOX + " (enforce)"
    assert own.verb("delete", "--force", boxed.identifier).ok


def test_a_further_program_has_the_profile_of_the_container_or_its_own(runtime, boxed):
    boxed.process["args"] = ["sh", "-c", "echo up; read line"]
    live = runtime.start(boxed)
    live.expect("up\n")
    read = ["cat", "/proc/self/attr/current"]
    assert runtime.verb("exec", boxed.identifier, *read).ok.out == BOX + " (enforce)\n"
    found = runtime.verb("exec", "--apparmor", OTHER, boxed.identifier, *read)
    assert found.ok.out == OTHER + " (enforce)\n"
    found = runtime.verb("exec", "--apparmor", "minictr-test-nowhere", boxed.identifier, *read)
    assert (found.status != 0, found.out) == (True, "")
    live.close_input()
    live.wait()


def test_a_profile_that_only_complains_is_noted(own, boxed, tmp_path):
    boxed.process["apparmorProfile"] = LAX
    boxed.process["args"] = ["cat", "/proc/self/attr/current"]
    boxed.save()
    log = str(tmp_path / "log")
    found = own.runner("--log", log, "run", "--bundle", boxed.path, boxed.identifier)
    assert found.ok.out == LAX + " (complain)\n"
    with open(log) as file:
        assert "wanted %s enforced, got in complain mode" % LAX in file.read()


def test_a_label_that_comes_a_moment_late_is_waited_for(profiles):
    """execve(2) closes the descriptor by which the runtime learns of it before it changes the label."""
    label, proc = lsm.Label(layer=lsm.APPARMOR, name=BOX), paths.open_proc()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        lsm.take(proc, lsm.open_attributes(proc, label), label)
        os.write(writer, b"taken")
        time.sleep(0.1)
        os.execv("/bin/sleep", ["sleep", "60"])
    os.read(reader, 5)
    try:
        assert current(pid) == "unconfined"
        assert lsm.confirm((label,), proc, pid, True) == []
        assert current(pid) == BOX + " (enforce)"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for descriptor in (reader, writer, proc):
            os.close(descriptor)


@pytest.mark.parametrize("name", [BOX, OTHER, SHUT])
def test_a_report_reads_the_profile_of_a_program_from_outside(own, boxed, name):
    """OTHER may not use our socket, SHUT executes nothing."""
    boxed.process["apparmorProfile"] = name
    assert reported(own, boxed) == (name, name + " (enforce)", True, PROVEN, 0)


def test_a_report_calls_a_profile_that_only_complains_by_its_name(own, boxed):
    boxed.process["apparmorProfile"] = LAX
    got = LAX + " (complain); what the profile would deny is only logged"
    assert reported(own, boxed) == (LAX, got, False, PROVEN, 1)


def test_a_report_does_not_take_a_profile_that_denies_nothing_for_one(own, boxed):
    boxed.process["apparmorProfile"] = OPEN
    got = OPEN + " (unconfined); the profile denies nothing"
    assert reported(own, boxed) == (OPEN, got, False, PROVEN, 1)


def test_a_report_on_a_profile_that_is_not_loaded_is_an_error(own, boxed):
    boxed.process["apparmorProfile"] = "minictr-test-nowhere"
    boxed.save()
    found = own.runner("report", "--bundle", boxed.path, boxed.identifier)
    assert (found.status, found.out) == (125, "")
    assert "no profile of that name is loaded" in found.err


def test_a_report_proves_the_profile_under_a_filter_and_landlock_too(minictr, busybox_copy, profiles):
    words = ("report", "--json", "--security-opt", "apparmor=" + BOX, "--landlock", "rx=/bin")
    found = minictr(*(words + ("--rootfs", busybox_copy(), "--", "true")))
    assert label_row(found) == (BOX, BOX + " (enforce)", True, PROVEN)


def test_files_of_an_image_named_like_those_of_proc_catch_nothing(own, boxed):
    """CVE-2019-16884: what lies in the root at /proc/self/attr was once what the profile was written to."""
    boxed.config["mounts"] = [entry for entry in boxed.config["mounts"] if entry["destination"] != "/proc"]
    boxed.linux["maskedPaths"] = boxed.linux["readonlyPaths"] = []
    for name in ("self/attr", "self/attr/apparmor", "thread-self/attr", "thread-self/attr/apparmor"):
        os.makedirs(boxed.root + "/proc/" + name, exist_ok=True)
        with open(boxed.root + "/proc/%s/exec" % name, "w") as file:
            file.write("untouched")
        os.chmod(boxed.root + "/proc/%s/exec" % name, 0o666)
    boxed.process["args"] = ["sh", "-c", "echo up; read line; cat /proc/*self/attr/exec /proc/*/attr/*/exec"]
    live = own.start(boxed)
    live.expect("up\n")
    assert current(pid_of(own, boxed)) == BOX + " (enforce)"
    live.send("\n")
    live.close_input()
    assert live.wait().out == "up\n" + 4 * "untouched"


@pytest.mark.parametrize("more", [(), ("--userns", "host"), ("--init",), ("--init", "--userns", "host")])
def test_the_option_names_a_profile(minictr, busybox_copy, profiles, more):
    words = ("run", "--security-opt", "apparmor=" + BOX) + more
    found = minictr(*(words + ("--rootfs", busybox_copy(), "--", "cat", "/proc/self/attr/current")))
    assert (found.status, found.out) == (
        0,
        BOX + " (enforce)\n",
    )  # a warning of older kernels' tmpfs may come


@needs("rootless")
def test_a_user_without_privileges_takes_a_profile_too(minictr, busybox_copy, profiles, ranged):
    root = busybox_copy(ranged)
    words = ("run", "--security-opt", "apparmor=" + BOX, "--rootfs", root, "--")
    found = minictr(*(words + ("cat", "/proc/self/attr/current")), user=ranged)
    assert (found.status, found.out) == (0, BOX + " (enforce)\n")


@needs("rootless")
def test_a_users_report_reads_it_as_well(minictr, busybox_copy, profiles, ranged):
    words = ("report", "--json", "--security-opt", "apparmor=" + BOX, "--rootfs", busybox_copy(ranged), "--")
    found = minictr(*(words + ("true",)), user=ranged)
    assert label_row(found) == (BOX, BOX + " (enforce)", True, PROVEN)


# --- SELinux ------------------------------------------------------------------------------------------------

LAX_T = "system_u:system_r:lax_t:s0:c1,c2"
BOX_T, FILE_T = "system_u:system_r:box_t:s0:c1,c2", "system_u:object_r:box_file_t:s0:c1,c2"


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """The tests' own policy, for the life of this kernel: there is no unloading one."""
    support.require("selinux", "secilc")
    mounted = os.path.exists("/sys/fs/selinux/load")
    if not mounted:
        subprocess.run(["mount", "-t", "selinuxfs", "selinuxfs", "/sys/fs/selinux"], check=True)
    place = str(tmp_path_factory.mktemp("policy"))
    with open("/sys/fs/selinux/policyvers") as file:
        version = min(int(file.read()), 33)
    source = os.path.join(CHECKOUT, "tests", "selinux.cil")
    words = ["secilc", "-M", "true", "-c", str(version), "-f", place + "/contexts", "-o", place + "/policy"]
    subprocess.run(words + [source], check=True)
    with open(place + "/policy", "rb") as file, open("/sys/fs/selinux/load", "wb", buffering=0) as load:
        load.write(file.read())
    assert current(os.getpid()) == "system_u:system_r:host_t:s0"
    yield
    if not mounted:
        subprocess.run(["umount", "/sys/fs/selinux"], check=True)


@pytest.fixture(params=["the host's users", "users of its own"])
def labelled(bundle, policy, request):
    made = bundle()
    made.config["root"]["readonly"] = False
    made.process["selinuxLabel"], made.linux["mountLabel"] = BOX_T, FILE_T
    for folder, _, names in os.walk(made.root):  # a file system in memory would give them its own label
        for path in [folder] + [os.path.join(folder, name) for name in names]:
            if not os.path.islink(path):
                os.setxattr(path, "security.selinux", b"system_u:object_r:file_t:s0")
    if request.param == "users of its own":
        inner_user(made)
        os.chmod(made.root + "/tmp", 0o1777)
    return made


def test_the_program_runs_under_its_label(runtime, labelled):
    assert runtime.sh(labelled, CURRENT).ok.out == BOX_T + "\0"


def test_a_hook_inside_runs_under_that_label_too(own, labelled):
    assert label_of_a_hook(own, labelled) == BOX_T


def test_what_the_policy_denies_is_denied(runtime, labelled):
    """Among it: entering by a file in memory, as the stand-in is one."""
    found = runtime.sh(labelled, "echo x >/dev/shm/f && cat /dev/shm/f; echo x >/tmp/f; nc -l -p 9")
    assert found.out == "x\n"
    assert "/tmp/f: Permission denied" in found.err
    assert "socket: Permission denied" in found.err
    del labelled.process["selinuxLabel"]
    assert "Permission denied" not in runtime.sh(labelled, "echo x >/dev/shm/f; echo x >/tmp/f").err


def test_a_report_reads_the_label_of_a_program_from_outside(own, labelled):
    """The policy has a door for programs from files like the container's: what is executed comes by it."""
    labelled.process["args"] = ["true"]
    assert reported(own, labelled) == (BOX_T, BOX_T, True, PROVEN, 0)


def test_a_report_does_not_take_a_type_that_the_policy_has_as_permissive_for_another(own, labelled):
    labelled.process["selinuxLabel"] = LAX_T
    labelled.process["args"] = ["true"]
    got = LAX_T + "; what the policy would deny is only logged"
    assert reported(own, labelled) == (LAX_T, got, False, PROVEN, 1)


def test_a_report_says_so_where_the_policy_lets_nothing_be_executed_for_it(own, labelled):
    """A program that is not there has no file whose label would open the door."""
    labelled.process["args"] = ["no-such-program"]
    got = "asked for, but not proven: execute a file in memory under it: Permission denied"
    assert reported(own, labelled) == (BOX_T, got, True, [], 0)


def test_mounts_have_the_label_of_the_mounts(runtime, labelled):
    seen = runtime.look(labelled)
    word = 'context="system_u:object_r:box_file_t:s0:c1'
    for place in ("/dev", "/dev/shm", "/dev/pts"):
        assert word in seen.mount(place).words, place
    for place in ("/proc", "/sys", "/dev/mqueue", "/"):
        assert not [text for text in seen.mount(place).words if text.startswith("context=")], place


def test_message_queues_and_masked_directories_have_it_as_well(own, labelled):
    labelled.linux["maskedPaths"] = ["/proc/acpi", "/sys/firmware"]
    labelled.process["args"] = ["sh", "-c", "echo up; read line"]
    live = own.start(labelled)
    live.expect("up\n")
    root = "/proc/%d/root" % pid_of(own, labelled)
    for place in ("/dev/mqueue", "/dev/shm", "/dev/pts/ptmx", "/sys/firmware"):
        assert os.getxattr(root + place, "security.selinux") == FILE_T.encode() + b"\0", place
    live.close_input()
    live.wait()


def test_a_label_that_is_none_ends_create(runtime, labelled):
    labelled.process["selinuxLabel"] = "system_u:system_r:nowhere_t:s0"
    labelled.save()
    found = runtime.verb("create", "--bundle", labelled.path, labelled.identifier)
    assert found.status != 0
    if runtime.name == "minictr":
        assert (found.status, found.out) == (125, "")
        assert found.err.startswith(
            "minictr: apply the SELinux label system_u:system_r:nowhere_t:s0: no valid context"
        )


def test_a_volume_is_not_labelled_anew_in_silence(policy, minictr, busybox_root):
    found = minictr("run", "--rootfs", busybox_root, "-v", "/etc:/mnt:Z", "--", "true")
    assert found.status == 125
    assert found.err.startswith("minictr: --volume /etc:/mnt:Z: Z: files of the host are not labelled anew")


def test_a_further_program_has_the_label_of_the_container_or_its_own(runtime, labelled):
    labelled.process["args"] = ["sh", "-c", "echo up; read line"]
    live = runtime.start(labelled)
    live.expect("up\n")
    read = ["cat", "/proc/self/attr/current"]
    assert runtime.verb("exec", labelled.identifier, *read).ok.out == BOX_T + "\0"
    other = "system_u:system_r:box_t:s0:c3"
    assert runtime.verb("exec", "--process-label", other, labelled.identifier, *read).ok.out == other + "\0"
    live.close_input()
    live.wait()


def test_the_keyring_of_the_session_has_the_label_of_the_program(own, labelled):
    """One with that of the runtime could not even be seen: the policy knows keys."""
    labelled.linux["maskedPaths"] = []
    assert " keyring   _ses: " in own.sh(labelled, "cat /proc/keys").ok.out


def test_the_option_names_parts_of_a_label(minictr, busybox_copy, policy):
    words = ["run"]
    for part in ("type:box_t", "level:s0:c2", "filetype:box_file_t"):
        words += ["--security-opt", "label=" + part]
    root = busybox_copy()
    os.setxattr(root + "/bin/busybox", "security.selinux", b"system_u:object_r:file_t:s0")
    script = CURRENT + "; grep -c context=.*box_file_t:s0:c2 /proc/self/mounts"
    found = minictr(*(words + ["--rootfs", root, "--", "sh", "-c", script]))
    assert found.out.startswith("system_u:system_r:box_t:s0:c2\0")
    assert int(found.out.partition("\0")[2]) >= 3


def test_the_trap_of_the_tests_is_a_real_one():
    """The bind mount of COVERED must be one that a plain write would fall into."""
    script = COVERED[: COVERED.index("label =")] + textwrap.dedent(
        """\
        with open("/proc/thread-self/attr/exec", "w") as file:
            file.write("u:r:t:s0")
        """
    )
    place = support.SESSION.place("trap")
    with open(place + "/trap", "w"):
        pass
    command = [sys.executable, "-c", script, place + "/trap", "attr/exec"]
    subprocess.run(command, check=True, env={"PYTHONPATH": CHECKOUT})
    with open(place + "/trap") as file:
        assert file.read() == "u:r:t:s0"
