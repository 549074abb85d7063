"""System calls that few containers need, one function each, bound by `libc`.

Side: both
"""

import _struct as struct

from . import abi, libc
from . import unix as os

_table = abi.SYSCALLS.get(abi.machine(), {})
_bpf = libc.bind_syscall(abi.BPF_CALL.get(abi.machine(), -1), libc.c_int, libc.c_void_p, libc.c_ulong)
_personality = libc.bind("personality", libc.c_ulong)
_seccomp = libc.bind_syscall(_table.get("seccomp", -1), libc.c_ulong, libc.c_ulong, libc.c_void_p)
_landlock_create_ruleset = libc.bind_syscall(
    abi.LANDLOCK_CREATE_RULESET, libc.c_char_p, libc.c_ulong, libc.c_ulong
)
_landlock_add_rule = libc.bind_syscall(
    abi.LANDLOCK_ADD_RULE, libc.c_int, libc.c_int, libc.c_char_p, libc.c_ulong
)
_landlock_restrict_self = libc.bind_syscall(abi.LANDLOCK_RESTRICT_SELF, libc.c_int, libc.c_ulong)
_any = libc.bind("syscall", *((libc.c_long,) * 7), kind=libc.Syscall)


def bpf(command: int, layout: str, *values: object) -> int:
    """bpf(2) with the start of union bpf_attr: LAYOUT and VALUES as for struct.pack.

    A bytearray among VALUES is passed by its address; the kernel may write into it.
    """
    words = [libc.address(value) if isinstance(value, bytearray) else value for value in values]
    attributes = bytearray(struct.pack(layout, *words))
    result = _bpf(command, libc.address(attributes), len(attributes))
    if command == abi.BPF_PROG_QUERY:
        return struct.unpack_from("=I", attributes, 24)[0]  # prog_cnt
    return result


def eventfd() -> int:
    """eventfd(2) with flags EFD_CLOEXEC and EFD_NONBLOCK, which have the values of the O_* flags."""
    return libc.bind("eventfd", libc.c_int, libc.c_int)(0, os.O_CLOEXEC | os.O_NONBLOCK)


def landlock_abi() -> int:
    """landlock_create_ruleset(2): the version of the kernel's Landlock. OSError where it has none."""
    return _landlock_create_ruleset(None, 0, abi.LANDLOCK_CREATE_RULESET_VERSION)


def landlock_create_ruleset(attributes: bytes) -> int:
    """landlock_create_ruleset(2), since 5.13: a descriptor that closes on exec, of a new ruleset.

    attributes: a struct landlock_ruleset_attr, or the first of its 64-bit fields
    """
    return _landlock_create_ruleset(attributes, len(attributes), 0)


def landlock_add_rule(ruleset: int, kind: int, rule: bytes) -> None:
    """landlock_add_rule(2). KIND is a LANDLOCK_RULE_*, RULE the structure that belongs to it."""
    _landlock_add_rule(ruleset, kind, rule, 0)


def landlock_restrict_self(ruleset: int) -> None:
    """landlock_restrict_self(2): put this thread under RULESET, for good."""
    _landlock_restrict_self(ruleset, 0)


def personality(persona: int) -> None:
    """personality(2)."""
    _personality(persona)


def seccomp_knows(flags: int) -> bool:
    """Whether the kernel knows these flags of a filter. It looks at them before it looks for the filter,
    which is at no address here (seccomp_set_mode_filter() in kernel/seccomp.c)."""
    if flags & abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV:
        flags |= abi.SECCOMP_FILTER_FLAG_NEW_LISTENER  # without a listener it is an error everywhere
    try:
        _seccomp(abi.SECCOMP_SET_MODE_FILTER, flags, None)
    except OSError as error:
        return error.errno == abi.EFAULT
    return True


def syscall(number: int, *arguments: "int | bytearray") -> int:
    """Any system call. At most six arguments: numbers, and buffers that are passed by their address."""
    words = [libc.address(word) if isinstance(word, bytearray) else word for word in arguments]
    return _any(number, *(words + [0] * (6 - len(words))))
