"""The verbs that measure: events, stats.

Each takes the state root, a report and its arguments, prints, and returns the exit status.

Side: host
"""

import os
import select
import time

from . import abi, control, document, libc, lifetime, living, looking, oom, paths, verbs
from .errors import ContainerError, printable
from .words import bad

HELP = {
    "events": """usage: minictr events [--interval DURATION] ID
       minictr events --stats ID

What container ID uses, a JSON object a line, every DURATION (5s) until it ends, and each process that
the kernel kills because memory ran out. With --stats what it uses now, once.""",
    "stats": """usage: minictr stats [--format table|json] [ID...]

What containers use now, a line each: those named, else all that run. CPU is the average of its life.""",
}

LONG = 86400.0  # seconds; poll(2) takes no more than 24 days
LOOK = 0.1  # seconds between two looks at whether it lives, where the kernel does not tell


# --- events -----------------------------------------------------------------------------------


def events(root_path: str, report, argv: "list[str]") -> int:
    flags, given, ids = verbs.scan(argv, {"--stats": ""}, {"--interval": ""}, 1, 1)
    interval = duration("--interval", given.get("--interval", "5s"))
    doing = "watch container %s" % ids[0]
    entry, content = control.alive(root_path, ids[0], doing)
    entry.close()  # others are not to wait for us
    group = control.group_of(content, doing)
    try:
        if "--stats" in flags:
            _tell(content, "stats", group.stats())
        else:
            _watch(content, group, interval)
    except BrokenPipeError:
        pass  # who asked has heard enough
    return 0


def used(root_path: str, identifier: str) -> "dict":
    """What container IDENTIFIER uses now, as `events --stats` has it. Raises ContainerError."""
    doing = "watch container %s" % identifier
    entry, content = control.alive(root_path, identifier, doing)
    entry.close()
    return control.group_of(content, doing).stats()


def _watch(content: "dict", group, interval: float) -> None:
    """Until the container ends. Kills are counted after it was seen alive: none is missed."""
    told, due = group.oom_kills(), time.monotonic() + interval
    bell = Bell(content["pid"], group)
    try:
        while True:
            runs = living.alive(content)
            kills = group.oom_kills()
            for _ in range(told, kills):
                _tell(content, "oom", None)
            if bell.rang and kills <= told:  # on v1 also where nobody is killed: --oom-kill-disable
                _tell(content, "oom", None)
            told = max(told, kills)
            if not runs:
                return
            left = due - time.monotonic()
            if left <= 0:
                _tell(content, "stats", group.stats())
                left = interval
                due = time.monotonic() + interval
            bell.wait(min(left, LONG))
    finally:
        bell.close()


class Bell:
    """Waits for what the kernel tells by itself: that a process has ended, that memory ran out.

    rang: the kernel has said since the last look that memory ran out, and may have killed nobody
    """

    def __init__(self, pid: int, group) -> None:
        self.poll, self.rang = select.poll(), False
        self.process, self.alarm = -1, group.oom_alarm()
        try:
            self.process = libc.pidfd_open(pid)
            self.poll.register(self.process, select.POLLIN)
        except OSError as error:
            if error.errno not in (abi.ESRCH, abi.ENOSYS, abi.EPERM):
                raise
        if self.alarm is not None:
            self.poll.register(self.alarm.descriptor, self.alarm.mask)

    def wait(self, seconds: float) -> None:
        """At most SECONDS; less where the kernel would not tell."""
        known = self.process >= 0 and self.alarm is not None
        found = self.poll.poll(1000 * (seconds if known else min(seconds, LOOK)))
        self.rang = False
        if self.alarm is not None and any(number == self.alarm.descriptor for number, _ in found):
            self.rang = self.alarm.silence()

    def close(self) -> None:
        if self.process >= 0:
            os.close(self.process)
        if self.alarm is not None:
            self.alarm.close()


def _tell(content: "dict", kind: str, data: "dict | None") -> None:
    event = {"type": kind, "id": content["id"]}  # type: dict[str, object]
    if data is not None:
        event["data"] = data
    control.write(document.dumps(event).encode("ascii") + b"\n")


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def duration(option: str, text: str) -> float:
    """Seconds from numbers with units, as Go has them: 5s, 1m30s, 500ms; a number alone is seconds."""
    total, rest = 0.0, text + "s" if text[-1:].isdigit() else text
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("hmsun"))]
        rest = rest[len(unit) :]
        if unit not in _UNITS or number.count(".") > 1 or not number.strip("."):
            raise bad(option, text, "is not a duration such as 5s or 1m30s")
        total += float(number) * _UNITS[unit]
    if total <= 0:
        raise bad(option, text, "is not more than 0 seconds")
    return total


# --- stats ------------------------------------------------------------------------------------


def stats(root_path: str, report, argv: "list[str]") -> int:
    _, given, ids = verbs.scan(argv, {}, {"--format": "-f"}, 0, None)
    style = given.get("--format", "table")
    if style not in ("table", "json"):
        raise ContainerError("read the options", "--format is table or json, not %s" % printable(style))
    rows = [_row(content) for content in _chosen(root_path, report, ids)]
    if style == "json":
        control.write(document.dumps(rows).encode("ascii") + b"\n")
    else:
        looking.print_table(_TITLES, [_line(row) for row in rows])
    return 0


def _chosen(root_path: str, report, ids: "list[str]") -> "list[dict]":
    """What is known of the containers IDS, else of all that run."""
    if not ids:
        return [content for content in looking.contents(root_path, report) if living.alive(content)]
    found = []
    for identifier in ids:
        entry, content = control.alive(root_path, identifier, "measure container %s" % identifier)
        entry.close()
        found.append(content)
    return found


_TITLES = ("ID", "CPU %", "MEM USAGE", "LIMIT", "MEM %", "NET IN", "NET OUT", "BLOCK IN", "BLOCK OUT", "PIDS")


def _row(content: "dict") -> "dict[str, object]":
    """The numbers of one container, None for what only a controller would tell that its cgroup has not. Times
    are nanoseconds, sizes bytes."""
    received, sent = _network(content["pid"])
    row = dict.fromkeys((
        "id", "cpu_time", "cpu_percent", "mem_usage", "mem_limit", "mem_percent", "net_input", "net_output",
        "block_input", "block_output", "pids", "oom_kills",
    ))  # type: dict[str, object]  # fmt: skip
    row.update(id=content["id"], net_input=received, net_output=sent)
    group = living.group_of(content)
    if group.kind == "none":
        return row
    data = group.stats()
    memory = data["memory"]
    raw = memory["raw"]
    v2 = group.kind == "v2"  # where the time is counted without a controller
    if v2 or group.has("cpuacct"):
        time_ = data["cpu"]["usage"]["total"]
        row.update(cpu_time=time_, cpu_percent=_percent(time_ / 1e9, _age(content)))
    if group.has("memory"):
        # of what is in use the kernel gives back first the files that nobody has looked at for long
        idle = raw.get("total_inactive_file", raw.get("inactive_file", 0))
        usage = max(memory["usage"]["usage"] - idle, 0)
        limit = min(memory["usage"]["limit"] or _total(), _total())
        row.update(mem_usage=usage, mem_limit=limit, mem_percent=_percent(usage, limit))
        row.update(oom_kills=group.oom_kills())
    if group.has("io" if v2 else "blkio"):
        moved = {"Read": 0, "Write": 0}
        for entry in data["blkio"].get("ioServiceBytesRecursive") or ():
            if entry["op"] in moved:
                moved[entry["op"]] += entry["value"]
        row.update(block_input=moved["Read"], block_output=moved["Write"])
    if group.has("pids"):
        row.update(pids=data["pids"]["current"])
    group.close()
    return row


def _line(row: "dict") -> "tuple[str, ...]":
    sizes = ("mem_usage", "mem_limit", "net_input", "net_output", "block_input", "block_output")
    text = {name: "-" if value is None else str(value) for name, value in row.items()}
    text.update({name: oom.bytes_(row[name]) for name in sizes if row[name] is not None})
    names = ("id", "cpu_percent", "mem_usage", "mem_limit", "mem_percent") + sizes[2:] + ("pids",)
    return tuple([text[name] for name in names])


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2) if whole > 0 else 0.0


def _age(content: "dict") -> float:
    """Seconds since its first process started (proc(5): start times are ticks since boot), as it was noted:
    /proc may hide that process."""
    started = content["start_time"] + lifetime.boot_offset()
    return float(paths.read_text("/proc/uptime").split()[0]) - started / 100


def _total() -> int:
    """The host's memory."""
    for line in paths.read_text("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) << 10
    return 1 << 62


def _network(pid: int) -> "tuple[int, int]":
    """Bytes received and sent in the network namespace of a process, but by lo."""
    received = sent = 0
    for line in paths.read_text("/proc/%d/net/dev" % pid).splitlines():
        name, colon, numbers = line.partition(":")
        if colon and name.strip() != "lo":
            words = numbers.split()
            received, sent = received + int(words[0]), sent + int(words[8])
    return received, sent


CALLS = {"events": events, "stats": stats}
