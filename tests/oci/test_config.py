"""The configurations that engines write: a program inside finds what they say.

Each has a root file system of busybox here, and the sources that its mounts name. Those of rootless
podman run as podman runs them, in a user namespace of the user's (see reexec.py).
"""

import json
import os
import shutil

import accounts
import bundles
import pytest
import support
from support import needs

from minictr import abi

pytestmark = needs("root", "busybox", "cgroup")

ENGINES = (
    "containerd", "docker", "docker-options", "podman-root", "podman-root-options",
    "podman-root-userns-idmap", "podman-rootless", "podman-rootless-keep-id",
)  # fmt: skip
FILES = {
    "hosts": "127.0.0.1 localhost\n", "hostname": "here\n", "resolv.conf": "nameserver 192.0.2.1\n",
    ".containerenv": "",
}  # fmt: skip


class Engine:
    """A configuration, ready to run, and how its engine would run it."""

    def __init__(self, name, made, account) -> None:
        self.name, self.bundle, self.account = name, made, account
        with open(bundles.fixture("oci", name + ".json")) as file:
            text = file.read()
        made.configure(json.loads(text.replace('"/bundle', '"' + made.path)))
        self.hooks = made.config.pop("hooks", None)  # tests of their own
        limits = made.linux.get("resources") or {}
        limits.get("memory", {}).pop("kernel", None)  # kernels have given it up
        for entry in (limits.get("blockIO") or {}).pop("throttleReadBpsDevice", ()):
            if os.path.exists("/sys/dev/block/%(major)d:%(minor)d" % entry):
                limits["blockIO"].setdefault("throttleReadBpsDevice", []).append(entry)
        for entry in made.config["mounts"]:
            if entry["type"] == "bind":
                self._make_source(entry["source"])
        if "uidMappings" in made.linux and account is None:
            own(made.root, made.linux["uidMappings"][0]["hostID"])
        self.how = {}
        if account is not None:
            script = shutil.copy(os.path.join(support.CHECKOUT, "tests", "reexec.py"), made.path)
            ids = [str(account.start), str(accounts.SIZE)]
            self.how = {"user": account, "wrap": [support.python(), script] + ids}

    def _make_source(self, path) -> None:
        name = os.path.basename(path)
        os.makedirs(path if name not in FILES else os.path.dirname(path), exist_ok=True)
        if name in FILES:
            with open(path, "w") as file:
                file.write(FILES[name])
        if self.account is not None:
            for folder, _, files in os.walk(self.bundle.path):
                if not folder.startswith(self.bundle.root):
                    for made in [folder] + [os.path.join(folder, name) for name in files]:
                        os.chown(made, self.account.uid, self.account.gid)


def own(root, first) -> None:
    """Shift the owners of the files below ROOT, as an engine would."""
    for folder, directories, files in os.walk(root):
        for name in directories + files + ["."]:
            path = os.path.join(folder, name)
            found = os.lstat(path)
            if found.st_uid < first:
                os.lchown(path, found.st_uid + first, found.st_gid + first)


@pytest.fixture
def engine(request, bundle):
    """Makes an Engine by its name."""

    def make(name):
        bundles.fixture("oci", name + ".json")
        if not name.startswith("podman-rootless"):
            return Engine(name, bundle(), None)
        support.require("rootless", "newuidmap")
        account = request.getfixturevalue("ranged")
        return Engine(name, bundle(account=account), account)

    return make


# --- what a program finds -----------------------------------------------------------------------------

MORE = """
echo "== masked"; for f in %(masked)s; do
    if [ -d $f ]; then echo $f $(ls -A $f | wc -l); elif [ -e $f ]; then echo $f $(wc -c <$f); fi; done
echo "== sysctl"; for f in %(sysctl)s; do echo $f $(cat /proc/sys/$f); done
"""


def look(runtime, engine):
    linux = engine.bundle.linux
    words = {
        "masked": " ".join(linux.get("maskedPaths") or ["/none"]),
        "sysctl": " ".join(name.replace(".", "/") for name in linux.get("sysctl") or {}) or "kernel/ostype",
    }
    engine.bundle.process["args"] = ["sh", "-c", bundles.LOOK + MORE % words]
    return bundles.Seen(runtime.run(engine.bundle, **engine.how).ok.out)


def named_namespaces_are_new(engine, config, seen):
    named = {entry["type"] for entry in config["linux"]["namespaces"]}
    for kind in abi.NAMESPACES:
        short = {"network": "net", "mount": "mnt"}.get(kind, kind)
        if kind == "user" and engine.account is not None:
            continue  # the engine has made one
        new = seen.namespaces[short] != os.readlink("/proc/self/ns/" + short)
        if new != (kind in named):
            yield "the %s namespace is %s" % (kind, "new" if new else "the host's")


def kib(size):
    """64m as the kernel shows it."""
    factor = {"k": 1, "m": 1024}.get(size[-1])
    return "%dk" % (int(size[:-1]) * factor if factor else int(size) // 1024)


OPTIONS = ("ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime")
OPPOSITES = {"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec"}


def mounts_are_as_configured(engine, config, seen):
    for entry in config["mounts"]:
        point, options = entry["destination"], entry["options"]
        if not seen.mounted(point):
            yield "nothing is mounted on %s" % point
            continue
        wanted = set()
        for option in options:
            wanted.discard(OPPOSITES.get(option, ""))
            wanted |= {option} & set(OPTIONS)
        found = seen.mount(point)
        these = [found]
        if entry["type"] == "cgroup":  # with v1, a tmpfs with the hierarchies in it
            these = [m for m in seen.mounts if m.kind.startswith("cgroup") and m.point.startswith(point)]
            if not these:
                yield "no hierarchy is at %s" % point
        for mount in these:
            if wanted != mount.options & set(OPTIONS):
                yield "%r, wanted %s" % (mount, ",".join(sorted(wanted)))
        if entry["type"] == "bind":
            if not found.root.endswith(entry["source"]):
                yield "%r is not of %s" % (found, entry["source"])
        elif entry["type"] != "cgroup" and found.kind != entry["type"]:
            yield "%r is no %s" % (found, entry["type"])
        if "strictatime" in options and "relatime" in found.options:
            yield "%r is not strictatime" % found
        for option in options:
            name, equals, value = option.partition("=")
            if name == "size":
                value = kib(value)
            shown = name + "=" + value.lstrip("0")
            if equals and shown not in found.words and name != "gid" and option != "mode=1777":  # the default
                yield "%r has no %s" % (found, option)
        spread = [option for option in options if option in ("rprivate", "private")]
        if spread and found.tags:
            yield "%r is not private" % found


def masked_paths_are_empty(engine, config, seen):
    for path, size in seen.pairs("masked").items():
        if size != "0":
            yield "%s has something in it" % path
        if not seen.mounted(path):
            yield "nothing covers %s" % path


def readonly_paths_are_frozen(engine, config, seen):
    for path in config["linux"]["readonlyPaths"]:
        if os.path.exists(path) and "ro" not in (seen.mount(path).options if seen.mounted(path) else ()):
            yield "%s is not read-only" % path


DEVICES = [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)]


def devices_are_there(engine, config, seen):
    for name, minor in DEVICES:
        if seen.node("/dev/" + name)[:4] != ("c", 0o666, 1, minor):
            yield "/dev/%s is %r" % (name, seen.node("/dev/" + name))
    for entry in config["linux"].get("devices") or ():
        wanted = (entry["type"], entry["fileMode"] & 0o777, entry["major"], entry["minor"], 0, 0)
        if seen.node(entry["path"]) != wanted:
            yield "%s is %r" % (entry["path"], seen.node(entry["path"]))


def the_process_is_who_it_should_be(engine, config, seen):
    process, user = config["process"], config["process"]["user"]
    ids = ([user["uid"]] * 4, [user["gid"]] * 4, sorted(user.get("additionalGids") or []))
    if seen.ids != ids:
        yield "the ids are %r, wanted %r" % (seen.ids, ids)
    if seen.umask != user.get("umask", 0o022):
        yield "the umask is %o" % seen.umask
    sets = process["capabilities"]
    bounding = set(sets["bounding"])
    effective = bounding if user["uid"] == 0 else set()  # capabilities(7): what execve gives to root
    for name, wanted in (
        ("Bnd", bounding), ("Eff", effective), ("Prm", effective), ("Inh", set()), ("Amb", set())
    ):  # fmt: skip
        if seen.capabilities(name) != wanted:
            yield "the set Cap%s differs by %s" % (name, sorted(seen.capabilities(name) ^ wanted))
    if seen.status["NoNewPrivs"] != str(int(process.get("noNewPrivileges", False))):
        yield "no_new_privs is " + seen.status["NoNewPrivs"]
    if seen.cwd != process["cwd"]:
        yield "the directory is " + seen.cwd
    home = [] if any(word.startswith("HOME=") for word in process["env"]) else ["HOME=/root"]
    if sorted(seen.environment) != sorted(process["env"] + home):
        yield "the environment is %r" % seen.environment
    if seen.descriptors != [0, 1, 2]:
        yield "open are %r" % seen.descriptors


LIMITS = {"RLIMIT_NOFILE": "Max open files", "RLIMIT_NPROC": "Max processes"}


def limits_are_set(engine, config, seen):
    for entry in config["process"].get("rlimits") or ():
        found = seen.limit(LIMITS[entry["type"]])
        if found != (str(entry["soft"]), str(entry["hard"])):
            yield "%s is %r" % (entry["type"], found)
    if seen.oom_score_adj != config["process"].get("oomScoreAdj", seen.oom_score_adj):
        yield "oom_score_adj is %d" % seen.oom_score_adj


def names_and_parameters_are_set(engine, config, seen):
    if "hostname" in config and seen.hostname != config["hostname"]:
        yield "the host name is " + seen.hostname
    for name, value in (config["linux"].get("sysctl") or {}).items():
        found = seen.pairs("sysctl")[name.replace(".", "/")]
        if found.split() != value.split():
            yield "%s is %s" % (name, found)


def maps_are_those_of_the_configuration(engine, config, seen):
    for name, found in (("uidMappings", seen.uid_map), ("gidMappings", seen.gid_map)):
        wanted = [(e["containerID"], e["hostID"], e["size"]) for e in config["linux"].get(name) or ()]
        if engine.account is not None:  # seen from within, as there is no namespace outside its engine's
            wanted = wanted or found
        if found != (wanted or [(0, 0, 4294967295)]):
            yield "%s are %r" % (name, found)


def the_filter_is_in_force(engine, config, seen):
    wanted = "2" if config["linux"].get("seccomp") else "0"
    if seen.status["Seccomp"] != wanted:
        yield "Seccomp is %s" % seen.status["Seccomp"]


CHECKS = (
    named_namespaces_are_new, mounts_are_as_configured, masked_paths_are_empty, readonly_paths_are_frozen,
    devices_are_there, the_process_is_who_it_should_be, limits_are_set, names_and_parameters_are_set,
    maps_are_those_of_the_configuration, the_filter_is_in_force,
)  # fmt: skip


@pytest.mark.parametrize("name", ENGINES)
def test_a_program_finds_what_the_configuration_says(runtime, engine, name):
    if "idmap" in name and runtime.name == "runc":
        pytest.skip("runc knows no idmap as a word among the options")
    if ("idmap" in name or "keep-id" in name) and runtime.name == "crun":
        pytest.skip("crun has versions that lose the options of a bind mount in a user namespace")
    made = engine(name)
    seen = look(runtime, made)
    wrong = []
    for check in CHECKS:
        wrong += ["%s: %s" % (check.__name__, words) for words in check(made, made.bundle.config, seen)]
    assert not wrong, "\n".join(wrong)


HOOK = """\
#!/bin/sh
cd "$(dirname "$0")" && { echo "$0 $*"; env; cat; } >hooked
"""


@pytest.mark.parametrize("name", ["docker", "docker-options"])
def test_a_hook_of_the_engine_is_told_of_the_container(runtime, engine, name):
    bundles.unlike(runtime, "crun", "tells it otherwise", since=(1, 9))
    made = engine(name)
    path = made.bundle.path + "/hook"
    with open(path, "w") as file:
        file.write(HOOK)
    os.chmod(path, 0o755)
    arguments = made.hooks["prestart"][0]["args"]
    made.bundle.config["hooks"] = {"prestart": [{"path": path, "args": arguments, "env": ["A=b"]}]}
    made.bundle.process["args"] = ["cat", "/proc/self/stat"]
    assert runtime.run(made.bundle).status == 0
    with open(made.bundle.path + "/hooked") as file:
        lines = file.read().splitlines()
    assert lines[0] == " ".join([path] + arguments[1:])
    assert "A=b" in lines
    state = json.loads(lines[-1])
    assert state["id"] == made.bundle.identifier
    assert state["bundle"] == made.bundle.path
    assert state["pid"] > 1


# --- limits -----------------------------------------------------------------------------------------


def test_the_memory_of_a_setting_that_kernels_gave_up_is_refused_by_name(own, engine):
    made = engine("docker-options")
    made.bundle.linux["resources"] = {"memory": {"kernel": 52428800}}
    made.bundle.process["args"] = ["echo", "ran"]
    found = own.run(made.bundle)
    if found.status == 0:
        pytest.skip("this kernel still has it")
    assert (found.status, found.out) == (123, "")
    assert "memory kernel 52428800 is required" in found.err
    found = own.run(made.bundle, "--allow-degraded")
    assert (found.status, found.out) == (0, "ran\n")
    assert found.err.startswith("minictr: warning: cgroup: wanted memory kernel 52428800")


@needs("cgroup1")
@pytest.mark.parametrize(
    "name, files",
    [
        ("podman-root", {
            "memory/memory.limit_in_bytes": "67108864", "cpu/cpu.cfs_quota_us": "50000",
            "cpu/cpu.cfs_period_us": "100000", "pids/pids.max": "50",
        }),
        ("docker", {"memory/memory.limit_in_bytes": "67108864", "cpu/cpu.cfs_quota_us": "50000"}),
        ("docker-options", {"memory/memory.limit_in_bytes": "67108864", "cpu/cpu.shares": "512",
                            "memory/memory.soft_limit_in_bytes": "33554432", "cpuset/cpuset.cpus": "0"}),
        ("podman-root-options", {"pids/pids.max": "2048"}),
        ("podman-root-userns-idmap", {"pids/pids.max": "2048"}),
    ],
)  # fmt: skip
def test_the_limits_of_the_configuration_are_seen_inside_on_v1(runtime, engine, name, files):
    if "idmap" in name and runtime.name == "runc":
        pytest.skip("runc knows no idmap as a word among the options")
    made = engine(name)
    script = "".join("echo %s $(cat /sys/fs/cgroup/%s); " % (path, path) for path in files)
    found = runtime.sh(made.bundle, script)
    assert dict(line.split(" ", 1) for line in found.lines) == files, found


@pytest.mark.parametrize("name", ["podman-root", "docker", "containerd"])
def test_who_takes_more_memory_than_the_configuration_grants_is_killed(runtime, engine, name):
    made = engine(name)  # 32 or 64 MiB, and twice that with swap
    eat = "dd if=/dev/zero of=/dev/null count=1 bs="
    found = runtime.sh(made.bundle, eat + "8M && echo small; " + eat + "300M || exit 99")
    assert (found.status, found.out) in [(99, "small\n"), (137, "small\n")], found


def test_more_processes_than_the_configuration_grants_are_refused(runtime, engine):
    made = engine("podman-root")
    script = "i=0; while [ $i -lt 60 ]; do sleep 1 & i=$((i+1)); done; wait; echo end"
    found = runtime.sh(made.bundle, script)
    assert "can't fork" in found.err, found


# --- files ------------------------------------------------------------------------------------------


def test_what_the_engine_has_made_is_in_its_place(runtime, engine):
    made = engine("podman-root-options")
    with open(made.bundle.path + "/cni/file", "w") as file:
        file.write("of the volume\n")
    script = "cat /etc/hosts /etc/hostname /cni/file; touch /cni/x 2>&1; touch /foo/x && ls /foo; "
    script += "test -f /run/.containerenv"
    found = runtime.sh(made.bundle, script)
    assert found.status == 0, found
    assert found.lines[:3] == ["127.0.0.1 localhost", "here", "of the volume"]
    assert "Read-only file system" in found.lines[3]
    assert found.lines[4:] == ["x"]


@needs("idmap", "userns")
def test_the_files_of_an_idmapped_volume_have_their_owners_inside(own, engine):
    made = engine("podman-root-userns-idmap")
    for name, uid in (("root", 0), ("app", 1000), ("none", 200000)):
        path = os.path.join(made.bundle.path, "cni", name)
        open(path, "w").close()
        os.chown(path, uid, uid)
    found = own.sh(made.bundle, "stat -c '%n %u %g' /idm/*; touch /idm/new").ok
    assert found.lines == ["/idm/app 1000 1000", "/idm/none 65534 65534", "/idm/root 0 0"]
    assert os.stat(os.path.join(made.bundle.path, "cni", "new")).st_uid == 0


def test_the_keeper_of_an_id_writes_as_the_user_outside(runtime, engine):
    if runtime.name == "crun":
        pytest.skip("crun has versions that lose the options of a bind mount in a user namespace")
    made = engine("podman-rootless-keep-id")
    shared = made.account.place("shared")
    made.bundle.config["mounts"].append(
        {"destination": "/shared", "type": "bind", "source": shared, "options": ["rbind", "rprivate"]}
    )
    made.bundle.process["args"] = ["sh", "-c", "id -u; touch /shared/it; stat -c %u /shared/it"]
    assert runtime.run(made.bundle, **made.how).ok.out == "7777\n7777\n"
    assert os.stat(shared + "/it").st_uid == made.account.uid
