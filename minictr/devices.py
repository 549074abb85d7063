"""Device nodes of the container's own /dev: made where that is allowed, else bound from the host's.

Side: container
"""

import _stat as stat
import _struct as struct
import fcntl

from . import abi, libc, mounting, mounts, paths
from . import unix as os
from .errors import ContainerError, Degradation, step

_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
_LINKS = (
    ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx"),
)  # fmt: skip
# Of a node of the host's: read-only is its mode, and its owner, which a root that is the host's could change.
# The device can be written to all the same (sb_permission() in fs/namei.c)
_ATTRIBUTES = abi.MOUNT_ATTR_NOSUID | abi.MOUNT_ATTR_NOEXEC | abi.MOUNT_ATTR_RDONLY


def populate(stage, plan) -> None:
    """Fill /dev. A /dev that was bound from the host is left as it is.

    stage: a rootfs.Stage
    """
    taken = {paths.plain(mount.target): mount.kind for mount in plan.mounts}
    if not stage.mountable or taken.get("/dev") == "bind":
        return
    with step("open /dev of the container"):
        directory = paths.make_in(*stage.in_dev("/dev/"))
    for device in plan.devices:
        if device.default and device.path in taken:  # a node that is bound would hide what was asked for
            continue
        with step("make the device %s" % device.path):
            _make(stage, plan, device, directory)
    for name, target in _LINKS:
        try:
            os.symlink(target, name, dir_fd=directory)
        except OSError as error:
            if error.errno != abi.EEXIST:
                raise ContainerError("link /dev/%s" % name, "", error.errno or 0) from error
    os.close(directory)


def _make(stage, plan, device, dev: int) -> None:
    """dev: a descriptor of /dev, where most of them are to be"""
    parent, name = os.path.split(paths.plain(device.path))
    directory = dev if parent == "/dev" else paths.make_in(*stage.in_dev(parent))
    try:
        if plan.device_ways[0] == "mknod" or device.kind == "p":
            try:
                _mknod(stage, directory, name, device)
                return
            except OSError as error:
                # EPERM: a device cgroup, or a user namespace around us, forbids what the
                # capability allows
                if error.errno not in mounts.REFUSED or device.kind == "p":
                    raise
        _bind(stage, directory, name, device)
    finally:
        if directory != dev:
            os.close(directory)


def _mknod(stage, directory: int, name: str, device) -> None:
    node = os.makedev(device.major, device.minor) if device.kind != "p" else 0
    try:
        os.mknod(name, _TYPES[device.kind] | device.mode, node, dir_fd=directory)
    except OSError as error:
        if error.errno != abi.EEXIST:
            raise
        if not device.default and not _is_there(stage, directory, name, device, node):
            raise
        return
    os.chown(name, device.uid, device.gid, dir_fd=directory, follow_symlinks=False)


def _is_there(stage, directory: int, name: str, device, node: int) -> bool:
    """The root has a device already, which is no error if it is the one that is asked for (config-linux.md,
    "Devices"). Nothing of it is changed: it may be bound from the host."""
    state = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_IFMT(state.st_mode) != _TYPES[device.kind] or (node and state.st_rdev != node):
        return False
    _compare(stage, device, state, "that of the root", "it is there already")
    return True


def _bind(stage, directory: int, name: str, device) -> None:
    """The host's node of that number, bound over an empty file."""
    try:
        source = os.open(device.path, abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != abi.ENOENT:
            raise
        _missing(stage, device, "the host has no %s" % device.path)
        return
    state = os.fstat(source)
    same = stat.S_IFMT(state.st_mode) == _TYPES[device.kind]
    if not same or state.st_rdev != os.makedev(device.major, device.minor):
        raise ContainerError("make the device %s" % device.path, "the host's is another device")
    if not device.default:
        _compare(stage, device, state, "the host's", "a node that cannot be made is bound from the host's")
    _make_target(directory, name)
    target = os.open(name, abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    mount = mounts.Mount(target=device.path, kind="bind", source=device.path, set=_ATTRIBUTES)
    os.close(mounting.bind(stage.root, source, target, mount))
    os.close(target)
    os.close(source)


def _compare(stage, device, state, whose: str, why: str) -> None:
    """A node that is not made keeps its mode and owner, those of STATE. An owner without an id here lets
    nobody in."""
    mode = stat.S_IMODE(state.st_mode)
    owners = ((state.st_uid, device.uid), (state.st_gid, device.gid))
    if mode == device.mode and all(mine in (asked, paths.NOBODY) for mine, asked in owners):
        return
    stage.degrade(
        Degradation(
            "device-bound",
            "devices",
            "%s with the mode %o and the owner %d:%d" % (device.path, device.mode, device.uid, device.gid),
            "%s, %o and %d:%d" % (whose, mode, state.st_uid, state.st_gid),
            "who may open it is not what was asked for",
            0,
            why,
            "chmod %o %s" % (device.mode, device.path),
            "warning" if mode & 0o777 & ~device.mode else "notice",
        )  # fmt: skip
    )


def _make_target(directory: int, name: str) -> None:
    """An empty file, unless something of the image is there: a FIFO would hold who opens it for ever."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        os.close(os.open(name, flags, 0o666, dir_fd=directory))
    except OSError as error:
        if error.errno != abi.EEXIST:
            raise


def _missing(stage, device, why: str) -> None:
    if not device.default:
        raise ContainerError("make the device %s" % device.path, why)
    stage.degrade(
        Degradation(
            "device-missing",
            "devices",
            device.path,
            "none",
            "programs that open it fail",
            abi.ENOENT,
            why,
            "mknod -m 666 %s c %d %d" % (device.path, device.major, device.minor),
        )  # fmt: skip
    )


def raise_lo() -> None:
    """Bring the loopback device of this network namespace up (netdevice(7))."""
    with step("bring the loopback device up"):
        sock = libc.inet_socket()
        request = bytearray(struct.pack("16sH22x", b"lo", 0))
        fcntl.ioctl(sock, abi.SIOCGIFFLAGS, request)
        flags = struct.unpack_from("16xH", request)[0] | abi.IFF_UP
        fcntl.ioctl(sock, abi.SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags))
        os.close(sock)
