"""The caller's terminal relayed to the container's: raw mode, sizes, both directions.

Side: host
"""

import _signal
import select
import termios
import time

from . import abi, cgroup_stats, console, foreground, oom, report  # noqa: F401  # for the end: foreground.settle
from . import unix as os

_LAST = 1 << 20  # bytes: many times what a terminal holds that nobody has read yet
_LOOK = 1  # seconds: for a byte of the wake-up pipe, and so for a signal, there may be no memory
_ENDING = {_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM}


class Relay:
    """master: the container's terminal; the caller's is standard input and output.

    unwritten: why something of what it said could not be passed on, an errno
    unset: why the caller's could not be set to what it was
    """

    def __init__(self, master: int) -> None:
        self.master = master
        self.saved = None  # type: list | None
        self.unwritten = self.unset = 0
        self.input_open = self.output_open = True
        self.to_container = self.to_caller = b""
        self.line_ended = True  # where what was typed stands

    def run(self, pid: int, timeout: float, end) -> int:
        """Relay until PID ends; its exit status. timeout, end: as of foreground.wait"""
        waker, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self.master, False)
        _signal.set_wakeup_fd(wake)
        numbers = foreground.forwarded() | {_signal.SIGCHLD}
        for number in numbers:
            _signal.signal(number, lambda *_: None)  # the wake-up pipe tells which
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, numbers)
        try:
            self._raw()
            console.copy_size(self.master)
            status = self._loop(pid, waker, timeout, end)
        finally:
            self._cooked()
            _signal.set_wakeup_fd(-1)
            os.close(waker)
            os.close(wake)
        if self.unwritten:
            report.say("write to the standard output: %s" % os.strerror(self.unwritten))
        if self.unset:
            report.say("set the terminal back: %s; hint: stty sane" % os.strerror(self.unset))
        return status

    def _loop(self, pid: int, waker: int, timeout: float, end) -> int:
        deadline, over, status = time.monotonic() + timeout if timeout else 0.0, False, None
        while status is None:
            left = min(max(deadline - time.monotonic(), 0), _LOOK) if deadline else _LOOK
            ready = self._wait(waker, left * 1000)
            if deadline and time.monotonic() >= deadline:
                again = end(pid)
                deadline, over = time.monotonic() + abs(again) if again else 0.0, again <= 0
            if 0 in ready:
                self._read_input()
            if 1 in ready:
                self._write_caller()
            if ready.get(self.master, 0) & select.POLLOUT:
                self._write_container()
            if self.master in ready and not self.to_caller:
                self._read_container()
            if waker in ready:
                status = self._signals(pid, os.read(waker, 512))
            elif not ready:
                status = foreground.ended(pid)
        self._drain(waker, None if not over else 0)
        return status

    def _wait(self, waker: int, milliseconds: float) -> "dict[int, int]":
        """What can be done. Who does not read our output must not keep us from signals and the time: nothing
        is read that could not be written yet."""
        poll = select.poll()
        poll.register(waker, select.POLLIN)
        events = (0 if self.to_caller else select.POLLIN) | (select.POLLOUT if self.to_container else 0)
        if self.output_open and events:
            poll.register(self.master, events)
        if self.to_caller:
            poll.register(1, select.POLLOUT)
        if self.input_open and len(self.to_container) < 65536:
            poll.register(0, select.POLLIN)
        return dict(poll.poll(milliseconds))

    def _drain(self, waker: int, milliseconds: "int | None") -> None:
        """The program has ended: pass on its last words, unless we are told to end; but not what others in
        the container go on to write there, who could have our caller's terminal for ever.

        milliseconds: so long who reads them is waited for
        """
        left = _LAST
        while self.to_caller or (left > 0 and self._read_container()):
            held = len(self.to_caller)
            poll = select.poll()
            poll.register(1, select.POLLOUT)
            poll.register(waker, select.POLLIN)
            ready = dict(poll.poll(milliseconds))
            if 1 in ready:
                self._write_caller()
                left -= held - len(self.to_caller)
            elif waker not in ready or set(os.read(waker, 512)) & _ENDING:
                return

    def _signals(self, pid: int, numbers: bytes) -> "int | None":
        for number in numbers:
            if number == _signal.SIGWINCH and self.master >= 0:
                console.copy_size(self.master)
            elif number != _signal.SIGCHLD:
                if number == _signal.SIGCONT:
                    self._raw()  # who stopped us, a shell, has set it as it likes
                foreground.send(pid, number)
        return foreground.ended(pid)

    def _read_input(self) -> None:
        try:
            data = os.read(0, 4096)
        except OSError:
            data = b""
        if not data:
            self.input_open = False
            if self.saved is not None:  # a raw terminal has no end of file: it was hung up
                self._hang_up()
                return
            # VEOF: the end of what was piped in; the first one ends an unfinished line alone (termios(3))
            data = b"\4" if self.line_ended else b"\4\4"
        self.line_ended = data[-1:] in (b"\n", b"\r", b"\4")
        self.to_container += data

    def _hang_up(self) -> None:
        """The container's terminal goes as the caller's has: its foreground processes get SIGHUP."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
        self.output_open, self.to_container = False, b""

    def _write_container(self) -> None:
        try:
            self.to_container = self.to_container[os.write(self.master, self.to_container) :]
        except BlockingIOError:
            pass
        except OSError:
            self.to_container = b""

    def _read_container(self) -> bool:
        """Take what it says; whether there was anything."""
        try:
            self.to_caller = os.read(self.master, 65536)
        except BlockingIOError:
            return False
        except OSError:  # EIO: nobody has the other end open, and nobody can open it again
            self.output_open = False
            return False
        return bool(self.to_caller)

    def _write_caller(self) -> None:
        """So much as a pipe that has room is certain to take."""
        try:
            self.to_caller = self.to_caller[os.write(1, self.to_caller[: select.PIPE_BUF]) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # nobody reads it any more: `run -t ... | head` would never end
            self.to_caller = b""
            self._hang_up()
        except OSError as error:  # such as a full disk: the container's must not block on that
            self.unwritten, self.to_caller = error.errno or 0, b""

    def _raw(self) -> None:
        """What is typed goes to the container as it is: ^C and ^Z are its terminal's to interpret."""
        try:
            mode = termios.tcgetattr(0)
        except termios.error:
            return
        if self.saved is None:
            self.saved = mode[:6] + [list(mode[6])]
        mode[0] &= ~(termios.BRKINT | termios.ICRNL | termios.INPCK | termios.ISTRIP | termios.IXON)
        mode[1] &= ~termios.OPOST
        mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        _set(termios.TCSANOW, mode)

    def _cooked(self) -> None:
        if self.saved is not None:
            number = _set(termios.TCSADRAIN, self.saved)
            # EIO: it was hung up, or nobody is left who could bring us to the foreground
            self.unset = 0 if number == abi.EIO else number


def _set(when: int, mode: list) -> int:
    """tcsetattr(3) of standard input; 0, or an errno. In the background it stops us (SIGTTOU), and once we
    are in the foreground it is to be said again."""
    while True:
        try:
            termios.tcsetattr(0, when, mode)
            return 0
        except termios.error as error:
            if error.args[0] != abi.EINTR:
                return int(error.args[0])
