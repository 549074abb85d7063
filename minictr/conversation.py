"""How the library and its helper talk: messages over a socket, each a tuple of plain values.

    caller (library)                        helper (worker)
      | a socket of their own, descriptors --> |  through the door
      | what is wanted ----------------------> |  looked at once it is known who asks
      | <----------------------------- taken   |  from now on something may have been done
      | <--------------------------- running   |
      | held: let a detached one live on ----> |
      | end (or end of file: kill it) -------> |
      | <----------------------- done, error   |

A message is marshalled (version 2, which every Python reads) behind its length, four bytes.

Side: host
"""

import _socket
import marshal
import os
import sys

# Another number when a message is another: an upgrade may have put the next version's helper beside a caller
PROTOCOL = 1
_NOSIGNAL = 0x4000  # MSG_NOSIGNAL: a caller may have SIGPIPE as the kernel has it
_CLOEXEC = 0x40000000  # MSG_CMSG_CLOEXEC
_CTRUNC = 0x8  # MSG_CTRUNC


class Conversation:
    """One end. sock: a connected stream socket

    takes: whether descriptors may come, which are in `received`; full: one has come for which there was no
        room (RLIMIT_NOFILE), and is lost
    refusal: the errno of what could not be said, 0 before
    """

    def __init__(self, sock, takes: bool = False) -> None:
        self.sock, self.pending, self.over = sock, b"", False
        self.takes, self.received = takes, []  # type: bool, list[int]
        self.full, self.refusal = False, 0

    def say(self, *fields: object, fd: int = -1) -> bool:
        """Send a message, and with it a descriptor. False if nobody listens any more; or nobody has to, as it
        could not be sent whole (ENOBUFS, say): each side would wait for the other's next word."""
        data = marshal.dumps(fields, 2)  # type: ignore[arg-type]
        data = len(data).to_bytes(4, "little") + data
        try:
            if fd >= 0:
                rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))
                data = data[self.sock.sendmsg([data], [rights], _NOSIGNAL) :]
            self.sock.sendall(data, _NOSIGNAL)
        except OSError as error:  # EPIPE, ECONNRESET
            self.refusal = error.errno or 0
            self.end()
            return False
        return True

    def hear(self) -> "tuple | None":
        """The next message, waited for; None at the end of file."""
        while True:
            said = self.heard()
            if said is not None or self.over:
                return said
            self.fill()

    def heard(self) -> "tuple | None":
        """The next message of what has arrived, None if there is none yet."""
        size = int.from_bytes(self.pending[:4], "little") + 4
        if len(self.pending) < max(size, 5):
            return None
        data, self.pending = self.pending[4:size], self.pending[size:]
        return marshal.loads(data)

    def fill(self) -> None:
        """Take in what arrives; waits unless the socket says that something is there."""
        try:
            data = self._take() if self.takes else self.sock.recv(1 << 16)
        except ConnectionResetError:  # it ended with words of ours unread
            data = b""
        self.pending += data
        self.over = not data

    def _take(self) -> bytes:
        data, extra, flags = self.sock.recvmsg(1 << 16, 64, _CLOEXEC)[:3]
        self.full = self.full or bool(flags & _CTRUNC)
        for level, kind, packed in extra:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                self.received.append(int.from_bytes(packed[:4], sys.byteorder))
        return data

    def end(self) -> None:
        """Neither end is told anything any more; who waits for a word here waits no longer."""
        try:
            self.sock.shutdown(_socket.SHUT_RDWR)
        except OSError:  # ENOTCONN: the other end has closed it
            pass

    def close(self) -> None:
        while self.received:
            os.close(self.received.pop())
        self.sock.close()

    def __del__(self) -> None:
        """To let go of a container is a way to end it, or to let a detached one live on: no oversight that is
        to be warned of."""
        try:
            self.sock.close()
        except OSError:  # who becomes a daemon closes all descriptors
            pass


def status_of(process: "int | str") -> str:
    return _text("/proc/%s/status" % process)


def standing(process: "int | str", status: str) -> str:
    """Who a process is and where: ids, capabilities, filters, label, limits, namespaces, root and cgroup.

    status: what `status_of` says of it
    Two processes with the same text may do the same, but for Landlock: /proc says nothing of it, only of the
    no_new_privs that most need for it. What cannot be seen of one is told by its errno.
    """
    place = "/proc/%s/" % process
    lines = [line for line in status.split("\n") if line.startswith(_LINES)]
    lines += [_text(place + name) for name in ("attr/current", "limits", "cgroup", "oom_score_adj")]
    lines += [_identity(place + name) for name in _PLACES]
    return "\n".join(lines)


_PLACES = ("root",) + tuple(["ns/" + name for name in "cgroup ipc mnt net pid time user uts".split()])
_LINES = ("Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp", "Cpus_allowed:", "Mems_allowed:")


def _text(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return "errno %s" % error.errno
    try:
        return os.read(descriptor, 1 << 16).decode("ascii", "replace")
    except OSError as error:  # it has just ended
        return "errno %s" % error.errno
    finally:
        os.close(descriptor)


def _identity(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError as error:
        return "errno %s" % error.errno
    return "%d:%d" % (found.st_dev, found.st_ino)
