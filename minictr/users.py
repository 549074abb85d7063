"""Who a user or a group is, by the container's own etc/passwd and etc/group.

Both files come with an image and are not to be trusted: they may be links, pipes or endless, and
their lines may be anything. The host's name service is never asked: it would know other people,
and loads libraries (CVE-2019-14271).

Digits are a number and never a name, and every number is checked: runtimes have been talked
into uid 0 by a name of digits, by an id that overflows and by a line that is malformed
(CVE-2016-3697, CVE-2024-40635). passwd(5), group(5).

Side: host
"""

from . import abi, paths
from . import unix as os
from .errors import ContainerError, printable, step
from .record import MYPY, Record

if MYPY:
    from collections.abc import Iterator

    from .aside import Files
    from .view import View

MAX_ID = 2**32 - 2  # 2**32 - 1 is (uid_t) -1, "no id" to the kernel
LIMIT = 4 << 20  # bytes of either file: some 50,000 users


class User(Record):
    """uid, gid: inside the container, 0 to MAX_ID
    groups: the supplementary ones, the primary among them: without it, a program that changes its
        gid would get out of a file's "group: none" (CVE-2022-36109)
    home: an absolute path; name: "" for a number that has no entry
    """

    uid: int
    gid: int
    groups: "tuple[int, ...]"
    home: str
    name: str


def lookup(root: "int | Files | View", user: str, groups: "tuple[str, ...]" = ()) -> User:
    """The User for USER[:GROUP], by the files below the directory descriptor ROOT, in Files or in a View.

    user: names or numbers; "" is user 0. With a group, that one is the primary group and the
        file's memberships do not count; "USER:" is USER; a number without an entry has group 0 and home /
    groups: names or numbers of more supplementary groups
    Raises ContainerError for a name that is unknown, a number out of range, a file that is none.
    """
    return resolve(_read(root, "etc/passwd"), _read(root, "etc/group"), user, groups)


def home(root: "int | Files | View", uid: int) -> str:
    """The home directory of user UID by the same files, / if it has no entry."""
    return _home(_read(root, "etc/passwd"), uid)


def _home(passwd: bytes, uid: int) -> str:
    for _, number, _, directory in _users(passwd):
        if number == uid:
            return directory
    return "/"


def resolve(passwd: bytes, group: bytes, user: str, groups: "tuple[str, ...]" = ()) -> User:
    """What `lookup` does, for the content of the two files."""
    who, _, primary = user.partition(":")
    if user and not who:  # docker's root then; what was left out may be a variable that was not set
        hint = "for root write 0:%s" % printable(primary or "GROUP")
        raise ContainerError("user %s" % printable(user), "is not of the form USER[:GROUP]", hint=hint)
    name, uid, gid, directory = _user(passwd, who or "0")
    members = []  # type: list[int]
    if primary:
        gid = _group(group, primary)
    elif name:
        members = [number for _, number, names in _groups(group) if name in names]
    members = [gid] + members + [_group(group, more) for more in groups]
    unique = tuple(dict.fromkeys(members))
    return User(uid=uid, gid=gid, groups=unique, home=directory, name=name)


def _user(passwd: bytes, who: str) -> "tuple[str, int, int, str]":
    number = _number("user", who)
    for entry in _users(passwd):
        if entry[1] == number or (number is None and entry[0] == who):
            return entry
    if number is None:
        raise _unknown("user", who, "etc/passwd", passwd)
    return "", number, 0, "/"


def _group(group: bytes, who: str) -> int:
    number = _number("group", who)
    if number is not None:
        return number
    for name, gid, _ in _groups(group):
        if name == who:
            return gid
    raise _unknown("group", who, "etc/group", group)


def _number(kind: str, text: str) -> "int | None":
    """The id TEXT stands for if it is digits, None if it is a name."""
    if text.strip("0123456789"):
        if text[0] in "+-" and not text[1:].strip("0123456789"):
            raise ContainerError("%s %s" % (kind, printable(text)), "ids are 0 to %d" % MAX_ID)
        return None
    digits = text.lstrip("0")
    if not text or len(digits) > 10 or int(digits or "0") > MAX_ID:
        raise ContainerError("%s %s" % (kind, printable(text)), "ids are 0 to %d" % MAX_ID)
    return int(digits or "0")


def _unknown(kind: str, who: str, path: str, content: bytes) -> ContainerError:
    why = "no entry in %s of the container" % path
    if not content:
        why = "the container has no %s" % path
    return ContainerError("%s %s" % (kind, printable(who)), why, hint="give a number")


def _users(passwd: bytes) -> "Iterator[tuple[str, int, int, str]]":
    """(name, uid, gid, home) of each line that is sound."""
    for fields in _lines(passwd):
        if len(fields) >= 4:
            uid, gid = _id(fields[2]), _id(fields[3])
            if uid is not None and gid is not None:
                directory = fields[5] if len(fields) > 5 and fields[5].startswith("/") else "/"
                yield fields[0], uid, gid, directory


def _groups(group: bytes) -> "Iterator[tuple[str, int, list[str]]]":
    """(name, gid, members) of each line that is sound."""
    for fields in _lines(group):
        if len(fields) >= 3:
            gid = _id(fields[2])
            if gid is not None:
                yield fields[0], gid, fields[3].split(",") if len(fields) > 3 else []


def _lines(content: bytes) -> "Iterator[list[str]]":
    """The fields of each line that has a name: no comment, no NIS entry, no NUL."""
    for line in content.split(b"\n"):
        line = line.strip()
        if line and line[:1] not in (b"#", b"+", b"-", b":") and b"\0" not in line:
            yield os.fsdecode(line).split(":")


def _id(text: str) -> "int | None":
    """The id in a file; None if it is none, which spoils the line: others have read 0 there."""
    if not 0 < len(text) <= 10 or text.strip("0123456789") or int(text) > MAX_ID:
        return None
    return int(text)


def _read(root: "int | Files | View", path: str) -> bytes:
    closed = "the root file system is closed to this user: chmod a+rx, or start as who may enter it"
    with step("read %s of the container" % path, hints={abi.EACCES: closed}):
        try:
            return paths.read_file(root, path, LIMIT) if isinstance(root, int) else root.read(path, LIMIT)
        except OSError as error:
            if error.errno not in (abi.ENOENT, abi.ENOTDIR):
                raise
            return b""
