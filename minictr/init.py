"""The container's first process, from its birth to the program: process 1, stage by stage.

    setsid, death signal, cgroup       | the runtime writes the id maps meanwhile
    open the host's sources, isolate   |
    <- placed
    ids of the set-up, host name, loopback, mounts, devices, covers, sysctl, console
    -> built, <- enter (where the runtime has hooks to run)
    new root, directory, keyring, groups, capabilities, user
    <- filter (the runtime has compiled it meanwhile)
    -> ready
    <- kept, -> kept (`create` alone: it may end now)
    close everything
    <- go
    seccomp, execve

Nothing is imported here, nothing printed, no lock taken: the library may lie outside the new
root, and only the channel reaches the user.

Side: container
"""

import _signal  # `signal` imports enum: 3 ms

from . import abi, devices, enter, last, libc, maps, namespaces, paths, privileges, rootfs
from . import unix as os
from .errors import ContainerError, Degradation, from_any, step
from .forks import MAX_CPUS
from .record import Record


class Handed(Record):
    """What the runtime has opened and made for the container's first process.

    cgroup: descriptors to write "0" into, () where it is born in its cgroup
    cgroup_else: one for where that is refused because there are cgroups below; -1 for none
    streams: descriptors that become the standard streams, () for the runtime's own
    start: two descriptors, where "go" comes from and where the last words go to, of a container
        that is created now and started later; () for one that the runtime starts itself
    root: the root directory of a container that is joined, -1 for a new one
    proc: then, the runtime's own procfs
    bare: of such a container, the kinds of layers that Landlock stands in for: "root", "pid", "network"
    crowded: the cgroup has no room for a process between: the program's joins it by itself
    apart: the program is a child of our stand-in's, and it alone is born into the PID namespace
    """

    cgroup: "tuple[int, ...]" = ()
    cgroup_else: int = -1
    streams: "tuple[int, ...]" = ()
    start: "tuple[int, ...]" = ()
    root: int = -1
    proc: int = -1
    bare: "tuple[str, ...]" = ()
    crowded: bool = False
    apart: bool = False


class Init:
    """What the stages share.

    plan: a plan.Plan; channel: a sync.Channel to the runtime; handed: a Handed
    lost: {kind: errno} of namespaces that could not be made
    filter: the filter of system calls that is still to be installed, or None
    way: how the root was changed; prefix: where it lies, if it could not be made the root
    rulesets: of landlock.Ruleset, in force once the program is found; places: the files that are allowed
    standin, hook_guard: descriptors of stand-ins, for the program and for its hooks, -1 without one
    attributes: where the label of a security module is asked for, -1 without one
    umask: the caller's, which hooks of the host have
    filtered: the filter is in force, and there is something to do yet
    """

    def __init__(self, plan, channel, handed: Handed, lost: "dict[str, int]") -> None:
        self.plan, self.channel, self.handed, self.lost = plan, channel, handed, lost
        self.filter = None  # type: privileges.Filter | None
        self.filtered = False
        self.maps = plan.maps
        self.namespaces = [kind for kind in plan.namespaces if kind not in lost]
        self.placed = None  # type: list[str] | None
        self.proc = handed.proc
        self.stage = None  # type: rootfs.Stage  # type: ignore[assignment]
        self.way = self.prefix = ""
        self.rulesets, self.places = [], []  # type: list, list[str]
        self.scheduled = False
        self.standin = self.hook_guard = self.attributes = -1
        self.umask = 0

    def degrade(self, record: Degradation) -> None:
        """Tell the runtime of a step down, or refuse it."""
        if self.plan.spec.refuses(record):
            raise record.as_error()
        self.channel.say_degradation(record)


def main(plan, channel, handed: Handed, lost: "dict[str, int]", placed=None, stages=(), other=None) -> None:
    """Run the stages, STAGES where none are given. Never returns, and never dies without a word.

    placed: the runtime's word, where the middle process has had it already
    other: the runtime's end of the channel, where we have that too
    """
    me = Init(plan, channel, handed, lost)
    me.placed = placed
    try:
        if other is not None:
            other.close()
        for stage in stages or STAGES:
            stage(me)
    except BaseException as error:
        last_words(me.channel, "set up the container", _with_filter(me, error))
    os._exit(1)


def _with_filter(me: Init, error: BaseException) -> BaseException:
    """ERROR, which the container's own filter may have caused."""
    if not me.filtered or not isinstance(error, (ContainerError, OSError)):
        return error
    told = from_any("set up the container", error)
    if told.number in (0, abi.EPERM, abi.ENOSYS):
        own = "let the seccomp profile allow it, or ask for no_new_privs, with which the filter comes last"
        told.hint += "; " + own if told.hint else own
    return told


def last_words(channel, doing: str, error: BaseException) -> None:
    """What has ended DOING is heard. Never raises: a child does not come back to what the runtime was at."""
    try:
        channel.say_error(from_any(doing, error))
    except (OSError, MemoryError):
        pass  # the runtime is gone: nobody is left to tell


# --- before the runtime has placed us ---------------------------------------------------------


def begin(me: Init) -> None:
    libc.prctl_name("minictr-init")
    privileges.tie_to_runtime()
    for number, descriptor in enumerate(me.handed.streams):
        os.dup2(descriptor, number)
    os.setsid()  # no terminal of the caller's: TIOCSTI has nothing to push into
    _reset_signals()
    me.umask = os.umask(0)


def _reset_signals() -> None:
    """What Python ignores (SIGPIPE, SIGXFSZ) or the caller did, the program must not inherit."""
    for number in range(1, _signal.NSIG):
        try:
            if _signal.getsignal(number) != _signal.SIG_DFL:
                _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):
            libc.default_signal(number)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)  # until execve: the runtime may be gone


def join(handed: Handed) -> None:
    """By ourselves: a process that another one moves stalls 7 to 20 ms (cgroup_migrate waits for
    a grace period). The descriptors are of the files that take a process, open for writing."""
    hints = {abi.ENOSPC: "a cpuset needs its cpuset.cpus and cpuset.mems written before"}
    for descriptor in handed.cgroup:
        with step("join the cgroup", hints=hints):
            try:
                os.write(descriptor, b"0")
            except OSError as error:
                if error.errno != abi.EBUSY or handed.cgroup_else < 0:
                    raise
                os.write(handed.cgroup_else, b"0")


def join_cgroup(me: Init) -> None:
    join(me.handed)
    if me.plan.spec.source == "bundle":
        _spread()
    for descriptor in me.handed.cgroup + ((me.handed.cgroup_else,) if me.handed.cgroup_else >= 0 else ()):
        os.close(descriptor)
    if "cgroup" in me.namespaces:
        _unshare_cgroup(me)


def _spread() -> None:
    """On all the processors that its cgroup allows: an engine that is held to some (taskset, CPUAffinity= of
    its unit) does not mean its containers, and since 6.2 no cpuset lifts what was asked for before. runc 1.3
    and crun do so too."""
    if len(os.sched_getaffinity(0)) < (os.cpu_count() or MAX_CPUS):
        try:
            os.sched_setaffinity(0, range(MAX_CPUS))
        except PermissionError:
            pass  # a filter around us: it stays where we are


def _unshare_cgroup(me: Init) -> None:
    """Only now, so that its root is the cgroup just joined."""
    try:
        libc.unshare(abi.CLONE_NEWCGROUP)
    except OSError as error:
        if error.errno not in rootfs.REFUSED + (abi.EINVAL,):
            raise
        me.lost["cgroup"] = error.errno or 0
        kept = tuple([kind for kind in me.plan.namespaces if kind != "cgroup"])
        me.plan = me.plan.replace(namespaces=kept)  # a mount of cgroups would be of the host's root


def open_host(me: Init) -> None:
    me.proc = paths.open_proc()
    me.stage = rootfs.Stage(me.plan, me.proc, me.degrade, {})
    try:
        me.stage.open_sources()
    except ContainerError as error:
        # a place of the container's own ids, as in podman's store, is open to us once they are mapped
        waits = me.plan.new_user and "user" not in me.lost and me.placed is None
        if error.number != abi.EACCES or not waits:
            raise
        me.placed = me.channel.expect("placed")
        me.stage.open_sources()
    if "mount" in me.namespaces or any(kind == "mount" for kind, _ in me.plan.joins):
        me.stage.isolate()
    else:
        me.stage.mountable, me.stage.obstacle = False, "there is no mount namespace of its own"
    if not me.plan.root.idmap:
        me.stage.attach()


def wait_placed(me: Init) -> None:
    """The maps are written. Take the ids of the set-up, so that what is made has an owner."""
    placed = me.plan.new_user and "user" not in me.lost
    if placed or me.plan.idmapped(me.lost):
        way, trees = me.placed or me.channel.expect("placed")
        if placed and way != me.maps.way:
            me.maps = me.maps.otherwise
            me.plan = me.stage.plan = _with_fewer_ids(me.plan, me.maps)
        me.stage.trees.update(zip([int(index) for index in trees.split()], me.channel.received))
    if me.plan.root.idmap:
        me.stage.attach()
    if placed:
        privileges.become_root(*_setup_ids(me))
        privileges.tie_to_runtime()  # the change of ids forgot it
    elif any(kind == "user" for kind, _ in me.plan.joins):
        privileges.become_root(0, 0)
        privileges.tie_to_runtime()
        if me.plan.spec.source != "bundle":
            me.plan = me.stage.plan = _with_fewer_ids(me.plan, maps.own(me.proc))
    _say_lost(me)
    libc.prctl(abi.PR_SET_DUMPABLE, 0)


def _with_fewer_ids(plan, table):
    """PLAN with the ids that the container turns out to have."""
    mounts = [mount.replace(words=maps.known_words(mount, table.uids, table.gids)) for mount in plan.mounts]
    return plan.replace(mounts=tuple(mounts))


def _setup_ids(me: Init) -> "tuple[int, int]":
    if me.maps is me.plan.maps:
        return me.plan.setup_uid, me.plan.setup_gid
    return me.maps.uids[0][0], me.maps.gids[0][0]


_LOSSES = {
    "user": "the container's root is the host's",
    "pid": "processes of the host can be seen and signalled, and the container's may outlive it",
    "mount": rootfs.LOST,
    "network": "the host's network and its abstract sockets can be reached",
    "ipc": "shared memory and message queues of the host can be reached",
    "uts": "the host name is the host's",
    "cgroup": "the paths of the host's cgroups are shown",
    "time": "the clocks are the host's",
}


def _say_lost(me: Init) -> None:
    instead = _instead_of_namespaces(me, me.lost)
    for kind in sorted(me.lost):
        lost = instead.get(kind) or _LOSSES[kind]
        if kind == "user" and os.geteuid():
            lost = "root and every other user of the container: the program runs as the caller"
        me.degrade(
            Degradation(
                kind + "-namespace",
                kind + " namespace",
                "a new one",
                "the host's",
                lost,
                me.lost[kind],
                cause="userns" if kind == "user" else kind,
            )  # fmt: skip
        )


def _instead_of_namespaces(me: Init, lost) -> "dict[str, str]":
    """Landlock in the place of LOST, kinds of namespaces; what is lost all the same, a sentence for each."""
    if "pid" not in lost and "network" not in lost:
        return {}
    from . import landlock_instead  # loaded by `clone`, before the fork

    made, told = landlock_instead.of_namespaces(lost, me.plan.seccomp is not None)
    if made is not None:
        me.rulesets.append(made)
    return told


# --- the container as the program will see it -------------------------------------------------


def raise_lo(me: Init) -> None:
    if "network" not in me.namespaces:
        return
    try:
        devices.raise_lo()
    except ContainerError as error:
        if error.number not in rootfs.REFUSED:
            raise
        me.degrade(
            Degradation(
                "loopback",
                "network",
                "the loopback device up",
                "down",
                "127.0.0.1 and ::1 cannot be reached inside",
                error.number,
                cause="lo",
            )  # fmt: skip
        )


def build_root(me: Init) -> None:
    stage, plan = me.stage, me.plan
    stage.lay()
    stage.populate()
    devices.populate(stage, plan)
    if stage.mountable and not plan.root.early_readonly:
        with step("make the working directory %s" % plan.cwd):
            os.close(paths.make_in(stage.root, plan.cwd))
    if plan.sysctl:
        namespaces.set_sysctls(me)
    if not plan.spec.nested_users and "user" in me.namespaces:
        namespaces.close_users(me)
    if plan.terminal:
        from . import console  # loaded by `clone`, before the fork

        here = stage.mountable
        console.attach(stage.root if here else -1, me.channel, plan, stage if here else None)
        console.take()
    stage.cover()
    stage.freeze()


def run_hooks(me: Init) -> None:
    """The runtime's hooks, then those of this side, all before the root is changed."""
    if "prestart" in me.plan.hooks or "createRuntime" in me.plan.hooks:
        me.channel.say("built")
        me.channel.expect("enter")
    os.umask(me.umask)
    last.run_hooks(me, "createContainer", "creating")
    os.umask(0)


def enter_root(me: Init) -> None:
    me.way = enter.enter(me.stage)
    plan = me.plan
    if me.way == "chdir":
        me.prefix = plan.root.path
        if me.stage.confinement is not None:
            me.rulesets.append(me.stage.confinement)
    _change_directory(plan.cwd, me.stage.root if me.prefix else -1)


def _change_directory(shown: str, root: int = -1) -> None:
    """root: the directory that SHOWN lies below, where it is not the root"""
    with step("change to the working directory %s" % shown):
        if root < 0:
            os.chdir(shown)
        else:
            place = paths.open_in(root, shown, abi.O_PATH | os.O_DIRECTORY)
            os.fchdir(place)
            os.close(place)
        try:
            here = os.getcwd()
        except FileNotFoundError:  # what C libraries make of the kernel's "(unreachable)"; or it was removed
            here = ""
    if not here.startswith("/"):  # CVE-2024-21626
        raise ContainerError("change to the working directory %s" % shown, "it lies outside the root")


def enter_container(me: Init) -> None:
    """exec: the namespaces are joined; take the ids, the root and the directory."""
    plan = me.plan
    libc.prctl(abi.PR_SET_DUMPABLE, 0)
    if any(kind == "user" for kind, _ in plan.joins):
        privileges.become_root(plan.setup_uid, plan.setup_gid)
        libc.prctl(abi.PR_SET_DUMPABLE, 0)
        privileges.tie_to_runtime()
    bare = "root" in me.handed.bare
    if bare:
        from . import landlock_instead  # loaded by `execution`, before the fork

        me.prefix = plan.root.path
        root = landlock_instead.join(me)
    else:
        root = me.handed.root
        with step("enter the root of the container"):
            os.fchdir(root)
            libc.chroot(".")
    _instead_of_namespaces(me, me.handed.bare)
    if plan.terminal:
        from . import console  # loaded by `clone`, before the fork

        console.attach(-1 if bare else root, me.channel, plan)
        if not me.handed.apart:  # else it is for the child, which leads a session of its own
            console.take()
    _change_directory(plan.cwd, root if bare else -1)


STAGES = (
    begin, join_cgroup, open_host, wait_placed, namespaces.name_host, raise_lo, build_root, run_hooks,
    enter_root, last.change_user, last.wait_go, last.execute,
)  # fmt: skip
EXEC_STAGES = (begin, join_cgroup, enter_container, last.change_user, last.wait_go, last.execute)
