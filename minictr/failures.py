"""The library's exceptions that are subprocess's as well, so that code written for those goes on working.

A module of its own, as subprocess takes 8 ms to import where the caller has not done so.

Side: host
"""

import subprocess

from .errors import EXIT_ERROR, ContainerError


def _describe(error: ContainerError, doing: str, why: str) -> None:
    """What every ContainerError has; its own constructor would call subprocess's."""
    error.doing, error.why = doing, why
    error.number, error.hint, error.status, error.cause = 0, "", EXIT_ERROR, ""


class TimeoutExpired(ContainerError, subprocess.TimeoutExpired):
    """The time was over; the container was killed, whole. cmd, timeout, output, stdout, stderr: as there"""

    def __init__(self, cmd, timeout: float, output=None, stderr=None) -> None:
        _describe(self, "run %s" % cmd, "timed out after %s seconds" % timeout)
        subprocess.TimeoutExpired.__init__(self, cmd, timeout, output, stderr)

    __str__ = subprocess.TimeoutExpired.__str__


class CalledProcessError(ContainerError, subprocess.CalledProcessError):
    """The program failed. completed: the whole CompletedProcess; the rest as there"""

    def __init__(self, completed) -> None:
        _describe(self, "run %s" % completed.args, "it failed")
        subprocess.CalledProcessError.__init__(
            self, completed.returncode, completed.args, completed.stdout, completed.stderr
        )
        self.completed = completed

    __str__ = subprocess.CalledProcessError.__str__
