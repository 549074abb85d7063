"""From what a twin has told to a verdict: layer by layer what was asked for, what was got, what proves
it; and the level that this comes to.

Side: host
"""

from . import isolation, kernel_files, levels, privileges
from .attempted import errno_name, mask, possible, untried
from .errors import printable
from .record import Record
from .spec import DEFAULT_CAPABILITIES


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
    kinds = [kind for kind in levels.NAMESPACES if kind != "time" or _asked(kind, found)]
    made = [_namespace(kind, found) for kind in kinds]
    made += [_root(found), _proc(found), _capabilities(found), _no_new_privs(found), _seccomp(found)]
    made += _labels(found)
    made += [
        _masked(found),
        _devices(found),
        _sys(found),
        _cgroup_files(found),
        _landlock(found),
        _keyring(found),
    ]
    made.append(_resources(found))
    for record in found.records:
        if record.level == "warning":
            made = _with_loss(made, record)
    return made


# The rows that a record tells of beside its layers, by the start of its code. "sys" and "cgroup-files" are
# no layers; "overlay" and whatever else has no row gets one of its own.
_TOLD = (
    ("root-move", ("root",)),
    ("proc-subset", ("proc",)),
    ("overlay", ("overlay",)),
    ("sysfs", ("sys",)),
    ("cgroup-mount", ("cgroup-files",)),
    ("cgroup-devices-above", ("devices",)),
    ("mount-namespace", ("sys", "cgroup-files")),
    ("mounts", ("sys", "cgroup-files")),
)  # fmt: skip


def _with_loss(made: "list[Row]", record) -> "list[Row]":
    """MADE with a step down in it that was taken with a warning: no such row is as asked."""
    names = levels.told(record)
    for start, more in _TOLD:
        names += more if record.code.startswith(start) else ()
    names = names or (record.layer,)
    if not any(row.layer in names for row in made):
        return made + [Row(layer=names[0], asked=record.wanted, got=record.got, ok=False, proof=())]
    return [_less(row, record) if row.layer in names else row for row in made]


def _less(row: Row, record) -> Row:
    """The row of a label has said already what the label lacks."""
    got = row.got
    said = got.startswith(record.got) or (bool(record.lost) and got.endswith(record.lost))
    if not said:
        got += "; %s: wanted %s, got %s" % (record.layer, record.wanted, record.got)
    return row.replace(ok=False, got=got)


def level(found) -> str:
    """The highest of levels.LEVELS whose layers are all proven; "none", too, where not all was tried."""
    if untried(found):
        return "none"
    for name in ("rootless", "container", "sandbox"):
        if all(_proven(found, layer) for layer in levels.LEVELS[name]):
            return name
    return "none"


def _proven(found, layer: str) -> bool:
    """Whether --require would have had LAYER, and nothing that was seen or tried speaks against it."""
    outside, plan = found.outside, found.plan
    if plan.new_user and "user" not in outside.own:
        plan = isolation.without_user(plan)
    if isolation.unasked(layer, plan)[0]:
        return False
    if any(levels.concerns(record, (layer,)) for record in found.records):
        return False
    if layer in levels.NAMESPACES:
        lost = layer not in outside.own or (layer == "user" and outside.hosts_root)
        return not lost and not possible(found, layer)
    against = {
        "files": possible(found, "root"),
        "root": possible(found, "root") or found.way not in ("pivot_root", "move"),
        "proc": possible(found, "pid"),
        "capabilities": outside.bounding & ~mask(DEFAULT_CAPABILITIES),
        "no-new-privs": not outside.no_new_privs,
        "masked-paths": possible(found, "proc") or possible(found, "sys"),
        "devices": possible(found, "devices"),
        "seccomp": possible(found, "seccomp") or outside.seccomp != FILTERS,
    }
    return not against.get(layer)


# --- the rows -----------------------------------------------------------------------------------


def _row(
    found, layer: str, asked: str, got: str, ok: bool, proof: "tuple[str, ...]" = (), open: bool = False
) -> Row:
    """A row, with what the attempts on LAYER add: where something was asked for, one that was possible
    contradicts it, unless what was asked for is OPEN."""
    tried = [attempt for attempt in found.attempts if attempt.layer == layer]
    refused = len([attempt for attempt in tried if attempt.outcome == "refused"])
    done = possible(found, layer)
    if refused:
        proof += ("%d %s refused" % (refused, "attempt" if refused == 1 else "attempts"),)
    if done:
        got += "; possible: " + ", ".join(done)
        ok = ok and (open or not asked)
    return Row(layer=layer, asked=asked or "nothing", got=got, ok=ok, proof=proof)


FILTERS = 2  # SECCOMP_MODE_FILTER


def _asked(kind: str, found) -> str:
    if kind in found.plan.namespaces:
        return "a new one"
    paths = [path for joined, path in found.plan.joins if joined == kind]
    return "the one of %s" % paths[0] if paths else ""


def _namespace(kind: str, found) -> Row:
    asked, own, new = _asked(kind, found), kind in found.outside.own, kind in found.plan.namespaces
    got = ("its own" if new else "another's, not the host's") if own else "the host's"
    if kind == "user" and own and found.outside.root_id >= 0:
        got += ", root is %s" % isolation.around("user %d" % found.outside.root_id)
    if kind == "user" and own and found.outside.hosts_root:
        got += ", and %s or its group is among the ids" % isolation.around("root")
    return _row(found, kind, asked, got, own or not new, ("namespace read from outside",), not new)


def _root(found) -> Row:
    """What a capability opens by file handles is open, and was asked for."""
    asked, sets = found.plan.root.ways[0], found.plan.credentials.capabilities
    handles = bool(sets and sets["effective"] & mask(("CAP_DAC_READ_SEARCH",)))
    handed = handles and possible(found, "root") == ["open by a file handle"]
    return _row(found, "root", asked, found.way, found.way == asked, open=handed)


def _proc(found) -> Row:
    mount = kernel_files.mounted(found.plan, "/proc")
    asked = ("a fresh /proc" if mount.kind == "proc" else str(mount)) if mount else ""
    return _row(found, "proc", asked, _instead(found, "proc-") or asked or "none", True)


def _instead(found, code: str) -> str:
    """What there is in the place of a mount that was refused, "" where it was not. code: of its records"""
    got = [record.got for record in found.records if record.code.startswith(code)]
    return _unmounted(found) or "".join(got[:1])


def _unmounted(found) -> str:
    """What is there where nothing could be mounted, "" where it could."""
    codes = [record.code for record in found.records]
    return "the host's" if "mounts" in codes or "mount-namespace" in codes else ""


def _capabilities(found) -> Row:
    sets, has = found.plan.credentials.capabilities, found.outside.bounding
    if sets is None:
        return _row(found, "capabilities", "", "%d in the bounding set" % _count(has), True)
    wanted = 0
    for value in sets.values():
        wanted |= value
    got = "%d in the bounding set" % _count(has)
    beyond = privileges.capability_names(has & ~wanted)
    if beyond:
        got += ", among them %s" % ", ".join(beyond)
    asked = "at most %d" % _count(wanted)
    more = wanted & ~mask(DEFAULT_CAPABILITIES)  # then what was possible was asked for
    if more:
        asked += ", %d of them beyond the default" % _count(more)
    return _row(found, "capabilities", asked, got, not beyond, ("CapBnd read from outside",), open=bool(more))


def _count(bits: int) -> int:
    return bin(bits).count("1")


def _no_new_privs(found) -> Row:
    asked, has = found.plan.credentials.no_new_privs, found.outside.no_new_privs
    proof = ("NoNewPrivs read from outside",)
    return _row(
        found, "no-new-privs", "set" if asked else "", "set" if has else "not set", has or not asked, proof
    )


def _seccomp(found) -> Row:
    """A filter around the runtime is on the container, too, but is none of its own."""
    linux, outside = found.plan.spec.config.get("linux") or {}, found.outside
    asked, has = bool(linux.get("seccomp")), outside.seccomp == FILTERS
    got = "%d in force" % (outside.filters or 1) if has else "none"
    if has and not asked:
        got += ", from around minictr"
    worth = isolation.unasked("seccomp", found.plan)[0] if has and asked else ""
    if worth:  # it is as asked, and no level counts it
        got += "; " + worth
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


def _masked(found) -> Row:
    count = len(found.plan.masked_paths)
    asked = "%d of them" % count if count else ""
    return _row(found, "masked-paths", asked, "none" if _unmounted(found) else asked or "none", True)


def _devices(found) -> Row:
    asked = "any of the host's" if isolation.every_device(found.plan) else "those of the configuration"
    return _row(found, "devices", asked, _unmounted(found) or asked, True)


def _sys(found) -> Row:
    asked = kernel_files.mode(kernel_files.mounted(found.plan, "/sys"))
    return _row(found, "sys", asked, _instead(found, "sysfs") or asked or "none", True)


def _cgroup_files(found) -> Row:
    """The host's /sys, where it stands in for a fresh one, comes with the host's."""
    asked = kernel_files.mode(kernel_files.mounted(found.plan, "/sys/fs/cgroup"))
    got = _instead(found, "cgroup-mount") or asked or _instead(found, "sysfs") or "none"
    return _row(found, "cgroup-files", asked, got, True)


def _landlock(found) -> Row:
    asked = "rules" if found.plan.spec.landlock else ""
    closed = found.way == "chdir" and not any(record.code == "landlock" for record in found.records)
    return _row(found, "landlock", asked, asked or ("in the place of a root" if closed else "none"), True)


def _keyring(found) -> Row:
    asked = "" if found.plan.spec.no_new_keyring else "a session keyring of its own"
    return _row(found, "keyring", asked, asked or "the caller's", True)


def _resources(found) -> Row:
    """Where nobody has asked for a limit, a cgroup that cannot be had is only noted."""
    noted = any(record.code == "cgroup-none" and record.level == "notice" for record in found.records)
    asked = "a cgroup of its own" if found.plan.cgroup_path and not noted else ""
    has = found.outside.cgroup
    got = "a cgroup of its own" if has else "the caller's"
    return _row(found, "resources", asked, got, has or not asked, ("/proc/PID/cgroup",))


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
        table.append((row.layer, printable(row.asked), printable(row.got), ", ".join(row.proof)))
        marks.append("" if row.ok else "  <- not as asked")
    widths = [min(48, max([len(line[column]) for line in table])) for column in range(3)]
    text = ["A twin of the container was started and has tried what must not work:", ""]
    for line, mark in zip(table, marks):
        cells = [cell.ljust(width) for cell, width in zip(line, widths)] + [line[3] + mark]
        text.append("  ".join(cells).rstrip())
    text.append("")
    text += [str(attempt) for attempt in found.attempts]
    missing = [row.layer for row in rows(found) if not row.ok]
    last = "level: %s" % level(found)
    if untried(found):
        last += " is proven, as %d attempts could not be made" % untried(found)
    last += ", but not as asked: %s" % ", ".join(missing) if missing else ""
    return text + ["", last]
