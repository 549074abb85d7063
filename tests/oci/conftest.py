"""Bundles for every test here, and the runtimes to run them with; see bundles.py."""

import bundles
import pytest
import support


@pytest.fixture(params=bundles.RUNTIMES)
def runtime(request, minictr):
    """minictr and its judges: what they do alike."""
    if request.param != "minictr":
        support.require(request.param)
    yield bundles.Runtime(request.param, minictr)
    if request.param != "minictr":
        bundles.remove_cgroups()


@pytest.fixture
def own(minictr):
    """minictr alone, where it has its own way."""
    return bundles.Runtime("minictr", minictr)


@pytest.fixture
def bundle(busybox_copy):
    """Makes bundles with a busybox: bundle(), bundle(config), bundle(account=ranged)."""

    def make(config=None, account=None):
        return bundles.Bundle(busybox_copy(account), config, account)

    return make
