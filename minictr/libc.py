"""The C library, one function per system call: the only module that imports ctypes.

It imports `_ctypes`, the half of ctypes that is written in C: the package around it costs 2 ms
of a 10 ms start and offers names that are not needed here.

Side: both
"""

import _ctypes
import _struct as struct

from . import abi
from . import unix as os


class _Library:
    _handle = _ctypes.dlopen(None, 2)  # type: ignore[arg-type]  # the C library the interpreter itself is linked with


class c_int(_ctypes._SimpleCData):
    _type_ = "i"


class c_long(_ctypes._SimpleCData):
    _type_ = "l"


class c_ulong(_ctypes._SimpleCData):
    _type_ = "L"


class c_char_p(_ctypes._SimpleCData):
    _type_ = "z"


class c_void_p(_ctypes._SimpleCData):
    _type_ = "P"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = c_int


class Syscall(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = c_long


class _Interpreter(_ctypes.CFuncPtr):
    """A call that keeps the GIL: for what concerns the interpreter, and for clone."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO | _ctypes.FUNCFLAG_PYTHONAPI
    _restype_ = c_long


def _bind(name: str, *argtypes: type, kind: type = _Function):
    """The C library's function NAME, which is looked up when it is first called: a container needs a
    third of them, and to look up all takes 0.2 ms."""
    function = None

    def call(*arguments: object, path: "str | None" = None) -> int:
        nonlocal function
        if function is None:
            function = kind((name, _Library))
            function.argtypes = argtypes
        result = function(*arguments)
        if result == -1:
            number = _ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
        return result

    return call


def _bind_syscall(number: int, *argtypes: type, kind: type = Syscall):
    function = _bind("syscall", c_long, *argtypes, kind=kind)

    def call(*arguments: object, path: "str | None" = None) -> int:
        return function(number, *arguments, path=path)

    return call


bind, bind_syscall = _bind, _bind_syscall  # for the modules of rare calls


def _text(value: "str | None") -> "bytes | None":
    return os.fsencode(value) if value else None


def _number(name: str) -> int:
    """The number of a system call that is older than 424, or -1, which the kernel answers ENOSYS."""
    return abi.SYSCALLS.get(abi.machine(), {}).get(name, -1)


# --- mounts ---------------------------------------------------------------------------------

_mount = _bind("mount", c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
_umount2 = _bind("umount2", c_char_p, c_int)
_pivot_root = _bind_syscall(_number("pivot_root"), c_char_p, c_char_p)
_open_tree = _bind_syscall(abi.OPEN_TREE, c_int, c_char_p, c_ulong)
_move_mount = _bind_syscall(abi.MOVE_MOUNT, c_int, c_char_p, c_int, c_char_p, c_ulong)
_mount_setattr = _bind_syscall(abi.MOUNT_SETATTR, c_int, c_char_p, c_ulong, c_char_p, c_ulong)
_fsopen = _bind_syscall(abi.FSOPEN, c_char_p, c_ulong)
_fsconfig = _bind_syscall(abi.FSCONFIG, c_int, c_ulong, c_char_p, c_char_p, c_int)
_fsmount = _bind_syscall(abi.FSMOUNT, c_int, c_ulong, c_ulong)


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). FLAGS is an or of MS_*; an empty string becomes NULL. OSError names TARGET."""
    _mount(_text(source), os.fsencode(target), _text(fstype), flags, _text(data), path=target)


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2). FLAGS: MNT_DETACH."""
    _umount2(os.fsencode(target), flags, path=target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    _pivot_root(os.fsencode(new_root), os.fsencode(put_old), path=new_root)


def open_tree(directory: int, path: str, flags: int) -> int:
    """open_tree(2), since 5.2: a descriptor of a mount, with OPEN_TREE_CLONE of a detached copy."""
    return _open_tree(directory, os.fsencode(path), flags | abi.OPEN_TREE_CLOEXEC, path=path)


def move_mount(mount_fd: int, target_fd: int) -> None:
    """move_mount(2), since 5.2, from one descriptor onto another."""
    flags = abi.MOVE_MOUNT_F_EMPTY_PATH | abi.MOVE_MOUNT_T_EMPTY_PATH
    _move_mount(mount_fd, b"", target_fd, b"", flags)


def mount_setattr(mount_fd: int, attr_set: int, attr_clr: int = 0, propagation: int = 0,
                  userns_fd: int = 0, recursive: bool = False) -> None:  # fmt: skip
    """mount_setattr(2), since 5.12, on the mount that a descriptor refers to.

    attr_set, attr_clr: MOUNT_ATTR_*; propagation: MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE
    userns_fd: the user namespace of MOUNT_ATTR_IDMAP
    """
    attributes = struct.pack("=QQQQ", attr_set, attr_clr, propagation, userns_fd)
    flags = abi.AT_EMPTY_PATH | (abi.AT_RECURSIVE if recursive else 0)
    _mount_setattr(mount_fd, b"", flags, attributes, len(attributes))


def fsopen(fstype: str) -> int:
    """fsopen(2), since 5.2: a context in which a new file system is configured."""
    return _fsopen(os.fsencode(fstype), abi.FSOPEN_CLOEXEC, path=fstype)


def fsconfig_set(context: int, key: str, value: "str | None" = None) -> None:
    """fsconfig(2): one option, a flag where VALUE is None. OSError names the option."""
    command = abi.FSCONFIG_SET_FLAG if value is None else abi.FSCONFIG_SET_STRING
    text = None if value is None else os.fsencode(value)
    _fsconfig(context, command, os.fsencode(key), text, 0, path=key)


def fsmount(context: int, attributes: int) -> int:
    """fsconfig(2) FSCONFIG_CMD_CREATE and fsmount(2): a descriptor of the new, detached mount."""
    _fsconfig(context, abi.FSCONFIG_CMD_CREATE, None, None, 0)
    return _fsmount(context, abi.FSMOUNT_CLOEXEC, attributes)


def fstatfs_type(descriptor: int) -> int:
    """fstatfs(2): the f_type of the file system, a *_MAGIC."""
    buffer = bytearray(256)
    _fstatfs(descriptor, _address(buffer))
    return struct.unpack_from("=I", buffer)[0]  # a long, whose low half comes first; on s390x it is an int


# --- paths ----------------------------------------------------------------------------------

_openat2 = _bind_syscall(abi.OPENAT2, c_int, c_char_p, c_char_p, c_ulong)
_fstatfs = _bind("fstatfs", c_int, c_void_p)
_chroot = _bind("chroot", c_char_p)
_getxattr = _bind("getxattr", c_char_p, c_char_p, c_void_p, c_ulong)
_setxattr = _bind("setxattr", c_char_p, c_char_p, c_char_p, c_ulong, c_int)
_fsetxattr = _bind("fsetxattr", c_int, c_char_p, c_char_p, c_ulong, c_int)
_close_range = _bind_syscall(abi.CLOSE_RANGE, c_ulong, c_ulong, c_ulong)
_memfd_create = _bind_syscall(_number("memfd_create"), c_char_p, c_ulong)


def openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """openat2(2), since 5.6. RESOLVE is an or of RESOLVE_*. The descriptor closes on exec."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve)
    return _openat2(directory, os.fsencode(path), how, len(how), path=path)


def getxattr(path: str, name: str) -> bytes:
    """getxattr(2). Python itself has it with the GNU C library, but not with every other one."""
    buffer = bytearray(65536)  # XATTR_SIZE_MAX
    size = _getxattr(os.fsencode(path), os.fsencode(name), _address(buffer), len(buffer), path=path)
    return bytes(buffer[:size])


def setxattr(path: str, name: str, value: bytes) -> None:
    """setxattr(2); see `getxattr`."""
    _setxattr(os.fsencode(path), os.fsencode(name), value, len(value), 0, path=path)


def fsetxattr(descriptor: int, name: str, value: bytes) -> None:
    """fsetxattr(2)."""
    _fsetxattr(descriptor, os.fsencode(name), value, len(value), 0)


def chroot(path: str) -> None:
    """chroot(2)."""
    _chroot(os.fsencode(path), path=path)


def close_range(first: int, last: int) -> None:
    """close_range(2), since 5.9: close every descriptor of the range."""
    _close_range(first, last, 0)


def memfd_create(name: str, flags: int) -> int:
    """memfd_create(2), since 3.17; Python has it since 3.8."""
    return _memfd_create(os.fsencode(name), flags)


# --- namespaces and processes -----------------------------------------------------------------

_unshare = _bind("unshare", c_int)
_rt_sigaction = _bind_syscall(_number("rt_sigaction"), c_int, c_char_p, c_void_p, c_ulong)
_setns = _bind("setns", c_int, c_int)
clone = _bind_syscall(_number("clone"), c_ulong, c_ulong, c_ulong, c_ulong, c_ulong, kind=_Interpreter)
clone3 = _bind_syscall(abi.CLONE3, c_char_p, c_ulong, kind=_Interpreter)
_sched_getcpu = _bind("sched_getcpu", kind=_Interpreter)
_prctl = _bind("prctl", c_int, c_ulong, c_ulong, c_ulong, c_ulong)
_sethostname = _bind("sethostname", c_char_p, c_ulong)
_setdomainname = _bind("setdomainname", c_char_p, c_ulong)
_keyctl = _bind_syscall(_number("keyctl"), c_int, c_char_p)
# keeps the GIL, as taking it again may need a call that the new filter refuses
_seccomp = _bind_syscall(_number("seccomp"), c_ulong, c_ulong, c_void_p, kind=_Interpreter)
_pidfd_open = _bind_syscall(abi.PIDFD_OPEN, c_int, c_ulong)
_pidfd_send_signal = _bind_syscall(abi.PIDFD_SEND_SIGNAL, c_int, c_int, c_void_p, c_ulong)


def default_signal(number: int) -> None:
    """rt_sigaction(2) SIG_DFL, also for the signals that the C library keeps for itself (nptl(7), 32
    and 33) and will not change: a caller such as make(1) may have ignored them. SIGKILL and SIGSTOP
    are what they are: EINVAL is no error.
    """
    try:
        _rt_sigaction(number, bytes(64), None, 8)  # a struct sigaction of zeros, on every architecture
    except OSError as error:
        if error.errno not in (abi.EINVAL, abi.ENOSYS):
            raise


def unshare(flags: int) -> None:
    """unshare(2). FLAGS is an or of CLONE_NEW*."""
    _unshare(flags)


def setns(descriptor: int, kind: int = 0) -> None:
    """setns(2). KIND is one CLONE_NEW* or 0 for whatever DESCRIPTOR is."""
    _setns(descriptor, kind)


def fork_hook(name: str):
    """What the interpreter wants called around a fork: PyOS_BeforeFork, PyOS_AfterFork_Parent or _Child."""
    try:
        function = _Interpreter((name, _Library))  # type: ignore[arg-type]
    except AttributeError:  # 3.6 has PyOS_AfterFork alone
        if name != "PyOS_AfterFork_Child":
            return lambda: None
        function = _Interpreter(("PyOS_AfterFork", _Library))  # type: ignore[arg-type]
    function.restype = None
    return function


def getcpu() -> int:
    """The processor that we run on at this moment, -1 where the C library cannot say (sched_getcpu(3))."""
    try:
        return _sched_getcpu()
    except (AttributeError, OSError):
        return -1


def prctl(option: int, second: int = 0, third: int = 0) -> int:
    """prctl(2)."""
    return _prctl(option, second, third, 0, 0)


def prctl_name(name: str) -> None:
    """prctl(2) PR_SET_NAME: what ps shows, 15 bytes of it."""
    buffer = bytearray(os.fsencode(name)[:15] + b"\0")
    _prctl(abi.PR_SET_NAME, _address(buffer), 0, 0, 0)


def prctl_seccomp(program: bytes) -> None:
    """prctl(2) PR_SET_SECCOMP with a filter: PROGRAM is an array of struct sock_filter."""
    code = bytearray(program)
    header = bytearray(struct.pack("@HP", len(code) // 8, _address(code)))
    _prctl(abi.PR_SET_SECCOMP, 2, _address(header), 0, 0)


def seccomp(flags: int, program: bytes) -> int:
    """seccomp(2), since 3.17: set the filter PROGRAM, as above; where the call is missing and FLAGS are 0,
    prctl(2) does. A descriptor with SECCOMP_FILTER_FLAG_NEW_LISTENER, else 0."""
    code = bytearray(program)
    header = bytearray(struct.pack("@HP", len(code) // 8, _address(code)))
    try:
        return _seccomp(abi.SECCOMP_SET_MODE_FILTER, flags, _address(header))
    except OSError as error:
        if error.errno != abi.ENOSYS or flags:
            raise
    prctl_seccomp(program)
    return 0


def seccomp_refusal() -> int:
    """Why no filter can be installed, as an errno; 0 where the kernel only misses the filter itself, which
    is at no address here."""
    try:
        _seccomp(abi.SECCOMP_SET_MODE_FILTER, 0, None)
    except OSError as error:
        if error.errno == abi.ENOSYS:  # before 3.17, or hidden
            try:
                _prctl(abi.PR_SET_SECCOMP, 2, 0, 0, 0)
            except OSError as older:
                error = older
        return 0 if error.errno == abi.EFAULT else error.errno or 0
    return 0


def sethostname(name: str) -> None:
    """sethostname(2). At most 64 bytes."""
    _sethostname(os.fsencode(name), len(os.fsencode(name)))


def setdomainname(name: str) -> None:
    """setdomainname(2): the NIS domain. At most 64 bytes."""
    _setdomainname(os.fsencode(name), len(os.fsencode(name)))


def new_session_keyring() -> None:
    """keyctl(2) KEYCTL_JOIN_SESSION_KEYRING: a new session keyring, without a name of its own."""
    _keyctl(abi.KEYCTL_JOIN_SESSION_KEYRING, None)


def pidfd_open(pid: int) -> int:
    """pidfd_open(2), since 5.3."""
    return _pidfd_open(pid, 0)


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """pidfd_send_signal(2), since 5.1."""
    _pidfd_send_signal(pidfd, number, None, 0)


# --- capabilities, limits, sockets --------------------------------------------------------------

_capget = _bind("capget", c_void_p, c_void_p)
_capset = _bind("capset", c_void_p, c_void_p)
_prlimit = _bind("prlimit", c_int, c_int, c_void_p, c_void_p)
_prlimit64 = _bind("prlimit64", c_int, c_int, c_void_p, c_void_p)
_CONTROL, _CONTROL_ALIGN = struct.calcsize("@Nii"), struct.calcsize("@N")  # struct cmsghdr, cmsg(3)
MOST_DESCRIPTORS = 252  # of a message: SCM_MAX_FD of net/scm.h is 253, and an even number needs no padding
madvise = _bind("madvise", c_void_p, c_ulong, c_int)
_socketpair = _bind("socketpair", c_int, c_int, c_int, c_void_p)
_socket = _bind("socket", c_int, c_int, c_int)
_sendmsg = _bind("sendmsg", c_int, c_void_p, c_int)
_recvmsg = _bind("recvmsg", c_int, c_void_p, c_int)


def capget() -> "tuple[int, int, int]":
    """capget(2) of this thread: the effective, permitted and inheritable sets as bit masks."""
    header = bytearray(struct.pack("=Ii", abi.LINUX_CAPABILITY_VERSION_3, 0))
    data = bytearray(24)
    _capget(_address(header), _address(data))
    low_e, low_p, low_i, high_e, high_p, high_i = struct.unpack("=6I", data)
    return low_e | high_e << 32, low_p | high_p << 32, low_i | high_i << 32


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) of this thread, bit masks."""
    header = bytearray(struct.pack("=Ii", abi.LINUX_CAPABILITY_VERSION_3, 0))
    masks = (effective, permitted, inheritable)
    low, high = [mask & 0xFFFFFFFF for mask in masks], [mask >> 32 for mask in masks]
    data = bytearray(struct.pack("=6I", *(low + high)))
    _capset(_address(header), _address(data))


def prlimit(pid: int, resource: int, soft: int, hard: int) -> None:
    """prlimit(2): set a limit. PID 0 is the caller; soft, hard: 0 to 2**64-1, the last unlimited."""
    pair = bytearray(struct.pack("=QQ", soft, hard))
    try:
        _prlimit64(pid, resource, _address(pair), None)
    except AttributeError:  # musl has 64 bits everywhere, and since 1.2.4 no second name
        _prlimit(pid, resource, _address(pair), None)


def socketpair() -> "tuple[int, int]":
    """socketpair(2): a connected pair of stream sockets of the UNIX family that close on exec."""
    pair = bytearray(8)
    _socketpair(abi.AF_UNIX, abi.SOCK_STREAM | abi.SOCK_CLOEXEC, 0, _address(pair))
    return struct.unpack("=ii", pair)


def _message(data: bytearray, control: bytearray) -> "tuple[bytearray, bytearray]":
    """struct msghdr for recvmsg(2) and sendmsg(2), and the struct iovec that it points to."""
    vector = bytearray(struct.pack("@PN", _address(data), len(data)))
    header = struct.pack("@PIPNPNi", 0, 0, _address(vector), 1, _address(control), len(control), 0)
    return bytearray(header), vector


def _again(call, *arguments: int) -> int:
    """What os.read does: a signal has been handled by now, or was none of ours."""
    while True:
        try:
            return call(*arguments)
        except InterruptedError:
            continue


def send_descriptors(sock: int, data: bytes, descriptors: "tuple[int, ...]") -> None:
    """sendmsg(2) with SCM_RIGHTS: DATA, a byte at least, and copies of DESCRIPTORS, MOST_DESCRIPTORS at most.

    `_socket` has it too, and takes 0.2 ms to load."""
    numbers = struct.pack("@%di" % len(descriptors), *descriptors)
    header = struct.pack("@Nii", _CONTROL + len(numbers), abi.SOL_SOCKET, abi.SCM_RIGHTS)
    control = bytearray(header + numbers + bytes(-len(numbers) % _CONTROL_ALIGN))
    content = bytearray(data)
    message, _vector = _message(content, control)
    _again(_sendmsg, sock, _address(message), abi.MSG_NOSIGNAL)


def receive_descriptors(sock: int, size: int) -> "tuple[bytes, list[int]]":
    """recvmsg(2): at most SIZE bytes, b"" at the end, and descriptors that close on exec."""
    data, control = bytearray(size), bytearray(_CONTROL + 4 * MOST_DESCRIPTORS)
    message, _vector = _message(data, control)
    count = _again(_recvmsg, sock, _address(message), abi.MSG_CMSG_CLOEXEC)
    used = struct.unpack_from("@PIPNPNi", message)[5]
    descriptors, at = [], 0  # type: list[int], int
    while at + _CONTROL <= used:
        length, level, kind = struct.unpack_from("@Nii", control, at)
        if (level, kind) == (abi.SOL_SOCKET, abi.SCM_RIGHTS):
            descriptors += struct.unpack_from("@%di" % ((length - _CONTROL) // 4), control, at + _CONTROL)
        at += length + -length % _CONTROL_ALIGN
    return bytes(data[:count]), descriptors


def inet_socket() -> int:
    """socket(2): a datagram socket of the IPv4 family, for ioctl(2) on network devices."""
    return _socket(abi.AF_INET, abi.SOCK_DGRAM | abi.SOCK_CLOEXEC, 0)


copy_memory = _bind("memcpy", c_void_p, c_char_p, c_ulong)  # to an address of ours: how many bytes


class _Bytes(_ctypes.Array):
    _type_ = type("c_char", (_ctypes._SimpleCData,), {"_type_": "c"})
    _length_ = 1


def _address(buffer: bytearray) -> int:
    """Where BUFFER's bytes lie. The caller holds BUFFER, and does not resize it, during the call."""
    return _ctypes.addressof(_Bytes.from_buffer(buffer))


address = _address
