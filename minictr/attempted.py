"""What the attempts of a twin prove, measured by its plan: what was possible because it was asked for
speaks against nothing.

Side: host
"""

import errno

from . import abi, isolation, kernel_files
from .record import Record


class Attempt(Record):
    """outcome: "refused", "possible" or "absent" (nothing to try it on; with an errno: no way to try it)
    detail: words
    """

    layer: str
    name: str
    outcome: str
    errno: int = 0
    detail: str = ""

    def __str__(self) -> str:
        why = errno_name(self.errno) if self.errno else self.detail
        return "%-10s %s%s" % (self.outcome, self.name, " (%s)" % why if why else "")


# attempt: the capabilities that allow it. The builtin filter follows those of the bounding set; the others
# count where the container has one over what it is made on
GRANTS = {
    "open a raw socket": ("CAP_NET_RAW",),
    "make a block device": ("CAP_MKNOD",),
    "make a user namespace": ("CAP_SYS_ADMIN",),
    "load a BPF map": ("CAP_SYS_ADMIN", "CAP_BPF"),
    "open performance events": ("CAP_SYS_ADMIN", "CAP_PERFMON"),
}


def possible(found, layer: str) -> "list[str]":
    """What could be done, by name, that LAYER should have refused."""
    return [
        attempt.name for attempt in found.attempts
        if attempt.layer == layer and attempt.outcome == "possible" and not _granted(attempt, found)
    ]  # fmt: skip


def untried(found) -> int:
    """How many attempts could not be made, by a limit or a filter of the container's own, or had no end."""
    return len([one for one in found.attempts if one.outcome == "absent" and one.errno])


def _granted(attempt: Attempt, found) -> bool:
    """What was possible because it was asked for: by a capability, a mount or a device."""
    if attempt.layer in ("proc", "sys", "cgroup-files"):
        return kernel_files.writable(found.plan, attempt.detail)
    if attempt.name == "open a block device":
        named = [(device.kind, "%d:%d" % (device.major, device.minor)) for device in found.plan.devices]
        return isolation.every_device(found.plan) or ("b", attempt.detail.split(" ")[0]) in named
    sets = found.plan.credentials.capabilities
    if not sets:
        return False
    holds = sets["bounding" if attempt.layer == "seccomp" else "effective"]
    return bool(holds & mask(GRANTS.get(attempt.name, ())))


def mask(names) -> int:
    return sum([1 << abi.CAPABILITIES.index(name) for name in names if name in abi.CAPABILITIES])


def errno_name(number: int) -> str:
    """EPERM for 1."""
    return errno.errorcode.get(number, str(number))
