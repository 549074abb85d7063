"""linux.intelRdt: a share of the processor's caches and memory bandwidth, by the file system resctrl.

A class of service is a directory there: `schemata` says how much of what, `tasks` takes the processes.

Sources: runtime-spec config-linux.md "IntelRdt"; Documentation/filesystems/resctrl.rst

Side: host
"""

import os

from . import abi, mountinfo, paths
from .errors import ContainerError, printable, step


def wrong(asked: "dict") -> "tuple[str, str] | None":
    """What is wrong with linux.intelRdt: where, and why."""
    where, name = "linux.intelRdt", asked.get("closID") or ""
    if name in (".", "..") or ("/" in name and name != "/") or "\n" in name:
        return where + ".closID", "is not the name of a directory, nor /"
    bandwidth = asked.get("memBwSchema")
    if bandwidth is not None and not bandwidth.startswith("MB:"):
        return where + ".memBwSchema", "does not start with MB:"
    for key in ("l3CacheSchema", "memBwSchema"):
        if "\n" in (asked.get(key) or ""):
            return "%s.%s" % (where, key), "has more than one line"
    if any("\n" in line for line in asked.get("schemata") or ()):
        return where + ".schemata", "has an element of more than one line"
    return None


def mount_point() -> str:
    """Where resctrl is mounted. Raises ContainerError."""
    for row in mountinfo.own().values():
        if row.kind == "resctrl":
            return row.place
    why = "no file system of the type resctrl is mounted"
    hint = "on a processor that has it: mount -t resctrl resctrl /sys/fs/resctrl"
    raise ContainerError("limit caches and memory bandwidth (linux.intelRdt)", why, hint=hint)


class Group:
    """The class of service of a container. made: the directories that end with it, the inner ones first"""

    def __init__(self, asked: "dict", identifier: str, top: str) -> None:
        self.asked, self.top = asked, top
        name = asked.get("closID") or identifier
        self.path = top if name == "/" else os.path.join(top, name)
        self.monitored = os.path.join(self.path, "mon_groups", identifier)
        self.made = []  # type: list[str]

    def make(self) -> None:
        """Raises ContainerError; what was made by then is in `made`."""
        asked, lines = self.asked, self._lines()
        doing = "make the class of service %s" % printable(self.path)
        there = os.path.isdir(self.path)
        if asked.get("closID") and not lines and not there:
            raise ContainerError(doing, "there is none, and linux.intelRdt has nothing to make it with")
        if not asked.get("closID") and there:  # config-linux.md, "IntelRdt": it is to be made
            hint = "another id, or closID to share it; rmdir it if a container that was killed has left it"
            raise ContainerError(doing, "there is one, which is not the container's", abi.EEXIST, hint)
        if lines and there:
            self._compare(lines)
            lines = []
        if not there:
            with step(doing, hints={abi.ENOSPC: "the processor has as many as it can: remove one"}):
                os.mkdir(self.path, 0o755)
            if not asked.get("closID"):
                self.made.append(self.path)
        for line in lines:
            with step("write %s to %s/schemata" % (printable(line), printable(self.path))):
                _write(self.path + "/schemata", line + "\n")
        if asked.get("enableMonitoring"):
            with step("make the monitoring group %s" % self.monitored):
                os.mkdir(self.monitored, 0o755)
            self.made.insert(0, self.monitored)

    def _lines(self) -> "list[str]":
        asked = self.asked
        lines = [asked.get("l3CacheSchema"), asked.get("memBwSchema")] + list(asked.get("schemata") or ())
        if lines[1] and (lines[0] or "").startswith("MB:"):  # what the other says of it counts
            lines[0] = None
        return [line for line in lines if line]

    def _compare(self, lines: "list[str]") -> None:
        have = {}  # type: dict[str, dict[str, str]]
        for line in paths.read_text(self.path + "/schemata").splitlines():
            have.update(_parse(line))
        for line in lines:
            for resource, shares in _parse(line).items():
                for domain, share in shares.items():
                    if have.get(resource, {}).get(domain) != share:
                        why = "it exists, and has other shares than %s" % printable(line)
                        raise ContainerError("use the class of service %s" % printable(self.path), why)

    def join(self, pid: int) -> None:
        """Put process PID, and all that it will start, in."""
        with step("put the container into %s" % printable(self.path)):
            _write(self.path + "/tasks", str(pid))
            if self.asked.get("enableMonitoring"):
                _write(self.monitored + "/tasks", str(pid))


def remove(made: "list[str]") -> None:
    """Remove what a container has made: the kernel empties it."""
    for path in made:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass


def _parse(line: str) -> "dict[str, dict[str, str]]":
    """ "L3:0=7f0;1=1f" to {"L3": {"0": "7f0", "1": "1f"}}, without zeros in front"""
    resource, _, shares = line.strip().partition(":")
    pairs = [share.partition("=") for share in shares.split(";")]
    return {resource: {key.strip(): value.strip().lower().lstrip("0") or "0" for key, _, value in pairs}}


def _write(path: str, text: str) -> None:
    """In one write, as resctrl wants it; nothing is made."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_TRUNC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
