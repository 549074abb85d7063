"""How the kernel tells that memory ran out in a group: an eventfd on v1, a file to poll on v2.

Sources: Documentation/admin-guide/cgroup-v1/memory.rst, "OOM Control"; cgroup-v2.rst, "memory.events"

Side: host
"""

import os
import select

from . import cgroup_files, libc_rare
from .cgroup_files import GONE


class Alarm:
    """descriptor, mask: what to poll; whoever hears it calls `silence` before polling again"""

    def __init__(self, directory: int) -> None:
        self.descriptor, self.mask = -1, 0

    def silence(self) -> bool:
        """True if memory ran out and the group is to wait for more of it, so that nobody is killed."""
        raise NotImplementedError

    def close(self) -> None:
        os.close(self.descriptor)


class V1(Alarm):
    def __init__(self, directory: int) -> None:
        self.file = os.open("memory.oom_control", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        try:
            self.descriptor, self.mask = libc_rare.eventfd(), select.POLLIN
            numbers = "%d %d" % (self.descriptor, self.file)
            try:
                cgroup_files.write(directory, "cgroup.event_control", numbers)
            except OSError:
                os.close(self.descriptor)
                raise
        except OSError:
            os.close(self.file)
            raise

    def silence(self) -> bool:
        os.read(self.descriptor, 8)
        try:
            words = os.pread(self.file, 4096, 0).split()
        except OSError as error:  # it also rings when the group is removed
            if error.errno not in GONE:
                raise
            return False
        table = dict(zip(words[::2], words[1::2]))
        return table.get(b"oom_kill_disable") == b"1" and table.get(b"under_oom") == b"1"

    def close(self) -> None:
        os.close(self.descriptor)
        os.close(self.file)


class V2(Alarm):
    def __init__(self, directory: int) -> None:
        self.descriptor = os.open("memory.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        self.mask = select.POLLPRI
        self.silence()  # what happened until now is no news

    def silence(self) -> bool:
        try:
            os.pread(self.descriptor, 4096, 0)
        except OSError as error:
            if error.errno not in GONE:
                raise
        return False


def arm(kind: "type[Alarm]", directory: int) -> "Alarm | None":
    """None where the kernel has no such alarm, or not for us."""
    if directory < 0:
        return None
    try:
        return kind(directory)
    except OSError:
        return None
