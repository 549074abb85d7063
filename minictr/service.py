"""The caller's side of the library's helper: start it, hand it a request.

Nothing of the caller is changed: the helper is started by posix_spawn (vfork, so that a large heap
costs nothing), is nobody's child, and ends when the caller does or has asked nothing for a minute.

To go through it takes 0.8 ms, of which 0.15 are the look at who asks. There is no second way, by a
fork of the caller, for the small ones without threads: a fork of 1 GB takes 60 ms.

Side: host
"""

import _socket
import _thread
import os
import sys

from .conversation import PROTOCOL, Conversation, status_of
from .errors import ContainerError

_PASSPIDFD = 76  # SO_PASSPIDFD since 6.5, include/uapi/asm-generic/socket.h
_SEQPACKET = 5  # include/linux/net.h
_SHUT_RDWR = 2
_FIRST = 10  # descriptors of ours are above this, where no shell and no spawned program looks for one
_GONE = (9, 32, 104, 107)  # EBADF, EPIPE, ECONNRESET, ENOTCONN: what sendmsg says where nobody is there
_PLACE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # now: it is relative before Python 3.8
_ANOTHER = 3  # the exit status of one that would not understand us
_OURSELVES = 4  # and of one that is no Python, but a program which has come to us as its helper
_MARK = "MINICTR_HELPER_OF"  # in the environment of what is started as one: our process id, and what it is
_HELPER = """\
import sys
sys.path.append(sys.argv[1])
from minictr import conversation
if str(getattr(conversation, "PROTOCOL", 0)) != sys.argv[2]:
    sys.exit(3)
from minictr import worker
worker.main(int(sys.argv[3]))
"""


class Door(_socket.socket):
    """Our end of the helper's door, open until the caller ends: no oversight that is to be warned of.

    Who becomes a daemon closes all descriptors: the number of this one may be another file's by now.
    """

    def __init__(self, *arguments: int) -> None:
        super().__init__(*arguments)
        self.state = os.fstat(self.fileno())

    def there(self, fstat=os.fstat, same=os.path.samestat) -> bool:  # by now, as in Watch._close
        try:
            return same(self.state, fstat(self.fileno()))
        except OSError:
            return False

    def close(self) -> None:
        if self.there():
            super().close()
        else:
            self.detach()

    def __del__(self) -> None:
        self.close()


class Service:
    """The door to this process's helper. A process that was forked from ours has another one."""

    def __init__(self) -> None:
        self.lock = _thread.RLock()  # a handler of the caller's may ask while we do
        self.door = None  # type: Door | None

    def open(self, streams: "tuple[int, int, int]", *request: object) -> Conversation:
        """A conversation with a worker that has taken REQUEST, the descriptors STREAMS as its standard
        streams, and our directory. Raises ContainerError if none can be had."""
        tries = 3  # a helper may have ended for want of work, or be that of who we were before
        while tries:
            with self.lock:
                if self.door is None or not self.door.there():
                    self.door = _start()
                door = self.door
            talk = _ask(door, streams, request)
            if talk is not None:
                try:
                    if talk.hear() == ("taken",):
                        return talk
                except BaseException:  # a handler of the caller's that raises: who takes it must not go on
                    talk.close()
                    raise
                talk.close()
            with self.lock:
                if self.door is door:  # else another thread has dismissed it, or was quicker: no try of ours
                    self.door = None
                    tries -= 1
        raise ContainerError(
            "start the library's helper", "it ended without a word",
            hint="does this run? PYTHONPATH=%s %s -c 'import minictr.worker'"
            % (_PLACE, sys.executable or "python3"),
        )  # fmt: skip

    def dismiss(self) -> None:
        with self.lock:
            door, self.door = self.door, None
        if door is not None and door.there():
            door.shutdown(_SHUT_RDWR)  # a process that was forked from ours may hold it as well
            door.close()


_services = {}  # type: dict[int, Service]


def open(streams: "tuple[int, int, int]", *request: object) -> Conversation:  # noqa: A001
    """A conversation with a worker of this process's helper, which is started if there is none."""
    return _ours().open(streams, *request)


def _ours() -> Service:
    pid = os.getpid()
    if pid not in _services:
        for service in list(_services.values()):  # of the process that forked us: its door is not ours
            if service.door is not None:
                service.door.close()
        _services.clear()
    return _services.setdefault(pid, Service())


def dismiss_helper() -> None:
    """End the helper that makes this process's containers; the next call starts another one.

    The helper may do what the caller could when it was started. The kernel tells when the caller has given
    up ids, capabilities and the like since, but not of Landlock (`landlock_restrict_self`): who restricts
    himself so calls this first or next. Containers that run go on, and end as they would have. A process
    that was forked lets go of its parent's helper so, which serves that on.
    """
    _ours().dismiss()


def _ask(door, streams: "tuple[int, int, int]", request: "tuple") -> "Conversation | None":
    """None where the helper is gone. The request goes along, unasked: a worker that has to wait for it costs
    0.2 ms."""
    ours, theirs = _pair(_socket.SOCK_STREAM)
    try:
        _hand_over(door, theirs.fileno(), streams)
        theirs.close()  # else a large request to a helper that is killed now would wait for ourselves
        talk = Conversation(ours, takes=True)
        if not talk.say(*request):
            raise OSError(talk.refusal, os.strerror(talk.refusal))
        return talk
    except BaseException as error:
        ours.close()
        if getattr(error, "errno", 0) not in _GONE:
            raise
        return None
    finally:
        theirs.close()


def _hand_over(door, conversation: int, streams: "tuple[int, int, int]") -> None:
    """Through the door: the other end of a conversation, our directory and STREAMS."""
    try:
        here = os.open(".", os.O_PATH | os.O_CLOEXEC)
    except PermissionError:  # it may not be searched; a link of the kernel's leads there all the same
        here = os.open("/proc/self/cwd", os.O_PATH | os.O_CLOEXEC)
    try:
        passed = b"".join([fd.to_bytes(4, sys.byteorder) for fd in (conversation, here) + streams])
        door.sendmsg([b"r"], [(_socket.SOL_SOCKET, 1, passed)], 0x4000)  # SCM_RIGHTS, MSG_NOSIGNAL
    finally:
        os.close(here)


def _pair(kind: int) -> "tuple[_socket.socket, _socket.socket]":
    """A connected pair whose numbers are no standard stream's, even where the caller has closed those."""
    import fcntl  # on the first call alone

    pair = []
    for sock in _socket.socketpair(_socket.AF_UNIX, kind, 0):
        if sock.fileno() < 3:
            number = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, _FIRST)
            sock.close()
            sock = _socket.socket(_socket.AF_UNIX, kind, 0, number)
        pair.append(sock)
    return pair[0], pair[1]


def _start() -> Door:
    """Start the helper; our end of its door comes back.

    sys.executable may be no Python: the program itself, where that has one in it (PyInstaller, uWSGI). It
    would come here again, and start itself without end."""
    if _is_helper_of_itself():
        os._exit(_OURSELVES)
    ours, theirs = _pair(_SEQPACKET)
    theirs.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
    try:
        theirs.setsockopt(_socket.SOL_SOCKET, _PASSPIDFD, 1)
    except OSError:  # ENOPROTOOPT
        pass
    program = sys.executable or "/usr/bin/python3"
    options = "-ISB" if sys.flags.dont_write_bytecode else "-IS"
    same = "utf8=%d" % getattr(sys.flags, "utf8_mode", 0)  # the same text is the same name there; since 3.7
    try:
        words = [program, options, "-X", same, "-c", _HELPER, _PLACE, str(PROTOCOL)]
        status = _OURSELVES if _is_frozen(program) else _spawn(program, words, theirs.fileno())
        if status == _ANOTHER:
            why = "this program has loaded another version of minictr than lies in %s by now" % _PLACE
            raise ContainerError("start the library's helper", why, hint="start the program anew")
        if status == _OURSELVES:
            why = "sys.executable is this program itself, and no Python: %s" % program
            hint = "set sys.executable to a Python, and import minictr from a folder"
            raise ContainerError("start the library's helper", why, hint=hint)
        return Door(_socket.AF_UNIX, _SEQPACKET, 0, ours.detach())
    except OSError as error:
        raise ContainerError("start the library's helper %s" % program, "", error.errno or 0) from error
    finally:
        ours.close()
        theirs.close()


def _is_helper_of_itself() -> bool:
    """Whether a process above us, which is still there, has started this program as its helper."""
    maker, _, program = os.environ.get(_MARK, "").partition(" ")
    pid = os.getppid() if program and program == sys.executable else 0
    while pid and str(pid) != maker:
        lines = status_of(pid).split("\n")
        pid = next((int(line[len("PPid:") :]) for line in lines if line.startswith("PPid:")), 0)
    return pid != 0


def _is_frozen(program: str) -> bool:
    """Whether PROGRAM is ours, and says by the usual mark that it takes no -c: it is not even to be tried."""
    try:
        return hasattr(sys, "frozen") and os.path.samefile(program, "/proc/self/exe")
    except OSError:
        return False


def _spawn(program: str, words: "list[str]", door: int) -> "int | None":
    """Run a program that ends at once and leaves the helper behind. Its exit status, None where that is not
    known or is a signal."""
    environ = dict(os.environ)
    environ[_MARK] = "%d %s" % (os.getpid(), program)
    if hasattr(os, "posix_spawn"):
        number = 3 if door > 3 else 4
        actions = [(os.POSIX_SPAWN_OPEN, stream, "/dev/null", os.O_RDWR, 0) for stream in range(3)]  # type: list[tuple]
        actions.append((os.POSIX_SPAWN_DUP2, door, number))
        pid = os.posix_spawn(program, words + [str(number)], environ, file_actions=actions)
    else:  # before 3.8
        import subprocess

        null = subprocess.DEVNULL
        started = subprocess.Popen(
            words + [str(door)], stdin=null, stdout=null, stderr=null, pass_fds=(door,), env=environ
        )
        pid, started.returncode = started.pid, 0  # it is waited for below
    try:
        _, status = os.waitpid(pid, 0)
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    except ChildProcessError:
        return None  # SIGCHLD is ignored, or the caller's handler has waited for it
    except BaseException:  # a handler of the caller's: no zombie is left for him
        os.waitpid(pid, 0)
        raise
