"""Detached clones of the host's mounts whose ids are shown through a container's maps (mount_setattr(2)):
only the runtime holds the capability over their file systems that this takes.

Side: host
"""

from . import abi, libc, maps, mounting, mounts, namespaces
from . import unix as os
from .errors import ContainerError, Degradation
from .rootfs import REFUSED, ids_record


def make(plan, proc: int, pid: int, indexes, degrade) -> "dict[int, int]":
    """{index in plan.mounts, or -1 for the root: descriptor} for each of INDEXES that can be shown so.

    proc: from paths.open_proc; pid: of a process in the container's user namespace
    degrade: takes a Degradation, and may raise
    """
    made = {}
    root = mounts.Mount(target="", kind="bind", source=plan.root.path, recursive=True, idmap="ridmap")
    around = plan.root.around
    for index in indexes:
        mount = plan.mounts[index] if index >= 0 else root
        try:
            made[index] = _idmapped(proc, pid, mount, around)
        except OSError as error:
            if error.errno not in REFUSED + (abi.EINVAL, abi.EOPNOTSUPP):
                raise ContainerError("show the ids of %s" % mount.source, "", error.errno or 0) from error
            record = ids_record(mount.source, error.errno or 0)
            degrade(_with_cause(record, mount.source, _refusing(proc, pid, mount, around)))
    return made


def _refusing(proc: int, pid: int, mount: mounts.Mount, around: int) -> str:
    """The place of the file system that cannot be shown so: the source of MOUNT, or one below it."""
    from . import signs  # only where something was refused

    top = os.path.realpath(mount.source)
    below = [found.place for found in signs.mounts() if found.place.startswith(top.rstrip("/") + "/")]
    for place in [top] + below if mount.recursive else []:
        try:
            os.close(_idmapped(proc, pid, mount.replace(source=place, recursive=False), around))
        except OSError:
            return place
    return top


def _idmapped(proc: int, pid: int, mount: mounts.Mount, around: int) -> int:
    tree = _clone_source(mount)
    try:
        _detach_from_host(tree, around)
        if mount.mappings:
            userns = _userns_of(proc, mount.mappings)
        else:
            userns = os.open("%d/ns/user" % pid, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            # config.md, "Linux mount options": "idmap" is of one mount alone
            below = mount.idmap == "ridmap"
            libc.mount_setattr(tree, abi.MOUNT_ATTR_IDMAP, userns_fd=userns, recursive=below)
        finally:
            os.close(userns)
    except OSError:
        os.close(tree)
        raise
    return tree


def _clone_source(mount: mounts.Mount) -> int:
    flags = abi.O_PATH | os.O_CLOEXEC | (os.O_NOFOLLOW if mount.nofollow else 0)
    source = os.open(mount.source, flags)
    try:
        return mounting.clone_tree(source, mount.recursive)
    finally:
        os.close(source)


def _detach_from_host(tree: int, around: int) -> None:
    """Cloned in our mount namespace, TREE is a peer of the host's mounts, where all would appear that is
    mounted on it. It spreads as what is cloned in the container's own."""
    if not around & abi.MS_SHARED:
        libc.mount_setattr(tree, 0, 0, around & ~abi.MS_REC, recursive=True)


def _userns_of(proc: int, mappings) -> int:
    """A descriptor of a user namespace with these maps, which nobody lives in."""
    reader, writer = os.pipe()
    pid = namespaces.clone(proc, abi.CLONE_NEWUSER)
    if pid == 0:
        try:
            os.close(writer)
            os.read(reader, 1)
        finally:  # a signal that ends the making: what is undone then is the runtime's
            os._exit(0)
    os.close(reader)
    try:
        table = maps.Maps(way="direct", uids=mappings[0], gids=mappings[1])
        maps.write(proc, pid, table, None)
        return os.open("%d/ns/user" % pid, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    finally:
        os.close(writer)
        os.waitpid(pid, 0)


def _with_cause(record: Degradation, source: str, place: str) -> Degradation:
    from . import causes

    cause = causes.why(record.cause, record.errno, path=place, below=place != os.path.realpath(source))
    record.why, record.fix = cause.why, cause.fix
    return record
