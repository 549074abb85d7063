"""Limits by their options, to `linux.resources` of the configuration. What `update` has beside them is in
`updates`.

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
# most; -1 among these is "no limit". For a container that is to be: of one that is, see `updates`.
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
UNLIMITED = "-1 is for no limit"


def configure(given: "dict", config: "dict", fields: "dict") -> None:
    """Put what GIVEN says into the configuration: the stage of `run` for a container with limits."""
    if fields["cgroups"] == "disabled":
        raise bad("--cgroups", "disabled", "contradicts a limit: without a cgroup there is none")
    wanted = wanted_of(given)
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


def wanted_of(given: "dict", least: int = 1) -> "dict[str, dict]":
    """linux.resources of the options GIVEN.

    least: of the rates of a device; 0 is none, which a container that is may get
    """
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
            error.hint = UNLIMITED if unlimited else ""
            raise
    if kind == "list":
        return cpu_list(option, text)
    value = size(option, text, UNLIMITED if kind == "size or -1" else "")
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
