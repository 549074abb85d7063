"""A worker's place at the door of the library's helper (`worker`), which a request may make it leave.

Side: host
"""

import os
import select

IDLE = 60  # seconds without a request, after which a worker ends, and the helper with the last one


class Seat:
    """A worker's place at the door, None once it has left. writer: a pipe to the helper

    environ: of the request before, which is ours still; None before the first; pid: of who asks
    """

    pid = 0

    def __init__(self, door, writer: int) -> None:
        self.door, self.writer = door, writer
        self.environ = None  # type: dict[str, str] | None

    def leave(self) -> None:
        """Have another one sit here, and end with what is being done."""
        if self.door is None:
            return
        self.door.close()
        self.door = None
        try:
            os.write(self.writer, b"n")
        except BrokenPipeError:
            pass  # the helper was killed: the caller finds nobody, and starts another

    def wait(self) -> "tuple[bytes, list]":
        """A request and what came with it; b"" where there will be none, or there was none for long."""
        waiting = select.poll()
        waiting.register(self.door, select.POLLIN)
        while waiting.poll(IDLE * 1000):
            try:
                return self.door.recvmsg(16, 256, 0x40000000 | 0x40)[:2]  # MSG_CMSG_CLOEXEC, MSG_DONTWAIT
            except BlockingIOError:
                continue  # another one was quicker
        return b"", []
