"""What lies below a new file system, copied into it: tmpcopyup, as podman calls it.

Side: container
"""

import _stat as stat

from . import paths
from . import unix as os


def fill(source: int, target: int) -> None:
    """Fill the new file system TARGET with a copy of what lay below it (podman's tmpcopyup)."""
    place = paths.descriptor_path(source)
    for name in os.listdir(place):
        _copy(source, target, name)


def _copy(source: int, target: int, name: str) -> None:
    state = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISLNK(state.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    elif stat.S_ISDIR(state.st_mode):
        os.mkdir(name, 0o700, dir_fd=target)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        old, new = [os.open(name, flags, dir_fd=where) for where in (source, target)]
        for inner in os.listdir(old):
            _copy(old, new, inner)
        os.fchown(new, state.st_uid, state.st_gid)
        os.fchmod(new, stat.S_IMODE(state.st_mode))
        os.close(old)
        os.close(new)
    elif stat.S_ISREG(state.st_mode):
        old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
        new = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        while os.sendfile(new, old, None, 1 << 20):
            pass
        os.fchown(new, state.st_uid, state.st_gid)
        os.fchmod(new, stat.S_IMODE(state.st_mode))
        os.close(old)
        os.close(new)
