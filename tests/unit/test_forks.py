import os
import subprocess
import sys

import pytest
import refusal
from support import CHECKOUT, in_child, needs

from minictr import abi, forks


def test_clone_without_flags_is_fork():
    pid = forks.clone(0)
    if pid == 0:
        os._exit(42 if os.getppid() != os.getpid() else 1)
    assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 42


@needs("userns")
def test_clone_puts_the_child_into_new_namespaces_at_once():
    incoming, outgoing = os.pipe()
    pid = forks.clone(abi.CLONE_NEWUSER | abi.CLONE_NEWPID | abi.CLONE_NEWUTS)
    if pid == 0:
        names = [os.readlink("/proc/self/ns/" + kind) for kind in ("user", "uts", "net")]
        os.write(outgoing, " ".join([str(os.getpid())] + names).encode())
        os._exit(0)
    os.close(outgoing)
    with os.fdopen(incoming) as pipe:
        said = pipe.read().split()
    os.waitpid(pid, 0)
    own = [os.readlink("/proc/self/ns/" + kind) for kind in ("user", "uts", "net")]
    assert said[0] == "1"
    assert said[1] != own[0]
    assert said[2] != own[1]
    assert said[3] == own[2]


@needs("seccomp")
@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_clone_falls_back_where_clone3_is_refused(error):
    def child():
        refusal.refuse(["clone3=" + error])
        pid = forks.clone(0)
        if pid == 0:
            os._exit(42)
        return os.WEXITSTATUS(os.waitpid(pid, 0)[1])

    assert in_child(child) == "42"


@needs("userns")
def test_a_signal_to_all_of_us_does_not_have_who_lives_for_its_ids_undo_what_the_runtime_made():
    script = """if True:
        import os, signal, sys
        from minictr import maps, paths, trees
        def interrupt(*_):
            raise KeyboardInterrupt
        def write(proc, pid, table, degrade):  # when the runtime would write its maps
            while " S " not in open("/proc/%d/stat" % pid).read():
                pass  # until it waits
            os.kill(pid, signal.SIGINT)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        signal.signal(signal.SIGINT, interrupt)
        maps.write = write
        try:
            trees._userns_of(paths.open_proc(), (((0, 0, 1),),) * 2)
        except (KeyboardInterrupt, OSError):
            os.write(1, b"undone ")
    """
    found = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, stdout=-1, check=True, timeout=30)
    assert found.stdout == b""


# --- on a processor of its own ------------------------------------------------------------------

YOUNG = """
import sys
sys.path.insert(0, %r)
from minictr import forks, libc
from posix import _exit, waitpid
here = libc.getcpu()
pid = forks.clone(0, apart=True)
if pid == 0:
    _exit(libc.getcpu() == here)
for _ in range(100000):
    pass  # it has work to do, too
_exit(waitpid(pid, 0)[1] >> 8)
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor is all there is")
def test_the_child_of_a_young_process_does_not_wait_for_its_processor():
    command = [sys.executable, "-IS", "-c", YOUNG % CHECKOUT]
    together = [subprocess.run(command, timeout=60).returncode for _ in range(12)]
    assert set(together) <= {0, 1}
    assert together.count(0) >= 8, together  # whatever else runs here may move one or the other


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_child_may_run_where_its_parent_may(count):
    processors = sorted(os.sched_getaffinity(0))[:count]
    if len(processors) < count:
        pytest.skip("there are only %d processors" % len(processors))

    def body():
        os.sched_setaffinity(0, processors)
        reader, writer = os.pipe()
        pid = forks.clone(0, apart=True)
        if pid == 0:
            os.read(reader, 1)
            os._exit(sorted(os.sched_getaffinity(0)) != processors)
        there = sorted(os.sched_getaffinity(pid))
        os.write(writer, b"x")
        assert os.waitpid(pid, 0)[1] == 0
        return there == processors == sorted(os.sched_getaffinity(0))

    assert in_child(body) == "True"
