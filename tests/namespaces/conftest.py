"""Who starts the containers of these tests."""

import callers
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
def library(minictr, busybox_root, tmp_path):
    """Runs programs that use the library: see scripts.runner."""
    return scripts.runner(minictr, busybox_root, tmp_path)
