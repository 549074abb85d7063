"""Files of a container that runs, read by a process aside.

A program inside may serve a file system of its own (FUSE) in the place of any of them, and not answer: who
has asked waits without an end, and not even a kill ends that while the server lives. That is not to be us: a
signal, and be it that of Ctrl-C, still ends who waits for a pipe.

Side: host
"""

import _signal  # `signal` imports enum: 3 ms

from . import abi, forks, libc, paths
from . import unix as os
from .errors import ContainerError, from_any


class Files:
    """Those below the directory descriptor ROOT, which stays the caller's. In the manner of view.View."""

    def __init__(self, root: int) -> None:
        self.root = root

    def read(self, path: str, limit: int) -> bytes:
        """As paths.read_file."""
        reader, writer = os.pipe()
        proc = paths.open_proc()
        pid = forks.clone(0)
        if pid == 0:
            try:
                libc.prctl(abi.PR_SET_PDEATHSIG, _signal.SIGKILL)
                # who reads what the caller prints waits for the end of that, and not for ours
                paths.close_from(0, {self.root, writer}, proc)
                _answer(writer, self.root, path, limit)
            finally:
                os._exit(0)
        os.close(writer)
        os.close(proc)
        try:
            said = paths.read_all(reader)
        except BaseException:
            os.kill(pid, _signal.SIGKILL)  # it may end by that, or with the container
            raise
        finally:
            os.close(reader)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # SIGCHLD is ignored: nobody has to wait
        if said[:1] == b"+":
            return said[1:]
        number, _, rest = os.fsdecode(said[1:]).partition(" ")
        doing, _, why = rest.partition("\0")
        if doing:
            raise ContainerError(doing, why)
        raise OSError(int(number or abi.ESRCH), os.strerror(int(number or abi.ESRCH)), path)


def _answer(writer: int, root: int, path: str, limit: int) -> None:
    try:
        said = b"+" + paths.read_file(root, path, limit)
    except OSError as error:
        said = b"-%d" % (error.errno or abi.EIO)
    except BaseException as error:
        told = from_any("read %s of the container" % path, error)
        said = b"-0 " + os.fsencode("%s\0%s" % (told.doing, told.why))
    while said:
        said = said[os.write(writer, said) :]
