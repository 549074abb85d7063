"""Limits by their options: those of `run` and those of `update`, to `linux.resources` of the configuration.

Named and written as podman and docker have them; an option becomes the property that they write for it.

Side: host
"""

import _stat as stat

from . import arrangement
from . import unix as os
from .errors import ContainerError
from .words import MAX_SIZE, absolute, bad, integer, number, size

MAX_PIDS = 1 << 22  # PID_MAX_LIMIT, include/linux/threads.h
PERIOD = 100_000  # microseconds: the kernel's own (Documentation/scheduler/sched-bwc.rst)
MAX_CPUS = 8192  # CONFIG_NR_CPUS, arch/x86/Kconfig

# Option; where its value belongs in linux.resources; how it is read: "size", "list", or the least and
# most; -1 among these is "no limit". For a container that is to be: of one that is, `update` changes them.
LIMITS = (
    ("memory", "memory", "limit", "size"),
    ("memory-swap", "memory", "swap", "size or -1"),
    ("memory-reservation", "memory", "reservation", "size"),
    ("memory-swappiness", "memory", "swappiness", (0, 100)),
    ("cpu-quota", "cpu", "quota", (1000, MAX_CPUS * 1_000_000)),
    ("cpu-period", "cpu", "period", (1000, 1_000_000)),
    ("cpu-shares", "cpu", "shares", (2, 262144)),
    ("cpu-rt-period", "cpu", "realtimePeriod", (1, 2**63 - 1)),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime", (1, 2**63 - 1)),
    ("cpuset-cpus", "cpu", "cpus", "list"),
    ("cpuset-mems", "cpu", "mems", "list"),
    ("pids-limit", "pids", "limit", (1, MAX_PIDS)),
    ("blkio-weight", "blockIO", "weight", (10, 1000)),
)
# Option; the property of blockIO; how the value for a device is read
DEVICE_LIMITS = (
    ("blkio-weight-device", "weightDevice", "weight"),
    ("device-read-bps", "throttleReadBpsDevice", "size"),
    ("device-write-bps", "throttleWriteBpsDevice", "size"),
    ("device-read-iops", "throttleReadIOPSDevice", "number"),
    ("device-write-iops", "throttleWriteIOPSDevice", "number"),
)
# Of these 0 is a value as any other; elsewhere, in a document, it means "leave it"
ZERO_COUNTS = ("burst", "disableOOMKiller", "idle", "swappiness")


_UNLIMITED = "-1 is for no limit"


def configure(given: "dict", config: "dict", fields: "dict") -> None:
    """Put what GIVEN says into the configuration: the stage of `run` for a container with limits."""
    if fields["cgroups"] == "disabled":
        raise bad("--cgroups", "disabled", "contradicts a limit: without a cgroup there is none")
    wanted = _wanted(given)
    _check_memory(given, wanted.get("memory") or {})
    if "cgroup-parent" in given:
        config["linux"]["cgroupsPath"] = _below_parent(given["cgroup-parent"], fields["identifier"])
    fields["memory_watch"] = "memory-watch" in given
    for name, value in wanted.items():
        config["linux"].setdefault("resources", {})[name] = value
    if wanted:
        # as podman and docker do for all: by it a Java machine chooses its heap and threads. On v1 that takes
        # a mount for each controller, 1 ms: those without a limit have nothing to read there
        arrangement.show_cgroup(config["mounts"], "ro")


def _wanted(given: "dict", least: int = 1) -> "dict[str, dict]":
    """LEAST: of the rates of a device; 0 is none, which a container that is may get."""
    wanted = {}  # type: dict[str, dict]
    for option, group, name, kind in LIMITS:
        if option in given:
            wanted.setdefault(group, {})[name] = _value("--" + option, given[option], kind)
    for option, name, kind in DEVICE_LIMITS:
        for text in given.get(option, ()):
            wanted.setdefault("blockIO", {}).setdefault(name, []).append(
                _device("--" + option, text, kind, least)
            )
    if "cpus" in given:
        for other in ("cpu-quota", "cpu-period"):
            if other in given:
                raise bad("--cpus", given["cpus"], "contradicts --" + other)
        wanted.setdefault("cpu", {}).update(quota=quota("--cpus", given["cpus"]), period=PERIOD)
    if "oom-kill-disable" in given:
        wanted.setdefault("memory", {})["disableOOMKiller"] = True
    for text in given.get("cgroup-conf", ()):
        name, value = pair("--cgroup-conf", text)
        wanted.setdefault("unified", {})[name] = value
    return wanted


def _check_memory(given: "dict", memory: "dict") -> None:
    """podman's rules: swap is counted together with memory, and is as much again where nobody says."""
    most = memory.get("limit", 0)
    for option in ("memory-swap", "oom-kill-disable", "memory-watch"):
        if option in given and not most:
            text = given[option] if option == "memory-swap" else ""
            raise bad("--" + option, text, "needs --memory beside it")
    if not most:
        return
    swap = memory.setdefault("swap", min(2 * most, MAX_SIZE))
    if 0 < swap < most:
        why = "counts memory and swap together, and is less than --memory %s" % given["memory"]
        raise bad("--memory-swap", given["memory-swap"], why)
    if memory.get("reservation", 0) > most:
        why = "is more than --memory %s" % given["memory"]
        raise bad("--memory-reservation", given["memory-reservation"], why)


def _below_parent(text: str, identifier: str) -> str:
    names = [name for name in text.split("/") if name not in ("", ".")]
    if not names or ".." in names or "\n" in text:
        raise bad("--cgroup-parent", text, "is no path of a cgroup, such as /mine")
    return "/" + "/".join(names) + "/minictr-" + identifier


# --- values -----------------------------------------------------------------------------------


def _value(option: str, text: str, kind: object) -> object:
    """TEXT as the limit of a container that is to be."""
    if isinstance(kind, tuple):
        unlimited = option in ("--pids-limit", "--cpu-quota")
        if text == "-1" and unlimited:
            return -1
        try:
            return integer(option, text, *kind)
        except ContainerError as error:
            error.hint = _UNLIMITED if unlimited else ""
            raise
    if kind == "list":
        return cpu_list(option, text)
    value = size(option, text, _UNLIMITED if kind == "size or -1" else "")
    if value == -1 and kind == "size or -1":
        return value
    if value < 1:
        raise bad(option, text, "is no limit", "without %s there is none" % option)
    return value


def quota(option: str, text: str) -> int:
    """Microseconds of each PERIOD for a number of CPUs such as 1.5."""
    whole, _, part = text.partition(".")
    value = number(whole or "0") * PERIOD + number(part[:5].ljust(5, "0"))  # what is less is left out
    if not text.strip(".") or -1 in (number(whole or "0"), number(part or "0")) or len(text) > 20:
        raise bad(option, text, "is not a number of CPUs such as 1.5")
    if not PERIOD // 100 <= value <= MAX_CPUS * PERIOD:
        raise bad(option, text, "is not a number of CPUs from 0.01 to %d" % MAX_CPUS)
    return value


def cpu_list(option: str, text: str) -> str:
    """Numbers and ranges, such as 0-2,5. Whether the host has them the kernel knows."""
    for word in text.split(","):
        first, dash, last = word.partition("-")
        if number(first) < 0 or (dash and not number(first) <= number(last)):
            raise bad(option, text, "is not a list of numbers such as 0-2,5")
    return text


def pair(option: str, text: str) -> "tuple[str, str]":
    name, equals, value = text.partition("=")
    if not equals or not value or not name:
        raise bad(option, text, "is not of the form NAME=VALUE, such as memory.high=64m")
    return name, value


def _device(option: str, text: str, kind: str, least: int) -> "dict[str, int]":
    path, _, value = text.rpartition(":")
    if not path:
        raise bad(option, text, "is not of the form PATH:%s" % ("WEIGHT" if kind == "weight" else "RATE"))
    try:
        state = os.stat(absolute(path))
    except OSError as error:
        raise bad(option, text, os.strerror(error.errno or 0)) from None
    if not stat.S_ISBLK(state.st_mode):
        raise bad(option, text, "its PATH is not a block device")
    entry = {"major": os.major(state.st_rdev), "minor": os.minor(state.st_rdev)}
    if kind == "weight":
        return dict(entry, weight=integer(option, value, 10, 1000))
    rate = size(option, value) if kind == "size" else integer(option, value, least, 2**63 - 1)
    if rate < least:
        raise bad(option, text, "is no rate")
    return dict(entry, rate=rate)


# --- of a container that is -------------------------------------------------------------------


def changes(given: "dict") -> "dict":
    """linux.resources of the options of `update`. Raises ContainerError naming the one that is wrong.

    0 leaves a limit as it is, as Docker sends it for what nobody named; -1 takes it away
    """
    found = {}  # type: dict[str, dict]
    rest = {}  # type: dict
    for option, text in given.items():
        row = UPDATES.get(option)
        if row is None:
            rest[option[2:]] = text
        elif text:  # an empty one says nothing, as with runc
            group, name, kind = row
            value = text  # type: object
            if kind == "size":
                value = size(option, text, _UNLIMITED)
            elif isinstance(kind, tuple):
                if kind == _ANY and not number(text.lstrip("-")) >= 0:
                    raise bad(option, text, "is not a number", _UNLIMITED)
                value = integer(option, text, *kind)
            found.setdefault(group, {})[name] = value
    if not number(rest.get("cpus", "1").replace(".", "", 1)):
        del rest["cpus"]
    for name in ("quota", "period"):
        if "cpus" in rest and name in found.get("cpu", {}):
            raise bad("--cpus", rest["cpus"], "contradicts --cpu-" + name)
    for name, value in _wanted(rest, 0).items():
        found.setdefault(name, {}).update(value)
    return found


_ANY = (-(2**63), 2**63 - 1)
_COUNT = (0, 2**64 - 1)
# What runc's update has, with its ranges
UPDATES = {
    "--memory": ("memory", "limit", "size"),
    "--memory-swap": ("memory", "swap", "size"),
    "--memory-reservation": ("memory", "reservation", "size"),
    "--memory-swappiness": ("memory", "swappiness", (0, 100)),
    "--cpu-quota": ("cpu", "quota", _ANY),
    "--cpu-period": ("cpu", "period", _COUNT),
    "--cpu-burst": ("cpu", "burst", _COUNT),
    "--cpu-share": ("cpu", "shares", _COUNT),
    "--cpu-shares": ("cpu", "shares", _COUNT),
    "--cpu-idle": ("cpu", "idle", (0, 1)),
    "--cpu-rt-period": ("cpu", "realtimePeriod", _COUNT),
    "--cpu-rt-runtime": ("cpu", "realtimeRuntime", _ANY),
    "--cpuset-cpus": ("cpu", "cpus", "list"),
    "--cpuset-mems": ("cpu", "mems", "list"),
    "--pids-limit": ("pids", "limit", _ANY),
    "--blkio-weight": ("blockIO", "weight", (0, 1000)),
}  # type: dict[str, tuple[str, str, object]]


def beside(changes: "dict", before: "dict") -> "dict":
    """CHANGES with what has to stand beside them: the limit of memory and that of memory with swap are
    valid only together, and on v2 the one is told by the difference of both.

    before: linux.resources as they were
    """
    memory = dict(changes.get("memory") or {})
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if limit == -1:  # else swap would be limited alone
        memory["swap"] = swap or -1
    elif limit or swap:
        old = before.get("memory") or {}
        memory.update(limit=limit or old.get("limit") or 0, swap=swap or old.get("swap") or 0)
        if not swap and 0 < memory["swap"] < limit:
            why = "the limit of memory and swap together is %d, and would be below it" % memory["swap"]
            hint = "--memory-swap SIZE beside it"
            raise ContainerError("set the memory limit to %d" % limit, why, hint=hint)
    return dict(changes, memory=memory) if memory else changes


# what nobody knows is ignored (config.md, "Extensibility")
_MERGED = ("unified", "pids", "blockIO", "cpu", "hugepageLimits", "memory", "network", "rdma")


def merged(before: "dict", changes: "dict") -> "dict":
    """The linux.resources that are in force after CHANGES."""
    result = dict(before)
    for name, value in changes.items():
        if name not in _MERGED or not value:  # devices stay as they are
            continue
        old = before.get(name)
        if isinstance(value, list):
            result[name] = _joined(old or [], value)
            continue
        kept = dict(old or {})
        for key, item in value.items():
            if isinstance(item, list):
                if key == "priorities" or key.endswith("Device"):
                    kept[key] = _joined(kept.get(key) or [], item)
            elif (item or item == 0 and key in ZERO_COUNTS) and key != "checkBeforeUpdate":
                kept[key] = item
        result[name] = kept
    return result


def _joined(old: "list[dict]", new: "list[dict]") -> "list[dict]":
    """The entries of both; for one device, page size or interface the new one."""
    table = {}  # type: dict[object, dict]
    for entry in old + new:
        key = entry.get("pageSize") or entry.get("name") or (entry.get("major"), entry.get("minor"))
        table[key] = entry
    return list(table.values())
