"""What of the host's is put out for the attempts of a twin to go for.

Side: both
"""

import os

from . import abi, syscalls
from .record import Record

syscalls.table(abi.machine())  # read now: inside nothing can be


class Absent(Exception):
    """There is nothing here to try it on; why, in words."""


class Bait(Record):
    """What of the host's the attempts go for. It is put out for them alone.

    pid: of a process; name: what it is called (proc(5), comm)
    path: a file that everybody may read; content: what is in it
    abstract: the name of a socket in the abstract name space; port: a TCP port of 127.0.0.1
    device: major and minor number of a block device, () where the host has none
    """

    pid: int
    name: str
    path: str
    content: str
    abstract: str
    port: int
    device: "tuple[int, ...]" = ()


def start_of(path: str) -> bytes:
    """Not by open(), which may ask for a codec by the locale: its module may lie outside the root. A root
    without /proc may have pipes by the names of its files."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)


def call_number(name: str) -> int:
    """Of a system call here."""
    return syscalls.table(abi.machine())[name]
