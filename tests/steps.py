"""Break a command at one of its system calls, for real: strace makes the call fail, or kills at it.

The command is stopped before it has done anything but import, strace is attached, and then it goes on:
so the N-th call is the N-th of its work. strace counts the calls of each process for itself.
"""

import collections
import glob
import os
import re
import signal
import sys
import termios

import leftovers
import support

_STARTER = """
import os, signal
import minictr.__main__, minictr.cli, minictr.lifecycle, minictr.native, minictr.options, minictr.users
os.kill(os.getpid(), signal.SIGSTOP)
minictr.__main__.main()
"""
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)")


class Broken:
    """How a command ended that was broken at a step.

    hits: the calls that were, as strace shows them
    modes: of its terminal, before and after
    """

    modes = ((), ())  # type: tuple

    def __init__(self, result: support.Result, calls: "list[tuple[int, str, str]]", inject: str) -> None:
        self.result, self.calls, self.inject = result, calls, inject
        self.hits = [call for call in calls if "(INJECTED)" in call[2]]

    def __repr__(self) -> str:
        shown = ["  %d %s(%s" % hit for hit in self.hits]
        return "\n".join([self.inject] + shown + [repr(self.result)])

    def counts(self, pid: int, last: str = "execve") -> "collections.Counter[str]":
        """How often process PID made each call, up to the first LAST."""
        found = collections.Counter()  # type: collections.Counter[str]
        for number, name, _ in self.calls:
            if number == pid:
                found[name] += 1
                if name == last:
                    break
        return found

    @property
    def pids(self) -> "list[int]":
        """In the order of their first calls: the runtime, the middle process if there is one, init."""
        return list(dict.fromkeys(call[0] for call in self.calls))


class Steps:
    """Runs minictr, as ACCOUNT, to be broken. names: the ids of the containers so far"""

    def __init__(self, minictr: support.Runner, account=None) -> None:
        self.minictr, self.account = minictr, account
        self.names = []  # type: list[str]
        self.before = leftovers.Snapshot((leftovers.mounts, leftovers.devices))

    def run(self, *words: str, **how) -> Broken:
        """minictr run --name NAME WORDS, broken as by `verb`."""
        self.names.append("step-%d-%d" % (os.getpid(), len(self.names)))
        return self.verb("run", "--name", self.names[-1], *words, **how)

    def verb(
        self, *words: str, calls: str = "", inject: str = "", follow: bool = True, path: str = "", **how
    ) -> Broken:
        """minictr WORDS, traced for CALLS, with what INJECT says (strace(1), -e inject).

        inject: several between spaces; follow: children too; path: only calls that are of this file
        how: as of support.Runner
        """
        live = self._stopped(*words, **how)
        trace = os.path.join(support.SESSION.place("trace"), "trace")
        command = ["strace", "-o", trace, "-s", "64", "-p", str(live.pid)] + ["-f"] * follow
        command += ["-e", "trace=" + calls] if calls else []
        for one in inject.split():
            command += ["-e", "inject=" + one]
        command += ["-P", path] if path else []
        tracer = self.minictr.start_command(*command)
        tracer.expect("attached")
        before = termios.tcgetattr(live.terminal)[:4] if live.terminal >= 0 else ()
        live.signal(signal.SIGCONT)
        if live.terminal >= 0:
            support.wait_until(lambda: live.ends and live.read(0.01) or not live.running, 20)
        after = termios.tcgetattr(live.terminal)[:4] if live.terminal >= 0 else ()
        result = live.wait(20)
        tracer.wait(20)
        with open(trace, errors="replace") as file:
            lines = file.read().splitlines()
        if not follow:  # then it leaves the number out
            lines = ["%d %s" % (live.pid, line) for line in lines]
        broken = Broken(result, _calls(lines), inject)
        broken.modes = (before, after)
        return broken

    def _stopped(self, *words: str, **how) -> support.Live:
        program = sys.executable if self.account is None else support.python()
        command = [program, "-c", _STARTER, "--root", self.minictr.state(self.account)] + list(words)
        path = support.CHECKOUT if self.account is None else support.checkout()
        live = self.minictr.start_command(*command, user=self.account, env={"PYTHONPATH": path}, **how)
        support.wait_until(lambda: _state(live.pid) == "T", what="it has not stopped")
        return live

    # --- what is left -------------------------------------------------------------------------

    def processes(self) -> "set[str]":
        """Those of containers and runtimes that still run."""
        return {text for text in leftovers.processes() if "strace" not in text}

    def rest(self) -> "list[str]":
        """What is left of every container so far, processes aside."""
        state = self.minictr.state(self.account)
        found = ["state " + name for name in os.listdir(state)]
        for _, point in support.cgroup_mounts():
            for name in self.names:
                found += ["cgroup " + path for path in glob.glob(point + "/*" + name)]
        return found + self.before.new()


def _calls(lines: "list[str]") -> "list[tuple[int, str, str]]":
    """Process, name and rest of each call; one that another process's cuts in two is put together."""
    found, cut = [], {}  # type: list[list], dict[str, list]
    for line in lines:
        call, rest = _CALL.match(line), _RESUMED.match(line)
        if call:
            found.append([int(call.group(1)), call.group(2), call.group(3)])
            cut[call.group(1)] = found[-1]
        elif rest and rest.group(1) in cut:
            cut[rest.group(1)][2] += rest.group(2)
    return [tuple(call) for call in found]


def _state(pid: int) -> str:
    with open("/proc/%d/stat" % pid) as file:
        return file.read().rpartition(")")[2].split()[0]


def chosen(count: int, most: int) -> "list[int]":
    """Of the numbers 1 to COUNT at most MOST, which is 2 or more: evenly spread, both ends among them."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + i * (count - 1) // (most - 1) for i in range(most)})
