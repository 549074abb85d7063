"""dockerd with minictr as its default runtime."""

import json

import pytest
from daemons import SLEEP, judged
from support import needs, wait_until

pytestmark = needs("root", "docker", "runc", "busybox")


@pytest.fixture
def engine(docker):
    yield docker
    docker.clear()


def test_a_program_runs_and_its_output_and_status_come_back(engine):
    assert engine.run("busybox", "sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")


def test_docker_knows_the_runtimes_version(engine):
    assert engine("info", "--format", "{{.DefaultRuntime}}").ok.out == "minictr\n"
    assert json.loads(engine("info", "--format", "{{json .RuncCommit}}").ok.out)["ID"].startswith("minictr-")


@pytest.mark.parametrize(
    "program, status, words",
    [
        ("no-such-program", 127, 'exec: "no-such-program": executable file not found in $PATH'),
        ("/no/such", 127, 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
        ("/etc", 126, 'exec: "/etc": '),
    ],
)
@judged
def test_what_cannot_run_has_its_status_and_its_words(engine, program, status, words):
    found = engine.run("busybox", program)
    assert found.status == status, found
    assert words in found.err


@judged
def test_a_terminal_is_the_containers_own_and_has_its_size(engine):
    live = engine.start("run", "--rm", "-it", "--network", "none", "busybox", "sh", tty=True)
    live.resize(33, 77)
    live.send("tty; sleep 0.3; stty size; exit 3\n")
    live.expect("33 77")
    assert b"/dev/pts/0" in live.out
    assert live.wait().status == 3


@judged
def test_a_user_a_directory_and_limits_are_set(engine):
    script = "id -u; pwd; ulimit -n; nproc; echo $HOME"
    words = ("-u", "app", "-w", "/home/app", "--ulimit", "nofile=100:200", "--cpuset-cpus", "0")
    found = engine.run("--memory", "64m", "--pids-limit", "20", *(words + ("busybox", "sh", "-c", script))).ok
    assert found.lines == ["1000", "/home/app", "100", "1", "/home/app"]


@judged
def test_process_1_may_be_an_init(engine):
    assert "init" in engine.run("--init", "busybox", "cat", "/proc/1/cmdline").ok.out


@judged
def test_memory_runs_out(engine):
    script = "x=x; while :; do x=$x$x; done"
    words = ("--name", "big", "--network", "none", "--memory", "16m", "--memory-swap", "16m")
    assert engine("run", *(words + ("busybox", "sh", "-c", script))).status == 137
    assert engine.inspect("big")["State"]["OOMKilled"] is True


@judged
def test_volumes_and_a_tmpfs_are_shown(engine, tmp_path):
    (tmp_path / "file").write_text("of the host\n")
    words = ("-v", "%s:/mnt:ro" % tmp_path, "-v", "vol:/home", "--tmpfs", "/var:size=1m", "--read-only")
    script = "cat /mnt/file; ls /home; touch /var/x && echo yes; touch /x /mnt/x"
    found = engine.run(*(words + ("busybox", "sh", "-c", script)))
    engine("volume", "rm", "--force", "vol").ok
    assert (found.status, found.lines) == (1, ["of the host", "app", "yes"])
    assert found.err.count("Read-only file system") == 2


@judged
def test_an_image_is_built_and_runs(engine, tmp_path):
    text = "FROM busybox\nENV PATH=/bin\nRUN echo built >/made\nUSER app\nCMD cat /made; id -un\n"
    (tmp_path / "Dockerfile").write_text(text)
    env = ("build", "--network", "none", "-q", "-t", "built", str(tmp_path))
    built = engine(*env)
    assert built.status == 0, built
    assert engine.run("built").ok.lines == ["built", "app"]
    engine("rmi", "--force", "built")


@judged
def test_its_output_is_kept_and_it_stops_when_asked(engine):
    engine.box("--name", "one", *SLEEP)
    wait_until(lambda: engine("logs", "one").out == "up\n")
    engine("stop", "--time", "5", "one").ok
    assert engine("logs", "one").ok.out == "up\nbye\n"
    state = engine.inspect("one")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 5)
    engine("start", "one").ok
    engine("restart", "--time", "0", "one").ok
    assert engine.inspect("one")["State"]["Status"] == "running"
    engine("kill", "one").ok
    assert engine.inspect("one")["State"]["ExitCode"] == 137


@judged
def test_it_is_paused_and_goes_on(engine):
    engine.box("--name", "one", *SLEEP)
    engine("pause", "one").ok
    assert engine.inspect("one")["State"]["Status"] == "paused"
    engine("unpause", "one").ok
    assert engine.inspect("one")["State"]["Status"] == "running"


@judged
def test_programs_are_executed_in_it(engine):
    engine.box("--name", "one", *SLEEP)
    assert engine("exec", "one", "sh", "-c", "echo out; exit 4") == (4, "out\n", "")
    assert engine("exec", "-i", "one", "cat", stdin="a line\n").ok.out == "a line\n"
    words = ("-u", "app", "-w", "/home/app", "-e", "A=b", "one", "sh", "-c", "id -u; pwd; echo $A")
    assert engine("exec", *words).ok.lines == ["1000", "/home/app", "b"]
    engine("exec", "-d", "one", "sleep", "333").ok
    assert "sleep 333" in engine("top", "one").ok.out
    assert engine("exec", "one", "/etc/passwd").status == 126
    found = engine("exec", "one", "no-such")
    assert found.status in (126, 127)
    assert 'exec: "no-such": executable file not found in $PATH' in found.out + found.err
    live = engine.start("exec", "-it", "one", "sh", tty=True)
    live.send("tty; exit 9\n")
    live.expect("/dev/pts/")
    assert live.wait().status == 9


@judged
def test_limits_are_changed_while_it_runs_and_what_it_uses_is_counted(engine):
    engine.box("--name", "one", *SLEEP)
    engine(
        "update", "--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--pids-limit", "50", "one"
    ).ok
    found = engine("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "one").ok.out
    assert "/ 64MiB" in found
    engine("exec", "one", "true").ok


@judged
def test_its_health_is_checked(engine):
    engine.box("--name", "one", "--health-cmd", "test -e /bin/sh", "--health-interval", "200ms", *SLEEP)
    wait_until(lambda: engine.inspect("one")["State"]["Health"]["Status"] == "healthy", 20)


@judged
def test_containers_reach_each_other_over_a_bridge(engine):
    """The network comes from a prestart hook."""
    engine("run", "-d", "--name", "web", "busybox", "httpd", "-f", "-p", "8080", "-h", "/etc").ok
    address = engine.inspect("web")["NetworkSettings"]["IPAddress"]
    found = engine("run", "--rm", "--link", "web", "busybox", "wget", "-qO-", "http://web:8080/group")
    assert found.ok.lines[0] == "root:x:0:"
    engine("network", "create", "net").ok
    try:
        found = engine(
            "run", "--rm", "--network", "net", "busybox", "ip", "-o", "addr", "show", "dev", "eth0"
        )
        assert " inet " in found.ok.out
        assert address not in found.out
    finally:
        engine("network", "rm", "net")


@judged
def test_a_swarm_service_runs_grows_and_is_kept_alive(engine):
    engine("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1").ok
    try:
        assert engine("service", "create", "--name", "s", "--detach", *SLEEP).status == 0
        wait_until(lambda: running(engine) == 1, 40)
        engine("service", "scale", "--detach", "s=3").ok
        wait_until(lambda: running(engine) == 3, 40)
        first = engine("ps", "--quiet").ok.lines[0]
        engine("rm", "--force", first).ok
        wait_until(lambda: running(engine) == 3 and first not in engine("ps", "--quiet").out, 40)
        engine("service", "rm", "s").ok
        wait_until(lambda: not engine("ps", "--quiet").out, 40)
    finally:
        engine("swarm", "leave", "--force")


def running(engine):
    return len(engine("ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=s").ok.lines)
