"""`run`: file systems in memory, the other types of --mount, and devices."""

import os
import stat

import pytest
import support
from support import needs

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")


@pytest.fixture
def inside(minictr, strong_caller, busybox_copy):
    """Runs a script in a busybox root of the caller's with options of run; the Result."""
    root = strong_caller.owns(busybox_copy)
    for name in "vpw" if not strong_caller.account and support.lacks("idmap") else "":
        os.mkdir(root + "/" + name)  # which its root cannot make then
        os.chmod(root + "/" + name, 0o1777)  # as a tmpfs has where there is nothing

    def run(script, *options, **more):
        words = options + ("--rootfs", root, "--", "sh", "-c", script)
        return minictr("run", *words, **dict(strong_caller.options, **more))

    run.root, run.caller = root, strong_caller
    return run


def mount_of(run, place):
    """(file system type, flags, options of the file system) at PLACE by a printed mountinfo."""
    (row,) = [line.split() for line in run.ok.lines if line.split()[4] == place]
    dash = row.index("-")
    return row[dash + 1], set(row[5].split(",")), set(row[dash + 3].split(","))


MOUNTINFO = "cat /proc/self/mountinfo"


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "on", "off", "words"),
    [
        (("--tmpfs", "/v"), {"rw", "nosuid", "nodev", "noexec"}, set(), set()),
        (("--tmpfs", "/v:size=2m"), {"noexec"}, set(), {"size=2048k"}),
        (("--tmpfs", "/v:size=2mb,mode=1700"), {"noexec"}, set(), {"size=2048k", "mode=1700"}),
        (("--tmpfs", "/v:exec,suid,dev"), {"rw"}, {"noexec", "nosuid", "nodev"}, set()),
        (("--tmpfs", "/v:ro"), {"ro"}, set(), set()),
        (("--tmpfs", "/v:nr_inodes=10"), {"rw"}, set(), {"nr_inodes=10"}),
        (("--mount", "type=tmpfs,target=/v"), {"nosuid", "nodev", "noexec"}, set(), set()),
        (
            ("--mount", "type=tmpfs,dst=/v,tmpfs-size=1m,tmpfs-mode=0700"),
            set(),
            set(),
            {"size=1024k", "mode=700"},
        ),
        (("--mount", "type=tmpfs,dst=/v,readonly"), {"ro"}, set(), set()),
        (("--mount", "type=tmpfs,dst=/v,exec"), {"nosuid"}, {"noexec"}, set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_tmpfs(inside, options, on, off, words):
    kind, flags, said = mount_of(inside(MOUNTINFO, *options), "/v")

    assert kind == "tmpfs"
    assert (on - flags, off & flags, words - said) == (set(), set(), set())


def test_a_tmpfs_belongs_to_root_inside_and_everybody_can_use_it(inside):
    run = inside("stat -c '%u %g %a' /v; touch /v/x && stat -c %u /v/x", "--tmpfs", "/v")

    assert run.ok.lines == ["0 0 1777", "0"]


def test_a_tmpfs_hides_what_the_root_has_there_unless_it_is_copied_up(inside):
    assert inside("ls /etc", "--tmpfs", "/etc").ok.out == ""
    assert inside("ls /etc", "--tmpfs", "/etc:notmpcopyup").ok.out == ""

    run = inside("ls /etc; echo changed >/etc/hostname; stat -c %a /etc/group", "--tmpfs", "/etc:tmpcopyup")
    assert run.ok.fields == ["group", "hostname", "passwd", "644"]
    with open(inside.root + "/etc/hostname") as file:
        assert file.read() == "busybox\n"


def test_what_is_copied_up_of_users_without_an_id_inside_is_roots(minictr, unranged, busybox_copy):
    root = busybox_copy(unranged)
    with open(root + "/etc/program", "w") as file:
        os.chown(root + "/etc/program", 0, 0)
        os.fchmod(file.fileno(), 0o4755)
    os.chown(root + "/etc/hostname", unranged.uid, 0)
    words = ("--tmpfs", "/etc:tmpcopyup", "--", "stat", "-c", "%n %u %g %a")
    run = minictr("run", "--rootfs", root, *words, "/etc/program", "/etc/hostname", user=unranged)
    assert (run.status, run.lines) == (0, ["/etc/program 0 0 755", "/etc/hostname 0 0 644"])


def test_the_temporary_directories_of_a_read_only_root_are_written_to_on_demand(inside):
    script = "for d in / /tmp /var/tmp /run; do touch $d/new 2>/dev/null && echo $d; done; "
    script += "stat -c %a /tmp /var/tmp"
    assert inside(script, "--read-only", "--read-only-tmpfs").ok.lines == [
        "/tmp", "/var/tmp", "/run", "1777", "1777",
    ]  # fmt: skip
    assert not os.path.exists(inside.root + "/tmp/new")


def test_a_full_tmpfs_is_full(inside):
    run = inside("head -c 2m /dev/zero >/v/x 2>/dev/null; stat -c %s /v/x", "--tmpfs", "/v:size=1m")

    assert run.ok.out == "%d\n" % (1 << 20)


def test_a_ramfs_and_a_devpts(inside):
    run = inside(MOUNTINFO, "--mount", "type=ramfs,target=/v", "--mount", "type=devpts,target=/p")

    assert mount_of(run, "/v")[0] == "ramfs"
    assert mount_of(run, "/p")[0] == "devpts"


def test_the_size_of_dev_shm(inside):
    run = inside(MOUNTINFO, "--shm-size", "3m")
    assert mount_of(run, "/dev/shm")[2] >= {"size=3072k"}

    assert mount_of(inside(MOUNTINFO), "/dev/shm")[2] >= {"size=65536k"}


def test_a_tmpfs_can_lie_below_a_volume_and_a_volume_below_a_tmpfs(inside, tmp_path):
    os.mkdir(str(tmp_path / "memory"))
    (tmp_path / "name").write_text("x\n")
    options = (
        "--tmpfs",
        "/v/memory",
        "-v",
        "%s:/v" % tmp_path,
        "--tmpfs",
        "/w",
        "-v",
        "%s:/w/deep" % tmp_path,
    )
    run = inside("touch /v/memory/inside; ls /v /v/memory /w/deep", *options)

    assert run.ok.fields == ["/v:", "memory", "name", "/v/memory:", "inside", "/w/deep:", "memory", "name"]
    assert os.listdir(str(tmp_path / "memory")) == []


# --- --mount type=bind --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "on", "off"),
    [
        ("", {"rw", "nosuid", "nodev"}, set()),
        (",readonly", {"ro"}, set()),
        (",ro=true", {"ro"}, set()),
        (",readonly=false", {"rw"}, set()),
        (",rw=false", {"ro"}, set()),
        (",bind-propagation=rshared,noexec", {"noexec"}, set()),
        (",bind-recursive=readonly", {"ro"}, set()),
        (",consistency=cached", {"rw"}, set()),
    ],
)
def test_a_bind_mount(inside, tmp_path, words, on, off):
    kind = "type=bind,source=%s,target=/v" % tmp_path
    flags = mount_of(inside(MOUNTINFO, "--mount", kind + words), "/v")[1]

    assert (on - flags, off & flags) == (set(), set())


@pytest.mark.parametrize("names", ["src dst", "source destination", "src target"])
def test_a_bind_mount_by_any_of_its_names(inside, tmp_path, names):
    (tmp_path / "name").write_text("x\n")
    one, other = names.split()
    run = inside("ls /v", "--mount", "type=bind,%s=%s,%s=/v" % (one, tmp_path, other))

    assert run.ok.out == "name\n"


# --- devices ------------------------------------------------------------------------------------


def test_the_default_devices_work(inside):
    script = (
        "for d in null zero full random urandom tty; do stat -c '%n %F %t:%T' /dev/$d; done; "
        "head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; echo x >/dev/null; echo x >/dev/full"
    )
    run = inside(script)

    numbers = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    expected = ["/dev/%s character special file %s" % item for item in numbers.items()]
    assert run.lines == expected + ["3", "3"]
    assert run.err.endswith("No space left on device\n")


def test_the_links_of_dev_lead_to_the_programs_own_descriptors(inside):
    run = inside("for n in fd stdin stdout stderr ptmx; do readlink /dev/$n; done; echo x | cat /dev/stdin")

    expected = ["/proc/self/fd"] + ["/proc/self/fd/%d" % number for number in range(3)]
    assert run.ok.lines == expected + ["pts/ptmx", "x"]


@pytest.mark.parametrize("words", ["/dev/kmsg", "/dev/null:/dev/other", "/dev/zero:/dev/sub/other:rwm"])
def test_a_device_of_the_host(inside, words):
    device, place = words.split(":")[0], (words.split(":") + [words])[1] if ":" in words else words
    if not os.path.exists(device):
        pytest.skip("the host has no " + device)
    run = inside("stat -c '%F %t:%T' " + place, "--device", words)

    number = os.stat(device).st_rdev
    assert run.ok.out == "character special file %x:%x\n" % (os.major(number), os.minor(number))


def test_a_device_is_made_with_the_hosts_mode_and_owner_where_root_keeps_the_hosts_ids(minictr, busybox_root):
    state = os.stat("/dev/null")
    run = minictr(
        "run", "--userns", "host", "--device", "/dev/null", "--rootfs", busybox_root, "--read-only", "--",
        "stat", "-c", "%a %u %g", "/dev/null"
    )  # fmt: skip

    assert run.ok.fields == ["%o" % stat.S_IMODE(state.st_mode), str(state.st_uid), str(state.st_gid)]


@pytest.mark.parametrize("options", [("--userns", "host"), ("--uidmap", "0:0:65536"), ()])
def test_mode_and_owner_of_a_device_of_the_host_are_not_the_containers(minictr, busybox_root, options):
    """Where its root is the host's: a disk could be opened to everybody there."""
    node = support.SESSION.place("node") + "/it"
    os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.chmod(node, 0o602)
    if "host" not in options and os.statvfs(node).f_flag & os.ST_NODEV:
        pytest.skip("a user namespace cannot lift the nodev that lies on %s" % node)
    tried = "chmod 666 /dev/it; chown 7 /dev/it; echo x >/dev/it && echo written"
    words = ("--device", node + ":/dev/it", "--rootfs", busybox_root, "--", "sh", "-c", tried)
    run = minictr("run", *options + words)
    assert (run.status, run.out) == (0, "written\n"), run
    state = os.stat(node)
    assert (stat.S_IMODE(state.st_mode), state.st_uid) == (0o602, 0)


def test_a_device_that_was_not_named_cannot_be_made(inside):
    run = inside("mknod /dev/kmsg c 1 11 || mknod /tmp/kmsg c 1 11")

    assert run.status == 1
    assert run.err.count("Operation not permitted") == 2


def test_device_nodes_in_a_root_are_dead(inside):
    """Who unpacks an image as root unpacks its device nodes, and a cgroup may not be there to stop them."""
    os.mknod(inside.root + "/zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    os.chmod(inside.root + "/zero", 0o666)
    run = inside("head -c 1 /zero", "--cgroups", "disabled")

    assert run.status == 1
    assert run.err == "head: /zero: Permission denied\n"
