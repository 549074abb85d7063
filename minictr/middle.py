"""The process between the runtime and init, where the kernel asks for one.

A PID or time namespace takes effect for the children of the process that joined or made it. This
one joins and makes, gives its child to the runtime (CLONE_PARENT) and ends. It is also the one that is
moved, where a process cannot join its cgroup by itself: its child is born there. That does nothing before the
runtime has been told of it.

Side: both
"""

from . import abi, foreground, forks, init, libc, namespaces, paths, setns
from . import unix as os
from .errors import ContainerError, step
from .sync import error_from, garbled, understood


def start(birth) -> None:
    """Make a process of the container by one between; on return it waits for nothing but `go`.

    birth: a clone.Birth
    """
    spaces = setns.opened(birth)
    with foreground.undisturbed(), forks.Nameless():
        between = os.fork()
        if between == 0:
            Middle(birth, spaces).main()
    for _, descriptor in spaces:
        os.close(descriptor)
    birth.peer.close()
    try:
        if birth.mover:
            birth.mover(between)
            birth.channel.say("moved")
        placed = _until_born(birth, between)
    except BaseException:
        os.kill(between, 9)  # it may wait for a word of ours
        raise
    finally:
        os.waitpid(between, 0)
    setns.hear_start(birth)
    if not placed:
        birth.place(birth.pid)


def _until_born(birth, between: int) -> bool:
    """Hear the process BETWEEN out, until it has told of its child. Whether the maps have been written, which
    both have."""
    placed = False
    while True:
        word = birth.channel.hear()
        if word is None:
            raise ContainerError("join the namespaces", "the middle process ended without a word")
        if word[0] == "error":
            raise birth.explained(error_from(word[1:]))
        if word[0] == "lost":
            with understood(word):
                birth.lost[word[1]] = int(word[2])
        elif word[0] == "maps":
            birth.place(between)
            placed = True
        elif word[0] == "init":
            with understood(word):
                birth.pid = int(word[1])
            return placed
        else:
            raise garbled(word)


class Middle:
    """The process between: joins, makes what its child must be born into, and ends."""

    def __init__(self, birth, spaces: "list[tuple[str, int]]") -> None:
        self.birth, self.plan, self.channel, self.spaces = birth, birth.plan, birth.peer, spaces
        self.new = list(self.plan.namespaces)
        self.placed = None  # type: list[str] | None

    def main(self) -> None:
        """Never returns."""
        try:
            self.birth.channel.close()
            libc.prctl_name("minictr-middle")
            libc.prctl(abi.PR_SET_PDEATHSIG, 9)
            if self.plan.oom_score_adj is not None:
                self._score()
            if self.birth.mover:
                self.channel.expect("moved")
            if not self.birth.handed.crowded:
                init.join(self.birth.handed)
            setns.join(self.spaces)
            joined = [kind for kind, _ in self.spaces]
            if "user" in self.new and ("time" in self.new or "pid" in joined):
                self._make_user()
            if "time" in self.new:
                self._make_time()
            self._bear()
        except BaseException as error:
            init.last_words(self.channel, "join the namespaces", error)
        os._exit(1)

    def _score(self) -> None:
        """For our child, which nobody may look into: its files below /proc are root's, not a user's."""
        try:
            paths.write_proc(self.birth.proc, "self/oom_score_adj", str(self.plan.oom_score_adj))
        except PermissionError:
            pass  # the runtime tries it with its capabilities, and tells

    def _make_user(self) -> None:
        """Here, where a PID namespace that is joined does not show us. Who owns the new user namespace may
        look into all that is in it and dumpable, and so may a process there with the same user id."""
        self.new.remove("user")
        if self._unshare("user"):
            seen = 0 if self.birth.unseen() else 1  # or our maps could not be written
            libc.prctl(abi.PR_SET_DUMPABLE, seen)
            self.channel.say("maps")
            self.placed = self.channel.expect("placed")

    def _make_time(self) -> None:
        libc.prctl(abi.PR_SET_DUMPABLE, 1)  # or our own files below /proc would not be ours
        if self._unshare("time") and self.plan.time_offsets:
            hint = {abi.ERANGE: "the resulting clock would be negative or too large"}
            with step("write the time offsets", hints=hint):
                paths.write_proc(paths.open_proc(), "self/timens_offsets", self.plan.time_offsets)

    def _unshare(self, kind: str) -> bool:
        try:
            namespaces.unshare(self.birth.proc, abi.NAMESPACES[kind][1])
            return True
        except OSError as error:
            if error.errno not in namespaces.REFUSED:
                raise ContainerError("make the %s namespace" % kind, "", error.errno or 0) from error
            self._lose(kind, error.errno or 0)
            return False

    def _lose(self, kind: str, number: int) -> None:
        self.birth.lost[kind] = number
        namespaces.load_for(self.birth.lost)
        if kind == "user":
            self.plan = namespaces.guarded(self.plan)
        self.channel.say("lost", kind, number)

    def _bear(self) -> None:
        kinds = [kind for kind in self.new if kind not in self.birth.lost]
        if "user" not in kinds or self.birth.unseen():  # else the maps of our child could not be written
            libc.prctl(abi.PR_SET_DUMPABLE, 0)  # in a joined PID namespace it can be seen from now on
        announced, announce = os.pipe()
        try:
            pid = namespaces.clone(self.birth.proc, namespaces.clone_flags(kinds) | abi.CLONE_PARENT)
        except OSError as error:
            lost = namespaces.find_lost(kinds) if error.errno in namespaces.REFUSED else {}
            if not lost:
                raise ContainerError("make the namespaces", "", error.errno or 0) from error
            for kind, number in lost.items():
                self._lose(kind, number)
            with step("make the namespaces that are left"):
                left = [kind for kind in kinds if kind not in lost]
                pid = namespaces.clone(self.birth.proc, namespaces.clone_flags(left) | abi.CLONE_PARENT)
        if pid == 0:
            os.close(announce)
            # nothing where our parent was killed before its word: the runtime would wait for that one, and we
            # for the runtime's next
            if not os.read(announced, 1):
                os._exit(1)
            os.close(announced)
            handed = self.birth.handed
            if not handed.crowded:
                handed = handed.replace(cgroup=(), cgroup_else=-1)  # it is in ours
            stages = (setns.say_start(self.birth),) + self.birth.stages
            init.main(self.plan, self.channel, handed, self.birth.lost, stages, self.placed)
        self.channel.say("init", pid)
        os.write(announce, b"\n")
        os._exit(0)
