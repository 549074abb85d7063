"""What a run of the suite, or one test, has left on the machine: nothing, or the test has failed.

Orphans fall to a process of ours, the adopter, so that every process which a test started, however
it detached itself, is a descendant of the adopter. It waits for them as process 1 would: a
container's end looks the same as on a machine without it.

Nothing is ended by name, and no mount or cgroup is touched that was there before or lies elsewhere.

Other runs may be under way at the same time. As root each has a mount namespace of its own, so that none
sees the mounts of another. A cgroup or a note of a container is another run's if it says so: by the number of
one of that run's processes in its name, by the hash of a directory of that run, or by a bundle there.
"""

import collections
import ctypes
import glob
import os
import re
import signal
import subprocess
import time

import accounts
import support

from minictr import spec

SETTLE = 5  # seconds that a thing has to go by itself: processes end, the kernel cleans up behind them


def adopt() -> None:
    """Fork: the child goes on as the suite; the parent adopts orphans and leaves with its status."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
        _part_from_mounts()
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


def _part_from_mounts() -> None:
    """A mount namespace of our own, where one can be had. It is as the host's is: what was shared there is
    shared here, and what is mounted on the host comes here too, but nothing goes back."""
    libc = ctypes.CDLL(None)
    if libc.unshare(0x20000):  # CLONE_NEWNS
        return
    with open("/proc/self/mountinfo") as file:
        shared = [
            row[4] for row in map(str.split, file) if any(tag.startswith("shared:") for tag in row[6:9])
        ]
    for point in shared:
        for kind in (1 << 19, 1 << 20):  # MS_SLAVE, MS_SHARED
            libc.mount(None, _unescaped(point).encode("utf-8", "surrogateescape"), None, kind, None)


PF_KTHREAD = 0x00200000  # include/linux/sched.h: most of a machine's processes, and nobody's


# --- what there is ----------------------------------------------------------------------------


def _stats() -> "dict[int, list[str]]":
    """Of every process what proc(5) has from the third field of stat on: its state, its parent ..."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as file:
                    found[int(name)] = file.read().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


def descendants(ancestor: int, stats: "dict[int, list[str]] | None" = None) -> "dict[int, str]":
    """The processes below ANCESTOR that still run, with their command lines."""
    stats = _stats() if stats is None else stats
    children = collections.defaultdict(list)
    for pid, fields in stats.items():
        children[int(fields[1])].append(pid)
    found, todo = {}, [ancestor]
    while todo:
        for pid in children[todo.pop()]:
            todo.append(pid)
            if stats[pid][0] not in "ZX":
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
    stats = _stats()
    found = descendants(support.SESSION.adopter, stats)
    found.pop(os.getpid(), None)
    mark = ("%s=%s" % (support.MARK, support.SESSION.directory)).encode()
    for pid, fields in stats.items():
        if pid not in found and not int(fields[6]) & PF_KTHREAD:
            try:
                with open("/proc/%d/environ" % pid, "rb") as file:
                    if mark in file.read().split(b"\0") and not support.gone(pid):
                        found[pid] = _command(pid)
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


class Others:
    """The other runs that are under way, as they are now."""

    def __init__(self) -> None:
        own, self.numbers, self.folders = descendants(support.SESSION.adopter), set(), []
        place, start = os.path.split(support.SESSION.prefix)
        for name in os.listdir(place):
            found = re.match(re.escape(start) + r"(\d+)-", name)
            adopter = int(found.group(1)) if found else 0
            if adopter in (0, support.SESSION.adopter) or adopter in own or support.gone(adopter):
                continue  # one within a test of ours is ours
            self.numbers |= {str(pid) for pid in descendants(adopter)} | {str(adopter)}
            self.folders.append(os.path.join(place, name))
        self.numbers -= {str(pid) for pid in own}  # this run may be within a test of another

    def have(self, thing: str) -> bool:
        """Whether THING, as of `cgroups` or `files`, says that it is theirs."""
        if not self.folders:
            return False
        if thing.startswith("cgroup "):
            names = thing[7:].split("/")
            return any(set(re.findall(r"\d+", name)) & self.numbers for name in names) or any(
                map(self._hashed, names)
            )
        if thing == "file /run/minictr":  # made for the first container that is noted there
            return any(self._noted("/run/minictr/" + name) for name in os.listdir("/run/minictr"))
        found = re.match("file (/run/minictr/[^/]+)", thing)
        return bool(found) and self._noted(found.group(1))

    def _hashed(self, name: str) -> bool:
        found = re.match("minictr-(.*)-([0-9a-f]{8})$", name)
        if not found:
            return False
        places = [
            place
            for folder in self.folders
            for place in glob.glob(folder + "/*") + glob.glob(folder + "/tmp/*/*")
        ]
        return any(
            spec.cgroup_of(found.group(1), place + "/" + found.group(1)) == "/" + name for place in places
        )

    def _noted(self, place: str) -> bool:
        """Whether what is noted of a container in the usual place names something of theirs."""
        try:
            with open(place + "/config.json") as config, open(place + "/state.json") as state:
                text = config.read() + state.read()
        except OSError:
            return False
        pid = re.search(r'"pid":(\d+)', text)
        return bool(pid and pid.group(1) in self.numbers) or any(folder in text for folder in self.folders)


def devices() -> "set[str]":
    found = {"network device " + name for name in os.listdir("/sys/class/net")}
    if os.path.isdir("/run/netns"):
        found |= {"network namespace " + name for name in os.listdir("/run/netns")}
    return found


def files() -> "set[str]":
    """What minictr keeps on the host, what a test user or minictr has put into shared places, and what lies
    in the host's root, where a container's would be if it were taken for that."""
    found = {"file /" + name for name in os.listdir("/")}
    for top in ("/run/minictr", "/var/lib/minictr"):
        for folder, directories, names in os.walk(top):
            found |= {"file " + os.path.join(folder, name) for name in directories + names}
    found.discard("file /var/lib/minictr/ids")  # which ids root's containers have: kept for good
    for folder in ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", "/run/user"):
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, PermissionError):  # who may not look there has put nothing there either
            continue
        for entry in entries:
            try:
                uid = entry.stat(follow_symlinks=False).st_uid
            except FileNotFoundError:
                continue
            if entry.path == support.SESSION.directory or re.match("minictr-(tests|vm)($|-)", entry.name):
                continue  # of this run or another; a lock; of tests/vm.py, which clears up by itself
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
            if any(thing.startswith(("cgroup ", "file ")) for thing in found):
                others = Others()
                found = [thing for thing in found if not others.have(thing)]
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
        return [_unescaped(line.split()[4]) for line in file]


def _unescaped(point: str) -> str:
    return re.sub(r"\\(\d{3})", lambda m: chr(int(m.group(1), 8)), point)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
