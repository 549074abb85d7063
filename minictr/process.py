"""What run, create and exec do alike for a process that they have made.

Side: host
"""

import sys

from . import abi, clone, foreground, idtables, libc, plan
from . import unix as os
from .errors import ContainerError, Degradation, step
from .mounts import REFUSED

EVERYBODY = ((0, 0, 2**32 - 1),)  # the map of who is in no other user namespace than ours


def attend(birth: clone.Birth, timeout: float = 0, end=None) -> int:
    """Stand behind a process until it ends, its terminal relayed if it has one; its exit status.

    timeout, end: as of foreground.wait
    """
    if birth.console < 0:
        return foreground.wait(birth.pid, timeout, end)
    from .terminal import Relay  # select, termios: 1 ms, only with a terminal

    return Relay(birth.console).run(birth.pid, timeout, end)


def set_limits(pid: int, made: plan.Plan, done: "list[str]") -> None:
    """From outside: there the capability to raise a hard limit may be held.

    done: what the process has said with its "ready": the numbers of those that it has set itself, and
        whether it has its scheduler
    """
    own = set(done[0].split())
    for resource, soft, hard in made.rlimits:
        if str(resource) in own:
            continue
        hint = "raising a hard limit takes CAP_SYS_RESOURCE"
        if abi.RLIMITS[resource] == "RLIMIT_NOFILE":  # or more than that: the kernel says the same
            hint += ", and fs.nr_open is the most"
        with step("set %s" % abi.RLIMITS[resource], hints={abi.EPERM: hint}):
            libc.prlimit(pid, resource, soft, hard)


def set_extras(pid: int, made: plan.Plan, done: "list[str]") -> None:
    """What few containers ask for, from outside as well. done: as above"""
    wanted = "scheduler" in made.extras or "ioPriority" in made.extras
    if wanted and "scheduled" not in done[0].split():
        from . import scheduling  # only for those who do

        scheduling.apply(pid, made.extras)


def confirm_labels(made: plan.Plan, birth: clone.Birth, degrade) -> None:
    """See from outside that the program runs under its label. Raises ContainerError. degrade: takes a
    Degradation"""
    from . import lsm  # only for those who have some

    pid = lsm.first_child(birth.proc, birth.pid) if made.spec.init else birth.pid  # process 1 stays ours
    for record in lsm.confirm(made.labels, birth.proc, pid, made.spec.source == "bundle") if pid else ():
        if made.spec.strict:
            raise record.as_error()
        degrade(record)


def give_pipes(
    streams: "tuple[int, ...]", made: plan.Plan, uids: "tuple" = EVERYBODY, gids: "tuple" = EVERYBODY
) -> None:
    """Pipes become the program's, which else could not open them again by the name of /dev/stdout.
    runc does so with whatever it finds; a file, though, may be one that the caller wants to keep.

    streams: () for our own; uids, gids: the maps of the program's user namespace
    """
    if made.terminal:
        return
    uid, gid = idtables.on_host(uids, made.credentials.uid), idtables.on_host(gids, made.credentials.gid)
    for descriptor in streams or (0, 1, 2):
        if libc.fstatfs_type(descriptor) == abi.PIPEFS_MAGIC and os.fstat(descriptor).st_uid != uid:
            try:
                os.fchown(descriptor, uid, gid)
            except OSError as error:
                if error.errno not in (abi.EPERM, abi.EINVAL):
                    raise
                return  # a user gives nothing away; an id without a map is told of when the program takes it


def check_seccomp(made: plan.Plan, degrade) -> plan.Plan:
    """MADE without its seccomp profile where filters are not to be had. degrade: takes a Degradation"""
    number = libc.seccomp_refusal() if made.seccomp is not None else 0
    if not number:
        return made
    if number not in REFUSED + (abi.EINVAL,):  # which a kernel says that was built without filters
        raise ContainerError("look for filters of system calls", "", number)
    if made.spec.landlock:
        from . import landlock_gaps  # only for those who ask

        for record in landlock_gaps.missing(made.spec.landlock, "pid" not in made.namespaces):
            degrade(record)
    degrade(
        Degradation(
            "seccomp",
            "seccomp",
            "a filter of system calls",
            "none",
            "every call of the kernel can be tried, and so can each of its holes",
            number,
            cause="seccomp",
        )  # fmt: skip
    )
    return made.replace(seccomp=None)


def send_filter(birth: clone.Birth) -> None:
    """Compile the seccomp profile, if there is one, while the process is busy with its set-up."""
    profile = birth.plan.seccomp
    if profile is None:
        return
    lost, asked = set(birth.lost) | set(birth.handed.bare), birth.plan.spec.landlock
    if asked or "network" in lost or "pid" in lost:
        from . import landlock_gaps  # only where ports or signals may be a matter of Landlock

        ports = "network" in lost or landlock_gaps.asked(asked)
        limits = "pid" in lost or landlock_gaps.SIGNALS in asked
        if ports or limits:
            profile = landlock_gaps.narrowed(profile, ports, limits)
    from . import seccomp_ready

    machine = abi.machine()
    ready = seccomp_ready.find(profile, machine)
    if ready is not None:
        birth.tell("filter", seccomp_ready.FLAGS, False, ready)
        return
    from . import seccomp  # 1 ms, with another profile than the builtin one only

    compiled = seccomp.compile(profile, machine)
    birth.tell("filter", compiled.flags, compiled.listener, compiled.program.hex())


def ready_console(birth: clone.Birth, path: str) -> None:
    """Before the program can write on its terminal, if it has one: send the master to who listens on the
    socket PATH, as runc does (docs/terminals.md of runc: one SCM_RIGHTS message with the terminal's name).

    path: "" for one that we relay ourselves
    """
    if birth.console < 0:
        return
    if path:
        with step("send the terminal to %s" % path):
            _send(path, birth.console, b"/dev/ptmx")
    elif birth.plan.spec.source == "bundle" and not os.isatty(1):
        from . import console  # loaded with the plan of a terminal

        console.keep_newlines(birth.console)


def send_pidfd(path: str, pid: int, kind: bytes) -> None:
    """Send a descriptor of process PID to who listens on the socket PATH, in the manner of a terminal's.

    kind: the text that goes with it, for which runc has "standard" and, with exec, "setns"
    """
    with step("send a pidfd to %s" % path, hints={abi.ENOSYS: "pidfds take Linux 5.3"}):
        pidfd = libc.pidfd_open(pid)
        try:
            _send(path, pidfd, kind)
        finally:
            os.close(pidfd)


def _send(path: str, descriptor: int, text: bytes) -> None:
    import _socket  # 0.2 ms, only for this

    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.connect(path)
        packed = descriptor.to_bytes(4, sys.byteorder)
        sock.sendmsg([text], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)])
    finally:
        sock.close()


def check_descriptors(count: int, listening: int = 0) -> None:
    """What is passed on must be the caller's: ours, which close on exec, may have the same numbers. As with
    crun those below the last one may be missing, which podman's --preserve-fd leaves out: their numbers are
    taken until execve, so that none of ours gets one.

    listening: how many are sockets of a service manager, which leaves none out
    """
    missing = [number for number in range(3, 3 + count) if not _is_given(number)]
    if missing and (missing[0] < 3 + listening or missing[-1] == 2 + count):
        raise ContainerError("--preserve-fds %d" % count, "descriptor %d is not open" % missing[0])
    for number in missing:
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)  # the lowest free number, which is this one
        if null != number:
            raise ContainerError("--preserve-fds %d" % count, "descriptor %d is ours" % number)


def _is_given(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:
        return False


def let_go(count: int) -> None:
    """Of the descriptors that were passed on: who reads the other end of a pipe waits for the container's end
    of it, not for ours."""
    for number in range(3, 3 + count):
        os.close(number)
