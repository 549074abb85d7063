"""containerd driven as Kubernetes does it, with minictr as the handler of a RuntimeClass."""

import cri
import daemons
import pytest
from daemons import TRAP, judged
from support import needs, wait_until

pytestmark = [
    needs("root", "containerd", "podman", "runc", "busybox", "ip"),
    pytest.mark.skipif(bool(cri.missing()), reason=cri.missing()),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # protobuf 3.21 with Python 3.13, in Debian
]


@pytest.fixture(scope="module")
def images(yard, launcher, archive):
    """As archives: a busybox, and what keeps a pod's namespaces."""
    podman, found = daemons.Podman(yard, launcher, archive), {}
    for name, entry in (("busybox", "[]"), ("pause", '["sleep","1000000"]')):
        changes = ("--change", "ENTRYPOINT " + entry, "--change", "ENV PATH=/bin")
        podman("import", "--quiet", *(changes + (archive, name))).ok
        found["localhost/%s:latest" % name] = place = "%s/%s.tar" % (podman.place, name)
        podman("save", "--quiet", "--format", "docker-archive", "--output", place, name).ok
    return found


@pytest.fixture(scope="module")
def kubelet(yard, launcher, images):
    made = cri.Kubelet(yard, launcher, images)
    yield made
    made.end()


@pytest.fixture
def engine(kubelet):
    yield kubelet
    kubelet.clear()


@judged
def test_a_pod_has_an_address_and_its_containers_share_it(engine):
    pod = engine.pod()
    web = pod.start("httpd", "-f", "-p", "8080", "-h", "/etc")
    address = engine.client.PodSandboxStatus(pod_sandbox_id=pod.id).status.network.ip
    assert address.startswith("10.88.7.")
    status, said = pod.run("sh", "-c", "wget -qO- http://127.0.0.1:8080/group; hostname; exit 7")
    assert (status, said[0], said[-1]) == (7, "root:x:0:", pod.config["hostname"])
    other = engine.pod()
    assert other.run("wget", "-qO-", "http://%s:8080/group" % address)[1][0] == "root:x:0:"
    assert address in pod.execute(web, "ip", "-o", "addr", "show", "dev", "eth0")[1]


@judged
def test_it_stops_when_asked(engine):
    pod = engine.pod()
    box = pod.start(*TRAP)
    wait_until(lambda: pod.said(box) == ["up"], 60)
    assert pod.stop(box, 10).exit_code == 5
    assert pod.said(box) == ["up", "bye"]
    stubborn = pod.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    wait_until(lambda: pod.said(stubborn) == ["up"], 60)
    assert pod.stop(stubborn, 1).exit_code == 137


@judged
def test_programs_are_executed_in_it(engine):
    pod = engine.pod()
    box = pod.start(*TRAP)
    assert pod.execute(box, "sh", "-c", "echo out; exit 4") == (4, "out\n")
    assert pod.execute(box, "sh", "-c", "cat /proc/1/comm")[1] == "sh\n"


@judged
def test_limits_are_set_changed_and_counted(engine):
    pod = engine.pod()
    limits = {"memory_limit_in_bytes": 64 << 20, "cpu_period": 100000, "cpu_quota": 50000, "cpu_shares": 512}
    box = pod.start(*TRAP, linux=dict(cri.namespaces(), resources=limits))
    shown = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"
    assert pod.execute(box, "sh", "-c", shown)[1] == "%d\n" % (64 << 20)
    engine.client.UpdateContainerResources(
        container_id=box, linux={"memory_limit_in_bytes": 96 << 20, "cpu_quota": 25000, "cpu_period": 100000}
    )
    assert pod.execute(box, "sh", "-c", shown)[1] == "%d\n" % (96 << 20)
    used = engine.client.ContainerStats(container_id=box).stats
    assert 0 < used.memory.working_set_bytes.value < 64 << 20
    assert used.cpu.usage_core_nano_seconds.value > 0


@judged
def test_the_security_context_is_in_force(engine):
    context = {
        "capabilities": {"drop_capabilities": ["ALL"], "add_capabilities": ["NET_BIND_SERVICE"]},
        "run_as_user": {"value": 1000}, "run_as_group": {"value": 1000}, "supplemental_groups": [2000],
        "readonly_rootfs": True, "no_new_privs": True, "seccomp": {"profile_type": 0},
        "masked_paths": ["/proc/kcore"], "readonly_paths": ["/proc/sys"],
    }  # fmt: skip
    script = "exec 2>&1; id; grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; touch /x; "
    script += "grep -c ' /proc/sys ro,' /proc/self/mountinfo"
    _, said = engine.pod().run("sh", "-c", script, linux={"security_context": context})
    assert "uid=1000" in said[0] and "2000" in said[0]
    assert [line.split()[1] for line in said[1:4]] == ["%016x" % (1 << 10), "1", "2"]
    assert said[4].endswith("Read-only file system") and said[5] == "1"


@judged
def test_volumes_and_variables(engine, tmp_path):
    (tmp_path / "file").write_text("of the host\n")
    mounts = [{"container_path": "/mnt", "host_path": str(tmp_path), "readonly": True}]
    words = {"mounts": mounts, "envs": [{"key": "A", "value": "b c"}], "working_dir": "/mnt"}
    status, said = engine.pod().run("sh", "-c", 'exec 2>&1; cat file; echo "$A"; touch x', **words)
    assert (status, said[:2]) == (1, ["of the host", "b c"])
    assert said[2].endswith("Read-only file system")


@judged
def test_memory_runs_out(engine):
    pod = engine.pod()
    limits = {"memory_limit_in_bytes": 16 << 20}
    box = pod.start(
        "sh", "-c", "x=x; while :; do x=$x$x; done", linux=dict(cri.namespaces(), resources=limits)
    )
    ended = pod.wait(box)
    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")


@judged
def test_processes_are_seen_by_the_whole_pod_where_it_shares_them(engine):
    shared = cri.namespaces(pid="POD")
    pod = engine.pod(**shared)
    first = pod.start(*TRAP, linux=shared)
    second = pod.start(*TRAP, linux=shared)
    for box in (first, second):
        assert pod.execute(box, "cat", "/proc/1/comm") == (0, "sleep\n")  # what keeps the pod
    seen = pod.execute(second, "sh", "-c", "grep -l trap /proc/[0-9]*/cmdline 2>/dev/null | wc -l")[1]
    assert int(seen) >= 2


@judged
def test_a_pod_of_the_nodes_own_namespaces(engine):
    shared = cri.namespaces(network="NODE", pid="NODE", ipc="NODE")
    _, said = engine.pod(**shared).run(
        "sh", "-c", "ls /sys/class/net; ls /proc | grep -c '^[0-9]'", linux=shared
    )
    assert "eth0" not in said and int(said[-1]) > 5


@judged
def test_a_pod_has_users_of_its_own(engine):
    """Since containerd 1.7; Kubernetes has it as `hostUsers: false`."""
    lines = [{"container_id": 0, "host_id": 300000, "length": 65536}]
    users = cri.namespaces(userns_options={"mode": "POD", "uids": lines, "gids": lines})
    pod = engine.pod(**users)
    box = pod.start(
        "sh", "-c", "cat /proc/self/uid_map; touch /x; stat -c %u /x /bin/busybox; sleep 1000", linux=users
    )
    wait_until(lambda: len(pod.said(box)) == 3, 60)
    assert [line.split() for line in pod.said(box)] == [["0", "300000", "65536"], ["0"], ["0"]]
    script = '[ "$(readlink /proc/self/ns/user)" = "$(readlink /proc/1/ns/user)" ] && echo same'
    assert pod.execute(box, "sh", "-c", script) == (0, "same\n")


@judged
def test_it_lives_on_while_containerd_is_started_again(engine):
    pod = engine.pod()
    box = pod.start(*TRAP)
    wait_until(lambda: pod.said(box) == ["up"], 60)
    engine.restart()
    assert pod.execute(box, "sh", "-c", "echo out; exit 4") == (4, "out\n")
    assert pod.stop(box, 10).exit_code == 5


def test_what_cannot_run_is_named(engine):
    pod = engine.pod()
    box = pod.create("no-such-program")
    with pytest.raises(cri.Refused) as refused:
        engine.client.StartContainer(container_id=box)
    assert 'exec: "no-such-program": executable file not found in $PATH' in str(refused.value)


def test_a_handler_that_nobody_has_is_refused(engine):
    with engine.below("none"), pytest.raises(cri.Refused, match="no runtime for"):
        engine.pod()
