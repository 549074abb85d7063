"""Layers of isolation: what they are called, what each level of them takes, and which of them a step
down tells of.

    sandbox    the host's files out of reach (Landlock, or a root of its own), seccomp, no_new_privs
    container  every namespace, pivot_root or a moved mount, a fresh /proc, masked, capabilities, seccomp,
               no other devices than those that were handed in
    rootless   a container in a user namespace whose root is not the host's

Side: host
"""

from .errors import ContainerError, Degradation, printable

NAMESPACES = ("user", "pid", "mount", "network", "ipc", "uts", "cgroup", "time")
LAYERS = NAMESPACES + (
    "files", "root", "proc", "capabilities", "no-new-privs", "seccomp", "apparmor", "selinux", "landlock",
    "keyring", "devices", "masked-paths", "interpreter", "resources",
)  # fmt: skip
_CONTAINER = (
    "pid", "mount", "network", "ipc", "uts", "cgroup", "root", "proc", "masked-paths", "capabilities",
    "seccomp", "devices",
)  # fmt: skip
LEVELS = {
    "sandbox": ("files", "no-new-privs", "seccomp"),
    "container": _CONTAINER,
    "rootless": ("user",) + _CONTAINER,
}

# The layers that a record tells of, by the start of its code. A moved mount and a /proc of processes
# alone are as good as the first way, so nothing is told by root-move and proc-subset. Without mounts, and
# so without a root, Landlock closes the host's files: that it cannot is a record of its own, "landlock"
# alone; those of --landlock have a longer code.
_TOLD = (
    ("root-move", ()),
    ("root-chroot", ("root", "files")),  # which chroot(2) leaves
    ("root-chdir", ("root",)),
    ("landlock-", ("landlock",)),
    ("landlock", ("files",)),
    ("mount-namespace", ("mount", "root", "proc", "masked-paths", "devices")),
    ("mounts", ("mount", "root", "proc", "masked-paths", "devices")),
    ("proc-subset", ()),
    ("proc", ("proc",)),
    ("user-namespace", ("user", "devices")),  # in one no node can be made, and no rule need say so
    ("user", ("user",)),
    ("hostname", ("uts",)),
    ("domainname", ("uts",)),
    ("cgroup-namespace", ("cgroup",)),
    ("cgroup-mount", ()),
    ("cgroup-devices-above", ()),  # fewer than were asked for
    ("cgroup-devices", ("devices",)),
    ("cgroup", ("resources",)),
    ("device", ("devices",)),
    ("standin", ("interpreter",)),
    ("overlay", ()),
    ("masked-below", ("masked-paths",)),
    ("capability", ()),  # tighter than was asked for, as with the next
    ("no-new-privs", ()),
    ("loopback", ()),
)  # fmt: skip


def parse(text: str) -> "tuple[str, ...]":
    """The layers that a word of --require names: LAYER[,...] or a level. Raises ContainerError."""
    found = []  # type: list[str]
    for word in text.split(","):
        if word in LEVELS:
            found += LEVELS[word]
        elif word in LAYERS:
            found.append(word)
        else:
            hint = "one of %s; or a level: %s" % (", ".join(LAYERS), ", ".join(sorted(LEVELS)))
            word = printable(word) or '""'
            raise ContainerError("--require %s" % printable(text), "%s is no layer" % word, hint=hint)
    return tuple(sorted(set(found), key=LAYERS.index))


def concerns(record: Degradation, required: "tuple[str, ...]") -> bool:
    """Whether RECORD, a step down, is one of a layer that is REQUIRED."""
    return bool(set(told(record)) & set(required))


def told(record: Degradation) -> "tuple[str, ...]":
    """The layers that RECORD tells of; a name of its own, which is none of LAYERS, where it is another's."""
    for start, layers in _TOLD:
        if record.code.startswith(start):
            return layers
    return (record.layer.replace(" namespace", "").replace("_", "-").lower(),)
