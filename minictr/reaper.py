"""A process 1 that passes signals on to the program and reaps what is orphaned (--init).

Side: container
"""

import _signal  # `signal` imports enum: 3 ms

from . import abi
from . import unix as os
from .errors import step

_FILTERED = "its filter of system calls must allow kill, rt_sigtimedwait, setpgid and wait4"
_HINTS = {abi.EPERM: _FILTERED, abi.EACCES: _FILTERED, abi.ENOSYS: _FILTERED}


def keep(me) -> None:
    """Stay as process 1 that passes signals on and reaps; the program becomes its child."""
    everything = set(range(1, 32)) | set(range(_signal.SIGRTMIN, _signal.NSIG))  # but the C library's own
    everything -= {_signal.SIGKILL, _signal.SIGSTOP}
    _signal.pthread_sigmask(_signal.SIG_SETMASK, everything)
    with step("keep a process 1 above the program (--init)", hints=_HINTS):
        _try_out()
        child = os.fork()
    if child == 0:
        with step("make a process group of its own for the program (--init)", hints=_HINTS):
            os.setpgid(0, 0)  # or ^C would reach it twice: from the terminal and from us
        if me.plan.terminal:
            os.tcsetpgrp(0, os.getpid())  # SIGTTOU is blocked
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        return
    me.channel.close()
    if me.standin >= 0:
        os.close(me.standin)
    for passed in range(3, 3 + me.plan.spec.preserve_fds):
        os.close(passed)  # the program's: who reads from a pipe waits until the last writer has closed it
    while True:
        number = _signal.sigwait(everything)
        if number != _signal.SIGCHLD:
            _pass_on(child, number)
            continue
        status = _reap(child)
        if status is not None:
            os._exit(status)


def _try_out() -> None:
    """What is done later on, while there is somebody to tell: the filter is in force already."""
    os.kill(os.getpid(), 0)
    _signal.sigtimedwait((), 0)
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pass


def _pass_on(child: int, number: int) -> None:
    try:
        os.kill(child, number)
    except ProcessLookupError:
        pass  # it has just ended: SIGCHLD is on its way


def _reap(child: int) -> "int | None":
    """Reap all that have ended; the exit status of CHILD if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
