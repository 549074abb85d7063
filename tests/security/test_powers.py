"""What a program inside must not have: descriptors and directories of the host, capabilities to inherit,
control groups, somebody else's terminal, groups, ids; and what hooks must not have of the container's."""

import errno
import json
import os
import socket
import stat
import subprocess
import sys
import types

import bundles
import pytest
import refusal
import support
from support import needs

from minictr import abi, landlock, libc, namespaces, paths, privileges, syscalls

pytestmark = needs("root", "userns", "busybox")


# --- descriptors and directories --------------------------------------------------------------------


@pytest.fixture
def leaked():
    """Descriptors of a directory of the host's that are passed on by whoever calls us."""
    found = [os.open("/", os.O_RDONLY | os.O_DIRECTORY) for _ in range(3)]
    yield tuple(found)
    for descriptor in found:
        os.close(descriptor)


def at(way, cwd, command, **how):
    """Run COMMAND in the directory CWD."""
    if way.bundle and not way.by_exec:
        way.bundle.process["cwd"] = cwd
    options = ("-w", cwd) if not way.bundle and not way.by_exec else ()
    return way(command, *options, exec_options=("--cwd", cwd), **how)


def test_a_directory_that_is_a_descriptor_of_ours_is_refused(inside, leaked):
    """CVE-2024-21626: whichever it is, and by a link of the image's as well."""
    os.symlink("/proc/self/fd/%d" % leaked[0], inside.root + "/link")
    for cwd in ["/proc/self/fd/%d" % number for number in range(3, 13)] + [
        "/link", "/proc/self/fd/%d" % leaked[-1], "/proc/self/cwd/proc/self/fd/%d" % leaked[0],
    ]:  # fmt: skip
        found = at(inside, cwd, ["sh", "-c", "pwd -P; ls ../.."], pass_fds=leaked)
        if found.status == 0:  # a descriptor of the container's own root will do
            assert found.lines[0] in ("/", "/proc", "/dev"), (cwd, found)
            assert "minictr" not in os.listdir("/") and "busybox" not in found.out
        else:
            assert found.status in (125, 255) and found.err.count("\n") == 1 and not found.out, (cwd, found)


def test_a_program_is_not_found_through_a_descriptor_of_ours(inside, leaked):
    """CVE-2024-21626 again: nothing of ours is open when the program is looked up and executed."""
    way = inside
    for number in list(range(3, 9)) + list(leaked):
        found = way(["/proc/self/fd/%d/bin/sh" % number, "-c", "echo out"], pass_fds=leaked)
        assert found.out == "" and found.status != 0, (number, found)


def test_only_the_standard_streams_are_open(inside, leaked):
    found = inside.sh(
        "ls /proc/$$/fd; for n in /proc/$$/fd/*; do readlink $n; done | grep ^/", pass_fds=leaked
    )
    assert found.fields[:3] == ["0", "1", "2"] and len(found.lines) <= 3 + found.out.count("/dev/"), found


# --- capabilities ---------------------------------------------------------------------------------


def test_nothing_can_be_inherited(inside):
    """CVE-2022-29162, CVE-2022-27650: for root no capability is inheritable or ambient, neither in the first
    process nor in a further one that is given another."""
    options = () if inside.bundle else ("--cap-add", "NET_ADMIN")
    more = ("--cap", "CAP_SYS_NICE", "--cap", "CAP_NET_ADMIN")
    found = inside(["grep", "^Cap", "/proc/self/status"], *options, exec_options=more)
    sets = dict(line.split() for line in found.ok.lines)

    assert (sets["CapInh:"], sets["CapAmb:"]) == ("0" * 16, "0" * 16)
    assert int(sets["CapEff:"], 16) == int(sets["CapPrm:"], 16) == int(sets["CapBnd:"], 16) > 0
    assert not int(sets["CapEff:"], 16) >> abi.CAP_SYS_ADMIN & 1


@pytest.mark.parametrize(
    "name, call",
    [("bundle", "prctl"), ("bundle", "close_range"), ("exec, bundle", "close_range")],
)
def test_a_filter_that_pretends_does_not_widen_what_it_is_put_on(ways, leaked, name, call):
    """Without no_new_privs the filter comes before ids and capabilities are set: one that answers 0 and does
    nothing (errnoRet 0) leaves neither capabilities to gain nor a descriptor of the caller's."""
    way = ways(name)
    way.bundle.process["noNewPrivileges"] = False
    rule = {"names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}
    way.bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    wanted = way.bundle.process["capabilities"]["bounding"]
    found = way.sh("grep CapBnd /proc/self/status; ls -l /proc/$$/fd | grep -c ' -> /$'", pass_fds=leaked)
    mask = sum(1 << abi.CAPABILITIES.index(word) for word in wanted)

    assert found.lines == ["CapBnd:\t%016x" % mask, "0"], found


@pytest.mark.parametrize(
    "call, words",
    [
        ("setgroups", "set groups: the kernel reports others than were set"),
        ("setresgid", "become group 7: the kernel reports another group"),
        ("setresuid", "become user 7: the kernel reports another user"),
        ("capset", "set capabilities: the kernel reports others than were set"),
    ],
)
def test_what_a_filter_only_pretends_to_set_is_found_out(ways, call, words):
    """The program would have run as the host's root, with groups and capabilities of the caller's."""
    way = ways("bundle")
    way.bundle.process.update(noNewPrivileges=False, user={"uid": 7, "gid": 7, "additionalGids": [9]})
    rule = {"names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}
    way.bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    found = way.sh("echo ran")
    assert (found.status, found.out, found.err.split(";")[0].strip()) == (125, "", "minictr: " + words)


@pytest.mark.parametrize("call", ["setresgid", "capset", "setresuid"])
def test_what_a_filter_does_not_let_us_set_is_told_with_the_cure(ways, call):
    way = ways("bundle")
    way.bundle.process["noNewPrivileges"] = False
    rule = {"names": [call], "action": "SCMP_ACT_ERRNO"}
    way.bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    found = way.sh("echo ran")
    assert (found.status, found.out) == (125, "") and "let the seccomp profile allow it, or" in found.err, (
        found
    )
    way.bundle.process["noNewPrivileges"] = True
    assert way.sh("echo ran").ok.out == "ran\n"


# --- user namespaces ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run", "rootless"])
def test_there_is_no_user_namespace_below_the_containers_own(ways, name):
    """Unless it was asked for what that takes."""
    limit = "/proc/sys/user/max_user_namespaces"
    with open(limit) as file:
        before = file.read()
    way = ways(name)
    assert way.sh("cat " + limit).ok.out == "0\n"
    for options in (["seccomp=unconfined"], ["no-new-privileges=false", "seccomp=unconfined"]):
        words = [word for option in options for word in ("--security-opt", option)]
        assert way.sh("unshare -U cat " + limit, *words).ok.out != "0\n"
    assert way.sh("unshare -U cat " + limit, "--cap-add", "SYS_ADMIN").ok.out != "0\n"
    with open(limit) as file:
        assert file.read() == before


@needs("unshare")
def test_there_is_none_either_for_who_comes_in_past_the_filter(minictr, busybox_root, tmp_path):
    """And the host's limit stays where the container has no user namespace of its own, or was refused one."""
    with open("/proc/sys/user/max_user_namespaces") as file:
        before = file.read()
    words = ["run", "-d", "--name", "closed", "--rootfs", busybox_root, "--", "sleep", "100"]
    assert minictr(*words).ok
    pid = str(json.loads(minictr("state", "closed").ok.out)["pid"])
    made = subprocess.run(["nsenter", "-t", pid, "-U", "unshare", "-U", "true"], stderr=subprocess.PIPE)
    assert minictr("delete", "--force", "closed").ok
    assert made.returncode and b"No space left on device" in made.stderr
    log = str(tmp_path / "log")
    words = ["--log", log, "run", "--rootfs", busybox_root]
    assert minictr(*words, "--userns", "host", "--", "true").ok
    refused = ["clone3=ENOSYS", "clone&CLONE_NEWUSER", "unshare&CLONE_NEWUSER"]
    assert minictr(*words, "--", "true", refuse=refused).status == 0
    with open("/proc/sys/user/max_user_namespaces") as file, open(log) as told:
        assert (file.read(), "none below" in told.read()) == (before, False)  # nor was it tried


@needs("seccomp", "openat2")
@pytest.mark.parametrize("error", ["ENOENT", "EROFS", "EACCES", "ENOMEM", "EIO"])
def test_another_error_of_the_limit_is_not_taken_for_a_host_without_it(error):
    """Before 4.9 it is not there; a container around us may show it read-only."""

    def body():
        told = []
        refusal.refuse(["openat2=" + error])
        namespaces.close_users(types.SimpleNamespace(proc=paths.open_proc(), degrade=told.append))
        return [record.code for record in told]

    said = "ContainerError: close the user namespace: " + os.strerror(getattr(errno, error))
    known = error in ("ENOENT", "EROFS", "EACCES")
    assert support.in_child(body) == ("['nested-users']" if known else said)


@pytest.mark.parametrize(
    "held, asked, said", [(0, 0, "set"), (0, 7, "PermissionError"), (2345, 65534, "PermissionError")]
)
def test_a_group_without_an_id_here_is_none_that_was_asked_for(held, asked, said):
    """Where setgroups(2) is denied what is held already will do; what is shown as 65534 may be any group."""

    def body():
        os.setgroups([held])
        libc.unshare(abi.CLONE_NEWUSER)
        for name, text in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
            with open("/proc/self/" + name, "w") as file:
                file.write(text)
        assert os.getgroups() == [held if held == 0 else 65534]
        privileges._setgroups((asked,))
        return "set"

    assert support.in_child(body).partition(":")[0] == said


# --- control groups -----------------------------------------------------------------------------

RELEASE = """\
mkdir /tmp/c /tmp/d
for kind in pids memory rdma freezer; do
    mount -t cgroup -o $kind none /tmp/c && echo mounted $kind
    for f in /tmp/c /sys/fs/cgroup /sys/fs/cgroup/*; do
        [ -e $f/cgroup.procs ] && mkdir $f/escape && { echo made $f; rmdir $f/escape; }
        [ -e $f/release_agent ] && (: >>$f/release_agent) && echo $f/release_agent
        [ -e $f/notify_on_release ] && (: >>$f/notify_on_release) && echo $f/notify_on_release
    done
done 2>/dev/null
mount -t cgroup2 none /tmp/d 2>/dev/null && (: >>/tmp/d/cgroup.procs) && echo /tmp/d
unshare -Urm sh -c 'mount -t cgroup -o rdma none /tmp/c && : >>/tmp/c/release_agent && echo in' 2>/dev/null
true"""


def test_no_control_group_can_be_written(inside):
    """CVE-2022-0492, CVE-2023-25809: none is mounted, and none can be, also not in a namespace further in."""
    if inside.bundle:
        inside.bundle.config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    options = () if inside.bundle else ("--tmpfs", "/tmp")
    assert inside.sh(RELEASE, *options).ok.out == ""


@pytest.mark.parametrize("name", ["bundle", "exec, bundle"])
def test_control_groups_that_a_bundle_mounts_are_read_only(ways, name):
    way = ways(name)
    config = way.bundle.config
    config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    cgroup = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}
    config["mounts"].append(dict(cgroup, options=["nosuid", "noexec", "nodev", "ro"]))
    made = "mkdir /sys/fs/cgroup/made 2>/dev/null && echo made; "
    found = way.sh("ls /sys/fs/cgroup | head -n 1; echo -; " + made + RELEASE).ok

    shown, _, written = found.out.partition("-\n")
    assert shown and written == ""


@pytest.mark.parametrize("options, why", [(["rbind"], "/cg can be written to"), (["rbind", "rro"], "")])
def test_the_hosts_control_groups_to_be_written_to_make_no_container(minictr, busybox_copy, options, why):
    """The host's root inside moves to another one, and may use the devices of that: it was a container by
    --require."""
    bundle = bundles.Bundle(busybox_copy())
    bind = {"destination": "/cg", "type": "bind", "source": "/sys/fs/cgroup", "options": options}
    bundle.config["mounts"].append(bind)
    move = (
        "for f in /cg/devices /cg; do echo $$ >$f/cgroup.procs && break; done 2>/dev/null && echo moved; true"
    )
    bundle.process["args"] = ["sh", "-c", move]
    runtime = bundles.Runtime("minictr", minictr)
    assert runtime.run(bundle).ok.out == ("moved\n" if why else "")
    found = runtime.run(bundle, "--require", "masked-paths,devices")
    if why:
        assert (found.status, found.out) == (123, "") and "masked-paths is required: " + why in found.err, (
            found
        )
    else:
        assert found.ok.out == ""


@pytest.mark.parametrize("name", ["run", "rootless"])
def test_not_even_with_the_capability_to_mount(ways, name):
    """Of a user namespace: the files that start a program on the host are not in what it can mount."""
    found = ways(name).sh(
        "mkdir /tmp/c; mount -t cgroup -o rdma none /tmp/c; test -e /tmp/c/release_agent",
        "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--tmpfs", "/tmp",
    )  # fmt: skip
    assert found.status != 0, found


SHOWN = """
for f in /sys/fs/cgroup /sys/fs/cgroup/*; do [ -e $f/release_agent ] && echo $f is the root of all; done
grep -E ' - cgroup2? ' /proc/self/mountinfo | cut -d ' ' -f 4,5"""


def with_cgroups(root, path, *changes, **joins):
    """A bundle that mounts its control groups to write to, in the cgroup PATH."""
    bundle = bundles.Bundle(root)
    bundle.linux["cgroupsPath"] = path
    bundle.namespaces(*changes, **joins)
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}
    bundle.config["mounts"].append(mount)
    bundle.process["args"] = ["sh", "-c", SHOWN]
    return bundle


@needs("cgroup")
def test_control_groups_of_a_namespace_that_is_joined_are_its_own(minictr, busybox_copy):
    """What is told of our path there is no path of the host's."""
    runtime = bundles.Runtime("minictr", minictr)
    first = with_cgroups(busybox_copy(), "/minictr-test-joined-%d" % os.getpid(), "cgroup")
    first.process["args"] = ["sleep", "1002"]
    first.save()
    pid_file = first.path + "/pid"
    assert runtime.verb("run", "-d", "-b", first.path, "--pid-file", pid_file, first.identifier).ok
    with open(pid_file) as file:
        joined = "/proc/%s/ns/cgroup" % file.read()
    below = first.linux["cgroupsPath"] + "/below"
    second = runtime.run(with_cgroups(busybox_copy(), below, "-cgroup", cgroup=joined)).ok
    assert runtime.verb("delete", "--force", first.identifier).ok

    assert second.lines and [line.split()[0] for line in second.lines] == ["/"] * len(second.lines), second


@needs("cgroup")
def test_without_a_namespace_only_its_own_control_groups_are_shown(minictr, busybox_copy):
    """One that was refused is none."""
    bundle = with_cgroups(busybox_copy(), "/minictr-test-lost-%d" % os.getpid(), "cgroup")
    bundle.save()
    words = ("run", "--allow-degraded", "-b", bundle.path, bundle.identifier)
    found = minictr(*words, refuse=["unshare&CLONE_NEWCGROUP"])

    assert found.status == 0 and "cgroup namespace: wanted a new one, got the host's" in found.err, found
    roots = [line.split()[0] for line in found.lines]
    assert roots and all(bundle.linux["cgroupsPath"] in root for root in roots), found


@needs("cgroup", "unshare")
@pytest.mark.skipif(bundles.V2, reason="there is one hierarchy alone")
def test_a_hierarchy_that_cannot_be_mounted_is_not_shown_from_above(minictr, busybox_copy):
    """Here one whose directory has another name than its controllers."""
    bundle = with_cgroups(busybox_copy(), None, "cgroup", "user")
    ids = [{"containerID": 0, "hostID": 1000000000, "size": 65536}]
    bundle.linux.update(uidMappings=ids, gidMappings=ids, cgroupsPath="/minictr-test-odd-%d" % os.getpid())
    os.chown(bundle.root, 1000000000, 1000000000)
    bundle.save()
    place = support.SESSION.place("pids")
    script = "mount --bind /sys/fs/cgroup/pids %s && mount -t tmpfs none /sys/fs/cgroup" % place
    script += " && mkdir /sys/fs/cgroup/pids,blkio && mount --move %s /sys/fs/cgroup/pids,blkio && " % place
    program = [support.python(), "-m", "minictr", "--root", minictr.state(), "run", "-b", bundle.path, "box"]
    script += " ".join(program)
    found = minictr.command("unshare", "-m", "sh", "-c", script, env={"PYTHONPATH": support.checkout()})

    assert (found.status, found.out) == (123, ""), found
    assert "the kernel mounts it in no cgroup namespace" in found.err


# --- terminals ----------------------------------------------------------------------------------------

CALLS = """\
import ctypes, os, sys
c = ctypes.CDLL(None, use_errno=True)
c.syscall.restype = ctypes.c_long
def call(*numbers):
    ctypes.set_errno(0)
    result = c.syscall(*[ctypes.c_long(n) if isinstance(n, int) else n for n in numbers])
    return "%d:%d" % (result, ctypes.get_errno())
"""
PUSH = """
letter = ctypes.create_string_buffer(b"\\n")
paste = ctypes.create_string_buffer(b"\\3")
for request in (0x5412, 0x5412 + (1 << 32), 0x5412 + (0x7fffffff << 32), 0x541C, 0x541C + (1 << 32)):
    print(call(%d, 0, request, paste if request & 0xffff == 0x541C else letter))
"""
IOCTL = syscalls.table(abi.machine())["ioctl"]


@pytest.mark.parametrize("tty", [False, True], ids=["the caller's", "its own"])
@pytest.mark.parametrize("caps", [(), ("--cap-add", "ALL")], ids=["", "all capabilities"])
def test_nothing_is_typed_into_a_terminal(minictr, tty, caps):
    """CVE-2017-5226, and with bits of the request set that the kernel does not look at (CVE-2019-10063,
    CVE-2023-1523); and TIOCLINUX pastes. The program is the host's own Python, in the host's root."""
    options = (("-t",) if tty else ()) + caps
    command = ("/usr/bin/python3", "-IS", "-c", CALLS + PUSH % IOCTL)
    live = minictr.start("run", *options, "--", *command, tty=True)
    found = live.wait()

    assert found.status == 0 and found.out.replace("\r", "") == "-1:5\n" * 5, found


def test_the_callers_terminal_is_closed_without_a_filter_too(minictr):
    """It controls another session."""
    with (
        open("/proc/sys/dev/tty/legacy_tiocsti")
        if os.path.exists("/proc/sys/dev/tty/legacy_tiocsti")
        else open(os.devnull)
    ) as file:
        refusal = "-1:5" if file.read().strip() == "0" else "-1:1"  # since 6.2
    command = ("/usr/bin/python3", "-IS", "-c", CALLS + PUSH % IOCTL)
    options = ("--security-opt", "seccomp=unconfined", "--cap-add", "ALL")
    found = minictr.start("run", *(options + ("--",) + command), tty=True).wait()

    assert found.status == 0 and found.out.splitlines()[:3] == [refusal] * 3, found


# --- system calls -----------------------------------------------------------------------------------

NEW_CALLS = """
for number in %r:
    print(call(number, -1, -1, -1, -1, -1))
"""


@pytest.mark.parametrize("by", ["run", "exec"])
def test_newer_ways_to_mount_and_to_make_namespaces_are_as_closed_as_the_old(minictr, by):
    """CVE-2021-41133: a filter that knows mount(2) and clone(2) alone. Those that it knows and refuses are
    EPERM; clone3, whose flags no filter can see, does not exist."""
    names = (
        "mount umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr unshare "
        "setns clone3 open_tree_attr"
    )
    table = syscalls.table(abi.machine())
    numbers = [table.get(name, 467) for name in names.split()]
    command = ("/usr/bin/python3", "-IS", "-c", CALLS + NEW_CALLS % (numbers,))
    if by == "run":
        found = minictr("run", "--", *command)
    else:
        assert minictr("run", "-d", "--name", "hole-calls", "--", "sleep", "1002").ok
        found = minictr("exec", "hole-calls", *command)
        assert minictr("delete", "--force", "hole-calls").ok
    answers = dict(zip(names.split(), found.ok.lines))

    assert answers.pop("clone3") == "-1:38"
    assert {name for name, answer in answers.items() if answer not in ("-1:1", "-1:38")} == set(), answers
    assert answers["mount"] == answers["fsopen"] == answers["unshare"] == "-1:1"


TRACED = """
import os, signal
def keys():
    return call(%d, 6, 0, 0, 0, 0)
print(keys(), flush=True)
child = os.fork()
if child == 0:
    c.ptrace(0, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    print(keys(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
c.ptrace(0x4200, child, 0, ctypes.c_void_p(0x80))  # PTRACE_SETOPTIONS, PTRACE_O_TRACESECCOMP
while not os.WIFEXITED(os.waitpid(child, 0)[1] if not c.ptrace(7, child, 0, 0) else 0):
    pass
"""


def test_what_a_filter_leaves_to_a_tracer_is_within_reach_and_is_said_to_be(minictr, tmp_path):
    """The tracer may be a program inside, and lets the call pass: so such a filter holds nothing back."""
    path = tmp_path / "profile.json"
    rules = [{"names": ["keyctl"], "action": "SCMP_ACT_TRACE"}]
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    options = ("--security-opt", "seccomp=%s" % path)
    script = CALLS + TRACED % syscalls.table(abi.machine())["keyctl"]
    command = ("--", "/usr/bin/python3", "-IS", "-c", script)

    assert minictr("run", *(options + command)).ok.lines == ["-1:38", "-1:22"]  # ENOSYS; EINVAL is the call's
    found = minictr("run", "--require", "rootless", *(options + command))
    assert (found.status, found.out) == (123, ""), found
    report = json.loads(minictr("report", "--json", *(options + command)).out)
    assert report["level"] == "none"


# --- devices --------------------------------------------------------------------------------------------


def test_a_node_that_came_with_an_image_is_dead_in_a_bundle(minictr, busybox_copy):
    """In a user namespace, where no cgroup may be there to stop it: nobody's node is a device handed in."""
    runtime = bundles.Runtime("minictr", minictr)
    bundle = bundles.Bundle(busybox_copy())
    bundle.namespaces("user")
    ids = [{"containerID": 0, "hostID": 3000000, "size": 65536}]
    bundle.linux.update(uidMappings=ids, gidMappings=ids)
    os.mknod(bundle.root + "/zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    os.chmod(bundle.root + "/zero", 0o666)
    bundle.process["args"] = ["sh", "-c", "head -c 1 /dev/zero | wc -c; head -c 1 /zero"]
    bundle.save()
    words = ("run", "--bundle", bundle.path, bundle.identifier)
    found = runtime.verb("--cgroup-manager", "disabled", *words)

    assert (found.out, found.err) == ("1\n", "head: /zero: Permission denied\n"), found


@pytest.mark.parametrize("options", [(), ("--read-only",), ("--overlay",)], ids=["", "ro", "overlay"])
def test_a_program_that_a_container_leaves_is_roots_and_to_be_kept_from_users(
    minictr, busybox_copy, unranged, options
):
    """CVE-2021-41091: files keep their ids, so that with a user of the host it is root's."""
    root = busybox_copy()
    above = os.path.join(support.SESSION.place("closed"), "above")
    os.mkdir(above, 0o755)
    os.rename(root, above + "/root")
    script = "cp /bin/busybox /tmp/busybox; chmod 4755 /tmp/busybox"
    minictr("run", *(options + ("--rootfs", above + "/root", "--", "sh", "-c", script)))
    left = above + "/root/tmp/busybox"
    assert os.path.exists(left) == (not options)
    if not options:
        state = os.stat(left)
        assert (state.st_uid, state.st_mode & 0o7777) == (0, 0o4755)
        assert minictr.command(left, "true", user=unranged).status == 0
        os.chmod(above, 0o700)
        with pytest.raises(PermissionError):
            minictr.command(left, "true", user=unranged)


# --- sockets ------------------------------------------------------------------------------------------

CONNECT = """
import errno, socket, sys
unix, inet = "\\0" + sys.argv[1], ("127.0.0.1", int(sys.argv[2]))
for family, address in ((socket.AF_UNIX, unix), (socket.AF_INET, inet)):
    try:
        socket.socket(family).connect(address)
        print("connected")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


@pytest.mark.parametrize("name", ["root", "ranged", "unranged"])
@pytest.mark.parametrize(
    "options, answers",
    [
        ((), ["ECONNREFUSED", "ECONNREFUSED"]),
        (("--net", "host"), ["connected", "connected"]),
        (
            ("--net", "host", "--landlock-scope", "abstract", "--landlock-connect", "none"),
            ["EPERM", "EACCES"],
        ),
    ],
    ids=["its own network", "the host's", "the host's, under Landlock"],
)
def test_a_service_of_the_hosts_is_not_reached(minictr, request, name, options, answers):
    """CVE-2020-15257: an abstract socket has no permissions, a service on loopback mostly asks for none."""
    if "--landlock-scope" in options:
        support.require("landlock")
        if landlock.version() < 6:
            pytest.skip("this kernel's Landlock has no scopes")
    account = None if name == "root" else request.getfixturevalue(name)
    with socket.socket(socket.AF_UNIX) as abstract, socket.socket() as loopback:
        abstract.bind("\0minictr-hole-%d" % os.getpid())
        loopback.bind(("127.0.0.1", 0))
        for server in (abstract, loopback):
            server.listen(5)
        words = ("/usr/bin/python3", "-IS", "-c", CONNECT, abstract.getsockname()[1:].decode())
        words += (str(loopback.getsockname()[1]),)
        found = minictr("run", *(options + ("--",) + words), user=account)
    assert (found.status, found.lines) == (0, answers), found


# --- groups and ids ----------------------------------------------------------------------------------


def test_who_is_mapped_alone_cannot_drop_a_group(minictr, unranged):
    """CVE-2018-7169, CVE-2014-8989: a file that is closed to a group, and open to others, stays closed."""
    support.require("rootless")
    script = """\
import os
for call, what in ((os.setgroups, []), (os.setgid, 12), (os.setgroups, [0])):
    try:
        call(what)
        print(what, "was set")
    except OSError as error:
        print(error.errno)
print(open("/proc/self/setgroups").read().strip())
"""
    found = minictr("run", "--", "/usr/bin/python3", "-IS", "-c", script, user=unranged)
    assert found.status == 0 and found.lines == ["1", "22", "1", "deny"], found


def test_no_group_of_the_callers_opens_a_file(inside):
    """CVE-2022-36109, CVE-2023-25173: what belongs to a group of the host's that the caller is in."""
    source = support.SESSION.place("source")
    with open(source + "/file", "w") as file:
        file.write("for the group\n")
    os.chown(source + "/file", 4321, 4)
    os.chmod(source + "/file", 0o070)
    if inside.bundle:
        bind = {"destination": "/v", "type": "bind", "source": source, "options": ["rbind"]}
        inside.bundle.config["mounts"].append(bind)
        inside.bundle.process["user"] = {"uid": 1000, "gid": 1000}
    options = () if inside.bundle else ("-u", "1000:1000", "-v", source + ":/v")
    how = {} if inside.account else {"setup": lambda: os.setgroups([4, 24])}
    found = inside.sh("id -G; cat /v/file", *options, **how)

    assert found.status == 1 and found.lines == ["1000"], found


def test_the_groups_of_a_user_are_those_of_the_images_files_and_no_more(inside):
    """Its own group among them: else a change of gid gets out of what is closed to it (CVE-2022-36109)."""
    if inside.bundle and not inside.by_exec:
        pytest.skip("the groups of a bundle are numbers")
    options = () if inside.by_exec else ("-u", "app")
    found = inside(["grep", "Groups", "/proc/self/status"], *options, exec_options=("--user", "app"))
    assert found.ok.fields == ["Groups:", "29", "1000"]


@pytest.mark.parametrize(
    "user, uid",
    [
        ("4242", "4242"), ("04242", "4242"), ("1000", "1000"), ("4294967296", ""), ("4294967295", ""),
        ("18446744073709551616", ""), ("-1", ""), ("+0", ""), ("0x0", ""), ("99999999999999999999", ""),
        ("nobody-knows", ""), (":0", ""), ("1000:4294967296", ""), ("overflow", ""),
    ],
)  # fmt: skip
def test_a_number_is_that_user_and_never_root(ways, user, uid):
    """CVE-2016-3697: a name of digits in the image's passwd is root there. CVE-2024-40635: numbers that
    become 0 where 32 bits are left of them."""
    for name in ("run", "exec"):
        way = ways(name)
        with open(way.root + "/etc/passwd", "a") as file:
            for trap in ("4242:x:0:0::/:/bin/sh", "4294967296:x:0:0::/:/bin/sh", "-1:x:0:0::/:/bin/sh"):
                file.write(trap + "\n")
            file.write("overflow:x:4294967296:0::/:/bin/sh\n")
        options = () if way.by_exec else ("-u", user)
        found = way(["id", "-u"], *options, exec_options=("--user", user))
        if uid:
            assert found.ok.out == uid + "\n"
        else:
            assert found.status in (125, 255) and found.out == "" and found.err.count("\n") == 1, found


@pytest.mark.parametrize("words", [["run", "--userns=host", "-v", "PLACE:/v"], ["list"]], ids=["run", "list"])
@pytest.mark.parametrize("what", ["user", "group"])
def test_nobody_lends_a_user_power_by_a_program_that_calls_us(minictr, busybox_root, ranged, what, words):
    """CVE-2020-5291, CVE-2022-31214: whoever chooses the options would be root, were it not refused. The
    ids are those that a set-user-ID or set-group-ID program of root's hands on."""
    number = ranged.uid if what == "user" else ranged.gid

    def lend():
        os.setgroups([])
        if what == "user":
            os.setresgid(ranged.gid, ranged.gid, ranged.gid)
            os.setresuid(ranged.uid, 0, 0)
        else:
            os.setresgid(ranged.gid, 0, 0)
            os.setresuid(ranged.uid, ranged.uid, ranged.uid)

    place = support.SESSION.place("of root", 0o700)
    with open(place + "/secret", "w") as file:
        file.write("for root alone")
    lent = "euid=0(root)" if what == "user" else "egid=0(root)"
    assert lent in minictr.command("id", setup=lend).ok.fields
    if "loading shared libraries" in minictr.command(support.python(), "-c", "", setup=lend).err:
        pytest.skip("the library of this Python's copy lies beside it: with lent ids ld.so looks elsewhere")
    words = [word.replace("PLACE", place) for word in words]
    if words[0] == "run":
        words += ["--rootfs", busybox_root, "--", "cat", "/v/secret"]
    state = support.SESSION.place("state", owner=(0 if what == "user" else ranged.uid, ranged.gid))
    program = (support.python(), "-m", "minictr", "--root", state)
    found = minictr.command(*(program + tuple(words)), setup=lend, env={"PYTHONPATH": support.checkout()})

    why = "it would run with the %s id 0 for %d: it is no set-%s-ID program" % (what, number, what)
    hint = "run it as the user it is for, or by sudo"
    assert found == (125, "", "minictr: start: %s; hint: %s\n" % (why, hint)), found


SYSCTLS = (
    ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/evil"),
    ("kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/evil"),
    ("kernel.shm_rmid_forced+kernel.core_pattern", "|/evil"), ("kernel.core_pattern", "|/evil"),
    ("kernel/core_pattern", "|/evil"), ("net/../kernel/core_pattern", "|/evil"),
    ("net.ipv4/../../kernel.core_pattern", "|/evil"), ("fs.mqueue/../../kernel/core_pattern", "|/evil"),
    ("net.ipv4...kernel.core_pattern", "|/evil"),
)  # fmt: skip


@pytest.fixture
def core_pattern():
    """That of the host, which is the same afterwards."""
    with open("/proc/sys/kernel/core_pattern") as file:
        before = file.read()
    yield before
    with open("/proc/sys/kernel/core_pattern") as file:
        after = file.read()
    if after != before:
        with open("/proc/sys/kernel/core_pattern", "w") as file:
            file.write(before)


@pytest.mark.parametrize("name, text", SYSCTLS, ids=["%s=%s" % (name, text[:30]) for name, text in SYSCTLS])
def test_a_kernel_parameter_sets_no_other(minictr, busybox_copy, core_pattern, name, text):
    """CVE-2022-0811: a value, or a name, with a parameter of the host's in it. Root's container without a
    user namespace could write that one."""
    bundle = bundles.Bundle(busybox_copy())
    bundle.linux["sysctl"] = {name: text}
    bundle.process["args"] = ["cat", "/proc/sys/kernel/shm_rmid_forced", "/proc/sys/kernel/core_pattern"]
    found = bundles.Runtime("minictr", minictr).run(bundle)
    if found.status == 0:  # of the lines that are written the kernel takes the first
        assert found.ok.out == "1\n" + core_pattern
    else:
        assert (found.status, found.out, found.err.count("\n")) == (125, "", 1), found
    options = ("--userns", "host", "--sysctl", "%s=%s" % (name, text), "--rootfs", bundle.root)
    minictr("run", *(options + ("--", "true")))
    with open("/proc/sys/kernel/core_pattern") as file:
        assert file.read() == core_pattern


# --- hooks ------------------------------------------------------------------------------------------


def test_a_hook_has_nothing_of_the_containers_environment(minictr, busybox_copy, tmp_path, leaked):
    """CVE-2025-23266: a LD_PRELOAD of the image's would be loaded into a program of the host's; CVE-2024-0132
    and kin: nor its directory, nor a descriptor."""
    bundle = bundles.Bundle(busybox_copy())
    bundle.process.update(
        args=["/bin/true"], cwd="/tmp", env=["LD_PRELOAD=/evil.so", "PATH=/evil", "A=container"]
    )
    script = (
        "import os, sys; out = open(sys.argv[1], 'w'); "
        "print(sorted(set(os.environ) - {'LC_CTYPE'}), os.getcwd(), [n for n in os.listdir('/proc/self/fd') "
        "if int(n) > 2 and os.path.exists('/proc/self/fd/' + n) and int(n) != out.fileno()], file=out)"
    )
    names = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    python = os.path.realpath(sys.executable)
    bundle.config["hooks"] = {
        name: [
            {"path": python, "args": ["python3", "-IS", "-c", script, str(tmp_path / name)], "env": ["OWN=1"]}
        ]
        for name in names
    }
    runtime = bundles.Runtime("minictr", minictr)
    assert runtime.run(bundle, env={"CALLER": "x"}, cwd=str(tmp_path), pass_fds=leaked).ok

    said = {name: (tmp_path / name).read_text() for name in names}
    assert said == dict.fromkeys(names, "['OWN'] / []\n")
