"""What the attempts of a twin prove, measured by its plan: what was possible because it was asked for
speaks against nothing.

Side: host
"""

import errno

from . import abi, isolation
from .record import Record


class Attempt(Record):
    """outcome: "refused", "possible" or "absent" (nothing to try it on; with an errno: no way to try it)
    detail: words
    """

    layer: str
    name: str
    outcome: str
    errno: int = 0
    detail: str = ""

    def __str__(self) -> str:
        why = errno_name(self.errno) if self.errno else self.detail
        return "%-10s %s%s" % (self.outcome, self.name, " (%s)" % why if why else "")


# attempt: the capabilities that allow it. The builtin filter follows those of the bounding set; the others
# count where the container has one over what it is made on
GRANTS = {
    "open a raw socket": ("CAP_NET_RAW",),
    "make a block device": ("CAP_MKNOD",),
    "make a user namespace": ("CAP_SYS_ADMIN",),
    "load a BPF map": ("CAP_SYS_ADMIN", "CAP_BPF"),
    "open performance events": ("CAP_SYS_ADMIN", "CAP_PERFMON"),
}


def possible(found, layer: str) -> "list[str]":
    """What could be done, by name, that LAYER should have refused."""
    return [
        attempt.name for attempt in found.attempts
        if attempt.layer == layer and attempt.outcome == "possible" and not _granted(attempt, found)
    ]  # fmt: skip


def untried(found) -> int:
    """How many attempts could not be made, by a limit or a filter of the container's own."""
    return len([one for one in found.attempts if one.outcome == "absent" and one.errno])


def _granted(attempt: Attempt, found) -> bool:
    """What was possible because it was asked for: by a capability, a mount or a device."""
    if attempt.layer in ("proc", "sys", "cgroup-files"):
        return _writable(found.plan, attempt.detail)
    if attempt.name == "open a block device":
        named = [(device.kind, "%d:%d" % (device.major, device.minor)) for device in found.plan.devices]
        return isolation.every_device(found.plan) or ("b", attempt.detail.split(" ")[0]) in named
    sets = found.plan.credentials.capabilities
    if not sets:
        return False
    holds = sets["bounding" if attempt.layer == "seccomp" else "effective"]
    return bool(holds & mask(GRANTS.get(attempt.name, ())))


def uncovered(plan) -> str:
    """What of the kernel's in /proc and /sys PLAN leaves open that a container has masked or read-only: the
    host's memory, and its settings, which a program of the host's root can make run anything on the host
    (kernel/core_pattern, uevent_helper). "" for nothing."""
    if not plan.masked_paths:
        return "no path is masked"
    if not _covered("/proc/kcore", plan.masked_paths):
        return "/proc/kcore is not masked"
    for place in ("/proc/sys", "/proc/sysrq-trigger", "/sys/kernel"):
        over = [mount for mount in plan.mounts if _covered(place, (mount.target,))]
        if over and _of_kernel(over[-1]) and _writable(plan, place):
            return "%s can be written to" % place
    return ""


def _of_kernel(mount) -> bool:
    if mount.kind == "bind":
        return _covered(mount.source, ("/proc", "/sys"))
    return mount.kind in ("proc", "sysfs")


def _covered(path: str, places: "tuple[str, ...]") -> bool:
    return any((path + "/").startswith(place.rstrip("/") + "/") for place in places)


def _writable(plan, path: str) -> bool:
    """Whether the configuration shows the file PATH so that it may be written to."""
    if _covered(path, plan.readonly_paths + plan.masked_paths):
        return False
    over = [mount for mount in plan.mounts if path.startswith(mount.target.rstrip("/") + "/")]
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
    if mount is None:
        return ""
    return "read-only" if (mount.set | mount.set_all) & abi.MOUNT_ATTR_RDONLY else "writable"


def mask(names) -> int:
    return sum([1 << abi.CAPABILITIES.index(name) for name in names if name in abi.CAPABILITIES])


def errno_name(number: int) -> str:
    """EPERM for 1."""
    return errno.errorcode.get(number, str(number))
