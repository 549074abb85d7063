"""Live probes: each part of a container, tried in throw-away processes.

Of the capability and never of the flag: a user namespace that is made, but whose capabilities are
denied, is the classic lie. So each probe does what a start would do, and looks at what came of it.

    doctor                       tester                            child
      | fork --------------------> |                                |
      |                            | clone(namespaces) -----------> |
      |                            | write the id maps              | wait
      |                            | go --------------------------> | try
      | <------------------------------------- a result, in JSON -- |

The tester has a process group of its own, which is killed when the time is over. Whatever is
mounted is mounted in a namespace that ends with the child; nothing is written on the host.

Side: both
"""

import json
import os
import select
import signal
import struct
import time

from . import abi, devices, libc, maps, paths
from .errors import ContainerError
from .record import Record

SECONDS = 10  # for one probe
STAGES = ("/mnt", "/srv", "/media", "/tmp", "/run", "/home", "/proc")  # something to mount on, of any host
_QUIET = abi.MS_NOSUID | abi.MS_NODEV | abi.MS_NOEXEC


class Result(Record):
    """ok: it works; detail: what was seen
    code, number, said: what was refused, with which errno, in which words; fix: where that is known
    """

    ok: bool
    detail: str = ""
    code: str = ""
    number: int = 0
    said: str = ""
    fix: str = ""


class Refused(Exception):
    """CODE was refused with the errno NUMBER (see causes.why)."""

    def __init__(self, code: str, number: int = 0, said: str = "", fix: str = "") -> None:
        super().__init__(code, number, said, fix)
        self.result = Result(ok=False, code=code, number=number, said=said, fix=fix)


class trying:
    """An error in here is a refusal of CODE."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, ContainerError):
            raise Refused(self.code, error.number, error.why, error.hint) from error
        if isinstance(error, OSError):
            raise Refused(self.code, error.errno or 0) from error


class Ground(Record):
    """How a container starts here: with a user namespace of these maps, or, where TABLE is None,
    without one."""

    table: "maps.Maps | None" = None


def attempt(body, *arguments: object, seconds: float = SECONDS) -> Result:
    """What BODY(*arguments, out), run in a tester, says on the descriptor OUT."""
    reader, writer = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        return Result(ok=False, code="fork", number=error.errno or 0)
    if pid == 0:
        os.close(reader)
        os.setpgid(0, 0)
        libc.prctl(abi.PR_SET_PDEATHSIG, signal.SIGKILL)
        _report(writer, body, *(arguments + (writer,)))
    os.close(writer)
    try:
        return _result(reader, time.monotonic() + seconds)
    finally:
        os.close(reader)
        _end(pid)


def within(ground: Ground, flags: int, body, out: int) -> None:
    """In a tester: run BODY() in a child with the namespaces FLAGS, which reports on OUT."""
    reader, writer = os.pipe()
    users = abi.CLONE_NEWUSER if ground.table else 0
    with trying("userns" if users else "clone"):
        pid = libc.clone(users | flags)
    if pid == 0:
        os.close(writer)
        _report(out, _settle, ground, reader, body)
    os.close(reader)
    try:
        if ground.table:
            with trying("maps"):
                maps.write(paths.open_proc(), pid, ground.table, _no_step_down)
        os.write(writer, b"1")
    finally:
        os.close(writer)
        os.waitpid(pid, 0)


def _settle(ground: Ground, reader: int, body) -> "str | None":
    """In the child: wait for the maps, become root of the namespace, and go."""
    libc.prctl(abi.PR_SET_PDEATHSIG, signal.SIGKILL)
    if not os.read(reader, 1):
        os._exit(1)  # the tester has said why
    if ground.table:
        with trying("ids"):
            if not ground.table.deny_setgroups:
                os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        libc.prctl(abi.PR_SET_PDEATHSIG, signal.SIGKILL)  # the change of ids took it away
        libc.prctl(abi.PR_SET_DUMPABLE, 1)  # and gave /proc/self to somebody else
    return body()


def _no_step_down(record) -> None:
    raise record.as_error()


def _report(out: int, body, *arguments: object) -> None:
    """Run BODY; what it returns is the detail, None is for what somebody else reports. Never returns."""
    result = None  # type: Result | None
    try:
        detail = body(*arguments)
        result = None if detail is None else Result(ok=True, detail=detail)
    except Refused as refused:
        result = refused.result
    except BaseException as error:  # a bug of ours must be heard
        result = Result(ok=False, code="probe", said=repr(error))
    finally:
        if result is not None:
            os.write(out, json.dumps(result.__dict__).encode() + b"\n")
        os._exit(0)


def _result(reader: int, end: float) -> Result:
    said = b""
    while b"\n" not in said:
        left = max(0.0, end - time.monotonic())
        if not select.select([reader], [], [], left)[0]:
            return Result(ok=False, code="probe", said="no answer in time")
        piece = os.read(reader, 65536)
        if not piece:
            return Result(ok=False, code="probe", said="the probe was killed")
        said += piece
    return Result(**json.loads(said.partition(b"\n")[0].decode()))


def _end(pid: int) -> None:
    """The tester and what it started are gone afterwards, and waited for: orphans of its group come
    to us (`adopting`). Its number is still its own, as nobody has waited for it."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # a set-uid helper: it ends by itself
            pass
    for group in (pid, -pid):
        try:
            while os.waitpid(group, 0):
                pass
        except ChildProcessError:
            pass


class adopting:
    """In here our orphans come to us and not to process 1, and children are waited for."""

    def __enter__(self) -> None:
        self.handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.change(1)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.change(0)
        signal.signal(signal.SIGCHLD, self.handler)

    @staticmethod
    def change(on: int) -> None:
        try:
            libc.prctl(abi.PR_SET_CHILD_SUBREAPER, on)
        except OSError:
            pass  # before 3.4, or filtered: process 1 has them


# --- in the child -----------------------------------------------------------------------------


def nothing() -> str:
    return "made"


def power() -> str:
    private()
    return "usable, and mounts work in it"


def private() -> str:
    """A new tmpfs, on a directory of the host's, that nobody else sees."""
    with trying("mount"):
        libc.mount("", "/", "", abi.MS_SLAVE | abi.MS_REC)
    refusal = None
    for place in STAGES:
        try:
            libc.mount("minictr", place, "tmpfs", abi.MS_NOSUID, "mode=755,size=1m")
            return place
        except OSError as error:
            refusal = refusal or error
            if error.errno not in (abi.ENOENT, abi.ENOTDIR, abi.EACCES):
                break
    raise Refused("tmpfs", (refusal.errno if refusal else 0) or 0)


def mount() -> str:
    stage = private()
    with trying("mount"):
        os.mkdir(stage + "/from")
        os.mkdir(stage + "/to")
        os.close(os.open(stage + "/from/file", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
        libc.mount(stage + "/from", stage + "/to", "", abi.MS_BIND)
        os.stat(stage + "/to/file")
    return "tmpfs and bind mounts"


def proc() -> str:
    """As process 1 of a pid namespace."""
    stage = private()
    with trying("proc"):
        libc.mount("proc", stage, "proc", _QUIET)
        pids = [name for name in os.listdir(stage) if name.isdigit()]
    if pids != ["1"]:
        raise Refused("proc", 0, "it shows the processes %s" % ", ".join(pids))
    return "shows the container's processes alone"


def sysfs() -> str:
    stage = private()
    with trying("sysfs"):
        libc.mount("sysfs", stage, "sysfs", _QUIET | abi.MS_RDONLY)
    return "shows the container's network devices alone"


def pivot_root() -> str:
    stage = private()
    os.chdir(stage)
    with trying("pivot_root"):
        libc.pivot_root(".", ".")
        libc.umount2(".", abi.MNT_DETACH)
        left = os.listdir("/")
    if left:
        raise Refused("pivot_root", 0, "the old root is still there")
    return "the host's root is gone from sight"


def chroot() -> str:
    for place in STAGES:
        if os.path.isdir(place):
            break
    before = os.stat(place)
    with trying("chroot"):
        libc.chroot(place)
        after = os.stat("/")
    if (before.st_dev, before.st_ino) != (after.st_dev, after.st_ino):
        raise Refused("chroot", 0, "the root is still the old one")
    return "works"


def host_name() -> str:
    with trying("sethostname"):
        libc.sethostname("minictr-doctor")
    if os.uname().nodename != "minictr-doctor":
        raise Refused("sethostname", 0, "the name is still the old one")
    return "a name of its own"


def network() -> str:
    with trying("network"):
        devices.raise_lo()
    return "loopback up"


def ipc() -> str:
    stage = private()
    try:
        libc.mount("mqueue", stage, "mqueue", _QUIET)
    except OSError as error:
        return "its own, but no message queues (%s)" % error.strerror
    return "its own, with message queues"


def cgroup_namespace() -> str:
    lines = paths.read_text("/proc/self/cgroup").splitlines()
    if any(line.rpartition(":")[2] != "/" for line in lines):
        raise Refused("cgroup", 0, "/proc/self/cgroup still shows the host's names")
    return "its own"


def clock() -> str:
    """unshare(2) and not clone: a time namespace is entered by the children of who makes it."""
    before = time.monotonic()
    with trying("time"):
        libc.unshare(abi.CLONE_NEWTIME)
        paths.write_proc(paths.open_proc(), "self/timens_offsets", "monotonic 1000 0\n")
        pid = os.fork()
    if pid == 0:
        os._exit(0 if time.monotonic() > before + 999 else 1)
    if os.waitpid(pid, 0)[1]:
        raise Refused("time", 0, "the clock is still the host's")
    return "a clock of its own"


def overlay(users: bool) -> str:
    stage = private()
    for name in ("lower", "upper", "work", "upper2", "work2", "merged"):
        os.mkdir(stage + "/" + name)
    merged = stage + "/merged"
    with trying("overlay"):
        _overlay(stage + "/lower", stage, "", merged, users)
        os.close(os.open(merged + "/file", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
        os.stat(stage + "/upper/file")
        libc.umount2(merged, abi.MNT_DETACH)
    try:
        _overlay("/", stage, "2", merged, users)
    except OSError as error:  # EINVAL in a user namespace: has_locked_children (fs/namespace.c)
        return "a tmpfs over a directory; not over the host's own root with its mounts (%s)" % error.strerror
    return "a tmpfs over a directory or the host's own root"


def _overlay(lower: str, stage: str, number: str, merged: str, users: bool) -> None:
    words = "lowerdir=%s,upperdir=%s/upper%s,workdir=%s/work%s" % (lower, stage, number, stage, number)
    libc.mount("overlay", merged, "overlay", 0, words + (",userxattr" if users else ""))


def null_device(make: bool) -> str:
    """/dev/null by mknod, and by a bind mount where that is refused, as a start would do it."""
    stage = private()
    path, refusal = stage + "/null", 0
    if make:
        try:
            os.mknod(path, 0o020666, os.makedev(1, 3))
            with trying("mknod"):
                _is_null(path)
            return "made by mknod"
        except OSError as error:
            refusal = error.errno or 0
    with trying("/dev/null"):
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
        libc.mount("/dev/null", path, "", abi.MS_BIND)
        _is_null(path)
    return "bound from the host's" + (" (mknod: %s)" % os.strerror(refusal) if refusal else "")


def _is_null(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    if os.fstat(descriptor).st_rdev != os.makedev(1, 3):
        raise OSError(abi.ENXIO, os.strerror(abi.ENXIO), path)
    os.write(descriptor, b"x")
    os.close(descriptor)


# --- in the tester ----------------------------------------------------------------------------


def id_maps(table: maps.Maps, out: int) -> None:
    """The maps that a container would have: whether its user 1, where it has one, can be become."""
    count = sum([line[2] for line in table.uids])

    def become() -> str:
        with trying("ids"):
            if maps.inside(table.uids, 1) and maps.inside(table.gids, 1):
                os.setresgid(1, 1, 1)
                os.setresuid(1, 1, 1)
        way = {"direct": "written directly", "helpers": "by newuidmap and newgidmap"}.get(
            table.way, table.way
        )
        return "%d ids, %s" % (count, way)

    within(Ground(table=table), 0, become, out)


def idmapped_mount(table: maps.Maps, out: int) -> str:
    """A copy of the host's root mount that shows its files with the ids of a user namespace. It is
    never attached anywhere."""
    reader, writer = os.pipe()
    with trying("userns"):
        pid = libc.clone(abi.CLONE_NEWUSER)
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        with trying("maps"):
            handle = paths.open_proc()
            maps.write(handle, pid, table, _no_step_down)
            users = os.open("%d/ns/user" % pid, os.O_RDONLY | os.O_CLOEXEC, dir_fd=handle)
    finally:
        os.close(writer)
        os.waitpid(pid, 0)
    with trying("idmap"):
        tree = libc.open_tree(abi.AT_FDCWD, "/", abi.OPEN_TREE_CLONE)
        libc.mount_setattr(tree, abi.MOUNT_ATTR_IDMAP, userns_fd=users)
        shown = os.fstat(tree).st_uid
    if shown == os.stat("/").st_uid and table.uids[0][:2] != (0, 0):
        raise Refused("idmap", 0, "the files still show the host's ids")
    return "files of the host's root with other ids"


def no_new_privs(out: int) -> str:
    with trying("no_new_privs"):
        libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
    if libc.prctl(abi.PR_GET_NO_NEW_PRIVS) != 1:
        raise Refused("no_new_privs", 0, "it is not set")
    return "can be set"


def seccomp(out: int) -> str:
    """A filter on what no other call has: close(2) of one number far beyond any descriptor's.

    Source: include/uapi/linux/filter.h; struct seccomp_data: the first argument is at byte 16
    """
    number = 0x5ECC0
    low = 16 if struct.pack("=H", 1) == b"\1\0" else 20
    program = (
        (0x20, 0, 0, low),  # load a word
        (0x15, 0, 1, number),  # if it is NUMBER
        (0x06, 0, 0, 0x00050000 | abi.ENXIO),  # SECCOMP_RET_ERRNO
        (0x06, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    )
    with trying("seccomp"):
        libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
        libc.prctl_seccomp(b"".join([struct.pack("=HBBI", *line) for line in program]))
    try:
        os.close(number)
    except OSError as error:
        if error.errno == abi.ENXIO:
            return "filters work"
    raise Refused("seccomp", 0, "the filter is there and has no effect")


def system_calls(out: int) -> str:
    """Which of the newer calls are missing, or hidden by a filter; none is needed."""
    missing = []
    for name, call in (
        ("openat2", lambda: os.close(libc.openat2(abi.AT_FDCWD, "/", abi.O_PATH, 0))),
        ("clone3", _clone3),
        ("fsopen", lambda: libc.fsopen("")),
        ("open_tree", lambda: libc.open_tree(abi.AT_FDCWD, "", 0)),
        ("mount_setattr", lambda: libc.mount_setattr(-1, abi.MOUNT_ATTR_RDONLY)),
        ("close_range", _close_range),
        ("pidfd_open", lambda: os.close(libc.pidfd_open(os.getpid()))),
    ):
        try:
            call()
        except OSError as error:
            if error.errno == abi.ENOSYS:
                missing.append(name)
    return " ".join(missing)


def _clone3() -> None:
    libc._clone3(b"", 0)  # EINVAL where it exists: no structure is that short


def _close_range() -> None:
    libc._close_range(1, 0, 0)  # EINVAL where it exists
