"""Mounts of type cgroup: what the container may see of its own control groups.

v2: the unified hierarchy, from the root of the cgroup namespace, or where there is none, the
container's own directory bound. v1: a small tmpfs with a directory for each hierarchy in it,
made in the same two ways.

Side: container
"""

from . import abi, cgroup_files, libc, mountinfo, mounting, mounts, paths
from . import unix as os
from .errors import ContainerError, Degradation, step

MOUNT_POINT = "/sys/fs/cgroup"


def attach(stage, mount) -> None:
    """Mount on MOUNT.target what the host has of control groups. stage: a rootfs.Stage"""
    if stage.plan.spec.source != "bundle" and "/sys" not in stage.kernel:
        _none(stage, mount, 0, "there is no /sys")
        return
    try:
        source = os.open(MOUNT_POINT, abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        _none(stage, mount, error.errno or 0)
        return
    own = cgroup_files.own(paths.read_text("/proc/self/cgroup"))
    # a joined one is as good: the path of this process is relative to it, not to SOURCE
    namespaced = "cgroup" in stage.plan.namespaces or any(kind == "cgroup" for kind, _ in stage.plan.joins)
    magic = libc.fstatfs_type(source)
    with step(str(mount)):
        if mount.kind == "cgroup2" and magic != abi.CGROUP2_SUPER_MAGIC:
            # where both are, v2 has no cgroup of the container's, and all would be shown
            hint = "the type cgroup mounts them"
            raise ContainerError(str(mount), "the container's cgroups are of version 1", hint=hint)
        target = stage.target(mount, True)
        if magic == abi.CGROUP2_SUPER_MAGIC:
            _one(stage, mount, target, "cgroup2", (), source, own.get("", "/"), namespaced)
        else:
            _hierarchies(stage, mount, target, source, own, namespaced)
        os.close(target)
    os.close(source)


def _one(stage, mount, target: int, kind: str, words, source: int, path: str, namespaced: bool) -> None:
    """One hierarchy on TARGET: fresh in a cgroup namespace, else our own directory of it."""
    if namespaced:
        fresh = mount.replace(kind=kind, words=words, source="cgroup", set=mount.set & ~abi.MOUNT_ATTR_RDONLY)
        try:
            made = mounting.create(stage.root, target, fresh)
            _readonly(stage, made, mount)
            os.close(made)
            return
        except (OSError, ContainerError) as error:
            number = getattr(error, "number", 0) or getattr(error, "errno", 0)
            if number not in mounts.REFUSED + (abi.EINVAL, abi.EBUSY):
                raise
            _none(stage, mount, number, "the kernel mounts it in no cgroup namespace")
            return  # below SOURCE, which is the host's, PATH is another's cgroup
    directory = _directory(source, path)
    again = mount.replace(kind="bind", words=(), flags=0, recursive=False)
    os.close(mounting.bind(stage.root, directory, target, again))
    os.close(directory)


def _directory(source: int, path: str) -> int:
    """The cgroup of this process, at PATH in the hierarchy that SOURCE shows from its top or, in a container
    that is in its host's cgroup namespace (Docker in Docker, on v1), from one of the cgroups above PATH."""
    if not _is_top(source):
        shown = mountinfo.unescape(mountinfo.own()[mountinfo.mount_id(source)].root).rstrip("/")
        if not (path + "/").startswith(shown + "/"):
            why = "nothing but %s and what is below is mounted" % shown
            raise ContainerError("find the cgroup %s" % path, why, hint="a cgroup namespace of its own")
        path = path[len(shown) :]
    return paths.open_in(source, path)


def _is_top(source: int) -> bool:
    """Told by files that are in every cgroup but the first (v2), or in none else (v1): mountinfo takes
    milliseconds on a host with 1,000 mounts."""
    unified = libc.fstatfs_type(source) == abi.CGROUP2_SUPER_MAGIC
    try:
        os.stat("cgroup.events" if unified else "release_agent", dir_fd=source)
    except FileNotFoundError:
        return unified
    return not unified


def _hierarchies(stage, mount, target: int, source: int, own, namespaced: bool) -> None:
    words = ("mode=755", "size=65536")
    memory = mount.replace(
        kind="tmpfs", source="tmpfs", words=words, set=mount.set & ~abi.MOUNT_ATTR_RDONLY,
        context=stage.plan.mount_label,
    )  # fmt: skip
    top = mounting.create(stage.root, target, memory)
    for name in sorted(os.listdir(paths.descriptor_path(source))):
        place = os.open(name, abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
        joint = libc.fstatfs_type(place) == abi.CGROUP_SUPER_MAGIC
        # systemd's, elogind's or OpenRC's own has no controllers but a name
        controllers = ["name=" + name] if "name=" + name in own else name.split(",")
        if joint and controllers[0] in own:
            os.mkdir(name, 0o755, dir_fd=top)
            inner = os.open(name, abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            option = tuple(controllers) if controllers != ["name=" + name] else ("none", controllers[0])
            below = mount.replace(context="", target=os.path.join(mount.target, name))
            _one(stage, below, inner, "cgroup", option, place, own[controllers[0]], namespaced)
            os.close(inner)
            for part in controllers if len(controllers) > 1 else ():
                os.symlink(name, part, dir_fd=top)
        os.close(place)
    _readonly(stage, top, mount)
    os.close(top)


def _readonly(stage, made: int, mount) -> None:
    """Of the mount only: a read-only file system would be one for the host too."""
    if mount.set & abi.MOUNT_ATTR_RDONLY:
        mounting.make_readonly(stage.root, made)


def _none(stage, mount, number: int, why: str = "the host has no " + MOUNT_POINT) -> None:
    wanted = "the container's cgroups on %s" % mount.target
    lost = "programs inside cannot read their limits"
    record = Degradation("cgroup-mount", "cgroup mount", wanted, "nothing", lost, number, why)
    if stage.plan.spec.source != "bundle":
        if mount.set & abi.MOUNT_ATTR_RDONLY:
            record.level = "notice"  # what was asked for is a limit
        else:
            record.lost = "a systemd inside has no cgroup to divide"  # for which --systemd has it mounted
    stage.degrade(record)
