"""Which ids of the host a user namespace sees, and who writes that down.

Three ways, the strongest first: the runtime itself, where it holds CAP_SETUID and CAP_SETGID; the
set-uid helpers newuidmap and newgidmap, which check /etc/subuid and /etc/subgid; or the caller
mapped alone, which the kernel lets anybody do once setgroups(2) is denied (user_namespaces(7);
without that, dropping a group could gain access: CVE-2014-8989).

Side: host
"""

from . import idtables, paths
from . import unix as os
from .errors import ContainerError, Degradation
from .record import Record


class Maps(Record):
    """way: "direct", "helpers" or "self"
    uids, gids: (inside, outside, count) each, as in uid_map
    deny_setgroups: write "deny" to setgroups first
    newuidmap, newgidmap: the helpers' absolute paths
    otherwise: what is left where the helpers fail, None where nothing is
    """

    way: str
    uids: "tuple[tuple[int, int, int], ...]"
    gids: "tuple[tuple[int, int, int], ...]"
    deny_setgroups: bool = False
    newuidmap: str = ""
    newgidmap: str = ""
    otherwise: "object" = None

    def __str__(self) -> str:
        shown = ", ".join("%d to %d (%d)" % line for line in self.uids)
        return "map user ids %s (%s)" % (shown, self.way)


class HalfWritten(Exception):
    """One of the helpers had its way, the other had not."""


def missing(doing: str, name: str, number: int, table: "tuple[tuple[int, int, int], ...]") -> ContainerError:
    """The error of what takes the id NUMBER, which TABLE has not. name: "uid" or "gid" """
    have = sum([count for _, _, count in table])
    why = "the container has %d ids, and %d is not among them" % (have, number)
    return ContainerError(doing, why, hint="a larger range in /etc/sub%s, or --%smap" % (name, name))


def own(proc: int) -> Maps:
    """Of the user namespace that we are in. proc: from paths.open_proc"""
    uids, gids = [idtables.rows(paths.read_proc(proc, "self/" + name)) for name in ("uid_map", "gid_map")]
    return Maps(way="direct", uids=uids, gids=gids)


def known_words(mount, uids: "tuple", gids: "tuple") -> "tuple[str, ...]":
    """The words of MOUNT, a mounts.Mount, with the ids of UIDS and GIDS alone.

    devpts refuses gid=5, the tty group of every default, where there is no group 5: it goes without.
    Raises ContainerError for any other id that is not there.
    """
    kept = []
    for word in mount.words:
        name, _, value = word.partition("=")
        if name in ("uid", "gid") and value.isdecimal() and len(value) < 20:
            table = uids if name == "uid" else gids
            if not idtables.inside(table, int(value)):
                if (mount.kind, word) == ("devpts", "gid=5"):
                    continue
                doing = "give %s to %s %s" % (mount.target, "user" if name == "uid" else "group", value)
                raise missing(doing, name, int(value), table)
        kept.append(word)
    return tuple(kept)


def write(proc: int, pid: int, maps: Maps, degrade) -> Maps:
    """Write the maps of the user namespace that process PID is in; the way that worked comes back.

    proc: from paths.open_proc; degrade: called with a Degradation for a step down (it may raise)
    Raises ContainerError; HalfWritten where `otherwise` is left, but takes another process.
    """
    if maps.way == "helpers":
        from . import newuidmap  # not for who writes the maps directly

        try:
            newuidmap.write(pid, maps)
            return maps
        except ContainerError as error:
            if maps.otherwise is None or error.number:
                raise
            degrade(alone(error.why, 0, error.hint))
            groups = kept(os.getegid(), os.getgroups())
            if groups:
                degrade(groups_kept(groups, GROUPS_DENIED, error.hint))
            if paths.read_proc(proc, "%d/uid_map" % pid) or paths.read_proc(proc, "%d/gid_map" % pid):
                raise HalfWritten() from None
            maps = maps.otherwise  # type: ignore[assignment]
    files = [("setgroups", "deny", "deny")] if maps.deny_setgroups else []  # type: list
    for name, table in (("uid_map", maps.uids), ("gid_map", maps.gids)):
        files.append((name, "".join(["%d %d %d\n" % line for line in table]), None))
    for name, text, proof in files:
        try:
            paths.write_proc(proc, "%d/%s" % (pid, name), text, proof=proof)
        except OSError as error:
            from . import causes  # only now: the host is asked why

            cause = causes.why(name, error.errno or 0)
            raise ContainerError("write " + name, cause.why, error.errno or 0, cause.fix) from error
    return maps


def alone(why: str, number: int = 0, fix: str = "", cause: str = "") -> Degradation:
    """The step down to the caller's own id and nothing else."""
    lost = "every other user and group of the container: their files show as nobody's, su and apt fail"
    got = "the caller's own id"
    return Degradation(
        "idmap-alone", "id map", "a range of ids", got, lost, number, why, fix, "warning", cause
    )


GROUPS_DENIED = "setgroups(2) is denied where the caller alone is mapped"


def kept(own: int, groups: "list[int]") -> "list[str]":
    """Those of GROUPS beside OWN; who is none of a user namespace's ids has one number for all of them."""
    return [str(group) for group in dict.fromkeys(groups) if group != own]


def groups_kept(
    groups: "list[str]", why: str, fix: str, level: str = "warning", cause: str = ""
) -> Degradation:
    """The caller's GROUPS come inside unasked: only setgroups(2) takes one away."""
    lost = "what keeps files and sockets that are open to these groups from the program"
    got = "the caller's: " + ", ".join(groups)
    return Degradation("groups-kept", "groups", "none of the caller's", got, lost, 0, why, fix, level, cause)
