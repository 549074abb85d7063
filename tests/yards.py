"""A yard: namespaces of their own for daemons that otherwise have the whole machine.

What an engine keeps in /run, /etc, /var/lib and /dev/shm, its bridges, its packet filters and its cgroups
are the yard's, and end with it. Whoever enters is in the yard's cgroup then, so that all that a daemon has
started can be found, and ended by process id.
"""

import ctypes
import os
import signal
import time

import support

# Run in the new namespaces
FILES = """
set -e
mount -t tmpfs tmpfs /var/lib
mkdir -p /var/lib/yard/etc /var/lib/yard/work
mount -t overlay -o lowerdir=/etc,upperdir=/var/lib/yard/etc,workdir=/var/lib/yard/work overlay /etc
mount -t tmpfs tmpfs /dev/shm
"""
# The mounts of cgroups follow
REST = """
mount -t tmpfs tmpfs /run
mkdir -p /run/lock
ip link set lo up
mount -t sysfs sysfs /sys
"""


class Yard:
    """holder: a process in the namespaces; directories: of the yard's cgroups, as seen from outside

    systemd: that of the host makes the engines' cgroups: these, /run and the network are the host's
    """

    def __init__(self, systemd: bool = False) -> None:
        support.require("root", "overlay", "cgroup", "ip", "unshare")
        self.runner = support.Runner()
        self.hierarchies = [] if systemd else _hierarchies()
        self.namespaces = ("mnt",) if systemd else ("mnt", "net", "cgroup")
        name = "minictr-test-%d-yard" % os.getpid()
        self.directories = [os.path.join(point, name) for _, point, _ in self.hierarchies]
        self.holder = 0
        try:
            self._make_cgroups()
            self._hold()
        except BaseException:
            self.end()
            raise

    def start(self, *command: str, **options: object) -> support.Live:
        """Start COMMAND in the yard, with the options of support.Runner."""
        return self.runner.start_command(*command, setup=self._enter, **options)

    def run(self, *command: str, **options: object) -> support.Result:
        return self.start(*command, **options).wait()

    def end(self) -> None:
        """End every process in it, and remove its cgroups. The namespaces end with the processes."""
        deadline = time.monotonic() + 20
        while self.processes() and time.monotonic() < deadline:
            for pid in self.processes():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
        self.runner.finish()
        for directory in self.directories:
            for folder, _, _ in os.walk(directory, topdown=False):
                support.wait_until(lambda path=folder: _remove(path), what="the cgroup %s stays" % folder)

    def processes(self) -> "set[int]":
        found = set()
        for directory in self.directories:
            for folder, _, _ in os.walk(directory):
                try:
                    with open(folder + "/cgroup.procs") as file:
                        found |= {int(line) for line in file}
                except OSError:
                    pass  # just removed
        return found

    def _make_cgroups(self) -> None:
        for directory, (kind, point, words) in zip(self.directories, self.hierarchies):
            os.mkdir(directory)
            if "cpuset" in words:
                for name in ("cpuset.cpus", "cpuset.mems"):
                    with open(os.path.join(point, name)) as above, open(
                        os.path.join(directory, name), "w"
                    ) as own:
                        own.write(above.read())
            if kind == "cgroup2":
                os.mkdir(directory + "/inside")  # where processes are: then there may be none above

    def _hold(self) -> None:
        script = FILES + ("" if self.namespaces == ("mnt",) else REST)
        for kind, point, words in self.hierarchies:
            if point != "/sys/fs/cgroup" and "sys/fs/cgroup ready" not in script:
                script += "mount -t tmpfs tmpfs /sys/fs/cgroup  # sys/fs/cgroup ready\n"
            options = "-o " + words if words else ""
            script += "mkdir -p %s; mount -t %s %s none %s\n" % (point, kind, options, point)
        script += "echo ready; exec sleep infinity\n"
        options = ["--" + name.replace("mnt", "mount") for name in self.namespaces]
        words = ["unshare", "--propagation", "private"] + options + ["sh", "-c", script]
        live = self.runner.start_command(*words, setup=self._join)
        live.expect("ready\n")
        self.holder = live.pid
        self._delegate()

    def _delegate(self) -> None:
        """Of v2: the holder moves down, and its controllers are for the engines' cgroups."""
        for directory, (kind, _, _) in zip(self.directories, self.hierarchies):
            if kind == "cgroup2":
                with open(directory + "/inside/cgroup.procs", "w") as file:
                    file.write(str(self.holder))
                with open(directory + "/cgroup.controllers") as file:
                    names = file.read().split()
                with open(directory + "/cgroup.subtree_control", "w") as file:
                    file.write(" ".join("+" + name for name in names))

    def _join(self) -> None:
        for directory, (kind, _, _) in zip(self.directories, self.hierarchies):
            down = "/inside" if kind == "cgroup2" and self.holder else ""
            with open(directory + down + "/cgroup.procs", "w") as file:
                file.write("0")

    def _enter(self) -> None:
        self._join()
        libc = ctypes.CDLL(None, use_errno=True)
        for name in self.namespaces:
            descriptor = os.open("/proc/%d/ns/%s" % (self.holder, name), os.O_RDONLY)
            if libc.setns(descriptor, 0):
                raise OSError(ctypes.get_errno(), "setns " + name)
            os.close(descriptor)
        os.chdir("/var/lib/yard")  # conmon leaves a file "oom" where it was called, once memory ran out


def _hierarchies() -> "list[tuple[str, str, str]]":
    """Type, mount point, and mount options of each: its controllers or its name."""
    found = []
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            left, _, right = line.rstrip("\n").partition(" - ")
            kind, _, words = right.split()
            if kind not in ("cgroup", "cgroup2"):
                continue
            names = [word for word in words.split(",") if word not in ("rw", "ro", "nsdelegate", "xattr")]
            names = ["none"] + names if names and names[0].startswith("name=") else names
            found.append((kind, left.split()[4], ",".join(names) if kind == "cgroup" else ""))
    return found


def _remove(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True
