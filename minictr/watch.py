"""The end of a process that is not our child: waited for, and its status where the kernel tells it.

A pidfd is readable once its process has ended (Linux 5.3), and since 6.15 whoever holds one from before
the end is told the exit status (PIDFD_GET_INFO). Without pidfds the process is looked at now and then.

Side: host
"""

import fcntl
import os
import select
import time

from . import libc, lifetime
from .attended import LONGEST

_FIRST = 10  # the descriptor's number is above this: no standard stream's, even where those are closed
_REAPING = 5  # seconds that a parent may take to wait for its process; the status is told after that
_RARELY = 0.25  # seconds between two looks at a process without a descriptor


class Watch:
    """A process, by its number, and the time of its start as lifetime.start_time has it: what has that
    number later is not taken for it. Holds a descriptor as long as it is referred to.

    kept: somebody keeps the number from being another's as yet
    """

    descriptor = -1

    def __init__(self, pid: int, started: int, kept: bool = False) -> None:
        self.pid, self.started = pid, started
        if not kept and not self._runs():
            return
        try:
            descriptor = libc.pidfd_open(pid)
        except OSError:  # ENOSYS: before 5.3; EPERM: a filter; ESRCH: it has just ended; EMFILE
            return
        try:
            self.descriptor = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST)
        except OSError:  # EMFILE
            return
        finally:
            os.close(descriptor)
        if not kept and not self._runs() and lifetime.start_time(pid):  # it ended, and another has its number
            self._close()

    def __del__(self) -> None:
        self._close()

    def _close(self, close=os.close) -> None:  # by now: where a program ends, `os` may be empty before we are
        if self.descriptor >= 0:
            close(self.descriptor)
            self.descriptor = -1

    def _runs(self) -> bool:
        return self.pid > 0 and lifetime.runs(self.pid, self.started)

    def over(self, deadline: "float | None") -> bool:
        """Wait for the end. False if it runs at DEADLINE, a time of time.monotonic(); None for no limit."""
        waiting = select.poll()
        if self.descriptor >= 0:
            waiting.register(self.descriptor, select.POLLIN)
        pause = 0.005
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if self.descriptor < 0:
                if not self._runs():
                    return True
                left = pause if left is None else min(left, pause)
                pause = min(pause * 1.5, _RARELY)
            if waiting.poll(None if left is None else min(max(left, 0), LONGEST) * 1000 + 1):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return self.descriptor < 0 and not self._runs()

    def status(self, deadline: "float | None") -> "int | None":
        """After the end: its status as wait(2) has it; None where it is not known by DEADLINE, or ever."""
        patience, pause = time.monotonic() + _REAPING, 0.001
        if deadline is not None:
            patience = min(patience, deadline)
        while self.descriptor >= 0:
            try:
                found = lifetime.exit_status(self.descriptor)
            except OSError:  # ENOTTY, EINVAL: before 6.13; ESRCH: before 6.15
                break
            if found is not None:
                return found
            if time.monotonic() > patience:
                break
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        return None
