"""SCMP_ACT_NOTIFY: an agent that listens, and answers for the kernel."""

import errno
import fcntl
import json
import os
import select
import socket
import struct
import threading

import bundles
import pytest
import support
from support import needs

from minictr import abi, syscalls

pytestmark = needs("root", "busybox", "seccomp")
NUMBERS = syscalls.table(abi.machine())
# include/uapi/linux/seccomp.h: struct seccomp_notif has 80 bytes, struct seccomp_notif_resp 24
RECEIVE, SEND, CONTINUE = 0xC0502100, 0xC0182101, 1


class Agent:
    """Takes listeners at `path`, and answers a reported call by ANSWERS: {name of the call: errno}; others
    go on. states: what came with the listeners; seen: (process id, number) of each call."""

    def __init__(self, path, answers):
        self.path, self.states, self.seen, self.failed = path, [], [], []
        self.answers = {NUMBERS[name]: number for name, number in answers.items()}
        self.listeners, self.end = [], threading.Event()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(5)
        os.chmod(path, 0o777)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def close(self):
        if self.end.is_set():
            return
        self.end.set()
        self.thread.join()
        self.socket.close()
        for listener in self.listeners:
            os.close(listener)

    def _serve(self):
        try:
            while not self.end.is_set():
                for ready in select.select([self.socket] + self.listeners, [], [], 0.05)[0]:
                    if ready is self.socket:
                        self._accept()
                    else:
                        self._answer(ready)
        except BaseException as error:
            self.failed.append(error)

    def _accept(self):
        peer = self.socket.accept()[0]
        peer.settimeout(10)
        text, extra, _, _ = peer.recvmsg(65536, 1024)
        while text.count(b"{") > text.count(b"}"):  # several messages may come, and no end of file
            text += peer.recv(65536)
        peer.close()
        self.states.append(json.loads(text.decode()))
        for _, _, packed in extra:
            self.listeners += struct.unpack("=%di" % (len(packed) // 4), packed)

    def _answer(self, listener):
        notice = bytearray(80)
        try:
            fcntl.ioctl(listener, RECEIVE, notice)
        except OSError as error:
            if error.errno == errno.ENOENT:  # the process is gone
                self.listeners.remove(listener)
                os.close(listener)
                return
            raise
        identifier, pid, _, number = struct.unpack_from("=QIIi", notice)
        self.seen.append((pid, number))
        answer = self.answers.get(number)
        words = (identifier, 0, -answer, 0) if answer else (identifier, 0, 0, CONTINUE)
        try:
            fcntl.ioctl(listener, SEND, bytearray(struct.pack("=QqiI", *words)))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


@pytest.fixture
def agent(tmp_path):
    made = []

    def start(**answers):
        place = support.SESSION.place("agent")
        made.append(Agent(os.path.join(place, "socket"), answers))
        return made[-1]

    yield start
    for one in made:
        one.close()
        assert not one.failed


def profile(path, *names, **more):
    rule = {"names": list(names), "action": "SCMP_ACT_NOTIFY"}
    return dict({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": path}, **more)


@pytest.fixture
def bundle(busybox_copy):
    def make(given):
        made = bundles.Bundle(busybox_copy(None))
        made.linux["seccomp"] = given
        made.config["annotations"] = {"who": "me"}
        made.config["root"]["readonly"] = False
        return made

    return make


@pytest.fixture(params=bundles.RUNTIMES)
def runtime(request, minictr):
    """runc of Debian 12 and crun are the judges."""
    if request.param != "minictr":
        support.require(request.param)
    return bundles.Runtime(request.param, minictr)


@pytest.fixture
def own(minictr):
    return bundles.Runtime("minictr", minictr)


MKDIR = ("mkdir", "mkdirat")


@pytest.mark.parametrize("free", [False, True], ids=["no new privileges", "new privileges"])
def test_an_agent_answers_for_the_kernel(runtime, bundle, agent, free):
    listening = agent(mkdir=errno.EXDEV, mkdirat=errno.EXDEV)
    made = bundle(profile(listening.path, *MKDIR, listenerMetadata="a;b"))
    made.process["noNewPrivileges"] = not free
    made.process["args"] = ["sh", "-c", "mkdir /x; ls -d /x"]
    run = runtime.run(made)

    assert "mkdir: can't create directory '/x': " + os.strerror(errno.EXDEV) in run.err
    assert "No such file" in run.err
    (state,) = listening.states
    assert state["fds"] == ["seccompFd"] and state["metadata"] == "a;b" and state["ociVersion"]
    told = state["state"]
    assert (told["id"], told["status"]) == (made.identifier, "creating")
    assert told["annotations"]["who"] == "me" and told["bundle"] == made.path
    assert state["pid"] == told["pid"] > 0
    assert {number for _, number in listening.seen} <= {NUMBERS[name] for name in MKDIR if name in NUMBERS}


def test_create_start_and_exec_give_a_listener_each(own, bundle, agent):
    listening = agent(mkdir=errno.EXDEV, mkdirat=errno.EXDEV)
    made = bundle(profile(listening.path, *MKDIR))
    made.process["args"] = ["sh", "-c", "mkdir /x 2>/said; sleep 1000"]
    made.save()
    try:
        own.verb("create", "--bundle", made.path, made.identifier, stdin="").ok
        assert [state["state"]["status"] for state in listening.states] == ["creating"]
        own.verb("start", made.identifier).ok
        said = os.path.join(made.root, "said")
        support.wait_until(lambda: os.path.exists(said) and os.path.getsize(said))
        run = own.verb("exec", made.identifier, "sh", "-c", "mkdir /y; echo $?")
    finally:
        own.verb("delete", "--force", made.identifier)

    assert run.out == "1\n" and os.strerror(errno.EXDEV) in run.err
    first, second = listening.states
    assert second["state"] == dict(first["state"], status="running")
    assert second["pid"] != first["pid"] == first["state"]["pid"]
    assert not os.path.exists(made.root + "/x") and not os.path.exists(made.root + "/y")


SENDING = """sendmsg sendto connect close read recvmsg recvfrom wait4 execve prctl close_range exit_group
    openat open fcntl capset capget setresuid setresgid setgroups clone clone3 fork getpid mmap brk
    mprotect munmap""".split()


@pytest.mark.parametrize("free", [False, True], ids=["no new privileges", "new privileges"])
def test_even_the_calls_that_send_the_listener_may_be_reported(own, bundle, agent, free):
    listening = agent()
    made = bundle(profile(listening.path, *SENDING))
    made.process["noNewPrivileges"] = not free
    made.process["args"] = ["echo", "done"]

    assert own.run(made).ok.out == "done\n"
    assert NUMBERS["execve"] in {number for _, number in listening.seen}


def test_the_native_form_takes_such_a_profile(minictr, busybox_root, agent, tmp_path):
    listening = agent(mkdir=errno.ENOSPC, mkdirat=errno.ENOSPC)
    given = tmp_path / "profile.json"
    given.write_text(json.dumps(profile(listening.path, *MKDIR)))
    words = ["run", "--init", "--security-opt", "seccomp=%s" % given, "--rootfs", busybox_root]
    run = minictr(*(words + ["--read-only", "--tmpfs", "/tmp", "--", "sh", "-c", "mkdir /tmp/x"]))

    assert run == (1, "", "mkdir: can't create directory '/tmp/x': %s\n" % os.strerror(errno.ENOSPC))
    assert [state["state"]["status"] for state in listening.states] == ["creating"]


def test_the_program_has_not_the_listener(own, bundle, agent):
    listening = agent()
    made = bundle(profile(listening.path, "uname"))
    made.process["args"] = ["sh", "-c", "readlink /proc/self/fd/* | grep -c seccomp"]

    assert own.run(made).out == "0\n"


@pytest.mark.parametrize("verb", ["run", "create"])
def test_an_agent_that_is_not_there_is_an_error(own, bundle, verb):
    made = bundle(profile("/run/no/such/agent", "uname"))
    made.process["args"] = ["echo", "started"]
    made.save()
    run = own.verb(verb, "--bundle", made.path, made.identifier)

    assert (run.status, run.out) == (125, "")
    assert run.err == (
        "minictr: send the seccomp listener to /run/no/such/agent: No such file or directory; "
        "hint: start the agent that listenerPath names\n"
    )


def test_an_agent_that_is_gone_is_an_error(own, bundle, agent):
    listening = agent()
    listening.close()
    made = bundle(profile(listening.path, "uname"))
    made.process["args"] = ["echo", "started"]
    run = own.run(made)

    assert (run.status, run.out) == (125, "")
    assert "Connection refused; hint: start the agent" in run.err


def test_calls_fail_once_the_agent_has_let_go_of_the_listener(own, bundle, agent):
    """Nobody else holds it: else they would wait for an answer that never comes."""
    listening = agent()
    made = bundle(profile(listening.path, *MKDIR))
    made.process["args"] = ["sh", "-c", "echo up; read line; mkdir /x"]
    live = own.start(made)
    live.expect("up\n")
    listening.close()
    live.send("\n")
    assert os.strerror(errno.ENOSYS) in live.wait(20).err


@pytest.mark.parametrize("path", ["relative", "/" + "x" * 107])
def test_a_path_that_no_socket_can_have_is_an_error(own, bundle, path):
    run = own.run(bundle(profile(path, "uname")))

    assert (run.status, run.out) == (125, "")
    assert run.err == "minictr: listenerPath %s: is not an absolute path of at most 107 bytes\n" % path


def test_a_second_listener_on_one_process_is_an_error(own, bundle, agent):
    """The kernel has one at most; so minictr inside a container with one says what is the matter."""
    listening = agent()
    made = bundle(profile(listening.path, "uname"))
    made.process["args"] = ["echo", "started"]
    run = own.run(made, setup=_take_listener)

    assert run.status == 125
    assert run.err.startswith("minictr: install the seccomp filter: ") and "one is all" in run.err


def _take_listener():
    from minictr import libc, seccomp

    libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
    given = profile("/x", "kexec_load")
    os.dup2(seccomp.compile(given, abi.machine()).install(), 0)  # what stays open


FLAGS = {"LOG": (4, 14), "SPEC_ALLOW": (4, 17), "WAIT_KILLABLE_RECV": (5, 19), "TSYNC": (3, 17)}


@pytest.mark.parametrize("flag", sorted(FLAGS))
@pytest.mark.parametrize("reported", [False, True], ids=["plain", "with a listener"])
def test_flags_are_taken_by_the_kernel(own, bundle, agent, flag, reported):
    older = support._kernel(*(max(FLAGS[flag], (5, 7)) if reported else FLAGS[flag]))()
    if older:
        pytest.skip(older)
    listening = agent()
    given = profile(listening.path, *MKDIR, flags=["SECCOMP_FILTER_FLAG_" + flag])
    if not reported:
        given["syscalls"][0].update(action="SCMP_ACT_ERRNO", errnoRet=28)
    made = bundle(given)
    made.process["args"] = ["sh", "-c", "mkdir /x && echo made; grep ^Seccomp: /proc/self/status"]
    run = own.run(made)

    assert run.out == ("made\n" if reported else "") + "Seccomp:\t2\n", run
    assert len(listening.states) == reported
