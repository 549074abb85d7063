"""One mount of a configuration: what its options mean, as mount(8) and the specification have them. How it is
made is `mounting`.

Side: both
"""

from . import abi
from .errors import ContainerError, printable
from .record import Record

# mount(2) flag, mount_setattr(2) attribute, whether it is set; Documentation: mount(8), runtime-spec
# config.md "Linux mount options"
FLAGS = {
    "ro": (abi.MS_RDONLY, abi.MOUNT_ATTR_RDONLY, True),
    "rw": (abi.MS_RDONLY, abi.MOUNT_ATTR_RDONLY, False),
    "nosuid": (abi.MS_NOSUID, abi.MOUNT_ATTR_NOSUID, True),
    "suid": (abi.MS_NOSUID, abi.MOUNT_ATTR_NOSUID, False),
    "nodev": (abi.MS_NODEV, abi.MOUNT_ATTR_NODEV, True),
    "dev": (abi.MS_NODEV, abi.MOUNT_ATTR_NODEV, False),
    "noexec": (abi.MS_NOEXEC, abi.MOUNT_ATTR_NOEXEC, True),
    "exec": (abi.MS_NOEXEC, abi.MOUNT_ATTR_NOEXEC, False),
    "nodiratime": (abi.MS_NODIRATIME, abi.MOUNT_ATTR_NODIRATIME, True),
    "diratime": (abi.MS_NODIRATIME, abi.MOUNT_ATTR_NODIRATIME, False),
    "nosymfollow": (abi.MS_NOSYMFOLLOW, abi.MOUNT_ATTR_NOSYMFOLLOW, True),
    "symfollow": (abi.MS_NOSYMFOLLOW, abi.MOUNT_ATTR_NOSYMFOLLOW, False),
    "noatime": (abi.MS_NOATIME, abi.MOUNT_ATTR_NOATIME, True),
    "relatime": (abi.MS_RELATIME, abi.MOUNT_ATTR_RELATIME, True),
    "strictatime": (abi.MS_STRICTATIME, abi.MOUNT_ATTR_STRICTATIME, True),
    "atime": (abi.MS_NOATIME, abi.MOUNT_ATTR_NOATIME, False),
    "norelatime": (abi.MS_RELATIME, abi.MOUNT_ATTR_RELATIME, False),
    "nostrictatime": (abi.MS_STRICTATIME, abi.MOUNT_ATTR_STRICTATIME, False),
}
# Of no use to a mount: mount(8)'s own
_OTHERS = ("", "defaults", "remount", "nofail", "auto", "noauto", "user", "nouser")
# What podman and buildah leave of a volume's in a bind mount, as they have seen to it themselves: crun and
# runc before 1.2 pass it to mount(2), which has no use for it
_VOLUMES = ("copy", "nocopy", "z", "Z", "U", "cached", "delegated", "consistent")
_ATIME = ("noatime", "relatime", "strictatime")
_UNATIME = ("atime", "norelatime", "nostrictatime")

# Flags of the file system and not of the mount: mount(2) flag, fsconfig(2) word, whether it is set
SUPER_FLAGS = {
    "sync": (abi.MS_SYNCHRONOUS, "sync", True),
    "async": (abi.MS_SYNCHRONOUS, "async", False),
    "dirsync": (abi.MS_DIRSYNC, "dirsync", True),
    "lazytime": (abi.MS_LAZYTIME, "lazytime", True),
    "nolazytime": (abi.MS_LAZYTIME, "nolazytime", False),
    "mand": (abi.MS_MANDLOCK, "mand", True),
    "nomand": (abi.MS_MANDLOCK, "nomand", False),
    "iversion": (abi.MS_I_VERSION, "", True),
    "noiversion": (abi.MS_I_VERSION, "", False),
    "silent": (abi.MS_SILENT, "", True),
    "loud": (abi.MS_SILENT, "", False),
    "acl": (abi.MS_POSIXACL, "", True),
    "noacl": (abi.MS_POSIXACL, "", False),
}
PROPAGATION = {
    "private": abi.MS_PRIVATE, "shared": abi.MS_SHARED, "slave": abi.MS_SLAVE,
    "unbindable": abi.MS_UNBINDABLE, "rprivate": abi.MS_PRIVATE | abi.MS_REC,
    "rshared": abi.MS_SHARED | abi.MS_REC, "rslave": abi.MS_SLAVE | abi.MS_REC,
    "runbindable": abi.MS_UNBINDABLE | abi.MS_REC,
}  # fmt: skip
# Of these, what a root can be given once it is entered alone, together with all in it
LATE_FOR_ALL = (PROPAGATION["rshared"], PROPAGATION["runbindable"])


# What tells of the whole machine, in place of which lxcfs has files that tell of a container (and an engine
# one of FIPS mode). The list is runc's: nothing that sets up a container reads or writes one of them
TELLING = frozenset(
    "/proc/" + name
    for name in (
        "cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime",
        "sys/crypto/fips_enabled", "sys/kernel/ns_last_pid",
    )
)  # fmt: skip

# "not allowed here": only these permit a step down; anything else is a failure
REFUSED = (abi.EPERM, abi.EACCES, abi.ENOSYS)


class Mount(Record):
    """One mount of the plan.

    target: where, under the root; kind: a file system type, or "bind"
    source: for bind an absolute path of the host; else a name that /proc/mounts shows
    set, clear: MOUNT_ATTR_* of the mount itself; set_all, clear_all: of all mounts below it too
    flags: MS_* of the file system; words: its options
    propagation: MS_PRIVATE and kin, 0 for none
    recursive: bind what is mounted below the source too; nofollow: a source that is a link is not followed
    copy_link: it is made again, in the place of a mount
    copy_up: fill the new tmpfs with what the root has there
    idmap: "" or the way ids are shown: "idmap", "ridmap"; mappings: its own, or () for the container's
    context: the SELinux label of all its files, "" for none
    """

    target: str
    kind: str
    source: str = ""
    set: int = 0
    clear: int = 0
    set_all: int = 0
    clear_all: int = 0
    flags: int = 0
    words: "tuple[str, ...]" = ()
    propagation: int = 0
    recursive: bool = False
    copy_up: bool = False
    idmap: str = ""
    mappings: "tuple[object, ...]" = ()
    nofollow: bool = False
    copy_link: bool = False
    context: str = ""

    def __str__(self) -> str:
        what = self.source if self.kind == "bind" else self.kind
        return "mount %s on %s" % (printable(what), printable(self.target))


def entry(target: str, kind: str, source: str, options: "list[str]") -> "dict":
    """A mount as config.json has it."""
    return {"destination": target, "type": kind, "source": source, "options": options}


def parse(target: str, kind: str, source: str, options: "list[str]") -> Mount:
    """The Mount for one entry of `mounts` in config.json. Unknown options are the file system's, and a bind
    mount has none but an engine's. An empty one means nothing; podman 5 writes one for each tmpfs of
    --systemd."""
    value = {
        "set": 0, "clear": 0, "set_all": 0, "clear_all": 0, "flags": 0, "propagation": 0,
        "recursive": False, "copy_up": False, "idmap": "", "nofollow": False, "copy_link": False,
    }  # type: dict  # fmt: skip
    others = [option for option in options if not _parse_option(option, value)]
    if value.pop("bind", False) or kind == "bind":
        kind = "bind"
        others = [each for each in others if each not in _VOLUMES and not each.startswith("volume-opt=")]
    else:  # nothing lies below a new file system
        set_all, clear_all = value["set_all"], value["clear_all"]
        value.update(set=value["set"] & ~clear_all | set_all, clear=value["clear"] | clear_all)
        value.update(set_all=0, clear_all=0)
    words = tuple(word for option in others for word in _apart(option))
    mount = Mount(target=target, kind=kind, source=source, words=words, **value)
    if kind == "bind" and words:
        raise ContainerError(str(mount), "%s is no option of a bind mount" % printable(words[0]))
    if "remount" in options:
        hint = "give its options where it is made"
        raise ContainerError(str(mount), "remount: a mount is made here, not changed", hint=hint)
    return mount


def _apart(option: str) -> "list[str]":
    """Several options in one, as mount(2) takes them: at commas, but for those in quotes, as labels have
    them, or behind a backslash, as overlayfs has them in paths."""
    words = []  # type: list[str]
    for piece in option.split(","):
        if words and (words[-1].count('"') % 2 or words[-1].endswith("\\")):
            words[-1] += "," + piece
        else:
            words.append(piece)
    return [word for word in words if word]


def _parse_option(option: str, value: dict) -> bool:
    recursive = option[:1] == "r" and option[1:] in FLAGS and option not in FLAGS
    name = option[1:] if recursive else option
    if name in FLAGS:
        _, attribute, on = FLAGS[name]
        set_, clear = ("set_all", "clear_all") if recursive else ("set", "clear")
        if name in _ATIME or name in _UNATIME:
            chosen = value[clear] & abi.MOUNT_ATTR__ATIME
            if not on and chosen and value[set_] & abi.MOUNT_ATTR__ATIME != attribute:
                return True  # what is taken back is not what was chosen
            value[clear] |= abi.MOUNT_ATTR__ATIME
            value[set_] &= ~abi.MOUNT_ATTR__ATIME
            value[set_] |= attribute if on else 0
        else:
            value[set_ if on else clear] |= attribute
            value[clear if on else set_] &= ~attribute
    elif option in SUPER_FLAGS:
        flag, _, on = SUPER_FLAGS[option]
        value["flags"] = value["flags"] | flag if on else value["flags"] & ~flag
    elif option in PROPAGATION:
        value["propagation"] = PROPAGATION[option]
    elif option in ("bind", "rbind"):
        value["bind"], value["recursive"] = True, option == "rbind"
    elif option in ("idmap", "ridmap"):
        value["idmap"] = option
    elif option == "tmpcopyup":
        value["copy_up"] = True
    elif option in ("src-nofollow", "copy-symlink"):
        value["nofollow"] = True
        value["copy_link"] = value["copy_link"] or option == "copy-symlink"
    elif option not in _OTHERS:
        return False
    return True


def known_options() -> "list[str]":
    """What `parse` takes for an option of its own. Left out is what mount(8) alone has a use for."""
    recursive = ["r" + name for name in FLAGS if "r" + name not in FLAGS]
    others = ["bind", "rbind", "idmap", "ridmap", "tmpcopyup", "src-nofollow", "copy-symlink", "defaults"]
    return sorted(list(FLAGS) + recursive + list(SUPER_FLAGS) + list(PROPAGATION) + others)
