"""`run`: what is mounted by --volume, --mount, --tmpfs, --shm-size and --device."""

import os
import subprocess

import pytest
import refusal
import support
from support import needs

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")


class Place:
    """How a mount of the container's looks from inside, by /proc/self/mountinfo.

    flags: of the mount itself; peers: its propagation; kind: of file system; words: its options
    """

    def __init__(self, text, place):
        rows = [line.split() for line in text.splitlines()]
        (row,) = [row for row in rows if row[4] == place]
        dash = row.index("-")
        self.flags = set(row[5].split(","))
        self.peers = [word.partition(":")[0] for word in row[6:dash]]
        self.kind, self.words = row[dash + 1], set(row[dash + 3].split(","))


def with_place(root):
    """ROOT with a directory v: without id-mapped mounts, since Linux 5.12, its container cannot make it."""
    os.mkdir(root + "/v")
    return root


@pytest.fixture
def show(minictr, busybox_copy, strong_caller):
    """The Place at /v for options of run."""
    root = with_place(strong_caller.owns(busybox_copy))

    def run(*options, **more):
        command = ("cat", "/proc/self/mountinfo")
        options = options + ("--rootfs", root, "--") + command
        return Place(minictr("run", *options, **dict(strong_caller.options, **more)).ok.out, "/v")

    return run


@pytest.fixture
def source(strong_caller, tmp_path):
    """A directory of the caller's, with the file `name` in it."""
    (tmp_path / "name").write_text("from outside\n")
    if strong_caller.account:
        for path in (tmp_path, tmp_path / "name"):
            os.chown(str(path), strong_caller.account.uid, strong_caller.account.gid)
    return str(tmp_path)


# --- --volume -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "on", "off"),
    [
        ("", {"rw", "nosuid", "nodev"}, {"noexec", "ro"}),
        (":rw,exec", {"rw", "nosuid", "nodev"}, {"noexec", "ro"}),
        (":ro", {"ro", "nosuid", "nodev"}, {"noexec"}),
        (":rro", {"ro"}, set()),
        (":noexec", {"rw", "noexec"}, set()),
        (":suid", {"nodev"}, {"nosuid"}),
        (":dev", {"nosuid"}, {"nodev"}),
        (":suid,dev,noexec,ro", {"ro", "noexec"}, {"nosuid", "nodev"}),
    ],
)
def test_flags_of_a_volume(show, source, options, on, off):
    lifted = {"nosuid": os.ST_NOSUID, "nodev": os.ST_NODEV}
    if [flag for flag in off if os.statvfs(source).f_flag & lifted.get(flag, 0)]:
        pytest.skip("the host's own mount has the stricter flag, which a user namespace cannot lift")
    flags = show("-v", source + ":/v" + options).flags

    assert (on - flags, off & flags) == (set(), set())


@pytest.mark.parametrize(
    ("options", "peers"),
    [
        ("", []), (":private", []), (":rprivate", []), (":shared", ["shared"]), (":rshared", ["shared"]),
        (":unbindable", ["unbindable"]), (":runbindable", ["unbindable"]),
    ],
)  # fmt: skip
def test_propagation_of_a_volume(show, source, options, peers):
    found = show("-v", source + ":/v" + options).peers
    assert [peer for peer in found if peer != "master"] == peers  # of the host's mount, where that is shared
    assert found == peers or peers == ["shared"]


def test_files_of_a_volume_are_the_callers_and_can_be_changed(minictr, strong_caller, source, busybox_root):
    if not strong_caller.account:
        support.require("idmap")
    script = "stat -c %u /v/name; cat /v/name; echo from inside >/v/new"
    run = minictr(
        "run", "--read-only", "--rootfs", busybox_root, "-v", source + ":/tmp:rw", "--", "sh", "-c",
        script.replace("/v", "/tmp"), **strong_caller.options
    )  # fmt: skip

    assert run.ok.lines == ["0", "from outside"]
    state = os.stat(source + "/new")
    assert state.st_uid == (strong_caller.account.uid if strong_caller.account else 0)


def test_a_read_only_volume_cannot_be_changed(minictr, strong_caller, source, busybox_root):
    run = minictr(
        "run", "--read-only", "--rootfs", busybox_root, "-v", source + ":/tmp:ro", "--", "sh", "-c",
        "cat /tmp/name; touch /tmp/name", **strong_caller.options
    )  # fmt: skip

    assert (run.status, run.out, run.err) == (
        1,
        "from outside\n",
        "touch: /tmp/name: Read-only file system\n",
    )


def test_a_file_can_be_a_volume(minictr, strong_caller, source, busybox_root):
    run = minictr(
        "run", "--read-only", "--rootfs", busybox_root, "-v", source + "/name:/etc/hostname", "--", "cat",
        "/etc/hostname", **strong_caller.options
    )  # fmt: skip

    assert run.ok.out == "from outside\n"


@pytest.mark.parametrize("users", ["auto", "host"])
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_volume_on_a_device_that_every_container_has_is_there_in_its_place(
    minictr, busybox_root, tmp_path, users, kind
):
    (tmp_path / "file").write_text("from outside\n")
    wanted = str(tmp_path / "file" if kind == "file" else tmp_path)
    options = ("--userns", users, "-v", wanted + ":/dev/null", "--rootfs", busybox_root)
    run = minictr("run", *options, "--", "stat", "-c", "%F", "/dev/null")

    assert run.ok.out == {"file": "regular file\n", "directory": "directory\n"}[kind]


def test_the_place_of_a_volume_is_made_where_it_is_missing(minictr, strong_caller, source, busybox_copy):
    if not strong_caller.account:
        support.require("idmap")
    root = strong_caller.owns(busybox_copy)
    volumes = ("-v", source + ":/made/for/it", "-v", source + "/name:/made/for/a/file")
    command = ("cat", "/made/for/it/name", "/made/for/a/file")
    run = minictr("run", *volumes, "--rootfs", root, "--", *command, **strong_caller.options)

    assert run.ok.out == "from outside\n" * 2
    owner = strong_caller.account.uid if strong_caller.account else 0
    made = [os.stat(root + "/made/for/" + name) for name in ("it", "a/file")]
    assert [(state.st_uid, oct(state.st_mode)) for state in made] == [(owner, "0o40755"), (owner, "0o100644")]


@needs("idmap")
def test_volumes_inside_one_another_are_mounted_from_the_outside_in(minictr, source, busybox_root):
    """In whatever order they are given."""
    outer, inner = source + "/outer", source + "/inner"
    os.makedirs(outer + "/place")
    os.mkdir(inner)
    volumes = ("-v", inner + ":/tmp/place", "-v", outer + ":/tmp")
    command = ("touch", "/tmp/place/x", "/tmp/y")
    assert minictr("run", "--read-only", *volumes, "--rootfs", busybox_root, "--", *command).ok

    assert os.listdir(inner) == ["x"]
    assert sorted(os.listdir(outer)) == ["place", "y"] and os.listdir(outer + "/place") == []


def test_there_may_be_more_volumes_than_a_message_carries_descriptors(
    minictr, strong_caller, source, busybox_root
):
    """Root's are handed in as descriptors (SCM_RIGHTS), of which the kernel takes 253 at a time."""
    volumes = [word for number in range(300) for word in ("-v", "%s:/tmp/%d" % (source, number))]
    words = ["run", "--tmpfs", "/tmp"] + volumes + ["--rootfs", busybox_root, "--", "sh", "-c"]
    script = "ls /tmp | wc -l; cat /tmp/*/name | sort | uniq -c"
    assert minictr(*words, script, **strong_caller.options).ok.fields == ["300", "300", "from", "outside"]


def test_a_relative_source_is_one_of_the_current_directory(minictr, source, busybox_root):
    options = ("--read-only", "-v", "./name:/etc/hostname", "--rootfs", busybox_root)
    run = minictr("run", *options, "--", "cat", "/etc/hostname", cwd=source)

    assert run.ok.out == "from outside\n"


@needs("root")
def test_with_the_hosts_ids_idmap_has_nothing_to_map_and_says_nothing(minictr, busybox_root, tmp_path):
    words = ("--userns", "host", "-v", "%s:/mnt:idmap" % tmp_path, "--rootfs", busybox_root)
    assert minictr("run", *words, "--", "stat", "-c", "%u", "/mnt") == (0, "0\n", "")


# --- what is mounted below a source, and later on -------------------------------------------------


def mount_below(source, *more):
    """Mount a tmpfs on SOURCE/below, in a mount namespace of the command's own."""

    def setup():
        support.part_from_mounts()
        for command in more + (["mount", "-t", "tmpfs", "below", source + "/below"],):
            subprocess.check_call(command)

    return setup


@needs("root")
def test_of_what_is_mounted_below_a_source_ro_is_the_only_option_that_holds(minictr, tmp_path, busybox_root):
    """The others, asked for or not, are for the source's own mount, as with podman and docker."""
    source = str(tmp_path)
    os.mkdir(source + "/below")
    words = ["--rootfs", busybox_root, "-v", source + ":/home:ro,nosuid,nodev,noexec"]
    words += ["--", "cat", "/proc/self/mountinfo"]
    run = minictr("run", *words, setup=mount_below(source))
    flags = {line.split()[4]: line.split()[5].split(",") for line in run.ok.lines}
    asked = {"ro", "nosuid", "nodev", "noexec"}
    assert asked <= set(flags["/home"]) and asked.intersection(flags["/home/below"]) == {"ro"}


@pytest.mark.parametrize(
    ("options", "seen"),
    [("", "rw"), (":rec", "rw"), (":bind", ""), (":norec", ""), (":ro", "ro"), (":rro", "ro")],
)
def test_what_is_mounted_below_a_source_comes_along_unless_it_is_told_not_to(
    minictr, tmp_path, busybox_copy, options, seen
):
    if not seen:
        support.require("idmap")  # without, it is cloned in the user namespace, which may uncover nothing
    source = str(tmp_path)
    os.mkdir(source + "/below")
    root = with_place(busybox_copy())
    words = ("-v", source + ":/v" + options, "--rootfs", root, "--", "cat", "/proc/self/mountinfo")
    run = minictr("run", *words, setup=mount_below(source))

    found = [line.split()[5].split(",")[0] for line in run.ok.lines if line.split()[4] == "/v/below"]
    assert found == ([seen] if seen else [])


@needs("root")
@pytest.mark.parametrize(
    "ids, refused",
    [((), []), (("--userns", "host"), []), (("--userns", "host"), ["mount_setattr=ENOSYS"])],
    ids=["", "the host's ids", "before Linux 5.12"],
)
def test_what_is_mounted_below_a_root_is_read_only_with_it(minictr, busybox_copy, ids, refused):
    """But not a volume, nor where it goes."""

    def setup():
        mount_below(root)()
        refusal.refuse(refused)

    if not ids:
        support.require("idmap")
    root = busybox_copy()
    os.mkdir(root + "/below")
    script = "touch /below/made /made; touch /new/volume && grep ' /below ' /proc/self/mountinfo"
    words = ("--read-only", "--rootfs", root, "--tmpfs", "/new", *ids, "--", "sh", "-c", script)
    run = minictr("run", *words, setup=setup)

    assert run.err.count("Read-only file system") == 2, run
    assert run.status == 0 and run.out.split()[5].split(",")[0] == "ro", run


@needs("idmap")
def test_what_below_a_source_cannot_have_other_ids_is_named(minictr, tmp_path, busybox_copy):
    source = str(tmp_path)
    os.mkdir(source + "/below")
    os.mkdir(source + "/proc")
    setup = mount_below(source, ["mount", "-t", "proc", "proc", source + "/proc"])
    run = minictr("run", "-v", source + ":/v", "--rootfs", busybox_copy(), "--", "true", setup=setup)

    why = "; proc, which is mounted below it on %s/proc, cannot be mounted with other ids" % source
    assert run.status == 0 and why in run.err and "; fix: leave out what is mounted below, " in run.err
    words = ("run", "-v", source + ":/v:bind", "--rootfs", busybox_copy(), "--", "true")
    assert minictr(*words, setup=setup).ok


@pytest.mark.parametrize(("options", "arrives"), [(":rslave", True), (":rprivate", False), ("", False)])
def test_a_later_mount_of_the_hosts_arrives_where_the_volume_is_a_slave(
    minictr, tmp_path, busybox_copy, options, arrives
):
    source = str(tmp_path)
    os.mkdir(source + "/below")
    os.mkdir(source + "/later")
    shared = mount_below(source, ["mount", "--bind", source, source], ["mount", "--make-shared", source])
    script = "echo ready; read line; grep ' /v/later ' /proc/self/mountinfo; echo over"
    live = minictr.start(
        "run",
        "-v",
        source + ":/v" + options,
        "--rootfs",
        with_place(busybox_copy()),
        "--",
        "sh",
        "-c",
        script,
        setup=shared,
    )
    live.expect("ready\n")
    enter = ["nsenter", "--mount=/proc/%d/ns/mnt" % live.pid]
    subprocess.check_call(enter + ["mount", "-t", "tmpfs", "later", source + "/later"])
    live.send("go\n")
    live.expect("over\n")

    assert ("/v/later" in live.wait().out) is arrives


@needs("root", "busybox")
@pytest.mark.parametrize("target", ["/etc", "/etc/passwd"])
def test_a_user_is_looked_up_in_the_files_that_a_volume_brings(minictr, busybox_root, tmp_path, target):
    """Where exec, which sees them, finds the same."""
    (tmp_path / "passwd").write_text("somebody:x:77:78:Some Body:/elsewhere:/bin/sh\n")
    source = tmp_path if target == "/etc" else tmp_path / "passwd"
    words = ["run", "--rootfs", busybox_root, "-v", "%s:%s:ro" % (source, target), "--user", "somebody"]
    found = minictr(*(words + ["--", "sh", "-c", "echo $(id -u) $(id -g) $HOME"])).ok
    assert found.out == "77 78 /elsewhere\n"
