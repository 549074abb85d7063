"""A seccomp profile in the form of config.json, translated into a filter.

What a rule means where the specification is silent is what runc and libseccomp make of it:

    - a rule without conditions decides alone; the first of several does
    - where conditions of several rules hold at once, the strictest action counts, in the order in
      which the kernel combines filters
    - conditions of one rule hold together, unless two are about the same argument: then each is a
      rule of its own
    - a rule whose action is the default one is as good as absent
    - names that an architecture does not know are skipped
    - "socket" and its kin cover socketcall(2) too, where there is one, and so for ipc(2). Their
      arguments lie in memory there, out of reach of conditions; so a rule with conditions counts
      for the whole call where it is stricter than the default, and not at all where it is laxer
      (libseccomp ignores the conditions)
    - unless the default lets calls pass, a call newer than the newest in the profile gets ENOSYS,
      so that programs fall back to an older one

Side: host, and container for Filter.install
"""

import struct

from . import abi, libc, syscalls
from .bpf import Program
from .errors import ContainerError, printable
from .record import Record

ACTIONS = {
    "SCMP_ACT_KILL": abi.SECCOMP_RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": abi.SECCOMP_RET_KILL_PROCESS,
    "SCMP_ACT_KILL_THREAD": abi.SECCOMP_RET_KILL_THREAD,
    "SCMP_ACT_TRAP": abi.SECCOMP_RET_TRAP,
    "SCMP_ACT_ERRNO": abi.SECCOMP_RET_ERRNO,
    "SCMP_ACT_NOTIFY": abi.SECCOMP_RET_USER_NOTIF,
    "SCMP_ACT_TRACE": abi.SECCOMP_RET_TRACE,
    "SCMP_ACT_LOG": abi.SECCOMP_RET_LOG,
    "SCMP_ACT_ALLOW": abi.SECCOMP_RET_ALLOW,
}
# Actions that carry a number, and its limit
_NUMBERED = {"SCMP_ACT_ERRNO": abi.MAX_ERRNO, "SCMP_ACT_TRACE": 0xFFFF}
_PASSING = (abi.SECCOMP_RET_ALLOW, abi.SECCOMP_RET_LOG, abi.SECCOMP_RET_TRACE)
_ENOSYS = abi.SECCOMP_RET_ERRNO | abi.ENOSYS

# Operator: the comparison that decides it, and whether its opposite is meant
OPERATORS = {
    "SCMP_CMP_NE": (abi.BPF_JEQ_K, True),
    "SCMP_CMP_LT": (abi.BPF_JGE_K, True),
    "SCMP_CMP_LE": (abi.BPF_JGT_K, True),
    "SCMP_CMP_EQ": (abi.BPF_JEQ_K, False),
    "SCMP_CMP_GE": (abi.BPF_JGE_K, False),
    "SCMP_CMP_GT": (abi.BPF_JGT_K, False),
    "SCMP_CMP_MASKED_EQ": (abi.BPF_JEQ_K, False),
}

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": abi.SECCOMP_FILTER_FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": abi.SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": abi.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}

# The word of a profile, and that of `syscalls`; "" where there is no table
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": "x86_64", "SCMP_ARCH_X86": "i386", "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_AARCH64": "aarch64", "SCMP_ARCH_ARM": "arm", "SCMP_ARCH_RISCV64": "riscv64",
    "SCMP_ARCH_LOONGARCH64": "loongarch64", "SCMP_ARCH_PPC64LE": "ppc64le", "SCMP_ARCH_S390X": "s390x",
    "SCMP_ARCH_MIPS": "", "SCMP_ARCH_MIPS64": "", "SCMP_ARCH_MIPS64N32": "", "SCMP_ARCH_MIPSEL": "",
    "SCMP_ARCH_MIPSEL64": "", "SCMP_ARCH_MIPSEL64N32": "", "SCMP_ARCH_PPC": "", "SCMP_ARCH_PPC64": "",
    "SCMP_ARCH_S390": "", "SCMP_ARCH_PARISC": "", "SCMP_ARCH_PARISC64": "", "SCMP_ARCH_M68K": "",
    "SCMP_ARCH_SH": "", "SCMP_ARCH_SHEB": "",
}  # fmt: skip
# Architectures whose programs run on one kernel; of others a kernel sees no calls
_FAMILIES = (("x86_64", "i386", "x32"), ("aarch64", "arm"))
# Where a condition compares the low half of an argument, as libseccomp does
_NARROW = ("i386", "arm", "x32")
# arm's own calls, which are older than any other number near them
_ARM_PRIVATE = 0xF0000


class Filter(Record):
    """program: an array of struct sock_filter
    flags: of seccomp(2); listener: whether it gives a descriptor on which calls are reported
    """

    program: bytes
    flags: int
    listener: bool

    def install(self) -> int:
        """Put the filter on this process: the descriptor of the listener, or -1."""
        try:
            result = libc.seccomp(abi.SECCOMP_SET_MODE_FILTER, self.flags, self.program)
        except OSError as error:
            # a kernel older than the flag, which only takes a slowdown away
            plain = self.flags & ~abi.SECCOMP_FILTER_FLAG_SPEC_ALLOW
            if error.errno not in (abi.EINVAL, abi.ENOSYS) or plain == self.flags:
                raise
            result = libc.seccomp(abi.SECCOMP_SET_MODE_FILTER, plain, self.program)
        return result if self.listener else -1


def compile(profile: "dict[str, object]", machine: str) -> Filter:  # noqa: A001
    """The filter that PROFILE, linux.seccomp of a config.json, describes.

    machine: as abi.machine() says it
    Raises ContainerError for a profile that is malformed, or larger than a filter may be.
    """
    words = _architectures(profile, machine)
    default, rules = _read(profile)
    program = Program(big_endian=machine == "s390x")
    blocks = []
    for audit in sorted({abi.AUDIT_ARCH[word] for word in words}, key=_native_last(machine)):
        starts, verdicts = _ranges([word for word in words if abi.AUDIT_ARCH[word] == audit], default, rules)
        blocks.append((audit, program.search(starts, verdicts)))
    program.dispatch(blocks, abi.SECCOMP_RET_KILL_PROCESS)
    if len(program) > abi.BPF_MAXINSNS:
        why = "it needs %d instructions of a filter's %d" % (len(program), abi.BPF_MAXINSNS)
        raise ContainerError("translate the seccomp profile", why)
    flags, listener = _flags(profile, rules)
    return Filter(program=program.bytes(), flags=flags, listener=listener)


def _native_last(machine: str):
    """Blocks are written from the last to the first, and the machine's own comes first."""
    return lambda audit: (audit == abi.AUDIT_ARCH[machine], audit)


# --- verdicts -----------------------------------------------------------------------------------


class Choice:
    """The verdict on a call that depends on its arguments.

    cases: (action, conditions), the first whose conditions all hold decides, else the default
    wide: whether whole arguments are compared, or their low halves
    """
