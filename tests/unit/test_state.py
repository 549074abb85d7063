"""The state directory of a container, where others work in the same state root."""

import errno
import os
import resource
import signal

import pytest
import support
from support import in_child, needs, wait_until

from minictr import libc, lifetime, living, state
from minictr.errors import ContainerError


@pytest.fixture
def root(tmp_path):
    descriptor = state.open_root(str(tmp_path / "state"))
    yield str(tmp_path / "state"), descriptor
    os.close(descriptor)


@pytest.mark.parametrize("when", ["before it is opened", "before it is locked"])
def test_a_directory_that_is_cleared_away_until_it_is_locked_is_made_again(root, monkeypatch, when):
    """Who sweeps takes it for that of a runtime that was killed."""
    place, descriptor = root
    opening, swept = state._open, []

    def open_late(directory, identifier):
        opened = opening(directory, identifier) if when == "before it is locked" else -1
        if not swept:
            swept.append(identifier)
            os.rmdir(identifier, dir_fd=directory)
        return opened if opened >= 0 else opening(directory, identifier)

    monkeypatch.setattr(state, "_open", open_late)
    entry = state.create(place, descriptor, "x")
    assert swept == ["x"]
    assert os.path.samestat(os.fstat(entry.descriptor), os.stat(place + "/x"))
    assert state.is_foreground(entry)
    entry.remove()
    entry.close()


def test_an_id_that_is_taken_is_refused(root):
    entry = state.create(root[0], root[1], "x")
    with pytest.raises(ContainerError, match="container with id exists"):
        state.create(root[0], root[1], "x")
    entry.remove()
    entry.close()


def test_what_cannot_be_locked_is_not_left_there(root, monkeypatch):
    def refuse(directory, identifier):
        raise OSError(errno.EMFILE, "no descriptor is left")

    monkeypatch.setattr(state, "_open", refuse)
    with pytest.raises(ContainerError, match="lock container x: Too many open files"):
        state.create(root[0], root[1], "x")
    assert os.listdir(root[0]) == []


# --- who may write there ----------------------------------------------------------------------------


def test_what_somebody_has_put_into_a_directory_goes_with_it(root, tmp_path):
    """Directories in directories, more than there may be descriptors; a link leads to nothing that goes."""
    place, descriptor = root
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept").write_text("")
    entry = state.create(place, descriptor, "one")
    entry.save({"status": "stopped"})
    os.makedirs(place + "/one/removed.0/removed.0")
    os.symlink(str(tmp_path / "elsewhere"), place + "/one/link")
    os.symlink(str(tmp_path / "elsewhere"), place + "/one/removed.0/removed.0/link")
    os.mkfifo(place + "/one/removed.0/fifo")
    deep = os.open(place + "/one/removed.0", os.O_RDONLY)
    for _ in range(1500):  # and deeper than a name may be long, or functions may call each other
        os.mkdir("in", dir_fd=deep)
        below = os.open("in", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, most[1]))
    try:
        entry.remove()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    entry.close()
    assert os.listdir(place) == []
    assert os.listdir(str(tmp_path / "elsewhere")) == ["kept"]


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_root_that_others_may_write_to_is_refused(tmp_path, mode):
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(mode)
    with pytest.raises(ContainerError, match="others may write to it"):
        state.open_root(str(tmp_path / "state"))


@needs("root")
def test_a_root_of_somebody_elses_is_refused(tmp_path):
    (tmp_path / "state").mkdir(0o700)
    os.chown(str(tmp_path / "state"), 12345, 12345)
    with pytest.raises(ContainerError, match="it belongs to user 12345; hint: call it as that user"):
        state.open_root(str(tmp_path / "state"))


def test_a_root_that_is_a_link_is_refused(tmp_path):
    """In a place like /tmp anybody may make one, to a directory of ours."""
    (tmp_path / "own").mkdir(0o700)
    (tmp_path / "state").symlink_to("own")
    with pytest.raises(ContainerError, match="use the state directory .*: Not a directory"):
        state.open_root(str(tmp_path / "state"))


@needs("root")
@pytest.mark.parametrize("own", [True, False], ids=["its own", "root's"])
def test_the_directory_that_the_environment_names_must_be_the_users_own(tmp_path, own):
    tmp_path.chmod(0o1777)
    if own:
        os.chown(str(tmp_path), 12345, 12345)

    def as_user():
        os.setresuid(12345, 12345, 12345)
        os.environ["XDG_RUNTIME_DIR"] = str(tmp_path)
        return state.default_root()

    assert in_child(as_user) == (str(tmp_path) + "/minictr" if own else "/tmp/minictr-12345")


@needs("root")
@pytest.mark.parametrize("said", ["", None], ids=["empty", "unset"])
def test_a_directory_that_the_environment_names_as_nothing_is_the_usual_one(said):
    """As podman calls runtimes, with XDG_RUNTIME_DIR="". The /run is one of the test's own."""

    def as_user():
        support.part_from_mounts()
        libc.mount("none", "/run", "tmpfs", 0)
        os.makedirs("/run/user/12345")
        os.chown("/run/user/12345", 12345, 12345)
        os.setresuid(12345, 12345, 12345)
        os.environ.pop("XDG_RUNTIME_DIR", None)
        if said is not None:
            os.environ["XDG_RUNTIME_DIR"] = said
        return state.default_root()

    assert in_child(as_user) == "/run/user/12345/minictr"


@needs("root")
def test_where_the_environment_names_a_file_another_place_is_taken(tmp_path):
    (tmp_path / "file").touch()
    os.chown(str(tmp_path / "file"), 12345, 12345)

    def with_a_file():
        os.setresuid(12345, 12345, 12345)
        os.environ["XDG_RUNTIME_DIR"] = str(tmp_path / "file")
        return state.default_root()

    assert in_child(with_a_file) == "/tmp/minictr-12345"


@needs("root", "unshare")
def test_root_of_each_users_namespace_has_a_place_of_its_own():
    """Not /tmp/minictr-0, which would be that of who came first."""
    code = "from minictr import state; print(state.default_root())"
    words = ["unshare", "-U", "-r", support.python(), "-c", code]
    env = {"PYTHONPATH": support.checkout()}
    for user in (12345, 12346):
        found = support.Runner().command("setpriv", "--reuid", str(user), "--clear-groups", *words, env=env)
        assert found.ok.out == "/tmp/minictr-%d\n" % user


@needs("root")
@pytest.mark.parametrize(
    "there, found",
    [
        ({}, "a"), ({"a": 54321}, "b"), ({"a": 54321, "b": 54321}, "c"), ({"b": 12345}, "b"),
        ({"a": 54321, "c": 12345}, "c"), ({"a": 12345, "b": 12345}, "a"),
        ({"a": 54321, "b": 54321, "c": 0}, "a"),  # which says whose it is
    ],
    ids=str,
)  # fmt: skip
def test_who_is_the_first_in_a_place_of_everybodys_keeps_no_other_user_from_theirs(tmp_path, there, found):
    places = [tmp_path / name for name in "abc"]
    tmp_path.chmod(0o755)
    for place in places:
        place.mkdir()
        place.chmod(0o1777)
    for name, owner in there.items():
        (tmp_path / name / "minictr-12345").mkdir(0o700)
        os.chown(str(tmp_path / name / "minictr-12345"), owner, owner)

    def as_user():
        os.setresuid(12345, 12345, 12345)
        os.environ["XDG_RUNTIME_DIR"] = "/no/where"
        state._PLACES = tuple(map(str, places))
        return state.default_root()

    assert in_child(as_user) == str(tmp_path / found / "minictr-12345")


@pytest.mark.parametrize("name", ["state.tmp", "config.tmp", "start.fifo"])
def test_nothing_is_written_through_a_link(root, tmp_path, name):
    (tmp_path / "else").write_text("else")
    entry = state.create(root[0], root[1], "x")
    os.symlink(str(tmp_path / "else"), os.path.join(entry.path, name))
    writes = {
        "state.tmp": lambda: entry.save({"pid": 1}),
        "config.tmp": lambda: entry.save_config({"process": {}}),
        "start.fifo": lambda: os.write(entry._open_go(), b"go"),
    }
    with pytest.raises((OSError, ContainerError), match="Too many levels of symbolic links"):
        writes[name]()
    assert (tmp_path / "else").read_text() == "else"
    entry.remove()
    entry.close()


@pytest.mark.parametrize("identifier", ["", ".", "..", "a/b", "../a", "a b", "a\0b", "x" * 1025])
def test_an_id_that_is_no_plain_name_leads_nowhere(root, identifier):
    for ask in (state.create, state.find):
        with pytest.raises(ContainerError, match="ids are letters, digits"):
            ask(root[0], root[1], identifier)


# --- what has ended, what is broken -----------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["a pipe", "a directory", "a link to a pipe", "a link to itself", "a number"]
)
def test_a_state_that_is_none_is_as_good_as_missing(root, kind):
    entry = state.create(root[0], root[1], "x")
    place = os.path.join(entry.path, "state.json")
    if kind == "a directory":
        os.mkdir(place)
    elif kind == "a number":
        with open(place, "w") as file:
            file.write("1")
    elif kind != "a link to itself":
        os.mkfifo(place if kind == "a pipe" else entry.path + "/pipe")
    if kind.startswith("a link"):
        os.symlink("pipe" if kind == "a link to a pipe" else "state.json", place)
    assert entry.load() == {}
    entry.remove()
    entry.close()


def test_what_a_killed_runtime_has_written_in_part_is_no_part_of_the_next(root):
    entry = state.create(root[0], root[1], "x")
    entry.write({"pid": 1, "annotations": {"long": "x" * 1000}})  # and it was not published
    with open(os.path.join(entry.path, "config.tmp"), "w") as file:
        file.write("x" * 1000)
    entry.save({"pid": 2})
    entry.save_config({"root": {"path": "x"}, "process": {"args": ["true"]}})
    assert entry.load() == {"pid": 2}
    assert entry.load_config()["process"] == {"args": ["true"]}
    entry.remove()
    entry.close()


def test_what_is_no_directory_is_no_container(root):
    os.symlink("x", root[0] + "/link")
    os.mkdir(root[0] + "/x", 0o700)
    with open(root[0] + "/file", "w"):
        pass
    assert state.find(root[0], root[1], "link") is None
    assert state.find(root[0], root[1], "file") is None
    assert state.find(root[0], root[1], "y") is None


def test_what_else_lies_in_a_root_is_no_container(root):
    for name in ("x", ".hidden y", "z\u00e9"):
        os.mkdir(os.path.join(root[0], name))
    assert state.identifiers(root[1]) == ["x"]


def test_a_root_below_a_file_has_no_containers(tmp_path):
    (tmp_path / "file").touch()
    assert state.open_existing(str(tmp_path / "file" / "state")) is None


def test_one_that_is_removed_while_its_lock_is_waited_for_is_gone(root):
    entry = state.create(root[0], root[1], "x")
    entry.save({"status": "running"})
    entry.leave(False)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(entry.descriptor)  # its lock is that of the open file
        os.write(writer, b"." if state.find(root[0], root[1], "x") is None else b"found")
        os._exit(0)
    wait_until(lambda: _sleeps(pid))
    entry.remove()
    entry.close()
    assert os.read(reader, 9) == b"."
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)


def test_who_works_on_a_container_for_ever_is_not_waited_for_so_long(root):
    entry = state.create(root[0], root[1], "x")
    other = state.find(root[0], root[1], "x", wait=False)
    with pytest.raises(ContainerError, match="delete container x: another command works on it"):
        living.seize(other, "delete container x", False, patience=0.02)
    entry.close()
    assert living.seize(other, "delete container x", False, patience=0.02)
    other.remove()
    other.close()


def _sleeps(pid):
    with open("/proc/%d/stat" % pid) as file:
        return file.read().rpartition(")")[2].split()[0] == "S"


def test_a_process_that_nobody_has_waited_for_has_no_start_time():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    assert lifetime.start_time(pid) > 0
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert lifetime.start_time(pid) == 0
    os.waitpid(pid, 0)
    assert not living.alive({"pid": pid, "start_time": 0})  # it had ended when that was noted down
