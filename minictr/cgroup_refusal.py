"""A setting that the kernel has refused, in words: which value, and what it would take.

Side: host
"""

import os

from . import abi, cgroup_files
from .cgroup_files import GONE, HERE
from .cgroup_group import Group, Setting, cause
from .errors import ContainerError, printable

SUBTREE = "cgroup.subtree_control"
_PERIOD = "a period has 1000 to 1000000 microseconds"
_QUOTA = "a quota has at least 1000 microseconds, and no more of a period than the cgroup above has"
_BURST = "a burst is no more than the quota"
_RANGES = {
    "cpu.cfs_period_us": _PERIOD, "cpu.cfs_quota_us": _QUOTA, "cpu.max": _QUOTA + "; " + _PERIOD,
    "cpu.cfs_burst_us": _BURST, "cpu.max.burst": _BURST,
    "cpu.rt_runtime_us": "the cgroup above must have as much realtime to give",
    "blkio.weight": "10 to 1000", "io.weight": "1 to 10000", "io.bfq.weight": "1 to 1000",
    "memory.swappiness": "0 to 100",
}  # fmt: skip
# of a device; with io.weight the model of its costs would do, too (io.cost.qos)
_WEIGHTS = ("blkio.weight_device", "blkio.leaf_weight_device", "io.weight", "io.bfq.weight")


def explain(group: Group, setting: Setting, error: OSError) -> ContainerError:
    """What ERROR, the kernel's answer to SETTING in GROUP, is for a person."""
    number = error.errno or 0
    doing = "set %s to %s" % (printable(setting.names[0]), printable(setting.value))
    if number == abi.ENOENT and setting.names[0] == SUBTREE:
        why, hint = "it has only: " + group._read("", "cgroup.controllers").strip(), ""
    else:
        why, hint = group._missing(setting) if number == abi.ENOENT else ("", _hint(group, setting, number))
    return ContainerError(doing, why, number, hint, cause="" if hint else cause(number))


def _hint(group: Group, setting: Setting, number: int) -> str:
    """What is wrong with the value, or with our rights."""
    name = setting.names[0]
    if number in (abi.EINVAL, abi.ERANGE) and name in _RANGES:
        return _RANGES[name]
    if name == SUBTREE and number == abi.EBUSY:
        return "that takes a cgroup without processes of its own: they must be in those below it"
    if number == abi.EOPNOTSUPP and name in _WEIGHTS:
        place = "/sys/dev/block/%s/queue/scheduler" % setting.value.partition(" ")[0]
        return "no scheduler that knows weights is set for it: echo bfq >%s" % place
    if name.startswith("cpuset.") and number == abi.EBUSY:
        return "cgroups below it use more of them"
    if name.startswith("cpuset."):
        have = _above(group, setting.controller, name) or _above(
            group, setting.controller, name + ".effective"
        )
        return "the cgroup above has %s" % have if have else ""
    if name == "memory.limit_in_bytes" and number == abi.EBUSY:
        use = group._read("memory", "memory.usage_in_bytes").strip()
        return "%s bytes are in use, and cannot be given back" % use
    if name == "memory.limit_in_bytes" and number == abi.EINVAL:
        most = group._read("memory", "memory.memsw.limit_in_bytes").strip()
        return "memory and swap together are limited to %s: change that limit too" % most
    return "there is no such block device, or it is a partition" if number == abi.ENODEV else ""


def refuse_empty(wanted: str) -> None:
    """Raise ContainerError where the container's own process could not be in its cgroup ("No Internal Process
    Constraint" and "Threads" in cgroup-v2.rst)."""
    for word in wanted.split():
        if word.startswith("+") and word[1:] not in ("cpu", "cpuset", "perf_event", "pids"):
            doing = "set linux.resources.unified %s to %s" % (SUBTREE, printable(wanted))
            why = "with %s no process can be in the cgroup itself, where the container's first is" % word[1:]
            raise ContainerError(doing, why, hint="leave it out: what runs inside may enable it later")


def _above(group: Group, controller: str, name: str) -> str:
    """The content of a file of the cgroup above the group's, "" if that has none."""
    try:
        descriptor = os.open("..", HERE, dir_fd=group._directory(controller))
        try:
            return cgroup_files.read(descriptor, name).strip()
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in GONE or error.errno == abi.EACCES:
            return ""
        raise
