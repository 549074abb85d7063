"""From what a twin has told to a verdict: layer by layer what was asked for, what was got, what proves
it; and the level that this comes to.

Side: host
"""

import errno

from . import abi, isolation
from .errors import printable
from .record import Record
from .spec import DEFAULT_CAPABILITIES


class Attempt(Record):
    """outcome: "refused", "possible" or "absent" (nothing to try it on); detail: words"""

    layer: str
    name: str
    outcome: str
    errno: int = 0
    detail: str = ""

    def __str__(self) -> str:
        why = errno_name(self.errno) if self.errno else self.detail
        return "%-10s %s%s" % (self.outcome, self.name, " (%s)" % why if why else "")


class Outside(Record):
    """What the host sees of the twin's process.

    own: the kinds of namespaces that are not ours; root_id: the host's id of user 0, -1 for none
    hosts_root: the host's root, or its group, is somebody inside, whatever the number
    bounding, effective: bit masks; seccomp: 0, 1, or 2 for filters
    cgroup: it is in another one than we are
    """

    own: "tuple[str, ...]"
    root_id: int
    hosts_root: bool
    bounding: int
    effective: int
    no_new_privs: bool
    seccomp: int
    filters: int
    cgroup: bool


class Shown(Record):
    """What a program that was executed under a label of LAYER was seen to run under.

    said: what the kernel calls it, "" for nothing; held: it is what was asked for
    lacks: what is lost all the same, "" for nothing; why: why it could not be seen, "" if it was
    """

    layer: str
    said: str
    held: bool
    lacks: str
    why: str


class Row(Record):
    """ok: what was asked for is there, and nothing contradicts it; proof: where that is known from"""

    layer: str
    asked: str
    got: str
    ok: bool
    proof: "tuple[str, ...]"


def rows(found) -> "list[Row]":
    """The table for a twin.Found."""
    kinds = [kind for kind in isolation.NAMESPACES if kind != "time" or _asked(kind, found)]
    made = [_namespace(kind, found) for kind in kinds]
    made += [_root(found), _proc(found), _capabilities(found), _no_new_privs(found), _seccomp(found)]
    made += _labels(found)
    made += [_plain(found, *row) for row in _PLAIN]
    return made + [_resources(found)]


def level(found) -> str:
    """The highest of isolation.LEVELS whose layers are all proven; "none"."""
    outside = found.outside
    strong = {kind for kind in outside.own if not _possible(found, kind)}
    if outside.hosts_root:
        strong.discard("user")
    lost = {record.code for record in found.records}
    reached = _possible(found, "root")
    facts = (
        ("files", not reached),
        ("root", not reached and found.way in ("pivot_root", "move")),
        ("proc", not lost & {"proc-host", "proc-empty"} and not _possible(found, "pid")),
        ("capabilities", not outside.bounding & ~mask(DEFAULT_CAPABILITIES)),
        ("no-new-privs", outside.no_new_privs),
        ("seccomp", outside.seccomp == FILTERS),
    )
    strong.update([name for name, true in facts if true])
    for name in ("rootless", "container", "sandbox"):
        if strong.issuperset(isolation.LEVELS[name]):
            return name
    return "none"


def mask(names) -> int:
    return sum([1 << abi.CAPABILITIES.index(name) for name in names if name in abi.CAPABILITIES])


def errno_name(number: int) -> str:
    """EPERM for 1."""
    return errno.errorcode.get(number, str(number))


# --- the rows -----------------------------------------------------------------------------------


def _row(found, layer: str, asked: str, got: str, ok: bool, proof: "tuple[str, ...]" = ()) -> Row:
    """A row, with what the attempts on LAYER add: where something was asked for, one that was possible
    contradicts it."""
    tried = [attempt for attempt in found.attempts if attempt.layer == layer]
    refused = len([attempt for attempt in tried if attempt.outcome == "refused"])
    possible = _possible(found, layer)
    if refused:
        proof += ("%d %s refused" % (refused, "attempt" if refused == 1 else "attempts"),)
    if possible:
        got += "; possible: " + ", ".join(possible)
        ok = ok and not asked
    return Row(layer=layer, asked=asked or "nothing", got=got, ok=ok, proof=proof)


def _possible(found, layer: str) -> "list[str]":
    """What could be done, by name, that LAYER should have refused."""
    return [
        attempt.name for attempt in found.attempts
        if attempt.layer == layer and attempt.outcome == "possible" and not _granted(attempt.name, found)
    ]  # fmt: skip


def _granted(name: str, found) -> bool:
    """What was possible because a capability was asked for that allows it."""
    capability = GRANTS.get(name)
    sets = found.plan.credentials.capabilities
    return bool(capability and sets and sets["effective"] >> abi.CAPABILITIES.index(capability) & 1)


# attempt: the capability that allows it where the container has one over what it is made on
GRANTS = {"open a raw socket": "CAP_NET_RAW", "make a block device": "CAP_MKNOD"}
FILTERS = 2  # SECCOMP_MODE_FILTER


def _asked(kind: str, found) -> str:
    if kind in found.plan.namespaces:
        return "a new one"
    paths = [path for joined, path in found.plan.joins if joined == kind]
    return "the one of %s" % paths[0] if paths else ""


def _namespace(kind: str, found) -> Row:
    asked, own = _asked(kind, found), kind in found.outside.own
    got = "its own" if own else "the host's"
    if kind == "user" and own and found.outside.root_id >= 0:
        got += ", root is user %d of the host" % found.outside.root_id
    if kind == "user" and own and found.outside.hosts_root:
        got += ", and the host's root or its group is among the ids"
    return _row(found, kind, asked, got, own or not asked, ("namespace read from outside",))


def _root(found) -> Row:
    asked = found.plan.root.ways[0]
    return _row(found, "root", asked, found.way, found.way == asked)


def _proc(found) -> Row:
    lost = [record.got for record in found.records if record.code.startswith("proc-")]
    asked = "a fresh /proc" if any(m.kind == "proc" for m in found.plan.mounts) else ""
    return _row(found, "proc", asked, lost[0] if lost else asked or "none", not lost)


def _capabilities(found) -> Row:
    sets, has = found.plan.credentials.capabilities, found.outside.bounding
    if sets is None:
        return _row(found, "capabilities", "", "%d in the bounding set" % _count(has), True)
    wanted = 0
    for value in sets.values():
        wanted |= value
    got = "%d in the bounding set" % _count(has)
    beyond = [name for bit, name in enumerate(abi.CAPABILITIES) if (has & ~wanted) >> bit & 1]
    if beyond:
        got += ", among them %s" % ", ".join(beyond)
    asked = "at most %d" % _count(wanted)
    if wanted & ~mask(DEFAULT_CAPABILITIES):  # then what was possible was asked for
        asked += ", %d of them beyond the default" % len(isolation.names_beyond_default(sets) or ())
        row = _row(found, "capabilities", "", got, not beyond, ("CapBnd read from outside",))
        return row.replace(asked=asked)
    return _row(found, "capabilities", asked, got, not beyond, ("CapBnd read from outside",))


def _count(bits: int) -> int:
    return bin(bits).count("1")


def _no_new_privs(found) -> Row:
    asked, has = found.plan.credentials.no_new_privs, found.outside.no_new_privs
    proof = ("NoNewPrivs read from outside",)
    return _row(
        found, "no-new-privs", "set" if asked else "", "set" if has else "not set", has or not asked, proof
    )


def _seccomp(found) -> Row:
    asked, outside = found.plan.seccomp is not None, found.outside
    has = outside.seccomp == FILTERS
    got = "%d in force" % (outside.filters or 1) if has else "none"
    proof = ("Seccomp read from outside",)
    return _row(found, "seccomp", "a filter" if asked else "", got, has or not asked, proof)


def _labels(found) -> "list[Row]":
    """A row where a label is asked for."""
    process = found.plan.spec.config.get("process") or {}
    wanted = [("apparmor", process.get("apparmorProfile")), ("selinux", process.get("selinuxLabel"))]
    return [_label(found, layer, printable(name)) for layer, name in wanted if name]


def _label(found, layer: str, name: str) -> Row:
    shown = [one for one in found.labels if one.layer.lower() == layer]
    if not shown:  # the kernel has no such module, which a record tells of
        return _row(found, layer, name, "none", (layer, name) == ("apparmor", "unconfined"))
    one = shown[0]
    if one.why:  # the kernel has taken it for what is executed next, or there were no twin
        return _row(found, layer, name, "asked for, but not proven: " + one.why, True)
    got = (one.said or "none") + ("; " + one.lacks if one.lacks else "")
    return _row(
        found, layer, name, got, one.held and not one.lacks, ("label of a program read from outside",)
    )


# layer, what is asked for, the start of the code of a record that tells of its loss
_PLAIN = (
    ("devices", "those of the configuration", "device"),
    ("sys", "read-only", "sysfs"),
    ("cgroup-files", "read-only", "cgroup-mount"),
    ("landlock", "", "landlock"),
    ("keyring", "a session keyring of its own", "keyring"),
)


def _plain(found, layer: str, asked: str, code: str) -> Row:
    lost = [record.got for record in found.records if record.code.startswith(code)]
    if layer == "landlock" and found.plan.spec.landlock:
        asked = "rules"
    return _row(found, layer, asked, lost[0] if lost else asked or "none", not lost)


def _resources(found) -> Row:
    lost = [record.got for record in found.records if record.code in ("cgroup-none", "cgroup-controllers")]
    asked = "a cgroup of its own" if found.plan.cgroup_path else ""
    has = found.outside.cgroup
    got = "a cgroup of its own" if has else "the caller's"
    return _row(found, "resources", asked, got, not lost and (has or not asked), ("/proc/PID/cgroup",))


# --- how it is shown ------------------------------------------------------------------------------


def structure(found) -> dict:
    """What `report --json` prints; its schema is in the tests."""
    table = rows(found)
    return {
        "twin": True,
        "level": level(found),
        "ok": all(row.ok for row in table),
        "layers": [dict(row.__dict__, proof=list(row.proof)) for row in table],
        "attempts": [
            dict(attempt.__dict__, errno=errno_name(attempt.errno) if attempt.errno else None)
            for attempt in found.attempts
        ],
        "degradations": [record.as_dict() for record in found.records],
    }


def lines(found) -> "list[str]":
    """The same for people."""
    table = [("layer", "asked", "got", "proven by")]
    marks = [""]
    for row in rows(found):
        table.append((row.layer, row.asked, row.got, ", ".join(row.proof)))
        marks.append("" if row.ok else "  <- not as asked")
    widths = [min(48, max([len(line[column]) for line in table])) for column in range(3)]
    text = ["A twin of the container was started and has tried what must not work:", ""]
    for line, mark in zip(table, marks):
        cells = [cell.ljust(width) for cell, width in zip(line, widths)] + [line[3] + mark]
        text.append("  ".join(cells).rstrip())
    text.append("")
    text += [str(attempt) for attempt in found.attempts]
    missing = [row.layer for row in rows(found) if not row.ok]
    last = "level: %s" % level(found) + (", but not as asked: %s" % ", ".join(missing) if missing else "")
    return text + ["", last]
