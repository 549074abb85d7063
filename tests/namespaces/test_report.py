"""`report`: a twin tries what must not work. Each attempt is refused by the default container, and is
known to be able to succeed: where the layer that refuses it is off, it does."""

import json
import os
import subprocess
import sys
import time
import types

import jsonschema
import pytest
import support
from support import needs

from minictr import attempted, attempts, levels, spec, twin

pytestmark = needs("root", "userns", "busybox", "seccomp")

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = [name for _, name, _ in attempts.ATTEMPTS]
OPEN = ("--userns", "host", "--security-opt", "seccomp=unconfined")
# wherever the file may lie that the attempts are after
EVERYWHERE = ("-v", "/tmp:/tmp", "-v", "/var/tmp:/var/tmp", "-v", "/dev/shm:/dev/shm", "-v", "/run:/run")
RAW = "open a raw socket"  # by CAP_NET_RAW, which docker and podman grant, on a network of its own


@pytest.fixture(scope="module")
def default(busybox_root):
    """The attempts in the default container of root, by name."""
    runner = support.Runner()
    found = runner("report", "--json", "--rootfs", busybox_root, "--", "true")
    assert not runner.finish()
    return outcomes(found.ok)


def outcomes(run):
    assert run.out.startswith("{"), run
    return {attempt["name"]: attempt for attempt in json.loads(run.out)["attempts"]}


def device():
    """A node of the block device that the twin is after."""
    numbers = twin._block_device()
    nodes = [entry for entry in os.scandir("/dev") if numbers and not entry.is_symlink()]
    found = [n.path for n in nodes if n.stat(follow_symlinks=False).st_rdev == os.makedev(*numbers)]
    return found[0] if found else ""


# What makes an attempt possible
WEAK = {
    "see a process of the host": ("--pid", "host"),
    "signal a process of the host": ("--pid", "host", "--userns", "host"),
    "trace a process of the host": ("--pid", "host", "--cap-add", "SYS_PTRACE") + OPEN,
    "open a file of the host by its path": EVERYWHERE,
    "open it by ..": EVERYWHERE,
    "open it by /proc/PID/root and cwd": ("--pid", "host", "--cap-add", "ALL") + OPEN,
    "open it from a leaked descriptor": ("--preserve-fds", "1"),
    "open by a file handle": ("--cap-add", "DAC_READ_SEARCH") + OPEN,
    "connect to an abstract socket of the host": ("--net", "host"),
    "connect to the host's loopback": ("--net", "host"),
    "become a user of the host": ("--userns", "host"),
    "mount a file system": ("--cap-add", "SYS_ADMIN"),
    "call pivot_root": ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"),
    "reboot": ("--cap-add", "SYS_BOOT", "--security-opt", "seccomp=unconfined"),
    "load a kernel module": ("--cap-add", "SYS_MODULE") + OPEN,
    "set the clock": ("--cap-add", "SYS_TIME") + OPEN,
    "read the kernel's log": ("--cap-add", "SYSLOG") + OPEN,
    "make a block device": ("--userns", "host"),
    "write to the kernel's settings in /proc": ("--userns", "host", "--security-opt", "unmask=ALL"),
    "write to /sys": ("--userns", "host", "-v", "/sys:/sys"),
    "write to the cgroup": ("--userns", "host", "-v", "/sys/fs/cgroup:/sys/fs/cgroup"),
    "push input into a terminal": ("--security-opt", "seccomp=unconfined"),
    "make a user namespace": ("--security-opt", "seccomp=unconfined"),
    "use the kernel's keyrings": ("--security-opt", "seccomp=unconfined"),
    "load a BPF map": ("--cap-add", "ALL") + OPEN,
    "open performance events": ("--cap-add", "ALL") + OPEN,
    RAW: (),
}
OTHERWISE = {"leave the root by chroot", "open a block device"}  # tests of their own, below


def test_every_attempt_is_known_to_be_able_to_succeed():
    assert set(WEAK) | OTHERWISE == set(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name != RAW])
def test_the_default_container_refuses(default, name):
    if name == "write to the cgroup" and default[name]["outcome"] == "absent":
        return  # the native form shows none
    if "block device" in name and not twin._block_device():
        pytest.skip("this machine has no block device")
    assert default[name]["outcome"] == "refused", default[name]


@pytest.mark.parametrize("name", sorted(WEAK))
def test_with_its_layer_off_it_is_possible_to(minictr, busybox_root, name):
    if name == "push input into a terminal" and not legacy_tiocsti():
        pytest.skip("this kernel refuses TIOCSTI by itself (dev.tty.legacy_tiocsti)")
    if name == "load a kernel module" and not os.path.exists("/proc/modules"):
        pytest.skip("this kernel has no modules (CONFIG_MODULES)")
    if "block device" in name and not twin._block_device():
        pytest.skip("this machine has no block device")
    words = ("report", "--json") + WEAK[name] + ("--rootfs", busybox_root, "--", "true")
    run = with_root_at_three(minictr, *words) if "--preserve-fds" in words else minictr(*words)
    assert outcomes(run)[name]["outcome"] == "possible", run


def with_root_at_three(minictr, *words):
    """What a careless engine leaves open, and passes on."""
    script = 'exec "$0" -m minictr --root "$@" 3</'
    environment = {"PYTHONPATH": support.checkout()}
    return minictr.command("sh", "-c", script, support.python(), minictr.state(None), *words, env=environment)


def legacy_tiocsti():
    try:
        with open("/proc/sys/dev/tty/legacy_tiocsti") as file:
            return file.read().strip() == "1"
    except FileNotFoundError:  # before 6.2 it could not be switched off
        return True


def test_with_the_device_granted_it_is_possible_to_open_it(minictr, busybox_root):
    node = device()
    if not node:
        pytest.skip("the host has no node of a block device")
    options = ("--userns", "host", "--device", node, "--rootfs", busybox_root, "--", "true")
    run = minictr("report", "--json", *options)
    assert outcomes(run)["open a block device"]["outcome"] == "possible", run


def test_a_node_that_is_made_where_dev_is_closed_opens_it_too(minictr, busybox_copy, tmp_path):
    if not twin._block_device():
        pytest.skip("this machine has no block device")
    config = spec.default_config(["true"], busybox_copy(), readonly=False)
    for mount in config["mounts"]:
        mount["options"] += ["nodev"] if mount["destination"] == "/dev" else []
    config["linux"]["resources"] = {"devices": [{"allow": True, "access": "rwm"}]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    run = minictr("report", "--json", "--bundle", str(tmp_path), "told")
    assert outcomes(run)["open a block device"]["outcome"] == "possible", run


@needs("unshare")
def test_where_the_hosts_loopback_is_down_there_is_nothing_to_connect_to(minictr, busybox_root):
    call = ("unshare", "--net", support.python(), "-m", "minictr", "--root", minictr.state(None), "report")
    options = ("--json", "--net", "host", "--rootfs", busybox_root, "--", "true")
    run = minictr.command(*(call + options), env={"PYTHONPATH": support.checkout()})
    assert outcomes(run)["connect to the host's loopback"]["outcome"] == "absent", run


def test_the_kernels_log_is_refused_by_the_kernel_only_where_it_is_closed(minictr, busybox_root):
    with open("/proc/sys/kernel/dmesg_restrict") as file:
        closed = int(file.read())
    options = ("--security-opt", "seccomp=unconfined", "--rootfs", busybox_root, "--", "true")
    run = minictr("report", "--json", *options)
    assert outcomes(run)["read the kernel's log"]["outcome"] == ("refused" if closed else "possible"), run


def test_a_root_that_was_only_changed_by_chroot_is_left(minictr, busybox_root):
    """With what is left of the ladder where pivot_root and the moving of mounts are refused."""
    words = ("--userns", "host", "--cap-add", "ALL", "--security-opt", "seccomp=unconfined")
    refused = ["pivot_root=EPERM", "mount&MS_MOVE=EPERM", "move_mount=EPERM"]
    options = words + ("--rootfs", busybox_root, "--", "true")
    run = minictr("report", "--json", *options, refuse=refused)
    found = json.loads(run.out)
    assert outcomes(run)["leave the root by chroot"]["outcome"] == "possible", run
    assert (run.status, found["level"]) == (1, "none")
    root = [row for row in found["layers"] if row["layer"] == "root"][0]
    assert (root["asked"], root["got"].split(";")[0], root["ok"]) == ("pivot_root", "chroot", False)


# --- the verdict --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, level",
    [
        ((), "rootless"),
        (("--userns", "host"), "container"),
        (("-u", "1", "--uidmap", "0:100000:1", "--uidmap", "1:0:1", "--gidmap", "0:100000:2"), "container"),
        (("--uidmap", "0:100000:9", "--gidmap", "0:0:9"), "container"),
        (("--net", "host"), "sandbox"),
        (("--pid", "host"), "sandbox"),
        (("--cap-add", "SYS_ADMIN"), "sandbox"),
        (("--userns", "host", "--cap-add", "SYS_ADMIN"), "none"),
        (("--userns", "host", "--cgroups", "disabled"), "none"),
        (("-v", "/proc/sys:/mnt"), "sandbox"),
        (("--security-opt", "seccomp=unconfined"), "none"),
        (("--userns", "host", "--security-opt", "unmask=/proc/*"), "none"),
        (("--userns", "host", "--security-opt", "unmask=/proc/sys"), "none"),
        (("--userns", "host", "-v", "/sys:/sys"), "none"),
        (("--security-opt", "unmask=ALL", "--security-opt", "mask=/etc"), "sandbox"),
        (("-v", "/tmp:/tmp"), "rootless"),  # a volume is no way out
        (EVERYWHERE, "none"),
    ],
)
def test_the_level_is_what_was_proven(minictr, busybox_root, options, level):
    run = minictr("report", "--json", *options, "--rootfs", busybox_root, "--", "true")
    assert json.loads(run.out)["level"] == level, run


@pytest.mark.parametrize("how", ["a limit of processes", "a filter without fork", "one without pipes"])
def test_what_cannot_be_tried_proves_no_level(minictr, busybox_root, tmp_path, how):
    """A filter that allows all else would be one of a container else."""
    names = (
        '["fork", "vfork", "clone", "clone3"]'
        if how == "a filter without fork"
        else '["pipe", "pipe2", "prctl"]'
    )
    rule = '{"names": %s, "action": "SCMP_ACT_ERRNO"}' % names
    (tmp_path / "profile.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [%s]}' % rule)
    options = ["--security-opt", "seccomp=%s" % (tmp_path / "profile.json")]
    options = ["--pids-limit", "1"] if how == "a limit of processes" else options
    run = minictr("report", "--json", *(options + ["--rootfs", busybox_root, "--", "true"]))
    found = json.loads(run.out)
    assert {attempt["outcome"] for attempt in found["attempts"]} == {"absent"} and found["level"] == "none", (
        run
    )
    run = minictr("report", *(options + ["--rootfs", busybox_root, "--", "true"]))
    count = len(found["attempts"])
    assert run.lines[-1] == "level: none is proven, as %d attempts could not be made" % count, run


def test_what_a_root_has_instead_of_proc_neither_holds_an_attempt_up_nor_ends_it(
    minictr, busybox_copy, tmp_path
):
    root = busybox_copy()
    config = spec.default_config(["true"], root)
    config["mounts"] = [entry for entry in config["mounts"] if entry["type"] not in ("proc", "sysfs")]
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in ("proc/1/comm", "proc/self/uid_map", "proc/sys/kernel/panic", "sys/power/state"):
        os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
        os.mkfifo(os.path.join(root, name))
    words = ("report", "--json", "--bundle", str(tmp_path), "twin")
    run = minictr(*words)
    assert "it came to no end" not in run.out and outcomes(run)["write to /sys"]["errno"] == "ENXIO", run

    os.unlink(os.path.join(root, "proc/self/uid_map"))
    with open(os.path.join(root, "proc/self/uid_map"), "w") as file:
        file.write("a b c\n")
    run = minictr(*words)
    assert outcomes(run)["become a user of the host"]["errno"] == "ENODATA", run
    assert json.loads(run.out)["level"] == "none", run


def test_an_attempt_that_comes_to_no_end_proves_nothing(monkeypatch):
    monkeypatch.setattr(attempts, "SECONDS", 1)
    outcome, number, words = attempts._apart(lambda bait: time.sleep(60), None)
    assert (outcome, words) == ("absent", "it came to no end")
    attempt = attempted.Attempt(
        layer="pid", name="see a process", outcome=outcome, errno=number, detail=words
    )
    assert attempted.untried(types.SimpleNamespace(attempts=[attempt])) == 1


def layers(run):
    """The rows of the table, by layer."""
    assert run.out.startswith("{"), run
    return {row["layer"]: row for row in json.loads(run.out)["layers"]}


def test_a_filter_that_allows_everything_makes_no_level(minictr, busybox_root, tmp_path):
    (tmp_path / "profile.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    options = ("--security-opt", "seccomp=%s" % (tmp_path / "profile.json"), "--rootfs", busybox_root)
    run = minictr("report", "--json", *options, "--", "true")
    assert json.loads(run.out)["level"] == "none", run
    assert "possible: " in layers(run)["seccomp"]["got"] and not layers(run)["seccomp"]["ok"]


def test_a_filter_around_minictr_is_none_of_the_containers(minictr, busybox_root):
    options = ("--security-opt", "seccomp=unconfined", "--rootfs", busybox_root, "--", "true")
    run = minictr("report", "--json", *options, refuse=["keyctl", "unshare", "ioctl", "personality"])
    assert json.loads(run.out)["level"] == "none", run
    row = layers(run)["seccomp"]
    assert row["asked"] == "nothing" and "in force, from around minictr" in row["got"]


def test_a_filter_that_follows_the_capabilities_is_as_asked(minictr, busybox_root):
    run = minictr("report", "--json", "--cap-add", "SYS_ADMIN", "--rootfs", busybox_root, "--", "true")
    assert outcomes(run)["make a user namespace"]["outcome"] == "possible"
    assert (run.status, layers(run)["seccomp"]["ok"]) == (0, True), run


def test_a_namespace_that_is_joined_is_anothers(minictr, busybox_root):
    other = minictr.start_command("unshare", "--net", "sleep", "100")
    path = "/proc/%d/ns/net" % other.pid
    support.wait_until(lambda: os.readlink(path) != os.readlink("/proc/self/ns/net"))
    options = ("--userns", "host", "--net", path, "--rootfs", busybox_root, "--", "true")
    run = minictr("report", "--json", *options)
    other.kill()
    assert layers(run)["network"]["got"].startswith("another's, not the host's"), run
    assert (layers(run)["network"]["ok"], json.loads(run.out)["level"]) == (True, "sandbox")


def test_control_groups_that_the_hosts_sys_brings_in_are_told_of(minictr, busybox_root):
    """A user namespace without a network of its own gets no fresh /sys, but the host's, whole."""
    words = ["--net", "host", "--rootfs", busybox_root, "--"]
    shown = minictr("run", *(words + ["ls", "/sys/fs/cgroup"])).ok.lines
    row = layers(minictr("report", "--json", *(words + ["true"])))["cgroup-files"]
    assert shown and (row["asked"], row["got"], row["ok"]) == ("nothing", "the host's, read-only", True)


# --- as asked, or not ---------------------------------------------------------------------------


def missing(run):
    """The rows that are not as asked, by layer; each warning is in one, and the exit status says so, too."""
    left = {layer: row for layer, row in layers(run).items() if not row["ok"]}
    found = json.loads(run.out)
    assert run.status == (1 if left else 0) and found["ok"] is not bool(left), run
    text = json.dumps(list(left.values()))
    for record in found["degradations"]:
        assert record["level"] == "notice" or record["got"] in text, (record, left)
    return left


# refused system calls, options, and the rows that tell of it
STEPS_DOWN = (
    (["sethostname"], ("--hostname", "vax"), {"uts"}),
    (["mount_setattr=ENOSYS", "open_tree=ENOSYS"], (), {"id-mapped mount"}),
    (["pivot_root"], (), {"root"}),
    (["clone3=ENOSYS", "clone&CLONE_NEWNET=EPERM"], (), {"network"}),
    ([], ("--overlay",), {"overlay"}),
    (
        ["pivot_root", "mount", "fsopen", "open_tree", "move_mount"],
        (),
        {"mount", "root", "proc", "devices", "sys"},
    ),
)


@pytest.mark.parametrize("refuse, options, rows", STEPS_DOWN)
def test_every_step_down_is_told_of_and_is_not_as_asked(minictr, busybox_root, refuse, options, rows):
    root = () if "--overlay" in options else ("--rootfs", busybox_root)
    run = minictr("report", "--json", *(options + root), "--", "true", refuse=refuse)
    assert rows <= set(missing(run)), run


def test_a_user_who_has_no_ids_to_give_is_told_so(minictr, unranged, busybox_root):
    words = ("report", "--json", "--cgroups", "disabled", "--rootfs", busybox_root, "--", "true")
    assert set(missing(minictr(*words, user=unranged))) == {"id map"}


@needs("landlock")
def test_a_sandbox_without_mounts_has_neither_proc_nor_devices_of_its_own(minictr, unranged, busybox_root):
    options = ("--userns", "host", "--rootfs", busybox_root, "--", "true")
    run = minictr("report", "--json", *options, user=unranged)
    assert json.loads(run.out)["level"] == "sandbox", run
    left = missing(run)
    assert [left[layer]["got"].split(";")[0] for layer in ("proc", "devices", "sys")] == ["the host's"] * 3
    assert layers(run)["landlock"]["got"] == "in the place of a root"


@pytest.mark.parametrize(
    "options",
    [
        ("--net", "host"),
        ("--privileged",),
        ("--privileged", "--userns", "host"),
        ("--userns", "host", "-v", "/sys:/sys"),
        ("--userns", "host", "-v", "/sys/fs/cgroup:/sys/fs/cgroup"),
        ("--userns", "host", "--security-opt", "unmask=ALL"),
    ],
)
def test_what_is_handed_in_is_as_asked(minictr, busybox_root, options):
    run = minictr("report", "--json", *options, "--rootfs", busybox_root, "--", "true")
    assert missing(run) == {}, run


def test_a_device_that_is_handed_in_is_as_asked_and_another_is_not(minictr, busybox_root):
    node = device()
    if not node:
        pytest.skip("the host has no node of a block device")
    options = ("--userns", "host", "--rootfs", busybox_root, "--", "true")
    assert missing(minictr("report", "--json", "--device", node, *options)) == {}
    run = minictr("report", "--json", "--cgroups", "disabled", *options)
    assert set(missing(run)) == {"devices"}, run


def test_what_is_asked_of_a_bundle_is_what_it_says(minictr, busybox_root, tmp_path):
    config = spec.default_config(["true"], busybox_root)
    config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] != "/sys"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    run = minictr("report", "--json", "--no-new-keyring", "--bundle", str(tmp_path), "told")
    found = layers(run)
    assert [found["sys"][name] for name in ("asked", "got")] == ["nothing", "none"]
    assert [found["keyring"][name] for name in ("asked", "got")] == ["nothing", "the caller's"]
    run = minictr("report", "--json", "--privileged", "--rootfs", busybox_root, "--", "true")
    assert [layers(run)["sys"][name] for name in ("asked", "got")] == ["writable", "writable"]


def test_a_users_container_is_as_strong_as_roots(minictr, strong_caller, busybox_root):
    words = ("report", "--json", "--rootfs", busybox_root, "--", "true")
    run = minictr(*words, **strong_caller.options)
    assert json.loads(run.out)["level"] == "rootless", run


@pytest.mark.parametrize("options", [(), OPEN, ("--read-only",), ("--cap-drop", "ALL")])
def test_the_report_has_the_form_of_its_schema(minictr, busybox_root, options):
    with open(os.path.join(HERE, "../report-schema.json")) as file:
        schema = json.load(file)
    run = minictr("report", "--json", *options, "--rootfs", busybox_root, "--", "true")
    found = json.loads(run.out)
    jsonschema.validate(found, schema)
    assert [attempt["name"] for attempt in found["attempts"]] == NAMES
    assert {row["layer"] for row in found["layers"]} >= set(levels.LEVELS["rootless"])


def test_the_table_says_that_it_was_a_twin_and_what_it_proves(minictr, busybox_root):
    run = minictr("report", "--rootfs", busybox_root, "--", "true").ok
    assert run.lines[0].startswith("A twin of the container was started")
    assert run.lines[-1] == "level: rootless"
    row = [line for line in run.lines if line.startswith("pid ")][0]
    assert row.split("  ")[-1].strip() == "namespace read from outside, 3 attempts refused"


def test_a_report_before_the_run_goes_to_stderr(minictr, busybox_root):
    run = minictr("run", "--report", "--rootfs", busybox_root, "--", "echo", "ran")
    assert (run.status, run.out) == (0, "ran\n")
    assert run.err.splitlines()[-1] == "level: rootless"
    run = minictr("run", "--report=json", "--rootfs", busybox_root, "--", "echo", "ran")
    assert json.loads(run.err)["level"] == "rootless"


def test_the_twin_runs_neither_the_program_nor_the_hooks(minictr, busybox_root, tmp_path):
    trace = tmp_path / "trace"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo hook >> %s" % trace]}
    config = spec.default_config(["touch", "/trace"], busybox_root)
    config["hooks"] = {name: [hook] for name in ("createRuntime", "createContainer", "poststart", "poststop")}
    (tmp_path / "config.json").write_text(json.dumps(config))
    run = minictr("report", "--json", "--bundle", str(tmp_path), "told")
    assert json.loads(run.out)["twin"] is True, run
    assert not trace.exists()


def test_a_twin_of_the_longest_id_there_is_can_be_made(minictr, busybox_root):
    found = minictr("report", "--name", "a" * spec.ID_LENGTH, "--rootfs", busybox_root, "--", "true")
    assert found.ok.lines[-1] == "level: rootless"


def test_a_signal_to_all_of_us_leaves_what_was_put_out_to_who_takes_it_in():
    """^C, say: the process that is put out is forked from the runtime, and has its handlers."""
    script = """if True:
        import os, signal, time
        from minictr import twin
        signal.signal(signal.SIGINT, signal.default_int_handler)
        out = twin._Out("%s", [])
        while not open("/proc/%%d/comm" %% out.pid).read().startswith("bait"):
            time.sleep(0.01)
        os.kill(out.pid, signal.SIGINT)
        os.waitid(os.P_PID, out.pid, os.WEXITED | os.WNOWAIT)
        print(os.path.exists(out.bait.path))
        out.take_in()
    """
    command = [sys.executable, "-c", script % os.urandom(3).hex()]
    run = subprocess.run(command, cwd=support.CHECKOUT, stdout=-1, stderr=-1, timeout=30, encoding="ascii")
    assert (run.stdout, run.stderr) == ("True\n", "")


def test_a_style_that_there_is_not_is_an_error(minictr, busybox_root):
    run = minictr("run", "--report=xml", "--rootfs", busybox_root, "--", "true")
    assert run == (125, "", "minictr: --report xml: is table or json\n")
