"""What a configuration says beside namespaces that are joined, and only they can tell whether it holds.

Id maps must be those that the user namespace has: containerd writes both for each container of a pod with
users of its own, and runc takes them too. A namespace may be our own, and then what is set in it is set on
the host.

Side: host
"""

from . import abi, forks, idmaps, idtables, libc, paths, sysctls
from . import unix as os
from .errors import ContainerError

NAMES = (("uidMappings", "uid_map"), ("gidMappings", "gid_map"))


def check_settings(plan, spaces: "list[tuple[str, int]]") -> None:
    """Raises ContainerError where a sysctl or a name of PLAN would be the host's.

    spaces: (kind, descriptor), as they will be joined
    """
    kinds = list(plan.namespaces)
    for kind, descriptor in spaces:
        own = os.stat("/proc/self/ns/" + abi.NAMESPACES[kind][0])
        kinds += [] if os.path.samestat(own, os.fstat(descriptor)) else [kind]
    asked = [(key, "set sysctl %s" % key) for key, _ in plan.sysctl]
    asked += [("kernel.hostname", "set the host name")] if plan.hostname else []
    asked += [("kernel.domainname", "set the domain name")] if plan.domainname else []
    for key, doing in asked:
        why = sysctls.refusal(key, kinds)
        if why:
            raise ContainerError(doing, why + ", other than ours")


def check_maps(proc: int, spaces: "list[tuple[str, int]]", linux: "dict") -> None:
    """Raises ContainerError where LINUX, of config.json, has other maps than the user namespace in SPACES, as
    above. proc: from paths.open_proc"""
    wanted = [(name, file) for name, file in NAMES if linux.get(name)]
    for kind, descriptor in spaces:
        if kind == "user" and wanted:
            found = _maps_of(proc, descriptor, [file for _, file in wanted])
            for (name, _), rows in zip(wanted, found):
                if sorted(rows) != sorted(idmaps.lines(linux, name)):
                    shown = ", ".join(["%d:%d:%d" % row for row in rows]) or "none"
                    why = "the namespace has other ids than linux.%s: %s" % (name, shown)
                    raise ContainerError("join the user namespace", why, hint="leave linux.%s out" % name)


def _enter(descriptor: int) -> int:
    """Into the user namespace DESCRIPTOR; the errno where that is refused, else 0."""
    try:
        libc.prctl(abi.PR_SET_DUMPABLE, 0)  # in there others may be root
        libc.setns(descriptor, abi.CLONE_NEWUSER)
    except OSError as error:
        return error.errno or abi.EPERM
    return 0


def _maps_of(proc: int, descriptor: int, files: "list[str]") -> "list[list[tuple]]":
    """The rows of each of FILES, which are those of a process: one of ours that joins and does nothing."""
    theirs, writer = os.pipe()
    reader, ours = os.pipe()
    pid = forks.clone(0)
    if pid == 0:
        try:
            os.close(ours)
            os.write(writer, b"%d" % _enter(descriptor))
            os.read(reader, 1)
        finally:  # a signal that ends the making: what is undone then is the runtime's
            os._exit(0)
    os.close(writer)
    os.close(reader)
    try:
        number = int(os.read(theirs, 16) or abi.ESRCH)
        if number:
            raise ContainerError("join the user namespace", "", number, cause="setns")
        return [list(idtables.rows(paths.read_proc(proc, "%d/%s" % (pid, file)))) for file in files]
    finally:
        os.close(theirs)
        os.close(ours)
        os.waitpid(pid, 0)
