"""What a program inside does to whoever manages its container from the host: it is seen, and can be ended,
whatever it does with its threads and file systems."""

import os

import pytest
import support
from support import needs

PYTHON = ("/usr/bin/python3", "-IS", "-c")
pytestmark = needs("root", "userns")


@pytest.fixture
def made(minictr):
    """Makes a container in the background, of the host's own root; it is ended with the test."""
    names = []

    def make(script, *options):
        names.append("hostile-%d-%d" % (os.getpid(), len(names)))
        log = support.SESSION.place("hostile") + "/log"
        words = ("run", "--detach", "--overlay", "--name", names[-1], "--log-file", log) + options
        assert minictr(*(words + ("--",) + PYTHON + (script,))).status == 0
        support.wait_until(lambda: os.stat(log).st_size)  # it says so, once it is as bad as it can be
        return names[-1]

    yield make
    for name in names:
        assert minictr("delete", "--force", name).ok


# --- threads --------------------------------------------------------------------------------------

WITHOUT_ITS_FIRST = """
import ctypes, os, threading, time
def go_on():
    while open("/proc/1/stat").read().split()[2] != "Z":
        time.sleep(0.01)
    os.write(1, b"up")
    time.sleep(1000)
threading.Thread(target=go_on).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_who_goes_on_without_its_first_thread_is_alive(made, minictr):
    """It was taken for one that has ended: `stop` and `delete` said that it was gone, and left it running."""
    name = made(WITHOUT_ITS_FIRST)
    assert minictr("state", "--quiet", name).status == 0
    assert minictr("ps", "--format", "json", name).ok.out.strip() != "[]"
    assert "it is running" in minictr("delete", name).err
    found = minictr("exec", name, "true")  # what it would join is gone with that thread
    assert found.status == 255 and "the first thread of its process 1 has ended" in found.err
    assert minictr("stop", "--time=0.1", name).ok
    assert minictr("state", "--quiet", name).status == 1
    assert minictr("delete", name).ok
