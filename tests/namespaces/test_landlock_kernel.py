"""The Landlock facility on the real kernel, at each version of its ABI: what a version does not know is
masked, so that this kernel does what an older one would.

Each probe is tried without a ruleset first: then it must succeed, or its failure would prove nothing.
"""

import os
import shutil
import socket
import subprocess
import sys

import pytest
import support

from minictr import landlock

try:
    KERNEL = landlock.version()
except OSError:
    KERNEL = 0

# In a process of its own, as it is for good. argv: version or 0, directory inside, directory outside,
# port, name of an abstract socket, process id, probe
PROBE = r"""
import errno, fcntl, os, socket, sys
from minictr import landlock, libc

version, inside, outside, port, name, pid, probe = sys.argv[1:]
if int(version):
    ports = landlock.BIND | landlock.CONNECT | landlock.UDP
    rules = landlock.Ruleset(int(version), True, ports, landlock.ABSTRACT | landlock.SIGNAL, sockets=True)
    rules.allow_path(inside, landlock.READ | landlock.WRITE | landlock.EXECUTE | landlock.SOCKETS)
    rules.allow_path(outside + "/free", landlock.WRITE)
    for path in ("/usr", "/lib", "/lib64", "/dev/ptmx"):
        rules.allow_path(path, landlock.READ | landlock.EXECUTE)
    libc.prctl(38, 1)
    rules.enforce()

def write(path):
    os.close(os.open(path, os.O_WRONLY))

def connect(family, address):
    with socket.socket(family) as one:
        one.connect(address)

def bind(kind):
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))

def send():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", ("127.0.0.1", 9))

def named(directory, name="socket"):
    os.chdir(directory)  # names of sockets are short
    connect(socket.AF_UNIX, name)

def own():
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(outside + "/free")
        one.bind("own")
        one.listen(1)
        connect(socket.AF_UNIX, "own")

def ioctl():
    fcntl.ioctl(os.open("/dev/ptmx", os.O_RDONLY | os.O_NOCTTY), 0x80045430, bytes(4))  # TIOCGPTN

probes = {
    "read": lambda: open(outside + "/file").close(),
    "read by ..": lambda: open(os.path.join(inside, "..", os.path.basename(outside), "file")).close(),
    "read by a link": lambda: open(inside + "/link").close(),
    "read by /proc/self/root": lambda: open("/proc/self/root" + outside + "/file").close(),
    "list": lambda: os.listdir(outside),
    "write": lambda: write(outside + "/file"),
    "make": lambda: open(outside + "/new", "x").close(),
    "remove": lambda: os.unlink(outside + "/gone"),
    "make a directory": lambda: os.mkdir(outside + "/newdir"),
    "make a link": lambda: os.symlink("x", outside + "/newlink"),
    "make a fifo": lambda: os.mkfifo(outside + "/newfifo"),
    "execute": lambda: os.execv(outside + "/true", ["true"]),
    "link in": lambda: os.link(outside + "/file", inside + "/hard"),
    "move out": lambda: os.rename(inside + "/mine", outside + "/mine"),
    "move within": lambda: os.rename(inside + "/one/mine", inside + "/two/mine"),
    "truncate": lambda: os.truncate(outside + "/file", 1),
    "bind": lambda: bind(socket.SOCK_STREAM),
    "bind UDP": lambda: bind(socket.SOCK_DGRAM),
    "send by UDP": send,
    "connect": lambda: connect(socket.AF_INET, ("127.0.0.1", int(port))),
    "ioctl": ioctl,
    "abstract": lambda: connect(socket.AF_UNIX, "\0" + name),
    "named": lambda: named(outside),
    "named by a link": lambda: named(inside, "link-to-socket"),
    "signal": lambda: os.kill(int(pid), 0),
    "read inside": lambda: open(inside + "/mine").close(),
    "write inside": lambda: write(inside + "/mine"),
    "make inside": lambda: open(inside + "/new", "x").close(),
    "truncate inside": lambda: os.truncate(inside + "/mine", 1),
    "execute inside": lambda: os.execv(inside + "/true", ["true"]),
    "signal oneself": lambda: os.kill(os.getpid(), 0),
    "named inside": lambda: named(inside),
    "named of one's own": own,
}
try:
    probes[probe]()
except OSError as error:
    os.write(1, errno.errorcode[error.errno].encode())
    os._exit(1)
os._exit(0)
"""

# The probe, the version that denies it first (99: none), and with which errno
OUTSIDE = {
    "read": (1, "EACCES"), "read by ..": (1, "EACCES"), "read by a link": (1, "EACCES"),
    "read by /proc/self/root": (1, "EACCES"),
    "list": (1, "EACCES"), "write": (1, "EACCES"), "make": (1, "EACCES"), "remove": (1, "EACCES"),
    "make a directory": (1, "EACCES"), "make a link": (1, "EACCES"), "make a fifo": (1, "EACCES"),
    "execute": (1, "EACCES"), "link in": (1, "EXDEV"), "move out": (1, "EACCES"),
    "truncate": (3, "EACCES"), "bind": (4, "EACCES"), "connect": (4, "EACCES"), "ioctl": (5, "EACCES"),
    "abstract": (6, "EPERM"), "signal": (6, "EPERM"),
    "named": (9, "EACCES"), "named by a link": (9, "EACCES"),
    "bind UDP": (10, "EACCES"), "send by UDP": (10, "EACCES"),
}  # fmt: skip
INSIDE = (
    "read inside", "write inside", "make inside", "truncate inside", "execute inside", "signal oneself",
    "named inside", "named of one's own",
)  # fmt: skip
VERSIONS = range(1, landlock.NEWEST + 1)
each_version = pytest.mark.parametrize("version", VERSIONS)


def listen(name):
    server = socket.socket(socket.AF_UNIX)
    server.bind(name)
    server.listen(5)
    return server


@pytest.fixture
def attempt(tmp_path, request):
    """attempt(version, probe): "" or the errno by which PROBE failed under a ruleset of VERSION."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    name = "minictr-test-%d" % os.getpid()
    servers = [listener, listen("\0" + name)]

    def run(version, probe):
        if version > KERNEL:
            pytest.skip("this kernel has version %d of Landlock" % KERNEL)
        place = tmp_path / ("%d-%s" % (version, probe.replace("/", "-")))
        inside, outside = place / "inside", place / "outside"
        for directory in (inside, outside / "free", inside / "one", inside / "two"):
            directory.mkdir(parents=True)
        for path in (outside / "file", outside / "gone", inside / "mine", inside / "one" / "mine"):
            path.write_text("content")
        for directory in (inside, outside):
            shutil.copy("/bin/true", str(directory))
            opened = os.open(str(directory), os.O_RDONLY)
            servers.append(listen("/proc/self/fd/%d/socket" % opened))  # names of sockets are short
            os.close(opened)
        (inside / "link").symlink_to(outside / "file")
        (inside / "link-to-socket").symlink_to(outside / "socket")
        command = [sys.executable, "-c", PROBE, str(version), str(inside), str(outside)]
        command += [str(listener.getsockname()[1]), name, str(os.getpid()), probe]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, env={"PYTHONPATH": support.CHECKOUT}, timeout=60
        )
        said = done.stdout.decode().strip()
        assert (done.returncode == 0) == (said == ""), done
        return said

    yield run
    for server in servers:
        server.close()


@pytest.mark.parametrize("probe", sorted(OUTSIDE) + sorted(INSIDE) + ["move within"])
def test_without_a_ruleset_every_probe_succeeds(attempt, probe):
    assert attempt(0, probe) == ""


@each_version
@pytest.mark.parametrize("probe", sorted(OUTSIDE))
def test_a_version_denies_what_it_knows_and_no_more(attempt, version, probe):
    since, number = OUTSIDE[probe]

    assert attempt(version, probe) == (number if version >= since else "")


@each_version
@pytest.mark.parametrize("probe", INSIDE)
def test_what_is_allowed_stays_allowed(attempt, version, probe):
    assert attempt(version, probe) == ""


@each_version
def test_from_version_two_on_files_move_between_directories(attempt, version):
    assert attempt(version, "move within") == ("EXDEV" if version == 1 else "")
