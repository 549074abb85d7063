"""Filters on the real kernel: a process installs one, calls, and says what came back."""

import ctypes
import errno
import fcntl
import mmap
import os
import pty
import signal
import struct

import bpf
import pytest
import refusal
import seccomp_reference as reference
from seccomp_reference import fixture
from support import needs

from minictr import abi, libc, seccomp, seccomp_default, spec, syscalls
from minictr.errors import ContainerError

MACHINE = abi.machine()
NUMBERS = syscalls.table(MACHINE)
pytestmark = needs("seccomp")
x86_64_only = pytest.mark.skipif(MACHINE != "x86_64", reason="is about x86_64")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def call(name, *arguments):
    """A system call by name or number: its result, or the name of its errno."""
    number = NUMBERS.get(name, name)
    words = [
        ctypes.c_ulong(word & 0xFFFFFFFFFFFFFFFF) if isinstance(word, int) else word for word in arguments
    ]
    result = _libc.syscall(ctypes.c_long(number), *words)
    return errno.errorcode[ctypes.get_errno()] if result == -1 else result


def confined(profile, body):
    """What BODY returns, as text, in a process under PROFILE, or the signal that ended it."""
    made = seccomp.compile(profile, MACHINE)
    incoming, outgoing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
            made.install()
            said = body()
            said = " ".join(map(str, said)) if isinstance(said, (list, tuple)) else str(said)
        except BaseException as error:
            said = "%s: %s" % (type(error).__name__, error)
        os.write(outgoing, said.encode())
        os._exit(0)
    os.close(outgoing)
    with os.fdopen(incoming) as pipe:
        said = pipe.read()
    status = os.waitpid(pid, 0)[1]
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else said


def profile(*rules, **more):
    return dict({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules)}, **more)


def rule(names, action, **more):
    return dict(more, names=names.split(), action="SCMP_ACT_" + action)


def default(*capabilities):
    return seccomp_default.profile(set(spec.DEFAULT_CAPABILITIES) | set(capabilities), MACHINE)


# --- actions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "action, more, said",
    [
        ("ERRNO", {}, "EPERM"), ("ERRNO", {"errnoRet": 95}, errno.errorcode[95]),
        ("ERRNO", {"errnoRet": 0}, "0"),
        ("KILL_PROCESS", {}, "SIGSYS"), ("KILL", {}, "SIGSYS"), ("KILL_THREAD", {}, "SIGSYS"),
        ("TRAP", {}, "SIGSYS"),
        ("TRACE", {}, "ENOSYS"),  # nobody traces
    ],
)  # fmt: skip
def test_an_action_is_what_the_kernel_does(action, more, said):
    assert confined(profile(rule("getppid", action, **more)), lambda: call("getppid")) == said


@pytest.mark.parametrize("action", ["ALLOW", "LOG"])
def test_what_is_allowed_or_logged_happens(action):
    given = profile(rule("getppid", action), rule("getpgid", "ERRNO"))
    assert confined(given, lambda: call("getppid")) == str(os.getpid())


def test_a_trap_can_be_caught():
    def body():
        caught = []
        signal.signal(signal.SIGSYS, lambda *_: caught.append("caught"))
        call("getppid")
        return caught

    assert confined(profile(rule("getppid", "TRAP")), body) == "caught"


def test_conditions_are_the_kernel_s_too():
    args = [
        {"index": 0, "op": "SCMP_CMP_GT", "value": (1 << 32) + 5},
        {"index": 5, "op": "SCMP_CMP_EQ", "value": 9},
    ]
    given = profile(rule("getppid", "ERRNO", args=args))

    def body():
        return [
            call("getppid", first, 0, 0, 0, 0, last) == "EPERM"
            for first, last in (((1 << 32) + 6, 9), ((1 << 32) + 5, 9), (1 << 33, 9), (6, 9), (1 << 33, 8))
        ]

    assert confined(given, body) == "True False True False False"


def test_proc_shows_the_filter():
    def body():
        with open("/proc/self/status") as file:
            return next(line.split()[1] for line in file if line.startswith("Seccomp:"))

    assert confined(profile(), body) == "2"


def test_without_privilege_a_filter_needs_no_new_privs():
    def body():
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        return seccomp.compile(profile(), MACHINE).install()

    pid = os.fork()
    if pid == 0:
        try:
            body()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
        os._exit(99)
    assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == errno.EACCES


def test_every_flag_is_accepted_by_a_kernel_that_has_it():
    # that for listeners is an error without one: test_seccomp_notify has it
    plain = sorted(set(seccomp.FLAGS) - {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"})
    for flags in [None, [], plain] + [[name] for name in plain]:
        assert confined(profile(rule("getppid", "ERRNO"), flags=flags), lambda: call("getppid")) == "EPERM"


def test_a_filter_of_the_largest_size_is_accepted():
    args = [[{"index": 1, "op": "SCMP_CMP_EQ", "value": value}] for value in range(1016)]
    given = profile(*[rule("getppid", "ERRNO", args=one) for one in args])
    assert 4070 < len(seccomp.compile(given, MACHINE).program) // 8 <= 4096
    assert (
        confined(given, lambda: (call("getppid", 0, 1015), call("getppid", 0, 1016)))
        == "EPERM %d" % os.getpid()
    )
    given["syscalls"] += given["syscalls"][:8] + [rule("getpid", "ERRNO", args=one) for one in args[:8]]
    with pytest.raises(ContainerError):
        seccomp.compile(given, MACHINE)


def test_a_kernel_without_seccomp_2_gets_the_filter_by_prctl():
    def body():
        refusal.refuse(["seccomp=ENOSYS"])
        seccomp.compile(profile(rule("getppid", "ERRNO")), MACHINE).install()
        return call("getppid")

    assert confined(profile(), body) == "EPERM"


# --- a listener -------------------------------------------------------------------------------

# include/uapi/linux/seccomp.h: struct seccomp_notif has 80 bytes, struct seccomp_notif_resp 24
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101


def test_a_listener_answers_for_the_kernel():
    given = profile(rule("mkdirat", "NOTIFY"), listenerPath="/run/agent")
    made = seccomp.compile(given, MACHINE)
    incoming, outgoing = os.pipe()
    back_in, back_out = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
            os.write(outgoing, b"%d\n" % made.install())
            os.read(back_in, 1)
            os.write(outgoing, str(call("mkdirat", -100, b"/proc/no/such", 0o700)).encode())
        finally:
            os._exit(0)
    os.close(outgoing)
    with os.fdopen(incoming, "rb", 0) as pipe:
        number = int(pipe.readline())
        assert number >= 0
        taken = call("pidfd_getfd", libc.pidfd_open(pid), number, 0)
        os.write(back_out, b"x")
        if isinstance(taken, str):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pytest.skip("pidfd_getfd: " + taken)
        notice = bytearray(80)
        fcntl.ioctl(taken, NOTIF_RECV, notice)
        identifier, caller, _, nr, arch = struct.unpack_from("=QIIiI", notice)
        assert (caller, nr, arch) == (pid, NUMBERS["mkdirat"], abi.AUDIT_ARCH[MACHINE])
        answer = bytearray(struct.pack("=QqiI", identifier, 0, -errno.EXDEV, 0))
        fcntl.ioctl(taken, NOTIF_SEND, answer)
        assert pipe.read() == b"EXDEV"
    os.close(taken)
    os.close(back_in)
    os.close(back_out)
    os.waitpid(pid, 0)


# --- the default profile ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("unshare", abi.CLONE_NEWUSER), "EPERM"), (("setns", 0, 0), "EPERM"),
        (("mount", 0, 0, 0, 0, 0), "EPERM"),
        (("pivot_root", 0, 0), "EPERM"), (("fsopen", 0, 0), "EPERM"), (("open_tree", -100, b"/", 1), "EPERM"),
        (("clone", abi.CLONE_NEWUSER | 17, 0, 0, 0, 0), "EPERM"),
        (("clone", abi.CLONE_NEWUSER | 17 | 1 << 40, 0, 0, 0, 0), "EPERM"), (("clone3", 0, 0), "ENOSYS"),
        (("keyctl", 0, 0), "EPERM"), (("add_key", 0, 0), "EPERM"), (("bpf", 0, 0, 0), "EPERM"),
        (("perf_event_open", 0, 0), "EPERM"), (("userfaultfd", 0), "EPERM"),
        (("io_uring_setup", 1, 0), "EPERM"),
        (("socket", abi.AF_ALG, 5, 0), "EPERM"), (("socket", abi.AF_ALG + (1 << 32), 5, 0), "EPERM"),
        (("socket", abi.AF_VSOCK, 1, 0), "EPERM"), (("personality", 0x40000), "EPERM"),
        (("fchroot", 0), "ENOSYS"),
        ((600,), "ENOSYS"), (("reboot", 0, 0, 0, 0), "EPERM"), (("chroot", b"/no/such"), "ENOENT"),
    ],
)  # fmt: skip
def test_the_default_profile_refuses(arguments, said):
    if MACHINE == "s390x" and arguments[0] == "clone":
        arguments = ("clone", 0) + arguments[1:-1]
    assert confined(default(), lambda: call(*arguments)) == said


def test_the_default_profile_lets_a_program_live():
    def body():
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        import socket
        import threading

        done = []
        thread = threading.Thread(target=lambda: done.append("thread"))
        thread.start()
        thread.join()
        for family in (socket.AF_UNIX, socket.AF_INET):
            socket.socket(family, socket.SOCK_STREAM).close()
        with open("/proc/self/stat") as file:
            file.read()
        return [os.WEXITSTATUS(os.waitpid(pid, 0)[1]), os.execv and done[0]]

    assert confined(default(), body) == "7 thread"


def test_a_program_is_executed_under_the_default_profile():
    def body():
        os.execve("/bin/sh", ["sh", "-c", "(exec true) && kill -TERM $$"], {"PATH": os.environ["PATH"]})

    assert confined(default(), body) == "SIGTERM"


@pytest.mark.parametrize("request_", [abi.TIOCSTI, abi.TIOCLINUX])
@pytest.mark.parametrize("high", [0, 1, 0xFFFFFFFF])
def test_nothing_is_typed_into_a_terminal(request_, high):
    """The kernel looks at the low half of a request alone (CVE-2019-10063, CVE-2023-1523)."""
    leader, follower = pty.openpty()

    def body():
        typed = ctypes.create_string_buffer(b"x\0\0\0\0\0\0\0")
        size = ctypes.create_string_buffer(64)
        request = request_ + (high << 32)
        return call("ioctl", follower, request, typed), call("ioctl", follower, 0x5401 + (high << 32), size)

    try:
        assert confined(default(), body) == "EIO 0"
    finally:
        os.close(leader)
        os.close(follower)


def test_without_the_filter_the_high_half_of_a_request_does_not_stop_the_kernel():
    """The hole that the rule closes: the kernel takes TIOCGWINSZ + 2**32 for TIOCGWINSZ."""
    leader, follower = pty.openpty()
    size = ctypes.create_string_buffer(64)
    assert call("ioctl", follower, 0x5413 + (1 << 32), size) == 0
    os.close(leader)
    os.close(follower)


# --- other kinds of calls -----------------------------------------------------------------------


@x86_64_only
def test_an_x32_call_is_refused():
    numbers = [syscalls.table("x32")[name] for name in ("getppid", "unshare", "ptrace", "ioctl")]
    assert confined(default(), lambda: [call(number) for number in numbers]) == " ".join(["ENOSYS"] * 4)
    allowing = profile(rule("getpid", "ERRNO"))
    assert confined(allowing, lambda: call(numbers[0])) == "ENOSYS"


# push rbx; mov eax, edi; mov ebx, esi; mov ecx, edx; int 0x80; pop rbx; ret
INT_80 = bytes.fromhex("5389f889f389d1cd805bc3")


def call_32(name, first=0, second=0):
    """A call of the 32-bit kind, from this 64-bit process: its result, or the name of its errno."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(INT_80)
    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)(
        ctypes.addressof(ctypes.c_char.from_buffer(page))
    )
    result = function(syscalls.table("i386")[name], first, second)
    return errno.errorcode[-result] if -4096 < result < 0 else result


@x86_64_only
def test_32_bit_calls_have_their_own_rules():
    if confined(profile(architectures=["SCMP_ARCH_X86"]), lambda: call_32("getppid")) != str(os.getpid()):
        pytest.skip("the kernel has no 32-bit calls")

    def body():
        return [
            call_32("getppid"), call_32("mount"), call_32("unshare", abi.CLONE_NEWUSER), call_32("clone3"),
            call_32("socketcall", 1), call_32("socketcall", 3), call_32("clone", abi.CLONE_NEWUSER),
        ]  # fmt: skip

    wanted = "%d EPERM EPERM ENOSYS EPERM EFAULT EPERM" % os.getpid()
    assert confined(default(), body) == wanted


@x86_64_only
def test_32_bit_calls_kill_where_their_architecture_is_not_listed():
    if confined(profile(architectures=["SCMP_ARCH_X86"]), lambda: call_32("getppid")) != str(os.getpid()):
        pytest.skip("the kernel has no 32-bit calls")
    assert confined(profile(), lambda: call_32("getppid")) == "SIGSYS"


# --- the kernel and the simulator -------------------------------------------------------------

# what this test itself cannot do without, and what Linux 6.14 and later ask no filter about
SPARED = {
    "exit_group", "futex", "mmap", "munmap", "brk", "madvise", "mprotect", "rt_sigprocmask", "uretprobe",
    "uprobe",
}  # fmt: skip


@pytest.mark.parametrize("name", ["docker", "podman-root", "podman-rootless", "the default"])
@pytest.mark.parametrize("argument", [0, 0xFFFFFFFF, abi.CLONE_NEWNS, (1 << 32) + 8, abi.TIOCSTI])
def test_the_kernel_runs_the_program_as_the_simulator_does(name, argument):
    """Every action becomes an errno, so that all calls can be made and none happens."""
    given = default() if name == "the default" else dict(fixture(name))
    program = bytearray(seccomp.compile(given, MACHINE).program)
    answers = {}
    for at in range(0, len(program), 8):
        operation, _, _, value = struct.unpack_from("=HBBI", program, at)
        if operation == bpf.RETURN:
            answers.setdefault(value, 1000 + len(answers))
            struct.pack_into("=I", program, at + 4, reference.ERRNO | answers[value])
    numbers = [number for number in range(520) if number not in {NUMBERS.get(name) for name in SPARED}]
    shared = mmap.mmap(-1, 4096)
    spare = profile_sparing(bytes(program))
    pid = os.fork()
    if pid == 0:
        try:
            libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
            libc.seccomp(0, spare)
            word, zero = ctypes.c_ulong(argument), ctypes.c_ulong(0)
            for at, number in enumerate(numbers):
                _libc.syscall(ctypes.c_long(number), word, word, zero, zero, zero, zero)
                struct.pack_into("=I", shared, 4 * at, ctypes.get_errno())
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    simulated = bpf.Bpf(seccomp.compile(given, MACHINE).program)
    for at, number in enumerate(numbers):
        (found,) = struct.unpack_from("=I", shared, 4 * at)
        wanted = answers[simulated.call(MACHINE, number, (argument, argument, 0, 0, 0, 0))]
        assert found == wanted, number


def profile_sparing(program):
    """PROGRAM behind instructions that allow SPARED."""
    spared = sorted(NUMBERS[name] for name in SPARED & set(NUMBERS))
    code = [(bpf.LOAD, 0, 0, 0)]
    code += [(0x15, len(spared) - at, 0, number) for at, number in enumerate(spared)]
    code += [(bpf.JUMP, 0, 0, 1), (bpf.RETURN, 0, 0, reference.ALLOW)]
    return b"".join(struct.pack("=HBBI", *one) for one in code) + program
