"""What one request asks of the library's helper: a container to be made and stood behind, a program in one,
an answer. Who lets it in is `worker`.

Side: host
"""

import _signal
import fcntl
import os
import select
import time

from . import answers, document, exec_line, execution, foreground, libc, lifecycle, options, state
from .conversation import Conversation
from .errors import REPORT, ContainerError, Degradation, Interrupted, from_os
from .report import Report
from .seat import Seat

STAYING = 1.0  # seconds that a program runs before its worker is replaced at the door


def _listen(descriptor: int, on: bool) -> None:
    """Until the program runs, a word of the caller's, or its end, is a SIGTERM: it ends the making."""
    if on:
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(
            descriptor, fcntl.F_SETSIG, _signal.SIGTERM
        )  # and stays so: else it is SIGIO, which kills
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


class Request:
    """talk: the conversation with the caller; seat: of the worker that does it, left where that will not come
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

    def end(self, pid: int) -> float:
        """Kill the program PID; of a container, all of it. As foreground.wait has it."""
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

        due: in how many seconds LOOK is called with PID, 0 for never; it says when it is due again,
            as foreground.wait has it
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
                due = abs(look(pid))
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
                again = abs(self.end(pid))
                if again:
                    look, deadline = self.end, time.monotonic() + again
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
