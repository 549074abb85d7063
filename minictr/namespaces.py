"""Which namespaces one clone makes, which of them this host does not give, and what is set in the new ones.

Side: both
"""

from . import abi, forks, libc, mounts, paths
from . import unix as os
from .errors import ContainerError, Degradation

# what clone(2) says where a namespace is not allowed, not known, or one too many
REFUSED = (abi.EPERM, abi.EINVAL, abi.ENOSYS, abi.ENOSPC, abi.EUSERS, abi.EACCES)


def clone_flags(kinds) -> int:
    """The CLONE_NEW* that one clone makes. The cgroup namespace must wait until its cgroup is
    joined, the time namespace until its offsets are written."""
    flags = 0
    for kind in kinds:
        if kind not in ("cgroup", "time"):
            flags |= abi.NAMESPACES[kind][1]
    return flags


def find_lost(kinds) -> "dict[str, int]":
    """Which of the namespaces KINDS cannot be made here, and the errno, by trying each."""
    lost = {}
    base = 0
    if "user" in kinds:
        lost["user"] = _try(abi.CLONE_NEWUSER)
        base = 0 if lost["user"] else abi.CLONE_NEWUSER
    for kind in kinds:
        if kind not in ("user", "cgroup", "time"):
            lost[kind] = _try(base | abi.NAMESPACES[kind][1])
    for kind, number in lost.items():
        if number and number not in REFUSED:
            raise ContainerError("make the %s namespace" % kind, "", number)
    return {kind: number for kind, number in lost.items() if number}


def take_own_root(proc: int) -> None:
    """Make the root of our mount namespace our root and our directory: in a chroot it lies above them.

    setns(2) into the namespace that we are in does that (mntns_install in fs/namespace.c).
    proc: from paths.open_proc
    Raises OSError: EPERM without CAP_SYS_ADMIN over the namespace and CAP_SYS_CHROOT, EINVAL with threads.
    """
    own = os.open("self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        libc.setns(own, abi.CLONE_NEWNS)
    finally:
        os.close(own)


class Outside:
    """`with Outside(proc):` a caller in a chroot is out of it, with the old root as its directory.

    There the kernel makes user namespaces (create_user_ns in kernel/user_namespace.c), and the root is a
    mount.
    born: this is a process that was born there: our descriptors are of another mount namespace than its own
    Raises OSError as take_own_root.
    """

    def __init__(self, proc: int) -> None:
        self.proc, self.born = proc, False

    def __enter__(self) -> "Outside":
        libc.chroot("/")  # the same, but if that is refused, so is the way back
        flags = abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        self.root = os.open("/", flags)
        self.directory = os.open(".", flags)
        try:
            take_own_root(self.proc)
            os.fchdir(self.root)
        except OSError:
            self._close()
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.born:
            self._enter_newborn()
            return
        os.fchdir(self.root)
        libc.chroot(".")
        os.fchdir(self.directory)
        self._close()

    def _enter_newborn(self) -> None:
        """It has the old root as its directory. It must not come back to what the runtime was at."""
        try:
            libc.chroot(".")
            self._close()
        except OSError:
            os._exit(1)

    def _close(self) -> None:
        os.close(self.root)
        os.close(self.directory)


def at_a_mount(proc: int, action) -> None:
    """ACTION(), which changes how the mounts below / spread: from outside of a chroot whose root is no mount
    (EINVAL)."""
    try:
        action()
    except OSError as error:
        if error.errno != abi.EINVAL:
            raise
        with Outside(proc):
            action()


def clone(proc: int, flags: int, cgroup: "int | None" = None, apart: bool = False) -> int:
    """forks.clone, for which a chroot is left where user namespaces are refused in it. The child is in it
    again, in its root directory."""
    try:
        return forks.clone(flags, cgroup, apart)
    except PermissionError as error:
        if not flags & abi.CLONE_NEWUSER:
            raise
        refusal = error
    try:
        with Outside(proc) as outside:
            pid = forks.clone(flags, cgroup, apart)
            outside.born = pid == 0
        return pid
    except OSError:  # it may not be left, or that was not why
        raise refusal from None


def unshare(proc: int, flags: int) -> None:
    """libc.unshare, for which a chroot is left as in `clone`."""
    try:
        libc.unshare(flags)
    except PermissionError:
        if not flags & abi.CLONE_NEWUSER:
            raise
        with Outside(proc):
            libc.unshare(flags)


def load_for(lost) -> None:
    """Import what stands in for the namespaces LOST: in the container nothing may be imported."""
    if "mount" in lost or "pid" in lost or "network" in lost:
        from . import landlock_instead  # noqa: F401
    if "user" in lost:
        from . import standin  # noqa: F401


def _try(flags: int) -> int:
    try:
        pid = forks.clone(flags)
    except OSError as error:
        return error.errno or abi.EPERM
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return 0


def guarded(plan):
    """PLAN without its user namespace, which kept root's container from the interpreter that we run by. Any
    other user who may write to that has a stand-in already."""
    return plan.replace(guard="standin") if os.geteuid() == 0 else plan


# --- what is said in the new ones: container; `me` is an init.Init ---------------------------------


def name_host(me) -> None:
    plan = me.plan
    for value, call, layer in (
        (plan.hostname, libc.sethostname, "host name"),
        (plan.domainname, libc.setdomainname, "domain name"),
    ):
        if not value or "uts" in me.lost:
            continue
        try:
            call(value)
        except OSError as error:
            if error.errno not in mounts.REFUSED:
                raise ContainerError("set the %s to %s" % (layer, value), "", error.errno or 0) from error
            me.degrade(
                Degradation(
                    layer.replace(" ", ""),
                    layer,
                    value,
                    "the host's",
                    "a name of its own",
                    error.errno or 0,
                    cause="sethostname",
                )  # fmt: skip
            )


def close_users(me) -> None:
    """No user namespace in this one: they lead to what of the kernel is for its root alone, and most of its
    holes are there. The filter refuses to make them; this holds for who comes in past it, too."""
    try:
        paths.write_proc(me.proc, "sys/user/max_user_namespaces", "0")
    except OSError as error:
        if error.errno not in mounts.REFUSED + (abi.EROFS, abi.ENOENT):  # a container around us; before 4.9
            raise ContainerError("close the user namespace", "", error.errno or 0) from error
        wanted, got = "none below the container's", "what the filter of system calls refuses"
        lost, why = "a process that comes in past the filter may make one", "its sysctl cannot be set here"
        me.degrade(
            Degradation(
                "nested-users", "user namespaces", wanted, got, lost, error.errno or 0, why, level="notice"
            )
        )
