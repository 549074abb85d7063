"""What this host allows: who we are, which capabilities we hold, which ids we may hand on.

Read once, before anything is decided. Nothing here is tried out: what only the kernel can tell
is found by doing it (and beforehand by `doctor`).

Side: host
"""

from . import abi, cgroup, idtables, libc, paths
from . import unix as os
from .record import Record

RANGE = 65536  # how many ids a container gets
NOTE = "/var/lib/minictr/ids"  # the first id of the range that root's containers get
FREE_FROM = 1 << 30


def kernel() -> "tuple[int, int]":
    """The version of the kernel, major and minor."""
    words = os.uname().release.replace("-", ".").split(".")
    digits = [int(word) for word in words[:2] if word.isdigit()]
    return tuple(digits) if len(digits) == 2 else (0, 0)  # type: ignore[return-value]


class Host(Record):
    """uid, gid: effective, as this user namespace sees them
    effective: the effective capabilities, a bit mask; last_cap: the kernel's highest capability
    uid_map, gid_map: of this user namespace, (inside, outside, count) each
    groups: the supplementary groups; no_new_privs: set-uid helpers have no power
    groups_denied: nobody in this user namespace may set them
    names: the caller's in the password database, that the ranges may stand under
    subuids, subgids: the ranges that the caller may map, (start, count) each; () where not needed
    free_id: the first of RANGE user and group ids that nobody has, -1 where there are none; noted: in NOTE,
        or it is not needed
    newuidmap, newgidmap: absolute paths, "" where missing
    interpreter: the uid that owns the file which we run by; interpreter_group: its gid, if the
        group may write to it, else -1; interpreter_open: everybody may, or the caller, who is not root
    reclaimed: systemd takes the controllers of cgroup v2 back where none of its units needs them
    """

    uid: int
    gid: int
    effective: int
    last_cap: int
    uid_map: "tuple[tuple[int, int, int], ...]" = idtables.FULL
    gid_map: "tuple[tuple[int, int, int], ...]" = idtables.FULL
    groups: "tuple[int, ...]" = ()
    groups_denied: bool = False
    no_new_privs: bool = False
    subuids: "tuple[tuple[int, int], ...]" = ()
    subgids: "tuple[tuple[int, int], ...]" = ()
    free_id: int = 0
    noted: bool = True
    newuidmap: str = ""
    newgidmap: str = ""
    names: "tuple[str, ...]" = ()
    interpreter: int = 0
    interpreter_group: int = -1
    interpreter_open: bool = False
    reclaimed: bool = False

    def holds(self, capability: int) -> bool:
        return bool(self.effective >> capability & 1)

    @property
    def initial(self) -> bool:
        """As `idtables.initial`, of the map that was read."""
        return self.uid_map == idtables.FULL

    @property
    def privileged(self) -> bool:
        """Namespaces can be made, and full ranges of ids mapped, without a helper."""
        return self.holds(abi.CAP_SYS_ADMIN) and self.holds(abi.CAP_SETUID) and self.holds(abi.CAP_SETGID)


def probe(ranges: bool) -> Host:
    """Look at the host. RANGES: also at the subordinate ids, for a start that must choose its maps."""
    effective, _, _ = libc.capget()
    facts = {
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "effective": effective,
        "last_cap": int(paths.read_text("/proc/sys/kernel/cap_last_cap") or len(abi.CAPABILITIES) - 1),
        "uid_map": idtables.read("uid_map"),
        "gid_map": idtables.read("gid_map"),
        "groups": tuple(os.getgroups()),
        "no_new_privs": libc.prctl(abi.PR_GET_NO_NEW_PRIVS) == 1,
        "reclaimed": os.path.isdir("/run/systemd/system") and cgroup.layout().kind == "v2",
    }  # type: dict[str, object]
    facts.update(_interpreter())
    if facts["uid_map"] != idtables.FULL:
        facts["groups_denied"] = paths.read_text("/proc/self/setgroups").strip() == "deny"
    if ranges:
        facts.update(_ranges(facts["uid"]))  # type: ignore[arg-type]
    return Host(**facts)


def _interpreter() -> "dict[str, object]":
    """Who may write to the file that we run by: a container without ids of these cannot."""
    name = "/proc/self/exe"
    try:
        state = os.stat(name)
    except OSError:
        return {}
    group = state.st_gid if state.st_mode & 0o020 else -1
    # a user keeps its further groups in the container, and what an access list says of it
    open_ = bool(state.st_mode & 0o002) or (os.geteuid() != 0 and os.access(name, os.W_OK))
    return {"interpreter": state.st_uid, "interpreter_group": group, "interpreter_open": open_}


def _ranges(uid: int) -> "dict[str, object]":
    from . import subids  # only where maps must be chosen: a bundle brings its own

    names = subids.user_names(uid)
    ask = "?" if uid else ""  # root needs no range of others: a free one will do
    facts = {
        "names": names,
        "subuids": subids.ranges("subuid", uid, names, getsubids=ask),
        "subgids": subids.ranges("subgid", uid, names, getsubids=ask),
    }  # type: dict[str, object]
    if uid == 0:
        if not (facts["subuids"] and facts["subgids"]):
            facts.update(_free_range(subids))
    else:
        facts.update(newuidmap=subids.helper("newuidmap"), newgidmap=subids.helper("newgidmap"))
    return facts


def _free_range(subids) -> "dict[str, object]":
    """The range that root's containers get where /etc/subuid gives root none: the one that was noted down,
    else a free one, far from where useradd(8) hands them out."""
    noted = paths.read_text(NOTE).strip()
    wanted = [(int(noted), True)] if noted.isdecimal() and len(noted) <= 10 else []
    for first, known in wanted + [(FREE_FROM, False)]:
        try:
            found = subids.free_range("both", RANGE, taken=((0, first),))
        except LookupError:
            continue
        if not known or found == first:
            return {"free_id": found, "noted": known}
    return {"free_id": -1}


def note_range(start: int) -> None:
    """Note down the range that begins at START, so that it stays the same."""
    temporary = "%s.%d" % (NOTE, os.getpid())  # what a killed process of this number left is written over
    try:
        os.makedirs(os.path.dirname(NOTE), 0o755, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(temporary, flags, 0o644)
        try:
            os.write(file, b"%d\n" % start)
            os.replace(temporary, NOTE)
        except OSError:
            os.unlink(temporary)
            raise
        finally:
            os.close(file)
    except OSError as error:
        if error.errno not in (abi.EROFS, abi.EACCES, abi.EPERM, abi.ENOSPC, abi.EDQUOT):
            raise
        # a disk that cannot be written: the same range is found again as long as it stays free
