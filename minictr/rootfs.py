"""The container's root file system, put together on a stage.

Everything is attached below a descriptor of the new root while the host's own is still there, so
sources and targets never share a name; only then is the root changed (`enter`).

Side: container
"""

import _stat as stat

from . import abi, libc, mounting, mounts, namespaces, paths
from . import unix as os
from .errors import ContainerError, Degradation, step

REFUSED = mounts.REFUSED
# What is lost where nothing can be mounted
LOST = "volumes, a private /proc, /dev and /sys, masked paths, a read-only root"

# Where a mount's target can be neither reached nor made
CLOSED = "its root may not make or enter that: make it in the root file system beforehand, open to all"


class Stage:
    """The root while it is put together.

    plan: a plan.Plan; proc: from paths.open_proc; degrade: takes a Degradation, and may raise
    trees: for mounts whose ids are shown otherwise, detached clones that the runtime made:
        {index in plan.mounts, or -1 for the root: descriptor}
    sources: descriptors of what of the host is mounted, by the same numbers; base: of the plan's stage
    root: a descriptor of the new root, once `lay` has run; lower: what an overlay lies over, -1 without one
    mountable: mounts can be made at all; obstacle: why not
    kernel: descriptors of what has been mounted on /proc and /sys, by these names
    dev: that of the file system made on /dev, -1 without one
    late: places and descriptors of what is made read-only at the end
    apart: descriptors of mounts in their order and how each is to spread, where the root says it for all
    confinement: a landlock.Ruleset that stands in for the root, once it had to be entered without one
    """

    def __init__(self, plan, proc: int, degrade, trees: "dict[int, int]") -> None:
        self.plan, self.proc, self.degrade, self.trees = plan, proc, degrade, trees
        self.root = self.lower = -1
        self.mountable, self.obstacle = True, ""
        self.sources = {}  # type: dict[int, int]
        self.base = self.dev = -1
        self.kernel = {}  # type: dict[str, int]
        self.late = []  # type: list[tuple[str, int]]
        self.apart = []  # type: list[tuple[int, int]]
        self.confinement = None  # type: object

    # --- before the ids change ------------------------------------------------------------

    def open_sources(self) -> None:
        """Open what of the host will be mounted, by the rights of the caller, each path once."""
        plan = self.plan
        with step("open the root file system %s" % plan.root.path):
            flags, straight = abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, plan.spec.straight_root
            if straight:
                self.sources[-1] = paths.open_straight(plan.spec.bundle, straight)
            else:
                self.sources[-1] = os.open(plan.root.path, flags)
        with step("open the stage %s" % plan.root.stage):
            own = plan.root.stage != plan.root.path  # else it is the same directory, by whatever path
            self.base = os.open(plan.root.stage, flags) if own else os.dup(self.sources[-1])
        for index, mount in enumerate(plan.mounts):
            if mount.kind == "bind" and index not in self.trees:
                with step(str(mount), hints={abi.ENOENT: "the source does not exist"}):
                    flags = abi.O_PATH | os.O_CLOEXEC | (os.O_NOFOLLOW if mount.nofollow else 0)
                    self.sources[index] = os.open(mount.source, flags)

    def isolate(self) -> None:
        """Keep what is mounted from here on to ourselves."""
        try:
            namespaces.at_a_mount(self.proc, self._isolate)
        except OSError as error:
            if error.errno not in REFUSED:
                raise ContainerError("isolate mounts", "", error.errno or 0) from error
            self.mountable, self.obstacle = False, "mount(2) is refused"
            number = error.errno or 0
            self.degrade(
                Degradation("mounts", "mounts", "a private view", "none", LOST, number, cause="mount")
            )

    def _isolate(self) -> None:
        mounting.set_propagation("/", self.plan.root.around)
        if self.plan.root.around & abi.MS_SHARED:  # the root must not spread, nor lie on what does
            mounting.make_private(self.base, self.proc)

    # --- putting it together ----------------------------------------------------------------

    def attach(self) -> None:
        """Attach the root file system itself on the stage, which others cannot see or reach."""
        plan = self.plan.root
        if not self.mountable:
            self.root = self.sources[-1]
            return
        with step("attach the root file system %s" % plan.path):
            private = abi.MS_PRIVATE | abi.MS_REC
            # no cgroup may be there to stop a device node that came with an image; what is mounted in a
            # bundle's root was put there for it
            nodev = abi.MOUNT_ATTR_NODEV if self.plan.inner_user and plan.source != "host" else 0
            both = {"set_all" if plan.source == "rootfs" else "set": nodev}
            mount = mounts.Mount(target="", kind="bind", recursive=True, propagation=private, **both)
            self.root = self._attach_tree(-1, plan.path, self.base, self.base, mount)
            if plan.source == "rootfs" and plan.readonly:  # a bundle's root says nothing of what lies below
                mounting.make_readonly_below(self.root)

    def _attach_tree(self, index: int, path: str, root: int, target: int, mount) -> int:
        """Bind source INDEX, which is the host's PATH, on TARGET: with other ids where that was asked for."""
        over = root == target
        tree = self.trees.get(index)
        if tree is not None:
            try:
                return mounting.bind(root, tree, target, mount, tree, over)
            except OSError as error:  # without move_mount(2) such a tree cannot be used
                if error.errno not in REFUSED:
                    raise
                self.degrade(ids_record(path, error.errno))
        return mounting.bind(root, self.sources[index], target, mount, None, over)

    def lay(self) -> None:
        """An overlay over it, or make it read-only, where the plan says so."""
        plan = self.plan.root
        if not self.mountable:
            return
        if plan.overlay:
            from . import overlay  # loaded by `clone`, before the fork

            overlay.lay(self)
        elif plan.early_readonly:
            with step("make the root read-only"):
                mounting.make_readonly(self.root, self.root, recursive=True)

    def populate(self) -> None:
        """Every mount of the plan, in order."""
        for index, mount in enumerate(self.plan.mounts):
            if self.mountable:
                self._mount(index, mount)

    def _mount(self, index: int, mount) -> None:
        if mount.kind == "bind":
            try:
                self._bind(index, mount)
            except OSError:
                with step(str(mount), hints=self._hints_of_bind(index, mount)):
                    raise
        elif mount.kind in ("cgroup", "cgroup2"):
            self._cgroup(mount)
        else:
            self._create(mount)

    def _hints_of_bind(self, index: int, mount) -> "dict[int, str]":
        place, others = paths.plain(mount.target), self.plan.mounts[:index]
        within = [other for other in others if place.startswith(paths.plain(other.target) + "/")]
        hints = {abi.EROFS: "choose a target that exists in the root, or --overlay"}
        if within:  # of which an overlay of the root changes nothing
            hints[abi.EROFS] = "choose a target that exists in what is mounted on %s" % within[-1].target
        hints[abi.EEXIST] = "a link takes the place of nothing: choose a target that is not there"
        hints[abi.EINVAL] = "it cannot be bound if its mount is unbindable"
        if self.plan.inner_user and not mount.recursive:  # it would uncover what lies below
            hints[abi.EINVAL] += ", nor without what is mounted below it in a user namespace: use rbind"
        if mount.set_all:
            hints[abi.EACCES] = "before Linux 5.12 what is mounted below must be in reach; bind leaves it out"
        return hints

    def _bind(self, index: int, mount) -> None:
        tree = self.trees.get(index)
        source = self.sources[index] if tree is None else tree
        kind = os.fstat(source).st_mode
        if mount.copy_link and stat.S_ISLNK(kind):
            mounting.copy_link(self.root, source, mount)
            return
        is_directory = stat.S_ISDIR(kind)
        target = self.target(mount, is_directory)
        if paths.plain(mount.target) == "/proc":
            if libc.fstatfs_type(source) != abi.PROC_SUPER_MAGIC:
                raise ContainerError(str(mount), "only the proc file system may be mounted on /proc")
        if is_directory != stat.S_ISDIR(os.fstat(target).st_mode):
            kinds = ("a directory", "a file") if is_directory else ("a file", "a directory")
            raise ContainerError(str(mount), "the source is %s, the target %s" % kinds)
        self._keep(mount, self._attach_tree(index, mount.source, self.root, target, mount))
        os.close(target)

    def _keep(self, mount, made: int) -> None:
        """What is /proc, /sys or /dev is known by its descriptor from now on: who shares the root with us may
        give its mount point another name, and put something else there (CVE-2023-27561)."""
        place = paths.plain(mount.target)
        asked = self.plan.root.propagation
        if asked in mounts.LATE_FOR_ALL:  # what lies in a mount that says its own is not to have that, too
            self.apart.append((os.dup(made), mount.propagation or asked))
        if place == "/dev" and mount.kind != "bind":
            made, self.dev = self.dev, made
        if place in ("/proc", "/sys"):
            made, self.kernel[place] = self.kernel.get(place, -1), made
        if made >= 0:
            os.close(made)

    def target(self, mount, directory: bool) -> int:
        """The descriptor of a mount's target, made if missing; never the root, nor below /proc but for
        a file that only tells."""
        place = paths.plain(mount.target)
        if place == "/":
            raise ContainerError(str(mount), "a mount over the root", hint="use --rootfs")
        if place == "/proc" and mount.kind not in ("proc", "bind"):
            raise ContainerError(str(mount), "only the proc file system may be mounted on /proc")
        if place in mounts.TELLING and mount.kind == "bind" and "/proc" in self.kernel:
            with step(str(mount), hints={abi.ENOENT: "this kernel has no %s" % place}):
                return paths.open_in(self.kernel["/proc"], place[len("/proc") :])
        try:
            target = paths.make_in(self.root, mount.target, directory)
        except OSError as error:
            if place.startswith("/proc/"):  # there nothing can be made
                raise ContainerError(str(mount), "nothing may be mounted over /proc") from None
            if error.errno == abi.EACCES:  # a directory of ids that the container has not
                raise ContainerError(str(mount), "", abi.EACCES, CLOSED) from error
            raise
        if libc.fstatfs_type(target) == abi.PROC_SUPER_MAGIC and place != "/proc":
            os.close(target)
            raise ContainerError(str(mount), "nothing may be mounted over /proc")
        if mounting.same_place(target, self.root):
            os.close(target)
            raise ContainerError(str(mount), "the target leads back to the root")
        return target

    def in_dev(self, path: str) -> "tuple[int, str]":
        """What a name below /dev is looked up under, and as what: the fresh /dev, else the root."""
        return (self.dev, path[4:]) if self.dev >= 0 and path.startswith("/dev/") else (self.root, path)

    def _create(self, mount) -> None:
        place = paths.plain(mount.target)
        late = mount.set & abi.MOUNT_ATTR_RDONLY if place == "/dev" or mount.kind == "tmpfs" else 0
        if late:
            mount = mount.replace(set=mount.set & ~late)
        hint = "choose a target that exists in the root"
        if self.plan.root.source == "host":  # where what a user chooses has been looked for
            hint = "mkdir %s on the host, or --overlay" % place
        try:
            with step(str(mount), hints={abi.EROFS: hint}):
                if mount.kind == "tmpfs" and not any(word.startswith("mode=") for word in mount.words):
                    mount = self._with_mode(mount)
                target = self.target(mount, True)
                if mount.kind in ("proc", "sysfs"):
                    target = _must_be(self.root, place, target)
                elif not stat.S_ISDIR(os.fstat(target).st_mode):  # the kernel has EINVAL for it
                    raise ContainerError(str(mount), "the target is not a directory")
                if mount.kind == "mqueue" and self.plan.mount_label:
                    made = self._label_queues(target, mount)
                else:
                    made = mounting.create(self.root, target, mount)
                if mount.copy_up:
                    from . import copy_up  # loaded by `clone`, before the fork

                    copy_up.fill(target, made)
                if late:  # what is to be made or mounted in it comes first
                    self.late.append((place, os.dup(made)))
        except ContainerError as error:
            with step(str(mount)):
                if error.number not in REFUSED + (abi.ENODEV,) or not self._instead(mount, error):
                    raise
            return
        self._keep(mount, made)
        os.close(target)

    def _with_mode(self, mount):
        """Of the directory that it covers, if there is one, as with runc: 01777, the kernel's own choice,
        would let everybody write where nobody else could."""
        try:
            covered = paths.open_in(self.root, mount.target)
        except OSError:
            return mount
        mode = stat.S_IMODE(os.fstat(covered).st_mode)
        os.close(covered)
        return mount.replace(words=mount.words + ("mode=%o" % mode,))

    def _label_queues(self, target: int, mount) -> int:
        """The message queues with their label, which is no option of theirs: there is one file system of
        them for each IPC namespace, of him who made that. So in a user namespace it is made by us."""
        from . import lsm  # loaded before the fork

        if self.plan.new_user and "ipc" in self.plan.namespaces:
            libc.unshare(abi.CLONE_NEWIPC)
        made = mounting.create(self.root, target, mount)
        lsm.label_file(made, self.plan.mount_label, "the message queues")
        return made

    # --- steps down -----------------------------------------------------------------------

    def _instead(self, mount, error: ContainerError) -> bool:
        """The next way for a file system that was refused; False where there is none."""
        if mount.kind == "proc":
            return self._less_proc(mount, error.number)
        if mount.kind == "sysfs":
            lost = "the host's network devices and control groups are shown"
            return self._bound(mount, error.number, abi.SYSFS_MAGIC, lost)
        if mount.kind == "mqueue":
            lost = "POSIX message queues are the host's"
            return self._bound(mount, error.number, abi.MQUEUE_MAGIC, lost)
        if mount.kind == "devpts":
            self._record("devpts", mount, "none", error.number, "pseudo terminals")
            return True
        return False

    def _less_proc(self, mount, number: int) -> bool:
        """A fresh /proc is refused where the one we see is covered in parts (an outer container):
        then one that shows processes only, an empty directory, or the host's on demand."""
        target = self.target(mount, True)
        try:
            words = mount.words + ("subset=pid",)
            self._keep(mount, mounting.create(self.root, target, mount.replace(words=words)))
            self._record("proc-subset", mount, "subset=pid", number, "everything in /proc but processes")
            return True
        except (OSError, ContainerError) as error:
            again = getattr(error, "number", 0) or getattr(error, "errno", 0)
            if again not in REFUSED + (abi.EINVAL,):  # the latter before 5.8
                raise
        if self.plan.host_proc:
            whole = mounts.Mount(target=mount.target, kind="bind", source="/proc", recursive=True)
            source = os.open("/proc", abi.O_PATH | os.O_CLOEXEC)
            self._keep(mount, mounting.bind(self.root, source, target, whole))
            self._record("proc-host", mount, "the host's", number, "every process of the host is shown")
            return True
        cover = mounts.Mount(target=mount.target, kind="tmpfs", source="none",
                             set=abi.MOUNT_ATTR_RDONLY, words=("size=4k",))  # fmt: skip
        self._keep(mount, mounting.create(self.root, target, cover))
        lost = "/proc is empty: ps, top and /dev/fd do not work"
        self._record("proc-empty", mount, "an empty directory", number, lost, "--host-proc shows the host's")
        return True

    def _bound(self, mount, number: int, magic: int, lost: str) -> bool:
        """The host's own file system of that kind, read-only, in the place of a fresh one; where it has none
        there, it stays out."""
        place, code = "/" + mount.target.strip("/"), mount.kind
        try:
            source = os.open(place, abi.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in REFUSED + (abi.ENOENT,):
                raise
            self._record(code + "-none", mount, "none", number, "%s is missing" % place)
            return True
        if libc.fstatfs_type(source) != magic:
            os.close(source)
            self._record(code + "-none", mount, "none", number, "what programs look for in %s" % place)
            return True
        whole = mount.replace(kind="bind", source=place, recursive=True, words=(), flags=0,
                              set_all=mount.set | abi.MOUNT_ATTR_RDONLY, set=0, clear=0)  # fmt: skip
        target = self.target(whole, True)
        self._keep(mount, mounting.bind(self.root, source, target, whole))
        os.close(target)
        self._record(code + "-host", mount, "the host's, read-only", number, lost)
        return True

    def _record(self, code: str, mount, got: str, number: int, lost: str, fix: str = "") -> None:
        wanted = "a fresh %s on %s" % (mount.kind, mount.target)
        owner = {"proc": "pid", "sysfs": "network", "mqueue": "ipc"}.get(mount.kind, "")
        # --net host asks for the host's /sys as well: nothing is lost that was wanted. Who names a namespace
        # wants what belongs to that; of a bundle that joins one (a pod's) every runtime is silent about it
        joined = owner in [kind for kind, _ in self.plan.joins] and self.plan.spec.source != "bundle"
        bare = owner and owner not in self.plan.namespaces and code.endswith(("-host", "-none"))
        asked = bare and not joined
        if bare and joined:
            fix = "--userns with the user namespace that this one belongs to"
        level = "notice" if asked else "warning"
        self.degrade(Degradation(code, mount.kind, wanted, got, lost, number, "", fix, level, mount.kind))

    def _cgroup(self, mount) -> None:
        from . import cgroup_mount

        cgroup_mount.attach(self, mount)

    # --- the end ------------------------------------------------------------------------------

    def spread(self) -> None:
        """How the new root, which is entered by now, and what is mounted in it spread."""
        asked = self.plan.root.propagation
        if asked & (abi.MS_SHARED | abi.MS_UNBINDABLE):  # it is private until then
            with step("set rootfsPropagation"):
                mounting.set_propagation("/", asked)
                for made, own in self.apart:
                    mounting.propagate(made, own)
        for made, _ in self.apart:
            os.close(made)

    def freeze(self) -> None:
        """A read-only root, /dev and tmpfs, last of all: until now targets could be made in them."""
        for place, made in self.late:
            with step("make %s read-only" % place):
                mounting.make_readonly(self.root, made)
            os.close(made)
        if self.plan.root.readonly and self.mountable and not self.plan.root.early_readonly:
            with step("make the root read-only"):
                mounting.make_readonly(self.root, self.root)


def ids_record(path: str, number: int) -> Degradation:
    """The files of PATH cannot be shown with the container's ids."""
    return Degradation(
        "idmap", "id-mapped mount", "the files of %s with the container's ids" % path, "the host's ids",
        "files of unmapped users show as nobody's and cannot be written", number, cause="idmap",
    )  # fmt: skip


def _must_be(root: int, place: str, target: int) -> int:
    """/proc and /sys must be directories of the root itself, behind no link (CVE-2019-19921); TARGET, or
    where that could have changed since it was opened (CVE-2023-27561), what was looked at."""
    first, _, rest = place.strip("/").partition("/")
    found = os.open(first, abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    if stat.S_ISLNK(os.fstat(found).st_mode):
        raise ContainerError("mount on %s" % place, "a symbolic link", hint="make it a directory")
    if not stat.S_ISDIR(os.fstat(target if rest else found).st_mode):
        raise ContainerError("mount on %s" % place, "not a directory")
    os.close(found if rest else target)
    return target if rest else found
