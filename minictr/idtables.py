"""The ids that a user namespace has, as /proc/PID/uid_map says it (user_namespaces(7)): read, and looked up
either way. A table is rows of (first id inside, first outside, how many); what is outside is as its reader
has it.

Side: both
"""

from . import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Tuple

    Table = Tuple[Tuple[int, int, int], ...]

FULL = ((0, 0, 4294967295),)
RANGE = 65536  # how many ids a container gets


def rows(text: str) -> "Table":
    """TEXT: the content of a uid_map or gid_map"""
    return tuple([tuple(map(int, line.split())) for line in text.splitlines()])  # type: ignore[misc]


def read(name: str) -> "Table":
    """Of the user namespace that we are in. name: "uid_map" or "gid_map"; a kernel without them has one."""
    return rows(paths.read_text("/proc/self/" + name)) or FULL


def initial() -> bool:
    """Whether this is the host's own user namespace, or one that maps every id to itself."""
    return read("uid_map") == FULL


def inside(table: "Table", number: int) -> bool:
    """Whether the namespace knows the id NUMBER."""
    return any(first <= number < first + count for first, _, count in table)


def on_host(table: "Table", number: int) -> int:
    """What the id NUMBER of the namespace is outside of it, -1 if it has none."""
    for first, start, count in table:
        if first <= number < first + count:
            return start + number - first
    return -1


def outside(table: "Table", number: int) -> bool:
    """Whether the namespace shows the id NUMBER of this one."""
    return any(first <= number < first + count for _, first, count in table)
