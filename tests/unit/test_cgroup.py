"""The groups on directories that look like cgroup file systems, and the conversions as tables."""

import errno
import os

import pytest

from minictr import (
    abi,
    cgroup,
    cgroup_files,
    cgroup_none,
    cgroup_rare,
    cgroup_settings,
    cgroup_stats,
    cgroup_undo,
    cgroup_v1,
    cgroup_v2,
    execution,
    paths,
    unix,
)
from minictr.errors import ContainerError

V1 = {  # what a new cgroup has in it, by the name of its hierarchy
    "cpu,cpuacct": ["cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpuacct.usage"],
    "cpuset": ["cpuset.cpus", "cpuset.mems"],
    "devices": ["devices.allow", "devices.deny"],
    "freezer": ["freezer.state"],
    "memory": ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes"],
    "pids": ["pids.max"],
    "systemd": [],
}
V2 = [
    "cgroup.controllers", "cgroup.subtree_control", "cgroup.type", "cgroup.events", "cgroup.freeze",
    "memory.max", "memory.swap.max", "memory.low", "memory.current", "pids.max", "cpu.max", "cpu.weight",
]  # fmt: skip


class Kernel:
    """Two directories as mount points; a directory made below them is filled, and emptied to be removed.

    refusals: errno by the end of a path; of mkdir, of rmdir, or of a write
    written: what was written, (file, value), in order; opened: parts of groups that hold descriptors
    """

    def __init__(self, monkeypatch, top):
        self.top, self.refusals, self.written = str(top), {}, []
        self.mkdir, self.rmdir, self.write = os.mkdir, os.rmdir, cgroup_files.write
        self.kinds, self.opened = {}, []
        open_part = cgroup_files.Part.open
        monkeypatch.setattr(
            cgroup_files.Part, "open", lambda part: self.opened.append(part) or open_part(part)
        )
        for module in (unix, os):  # ours, and this test's own
            monkeypatch.setattr(module, "mkdir", self._mkdir)
            monkeypatch.setattr(module, "rmdir", self._rmdir)
        monkeypatch.setattr(cgroup_files, "write", self._write)
        monkeypatch.setattr(
            cgroup, "_mounted", lambda place: [n for n in os.listdir(place) if n in self.kinds]
        )
        monkeypatch.setattr(cgroup, "_magic", lambda place: self.kinds.get(place[len(self.top) + 1 :], 0))

    def mount(self, name, magic, files):
        place = os.path.join(self.top, name) if name else self.top
        os.makedirs(place, exist_ok=True)
        self.kinds[name] = magic
        self._fill(place, files)
        return place

    def _fill(self, place, files):
        for name in ["tasks", "cgroup.procs"] + list(files):
            with open(os.path.join(place, name), "w") as file:
                file.write(
                    {"cpuset.cpus": "0-3\n", "cpuset.mems": "0\n"}.get(name, "")
                    if place in self.roots
                    else ""
                )

    @property
    def roots(self):
        return [os.path.join(self.top, name).rstrip("/") for name in self.kinds]

    def _refuse(self, path):
        for end, number in self.refusals.items():
            if path.endswith(end):
                raise OSError(number, os.strerror(number), path)

    def _mkdir(self, path, mode=0o777, dir_fd=None):
        self._refuse(path)
        self.mkdir(path, mode, dir_fd=dir_fd)
        for root in self.roots:
            if str(path).startswith(root + "/"):
                files = V1.get(os.path.basename(root), V2)
                self._fill(path, files)

    def _rmdir(self, path, dir_fd=None):
        place = path if dir_fd is None else os.path.join(os.readlink("/proc/self/fd/%d" % dir_fd), path)
        self._refuse(str(place))
        if not os.path.isdir(place):
            raise FileNotFoundError(errno.ENOENT, "", path)
        busy = [name for name in os.listdir(place) if os.path.isdir(os.path.join(place, name))]
        with open(os.path.join(place, "cgroup.procs")) as file:
            if busy or file.read():
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        for name in os.listdir(place):
            os.unlink(os.path.join(place, name))
        self.rmdir(path, dir_fd=dir_fd)

    def _write(self, directory, name, *values):
        for value in values:
            self._refuse("%s=%s" % (name, value))
            self.write(directory, name, value)
            self.written.append((name, value))


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    found = Kernel(monkeypatch, tmp_path)
    yield found
    for part in found.opened:  # else some hundred descriptors stay open for the tests that follow
        part.close()


@pytest.fixture
def v1(kernel):
    for name, files in V1.items():
        kernel.mount(name, abi.CGROUP_SUPER_MAGIC, files)
    kernel.layout = cgroup.layout(kernel.top)
    return kernel


@pytest.fixture
def v2(kernel):
    kernel.mount("", abi.CGROUP2_SUPER_MAGIC, V2)
    put(kernel.top, "cgroup.controllers", "cpu memory pids\n")
    kernel.layout = cgroup.layout(kernel.top)
    return kernel


def put(*path_and_text):
    with open(os.path.join(*path_and_text[:-1]), "w") as file:
        file.write(path_and_text[-1])


def get(*path):
    with open(os.path.join(*path)) as file:
        return file.read()


def below(top):
    return sorted(
        os.path.relpath(os.path.join(place, n), top) for place, names, _ in os.walk(top) for n in names
    )


# --- what the host has ------------------------------------------------------------------------


def test_the_layout_of_v1_has_each_hierarchy_with_its_controllers(v1):
    os.symlink("cpu,cpuacct", v1.top + "/cpu")
    os.makedirs(v1.top + "/not-mounted")
    found = cgroup.layout(v1.top)
    assert found.kind == "v1"
    assert found.unified == ""
    assert dict(found.hierarchies)[v1.top + "/cpu,cpuacct"] == ("cpu", "cpuacct")
    assert dict(found.hierarchies)[v1.top + "/systemd"] == ("name=systemd",)
    assert len(found.hierarchies) == len(V1)


def test_v1_with_v2_beside_it_is_hybrid(v1):
    v1.mount("unified", abi.CGROUP2_SUPER_MAGIC, V2)
    found = cgroup.layout(v1.top)
    assert (found.kind, found.unified) == ("hybrid", v1.top + "/unified")
    assert len(found.hierarchies) == len(V1)


def test_a_hierarchy_that_is_mounted_twice_is_counted_once(v1):
    v1.mount("cpuacct", abi.CGROUP_SUPER_MAGIC, [])
    assert len(cgroup.layout(v1.top).hierarchies) == len(V1)


def test_v2_is_told_by_the_mount_point_itself(v2):
    assert (v2.layout.kind, v2.layout.unified, v2.layout.hierarchies) == ("v2", v2.top, ())


@pytest.mark.parametrize("place", ["/no/such/place", "/etc/passwd"])
def test_a_host_without_cgroups_has_none(place):
    assert cgroup.layout(place).kind == "none"


def test_the_own_paths_are_by_controller():
    text = "5:cpu,cpuacct:/a\n1:name=systemd:/user.slice/a:b\n0::/user.slice\n"
    assert cgroup_files.own(text) == {
        "cpu": "/a", "cpuacct": "/a", "name=systemd": "/user.slice/a:b", "": "/user.slice",
    }  # fmt: skip


# --- where a group lies -----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/a/../b", "..", "/a\nb", "/", "", "./", "a\0b"])
def test_what_is_no_path_for_a_container_is_refused(v1, path):
    with pytest.raises(ContainerError, match=r"place the cgroup"):
        cgroup.open(v1.layout, path)


def test_a_relative_path_starts_from_the_own_groups(v1):
    group = cgroup.open(v1.layout, "x/./y", {"cpu": "/mine", "memory": "/other/"})
    places = [name[len(v1.top) :] for name in group.directories()]
    assert "/cpu,cpuacct/mine/x/y" in places
    assert "/memory/other/x/y" in places
    assert "/pids/x/y" in places


def test_only_the_hierarchies_asked_for_are_used(v1):
    group = cgroup.open(v1.layout, "/x", only=("pids", "cpuacct"))
    assert [name[len(v1.top) :] for name in group.directories()] == ["/cpu,cpuacct/x", "/pids/x"]


def test_a_group_is_opened_again_from_its_directories(v1):
    first = cgroup.open(v1.layout, "/p/x")
    first.create()
    again = cgroup.reopen(v1.layout, first.directories(), first.parents)
    assert (again.kind, again.directories()) == ("v1", first.directories())
    again.remove()
    assert below(v1.top) == sorted(V1)
    again.remove()  # what is gone is no error
    assert again.pids() == []
    assert again.kill()


@pytest.mark.parametrize("place", ["/etc", "%s/memory", "%s/memoryx/y", "%s/memory/../../etc"])
def test_a_directory_elsewhere_is_never_taken_for_a_group(v1, place):
    with pytest.raises(ContainerError):
        cgroup.reopen(v1.layout, [place % v1.top if "%" in place else place])


# --- directories ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_was_made_is_removed_with_its_parents_and_nothing_else(request, version):
    kernel = request.getfixturevalue(version)
    before = below(kernel.top)
    for root in kernel.roots:
        os.mkdir(root + "/a")
    group = cgroup.open(kernel.layout, "/a/b/c")
    assert group.create() == []
    assert all(os.path.isdir(name) for name in group.directories())
    assert sorted(group.parents) == sorted(root + "/a/b" for root in kernel.roots)
    os.mkdir(group.directories()[0] + "/made-inside")
    group.remove()
    assert below(kernel.top) == sorted(
        before + [os.path.relpath(root + "/a", kernel.top) for root in kernel.roots]
    )


def test_a_parent_that_others_use_stays(v1):
    first, second = cgroup.open(v1.layout, "/p/1"), cgroup.open(v1.layout, "/p/2")
    first.create()
    second.create()
    first.remove()
    assert "pids/p/2" in below(v1.top)


@pytest.mark.parametrize("version, place", [("v1", "/memory"), ("v2", "")])
def test_a_directory_with_processes_is_refused_and_left_alone(request, version, place):
    kernel = request.getfixturevalue(version)
    os.mkdir(kernel.top + place + "/x")
    os.mkdir(kernel.top + place + "/x/inner")
    put(kernel.top, place.strip("/"), "x/inner/cgroup.procs", "1\n")
    group = cgroup.open(kernel.layout, "/x")
    with pytest.raises(ContainerError) as caught:
        group.create()
    assert str(caught.value) == (
        "create the cgroup %s/x: processes run in it already: 1; hint: give the container another cgroupsPath"
        % (kernel.top + place)
    )
    group.remove()
    assert below(kernel.top + place) == ["x", "x/inner"]


def test_processes_that_stay_are_named_when_it_cannot_be_removed(v1):
    group = cgroup.open(v1.layout, "/x")
    group.create()
    put(v1.top, "pids/x/cgroup.procs", "7\n8\n")
    with pytest.raises(ContainerError) as caught:
        group.remove(0.01)
    assert str(caught.value) == "remove the cgroup %s/pids/x: processes are left in it: 7, 8" % v1.top
    assert below(v1.top + "/memory") == []


def test_of_a_threaded_group_the_threads_are_listed(v2, monkeypatch):
    """The container may have made it so, where it has no controllers; the files are as the kernel's."""
    group = cgroup.open(v2.layout, "/x")
    group.create()
    os.mkdir(v2.top + "/x/in")

    def read(directory, name):
        if name == "cgroup.procs":
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return "7\n0\n9\n"

    monkeypatch.setattr(cgroup_files, "read", read)
    assert group.pids() == [7, 9]


def test_a_hierarchy_that_may_not_be_used_is_reported_and_left_out(v1):
    v1.refusals = {"/memory/x": errno.EACCES, "/systemd/x": errno.EROFS}
    group = cgroup.open(v1.layout, "/x")
    (record,) = group.create()
    assert (record.code, record.wanted, record.cause) == (
        "cgroup-controllers", "memory, name=systemd", "cgroup-files",
    )  # fmt: skip
    files = group.join_files()
    for file in files:
        os.close(file)
    assert len(files) == len(V1) - 2
    with pytest.raises(ContainerError) as caught:
        group.apply({"memory": {"limit": 4096}})
    why = "the hierarchy with the controller memory is closed to us"
    assert str(caught.value) == "set memory.limit_in_bytes to 4096: " + why


@pytest.mark.parametrize(
    "version, place", [("v1", "/memory/p/x"), ("v1", "/memory/p"), ("v2", "/p/x"), ("v2", "/p")]
)
def test_another_error_of_a_directory_is_none_of_our_rights(request, version, place):
    """So nothing is left out for it."""
    kernel = request.getfixturevalue(version)
    kernel.refusals = {place: errno.EIO}
    with pytest.raises(ContainerError, match="create the cgroup .*: Input/output error") as caught:
        cgroup.open(kernel.layout, "/p/x").create()
    assert (caught.value.number, caught.value.cause) == (errno.EIO, "")


def by_nobody(body):
    """What BODY says in a process without rights."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            os.write(writer, repr(body()).encode())
        except ContainerError as error:
            os.write(writer, ("%d %s" % (error.number, error.cause)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    os.waitpid(pid, 0)
    return text


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_directory_of_another_users_is_not_ours_to_use(request, version):
    """mkdir(2) says that it is there before it says that we may make nothing there."""
    kernel = request.getfixturevalue(version)
    for place in kernel.roots:
        os.mkdir(place + "/x")
    said = by_nobody(cgroup.open(kernel.layout, "/x").create)
    assert said == "%d cgroup-files" % errno.EACCES


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_directory_that_was_there_is_thawed(request, version):
    kernel = request.getfixturevalue(version)
    for place in kernel.roots:
        os.mkdir(place + "/x")
    cgroup.open(kernel.layout, "/x").create()
    assert [pair for pair in kernel.written if "freez" in pair[0]] == [
        ("freezer.state", "THAWED") if version == "v1" else ("cgroup.freeze", "0")
    ]


def test_one_directory_that_cannot_be_removed_keeps_none_of_the_others(v1):
    group = cgroup.open(v1.layout, "/x")
    group.create()
    v1.refusals = {"/memory/x": errno.EPERM}
    with pytest.raises(ContainerError, match="remove the cgroup .*/memory/x: Operation not permitted"):
        group.remove()
    assert [place for place in group.directories() if os.path.exists(place)] == [v1.top + "/memory/x"]


def test_without_a_freezer_nothing_is_frozen(v1):
    group = cgroup.open(v1.layout, "/x", only=("pids",))
    group.create()
    with pytest.raises(ContainerError, match="freeze the container: the host has no hierarchy"):
        group.freeze()
    assert not group.frozen()


def test_a_freezer_that_fails_is_an_error(v1):
    group = cgroup.open(v1.layout, "/x")
    group.create()
    v1.refusals = {"freezer.state=FROZEN": errno.EIO}
    with pytest.raises(ContainerError, match="freeze the container: Input/output error"):
        group.freeze()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_is_gone_meanwhile_needs_no_thaw(request, version):
    kernel = request.getfixturevalue(version)
    group = cgroup.open(kernel.layout, "/x")
    group.create()
    group.thaw()
    kernel.refusals = {"freezer.state=THAWED": errno.EIO, "cgroup.freeze=0": errno.EIO}
    with pytest.raises(ContainerError, match="thaw the container: Input/output error"):
        group.thaw()
    kernel.refusals = {}
    other = cgroup.reopen(kernel.layout, group.directories())
    for part in other.parts:
        part.open()
    group.remove()
    for each in (group, other):
        each.thaw()
        each.release()
        assert (each.frozen(), each.pids()) == (False, [])


def test_half_a_way_in_is_none(v1):
    group = cgroup.open(v1.layout, "/x")
    group.create()
    os.unlink(group.directories()[-1] + "/tasks")
    for part in group.parts:
        part.open()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ContainerError, match="open the cgroup .*/x: No such file or directory"):
        group.join_files()
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_where_nothing_may_be_made_the_cause_is_looked_for(request, version):
    kernel = request.getfixturevalue(version)
    kernel.refusals = {"/x": errno.EROFS}
    with pytest.raises(ContainerError, match="Read-only file system") as caught:
        cgroup.open(kernel.layout, "/x").create()
    assert caught.value.cause == "cgroup-files"


def test_a_new_cpuset_has_what_the_one_above_has(v1):
    os.mkdir(v1.top + "/cpuset/empty")
    cgroup.open(v1.layout, "/empty/x").create()
    for place in ("empty", "empty/x"):
        assert get(v1.top, "cpuset", place, "cpuset.cpus").strip() == "0-3"
        assert get(v1.top, "cpuset", place, "cpuset.mems").strip() == "0"


def test_the_directories_can_be_read_by_all_whatever_the_umask(v1):
    old = os.umask(0o077)
    try:
        group = cgroup.open(v1.layout, "/p/x")
        group.create()
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(old)
    assert {os.stat(name).st_mode & 0o777 for name in group.directories() + group.parents} == {0o755}


def test_v2_enables_what_is_missing_from_the_top_down(v2):
    put(v2.top, "cgroup.subtree_control", "cpu\n")
    os.mkdir(v2.top + "/a")
    put(v2.top, "a/cgroup.controllers", "cpu memory pids\n")
    cgroup.open(v2.layout, "/a/x").create()
    assert v2.written[:2] == [
        ("cgroup.subtree_control", "+memory +pids"), ("cgroup.subtree_control", "+cpu +memory +pids"),
    ]  # fmt: skip


def test_v2_enables_one_by_one_where_one_is_refused(v2):
    v2.refusals = {"+cpu +memory +pids": errno.EINVAL, "=+cpu": errno.EINVAL}
    group = cgroup.open(v2.layout, "/x")
    group.create()
    assert v2.written == [("cgroup.subtree_control", "+memory"), ("cgroup.subtree_control", "+pids")]
    assert group.refused == {"cpu": (v2.top, errno.EINVAL)}


def test_v2_enables_nothing_where_processes_live_and_says_so_of_a_limit(v2, monkeypatch):
    """cpu and pids could be: that would make the cgroup of those processes a threaded one."""
    os.mkdir(v2.top + "/a")
    put(v2.top, "a/cgroup.controllers", "cpu memory pids\n")
    put(v2.top, "a/cgroup.type", "domain\n")
    put(v2.top, "a/cgroup.procs", "7\n")
    group = cgroup.open(v2.layout, "/a/x")
    group.create()
    assert v2.written == [("cgroup.subtree_control", "+cpu +memory +pids")]  # that of the root
    os.unlink(v2.top + "/a/x/memory.max")
    monkeypatch.setattr(group, "set_devices", lambda rules: [])
    with pytest.raises(ContainerError) as caught:
        group.apply({"memory": {"limit": 1 << 20}})
    assert str(caught.value) == (
        "set memory.max to 1048576: %s/a has processes of its own, so memory cannot be enabled below it;"
        " hint: give the container a cgroupsPath beside those processes, not below them" % v2.top
    )


@pytest.mark.parametrize("own", ["/a", "/"])
def test_v2_says_how_processes_get_out_of_the_way_of_those_they_have_started(v2, monkeypatch, own):
    read, text = paths.read_text, "0::%s\n" % own
    monkeypatch.setattr(paths, "read_text", lambda path: text if path == "/proc/self/cgroup" else read(path))
    place = v2.top + own.rstrip("/")
    os.makedirs(place, exist_ok=True)
    put(place, "cgroup.procs", "7\n%d\n" % os.getpid())
    group = cgroup.open(v2.layout, own + "/x")
    group.refused = {"memory": (place, errno.EBUSY)}
    assert group.lacking("memory", "memory").fix == (
        "cd %s && mkdir -p shell && for pid in 7; do echo $pid > shell/cgroup.procs; done" % place
    )


def test_v2_says_who_keeps_a_controller_back(v2, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    place = "/user-1000.slice/user@1000.service/app.slice"
    os.makedirs(v2.top + place)
    put(v2.top, "cgroup.controllers", "cpu io hugetlb\n")
    put(v2.top, "cgroup.subtree_control", "cpu io hugetlb\n")
    by = v2.top + "/user-1000.slice"
    put(by, "cgroup.controllers", "io hugetlb\n")
    put(by, "cgroup.subtree_control", "cpu\n")
    for name in ("io", "hugetlb", "rdma"):
        group = cgroup.open(v2.layout, place + "/x")
        group.refused = {name: (v2.top, errno.EACCES)}
        record = group.lacking("blockIO", name)
        if name == "rdma":
            assert record.why == "the controller rdma is not available in %s%s/x" % (v2.top, place)
            continue
        assert record.why == "the controller %s is not handed down by %s" % (name, by)
        if name == "io":
            assert "[Service]\\nDelegate=cpu cpuset io memory pids\\n" in record.fix
            assert record.fix.endswith("delegate.conf && systemctl daemon-reload")
        else:
            assert record.fix.startswith("as root: echo +hugetlb | tee %s/cgroup.subtree_control " % by)


@pytest.mark.parametrize("kind", ["domain invalid", "threaded"])
def test_v2_refuses_to_live_below_a_threaded_one(v2, kind):
    os.mkdir(v2.top + "/x")
    put(v2.top, "x/cgroup.type", kind + "\n")
    group = cgroup.open(v2.layout, "/x")
    with pytest.raises(ContainerError, match="it is %s: the one above is threaded" % kind):
        group.create()
    group.remove()
    assert below(v2.top) == ["x"]


# --- settings ---------------------------------------------------------------------------------


MIB = 1 << 20
SHARED = [  # linux.resources, files of v1, files of v2; None where it is tested elsewhere
    ({}, [], []),
    ({"memory": {"limit": 0, "swap": 0, "reservation": 0}}, [], []),
    ({"memory": {"limit": MIB}}, ["memory.limit_in_bytes=1048576"], ["memory.max=1048576"]),
    (  # Documentation/admin-guide/cgroup-v1/memory.rst: memsw is memory and swap together
        {"memory": {"limit": MIB, "swap": 3 * MIB}},
        ["memory.limit_in_bytes=1048576", "memory.memsw.limit_in_bytes=3145728"],
        ["memory.max=1048576", "memory.swap.max=2097152"],
    ),
    (  # runtime-spec config-linux.md: -1 is unlimited; without a word of swap that goes with it
        {"memory": {"limit": -1}},
        ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"],
        ["memory.max=max", "memory.swap.max=max"],
    ),
    (
        {"memory": {"limit": MIB, "swap": -1}},
        ["memory.limit_in_bytes=1048576", "memory.memsw.limit_in_bytes=-1"],
        ["memory.max=1048576", "memory.swap.max=max"],
    ),
    (  # the same value for both: no swap at all
        {"memory": {"limit": MIB, "swap": MIB}},
        ["memory.limit_in_bytes=1048576", "memory.memsw.limit_in_bytes=1048576"],
        ["memory.max=1048576", "memory.swap.max=0"],
    ),
    ({"memory": {"reservation": MIB}}, ["memory.soft_limit_in_bytes=1048576"], ["memory.low=1048576"]),
    ({"memory": {"swappiness": 0}}, ["memory.swappiness=0"], []),
    ({"memory": {"swappiness": 2**64 - 1}}, [], []),
    ({"memory": {"disableOOMKiller": True}}, ["memory.oom_control=1"], []),
    ({"memory": {"disableOOMKiller": False}}, ["memory.oom_control=0"], []),
    ({"memory": {"useHierarchy": True, "checkBeforeUpdate": True}}, ["memory.use_hierarchy=1"], []),
    ({"memory": {"kernel": MIB, "kernelTCP": MIB}}, ["memory.kmem.tcp.limit_in_bytes=1048576"], []),
    ({"memory": {"kernel": -1, "kernelTCP": -1}}, ["memory.kmem.tcp.limit_in_bytes=-1"], []),
    ({"cpu": {"shares": 1024}}, ["cpu.shares=1024"], ["cpu.weight=100"]),
    ({"cpu": {"shares": 0, "quota": 0, "period": 0}}, [], []),
    (
        {"cpu": {"quota": 50000, "period": 100000}},
        ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000"],
        ["cpu.max=50000 100000"],
    ),
    ({"cpu": {"quota": -1}}, ["cpu.cfs_quota_us=-1"], ["cpu.max=max 200000"]),
    ({"cpu": {"quota": 50000}}, ["cpu.cfs_quota_us=50000"], ["cpu.max=50000 200000"]),
    ({"cpu": {"period": 50000}}, ["cpu.cfs_period_us=50000"], ["cpu.max=70000 50000"]),
    ({"cpu": {"burst": 1000}}, ["cpu.cfs_burst_us=1000"], ["cpu.max.burst=1000"]),
    ({"cpu": {"shares": 512, "idle": 1}}, ["cpu.idle=1"], ["cpu.idle=1"]),
    ({"cpu": {"shares": 512, "idle": 0}}, ["cpu.shares=512", "cpu.idle=0"], ["cpu.weight=59", "cpu.idle=0"]),
    (
        {"cpu": {"realtimePeriod": 1000000, "realtimeRuntime": 950000}},
        ["cpu.rt_period_us=1000000", "cpu.rt_runtime_us=950000"],
        [],
    ),
    (
        {"cpu": {"cpus": "0-1,3", "mems": "0"}},
        ["cpuset.cpus=0-1,3", "cpuset.mems=0"],
        ["cpuset.cpus=0-1,3", "cpuset.mems=0"],
    ),
    ({"pids": {"limit": 50}}, ["pids.max=50"], ["pids.max=50"]),
    ({"pids": {"limit": -1}}, ["pids.max=max"], ["pids.max=max"]),
    ({"pids": {"limit": 0}}, [], []),
    (
        {"blockIO": {"weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 300}]}},
        ["blkio.weight|blkio.bfq.weight=500", "blkio.weight_device|blkio.bfq.weight_device=8:0 300"],
        ["io.weight=4950", "io.weight=8:0 2930"],
    ),
    (
        {"blockIO": {"leafWeight": 300, "weightDevice": [{"major": 8, "minor": 0, "leafWeight": 20}]}},
        ["blkio.leaf_weight=300", "blkio.leaf_weight_device=8:0 20"],
        [],
    ),
    ({"blockIO": {"weight": 0}}, [], []),
    (  # Documentation/admin-guide/cgroup-v1/blkio-controller.rst, cgroup-v2.rst "io.max"
        {
            "blockIO": {
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1048576}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 0}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 1, "rate": 100}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 1, "rate": 200}],
            }
        },
        [
            "blkio.throttle.read_bps_device=8:0 1048576", "blkio.throttle.write_bps_device=8:0 0",
            "blkio.throttle.read_iops_device=8:1 100", "blkio.throttle.write_iops_device=8:1 200",
        ],
        ["io.max=8:0 rbps=1048576", "io.max=8:0 wbps=max", "io.max=8:1 riops=100", "io.max=8:1 wiops=200"],
    ),
    (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]},
        ["hugetlb.2MB.limit_in_bytes=4194304", "hugetlb.2MB.rsvd.limit_in_bytes=4194304"],
        ["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max=4194304"],
    ),
    (
        {"network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]}},
        ["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 500"],
        [],
    ),
    (
        {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {"hcaObjects": 0}}},
        ["rdma.max=mlx5_1 hca_handle=3 hca_object=10000", "rdma.max=mlx4_0 hca_object=0"],
        ["rdma.max=mlx5_1 hca_handle=3 hca_object=10000", "rdma.max=mlx4_0 hca_object=0"],
    ),
]  # fmt: skip


def converted(version, resources):
    """The settings for RESOURCES and what comes back as lost."""
    group = object.__new__(cgroup_v1.V1 if version is cgroup_v1 else cgroup_v2.V2)
    group.read = lambda controller, name: {"cpu.max": "70000 200000\n"}.get(name, "")
    records, found = group.convert(resources)
    return found, records


@pytest.mark.parametrize("resources, files, _", SHARED, ids=[str(row[0])[:60] for row in SHARED])
def test_resources_as_files_of_v1(resources, files, _):
    assert list(map(repr, converted(cgroup_v1, resources)[0])) == files


@pytest.mark.parametrize("resources, _, files", SHARED, ids=[str(row[0])[:60] for row in SHARED])
def test_resources_as_files_of_v2(resources, _, files):
    assert list(map(repr, converted(cgroup_v2, resources)[0])) == files


@pytest.mark.parametrize(
    "version, resources, wanted",
    [
        (cgroup_v1, {"memory": {"kernel": 5, "kernelTCP": 6}}, ["memory kernel 5"]),
        (cgroup_v2, {"memory": {"kernel": 5, "kernelTCP": 6}}, ["memory kernel 5", "memory kernelTCP 6"]),
        (cgroup_v2, {"memory": {"kernel": 5, "swappiness": 0}}, ["memory swappiness 0", "memory kernel 5"]),
        (cgroup_v2, {"memory": {"kernel": -1, "disableOOMKiller": False}}, []),
        (cgroup_v2, {"memory": {"swappiness": 2**64 - 1}}, []),
        (cgroup_v2, {"memory": {"disableOOMKiller": True}}, ["memory disableOOMKiller True"]),
        (cgroup_v2, {"cpu": {"realtimeRuntime": 950000}}, ["cpu realtimeRuntime 950000"]),
        (cgroup_v2, {"network": {"classID": 7}}, ["network classID 7"]),
        (cgroup_v2, {"blockIO": {"leafWeight": 10}}, ["blockIO leafWeight 10"]),
    ],
)
def test_what_a_version_lacks_is_a_record(version, resources, wanted):
    records = converted(version, resources)[1]
    assert [record.wanted for record in records] == wanted
    assert all(record.lost and record.why for record in records)


@pytest.mark.parametrize(
    "shares, weight",
    # opencontainers/cgroups utils_test.go, v0.0.5; those between worked out with 40 digits
    [(1, 1), (2, 1), (3, 2), (1024, 100), (262143, 10000), (262144, 10000), (262145, 10000)]
    + [(10, 4), (102, 17), (256, 35), (512, 59), (2048, 174)],
)
def test_shares_as_weight(shares, weight):
    assert cgroup_v2.weight_from_shares(shares) == weight


def test_more_shares_are_never_less_weight():
    weights = [cgroup_v2.weight_from_shares(shares) for shares in range(2, 262145, 97)]
    assert weights == sorted(weights)
    assert 1 <= weights[0] and weights[-1] <= 10000


@pytest.mark.parametrize("v1_, v2_", [(10, 1), (500, 4950), (1000, 10000)])  # crun.1.md, "IO controller"
def test_blkio_weight_as_io_weight(v1_, v2_):
    assert cgroup_rare.io_weight(v1_) == v2_


@pytest.mark.parametrize(
    "swap, memory, alone",
    # opencontainers/cgroups utils_test.go TestConvertMemorySwapToCgroupV2Value
    [(-1, 1000, -1), (1000, 1000, 0), (500, -1, 500), (-1, 0, -1), (2000, 1000, 1000), (-1, -1, -1)],
)
def test_swap_by_itself(swap, memory, alone):
    assert cgroup_v2.swap_alone(swap, memory) == alone


@pytest.mark.parametrize("version", [cgroup_v1, cgroup_v2])
@pytest.mark.parametrize(
    "resources, words",
    [
        ({"memory": {"limit": -2}}, "set the memory limit to -2: it must be -1"),
        ({"memory": {"limit": 1 << 63}}, "below 2"),
        ({"memory": {"limit": float("nan")}}, "set the memory limit to nan"),
        (
            {"memory": {"limit": 2000, "swap": 1000}},
            "set the swap limit to 1000: it counts memory and swap together",
        ),
        ({"pids": {"limit": -7}}, "set the limit of processes to -7"),
        ({"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}, "'../x' is no plain name"),
        ({"rdma": {"a b": {"hcaHandles": 1}}}, "'a b' is no plain name"),
    ],
)
def test_a_value_that_is_no_limit_is_refused(version, resources, words):
    with pytest.raises(ContainerError, match=words.replace("(", r"\(")):
        converted(version, resources)


def test_v2_needs_a_memory_limit_beside_one_of_swap():
    with pytest.raises(ContainerError, match="set the swap limit to 5: it needs a memory limit beside it"):
        converted(cgroup_v2, {"memory": {"swap": 5}})


def test_unified_settings_are_written_line_by_line_and_last():
    wanted = {"pids": {"limit": 5}, "unified": {"io.max": "8:0 rbps=1\n8:1 rbps=2\n", "memory.high": "7"}}
    found = converted(cgroup_v2, wanted)[0]
    assert list(map(repr, found)) == ["pids.max=5", "io.max=8:0 rbps=1", "io.max=8:1 rbps=2", "memory.high=7"]


def test_who_sets_files_of_v2_on_v1_is_told_of_what_both_have_in_either_form():
    with pytest.raises(ContainerError) as caught:
        object.__new__(cgroup_v1.V1).convert({"unified": {"memory.high": "7", "io.max": "8:0 rbps=1"}})
    assert str(caught.value) == (
        "set memory.high, io.max: this host has cgroup v1, without such files; hint: --memory, --cpus and"
        " their like; in a bundle the other properties of linux.resources"
    )


@pytest.mark.parametrize(
    "name",
    ["../memory.max", "a/b.c", "..", ".", "", "memory", "a b.c", "x\0.y", "cgroup.procs", "cgroup.threads",
     "cgroup.freeze", "cgroup.kill"],
)  # fmt: skip
def test_a_unified_setting_is_a_plain_file_name(name):
    with pytest.raises(ContainerError, match="^set "):
        converted(cgroup_v2, {"unified": {name: "1"}})


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "a\n", "a\x7fb"])
@pytest.mark.parametrize("version", [cgroup_v1, cgroup_v2])
def test_what_becomes_a_part_of_a_name_or_a_line_is_a_plain_name(version, name):
    """Else a limit of huge pages would be written into any other file, and a line would say more."""
    asked = [{"hugepageLimits": [{"pageSize": name, "limit": 1}]}, {"rdma": {name: {"hcaHandles": 1}}}]
    if version is cgroup_v1:
        asked.append({"network": {"priorities": [{"name": name, "priority": 1}]}})
    for resources in asked:
        with pytest.raises(ContainerError, match="is no plain name"):
            converted(version, resources)


def test_unified_settings_are_refused_on_v1(v1):
    group = cgroup.open(v1.layout, "/x")
    group.create()
    with pytest.raises(ContainerError, match="this host has cgroup v1"):
        group.apply({"unified": {"memory.high": "1"}})


def test_v1_writes_what_is_asked_for_and_the_devices(v1):
    group = cgroup.open(v1.layout, "/x")
    group.create()
    v1.written.clear()
    assert group.apply({"memory": {"limit": 4096}, "pids": {"limit": 9}}) == []
    assert v1.written == [("devices.deny", "a")] + [("devices.allow", line) for line in cgroup_v1.DEVICES] + [
        ("memory.limit_in_bytes", "4096"), ("pids.max", "9"),
    ]  # fmt: skip
    v1.written.clear()
    group.update({"pids": {"limit": 10}})
    assert v1.written == [("pids.max", "10")]


def test_v1_passes_on_what_the_one_above_allows(v1):
    v1.refusals = {"=c 136:* rwm": errno.EPERM, "=c 10:229 rwm": errno.EPERM}
    group = cgroup.open(v1.layout, "/x")
    group.create()
    fuse = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}
    (record,) = group.apply({"devices": [fuse]})
    assert (record.code, record.wanted) == ("cgroup-devices-above", "devices c 10:229 rwm")
    assert ("devices.allow", "c 1:3 rwm") in v1.written


@pytest.mark.parametrize(
    "rules, refusals",
    [
        ([], {"=c 1:3 rwm": errno.EINVAL}),
        ([], {"=c 1:3 rwm": errno.EPERM, "=c 1:5 rwm": errno.EINVAL}),
        ([], {"devices.deny=a": errno.EINVAL}),
        (
            [{"allow": True}, {"allow": False, "type": "b", "major": 8, "minor": 0}],
            {"devices.deny=b 8:0 rw": errno.EPERM},
        ),
    ],
    ids=["another error", "and then another", "of all", "what is to be denied"],
)
def test_a_rule_for_devices_that_is_not_in_force_is_an_error(v1, rules, refusals):
    group = cgroup.open(v1.layout, "/x")
    group.create()
    v1.refusals = refusals
    with pytest.raises(ContainerError, match="set the rules for devices"):
        group.apply({"devices": rules})


def test_that_a_default_device_is_not_allowed_above_is_nothing_to_tell(v1):
    v1.refusals = {"=c 136:* rwm": errno.EPERM}
    group = cgroup.open(v1.layout, "/x")
    group.create()
    assert group.apply({}) == []
    assert ("devices.allow", "c 5:2 rwm") in v1.written


@pytest.mark.parametrize("error", ["EPERM", "EINVAL"])
def test_who_may_set_no_rules_for_devices_is_told_so_and_of_nothing_else(v1, error):
    """A device cgroup takes CAP_SYS_ADMIN of the host; anything else is an error for everybody."""
    group = cgroup.open(v1.layout, "/x")
    group.create()
    for place, _, names in os.walk(v1.top):
        for name in names:
            os.chmod(os.path.join(place, name), 0o666)
    v1.refusals = {"devices.deny=a": getattr(errno, error)}
    said = by_nobody(lambda: [record.code for record in group.apply({})])
    assert said == ("['cgroup-devices']" if error == "EPERM" else "%d " % errno.EINVAL)


def test_a_container_that_may_use_all_devices_has_no_list(v1):
    group = cgroup.open(v1.layout, "/x")
    group.create()
    v1.written.clear()
    group.apply({"devices": [{"allow": True, "access": "rwm"}]})
    assert v1.written == [("devices.allow", "a")]


def test_a_value_is_tried_again_after_the_others(v1, monkeypatch):
    """memory.limit_in_bytes above the old limit of memory and swap is refused until that one is raised."""
    group = cgroup.open(v1.layout, "/x")
    group.create()
    v1.refusals = {"memory.limit_in_bytes=8192": errno.EINVAL}

    def write(directory, name, *values):
        if name == "memory.memsw.limit_in_bytes":
            v1.refusals.clear()
        v1._write(directory, name, *values)

    monkeypatch.setattr(cgroup_files, "write", write)
    v1.written.clear()
    group.update({"memory": {"limit": 8192, "swap": 16384}})
    assert v1.written == [("memory.memsw.limit_in_bytes", "16384"), ("memory.limit_in_bytes", "8192")]


def test_what_an_update_changes_is_known_as_it_was(v2):
    """A file that has nothing is emptied, one that cannot be read left alone, and so what has no value."""
    group = cgroup.open(v2.layout, "/x")
    group.create()
    texts = {
        "cpuset.cpus": "\n", "io.max": "8:0 rbps=5 wbps=max riops=max wiops=max\n", "pids.max": "max\n",
        "io.weight": "default 100\n8:0 200\n", "memory.numa": "one 1\ntwo 2\n",
    }  # fmt: skip
    for name, text in texts.items():
        put(v2.top, "x", name, text)
    os.mkdir(v2.top + "/x/memory.reclaim")  # to read it is an error, as in a file that is only written to
    block = {
        "weight": 20,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 10}, {"major": 8, "minor": 16, "weight": 10}],
    }
    block["throttleReadBpsDevice"] = [{"major": 8, "minor": minor, "rate": 9} for minor in (0, 16)]
    unified = {"memory.reclaim": "5", "memory.numa": "3"}
    resources = {"cpu": {"cpus": "1"}, "pids": {"limit": 5}, "blockIO": block, "unified": unified}
    found = [(setting.names[0], setting.value) for setting in cgroup_undo.before(group, resources)]
    assert found == [
        ("cpuset.cpus", "\n"), ("pids.max", "max"), ("io.weight", "default 100"), ("io.weight", "8:0 200"),
        ("io.weight", "8:16 default"), ("io.max", "8:0 rbps=5 wbps=max riops=max wiops=max"),
        ("io.max", "8:16 rbps=max wbps=max riops=max wiops=max"),
    ]  # fmt: skip


def test_what_is_not_to_be_had_again_keeps_none_of_the_others_away(v2):
    group = cgroup.open(v2.layout, "/x")
    group.create()
    v2.written.clear()
    v2.refusals = {"memory.max=4096": errno.EBUSY}
    names = ("memory.max", "4096"), ("pids.max", "7")
    cgroup_undo.put_back(group, [cgroup_settings.Setting("", name, value) for name, value in names])
    assert v2.written == [("pids.max", "7")]


def test_so_is_the_killer_for_want_of_memory(v1):
    group = cgroup.open(v1.layout, "/x")
    group.create()
    put(v1.top, "memory", "x", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    found = cgroup_undo.before(group, {"memory": {"disableOOMKiller": True}})
    assert [(setting.names, setting.value) for setting in found] == [(["memory.oom_control"], "0")]


@pytest.mark.parametrize(
    "resources, refusals, said",
    [
        (
            {"cpu": {"period": 5}}, {"cpu.cfs_period_us=5": errno.EINVAL},
            "set cpu.cfs_period_us to 5: Invalid argument; hint: a period has 1000 to 1000000 microseconds",
        ),
        (
            {"cpu": {"cpus": "0-9"}}, {"cpuset.cpus=0-9": errno.EINVAL},
            "set cpuset.cpus to 0-9: Invalid argument; hint: the cgroup above has 0-3",
        ),
        (
            {"memory": {"limit": 4096}}, {"limit_in_bytes=4096": errno.EBUSY},
            "set memory.limit_in_bytes to 4096: Device or resource busy; hint: 77 bytes are in use",
        ),
        (
            {"blockIO": {"weight": 500}}, {},
            "set blkio.weight to 500: no hierarchy with the controller blkio is mounted",
        ),
        (
            {"cpu": {"burst": 1000}}, {},
            "set cpu.cfs_burst_us to 1000: this kernel has no such setting",
        ),
        (
            {"pids": {"limit": 5}}, {"pids.max=5": errno.EROFS},
            "set pids.max to 5: Read-only file system",
        ),
    ],
)  # fmt: skip
def test_a_refusal_names_file_value_and_reason(v1, resources, refusals, said):
    group = cgroup.open(v1.layout, "/x")
    group.create()
    put(v1.top, "memory/x/memory.usage_in_bytes", "77\n")
    v1.refusals = refusals
    with pytest.raises(ContainerError) as caught:
        group.update(resources)
    assert str(caught.value).startswith(said)


def test_a_limit_of_swap_that_the_kernel_does_not_count_is_a_record(v1):
    group = cgroup.open(v1.layout, "/x")
    group.create()
    os.unlink(v1.top + "/memory/x/memory.memsw.limit_in_bytes")
    (record,) = group.update({"memory": {"limit": 4096, "swap": 8192}})
    assert (record.code, record.wanted) == ("cgroup-setting", "memory.memsw.limit_in_bytes 8192")
    assert group.update({"memory": {"limit": -1}}) == []


@pytest.mark.parametrize(
    "version, file", [("v1", "memory/x/memory.usage_in_bytes"), ("v2", "x/memory.current")]
)
def test_a_limit_below_the_use_is_refused_if_that_is_to_be_checked(request, version, file):
    kernel = request.getfixturevalue(version)
    group = cgroup.open(kernel.layout, "/x")
    group.create()
    put(kernel.top, file, "8192\n")
    kernel.written.clear()
    with pytest.raises(ContainerError, match="set the memory limit to 4096: 8192 bytes are in use"):
        group.update({"memory": {"limit": 4096, "checkBeforeUpdate": True}})
    assert kernel.written == []
    group.update({"memory": {"limit": 16384, "checkBeforeUpdate": True}})


# --- no group ---------------------------------------------------------------------------------


def test_without_a_group_limits_come_back_as_lost():
    group = cgroup.none("nothing is delegated to this user", "start with systemd-run")
    limits, devices = group.apply({"memory": {"limit": 4096}, "pids": {"limit": 9}, "cpu": {"shares": 0}})
    assert str(limits) == (
        "cgroup: wanted limits for memory, pids, got no cgroup; nothing is delegated to this user;"
        " lost: the container may use all memory of the host;"
        " it may start processes until the host can no more;"
        " fix: start with systemd-run"
    )
    assert devices.code == "cgroup-devices"
    assert (group.kind, group.directories(), group.create(), group.join_files()) == ("none", [], [], ())
    assert (group.clone_into(), group.pids(), group.kill(), group.oom_killed()) == (None, [], False, False)
    group.remove()
    with pytest.raises(ContainerError, match="freeze the container: nothing is delegated"):
        group.freeze()


@pytest.mark.parametrize(
    "resources, names",
    [
        ({}, []),
        ({"memory": {"limit": -1, "checkBeforeUpdate": True}, "pids": {"limit": 0}}, []),
        ({"devices": [{"allow": False}], "blockIO": {"weight": 0, "weightDevice": []}}, []),
        ({"cpu": {"cpus": "0"}, "unified": {"memory.high": "1"}}, ["cpu", "unified"]),
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}, ["hugepageLimits"]),
    ],
)
def test_what_counts_as_a_limit_asked_for(resources, names):
    assert cgroup_none.asked(resources) == names


# --- numbers ----------------------------------------------------------------------------------


def reader(files):
    return lambda controller, name: files.get(name, "")


def test_the_numbers_of_v1():
    data = cgroup_stats.v1(
        reader(
            {
                "cpu.stat": "nr_periods 10\nnr_throttled 3\nthrottled_time 4000\n",
                "cpuacct.usage": "5000\n",
                "cpuacct.usage_percpu": "2000 3000 \n",
                "cpuacct.usage_all": "cpu user system\n0 1500 500\n1 2500 500\n",
                "cpuacct.stat": "user 7\nsystem 2\n",
                "cpuset.cpus": "0-1,3\n",
                "cpuset.mems": "0\n",
                "cpuset.sched_relax_domain_level": "-1\n",
                "memory.stat": "cache 4096\nrss 8192\n",
                "memory.usage_in_bytes": "12288\n",
                "memory.max_usage_in_bytes": "16384\n",
                "memory.failcnt": "2\n",
                "memory.limit_in_bytes": "65536\n",
                "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
                "pids.current": "3\n",
                "pids.max": "max\n",
                "blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 0\nTotal 4096\n",
            }
        )
    )
    assert data["cpu"] == {
        "usage": {
            "total": 5000, "percpu": [2000, 3000], "percpu_user": [1500, 2500], "percpu_kernel": [500, 500],
            "user": 70000000, "kernel": 20000000,
        },
        "throttling": {"periods": 10, "throttledPeriods": 3, "throttledTime": 4000},
    }  # fmt: skip
    assert data["cpuset"]["cpus"] == [0, 1, 3]
    assert data["cpuset"]["sched_relax_domain_level"] == -1
    assert data["memory"]["usage"] == {"limit": 65536, "usage": 12288, "max": 16384, "failcnt": 2}
    assert data["memory"]["cache"] == 4096
    assert data["memory"]["raw"] == {"cache": 4096, "rss": 8192}
    assert data["memory"]["event_count"] == {"oom_kill": 1}
    assert data["pids"] == {"current": 3, "limit": 0}
    assert data["blkio"]["ioServiceBytesRecursive"] == [
        {"major": 8, "minor": 0, "op": "Read", "value": 4096},
        {"major": 8, "minor": 0, "op": "Write", "value": 0},
    ]


def test_the_numbers_of_v2():
    pressure = (
        "some avg10=1.50 avg60=0.25 avg300=0.00 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n"
    )
    data = cgroup_stats.v2(
        reader(
            {
                "cpu.stat": "usage_usec 9\nuser_usec 6\nsystem_usec 3\nnr_periods 1\nthrottled_usec 2\n",
                "cpu.pressure": pressure,
                "cpuset.cpus.effective": "2\n",
                "memory.stat": "anon 8192\nfile 4096\n",
                "memory.current": "12288\n",
                "memory.max": "65536\n",
                "memory.peak": "16384\n",
                "memory.swap.current": "1024\n",
                "memory.swap.max": "2048\n",
                "memory.events": "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\n",
                "pids.current": "3\n",
                "pids.max": "50\n",
                "io.stat": "8:0 rbytes=4096 wbytes=512 rios=1 wios=2 dbytes=0 dios=0\n",
            }
        )
    )
    assert data["cpu"]["usage"] == {"total": 9000, "kernel": 3000, "user": 6000}
    assert data["cpu"]["throttling"] == {"periods": 1, "throttledPeriods": 0, "throttledTime": 2000}
    assert data["cpu"]["psi"]["some"] == {"avg10": 1.5, "avg60": 0.25, "avg300": 0.0, "total": 9}
    assert data["memory"]["cache"] == 4096
    assert data["memory"]["usage"] == {"limit": 65536, "usage": 12288, "max": 16384, "failcnt": 0}
    assert data["memory"]["swap"] == {"limit": 67584, "usage": 13312, "failcnt": 0}
    assert data["memory"]["event_count"]["oom_kill"] == 1
    assert data["pids"] == {"current": 3, "limit": 50}
    assert data["blkio"]["ioServicedRecursive"] == [
        {"major": 8, "minor": 0, "op": "Read", "value": 1},
        {"major": 8, "minor": 0, "op": "Write", "value": 2},
    ]


def test_no_limit_of_memory_is_the_largest_number():
    data = cgroup_stats.v2(reader({"memory.max": "max\n", "memory.swap.max": "max\n"}))
    assert data["memory"]["usage"]["limit"] == data["memory"]["swap"]["limit"] == (1 << 64) - 1


def test_an_empty_group_has_every_number_at_nothing():
    for data in (cgroup_stats.v1(reader({})), cgroup_stats.v2(reader({}))):
        assert {"cpu", "cpuset", "memory", "pids", "blkio", "hugetlb"} < set(data)


@pytest.mark.parametrize(
    "version, file, text, killed",
    [
        ("v1", "memory/x/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", False),
        ("v1", "memory/x/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", True),
        ("v1", "memory/x/in/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", True),
        ("v1", "memory/x/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", False),
        ("v2", "x/memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\n", False),
        ("v2", "x/memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n", True),
        ("v2", "x/other", "", False),
    ],
)
def test_an_end_for_want_of_memory_is_told(request, version, file, text, killed):
    kernel = request.getfixturevalue(version)
    group = cgroup.open(kernel.layout, "/x")
    group.create()
    for name in group.directories():
        if "memory" in name or version == "v2":
            os.mkdir(name + "/in")
    put(kernel.top, file, text)
    assert group.oom_killed() is killed


def test_a_setting_shows_as_file_and_value():
    assert repr(cgroup_settings.Setting("blkio", "a b", 5)) == "a|b=5"


@pytest.mark.parametrize("most, crowded", [("12", False), ("11", True), ("max", False)])
def test_whether_there_is_room_is_asked_of_the_one_hierarchy_that_knows(tmp_path, most, crowded):
    """exec has its time measured in tenths of a millisecond. What would be read elsewhere is a directory."""
    names = ["cpu", "memory", "pids", "systemd"]
    for name in names:
        (tmp_path / name).mkdir()
        if name != "pids":
            (tmp_path / name / "pids.max").mkdir()
    (tmp_path / "pids/pids.max").write_text(most + "\n")
    (tmp_path / "pids/pids.current").write_text("10\n")
    assert execution._crowded([str(tmp_path / name) for name in names]) == crowded
