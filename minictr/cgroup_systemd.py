"""Cgroups by systemd: the container is a transient scope, and its cgroup that of the scope.

    group = cgroup_systemd.open(layout, "system.slice:docker:1234", ...)
    group.create(), group.apply(resources)    nothing but what is known beforehand: a scope needs a process
    group.mover()(pid)                        the scope, with this process in it; then the rest of the limits
    group.kill(), group.remove()              the end; the scope is stopped

systemd moves the process itself, and one that is moved stalls for 7 to 20 ms on a quiet machine, as the
kernel waits for every CPU to pass (see `cgroup`); nor can a process be born in a scope that does not exist
yet. What is moved is the middle process, which has nothing to lose, and init is born in its cgroup: so its
set-up, its fork and its exec run at full speed, and a user's container gets where the user may not write:
from a login session to below the user's manager.

Sources: org.freedesktop.systemd1(5), systemd.io/CONTROL_GROUP_INTERFACE, systemd.io/CGROUP_DELEGATION

Side: host
"""

from . import abi, cgroup, cgroup_files, dbus, paths, systemd, systemd_properties
from .cgroup_files import Part
from .cgroup_group import Group
from .errors import ContainerError, Degradation, printable
from .systemd import Missing

_MANAGED = frozenset(("cpu", "cpuacct", "blkio", "memory", "devices", "pids", "name=systemd"))  # of v1


class Unit:
    """A scope. What it has no say in is left to `group`: the V1 or V2 that lies where systemd has put it. It
    is of their family, and uses what they have for themselves.

    name: of the unit; slice: where it lies; user: of the user's manager
    started: it is ours, and stopped at the end; old: by another command
    first: the process id of the container, once it is old
    """

    def __init__(self, layout: cgroup.Layout, slice: str, name: str, user: bool) -> None:
        self.layout, self.slice, self.name, self.user = layout, slice, name, user
        self.group = cgroup.none("the unit %s is not started" % name)  # type: Group
        self.started = self.old = False
        self.first = 0
        self.above = self.group
        self.manager = None  # type: systemd.Manager | None
        self.description = ""
        self.resources = {}  # type: dict
        self.settings = []  # type: list
        self.extra = []  # type: list[tuple]

    def __getattr__(self, name: str):
        return getattr(self.group, name)

    @property
    def kind(self) -> str:
        return (self.group if self.started or self.old else self.above).kind

    def noted(self) -> "dict[str, object]":
        """What state.json keeps of it."""
        return {"unit": self.name, "user": self.user}

    def close(self) -> None:
        self.group.close()
        self.above.close()
        if self.manager:
            self.manager.close()
            self.manager = None

    def ask(self) -> systemd.Manager:
        """systemd. Raises ContainerError, Missing where there is none."""
        self.manager = self.manager or systemd.Manager(self.user)
        return self.manager

    # --- the start ----------------------------------------------------------------------------

    def apply(self, resources: "dict") -> "list[Degradation]":
        """What is known of the limits; they are set when the unit starts. Until then `create` makes only
        directories in hierarchies of v1 that systemd does not care for."""
        self.resources = resources
        records, self.settings = _group(self.layout, []).convert(resources)
        return records

    def lacks(self, resources: "dict") -> "dict[str, str]":
        """Before the start, told by what its manager has to hand down."""
        return (self.group if self.old else self.above).lacks(resources)

    def lacking(self, name: str, controller: str) -> Degradation:
        return (self.group if self.old else self.above).lacking(name, controller)

    def mover(self):
        """A function that moves the process of a number to here, and returns records; None where each
        process joins by itself."""
        if not self.old:
            return self._start
        return self._attach if self.user else None

    def _start(self, pid: int) -> "list[Degradation]":
        manager = self.ask()
        manager.check_numbers("start the unit %s" % self.name)
        if self.started:  # by a first try of ours, whose process has been killed
            manager.stop(self.name)
        properties, taken = self._properties(manager, pid), None
        for _ in cgroup_files.waits(0.5):
            try:
                self.started = True  # what interrupts us now may leave it running
                manager.start(self.name, properties)
                break
            except dbus.Refused as error:
                self.started, taken = False, error
                if error.name != systemd.EXISTS:
                    raise
            manager.forget(self.name)  # of a container that ended a moment ago, or has failed
        else:
            hint = "systemctl %sstop %s, or another id" % ("--user " if self.user else "", self.name)
            raise ContainerError(
                "start the unit %s" % self.name, "there is one already", abi.EEXIST, hint
            ) from taken
        self._find(pid)
        records = self._set_files()
        self.close()
        return records

    def _properties(self, manager: systemd.Manager, pid: int) -> "list[tuple]":
        v1 = bool(self.layout.hierarchies)
        found = [
            ("Description", ("s", self.description)),
            ("Slice", ("s", self.slice)),
            ("PIDs", ("au", [pid])),
            ("Delegate", ("b", True)),
            ("DefaultDependencies", ("b", False)),
            ("CollectMode", ("s", "inactive-or-failed")),  # nothing is left of it, not even a failure
        ]  # type: list[tuple]
        for name in ("CPU", "Memory", "Tasks", "BlockIO" if v1 else "IO"):
            found.append((name + "Accounting", ("b", True)))
        if v1 and not self.user:
            found += systemd_properties.of_devices(self.resources.get("devices"))
        return found + systemd_properties.of_settings(self.settings, manager.version, v1) + self.extra

    def _find(self, pid: int) -> None:
        """Where the process is now: that is where systemd was asked to put it, or the start ends."""
        own = cgroup_files.own(paths.read_text("/proc/%d/cgroup" % pid))
        rest, parents = self.group.parts, self.group.parents
        parts = []
        for mount, names in self.layout.hierarchies or ((self.layout.unified, ()),):
            path = own.get(names[0] if names else "", "")
            if path.endswith("/" + self.name) and mount + path not in [part.directory for part in rest]:
                parts.append(Part(mount, path, names))
        if not parts:
            where = printable(", ".join(sorted(set(own.values()))))
            raise ContainerError("start the unit %s" % self.name, "its process is in %s instead" % where)
        self.group = _group(self.layout, parts + rest)
        self.group.parents = parents

    def _set_files(self) -> "list[Degradation]":
        """systemd has no property for some, and does not say what the kernel refused of the others."""
        settings = self.group.convert(self.resources)[1]
        self.group.prepare_for(settings)
        return self.group.set_devices(self.resources.get("devices")) + self.group.settle(settings)

    # --- later --------------------------------------------------------------------------------

    def join_files(self) -> "tuple[int, ...]":
        return () if self.old and self.user else self.group.join_files()

    def join_else(self, pid: int) -> int:
        return -1 if self.old and self.user else self.group.join_else(pid)

    def _attach(self, pid: int) -> "list[Degradation]":
        """A further process. A user's may stand where it may not leave by itself."""
        manager = self.ask()
        manager.check_numbers("move a process to the unit %s" % self.name)
        manager.attach(self.name, self.group.beside(self.first), pid)
        self.close()
        return []

    def update(self, resources: "dict") -> "list[Degradation]":
        """The files first: what the kernel refuses, it gives a reason for. And last, exactly, what systemd
        has rounded. Before the start it is noted for it."""
        if not self.old:
            self.resources = dict(self.resources, **resources)
            records, settings = _group(self.layout, []).convert(resources)
            self.settings += settings
            return records
        settings = self.group.convert(resources)[1]
        records = self.group.update(resources)
        manager, v1 = self.ask(), bool(self.layout.hierarchies)
        properties = systemd_properties.of_settings(settings, manager.version, v1, self.group.read)
        if properties:
            manager.set(self.name, properties)
            self.group.settle(settings)
        self.close()
        return records

    def remove(self) -> None:
        """Stop the unit, and remove what systemd has left."""
        missing = None
        try:
            if self.started:
                self.ask().stop(self.name)
        except (Missing, dbus.Unreachable) as error:  # an empty cgroup may go all the same
            missing = error
        try:
            self.group.remove()
        except ContainerError as error:
            raise missing or error
        self.close()


def _group(layout: cgroup.Layout, parts: "list[Part]") -> Group:
    if layout.hierarchies:
        from .cgroup_v1 import V1

        return V1(parts)
    from .cgroup_v2 import V2

    found = V2(parts)
    found.fresh = True  # systemd's own program for devices stays
    return found


def open(  # noqa: A001
    layout: cgroup.Layout, path: str, identifier: str, annotations: "dict[str, str]"
) -> "tuple[Unit, list[Degradation]]":
    """The unit at PATH, as `place` takes it, which is not started yet; and records.

    Raises ContainerError; Missing where there is no systemd to be asked.
    """
    user = systemd.is_user()
    slice_, name = systemd.place(path)
    unit = Unit(layout, slice_ or ("user.slice" if user else "system.slice"), name, user)
    unit.description = "minictr container " + identifier
    if layout.kind == "none":
        from . import cgroup_absent  # as it says

        cause = cgroup_absent.unmounted(layout.mount_point)
        raise ContainerError("start the unit %s" % name, cause.why, hint=cause.fix)
    unit.extra, records = systemd_properties.of_annotations(annotations)
    top = unit.ask().get("ControlGroup").rstrip("/")
    if not layout.hierarchies:
        unit.above = _group(layout, [Part(layout.unified, top, ())])
    elif not user:
        unit.above = _group(layout, [Part(mount, "", names) for mount, names in layout.hierarchies])
        below = top + systemd.expand(unit.slice) + "/" + name
        parts = [
            Part(mount, below, names) for mount, names in layout.hierarchies if not _MANAGED & set(names)
        ]
        unit.group = _group(layout, parts)
    return unit, records


def reopen(layout: cgroup.Layout, content: "dict") -> Unit:
    """The unit of a container that an earlier command has started. content: what state.json says"""
    noted = content["systemd"]
    unit = Unit(layout, "", noted["unit"], bool(noted["user"]))
    unit.group = cgroup.reopen(layout, content.get("cgroups") or [], content.get("cgroup_parents") or [])
    unit.old, unit.first = True, content.get("pid") or 0
    # of one that was killed on the way the unit has ended with its process, and another may have the name
    unit.started = content.get("status") in ("created", "running", "stopped")
    return unit
