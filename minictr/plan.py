"""What will be done, as plain data: every choice between root and rootless is made here.

`make` is pure: it asks nothing of the kernel, so it is tested without privileges, and what it
returns can be printed (`explain`). Past it, only the kernel can refuse.

Side: host
"""

from . import abi, cgroup_place, identity, idtables, maps, mounts, paths
from . import unix as os
from .errors import ContainerError, Degradation
from .host import Host
from .privileges import Credentials
from .record import MYPY, Record
from .spec import Spec

if MYPY:
    from .hooks import Hook
    from .lsm import Label

# include/uapi/linux/major.h, Documentation/admin-guide/devices.txt; runtime-spec config-linux.md
# "Default Devices"
DEFAULT_DEVICES = (
    ("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7),
    ("/dev/random", 1, 8), ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0),
)  # fmt: skip
ROOT_WAYS = ("pivot_root", "move", "chroot", "chdir")


class Device(Record):
    """A device node: kind "c", "b", "u" or "p"; mode: permission bits; uid, gid: inside
    default: it is one that every container has, and nobody asked for
    """

    path: str
    kind: str
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0
    default: bool = True


class Root(Record):
    """path: absolute on the host; source: as in Spec
    stage: a directory of the host's that the new root is mounted on (nobody else sees it): one of ours, or
        where hooks look at what is mounted, its own path
    early_readonly: nothing may be made in it: it is the host's own
    ways: how it may become the root, in order; idmap: show its files with the container's ids
    propagation: its own, with MS_REC that of all mounts in it but those which say another
    """

    path: str
    source: str
    stage: str
    readonly: bool = False
    early_readonly: bool = False
    overlay: bool = False
    idmap: bool = False
    propagation: int = abi.MS_SLAVE | abi.MS_REC
    ways: "tuple[str, ...]" = ROOT_WAYS

    @property
    def around(self) -> int:
        """How the host's mounts spread while some are bound: one that is the root's alone does not keep away
        what the host does to them later; and what is unbindable could not be bound."""
        if self.propagation & abi.MS_SHARED:
            return self.propagation
        private = self.propagation & abi.MS_REC and not self.propagation & abi.MS_SLAVE
        return abi.MS_REC | (abi.MS_PRIVATE if private else abi.MS_SLAVE)


class Plan(Record):
    """namespaces: the kinds made new; joins: (kind, path) of those that exist
    setup_uid, setup_gid: what set-up is done as, where there is a user namespace
    cgroup_free: nobody has said where the cgroup is to be: below our own will do as well
    cgroup_owner: the user, as we see it, who is to divide it further; -1 for nobody
    device_ways: "mknod" and "bind", in the order they are tried
    guard: what keeps the container from the interpreter that starts it: "userns" (nobody in the
        namespace may write to it), or "standin" (it is replaced before the program can look)
    labels: what AppArmor and SELinux are asked for; mount_label: the SELinux label of the mounts
    extras: what few ask for, by the name of the property in config.json
    records: the steps down that are certain already
    """

    identifier: str
    bundle: str
    spec: Spec
    args: "tuple[str, ...]"
    env: "tuple[str, ...]"
    cwd: str
    namespaces: "tuple[str, ...]"
    joins: "tuple[tuple[str, str], ...]"
    maps: "maps.Maps | None"
    setup_uid: int
    setup_gid: int
    time_offsets: str
    cgroup_path: str
    cgroup_free: bool
    cgroup_owner: int
    resources: "dict[str, object]"
    root: Root
    mounts: "tuple[mounts.Mount, ...]"
    devices: "tuple[Device, ...]"
    device_ways: "tuple[str, ...]"
    masked_paths: "tuple[str, ...]"
    readonly_paths: "tuple[str, ...]"
    hostname: str
    domainname: str
    sysctl: "tuple[tuple[str, str], ...]"
    credentials: Credentials
    last_cap: int
    rlimits: "tuple[tuple[int, int, int], ...]"
    oom_score_adj: "int | None"
    personality: "int | None"
    terminal: bool
    console_size: "tuple[int, int] | None"
    seccomp: "dict[str, object] | None"
    guard: str
    host_proc: bool
    hooks: "dict[str, tuple[Hook, ...]]"
    labels: "tuple[Label, ...]"
    mount_label: str
    extras: "dict[str, dict]"
    records: "tuple[Degradation, ...]"

    @property
    def listener(self) -> bool:
        """Calls may be reported to an agent."""
        return bool(self.seccomp and self.seccomp.get("listenerPath"))

    @property
    def new_user(self) -> bool:
        return "user" in self.namespaces

    def idmapped(self, lost) -> "list[int]":
        """Indexes of the mounts that are shown with other ids, -1 for the root. lost: kinds of namespaces.

        Without the user namespace what would have its ids is shown as it is.
        """
        own = not self.new_user or "user" not in lost
        found = [-1] if own and self.root.idmap else []
        return found + [n for n, mount in enumerate(self.mounts) if mount.idmap and (own or mount.mappings)]

    @property
    def inner_user(self) -> bool:
        """The container is in a user namespace below ours, be it new or joined."""
        return self.new_user or any(kind == "user" for kind, _ in self.joins)


def make(spec: Spec, host: Host, stage: str) -> Plan:
    """The Plan for SPEC on HOST. STAGE: an empty directory of ours. Raises ContainerError."""
    config = spec.config
    linux = config.get("linux") or {}
    process = config.get("process") or {}
    records = []  # type: list[Degradation]
    namespaces, joins = _namespaces(spec, linux)
    table = None
    if "user" in namespaces:
        from . import idmaps  # few bundles have one

        table = idmaps.choose(spec, host, linux, process)
    if table is not None and table.way == "self" and spec.userns in ("auto", "keep-id"):
        records.append(maps.alone("", 0, "", "subids"))
    user_known = "user" in namespaces or any(kind == "user" for kind, _ in joins)
    credentials = identity.choose(spec, host, table, user_known, records)
    setup_uid = 0 if table is None or idtables.inside(table.uids, 0) else credentials.uid
    setup_gid = 0 if table is None or idtables.inside(table.gids, 0) else credentials.gid
    if table is not None:
        identity.check(table, credentials)
    show_ids = table is not None and table.way == "direct" and host.initial
    idmap = show_ids and spec.userns == "auto"
    mknod = host.initial and not user_known and host.holds(abi.CAP_MKNOD)
    seen = tuple(_mounts(spec, config, _known(spec, host, joins, table), idmap, user_known))
    env = tuple(process.get("env") or ()) + (("HOME=" + spec.home,) if spec.home else ())
    return Plan(
        identifier=spec.identifier,
        bundle=spec.bundle,
        spec=spec,
        args=tuple(process.get("args") or ()),
        env=env,
        cwd=process.get("cwd", "/"),
        namespaces=namespaces,
        joins=joins,
        maps=table,
        setup_uid=setup_uid,
        setup_gid=setup_gid,
        time_offsets=_time_offsets(linux.get("timeOffsets") or {}),
        cgroup_path=cgroup_place.path(spec, host, linux, stage),
        cgroup_free=cgroup_place.free(spec, linux),
        cgroup_owner=cgroup_place.owner(seen, namespaces, joins, table, credentials.uid),
        resources=linux.get("resources") or {},
        root=_root(spec, config, linux, stage, idmap, "mount" in namespaces),
        mounts=seen,
        devices=_devices(linux),
        device_ways=("mknod", "bind") if mknod else ("bind",),
        masked_paths=tuple(linux.get("maskedPaths") or ()),
        readonly_paths=tuple(linux.get("readonlyPaths") or ()),
        hostname=config.get("hostname") or "",
        domainname=config.get("domainname") or "",
        sysctl=tuple((linux.get("sysctl") or {}).items()),
        credentials=credentials,
        last_cap=host.last_cap,
        rlimits=rlimits(process),
        oom_score_adj=process.get("oomScoreAdj"),
        personality=_personality(linux),
        terminal=bool(process.get("terminal")),
        console_size=_console_size(process),
        seccomp=linux.get("seccomp"),
        guard="standin" if table is None or _exposed(host, table) else "userns",
        host_proc=spec.host_proc,
        hooks=_hooks(config, env),
        labels=_labels(process),
        mount_label=linux.get("mountLabel") or "",
        extras=_extras(process, linux),
        records=tuple(records),
    )


def _exposed(host: Host, table: maps.Maps) -> bool:
    """Whether somebody in a user namespace of TABLE may write to the interpreter that we run by."""
    pairs = ((table.uids, host.interpreter), (table.gids, host.interpreter_group))
    return host.interpreter_open or any(idtables.outside(ids, owner) for ids, owner in pairs)


# --- namespaces -------------------------------------------------------------------------------


def _namespaces(spec: Spec, linux: "dict") -> "tuple[tuple[str, ...], tuple]":
    new, joins = [], []
    for entry in linux.get("namespaces") or ():
        if entry.get("path"):
            joins.append((entry["type"], entry["path"]))
        else:
            new.append(entry["type"])
    named = new + [kind for kind, _ in joins]
    if spec.userns not in ("host", "config", "joined") and "user" not in named:
        new.insert(0, "user")
    if "mount" not in named:
        raise ContainerError(
            "read config.json",
            "no mount namespace, which the root file system needs",
            hint='add {"type": "mount"} to linux.namespaces',
        )
    return tuple(new), tuple(joins)


# --- the process ------------------------------------------------------------------------------


def rlimits(process: "dict") -> "tuple[tuple[int, int, int], ...]":
    return tuple([(abi.RLIMITS.index(e["type"]), e["soft"], e["hard"]) for e in process.get("rlimits") or ()])


def _personality(linux: "dict") -> "int | None":
    domain = (linux.get("personality") or {}).get("domain")
    return None if domain is None else {"LINUX": abi.PER_LINUX, "LINUX32": abi.PER_LINUX32}[domain]


def _console_size(process: "dict") -> "tuple[int, int] | None":
    size = process.get("consoleSize")
    return (size["height"], size["width"]) if size else None


def _time_offsets(offsets: "dict") -> str:
    """What /proc/PID/timens_offsets takes: clock, seconds, nanoseconds (time_namespaces(7))."""
    line = "%s %d %d\n"
    return "".join(
        [line % (clock, o.get("secs") or 0, o.get("nanosecs") or 0) for clock, o in offsets.items()]
    )


def _hooks(config: "dict", env: "tuple[str, ...]") -> "dict[str, tuple[Hook, ...]]":
    if not config.get("hooks"):
        return {}
    from . import hooks  # only for those who have some

    return hooks.parse(config["hooks"], env)


_RARE = ("scheduler", "ioPriority", "execCPUAffinity", "memoryPolicy", "netDevices", "intelRdt")


def _extras(process: "dict", linux: "dict") -> "dict[str, dict]":
    asked = {name: process.get(name) or linux.get(name) for name in _RARE}
    if linux.get("intelRdt") is not None:  # {} asks for a class of its own, too
        asked["intelRdt"] = dict(linux["intelRdt"], set=True)
    return {name: value for name, value in asked.items() if value}


def _labels(process: "dict") -> "tuple[Label, ...]":
    if not (process.get("apparmorProfile") or process.get("selinuxLabel")):
        return ()
    from . import lsm  # only for those who have some

    return lsm.wanted(process)


# --- the file system --------------------------------------------------------------------------


# Those before the root is changed, in its mount namespace or with a way into it
_LOOKING = ("prestart", "createRuntime", "createContainer")


def _root(spec: Spec, config: "dict", linux: "dict", stage: str, idmap: bool, private: bool) -> Root:
    """private: the mount namespace is a new one"""
    root = config["root"]
    path = os.path.normpath(os.path.join(spec.bundle, root["path"]))
    propagation = mounts.PROPAGATION.get(linux.get("rootfsPropagation") or "rslave", 0)
    looking = [name for name in _LOOKING if (config.get("hooks") or {}).get(name)]
    if looking and private and path != "/" and not propagation & abi.MS_SHARED:
        # where runc and crun have it: NVIDIA's hooks mount drivers there, and list the libraries they find. A
        # root that shares with the host would not, as the mount below such a stage is made private
        stage = path
    ways = tuple([way for way in ROOT_WAYS if not (spec.no_pivot and way == "pivot_root")])
    return Root(
        path=path,
        source=spec.source,
        stage=stage,
        readonly=bool(root.get("readonly")) and not spec.overlay,
        early_readonly=spec.source == "host",
        overlay=bool(spec.overlay),
        idmap=idmap and spec.source == "rootfs",
        propagation=propagation,
        ways=ways,
    )


def _known(spec: Spec, host: Host, joins: "tuple", table: "maps.Maps | None") -> "tuple[tuple, tuple] | None":
    """The user and group ids that file systems are made with; None: not known, or a bundle's own affair."""
    if spec.source == "bundle" or any(kind == "user" for kind, _ in joins):
        return None
    return (host.uid_map, host.gid_map) if table is None else (table.uids, table.gids)


def _mounts(
    spec: Spec, config: "dict", known: "tuple[tuple, tuple] | None", idmap: bool, user: bool
) -> "list":
    """user: the container has a user namespace, whose ids a mount may be shown with"""
    result = []
    for entry in config.get("mounts") or ():
        options = list(entry.get("options") or ())
        # by one name alone: what of it is the container's own /proc is asked in several places
        target = paths.plain(entry["destination"])
        mount = mounts.parse(target, entry.get("type") or "", entry.get("source") or "", options)
        if known and mount.words:
            mount = mount.replace(words=maps.known_words(mount, *known))
        if mount.kind == "bind":
            mount = mount.replace(source=os.path.join(spec.bundle, mount.source))
            if idmap and not mount.idmap and entry.get("type") != "none":
                mount = mount.replace(idmap="ridmap")
        if not mount.kind:
            raise ContainerError(str(mount), "no type", hint='"bind" is an option or a type')
        own = entry.get("uidMappings")
        if own:
            from . import idmaps  # hardly ever

            pair = (idmaps.lines(entry, "uidMappings"), idmaps.lines(entry, "gidMappings"))
            mount = mount.replace(mappings=pair, idmap=mount.idmap or "idmap")
        elif mount.idmap and not user:
            if spec.source == "bundle":  # config.md: "an error MUST be returned"
                hint = "give it uidMappings and gidMappings, or the bundle a user namespace"
                raise ContainerError(
                    str(mount), "%s: there are no other ids to show" % mount.idmap, hint=hint
                )
            mount = mount.replace(idmap="")  # the container's ids are the host's
        result.append(mount)
    return result


def _devices(linux: "dict") -> "tuple[Device, ...]":
    devices = [
        Device(path=path, kind="c", major=major, minor=minor) for path, major, minor in DEFAULT_DEVICES
    ]
    for entry in linux.get("devices") or ():
        if (entry["path"], entry.get("major"), entry.get("minor")) == ("/dev/ptmx", 5, 2):
            # as with runc: it leads to the container's own terminals (config-linux.md, "Default Devices").
            # The host's node, bound in a user namespace, would look for them beside itself (path_pts() in
            # fs/devpts/inode.c). Docker names it for --privileged
            continue
        devices = [device for device in devices if device.path != entry["path"]]
        devices.append(
            Device(
                path=entry["path"],
                kind=entry["type"],
                major=entry.get("major") or 0,
                minor=entry.get("minor") or 0,
                mode=entry["fileMode"] & 0o7777 if entry.get("fileMode") is not None else 0o666,
                uid=entry.get("uid") or 0,
                gid=entry.get("gid") or 0,
                default=False,
            )
        )
    return tuple(devices)
