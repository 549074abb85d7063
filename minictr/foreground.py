"""Standing behind a container: signals passed on, a terminal relayed, the end waited for.

Side: host
"""

import _signal  # `signal` imports enum: 3 ms
import _thread
import time

from . import abi
from . import unix as os
from .errors import UNENDING, ContainerError, Interrupted, step

# What is not passed on: these concern the runtime alone, or cannot be caught
_OWN = (
    "SIGKILL", "SIGSTOP", "SIGCHLD", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT",
    "SIGSYS", "SIGPIPE", "SIGTSTP", "SIGTTIN", "SIGTTOU",
)  # fmt: skip


def forwarded() -> "set[int]":
    # those from 32 up to SIGRTMIN are the C library's own
    numbers = set(range(1, 32)) | set(range(_signal.SIGRTMIN, _signal.NSIG))
    return numbers - {getattr(_signal, name) for name in _OWN}


LONG = 1e6  # seconds that are waited at once, some days: poll(2) takes milliseconds as an int
STUBBORN = 2.0  # seconds for a process that was killed to end
_SETTLED = 0.25  # seconds after which a program is taken for one that goes on
_STOPPING = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)


def hold_signals() -> "tuple[set[int], dict]":
    """Until there is a process to pass them to, signals stay pending; those that ask us to end, end
    the making, and what was made is undone. SIGCHLD is made to arrive whatever the caller ignored:
    an ignored one would have the kernel reap the container. What `give_back` takes comes back."""
    handlers = {_signal.SIGCHLD: _signal.SIG_DFL}  # type: dict
    for number in _STOPPING:
        if _signal.getsignal(number) != _signal.SIG_IGN:  # nohup(1) means it
            handlers[number] = _interrupt
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, (forwarded() | {_signal.SIGCHLD}) - set(_STOPPING))
    before = {}
    try:
        for number, handler in handlers.items():
            before[number] = _signal.signal(number, handler)
    except ValueError:
        pass  # we are in a thread of the caller's, and signals are the main thread's business
    return mask, before


def give_back(held: "tuple[set[int], dict]") -> None:
    """The caller's own mask and handlers again; what came for the container is taken off before."""
    mask, handlers = held
    try:
        while _signal.sigtimedwait(forwarded() - mask, 0) is not None:
            pass
    except OSError as error:  # a filter around us: they come to the caller instead, whose container is made
        if error.errno not in (abi.ENOSYS, abi.EPERM):
            raise
    for number, handler in handlers.items():
        if handler is not None:  # else it is one of a library in C
            _signal.signal(number, handler)
    # not SIG_SETMASK: a caller may have blocked the C library's own signals, which Python warns of
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (forwarded() | {_signal.SIGCHLD}) - mask)


class undisturbed:
    """What is made is noted down before a signal may end the making: else nobody could undo it."""

    def __enter__(self) -> None:
        self.mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, set(_STOPPING))

    def __exit__(self, *_: object) -> None:
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, set(_STOPPING) - self.mask)


def pass_signals() -> None:
    """From now on every signal is for the container."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, set(_STOPPING))


class interruptible:
    """What is done beside a program that runs, and still ends with it where a signal asks us to end.

    held: as of `hold_signals`: what the caller has blocked stays so
    """

    def __init__(self, held: "tuple[set[int], dict]") -> None:
        self.numbers = set(_STOPPING) - held[0]

    def __enter__(self) -> None:
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, self.numbers)

    def __exit__(self, *_: object) -> None:
        pass_signals()


def _interrupt(number: int, frame: object) -> None:
    pass_signals()  # once is enough: what follows is the undoing
    raise Interrupted(number)


def wait(pid: int, timeout: float, end) -> int:
    """Pass signals on to PID until it ends; its exit status, 128 + N for signal N.

    timeout: seconds until END is called with PID, 0 for never; it tells in how many it is due again, by a
        number below 0 where it has killed PID
    """
    deadline = time.monotonic() + timeout if timeout else 0.0
    listen = forwarded() | {_signal.SIGCHLD}
    slim_at = time.monotonic() + _SETTLED
    while True:
        status = ended(pid)
        if status is not None:
            return status
        left = max(deadline - time.monotonic(), 0) if deadline else LONG
        if not left:
            again = abs(end(pid))
            deadline = time.monotonic() + again if again else 0.0
            continue
        if slim_at and time.monotonic() >= slim_at:
            if settle():
                from . import slim  # which that has loaded

                slim.down()
            slim_at = 0.0
        left = min(left, _SETTLED) if slim_at else left
        if _thread._count():  # a thread of the caller's may be given SIGCHLD, and lose it
            left = min(left, 0.05)
        with step("wait for the end of the program"):
            caught = _signal.sigtimedwait(listen, left)
        # stopped, and continued after its time, it comes back with whatever lies in memory (CPython 3.11)
        if caught is not None and caught.si_signo in listen and caught.si_signo != _signal.SIGCHLD:
            send(pid, caught.si_signo)


def settle() -> bool:
    """For a program that goes on: load what its end may need. By then an upgrade may have put another version
    in the place of ours, whose modules need not fit those we have. False where it has done so already."""
    try:
        from . import cgroup_stats, oom, slim  # noqa: F401  # not for who ends at once
    except Exception:  # what lies there now may fail by anything, which is no reason for the program to end
        return False
    return True


def ended(pid: int) -> "int | None":
    """The exit status of the child PID, None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def finish(pid: int, patience: float = STUBBORN) -> None:
    """Kill the child PID, and wait for its end. Raises ContainerError where that does not come.

    patience: seconds. The kernel ends nobody who waits for a FUSE file system that has taken the question and
        does not answer; who serves it may be the container's, and ends with it
    """
    send(pid, _signal.SIGKILL)
    deadline, pause = time.monotonic() + patience, 0.0002
    while ended(pid) is None:
        if time.monotonic() > deadline:
            hint = "end who serves the file system that it waits for: delete --force, if a container does"
            raise ContainerError("end process %d" % pid, UNENDING, hint=hint)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def send(pid: int, number: int) -> None:
    """PID is our child and not yet reaped: its number cannot be another's."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
