"""A process of the container from its birth on, stage by stage: what the first one (`first`) and further
ones (`further`) share. The last stages are in `last`.

Nothing is imported here, nothing printed, no lock taken: the library may lie outside the new
root, and only the channel reaches the user.

Side: container
"""

import _signal  # `signal` imports enum: 3 ms
import _stat as stat
import sys

from . import abi, libc, mounts, paths, privileges
from . import unix as os
from .errors import EXIT_NOT_FOUND, ContainerError, Degradation, from_any, step
from .forks import MAX_CPUS
from .record import MYPY, Record

if MYPY:
    from . import rootfs


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
        self.stage: "rootfs.Stage" = None  # type: ignore[assignment]
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


def main(plan, channel, handed: Handed, lost: "dict[str, int]", stages, placed=None, other=None) -> None:
    """Run the stages. Never returns, and never dies without a word.

    placed: the runtime's word, where the middle process has had it already
    other: the runtime's end of the channel, where we have that too
    """
    me = Init(plan, channel, handed, lost)
    me.placed = placed
    try:
        if other is not None:
            other.close()
        for stage in stages:
            stage(me)
    except BaseException as error:
        last_words(me.channel, "set up the container", _with_filter(me, error))
    os._exit(1)


def _with_filter(me: Init, error: BaseException) -> BaseException:
    """ERROR, which the container's own filter may have caused."""
    if not me.filtered or not isinstance(error, (ContainerError, OSError)):
        return error
    told = from_any("set up the container", error)
    if told.number in (0, abi.EPERM, abi.ENOSYS) and told.status != EXIT_NOT_FOUND:
        own = "let the seccomp profile allow it, or ask for no_new_privs, with which the filter comes last"
        told.hint += "; " + own if told.hint else own
    return told


def last_words(channel, doing: str, error: BaseException) -> None:
    """What has ended DOING is heard. Never raises: a child does not come back to what the runtime was at."""
    try:
        channel.say_error(from_any(doing, error))
    except (OSError, MemoryError):
        pass  # the runtime is gone: nobody is left to tell


class _Nowhere:
    @staticmethod
    def find_spec(name: str, path=None, target=None):
        raise ImportError("%s was not loaded before the container was entered" % name)


def import_no_more(me: Init) -> None:
    """What is found from now on would be of the container's root, and run with our powers. What Python itself
    may look for, a codec say, it does without."""
    sys.meta_path[:] = [_Nowhere]


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
        # until execve: the runtime may be gone, a limit for files too small, and both are errors to tell
        ignored = number in (_signal.SIGPIPE, _signal.SIGXFSZ)
        wanted = _signal.SIG_IGN if ignored else _signal.SIG_DFL
        try:
            if _signal.getsignal(number) != wanted:
                _signal.signal(number, wanted)
        except (OSError, ValueError):
            libc.default_signal(number)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def join(handed: Handed) -> None:
    """By ourselves: a process that another one moves stalls 7 to 20 ms (cgroup_migrate waits for
    a grace period). The descriptors are of the files that take a process, open for writing."""
    hints = {
        abi.ENOSPC: "a cpuset needs its cpuset.cpus and cpuset.mems written before",
        abi.EINVAL: "the caller runs in real time, for which the cgroup has none: chrt --other 0 minictr ...,"
        " or --cpu-rt-runtime",
        abi.EACCES: "from this cgroup its user gets into none of theirs: call it from where the container was"
        " started; with systemd: systemd-run --user --scope minictr ...",
    }
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
        if error.errno not in mounts.REFUSED + (abi.EINVAL,):
            raise
        me.lost["cgroup"] = error.errno or 0
        kept = tuple([kind for kind in me.plan.namespaces if kind != "cgroup"])
        me.plan = me.plan.replace(namespaces=kept)  # a mount of cgroups would be of the host's root


def instead_of_namespaces(me: Init, lost) -> "dict[str, str]":
    """Landlock in the place of LOST, kinds of namespaces; what is lost all the same, a sentence for each."""
    if "pid" not in lost and "network" not in lost:
        return {}
    from . import landlock_instead  # loaded by `clone`, before the fork

    made, told = landlock_instead.of_namespaces(lost, me.plan.seccomp is not None)
    if made is not None:
        me.rulesets.append(made)
    return told


def own_null(me: Init) -> None:
    """Standard streams that are /dev/null, as callers hand in for none, become the container's /dev/null.

    By the host's, its root could close that to everybody there (fchmod(2)). And whoever hands in one for all
    three may have opened it to be read alone, as containerd does.
    """
    given = [number for number in (0, 1, 2) if _is_null(number)]
    if not given or me.prefix:  # then there is none but the host's
        return
    try:
        seen = os.open("/dev/null", abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (abi.ENOENT, abi.ENOTDIR, abi.ELOOP, abi.EACCES):
            raise
        return  # it has none: what was handed in is all there is
    try:
        if _is_null(seen):  # before it is opened: an image may have put anything there
            own = os.open("self/fd/%d" % seen, os.O_RDWR | os.O_CLOEXEC, dir_fd=me.proc)
            for number in given:
                os.dup2(own, number)
            os.close(own)
    except PermissionError:  # devices are not for this container
        pass
    finally:
        os.close(seen)


def _is_null(descriptor: int) -> bool:
    found = os.fstat(descriptor)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3)


def change_directory(shown: str, root: int = -1, hint: str = "") -> None:
    """root: the directory that SHOWN lies below, where it is not the root; hint: where it is not there"""
    with step("change to the working directory %s" % shown, hints={abi.ENOENT: hint}):
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
