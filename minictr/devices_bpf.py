"""Rules for devices on cgroup v2: a program that the kernel runs at every access to a device.

The program is of the type BPF_PROG_TYPE_CGROUP_DEVICE and is assembled here. It walks the rules
backwards, each one being a block of instructions:

    r2 type, r3 accesses that are still undecided, r4 major, r5 minor
    if it is another device: go to the next block
    rule that denies:  if it names one of r3: return 0
    rule that allows:  take what it names out of r3; if nothing is left: return 1

and returns 0 at the end. So each of several accesses is decided by the last rule that names it;
comparing all at once, an open for reading and writing would pass by a rule that denies writing.

Sources: include/uapi/linux/bpf.h, Documentation/bpf/standardization/instruction-set.rst

Side: host
"""

import _struct as struct
import sys

from . import abi, libc, libc_rare
from . import unix as os
from .device_rules import ALL, Rule

# code of an instruction: class, operation and source of the operand
_LOAD_WORD, _MOVE, _EXIT = 0x61, 0xB7, 0x95  # BPF_LDX | MEM | W; ALU64 | MOV | K; JMP | EXIT
_MOVE_REGISTER, _AND, _SHIFT_RIGHT = 0xBC, 0x54, 0x74  # BPF_ALU (32 bits) | MOV | X; AND | K; RSH | K
_IF_EQUAL, _IF_NOT_EQUAL = 0x15, 0x55  # BPF_JMP | JEQ | K; JNE | K

_START = (
    (_LOAD_WORD, 2, 1, 0, 0),  # struct bpf_cgroup_dev_ctx: access_type, major, minor
    (_MOVE_REGISTER, 3, 2, 0, 0),
    (_AND, 2, 0, 0, 0xFFFF),
    (_SHIFT_RIGHT, 3, 0, 0, 16),
    (_LOAD_WORD, 4, 1, 4, 0),
    (_LOAD_WORD, 5, 1, 8, 0),
)
_KINDS = {"c": abi.BPF_DEVCG_DEV_CHAR, "b": abi.BPF_DEVCG_DEV_BLOCK}
_SKIP = object()  # a jump to the next block, until the block's length is known


def program(rules: "list[Rule]") -> bytes:
    """The instructions for RULES, an array of struct bpf_insn."""
    found = list(_START)
    verdict = 0
    for rule in reversed(rules):
        if rule.kind == "a":  # what stands before it has no effect
            verdict = int(rule.allow)
            break
        found += _block(rule)
    found += _return(verdict)
    return b"".join([_encode(*each) for each in found])


def attach(directory: int, rules: "list[Rule]", replace: bool = False) -> None:
    """Attach a program for RULES to the cgroup that the descriptor DIRECTORY refers to. Raises OSError.

    replace: take off programs that are attached to that very cgroup already
    """
    old = _attached(directory) if replace else []
    loaded = _load(program(rules))
    try:
        _tie(abi.BPF_PROG_ATTACH, directory, loaded, abi.BPF_F_ALLOW_MULTI)
    finally:
        os.close(loaded)
    for number in old:
        other = libc_rare.bpf(abi.BPF_PROG_GET_FD_BY_ID, "=III", number, 0, 0)
        try:
            _tie(abi.BPF_PROG_DETACH, directory, other, 0)
        finally:
            os.close(other)


def _block(rule: Rule) -> "list[tuple]":
    block = [(_IF_NOT_EQUAL, 2, 0, _SKIP, _KINDS[rule.kind])]  # type: list[tuple]
    for register, number in ((4, rule.major), (5, rule.minor)):
        if number >= 0:
            block.append((_IF_NOT_EQUAL, register, 0, _SKIP, number))
    if rule.access != ALL and rule.allow:
        block += [(_AND, 3, 0, 0, ~rule.access), (_IF_NOT_EQUAL, 3, 0, _SKIP, 0)]
    elif rule.access != ALL:
        block += [(_MOVE_REGISTER, 0, 3, 0, 0), (_AND, 0, 0, 0, rule.access), (_IF_EQUAL, 0, 0, _SKIP, 0)]
    block += _return(int(rule.allow))
    length = len(block)
    return [
        (code, to, source, length - index - 1 if offset is _SKIP else offset, value)
        for index, (code, to, source, offset, value) in enumerate(block)
    ]


def _return(value: int) -> "list[tuple]":
    return [(_MOVE, 0, 0, 0, value), (_EXIT, 0, 0, 0, 0)]


def _encode(code: int, to: int, source: int, offset: int, value: int) -> bytes:
    """struct bpf_insn, whose two registers are bit fields: the first one is the lower on little-endian."""
    registers = source << 4 | to if sys.byteorder == "little" else to << 4 | source
    return struct.pack("=BBhi", code, registers, offset, value)


def _load(code: bytes) -> int:
    """A descriptor of the program in the kernel. Before 5.11 its memory counts against RLIMIT_MEMLOCK of
    all that the user runs, and EPERM says that too: it is tried again without that limit."""
    try:
        return _load_once(code)
    except OSError as error:
        if error.errno != abi.EPERM:
            raise
    import resource  # for a limit that is seldom met

    soft, hard = [value % (1 << 64) for value in resource.getrlimit(resource.RLIMIT_MEMLOCK)]
    libc.prlimit(0, abi.RLIMIT_MEMLOCK, (1 << 64) - 1, (1 << 64) - 1)
    try:
        return _load_once(code)
    finally:
        libc.prlimit(0, abi.RLIMIT_MEMLOCK, soft, hard)


def _load_once(code: bytes) -> int:
    """BPF_PROG_LOAD: type, number of instructions, they, license terms; size and address of a log, ..."""
    terms = bytearray(b"Apache-2.0\0")
    values = (abi.BPF_PROG_TYPE_CGROUP_DEVICE, len(code) // 8, bytearray(code), terms, 0, 0, 0, 0, 0)
    return libc_rare.bpf(abi.BPF_PROG_LOAD, "=IIQQIIQII", *values)


def _tie(command: int, directory: int, loaded: int, flags: int) -> None:
    libc_rare.bpf(command, "=IIII", directory, loaded, abi.BPF_CGROUP_DEVICE, flags)


def _attached(directory: int) -> "list[int]":
    """The ids of the programs that are attached to a cgroup itself."""
    numbers = bytearray(4 * 64)
    values = (directory, abi.BPF_CGROUP_DEVICE, 0, 0, numbers, 64, 0)
    try:
        count = libc_rare.bpf(abi.BPF_PROG_QUERY, "=IIIIQII", *values)
    except OSError as error:
        if error.errno == abi.EINVAL:  # before 4.15
            return []
        raise
    return list(struct.unpack_from("=%dI" % count, numbers))
