"""The library: containers from a program in Python, in the manner of `subprocess`.

    done = minictr.run(["make"], rootfs="/srv/debian", volumes=["/src:/src"], capture_output=True)

    with minictr.Container(["httpd", "-f"], rootfs="/srv/www", hostname="web") as web:
        web.exec(["wget", "-qO-", "http://127.0.0.1/"], check=True)

    web = minictr.Container.get("web")  # made by somebody else
    print(web.status, web.stats()["memory"], web.wait().returncode)

Options are those of `minictr run`, with underscores: hostname="x", cap_add=["NET_ADMIN"], read_only=True.
They become that command line, and go its way. A list, or a dict, gives one several times.

Side: host
"""

import _thread
import os
import time

from . import asking, keywords
from .attended import DEVNULL, PIPE, STDOUT, Attended, CompletedProcess, Ending, IsolationError
from .errors import ContainerError, Degradation
from .whole import Codec, complete, three

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Sequence, Union

    from .attended import Stream
    from .watch import Watch

    Path = Union[str, "os.PathLike[str]"]
    File = Union[IO[Any], None]
    Words = Sequence[Union[Path, bytes, float]]  # numbers are written out

__all__ = [
    "DEVNULL", "PIPE", "STDOUT", "CompletedProcess", "Container", "ContainerError", "Ending",
    "IsolationError", "containers", "run",
]  # fmt: skip


def run(
    args: "Words | None" = None, *, input: "bytes | str | None" = None, stdin: "Stream" = None,
    stdout: "Stream" = None, stderr: "Stream" = None, capture_output: bool = False,
    timeout: "float | None" = None, check: bool = False, text: "bool | None" = None,
    encoding: "str | None" = None, errors: "str | None" = None, universal_newlines: "bool | None" = None,
    root: "Path" = "", config: "dict | None" = None, **options: object
) -> CompletedProcess:  # fmt: skip
    """Make a container, run ARGS in it, wait for the end, remove it: a CompletedProcess.

    args: the words of the command; None with bundle=DIR or config={...}, which have it themselves
    input, stdin, stdout, stderr, capture_output, text, encoding, errors, universal_newlines: as in
        subprocess.run, where the last is the older name of text
    timeout: seconds, after which every process of the container is killed, and TimeoutExpired raised,
        with what was captured by then, in bytes as in subprocess, text=True or not
    check: raise CalledProcessError if the program fails
    root: where containers are remembered, "" for the usual place
    config: a configuration in OCI form; relative paths in it start from bundle=, or the current directory
    options: those of `minictr run`, such as rootfs=, volumes=, memory=, user=, network=; None or False is
        for none, so rootfs=None for the host's own root

    Nothing is printed: what the command would warn of is in the result's `warnings` and `degradations`.
    Raises ContainerError if the program could not be run: its `status` is the exit status that the
    command has then (125; 126 and 127 for a program that cannot be executed, or is not there).
    """
    streams = three(input, stdin, stdout, stderr, capture_output)
    codec = Codec(text, encoding, errors, universal_newlines)
    if options.get("detach"):
        raise ValueError("run() waits for the end: use Container(..., detach=True)")
    wish = keywords.request(args, root, config, options)
    program = Attended("run", wish, wish["args"], streams)
    return complete(program, codec, input, timeout, check)


class Container:
    """A container, from `start` (or the head of a `with`) to `remove` (or the end of it).

    args, root, config, options: as of `run`; stdin, stdout, stderr: as of subprocess.Popen, and with PIPE
    the files of these names are there after `start`, buffered as there: what is written is to be flushed; not
    with detach=True

    With tty=True, or a bundle that wants one, its streams are a terminal of its own, and `terminal` is the
    other end: a file, unbuffered, to be read and written, closed by `remove`. Reading it raises OSError EIO
    once nobody inside has it open; termios.tcsetwinsize sets its size (ioctl TIOCSWINSZ before Python 3.11).

    It ends with the process that made it, unless detach=True, and whichever thread that was (before Linux 5.3
    once no child forked since lives, either); and with the last reference to this object. One that exists
    already, whoever has made it, is had by `get`: a `with` leaves that one as it is.

    id, pid: strings and numbers from `start` on
    status: new, running, paused or stopped; of one that was got also creating or created
    detached: it does not end with this process; one that was got does not either, and of both a descriptor
    is held as long as the object is there
    """

    def __init__(
        self, args: "Words | None" = None, *, stdin: "Stream" = None, stdout: "Stream" = None,
        stderr: "Stream" = None, text: "bool | None" = None, encoding: "str | None" = None,
        errors: "str | None" = None, universal_newlines: "bool | None" = None, root: "Path" = "",
        config: "dict | None" = None, **options: object
    ) -> None:  # fmt: skip
        if options.get("tty") and (stdin, stdout, stderr) != (None, None, None):
            raise ValueError("stdin, stdout and stderr may not be used with tty: they are the terminal")
        if options.get("detach") and args is not None and not {stdin, stdout, stderr} <= {None, DEVNULL}:
            raise ValueError("a detached program has none of our streams: log_file= takes what it prints")
        wish = keywords.request(args, root, config, options, terminal=True)
        program = Attended("run", wish, wish["args"], (stdin, stdout, stderr))
        self._set(wish["root"], wish["args"], bool(options.get("detach")), program)
        self._codec = Codec(text, encoding, errors, universal_newlines)

    def _set(
        self, root: str, args: "list[str] | None", detached: bool, program: "Attended | None"
    ) -> None:  # fmt: skip
        self._root, self.args, self.detached, self._program = root, args, detached, program
        self._lock = _thread.RLock()  # a signal handler may call us in the midst of a call
        self._records = []  # type: list[dict]
        self._created = ""  # when; that tells it from a later one with its id
        self._watch = None  # type: Watch | None
        self._end = None  # type: Ending | None
        self.stdin = self.stdout = self.stderr = self.terminal = None  # type: File
        self.id, self.pid = "", 0

    @classmethod
    def get(cls, id: str, *, root: "Path" = "") -> "Container":
        """The container ID that exists already: made by the command line, by another process, or by an
        earlier run of this program. The word is that of docker-py and podman-py (`containers.get`);
        `attach` is there for the streams, which only the maker of a container can have.

        It does not end with this process, nor with a `with`, which only lets go of it: `remove` ends it.
        While it is made it has status "creating" and no pid; one of `minictr create` can be started.
        Raises ContainerError "container does not exist".
        """
        place = keywords.place(root)
        found = asking.ask(place, "look", [keywords.text(id)])
        if found is None:
            raise ContainerError("", "container does not exist: %s" % id)
        return cls._of(place, found)  # type: ignore[arg-type]

    @classmethod
    def _of(cls, root: str, found: "dict") -> "Container":
        self = cls.__new__(cls)
        self._set(root, found["args"], True, None)
        self.id = found["id"]
        self._meet(found)
        return self

    def _meet(self, found: "dict", kept: bool = False) -> None:
        """Take note of what is known of it, and hold its process from now on. kept: as of Watch"""
        self.pid, self._created, self._records = found["pid"], found["created"], found["degradations"]
        if self.pid:
            from .watch import Watch  # not for those that end with us

            self._watch = Watch(self.pid, found["start_time"], kept)

    def start(self) -> "Container":
        """Make it; on return its program runs. Raises ContainerError.

        Of one that was got: let the program of a created container run."""
        program = self._program
        if program is None:
            self._verb("start", [self.id])
            return self
        with self._lock:
            if program.maker:
                raise ContainerError("start the container", "it was started before")
            try:
                program.start()
                program.pump(lambda: program.running is not None or program.ended, streams=False)
                if program.running is not None:
                    self._take_streams(program)
                    self._hold(program)
            except BaseException:
                program.end()
                raise
        if program.failed is not None:
            program.close()
            raise program.failure()
        return self

    def _is_ours(self) -> bool:
        """Whether this process has made it. One that was forked since has our object, too, and no share in
        what its worker tells us: there it is as if it were got."""
        return self._program is not None and self._program.maker in (0, os.getpid())

    def _take_streams(self, program: Attended) -> None:
        """From now on our ends of pipes are the files' to close."""
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            if number in program.ends:
                file = os.fdopen(program.ends.pop(number), "rb" if number else "wb")
                setattr(self, name, self._codec.file(file))
        if program.terminal >= 0:
            self.terminal, program.terminal = os.fdopen(program.terminal, "r+b", 0), -1

    def _hold(self, program: Attended) -> None:
        assert program.running is not None
        self.id, self.pid = program.running
        self._records = program.records
        started, self._created = program.mark
        if self.detached:
            known = {"pid": self.pid, "start_time": started, "created": self._created}
            self._meet(dict(known, degradations=self._records), True)
            program.say("held")  # else its worker would remove it

    def wait(self, timeout: "float | None" = None) -> Ending:
        """Until it has ended, and whoever stands behind it has cleaned up.

        What comes back is a CompletedProcess, for one that ends with this process. A detached one, and
        one that was got, is no child of ours: its `returncode` is that of its first process if the kernel
        tells it (Linux 6.15, where the container was started or got before its end, and its parent waits for
        it within TIMEOUT and 5 seconds); else what `minictr run --keep` has noted (128+N for signal N, and
        then no `signal`); else None, which `check_returncode` takes for an error.

        Raises TimeoutExpired after TIMEOUT seconds; it runs on then.
        """
        self._begun("wait for")
        deadline = None if timeout is None else time.monotonic() + timeout
        here = self._is_ours() and not self.detached
        done = self._here(deadline) if here else self._elsewhere(deadline)
        if done is None:
            from .failures import TimeoutExpired  # subprocess: 8 ms

            raise TimeoutExpired(self.args or self.id, timeout or 0)
        return done

    def _here(self, deadline: "float | None") -> "CompletedProcess | None":
        """The end of one that a worker stands behind. None if it is not over at the time DEADLINE."""
        program = self._program
        assert program is not None
        left = -1 if deadline is None else max(deadline - time.monotonic(), 0)
        over = self._lock.acquire(True, min(left, _thread.TIMEOUT_MAX))
        if over:  # else another thread waits
            try:
                over = program.ended or program.pump(lambda: program.ended, deadline, streams=False)
            finally:
                self._lock.release()
        if not over:
            return None
        if program.failed is not None:
            raise program.failure()
        assert program.result is not None
        return program.result

    def _elsewhere(self, deadline: "float | None") -> "Ending | None":
        """The end of one that is no child of ours. None if it is not over at the time DEADLINE."""
        if self._end is not None:
            return self._end
        if self._watch is None:
            self._look_again()
        watch = self._watch
        if watch is not None and not watch.over(deadline):
            return None
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        noted = asking.ask(self._root, "ending", [self.id, self._created, left])
        if noted is None:
            return None
        done = self._ending(watch, noted, deadline)  # type: ignore[arg-type]
        if done.returncode is not None:
            self._end = done
        return done

    def _look_again(self) -> None:
        """There was no process when we looked: it was being made, or is over."""
        found = asking.ask(self._root, "look", [self.id])
        if found is None:
            return
        if self._created in ("", found["created"]):  # type: ignore[index]
            self._meet(found)  # type: ignore[arg-type]
        if self.state().get("status") == "creating":
            raise ContainerError("wait for container %s" % self.id, "it is only being made")

    def _ending(self, watch: "Watch | None", noted: "dict", deadline: "float | None") -> Ending:
        done = Ending(self.args, self.id, None if watch is None else watch.status(deadline))
        if done.returncode is None:
            done.returncode = noted.get("status")
        done.oom_killed = bool(noted.get("oom"))
        done.degradations = self.degradations
        return done

    def exec(
        self, args: "Words", *, input: "bytes | str | None" = None, stdin: "Stream" = None,
        stdout: "Stream" = None, stderr: "Stream" = None, capture_output: bool = False,
        timeout: "float | None" = None, check: bool = False, text: "bool | None" = None,
        encoding: "str | None" = None, errors: "str | None" = None, universal_newlines: "bool | None" = None,
        **options: object
    ) -> CompletedProcess:  # fmt: skip
        """Run a further program in it: a CompletedProcess.

        options: those of `minictr exec`: user=, env=, cwd= (or workdir=), cap=, no_new_privs= ...
        timeout: seconds, after which the program (but not what it has started) is killed; what that prints
            then is not waited for, while without a timeout output ends where nobody has it open any more
        The rest is as in `run`.
        """
        self._begun("exec in")
        streams = three(input, stdin, stdout, stderr, capture_output)
        codec = Codec(text, encoding, errors, universal_newlines)
        if options.get("detach"):
            raise ValueError("exec() waits for the end of the program")
        if "workdir" in options:
            options["cwd"] = options.pop("workdir")
        words = keywords.words(args)
        wish = asking.request(
            self._root, keywords.flags(options) + [self.id, "--"] + words, self.id, self._created
        )
        program = Attended("exec", wish, words, streams)
        return complete(program, codec, input, timeout, check)

    def kill(self, signal: "str | int" = "TERM", all: bool = False) -> None:
        """Send a signal (by name or number) to its first process; with ALL, to every one.

        Raises ContainerError "container not running" if it has ended."""
        self._begun("kill")
        self._verb("kill", (["--all"] if all else []) + [self.id, keywords.text(signal)])

    def pause(self) -> None:
        """Freeze every process of it."""
        self._begun("pause")
        self._verb("pause", [self.id])

    def resume(self) -> None:
        """Let them go on."""
        self._begun("resume")
        self._verb("resume", [self.id])

    def update(self, **limits: object) -> None:
        """Change limits: the options of `minictr update`: memory="64m", pids_limit=20, cpu_quota=..."""
        self._begun("update")
        self._verb("update", keywords.flags(limits) + [self.id])

    def stats(self) -> "dict":
        """What it uses: the `data` of `minictr events --stats` (nanoseconds, bytes)."""
        self._begun("measure")
        return self._verb("stats", [self.id])  # type: ignore[return-value]

    def state(self) -> "dict":
        """Its OCI state; {} if it is not known any more."""
        found = asking.ask(self._root, "state", [self.id, self._created]) if self.id else None
        return found or {}  # type: ignore[return-value]

    @property
    def status(self) -> str:
        """new, running, paused or stopped; creating or created"""
        if not self.id:
            return "new"
        if self._is_ours() and not self.detached and self._ended():
            return "stopped"
        return self.state().get("status", "stopped")

    @property
    def degradations(self) -> "list[Degradation]":
        """An errors.Degradation for each protection that was not to be had as it was wanted."""
        return [Degradation(**record) for record in self._records]

    def _ended(self) -> bool:
        program = self._program
        assert program is not None
        if not program.ended and self._lock.acquire(False):
            try:
                program.pump(lambda: program.ended, time.monotonic(), streams=False)
            finally:
                self._lock.release()
        return program.ended

    def remove(self) -> None:
        """End it, whatever it does, and clean up. Of one that is gone nothing is to be done."""
        program = self._program if self._is_ours() else None
        if self.id and (self.detached or program is None):
            asking.ask(self._root, "remove", [self.id, self._created])
        elif program is not None and program.talk is not None:
            program.say("end")
            with self._lock:
                program.end()
        if program is not None:
            program.close()
        for file in (self.stdin, self.stdout, self.stderr, self.terminal):
            if file is not None:
                try:
                    file.close()
                except BrokenPipeError:
                    pass  # nobody has read what was written
                except ValueError:
                    pass  # another thread has closed it meanwhile (no GIL), or the program has detached it

    def __enter__(self) -> "Container":
        return self if self.id else self.start()

    def __exit__(self, *_: object) -> None:
        if self._is_ours():
            self.remove()

    def __repr__(self) -> str:
        return "Container(%r, id=%r, pid=%d)" % (self.args, self.id, self.pid)

    def _begun(self, doing: str) -> None:
        if not self.id:
            raise ContainerError("%s the container" % doing, "it was not started")

    def _verb(self, name: str, argv: "list[str]") -> object:
        return asking.ask(self._root, name, argv, self.id, self._created)


def containers(root: "Path" = "") -> "list[Container]":
    """Those that exist, whoever has made them, each as of `Container.get`, by their ids in order."""
    place = keywords.place(root)
    return [Container._of(place, found) for found in asking.ask(place, "list", [])]  # type: ignore[attr-defined]
