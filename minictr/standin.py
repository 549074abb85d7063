"""A program of a few instructions that takes our place before the container's program runs.

What executes the container's program is the host's Python interpreter. Where the container's root
is the host's root, a program could find it through /proc/self/exe (an entry point that says
"#!/proc/self/exe", say) and overwrite it: CVE-2019-5736. So there this process first becomes
something worthless, a sealed file in memory, and that executes the program: no name under /proc
leads to the interpreter any more, and the file itself cannot be written.

It is called with the program's path, then the program's own arguments. It marks the channel to
close on exec, executes, and if that fails writes "errno<tab>X<newline>", X being the errno plus
32, to the channel. A test assembles the sources below and compares.

Side: container
"""

import fcntl
import os
import struct

from . import abi, libc

# fmt: off
SOURCES = {
    # System V ABI AMD64, "Process Initialization": argc at rsp, then argv, NULL, envp
    "x86_64": """
        mov edi, [rip + channel]
        mov esi, 2                      # F_SETFD
        mov edx, 1                      # FD_CLOEXEC
        mov eax, 72                     # fcntl
        syscall
        test eax, eax
        jnz failed
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
        movabs rcx, 0x0a00096f6e727265  # "errno\\t", a hole, "\\n"
        or rax, rcx
        push rax
        mov edi, [rip + channel]
        mov rsi, rsp
        mov edx, 8
        mov eax, 1                      # write
        syscall
        mov edi, 127
        mov eax, 231                    # exit_group
        syscall
        ud2
        .balign 4
    channel:
    """,
    "aarch64": """
        ldr w0, channel
        mov x1, 2
        mov x2, 1
        mov x8, 25
        svc 0
        cbnz x0, failed
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
        ldr x1, words
        orr x0, x0, x1
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
    words:
        .quad 0x0a00096f6e727265
    channel:
    """,
}
_CODE = {
    "x86_64": "8b3d6a000000be02000000ba01000000b8480000000f0585c0751a488b0424488b7c2408488d7424"
              "10488d54c410b83b0000000f05f7d883c02048c1e03048b96572726e6f09000a4809c8508b3d1e00"
              "00004889e6ba08000000b8010000000f05bf7f000000b8e70000000f050f0b90",
    "aarch64": "c0030018410080d2220080d2280380d2010000d4e00000b5e90340f9e00740f9e1430091220c098b"
               "a81b80d2010000d4e00300cb00800091003c50d3a1010058000001aae00f1ff880010018e1030091"
               "020180d2080880d2010000d4e00f80d2c80b80d2010000d4000020d41f2003d56572726e6f09000a",
}
# fmt: on
_MACHINE = {"x86_64": 62, "aarch64": 183}  # include/uapi/linux/elf-em.h
_HERE = abi.machine()
_BASE = 0x400000
_FAILURE = 32


def supported() -> bool:
    return _HERE in _CODE


def elf(machine: str, channel: int) -> bytes:
    """A static ELF64 executable (elf(5)): one header, one loadable segment, the code, CHANNEL."""
    code = bytes.fromhex(_CODE[machine]) + struct.pack("<i", channel)
    size = 64 + 56 + len(code)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, _MACHINE[machine], 1, _BASE + 120, 64, 0,
        0, 64, 56, 1, 0, 0, 0,
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)  # PT_LOAD, R and X
    return header + segment + code


def make(channel: int) -> int:
    """A descriptor of the sealed stand-in. CHANNEL must stay open over exec. Raises OSError."""
    flags = abi.MFD_CLOEXEC | abi.MFD_ALLOW_SEALING
    try:
        descriptor = libc.memfd_create("minictr", flags | abi.MFD_EXEC)
    except OSError as error:
        if error.errno != abi.EINVAL:  # before 6.3 the flag is unknown, and every memfd executable
            raise
        descriptor = libc.memfd_create("minictr", flags)
    os.write(descriptor, elf(_HERE, channel))
    fcntl.fcntl(descriptor, abi.F_ADD_SEALS, abi.F_SEAL_ALL)
    return descriptor


def errno_from(word: str) -> int:
    """The errno in the field of the stand-in's message."""
    return (ord(word) & 0xFF) - _FAILURE  # from 96 on the byte is no UTF-8, and comes as a surrogate
