"""Who the container's process is and what it may do: ids, groups, capabilities, limits.

Side: container
"""

from _signal import SIGKILL  # `signal` imports enum: 3 ms

from . import abi, libc
from . import unix as os
from .errors import ContainerError, step
from .record import Record

SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


class Filter(Record):
    """A filter of system calls, as `seccomp` compiles it.

    program: an array of struct sock_filter
    flags: of seccomp(2); listener: whether it gives a descriptor on which calls are reported
    """

    program: bytes
    flags: int = 0
    listener: bool = False

    def install(self) -> int:
        """Put the filter on this process: the descriptor of the listener, or -1."""
        try:
            result = libc.seccomp(self.flags, self.program)
        except OSError as error:
            # a kernel older than the flag, which only takes a slowdown away
            if error.errno not in (abi.EINVAL, abi.ENOSYS):
                raise
            plain = self.flags & ~abi.SECCOMP_FILTER_FLAG_SPEC_ALLOW
            result = libc.seccomp(plain, self.program)
        return result if self.listener else -1


class Credentials(Record):
    """uid, gid, groups: inside the container; groups None where setgroups(2) is denied
    capabilities: the sets SETS as bit masks; None leaves what the process has
    no_new_privs: set PR_SET_NO_NEW_PRIVS (Documentation/userspace-api/no_new_privs.rst)
    umask: 0 to 0o777
    """

    uid: int = 0
    gid: int = 0
    groups: "tuple[int, ...] | None" = ()
    capabilities: "dict[str, int] | None" = None
    no_new_privs: bool = False
    umask: int = 0o022

    @property
    def may_trace(self) -> bool:
        """CAP_SYS_PTRACE is held, or could be got: processes that are not dumpable can be looked into."""
        sets = self.capabilities or {}
        return bool(sets and (sets["bounding"] | sets["permitted"]) >> abi.CAP_SYS_PTRACE & 1)


def capability_mask(names: "list[str]", last_cap: int) -> "tuple[int, list[str]]":
    """The bit mask of capability NAMES, and those that this kernel does not know."""
    mask, unknown = 0, []
    for name in names:
        if name in abi.CAPABILITIES and abi.CAPABILITIES.index(name) <= last_cap:
            mask |= 1 << abi.CAPABILITIES.index(name)
        else:
            unknown.append(name)
    return mask, unknown


def capability_names(mask: int) -> "list[str]":
    return [name for number, name in enumerate(abi.CAPABILITIES) if mask >> number & 1]


def become_root(uid: int, gid: int) -> None:
    """Take the ids the set-up is done with: files made from here on are theirs.

    In a new user namespace the process keeps its capabilities: it was not root there before.
    """
    with step("become user %d of the user namespace" % uid):
        _setresgid(gid)
        _setresuid(uid)


def apply(credentials: Credentials, last_cap: int) -> None:
    """Become the container's user for good. Each step is checked by its outcome.

    The order is the kernel's: bounding set while CAP_SETPCAP is there, groups and gid before the
    uid, keeping the permitted set over the change of uid, then the sets themselves.
    """
    os.umask(credentials.umask)
    sets = credentials.capabilities
    drop_bounding(credentials, last_cap)
    with step("set groups", hints={abi.EPERM: "it takes CAP_SETGID"}):
        if credentials.groups is not None:
            _setgroups(credentials.groups)
        _setresgid(credentials.gid)
    if sets is not None:
        libc.prctl(abi.PR_SET_KEEPCAPS, 1)
    with step("become user %d" % credentials.uid, hints={abi.EINVAL: "map the id: --uidmap, or a range"}):
        _setresuid(credentials.uid)
    if sets is not None:
        libc.prctl(abi.PR_SET_KEEPCAPS, 0)
        _set_capabilities(sets)
    if credentials.no_new_privs:
        libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
        if libc.prctl(abi.PR_GET_NO_NEW_PRIVS) != 1:
            raise ContainerError("set no_new_privs", "the kernel says it is not set")


def drop_bounding(credentials: Credentials, last_cap: int) -> None:
    """Of what is held nothing goes by that. What is dropped already is no error."""
    if credentials.capabilities is None:
        return
    keep = credentials.capabilities["bounding"]
    with step("drop capabilities from the bounding set", hints={abi.EPERM: "it takes CAP_SETPCAP"}):
        for number in range(last_cap + 1):
            if keep >> number & 1:
                continue
            try:
                libc.prctl(abi.PR_CAPBSET_DROP, number)
            except PermissionError:  # which is said of one that is not there, too
                if libc.prctl(abi.PR_CAPBSET_READ, number):
                    raise


def _set_capabilities(sets: "dict[str, int]") -> None:
    """What cannot be held is left out, as every engine does: a runtime in a user namespace of its
    own may be asked for more than it has. The result is read back."""
    _, held, _ = libc.capget()
    permitted = sets["permitted"] & held
    inheritable = sets["inheritable"] & (held | permitted)
    effective = sets["effective"] & permitted
    hint = "what is inheritable must be in the bounding set, too"
    with step("set capabilities", hints={abi.EPERM: hint}):
        libc.prctl(abi.PR_CAP_AMBIENT, abi.PR_CAP_AMBIENT_CLEAR_ALL)
        libc.capset(effective, permitted, inheritable)
        for number in range(sets["ambient"].bit_length()):
            if sets["ambient"] & permitted & inheritable & 1 << number:
                libc.prctl(abi.PR_CAP_AMBIENT, abi.PR_CAP_AMBIENT_RAISE, number)
    if libc.capget() != (effective, permitted, inheritable):
        raise ContainerError("set capabilities", "the kernel reports others than were set")


def _setgroups(groups: "tuple[int, ...]") -> None:
    wanted = sorted(set(groups))
    try:
        os.setgroups(wanted)
    except ValueError:  # NGROUPS_MAX, which Python looks at itself
        raise ContainerError(
            "set groups", "%d are more than there may be" % len(wanted), abi.EINVAL
        ) from None
    except PermissionError:  # without CAP_SETGID, those that we have already; 65534 may stand for any
        if sorted(os.getgroups()) != wanted or 65534 in wanted:
            raise
    if sorted(os.getgroups()) != wanted:
        raise ContainerError("set groups", "the kernel reports others than were set")


def _setresuid(uid: int) -> None:
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid):
        raise ContainerError("become user %d" % uid, "the kernel reports another user")


def _setresgid(gid: int) -> None:
    os.setresgid(gid, gid, gid)
    if os.getresgid() != (gid, gid, gid):
        raise ContainerError("become group %d" % gid, "the kernel reports another group")


def tie_to_runtime() -> None:
    """Until it is told to go, and in the foreground for good, the container ends with the runtime. If
    that is dead already, the next word on the channel fails. To be said again after every change of ids."""
    libc.prctl(abi.PR_SET_PDEATHSIG, SIGKILL)
