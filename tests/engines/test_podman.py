"""podman with minictr below it, as root and as a user without privileges."""

import os

import pytest
from daemons import SLEEP, judged
from support import needs, wait_until

pytestmark = needs("root", "podman", "runc", "busybox")


@pytest.fixture
def engine(podmans):
    yield podmans
    podmans.clear()


# These are judged by nobody: where they fail, nothing else is worth trying


def test_a_program_runs_and_its_output_and_status_come_back(engine):
    assert engine.run("busybox", "sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")


def test_podman_knows_the_runtimes_name_and_version(engine):
    assert "minictr version " in engine("info", "--format", "{{.Host.OCIRuntime.Version}}").ok.out
    assert engine("info", "--format", "{{.Host.OCIRuntime.Name}}").ok.out == "minictr\n"


# --- run ----------------------------------------------------------------------------------------------


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
    kind = "a command that was not found" if status == 127 else "permission denied"
    assert found.err.strip().endswith(kind), found


@judged
def test_standard_input_reaches_the_program(engine):
    assert engine.run("-i", "busybox", "cat", stdin="a line\n").ok.out == "a line\n"


@judged
def test_a_terminal_is_the_containers_own_and_has_its_size(engine):
    live = engine.start("run", "--rm", "-it", "--network", "none", "busybox", "sh", tty=True)
    live.resize(33, 77)
    live.send("tty; sleep 0.3; stty size; exit 3\n")
    live.expect("33 77")
    assert b"/dev/pts/0" in live.out
    assert live.wait().status == 3


@judged
def test_a_user_a_directory_and_variables_are_set(engine):
    words = ("-u", "app", "-w", "/home/app", "-e", "A=b c", "busybox", "sh", "-c", 'id -u; pwd; echo "$A"')
    assert engine.run(*words).ok.lines == ["1000", "/home/app", "b c"]


@judged
def test_process_1_may_be_an_init(engine):
    found = engine.run("--init", "busybox", "sh", "-c", "cat /proc/1/comm; cat /proc/1/cmdline")
    assert "init" in found.ok.lines[0], found


@judged
def test_limits_are_set(engine):
    words = ("--memory", "64m", "--pids-limit", "20", "--cpuset-cpus", "0", "--ulimit", "nofile=100:200")
    words += ("--ulimit", "nproc=100:200")
    found = engine.run(*words, "-v", "/sys/fs/cgroup:/cg:ro", "busybox", "sh", "-c", LIMITS).ok
    assert found.lines == ["67108864", "20", "1", "100"]


LIMITS = """
cd /cg
cat memory$(sed -n 's/.*:memory://p' /proc/self/cgroup)/memory.limit_in_bytes memory.max 2>/dev/null
cat pids$(sed -n 's/.*:pids://p' /proc/self/cgroup)/pids.max pids.max 2>/dev/null
nproc; ulimit -n
"""


@judged
def test_memory_runs_out(engine):
    script = "x=x; while :; do x=$x$x; done"
    found = engine(
        "run", "--name", "big", "--network", "none", "--memory", "16m", "busybox", "sh", "-c", script
    )
    assert found.status == 137


@judged
def test_it_is_told_apart_what_is_read_only(engine):
    script = "touch /x; touch /tmp/x && echo yes"
    found = engine.run("--read-only", "busybox", "sh", "-c", script)
    assert found.out == "yes\n"
    assert "Read-only file system" in found.err


@judged
def test_privileged_means_all_capabilities(engine):
    script = "grep CapEff /proc/self/status"
    assert engine.run("--privileged", "busybox", "sh", "-c", script).ok.fields[1] == own_capabilities()
    dropped = engine.run("--cap-drop", "all", "busybox", "sh", "-c", script).ok.fields[1]
    assert int(dropped, 16) == 0


def own_capabilities():
    with open("/proc/self/status") as file:
        return [line.split()[1] for line in file if line.startswith("CapBnd:")][0]


@judged
def test_podmans_filter_is_in_force(engine):
    script = "grep Seccomp: /proc/self/status; unshare -m true; echo $?"
    found = engine.run("busybox", "sh", "-c", script)
    assert found.lines[0].split()[1] == "2"
    assert found.lines[-1] != "0"
    free = engine.run("--security-opt", "seccomp=unconfined", "busybox", "sh", "-c", script)
    assert free.lines[0].split()[1] == "0"


@judged
def test_a_device_and_a_sysctl_are_there(engine):
    words = ("--device", "/dev/zero:/dev/nil", "--sysctl", "net.ipv4.ip_forward=1", "busybox", "sh", "-c")
    found = engine.run(*words, "head -c 3 /dev/nil | wc -c; cat /proc/sys/net/ipv4/ip_forward").ok
    assert found.fields == ["3", "1"]


@judged
def test_descriptors_and_sockets_are_passed_on(engine):
    def place():
        enter()
        os.dup2(os.open("/etc/hostname", os.O_RDONLY), 3)

    enter = engine.yard._enter
    script = "ls /proc/$$/fd; true"
    words = engine.words() + (
        "run",
        "--rm",
        "--network",
        "none",
        "--preserve-fds",
        "1",
        "busybox",
        "sh",
        "-c",
        script,
    )
    found = engine.yard.runner.command(*words, env=engine.environment(), setup=place, pass_fds=(3,))
    assert found.ok.lines == ["0", "1", "2", "3"]


# --- files --------------------------------------------------------------------------------------------


@judged
def test_volumes_are_shown_and_copied_up(engine, tmp_path):
    (tmp_path / "file").write_text("of the host\n")
    found = engine.run("-v", "%s:/mnt:ro" % tmp_path, "busybox", "sh", "-c", "cat /mnt/file; touch /mnt/x")
    assert (found.status, found.out) == (1, "of the host\n")
    script = "ls /home; touch /home/kept"
    try:
        assert engine.run("-v", "vol:/home", "busybox", "sh", "-c", script).ok.out == "app\n"
        assert engine.run("-v", "vol:/home", "busybox", "ls", "/home").ok.lines == ["app", "kept"]
    finally:
        engine("volume", "rm", "--force", "vol")


@judged
def test_an_image_can_be_a_volume(engine):
    """An overlay of layers whose names are long."""
    assert (
        engine.run("--mount", "type=image,src=busybox,dst=/mnt", "busybox", "ls", "/mnt/home").ok.out
        == "app\n"
    )


@judged
def test_a_tmpfs_has_what_was_below_it(engine):
    words = ("--mount", "type=tmpfs,dst=/home,tmpcopyup", "--tmpfs", "/var", "--shm-size", "1m", "busybox")
    script = "ls /home; stat -f -c %T /home /var; df -k /dev/shm | tail -n 1"
    found = engine.run(*words, "sh", "-c", script).ok
    assert found.lines[:3] == ["app", "tmpfs", "tmpfs"]
    assert found.lines[3].split()[1] == "1024"


@judged
def test_ids_are_mapped_in_a_user_namespace(engine):
    script = "cat /proc/self/uid_map; stat -c %u /bin/busybox; touch /x && stat -c %u /x"
    found = engine.run(
        "--uidmap", "0:200000:5000", "--gidmap", "0:200000:5000", "busybox", "sh", "-c", script
    ).ok
    assert found.fields == ["0", "200000", "5000", "0", "0"]


@judged
def test_an_image_is_built_and_runs(engine, tmp_path):
    (tmp_path / "Containerfile").write_text(
        "FROM localhost/busybox\nRUN echo built >/made\nUSER app\nCMD cat /made; id -un\n"
    )
    built = engine("build", "--network", "none", "-q", "-t", "built", str(tmp_path))
    assert built.status == 0, built
    try:
        assert engine.run("built").ok.lines == ["built", "app"]
    finally:
        engine("rmi", "--force", "built")


# --- in the background ------------------------------------------------------------------------------------


@pytest.fixture
def box(engine):
    """The id of a container that has said "up"."""
    made = engine.box("--name", "box", *SLEEP)
    wait_until(lambda: engine("logs", "box").out == "up\n")
    return made


@judged
def test_its_output_is_kept_and_it_stops_when_asked(engine):
    engine.box("--name", "one", *SLEEP)
    wait_until(lambda: engine("logs", "one").out == "up\n")
    assert engine.inspect("one")["State"]["Status"] == "running"
    engine("stop", "--time", "5", "one").ok
    assert engine("logs", "one").ok.out == "up\nbye\n"
    state = engine.inspect("one")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 5)
    engine("start", "one").ok
    assert engine.inspect("one")["State"]["Status"] == "running"
    engine.remove("one")


@judged
def test_one_that_will_not_stop_is_killed(engine):
    engine.box("--name", "one", "busybox", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    wait_until(lambda: engine("logs", "one").out == "up\n")
    assert engine("stop", "--time", "1", "one").status == 0
    assert engine.inspect("one")["State"]["ExitCode"] == 137
    engine.remove("one")


@judged
def test_it_is_killed_by_a_signals_name(engine):
    engine.box("--name", "one", *SLEEP)
    engine("kill", "--signal", "KILL", "one").ok
    assert engine("wait", "one").ok.out == "137\n"
    engine.remove("one")


@judged
def test_it_is_paused_and_goes_on(engine):
    engine.box("--name", "one", *SLEEP)
    engine("pause", "one").ok
    assert engine.inspect("one")["State"]["Status"] == "paused"
    assert engine("exec", "one", "true").status != 0
    engine("unpause", "one").ok
    assert engine.inspect("one")["State"]["Status"] == "running"
    engine("pause", "one").ok
    engine.remove("one")
    assert engine("ps", "--all", "--quiet").ok.out == ""


@judged
def test_programs_are_executed_in_it(engine):
    engine.box("--name", "one", *SLEEP)
    assert engine("exec", "one", "sh", "-c", "echo out; exit 4") == (4, "out\n", "")
    assert engine("exec", "-i", "one", "cat", stdin="a line\n").ok.out == "a line\n"
    words = ("-u", "app", "-w", "/home/app", "-e", "A=b", "one", "sh", "-c", "id -u; pwd; echo $A")
    assert engine("exec", *words).ok.lines == ["1000", "/home/app", "b"]
    engine("exec", "-d", "one", "sleep", "333").ok
    assert "sleep 333" in engine("top", "one").ok.out
    for program, status in (("no-such", 127), ("/etc/passwd", 126)):
        assert engine("exec", "one", program).status == status
    live = engine.start("exec", "-it", "one", "sh", tty=True)
    live.send("tty; exit 9\n")
    live.expect("/dev/pts/")
    assert live.wait().status == 9
    engine.remove("one")


@judged
def test_what_it_uses_is_counted(engine):
    engine.box("--name", "one", *SLEEP)
    found = engine("stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", "one").ok.fields
    assert int(found[0]) >= 1
    engine.remove("one")


@judged
def test_limits_are_changed_while_it_runs(engine):
    engine.box("--name", "one", *SLEEP)
    engine("update", "--memory", "64m", "one").ok
    found = engine(
        "exec",
        "one",
        "sh",
        "-c",
        "cat /sys/fs/cgroup/memory*/memory.limit_in_bytes /sys/fs/cgroup/memory.max",
    )
    assert "67108864" in found.out
    engine.remove("one")


@judged
def test_its_health_is_checked(engine):
    words = ("--health-cmd", "test -e /tmp/well", "--health-interval", "disable", "--health-retries", "1")
    engine.box("--name", "one", *(words + SLEEP))
    assert engine("healthcheck", "run", "one").status == 1
    engine("exec", "one", "touch", "/tmp/well").ok
    assert engine("healthcheck", "run", "one").status == 0
    engine.remove("one")


@judged
def test_a_pod_shares_its_network_and_its_names(engine):
    infra = ("--infra-image", "busybox", "--infra-command", "sleep 1000")
    engine("pod", "create", "--name", "pod", "--network", "none", *infra).ok
    engine(
        "run",
        "-d",
        "--pod",
        "pod",
        "--name",
        "web",
        "busybox",
        "httpd",
        "-f",
        "-p",
        "127.0.0.1:8080",
        "-h",
        "/etc",
    ).ok
    engine("run", "--rm", "--pod", "pod", "busybox", "wget", "-qO-", "http://127.0.0.1:8080/group").ok
    assert engine("pod", "ps", "--format", "{{.Status}}").ok.out == "Running\n"
    engine("pod", "rm", "--force", "--time", "0", "pod").ok


@judged
def test_containers_reach_each_other_over_a_bridge(engine):
    engine("run", "-d", "--name", "web", "busybox", "httpd", "-f", "-p", "8080", "-h", "/etc").ok
    address = engine.inspect("web")["NetworkSettings"]["IPAddress"]
    found = engine("run", "--rm", "busybox", "wget", "-qO-", "http://%s:8080/group" % address)
    assert found.ok.lines[0] == "root:x:0:"
    engine.remove("web")


@judged
def test_without_a_cgroup_it_is_in_podmans_own(engine):
    found = engine.run("--cgroups", "disabled", "busybox", "cat", "/proc/self/cgroup").ok
    assert "libpod-" not in found.out


@judged
def test_a_container_that_was_only_created_is_started_and_removed(engine):
    engine("create", "--name", "one", "--network", "none", "busybox", "echo", "hi").ok
    assert engine("start", "--attach", "one").ok.out == "hi\n"
    engine("init", "one")
    engine.remove("one")
    assert engine("ps", "--all", "--quiet").ok.out == ""


def test_it_can_not_be_checkpointed(engine):
    engine.box("--name", "one", *SLEEP)
    found = engine("container", "checkpoint", "one")
    assert found.status == 125
    assert any(word in found.err for word in ("minictr", "checkpoint", "criu")), found  # the latter: podman 5
    engine.remove("one")
