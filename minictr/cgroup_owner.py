"""The container's cgroup of version 2 in the hands of who is to divide it further: a systemd inside, say.

Of the directory only the files that are for that: no limit can be raised by them (cgroups(7), "Cgroups
delegation: delegating a hierarchy to a less privileged user"; config-linux.md, "Cgroup ownership").

Side: host
"""

import os

from . import cgroup_absent, cgroup_files, paths
from .errors import ContainerError, Degradation

LISTED = "/sys/kernel/cgroup/delegate"  # since Linux 4.15
FILES = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")


def hand_over(part: cgroup_files.Part, uid: int) -> "list[Degradation]":
    """Make UID, as this process sees it, the owner of the directory PART. A record where that is refused.

    Raises ContainerError.
    """
    doing = "give the cgroup %s to user %d" % (part.directory, uid)
    names = [name for name in paths.read_text(LISTED).split() if "/" not in name] or FILES
    try:
        directory = part.open()
        os.chown(".", uid, -1, dir_fd=directory, follow_symlinks=False)
        for name in names:
            try:
                os.chown(name, uid, -1, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                pass  # of a controller that is not enabled here
    except OSError as error:
        number = error.errno or 0
        if not isinstance(error, PermissionError):
            raise ContainerError(doing, "", number) from error
        return [_refused(uid, "not", number)]
    return []


def unsafe(uid: int) -> Degradation:
    fix = "boot " + cgroup_absent.v2_alone()
    return _refused(uid, "one to read", 0, "what delegates one of v1 hands out its limits, too", fix)


def unknown() -> Degradation:
    why = "the user namespace is another container's, whose ids are not looked up"
    return _refused(-1, "not", 0, why, "leave --userns out")


def _refused(uid: int, got: str, number: int, why: str = "", fix: str = "") -> Degradation:
    wanted = "one that %s divides" % ("its user" if uid < 0 else "user %d" % uid)
    lost = "a systemd inside cannot divide it"
    return Degradation("cgroup-owner", "cgroup", wanted, got, lost, number, why, fix)
