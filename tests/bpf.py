"""Classic BPF as the kernel runs it on a system call: the judge of the programs minictr writes.

Rules of the kernel that are checked: kernel/seccomp.c seccomp_check_filter, net/core/filter.c
bpf_check_classic. Only what a program may do there is known here.
"""

import struct

AUDIT = {
    "x86_64": 0xC000003E, "i386": 0x40000003, "x32": 0xC000003E, "aarch64": 0xC00000B7, "arm": 0x40000028,
    "riscv64": 0xC00000F3, "loongarch64": 0xC0000102, "ppc64le": 0xC0000015, "s390x": 0x80000016,
}  # fmt: skip

LOAD, AND, JUMP, RETURN = 0x20, 0x54, 0x05, 0x06
COMPARISONS = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
    0x45: lambda a, k: a & k != 0,
}


class Bpf:
    """A program, checked; `steps` counts the instructions of the last run."""

    def __init__(self, program):
        assert len(program) % 8 == 0 and 0 < len(program) // 8 <= 4096
        self.code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
        self.steps = 0
        for here, (operation, yes, no, value) in enumerate(self.code):
            left = len(self.code) - here - 1
            if operation in COMPARISONS:
                assert max(yes, no) < left, "a jump beyond the end at %d" % here
            elif operation == JUMP:
                assert value < left, "a jump beyond the end at %d" % here
            elif operation == LOAD:
                assert value % 4 == 0 and value < 64, "a load of %d" % value
            else:
                assert operation in (AND, RETURN), "an operation %#x" % operation
        assert self.code[-1][0] == RETURN

    def run(self, data):
        """What the program says of DATA, a struct seccomp_data as sixteen 32-bit words."""
        code, at, accumulator, steps = self.code, 0, 0, 0
        while True:
            operation, yes, no, value = code[at]
            steps, at = steps + 1, at + 1
            if operation == LOAD:
                accumulator = data[value // 4]
            elif operation in COMPARISONS:
                at += yes if COMPARISONS[operation](accumulator, value) else no
            elif operation == JUMP:
                at += value
            elif operation == AND:
                accumulator &= value
            else:
                self.steps = steps
                return value

    def call(self, architecture, number, arguments=(0, 0, 0, 0, 0, 0)):
        """What it says of a call: ARCHITECTURE is a key of AUDIT, or a number."""
        audit = AUDIT.get(architecture, architecture)
        data = [number & 0xFFFFFFFF, audit, 0x1234, 0x5678]
        for argument in arguments:
            low, high = argument & 0xFFFFFFFF, argument >> 32
            data += [high, low] if architecture == "s390x" else [low, high]
        return self.run(data)
