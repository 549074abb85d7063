"""Control groups: which kind the host has, and which class takes care of a container's.

    group = cgroup.open(cgroup.layout(), "/minictr-ID")
    group.directories()                to be noted down first: a crash is cleaned up by this list
    group.create()                     the directories; records of what could not be had come back
    group.apply(resources)             the limits, before anything runs; records again
    group.clone_into(), join_files()   how the first process gets in, one of the two
    group.kill(), remove()             the end

A process joins by itself: one that another process moves stalls for 7 to 20 ms on a quiet machine,
as the kernel waits for every CPU to pass (cgroup_threadgroup_rwsem). Two ways in are spared that
(cgroup_procs_write_start() and cgroup_css_set_fork() in kernel/cgroup/cgroup.c): "0" written into
`tasks` of v1 by a process of one thread, and clone3(2) with CLONE_INTO_CGROUP on v2.

Side: host
"""

from . import abi, libc
from . import unix as os
from .cgroup_files import HERE, Part
from .errors import ContainerError, printable
from .record import Record

MOUNT_POINT = "/sys/fs/cgroup"

# include/linux/cgroup_subsys.h: what a hierarchy of v1 may be named after
_CONTROLLERS = frozenset((
    "cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "net_cls", "perf_event",
    "net_prio", "hugetlb", "pids", "rdma", "misc", "debug",
))  # fmt: skip


class Layout(Record):
    """The cgroup file systems of the host.

    kind: "v2", "v1", "hybrid" (v1 hierarchies, and v2 beside them without their controllers), "none"
    hierarchies: of v1: where it is mounted, and its controllers ("name=systemd" for a named one)
    unified: where v2 is mounted, "" if it is not
    """

    kind: str
    mount_point: str = MOUNT_POINT
    hierarchies: "tuple[tuple[str, tuple[str, ...]], ...]" = ()
    unified: str = ""


def layout(mount_point: str = MOUNT_POINT) -> Layout:
    """What is mounted at MOUNT_POINT, told by magic numbers, devices and names.

    /proc/self/mountinfo would say it too, but takes milliseconds on a host with 1,000 mounts.
    """
    if _magic(mount_point) == abi.CGROUP2_SUPER_MAGIC:
        return Layout(kind="v2", mount_point=mount_point, unified=mount_point)
    hierarchies, seen, unified = [], set(), ""  # type: list[tuple[str, tuple[str, ...]]], set[str], str
    names = sorted(_mounted(mount_point), key=lambda name: (-name.count(","), name))  # the joint ones first
    for name in names:
        directory, controllers = mount_point + "/" + name, tuple(name.split(","))
        if not _CONTROLLERS.issuperset(controllers):
            magic, controllers = _magic(directory), ("name=" + name,)
            if magic == abi.CGROUP2_SUPER_MAGIC:
                unified = unified or directory
            if magic != abi.CGROUP_SUPER_MAGIC:
                continue
        if not seen.issuperset(controllers):
            seen.update(controllers)
            hierarchies.append((directory, controllers))
    kind = "hybrid" if hierarchies and unified else "v1" if hierarchies else "v2" if unified else "none"
    return Layout(kind=kind, mount_point=mount_point, hierarchies=tuple(hierarchies), unified=unified)


def _mounted(directory: str) -> "list[str]":
    """The names in DIRECTORY on which something is mounted, so not a link such as cpu -> cpu,cpuacct."""
    try:
        device = os.lstat(directory).st_dev
        return [name for name in os.listdir(directory) if os.lstat(directory + "/" + name).st_dev != device]
    except OSError as error:
        if error.errno not in (abi.ENOENT, abi.ENOTDIR, abi.EACCES, abi.EPERM):
            raise
        return []


def _magic(directory: str) -> int:
    """The magic number of the file system, 0 where there is none to be seen."""
    try:
        descriptor = os.open(directory, HERE)
    except OSError as error:
        if error.errno in (abi.ENOENT, abi.ENOTDIR, abi.ELOOP, abi.EACCES, abi.EPERM):
            return 0
        raise
    try:
        return libc.fstatfs_type(descriptor)
    finally:
        os.close(descriptor)


def open(  # noqa: A001
    layout: Layout, path: str, own: "dict[str, str] | None" = None, only: "tuple[str, ...]" = ()
):
    """The group at PATH, which need not exist yet: a cgroup_group.Group.

    path: absolute from each mount point; a relative one starts from the groups of `own`
    only: of v1, controllers whose hierarchies are enough; () for all
    Raises ContainerError where PATH is no path for a container.
    """
    check(path)
    if layout.hierarchies:
        chosen = [item for item in layout.hierarchies if not only or set(only) & set(item[1])]
        return _group("v1", [Part(mount, _below(path, own, names[0]), names) for mount, names in chosen])
    if layout.unified:
        return _group("v2", [Part(layout.unified, _below(path, own, ""), ())])
    from . import cgroup_absent  # as it says

    cause = cgroup_absent.unmounted(layout.mount_point)
    return none(cause.why, cause.fix)


def reopen(layout: Layout, directories: "list[str]", parents: "list[str]" = []):
    """The group that an earlier command made. What is gone of it meanwhile is no error.

    directories, parents: what that command's group had
    """
    mounts = list(layout.hierarchies) + ([(layout.unified, ())] if layout.unified else [])
    parts, kind = [], "v1"
    for directory in directories:
        for mount, controllers in mounts:
            if directory.startswith(mount + "/"):
                check(directory[len(mount) :])
                parts.append(Part(mount, directory[len(mount) :], controllers))
                kind = "v1" if controllers else "v2"
                break
        else:
            why = "its file system is not mounted"
            raise ContainerError("open the cgroup %s" % printable(directory), why)
    if not parts:
        return none("the container was started without a cgroup")
    group = _group(kind, parts)
    group.parents = [name for name in parents if any(name.startswith(mount + "/") for mount, _ in mounts)]
    return group


def none(why: str, fix: str = "", number: int = 0):
    """The group that does nothing. why, fix: sentences for the records of what is lost; number: the errno
    that kept us from making one."""
    from .cgroup_none import None_

    return None_(why, fix, number)


def _group(kind: str, parts: "list[Part]"):
    if kind == "v1":  # one of the two is never needed
        from .cgroup_v1 import V1

        return V1(parts)
    from .cgroup_v2 import V2

    return V2(parts)


def check(path: str) -> None:
    """Raise ContainerError unless PATH names a cgroup below another one."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    if ".." in names or "\n" in path or "\0" in path:
        raise ContainerError("place the cgroup %s" % printable(path), "its path has a .. or a line end")
    if not names:
        raise ContainerError("place the cgroup %s" % printable(path), "the container needs one of its own")


def _below(path: str, own: "dict[str, str] | None", controller: str) -> str:
    above = "" if path.startswith("/") else (own or {}).get(controller, "/")
    return "/" + "/".join([name for name in (above + "/" + path).split("/") if name not in ("", ".", "..")])
