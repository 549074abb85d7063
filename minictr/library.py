"""The library: containers from a program in Python, in the manner of `subprocess`.

    done = minictr.run(["make"], rootfs="/srv/debian", volumes=["/src:/src"], capture_output=True)

    with minictr.Container(["httpd", "-f"], rootfs="/srv/www", hostname="web") as web:
        web.exec(["wget", "-qO-", "http://127.0.0.1/"], check=True)

Options are those of `minictr run`, with underscores: hostname="x", cap_add=["NET_ADMIN"], read_only=True.
They become that command line, and go its way. A list, or a dict, gives one several times.

Side: host
"""

import _thread
import os
import time

from .attended import DEVNULL, PIPE, STDOUT, Attended, Codec, CompletedProcess, IsolationError, error_from
from .errors import ContainerError
from .service import open as open_service

__all__ = [
    "DEVNULL", "PIPE", "STDOUT", "CompletedProcess", "Container", "ContainerError", "IsolationError", "run",
]  # fmt: skip

# Names that read better of several
_PLURALS = {
    name + "s": name
    for name in ("volume", "mount", "device", "ulimit", "annotation", "sysctl", "time-offset", "env-file")
}
_COLON = ("volume", "device", "tmpfs")  # what stands between key and value of a dict; elsewhere "="


def run(
    args=None, *, input=None, stdin=None, stdout=None, stderr=None, capture_output: bool = False,
    timeout: "float | None" = None, check: bool = False, text: bool = False,
    encoding: "str | None" = None, errors: "str | None" = None, root="", config=None, **options: object
) -> CompletedProcess:  # fmt: skip
    """Make a container, run ARGS in it, wait for the end, remove it: a CompletedProcess.

    args: the words of the command; None with bundle=DIR or config={...}, which have it themselves
    input, stdin, stdout, stderr, capture_output, text, encoding, errors: as in subprocess.run
    timeout: seconds, after which every process of the container is killed, and TimeoutExpired raised
    check: raise CalledProcessError if the program fails
    root: where containers are remembered, "" for the usual place
    config: a configuration in OCI form; relative paths in it start from bundle=, or the current directory
    options: those of `minictr run`, such as rootfs=, volumes=, memory=, user=, network=

    Nothing is printed: what the command would warn of is in the result's `warnings` and `degradations`.
    Raises ContainerError if the program could not be run: its `status` is the exit status that the
    command has then (125; 126 and 127 for a program that cannot be executed, or is not there).
    """
    if capture_output:
        if stdout is not None or stderr is not None:
            raise ValueError("stdout and stderr may not be used with capture_output")
        stdout = stderr = PIPE
    if input is not None:
        if stdin is not None:
            raise ValueError("stdin may not be used with input")
        stdin = PIPE
    if options.get("detach"):
        raise ValueError("run() waits for the end: use Container(..., detach=True)")
    wish = _wish(args, root, config, options)
    program = Attended("run", wish, wish["args"], (stdin, stdout, stderr))
    return _complete(program, Codec(text, encoding, errors), input, timeout, check)


def _complete(program: Attended, codec: Codec, data, timeout: "float | None", check: bool):
    deadline = None if timeout is None else time.monotonic() + timeout
    data = codec.encode(data)
    try:
        program.start()
        over = program.pump(program.all_over, deadline, data)
        if not over:
            program.end()
    except BaseException:
        program.end()
        raise
    finally:
        program.close()
    out, err = program.taken(codec)
    if not over:
        from .failures import TimeoutExpired  # subprocess: 8 ms

        raise TimeoutExpired(program.args, timeout or 0, out, err)
    if program.error is not None:
        raise program.error
    done = program.result
    assert done is not None
    done.stdout, done.stderr = out, err
    if check:
        done.check_returncode()
    return done


class Container:
    """A container, from `start` (or the head of a `with`) to `remove` (or the end of it).

    args, root, config, options: as of `run`; stdin, stdout, stderr: as of subprocess.Popen, and with PIPE
    the files of these names are there after `start`

    It ends with the process that made it, unless detach=True, and whichever thread that was.
    id, pid: strings and numbers from `start` on; status: new, running, paused or stopped
    """

    def __init__(
        self, args=None, *, stdin=None, stdout=None, stderr=None, text: bool = False,
        encoding: "str | None" = None, errors: "str | None" = None, root="", config=None, **options: object
    ) -> None:  # fmt: skip
        self._wish = _wish(args, root, config, options)
        self.args, self.detached = self._wish["args"], bool(options.get("detach"))
        self._codec = Codec(text, encoding, errors)
        self._program = Attended("run", self._wish, self.args, (stdin, stdout, stderr))
        self._lock = _thread.allocate_lock()
        self.stdin = self.stdout = self.stderr = None  # type: object
        self.id, self.pid = "", 0

    def start(self) -> "Container":
        """Make it; on return its program runs. Raises ContainerError."""
        program = self._program
        if program.talk is not None:
            raise ContainerError("start the container", "it was started before")
        try:
            program.start()
            program.pump(lambda: program.running is not None or program.ended, streams=False)
        except BaseException:
            program.end()
            raise
        if program.error is not None:
            program.close()
            raise program.error
        assert program.running is not None
        self.id, self.pid = program.running
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            if number in program.ends:
                file = os.fdopen(program.ends[number], "rb" if number else "wb", 0 if not number else -1)
                del program.ends[number]  # the file's to close
                setattr(self, name, self._codec.file(file))
        return self

    def wait(self, timeout: "float | None" = None) -> CompletedProcess:
        """Until it has ended, and nothing is left of it.

        Raises TimeoutExpired after TIMEOUT seconds; it runs on then.
        """
        program = self._begun("wait for")
        if self.detached:
            raise ContainerError(
                "wait for container %s" % self.id, "it is detached: its end is told to nobody"
            )
        deadline = None if timeout is None else time.monotonic() + timeout
        over = self._lock.acquire(True, -1 if timeout is None else timeout)
        if over:  # else another thread waits
            try:
                over = program.ended or program.pump(lambda: program.ended, deadline, streams=False)
            finally:
                self._lock.release()
        if not over:
            from .failures import TimeoutExpired  # subprocess: 8 ms

            raise TimeoutExpired(self.args, timeout or 0)
        if program.error is not None:
            raise program.error
        assert program.result is not None
        return program.result

    def exec(
        self, args, *, input=None, stdin=None, stdout=None, stderr=None, capture_output: bool = False,
        timeout: "float | None" = None, check: bool = False, text: bool = False,
        encoding: "str | None" = None, errors: "str | None" = None, **options: object
    ) -> CompletedProcess:  # fmt: skip
        """Run a further program in it: a CompletedProcess.

        options: those of `minictr exec`: user=, env=, cwd= (or workdir=), cap=, no_new_privs= ...
        timeout: seconds, after which the program (but not what it has started) is killed
        The rest is as in `run`.
        """
        self._begun("exec in")
        if capture_output:
            stdout = stderr = PIPE
        if input is not None:
            stdin = PIPE
        if "workdir" in options:
            options["cwd"] = options.pop("workdir")
        words = [_word(item) for item in args]
        argv = _argv(options) + [self.id, "--"] + words
        wish = {"argv": argv, "root": self._wish["root"], "environ": dict(os.environ)}
        program = Attended("exec", wish, words, (stdin, stdout, stderr))
        return _complete(program, Codec(text, encoding, errors), input, timeout, check)

    def kill(self, signal: "str | int" = "TERM", all: bool = False) -> None:
        """Send a signal (by name or number) to its first process; with ALL, to every one.

        Raises ContainerError "container not running" if it has ended."""
        self._begun("kill")
        word = signal if isinstance(signal, str) else str(int(signal))
        self._verb("kill", (["--all"] if all else []) + [self.id, word])

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
        self._verb("update", _argv(limits) + [self.id])

    def stats(self) -> "dict":
        """What it uses: the `data` of `minictr events --stats` (nanoseconds, bytes)."""
        self._begun("measure")
        return self._verb("stats", [self.id])  # type: ignore[return-value]

    def state(self) -> "dict":
        """Its OCI state; {} if it is not known any more."""
        return self._verb("state", [self.id]) or {} if self.id else {}  # type: ignore[return-value]

    @property
    def status(self) -> str:
        """new, running, paused or stopped"""
        if not self.id:
            return "new"
        if not self.detached and self._ended():
            return "stopped"
        return self.state().get("status", "stopped")

    @property
    def degradations(self) -> "list":
        """An errors.Degradation for each protection that was not to be had as it was wanted."""
        from .errors import Degradation

        records = getattr(self._program, "records", [])
        return [Degradation(**record) for record in records]

    def _ended(self) -> bool:
        if not self._program.ended and self._lock.acquire(False):
            try:
                self._program.pump(lambda: self._program.ended, time.monotonic(), streams=False)
            finally:
                self._lock.release()
        return self._program.ended

    def remove(self) -> None:
        """End it, whatever it does, and clean up. Of one that is gone nothing is to be done."""
        if self.id and self.detached:
            self._verb("delete", ["--force", self.id])
        elif self._program.talk is not None:
            self._program.talk.say("end")
            with self._lock:
                self._program.end()
        self._program.close()
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                try:
                    file.close()  # type: ignore[attr-defined]
                except BrokenPipeError:
                    pass  # nobody has read what was written

    def __enter__(self) -> "Container":
        return self if self.id else self.start()

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return "Container(%r, id=%r, pid=%d)" % (self.args, self.id, self.pid)

    def _begun(self, doing: str) -> Attended:
        if not self.id:
            raise ContainerError("%s the container" % doing, "it was not started")
        return self._program

    def _verb(self, name: str, argv: "list[str]") -> object:
        wish = {"name": name, "argv": argv, "root": self._wish["root"], "environ": dict(os.environ)}
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            talk = open_service((null, null, null), "verb", wish)
        finally:
            os.close(null)
        try:
            said = talk.hear()
        finally:
            talk.close()
        if said is None:
            raise ContainerError("%s container %s" % (name, self.id), "the library's helper was killed")
        if said[0] == "error":
            raise error_from(said)
        return said[1]


# --- keywords to a command line ---------------------------------------------------------------


def _wish(args, root, config: "dict | None", options: "dict[str, object]") -> "dict":
    """What a worker is asked for. Raises ValueError and TypeError for what is no request."""
    bundled = config is not None or "bundle" in options
    if isinstance(args, (str, bytes)):
        raise TypeError("args is a list of words: there is no shell to split %r" % (args,))
    if bundled == (args is not None):
        raise ValueError("either args, or a bundle or configuration, which has its own")
    for name in ("help", "json", "tty", "interactive"):
        if options.get(name):
            raise ValueError("%s=True is for the command line alone" % name)
    words = None if bundled else [_word(word) for word in args]
    identifier = options.pop("name", None)
    if bundled:
        argv = _argv(options) + [_word(identifier) if identifier else os.urandom(6).hex()]
    else:
        argv = _argv(dict(options, name=identifier)) + ["--"] + (words or [])
    root = os.path.abspath(_word(root)) if root else ""
    return {"argv": argv, "args": words, "root": root, "config": config, "environ": dict(os.environ)}


def _argv(options: "dict[str, object]") -> "list[str]":
    """hostname="x", cap_add=["A", "B"], env={"K": "v"}, init=True: --hostname=x --cap-add=A ..."""
    words = []
    for key, value in options.items():
        name = key.replace("_", "-")
        name = _PLURALS.get(name, name)
        if value is None or value is False:
            continue
        if isinstance(value, dict):
            mark = ":" if name in _COLON else "="
            value = [_word(item) + (mark + _word(given) if given else "") for item, given in value.items()]
        for item in value if isinstance(value, (list, tuple, set, frozenset)) else (value,):
            words.append("--%s=%s" % (name, "true" if item is True else _word(item)))
    return words


def _word(value: object) -> str:
    if isinstance(value, (int, float)):
        return str(value)
    return os.fsdecode(value)  # type: ignore[arg-type]
