"""The part of `os` that a start needs, under the names that it has there: `from . import unix as os`.

`os` imports `_collections_abc`, for the sake of os.environ: 0.7 ms, one part in twenty of a start, and a
tenth of `state`. Here are its C half, whole, and those of its Python functions that are on the way of
a container; each does what its namesake does (a test compares them). What is rarer takes `os` itself.

Side: both
"""

import sys

if sys.implementation.name != "cpython":  # PyPy has neither O_PATH nor a _ctypes that is like it
    raise ImportError("CPython is needed, and this is %s" % sys.implementation.name)

import posix
from posix import *  # noqa: F403
from posix import _exit, fstat, getcwd, lstat, mkdir, stat, strerror  # noqa: F401  what mypy cannot see above

_ENCODING = sys.getfilesystemencoding()


def fsencode(name: "str | bytes") -> bytes:
    return name if isinstance(name, bytes) else name.encode(_ENCODING, "surrogateescape")


def fsdecode(name: "str | bytes") -> str:
    return name if isinstance(name, str) else name.decode(_ENCODING, "surrogateescape")


def environment() -> "dict[str, str]":
    """What os.environ has. A program that we are a part of may have changed that, but not what is here."""
    if "os" in sys.modules:
        return dict(sys.modules["os"].environ)
    return {fsdecode(name): fsdecode(value) for name, value in posix.environ.items()}


def getenv(name: str, default: str = "") -> str:
    if "os" in sys.modules:
        return sys.modules["os"].environ.get(name, default)
    return fsdecode(posix.environ.get(fsencode(name), default))


def makedirs(name: str, mode: int = 0o777, exist_ok: bool = False) -> None:
    """Those above are nobody else's to write, whatever the umask: who may could put another in its place."""
    try:
        mkdir(name, mode)
    except FileNotFoundError:
        makedirs(path.dirname(name.rstrip("/")), 0o755, exist_ok=True)
        mkdir(name, mode)
    except OSError:
        if not exist_ok or not path.isdir(name):
            raise


class path:
    """As os.path, for text."""

    @staticmethod
    def join(first: str, *others: str) -> str:
        for other in others:
            if other[:1] == "/":
                first = other
            else:
                first += other if not first or first[-1] == "/" else "/" + other
        return first

    @staticmethod
    def split(name: str) -> "tuple[str, str]":
        end = name.rfind("/") + 1
        head = name[:end]
        return head.rstrip("/") or head, name[end:]

    @staticmethod
    def dirname(name: str) -> str:
        return path.split(name)[0]

    @staticmethod
    def basename(name: str) -> str:
        return path.split(name)[1]

    @staticmethod
    def normpath(name: str) -> str:
        if not name:
            return "."
        root = "//" if name[:2] == "//" and name[:3] != "///" else "/" if name[0] == "/" else ""  # POSIX
        kept = []  # type: list[str]
        for part in name.split("/"):
            if part in ("", "."):
                continue
            if part != ".." or (not root and not kept) or kept[-1:] == [".."]:
                kept.append(part)
            elif kept:
                kept.pop()
        return root + "/".join(kept) or "."

    @staticmethod
    def abspath(name: str) -> str:
        return path.normpath(name if name[:1] == "/" else path.join(getcwd(), name))

    @staticmethod
    def realpath(name: str) -> str:
        import os.path  # only where the host's own root is shown

        return os.path.realpath(name)

    @staticmethod
    def exists(name: "str | int") -> bool:
        return _mode(name) != 0

    @staticmethod
    def isdir(name: "str | int") -> bool:
        return _mode(name) & 0o170000 == 0o040000  # S_IFMT, S_IFDIR

    @staticmethod
    def isfile(name: "str | int") -> bool:
        return _mode(name) & 0o170000 == 0o100000  # S_IFREG

    @staticmethod
    def samestat(one, other) -> bool:
        return (one.st_ino, one.st_dev) == (other.st_ino, other.st_dev)


def _mode(name: "str | int") -> int:
    """0 for what is not there, or cannot be looked at."""
    try:
        return stat(name).st_mode
    except (OSError, ValueError):
        return 0
