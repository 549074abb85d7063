"""How the kernel schedules a process: its CPU time, its input and output, the memory nodes it takes from.

`process.scheduler`, `process.ioPriority` and `process.execCPUAffinity` are set by the runtime, which may hold
the capability that raising a priority takes, or, before it takes ids that are not the runtime's, by the
process; `linux.memoryPolicy` by the process, as the kernel wants it.

Sources: runtime-spec config.md "Linux Process", config-linux.md "Memory policy"; sched_setattr(2),
ioprio_set(2), set_mempolicy(2), sched_setaffinity(2)

Side: both
"""

import _struct as struct
import os
import sys

from . import abi, libc, syscalls
from .errors import ContainerError, step
from .words import number

# include/uapi/linux/sched.h
POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}  # fmt: skip
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10, "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}  # fmt: skip
_CLAMP = 0x60
_REAL_TIME = ("SCHED_FIFO", "SCHED_RR")
# include/uapi/linux/ioprio.h
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_IOPRIO_WHO_PROCESS, _IOPRIO_CLASS_SHIFT = 1, 13
# include/uapi/linux/mempolicy.h
MEMORY_MODES = {
    "MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6,
}  # fmt: skip
MEMORY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15,
}  # fmt: skip
_NODELESS = ("MPOL_DEFAULT", "MPOL_LOCAL")
MAX_NODES, MAX_CPUS = 1024, 8192  # CONFIG_NODES_SHIFT and CONFIG_NR_CPUS at their highest

_table = syscalls.table(abi.machine()) if abi.machine() in syscalls.TABLES else {}
_sched_setattr = libc.bind_syscall(_table.get("sched_setattr", -1), libc.c_int, libc.c_char_p, libc.c_ulong)
_ioprio_set = libc.bind_syscall(_table.get("ioprio_set", -1), libc.c_int, libc.c_int, libc.c_int)
_set_mempolicy = libc.bind_syscall(
    _table.get("set_mempolicy", -1), libc.c_int, libc.c_void_p, libc.c_ulong
)  # fmt: skip

_NICE = "a higher priority than the caller's takes CAP_SYS_NICE, and real time a share of its cgroup's"


# --- what config.json may say -------------------------------------------------------------------


def wrong(process: "dict", linux: "dict") -> "tuple[str, str] | None":
    """The first property that contradicts itself: where, and why. The shapes are right already."""
    for found in (
        _wrong_scheduler(process.get("scheduler") or {}),
        _wrong_affinity(process.get("execCPUAffinity") or {}),
        _wrong_memory(linux.get("memoryPolicy") or {}),
    ):
        if found:
            return found
    return None


def _wrong_scheduler(asked: "dict") -> "tuple[str, str] | None":
    where, policy = "process.scheduler", asked.get("policy")
    if not asked:
        return None
    for flag in asked.get("flags") or ():
        if flag not in FLAGS:
            return where + ".flags", "has an unknown flag"
    if policy in ("SCHED_OTHER", "SCHED_BATCH") and not -20 <= (asked.get("nice") or 0) <= 19:
        return where + ".nice", "is not between -20 and 19"
    priority = asked.get("priority") or 0
    if policy in _REAL_TIME and not 1 <= priority <= 99:
        return where + ".priority", "is not between 1 and 99"
    if policy not in _REAL_TIME and priority:
        return where + ".priority", "is for SCHED_FIFO and SCHED_RR alone"
    for name in ("runtime", "deadline", "period"):
        if asked.get(name) and policy != "SCHED_DEADLINE":
            return "%s.%s" % (where, name), "is for SCHED_DEADLINE alone"
    return None


def _wrong_affinity(asked: "dict") -> "tuple[str, str] | None":
    for name in ("initial", "final"):
        why = _wrong_list(asked.get(name) or "", MAX_CPUS)
        if why:
            return "process.execCPUAffinity." + name, why
    return None


def _wrong_memory(asked: "dict") -> "tuple[str, str] | None":
    where, mode = "linux.memoryPolicy", asked.get("mode")
    if not asked:
        return None
    if not mode:
        return where + ".mode", "is missing"
    flags = asked.get("flags") or []
    if [flag for flag in flags if flag not in MEMORY_FLAGS]:
        return where + ".flags", "has an unknown flag"
    if "MPOL_F_STATIC_NODES" in flags and "MPOL_F_RELATIVE_NODES" in flags:
        return where + ".flags", "has nodes that are both static and relative"
    nodes = asked.get("nodes") or ""
    why = _wrong_list(nodes, MAX_NODES)
    if why:
        return where + ".nodes", why
    if mode in _NODELESS and (nodes.strip() or flags):
        return where, "has nodes or flags, which %s does without" % mode
    if mode not in _NODELESS + ("MPOL_PREFERRED",) and not nodes.strip():
        return where + ".nodes", "is missing, which %s needs" % mode
    return None


def _wrong_list(text: str, limit: int) -> str:
    try:
        parse_list(text, limit)
    except ValueError as error:
        return str(error)
    return ""


def parse_list(text: str, limit: int) -> "list[int]":
    """ "0-3,7" to numbers below LIMIT; "" is none. Raises ValueError."""
    numbers = []  # type: list[int]
    for part in text.split(",") if text.strip() else ():
        first, dash, last = [word.strip() for word in part.partition("-")]
        low, high = number(first), number(last if dash else first)
        if low < 0 or high < 0:
            raise ValueError("is not a list such as 0-3,7")
        if low > high or high >= limit:
            raise ValueError("has a range that is none, or a number above %d" % (limit - 1))
        numbers += range(low, high + 1)
    return sorted(set(numbers))


# --- from outside: host ---------------------------------------------------------------------------


def apply(pid: int, extras: "dict") -> None:
    """Give process PID the scheduler and the priority of input and output that EXTRAS have."""
    if "scheduler" in extras:
        asked = extras["scheduler"]
        hints = {abi.EPERM: _NICE, abi.EINVAL: "not in this kernel, or not with these values"}
        with step("set the scheduler %s" % asked["policy"], hints):
            _sched_setattr(pid, attributes(asked), 0)
    if "ioPriority" in extras:
        asked = extras["ioPriority"]
        value = IO_CLASSES[asked["class"]] << _IOPRIO_CLASS_SHIFT | (asked.get("priority") or 0)
        hints = {abi.EPERM: "real time takes CAP_SYS_ADMIN or CAP_SYS_NICE"}
        with step("set the priority of input and output %s" % asked["class"], hints):
            _ioprio_set(_IOPRIO_WHO_PROCESS, pid, value)


def apply_own(extras: "dict") -> bool:
    """The same for ourselves, as far as that takes no capability. False: somebody else has to do it."""
    try:
        apply(0, extras)
    except ContainerError as error:
        if error.number != abi.EPERM:
            raise
        return False
    return True


def attributes(asked: "dict") -> bytes:
    """struct sched_attr; the two last fields, since 5.3, only where a flag asks for them."""
    flags = 0
    for flag in asked.get("flags") or ():
        flags |= FLAGS[flag]
    numbers = [asked.get(name) or 0 for name in ("nice", "priority", "runtime", "deadline", "period")]
    size = 56 if flags & _CLAMP else 48
    packed = struct.pack("=IIQiIQQQII", size, POLICIES[asked["policy"]], flags, *(numbers + [0, 0]))
    return packed[:size]


class Affinity:
    """execCPUAffinity: where we run until the process is in its cgroup, and where it runs afterwards."""

    def __init__(self, asked: "dict") -> None:
        self.initial = parse_list(asked.get("initial") or "", MAX_CPUS)
        self.final = parse_list(asked.get("final") or "", MAX_CPUS)
        self.own = os.sched_getaffinity(0)

    def begin(self) -> None:
        if self.initial:
            _set_affinity(0, self.initial)

    def end(self, pid: int) -> None:
        """Without `final`: what the cgroup allows, of which the kernel leaves the rest away."""
        if self.initial or self.final:
            _set_affinity(pid, self.final or range(MAX_CPUS))

    def give_back(self) -> None:
        if self.initial:
            os.sched_setaffinity(0, self.own)


def _set_affinity(pid: int, cpus) -> None:
    hints = {abi.EINVAL: "none of these CPUs is there, or allowed to the cgroup"}
    with step("run on the CPUs of execCPUAffinity", hints):
        os.sched_setaffinity(pid, cpus)


# --- from inside: container -----------------------------------------------------------------------


def set_memory_policy(asked: "dict") -> None:
    """set_mempolicy(2) of this thread, which its children and programs keep."""
    mode = MEMORY_MODES[asked["mode"]]
    for flag in asked.get("flags") or ():
        mode |= MEMORY_FLAGS[flag]
    nodes = parse_list(asked.get("nodes") or "", MAX_NODES)
    mask = bytearray(MAX_NODES // 8)
    if sys.byteorder == "little":
        places = [(node // 8, node % 8) for node in nodes]
    else:  # an array of longs, whose last byte comes first
        places = [(node // 64 * 8 + 7 - node % 64 // 8, node % 8) for node in nodes]
    for byte, bit in places:
        mask[byte] |= 1 << bit
    hints = {
        abi.EINVAL: "no such nodes, or none that the cgroup allows, or an older kernel",
        abi.ENOSYS: "the kernel is made for machines with one node",
    }
    with step("set the memory policy %s" % asked["mode"], hints):
        # the kernel takes one bit less than it is told (get_nodes() in mm/mempolicy.c)
        _set_mempolicy(mode, libc.address(mask) if nodes else None, MAX_NODES + 1 if nodes else 0)
