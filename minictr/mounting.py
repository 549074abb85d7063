"""Mounts made: a file system or a part of the host's, attached below the container's root.

Each mount is made detached, given its attributes, and only then attached to a descriptor of its
target (fsopen, open_tree, mount_setattr, move_mount), so that no name is resolved twice and no
half-configured mount can be seen. Kernels before 5.2 (5.12 for the attributes) lack these calls:
there mount(2) is used, on /proc/self/fd/N, which is as much a descriptor.

Side: container
"""

from . import abi, libc, mountinfo, paths
from . import unix as os
from .errors import ContainerError
from .mounts import FLAGS, SUPER_FLAGS, Mount

# mount_namespaces(7): what comes from a more privileged mount namespace is locked
LOCKED = (
    "a user namespace can neither lift a stricter flag of the host's own mount nor change how it notes"
    " access times"
)

# include/linux/statfs.h: ST_NOATIME, ST_NODIRATIME, ST_RELATIME, ST_NOSYMFOLLOW; those below are MOUNT_ATTR_*
_ST_FLAGS = (
    (0x400, abi.MS_NOATIME), (0x800, abi.MS_NODIRATIME), (0x1000, abi.MS_RELATIME),
    (0x2000, abi.MS_NOSYMFOLLOW),
)  # fmt: skip


def create(root: int, target: int, mount: Mount, over: bool = False) -> int:
    """Mount a new file system on the descriptor TARGET; the descriptor of its root comes back.

    root: what mount.target is looked up under if a kernel before 5.2 must find the new mount by name
    over: TARGET has no name under ROOT: it is ROOT itself, or the stage
    """
    if mount.flags & abi.MS_I_VERSION or _is_long(mount):  # fsconfig(2) has no word for that flag
        return _create_classic(root, target, mount, over)
    try:
        made = _create_detached(mount)
    except OSError as error:
        if error.errno not in (abi.ENOSYS, abi.EPERM):
            raise
        return _create_classic(root, target, mount, over)
    try:
        libc.move_mount(made, target)
    except OSError as error:
        os.close(made)
        if error.errno not in (abi.ENOSYS, abi.EPERM):
            raise
        return _create_classic(root, target, mount, over)
    propagate(made, mount.propagation)
    return made


def _is_long(mount: Mount) -> bool:
    """fsconfig(2) takes 255 bytes at once, mount(2) a page for all: layers of an overlay may need that."""
    words = [word.partition("=")[2] for word in mount.words] + [mount.source, mount.context]
    return any(len(word) > 63 and len(os.fsencode(word)) > 255 for word in words)


def _create_detached(mount: Mount) -> int:
    context = libc.fsopen(mount.kind)
    try:
        for word in ("source=" + (mount.source or mount.kind),) + mount.words + _super_words(mount):
            key, equals, text = word.partition("=")
            libc.fsconfig_set(context, key, text if equals else None)
        if mount.context:
            libc.fsconfig_set(context, "context", mount.context)
        return libc.fsmount(context, mount.set)
    except OSError as error:
        said = _context_says(context)
        if said:
            raise ContainerError(str(mount), said, error.errno or 0) from error
        raise OSError(error.errno, os.strerror(error.errno or 0)) from None
    finally:
        os.close(context)


def copy_link(root: int, link: int, mount: Mount) -> None:
    """Make the symbolic link LINK, an O_PATH descriptor, again in the place of a mount: "copy-symlink", as
    crun has it for podman's `no-dereference`. The same link may be there, in a volume, from another time."""
    leads = os.readlink("", dir_fd=link)
    above, _, name = mount.target.rpartition("/")
    directory = paths.make_in(root, above or "/")
    try:
        os.symlink(leads, name, dir_fd=directory)
    except OSError as error:
        if error.errno != abi.EEXIST or _leads(directory, name) != leads:
            raise
    finally:
        os.close(directory)


def _leads(directory: int, name: str) -> str:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:  # no link, or gone again
        return ""


def bind(
    root: int, source: int, target: int, mount: Mount, tree: "int | None" = None, over: bool = False
) -> int:
    """Mount what the descriptor SOURCE refers to on TARGET; the descriptor of the mount comes back.

    tree: SOURCE already cloned (by the runtime, where ids had to be mapped)
    root, over: as in `create`
    """
    given = tree is not None
    try:
        if tree is None:
            tree = clone_tree(source, mount.recursive)
        pending = not _set_attributes(tree, mount)
        libc.move_mount(tree, target)
    except OSError as error:
        if given or error.errno not in (abi.ENOSYS, abi.EPERM):
            raise
        if tree is not None:
            os.close(tree)
        return _bind_classic(root, source, target, mount, over)
    if pending:
        try:
            _remount(tree if over else root, tree, mount)
        except OSError as error:
            if error.errno != abi.EPERM:
                raise
            raise ContainerError(str(mount), "", abi.EPERM, LOCKED) from error
    propagate(tree, mount.propagation)
    return tree


def clone_tree(source: int, recursive: bool) -> int:
    """open_tree(2) of a descriptor: a detached copy of the mount it lies on, from there down."""
    flags = abi.OPEN_TREE_CLONE | abi.AT_EMPTY_PATH | (abi.AT_RECURSIVE if recursive else 0)
    return libc.open_tree(source, "", flags)


def make_readonly(root: int, descriptor: int, recursive: bool = False) -> None:
    """Remount what DESCRIPTOR, the root of a mount, refers to read-only."""
    extra = {"set_all" if recursive else "set": abi.MOUNT_ATTR_RDONLY}
    mount = Mount(target="/", kind="bind", **extra)
    if not _set_attributes(descriptor, mount):
        _remount(root, descriptor, mount, lenient=True)


def make_readonly_below(tree: int) -> None:
    """Make read-only what is mounted below TREE, the root of an attached mount, and leave that as it is."""
    before = os.fstatvfs(tree).f_flag & abi.MOUNT_ATTR_RDONLY  # ST_RDONLY is the same bit
    make_readonly(tree, tree, recursive=True)
    if not before:
        own = Mount(target="/", kind="bind", clear=abi.MOUNT_ATTR_RDONLY)
        if not _set_attributes(tree, own):
            _remount(tree, tree, own)


def set_propagation(path: str, propagation: int) -> None:
    """Change how mounts below PATH, a mount of this namespace, spread: MS_SLAVE | MS_REC and kin."""
    libc.mount("", path, "", propagation)


def make_private(descriptor: int, proc: int) -> None:
    """Let nothing spread from the mount that DESCRIPTOR lies on, by its mount point on the host."""
    table = mountinfo.table(paths.read_proc(proc, "self/mountinfo"))
    row = table.get(mountinfo.mount_id(descriptor))
    if row is not None:  # in a chroot the mount may lie above our root, where nothing of it is told
        set_propagation(row.place, abi.MS_PRIVATE)


def propagate(descriptor: int, propagation: int) -> None:
    if propagation:
        recursive = bool(propagation & abi.MS_REC)
        try:
            libc.mount_setattr(descriptor, 0, 0, propagation & ~abi.MS_REC, recursive=recursive)
        except OSError as error:
            if error.errno not in (abi.ENOSYS, abi.EPERM):
                raise
            libc.mount("", paths.descriptor_path(descriptor), "", propagation)


def _set_attributes(descriptor: int, mount: Mount) -> bool:
    """Set the attributes of a mount, detached or not. False where the kernel lacks the call."""
    clear, clear_all = mount.clear & _present(descriptor, mount.clear), mount.clear_all
    try:
        if mount.set or clear:
            libc.mount_setattr(descriptor, mount.set, clear)
        if mount.set_all or clear_all:
            libc.mount_setattr(descriptor, mount.set_all, clear_all, recursive=True)
    except OSError as error:
        if error.errno == abi.EPERM and (clear or clear_all):
            raise ContainerError(str(mount), "", abi.EPERM, LOCKED) from error
        if error.errno not in (abi.ENOSYS, abi.EPERM):
            raise
        return False
    return True


def _present(descriptor: int, wanted: int) -> int:
    """Which of the attributes WANTED gone a mount really has: lifting one that is not there would
    be refused in a user namespace all the same."""
    if not wanted:
        return 0
    have = os.fstatvfs(descriptor).f_flag  # ST_RDONLY 1, NOSUID 2, NODEV 4, NOEXEC 8: as MOUNT_ATTR_*
    return have & wanted & 0x0F | wanted & ~0x0F


def _super_words(mount: Mount) -> "tuple[str, ...]":
    words = [word for flag, word, on in SUPER_FLAGS.values() if on and word and mount.flags & flag]
    return tuple(words)


def _context_says(context: int) -> str:
    """The kernel's own words for why a file system was refused: "e tmpfs: Unknown parameter 'x'"."""
    try:
        said = os.read(context, 1024)
    except OSError:  # ENODATA: it said nothing
        return ""
    return os.fsdecode(said.strip()).partition(" ")[2]


# --- kernels before 5.2 and 5.12 -------------------------------------------------------------


def _create_classic(root: int, target: int, mount: Mount, over: bool) -> int:
    flags = mount.flags | _classic_flags(mount.set)
    place = paths.descriptor_path(target)
    words = mount.words + (('context="%s"' % mount.context,) if mount.context else ())  # it may have commas
    data = ",".join(words)
    if len(os.fsencode(data)) > 4095:  # the kernel would take the beginning for all of it
        raise ContainerError(str(mount), "its options are longer than mount(2) takes")
    libc.mount(mount.source or mount.kind, place, mount.kind, flags, data)
    made = _top(root, target, mount, over)
    propagate(made, mount.propagation)
    return made


def _bind_classic(root: int, source: int, target: int, mount: Mount, over: bool) -> int:
    flags = abi.MS_BIND | (abi.MS_REC if mount.recursive else 0)
    libc.mount(paths.descriptor_path(source), paths.descriptor_path(target), "", flags)
    made = _top(root, target, mount, over)
    if _inode(made) != _inode(source):
        raise ContainerError(str(mount), "the target was exchanged while it was mounted")
    _remount(made if over else root, made, mount)
    propagate(made, mount.propagation)
    return made


def _top(root: int, target: int, mount: Mount, over: bool) -> int:
    """The mount that now lies over TARGET. Only its name leads there, so it is checked to be new."""
    before = mountinfo.mount_id(target)
    made = paths.above(target) if over else paths.open_in(root, mount.target)
    if mountinfo.mount_id(made) == before:
        os.close(made)
        raise ContainerError(str(mount), "the target was exchanged while it was mounted")
    return made


def _remount(root: int, descriptor: int, mount: Mount, lenient: bool = False) -> None:
    """Set attributes by mount(2) on an attached mount, keeping the flags that it has.

    lenient: leave mounts out that lie in directories which we may not enter: nor may the container,
        whose root we are by now
    """
    _remount_one(descriptor, mount.set | mount.set_all, mount.clear | mount.clear_all)
    if mount.set_all or mount.clear_all:
        for place in _below(root, descriptor):
            try:
                below = paths.open_in(root, place)
            except OSError as error:
                if lenient and error.errno == abi.EACCES:
                    continue
                raise
            try:
                _remount_one(below, mount.set_all, mount.clear_all)
            finally:
                os.close(below)


def _remount_one(descriptor: int, set_: int, clear: int) -> None:
    have = os.fstatvfs(descriptor).f_flag
    before = _classic_flags(have & 0x0F)
    for bit, flag in _ST_FLAGS:
        before |= flag if have & bit else 0
    before |= 0 if before & (abi.MS_NOATIME | abi.MS_RELATIME) else abi.MS_STRICTATIME
    flags = before & ~_classic_flags(clear)
    if (set_ | clear) & abi.MOUNT_ATTR__ATIME:
        flags &= ~(abi.MS_NOATIME | abi.MS_RELATIME | abi.MS_STRICTATIME)
        flags |= 0 if set_ & abi.MOUNT_ATTR__ATIME else abi.MS_RELATIME
    flags |= _classic_flags(set_)
    if flags != before:
        libc.mount("", paths.descriptor_path(descriptor), "", abi.MS_REMOUNT | abi.MS_BIND | flags)


def _classic_flags(attributes: int) -> int:
    flags = attributes & 0x0F  # MS_RDONLY to MS_NOEXEC have the same bits
    for flag, attribute, on in FLAGS.values():
        if on and attribute > 0x0F and attributes & attribute == attribute:
            flags |= flag
    return flags


def _below(root: int, descriptor: int) -> "list[str]":
    """The mount points below a mount, as they are called under ROOT, which is the root of a mount too.

    Where mounts lie over each other, the name leads to the uppermost, which hides the others.
    """
    rows = mountinfo.own()
    top = mountinfo.mount_id(descriptor)
    start = len(rows[mountinfo.mount_id(root)].place.rstrip("/"))
    return [rows[number].place[start:] for number in mountinfo.below(rows, top) if number != top]


def _inode(descriptor: int) -> "tuple[int, int]":
    state = os.fstat(descriptor)
    return state.st_dev, state.st_ino


def same_place(one: int, other: int) -> bool:
    """Two descriptors of the same file on the same mount."""
    return _inode(one) == _inode(other) and mountinfo.mount_id(one) == mountinfo.mount_id(other)
