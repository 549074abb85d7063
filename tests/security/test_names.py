"""Names in a root file system that lead elsewhere, or change while they are looked at: nothing is made,
written or shown outside of it.

tests/namespaces/test_run_bad_input.py and test_run_bad_volumes.py have more of what an image can bring.
"""

import contextlib
import ctypes
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time

import bundles
import pytest
import racer
import refusal
import support
from canaries import refused
from support import needs

from minictr import abi, init, libc, mounting, mounts, paths, preparation, rootfs
from minictr.errors import ContainerError
from minictr.spec import Spec

pytestmark = needs("root", "userns", "busybox")


def in_private_mounts(body):
    """Run BODY in a process with mounts of its own; what is raised there fails the test."""

    def alone():
        libc.unshare(abi.CLONE_NEWNS)
        mounting.set_propagation("/", abi.MS_PRIVATE | abi.MS_REC)
        body()

    why = support._probe(alone)
    assert not why, why


def test_a_directory_that_lies_outside_is_known_by_its_name(busybox_root):
    """CVE-2024-21626: were a descriptor of the host's left open, the directory that it stands for is none."""

    def body():
        outside = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        libc.mount("proc", busybox_root + "/proc", "proc", 0)
        os.chroot(busybox_root)
        init.change_directory("/etc")
        for there in ("/proc/self/fd/%d" % outside, "/proc/self/fd/%d/tmp" % outside):
            with pytest.raises(ContainerError, match="it lies outside the root"):
                init.change_directory(there)

    in_private_mounts(body)


# --- targets that are swapped ---------------------------------------------------------------------------


@pytest.mark.parametrize("openat2", [True, False], ids=["openat2", "a walk"])
def test_a_target_that_is_swapped_for_a_link_never_leads_out(tmp_path, canary, openat2):
    """CVE-2021-30465, CVE-2017-1002101, CVE-2024-45310, CVE-2019-18837: directories are made, and mounts are
    attached, under a root in which one directory and a link out of it change places. What is there already,
    inside and outside, is found by one call, what is not, by a walk."""
    root = str(tmp_path / "root")
    os.makedirs(root + "/dir")
    os.symlink(canary.path, root + "/link")
    os.makedirs(root + canary.path)
    for place in ("/dir/file", canary.path + "/file"):
        open(root + place, "w").close()

    def body():
        if not openat2:
            refusal.refuse(["openat2"])
        descriptor = os.open(root, abi.O_PATH | os.O_DIRECTORY)
        source = os.open("/proc/self/fd", abi.O_PATH)
        made = 0
        for number in range(1500):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                for name in ("dir/file", "/dir/file", "/dir/below/deep%d" % number):
                    target = paths.make_in(descriptor, name)
                    place = os.readlink("/proc/self/fd/%d" % target)
                    assert place.startswith(root + "/"), place
                    if name.endswith("file"):
                        os.close(target)
                if number % 10 == 0:
                    os.close(
                        mounting.bind(descriptor, source, target, mounts.Mount(target="/dir/x", kind="bind"))
                    )
                os.close(target)
                made += 1
        assert made > 500, made

    with racer.Racer(root + "/dir", root + "/link") as race:
        in_private_mounts(body)
    assert race.rounds > 1000
    assert canary.untouched


def test_a_file_whose_place_becomes_a_link_is_made_inside_or_not_at_all(tmp_path, canary):
    """Between the look that finds nothing and the making."""
    root = str(tmp_path / "root")
    os.makedirs(root + canary.path)
    descriptor = os.open(root, abi.O_PATH | os.O_DIRECTORY)
    other = os.fork()
    if other == 0:
        try:
            os.chdir(root)
            while os.getppid() != 1:
                with contextlib.suppress(FileExistsError):
                    os.symlink(canary.path + "/made", "place")
                with contextlib.suppress(FileNotFoundError):
                    os.unlink("place")
        finally:
            os._exit(0)
    try:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError):
                os.close(paths.make_in(descriptor, "/place", directory=False))
    finally:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)
        os.close(descriptor)
    assert canary.untouched


@pytest.mark.parametrize("name", ["bare", "other"])
def test_a_mount_that_its_name_does_not_lead_to_is_not_taken_for_it(tmp_path, name):
    """Before 5.2 it can be found by its name alone, which may lead elsewhere by then: to a directory that
    nothing was mounted on, or to another mount."""
    for place in ("source", "root/target", "root/bare", "root/other"):
        os.makedirs(str(tmp_path / place))

    def body():
        refusal.refuse(["open_tree"])
        libc.mount("none", str(tmp_path / "root/other"), "tmpfs", 0)
        root, source, target = [
            os.open(str(tmp_path / place), abi.O_PATH) for place in ("root", "source", "root/target")
        ]
        os.close(mounting.bind(root, source, target, mounts.Mount(target="/target", kind="bind")))
        target = os.open(str(tmp_path / "root/target"), abi.O_PATH)
        with pytest.raises(ContainerError, match="the target was exchanged while it was mounted"):
            mounting.bind(root, source, target, mounts.Mount(target="/" + name, kind="bind"))

    in_private_mounts(body)


def test_nor_another_name_of_what_was_mounted_on_itself(tmp_path):
    """As paths are that are made read-only; what else has the name's mount would be so, too."""
    (tmp_path / "file").write_text("")
    os.link(str(tmp_path / "file"), str(tmp_path / "other"))

    def body():
        refusal.refuse(["open_tree"])
        root, file = [os.open(str(tmp_path / place), abi.O_PATH) for place in ("", "file")]
        mount = mounts.Mount(target="/other", kind="bind", set=abi.MOUNT_ATTR_RDONLY)
        with pytest.raises(ContainerError, match="the target was exchanged while it was mounted"):
            mounting.bind(root, file, file, mount)

    in_private_mounts(body)


@pytest.mark.parametrize("openat2", [True, False], ids=["openat2", "a walk"])
def test_links_are_followed_as_far_as_the_kernel_follows_them(tmp_path, openat2):
    os.symlink("loop", str(tmp_path / "loop"))
    for number in range(1, 42):
        os.symlink("link%d" % (number - 1), str(tmp_path / ("link%d" % number)))
    (tmp_path / "link0").write_text("found")

    def body():
        if not openat2:
            refusal.refuse(["openat2"])
        root = os.open(str(tmp_path), abi.O_PATH | os.O_DIRECTORY)
        assert paths.read_file(root, "link40", 10) == b"found"
        for name in ("link41", "loop", "loop/below"):
            with pytest.raises(OSError) as caught:
                paths.open_in(root, name)
            assert caught.value.errno == errno.ELOOP, name

    in_private_mounts(body)


@pytest.mark.parametrize("openat2", [True, False], ids=["openat2", "a walk"])
def test_what_is_no_directory_is_none_and_a_link_that_cannot_be_read_leaves_nothing_open(tmp_path, openat2):
    (tmp_path / "file").write_text("")
    os.symlink("file", str(tmp_path / "link"))

    def body():
        if not openat2:
            refusal.refuse(["openat2"])
        root, proc = [os.open(place, abi.O_PATH | os.O_DIRECTORY) for place in (str(tmp_path), "/proc")]
        ended = os.fork()
        if ended == 0:
            os._exit(0)
        os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)  # of a zombie no link in /proc leads anywhere
        before = os.listdir("/proc/self/fd")
        wanted = [(root, "file", errno.ENOTDIR), (root, "link", errno.ENOTDIR)]
        for place, name, number in wanted + [(proc, "%d/exe" % ended, errno.ENOENT)]:
            with pytest.raises(OSError) as caught:
                paths.open_in(place, name, abi.O_PATH | os.O_DIRECTORY)
            assert caught.value.errno == number, name
        assert os.listdir("/proc/self/fd") == before

    in_private_mounts(body)


# a name, and the errno of the kernel; 0 where there is something
BESIDE = (
    ("file/..", errno.ENOTDIR), ("file/../dir", errno.ENOTDIR), ("link/..", errno.ENOTDIR),
    ("file/", errno.ENOTDIR), ("file/.", errno.ENOTDIR), ("link/", errno.ENOTDIR),
    ("file/./x", errno.ENOTDIR), ("slash", errno.ENOTDIR), ("none/..", errno.ENOENT),
    ("none/", errno.ENOENT), ("closed/..", errno.EACCES), ("closed/.", errno.EACCES),
    ("closed/../dir", errno.EACCES), ("dir/..", 0), ("dir/../file", 0), ("dir/", 0), ("dir/.", 0),
    ("closed", 0), ("../../dir/", 0), ("/", 0), (".", 0), ("./", 0), ("inside/", 0), ("inside/../file", 0),
)  # fmt: skip


@pytest.mark.parametrize("openat2", [True, False], ids=["openat2", "a walk"])
def test_only_a_directory_that_may_be_searched_has_something_beside_it(tmp_path, openat2):
    (tmp_path / "file").write_text("")
    for name in ("dir", "closed"):
        (tmp_path / name).mkdir()
    for name, target in (("link", "file"), ("slash", "file/"), ("inside", "/dir/")):
        os.symlink(target, str(tmp_path / name))
    (tmp_path / "closed").chmod(0o600)
    tmp_path.chmod(0o755)

    def body():
        root = os.open(str(tmp_path), abi.O_PATH | os.O_DIRECTORY)
        os.setresuid(1, 1, 1)
        if not openat2:
            refusal.refuse(["openat2"])
        for name, number in BESIDE:
            try:
                os.close(paths.open_in(root, name))
                found = 0
            except OSError as error:
                found = error.errno
            assert found == number, (name, errno.errorcode.get(found))

    why = support._probe(body)
    assert not why, why


@pytest.mark.parametrize("name", ["file", "dir/../file/", "slash"])
def test_a_walk_makes_a_file_where_one_is_wanted(tmp_path, name):
    (tmp_path / "dir").mkdir()
    os.symlink("file/", str(tmp_path / "slash"))

    def body():
        refusal.refuse(["openat2"])
        root = os.open(str(tmp_path), abi.O_PATH | os.O_DIRECTORY)
        os.close(paths.make_in(root, name, directory=False))

    in_private_mounts(body)
    assert (tmp_path / "file").is_file()


@pytest.mark.parametrize("name", ["run", "run, host ids", "bundle", "rootless"])
def test_a_volume_whose_target_is_swapped_while_it_starts_lands_inside_or_not_at_all(ways, canary, name):
    """The same with whole containers: each starts, or ends with one line."""
    way = ways(name)
    os.mkdir(way.root + "/dir")
    os.symlink(canary.path, way.root + "/link")
    os.makedirs(way.root + canary.path)
    os.makedirs(way.root + "/deep")
    if way.account:
        for path in ("/dir", "/deep", canary.path):
            os.chown(way.root + path, way.account.uid, way.account.gid)
    source = support.SESSION.place("source")
    options = ["-v", source + ":/dir/below/made"]
    if way.bundle:
        bind = {"destination": "/dir/below/made", "type": "bind", "source": source, "options": ["rbind"]}
        way.bundle.config["mounts"].append(bind)
        options = []
    started = 0
    with racer.Racer(way.root + "/dir", way.root + "/link") as race:
        for _ in range(12):
            found = way(["true"], *options)
            started += found.status == 0
            assert found.status == 0 or refused(found, "minictr: "), found
    assert race.rounds > 1000
    assert canary.untouched and os.listdir(source) == []


# Opened for writing, which alone does nothing; and what is masked is not empty
WRITABLE = """\
for p in /proc /swapped /elsewhere /proc2; do
    for f in sys/kernel/panic sysrq-trigger; do
        [ -e $p/$f ] && (: >>$p/$f) 2>/dev/null && echo "$p/$f"
    done
    [ -s $p/keys ] && cat $p/keys
done; true"""


def test_a_proc_that_is_swapped_is_masked_wherever_it_is(minictr, busybox_copy):
    """CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: another container on the same root swaps the places of
    /proc and a link, or of /proc and another directory, so that what is masked is not what was mounted."""
    bundle = bundles.Bundle(busybox_copy())
    bundle.process["args"] = ["sh", "-c", WRITABLE]
    bundle.process["user"] = {"uid": 0, "gid": 0}
    root, runtime, started = bundle.root, bundles.Runtime("minictr", minictr), 0
    os.makedirs(root + "/elsewhere")
    os.symlink("/elsewhere", root + "/swapped")
    os.makedirs(root + "/proc2/sys/kernel")
    for other in ("/swapped", "/proc2"):
        with racer.Racer(root + "/proc", root + other) as race:
            for _ in range(25):
                found = runtime.run(bundle)
                started += found.status == 0
                assert found.out == "", found
                assert found.status == 0 or refused(found, "minictr: "), found
        assert race.rounds > 1000
        if race.rounds % 2:
            os.rename(root + "/proc", root + "/x")
            os.rename(root + other, root + "/proc")
            os.rename(root + "/x", root + other)
    assert started


# --- /proc ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place, there, why",
    [
        ("/proc", "file", "not a directory"),
        ("/sys", "file", "not a directory"),
        ("/proc", "link", "a symbolic link; hint: make it a directory"),
        ("/sys", "link", "a symbolic link; hint: make it a directory"),
        ("/x/proc", "link", "a symbolic link; hint: make it a directory"),
        ("/x/proc", "directory", ""),
    ],
)
def test_what_the_kernel_shows_lies_on_a_directory_of_the_roots(minictr, busybox_copy, place, there, why):
    """CVE-2019-19921"""
    bundle = bundles.Bundle(busybox_copy())
    top = bundle.root + "/" + place.split("/")[1]
    if os.path.isdir(top):
        os.rmdir(top)
    if there == "link":
        os.symlink("/etc", top)
    elif there == "file":
        open(top, "w").close()
    else:
        os.mkdir(top)
    kind = {"/sys": "sysfs"}.get(place, "proc")
    bundle.config["mounts"] = [entry for entry in bundle.config["mounts"] if entry["destination"] != place]
    bundle.config["mounts"].insert(0, {"destination": place, "type": kind, "source": kind})
    found = bundles.Runtime("minictr", minictr).sh(bundle, "grep -c ' %s %s ' /proc/mounts" % (place, kind))

    if why:
        assert found == (125, "", "minictr: mount on %s: %s\n" % (place, why))
    else:
        assert found.ok.out == "1\n"


@pytest.mark.parametrize("path", ["rootfs", "./deep/rootfs", "link/rootfs"])
def test_a_root_that_is_a_link_is_not_what_that_leads_to(minictr, busybox_copy, path):
    """It comes with the bundle, and the host's root was the container's, by a configuration that does not
    say so."""
    bundle = bundles.Bundle(busybox_copy())
    bundle.process["args"] = ["true"]
    os.rename(bundle.root, bundle.path + "/other")
    os.mkdir(bundle.path + "/deep")
    os.symlink("/", bundle.path + "/rootfs")
    os.symlink("/", bundle.path + "/deep/rootfs")
    os.symlink(".", bundle.path + "/link")
    bundle.config["root"]["path"] = path
    found = bundles.Runtime("minictr", minictr).run(bundle)
    assert found.status == 125 and refused(found, "minictr: open the root file system "), found
    assert "it is a symbolic link to " in found.err, found

    os.symlink("other", bundle.path + "/named")
    bundle.config["root"]["path"] = bundle.path + "/named"  # who writes a whole path means what lies there
    assert bundles.Runtime("minictr", minictr).run(bundle).ok.out == ""


def test_nor_is_one_that_has_become_a_link_since_it_was_looked_at(busybox_copy):
    """By a container that has what lies above it, say: what is opened to be used is judged anew."""
    bundle = bundles.Bundle(busybox_copy())
    bundle.save()
    with open(bundle.path + "/config.json") as file:
        spec = Spec(config=json.load(file), identifier="box", bundle=bundle.path)
    place = bundle.path + "/stage"
    os.mkdir(place)
    stages = [rootfs.Stage(preparation.prepare(spec, place), -1, None, {}) for _ in range(2)]
    stages[0].open_sources()
    os.rename(bundle.root, bundle.path + "/other")
    os.symlink("/", bundle.root)
    with pytest.raises(ContainerError) as caught:
        stages[1].open_sources()
    for descriptor in [stages[0].base] + list(stages[0].sources.values()):
        os.close(descriptor)
    assert str(caught.value) == "open the root file system %s: Not a directory" % bundle.root


# Each by a link /way/a -> /b of the root: mounts, and what is masked beside what always is
LED_AWAY = {
    "masked": ([("/way/a/p", "proc"), ("/way", "tmpfs")], ["/way/a/p"]),
    "mounted over": ([("/way/a/p", "sysfs"), ("/way", "tmpfs"), ("/way/a/p", "tmpfs")], []),
    "a volume, masked": ([("/way/a/p", "/proc/sys"), ("/way", "tmpfs")], ["/way/a/p"]),
    "a link, which is there": ([("/way/a", "/proc/sys"), ("/way/a", "link")], []),
}


@pytest.mark.parametrize("case", sorted(LED_AWAY))
def test_what_a_name_leads_to_no_more_is_not_covered_by_it(minictr, busybox_copy, case):
    """A further /proc or /sys lies behind a link, and a mount over that: what covers its name covers nothing.
    It was a container by --require, in which the host's core_pattern could be written."""
    bundle = bundles.Bundle(busybox_copy())
    os.makedirs(bundle.root + "/b/p")
    os.mkdir(bundle.root + "/way")
    os.symlink("/b", bundle.root + "/way/a")
    mounted, masked = LED_AWAY[case]
    for place, kind in mounted:
        how = {"type": kind, "source": kind}
        if kind[0] == "/":
            how = {"type": "bind", "source": kind, "options": ["rbind"]}
        elif kind == "link":
            os.symlink("/b", bundle.path + "/link")
            how = {"type": "bind", "source": bundle.path + "/link", "options": ["copy-symlink"]}
        bundle.config["mounts"].append(dict(how, destination=place))
    bundle.linux["maskedPaths"] += masked
    bundle.process["args"] = ["sh", "-c", "ls -d /b/p/* /b/kernel 2>/dev/null; true"]
    runtime, required = bundles.Runtime("minictr", minictr), ["--require", "masked-paths"]
    assert runtime.run(bundle).ok.out  # so it is, and so it may be where nothing else is asked for
    found = runtime.run(bundle, *required)
    assert (found.status, found.out) == (123, "") and "masked-paths is required: /way/a" in found.err, found
    if masked:  # with nothing over the link the name leads there
        del bundle.config["mounts"][-1]
        assert runtime.run(bundle, *required).ok.out == ""


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_what_was_looked_at_is_mounted_on(tmp_path, name):
    """CVE-2023-27561: what the name led to before may have been the target of a link."""
    os.mkdir(str(tmp_path / name))
    os.mkdir(str(tmp_path / "elsewhere"))
    root, before = [os.open(str(tmp_path / place), abi.O_PATH) for place in ("", "elsewhere")]
    found = rootfs._must_be(root, "/" + name, before)
    assert os.path.samestat(os.fstat(found), os.stat(str(tmp_path / name)))
    os.close(found)
    os.close(root)


@pytest.mark.parametrize("over", ["a file", "a file of procfs"])
def test_what_is_written_to_proc_goes_nowhere_else(tmp_path, over):
    """CVE-2019-16884, CVE-2025-52881: something is mounted over the file that is to be written, be it
    another file of procfs, which does something else with what is written."""
    file = tmp_path / "file"
    file.write_text("as it was\n")

    def body():
        libc.unshare(abi.CLONE_NEWUTS)
        source = str(file) if over == "a file" else "/proc/sys/kernel/domainname"
        libc.mount(source, "/proc/self/oom_score_adj", "", abi.MS_BIND)
        before = open("/proc/sys/kernel/domainname").read()
        with pytest.raises(ContainerError, match="something is mounted over it"):
            paths.write_proc(paths.open_proc(), "self/oom_score_adj", "5")
        assert open("/proc/sys/kernel/domainname").read() == before

    in_private_mounts(body)
    assert file.read_text() == "as it was\n"


@pytest.mark.parametrize("openat2", [True, False], ids=["openat2", "an open by name"])
def test_a_setting_of_the_kernels_is_written_to_procfs_alone(tmp_path, openat2):
    """Below /proc/sys outer containers have mounts of their own, so that a mount is no obstacle there: what
    lies on it is."""
    file = tmp_path / "file"
    file.write_text("as it was\n")

    def body():
        if not openat2:
            refusal.refuse(["openat2"])
        libc.unshare(abi.CLONE_NEWUTS)
        proc = paths.open_proc()
        libc.mount("/proc/sys/kernel", "/proc/sys/kernel", "", abi.MS_BIND)
        paths.write_proc(proc, "sys/kernel/domainname", "of.its.own", proof="of.its.own")
        libc.mount(str(file), "/proc/sys/kernel/domainname", "", abi.MS_BIND)
        with pytest.raises(ContainerError, match="something is mounted over it"):
            paths.write_proc(proc, "sys/kernel/domainname", "elsewhere")

    in_private_mounts(body)
    assert file.read_text() == "as it was\n"


@pytest.mark.parametrize("openat2", [True, False], ids=["openat2", "an open by name"])
def test_nothing_is_written_through_a_link_of_procfs(openat2):
    """A descriptor below /proc/self/fd may lead to any file, of procfs as well."""

    def body():
        if not openat2:
            refusal.refuse(["openat2"])
        with open("/proc/self/comm", "r+b", buffering=0) as name:
            name.write(b"before")
            with pytest.raises(OSError) as caught:
                paths.write_proc(paths.open_proc(), "self/fd/%d" % name.fileno(), "after")
            assert caught.value.errno == errno.ELOOP
            assert open("/proc/self/comm").read() == "before\n"
            with pytest.raises(OSError) as caught:  # nor is what was written read back from there
                paths.read_proc(paths.open_proc(), "self/fd/%d" % name.fileno())
            assert caught.value.errno == errno.ELOOP

    in_private_mounts(body)


def test_what_the_kernel_has_understood_otherwise_is_an_error():
    def body():
        proc = paths.open_proc()
        paths.write_proc(proc, "self/coredump_filter", "0x7", proof="00000007")
        with pytest.raises(ContainerError, match="wrote '0x3', reads '00000003"):
            paths.write_proc(proc, "self/coredump_filter", "0x3", proof="0x3")

    in_private_mounts(body)


def test_a_proc_that_is_none_is_not_written_to(tmp_path):
    """CVE-2019-16884: a directory, another file system, and a directory of procfs in the place of /proc."""

    def body():
        for source in (str(tmp_path), "/sys", "/proc/self"):
            libc.mount(source, "/proc", "", abi.MS_BIND)
            with pytest.raises(ContainerError, match="not the proc file system"):
                paths.open_proc()
            libc.umount2("/proc", abi.MNT_DETACH)

    in_private_mounts(body)


@pytest.mark.parametrize("name", ["bundle", "rootless"])
@pytest.mark.parametrize(
    "mount",
    [
        {"destination": "/proc", "type": "bind", "source": "/tmp", "options": ["rbind"]},
        {"destination": "/proc", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/proc", "type": "cgroup", "source": "cgroup"},
        {"destination": "/proc/self/attr", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/proc/sys", "type": "bind", "source": "/tmp", "options": ["bind"]},
        {"destination": "/innocent/self", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/etc/../proc", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/innocent/sys", "type": "cgroup", "source": "cgroup"},
    ],
    ids=lambda mount: "%s on %s" % (mount["type"], mount["destination"]),
)
def test_nothing_of_a_bundle_is_mounted_on_proc(ways, name, mount):
    """CVE-2019-16884: the label of the program would be written to what lies there."""
    way = ways(name)
    bundle = way.bundle or bundles.Bundle(way.root, account=way.account)
    os.symlink("proc", bundle.root + "/innocent")
    if way.account:
        rootless(bundle, way.account)
    bundle.config["mounts"].append(mount)
    bundle.process["args"] = ["true"]
    found = bundles.Runtime("minictr", way.minictr).run(bundle, **way.how)

    refused(found, "/proc" if "innocent" not in mount["destination"] else "/innocent", (125,))


def rootless(bundle, account):
    """What `spec --rootless` changes, for ACCOUNT."""
    bundle.namespaces("user", "-cgroup")
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": account.uid, "size": 1}]
    bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": account.gid, "size": 1}]
    for entry in bundle.config["mounts"]:
        entry["options"] = [word for word in entry.get("options") or () if not word.startswith("gid=")]


# --- /dev -------------------------------------------------------------------------------------------


def test_a_dev_that_is_a_link_to_the_host_leads_nowhere(inside, canary):
    """CVE-2026-41579, CVE-2026-47766: by every way in."""
    os.rmdir(inside.root + "/dev")
    os.symlink(canary.path, inside.root + "/dev")
    os.makedirs(inside.root + canary.path)
    found = inside.sh("echo x >/dev/null; stat -c %t:%T /dev/null")

    assert (found.status, found.out) == (0, "1:3\n"), found
    assert canary.untouched


def test_no_device_is_made_where_a_dev_was_that_is_swapped(minictr, busybox_copy):
    """The root may lie on a file system where nodes are devices, whatever the container's own may do."""
    bundle = bundles.Bundle(busybox_copy())
    bundle.process["args"] = ["true"]
    os.mkdir(bundle.root + "/elsewhere")
    places, started = (bundle.root + "/dev", bundle.root + "/elsewhere"), 0
    with racer.Racer(*places) as race:
        for _ in range(25):
            found = bundles.Runtime("minictr", minictr).run(bundle)
            started += found.status == 0
            assert found.status == 0 or refused(found, "minictr: "), found
    assert race.rounds > 1000 and started
    assert {name for place in places for name in os.listdir(place)} <= {"pts", "shm", "mqueue"}


def without(bundle, *places):
    bundle.config["mounts"] = [
        entry for entry in bundle.config["mounts"] if not entry["destination"].startswith(places)
    ]


@pytest.mark.parametrize("kind", ["a link", "a file"])
def test_a_file_of_the_images_is_no_device_that_was_asked_for(minictr, busybox_copy, kind):
    bundle = bundles.Bundle(busybox_copy())
    without(bundle, "/dev")
    if kind == "a link":
        os.symlink("/etc/passwd", bundle.root + "/dev/special")
    else:
        open(bundle.root + "/dev/special", "w").close()
    bundle.linux["devices"] = [{"path": "/dev/special", "type": "c", "major": 1, "minor": 3}]
    found = bundles.Runtime("minictr", minictr).sh(bundle, "true")

    assert found == (125, "", "minictr: make the device /dev/special: File exists\n")


@pytest.mark.parametrize("kind", ["a link", "a file"])
def test_a_null_of_the_images_masks_nothing(minictr, busybox_copy, kind):
    """CVE-2025-31133: what lies over a masked path is the host's null, known by its number."""
    bundle = bundles.Bundle(busybox_copy())
    without(bundle, "/dev")
    for path in ("/etc/secret", "/etc/other"):
        with open(bundle.root + path, "w") as file:
            file.write("of the %s\n" % path)
    if kind == "a link":
        os.symlink("/etc/other", bundle.root + "/dev/null")
    else:
        with open(bundle.root + "/dev/null", "w") as file:
            file.write("evil\n")
    bundle.linux["maskedPaths"] = ["/etc/secret"]
    found = bundles.Runtime("minictr", minictr).sh(bundle, "cat /etc/secret; stat -c %t:%T /etc/secret")

    assert found.out == "1:3\n", found


@pytest.mark.parametrize("kind", ["a FIFO", "a file", "a link"])
def test_what_an_image_has_in_the_place_of_a_device_is_not_opened(minictr, busybox_copy, canary, kind):
    """Where devices are bound: a FIFO would hold the start for ever."""
    bundle = bundles.Bundle(busybox_copy())
    without(bundle, "/dev")
    bundle.namespaces("user")
    ids = [{"containerID": 0, "hostID": 0, "size": 65536}]
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = ids
    place = bundle.root + "/dev/null"
    if kind == "a FIFO":
        os.mkfifo(place)
    elif kind == "a file":
        open(place, "w").close()
    else:
        os.symlink(canary.path + "/file", place)
    found = bundles.Runtime("minictr", minictr).sh(bundle, "stat -c %t:%T /dev/null", timeout=20)

    assert found.ok.out == "1:3\n"
    assert canary.untouched


@pytest.mark.parametrize("spelt", ["/dev", "/dev/", "/dev/.", "//dev", "/../dev", "/etc/../dev"])
def test_a_dev_of_the_hosts_is_left_as_it_is_however_it_is_spelt(minictr, busybox_copy, canary, spelt):
    bundle = bundles.Bundle(busybox_copy())
    without(bundle, "/dev")
    bundle.config["mounts"].append(
        {"destination": spelt, "type": "bind", "source": canary.path, "options": ["rbind"]}
    )
    found = bundles.Runtime("minictr", minictr).sh(bundle, "ls /dev")

    assert found.ok.out == "file\n"
    assert canary.untouched


@pytest.mark.parametrize("kind", ["another number", "another kind"])
@pytest.mark.parametrize("name", ["run", "bundle"])
def test_a_null_of_the_hosts_that_is_another_device_masks_nothing(ways, name, kind):
    """Nor is it the container's null, where that has to be the host's."""
    way = ways(name)
    other = "/dev/zero"
    if kind == "another kind":
        other = support.SESSION.place("node") + "/null"
        os.mknod(other, stat.S_IFBLK | 0o666, os.makedev(1, 3))
    found = way.run(["true"], cover={"/dev/null": other})
    if name == "run":
        assert found == (125, "", "minictr: make the device /dev/null: the host's is another device\n")
    else:
        hint = "mknod -m 666 /dev/null c 1 3"
        assert found == (125, "", "minictr: open /dev/null: not the null device; hint: %s\n" % hint)


@pytest.mark.parametrize("kind", ["a link", "a link inside"])
def test_a_console_that_is_a_link_is_mounted_inside(minictr, busybox_copy, canary, kind):
    """CVE-2025-52565: the terminal is known by its descriptor, and /dev/console is looked up in the root."""
    bundle = bundles.Bundle(busybox_copy())
    for entry in bundle.config["mounts"]:
        if entry["destination"] == "/dev":  # the image's own: where a link can wait
            entry.update(type="bind", source=bundle.root + "/dev", options=["rbind"])
    target = canary.path + "/file" if kind == "a link" else "/etc/passwd"
    os.mkdir(bundle.root + "/dev/pts")
    os.mkdir(bundle.root + "/dev/shm")
    os.mkdir(bundle.root + "/dev/mqueue")
    os.symlink(target, bundle.root + "/dev/console")
    os.makedirs(bundle.root + canary.path)
    bundle.process.update(terminal=True, args=["sh", "-c", "test -c /dev/console && echo there"])
    found = bundles.Runtime("minictr", minictr).run(bundle, tty=True)

    assert found.out == "there\r\n", found
    assert canary.untouched
    with open(bundle.root + "/etc/passwd") as file:
        assert file.read().startswith("root:")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: open(path, "w").close()], ids=["FIFO", "file"])
def test_a_terminal_is_of_a_genuine_devpts(minictr, busybox_copy, make):
    """Whatever a root has in the place of /dev/pts/ptmx, it is not even opened."""
    bundle = bundles.Bundle(busybox_copy())
    without(bundle, "/dev")
    os.mkdir(bundle.root + "/dev/pts")
    make(bundle.root + "/dev/pts/ptmx")
    bundle.process.update(terminal=True, args=["true"])
    live = bundles.Runtime("minictr", minictr).start(bundle, tty=True, timeout=20)
    found = live.wait()

    assert found.status == 125 and "open a terminal: /dev/pts is no devpts; hint:" in found.out, found


# --- passwd -------------------------------------------------------------------------------------------


PASSWD = {
    "FIFO": "not a regular file", "device": "not a regular file",
    "link": "no etc/passwd", "1 GB": "longer than",
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(PASSWD))
@pytest.mark.parametrize("name", ["exec", "exec, host ids", "exec, rootless"])
def test_a_passwd_that_changed_while_the_container_ran_is_not_trusted(ways, name, kind):
    """CVE-2024-9676, for exec; `run` is in test_run_bad_input.py."""
    way = ways(name)
    way.start()
    path = way.root + "/etc/passwd"
    os.unlink(path)
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "link":
        os.symlink("/etc/shadow", path)
    elif kind == "1 GB":
        with open(path, "wb") as file:
            file.truncate(1 << 30)
    else:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    found = way.exec(["id", "-u"], "--user", "app", timeout=20)

    assert found.status == 255 and found.out == "" and found.err.count("\n") == 1, found
    assert PASSWD[kind] in found.err, found
    assert found.seconds < 5
    os.unlink(path)


def test_a_device_in_the_place_of_passwd_is_not_opened(tmp_path):
    """To open a watchdog is to start it. inotify(7) tells of every opening but those with O_PATH."""
    c, place = ctypes.CDLL(None), str(tmp_path / "etc/passwd")
    os.mkdir(str(tmp_path / "etc"))
    os.mknod(place, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    watch = c.inotify_init1(os.O_NONBLOCK)
    assert c.inotify_add_watch(watch, os.fsencode(place), 0x20) > 0  # IN_OPEN
    root = os.open(str(tmp_path), abi.O_PATH)
    with pytest.raises(ContainerError, match="not a regular file"):
        paths.read_file(root, "etc/passwd", 100)
    with pytest.raises(BlockingIOError):
        os.read(watch, 100)
    os.close(os.open(place, os.O_RDONLY))
    assert os.read(watch, 100)
    os.close(root)
    os.close(watch)


def test_names_that_are_exchanged_elsewhere_do_not_stop_a_start(tmp_path):
    """ ".." is not sure while anything on the host is renamed (openat2(2), EAGAIN): one call in a thousand,
    and a runtime renames its own state while its container's root is attached."""
    for name in ("one", "other"):
        (tmp_path / name).write_text(name)
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    unsure = rounds = 0
    deadline = time.monotonic() + 30  # on a busy machine the two seldom run at the same time
    with racer.Racer(str(tmp_path / "one"), str(tmp_path / "other")):
        while rounds < 5000 or unsure < 10 and time.monotonic() < deadline:
            rounds += 1
            try:
                os.close(libc.openat2(root, "..", abi.O_PATH, abi.RESOLVE_IN_ROOT))
            except OSError as error:
                assert error.errno in (errno.EAGAIN, errno.ENOSYS)
                unsure += 1
            os.close(paths.above(root))
            os.close(paths.open_in(root, "../tmp"))
    os.close(root)
    assert unsure or len(os.sched_getaffinity(0)) == 1  # or this has shown nothing


# --- what lies below the root -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["proc", "sysfs"])
@pytest.mark.parametrize("hidden", [True, False], ids=["as engines mask it", "nothing is masked"])
@pytest.mark.parametrize("user", [False, True], ids=["host ids", "user namespace"])
def test_no_whole_proc_or_sys_waits_below_a_root_that_was_moved(minictr, busybox_copy, user, hidden, kind):
    """A user namespace inside may mount what is to be seen whole already: with --no-pivot that must not be
    the host's, which stays below the root."""
    bundle = bundles.Bundle(busybox_copy())
    if user:
        bundle.namespaces("user")
        line = {"containerID": 0, "hostID": 300000, "size": 65536}
        bundle.linux.update(uidMappings=[line], gidMappings=[line])
    if not hidden:
        bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    for name in ("bounding", "effective", "permitted"):
        bundle.process["capabilities"][name].append("CAP_SETFCAP")  # since 5.12 to map root
    script = "mount -o ro -t %s none /dev/shm && echo mounted" % kind
    bundle.process["args"] = ["unshare", "-Urmnpf", "sh", "-c", script]
    before = sorted(support.cgroup_mounts()), os.listdir("/proc/1")
    found = bundles.Runtime("minictr", minictr).run(bundle, "--no-pivot")

    assert found.out == ("" if hidden else "mounted\n"), found
    assert (sorted(support.cgroup_mounts()), os.listdir("/proc/1")) == before


def test_a_pipe_in_the_place_of_a_file_does_not_keep_a_copy_waiting(tmp_path):
    """tmpcopyup of a root that another container writes to: a file that was looked at is what is opened."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "name").write_text("text")
    os.mkfifo(str(source / "other"))
    script = """
import os, sys
from minictr import copy_up
source, target = [os.open(path, os.O_RDONLY) for path in sys.argv[1:]]
for _ in range(60000):
    copy_up._copy(source, target, "name")
    for name in os.listdir(target):
        assert os.stat(name, dir_fd=target).st_size == 4
        os.unlink(name, dir_fd=target)
"""
    with racer.Racer(str(source / "name"), str(source / "other")):
        words = [sys.executable, "-c", script, str(source), str(target)]
        done = subprocess.run(words, timeout=60, stdin=subprocess.DEVNULL, cwd=support.CHECKOUT)
    assert done.returncode == 0


# --- files that the caller names to be written ------------------------------------------------------------

LINKED = {
    "a log that is a link": ("--log-file", "root", "link"),
    "a log in a volume": ("--log-file", "volume", "link"),
    "a log by a way of the host's into it": ("--log-file", "way", "folder/made"),
    "an id in a directory that is a link": ("--pid-file", "root", "folder/made"),
    "words of ours": ("--log", "root", "link"),
}


@needs("idmap")
@pytest.mark.parametrize("case", sorted(LINKED))
def test_what_is_written_for_the_host_goes_through_no_link_that_a_container_made(
    minictr, busybox_copy, tmp_path, canary, case
):
    """Its root's links are root's on the host, as those of the host's root are."""
    option, place, name = LINKED[case]
    root, volume = busybox_copy(), tmp_path / "volume"
    volume.mkdir()
    os.symlink(root, str(tmp_path / "way"))
    given = ["--rootfs", root, "-v", "%s:/volume" % volume]
    script = "ln -s %s/made link; ln -s %s folder" % ((canary.path,) * 2)
    assert minictr("run", *given, "-w", "/volume" if place == "volume" else "/", "--", "sh", "-c", script).ok
    path = os.path.join({"root": root, "volume": str(volume), "way": str(tmp_path / "way")}[place], name)
    if option == "--log":  # in which there is something to write where something fails
        found, status = minictr("--log", path, "run", *given, "--", "/no"), 127
    else:
        found, status = minictr("run", option, path, *given, "--", "echo", "said"), 125

    assert found.status == status and "symbolic links" in found.err, found
    assert canary.untouched


@needs("idmap")
def test_no_id_is_written_through_a_link_that_the_container_made_in_its_root(minictr, busybox_copy, canary):
    root = busybox_copy()
    minictr("run", "-d", "--name", "linked", "--rootfs", root, "--", "sleep", "1001").ok
    try:
        assert minictr("exec", "linked", "ln", "-s", canary.path, "/folder").ok
        found = minictr("exec", "--pid-file", root + "/folder/made", "linked", "true")
    finally:
        minictr("delete", "--force", "linked").ok
    assert found.status == 255 and "symbolic links" in found.err and canary.untouched


@needs("idmap")
@pytest.mark.parametrize(
    "words", ["exec linked /no", "kill linked NOSUCH", "exec other true", "run", "create"]
)
def test_no_log_of_a_verb_is_written_through_a_link_that_a_container_made(
    minictr, busybox_root, busybox_copy, canary, words
):
    """Whichever container it is that the verb is about."""
    root = busybox_copy()
    minictr("run", "-d", "--name", "linked", "--rootfs", root, "--", "sleep", "1001").ok
    try:
        assert minictr("exec", "linked", "ln", "-s", canary.path + "/made", "/log").ok
        more = ["--rootfs", busybox_root, "--", "/no"] if words in ("run", "create") else []
        found = minictr("--log", root + "/log", *words.split(), *more)
    finally:
        minictr("delete", "--force", "linked").ok
    assert canary.untouched
    assert found.status and "cannot write the log %s/log: Too many" % root in found.err, found


@needs("idmap")
def test_a_log_in_a_containers_root_is_a_file_or_is_made_one(minictr, busybox_copy):
    root = busybox_copy()
    given = ["run", "--rootfs", root, "--log-file", root + "/tmp/../log"]
    assert minictr(*given, "--pid-file", root + "/../%s/id" % os.path.basename(root), "--", "echo", "one").ok
    assert minictr(*given, "--", "sh", "-c", "echo two; rm /log; mkfifo /log").ok
    found = minictr(*given, "--", "echo", "three")

    assert found.status == 125 and "not a regular file" in found.err
    with open(root + "/id") as file:
        assert file.read().isdigit()


@pytest.mark.parametrize("kind", ["file", "fifo"])
@pytest.mark.parametrize("owner", [1000, 0])
def test_nothing_is_written_to_what_another_user_has_made_for_it(minictr, tmp_path, kind, owner):
    """In /tmp, say: it read what was root's, or kept root waiting for ever for who would read."""
    place = tmp_path / "everybodys"
    place.mkdir()
    os.chmod(str(place), 0o1777)
    path = str(place / "log")
    if kind == "fifo":
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if owner == 0 else -1
    else:
        open(path, "w").close()
    os.chown(path, owner, owner)
    found = minictr("--log", path, "kill", "nosuch", timeout=20)
    assert "container does not exist: nosuch" in found.err
    assert ("cannot write the log %s: Operation not permitted" % path in found.err) == (owner != 0), found
    if kind == "file":
        assert bool(os.stat(path).st_size) == (owner == 0)
    elif owner == 0:
        assert b"nosuch" in os.read(reader, 4096)
        os.close(reader)


@pytest.mark.parametrize("option", ["--log-file", "--pid-file", "--cidfile"])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("file/../made", "Not a directory"),
        ("link/../made", "Not a directory"),
        ("file/", "Not a directory"),
        ("made/", "No such file or directory"),
    ],
)
def test_a_file_on_the_way_leads_nowhere(minictr, busybox_root, tmp_path, option, name, why):
    (tmp_path / "file").write_text("whole")
    os.symlink("file", str(tmp_path / "link"))
    path = os.path.join(str(tmp_path), name)
    found = minictr("run", option, path, "--rootfs", busybox_root, "--", "echo", "said")

    assert (found.status, found.out, found.err.count("\n")) == (125, "", 1), found
    assert path + ": " + why in found.err, found
    assert sorted(os.listdir(str(tmp_path))) == ["file", "link"]
    assert (tmp_path / "file").read_text() == "whole"
