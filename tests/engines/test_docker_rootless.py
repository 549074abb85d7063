"""dockerd of a user, which is root of a user namespace that rootlesskit has made, and minictr below it."""

import pytest
from daemons import SLEEP, judged
from support import needs

pytestmark = needs("root", "docker", "rootlesskit", "setpriv", "runc", "busybox", "rootless", "newuidmap")


@pytest.fixture
def engine(rootless_docker):
    yield rootless_docker
    rootless_docker.clear()


@judged
def test_its_root_is_the_user_and_is_confined(engine, ranged):
    script = "cat /proc/self/uid_map; grep -E ^CapEff:\\|^Seccomp: /proc/self/status; exit 7"
    found = engine.run("busybox", "sh", "-c", script)
    assert (found.status, found.err) == (7, ""), found
    assert found.fields[:6] == ["0", str(ranged.uid), "1", "1", str(ranged.start), "65536"]
    assert found.fields[6:] == ["CapEff:", "00000000a80425fb", "Seccomp:", "2"]


@judged
def test_a_volume_a_user_limits_and_programs_executed_in_it(engine):
    words = ("-v", "vol:/d", "--tmpfs", "/t", "--ulimit", "nofile=100:200", "--oom-score-adj", "500")
    engine("run", "-d", "--name", "web", "--network", "none", "--read-only", *(words + SLEEP)).ok
    script = "touch /d/x /t/x; touch /x; ulimit -n; cat /proc/1/oom_score_adj; exit 4"
    found = engine("exec", "web", "sh", "-c", script)
    assert (found.status, found.lines) == (4, ["100", "500"]) and "Read-only file system" in found.err
    found = engine(
        "exec", "-u", "app", "-w", "/home/app", "-e", "A=b", "web", "sh", "-c", "id -u; pwd; echo $A"
    )
    assert found.ok.lines == ["1000", "/home/app", "b"]
    live = engine.start("exec", "-it", "web", "sh", tty=True)
    live.send("tty; exit 9\n")
    live.expect("/dev/pts/")
    assert live.wait().status == 9
    engine("stop", "web").ok
    assert (engine("logs", "web").out, engine.inspect("web")["State"]["ExitCode"]) == ("up\nbye\n", 5)
    engine("rm", "--volumes", "web").ok
    engine("volume", "rm", "vol").ok


@judged
def test_one_with_all_privileges_has_those_of_its_namespace(engine):
    script = "mount -t tmpfs none /tmp && grep -E ^CapEff:\\|^Seccomp: /proc/self/status"
    found = engine.run("--privileged", "busybox", "sh", "-c", script)
    assert found.ok.fields[2:] == ["Seccomp:", "0"] and found.fields[1].endswith("fffffffff")


def test_without_a_cgroup_its_processes_are_known_and_it_is_not_paused(engine):
    """runc 1.1 finds no processes then."""
    box = engine.box(*SLEEP)
    assert len(engine("top", box, "-eo", "pid,comm").ok.lines) >= 2
    found = engine("pause", box)
    assert found.status == 1 and "the container has no cgroup" in found.err
