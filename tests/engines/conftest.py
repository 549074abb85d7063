"""Engines, each started by the tests in a yard of its own: see yards.py and daemons.py."""

import os
import subprocess

import daemons
import pytest
import roots
import support
import yards


@pytest.fixture(scope="session")
def launcher():
    """What `make install` gives, which is what engines call."""
    support.require("make")
    prefix = support.SESSION.place("installed")
    words = ["PREFIX=" + prefix, "DESTDIR=", "PYTHON=" + support.python()]
    command = ["make", "-s", "-C", support.CHECKOUT, "install"] + words
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return prefix + "/bin/minictr"


@pytest.fixture(scope="session")
def archive():
    """The busybox root as a tar archive, the form in which every engine takes an image."""
    support.require("busybox")
    root, place = support.SESSION.place("image"), support.SESSION.place("archive")
    roots.make_busybox(root)
    subprocess.run(["tar", "-C", root, "-cf", place + "/busybox.tar", "."], check=True)
    return place + "/busybox.tar"


@pytest.fixture(scope="module")
def yard():
    made = yards.Yard()
    yield made
    made.end()
    left = [path for path in made.directories if os.path.exists(path)]
    assert not left


@pytest.fixture(scope="module")
def podmans(yard, launcher, archive):
    return daemons.Podman(yard, launcher, archive)
