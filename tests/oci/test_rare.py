"""What few ask for: scheduler, ioPriority, execCPUAffinity, memoryPolicy, netDevices, intelRdt."""

import ctypes
import json
import os
import struct
import subprocess
import sys

import pytest
import support
from support import needs

from minictr import abi, resctrl, scheduling, syscalls
from minictr.errors import ContainerError

pytestmark = needs("root", "busybox", "cgroup")

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    """The system call NAME, which the C library may have no function for."""
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = libc.syscall(ctypes.c_long(syscalls.table(abi.machine())[name]), *words)
    assert result >= 0, os.strerror(ctypes.get_errno())
    return result


def scheduled(pid):
    """policy, flags, nice, priority, runtime, deadline, period of a process."""
    buffer = ctypes.create_string_buffer(56)
    call("sched_getattr", pid, buffer, 56, 0)
    return struct.unpack("=IIQiIQQQ", buffer.raw[:48])[1:]


@pytest.fixture
def alive(own):
    """Starts a bundle that waits; (live, its process id on the host)."""
    lives = []

    def start(made, *options):
        made.process["args"] = ["sh", "-c", "echo up; read line"]
        live = own.start(made, *options)
        live.expect("up\n")
        lives.append(live)
        return live, json.loads(own.runner("state", made.identifier).ok.out)["pid"]

    yield start
    for live in lives:
        if live.running:
            live.close_input()
            live.wait()


# --- scheduler ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked, found",
    [
        ({"policy": "SCHED_OTHER", "nice": 7}, (0, 0, 7, 0)),
        ({"policy": "SCHED_BATCH", "nice": -3}, (3, 0, -3, 0)),
        ({"policy": "SCHED_IDLE"}, (5, 0, 0, 0)),
        ({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}, (0, 1, 0, 0)),
    ],
    ids=lambda value: value["policy"] if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("user", [False, True], ids=["", "in a user namespace"])
def test_the_scheduler_is_the_one_asked_for(bundle, alive, asked, found, user):
    made = bundle()
    made.process["scheduler"] = asked
    if user:
        made.namespaces("user")
        ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        made.linux["uidMappings"] = made.linux["gidMappings"] = ids
    _, pid = alive(made)
    assert scheduled(pid)[:4] == found


@needs("cgroup2")
def test_real_time_is_had_or_refused_in_a_sentence(own, bundle):
    """A cgroup of v1 without a share of real time has none, whoever asks."""
    made = bundle()
    made.process["scheduler"] = {"policy": "SCHED_RR", "priority": 5}
    found = own.sh(made, "sed -n 's/^policy *: *//p; s/^prio *: *//p' /proc/self/sched")
    if found.status:
        assert (found.status, found.out) == (125, "")
        assert found.err.startswith("minictr: set the scheduler SCHED_RR: ") and "; hint: " in found.err
    else:
        assert found.out.split() == ["2", "94"]


def test_all_fields_reach_the_kernel_in_its_own_structure():
    asked = {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3, "nice": -1, "priority": 9}
    asked["flags"] = ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"]
    assert struct.unpack("=IIQiIQQQ", scheduling.attributes(asked)) == (48, 6, 6, -1, 9, 1, 2, 3)
    clamped = scheduling.attributes({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"]})
    assert (len(clamped), struct.unpack_from("=I", clamped)[0]) == (56, 56)


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"policy": "SCHED_OTHER", "nice": 20}, "nice is not between -20 and 19"),
        ({"policy": "SCHED_BATCH", "nice": -21}, "nice is not between -20 and 19"),
        ({"policy": "SCHED_FIFO"}, "priority is not between 1 and 99"),
        ({"policy": "SCHED_RR", "priority": 100}, "priority is not between 1 and 99"),
        ({"policy": "SCHED_OTHER", "priority": 1}, "priority is for SCHED_FIFO and SCHED_RR alone"),
        ({"policy": "SCHED_RR", "priority": 1, "runtime": 5}, "runtime is for SCHED_DEADLINE alone"),
        ({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_ALL"]}, "flags has an unknown flag"),
    ],
)
def test_a_scheduler_that_contradicts_itself_is_refused(own, bundle, asked, words):
    made = bundle()
    made.process["scheduler"] = asked
    said = "minictr: read config.json: process.scheduler.%s\n" % words
    assert own.sh(made, "echo ran") == (125, "", said)


# --- ioPriority --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked, found",
    [
        ({"class": "IOPRIO_CLASS_BE", "priority": 6}, 2 << 13 | 6),
        ({"class": "IOPRIO_CLASS_RT", "priority": 0}, 1 << 13),
        ({"class": "IOPRIO_CLASS_IDLE"}, 3 << 13),
    ],
)
def test_input_and_output_have_the_priority_asked_for(bundle, alive, asked, found):
    made = bundle()
    made.process["ioPriority"] = asked
    _, pid = alive(made)
    assert call("ioprio_get", 1, pid) == found


def test_a_further_program_has_scheduler_and_priority_as_well(own, bundle, alive):
    made = bundle()
    made.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 4}
    made.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 7}
    alive(made)
    found = own.verb("exec", made.identifier, "sh", "-c", "cut -d' ' -f19,41 /proc/self/stat; ionice")
    assert found.ok.lines[0] == "4 3"
    assert found.lines[1].strip() == "best-effort: prio 7"


# --- execCPUAffinity ---------------------------------------------------------------------------------------

ALLOWED = "sed -n 's/^Cpus_allowed_list:\t//p' /proc/self/status"


@pytest.fixture
def cpus():
    """The first and the last CPU that this machine lets us have."""
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) < 2:
        pytest.skip("the machine has one CPU")
    return ours


def test_a_further_program_runs_where_it_is_told_to(own, bundle, alive, cpus):
    made = bundle()
    made.process["execCPUAffinity"] = {"initial": str(cpus[0]), "final": str(cpus[-1])}
    alive(made)
    assert own.verb("exec", made.identifier, "sh", "-c", ALLOWED).ok.out == "%d\n" % cpus[-1]


def test_without_a_final_place_it_runs_wherever_the_container_does(own, bundle, alive, cpus):
    made = bundle()
    made.process["execCPUAffinity"] = {"initial": str(cpus[0])}
    alive(made)
    plain = bundle()
    expected = own.sh(plain, ALLOWED).ok.out
    assert own.verb("exec", made.identifier, "sh", "-c", ALLOWED).ok.out == expected != "%d\n" % cpus[0]


def test_the_first_process_is_not_concerned(own, bundle, cpus):
    made = bundle()
    made.process["execCPUAffinity"] = {"initial": str(cpus[0]), "final": str(cpus[0])}
    assert own.sh(made, ALLOWED).ok.out != "%d\n" % cpus[0]


def test_a_cpu_that_is_not_there_ends_exec(own, bundle, alive):
    made = bundle()
    made.process["execCPUAffinity"] = {"final": "8000"}
    alive(made)
    found = own.verb("exec", made.identifier, "echo", "ran")
    assert (found.status, found.out) == (255, "")
    assert found.err.startswith("minictr: run on the CPUs of execCPUAffinity: Invalid argument; hint: ")


@pytest.mark.parametrize(
    "text, found",
    [
        ("0-3,7", [0, 1, 2, 3, 7]),
        ("", []),
        (" ", []),
        ("5", [5]),
        ("3, 1-2 ,2", [1, 2, 3]),
        ("3-1", None),
        ("1-", None),
        ("-1", None),
        (",", None),
        ("1 2", None),
        ("8192", None),
        ("0-99999999999", None),
    ],
)
def test_lists_of_numbers_are_read_as_the_kernel_writes_them(text, found):
    if found is None:
        with pytest.raises(ValueError):
            scheduling.parse_list(text, 8192)
    else:
        assert scheduling.parse_list(text, 8192) == found


# --- memoryPolicy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked, word",
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "interleave=static:0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_DEFAULT"}, "default"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "exec"])
def test_memory_is_taken_by_the_policy_asked_for(own, bundle, alive, asked, word, verb):
    if not os.path.exists("/proc/self/numa_maps"):
        pytest.skip("the kernel is made for machines with one node")
    made = bundle()
    made.linux["memoryPolicy"] = asked
    script = "grep stack /proc/self/numa_maps | cut -d' ' -f2"
    if verb == "run":
        assert own.sh(made, script).ok.out == word + "\n"
    else:
        alive(made)
        assert own.verb("exec", made.identifier, "sh", "-c", script).ok.out == word + "\n"


def test_a_node_that_is_not_there_ends_the_start(own, bundle):
    made = bundle()
    made.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "999"}
    found = own.sh(made, "echo ran")
    assert (found.status, found.out) == (125, "")
    assert found.err.startswith("minictr: set the memory policy MPOL_BIND: ") and "; hint: " in found.err


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"nodes": "0"}, "linux.memoryPolicy.mode is missing"),
        ({"mode": "MPOL_BIND"}, "linux.memoryPolicy.nodes is missing, which MPOL_BIND needs"),
        (
            {"mode": "MPOL_LOCAL", "nodes": "0"},
            "linux.memoryPolicy has nodes or flags, which MPOL_LOCAL does without",
        ),
        (
            {"mode": "MPOL_BIND", "nodes": "x"},
            "linux.memoryPolicy.nodes is not a list such as 0-3,7",
        ),
        (
            {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]},
            "linux.memoryPolicy.flags has nodes that are both static and relative",
        ),
        (
            {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]},
            "linux.memoryPolicy.flags has an unknown flag",
        ),
    ],
)
def test_a_memory_policy_that_contradicts_itself_is_refused(own, bundle, asked, words):
    made = bundle()
    made.linux["memoryPolicy"] = asked
    assert own.sh(made, "echo ran") == (125, "", "minictr: read config.json: %s\n" % words)


# --- netDevices --------------------------------------------------------------------------------------------


class Network:
    """A network namespace of the test's own, in the place of the host's."""

    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo up; read line"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.holder.stdout.readline() == b"up\n"
        self.wrap = ["nsenter", "--target", str(self.holder.pid), "--net"]
        self.names = []

    def ip(self, *words):
        """Whether `ip WORDS` succeeds there, and what it says."""
        command = self.wrap + ["ip"] + list(words)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode == 0, done.stdout.decode()

    def device(self, addresses=("192.0.2.7/24", "2001:db8::7/64")):
        """The name of a new device."""
        name = "mct%d" % len(self.names)
        if not self.ip("link", "add", name, "type", "veth")[0]:
            pytest.skip("the kernel has no virtual network devices")
        self.names.append(name)
        commands = [("link", "set", name, "mtu", "1300", "address", "02:00:00:12:34:56")]
        commands += [("addr", "add", address, "dev", name) for address in addresses]
        for words in commands + [("link", "set", name, "up")]:
            assert self.ip(*words) == (True, ""), words
        return name

    def has(self, name):
        return self.ip("link", "show", name)[0]


@pytest.fixture
def net():
    support.require("ip", "unshare")
    made = Network()
    yield made
    made.holder.communicate(b"\n")


def test_a_device_is_moved_with_all_it_has(own, bundle, net):
    name = net.device()
    made = bundle()
    made.linux["netDevices"] = {name: {"name": "inner0"}}
    found = own.sh(
        made, "ip addr show inner0; cat /sys/class/net/inner0/mtu; ls /sys/class/net", wrap=net.wrap
    ).ok
    assert ",UP" in found.lines[0] and found.lines[-3:] == ["1300", "inner0", "lo"]
    for word in ("02:00:00:12:34:56", "inet 192.0.2.7/24", "inet6 2001:db8::7/64"):
        assert word in found.out
    assert not net.has(name)  # a virtual device ends with its namespace


def test_without_another_name_it_keeps_its_own(own, bundle, net):
    name = net.device()
    made = bundle()
    made.linux["netDevices"] = {name: {}}
    assert name in own.sh(made, "ls /sys/class/net", wrap=net.wrap).ok.fields


def test_a_template_gives_it_a_number(own, bundle, net):
    first, second = net.device(addresses=()), net.device(addresses=())
    made = bundle()
    made.linux["netDevices"] = {first: {"name": "in%d"}, second: {"name": "in%d"}}
    assert own.sh(made, "ls /sys/class/net", wrap=net.wrap).ok.fields == ["in0", "in1", "lo"]


def test_a_container_with_a_user_namespace_gets_its_device(own, bundle, net):
    name = net.device()
    made = bundle()
    made.namespaces("user")
    ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    made.linux["uidMappings"] = made.linux["gidMappings"] = ids
    made.linux["netDevices"] = {name: {"name": "inner0"}}
    assert "192.0.2.7" in own.sh(made, "ip addr show inner0", wrap=net.wrap).ok.out


def test_a_device_is_known_again_where_a_neighbour_makes_others(own, bundle, net):
    """In a network that is joined, at that very moment, and with the index that ours had."""
    joined = Network()
    script = (
        "while ip link add n$$ type veth peer name p$$; do ip link set n$$ name m$$; ip link del m$$; done"
    )
    neighbours = [subprocess.Popen(joined.wrap + ["sh", "-c", script]) for _ in range(2)]
    try:
        for _ in range(8):
            name = net.device(addresses=("192.0.2.7/24",))
            made = bundle()
            made.namespaces(network="/proc/%d/ns/net" % joined.holder.pid)
            made.linux["netDevices"] = {name: {"name": "inner0"}}
            shown = own.sh(made, "ip -o -4 addr show", wrap=net.wrap)
            # by chance the neighbour has just taken its number, and the start has failed
            if "Device or resource busy" in shown.err or "File exists" in shown.err:
                continue
            assert [line.split()[1] for line in shown.ok.lines] == ["inner0"], shown
            assert joined.ip("link", "del", "inner0")[0]
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
        joined.holder.communicate(b"\n")


def test_where_the_network_stays_the_hosts_no_device_of_it_is_renamed(own, bundle, net):
    name = net.device()
    made = bundle()
    made.linux["netDevices"] = {name: {"name": "inner0"}}
    made.process["args"] = ["echo", "ran"]
    refused = ["clone3=ENOSYS", "clone&CLONE_NEWNET", "unshare&CLONE_NEWNET"]
    found = own.run(made, "--allow-degraded", wrap=net.wrap, refuse=refused)
    assert (found.status, found.out) == (125, "") and net.has(name)
    assert found.err.split("\n")[-2] == "minictr: move network devices: the container has the host's network"


def test_a_start_that_fails_gives_the_device_back(own, bundle, net):
    name, other = net.device(), net.device(addresses=("192.0.2.9/32",))
    made = bundle()
    made.linux["netDevices"] = {name: {"name": "inner0"}, other: {}}
    made.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    assert own.sh(made, "echo ran", wrap=net.wrap).status != 0
    shown = net.ip("addr", "show", name)[1]
    assert ",UP" in shown and "192.0.2.7/24" in shown and "2001:db8::7/64" in shown and "mtu 1300" in shown
    assert "192.0.2.9/32" in net.ip("addr", "show", other)[1]


@pytest.mark.parametrize(
    "kind, words",
    [
        ("missing", "there is no such device"),
        ("lo", "the container has a device lo"),
        ("twice", "the container has a device inner0"),
    ],
)
def test_a_device_that_cannot_be_moved_ends_the_start(own, bundle, net, kind, words):
    made = bundle()
    first = net.device(addresses=())
    made.linux["netDevices"] = {
        "missing": {"minictr-none": {}},
        "lo": {"lo": {}},
        "twice": {first: {"name": "inner0"}, net.device(addresses=()): {"name": "inner0"}},
    }[kind]
    found = own.sh(made, "echo ran", wrap=net.wrap)
    assert (found.status, found.out) == (125, ""), found
    assert found.err.startswith("minictr: move the network device ") and words in found.err
    assert found.err.count("\n") == 1
    assert net.has(first)


def test_create_keeps_no_hold_of_the_network(own, bundle, net):
    """It would live on, with the device in it, after the container."""
    name = net.device()
    made = bundle()
    made.linux["netDevices"] = {name: {}}
    made.process["args"] = ["sleep", "60"]
    made.save()
    with open(os.devnull, "r+b") as null:
        words = net.wrap + own._words({}) + ["create", "--bundle", made.path, made.identifier]
        env = {"PYTHONPATH": support.CHECKOUT, "PATH": support.PATH, support.MARK: support.SESSION.directory}
        subprocess.run(words, stdin=null, stdout=null, stderr=null, env=env, check=True)
    assert not net.has(name)
    assert own.verb("start", made.identifier).ok
    assert own.verb("exec", made.identifier, "ip", "addr", "show", name).ok.out.count("192.0.2.7/24") == 1
    assert own.verb("delete", "--force", made.identifier).ok


@pytest.mark.parametrize(
    "devices, words",
    [
        ({"a/b": {}}, "linux.netDevices.a/b is not the name of a network device"),
        ({"eth%d": {}}, "linux.netDevices.eth%d is not the name of a network device"),
        ({"x" * 16: {}}, "linux.netDevices.%s is not the name of a network device" % ("x" * 16)),
        ({"eth0": {"name": "a b"}}, "linux.netDevices.eth0.name is not the name of a network device, "),
        ({"eth0": {"name": "a%s"}}, "linux.netDevices.eth0.name is not the name of a network device, "),
        ({"eth0": {"name": "a%d%d"}}, "linux.netDevices.eth0.name is not the name of a network device, "),
        ({"eth0": {"name": ".."}}, "linux.netDevices.eth0.name is not the name of a network device, "),
    ],
)
def test_a_name_that_no_device_can_have_is_refused(own, bundle, devices, words):
    made = bundle()
    made.linux["netDevices"] = devices
    found = own.sh(made, "echo ran")
    assert (found.status, found.out) == (125, "")
    assert found.err.startswith("minictr: read config.json: " + words)


def test_devices_need_a_network_to_be_moved_into(own, bundle):
    made = bundle()
    made.namespaces("-network")
    made.linux["netDevices"] = {"eth0": {}}
    found = own.sh(made, "echo ran")
    assert (found.status, found.out) == (125, "")
    assert found.err.startswith(
        "minictr: move network devices: the container has no network of its own; hint"
    )


# --- intelRdt ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [{}, {"closID": "x"}, {"schemata": ["MB:0=10"]}])
def test_without_resctrl_a_share_is_an_error(own, bundle, asked):
    with open("/proc/self/mountinfo") as file:
        if " - resctrl " in file.read():
            pytest.skip("resctrl is mounted")
    made = bundle()
    made.linux["intelRdt"] = asked
    found = own.sh(made, "echo ran")
    assert (found.status, found.out) == (125, "")
    assert found.err == (
        "minictr: limit caches and memory bandwidth (linux.intelRdt): no file system of the type resctrl is "
        "mounted; hint: on a processor that has it: mount -t resctrl resctrl /sys/fs/resctrl\n"
    )


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"closID": ".."}, "closID is not the name of a directory, nor /"),
        ({"closID": "a/b"}, "closID is not the name of a directory, nor /"),
        ({"memBwSchema": "L3:0=1"}, "memBwSchema does not start with MB:"),
        ({"l3CacheSchema": "L3:0=1\nMB:0=1"}, "l3CacheSchema has more than one line"),
        ({"schemata": ["L3:0=1\nMB:0=1"]}, "schemata has an element of more than one line"),
    ],
)
def test_a_share_that_is_none_is_refused(own, bundle, asked, words):
    made = bundle()
    made.linux["intelRdt"] = asked
    said = "minictr: read config.json: linux.intelRdt.%s\n" % words
    assert own.sh(made, "echo ran") == (125, "", said)


@pytest.fixture
def top(tmp_path):
    """A directory in the place of resctrl: in the real one the kernel makes the files of a new directory."""

    class Group(resctrl.Group):
        def make(self):
            found = resctrl._write
            resctrl._write = self._written
            try:
                super().make()
            finally:
                resctrl._write = found

        def _written(self, path, text):
            with open(path, "a") as file:
                file.write(text)

    (tmp_path / "schemata").write_text("    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n")
    (tmp_path / "tasks").write_text("")
    (tmp_path / "mon_groups").mkdir()
    return lambda asked, identifier="box": Group(asked, identifier, str(tmp_path))


def test_a_class_of_its_own_ends_with_the_container(top):
    group = top({"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20", "schemata": ["L2:0=1"]})
    group.make()
    with open(group.path + "/schemata") as file:
        assert file.read() == "L3:0=f\nMB:0=20\nL2:0=1\n"
    assert group.made == [os.path.join(group.top, "box")]
    os.unlink(group.path + "/schemata")
    resctrl.remove(group.made)
    assert not os.path.exists(group.path)
    resctrl.remove(group.made)


def test_a_class_that_is_there_is_not_taken_over(top):
    """It may be an administrator's, or info, which the kernel has."""
    for name in ("box", "mon_groups"):
        before = top({"l3CacheSchema": "L3:0=f"}, name)
        if name == "box":
            os.mkdir(before.path)
            with open(before.path + "/schemata", "w") as file:
                file.write("L3:0=7ff\n")
        with pytest.raises(ContainerError) as caught:
            before.make()
        assert str(caught.value) == (
            "make the class of service %s: there is one, which is not the container's; hint: another id, or "
            "closID to share it; rmdir it if a container that was killed has left it" % before.path
        )
        assert before.made == [] and os.path.isdir(before.path)
    with open(os.path.join(before.top, "box", "schemata")) as file:
        assert file.read() == "L3:0=7ff\n"


def test_of_two_words_on_bandwidth_its_own_counts(top):
    group = top({"l3CacheSchema": "MB:0=10", "memBwSchema": "MB:0=20"})
    group.make()
    with open(group.path + "/schemata") as file:
        assert file.read() == "MB:0=20\n"


def test_a_named_class_stays(top):
    group = top({"closID": "shared", "schemata": ["MB:0=20"]})
    group.make()
    assert group.made == [] and group.path.endswith("/shared")
    top({"closID": "shared", "schemata": ["MB:0=20"]}).make()
    with pytest.raises(ContainerError) as caught:
        top({"closID": "shared", "schemata": ["MB:0=30"]}).make()
    assert "it exists, and has other shares than MB:0=30" in str(caught.value)


def test_a_class_that_is_only_named_must_be_there(top):
    with pytest.raises(ContainerError) as caught:
        top({"closID": "nowhere"}).make()
    assert "there is none" in str(caught.value)
    group = top({"closID": "/", "l3CacheSchema": "L3:0=7FF;1=07ff"})
    group.make()
    group.join(os.getpid())
    with open(group.top + "/tasks") as file:
        assert file.read() == str(os.getpid())


def test_monitoring_has_a_directory_of_the_containers(top):
    group = top({"closID": "/", "enableMonitoring": True})
    group.make()
    assert group.made == [os.path.join(group.top, "mon_groups/box")]
    with pytest.raises(ContainerError):
        top({"closID": "/", "enableMonitoring": True}).make()


# minictr, to which the directory in TOP is what resctrl is mounted on
ELSEWHERE = """\
import os
from minictr import __main__, resctrl
resctrl.mount_point = lambda: os.environ["TOP"]
__main__.main()
"""


@pytest.mark.usefixtures("top")
def test_a_further_program_has_the_same_share(own, bundle, tmp_path):
    """The kernel puts a process into the class of its parent: for one of exec that is not the container's."""

    def call(*words):
        command = [sys.executable, "-c", ELSEWHERE, "--root", own.runner.state()] + list(words)
        return own.runner.start_command(*command, env={"TOP": str(tmp_path), "PYTHONPATH": support.CHECKOUT})

    made = bundle()
    made.linux["intelRdt"] = {"closID": "/"}
    made.process["args"] = ["sh", "-c", "echo up; exec sleep 1000"]
    made.save()
    live = call("run", "--detach", "--bundle", made.path, made.identifier)
    live.expect("up\n")
    assert live.wait().ok
    tasks, noted = tmp_path / "tasks", tmp_path / "pid"
    try:
        pid = json.loads(own.verb("state", made.identifier).ok.out)["pid"]
        assert tasks.read_text() == str(pid)
        assert call("exec", "--pid-file", str(noted), made.identifier, "true").wait() == (0, "", "")
        assert tasks.read_text() == noted.read_text() != str(pid)
    finally:
        own.verb("delete", "--force", made.identifier).ok
