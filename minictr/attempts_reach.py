"""Attempts to reach what is the host's: its processes, its files, its network (see `attempts`).

Side: container
"""

import _signal  # `signal` imports enum: 3 ms
import _socket
import _stat as stat
import os
import sys

from . import abi, libc, libc_rare
from .bait import Absent, Bait, call_number, start_of

# --- processes of the host ----------------------------------------------------------------------


def see_process(bait: Bait) -> str:
    pids = [name for name in os.listdir("/proc") if name.isdigit()]
    if not pids:
        raise Absent("/proc shows no process at all")
    for pid in pids:
        if _first_line("/proc/%s/comm" % pid) == bait.name:
            return "it is /proc/" + pid
    raise OSError(abi.ENOENT, "")


def signal_process(bait: Bait) -> str:
    """The runtime looks whether it arrived: here the number may be that of another."""
    os.kill(bait.pid, _signal.SIGURG)
    return "sent"


def trace_process(bait: Bait) -> str:
    libc_rare.syscall(call_number("ptrace"), abi.PTRACE_SEIZE, bait.pid, 0, 0)
    return "traced"


def _first_line(path: str) -> str:
    try:
        return start_of(path).decode("utf-8", "replace").partition("\n")[0]
    except OSError:
        return ""


# --- files outside the root ---------------------------------------------------------------------


def absolute_path(bait: Bait) -> str:
    return _read(bait, bait.path)


def dotdot(bait: Bait) -> str:
    return _read(bait, "../" * 64 + bait.path.lstrip("/"))


def other_roots(bait: Bait) -> str:
    """Through the root and the directory of every process in sight (proc(5))."""
    for pid in ["self", "thread-self"] + [name for name in os.listdir("/proc") if name.isdigit()]:
        for link in ("root", "cwd"):
            way = "/proc/%s/%s/" % (pid, link) + "../" * 64
            if _holds(bait, way + bait.path.lstrip("/")) or _holds(bait, way[:-192] + bait.path.lstrip("/")):
                return "by /proc/%s/%s" % (pid, link)
    raise OSError(abi.ENOENT, "")


def leaked_descriptors(bait: Bait) -> str:
    """From every descriptor that is a directory (CVE-2024-21626 and its kin)."""
    for number in range(1024):
        try:
            if stat.S_ISDIR(os.fstat(number).st_mode) and _holds_at(number, bait):
                return "by descriptor %d" % number
        except OSError:
            pass
        if _holds(bait, "/proc/self/fd/%d/" % number + "../" * 64 + bait.path.lstrip("/")):
            return "by /proc/self/fd/%d" % number
    raise OSError(abi.ENOENT, "")


def chroot_escape(bait: Bait) -> str:
    """chroot(2): a process that may call it again leaves a root that was only changed by it."""
    below = next((name for name in ("/proc", "/dev", "/tmp", "/etc", "/bin") if os.path.isdir(name)), "")
    if not below:
        raise Absent("the root has no directory to change the root to")
    above = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    own = os.fstat(above)
    libc.chroot(below)
    os.fchdir(above)
    for _ in range(64):
        os.chdir("..")
    libc.chroot(".")
    if not os.path.samestat(own, os.stat("/")):
        return "the root is another"
    return _read(bait, bait.path)


def file_handle(bait: Bait) -> str:
    """open_by_handle_at(2) of the root directory's own inode number, which is 2 on most file systems."""
    place = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    parts = ((8, 4), (1, 4), (2, 8))  # how long the last is, its type, it
    handle = bytearray(b"".join([number.to_bytes(size, sys.byteorder) for number, size in parts]))
    try:
        libc_rare.syscall(call_number("open_by_handle_at"), place, handle, os.O_RDONLY)
    except OSError as error:
        if error.errno in (abi.EPERM, abi.ENOSYS, abi.EACCES):
            raise
    return "handles are taken"  # ESTALE and the like: it was looked for


def _read(bait: Bait, path: str) -> str:
    if start_of(path) == bait.content.encode():
        return "read"
    raise OSError(abi.ENOENT, "")  # another file, which happens to have the name


def _holds(bait: Bait, path: str) -> bool:
    try:
        return bool(_read(bait, path))
    except OSError:
        return False


def _holds_at(directory: int, bait: Bait) -> bool:
    for way in ("", "../" * 64):
        try:
            file = os.open(way + bait.path.lstrip("/"), os.O_RDONLY, dir_fd=directory)
        except OSError:
            continue
        found = os.read(file, 4096) == bait.content.encode()
        os.close(file)
        if found:
            return True
    return False


# --- the host's network -------------------------------------------------------------------------


def abstract_socket(bait: Bait) -> str:
    """CVE-2020-15257."""
    return _connect(1, "\0" + bait.abstract)  # AF_UNIX


def host_loopback(bait: Bait) -> str:
    if not bait.port:
        raise Absent("the host's loopback device is down")
    return _connect(2, ("127.0.0.1", bait.port))  # AF_INET


def raw_socket(bait: Bait) -> str:
    _made(2, 3, 1).close()  # AF_INET, SOCK_RAW, IPPROTO_ICMP
    return "made"


def _connect(family: int, address: "str | tuple[str, int]") -> str:
    sock = _made(family, 1)  # SOCK_STREAM
    try:
        sock.settimeout(2)
        sock.connect(address)
    finally:
        sock.close()
    return "connected"


def _made(family: int, kind: int, protocol: int = 0) -> "_socket.socket":
    """By socket(2) itself: C libraries make theirs by socketcall(2), on s390x and 32-bit x86, and a filter
    that refuses that one may let a program's own call pass."""
    try:
        number = libc_rare.syscall(call_number("socket"), family, kind, protocol)
    except OSError as error:
        if error.errno != abi.ENOSYS:  # there before Linux 4.3
            raise
        return _socket.socket(family, kind, protocol)
    return _socket.socket(family, kind, protocol, number)
