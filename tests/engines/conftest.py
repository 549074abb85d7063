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
def image_root():
    """A busybox root, to be changed by nobody."""
    support.require("busybox")
    root = support.SESSION.place("image")
    roots.make_busybox(root)
    return root


@pytest.fixture(scope="session")
def archive(image_root):
    """It as a tar archive, the form in which podman and docker take an image."""
    place = support.SESSION.place("archive") + "/busybox.tar"
    subprocess.run(["tar", "-C", image_root, "-cf", place, "."], check=True)
    return place


@pytest.fixture(scope="module")
def yard():
    made = yards.Yard()
    yield made
    made.end()
    assert not [path for path in made.directories if os.path.exists(path)]


@pytest.fixture(scope="module")
def podmans(yard, launcher, archive):
    return daemons.Podman(yard, launcher, archive)


@pytest.fixture(scope="module")
def containerd(yard, launcher, image_root):
    made = daemons.Containerd(yard, launcher, image_root)
    yield made
    made.end()


@pytest.fixture(scope="module")
def docker(yard, launcher, archive):
    support.require("iptables")
    made = daemons.Docker(yard, launcher, archive)
    yield made
    made.end()


@pytest.fixture(scope="module")
def remapped(yard, launcher, archive, ranged):
    """Docker whose containers have the ids of a user's ranges."""
    support.require("iptables")
    made = daemons.Docker(yard, launcher, archive, ranged.name)
    yield made
    made.end()


@pytest.fixture(scope="module")
def rootless_docker(yard, launcher, archive, ranged):
    made = daemons.RootlessDocker(yard, launcher, archive, ranged)
    yield made
    made.end()


@pytest.fixture(scope="module")
def buildah(yard):
    return daemons.Buildah(yard)
