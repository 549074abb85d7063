"""The verbs on a container that lives: pause, resume, ps, update; events and stats are in `measuring`.

Each takes the state root, a report and its arguments, prints, and returns the exit status.

Side: host
"""

import os

from . import document, living, sound, state, verbs
from .errors import ContainerError, printable

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

Change limits of container ID. A value of 0 leaves one as it is, but for those that may be 0: swappiness,
burst, idle and the rates of devices.

  -r, --resources FILE          `linux.resources` as in config.json, from FILE or standard input
  -m, --memory SIZE             bytes, or with k, m, g, t; -1 for no limit
      --memory-swap SIZE        memory and swap together
      --memory-reservation SIZE what is left to it when memory is short
      --memory-swappiness N     0 to 100
      --cpus NUMBER             so many CPUs at most, such as 1.5
      --cpu-quota MICROSECONDS  in each period; -1 for no limit
      --cpu-period MICROSECONDS
      --cpu-burst MICROSECONDS  what it may have saved up
  -c, --cpu-share, --cpu-shares N
                                its part where CPUs are short (1024)
      --cpu-idle 0|1            run only where nobody else would
      --cpu-rt-period MICROSECONDS, --cpu-rt-runtime MICROSECONDS
      --cpuset-cpus LIST, --cpuset-mems LIST
                                such as 0-2,5
      --pids-limit N            processes; -1 for no limit
      --blkio-weight N          10 to 1000
      --blkio-weight-device DEVICE:N
      --device-read-bps DEVICE:SIZE, --device-write-bps DEVICE:SIZE
      --device-read-iops DEVICE:N, --device-write-iops DEVICE:N
                                bytes and operations a second, 0 for no limit; each may be given
                                several times
      --cgroup-conf FILE=VALUE  any setting of cgroup v2""",
}

PS_OUTPUT = 64 << 20  # bytes


# --- pause, resume ----------------------------------------------------------------------------


def pause(root_path: str, report, argv: "list[str]") -> int:
    _, _, ids = verbs.scan(argv, {}, {}, 1, 1)
    doing = "pause container %s" % ids[0]
    _, content = made(root_path, ids[0], doing)
    group = group_of(content, doing)
    if group.frozen():
        raise ContainerError(doing, "container already paused")
    group.freeze()
    return 0


def resume(root_path: str, report, argv: "list[str]") -> int:
    _, _, ids = verbs.scan(argv, {}, {}, 1, 1)
    doing = "resume container %s" % ids[0]
    _, content = made(root_path, ids[0], doing)
    group = group_of(content, doing)
    if not group.frozen():
        raise ContainerError(doing, "container not paused")
    group.thaw()
    return 0


def alive(root_path: str, identifier: str, doing: str) -> "tuple[state.Entry, dict]":
    """The Entry of a container that lives, and what is known of it. Raises ContainerError."""
    entry, content = _known(root_path, identifier)
    if not living.alive(content):
        raise ContainerError(doing, "container not running")
    return entry, content


def made(root_path: str, identifier: str, doing: str) -> "tuple[state.Entry, dict]":
    """The same of one that is no more being created: whoever does that would wait for what was stopped, and
    knows no limits but its own."""
    entry, content = alive(root_path, identifier, doing)
    if content.get("status") == "creating":
        raise ContainerError(doing, "container not running", hint="it is being created")
    return entry, content


def _known(root_path: str, identifier: str) -> "tuple[state.Entry, dict]":
    entry = verbs.find(root_path, identifier)
    if entry is None:
        raise verbs.missing(identifier)
    return entry, dict(living.load(entry), id=identifier)


def group_of(content: "dict", doing: str):
    """Its cgroup. Raises ContainerError, with the reason that was found at its start, if it has none."""
    group = living.group_of(content)
    if group.kind == "none":
        why, fix = "the container has no cgroup", ""
        for record in content.get("degradations") or []:
            if record.get("code") == "cgroup-none":
                from . import causes

                cause = causes.why("cgroup-files", record.get("errno") or 0, uid=os.geteuid())
                why = why + ": " + (cause.why or record.get("why", ""))
                fix = cause.fix or record.get("fix", "")
                break
        raise ContainerError(doing, why, hint=fix)
    return group


# --- ps ---------------------------------------------------------------------------------------


def ps(root_path: str, report, argv: "list[str]") -> int:
    style, words = "table", list(argv)
    while words and words[0].startswith("-") and words[0] != "--":  # what follows the id is for the host's ps
        name, equals, value = words.pop(0).partition("=")
        if name[:2] == "-f" and len(name) > 2:  # -fjson
            name, equals, value = "-f", "=", name[2:]
        if name not in ("--format", "-f"):
            error = verbs.unknown(name, name, ["--format"])
            if name in ("-a", "--all"):  # docker's and podman's ps
                error.hint = "minictr list has every container"
            raise error
        if not equals and not words:
            raise ContainerError("read the options", "%s needs a value" % name)
        style = value if equals else words.pop(0)
    if style not in ("table", "json"):
        raise ContainerError("read the options", "--format is table or json")
    words = words[1:] if words[:1] == ["--"] else words
    if not words:
        raise ContainerError("read the options", "an id is expected", hint="minictr list has them all")
    entry, content = _known(root_path, words[0])
    entry.close()
    found = processes(content)
    if style == "json":
        write(document.dumps(found).encode("ascii") + b"\n")
    else:
        write(chosen(_host_ps(words[1:] or ["-ef"]), found))
    return 0


def processes(content: "dict") -> "list[int]":
    """The processes of a container: by its cgroup, else by its process namespace."""
    group = living.group_of(content)
    if group.kind != "none":
        return [] if living.over(content) else sorted(group.pids())
    return living.by_namespace(content["pid"]) if living.alive(content) else []


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
    """Of what ps printed the head, and the lines of PIDS.

    A process chooses its name, of any bytes, and not every ps hides what it means to a terminal (busybox's
    does not): then it may have made a line of its own, which is nobody's reason not to see the others.
    """
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    titles, kept = (lines or [b""])[0].split(), lines[:1]
    if b"PID" not in titles:
        raise ContainerError("read what ps says", "it has no column PID", hint="add pid to its arguments")
    column, missing, odd = titles.index(b"PID"), {b"%d" % pid for pid in pids}, b""
    wanted = set(missing)
    for line in lines[1:]:
        fields = line.split()
        if len(fields) <= column or not fields[column].isdigit():
            odd = odd or line + b"\n"
        elif fields[column] in wanted:
            missing.discard(fields[column])
            kept.append(_harmless(line))
    if odd and missing:
        why, hint = "no process id in: %s" % printable(odd.strip()), "let the column PID come first"
        raise ContainerError("read what ps says", why, hint=hint)
    return b"".join([line + b"\n" for line in kept])


def _harmless(line: bytes) -> bytes:
    """LINE with "?" for what would move a cursor, or more. What is no text stays as it is."""
    text = line.decode("utf-8", "surrogateescape")
    if not text.isprintable():
        kept = [
            char if char.isprintable() or char == "\t" or "\udc80" <= char <= "\udcff" else "?"
            for char in text
        ]
        text = "".join(kept)
    return text.encode("utf-8", "surrogateescape")


def write(text: bytes) -> None:
    """To standard output at once, whatever the encoding of the names in it."""
    while text:
        text = text[os.write(1, text) :]


# --- update -----------------------------------------------------------------------------------


def update(root_path: str, report, argv: "list[str]") -> int:
    from . import cgroup_undo, resources, updates

    options = dict.fromkeys(updates.OPTIONS, "")
    options.update({"--memory": "-m", "--cpu-shares": "-c", "--cpus": "", "--resources": "-r"})
    lists = ["--" + row[0] for row in resources.DEVICE_LIMITS] + ["--cgroup-conf"]
    _, given, ids = verbs.scan(argv, {}, options, 1, 1, lists)
    if "--resources" in given:
        if len(given) > 1:
            raise ContainerError("read the options", "--resources comes without other limits")
        from .config import check_resources, load_part

        changes = load_part(given["--resources"], check_resources)
    else:
        changes = updates.changes(given)
    doing = "update container %s" % ids[0]
    entry, content = made(root_path, ids[0], doing)
    group = group_of(content, doing)
    config = entry.load_config()
    linux = config.get("linux") or {}
    before = linux.get("resources") or {}
    with sound.trusting(entry.identifier, config):
        changes = updates.beside(changes, before)
        merged = updates.merged(before, changes)
    if "--resources" not in given:
        group.refuse_in_use(changes.get("memory") or {})
    as_it_is = cgroup_undo.before(group, changes)
    config = dict(config, linux=dict(linux, resources=merged))
    name = "config.%d" % os.getpid()  # of one in the foreground its runtime has the lock
    entry.write_config(config, name)  # that the disk is full shows before a limit counts which nobody noted
    try:
        records = group.update(changes)
        entry.publish_config(name)
    except ContainerError:
        entry.discard(name)
        cgroup_undo.put_back(group, as_it_is)
        raise
    for record in records:
        report.seen(record)
    return 0


CALLS = {"pause": pause, "resume": resume, "ps": ps, "update": update}
