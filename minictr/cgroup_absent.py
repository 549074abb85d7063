"""Cgroups that the host does not have mounted, and controllers that it does not give to anybody: why, and
how it would.

Side: host
"""

import os

from . import signs
from .errors import printable
from .fixes import Cause, as_root

# What a kernel is built with, by the name on v2
BUILT = {
    "cpu": "CONFIG_CGROUP_SCHED", "cpuset": "CONFIG_CPUSETS", "hugetlb": "CONFIG_CGROUP_HUGETLB",
    "io": "CONFIG_BLK_CGROUP", "memory": "CONFIG_MEMCG", "misc": "CONFIG_CGROUP_MISC",
    "pids": "CONFIG_CGROUP_PIDS", "rdma": "CONFIG_CGROUP_RDMA",
}  # fmt: skip


def unmounted(place: str) -> Cause:
    """No file system of cgroups is mounted on PLACE or below it."""
    if os.path.isdir("/proc/self") and not os.path.exists("/proc/self/cgroup"):
        return Cause(why="the kernel has no cgroups", fix="use a kernel with CONFIG_CGROUPS=y")
    command = "mount -t cgroup2 cgroup2 %s" % place
    used = [words for words in _hierarchies() if not words.startswith("name=")]
    if used:  # a controller is in one hierarchy alone, which lasts while there are cgroups in it
        each = "mkdir $name && mount -t cgroup -o $name cgroup $name"
        command = "mount -t tmpfs cgroup {0} && cd {0} && for name in {1}; do {2}; done".format(
            place, " ".join(used), each
        )
    if not os.path.isdir(place):
        command = "mount -t sysfs sysfs /sys && " + command
    return Cause(why="no cgroup file system is mounted at %s" % printable(place), fix=as_root(command))


def from_v1(controller: str, place: str) -> Cause:
    """A group below PLACE has no part in a hierarchy of v1 with CONTROLLER."""
    names = [words for words in _hierarchies() if controller in words.split(",")] + [controller]
    if any(os.path.exists("%s/%s/cgroup.procs" % (place, name)) for name in names):
        return Cause(why="the hierarchy with the controller %s is closed to us" % controller)
    found = _switched_off(controller)
    if found is not None:
        return found
    off = [word for word in _command_line("cgroup_no_v1=") if word in (controller, "all")]
    if off:
        why = "the controller %s is kept from cgroup v1 (cgroup_no_v1=%s), and v1 is what is mounted"
        return Cause(why=why % (controller, off[0]), fix="boot without that, or " + v2_alone())
    command = "mkdir -p {0}/{1} && mount -t cgroup -o {1} cgroup {0}/{1}".format(place, names[0])
    return Cause(why="no hierarchy with the controller %s is mounted" % controller, fix=as_root(command))


def v2_alone() -> str:
    """What the machine is to be booted with."""
    if os.path.isdir("/run/systemd/system"):
        return "with cgroup v2 alone (systemd.unified_cgroup_hierarchy=1)"
    return "with cgroup v2 alone (cgroup_no_v1=all, and cgroup2 mounted on /sys/fs/cgroup)"


def from_v2(controller: str, place: str) -> "Cause | None":
    """The cgroup PLACE of v2, which nobody keeps anything from, does not have CONTROLLER. None where it is
    not the topmost."""
    old = {"io": "blkio"}.get(controller, controller)
    found = _switched_off(old)
    if found is not None:
        return found
    if _row(old)[0] not in ("", "0"):
        why = "the controller %s is in use by cgroup v1"
        return Cause(why=why % controller, fix="add cgroup_no_v1=%s to the kernel's command line" % old)
    if os.path.exists(place + "/cgroup.type") or not os.path.exists(place + "/cgroup.procs"):
        return None
    built = BUILT.get(controller)
    fix = "use a kernel with %s=y" % built if built else ""
    why = "the kernel has no controller %s" % printable(controller)
    if not os.path.exists("/proc/cmdline"):  # with subset=pid
        why += ", or it is switched off (cgroup_disable=)"
    return Cause(why=why, fix=fix)


def _switched_off(controller: str) -> "Cause | None":
    """cgroup_disable= of the kernel's command line, as the firmware of a Raspberry Pi has it for memory."""
    if _row(controller)[1] != "0" and controller not in _command_line("cgroup_disable="):
        return None
    fix = (
        "boot without cgroup_disable={0} on the kernel's command line; a Raspberry Pi takes cgroup_enable={0}"
    )
    return Cause(why="the controller %s is switched off" % controller, fix=fix.format(controller))


def _row(controller: str) -> "tuple[str, str]":
    """The hierarchy of v1 that CONTROLLER is in, "0" for none, and whether it is on; "" where the kernel does
    not say so: newer ones tell of those alone that v1 has."""
    for line in signs.read("/proc/cgroups").splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[0] == controller:
            return fields[1], fields[3]
    return "", ""


def _hierarchies() -> "list[str]":
    """The controllers of each hierarchy of v1 that the kernel has."""
    lines = [line.split(":") for line in signs.read("/proc/self/cgroup").splitlines()]
    return [fields[1] for fields in lines if len(fields) > 2 and fields[1]]


def _command_line(option: str) -> "list[str]":
    words = [word[len(option) :] for word in signs.read("/proc/cmdline").split() if word.startswith(option)]
    return ",".join(words).split(",")
