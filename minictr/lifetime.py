"""When a process was born, whether it is still the one, and how it has ended: its number alone may be
another's by now.

Side: both
"""

import _struct as struct
import fcntl

from . import paths
from . import unix as os


def stat_fields(pid: "int | str") -> "list[str]":
    """Those of /proc/PID/stat (proc(5)) from the third one on: state, parent ... [] of one that is gone, or
    hidden. The second, a name, may have anything in it."""
    return _fields(paths.read_text("/proc/%s/stat" % pid))


def _fields(text: str) -> "list[str]":
    return text.rpartition(")")[2].split()


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot (field 22), by the host's clock wherever we are; 0 if
    it is gone. A number that was given to another process has another start time, but for one of a later
    boot, which may have both (`boot`). It is not gone with its first thread: others of it (field 20) go on,
    as a program may have it that wants to be taken for over."""
    return _started(stat_fields(pid))


def _started(fields: "list[str]") -> int:
    if len(fields) < 20 or (fields[0] in ("Z", "X") and int(fields[17]) < 2):
        return 0
    return int(fields[19]) - boot_offset()


def own_start_time(proc: int) -> int:
    """The same of ourselves, whatever namespaces we are in, by PROC, a descriptor of the runtime's procfs:
    with hidepid= that shows us to nobody but ourselves, once we are not dumpable."""
    fields = _fields(paths.read_proc(proc, "self/stat"))
    return int(fields[19]) - _offset_in(paths.read_text("self/timens_offsets", at=proc))


def runs(pid: int, started: int) -> bool:
    """Whether process PID, which STARTED then (0: nothing is known of it), is not over. A tick more or less
    is the same: in a time namespace that is apart by parts of one, start times are rounded at other moments.

    /proc mounted with hidepid= does not show its user what changed its ids or is not dumpable, as a container
    that waits for `start` is. Who may signal a process there takes it for the one: it would live on unknown.
    """
    fields = stat_fields(pid)  # once: as it executes its program it comes into sight
    found = _started(fields)
    if found or not started:
        return found != 0 != started and abs(found - started) <= 1
    if fields:  # it waits to be reaped
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def boot() -> str:
    """What the kernel calls the time since it was booted (random(4)); "" where that is not to be read. A
    state directory on a disk outlives it."""
    global _boot
    if _boot is None:
        _boot = paths.read_text("/proc/sys/kernel/random/boot_id").strip()
    return _boot


_boot = None  # type: str | None


def boot_offset() -> int:
    """The clock ticks by which the time since boot is another one in our time namespace."""
    global _offset
    if _offset is None:
        _offset = _offset_in(paths.read_text("/proc/self/timens_offsets"))
    return _offset


_offset = None  # type: int | None


def _offset_in(text: str) -> int:
    """timens_offsets, since 5.5, has a line "boottime 5 0": seconds and nanoseconds."""
    words = text.split()
    at = words.index("boottime") if "boottime" in words else len(words)
    seconds, rest = (words[at + 1 : at + 3] + ["0", "0"])[:2]
    return int(seconds) * 100 + int(rest) // 10000000


# include/uapi/linux/pidfd.h
_PIDFD_INFO_EXIT = 1 << 3
_INFO = struct.Struct("=QQ11Ii")  # pidfd_info of 6.15: mask, cgroup, eleven ids; exit_code
_PIDFD_GET_INFO = 3 << 30 | _INFO.size << 16 | 0xFF << 8 | 11  # _IOWR(0xFF, 11, struct pidfd_info)


def exit_status(pidfd: int) -> "int | None":
    """The status of a process that has been waited for, None for one that has not. Raises OSError where the
    kernel does not tell."""
    data = bytearray(_INFO.pack(_PIDFD_INFO_EXIT, *[0] * 13))
    fcntl.ioctl(pidfd, _PIDFD_GET_INFO, data)
    fields = _INFO.unpack(bytes(data))
    return fields[-1] if fields[0] & _PIDFD_INFO_EXIT else None
