"""The fixtures. Each test has a Runner as `minictr`; support.py says what it can do."""

import os

import accounts
import canaries
import hypothesis
import leftovers
import pytest
import roots
import support

# A deadline would judge the machine; on CI the same examples each time
hypothesis.settings.register_profile("minictr", deadline=None, database=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("minictr")


def pytest_configure(config):
    if hasattr(config, "workerinput") or support.SESSION.directory:
        return
    leftovers.adopt()
    leftovers.remove_stale_sessions()
    support.SESSION.start()
    if not config.option.basetemp:
        config.option.basetemp = os.path.join(support.SESSION.directory, "tmp")


def pytest_unconfigure(config):
    if support.SESSION.directory:
        left = leftovers.remove_session(support.SESSION.directory)
        if left:
            raise RuntimeError("still mounted: " + ", ".join(left))


def pytest_runtest_setup(item):
    for marker in item.iter_markers("needs"):
        support.require(*marker.args)


def pytest_itemcollected(item):
    for marker in item.iter_markers("needs"):
        unknown = [name for name in marker.args if name not in support.NEEDS]
        if unknown:
            raise pytest.UsageError("%s needs %s, which is no name in NEEDS" % (item.nodeid, unknown))


def pytest_assertrepr_compare(op, left, right):
    """Show all that a command said, where pytest would shorten it."""
    if isinstance(left, support.Result) and op == "==":
        return ["not %r" % (right,)] + repr(left).splitlines()
    return None


def pytest_sessionstart(session):
    session.config.before = leftovers.Snapshot()


@pytest.hookimpl(hookwrapper=True, trylast=True)
def pytest_sessionfinish(session):
    """When every fixture is torn down: the machine is as it was, or the suite has failed."""
    yield
    left = session.config.before.new()
    leftovers.clear(left)
    if left:
        report = pytest.TestReport(
            "the suite", ("tests/conftest.py", None, "the suite"), {}, "failed",
            "the suite has left behind:\n  " + "\n  ".join(left), "teardown",
        )  # fmt: skip
        session.config.hook.pytest_runtest_logreport(report=report)
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def _reachable(tmp_path_factory):
    tmp_path_factory.getbasetemp().chmod(0o755)


@pytest.fixture(autouse=True)
def _nothing_left_by_the_test(request):
    if not {"minictr", "debian_root", "busybox_root"} & set(request.fixturenames):
        yield
        return
    parts = (leftovers.processes, leftovers.mounts, leftovers.cgroups, leftovers.devices)
    before = leftovers.Snapshot(parts)
    yield
    left = before.new()
    leftovers.clear(left)
    if left:
        pytest.fail("the test has left behind:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture
def tmp_path(tmp_path):
    """pytest's own, but reachable for the users of `ranged` and `unranged`."""
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def minictr():
    """Runs minictr and other commands: see support.Runner."""
    runner = support.Runner()
    yield runner
    left = runner.finish()
    if left:
        pytest.fail("containers that were not deleted:\n  " + "\n  ".join(left), pytrace=False)


# --- users ------------------------------------------------------------------------------------


def _account(letter, ranges):
    support.require("root", "useradd")
    accounts.remove_stale()
    account = accounts.create(letter, ranges)
    leftovers.USERS.add(account.uid)
    if ranges:
        leftovers.USERS.update(range(account.start, account.start + accounts.SIZE))
    yield account
    accounts.remove(account)


@pytest.fixture(scope="session")
def ranged():
    """A user with 65536 subordinate uids and gids."""
    yield from _account("r", True)


@pytest.fixture(scope="session")
def unranged():
    """A user without any."""
    yield from _account("n", False)


# --- root file systems ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def busybox_root():
    """A root with a static busybox. Not to be written to: see busybox_copy."""
    support.require("busybox")
    root = support.SESSION.place("busybox")
    roots.make_busybox(root)
    return root


@pytest.fixture
def busybox_copy(busybox_root):
    """Makes copies to write to: busybox_copy() or busybox_copy(account)."""
    return _copier(busybox_root)


@pytest.fixture(scope="session")
def debian_root():
    """A root with Debian and procps. Not to be written to: see debian_copy."""
    support.require("root", "mmdebstrap")
    try:
        root = roots.debian()
    except RuntimeError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    assert roots.reachable(root)
    return root


@pytest.fixture
def debian_copy(debian_root):
    """Makes copies to write to, in seconds: debian_copy() or debian_copy(account)."""
    return _copier(debian_root)


def _copier(root):
    def make(account=None):
        target = support.SESSION.place("root")
        return roots.copy(root, target, account)

    return make


@pytest.fixture
def canary(tmp_path):
    """A directory of the host's that must stay as it is."""
    os.mkdir(str(tmp_path / "canary"))
    (tmp_path / "canary/file").write_text("of the host\n")
    return canaries.Canary(str(tmp_path / "canary"))
