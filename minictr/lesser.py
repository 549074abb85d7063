"""Limits for which no cgroup is to be had, or one without their controllers: what can be kept of them.

    memory      RLIMIT_DATA for each process; or who stands behind the container looks at it (`memory_watch`)
    processes   RLIMIT_NPROC, which the kernel counts for each user

RLIMIT_DATA rather than RLIMIT_AS: since Linux 4.7 it counts what is private and writable, that is the heap
and everything like it, while address space alone is what Go, Java, node or a sanitizer reserve by the
terabyte without ever touching it.

Side: host
"""

from . import host, plan
from .errors import Degradation


def step_down(made: plan.Plan, group, lacks: "dict[str, str]") -> "tuple[plan.Plan, list[Degradation]]":
    """MADE with resource limits in place of the limits in LACKS, and a record for each of these.

    group: the cgroup, or the one that does nothing; lacks: what its method of this name has found
    """
    linux, process = made.spec.config["linux"], made.spec.config["process"]
    resources = dict(linux["resources"])
    limits, records = [], []  # type: list[dict], list[Degradation]
    for name, controller in lacks.items():
        wanted = resources.pop(name)
        record = group.lacking(name, controller)
        most = (wanted.get("limit") or 0) if isinstance(wanted, dict) else 0
        if name == "memory" and most > 0:
            _memory(record, made.spec.memory_watch, most, limits)
        elif name == "pids" and most > 0 and _counted(made):
            _processes(record, most, limits)
        records.append(record)
    process = dict(process, rlimits=_lower(process.get("rlimits") or [], limits))
    # kept with its configuration, so that `exec` has the same limits
    spec = made.spec.replace(
        config=dict(made.spec.config, process=process, linux=dict(linux, resources=resources))
    )
    return made.replace(spec=spec, resources=resources, rlimits=plan.rlimits(process)), records


def _memory(record: Degradation, watched: bool, most: int, limits: "list[dict]") -> None:
    record.layer, record.wanted = "memory", "%d bytes at most" % most
    if watched:
        record.code, record.got = "memory-watch", "a look at it ten times a second, and a kill"
        record.lost = "what it takes between two looks, and files in memory that nobody has mapped"
        return
    limits.append({"type": "RLIMIT_DATA", "soft": most, "hard": most})
    record.code, record.got = "memory-rlimit", "as much for each process (RLIMIT_DATA)"
    record.lost = "its processes together may take more, and shared memory and files in memory do not count"


def _counted(made: plan.Plan) -> bool:
    """The kernel lets the host's root have as many as it likes (copy_process() in kernel/fork.c)."""
    return made.inner_user


def _processes(record: Degradation, most: int, limits: "list[dict]") -> None:
    limits.append({"type": "RLIMIT_NPROC", "soft": most, "hard": most})
    record.code, record.layer, record.wanted = "pids-rlimit", "processes", "%d at most" % most
    record.got, record.lost = "RLIMIT_NPROC", "each user in the container may have as many"
    if host.kernel() < (5, 14):  # since then each user namespace has a count of its own
        record.lost += ", and what the same user runs on the host counts too"


def _lower(old: "list[dict]", new: "list[dict]") -> "list[dict]":
    """The limits of both; of one that is in both what is less."""
    table = {limit["type"]: limit for limit in old}
    for limit in new:
        was = table.get(limit["type"], limit)
        table[limit["type"]] = dict(limit, **{end: min(was[end], limit[end]) for end in ("soft", "hard")})
    return list(table.values())
