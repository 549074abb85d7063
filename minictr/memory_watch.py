"""A limit of memory without a cgroup: who stands behind the container looks at what its processes have.

A page that several share counts for each a part (proc(5), Pss in /proc/PID/smaps_rollup), so the sum is what
the container has; files in memory that nobody has mapped are not in it, nor what the kernel keeps for it.

Side: host
"""

import os
import time

from . import cgroup_files, living, signs

INTERVAL = 0.1  # seconds from one look to the next
SHARE = 0.1  # of the time at most is spent on looking


class Watch:
    """most: bytes; found: {} until it was more, then as of oom.found"""

    def __init__(self, most: int) -> None:
        self.most, self.peak, self.found = most, 0, {}  # type: int, int, dict[str, object]
        self.deadline, self.end, self.over = 0.0, None, False

    def until(self, timeout: float, end) -> None:
        """After TIMEOUT seconds, if not 0, END is to be called, as foreground.wait does."""
        self.deadline, self.end = time.monotonic() + timeout if timeout else 0.0, end

    def look(self, pid: int) -> float:
        """One look at the container whose first process is PID, as foreground.wait has it."""
        begun = time.monotonic()
        if self.deadline and begun >= self.deadline:
            self.deadline, self.over = begun + abs(self.end(pid)), True  # type: ignore[misc]
        members = living.by_namespace(pid)
        used = sum(map(memory_of, members))
        self.peak = max(self.peak, used)
        if used > self.most and not self.found:
            # measuring took its time: a number may be a process of the host's by now
            killed = cgroup_files.signal(living.by_namespace(pid), 9)
            self.found = {
                "oom": True, "kills": len(killed), "limit": self.most, "peak": self.peak, "by": "minictr",
            }  # fmt: skip
        due = max(INTERVAL, (time.monotonic() - begun) / SHARE)
        return -due if self.over or self.found else due


def memory_of(pid: int) -> int:
    """Bytes, those in swap among them; 0 for one that is gone."""
    found = _told("/proc/%d" % pid)
    if found:
        return found
    try:  # its first thread may be over, of which nothing is told then: the others have the memory still
        threads = os.listdir("/proc/%d/task" % pid)
    except OSError:
        return 0
    return next(filter(None, (_told("/proc/%d/task/%s" % (pid, thread)) for thread in threads)), 0)


def _told(place: str) -> int:
    for name, words in (("smaps_rollup", ("Pss:", "SwapPss:")), ("status", ("VmRSS:", "VmSwap:"))):
        lines = [line.split() for line in signs.read("%s/%s" % (place, name)).splitlines()]
        found = [int(line[1]) for line in lines if line and line[0] in words]
        if found:  # the former is not there before 4.14, and may not be ours to read
            return sum(found) << 10
    return 0
