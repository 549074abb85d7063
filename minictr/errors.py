"""What goes wrong, in words: errors that end a start, and records of protection that was lost.

Side: both
"""

from . import unix as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence  # noqa: F401

EXIT_ERROR = 125  # ours: nothing was run
EXIT_REQUIRED = 123  # isolation that was required cannot be had
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
UNENDING = "it does not end, not even when killed"
REPORT = "please report this"  # the hint of what should not have happened


class ContainerError(Exception):
    """What was being done, why it failed, what may help.

    doing: "mount proc on /proc"; number: an errno, 0 if the kernel was not asked
    status: the exit status that minictr leaves with
    cause: the word under which `causes` may know more, "" for none
    degradations, warnings: for callers of the library, what was told until then
    """

    degradations = ()  # type: Sequence[Degradation]
    warnings = ()  # type: Sequence[str]

    def __init__(
        self, doing: str, why: str = "", number: int = 0, hint: str = "",
        status: int = EXIT_ERROR, cause: str = "",
    ) -> None:  # fmt: skip
        super().__init__(doing, why, number, hint, status)
        self.doing, self.number, self.hint, self.status, self.cause = doing, number, hint, status, cause
        self.why = why or os.strerror(number)

    def __str__(self) -> str:
        text = "%s: %s" % (self.doing, self.why) if self.doing else self.why
        return text + ("; hint: " + self.hint if self.hint else "")


class Interrupted(BaseException):
    """A signal ends the making of a container. No step down is taken because of it, so nothing that
    copes with a refusal may catch it."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted by signal %d" % number)
        self.status = 128 + number


class step:
    """Name a piece of work; an OSError inside it leaves as a ContainerError.

    hints: a sentence for an errno, where the cause is known here better than in `causes`
    """

    __slots__ = ("doing", "hints")

    def __init__(self, doing: str, hints: "dict[int, str]" = {}) -> None:
        self.doing, self.hints = doing, hints

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, OSError):
            raise from_os(self.doing, error, self.hints.get(error.errno or 0, "")) from error


def from_os(doing: str, error: OSError, hint: str = "") -> ContainerError:
    """ERROR as what DOING failed by; with the file that it names, unless DOING has it already."""
    number = error.errno or 0
    why = os.strerror(number) if number else str(error)
    name = error.filename
    if name and not isinstance(name, int) and str(name) not in doing and name != ".":  # int: a descriptor
        why = "%s: %s" % (printable(name), why)
    return ContainerError(doing, why, number, hint)


def from_any(doing: str, error: BaseException) -> ContainerError:
    """Whatever has ended DOING, as an error that can be told."""
    if isinstance(error, ContainerError):
        return error
    if isinstance(error, OSError):
        return from_os(doing, error)
    if isinstance(error, (MemoryError, SystemError)):  # the latter of C that had no memory, either
        return ContainerError(doing, "", 12)  # ENOMEM
    if isinstance(error, ImportError):  # what was loaded before is of another version, or gone
        return ContainerError(doing, "load the Python library: %s" % error)
    return ContainerError(doing, repr(error), 0, REPORT)  # a bug of ours


def cleaning(doing: str, error: Exception) -> ContainerError:
    """ERROR, which a piece of cleaning up has failed by."""
    if isinstance(error, ContainerError):
        return ContainerError(doing, str(error), error.number)
    return from_any(doing, error)


class Degradation:
    """A step down that was taken: which protection was wanted, which was got, what that loses.

    code: a short word for programs ("root-fallback"); layer: the protection ("root")
    errno: the kernel's refusal, 0 if it was not asked; why, lost, fix: sentences
    level: "warning"; or "notice" for what nobody asked for, which is logged but not shown
    cause: the word under which `causes` knows why and fix, which the runtime fills in: inside the
        container nothing more is looked up
    """

    FIELDS = ("code", "layer", "wanted", "got", "errno", "why", "lost", "fix", "level")
    __slots__ = FIELDS + ("cause",)

    def __init__(
        self, code: str, layer: str, wanted: str, got: str, lost: str, errno: int = 0,
        why: str = "", fix: str = "", level: str = "warning", cause: str = "",
    ) -> None:  # fmt: skip
        self.code, self.layer, self.wanted, self.got, self.lost = code, layer, wanted, got, lost
        self.errno, self.why, self.fix, self.level, self.cause = errno, why, fix, level, cause

    def __str__(self) -> str:
        text = "%s: wanted %s, got %s" % (self.layer, self.wanted, self.got)
        why = self.why or (os.strerror(self.errno) if self.errno else "")
        for word, value in (("", why), ("lost: ", self.lost), ("fix: ", self.fix)):
            text += "; " + word + value if value else ""
        return text

    def as_dict(self) -> "dict[str, object]":
        return {name: getattr(self, name) for name in self.FIELDS}

    def as_error(self) -> ContainerError:
        """The same, where steps down are refused."""
        doing = "%s: %s is required" % (self.layer, self.wanted)
        why = self.why or ("" if self.errno else "it cannot be had")
        return ContainerError(doing, why, self.errno, self.fix, EXIT_REQUIRED, self.cause)


def printable(value: object) -> str:
    """VALUE as text on one line: a path or name from outside must not write a line of its own."""
    text = os.fsdecode(value) if isinstance(value, (bytes, str)) else str(value)
    if text.isprintable():  # nearly always, and a start asks for each of its mounts
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:  # how Python keeps a byte that is no text (PEP 383)
        return "\\x%02x" % (number - 0xDC00)
    return ascii(char)[1:-1]
