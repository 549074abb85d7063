"""What is remembered of each container: a directory with state.json, locked by who works on it.

    ROOT/ID/            0700; 01700 while a runtime stands behind it: all its life in the
                        foreground, until the program runs for a detached one; 04700 for a detached
                        one that is to be forgotten once it has ended
    ROOT/ID/state.json  written whole and renamed, so that it is never half there
    ROOT/ID/start.fifo  of one that was created: it waits there for `start`. That it runs nobody has to
                        write down, and who would may be killed: then the pipe has no reader any more

The lock is flock(2) on the directory itself. A runtime holds it as long as it stands behind the
container: a directory of that kind whose lock is free belongs to a runtime that was killed, and
whoever meets it clears it away.

Side: host
"""

import _stat as stat
import fcntl
import time

from . import abi, document, libc, lifetime, paths
from . import unix as os
from .errors import ContainerError, from_os, step
from .spec import CONTAINER_ID, ID_LENGTH

FOREGROUND = 0o1700
PASSING = 0o4700  # set-user-ID, which of a directory means nothing, and stays where a set-group-ID might not
PIPES = ("start.fifo", "words.fifo")
_TELLING = ("config.json", "state.json")
MAX_STATE = 16 << 20
_PLACES = ("/tmp", "/dev/shm", "/var/tmp")  # for those without a runtime directory
BUSY = 0.25  # seconds: who has the lock of one that is created for longer is `start`, which waits for hooks
_CHARACTERS = frozenset(CONTAINER_ID)
_OTHER_PLACE = "minictr --root DIR VERB ... has it in another place"
_NO_ROOM = {
    abi.ENOSPC: "the file system is full; " + _OTHER_PLACE,
    abi.EDQUOT: "the user's quota is used up; " + _OTHER_PLACE,
}


def default_root() -> str:
    """Where containers are remembered: /run/minictr for root, else the user's runtime directory."""
    uid = number = os.geteuid()
    if uid == 0:
        if os.access("/run", os.W_OK):
            return "/run/minictr"
        from . import idtables

        # in a user's namespace: each of them has a 0
        number = idtables.on_host(idtables.read("uid_map"), uid)
    runtime = os.getenv("XDG_RUNTIME_DIR") or "/run/user/%d" % number
    if os.path.isdir(runtime) and os.access(runtime, os.W_OK) and os.stat(runtime).st_uid == uid:
        return runtime + "/minictr"
    places = ["%s/minictr-%d" % (place, number) for place in _PLACES if os.access(place, os.W_OK)]
    if not places:
        raise _no_place()
    owners = [_owner(path) for path in places]
    # what somebody else has there is in nobody's way, and once it goes, nothing of ours is lost sight of
    wanted = next((owner for owner in (uid, None) if owner in owners), owners[0])
    return places[owners.index(wanted)]


def _no_place() -> ContainerError:
    """Of a root file system that is read-only, with nothing mounted over it yet."""
    from . import fixes

    there, hint = [place for place in _PLACES if os.path.isdir(place)], _OTHER_PLACE
    if there:
        hint = fixes.as_root("mount -t tmpfs -o mode=1777 tmpfs %s" % there[0]) + "; or " + hint
    why = "none of %s is writable" % ", ".join(("/run",) + _PLACES)
    return ContainerError("find a place for the container's state", why, hint=hint)


def _owner(path: str) -> "int | None":
    """The user id that PATH belongs to, and be it a link; None where there is nothing."""
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def open_root(path: str) -> int:
    """A descriptor of the state root, made if missing. It must be ours and nobody else's to write. What
    is told there of processes is looked up in /proc."""
    paths.own_proc()
    hints = dict.fromkeys((abi.EROFS, abi.EACCES, abi.ENOSPC), _OTHER_PLACE)
    with step("make the state directory %s" % path, hints=hints):
        try:
            os.makedirs(path, 0o700)
        except FileExistsError:
            pass
    using = "use the state directory %s" % path
    with step(using, hints=hints):
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    owner = os.fstat(root)
    if owner.st_uid != os.geteuid():
        os.close(root)
        hint = "call it as that user, or with another --root DIR"
        raise ContainerError(using, "it belongs to user %d" % owner.st_uid, hint=hint)
    if owner.st_mode & 0o022:
        os.close(root)
        raise ContainerError(using, "others may write to it", hint="chmod go-w %s, or --root DIR" % path)
    return root


def open_existing(path: str) -> "int | None":
    """The same of one that may be missing, and is not made: None then, and for nothing else."""
    with step("look at the state directory %s" % path):
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
    return open_root(path)


def is_id(name: str) -> bool:
    """Whether NAME is a plain name of at most ID_LENGTH characters."""
    return 0 < len(name) <= ID_LENGTH and set(name) <= _CHARACTERS and name not in (".", "..")


def check_id(identifier: str) -> None:
    """Raises ContainerError unless IDENTIFIER can be one."""
    if not is_id(identifier):
        raise ContainerError(
            "use the container id %r" % identifier,
            "ids are letters, digits and _ + - ., at most %d of them" % ID_LENGTH,
        )


class Entry:
    """One container's directory, locked. path: where it is; descriptor: the directory, and the lock"""

    def __init__(self, root_path: str, root: int, identifier: str, descriptor: int) -> None:
        self.root, self.identifier, self.descriptor = root, identifier, descriptor
        self.path = os.path.join(root_path, identifier)

    def save(self, content: "dict[str, object]") -> None:
        """Write state.json: whole, or not at all."""
        self.write(content)
        self.publish()

    def write(self, content: "dict[str, object]") -> None:
        """Write the next state.json beside the one that others read."""
        with step("write the state of container %s" % self.identifier, hints=_NO_ROOM):
            self._write("state.tmp", content)

    def publish(self) -> None:
        """Let others read what was written."""
        with step("write the state of container %s" % self.identifier, hints=_NO_ROOM):
            os.replace("state.tmp", "state.json", src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def _write(self, name: str, content: "dict[str, object]") -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(name, flags, 0o600, dir_fd=self.descriptor)
        data = document.dumps(content).encode("ascii")
        try:
            while data:
                data = data[os.write(file, data) :]
        finally:
            os.close(file)

    def load(self) -> "dict[str, object]":
        """What state.json says. Where that is missing, broken or not ours: {}, or that it is being made.

        Raises ContainerError where it cannot be read now: else one that runs would be forgotten.
        """
        content = None
        try:
            text = paths.read_file(self.descriptor, "state.json", MAX_STATE).decode("utf-8", "replace")
            content = document.loads(text)
        except OSError as error:
            if error.errno not in (abi.ENOENT, abi.ENOTDIR, abi.ELOOP):
                raise from_os("read the state of container %s" % self.identifier, error) from error
        except (ValueError, ContainerError):
            pass
        from . import sound  # no start reads what another one has written

        if not isinstance(content, dict) or not sound.is_state(content):
            return {"status": "creating"} if is_foreground(self) and not self.lock() else {}
        earlier = bool(content.get("boot")) and lifetime.boot() not in ("", content["boot"])
        if earlier:  # its numbers are others' by now
            content.update(pid=0, start_time=0, own_pids=True)
        if content.get("status") == "created" and not self._waits():
            content["status"] = "running"
        return content

    def _waits(self) -> bool:
        """Whether the first process of one that was created has yet to execute its program: until then it
        has its end of the pipe open, for both directions, so that it takes no notice of us."""
        try:
            os.close(self._open_go())
        except OSError as error:
            return error.errno not in (abi.ENOENT, abi.ENXIO)
        return True

    def _open_go(self) -> int:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(PIPES[0], flags, dir_fd=self.descriptor)

    def save_config(self, config: "dict[str, object]") -> None:
        """Write config.json, whole or not at all: what `exec` starts from and `update` changes."""
        self.write_config(config, "config.tmp")
        self.publish_config("config.tmp")

    def write_config(self, config: "dict[str, object]", name: str) -> None:
        """Write the next config.json beside the one that others read.

        name: its own until then; where nobody has the lock, not that of another process
        """
        with step("write the configuration of container %s" % self.identifier, hints=_NO_ROOM):
            try:
                self._write(name, config)
            except OSError:
                self.discard(name)
                raise

    def publish_config(self, name: str) -> None:
        with step("write the configuration of container %s" % self.identifier, hints=_NO_ROOM):
            os.replace(name, "config.json", src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def discard(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self.descriptor)
        except FileNotFoundError:
            pass

    def has_config(self) -> bool:
        try:
            os.stat("config.json", dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def load_config(self) -> "dict":
        """Raises ContainerError where there is none: its runtime was killed too early."""
        from . import sound  # as above

        doing = sound.READING % self.identifier
        try:
            with step(doing):
                text = paths.read_file(self.descriptor, "config.json", MAX_STATE).decode("utf-8", "replace")
            config = document.loads(text)
        except ValueError as error:
            raise ContainerError(doing, "it is broken: %s" % error) from error
        return sound.checked(doing, config)

    def make_pipes(self) -> "tuple[int, int]":
        """The two pipes a created container waits at: where "go" comes from, where its last words
        go to. Both ends are held open, so that neither side waits for the other to open it."""
        with step("make the pipes of container %s" % self.identifier):
            opened = []
            for name in PIPES:
                os.mkfifo(name, 0o600, dir_fd=self.descriptor)
                opened.append(os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.descriptor))
            return opened[0], opened[1]

    def open_pipes(self) -> "tuple[int, int]":
        """The other ends, of the last words and of "go": end of file comes when the process that waits has
        closed its own."""
        flags = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        doing = "start container %s" % self.identifier
        with step(doing, hints={abi.ENXIO: "its first process has ended: delete it"}):
            words = os.open(PIPES[1], os.O_RDONLY | flags, dir_fd=self.descriptor)
            go = self._open_go()
        os.set_blocking(words, True)
        return words, go

    def remove_pipes(self) -> None:
        """From then on it is no more "created"; nor is it where they stay, as nobody reads there any more."""
        for name in PIPES:
            try:
                os.unlink(name, dir_fd=self.descriptor)
            except OSError:  # the disk has become read-only, or failed: no reason for what runs to end
                pass

    def leave(self, passing: bool) -> None:
        """Nobody stands behind it from now on. passing: who meets it once it has ended is to forget it"""
        with step("let go of container %s" % self.identifier):
            os.fchmod(self.descriptor, PASSING if passing else 0o700)

    def remove(self) -> None:
        hints = {abi.EBUSY: "something is mounted there: umount it"}
        with step("remove the directory of container %s" % self.identifier, hints):
            # what tells of it goes last, should anything else stay
            for name in sorted(os.listdir(self.descriptor), key=lambda name: name in _TELLING):
                try:
                    os.unlink(name, dir_fd=self.descriptor)
                except IsADirectoryError:
                    from . import clearing  # only where somebody has put one there

                    clearing.clear(self.descriptor, name, self.path)
            os.rmdir(self.identifier, dir_fd=self.root)

    def lock(self) -> bool:
        """Take the lock, if nobody else has it."""
        with step("lock container %s" % self.identifier):
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def unlock(self) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def forgotten(self) -> bool:
        """Whether it was removed since it was opened."""
        return os.fstat(self.descriptor).st_nlink == 0

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self.descriptor)


def create(root_path: str, root: int, identifier: str) -> Entry:
    """A new, locked Entry with a runtime behind it. Raises ContainerError if the id is taken."""
    check_id(identifier)
    for _ in range(100):
        entry = _create(root_path, root, identifier)
        if entry is not None:
            return entry
    raise ContainerError("create container %s" % identifier, "others take its directory away at once")


def _create(root_path: str, root: int, identifier: str) -> "Entry | None":
    """None where somebody who cleared up took the new directory, not locked yet, for one left behind."""
    try:
        os.mkdir(identifier, FOREGROUND, dir_fd=root)
    except FileExistsError:
        raise ContainerError(
            "create container %s" % identifier, "container with id exists", abi.EEXIST,
            "minictr delete %s, or another id" % identifier,
        ) from None  # fmt: skip
    except OSError as error:
        number = error.errno or 0
        hint = _OTHER_PLACE if number == abi.EROFS else _NO_ROOM.get(number, "")
        raise ContainerError("create container %s" % identifier, "", number, hint) from error
    try:
        with step("lock container %s" % identifier):
            try:
                entry = Entry(root_path, root, identifier, _open(root, identifier))
            except FileNotFoundError:
                return None
            fcntl.flock(entry.descriptor, fcntl.LOCK_EX)
            if entry.forgotten():
                entry.close()
                return None
            return entry
    except ContainerError:
        os.rmdir(identifier, dir_fd=root)
        raise


def find(
    root_path: str, root: int, identifier: str, wait: bool = True, hooks: bool = False
) -> "Entry | None":
    """The Entry of IDENTIFIER, locked; without the lock if a foreground runtime holds it, or `start` while
    the hooks before the program run, which may ask for the container: with HOOKS they are waited for, too.

    None where there is none.
    """
    check_id(identifier)
    try:
        descriptor = _open(root, identifier)
    except OSError as error:
        if error.errno in (abi.ENOENT, abi.ENOTDIR, abi.ELOOP, abi.EXDEV):
            return None
        raise ContainerError("open container %s" % identifier, "", error.errno or 0) from error
    entry = Entry(root_path, root, identifier, descriptor)
    if wait and not is_foreground(entry):
        _wait(entry, hooks)
        if entry.forgotten():
            entry.close()
            return None
    return entry


def _wait(entry: Entry, hooks: bool) -> None:
    deadline = time.monotonic() + BUSY
    while not entry.lock():
        if hooks or entry.load().get("status") != "created":
            fcntl.flock(entry.descriptor, fcntl.LOCK_EX)
            return
        if time.monotonic() > deadline:
            return
        time.sleep(0.005)


def is_foreground(entry: Entry) -> bool:
    return bool(os.fstat(entry.descriptor).st_mode & stat.S_ISVTX)


def is_orphan(entry: Entry) -> bool:
    """A foreground container whose runtime is gone: its lock is free, and now ours."""
    return is_foreground(entry) and entry.lock() and not entry.forgotten()


def is_passing(entry: Entry) -> bool:
    """A container that is to be forgotten once it has ended, and that nobody works on: its lock is ours."""
    passing = os.fstat(entry.descriptor).st_mode & stat.S_ISUID
    return bool(passing) and entry.lock() and not entry.forgotten()


def identifiers(root: int) -> "list[str]":
    """The containers in a state root, whatever else lies there."""
    return sorted([name for name in os.listdir(root) if is_id(name)])


def _open(root: int, identifier: str) -> int:
    """Not what is mounted there: in the container's mount namespace, where its own hooks run, that is its
    root, and may have a state.json."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return libc.openat2(root, identifier, flags, abi.RESOLVE_NO_XDEV)
    except OSError as error:
        if error.errno not in (abi.ENOSYS, abi.EPERM):
            raise
    return os.open(identifier, flags, dir_fd=root)


def now() -> str:
    """RFC 3339, UTC, with nanoseconds as engines write it."""
    seconds = time.time()
    parts = time.gmtime(seconds)
    return "%04d-%02d-%02dT%02d:%02d:%02d.%09dZ" % (parts[:6] + (int(seconds % 1 * 1e9),))
