"""The state directory of a container, where others work in the same state root."""

import os

import pytest

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
