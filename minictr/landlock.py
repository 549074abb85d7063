"""Landlock: rights over files, ports and other processes that a process gives up for good.

What a ruleset handles is denied, but for what it allows: to files and below directories (known by
their inodes, whatever leads there), and to ports. It holds for the process and all that it starts;
further rulesets can only take more away. The version of the kernel's Landlock tells what can be
handled:

    1  5.13   executing, reading, writing, making and removing files
    2  5.19   moving and linking files between directories, which version 1 denies throughout
    3  6.2    truncating files
    4  6.7    binding and connecting TCP ports
    5  6.10   ioctl(2) on devices that are opened
    6  6.12   connecting to abstract sockets of others, sending them signals
    7  6.15   nothing new
    8  7.0    nothing new
    9  7.1    connecting to sockets of others that have a name in the file system
   10  7.2    binding UDP ports and sending to them

No version handles stat(2), chmod(2), chown(2), utime(2) or extended attributes; and of TCP not all
(`landlock_gaps`).
Source: Documentation/userspace-api/landlock.rst, include/uapi/linux/landlock.h

Side: both
"""

import _stat as stat
import _struct as struct
import os

from . import abi, libc, libc_rare
from .errors import Degradation, step

NEWEST = 10  # of the versions known here; later ones handle what these do
# What says that there is no Landlock here: an older kernel, one without it or with another lsm=, a
# seccomp filter
REFUSED = (abi.ENOSYS, abi.EOPNOTSUPP, abi.EPERM, abi.EACCES)

EXECUTE = abi.LANDLOCK_ACCESS_FS_EXECUTE
READ = abi.LANDLOCK_ACCESS_FS_READ_FILE | abi.LANDLOCK_ACCESS_FS_READ_DIR
# All but making device nodes, which is a way to the devices of the host
WRITE = (
    abi.LANDLOCK_ACCESS_FS_WRITE_FILE | abi.LANDLOCK_ACCESS_FS_TRUNCATE
    | abi.LANDLOCK_ACCESS_FS_REMOVE_DIR | abi.LANDLOCK_ACCESS_FS_REMOVE_FILE
    | abi.LANDLOCK_ACCESS_FS_MAKE_DIR | abi.LANDLOCK_ACCESS_FS_MAKE_REG
    | abi.LANDLOCK_ACCESS_FS_MAKE_SOCK | abi.LANDLOCK_ACCESS_FS_MAKE_FIFO
    | abi.LANDLOCK_ACCESS_FS_MAKE_SYM | abi.LANDLOCK_ACCESS_FS_REFER
    | abi.LANDLOCK_ACCESS_FS_IOCTL_DEV
)  # fmt: skip
OWN = "/proc/self"  # of the container's first process; others find theirs closed
# To sockets with a name, whoever listens there; those of a program under the same ruleset are open anyway
SOCKETS = abi.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
BIND, CONNECT = abi.LANDLOCK_ACCESS_NET_BIND_TCP, abi.LANDLOCK_ACCESS_NET_CONNECT_TCP
UDP = abi.LANDLOCK_ACCESS_NET_BIND_UDP | abi.LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP
ABSTRACT, SIGNAL = abi.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, abi.LANDLOCK_SCOPE_SIGNAL
# What may be allowed to what is no directory
_OF_FILES = (
    EXECUTE | abi.LANDLOCK_ACCESS_FS_WRITE_FILE | abi.LANDLOCK_ACCESS_FS_READ_FILE
    | abi.LANDLOCK_ACCESS_FS_TRUNCATE | abi.LANDLOCK_ACCESS_FS_IOCTL_DEV | SOCKETS
)  # fmt: skip
_MAKE_SYM = abi.LANDLOCK_ACCESS_FS_MAKE_SYM  # the highest of version 1


def version(most: int = NEWEST) -> int:
    """The version of this kernel's Landlock, at most MOST. Raises OSError where there is none."""
    return min(libc_rare.landlock_abi(), most)


def file_rights(version: int) -> int:
    """All LANDLOCK_ACCESS_FS_* that VERSION handles."""
    rights = 2 * _MAKE_SYM - 1
    for since, right in (
        (2, abi.LANDLOCK_ACCESS_FS_REFER), (3, abi.LANDLOCK_ACCESS_FS_TRUNCATE),
        (5, abi.LANDLOCK_ACCESS_FS_IOCTL_DEV), (9, SOCKETS),
    ):  # fmt: skip
        rights |= right if version >= since else 0
    return rights


def port_rights(version: int) -> int:
    """All LANDLOCK_ACCESS_NET_* that VERSION handles."""
    return (BIND | CONNECT if version >= 4 else 0) | (UDP if version >= 10 else 0)


class Ruleset:
    """What is denied from `enforce` on, but for what is allowed before.

    version: of the kernel's Landlock, 1 to NEWEST; what it does not know is left out
    files: whether files are handled; sockets: and those that have a name
    ports: an or of BIND, CONNECT and UDP; scopes: of ABSTRACT, SIGNAL
    empty: VERSION handles none of that, so there is no ruleset
    Raises OSError: one of REFUSED where there is no Landlock.
    """

    def __init__(
        self, version: int, files: bool = False, ports: int = 0, scopes: int = 0, sockets: bool = False
    ) -> None:
        self.version = version
        self.files = file_rights(version) & (-1 if sockets else ~SOCKETS) if files else 0
        self.ports = ports & port_rights(version)
        self.scopes = scopes if version >= 6 else 0
        self.descriptor = -1
        self.empty = not (self.files or self.ports or self.scopes)
        if not self.empty:
            # a kernel is told of the fields that it knows
            fields = (self.files, self.ports, self.scopes)[: 1 if version < 4 else 2 if version < 6 else 3]
            self.descriptor = libc_rare.landlock_create_ruleset(struct.pack("=%dQ" % len(fields), *fields))

    def allow(self, descriptor: int, rights: int) -> None:
        """RIGHTS, an or of READ, WRITE, EXECUTE and SOCKETS, to what DESCRIPTOR is, and all below it."""
        rights &= self.files
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _OF_FILES
        if rights:
            rule = struct.pack("=Qi", rights, descriptor)
            libc_rare.landlock_add_rule(self.descriptor, abi.LANDLOCK_RULE_PATH_BENEATH, rule)

    def allow_path(self, path: str, rights: int) -> bool:
        """The same to PATH. False where it does not exist or cannot be reached."""
        try:
            descriptor = os.open(path, abi.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (abi.ENOENT, abi.ENOTDIR, abi.EACCES):
                return False
            raise
        try:
            self.allow(descriptor, rights)
        finally:
            os.close(descriptor)
        return True

    def allow_port(self, port: int, rights: int) -> None:
        """RIGHTS, BIND or CONNECT, over the TCP port PORT, 0 to 65535; binding 0 takes any free one."""
        rights &= self.ports
        if rights:
            rule = struct.pack("=QQ", rights, port)
            libc_rare.landlock_add_rule(self.descriptor, abi.LANDLOCK_RULE_NET_PORT, rule)

    def enforce(self) -> None:
        """Put this thread under it. OSError EPERM without no_new_privs and CAP_SYS_ADMIN; E2BIG where
        it is under sixteen already."""
        if not self.empty:
            libc_rare.landlock_restrict_self(self.descriptor)
            self.close()

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


# --- in init: the rulesets that it has come to hold ---------------------------------------------


def enforce_early(me, credentials):
    """Before the privileges that it takes are gone. Who has none gets no_new_privs, asked for or not: a
    program that may gain privileges while the host's files are in sight is worse.

    me: an init.Init; credentials: a privileges.Credentials, which comes back
    """
    if not libc.capget()[0] >> abi.CAP_SYS_ADMIN & 1:
        why = "Landlock asks for it, or for CAP_SYS_ADMIN"
        me.degrade(
            Degradation(
                "no-new-privs", "no_new_privs", "off", "on", "gaining privileges", 0, why, level="notice"
            )
        )
        libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
        credentials = credentials.replace(no_new_privs=True)
    enforce(me)
    return credentials


def enforce(me) -> None:
    """After this files may be closed to us, too: of what is left to do execve(2) alone needs one."""
    for ruleset in me.rulesets:
        with step("put the program under Landlock"):
            if me.prefix and ruleset.files:
                ruleset.allow_path(OWN, READ)
            ruleset.enforce()
    me.rulesets = []
