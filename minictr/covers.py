"""Masked and read-only paths: what of /proc, /sys and the root the program may not see, or not write to.

Side: container
"""

import _stat as stat

from . import abi, mounting, mounts, paths
from . import unix as os
from .errors import ContainerError, step


class Covers:
    """stage: a rootfs.Stage with everything mounted; null, empty: what a file and a directory are hidden
    behind, once one was"""

    def __init__(self, stage) -> None:
        self.stage, self.root = stage, stage.root
        self.null = self.empty = -1

    def lay(self, masked: "tuple[str, ...]", readonly: "tuple[str, ...]") -> None:
        """What does not exist needs no cover."""
        for path in masked:
            with step("mask %s" % path):
                self._mask(path)
        for path in readonly:
            with step("make %s read-only" % path, hints={abi.EINVAL: "it lies on an unbindable mount"}):
                self._make_readonly(path)

    def _make_readonly(self, path: str) -> None:
        place = self._existing(path)
        if place is None:
            return
        if mounting.same_place(place, self.root):  # what lay over it would be left behind
            mounting.make_readonly(self.root, self.root, recursive=True)
        else:
            again = mounts.Mount(target=path, kind="bind", recursive=True, set_all=abi.MOUNT_ATTR_RDONLY)
            os.close(mounting.bind(self.root, place, place, again))
        os.close(place)

    def _mask(self, path: str) -> None:
        """A directory gets an empty one, a file /dev/null: the host's, known by its number
        (CVE-2025-31133: a null of the container's may be anything)."""
        place = self._existing(path)
        if place is None:
            return
        if mounting.same_place(place, self.root):
            raise ContainerError("mask %s" % path, "it is the root itself")
        hidden = mounts.Mount(target=path, kind="bind", set=abi.MOUNT_ATTR_RDONLY)
        if stat.S_ISDIR(os.fstat(place).st_mode):
            if self.empty < 0:
                words = ("size=4k", "nr_inodes=2", "mode=755")
                cover = mounts.Mount(
                    target=path, kind="tmpfs", source="none", words=words, set=abi.MOUNT_ATTR_RDONLY,
                    context=self.stage.plan.mount_label,
                )  # fmt: skip
                self.empty = mounting.create(self.root, place, cover)
            else:
                os.close(mounting.bind(self.root, self.empty, place, hidden))
        else:
            if self.null < 0:
                self.null = _open_null()
            os.close(mounting.bind(self.root, self.null, place, hidden))
        os.close(place)

    def _existing(self, path: str) -> "int | None":
        """A descriptor of PATH, None where it does not exist; below /proc and /sys, of that very mount."""
        place, root = paths.plain(path), self.root
        for point, made in self.stage.kernel.items():
            if place == point or place.startswith(point + "/"):
                path, root = place[len(point) :], made
        try:
            return paths.open_in(root, path)
        except OSError as error:
            if error.errno in (abi.ENOENT, abi.ENOTDIR):
                return None
            if error.errno != abi.EACCES or not paths.closed_to_all(root, path):
                raise
            return None


def _open_null() -> int:
    """The host's /dev/null, which must be the device 1:3."""
    with step("open /dev/null"):
        null = os.open("/dev/null", abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    state = os.fstat(null)
    if not stat.S_ISCHR(state.st_mode) or state.st_rdev != os.makedev(1, 3):
        raise ContainerError("open /dev/null", "not the null device", hint="mknod -m 666 /dev/null c 1 3")
    return null
