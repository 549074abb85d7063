"""The program to be executed: where it is, by the container's own PATH, and why it cannot be.

Side: both
"""

from . import abi, paths
from . import unix as os
from .errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, ContainerError
from .sync import Channel, error_from, understood


def find(name: str, environment: "dict[str, str]") -> "list[str]":
    """Where NAME may be executed, as execvp(3) looks, by the container's own PATH."""
    if "/" in name:
        found = [name]
        try:
            os.stat(found[0])
        except OSError as error:
            raise exec_error(name, error.errno or 0, found=False) from None
        if os.path.isdir(found[0]):
            raise exec_error(name, abi.EISDIR)
    else:
        places = environment.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").split(":")
        found = [os.path.join(place or ".", name) for place in places]
        found = [path for path in found if os.path.exists(path) and not os.path.isdir(path)]
        if not found:
            raise exec_error(name, 0)
    return [path for path in found if os.access(path, os.X_OK)] or found


def exec_error(name: str, number: int, found: bool = True) -> ContainerError:
    """In the words that engines match. NUMBER 0: not in the path; FOUND: there is such a file."""
    if number == 0:
        why, hint = "executable file not found in $PATH", ""
        if " " in name:
            hint = "it is one word, blanks and all; a shell takes it apart: sh -c 'COMMAND ...'"
        return ContainerError('exec: "%s"' % name, why, 0, hint, EXIT_NOT_FOUND)
    if number in (abi.ENOENT, abi.ENOTDIR, abi.ELOOP, abi.ENAMETOOLONG):
        why, hint = "stat %s: no such file or directory" % name, ""
        if number != abi.ENOENT:  # which no engine takes for 127
            why = "stat %s: %s: no such file or directory" % (name, os.strerror(number).lower())
        if found:  # execve(2) says the same of what a script or a dynamic program names
            why, hint = "no such file or directory", "its interpreter or loader is missing in the root"
        return ContainerError('exec: "%s"' % name, why, number, hint, EXIT_NOT_FOUND)
    why = os.strerror(number).lower()
    if number == abi.EISDIR:  # which older engines do not take for 126
        why += ": permission denied"
    return ContainerError('exec: "%s"' % name, why, number, _HINTS.get(number, ""), EXIT_NOT_EXECUTABLE)


_HINTS = {
    abi.EACCES: "it takes the x of its mode for this user, and a mount without noexec",
    abi.EAGAIN: "its user has more processes than ulimit -u of the caller allows",
    abi.ENOEXEC: "a script takes a #! line, or: sh SCRIPT; a program is for one kind of processor",
}


def check(name: str, candidates: "list[str]") -> None:
    """Raise what stops NAME from being executed, as far as that is known before: engines ask `create`."""
    if not any(os.access(path, os.X_OK) for path in candidates):
        raise exec_error(name, abi.EACCES)


def names_home(process: "dict") -> bool:
    """PROCESS has a HOME of its own. An empty one is none, as with runc."""
    return bool(environment(process.get("env") or ()).get("HOME"))


def environment(words: "tuple[str, ...]") -> "dict[str, str]":
    """Later entries win, as the C library's getenv(3) would not have it: but every engine's do."""
    return dict([word.split("=", 1) for word in words if "=" in word])


def until_running(channel: Channel, command: str) -> bool:
    """Wait until COMMAND runs: the channel closes on execve. Raises what stopped that.

    It closes, too, when the process is killed (`executed`). So that hooks had come to their end is said
    before: whether it was, comes back.
    """
    hooked = False
    while True:
        said = channel.hear()
        if said is None:
            return hooked
        hooked = hooked or said[0] == "hooked"
        refuse(said, command)


def refuse(said: "list[str]", command: str) -> None:
    """Raise what SAID says of why COMMAND does not run, if it does."""
    if said[0] in ("errno", "label", "birth"):
        from . import standin  # whose words they are

        with understood(said):
            number = standin.errno_from(said[1])
        if said[0] == "errno":
            raise exec_error(command, number)
        if said[0] == "birth":
            hint = "its limit of processes is reached" if number == abi.EAGAIN else ""
            raise ContainerError("make a process in the container", "", number, hint)
        raise ContainerError("take the security label", "", number)  # though a child of init had got it
    if said[0] == "error":
        raise error_from(said[1:])


def executed(pid: int, command: str, started: int = 0) -> "bool | None":
    """Whether process PID, whose end of the channel is closed, executes COMMAND, or did. It may have been
    killed before: one that has never executed anything is marked so, until it is waited for. None for what
    is gone already.

    started: when, in ticks as /proc has them; for its number may be another's by now; 0 for a child of ours
    """
    head, _, rest = paths.read_text("/proc/%d/stat" % pid).rpartition(")")
    fields = rest.split()  # proc(5): from the third on. The 9th has flags; the 23rd its memory, 0 at the end
    if len(fields) < 21 or (started and abs(int(fields[19]) - started) > 1):  # as of lifetime.runs
        return None
    if fields[20] != "0":
        return True
    # the stand-in is a file in memory: called by its descriptor, since 6.14 by its name
    name = head.partition("(")[2]
    standin = name == "memfd:minictr" or (name.isdigit() and name != os.path.basename(command)[:15])
    return not standin and not int(fields[6]) & abi.PF_FORKNOEXEC
