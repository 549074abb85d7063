"""Measure the verbs that an engine calls, beside runc and crun where they are installed.

    python3 tests/bench_verbs.py [--runs N] [--living N,N...]

Run as root. The same bundle for all, who take turns as in bench.py, whose place and bundles these are:

- `create`, `start` and `delete` of a container whose program is /bin/true, and `exec` of it in one that
  runs; medians, and their ratio to runc's;
- for minictr alone, with so many containers living: the time of the next create, start and delete, and
  what a living container takes.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import bench  # noqa: E402
import roots  # noqa: E402

VERBS = ("create", "start", "delete")


class Runtime:
    """One that has runc's command line. command: how it is called, global options and all"""

    def __init__(self, name: str, command: "list[str]") -> None:
        self.name, self.command = name, command
        self.times = {}  # type: dict[str, list[float]]  # of a verb, in milliseconds

    def call(self, verb: str, *words: str) -> float:
        """Run VERB to its end: milliseconds."""
        command = self.command + [verb] + list(words)
        start = time.perf_counter()
        pid = bench.spawn(shutil.which(command[0]), command, silent=True)
        _, status = os.waitpid(pid, 0)
        taken = (time.perf_counter() - start) * 1000
        if status:
            raise SystemExit("%s: wait status %#x" % (" ".join(command), status))
        return taken

    def note(self, verb: str, taken: float) -> None:
        self.times.setdefault(verb, []).append(taken)

    def live(self, bundle: str, name: str) -> "dict[str, float]":
        """A container from create to delete: how long each verb took."""
        pid_file = os.path.join(bundle, "pid")
        taken = {"create": self.call("create", "--bundle", bundle, "--pid-file", pid_file, name)}
        taken["start"] = self.call("start", name)
        with open(pid_file) as file:
            os.waitpid(int(file.read()), 0)  # orphans are ours
        taken["delete"] = self.call("delete", name)
        return taken


class Living:
    """A container that runs until it is ended."""

    def __init__(self, runtime: Runtime, bundle: str, name: str) -> None:
        self.runtime, self.name = runtime, name
        pid_file = os.path.join(bundle, "pid")
        runtime.call("create", "--bundle", bundle, "--pid-file", pid_file, name)
        runtime.call("start", name)
        with open(pid_file) as file:
            self.pid = int(file.read())

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.runtime.call("delete", self.name)


def able(place: "bench.Bench") -> "list[Runtime]":
    """The runtimes that can do all of it here."""
    found = []
    for name, command in (("runc", ["runc"]), ("crun", ["crun"]), ("minictr", [place.launcher])):
        if not shutil.which(command[0]):
            print("left out: %s: not installed" % name)
            continue
        runtime = Runtime(name, command + ["--root", os.path.join(place.place, "state-" + name)])
        try:
            runtime.live(place.bundle(["/bin/true"]), place.name())
            found.append(runtime)
        except SystemExit as error:
            print("left out: %s" % error)
    return found


def compare(place: "bench.Bench", runtimes: "list[Runtime]", runs: int) -> None:
    short, long = place.bundle(["/bin/true"]), place.bundle(["/bin/sleep", "1000"])
    living = [Living(runtime, long, place.name()) for runtime in runtimes]
    try:
        for turn in range(runs):
            for shift in range(len(runtimes)):
                index = (turn + shift) % len(runtimes)
                runtime = runtimes[index]
                taken = runtime.live(short, place.name())
                for verb, value in taken.items():
                    runtime.note(verb, value)
                runtime.note("all three", sum(taken.values()))
                runtime.note("exec", runtime.call("exec", living[index].name, "/bin/true"))
    finally:
        for container in living:
            container.end()
    print("\nthe verbs, milliseconds: median of %d, and its ratio to that of %s" % (runs, runtimes[0].name))
    heads = VERBS + ("all three", "exec")
    print("%-12s" % "" + "".join("%12s %5s" % (head, "ratio") for head in heads))
    for runtime in runtimes:
        row = "%-12s" % runtime.name
        for head in heads:
            value = bench.median(runtime.times[head])
            row += "%12.1f %5.2f" % (value, value / bench.median(runtimes[0].times[head]))
        print(row)


def crowd(place: "bench.Bench", runtime: Runtime, sizes: "list[int]", runs: int) -> None:
    """How the verbs fare among many living containers."""
    short, long = place.bundle(["/bin/true"]), place.bundle(["/bin/sleep", "1000"])
    living = []  # type: list[Living]
    first = 0.0
    before = available()
    print("\n%s among living containers, milliseconds: median of %d" % (runtime.name, runs))
    print("%8s" % "living" + "".join("%10s" % verb for verb in VERBS) + "%22s%20s" % (
        "create to the first", "KiB per container"))  # fmt: skip
    try:
        for size in sizes:
            while len(living) < size:
                living.append(Living(runtime, long, place.name()))
            times = [runtime.live(short, place.name()) for _ in range(runs)]
            medians = [bench.median([taken[verb] for taken in times]) for verb in VERBS]
            first = first or medians[0]
            row = "%8d" % size + "".join("%10.1f" % value for value in medians)
            print("%s%22.2f%20d" % (row, medians[0] / first, (before - available()) / size))
        ours = [pid for pid in bench.family(os.getpid())[1:] if "minictr" in command_of(pid)]
        print("processes of minictr that stay beside them: %d" % len(ours))
    finally:
        for container in living:
            container.end()


def available() -> int:
    """KiB of memory that the machine could still give (proc(5), MemAvailable)."""
    with open("/proc/meminfo") as file:
        return int(file.read().partition("MemAvailable:")[2].split()[0])


def command_of(pid: int) -> str:
    try:
        with open("/proc/%d/cmdline" % pid) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def main() -> None:
    runs, sizes = 30, [10, 100, 1000]
    words = sys.argv[1:]
    while words:
        word = words.pop(0)
        if word == "--runs" and words:
            runs = int(words.pop(0))
        elif word == "--living" and words:
            sizes = [int(size) for size in words.pop(0).split(",")]
        else:
            sys.exit(__doc__)
    if os.geteuid() or not roots.static_busybox():
        sys.exit("bench_verbs: runc and crun want root for this, and the containers a static busybox")
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: a detached container's end is ours
    directory = tempfile.mkdtemp(prefix="minictr-bench-")
    os.chmod(directory, 0o755)
    try:
        place = bench.Bench(directory)
        print("\n".join(bench.tool_versions()))
        bench.hide_cgroup2_of_a_hybrid_host()
        runtimes = able(place)
        compare(place, runtimes, runs)
        for runtime in runtimes:
            if runtime.name == "minictr" and sizes:
                crowd(place, runtime, sizes, min(runs, 10))
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", directory])


if __name__ == "__main__":
    main()
