"""OCI bundles to run, the runtimes that run them, and what a program inside sees.

The configurations that engines have written, and the schema of the specification, are data beside the
checkout, in ../shared/fixtures; the tests that need them skip where they are not there.
"""

import copy
import functools
import itertools
import json
import os
import re
import stat
import subprocess
import sys

import pytest
import support

from minictr import spec

FIXTURES = os.path.join(os.path.dirname(support.CHECKOUT), "shared", "fixtures")
RUNTIMES = ("minictr", "runc", "crun")  # of which the others judge the tests themselves

V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")

_numbers = itertools.count(1)


def fixture(*names: str) -> str:
    """The path of a fixture; the test skips without it."""
    path = os.path.join(FIXTURES, *names)
    if not os.path.exists(path):
        pytest.skip("there is no ../shared/fixtures/%s" % "/".join(names))
    return path


def schema(name: str) -> dict:
    """A schema of the specification, with all that it refers to put in."""
    files = {}  # type: dict

    def load(place: str) -> dict:
        if place not in files:
            with open(fixture("oci-schema", place)) as file:
                files[place] = json.load(file)
        return files[place]

    def whole(node, place: str):
        if isinstance(node, list):
            return [whole(item, place) for item in node]
        if not isinstance(node, dict):
            return node
        if isinstance(node.get("$ref"), str):
            other, _, pointer = node["$ref"].partition("#")
            target = load(other or place)
            for word in pointer.strip("/").split("/"):
                target = target[word]
            return whole(target, other or place)
        return {key: whole(value, place) for key, value in node.items()}

    return whole(load(name), name)


class Bundle:
    """A directory with config.json and rootfs. config: to be changed before it is run"""

    def __init__(self, root: str, config: "dict | None" = None, account=None) -> None:
        self.path = account.place("bundle") if account else support.SESSION.place("bundle")
        self.account = account
        os.rename(root, os.path.join(self.path, "rootfs"))
        self.root = os.path.join(self.path, "rootfs")
        self.identifier = "minictr-test-%d-%d" % (os.getpid(), next(_numbers))
        self.configure(config or spec.default_config(["sh"], "rootfs"))

    def configure(self, config: dict) -> None:
        """Take CONFIG, with a cgroup of this run alone, whoever else runs the same configuration."""
        self.config = copy.deepcopy(config)
        self.config["ociVersion"] = "1.0.2"  # which the judges know too
        if self.account is None:
            self.linux["cgroupsPath"] = "/%s%s" % (self.identifier, self.linux.get("cgroupsPath") or "")

    @property
    def process(self) -> dict:
        return self.config["process"]

    @property
    def linux(self) -> dict:
        return self.config["linux"]

    def namespaces(self, *changes: str, **paths: str) -> None:
        """Leave out ("-network"), add ("user"), or join (network="/proc/...") namespaces."""
        kinds = {entry["type"]: entry for entry in self.linux["namespaces"]}
        for change in changes:
            if change.startswith("-"):
                kinds.pop(change[1:])
            else:
                kinds[change] = {"type": change}
        kinds.update({kind: {"type": kind, "path": path} for kind, path in paths.items()})
        self.linux["namespaces"] = list(kinds.values())

    def save(self) -> None:
        path = os.path.join(self.path, "config.json")
        with open(path, "w") as file:
            json.dump(self.config, file)
        os.chmod(path, 0o644)


class Runtime:
    """minictr, runc or crun, with the state in the test's own place."""

    def __init__(self, name: str, runner: support.Runner) -> None:
        self.name, self.runner = name, runner

    def start(self, bundle: Bundle, *options: str, wrap: "list[str]" = (), **how) -> support.Live:
        """wrap: a command that starts the runtime, whose words follow its own."""
        bundle.save()
        words = self._words(how) + ["run"] + list(options) + ["--bundle", bundle.path, bundle.identifier]
        return self.runner.start_command(*(list(wrap) + words), **how)

    def delete(self, bundle: Bundle) -> None:
        assert self.verb("delete", bundle.identifier).ok

    def verb(self, *words: str, **how) -> support.Result:
        """Run the runtime with WORDS: verb("pause", ID)."""
        return self.start_verb(*words, **how).wait()

    def start_verb(self, *words: str, wrap: "list[str]" = (), **how) -> support.Live:
        """wrap: as of `start`"""
        return self.runner.start_command(*(list(wrap) + self._words(how) + list(words)), **how)

    def _words(self, how: dict) -> "list[str]":
        user = how.get("user")
        state = self.runner.state(user)
        if self.name == "crun":  # which refuses hosts whose cgroup2 has controllers beside v1
            how["cover"] = dict(how.get("cover") or {}, **_hidden_cgroup2())
        if self.name != "minictr":
            return [self.name, "--root", state]
        package = support.CHECKOUT if user is None else support.checkout()
        how["env"] = dict(how.get("env") or {}, PYTHONPATH=package)
        return [sys.executable if user is None else support.python(), "-m", "minictr", "--root", state]

    def run(self, bundle: Bundle, *options: str, **how) -> support.Result:
        return self.start(bundle, *options, **how).wait()

    def sh(self, bundle: Bundle, script: str, **how) -> support.Result:
        """Run SCRIPT inside."""
        bundle.process["args"] = ["sh", "-c", script]
        return self.run(bundle, **how)

    def look(self, bundle: Bundle, *options: str, **how) -> "Seen":
        """What a program sees inside; it must end well and say nothing."""
        bundle.process["args"] = ["sh", "-c", LOOK]
        return Seen(self.run(bundle, *options, **how).ok.out)


class Box:
    """A container that runs in the background. pid: of its first process"""

    def __init__(self, runtime, bundle=None, identifier="") -> None:
        self.runtime, self.bundle, self.id = runtime, bundle, identifier or bundle.identifier
        self.pid = json.loads(self.verb("state").ok.out)["pid"]

    def verb(self, name, *words, **how):
        """`NAME ID WORDS`, options before the id."""
        options = [word for word in words if word.startswith("--")]
        rest = [word for word in words if not word.startswith("--")]
        return self.runtime.verb(name, *(options + [self.id] + rest), **how)

    @property
    def status(self):
        return json.loads(self.verb("state").ok.out)["status"]

    def path(self, inside):
        """A file of the container's as it is called from outside."""
        return "/proc/%d/root%s" % (self.pid, inside)

    def cgroup(self, controller):
        return cgroup_of(self.pid, controller)

    def value(self, file):
        return value(self.pid, file)


def cgroup_of(pid, controller):
    """The directory of a process's cgroup."""
    with open("/proc/%d/cgroup" % pid) as lines:
        for line in lines:
            _, names, path = line.rstrip("\n").split(":", 2)
            if V2 or controller in names.split(","):
                return "/sys/fs/cgroup/" + names + path
    raise AssertionError("no controller " + controller)


def value(pid, file):
    """The value of FILE in a process's cgroup of the controller that the file is named after."""
    with open(os.path.join(cgroup_of(pid, file.split(".")[0]), file)) as text:
        return text.read().strip()


def unlike(runtime, name, how, since=(0,)):
    """Skip where runtime NAME, as of version SINCE, differs, and the specification has nothing to say."""
    if runtime.name == name and version(name) >= since:
        pytest.skip("%s %s" % (name, how))


@functools.lru_cache(maxsize=None)
def version(name: str) -> "tuple[int, ...]":
    """That of the runtime NAME which is installed; NAME VERSION... is in the first line of what it says."""
    said = subprocess.run([name, "--version"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return tuple(map(int, re.findall(r"[0-9]+", said.split()[2].split("+")[0])))


def remove_cgroups() -> None:
    """The judges leave the parents of a container's cgroup."""
    for _, point in support.cgroup_mounts():
        for name in os.listdir(point):
            if name.startswith("minictr-test-%d-" % os.getpid()):
                for folder, _, _ in os.walk(os.path.join(point, name), topdown=False):
                    os.rmdir(folder)


def _hidden_cgroup2() -> "dict[str, str]":
    mounts = support.cgroup_mounts()
    if all(kind == "cgroup2" for kind, _ in mounts):
        return {}
    return {point: support.SESSION.place("empty") for kind, point in mounts if kind == "cgroup2"}


# Busybox alone; each part is announced by a line "== name"
LOOK = r"""
echo "== status"; cat /proc/self/status
echo "== mounts"; cat /proc/self/mountinfo
echo "== namespaces"; cd /proc/self/ns; for n in *; do echo $n $(readlink $n); done; cd "$OLDPWD"
echo "== limits"; cat /proc/self/limits
echo "== environment"; tr '\0' '\n' </proc/$$/environ
echo "== cwd"; pwd
echo "== hostname"; hostname
echo "== nodes"; for f in /dev/*; do stat -c '%n %f %t %T %u %g' $f; done
echo "== links"; for f in fd stdin stdout stderr ptmx; do echo $f $(readlink /dev/$f); done
echo "== cgroup"; cat /proc/self/cgroup
echo "== uid_map"; cat /proc/self/uid_map
echo "== gid_map"; cat /proc/self/gid_map
echo "== oom"; cat /proc/self/oom_score_adj
echo "== descriptors"; ls /proc/$$/fd
echo "== session"; cat /proc/$$/stat
"""


class Mount:
    """A row of mountinfo. root: of what lies in the file system; point: where it is mounted

    options: of the mount; tags: "shared:N" and kin; words: of the file system
    """

    def __init__(self, line: str) -> None:
        left, _, right = line.partition(" - ")
        fields, rest = left.split(), right.split()
        self.root, self.point, self.options = fields[3], fields[4], set(fields[5].split(","))
        self.tags = fields[6:]
        self.kind, self.source, self.words = rest[0], rest[1], set(rest[2].split(","))

    def __repr__(self) -> str:
        return "%s on %s (%s; %s; %s)" % (
            self.kind, self.point, ",".join(sorted(self.options)), self.tags, ",".join(sorted(self.words)),
        )  # fmt: skip


class Seen:
    """The output of LOOK, taken apart."""

    def __init__(self, text: str) -> None:
        parts = text.split("== ")[1:]
        self.parts = {part.split("\n", 1)[0]: part.split("\n", 1)[1].rstrip("\n") for part in parts}
        self.status = dict(line.split(":\t", 1) for line in self._lines("status") if ":\t" in line)
        self.mounts = [Mount(line) for line in self._lines("mounts")]
        self.namespaces = dict(line.split() for line in self._lines("namespaces") if line.count(" "))
        self.environment = self._lines("environment")
        self.cwd, self.hostname = self.parts["cwd"], self.parts["hostname"]
        self.links = dict(line.split(" ", 1) for line in self._lines("links"))
        self.oom_score_adj = int(self.parts["oom"])
        self.descriptors = sorted(int(word) for word in self._lines("descriptors"))
        self.session = int(self.parts["session"].rpartition(")")[2].split()[3])
        self.uid_map, self.gid_map = (
            [tuple(int(word) for word in line.split()) for line in self._lines(name)]
            for name in ("uid_map", "gid_map")
        )

    def pairs(self, name: str) -> "dict[str, str]":
        """The lines of a part, as first word and the rest."""
        return {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in self._lines(name) if " " in line}

    def _lines(self, name: str) -> "list[str]":
        return self.parts[name].splitlines()

    def mount(self, point: str) -> Mount:
        """What lies uppermost on POINT."""
        return [mount for mount in self.mounts if mount.point == point][-1]

    def mounted(self, point: str) -> bool:
        return any(mount.point == point for mount in self.mounts)

    @property
    def ids(self) -> "tuple[list[int], list[int], list[int]]":
        """The four uids, the four gids, the supplementary groups."""
        return tuple(  # type: ignore[return-value]
            [int(word) for word in self.status[name].split()] for name in ("Uid", "Gid", "Groups")
        )

    def capabilities(self, name: str) -> "set[str]":
        """The names in a set: Inh, Prm, Eff, Bnd, Amb."""
        from minictr import abi

        mask = int(self.status["Cap" + name], 16)
        return {word for number, word in enumerate(abi.CAPABILITIES) if mask >> number & 1}

    @property
    def umask(self) -> int:
        return int(self.status["Umask"], 8)

    def limit(self, name: str) -> "tuple[str, str]":
        """The soft and the hard limit by its name in /proc/self/limits: "Max open files"."""
        line = [line for line in self._lines("limits") if line.startswith(name + " ")][0]
        soft, hard = line[len(name) :].split()[:2]
        return soft, hard

    def node(self, path: str) -> "tuple[str, int, int, int, int, int]":
        """Type ("c", "b", "p", "-" ...), permission bits, major, minor, uid, gid of a node in /dev."""
        line = [line for line in self._lines("nodes") if line.startswith(path + " ")][0]
        mode, major, minor = [int(word, 16) for word in line.split()[1:4]]
        uid, gid = [int(word) for word in line.split()[4:]]
        return stat.filemode(mode)[0], stat.S_IMODE(mode), major, minor, uid, gid
