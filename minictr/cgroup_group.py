"""What the groups of both versions have in common: directories, processes, and how settings are written.

Side: host
"""

from . import abi, cgroup_files, paths
from . import unix as os
from .cgroup_files import GONE, PATIENCE, Part
from .cgroup_settings import CONTROLLERS, LOSSES, Setting, ignored
from .errors import ContainerError, Degradation


class Group:
    """kind: "v1", "v2" or "none"
    parents: directories above ours that `create` made, the outer ones first
    """

    kind = ""

    def __init__(self, parts: "list[Part]") -> None:
        self.parts, self.parents = parts, []  # type: list[Part], list[str]

    def directories(self) -> "list[str]":
        """Those of the group, whether they exist or not."""
        return [part.directory for part in self.parts]

    def close(self) -> None:
        """Close the descriptors. The group stays usable, and opens them again by name."""
        for part in self.parts:
            part.close()

    # --- what the versions fill in

    def create(self) -> "list[Degradation]":
        """Make the directories. Raises ContainerError if none can be had, or processes run in one: what
        was made until then is for `remove`."""
        raise NotImplementedError

    def apply(self, resources: "dict") -> "list[Degradation]":
        """Set `linux.resources` for a container that is to start: what it names, and the devices."""
        raise NotImplementedError

    def update(self, resources: "dict") -> "list[Degradation]":
        """Change what RESOURCES names for a container that runs. Its devices stay as they are."""
        raise NotImplementedError

    def lacks(self, resources: "dict") -> "dict[str, str]":
        """The groups of limits in RESOURCES that cannot be set, each with the controller that is missing."""
        found = {}
        for name in CONTROLLERS:
            for controller in self._controllers(name, resources.get(name) or {}):
                if not self.has(controller):
                    found[name] = controller
        return found

    def _controllers(self, name: str, wanted: "dict") -> "list[str]":
        """Those that a group of limits takes."""
        if name != "cpu":
            return [CONTROLLERS[name][self.kind == "v2"]] if wanted else []
        sets = [word for word in ("cpus", "mems") if wanted.get(word)]
        return (["cpuset"] if sets else []) + (["cpu"] if len(wanted) > len(sets) else [])

    def has(self, controller: str) -> bool:
        """Whether the files of CONTROLLER are here."""
        raise NotImplementedError

    def lacking(self, name: str, controller: str) -> Degradation:
        """The record for what `lacks` has found."""
        why, fix = self.missing(Setting(controller, controller + ".", ""))
        wanted = "limits for " + name
        return Degradation("cgroup-controllers", "cgroup", wanted, "none", LOSSES[name], 0, why, fix)

    def convert(self, resources: "dict") -> "tuple[list[Degradation], list[Setting]]":
        """What RESOURCES means in files, and records of what means nothing here. Devices are left out."""
        raise NotImplementedError

    def set_devices(self, rules: "list[dict] | None") -> "list[Degradation]":
        """Enforce RULES, `linux.resources.devices`, and those that every container has."""
        raise NotImplementedError

    def prepare_for(self, settings: "list[Setting]") -> None:
        """Make the files for SETTINGS, in a directory that was made by others."""

    def noted(self) -> "dict[str, object] | None":
        """What state.json keeps of it beside its directories."""
        return None

    def mover(self):
        """Who moves the first process to here, where it cannot join by itself: see cgroup_systemd."""
        return None

    def join_files(self) -> "tuple[int, ...]":
        """Descriptors, for the caller to close; a process that writes "0" into each has joined."""
        raise NotImplementedError

    def beside(self, pid: int) -> str:
        """Where below it a further process goes, whose first is PID; "" where it takes that itself."""
        return ""

    def frozen_beside(self, pid: int) -> bool:
        """Whether that place is one that something inside has frozen: nobody would come out of it."""
        place = self.beside(pid)
        events = paths.read_text(self.parts[0].directory + place + "/cgroup.events") if place else ""
        return "frozen 1" in events

    def join_else(self, pid: int) -> int:
        """A descriptor of the same kind for where a further process gets in if the group itself takes none;
        pid: the container's first process. -1 where that cannot be."""
        return -1

    def clone_into(self) -> "int | None":
        """A descriptor of ours for clone3(2), None where there is no such way in."""
        return None

    def freeze(self, patience: float = PATIENCE) -> None:
        """Stop every process. Raises ContainerError, everything being thawed again, if that fails."""
        directory = self.descriptor("freezer")
        try:
            stopped = self._stop(directory, patience)
        except OSError as error:
            raise self._not_frozen("", error.errno or 0) from error
        if not stopped:
            why = "some of its processes do not stop within %g seconds" % patience
            raise self._not_frozen(why, abi.EBUSY)

    def _stop(self, directory: int, patience: float) -> bool:
        """Whether all of them have stopped before PATIENCE seconds are over.

        directory: where the file for that is, as of `descriptor`
        """
        raise NotImplementedError

    def thaw(self) -> None:
        raise NotImplementedError

    def release(self) -> None:
        """Let die what was killed: as `thaw`, and on v1, where a frozen process does not even die, for the
        cgroups below as well."""
        self.thaw()

    def _thaw(self, directory: int, name: str, word: str) -> None:
        try:
            if directory >= 0:
                cgroup_files.write(directory, name, word)
        except OSError as error:
            if error.errno not in GONE:
                raise ContainerError("thaw the container", "", error.errno or 0) from error

    def _not_frozen(self, why: str, number: int) -> ContainerError:
        """Everything being thawed again: what is told to have failed has not been done."""
        try:
            self.thaw()
        except (OSError, ContainerError):  # by the same, say, which is what is told
            pass
        return ContainerError("freeze the container", why, number)

    def frozen(self) -> bool:
        raise NotImplementedError

    def stats(self) -> "dict[str, object]":
        """What `events --stats` of runc has as `data`."""
        raise NotImplementedError

    def oom_killed(self) -> bool:
        """Whether the kernel has killed a process of the group for want of memory."""
        return self.oom_kills() > 0

    def oom_kills(self) -> int:
        """How many of them; 0 where that is not counted."""
        raise NotImplementedError

    def oom_alarm(self):
        """A cgroup_alarm.Alarm that rings when memory runs out, None where there is none."""
        return None

    def refuse_in_use(self, memory: "dict") -> None:
        """Raise ContainerError if a new limit is below what cannot be given back: where the kernel does not
        say so itself, but kills."""

    def _main(self) -> "Part | None":
        """The directory that is asked for the processes; None if `create` has failed."""
        return self.parts[0] if self.parts else None

    def descriptor(self, controller: str) -> int:
        """A descriptor of where the files of CONTROLLER are, -1 if there is no such place."""
        try:
            return self.parts[0].open() if self.parts else -1
        except OSError as error:
            if error.errno in GONE:
                return -1
            raise

    def missing(self, setting: Setting) -> "tuple[str, str]":
        """Why there is no file for SETTING, and what helps."""
        raise NotImplementedError

    # --- processes

    def pids(self) -> "list[int]":
        part = self._main()
        return cgroup_files.pids(part) if part else []

    def signal(self, number: int) -> int:
        """Send a signal to every process, none being born meanwhile; how many there were."""
        return len(self._signal_all(number))

    def _signal_all(self, number: int) -> "list[int]":
        frozen = self.frozen()
        try:
            self.freeze(1.0)
        except ContainerError:
            pass  # some are stuck, or there is no freezer: the caller sees whether any is left
        try:
            return cgroup_files.signal(self.pids(), number)
        finally:
            if number == 9:
                self.release()
            elif not frozen:
                self.thaw()

    def kill(self, patience: float = 10.0) -> bool:
        """Kill every process but ourselves. False if some are left after PATIENCE seconds.

        Many are frozen for it, or they would fork as fast as they are killed. What is dying already is
        not frozen once more, as it would not die meanwhile.
        """
        dying, me = set(), os.getpid()  # type: set[int], int
        for turn, _ in enumerate(cgroup_files.waits(patience)):
            found = set(self.pids()) - {me}
            if not found:
                return True
            if turn == 4:
                self.release()  # one below may be frozen
            if turn % 32 == 31:
                dying.clear()  # a number may be that of another process by now
            if not found <= dying:
                frozen = turn or len(found) > 16 or self.frozen()
                dying.update(self._signal_all(9) if frozen else cgroup_files.signal(list(found), 9))
        return False

    # --- directories

    def _make(self, part: Part) -> bool:
        """Make one directory; False if it was there, with nobody in it. Raises OSError."""
        for _ in range(10):  # a parent that is empty may be removed by who made it before we are in it
            try:
                os.mkdir(part.directory, 0o755)
                return True
            except OSError as error:
                if error.errno == abi.EEXIST:
                    if not os.access(part.directory, os.W_OK):  # another user's; mkdir(2) says EEXIST first
                        raise OSError(abi.EACCES, os.strerror(abi.EACCES), part.directory) from None
                    cgroup_files.refuse_tenants(part)
                    return False
                if error.errno not in GONE:
                    raise
            self._prepare(part)
        raise OSError(abi.ENOENT, os.strerror(abi.ENOENT), part.directory)

    def missing_parents(self) -> "list[str]":
        """The directories above ours that `create` will have to make, the outer ones first: to be noted down
        before that, too."""
        found = []
        for part in self.parts:
            names = part.path.split("/")[1:-1]
            places = [part.mount + "/" + "/".join(names[: end + 1]) for end in range(len(names))]
            found += [place for place in places if not os.path.isdir(place)]
        return found

    def _prepare(self, part: Part) -> None:
        """Make what has to be above it."""
        self._make_parents(part)

    def _make_parents(self, part: Part) -> None:
        directory = part.mount
        for name in part.path.split("/")[1:-1]:
            directory += "/" + name
            self.parents.append(directory)
            try:
                os.mkdir(directory, 0o755)
                cgroup_files.mark(directory)
            except OSError as error:
                self.parents.pop()
                if error.errno not in GONE and error.errno != abi.EEXIST:
                    raise

    def remove(self, patience: float = PATIENCE) -> None:
        """Remove the directories with those that the container made in them, and parents that we made, or
        other containers that have ended before.

        Raises ContainerError if processes are left in one after PATIENCE seconds; for one that cannot
        be removed, after the others.
        """
        busy, failed = self.parts, []  # type: list[Part], list[ContainerError]
        for _ in cgroup_files.waits(patience):
            busy = [part for part in busy if not self._remove_part(part, failed)]
            if not busy:
                break
        for directory in reversed(self.parents):
            try:
                os.rmdir(directory)
            except OSError as error:
                if error.errno not in (abi.ENOENT, abi.EBUSY, abi.ENOTEMPTY):
                    raise
        for part in self.parts:
            cgroup_files.remove_marked(part)
        if busy:
            left = ", ".join(map(str, cgroup_files.pids(busy[0])))
            why = "processes are left in it: " + left if left else ""
            raise ContainerError("remove the cgroup %s" % busy[0].directory, why, abi.EBUSY)
        if failed:
            raise failed[0]
        self.close()

    def _remove_part(self, part: Part, failed: "list[ContainerError]") -> bool:
        """False if processes are still in it."""
        try:
            return cgroup_files.remove(part)
        except ContainerError as error:
            failed.append(error)
            return True

    # --- settings

    def set_resources(self, resources: "dict") -> "list[Degradation]":
        """What `apply` and `update` have in common: all but the devices."""
        records, settings = self.convert(resources)
        return records + self.settle(settings)

    def settle(self, settings: "list[Setting]") -> "list[Degradation]":
        """Write all of them. What the kernel refuses is tried again after the others: a value may be
        valid only beside the new one of another, as a limit of memory and one of memory with swap."""
        records = []
        while settings:
            refused = []
            for setting in settings:
                try:
                    record = self._set(setting)
                except OSError as error:
                    if error.errno not in (abi.EINVAL, abi.EBUSY):
                        raise self._refused(setting, error) from error
                    refused.append((setting, error))
                    continue
                if record:
                    records.append(record)
            if len(refused) == len(settings):
                raise self._refused(*refused[0]) from refused[0][1]
            settings = [setting for setting, _ in refused]
        return records

    def _set(self, setting: Setting) -> "Degradation | None":
        directory = self.descriptor(setting.controller)
        for name in setting.names if directory >= 0 else ():
            try:
                cgroup_files.write(directory, name, setting.value)
                return None
            except OSError as error:
                if error.errno != abi.ENOENT:
                    raise
        if setting.lost is None:
            raise OSError(abi.ENOENT, os.strerror(abi.ENOENT), setting.names[0])
        return ignored(setting.names[0], setting.value, setting.lost) if setting.lost else None

    def _refused(self, setting: Setting, error: OSError) -> ContainerError:
        from . import cgroup_refusal  # only where something was refused

        absent = self.missing(setting) if error.errno == abi.ENOENT else ("", "")
        return cgroup_refusal.explain(setting, error, self.descriptor(setting.controller), absent)

    def read(self, controller: str, name: str) -> str:
        """The text of a file, "" where it does not exist."""
        try:
            directory = self.descriptor(controller)
            return cgroup_files.read(directory, name) if directory >= 0 else ""
        except OSError as error:
            if error.errno in GONE or error.errno == abi.EOPNOTSUPP:
                return ""
            raise
