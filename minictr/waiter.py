"""A program that only waits, for the label of a security module to be read on: the kernel gives it at
execve(2), and a twin's first process is ours, which executes nothing.

    runtime                     twin's first process            a child of it
      | execute --------------------> | fork --------------------> | (has what was asked for, by fork)
      |                               | <-- an errno, or "W" ------| execve: it says "W" and reads
      | <------ executed, pid, why -- |                            |
      | reads its label               |                            |
      | done -----------------------> | closes its pipe ---------> | ends
      | <-- end of file --------------| waits for it, and ends     |

What it is executed from is a sealed file in memory like the stand-in. With SELinux it has the label of the
file of the container's own program, which is the door that the policy lets a container in by.

Side: container
"""

import _struct as struct
import errno
import os
import time

from . import abi, last, libc, lsm, program, standin
from .errors import ContainerError

# It writes a byte to one pipe, reads from another until its other end is closed or writes, and ends.
# fmt: off
SOURCES = {
    "x86_64": """
        push 0x57                       # "W"
        mov edi, [rip + outgoing]
        mov rsi, rsp
        mov edx, 1
        mov eax, 1                      # write
        syscall
        mov edi, [rip + incoming]
        mov rsi, rsp
        mov edx, 1
        xor eax, eax                    # read
        syscall
        xor edi, edi
        mov eax, 231                    # exit_group
        syscall
        ud2
        .balign 8
    outgoing:
        .set incoming, outgoing + 4
    """,
    "aarch64": """
        mov x9, 0x57
        str x9, [sp, -16]!
        ldr w0, outgoing
        mov x1, sp
        mov x2, 1
        mov x8, 64
        svc 0
        ldr w0, incoming
        mov x1, sp
        mov x2, 1
        mov x8, 63
        svc 0
        mov x0, 0
        mov x8, 94
        svc 0
        brk 0
        .balign 8
    outgoing:
        .set incoming, outgoing + 4
    """,
}
_CODE = {
    "x86_64": "6a578b3d300000004889e6ba01000000b8010000000f058b3d1f0000004889e6ba0100000031c00f"
              "0531ffb8e70000000f050f0b0f1f4000",
    "aarch64": "e90a80d2e90f1ff8c0010018e1030091220080d2080880d2010000d440010018e1030091220080d2"
               "e80780d2010000d4000080d2c80b80d2010000d4000020d4",
}
# fmt: on
RUNS = b"W"


def elf(machine: str, incoming: int, outgoing: int) -> bytes:
    """The file. incoming, outgoing: descriptors that stay open over exec"""
    words = struct.pack("<ii", outgoing, incoming)
    return standin.executable(machine, bytes.fromhex(_CODE[machine]) + words)


class Waiter:
    """The program, and the pipes between it and us. Made before a filter may refuse that.

    context: the SELinux label of its file, b"" for what the kernel gives it
    pid: once it is executed; why: why it could not be, "" if it could
    """

    def __init__(self, context: bytes = b"") -> None:
        self.pid, self.file, self.why = 0, -1, ""
        reader, self.end = os.pipe()
        self.said, writer = os.pipe()
        self.theirs = (reader, writer)
        if abi.machine() not in _CODE:
            self.why = "there is no program to execute for it on %s" % abi.machine()
            return
        try:
            self.file = standin.sealed(elf(abi.machine(), reader, writer))
        except OSError as error:
            self.why = "make a file in memory to execute: %s" % os.strerror(error.errno or 0)
            return
        if context:
            try:
                libc.fsetxattr(self.file, lsm.SELINUX_XATTR, context)
            except OSError:
                pass  # it may be entered all the same; else execve says that it may not

    def execute(self) -> None:
        """Have a child of ours become it: everything that holds us holds the child, and what we have asked
        for is the child's. Sets pid, or why."""
        if self.why:
            return
        try:
            self.pid = os.fork()
        except OSError as error:
            self.why = "there is no process to execute it in: %s" % os.strerror(error.errno or 0)
            return
        if self.pid == 0:
            self._become()
        os.close(self.theirs[1])
        said = os.read(self.said, 16)
        if not said:
            self.why = self._ended()
        elif said != RUNS:
            self.why = "execute a file in memory under it: %s" % os.strerror(int(said))

    def take_away(self) -> None:
        """End it, and wait for that."""
        os.close(self.end)
        if self.pid:
            os.waitpid(self.pid, 0)

    def _become(self) -> None:
        number = 0
        try:
            for descriptor in self.theirs:
                os.set_inheritable(descriptor, True)
            os.execve(self.file, ["minictr"], {})
        except OSError as error:
            number = error.errno or errno.EIO
        finally:
            os.write(self.theirs[1], b"%d" % (number or errno.EIO))
            os._exit(1)

    def _ended(self) -> str:
        """Why it has said nothing, "" where it runs all the same: SELinux takes descriptors away from who may
        not have them. It then ends by itself, and stays to be looked at until it is waited for."""
        for _ in range(200):
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None and found.si_code != os.CLD_EXITED:
                return "what was executed was killed by signal %d" % found.si_status
            if found is not None:
                return "" if found.si_status == 0 else "what was executed ended with %d" % found.si_status
            time.sleep(0.005)
        return ""


def context_of_program(me) -> bytes:
    """The SELinux label of the file that the container's program is in, b"" where there is none. me: an
    init.Init"""
    if me.plan.labels[0].layer != lsm.SELINUX:
        return b""
    try:
        path = last.find_program(me, program.environment(me.plan.env))[0][0]
        return libc.getxattr(path, lsm.SELINUX_XATTR)
    except (OSError, ContainerError):
        return b""
