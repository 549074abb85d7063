"""A container from its making to its end, as `run`, `create` and the library have it.

Every step says how it is undone before it acts, so that a failure, or a signal, leaves nothing
behind; what kill -9 leaves is cleared away by the next command that meets it (`orphans.sweep`).

Side: host
"""

import _signal  # `signal` imports enum: 3 ms

from . import abi, cgroup_making, clone, foreground, lifetime, paths, preparation, process, state
from . import unix as os
from .errors import ContainerError, Degradation, cleaning, step
from .first import STAGES
from .init import Handed
from .record import MYPY
from .spec import Spec, cgroup_path

if MYPY:
    from typing import Any  # noqa: F401

    from . import memory_watch, netdevices  # noqa: F401


class Undo:
    """What has to be undone, last first. `keep` forgets it all: the container lives on."""

    def __init__(self) -> None:
        self.steps = []  # type: list[tuple[str, object]]
        self.failed = False

    def push(self, name: str, function) -> None:
        self.steps.append((name, function))

    def keep(self) -> None:
        self.steps = []

    def run(self, report) -> None:
        while self.steps:
            name, function = self.steps.pop()
            try:
                function()  # type: ignore[operator]
            except (OSError, ContainerError, MemoryError, ImportError) as error:
                # the rest must be undone all the same
                self.failed = True
                report.error(cleaning("clean up: %s" % name, error))


class Container:
    """One container in the making. report: a report.Report; attend: who stands behind its program

    ending: once that has ended, its status; and as of oom.found where memory ran out
    """

    def __init__(self, spec: Spec, root_path: str, report, attend=process.attend) -> None:
        self.spec, self.root_path, self.report, self.attend = spec, root_path, report, attend
        self.ending = {}  # type: dict[str, object]
        self.undo = Undo()
        self.pid = self.started = 0
        self.created = state.now()
        self.group = None  # type: Any  # a cgroup_group.Group, once there is one
        self.held = None  # type: tuple[set[int], dict] | None
        self.opened = []  # type: list[int]
        self.devices = None  # type: netdevices.Moved | None
        self.resctrl, self.places = [], []  # type: list[str], list[str]
        self.watch = None  # type: memory_watch.Watch | None
        self.stages = STAGES
        self.overdue = False

    def run(self) -> int:
        """Make it, run the program, and wait unless detached. The exit status to leave with."""
        try:
            birth = self.make()
            status = self._stand_behind(birth)
        except ContainerError as error:
            raise self._blamed(error)
        finally:
            self.undo.run(self.report)
            self.leave()
        return status

    def create(self) -> int:
        """Make it, up to the point where only `start` is missing (runtime.md, "Create")."""
        try:
            self.bear("created")
            self._write_files()
            self.undo.push("take the files with its ids away", self._take_files)
            self._keep_devices()
            self.entry.leave(self.spec.remove)
            self.undo.keep()
            self.entry.close()
        except ContainerError as error:
            raise self._blamed(error)
        finally:
            self.undo.run(self.report)
            self.leave()
        return 0

    def _blamed(self, error: ContainerError) -> ContainerError:
        """ERROR, which says so where a limit of memory was too small to start in."""
        if self.group and self.group.oom_killed():
            error.why += " as memory ran out"
            error.hint = "a larger limit of memory"
        return error

    def leave(self) -> None:
        """The caller may be a program that goes on: its signals and descriptors are as they were."""
        if self.held is not None:
            foreground.give_back(self.held)
        if self.group:
            self.group.close()
        for descriptor in self.opened:
            os.close(descriptor)
        self.opened = []

    def make(self) -> clone.Birth:
        """All of it up to the running program."""
        birth = self.bear("running")
        process.let_go(self.spec.preserve_fds)
        foreground.pass_signals()
        self._write_files()  # before the word to go: where it fails the program must not have run
        try:
            birth.tell("go")
            birth.running()
            if self.plan.labels:
                process.confirm_labels(self.plan, birth, self.report.seen)
            self._keep_devices()
            if "poststart" in self.plan.hooks and self.held is not None:
                from . import living  # which `_while_it_is_made` has loaded

                with foreground.interruptible(self.held):  # it is not started before they have run
                    living.run_poststart(self.spec, birth.pid)
        except BaseException:
            self._take_files()
            raise
        return birth

    def bear(self, status: str) -> clone.Birth:
        """The container, whose first process waits for the word to go.

        status: what it is from then on: "running"; or "created", if that word comes from `start`,
            through the pipes of the state directory
        """
        self._decide()
        birth = self._start(status)
        if "netDevices" in self.plan.extras or "intelRdt" in self.plan.extras:
            from . import hardware  # only for those who ask for it

            hardware.give(self, birth)
        self._early_hooks(birth)
        process.send_filter(birth)  # after "enter", which is the next word that init waits for
        self._settle(birth, status)
        return birth

    def _decide(self) -> None:
        """The plan, the state directory, and what is known to be lost before anything is made."""
        _check_terminal(self.spec)
        if self.spec.pid_file or self.spec.id_file or self.spec.log_file or self.report.path:
            from . import outputs  # 0.3 ms, where there is something to write

            self.report.inside = outputs.reach(self.spec)
        process.check_descriptors(self.spec.preserve_fds, self.spec.listen_fds)
        self.held = foreground.hold_signals()
        os.umask(os.umask(0o077) & 0o077)  # what we make is ours to use
        self.root = state.open_root(self.root_path)
        self.opened.append(self.root)
        place = os.path.join(self.root_path, self.spec.identifier)
        self.plan = preparation.prepare(self.spec, place, starts=True)
        if self.spec.require:
            from . import isolation  # loaded with the option

            isolation.check(self.plan)
        if self.report.debug:
            from . import explain

            for line in explain.describe(self.plan, place):
                self.report.note("plan: " + line.strip())
        with foreground.undisturbed():
            self.entry = self._new_entry()
            self.undo.push("run the poststop hooks", self._poststop_hooks)
            self.undo.push("forget the container", self._forget)
        for record in self.plan.records:
            self.certain(record)

    def _start(self, status: str) -> clone.Birth:
        """The cgroup, and the first process in it."""
        cgroup_making.make(self)
        if self.group.kind == "none" and "pid" not in self.plan.namespaces:
            self.certain(_untraceable())
        proc = paths.open_proc()
        self.opened.append(proc)
        self.plan = process.check_seccomp(self.plan, self.certain)
        into = None if self.plan.joins else self.group.clone_into()
        joins = self.group.join_files() if into is None else ()
        start = self.entry.make_pipes() if status == "created" else ()
        handed = Handed(cgroup=joins, streams=_streams(self.spec, self.report.inside), start=start)
        mover = (lambda pid: cgroup_making.move(self, pid)) if self.group.mover() else None
        birth = clone.Birth(self.plan, proc, handed, into, self.report.seen, self.stages, mover=mover)
        self.opened += [birth.channel.incoming]
        self.undo.push("end the container", lambda: self._end(birth))
        birth.start()
        if self.spec.require and "user" in birth.lost:
            from . import isolation  # loaded with the option

            isolation.check_files(self.plan)
        if birth.maps is not None:
            process.give_pipes(handed.streams, self.plan, birth.maps.uids, birth.maps.gids)
        elif not self.plan.inner_user:
            process.give_pipes(handed.streams, self.plan)
        for descriptor in set(handed.streams + birth.handed.cgroup + start) - {0}:
            os.close(descriptor)
        self.pid, self.started = birth.pid, birth.started
        self.report.note("its first process is %d" % birth.pid)
        return birth

    def _settle(self, birth: clone.Birth, status: str) -> None:
        """What is known of it is written down, until it is ready; and then what is set from outside."""
        told = self._while_it_is_made(status)
        done = birth.until("ready", 2)
        self.places = done[1].split()
        if told != len(self.report.records) or self.places:
            self.entry.write(self.content(status))
        self.entry.publish()
        if status == "created":
            birth.tell("kept")
        process.ready_console(birth, self.spec.console_socket)
        if self.spec.pidfd_socket:
            process.send_pidfd(self.spec.pidfd_socket, birth.pid, b"standard")
        process.set_limits(birth.pid, self.plan, done)
        process.set_extras(birth.pid, self.plan, done)
        if status == "created":
            birth.until("kept")  # it does not end with us any more
        self.report.note("it is set up, and waits for the word to go")

    def _new_entry(self) -> state.Entry:
        """The state directory. An id that is taken may be that of a container nobody stands behind."""
        try:
            return state.create(self.root_path, self.root, self.spec.identifier)
        except ContainerError as error:
            if error.number != abi.EEXIST:
                raise
        from . import orphans  # not where the id is free

        orphans.sweep(self.root_path, self.root, self.report)
        return state.create(self.root_path, self.root, self.spec.identifier)

    def _keep_devices(self) -> None:
        if self.devices is not None:
            self.devices.close()
            self.devices = None

    def _while_it_is_made(self, status: str) -> int:
        """Our own work, done while init does its: 0.7 ms less until the program runs. How many steps
        down were known by then comes back."""
        told = len(self.report.records)
        self.entry.write(self.content(status))
        self.entry.save_config(self._remembered())
        from . import orphans  # now that there is time

        orphans.sweep(self.root_path, self.root, self.report)
        if "poststart" in self.plan.hooks or "poststop" in self.plan.hooks or self.spec.timeout:
            from . import living  # noqa: F401  # until the end there may be another version of it
        return told

    def _remembered(self) -> "dict[str, object]":
        """What config.json says. And for `lost`, should state.json be: of which boot it is; and where its
        cgroup is, which config.json does not say of one that systemd has made, or that is in a sub-tree of
        ours."""
        config, group = self.plan.spec.config, self.group
        told = cgroup_path(config.get("linux") or {}, self.spec.identifier, self.entry.path)
        known = {"boot": lifetime.boot()}  # type: dict[str, object]
        if group.parts and group.parts[0].path != told:
            known.update(cgroups=group.directories(), cgroup_parents=group.parents)
            known["systemd"] = group.noted()
        return dict(config, minictr=known)

    def _early_hooks(self, birth: clone.Birth) -> None:
        """prestart and createRuntime: the namespaces exist, the container's root is not entered."""
        early = self.plan.hooks.get("prestart", ()) + self.plan.hooks.get("createRuntime", ())
        if early:
            from . import hooks

            birth.until("built")
            self.entry.save(self.content("creating"))  # they may ask us for it
            hooks.run(early, self.spec.state("creating", birth.pid))
            birth.tell("enter")

    def _poststop_hooks(self) -> None:
        if "poststop" not in self.plan.hooks:
            return
        from . import living  # which `_while_it_is_made` has loaded, if it came so far

        living.run_poststop(self.spec, self.report)

    def _write_files(self) -> None:
        if self.spec.pid_file or self.spec.id_file:
            from . import outputs  # loaded by `_decide`

            outputs.write_files(self.spec, self.pid, self.report.inside)

    def _take_files(self) -> None:
        if self.spec.pid_file or self.spec.id_file:
            from . import outputs  # which has written them

            outputs.take_files(self.spec, self.report.inside)

    def _stand_behind(self, birth: clone.Birth) -> int:
        if self.spec.detach:
            self.undo.push("take the files with its ids away", self._take_files)
            self.entry.leave(self.spec.remove)  # from now on it lives without us
            self.undo.keep()
            self.entry.close()
            return 0
        if self.watch is None:
            status = self.attend(birth, self.spec.timeout, self.time_over)
        else:
            self.watch.until(self.spec.timeout, self.time_over)
            status = self.attend(birth, abs(self.watch.look(birth.pid)), self.watch.look)
        birth.pid = self.pid = 0
        self.ending = {"status": status}
        try:
            self.ending = self._ending(status)
        # the status that we leave with must not be lost, too; by a module of another version's it may be by
        # anything, where an upgrade was as quick as the start (foreground.settle)
        except Exception as error:
            self.report.error(cleaning("look whether memory ran out", error))
        if self.spec.keep:
            try:
                self.entry.leave(False)
                self.entry.save(dict(self.content("stopped"), exit=self.ending))
            except ContainerError as error:  # the status that we leave with must not be lost, too
                self.report.error(error)
            self.undo.keep()  # its cgroup stays, too: what it has used can still be asked for
        return status

    def _ending(self, status: int) -> "dict[str, object]":
        """How it ended. That memory ran out is said: the status alone may be that of any kill."""
        ending = {"status": status}  # type: dict[str, object]
        if self.watch is not None and self.watch.found:
            ending.update(self.watch.found)
        # one without a limit is asked only where something went wrong
        elif (status or self.plan.resources.get("memory")) and self.group.oom_killed():
            from . import oom

            ending.update(oom.found(self.group))
        if ending.get("oom"):
            from . import oom

            self.report.warn(ContainerError("", oom.line(ending)))
        return ending

    def time_over(self, pid: int) -> float:
        """Kill it, frozen or not; and where it does not end by that, what else is in it. As foreground.wait
        has it."""
        from . import living  # which `_while_it_is_made` has loaded

        foreground.send(pid, _signal.SIGKILL)
        if self.group.kind != "none":
            self.group.release()
        if self.overdue:
            living.kill_rest(self.content("running"))
        self.overdue = True
        return -living.PATIENT

    # --- steps ----------------------------------------------------------------------------

    def certain(self, record: Degradation) -> None:
        """A step down that is known before anything is done."""
        preparation.explain(record)
        if self.spec.refuses(record):
            raise record.as_error()
        self.report.seen(record)

    def _end(self, birth: clone.Birth) -> None:
        if birth.pid:
            foreground.send(birth.pid, _signal.SIGKILL)
            if self.group.frozen():  # by a hook, or whoever: on v1 it would not die
                self.group.release()
                if self.group.frozen() and self.group.kind == "v1":
                    why = "a cgroup above its own is frozen, so process %d has not ended yet" % birth.pid
                    raise ContainerError("", why)
            foreground.finish(birth.pid, 10)  # it may have much memory
            birth.pid = 0

    def _forget(self) -> None:
        """What could not be cleaned up stays noted down: nobody stands behind it, so the next command
        that meets it tries again."""
        try:
            if not self.undo.failed:
                self.entry.remove()
        finally:
            self.entry.close()

    def content(self, status: str) -> "dict[str, object]":
        """What state.json says."""
        return {
            "ociVersion": self.spec.config["ociVersion"],
            "id": self.spec.identifier,
            "status": status,
            "pid": self.pid,
            "bundle": self.spec.bundle,
            "rootfs": self.plan.root.path,
            "source": self.spec.source,
            "annotations": self.spec.config.get("annotations") or {},
            "created": self.created,
            "owner": os.geteuid(),
            "start_time": self.started if self.pid else 0,
            "boot": lifetime.boot(),
            "stop_signal": self.spec.stop_signal,
            "command": self.plan.args[0],
            "init": self.spec.init,
            "home": self.plan.spec.home,
            "own_pids": "pid" in self.plan.namespaces,
            "landlock": list(self.spec.landlock),
            "landlock_places": self.places,
            "cgroups": self.group.directories(),
            "cgroup_parents": self.group.parents,
            "systemd": self.group.noted(),
            "resctrl": self.resctrl,
            "degradations": [record.as_dict() for record in self.report.records],
        }


def _untraceable() -> Degradation:
    wanted, lost = "the end of every process", "what the first process leaves goes on, and cannot be found"
    why = "the container has neither a PID namespace nor a cgroup of its own"
    return Degradation("leftovers", "pid namespace", wanted, "the first one's", lost, 0, why, "", "notice")


def _streams(spec: Spec, inside: "set[tuple[int, int]]") -> "tuple[int, ...]":
    """The standard streams that the container is born with, () for ours: not those of a detached
    one, but for a bundle's, whose engine has made them for it."""
    if not spec.log_file and not (spec.detach and spec.source != "bundle"):
        return ()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    output = null
    if spec.log_file:
        from . import outputs  # loaded by `_decide`

        with step("open the log file %s" % spec.log_file, hints=outputs.FOREIGN):
            output = outputs.open_output(spec.log_file, os.O_CREAT | os.O_APPEND, 0o640, inside)
    return (null if spec.detach else 0, output, output)


def _check_terminal(spec: Spec) -> None:
    terminal = (spec.config.get("process") or {}).get("terminal")
    if bool(terminal and spec.detach) == bool(spec.console_socket):
        return
    why = "a detached container with a terminal, and no other, hands it to a console socket"
    hint = "--console-socket PATH with --detach and a terminal"
    if spec.source != "bundle":
        why = "with --detach nobody is left to pass on what is typed and shown"
        hint = "leave --tty out: exec --tty gives a terminal in the running container"
    raise ContainerError("make a terminal", why, hint=hint)
