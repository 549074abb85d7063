"""`run` with limits, on the kernel at hand, whichever version of cgroups it has: they bite, and are told."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import support
from support import needs, wait_until

from minictr import abi, cgroup, cgroup_v2, memory_watch, paths, syscalls

V2 = cgroup.layout().kind == "v2"
SYSTEMD = os.path.isdir("/run/systemd/system")
EMULATED = "MINICTR_TEST_EMULATED" in os.environ  # a machine by emulation alone is twenty times slower
pytestmark = [needs("root", "userns", "cgroup"), needs("cgroup2-controllers" if V2 else "cgroup1")]

EAT = "exec dd if=/dev/zero of=/dev/shm/eaten bs=1M count=%d 2>/dev/null"
BURN = "while :; do :; done"


@pytest.fixture
def run(minictr):
    """run(script, options...) in a container, with the host's own root, which is there on every host and
    needs no files with other ids; run.start and run.detached do not wait for its end."""

    class Run:
        def __call__(self, script, *options, **how):
            return self.start(script, *options, **how).wait()

        def start(self, script, *options, **how):
            return minictr.start("run", *(options + ("--", "sh", "-c", script)), **how)

        def detached(self, name, script, *options):
            made.append(name)
            assert self(script, "-d", "--name", name, *options).ok
            return name

        def verb(self, *words):
            return minictr(*words)

        def stats(self, name):
            (row,) = json.loads(minictr("stats", "--format", "json", name).ok.out)
            return row

        def ending(self, name):
            wait_until(lambda: self.state(name)["status"] == "stopped", 30)
            return json.loads(self.state(name)["annotations"]["org.minictr.exit"])

        def state(self, name):
            return json.loads(minictr("state", name).ok.out)

    made = []
    yield Run()
    for name in made:
        minictr("delete", "--force", name)


# --- what the program sees of it ------------------------------------------------------------------


@pytest.mark.parametrize("how", [(), ("--userns", "host"), ("--net", "host"), ("--cgroupns", "host")])
def test_the_program_reads_its_limits_and_cannot_write_to_them(run, how):
    name = "memory.max" if V2 else "memory/memory.limit_in_bytes"
    script = "cd /sys/fs/cgroup; cat %s; echo 1 >%s; mkdir x; echo $?" % (name, name)
    found = run(script, "-m", "64m", "--require", "sandbox", *how)
    assert found.lines == [str(64 << 20), "1"] and found.err.count("Read-only file system") == 2


def test_what_the_user_mounts_there_stays(run, tmp_path):
    (tmp_path / "own").write_text("mine\n")
    assert run("cat /sys/fs/cgroup/own", "-m", "64m", "-v", "%s:/sys/fs/cgroup" % tmp_path) == (
        0,
        "mine\n",
        "",
    )


# What a systemd does at its start: from then on the container's own cgroup takes no process
DIVIDE = """
mkdir /sys/fs/cgroup/init.scope && echo 1 >/sys/fs/cgroup/init.scope/cgroup.procs &&
echo +pids >/sys/fs/cgroup/cgroup.subtree_control && cat /proc/self/cgroup; echo 9 >/sys/fs/cgroup/pids.max
"""


@pytest.mark.skipif(not V2, reason="cgroup v1 has no delegation that is safe")
@pytest.mark.parametrize("ids", [(), ("--userns", "host")], ids=" ".join)
def test_a_systemd_inside_divides_its_cgroup(run, ids):
    """Where its root is another than the host's, it cannot raise its limits."""
    found = run(DIVIDE, "--systemd", "always", "-m", "64m", *ids)
    assert found.out == "0::/init.scope\n" and ("Permission denied" in found.err) == (not ids)


@pytest.mark.skipif(V2, reason="a cgroup of v2 is divided")
def test_a_systemd_inside_is_told_of_what_it_cannot_divide(run):
    found = run("echo 9 >/sys/fs/cgroup/pids/pids.max", "--systemd", "always", "--userns", "host")
    assert "Read-only file system" in found.err
    assert "lost: a systemd inside cannot divide it; fix: boot with cgroup v2 alone" in found.err


# In mounts of its own a host with both versions has v2 alone
V2_ALONE = """
mount --bind "$1" "$0" && umount -R /sys/fs/cgroup && mount --move "$0" /sys/fs/cgroup && shift && exec "$@"
"""


WHY = "the kernel mounts it in no cgroup namespace"


@needs("cgroup2", "unshare", "seccomp")
@pytest.mark.parametrize(
    "types, options, status, told",
    [
        ((), ("--systemd", "always"), 0, ""),
        (("cgroup2",), ("--systemd", "always"), 1, "minictr: warning: cgroup mount: wanted the container's "
         "cgroups on /sys/fs/cgroup, got nothing; %s; lost: a systemd inside has no cgroup to divide" % WHY),
        (("cgroup2",), ("--systemd", "always", "--strict"), 123,
         "minictr: cgroup mount: the container's cgroups on /sys/fs/cgroup is required: " + WHY),
        (("cgroup2",), ("--cgroup-conf", "cgroup.max.depth=9"), 1, ""),
    ],
    ids=["allowed", "refused", "refused, and required", "refused, of what was not asked for"],
)  # fmt: skip
def test_a_cgroup_that_the_kernel_does_not_mount_for_a_systemd_is_told(
    minictr, tmp_path, types, options, status, told
):
    script = os.path.join(support.CHECKOUT, "tests", "unmountable.py")
    command = (support.python(), script) + types + ("--", support.python(), "-m", "minictr")
    command += (
        ("--root", minictr.state(), "run")
        + options
        + ("--", "stat", "-c", "there", "/sys/fs/cgroup/cgroup.procs")
    )
    if not V2:
        place = next(place for kind, place in support.cgroup_mounts() if kind == "cgroup2")
        command = ("unshare", "-m", "sh", "-c", V2_ALONE, str(tmp_path), place) + command
    found = minictr.command(*command, env={"PYTHONPATH": support.checkout()})

    assert found.status == status and bool(found.out) == (status == 0), found
    assert told in found.err and ("cgroup mount" in found.err) == bool(told), found


def test_in_a_user_namespace_that_is_joined_nobody_divides_the_cgroup(run):
    first = run.state(run.detached("first", "sleep 1000"))["pid"]
    found = run("true", "--systemd", "always", "--userns", "ns:/proc/%d/ns/user" % first)
    assert found.status == 0 and "lost: a systemd inside cannot divide it" in found.err


# --- memory -------------------------------------------------------------------------------------


def test_who_takes_more_memory_than_allowed_is_killed_and_not_before(run):
    limit = ("-m", "64m", "--shm-size", "1g")
    assert run(EAT % 48, *limit).ok
    killed = run(EAT % 100, *limit)
    assert killed.status == 137
    words = "the kernel killed 1 process of the container at the limit of 64 MiB"
    assert killed.err.startswith("minictr: warning: memory ran out: " + words)
    assert killed.err.count("\n") == 1


def test_a_child_that_was_killed_for_want_of_memory_is_told_of_too(run):
    found = run("(" + EAT % 100 + "); echo went on with $?", "-m", "64m", "--shm-size", "1g")
    assert (found.status, found.out) == (0, "went on with 137\n")
    assert "killed 1 process of the container" in found.err


@pytest.mark.parametrize("own", [[], ["-m", "256m"], ["-m", "32m"]], ids=["no limit", "more", "less"])
def test_whose_limit_it_was_is_told(run, own):
    """A cgroup above the container's, such as a slice, may have less to give than its own."""
    parent = "/minictr-test-above-%d" % os.getpid()
    place = "/sys/fs/cgroup%s%s" % ("" if V2 else "/memory", parent)
    os.mkdir(place)
    try:
        with open(place + ("/memory.max" if V2 else "/memory.limit_in_bytes"), "w") as file:
            file.write(str(64 << 20))
        found = run(EAT % 100, "--shm-size", "1g", "--cgroup-parent", parent, "--keep", "--name", "it", *own)
        ending = run.ending("it")
        run.verb("delete", "it").ok
    finally:
        os.rmdir(place)
    assert found.status == 137
    if own == ["-m", "32m"]:
        assert "at the limit of 32 MiB, " in found.err and "above" not in ending
    else:
        assert "at the limit of 64 MiB of a cgroup above its own" in found.err
        assert ending["above"] == 64 << 20


def test_a_kill_from_outside_is_no_want_of_memory(run):
    assert run("sh -c 'kill -9 $$'; exit $?", "-m", "64m") == (137, "", "Killed\n")  # the shell says that


def test_state_tells_that_memory_ran_out_of_one_in_the_background_and_of_one_that_is_kept(run):
    limit = ("-m", "64m", "--shm-size", "1g")
    run.detached("behind", EAT % 100, *limit)
    found = run.ending("behind")
    assert (found["oom"], found["kills"], found["limit"]) == (True, 1, 64 << 20)
    assert (
        not V2 or os.path.exists("/sys/fs/cgroup/memory.peak") or found["peak"] in range(60 << 20, 65 << 20)
    )
    assert run(EAT % 100, "--keep", "--name", "kept", *limit).status == 137
    found = run.ending("kept")
    assert (found["status"], found["oom"], found["limit"]) == (137, True, 64 << 20)
    assert run.verb("delete", "kept").ok


def test_one_that_ended_by_itself_has_no_such_record(run):
    run.detached("well", "exit 3", "-m", "64m")
    wait_until(lambda: run.state("well")["status"] == "stopped", 30)
    assert "org.minictr.exit" not in run.state("well")["annotations"]
    assert run("exit 3", "--keep", "--name", "kept", "-m", "64m").status == 3
    assert run.ending("kept") == {"status": 3}
    assert run.verb("delete", "kept").ok


def test_a_limit_too_small_to_start_in_is_an_error_or_told(run):
    found = run("exit 0", "-m", "4k")
    assert found.status in (125, 137) and 1 <= found.err.count("\n") <= 2 and "memory" in found.err


def test_a_limit_below_what_is_in_use_is_one_clear_line_and_kills_nobody(run):
    run.detached(
        "full", EAT.replace("exec ", "") % 32 + "; echo full >/dev/shm/mark; sleep 1000", "-m", "64m"
    )
    wait_until(lambda: run.stats("full")["mem_usage"] > 32 << 20, 30)
    time.sleep(0.2)
    refused = run.verb("update", "--memory", "8m", "--memory-swap", "8m", "full")
    assert refused.status == 125 and refused.err.count("\n") == 1
    assert "bytes are in use, and cannot be given back" in refused.err
    assert run.stats("full")["mem_limit"] == 64 << 20
    assert run.verb("update", "--memory", "50m", "--memory-swap", "60m", "full").ok
    assert run.stats("full")["mem_limit"] == 50 << 20
    assert run.state("full")["status"] == "running"


def watched(run, minictr, script, *options):
    """A container that begins SCRIPT once its events are being watched; the watch."""
    wait = "while [ ! -e /dev/shm/go ]; do sleep 0.05; done; "
    run.detached("it", wait + script, "-m", "64m", "--shm-size", "1g", *options)
    watch = minictr.start("events", "--interval", "500ms", "it")
    watch.expect('"stats"')
    assert run.verb("exec", "it", "touch", "/dev/shm/go").ok
    return watch


def test_events_tell_that_memory_ran_out(run, minictr):
    watch = watched(run, minictr, "(" + EAT % 100 + "); sleep 1000")
    watch.expect('{"type":"oom","id":"it"}\n', timeout=60)
    assert run.verb("delete", "--force", "it").ok
    assert watch.wait().ok.out.count('"oom",') == 1


@pytest.mark.skipif(V2, reason="cgroup v2 always kills")
def test_one_whose_processes_wait_for_memory_is_told_of_too(run, minictr):
    # by page faults of its own: in the middle of a system call it would not wait, but get ENOMEM
    eat = "exec awk 'BEGIN { s = \"x\"; while (length(s) < 104857600) s = s s }'"
    watch = watched(run, minictr, eat, "--oom-kill-disable")
    watch.expect('{"type":"oom","id":"it"}\n', timeout=60)
    assert run.state("it")["status"] == "running"
    assert run.verb("delete", "--force", "it").ok
    assert watch.wait().status == 0


# --- processes ----------------------------------------------------------------------------------


def test_a_fork_bomb_of_ten_thousand_is_held_and_ended_in_under_a_second(run):
    bomb = "(i=0; while [ $i -lt 10000 ]; do sleep 1000 & i=$((i+1)); done) & b() { b | b & b; }; (b) & "
    run.detached("bomb", bomb + "exec sleep 1000", "--pids-limit", "200", "-m", "512m")
    wait_until(lambda: run.stats("bomb")["pids"] >= 190, 60)
    for _ in range(5):
        assert run.stats("bomb")["pids"] <= 200
        time.sleep(0.05)
    ended = run.verb("delete", "--force", "bomb").ok
    assert ended.seconds < (1 if not EMULATED else 20)


def test_processes_are_limited_where_nobody_says(run):
    run.detached("some", "sleep 1000")
    data = json.loads(run.verb("events", "--stats", "some").ok.out)["data"]
    assert data["pids"]["limit"] == 2048
    run.detached("all", "sleep 1000", "--pids-limit", "-1")
    assert json.loads(run.verb("events", "--stats", "all").ok.out)["data"]["pids"]["limit"] == 0


# --- processors ---------------------------------------------------------------------------------


def used(run, names, seconds=2.0):
    """Seconds of CPU that each of NAMES has used in each of SECONDS."""
    before, begun = [run.stats(name)["cpu_time"] for name in names], time.monotonic()
    time.sleep(seconds)
    after, took = [run.stats(name)["cpu_time"] for name in names], time.monotonic() - begun
    return [(late - early) / 1e9 / took for early, late in zip(before, after)]


@pytest.mark.skipif(EMULATED, reason="of an emulated machine no share of time can be told")
def test_a_burner_gets_its_part_of_a_processor(run):
    run.detached("half", BURN, "--cpus", "0.3")
    (share,) = used(run, ["half"])
    assert share == pytest.approx(0.3, rel=0.2)
    assert run.verb("update", "--cpus", "0.1", "half").ok
    (share,) = used(run, ["half"])
    assert share == pytest.approx(0.1, rel=0.2)


@pytest.mark.skipif(EMULATED, reason="of an emulated machine no share of time can be told")
def test_two_burners_share_a_processor_as_they_were_told(run):
    run.detached("more", BURN, "--cpuset-cpus", "0", "--cpu-shares", "2048")
    run.detached("less", BURN, "--cpuset-cpus", "0", "--cpu-shares", "512")
    more, less = used(run, ["more", "less"], 3)
    shares = [cgroup_v2.weight_from_shares(each) for each in (2048, 512)] if V2 else [4, 1]
    assert more / less == pytest.approx(shares[0] / shares[1], rel=0.2)


def test_a_container_runs_where_it_is_told_to(run):
    line = run("grep Cpus_allowed_list /proc/self/status", "--cpuset-cpus", "0").ok.fields
    assert line == ["Cpus_allowed_list:", "0"]


# --- disks and devices ----------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """A loop device of 16 MB, of this test's own."""
    image = tmp_path / "image"
    with open(str(image), "wb") as file:
        file.truncate(16 << 20)
    made = subprocess.run(
        ["losetup", "--find", "--show", str(image)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    if made.returncode:
        pytest.skip("no loop device is to be had: " + made.stderr.decode().strip())
    path = made.stdout.decode().strip()
    yield path
    subprocess.run(["losetup", "--detach", path], check=True)


COPY = "t() { cut -d ' ' -f 1 /proc/uptime; }; a=$(t); %s 2>/dev/null || exit 1; echo $a $(t)"


@pytest.mark.parametrize(
    "option, rate, words",
    [
        ("--device-read-bps", "2m", "if=DISK of=/dev/null bs=64k count=64 iflag=direct"),
        ("--device-write-bps", "2m", "if=/dev/zero of=DISK bs=64k count=64 oflag=direct"),
        ("--device-read-iops", "32", "if=DISK of=/dev/null bs=4k count=64 iflag=direct"),
        ("--device-write-iops", "32", "if=/dev/zero of=DISK bs=4k count=64 oflag=direct"),
    ],
)
def test_what_goes_to_and_from_a_disk_is_throttled(run, disk, option, rate, words):
    """Two seconds' worth, and more on a busy machine."""
    script = COPY % ("dd " + words.replace("DISK", disk))
    free = run(script, "--userns", "host", "--device", disk)
    if free.status == 1:
        pytest.skip("this dd has no iflag=direct, or the file system below none")
    throttled = run(script, "--userns", "host", "--device", disk, option, disk + ":" + rate)
    if "blkio.throttle" in throttled.err or "set io.max" in throttled.err:
        pytest.skip("the kernel lacks CONFIG_BLK_DEV_THROTTLING: " + throttled.err)
    begun, ended = map(float, throttled.ok.fields)
    assert ended - begun >= 1.6


def test_a_device_is_for_who_was_given_it(run, disk):
    number = os.stat(disk).st_rdev
    script = "mknod /dev/it b %d %d && head -c 1 /dev/it | wc -c" % (os.major(number), os.minor(number))
    assert "Operation not permitted" in run(script, "--userns", "host").err
    script = "head -c 1 %s | wc -c" % disk
    assert run(script, "--userns", "host", "--device", disk).ok.out == "1\n"


@pytest.mark.parametrize("ids", [("--userns", "host"), ()], ids=" ".join)
@pytest.mark.parametrize(
    "access, reads, writes",
    [("r", True, False), ("w", False, True), ("rw", True, True), ("m", False, False)],
)
def test_a_device_may_be_for_reading_or_for_writing_alone(run, disk, ids, access, reads, writes):
    """In a user namespace, too, where its node is the host's and open to all."""
    script = "head -c 1 {0} >/dev/null && echo read; true >{0} && echo written".format(disk)
    os.chmod(disk, 0o666)
    try:
        found = run(script, "--device", disk + ":" + access, *ids)
    finally:
        os.chmod(disk, 0o660)
    assert found.out.split() == ["read"] * reads + ["written"] * writes, found
    assert found.err.count("Operation not permitted") == 2 - reads - writes, found


@pytest.mark.parametrize(
    "rule, found",
    [("", ""), ("b MAJOR:MINOR r", "read\n"), ("b *:MINOR w", "written\n"), ("a *:* rwm", "read\nwritten\n")],
)
def test_a_rule_opens_what_a_volume_brings(run, disk, rule, found):
    number = os.stat(disk).st_rdev
    rule = rule.replace("MAJOR", str(os.major(number))).replace("MINOR", str(os.minor(number)))
    options = ("--device-cgroup-rule", rule) if rule else ()
    script = "head -c 1 /tmp/disk >/dev/null && echo read; true >/tmp/disk && echo written"
    assert run(script, "--userns", "host", "-v", disk + ":/tmp/disk:dev", *options).out == found


@pytest.mark.parametrize("access", ["r", "m"])
def test_a_device_for_less_than_all_is_told_of_where_no_cgroup_holds_to_it(run, disk, access):
    words = ("--device", disk + ":" + access, "--cgroups", "disabled")
    found = run("true", *words)
    lost = "lost: a device that was not given for both may be read and written, as its node allows"
    assert found.status == 0 and lost in found.err, found
    assert run("true", *words, "--strict").status == 123


# --- nothing is left --------------------------------------------------------------------------------


def test_a_hundred_containers_under_load_leave_no_cgroup(run):
    count = 100 if not EMULATED else 8
    run.detached("load", BURN + " & " + BURN)
    waiting = []
    for number in range(count):
        name = "many-%d" % number
        waiting.append(run.start("exit 0", "--name", name, "-m", "64m", "--pids-limit", "9", "--cpus", "1"))
        if len(waiting) == 4:
            assert waiting.pop(0).wait().ok
    for live in waiting:
        assert live.wait().ok
    assert left("many-") == []


def left(start):
    """The cgroups whose names begin with minictr-START."""
    found = []
    for _, point in support.cgroup_mounts():
        for place, names, _ in os.walk(point):
            found += [place + "/" + name for name in names if name.startswith("minictr-" + start)]
    return found


@needs("strace")
def test_what_a_runtime_killed_before_anyone_was_in_the_cgroup_has_left_is_cleared_away(minictr):
    root = minictr.state()
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=clone,clone3"]
    strace += ["-e", "inject=clone,clone3:signal=KILL:when=1"]
    torn = "torn-%d" % os.getpid()
    words = ["run", "--name", torn, "--cgroup-parent", "minictr-test-" + torn, "-m", "64m", "--", "true"]
    env = {"PYTHONPATH": support.CHECKOUT}
    command = strace + [support.python(), "-m", "minictr", "--root", root] + words
    killed = minictr.command(*command, env=env)
    assert killed.status == -9, killed
    assert left(torn) != []
    assert minictr("list", "--quiet").out == ""
    assert left(torn) == [] and left("test-" + torn) == []


def test_a_cgroup_that_was_not_yet_known_to_be_its_own_is_left_in_peace(minictr):
    """Its runtime was killed when it had only noted down where the cgroup is to be."""
    kinds = ("cgroup2",) if V2 else ("cgroup",)
    point = [point for kind, point in support.cgroup_mounts() if kind in kinds and "pids" in point or V2][0]
    place = "%s/minictr-test-others-%d" % (point, os.getpid())
    os.mkdir(place)
    other = subprocess.Popen(["sleep", "1000"])
    try:
        with open(place + "/cgroup.procs", "w") as file:
            file.write(str(other.pid))
        entry = os.path.join(minictr.state(), "torn")
        os.mkdir(entry)
        os.chmod(entry, 0o1700)
        with open(entry + "/state.json", "w") as file:
            json.dump({"id": "torn", "status": "creating", "pid": 0, "cgroups": [place]}, file)
        assert minictr("list", "--quiet").out == ""
        assert not os.path.exists(entry)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
        os.rmdir(place)


# --- what cannot be had -----------------------------------------------------------------------------


def unshared(*steps):
    """A Runner's option `setup`: mounts that its command alone sees. STEPS: lines of a shell."""
    script = "set -e; mount --make-rprivate /; " + "; ".join(steps)

    def setup():
        support.refusal._check(support.refusal._libc.unshare(support.refusal.FLAGS["CLONE_NEWNS"]), "unshare")
        subprocess.run(["sh", "-c", script], check=True)

    return setup


READ_ONLY = (
    "for m in /sys/fs/cgroup/*/ /sys/fs/cgroup; do mountpoint -q $m && mount -o remount,ro,bind $m || :; done"
)


def test_a_read_only_cgroup_file_system_is_a_step_down_with_its_reason(run):
    found = run("ulimit -d", "-m", "64m", setup=unshared(READ_ONLY))
    assert found.status == 0 and found.out == "65536\n"
    (line,) = found.err.splitlines()
    assert line.startswith(
        "minictr: warning: memory: wanted 67108864 bytes at most, got as much for each process"
    )
    assert "the cgroup file system is mounted read-only" in line and "lost: " in line and "fix: " in line
    strict = run("exit 0", "-m", "64m", "--strict", setup=unshared(READ_ONLY))
    assert (strict.status, strict.err.count("\n")) == (123, 1)
    assert strict.err.startswith("minictr: memory: 67108864 bytes at most is required: ")


@pytest.mark.skipif(V2, reason="cgroup v2 has all controllers in one place")
def test_a_controller_that_the_host_lacks_is_a_step_down_with_its_reason(run):
    without = unshared("umount -l /sys/fs/cgroup/memory /sys/fs/cgroup/cpu*")
    found = run("exit 0", "-m", "64m", "--cpus", "1", setup=without)
    assert found.status == 0
    memory, cpu = found.err.splitlines()
    assert "got as much for each process (RLIMIT_DATA); no hierarchy with the controller memory" in memory
    assert "wanted limits for cpu, got none; no hierarchy with the controller cpu" in cpu
    strict = run("exit 0", "-m", "64m", "--strict", setup=without)
    assert (strict.status, strict.err.count("\n")) == (123, 1)


def with_words(tmp_path, words):
    """The files of the kernel's own that say what it was started with. WORDS: of its command line"""
    (tmp_path / "cmdline").write_text("root=/dev/sda %s quiet\n" % words)
    return {"/proc/cmdline": str(tmp_path / "cmdline")}


@pytest.mark.skipif(V2, reason="cgroup v2 has all controllers in one place")
@pytest.mark.parametrize(
    "words, told",
    [
        ("", "no hierarchy with the controller memory is mounted; lost: "),
        (
            "cgroup_no_v1=net_cls,memory",
            "the controller memory is kept from cgroup v1 (cgroup_no_v1=memory), ",
        ),
        ("cgroup_disable=memory", "the controller memory is switched off; lost: "),
    ],
)
def test_why_the_host_lacks_a_controller_is_told_and_what_helps(run, tmp_path, words, told):
    """With --userns host, as of a /proc with something over a part of it no user namespace gets another."""
    cover, without = with_words(tmp_path, words), "umount -l /sys/fs/cgroup/memory"
    found = run("exit 0", "-m", "64m", "--userns", "host", cover=cover, setup=unshared(without))
    assert found.status == 0 and "(RLIMIT_DATA); " + told in found.err
    fix = found.err.rpartition("; fix: ")[2].strip()
    if words:
        assert fix.startswith("boot without ")
        return
    found = run("exit 0", "-m", "64m", setup=unshared(without, fix))
    assert (found.status, found.err) == (0, "")


def test_where_no_cgroups_are_mounted_that_is_told_and_its_fix_mounts_them(run):
    without = "umount -R -l /sys/fs/cgroup"
    found = run("exit 0", "--require", "resources", setup=unshared(without))
    assert (found.status, found.err.count("\n")) == (123, 1)
    why = "one of its own is required: no cgroup file system is mounted at /sys/fs/cgroup; hint: "
    assert found.err.startswith("minictr: cgroup: " + why)
    fix = found.err.rpartition("; hint: ")[2].strip()
    found = run("exit 0", setup=unshared(without))
    assert (found.status, found.err) == (0, ""), "nobody has asked for one"
    found = run("exit 0", "--cpus", "1", setup=unshared(without))
    assert found.status == 0 and found.err.endswith("; fix: %s\n" % fix)
    found = run("exit 0", "--cpus", "1", setup=unshared(without, fix))
    assert (found.status, found.err) == (0, "")


# --- who is not root --------------------------------------------------------------------------------


@pytest.fixture
def alone(minictr, ranged):
    """As `run`, by a user to whom no cgroup was handed; the lines on stderr come apart."""
    support.require("rootless", "newuidmap")

    def run(script, *options):
        words = ("run",) + options + ("--", "sh", "-c", script)
        found = minictr(*words, user=ranged)
        return found, found.err.splitlines()

    return run


def undelegated():
    """On a host that hands out nothing to the test's users."""
    if V2:
        with open("/proc/self/cgroup") as file:
            own = file.read().rpartition("::")[2].strip()
        if os.stat("/sys/fs/cgroup" + own).st_uid != 0:
            pytest.skip("this machine's cgroup was handed to a user")


def test_without_a_cgroup_none_is_shown(alone):
    """It would be the caller's, with whatever else is below it."""
    undelegated()
    found, (record,) = alone("ls -A /sys/fs/cgroup", "-m", "64m")
    assert (found.status, found.out) == (0, "") and "RLIMIT_DATA" in record


def test_without_a_cgroup_each_process_has_that_much_memory(alone):
    undelegated()
    found, (record,) = alone("ulimit -d", "-m", "64m")
    assert (found.status, found.out) == (0, "65536\n")
    assert record.startswith(
        "minictr: warning: memory: wanted 67108864 bytes at most, got as much for each process"
    )
    assert "; lost: " in record and "; fix: " in record


def test_without_a_cgroup_each_user_has_that_many_processes(alone):
    undelegated()
    script = "i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done; echo all"
    found, lines = alone(script, "--pids-limit", "9")
    assert found.out == "" and "fork" in lines[-1]
    assert lines[0].startswith("minictr: warning: processes: wanted 9 at most, got RLIMIT_NPROC; ")
    found, lines = alone(script, "--pids-limit", "40")
    assert (found.status, found.out) == (0, "all\n")


def test_without_a_cgroup_a_parent_may_watch_the_memory(alone):
    undelegated()
    found, lines = alone("sleep 0.5; exit 7", "-m", "64m", "--memory-watch")
    assert found.status == 7 and len(lines) == 1
    grow = "x=0123456789abcdef; while :; do x=$x$x; sleep 0.2; done"
    found, lines = alone(grow, "-m", "64m", "--memory-watch")
    assert found.status == 137
    assert lines[0].startswith(
        "minictr: warning: memory: wanted 67108864 bytes at most, got a look at it ten times"
    )
    assert lines[1].startswith("minictr: warning: memory ran out: minictr killed ")


# A process of which the first thread is over, and the second has 40 MiB
HEADLESS = """\
import ctypes, threading, time
def hold():
    kept = bytearray(b"x" * (40 << 20))
    print("held", flush=True)
    time.sleep(60)
threading.Thread(target=hold).start()
ctypes.CDLL(None).syscall(%d, 0)
"""


def test_a_process_whose_first_thread_is_over_does_not_hide_its_memory(minictr):
    number = syscalls.table(abi.machine())["exit"]
    live = minictr.start_command(sys.executable, "-c", HEADLESS % number)
    live.expect("held")
    wait_until(lambda: "(zombie)" in paths.read_text("/proc/%d/status" % live.pid))
    assert memory_watch.memory_of(live.pid) >= 40 << 20
    os.kill(live.pid, signal.SIGKILL)
    live.wait()


def test_without_a_cgroup_a_limit_is_an_error_where_steps_down_are_refused(alone):
    undelegated()
    for words in (("-m", "64m"), ("--pids-limit", "9"), ("--cpus", "1")):
        found, lines = alone("exit 0", "--strict", *words)
        assert (found.status, len(lines)) == (123, 1), found
        assert "is required" in lines[0]


@pytest.mark.parametrize(
    "words, wanted",
    [
        (["--require", "resources"], "one of its own"),
        (["--strict", "--cgroups", "enabled"], "one of its own"),
        (["--strict", "--userns", "host"], "rules for devices"),
    ],
)
def test_a_cgroup_that_is_required_and_cannot_be_had_is_told_of_with_its_cause_and_fix(alone, words, wanted):
    undelegated()
    found, lines = alone("exit 0", *words)
    assert (found.status, len(lines)) == (123, 1), found
    why = "the cgroup is not delegated to this user; hint: "
    assert lines[0].startswith("minictr: cgroup: %s is required: %s" % (wanted, why))


@pytest.mark.parametrize("words", [("--cgroups", "enabled"), ("--cgroup-parent", "/minictr-test")])
def test_one_that_was_asked_for_is_told_of_in_the_same_words(alone, words):
    undelegated()
    found, (line,) = alone("exit 7", *words)
    assert found.status == 7 and "; fix: " in line
    assert "cgroup: wanted one of its own, got none; the cgroup is not delegated to this user; lost:" in line


@needs("unshare")
def test_root_of_a_users_namespace_is_told_what_would_help_that_user(minictr, ranged):
    """As below a rootless dockerd: a capability there is none over the host's cgroups."""
    undelegated()
    command = ["unshare", "-U", "-r", support.python(), "-m", "minictr", "--root", minictr.state(ranged)]
    call = ("run", "-m", "64m", "--", "true")
    found = minictr.command(*command, *call, user=ranged, env={"PYTHONPATH": support.checkout()})
    fix = found.err.partition("the cgroup is not delegated to this user")[2].partition("; fix: ")[2]
    told = ("--user", str(ranged.uid)) if V2 or not SYSTEMD else ("unified_cgroup_hierarchy=1",)
    assert found.status == 0 and any(word in fix for word in told), found


@pytest.mark.skipif(V2 or SYSTEMD, reason="systemd hands out those of v2, and takes back those of v1")
def test_what_is_said_to_hand_a_user_cgroups_of_v1_does(alone, minictr, ranged):
    support.require("setpriv")
    found = alone("true", "--cgroups", "enabled")[0]
    assert "the cgroup is not delegated to this user; lost: " in found.err
    fix = found.err.partition("; fix: as root: ")[2].strip()
    fix, count = re.subn(r"echo \d+ >", "echo $$ >", fix)  # the shell's that called it
    assert count == 1
    drop = "exec setpriv --reuid=%d --regid=%d --clear-groups " % (ranged.uid, ranged.gid)
    program = [support.python(), "-m", "minictr", "--root", minictr.state(ranged)]
    env = {"PYTHONPATH": support.checkout(), "HOME": ranged.home, "USER": ranged.name}
    limits = ("-m", "64m", "--pids-limit", "9", "--cpuset-cpus", "0")
    try:
        for words in (["run", *limits, "--", "cat", "/sys/fs/cgroup/pids/pids.max"], ["doctor"]):
            found = minictr.command(
                "sh", "-c", fix + "; cd /; " + drop + '"$@"', "sh", *program, *words, env=env
            )
            if words[0] == "run":
                assert found.ok.out == "9\n"
        (line,) = [line for line in found.out.splitlines() if line[6:].startswith("cgroups ")]
        assert line.startswith("ok "), line
    finally:
        for mount, _ in cgroup.layout().hierarchies:
            os.rmdir("%s/minictr-%d" % (mount, ranged.uid))


@pytest.fixture(params=["below it", "in one of root's below it", "in it"] if V2 else ["in it"])
def handed(request, minictr, ranged):
    """handed(words...) of minictr's by a user in a cgroup that was handed to them. "in it" on v2: alone in
    that cgroup itself, which then can hand down controllers only when they have moved out of the way."""
    support.require("rootless", "newuidmap", "setpriv")
    layout = cgroup.layout()
    points = [mount for mount, _ in layout.hierarchies] or [layout.unified]
    tops = [point + "/minictr-test-handed-%d" % os.getpid() for point in points]
    below = request.param != "in it"
    for top in tops:
        os.makedirs(top + "/shell" if below else top)
        if below:
            with open(top + "/cgroup.controllers") as file:
                names = file.read().split()
            with open(top + "/cgroup.subtree_control", "w") as file:
                file.write(" ".join(["+" + name for name in names]))
        for name in ("cpuset.cpus", "cpuset.mems") if not V2 else ():
            if os.path.exists(top + "/" + name):
                shutil.copyfile(os.path.dirname(top) + "/" + name, top + "/" + name)
        subprocess.run(["chown", "-R", str(ranged.uid), top], check=True)
        if "root's" in request.param:
            subprocess.run(["chown", "-R", "root", top + "/shell"], check=True)
    places = [top + ("/shell/cgroup.procs" if below else "/cgroup.procs" if V2 else "/tasks") for top in tops]
    join = "for f in %s; do echo $$ > $f || exit 99; done; " % " ".join(places)
    drop = "exec setpriv --reuid=%d --regid=%d --clear-groups " % (ranged.uid, ranged.gid)

    def run(*words):
        command = [support.python(), "-m", "minictr", "--root", minictr.state(ranged)] + list(words)
        env = {"PYTHONPATH": support.checkout(), "HOME": ranged.home, "USER": ranged.name}
        for top in tops if V2 and not below else ():  # as it was found: a shell would be in it again
            with open(top + "/cgroup.subtree_control", "r+") as file:
                file.write(" ".join(["-" + name for name in file.read().split()]))
        return minictr.command("sh", "-c", join + drop + '"$@"', "sh", *command, env=env)

    run.words = ("--", "sh", "-c")
    run.tops = tops
    yield run
    for top in tops:
        for place, _, _ in os.walk(top, topdown=False):
            os.rmdir(place)


def test_doctor_knows_a_cgroup_that_was_handed_to_them(handed):
    (line,) = [line for line in handed("doctor").out.splitlines() if line[6:].startswith("cgroups ")]
    assert line.startswith("ok ") and {"cpu", "memory", "pids"} <= set(line.split()), line


def test_in_a_cgroup_that_was_handed_to_them_a_user_has_limits_that_bite(handed):
    assert handed("run", "-m", "64m", "--pids-limit", "9", *handed.words, "exit 4") == (4, "", "")
    eaten = handed("run", "-m", "64m", "--shm-size", "1g", *handed.words, EAT % 100)
    assert (
        eaten.status == 137
        and "the kernel killed 1 process of the container at the limit of 64 MiB" in eaten.err
    )
    forked = handed(
        "run", "--pids-limit", "9", *handed.words, "for i in 1 2 3 4 5 6 7 8 9; do sleep 9 & done"
    )
    assert "fork" in forked.err and "RLIMIT" not in forked.err


@pytest.mark.parametrize("handed", ["below it" if V2 else "in it"], indirect=True)
def test_in_a_cgroup_that_was_handed_to_them_a_users_container_lives_on_and_is_managed(handed):
    assert handed("run", "-d", "--name", "mine", "-m", "64m", *handed.words, "exec sleep 1000").ok
    (row,) = json.loads(handed("stats", "--format", "json").ok.out)
    assert (row["id"], row["mem_limit"], row["pids"]) == ("mine", 64 << 20, 1)
    assert handed("update", "--memory", "32m", "--memory-swap", "32m", "mine").ok
    assert handed("pause", "mine").ok and handed("resume", "mine").ok
    assert handed("delete", "--force", "mine").ok
    assert [name for top in handed.tops for name in os.listdir(top) if name.startswith("minictr-")] == []


@pytest.mark.parametrize("handed", ["below it" if V2 else "in it"], indirect=True)
@pytest.mark.parametrize(
    "verb", [("kill", "mine", "KILL"), ("delete", "--force", "mine")], ids=lambda verb: verb[0]
)
def test_there_a_container_is_found_though_its_state_is_lost(handed, minictr, ranged, verb):
    assert handed("run", "-d", "--name", "mine", *handed.words, "exec sleep 1000").status == 0
    (before,) = json.loads(handed("list", "--format", "json").ok.out)
    os.unlink(os.path.join(minictr.state(ranged), "mine", "state.json"))
    (row,) = json.loads(handed("list", "--format", "json").ok.out)
    assert (row["pid"], row["status"]) == (before["pid"], "running") and row["pid"]
    assert handed(*verb).ok
    wait_until(lambda: support.gone(row["pid"]))
    assert handed("delete", "--force", "mine").ok
    assert [name for top in handed.tops for name in os.listdir(top) if name.startswith("minictr-")] == []


@pytest.mark.skipif(not V2, reason="v1 asks whose the process is, not where it comes from")
@pytest.mark.parametrize("handed", ["below it" if V2 else "in it"], indirect=True)
def test_who_comes_from_outside_of_it_is_told_how_to_get_in(handed, minictr, ranged):
    assert handed("run", "-d", "--name", "mine", "-m", "64m", *handed.words, "exec sleep 1000").ok
    found = minictr("exec", "mine", "true", user=ranged)
    words = "minictr: join the cgroup: Permission denied; hint: from this cgroup its user gets into none of"
    assert found.status == 255 and found.err.startswith(words), found
    assert handed("exec", "mine", "true").ok
    assert handed("delete", "--force", "mine").ok


@pytest.mark.skipif(V2, reason="v2 counts the time without a controller")
def test_what_is_not_counted_is_not_told_as_a_zero(handed):
    for top in handed.tops:
        if {"cpuacct", "blkio"} & set(top.split("/")[4].split(",")):
            os.chown(top, 0, 0)
    assert handed("run", "-d", "--name", "mine", *handed.words, "exec sleep 1000").status == 0
    (row,) = json.loads(handed("stats", "--format", "json").ok.out)
    names = ("cpu_time", "cpu_percent", "block_input", "block_output")
    assert [row[name] for name in names] == [None] * 4
    assert row["pids"] == 1 and row["mem_usage"] > 0
    table = handed("stats", "mine").ok.lines
    assert table[1].split()[:2] == ["mine", "-"]
    assert handed("delete", "--force", "mine").ok


# --- what no limit can be -------------------------------------------------------------------------


def unified():
    """The option that shows a command cgroups of v2 alone."""
    places = [place for kind, place in support.cgroup_mounts() if kind == "cgroup2"]
    if not places:
        pytest.skip("there is no cgroup2 beside those of version 1")
    return {} if V2 else {"cover": {"/sys/fs/cgroup": places[0]}}


@pytest.mark.parametrize(
    "conf, why",
    [
        (
            "cgroup.subtree_control=+memory",
            "set cgroup.subtree_control to +memory: with memory no ",
        ),
        (
            "cgroup.freeze=1",
            "set cgroup.freeze: it is no limit; hint: minictr pause, ",
        ),
        ("cgroup.kill=1", "set cgroup.kill: it is no limit; hint: minictr pause, "),
        ("cgroup.subtree_control=+perf_event", "set cgroup.subtree_control to +perf_event: it has only: "),
    ],
    ids=["domain", "freeze", "kill", "missing"],
)
def test_a_setting_with_which_nothing_could_start_is_refused(run, conf, why):
    """Frozen it would wait for ever, and with a controller for those below nobody could be in it."""
    if "perf_event" in conf and V2:
        pytest.skip("here it may be there")
    found = run("true", "--cgroup-conf", conf, timeout=20, **unified())
    assert (found.status, found.out, found.err.count("\n")) == (125, "", 1), found
    assert found.err.startswith("minictr: " + why), found


def test_weights_for_a_device_name_the_scheduler_that_they_take(run):
    for name in sorted(os.listdir("/sys/block")):
        try:
            with open("/sys/block/%s/queue/scheduler" % name) as file, open(
                "/sys/block/%s/dev" % name
            ) as numbers:
                device = numbers.read().strip()
                if "[bfq]" not in file.read() and os.path.exists("/dev/" + name):
                    break
        except OSError:
            continue
    else:
        pytest.skip("there is no block device without bfq")
    found = run("true", "--blkio-weight-device", "/dev/%s:100" % name)
    if "Operation not supported" not in found.err:
        pytest.skip("this kernel has no weights for devices, or knows other ones: " + found.err)
    why = "Operation not supported; hint: no scheduler that knows weights is set for it: echo bfq "
    assert found.err.endswith(why + ">/sys/dev/block/%s/queue/scheduler\n" % device), found
    assert found.status == 125
