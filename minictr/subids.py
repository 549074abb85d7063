"""Subordinate ids: which ranges a user may map, and the helpers of the host that map them.

/etc/subuid and /etc/subgid have lines OWNER:START:COUNT, the owner by name or by number
(subuid(5)). What newuidmap reads as octal (a leading zero) or past 2**32 is no range here: two
readers of one file must not differ about whose ids those are (CVE-2018-7169 and kin).

Side: host
"""

from . import abi, paths
from . import unix as os
from .idtables import RANGE

NOTE = "/var/lib/minictr/ids"  # the first id of the range that root's containers get
FREE_FROM = 1 << 30
FIRST, LIMIT = 100000, 1 << 31  # login.defs(5) SUB_UID_MIN; above the limit some programs see minus signs
HELPER_DIRECTORIES = ("/usr/bin", "/usr/sbin", "/bin", "/usr/local/bin", "/run/wrappers/bin")


def of_caller(uid: int) -> "dict[str, object]":
    """What a host.Host says of the caller's ids."""
    names = user_names(uid)
    ask = "?" if uid else ""  # root needs no range of others: a free one will do
    facts = {
        "names": names,
        "subuids": ranges("subuid", uid, names, getsubids=ask),
        "subgids": ranges("subgid", uid, names, getsubids=ask),
    }  # type: dict[str, object]
    if uid == 0:
        if not (facts["subuids"] and facts["subgids"]):
            facts.update(_for_root())
    else:
        facts.update(newuidmap=helper("newuidmap"), newgidmap=helper("newgidmap"))
    return facts


def _for_root() -> "dict[str, object]":
    """The range that root's containers get where /etc/subuid gives root none: the one that was noted down,
    else a free one, far from where useradd(8) hands them out."""
    noted = paths.read_text(NOTE).strip()
    wanted = [(int(noted), True)] if noted.isdecimal() and len(noted) <= 10 else []
    for first, known in wanted + [(FREE_FROM, False)]:
        try:
            found = free_range(taken=((0, first),))
        except LookupError:
            continue
        if not known or found == first:
            return {"free_id": found, "noted": known}
    return {"free_id": -1}


def note_range(start: int) -> int:
    """Note down the range that begins at START, so that it stays the same; 0, or the errno of a disk that
    cannot be written: then it is found again as long as it stays the first that is free."""
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
        return error.errno or 0
    return 0


def ranges(
    kind: str, uid: int, names: "tuple[str, ...]", path: str = "", getsubids: str = "?"
) -> "tuple[tuple[int, int], ...]":
    """The ranges (start, count) that user UID, known as NAMES, may map, in the order of the file.

    kind: "subuid" or "subgid"; path: another file than /etc/KIND
    getsubids: the helper that asks where the file has nothing (LDAP and kin); "" for none, "?" to look
    """
    owners = tuple(names) + (str(uid),)
    found = tuple([(start, count) for owner, start, count in _lines(kind, path) if owner in owners])
    if found:
        return found
    asked = helper("getsubids") if getsubids == "?" else getsubids
    return _ask(asked, kind, names) if asked and names else ()


def free_range(size: int = RANGE, taken: "tuple[tuple[int, int], ...]" = ()) -> int:
    """The first id of a range that nobody has: no line of the two files, no user and no group.

    taken: further ranges (start, count) that are in use
    Raises LookupError if there is none below 2**31.
    """
    used = list(taken)
    for kind, accounts in (("subuid", "/etc/passwd"), ("subgid", "/etc/group")):
        used += [(start, count) for _, start, count in _lines(kind, "")]
        used += [(number, 1) for _, number in _accounts(accounts)]
    start = FIRST
    for first, count in sorted(used):
        if first + count > start and first < start + size:
            start = first + count
    if start + size > LIMIT:
        raise LookupError("no free range of %d ids below 2**31" % size)
    return start


def user_names(uid: int, path: str = "/etc/passwd") -> "tuple[str, ...]":
    """The names of user UID: those of the file, else what the host's name services say."""
    names = tuple([name for name, number in _accounts(path) if number == uid])
    if names:
        return names
    import pwd  # only here: NSS opens libraries

    try:
        return (pwd.getpwuid(uid).pw_name,)
    except (KeyError, OverflowError):
        return ()


def helper(name: str) -> str:
    """The absolute path of the program NAME of the host, "" where it is missing.

    The fixed directories come before PATH: the caller's PATH may begin with anything.
    """
    others = [place for place in os.getenv("PATH", "").split(":") if place.startswith("/")]
    for place in HELPER_DIRECTORIES + tuple(others):
        path = place + "/" + name
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""


def _lines(kind: str, path: str) -> "list[tuple[str, int, int]]":
    """OWNER, START, COUNT of each well-formed line."""
    found = []
    for line in paths.read_text(path or "/etc/" + kind).split("\n"):
        fields = line.split(":")
        if len(fields) != 3 or not fields[0]:
            continue
        start, count = _number(fields[1]), _number(fields[2])
        if start >= 0 and count > 0 and start + count < 1 << 32:
            found.append((fields[0], start, count))
    return found


def _accounts(path: str) -> "list[tuple[str, int]]":
    """The name and the id of each line of passwd(5) or group(5)."""
    found = []
    for line in paths.read_text(path, 1 << 24).split("\n"):
        fields = line.split(":")
        number = _number(fields[2]) if len(fields) > 2 else -1
        if fields[0] and number >= 0:
            found.append((fields[0], number))
    return found


def _number(text: str) -> int:
    """A decimal number of at most ten digits, -1 for anything else."""
    if not text or len(text) > 10 or text.strip("0123456789") or (text[0] == "0" and text != "0"):
        return -1
    return int(text)


def _ask(path: str, kind: str, names: "tuple[str, ...]") -> "tuple[tuple[int, int], ...]":
    """What getsubids(1) says: a line "0: NAME START COUNT" a range."""
    from .helper import Helper  # only here: most users are in the files

    for name in names:
        try:
            status, said = Helper([path] + ["-g"] * (kind == "subgid") + [name]).wait()
        except OSError:  # no process, no /dev/null: then nobody can be asked
            return ()
        words = said.split() if status == 0 else []
        found = []
        for start, count in zip(words[2::4], words[3::4]):
            if _number(start) >= 0 and _number(count) > 0 and int(start) + int(count) < 1 << 32:
                found.append((int(start), int(count)))
        if found:
            return tuple(found)
    return ()
