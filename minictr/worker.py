"""The library's helper: a small process beside the caller's that makes its containers.

    caller's process      helper              worker
      |-- posix_spawn ----->|                   |
      |                     |-- fork ---------->| waits at the door
      |-- a request, with descriptors --------->|
      | <------------- taken, running, done ----| makes the container, stands behind it
      |                     |                   | waits at the door again
      |-- a second request at the same time --->|
      |                     |-- fork, if nobody takes it

What the caller has (threads, a large heap, handlers, a directory, an environment) is neither forked
nor changed. The worker that takes a request was forked before it came, with everything imported.

Only a container that went well, and left no mark on the worker, is followed by another one in it.
A worker that stands behind one for long, or does anything else, has itself replaced, and ends with it.

The door is open to the caller alone, and only as long as it is who it was when the helper was started:
the kernel tells who asks, and a caller that has given up rights since is sent away (service.dismiss_helper
where the kernel tells nothing). So is every caller once another copy of minictr lies where ours does: what
we have yet to import would be of that.

Side: host
"""

import _signal
import _socket
import _struct as struct
import fcntl
import gc
import importlib
import os
import select
import time

from . import (
    answers,
    document,
    exec_line,
    execution,
    foreground,
    libc,
    lifecycle,
    options,
    paths,
    state,
    words,
)
from .conversation import Conversation, standing, status_of
from .errors import REPORT, ContainerError, Degradation, Interrupted, from_os
from .report import Report

IDLE = 60  # seconds without a request, after which a worker ends, and the helper with the last one
HASTE = 0.005  # seconds in which one who waits at the door has taken a request
TIDY = 50  # requests after which a worker looks for what is left of them in memory, 40 KB each
STAYING = 1.0  # seconds that a program runs before its worker is replaced at the door
_PASSED = 5  # descriptors that come with a request: the conversation, the directory, three streams
# What most containers need, imported before a request comes
_EARLY = (
    "causes", "cgroup_none", "cgroup_v1", "cgroup_v2", "cli", "config", "grants", "native", "resources",
    "seccomp", "seccomp_default", "seccomp_ready", "standin", "subids", "users",
)  # fmt: skip
_SOCK_SEQPACKET, _SCM_RIGHTS, _SCM_CREDENTIALS, _SCM_PIDFD = 5, 1, 2, 4  # include/linux/net.h, socket.h


def main(number: int) -> None:
    """Never returns. number: the descriptor of the door, a socket that keeps messages apart"""
    global _installed
    _installed = _copy()
    caller = standing(os.getppid(), status_of(os.getppid()))
    os.chdir("/")
    paths.close_from(3, {number}, paths.open_proc())
    for signal in range(1, _signal.NSIG):
        libc.default_signal(signal)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    if os.fork():  # nobody's child: the caller has nothing to wait for
        os._exit(0)
    os.setsid()
    libc.prctl_name("minictr-helper")
    door = _socket.socket(_socket.AF_UNIX, _SOCK_SEQPACKET, 0, number)
    for name in _EARLY:
        importlib.import_module("minictr." + name)
    document.loads(document.dumps({}))  # which takes in its half in C
    gc.disable()
    if hasattr(gc, "freeze"):  # since 3.7
        gc.freeze()
    _serve(door, caller)


_installed = ()  # type: tuple  # what `_copy` said at our start


def _copy() -> tuple:
    """Which copy of minictr lies in the place of ours; () for none."""
    folder = os.path.dirname(os.path.abspath(__file__))
    for path in (folder + "/__init__.py", os.path.dirname(folder)):  # the latter is the one file
        try:
            found = os.stat(path)
            return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        except NotADirectoryError:
            continue
        except OSError:
            break
    return ()


def _serve(door, caller: str) -> None:
    """Have somebody at the door at all times. One worker does for who asks one thing after the other: it
    comes back, which is 3 ms less than a new one, whose memory is shared and whose code has never run."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # they leave no zombies
    waiting = select.poll()
    waiting.register(door, select.POLLIN)
    workers, short = set(), True  # type: set[int], bool
    while workers or short:
        if short:
            reader, writer = os.pipe()
            if os.fork() == 0:
                for descriptor in workers | {reader}:
                    os.close(descriptor)
                try:
                    _work(Seat(door, writer), caller)
                finally:
                    os._exit(1)
            os.close(writer)
            workers.add(reader)
            waiting.register(reader, select.POLLIN)
            short = False
        for descriptor, event in waiting.poll():
            if descriptor != door.fileno():
                if os.read(descriptor, 1):
                    short = True
                    continue
                waiting.unregister(descriptor)  # it has ended, or was killed
                os.close(descriptor)
                workers.remove(descriptor)
            elif event & select.POLLHUP:  # the caller is gone
                os._exit(0)
            else:  # all may be busy, or one is on its way
                select.select([], [], [], HASTE)
                short = short or bool(select.select([door], [], [], 0)[0])
    os._exit(0)


class Seat:
    """A worker's place at the door, None once it has left. writer: a pipe to the helper

    environ: of the request before, which is ours still; None before the first; pid: of who asks
    """

    pid = 0

    def __init__(self, door, writer: int) -> None:
        self.door, self.writer = door, writer
        self.environ = None  # type: dict[str, str] | None

    def leave(self) -> None:
        """Have another one sit here, and end with what is being done."""
        if self.door is None:
            return
        self.door.close()
        self.door = None
        try:
            os.write(self.writer, b"n")
        except BrokenPipeError:
            pass  # the helper was killed: the caller finds nobody, and starts another

    def wait(self) -> "tuple[bytes, list]":
        """A request and what came with it; b"" where there will be none, or there was none for long."""
        waiting = select.poll()
        waiting.register(self.door, select.POLLIN)
        while waiting.poll(IDLE * 1000):
            try:
                return self.door.recvmsg(16, 256, 0x40000000 | 0x40)[:2]  # MSG_CMSG_CLOEXEC, MSG_DONTWAIT
            except BlockingIOError:
                continue  # another one was quicker
        return b"", []


def _work(seat: Seat, caller: str) -> None:
    """Do what is asked, until something of it sticks to us."""
    before = _marks()
    count = 0
    while seat.door is not None:
        talk = _take(seat, caller)
        if talk is None:
            return
        well = False
        try:
            Worker(talk, seat).main()
            talk.close()
            count += 1
            if not count % TIDY:
                gc.collect()
            well = _marks() == before
        finally:  # a word to end may come late
            if not well:
                seat.leave()


def _marks() -> "tuple[list[str], set[int], bool]":
    """What a container could leave behind in us: descriptors, blocked signals, children."""
    try:
        os.waitpid(-1, os.WNOHANG)
        childless = False
    except ChildProcessError:
        childless = True
    return sorted(os.listdir("/proc/self/fd")), _signal.pthread_sigmask(_signal.SIG_BLOCK, ()), childless


def _take(seat: Seat, caller: str) -> "Conversation | None":
    """Take a request. None where there is no more to be done."""
    data, extra = seat.wait()
    passed, pid, ids, pidfd = [], 0, None, None
    for _, kind, packed in extra:
        if kind == _SCM_RIGHTS:
            passed = [item[0] for item in struct.iter_unpack("=i", packed[: len(packed) // 4 * 4])]
        elif kind == _SCM_CREDENTIALS:
            pid, *ids = struct.unpack("=iII", packed)
        elif kind == _SCM_PIDFD:
            pidfd = struct.unpack("=i", packed)[0]
    if not data or len(passed) != _PASSED:
        return None
    talk = Conversation(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, passed[0]))
    status = status_of(pid or "none")
    # the ids are of when it asked: by now it may execute a program with the set-user-ID bit (CVE-2013-4288)
    changed = ids != [os.getuid(), os.getgid()] or standing(pid or "none", status) != caller
    if changed or _is_over(pidfd) or _copy() != _installed:
        talk.say("stale")
        return None
    seat.pid = pid
    _signal.signal(_signal.SIGTERM, _interrupt)
    words.here = ""
    try:
        os.fchdir(passed[1])
    except PermissionError:  # the caller may not search it either: a path from there fails as its own does
        words.here = os.readlink("/proc/self/fd/%d" % passed[1])
    for target, descriptor in enumerate(passed[2:]):
        os.dup2(descriptor, target)
    for descriptor in passed[1:]:
        os.close(descriptor)
    for line in status.split("\n"):
        if line.startswith("Umask:"):  # since 4.7
            os.umask(int(line.split()[1], 8))
    talk.say("taken")
    return talk


def _is_over(pidfd: "int | None") -> bool:
    """Whether who asked has ended: what was looked at may be another one with its number. PIDFD, which is
    closed, is less than 0 where that was so before; None before Linux 6.5, which does not tell."""
    if pidfd is None:
        return False
    if pidfd < 0:
        return True
    over = bool(select.select([pidfd], [], [], 0)[0])
    os.close(pidfd)
    return over


def _interrupt(number: int, frame: object) -> None:
    foreground.pass_signals()  # once is enough
    raise Interrupted(number)


def _listen(descriptor: int, on: bool) -> None:
    """Until the program runs, a word of the caller's, or its end, is a SIGTERM: it ends the making."""
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, _signal.SIGTERM if on else 0)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~os.O_ASYNC
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | (os.O_ASYNC if on else 0))
    if on and select.select([descriptor], [], [], 0)[0]:  # it came before
        raise Interrupted(_signal.SIGTERM)


class Collected(Report):
    """What there is to say, kept for the caller: nothing is printed. warnings: sentences"""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.warnings = []  # type: list[str]

    def seen(self, record: Degradation) -> None:
        super().seen(record)
        if record.level == "warning":
            self.warnings.append(str(record))

    def error(self, error: ContainerError) -> None:
        self.warnings.append(str(error))

    warn = error


class Worker:
    """Does what one request asks. talk: the conversation with the caller; seat: left by who will not come
    back: only a container that went well leaves nothing behind in its worker"""

    def __init__(self, talk: Conversation, seat: Seat) -> None:
        self.talk, self.seat, self.report = talk, seat, Collected()
        self.identifier = self.created = ""
        self.status, self.out_of_memory = 0, False

    def main(self) -> None:
        try:
            said = self.talk.hear()
            if said is None:
                return
            kind, wish = said
            if kind != "run":
                self.seat.leave()
            if kind != "verb":
                _listen(self.talk.sock.fileno(), True)
                if self.talk.pending:  # a word that came together with the request
                    raise Interrupted(_signal.SIGTERM)
            if wish["environ"] != self.seat.environ:  # 0.1 ms
                os.environ.clear()
                os.environ.update(wish["environ"])
                self.seat.environ = wish["environ"]
            {"run": self._run, "exec": self._execute, "verb": self._verb}[kind](wish)
        except ContainerError as error:
            self._fail(error)
        except Interrupted:
            self._fail(ContainerError("make the container", "the caller has ended it"))
        except OSError as error:
            self._fail(from_os("make the container", error))
        except BaseException as error:  # a bug of ours: it must be heard
            self._fail(ContainerError("make the container", repr(error), hint=REPORT))

    def _fail(self, error: ContainerError) -> None:
        from .cli import explained

        error = explained(error)
        told = (error.doing, error.why, error.number, error.hint, error.status)
        self.talk.say("error", told, self._records(), self.report.warnings)
        self.seat.leave()

    def _records(self) -> "list[dict]":
        return [record.as_dict() for record in self.report.records]

    # --- a container ----------------------------------------------------------------------

    def _run(self, wish: "dict") -> None:
        given = wish["config"]
        if given is not None:
            given = document.loads(given)
        spec = options.parse(wish["argv"], "run", given)
        if not wish["terminal"]:
            _refuse_terminal(spec.config)
        self.identifier = spec.identifier
        root = wish["root"] or state.default_root()
        container = lifecycle.Container(spec, root, self.report, self._attend)
        self.created = container.created
        self.end = container.time_over  # type: ignore[method-assign]
        if spec.detach:
            self._let_live(container, root)
        else:
            container.run()
        self.out_of_memory = bool(container.ending.get("oom"))
        self._done()

    def _let_live(self, container, root: str) -> None:
        """Make a detached one. It lives on if the caller says so, which has heard by then that it runs."""
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # as long as we are here it keeps its number
        held = False
        try:
            container.run()
            _listen(self.talk.sock.fileno(), False)
            found = answers.look(root, self.report, [self.identifier], None) or {}
            mark = (found.get("start_time", 0), container.created)
            self.talk.say("running", self.identifier, container.pid, self._records(), mark)
            held = self.talk.hear() == ("held",)
        finally:
            if not held:  # there is none where it could not be made
                answers.remove(root, self.report, [self.identifier, container.created], self.talk.sock)

    def _execute(self, wish: "dict") -> None:
        asked = exec_line.parse(wish["argv"])
        if asked.tty:
            raise ContainerError("exec", "tty: exec() waits for the end, and has no terminal to give")
        self.identifier = asked.identifier
        root = wish["root"] or state.default_root()
        self._check(wish, root)
        execution.run(root, self.report, asked, self._attend)
        self.out_of_memory = bool(self.report.ending)
        self._done()

    def _done(self) -> None:
        os.chdir("/")  # the caller may want to unmount its own
        self.talk.say("done", self.status, self.out_of_memory, self._records(), self.report.warnings)

    def end(self, pid: int) -> object:
        """Kill the program PID; of a container, all of it."""
        foreground.send(pid, _signal.SIGKILL)
        return 0

    def _attend(self, birth, timeout: float = 0, look=None) -> int:
        """Stand behind the program until it ends, as process.attend does; a word of the caller's, or its
        end, kills it."""
        _listen(self.talk.sock.fileno(), False)
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):  # the ends of the caller's pipes are the program's alone
            os.dup2(null, number)
        os.close(null)
        mark = (0, self.created)
        self.talk.say("running", self.identifier, birth.pid, self._records(), mark, fd=birth.console)
        if birth.console >= 0:
            os.close(birth.console)  # it is the caller's alone: the program is hung up once that closes it
        self.status = self._wait(birth.pid, timeout, look)
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else 128 + os.WTERMSIG(self.status)

    def _wait(self, pid: int, due: float, look) -> int:
        """The status of PID as wait(2) has it.

        due: in how many seconds LOOK is called with PID, 0 for never; it says when it is due again
        """
        reader, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(reader, False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        _signal.set_wakeup_fd(wake)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGCHLD})
        waiting = select.poll()
        waiting.register(reader, select.POLLIN)
        waiting.register(self.talk.sock, select.POLLIN)
        maker = self._maker(pid, waiting)
        now = time.monotonic()
        leaving, deadline = now + STAYING, now + due if due else 0.0
        while True:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                break
            now = time.monotonic()
            if leaving and now >= leaving:
                foreground.settle()
                self.seat.leave()
                leaving = 0.0
            if deadline and now >= deadline:
                due = look(pid)
                deadline = time.monotonic() + due if due else 0.0
                continue
            left = min([end - now for end in (leaving, deadline) if end] or [foreground.LONG])
            for descriptor, _ in waiting.poll(min(left, foreground.LONG) * 1000):
                if descriptor == reader:
                    os.read(reader, 4096)
                    continue
                if descriptor == self.talk.sock.fileno():
                    self.talk.hear()
                waiting.unregister(descriptor)
                self.end(pid)
        _signal.set_wakeup_fd(-1)
        for descriptor in maker + [reader, wake]:
            os.close(descriptor)
        return status

    def _maker(self, pid: int, waiting) -> "list[int]":
        """Have WAITING tell of the caller's end, too: what was forked from it may hold the conversation."""
        try:
            maker = libc.pidfd_open(self.seat.pid)
        except ProcessLookupError:
            self.end(pid)
            return []
        except OSError:  # ENOSYS: before 5.3; EPERM: a filter; EMFILE
            return []
        waiting.register(maker, select.POLLIN)
        return [maker]

    # --- verbs ------------------------------------------------------------------------------

    def _check(self, wish: "dict", root: str) -> None:
        if wish["created"]:
            answers.check(root, wish["id"], wish["created"])

    def _verb(self, wish: "dict") -> None:
        root = wish["root"] or state.default_root()
        self._check(wish, root)
        value = answers.answer(wish["name"], root, self.report, wish["argv"], self.talk.sock)
        self.talk.say("done", value, False, self._records(), self.report.warnings)


def _refuse_terminal(given: "dict") -> None:
    if (given.get("process") or {}).get("terminal"):
        why = "run() waits for the end, and has no terminal to give"
        raise ContainerError("run", why, hint="Container(...) has one")
