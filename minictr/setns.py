"""Namespaces that exist, entered: those of a container that runs, or that a configuration names.

Side: both
"""

from . import abi, forks, libc, lifetime, paths
from . import unix as os
from .errors import ContainerError, step
from .sync import understood


def start(birth) -> None:
    """Make a process that enters all of them by itself.

    Only where no PID namespace is among them: that is our children's, and who is born in it must have
    joined the rest before. Whoever is in there reads the host's mounts and sockets of it else, by
    /proc/PID/mountinfo and /proc/PID/net, which take no right.

    birth: a clone.Birth
    """
    spaces = opened(birth)
    enter = (lambda me: join(spaces),)
    birth.stages = (say_start(birth),) + birth.stages[:2] + enter + birth.stages[2:]
    own = _lend_score(birth)
    try:
        with forks.Unseen():  # others with the same processes see it from the first moment on
            birth.fork()
    finally:
        if own:
            paths.write_proc(birth.proc, "self/oom_score_adj", own)
    for _, descriptor in spaces:
        os.close(descriptor)
    birth.peer.close()
    hear_start(birth)


def _lend_score(birth) -> str:
    """Take its oom_score_adj, so that it is born with that: of one that is not dumpable the files below
    /proc are root's. Ours comes back, "" if it need not change; it may be set again: lower than what root
    gave is refused, lower than what a process has raised itself to is not (fs/proc/base.c)."""
    wanted = birth.plan.oom_score_adj
    own = "" if wanted is None else paths.read_proc(birth.proc, "self/oom_score_adj").strip()
    if not own or int(own) >= int(wanted or 0):
        return ""
    paths.write_proc(birth.proc, "self/oom_score_adj", str(wanted))
    return own


def say_start(birth):
    """A stage of the new process, which tells when it was born, and with what score: mounted with hidepid=,
    /proc tells a user nothing of one that is born not dumpable."""

    def say(me) -> None:
        if _says_start(birth):
            scored = birth.plan.oom_score_adj is not None
            score = paths.read_proc(birth.proc, "self/oom_score_adj").strip() if scored else ""
            me.channel.say("started", lifetime.own_start_time(birth.proc), score)

    return say


def _says_start(birth) -> bool:
    """When a further process started nobody asks."""
    return not birth.container or birth.plan.oom_score_adj is not None


def hear_start(birth) -> None:
    """Take in what `say_start` has the process of BIRTH tell."""
    if _says_start(birth):
        said = birth.until("started", 2)
        with understood(said):
            birth.started, birth.score = int(said[0]), said[1]


def opened(birth) -> "list[tuple[str, int]]":
    """A descriptor of each namespace that the process of BIRTH, a clone.Birth, joins, by kind."""
    spaces = []
    for kind, path in birth.plan.joins:
        with step("open the %s namespace %s" % (kind, path)):
            spaces.append((kind, os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
    if spaces and not birth.container:  # who joins a container that runs asks for nothing of all this
        from . import joined  # few join something

        joined.check_settings(birth.plan, spaces)
        joined.check_maps(birth.proc, spaces, birth.plan.spec.config.get("linux") or {})
    return spaces


def join(spaces: "list[tuple[str, int]]") -> None:
    """Enter each of SPACES, (kind, descriptor).

    The user namespace last where we are strong outside it, first where only it makes us strong: so
    what is refused before it is tried again after it.
    """
    order = [space for space in spaces if space[0] not in ("user", "mount")]
    users = [space for space in spaces if space[0] == "user"]
    order += [space for space in spaces if space[0] == "mount"]
    later = [space for space in order if not _enter(space, bool(users), spaces)]
    if users:
        _drop_groups()
    for space in users + later:
        _enter(space, False, spaces)


def _drop_groups() -> None:
    """The caller's, while that can be done: in there setgroups(2) may be denied."""
    try:
        os.setgroups([])
    except PermissionError:  # a user's: nobody can take them away
        pass


def _enter(space: "tuple[str, int]", may_wait: bool, spaces: "list[tuple[str, int]]") -> bool:
    kind, descriptor = space
    try:
        libc.setns(descriptor, abi.NAMESPACES[kind][1])
    except OSError as error:
        if may_wait and error.errno == abi.EPERM:
            return False
        article = "an" if kind == "ipc" else "a"
        why = "not %s %s namespace" % (article, kind) if error.errno == abi.EINVAL else ""
        cause = "" if why else "setns"
        hint = ""
        if why and kind == "user" and _is_own(descriptor):
            why, hint = "it is the caller's own", "--userns host"
        if error.errno == abi.EPERM and not any(joined == "user" for joined, _ in spaces):
            hint = "join the user namespace it belongs to as well: --userns PATH"
        raise ContainerError(
            "join the %s namespace" % kind, why, error.errno or 0, hint, cause=cause
        ) from error
    return True


def _is_own(descriptor: int) -> bool:
    return os.path.samestat(os.fstat(descriptor), os.stat("/proc/self/ns/user"))
