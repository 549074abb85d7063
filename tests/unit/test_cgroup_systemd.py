"""Units of systemd: their names, their properties, and what annotations may say."""

import pytest

from minictr import cgroup, cgroup_systemd, cgroup_v1, cgroup_v2, systemd, systemd_properties
from minictr.cgroup_settings import Setting
from minictr.errors import ContainerError


@pytest.mark.parametrize(
    "path, slice_, unit",
    [
        (":minictr:a1", "", "minictr-a1.scope"),
        ("system.slice:docker:1234", "system.slice", "docker-1234.scope"),
        ("user.slice:libpod:ab", "user.slice", "libpod-ab.scope"),
        ("a-b.slice::x", "a-b.slice", "x.scope"),  # runc: without a prefix the name alone
        ("-.slice:p:x", "-.slice", "p-x.scope"),
        (":minictr:a+b", "", "minictr-a\\x2bb.scope"),  # + is none of a unit's letters
        (":p:\xe9", "", "p-\\xc3\\xa9.scope"),
        (":p:a/b", "", "p-a\\x2fb.scope"),
        ("a\\x2db.slice:p:c\\x2dd", "a\\x2db.slice", "p-c\\x2dd.scope"),  # as systemd-escape(1) has it
    ],
)
def test_the_unit_of_a_path(path, slice_, unit):
    assert systemd.place(path) == (slice_, unit)


@pytest.mark.parametrize(
    "path, why",
    [
        (
            "/minictr/a",
            "place the cgroup /minictr/a: cgroupsPath has not the form slice:prefix:name; hint: with",
        ),
        ("a:b", "has not the form"),
        ("a.slice:b:c:d", "has not the form"),
        ("a.slice:b:", "has not the form"),
        ("a.slice:b:c.slice", "a container is a scope, and c.slice a slice"),
        ("a.scope:b:c", "it is no name of a slice"),
        ("../x.slice:b:c", "it is no name of a slice"),
        ("-a.slice:b:c", "it is no name of a slice"),
        ("a--b.slice:b:c", "it is no name of a slice"),
        ("a-.slice:b:c", "it is no name of a slice"),
        (".slice:b:c", "it is no name of a slice"),
        ("a b.slice:b:c", "it is no name of a slice"),
        (":p:" + 250 * "x", "more than 255 characters"),
    ],
)
def test_a_path_that_is_no_unit_is_refused(path, why):
    with pytest.raises(ContainerError) as caught:
        systemd.place(path)
    assert why in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, path",
    [
        ("system.slice", "/system.slice"),
        ("a-b.slice", "/a.slice/a-b.slice"),
        ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
        ("a\\x2db-c.slice", "/a\\x2db.slice/a\\x2db-c.slice"),
        ("-.slice", ""),
    ],
)
def test_a_slice_lies_in_those_that_its_name_has(name, path):
    assert systemd.expand(name) == path


# --- properties -----------------------------------------------------------------------------------

NONE = systemd_properties.INFINITE


def quota(microseconds):
    return {"CPUQuotaPerSecUSec": ("t", microseconds), "CPUQuotaPeriodUSec": ("t", 100000)}


def of(*pairs, version=252, v1=False, read=None):
    settings = [Setting("", name, value) for name, value in pairs]
    return dict(systemd_properties.of_settings(settings, version, v1, read))


@pytest.mark.parametrize(
    "name, value, found",
    [  # systemd.resource-control(5)
        ("memory.max", "1048576", {"MemoryMax": ("t", 1048576)}),
        ("memory.max", "max", {"MemoryMax": ("t", NONE)}),
        ("memory.max", "1M", {"MemoryMax": ("t", 1048576)}),  # as `unified` may have it
        ("memory.high", "5", {"MemoryHigh": ("t", 5)}),
        ("memory.low", "5", {"MemoryLow": ("t", 5)}),
        ("memory.min", "5", {"MemoryMin": ("t", 5)}),
        ("memory.swap.max", "0", {"MemorySwapMax": ("t", 0)}),
        ("pids.max", "max", {"TasksMax": ("t", NONE)}),
        ("pids.max", "7", {"TasksMax": ("t", 7)}),
        ("cpu.weight", "59", {"CPUWeight": ("t", 59)}),
        ("cpu.idle", "1", {"CPUWeight": ("t", 0)}),
        ("cpu.idle", "0", {"CPUWeight": ("t", systemd_properties.INFINITE)}),
        ("cpu.max", "50000 100000", quota(500000)),
        ("cpu.max", "1001 100000", quota(20000)),  # 1.001 per cent, rounded up
        ("cpu.max", "max 100000", quota(NONE)),
        ("cpu.max", "200000", quota(2000000)),
        ("cpuset.cpus", "0-2,8", {"AllowedCPUs": ("ay", b"\x07\x01")}),
        ("cpuset.mems", "0", {"AllowedMemoryNodes": ("ay", b"\x01")}),
        ("io.weight", "200", {"IOWeight": ("t", 200)}),
        ("io.bfq.weight", "1000", {"IOWeight": ("t", 10000)}),
        ("io.bfq.weight", "100", {"IOWeight": ("t", 100)}),
        ("cpu.max.burst", "100", {}), ("hugetlb.2MB.max", "5", {}), ("memory.oom.group", "1", {}),
        ("io.max", "250:250 rbps=100", {}),  # udev has no such device
    ],
)  # fmt: skip
def test_a_setting_is_a_property_too(name, value, found):
    assert of((name, value)) == found


@pytest.mark.parametrize(
    "name, value, found",
    [
        ("memory.limit_in_bytes", "100", {"MemoryLimit": ("t", 100)}),
        ("memory.limit_in_bytes", "-1", {"MemoryLimit": ("t", NONE)}),
        ("cpu.shares", "512", {"CPUShares": ("t", 512)}),
        ("pids.max", "max", {"TasksMax": ("t", NONE)}),
        ("blkio.weight", "500", {"BlockIOWeight": ("t", 500)}),
        ("cpuset.cpus", "0", {}),
        (
            "cpu.cfs_quota_us",
            "5000",
            quota(50000),
        ),
        ("cpu.cfs_quota_us", "-1", quota(NONE)),
    ],
)
def test_so_it_is_on_v1(name, value, found):
    assert of((name, value), v1=True) == found


def test_a_new_period_counts_with_the_quota_that_is_there():
    found = of(("cpu.cfs_period_us", "50000"), v1=True, read=lambda where, name: "25000\n")
    assert found == {"CPUQuotaPerSecUSec": ("t", 500000), "CPUQuotaPeriodUSec": ("t", 50000)}


def test_an_old_systemd_is_not_asked_for_what_it_lacks():
    pairs = [("cpuset.cpus", "0"), ("cpu.max", "1000 100000"), ("cpu.idle", "1"), ("memory.max", "1")]
    assert set(of(*pairs, version=239)) == {"CPUQuotaPerSecUSec", "MemoryMax"}


@pytest.mark.parametrize(
    "name, value",
    [("memory.max", "lots"), ("memory.max", ""), ("memory.max", "-5"), ("pids.max", str(1 << 64)),
     ("cpu.max", "a b"), ("cpuset.cpus", "0-"), ("cpuset.cpus", "3-1"), ("cpuset.cpus", "0-99999999"),
     ("cpuset.cpus", "x"), ("cpuset.cpus", "0-\u00b2"), ("cpu.max", "\u00b2 100000")],
)  # fmt: skip
def test_what_systemd_cannot_be_told_is_refused(name, value):
    with pytest.raises(ContainerError) as caught:
        of((name, value))
    assert value in str(caught.value)


def test_the_resources_of_a_unit_are_converted_as_those_of_any_group():
    resources = {
        "memory": {"limit": 1 << 20, "swap": 3 << 20},
        "cpu": {"shares": 1024},
        "pids": {"limit": -1},
    }
    for layout, kind, first in (
        (cgroup.Layout(kind="v2", unified="/sys/fs/cgroup"), cgroup_v2.V2, "memory.max"),
        (cgroup.Layout(kind="v1", hierarchies=(("/x", ("memory",)),)), cgroup_v1.V1, "memory.limit_in_bytes"),
    ):
        unit = cgroup_systemd.Unit(layout, "system.slice", "x.scope", False)
        assert unit.apply(resources) == []
        assert unit.settings[0].names == [first]
        assert str(unit.settings) == str(kind([]).convert(resources)[1])


def test_rules_for_devices_of_v1_have_properties():
    rules = [
        {"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 200},
        {"allow": True, "type": "b", "access": "r"},
    ]  # fmt: skip
    found = dict(systemd_properties.of_devices(rules))
    assert found["DevicePolicy"] == ("s", "strict")
    pairs = found["DeviceAllow"][1]
    assert ("/dev/char/10:200", "rwm") in pairs and ("/dev/char/1:3", "rwm") in pairs
    assert ("block-*", "rm") in pairs and ("char-*", "m") in pairs and ("char-pts", "rwm") in pairs
    assert systemd_properties.of_devices([{"allow": True, "access": "rwm"}]) == []


# --- annotations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, text, found",
    [
        ("TimeoutStopUSec", "uint64 5000000", ("TimeoutStopUSec", ("t", 5000000))),
        ("TimeoutStopUSec", "@t 5", ("TimeoutStopUSec", ("t", 5))),
        ("TimeoutStopUSec", " 5 ", ("TimeoutStopUSec", ("t", 5))),
        ("TimeoutStopSec", "5", ("TimeoutStopUSec", ("t", 5000000))),
        ("TimeoutStopSec", "uint64 5", ("TimeoutStopUSec", ("t", 5000000))),
        ("TimeoutStopSec", "1.25", ("TimeoutStopUSec", ("t", 1250000))),
        ("CollectMode", "'inactive-or-failed'", ("CollectMode", ("s", "inactive-or-failed"))),
        ("CollectMode", '"in\\"a\\\\"', ("CollectMode", ("s", 'in"a\\'))),
        ("SendSIGHUP", "true", ("SendSIGHUP", ("b", True))),
        ("SendSIGKILL", "@b false", ("SendSIGKILL", ("b", False))),
        ("KillSignal", "int32 -1", ("KillSignal", ("i", -1))),
        ("After", "['a.service', \"b.service\"]", ("After", ("as", ["a.service", "b.service"]))),
        ("Before", "@as []", ("Before", ("as", []))),
    ],
)
def test_an_annotation_sets_a_property(name, text, found):
    annotations = {"org.systemd.property." + name: text, "other": "x"}
    assert systemd_properties.of_annotations(annotations) == ([found], [])


@pytest.mark.parametrize(
    "name, text",
    [
        ("TimeoutStopUSec", "int64 5"), ("TimeoutStopUSec", "-1"), ("TimeoutStopUSec", "1e9"),
        ("TimeoutStopUSec", "18446744073709551616"), ("TimeoutStopUSec", ""), ("TimeoutStopUSec", "'5'"),
        ("TimeoutStopUSec", "\u0665"), ("TimeoutStopUSec", "9" * 5000), ("TimeoutStopSec", "infinity"),
        ("TimeoutStopSec", "-1"), ("TimeoutStopSec", "1.x"), ("CollectMode", "inactive"),
        ("TimeoutStopSec", "1.+5"), ("TimeoutStopSec", "1.5_0"),
        ("CollectMode", "'a"), ("CollectMode", "'a' 'b'"), ("CollectMode", "'a\\x'"),
        ("CollectMode", "'a\n'"),
        ("CollectMode", "'a\\"), ("CollectMode", ""), ("SendSIGHUP", "1"), ("KillSignal", "2147483648"),
        ("After", "['a' 'b']"), ("After", "['a'"), ("After", "['a']x"), ("After", "'a'"), ("After", "[a]"),
        ("After", "["), ("After", "['a',]]"),
    ],
)  # fmt: skip
def test_what_is_no_value_of_its_type_is_refused(name, text):
    with pytest.raises(ContainerError) as caught:
        systemd_properties.of_annotations({"org.systemd.property." + name: text})
    assert str(caught.value).startswith("read the annotation org.systemd.property." + name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "SuccessAction",
        "JobTimeoutAction",
        "Slice",
        "Delegate",
        "PIDs",
        "Wants",
        "OnFailure",
        "User",
        "x y",
        "",
    ],
)
def test_no_annotation_does_more_to_the_host(name):
    """CVE-2024-3154: a property may reboot the host."""
    found, records = systemd_properties.of_annotations({"org.systemd.property." + name: "'reboot-force'"})
    assert found == []
    assert [record.code for record in records] == ["systemd-property"]
    assert records[0].level == "warning"
