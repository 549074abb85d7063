"""systemd as it is asked: of the system or of the user, by D-Bus; and the names of its units.

Sources: org.freedesktop.systemd1(5), systemd.unit(5), systemd.slice(5)

Side: host
"""

import os

from . import dbus, idtables
from .errors import ContainerError, printable

NAME = "org.freedesktop.systemd1"
OBJECT = "/org/freedesktop/systemd1"
MANAGER = NAME + ".Manager"
_NO_UNIT, EXISTS = NAME + ".NoSuchUnit", NAME + ".UnitExists"
# of a unit's name (systemd.unit(5)); the backslash starts what systemd-escape(1) has escaped
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.-\\")
_FIX = "start the container on a host with systemd as process 1, or without --systemd-cgroup"


# --- names ----------------------------------------------------------------------------------------


def place(path: str) -> "tuple[str, str]":
    """The slice ("" for the usual one) and the unit of cgroupsPath, "slice:prefix:name" as runc has it.

    Raises ContainerError.
    """
    parts = path.split(":")
    doing = "place the cgroup %s" % printable(path)
    if len(parts) != 3 or not parts[2]:
        hint = "with --systemd-cgroup it is such as system.slice:minictr:NAME"
        raise ContainerError(doing, "cgroupsPath has not the form slice:prefix:name", 0, hint)
    if parts[2].endswith(".slice"):
        raise ContainerError(doing, "a container is a scope, and %s a slice" % printable(parts[2]))
    name = "-".join(part for part in parts[1:] if part)
    unit = "".join([char if char in _LETTERS else "\\x%02x" % byte for char, byte in _bytes(name)])
    unit += ".scope"
    if len(unit) > 255:
        raise ContainerError(doing, "the unit's name has more than 255 characters")
    if parts[0]:
        expand(parts[0])
    return parts[0], unit


def _bytes(name: str) -> "list[tuple[str, int]]":
    return [(chr(byte), byte) for byte in os.fsencode(name)]


def expand(name: str) -> str:
    """The path of a slice: "/a.slice/a-b.slice" for "a-b.slice", "" for the root "-.slice"."""
    stem = name[: -len(".slice")]
    plain = all(char in _LETTERS for char in stem) and all(stem.split("-"))
    if not name.endswith(".slice") or not (plain or stem == "-") or len(name) > 255:
        raise ContainerError("place the cgroup in %s" % printable(name), "it is no name of a slice")
    words = stem.split("-") if plain else []
    return "".join(["/" + "-".join(words[: count + 1]) + ".slice" for count in range(len(words))])


def is_user() -> bool:
    """Whether the user's own manager is asked. Root of a user namespace has a host's systemd, whose root
    is nobody in there (podman without root), or one of its own (a container with a whole system)."""
    if os.geteuid() or idtables.initial():
        return os.geteuid() != 0
    try:
        return os.stat("/run/systemd/private").st_uid != 0
    except OSError:
        return True


def _user_fix() -> str:
    """By the number that the user has around a user namespace that is the user's own, as podman's."""
    uid = idtables.on_host(idtables.read("uid_map"), os.geteuid())
    linger = "log in as this user, or: loginctl enable-linger %d; and have XDG_RUNTIME_DIR=/run/user/%d"
    return linger % (uid, uid)


# --- systemd as it is asked -----------------------------------------------------------------------


class Manager:
    """systemd, of the system or of the user. version: 252; top: the path of its own cgroup

    Raises ContainerError where there is none.
    """

    def __init__(self, user: bool) -> None:
        self.user = user
        self.bus = self._connect()
        # each Get is one more way there and back: 0.2 ms
        digits = self.get("Version").lstrip("v")
        count = len(digits) - len(digits.lstrip("0123456789"))
        self.version = int(digits[: min(count, 9)] or 0)  # int() refuses thousands of them

    def _connect(self) -> dbus.Connection:
        error = None
        for address, direct in dbus.candidates(self.user):
            try:
                bus = dbus.Connection(address, direct)
            except dbus.Unreachable as refused:
                error = error or refused
                continue
            if self._is_there(bus):
                return bus
            bus.close()
        whose = "the user's systemd" if self.user else "systemd"
        why = "there is no bus to it" + (": %s: %s" % (error.doing, error.why) if error else "")
        raise Missing("ask %s" % whose, why, error.number if error else 0, _user_fix() if self.user else _FIX)

    def _is_there(self, bus: dbus.Connection) -> bool:
        """A bus without systemd on it, as dbus-run-session makes one, is not the one."""
        if bus.direct:
            return True
        to = "org.freedesktop.DBus"
        return bus.call(
            "look for systemd", "/org/freedesktop/DBus", to, "NameHasOwner", "s", (NAME,), to
        ) == [True]

    def close(self) -> None:
        self.bus.close()

    def get(self, name: str) -> str:
        """A property of the manager that is a text."""
        doing = "ask systemd for its " + name
        asked = (doing, OBJECT, "org.freedesktop.DBus.Properties", "Get", "ss", (MANAGER, name), NAME)
        answer = self.bus.call_for_message(*asked)
        kind, text = self.bus.values(answer)[0] if answer.signature == "v" else ("", "")
        if kind != "s":
            raise ContainerError(doing, "it answers with no text")
        return text

    def _call(self, doing: str, method: str, signature: str, values: "tuple") -> "list":
        return self.bus.call(doing, OBJECT, MANAGER, method, signature, values, NAME)

    def start(self, unit: str, properties: "list[tuple]") -> None:
        """Start a transient unit, and wait until it has started."""
        doing = "start the unit %s" % unit
        self._wait(doing, unit, "StartTransientUnit", "ssa(sv)a(sa(sv))", (unit, "replace", properties, []))

    def stop(self, unit: str) -> None:
        """Stop a unit and forget it. One that is gone is no error."""
        try:
            self._wait("stop the unit %s" % unit, unit, "StopUnit", "ss", (unit, "replace"))
        except dbus.Refused as error:
            if error.name != _NO_UNIT:
                raise
        self.forget(unit)

    def forget(self, unit: str) -> None:
        """That it failed, if it did."""
        try:
            self._call("forget the unit %s" % unit, "ResetFailedUnit", "s", (unit,))
        except dbus.Refused as error:
            if error.name != _NO_UNIT:
                raise

    def _wait(self, doing: str, unit: str, method: str, signature: str, values: "tuple") -> None:
        """Call a method that makes a job, and wait until that is done."""
        self.bus.match(
            "type='signal',sender='%s',path='%s',interface='%s',member='JobRemoved',arg2='%s'"
            % (NAME, OBJECT, MANAGER, unit)
        )
        answer = self.bus.call_for_message(doing, OBJECT, MANAGER, method, signature, values, NAME)
        if answer.signature != "o":
            raise ContainerError(doing, "systemd answers with no job")
        job = self.bus.values(answer)[0]
        result = self.bus.signal(MANAGER, "JobRemoved", "uoss", answer.sender, lambda said: said[1] == job)[3]
        if result != "done":
            raise ContainerError(doing, "its job ended with: %s" % printable(result))

    def set(self, unit: str, properties: "list[tuple]") -> None:
        """Change properties of a unit, until it is gone."""
        doing = "change the unit %s" % unit
        self._call(doing, "SetUnitProperties", "sba(sv)", (unit, True, properties))

    def attach(self, unit: str, path: str, pid: int) -> None:
        """Move a process to a unit. path: of the cgroup below that of the unit, "" for that itself"""
        doing = "move a process to the unit %s" % unit
        self._call(doing, "AttachProcessesToUnit", "ssau", (unit, path, [pid]))

    def check_numbers(self, doing: str) -> None:
        """A process is named by its number, and that must be the same to both of us."""
        if self.bus.pid == 0:
            why = "it is in another process namespace, where our processes have other numbers"
            raise ContainerError(doing, why, hint="start the container without --systemd-cgroup")


class Missing(ContainerError):
    """There is no systemd that could be asked. cause: "systemd" """

    def __init__(self, doing: str, why: str, number: int, hint: str) -> None:
        super().__init__(doing, why, number, hint, cause="systemd")
