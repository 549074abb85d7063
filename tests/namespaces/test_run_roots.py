"""`run` on real root file systems: who is inside, what is seen, and what is written where."""

import os
import re

import pytest
import support
from callers import RANGE, root_range
from support import needs

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")

SHOW = "cat /proc/self/uid_map; echo; cat /proc/self/gid_map"


def id_maps(text):
    """The uid_map and gid_map that SHOW printed, as lists of (inside, outside, count)."""
    return [
        [tuple(int(word) for word in line.split()) for line in part.splitlines()]
        for part in text.split("\n\n")
    ]


def expected_maps(caller):
    if caller.account is None:
        return [[(0, first, RANGE)] for first in root_range()]
    own = (caller.account.uid, caller.account.gid)
    if not caller.ranged:
        return [[(0, number, 1)] for number in own]
    return [[(0, number, 1), (1, caller.account.start, RANGE)] for number in own]


def test_the_caller_is_root_in_a_user_namespace_of_its_own(minictr, caller, busybox_root):
    run = minictr("run", "--read-only", "--rootfs", busybox_root, "--", "sh", "-c", SHOW, **caller.options)

    assert id_maps(caller.expect(run).out) == expected_maps(caller)


def test_roots_range_belongs_to_nobody_on_the_host(minictr, busybox_root):
    run = minictr("run", "--rootfs", busybox_root, "--", "sh", "-c", SHOW)
    (((_, first, count),), _) = id_maps(run.ok.out)

    assert first >= 65536
    with open("/etc/subuid") as file:
        others = [line.split(":") for line in file if line.split(":")[0] not in ("root", "0")]
    for name, start, size in others:
        assert first + count <= int(start) or int(start) + int(size) <= first, name


# --- the same in a whole Debian and in a busybox ------------------------------------------------


@pytest.fixture(params=["busybox", "debian"])
def any_root(request):
    return request.getfixturevalue(request.param + "_root")


def test_id_names_root_and_no_group_of_the_host(minictr, caller, any_root):
    run = minictr("run", "--read-only", "--rootfs", any_root, "--", "id", **caller.options)

    # where setgroups is denied the caller's group is the only one left, and it is root's inside
    assert re.match(r"uid=0\(root\) gid=0\(root\)( groups=0\(root\))?\n$", caller.expect(run).out)


def test_ps_sees_the_containers_processes_alone(minictr, caller, any_root):
    run = minictr("run", "--read-only", "--rootfs", any_root, "--", "sh", "-c", "ps; true", **caller.options)

    processes = caller.expect(run).lines[1:]
    assert [line.split()[0] for line in processes][0] == "1"
    assert 1 <= len(processes) <= 2


def test_the_host_name_is_the_containers_own(minictr, caller, any_root):
    options = ("--read-only", "--name", "box-1", "--rootfs", any_root)
    run = minictr("run", *options, "--", "cat", "/proc/sys/kernel/hostname", **caller.options)

    assert caller.expect(run).out == "box-1\n"
    assert os.uname().nodename != "box-1"


def test_mount_shows_the_containers_mounts_alone(minictr, caller, any_root):
    run = minictr("run", "--read-only", "--rootfs", any_root, "--", "cat", "/proc/mounts", **caller.options)

    mounts = {line.split()[1]: line.split() for line in caller.expect(run).lines}
    expected = {
        "/proc": "proc", "/dev": "tmpfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs", "/dev/mqueue": "mqueue",
        "/sys": "sysfs",
    }  # fmt: skip
    assert {place: mounts[place][2] for place in expected} == expected
    places = set(mounts) - {"/"}
    assert [place for place in places if not place.startswith(("/proc", "/dev", "/sys"))] == []
    assert "ro" in mounts["/sys"][3].split(",")
    assert {"nosuid", "nodev", "noexec"} <= set(mounts["/proc"][3].split(","))


@needs("mmdebstrap")
def test_apt_get_of_a_debian_starts(minictr, caller, debian_root):
    run = minictr(
        "run", "--read-only", "--rootfs", debian_root, "--", "apt-get", "--version", **caller.options
    )

    assert caller.expect(run).out.startswith("apt 2.")


@needs("mmdebstrap", "idmap")
def test_su_in_a_debian_becomes_another_user(minictr, debian_root):
    command = ("su", "-s", "/bin/sh", "nobody", "-c", "id -un")
    run = minictr("run", "--read-only", "--rootfs", debian_root, "--", *command)

    assert run.ok.out == "nobody\n"


# --- writing ------------------------------------------------------------------------------------


def test_a_root_of_the_callers_can_be_written_to(minictr, caller, busybox_copy):
    if caller.account is None:
        support.require("idmap")
    root = caller.owns(busybox_copy)
    run = minictr("run", "--rootfs", root, "--", "sh", "-c", "echo hello >/new && cat /new", **caller.options)

    assert caller.expect(run).out == "hello\n"
    state = os.stat(root + "/new")
    # root's files keep their ids inside and out; a user's root is the user
    owner = (0, 0) if caller.account is None else (caller.account.uid, caller.account.gid)
    assert (state.st_uid, state.st_gid) == owner


def test_a_read_only_root_cannot(minictr, caller, busybox_copy):
    root = caller.owns(busybox_copy)
    run = minictr("run", "--read-only", "--rootfs", root, "--", "touch", "/new", **caller.options)

    assert run.status == 1
    assert caller.said(run) == "touch: /new: Read-only file system\n"
    assert not os.path.exists(root + "/new")


@needs("overlay", "userns-overlay")
def test_what_is_written_to_an_overlay_is_thrown_away(minictr, caller, busybox_copy):
    root = caller.owns(busybox_copy)
    before = sorted(os.listdir(root)), sorted(os.listdir(root + "/etc"))
    script = "echo changed >/etc/hostname; rm /etc/group; touch /new; cat /etc/hostname; ls /etc /new"
    run = minictr("run", "--overlay", "--rootfs", root, "--", "sh", "-c", script, **caller.options)

    assert caller.expect(run).fields == ["changed", "/new", "/etc:", "hostname", "passwd"]
    assert (sorted(os.listdir(root)), sorted(os.listdir(root + "/etc"))) == before
    with open(root + "/etc/hostname") as file:
        assert file.read() == "busybox\n"


@needs("overlay", "idmap")
@pytest.mark.parametrize("userns", ["auto", "host"])
def test_an_overlay_leaves_the_owner_of_the_root_as_it_is(minictr, busybox_copy, userns):
    root = busybox_copy()
    os.chown(root, 1000, 1001)
    os.chmod(root, 0o2700)
    words = ("run", "--userns", userns, "--overlay", "-u", "1000:1001", "--rootfs", root, "--")
    run = minictr(*(words + ("sh", "-c", "stat -c '%u %g %a' /; touch /new && echo made")))

    assert run.ok.lines == ["1000 1001 2700", "made"]


@needs("overlay", "userns-overlay", "unshare", "root")
@pytest.mark.parametrize("userns", ["auto", "host"])
def test_a_root_that_takes_no_overlay_stays_read_only_and_that_is_told(minictr, busybox_copy, userns):
    """Overlays lie on one another but once."""
    place = support.SESSION.place("layers")
    options = "lowerdir={0},upperdir={1}/u{2},workdir={1}/w{2}"
    first, second = options.format(busybox_copy(), place, 1), options.format(place + "/m1", place, 2)
    words = [support.python(), "-m", "minictr", "--root", minictr.state(), "run", "--userns", userns]
    words += ["--overlay", "--rootfs", place + "/m2"]
    script = "mount -t tmpfs none {0}; cd {0}; mkdir u1 w1 m1 u2 w2 m2; mount -t overlay one -o {1} m1\n"
    script += "mount -t overlay two -o {2} m2; cd /; {3} --strict -- true 2>/dev/null; echo $?\n"
    script += "{3} -- sh -c 'cat /etc/hostname; touch /new'"
    text = script.format(place, first, second, " ".join(words))
    run = minictr.command("unshare", "-m", "sh", "-c", text, env={"PYTHONPATH": support.checkout()})

    assert run.out == "123\nbusybox\n", run
    told = (
        "warning: root: wanted a writable overlay of /, got / read-only; overlayfs does not take overlay as"
    )
    assert told in run.err and "touch: /new: Read-only file system" in run.err


@needs("overlay", "userns-overlay", "idmap")
def test_a_root_of_another_user_is_writable_under_an_overlay_but_for_that_users_files(
    minictr, caller, busybox_root
):
    script = "touch /new && stat -c %u /new; touch /etc/new 2>/dev/null && echo all"
    words = ("--overlay", "--rootfs", busybox_root, "--", "sh", "-c", script)
    run = minictr("run", *words, **caller.options)

    assert run.lines == (["0"] if caller.account else ["0", "all"])
    told = "minictr: warning: root: wanted a writable overlay, got one where other users' files stay"
    assert caller.said(run).startswith(told if caller.account else "")
    assert bool(caller.said(run)) is bool(caller.account)
    assert not os.path.exists(busybox_root + "/new")
    if caller.account:
        run = minictr("run", "--strict", *words, **caller.options)
        assert (run.status, run.out) == (123, "")


@needs("idmap")
def test_files_keep_their_ids_inside_and_out_where_root_runs_a_container(minictr, busybox_copy):
    root = busybox_copy()
    os.mkdir(root + "/data")
    for number in (0, 1, 1000, 65534):
        with open(root + "/data/%d" % number, "w"):
            pass
        os.chown(root + "/data/%d" % number, number, number)
    script = "cd /data; stat -c '%n %u %g' *; touch new; chown 1000:1000 new; chown 1:1 65534"
    run = minictr("run", "--rootfs", root, "--", "sh", "-c", script)

    assert run.ok.lines == ["0 0 0", "1 1 1", "1000 1000 1000", "65534 65534 65534"]
    assert os.stat(root + "/data/new").st_uid == 1000
    assert os.stat(root + "/data/65534").st_gid == 1


def test_ids_of_a_users_container_are_of_its_range_on_disk(minictr, ranged, busybox_copy):
    root = busybox_copy(ranged)
    script = "touch /tmp/one /tmp/app; chown 1:1 /tmp/one; chown app:audio /tmp/app"
    assert minictr("run", "--rootfs", root, "--", "sh", "-c", script, user=ranged).ok

    assert os.stat(root + "/tmp/one").st_uid == ranged.start
    assert os.stat(root + "/tmp/app").st_uid == ranged.start + 999
    assert os.stat(root + "/tmp/app").st_gid == ranged.start + 28


def test_with_the_hosts_user_namespace_root_is_root(minictr, busybox_copy):
    root = busybox_copy()
    script = "cat /proc/self/uid_map; touch /new; chown 12345:12345 /new"
    run = minictr("run", "--userns", "host", "--rootfs", root, "--", "sh", "-c", script)

    assert run.ok.fields == ["0", "0", "4294967295"]
    assert os.stat(root + "/new").st_uid == 12345


@needs("mmdebstrap")
def test_a_debian_can_be_changed_by_its_own_tools(minictr, ranged, debian_copy):
    root = debian_copy(ranged)
    script = "useradd -m someone && su someone -c 'touch /home/someone/file' && stat -c %U /home/someone/file"
    run = minictr("run", "--rootfs", root, "--", "sh", "-c", script, user=ranged)

    assert run.ok.out == "someone\n"
    assert os.stat(root + "/home/someone/file").st_uid == ranged.start + 999
