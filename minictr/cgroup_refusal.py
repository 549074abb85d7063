"""A setting that the kernel has refused, in words: which value, and what it would take. And those that are
refused before it comes to that.

Side: host
"""

import os

from . import abi, cgroup_absent, cgroup_files, fixes, paths
from .cgroup_files import Part
from .cgroup_settings import Setting, cause
from .errors import ContainerError, printable

SUBTREE = "cgroup.subtree_control"
_OF_SYSTEMD = "cpu cpuset io memory pids"  # the controllers that its Delegate= is of use for
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


def explain(setting: Setting, error: OSError, directory: int, absent: "tuple[str, str]") -> ContainerError:
    """What ERROR, the kernel's answer to SETTING, is for a person.

    directory: a descriptor of the cgroup; absent: why such a file is not there (ENOENT), and what helps
    """
    number = error.errno or 0
    doing = "set %s to %s" % (printable(setting.names[0]), printable(setting.value))
    if number == abi.ENOENT and setting.names[0] == SUBTREE:
        why, hint = "it has only: " + _content(directory, "cgroup.controllers"), ""
    else:
        why, hint = absent if number == abi.ENOENT else ("", _hint(setting, number, directory))
    return ContainerError(doing, why, number, hint, cause="" if hint else cause(number))


def _hint(setting: Setting, number: int, directory: int) -> str:
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
        have = _content(directory, "../" + name) or _content(directory, "../%s.effective" % name)
        return "the cgroup above has %s" % have if have else ""
    if name == "memory.limit_in_bytes" and number == abi.EBUSY:
        use = _content(directory, "memory.usage_in_bytes")
        return "%s bytes are in use, and cannot be given back" % use
    if name == "memory.limit_in_bytes" and number == abi.EINVAL:
        most = _content(directory, "memory.memsw.limit_in_bytes")
        return "memory and swap together are limited to %s: change that limit too" % most
    return "there is no such block device, or it is a partition" if number == abi.ENODEV else ""


def _content(directory: int, name: str) -> str:
    """Of a file of the cgroup, or of the one above it; "" if that has none."""
    return paths.read_text(name, at=directory).strip()


def out_of_the_way(part: Part, busy: str) -> str:
    """What helps where the cgroup BUSY above PART hands nothing down, as processes are in it."""
    found = []  # type: list[str]
    own = cgroup_files.own(paths.read_text("/proc/self/cgroup")).get("", "")
    if busy == part.mount + own.rstrip("/"):  # "/" is that of our cgroup namespace
        found = paths.read_text(busy + "/cgroup.procs").split()
    others = [pid for pid in found if pid != str(os.getpid())]
    if not others or len(others) > 20:
        return "give the container a cgroupsPath beside those processes, not below them"
    step = "do echo $pid > shell/cgroup.procs; done"
    return "cd %s && mkdir -p shell && for pid in %s; %s" % (busy, " ".join(others), step)


def kept_back(part: Part, controller: str) -> "tuple[str, str]":
    """Why CONTROLLER does not come down to PART on v2, and what helps."""
    above = [part.mount + part.path[:at] for at, letter in enumerate(part.path) if letter == "/"]
    without = [place for place in above if controller not in _words(place, SUBTREE)]
    if not without or controller not in _words(without[0], "cgroup.controllers"):
        found = cgroup_absent.from_v2(controller, without[0]) if without else None
        if found is not None:
            return found.why, found.fix
        why = "the controller %s is not available in %s" % (controller, part.directory)
        return why, "it has to be delegated by the cgroups above, and not be in use by v1"
    fix = "echo +%s | tee %s" % (controller, " ".join([place + "/" + SUBTREE for place in without]))
    if "/user@" in part.path and controller in _OF_SYSTEMD.split():
        file = "/etc/systemd/system/user@.service.d/delegate.conf"
        fix = "mkdir -p %s && printf '[Service]\\nDelegate=%s\\n' > %s && systemctl daemon-reload" % (
            os.path.dirname(file), _OF_SYSTEMD, file,
        )  # fmt: skip
    return "the controller %s is not handed down by %s" % (controller, without[0]), fixes.as_root(fix)


def _words(directory: str, name: str) -> "list[str]":
    return paths.read_text(directory + "/" + name).split()


def refuse_empty(wanted: str) -> None:
    """Raise ContainerError where the container's own process could not be in its cgroup ("No Internal Process
    Constraint" and "Threads" in cgroup-v2.rst)."""
    for word in wanted.split():
        if word.startswith("+") and word[1:] not in ("cpu", "cpuset", "perf_event", "pids"):
            doing = "set %s to %s" % (SUBTREE, printable(wanted))
            why = "with %s no process can be in the cgroup itself, where the container's first is" % word[1:]
            raise ContainerError(doing, why, hint="leave it out: what runs inside may enable it later")


def refuse_below_use(memory: "dict", use: str) -> None:
    """checkBeforeUpdate: raise ContainerError if a new limit is below what is in use."""
    for name in ("limit", "swap"):
        value = memory.get(name) or 0
        if use.strip() and 0 < value <= int(use):
            why = "%s bytes are in use" % use.strip()
            raise ContainerError("set the memory %s to %d" % (name, value), why, abi.EBUSY)
