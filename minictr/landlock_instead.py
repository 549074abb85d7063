"""Landlock where a stronger layer was refused: the root that is no root, the namespaces that are missing.

A process that was only given a directory would see every file of the host; under a ruleset it gets at
the root file system and the volumes, and at OUTSIDE. Without a PID namespace of its own it can signal
no process but its own, without a network namespace it has no TCP and no UDP and reaches no abstract
socket.

Side: both
"""

import os
import stat

from . import (
    abi,
    landlock,
    libc,
    loader,  # noqa: F401  # `init` finds the program by it, when no more can be loaded
    mountinfo,
)  # fmt: skip
from .errors import ContainerError, step
from .landlock import BIND, CONNECT, EXECUTE, READ, SOCKETS, UDP, WRITE
from .record import MYPY

if MYPY:
    from .landlock import Ruleset

# What of the host a program may need that has no /dev and /proc of its own, beside landlock.OWN. Of
# /proc nothing is among it that tells of other processes or of the kernel's memory
OUTSIDE = tuple([
    ("/dev/" + name, READ | WRITE) for name in ("null", "zero", "full", "random", "urandom", "tty")
] + [
    ("/proc/" + name, READ)
    for name in ("cpuinfo", "filesystems", "meminfo", "stat", "version", "sys/vm/overcommit_memory")
])  # fmt: skip

_KERNEL_KINDS = ("proc", "sysfs", "devtmpfs", "devpts")


def version() -> int:
    """The version of Landlock, 0 where there is none."""
    try:
        return landlock.version()
    except OSError as error:
        if error.errno not in landlock.REFUSED:
            raise
        return 0


# --- namespaces ---------------------------------------------------------------------------------


def of_namespaces(lost, filtered: bool) -> "tuple[Ruleset | None, dict[str, str]]":
    """A ruleset in the place of the namespaces LOST, None where Landlock has nothing for them, and what
    is lost all the same, a sentence for each. filtered: there is a filter of system calls, which refuses
    what Landlock does not see (`landlock_gaps`)"""
    known = version()
    ports = BIND | CONNECT | UDP if "network" in lost else 0
    scopes = (landlock.ABSTRACT if "network" in lost else 0) | (landlock.SIGNAL if "pid" in lost else 0)
    with step("make a Landlock ruleset"):
        made = landlock.Ruleset(known, False, ports, scopes) if known else None
    if made is None or made.empty:
        return None, {}
    told = {}
    if "pid" in lost and made.scopes & landlock.SIGNAL:
        told["pid"] = "processes of the host can be seen, and the container's may outlive it"
        told["pid"] += "" if filtered else "; those of the same user ended by a limit"
    if "network" in lost and made.ports:
        what = "TCP" if filtered else "TCP other than MPTCP and Fast Open"
        what += ", UDP" if made.ports & UDP else ""
        what += " and its abstract sockets" if made.scopes & landlock.ABSTRACT else ""
        told["network"] = "the host's network can be reached, but for %s (by Landlock)" % what
    return made, told


# --- the root -----------------------------------------------------------------------------------


def confine(stage) -> "tuple[Ruleset | None, str, int]":
    """A ruleset in the place of the root of STAGE, a rootfs.Stage; see `of_root`."""
    entered = _cover_itself(stage)
    return of_root(stage.root, stage.plan, stage.sources, entered)


def _cover_itself(stage) -> bool:
    """Show what was put together where the root file system lies: that is the only path that the
    program has. False where it shows what lay there before."""
    if not stage.mountable or stage.plan.root.path == "/":
        return False
    try:
        libc.move_mount(stage.root, stage.sources[-1])
    except OSError as error:
        if error.errno not in landlock.REFUSED + (abi.EINVAL,):
            raise ContainerError("show the root file system", "", error.errno or 0) from error
        return False
    os.fchdir(stage.root)
    return True


def of_root(root: int, plan, sources: "dict[int, int]", entered: bool) -> "tuple[Ruleset | None, str, int]":
    """A ruleset in the place of a root; what is lost all the same; or None, "" and an errno.

    root: a descriptor of the root file system; sources: of those of plan.mounts, {index: descriptor}
    entered: the mounts are to be seen in the root
    """
    try:
        known = landlock.version()
        made = landlock.Ruleset(known, files=True, sockets=True)
    except OSError as error:
        if error.errno not in landlock.REFUSED:
            raise ContainerError("make a Landlock ruleset", "", error.errno or 0) from error
        return None, "", error.errno or 0
    with step("confine the program to its root by Landlock"):
        if plan.root.path == "/":
            _allow_shown(made, plan)
        else:
            frozen = (plan.root.readonly or plan.root.overlay) and not entered
            rights = READ | EXECUTE | SOCKETS | (0 if frozen else WRITE)
            closed = [] if entered else _shown_below(plan.root.path)
            if closed:
                made.allow(root, abi.LANDLOCK_ACCESS_FS_READ_DIR)
                _allow_around(made, root, os.path.realpath(plan.root.path), closed, rights)
            else:
                made.allow(root, rights)
        if not entered:
            _allow_volumes(made, plan, sources)
        for path, rights in OUTSIDE:
            made.allow_path(path, rights)
    return made, _still_lost(known), 0


def _shown_below(path: str) -> "list[str]":
    """Where the host has the kernel's own files below PATH, as in a root that somebody has entered by
    chroot(1): all processes of the host are seen there, and its devices reached."""
    top = os.path.realpath(path).rstrip("/") + "/"
    rows = mountinfo.own().values()
    return [row.place for row in rows if row.kind in _KERNEL_KINDS and row.place.startswith(top)]


def _allow_around(made: "Ruleset", directory: int, path: str, closed: "list[str]", rights: int) -> None:
    """RIGHTS to what is in DIRECTORY, which is called PATH, but for the places CLOSED: Landlock cannot take
    away below what it has allowed. In the directories above them nothing new can be made."""
    listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        for name in os.listdir(listed):
            place = path.rstrip("/") + "/" + name
            if place in closed:
                continue
            found = os.open(name, abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            try:
                if any(one.startswith(place + "/") for one in closed):
                    _allow_around(made, found, place, closed, rights)
                elif not stat.S_ISLNK(os.fstat(found).st_mode):  # where it leads is allowed there, or not
                    made.allow(found, rights)
            finally:
                os.close(found)
    finally:
        os.close(listed)


def join(me) -> int:
    """The same for a further program of a container that has only a directory; a descriptor of that.
    me: an init.Init"""
    with step("enter the root of the container"):
        root = os.open(me.prefix, abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    entered = any(kind == "mount" for kind, _ in me.plan.joins)
    made, _, _ = of_root(root, me.plan, {}, entered)
    if made is not None:
        me.rulesets.append(made)
    return root


def _still_lost(version: int) -> str:
    """What Landlock does not handle; what it is compared with is another root, not an open one."""
    lost = "Landlock (version %d) keeps the host's files closed, but their names, sizes and owners " % version
    lost += "can be seen, what is done to them watched (inotify), modes and times of the user's own changed"
    if version < 9:
        lost += ", named sockets connected to"
    if version < 3:
        lost += ", those that the user may write truncated"
    if version < 2:
        lost += "; and no file can be moved to another directory"
    return lost


def _allow_volumes(made: "Ruleset", plan, sources: "dict[int, int]") -> None:
    """What should have been mounted, where it lies on the host."""
    for index, mount in enumerate(plan.mounts):
        if mount.kind != "bind":
            continue
        attributes = mount.set | mount.set_all
        rights = READ | SOCKETS
        rights |= 0 if attributes & abi.MOUNT_ATTR_RDONLY else WRITE
        rights |= 0 if attributes & abi.MOUNT_ATTR_NOEXEC else EXECUTE
        if index in sources:
            made.allow(sources[index], rights)
        else:
            made.allow_path(mount.source, rights)


def _allow_shown(made: "Ruleset", plan) -> None:
    """The host's own root, read-only, but for the places that the plan covers: Landlock cannot take
    away below what it has allowed, so what lies beside them is allowed one by one."""
    covered = {mount.target.rstrip("/") for mount in plan.mounts if mount.kind != "bind"}
    covered |= {path.rstrip("/") for path in plan.masked_paths}
    _allow_beside(made, "", covered)


def _allow_beside(made: "Ruleset", directory: str, covered: "set[str]") -> None:
    try:
        names = os.listdir(directory or "/")
    except OSError as error:
        if error.errno not in (abi.EACCES, abi.ENOENT, abi.ENOTDIR):
            raise
        return
    for name in names:
        path = directory + "/" + name
        if path in covered or os.path.islink(path):  # where a link leads is allowed there, or not
            continue
        if any(place.startswith(path + "/") for place in covered):
            _allow_beside(made, path, covered)
        else:
            made.allow_path(path, READ | EXECUTE | SOCKETS)
