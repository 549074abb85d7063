"""What is mounted where, as the kernel tells it.

Side: both
"""

from . import abi, libc, paths
from .errors import ContainerError
from .record import Record


class Row(Record):
    """A mount: the id of its parent, what of its file system it shows, where, and the type of that.

    shared: what is mounted on it, or taken off, spreads
    """

    parent: int
    root: str
    place: str
    kind: str
    shared: bool


def table(text: str) -> "dict[int, Row]":
    """The mounts of /proc/PID/mountinfo by their ids (proc(5)). A name may have any character in it that
    str.splitlines takes for the end of a line; the kernel escapes the newline alone."""
    rows = {}
    for line in text.split("\n")[:-1]:
        fields, _, rest = line.partition(" - ")
        words = fields.split(" ")
        place, kind = unescape(words[4]), rest.split(" ")[0]
        shared = any(tag.startswith("shared:") for tag in words[6:])
        rows[int(words[0])] = Row(parent=int(words[1]), root=words[3], place=place, kind=kind, shared=shared)
    return rows


def below(rows: "dict[int, Row]", top: int) -> "list[int]":
    """The mount TOP and all that hang from it. A parent may have a higher number than its child."""
    found = []
    for number in rows:
        above = number
        while above in rows and above != top and rows[above].parent != above:
            above = rows[above].parent
        if above == top:
            found.append(number)
    return found


def own() -> "dict[int, Row]":
    """Those of this process."""
    return table(paths.read_text("/proc/self/mountinfo", 1 << 26))


def unescape(text: str) -> str:
    """A name as it is, whose blanks and backslashes the kernel has written as octal numbers."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def mount_id(descriptor: int, proc: "int | None" = None) -> int:
    """The id of the mount a descriptor lies on, from /proc/self/fdinfo.

    proc: from paths.open_proc, where /proc is not the host's any more
    """
    place = "%sself/fdinfo/%d" % ("/proc/" if proc is None else "", descriptor)
    text = paths.read_text(place, at=proc)
    if not text:  # before 5.13 what a process that is not dumpable has there belongs to the host's root
        libc.prctl(abi.PR_SET_DUMPABLE, 1)
        text = paths.read_text(place, at=proc)
        libc.prctl(abi.PR_SET_DUMPABLE, 0)
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "mnt_id":
            return int(value)
    raise ContainerError("read /proc/self/fdinfo", "no mnt_id: the kernel is older than 3.15")
