"""Files of the host that our caller names for us to write: logs, and files with the id of a process or of
a container.

Where others may write, too, whoever makes a link there would choose what file that is. A link of another
user's is told by its owner; and so is a file or a pipe of theirs in a directory of everybody's (/tmp), from
which the kernel keeps others only where protected_regular and protected_fifos are set (proc(5)). What lies in
a container's own files is not: its root's are root's on the host as well, or the caller's. There no link is
followed, and nothing opened but a regular file.

Side: host
"""

import _stat as stat

from . import abi, libc, paths
from . import unix as os
from .errors import ContainerError, step
from .record import MYPY

if MYPY:
    from typing import Set, Tuple

    Places = Set[Tuple[int, int]]

FOREIGN = {
    abi.ELOOP: "it is a link of another user's, or of a container's: name the file itself, or another place",
    abi.EINVAL: "what a container has there is not a regular file: name another place",
    abi.EPERM: "another user has made it, where anybody may (or chattr forbids it): name another place",
}
TRIES = 100  # to open what others make and remove meanwhile
_LOOK = abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def reach(spec) -> "Places":
    """The directories of the host that the container SPEC may change, each by its st_dev and st_ino: its
    root, and the volumes that it may write to; but not the host's own root, and of a bundle the root alone:
    an engine's own files may lie in a volume (/var), behind links of the host's (/var/run)."""
    wanted = [spec.config["root"]["path"]]
    for entry in spec.config.get("mounts") or () if spec.source != "bundle" else ():
        options = entry.get("options") or ()
        if entry.get("type") == "bind" and "ro" not in options and "rro" not in options:
            wanted.append(entry["source"])
    states, own = [], os.stat("/")
    for place in wanted:
        try:
            states.append(os.stat(os.path.join(spec.bundle, place)))
        except OSError:  # what opens it will tell
            pass
    return {(state.st_dev, state.st_ino) for state in states} - {(own.st_dev, own.st_ino)}


def reach_of_all(root_path: str) -> "Places":
    """The same of all containers that are remembered below ROOT_PATH, as far as it can be read."""
    from . import state  # for verbs on what there is

    found = set()  # type: Places
    try:
        root = state.open_existing(root_path)
        if root is None:
            return found
        for identifier in state.identifiers(root):
            found |= _reach_of(root_path, root, identifier)
        os.close(root)
    except (ContainerError, OSError):  # of which the verb itself tells
        pass
    return found


def _reach_of(root_path: str, root: int, identifier: str) -> "Places":
    from . import state
    from .spec import Spec

    try:
        entry = state.find(root_path, root, identifier, wait=False)
        if entry is None:
            return set()
        try:
            content, config = entry.load(), entry.load_config()
        finally:
            entry.close()
        bundle, source = content.get("bundle") or "/", content.get("source") or "bundle"
        return reach(Spec(config=config, identifier=identifier, bundle=bundle, source=source))
    except (ContainerError, OSError):
        return set()
    except (AttributeError, LookupError, TypeError, ValueError):  # somebody has changed it by hand
        return set()


def open_output(path: str, flags: int, mode: int = 0o644, inside: "Places | None" = None) -> int:
    """Open PATH to write to it. inside: see `reach`; there it must be a regular file, or be made one

    Raises OSError: ELOOP for a link that is not to be followed, EINVAL for what is no file.
    """
    way, flags = _Way(path, inside or set()), flags | os.O_WRONLY | os.O_CLOEXEC
    try:
        for _ in range(TRIES):
            try:
                found = os.open(way.name, _LOOK, dir_fd=way.here)
            except FileNotFoundError:
                try:
                    return os.open(way.name, flags | os.O_EXCL, mode, dir_fd=way.here)
                except FileExistsError:  # by now
                    continue
            try:
                state = os.fstat(found)
                if not stat.S_ISLNK(state.st_mode):
                    return _open_found(found, way, state.st_mode, flags & ~os.O_CREAT)
                if _is_magic(found):
                    return os.open(way.name, flags & ~os.O_CREAT, dir_fd=way.here)
                way.go(way.target(found, state))
            finally:
                os.close(found)
        raise OSError(abi.EEXIST, os.strerror(abi.EEXIST), path)
    finally:
        way.close()


def _open_found(found: int, way: "_Way", mode: int, flags: int) -> int:
    """By its name as long as it is no container's: that may be another file's by now."""
    if not way.entered:
        if _is_planted(found, way.here):
            raise OSError(abi.EPERM, os.strerror(abi.EPERM))
        return os.open(way.name, flags | os.O_NOFOLLOW, dir_fd=way.here)
    if not stat.S_ISREG(mode):
        raise OSError(abi.EINVAL, os.strerror(abi.EINVAL))
    return os.open(paths.descriptor_path(found), flags)


def _is_planted(found: int, directory: int) -> bool:
    """As may_create_in_sticky() in fs/namei.c has it. One that is not is no other by the time that it is
    opened by its name: only its owner, or that of DIRECTORY, may remove it there."""
    state, around = os.fstat(found), os.fstat(directory)
    if not (around.st_mode & stat.S_ISVTX and around.st_mode & stat.S_IWOTH):
        return False
    plain = stat.S_ISREG(state.st_mode) or stat.S_ISFIFO(state.st_mode)
    return plain and state.st_uid not in (around.st_uid, os.geteuid())


def write_files(spec, pid: int, inside: "Places") -> None:
    """Those that SPEC names for the process id PID and for the id: each of them, or none."""
    if spec.id_file:
        _write_id_file(spec.id_file, spec.identifier, inside)
    if spec.pid_file:
        try:
            write_pid_file(spec.pid_file, pid, inside)
        except BaseException:
            take_files(spec.replace(pid_file=""), inside)
            raise


def take_files(spec, inside: "Places") -> None:
    """Away with them, where the program did not run, or not as it should."""
    for path in (spec.id_file, spec.pid_file):
        if path:
            take_pid_file(path, inside)


def _write_id_file(path: str, identifier: str, inside: "Places") -> None:
    """A new file: another container's is not written over, as with podman and docker."""
    hints = dict(FOREIGN)
    hints[abi.EEXIST] = "it may be that of a container that runs: remove it before"
    with step("write the id file %s" % path, hints=hints):
        way = _Way(path, inside)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            file = os.open(way.name, flags, 0o644, dir_fd=way.here)
            try:
                os.write(file, os.fsencode(identifier))
            except OSError:
                os.unlink(way.name, dir_fd=way.here)
                raise
            finally:
                os.close(file)
        finally:
            way.close()


def write_pid_file(path: str, pid: int, inside: "Places | None" = None) -> None:
    """Whole or not at all: who reads it early finds nothing, never half a number. Into what is there and is
    no file, /dev/stdout or a device, it is written as anybody would: that is not to be replaced."""
    with step("write the pid file %s" % path, hints=FOREIGN):
        way = _Way(path, inside or set())
        try:
            if way.is_special():
                file = open_output(path, os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY, inside=inside)
                try:
                    os.write(file, b"%d" % pid)
                finally:
                    os.close(file)
            else:
                _replace(way, pid)
        finally:
            way.close()


def _replace(way: "_Way", pid: int) -> None:
    """What has its name, and be it a link."""
    temporary = ".minictr-" + os.urandom(8).hex()  # none that a killed process has left, nor too long
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    file = os.open(temporary, flags, 0o644, dir_fd=way.here)
    try:
        os.write(file, b"%d" % pid)
        os.replace(temporary, way.name, src_dir_fd=way.here, dst_dir_fd=way.here)
    except OSError:
        os.unlink(temporary, dir_fd=way.here)
        raise
    finally:
        os.close(file)


def take_pid_file(path: str, inside: "Places | None" = None) -> None:
    """Away with it, whoever has written it."""
    try:
        way = _Way(path, inside or set())
        try:
            if not way.is_special():
                os.unlink(way.name, dir_fd=way.here)
        finally:
            way.close()
    except OSError as error:  # why we end must not be lost
        # a hook, or who reads it, has taken it; or somebody has put a link or a directory there
        if error.errno not in (abi.ENOENT, abi.ELOOP, abi.ENOTDIR, abi.EISDIR):
            raise


class _Way:
    """The way from the host's root to the directory that PATH lies in, by descriptors: no link on it is
    another one by the time that something is opened there. Raises OSError: ELOOP for a link of somebody's who
    is not to choose.

    name: of the file there; here: its directory; entered: that is one of INSIDE (see `reach`), or below
    """

    def __init__(self, path: str, inside: "Places") -> None:
        self.inside, self.links, self.name = inside, 0, ""
        self.stack = [(os.open("/", _LOOK), False)]
        try:
            self.go(path if path.startswith("/") else os.path.join(os.getcwd(), path))
        except BaseException:
            self.close()
            raise

    @property
    def here(self) -> int:
        return self.stack[-1][0]

    @property
    def entered(self) -> bool:
        return self.stack[-1][1]

    def go(self, path: str) -> None:
        """On to where PATH, from here, lies."""
        todo = _parts(path)
        self.name = "."
        while todo:
            name = todo.pop(0)
            if name in ("", ".."):
                self._back(1 if not name else max(len(self.stack) - 1, 1))
            elif not todo and not path.endswith(("/", "/.")):
                self.name = name
            else:
                todo[:0] = self._step(name)

    def _step(self, name: str) -> "list[str]":
        """Into a directory; what is to come before the rest of the way where that is a link."""
        found = os.open(name, _LOOK, dir_fd=self.here)
        state = os.fstat(found)
        if stat.S_ISLNK(state.st_mode):
            try:
                if not _is_magic(found):
                    return _parts(self.target(found, state))
            finally:
                os.close(found)
            found = os.open(name, abi.O_PATH | os.O_CLOEXEC, dir_fd=self.here)
            state = os.fstat(found)
        if not stat.S_ISDIR(state.st_mode):  # which `file/../name` would pass else
            os.close(found)
            raise OSError(abi.ENOTDIR, os.strerror(abi.ENOTDIR))
        self.stack.append((found, self.entered or (state.st_dev, state.st_ino) in self.inside))
        return []

    def target(self, link: int, state: "os.stat_result") -> str:
        """What a link here says, if it is to be followed."""
        self.links += 1
        if self.entered or _is_foreign(state.st_uid) or self.links > paths.MAX_LINKS:
            raise OSError(abi.ELOOP, os.strerror(abi.ELOOP))
        return os.readlink("", dir_fd=link)

    def is_special(self) -> bool:
        """Whether what is there is none that is replaced: no file, nor a link to one, but for /dev/stdout."""
        try:
            state = os.stat(self.name, dir_fd=self.here, follow_symlinks=False)
            if self.entered or (stat.S_ISLNK(state.st_mode) and _is_foreign(state.st_uid)):
                return False
            if not stat.S_ISREG(os.stat(self.name, dir_fd=self.here).st_mode):
                return True
            return os.readlink(self.name, dir_fd=self.here).startswith("/proc/")
        except OSError:  # EINVAL: no link
            return False

    def _back(self, length: int) -> None:
        while len(self.stack) > length:
            os.close(self.stack.pop()[0])

    def close(self) -> None:
        self._back(0)


def _parts(path: str) -> "list[str]":
    """The names of PATH, and "" before them for one that starts from the root."""
    return [""] * path.startswith("/") + [name for name in path.split("/") if name not in ("", ".")]


def _is_magic(link: int) -> bool:
    """Whether the kernel itself knows where it leads, whatever it says (proc(5))."""
    return libc.fstatfs_type(link) == abi.PROC_SUPER_MAGIC


def _is_foreign(owner: int) -> bool:
    """Neither root nor ourselves: who made a link in a directory in which root writes something would choose
    what file that is. The kernel has this rule for /tmp alone (proc(5), protected_symlinks)."""
    if owner == paths.NOBODY:  # in a user namespace the host's root, too, who is none of its ids
        return paths.read_text("/proc/self/uid_map").split() == ["0", "0", "4294967295"]
    return owner not in (0, os.geteuid())
