"""Live probes: each part of a container, tried in a `tester`'s child, or in the tester itself.

Of the capability and never of the flag: a user namespace that is made, but whose capabilities are
denied, is the classic lie. So each probe does what a start would do, and looks at what came of it.
It returns what it saw, or raises tester.Refused.

Side: container
"""

import _struct as struct
import os
import time

from . import abi, devices, idtables, libc, maps, mounting, namespaces, paths
from .tester import Ground, Refused, no_step_down, trying, within

STAGES = ("/mnt", "/srv", "/media", "/tmp", "/run", "/home", "/proc")  # something to mount on, of any host
_QUIET = abi.MS_NOSUID | abi.MS_NODEV | abi.MS_NOEXEC


# --- in the child -----------------------------------------------------------------------------


def nothing() -> str:
    return "made"


def power() -> str:
    private()
    return "usable, and mounts work in it"


def private() -> str:
    """A new tmpfs, on a directory of the host's, that nobody else sees."""
    with trying("mount"):
        slave = abi.MS_SLAVE | abi.MS_REC
        namespaces.at_a_mount(paths.open_proc(), lambda: mounting.set_propagation("/", slave))
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
        stage_root = os.open(".", abi.O_PATH | os.O_CLOEXEC)
        namespaces.take_own_root(paths.open_proc())
        os.fchdir(stage_root)
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
    return "loopback up, and no tool of the host's is needed for it"


def ipc() -> str:
    stage = private()
    try:
        libc.mount("mqueue", stage, "mqueue", _QUIET)
    except OSError as error:
        return "its own, but no message queues (%s)" % error.strerror
    return "its own, with message queues"


def cgroup_namespace() -> str:
    lines = paths.read_text("/proc/self/cgroup").split("\n")[:-1]
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
            if idtables.inside(table.uids, 1) and idtables.inside(table.gids, 1):
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
        handle = paths.open_proc()
        pid = namespaces.clone(handle, abi.CLONE_NEWUSER)
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        with trying("maps"):
            maps.write(handle, pid, table, no_step_down)
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
        ("close_range", lambda: libc.close_range(1, 0)),  # EINVAL where it exists
        ("pidfd_open", lambda: os.close(libc.pidfd_open(os.getpid()))),
    ):
        try:
            call()
        except OSError as error:
            if error.errno == abi.ENOSYS:
                missing.append(name)
    return " ".join(missing)


def _clone3() -> None:
    libc.clone3(b"", 0)  # EINVAL where it exists: no structure is that short
