"""A writable root whose changes are thrown away: overlayfs with its upper layer in memory.

A directory of the user's is one lower layer. The host's own root cannot be: proc, sys and others
are mounted below it, and a user namespace may not look under what it did not mount
(clone_private_mount() refuses locked children). So each of its top directories becomes an
overlay of its own on a root in memory, and the ones with mounts below stay read-only.

Side: container
"""

import _stat as stat

from . import abi, mountinfo, mounting, mounts, paths
from . import unix as os
from .errors import ContainerError, Degradation, step

_REFUSED = mounts.REFUSED + (abi.EINVAL, abi.ENODEV)


def lay(stage) -> None:
    """Put the overlay over STAGE.root, a rootfs.Stage; where the kernel refuses, it stays read-only."""
    with step("make a file system in memory for the overlay"):
        if stage.plan.root.source == "host":
            mounting.make_readonly(stage.root, stage.root, recursive=True)  # before memory lies on it
        label = stage.plan.mount_label
        memory = mounts.Mount(target="", kind="tmpfs", source="overlay", words=("mode=755",), context=label)
        lower = stage.lower = stage.root
        layer = mounting.create(lower, lower, memory, over=True)
        for name in ("upper", "work", "merged"):
            os.mkdir(name, 0o755, dir_fd=layer)
    if stage.plan.root.source == "host":
        stage.root = _lay_host(stage, lower, layer)
        return
    try:
        stage.root = _mount(stage, layer, lower, "merged", "upper", "work")
    except (OSError, ContainerError) as error:
        number = _number(error)
        if number not in _REFUSED:
            raise
        stage.degrade(_record("/", number))
        again = mounts.Mount(target="merged", kind="bind", recursive=True, set_all=abi.MOUNT_ATTR_RDONLY)
        with step("show the root without an overlay"):
            stage.root = mounting.bind(layer, stage.sources[-1], paths.open_in(layer, "merged"), again)
    else:
        mapped = stage.plan.root.idmap  # where that was refused a record says so already
        if stage.plan.inner_user and not mapped and os.fstat(lower).st_uid == paths.NOBODY:
            stage.degrade(_of_others("run as root, or take a directory whose files are this user's"))


def _lay_host(stage, lower: int, layer: int) -> int:
    """The root in memory that the top directories of LOWER are shown on."""
    label = stage.plan.mount_label
    memory = mounts.Mount(target="merged", kind="tmpfs", source="root", words=("mode=755",), context=label)
    merged = mounting.create(layer, paths.open_in(layer, "merged"), memory)  # a mount, which pivot_root wants
    busy = _with_mounts_below()
    covered = [paths.plain(mount.target) for mount in stage.plan.mounts]
    refused = {}  # type: dict[int, list[str]]  # by errno, what stays read-only
    for name in sorted(os.listdir(paths.descriptor_path(lower))):
        source = os.open(name, abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=lower)
        kind = os.fstat(source).st_mode
        if stat.S_ISLNK(kind):
            os.symlink(os.readlink("", dir_fd=source), name, dir_fd=merged)
        elif stat.S_ISDIR(kind):
            os.mkdir(name, stat.S_IMODE(kind) & 0o1777, dir_fd=merged)
            if "/" + name not in covered:
                number = _show(stage, layer, source, name, name in busy)
                if number:
                    refused.setdefault(number, []).append("/" + name)
        os.close(source)
    for number, places in refused.items():
        stage.degrade(_record(", ".join(places), number))
    if stage.plan.inner_user:
        stage.degrade(_of_others("--userns host, as root"))
    return merged


def _show(stage, layer: int, source: int, name: str, busy: bool) -> int:
    """The errno for which it is read-only, 0 if it can be written to."""
    number = abi.EBUSY
    if not busy:
        try:
            for kind in ("upper", "work"):
                os.mkdir(kind + "/" + name, 0o755, dir_fd=layer)
            places = [kind + "/" + name for kind in ("merged", "upper", "work")]
            os.close(_mount(stage, layer, source, *places))
            return 0
        except (OSError, ContainerError) as error:
            number = _number(error)
            if number not in _REFUSED:
                raise
    with step("show /%s" % name):
        target = paths.open_in(layer, "merged/" + name)
        whole = mounts.Mount(
            target="merged/" + name, kind="bind", recursive=True, set_all=abi.MOUNT_ATTR_RDONLY
        )
        os.close(mounting.bind(layer, source, target, whole))
        os.close(target)
    return number


def _mount(stage, layer: int, lower: int, merged: str, upper: str, work: str) -> int:
    place = paths.descriptor_path
    opened = [os.open(name, abi.O_PATH | os.O_CLOEXEC, dir_fd=layer) for name in (merged, upper, work)]
    state = os.fstat(lower)  # the merged directory shows owner and mode of the upper one
    owner = [-1 if number == paths.NOBODY else number for number in (state.st_uid, state.st_gid)]
    os.chown(upper, owner[0], owner[1], dir_fd=layer)
    os.chmod(upper, stat.S_IMODE(state.st_mode), dir_fd=layer)
    words = ("lowerdir=" + place(lower), "upperdir=" + place(opened[1]), "workdir=" + place(opened[2]))  # type: tuple[str, ...]
    if stage.plan.inner_user:
        words += ("userxattr",)  # trusted.* is the host's root's (Documentation/filesystems/overlayfs.rst)
    label = stage.plan.mount_label
    mount = mounts.Mount(target=merged, kind="overlay", source="overlay", words=words, context=label)
    try:
        return mounting.create(layer, opened[0], mount)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _with_mounts_below() -> "set[str]":
    """The top directories of / that something is mounted on or below."""
    return {row.place.split("/")[1] for row in mountinfo.own().values()}


def _of_others(fix: str) -> Degradation:
    return Degradation(
        "overlay-ids", "root", "a writable overlay", "one where other users' files stay as they are",
        "changing files of users that the container does not have: the host's root among them", 0,
        "their ids are not mapped", fix,
    )  # fmt: skip


def _number(error: BaseException) -> int:
    return getattr(error, "number", 0) or getattr(error, "errno", 0) or 0


def _record(place: str, number: int) -> Degradation:
    why = "something is mounted there or below it" if number == abi.EBUSY else ""
    return Degradation(
        "overlay", "root", "a writable overlay of %s" % place, "%s read-only" % place,
        "writing below %s" % place, 0 if why else number, why, cause="" if why else "overlay",
    )  # fmt: skip
