"""Who the program is to be, as far as the host allows it: its ids, groups and capabilities, and what it goes
without. How a process becomes that is `privileges`.

Side: host
"""

from . import abi, idtables, maps, privileges
from .errors import Degradation
from .host import Host
from .privileges import Credentials
from .spec import Spec

# crun's, by which podman asks for --group-add keep-groups: but podman passes on an image's annotations, too
KEEP_GROUPS = "run.oci.keep_original_groups"
UNHELD = "the caller does not hold it"


def choose(
    spec: Spec, host: Host, table: "maps.Maps | None", user_known: bool, records: "list[Degradation]"
) -> Credentials:
    """What SPEC asks for, less what cannot be had, of which RECORDS gets to know.

    table: of a new user namespace, None without one; user_known: there is one of its own, new or joined
    """
    held = (1 << len(abi.CAPABILITIES)) - 1 if user_known else host.effective
    found = _wanted(host, spec.config.get("process") or {}, held, spec.source, records)
    denied = table.deny_setgroups if table is not None else host.groups_denied and not user_known
    if denied:
        records += groups_lost(spec, host, table, found) + _groups_kept(spec, host, table, found)
        found = found.replace(groups=None)  # the caller's stay: nobody here can take them away
    if (spec.config.get("annotations") or {}).get(KEEP_GROUPS) == "1":
        records.append(_groups_dropped())
    return found


def _wanted(host: Host, process: "dict", held: int, source: str, records: "list") -> Credentials:
    """held: the capabilities that can be given, a bit mask; source: as Spec has it"""
    user = process.get("user") or {}
    wanted = process.get("capabilities") or {}  # without the property there are none
    sets, unknown = {}, []  # type: dict[str, int], list[str]
    for name in privileges.SETS:
        sets[name], missing = privileges.capability_mask(wanted.get(name) or [], host.last_cap)
        unknown += [word for word in sorted(set(missing)) if word not in unknown]
    unheld = (sets["bounding"] | sets["permitted"]) & ~held
    unraised = sets["ambient"] & ~unheld & ~(sets["permitted"] & sets["inheritable"])
    unlike = "it must be permitted and inheritable, too (capabilities(7))"
    for kind, names, why in (
        ("", [name or '""' for name in unknown], "this kernel does not know the name"),
        ("", privileges.capability_names(unheld), UNHELD),
        ("ambient ", privileges.capability_names(unraised), unlike),
    ):
        # config.md, "Linux Process": what cannot be granted is logged as a warning. Root has without ambient
        # ones what is permitted, and runc's own default asks for them so
        level = "warning" if source == "bundle" and (not kind or user.get("uid")) else "notice"
        if names:
            records.append(_left_out(kind + ", ".join(names), why, level))
    return Credentials(
        uid=user.get("uid") or 0,  # null is as good as absent
        gid=user.get("gid") or 0,
        groups=tuple(user.get("additionalGids") or ()),
        capabilities=sets,
        no_new_privs=bool(process.get("noNewPrivileges")),
        umask=0o022 if user.get("umask") is None else user["umask"],  # as runc and crun have it
    )


def _left_out(what: str, why: str, level: str) -> Degradation:
    """A capability that cannot be had is no step down: the container is tighter than it was asked to be."""
    return Degradation("capability", "capabilities", what, "nothing", "what it allows", 0, why, "", level)


def check(table: maps.Maps, credentials: Credentials) -> None:
    """The program's own ids must be among those of its user namespace."""
    for mapped, number, kind in (
        [(table.uids, credentials.uid, "user"), (table.gids, credentials.gid, "group")]
        + [(table.gids, group, "group") for group in credentials.groups or ()]
    ):  # fmt: skip
        if not idtables.inside(mapped, number):
            raise maps.missing("become %s %d" % (kind, number), kind[0] + "id", number, mapped)


def groups_lost(
    spec: Spec, host: Host, table: "maps.Maps | None", wanted: Credentials
) -> "list[Degradation]":
    """The groups that the program does without. Those which the container's own files give to its user are
    nobody's wish, and only noted."""
    lost = []
    for group in wanted.groups or ():
        ours = group if table is None else idtables.on_host(table.gids, group)
        if group != wanted.gid and ours not in host.groups:
            lost.append(str(group))
    if not lost:
        return []
    why, cause = maps.GROUPS_DENIED, "subids"
    if host.groups_denied:
        why, cause = "setgroups(2) is denied in the user namespace around us", ""
    level = "warning" if spec.groups or spec.source == "bundle" else "notice"
    what = "files that are open to these groups alone"
    return [Degradation("groups", "groups", ", ".join(lost), "none of them", what, 0, why, "", level, cause)]


def _groups_kept(
    spec: Spec, host: Host, table: "maps.Maps | None", wanted: Credentials
) -> "list[Degradation]":
    """The caller's groups that come inside unasked. A bundle with such a map has asked for no more."""
    asked = [group if table is None else idtables.on_host(table.gids, group) for group in wanted.groups or ()]
    unasked = [group for group in host.groups if group not in asked]
    kept = maps.kept(host.gid, unasked)
    if not kept:
        return []
    why, fix, cause = maps.GROUPS_DENIED, "", "subids"
    if host.groups_denied:
        why, cause = "setgroups(2) is denied in the user namespace around us", ""
    elif spec.userns not in ("auto", "keep-id"):
        fix, cause = "maps of a range of ids, which newuidmap and newgidmap write", ""
    level = "notice" if spec.source == "bundle" else "warning"
    return [maps.groups_kept(kept, why, fix, level, cause)]


def _groups_dropped() -> Degradation:
    why = "the annotation %s may be an image's" % KEEP_GROUPS
    lost = "files of the caller's supplementary groups"
    return Degradation("groups", "groups", "the caller's", "none of them", lost, 0, why, "", level="notice")
