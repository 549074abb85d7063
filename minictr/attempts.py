"""What must not work in a container, tried out from inside: by the first process of a twin, which has
everything that the container's program would have, except that it executes nothing.

Each attempt is a function in a process of its own. What it does is harmless where it works, too: it
asks with arguments that the kernel refuses only after it has looked at the rights, or it opens and
does not write. It returns a word of what it could do; OSError is the refusal; Absent says that there
was nothing to try it on.

Nothing is imported while it runs: `isolation` has done so before the fork.

Side: container
"""

import _signal  # `signal` imports enum: 3 ms
import fcntl
import os
import stat

from . import abi, last, libc
from .record import Record

SECONDS = 5  # for one attempt
SIGNAL = "signal a process of the host"
ALONE = 65534  # an id that no container is likely to have as its own: nobody's


class Absent(Exception):
    """There is nothing here to try it on; why, in words."""


class Bait(Record):
    """What of the host's the attempts go for. It is put out for them alone.

    pid: of a process; name: what it is called (proc(5), comm)
    path: a file that everybody may read; content: what is in it
    abstract: the name of a socket in the abstract name space; port: a TCP port of 127.0.0.1
    device: major and minor number of a block device, () where the host has none
    """

    pid: int
    name: str
    path: str
    content: str
    abstract: str
    port: int
    device: "tuple[int, ...]" = ()
    channel: int = -1


def probe(me, bait: Bait) -> None:
    """The last stage of the twin, in the place of execve: try everything, tell of each, and wait to be
    looked at from outside."""
    last.confine(me)
    me.channel.say("root", me.way)
    for layer, name, attempt in ATTEMPTS:
        outcome, number, said = _apart(attempt, bait)
        me.channel.say("attempt", layer, name, outcome, number, said)
    libc.prctl(abi.PR_SET_DUMPABLE, 1)  # or a runtime without privileges could not look
    me.channel.say("tried")
    me.channel.hear()  # until the runtime has looked, or is gone
    os._exit(0)


def _apart(attempt, bait: Bait) -> "tuple[str, int, str]":
    """Try it in a process of its own: ("possible" | "refused" | "absent", errno, words)."""
    reader, writer = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        return "absent", error.errno or 0, "there is no process to try it in"
    if pid == 0:
        os.close(reader)
        _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
        _signal.alarm(SECONDS)
        os.write(writer, "\t".join(_tried(attempt, bait)).encode("utf-8", "replace"))
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 4096).decode("utf-8", "replace")
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    if said:
        outcome, number, words = said.split("\t", 2)
        return outcome, int(number), words
    return "refused", 0, "ended by signal %d" % os.WTERMSIG(status) if os.WIFSIGNALED(status) else "no answer"


def _tried(attempt, bait: Bait) -> "tuple[str, str, str]":
    try:
        return "possible", "0", attempt(bait) or "it worked"
    except OSError as error:
        return "refused", str(error.errno or 0), ""
    except Absent as error:
        return "absent", "0", str(error)


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
    libc.syscall(_number("ptrace"), abi.PTRACE_SEIZE, bait.pid, 0, 0)
    return "traced"


def _first_line(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.readline().rstrip("\n")
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
    libc.chroot(below)
    os.fchdir(above)
    for _ in range(64):
        os.chdir("..")
    libc.chroot(".")
    return _read(bait, bait.path)


def file_handle(bait: Bait) -> str:
    """open_by_handle_at(2) of the root directory's own inode number, which is 2 on most file systems."""
    place = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    handle = bytearray((8).to_bytes(4, "little") + (1).to_bytes(4, "little") + (2).to_bytes(8, "little"))
    try:
        libc.syscall(_number("open_by_handle_at"), place, handle, os.O_RDONLY)
    except OSError as error:
        if error.errno in (abi.EPERM, abi.ENOSYS, abi.EACCES):
            raise
    return "handles are taken"  # ESTALE and the like: it was looked for


def _read(bait: Bait, path: str) -> str:
    with open(path) as file:
        if file.read(4096) == bait.content:
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
    return _unless((abi.EINVAL,), libc.syscall, _number("reboot"), *arguments)


def load_module(bait: Bait) -> str:
    """finit_module(2) of no file."""
    return _unless((abi.EBADF,), libc.syscall, _number("finit_module"), -1, bytearray(1), 0)


def set_clock(bait: Bait) -> str:
    """settimeofday(2) of nothing: the rights are looked at all the same."""
    libc.syscall(_number("settimeofday"), 0, 0)
    return "allowed"


def kernel_log(bait: Bait) -> str:
    """syslog(2): SYSLOG_ACTION_SIZE_UNREAD, which needs what SYSLOG_ACTION_READ needs."""
    libc.syscall(_number("syslog"), 9, 0, 0)
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
    name = _somewhere("minictr-attempt")
    os.mknod(name, stat.S_IFBLK | 0o600, os.makedev(*bait.device[:2]))
    os.unlink(name)
    return "made in " + os.path.dirname(name)


def open_device(bait: Bait) -> str:
    """By a node that is made, or is there."""
    if not bait.device:
        raise Absent("the host has no block device")
    wanted = os.makedev(*bait.device[:2])
    name, made = _somewhere("minictr-attempt"), False
    try:
        os.mknod(name, stat.S_IFBLK | 0o600, wanted)
        made = True
    except OSError as error:
        nodes = [entry for entry in os.scandir("/dev") if not entry.is_symlink()]
        name = next((n.path for n in nodes if n.stat(follow_symlinks=False).st_rdev == wanted), "")
        if not name:
            raise error
    try:
        os.close(os.open(name, os.O_RDONLY | os.O_NONBLOCK))
    finally:
        if made:
            os.unlink(name)
    return "opened"


def _somewhere(name: str) -> str:
    """A path where a file may be made."""
    for place in ("/dev", "/tmp", "/run", "/var/tmp", "/dev/shm", "/"):
        try:
            os.close(os.open(place + "/" + name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError:
            continue
        os.unlink(place + "/" + name)
        return place + "/" + name
    raise OSError(abi.EROFS, "")


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
            os.close(os.open(path, os.O_WRONLY))
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
    with open("/proc/self/uid_map") as file:
        rows = [tuple([int(word) for word in line.split()]) for line in file]
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
        number = int.from_bytes(fcntl.ioctl(master, abi.TIOCGPTN, b"\0\0\0\0"), "little")
        slave = os.open("/dev/pts/%d" % number, os.O_RDWR)
    except OSError:
        raise Absent("no terminal can be had") from None
    letter = bytearray(b"#")
    libc.syscall(_number("ioctl"), slave, abi.TIOCSTI | 1 << 32, letter)
    return "a letter was pushed"


def user_namespace(bait: Bait) -> str:
    libc.unshare(abi.CLONE_NEWUSER)
    return "made"


def keyring(bait: Bait) -> str:
    """keyctl(2): KEYCTL_GET_KEYRING_ID of the session's."""
    libc.syscall(_number("keyctl"), 0, -3, 0, 0, 0)
    return "the kernel's key store answers"


def bpf(bait: Bait) -> str:
    """BPF_MAP_CREATE of an array of one number."""
    attributes = bytearray(72)
    attributes[0:16] = b"".join([number.to_bytes(4, "little") for number in (2, 4, 4, 1)])
    os.close(libc.syscall(_number("bpf"), 0, attributes, len(attributes)))
    return "a map was made"


def performance_events(bait: Bait) -> str:
    """perf_event_open(2): PERF_COUNT_SW_CPU_CLOCK of all that runs on CPU 0."""
    attributes = bytearray(112)
    attributes[0:8] = (1).to_bytes(4, "little") + (112).to_bytes(4, "little")
    os.close(libc.syscall(_number("perf_event_open"), attributes, -1, 0, -1, 0))
    return "the host's processes can be watched"


# --- the host's network -------------------------------------------------------------------------


def abstract_socket(bait: Bait) -> str:
    """CVE-2020-15257."""
    return _connect(1, "\0" + bait.abstract)  # AF_UNIX


def host_loopback(bait: Bait) -> str:
    return _connect(2, ("127.0.0.1", bait.port))  # AF_INET


def raw_socket(bait: Bait) -> str:
    import _socket  # loaded before

    _socket.socket(2, 3, 1).close()  # AF_INET, SOCK_RAW, IPPROTO_ICMP
    return "made"


def _connect(family: int, address: "str | tuple[str, int]") -> str:
    import _socket  # loaded before

    sock = _socket.socket(family, 1)
    try:
        sock.settimeout(2)
        sock.connect(address)
    finally:
        sock.close()
    return "connected"


def _number(name: str) -> int:
    from . import syscalls  # loaded before

    return syscalls.table(abi.machine())[name]


# layer, what is tried, the function
ATTEMPTS = (
    ("pid", "see a process of the host", see_process),
    ("pid", SIGNAL, signal_process),
    ("pid", "trace a process of the host", trace_process),
    ("root", "open a file of the host by its path", absolute_path),
    ("root", "open it by ..", dotdot),
    ("root", "open it by /proc/PID/root and cwd", other_roots),
    ("root", "open it from a leaked descriptor", leaked_descriptors),
    ("root", "leave the root by chroot", chroot_escape),
    ("root", "open by a file handle", file_handle),
    ("network", "connect to an abstract socket of the host", abstract_socket),
    ("network", "connect to the host's loopback", host_loopback),
    ("user", "become a user of the host", become_host_user),
    ("capabilities", "mount a file system", mount),
    ("capabilities", "call pivot_root", pivot_root),
    ("capabilities", "reboot", reboot),
    ("capabilities", "load a kernel module", load_module),
    ("capabilities", "set the clock", set_clock),
    ("capabilities", "read the kernel's log", kernel_log),
    ("devices", "make a block device", make_device),
    ("devices", "open a block device", open_device),
    ("proc", "write to the kernel's settings in /proc", write_proc),
    ("sys", "write to /sys", write_sys),
    ("cgroup-files", "write to the cgroup", write_cgroup),
    ("seccomp", "push input into a terminal", push_input),
    ("seccomp", "make a user namespace", user_namespace),
    ("seccomp", "use the kernel's keyrings", keyring),
    ("seccomp", "load a BPF map", bpf),
    ("seccomp", "open performance events", performance_events),
    ("network", "open a raw socket", raw_socket),
)
