"""A cgroup of its own for who is not root: the sub-tree that was handed to the caller is looked for.

On v2 a process gets only into cgroups that have with its own one above them in common, whose
cgroup.procs the caller may write (Documentation/admin-guide/cgroup-v2.rst, "Delegation Containment"). So
the places in question are our own cgroup and those above it, where they are ours: below the user's
systemd its slices, else a cgroup that root has handed over.

Side: host
"""

import os

from . import abi, cgroup, cgroup_files, paths
from .errors import ContainerError

LEAF = "minictr-runtime"  # where we move to, so that our cgroup may have controllers for those below it


def find(layout: cgroup.Layout, name: str):
    """The group NAME in our sub-tree, not made yet; None where none was handed to us.

    name: as of cgroup.open, with one component or more
    """
    own = cgroup_files.own(paths.read_text("/proc/self/cgroup"))
    if layout.hierarchies:
        mine = [mount for mount, names in layout.hierarchies if _writable(mount + own.get(names[0], "/"))]
        return cgroup.open(layout, name.lstrip("/"), own) if mine else None
    place = _place(layout.unified, own.get("", "/")) if layout.unified else None
    return None if place is None else cgroup.open(layout, place + "/" + name.lstrip("/"))


def _place(mount: str, own: str) -> "str | None":
    """The nearest; alone in it we move out of the way."""
    place = nearest(mount, own)
    if place == own and _members(mount + own.rstrip("/")) == [os.getpid()]:
        _move_down(mount + own.rstrip("/"))
    return place


def nearest(mount: str, own: str) -> "str | None":
    """Of our own cgroup and those above it the nearest that is ours, and in which nobody lives, as it must
    be to hand down controllers; else our own.

    One that is not ours below one that is, as where root has moved our shell, may be left all the same."""
    if own.startswith("/.."):  # it lies outside of what our cgroup namespace shows
        return None
    place = own.rstrip("/")
    while place:
        if _handed(mount + place) and not _members(mount + place):
            return place
        place = place.rpartition("/")[0]
    return own if own != "/" and _handed(mount + own.rstrip("/")) else None


def _handed(directory: str) -> bool:
    files = ("/cgroup.procs", "/cgroup.subtree_control")
    return _writable(directory) and all(os.access(directory + name, os.W_OK) for name in files)


def _writable(directory: str) -> bool:
    return os.access(directory, os.W_OK | os.X_OK)


def _members(directory: str) -> "list[int]":
    """The processes in a cgroup itself; [-1] where it is threaded, or cannot be read."""
    try:
        descriptor = os.open(directory, cgroup_files.HERE)
        try:
            return [int(word) for word in cgroup_files.read(descriptor, "cgroup.procs").split()]
        finally:
            os.close(descriptor)
    except OSError:
        return [-1]


def _move_down(directory: str) -> None:
    """This takes 7 to 20 ms: for a cgroup with us alone in it, in which else no limit could be had."""
    leaf = directory + "/" + LEAF
    try:
        os.mkdir(leaf, 0o755)
    except FileExistsError:
        pass
    except OSError as error:
        raise ContainerError("create the cgroup %s" % leaf, "", error.errno or 0) from error
    descriptor = os.open(leaf, cgroup_files.HERE)
    try:
        cgroup_files.write(descriptor, "cgroup.procs", "0")
    except OSError as error:
        if error.errno not in (abi.EACCES, abi.EPERM, abi.EBUSY, abi.EOPNOTSUPP):
            raise
        # then there is a cgroup without controllers
    finally:
        os.close(descriptor)
