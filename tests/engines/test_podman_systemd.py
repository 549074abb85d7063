"""podman that has systemd make the cgroups, with minictr below it: of root, or of a user in their session.

systemctl and the kernel's files are the judges, and what runc gives, minictr gives. One command of podman
takes a second where the machine is emulated, so one container is followed through its life, and what was
seen of it is asked about afterwards.
"""

import json
import os

import bundles
import daemons
import pytest
import yards
from daemons import judged
from support import needs, wait_until
from units import USER, show, slices, systemctl

pytestmark = needs("systemd", "cgroup2-alone", "podman", "runc", "busybox")

SLICE = "user.slice" if USER else "machine.slice"  # where podman has its containers
RUNTIMES = ("minictr", "runc")
MIB = 1 << 20
# an option of podman, its value at the start, and by `podman update`
OPTIONS = [
    ("--memory", "64m", "96m"),
    ("--memory-swap", "80m", "112m"),
    ("--memory-reservation", "32m", "48m"),
    ("--pids-limit", "77", ""),  # podman 4 cannot change it
    ("--cpus", "0.5", "0.75"),
]
# a property of the unit, and its values
PROPERTIES = [
    ("MemoryMax", 64 * MIB, 96 * MIB),
    ("MemorySwapMax", 16 * MIB, 16 * MIB),
    ("MemoryLow", 32 * MIB, 48 * MIB),
    ("TasksMax", 77, 77),
    ("CPUQuotaPerSecUSec", "500ms", "750ms"),
]
# a file of the cgroup, and its values
FILES = [
    ("memory.max", 64 * MIB, 96 * MIB),
    ("memory.swap.max", 16 * MIB, 16 * MIB),
    ("memory.low", 32 * MIB, 48 * MIB),
    ("pids.max", 77, 77),
    ("cpu.max", "50000 100000", "75000 100000"),
]
if not USER:  # whom systemd hands no cpuset
    OPTIONS.append(("--cpuset-cpus", "0", "0-1"))
    PROPERTIES.append(("AllowedCPUs", "0", "0-1"))
    FILES.append(("cpuset.cpus", "0", "0-1"))
GONE = {"LoadState": "not-found", "ActiveState": "inactive"}
SLEEP = ("busybox", "sh", "-c", "trap 'echo bye; exit 5' TERM; echo up; sleep 1000 & wait")


@pytest.fixture(scope="module")
def podman(launcher, archive):
    with slices(SLICE, "user.slice"):
        yard = None if USER else yards.Yard(systemd=True)
        made = daemons.Podman(yard, launcher, archive, manager="systemd")
        yield made
        made.clear()
        (made if USER else yard).end()


@pytest.fixture
def engine(podman):
    yield podman
    podman.clear()


class Life:
    """What was seen of a container from its start to its end, with none of it judged yet."""

    def __init__(self, engine) -> None:
        words = [word for option, value, _ in OPTIONS for word in (option, value)]
        self.id = engine.box(*(words + ["--name", "one"] + list(SLEEP)))
        wait_until(lambda: engine("logs", "one").out == "up\n", 60)
        self.unit = "libpod-%s.scope" % self.id
        self.directory = os.path.normpath(bundles.cgroup_of(engine.inspect("one")["State"]["Pid"], ""))
        self.shown = show(self.unit, "ActiveState", "Slice", "Delegate", "ControlGroup")
        self.at_start = self._limits()
        self._use(engine)
        words = [word for option, _, value in OPTIONS if value for word in (option, value)]
        engine("update", *(words + ["one"])).ok
        self.updated = self._limits()
        systemctl("daemon-reload")
        self.reloaded = self._limits()
        self._end(engine)

    def _use(self, engine) -> None:
        self.executed = engine("exec", "one", "sh", "-c", "echo out; exit 4")
        engine("exec", "-d", "one", "sleep", "333").ok
        wait_until(lambda: "sleep 333" in self._programs(), 60)
        self.programs, self.tasks = self._programs(), int(show(self.unit, "TasksCurrent")["TasksCurrent"])
        self.stats = json.loads(engine("stats", "--no-stream", "--format", "json", "one").ok.out)[0]
        assert engine("pause", "one").status == 0  # podman warns a user of runc
        self.paused = self._file("cgroup.freeze"), engine.inspect("one")["State"]["Status"]
        assert engine("unpause", "one").status == 0
        self.unpaused = self._file("cgroup.freeze"), engine.inspect("one")["State"]["Status"]

    def _end(self, engine) -> None:
        engine("stop", "--time", "50", "one").ok
        self.stopped, self.left = engine.inspect("one")["State"], self._left()
        engine("start", "one").ok
        self.again = engine.inspect("one")["State"]["Status"], show(self.unit, "ActiveState")["ActiveState"]
        self.at_second_start = self._limits()
        engine("rm", "--force", "--time", "0", "one").ok
        self.left_at_last = self._left()

    def _limits(self) -> "dict[str, str]":
        found = show(self.unit, *[name for name, _, _ in PROPERTIES])
        found.update({name: self._file(name) for name, _, _ in FILES})
        return found

    def _file(self, name: str) -> str:
        with open(os.path.join(self.directory, name)) as file:
            return file.read().strip()

    def _programs(self) -> "list[str]":
        """The command line of each process in it."""
        found = []
        for pid in self._file("cgroup.procs").split():
            with open("/proc/%s/cmdline" % pid) as words:
                found.append(" ".join(words.read().split("\0")[:-1]))
        return found

    def _left(self) -> "tuple[dict[str, str], bool]":
        return show(self.unit, *GONE), os.path.exists(self.directory)


@pytest.fixture(scope="module")
def lives(podman):
    """By the name of the runtime."""
    found = {"minictr": Life(podman)}
    with podman.below("runc"):
        found["runc"] = Life(podman)
    return found


@pytest.fixture(params=RUNTIMES)
def life(request, lives):
    return lives[request.param]


def test_a_container_is_a_scope_in_podmans_slice(life):
    shown = dict(life.shown)
    where = shown.pop("ControlGroup")
    assert shown == {"ActiveState": "active", "Slice": SLICE, "Delegate": "yes"}
    assert life.directory == "/sys/fs/cgroup" + where


@pytest.mark.parametrize(
    "name, start, updated", PROPERTIES + FILES, ids=[row[0] for row in PROPERTIES + FILES]
)
def test_a_limit_is_systemds_and_the_kernels(life, name, start, updated):
    seen = [limits[name] for limits in (life.at_start, life.updated, life.reloaded)]
    assert seen == [str(start), str(updated), str(updated)]


def test_started_again_it_has_the_limits_that_runc_gives(lives):
    """podman 5 keeps what was updated, podman 4 does not."""
    assert lives["minictr"].at_second_start == lives["runc"].at_second_start


def test_what_is_executed_is_in_the_scope(life):
    assert life.executed == (4, "out\n", "")
    assert life.tasks == 3 and sorted(life.programs)[1:] == ["sleep 1000", "sleep 333"], life.programs


def test_podman_counts_what_is_in_the_scope(life):
    assert life.stats["mem_usage"].split("/")[1].strip() == "67.11MB"
    assert life.stats["pids"] == "3"


def test_it_is_frozen_while_it_is_paused(life):
    assert (life.paused, life.unpaused) == (("1", "paused"), ("0", "running"))


def test_it_stops_when_asked_and_its_scope_has_gone(life):
    assert (life.stopped["Status"], life.stopped["ExitCode"]) == ("exited", 5)
    assert life.left == (GONE, False)


def test_it_starts_again_in_a_scope_of_the_same_name(life):
    assert life.again == ("running", "active")


def test_nothing_is_left_of_one_that_was_removed_while_it_ran(life):
    assert life.left_at_last == (GONE, False)


def test_one_in_the_foreground_gives_its_status_and_leaves_no_scope(engine):
    assert engine.run("busybox", "sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    # that of conmon, who is podman's, ends with conmon
    wait_until(lambda: systemctl("list-units", "--all", "--plain", "--no-legend", "libpod-*") == "")


@judged
def test_podman_knows_that_memory_ran_out(engine):
    """conmon reads it in the cgroup at the end, by when systemd may have removed that: below runc too one in
    five is missed."""
    script = "x=x; while :; do x=$x$x; done"
    words = ("--name", "big", "--network", "none", "--memory", "16m", "busybox", "sh", "-c", script)
    for _ in range(5):
        assert engine("run", *words).status == 137
        known = engine.inspect("big")["State"]["OOMKilled"]
        engine.remove("big")
        if known:
            break
    assert known


# What a systemd inside does at its start: from then on the container's own cgroup takes no process
SYSTEMD_INSIDE = """
mkdir /sys/fs/cgroup/init.scope && echo 1 >/sys/fs/cgroup/init.scope/cgroup.procs &&
echo +memory +pids >/sys/fs/cgroup/cgroup.subtree_control && echo up; sleep 1000
"""


@pytest.mark.parametrize("ids", [(), ("--uidmap", "0:100000:65536")], ids=["own", "mapped"])
def test_a_container_may_have_a_systemd_of_its_own(engine, ids):
    """Which writes its cgroups, and is ended by another signal; podman 4 does not tell systemd that."""
    if ids and USER:
        pytest.skip("a user's podman has mapped all that the user may map")
    words = ("--name", "one", "--systemd=always", "--stop-signal", "37", "--memory", "64m") + ids
    unit = "libpod-%s.scope" % engine.box(*(words + ("busybox", "sh", "-c", SYSTEMD_INSIDE)))
    wait_until(lambda: engine("logs", "one").out == "up\n", 60)
    shown = show(unit, "KillSignal", "MemoryMax")
    assert shown["KillSignal"] in ("37", "15") and shown["MemoryMax"] == str(64 * MIB)
    assert engine("exec", "one", "cat", "/proc/self/cgroup") == (0, "0::/init.scope\n", "")
    engine("pause", "one").ok
    engine("unpause", "one").ok
    engine.remove("one")
    assert show(unit, *GONE) == GONE


@judged
def test_one_may_be_split_from_the_unit_that_it_is_started_in(engine):
    """--cgroups=split, as podman has it for services: conmon in one half, the container in the other."""
    script = "cat /proc/self/cgroup /sys/fs/cgroup/memory.max; cat /proc/1/comm; exit 7"
    words = ("run", "--rm", "--network", "none", "--cgroups", "split", "--memory", "64m", "--name", "one")
    command = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--property=Delegate=yes"]
    command += ["--user"] if USER else []
    command += ["--setenv=%s=%s" % pair for pair in engine.environment().items()]
    command += list(engine.words() + words) + ["busybox", "sh", "-c", script]
    found = engine.runner.command(*command, env=dict(os.environ))
    assert (found.status, found.lines) == (7, ["0::/", str(64 * MIB), "sh"]), found


@judged
def test_a_pod_is_a_slice_with_its_containers_in_it(engine):
    infra = ("--infra-image", "busybox", "--infra-command", "sleep 1000")
    engine("pod", "create", "--name", "pod", "--network", "none", "--memory", "128m", *infra).ok
    box = engine("run", "-d", "--pod", "pod", *SLEEP).ok.out.strip()
    slice_ = show("libpod-%s.scope" % box, "Slice")["Slice"]
    assert slice_.endswith(".slice") and "libpod_pod_" in slice_
    assert show(slice_, "MemoryMax")["MemoryMax"] == str(128 * MIB)
    engine("pod", "rm", "--force", "--time", "0", "pod").ok
    assert show(slice_, "ActiveState")["ActiveState"] == "inactive"
