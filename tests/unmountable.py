"""Make the kernel refuse to mount file systems of some types, for real: run a command of which it asks us.

    python3 tests/unmountable.py cgroup cgroup2 -- COMMAND...

The type stands in memory, which no seccomp filter sees: so one asks a supervisor (seccomp_unotify(2)), who
reads it there, and answers EPERM or that the call goes on. Needs root, and Linux 5.5. Nothing here imports
minictr, which is what is being tested.
"""

import array
import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import sys

import refusal

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _NEW_LISTENER, _USER_NOTIF, _CONTINUE = 1, 8, 0x7FC00000, 1  # include/uapi/linux/seccomp.h
_RECEIVE, _ANSWER = 0xC0502100, 0xC0182101
_TYPE_ARGUMENT = {"fsopen": 0, "mount": 2}


def listener() -> int:
    """A filter on this process and all that it starts; the descriptor of who is asked."""
    machine = os.uname().machine
    code = [(refusal._LOAD, 0, 0, 0)]
    for name in _TYPE_ARGUMENT:
        number = refusal.SYSCALLS[machine][name]
        code += [(refusal._JUMP_EQUAL, 0, 1, number), (refusal._RETURN, 0, 0, _USER_NOTIF)]
    code.append((refusal._RETURN, 0, 0, refusal._SECCOMP_RET_ALLOW))
    program = b"".join(struct.pack("=HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(program, len(program))
    packed = struct.pack("@HP", len(code), ctypes.addressof(buffer))
    header = ctypes.create_string_buffer(packed, len(packed))
    number = _SECCOMP[machine]
    found = refusal._libc.syscall(number, _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(header))
    refusal._check(found, "install a seccomp filter")
    return found


def answer(asked: int, types: "list[str]") -> None:
    """One call that waits at ASKED."""
    call = bytearray(80)
    fcntl.ioctl(asked, _RECEIVE, call)
    identity, pid, _, number = struct.unpack_from("=QIIi", call)
    arguments = struct.unpack_from("=6Q", call, 32)
    names = {refusal.SYSCALLS[os.uname().machine][name]: place for name, place in _TYPE_ARGUMENT.items()}
    kind = b""
    if arguments[names[number]]:  # NULL where nothing is mounted anew
        with open("/proc/%d/mem" % pid, "rb", 0) as memory:
            memory.seek(arguments[names[number]])
            kind = memory.read(16).partition(b"\0")[0]
    refused = kind.decode() in types
    said = struct.pack("=QqiI", identity, 0, -errno.EPERM if refused else 0, 0 if refused else _CONTINUE)
    fcntl.ioctl(asked, _ANSWER, bytearray(said))


def main() -> None:
    split = sys.argv.index("--")
    types, command = sys.argv[1:split], sys.argv[split + 1 :]
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        rights = array.array("i", [listener()])
        theirs.sendmsg([b"1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        os.execvp(command[0], command)
    theirs.close()
    _, extra, _, _ = ours.recvmsg(1, 64)
    asked = struct.unpack("=i", extra[0][2][:4])[0]
    waiting = select.poll()
    waiting.register(asked, select.POLLIN)
    while True:
        for _, event in waiting.poll(50):
            if event & select.POLLIN:
                answer(asked, types)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


if __name__ == "__main__":
    main()
