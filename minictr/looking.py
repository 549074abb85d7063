"""The verbs that only look at containers: list, state.

Each takes the state root, a report and its arguments, prints, and returns the exit status.

Side: host
"""

from . import abi, document, living, state, verbs
from .errors import ContainerError, printable

HELP = {
    "list": """usage: minictr list [--quiet|-q] [--format table|json]

The containers of this user: id, process id, status, bundle, creation, owner.""",
    "state": """usage: minictr state [--quiet|-q] ID

What is known of container ID, as JSON (OCI runtime specification, "State"). With --quiet nothing
is printed and the exit status tells: 0 while it runs, paused or not, 1 otherwise.""",
}


def list_verb(root_path: str, report, argv: "list[str]") -> int:
    quiet, style = verbs.scan(argv, {"--quiet": "-q"}, {"--format": "-f"}, 0, 0)[:2]
    wanted = style.get("--format", "table")
    if wanted not in ("table", "json"):
        raise ContainerError("read the options", "--format is table or json, not %s" % printable(wanted))
    rows = [_row(content) for content in contents(root_path, report)]
    if "--quiet" in quiet:
        for row in rows:
            print(row["id"])
    elif wanted == "json":
        print(document.dumps(rows))
    else:
        titles = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")
        print_table(titles, [tuple([str(row[title.lower()]) for title in titles]) for row in rows])
    return 0


def contents(root_path: str, report) -> "list[dict]":
    """What is known of every container; what a killed runtime left is cleared away on the way."""
    root = state.open_existing(root_path)
    if root is None:
        return []
    from . import orphans  # not for the state of one

    orphans.sweep(root_path, root, report)
    found = []
    for identifier in state.identifiers(root):
        try:
            entry = state.find(root_path, root, identifier, wait=False)
        except ContainerError as error:
            if error.number != abi.EACCES:  # a directory of somebody else's
                raise
            continue
        if entry is not None:
            try:
                found.append(dict(living.load(entry), id=identifier))
            finally:
                entry.close()
    return found


def _row(content: "dict") -> "dict":
    runs = living.alive(content)
    return {
        "ociVersion": content.get("ociVersion", ""),
        "id": content["id"],
        "pid": content.get("pid", 0) if runs else 0,
        "status": living.status(content),
        "bundle": content.get("bundle", ""),
        "rootfs": content.get("rootfs", ""),
        "created": content.get("created", ""),
        "owner": _name(content.get("owner")),
    }


def _name(uid: object) -> str:
    from . import subids

    if not isinstance(uid, int):  # its state.json is lost
        return ""
    names = subids.user_names(uid)
    return names[0] if names else "#%d" % uid


def print_table(titles: "tuple[str, ...]", rows: "list[tuple[str, ...]]") -> None:
    """Whatever is in them, a row is a line: a bundle's path may have any character."""
    lines = [titles] + [tuple([printable(cell) for cell in row]) for row in rows]
    widths = [max([len(line[column]) for line in lines]) + 3 for column in range(len(titles))]
    for line in lines:
        print("".join([text.ljust(width) for text, width in zip(line, widths)]).rstrip())


_OURS = ("org.minictr.degradations", "org.minictr.exit", "org.minictr.landlock")


def state_of(content: "dict") -> "dict":
    """The OCI state of a container; our records of steps down are among its annotations."""
    annotations = dict(content.get("annotations") or {})
    for name in _OURS:  # which an image's annotations may have, too
        annotations.pop(name, None)
    if content.get("degradations"):
        annotations["org.minictr.degradations"] = document.dumps(content["degradations"])
    now = living.status(content)
    ending = exit_record(content) if now == "stopped" else {}
    if ending:
        annotations["org.minictr.exit"] = document.dumps(ending)
    if content.get("landlock"):
        annotations["org.minictr.landlock"] = document.dumps(content["landlock"])
    return {
        "ociVersion": content.get("ociVersion", "1.3.0"),
        "id": content["id"],
        "status": now,
        "bundle": content.get("bundle", ""),
        "rootfs": content.get("rootfs", ""),
        "created": content.get("created", ""),
        "annotations": annotations,
        "pid": content.get("pid", 0) if now != "stopped" else 0,
    }


def exit_record(content: "dict") -> "dict":
    """How a container ended: what was noted down by who stood behind it, else what its cgroup, which stays
    until the container is deleted, tells of memory that ran out."""
    if content.get("exit"):
        return content["exit"]
    from . import oom  # not for one that lives

    try:
        group = living.group_of(content)
        return oom.found(group) if group.kind != "none" else {}
    except ContainerError:  # its file system is not mounted any more
        return {}


def state_verb(root_path: str, report, argv: "list[str]") -> int:
    flags, _, ids = verbs.scan(argv, {"--quiet": "-q"}, {}, 1, 1)
    entry = verbs.find(root_path, ids[0], wait=False)
    content = {} if entry is None else living.load(entry)
    if entry is None or entry.forgotten():
        if "--quiet" in flags:
            return 1
        raise verbs.missing(ids[0])
    content["id"] = ids[0]
    if "--quiet" in flags:
        return 0 if living.status(content) in ("running", "paused") else 1
    print(document.pretty(state_of(content), "  "))
    return 0


CALLS = {"list": list_verb, "state": state_verb}
