"""What a program inside does to whoever manages its container from the host: it is seen, and can be ended,
whatever it does with its threads and file systems."""

import os
import signal
import time

import pytest
import support
from support import needs

PYTHON = ("/usr/bin/python3", "-IS", "-c")
pytestmark = needs("root", "userns")


@pytest.fixture
def made(minictr):
    """Makes a container in the background, of the host's own root; it is ended with the test.

    said: what it has printed
    """
    names, logs = [], []

    def said():
        with open(logs[-1]) as file:
            return file.read()

    def make(script, *options):
        names.append("hostile-%d-%d" % (os.getpid(), len(names)))
        logs.append(support.SESSION.place("hostile") + "/log")
        words = ("run", "--detach", "--overlay", "--name", names[-1], "--log-file", logs[-1]) + options
        assert minictr(*(words + ("--",) + PYTHON + (script,))).status == 0
        support.wait_until(said)  # it says so, once it is as bad as it can be
        return names[-1]

    make.said = said
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


# --- file systems ---------------------------------------------------------------------------------

# Answers until it is mounted, and what else is asked on the way; then takes each question and is silent
SILENT = """
import ctypes, os, struct, threading, time
libc = ctypes.CDLL(None, use_errno=True)
fuse, silent = os.open("/dev/fuse", os.O_RDWR), []
options = b"fd=%%d,rootmode=40000,user_id=0,group_id=0,allow_other" %% fuse
if libc.mount(b"fuse", %(place)r, b"fuse", 0, options):
    os.write(1, b"no FUSE: " + os.strerror(ctypes.get_errno()).encode())
def serve():
    while True:
        said = os.read(fuse, 1 << 17)
        _, asked, number = struct.unpack("=IIQ", said[:16])
        if asked == 26:  # FUSE_INIT
            body = struct.pack("=IIIIHHII", 7, 31, 65536, 0, 16, 16, 65536, 1).ljust(64, b"\\0")
        elif asked == 3:  # FUSE_GETATTR
            body = struct.pack("=QQ48x10I", 0, 0, 0, 0, 0, 0o40755, 2, 0, 0, 0, 4096, 0)
        else:  # FUSE_ACCESS: ENOSYS has the kernel decide by itself
            body = b""
        if silent and asked != 26:
            os.write(1, b" and asked")
        else:
            os.write(fuse, struct.pack("=IiQ", 16 + len(body), 0 if body else -38, number) + body)
threading.Thread(target=serve).start()
%(then)s
silent.append(1)
os.write(1, b"up")
time.sleep(1000)
"""
MAY_MOUNT = (
    "--userns", "host", "--cap-add", "SYS_ADMIN", "--device", "/dev/fuse",
    "--security-opt", "seccomp=unconfined",
)  # fmt: skip
PLACES = {
    "root": ({"place": b"/srv", "then": "os.chroot('/srv')"}, (), "end process"),
    "names": ({"place": b"/etc", "then": ""}, ("--user", "daemon"), ""),
}


@needs("fuse")
@pytest.mark.parametrize("name", sorted(PLACES))
def test_a_file_system_that_does_not_answer_keeps_nobody(made, minictr, name):
    """Who has asked it cannot even be killed: that was the runtime, or it waited for who could not."""
    wanted, options, said = PLACES[name]
    identifier = made(SILENT % wanted, *MAY_MOUNT)
    live = minictr.start("exec", *(options + (identifier, "/bin/true")))
    support.wait_until(lambda: "and asked" in made.said())
    began = time.monotonic()
    live.signal(signal.SIGINT)
    found = live.wait(timeout=20)
    assert found.status == 130 and said in found.err and time.monotonic() - began < 10, found
    for words in (("list",), ("state", identifier), ("ps", "--format", "json", identifier)):
        assert minictr(*words, timeout=20).ok


# Process 1 asks what its own child serves, which takes the question and does not answer
STUCK = """
import ctypes, os, struct
fuse = os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % fuse
ctypes.CDLL(None).mount(b"fuse", b"/srv", b"fuse", 0, options)
if os.fork() == 0:
    while True:
        said = os.read(fuse, 1 << 17)
        _, asked, number = struct.unpack("=IIQ", said[:16])
        if asked == 26:  # FUSE_INIT
            body = struct.pack("=IIIIHHII", 7, 31, 65536, 0, 16, 16, 65536, 1).ljust(64, b"\\0")
            os.write(fuse, struct.pack("=IiQ", 16 + len(body), 0, number) + body)
        else:
            os.write(1, b"up")
os.close(fuse)
os.stat("/srv/name")
"""


@needs("fuse")
@pytest.mark.parametrize("verb", ["kill", "stop", "delete"])
def test_a_process_1_that_waits_for_another_one_inside_is_ended_with_it(made, minictr, verb):
    """No signal ends that, so the kernel did not come to kill the others, and without a cgroup nobody did."""
    name = made(STUCK, "--cgroups", "disabled", *MAY_MOUNT)
    words = {"kill": (name, "KILL"), "stop": ("--time=0.1", name), "delete": ("--force", name)}[verb]
    assert minictr(verb, *words).ok
    support.wait_until(lambda: minictr("state", "--quiet", name).status == 1)


@needs("fuse")
@pytest.mark.parametrize("tty", [False, True])
def test_nor_does_it_outlive_its_time(minictr, tty):
    words = ("run", "--timeout", "1", "--overlay", "--cgroups", "disabled") + MAY_MOUNT + (tty * ("-t",))
    assert minictr(*(words + ("--",) + PYTHON + (STUCK,)), tty=tty, timeout=30).status == 128 + 9
