"""A program of exec in a cgroup below the container's, which something inside has made: by --cgroup, and
where the container's own takes none.

Side: host
"""

import os

from . import abi, cgroup_files, paths
from .errors import ContainerError, printable


def parse(words: "tuple[str, ...]") -> "dict[str, str]":
    """The path for each controller, below the container's cgroup; under "" the one for all.

    words: [CONTROLLER,...:]PATH, one without controllers alone. Raises ContainerError.
    """
    found = {}  # type: dict[str, str]
    for word in words:
        names, colon, path = word.rpartition(":")
        if ":" in names or (not colon and len(words) > 1):
            hint = "several of them: CONTROLLER:PATH each"
            raise ContainerError("--cgroup %s" % printable(word), "is not [CONTROLLER,...:]PATH", hint=hint)
        if ".." in path.split("/"):
            raise ContainerError("--cgroup %s" % printable(word), "leads out of the container's cgroup")
        for name in names.split(","):
            if name in found:
                why = "the controller %s is named twice" % printable(name)
                raise ContainerError("--cgroup %s" % printable(word), why)
            found[name] = path
    return found


def join_files(group, wanted: "dict[str, str]") -> "tuple[int, ...]":
    """As cgroup_group.Group.join_files, for the cgroups of WANTED (see parse); the container's own where a
    hierarchy is not named. Raises ContainerError if one is not there."""
    if group.kind == "none":
        raise ContainerError("--cgroup", "the container has no cgroup")
    known = {name for part in group.parts for name in part.controllers}
    unknown = sorted(set(wanted) - known - {""})
    if unknown:
        why = "the container has no cgroup of the controller %s" % printable(unknown[0])
        raise ContainerError("--cgroup", why, hint="on v2 a path alone")
    files = []  # type: list[int]
    try:
        for part in group.parts:
            paths = {wanted[name] for name in part.controllers or ("",) if name in wanted}
            if len(paths) > 1:
                why = "%s are one hierarchy" % ",".join(part.controllers)
                raise ContainerError("--cgroup", why, hint="give them one path")
            path = paths.pop() if paths else wanted.get("", "")
            files.append(_open(part, path, "tasks" if part.controllers else "cgroup.procs"))
    except ContainerError:
        for descriptor in files:
            os.close(descriptor)
        raise
    return tuple(files)


def beside(part, pid: int) -> str:
    """The path of the cgroup of process PID below PART, such as "/init.scope"; "" where it is not below."""
    path = cgroup_files.own(paths.read_text("/proc/%d/cgroup" % pid)).get("", "")
    return path[len(part.path) :] if path.startswith(part.path + "/") else ""


def join(part, path: str) -> int:
    """A descriptor for a process to join the cgroup at PATH below PART."""
    return _open(part, path, "cgroup.procs")


def _open(part, path: str, name: str) -> int:
    relative = os.path.join(path.strip("/") or ".", name)
    try:
        return os.open(relative, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=part.open())
    except OSError as error:
        doing = "open the cgroup %s" % printable(os.path.join(part.directory, path.strip("/")))
        hints = {abi.ENOENT: "it must have been made before, inside the container or by mkdir"}
        raise ContainerError(doing, "", error.errno or 0, hints.get(error.errno or 0, "")) from error
