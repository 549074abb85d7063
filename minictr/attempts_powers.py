"""Attempts at what only the host's root may do, and at doors of the kernel that a container does without
(see `attempts`).

Side: container
"""

import _stat as stat
import fcntl
import os
import sys

from . import abi, libc, libc_rare
from .bait import Absent, Bait, call_number, start_of

ALONE = 65534  # an id that no container is likely to have as its own: nobody's

# --- what only the host's root may do -----------------------------------------------------------


def mount(bait: Bait) -> str:
    place = next((name for name in ("/tmp", "/mnt", "/dev", "/etc", "/") if os.path.isdir(name)), "/")
    libc.mount("none", place, "tmpfs", abi.MS_NOSUID | abi.MS_NODEV, "size=4k")
    libc.umount2(place, abi.MNT_DETACH)
    return "a tmpfs, on " + place


def pivot_root(bait: Bait) -> str:
    """EBUSY, as the root is no new one, comes after the rights were looked at; so does EINVAL."""
    return _unless((abi.EBUSY, abi.EINVAL), libc.pivot_root, "/", "/")


def reboot(bait: Bait) -> str:
    """reboot(2) with a command that does not exist."""
    arguments = (0xFEE1DEAD, 672274793, 0x0BADC0DE, 0)
    return _unless((abi.EINVAL,), libc_rare.syscall, call_number("reboot"), *arguments)


def load_module(bait: Bait) -> str:
    """finit_module(2) of no file."""
    return _unless((abi.EBADF,), libc_rare.syscall, call_number("finit_module"), -1, bytearray(1), 0)


def set_clock(bait: Bait) -> str:
    """settimeofday(2) of nothing: the rights are looked at all the same."""
    libc_rare.syscall(call_number("settimeofday"), 0, 0)
    return "allowed"


def kernel_log(bait: Bait) -> str:
    """syslog(2): SYSLOG_ACTION_SIZE_BUFFER, which needs what SYSLOG_ACTION_READ_ALL needs: nothing without
    kernel.dmesg_restrict (check_syslog_permissions in kernel/printk/printk.c)."""
    libc_rare.syscall(call_number("syslog"), 10, 0, 0)
    return "allowed"


def _unless(numbers: "tuple[int, ...]", function, *arguments: object) -> str:
    """The errnos NUMBERS come where it is allowed."""
    try:
        function(*arguments)
    except OSError as error:
        if error.errno not in numbers:
            raise
    return "allowed"


# --- devices, /proc, /sys, cgroups --------------------------------------------------------------


def make_device(bait: Bait) -> str:
    if not bait.device:
        raise Absent("the host has no block device")
    places = _places()
    if not places:
        raise OSError(abi.EROFS, "")
    os.unlink(_make(places[0], bait))
    return "made in " + (places[0] or "/")


def open_device(bait: Bait) -> str:
    """By a node that is made, in whatever place is not mounted nodev, or that is there."""
    if not bait.device:
        raise Absent("the host has no block device")
    refusal = OSError(abi.EROFS, "")
    for place in _places():
        try:
            name = _make(place, bait)
        except OSError as error:
            refusal = error
            continue
        try:
            return _opened(name)
        except OSError as error:
            refusal = error
        finally:
            os.unlink(name)
    for entry in os.scandir("/dev"):
        state = entry.stat(follow_symlinks=False)
        if stat.S_ISBLK(state.st_mode) and state.st_rdev == os.makedev(*bait.device[:2]):
            try:
                return _opened(entry.path)
            except OSError as error:
                refusal = error
    raise refusal


def _make(place: str, bait: Bait) -> str:
    name = place + "/minictr-attempt"
    os.mknod(name, stat.S_IFBLK | 0o600, os.makedev(*bait.device[:2]))
    return name


def _opened(name: str) -> str:
    node = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    number = os.fstat(node).st_rdev
    os.close(node)
    return "%d:%d was opened" % (os.major(number), os.minor(number))


def _places() -> "list[str]":
    """The directories where a file may be made."""
    found = []
    for place in ("/dev", "/tmp", "/run", "/var/tmp", "/dev/shm", ""):
        name = place + "/minictr-attempt"
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError:
            continue
        os.unlink(name)
        found.append(place)
    return found


def write_proc(bait: Bait) -> str:
    """Settings of the kernel that are the host's, whatever the namespace."""
    return _open_one(
        ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/panic", "/proc/sys/vm/drop_caches",
         "/proc/sysrq-trigger", "/proc/sys/fs/file-max", "/proc/irq/default_smp_affinity"))  # fmt: skip


def write_sys(bait: Bait) -> str:
    return _open_one(
        ("/sys/kernel/uevent_helper", "/sys/power/state", "/sys/kernel/mm/transparent_hugepage/enabled",
         "/sys/module/kernel/parameters/panic", "/sys/kernel/profiling", "/sys/kernel/fscaps"))  # fmt: skip


def write_cgroup(bait: Bait) -> str:
    """In the container's own view of the cgroups: limits lifted, or a release_agent (CVE-2022-0492)."""
    names = ("cgroup.procs", "release_agent", "memory.limit_in_bytes", "memory.max", "pids.max")
    places = ["/sys/fs/cgroup"]
    try:
        places += ["/sys/fs/cgroup/" + name for name in os.listdir("/sys/fs/cgroup")]
    except OSError:
        pass
    return _open_one(tuple([place + "/" + name for place in places for name in names]))


def _open_one(paths: "tuple[str, ...]") -> str:
    """Open one of PATHS for writing; nothing is written. Absent where none of them is there."""
    refusal = None  # type: OSError | None
    for path in paths:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # what a root has there may be a pipe
            return path
        except OSError as error:
            if error.errno not in (abi.ENOENT, abi.ENOTDIR):
                refusal = error
    if refusal is None:
        raise Absent("none of its files is to be seen")
    raise refusal


# --- who one is, and the kernel's wider doors ---------------------------------------------------


def become_host_user(bait: Bait) -> str:
    """An id that is the host's: any, where the ids are the host's; else one that is not mapped."""
    lines = start_of("/proc/self/uid_map").splitlines()
    rows = [tuple([int(word) for word in line.split()]) for line in lines]
    if rows == [(0, 0, 4294967295)]:
        os.setresuid(ALONE, ALONE, ALONE)
        return "user %d of the host" % ALONE
    beyond = max([inside + size for inside, _, size in rows])
    os.setresuid(beyond, beyond, beyond)
    return "user %d" % beyond


def push_input(bait: Bait) -> str:
    """TIOCSTI, with a bit above the 32 that the kernel looks at (CVE-2019-10063), into a terminal."""
    os.setsid()
    try:
        master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
        fcntl.ioctl(master, abi.TIOCSPTLCK, b"\0\0\0\0")
        number = int.from_bytes(fcntl.ioctl(master, abi.TIOCGPTN, b"\0\0\0\0"), sys.byteorder)
        slave = os.open("/dev/pts/%d" % number, os.O_RDWR)
    except OSError:
        raise Absent("no terminal can be had") from None
    letter = bytearray(b"#")
    libc_rare.syscall(call_number("ioctl"), slave, abi.TIOCSTI | 1 << 32, letter)
    return "a letter was pushed"


def user_namespace(bait: Bait) -> str:
    libc.unshare(abi.CLONE_NEWUSER)
    return "made"


def keyring(bait: Bait) -> str:
    """keyctl(2): KEYCTL_GET_KEYRING_ID of the session's."""
    libc_rare.syscall(call_number("keyctl"), 0, -3, 0, 0, 0)
    return "the kernel's key store answers"


def bpf(bait: Bait) -> str:
    """BPF_MAP_CREATE of an array of one number."""
    attributes = bytearray(72)
    attributes[0:16] = b"".join([number.to_bytes(4, sys.byteorder) for number in (2, 4, 4, 1)])
    os.close(libc_rare.syscall(call_number("bpf"), 0, attributes, len(attributes)))
    return "a map was made"


def performance_events(bait: Bait) -> str:
    """perf_event_open(2): PERF_COUNT_SW_CPU_CLOCK of all that runs on CPU 0."""
    attributes = bytearray(112)
    attributes[0:8] = b"".join([number.to_bytes(4, sys.byteorder) for number in (1, len(attributes))])
    os.close(libc_rare.syscall(call_number("perf_event_open"), attributes, -1, 0, -1, 0))
    return "the host's processes can be watched"
