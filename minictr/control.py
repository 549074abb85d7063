"""The verbs on a container that lives: pause, resume, ps, update, events.

Each takes the state root, a report and its arguments, prints, and returns the exit status.

Side: host
"""

import os
import time

from . import document, living, paths, state, verbs
from .errors import ContainerError, printable, step
from .volumes import bad, integer

HELP = {
    "pause": """usage: minictr pause ID

Stop every process of container ID, by the freezer of its cgroup, until `resume`.""",
    "resume": """usage: minictr resume ID

Let the processes of a paused container go on.""",
    "ps": """usage: minictr ps [--format|-f table|json] ID [ARGUMENT...]

The processes of container ID, by its cgroup, else by its process namespace. table: what the host's ps
says of them, with ARGUMENTs as ps has them (-ef); json: an array of process ids.""",
    "update": """usage: minictr update [OPTION...] ID
       minictr update --resources FILE|- ID

Change limits of container ID. A value of 0 leaves one as it is.

  -r, --resources FILE          `linux.resources` as in config.json, from FILE or standard input
      --memory SIZE             bytes, or with k, m, g, t; -1 for no limit
      --memory-swap SIZE        memory and swap together
      --memory-reservation SIZE what is left to it when memory is short
      --cpu-quota MICROSECONDS  in each period; -1 for no limit
      --cpu-period MICROSECONDS
      --cpu-burst MICROSECONDS  what it may have saved up
      --cpu-share N             its part where CPUs are short (1024)
      --cpu-idle 0|1            run only where nobody else would
      --cpu-rt-period MICROSECONDS, --cpu-rt-runtime MICROSECONDS
      --cpuset-cpus LIST, --cpuset-mems LIST
                                such as 0-2,5
      --pids-limit N            processes; -1 for no limit
      --blkio-weight N          10 to 1000""",
    "events": """usage: minictr events [--interval DURATION] ID
       minictr events --stats ID

What container ID uses, a JSON object a line, every DURATION (5s) until it ends, and each process that
the kernel kills because memory ran out. With --stats what it uses now, once.""",
}

LOOK = 0.1  # seconds between two looks at whether it lives, and whether memory ran out
PS_OUTPUT = 64 << 20  # bytes

# Option, where its value belongs in linux.resources, how it is read: a size, a list, or the least and most
_LIMITS = (
    ("--memory", "memory", "limit", "size"),
    ("--memory-swap", "memory", "swap", "size"),
    ("--memory-reservation", "memory", "reservation", "size"),
    ("--cpu-quota", "cpu", "quota", (-(2**63), 2**63 - 1)),
    ("--cpu-period", "cpu", "period", (0, 2**64 - 1)),
    ("--cpu-burst", "cpu", "burst", (0, 2**64 - 1)),
    ("--cpu-share", "cpu", "shares", (0, 2**64 - 1)),
    ("--cpu-idle", "cpu", "idle", (0, 1)),
    ("--cpu-rt-period", "cpu", "realtimePeriod", (0, 2**64 - 1)),
    ("--cpu-rt-runtime", "cpu", "realtimeRuntime", (-(2**63), 2**63 - 1)),
    ("--cpuset-cpus", "cpu", "cpus", "list"),
    ("--cpuset-mems", "cpu", "mems", "list"),
    ("--pids-limit", "pids", "limit", (-(2**63), 2**63 - 1)),
    ("--blkio-weight", "blockIO", "weight", (0, 1000)),
)
# Of these 0 is a value as any other; elsewhere it means "leave it", as Docker sends what nobody named
_ZERO_COUNTS = ("idle", "swappiness")


# --- pause, resume ----------------------------------------------------------------------------


def pause(root_path: str, report, argv: "list[str]") -> int:
    _, _, ids = verbs.scan(argv, {}, {}, 1, 1)
    doing = "pause container %s" % ids[0]
    _, content = _living(root_path, ids[0], doing)
    group = _group(content, doing)
    if group.frozen():
        raise ContainerError(doing, "container already paused")
    group.freeze()
    return 0


def resume(root_path: str, report, argv: "list[str]") -> int:
    _, _, ids = verbs.scan(argv, {}, {}, 1, 1)
    doing = "resume container %s" % ids[0]
    _, content = _living(root_path, ids[0], doing)
    group = _group(content, doing)
    if not group.frozen():
        raise ContainerError(doing, "container not paused")
    group.thaw()
    return 0


def _living(root_path: str, identifier: str, doing: str) -> "tuple[state.Entry, dict]":
    """The Entry of a container that lives, and what is known of it. Raises ContainerError."""
    entry, content = _known(root_path, identifier)
    if not living.alive(content):
        raise ContainerError(doing, "container not running")
    return entry, content


def _known(root_path: str, identifier: str) -> "tuple[state.Entry, dict]":
    entry = verbs.find(root_path, identifier)
    if entry is None:
        raise verbs.missing(identifier)
    return entry, dict(entry.load(), id=identifier)


def _group(content: "dict", doing: str):
    """Its cgroup. Raises ContainerError, with the reason that was found at its start, if it has none."""
    group = living.group_of(content)
    if group.kind == "none":
        why, fix = "the container has no cgroup", ""
        for record in content.get("degradations") or []:
            if record.get("code") == "cgroup-none":
                from . import causes

                cause = causes.why("cgroup-files", record.get("errno") or 0, uid=os.geteuid())
                why, fix = why + ": " + (cause.why or record["why"]), cause.fix or record["fix"]
        raise ContainerError(doing, why, hint=fix)
    return group


# --- ps ---------------------------------------------------------------------------------------


def ps(root_path: str, report, argv: "list[str]") -> int:
    style, words = "table", list(argv)
    while words and words[0].startswith("-"):  # what follows the id is for the host's ps
        name, equals, value = words.pop(0).partition("=")
        if name not in ("--format", "-f"):
            raise ContainerError("read the options", "unknown option %s" % printable(name))
        if not equals and not words:
            raise ContainerError("read the options", "%s needs a value" % name)
        style = value if equals else words.pop(0)
    if style not in ("table", "json"):
        raise ContainerError("read the options", "--format is table or json")
    if not words:
        raise ContainerError("read the options", "an id is expected")
    entry, content = _known(root_path, words[0])
    entry.close()
    found = processes(content)
    if style == "json":
        _write(document.dumps(found).encode("ascii") + b"\n")
    else:
        _write(chosen(_host_ps(words[1:] or ["-ef"]), found))
    return 0


def processes(content: "dict") -> "list[int]":
    """The processes of a container: by its cgroup, else by its process namespace."""
    group = living.group_of(content)
    if group.kind != "none":
        return sorted(group.pids())
    return _by_namespace(content["pid"]) if living.alive(content) else []


def _by_namespace(first: int) -> "list[int]":
    """Those in the process namespace of FIRST, if that is not ours too, and the descendants of them all."""
    own, theirs = _namespace("self"), _namespace(str(first))
    found, parents = {first}, {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = paths.read_text("/proc/%s/stat" % name).rpartition(")")[2].split()
            parents[int(name)] = int(fields[1]) if len(fields) > 1 else 0  # proc(5): state, then the parent
            if theirs not in (0, own) and _namespace(name) == theirs:
                found.add(int(name))
    more = found
    while more:
        more = {pid for pid, parent in parents.items() if parent in more} - found
        found |= more
    return sorted(found)


def _namespace(name: str) -> int:
    """The inode of a process's process namespace, 0 where it is gone or not ours to look at."""
    try:
        return os.stat("/proc/%s/ns/pid" % name).st_ino
    except OSError:
        return 0


def _host_ps(arguments: "list[str]") -> bytes:
    from .helper import Helper
    from .subids import helper

    path = helper("ps")
    if not path:
        raise ContainerError("run ps", "the host has no such program", hint="--format json needs none")
    status, said = Helper([path] + arguments).output(PS_OUTPUT)
    if status:
        raise ContainerError("run %s" % path, printable(b" ".join(said.split())) or "it said nothing")
    return said


def chosen(text: bytes, pids: "list[int]") -> bytes:
    """Of what ps printed the head, and the lines of PIDS."""
    head, *lines = text.splitlines(True) or [b""]
    titles = head.split()
    if b"PID" not in titles:
        raise ContainerError("read what ps says", "it has no column PID", hint="add pid to its arguments")
    column, wanted, kept = titles.index(b"PID"), {b"%d" % pid for pid in pids}, [head]
    for line in lines:
        fields = line.split()
        if len(fields) <= column or not fields[column].isdigit():
            why, hint = "no process id in: %s" % printable(line.strip()), "let the column PID come first"
            raise ContainerError("read what ps says", why, hint=hint)
        if fields[column] in wanted:
            kept.append(line)
    return b"".join(kept)


def _write(text: bytes) -> None:
    """To standard output at once, whatever the encoding of the names in it."""
    while text:
        text = text[os.write(1, text) :]


# --- update -----------------------------------------------------------------------------------


def update(root_path: str, report, argv: "list[str]") -> int:
    options = {row[0]: "" for row in _LIMITS}
    options["--resources"] = "-r"
    _, given, ids = verbs.scan(argv, {}, options, 1, 1)
    if "--resources" in given:
        if len(given) > 1:
            raise ContainerError("read the options", "--resources comes without other limits")
        changes = _document(given["--resources"])
    else:
        changes = limits(given)
    doing = "update container %s" % ids[0]
    entry, content = _living(root_path, ids[0], doing)
    group = _group(content, doing)
    config = entry.load_config()
    linux = config.get("linux") or {}
    before = linux.get("resources") or {}
    changes = beside(changes, before)
    try:
        records = group.update(changes)
    except ContainerError:
        _put_back(group, {name: before[name] for name in changes if before.get(name)})
        raise
    for record in records:
        report.seen(record)
    entry.save_config(dict(config, linux=dict(linux, resources=merged(before, changes))))
    return 0


def _put_back(group, resources: "dict") -> None:
    """What was set before the kernel refused a value counts again, as far as it was ever asked for."""
    try:
        group.update(resources)
    except ContainerError:
        pass  # the refusal is what the user has to hear of


def _document(path: str) -> "dict":
    from . import config

    doing = "read %s" % ("standard input" if path == "-" else printable(path))
    with step(doing):
        descriptor = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = config.read(descriptor, doing)
    finally:
        os.close(descriptor)
    try:
        resources = document.loads(text)
    except ValueError as error:
        raise ContainerError(doing, "not JSON: %s" % error) from None
    try:
        config.check_resources(resources)
    except config.Invalid as error:
        raise ContainerError(doing, error.why) from None
    return resources  # type: ignore[return-value]


def limits(given: "dict[str, str]") -> "dict":
    """linux.resources of the options GIVEN. Raises ContainerError naming the one that is wrong."""
    changes = {}  # type: dict[str, dict]
    for option, group, name, kind in _LIMITS:
        if given.get(option):  # an empty one says nothing, as with runc
            text = given[option]
            value = text  # type: object
            if kind == "size":
                value = size(option, text)
            elif kind != "list":
                value = integer(option, text, *kind)
            changes.setdefault(group, {})[name] = value
    return changes


def size(option: str, text: str) -> int:
    """Bytes: a number, with a part after a point if need be, and k, m, g, t or p (kb, KiB ...); -1."""
    if text == "-1":
        return -1
    number, unit = text.lower(), 0
    if number.endswith("b"):
        number = number[:-1]
        if number.endswith("i") and number[-2:-1] in "kmgtp":
            number = number[:-1]
    if number[-1:] in ("k", "m", "g", "t", "p"):
        unit = 10 * ("kmgtp".index(number[-1]) + 1)
        number = number[:-1]
    whole, point, part = number.partition(".")
    if not whole or (whole + part).strip("0123456789") or (point and not part) or len(number) > 20:
        raise bad(option, text, "is not a size such as 64m, nor -1")
    return (int(whole + part) << unit) // 10 ** len(part)


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
    return dict(changes, memory=memory) if memory else changes


def merged(before: "dict", changes: "dict") -> "dict":
    """The linux.resources that are in force after CHANGES."""
    result = dict(before)
    for name, value in changes.items():
        if name == "devices" or not value:  # devices stay as they are
            continue
        old = before.get(name)
        if isinstance(value, list):
            result[name] = _joined(old or [], value)
            continue
        kept = dict(old or {})
        for key, item in value.items():
            if isinstance(item, list):
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


# --- events -----------------------------------------------------------------------------------


def events(root_path: str, report, argv: "list[str]") -> int:
    flags, given, ids = verbs.scan(argv, {"--stats": ""}, {"--interval": ""}, 1, 1)
    interval = duration("--interval", given.get("--interval", "5s"))
    doing = "watch container %s" % ids[0]
    entry, content = _living(root_path, ids[0], doing)
    entry.close()  # others are not to wait for us
    group = _group(content, doing)
    try:
        if "--stats" in flags:
            _tell(content, "stats", group.stats())
        else:
            _watch(content, group, interval)
    except BrokenPipeError:
        pass  # who asked has heard enough
    return 0


def _watch(content: "dict", group, interval: float) -> None:
    """Until the container ends. Kills are counted after it was seen alive: none is missed."""
    told, due = group.oom_kills(), time.monotonic() + interval
    while True:
        runs = living.alive(content)
        kills = group.oom_kills()
        for _ in range(told, kills):
            _tell(content, "oom", None)
        told = max(told, kills)
        if not runs:
            return
        left = due - time.monotonic()
        if left <= 0:
            _tell(content, "stats", group.stats())
            left = interval
            due = time.monotonic() + interval
        time.sleep(min(left, LOOK))


def _tell(content: "dict", kind: str, data: "dict | None") -> None:
    event = {"type": kind, "id": content["id"]}  # type: dict[str, object]
    if data is not None:
        event["data"] = data
    _write(document.dumps(event).encode("ascii") + b"\n")


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


CALLS = {"pause": pause, "resume": resume, "ps": ps, "update": update, "events": events}
