"""What a run of the suite, or one test, has left on the machine: nothing, or the test has failed.

Orphans fall to a process of ours, the adopter, so that every process which a test started, however
it detached itself, is a descendant of the adopter. It waits for them as process 1 would: a
container's end looks the same as on a machine without it.

Nothing is ended by name, and no mount or cgroup is touched that was there before or lies elsewhere.
"""

import collections
import ctypes
import os
import re
import signal
import subprocess
import time

import accounts
import support

SETTLE = 5  # seconds that a thing has to go by itself: processes end, the kernel cleans up behind them


def adopt() -> None:
    """Fork: the child goes on as the suite; the parent adopts orphans and leaves with its status."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the suite too
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(child, number))
    while True:
        pid, status = os.wait()
        if pid == child:
            break
    for pid in sorted(descendants(os.getpid())):  # the suite was killed, or has said what was left
        _kill(pid)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


# --- what there is ----------------------------------------------------------------------------


def descendants(ancestor: int) -> "dict[int, str]":
    """The processes below ANCESTOR that still run, with their command lines."""
    states, children = {}, collections.defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as file:
                    state, parent = file.read().rpartition(")")[2].split()[:2]
            except (FileNotFoundError, ProcessLookupError):
                continue
            states[int(name)] = state
            children[int(parent)].append(int(name))
    found, todo = {}, [ancestor]
    while todo:
        for pid in children[todo.pop()]:
            todo.append(pid)
            if states[pid] not in "ZX":
                found[pid] = _command(pid)
    return found


def _command(pid: int) -> str:
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            text = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
        with open("/proc/%d/comm" % pid) as file:
            return text or "[%s]" % file.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def processes() -> "set[str]":
    """What this run has started, orphans too, and whatever else carries its mark in the environment."""
    found = descendants(support.SESSION.adopter)
    found.pop(os.getpid(), None)
    mark = ("%s=%s" % (support.MARK, support.SESSION.directory)).encode()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in found:
            try:
                with open("/proc/%s/environ" % name, "rb") as file:
                    if mark in file.read().split(b"\0") and not support.gone(int(name)):
                        found[int(name)] = _command(int(name))
            except OSError:
                pass  # ended, or not ours to look at
    return {"process %d: %s" % item for item in found.items()}


def mounts() -> "set[str]":
    with open("/proc/self/mountinfo") as file:
        rows = [line.split() for line in file]
    counted = collections.Counter()  # type: collections.Counter[str]
    found = set()
    for row in rows:
        if row[4].startswith(support.SESSION.prefix) and not row[4].startswith(support.SESSION.directory):
            continue  # of another run
        kind = row[row.index("-") + 1]
        name = "mount %s (%s of %s)" % (row[4], kind, row[3])
        counted[name] += 1
        found.add(name + (" again" * (counted[name] - 1)))
    return found


def cgroups() -> "set[str]":
    """Every cgroup, but for those in which only processes of others live."""
    found = set()
    for _, point in support.cgroup_mounts():
        found |= {"cgroup " + folder for folder in folders(point) if folder != point}
    return found


def folders(top: str):
    """TOP and every directory below it, however deep: os.walk() calls itself before Python 3.12."""
    todo = [top]
    while todo:
        yield todo[-1]
        try:
            with os.scandir(todo.pop()) as entries:
                todo += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            pass  # it has gone meanwhile, or its path is longer than the kernel takes


def _foreign(cgroup: str) -> bool:
    """Whether a process lives in CGROUP or below that this run has not started."""
    own = descendants(support.SESSION.adopter)
    for folder in folders(cgroup):
        try:
            with open(os.path.join(folder, "cgroup.procs")) as file:
                if [pid for pid in file.read().split() if int(pid) not in own]:
                    return True
        except OSError:
            pass
    return False


def devices() -> "set[str]":
    found = {"network device " + name for name in os.listdir("/sys/class/net")}
    if os.path.isdir("/run/netns"):
        found |= {"network namespace " + name for name in os.listdir("/run/netns")}
    return found


def files() -> "set[str]":
    """What minictr keeps on the host, and what a test user or minictr has put into shared places."""
    found = set()
    for top in ("/run/minictr", "/var/lib/minictr"):
        for folder, directories, names in os.walk(top):
            found |= {"file " + os.path.join(folder, name) for name in directories + names}
    found.discard("file /var/lib/minictr/ids")  # which ids root's containers have: kept for good
    for folder in ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", "/run/user"):
        if not os.path.isdir(folder):
            continue
        for entry in os.scandir(folder):
            try:
                uid = entry.stat(follow_symlinks=False).st_uid
            except FileNotFoundError:
                continue
            if entry.path == support.SESSION.directory or re.match("minictr-tests($|-)", entry.name):
                continue  # of this run or another; a lock
            if "minictr" in entry.name or uid in USERS:
                found.add("file " + entry.path)
    return found | {"account " + line for line in accounts.remaining()}


USERS = set()  # type: set[int]  # the uids of this run's users


class Snapshot:
    """What there is at one moment. parts: which kinds of things, all if not given"""

    def __init__(self, parts=(processes, mounts, cgroups, devices, files)) -> None:
        self.parts = parts
        self.things = {part: part() for part in parts}

    def new(self) -> "list[str]":
        """What has come since and does not go within SETTLE seconds; and mounts that are missing.

        What comes while no process of ours is left to make it is another run's, and so no concern of ours.
        """
        end = time.monotonic() + SETTLE
        before = None  # type: list[str] | None
        while True:
            found = []
            for part in self.parts:
                found += sorted(part() - self.things[part])
            found = [thing for thing in found if not (thing.startswith("cgroup ") and _foreign(thing[7:]))]
            if mounts in self.things:
                found += sorted("missing: " + thing for thing in self.things[mounts] - mounts())
            if before is not None and not any(thing.startswith("process ") for thing in before):
                found = [thing for thing in found if thing in before]
            before = found
            if not found or time.monotonic() > end:
                return found
            time.sleep(0.05)


def clear(things: "list[str]") -> None:
    """Take away what was left, so that the next test is not judged by it: processes and cgroups of ours.

    A cgroup is ours by its name: an empty one that has just come may be another program's, half made."""
    for thing in things:
        if thing.startswith("process "):
            _kill(int(thing.split()[1].rstrip(":")))
    for thing in sorted(things, reverse=True):  # the inner ones first
        if thing.startswith("cgroup ") and "minictr" in thing and not _foreign(thing[7:]):
            for _ in range(50):
                try:
                    os.rmdir(thing[7:])
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)


def remove_session(directory: str) -> "list[str]":
    """Remove a run's directory. Mounts below it are taken off first; with one left, nothing is removed."""
    found = [point for point in _mount_points() if point == directory or point.startswith(directory + "/")]
    for point in reversed(found):
        subprocess.run(["umount", "--lazy", "--no-canonicalize", point])
    left = [point for point in _mount_points() if point.startswith(directory + "/")]
    if not left:
        subprocess.run(["rm", "-rf", "--one-file-system", directory])
    return left


def remove_stale_sessions() -> None:
    """The same for runs that were killed before they could do it."""
    folder, start = os.path.split(support.SESSION.prefix)
    for name in os.listdir(folder):
        found = re.match(re.escape(start) + r"(\d+)-", name)
        path = os.path.join(folder, name)
        try:
            own = bool(found) and os.stat(path).st_uid == os.geteuid()
        except FileNotFoundError:  # a run that has just ended has removed it
            continue
        if own and not os.path.exists("/proc/" + found.group(1)):
            remove_session(path)


def _mount_points() -> "list[str]":
    with open("/proc/self/mountinfo") as file:
        return [re.sub(r"\\(\d{3})", lambda m: chr(int(m.group(1), 8)), line.split()[4]) for line in file]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
