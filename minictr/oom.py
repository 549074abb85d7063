"""What is told of a container whose memory ran out.

Side: host
"""

from . import paths

# No limit is told by more: v1 has the largest multiple of a page below 2^63, `cgroup_stats` 2^64 - 1 on v2
_NONE = 1 << 62


def found(group) -> "dict[str, object]":
    """{} where the kernel has killed nobody; else oom (True), kills, and in bytes limit (None where the
    group itself has none), above (the limit of a cgroup above it, where that has less) and peak (0 where that
    is not counted, before Linux 5.19 on v2)."""
    kills = group.oom_kills()
    if not kills:
        return {}
    usage = group.stats()["memory"]["usage"]
    limit = usage["limit"] if usage["limit"] < _NONE else None
    record = {"oom": True, "kills": kills, "limit": limit, "peak": usage["max"]}  # type: dict[str, object]
    above = _above(group)
    return dict(record, above=above) if above < (limit or _NONE) else record


def _above(group) -> int:
    """The least limit of the cgroups above, as far as they are seen; v1 tells it with that of the group."""
    rows = [line.split() for line in group.read("memory", "memory.stat").splitlines()]
    found = [int(row[1]) for row in rows if row[0] == "hierarchical_memory_limit"]
    for part in group.parts if group.kind == "v2" else ():
        directory = part.mount
        for name in part.path.split("/")[1:-1]:
            directory += "/" + name
            text = paths.read_text(directory + "/memory.max").strip()
            found += [int(text)] if text.isdigit() else []
    return min(found + [_NONE])


def line(record: "dict") -> str:
    """The one line for a person."""
    what = "1 process" if record["kills"] == 1 else "%d processes" % record["kills"]
    where = "the end of the host's memory"
    if record["limit"]:
        where = "the limit of %s" % bytes_(record["limit"])
    if record.get("above"):
        where = "the limit of %s of a cgroup above its own" % bytes_(record["above"])
    who = record.get("by", "the kernel")
    text = "memory ran out: %s killed %s of the container at %s" % (who, what, where)
    return text + (", after a peak of %s" % bytes_(record["peak"]) if record["peak"] else "")


def bytes_(count: int) -> str:
    """1.5 GiB, 64 MiB, 100 KiB, 12 B"""
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >> shift:
            text = "%.1f" % (count / (1 << shift))
            return "%s %s" % (text[:-2] if text.endswith(".0") else text, unit)
    return "%d B" % count
