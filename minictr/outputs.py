"""Files of the host that our caller names for us to write: logs, and files with the id of a process.

Where others may write, too, whoever makes a link there would choose what file that is. A link of another
user's is told by its owner. What lies in a container's own files is not: its root's are root's on the host
as well, or the caller's. There no link is followed, and nothing opened but a regular file.

Side: host
"""

import _stat as stat

from . import abi, libc, paths
from . import unix as os
from .errors import step

FOREIGN = {
    abi.ELOOP: "it is a link of another user's, or of a container's: name the file itself, or another place",
    abi.EINVAL: "what a container has there is not a regular file: name another place",
}
_LOOK = abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def reach(spec) -> "set[tuple[int, int]]":
    """The directories of the host that the container SPEC may change, each by its st_dev and st_ino: its
    root, and the volumes that it may write to; but not the host's own root, and of a bundle the root alone:
    an engine's own files may lie in a volume (/var), behind links of the host's (/var/run)."""
    wanted = [spec.config["root"]["path"]]
    for entry in spec.config.get("mounts") or () if spec.source != "bundle" else ():
        options = entry.get("options") or ()
        if entry.get("type") == "bind" and "ro" not in options and "rro" not in options:
            wanted.append(entry["source"])
    found = set()
    for place in wanted:
        try:
            found.add(_identity(os.stat(os.path.join(spec.bundle, place))))
        except OSError:  # what opens it will tell
            pass
    return found - {_identity(os.stat("/"))}


def open_output(
    path: str, flags: int, mode: int = 0o644, inside: "set[tuple[int, int]] | None" = None
) -> int:
    """Open PATH to write to it. inside: as of `_place`

    Raises OSError: ELOOP for a link that is not to be followed, EINVAL for what is no file.
    """
    directory, name = _place(path, inside)
    if directory is None:
        follow = 0 if is_link(path) and not foreign(path) else os.O_NOFOLLOW
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC | follow | flags, mode)
    try:
        found = os.open(name, _LOOK, dir_fd=directory)
    except FileNotFoundError:
        return os.open(name, os.O_WRONLY | os.O_CLOEXEC | os.O_EXCL | flags, mode, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        kind = os.fstat(found).st_mode
        if not stat.S_ISREG(kind):
            number = abi.ELOOP if stat.S_ISLNK(kind) else abi.EINVAL
            raise OSError(number, os.strerror(number), path)
        descriptor = paths.descriptor_path(found)
        return os.open(descriptor, os.O_WRONLY | os.O_CLOEXEC | flags & ~os.O_CREAT)
    finally:
        os.close(found)


def write_pid_file(path: str, pid: int, inside: "set[tuple[int, int]] | None" = None) -> None:
    """Whole or not at all: who reads it early finds nothing, never half a number. Into what is there and is
    no file, /dev/stdout or a device, it is written as anybody would: that is not to be replaced."""
    with step("write the pid file %s" % path, hints=FOREIGN):
        directory, place = _place(path, inside)
        if directory is None and _is_special(path):
            file = open_output(path, os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                os.write(file, b"%d" % pid)
            finally:
                os.close(file)
            return
        folder, name = os.path.split(place)
        temporary = os.path.join(folder, ".%s.%d" % (name, os.getpid()))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            file = os.open(temporary, flags, 0o644, dir_fd=directory)
            try:
                os.write(file, b"%d" % pid)
                os.replace(temporary, place, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                os.unlink(temporary, dir_fd=directory)
                raise
            finally:
                os.close(file)
        finally:
            if directory is not None:
                os.close(directory)


def take_pid_file(path: str, inside: "set[tuple[int, int]] | None" = None) -> None:
    """Away, where the program did not run, or not as it should."""
    directory = None
    try:
        directory, place = _place(path, inside)
        if directory is not None or not _is_special(path):
            os.unlink(place, dir_fd=directory)
    except OSError as error:  # why we end must not be lost
        # a hook, or who reads it, has taken it; or something inside has put a link or a directory there
        if error.errno not in (abi.ENOENT, abi.ELOOP, abi.ENOTDIR, abi.EISDIR):
            raise
    finally:
        if directory is not None:
            os.close(directory)


def _is_special(path: str) -> bool:
    try:
        if is_link(path) and foreign(path):  # it is replaced
            return False
        if not stat.S_ISREG(os.stat(path).st_mode):
            return True
        return os.readlink(path).startswith("/proc/")  # a standard stream, which is a file
    except OSError:  # EINVAL: no link
        return False


def is_link(path: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        return False


def foreign(link: str) -> bool:
    """Whether it is neither root's nor ours: who made it, a user in whose directory root writes something,
    would choose what file that is. The kernel has this rule for /tmp alone (proc(5), protected_symlinks)."""
    owner = os.lstat(link).st_uid
    if owner == paths.NOBODY:  # in a user namespace the host's root, too, who is none of its ids
        return paths.read_text("/proc/self/uid_map").split() == ["0", "0", "4294967295"]
    return owner not in (0, os.geteuid())


def _place(path: str, inside: "set[tuple[int, int]] | None") -> "tuple[int | None, str]":
    """Where PATH is to be written: a descriptor of its directory, the caller's to close, and its name there,
    if the way leads through one of the directories INSIDE (see `reach`); else None, and PATH.

    Raises OSError: ELOOP for a link that lies in such a directory, or below.
    """
    if not inside:
        return None, path
    walk = _Walk(inside)
    todo, links = _names(path), 0
    try:
        while todo:
            name = todo.pop(0)
            if walk.entered() and not todo and name != "..":
                return os.dup(walk.here()), name
            target = walk.step(name)
            if target is None:
                continue
            links += 1
            if walk.entered() or links > paths.MAX_LINKS:
                raise OSError(abi.ELOOP, os.strerror(abi.ELOOP), path)
            if not target:
                break
            if target.startswith("/"):
                walk.close()
                walk = _Walk(inside)
            todo[:0] = _names(target)
    except OSError as error:
        if walk.entered() or error.errno == abi.ELOOP:
            raise
    finally:
        walk.close()
    return None, path  # what has failed here fails once more where it is opened


class _Walk:
    """The way from the root, by descriptors: [(descriptor, whether it is one of INSIDE or below)]"""

    def __init__(self, inside: "set[tuple[int, int]]") -> None:
        self.inside = inside
        self.stack = [(os.open("/", _LOOK), False)]

    def here(self) -> int:
        return self.stack[-1][0]

    def entered(self) -> bool:
        return self.stack[-1][1]

    def step(self, name: str) -> "str | None":
        """Go to NAME. What it says if it is a link: then we stay; "" for one of procfs, whose text may be no
        path. Raises OSError."""
        if name == "..":
            if len(self.stack) > 1:
                os.close(self.stack.pop()[0])
            return None
        found = os.open(name, _LOOK, dir_fd=self.here())
        state = os.fstat(found)
        if not stat.S_ISLNK(state.st_mode):
            self.stack.append((found, self.entered() or _identity(state) in self.inside))
            return None
        try:
            return "" if libc.fstatfs_type(found) == abi.PROC_SUPER_MAGIC else os.readlink("", dir_fd=found)
        finally:
            os.close(found)

    def close(self) -> None:
        while self.stack:
            os.close(self.stack.pop()[0])


def _identity(state: "os.stat_result") -> "tuple[int, int]":
    return state.st_dev, state.st_ino


def _names(path: str) -> "list[str]":
    return [name for name in path.split("/") if name not in ("", ".")]
