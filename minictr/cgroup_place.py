"""Where a container's cgroup lies, and whose it is, as far as that is decided before it is made.

Side: host
"""

from . import abi, idtables, maps
from .host import Host
from .spec import Spec, cgroup_of, cgroup_path


def free(spec: Spec, linux: "dict") -> bool:
    return not spec.systemd and not (linux.get("cgroupsPath") or "").startswith("/")


def path(spec: Spec, host: Host, linux: "dict", stage: str) -> str:
    """Absolute below the mount points of the hierarchies; of a unit, slice:prefix:name; "" for none.

    Where nobody has said which, one that keeps the limits that were asked for: from its own cgroups systemd
    takes the controllers again that none of its units needs, once it was told to reload, and with them the
    limits in those below. Where one below hands them on it cannot (EBUSY): so what lies there is a cgroup
    above the container's.
    """
    if spec.cgroups == "disabled":
        return ""
    if spec.systemd:
        return _unit(spec, linux, stage)
    place = cgroup_path(linux, spec.identifier, stage)
    chosen = free(spec, linux) or spec.source != "bundle"  # --cgroup-parent is another
    asked = set(linux.get("resources") or ()) - set(spec.assumed) - {"devices"}
    return place + "/container" if host.reclaimed and chosen and asked else place


def _unit(spec: Spec, linux: "dict", stage: str) -> str:
    """slice:prefix:name of the container's scope."""
    from . import systemd

    path = linux.get("cgroupsPath") or cgroup_of(spec.identifier, stage)
    if path.startswith("/") and not (linux.get("cgroupsPath") and spec.source == "bundle"):
        parent, _, name = path.rpartition("/")  # of --cgroup-parent, or nobody's wish
        path = parent.rpartition("/")[2] + ":" + name.replace("-", ":", 1)
    systemd.place(path)
    return path


def owner(mounts, namespaces, joins, table: "maps.Maps | None", uid: int) -> int:
    """config-linux.md, "Cgroup ownership": the program's user, as we see it, where it may write to its own
    cgroups and sees no other; else -1. Who joins a user namespace comes after the one whose cgroup it was."""
    joined = any(kind == "user" for kind, _ in joins)
    if joined or "cgroup" not in namespaces or not any(map(writable, mounts)):
        return -1
    return uid if table is None else idtables.on_host(table.uids, uid)


def writable(mount) -> bool:
    """Whether that shows the container its cgroups so that it may write to them."""
    fitting = mount.target == "/sys/fs/cgroup" and mount.kind in ("cgroup", "cgroup2")
    return fitting and not (mount.set | mount.set_all) & abi.MOUNT_ATTR_RDONLY
