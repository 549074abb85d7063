"""A program of a few instructions that takes our place before the container's program runs.

What executes the container's program is the host's Python interpreter. Where the container's root
is the host's root, a program could find it through /proc/self/exe (an entry point that says
"#!/proc/self/exe", say) and overwrite it: CVE-2019-5736. So there this process first becomes
something worthless, a sealed file in memory, and that executes the program: no name under /proc
leads to the interpreter any more, and the file itself cannot be written.

It is called with the program's path, then the program's own arguments. It marks the channel to
close on exec, executes, and if that fails writes "errno<tab>X<newline>", X being the errno plus
32, to the channel. Where there is a security label to take (`lsm`) it asks the kernel for it in
between: the label is for the program, and asked for by us it would be the stand-in's. If that fails
it writes "label" in the place of "errno". A test assembles the sources below and compares.

Side: container
"""

import _struct as struct
import fcntl

from . import abi, libc_rare
from . import unix as os

# fmt: off
SOURCES = {
    # System V ABI AMD64, "Process Initialization": argc at rsp, then argv, NULL, envp
    "x86_64": """
        movabs rbx, 0x0a00096f6e727265  # "errno\\t", a hole, "\\n"
        mov edi, [rip + channel]
        mov esi, 2                      # F_SETFD
        mov edx, 1                      # FD_CLOEXEC
        mov eax, 72                     # fcntl
        syscall
        test eax, eax
        jnz failed
        mov edi, [rip + attributes]
        test edi, edi
        js run
        movabs rbx, 0x0a00096c6562616c  # "label\\t", a hole, "\\n"
        lea rsi, [rip + name]
        mov edx, 1                      # O_WRONLY
        mov eax, 257                    # openat
        syscall
        test eax, eax
        js failed
        mov edi, eax
        lea rsi, [rip + label]
        mov edx, [rip + length]
        mov eax, 1                      # write
        syscall
        test eax, eax
        js failed
        mov eax, 3                      # close
        syscall
        mov edi, [rip + attributes]
        mov eax, 3
        syscall
        movabs rbx, 0x0a00096f6e727265
    run:
        mov rax, [rsp]                  # argc
        mov rdi, [rsp + 8]              # argv[0] is the path
        lea rsi, [rsp + 16]             # &argv[1]
        lea rdx, [rsp + rax * 8 + 16]   # envp
        mov eax, 59                     # execve
        syscall
    failed:
        neg eax
        add eax, 32
        shl rax, 48
        or rax, rbx
        push rax
        mov edi, [rip + channel]
        mov rsi, rsp
        mov edx, 8
        mov eax, 1
        syscall
        mov edi, 127
        mov eax, 231                    # exit_group
        syscall
        ud2
        .balign 8, 0                    # which "nop" they were filled with is up to the assembler
    name:
        .asciz "exec"
        .balign 8, 0
    channel:
        .set attributes, channel + 4
        .set length, channel + 8
        .set label, channel + 12
    """,
    "aarch64": """
        ldr x10, failure
        ldr w0, channel
        mov x1, 2
        mov x2, 1
        mov x8, 25
        svc 0
        cbnz x0, failed
        ldr w0, attributes
        tbnz w0, 31, run
        ldr x10, refusal
        adr x1, name
        mov x2, 1
        mov x8, 56
        svc 0
        tbnz x0, 63, failed
        mov x11, x0
        adr x1, label
        ldr w2, length
        mov x8, 64
        svc 0
        tbnz x0, 63, failed
        mov x0, x11
        mov x8, 57
        svc 0
        ldr w0, attributes
        mov x8, 57
        svc 0
        ldr x10, failure
    run:
        ldr x9, [sp]
        ldr x0, [sp, 8]
        add x1, sp, 16
        add x2, x1, x9, lsl 3
        mov x8, 221
        svc 0
    failed:
        neg x0, x0
        add x0, x0, 32
        lsl x0, x0, 48
        orr x0, x0, x10
        str x0, [sp, -16]!
        ldr w0, channel
        mov x1, sp
        mov x2, 8
        mov x8, 64
        svc 0
        mov x0, 127
        mov x8, 94
        svc 0
        brk 0
        .balign 8
    failure:
        .quad 0x0a00096f6e727265
    refusal:
        .quad 0x0a00096c6562616c
    name:
        .asciz "exec"
        .balign 8
    channel:
        .set attributes, channel + 4
        .set length, channel + 8
        .set label, channel + 12
    """,
}
_CODE = {
    "x86_64": "48bb6572726e6f09000a8b3dd0000000be02000000ba01000000b8480000000f0585c0757d8b3db9"
              "00000085ff785948bb6c6162656c09000a488d3598000000ba01000000b8010100000f0585c07852"
              "89c7488d35930000008b1589000000b8010000000f0585c07838b8030000000f058b3d6d000000b8"
              "030000000f0548bb6572726e6f09000a488b0424488b7c2408488d742410488d54c410b83b000000"
              "0f05f7d883c02048c1e0304809d8508b3d2b0000004889e6ba08000000b8010000000f05bf7f0000"
              "00b8e70000000f050f0b0000000000006578656300000000",
    "aarch64": "0a060058a0060018410080d2220080d2280380d2010000d4800300b5000600188002f8372a050058"
               "41050010220080d2080780d2010000d48002f8b7eb0300aa21050010e2040018080880d2010000d4"
               "c001f8b7e0030baa280780d2010000d4e0030018280780d2010000d4aa020058e90340f9e00740f9"
               "e1430091220c098ba81b80d2010000d4e00300cb00800091003c50d300000aaae00f1ff8e0010018"
               "e1030091020180d2080880d2010000d4e00f80d2c80b80d2010000d4000020d46572726e6f09000a"
               "6c6162656c09000a6578656300000000",
}
# fmt: on
_MACHINE = {"x86_64": 62, "aarch64": 183}  # include/uapi/linux/elf-em.h
_HERE = abi.machine()
_BASE = 0x400000
_FAILURE = 32


def supported() -> bool:
    return _HERE in _CODE


def elf(machine: str, channel: int, attributes: int = -1, label: bytes = b"") -> bytes:
    """The file. channel, attributes, label: as of `make`"""
    words = struct.pack("<iiI", channel, attributes, len(label)) + label
    return executable(machine, bytes.fromhex(_CODE[machine]) + words)


def executable(machine: str, code: bytes) -> bytes:
    """A static ELF64 executable (elf(5)): one header, one loadable segment, the code and its words."""
    size = 64 + 56 + len(code)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, _MACHINE[machine], 1, _BASE + 120, 64, 0,
        0, 64, 56, 1, 0, 0, 0,
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)  # PT_LOAD, R and X
    return header + segment + code


def make(channel: int, attributes: int = -1, label: bytes = b"") -> int:
    """A descriptor of the sealed stand-in. CHANNEL and ATTRIBUTES must stay open over exec. Raises OSError.

    attributes: an O_PATH descriptor of the directory with the file `exec` that LABEL is written to; -1: none
    """
    return sealed(elf(_HERE, channel, attributes, label))


def sealed(data: bytes) -> int:
    """A descriptor of an executable file in memory that nobody can change. Raises OSError."""
    flags = abi.MFD_CLOEXEC | abi.MFD_ALLOW_SEALING
    try:
        descriptor = libc_rare.memfd_create("minictr", flags | abi.MFD_EXEC)
    except OSError as error:
        if error.errno != abi.EINVAL:  # before 6.3 the flag is unknown, and every memfd executable
            raise
        descriptor = libc_rare.memfd_create("minictr", flags)
    os.write(descriptor, data)
    fcntl.fcntl(descriptor, abi.F_ADD_SEALS, abi.F_SEAL_ALL)
    return descriptor


def errno_from(word: str) -> int:
    """The errno in the field of the stand-in's message."""
    return (ord(word) & 0xFF) - _FAILURE  # from 96 on the byte is no UTF-8, and comes as a surrogate
