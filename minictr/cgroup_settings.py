"""Settings of a cgroup: a value for a file, what is lost where there is no such file, and what of
`linux.resources` is the same on both versions.

Side: host
"""

from . import abi
from .errors import ContainerError, Degradation

DENIED = (abi.EACCES, abi.EPERM, abi.EROFS)
UNSET = (1 << 64) - 1  # -1 without a sign, which runc takes for nothing
NO_KERNEL = "kernel memory is limited by `limit` alone"
# Groups of linux.resources that hardly anybody asks for: see cgroup_rare
RARE = ("blockIO", "hugepageLimits", "network", "rdma", "unified")


class Setting:
    """A value for one file.

    names: of the file; of several between spaces the first that exists
    lost: what is lost where none exists; "" where nothing is; None where that is an error
    """

    __slots__ = ("controller", "lost", "names", "value")

    def __init__(self, controller: str, names: str, value: object, lost: "str | None" = None) -> None:
        self.controller, self.names, self.value, self.lost = controller, names.split(), str(value), lost

    def __repr__(self) -> str:
        return "%s=%s" % ("|".join(self.names), self.value)


# Groups of linux.resources, each with its controller on v1 and on v2, that a start may go without, if
# steps down are taken
CONTROLLERS = {
    "memory": ("memory", "memory"), "cpu": ("cpu", "cpu"), "pids": ("pids", "pids"),
    "blockIO": ("blkio", "io"),
}  # fmt: skip

# What is lost where a group of `linux.resources` cannot be had
LOSSES = {
    "memory": "the container may use all memory of the host",
    "cpu": "it may use every CPU at full",
    "pids": "it may start processes until the host can no more",
    "blockIO": "it may use all bandwidth of the disks",
    "hugepageLimits": "it may use all huge pages",
    "network": "its packets carry neither class nor priority",
    "rdma": "it may use every RDMA object",
    "unified": "none of the settings in `unified` has an effect",
}


def ignored(name: str, value: object, lost: str) -> Degradation:
    """The record for a setting that has no counterpart here."""
    why = "this kernel, or this version of cgroups, has no such setting"
    return Degradation("cgroup-setting", "cgroup", "%s %s" % (name, value), "nothing", lost, 0, why)


def no_kernel_memory(name: str, value: int, why: str = "") -> Degradation:
    """The record for a limit of the kernel's memory alone. Of v1's file for all of it runc makes no use
    either: where a kernel took it, slabs leaked, and since 5.16 it is refused, or taken and forgotten."""
    record = ignored("memory " + name, value, NO_KERNEL)
    record.why, record.fix = why or record.why, "leave it out: `limit` counts that memory, too"
    return record


def without_devices(number: int, why: str, fix: str = "", cause: str = "") -> Degradation:
    """The record for rules for devices, which every container has, that could not be set."""
    lost = "who gets at a device node, or may make one, may use the device"
    wanted = "rules for devices"
    return Degradation("cgroup-devices", "cgroup", wanted, "none", lost, number, why, fix, cause=cause)


def cause(number: int) -> str:
    """The word under which `causes` knows more of a refusal, "" where it is none of our rights."""
    return "cgroup-files" if number in DENIED else ""


def limit(doing: str, value: object) -> int:
    """VALUE, if it is a limit: -1 or more."""
    if not isinstance(value, int) or value < -1 or value >= 1 << 63:
        why = "it must be -1 (no limit) or more, below 2^63"
        raise ContainerError("set the %s to %s" % (doing, value), why)
    return value


def shares(wanted: "dict") -> int:
    """0 for none: an idle group takes no shares, and one that was it has the usual ones."""
    return 0 if wanted.get("idle") == 1 else wanted.get("shares") or 0


def idle(wanted: "dict") -> "list[Setting]":
    """cpu.idle, since 5.15."""
    if wanted.get("idle") is None:
        return []
    lost = "it is scheduled as any other" if wanted["idle"] else ""
    return [Setting("cpu", "cpu.idle", wanted["idle"], lost)]


def burst(wanted: "dict", file: str) -> "list[Setting]":
    """What may be saved up, in microseconds, since 5.14: 0 for nothing."""
    if wanted.get("burst") is None:
        return []
    return [Setting("cpu", file, wanted["burst"], None if wanted["burst"] else "")]


def pids(wanted: "dict") -> "list[Setting]":
    most = limit("limit of processes", wanted.get("limit") or 0)
    return [Setting("pids", "pids.max", most if most > 0 else "max")] if most else []
