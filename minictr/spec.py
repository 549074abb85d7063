"""What is wanted: an OCI configuration, and beside it what such a configuration has no word for.

Both doors end here: the native options of `run` are turned into a configuration in memory, a
bundle brings its own. From here on nobody asks which door it was.

Side: host
"""

from . import unix as os
from .errors import ContainerError
from .record import Record

CONTAINER_ID = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-."
ID_LENGTH = 247  # its cgroup is called minictr-ID, and the name of a file has 255 bytes at most (NAME_MAX)


class Spec(Record):
    """config: a validated OCI configuration, never changed after this was made
    identifier: the container's id; bundle: the directory that relative paths of config start from
    source: "host" (the host's own root), "rootfs" (a directory of the user's) or "bundle"
    overlay: "" or "tmpfs": changes to the root go to a tmpfs and are thrown away at the end
    user: NAME|UID[:GROUP|GID] to be looked up in the container's own files; "" leaves config's
    groups: names or numbers added to the supplementary groups, looked up in the same way
    userns: "auto" (a new one where config names none), "host" (none of its own) or "keep-id" (the
        same, in which the caller has the ids KEPT), "config" (exactly what config says)
        or "joined" (that, and it exists)
    degrade: "warn" takes steps down with a warning, "refuse" ends the start at one (OCI form)
    strict: refuse steps down, and everything that is not the strongest form of a layer
    host_proc: the host's /proc may be shown where no fresh one can be had
    detach: return once the program runs; init: keep a reaping process 1 above the program
    timeout: seconds until the program is killed, 0 for never
    stop_signal: the number that `stop` sends first
    pid_file, id_file, log_file: "" for none; preserve_fds: how many descriptors from 3 on are passed on
    listen_fds: how many of these are sockets that the program is told of in LISTEN_FDS, as sd_listen_fds(3)
        wants it
    no_pivot, no_new_keyring, keep: as runc's flags of these names
    remove: of a detached one, that the next command which meets it ended forgets it
    console_socket: where the pty of a detached container is sent, "" for none
    pidfd_socket: where a pidfd of the container's first process is sent, "" for none
    cgroups: "auto" (one where it can be had), "enabled" (required) or "disabled"
    assumed: those of linux.resources that nobody asked for: that they cannot be had is only noted
    memory_watch: without a cgroup, who stands behind the container looks at its memory, and kills it
    systemd: its cgroup is a unit of systemd's
    require: layers, as `levels` names them, that must be there
    told: "", "table" or "json": tell first, by a twin, what the isolation is worth
    json: print what `explain` says as JSON
    landlock: what Landlock is asked to allow, words as in `landlock_asked`
    places: of a further program, what the files among them were when the container started, () for unknown
    nested_users: user namespaces may be made in the container's own
    home: the program's HOME where the configuration has none, by the container's own passwd
    """

    config: dict
    identifier: str
    bundle: str
    source: str = "bundle"
    overlay: str = ""
    user: str = ""
    groups: "tuple[str, ...]" = ()
    userns: str = "config"
    kept: "tuple[int, int]" = (0, 0)
    degrade: str = "refuse"
    strict: bool = False
    host_proc: bool = False
    detach: bool = False
    init: bool = False
    timeout: float = 0
    stop_signal: int = 15
    pid_file: str = ""
    id_file: str = ""
    log_file: str = ""
    preserve_fds: int = 0
    listen_fds: int = 0
    no_pivot: bool = False
    no_new_keyring: bool = False
    keep: bool = False
    remove: bool = False
    console_socket: str = ""
    pidfd_socket: str = ""
    cgroups: str = "auto"
    assumed: "tuple[str, ...]" = ()
    memory_watch: bool = False
    systemd: bool = False
    require: "tuple[str, ...]" = ()
    told: str = ""
    json: bool = False
    landlock: "tuple[str, ...]" = ()
    places: "tuple[str, ...]" = ()
    nested_users: bool = True
    home: str = ""

    def state(self, status: str, pid: int) -> "dict[str, object]":
        """The state of the container as others are told it (runtime.md, "State")."""
        return {
            "ociVersion": self.config["ociVersion"],
            "id": self.identifier,
            "status": status,
            "pid": pid,
            "bundle": self.bundle,
            "annotations": self.config.get("annotations") or {},
        }

    @property
    def straight_root(self) -> str:
        """A bundle's root.path, relative to the bundle, where it may lead through no link (`paths`); "" where
        whoever writes it means what lies there."""
        path = self.config["root"]["path"] if self.source == "bundle" else "/"
        return "" if path.startswith("/") or ".." in path.split("/") else path

    def refuses(self, record) -> bool:
        """Whether RECORD, a step down, ends the start."""
        step = record.level != "notice" and record.code != "capability"  # without one it is tighter
        if step and (self.strict or self.degrade == "refuse"):
            return True
        if not self.require:
            return False
        from . import levels  # loaded by who has read the options

        return levels.concerns(record, self.require)


DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What docker and podman grant, and what the native form grants
DEFAULT_CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
]  # fmt: skip

# What the strictest of docker, podman and containerd hide or freeze, as of 2026
MASKED_PATHS = [
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
    "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
    "/proc/timer_stats", "/sys/dev/block", "/sys/devices/virtual/powercap", "/sys/firmware",
    "/sys/fs/selinux",
]  # fmt: skip
READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def masked_paths(cpus: str = "/sys/devices/system/cpu") -> "list[str]":
    """MASKED_PATHS, and where the machine tells it, how often each CPU was too hot: from that can be read
    what others compute on it (GHSA-6fw5-f8r9-fgfm)."""
    paths = list(MASKED_PATHS)
    if os.path.isdir(cpus + "/cpu0/thermal_throttle"):  # few virtual machines
        names = [name for name in os.listdir(cpus) if name[:3] == "cpu" and name[3:].isdigit()]
        paths += ["%s/%s/thermal_throttle" % (cpus, name) for name in sorted(names)]
    return paths


def default_mounts() -> "list[dict[str, object]]":
    """The mounts of a container that names none itself, in order."""
    table = (
        ("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        ("/dev", "tmpfs", "tmpfs", "nosuid,noexec,strictatime,mode=755,size=65536k"),
        ("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
        ("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        ("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
    )
    return [
        {"destination": where, "type": kind, "source": source, "options": options.split(",")}
        for where, kind, source, options in table
    ]


def default_config(args: "list[str]", root: str, readonly: bool = True) -> dict:
    """A complete configuration for ARGS in the root file system ROOT."""
    names = list(DEFAULT_CAPABILITIES)
    return {
        "ociVersion": "1.3.0",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": [DEFAULT_PATH],
            "cwd": "/",
            "capabilities": {"bounding": names, "effective": names, "permitted": names},
            "noNewPrivileges": True,
        },
        "root": {"path": root, "readonly": readonly},
        "hostname": "minictr",
        "mounts": default_mounts(),
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": masked_paths(),
            "readonlyPaths": list(READONLY_PATHS),
        },
    }


def cgroup_path(linux: "dict", identifier: str, place: str) -> str:
    """Where the cgroup of a container lies, absolute below the mount points of the hierarchies.

    place: its state directory. Raises ContainerError for a cgroupsPath that leads upwards. A relative one
    starts at the top, where its parent may have limits: docker's `--cgroup-parent NAME` is of this form
    """
    path = linux.get("cgroupsPath") or cgroup_of(identifier, place)
    names = [name for name in path.split("/") if name not in ("", ".")]
    if ".." in names:
        raise ContainerError("place the cgroup %s" % path, 'linux.cgroupsPath has a ".."')
    return path if path.startswith("/") or not names else "/" + "/".join(names)


def cgroup_of(identifier: str, place: str) -> str:
    """Where the cgroup of a container lies that does not say itself.

    place: its state directory. Another state root may have a container of the same id, so outside the
    usual place for root the name has a hash (FNV-1a) of that directory.
    """
    name = "/minictr-" + identifier  # one level: a parent of its own would cost nine more mkdir on v1
    if place == "/run/minictr/" + identifier:
        return name
    number = 0x811C9DC5
    for byte in place.encode("utf-8", "surrogateescape"):
        number = (number ^ byte) * 0x01000193 & 0xFFFFFFFF
    return "%s-%08x" % (name[:240], number)
