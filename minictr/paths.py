"""Names resolved safely under a root directory, by descriptors alone.

A container's root file system is not to be trusted: a link in it may lead out, and another
process may swap one while we look. So a name is resolved once, under a descriptor of the root,
and what comes back is a descriptor too (CVE-2017-1002101, CVE-2019-18837, CVE-2021-30465).

openat2(2) does that in one call; where it is missing (before 5.6, or refused by a seccomp
profile of old) a walk does, component by component, each opened with O_NOFOLLOW. The walk keeps
the descriptors of the directories it came through, so ".." never leads anywhere else; that it may be
said at all, of a directory that may be searched, the kernel is asked by "." instead.

Side: both
"""

import _stat as stat

from . import abi, libc
from . import unix as os
from .errors import ContainerError, step

MAX_LINKS = 40  # as many as the kernel follows
MAX_TRIES = 128  # of openat2(2), before the walk that needs no luck
NOBODY = 65534  # how an id without a map is shown
_RESOLVE = abi.RESOLVE_IN_ROOT | abi.RESOLVE_NO_MAGICLINKS


def open_in(root: int, path: str, flags: int = abi.O_PATH) -> int:
    """A descriptor of PATH under the directory ROOT; links are followed inside it.

    Raises OSError: ENOENT, ELOOP, ...
    """
    for _ in range(MAX_TRIES):
        try:
            return libc.openat2(root, path or ".", flags, _RESOLVE)
        except OSError as error:
            if error.errno in (abi.ENOSYS, abi.EPERM):
                break
            if error.errno != abi.EAGAIN:  # somewhere something was renamed or mounted, and ".." is not sure
                raise
    found = _walk(root, path, None)
    if flags & abi.O_PATH:
        if flags & os.O_DIRECTORY and not stat.S_ISDIR(os.fstat(found).st_mode):
            os.close(found)
            raise OSError(abi.ENOTDIR, os.strerror(abi.ENOTDIR), path)
        return found
    try:
        return os.open(descriptor_path(found), flags | os.O_CLOEXEC)
    finally:
        os.close(found)


def open_straight(directory: str, path: str) -> int:
    """An O_PATH descriptor of the directory PATH below DIRECTORY, behind no link: OSError ENOTDIR with
    the name of one."""
    flags = abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    found = os.open(directory, flags)
    for name in [name for name in path.split("/") if name not in ("", ".")]:
        directory, parent = os.path.join(directory, name), found
        try:
            found = os.open(name, flags | os.O_NOFOLLOW, dir_fd=parent)
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or 0), directory) from None
        finally:
            os.close(parent)
    return found


def above(directory: int) -> int:
    """What is mounted over DIRECTORY, which has no name that leads there: the ".." of a root is the
    root itself, with what lies over it (follow_dotdot() in fs/namei.c)."""
    for _ in range(MAX_TRIES):
        try:
            return libc.openat2(directory, "..", abi.O_PATH, abi.RESOLVE_IN_ROOT)
        except OSError as error:
            if error.errno in (abi.ENOSYS, abi.EPERM):
                break
            if error.errno != abi.EAGAIN:  # as above: any rename on the host will do, the runtime's own too
                raise
    before = os.open("/", abi.O_PATH | os.O_CLOEXEC)
    os.fchdir(directory)
    libc.chroot(".")
    try:
        return os.open("..", abi.O_PATH | os.O_CLOEXEC)
    finally:
        os.fchdir(before)
        libc.chroot(".")
        os.close(before)


def make_in(root: int, path: str, directory: bool = True, mode: int = 0o755) -> int:
    """The same as an O_PATH descriptor, and what is missing of PATH is made on the way.

    The last component is made as a directory, or as an empty file with DIRECTORY false.
    """
    try:
        return open_in(root, path)
    except OSError as error:
        if error.errno != abi.ENOENT:
            raise
    return _walk(root, path, mode, directory)


def read_file(root: int, path: str, limit: int) -> bytes:
    """The content of the regular file PATH under ROOT.

    Raises ContainerError if it is anything else (a FIFO would block us) or longer than LIMIT bytes,
    OSError if it cannot be opened.
    """
    found = open_in(root, path)
    try:
        return read_found(found, path, limit)
    finally:
        os.close(found)


def read_found(found: int, path: str, limit: int) -> bytes:
    """The same of an O_PATH descriptor."""
    if not stat.S_ISREG(os.fstat(found).st_mode):  # before it is opened: to open a device can be to use it
        raise ContainerError("read %s of the container" % path, "not a regular file")
    descriptor = os.open(descriptor_path(found), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        pieces, left = [], limit + 1  # type: list[bytes], int
        while left:
            piece = os.read(descriptor, min(left, 65536))
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            left -= len(piece)
        raise ContainerError("read %s of the container" % path, "longer than %d bytes" % limit)
    finally:
        os.close(descriptor)


def closed_to_all(root: int, path: str) -> bool:
    """Whether PATH under ROOT, which we may not reach, lies in a directory that nobody inside may enter: one
    of ids that the container has not. Another one may be closed to the set-up, and open to the program."""
    names, found = path.strip("/").split("/"), None
    try:
        for count in range(len(names)):
            place = open_in(root, "/".join(names[:count]) or "/")
            found = os.fstat(place)
            os.close(place)
    except OSError:
        pass  # the last one that we have seen is the one that is closed
    return found is not None and found.st_uid == found.st_gid == NOBODY and not found.st_mode & 0o001


def descriptor_path(descriptor: int) -> str:
    """A path that leads to DESCRIPTOR whatever happens to its name; /proc is to be genuine (`open_proc`)."""
    return "/proc/self/fd/%d" % descriptor


def close_from(first: int, kept, proc: int) -> None:
    """Close every descriptor from FIRST on but KEPT; PROC too, which is from `open_proc`.

    Before 5.9, or where close_range(2) is refused, by the list of them in that very /proc: what a root has by
    this name may be its own, and tell of none (CVE-2024-21626).
    """
    ends = sorted(kept) + [0x80000000]
    ranges = [(low + 1, high - 1) for low, high in zip([first - 1] + ends, ends) if high - low > 1]
    try:
        for low, high in ranges:
            libc.close_range(low, high)
        return
    except OSError as error:
        if error.errno not in (abi.ENOSYS, abi.EPERM):
            raise
    listed = os.open("self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc)
    for number in [int(name) for name in os.listdir(listed)]:
        if number >= first and number not in kept:
            try:
                os.close(number)
            except OSError as error:  # the listing had one of its own
                if error.errno != abi.EBADF:
                    raise


def open_proc() -> int:
    """A descriptor of /proc, which must be the genuine one: another could make any write a lie
    (CVE-2019-16884, CVE-2025-52881)."""
    with step("open /proc", hints={abi.ENOENT: "mount -t proc proc /proc"}):
        descriptor = os.open("/proc", abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    genuine = (
        libc.fstatfs_type(descriptor) == abi.PROC_SUPER_MAGIC
        and os.fstat(descriptor).st_ino == abi.PROC_ROOT_INO
    )
    if not genuine:
        os.close(descriptor)
        raise ContainerError("open /proc", "not the proc file system", hint="mount -t proc proc /proc")
    return descriptor


def own_proc() -> None:
    """Raises ContainerError unless /proc tells of our own PID namespace. That of another, as after `unshare
    --pid` alone, has other processes under our numbers: their files would be written to, and a container that
    lives would be taken for one that has ended."""
    try:
        told = os.readlink("/proc/self")
    except OSError:
        os.close(open_proc())  # which says so of what is none
        told = ""
    if told != str(os.getpid()):
        hint = "mount -t proc proc /proc, as unshare --mount-proc does"
        raise ContainerError("open /proc", "it shows another PID namespace than ours", hint=hint)


def write_proc(proc: int, path: str, content: "str | bytes", proof: "str | None" = None) -> None:
    """Write PATH below PROC, a descriptor from `open_proc`, in one write.

    PROOF: read the file back and raise ContainerError unless it says that
    The file must lie on that very procfs, behind no link but /proc/self.
    """
    data = content.encode() if isinstance(content, str) else content
    descriptor = _open_to_write(proc, path)
    try:
        if libc.fstatfs_type(descriptor) != abi.PROC_SUPER_MAGIC:
            raise ContainerError("write /proc/%s" % path, "something is mounted over it")
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
    if proof is not None:
        said = read_proc(proc, path)
        if said.strip().split() != proof.split():
            raise ContainerError("write /proc/%s" % path, "wrote %r, reads %r" % (proof, said))


def _open_to_write(proc: int, path: str) -> int:
    """Not even another file of procfs may lie over it. Below /proc/sys outer containers have mounts of
    their own, and what lies there is procfs or refused."""
    resolve = abi.RESOLVE_BENEATH | abi.RESOLVE_NO_MAGICLINKS
    try:
        no_mounts = 0 if path.startswith("sys/") else abi.RESOLVE_NO_XDEV
        return libc.openat2(proc, path, os.O_WRONLY | os.O_NOFOLLOW, resolve | no_mounts)
    except OSError as error:
        if error.errno == abi.EXDEV:
            raise ContainerError("write /proc/%s" % path, "something is mounted over it") from None
        if error.errno not in (abi.ENOSYS, abi.EPERM):
            raise
    return os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=proc)


def read_proc(proc: int, path: str) -> str:
    """The text of PATH below PROC."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=proc)
    try:
        return read_all(descriptor).decode("utf-8", "surrogateescape")
    finally:
        os.close(descriptor)


def read_all(descriptor: int) -> bytes:
    """What is left to be read, up to the end."""
    pieces = []  # type: list[bytes]
    while True:
        piece = os.read(descriptor, 65536)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def read_text(path: str, limit: int = 1 << 20, at: "int | None" = None) -> str:
    """The text of a host file, "" where it does not exist or may not be read. at: what PATH is relative to"""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=at)
    except OSError as error:
        if error.errno in (abi.ENOENT, abi.EACCES, abi.EPERM, abi.ENOTDIR, abi.ENODEV, abi.ENXIO):
            return ""
        raise
    try:
        pieces = []
        while limit > 0:
            piece = os.read(descriptor, min(limit, 65536))
            if not piece:
                break
            pieces.append(piece)
            limit -= len(piece)
        return b"".join(pieces).decode("utf-8", "surrogateescape")
    except OSError as error:  # a file of a process or a cgroup that has ended since it was opened
        if error.errno not in (abi.ESRCH, abi.ENODEV):
            raise
        return ""
    finally:
        os.close(descriptor)


def _walk(root: int, path: str, mode: "int | None", directory: bool = True) -> int:
    """PATH under ROOT by a component at a time; with MODE, what is missing is made."""
    stack = [os.dup(root)]
    todo = _names(path)
    links = 0
    try:
        while todo:
            name = todo.pop(0)
            if name in (".", ".."):
                if name == ".." or mode is None:  # else it may be a file that was made a moment ago
                    os.stat(".", dir_fd=stack[-1])
                if name == ".." and len(stack) > 1:
                    os.close(stack.pop())
                continue
            stack.append(_enter(stack[-1], name, mode, directory or todo not in ([], ["."])))
            if not stat.S_ISLNK(os.fstat(stack[-1]).st_mode):
                continue
            target = os.readlink("", dir_fd=stack[-1])
            os.close(stack.pop())
            links += 1
            if links > MAX_LINKS:
                raise OSError(abi.ELOOP, os.strerror(abi.ELOOP), path)
            if target.startswith("/"):
                while len(stack) > 1:
                    os.close(stack.pop())
            todo[:0] = _names(target)
        found = stack.pop()
        return found
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from None
    finally:
        for descriptor in stack:
            os.close(descriptor)


def _names(path: str) -> "list[str]":
    """The components of PATH; at its end "." for a slash, by which it can be a directory alone."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    return names + (["."] if path.endswith(("/", "/.")) else [])


def _enter(parent: int, name: str, mode: "int | None", directory: bool) -> int:
    """An O_PATH descriptor of NAME in PARENT, a link being opened itself; made if MODE is given."""
    flags = abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        if mode is None or error.errno != abi.ENOENT:
            raise
    try:
        if directory:
            os.mkdir(name, mode, dir_fd=parent)
        else:
            made = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, made, mode & 0o666, dir_fd=parent))
    except OSError as error:
        if error.errno != abi.EEXIST:  # somebody else was quicker: what is there is opened below
            raise
    return os.open(name, flags, dir_fd=parent)


def plain(path: str) -> str:
    """PATH as an absolute one without doubled slashes, "." and "..": "/a/b" (normpath keeps "//a")."""
    return os.path.normpath("/" + path.strip("/"))
