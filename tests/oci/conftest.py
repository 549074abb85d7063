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


@pytest.fixture
def box(bundle):
    """Starts a container in the background: box(runtime, script); a script says "up" when it is."""
    made = []

    def start(runtime, script="sleep 1000 & echo up; exec sleep 1001", change=None, verb="run"):
        one = bundle()
        one.process["args"] = ["sh", "-c", script]
        if change:
            change(one)
        made.append((runtime, one))
        if verb == "run":
            live = runtime.start(one, "--detach")
            live.expect("up\n")
        else:
            one.save()
            live = runtime.start_verb(verb, "--bundle", one.path, one.identifier)
        result = live.wait()
        assert (result.status, result.err) == (0, ""), result
        return bundles.Box(runtime, one)

    yield start
    deleted = [(runtime, runtime.verb("delete", "--force", one.identifier)) for runtime, one in made]
    for runtime, result in deleted:
        assert runtime.name != "minictr" or result.ok
