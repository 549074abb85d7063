"""Limits, update, stats and pause by podman that makes cgroups by itself: what runc gives, minictr gives."""

import json

import bundles
import pytest
from support import needs

pytestmark = needs("root", "podman", "runc", "busybox", "cgroup")

OPTIONS = (
    "--memory", "64m", "--memory-swap", "80m", "--memory-reservation", "32m", "--pids-limit", "77",
    "--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "0", "--cpuset-mems", "0",
)  # fmt: skip
CHANGES = (
    "--memory", "96m", "--memory-swap", "112m", "--memory-reservation", "48m", "--cpus", "0.75",
    "--cpu-shares", "256", "--cpuset-cpus", "0-1",
)  # fmt: skip
# file, its value at the start, and after the changes; runc 1.1 and we differ in cpu.weight (see cgroup_v2)
V1 = [
    ("memory.limit_in_bytes", 64 << 20, 96 << 20),
    ("memory.memsw.limit_in_bytes", 80 << 20, 112 << 20),
    ("memory.soft_limit_in_bytes", 32 << 20, 48 << 20),
    ("pids.max", 77, 77),
    ("cpu.cfs_quota_us", 50000, 75000),
    ("cpu.cfs_period_us", 100000, 100000),
    ("cpu.shares", 512, 256),
    ("cpuset.cpus", "0", "0-1"),
    ("cpuset.mems", "0", "0"),
    ("freezer.state", "THAWED", "THAWED"),
]
V2 = [
    ("memory.max", 64 << 20, 96 << 20),
    ("memory.swap.max", 16 << 20, 16 << 20),
    ("memory.low", 32 << 20, 48 << 20),
    ("pids.max", 77, 77),
    ("cpu.max", "50000 100000", "75000 100000"),
    ("cpuset.cpus", "0", "0-1"),
    ("cpuset.mems", "0", "0"),
    ("cgroup.freeze", 0, 0),
]
FILES = V2 if bundles.V2 else V1
FROZEN = ("cgroup.freeze", "1") if bundles.V2 else ("freezer.state", "FROZEN")


class Seen:
    """What there was of one container: the files of its cgroup, and what podman said, at each step."""

    def __init__(self, engine) -> None:
        name = engine.box(*(OPTIONS + ("busybox", "sleep", "1000")))
        self.pid = engine.inspect(name)["State"]["Pid"]
        self.start, self.usage = self._files(), self._usage(engine, name)
        engine("pause", name).ok
        self.paused = self._files()[FROZEN[0]], engine.inspect(name)["State"]["Status"]
        engine("unpause", name).ok
        engine("update", *(CHANGES + (name,))).ok
        self.updated = self._files()
        engine.remove(name)

    def _files(self) -> "dict[str, str | None]":
        return {name: self._value(name) for name, _, _ in FILES}

    def _value(self, name: str) -> "str | None":
        """None where this kernel has no such file."""
        try:
            return bundles.value(self.pid, name)
        except FileNotFoundError:
            return None

    def _usage(self, engine, name: str) -> "tuple[str, str]":
        """How many processes, how much memory it may use."""
        found = json.loads(engine("stats", "--no-stream", "--format", "json", name).ok.out)[0]
        return found["pids"], found["mem_usage"].split("/")[1].strip()


@pytest.fixture(scope="module")
def seen(podmans):
    """Seen by the name of the runtime."""
    found = {"minictr": Seen(podmans)}
    with podmans.below("runc"):
        found["runc"] = Seen(podmans)
    podmans.clear()
    return found


@pytest.mark.parametrize("runtime", ["minictr", "runc"])
@pytest.mark.parametrize("name, start, updated", FILES, ids=[row[0] for row in FILES])
def test_a_limit_is_in_its_file_and_can_be_changed(seen, runtime, name, start, updated):
    one = seen[runtime]
    if seen["runc"].start[name] is None:
        pytest.skip("this kernel has no " + name)
    assert (one.start[name], one.updated[name]) == (str(start), str(updated))


@pytest.mark.parametrize("runtime", ["minictr", "runc"])
def test_podman_shows_processes_and_the_limit_of_memory(seen, runtime):
    assert seen[runtime].usage == ("1", "67.11MB")


@pytest.mark.parametrize("runtime", ["minictr", "runc"])
def test_all_its_processes_are_frozen_while_it_is_paused(seen, runtime):
    assert seen[runtime].paused == (FROZEN[1], "paused")
