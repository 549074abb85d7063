"""Who starts the containers of these tests, and what of the host must stay as it is."""

import os

import callers
import canaries
import pytest
import scripts


@pytest.fixture(params=callers.NAMES)
def caller(request):
    """root, a user with subordinate ids, one without, and one on a host without newuidmap."""
    return callers.make(request, request.param)


@pytest.fixture(params=("root", "ranged"))
def strong_caller(request):
    """Those whose containers have a range of ids."""
    return callers.make(request, request.param)


@pytest.fixture
def canary(tmp_path):
    os.mkdir(str(tmp_path / "canary"))
    (tmp_path / "canary/file").write_text("of the host\n")
    return canaries.Canary(str(tmp_path / "canary"))


@pytest.fixture
def library(minictr, busybox_root, tmp_path):
    """Runs programs that use the library: see scripts.runner."""
    return scripts.runner(minictr, busybox_root, tmp_path)
