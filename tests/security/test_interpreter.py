"""The host's interpreter, by which minictr runs, is out of a container's reach (CVE-2019-5736), and what
joins a container is out of the reach of its processes until it is as confined as they (CVE-2016-9962).

tests/namespaces/test_standin.py has the attacks on `run` as the host's root, and on a user's own Python.
"""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import sysconfig

import bundles
import pytest
import support
from interpreters import executable, load_by, state_of
from support import needs

from minictr import standin

pytestmark = needs("root", "userns", "busybox")
PYTHON = os.path.realpath(sys.executable)


@pytest.fixture(autouse=True)
def _the_interpreter_is_as_it_was():
    paths = sorted({PYTHON, os.path.realpath(support.python())})
    before = [state_of(path) for path in paths]
    yield
    assert [state_of(path) for path in paths] == before


# --- an entry point that leads to our executable -----------------------------------------------------

# Loaded in the place of the image's loader, with our executable as /proc/self/exe: what is the whole attack
# in one system call, but for the mode, which is the one it has. ETXTBSY does not stand in its way.
LOADER = """\
    lea rdi, [rip + path]
    mov esi, %d
    mov eax, 90             # chmod
    syscall
    mov edi, eax
    neg edi                 # an errno is the exit status, and 0 is success
    add edi, 100            # known to be ours, and not an engine's or a shell's
    mov eax, 231            # exit_group
    syscall
path:
    .asciz "/proc/self/exe"
"""
REACHED = 100  # the loader was run, and could change the interpreter


def arm(root, python):
    """Have ROOT load PYTHON by LOADER."""
    load_by(root, python, LOADER % stat.S_IMODE(os.stat(python).st_mode))


def entry(root, kind):
    if kind == "a link":
        os.symlink("/proc/self/exe", root + "/entry")
    elif kind == "a script":
        executable(root + "/entry", b"#!/proc/self/exe\n")
    else:
        executable(root + "/entry", b"#!/proc/1/exe\n")


armed = [
    needs("as-x86_64", "readelf"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the loader is written for x86_64"),
]


def with_marks(marks):
    def apply(function):
        for mark in marks:
            function = mark(function)
        return function

    return apply


@with_marks(armed)
@pytest.mark.parametrize("kind", ["a link", "a script", "a script of process 1"])
def test_an_entry_point_that_leads_to_our_executable_cannot_change_it(inside, kind):
    """By every way in: what it executes has no name for the interpreter, or one without any right."""
    arm(inside.root, os.path.realpath(support.python()) if inside.account else PYTHON)
    entry(inside.root, kind)
    found = inside(["/entry"])

    assert found.status not in (0, REACHED), found


@with_marks(armed)
@pytest.mark.parametrize("kind", ["a link", "a script"])
@pytest.mark.parametrize("userns", [False, True], ids=["host ids", "user namespace"])
def test_a_hook_that_leads_to_our_executable_cannot_change_it_either(minictr, busybox_copy, kind, userns):
    """startContainer is looked up inside, by a process that is still ours."""
    bundle = bundles.Bundle(busybox_copy())
    if userns:
        bundle.namespaces("user")
        ids = [{"containerID": 0, "hostID": 1000000000, "size": 65536}]
        bundle.linux.update(uidMappings=ids, gidMappings=ids)
    arm(bundle.root, PYTHON)
    entry(bundle.root, kind)
    bundle.config["hooks"] = {"startContainer": [{"path": "/entry"}]}
    bundle.process["args"] = ["true"]
    found = bundles.Runtime("minictr", minictr).run(bundle)

    assert found.status == 125 and "run the startContainer hook /entry" in found.err, found
    assert "exit status %d" % REACHED not in found.err, found


def test_hooks_that_are_in_order_run_behind_the_stand_in(minictr, busybox_copy):
    """With arguments and environment, the state on their input, nothing else open; and errors are told."""
    bundle = bundles.Bundle(busybox_copy())
    bundle.config["root"]["readonly"] = False
    bundle.process["noNewPrivileges"] = False  # the filter is in force before the hooks run
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["memfd_create"], "action": "SCMP_ACT_ERRNO"}],
    }
    script = 'cat >/state; echo "$0" "$@" $A >>/said; exec ls /proc/self/fd >>/said'
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script, "zero", "one"], "env": ["A=b", "PATH=/bin"]}
    bundle.config["hooks"] = {"startContainer": [hook, hook]}
    bundle.process["args"] = ["cat", "/state", "/said"]
    found = bundles.Runtime("minictr", minictr).run(bundle).ok

    state, _, said = found.out.rpartition("}")
    assert (
        '"status":"created"' in state and said.split() == "zero one b 0 1 2 3".split() * 2
    )  # 3 is what ls reads
    bundle.config["hooks"] = {"startContainer": [{"path": "/no/such"}]}
    found = bundles.Runtime("minictr", minictr).run(bundle)
    assert found == (
        125, "", "minictr: run the startContainer hook /no/such: exit status 127: No such file or directory\n"
    )  # fmt: skip


# --- what stays, and what is on its way in --------------------------------------------------------------


def test_a_reaper_that_is_our_interpreter_is_not_laid_open(ways):
    """--init stays as process 1. Who may trace could open /proc/1/exe, and change its mode if root."""
    way = ways("exec, host ids")
    refused = way.run(["true"], "--init", "--cap-add", "SYS_PTRACE")
    assert refused.status == 125 and "keep a reaping process 1: it is the host's Python" in refused.err, (
        refused
    )
    assert refused.err.count("\n") == 1
    way.start("--init")
    refused = way.exec(["true"], "--cap", "CAP_SYS_PTRACE")
    assert refused.status == 255 and "it is the host's Python" in refused.err, refused
    assert way.exec(["sh", "-c", "chmod 0 /proc/1/exe"]).status != 0


def test_nor_is_it_by_another_interpreter(minictr, busybox_root):
    """As an upgrade brings it: the one that the container was made by is still there, and the host's."""
    words = ("--userns", "host", "--init", "--rootfs", busybox_root, "--", "sleep", "1000")
    minictr("run", "-d", "--name", "it", *words).ok
    other = support.SESSION.place("other") + "/python3"
    shutil.copy(PYTHON, other)
    env = {"PYTHONHOME": sys.base_prefix, "PYTHONPATH": support.CHECKOUT}
    env["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
    command = (other, "-m", "minictr", "--root", minictr.state(), "exec", "--cap")
    refused = minictr.command(*command + ("CAP_SYS_PTRACE", "it", "true"), env=env)
    assert refused.status == 255 and "it is the host's Python" in refused.err, refused
    assert minictr.command(*command + ("CAP_KILL", "it", "true"), env=env).ok
    minictr("delete", "--force", "it").ok


def test_a_reaper_of_another_user_may_stand_beside_who_may_trace(ways):
    """In a user namespace the interpreter is nobody's, and its memory belongs to the host's."""
    way = ways("run")
    found = way.sh(
        "chmod 755 /proc/1/exe; cat /proc/1/maps; ls /proc/1/fd; true", "--init", "--cap-add", "SYS_PTRACE"
    )
    assert found.status == 0 and found.out == "", found


LOOK = """\
    while :; do for n in /proc/[0-9]*; do
        exe=$(readlink $n/exe) || continue
        case $exe in /bin/busybox) ;; *) echo "$exe" $(ls -l $n/fd | sed 's/.*-> //') >>/dev/shm/seen; esac
        [ -e $n/root%s ] && echo "the root of $exe" >>/dev/shm/seen
    done; done 2>/dev/null"""


@pytest.mark.parametrize("name", ["exec", "exec, host ids", "exec, bundle", "exec, rootless"])
def test_who_joins_a_container_cannot_be_looked_into_from_inside(ways, name):
    """CVE-2016-9962: a process of the container looks at all others, as fast as it can, with the right to
    trace; and be that a right over all of the host's processes, what is joining is not to be traced."""
    way = ways(name)
    options = () if way.bundle else ("--cap-add", "SYS_PTRACE")
    if way.bundle:
        for names in way.bundle.process["capabilities"].values():
            names.append("CAP_SYS_PTRACE")
    way.start(*options, command=("sh", "-c", "echo >/dev/shm/seen; %s" % (LOOK % way.root)))
    for _ in range(25):
        assert way.exec(["true"]).ok

    seen = way.exec(["cat", "/dev/shm/seen"]).ok.lines
    # the stand-in can be seen: it holds the streams and the channel to the runtime, and nothing else
    assert [line for line in seen if line and not line.startswith("/memfd:minictr (deleted)")] == []
    assert [line for line in seen if " /" in line.partition(":")[2]] == []


@pytest.mark.parametrize("name", ["run", "run, host ids", "rootless"])
def test_a_reaper_does_not_show_by_what_words_it_was_called(ways, name):
    """Paths of the host, and what others inside are not to know. Everybody may read it."""
    found = ways(name).sh(
        "cat /proc/1/cmdline | tr '\\0' '\\n'; cat /proc/1/comm", "--init", "-e", "A=secret"
    )
    assert found.ok.fields == ["minictr-init"] * 2, found


@pytest.mark.parametrize("name", ["exec", "exec, host ids", "exec, bundle", "exec, rootless"])
def test_nor_does_what_joins_a_container(ways, name):
    script = """\
        while :; do for n in /proc/[0-9]*; do
            case "$(cat $n/cmdline)" in *secret-*) tr "\\0" "\\n" <$n/cmdline >>/dev/shm/seen; esac
        done; done 2>/dev/null"""
    way = ways(name)
    way.start(command=("sh", "-c", "echo >/dev/shm/seen; %s" % script))
    for _ in range(15):
        assert way.exec(["true"], "--env", "A=secret-of-one").ok
    assert "secret-of-one" not in way.exec(["cat", "/dev/shm/seen"]).ok.out


@pytest.mark.parametrize("name", ["exec", "exec, host ids", "exec, bundle"])
def test_the_hosts_mounts_and_sockets_are_not_seen_by_what_joins(ways, tmp_path, name):
    """mountinfo, net and cgroup of a process are for everybody to read who sees it."""
    script = """\
        while :; do for n in /proc/[0-9]*; do
            grep -o %s $n/mountinfo; grep -o '0100007F:%04X 00000000' $n/net/tcp
        done; done >>/dev/shm/seen 2>/dev/null"""
    place, way = tmp_path / "a-mount-of-the-hosts", ways(name)
    place.mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
        try:
            script = script % (place.name, listener.getsockname()[1])
            way.start(command=("sh", "-c", "echo >/dev/shm/seen; %s" % script))
            for _ in range(15):
                assert way.exec(["true"]).ok
            seen = way.exec(["cat", "/dev/shm/seen"]).ok.fields
        finally:
            subprocess.run(["umount", str(place)], check=True)

    assert seen == []


@needs("cgroup")
@pytest.mark.parametrize(
    "name, capability",
    [("exec", "KILL"), ("exec", "SYS_PTRACE"), ("exec, host ids", "KILL"), ("exec, host ids", "SYS_PTRACE")],
)
def test_a_container_at_its_limit_of_processes_is_joined_unless_it_may_trace_us(ways, name, capability):
    """What comes in without being seen takes a process more for a moment."""
    way = ways(name)
    way.start("--pids-limit", "1", "--cap-add", capability)
    found = way.exec(["echo", "in"])
    if way.userns or capability == "KILL":
        assert found == (0, "in\n", ""), found
    else:
        why = "Resource temporarily unavailable; hint: its limit of processes is reached\n"
        assert found == (255, "", "minictr: make a process in the container: " + why), found


@pytest.mark.parametrize("uid", [0, 1000])
def test_a_process_that_waits_for_its_start_cannot_be_looked_into(minictr, busybox_copy, uid):
    """What of a process lies below /proc belongs to root as long as it is not dumpable (proc(5))."""
    bundle = bundles.Bundle(busybox_copy())
    bundle.namespaces("user")
    ids = [{"containerID": 0, "hostID": 1000000000, "size": 65536}]
    bundle.linux.update(uidMappings=ids, gidMappings=ids)
    bundle.process["user"] = {"uid": uid, "gid": uid}
    bundle.process["args"] = ["sleep", "1002"]
    bundle.save()
    runtime = bundles.Runtime("minictr", minictr)
    pid_file = os.path.join(bundle.path, "pid")
    assert runtime.verb("create", "--bundle", bundle.path, "--pid-file", pid_file, bundle.identifier).ok
    with open(pid_file) as file:
        pid = int(file.read())
    owner = [os.stat("/proc/%d/environ" % pid).st_uid]
    assert runtime.verb("start", bundle.identifier).ok
    owner.append(os.stat("/proc/%d/environ" % pid).st_uid)
    assert runtime.verb("delete", "--force", bundle.identifier).ok

    assert owner == [0, 1000000000 + uid]


# Whoever it is says so: it may be somebody else's on this host
WATCH = """while :; do for p in /proc/[0-9]*; do
    { read -r line <$p/root%s && echo "$line of $(tr "\\0" " " <$p/cmdline)"; } 2>/dev/null
done; done"""


@pytest.mark.parametrize(
    "words", [(), ("--time-offset", "5")], ids=["joined", "joined, with a time namespace"]
)
def test_a_pid_namespace_that_is_joined_does_not_look_into_what_comes(minictr, busybox_root, tmp_path, words):
    """Who comes has a new user namespace, and until its maps are written the host's root. Who owns the
    namespace is root, as the program that watches is: that may look into what is dumpable in it."""
    log = _watched(minictr, busybox_root, tmp_path)
    pid = json.loads(minictr("state", "watch").ok.out)["pid"]
    for _ in range(8):
        join = ("--pid", "/proc/%d/ns/pid" % pid) + words
        assert minictr("run", *(join + ("--rootfs", busybox_root, "--", "true"))).status == 0
    assert minictr("delete", "--force", "watch").ok

    assert log.read_text() == ""  # nobody else comes into that namespace, and words do not say who it was


def test_a_container_with_the_hosts_processes_does_not_look_into_what_is_made(
    minictr, busybox_root, tmp_path
):
    log = _watched(minictr, busybox_root, tmp_path, "--pid", "host")
    for _ in range(30):
        assert minictr("run", "--rootfs", busybox_root, "--", "true").ok
    assert minictr("delete", "--force", "watch").ok

    assert busybox_root not in log.read_text()


def _watched(minictr, root, tmp_path, *options):
    """A container of the host's root, with the default capabilities, writes into what comes back whatever it
    can read of a file of the host by the root directory of others."""
    secret, log = tmp_path / "secret", tmp_path / "log"
    secret.write_text("of the host\n")
    os.chmod(str(secret), 0o600)
    words = ["run", "-d", "--name", "watch", "--userns", "host", "--log-file", str(log)] + list(options)
    assert minictr(*(words + ["--rootfs", root, "--", "sh", "-c", WATCH % secret])).ok
    return log


CONFINED = """\
    cd /proc/self/ns; for n in *; do echo $n $(readlink $n); done
    grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' /proc/self/status | grep -v Seccomp_filters
    cat /proc/self/cgroup /proc/self/uid_map; stat -c %d:%i /
"""


@pytest.mark.parametrize("name", ["exec", "exec, host ids", "exec, bundle", "exec, rootless"])
def test_a_further_program_is_as_confined_as_the_first(ways, name):
    """It is in all of the container's namespaces, not in some (CVE-2016-9962, psgo's CVE-2022-1227)."""
    way = ways(name)
    if way.bundle:
        way.bundle.config["root"]["readonly"] = False
        way.bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    way.start(command=("sh", "-c", "(%s) >/dev/shm/first; echo >/dev/shm/done; sleep 1002" % CONFINED))
    support.wait_until(lambda: way.exec(["test", "-e", "/dev/shm/done"]).status == 0)
    first = way.exec(["cat", "/dev/shm/first"]).ok.lines
    second = way.exec(["sh", "-c", CONFINED]).ok.lines

    assert [line for line in second if not line.startswith("pid_for")] == [
        line for line in first if not line.startswith("pid_for")
    ]
    assert "NoNewPrivs:\t1" in first


@pytest.mark.skipif(not standin.supported(), reason="there is no stand-in for this machine")
def test_the_stand_in_is_sealed_where_it_is_the_program(ways):
    """A script that names /proc/self/exe has the stand-in for its interpreter: it is worth nothing."""
    way = ways("run, host ids")
    executable(way.root + "/entry", b"#!/proc/self/exe\n")
    assert way(["/entry"]).status not in (0, REACHED)
