"""What lies below a new file system, copied into it: tmpcopyup, as podman calls it.

Side: container
"""

import _stat as stat

from . import abi, paths
from . import unix as os
from .errors import ContainerError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def fill(source: int, target: int) -> None:
    """Fill the new file system TARGET with a copy of what lay below it (podman's tmpcopyup).

    However deep that is, one directory of each is open at a time, beside the uppermost. The way back is
    "..", and must lead where we came from: somebody may move directories meanwhile.
    """
    old, new = _open_top(source, target)
    above = []  # type: list[tuple[list[str], tuple[int, int]]]
    names = os.listdir(old)
    while names or above:
        if names:
            name = names.pop()
            if _copy(old, new, name):
                above.append((names, _inode(old)))
                old, new = _enter(old, name), _enter(new, name)
                names = os.listdir(old)
            continue
        _give(new, os.fstat(old))
        names, place = above.pop()
        if above:
            old, new = _enter(old, ".."), _enter(new, "..")
        else:  # ".." of the uppermost's would lead to what lies over it
            os.close(old)
            os.close(new)
            old, new = _open_top(source, target)
        if _inode(old) != place:
            raise ContainerError("copy what the new file system covers", "a directory was moved meanwhile")
    os.close(old)
    os.close(new)


def _open_top(source: int, target: int) -> "tuple[int, int]":
    return os.open(paths.descriptor_path(source), _DIRECTORY), os.dup(target)


def _enter(directory: int, name: str) -> int:
    """NAME in DIRECTORY, which is closed."""
    inner = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    os.close(directory)
    return inner


def _inode(descriptor: int) -> "tuple[int, int]":
    state = os.fstat(descriptor)
    return state.st_dev, state.st_ino


def _copy(source: int, target: int, name: str) -> bool:
    """Copy NAME; True for a directory, of which only an empty one is made. What was looked at is opened: a
    pipe that has the name by then would keep us for ever."""
    found = os.open(name, abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        state = os.fstat(found)
        if stat.S_ISLNK(state.st_mode):
            os.symlink(os.readlink("", dir_fd=found), name, dir_fd=target)
        elif stat.S_ISDIR(state.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            return True
        elif stat.S_ISREG(state.st_mode):
            old = os.open(paths.descriptor_path(found), os.O_RDONLY | os.O_CLOEXEC)
            new = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
            while os.sendfile(new, old, None, 1 << 20):
                pass
            _give(new, state)
            os.close(old)
            os.close(new)
    finally:
        os.close(found)
    return False


def _give(descriptor: int, state: os.stat_result) -> None:
    """Owner, group and mode as in STATE. Who has no id here is shown as nobody, who may have none either: it
    is root's then, and lends nobody the rights of its owner."""
    mode = stat.S_IMODE(state.st_mode)
    for owner, group in ((state.st_uid, -1), (-1, state.st_gid)):
        try:
            os.fchown(descriptor, owner, group)
        except OSError as error:
            if error.errno != abi.EINVAL:
                raise
            mode &= ~(stat.S_ISUID | stat.S_ISGID)
    os.fchmod(descriptor, mode)
