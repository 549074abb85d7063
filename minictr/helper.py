"""Programs of the host that the runtime runs for itself: newuidmap, newgidmap, getsubids, ps.

Side: host
"""

from . import unix as os


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
