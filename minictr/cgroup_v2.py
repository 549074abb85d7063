"""Cgroups of version 2: one directory, in which the controllers of the one above have to be enabled.

Sources: Documentation/admin-guide/cgroup-v2.rst

Side: host
"""

from . import abi, cgroup_files, paths
from . import unix as os
from .cgroup_files import GONE, Part
from .cgroup_group import Group
from .cgroup_settings import (
    DENIED,
    RARE,
    UNSET,
    Setting,
    burst,
    cause,
    idle,
    ignored,
    limit,
    no_kernel_memory,
    pids,
    shares,
    without_devices,
)
from .errors import ContainerError, Degradation, printable

_NO_SWAP = "the container may use swap: the kernel does not count it"


class V2(Group):
    """refused: controllers that could not be enabled, with where that was and the errno"""

    kind = "v2"

    def __init__(self, parts) -> None:
        super().__init__(parts)
        self.refused = {}  # type: dict[str, tuple[str, int]]
        self.fresh = False  # nobody can have attached a program to it

    def create(self) -> "list[Degradation]":
        part = self.parts[0]
        mask = os.umask(0o022)
        self.parts = []  # what is not ours is not to be removed
        try:
            self._prepare(part)
            self.fresh = self._make(part)
            self.parts = [part]
            part.open()
        except OSError as error:
            number = error.errno or 0
            doing = "create the cgroup %s" % part.directory
            raise ContainerError(doing, "", number, cause=cause(number)) from error
        finally:
            os.umask(mask)
        self._refuse_threaded(part)
        if not self.fresh:
            self.thaw()
        return []

    def _prepare(self, part: Part) -> None:
        """Make the parents, each with all controllers of the one above."""
        above = part.mount
        self._enable(above)
        if part.path.count("/") > 1:
            self._make_parents(part)
        for name in part.path.split("/")[1:-1]:
            above += "/" + name
            self._enable(above)

    def _enable(self, directory: str) -> None:
        """Enable below DIRECTORY every controller it has. What is refused counts only if it is needed.

        Not where processes live: for memory and io that is refused, but cpu and pids would make the
        cgroup a threaded one, in which no container can be.
        """
        try:
            descriptor = os.open(directory, cgroup_files.HERE)
        except OSError as error:
            if error.errno in GONE:  # taken away by who made it: `_make` tries again
                return
            raise
        try:
            have = set(cgroup_files.read(descriptor, "cgroup.controllers").split())
            names = sorted(have.difference(cgroup_files.read(descriptor, "cgroup.subtree_control").split()))
            busy = bool(names) and _inhabited(descriptor)
            if not names or not busy and not _add(descriptor, names):
                return
            for name in names:  # one that is refused does not keep the others away
                number = abi.EBUSY if busy else _add(descriptor, [name])
                if number:
                    self.refused[name] = (directory, number)
        finally:
            os.close(descriptor)

    def _refuse_threaded(self, part: Part) -> None:
        kind = self.read("", "cgroup.type").strip()
        if kind in ("", "domain", "domain threaded"):
            return
        if not self.fresh:
            self.parts = []
        why = "it is %s: the one above is threaded, or has processes and threaded children" % kind
        hint = "give the container a cgroupsPath that is not below it"
        raise ContainerError("create the cgroup %s" % printable(part.directory), why, 0, hint)

    def apply(self, resources: "dict") -> "list[Degradation]":
        enabled = (resources.get("unified") or {}).get("cgroup.subtree_control")
        if enabled:
            from . import cgroup_refusal  # hardly ever

            cgroup_refusal.refuse_empty(enabled)
        return self.set_devices(resources.get("devices")) + self.set_resources(resources)

    def update(self, resources: "dict") -> "list[Degradation]":
        memory = resources.get("memory") or {}
        if memory.get("checkBeforeUpdate"):
            from . import cgroup_refusal  # hardly ever

            cgroup_refusal.refuse_below_use(memory, self.read("", "memory.current"))
        if not self.fresh:
            self.prepare_for(self.convert(resources)[1])
        return self.set_resources(resources)

    def convert(self, resources: "dict") -> "tuple[list[Degradation], list[Setting]]":
        records = []  # type: list[Degradation]
        settings = []  # type: list[Setting]
        if resources.get("memory"):
            settings += memory(resources["memory"], records)
        if resources.get("cpu"):
            settings += cpu(resources["cpu"], records, self.read)
        if resources.get("pids"):
            settings += pids(resources["pids"])
        if any(map(resources.get, RARE)):
            from . import cgroup_rare  # as it says

            settings += cgroup_rare.v2(resources, records, self.read)
        return records, settings

    def prepare_for(self, settings: "list[Setting]") -> None:
        """systemd enables the controllers that it knows, and takes back those that no unit of its needs."""
        have = self.read("", "cgroup.controllers").split() + ["cgroup"]
        if any(setting.names[0].partition(".")[0] not in have for setting in settings):
            self._prepare(self.parts[0])

    def set_devices(self, rules: "list[dict] | None") -> "list[Degradation]":
        from . import device_rules, devices_bpf  # the first start and `update` part here

        try:
            devices_bpf.attach(self.parts[0].open(), device_rules.normal(rules or []), not self.fresh)
        except OSError as error:
            number = error.errno or 0
            why = "the kernel lacks CONFIG_CGROUP_BPF" if number in (abi.EINVAL, abi.ENOSYS) else ""
            if number in (abi.EPERM, abi.EACCES):
                why = "to attach a program to a cgroup takes CAP_SYS_ADMIN or CAP_BPF of the host"
            return [without_devices(number, why)]
        return []

    def join_files(self) -> "tuple[int, ...]":
        """The slow way in: a move into a v2 cgroup waits even if it is of ourselves."""
        return (os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.parts[0].open()),)

    def join_else(self, pid: int) -> int:
        path = self.beside(pid)
        if not path:
            return -1
        from . import cgroup_below

        return cgroup_below.join(self.parts[0], path)

    def beside(self, pid: int) -> str:
        """A cgroup whose controllers are enabled below it has no processes of its own ("No Internal Process
        Constraint" in cgroup-v2.rst), as where systemd is process 1: then that of process 1, as runc."""
        if not self.read("", "cgroup.subtree_control").strip():
            return ""
        from . import cgroup_below  # where that may be

        return cgroup_below.beside(self.parts[0], pid)

    def clone_into(self) -> "int | None":
        return self.parts[0].open()

    def kill(self, patience: float = 10.0) -> bool:
        """By cgroup.kill, since 5.14 and not for a threaded one, else by the freezer."""
        directory = self.descriptor("")
        if directory < 0:
            return True
        try:
            cgroup_files.write(directory, "cgroup.kill", "1")
        except OSError as error:
            if error.errno not in GONE and error.errno != abi.EOPNOTSUPP:
                raise ContainerError("kill the container", "", error.errno or 0) from error
            return super().kill(patience)
        for _ in cgroup_files.waits(patience):
            if "populated 1" not in self.read("", "cgroup.events"):
                return True
        return False

    def _stop(self, directory: int, patience: float) -> bool:
        """Since 5.2."""
        cgroup_files.write(directory, "cgroup.freeze", "1")
        for _ in cgroup_files.waits(patience):
            if "frozen 1" in cgroup_files.read(directory, "cgroup.events"):
                return True
        return False

    def thaw(self) -> None:
        self._thaw(self.descriptor(""), "cgroup.freeze", "0")

    def frozen(self) -> bool:
        return self.read("", "cgroup.freeze").strip() == "1"

    def oom_alarm(self):
        from . import cgroup_alarm  # who watches is rare

        return cgroup_alarm.arm(cgroup_alarm.V2, self.descriptor(""))

    def refuse_in_use(self, memory: "dict") -> None:
        """A limit below what is in use has processes killed ("memory.max" in cgroup-v2.rst), while v1
        refuses it. Files are given back, and what is in swap already does not count."""
        most = memory.get("limit") or 0
        if most <= 0 or int(self.read("", "memory.current").strip() or 0) <= most:
            return
        rows = dict([line.split() for line in self.read("", "memory.stat").splitlines()])
        use = sum(
            [
                int(rows.get(name, 0))
                for name in ("anon", "shmem", "unevictable", "kernel_stack", "pagetables")
            ]
        )
        if use > most and not _can_swap(self.read("", "memory.swap.max")):
            why = "%d bytes are in use, and cannot be given back" % use
            raise ContainerError("set memory.max to %d" % most, why, abi.EBUSY)

    def has(self, controller: str) -> bool:
        return controller in self.read("", "cgroup.controllers").split()

    def stats(self) -> "dict[str, object]":
        from . import cgroup_stats

        return cgroup_stats.v2(self.read)

    def oom_kills(self) -> int:
        words = self.read("", "memory.events").split()
        return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0

    def missing(self, setting: Setting) -> "tuple[str, str]":
        controller = setting.names[0].partition(".")[0]
        if controller == "cgroup" or controller in self.read("", "cgroup.controllers").split():
            return "this kernel has no such setting", ""
        from . import cgroup_refusal  # only where something was refused

        where, number = self.refused.get(controller, ("", 0))
        if number == abi.EBUSY:
            why = "%s has processes of its own, so %s cannot be enabled below it" % (where, controller)
            return why, cgroup_refusal.out_of_the_way(self.parts[0], where)
        if number and number not in DENIED:
            why = os.strerror(number)
            return "the controller %s cannot be enabled below %s: %s" % (controller, where, why), ""
        return cgroup_refusal.kept_back(self.parts[0], controller)


def _can_swap(most: str) -> bool:
    """Whether the host has any swap left, and the group may use it."""
    rows = [line.split() for line in paths.read_text("/proc/meminfo").splitlines()]
    left = [int(row[1]) for row in rows if row[0] == "SwapFree:"]
    return most.strip() != "0" and any(left)


def _inhabited(directory: int) -> bool:
    """Whether processes live in a cgroup itself; in the root, which has no type, they may."""
    try:
        return bool(
            cgroup_files.read(directory, "cgroup.type") and cgroup_files.read(directory, "cgroup.procs")
        )
    except OSError as error:
        if error.errno in GONE or error.errno == abi.EOPNOTSUPP:
            return False
        raise


def _add(directory: int, names: "list[str]") -> int:
    """Enable controllers; the errno where that is refused."""
    try:
        cgroup_files.write(directory, "cgroup.subtree_control", "+" + " +".join(names))
        return 0
    except OSError as error:
        return error.errno or abi.EIO


# --- from linux.resources to files ----------------------------------------------------------------


def most(value: int) -> str:
    return "max" if value == -1 else str(value)


def weight_from_shares(count: int) -> int:
    """cpu.shares of v1 (2 to 262144, 1024 the default) as cpu.weight (1 to 10000, 100 the default).

    The quadratic function through these three points that runc 1.3.2 and crun 1.23 changed to in 2025;
    the linear one before made 39 of the default. Source: opencontainers/cgroups pull request 20
    """
    if count <= 2:
        return 1
    if count >= 262144:
        return 10000
    import math  # for the containers that ask for shares

    power = math.log2(count)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def memory(wanted: "dict", records: "list[Degradation]") -> "list[Setting]":
    """0 leaves a value as it is. `swap` counts memory and swap together, the file swap alone."""
    memory_most = limit("memory limit", wanted.get("limit") or 0)
    swap = limit("swap limit", wanted.get("swap") or 0)
    found = []
    if memory_most:
        found.append(Setting("memory", "memory.max", most(memory_most)))
    if swap or memory_most == -1:
        value = most(swap_alone(swap or -1, memory_most))
        found.append(Setting("memory", "memory.swap.max", value, "" if value == "max" else _NO_SWAP))
    reservation = limit("memory reservation", wanted.get("reservation") or 0)
    if reservation:
        found.append(Setting("memory", "memory.low", most(reservation)))
    losses = {
        "swappiness": "the kernel swaps as the host is set to",
        "disableOOMKiller": "the kernel kills a process where memory runs out",
    }
    for name, lost in losses.items():
        if (
            wanted.get(name) and wanted[name] not in (-1, UNSET)
            or name == "swappiness" and wanted.get(name) == 0
        ):  # fmt: skip
            records.append(ignored("memory " + name, wanted[name], lost))
    for name in ("kernel", "kernelTCP"):
        if wanted.get(name) and wanted[name] not in (-1, UNSET):
            records.append(no_kernel_memory(name, wanted[name]))
    return found


def swap_alone(swap: int, memory_most: int) -> int:
    """The limit of swap in one of memory and swap. -1: no limit

    Source: ConvertMemorySwapToCgroupV2Value() in opencontainers/cgroups utils.go
    """
    if swap == -1 or memory_most == -1:
        return swap
    if not memory_most:
        raise ContainerError("set the swap limit to %d" % swap, "it needs a memory limit beside it")
    if swap < memory_most:
        why = "it counts memory and swap together, and is below the memory limit %d" % memory_most
        raise ContainerError("set the swap limit to %d" % swap, why)
    return swap - memory_most


def cpu(wanted: "dict", records: "list[Degradation]", read) -> "list[Setting]":
    """quota and period: microseconds. 0 leaves a value as it is."""
    found = []
    if shares(wanted):
        found.append(Setting("cpu", "cpu.weight", weight_from_shares(shares(wanted))))
    quota, period = wanted.get("quota") or 0, wanted.get("period") or 0
    if quota or period:
        old = (read("cpu", "cpu.max") or "max 100000").split() if not quota or not period else []
        text = str(quota) if quota > 0 else "max" if quota else old[0]
        found.append(Setting("cpu", "cpu.max", "%s %s" % (text, period or old[1])))
    found += burst(wanted, "cpu.max.burst") + idle(wanted)
    for name in ("cpus", "mems"):
        if wanted.get(name):
            found.append(Setting("cpuset", "cpuset." + name, wanted[name]))
    for name in ("realtimePeriod", "realtimeRuntime"):
        if (wanted.get(name) or 0) > 0:
            lost = "realtime threads are not limited apart, and may be refused"
            records.append(ignored("cpu " + name, wanted[name], lost))
    return found
