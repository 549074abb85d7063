"""What the host shows of its own limits: sysctls, confinement, mounts. Read when something was refused.

Nothing is tried here and nothing raises: what cannot be read is "", 0 or None.

Side: host
"""

import os

from . import abi, idtables, libc, mountinfo, paths
from .errors import printable
from .record import Record

# Mounts on these do not hide anything: the kernel made them as empty mount points
# (fs/proc, sysfs_create_mount_point), and fs_fully_visible passes them over
EMPTY = (
    "/proc/fs/nfsd", "/proc/openprom", "/proc/sys/fs/binfmt_misc", "/sys/firmware/efi/efivars",
    "/sys/fs/bpf", "/sys/fs/cgroup", "/sys/fs/fuse/connections", "/sys/fs/pstore", "/sys/fs/selinux",
    "/sys/fs/smackfs", "/sys/kernel/config", "/sys/kernel/debug", "/sys/kernel/security",
    "/sys/kernel/tracing",
)  # fmt: skip


def read(path: str, limit: int = 1 << 20) -> str:
    """The text of a file of the host, "" whatever keeps it from being read."""
    try:
        return paths.read_text(path, limit)
    except OSError:
        return ""


def sysctl(name: str) -> "int | None":
    """A kernel parameter, "user.max_user_namespaces" and kin; None where the kernel has it not."""
    text = read("/proc/sys/" + name.replace(".", "/")).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def status(field: str) -> str:
    """A line of /proc/self/status: "Seccomp", "NoNewPrivs"."""
    for line in read("/proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return ""


def filtered() -> bool:
    """A seccomp filter of somebody else's is on us."""
    return status("Seccomp") == "2"


def no_new_privs() -> bool:
    try:
        return libc.prctl(abi.PR_GET_NO_NEW_PRIVS) == 1
    except OSError:
        return False


def holds(capability: int) -> bool:
    return bool(libc.capget()[0] >> capability & 1)


def bounded(capability: int) -> bool:
    """The bounding set has it: a set-uid program can still get it."""
    try:
        return libc.prctl(abi.PR_CAPBSET_READ, capability) == 1
    except OSError:
        return True


def initial() -> bool:
    """This is a user namespace that maps every id to itself: the host's own."""
    return read("/proc/self/uid_map").split() in ([], ["0", "0", "4294967295"])


def caller() -> int:
    """Our user id as it is outside of our user namespace, of which root is anybody."""
    own = os.geteuid()
    outside = idtables.on_host(idtables.rows(read("/proc/self/uid_map")), own)
    return own if outside < 0 else outside


def apparmor() -> str:
    """The AppArmor profile we run under, "" without AppArmor, "unconfined" without a profile."""
    if read("/sys/module/apparmor/parameters/enabled").strip() != "Y":
        return ""
    own = read("/proc/self/attr/apparmor/current") or read("/proc/self/attr/current")
    return printable(own.strip("\0\n ")) or "unconfined"


def selinux() -> str:
    """The SELinux context we run in, "" where SELinux is off or only warns."""
    if read("/sys/fs/selinux/enforce").strip() != "1":
        return ""
    return printable(read("/proc/self/attr/current").strip("\0\n ")) or "unknown"


def distribution() -> "tuple[str, ...]":
    """ID and ID_LIKE of os-release(5), the nearest first."""
    found = {}
    for line in (read("/etc/os-release") or read("/usr/lib/os-release")).splitlines():
        name, _, value = line.partition("=")
        found[name] = value.strip("\"' ").lower().split()
    return tuple(found.get("ID", []) + found.get("ID_LIKE", []))


def surroundings() -> str:
    """What we run inside of: "docker", "podman", "kubernetes", "lxc", "systemd" (a service of it), ""."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    if os.path.exists("/run/.containerenv"):
        return "podman"
    if os.path.exists("/.dockerenv") and any(mount.place == "/etc/hostname" for mount in mounts()):
        return "docker"  # the file alone stays in a root that was exported
    if "lxc" in (os.environ.get("container"), read("/run/systemd/container").strip()):
        return "lxc"
    return "systemd" if unit() else ""


def unit() -> str:
    """The systemd service we belong to, "" for none; a user's whole manager does not count."""
    for line in read("/proc/self/cgroup").split("\n"):
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers not in ("", "name=systemd"):
            continue
        last = path.rpartition("/")[2]
        if last.endswith(".service") and not last.startswith("user@"):
            return printable(last)
    return ""


class Mount(Record):
    """A line of /proc/self/mountinfo: which part of the file system, where, its options, its type"""

    root: str
    place: str
    options: str
    kind: str
    words: str


def mounts() -> "list[Mount]":
    found = []
    for line in read("/proc/self/mountinfo", 1 << 26).split("\n"):
        fields = line.split(" ")
        end = fields.index("-", 6) if "-" in fields[6:] else len(fields)
        if len(fields) > end + 3:
            root, place, kind, words = fields[3], fields[4], fields[end + 1], fields[end + 3]
            root, place = mountinfo.unescape(root), mountinfo.unescape(place)
            mount = Mount(root=root, place=place, options=fields[5], kind=kind, words=words)
            found.append(mount)
    return found


def covers(top: str) -> "list[str]":
    """The mounts that hide a part of TOP, "/proc" or "/sys"."""
    places = [mount.place for mount in mounts() if mount.place.startswith(top + "/")]
    return [printable(place) for place in places if not place.startswith(EMPTY)]


def mount_of(path: str) -> Mount:
    """The mount that PATH, or what there is of it, lies on."""
    path, best = os.path.realpath(path), Mount(root="", place="", options="", kind="", words="")
    for mount in mounts():
        if (path + "/").startswith(mount.place.rstrip("/") + "/") and len(mount.place) >= len(best.place):
            best = mount
    return best


def mount_point(path: str) -> str:
    return printable(mount_of(path).place or "/")


def mount_flags(path: str) -> int:
    """ST_RDONLY 1, ST_NOSUID 2, ST_NODEV 4, ST_NOEXEC 8 of the mount PATH lies on."""
    try:
        return os.statvfs(path).f_flag
    except OSError:
        return 0


def full(path: str) -> bool:
    """Whether the file system of PATH has no block or no file left for the caller. Some have no fixed number
    of files: they say 0 of 0."""
    try:
        room = os.statvfs(path)
    except OSError:
        return False
    blocks = room.f_bavail if os.geteuid() else room.f_bfree
    return bool(room.f_blocks and blocks == 0 or room.f_files and room.f_ffree == 0)


def existing(path: str) -> str:
    """PATH, or the nearest directory above it that exists."""
    path = os.path.abspath(path)
    while path != "/" and not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def file_capabilities(path: str) -> int:
    """The capabilities that running PATH gives at once, as a bit mask.

    Source: include/uapi/linux/capability.h, struct vfs_cap_data: a little-endian word whose lowest
    bit says "effective", then pairs of permitted and inheritable words, the low halves first
    """
    try:
        data = libc.getxattr(path, "security.capability")
    except OSError:
        return 0
    words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
    if len(words) < 2 or not words[0] & 1:
        return 0
    return words[1] | (words[3] << 32 if len(words) > 3 else 0)
