"""Options of limits to `linux.resources`: sizes, numbers, lists, devices, and what contradicts what."""

import os

import pytest

from minictr import oom, options, updates
from minictr.errors import ContainerError


def parse(*argv):
    return options.parse(list(argv) + ["--", "true"])


def limits(*argv):
    """linux.resources of ARGV, without the default for processes."""
    found = dict(parse(*argv).config["linux"]["resources"])
    if "--pids-limit" not in argv:
        assert found.pop("pids") == {"limit": 2048}
    return found


def refusal(*argv):
    with pytest.raises(ContainerError) as caught:
        parse(*argv)
    assert caught.value.status == 125 and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "argv, wanted",
    [
        (["-m", "100m"], {"memory": {"limit": 100 << 20, "swap": 200 << 20}}),
        (["--memory=1g", "--memory-swap", "-1"], {"memory": {"limit": 1 << 30, "swap": -1}}),
        (
            ["-m1g", "--memory-swap", "1g", "--memory-reservation", "512m", "--memory-swappiness", "0"],
            {"memory": {"limit": 1 << 30, "swap": 1 << 30, "reservation": 512 << 20, "swappiness": 0}},
        ),
        (["-m", "7e", "--memory-swap", "-1"], None),
        (
            ["-m", "1m", "--oom-kill-disable"],
            {"memory": {"limit": 1 << 20, "swap": 2 << 20, "disableOOMKiller": True}},
        ),
        (["--cpus", "1.5"], {"cpu": {"quota": 150000, "period": 100000}}),
        (["--cpus", ".01"], {"cpu": {"quota": 1000, "period": 100000}}),
        (["--cpus", "2"], {"cpu": {"quota": 200000, "period": 100000}}),
        (["-c", "512"], {"cpu": {"shares": 512}}),
        (["--cpu-quota", "-1", "--cpu-period", "1000"], {"cpu": {"quota": -1, "period": 1000}}),
        (
            ["--cpu-rt-period", "9", "--cpu-rt-runtime", "8"],
            {"cpu": {"realtimePeriod": 9, "realtimeRuntime": 8}},
        ),
        (["--cpuset-cpus", "0-2,5", "--cpuset-mems", "0"], {"cpu": {"cpus": "0-2,5", "mems": "0"}}),
        (["--pids-limit", "30"], {"pids": {"limit": 30}}),
        (["--pids-limit", "-1"], {"pids": {"limit": -1}}),
        (["--blkio-weight", "10"], {"blockIO": {"weight": 10}}),
        (
            ["--cgroup-conf", "memory.high=64m", "--cgroup-conf=io.max=8:0 rbps=1"],
            {"unified": {"memory.high": "64m", "io.max": "8:0 rbps=1"}},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_limit_is_a_property_of_the_configuration(argv, wanted):
    if wanted is None:
        assert "is not a size" in refusal(*argv)
    else:
        assert limits(*argv) == wanted


@pytest.mark.parametrize(
    "argv, said",
    [
        (["-m", "0"], "--memory 0: is no limit; hint: without --memory there is none"),
        (["-m", "-1"], "--memory -1: is no limit"),
        (["-m", "-5m"], "--memory -5m: is not a size such as 64m"),
        (["-m", "nan"], "--memory nan: is not a size"),
        (["-m", "inf"], "--memory inf: is not a size"),
        (["-m", "9999999p"], "--memory 9999999p: is not below 2^63 bytes"),
        (["-m", "9" * 40], "is not a size"),
        (["--memory-swap", "1g"], "--memory-swap 1g: needs --memory beside it"),
        (["-m", "2g", "--memory-swap", "1g"], "--memory-swap 1g: counts memory and swap together, and is"),
        (["-m", "1g", "--memory-reservation", "2g"], "--memory-reservation 2g: is more than --memory 1g"),
        (["-m", "1g", "--memory-swappiness", "101"], "is not a number from 0 to 100"),
        (["--oom-kill-disable"], "--oom-kill-disable: needs --memory beside it"),
        (["--memory-watch"], "--memory-watch: needs --memory beside it"),
        (["-m", "1g", "--memory-watch", "-d"], "--memory-watch: with --detach nothing stays resident"),
        (["--cpus", "0"], "--cpus 0: is not a number of CPUs from 0.01 to 8192"),
        (["--cpus", "0.001"], "is not a number of CPUs from 0.01"),
        (["--cpus", "-1"], "--cpus -1: is not a number of CPUs such as 1.5"),
        (["--cpus", "nan"], "--cpus nan: is not a number of CPUs such as 1.5"),
        (["--cpus", "1e3"], "is not a number of CPUs such as 1.5"),
        (["--cpus", "1.00000x"], "is not a number of CPUs such as 1.5"),
        (["--cpus", "."], "is not a number of CPUs such as 1.5"),
        (["--cpus", "99999"], "is not a number of CPUs from"),
        (["--cpus", "1", "--cpu-quota", "5000"], "--cpus 1: contradicts --cpu-quota"),
        (["-c", "1"], "is not a number from 2 to 262144"),
        (["--cpu-quota", "0"], "is not a number from 1000"),
        (["--cpu-period", "999"], "is not a number from 1000 to 1000000"),
        (["--cpuset-cpus", "1-0"], "--cpuset-cpus 1-0: is not a list of numbers such as 0-2,5"),
        (["--cpuset-cpus", "0,"], "is not a list of numbers"),
        (["--cpuset-cpus", "-1"], "is not a list of numbers"),
        (["--pids-limit", "0"], "--pids-limit 0: is not a number from 1 to 4194304"),
        (["--pids-limit", "-2"], "is not a number from 1"),
        (["--pids-limit", "NaN"], "is not a number from 1"),
        (["--pids-limit", "9" * 19], "is not a number from 1"),
        (["--blkio-weight", "9"], "is not a number from 10 to 1000"),
        (["--device-read-bps", "/dev/null:1m"], "its PATH is not a block device"),
        (["--device-read-bps", "/no/such:1m"], "--device-read-bps /no/such:1m: No such file or directory"),
        (["--device-read-bps", "1m"], "is not of the form PATH:RATE"),
        (["--cgroup-conf", "memory.high"], "is not of the form NAME=VALUE"),
        (["--cgroup-parent", "/a/../b"], "--cgroup-parent /a/../b: is no path of a cgroup"),
        (["--cgroup-parent", "/"], "is no path of a cgroup"),
        (["-m", "1g", "--cgroups", "disabled"], "--cgroups disabled: contradicts a limit"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)  # fmt: skip
def test_a_limit_that_is_none_is_one_clear_line(argv, said):
    assert said in refusal(*argv)


def test_processes_are_limited_unless_that_is_not_wanted():
    assert parse().config["linux"]["resources"] == {"pids": {"limit": 2048}}
    assert parse().assumed == ("pids",)
    assert parse("--pids-limit", "2048").assumed == ()
    assert "resources" not in parse("--cgroups", "disabled").config["linux"]


def test_the_cgroup_may_lie_below_another():
    spec = parse("--cgroup-parent", "mine//of/", "--name", "x")
    assert spec.config["linux"]["cgroupsPath"] == "/mine/of/minictr-x"


def block_device():
    for name in sorted(os.listdir("/sys/block")):
        if os.path.exists("/dev/" + name):
            return "/dev/" + name
    pytest.skip("the host has no block device")


@pytest.mark.parametrize(
    "option, name, text, value",
    [
        ("device-read-bps", "throttleReadBpsDevice", "1m", {"rate": 1 << 20}),
        ("device-write-bps", "throttleWriteBpsDevice", "2kb", {"rate": 2048}),
        ("device-read-iops", "throttleReadIOPSDevice", "7", {"rate": 7}),
        ("device-write-iops", "throttleWriteIOPSDevice", "7", {"rate": 7}),
        ("blkio-weight-device", "weightDevice", "500", {"weight": 500}),
    ],
)
def test_a_rate_is_for_a_device(option, name, text, value):
    path = block_device()
    number = os.stat(path).st_rdev
    wanted = dict(value, major=os.major(number), minor=os.minor(number))
    assert limits("--" + option, "%s:%s" % (path, text)) == {"blockIO": {name: [wanted]}}
    for wrong in ("0", "-1", "x", ""):
        assert "--" + option in refusal("--" + option, "%s:%s" % (path, wrong))


def test_a_device_may_be_used_by_who_has_it():
    rule = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}
    for words in ("/dev/null", "/dev/null:/dev/other"):
        assert limits("--device", words) == {"devices": [rule]}
    path = block_device()
    number = os.stat(path).st_rdev
    rule.update(type="b", major=os.major(number), minor=os.minor(number))
    assert limits("--device", path) == {"devices": [rule]}


def test_an_update_takes_the_same_words():
    path = block_device()
    given = {"--cpus": "0.5", "--device-read-bps": [path + ":1m"], "--cgroup-conf": ["a.b=c"]}
    found = updates.changes(given)
    assert found["cpu"] == {"quota": 50000, "period": 100000}
    assert found["unified"] == {"a.b": "c"}
    assert found["blockIO"]["throttleReadBpsDevice"][0]["rate"] == 1 << 20
    for option, name in (("bps", "throttleReadBpsDevice"), ("iops", "throttleReadIOPSDevice")):
        found = updates.changes({"--device-read-" + option: [path + ":0"]})
        assert found["blockIO"][name][0]["rate"] == 0
    with pytest.raises(ContainerError, match="--cpus 1: contradicts --cpu-quota"):
        updates.changes({"--cpus": "1", "--cpu-quota": "5"})


def test_what_is_not_known_is_left_out_of_what_is_in_force():
    before = {"pids": {"limit": 5}, "bar": 7}
    unknown = {"foo": 1, "bar": [{}], "baz": {"limit": 1}, "cpu": {"quota": 9, "foo": [1], "fooDevices": [2]}}
    assert updates.merged(before, unknown) == {"pids": {"limit": 5}, "bar": 7, "cpu": {"quota": 9}}


@pytest.mark.parametrize(
    "count, text",
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1 << 20, "1 MiB"), (3 << 29, "1.5 GiB")],
)  # fmt: skip
def test_bytes_for_people(count, text):
    assert oom.bytes_(count) == text


@pytest.mark.parametrize(
    "record, said",
    [
        (
            {"kills": 1, "limit": 64 << 20, "peak": 64 << 20},
            "the kernel killed 1 process of the container at the limit of 64 MiB, after a peak of 64 MiB",
        ),
        ({"kills": 2, "limit": None, "peak": 0}, "2 processes of the container at the end of the host's"),
        ({"kills": 1, "limit": 1024, "peak": 0, "by": "minictr"}, "minictr killed 1 process"),
        ({"kills": 1, "limit": None, "peak": 0, "above": 1024}, "at the limit of 1 KiB of a cgroup above"),
        ({"kills": 1, "limit": 2048, "peak": 0, "above": 1024}, "at the limit of 1 KiB of a cgroup above"),
    ],
)  # fmt: skip
def test_that_memory_ran_out_is_said(record, said):
    assert said in oom.line(record)
