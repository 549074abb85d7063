"""Why the kernel refused, and the exact thing to do about it: one table for every message.

The host is looked at when something was refused, never before: a start that goes well pays nothing.
A row names what was refused, the errnos it explains, and the function that looks; the first that
finds something speaks.

Side: both
"""

import os

from . import abi, causes_ids, cgroup, host, signs
from .errors import printable
from .fixes import Cause, as_root, capability, outside, set_sysctl


def why(code: str, number: int = 0, **facts: object) -> Cause:
    """Why CODE was refused with the errno NUMBER (0 where the kernel was not asked).

    code: "userns" (a clone with CLONE_NEWUSER), "clone" (one without), "mount", "proc", "newuidmap",
        "pivot_root", "cgroup-files" ...: see TABLE; for another what can be said of any refusal
    facts: what is known already: path; kind (of a namespace, or a file system); uid, names, need
        (how many ids); said (by a helper); inside (it was refused in a user namespace of its own,
        and we stand outside); users (the errno with which a user namespace was refused before)
    """
    said = printable(facts.get("said") or "")
    if not number and os.strerror(abi.EPERM) in said:
        number = abi.EPERM
    facts.update(code=code, number=number, said=said)
    for codes, numbers, look in TABLE:
        if (not codes or code in codes) and (not numbers or number in numbers):
            found = look(facts)
            if found is not None:
                return found
    return Cause(why=said or (os.strerror(number) if number else ""))


def _inside(facts: "dict[str, object]") -> bool:
    """It was refused in a user namespace below the host's."""
    return bool(facts.get("inside")) or not signs.initial()


# --- mounts and the root ----------------------------------------------------------------------


def _hidden(facts: "dict[str, object]") -> "Cause | None":
    """mount_too_revealing (fs/namespace.c): in a user namespace a fresh one is for those alone who
    see a whole one already."""
    if not _inside(facts):
        return None
    kind = str(facts["code"])
    top = {"proc": "/proc", "sysfs": "/sys"}[kind]
    found = signs.mounts()
    whole = [mount for mount in found if mount.kind == kind and mount.root == "/"]
    if whole and [mount.kind for mount in found if mount.place == top][-1:] not in ([], [kind]):
        said = "%s is hidden by what is mounted over it, so the kernel shows no fresh one" % top
        return Cause(why=said, fix=outside("unmask", as_root("umount %s" % top)))
    places = signs.covers(top)
    if places:
        shown = ", ".join(places[:3]) + (" and %d more" % (len(places) - 3) if len(places) > 3 else "")
        said = "a part of %s is hidden (mounts on %s), so the kernel shows no fresh one" % (top, shown)
        return Cause(why=said, fix=outside("unmask", as_root("umount " + " ".join(places))))
    if not whole:
        said = "no whole %s is mounted here, so the kernel shows no fresh one in a user namespace" % kind
        return Cause(why=said, fix=as_root("mount -t %s %s %s" % (kind, kind, top)))
    if all("ro" in mount.options.split(",") for mount in whole):
        said = "%s is read-only here, so the kernel shows no writable one" % top
        return Cause(why=said, fix=outside("unmask", as_root("mount -o remount,rw %s" % top)))
    if all("subset=pid" in mount.words for mount in whole):
        said = "the only %s here is one with subset=pid, so the kernel shows no whole one" % kind
        return Cause(why=said, fix=outside("unmask", as_root("mount -t proc proc /proc")))
    return None


def _foreign(facts: "dict[str, object]") -> "Cause | None":
    """Such a file system shows a namespace, and only that namespace's owner mounts it."""
    if not _inside(facts):
        return None
    code = str(facts["code"])
    owner = {"sysfs": "network", "mqueue": "ipc", "proc": "pid", "cgroup2": "cgroup"}[code]
    said = "%s is for the owner of the %s namespace, and this one is not the container's own"
    return Cause(why=said % (code, owner), fix="give the container its own %s namespace" % owner)


def _unknown_file_system(facts: "dict[str, object]") -> "Cause | None":
    kind = printable(facts.get("kind") or facts["code"])
    if kind == "mount":
        return Cause(why="the kernel does not know this type of file system", fix="see /proc/filesystems")
    said = "the kernel does not know the file system %s: its module is missing or not loaded" % kind
    return Cause(why=said, fix=as_root("modprobe %s" % kind))


def _too_many_mounts(facts: "dict[str, object]") -> "Cause | None":
    limit = signs.sysctl("fs.mount-max")
    said = "the limit of %s mounts (fs.mount-max) is reached, or the file system is full" % limit
    return Cause(why=said, fix=set_sysctl("fs.mount-max", 2 * (limit or 100000)))


def _overlay_kernel(facts: "dict[str, object]") -> "Cause | None":
    if host.kernel() >= (5, 11) or (signs.holds(abi.CAP_SYS_ADMIN) and not _inside(facts)):
        return None
    said = "overlayfs in a user namespace needs Linux 5.11 or newer; this is %s" % os.uname().release
    fix = "use a newer kernel"
    if os.path.exists("/sys/module/overlay/parameters/permit_mounts_in_userns"):  # Debian's patch
        file = "/etc/modprobe.d/90-minictr.conf"
        fix = as_root("echo options overlay permit_mounts_in_userns=1 > %s, and boot again" % file)
    return Cause(why=said, fix=fix + ", or do without --overlay")


def _overlay_layers(facts: "dict[str, object]") -> "Cause | None":
    kind = printable(signs.mount_of(str(facts.get("path") or "/")).kind) or "this file system"
    if _inside(facts) and "path" not in facts:
        said = "in a user namespace overlayfs takes no directory with mounts below it, as the host's root is"
        return Cause(why=said, fix="use --rootfs DIR --overlay, or as root --userns host")
    said = "overlayfs does not take %s as its layer" % kind
    return Cause(why=said, fix="do without --overlay, or copy the root to ext4, xfs, btrfs or tmpfs")


def _initramfs(facts: "dict[str, object]") -> "Cause | None":
    kinds = [mount.kind for mount in signs.mounts() if mount.place == "/"]
    if not kinds or kinds[-1] != "rootfs":
        return None
    said = "the root of this host is its initramfs, which pivot_root cannot move"
    move = "mount -t tmpfs root /new && cp -a /bin /etc ... /new && exec switch_root /new /sbin/init"
    return Cause(why=said, fix="in its /init: " + move)


def _idmap(facts: "dict[str, object]") -> "Cause | None":
    if host.kernel() < (5, 12):
        said = "idmapped mounts need Linux 5.12 or newer; this is %s" % os.uname().release
        return Cause(why=said, fix="use a newer kernel, or --userns host")
    if facts["number"] == abi.EINVAL:
        kind = printable(signs.mount_of(str(facts.get("path") or "/")).kind) or "the file system"
        if facts.get("below"):
            said = "%s, which is mounted below it on %s, cannot be mounted with other ids, or is already"
            fix = "leave out what is mounted below, by the option bind of the volume, or unmount it"
            return Cause(why=said % (kind, printable(facts["path"])), fix=fix)
        said = "%s cannot be mounted with other ids in this kernel, or is already" % kind
        return Cause(why=said, fix="put it on ext4, xfs, btrfs or tmpfs, or use --userns host")
    if facts["number"] == abi.EPERM and not (signs.initial() and signs.holds(abi.CAP_SYS_ADMIN)):
        return Cause(why="idmapped mounts are for the owner of the file system, the host's root")
    return None


def _mknod(facts: "dict[str, object]") -> "Cause | None":
    if signs.holds(abi.CAP_MKNOD) and not _inside(facts):
        return Cause(why="the device cgroup around us does not allow this device")
    return Cause(why="device nodes are not made in a user namespace, nor without CAP_MKNOD")


# --- everything else ----------------------------------------------------------------------------


def _cgroup(facts: "dict[str, object]") -> "Cause | None":
    number, systemd = facts["number"], os.path.isdir("/run/systemd/system")
    if number == abi.EROFS:
        fix = outside("cgroup", as_root("mount -o remount,rw /sys/fs/cgroup"))
        return Cause(why="the cgroup file system is mounted read-only", fix=fix)
    if number in (abi.ENOENT, abi.ENODEV):
        from . import cgroup_absent  # with the layout of what there is

        return cgroup_absent.unmounted("/sys/fs/cgroup")
    user = signs.caller()  # root of a user namespace has no rights over cgroups, as below a rootless dockerd
    scope = _user_scope(user) if user else "start with: systemd-run --scope -p Delegate=yes minictr ..."
    if number == abi.EBUSY:
        said = "processes in the cgroup itself keep its controllers from being handed down"
        return Cause(
            why=said, fix=scope if systemd else "move them to a cgroup below: echo PID > DIR/cgroup.procs"
        )
    said = "the cgroup is not delegated to this user"
    if all(mount.place != "/sys/fs/cgroup" or mount.kind != "cgroup2" for mount in signs.mounts()):
        if not user:
            return Cause(why=said, fix=capability("CAP_DAC_OVERRIDE"))
        fix = "boot with cgroup v2 alone (systemd.unified_cgroup_hierarchy=1): v1 is not handed to users"
        return Cause(why=said, fix=fix if systemd else _delegate_v1(user))
    return Cause(why=said, fix=scope if systemd else _delegate(user))


def _user_scope(user: int) -> str:
    """By the user's own systemd, which stands there from their login on, or lingers."""
    place = "/run/user/%d" % user
    scope = "systemd-run --user --scope -p Delegate=yes minictr ..."
    if not os.getenv("XDG_RUNTIME_DIR"):
        scope = "XDG_RUNTIME_DIR=%s %s" % (place, scope)
    if os.path.exists(place + "/systemd/private"):
        return "start with: " + scope
    return as_root("loginctl enable-linger %d" % user) + "; then start with: " + scope


def _delegate(user: int) -> str:
    """cgroup-v2.rst, "Delegation"; who called us is most likely the shell that is to be moved."""
    place, all_ = "minictr-%d" % user, "echo '+cpu +io +memory +pids' > "
    return as_root(  # the shell in a cgroup below, as those with processes hand down no controllers
        "cd /sys/fs/cgroup && mkdir -p %s/shell && %scgroup.subtree_control && %s%s/cgroup.subtree_control"
        " && chown %d %s %s/cgroup.procs %s/cgroup.subtree_control && echo %d > %s/shell/cgroup.procs"
        % (place, all_, all_, place, user, place, place, place, os.getppid(), place)
    )


def _delegate_v1(user: int) -> str:
    """The same in each hierarchy. The directory alone becomes the user's: most of its files are limits, which
    stay root's. A cpuset takes no process before it has processors."""
    layout = cgroup.layout()
    names = " ".join([place[len(layout.mount_point) + 1 :] for place, _ in layout.hierarchies])
    return as_root(
        "for name in {0}; do cd {1}/$name && mkdir -p {2} && for file in cpuset.cpus cpuset.mems; do"
        " [ ! -e $file ] || cat $file > {2}/$file; done; chown {3} {2} && echo {4} > {2}/cgroup.procs; done"
        "".format(names, layout.mount_point, "minictr-%d" % user, user, os.getppid())
    )


def _state(facts: "dict[str, object]") -> "Cause | None":
    place = printable(signs.existing(str(facts.get("path") or "/run")))
    said = {abi.EROFS: "is on a read-only file system", abi.ENOSPC: "is on a file system that is full"}
    fix = "name another place with --root DIR"
    if os.geteuid() != 0 and facts["number"] != abi.ENOSPC:
        fix = "set XDG_RUNTIME_DIR to a directory of this user's, or " + fix
    return Cause(why="%s %s" % (place, said.get(facts["number"], "is not writable for this user")), fix=fix)  # type: ignore[call-overload]


def _seccomp_missing(facts: "dict[str, object]") -> "Cause | None":
    return Cause(why="the kernel has no seccomp filters", fix="use a kernel with CONFIG_SECCOMP_FILTER=y")


def _landlock_off(facts: "dict[str, object]") -> "Cause | None":
    fix = "add landlock to lsm= of the kernel's command line (CONFIG_LSM has what holds without)"
    return Cause(why="Landlock is built into the kernel and switched off", fix=fix)


def _memory_file(facts: "dict[str, object]") -> "Cause | None":
    """Since Linux 6.3, of each PID namespace and those below it."""
    name = "vm.memfd_noexec"
    if signs.sysctl(name) != 2:
        return None
    return Cause(why="%s is 2: no file in memory may be executed" % name, fix=set_sysctl(name, 1))


def _null_device(facts: "dict[str, object]") -> "Cause | None":
    if facts["code"] != "/dev/null" and facts.get("path") != "/dev/null":
        return None
    return Cause(why="/dev/null is missing", fix=as_root("mknod -m 666 /dev/null c 1 3"))


def _processes(facts: "dict[str, object]") -> "Cause | None":
    said = "a limit of processes is reached: ulimit -u of the user, or pids.max of the cgroup"
    return Cause(why=said, fix="ulimit -u unlimited, or end processes of this user")


# --- what can refuse anything ---------------------------------------------------------------


def _capability(facts: "dict[str, object]") -> "Cause | None":
    name = NEEDS.get(str(facts["code"]))
    if name is None or facts.get("inside") or signs.holds(abi.CAPABILITIES.index(name)):
        return None
    if facts.get("users") and name != "CAP_MKNOD":
        fix = why("userns", int(str(facts["users"]))).fix
        return Cause(why="that takes a user namespace, or %s" % name, fix=fix or capability(name))
    return Cause(why="%s is not held" % name, fix=capability(name))


def _confined(facts: "dict[str, object]") -> "Cause | None":
    profile = signs.apparmor()
    if profile in ("", "unconfined") or profile.endswith(("(complain)", "(unconfined)")):
        return None
    said = "the AppArmor profile %s does not allow it" % profile
    rule = RULES.get(str(facts["code"]), "that dmesg | grep DENIED names")
    name = profile.partition(" ")[0]
    other = as_root("add the rule %s to the profile %s in /etc/apparmor.d and load it again" % (rule, name))
    return Cause(why=said, fix=outside("apparmor", other))


def _filter(facts: "dict[str, object]") -> "Cause | None":
    if not signs.filtered():
        return None
    around = signs.surroundings()
    said = "the seccomp filter that %s put on us refuses it" % (around or "a container or sandbox around us")
    other = "start outside of it: grep Seccomp: /proc/self/status says 0 where there is none"
    return Cause(why=said, fix=outside("seccomp", other))


def _selinux(facts: "dict[str, object]") -> "Cause | None":
    context = signs.selinux()
    if not context:
        return None
    fix = "ausearch -m avc -ts recent | audit2allow -M minictr && semodule -i minictr.pp"
    return Cause(why="SELinux may deny it to %s" % context, fix=as_root(fix))


def _old_kernel(facts: "dict[str, object]") -> "Cause | None":
    code, release = str(facts["code"]), os.uname().release
    need = SINCE.get(code)
    if need is not None and host.kernel() < need:
        said = "%s needs Linux %d.%d or newer; this is %s" % ((code,) + need + (release,))
        return Cause(why=said, fix="use a newer kernel")
    return Cause(
        why="the kernel (%s) lacks the call, or something hides it" % release, fix="use a newer kernel"
    )


# --- the table --------------------------------------------------------------------------------

# What a refusal asks for where no user namespace gives it
_ADMIN = """clone setns devices pid mount network uts ipc cgroup time proc sysfs overlay tmpfs pivot_root
    sethostname"""
NEEDS = dict.fromkeys(_ADMIN.split(), "CAP_SYS_ADMIN")
NEEDS.update(chroot="CAP_SYS_CHROOT", mknod="CAP_MKNOD", lo="CAP_NET_ADMIN")
# apparmor.d(5): what a profile must say
RULES = dict.fromkeys(("mount", "tmpfs", "proc", "sysfs", "overlay", "mqueue", "devpts"), "'mount,'")
RULES.update(
    userns="'userns, capability, mount, umount, pivot_root,'", pivot_root="'pivot_root,'",
    chroot="'capability sys_chroot,'", clone="'capability sys_admin,'", mknod="'capability mknod,'",
    sethostname="'capability sys_admin,'", network="'network, capability net_admin,'",
)  # fmt: skip
SINCE = {"time": (5, 6), "landlock": (5, 13), "idmap": (5, 12)}

_USERNS = ("userns", "user")
_NAMESPACES = _USERNS + ("clone", "pid", "network", "uts", "ipc", "cgroup", "time")
_HELPERS = ("subids", "newuidmap", "newgidmap")
_MAPS = ("maps", "uid_map", "gid_map")
_FILE_SYSTEMS = ("mount", "overlay", "proc", "sysfs", "tmpfs", "mqueue", "devpts", "cgroup2")
_DENIED = (abi.EPERM, abi.EACCES)
_REFUSED = _DENIED + (abi.ENOSYS,)

TABLE = (
    # what was refused, with which errnos (() is any), who looks
    (_NAMESPACES, (abi.ENOSPC,), causes_ids.limit),
    (_NAMESPACES, (abi.EUSERS,), causes_ids.too_deep),
    (_NAMESPACES, (abi.EINVAL, abi.ENOSYS), causes_ids.no_such_kind),
    (_NAMESPACES, (abi.EAGAIN,), _processes),
    (_USERNS, (abi.EPERM,), causes_ids.debian_switch),
    (_USERNS + _MAPS + _FILE_SYSTEMS, _DENIED, causes_ids.ubuntu_switch),
    (_USERNS, (abi.EPERM,), causes_ids.unmapped),
    (_USERNS, (abi.EPERM,), causes_ids.chrooted),
    (_HELPERS, (), causes_ids.helpers),
    (_MAPS + ("setgroups", "time"), (), causes_ids.no_proc),
    (_MAPS, (abi.EPERM,), causes_ids.map_refused),
    (_MAPS, (abi.EINVAL,), causes_ids.map_malformed),
    (("proc", "sysfs"), (abi.EPERM,), _hidden),
    (("proc", "sysfs", "mqueue", "cgroup2"), (abi.EPERM,), _foreign),
    (("overlay",), (abi.EPERM,), _overlay_kernel),
    (("overlay",), (abi.EINVAL,), _overlay_layers),
    (_FILE_SYSTEMS, (abi.ENODEV,), _unknown_file_system),
    (_FILE_SYSTEMS, (abi.ENOSPC,), _too_many_mounts),
    (("pivot_root", "mount"), (abi.EINVAL,), _initramfs),
    (("pivot_root", "mount"), (abi.EINVAL, abi.EPERM), causes_ids.chrooted),
    (("idmap",), (abi.ENOSYS, abi.EINVAL, abi.EPERM), _idmap),
    (("mknod",), (abi.EPERM,), _mknod),
    (("cgroup-files",), (abi.EROFS, abi.ENOENT, abi.ENODEV, abi.EBUSY) + _DENIED, _cgroup),
    (("state",), (abi.EROFS, abi.ENOSPC) + _DENIED, _state),
    (("seccomp",), (abi.EINVAL,), _seccomp_missing),
    (("landlock",), (abi.EOPNOTSUPP,), _landlock_off),
    (("standin",), (abi.EACCES,), _memory_file),
    (("fork",), (abi.EAGAIN,), _processes),
    ((), (abi.ENOENT, abi.ENXIO, abi.ENODEV), _null_device),
    ((), _DENIED, _confined),
    ((), _DENIED, _capability),
    ((), _REFUSED, _filter),
    ((), _DENIED, _selinux),
    ((), (abi.ENOSYS,), _old_kernel),
)  # type: tuple
