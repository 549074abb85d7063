"""dockerd with userns-remap: every container in a user namespace whose root is one of a user's ids."""

import pytest
import support
from daemons import SLEEP, judged
from support import needs, wait_until

pytestmark = needs("root", "docker", "runc", "busybox", "rootless")


@pytest.fixture
def engine(remapped):
    yield remapped
    remapped.clear()


@judged
def test_its_root_is_not_the_hosts(engine, ranged):
    script = "id -u; cat /proc/self/uid_map; stat -c %u:%g /bin/busybox; touch /x && stat -c %u /x; exit 7"
    found = engine.run("busybox", "sh", "-c", script)
    assert found.status == 7, found
    assert found.lines[0] == "0"
    assert found.lines[1].split() == ["0", str(ranged.start), "65536"]
    assert found.lines[2:] == ["0:0", "0"]


@judged
def test_files_of_the_host_are_nobodys(engine):
    place = support.SESSION.place("shared")
    with open(place + "/file", "w") as file:
        file.write("of the host\n")
    script = "cat /mnt/file; stat -c %u /mnt/file; echo x >/mnt/file"
    found = engine.run("-v", "%s:/mnt" % place, "busybox", "sh", "-c", script)
    assert (found.status, found.lines) == (1, ["of the host", "65534"])
    with open(place + "/file") as file:
        assert file.read() == "of the host\n"


@judged
def test_a_user_limits_and_a_volume(engine):
    words = ("-u", "app", "-w", "/home/app", "--ulimit", "nofile=100:200", "--cpuset-cpus", "0")
    words += ("--memory", "64m", "--pids-limit", "20", "-v", "vol:/home/app")
    script = "id -u; pwd; ulimit -n; nproc; touch x && stat -c %u x"
    found = engine.run(*(words + ("busybox", "sh", "-c", script))).ok
    engine("volume", "rm", "--force", "vol").ok
    assert found.lines == ["1000", "/home/app", "100", "1", "1000"]


@judged
def test_a_bridge_and_programs_executed_in_it(engine):
    engine("run", "-d", "--name", "web", "busybox", "httpd", "-f", "-p", "8080", "-h", "/etc").ok
    address = engine.inspect("web")["NetworkSettings"]["IPAddress"]
    found = engine("run", "--rm", "busybox", "wget", "-qO-", "http://%s:8080/group" % address)
    assert found.ok.lines[0] == "root:x:0:"
    assert engine("exec", "web", "sh", "-c", "id -u; exit 4") == (4, "0\n", "")
    live = engine.start("exec", "-it", "web", "sh", tty=True)
    live.send("tty; exit 9\n")
    live.expect("/dev/pts/")
    assert live.wait().status == 9


@judged
def test_it_is_paused_changed_and_stopped(engine):
    engine.box("--name", "one", *SLEEP)
    wait_until(lambda: engine("logs", "one").out == "up\n")
    engine("pause", "one").ok
    engine("unpause", "one").ok
    engine("update", "--memory", "64m", "--memory-swap", "64m", "one").ok
    assert "/ 64MiB" in engine("stats", "--no-stream", "--format", "{{.MemUsage}}", "one").ok.out
    engine("stop", "--time", "5", "one").ok
    assert engine.inspect("one")["State"]["ExitCode"] == 5


@judged
def test_without_remapping_it_is_the_hosts_root(engine):
    found = engine.run("--userns", "host", "busybox", "cat", "/proc/self/uid_map").ok
    assert found.fields == ["0", "0", "4294967295"]
