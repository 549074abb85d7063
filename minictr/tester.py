"""Throw-away processes, in which `doctor` tries out what a container needs.

    doctor                       tester                            child
      | fork --------------------> |                                |
      |                            | clone(namespaces) -----------> |
      |                            | write the id maps              | wait
      |                            | go --------------------------> | try
      | <------------------------------------- a result, in JSON -- |

The tester has a process group of its own, which is killed when the time is over. Whatever is
mounted is mounted in a namespace that ends with the child; nothing is written on the host.

Side: both
"""

import json
import os
import select
import signal
import time

from . import abi, libc, maps, namespaces, paths
from .errors import ContainerError
from .record import Record

SECONDS = 10  # for one probe


class Result(Record):
    """ok: it works; detail: what was seen
    code, number, said: what was refused, with which errno, in which words; fix: where that is known
    """

    ok: bool
    detail: str = ""
    code: str = ""
    number: int = 0
    said: str = ""
    fix: str = ""


class Refused(Exception):
    """CODE was refused with the errno NUMBER (see causes.why)."""

    def __init__(self, code: str, number: int = 0, said: str = "", fix: str = "") -> None:
        super().__init__(code, number, said, fix)
        self.result = Result(ok=False, code=code, number=number, said=said, fix=fix)


class trying:
    """An error in here is a refusal of CODE."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, ContainerError):
            raise Refused(self.code, error.number, error.why, error.hint) from error
        if isinstance(error, OSError):
            raise Refused(self.code, error.errno or 0) from error


class Ground(Record):
    """How a container starts here: with a user namespace of these maps, or, where TABLE is None,
    without one."""

    table: "maps.Maps | None" = None


def attempt(body, *arguments: object, seconds: float = SECONDS) -> Result:
    """What BODY(*arguments, out), run in a tester, says on the descriptor OUT."""
    reader, writer = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        return Result(ok=False, code="fork", number=error.errno or 0)
    if pid == 0:
        os.close(reader)
        os.setpgid(0, 0)
        libc.prctl(abi.PR_SET_PDEATHSIG, signal.SIGKILL)
        _report(writer, body, *(arguments + (writer,)))
    os.close(writer)
    try:
        return _result(reader, time.monotonic() + seconds)
    finally:
        os.close(reader)
        _end(pid)


def within(ground: Ground, flags: int, body, out: int) -> None:
    """In a tester: run BODY() in a child with the namespaces FLAGS, which reports on OUT."""
    reader, writer = os.pipe()
    users = abi.CLONE_NEWUSER if ground.table else 0
    with trying("userns" if users else "clone"):
        paths.own_proc()  # or the maps would be those of another process
        pid = namespaces.clone(paths.open_proc(), users | flags)
    if pid == 0:
        os.close(writer)
        _report(out, _settle, ground, reader, body)
    os.close(reader)
    try:
        if ground.table:
            with trying("maps"):
                maps.write(paths.open_proc(), pid, ground.table, no_step_down)
        os.write(writer, b"1")
    finally:
        os.close(writer)
        os.waitpid(pid, 0)


def _settle(ground: Ground, reader: int, body) -> "str | None":
    """In the child: wait for the maps, become root of the namespace, and go."""
    libc.prctl(abi.PR_SET_PDEATHSIG, signal.SIGKILL)
    if not os.read(reader, 1):
        os._exit(1)  # the tester has said why
    if ground.table:
        with trying("ids"):
            if not ground.table.deny_setgroups:
                os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        libc.prctl(abi.PR_SET_PDEATHSIG, signal.SIGKILL)  # the change of ids took it away
        libc.prctl(abi.PR_SET_DUMPABLE, 1)  # and gave /proc/self to somebody else
    return body()


def no_step_down(record) -> None:
    raise record.as_error()


def _report(out: int, body, *arguments: object) -> None:
    """Run BODY; what it returns is the detail, None is for what somebody else reports. Never returns."""
    result = None  # type: Result | None
    try:
        detail = body(*arguments)
        result = None if detail is None else Result(ok=True, detail=detail)
    except Refused as refused:
        result = refused.result
    except BaseException as error:  # a bug of ours must be heard
        result = Result(ok=False, code="probe", said=repr(error))
    finally:
        if result is not None:
            os.write(out, json.dumps(result.__dict__).encode() + b"\n")
        os._exit(0)


def _result(reader: int, end: float) -> Result:
    said = b""
    while b"\n" not in said:
        left = max(0.0, end - time.monotonic())
        if not select.select([reader], [], [], left)[0]:
            return Result(ok=False, code="probe", said="no answer in time")
        piece = os.read(reader, 65536)
        if not piece:
            return Result(ok=False, code="probe", said="the probe was killed")
        said += piece
    return Result(**json.loads(said.partition(b"\n")[0].decode()))


def _end(pid: int) -> None:
    """The tester and what it started are gone afterwards, and waited for: orphans of its group come
    to us (`adopting`). Its number is still its own, as nobody has waited for it."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # a set-uid helper: it ends by itself
            pass
    for group in (pid, -pid):
        try:
            while os.waitpid(group, 0):
                pass
        except ChildProcessError:
            pass


class adopting:
    """In here our orphans come to us and not to process 1, and children are waited for."""

    def __enter__(self) -> None:
        self.handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.change(1)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.change(0)
        signal.signal(signal.SIGCHLD, self.handler)

    @staticmethod
    def change(on: int) -> None:
        try:
            libc.prctl(abi.PR_SET_CHILD_SUBREAPER, on)
        except OSError:
            pass  # before 3.4, or filtered: process 1 has them
