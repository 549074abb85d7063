"""What must not work in a container, tried out from inside: by the first process of a twin, which has
everything that the container's program would have, except that it executes nothing but, where a label is
asked for, what shows that label (`waiter`).

Each attempt is a function in a process of its own. What it does is harmless where it works, too: it
asks with arguments that the kernel refuses only after it has looked at the rights, or it opens and
does not write. It returns a word of what it could do; OSError is the refusal; Absent says that there
was nothing to try it on.

Nothing is imported while it runs: `twin` has done so before the fork.

Side: container
"""

import _signal  # `signal` imports enum: 3 ms
import os

from . import abi, last, libc, waiter
from . import attempts_powers as powers
from . import attempts_reach as reach
from .bait import Absent, Bait

SECONDS = 5  # for one attempt
SIGNAL = "signal a process of the host"


def probe(me, bait: Bait) -> None:
    """The last stage of the twin, in the place of execve: try everything, tell of each, and wait to be
    looked at from outside; then, where a label is asked for, have a program run under it."""
    waiting = None
    if me.plan.labels:
        waiting = waiter.Waiter(waiter.context_of_program(me))
        if me.standin >= 0:  # then it is the stand-in that would ask for the label
            os.close(me.standin)
            me.standin = -1
    last.confine(me)
    me.channel.say("root", me.way)
    for layer, name, attempt in ATTEMPTS:
        outcome, number, said = _apart(attempt, bait)
        me.channel.say("attempt", layer, name, outcome, number, said)
    try:
        libc.prctl(abi.PR_SET_DUMPABLE, 1)  # or a runtime without privileges could not look
    except OSError:
        pass  # a filter: who has them looks all the same
    me.channel.say("tried")
    said = me.channel.hear()  # until the runtime has looked, or is gone
    if waiting is not None and said == ["execute"]:
        waiting.execute()
        me.channel.say("executed", waiting.pid, waiting.why)
        me.channel.hear()
        waiting.take_away()
    os._exit(0)


def _apart(attempt, bait: Bait) -> "tuple[str, int, str]":
    """Try it in a process of its own: ("possible" | "refused" | "absent", errno, words)."""
    try:
        reader, writer = os.pipe()
    except OSError as error:
        return _untried(error)
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        return _untried(error)
    if pid == 0:
        os.close(reader)
        _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
        _signal.alarm(SECONDS)
        os.write(writer, "\t".join(_tried(attempt, bait)).encode("utf-8", "replace"))
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 4096).decode("utf-8", "replace")
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    if said:
        outcome, number, words = said.split("\t", 2)
        return outcome, int(number), words
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != _signal.SIGALRM:  # SIGSYS, by a filter
        return "refused", 0, "ended by signal %d" % os.WTERMSIG(status)
    return "absent", abi.ETIMEDOUT, "it came to no end"


def _untried(error: OSError) -> "tuple[str, int, str]":
    """By a limit, or a filter. The errno tells it from what there was nothing to try on for."""
    return "absent", error.errno or abi.EAGAIN, "there is no process to try it in"


def _tried(attempt, bait: Bait) -> "tuple[str, str, str]":
    try:
        return "possible", "0", attempt(bait) or "it worked"
    except OSError as error:
        return "refused", str(error.errno or 0), ""
    except Absent as error:
        return "absent", "0", str(error)
    except ValueError:  # the root has a file of its own by the name of one in /proc
        return "absent", str(abi.ENODATA), "what is read there makes no sense"


# layer, what is tried, the function
ATTEMPTS = (
    ("pid", "see a process of the host", reach.see_process),
    ("pid", SIGNAL, reach.signal_process),
    ("pid", "trace a process of the host", reach.trace_process),
    ("root", "open a file of the host by its path", reach.absolute_path),
    ("root", "open it by ..", reach.dotdot),
    ("root", "open it by /proc/PID/root and cwd", reach.other_roots),
    ("root", "open it from a leaked descriptor", reach.leaked_descriptors),
    ("root", "leave the root by chroot", reach.chroot_escape),
    ("root", "open by a file handle", reach.file_handle),
    ("network", "connect to an abstract socket of the host", reach.abstract_socket),
    ("network", "connect to the host's loopback", reach.host_loopback),
    ("user", "become a user of the host", powers.become_host_user),
    ("capabilities", "mount a file system", powers.mount),
    ("capabilities", "call pivot_root", powers.pivot_root),
    ("capabilities", "reboot", powers.reboot),
    ("capabilities", "load a kernel module", powers.load_module),
    ("capabilities", "set the clock", powers.set_clock),
    ("capabilities", "read the kernel's log", powers.kernel_log),
    ("devices", "make a block device", powers.make_device),
    ("devices", "open a block device", powers.open_device),
    ("proc", "write to the kernel's settings in /proc", powers.write_proc),
    ("sys", "write to /sys", powers.write_sys),
    ("cgroup-files", "write to the cgroup", powers.write_cgroup),
    ("seccomp", "push input into a terminal", powers.push_input),
    ("seccomp", "make a user namespace", powers.user_namespace),
    ("seccomp", "use the kernel's keyrings", powers.keyring),
    ("seccomp", "load a BPF map", powers.bpf),
    ("seccomp", "open performance events", powers.performance_events),
    ("network", "open a raw socket", reach.raw_socket),
)
