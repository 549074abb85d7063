"""Containers that exist, as their state directories and the kernel know them: alive, frozen, killed,
started, forgotten.

Side: host
"""

import _signal  # `signal` imports enum: 3 ms
import time

from . import abi, libc, lifetime, paths, state
from . import unix as os
from .errors import UNENDING, ContainerError
from .spec import Spec, cgroup_of

PATIENT = 1.0  # seconds for a first process to end of KILL, before others are killed, too
SETTLED = ("created", "running", "stopped")  # what state.json says of one whose cgroup is known to be its own


def load(entry: state.Entry) -> "dict":
    """What state.json says; where it is missing or broken, what else can be known of a container that nobody
    stands behind: it is not to live on because nobody finds it any more."""
    content = entry.load()
    if content or state.is_foreground(entry):
        return content
    from . import lost  # hardly ever

    return lost.content(entry)


def alive(content: "dict[str, object]") -> bool:
    """The container's first process runs, and is the one that was started."""
    pid, started = content.get("pid"), content.get("start_time")
    return isinstance(pid, int) and isinstance(started, int) and pid > 0 and lifetime.runs(pid, started)


def group_of(content: "dict"):
    """The container's cgroup, which does nothing where it has none."""
    from . import cgroup  # not for who only asks whether it lives

    if content.get("systemd"):
        from . import cgroup_systemd

        return cgroup_systemd.reopen(cgroup.layout(), content)
    directories, parents = content.get("cgroups") or [], content.get("cgroup_parents") or []
    return cgroup.reopen(cgroup.layout(), directories, parents)


def over(content: "dict") -> bool:
    """None of its processes is left: with a process namespace of its own none outlives the first. What is
    in its cgroup then came later, and is somebody else's."""
    known = content.get("status") in SETTLED and content.get("own_pids", True)
    return bool(known) and not alive(content)


def frozen(content: "dict", below: bool = False) -> bool:
    """Whether its processes are stopped by the freezer, of either version. Nearly every verb asks for it,
    and the classes of cgroups would take 0.4 ms to load.

    below: of v1, or may be, some of them, in cgroups that something inside has made
    """
    directories = content.get("cgroups") or ()
    # of v1's hierarchies one has the freezer, and it is mostly called so: to ask all takes 0.1 ms
    for directory in sorted(directories, key=lambda name: "freezer" not in name):
        state = paths.read_text(directory + "/freezer.state")
        if state:
            return state.strip() in ("FROZEN", "FREEZING") or (below and _branches(directory))
        state = paths.read_text(directory + "/cgroup.freeze")
        if state:
            return state.strip() == "1"  # what is frozen below dies all the same
    return False


def status(content: "dict") -> str:
    """creating, created, running, paused or stopped: what state.json says, checked against the process
    and its cgroup."""
    if content.get("status") == "creating":
        return "creating"
    if not alive(content):
        return "stopped"
    if frozen(content):
        return "paused"
    return "created" if content.get("status") == "created" else "running"


def _branches(directory: str) -> bool:
    """Whether there are cgroups below one: kernfs counts them."""
    try:
        return os.stat(directory).st_nlink > 2
    except OSError:
        return False


def kill(content: "dict[str, object]", number: int) -> bool:
    """Signal the first process, by a descriptor where the kernel has them: its number may be
    another's a moment later. False if it is gone.

    Without a PID namespace of its own the container goes on without its first process: KILL is for them all.
    """
    if over(content):
        return False
    found = _signal_first(content, number)
    if number == _signal.SIGKILL:
        if not content.get("own_pids", True) and content.get("status") in SETTLED:
            found = bool(group_of(content).signal(number)) or found
        elif frozen(content, below=True):
            group_of(content).release()
    return found


def _signal_first(content: "dict[str, object]", number: int) -> bool:
    pid = content.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        pidfd = libc.pidfd_open(pid)
    except OSError as error:
        if error.errno in (abi.ESRCH, abi.EINVAL, abi.ENOENT):  # the last two: by now a mere thread has it
            return False
        if error.errno not in (abi.EPERM, abi.ENOSYS):  # a filter, or before 5.3
            raise ContainerError("signal process %d" % pid, "", error.errno or 0) from error
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


def wait_ended(contents: "list[dict]", seconds: float) -> bool:
    """Until every container has ended, at most SECONDS."""
    deadline, pause = time.monotonic() + seconds, 0.001
    while any(alive(content) for content in contents):
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    return True


def wait_killed(contents: "list[dict]", seconds: float) -> bool:
    """The same of containers that were sent KILL."""
    if wait_ended(contents, min(seconds, PATIENT)):
        return True
    for content in contents:
        kill_rest(content)
    return wait_ended(contents, seconds - PATIENT)


def kill_rest(content: "dict") -> None:
    """Where the first process does not end of KILL: it may wait for what another one in it serves (FUSE), and
    nothing ends that but the end of the other. Else all would go with it."""
    if alive(content) and content.get("own_pids", True):
        for pid in by_namespace(content["pid"]):
            try:
                os.kill(pid, _signal.SIGKILL)
            except ProcessLookupError:
                pass


def is_stuck(content: "dict") -> bool:
    """Whether the first process, which was sent KILL, is in a sleep that does not end by it."""
    if wait_ended([content], 0.1):
        return False
    return lifetime.stat_fields(content["pid"])[:1] == ["D"]


def by_namespace(first: int) -> "list[int]":
    """Those in the process namespace of FIRST, if that is not ours too, and the descendants of them all."""
    own = _namespace("self")
    theirs = _namespace(str(first)) or _namespace(str(oldest_child(first)))  # what --init keeps is closed
    found, parents = {first}, {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = lifetime.stat_fields(name)
            parents[int(name)] = int(fields[1]) if len(fields) > 1 else 0  # proc(5): state, then the parent
            if theirs not in (0, own) and _namespace(name) == theirs:
                found.add(int(name))
    more = found
    while more:
        more = {pid for pid, parent in parents.items() if parent in more} - found
        found |= more
    return sorted(found)


def oldest_child(first: int) -> int:
    """Of what --init keeps, the program, as long as it lives. 0 if FIRST has none."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = lifetime.stat_fields(name)
            if len(fields) > 19 and int(fields[1]) == first:  # proc(5): state, then the parent
                found.append((int(fields[19]), int(name)))  # when it started
    return min(found)[1] if found else 0


def _namespace(name: str) -> int:
    """The inode of a process's process namespace, 0 where it is gone or not ours to look at."""
    try:
        return os.stat("/proc/%s/ns/pid" % name).st_ino
    except OSError:
        return 0


def start(entry: state.Entry, content: "dict", report) -> None:
    """Tell the first process of a created container to go; on return the program runs, and the hooks for that
    have run. A start that fails, or that a signal interrupts, ends the container: one without those hooks is
    none that anybody asked for (runtime.md since 1.3, "Lifecycle").

    Raises ContainerError, the process's own words where it could not execute the program.
    """
    from . import foreground, program, sync  # only here

    spec = remembered(entry, content)
    doing, command = "start container %s" % entry.identifier, content.get("command") or ""
    channel = sync.Channel(*entry.open_pipes())
    pidfd = _pidfd_of(content)
    try:
        foreground.hold_signals()
        try:
            channel.say("go")
            hooked = program.until_running(channel, command)
            # what --init keeps as process 1 executes nothing
            ran = content.get("init") or _ran(content, pidfd)
        except BrokenPipeError:
            raise ContainerError(doing, *_ended(content)) from None
        finally:
            channel.close()
            if pidfd >= 0:
                os.close(pidfd)
        if not ran or ((spec.config.get("hooks") or {}).get("startContainer") and not hooked):
            raise ContainerError(doing, *_ended(content))
        entry.remove_pipes()
        _confirm_labels(spec, content, report)
        entry.unlock()  # a hook may call us
        run_poststart(spec, content["pid"])
    except BaseException:
        kill(content, _signal.SIGKILL)
        wait_killed([content], 10)
        raise


def _pidfd_of(content: "dict") -> int:
    """A descriptor of the first process, -1 where it cannot be had."""
    try:
        return libc.pidfd_open(content["pid"])
    except OSError:  # before 5.3, a filter, or it has ended: then no "go" gets there either
        return -1


def _ran(content: "dict", pidfd: int) -> bool:
    """Whether the first process, which is heard no more, has become the program. Who is its parent may have
    waited for it a moment before we look: then a kill tells it from a program that ended at once."""
    from . import program  # which `start` has loaded

    started = content["start_time"] + lifetime.boot_offset()
    ran = program.executed(content["pid"], content.get("command") or "", started)
    if ran is None and pidfd >= 0:
        try:
            return lifetime.exit_status(pidfd) != _signal.SIGKILL
        except OSError:  # before 6.15 that is not known
            return True
    return ran is not False


def _ended(content: "dict") -> "tuple[str, int, str]":
    """Why there is no program, of a first process that did not come so far: what, an errno, a hint."""
    wait_ended([content], 1)  # its descriptors close a moment before
    why, hint = "its first process was killed before the program ran", "delete it"
    if group_of(content).oom_killed():
        why, hint = why + " as memory ran out", "a larger limit of memory"
    return why, 0, hint


def _confirm_labels(spec: Spec, content: "dict", report) -> None:
    asked = spec.config.get("process") or {}
    if not (asked.get("apparmorProfile") or asked.get("selinuxLabel")):
        return
    from . import lsm  # only for those who have some

    proc = paths.open_proc()
    try:
        for record in lsm.confirm(lsm.possible(lsm.wanted(asked)), proc, content["pid"], True):
            report.seen(record)
    finally:
        os.close(proc)


def remembered(entry: state.Entry, content: "dict") -> Spec:
    """As much of a container's Spec as its state directory has kept. Raises ContainerError where that is
    broken, its hooks too."""
    config = entry.load_config()
    hooks = config.get("hooks") or {}
    if hooks.get("poststart") or hooks.get("poststop"):
        from . import config as document  # only for those who have some

        document.check(config)
    return Spec(config=config, identifier=entry.identifier, bundle=content.get("bundle") or "/")


def run_poststart(spec: Spec, pid: int) -> None:
    """Raises ContainerError at the first that fails: the container is to end then (runtime.md since 1.3,
    "Lifecycle")."""
    if (spec.config.get("hooks") or {}).get("poststart"):
        from . import hooks

        hooks.run(hooks.parse(spec.config["hooks"])["poststart"], spec.state("running", pid))


def run_poststop(spec: Spec, report) -> None:
    """Where one fails the others run all the same (runtime.md, "Lifecycle")."""
    if (spec.config.get("hooks") or {}).get("poststop"):
        from . import hooks

        found = hooks.parse(spec.config["hooks"])["poststop"]
        hooks.run_all(found, spec.state("stopped", 0), report.warn)


def seize(entry: state.Entry, doing: str, force: bool, patience: float = 15.0) -> bool:
    """Take the lock of who works on a container, or stands behind it. False if that one has forgotten it.

    force: the container is ended until then; patience: seconds
    """
    deadline, rest_at = time.monotonic() + patience, time.monotonic() + PATIENT
    while not entry.lock():
        now = time.monotonic()
        if now > deadline:
            raise ContainerError(doing, "another command works on it, and does not come to an end")
        if force:
            content = load(entry)
            kill(content, _signal.SIGKILL)
            if now > rest_at:
                kill_rest(content)
                rest_at = now + PATIENT
        time.sleep(0.005)
    return not entry.forgotten()


def destroy(entry: state.Entry, content: "dict", report) -> None:
    """End what lives of a container, and forget it. The caller holds the lock.

    A cgroup is emptied only if it is known to be ours: a runtime killed before that was certain may
    have noted down one in which others live. Then it is removed if it is empty. One that is somebody else's
    by now is left to them.
    """
    ended = over(content)
    kill(content, _signal.SIGKILL)
    settled = content.get("status") in SETTLED or not state.is_foreground(entry)
    if content.get("systemd") or content.get("cgroups"):
        group = group_of(content)
    else:  # killed before anything was written
        from . import cgroup  # as above

        group = cgroup.open(cgroup.layout(), cgroup_of(entry.identifier, entry.path))
    if settled and not ended:
        group.kill()
    if not wait_killed([content], 10):  # without a cgroup nothing else would wait for it
        raise ContainerError("end container %s" % entry.identifier, UNENDING)
    try:
        if not ended or _empty(group, report):
            group.remove()
    except ContainerError:
        if settled:
            raise
    if content.get("resctrl"):
        from . import resctrl  # only for those who had some

        resctrl.remove(content["resctrl"])
    known = None
    if entry.has_config():
        try:
            known = remembered(entry, content)
        except ContainerError as error:
            if error.number:  # another time it may be read
                raise
            report.error(error)  # it is broken, and its hooks are lost: it must go all the same
    entry.remove()
    if known:
        run_poststop(known, report)


def _empty(group, report) -> bool:
    """Whether nobody is in the cgroup of a container that is over; it is said if somebody is."""
    from . import cgroup_files  # which the group has loaded

    found = []  # type: list[int]
    for _ in cgroup_files.waits():  # a program of exec may be on its way out
        found = group.pids()
        if not found:
            return True
    why = "processes run in it that are not the container's: " + ", ".join(map(str, found[:10]))
    report.warn(ContainerError("remove the cgroup %s" % group.directories()[0], why))
    return False
