"""What `update` changes of a container that is: its options to linux.resources, and those as they are then.

Side: host
"""

from .errors import ContainerError
from .resources import UNLIMITED, wanted_of
from .words import bad, integer, number, size


def changes(given: "dict") -> "dict":
    """linux.resources of the options of `update`. Raises ContainerError naming the one that is wrong.

    0 leaves a limit as it is, as Docker sends it for what nobody named; -1 takes it away
    """
    found = {}  # type: dict[str, dict]
    rest = {}  # type: dict
    for option, text in given.items():
        row = OPTIONS.get(option)
        if row is None:
            rest[option[2:]] = text
        elif text:  # an empty one says nothing, as with runc
            group, name, kind = row
            value = text  # type: object
            if kind == "size":
                value = size(option, text, UNLIMITED)
            elif isinstance(kind, tuple):
                if kind == _ANY and not number(text.lstrip("-")) >= 0:
                    raise bad(option, text, "is not a number", UNLIMITED)
                value = integer(option, text, *kind)
            found.setdefault(group, {})[name] = value
    if not number(rest.get("cpus", "1").replace(".", "", 1)):
        del rest["cpus"]
    for name in ("quota", "period"):
        if "cpus" in rest and name in found.get("cpu", {}):
            raise bad("--cpus", rest["cpus"], "contradicts --cpu-" + name)
    for name, value in wanted_of(rest, 0).items():
        found.setdefault(name, {}).update(value)
    return found


_ANY = (-(2**63), 2**63 - 1)
_COUNT = (0, 2**64 - 1)
# What runc's update has, with its ranges
OPTIONS = {
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


# Of these 0 is a value as any other; elsewhere, in a document, it means "leave it"
_ZERO_COUNTS = ("burst", "disableOOMKiller", "idle", "swappiness")
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
            elif (item or item == 0 and key in _ZERO_COUNTS) and key != "checkBeforeUpdate":
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
