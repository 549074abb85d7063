"""A program that a worker stands behind, as the library's caller has it: streams, end, result.

Side: host
"""

import errno
import os
import select
import time

from . import service
from .conversation import Conversation  # noqa: F401
from .errors import EXIT_ERROR, EXIT_REQUIRED, ContainerError, Degradation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Union

    Stream = Union[int, IO[Any], None]  # as subprocess.Popen takes it

PIPE, STDOUT, DEVNULL = -1, -2, -3  # the numbers that subprocess has
PATIENCE = 30  # seconds that the end of a killed container may take
GRACE = 1  # seconds for the rest of its output: what exec has started may live on, and hold it open
LONGEST = 1000000  # seconds that are waited at once: poll(2) takes milliseconds as an int
_NOTHING = memoryview(b"")


class IsolationError(ContainerError):
    """Isolation that was required (strict=True, or a bundle without allow_degraded=True) cannot be had."""


class Ending:
    """How a program ended, as far as that is known.

    args: its words, None for a bundle's; id: of the container
    returncode: the exit status, or -N where signal N ended it; None where it is not known (`Container.wait`)
    signal: that N, else None
    oom_killed: the kernel killed a process of the container for want of memory
    stdout, stderr: what was captured, else None
    degradations: an errors.Degradation for each protection that was not to be had as it was wanted
    warnings: sentences, which the command would have said on its stderr
    """

    returncode = None  # type: int | None

    def __init__(self, args: "list[str] | None", identifier: str, wait_status: "int | None") -> None:
        self.args, self.id = args, identifier
        self.signal = None  # type: int | None
        if wait_status is not None:
            self.signal = os.WTERMSIG(wait_status) if os.WIFSIGNALED(wait_status) else None
            self.returncode = -self.signal if self.signal else os.WEXITSTATUS(wait_status)
        self.oom_killed = False
        self.stdout = self.stderr = None  # type: Any  # bytes, or str with text=True; as in subprocess
        self.degradations = []  # type: list[Degradation]
        self.warnings = []  # type: list[str]

    def check_returncode(self) -> None:
        """Raise CalledProcessError if the program failed, ContainerError if nobody knows."""
        if self.returncode is None:
            raise ContainerError(
                "check the exit status of container %s" % self.id,
                "it is not known: the program was nobody's child here",
                hint="Linux 6.15, or `minictr run --keep`, which notes it down",
            )
        if self.returncode:
            from .failures import CalledProcessError  # subprocess: 8 ms, where it is not loaded anyway

            raise CalledProcessError(self)

    def __repr__(self) -> str:
        shown = ["args=%r" % (self.args,), "returncode=%r" % (self.returncode,)]
        for name in ("oom_killed", "stdout", "stderr", "warnings"):
            if getattr(self, name):
                shown.append("%s=%r" % (name, getattr(self, name)))
        return "%s(%s)" % (type(self).__name__, ", ".join(shown))


class CompletedProcess(Ending):
    """The Ending of a program that somebody of ours has waited for: its returncode is known."""

    returncode = 0  # type: int


class Attended:
    """A program from its start to its end. stdin, stdout, stderr: as subprocess.Popen takes them

    ends: our ends of pipes, by stream; output: what was read of them; running: (id, pid) once it is so
    mark: when the container was created, then; and of a detached one the start time of its first process
    terminal: the descriptor of its terminal then, -1 for none
    maker: the process that has started it; 0 before; failed: what was said of why it did not run
    depth: how many calls of `pump` are on their way: a signal handler of the caller's may be in the second,
        and close what the first one waits for: with `closing`, that does so at its end
    """

    def __init__(self, kind: str, wish: "dict", args: "list[str] | None", streams: tuple) -> None:
        self.kind, self.wish, self.args, self.streams = kind, wish, args, streams
        self.ends = {}  # type: dict[int, int]
        self.output = {1: [], 2: []}  # type: dict[int, list[bytes]]
        self.talk = None  # type: Conversation | None
        self.maker = self.depth = 0
        self.closing = False
        self.running = None  # type: tuple[str, int] | None
        self.records = []  # type: list[dict]
        self.mark = (0, "")  # type: tuple[int, str]
        self.terminal = -1
        self.result = None  # type: CompletedProcess | None
        self.failed = None  # type: tuple | None

    def start(self) -> None:
        """Ask for it; whether it comes about is for `pump` to find out."""
        given, opened = _open_streams(self.streams, self.ends)
        self.maker = os.getpid()
        try:
            self.talk = service.open(given, self.kind, self.wish)
        except BaseException:
            self.maker = 0
            self.close()
            raise
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def say(self, word: str) -> None:
        """To the worker; that it is gone is heard, not said."""
        assert self.talk is not None
        self.talk.say(word)

    def pump(
        self, until, deadline: "float | None" = None, data: memoryview = _NOTHING, streams: bool = True
    ) -> bool:
        """Take in what comes, until UNTIL(). False if that does not hold at the time DEADLINE, which may be
        over: what has come by now is taken in.

        data: for standard input, which is closed after it; streams: whether output is read
        """
        self.depth += 1
        try:
            return self._pump(until, deadline, data, streams)
        finally:
            self.depth -= 1
            if self.closing and not self.depth:
                self.close()

    def _pump(self, until, deadline: "float | None", data: memoryview, streams: bool) -> bool:
        waiting, talk, looked = select.poll(), self.talk, False
        assert talk is not None
        numbers = {}  # type: dict[int, int]
        if streams:
            self._feed(data, waiting, numbers)
            for number in self.output:
                if number in self.ends:
                    numbers[self.ends[number]] = number
                    waiting.register(self.ends[number], select.POLLIN)
        if not talk.over:
            waiting.register(talk.sock, select.POLLIN)
        while True:
            self._listen()
            if until():
                return True
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0 and looked:
                return False
            looked = True
            patience = None if left is None else min(max(left, 0), LONGEST) * 1000 + 1
            for descriptor, _ in waiting.poll(patience):
                number = numbers.get(descriptor, -1)
                if number == 0:
                    data = self._write(data)
                elif number > 0:
                    self._read(number)
                else:
                    talk.fill()
                    if talk.over:
                        waiting.unregister(talk.sock)
                if number >= 0 and number not in self.ends:
                    waiting.unregister(descriptor)

    def _feed(self, data: memoryview, waiting, numbers: "dict[int, int]") -> None:
        if 0 not in self.ends:
            return
        if not data:
            self._close(0)
            return
        os.set_blocking(self.ends[0], False)
        numbers[self.ends[0]] = 0
        waiting.register(self.ends[0], select.POLLOUT)

    def _write(self, data: memoryview) -> memoryview:
        try:
            data = data[os.write(self.ends[0], data) :]
        except BlockingIOError:
            return data
        except BrokenPipeError:  # the program does not read on, which is its business
            data = data[:0]
        if not data:
            self._close(0)
        return data

    def _read(self, number: int) -> None:
        piece = os.read(self.ends[number], 1 << 16)
        if piece:
            self.output[number].append(piece)
        else:
            self._close(number)

    def _listen(self) -> None:
        """What the worker has said."""
        assert self.talk is not None
        while not self.ended:
            said = self.talk.heard()
            if said is None:
                if self.talk.over:
                    why = "the library's helper was killed"
                    self.failed = ("error", ("run the program", why, 0, "", EXIT_ERROR), (), ())
                return
            if said[0] == "running":
                if self.talk.full:  # nobody would hold the terminal that it lives by
                    doing = "take the terminal of the container"
                    raise ContainerError(doing, "", errno.EMFILE, "ulimit -n 1024")
                self.running = said[1:3]
                self.terminal = self.talk.received.pop() if self.talk.received else -1
                self.records = said[3]
                self.mark = said[4]
            elif said[0] == "done":
                identifier = self.running[0] if self.running else ""
                self.result = CompletedProcess(self.args, identifier, said[1])
                self.result.oom_killed = said[2]
                self.result.degradations = [Degradation(**record) for record in said[3]]
                self.result.warnings = list(said[4])
            else:
                self.failed = said

    def failure(self) -> ContainerError:
        """Why it did not run, anew each time: one that was raised and kept would hold, by its traceback, all
        that the caller's functions had at hand, and a container ends with the last reference to it."""
        assert self.failed is not None
        return error_from(self.failed)

    @property
    def ended(self) -> bool:
        return self.result is not None or self.failed is not None

    def all_over(self) -> bool:
        """It has ended, and all it printed was read; of one that failed to start nothing is awaited."""
        return self.failed is not None or (self.result is not None and not set(self.ends) & {1, 2})

    def end(self) -> None:
        """Kill it, and wait until it is cleaned up."""
        if self.talk is None:
            return
        if not self.ended:
            self.say("end")
            self.pump(lambda: self.ended, time.monotonic() + PATIENCE)
            self.pump(self.all_over, time.monotonic() + GRACE)
        self.close()

    def taken(self) -> "tuple[bytes | None, bytes | None]":
        """What was read of both streams, None for one that was not captured."""
        out, err = (
            b"".join(self.output[number]) if self.streams[number] == PIPE else None for number in (1, 2)
        )
        return out, err

    def close(self) -> None:
        for number in list(self.ends):
            self._close(number)
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1
        if self.talk is not None:
            self.closing = self.depth > 0
            if self.closing:
                self.talk.end()
            else:
                self.talk.close()
            self.talk.over = True

    def _close(self, number: int) -> None:
        os.close(self.ends.pop(number))


def error_from(said: "tuple") -> ContainerError:
    """The error of a message: its words, the steps down and the warnings until then."""
    words = said[1]
    error = (IsolationError if words[4] == EXIT_REQUIRED else ContainerError)(*words)
    error.degradations = [Degradation(**record) for record in said[2]]
    error.warnings = list(said[3])
    return error


def _open_streams(streams: tuple, ends: "dict[int, int]") -> "tuple[tuple[int, int, int], list[int]]":
    """The descriptors for the program, and those of them that are ours to close. ENDS gets ours of pipes."""
    given, opened = {}, []  # type: dict[int, int], list[int]

    def keep(descriptor: int) -> int:
        opened.append(descriptor)
        return descriptor

    try:
        for number, stream in enumerate(streams):  # first what is there, or a pipe could take its number
            if stream is None:
                given[number] = (
                    number if _is_open(number) else keep(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
                )
            elif stream == DEVNULL:
                given[number] = keep(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
            elif stream == STDOUT and number != 2:
                raise ValueError("STDOUT is for stderr alone")
            elif stream not in (PIPE, STDOUT):
                given[number] = stream if isinstance(stream, int) else stream.fileno()
                os.fstat(given[number])  # EBADF is the caller's to hear, before anybody else meets it
        for number, stream in enumerate(streams):
            if stream == PIPE:
                reader, writer = _pipe()
                given[number] = keep(writer if number else reader)
                ends[number] = reader if number else writer
        if streams[2] == STDOUT:
            given[2] = given[1]
        return (given[0], given[1], given[2]), opened
    except BaseException:
        for descriptor in opened + list(ends.values()):
            os.close(descriptor)
        ends.clear()
        raise


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _pipe() -> "tuple[int, int]":
    """A pipe whose numbers are no standard stream's, even where the caller has closed those."""
    import fcntl

    found = []
    for descriptor in os.pipe():
        if descriptor < 3:
            moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
            os.close(descriptor)
            descriptor = moved
        found.append(descriptor)
    return found[0], found[1]
