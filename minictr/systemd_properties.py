"""Properties of a systemd unit: from the files of cgroups, from rules for devices, and from annotations.

systemd writes the files of a unit anew whenever it likes (daemon-reload, SetUnitProperties), and what it does
not know of is then lost. So each setting it has a property for is given to it too, as that property.

A property is (name, (signature, value)), as `dbus_message` packs it.

Sources: org.freedesktop.systemd1(5), systemd.resource-control(5)

Side: host
"""

import os

from .cgroup_settings import Setting
from .errors import ContainerError, Degradation, printable
from .words import number

INFINITE = (1 << 64) - 1
ANNOTATION = "org.systemd.property."

# What an annotation may set, and its type. Others start programs, end the host or change who may do what
# (SuccessAction, JobTimeoutAction, Slice, Delegate, Wants ...; CVE-2024-3154), or are limits, which
# linux.resources has.
ALLOWED = {
    "After": "as", "Before": "as", "CollectMode": "s", "FinalKillSignal": "i", "KillMode": "s",
    "KillSignal": "i", "ManagedOOMMemoryPressure": "s", "ManagedOOMMemoryPressureLimit": "u",
    "ManagedOOMPreference": "s", "ManagedOOMSwap": "s", "OOMPolicy": "s", "RuntimeMaxUSec": "t",
    "SendSIGHUP": "b", "SendSIGKILL": "b", "TimeoutStopUSec": "t",
}  # fmt: skip

# The first version of systemd that has it, where that is not older than what hosts of Python 3.6 have
_SINCE = {"AllowedCPUs": 244, "AllowedMemoryNodes": 244, "CPUQuotaPeriodUSec": 242, "MemoryZSwapMax": 253}

_AMOUNTS = {
    "memory.max": "MemoryMax", "memory.high": "MemoryHigh", "memory.low": "MemoryLow",
    "memory.min": "MemoryMin", "memory.swap.max": "MemorySwapMax", "memory.zswap.max": "MemoryZSwapMax",
    "pids.max": "TasksMax", "cpu.weight": "CPUWeight",
    # cgroup v1
    "memory.limit_in_bytes": "MemoryLimit", "cpu.shares": "CPUShares", "blkio.weight": "BlockIOWeight",
}  # fmt: skip
_SETS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}
_RATES = {
    "rbps": "IOReadBandwidthMax", "wbps": "IOWriteBandwidthMax",
    "riops": "IOReadIOPSMax", "wiops": "IOWriteIOPSMax",
}  # fmt: skip


def of_settings(settings: "list[Setting]", version: int, v1: bool, read=None) -> "list[tuple]":
    """version: of systemd; read(controller, file): what a file says, where the unit exists already

    On v1 systemd knows no cpuset. Raises ContainerError for a value that it cannot be told.
    """
    found, devices = {}, {}  # type: dict[str, tuple], dict[str, list]
    for setting in settings:
        name, value = setting.names[0], setting.value
        if name in _AMOUNTS:
            found[_AMOUNTS[name]] = ("t", amount(name, value))
        elif name in _SETS and not v1:
            found[_SETS[name]] = ("ay", bits(name, value))
        elif name == "cpu.idle" and version >= 252:  # one that is idle no more has the usual weight
            found.setdefault("CPUWeight", ("t", 0 if value == "1" else INFINITE))
        elif name == "io.max":
            _limit_device(devices, value)
        elif name in ("io.weight", "io.bfq.weight"):
            _weigh(found, devices, name, value)
    quota, period = _bandwidth(settings, read or (lambda controller, file: ""))
    if period:
        found["CPUQuotaPerSecUSec"] = ("t", per_second(quota, period))
        found["CPUQuotaPeriodUSec"] = ("t", period)
    found.update({name: ("a(st)", pairs) for name, pairs in devices.items()})
    return [(name, value) for name, value in found.items() if version >= _SINCE.get(name, 0)]


def amount(name: str, text: str) -> int:
    """A number, or one with K, M, G or T as the kernel takes it in `unified`; max and -1: no limit"""
    if text in ("max", "-1"):
        return INFINITE
    number, unit = text, 0
    if text[-1:].lower() in ("k", "m", "g", "t"):
        number, unit = text[:-1], 10 * ("kmgt".index(text[-1].lower()) + 1)
    if not number or number.strip("0123456789") or int(number) << unit >= INFINITE:
        raise ContainerError("set %s to %s" % (name, printable(text)), "systemd takes a number, or max")
    return int(number) << unit


def bits(name: str, text: str) -> bytes:
    """0-2,5 as a bit for each number, the lowest in the first byte."""
    mask = 0
    for piece in text.replace("\n", ",").split(","):
        first, dash, last = piece.strip().partition("-")
        if not first + dash:
            continue
        low, high = number(first), number(last if dash else first)
        if not 0 <= low <= high < 8192:
            raise ContainerError("set %s to %s" % (name, printable(text)), "it is no list such as 0-2,5")
        mask |= (1 << high + 1) - (1 << low)
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def per_second(quota: int, period: int) -> int:
    """Microseconds of CPU in a second. systemd counts in per cent: a part of one is rounded up, or
    it would be cut off; the file has the exact value until systemd writes it again."""
    if quota <= 0:
        return INFINITE
    return -(-quota * 100 // period) * 10000


def _bandwidth(settings: "list[Setting]", read) -> "tuple[int, int]":
    """Quota (0: none) and period in microseconds; a period of 0 where neither is to be set."""
    values = {setting.names[0]: setting.value for setting in settings}
    if "cpu.max" in values:
        quota, _, period = values["cpu.max"].partition(" ")
    elif "cpu.cfs_quota_us" in values or "cpu.cfs_period_us" in values:
        quota, period = [
            values.get(name) or read("cpu", name).strip()
            for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        ]
    else:
        return 0, 0
    words = {"max": "0", "": "0"}
    quota, period = words.get(quota, quota), period or "100000"
    if number(quota[1:] if quota[:1] == "-" else quota) >= 0 and number(period) > 0:
        return int(quota), int(period)
    raise ContainerError("set the quota of CPU to %s" % printable(values), "systemd takes two numbers")


def _node(numbers: str) -> str:
    """The path by which systemd takes a block device; "" where udev has made none."""
    path = "/dev/block/" + numbers
    return path if os.path.exists(path) else ""


def _limit_device(devices: "dict[str, list]", value: str) -> None:
    numbers, *words = value.split()
    for word in words:
        key, _, rate = word.partition("=")
        if key in _RATES and _node(numbers):
            devices.setdefault(_RATES[key], []).append((_node(numbers), amount("io.max", rate)))


def _weigh(found: "dict[str, tuple]", devices: "dict[str, list]", name: str, value: str) -> None:
    numbers, _, weight = value.rpartition(" ")
    number = amount(name, weight)
    if name == "io.bfq.weight" and number > 100:  # the inverse of BFQ_WEIGHT() in systemd's src/core/cgroup.c
        number = 100 + (number - 100) * 9900 // 900
    if numbers in ("", "default"):
        found["IOWeight"] = ("t", number)
    elif _node(numbers):
        devices.setdefault("IODeviceWeight", []).append((_node(numbers), number))


def of_devices(rules: "list[dict] | None") -> "list[tuple]":
    """The rules for devices of cgroup v1, which systemd would else open to all devices again. On v2 the
    kernel asks its program and ours, so it needs none."""
    from . import device_rules

    allowed, exceptions = device_rules.for_v1(device_rules.normal(rules or []))
    if allowed:  # a list of what is denied has no property
        return []
    names = _majors()
    pairs = []
    for rule in exceptions:
        kind, letters = ("char", "block")[rule.kind == "b"], str(rule).rpartition(" ")[2]
        if rule.major < 0:
            pairs += [(kind + "-*", letters)] if rule.minor < 0 else []
        elif rule.minor >= 0:
            pairs.append(("/dev/%s/%d:%d" % (kind, rule.major, rule.minor), letters))
        elif (rule.kind, rule.major) in names:
            pairs.append(("%s-%s" % (kind, names[rule.kind, rule.major]), letters))
    return [("DevicePolicy", ("s", "strict")), ("DeviceAllow", ("a(ss)", pairs))]


def _majors() -> "dict[tuple[str, int], str]":
    """Of /proc/devices: the name of each group of devices."""
    from . import paths

    found, kind = {}, ""
    for line in paths.read_text("/proc/devices").splitlines():
        words = line.split()
        if len(words) == 2 and words[0].isdigit():
            found[kind, int(words[0])] = words[1]
        elif words:
            kind = "c" if words[0] == "Character" else "b"
    return found


# --- annotations ----------------------------------------------------------------------------------


def of_annotations(annotations: "dict[str, str]") -> "tuple[list[tuple], list[Degradation]]":
    """The properties that annotations ask for, and a record for each that they may not.

    Raises ContainerError for a value that is none of the property's type.
    """
    found, records = [], []
    for key, text in sorted(annotations.items()):
        if not key.startswith(ANNOTATION):
            continue
        name = key[len(ANNOTATION) :]
        seconds = name.endswith("Sec") and not name.endswith("USec")
        name = name[:-3] + "USec" if seconds else name
        if name not in ALLOWED:
            why, fix = "it is none of " + ", ".join(sorted(ALLOWED)), "leave the annotation away"
            wanted = "the property " + printable(name)
            records.append(
                Degradation("systemd-property", "systemd", wanted, "nothing", "it is not set", 0, why, fix)
            )
            continue
        try:
            value = _seconds(text) if seconds else _value(ALLOWED[name], text.strip())
        except ValueError:
            kind = "seconds" if seconds else "a GVariant of type " + ALLOWED[name]
            doing = "read the annotation %s" % printable(key)
            raise ContainerError(doing, "%s is not %s" % (printable(text), kind)) from None
        found.append((name, (ALLOWED[name], value)))
    return found, records


def _seconds(text: str) -> int:
    """Microseconds; as runc has it, a name that ends in Sec takes seconds, with a part after a point."""
    whole, _, part = text.strip().rpartition(" ")[2].partition(".")
    if not 0 <= number(whole) < 1 << 43 or part.strip("0123456789"):
        raise ValueError
    return int(whole) * 1000000 + int((part + "000000")[:6])


_PREFIXES = {"t": "uint64", "u": "uint32", "i": "int32"}
_RANGES = {"t": (0, INFINITE), "u": (0, (1 << 32) - 1), "i": (-(1 << 31), (1 << 31) - 1)}


def _value(kind: str, text: str):
    """A value in the text format of GVariant, as far as ALLOWED needs it. Raises ValueError."""
    if text.startswith("@" + kind + " "):
        text = text[len(kind) + 2 :].lstrip()
    if kind == "b":
        return {"true": True, "false": False}.get(text) if text in ("true", "false") else _fail()
    if kind in _RANGES:
        return _number(kind, text)
    if kind == "s":
        value, rest = _string(text)
        return value if not rest else _fail()
    if not text.startswith("["):
        _fail()
    found, rest = [], text[1:].lstrip()
    while rest != "]":
        value, rest = _string(rest)
        found.append(value)
        rest = rest.lstrip()
        if rest != "]":
            rest = rest[1:].lstrip() if rest.startswith(",") else _fail()
    return found


def _number(kind: str, text: str) -> int:
    prefix = _PREFIXES[kind] + " "
    text = text[len(prefix) :].lstrip() if text.startswith(prefix) else text
    digits = text[1:] if text.startswith("-") else text
    if not digits or digits.strip("0123456789") or len(digits) > 20:
        _fail()
    number = int(text)
    least, most = _RANGES[kind]
    return number if least <= number <= most else _fail()


_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t"}


def _string(text: str) -> "tuple[str, str]":
    """The quoted text at the start of TEXT, and what follows it."""
    quote, found, at = text[:1], "", 1
    if quote not in ("'", '"') or not quote:
        _fail()
    while at < len(text):
        char = text[at]
        if char == quote:
            return found, text[at + 1 :]
        if char == "\\":
            at += 1
            char = _ESCAPES.get(text[at : at + 1]) or _fail()
        elif not char.isprintable():
            _fail()
        found, at = found + char, at + 1
    return _fail()


def _fail():
    raise ValueError
