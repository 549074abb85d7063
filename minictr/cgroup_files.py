"""Directories of cgroups: their files, the processes in them, and what lies below them.

What the container makes below its own directory is not trusted: it is reached by descriptors alone,
and no link is followed.

Side: host
"""

import time

from . import abi, libc, paths
from . import unix as os
from .errors import ContainerError, printable

PATIENCE = 2.0  # seconds that a cgroup may take to become empty, or frozen
HERE = abi.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
GONE = (abi.ENOENT, abi.ENODEV)


class Part:
    """A directory of a group: one in each hierarchy of v1, one alone on v2.

    descriptor: an O_PATH descriptor, -1 until it is needed
    """

    __slots__ = ("controllers", "descriptor", "mount", "path")

    def __init__(self, mount: str, path: str, controllers: "tuple[str, ...]") -> None:
        self.mount, self.path, self.controllers, self.descriptor = mount, path, controllers, -1

    @property
    def directory(self) -> str:
        return self.mount + self.path

    def open(self) -> int:
        """Raises OSError ENOENT if the directory is gone."""
        if self.descriptor < 0:
            self.descriptor = os.open(self.directory, HERE)
        return self.descriptor

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def read(directory: int, name: str) -> str:
    """The text of a file of the cgroup that the descriptor DIRECTORY refers to. Raises OSError."""
    return paths.read_proc(directory, name)  # the files of the kernel are all read alike


def write(directory: int, name: str, *values: str) -> None:
    """Write VALUES into a file of that cgroup, each by a call of its own. Raises OSError."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory)
    try:
        for value in values:
            os.write(descriptor, value.encode("utf-8", "surrogateescape"))
    finally:
        os.close(descriptor)


def waits(patience: float = PATIENCE):
    """Yield at once and then in growing steps, from half a millisecond up, for PATIENCE seconds."""
    end, delay = time.monotonic() + patience, 0.0005
    while True:
        yield
        if time.monotonic() >= end:
            return
        time.sleep(delay)
        delay = min(2 * delay, 0.05)


# --- processes --------------------------------------------------------------------------------


def own(text: str) -> "dict[str, str]":
    """From the text of /proc/self/cgroup: the path of each controller, that of v2 under ""."""
    found = {}
    for line in text.split("\n"):
        if line:
            _, names, path = line.split(":", 2)
            found.update(dict.fromkeys(names.split(","), path))
    return found


def pids(part: Part) -> "list[int]":
    """Every process in a directory and below it, as far as it is seen from our process namespace."""
    found = []  # type: list[int]
    try:
        top = part.open()
        walk(top, lambda directory: found.extend(_pids(directory, directory == top)))
    except OSError as error:
        if error.errno not in GONE:
            raise
    return found


def _pids(directory: int, top: bool) -> "list[int]":
    """Those of one cgroup. Of a threaded one the domain above lists the processes: if that is none of
    ours, its threads are taken, which stand for their processes to kill(2)."""
    try:
        numbers = read(directory, "cgroup.procs").split()
    except OSError as error:
        if error.errno != abi.EOPNOTSUPP:
            if error.errno in GONE:
                return []
            raise
        numbers = read(directory, "cgroup.threads").split() if top else []
    return [int(number) for number in numbers if number != "0"]  # 0: not of our process namespace


def signal(found: "list[int]", number: int) -> "list[int]":
    """Send a signal to each process but ourselves. Those that were there come back."""
    sent, me = [], os.getpid()
    for pid in found:
        if pid != me:
            try:
                os.kill(pid, number)
                sent.append(pid)
            except ProcessLookupError:
                pass
    return sent


def refuse_tenants(part: Part) -> None:
    """Raise ContainerError if processes run in a directory that was there before."""
    found = pids(part)
    if found:
        what = "processes run in it already: " + ", ".join(map(str, found[:10]))
        hint = "give the container another cgroupsPath"
        raise ContainerError("create the cgroup %s" % printable(part.directory), what, abi.EEXIST, hint)


# --- directories ------------------------------------------------------------------------------


def walk(directory: int, visit) -> None:
    """Call VISIT with a descriptor of every cgroup below DIRECTORY, the inner ones first, then of it.

    However deep they are, which is up to the container: one descriptor is open at a time. The way back by
    ".." is the kernel's: a cgroup stays below the one that it was made in.
    """
    left = [children(directory)]
    here = os.dup(directory)
    try:
        while left:
            if left[-1]:
                try:
                    here = _instead(here, left[-1].pop())
                except OSError as error:
                    if error.errno not in GONE:
                        raise
                    continue
                left.append(children(here))
                continue
            left.pop()
            visit(here if left else directory)
            if left:
                here = _instead(here, "..")
    finally:
        os.close(here)


def _instead(directory: int, name: str) -> int:
    """A descriptor of what is called so there; that of DIRECTORY is closed."""
    found = os.open(name, HERE, dir_fd=directory)
    os.close(directory)
    return found


def children(directory: int) -> "list[str]":
    """The names of the cgroups directly below one; none below one that is gone."""
    if os.fstat(directory).st_nlink == 2:  # kernfs counts them: kernfs_refresh_inode() in fs/kernfs/inode.c
        return []
    found = []
    try:
        listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        if error.errno not in GONE:
            raise
        return []
    try:
        for name in os.listdir(listed):
            try:
                os.close(os.open(name, HERE, dir_fd=directory))
                found.append(name)
            except OSError as error:
                if error.errno not in GONE and error.errno not in (abi.ENOTDIR, abi.ELOOP):
                    raise
    finally:
        os.close(listed)
    return found


def remove(part: Part) -> bool:
    """Remove a directory. False if it is still there: cgroups below it are removed only once no process
    is left in any, as until then it may be somebody else's."""
    if _rmdir(part):
        return True
    try:
        if not pids(part):
            walk(part.open(), _remove_children)
            return _rmdir(part)
    except OSError as error:
        if error.errno not in GONE:
            raise
    return False


def _rmdir(part: Part) -> bool:
    """False if it is in use."""
    try:
        os.rmdir(part.directory)
    except OSError as error:
        if error.errno not in (abi.ENOENT, abi.EBUSY, abi.ENOTEMPTY):
            raise ContainerError("remove the cgroup %s" % part.directory, "", error.errno or 0) from error
        return error.errno == abi.ENOENT
    return True


# Who made a parent of its cgroup may end before others below it: the mark tells the last of them that it is
# no directory of the user's. On v2 a user may make it, too, since 5.7; on v1 that takes CAP_SYS_ADMIN.
_MARKS = ("trusted.minictr", "user.minictr")
_UNMARKED = GONE + (
    abi.EPERM, abi.EACCES, abi.EROFS, abi.EBUSY, abi.ENOTEMPTY, abi.ENODATA, abi.EOPNOTSUPP, abi.ENOSYS,
    abi.ENOSPC,
)  # fmt: skip


def mark(directory: str) -> None:
    """As made by us, where that can be."""
    for name in _MARKS:
        try:
            return libc.setxattr(directory, name, b"made")
        except OSError as error:
            if error.errno not in _UNMARKED:
                raise


def remove_marked(part: Part) -> None:
    """The empty directories above PART that are marked."""
    directory = os.path.dirname(part.directory)
    while len(directory) > len(part.mount):
        for name in _MARKS:
            try:
                libc.getxattr(directory, name)
                os.rmdir(directory)
                break
            except OSError as error:
                if error.errno not in _UNMARKED:
                    raise
        directory = os.path.dirname(directory)


def _remove_children(directory: int) -> None:
    for name in children(directory):
        try:
            os.rmdir(name, dir_fd=directory)
        except OSError as error:
            if error.errno not in GONE and error.errno not in (abi.EBUSY, abi.ENOTEMPTY):
                raise
