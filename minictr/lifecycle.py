"""The verbs: a container from its making to its end.

Every step says how it is undone before it acts, so that a failure, or a signal, leaves nothing
behind; what kill -9 leaves is cleared away by the next command that meets it (`sweep`).

Side: host
"""

import os
import sys

import _signal  # `signal` imports enum: 3 ms

from . import abi, cgroup, clone, foreground, host, libc, paths, plan, state
from .errors import ContainerError, Degradation, from_os, step
from .init import Handed
from .spec import Spec


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
            except (OSError, ContainerError) as error:
                # the rest must be undone all the same
                self.failed = True
                report.error(cleaning("clean up: %s" % name, error))


def cleaning(doing: str, error: "OSError | ContainerError") -> ContainerError:
    """ERROR, which a piece of cleaning up has failed by."""
    return from_os(doing, error) if isinstance(error, OSError) else ContainerError(doing, str(error), error.number)


class Container:
    """One container in the making. report: a report.Report"""

    def __init__(self, spec: Spec, root_path: str, report) -> None:
        self.spec, self.root_path, self.report = spec, root_path, report
        self.undo = Undo()
        self.pid = 0
        self.created = state.now()
        self.group = cgroup.none("not made yet")
        self.held = None  # type: tuple[set[int], dict] | None
        self.opened = []  # type: list[int]

    def run(self) -> int:
        """Make it, run the program, and wait unless detached. The exit status to leave with."""
        try:
            birth = self.make()
            status = self._stand_behind(birth)
        finally:
            self.undo.run(self.report)
            self._leave()
        return status

    def create(self) -> int:
        """Make it, up to the point where only `start` is missing (runtime.md, "Create")."""
        try:
            self.bear("created")
            self._write_pid_file()
            self.entry.set_foreground(False)
            self.undo.keep()
            self.entry.close()
        finally:
            self.undo.run(self.report)
            self._leave()
        return 0

    def _leave(self) -> None:
        """The caller may be a program that goes on: its signals and descriptors are as they were."""
        if self.held is not None:
            foreground.give_back(self.held)
        self.group.close()
        for descriptor in self.opened:
            os.close(descriptor)
        self.opened = []

    def make(self) -> clone.Birth:
        """All of it up to the running program."""
        birth = self.bear("running")
        foreground.pass_signals()
        self._write_pid_file()  # before the word to go: where it fails the program must not have run
        try:
            birth.tell("go")
            birth.running()
        except ContainerError:
            if self.spec.pid_file:
                os.unlink(self.spec.pid_file)
            raise
        run_late(self.spec, "poststart", "running", birth.pid, self.report)
        return birth

    def bear(self, status: str) -> clone.Birth:
        """The container, whose first process waits for the word to go.

        status: what it is from then on: "running"; or "created", if that word comes from `start`,
            through the pipes of the state directory
        """
        _check_terminal(self.spec)
        _check_descriptors(self.spec.preserve_fds)
        self.held = foreground.hold_signals()
        self.root = state.open_root(self.root_path)
        self.opened.append(self.root)
        self.plan = prepare(self.spec, os.path.join(self.root_path, self.spec.identifier))
        self.entry = self._new_entry()
        self.undo.push("run the poststop hooks", self._late_hooks)
        self.undo.push("forget the container", self._forget)
        for record in self.plan.records:
            self._certain(record)
        self._make_cgroup()
        proc = paths.open_proc()
        self.opened.append(proc)
        seccomp = compile_filter(self.plan, self._certain)
        into = None if self.plan.joins else self.group.clone_into()
        joins = self.group.join_files() if into is None else ()
        start = self.entry.make_pipes() if status == "created" else ()
        handed = Handed(cgroup=joins, streams=_streams(self.spec), seccomp=seccomp, start=start)
        birth = clone.Birth(self.plan, proc, handed, into, self.report.seen)
        self.opened += [birth.channel.incoming]
        self.undo.push("end the container", lambda: self._end(birth))
        birth.start()
        for descriptor in set(handed.streams + handed.cgroup + start) - {0}:
            os.close(descriptor)
        self.pid = birth.pid
        self._early_hooks(birth)
        told = self._while_it_is_made(status)
        birth.until("ready")
        if told != len(self.report.records):
            self.entry.write(self._content(status))
        self.entry.publish()
        if self.spec.console_socket and birth.console >= 0:
            send_console(self.spec.console_socket, birth.console)
        set_limits(birth.pid, self.plan)
        return birth

    def _new_entry(self) -> state.Entry:
        """The state directory. An id that is taken may be that of a container nobody stands behind."""
        try:
            return state.create(self.root_path, self.root, self.spec.identifier)
        except ContainerError as error:
            if error.number != abi.EEXIST:
                raise
        sweep(self.root_path, self.root, self.report)
        return state.create(self.root_path, self.root, self.spec.identifier)

    def _while_it_is_made(self, status: str) -> int:
        """Our own work, done while init does its: 0.7 ms less until the program runs. How many steps
        down were known by then comes back."""
        told = len(self.report.records)
        self.entry.write(self._content(status))
        self.entry.save_config(self.plan.spec.config)
        sweep(self.root_path, self.root, self.report)
        return told

    def _early_hooks(self, birth: clone.Birth) -> None:
        """prestart and createRuntime: the namespaces exist, the container's root is not entered."""
        early = self.plan.hooks.get("prestart", ()) + self.plan.hooks.get("createRuntime", ())
        if early:
            from . import hooks

            birth.until("built")
            hooks.run(early, hooks.told(self.spec, "creating", birth.pid))
            birth.tell("enter")

    def _late_hooks(self) -> None:
        run_late(self.spec, "poststop", "stopped", 0, self.report)

    def _write_pid_file(self) -> None:
        if self.spec.pid_file:
            write_pid_file(self.spec.pid_file, self.pid)

    def _stand_behind(self, birth: clone.Birth) -> int:
        if self.spec.detach:
            self.entry.set_foreground(False)  # from now on it lives without us
            self.undo.keep()
            self.entry.close()
            return 0
        status = attend(birth, self.spec.timeout, self._time_over)
        birth.pid = self.pid = 0
        if self.spec.keep:
            self.entry.set_foreground(False)
            self.entry.save(self._content("stopped"))
            self.undo.keep()
            self.group.remove()
        return status

    def _time_over(self, pid: int) -> None:
        foreground.send(pid, _signal.SIGKILL)
        if self.group.frozen():
            self.group.thaw()

    # --- steps ----------------------------------------------------------------------------

    def _certain(self, record: Degradation) -> None:
        """A step down that is known before anything is done."""
        explain(record)
        refused = self.spec.strict or self.spec.degrade == "refuse"
        if refused and record.level != "notice":
            raise record.as_error()
        self.report.seen(record)

    def _make_cgroup(self) -> None:
        """The cgroup, its limits, and the descriptors by which the container joins it."""
        if not self.plan.cgroup_path:
            self.group = cgroup.none("--cgroups disabled")
        else:
            self.group = cgroup.open(cgroup.layout(), self.plan.cgroup_path)
            self.undo.push("remove the cgroup", lambda: self._remove_group())
        if self.plan.cgroup_path and self.plan.cgroup_path != plan.cgroup_of(self.spec.identifier):
            self.entry.save(self._content("creating"))  # so that who finds what is left of us knows where to look
        try:
            records = self.group.create()
        except ContainerError as error:
            if error.number not in (1, 13, 30):  # EPERM, EACCES, EROFS: not ours to make
                raise
            records = [self._without_group(error)]
            self.group = cgroup.none(error.why, error.hint)
        for record in records + self.group.apply(self.plan.resources):
            inside = self.plan.inner_user or host.read_map("uid_map") != host.FULL_MAP
            if record.code != "cgroup-devices" or not inside:  # in a user namespace no node can be made
                self._certain(record)

    def _without_group(self, error: ContainerError) -> Degradation:
        """Nobody asked for a limit: a notice will do. With `--cgroups enabled`, a warning."""
        return Degradation(
            "cgroup-none", "cgroup", "one of its own", "none", "limits, and counting what it uses",
            error.number, error.why, error.hint, "warning" if self.spec.cgroups == "enabled" else "notice",
        )  # fmt: skip

    def _remove_group(self) -> None:
        self.group.close()  # it may have been one descriptor too many that ended the start
        self.group.kill()
        self.group.remove()

    def _end(self, birth: clone.Birth) -> None:
        if birth.pid:
            foreground.send(birth.pid, _signal.SIGKILL)
            os.waitpid(birth.pid, 0)
            birth.pid = 0

    def _forget(self) -> None:
        """What could not be cleaned up stays noted down: nobody stands behind it, so the next command
        that meets it tries again."""
        try:
            if not self.undo.failed:
                self.entry.remove()
        finally:
            self.entry.close()

    def _content(self, status: str) -> "dict[str, object]":
        """What state.json says."""
        return {
            "ociVersion": self.spec.config["ociVersion"],
            "id": self.spec.identifier,
            "status": status,
            "pid": self.pid,
            "bundle": self.spec.bundle,
            "annotations": self.spec.config.get("annotations") or {},
            "created": self.created,
            "owner": os.geteuid(),
            "start_time": state.start_time(self.pid) if self.pid else 0,
            "stop_signal": self.spec.stop_signal,
            "command": self.plan.args[0],
            "cgroups": self.group.directories(),
            "cgroup_parents": self.group.parents,
            "degradations": [record.as_dict() for record in self.report.records],
        }


def run_late(spec: Spec, name: str, status: str, pid: int, report) -> None:
    """poststart and poststop: where one fails the others run all the same (runtime.md, "Lifecycle")."""
    if not (spec.config.get("hooks") or {}).get(name):
        return
    from . import hooks

    found = hooks.parse(spec.config["hooks"])[name]
    hooks.run_all(found, hooks.told(spec, status, pid), report.warn)


def attend(birth: clone.Birth, timeout: float = 0, end=None) -> int:
    """Stand behind a process until it ends, its terminal relayed if it has one; its exit status.

    timeout: seconds until END is called with its process id, 0 for never
    """
    if birth.console < 0:
        return foreground.wait(birth.pid, timeout, end)
    from .terminal import Relay  # select, termios: 1 ms, only with a terminal

    return Relay(birth.console).run(birth.pid, timeout, end)


def set_limits(pid: int, made: plan.Plan) -> None:
    """From outside: there the capability to raise a hard limit may be held."""
    for resource, soft, hard in made.rlimits:
        with step("set %s" % abi.RLIMITS[resource], hints={1: "raising a hard limit takes CAP_SYS_RESOURCE"}):
            libc.prlimit(pid, resource, soft, hard)


def compile_filter(made: plan.Plan, degrade):
    """The compiled seccomp filter, None where none is asked for. degrade: takes a Degradation"""
    if made.seccomp is None:
        return None
    from . import seccomp  # 1 ms, with a profile only

    compiled = seccomp.compile(made.seccomp, abi.machine())
    if compiled.listener:
        degrade(_no_listener())
        compiled = compiled.without_listener()
    return compiled


def _no_listener() -> Degradation:
    return Degradation(
        "seccomp-notify", "seccomp", "SCMP_ACT_NOTIFY", "ENOSYS for the system calls it names",
        "what the listener would have done for them", 0, "not supported by this version",
    )  # fmt: skip


def explain(record: Degradation) -> None:
    """Add to RECORD what the host has to say of its cause."""
    if record.cause:
        from . import causes  # only where something was refused

        cause = causes.why(record.cause, record.errno, uid=os.geteuid())
        record.why, record.fix = record.why or cause.why, record.fix or cause.fix


def prepare(spec: Spec, stage: str) -> plan.Plan:
    """Look at the host and decide. Nothing is changed."""
    seen = host.probe(ranges=spec.userns not in ("host", "config") or _asks_helpers(spec))
    if spec.user or spec.groups or spec.source != "bundle":
        spec = with_user(spec)
    else:
        spec = with_home(spec)
    return plan.make(spec, seen, stage)


def _asks_helpers(spec: Spec) -> bool:
    """A configuration with maps that a user cannot write alone."""
    linux = spec.config.get("linux") or {}
    lines = [(line["hostID"], line["size"]) for line in linux.get("uidMappings") or ()]
    return bool(lines) and os.geteuid() != 0 and lines != [(os.geteuid(), 1)]


def with_user(spec: Spec) -> Spec:
    """SPEC with the user that the container's own files know, and that user's HOME."""
    from . import users  # not for a bundle

    root = _open_root(spec)
    try:
        found = users.lookup(root, spec.user, spec.groups)
    finally:
        os.close(root)
    process = dict(spec.config["process"])
    process["user"] = dict(process.get("user") or {}, uid=found.uid, gid=found.gid, additionalGids=list(found.groups))
    if not any(word.startswith("HOME=") for word in process["env"]):
        process["env"] = list(process["env"]) + ["HOME=" + found.home]
    return spec.replace(config=dict(spec.config, process=process))


def with_home(spec: Spec) -> Spec:
    """SPEC with a HOME, where a bundle names none: docker and containerd leave it to the runtime."""
    process = spec.config["process"]
    words = process.get("env") or []
    if any(word.startswith("HOME=") for word in words):
        return spec
    from . import users  # podman's bundles need none of it

    root = _open_root(spec)
    try:
        home = users.home(root, (process.get("user") or {}).get("uid", 0))
    finally:
        os.close(root)
    process = dict(process, env=list(words) + ["HOME=" + home])
    return spec.replace(config=dict(spec.config, process=process))


def _open_root(spec: Spec) -> int:
    path = os.path.join(spec.bundle, spec.config["root"]["path"])
    with step("open the root file system %s" % path):
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _streams(spec: Spec) -> "tuple[int, ...]":
    """The standard streams that the container is born with, () for ours: not those of a detached
    one, but for a bundle's, whose engine has made them for it."""
    if not spec.log_file and not (spec.detach and spec.source != "bundle"):
        return ()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    output = null
    if spec.log_file:
        with step("open the log file %s" % spec.log_file):
            output = os.open(spec.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    return (null if spec.detach else 0, output, output)


def _check_terminal(spec: Spec) -> None:
    terminal = (spec.config.get("process") or {}).get("terminal")
    if bool(terminal and spec.detach) != bool(spec.console_socket):
        why = "a detached container with a terminal, and no other, hands it to a console socket"
        raise ContainerError("make a terminal", why, hint="--console-socket PATH with --detach and a terminal")


def _check_descriptors(count: int) -> None:
    """What is passed on must be the caller's: ours, which close on exec, may have the same numbers."""
    for number in range(3, 3 + count):
        try:
            given = os.get_inheritable(number)
        except OSError:
            given = False
        if not given:
            raise ContainerError("--preserve-fds %d" % count, "descriptor %d is not open" % number)


def send_console(path: str, master: int) -> None:
    """Send the terminal's master to who listens on the socket PATH, as runc does (docs/terminals.md
    of runc: one SCM_RIGHTS message with the terminal's name)."""
    import _socket  # 0.2 ms, only for this

    with step("send the terminal to %s" % path):
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            sock.connect(path)
            sock.sendmsg([b"/dev/ptmx"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, master.to_bytes(4, sys.byteorder))])
        finally:
            sock.close()


def write_pid_file(path: str, pid: int) -> None:
    """Whole or not at all: who reads it early finds nothing, never half a number."""
    with step("write the pid file %s" % path):
        directory, name = os.path.split(path)
        temporary = os.path.join(directory, ".%s.%d" % (name, os.getpid()))
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.write(file, b"%d" % pid)
        os.close(file)
        os.replace(temporary, path)


def start(entry: state.Entry, content: "dict", report) -> None:
    """Tell the first process of a created container to go; on return the program runs.

    Raises ContainerError, the process's own words where it could not execute the program.
    """
    channel = entry.open_pipes()
    try:
        channel.say("go")
        clone.until_running(channel, content["command"])
    finally:
        channel.close()
    entry.remove_pipes()
    entry.save(dict(content, status="running"))
    run_late(remembered(entry, content), "poststart", "running", content["pid"], report)


def remembered(entry: state.Entry, content: "dict") -> Spec:
    """As much of a container's Spec as its state directory has kept."""
    return Spec(config=entry.load_config(), identifier=entry.identifier, bundle=content.get("bundle") or "/")


# --- what others left -------------------------------------------------------------------------


def sweep(root_path: str, root: int, report) -> None:
    """Clear away foreground containers whose runtime was killed."""
    for identifier in os.listdir(root):
        try:
            entry = state.find(root_path, root, identifier, wait=False)
        except ContainerError:
            continue  # not a name of ours
        if entry is None:
            continue
        try:
            if state.is_orphan(entry):
                destroy(entry, entry.load(), report)
                report.note("removed %s, whose runtime was killed" % identifier)
        except (OSError, ContainerError) as error:  # no reason for another container to fail
            report.error(cleaning("clear away container %s" % identifier, error))
        finally:
            entry.close()


def destroy(entry: state.Entry, content: "dict", report) -> None:
    """End what lives of a container, and forget it. The caller holds the lock.

    A cgroup is emptied only if it is known to be ours: a runtime killed before that was certain may
    have noted down one in which others live. Then it is removed if it is empty.
    """
    kill(content, _signal.SIGKILL)
    layout, directories = cgroup.layout(), content.get("cgroups")
    if directories:
        group = cgroup.reopen(layout, directories, content.get("cgroup_parents") or [])
    else:  # killed before anything was written
        group = cgroup.open(layout, plan.cgroup_of(entry.identifier))
    if content.get("status") in ("created", "running", "stopped"):
        group.kill()
    try:
        group.remove()
    except ContainerError:
        if content.get("status") in ("created", "running", "stopped"):
            raise
    known = None
    if entry.has_config():
        try:
            known = remembered(entry, content)
        except ContainerError as error:  # its hooks are lost; it must go all the same
            report.error(error)
    entry.remove()
    if known:
        run_late(known, "poststop", "stopped", 0, report)


def alive(content: "dict[str, object]") -> bool:
    """The container's first process runs, and is the one that was started."""
    pid, started = content.get("pid"), content.get("start_time")
    return bool(pid) and isinstance(pid, int) and state.start_time(pid) == started != 0


def group_of(content: "dict", layout: "cgroup.Layout | None" = None):
    """The container's cgroup, which does nothing where it has none."""
    directories, parents = content.get("cgroups") or [], content.get("cgroup_parents") or []
    return cgroup.reopen(layout or cgroup.layout(), directories, parents)


def frozen(content: "dict", layout: "cgroup.Layout | None" = None) -> bool:
    """Whether its processes are stopped by the freezer."""
    try:
        group = group_of(content, layout)
    except ContainerError:  # its file system is not mounted any more
        return False
    found = group.frozen()
    group.close()
    return found


def kill(content: "dict[str, object]", number: int) -> bool:
    """Signal the first process, by a descriptor where the kernel has them: its number may be
    another's a moment later. False if it is gone."""
    found = _signal_first(content, number)
    if number == _signal.SIGKILL and frozen(content):
        group_of(content).thaw()  # on v1 a frozen process does not even die
    return found


def _signal_first(content: "dict[str, object]", number: int) -> bool:
    pid = content.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        pidfd = libc.pidfd_open(pid)
    except OSError as error:
        if error.errno not in (1, 38):  # EPERM, ENOSYS: a filter, or before 5.3
            return False
        pidfd = -1
    try:
        if not alive(content):
            return False
        if pidfd < 0:
            os.kill(pid, number)
        else:
            libc.pidfd_send_signal(pidfd, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        if pidfd >= 0:
            os.close(pidfd)
