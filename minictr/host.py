"""What this host allows: who we are, which capabilities we hold, which ids we may hand on.

Read once, before anything is decided. Nothing here is tried out: what only the kernel can tell
is found by doing it (and beforehand by `doctor`).

Side: host
"""

from . import abi, cgroup, idtables, libc, paths
from . import unix as os
from .record import Record


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
    free_id: the first of idtables.RANGE user and group ids that nobody has, -1 where there are none
    noted: that is in subids.NOTE, or not needed
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
        from . import subids  # only where maps must be chosen: a bundle brings its own

        facts.update(subids.of_caller(facts["uid"]))  # type: ignore[arg-type]
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
