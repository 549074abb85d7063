"""What tests ask of the machine, and how they run commands on it.

`needs("root", "cgroup2")` marks a test (or a class, or as pytestmark a module) with what it cannot
do without; what can be asked for are the names of NEEDS. The `minictr` fixture is a Runner.
"""

import ctypes.util
import errno
import fcntl
import glob
import os
import pwd
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
import traceback

import pytest
import refusal
import roots

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MARK = "MINICTR_TEST_SESSION"  # in the environment of all that the suite starts
TIMEOUT = 60  # seconds, for a command that says nothing else

needs = pytest.mark.needs


# --- this run of the suite --------------------------------------------------------------------


class Session:
    """One run of the suite: `directory` is its own, 0755, and is removed at the end.

    adopter: the process that orphans of this run fall to (see leftovers.adopt)
    """

    prefix = os.path.join(tempfile.gettempdir(), "minictr-tests-")
    directory = ""
    adopter = 0

    def start(self) -> None:
        self.adopter = os.getppid()
        self.directory = tempfile.mkdtemp(prefix="%s%d-" % (self.prefix, self.adopter))
        os.chmod(self.directory, 0o755)

    def place(self, name: str, mode: int = 0o755, owner: "tuple[int, int]" = (-1, -1)) -> str:
        """A new, empty directory, reachable for everybody; NAME is the start of its name."""
        path = tempfile.mkdtemp(prefix=name + "-", dir=self.directory)
        os.chown(path, *owner)
        os.chmod(path, mode)
        return path


SESSION = Session()


_made = {}  # type: dict[str, str]


def _once(name: str, make) -> str:
    if name not in _made:
        _made[name] = make()
    return _made[name]


def checkout() -> str:
    """A directory with the package `minictr` that every user can read: this checkout, else a copy."""
    if roots.reachable(os.path.join(CHECKOUT, "minictr", "__init__.py")):
        return CHECKOUT

    def copy() -> str:
        place = SESSION.place("checkout")
        package = os.path.join(place, "minictr")
        shutil.copytree(os.path.join(CHECKOUT, "minictr"), package)
        subprocess.run(["chmod", "-R", "u+rwX,go=rX", package], check=True)
        return place

    return _once("checkout", copy)


# Of a Python's library, what minictr has no need of
UNUSED = shutil.ignore_patterns("site-packages", "test", "tests", "idlelib", "config-*", "*.a")


def python() -> str:
    """The Python of this suite, as a path that every user can run; a copy of it where needed."""
    if roots.reachable(sys.executable):
        return sys.executable
    base = os.path.realpath(sys.executable)
    if roots.reachable(base):
        return base

    def copy() -> str:
        place = SESSION.place("python")
        version, library = "python%d.%d" % sys.version_info[:2], os.path.dirname(os.__file__)
        shutil.copytree(library, os.path.join(place, "lib", version), symlinks=True, ignore=UNUSED)
        os.mkdir(os.path.join(place, "bin"))
        for shared in glob.glob(os.path.join(sys.base_prefix, "lib", "libpython*.so*")):
            shutil.copy2(shared, os.path.join(place, "lib"))
        with open(base, "rb") as file:
            program = file.read()
        # the program finds its library by an absolute path, of which only the start of a string is used
        old = os.fsencode(os.path.join(sys.base_prefix, "lib")) + b"\0"
        program = program.replace(b"\0" + old, b"\0" + b"$ORIGIN/../lib".ljust(len(old), b"\0"))
        copied = os.path.join(place, "bin", version)
        with open(copied, "wb") as file:
            file.write(program)
        subprocess.run(["chmod", "-R", "u+rwX,go=rX", place], check=True)
        os.chmod(copied, 0o755)
        return copied

    return _once("python", copy)


# --- what the machine has ---------------------------------------------------------------------


def _fails(*command: str) -> str:
    """Why COMMAND fails, or ""."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        return "%s: %s" % (command[0], error.strerror)
    return done.stderr.decode(errors="replace").strip() or "it fails" if done.returncode else ""


def _probe(body) -> str:
    """Why BODY fails in a process of its own, or ""."""
    incoming, outgoing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            body()
        except BaseException as error:
            os.write(outgoing, str(error).encode() or b"it fails")
        os._exit(0)
    os.close(outgoing)
    with os.fdopen(incoming, "rb") as pipe:
        why = pipe.read().decode(errors="replace")
    os.waitpid(pid, 0)
    return why


def _unshare(flag: str):
    return lambda: refusal._check(refusal._libc.unshare(refusal.FLAGS[flag]), "unshare " + flag)


def _program(name: str):
    return lambda: "" if shutil.which(name, path=PATH) else "there is no " + name


def _root() -> str:
    return "" if os.geteuid() == 0 and refusal.holds(refusal.CAP_SYS_ADMIN) else "needs root"


def _rootless() -> str:
    """Whether a user without privileges gets a user namespace in which they have some."""
    if os.geteuid() == 0:
        return _fails(
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-Urm", "true"
        )
    return _fails("unshare", "-Urm", "true")


def cgroup_mounts() -> "list[tuple[str, str]]":
    """(file system type, mount point) of every cgroup hierarchy."""
    with open("/proc/self/mountinfo") as lines:
        rows = [line.rstrip("\n").partition(" - ") for line in lines]
    return [
        (right.split()[0], left.split()[4])
        for left, _, right in rows
        if right.split()[0] in ("cgroup", "cgroup2")
    ]


def _cgroup(*kinds: str):
    def probe() -> str:
        for kind, point in cgroup_mounts():
            if kind in kinds and os.access(point, os.W_OK) and os.access(point + "/cgroup.procs", os.W_OK):
                return ""
        return "no writable hierarchy of " + " or ".join(kinds)

    return probe


def _cgroup2_controllers() -> str:
    for kind, point in cgroup_mounts():
        if kind == "cgroup2":
            with open(point + "/cgroup.controllers") as file:
                if {"cpu", "memory", "pids"} <= set(file.read().split()):
                    return ""
    return "cgroup2 has no cpu, memory and pids controllers here"


def _filesystem(name: str):
    def probe() -> str:
        with open("/proc/filesystems") as file:
            return "" if name in file.read().split() else "the kernel has no " + name

    return probe


def _kernel(major: int, minor: int):
    def probe() -> str:
        have = [int(number) for number in re.findall(r"\d+", os.uname().release)[:2]]
        return "" if have >= [major, minor] else "needs Linux %d.%d" % (major, minor)

    return probe


def exit_told() -> bool:
    """Whether the kernel tells an exit status to whoever holds a pidfd, child or not."""
    return not _kernel(6, 15)()


def _systemd() -> str:
    """Whether it is process 1, and can be asked: of the system by root, else of the user's session."""
    if not os.path.isdir("/run/systemd/system"):
        return "systemd is not process 1"
    words = ["systemctl", "show", "--property=Version"] + (["--user"] if os.geteuid() else [])
    return _fails(*words)


def _landlock() -> str:
    number = refusal.SYSCALLS.get(os.uname().machine, {}).get("landlock_create_ruleset", 444)
    version = ctypes.CDLL(None, use_errno=True).syscall(number, None, 0, 1)
    return "" if version >= 6 else "needs Landlock 6 (Linux 6.12); this is %d" % version


def _library(name: str):
    return lambda: "" if ctypes.util.find_library(name) else "there is no lib%s" % name


def _root_is_a_mount() -> str:
    """Only of a mount point can be said that its mounts spread no further."""
    with open("/proc/self/mountinfo") as file:
        if any(line.split()[4] == "/" for line in file):
            return ""
    return "we are in a chroot whose root is no mount point; mount --bind DIR DIR before would make it one"


def _initramfs() -> str:
    """A root that is on nothing: pivot_root(2) has no place for it."""
    with open("/proc/self/mountinfo") as file:
        rows = [line.split() for line in file]
    roots_of_it = [row for row in rows if row[4] == "/"]
    if roots_of_it and all(own == parent for own, parent, *_ in roots_of_it):
        return ""
    return "the root of this machine is not its initramfs: make test-vm KINDS=initramfs"


def _kernel_headers(triplet: str):
    """triplet: of another architecture, as Debian names it in paths"""
    place = os.path.join("/usr", triplet, "include/linux/version.h")
    return lambda: "" if os.path.exists(place) else "there is no " + place


def _apparmor() -> str:
    try:
        with open("/sys/module/apparmor/parameters/enabled") as file:
            return "" if file.read().strip() == "Y" else "AppArmor is switched off"
    except FileNotFoundError:
        return "the kernel has no AppArmor"


def _selinux() -> str:
    """A kernel that the tests may load a policy into: one that has none, or theirs already."""
    with open("/proc/filesystems") as file:
        if "selinuxfs" not in file.read().split():
            return "the kernel has no SELinux, or it is switched off"
    with open("/proc/self/attr/current") as file:
        own = file.read().strip("\0\n ")
    return "" if own in ("kernel", "system_u:system_r:host_t:s0") else "SELinux has another policy: " + own


def _debian() -> str:
    return "" if os.path.exists("/etc/debian_version") else "needs Debian"


# name: (a function that returns why it is not there, the Debian package that would bring it)
NEEDS = {
    "root": (_root, ""),
    "userns": (lambda: _probe(_unshare("CLONE_NEWUSER")), ""),
    "rootless": (_rootless, ""),
    "root-mount": (_root_is_a_mount, ""),
    "initramfs": (_initramfs, ""),
    "timens": (lambda: _probe(_unshare("CLONE_NEWTIME")), ""),
    "cgroup": (_cgroup("cgroup", "cgroup2"), ""),
    "cgroup1": (_cgroup("cgroup"), ""),
    "cgroup2": (_cgroup("cgroup2"), ""),
    "cgroup2-alone": (
        lambda: "" if [kind for kind, _ in cgroup_mounts()] == ["cgroup2"] else "cgroup2 is not the only one",
        "",
    ),
    "cgroup2-controllers": (_cgroup2_controllers, ""),
    "overlay": (_filesystem("overlay"), ""),
    "userns-overlay": (_kernel(5, 11), ""),
    "fuse": (lambda: "" if os.access("/dev/fuse", os.R_OK | os.W_OK) else "there is no /dev/fuse", ""),
    "seccomp": (lambda: _probe(lambda: refusal.refuse(["fsmount"])), ""),
    "apparmor": (_apparmor, ""),
    "apparmor_parser": (_program("apparmor_parser"), "apparmor"),
    "selinux": (_selinux, ""),
    "secilc": (_program("secilc"), "secilc"),
    "openat2": (_kernel(5, 6), ""),
    "landlock": (_landlock, ""),
    "mount-api": (_kernel(5, 2), ""),
    "pidfd": (_kernel(5, 3), ""),
    "idmap": (_kernel(5, 12), ""),
    "debian": (_debian, ""),
    "busybox": (lambda: "" if roots.static_busybox() else "there is no static busybox", "busybox-static"),
    "newuidmap": (_program("newuidmap"), "uidmap"),
    "useradd": (_program("useradd"), "passwd"),
    "setpriv": (_program("setpriv"), "util-linux"),
    "unshare": (_program("unshare"), "util-linux"),
    "mmdebstrap": (_program("mmdebstrap"), "mmdebstrap"),
    "runc": (_program("runc"), "runc"),
    "crun": (_program("crun"), "crun"),
    "podman": (_program("podman"), "podman"),
    "pypy3": (_program("pypy3"), "pypy3"),
    "containerd": (_program("ctr"), "containerd"),
    "docker": (_program("dockerd"), "docker.io"),
    "rootlesskit": (_program("rootlesskit"), "rootlesskit"),
    "buildah": (_program("buildah"), "buildah"),
    "iptables": (_program("iptables"), "iptables"),
    "bwrap": (_program("bwrap"), "bubblewrap"),
    "strace": (_program("strace"), "strace"),
    "ip": (_program("ip"), "iproute2"),
    "readelf": (_program("readelf"), "binutils"),
    "as-x86_64": (_program("x86_64-linux-gnu-as"), "binutils-x86-64-linux-gnu"),
    "as-aarch64": (_program("aarch64-linux-gnu-as"), "binutils-aarch64-linux-gnu"),
    "setcap": (_program("setcap"), "libcap2-bin"),
    "ps": (_program("ps"), "procps"),
    "libseccomp": (_library("seccomp"), "libseccomp2"),
    "kernel-headers": (_kernel_headers(""), "linux-libc-dev"),
    "headers-aarch64": (_kernel_headers("aarch64-linux-gnu"), "linux-libc-dev-arm64-cross"),
    "headers-arm": (_kernel_headers("arm-linux-gnueabihf"), "linux-libc-dev-armhf-cross"),
    "headers-ppc64le": (_kernel_headers("powerpc64le-linux-gnu"), "linux-libc-dev-ppc64el-cross"),
    "headers-riscv64": (_kernel_headers("riscv64-linux-gnu"), "linux-libc-dev-riscv64-cross"),
    "headers-s390x": (_kernel_headers("s390x-linux-gnu"), "linux-libc-dev-s390x-cross"),
    "cpp": (_program("cpp"), "cpp"),
    "make": (_program("make"), "make"),
    "dbus-daemon": (_program("dbus-daemon"), "dbus-daemon"),
    "dbus-send": (_program("dbus-send"), "dbus-bin"),
    "systemd": (_systemd, ""),
}
_known = {}  # type: dict[str, str]


def lacks(name: str) -> str:
    """Why the machine does not have NAME, a key of NEEDS, or ""."""
    if name not in _known:
        _known[name] = NEEDS[name][0]()
    return _known[name]


def require(*names: str) -> None:
    """Skip the running test unless the machine has NAMES.

    On CI, what a package would bring must be there: a skip there would hide a missing install step.
    """
    for name in names:
        why = lacks(name)
        package = NEEDS[name][1]
        if why and package:
            why += "; the package %s has it" % package
            if os.environ.get("CI") and not lacks("debian") and not lacks("root"):
                pytest.fail(why, pytrace=False)
        if why:
            pytest.skip(why)


# --- running commands -------------------------------------------------------------------------


UNMAPPED = "minictr: warning: id-mapped mount: "


def _no_idmap() -> bool:
    """Whether the ids of the roots that the suite makes cannot be mapped: tmpfs was the last to come."""
    with open("/proc/self/mountinfo") as file:
        rows = [line.split() for line in file]
    tops = [row for row in rows if (SESSION.directory + "/").startswith(row[4].rstrip("/") + "/")]
    top = max(tops, key=lambda row: len(row[4]))
    return bool(_kernel(6, 3)()) or top[top.index("-") + 1] == "overlay"


class Result:
    """How a command ended. status: as a shell shows it, but -N where signal N ended it.

    out, err: text, undecodable bytes as surrogates; fields, lines: of out. err lacks what a kernel that
    cannot map the ids of a root makes minictr say at each start; raw_err, bytes, has it
    """

    def __init__(self, command: "list[str]", status: int, out: bytes, err: bytes, seconds: float) -> None:
        self.command, self.status, self.seconds = command, status, seconds
        self.raw_out, self.raw_err = out, err
        self.out, self.err = (text.decode("utf-8", "surrogateescape") for text in (out, err))
        self.fields, self.lines = self.out.split(), self.out.splitlines()
        if UNMAPPED in self.err and _no_idmap():
            lines = self.err.splitlines(True)
            self.err = "".join(line for line in lines if not line.startswith(UNMAPPED))

    @property
    def ok(self) -> "Result":
        """Itself, if the command succeeded in silence; what pytest prints otherwise shows why."""
        assert (self.status, self.err) == (0, ""), self
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, tuple):
            return (self.status, self.out, self.err)[: len(other)] == other
        return NotImplemented

    def __repr__(self) -> str:
        lines = ["status %d after %.2f s: %s" % (self.status, self.seconds, " ".join(self.command))]
        for name, text in (("out", self.out), ("err", self.err)):
            lines += ["  %s| %s" % (name, line) for line in text[-5000:].splitlines()]
        return "\n".join(lines)


class Live:
    """A command that runs. Its output is read as it is asked for."""

    def __init__(
        self, command: "list[str]", process: subprocess.Popen, terminal: int, timeout: float
    ) -> None:
        self.command, self.process, self.terminal = command, process, terminal
        self.pid, self.started, self.timeout = process.pid, time.monotonic(), timeout
        self.output = {}  # type: dict[int, bytes]
        pipes = [process.stdout.fileno(), process.stderr.fileno()] if terminal < 0 else [terminal]
        self.ends = list(pipes)
        for descriptor in pipes:
            self.output[descriptor] = b""
            os.set_blocking(descriptor, False)
        self.streams = pipes

    @property
    def out(self) -> bytes:
        """What it has printed so far; with a terminal, all of it."""
        return self.output[self.streams[0]]

    @property
    def err(self) -> bytes:
        return self.output[self.streams[1]] if self.streams[1:] else b""

    def read(self, seconds: float) -> None:
        """Take up what arrives within SECONDS, back as soon as something has."""
        ready, _, _ = select.select(self.ends, [], [], max(seconds, 0))
        for descriptor in ready:
            try:
                data = os.read(descriptor, 1 << 16)
            except BlockingIOError:
                continue
            except OSError as error:  # the other end of a terminal is closed
                if error.errno != errno.EIO:
                    raise
                data = b""
            self.output[descriptor] += data
            if not data:
                self.ends.remove(descriptor)

    def send(self, data: "bytes | str") -> None:
        """Write to its standard input or type on its terminal."""
        data = data.encode() if isinstance(data, str) else data
        if self.terminal >= 0:
            os.write(self.terminal, data)
        else:
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def close_input(self) -> None:
        self.process.stdin.close()

    def expect(self, text: "bytes | str", timeout: float = 20) -> bytes:
        """Read until TEXT was printed; return all that came up to it. AssertionError without it."""
        text = text.encode() if isinstance(text, str) else text
        end = time.monotonic() + timeout
        while text not in self.out and text not in self.err:
            left = end - time.monotonic()
            if left <= 0 or not self.ends:
                raise AssertionError("%r was not printed: %r" % (text, (self.out, self.err)))
            self.read(min(left, 1))
        return (self.out if text in self.out else self.err).partition(text)[0]

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def resize(self, rows: int, columns: int) -> None:
        size = rows.to_bytes(2, sys.byteorder) + columns.to_bytes(2, sys.byteorder) + bytes(4)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, size)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, timeout: "float | None" = None) -> Result:
        """Its Result. One that is not over in time is killed, and the test fails."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        pause = 0.001
        while self.ends and self.running:
            self.read(pause)  # a container that lives on holds the pipe, so its end alone says nothing
            pause = min(pause * 2, 0.02)
            if time.monotonic() > end:
                self.kill()
                raise AssertionError("not over in time: %r" % self._result())
        try:
            self.process.wait(max(end - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("not over in time: %r" % self._result()) from None
        size = -1
        while self.ends and size != sum(map(len, self.output.values())):
            size = sum(map(len, self.output.values()))
            self.read(0)
        result = self._result()
        self.close()
        return result

    def _result(self) -> Result:
        seconds = time.monotonic() - self.started
        status = self.process.poll()
        return Result(self.command, -1000 if status is None else status, self.out, self.err, seconds)

    def kill(self) -> None:
        """End it and what it started in its own session, by id."""
        if self.running:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass  # what was typed was never read
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1


class Runner:
    """Runs `python3 -m minictr ARGS`, or any command, and gives its Result.

    Every way takes the same options:

    user: an Account, or a bare uid, to run as; the suite's own user otherwise
    env: added to a small environment; a value of None removes the name
    stdin: bytes or text; nothing otherwise. cwd: "/" otherwise. timeout: seconds
    state: False leaves out `--root DIR`, with which minictr keeps its state in the test's own place
    umask, nice: as set before. ignore: signals that are ignored. close: descriptors that are closed
    pass_fds: descriptors that stay open
    refuse, drop, cover, no_new_privs: see refusal.py; cover takes the names in COVERS too
    setup: called last before the program starts
    """

    def __init__(self) -> None:
        self.lives = []  # type: list[Live]
        self.states = {}  # type: dict[int, str]

    def __call__(self, *args: str, **options: object) -> Result:
        return self.start(*args, **options).wait()

    def command(self, *command: str, **options: object) -> Result:
        """Run COMMAND instead of minictr."""
        return self.start_command(*command, **options).wait()

    def start(self, *args: str, state: bool = True, **options: object) -> Live:
        """The same, not waited for. tty=True gives it a terminal of its own to control."""
        user = options.get("user")
        program = sys.executable if user is None else python()
        root = ["--root", self.state(user)] if state else []
        env = {"PYTHONPATH": checkout()}  # for root, too: what becomes a user inside reads it there
        env.update(options.pop("env", None) or {})
        return self.start_command(program, "-m", "minictr", *(root + list(args)), env=env, **options)

    def start_command(
        self, *command: str, user=None, env=None, stdin=None, cwd: str = "/", timeout: float = TIMEOUT,
        tty: bool = False, pass_fds: "tuple[int, ...]" = (), **options: object
    ) -> Live:  # fmt: skip
        uid, gid, home, name = identity(user)
        environment = {"PATH": PATH, "HOME": home, "USER": name, "LOGNAME": name, "LANG": "C.UTF-8"}
        environment[MARK] = SESSION.directory
        environment.update(env or {})
        environment = {key: value for key, value in environment.items() if value is not None}
        terminal, source = -1, subprocess.PIPE  # type: int, object
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        if tty:
            terminal, inner = os.openpty()
            if user is not None:
                os.fchown(inner, uid, gid)
            source = inner
            streams = {"stdout": inner, "stderr": inner}
        elif stdin is not None:
            source = tempfile.TemporaryFile()
            source.write(stdin.encode() if isinstance(stdin, str) else stdin)
            source.seek(0)
        setup = _Setup(user, uid, gid, tty, **options)
        try:
            process = subprocess.Popen(
                command, env=environment, stdin=source, cwd=cwd, pass_fds=pass_fds, preexec_fn=setup,
                start_new_session=True, **streams
            )  # fmt: skip
        finally:
            if tty:
                os.close(inner)
            elif stdin is not None:
                source.close()
        live = Live([str(word) for word in command], process, terminal, timeout)
        self.lives.append(live)
        return live

    def state(self, user: object = None) -> str:
        """Where the containers of this test and USER are noted."""
        uid, gid, _, _ = identity(user)
        if uid not in self.states:
            self.states[uid] = SESSION.place("state", 0o700, (uid, gid))
        return self.states[uid]

    def finish(self) -> "list[str]":
        """End what still runs; the containers that are still noted down."""
        for live in self.lives:
            live.kill()
            live.close()
        found = []
        for directory in self.states.values():
            for folder, _, names in os.walk(directory):
                found += [os.path.join(folder, name) for name in names if name == "state.json"]
            subprocess.run(["rm", "-rf", "--one-file-system", directory])
        return found


def identity(user: object) -> "tuple[int, int, str, str]":
    """uid, gid, home and name of None (the suite's own), a uid, or an Account."""
    if user is None:
        return os.getuid(), os.getgid(), os.path.expanduser("~"), _name(os.getuid())
    if isinstance(user, int):
        return user, user, "/", str(user)
    return user.uid, user.gid, user.home, user.name


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "user"


# Names for what Runner's option `cover` is wanted for most; the helpers of id maps
COVERS = {
    "no-helpers": lambda: {path: "" for path in _helpers()},
    "plain-helpers": lambda: {path: _plain_copy(path) for path in _helpers()},
}


def _helpers() -> "list[str]":
    names = [shutil.which(name, path=PATH) for name in ("newuidmap", "newgidmap")]
    return [name for name in names if name]


def _plain_copy(path: str) -> str:
    """A copy without set-user-ID bit or capabilities."""

    def copy() -> str:
        target = os.path.join(SESSION.place("plain"), os.path.basename(path))
        shutil.copyfile(path, target)
        os.chmod(target, 0o755)
        return target

    return _once("plain " + path, copy)


class _Setup:
    """What happens between fork and exec, in an order in which each step still has what it needs."""

    def __init__(
        self, user, uid: int, gid: int, tty: bool, umask: "int | None" = None, nice: int = 0,
        ignore: "tuple[int, ...]" = (), close: "tuple[int, ...]" = (), refuse: "list[str]" = (),
        drop: "list[str]" = (), cover=None, no_new_privs: bool = False, setup=None,
    ) -> None:  # fmt: skip
        self.user, self.uid, self.gid, self.tty = user, uid, gid, tty
        self.umask, self.nice, self.ignore, self.close = umask, nice, ignore, close
        self.refuse, self.drop, self.no_new_privs, self.setup = list(refuse), list(drop), no_new_privs, setup
        self.cover = COVERS[cover]() if isinstance(cover, str) else cover
        if self.cover:
            require("root-mount")
        self.groups = [gid] if user is not None else []

    def __call__(self) -> None:
        try:
            self.steps()
        except BaseException:
            os.write(2, traceback.format_exc().encode())
            raise

    def steps(self) -> None:
        if self.tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if self.cover:
            refusal.cover(self.cover)
        early = self.refuse and refusal.holds(refusal.CAP_SYS_ADMIN)
        if early:  # so that the user needs no no_new_privs, which would disarm newuidmap
            refusal.refuse(self.refuse)
        if self.user is not None:
            os.setgroups(self.groups)
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)
        if self.drop:
            refusal.drop(self.drop)
        if self.no_new_privs:
            refusal.no_new_privs()
        if self.refuse and not early:
            refusal.refuse(self.refuse)
        if self.umask is not None:
            os.umask(self.umask)
        if self.nice:
            os.nice(self.nice)
        for number in self.ignore:
            signal.signal(number, signal.SIG_IGN)
        if self.setup:
            self.setup()
        for descriptor in self.close:
            os.close(descriptor)


def part_from_mounts() -> None:
    """A setup: a command whose mounts spread nowhere, as they would to ours where the host's are shared."""
    refusal._check(refusal._libc.unshare(refusal.FLAGS["CLONE_NEWNS"]), "unshare")
    subprocess.check_call(["mount", "--make-rprivate", "/"])


def wait_until(condition, timeout: float = 10, what: str = "") -> None:
    """Look at CONDITION() until it holds. AssertionError if it does not within TIMEOUT seconds."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(what or "it did not come about within %s seconds" % timeout)
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether process PID is over; one that nobody has waited for yet is."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return True


def children(pid):
    """The process ids of those that process PID has made, and that live."""
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return [int(word) for word in file.read().split()]


def in_child(body):
    """What BODY returns, as text, in a process of its own; what it raises, as "Kind: message"."""
    incoming, outgoing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = str(body())
        except BaseException as error:
            said = "%s: %s" % (type(error).__name__, error)
        os.write(outgoing, said.encode())
        os._exit(0)
    os.close(outgoing)
    with os.fdopen(incoming) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said
