"""The seccomp profile of a container that brings none: what programs need, and no more.

A list of what is allowed. It follows the capabilities granted: a call that only root of the host
could use is of no use to others but to find holes in the kernel. What is left out on purpose:

    namespaces: unshare, setns, clone with their flags, clone3 (its flags lie in memory, so it seems
        not to exist, and libraries fall back to clone); mount and all its kin
    keyctl, add_key, request_key: keys know no namespaces
    bpf, perf_event_open, userfaultfd, io_uring: the kernel's richest sources of holes
    ioctl TIOCSTI, TIOCLINUX: they type into the terminal that minictr itself was called from. The
        kernel looks at the low 32 bits of a request alone, and so does the rule (CVE-2019-7303,
        CVE-2023-1523); it answers as a kernel whose dev.tty.legacy_tiocsti is 0
    socket families of which a container has no use, AF_ALG (CVE-2026-31431) and AF_VSOCK among them;
        socketcall(2) for them all, as it hides which is meant
    x32: programs of that kind are rare, and its calls have been forgotten in checks before

Side: host
"""

from . import abi

_FILES = """
access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat
faccessat2 fadvise64 fadvise64_64 arm_fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat
fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs
fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 lchown lchown32 link
linkat _llseek lseek lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open
openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink
readlinkat readv rename renameat renameat2 rmdir sendfile sendfile64 splice stat stat64 statfs
statfs64 statx symlink symlinkat sync sync_file_range sync_file_range2 arm_sync_file_range syncfs
tee truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write
writev cachestat listmount statmount
fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr lremovexattr
lsetxattr removexattr setxattr getxattrat listxattrat removexattrat setxattrat
"""

_WAITING = """
epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
epoll_wait_old eventfd eventfd2 inotify_add_watch inotify_init inotify_init1 inotify_rm_watch poll
ppoll ppoll_time64 pselect6 pselect6_time64 select _newselect signalfd signalfd4
io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit
"""

_MEMORY = """
brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap
mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
remap_file_pages cacheflush riscv_flush_icache
"""

_PROCESSES = """
capget capset execve execveat exit exit_group fork vfork wait4 waitid waitpid getcpu getpgid getpgrp
getpid getppid getsid gettid setpgid setsid prctl arch_prctl modify_ldt get_thread_area
set_thread_area set_tls set_tid_address get_robust_list set_robust_list rseq futex futex_requeue
futex_time64 futex_wait futex_waitv futex_wake pidfd_open process_mrelease swapcontext uretprobe
ioprio_get ioprio_set getpriority setpriority getrlimit setrlimit ugetrlimit prlimit64 getrusage
sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity
sched_setattr sched_setparam sched_setscheduler sched_yield
seccomp landlock_add_rule landlock_create_ruleset landlock_restrict_self
"""

_USERS = """
getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32
getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
setreuid32 setuid setuid32
"""

_SIGNALS = """
alarm kill pause pidfd_send_signal restart_syscall rt_sigaction rt_sigpending rt_sigprocmask
rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
sigaltstack sigprocmask sigreturn tgkill tkill breakpoint
"""

# Setting the clock by the first six of these is the kernel's to refuse without CAP_SYS_TIME
_TIME = """
adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer
time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
times
"""

_MESSAGES = """
accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketpair
ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop
semtimedop_time64 shmat shmctl shmdt shmget
"""

_MACHINE = """
getrandom sysinfo uname riscv_hwprobe s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr
"""

_ALWAYS = " ".join(
    (_FILES, _WAITING, _MEMORY, _PROCESSES, _USERS, _SIGNALS, _TIME, _MESSAGES, _MACHINE)
)  # fmt: skip

# Until Linux 4.8 a tracer could lead a call past a filter
_TRACING = "process_vm_readv process_vm_writev ptrace"

# What one capability more allows
_GRANTED = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
        lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr
        perf_event_open pivot_root quotactl quotactl_fd setdomainname sethostname setns syslog umount
        umount2 unshare
    """,
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise " + _TRACING,
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYSLOG": "syslog",
}

_NAMESPACES = (
    abi.CLONE_NEWNS | abi.CLONE_NEWCGROUP | abi.CLONE_NEWUTS | abi.CLONE_NEWIPC
    | abi.CLONE_NEWUSER | abi.CLONE_NEWPID | abi.CLONE_NEWNET
)  # fmt: skip
# include/uapi/linux/personality.h: PER_LINUX, PER_LINUX32, UNAME26 with each, and the question
_PERSONALITIES = (0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
# include/linux/socket.h: AF_* below 12 (AF_UNIX, AF_INET, AF_INET6 among them), and these
_FIRST_FAMILIES = 12
_OTHER_FAMILIES = (
    13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45,
)  # fmt: skip

_LISTED = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}


def profile(
    capabilities: "set[str]", machine: str, kernel: "tuple[int, int]" = (4, 8)
) -> "dict[str, object]":
    """The profile for a container with CAPABILITIES in its bounding set.

    machine: as abi.machine() says it; kernel: the first two numbers of its version
    """
    names = _ALWAYS.split()
    if kernel >= (4, 8):
        names += _TRACING.split()
    for capability, more in _GRANTED.items():
        if capability in capabilities:
            names += more.split()
    rules = [_rule(names)]
    if "CAP_SYS_ADMIN" not in capabilities:
        # s390 has the stack first (CONFIG_CLONE_BACKWARDS2)
        index = 1 if machine == "s390x" else 0
        rules.append(_rule(["clone"], (index, "MASKED_EQ", _NAMESPACES, 0)))
        rules.append(_rule(["clone3"], errno=abi.ENOSYS))
    for value in _PERSONALITIES:
        rules.append(_rule(["personality"], (0, "EQ", value)))
    rules.append(_rule(["socket"], (0, "LT", _FIRST_FAMILIES)))
    for value in _OTHER_FAMILIES:
        rules.append(_rule(["socket"], (0, "EQ", value)))
    for value in (abi.TIOCSTI, abi.TIOCLINUX):
        rules.append(_rule(["ioctl"], (1, "MASKED_EQ", 0xFFFFFFFF, value), errno=abi.EIO))
    rules.append(_rule(["ioctl"], (1, "GE", 0)))  # any other; without a condition it would outdo the two
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": abi.EPERM,
        "architectures": list(_LISTED.get(machine, ())),
        "syscalls": rules,
    }


def _rule(names: "list[str]", condition: "tuple | None" = None, errno: int = 0) -> "dict[str, object]":
    rule = {"names": names, "action": "SCMP_ACT_ALLOW"}  # type: dict[str, object]
    if errno:
        rule.update(action="SCMP_ACT_ERRNO", errnoRet=errno)
    if condition:
        arg = {"index": condition[0], "op": "SCMP_CMP_" + condition[1], "value": condition[2]}
        if len(condition) == 4:
            arg["valueTwo"] = condition[3]
        rule["args"] = [arg]
    return rule
