"""The new root made the root. Changing it has four ways:

    pivot_root   the host's root leaves the mount namespace; nothing of it can be reached
    move         the mount is moved over /, for a caller whose root is an initramfs, which 7.3 can pivot
    chroot       a process with CAP_SYS_CHROOT can walk out
    chdir        nothing but a working directory, and Landlock around it where it can be had

Side: container
"""

from . import abi, libc, mountinfo, mounting, mounts, namespaces, paths
from . import unix as os
from .errors import ContainerError, Degradation, printable, step


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
            left = _WAYS[way](stage)
        except OSError as error:
            if error.errno not in mounts.REFUSED + (abi.EINVAL, abi.EBUSY):
                raise ContainerError("change the root by %s" % way, "", error.errno or 0) from error
            refusal = refusal or error
            continue
        if way == "chdir":
            _confine(stage, refusal)
        elif way != "pivot_root":
            _record(stage, way, refusal)
        if left and stage.plan.spec.nested_users:
            _record_below(stage, left)
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


_LOST = {
    "move": "the host's root lies below ours: CAP_SYS_ADMIN could dig it out",
    "chroot": "a process with CAP_SYS_CHROOT can leave the root",
    "chdir": "the root: every file of the host that the user may open can be opened",
}


def _record(stage, way: str, refusal: "OSError | None", lost: str = "") -> None:
    number = (refusal.errno if refusal else 0) or 0
    why = "" if refusal else stage.obstacle or "--no-pivot"
    fix = "" if refusal or stage.mountable else "the same as for the mounts"
    lost = lost or _LOST[way]
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
        mounting.set_propagation(".", abi.MS_SLAVE | abi.MS_REC)  # or the host would lose its mounts, too
        libc.umount2(".", abi.MNT_DETACH)
    os.close(old)
    os.chdir("/")


def _move(stage) -> "list[str]":
    """Where a /proc or /sys of the host's stays that could not be hidden."""
    old = os.open("/", abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounting.set_propagation("/", abi.MS_SLAVE)  # or with rootfsPropagation the host would have our root, too
    os.fchdir(stage.root)
    libc.mount(".", "/", "", abi.MS_MOVE)
    if stage.lower >= 0:
        _let_go(stage.lower)
        os.fchdir(stage.root)
    table = mountinfo.table(paths.read_proc(stage.proc, "self/mountinfo"))
    inside = set(mountinfo.below(table, mountinfo.mount_id(stage.root)))
    libc.chroot(".")
    with step("hide the host's /proc and /sys"):  # no other way may follow
        whole = [number for number in table if table[number].kind in ("proc", "sysfs")]
        whole = [number for number in whole if table[number].root == "/" and number not in inside]
        left = _Below(old, stage.proc, table).hide(whole)
    os.close(old)
    os.chdir("/")
    return left


def _record_below(stage, places: "list[str]") -> None:
    why = "they are out of our reach below the moved root: " + ", ".join(map(printable, places))
    lost = "a user namespace made inside can mount a /proc or /sys in which nothing is masked"
    wanted, got, fix = "no whole /proc or /sys but the container's", "the host's, too", "as root: umount them"
    stage.degrade(Degradation("masked-below", "masked paths", wanted, got, lost, 0, why, fix))


def _let_go(lower: int) -> None:
    """What an overlay was made from, and its memory, which lies over that: of the host's root a second /proc
    and /sys are part, to which no name leads. The overlay holds what it needs by itself."""
    with step("let go of what lies under the overlay"):
        os.fchdir(lower)
        libc.umount2(".", abi.MNT_DETACH)  # the topmost there
        libc.umount2(".", abi.MNT_DETACH)


class _Below:
    """The old root, which stays below ours. As long as a whole /proc is mounted anywhere in it, the kernel
    lets a user namespace in the container mount one more, without what we have masked (mount_too_revealing
    in fs/namespace.c).

    root: a descriptor of it; proc: from paths.open_proc; table: what is mounted
    """

    def __init__(self, root: int, proc: int, table: "dict[int, mountinfo.Row]") -> None:
        self.root, self.proc, self.table = root, proc, table

    def hide(self, numbers: "list[int]") -> "list[str]":
        """Hide these mounts; the places come back of those that cannot be reached."""
        hidden = [0]
        while hidden:  # one may lie over another
            hidden = [number for number in sorted(numbers, reverse=True) if self._hide(number)]
            numbers = [number for number in numbers if number not in hidden]
        covered = [(row.parent, row.place) for row in self.table.values()]
        places = [(number, self.table[number].place) for number in numbers]
        return [place for number, place in places if (number, place) not in covered]

    def _hide(self, number: int) -> bool:
        place = self._reach(number)
        if place < 0:
            return False
        parent = self.table.get(self.table[number].parent)
        if parent is not None and parent.shared:
            above = self._reach(self.table[number].parent)
            if above < 0:
                os.close(place)
                return False
            os.fchdir(above)
            mounting.set_propagation(".", abi.MS_SLAVE)  # or the host would lose it, too
            os.close(above)
        os.fchdir(place)
        os.close(place)
        mounting.set_propagation(".", abi.MS_SLAVE | abi.MS_REC)  # and what is mounted in it
        try:
            libc.umount2(".", abi.MNT_DETACH)
        except OSError as error:
            if error.errno not in (abi.EINVAL, abi.EPERM):  # of the user namespace above: ours to cover alone
                raise
            flags = abi.MS_RDONLY | abi.MS_NOSUID | abi.MS_NODEV | abi.MS_NOEXEC
            libc.mount("none", ".", "tmpfs", flags, "size=4k")
        return True

    def _reach(self, number: int) -> int:
        """The root of a mount; -1 where it has no name, or a directory on the way to it is closed to us."""
        flags = abi.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            found = os.open("." + self.table[number].place, flags, dir_fd=self.root)
        except OSError as error:
            if error.errno not in (abi.EACCES, abi.ENOENT, abi.ENOTDIR):
                raise
            return -1
        if mountinfo.mount_id(found, self.proc) == number:
            return found
        os.close(found)
        return -1


def _chroot(stage) -> None:
    os.fchdir(stage.root)
    libc.chroot(".")
    os.chdir("/")


def _chdir(stage) -> None:
    os.fchdir(stage.root)


_WAYS = {"pivot_root": _pivot, "move": _move, "chroot": _chroot, "chdir": _chdir}
