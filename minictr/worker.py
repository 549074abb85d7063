"""The library's helper: a small process beside the caller's that makes its containers.

    caller's process      helper              worker
      |-- posix_spawn ----->|                   |
      |                     |-- fork ---------->| waits at the door
      |-- a request, with descriptors --------->|
      | <------------- taken, running, done ----| makes the container, stands behind it
      |                     |                   | waits at the door again
      |-- a second request at the same time --->|
      |                     |-- fork, if nobody takes it

What the caller has (threads, a large heap, handlers, a directory, an environment) is neither forked
nor changed. The worker that takes a request was forked before it came, with everything imported.

Only a container that went well, and left no mark on the worker, is followed by another one in it.
A worker that stands behind one for long, or does anything else, has itself replaced, and ends with it.

The door is open to the caller alone, and only as long as it is who it was when the helper was started:
the kernel tells who asks, and a caller that has given up rights since is sent away (service.dismiss_helper
where the kernel tells nothing). So is every caller once another copy of minictr lies where ours does: what
we have yet to import would be of that.

Side: host
"""

import _signal
import _socket
import _struct as struct
import gc
import importlib
import os
import select

from . import document, foreground, libc, paths, words
from .conversation import Conversation, standing, status_of
from .errors import Interrupted
from .request import Request
from .seat import Seat

HASTE = 0.005  # seconds in which one who waits at the door has taken a request
TIDY = 50  # requests after which a worker looks for what is left of them in memory, 40 KB each
_PASSED = 5  # descriptors that come with a request: the conversation, the directory, three streams
# What most containers need, imported before a request comes
_EARLY = (
    "causes", "cgroup_none", "cgroup_v1", "cgroup_v2", "cli", "config", "grants", "idmaps",
    "native", "newuidmap", "orphans", "resources", "seccomp", "seccomp_default", "seccomp_ready", "setns",
    "standin", "subids", "sysctls", "users", "variables",
)  # fmt: skip
_SOCK_SEQPACKET, _SCM_RIGHTS, _SCM_CREDENTIALS, _SCM_PIDFD = 5, 1, 2, 4  # include/linux/net.h, socket.h


def main(number: int) -> None:
    """Never returns. number: the descriptor of the door, a socket that keeps messages apart"""
    global _installed
    _installed = _copy()
    caller = standing(os.getppid(), status_of(os.getppid()))
    os.chdir("/")
    paths.close_from(3, {number}, paths.open_proc())
    for signal in range(1, _signal.NSIG):
        libc.default_signal(signal)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    if os.fork():  # nobody's child: the caller has nothing to wait for
        os._exit(0)
    os.setsid()
    libc.prctl_name("minictr-helper")
    door = _socket.socket(_socket.AF_UNIX, _SOCK_SEQPACKET, 0, number)
    for name in _EARLY:
        importlib.import_module("minictr." + name)
    document.loads(document.dumps({}))  # which takes in its half in C
    gc.disable()
    if hasattr(gc, "freeze"):  # since 3.7
        gc.freeze()
    _serve(door, caller)


_installed = ()  # type: tuple  # what `_copy` said at our start


def _copy() -> tuple:
    """Which copy of minictr lies in the place of ours; () for none."""
    folder = os.path.dirname(os.path.abspath(__file__))
    for path in (folder + "/__init__.py", os.path.dirname(folder)):  # the latter is the one file
        try:
            found = os.stat(path)
            return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        except NotADirectoryError:
            continue
        except OSError:
            break
    return ()


def _serve(door, caller: str) -> None:
    """Have somebody at the door at all times. One worker does for who asks one thing after the other: it
    comes back, which is 3 ms less than a new one, whose memory is shared and whose code has never run."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # they leave no zombies
    waiting = select.poll()
    waiting.register(door, select.POLLIN)
    workers, short = set(), True  # type: set[int], bool
    while workers or short:
        if short:
            reader, writer = os.pipe()
            if os.fork() == 0:
                for descriptor in workers | {reader}:
                    os.close(descriptor)
                try:
                    _work(Seat(door, writer), caller)
                finally:
                    os._exit(1)
            os.close(writer)
            workers.add(reader)
            waiting.register(reader, select.POLLIN)
            short = False
        for descriptor, event in waiting.poll():
            if descriptor != door.fileno():
                if os.read(descriptor, 1):
                    short = True
                    continue
                waiting.unregister(descriptor)  # it has ended, or was killed
                os.close(descriptor)
                workers.remove(descriptor)
            elif event & select.POLLHUP:  # the caller is gone
                os._exit(0)
            else:  # all may be busy, or one is on its way
                select.select([], [], [], HASTE)
                short = short or bool(select.select([door], [], [], 0)[0])
    os._exit(0)


def _work(seat: Seat, caller: str) -> None:
    """Do what is asked, until something of it sticks to us."""
    before = _marks()
    count = 0
    while seat.door is not None:
        talk = _take(seat, caller)
        if talk is None:
            return
        well = False
        try:
            Request(talk, seat).main()
            talk.close()
            count += 1
            if not count % TIDY:
                gc.collect()
            well = _marks() == before
        finally:  # a word to end may come late
            if not well:
                seat.leave()


def _marks() -> "tuple[list[str], set[int], bool]":
    """What a container could leave behind in us: descriptors, blocked signals, children."""
    try:
        os.waitpid(-1, os.WNOHANG)
        childless = False
    except ChildProcessError:
        childless = True
    return sorted(os.listdir("/proc/self/fd")), _signal.pthread_sigmask(_signal.SIG_BLOCK, ()), childless


def _take(seat: Seat, caller: str) -> "Conversation | None":
    """Take a request. None where there is no more to be done."""
    data, extra = seat.wait()
    passed, pid, ids, pidfd = [], 0, None, None
    for _, kind, packed in extra:
        if kind == _SCM_RIGHTS:
            passed = [item[0] for item in struct.iter_unpack("=i", packed[: len(packed) // 4 * 4])]
        elif kind == _SCM_CREDENTIALS:
            pid, *ids = struct.unpack("=iII", packed)
        elif kind == _SCM_PIDFD:
            pidfd = struct.unpack("=i", packed)[0]
    if not data or len(passed) != _PASSED:
        return None
    talk = Conversation(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, passed[0]))
    status = status_of(pid or "none")
    # the ids are of when it asked: by now it may execute a program with the set-user-ID bit (CVE-2013-4288)
    changed = ids != [os.getuid(), os.getgid()] or standing(pid or "none", status) != caller
    if changed or _is_over(pidfd) or _copy() != _installed:
        talk.say("stale")
        return None
    seat.pid = pid
    _signal.signal(_signal.SIGTERM, _interrupt)
    words.here = ""
    try:
        os.fchdir(passed[1])
    except PermissionError:  # the caller may not search it either: a path from there fails as its own does
        words.here = os.readlink("/proc/self/fd/%d" % passed[1])
    for target, descriptor in enumerate(passed[2:]):
        os.dup2(descriptor, target)
    for descriptor in passed[1:]:
        os.close(descriptor)
    for line in status.split("\n"):
        if line.startswith("Umask:"):  # since 4.7
            os.umask(int(line.split()[1], 8))
    talk.say("taken")
    return talk


def _is_over(pidfd: "int | None") -> bool:
    """Whether who asked has ended: what was looked at may be another one with its number. PIDFD, which is
    closed, is less than 0 where that was so before; None before Linux 6.5, which does not tell."""
    if pidfd is None:
        return False
    if pidfd < 0:
        return True
    over = bool(select.select([pidfd], [], [], 0)[0])
    os.close(pidfd)
    return over


def _interrupt(number: int, frame: object) -> None:
    foreground.pass_signals()  # once is enough
    raise Interrupted(number)
