"""Measure start-up and memory beside runc, crun, bwrap and unshare, where they are installed.

    python3 tests/bench.py [--runs N] [--gaps MS,MS...] [--no-memory] [--only WORD]

Run as root. The launcher is installed into a temporary place with the Python that runs this file.
Every contestant starts the same /bin/true from the same busybox root in the same new namespaces.
All take turns in one run, so that whatever else the machine does meets all of them; a gap is idle
time before each start (a machine that was idle starts things later). Medians are compared, as the
slow tail is the machine's.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [CHECKOUT, os.path.join(CHECKOUT, "tests")]
sys.dont_write_bytecode = True

import json  # noqa: E402

import roots  # noqa: E402

import minictr  # noqa: E402
from minictr import abi, libc, seccomp_file, spec  # noqa: E402

UNSHARE_ALL = [
    "--user",
    "--map-root-user",
    "--pid",
    "--fork",
    "--net",
    "--ipc",
    "--uts",
    "--mount",
    "--cgroup",
]
BWRAP_ALL = [
    "--unshare-user",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup",
]


def engines_profile() -> "dict | None":
    """linux.seccomp as Docker writes it, of a configuration beside the checkout; else by podman's file."""
    kept = os.path.join(os.path.dirname(CHECKOUT), "shared", "fixtures", "oci", "docker.json")
    if os.path.exists(kept) and abi.machine() == "x86_64":
        with open(kept) as file:
            return json.load(file)["linux"]["seccomp"]
    installed = "/usr/share/containers/seccomp.json"  # golang-github-containers-common
    if os.path.exists(installed):
        return seccomp_file.load(installed, installed, set(spec.DEFAULT_CAPABILITIES))
    return None


class Contestant:
    """A way to start a container. command: a function of (id, program) to its argv"""

    def __init__(self, name: str, command) -> None:
        self.name, self.command = name, command
        self.times = {}  # type: dict[float, list[float]]  # gap in seconds to milliseconds


class Called(Contestant):
    """One that this process calls, as a program in Python would: call is a function of the program.

    The first call starts what serves the others, and is not counted.
    """

    def __init__(self, name: str, call) -> None:
        super().__init__(name, None)
        self.call = call


class Bench:
    def __init__(self, place: str) -> None:
        self.place, self.count, self.unit = place, 0, 0
        self.root = os.path.join(place, "root")
        os.mkdir(self.root)
        roots.make_busybox(self.root)
        self.launcher = os.path.join(place, "usr/bin/minictr")
        make = [
            "make",
            "-s",
            "-C",
            CHECKOUT,
            "install",
            "PREFIX=" + place + "/usr",
            "PYTHON=" + sys.executable,
        ]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)

    def bundle(self, program: "list[str]", profile: "dict | None" = None) -> str:
        """The bundle that starts PROGRAM, under a seccomp PROFILE."""
        name = "bundle-" if profile is None else "filtered-"
        path = os.path.join(self.place, name + "-".join(os.path.basename(word) for word in program))
        if not os.path.exists(path):
            os.mkdir(path)
            # runc and crun of Debian 12 do not know 1.1 or later yet
            config = dict(spec.default_config(program, self.root), ociVersion="1.0.2")
            if profile is not None:
                config["linux"] = dict(config["linux"], seccomp=profile)
            with open(os.path.join(path, "config.json"), "w") as file:
                json.dump(config, file)
        return path

    def contestants(self) -> "list[tuple[str, list[Contestant]]]":
        """Groups of those that do the same; the first of each is what the others are compared with."""
        state = os.path.join(self.place, "state")
        ours = [self.launcher, "--root", state, "run"]

        def oci(tool, *options):
            return lambda name, program: [tool, "--root", state + tool] + list(options) + [
                "run", "--bundle", self.bundle(program), name]  # fmt: skip

        def native(*options):
            return lambda name, program: ours + list(options) + ["--rootfs", self.root, "--"] + program

        def filtered(*words):
            return lambda name, program: (
                list(words) + ["run", "--bundle", self.bundle(program, profile), name]
            )

        profile = engines_profile()

        def bundled(name, program):
            return ours + ["--bundle", self.bundle(program), name]

        def bwrap(name, program):
            mounts = ["--ro-bind", self.root, "/", "--proc", "/proc", "--dev", "/dev"]
            return ["bwrap"] + BWRAP_ALL + mounts + ["--"] + program

        def unshare(name, program):
            return ["unshare"] + UNSHARE_ALL + ["--mount-proc", "--root=" + self.root] + program

        def library(**options):
            where = dict(options, root=state + "library", rootfs=self.root)
            return lambda program: minictr.run(program, stdin=minictr.DEVNULL, **where)

        return [
            ("with cgroups", [
                Contestant("runc run", oci("runc")),
                Contestant("crun run", oci("crun")),
                Contestant("minictr run --bundle", bundled),
                Contestant("minictr run --userns host --rootfs", native("--userns", "host")),
                Contestant("minictr run --rootfs", native()),
                Contestant("the same, unfiltered", native("--security-opt", "seccomp=unconfined")),
            ]),
            ("with the seccomp profile of an engine" if profile else "", [
                Contestant("runc run, filtered", filtered("runc", "--root", state + "runc")),
                Contestant("crun run, filtered", filtered("crun", "--root", state + "crun")),
                Contestant("minictr run --bundle, filtered", filtered(*ours[:-1])),
            ]),
            ("without cgroups", [
                Contestant("bwrap", bwrap),
                Contestant("unshare", unshare),
                Contestant("crun --cgroup-manager disabled run", oci("crun", "--cgroup-manager", "disabled")),
                Contestant("minictr run --cgroups disabled --rootfs", native("--cgroups", "disabled")),
            ]),
            ("from a live process, start to exit", [
                Contestant("crun run, with cgroup", oci("crun")),
                Contestant("bwrap, no cgroup", bwrap),
                Called("import minictr; minictr.run()", library()),
                Called("the same, cgroups=disabled", library(cgroups="disabled")),
                Called("the same, userns=host", library(userns="host")),
            ]),
        ]  # fmt: skip

    def name(self) -> str:
        self.count += 1
        return "bench-%d-%d" % (os.getpid(), self.count)

    def fails(self, contestant: Contestant) -> str:
        """Why CONTESTANT cannot take part, or "". A first run also fills the disk cache."""
        if isinstance(contestant, Called):
            done = contestant.call(["/bin/true"])
            return "; ".join(done.warnings) or ("status %d" % done.returncode if done.returncode else "")
        command = contestant.command(self.name(), ["/bin/true"])
        if not shutil.which(command[0]):
            return "not installed"
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        text = done.stdout.decode(errors="replace").strip()
        return (
            ""
            if done.returncode == 0 and not text
            else "status %d: %s" % (done.returncode, text or "(nothing)")
        )

    def measure(self, contestant: Contestant, gap: float) -> None:
        if isinstance(contestant, Called):
            time.sleep(gap)
            start = time.perf_counter()
            contestant.call(["/bin/true"])
            contestant.times.setdefault(gap, []).append((time.perf_counter() - start) * 1000)
            return
        command = contestant.command(self.name(), ["/bin/true"])
        program = shutil.which(command[0])
        time.sleep(gap)
        start = time.perf_counter()
        pid = spawn(program, command)
        _, status = os.waitpid(pid, 0)
        taken = time.perf_counter() - start
        if status:
            raise SystemExit("%s: wait status %#x" % (" ".join(command), status))
        contestant.times.setdefault(gap, []).append(taken * 1000)

    def peak(self, contestant: Contestant) -> float:
        """MiB that the largest of CONTESTANT's processes has at its peak.

        By a small process in between: a process starts with its parent's peak, and ours is large.
        """
        if not self.unit:
            # busybox 1.35 takes the KiB of getrusage(2) for pages, so it is asked for a known size
            known = self.time_v(["dd", "if=/dev/zero", "of=/dev/null", "bs=20M", "count=1"])
            self.unit = 1024 * (known // 20000)
        return self.time_v(contestant.command(self.name(), ["/bin/true"])) / self.unit

    def time_v(self, command: "list[str]") -> int:
        done = subprocess.run([roots.static_busybox(), "time", "-v"] + command, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        found = done.stdout.decode().partition("Maximum resident set size (kbytes): ")[2]
        return int(found.split()[0])

    def resident(self, contestant: Contestant) -> "tuple[int, int, int, int] | None":
        """(processes, RSS, PSS, private) in KiB that stay beside the program of a running container."""
        command = contestant.command(self.name(), ["/bin/sleep", "1000"])
        runtime = spawn(shutil.which(command[0]), command, silent=True)
        try:
            end = time.monotonic() + 10
            while time.monotonic() < end:
                time.sleep(0.02)
                tree = family(runtime)
                programs = [pid for pid in tree if program_of(pid) == "busybox"]
                if programs:
                    break
            else:
                return None
            time.sleep(0.3)  # what is only needed to start is gone by now
            tree = [pid for pid in family(runtime) if pid not in programs]
            sizes = [memory(pid) for pid in tree]
            return (len(tree),) + tuple(sum(column) for column in zip(*sizes))
        finally:
            for pid in sorted(family(runtime), reverse=True):
                if program_of(pid) == "busybox":  # its end is the container's; the runtime tidies up
                    os.kill(pid, signal.SIGKILL)
            end = time.monotonic() + 5
            while os.waitpid(runtime, os.WNOHANG)[0] == 0:
                if time.monotonic() > end:
                    for pid in family(runtime):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.02)


def spawn(program: str, command: "list[str]", silent: bool = False) -> int:
    """Start COMMAND with nothing on standard input, and output where ours goes."""
    opened = [(0, os.O_RDONLY)] + ([(1, os.O_WRONLY), (2, os.O_WRONLY)] if silent else [])
    if hasattr(os, "posix_spawn"):  # since 3.8; vfork, so that our size costs the contestants nothing
        actions = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", flags, 0) for number, flags in opened]
        return os.posix_spawn(program, command, os.environ, file_actions=actions)
    pid = os.fork()
    if pid == 0:
        for number, flags in opened:
            os.dup2(os.open("/dev/null", flags), number)
        os.execv(program, command)
    return pid


def family(ancestor: int) -> "list[int]":
    """The process ANCESTOR and all below it."""
    found, index = [ancestor], 0
    while index < len(found):
        try:
            for task in os.listdir("/proc/%d/task" % found[index]):
                with open("/proc/%d/task/%s/children" % (found[index], task)) as file:
                    found += [int(pid) for pid in file.read().split()]
        except (FileNotFoundError, ProcessLookupError):
            pass
        index += 1
    return found


def program_of(pid: int) -> str:
    try:
        return os.path.basename(os.readlink("/proc/%d/exe" % pid))
    except OSError:
        return ""


def memory(pid: int) -> "tuple[int, int, int]":
    """RSS, PSS and private memory of a process in KiB."""
    rows = {}
    with open("/proc/%d/smaps_rollup" % pid) as file:
        for line in file:
            fields = line.split()
            if fields[0].endswith(":") and fields[-1] == "kB":
                rows[fields[0][:-1]] = int(fields[1])
    return rows["Rss"], rows["Pss"], rows["Private_Clean"] + rows["Private_Dirty"]


def median(values: "list[float]") -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def tool_versions() -> "list[str]":
    lines = ["Python " + sys.version.split()[0] + ", " + sys.executable, "Linux " + os.uname().release]
    for tool in ("runc", "crun", "bwrap", "unshare"):
        if shutil.which(tool):
            out = subprocess.run([tool, "--version"], stdout=subprocess.PIPE).stdout.decode()
            lines.append(out.splitlines()[0])
    return lines


def hide_cgroup2_of_a_hybrid_host() -> None:
    """crun refuses to work where cgroup2 stands beside cgroup v1 and has a controller."""
    point = "/sys/fs/cgroup/unified"
    if os.path.exists(point + "/cgroup.controllers") and shutil.which("crun"):
        libc.unshare(abi.CLONE_NEWNS)
        libc.mount("", "/", "", abi.MS_REC | abi.MS_PRIVATE)
        libc.umount2(point, abi.MNT_DETACH)
        print("%s is hidden from all, as crun cannot do with it" % point)


def print_times(bench: Bench, groups, gaps: "list[float]", runs: int) -> None:
    print(
        "\nstart-up of /bin/true, milliseconds: median of %d, and its ratio to the first of the group" % runs
    )
    for title, contestants in groups:
        heads = "".join("%12s %5s" % ("gap %d ms" % (gap * 1000), "ratio") for gap in gaps)
        print("\n%-42s%s%12s" % (title, heads, "peak MiB"))
        for contestant in contestants:
            row = "  %-40s" % contestant.name
            for gap in gaps:
                found, first = median(contestant.times[gap]), median(contestants[0].times[gap])
                row += "%12.1f %5.2f" % (found, found / first)
            peak = "%12.1f" % bench.peak(contestant) if contestant.command else "%12s" % "-"
            print(row + peak)


def print_memory(bench: Bench, groups) -> None:
    print("\nwhat stays beside the program of a running foreground container, KiB")
    print("%-42s%12s%10s%10s%10s" % ("", "processes", "RSS", "PSS", "private"))
    for _, contestants in groups:
        for contestant in contestants:
            if not contestant.command:
                continue
            found = bench.resident(contestant)
            values = "%12d%10d%10d%10d" % found if found else "%12s" % "did not run"
            print("  %-40s%s" % (contestant.name, values))


def main() -> None:
    runs, gaps, with_memory, only = 30, [0.0, 0.05], True, ""
    words = sys.argv[1:]
    while words:
        word = words.pop(0)
        if word == "--runs" and words:
            runs = int(words.pop(0))
        elif word == "--gaps" and words:
            gaps = [float(gap) / 1000 for gap in words.pop(0).split(",")]
        elif word == "--no-memory":
            with_memory = False
        elif word == "--only" and words:
            only = words.pop(0)
        else:
            sys.exit(__doc__)
    if os.geteuid():
        sys.exit("bench: runc and crun want root for this")
    if not roots.static_busybox():
        sys.exit("bench: needs a static busybox (the package busybox-static)")
    place = tempfile.mkdtemp(prefix="minictr-bench-")
    os.chmod(place, 0o755)
    try:
        bench = Bench(place)
        print("\n".join(tool_versions()))
        hide_cgroup2_of_a_hybrid_host()
        groups = []
        for title, contestants in bench.contestants():
            if not title:
                print("left out: the seccomp profile of an engine: there is none here")
                continue
            if only not in title:
                continue
            able = []
            for contestant in contestants:
                why = bench.fails(contestant)
                if why:
                    print("left out: %s: %s" % (contestant.name, why))
                else:
                    able.append(contestant)
            groups += [(title, able)] if able else []
        everyone = [contestant for _, contestants in groups for contestant in contestants]
        for turn in range(runs):
            for gap in gaps:
                for shift in range(len(everyone)):  # who follows whom changes, so that nobody suffers alone
                    bench.measure(everyone[(turn + shift) % len(everyone)], gap)
        print_times(bench, groups, gaps, runs)
        if with_memory:
            print_memory(bench, groups)
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", place])


if __name__ == "__main__":
    main()
