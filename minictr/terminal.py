"""The caller's terminal relayed to the container's: raw mode, sizes, both directions.

Side: host
"""

import _signal
import os
import select
import termios
import time

from . import abi, console, foreground


class Relay:
    """master: the container's terminal; the caller's is standard input and output."""

    def __init__(self, master: int) -> None:
        self.master = master
        self.saved = None  # type: list | None
        self.input_open = self.output_open = True
        self.to_container = b""

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
        self._raw()
        console.copy_size(self.master)
        try:
            return self._loop(pid, waker, timeout, end)
        finally:
            self._cooked()
            _signal.set_wakeup_fd(-1)
            os.close(waker)
            os.close(wake)

    def _loop(self, pid: int, waker: int, timeout: float, end) -> int:
        deadline = time.monotonic() + timeout if timeout else 0.0
        while True:
            poll = select.poll()
            poll.register(waker, select.POLLIN)
            if self.output_open:
                poll.register(self.master, select.POLLIN | (select.POLLOUT if self.to_container else 0))
            if self.input_open and len(self.to_container) < 65536:
                poll.register(0, select.POLLIN)
            wait = max(deadline - time.monotonic(), 0) * 1000 if deadline else None
            ready = dict(poll.poll(wait))
            if deadline and time.monotonic() >= deadline:
                again = end(pid)
                deadline = time.monotonic() + again if again else 0.0
            if 0 in ready:
                self._read_input()
            if ready.get(self.master, 0) & select.POLLOUT:
                self._write_container()
            if self.master in ready:
                self._read_container()
            if waker in ready:
                status = self._signals(pid, os.read(waker, 512))
                if status is not None:
                    while self._read_container():
                        pass
                    return status

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
            data = b"\4"  # VEOF: the end of what was piped in
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
        """Pass on what it says; whether there was anything."""
        try:
            data = os.read(self.master, 65536)
        except BlockingIOError:
            return False
        except OSError:  # EIO: nobody has the other end open, and nobody can open it again
            self.output_open = False
            return False
        while data:
            try:
                data = data[os.write(1, data) :]
            except BlockingIOError:
                select.select([], [1], [])
            except OSError:
                break  # nobody reads our output: the container's must not block on that
        return True

    def _raw(self) -> None:
        """What is typed goes to the container as it is: ^C and ^Z are its terminal's to interpret."""
        try:
            mode = termios.tcgetattr(0)
        except termios.error:
            return
        if self.saved is None:
            self.saved = termios.tcgetattr(0)
        mode[0] &= ~(termios.BRKINT | termios.ICRNL | termios.INPCK | termios.ISTRIP | termios.IXON)
        mode[1] &= ~termios.OPOST
        mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        _set(termios.TCSANOW, mode)

    def _cooked(self) -> None:
        if self.saved is not None:
            _set(termios.TCSADRAIN, self.saved)


def _set(when: int, mode: list) -> None:
    """tcsetattr(3) of standard input. In the background it stops us (SIGTTOU), and once we are in the
    foreground it is to be said again."""
    while True:
        try:
            return termios.tcsetattr(0, when, mode)
        except termios.error as error:
            if error.args[0] != abi.EINTR:
                return None  # EIO: it was hung up, or nobody is left who could bring us to the foreground
