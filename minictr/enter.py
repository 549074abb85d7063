"""The new root made the root. Changing it has four ways:

    pivot_root   the host's root leaves the mount namespace; nothing of it can be reached
    move         the mount is moved over /, for a caller whose root is an initramfs
    chroot       a process with CAP_SYS_CHROOT can walk out
    chdir        nothing but a working directory, and Landlock around it where it can be had

Side: container
"""

from . import abi, libc, mountinfo, mounts, namespaces, paths
from . import unix as os
from .errors import ContainerError, Degradation, step


def enter(stage) -> str:
    """Make the stage the root, by the first way that is allowed; its name comes back."""
    refusal = None  # type: OSError | None
    before = os.open("/", abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if stage.mountable:
        _leave_chroot(stage)
    for way in stage.plan.root.ways:
        if way in ("pivot_root", "move") and not stage.mountable:
            continue
        if way == "chdir" and not _is_root(before):
            continue  # names would mean something else
        try:
            _WAYS[way](stage)
        except OSError as error:
            if error.errno not in mounts.REFUSED + (abi.EINVAL, abi.EBUSY):
                raise ContainerError("change the root by %s" % way, "", error.errno or 0) from error
            refusal = refusal or error
            continue
        if way == "chdir":
            _confine(stage, refusal)
        elif way != "pivot_root":
            _record(stage, way, refusal)
        if way in ("pivot_root", "move"):
            stage.spread()
        return way
    raise ContainerError("change the root", "every way is refused")


def _leave_chroot(stage) -> None:
    """In a chroot pivot_root(2) changes what is below its root, if that is a mount, and leaves the rest in
    the mount namespace: chroot(2) and ".." lead there. So it is for the namespace's own root."""
    try:
        namespaces.take_own_root(stage.proc)
    except OSError as error:
        number = error.errno or 0
        if number not in mounts.REFUSED:
            raise ContainerError("take the root of the mount namespace", "", number) from error
        wanted, got = "a root of the mount namespace, proven", "one that may lie in a chroot"
        lost = "the proof that nothing of the host lies above: CAP_SYS_CHROOT could reach it"
        stage.degrade(
            Degradation("root-unproven", "root", wanted, got, lost, number, level="notice", cause="setns")
        )


def _is_root(place: int) -> bool:
    now = os.open("/", abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    same = os.path.samestat(os.fstat(now), os.fstat(place))
    same = same and mountinfo.mount_id(now) == mountinfo.mount_id(place)
    os.close(now)
    return same


def _confine(stage, refusal: "OSError | None") -> None:
    """A directory alone holds nobody: Landlock does, where it can be had."""
    try:
        from . import landlock_instead  # rare, and the root is still the host's
    except ImportError:  # to the user that set-up is done as
        why = "minictr's library cannot be read from the user namespace"
        hint = "install it where every user can read it, or --userns host"
        raise ContainerError("confine the program to its root", why, hint=hint) from None
    stage.confinement, lost, number = landlock_instead.confine(stage)
    _record(stage, "chdir", refusal, lost)
    if stage.confinement is None:
        lost = "what would keep the host's files closed"
        wanted = "the program confined to its root"
        stage.degrade(Degradation("landlock", "Landlock", wanted, "nothing", lost, number, cause="landlock"))


def _record(stage, way: str, refusal: "OSError | None", lost: str = "") -> None:
    number = (refusal.errno if refusal else 0) or 0
    why = "" if refusal else stage.obstacle or "--no-pivot"
    fix = "" if refusal or stage.mountable else "the same as for the mounts"
    lost = (
        lost
        or {
            "move": "the host's root lies below ours: CAP_SYS_ADMIN could dig it out",
            "chroot": "a process with CAP_SYS_CHROOT can leave the root",
            "chdir": "the root: every file of the host that the user may open can be opened",
        }[way]
    )
    level = "notice" if stage.plan.spec.no_pivot and way == "move" else "warning"
    stage.degrade(
        Degradation("root-" + way, "root", "pivot_root", way, lost, number, why, fix, level, "pivot_root")
    )


def _pivot(stage) -> None:
    """pivot_root(2) "pivot_root(".", ".")": the old root ends up over the new one, and is let go."""
    old = os.open("/", abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(stage.root)
    libc.pivot_root(".", ".")
    with step("let go of the host's root"):  # it lies over ours, where "/.." leads: no other way may follow
        os.fchdir(old)
        mounts.set_propagation(".", abi.MS_SLAVE | abi.MS_REC)  # or the host would lose its mounts, too
        libc.umount2(".", abi.MNT_DETACH)
    os.close(old)
    os.chdir("/")


def _move(stage) -> None:
    old = os.open("/", abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(stage.root)
    libc.mount(".", "/", "", abi.MS_MOVE)
    table = mountinfo.table(paths.read_proc(stage.proc, "self/mountinfo"))
    inside = set(mountinfo.below(table, mountinfo.mount_id(stage.root)))
    libc.chroot(".")
    with step("hide the host's /proc and /sys"):  # no other way may follow
        os.fchdir(old)
        for number in sorted(set(table) - inside, reverse=True):
            if table[number].kind in ("proc", "sysfs"):
                _hide(table, table[number])
    os.close(old)
    os.chdir("/")


def _hide(table: "dict[int, mountinfo.Row]", row: "mountinfo.Row") -> None:
    """The old root stays below ours. As long as a whole /proc is to be seen in it, the kernel lets a user
    namespace in the container mount one more, without what we have masked (mount_too_revealing in
    fs/namespace.c)."""
    if row.parent in table:
        mounts.set_propagation("." + table[row.parent].place, abi.MS_SLAVE)  # or the host would lose it, too
    try:
        libc.umount2("." + row.place, abi.MNT_DETACH | abi.UMOUNT_NOFOLLOW)
    except OSError as error:
        if error.errno not in (abi.EINVAL, abi.EPERM):  # of the user namespace above: ours to cover alone
            raise
        flags = abi.MS_RDONLY | abi.MS_NOSUID | abi.MS_NODEV | abi.MS_NOEXEC
        libc.mount("none", "." + row.place, "tmpfs", flags, "size=4k")


def _chroot(stage) -> None:
    os.fchdir(stage.root)
    libc.chroot(".")
    os.chdir("/")


def _chdir(stage) -> None:
    os.fchdir(stage.root)


_WAYS = {"pivot_root": _pivot, "move": _move, "chroot": _chroot, "chdir": _chdir}
