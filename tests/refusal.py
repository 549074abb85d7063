"""Make the kernel refuse, for real: run a command that is not allowed some system calls.

    python3 tests/refusal.py --refuse pivot_root --refuse "clone&CLONE_NEWUSER=ENOSYS" -- COMMAND...

The refusal is a seccomp filter, a dropped capability, no_new_privs, or a file that is covered in a
mount namespace of the command's own: what hosts, engines and old kernels do. Tests call the
functions between fork and exec; nothing here imports minictr, which is what is being tested.

A refusal is written SYSCALL, or SYSCALL&FLAG for the calls that pass this flag, then =ERRNO
(EPERM, as an engine's profile would, where it is not said; ENOSYS is an old kernel).
"""

import ctypes
import errno
import os
import struct
import sys

# arch/x86/entry/syscalls/syscall_64.tbl; include/uapi/asm-generic/unistd.h. From 424 on they agree.
_SINCE_424 = {
    "pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431,
    "fsmount": 432, "pidfd_open": 434, "clone3": 435, "close_range": 436, "openat2": 437,
    "pidfd_getfd": 438, "mount_setattr": 442, "landlock_create_ruleset": 444,
    "landlock_add_rule": 445, "landlock_restrict_self": 446,
}  # fmt: skip
SYSCALLS = {
    "x86_64": dict(
        _SINCE_424, read=0, ioctl=16, clone=56, execve=59, fchdir=81, setuid=105, setsid=112, setgroups=116,
        setresuid=117, setresgid=119, capset=126, mknod=133, personality=135, pivot_root=155,
        rt_sigaction=13, rt_sigtimedwait=128, sendto=44,
        prctl=157, chroot=161, mount=165, umount2=166, sethostname=170, setdomainname=171,
        keyctl=250, mknodat=259, unshare=272, prlimit64=302, setns=308, seccomp=317,
        memfd_create=319, execveat=322,
    ),
    "aarch64": dict(
        _SINCE_424, ioctl=29, mknodat=33, umount2=39, mount=40, pivot_root=41, fchdir=50, chroot=51,
        rt_sigaction=134, rt_sigtimedwait=137, read=63, setsid=157, sendto=206,
        capset=91, personality=92, unshare=97, setuid=146, setresuid=147, setresgid=149,
        setgroups=159, sethostname=161, setdomainname=162, prctl=167, keyctl=219, clone=220,
        execve=221, prlimit64=261, setns=268, seccomp=277, memfd_create=279, execveat=281,
    ),
}  # fmt: skip
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # include/uapi/linux/audit.h
_FLAGS_ARGUMENT = {"clone": 0, "unshare": 0, "mount": 3, "umount2": 1, "setns": 1, "openat2": 3}

# include/uapi/linux/sched.h, mount.h
FLAGS = {
    "CLONE_NEWTIME": 0x80, "CLONE_NEWNS": 0x20000, "CLONE_NEWCGROUP": 0x2000000,
    "CLONE_NEWUTS": 0x4000000, "CLONE_NEWIPC": 0x8000000, "CLONE_NEWUSER": 0x10000000,
    "CLONE_NEWPID": 0x20000000, "CLONE_NEWNET": 0x40000000,
    "MS_RDONLY": 1, "MS_REMOUNT": 32, "MS_BIND": 4096, "MS_MOVE": 8192,
}  # fmt: skip

# include/uapi/linux/capability.h
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()
CAP_SYS_ADMIN = CAPABILITIES.index("SYS_ADMIN")

_PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 22, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_SECCOMP_RET_ERRNO, _SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
_LOAD, _JUMP_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x45, 0x06  # include/uapi/linux/bpf_common.h

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int,) + (ctypes.c_ulong,) * 4
_libc.mount.argtypes = (ctypes.c_char_p,) * 3 + (ctypes.c_ulong, ctypes.c_char_p)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))


def userns_refusals(error: str = "EPERM") -> "list[str]":
    """What refuses new user namespaces and nothing else; clone3 hides its flags from a filter."""
    return ["clone&CLONE_NEWUSER=" + error, "unshare&CLONE_NEWUSER=" + error, "clone3=ENOSYS"]


def assemble(refusals: "list[str]", machine: str = "") -> bytes:
    """The seccomp filter, an array of struct sock_filter, that refuses REFUSALS and allows the rest.

    Raises ValueError for a name that is not known on MACHINE (this one's where not given). `mknod`
    refuses mknodat as well, which is what callers see of it.
    """
    machine = machine or os.uname().machine
    if machine not in SYSCALLS:
        raise ValueError("no system call numbers for " + machine)
    code = [
        (_LOAD, 0, 0, 4),  # struct seccomp_data: nr, arch, instruction_pointer, args[6]
        (_JUMP_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _SECCOMP_RET_ALLOW),
        (_LOAD, 0, 0, 0),
    ]
    for refusal in refusals:
        call, _, error = refusal.partition("=")
        name, _, flag = call.partition("&")
        refuse = (_RETURN, 0, 0, _SECCOMP_RET_ERRNO | getattr(errno, error or "EPERM"))
        names = ["mknod", "mknodat"] if name == "mknod" else [name]
        numbers = [SYSCALLS[machine][name] for name in names if name in SYSCALLS[machine]]
        if not numbers:
            raise ValueError("no number for the system call %s on %s" % (name, machine))
        for number in numbers:
            if flag:
                argument = 16 + 8 * _FLAGS_ARGUMENT[name]  # its low half; both machines are little-endian
                code += [
                    (_JUMP_EQUAL, 0, 4, number),
                    (_LOAD, 0, 0, argument),
                    (_JUMP_SET, 0, 1, FLAGS[flag]),
                    refuse,
                    (_LOAD, 0, 0, 0),
                ]
            else:
                code += [(_JUMP_EQUAL, 0, 1, number), refuse]
    code.append((_RETURN, 0, 0, _SECCOMP_RET_ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in code)


def holds(capability: int) -> bool:
    """Whether this process has CAPABILITY in its effective set."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> capability & 1)
    return False


def no_new_privs() -> None:
    """What a set-user-ID program loses its effect by; cannot be undone."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def refuse(refusals: "list[str]") -> None:
    """Have the kernel refuse REFUSALS to this process and all that it starts."""
    if not holds(CAP_SYS_ADMIN):
        no_new_privs()  # what the kernel asks of everybody else
    program = assemble(refusals)
    buffer = ctypes.create_string_buffer(program, len(program))
    packed = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    header = ctypes.create_string_buffer(packed, len(packed))
    _check(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.addressof(header), 0, 0), "install a seccomp filter")


def drop(names: "list[str]") -> None:
    """Drop capabilities (SYS_ADMIN, or CAP_SYS_ADMIN; ALL) from every set, the bounding one first."""
    dropped = set()
    for name in names:
        name = name.upper()
        name = name[4:] if name.startswith("CAP_") else name
        dropped |= set(range(len(CAPABILITIES))) if name == "ALL" else {CAPABILITIES.index(name)}
    for capability in dropped:
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 and ctypes.get_errno() != errno.EINVAL:
            _check(-1, "drop from the bounding set")  # EINVAL: newer than this kernel
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0), 8)
    data = ctypes.create_string_buffer(24)
    _check(_libc.capget(header, data), "capget")
    mask = ~sum(1 << capability for capability in dropped)
    words = struct.unpack("=6I", data.raw)  # the low halves of three sets, then the high ones
    kept = [word & (mask >> (32 if i > 2 else 0)) & 0xFFFFFFFF for i, word in enumerate(words)]
    data = ctypes.create_string_buffer(struct.pack("=6I", *kept), 24)
    _check(_libc.capset(header, data), "capset")


def cover(covers: "dict[str, str]") -> None:
    """Show other files in the place of some, to this process and what it starts alone.

    covers: path to the file that is seen there instead; "" is /dev/null. Needs CAP_SYS_ADMIN.
    """
    ms_bind, ms_rec, ms_private = 4096, 16384, 1 << 18
    clone_newns = FLAGS["CLONE_NEWNS"]
    _check(_libc.unshare(clone_newns), "unshare the mount namespace")
    _check(_libc.mount(None, b"/", None, ms_rec | ms_private, None), "make mounts private")
    for path, other in covers.items():
        source = os.fsencode(other or "/dev/null")
        _check(_libc.mount(source, os.fsencode(os.path.realpath(path)), None, ms_bind, None), path)


def main() -> None:
    options = {"--refuse": [], "--drop": [], "--cover": []}  # type: dict[str, list[str]]
    arguments = sys.argv[1:]
    while arguments and arguments[0] != "--":
        word = arguments.pop(0)
        if word == "--no-new-privs":
            no_new_privs()
        elif word in options and arguments:
            options[word].append(arguments.pop(0))
        else:
            sys.exit(__doc__)
    if not arguments[1:]:
        sys.exit(__doc__)
    if options["--cover"]:
        cover(dict(tuple(item.partition("=")[::2]) for item in options["--cover"]))
    if options["--refuse"]:
        refuse(options["--refuse"])
    if options["--drop"]:
        drop(options["--drop"])
    os.execvp(arguments[1], arguments[1:])


if __name__ == "__main__":
    main()
