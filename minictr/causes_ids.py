"""Why a user namespace, or its id maps, are refused. Rows of the table in `causes`.

Side: host
"""

import os

from . import abi, libc, signs
from .errors import printable
from .fixes import (
    Cause,
    as_root,
    capability,
    chain,
    give_name,
    give_range,
    grant_userns,
    install,
    outside,
    set_sysctl,
)

# The kind of a namespace in config.json: its file in /proc/self/ns, which is also its word in
# user.max_*_namespaces, and what the kernel must be built with
KINDS = {
    "user": ("user", "CONFIG_USER_NS=y"),
    "pid": ("pid", "CONFIG_PID_NS=y"),
    "mount": ("mnt", "CONFIG_NAMESPACES=y"),
    "network": ("net", "CONFIG_NET_NS=y"),
    "uts": ("uts", "CONFIG_UTS_NS=y"),
    "ipc": ("ipc", "CONFIG_IPC_NS=y"),
    "cgroup": ("cgroup", "CONFIG_CGROUPS=y, Linux 4.6 or newer"),
    "time": ("time", "CONFIG_TIME_NS=y, Linux 5.6 or newer"),
}


def _kinds(facts: "dict[str, object]") -> "tuple[str, ...]":
    """The kinds of namespace that were asked for: one, or all where it was one clone."""
    kind = str(facts.get("kind") or facts["code"])
    return (kind,) if kind in KINDS else tuple(KINDS)


def no_such_kind(facts: "dict[str, object]") -> "Cause | None":
    if not os.path.isdir("/proc/self/ns"):
        return None
    for kind in _kinds(facts):
        file, built = KINDS[kind]
        if kind == "time" and not facts.get("kind"):
            continue  # no part of a clone: it is unshared
        if not os.path.exists("/proc/self/ns/" + file):
            return Cause(why="the kernel has no %s namespaces" % kind, fix="use a kernel with " + built)
    return None


_NO_LIMIT = 0x7FFFFFFF  # INT_MAX: what a new user namespace has (create_user_ns() in kernel/user_namespace.c)


def limit(facts: "dict[str, object]") -> "Cause | None":
    kinds = _kinds(facts)
    for kind in kinds:
        name = "user.max_%s_namespaces" % KINDS[kind][0]
        if signs.sysctl(name) == 0:
            return Cause(why="%s is 0" % name, fix=set_sysctl(name, 15000))
    name = "user.max_%s_namespaces" % KINDS[kinds[0]][0]
    have = signs.sysctl(name)
    if not signs.initial() and (have or 0) >= _NO_LIMIT:
        said = (
            "the limit of %s namespaces is reached in what is around us, or they are nested 32 deep"
            % kinds[0]
        )
        return Cause(why=said, fix="start outside of that (bwrap --disable-userns, say)")
    said = "the limit of %s namespaces (%s is %s) is reached here or around us, or they are nested 32 deep"
    return Cause(why=said % (kinds[0], name, have), fix=set_sysctl(name, 2 * (have or 15000)))


def too_deep(facts: "dict[str, object]") -> "Cause | None":
    said = "user namespaces are nested 32 deep, which is the kernel's limit"
    return Cause(why=said, fix="start from a shell that is in fewer containers")


def debian_switch(facts: "dict[str, object]") -> "Cause | None":
    name = "kernel.unprivileged_userns_clone"
    if signs.sysctl(name) != 0 or signs.holds(abi.CAP_SYS_ADMIN):
        return None
    return Cause(why="%s is 0: user namespaces are for root alone" % name, fix=set_sysctl(name, 1))


def ubuntu_switch(facts: "dict[str, object]") -> "Cause | None":
    """Ubuntu since 23.10: a user namespace is refused, or is made and has no power, unless the
    program's AppArmor profile grants it."""
    name = "kernel.apparmor_restrict_unprivileged_userns"
    if signs.sysctl(name) != 1:
        return None
    if signs.initial() and signs.holds(abi.CAP_SYS_ADMIN):
        return None
    if not signs.initial() and not signs.apparmor().startswith("unprivileged_userns"):
        return None
    said = "%s is 1: AppArmor lets only programs with a profile use user namespaces" % name
    return Cause(why=said, fix=grant_userns())


def unmapped(facts: "dict[str, object]") -> "Cause | None":
    for name, number in (("uid_map", os.geteuid()), ("gid_map", os.getegid())):
        lines = [line.split() for line in signs.read("/proc/self/" + name).splitlines()]
        if lines and not any(int(first) <= number < int(first) + int(count) for first, _, count in lines):
            said = "our own id has no place in /proc/self/%s of the user namespace around us" % name
            return Cause(why=said, fix="start as a user that the container around us knows")
    return None


def chrooted(facts: "dict[str, object]") -> "Cause | None":
    found = signs.mounts()
    if not found or any(mount.place == "/" for mount in found):
        return None
    said = "we are in a chroot, and to leave it for user namespaces and pivot_root takes CAP_SYS_ADMIN and"
    said += " CAP_SYS_CHROOT"
    return Cause(why=said, fix="start as root, or enter it by unshare --mount and pivot_root, not by chroot")


# --- id maps ----------------------------------------------------------------------------------


def no_proc(facts: "dict[str, object]") -> "Cause | None":
    """The maps are files of /proc."""
    if not os.path.exists("/proc/self/uid_map"):
        return Cause(why="no proc file system is on /proc", fix=as_root("mount -t proc proc /proc"))
    if facts["number"] == abi.EROFS:
        return Cause(
            why="/proc is read-only", fix=outside("unmask", as_root("mount -o remount,bind,rw /proc"))
        )
    return None


def map_refused(facts: "dict[str, object]") -> "Cause | None":
    if not signs.initial():
        said = "the ids are not all mapped in the user namespace around us"
        return Cause(
            why=said, fix="take ids that /proc/self/uid_map names, or map more in the outer container"
        )
    if os.geteuid() == 0 and not signs.holds(abi.CAPABILITIES.index("CAP_SETFCAP")):
        return Cause(
            why="to map the host's root takes CAP_SETFCAP since Linux 5.12", fix=capability("CAP_SETFCAP")
        )
    if not (signs.holds(abi.CAP_SETUID) and signs.holds(abi.CAP_SETGID)):
        return Cause(why="other ids than our own are mapped with CAP_SETUID and CAP_SETGID only")
    return None


def map_malformed(facts: "dict[str, object]") -> "Cause | None":
    said = "the lines of the map overlap, or are more than the kernel takes (340; 5 before 4.15)"
    return Cause(why=said, fix="join neighbouring ranges, give each id once")


def helpers(facts: "dict[str, object]") -> "Cause | None":
    """newuidmap and newgidmap: all that is wrong at once, so that one round of repairs is enough."""
    code = str(facts["code"])
    found = _powerless()
    for name in ("newuidmap", "newgidmap") if code == "subids" else (code,):
        cause = _helper(name)
        if cause is not None and cause.fix not in [one.fix for one in found]:
            found.append(cause)
    missing = ranges(facts)
    if missing is not None:
        found.append(missing)
    if not found:
        return _said(str(facts.get("said") or ""))
    return Cause(why="; ".join([one.why for one in found]), fix=chain([one.fix for one in found]))


def _powerless() -> "list[Cause]":
    """To be mended first: what is installed has no power there, nor has sudo."""
    if not signs.no_new_privs():
        return []
    said = "no_new_privs is set in the caller: setuid programs such as newuidmap have no power"
    other = "start from a login shell, not from inside a sandbox (setpriv --no-new-privs, bwrap)"
    return [Cause(why=said, fix=outside("no_new_privs", other))]


def _helper(name: str) -> "Cause | None":
    from . import subids  # deferred: only here

    path = subids.helper(name)
    if not path:
        return Cause(why="%s is not installed" % name, fix=install(name))
    number = abi.CAP_SETUID if name == "newuidmap" else abi.CAP_SETGID
    state = os.stat(path)
    setuid = state.st_mode & 0o4000 and state.st_uid == 0
    if state.st_mode & 0o4000 and not setuid and not signs.initial():
        said = "%s belongs to a user that the namespace around us does not know: its setuid bit has no power"
        return Cause(why=said % path, fix="start outside of this container")
    if not setuid and not signs.file_capabilities(path) >> number & 1:
        said = "%s has neither the setuid bit of root nor the file capability" % path
        return Cause(why=said, fix=as_root("chown 0:0 %s && chmod 4755 %s" % (path, path)))
    if signs.mount_flags(path) & os.ST_NOSUID:
        said = "%s lies on a mount with nosuid, where its setuid bit has no power" % path
        return Cause(why=said, fix=as_root("mount -o remount,suid %s" % signs.mount_point(path)))
    both = setuid and os.geteuid() != 0  # without that bit it stays who owns the maps; of root `ranges` tells
    for needed in (number, abi.CAP_SYS_ADMIN) if both else (number,):
        if not signs.bounded(needed):
            lacking = abi.CAPABILITIES[needed]
            said = "the bounding set of the caller lacks %s, which %s needs" % (lacking, name)
            return Cause(why=said, fix=outside("capability", "start from a login shell", lacking[4:]))
    return None


def ranges(facts: "dict[str, object]") -> "Cause | None":
    """Too few subordinate ids. Facts: uid, names, need (how many ids the container has)."""
    from . import subids

    uid, need = int(str(facts.get("uid", os.geteuid()))), int(str(facts.get("need") or 1))
    names = facts.get("names") or subids.user_names(uid)  # type: tuple[str, ...]  # type: ignore
    if uid == 0:  # writes its range itself, or has none
        for number in (abi.CAP_SYS_ADMIN, abi.CAP_SETUID, abi.CAP_SETGID):
            if not libc.capget()[0] >> number & 1:
                lacking = abi.CAPABILITIES[number]
                why = "%s is not held, without which root maps itself alone" % lacking
                return Cause(why=why, fix=capability(lacking))
    if not names:
        return Cause(why="uid %d has no name, which newuidmap asks for" % uid, fix=give_name(uid))
    short = []
    for kind in ("subuid", "subgid"):
        have = sum([count for _, count in subids.ranges(kind, uid, names)])
        if have == 0:
            short.append("/etc/%s has no range for %s" % (kind, printable(names[0] if names else uid)))
        elif have < need:
            short.append("/etc/%s gives %d ids, the container needs %d" % (kind, have, need))
    if not short:
        return None
    return Cause(why="; ".join(short), fix=give_range(uid, names, max(need, 65536)))


def _said(said: str) -> "Cause | None":
    """What newuidmap itself says (lib/idmapping.c, src/newuidmap.c of shadow)."""
    if "not allowed" in said:
        return Cause(why=said, fix="take ids that /etc/subuid and /etc/subgid give to the user")
    if "different user" in said and " pw_gid:%d " % os.getgid() not in said:
        why = "the helpers take who has the group of the user's line in /etc/passwd alone, and ours is %d"
        return Cause(why=why % os.getgid(), fix="call newgrp without a group, and start from its shell")
    if "proc directory" in said or "different user" in said:
        return Cause(why=said, fix="mount /proc without hidepid, or with gid= of a group of the user's")
    if "not permitted" in said and not signs.initial():
        return Cause(why=said, fix="map the ids of /etc/subuid in the container around us too")
    return None
