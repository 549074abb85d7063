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
it writes "label" in the place of "errno".

It may also have a child first, which is the runtime's (CLONE_PARENT): "born<tab>N<newline>" tells its number,
"birth" in the place of "errno" why there is none, and once a word comes back the child goes on as above. With
`exec` it is born into the PID namespace that is joined, and nothing of ours has been seen in there before.

A test assembles the sources below and compares.

Side: container
"""

import _struct as struct
import fcntl

from . import abi, libc
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
        cmp dword ptr [rip + apart], 0
        je go
        movabs rbx, 0x0a00096874726962  # "birth\\t", a hole, "\\n"
        mov edi, 0x8011                 # CLONE_PARENT | SIGCHLD
        xor esi, esi
        xor edx, edx
        xor r10d, r10d
        xor r8d, r8d
        mov eax, 56                     # clone
        syscall
        test eax, eax
        js failed
        jnz born
        mov eax, 112                    # setsid
        syscall
        test eax, eax
        js failed
        mov esi, [rip + death]
        mov edi, 1                      # PR_SET_PDEATHSIG
        mov eax, 157                    # prctl
        syscall
        test eax, eax
        js failed
        cmp dword ptr [rip + terminal], 0
        je wait
        xor edi, edi
        mov esi, 0x540e                 # TIOCSCTTY
        xor edx, edx
        mov eax, 16                     # ioctl
        syscall
        test eax, eax
        js failed
    wait:
        mov edi, [rip + channel]
        lea rsi, [rsp - 8]
        mov edx, 8
        xor eax, eax                    # read
        syscall
        test eax, eax
        js failed
        jz end                          # the runtime is gone
        movabs rbx, 0x0a00096f6e727265
    go:
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
    end:
        mov edi, 127
        mov eax, 231                    # exit_group
        syscall
        ud2
    born:
        lea rsi, [rsp - 1]
        mov byte ptr [rsi], 10
        mov ecx, 10
    digit:
        xor edx, edx
        div ecx
        add edx, 48
        dec rsi
        mov [rsi], dl
        test eax, eax
        jnz digit
        sub rsi, 5
        mov dword ptr [rsi], 0x6e726f62 # "born"
        mov byte ptr [rsi + 4], 9
        mov rdx, rsp
        sub rdx, rsi
        mov edi, [rip + channel]
        mov eax, 1
        syscall
        xor edi, edi
        mov eax, 231
        syscall
        ud2
        .balign 8, 0                    # which "nop" they were filled with is up to the assembler
    name:
        .asciz "exec"
        .balign 8, 0
    apart:
        .set terminal, apart + 4
        .set death, apart + 8
        .set channel, apart + 12
        .set attributes, apart + 16
        .set length, apart + 20
        .set label, apart + 24
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
        ldr w0, apart
        cbz w0, go
        ldr x10, refused
        mov x0, 0x8011
        mov x1, 0
        mov x2, 0
        mov x3, 0
        mov x4, 0
        mov x8, 220
        svc 0
        tbnz x0, 63, failed
        cbnz x0, born
        mov x8, 157
        svc 0
        tbnz x0, 63, failed
        mov x0, 1
        ldr w1, death
        mov x8, 167
        svc 0
        tbnz x0, 63, failed
        ldr w0, terminal
        cbz w0, wait
        mov x0, 0
        mov x1, 0x540e
        mov x2, 0
        mov x8, 29
        svc 0
        tbnz x0, 63, failed
    wait:
        ldr w0, channel
        sub x1, sp, 16
        mov x2, 8
        mov x8, 63
        svc 0
        tbnz x0, 63, failed
        cbz x0, end
        ldr x10, failure
    go:
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
    end:
        mov x0, 127
        mov x8, 94
        svc 0
        brk 0
    born:
        sub x1, sp, 1
        mov w2, 10
        strb w2, [x1]
    digit:
        udiv w3, w0, w2
        msub w4, w3, w2, w0
        add w4, w4, 48
        strb w4, [x1, -1]!
        mov w0, w3
        cbnz w0, digit
        mov w4, 9
        strb w4, [x1, -1]!
        ldr w4, word
        str w4, [x1, -4]!
        mov x2, sp
        sub x2, x2, x1
        ldr w0, channel
        mov x8, 64
        svc 0
        mov x0, 0
        mov x8, 94
        svc 0
        brk 0
        .balign 8
    failure:
        .quad 0x0a00096f6e727265
    refusal:
        .quad 0x0a00096c6562616c
    refused:
        .quad 0x0a00096874726962
    name:
        .asciz "exec"
        .balign 8
    word:
        .ascii "born"
    apart:
        .set terminal, apart + 4
        .set death, apart + 8
        .set channel, apart + 12
        .set attributes, apart + 16
        .set length, apart + 20
        .set label, apart + 24
    """,
}
_CODE = {
    "x86_64": "48bb6572726e6f09000a8b3dcc010000be02000000ba01000000b8480000000f0585c00f85220100"
              "008b3db101000085ff786148bb6c6162656c09000a488d3584010000ba01000000b8010100000f05"
              "85c00f88f300000089c7488d35870100008b157d010000b8010000000f0585c00f88d5000000b803"
              "0000000f058b3d5d010000b8030000000f0548bb6572726e6f09000a833d35010000000f84900000"
              "0048bb626972746809000abf1180000031f631d24531d24531c0b8380000000f0585c00f88820000"
              "000f85ac000000b8700000000f0585c078718b35f8000000bf01000000b89d0000000f0585c0785b"
              "833ddd00000000741431ffbe0e54000031d2b8100000000f0585c0783e8b3dc9000000488d7424f8"
              "ba0800000031c00f0585c07826744648bb6572726e6f09000a488b0424488b7c2408488d74241048"
              "8d54c410b83b0000000f05f7d883c02048c1e0304809d8508b3d7e0000004889e6ba08000000b801"
              "0000000f05bf7f000000b8e70000000f050f0b488d7424ffc6060ab90a00000031d2f7f183c23048"
              "ffce881685c075f04883ee05c706626f726ec64604094889e24829f28b3d2a000000b8010000000f"
              "0531ffb8e70000000f050f0b000000006578656300000000",
    "aarch64": "4a0d0058a00e0018410080d2220080d2280380d2010000d4000800b5000e00188002f8376a0c0058"
              "c10c0010220080d2080780d2010000d40007f8b7eb0300aa210d0010e20c0018080880d2010000d4"
              "4006f8b7e0030baa280780d2010000d4e00b0018280780d2010000d4ea090058e00a001860040034"
              "0a0a0058200290d2010080d2020080d2030080d2040080d2881b80d2010000d40004f8b7a00500b5"
              "a81380d2010000d48003f8b7200080d221090018e81480d2010000d4e002f8b780080018e0000034"
              "000080d2c1818ad2020080d2a80380d2010000d4e001f8b7c0070018e14300d1020180d2e80780d2"
              "010000d42001f8b7400200b46a050058e90340f9e00740f9e1430091220c098ba81b80d2010000d4"
              "e00300cb00800091003c50d300000aaae00f1ff860050018e1030091020180d2080880d2010000d4"
              "e00f80d2c80b80d2010000d4000020d4e10700d142018052220000390308c21a6480021b84c00011"
              "24fc1f38e003032a60ffff352401805224fc1f386402001824cc1fb8e2030091420001cb60020018"
              "080880d2010000d4000080d2c80b80d2010000d4000020d46572726e6f09000a6c6162656c09000a"
              "626972746809000a6578656300000000626f726e",
}
# fmt: on
_MACHINE = {"x86_64": 62, "aarch64": 183}  # include/uapi/linux/elf-em.h
_HERE = abi.machine()
_BASE = 0x400000
_FAILURE = 32


def supported() -> bool:
    return _HERE in _CODE


def elf(
    machine: str,
    channel: int,
    attributes: int = -1,
    label: bytes = b"",
    apart: "tuple[int, int] | None" = None,
) -> bytes:
    """The file. channel, attributes, label, apart: as of `make`"""
    birth = (0, 0, 0) if apart is None else (1,) + apart
    words = struct.pack("<iiiiiI", *(birth + (channel, attributes, len(label)))) + label
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


def make(
    channel: int, attributes: int = -1, label: bytes = b"", apart: "tuple[int, int] | None" = None
) -> int:  # fmt: skip
    """A descriptor of the sealed stand-in. CHANNEL and ATTRIBUTES must stay open over exec. Raises OSError.

    attributes: an O_PATH descriptor of the directory with the file `exec` that LABEL is written to; -1: none
    apart: its child executes the program: whether standard input is to be its controlling terminal, and the
        signal that it gets when the runtime ends, 0 for none
    """
    return sealed(elf(_HERE, channel, attributes, label, apart))


def sealed(data: bytes) -> int:
    """A descriptor of an executable file in memory that nobody can change. Raises OSError."""
    flags = abi.MFD_CLOEXEC | abi.MFD_ALLOW_SEALING
    try:
        descriptor = libc.memfd_create("minictr", flags | abi.MFD_EXEC)
    except OSError as error:
        if error.errno != abi.EINVAL:  # before 6.3 the flag is unknown, and every memfd executable
            raise
        descriptor = libc.memfd_create("minictr", flags)
    os.write(descriptor, data)
    fcntl.fcntl(descriptor, abi.F_ADD_SEALS, abi.F_SEAL_ALL)
    return descriptor


def keep_open(descriptor: int) -> None:
    """Have DESCRIPTOR stay open over exec. os.set_inheritable() cannot do it for one of O_PATH before Python
    3.8.8 and 3.9.2 (bpo-42780)."""
    fcntl.fcntl(descriptor, fcntl.F_SETFD, 0)


def errno_from(word: str) -> int:
    """The errno in the field of the stand-in's message."""
    return (ord(word) & 0xFF) - _FAILURE  # from 96 on the byte is no UTF-8, and comes as a surrogate
