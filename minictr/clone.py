"""Making the container's processes: the runtime's side of the chart.

    runtime                         (middle)                        init
      |-- clone, all namespaces at once ----------------------------->|
      |<- - - - - lost namespaces found, tried again without - - - - -|
      | maps, oom score, idmapped trees                               |
      |-- placed ---------------------------------------------------->|

A middle process stands between only where the kernel asks for one: a PID or time namespace takes
effect for the children of the process that joined or made it; or where somebody else has to move a
process to the cgroup, systemd say. It gives its child to the runtime (CLONE_PARENT) and ends.

Side: both
"""

from . import abi, foreground, forks, init, libc, lifetime, maps, namespaces, paths, program
from . import unix as os
from .errors import ContainerError, Degradation, step
from .sync import Channel, degradation_from, error_from, garbled


class Birth:
    """A container's first process while it is made, as the runtime sees it.

    into: a cgroup of v2 that it is born in, None where it joins by handed.cgroup
    pid: its process id, once known; started: when, as lifetime.start_time says it, of a container's first one
    container: that of a container's first process which it joins
    score: its oom_score_adj, as it was born, where it has said that itself
    over: it ended before its time, and was waited for
    records: the steps down it reported
    seen: called with each Degradation as it arrives
    mover: called with the number of the middle process, which it moves to the cgroup; None: nobody is moved
    """

    def __init__(
        self, plan, proc: int, handed: init.Handed, into: "int | None", seen, stages, mover=None
    ) -> None:
        self.plan, self.proc, self.handed, self.into, self.seen = plan, proc, handed, into, seen
        self.stages, self.mover = stages, mover
        self.pid = 0
        self.container = 0
        self.over = False
        self.started = 0
        self.score = ""
        self.console = -1
        self.maps = plan.maps
        self.lost = {}  # type: dict[str, int]
        self._connect()

    def _connect(self) -> None:
        plan = self.plan
        carries = plan.terminal or plan.listener or bool(plan.idmapped(()))
        ours, theirs = libc.socketpair()
        self.channel = Channel(ours, carries=carries)
        self.peer = Channel(theirs, carries=carries)
        self.peer.most += len(plan.mounts)  # of the runtime's

    def start(self) -> None:
        """Make the process; on return it waits for nothing but `go`."""
        _load_for_child(self.plan)
        try:
            self._start()
        except maps.HalfWritten:  # and maps are written once: the next way takes another process
            self.maps = self.maps.otherwise
            if self.pid:
                os.kill(self.pid, 9)
                os.waitpid(self.pid, 0)
                self.pid = 0
            self.channel.close()
            self._connect()
            self._start()

    def _start(self) -> None:
        if self.handed.apart:
            from . import apart  # loaded by `execution`

            apart.start(self)
        elif self._joins_by_itself():
            from . import setns  # few join something

            setns.start(self)
        elif self.plan.joins or "time" in self.plan.namespaces or self.mover:
            from . import middle  # few need one

            middle.start(self)
            return
        else:
            self._start_directly()
            self.started = lifetime.start_time(self.pid)  # while /proc shows it: before it changes its ids
        self.place(self.pid)

    def _joins_by_itself(self) -> bool:
        kinds = [kind for kind, _ in self.plan.joins]
        return bool(kinds) and "pid" not in kinds and not self.plan.namespaces and not self.mover

    def until(self, word: str, fields: int = 0) -> "list[str]":
        """Wait for WORD with so many FIELDS, taking in warnings and descriptors; an error of the child is
        raised."""
        while True:
            said = self.channel.hear()
            if said is None:
                whose = "further process" if self.container else "container's first process"
                raise ContainerError("wait for the " + whose, self.ending())
            if said[0] == "warning":
                self.seen(self.explained(degradation_from(said[1:])))
            elif said[0] == "console":
                self.console = self.channel.descriptor()
                if not self.plan.spec.console_socket:
                    from . import console  # loaded for the child already

                    console.copy_size(self.console)  # before a program can ask for it
            elif said[0] == "listener":
                self.listen(self.channel.descriptor())
            elif said[0] == "error":
                raise self.explained(error_from(said[1:]))
            elif said[0] == word and len(said) == 1 + fields:
                return said[1:]
            elif said[0] == word:
                raise garbled(said)
            else:
                raise ContainerError("wait for %s" % word, "the other process said %s" % said[0])

    def listen(self, listener: int) -> None:
        """Give the descriptor on which the filter reports calls to the agent."""
        from . import notify

        status = "running" if self.container else "creating"
        told = self.plan.spec.state(status, self.container or self.pid)
        notify.send(self.plan.seccomp, told, self.pid, listener)

    def explained(self, said):
        """A Degradation or an error of the child's, with what the host has to say of its cause."""
        if said.cause:
            from . import causes  # only where something was refused

            number = getattr(said, "errno", 0) or getattr(said, "number", 0)
            facts = {"inside": self.plan.inner_user and "user" not in self.lost}  # type: dict[str, object]
            if said.cause != "userns":
                facts["users"] = self.lost.get("user", 0)
            if said.cause == "overlay" and self.plan.root.source != "host":
                facts["path"] = self.plan.root.path
            cause = causes.why(said.cause, number, **facts)
            said.why = said.why if said.why and not number else cause.why or said.why
            if isinstance(said, Degradation):
                said.fix = said.fix or cause.fix
            else:
                said.hint = said.hint or cause.fix
        return said

    def tell(self, word: str, *fields: object) -> None:
        try:
            self.channel.say(word, *fields)
        except BrokenPipeError:
            self.until("ready", 1)  # it is over, and its last words say why

    def running(self) -> None:
        """Wait until the program runs."""
        hooked = program.until_running(self.channel, self.plan.args[0])
        if "startContainer" in self.plan.hooks and not hooked:
            raise ContainerError("run the startContainer hooks", self.ending())
        # whoever waits for its end has that told by the status; the process 1 of --init executes nothing
        if self.plan.spec.detach and not self.plan.spec.init:
            if program.executed(self.pid, self.plan.args[0]) is False:
                raise ContainerError("start the program", self.ending())

    def ending(self) -> str:
        import time  # only here

        for _ in range(200 if self.pid else 0):  # its descriptors close a moment before it has ended
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid, self.over = 0, True
                if os.WIFSIGNALED(status):
                    return "it was killed by signal %d" % os.WTERMSIG(status)
                break
            time.sleep(0.005)
        return "it ended without a word"

    # --- directly -------------------------------------------------------------------------

    def _start_directly(self) -> None:
        try:
            self._fork(self.plan.namespaces)
        except OSError as error:
            if error.errno not in namespaces.REFUSED:
                raise ContainerError("make the namespaces", "", error.errno or 0, cause="clone") from error
            self.lost = namespaces.find_lost(self.plan.namespaces)
            if not self.lost:
                raise ContainerError("make the namespaces", "", error.errno or 0) from error
            namespaces.load_for(self.lost)
            if "user" in self.lost:
                self.maps = None
                self.plan = namespaces.guarded(self.plan)
            with step("make the namespaces that are left"):
                self._fork([kind for kind in self.plan.namespaces if kind not in self.lost])
        self.peer.close()

    def unseen(self) -> bool:
        """Its maps can be written although it is not dumpable. Else who has the user id that owns the new
        user namespace, in a container with the host's processes, say, could look into it, and so at the
        host's root: ptrace(2), "Ptrace access mode checking"."""
        direct = self.maps is not None and self.maps.way == "direct" and os.geteuid() == 0
        return direct and bool(libc.capget()[0] >> abi.CAP_SYS_PTRACE & 1)

    def _fork(self, kinds) -> None:
        if "user" in kinds and self.unseen():
            with forks.Unseen():
                self.fork(kinds)
        else:
            self.fork(kinds)

    def fork(self, kinds=()) -> None:
        with foreground.undisturbed():  # or a signal to both would have the child undo what is the runtime's
            if self.plan.joins or self.plan.spec.init:  # else nobody inside sees it before it is the program
                with forks.Nameless():
                    self._fork_undisturbed(kinds)
            else:
                self._fork_undisturbed(kinds)

    def _fork_undisturbed(self, kinds) -> None:
        try:
            pid = namespaces.clone(self.proc, namespaces.clone_flags(kinds), self.into, apart=True)
        except OSError as error:  # without clone3(2) nobody is born in a cgroup: it joins by itself then
            if self.into is None or error.errno not in (abi.ENOSYS, abi.E2BIG, abi.EPERM):
                raise
            entry = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.into)
            self.handed, self.into = self.handed.replace(cgroup=(entry,)), None
            pid = namespaces.clone(self.proc, namespaces.clone_flags(kinds), apart=True)
        if pid == 0:
            init.main(self.plan, self.peer, self.handed, self.lost, self.stages, other=self.channel)
        self.pid = pid

    # --- ids and trees ----------------------------------------------------------------------

    def place(self, pid: int) -> None:
        """What only the runtime may do to the new process, and then the word that it is done."""
        try:
            self._place_living(pid)
        except (ContainerError, BrokenPipeError):
            memory = paths.read_text("/proc/%d/statm" % pid)  # "" of one that it hides, too
            if memory.startswith("0 ") or (not memory and _is_over(pid)):  # its last words say why
                self.until("ready", 1)
            raise

    def _place_living(self, pid: int) -> None:
        plan = self.plan
        if plan.oom_score_adj is not None:
            hints = {abi.EACCES: "less than the caller's own takes CAP_SYS_RESOURCE"}
            with step("set oom_score_adj to %d" % plan.oom_score_adj, hints=hints):
                place, score = "%d/oom_score_adj" % pid, str(plan.oom_score_adj)
                try:
                    paths.write_proc(self.proc, place, score)
                except (FileNotFoundError, PermissionError):  # a middle process may have done it
                    if (self.score or paths.read_proc(self.proc, place).strip()) != score:
                        raise
        mapped = plan.new_user and "user" not in self.lost
        if mapped:
            self.maps = maps.write(self.proc, pid, self.maps, self._degrade)
        shown = () if self.container else plan.idmapped(self.lost)
        if not mapped and not shown:
            return
        trees = self._trees(pid, shown)
        try:
            indexes = " ".join([str(index) for index in trees])
            way = self.maps.way if mapped else ""
            self.channel.say("placed", way, indexes, fds=tuple(trees.values()))
        finally:
            for descriptor in trees.values():
                os.close(descriptor)

    def _degrade(self, record: Degradation) -> None:
        if self.plan.spec.refuses(record):
            raise record.as_error()
        self.seen(record)

    def _trees(self, pid: int, indexes) -> "dict[int, int]":
        if not indexes:
            return {}
        from . import trees  # only where some are shown with the container's ids

        return trees.make(self.plan, self.proc, pid, indexes, self._degrade)


def _is_over(pid: int) -> bool:
    """Whether a child of ours has ended; it is not waited for."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _load_for_child(plan) -> None:
    """Import now what the container's side will need: there, nothing may be imported."""
    if plan.mounts and any(mount.kind.startswith("cgroup") for mount in plan.mounts):
        from . import cgroup_mount  # noqa: F401
    if plan.sysctl:
        from . import sysctls  # noqa: F401
    if any(mount.copy_up for mount in plan.mounts):
        from . import copy_up  # noqa: F401
    if plan.root.overlay:
        from . import overlay  # noqa: F401
    if plan.terminal:
        from . import console  # noqa: F401
    if plan.guard == "standin":
        from . import standin  # noqa: F401
    if plan.personality is not None:
        from . import libc_rare  # noqa: F401
    if plan.spec.init:
        from . import reaper  # noqa: F401
    if plan.listener:
        from . import notify

        notify.check(plan.seccomp)
    if plan.labels or plan.mount_label:
        from . import lsm  # noqa: F401
    if plan.spec.landlock:
        from . import landlock_asked  # noqa: F401
    if any(name in plan.extras for name in ("memoryPolicy", "scheduler", "ioPriority")):
        from . import scheduling  # noqa: F401
