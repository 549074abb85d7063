"""podman of a user without privileges, without a cgroup of its own, with minictr below it."""

import os

import daemons
import pytest
from daemons import SLEEP, judged
from support import needs, wait_until

pytestmark = needs("root", "rootless", "podman", "runc", "busybox", "newuidmap")


@pytest.fixture(scope="module")
def podman_of_a_user(launcher, archive, ranged):
    made = daemons.Podman(None, launcher, archive, ranged)
    yield made
    made.end()


@pytest.fixture
def engine(podman_of_a_user):
    yield podman_of_a_user
    podman_of_a_user.clear()


def test_a_program_runs_and_its_output_and_status_come_back(engine):
    assert engine.run("busybox", "sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")


@judged
def test_root_inside_is_the_user_outside(engine):
    found = engine.run("busybox", "sh", "-c", "id -u; cat /proc/self/uid_map").ok.fields
    account = engine.account
    assert found == ["0", "0", str(account.uid), "1", "1", str(account.start), "65536"]


@judged
def test_the_user_may_stay_the_same(engine):
    found = engine.run("--userns", "keep-id", "busybox", "id", "-u").ok
    assert found.out == "%d\n" % engine.account.uid


@pytest.mark.parametrize("program, status", [("no-such-program", 127), ("/etc/passwd", 126)])
@judged
def test_what_cannot_run_has_its_status(engine, program, status):
    assert engine.run("busybox", program).status == status


@judged
def test_a_terminal_is_the_containers_own(engine):
    live = engine.start("run", "--rm", "-it", "--network", "none", "busybox", "sh", tty=True)
    live.send("tty; exit 3\n")
    live.expect("/dev/pts/0")
    assert live.wait().status == 3


@judged
def test_volumes_and_a_tmpfs_are_shown(engine):
    place = engine.account.place("volume")
    words = ("-v", place + ":/mnt", "--tmpfs", "/var", "--mount", "type=tmpfs,dst=/home,tmpcopyup", "busybox")
    assert engine.run(*(words + ("sh", "-c", "touch /mnt/made /var/x; ls /home"))).ok.out == "app\n"
    assert os.stat(place + "/made").st_uid == engine.account.uid


@judged
def test_it_is_executed_in_logged_and_stopped(engine):
    engine.box("--name", "one", *SLEEP)
    wait_until(lambda: engine("logs", "one").out == "up\n")
    assert engine("exec", "-u", "app", "one", "sh", "-c", "id -u; exit 4") == (4, "1000\n", "")
    assert "sleep" in engine("top", "one").ok.out
    engine("stop", "--time", "5", "one").ok
    assert engine("logs", "one").ok.out == "up\nbye\n"
    assert engine.inspect("one")["State"]["ExitCode"] == 5


@judged
def test_a_pod_shares_its_network(engine):
    infra = ("--infra-image", "busybox", "--infra-command", "sleep 1000")
    engine("pod", "create", "--name", "pod", "--network", "none", *infra).ok
    web = ("busybox", "httpd", "-f", "-p", "127.0.0.1:8080", "-h", "/etc")
    engine("run", "-d", "--pod", "pod", *web).ok
    found = engine("run", "--rm", "--pod", "pod", "busybox", "wget", "-qO-", "http://127.0.0.1:8080/group")
    assert found.ok.lines[0] == "root:x:0:"
    engine("pod", "rm", "--force", "--time", "0", "pod").ok
