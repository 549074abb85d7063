"""Containers whose cgroup systemd keeps: what it says of them, and that it says so for as long as they live.

They run where systemd is process 1, as root or in a user's session; systemctl is the judge.
"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import support
from bundles import V2
from support import needs
from units import SLICE, USER, show, slices, systemctl

from minictr import sample

pytestmark = needs("systemd", "busybox")

MIB = 1 << 20
LIMITS = {
    "memory": {"limit": 100 * MIB, "reservation": 50 * MIB, "swap": 150 * MIB},
    "cpu": {"quota": 50000, "period": 100000, "shares": 512},
    "pids": {"limit": 77},
}


class Scope:
    """A container with systemd's cgroup. unit: its name; directory: where it lies (on v1: of memory)"""

    def __init__(self, own, bundle, script="sleep 1000", slice_=SLICE, resources=None, annotations=None):
        self.own, self.bundle, self.id = own, bundle, bundle.identifier
        self.unit = "test-%s.scope" % self.id
        bundle.linux["cgroupsPath"] = "%s:test:%s" % (slice_, self.id)
        bundle.linux["resources"] = resources or {}
        bundle.config["annotations"] = annotations or {}
        bundle.process["args"] = ["sh", "-c", script]
        if USER:
            sample.make_rootless(bundle.config)
        bundle.save()

    def create(self, *words, **how):
        """Its standard streams are closed: who holds them would be waited for."""
        options = ["--systemd-cgroup", "create"] + list(words) + ["--bundle", self.bundle.path, self.id]
        words = self.own._words(how) + options
        script = '"$@" </dev/null >/dev/null 2>"$ERR"; s=$?; cat "$ERR" >&2; exit $s'
        how["env"] = dict(how["env"], ERR=os.path.join(self.bundle.path, "err"))
        return self.own.runner.start_command("sh", "-c", script, "sh", *words, **how).wait()

    def start(self):
        self.create().ok
        self.verb("start").ok
        return self

    def verb(self, name, *words, **how):
        return self.own.verb(name, *([word for word in words if word[:1] == "-"] + [self.id]
                                     + [word for word in words if word[:1] != "-"]), **how)  # fmt: skip

    @property
    def directory(self):
        return "/sys/fs/cgroup" + ("" if V2 else "/memory") + show(self.unit, "ControlGroup")["ControlGroup"]

    def value(self, name):
        with open(os.path.join(self.directory, name)) as file:
            return file.read().strip()

    @property
    def state(self):
        return json.loads(self.verb("state").ok.out)


@pytest.fixture(scope="module", autouse=True)
def _slice():
    """The user's manager starts without this one."""
    with slices(SLICE):
        yield


@pytest.fixture
def scope(own, bundle):
    made = []

    def make(*words, **how):
        made.append(Scope(own, bundle(), *words, **how))
        return made[-1]

    yield make
    for each in made:
        own.verb("delete", "--force", each.id)
        assert show(each.unit, "LoadState", "ActiveState") == {
            "LoadState": "not-found",
            "ActiveState": "inactive",
        }
        left = [place for place, names, _ in os.walk("/sys/fs/cgroup") if each.unit in names]
        assert left == []


on_v2 = pytest.mark.skipif(not V2, reason="cgroup v1 has other properties")
on_v1 = pytest.mark.skipif(V2, reason="cgroup v2 has other properties")
as_root = pytest.mark.skipif(USER, reason="on v1 nothing is handed to users")


# --- the unit -------------------------------------------------------------------------------------


def test_a_container_is_a_scope_with_its_processes(scope):
    one = scope().start()
    seen = show(one.unit, "ActiveState", "Slice", "Delegate", "Description", "TasksCurrent")
    assert seen == {
        "ActiveState": "active", "Slice": SLICE, "Delegate": "yes", "TasksCurrent": "1",
        "Description": "minictr container " + one.id,
    }  # fmt: skip
    with open("/proc/%d/cgroup" % one.state["pid"]) as file:
        places = [line.rstrip("\n").split(":", 2)[2] for line in file]
    # with delegation it is in the unit in every hierarchy; a user has on v1 that of systemd alone
    assert all(place.endswith("/" + one.unit) for place in places) or (USER and not V2)
    assert one.state["status"] == "running"


@on_v2
def test_systemd_shows_the_limits_and_the_kernel_has_them(scope):
    one = scope(resources=LIMITS).start()
    seen = show(
        one.unit, "MemoryMax", "MemoryLow", "MemorySwapMax", "CPUQuotaPerSecUSec", "CPUWeight", "TasksMax"
    )
    assert seen == {
        "MemoryMax": str(100 * MIB), "MemoryLow": str(50 * MIB), "MemorySwapMax": str(50 * MIB),
        "CPUQuotaPerSecUSec": "500ms", "CPUWeight": "59", "TasksMax": "77",
    }  # fmt: skip
    names = ("memory.max", "memory.low", "memory.swap.max", "pids.max", "cpu.max")
    wanted = [str(100 * MIB), str(50 * MIB), str(50 * MIB), "77", "50000 100000"]
    assert [one.value(name) for name in names] == wanted


@on_v1
@as_root
def test_systemd_shows_the_limits_of_v1_and_the_kernel_has_them(scope):
    one = scope(resources=LIMITS).start()
    seen = show(one.unit, "MemoryLimit", "CPUQuotaPerSecUSec", "CPUShares", "TasksMax", "DevicePolicy")
    assert seen == {
        "MemoryLimit": str(100 * MIB), "CPUQuotaPerSecUSec": "500ms", "CPUShares": "512", "TasksMax": "77",
        "DevicePolicy": "strict",
    }  # fmt: skip
    assert one.value("memory.limit_in_bytes") == str(100 * MIB)
    assert one.value("memory.soft_limit_in_bytes") == str(50 * MIB)


@on_v2
def test_limits_outlive_a_reload_and_are_updated(scope):
    one = scope(resources=LIMITS).start()
    one.verb("update", "--memory=64m", "--memory-swap=80m", "--pids-limit=33").ok
    systemctl("daemon-reload")
    seen = show(one.unit, "MemoryMax", "MemorySwapMax", "TasksMax", "CPUWeight")
    assert seen == {
        "MemoryMax": str(64 * MIB), "MemorySwapMax": str(16 * MIB), "TasksMax": "33", "CPUWeight": "59",
    }  # fmt: skip
    assert [one.value(name) for name in ("memory.max", "pids.max")] == [str(64 * MIB), "33"]


@on_v2
def test_limits_outlive_a_reload_though_systemd_does_not_keep_the_cgroup(minictr):
    """It takes back from its own cgroups the controllers that no unit of its needs."""
    name = "reloaded-%d" % os.getpid()
    assert minictr("run", "-d", "--name", name, "--cpus", "0.5", "--", "sleep", "1000").ok
    try:
        systemctl("daemon-reload")
        subprocess.run(["systemd-run", "--quiet", "--wait"] + ["--user"] * USER + ["true"], check=True)
        found = [place for place, _, _ in os.walk("/sys/fs/cgroup") if "/minictr-" + name in place]
        with open(found[-1] + "/cpu.max") as file:
            assert file.read() == "50000 100000\n"
        assert minictr("update", "--cpus", "0.25", name).ok
        with open(found[-1] + "/cpu.max") as file:
            assert file.read() == "25000 100000\n"
    finally:
        assert minictr("delete", "--force", name).ok
    assert [place for place in found if os.path.exists(place)] == []


@on_v2
def test_an_idle_one_is_idle_until_it_is_told_otherwise(scope):
    """systemd says so before our own writing, and an idle group takes no weight."""
    one = scope(resources={"cpu": {"idle": 1, "shares": 512}}).start()
    for idle in ("1", "0"):
        if idle == "0":
            one.verb("update", "--cpu-idle=0").ok
        systemctl("daemon-reload")
        assert one.value("cpu.idle") == idle


@on_v1
@as_root
def test_devices_stay_closed_on_v1_when_systemd_reloads(scope):
    script = "mknod /tmp/kmsg c 1 11; while :; do cat /dev/null; sleep 1000; done"
    one = scope(script).start()
    systemctl("daemon-reload")
    path = one.directory.replace("/memory/", "/devices/", 1) + "/devices.list"
    with open(path) as file:
        lines = file.read().splitlines()
    assert "c 1:3 rwm" in lines and "a *:* rwm" not in lines
    one.verb("update", "--pids-limit=9").ok
    with open(path) as file:
        assert file.read().splitlines() == lines


@pytest.mark.parametrize(
    "slices_", [("minictrtest.slice", "minictrtest-a.slice"), (r"minictrtest\x2db.slice",)]
)
def test_a_slice_is_made_below_those_that_its_name_has(scope, slices_):
    one = scope(slice_=slices_[-1]).start()
    assert show(one.unit, "Slice")["Slice"] == slices_[-1]
    path = show(one.unit, "ControlGroup")["ControlGroup"]
    assert path.endswith("/%s/%s" % ("/".join(slices_), one.unit))
    one.verb("delete", "--force").ok
    systemctl("stop", *slices_)


def test_what_has_no_property_is_set_in_its_file(scope):
    if not V2:
        pytest.skip("cgroup v1 has no memory.oom.group")
    one = scope(resources={"unified": {"memory.oom.group": "1", "memory.high": "50M"}}).start()
    assert one.value("memory.oom.group") == "1"
    assert show(one.unit, "MemoryHigh")["MemoryHigh"] == str(50 * MIB)


@pytest.mark.skipif(USER, reason="systemd hands no huge pages to users")
@on_v2
def test_a_controller_that_systemd_does_not_know_is_enabled(scope):
    with open("/sys/fs/cgroup/cgroup.controllers") as file:
        if "misc" not in file.read().split() or not os.path.isdir(
            "/sys/kernel/mm/hugepages/hugepages-2048kB"
        ):
            pytest.skip("the kernel has no huge pages of 2 MB")
    one = scope(resources={"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}).start()
    assert one.value("hugetlb.2MB.max") == str(4 * MIB)


# --- its life -------------------------------------------------------------------------------------


def test_the_verbs_work_as_with_any_cgroup(scope):
    one = scope().start()
    if V2 or not USER:
        one.verb("pause").ok
        assert one.state["status"] == "paused"
        one.verb("resume").ok
    seen = one.verb("exec", "cat", "/proc/self/cgroup").ok
    outer = one.verb("exec", "--detach", "sleep", "1000").ok
    assert outer and seen.lines
    pids = json.loads(one.verb("ps", "--format=json").ok.out)
    assert len(pids) == 2 and one.state["pid"] in pids
    for pid in pids:
        with open("/proc/%d/cgroup" % pid) as file:
            assert one.unit in file.read()
    if V2 or not USER:
        stats = json.loads(one.verb("events", "--stats").ok.out)
        assert stats["data"]["pids"]["current"] == 2
    one.verb("kill", "--all", "KILL").ok
    support.wait_until(lambda: one.state["status"] == "stopped")
    one.verb("delete").ok


@on_v2
def test_a_program_of_exec_goes_to_process_1_where_the_scope_itself_takes_none(scope):
    """As it is where a systemd inside has moved down, and enabled the controllers."""
    one = scope().start()
    below = one.directory + "/init.scope"
    os.mkdir(below)
    for place, text in (
        ("init.scope/cgroup.procs", str(one.state["pid"])),
        ("cgroup.subtree_control", "+pids"),
    ):
        with open(os.path.join(one.directory, place), "w") as file:
            file.write(text)
    one.verb("exec", "--detach", "sleep", "1000").ok
    with open(below + "/cgroup.procs") as file:
        assert len(file.read().split()) == 2


def test_the_unit_is_gone_with_the_container_and_the_name_is_free_at_once(scope):
    one = scope()
    for _ in range(3):
        one.start()
        one.verb("delete", "--force").ok
        assert show(one.unit, "ActiveState")["ActiveState"] == "inactive"


def test_a_run_in_the_foreground_leaves_no_unit(own, scope):
    one = scope("exit 7")
    done = own.verb("--systemd-cgroup", "run", "--bundle", one.bundle.path, one.id)
    assert (done.status, done.err) == (7, "")
    assert show(one.unit, "LoadState")["LoadState"] == "not-found"


def test_the_native_form_has_a_scope_too(minictr):
    look = "cat /proc/self/cgroup"
    done = minictr("--systemd-cgroup", "run", "--cgroupns", "host", "--", "sh", "-c", look, timeout=120).ok
    assert "/%s/minictr-" % SLICE in done.out and ".scope" in done.out


@on_v2
def test_the_options_of_the_native_form_are_limits_of_the_scope(minictr):
    name = "minictr-test-limits-%d" % os.getpid()
    words = ["--detach", "--name", name, "--memory", "64m", "--cgroup-parent", SLICE, "--", "sleep", "1000"]
    minictr("--systemd-cgroup", "run", *words, timeout=120).ok
    try:
        unit = systemctl("list-units", "--plain", "--no-legend", "minictr-%s*" % name).split()[0]
        assert show(unit, "MemoryMax", "TasksMax", "Slice") == {
            "MemoryMax": str(64 * MIB), "TasksMax": "2048", "Slice": SLICE,
        }  # fmt: skip
    finally:
        minictr("delete", "--force", name).ok


def test_it_is_found_and_ended_though_its_state_is_lost(scope, own):
    one = scope().start()
    pid = one.state["pid"]
    os.unlink(os.path.join(own.runner.state(), one.id, "state.json"))
    (row,) = json.loads(own.verb("list", "--format=json").ok.out)
    assert (row["id"], row["pid"], row["status"]) == (one.id, pid, "running")
    one.verb("delete", "--force").ok
    support.wait_until(lambda: support.gone(pid))
    assert show(one.unit, "LoadState")["LoadState"] == "not-found"


def test_systemd_may_end_it(scope):
    one = scope().start()
    systemctl("kill", "--signal=KILL", one.unit)
    support.wait_until(lambda: one.state["status"] == "stopped")
    one.verb("delete").ok


@pytest.mark.parametrize("moment", ["StartTransientUnit", "moved"])
def test_who_is_killed_half_way_leaves_nothing_after_the_next_command(scope, own, moment):
    """The process in the unit ends with its runtime, and the unit with the process."""
    one = scope()
    # a breakpoint: the runtime kills itself at the named moment
    code = """
import os, sys
from minictr import cgroup_systemd, systemd, __main__
def end(function):
    def wrapped(*words):
        {0}function(*words)
        os.kill(os.getpid(), 9)
    return wrapped
{1}
sys.exit(__main__.main())
"""
    place = {
        "StartTransientUnit": ("", "systemd.Manager.start = end(systemd.Manager.start)"),
        "moved": ("", "cgroup_systemd.Unit._start = end(cgroup_systemd.Unit._start)"),
    }[moment]
    how = {}
    root = own._words(how)[3:]
    options = ["--systemd-cgroup", "create", "--bundle", one.bundle.path, one.id]
    done = own.runner.command(sys.executable, "-c", code.format(*place), *(root + options), **how)
    assert done.status == -signal.SIGKILL
    assert own.verb("list", "--quiet").ok.out == ""
    support.wait_until(lambda: show(one.unit, "LoadState")["LoadState"] == "not-found")
    one.start()  # and the name is free


# --- annotations ----------------------------------------------------------------------------------


def test_an_annotation_sets_a_property(scope):
    annotations = {
        "org.systemd.property.TimeoutStopUSec": "uint64 5000000",
        "org.systemd.property.SendSIGHUP": "true",
    }
    one = scope(annotations=annotations).start()
    seen = show(one.unit, "TimeoutStopUSec", "SendSIGHUP")
    assert seen == {"TimeoutStopUSec": "5s", "SendSIGHUP": "yes"}


def test_an_annotation_that_is_not_allowed_ends_the_start(scope):
    one = scope(annotations={"org.systemd.property.SuccessAction": "'reboot-force'"})
    done = one.create()
    assert done.status == 123
    assert done.err.startswith(
        "minictr: systemd: the property SuccessAction is required: it is none of After, "
    )
    assert len(done.err.splitlines()) == 1


# --- errors ---------------------------------------------------------------------------------------


def test_a_unit_that_is_there_is_not_taken_over(scope):
    one = scope().start()
    other = scope()
    other.bundle.linux["cgroupsPath"] = one.bundle.linux["cgroupsPath"]
    other.bundle.save()
    done = other.create()
    assert done.status == 125 and len(done.err.splitlines()) == 1
    if V2:
        words = "systemctl %sstop %s, or another id" % ("--user " if USER else "", one.unit)
        assert done.err == "minictr: start the unit %s: there is one already; hint: %s\n" % (one.unit, words)
    else:  # the hierarchies that systemd leaves to us are looked at first
        assert "processes run in it already" in done.err or "there is one already" in done.err
    assert one.state["status"] == "running"
    assert show(one.unit, "ActiveState")["ActiveState"] == "active"


def test_a_unit_that_another_container_has_by_now_is_left_to_it(scope):
    one, other = scope().start(), scope()
    one.verb("kill", "KILL").ok
    support.wait_until(lambda: show(one.unit, "LoadState")["LoadState"] == "not-found")
    other.unit = one.unit
    other.bundle.linux["cgroupsPath"] = one.bundle.linux["cgroupsPath"]
    other.bundle.save()
    other.start()
    done = one.verb("delete")
    assert (done.status, done.out) == (0, "") and "not the container's" in done.err, done
    assert other.state["status"] == "running"
    assert show(other.unit, "ActiveState")["ActiveState"] == "active"
    other.verb("delete", "--force").ok


def test_what_systemd_refuses_is_said_in_its_words(scope):
    one = scope(annotations={"org.systemd.property.KillMode": "'nonsense'"})
    done = one.create()
    assert done.status == 125
    assert done.err.startswith("minictr: start the unit %s: " % one.unit)
    assert "nonsense" in done.err and len(done.err.splitlines()) == 1


def test_a_path_that_is_no_unit_is_refused(scope):
    one = scope()
    one.bundle.linux["cgroupsPath"] = "/a/b"
    one.bundle.save()
    done = one.create()
    assert done.status == 125
    assert done.err == (
        "minictr: place the cgroup /a/b: cgroupsPath has not the form slice:prefix:name; hint: with"
        " --systemd-cgroup it is such as system.slice:minictr:NAME\n"
    )


@pytest.mark.skipif(USER, reason="root has a second way")
def test_without_a_bus_root_asks_systemd_itself(scope):
    one = scope()
    one.create(env={"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}).ok
    assert show(one.unit, "ActiveState")["ActiveState"] == "active"


def test_a_process_that_is_born_in_the_unit_is_not_moved_later(scope):
    """The middle process is moved; init and what it starts count as the unit's from their first moment."""
    one = scope("sleep 1000 & sleep 1000; true").start()
    support.wait_until(lambda: len(json.loads(one.verb("ps", "--format=json").ok.out)) == 3)
    time.sleep(0.1)
    assert show(one.unit, "TasksCurrent")["TasksCurrent"] == "3"


def test_the_doctor_has_asked_it(minictr):
    found = {check["check"]: check for check in json.loads(minictr("doctor", "--json").out)["checks"]}
    assert found["systemd"]["ok"] and found["systemd"]["detail"].startswith("version ")


@pytest.fixture
def outsider(ranged):
    """A user with a manager of their own, who stands outside of what that has been handed."""
    service = "user@%d.service" % ranged.uid
    others = show("user.slice", "ActiveState")["ActiveState"] == "active"
    subprocess.run(["systemctl", "start", service], check=True)
    yield ranged
    subprocess.run(["systemctl", "stop", service, "user-%d.slice" % ranged.uid], check=True)
    if not others:  # a slice stays when its last unit has gone
        subprocess.run(["systemctl", "stop", "user.slice"], check=True)


@on_v2
@pytest.mark.skipif(USER, reason="the test is started by root, and becomes a user")
def test_a_user_gets_into_the_scope_from_where_they_could_not_go(minictr, outsider):
    """From a cgroup of root's the kernel lets no process of theirs into another: systemd moves it."""
    name = "minictr-test-outside-%d" % os.getpid()
    words = ["--detach", "--name", name, "--cgroupns", "host", "--memory", "50m", "--", "sleep", "1000"]
    minictr("--systemd-cgroup", "run", *words, user=outsider, timeout=120).ok
    try:
        seen = minictr("exec", name, "cat", "/proc/self/cgroup", user=outsider).ok.out
        assert "/user@%d.service/user.slice/minictr-%s" % (outsider.uid, name) in seen
        with open("/sys/fs/cgroup" + seen.strip()[3:] + "/memory.max") as file:
            assert file.read().strip() == str(50 * MIB)
    finally:
        minictr("delete", "--force", name, user=outsider, timeout=120).ok
