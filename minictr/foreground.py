"""Standing behind a container: signals passed on, a terminal relayed, the end waited for.

Side: host
"""

import os
import time

import _signal  # `signal` imports enum: 3 ms

from .errors import ContainerError

# What is not passed on: these concern the runtime alone, or cannot be caught
_OWN = (
    "SIGKILL", "SIGSTOP", "SIGCHLD", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT",
    "SIGSYS", "SIGPIPE", "SIGTSTP", "SIGTTIN", "SIGTTOU",
)  # fmt: skip


def forwarded() -> "set[int]":
    # those from 32 up to SIGRTMIN are the C library's own
    numbers = set(range(1, 32)) | set(range(_signal.SIGRTMIN, _signal.NSIG))
    return numbers - {getattr(_signal, name) for name in _OWN}


_STOPPING = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)


def hold_signals() -> None:
    """Until there is a process to pass them to, signals stay pending; those that ask us to end, end
    the making, and what was made is undone. SIGCHLD is made to arrive whatever the caller ignored:
    an ignored one would have the kernel reap the container."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_BLOCK, (forwarded() | {_signal.SIGCHLD}) - set(_STOPPING))
    for number in _STOPPING:
        if _signal.getsignal(number) != _signal.SIG_IGN:  # nohup(1) means it
            _signal.signal(number, _interrupt)


def pass_signals() -> None:
    """From now on every signal is for the container."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, set(_STOPPING))


def _interrupt(number: int, frame: object) -> None:
    pass_signals()  # once is enough: what follows is the undoing
    raise ContainerError("make the container", "interrupted by signal %d" % number, status=128 + number)


def wait(pid: int, timeout: float, end) -> int:
    """Pass signals on to PID until it ends; its exit status, 128 + N for signal N.

    timeout: seconds until END is called with PID, 0 for never
    """
    deadline = time.monotonic() + timeout if timeout else 0.0
    listen = forwarded() | {_signal.SIGCHLD}
    while True:
        status = ended(pid)
        if status is not None:
            return status
        if deadline:
            left = deadline - time.monotonic()
            caught = _signal.sigtimedwait(listen, max(left, 0))
            if caught is None:
                end(pid)
                deadline = 0.0
                continue
            number = caught.si_signo
        else:
            number = _signal.sigwait(listen)
        if number != _signal.SIGCHLD:
            send(pid, number)


def ended(pid: int) -> "int | None":
    """The exit status of the child PID, None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def send(pid: int, number: int) -> None:
    """PID is our child and not yet reaped: its number cannot be another's."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
