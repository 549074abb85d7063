"""Cgroups of version 1: a directory in each hierarchy, and a hierarchy for each controller or several.

Side: host
"""

from . import abi, cgroup_files, idtables, libc
from . import unix as os
from .cgroup_files import GONE, Part
from .cgroup_group import Group
from .cgroup_settings import (
    DENIED,
    NO_KERNEL,
    RARE,
    UNSET,
    Setting,
    burst,
    cause,
    idle,
    limit,
    no_kernel_memory,
    pids,
    shares,
    without_devices,
)
from .errors import ContainerError, Degradation, printable

# The rules for devices of a container whose configuration has none: device_rules.DEFAULTS
DEVICES = (
    "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
    "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm",
)  # fmt: skip
_NO_SWAP = "the container may use swap beyond its memory: the kernel does not count it (swapaccount=1)"


class V1(Group):
    kind = "v1"

    def create(self) -> "list[Degradation]":
        """A hierarchy in which we may make nothing is left out: the process stays where it is in there."""
        made, denied = [], []  # type: list[Part], list[tuple[Part, int]]
        mask = os.umask(0o022)
        try:
            for part in self.parts:
                number = self._create(part, made)
                if number:
                    denied.append((part, number))
        finally:
            os.umask(mask)
            self.parts = made  # what is not ours is not to be removed
        return self._report(denied) if denied else []

    def _create(self, part: Part, made: "list[Part]") -> int:
        """Make one directory and add it to MADE; the errno where that is not allowed."""
        try:
            new = self._make(part)
        except OSError as error:
            if error.errno in DENIED:
                return error.errno
            raise ContainerError("create the cgroup %s" % part.directory, "", error.errno or 0) from error
        made.append(part)
        try:
            part.open()
            if "cpuset" in part.controllers:
                _inherit(part.mount, part.path)
        except OSError as error:
            raise ContainerError("create the cgroup %s" % part.directory, "", error.errno or 0) from error
        if not new and "freezer" in part.controllers:
            cgroup_files.write(part.open(), "freezer.state", "THAWED")
        return 0

    def _report(self, denied: "list[tuple[Part, int]]") -> "list[Degradation]":
        part, number = denied[0]
        if not self.parts:
            raise ContainerError("create the cgroup %s" % part.directory, "", number, cause=cause(number))
        names = ", ".join([",".join(part.controllers) for part, _ in denied])
        lost = "these controllers neither limit nor measure the container"
        why = cause(number)
        return [Degradation("cgroup-controllers", "cgroup", names, "none", lost, number, cause=why)]

    def apply(self, resources: "dict") -> "list[Degradation]":
        return self.set_devices(resources.get("devices")) + self.set_resources(resources)

    def update(self, resources: "dict") -> "list[Degradation]":
        memory = resources.get("memory") or {}
        if memory.get("checkBeforeUpdate"):
            from . import cgroup_refusal  # hardly ever

            cgroup_refusal.refuse_below_use(memory, self.read("memory", "memory.usage_in_bytes"))
        return self.set_resources(resources)

    def convert(self, resources: "dict") -> "tuple[list[Degradation], list[Setting]]":
        if resources.get("unified"):
            names = ", ".join([printable(name) for name in resources["unified"]])
            hint = "--memory, --cpus and their like; in a bundle the other properties of linux.resources"
            raise ContainerError("set %s" % names, "this host has cgroup v1, without such files", 0, hint)
        records = []  # type: list[Degradation]
        settings = []  # type: list[Setting]
        if resources.get("memory"):
            settings += memory(resources["memory"], records)
        if resources.get("cpu"):
            settings += cpu(resources["cpu"])
        if resources.get("pids"):
            settings += pids(resources["pids"])
        if any(map(resources.get, RARE)):
            from . import cgroup_rare  # as it says

            settings += cgroup_rare.v1(resources)
        return records, settings

    def set_devices(self, rules: "list[dict] | None") -> "list[Degradation]":
        directory = self.descriptor("devices")
        if directory < 0:
            return [without_devices(0, *self._absent("devices"))]
        allowed, lines = False, DEVICES  # type: bool, tuple[str, ...]
        if rules:
            from . import device_rules  # not needed for the container that asks for none

            allowed, found = device_rules.for_v1(device_rules.normal(rules))
            lines = tuple(map(str, found))
        try:
            cgroup_files.write(directory, "devices.allow" if allowed else "devices.deny", "a")
            name = "devices.deny" if allowed else "devices.allow"
            try:
                cgroup_files.write(directory, name, *lines)
                return []
            except OSError:
                if allowed:
                    raise
            return self._allow_each(directory, lines)
        except OSError as error:
            if error.errno == abi.EPERM and not _owns_devices():
                return [without_devices(abi.EPERM, "", cause="devices")]
            # EINVAL: cgroups of others lie below a directory that was there before
            raise ContainerError("set the rules for devices", "", error.errno or 0) from error

    def _allow_each(self, directory: int, lines: "tuple[str, ...]") -> "list[Degradation]":
        """The cgroup above ours allows less: what it has is passed on."""
        refused = []
        for line in lines:
            try:
                cgroup_files.write(directory, "devices.allow", line)
            except OSError as error:
                if error.errno != abi.EPERM:
                    raise
                if line not in DEVICES:
                    refused.append(line)
        if not refused:
            return []
        why = "the cgroup above does not allow them"
        wanted, lost = "devices " + ", ".join(refused), "the container cannot use these devices"
        return [Degradation("cgroup-devices-above", "cgroup", wanted, "none", lost, abi.EPERM, why)]

    def join_files(self) -> "tuple[int, ...]":
        files = []  # type: list[int]
        try:
            for part in self.parts:
                files.append(os.open("tasks", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=part.open()))
        except OSError as error:
            for descriptor in files:
                os.close(descriptor)
            raise ContainerError("open the cgroup %s" % part.directory, "", error.errno or 0) from error
        return tuple(files)

    # --- the freezer (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst)

    def _stop(self, directory: int, patience: float) -> bool:
        """Written again and again: with processes being born meanwhile, some kernels stay at FREEZING."""
        if directory < 0:
            why = "the host has no hierarchy with the controller freezer"
            raise ContainerError("freeze the container", why)
        for turn, _ in enumerate(cgroup_files.waits(patience)):
            if turn % 20 == 19:
                self.thaw()
            if turn % 4 in (0, 3):
                cgroup_files.write(directory, "freezer.state", "FROZEN")
            if cgroup_files.read(directory, "freezer.state").strip() == "FROZEN":
                return True
        return False

    def thaw(self) -> None:
        self._thaw(self.descriptor("freezer"), "freezer.state", "THAWED")

    def release(self) -> None:
        directory = self.descriptor("freezer")
        if directory >= 0:
            cgroup_files.walk(directory, lambda each: self._thaw(each, "freezer.state", "THAWED"))

    def frozen(self) -> bool:
        return self.read("freezer", "freezer.state").strip() in ("FROZEN", "FREEZING")

    # --- what it says of itself

    def stats(self) -> "dict[str, object]":
        from . import cgroup_stats

        return cgroup_stats.v1(self.read)

    def oom_kills(self) -> int:
        """Since 4.13. Each cgroup counts for itself, so those below are asked too."""
        found = []  # type: list[int]

        def look(directory: int) -> None:
            try:
                words = cgroup_files.read(directory, "memory.oom_control").split()
            except OSError as error:
                if error.errno not in GONE:
                    raise
                return
            found.append(int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0)

        directory = self.descriptor("memory")
        if directory >= 0:
            cgroup_files.walk(directory, look)
        return sum(found)

    def oom_alarm(self):
        from . import cgroup_alarm  # who watches is rare

        return cgroup_alarm.arm(cgroup_alarm.V1, self.descriptor("memory"))

    def has(self, controller: str) -> bool:
        return self._part(controller) is not None

    def _part(self, controller: str) -> "Part | None":
        for part in self.parts:
            if controller in part.controllers:
                return part
        return None

    def _main(self) -> "Part | None":
        return self._part("freezer") or super()._main()

    def descriptor(self, controller: str) -> int:
        part = self._part(controller)
        try:
            return part.open() if part else -1
        except OSError as error:
            if error.errno in GONE:
                return -1
            raise

    def missing(self, setting: Setting) -> "tuple[str, str]":
        if self.descriptor(setting.controller) < 0:
            return self._absent(setting.controller)
        if setting.controller == "blkio":
            return "", "the kernel has no scheduler that knows it (bfq, CONFIG_BFQ_GROUP_IOSCHED)"
        return "this kernel has no such setting", ""

    def _absent(self, controller: str) -> "tuple[str, str]":
        from . import cgroup_absent  # as it says

        place = self.parts[0].mount.rpartition("/")[0] if self.parts else "/sys/fs/cgroup"
        cause = cgroup_absent.from_v1(controller, place)
        return cause.why, cause.fix


def _owns_devices() -> bool:
    """CAP_SYS_ADMIN is held as security/device_cgroup.c asks for it: over the host, not a user namespace."""
    return bool(libc.capget()[0] >> abi.CAP_SYS_ADMIN & 1) and idtables.initial()


def _inherit(mount: str, path: str) -> None:
    """Fill cpuset.cpus and cpuset.mems from above: of a new cgroup they are empty, and none can join it."""
    above = path.rpartition("/")[0]
    descriptors = [os.open(mount + name, cgroup_files.HERE) for name in (above, path)]
    try:
        values = [cgroup_files.read(descriptors[0], name) for name in ("cpuset.cpus", "cpuset.mems")]
        if above and not all(value.strip() for value in values):
            _inherit(mount, above)
            values = [cgroup_files.read(descriptors[0], name) for name in ("cpuset.cpus", "cpuset.mems")]
        for name, value in zip(("cpuset.cpus", "cpuset.mems"), values):
            cgroup_files.write(descriptors[1], name, value)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


# --- from linux.resources to files: Documentation/admin-guide/cgroup-v1/ -------------------------


def memory(wanted: "dict", records: "list[Degradation]") -> "list[Setting]":
    """0 leaves a value as it is. `swap` counts memory and swap together, as the file does."""
    most, swap = limit("memory limit", wanted.get("limit") or 0), limit("swap limit", wanted.get("swap") or 0)
    if 0 < swap < most:
        why = "it counts memory and swap together, and is below the memory limit %d" % most
        raise ContainerError("set the swap limit to %d" % swap, why)
    found = []
    if most:
        found.append(Setting("memory", "memory.limit_in_bytes", most))
    if swap or most == -1:  # no limit of memory: none of both together either
        swap = swap or -1
        found.append(Setting("memory", "memory.memsw.limit_in_bytes", swap, "" if swap == -1 else _NO_SWAP))
    reservation = limit("memory reservation", wanted.get("reservation") or 0)
    if reservation:
        found.append(Setting("memory", "memory.soft_limit_in_bytes", reservation))
    if wanted.get("swappiness") not in (None, UNSET):
        found.append(Setting("memory", "memory.swappiness", wanted["swappiness"]))
    if wanted.get("disableOOMKiller") is not None:  # a new cgroup has it as the one above
        lost = "the kernel kills a process where memory runs out" if wanted["disableOOMKiller"] else ""
        found.append(Setting("memory", "memory.oom_control", int(wanted["disableOOMKiller"]), lost))
    if wanted.get("useHierarchy"):
        found.append(Setting("memory", "memory.use_hierarchy", 1, ""))
    sockets = limit("limit of memory for TCP", wanted.get("kernelTCP") or 0)
    if sockets:
        lost = "" if sockets == -1 else NO_KERNEL
        found.append(Setting("memory", "memory.kmem.tcp.limit_in_bytes", sockets, lost))
    if (wanted.get("kernel") or 0) > 0:
        records.append(no_kernel_memory("kernel", wanted["kernel"], "Linux has given it up in 5.16"))
    return found


def cpu(wanted: "dict") -> "list[Setting]":
    """quota, period and the realtime values: microseconds. 0 leaves a value as it is."""
    table = (
        ("shares", "cpu", "cpu.shares"), ("period", "cpu", "cpu.cfs_period_us"),
        ("quota", "cpu", "cpu.cfs_quota_us"),
        ("realtimePeriod", "cpu", "cpu.rt_period_us"), ("realtimeRuntime", "cpu", "cpu.rt_runtime_us"),
        ("cpus", "cpuset", "cpuset.cpus"), ("mems", "cpuset", "cpuset.mems"),
    )  # fmt: skip
    wanted = dict(wanted, shares=shares(wanted))
    found = [Setting(where, file, wanted[name]) for name, where, file in table if wanted.get(name)]
    return found + burst(wanted, "cpu.cfs_burst_us") + idle(wanted)
