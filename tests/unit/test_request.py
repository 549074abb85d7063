"""How the worker of the library's helper hears that its caller wants no more."""

import sys

import pytest
import support
from support import needs

SCRIPT = """\
import os, signal, socket, sys, time
sys.path.insert(0, sys.argv[1])
from minictr import request
ours, theirs = socket.socketpair()
request._listen(ours.fileno(), True)
signal.signal(signal.SIGTERM, lambda *_: None)  # which ends the making, and leads to its undoing
if os.fork() == 0:
    ours.close()
    time.sleep(float(sys.argv[2]))
    os._exit(0)
theirs.close()
request._listen(ours.fileno(), False)
os.wait()
"""


@needs("strace")
@pytest.mark.parametrize("after", [0.05, 0.15, 0.25, 0.35, 0.45])
def test_a_caller_that_goes_as_its_worker_stops_listening_does_not_kill_it(minictr, after):
    """The worker would leave a detached container that nobody knows of."""
    words = ("strace", "-qq", "-e", "trace=fcntl", "-e", "inject=fcntl:delay_enter=100000", "-o", "/dev/null")
    assert minictr.command(*words, sys.executable, "-c", SCRIPT, support.CHECKOUT, str(after)) == (0, "", "")
