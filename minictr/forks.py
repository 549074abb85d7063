"""A new process in new namespaces: a sound interpreter, on a processor of its own.

Side: both
"""

import _struct as struct
import _thread

from . import abi, libc
from . import unix as os

MAX_CPUS = 1024  # what a cpu_set_t of the C library holds, sched_setaffinity(2)
NEAR = 8
NAME = b"minictr-init"


def clone(flags: int, cgroup: "int | None" = None, apart: bool = False) -> int:
    """fork() into new namespaces: 0 in the child, its process id in the parent.

    flags: an or of CLONE_*; cgroup: a descriptor of the v2 cgroup the child starts in (since 5.7)
    apart: both have work to do: the child is not to begin on the processor that we run on
    clone3(2) where it is to be had, else clone(2), which lacks CGROUP: OSError ENOSYS then.

    The call keeps the GIL and is framed as os.fork() frames its own, so the child is a sound
    interpreter. The C library knows nothing of it: the child must not call raise(3) or abort(3),
    which would read the parent's thread id.

    A caller with other threads forks first: one that waits for the GIL may have asked for it, and the
    child would wait for a thread that it does not have before it is told so.
    """
    # the count outlives a fork, as in the middle process and in init, which ask for these
    alone = not _thread._count() or flags & (abi.CLONE_PARENT | abi.CLONE_FILES)
    return _clone_framed(flags, cgroup, apart) if alone else _clone_by_fork(flags, cgroup)


class Unseen:
    """`with Unseen():` nobody may look into what is born in it, nor into us."""

    def __enter__(self) -> None:
        self.before = libc.prctl(abi.PR_GET_DUMPABLE)
        libc.prctl(abi.PR_SET_DUMPABLE, 0)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.before == 1:  # 2 cannot be set, and is as good as 0
            libc.prctl(abi.PR_SET_DUMPABLE, 1)


class Nameless:
    """`with Nameless():` what is born in it does not show by what words we were called. Everybody in a PID
    namespace may read them, of a process that is not dumpable, too (/proc/PID/cmdline): paths of the host,
    or a variable for one user that is no other's business."""

    def __enter__(self) -> None:
        self.start, self.words = 0, b""
        try:
            fields = _content("/proc/self/stat", 4096).rpartition(b")")[2].split()
            start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, since 3.5: proc(5)
            words = _content("/proc/self/cmdline", end - start + 1)
        except (OSError, LookupError):  # there is no /proc to be seen by, either
            return
        if 0 < len(words) == end - start:
            self.start, self.words = start, words
            libc.copy_memory(start, NAME[: len(words) - 1].ljust(len(words), b"\0"), len(words))

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.words:
            libc.copy_memory(self.start, self.words, len(self.words))


def _content(path: str, most: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)


def _clone_by_fork(flags: int, cgroup: "int | None") -> int:
    """The same by a process between, which has one thread and gives its child to ours (CLONE_PARENT)."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        pid = 0
        try:
            pid = _clone_framed(flags | abi.CLONE_PARENT, cgroup, apart=False)
        except OSError as error:
            pid = -(error.errno or abi.EPERM)
        if pid:
            os.write(writer, struct.pack("=i", pid))
            os._exit(0)
        os.close(reader)
        os.close(writer)
        return 0
    os.close(writer)
    said = os.read(reader, 4)
    os.close(reader)
    os.waitpid(between, 0)
    pid = struct.unpack("=i", said)[0] if said else -abi.EAGAIN
    if pid < 0:
        raise OSError(-pid, os.strerror(-pid))
    return pid


def _clone_framed(flags: int, cgroup: "int | None", apart: bool) -> int:
    here = libc.getcpu() if apart else -1
    allowed = os.sched_getaffinity(0) if here >= 0 else set()
    _before_fork()
    try:
        pid = _clone_any(flags, cgroup)
    except OSError:
        _after_fork_parent()
        raise
    if len(allowed) > 1 and (pid or libc.getcpu() == here):
        _move(pid, here, allowed)
    if pid == 0:
        _after_fork_child()
    else:
        _after_fork_parent()
    return pid


def _move(pid: int, here: int, allowed: "set[int]") -> None:
    """The process PID (0: ours) to another processor than HERE; it may run on all of ALLOWED again.

    A new process that is younger than 30 ms has its child put beside it, however idle the other processors
    are (6.18; an older one does not). Then either waits for the other: 1.2 ms of a start of 16 ms, measured
    in turn. Both sides ask, as the child may run first, or only when the parent sleeps.
    """
    # neighbours by number have their memory, and often a cache, where we have ours
    near = allowed.intersection(range(here - NEAR, here + NEAR + 1)) - {here}
    try:
        os.sched_setaffinity(pid, near or allowed - {here})
        # since 6.2 the kernel keeps what was asked for, and a cpuset that grows later is held back by it
        os.sched_setaffinity(pid, range(MAX_CPUS))
        if os.sched_getaffinity(pid) != allowed:  # the caller's own affinity (taskset) is narrower
            os.sched_setaffinity(pid, allowed)
    except OSError:
        pass  # it takes longer, and that is all


def _clone_any(flags: int, cgroup: "int | None") -> int:
    """clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
    set_tid, set_tid_size, cgroup; eleven 64-bit words (include/uapi/linux/sched.h)."""
    into = 0 if cgroup is None else abi.CLONE_INTO_CGROUP
    # with CLONE_PARENT the kernel takes the exit signal of the caller, and clone3 refuses another
    exit_signal = 0 if flags & abi.CLONE_PARENT else abi.SIGCHLD
    words = [flags | into, 0, 0, 0, exit_signal, 0, 0, 0, 0, 0, cgroup or 0]
    try:
        return libc.clone3(struct.pack("=11Q", *words), 88)
    except OSError as error:
        # E2BIG: 5.3 to 5.6 know a shorter structure. EPERM: some engines' seccomp profiles
        # refuse clone3 that way; a true EPERM comes again from clone.
        if error.errno not in (abi.ENOSYS, abi.E2BIG, abi.EPERM) or cgroup is not None:
            raise
    arguments = (flags | exit_signal, 0, 0, 0, 0)
    if abi.machine() == "s390x":  # CONFIG_CLONE_BACKWARDS2: the stack comes first
        arguments = (0, flags | exit_signal, 0, 0, 0)
    return libc.clone(*arguments)


_before_fork = libc.fork_hook("PyOS_BeforeFork")
_after_fork_parent = libc.fork_hook("PyOS_AfterFork_Parent")
_after_fork_child = libc.fork_hook("PyOS_AfterFork_Child")
