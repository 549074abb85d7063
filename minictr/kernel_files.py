"""What of the kernel's own files, in /proc, /sys and the cgroups, a plan shows, and whether the container
may write to it.

Side: host
"""

from . import abi
from . import unix as os

_GROUPS = "/sys/fs/cgroup"  # a bundle may want its own to be written to


def uncovered(plan) -> str:
    """What of the kernel's in /proc and /sys PLAN leaves open that a container has masked or read-only: the
    host's memory, and its settings, which a program of the host's root can make run anything on the host
    (kernel/core_pattern, uevent_helper). "" for nothing."""
    if not plan.masked_paths:
        return "no path is masked"
    if not _covered("/proc/kcore", plan.masked_paths):
        return "/proc/kcore is not masked"
    places = ["/proc" + name for name in _SETTINGS["proc"]] + ["/sys"]  # whatever is mounted there
    for mount in plan.mounts:  # what is mounted elsewhere is the same kernel's
        target = mount.target.rstrip("/")
        if mount.kind == "bind" and _of_kernel(mount):
            groups = plan.spec.source == "bundle" and _covered(os.path.realpath(mount.source), (_GROUPS,))
            places += [] if groups else [target]
        if mount.kind not in _SETTINGS or "subset=pid" in mount.words:
            continue
        places += [target + name for name in _SETTINGS[mount.kind]]
        if mount.kind == "proc" and not _covered(target + "/kcore", plan.masked_paths):
            return "%s/kcore is not masked" % target
    for place in places:
        if _open(plan, place):
            return "%s can be written to" % place
    return ""


# File systems of which there is one for the whole host, by which its root sets what the kernel does, or
# changes what the host's programs find there (its very /dev), and below which names
_SETTINGS = {
    "proc": ("/sys", "/sysrq-trigger", "/acpi", "/bus", "/fs", "/irq", "/scsi"), "sysfs": ("",),
    "binfmt_misc": ("",), "configfs": ("",), "debugfs": ("",), "devtmpfs": ("",), "efivarfs": ("",),
    "fusectl": ("",), "nfsd": ("",), "pstore": ("",), "resctrl": ("",), "securityfs": ("",),
    "selinuxfs": ("",), "smackfs": ("",), "tracefs": ("",), "xenfs": ("",),
}  # type: dict[str, tuple[str, ...]]  # fmt: skip


def _open(plan, place: str) -> bool:
    """Whether PLACE is the kernel's own and may be written to."""
    over = [mount for mount in plan.mounts if _covered(place, (mount.target,))]
    return bool(over) and _of_kernel(over[-1]) and writable(plan, place)


def _of_kernel(mount) -> bool:
    if mount.kind == "bind":
        return _covered(os.path.realpath(mount.source), ("/proc", "/sys"))
    return mount.kind in _SETTINGS


def _covered(path: str, places: "tuple[str, ...]") -> bool:
    return any((path + "/").startswith(place.rstrip("/") + "/") for place in places)


def writable(plan, path: str) -> bool:
    """Whether the configuration shows the file PATH so that it may be written to."""
    if _covered(path, plan.readonly_paths + plan.masked_paths):
        return False
    over = [mount for mount in plan.mounts if _covered(path, (mount.target,))]
    return bool(over) and mode(over[-1]) == "writable"


def mounted(plan, place: str):
    """The mount of the plan that shows what is at PLACE; None where there is none."""
    over = [mount for mount in plan.mounts if _shows(mount, place)]
    return over[-1] if over else None


def _shows(mount, place: str) -> bool:
    """A file system of the kernel's is none but at its own place: what /sys/fs/cgroup has is no sysfs."""
    target = mount.target.rstrip("/")
    return place == target or (mount.kind == "bind" and place.startswith(target + "/"))


def mode(mount) -> str:
    """What is bound with all that is mounted below is read-only where all of that is."""
    if mount is None:
        return ""
    own = 0 if mount.kind == "bind" and mount.recursive else mount.set
    return "read-only" if (own | mount.set_all) & abi.MOUNT_ATTR_RDONLY else "writable"
