"""config.json: what is wrong is named; and the schema of the specification, as the judge of it."""

import copy
import glob
import json
import os
import pickle
import shutil

import bundles
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minictr import config, host, plan, spec, sysctls
from minictr.errors import ContainerError

MINIMAL = {"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"cwd": "/", "args": ["sh"]}}


def full():
    """A configuration in which every property that is checked appears."""
    made = spec.default_config(["sh"], "rootfs")
    made["domainname"] = "example"
    made["annotations"] = {"a": "b"}
    made["hooks"] = {"prestart": [{"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 1}]}
    made["process"].update(
        consoleSize={"height": 24, "width": 80},
        user={"uid": 1, "gid": 2, "umask": 0o22, "additionalGids": [3], "username": "x"},
        rlimits=[
            {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 2},
        ],
        apparmorProfile="p", selinuxLabel="l", oomScoreAdj=5,
        scheduler={
            "policy": "SCHED_DEADLINE", "nice": 1, "priority": 0, "flags": ["SCHED_FLAG_RECLAIM"],
            "runtime": 1, "deadline": 2, "period": 3,
        },
        ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4},
        execCPUAffinity={"initial": "0-3,7", "final": ""},
    )  # fmt: skip
    mapping = [{"containerID": 0, "hostID": 1000, "size": 10}]
    mount = {"destination": "/mnt", "type": "bind", "source": "/srv", "options": ["rbind", "ro"]}
    made["mounts"].append(dict(mount, uidMappings=mapping, gidMappings=mapping))
    made["linux"]["namespaces"] += [{"type": "user"}, {"type": "time"}]
    made["linux"].update(
        uidMappings=mapping, gidMappings=mapping, cgroupsPath="/x", rootfsPropagation="rslave",
        timeOffsets={"monotonic": {"secs": -1, "nanosecs": 5}},
        devices=[
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 384, "uid": 0, "gid": 0}
        ],
        sysctl={"net.ipv4.ip_forward": "1"}, mountLabel="m",
        personality={"domain": "LINUX", "flags": []},
        netDevices={"eth0": {"name": "x"}},
        intelRdt={
            "closID": "c", "schemata": ["L3:0=f"], "l3CacheSchema": "x", "memBwSchema": "MB:0=1",
            "enableMonitoring": True,
        },
        memoryPolicy={"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
        seccomp={
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/run/s", "listenerMetadata": "m",
            "syscalls": [{
                "names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1,
                "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_EQ"}],
            }],
        },
        resources={
            "unified": {"memory.high": "1"},
            "devices": [{"allow": False, "access": "rwm", "type": "a", "major": 1, "minor": -1}],
            "pids": {"limit": 5},
            "blockIO": {
                "weight": 10, "leafWeight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 10, "leafWeight": 10}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}],
                "throttleWriteBpsDevice": [], "throttleReadIOPSDevice": [], "throttleWriteIOPSDevice": [],
            },
            "cpu": {
                "cpus": "0", "mems": "0", "period": 1, "quota": -1, "burst": 0, "realtimePeriod": 1,
                "realtimeRuntime": 1, "shares": 2, "idle": 0,
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 5}],
            "memory": {
                "kernel": 1, "kernelTCP": 1, "limit": -1, "reservation": 1, "swap": -1, "swappiness": 0,
                "disableOOMKiller": False, "useHierarchy": True, "checkBeforeUpdate": False,
            },
            "network": {"classID": 1, "priorities": [{"name": "lo", "priority": 1}]},
            "rdma": {"mlx5_1": {"hcaHandles": 1, "hcaObjects": 1}},
        },
    )  # fmt: skip
    return json.loads(json.dumps(made))  # of which no part is another


def refusal(document):
    """What config says against DOCUMENT, "" if nothing."""
    try:
        config.check(document)
    except ContainerError as error:
        assert error.status == 125
        assert str(error).startswith("read config.json: ")
        return str(error)[len("read config.json: ") :]
    return ""


def steps(path):
    """ "linux.devices[0].path" as ("linux", "devices", 0, "path")"""
    found = []
    for word in path.split("."):
        name, _, index = word.partition("[")
        found += [name] + ([int(index[:-1])] if index else [])
    return found


def put(document, path, value):
    """Set or add what PATH leads to."""
    names = steps(path)
    for name in names[:-1]:
        document = document[name]
    document[names[-1]] = value


# --- by hand ----------------------------------------------------------------------------------------


def test_the_full_configuration_is_valid():
    assert refusal(full()) == ""


def test_the_least_that_can_be_run_is_valid():
    assert refusal(copy.deepcopy(MINIMAL)) == ""


STRING, NUMBER, ARRAY, OBJECT = (
    "is not a string",
    "is not a whole number",
    "is not an array",
    "is not an object",
)
LIMIT = {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}
BOOLEAN, NUL = "is not true or false", "has a NUL in it"

INVALID = [
    ("ociVersion", None, "is missing"),
    ("ociVersion", 1, STRING),
    ("ociVersion", "2.0.0", "2.0.0 is not a version 1"),
    ("ociVersion", "1.0", "1.0 is not a version 1"),
    ("ociVersion", "one", "one is not a version 1"),
    ("ociVersion", "1.+0.0", "1.+0.0 is not a version 1"),
    ("ociVersion", "1.\u00b2.0", "1.\u00b2.0 is not a version 1"),
    ("root", None, "is missing"),
    ("root", "rootfs", OBJECT),
    ("root.path", None, "is missing"),
    ("root.path", "a\0b", NUL),
    ("root.readonly", "yes", BOOLEAN),
    ("root.readonly", 1, BOOLEAN),
    ("hostname", 5, STRING),
    ("hostname", "x" * 65, "is longer than 64 bytes"),
    ("hostname", "\u20ac" * 22, "is longer than 64 bytes"),
    ("domainname", "x" * 65, "is longer than 64 bytes"),
    ("annotations", ["a"], OBJECT),
    ("annotations.a", 1, STRING),
    ("annotations", {"": "x"}, "has an empty name"),
    ("process", [], OBJECT),
    ("process.terminal", 0, BOOLEAN),
    ("process.consoleSize.height", 65536, "is not between 0 and 65535"),
    ("process.consoleSize.width", None, "is missing"),
    ("process.cwd", None, "is missing"),
    ("process.cwd", "tmp", "is not an absolute path"),
    ("process.cwd", "", "is not an absolute path"),
    ("process.args", None, "is empty or missing"),
    ("process.args", [], "is empty or missing"),
    ("process.args", "sh", ARRAY),
    ("process.args[0]", 7, STRING),
    ("process.args[0]", "s\0h", NUL),
    ("process.env", {"A": "b"}, ARRAY),
    ("process.env[0]", "A", "is not NAME=VALUE"),
    ("process.env[0]", "=A", "is not NAME=VALUE"),
    ("process.env[0]", "=A=b", "is not NAME=VALUE"),  # whose name is empty: execve(2) of Python refuses it
    ("process.env[0]", "", "is not NAME=VALUE"),
    ("process.user", 0, OBJECT),
    ("process.user.uid", "0", NUMBER),
    ("process.user.uid", True, NUMBER),
    ("process.user.uid", 1.0, NUMBER),
    ("process.user.uid", 1.5, NUMBER),
    ("process.user.uid", -1, "is not between 0 and 4294967294"),
    ("process.user.uid", 2**32 - 1, "is not between 0 and 4294967294"),
    ("process.user.gid", 2**32, "is not between 0 and 4294967294"),
    ("process.user.gid", 10**400, "is not between 0 and 4294967294"),
    ("process.user.umask", 0o1000, "is not between 0 and 511"),
    ("process.user.additionalGids[0]", 2**32 - 1, "is not between 0 and 4294967294"),
    ("process.capabilities", ["CAP_KILL"], OBJECT),
    ("process.capabilities.bounding", "CAP_KILL", ARRAY),
    ("process.capabilities.ambient", [5], STRING),
    ("process.rlimits[0].type", "NOFILE", "is not one of "),
    ("process.rlimits[0].type", "RLIMIT_ALL", "is not one of "),
    ("process.rlimits[0].soft", None, "is missing"),
    ("process.rlimits[0].hard", 2**64, "is not between 0 and "),
    ("process.rlimits[0].hard", -1, "is not between 0 and "),
    ("process.rlimits[0].hard", 0, "has a soft limit above its hard limit"),
    ("process.rlimits[1]", LIMIT, "is a second RLIMIT_NOFILE"),
    ("process.noNewPrivileges", "true", BOOLEAN),
    ("process.apparmorProfile", False, STRING),
    ("process.oomScoreAdj", 1001, "is not between -1000 and 1000"),
    ("process.scheduler.policy", "SCHED_SPORADIC", "is not one of "),
    ("process.scheduler.policy", None, "is missing"),
    ("process.ioPriority.class", "IOPRIO_CLASS_NONE", "is not one of "),
    ("process.ioPriority.priority", 8, "is not between 0 and 7"),
    ("process.scheduler.flags", ["SCHED_FLAG_ALL"], "has an unknown flag"),
    ("process.execCPUAffinity.initial", "all", "is not a list of CPUs"),
    ("process.execCPUAffinity.final", "3-1", "has a range that is none"),
    ("process.execCPUAffinity.initial", "1" * 5000, "is not a list such as"),
    ("mounts", {}, ARRAY),
    ("mounts[0]", None, OBJECT),
    ("mounts[0].destination", None, "is missing"),
    ("mounts[0].destination", "", "is empty"),
    ("mounts[0].type", None, "is missing"),
    ("mounts[6].source", None, "is missing"),
    ("mounts[6].source", "", "is missing"),
    ("mounts[0].options", "ro", ARRAY),
    ("mounts[6].uidMappings[0].size", None, "is missing"),
    ("mounts[6].gidMappings", None, "is missing: users and groups are mapped together"),
    ("mounts[6].uidMappings", [], "is missing: users and groups are mapped together"),
    (
        "mounts[0].uidMappings", [{"containerID": 0, "hostID": 0, "size": 1}],
        "only a bind mount can have other ids",
    ),
    ("hooks.prestart", {}, ARRAY),
    ("hooks.prestart[0].path", "true", "is not an absolute path"),
    ("hooks.prestart[0].path", None, "is missing"),
    ("hooks.prestart[0].timeout", 0, "is not between 1 and "),
    ("linux", [], OBJECT),
    ("linux.namespaces[0].type", "net", "is not one of "),
    ("linux.namespaces[0].type", "network", "names network twice"),
    ("linux.namespaces[0].path", 3, STRING),
    ("linux.namespaces[0].path", "ns/net", "is not an absolute path"),
    ("root.path", "", "is empty"),
    ("linux.uidMappings[0].hostID", 2**32 - 1, "is not between 0 and 4294967294"),
    ("linux.uidMappings[0].size", 2**32, "is not between 0 and 4294967295"),
    ("linux.gidMappings[0].containerID", None, "is missing"),
    ("linux.timeOffsets.realtime", {}, "needs a new time namespace, and a clock of it"),
    ("linux.timeOffsets.monotonic.nanosecs", 10**9, "is not between 0 and 999999999"),
    ("linux.devices[0].type", "x", "is not one of c, b, u, p"),
    ("linux.devices[0].path", "dev/x", "is not an absolute path"),
    ("linux.devices[0].major", None, "is missing"),
    ("linux.devices[0].minor", None, "is missing"),
    ("linux.devices[0].major", 4096, "is not between 0 and 4095"),
    ("linux.devices[0].fileMode", 65536, "is not between 0 and 65535"),
    ("linux.rootfsPropagation", "public", "is not one of "),
    ("linux.sysctl", {"kernel.panic": "1"}, "belongs to no namespace: it would change the host"),
    ("linux.sysctl", {"net/../kernel.panic": "1"}, "is not the name of a sysctl"),
    ("linux.sysctl", {"net.ipv4.ip_forward": 1}, STRING),
    ("linux.sysctl", {"kernel/hostname": "x"}, "contradicts hostname"),
    ("linux.maskedPaths", "/proc/kcore", ARRAY),
    ("linux.maskedPaths[0]", 1, STRING),
    ("linux.personality.domain", "SOLARIS", "is not one of LINUX, LINUX32"),
    ("linux.netDevices.eth0.name", 23, STRING),
    ("linux.memoryPolicy.mode", "MPOL_ANY", "is not one of "),
    ("linux.memoryPolicy.flags", ["MPOL_F_ANY"], "has an unknown flag"),
    ("linux.memoryPolicy.nodes", "", "is missing, which MPOL_BIND needs"),
    ("linux.intelRdt.memBwSchema", "L3:0=1", "does not start with MB:"),
    ("linux.intelRdt.memBwSchema", "", "does not start with MB:"),
    ("linux.intelRdt.closID", "a/b", "is not the name of a directory"),
    ("linux.seccomp.defaultAction", None, "is missing"),
    ("linux.seccomp.defaultAction", "ALLOW", "is not one of "),
    ("linux.seccomp.listenerPath", "", "needs a listenerPath"),
    ("linux.seccomp.syscalls[0].names", "read", ARRAY),
    ("linux.seccomp.syscalls[0].action", "SCMP_ACT_MAYBE", "is not one of "),
    ("linux.seccomp.syscalls[0].args[0].index", 6, "is not between 0 and 5"),
    ("linux.seccomp.syscalls[0].args[0].op", "SCMP_CMP_NO", "is not one of "),
    ("linux.resources", [], OBJECT),
    ("linux.resources.devices[0].allow", None, "is missing"),
    ("linux.resources.devices[0].allow", 1, BOOLEAN),
    ("linux.resources.pids.limit", "5", NUMBER),
    ("linux.resources.pids.limit", None, "is missing"),
    ("linux.resources.memory.limit", 2**63, "is not between "),
    ("linux.resources.memory.swappiness", -1, "is not between "),
    ("linux.resources.cpu.cpus", 0, STRING),
    ("linux.resources.cpu.shares", -1, "is not between "),
    ("linux.resources.hugepageLimits[0].pageSize", "64kB", "is not a size such as 2MB"),
    ("linux.resources.hugepageLimits[0].pageSize", "02MB", "is not a size such as 2MB"),
    ("linux.resources.blockIO.weight", 65536, "is not between 0 and 65535"),
    ("linux.resources.blockIO.throttleReadBpsDevice[0].major", None, "is missing"),
    ("linux.resources.network.priorities[0].priority", None, "is missing"),
    ("linux.resources.rdma.mlx5_1.hcaHandles", "many", NUMBER),
    ("linux.resources.unified", {"memory.high": 5}, STRING),
]  # fmt: skip
# where the message names not quite what was set
NAMED = {
    ("linux.seccomp.listenerPath", ""): "linux.seccomp.listenerMetadata",
    ("annotations", ""): "annotations",
    ("process.rlimits[0].hard", 0): "process.rlimits[0]",
    ("linux.namespaces[0].type", "network"): "linux.namespaces",
    ("linux.sysctl", "kernel.panic"): "linux.sysctl.kernel.panic",
    ("linux.sysctl", "net/../kernel.panic"): "linux.sysctl.net/../kernel.panic",
    ("linux.sysctl", "net.ipv4.ip_forward"): "linux.sysctl.net.ipv4.ip_forward",
    ("linux.sysctl", "kernel/hostname"): "linux.sysctl.kernel/hostname",
    ("linux.resources.unified", "memory.high"): "linux.resources.unified.memory.high",
    ("process.capabilities.ambient", 5): "process.capabilities.ambient[0]",
}  # fmt: skip


@pytest.mark.parametrize(
    "path, value, words",
    INVALID,
    ids=["%s = %s" % (path, repr(value).replace("\0", "NUL")[:30]) for path, value, _ in INVALID],
)
def test_an_invalid_property_is_named_with_its_place(path, value, words):
    document = full()
    if path == "process.user.additionalGids[0]":
        document["process"]["user"]["additionalGids"] = [0]
    put(document, path, value)
    key = list(value)[0] if isinstance(value, dict) and value else value[0] if value == [5] else value
    named = NAMED.get((path, key) if not isinstance(key, (list, dict)) else (), path)
    assert refusal(document).startswith("%s %s" % (named, words)), refusal(document)


def test_the_words_of_a_message_end_with_the_last():
    document = full()
    document["linux"]["rootfsPropagation"] = "public"
    assert refusal(document).endswith(
        " is not one of shared, slave, private, unbindable, rshared, rslave, rprivate, runbindable"
    )


def test_the_document_itself_may_be_wrong():
    for document in ([], "x", 5, None, True):
        assert refusal(document) == "the document is not an object"


def test_a_name_in_the_message_stays_on_its_line():
    document = full()
    document["annotations"] = {"a\nminictr: all is well\x1b[2J": 5}
    assert refusal(document) == "annotations.a\\nminictr: all is well\\x1b[2J is not a string"


@pytest.mark.parametrize(
    "change, words",
    [
        ({"-": "uts"}, "hostname needs a namespace of the kind uts"),
        ({"-": "user"}, "linux.uidMappings needs a user namespace"),
        ({"-": "time"}, "linux.timeOffsets.monotonic needs a new time namespace, and a clock of it"),
        ({"path": "time"}, "linux.timeOffsets.monotonic needs a new time namespace, and a clock of it"),
        ({"-": "network"}, "linux.sysctl.net.ipv4.ip_forward needs a namespace of the kind network"),
    ],
    ids=lambda value: " ".join(list(value.items())[0]) if isinstance(value, dict) else "",
)
def test_what_needs_a_namespace_says_so(change, words):
    document = full()
    for entry in list(document["linux"]["namespaces"]):
        if entry["type"] == change.get("-"):
            document["linux"]["namespaces"].remove(entry)
        if entry["type"] == change.get("path"):
            entry["path"] = "/proc/1/ns/x"
    assert refusal(document) == words


@pytest.mark.parametrize(
    "key, kind",
    [
        ("kernel.domainname", "uts"), ("kernel/hostname", "uts"), ("kernel.sem", "ipc"),
        ("fs.mqueue.msg_max", "ipc"), ("net/ipv4/conf/eth0.100/forwarding", "network"),
    ],
)  # fmt: skip
def test_a_kernel_parameter_takes_the_namespace_that_it_belongs_to(key, kind):
    others = ["uts", "ipc", "network", "user", "pid", "mount", "cgroup", "time"]
    others.remove(kind)
    assert sysctls.refusal(key, others) == "needs a namespace of the kind %s" % kind
    assert sysctls.refusal(key, [kind]) == ""


def leaves(document, path=""):
    """The path of every property and item."""
    items = ()
    if isinstance(document, dict):
        items = [("%s.%s" % (path, key) if path else key, value) for key, value in document.items()]
    elif isinstance(document, list):
        items = [("%s[%d]" % (path, index), value) for index, value in enumerate(document)]
    for inner, value in items:
        yield inner
        yield from leaves(value, inner)


@pytest.mark.parametrize(
    "value", [None, {}, [], "", 0, -1, True, 1.5, "\0", [[]], [{}], {"": None}], ids=repr
)
def test_no_value_anywhere_is_a_bug_of_ours(value):
    """Another kind of error would be a traceback."""
    for path in leaves(full()):
        if "." in path.replace("net.ipv4.ip_forward", "").replace("memory.high", "") or "ipv4" not in path:
            document = full()
            try:
                put(document, path, value)
            except (KeyError, ValueError):
                continue  # a name with a point in it
            refusal(document)


def test_half_of_a_character_is_refused():
    document = full()
    document["hostname"] = "\ud800"
    assert refusal(document) == "hostname has a character that cannot be written, or half of one"


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0-rc.1", "1.1.0+dev", "1.2.1-rc.1+dev", "1.0.2+a-b.c"])
def test_a_version_may_have_a_pre_release_and_build_metadata(version):
    assert refusal(dict(full(), ociVersion=version)) == ""


@pytest.mark.parametrize(
    "limits, words",
    [
        ([dict(LIMIT, soft=2)], "process.rlimits[0] has a soft limit above its hard limit"),
        ([LIMIT, LIMIT], "process.rlimits[1] is a second RLIMIT_NOFILE"),
    ],
)
def test_a_process_of_its_own_has_limits_that_can_be_set(limits, words):
    with pytest.raises(ContainerError) as caught:
        config.check_process({"cwd": "/", "args": ["sh"], "rlimits": limits})
    assert caught.value.why == words


def roots():
    """This host as root finds it, whoever runs the tests."""
    return host.probe(ranges=False).replace(uid=0, gid=0, effective=(1 << 41) - 1)


def test_null_is_as_good_as_absent_for_ids():
    document = full()
    document["process"]["user"] = {"uid": None, "gid": None, "umask": None}
    document["linux"]["timeOffsets"] = {"monotonic": {"secs": None}}
    config.check(document)
    seen = plan.make(spec.Spec(config=document, identifier="x", bundle="/"), roots(), "/stage")
    assert (seen.credentials.uid, seen.credentials.gid, seen.credentials.umask) == (0, 0, 0o022)
    assert seen.time_offsets == "monotonic 0 0\n"


@pytest.mark.parametrize(
    "path, place",
    [
        ("/a/b", "/a/b"), ("a/b", "/a/b"), ("./a", "/a"), (".//a/./b/", "/a/b"), ("..a", "/..a"),
    ],
)  # fmt: skip
def test_a_relative_cgroups_path_lies_at_the_top(path, place):
    document = full()
    document["linux"]["cgroupsPath"] = path
    asked = spec.Spec(config=document, identifier="x", bundle="/")
    quiet = roots().replace(reclaimed=False)
    assert plan.make(asked, quiet, "/stage").cgroup_path == place


@pytest.mark.parametrize(
    "resources, path, source, place",
    [
        ({"pids": {"limit": 9}}, "", "bundle", "/minictr-x/container"),
        ({"pids": {"limit": 9}}, "a", "bundle", "/a/container"),
        ({"pids": {"limit": 9}}, "/a", "bundle", "/a"),
        ({"pids": {"limit": 9}}, "/a/minictr-x", "rootfs", "/a/minictr-x/container"),
        ({"memory": {"limit": 9}}, "", "bundle", "/minictr-x"),  # assumed below
        ({"devices": [{"allow": False}]}, "", "bundle", "/minictr-x"),
        ({}, "", "bundle", "/minictr-x"),
    ],
)
def test_where_systemd_takes_controllers_back_a_cgroup_with_limits_lies_below_another(
    resources, path, source, place
):
    document = full()
    document["linux"].update(resources=resources, cgroupsPath=path)
    asked = spec.Spec(config=document, identifier="x", bundle="/", source=source, assumed=("memory",))
    reclaimed = roots().replace(reclaimed=True)
    assert plan.make(asked, reclaimed, "/run/minictr/x").cgroup_path == place
    left = reclaimed.replace(reclaimed=False)
    assert plan.make(asked, left, "/run/minictr/x").cgroup_path == place.replace("/container", "")


@pytest.mark.parametrize("path", ["../a", "./../a", "a/..", "/a/../b"])
def test_a_cgroups_path_leads_nowhere_else(path):
    document = full()
    document["linux"]["cgroupsPath"] = path
    asked = spec.Spec(config=document, identifier="x", bundle="/")
    with pytest.raises(ContainerError, match=r'has a "\.\."'):
        plan.make(asked, roots(), "/stage")


def test_a_file_is_read_and_checked(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(full()))
    assert config.load(str(tmp_path)) == full()
    path.write_text(json.dumps(dict(full(), root=5)))
    with pytest.raises(ContainerError, match="root is not an object"):
        config.load(str(tmp_path))


# --- the schema as the judge --------------------------------------------------------------------------

# Why config.py says no where the schema does not: what fits the shape, but cannot be done
STRICTER = {
    "root is missing": "every container has a root file system",
    "process.args is empty or missing": "a container is made to run something",
    "is not a version 1": "another version may mean something else",
    "is not an absolute path": "the text of the specification asks for it",
    "is not NAME=VALUE": "environ(7)",
    "has a NUL in it": "no name or word of the kernel's can have one",
    "has a character that cannot be written": "half of a surrogate pair: no UTF-8 has it",
    "is empty": "there is no such place",
    "is not between 0 and 4294967294": "one more is no id to the kernel",
    "is not between 0 and 65535": "the size of a terminal is two numbers of 16 bits",
    "is not between -1000 and 1000": "oom_score_adj has no more",
    "is not between 0 and 511": "a umask has nine bits",
    "is not between 0 and 999999999": "a second has no more",
    "is not between 0 and 5": "a system call has six arguments",
    "is not between 0 and 7": "ionice has eight levels",
    "is not between 0 and 4095": "a device number has twelve bits",
    "is not between 0 and 1048575": "and twenty",
    "is not between 1 and 2147483648": "seconds, of some 68 years",
    "is not one of RLIMIT_": "the kernel has these",
    "names ": "a process has one namespace of each kind",
    "needs a ": "without it, it would be the host's",
    "has a soft limit above its hard limit": "setrlimit(2) refuses it",
    "is a second RLIMIT_": "the text of the specification asks for it",
    "annotations has an empty name": "the text of the specification asks for it",
    "needs a listenerPath": "the text of the specification asks for it",
    "is missing: users and groups": "an id-mapped mount has the map of a user namespace, which has both",
    "only a bind mount can have other ids": "a new file system has no ids to be mapped",
    "source is missing": "a bind mount shows something",
    "type is missing": "what else should be mounted",
    "major is missing": "the text of the specification asks for it",
    "minor is missing": "the text of the specification asks for it",
    "domain is missing": "the text of the specification asks for it",
    "belongs to no namespace": "it would change the host",
    "is not between -20 and 19": "sched(7): a nice value has no more",
    "is not between 1 and 99": "sched(7): a priority of real time has no more",
    "is for SCHED_": "sched_setattr(2) refuses it, or it means nothing",
    "is not a list such as": 'cpuset(7), "List format"',
    "has a range that is none": 'cpuset(7), "List format"',
    "mode is missing": "the text of the specification asks for it",
    "nodes is missing": "set_mempolicy(2) refuses it",
    "has nodes ": "set_mempolicy(2) refuses it",
    "is not the name of a directory": "it must not lead elsewhere",
    "more than one line": "the text of the specification asks for it",
    "is not the name of a network device": "dev_valid_name() in net/core/dev.c",
    "is not the name of a sysctl": "it would be another",
    "linux.resources.unified.": "a value of the kernel's is text",
}


def schema():
    """config-schema.json with all that it refers to put in."""
    files = {}

    def load(name):
        if name not in files:
            with open(bundles.fixture("oci-schema", name)) as file:
                files[name] = json.load(file)
        return files[name]

    def whole(node, name):
        if isinstance(node, list):
            return [whole(item, name) for item in node]
        if not isinstance(node, dict):
            return node
        if isinstance(node.get("$ref"), str):
            place, _, pointer = node["$ref"].partition("#")
            target = load(place or name)
            for word in pointer.strip("/").split("/"):
                target = target[word]
            return whole(target, place or name)
        return {key: whole(value, name) for key, value in node.items()}

    return whole(load("config-schema.json"), "config-schema.json")


@pytest.fixture(scope="module")
def judge():
    """The first complaint of the schema about a document, "" for none, but for what config.py lets pass:
    here, and null."""
    import jsonschema

    made = schema()  # what is of other systems is nobody's business
    made["properties"] = {
        key: value
        for key, value in made["properties"].items()
        if key not in ("solaris", "windows", "vm", "zos", "freebsd")
    }
    linux = made["properties"]["linux"]["properties"]
    # as engines write them: the recursive words and the empty one, the type of the file in its mode
    linux["rootfsPropagation"]["enum"] += ["r" + word for word in linux["rootfsPropagation"]["enum"]] + [""]
    linux["devices"]["items"]["properties"]["fileMode"]["maximum"] = 65535
    # `seccomp` looks at these: the flags and architectures, and that there are names
    linux["seccomp"]["properties"]["flags"]["items"] = {"type": "string"}
    linux["seccomp"]["properties"]["architectures"]["items"] = {"type": "string"}
    del linux["seccomp"]["properties"]["syscalls"]["items"]["properties"]["names"]["minItems"]
    validator = jsonschema.Draft4Validator(made)  # in which 1.0 is no integer, as in Go

    def complaint(document):
        for error in validator.iter_errors(without_null(document)):
            return error.message
        return ""

    return complaint


MAPPINGS = ("annotations", "sysctl", "unified", "rdma", "netDevices", "timeOffsets")


def without_null(document, name=""):
    """DOCUMENT without the properties that are null, as engines write what they leave out; what has names of
    its own choice keeps them."""
    if isinstance(document, dict):
        return {
            key: without_null(value, key)
            for key, value in document.items()
            if value is not None or name in MAPPINGS
        }
    if isinstance(document, list):
        return [without_null(item) for item in document]
    return document


def fresh(document):
    """A copy, in a fifth of the time that copy.deepcopy takes: there are thousands of them."""
    return pickle.loads(pickle.dumps(document))


def disagree(document, judge):
    """In which words config.py and the schema differ over DOCUMENT; "" if they do not, or with a reason."""
    said, complaint = refusal(fresh(document)), judge(document)
    if complaint and not said:
        return "only the schema refuses: %s" % complaint
    if said and not complaint and not any(words in said for words in STRICTER):
        return "only config.py refuses: %s" % said
    return ""


EXAMPLES = sorted(
    glob.glob(os.path.join(bundles.FIXTURES, "oci-schema", "test", "config", "*", "*.json"))
    + glob.glob(os.path.join(bundles.FIXTURES, "oci", "*.json"))
)
FOREIGN = ("freebsd", "zos")  # not of this system


def complete(document):
    """Some examples have nothing to run, and one is of version 0.5: else that would be what is wrong."""
    document.setdefault("process", {"cwd": "/"}).setdefault("args", ["sh"])
    document["ociVersion"] = "1.0.2"


def name_of(path):
    return "-".join(path.split(os.sep)[-2:])


@pytest.mark.parametrize("path", EXAMPLES or [""], ids=name_of)
def test_the_examples_are_judged_as_the_schema_judges_them(path, judge, tmp_path):
    bundles.fixture("oci-schema")
    if os.path.basename(path) == "invalid-json.json":
        shutil.copy(path, str(tmp_path / "config.json"))
        with pytest.raises(ContainerError, match="not JSON"):
            config.load(str(tmp_path))
        return
    with open(path) as file:
        document = json.load(file)
    complete(document)
    assert disagree(document, judge) == ""
    if os.path.basename(path).startswith(FOREIGN):
        return
    assert bool(refusal(document)) == (os.path.basename(os.path.dirname(path)) == "bad")


def test_the_full_configuration_is_valid_for_the_schema_too(judge):
    assert judge(full()) == ""


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.integers(-3, 70000),
    st.floats(allow_nan=False),
    st.sampled_from(["", "x", "/x", "a=b", "rslave", "RLIMIT_X", "SCMP_ACT_LOG", "\u20ac", "0-3", "1GB"]),
    st.builds(list), st.builds(dict), st.lists(st.integers(0, 5), max_size=2),
    st.just([{}]), st.just({"a": {}}),
)  # fmt: skip


@st.composite
def mutations(draw, document):
    """DOCUMENT with a few of its properties changed, taken out, or doubled."""
    document = fresh(document)
    for _ in range(draw(st.integers(1, 3))):
        place, key = document, None
        while isinstance(place, (dict, list)) and place:
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            parent, key = place, draw(st.sampled_from(keys))
            place = parent[key]
            if draw(st.integers(0, 3)) == 0:
                break
        if key is None:
            continue
        what = draw(st.sampled_from(["change", "change", "remove", "double"]))
        if what == "change":
            parent[key] = copy.deepcopy(draw(VALUES))
        elif what == "remove":
            del parent[key]
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        else:
            parent[key] = [place]
    return document


@settings(max_examples=2000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(document=mutations(full()))
def test_a_changed_configuration_is_judged_as_the_schema_judges_it(judge, document):
    assert disagree(document, judge) == ""


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if "good" in path or "oci/" in path] or [""], ids=name_of
)
def test_a_changed_example_is_judged_as_the_schema_judges_it(path, judge):
    bundles.fixture("oci-schema")
    with open(path) as file:
        example = json.load(file)
    complete(example)

    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(document=mutations(example))
    def run(document):
        assert disagree(document, judge) == ""

    run()
