"""Programs of the host that the runtime runs for itself: newuidmap, newgidmap, getsubids, ps.

Side: host
"""

from . import abi
from . import unix as os
from .errors import ContainerError


class Helper:
    """A program of the host, run with a clean environment; what it says is kept.

    subprocess would do, and costs 8 ms to import.
    """

    def __init__(self, arguments: "list[str]") -> None:
        self.reader, writer = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for source, target in ((null, 0), (writer, 1), (writer, 2)):
                    os.dup2(source, target)
                os.execve(arguments[0], arguments, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})
            except OSError as error:
                os.write(writer, os.fsencode("%s: %s" % (arguments[0], error.strerror)))
            finally:
                os._exit(127)
        os.close(writer)
        os.close(null)

    def wait(self) -> "tuple[int, str]":
        """Its exit status (0 is success) and what it said, on one line."""
        status, said = self.output(4096)
        return status, " ".join(os.fsdecode(said).split())

    def output(self, limit: int) -> "tuple[int, bytes]":
        """Its exit status and what it said, of which little more than LIMIT bytes are read."""
        said = b""
        while len(said) < limit:
            piece = os.read(self.reader, 65536)
            if not piece:
                break
            said += piece
        os.close(self.reader)
        _, status = os.waitpid(self.pid, 0)
        return status, said


# What ends the words of a helper that was not refused anything
_FAILURES = (abi.EINTR, abi.EIO, abi.EAGAIN, abi.ENOMEM, abi.ENFILE, abi.EMFILE, abi.ENOSPC)


def write_maps(pid: int, maps) -> None:
    """newuidmap and newgidmap at once: each is a set-uid program that takes a millisecond to start.

    maps: a maps.Maps
    Raises ContainerError, with an errno where it failed of something else than that it is not allowed.
    """
    running = []
    for path, table in ((maps.newuidmap, maps.uids), (maps.newgidmap, maps.gids)):
        words = [str(pid)] + [str(number) for line in table for number in line]
        running.append((path, Helper([path] + words)))
    failed = [(path, helper.wait()) for path, helper in running]
    for path, (status, said) in failed:
        if status:
            from . import causes  # only now: the host is asked why

            if not said:
                killed = status & 127
                said = (
                    "it was killed by signal %d" % killed
                    if killed
                    else "it ended with status %d" % (status >> 8)
                )
            cause = causes.why(os.path.basename(path), 0, said=said)
            number = next((one for one in _FAILURES if said.endswith(os.strerror(one))), 0)
            number = number or (abi.EINTR if status & 127 else 0)
            raise ContainerError("run %s" % path, cause.why or said, number, cause.fix)
