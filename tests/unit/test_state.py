"""The state directory of a container, where others work in the same state root."""

import os
import signal

import pytest
from support import in_child, needs

from minictr import state
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


# --- who may write there ----------------------------------------------------------------------------


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
    with pytest.raises(ContainerError, match="others may write to it"):
        state.open_root(str(tmp_path / "state"))


def test_a_root_that_is_a_link_is_refused(tmp_path):
    """In a place like /tmp anybody may make one, to a directory of ours."""
    (tmp_path / "own").mkdir(0o700)
    (tmp_path / "state").symlink_to("own")
    with pytest.raises(ContainerError, match="make the state directory"):
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


@pytest.mark.parametrize("identifier", ["", ".", "..", "a/b", "../a", "a b", "a\0b", "x" * 1025])
def test_an_id_that_is_no_plain_name_leads_nowhere(root, identifier):
    for ask in (state.create, state.find):
        with pytest.raises(ContainerError, match="ids are letters, digits"):
            ask(root[0], root[1], identifier)


# --- what has ended, what is broken -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a pipe", "a directory", "a link to a pipe", "a number"])
def test_a_state_that_is_none_is_as_good_as_missing(root, kind):
    entry = state.create(root[0], root[1], "x")
    place = os.path.join(entry.path, "state.json")
    if kind == "a directory":
        os.mkdir(place)
    elif kind == "a number":
        with open(place, "w") as file:
            file.write("1")
    else:
        os.mkfifo(place if kind == "a pipe" else entry.path + "/pipe")
    if kind == "a link to a pipe":
        os.symlink("pipe", place)
    assert entry.load() == {}
    entry.remove()
    entry.close()


def test_a_process_that_nobody_has_waited_for_has_no_start_time():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    assert state.start_time(pid) > 0
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert state.start_time(pid) == 0
    os.waitpid(pid, 0)
