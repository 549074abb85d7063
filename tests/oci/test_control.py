"""pause, resume, ps, update, events and kill --all on containers that live; runc and crun are the judges."""

import json
import os
import resource
import signal
import stat
import time

import pytest
import support
from bundles import V2, Box, Runtime, unlike
from support import needs

pytestmark = needs("root", "busybox", "cgroup")

MIB = 1 << 20
limits = needs("cgroup2-controllers" if V2 else "cgroup1")
COUNT = "echo up; i=0; while :; do i=$((i+1)); echo $i >/dev/shm/n; done"


def counter(box):
    with open(box.path("/dev/shm/n")) as file:
        return file.read()


# --- pause, resume --------------------------------------------------------------------------------


def test_a_paused_container_stands_still_and_goes_on_when_it_is_resumed(runtime, box):
    one = box(runtime, COUNT)
    support.wait_until(lambda: os.path.exists(one.path("/dev/shm/n")))
    one.verb("pause").ok
    assert one.status == "paused"
    before = counter(one)
    time.sleep(0.1)
    assert counter(one) == before
    one.verb("resume").ok
    assert one.status == "running"
    support.wait_until(lambda: counter(one) != before)


def test_a_list_tells_who_is_paused(runtime, box):
    still, busy = box(runtime), box(runtime)
    still.verb("pause").ok
    rows = {row["id"]: row["status"] for row in json.loads(runtime.verb("list", "--format", "json").ok.out)}
    assert (rows[still.id], rows[busy.id]) == ("paused", "running")


def test_a_list_opens_no_more_descriptors_for_more_containers(own, box):
    for _ in range(4):
        box(own)
    few, limit = (8, 8), resource.RLIMIT_NOFILE  # libffi 3.5 keeps one
    found = own.verb("list", "--quiet", setup=lambda: resource.setrlimit(limit, few))
    assert len(found.ok.lines) == 4


def test_one_that_is_watched_may_be_looked_at_once_in_a_long_while(own, box):
    one = box(own)
    live = own.start_verb("events", "--interval", "1000h", one.id)
    time.sleep(0.5)
    assert live.running
    one.verb("kill", "KILL").ok
    assert live.wait() == (0, "", "")


@limits
def test_one_in_the_foreground_is_updated_by_several_at_once(own, bundle):
    made = bundle()
    made.process["args"] = ["sh", "-c", "echo up; exec sleep 1000"]
    own.start(made).expect("up\n")
    for _ in range(4):
        words = ["update", "--pids-limit", "100", made.identifier]
        lives = [own.start_verb(*words) for _ in range(12)]
        assert [live.wait() for live in lives] == [(0, "", "")] * 12
    own.verb("delete", "--force", made.identifier).ok


@limits
def test_an_update_that_cannot_be_noted_changes_nothing(own, box):
    one = box(own, verb="create")
    before, files = one.value("pids.max"), sorted(os.listdir("%s/%s" % (own.runner.state(), one.id)))
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # noqa: E731
    unwritten = {"PYTHONDONTWRITEBYTECODE": "1"}  # Python would leave the first 100 bytes of that behind
    found = one.verb("update", "--pids-limit=77", setup=full, env=unwritten)
    said = "minictr: write the configuration of container %s: File too large; hint: ulimit -f " % one.id
    assert (found.status, found.out) == (125, "") and found.err.startswith(said), found
    assert one.value("pids.max") == before
    refused = one.verb("update", "--pids-limit=77", "--cpuset-cpus=4000")
    assert refused.status == 125 and one.value("pids.max") == before
    assert sorted(os.listdir("%s/%s" % (own.runner.state(), one.id))) == files


def test_an_update_leaves_alone_what_it_does_not_know(own, box):
    one = box(own)
    text = json.dumps({"foo": 1, "pids": {"limit": 77, "bar": [1]}})
    assert own.verb("update", "--resources", "-", one.id, stdin=text) == (0, "", "")
    assert one.value("pids.max") == "77"


@pytest.mark.parametrize("verb, words", [("pause", "already paused"), ("resume", "not paused")])
def test_what_is_so_already_is_an_error(runtime, box, verb, words):
    unlike(runtime, "crun", "takes it for done")
    one = box(runtime)
    if verb == "pause":
        one.verb("pause").ok
    found = one.verb(verb)
    assert found.status != 0 and found.err
    if runtime.name == "minictr":
        assert found == (125, "", "minictr: %s container %s: container %s\n" % (verb, one.id, words))


@pytest.mark.parametrize("verb", ["pause", "resume", "update", "events"])
def test_only_one_that_lives_can_be_changed_or_watched(runtime, box, verb):
    unlike(runtime, "crun", "writes into the cgroup that is left")
    one = box(runtime)
    one.verb("kill", "KILL").ok
    support.wait_until(lambda: support.gone(one.pid))
    found = one.verb(verb, *(["--memory=64M"] if verb == "update" else []))
    assert found.status != 0 and found.out == ""
    if runtime.name == "minictr":
        assert found.err.endswith(": container not running\n")


@pytest.mark.parametrize("verb", ["pause", "resume", "ps", "update", "events"])
def test_an_id_that_nobody_has_is_an_error(own, verb):
    assert own.verb(verb, "nobody") == (125, "", "minictr: container does not exist: nobody\n")


def test_nothing_is_run_in_a_paused_container(runtime, box):
    one = box(runtime)
    one.verb("pause").ok
    found = one.verb("exec", "touch", "/dev/shm/it")
    assert found.status == (1 if runtime.name == "crun" else 255)
    if runtime.name != "crun":
        assert "cannot exec in a paused container" in found.err
    one.verb("resume").ok
    assert not os.path.exists(one.path("/dev/shm/it"))


def test_a_program_may_wait_until_the_container_is_resumed(own, box):
    one = box(own)
    one.verb("pause").ok
    live = own.start_verb("exec", "--ignore-paused", one.id, "echo", "at last")
    time.sleep(0.3)
    live.read(0)
    assert live.running and live.out == b""
    one.verb("resume").ok
    assert live.wait() == (0, "at last\n", "")


def test_a_paused_container_can_be_killed(runtime, box):
    unlike(runtime, "crun", "leaves it frozen on v1")
    one = box(runtime)
    one.verb("pause").ok
    one.verb("kill", "KILL").ok
    support.wait_until(lambda: support.gone(one.pid))
    assert one.status == "stopped"
    one.verb("delete").ok


def test_another_signal_waits_until_it_is_resumed(runtime, box):
    one = box(runtime, "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done")
    one.verb("pause").ok
    one.verb("kill", "TERM").ok
    assert one.status == "paused"
    one.verb("resume").ok
    support.wait_until(lambda: support.gone(one.pid))


@pytest.mark.parametrize("verb", ["delete", "stop"])
def test_a_paused_container_can_be_ended(runtime, box, verb):
    if verb == "stop":
        unlike(runtime, "runc", "has no such verb")
        unlike(runtime, "crun", "has no such verb")
    one = box(runtime)
    inside = json.loads(one.verb("ps", "--format=json").ok.out)
    one.verb("pause").ok
    one.verb(verb, "--force" if verb == "delete" else "--time=0.1").ok
    assert all(support.gone(pid) for pid in inside)


def test_a_paused_container_counts_as_running_for_an_init_script(own, box):
    one = box(own)
    one.verb("pause").ok
    assert one.verb("state", "--quiet") == (0, "", "")


def test_a_created_container_can_be_paused_but_then_not_started(own, box):
    one = box(own, "exit 0", verb="create")
    one.verb("pause").ok
    found = one.verb("start")
    assert found == (125, "", "minictr: start container %s: it is paused, not created\n" % one.id)
    one.verb("resume").ok
    assert one.status == "created"
    one.verb("start").ok


@pytest.mark.parametrize("terminal", [[], ["-t"]], ids=["plain", "with a terminal"])
def test_the_time_of_a_paused_container_runs_out_all_the_same(minictr, busybox_root, terminal):
    words = ["run", "--name", "x", "--timeout", "2", "--rootfs", busybox_root] + terminal
    live = minictr.start(*(words + ["--", "sh", "-c", "echo up; sleep 1000"]))
    live.expect("up")
    minictr("pause", "x").ok
    assert live.wait(timeout=20).status == 137


# --- ps -------------------------------------------------------------------------------------------


def members(pid):
    """The processes in the process namespace of PID."""
    found, own = [], os.readlink("/proc/%d/ns/pid" % pid)
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.readlink("/proc/%s/ns/pid" % name) == own:
                found.append(int(name))
        except OSError:
            pass
    return sorted(found)


def test_ps_lists_every_process_and_no_other(runtime, box):
    one = box(runtime)
    live = runtime.start_verb("exec", one.id, "sh", "-c", "echo in; sleep 1002; :")
    live.expect("in\n")
    support.wait_until(lambda: len(members(one.pid)) == 4)
    assert sorted(json.loads(one.verb("ps", "--format=json").ok.out)) == members(one.pid)
    assert sorted(json.loads(runtime.verb("ps", "-f", "json", one.id).ok.out)) == members(one.pid)
    os.kill([pid for pid in members(one.pid) if pid != one.pid][-1], signal.SIGKILL)
    live.wait()


@needs("ps")
def test_a_table_is_the_hosts_with_the_containers_lines_alone(runtime, box):
    unlike(runtime, "crun", "prints process ids alone")
    one = box(runtime)
    lines = one.verb("ps").ok.lines
    assert lines[0].split()[:3] == ["UID", "PID", "PPID"]
    assert [int(line.split()[1]) for line in lines[1:]] == members(one.pid)
    assert lines[1].endswith("sleep 1001")
    lines = one.verb("ps", "-eo", "pid,args").ok.lines
    assert lines[0].split() == ["PID", "COMMAND"]
    assert [line.split() for line in lines[1:]] == [
        [str(one.pid), "sleep", "1001"], [str(members(one.pid)[1]), "sleep", "1000"],
    ]  # fmt: skip


@needs("ps")
def test_the_hosts_ps_has_none_of_our_environment(own, box):
    one = box(own)
    found = one.verb("ps", "-e", env={"PS_FORMAT": "args"}).ok
    assert found.lines[0].split() == ["PID", "TTY", "TIME", "CMD"]


@needs("ps")
def test_a_table_of_which_no_process_can_be_told_is_an_error(own, box):
    one = box(own)
    found = one.verb("ps", "-eo", "args")
    words = "minictr: read what ps says: it has no column PID; hint: add pid to its arguments\n"
    assert found == (125, "", words)
    found = one.verb("ps", "-eo", "lstart,pid")
    assert (found.status, found.out) == (125, "")
    assert found.err.startswith("minictr: read what ps says: no process id in: ")


@needs("ps")
def test_what_ps_does_not_understand_is_told_in_its_own_words(own, box):
    found = box(own).verb("ps", "-@")
    assert (found.status, found.out) == (125, "")
    assert found.err.startswith("minictr: run /usr/bin/ps: error: ")


def test_without_a_ps_on_the_host_the_numbers_are_still_to_be_had(own, box):
    one = box(own)
    programs = {path: "" for path in ("/usr/bin/ps", "/bin/ps") if os.path.exists(path)}
    found = one.verb("ps", cover=programs)
    words = "minictr: run ps: the host has no such program; hint: --format json needs none\n"
    assert found == (125, "", words)
    assert json.loads(one.verb("ps", "--format=json", cover=programs).ok.out) == members(one.pid)


def test_a_container_that_has_ended_has_no_processes(runtime, box):
    unlike(runtime, "crun", "takes it for an error")
    one = box(runtime)
    one.verb("kill", "KILL").ok
    support.wait_until(lambda: support.gone(one.pid))
    assert not json.loads(one.verb("ps", "--format=json").ok.out)


# --- kill --all -----------------------------------------------------------------------------------

# a shell tells of children that a signal has ended, and nobody reads that any more
MARKS = """
exec 2>/dev/null
trap 'echo >/dev/shm/first' USR1
sh -c "trap 'echo >/dev/shm/second' USR1; echo up; while :; do sleep 0.01; done" &
while :; do sleep 0.01; done
"""


@pytest.mark.parametrize("word", ["--all", "-a", ""], ids=["--all", "-a", "the first alone"])
def test_a_signal_reaches_every_process_if_all_are_meant(runtime, box, word):
    if word:
        unlike(runtime, "runc", "sends it to the first alone where that takes the others along", since=(1, 2))
    one = box(runtime, MARKS)
    if word == "-a":
        run = runtime.verb("kill", "-a", one.id, "USR1")
    else:
        run = one.verb("kill", *([word] if word else []), "USR1")
    assert run.status == 0  # runc may warn that it could not freeze, which it does first
    support.wait_until(lambda: os.path.exists(one.path("/dev/shm/first")))
    if word:
        support.wait_until(lambda: os.path.exists(one.path("/dev/shm/second")))
    else:
        time.sleep(0.1)
        assert not os.path.exists(one.path("/dev/shm/second"))


def test_what_outlives_the_first_process_can_be_killed(runtime, box):
    """In the host's process namespace the kernel does not end the others."""

    def shared(made):
        made.namespaces("-pid")
        made.linux["maskedPaths"] = made.linux["readonlyPaths"] = []

    one = box(runtime, "sleep 1000 & echo up; exec sleep 1001", shared)
    other = [pid for pid in json.loads(one.verb("ps", "--format=json").ok.out) if pid != one.pid]
    os.kill(one.pid, signal.SIGKILL)
    support.wait_until(lambda: support.gone(one.pid))
    assert len(other) == 1 and not support.gone(other[0])
    assert json.loads(one.verb("ps", "--format=json").ok.out) == other
    one.verb("kill", "--all", "KILL").ok
    support.wait_until(lambda: support.gone(other[0]))


def test_to_kill_all_of_one_that_has_ended_is_no_error(runtime, box):
    one = box(runtime)
    for _ in range(2):
        assert one.verb("kill", "--all", "KILL") == (0, "", "")
        support.wait_until(lambda: support.gone(one.pid))


# --- a cgroup that is not its own any more --------------------------------------------------------


def test_a_container_does_not_go_without_a_cgroup_because_another_lives_in_it(own, box, bundle):
    one, made = box(own), bundle()
    made.linux["cgroupsPath"] = one.bundle.linux["cgroupsPath"]
    made.process["args"] = ["true"]
    found = own.run(made, "--allow-degraded")
    assert (found.status, found.out) == (125, "") and "processes run in it already: " in found.err, found
    assert one.status == "running"


def test_what_another_container_has_in_the_cgroup_of_one_that_has_ended_is_left_alone(own, box):
    """With a process namespace of its own nothing of the first can live any more."""
    one = box(own)
    path = one.bundle.linux["cgroupsPath"]
    one.verb("kill", "KILL").ok
    support.wait_until(lambda: support.gone(one.pid))
    other = box(own, change=lambda made: made.linux.update(cgroupsPath=path))
    inside = json.loads(other.verb("ps", "--format=json").ok.out)
    other.verb("pause").ok
    assert one.verb("ps", "--format=json").ok.out == "[]\n"
    one.verb("kill", "--all", "KILL").ok
    assert one.verb("kill", "KILL").status == 125
    assert (one.status, other.status) == ("stopped", "paused")
    found = one.verb("delete")
    assert (found.status, found.out) == (0, ""), found
    assert found.err.startswith("minictr: warning: remove the cgroup /sys/fs/cgroup/"), found
    assert "processes run in it that are not the container's: %d, " % min(inside) in found.err
    assert other.status == "paused" and json.loads(other.verb("ps", "--format=json").ok.out) == inside
    place = other.cgroup("memory")
    other.verb("delete", "--force").ok
    assert all(support.gone(pid) for pid in inside) and not os.path.exists(place)


def freeze_one_below(one):
    """Of the other processes of ONE."""
    other = [pid for pid in json.loads(one.verb("ps", "--format=json").ok.out) if pid != one.pid][0]
    below = one.cgroup("freezer") + "/below"
    os.mkdir(below)
    with open(below + "/cgroup.procs", "w") as file:
        file.write(str(other))
    with open(below + ("/cgroup.freeze" if V2 else "/freezer.state"), "w") as file:
        file.write("1" if V2 else "FROZEN")
    return other


@pytest.mark.parametrize("way", ["kill", "stop", "delete"])
def test_what_is_frozen_in_a_cgroup_below_does_not_keep_a_container_alive(own, box, way):
    """As a container in it that is paused: on v1 what is frozen does not even die."""
    one = box(own)
    other = freeze_one_below(one)
    if way == "kill":
        one.verb("kill", "KILL").ok
    elif way == "stop":
        one.verb("stop", "--time=0.1").ok
    elif way == "delete":
        one.verb("delete", "--force").ok
    support.wait_until(lambda: support.gone(one.pid) and support.gone(other))


def test_nor_when_its_time_runs_out(minictr, busybox_root):
    seconds = 30 if "MINICTR_TEST_EMULATED" in os.environ else 2
    words = ["run", "--name", "x", "--timeout", str(seconds), "--rootfs", busybox_root]
    live = minictr.start(*(words + ["--", "sh", "-c", "sleep 1000 & echo up; exec sleep 1001"]))
    live.expect("up")
    freeze_one_below(Box(Runtime("minictr", minictr), identifier="x"))
    assert live.wait(timeout=20 + seconds).status == 137


# --- update ---------------------------------------------------------------------------------------

MEMORY = "memory.max" if V2 else "memory.limit_in_bytes"
SWAP = "memory.swap.max" if V2 else "memory.memsw.limit_in_bytes"
RESERVED = "memory.low" if V2 else "memory.soft_limit_in_bytes"
CHANGES = {
    "--memory=64M": (MEMORY, str(64 * MIB)),
    "--memory=%d" % (32 * MIB): (MEMORY, str(32 * MIB)),
    "--memory-reservation=32m": (RESERVED, str(32 * MIB)),
    "--cpu-period=50000": ("cpu.max", "max 50000") if V2 else ("cpu.cfs_period_us", "50000"),
    "--cpu-quota=30000": ("cpu.max", "30000 100000") if V2 else ("cpu.cfs_quota_us", "30000"),
    "--cpu-share=1024": ("cpu.weight", "100") if V2 else ("cpu.shares", "1024"),
    "--cpuset-cpus=0": ("cpuset.cpus", "0"),
    "--cpuset-mems=0": ("cpuset.mems", "0"),
    "--pids-limit=10": ("pids.max", "10"),
    "--pids-limit=-1": ("pids.max", "max"),
}
LIMITS = {
    "memory": {"limit": 48 * MIB, "reservation": 24 * MIB},
    "cpu": {"shares": 100, "quota": 50000, "period": 100000, "cpus": "0"},
    "pids": {"limit": 20},
}
VALUES = {MEMORY: str(48 * MIB), RESERVED: str(24 * MIB), "cpuset.cpus": "0", "pids.max": "20"}
if V2:
    VALUES["cpu.max"] = "50000 100000"
else:
    VALUES.update({"cpu.shares": "100", "cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000"})


def limited(made):
    made.linux["resources"] = dict(made.linux.get("resources") or {}, **LIMITS)


def values(box):
    return {file: box.value(file) for file in VALUES}


@limits
@pytest.mark.parametrize("option", sorted(CHANGES))
def test_a_limit_is_changed_by_its_option(runtime, box, option):
    if option.endswith(("m", "M")) or "pids-limit=-" in option:
        unlike(runtime, "crun", "takes plain numbers alone")
    one = box(runtime)
    file, value = CHANGES[option]
    one.verb("update", option).ok
    assert one.value(file) == value


@limits
def test_a_rate_for_a_device_is_taken_away_again(own, box):
    disks = ["/dev/" + name for name in sorted(os.listdir("/sys/block")) if os.path.exists("/dev/" + name)]
    file = "io.max" if V2 else "blkio.throttle.read_bps_device"
    one = box(own)
    if not disks or own.verb("update", "--device-read-bps", disks[0] + ":1m", one.id).status:
        pytest.skip("no disk here can be throttled")
    assert str(MIB) in one.value(file)
    one.verb("update", "--device-read-bps=%s:0" % disks[0]).ok
    assert str(MIB) not in one.value(file)


@needs("cgroup1")
def test_the_killer_for_want_of_memory_is_switched_off_and_on_again(own, box):
    one = box(own)
    for off in (True, False):
        given = json.dumps({"memory": {"disableOOMKiller": off}})
        own.verb("update", "--resources", "-", one.id, stdin=given).ok
        assert one.value("memory.oom_control").startswith("oom_kill_disable %d\n" % off)
        assert remembered(one)["memory"]["disableOOMKiller"] is off


@limits
def test_several_limits_are_changed_at_once_before_the_id_and_after(own, box):
    one = box(own)
    own.verb("update", "--memory", "64M", one.id, "--pids-limit", "11", "--cpu-idle", "0").ok
    assert (one.value(MEMORY), one.value("pids.max")) == (str(64 * MIB), "11")
    own.verb("update", one.id).ok


@limits
@pytest.mark.parametrize("source", ["-", "file"])
def test_limits_are_changed_by_a_document(runtime, box, tmp_path, source):
    one = box(runtime)
    place = tmp_path / "resources.json"
    place.write_text(json.dumps(LIMITS))
    if source == "-":
        runtime.verb("update", "--resources", "-", one.id, stdin=json.dumps(LIMITS)).ok
    else:
        runtime.verb("update", "-r", str(place), one.id).ok
    assert values(one) == VALUES


# What dockerd sends for `docker update --memory 64m`: what was not named is 0
DOCKERS = {
    "memory": {"limit": 64 * MIB, "reservation": 0, "kernel": 0},
    "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""},
    "pids": {"limit": 0},
    "blockIO": {"weight": 0},
}


@limits
def test_what_is_0_is_left_as_it_was(runtime, box):
    unlike(runtime, "crun", "leaves the limit of memory alone")
    unlike(runtime, "runc", "warns of the kernel's memory", since=(1, 2))
    one = box(runtime, change=limited)
    assert values(one) == VALUES
    runtime.verb("update", "--resources", "-", one.id, stdin=json.dumps(DOCKERS)).ok
    assert values(one) == dict(VALUES, **{MEMORY: str(64 * MIB)})


def remembered(one):
    with open(os.path.join(one.runtime.runner.state(), one.id, "config.json")) as file:
        return json.load(file)["linux"]["resources"]


@limits
def test_what_was_changed_is_remembered(own, box):
    one = box(own, change=limited)
    assert remembered(one) == one.bundle.linux["resources"]
    own.verb("update", "--resources", "-", one.id, stdin=json.dumps(DOCKERS)).ok
    one.verb("update", "--cpu-share=300").ok
    wanted = json.loads(json.dumps(one.bundle.linux["resources"]))
    wanted["memory"]["limit"], wanted["cpu"]["shares"] = 64 * MIB, 300
    assert {name: remembered(one)[name] for name in wanted} == wanted
    one.verb("exec", "true").ok  # which reads the same file


@limits
def test_memory_and_swap_are_changed_together(own, box):
    one = box(own)
    if not os.path.exists(os.path.join(one.cgroup("memory"), SWAP)):
        pytest.skip("the kernel does not count swap")
    free = [one.value(MEMORY), one.value(SWAP)]
    one.verb("update", "--memory=64M", "--memory-swap=96M").ok
    one.verb("update", "--memory=80M").ok
    assert one.value(MEMORY) == str(80 * MIB)
    assert one.value(SWAP) == str((16 if V2 else 96) * MIB)  # of swap alone, or with memory
    found = one.verb("update", "--memory=128M")
    assert (found.status, found.out) == (125, "")
    said = (
        "minictr: set the memory limit to %d: the limit of memory and swap together is %d, and would be below"
    )
    assert found.err == said % (128 * MIB, 96 * MIB) + " it; hint: --memory-swap SIZE beside it\n"
    assert one.verb("update", "--memory=128M", "--memory-swap=96M").err.endswith(
        "is below the memory limit %d\n" % (128 * MIB)
    )
    one.verb("update", "--memory=-1").ok
    assert [one.value(MEMORY), one.value(SWAP)] == free
    assert remembered(one)["memory"] == {"limit": -1, "swap": -1}


@needs("cgroup1")
def test_a_set_of_processors_that_a_cgroup_below_uses_is_not_taken_from_it(own, box):
    one = box(own)
    have, below = one.value("cpuset.cpus"), one.cgroup("cpuset") + "/below"
    if have == "0":
        pytest.skip("there is one processor")
    os.mkdir(below)
    with open(below + "/cpuset.cpus", "w") as file:
        file.write(have)
    found = one.verb("update", "--cpuset-cpus=0")
    assert found.status == 125
    assert found.err == (
        "minictr: set cpuset.cpus to 0: Device or resource busy; hint: cgroups below it use more of them\n"
    )


@limits
def test_what_the_kernel_refuses_changes_nothing(own, box):
    one = box(own, change=limited)
    found = one.verb("update", "--memory=32M", "--cpuset-cpus=99")
    assert (found.status, found.out) == (125, "")
    assert found.err.startswith("minictr: set cpuset.cpus to 99: "), found
    assert values(one) == VALUES
    assert remembered(one) == one.bundle.linux["resources"]


@limits
@pytest.mark.parametrize(
    "words",
    [
        ("--memory=64M", "--memory-swap=64M", "--pids-limit=9", "--cpu-share=99", "--cpuset-mems=99"),
        ("--cpuset-cpus=0", "--cpuset-mems=99"),
        ("--pids-limit=9", "--cpu-share=99", "--memory=64M", "--memory-swap=32M"),
        ("--cpu-period=5000", "--cpu-quota=400"),
    ],
)
def test_a_refusal_leaves_what_was_never_limited_without_a_limit(own, box, words):
    files = {file for file, _ in CHANGES.values()} | {SWAP, "cpu.cfs_period_us", "cpu.idle"}
    one = box(own)
    files = [file for file in files if os.path.exists(os.path.join(one.cgroup(file.split(".")[0]), file))]
    have = {file: one.value(file) for file in files}
    assert one.verb("update", *words).status == 125
    assert {file: one.value(file) for file in files} == have


@limits
def test_a_refusal_gives_a_device_the_rate_that_it_had(own, box):
    disks = ["/dev/" + name for name in sorted(os.listdir("/sys/block")) if os.path.exists("/dev/" + name)]
    file = "io.max" if V2 else "blkio.throttle.read_bps_device"
    one = box(own)
    if not disks or not os.path.exists(os.path.join(one.cgroup(file.split(".")[0]), file)):
        pytest.skip("there is no disk to limit")
    node = os.stat(disks[0]).st_rdev
    disk = {"major": os.major(node), "minor": os.minor(node)}
    for rate in (0, 5000):
        given = {"blockIO": {"throttleReadBpsDevice": [dict(disk, rate=rate)]}}
        own.verb("update", "--resources", "-", one.id, stdin=json.dumps(given)).ok
        have = one.value(file)
        assert ("5000" in have) == bool(rate)
        given = {
            "blockIO": {"throttleReadBpsDevice": [dict(disk, rate=7000), dict(disk, major=4095, rate=1)]}
        }
        assert own.verb("update", "--resources", "-", one.id, stdin=json.dumps(given)).status == 125
        assert one.value(file) == have


WRONG = {
    "--memory=x": "--memory x: is not a size such as 64m; hint: -1 is for no limit",
    "--memory=-2": "--memory -2: is not a size such as 64m; hint: -1 is for no limit",
    "--cpu-share=-1": "--cpu-share -1: is not a number from 0 to 18446744073709551615",
    "--pids-limit=x": "--pids-limit x: is not a number; hint: -1 is for no limit",
    "--cpu-idle=2": "--cpu-idle 2: is not a number from 0 to 1",
    "--blkio-weight=1001": "--blkio-weight 1001: is not a number from 0 to 1000",
    "--l3-cache-schema=x": "read the options: unknown option --l3-cache-schema=x; "
    "hint: minictr update --help",
    "--resources=/no/such": "read /no/such: No such file or directory",
}


@limits
@pytest.mark.parametrize("option", sorted(WRONG))
def test_a_wrong_value_is_named_and_nothing_is_changed(own, box, option):
    one = box(own)
    words = [option] if "resources" in option else ["--memory-reservation=1M", option]
    assert one.verb("update", *words) == (125, "", "minictr: %s\n" % WRONG[option])
    assert one.value(RESERVED) != str(MIB)


DOCUMENTS = {
    "": "not JSON: Expecting value: line 1 column 1 (char 0)",
    "[]": "resources is not an object",
    '{"memory": {"limit": "64M"}}': "resources.memory.limit is not a whole number",
    '{"pids": 5}': "resources.pids is not an object",
    '{"cpu": {"cpus": 0}}': "resources.cpu.cpus is not a string",
}


@pytest.mark.parametrize("text", sorted(DOCUMENTS), ids=lambda text: text or "nothing")
def test_a_wrong_document_is_one_clear_line(own, box, text):
    one = box(own)
    found = own.verb("update", "--resources", "-", one.id, stdin=text)
    assert found == (125, "", "minictr: read standard input: %s\n" % DOCUMENTS[text])


def test_a_document_comes_without_other_limits(own):
    found = own.verb("update", "--resources", "-", "--memory", "1G", "x", stdin="{}")
    assert found == (
        125,
        "",
        "minictr: read the options: --resources comes without other limits; hint: minictr update --help\n",
    )


# --- events ---------------------------------------------------------------------------------------


def test_what_a_container_uses_is_an_object_on_one_line(runtime, box):
    unlike(runtime, "crun", "has no such verb")
    one = box(runtime, change=limited)
    (line,) = one.verb("events", "--stats").ok.lines
    event = json.loads(line)
    assert (event["type"], event["id"]) == ("stats", one.id)
    data = event["data"]
    assert data["pids"]["current"] == 2
    assert data["cpu"]["usage"]["total"] > 0
    assert 0 < data["memory"]["usage"]["usage"] <= data["memory"]["usage"]["max"]
    assert data["memory"]["usage"]["limit"] == 48 * MIB
    assert data["pids"]["limit"] == 20


@needs("runc")
def test_what_runc_says_of_a_container_is_said_too(own, box, minictr):
    """Under the same names; which of its values are 0, runc leaves out."""
    judge = type(own)("runc", minictr)
    found = [json.loads(box(runtime).verb("events", "--stats").ok.out) for runtime in (judge, own)]

    def names(value, path=""):
        if not isinstance(value, dict):
            return {path}
        return {path} | {name for key, item in value.items() for name in names(item, path + "." + key)}

    theirs, ours = [names(event) for event in found]
    assert theirs - ours == set()


def test_events_come_at_intervals_until_the_container_ends(own, box):
    one = box(own)
    live = own.start_verb("events", "--interval", "50ms", one.id)
    support.wait_until(lambda: live.read(0.1) or live.out.count(b"\n") >= 3)
    one.verb("kill", "KILL").ok  # which a lock would keep waiting
    found = live.wait(timeout=10)
    assert (found.status, found.err) == (0, "")
    assert {json.loads(line)["type"] for line in found.lines} == {"stats"}


@limits
def test_a_process_killed_for_want_of_memory_is_an_event(own, box):
    def tight(made):
        made.linux["resources"] = {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}

    script = "trap 'dd if=/dev/zero of=/dev/null bs=64M count=1' USR1; echo up; while :; do sleep 0.01; done"
    one = box(own, script, tight)
    live = own.start_verb("events", "--interval=100ms", one.id)
    live.expect("\n")  # it watches
    for kills in (1, 2):
        one.verb("kill", "USR1").ok
        support.wait_until(
            lambda kills=kills: live.read(0.1) or live.out.count(b'"type":"oom"') == kills, timeout=20
        )
    one.verb("kill", "KILL").ok
    found = [json.loads(line) for line in live.wait().lines]
    assert [event for event in found if event["type"] != "stats"] == [{"type": "oom", "id": one.id}] * 2


def test_who_has_heard_enough_of_events_may_leave(own, box):
    one = box(own)
    words = own._words({})
    script = 'set -o pipefail; "$@" | head -n 1'
    command = ["bash", "-c", script, "bash"] + words + ["events", "--interval=20ms", one.id]
    found = own.runner.command(*command, env={"PYTHONPATH": support.CHECKOUT})
    assert (found.status, found.err) == (0, ""), found
    assert len(found.lines) == 1


# --- without a cgroup -----------------------------------------------------------------------------


@pytest.fixture
def loose(minictr, busybox_root):
    """Starts a container without a cgroup, of root or of an account; its id is "x"."""

    def start(account=None, *options):
        words = ["run", "--detach", "--name", "x", "--rootfs", busybox_root] + list(options)
        found = minictr(*(words + ["--", "sh", "-c", "sleep 1000 & exec sleep 1001"]), user=account)
        assert (found.status, found.out) == (0, "x\n"), found
        users.append(account)
        return json.loads(minictr("state", "x", user=account).ok.out)["pid"]

    users = []
    yield start
    for account in users:
        minictr("delete", "--force", "x", user=account).ok


@pytest.mark.parametrize("verb", ["pause", "resume", "update", "events"])
def test_without_a_cgroup_it_is_said_what_is_missing(minictr, loose, verb):
    loose(None, "--cgroups", "disabled")
    found = minictr(verb, "x", *(["--memory", "64M"] if verb == "update" else []))
    assert (found.status, found.out) == (125, "")
    assert found.err.endswith(" container x: the container has no cgroup\n")


@needs("rootless", "cgroup1")
def test_without_a_cgroup_the_reason_and_what_helps_are_told(minictr, loose, unranged):
    loose(unranged, "--memory", "64m", "--cpus", "1")  # two steps down, for the same reason
    found = minictr("pause", "x", user=unranged)
    assert (found.status, found.out) == (125, "")
    words = "the container has no cgroup: the cgroup is not delegated to this user; hint: "
    assert found.err.startswith("minictr: pause container x: " + words)


@pytest.mark.parametrize("options", [[], ["--pid", "host"]], ids=["of its own", "of the host"])
def test_without_a_cgroup_processes_are_found_by_their_namespace_or_parents(minictr, loose, options):
    pid = loose(None, "--cgroups", "disabled", "--userns", "host", *options)
    if not options:  # a child of no process of the container's
        minictr("exec", "--detach", "x", "sleep", "1002").ok
    wanted = ["1000", "1001"] + ([] if options else ["1002"])

    def seen():
        found = json.loads(minictr("ps", "--format", "json", "x").ok.out)
        return found if len(found) == len(wanted) else []

    support.wait_until(seen)
    found, commands = seen(), []
    assert pid in found
    for each in found:
        with open("/proc/%d/cmdline" % each) as file:
            commands.append(file.read().split("\0")[1])
    assert sorted(commands) == wanted
    for each in reversed(found):  # process 1 last: with it the others end
        os.kill(each, signal.SIGKILL)


def test_without_a_cgroup_the_first_process_stands_for_all(minictr, loose):
    pid = loose(None, "--cgroups", "disabled")
    minictr("kill", "--all", "x", "KILL").ok
    support.wait_until(lambda: support.gone(pid))
    assert minictr("kill", "x", "KILL") == (125, "", "minictr: kill container x: container not running\n")
    assert minictr("kill", "--all", "x", "KILL") == (0, "", "")


def test_the_configuration_that_is_kept_is_for_root_alone(own, box):
    one = box(own)
    one.verb("update", "--pids-limit=30").ok
    place = os.path.join(own.runner.state(), one.id)
    assert stat.S_IMODE(os.stat(place + "/config.json").st_mode) == 0o600
    assert sorted(os.listdir(place)) == ["config.json", "state.json"]
