"""What a runtime that only waits for its container gives back.

It needs next to none of the interpreter's code, 4 MB of 11, which lies in the page cache anyway: what is
asked for again comes from there.

Side: host
"""

from . import libc, paths
from . import unix as os
from .errors import ContainerError

MADV_DONTNEED = 4  # include/uapi/asm-generic/mman-common.h


def down() -> None:
    """Let go of every mapped file of which no page was changed (madvise(2))."""
    try:
        proc = paths.open_proc()
        try:
            smaps = paths.read_proc(proc, "self/smaps")
        finally:
            os.close(proc)
        for start, size in clean(smaps):
            libc.madvise(start, size, MADV_DONTNEED)
    except (OSError, ContainerError):
        pass  # no genuine /proc, or a filter: it stays as big as it was, and works


def clean(smaps: str) -> "list[tuple[int, int]]":
    """Of /proc/PID/smaps (proc_pid_smaps(5)): start and size of each private, read-only mapping of a file
    that has no page of its own. What the loader has relocated, or a debugger changed, has some: they would
    be lost.
    """
    found, wanted = [], False  # type: list[tuple[int, int]], bool
    for line in smaps.split("\n"):
        words = line.split()
        if len(words) >= 5 and "-" in words[0]:  # address, permissions, offset, device, inode
            first, _, last = words[0].partition("-")
            start, size = int(first, 16), int(last, 16) - int(first, 16)
            wanted, changed = words[1] in ("r-xp", "r--p") and words[4] != "0", 0
        elif wanted and words and words[0] in ("Anonymous:", "Swap:"):
            changed += int(words[1])
        elif wanted and words and words[0] == "VmFlags:" and not changed:  # the last line of a mapping
            found.append((start, size))
    return found
