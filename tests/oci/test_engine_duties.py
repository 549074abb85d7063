"""What engines rely on beyond the specification: words, streams, descriptors; runc is the judge."""

import array
import json
import os
import resource
import signal
import socket
import sys
import time

import bundles
import leftovers
import pytest
import support
from bundles import V2, unlike
from support import needs

pytestmark = needs("root", "busybox", "cgroup")


def create(runtime, bundle, *options, words=(), **how):
    """Create the container of BUNDLE; its streams are the caller's. WORDS come before the verb."""
    bundle.save()
    verb = list(words) + ["create"] + list(options) + ["--bundle", bundle.path, bundle.identifier]
    return runtime.verb(*verb, **how)


@pytest.fixture
def made(bundle):
    """Makes bundles whose containers are deleted: made(runtime, args)."""
    kept = []

    def make(runtime, args=("sleep", "1000")):
        one = bundle()
        one.process["args"] = list(args)
        kept.append((runtime, one))
        return one

    yield make
    for runtime, one in kept:
        runtime.verb("delete", "--force", one.identifier)


# --- what cannot start is told by create ------------------------------------------------------------


@pytest.mark.parametrize(
    "program, words",
    [
        ("no-such-program", 'exec: "no-such-program": executable file not found in $PATH'),
        ("/no/such", 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
        ("/etc", "permission denied"),
    ],
)
def test_create_says_that_a_program_cannot_run(runtime, made, tmp_path, program, words):
    unlike(runtime, "crun", "has words of its own")
    if program == "/etc":
        unlike(runtime, "runc", "has a word of its own for a directory", since=(1, 1, 15))
    one, log = made(runtime, [program]), str(tmp_path / "log")
    found = create(runtime, one, words=["--log", log, "--log-format", "json"])
    assert found.status != 0
    with open(log) as file:
        last = json.loads(file.read().splitlines()[-1])
    assert (last["level"], words in last["msg"]) == ("error", True), last
    assert words in found.err
    found = runtime.verb("delete", one.identifier)
    assert "does not exist" in found.err, found


def test_a_missing_program_is_not_laid_to_the_filter(own, made):
    """Which engines hand in to every container, mostly without no_new_privs."""
    one = made(own, ["no-such-program"])
    one.process["noNewPrivileges"] = False
    one.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    words = 'minictr: exec: "no-such-program": executable file not found in $PATH\n'
    assert create(own, one) == (127, "", words)


@pytest.mark.parametrize(
    "verb", [["kill", "nobody", "KILL"], ["state", "nobody"], ["delete", "nobody"], ["ps", "nobody"]]
)
def test_an_unknown_container_does_not_exist(own, verb):
    assert own.verb(*verb) == (125, "", "minictr: container does not exist: nobody\n")


def test_one_that_has_ended_is_not_running(runtime, made):
    one = made(runtime, ["true"])
    create(runtime, one).ok
    runtime.verb("start", one.identifier).ok
    support.wait_until(lambda: json.loads(runtime.verb("state", one.identifier).out)["status"] == "stopped")
    found = runtime.verb("kill", one.identifier, "KILL")
    assert found.status != 0
    assert "not running" in found.err or "no such process" in found.err.lower(), found


# --- warnings ---------------------------------------------------------------------------------------


def degraded(own, made):
    """A bundle that warns when it is made with DISABLED: a limit without a cgroup."""
    one = made(own)
    one.linux["resources"] = {"pids": {"limit": 10}}
    return one


DISABLED = ["--cgroup-manager", "disabled"]


def test_a_warning_goes_to_the_log_where_there_is_one(own, made, tmp_path):
    one, log = degraded(own, made), str(tmp_path / "log")
    found = create(own, one, "--allow-degraded", words=DISABLED + ["--log", log, "--log-format", "json"])
    assert found == (0, "", "")
    with open(log) as file:
        assert "warning" in [json.loads(line)["level"] for line in file]


def test_without_a_log_a_warning_is_on_stderr(own, made):
    found = create(own, degraded(own, made), "--allow-degraded", words=DISABLED)
    assert found.status == 0
    assert found.err.startswith("minictr: warning: cgroup: "), found


@pytest.mark.parametrize("place", ["nowhere", "a full disk"])
def test_a_warning_is_not_lost_with_a_log_that_cannot_be_written(own, made, tmp_path, place):
    words = DISABLED + ["--log", "/dev/full" if place == "a full disk" else str(tmp_path / "no/such/log")]
    found = create(own, degraded(own, made), "--allow-degraded", words=words)
    assert found.status == 0
    assert "minictr: warning: cannot write the log" in found.err
    assert "minictr: warning: cgroup: " in found.err


# --- limits -------------------------------------------------------------------------------------------


def test_limits_are_lowered_for_another_user_without_cap_sys_resource(runtime, bundle):
    one = bundle()
    one.process["user"] = {"uid": 1000, "gid": 1000}
    one.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    how = {"drop": ["CAP_SYS_RESOURCE"]}
    seen = runtime.look(one, **how)
    assert seen.limit("Max open files") == ("100", "200")
    assert seen.ids[0] == [1000] * 4


def test_limits_of_another_user_are_lowered_for_exec_too(own, box):
    one = box(own)
    with open(one.bundle.path + "/process.json", "w") as file:
        limits = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
        words = {"cwd": "/", "args": ["sh", "-c", "ulimit -n; id -u"], "rlimits": limits}
        json.dump(dict(words, user={"uid": 1000, "gid": 1000}, env=["PATH=/bin"]), file)
    found = own.verb("exec", "--process", file.name, one.id, drop=["CAP_SYS_RESOURCE"])
    assert found == (0, "100\n1000\n", "")


# --- streams and descriptors --------------------------------------------------------------------------


def test_create_hands_its_streams_to_the_program(runtime, made):
    one = made(runtime, ["sh", "-c", "read line; echo got $line; echo err >&2"])
    one.save()
    live = runtime.start_verb("create", "--bundle", one.path, one.identifier)
    support.wait_until(lambda: not live.running)
    runtime.verb("start", one.identifier).ok
    live.send("a line\n")
    live.expect("got a line\n")
    live.expect("err\n")
    assert live.wait().status == 0


def test_exec_detached_hands_its_streams_to_the_program(runtime, box):
    one = box(runtime)
    live = runtime.start_verb("exec", "--detach", one.id, "sh", "-c", "read line; echo got $line")
    support.wait_until(lambda: not live.running)
    live.send("a line\n")
    live.expect("got a line\n")
    assert live.wait().status == 0


@pytest.mark.parametrize("detach", [(), ("--detach",)], ids=["waiting", "detached"])
def test_exec_passes_on_those_descriptors_that_were_asked_for(runtime, box, detach):
    def place():
        os.dup2(os.open("/etc/hostname", os.O_RDONLY), 3)
        os.dup2(3, 4)
        os.dup2(3, 9)

    one = box(runtime)
    words = ("exec",) + detach + ("--preserve-fds", "2", one.id, "sh", "-c", "ls /proc/$$/fd; echo end")
    live = runtime.start_verb(*words, setup=place, pass_fds=(3, 4, 9))
    assert live.expect("end\n").split() == [b"0", b"1", b"2", b"3", b"4"]
    live.wait()


@pytest.mark.parametrize("verb", ["run", "exec", "exec --detach"])
def test_those_below_the_last_may_be_missing(runtime, box, bundle, verb):
    """As podman's --preserve-fd leaves them out, for crun; none of the runtime's own is in their places."""
    unlike(runtime, "runc", "looks whether each is open")
    words = ["sh", "-c", "ls /proc/$$/fd; basename $(readlink /proc/$$/fd/5); echo end"]
    options = ["--preserve-fds", "4"]

    def place():
        for number in (5, 6, 9):
            os.dup2(os.open("/dev/zero", os.O_RDONLY), number)

    how = {"setup": place, "pass_fds": (5, 6, 9)}
    if verb == "run":
        made = bundle()
        made.process["args"] = words
        live = runtime.start(made, *options, **how)
    else:
        live = runtime.start_verb(*verb.split(), *options, box(runtime).id, *words, **how)
    assert live.expect("end\n").split() == [b"0", b"1", b"2", b"5", b"6", b"zero"]
    live.wait()


def test_exec_names_a_descriptor_that_is_not_open(own, box):
    found = own.verb("exec", "--preserve-fds", "7", box(own).id, "true")
    assert found == (255, "", "minictr: --preserve-fds 7: descriptor 3 is not open\n")


SHOW = 'echo "$LISTEN_FDS of $LISTEN_PID"; ls /proc/$$/fd; true'


def activated(runtime, made, more=0, mine=True, count="1"):
    """The same for a bundle, and with MORE descriptors."""
    made.process["args"] = ["sh", "-c", SHOW]
    made.save()
    options = ["--preserve-fds", str(more)] if more else []
    words = runtime._words({}) + ["run"] + options + ["--bundle", made.path, made.identifier]
    return with_socket(runtime, words, more, mine, count)


def with_socket(runtime, words, more=0, mine=True, count="1"):
    """Run WORDS with a socket as descriptor 3 in the manner of a service manager."""
    listener = socket.socket(socket.AF_UNIX)

    def place():
        for number in range(3, 4 + more):
            os.dup2(listener.fileno(), number)
        os.environ["LISTEN_FDS"], os.environ["LISTEN_PID"] = count, str(os.getpid() if mine else 1)
        os.environ["PYTHONPATH"] = support.CHECKOUT
        os.execvpe(words[0], words, os.environ)

    with listener:
        return runtime.runner.command("true", setup=place, pass_fds=range(3, 4 + more))


def test_sockets_of_a_service_manager_reach_the_program(runtime, bundle):
    unlike(runtime, "crun", "is hidden behind mounts that this test does not make")
    assert activated(runtime, bundle()).ok.lines == ["1 of 1", "0", "1", "2", "3"]


def test_a_number_of_sockets_that_is_none_counts_as_no_socket(own, bundle):
    assert activated(own, bundle(), count="\u00b2").ok.lines == [" of ", "0", "1", "2"]


@needs("userns")
def test_the_sockets_are_the_programs_below_a_reaping_process_too(own, busybox_root):
    words = ["run", "--init", "--rootfs", busybox_root, "--", "sh", "-c", SHOW]
    found = with_socket(own, own._words({}) + words)
    assert found.ok.lines == ["1 of 2", "0", "1", "2", "3"]


def test_further_descriptors_come_after_the_sockets(runtime, bundle):
    unlike(runtime, "crun", "is hidden behind mounts that this test does not make")
    assert activated(runtime, bundle(), 2).ok.lines == ["1 of 1", "0", "1", "2", "3", "4", "5"]


def test_the_sockets_of_another_process_are_not_taken(runtime, bundle):
    unlike(runtime, "runc", "passes the descriptor on, though it tells nobody, in old versions")
    unlike(runtime, "crun", "is hidden behind mounts that this test does not make")
    assert activated(runtime, bundle(), mine=False).ok.lines == [" of ", "0", "1", "2"]


def null_streams():
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(null, 2)


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_streams_that_are_null_devices_are_the_containers_own(own, box, bundle, verb):
    """By the host's, its root would have access closed to everybody there (fchmod(2)); and containerd opens
    it for all three to be read alone. runc does so, too, where it is detached."""
    look = "stat -L -c '%d:%i' /proc/self/fd/0 /proc/self/fd/2 /dev/null; echo >&2 && echo written"
    if verb == "run":
        found = own.sh(bundle(), look, setup=null_streams).ok
    else:
        found = own.verb("exec", box(own).id, "sh", "-c", look, setup=null_streams).ok
    assert len(set(found.lines[:3])) == 1, found
    assert found.lines[3:] == ["written"]


@pytest.mark.parametrize("null", ["ln -s /etc/passwd", "ln -s null", "echo >", "mkfifo", ": not"])
def test_what_the_container_has_made_of_its_null_device_does_not_become_a_stream(own, box, null):
    one = box(own, "rm /dev/null; cd /dev; %s null; echo up; exec sleep 1000" % null)
    found = own.verb("exec", one.id, "stat", "-L", "-c", "%t:%T", "/proc/self/fd/0", setup=null_streams)
    assert found == (0, "1:3\n", "")


# --- pidfds -----------------------------------------------------------------------------------------


class Listener:
    """A socket that takes descriptors. path: its name"""

    def __init__(self, path):
        self.path, self.socket = path, socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(1)
        self.socket.settimeout(20)

    def process(self):
        """The process id behind the pidfd that arrives, and the text with it."""
        connection, _ = self.socket.accept()
        with connection:
            text, extra, _, _ = connection.recvmsg(100, socket.CMSG_SPACE(4))
        number = array.array("i", extra[0][2])[0]
        with open("/proc/self/fdinfo/%d" % number) as file:
            found = [line.split()[1] for line in file if line.startswith("Pid:")]
        os.close(number)
        return int(found[0]), text.decode()


@pytest.fixture
def listener(tmp_path):
    made = Listener(str(tmp_path / "socket"))
    yield made
    made.socket.close()


@pytest.mark.parametrize("verb", ["run", "create"])
def test_a_pidfd_of_the_first_process_is_sent(own, made, listener, verb):
    one = made(own)
    one.save()
    words = ["--detach"] if verb == "run" else []
    live = own.start_verb(verb, *words, "--pidfd-socket", listener.path, "--bundle", one.path, one.identifier)
    assert listener.process() == (json.loads(own.verb("state", one.identifier).ok.out)["pid"], "standard")
    assert live.wait() == (0, "", "")


def test_a_pidfd_of_a_further_program_is_sent(own, box, listener, tmp_path):
    one, place = box(own), str(tmp_path / "pid")
    words = ("--detach", "--pid-file", place, "--pidfd-socket", listener.path)
    live = own.start_verb("exec", *words, one.id, "sleep", "1000")
    pid, text = listener.process()
    assert live.wait().status == 0
    with open(place) as file:
        assert (pid, text) == (int(file.read()), "setns")


def test_a_pidfd_that_nobody_takes_ends_the_start(own, made):
    one = made(own)
    found = create(own, one, "--pidfd-socket", "/no/such/socket")
    why = "send a pidfd to /no/such/socket: No such file or directory"
    assert found == (125, "", "minictr: %s\n" % why)


# --- whose the cgroup is ------------------------------------------------------------------------------

OWNED = "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"


@needs("cgroup2")
@pytest.mark.parametrize("runtime", ["minictr", "runc"], indirect=True)
@pytest.mark.parametrize("user", [0, 1000])
@pytest.mark.parametrize("options, given", [(["rw"], True), (["ro"], False)])
def test_who_may_write_to_the_containers_cgroup_owns_what_divides_it(
    runtime, made, only_v2, user, options, given
):
    """As a systemd inside needs it: the directory, and no file that holds a limit."""
    if given:
        unlike(runtime, "runc", "gives units of systemd alone")
    point, how = only_v2
    one = made(runtime)
    line = {"containerID": 0, "hostID": 300000, "size": 65536}
    one.namespaces("user", "cgroup")
    one.linux.update(uidMappings=[line], gidMappings=[line])
    one.process["user"] = {"uid": user, "gid": 0}
    one.config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options}
    )
    try:
        assert create(runtime, one, **how) == (0, "", "")
        pid = json.loads(runtime.verb("state", one.identifier, **how).ok.out)["pid"]
        with open("/proc/%d/cgroup" % pid) as file:
            own = point + [row.rstrip("\n")[3:] for row in file if row.startswith("0::")][0]
        owners = {name: os.stat(os.path.join(own, name)).st_uid for name in os.listdir(own)}
        assert {name for name in owners if owners[name]} == (set(OWNED) & set(owners) if given else set())
        assert os.stat(own).st_uid == (300000 + user if given else 0)
        assert os.stat(own + "/..").st_uid == 0
    finally:
        runtime.verb("delete", "--force", one.identifier, **how)


# --- cgroups of exec ----------------------------------------------------------------------------------


def make_below(one, *controllers):
    for controller in controllers:
        os.mkdir(one.cgroup(controller) + "/below")


@needs("cgroup1")
@pytest.mark.parametrize(
    "option, below",
    [
        ("pids:below", {"pids"}),
        ("pids,memory:/below", {"pids", "memory"}),
    ],
)
def test_exec_joins_a_cgroup_below_the_containers(runtime, box, option, below):
    unlike(runtime, "crun", "knows no controllers here")
    one = box(runtime)
    make_below(one, *below)
    found = runtime.verb("exec", "--cgroup", option, one.id, "cat", "/proc/self/cgroup").ok
    places = {row.split(":")[1]: row.split(":")[2] for row in found.lines}
    assert {name for name in ("pids", "memory", "cpu") if places[name].endswith("/below")} == below, places


EMPTY = "a cpuset needs its cpuset.cpus and cpuset.mems written before"


@needs("cgroup1")
def test_a_path_alone_is_meant_for_every_controller(own, box):
    one = box(own)
    with open("/proc/%d/cgroup" % one.pid) as file:
        names = [line.split(":")[1] for line in file if one.id in line]
    for name in names:
        os.mkdir(one.cgroup(name.split(",")[0]).replace("name=", "") + "/below")
    found = own.verb("exec", "--cgroup=below", one.id, "true")
    assert found == (255, "", "minictr: join the cgroup: No space left on device; hint: %s\n" % EMPTY)
    for name in ("cpuset.cpus", "cpuset.mems"):
        with open(one.cgroup("cpuset") + "/below/" + name, "w") as file:
            file.write(one.value(name))
    found = own.verb("exec", "--cgroup=below", one.id, "cat", "/proc/self/cgroup").ok
    assert len([line for line in found.lines if line.endswith("/below")]) == len(names)


@pytest.fixture
def only_v2():
    """(its mount point, what makes a command see no other cgroups than those of v2)"""
    point = [point for kind, point in support.cgroup_mounts() if kind == "cgroup2"][0]
    with open(point + "/cgroup.subtree_control") as file:
        before = file.read().split()
    yield point, {} if V2 else {"cover": {"/sys/fs/cgroup": point}}
    with open(point + "/cgroup.subtree_control", "r+") as file:
        for name in file.read().split():
            if name not in before:  # a runtime leaves them enabled, which is no harm but on hosts of v1
                file.write("-" + name)
                file.flush()


def move_to_leaf(point, pid):
    """Put process PID below the cgroup that it is in, and enable a controller there: that cgroup."""
    with open("/proc/%d/cgroup" % pid) as file:
        own = point + [line.rstrip("\n")[3:] for line in file if line.startswith("0::")][0]
    os.mkdir(own + "/leaf")
    with open(own + "/cgroup.controllers") as file:
        names = [name for name in file.read().split() if name in ("memory", "hugetlb", "io")]
    if not names:
        pytest.skip("cgroup2 has no controllers here")
    for path, word in (("leaf/cgroup.procs", pid), ("cgroup.subtree_control", "+" + names[0])):
        with open(os.path.join(own, path), "w") as file:
            file.write(str(word))
    return own


@needs("cgroup2")
@pytest.mark.parametrize("runtime", ["minictr", "runc"], indirect=True)
def test_exec_goes_where_process_1_is_if_the_containers_cgroup_takes_none(runtime, made, only_v2):
    """As systemd does it inside, and the kernel wants it: processes are at the leaves alone."""
    point, how = only_v2
    one = made(runtime)
    try:
        assert create(runtime, one, **how) == (0, "", "")
        move_to_leaf(point, json.loads(runtime.verb("state", one.identifier, **how).ok.out)["pid"])
        runtime.verb("start", one.identifier, **how).ok
        found = runtime.verb("exec", one.identifier, "sh", "-c", "cat /proc/self/cgroup", **how).ok
        assert [line for line in found.lines if line.startswith("0::")] == ["0::/leaf"]
    finally:
        runtime.verb("delete", "--force", one.identifier, **how)


@needs("cgroup2")
def test_exec_does_not_follow_process_1_into_a_cgroup_that_was_frozen_inside(own, made, only_v2):
    """With runc it would wait there for ever."""
    point, how = only_v2
    one = made(own)
    try:
        assert create(own, one, **how) == (0, "", "")
        place = move_to_leaf(point, json.loads(own.verb("state", one.identifier, **how).ok.out)["pid"])
        own.verb("start", one.identifier, **how).ok
        os.mkdir(place + "/other")
        with open(place + "/leaf/cgroup.freeze", "w") as file:
            file.write("1")
        found = own.verb("exec", one.identifier, "true", timeout=20, **how)
        assert (found.status, found.out) == (255, "")
        assert "its process 1 has been frozen inside, and the program would be with it; hint: " in found.err
        assert own.verb("exec", "--cgroup", "other", one.identifier, "echo", "ran", **how).ok.out == "ran\n"
    finally:
        own.verb("delete", "--force", one.identifier, **how)


@pytest.mark.parametrize(
    "options, words",
    [
        (["nowhere"], "it must have been made before, inside the container or by mkdir"),
        (["../x"], "--cgroup ../x: leads out of the container's cgroup"),
        (["nocontroller:x"], "--cgroup: the container has no cgroup of the controller nocontroller"),
        (["x", "y"], "--cgroup x: is not [CONTROLLER,...:]PATH"),
        (["a:b:c"], "--cgroup a:b:c: is not [CONTROLLER,...:]PATH"),
        (["pids:x", "pids:y"], "--cgroup pids:y: the controller pids is named twice"),
    ],
)
def test_a_wrong_cgroup_is_named(own, box, options, words):
    found = own.verb("exec", *["--cgroup=" + word for word in options], box(own).id, "true")
    assert (found.status, found.out, len(found.err.splitlines())) == (255, "", 1)
    assert words in found.err


def test_no_cgroup_is_made_where_none_is_wanted(own, made):
    one = made(own)
    devices = [{"allow": False, "access": "rwm"}]  # every engine names some
    one.linux["resources"] = {"devices": devices}
    assert create(own, one, words=DISABLED) == (0, "", "")
    pid = json.loads(own.verb("state", one.identifier).ok.out)["pid"]
    with open("/proc/%d/cgroup" % pid) as file:
        assert one.identifier not in file.read()


def test_a_limit_takes_a_cgroup(own, made):
    found = create(own, degraded(own, made), words=DISABLED)
    assert found.status == 123
    assert "--cgroups disabled" in found.err


# --- hooks --------------------------------------------------------------------------------------------


HOOK = "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); sleep 0.1; readlink /proc/$pid/ns/net >%s"


@pytest.mark.parametrize("free", [False, True], ids=["no_new_privs", "free"])
def test_a_hook_finds_the_namespaces_of_a_container_with_a_filter(runtime, bundle, tmp_path, free):
    """Docker's network is made so."""
    unlike(runtime, "crun", "tells the hook otherwise", since=(1, 9))
    one, place = bundle(), str(tmp_path / "net")
    rule = {"names": ["mount"], "action": "SCMP_ACT_ERRNO"}
    one.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    one.process["noNewPrivileges"] = not free
    one.config["hooks"] = {"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", HOOK % place]}]}
    found = runtime.sh(one, "readlink /proc/self/ns/net; grep Seccomp: /proc/self/status").ok
    with open(place) as file:
        assert file.read() == found.lines[0] + "\n"
    assert found.lines[1].split() == ["Seccomp:", "2"]


SET = "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); nsenter -t $pid -n sh -c 'echo 33 >%s'"


def test_a_kernel_parameter_holds_that_a_hook_had_otherwise(runtime, bundle):
    """Docker's turns IPv6 off in a network without it, whatever `--sysctl` says; and only with it the
    parameters of a network device are there."""
    unlike(runtime, "crun", "sets them before")
    one, file = bundle(), "/proc/sys/net/ipv4/ip_default_ttl"
    one.linux["sysctl"] = {"net.ipv4.ip_default_ttl": "44"}
    hook = {"path": "/bin/sh", "args": ["sh", "-c", SET % file], "env": ["PATH=" + support.PATH]}
    one.config["hooks"] = {"prestart": [hook]}
    assert runtime.sh(one, "cat " + file).ok.out == "44\n"


# into the mount namespace of the container that is told of
INTO = "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); nsenter -t $pid -m "
PLACE = "sh -c 'test -c {root}/dev/null && touch {root}/{name} && mount --bind {told} {root}/{name}'"


@pytest.mark.parametrize("readonly", [False, True], ids=["a writable root", "a read-only root"])
@pytest.mark.parametrize("name", ["prestart", "createRuntime", "createContainer"])
def test_what_a_hook_mounts_below_the_root_is_there(runtime, bundle, tmp_path, name, readonly):
    """So NVIDIA's bring drivers: the host's path of the root leads, in the container's mount namespace, to
    all that is mounted in it; their ldconfig lists the libraries that it finds there."""
    if readonly and name == "createContainer":
        unlike(runtime, "crun", "has made it read-only by then")
    one, told = bundle(), tmp_path / "told"
    told.write_text("the hook's\n")
    one.config["root"]["readonly"] = readonly
    script = PLACE.format(root=one.root, name=name, told=told)
    if name != "createContainer":
        script = INTO + script
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=" + support.PATH]}
    one.config["hooks"] = {name: [hook]}
    found = runtime.sh(one, "cat /%s; touch /new 2>/dev/null; echo $?" % name).ok
    assert found.lines == ["the hook's", str(int(readonly))]


@pytest.mark.parametrize(
    "hook, words", [({}, "two /somewhere"), ({"env": []}, "unset unset"), ({"env": ["ONE=3"]}, "3 unset")]
)
def test_a_hook_inside_has_the_programs_environment_if_it_says_none(runtime, bundle, hook, words):
    """It is held as the program is, so nothing is gained by it that the program has not."""
    if hook.get("env") == []:
        unlike(runtime, "crun", "takes an empty one for none")
    one = bundle()
    one.config["root"]["readonly"] = False
    one.process["env"] = ["PATH=/bin", "ONE=two", "HOME=/somewhere"]
    script = "echo ${ONE-unset} ${HOME-unset} >/told"
    one.config["hooks"] = {"startContainer": [dict(hook, path="/bin/sh", args=["sh", "-c", script])]}
    assert runtime.sh(one, "cat /told", env={"ONE": "the caller's"}).ok.out == words + "\n"


def test_a_hook_of_the_host_has_the_callers_umask(runtime, bundle, tmp_path):
    unlike(runtime, "crun", "has none", since=(1, 9))
    one = bundle()
    names = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    one.config["hooks"] = {
        name: [{"path": "/bin/sh", "args": ["sh", "-c", "umask >%s" % (tmp_path / name)]}] for name in names
    }
    assert runtime.sh(one, "umask", umask=0o027).ok.out == "0022\n"
    assert {name: (tmp_path / name).read_text() for name in names} == dict.fromkeys(names, "0027\n")


@pytest.mark.parametrize("size", [10, 200000], ids=["a short state", "a state that no pipe has room for"])
def test_a_hook_that_takes_too_long_is_killed(own, bundle, size):
    one = bundle()
    one.config["annotations"] = {"long": "x" * size}
    one.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]}
    words = "run the createRuntime hook /bin/sleep: it took more than 1 seconds"
    assert own.run(one) == (125, "", "minictr: %s\n" % words)


def test_what_a_hook_leaves_running_is_not_waited_for(own, bundle, tmp_path):
    """Though it holds the streams of the hook."""
    one = bundle()
    one.process["args"] = ["true"]
    script = "sleep 1000 & echo $! >%s/pid" % tmp_path
    one.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    try:
        assert own.run(one, timeout=20).ok
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_hook_has_no_signals_blocked_or_ignored(own, bundle, tmp_path):
    one = bundle()
    one.process["args"] = ["true"]
    names = ("createRuntime", "createContainer", "poststop")
    one.config["hooks"] = {
        name: [{"path": "/bin/cp", "args": ["cp", "/proc/self/status", str(tmp_path / name)]}]
        for name in names
    }
    assert own.run(one).ok
    for name in names:
        lines = (tmp_path / name).read_text().splitlines()
        found = [int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk:", "SigIgn:"))]
        # make(1) ignores 32, which the C library keeps for itself
        assert [mask & ~(3 << 31) for mask in found] == [0, 0], name


def test_a_signal_that_the_caller_ignores_does_not_end_the_making(own, bundle, tmp_path):
    """nohup(1)."""
    one = bundle()
    one.process["args"] = ["echo", "started"]
    script = "echo >%s/begun; sleep 0.5" % tmp_path
    one.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    live = own.start(one, ignore=(signal.SIGHUP,))
    support.wait_until((tmp_path / "begun").exists)
    live.signal(signal.SIGHUP)
    assert live.wait().ok.out == "started\n"


@pytest.mark.parametrize("ids", ["host ids", "a user namespace"])
def test_a_killed_runtime_takes_a_hook_inside_with_it(own, bundle, tmp_path, ids):
    """While its hook runs the container's first process hears nothing: the kernel has to end it."""
    one, place = bundle(), tmp_path / "place"
    place.mkdir()
    place.chmod(0o777)
    if ids != "host ids":
        line = {"containerID": 0, "hostID": 300000, "size": 65536}
        one.namespaces("user")
        one.linux.update(uidMappings=[line], gidMappings=[line])
    script = "echo >%s/begun; exec sleep 1000" % place
    one.config["hooks"] = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    live = own.start(one)
    support.wait_until((place / "begun").exists)
    live.signal(signal.SIGKILL)
    live.wait()
    support.wait_until(lambda: not leftovers.processes(), 5, "the container has outlived its runtime")
    assert own.verb("list", "--quiet") == (0, "", "")


def inside_hook(script):
    return {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}


def own_hook(own, place, *words):
    """A hook that calls minictr with WORDS, and what it says goes into PLACE."""
    command = " ".join([sys.executable, "-m", "minictr", "--root", own.runner.state()] + list(words))
    script = "timeout 10 %s >%s 2>&1 || echo failed >>%s" % (command, place, place)
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PYTHONPATH=" + support.CHECKOUT]}


@pytest.mark.parametrize("verb", ["state", "exec"])
def test_a_hook_after_the_start_may_call_minictr(own, box, tmp_path, verb):
    place = str(tmp_path / "said")

    def change(made):
        words = [verb, made.identifier] + (["echo", '\\"running\\"'] if verb == "exec" else [])
        made.config["hooks"] = {"poststart": [own_hook(own, place, *words)]}

    one = box(own, "exec sleep 1000", change, verb="create")
    assert one.verb("start") == (0, "", "")
    with open(place) as file:
        said = file.read()
    assert '"running"' in said and "failed" not in said


def gate(place):
    """A hook that tells it is there by PLACE/up, and waits for PLACE/go."""
    script = "echo >%s/up; while ! test -e %s/go; do sleep 0.02; done" % (place, place)
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}


@pytest.mark.parametrize("name", ["prestart", "createRuntime"])
def test_a_hook_finds_one_that_is_being_created(own, made, tmp_path, name):
    one, place = made(own), str(tmp_path / "said")
    hooks = [own_hook(own, place + "state", "state", one.identifier), own_hook(own, place + "list", "list")]
    one.config["hooks"] = {name: hooks}
    create(own, one).ok
    with open(place + "state") as file:
        told = json.load(file)
    assert (told["status"], told["bundle"]) == ("creating", one.path) and told["pid"] > 1
    with open(place + "list") as file:
        assert " creating " in file.read()


def test_every_state_has_the_form_of_the_specifications_schema(runtime, box, tmp_path):
    """That on a hook's standard input, and those that are asked for."""
    import jsonschema

    def hooked(one):
        hook = {"path": "/bin/sh", "args": ["sh", "-c", "cat >%s/state" % tmp_path]}
        one.config["hooks"] = {"createRuntime": [hook]}
        one.config["annotations"] = {"org.example": "x"}

    judge = jsonschema.Draft4Validator(bundles.schema("state-schema.json"))
    one = box(runtime, "exec sleep 1000", hooked, verb="create")
    found = [json.loads((tmp_path / "state").read_text())]
    for verb, words in (("state", []), ("start", []), ("kill", ["KILL"])):
        one.verb(verb, *words).ok
        if verb == "kill":
            support.wait_until(lambda: one.status == "stopped")
        found.append(json.loads(one.verb("state").ok.out))
    first = "created" if runtime.name == "crun" else "creating"  # which crun has not
    assert [state["status"] for state in found] == [first, "created", "running", "stopped"]
    assert [state["annotations"].get("org.example") for state in found] == ["x"] * 4
    assert [list(judge.iter_errors(state)) for state in found] == [[]] * 4


def test_one_that_is_being_created_is_no_program_to_join(own, made, tmp_path):
    one, place = made(own), str(tmp_path / "said")
    one.config["hooks"] = {"createRuntime": [own_hook(own, place, "exec", one.identifier, "true")]}
    create(own, one).ok
    with open(place) as file:
        assert "container not running" in file.read()


def test_one_that_is_being_created_is_deleted_with_force_only(own, made, tmp_path):
    one = made(own)
    one.config["hooks"] = {"createRuntime": [gate(tmp_path)]}
    one.save()
    making = own.start_verb("create", "--bundle", one.path, one.identifier)
    support.wait_until((tmp_path / "up").exists)
    found = own.verb("delete", one.identifier)
    assert found.status == 125 and "it is being created" in found.err
    ending = own.start_verb("delete", "--force", one.identifier)
    time.sleep(0.3)
    assert ending.running
    (tmp_path / "go").touch()
    assert ending.wait() == (0, "", "")
    assert making.wait().status == 125
    assert os.listdir(own.runner.state()) == []


def test_one_that_is_deleted_while_it_starts_is_gone(own, made, tmp_path):
    """Its runtime lets go of it when it has started: somebody has to forget it then."""
    one = made(own)
    one.config["hooks"] = {"poststart": [gate(tmp_path)]}
    live = own.start(one, "--detach")
    support.wait_until((tmp_path / "up").exists)
    ending = own.start_verb("delete", "--force", one.identifier)
    time.sleep(0.3)
    (tmp_path / "go").touch()
    assert ending.wait() == (0, "", "")
    live.wait()
    assert os.listdir(own.runner.state()) == []


@pytest.mark.parametrize("name", ["createRuntime", "createContainer", "startContainer"])
def test_a_hook_may_say_as_much_as_it_likes(runtime, bundle, name):
    one = bundle()
    script = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}
    one.config["hooks"] = {name: [hook]}
    assert runtime.sh(one, "echo ran", timeout=20) == (0, "ran\n", "")


def test_a_hook_gets_a_long_state_whole(own, bundle, tmp_path):
    one = bundle()
    one.config["annotations"] = {"long": "x" * 200000}
    scripts = "sleep 0.2; cat >%s/told" % tmp_path, "exec <&-; sleep 0.1", "head -c 10 >%s/part" % tmp_path
    hooks = [{"path": "/bin/sh", "args": ["sh", "-c", script]} for script in scripts]
    one.config["hooks"] = {"createRuntime": [dict(hook, env=["PATH=/usr/bin:/bin"]) for hook in hooks]}
    assert own.sh(one, "echo ran") == (0, "ran\n", "")
    with open(str(tmp_path / "told")) as file:
        assert len(json.load(file)["annotations"]["long"]) == 200000
    assert (tmp_path / "part").stat().st_size == 10


def test_a_hook_that_leaves_a_process_is_not_waited_for(own, bundle, tmp_path):
    one = bundle()
    script = "sleep 30 & echo $! >%s/left; head -c 2000 /dev/zero | tr '\\0' x; exit 3" % tmp_path
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}
    one.config["hooks"] = {"createRuntime": [hook]}
    found = own.sh(one, "echo ran", timeout=10)
    os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)
    words = "minictr: run the createRuntime hook /bin/sh: exit status 3: %s\n"
    assert found == (125, "", words % ("x" * 1024))


FAILING = [{"path": "/bin/sh", "args": ["sh", "-c", "echo no luck; exit 3"]}]


@pytest.mark.parametrize("options", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_hook_after_the_start_that_fails_ends_the_container(own, made, tmp_path, options):
    one, place = made(own), str(tmp_path / "pid")
    later = {"path": "/bin/sh", "args": ["sh", "-c", "echo >%s/after" % tmp_path]}
    one.config["hooks"] = {"poststart": FAILING, "poststop": [later]}
    found = own.run(one, "--pid-file", place, *options)
    words = "minictr: run the poststart hook /bin/sh: exit status 3: no luck\n"
    assert found == (125, "", words)
    assert not os.path.exists(place) and (tmp_path / "after").exists()
    assert os.listdir(own.runner.state()) == []


def test_why_a_start_failed_is_told_though_somebody_has_taken_its_pid_file_away(own, made, tmp_path):
    one, place = made(own), str(tmp_path / "pid")
    one.config["hooks"] = {"poststart": [{"path": "/bin/rm", "args": ["rm", place]}] + FAILING}
    found = own.run(one, "--pid-file", place)
    assert found == (125, "", "minictr: run the poststart hook /bin/sh: exit status 3: no luck\n")


def test_a_hook_after_the_start_that_fails_is_an_error_of_start(own, box):
    """The container is stopped, and left for `delete`, as after any start that fails."""
    one = box(own, "exec sleep 1000", lambda made: made.config.update(hooks={"poststart": FAILING}), "create")
    found = one.verb("start")
    assert found == (125, "", "minictr: run the poststart hook /bin/sh: exit status 3: no luck\n")
    assert one.status == "stopped"
    one.verb("delete").ok


def test_one_whose_hook_takes_its_time_can_be_asked_for_and_killed(own, box):
    def change(made):
        made.config["hooks"] = inside_hook("echo >/dev/shm/up; sleep 8")

    one = box(own, "exec sleep 1000", change, verb="create")
    start = own.start_verb("start", one.id)
    support.wait_until(lambda: os.path.exists(one.path("/dev/shm/up")))
    assert one.status == "created"
    assert one.verb("kill", "KILL") == (0, "", "")
    support.wait_until(lambda: support.gone(one.pid), timeout=4)
    start.wait()


@pytest.mark.parametrize("how", ["killed", "on a full disk"])
def test_one_whose_start_did_not_come_to_its_end_runs(own, box, how):
    """Whoever is asked says so, although nobody could write it down."""
    one = box(own, "exec sleep 1000", lambda made: made.config.update(hooks=inside_hook("sleep 1")), "create")
    if how == "killed":
        start = own.start_verb("start", one.id)
        support.wait_until(lambda: "sleep" in own.runner.command("ps", "--ppid", str(one.pid)).out)
        start.signal(signal.SIGKILL)
        start.wait()
        assert one.status == "created"
    else:
        no_room = (resource.RLIMIT_FSIZE, (0, 0))
        one.verb("start", setup=lambda: resource.setrlimit(*no_room)).ok
    support.wait_until(lambda: one.status == "running")
    assert " running " in own.verb("list").ok.out
    assert "it is running, not created" in one.verb("start").err
    assert "it is running" in one.verb("delete").err


# --- callers without an environment ---------------------------------------------------------------------


def test_a_caller_needs_neither_path_nor_home(own, box):
    one = box(own)
    how = {"env": {"PATH": None, "HOME": None, "XDG_RUNTIME_DIR": ""}}
    for verb in (["pause"], ["resume"], ["kill"], ["delete", "--force"]):
        found = own.verb(*(verb + [one.id]), **how)
        assert found == (0, "", ""), verb


# --- engines of users ------------------------------------------------------------------------------------


LATE = """
import sys, time
from minictr import cli, maps
write = maps.write
maps.write = lambda *words: time.sleep(0.2) or write(*words)
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_root_in_a_place_of_the_containers_ids_is_found_however_late_they_are_mapped(own, bundle, ranged):
    """As in the store of podman with --userns=keep-id: the way there is open to one whose ids are mapped."""
    one = bundle()
    one.namespaces("user")
    for name in ("uidMappings", "gidMappings"):
        one.linux[name] = [{"containerID": 0, "hostID": ranged.start, "size": 65536}]
    os.mkdir(one.path + "/private")
    os.rename(one.root, one.path + "/private/rootfs")
    one.config["root"]["path"] = "private/rootfs"
    os.chown(one.path + "/private", ranged.start, ranged.start)
    os.chmod(one.path + "/private", 0o700)
    one.process["args"] = ["id", "-u"]
    one.save()
    words = ["--root", own.runner.state(), "run", "--bundle", one.path, one.identifier]
    how = {"env": {"PYTHONPATH": support.CHECKOUT}}
    found = own.runner.command(sys.executable, "-c", LATE, *words, **how)
    assert found.ok.out == "0\n"


AS_ROOT_OF_A_USER = """
set -e
"$@" run --detach --bundle %s %s >/dev/null
"$@" exec %s id -u
"$@" delete --force %s
"""


@pytest.mark.parametrize("runtime", ["minictr", "runc"], indirect=True)
def test_root_of_a_user_namespace_manages_a_container_in_it(runtime, bundle, ranged):
    """As podman of a user does it: the container has the engine's user namespace, and no cgroup."""
    one = bundle(account=ranged)
    one.namespaces("-cgroup")
    one.linux["resources"] = {}
    one.process["args"] = ["sleep", "1000"]
    for mount in one.config["mounts"]:
        mount["options"] = [word for word in mount.get("options") or [] if word != "gid=5"]
    one.save()
    how = {"user": ranged}
    script = AS_ROOT_OF_A_USER % ((one.path,) + (one.identifier,) * 3)
    words = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"] + runtime._words(how)
    assert runtime.runner.command(*words, **how).ok.out == "0\n"
