"""Which mounts a container of the native form has, and in which order: its defaults, what hides the host's
own places, and the user's (`volumes` reads those).

Side: host
"""

from . import mounts
from . import unix as os
from .errors import printable
from .words import bad

_OPTIONS = ("volume", "mount", "tmpfs", "device")


def configure(given: "dict", config: "dict", fields: "dict") -> None:
    """A stage of `native.configure`: the mounts and devices that GIVEN names."""
    defaults = config["mounts"]
    if given.get("ipc") == "host":
        defaults = [_shared_ipc(mount) for mount in defaults]
    for mount in defaults:
        if "shm-size" in given and mount["destination"] == "/dev/shm":
            if mount["type"] != "tmpfs":
                raise bad("--shm-size", given["shm-size"], "the host's /dev/shm keeps its size")
            from . import volumes  # only where it is given

            mount["options"][-1] = volumes.size_option("--shm-size", given["shm-size"])
    wanted = _wanted(given, fields["source"])
    if given.get("systemd"):
        show_cgroup(defaults, "rw")
    devices = {one["path"]: one for _, _, one in wanted if "major" in one}
    if devices:
        config["linux"]["devices"] = list(devices.values())
        wanted = [item for item in wanted if "major" not in item[2]]
    if "device" in given or "device-cgroup-rule" in given:
        from . import volumes  # as above

        # a node is no use where the cgroup does not allow what it stands for
        rules = [volumes.device_rule(text, "privileged" in given) for text in given.get("device", ())]
        rules += [volumes.cgroup_rule(text) for text in given.get("device-cgroup-rule", ())]
        config["linux"].setdefault("resources", {})["devices"] = rules
    private, closed = [], False  # type: list[dict], bool
    if fields["source"] == "host":
        home, asked = os.getenv("HOME", ""), [one["destination"] for _, _, one in wanted]
        keeps = fields["userns"] == "keep-id" and not _within(os.path.realpath(home), asked)
        private = host_mounts(home, given.get("net") == "host", fields["kept"] if keeps else None)
        closed = not fields["overlay"]
        config["linux"]["maskedPaths"] += elsewhere(asked)
    config["mounts"] = arrange(defaults, wanted, private, closed)


def _wanted(given: "dict", source: str) -> "list[tuple[str, str, dict]]":
    """What is mounted, or is a device, beside the defaults: (option, text, mount)."""
    wanted = []  # type: list[tuple[str, str, dict]]
    if not given.keys().isdisjoint(_OPTIONS):
        from . import volumes  # only for those who have some

        wanted = volumes.parse(given, _OPTIONS)
    if "read-only-tmpfs" in given and "read-only" in given and source == "rootfs":
        from . import volumes  # the host's own root has private ones anyway

        wanted = wanted + volumes.temporary([one.get("destination") for _, _, one in wanted])
    if given.get("systemd"):
        from . import systemd_inside  # hardly ever

        asked = [one.get("destination") for _, _, one in wanted]
        wanted = wanted + systemd_inside.memory(asked + (["/run", "/tmp"] if source == "host" else []))
    return wanted


def _shared_ipc(mount: "dict") -> "dict":
    """--ipc host: its shared memory and queues are files of the host's, too."""
    where = mount["destination"]
    if where not in ("/dev/shm", "/dev/mqueue") or not os.path.isdir(where):
        return mount
    options = ["rbind", "rprivate", "nosuid", "nodev", "noexec"]
    # type none: what the container makes there must not become the host's root's
    return mounts.entry(where, "none", where, options)


def host_mounts(home: str, resolver: bool, kept: "tuple[int, int] | None" = None) -> "list[dict]":
    """What lies over the host's own root: memory of the container's own, and the homes hidden.

    home: the caller's $HOME; resolver: keep the file visible that /etc/resolv.conf leads to
    kept: the caller's ids inside, if they are kept: their home is there, empty, and theirs
    Only what exists on this host: nothing can be made in a root that is read-only.
    """
    found = []
    places = [("/tmp", "1777"), ("/var/tmp", "1777"), ("/run", "755")]
    # /home may be walked through, so that a volume below it is there for every --user
    places += [("/home", "755"), ("/root", "700")]
    if home.startswith("/") and not _within(os.path.realpath(home), _SYSTEM):
        places.append((home, "755"))
    covered = []  # type: list[str]
    for path, mode in places:
        real = os.path.realpath(path)
        owner = ["uid=%d" % kept[0], "gid=%d" % kept[1]] if kept and path == home else []
        hidden = real in covered if owner else _within(real, covered)
        if real != "/" and os.path.isdir(real) and not hidden:
            covered.append(real)
            options = ["nosuid", "nodev"] + owner + ["mode=" + mode]
            found.append(mounts.entry(real, "tmpfs", "tmpfs", options))
    name = os.path.realpath("/etc/resolv.conf")
    if resolver and name.startswith("/run/") and os.path.isfile(name):
        options = ["bind", "rprivate", "nosuid", "nodev", "noexec", "ro"]
        # type none: as on the host's own root beside it, the ids of its files are left as the host has them
        found.append(mounts.entry(name, "none", name, options))
    return found


def elsewhere(wanted: "list[str]") -> "list[str]":
    """Where the host has further mounts of the kernel's own files, as in a root that somebody has entered by
    chroot(1): by its /proc all processes of the host are seen, by its /dev the caller's terminal is reached.

    wanted: what of it the user has asked for
    """
    from . import mountinfo  # a millisecond on a host with 1,000 mounts, which others need not spend

    known = list(_KERNELS) + wanted
    places = [row.place for row in mountinfo.own().values() if row.kind in _KERNEL_KINDS]
    return [place for place in sorted(set(places)) if place != "/" and not _within(place, known)]


_CGROUPS = "/sys/fs/cgroup"
_KERNELS = ("/proc", "/sys", "/dev")  # the container has its own
_KERNEL_KINDS = ("proc", "sysfs", "devtmpfs", "devpts")


def arrange(
    defaults: "list[dict]", wanted: "list[tuple[str, str, dict]]",
    private: "list[dict]" = [], closed: bool = False,
) -> "list[dict]":  # fmt: skip
    """All mounts in their order.

    defaults: come first, as they are; wanted: (option, text, mount) of the user's
    private: give way to one of the user's on the same place, as the defaults do
    closed: the root is the host's and read-only, so that no place for a mount can be made in it
    The others are sorted by depth: one on /a must not hide one on /a/b.
    """
    places = {}  # type: dict[str, str]
    for option, text, entry in wanted:
        where = entry["destination"]
        if where in places:
            raise bad(option, text, "there is a mount on %s already: %s" % (printable(where), places[where]))
        places[where] = "%s %s" % (option, printable(text))
    own = [entry for entry in private if entry["destination"] not in places]
    if closed:
        inside = [entry["destination"] for entry in own + defaults if entry["type"] == "tmpfs"]
        inside += list(places)
        for option, text, entry in wanted:
            _must_exist(option, text, entry, inside)
    own += [entry for _, _, entry in wanted]
    own.sort(key=lambda entry: entry["destination"].count("/"))
    return [entry for entry in defaults if entry["destination"] not in places] + own


def show_cgroup(entries: "list[dict]", option: str) -> None:
    """Mount the container's own cgroup after the /sys of ENTRIES, but where something else is mounted.
    option: ro or rw"""
    kinds = [mount.get("type") for mount in entries]
    if "sysfs" in kinds and _CGROUPS not in [mount["destination"] for mount in entries]:
        options = ["nosuid", "noexec", "nodev", "relatime", option]
        entries.insert(kinds.index("sysfs") + 1, mounts.entry(_CGROUPS, "cgroup", "cgroup", options))


_SYSTEM = ("/bin", "/sbin", "/usr", "/lib", "/lib32", "/lib64", "/etc", "/dev", "/proc", "/sys")


def _must_exist(option: str, text: str, entry: "dict", inside: "list[str]") -> None:
    where = entry["destination"]
    if not os.path.exists(where) and not _within(os.path.dirname(os.path.realpath(where)), inside):
        why = "%s does not exist on the host, whose root is read-only here" % printable(where)
        raise bad(option, text, why, "choose a place below /tmp or /run, or use --overlay")


def _within(path: str, directories: "tuple[str, ...] | list[str]") -> bool:
    return any(path == place or path.startswith("%s/" % place) for place in directories)
