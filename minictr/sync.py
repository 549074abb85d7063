"""How the runtime, the middle process and init talk: a socket, a line per message.

    runtime                                   init
      | <- warning, error  (at any point)      |
      | placed (maps are written, fds) ------> |
      | filter (if it has one) --------------> |
      | <------------------------- console fd  |
      | <------------------------------ ready  |
      | kept (by create: noted down) --------> |
      | <------------------------------- kept  |
      | go ----------------------------------> |
      | <-- end of file: the program runs      |

A message is a word and fields between tabs. Descriptors travel with the line they belong to.

Side: both
"""

from . import abi, libc
from . import unix as os
from .errors import ContainerError, Degradation, printable

MAX_MESSAGE = 1 << 20  # bytes: the longest filter of system calls that the kernel takes has an eighth of that
MAX_DESCRIPTORS = 253  # not yet taken: SCM_MAX_FD, unix(7)


class Channel:
    """One end of a connected pair of stream sockets, or of two pipes.

    outgoing: where what is said goes; INCOMING too where it is not given
    carries: descriptors may come in, MOST at once that nobody has taken yet
    """

    def __init__(self, incoming: int, outgoing: int = -1, carries: bool = False) -> None:
        self.incoming, self.outgoing = incoming, incoming if outgoing < 0 else outgoing
        self.pending, self.received = b"", []  # type: bytes, list[int]
        self.carries, self.most = carries, MAX_DESCRIPTORS

    def say(self, *fields: object, fds: "tuple[int, ...]" = ()) -> None:
        """Send a message, with a byte at least for every 252 of FDS. BrokenPipeError: the peer is gone."""
        line = "\t".join([_escape(str(field)) for field in fields]).encode("utf-8", "surrogateescape") + b"\n"
        if not fds:
            while line:
                line = line[os.write(self.outgoing, line) :]
            return
        while len(fds) > libc.MOST_DESCRIPTORS:  # a byte of the line for each handful
            libc.send_descriptors(self.outgoing, line[:1], fds[: libc.MOST_DESCRIPTORS])
            line, fds = line[1:], fds[libc.MOST_DESCRIPTORS :]
        libc.send_descriptors(self.outgoing, line, fds)

    def hear(self) -> "list[str] | None":
        """The next message, None at the end of file. Raises ContainerError for one without an end."""
        while b"\n" not in self.pending:
            data = self._read()
            if not data:
                return None
            self.pending += data
            if len(self.pending) > MAX_MESSAGE:
                raise garbled(["a line of more than %d bytes" % MAX_MESSAGE])
        line, _, self.pending = self.pending.partition(b"\n")
        return [_unescape(field) for field in line.decode("utf-8", "surrogateescape").split("\t")]

    def expect(self, word: str) -> "list[str]":
        """Wait for WORD; its fields come back.

        Raises ContainerError: the peer's own if it says "error"; another if it ends or strays.
        """
        said = self.hear()
        if said is None:
            raise ContainerError("wait for %s" % word, "the other process ended")
        if said[0] == "error":
            raise error_from(said[1:])
        if said[0] != word:
            raise ContainerError("wait for %s" % word, "the other process said %s" % said[0])
        return said[1:]

    def descriptor(self) -> int:
        """That which came with a message."""
        if not self.received:
            raise garbled(["no descriptor"])
        return self.received.pop()

    def say_error(self, error: ContainerError) -> None:
        self.say("error", error.doing, error.why, error.number, error.hint, error.status, error.cause)

    def say_degradation(self, record: Degradation) -> None:
        self.say("warning", *[getattr(record, name) for name in Degradation.__slots__])

    def close(self) -> None:
        os.close(self.incoming)
        if self.outgoing != self.incoming:
            os.close(self.outgoing)

    def _read(self) -> bytes:
        try:
            if not self.carries:
                return os.read(self.incoming, 65536)
            data, descriptors = libc.receive_descriptors(self.incoming, 16384)
        except ConnectionResetError:  # the peer ended with words of ours unread
            return b""
        self.received += descriptors
        if len(self.received) > self.most:
            raise garbled(["%d descriptors" % len(self.received)])
        return data


class understood:
    """What is read from a message inside: where that has not the fields it should have, a ContainerError
    leaves. Who speaks may be traced, or not be ours at all.

    said: the message
    """

    def __init__(self, said: "list[str]") -> None:
        self.said = said

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, (LookupError, TypeError, ValueError)):
            raise garbled(self.said) from None


def garbled(said: "list[str]") -> ContainerError:
    text = printable(" ".join(said)[:200])
    return ContainerError("listen to the other process", "it said what is no message: %s" % text)


def error_from(fields: "list[str]") -> ContainerError:
    with understood(["error"] + fields):
        doing, why, number, hint, status, cause = fields
        if not 0 < int(status) < 256:
            raise ValueError
        return ContainerError(doing, why, errno_in(number), hint, int(status), cause)


def degradation_from(fields: "list[str]") -> Degradation:
    with understood(["warning"] + fields):
        values = dict(zip(Degradation.__slots__, fields))  # type: dict[str, object]
        values["errno"] = errno_in(fields[Degradation.__slots__.index("errno")])
        return Degradation(**values)  # type: ignore[arg-type]


def errno_in(text: str) -> int:
    """Raises ValueError where it is none."""
    if not 0 <= int(text) <= abi.MAX_ERRNO:
        raise ValueError
    return int(text)


def _escape(text: str) -> str:
    if "\\" in text or "\t" in text or "\n" in text:
        text = text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
    return text


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    pieces = [part.replace("\\t", "\t").replace("\\n", "\n") for part in text.split("\\\\")]
    return "\\".join(pieces)
