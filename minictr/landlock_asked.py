"""The options --landlock, --landlock-connect, --landlock-bind and --landlock-scope.

A wish is a tuple of words, the same in the Spec, in state.json and for `exec`: "rx=/usr", "connect=443",
"bind=none", "scope=signal". Nothing else is kept, so nothing else can disagree.

Side: both
"""

import os

from . import abi, landlock, paths
from .errors import ContainerError, Degradation, step
from .record import MYPY
from .words import bad, integer

if MYPY:
    from .landlock import Ruleset

_MODES = {"r": landlock.READ, "w": landlock.WRITE, "x": landlock.EXECUTE}
_SCOPES = {"abstract": landlock.ABSTRACT, "signal": landlock.SIGNAL}
_PORTS = {"connect": landlock.CONNECT, "bind": landlock.BIND}


# --- the options --------------------------------------------------------------------------------


def parse(given: "dict") -> "tuple[str, ...]":
    """The words for the options GIVEN, by name as in `options`. Raises ContainerError."""
    words = []  # type: list[str]
    for text in given.get("landlock", ()):
        words += _files(text)
    for kind in _PORTS:
        words += _ports(kind, ",".join(given.get("landlock-" + kind, ())))
    for text in given.get("landlock-scope", ()):
        for name in text.split(","):
            if name not in _SCOPES:
                raise bad("--landlock-scope", name, "is not one of %s" % ", ".join(sorted(_SCOPES)))
            words.append("scope=" + name)
    return tuple(words)


def _files(text: str) -> "list[str]":
    """MODE=PATH,...; a path may have a comma in it, if what follows is no MODE=."""
    words = []  # type: list[str]
    for part in text.split(","):
        mode, equals, path = part.partition("=")
        mode = "r" if mode == "ro" else mode
        known = mode and len(set(mode)) == len(mode) and not mode.strip("".join(_MODES))
        if equals and known and path.startswith("/"):
            words.append("%s=%s" % ("".join(letter for letter in _MODES if letter in mode), path))
        elif words and not (equals and known):
            words[-1] += "," + part
        else:
            why = "is not of the form MODE=PATH,...: MODE of r, w and x, PATH absolute"
            raise bad("--landlock", text, why, "--landlock rx=/usr,rw=/tmp")
    return words


def _ports(kind: str, text: str) -> "list[str]":
    if text in ("", "none"):
        return [kind + "=none"] if text else []
    option = "--landlock-" + kind
    return ["%s=%d" % (kind, integer(option, port, 0, 65535)) for port in text.split(",")]


# --- what is asked for and cannot be had ----------------------------------------------------------


def missing(words: "tuple[str, ...]") -> "list[Degradation]":
    """What the kernel's Landlock has not, of what WORDS ask for."""
    try:
        version = landlock.version()
    except OSError as error:
        if error.errno not in landlock.REFUSED:
            raise ContainerError("look for Landlock", "", error.errno or 0) from error
        return [_lack("landlock-asked", words, "nothing", "all that it would have denied", error.errno or 0)]
    return lacking(words, version)


def lacking(words: "tuple[str, ...]", version: int) -> "list[Degradation]":
    """The same for Landlock of VERSION."""
    kinds = [word.partition("=")[0] for word in words]
    files = [word for word, kind in zip(words, kinds) if _is_mode(kind)]
    ports = [word for word, kind in zip(words, kinds) if kind in _PORTS]
    scopes = [word for word, kind in zip(words, kinds) if kind == "scope"]
    unwritable = [word for word in files if "w" not in word.partition("=")[0]]
    got, records = "version %d of it" % version, []
    for code, asked, since, kernel, lost in (
        ("landlock-truncate", files, 3, "6.2", "files that are not among them can be truncated"),
        ("landlock-ports", ports, 4, "6.7", "every TCP port can be bound and connected to"),
        ("landlock-ioctl", unwritable, 5, "6.10", "devices there take ioctl(2), written to or not"),
        ("landlock-scope", scopes, 6, "6.12", "abstract sockets and processes outside can be reached"),
    ):
        if asked and version < since:
            why = "this takes Linux %s or newer" % kernel
            records.append(_lack(code, asked, got, lost, 0, why, "use a newer kernel"))
    return records


def _lack(code: str, words, got: str, lost: str, number: int, why: str = "", fix: str = "") -> Degradation:
    cause = "landlock" if number else ""
    return Degradation(code, "Landlock", " ".join(words), got, lost, number, why, fix, cause=cause)


# --- the ruleset ----------------------------------------------------------------------------------


def prepare(me) -> None:
    """In init, in the container's root: add to ME, an init.Init, the ruleset that was asked for."""
    root = -1
    try:
        known = landlock.version()
    except OSError as error:
        if error.errno not in landlock.REFUSED:
            raise
        return  # that has been said
    if me.prefix:
        root = os.open(me.prefix, abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    made, me.places, others = ruleset(me.plan.spec.landlock, known, root, me.plan.spec.places)
    me.rulesets.append(made)
    for word in others:
        why = "it is another file than when the container started, or is gone"
        me.degrade(Degradation("landlock-place", "Landlock", word, "nothing", word, 0, why, level="notice"))
    if root >= 0:
        os.close(root)


def ruleset(
    words: "tuple[str, ...]", version: int, root: int = -1, known: "tuple[str, ...]" = ()
) -> "tuple[Ruleset, list[str], list[str]]":
    """WORDS as a ruleset of VERSION; what that does not know is left out. Raises ContainerError.

    root: the directory that paths are resolved below; -1 for the root that the process has
    Also which file each path leads to; and the words of those that are not KNOWN, in the same order, by
    now: a program of the container may have put a link in the place of what it was allowed to write to.
    These are left out.
    """
    pairs = [word.partition("=")[::2] for word in words]
    ports = scopes = 0
    for kind, value in pairs:
        ports |= _PORTS.get(kind, 0)
        scopes |= _SCOPES[value] if kind == "scope" else 0
    files = any(_is_mode(kind) for kind, _ in pairs)
    with step("make a Landlock ruleset"):
        made = landlock.Ruleset(version, files, ports, scopes)
    places, others = [], []  # type: list[str], list[str]
    for kind, value in pairs:
        if kind in _PORTS and value != "none":
            with step("allow the port %s by Landlock" % value):
                made.allow_port(int(value), _PORTS[kind])
        elif _is_mode(kind):
            expected = known[len(places)] if len(places) < len(known) else ""
            with step("allow %s by Landlock" % value, hints={abi.ENOENT: "it must exist in the container"}):
                places.append(_allow(made, value, sum(_MODES[letter] for letter in kind), root, expected))
            if expected not in ("", places[-1]):
                others.append("%s=%s" % (kind, value))
    return made, places, others


def _is_mode(kind: str) -> bool:
    return not kind.strip("".join(_MODES))


def _allow(made: "Ruleset", path: str, rights: int, root: int, expected: str) -> str:
    """Allow RIGHTS to PATH, if that is EXPECTED, "" for anything. What it is, "DEVICE:INODE", or "gone"."""
    try:
        descriptor = paths.open_in(root, path) if root >= 0 else os.open(path, abi.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        if not expected or error.errno not in (abi.ENOENT, abi.ENOTDIR, abi.ELOOP):
            raise
        return "gone"
    try:
        status = os.fstat(descriptor)
        found = "%d:%d" % (status.st_dev, status.st_ino)
        if expected in ("", found):
            made.allow(descriptor, rights)
    finally:
        os.close(descriptor)
    return found
