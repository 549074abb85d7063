"""Kernel numbers and structures, grouped by header, each group with its source.

Only what differs by architecture is a table; numbers from 424 on are the same everywhere
(Documentation/process/adding-syscalls.rst).

Side: both
"""

import sys

from . import unix as os

# include/uapi/asm-generic/errno-base.h, errno.h: imported by name so that nothing imports `errno`
EPERM, ENOENT, ESRCH, EINTR, EIO, ENXIO, E2BIG, ENOEXEC, EBADF = 1, 2, 3, 4, 5, 6, 7, 8, 9
EAGAIN, ENOMEM, EACCES, EFAULT, EBUSY, EEXIST, EXDEV, ENODEV, ENOTDIR = 11, 12, 13, 14, 16, 17, 18, 19, 20
EISDIR, EINVAL, ENOSPC, EROFS, ERANGE = 21, 22, 28, 30, 34
ENFILE, EMFILE = 23, 24
ENAMETOOLONG, ENOSYS, ENOTEMPTY, ELOOP, EUSERS, EOPNOTSUPP = 36, 38, 39, 40, 87, 95
EPROTONOSUPPORT, EAFNOSUPPORT = 93, 97
ENODATA, ETIMEDOUT, EDQUOT = 61, 110, 122

# include/uapi/linux/mount.h: mount(2)
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SILENT = 32768
MS_POSIXACL = 1 << 16
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_I_VERSION = 1 << 23
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25
MNT_DETACH = 2

# include/uapi/linux/mount.h: open_tree(2), move_mount(2), fsopen(2), mount_setattr(2)
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW = 0x00200000

# include/uapi/linux/fcntl.h
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
O_PATH = os.O_PATH
F_ADD_SEALS = 1033
F_SEAL_ALL = 0x01 | 0x02 | 0x04 | 0x08  # seal, shrink, grow, write

# include/uapi/linux/memfd.h
MFD_CLOEXEC = 1
MFD_ALLOW_SEALING = 2
MFD_EXEC = 0x10  # since 6.3

# include/uapi/linux/openat2.h
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

# include/uapi/linux/magic.h: statfs.f_type
PROC_SUPER_MAGIC = 0x9FA0
DEVPTS_SUPER_MAGIC = 0x1CD1
PIPEFS_MAGIC = 0x50495045
MQUEUE_MAGIC = 0x19800202  # ipc/mqueue.c
SYSFS_MAGIC = 0x62656572
CGROUP_SUPER_MAGIC = 0x27E0EB
CGROUP2_SUPER_MAGIC = 0x63677270
PROC_ROOT_INO = 1  # include/linux/proc_fs.h

# include/uapi/linux/sched.h
CLONE_NEWTIME = 0x00000080
CLONE_FILES = 0x400
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000  # clone3(2) only, since 5.7
PF_FORKNOEXEC = 0x40  # include/linux/sched.h: among the flags in /proc/PID/stat
SIGCHLD = 17  # arch/*/include/uapi/asm/signal.h: the same on every architecture of SYSCALLS

# The word config.json has for a namespace, its file below /proc/PID/ns, and its clone flag
NAMESPACES = {
    "user": ("user", CLONE_NEWUSER),
    "cgroup": ("cgroup", CLONE_NEWCGROUP),
    "ipc": ("ipc", CLONE_NEWIPC),
    "uts": ("uts", CLONE_NEWUTS),
    "network": ("net", CLONE_NEWNET),
    "pid": ("pid", CLONE_NEWPID),
    "mount": ("mnt", CLONE_NEWNS),
    "time": ("time", CLONE_NEWTIME),
}

# include/uapi/linux/prctl.h
PR_SET_PDEATHSIG = 1
PTRACE_SEIZE = 0x4206  # include/uapi/linux/ptrace.h
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

# include/uapi/linux/capability.h
LINUX_CAPABILITY_VERSION_3 = 0x20080522
CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID",
    "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
    "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
    "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip
CAP_SETGID, CAP_SETUID, CAP_SYS_CHROOT, CAP_SYS_PTRACE, CAP_SYS_ADMIN = 6, 7, 18, 19, 21
CAP_SYS_RESOURCE, CAP_MKNOD = 24, 27

# include/uapi/asm-generic/resource.h; mips and sparc number some of them differently
RLIMITS = (
    "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS",
    "RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
)  # fmt: skip

# include/uapi/linux/if.h, sockios.h
AF_UNIX, AF_INET = 1, 2
SOL_SOCKET, SCM_RIGHTS, MSG_NOSIGNAL, MSG_CMSG_CLOEXEC = 1, 1, 0x4000, 0x40000000
SOCK_STREAM, SOCK_DGRAM, SOCK_CLOEXEC = 1, 2, os.O_CLOEXEC
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 1

# include/uapi/linux/keyctl.h
KEYCTL_JOIN_SESSION_KEYRING = 1

# include/uapi/linux/personality.h
PER_LINUX, PER_LINUX32 = 0, 8

# System call numbers that the C library may have no function for. From
# arch/x86/entry/syscalls/*.tbl, include/uapi/asm-generic/unistd.h (aarch64, riscv64, loongarch64),
# arch/arm/tools/syscall.tbl, arch/powerpc and arch/s390 .../syscall.tbl
_GENERIC = {
    "clone": 220,
    "rt_sigaction": 134,
    "pivot_root": 41,
    "memfd_create": 279,
    "keyctl": 219,
    "seccomp": 277,
}
SYSCALLS = {
    "x86_64": {
        "clone": 56,
        "rt_sigaction": 13,
        "pivot_root": 155,
        "memfd_create": 319,
        "keyctl": 250,
        "seccomp": 317,
    },
    "i386": {
        "clone": 120,
        "rt_sigaction": 174,
        "pivot_root": 217,
        "memfd_create": 356,
        "keyctl": 288,
        "seccomp": 354,
    },
    "arm": {
        "clone": 120,
        "rt_sigaction": 174,
        "pivot_root": 218,
        "memfd_create": 385,
        "keyctl": 311,
        "seccomp": 383,
    },
    "ppc64le": {
        "clone": 120,
        "rt_sigaction": 173,
        "pivot_root": 203,
        "memfd_create": 360,
        "keyctl": 271,
        "seccomp": 358,
    },
    "s390x": {
        "clone": 120,
        "rt_sigaction": 174,
        "pivot_root": 217,
        "memfd_create": 350,
        "keyctl": 280,
        "seccomp": 348,
    },
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
    "loongarch64": _GENERIC,
}
OPEN_TREE, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT = 428, 429, 430, 431, 432
PIDFD_SEND_SIGNAL, PIDFD_OPEN, CLONE3, CLOSE_RANGE, OPENAT2, MOUNT_SETATTR = 424, 434, 435, 436, 437, 442
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446

# include/uapi/linux/landlock.h; Documentation/userspace-api/landlock.rst tells the versions of the ABI
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_RULE_PATH_BENEATH, LANDLOCK_RULE_NET_PORT = 1, 2
LANDLOCK_ACCESS_FS_EXECUTE, LANDLOCK_ACCESS_FS_WRITE_FILE = 1 << 0, 1 << 1
LANDLOCK_ACCESS_FS_READ_FILE, LANDLOCK_ACCESS_FS_READ_DIR = 1 << 2, 1 << 3
LANDLOCK_ACCESS_FS_REMOVE_DIR, LANDLOCK_ACCESS_FS_REMOVE_FILE = 1 << 4, 1 << 5
LANDLOCK_ACCESS_FS_MAKE_CHAR, LANDLOCK_ACCESS_FS_MAKE_DIR = 1 << 6, 1 << 7
LANDLOCK_ACCESS_FS_MAKE_REG, LANDLOCK_ACCESS_FS_MAKE_SOCK = 1 << 8, 1 << 9
LANDLOCK_ACCESS_FS_MAKE_FIFO, LANDLOCK_ACCESS_FS_MAKE_BLOCK = 1 << 10, 1 << 11
LANDLOCK_ACCESS_FS_MAKE_SYM = 1 << 12
LANDLOCK_ACCESS_FS_REFER = 1 << 13  # since version 2, Linux 5.19
LANDLOCK_ACCESS_FS_TRUNCATE = 1 << 14  # since version 3, 6.2
LANDLOCK_ACCESS_FS_IOCTL_DEV = 1 << 15  # since version 5, 6.10
LANDLOCK_ACCESS_FS_RESOLVE_UNIX = 1 << 16  # since version 9, 7.1
LANDLOCK_ACCESS_NET_BIND_TCP, LANDLOCK_ACCESS_NET_CONNECT_TCP = 1 << 0, 1 << 1  # since version 4, 6.7
LANDLOCK_ACCESS_NET_BIND_UDP, LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP = 1 << 2, 1 << 3  # since version 10, 7.2
LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, LANDLOCK_SCOPE_SIGNAL = 1 << 0, 1 << 1  # since version 6, 6.12

# include/uapi/linux/bpf.h: bpf(2) and programs of the type BPF_PROG_TYPE_CGROUP_DEVICE (since 4.15).
# The call's numbers from the same tables as those of SYSCALLS
BPF_CALL = {
    "x86_64": 321, "i386": 357, "arm": 386, "ppc64le": 361, "s390x": 351,
    "aarch64": 280, "riscv64": 280, "loongarch64": 280,
}  # fmt: skip
BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_PROG_DETACH, BPF_PROG_GET_FD_BY_ID, BPF_PROG_QUERY = 5, 8, 9, 13, 16
BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6
BPF_F_ALLOW_MULTI = 2
BPF_DEVCG_ACC_MKNOD, BPF_DEVCG_ACC_READ, BPF_DEVCG_ACC_WRITE = 1, 2, 4
BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR = 1, 2
RLIMIT_MEMLOCK = 8

# include/uapi/linux/seccomp.h
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 0x01
SECCOMP_FILTER_FLAG_LOG = 0x02  # since 4.14
SECCOMP_FILTER_FLAG_SPEC_ALLOW = 0x04  # since 4.17
SECCOMP_FILTER_FLAG_NEW_LISTENER = 0x08  # since 5.0
SECCOMP_FILTER_FLAG_TSYNC_ESRCH = 0x10  # since 5.7
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 0x20  # since 5.19
SECCOMP_RET_KILL_PROCESS = 0x80000000  # since 4.14; older kernels kill the thread
SECCOMP_RET_KILL_THREAD = 0
SECCOMP_RET_TRAP = 0x30000
SECCOMP_RET_ERRNO = 0x50000
SECCOMP_RET_USER_NOTIF = 0x7FC00000  # since 5.0
SECCOMP_RET_TRACE = 0x7FF00000
SECCOMP_RET_LOG = 0x7FFC0000  # since 4.14
SECCOMP_RET_ALLOW = 0x7FFF0000
MAX_ERRNO = 4095  # include/linux/err.h: larger ones are cut by the kernel

# include/uapi/linux/audit.h: AUDIT_ARCH_*, by the words of SYSCALLS; x32 differs in the call's number
AUDIT_ARCH = {
    "x86_64": 0xC000003E, "i386": 0x40000003, "x32": 0xC000003E,
    "aarch64": 0xC00000B7, "arm": 0x40000028,
    "riscv64": 0xC00000F3, "loongarch64": 0xC0000102, "ppc64le": 0xC0000015, "s390x": 0x80000016,
}  # fmt: skip
X32_SYSCALL_BIT = 0x40000000  # arch/x86/include/uapi/asm/unistd.h

# include/uapi/linux/bpf_common.h: classic BPF, what a seccomp filter may consist of, and filter.h
BPF_LD_W_ABS, BPF_AND_K, BPF_RET_K = 0x20, 0x54, 0x06
BPF_JA, BPF_JEQ_K, BPF_JGT_K, BPF_JGE_K, BPF_JSET_K = 0x05, 0x15, 0x25, 0x35, 0x45
BPF_MAXINSNS = 4096

# include/linux/socket.h
AF_NETLINK, AF_ALG, AF_VSOCK = 16, 38, 40

# security/selinux/include/security.h: one of the flags that selinuxfs tells of
AVD_FLAGS_PERMISSIVE = 1

# include/uapi/asm-generic/ioctls.h; powerpc has the same numbers. The last two can type into a terminal
TIOCSCTTY, TIOCSTI, TIOCLINUX = 0x540E, 0x5412, 0x541C


_machine = ""


def machine() -> str:
    """The architecture this process runs as, in the words of SYSCALLS. Asked once: a filter or a
    personality of the container's may change the kernel's answer.
    """
    global _machine
    _machine = _machine or _ask_machine()
    return _machine


def _ask_machine() -> str:
    """A 32-bit interpreter on a 64-bit kernel makes 32-bit calls, whatever uname says; and a 64-bit one those
    of 64 bits under the personality PER_LINUX32 (linux32, setarch), where that says so, too."""
    name = os.uname().machine
    if sys.maxsize < 1 << 32:
        name = {"x86_64": "i386", "aarch64": "arm"}.get(name, name)
    else:
        name = {"i686": "x86_64", "armv8l": "aarch64", "ppcle": "ppc64le", "s390": "s390x"}.get(name, name)
    if name in ("i486", "i586", "i686"):
        return "i386"
    return "arm" if name.startswith("armv") else name


# include/uapi/asm-generic/ioctls.h; arch/powerpc/include/uapi/asm/ioctls.h
TERMINALS = (
    (0x5414, 0x40045431, 0x80045430, 0x5441),
    (0x80087467, 0x80045431, 0x40045430, 0x20005441),
)
TIOCSWINSZ, TIOCSPTLCK, TIOCGPTN, TIOCGPTPEER = TERMINALS[machine() == "ppc64le"]
