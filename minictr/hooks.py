"""Hooks: programs of the host that are told of a container's steps, its state on their standard input.

    runtime     prestart, createRuntime   the namespaces exist, the root is not yet changed
    init        createContainer           the same moment, inside
    init        startContainer            just before the program
    runtime     poststart, poststop       the program runs; the container is gone

A hook gets its own environment and none of ours, / as its directory, and no descriptor but the
standard ones (CVE-2025-23266). startContainer's, which are inside and held as the program is, have the
program's environment if they say none, as runc and crun have it. Source: runtime-spec config.md
"POSIX-platform Hooks", runtime.md "Lifecycle".

Side: both
"""

import _signal  # `signal` imports enum: 3 ms
import fcntl
import select
import time

from . import document, paths, standin
from . import unix as os
from .errors import ContainerError, printable
from .record import Record

NAMES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
TOLD = 1024  # how much of what a failing hook says is shown, bytes
CHANNEL = 3  # where a stand-in says that it could not execute the hook


class Hook(Record):
    """path: absolute; args: with args[0], () for the path alone; timeout: seconds, 0 for none"""

    name: str
    path: str
    args: "tuple[str, ...]" = ()
    env: "tuple[str, ...]" = ()
    timeout: int = 0


def parse(config: "dict", inside: "tuple[str, ...]" = ()) -> "dict[str, tuple[Hook, ...]]":
    """The hooks of a configuration, by name; those that it has. inside: the program's environment"""
    found = {}
    for name in NAMES:
        entries = config.get(name) or ()
        unsaid = inside if name == "startContainer" else ()
        hooks = tuple(
            [
                Hook(
                    name=name,
                    path=entry["path"],
                    args=tuple(entry.get("args") or ()),
                    env=unsaid if entry.get("env") is None else tuple(entry["env"]),
                    timeout=entry.get("timeout") or 0,
                )
                for entry in entries
            ]
        )
        if hooks:
            found[name] = hooks
    return found


class Hold(Record):
    """How a hook is held that is looked up inside.

    guard: a stand-in, made with CHANNEL, that executes hooks in our place: one of the image's may lead to
        our executable as any program may (CVE-2019-5736); -1 for none
    proc: the genuine /proc, from paths.open_proc
    begin: called in the hook's own process while it can open files; descriptors that GUARD needs come back
    end: called last of all before the hook is executed
    """

    guard: int
    proc: int
    begin: object
    end: object


def run(hooks: "tuple[Hook, ...]", state: "dict", hold: "Hold | None" = None) -> None:
    """Run HOOKS in order. Raises ContainerError at the first that fails."""
    text = document.dumps(state).encode()
    for hook in hooks:
        _run(hook, text, hold)


def run_all(hooks: "tuple[Hook, ...]", state: "dict", warn) -> None:
    """Run HOOKS in order, whatever comes of them. warn: called with the ContainerError of one that fails"""
    for hook in hooks:
        try:
            run((hook,), state)
        except ContainerError as error:
            warn(error)


def _run(hook: Hook, text: bytes, hold: "Hold | None") -> None:
    doing = "run the %s hook %s" % (hook.name, printable(hook.path))
    told, tell = os.pipe()
    said, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(hook, told, say, hold)
    os.close(told)
    os.close(say)
    try:
        status, output = _attend(pid, hook.timeout, tell, text, said)
    except BaseException:  # a signal: the container goes, and the hooks for that come next
        _end(pid)
        raise
    if status is None:
        raise ContainerError(doing, "it took more than %d seconds" % hook.timeout)
    if status:
        if hold and hold.guard >= 0:
            output = _without_guard(status, output)
        ending = (
            "exit status %d" % os.WEXITSTATUS(status)
            if os.WIFEXITED(status)
            else "signal %d" % os.WTERMSIG(status)
        )
        raise ContainerError(doing, "%s: %s" % (ending, printable(output.strip()) or "it said nothing"))


def _end(pid: int) -> None:
    try:
        if not os.waitpid(pid, os.WNOHANG)[0]:
            os.kill(pid, _signal.SIGKILL)
            os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # it was just waited for


def _without_guard(status: int, output: bytes) -> bytes:
    """What has been said, and be it by the stand-in: a word, a tab, a byte and a newline as it ends with 127.
    A hook may say the like."""
    if output[:6] not in (b"errno\t", b"label\t") or output[7:] != b"\n":
        return output
    return os.strerror(standin.errno_from(os.fsdecode(output)[6])).encode() if status == 127 << 8 else output


def _become(hook: Hook, told: int, say: int, hold: "Hold | None") -> None:
    """In the child. Never returns."""
    program, arguments = hook.path, list(hook.args) or [hook.path]  # type: str | int, list[str]
    try:
        for source, target in ((told, 0), (say, 1), (say, 2)):
            os.dup2(source, target)
        kept = list(hold.begin()) if hold else []  # type: ignore[operator]
        if hold and hold.guard >= 0:
            program, arguments = _above_channel(hold.guard), [hook.path] + arguments
            os.dup2(2, CHANNEL)
            kept += [CHANNEL, program]
        paths.close_from(3, kept, hold.proc if hold else paths.open_proc())
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGCHLD):
            _signal.signal(number, _signal.SIG_DFL)
        os.chdir("/")
        environment = dict([word.split("=", 1) for word in hook.env if "=" in word])
        if hold:
            hold.end()  # type: ignore[operator]
        os.execve(program, arguments, environment)
    except OSError as error:
        os.write(2, os.strerror(error.errno or 0).encode())
    except ContainerError as error:
        os.write(2, os.fsencode(str(error)))
    finally:
        os._exit(127)


def _above_channel(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, CHANNEL + 1)


def _attend(pid: int, timeout: int, tell: int, text: bytes, said: int) -> "tuple[int | None, bytes]":
    """Write TEXT and read what the hook says until it has ended: its wait status, None if it had to be killed
    after TIMEOUT seconds; and the first words. A process that it leaves may keep both ends open."""
    deadline, pause, output = time.monotonic() + timeout, 0.001, b""
    poll, status = select.poll(), None
    for end, event in ((tell, select.POLLOUT), (said, select.POLLIN)):
        os.set_blocking(end, False)
        poll.register(end, event)
    while status is None and not (timeout and time.monotonic() > deadline):
        ready = [end for end, _ in poll.poll(1000 * pause)]
        if tell in ready:
            text = text[_write(tell, text) :]
            if not text:
                poll.unregister(tell)
                os.close(tell)
        if said in ready:
            data = _read(said)
            output += data[: TOLD - len(output)]
            if not data:
                poll.unregister(said)
        found, ending = os.waitpid(pid, os.WNOHANG)
        status = ending if found else None
        pause = min(pause * 2, 0.05)
    if text:
        os.close(tell)
    if status is None:
        os.kill(pid, _signal.SIGKILL)
        os.waitpid(pid, 0)
    output += _read(said)[: TOLD - len(output)]
    os.close(said)
    return status, output


def _write(descriptor: int, data: bytes) -> int:
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        return 0
    except OSError:
        return len(data)  # a hook that does not read, or has ended: its exit status tells


def _read(descriptor: int) -> bytes:
    """What is there, b"" for nothing."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
