"""Between the word to start and the program: what its hooks may ask for, and who is killed meanwhile."""

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
import support
from bundles import unlike
from support import needs

pytestmark = needs("root", "busybox", "cgroup")

GATE = "echo >/dev/shm/up; while ! test -e /dev/shm/go; do sleep 0.02; done"


def inside(script):
    return {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}


def gated(made):
    made.config["hooks"] = inside(GATE)


def asking(own, place, *words):
    """A hook of the host that calls minictr with WORDS, and what it says goes into PLACE."""
    command = " ".join([sys.executable, "-m", "minictr", "--root", own.runner.state()] + list(words))
    script = "timeout 10 %s >%s 2>&1; echo $? >>%s" % (command, place, place)
    return [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PYTHONPATH=" + support.CHECKOUT]}]


@pytest.fixture
def starting(box):
    """A container whose `start` waits for a hook until `go`: starting(runtime)."""

    def begin(runtime):
        one = box(runtime, "exec sleep 1000", gated, verb="create")
        one.start = runtime.start_verb("start", one.id)
        support.wait_until(lambda: os.path.exists(one.path("/dev/shm/up")))
        one.go = lambda: open(one.path("/dev/shm/go"), "w").close()
        return one

    return begin


# --- what may be asked for ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("state",), ("ps",), ("exec", "true"), ("update", "--pids-limit=100"), ("events", "--stats"),
        ("kill", "0"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_hook_before_the_program_may_ask_for_its_container(runtime, starting, words):
    """By a door of the engine's, say: who answers must not wait for the start, which waits for the hook."""
    if words[0] == "events":
        unlike(runtime, "crun", "has no events")
    one = starting(runtime)
    assert one.verb(*words, timeout=10).status == 0
    one.go()
    one.start.wait()
    support.wait_until(lambda: one.status == "running")


def test_it_is_paused_while_a_hook_runs_and_goes_on(runtime, starting):
    one = starting(runtime)
    one.verb("pause", timeout=10).ok
    one.go()
    time.sleep(0.1)
    one.verb("resume", timeout=10).ok
    one.start.wait()
    support.wait_until(lambda: one.status == "running")


def test_it_is_stopped_while_a_hook_runs(own, starting):
    one = starting(own)
    one.verb("stop", "--time=0", timeout=10).ok
    assert one.start.wait().status == 125


def test_it_is_started_once(own, starting):
    one = starting(own)
    again = own.start_verb("start", one.id)
    time.sleep(0.5)
    assert again.running
    one.go()
    assert one.start.wait() == (0, "", "")
    assert "it is running, not created" in again.wait().err


@pytest.mark.parametrize("verb", ["pause", "resume", "update"])
def test_one_that_is_being_created_stands_still_for_nobody(own, bundle, tmp_path, verb):
    """Who creates it would wait for its first process for ever."""
    made, place = bundle(), str(tmp_path / "said")
    made.config["hooks"] = {"createRuntime": asking(own, place, verb, made.identifier)}
    assert own.sh(made, "echo ran", timeout=20) == (0, "ran\n", "")
    with open(place) as file:
        said = file.read()
    why = "container not running; hint: it is being created"
    assert said == "minictr: %s container %s: %s\n125\n" % (verb, made.identifier, why)


@pytest.mark.parametrize("verb", ["state", "list", "kill", "delete --force"])
def test_a_root_is_not_taken_for_what_is_known_of_its_container(own, bundle, tmp_path, verb):
    """Where hooks inside the mount namespace run, one that shares with the host lies over what is known."""
    made, place = bundle(), str(tmp_path / "said")
    made.config["linux"]["rootfsPropagation"] = "shared"
    victim = own.runner.start_command("sleep", "1000")
    with open("/proc/%d/stat" % victim.pid) as file:
        started = int(file.read().rpartition(")")[2].split()[19])
    content = {"id": "x", "status": "running", "pid": victim.pid, "start_time": started, "bundle": "/faked"}
    with open(made.root + "/state.json", "w") as file:
        json.dump(content, file)
    words = (
        verb.split() + ([] if verb == "list" else [made.identifier]) + (["KILL"] if verb == "kill" else [])
    )
    (hook,) = asking(own, place, *words)
    hook["args"][2] = "mount -t proc proc /proc && " + hook["args"][2]  # or that shows numbers of the host's
    made.config["hooks"] = {"createContainer": [hook]}
    assert own.sh(made, "echo ran", timeout=20, setup=support.part_from_mounts) == (0, "ran\n", "")
    with open(place) as file:
        said = file.read()
    assert "faked" not in said and victim.running
    if verb in ("state", "kill"):
        assert said == "minictr: container does not exist: %s\n125\n" % made.identifier
    victim.kill()


def test_a_hook_inside_the_mount_namespace_is_told_of_its_own_container(own, bundle, tmp_path):
    made, place = bundle(), str(tmp_path / "said")
    (hook,) = asking(own, place, "state", made.identifier)
    hook["args"][2] = "mount -t proc proc /proc && " + hook["args"][2]
    made.config["hooks"] = {"createContainer": [hook]}
    assert own.sh(made, "echo ran", timeout=20) == (0, "ran\n", "")
    with open(place) as file:
        said = json.loads(file.read().rpartition("}")[0] + "}")
    assert (said["id"], said["status"]) == (made.identifier, "creating")


# --- an end that comes before the program ------------------------------------------------------------


def test_who_is_killed_before_the_program_has_not_been_started(own, starting):
    one = starting(own)
    one.verb("kill", "KILL").ok
    found = one.start.wait()
    why = "its first process was killed before the program ran; hint: delete it"
    assert found == (125, "", "minictr: start container %s: %s\n" % (one.id, why))
    assert one.status == "stopped"
    one.verb("delete").ok


@pytest.mark.parametrize("options", [(), ("--detach",)], ids=["foreground", "detached"])
def test_nor_has_who_is_run(own, bundle, tmp_path, options):
    made, file = bundle(), str(tmp_path / "pid")
    gated(made)
    later = {"path": "/bin/sh", "args": ["sh", "-c", "echo >%s/after" % tmp_path]}
    made.config["hooks"]["poststart"] = [later]
    live = own.start(made, "--pid-file", file, *options)
    support.wait_until(lambda: os.path.exists(file))
    with open(file) as text:
        pid = int(text.read())
    support.wait_until(lambda: os.path.exists("/proc/%d/root/dev/shm/up" % pid))
    os.kill(pid, signal.SIGKILL)
    why = "run the startContainer hooks: it was killed by signal 9"
    assert live.wait() == (125, "", "minictr: %s\n" % why)
    assert not (tmp_path / "after").exists() and not os.path.exists(file)
    assert os.listdir(own.runner.state()) == []


class Reported:
    """Listens for the filter of one container, which reports execve(2): its first process stands still there,
    and is killed at the call of number COUNT."""

    def __init__(self, count):
        self.count = count
        self.path = os.path.join(support.SESSION.place("agent"), "socket")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(1)
        self.socket.settimeout(20)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def profile(self):
        rule = {"names": ["execve", "execveat"], "action": "SCMP_ACT_NOTIFY"}
        return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": self.path}

    def _serve(self):
        with self.socket:
            peer = self.socket.accept()[0]
        with peer:
            listener = struct.unpack("=i", peer.recvmsg(65536, 64)[1][0][2])[0]
        for turn in range(1, self.count + 1):
            notice = bytearray(80)
            fcntl.ioctl(listener, RECEIVE, notice)
            identifier, pid = struct.unpack_from("=QI", notice)
            if turn == self.count:
                os.kill(pid, signal.SIGKILL)
            else:
                fcntl.ioctl(listener, SEND, bytearray(struct.pack("=QqiI", identifier, 0, 0, 1)))
        os.close(listener)


RECEIVE, SEND = 0xC0502100, 0xC0182101  # include/uapi/linux/seccomp.h


@needs("seccomp")
@pytest.mark.parametrize("how", ["create", "run"])
@pytest.mark.parametrize(
    "guard, count", [("userns", 1), ("standin", 1), ("standin", 2)], ids=["userns", "before", "standin"]
)
def test_who_is_killed_as_it_executes_the_program_has_not_been_started(own, bundle, how, guard, count):
    """Without a hook that would have said so: its end of the channel closes as if the program ran. By the
    interpreter, and by what stands in for it."""
    if how == "create" and not support.exit_told():
        pytest.skip("before Linux 6.15 nobody can tell if its parent is quicker than start")
    made, agent = bundle(), Reported(count)
    made.linux["seccomp"] = agent.profile()
    if guard == "userns":
        made.namespaces("user")
        ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        made.linux.update(uidMappings=ids, gidMappings=ids)
    if how == "create":
        made.save()
        own.verb("create", "--bundle", made.path, made.identifier).ok
        found = own.verb("start", made.identifier, timeout=20)
        why = "its first process was killed before the program ran; hint: delete it"
        assert found == (125, "", "minictr: start container %s: %s\n" % (made.identifier, why))
        own.verb("delete", made.identifier).ok
    else:
        found = own.start(made, "--detach").wait()
        assert found == (125, "", "minictr: start the program: it was killed by signal 9\n")
    agent.thread.join()
    assert os.listdir(own.runner.state()) == []


@needs("strace")
@pytest.mark.parametrize(
    "options, why",
    [
        (["-P", "/bin/sleep", "--inject=execve:signal=KILL"], "start the program"),
        (["--inject=execveat:signal=KILL"], "make a process in the container"),
    ],
    ids=["userns", "standin"],
)
def test_nor_has_a_further_program(own, box, tmp_path, options, why):
    def change(made):
        if why == "start the program":
            made.namespaces("user")
            ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
            made.linux.update(uidMappings=ids, gidMappings=ids)

    one = box(own, change=change)
    wrap = ["strace", "-f", "-o", str(tmp_path / "trace")] + options
    found = own.start_verb("exec", "--detach", one.id, "/bin/sleep", "1000", wrap=wrap).wait()
    lines = [line for line in found.err.split("\n") if not line.startswith("strace: ")]
    assert (found.status, lines) == (255, ["minictr: %s: it was killed by signal 9" % why, ""]), found


@pytest.mark.parametrize("guard", [(), ("--userns", "host")], ids=["userns", "standin"])
@pytest.mark.parametrize("init", [(), ("--init",)], ids=["", "init"])
@pytest.mark.parametrize("word", ["true", "/bin/7"])
def test_a_program_that_ends_at_once_has_been_started(minictr, busybox_copy, guard, init, word):
    """By whoever: `7` is what the kernel may call the stand-in, after its descriptor."""
    root = busybox_copy(None)
    with open(root + "/bin/7", "w") as file:
        file.write("#!/bin/true\n")
    os.chmod(root + "/bin/7", 0o755)
    words = guard + init + ("--rootfs", root)
    for _ in range(2):
        minictr("run", "--detach", "--name", "quick", *(words + ("--", word))).ok
        support.wait_until(lambda: minictr("delete", "quick").status == 0)  # process 1 may end a little later
        minictr("create", "--name", "quick", *(words + ("--", word))).ok
        minictr("start", "quick").ok
        minictr("delete", "--force", "quick").ok


@pytest.mark.parametrize("words", ["errno", "label\t", "error\tone", "error" + "\t1" * 4 + "\t0\t"])
def test_words_that_are_none_are_one_line(own, box, words):
    """Who says them may be traced, or not be ours any more."""
    one = box(own, "exec sleep 1000", verb="create")
    with open("%s/%s/words.fifo" % (own.runner.state(), one.id), "w") as pipe:
        pipe.write(words + "\n")
    found = own.verb("start", one.id)
    assert (found.status, found.out, found.err.count("\n")) == (125, "", 1)
    assert found.err.startswith("minictr: listen to the other process: it said what is no message: "), found


@pytest.mark.parametrize("name", ["prestart", "createRuntime", "createContainer"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_hook_ends_with_a_making_that_is_interrupted(own, bundle, tmp_path, name, number):
    """It would go on beside the poststop hooks, for a container that is no more."""
    made, file, after = bundle(), str(tmp_path / "pid"), str(tmp_path / "after")
    script = "echo $$ >%s.new; mv %s.new %s; exec sleep 1000" % (file, file, file)
    late = "test -e /proc/$(cat %s) && echo early >%s || echo late >%s" % (file, after, after)
    made.config["hooks"] = {
        name: [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}],
        "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", late], "env": ["PATH=/usr/bin:/bin"]}],
    }
    if name == "createContainer":  # which sees the host's files, but is in the container's process namespace
        made.namespaces("-pid")
    live = own.start(made)
    support.wait_until(lambda: os.path.exists(file))
    live.signal(number)
    said = "minictr: make the container: interrupted by signal %d\n" % number
    assert live.wait() == (128 + number, "", said)
    with open(file) as pid, open(after) as when:
        assert support.gone(int(pid.read())) and when.read() == "late\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("name", ["startContainer", "poststart"])
@pytest.mark.parametrize("verb", ["start", "run", "run --detach"])
def test_a_start_that_is_interrupted_ends_the_container_and_the_hook(
    own, bundle, tmp_path, verb, name, number
):
    """A container that goes on without its hooks is none that anybody has asked for."""
    if name == "startContainer" and verb != "start":
        pytest.skip("the signal is the container's by then, and waits for its program")
    made, file, after = bundle(), str(tmp_path / "pid"), str(tmp_path / "after")
    made.process["args"] = ["sleep", "1000"]
    script = "echo $$ >%s.new; mv %s.new %s; exec sleep 1000" % (file, file, file)
    if name == "startContainer":
        made.config["mounts"].append(
            {"destination": str(tmp_path), "type": "bind", "source": str(tmp_path), "options": ["bind"]}
        )
        made.namespaces("-pid")
    late = "test -e /proc/$(cat %s) && echo early >%s || echo late >%s" % (file, after, after)
    made.config["hooks"] = {
        name: [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}],
        "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", late], "env": ["PATH=/usr/bin:/bin"]}],
    }
    if verb == "start":
        made.save()
        assert own.verb("create", "--bundle", made.path, made.identifier).ok
        live, doing = own.start_verb("start", made.identifier), "start the container"
    else:
        live, doing = own.start(made, *verb.split()[1:]), "make the container"
    support.wait_until(lambda: os.path.exists(file))
    live.signal(number)
    assert live.wait() == (128 + number, "", "minictr: %s: interrupted by signal %d\n" % (doing, number))
    with open(file) as pid:
        hook = int(pid.read())
    support.wait_until(lambda: support.gone(hook), 2)
    if verb == "start":
        assert json.loads(own.verb("state", made.identifier).ok.out)["status"] == "stopped"
        assert not os.path.exists(after)
        own.delete(made)
    assert os.listdir(own.runner.state()) == []
    with open(after) as when:
        assert when.read() == "late\n"


def test_a_start_ignores_what_its_caller_has_it_ignore(own, bundle, tmp_path):
    made, file = bundle(), str(tmp_path / "up")
    made.process["args"] = ["sleep", "1000"]
    script = "touch %s; while test -e %s; do sleep 0.02; done" % (file, file)
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}
    made.config["hooks"] = {"poststart": [hook]}
    live = own.start(made, "--detach", ignore=(signal.SIGHUP,))
    support.wait_until(lambda: os.path.exists(file))
    live.signal(signal.SIGHUP)
    time.sleep(0.2)
    os.unlink(file)
    assert live.wait() == (0, "", "")
    assert json.loads(own.verb("state", made.identifier).ok.out)["status"] == "running"
    assert own.verb("delete", "--force", made.identifier).ok


def test_a_container_that_a_hook_has_paused_ends_with_its_start(own, bundle, tmp_path):
    """On v1 what is frozen dies only when it is let go on."""
    made, place = bundle(), str(tmp_path / "said")
    made.process["args"] = ["sleep", "1000"]
    (hook,) = asking(own, place, "pause", made.identifier)
    hook["args"][-1] += "; exit 3"
    made.config["hooks"] = {"poststart": [hook]}
    for options in ((), ("--detach",)):
        found = own.run(made, *options, timeout=20)
        assert found == (125, "", "minictr: run the poststart hook /bin/sh: exit status 3: it said nothing\n")
        with open(place) as file:
            assert file.read() == "0\n"
    assert os.listdir(own.runner.state()) == []


@pytest.mark.parametrize("verb", [["kill"], ["stop", "--time", "30"]], ids=["kill", "stop"])
def test_one_that_was_only_created_ends_when_it_is_asked_to(own, box, verb):
    """As with runc, and before podman's ten seconds are over."""
    one = box(own, "trap '' TERM; sleep 1000", verb="create")
    begun = time.monotonic()
    assert own.verb(*(verb + [one.id])).ok
    support.wait_until(lambda: json.loads(own.verb("state", one.id).ok.out)["status"] == "stopped")
    assert time.monotonic() - begun < 10
    assert own.verb("start", one.id).status != 0


def test_the_program_has_no_handler_of_ours_for_what_would_have_ended_it_before(own, box):
    one = box(own, "grep SigCgt /proc/self/status; echo up; exec sleep 1000", verb="create")
    assert own.verb("start", one.id).ok
    support.wait_until(lambda: "sleep" in own.verb("ps", one.id).ok.out)
    pid = json.loads(own.verb("state", one.id).ok.out)["pid"]
    with open("/proc/%d/status" % pid) as file:
        [caught] = [line.split()[1] for line in file if line.startswith("SigCgt:")]
    assert int(caught, 16) == 0


@needs("cgroup1")
def test_a_making_in_a_frozen_cgroup_can_be_called_off(own, bundle):
    """Of which the parent of the container's own is frozen, as an engine does with a pod."""
    made = bundle()
    made.process["args"] = ["true"]
    (top,) = [
        point for _, point in support.cgroup_mounts() if "freezer" in os.path.basename(point).split(",")
    ]
    parent = top + "/%s-pod" % made.identifier
    made.linux["cgroupsPath"] = "/%s-pod/box" % made.identifier
    os.mkdir(parent)
    try:
        with open(parent + "/freezer.state", "w") as file:
            file.write("FROZEN")
        live = own.start(made)
        support.wait_until(lambda: os.path.isdir(parent + "/box") and own.verb("list", "-q").out)
        time.sleep(0.3)
        live.signal(signal.SIGTERM)
        found = live.wait(30)
        assert found.status == 128 + signal.SIGTERM
        assert "a cgroup above its own is frozen, so process " in found.err, found
    finally:
        with open(parent + "/freezer.state", "w") as file:
            file.write("THAWED")
        assert own.verb("delete", "--force", made.identifier).ok
        if os.path.isdir(parent):
            os.rmdir(parent)
    assert os.listdir(own.runner.state()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_further_program_that_waits_for_a_paused_container_can_be_called_off(own, box, tmp_path, number):
    one = box(own)
    one.verb("pause").ok
    # what it has begun holds its streams until the container is resumed, so they are a file
    words = ["-m", "minictr", "--root", own.runner.state(), "exec", "--ignore-paused", one.id]
    words += ["sh", "-c", "echo ran >/dev/shm/ran"]
    with open(str(tmp_path / "said"), "w") as said:
        streams = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
        env = dict(os.environ, PYTHONPATH=support.CHECKOUT)
        live = subprocess.Popen([sys.executable] + words, env=env, **streams)
    support.wait_until(lambda: len(json.loads(one.verb("ps", "--format=json").ok.out)) > 2)
    live.send_signal(number)
    assert live.wait(10) == 128 + number
    with open(str(tmp_path / "said")) as said:
        assert said.read() == "minictr: exec: interrupted by signal %d\n" % number
    one.verb("resume").ok
    support.wait_until(lambda: len(json.loads(one.verb("ps", "--format=json").ok.out)) == 2)
    assert not os.path.exists(one.path("/dev/shm/ran"))


def test_a_further_program_whose_container_ends_meanwhile_says_that(own, bundle):
    """At whatever moment: not what of it could not be found, or which process has been killed."""
    said = set()
    for tenth in range(15):
        made = bundle()
        made.process["args"] = ["sleep", "1000"]
        assert own.run(made, "--detach").ok
        live = own.start_verb("exec", made.identifier, "sleep", "1000")
        time.sleep(0.01 * tenth)
        assert own.verb("kill", made.identifier, "KILL").ok
        found = live.wait()
        said.add((found.status, found.err.replace(made.identifier, "ID")))
        own.delete(made)
    assert said <= {(137, ""), (255, "minictr: exec in container ID: container not running\n")}, said


# --- what a hook says ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["createRuntime", "createContainer", "startContainer"])
@pytest.mark.parametrize("words, status", [("errno\\t", 3), ("errno\\t!!", 127), ("errno\\t!\\n", 1)])
def test_the_words_of_a_hook_are_its_own(own, bundle, name, words, status):
    """Whatever the stand-in that executes it would say where it cannot."""
    made = bundle()
    script = "printf '%s'; exit %d" % (words, status)
    made.config["hooks"] = {name: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    found = own.sh(made, "echo ran")
    shown = "errno" + words[5:].replace("\\n", "").replace("\\t", "\\t" if "!" in words else "")
    assert found.err == "minictr: run the %s hook /bin/sh: exit status %d: %s\n" % (name, status, shown)


@pytest.mark.parametrize("name", ["createRuntime", "createContainer", "startContainer"])
@pytest.mark.parametrize(
    "path, why", [("/etc/passwd", "Permission denied"), ("/no/such", "No such file or directory")]
)
def test_a_hook_that_cannot_be_executed_says_why(own, bundle, name, path, why):
    made = bundle()
    made.config["hooks"] = {name: [{"path": path}]}
    found = own.sh(made, "echo ran")
    assert found == (125, "", "minictr: run the %s hook %s: exit status 127: %s\n" % (name, path, why))


# --- descriptors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_who_reads_a_pipe_that_is_passed_on_waits_for_the_program_alone(own, bundle, box, verb):
    reader, writer = os.pipe()
    words = ["sh", "-c", "echo said >&3; exec 3>&-; read line"]
    how = {"setup": lambda: os.dup2(writer, 3), "pass_fds": (3,)}
    if verb == "run":
        made = bundle()
        made.process["args"] = words
        live = own.start(made, "--preserve-fds", "1", **how)
    else:
        live = own.start_verb("exec", "--preserve-fds", "1", box(own).id, *words, **how)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"said\n"
    assert live.running
    live.close_input()
    assert live.wait().status in (0, 1)


HIDE = """
mount -t proc -o hidepid=2 proc /proc || exit 99
verb() { setpriv --reuid $UID_ --regid $UID_ --clear-groups "$@" || exit; }
minictr() { verb $PROGRAM "$@"; }
gone() {  # process 1, this shell, has yet to reap it
    for i in 1 2 3 4 5 6 7 8 9; do kill -0 $1 2>/dev/null || break; sleep 0.1; done
    kill -0 $1 2>/dev/null || echo gone
}
"""
HIDDEN = """
minictr create --allow-degraded --bundle "$1" box </dev/null >/dev/null 2>&1
minictr list
(minictr exec box true 2>&1)
minictr start box
minictr list
minictr delete --force box
minictr create --allow-degraded --bundle "$1" box </dev/null >/dev/null 2>&1
pid=$(minictr state box | sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p')
kill -0 $pid && minictr delete --force box || exit
gone $pid
"""


def hidden(minictr, account, script, path):
    """What SCRIPT prints, a user's commands where /proc is mounted with hidepid=2."""
    program = [support.python(), "-m", "minictr", "--root", minictr.state(account)]
    env = {"PYTHONPATH": support.checkout(), "UID_": str(account.uid), "PROGRAM": " ".join(program)}
    words = ("unshare", "-pmf", "--kill-child", "sh", "-c", HIDE + script, "sh", path)
    return minictr.command(*words, env=env).ok.lines


@needs("unshare", "rootless")
def test_one_that_waits_is_found_where_proc_hides_it_from_its_user(minictr, ranged, bundle):
    """hidepid=: who cannot look into a process does not see it; one that waits for `start` lets nobody."""
    made = bundle(account=ranged)
    made.process["args"] = ["sleep", "1000"]
    made.save()
    lines = hidden(minictr, ranged, HIDDEN, made.path)
    (said,) = [line for line in lines if line.startswith("minictr: ")]
    assert said.startswith(
        "minictr: join container box: /proc hides its first process from us; hint: start it "
    )
    assert [line.split()[2] for line in lines if line.startswith("box")] == ["created", "running"]
    assert lines[-1] == "gone"


BETWEEN = """
minictr run -d --name first --time private --oom-score-adj 321 -- sleep 1000 </dev/null >/dev/null 2>&1
pid=$(minictr state first | sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p')
minictr run -d --name second --pid /proc/$pid/ns/pid --userns /proc/$pid/ns/user \\
    --oom-score-adj 432 -- sleep 1000 </dev/null >/dev/null 2>&1
minictr list
for name in first second; do minictr exec $name cat /proc/self/oom_score_adj </dev/null; done
minictr delete --force second
minictr delete --force first
gone $pid
"""


@needs("unshare", "rootless", "timens")
def test_one_that_a_middle_process_bears_is_known_where_proc_hides_it_from_its_user(minictr, ranged):
    """It cannot be looked into from its birth on, so nobody but itself could read when that was, and what its
    oom_score_adj is: exec waited for ever."""
    lines = hidden(minictr, ranged, BETWEEN, "")
    assert [line.split()[2] for line in lines[1:3]] == ["running", "running"]
    assert lines[3:] == ["321", "432", "gone"]
