"""What of the kernel's own files, in /proc, /sys and the cgroups, a plan shows, and whether the container
may write to it.

Side: host
"""

from . import abi, mounts
from . import unix as os


def uncovered(plan) -> str:
    """What of the kernel's in /proc and /sys PLAN leaves open that a container has masked or read-only: the
    host's memory, and its settings, which a program of the host's root can make run anything on the host
    (kernel/core_pattern, uevent_helper). "" for nothing.

    So do the host's control groups: who moves to another one is held by its rules for devices. A container's
    own are a mount of that type.
    """
    if not plan.masked_paths:
        return "no path is masked"
    if not _covered("/proc/kcore", plan.masked_paths):
        return "/proc/kcore is not masked"
    places = [("/proc" + name, True) for name in _SETTINGS["proc"]] + [("/sys", True)]  # whatever is there
    shown = layout(plan)
    for number, mount in enumerate(shown):  # what is mounted elsewhere is the same kernel's
        names, target = _SETTINGS.get(mount.kind, ()), mount.target.rstrip("/")
        if mount not in plan.mounts:
            names = names if names and mount.source == "/" else ("",)
        elif mount.kind == "bind":
            names = ("",) if _of_kernel(mount) else ()
        elif "subset=pid" in mount.words:
            names = ()
        named = bool(names) and _named(plan, shown, number)
        if mount.kind == "proc" and mount in plan.mounts and names:
            if not (named and _covered(target + "/kcore", plan.masked_paths)):
                return "%s/kcore is not masked" % target
        places += [(target + name, named) for name in names]
    for place, named in places:
        if _open(plan, place, shown, named):
            return "%s can be written to" % place
    return ""


def _named(plan, shown: "list[mounts.Mount]", number: int) -> bool:
    """Whether the name of a mount leads to it in the end, when paths are masked and made read-only.

    A link may be on its way, in the root or in a volume, and a later mount over that: then it stays open."""
    if shown[number].target in ("/proc", "/sys") and shown[number].kind != "bind":  # which are no links
        return True
    asked = set(map(id, plan.mounts))
    brought = not any(id(mount) in asked for mount in shown[: number + 1])  # with the root
    later = [mount for mount in shown[number + 1 :] if id(mount) in asked]
    return brought or all(_covered(mount.target, (shown[number].target,)) for mount in later)


def processes(plan) -> str:
    """Where a /proc of the host's comes inside, by which PLAN's own is not all there is; "" for nowhere."""
    shown = layout(plan)
    for number, mount in enumerate(shown):
        if mount.kind == "bind":
            top, _, name = os.path.realpath(mount.source)[1:].partition("/")
            found = top == "proc" and (not name or name[0].isdigit())
        else:
            found = mount.kind == "proc" and mount not in plan.mounts
        later = tuple([other.target for other in shown[number + 1 :]])
        if found and not (_named(plan, shown, number) and _covered(mount.target, plan.masked_paths + later)):
            return mount.target
    return ""


def layout(plan) -> "list[mounts.Mount]":
    """The mounts of PLAN in their order, and between them what of the kernel's own the host has elsewhere, as
    in the root of a chroot, and what so comes inside: below the root file system or the source of a bind
    mount, or as such a source. As `source` these have the part that is shown, which is "/" for all of it."""
    from . import signs  # only where it is asked what a container is worth

    rows = {row.place: row for row in signs.mounts()}  # of several on one place the last is seen
    root = mounts.Mount(target="/", kind="bind", source=plan.root.path, recursive=True)
    if plan.root.early_readonly or plan.root.overlay or (plan.root.readonly and plan.root.source == "rootfs"):
        root = root.replace(set_all=abi.MOUNT_ATTR_RDONLY)
    kinds = tuple(_SETTINGS) + ("cgroup", "cgroup2")
    found = _brought(root, rows, kinds)
    for mount in plan.mounts:
        if mount.copy_link and _is_link(mount.source):  # it is made again, and covers nothing
            continue
        found.append(mount)
        if mount.kind == "bind" and not _of_kernel(mount):
            found += _brought(mount, rows, kinds)
    return found


def _is_link(path: str) -> bool:
    try:
        return bool(os.readlink(path))
    except OSError:
        return False


def _brought(mount, rows: "dict", kinds: "tuple[str, ...]") -> "list[mounts.Mount]":
    """A device or a directory of the host's /dev is a device that is handed in."""
    source, target = os.path.realpath(mount.source).rstrip("/"), mount.target.rstrip("/")
    on = max([place for place in rows if _covered(source, (place,))], key=len, default="/")
    part = source[len(on.rstrip("/")) :]
    places = [on] if on in rows and not (part and rows[on].kind == "devtmpfs") else []
    if mount.recursive:
        places += sorted([place for place in rows if place.startswith(source + "/")])
    found = []
    for place in places:
        row, whole = rows[place], place != on
        if row.kind not in kinds or "subset=pid" in row.words.split(","):
            continue
        set_ = mount.set_all | (0 if whole else mount.set)
        clear = mount.clear_all | (0 if whole else mount.clear)
        kept = row.options.split(",")[0] == "ro" and not clear & abi.MOUNT_ATTR_RDONLY
        found.append(
            mounts.Mount(
                target=(target + place[len(source) :] if whole else target) or "/", kind=row.kind,
                source=row.root if whole else row.root.rstrip("/") + part or "/",
                set=abi.MOUNT_ATTR_RDONLY if kept else set_ & abi.MOUNT_ATTR_RDONLY,
            )
        )  # fmt: skip
    return found


# File systems of which there is one for the whole host, by which its root sets what the kernel does, or
# changes what the host's programs find there (its very /dev), and below which names
_SETTINGS = {
    "proc": ("/sys", "/sysrq-trigger", "/acpi", "/bus", "/fs", "/irq", "/scsi"), "sysfs": ("",),
    "binfmt_misc": ("",), "configfs": ("",), "debugfs": ("",), "devtmpfs": ("",), "efivarfs": ("",),
    "fusectl": ("",), "nfsd": ("",), "pstore": ("",), "resctrl": ("",), "securityfs": ("",),
    "selinuxfs": ("",), "smackfs": ("",), "tracefs": ("",), "xenfs": ("",),
}  # type: dict[str, tuple[str, ...]]  # fmt: skip


def _open(plan, place: str, shown: "list[mounts.Mount]", named: bool) -> bool:
    """Whether PLACE is the kernel's own and may be written to. named: its name leads there (`_named`)"""
    over = [mount for mount in shown if _covered(place, (mount.target,))]
    if not named:
        return any(_of_kernel(mount) and mode(mount) == "writable" for mount in over)
    return bool(over) and _of_kernel(over[-1]) and _writable(plan, place, over)


def _of_kernel(mount) -> bool:
    if mount.kind == "bind":
        return _covered(os.path.realpath(mount.source), ("/proc", "/sys"))
    return mount.kind in _SETTINGS or mount.kind in ("cgroup", "cgroup2")


def _covered(path: str, places: "tuple[str, ...]") -> bool:
    return any((path + "/").startswith(place.rstrip("/") + "/") for place in places)


def writable(plan, path: str) -> bool:
    """Whether the configuration shows the file PATH so that it may be written to."""
    return _writable(plan, path, [mount for mount in plan.mounts if _covered(path, (mount.target,))])


def _writable(plan, path: str, over: "list[mounts.Mount]") -> bool:
    if _covered(path, plan.readonly_paths + plan.masked_paths):
        return False
    return bool(over) and mode(over[-1]) == "writable"


def mounted(plan, place: str):
    """The mount of the plan that shows what is at PLACE; None where there is none."""
    over = [mount for mount in plan.mounts if _shows(mount, place)]
    return over[-1] if over else None


def _shows(mount, place: str) -> bool:
    """A file system of the kernel's is none but at its own place: what /sys/fs/cgroup has is no sysfs."""
    target = mount.target.rstrip("/")
    return place == target or (mount.kind == "bind" and place.startswith(target + "/"))


def mode(mount) -> str:
    """What is bound with all that is mounted below is read-only where all of that is."""
    if mount is None:
        return ""
    own = 0 if mount.kind == "bind" and mount.recursive else mount.set
    return "read-only" if (own | mount.set_all) & abi.MOUNT_ATTR_RDONLY else "writable"
