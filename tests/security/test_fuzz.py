"""Anything at all as input: one line of error, or a container that is as confined as was asked for.

tests/unit has the same for each parser by itself: options, config, users, seccomp.
"""

import copy
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback

import bundles
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import needs

from minictr import abi, cli, config, host, options, plan, spec, volumes
from minictr.errors import ContainerError

FEW = settings(max_examples=40, suppress_health_check=list(HealthCheck))
SOME = settings(max_examples=300, suppress_health_check=list(HealthCheck))


def one_line(error):
    assert str(error).isprintable(), str(error)


# --- config.json to a plan, nothing done -----------------------------------------------------------

EXTRA = {
    "mounts": [
        {"destination": "/v", "type": "bind", "source": "/etc", "options": ["rbind", "ro", "nosuid"]},
        {
            "destination": "/m",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nodev", "size=1m", "mode=700"],
        },
    ],
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
    "maps": [{"containerID": 0, "hostID": 1000000000, "size": 65536}],
    "seccomp": {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    },
}


def document(user=False):
    """A configuration with something of everything."""
    made = copy.deepcopy(spec.default_config(["true"], "rootfs"))
    made["mounts"] += copy.deepcopy(EXTRA["mounts"])
    made["process"]["rlimits"] = copy.deepcopy(EXTRA["rlimits"])
    made["process"]["user"] = {"uid": 1, "gid": 2, "additionalGids": [3], "umask": 0o22}
    made["linux"]["sysctl"] = {"net.ipv4.ip_forward": "0", "kernel.msgmax": "8192"}
    made["linux"]["devices"] = [
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438}
    ]
    made["linux"]["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    made["linux"]["seccomp"] = copy.deepcopy(EXTRA["seccomp"])
    if user:
        made["linux"]["namespaces"].append({"type": "user"})
        made["linux"].update(
            uidMappings=copy.deepcopy(EXTRA["maps"]), gidMappings=copy.deepcopy(EXTRA["maps"])
        )
    return made


def places(node, path=()):
    """The way to every property and item of a document."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield path + (key,)
        yield from places(value, path + (key,))


VALUES = st.sampled_from(
    [
        None, True, False, 0, 1, -1, 2**31, 2**32 - 1, 2**32, 2**64, 1.5, "", "/", "x", "/x", "..",
        "/..", "\n", "ro",
        "\u20ac", "\ud800", "a=b", "/proc", "/proc/self", "/dev/null", "/sys", "bind", "rw",
        "proc", "tmpfs", "cgroup",
        "user", "network", "path", "CAP_SYS_ADMIN", "net.ipv4.x", "/proc/sys/kernel", "0", [], {},
        [""], ["x"], [None],
        [[]], [{}], {"type": "user"}, ["ro", "rw"], ["rbind", "idmap"], {"path": "/proc/1/ns/net",
        "type": "network"},
    ]
)  # fmt: skip


@st.composite
def changed(draw, base):
    made = copy.deepcopy(base)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(sorted(places(made), key=repr)))
        parent = made
        for key in path[:-1]:
            parent = parent[key]
        what = draw(st.sampled_from(["value", "value", "remove", "double"]))
        if what == "remove":
            del parent[path[-1]]
        elif what == "double" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[path[-1]]))
        else:
            parent[path[-1]] = copy.deepcopy(draw(VALUES))
    return made


@SOME
@given(st.one_of(changed(document()), changed(document(user=True))))
def test_any_configuration_is_a_plan_of_what_it_says_or_one_line(made):
    try:
        config.check(made)
        wanted = plan.make(
            spec.Spec(config=made, identifier="x", bundle="/b"), host.probe(ranges=False), "/stage"
        )
    except ContainerError as error:
        one_line(error)
        return
    linux, process = made.get("linux") or {}, made["process"]
    assert list(wanted.masked_paths) == list(linux.get("maskedPaths") or ())
    assert list(wanted.readonly_paths) == list(linux.get("readonlyPaths") or ())
    assert wanted.root.readonly == bool(made["root"].get("readonly"))
    assert wanted.credentials.no_new_privs == bool(process.get("noNewPrivileges"))
    asked = [entry["type"] for entry in linux.get("namespaces") or ()]
    assert sorted(wanted.namespaces + tuple(kind for kind, _ in wanted.joins)) == sorted(asked)
    caps = process.get("capabilities") or {}
    for name, mask in wanted.credentials.capabilities.items():
        names = {word for number, word in enumerate(abi.CAPABILITIES) if mask >> number & 1}
        assert names <= set(caps.get(name) or ())
    assert len(wanted.mounts) == len(made.get("mounts") or ())
    assert (wanted.guard == "userns") <= ("user" in wanted.namespaces)
    assert (wanted.seccomp is not None) == bool(linux.get("seccomp"))


# --- the native options ------------------------------------------------------------------------------

WORDS = st.text(max_size=12) | st.sampled_from(
    [
        "/etc:/a", "/etc:/a:ro", "/etc:/proc", "/etc:/a/../proc/self", "/etc://dev", "/etc:/",
        "/a", "0", "-1", "host",
        "none", "ns:/x", "/proc/1/ns/net", "A=b", "ALL", "a,b", "1:2:3", "0:0:1", "4294967295",
        "/etc:/a:ro,rw",
        "type=bind,source=/etc,target=/a", "type=tmpfs,target=/proc", "nofile=1:2",
        "seccomp=unconfined", "size=1k",
        "net.ipv4.ip_forward=1", "kernel.core_pattern=x", "SYS_ADMIN", "root", "keep-id", "/\n",
        "1000:1000", "..",
    ]
)  # fmt: skip
LONG = sorted(name for name in options._INDEX if name.startswith("--"))


# A value that each takes: with words alone hardly any line would be a plan
FITTING = {
    "--rootfs": ["/etc"], "--volume": ["/etc:/a", "/etc:/b:ro"], "--tmpfs": ["/c"],
    "--mount": ["type=tmpfs,target=/m", "type=bind,source=/etc,target=/n"], "--device": ["/dev/null"],
    "--workdir": ["/a"], "--user": ["root", "1000:1000", "5"], "--group-add": ["7"], "--env": ["A=b"],
    "--ulimit": ["nofile=1:2"], "--umask": ["077"], "--oom-score-adj": ["5"], "--timeout": ["9"],
    "--memory": ["64m"], "--cpus": ["1"], "--pids-limit": ["-1", "5"], "--cap-add": ["SYS_ADMIN", "ALL"],
    "--cap-drop": ["ALL", "CHOWN"], "--landlock": ["r=/"], "--userns": ["host", "auto", "keep-id"],
    "--security-opt": ["seccomp=unconfined", "no-new-privileges=false", "unmask=ALL"],
    "--pid": ["host"], "--ipc": ["host"], "--uts": ["host"], "--net": ["host", "none"], "--time": ["private"],
    "--cgroupns": ["host"], "--hostname": ["box"], "--sysctl": ["net.ipv4.ip_forward=1"],
    "--systemd": ["false"], "--annotation": ["a=b"], "--cgroups": ["disabled"],
}  # fmt: skip


@st.composite
def option(draw):
    name = draw(st.sampled_from(LONG) | st.sampled_from(sorted(FITTING)))
    if options._INDEX[name][1] == options.FLAG:
        return name
    value = draw(st.sampled_from(FITTING[name]) if name in FITTING and draw(st.integers(0, 7)) else WORDS)
    return "%s=%s" % (name, value) if value else name


def test_any_options_are_a_plan_or_one_line():
    here, made = host.probe(ranges=True), []

    @SOME
    @given(st.lists(option(), max_size=4))
    def attempt(words):
        words = [word for word in words if "\0" not in word]
        try:
            wished = options.parse(words + ["--", "true"])
            wanted = plan.make(wished, here, "/stage")
        except options.HelpAsked:
            return
        except ContainerError as error:
            one_line(error)
            return
        made.append(wanted)
        given_names = {word.partition("=")[0] for word in words}
        if not given_names & {"--security-opt", "--privileged"}:
            assert wanted.credentials.no_new_privs
            assert set(spec.masked_paths()) <= set(wanted.masked_paths)
        if not given_names & {"--userns", "--uidmap", "--gidmap"}:
            assert wanted.new_user
        for mount in wanted.mounts:
            assert mount.kind == "proc" or not (os.path.normpath(mount.target) + "/").startswith("/proc/")
        if "--cap-add" not in given_names and "--privileged" not in given_names:
            assert not wanted.credentials.capabilities["bounding"] >> abi.CAP_SYS_ADMIN & 1

    attempt()
    assert len(made) > 50  # else the lines above judge nothing


TARGETS = st.lists(st.sampled_from(["/", "proc", "dev", "..", ".", "a", "//", ":", "\n", "sys"]), max_size=6)
VOLUME_WORDS = (
    "ro rw nosuid suid nodev dev noexec exec rbind bind private rslave rro idmap z U O x".split() + [""]
)


@SOME
@given(TARGETS.map("".join), st.lists(st.sampled_from(VOLUME_WORDS), max_size=3))
def test_any_volume_is_a_mount_in_its_place_or_one_line(target, words):
    text = "/etc:" + target + (":" + ",".join(words) if words else "")
    try:
        made = volumes.volume(text)
    except ContainerError as error:
        one_line(error)
        return
    place, words = made["destination"], text.split(":")[2:] and text.split(":")[2].split(",")
    assert place == os.path.normpath(place) and place.startswith("/") and not place.startswith("//")
    assert place not in ("/", "/dev", "/proc") and not place.startswith("/proc/")
    readonly = {"ro", "rro"} & set(words)
    # where what is mounted below comes along it is for that, too
    expected = {"rro"} if readonly and "bind" not in words else readonly
    assert {"ro", "rro"} & set(made["options"]) == expected
    assert ("suid" in words) == ("suid" in made["options"]) != ("nosuid" in made["options"])
    assert ("dev" in words) == ("dev" in made["options"]) != ("nodev" in made["options"])


# --- real containers ------------------------------------------------------------------------------------

real = needs("root", "userns", "busybox")
LOOK = """\
echo "== status"; cat /proc/self/status
echo "== mounts"; cat /proc/self/mountinfo
echo "== namespaces"; for n in /proc/self/ns/*; do readlink $n; done
"""


@pytest.fixture
def bundle(busybox_copy):
    made = bundles.Bundle(busybox_copy())
    for name in ("v", "m", "x"):  # in a root of the host's nothing can be made by whom it does not know
        os.mkdir(made.root + "/" + name)
    return made


@real
def test_any_configuration_that_runs_is_as_confined_as_it_says(bundle, minictr):
    """Sixty of them, each a container or one line."""
    runtime, cgroup, ran = bundles.Runtime("minictr", minictr), bundle.linux["cgroupsPath"], []
    ours = {os.readlink("/proc/self/ns/" + name) for name in os.listdir("/proc/self/ns")}

    @settings(FEW, max_examples=60)
    @given(changed(document(user=True)))
    def attempt(made):
        linux = made.get("linux")
        if isinstance(linux, dict):
            linux["cgroupsPath"] = cgroup
        if made.get("root") != {"path": "rootfs", "readonly": True} and isinstance(made.get("root"), dict):
            made["root"]["path"] = "rootfs"  # the host's own would be written to
        if isinstance(made.get("process"), dict) and made["process"].get("args") == ["true"]:
            made["process"]["args"] = ["sh", "-c", LOOK]
        bundle.config = made
        found = runtime.run(bundle, timeout=30)
        said = re.sub(r"(?m)^minictr: warning: capabilities: .*\n", "", found.err)  # of unknown ones
        if found.status in (123, 125, 126, 127):
            assert re.match(r"minictr: [^\n]+\n$", said) and not found.out, found
            return
        assert "Traceback" not in said and "minictr:" not in said, found
        if not found.out.startswith("== status\nName"):  # another program, or no /proc to tell by
            return
        ran.append(made)
        parts = dict(part.split("\n", 1) for part in found.out.split("== ")[1:])
        status = dict(line.split(":", 1) for line in parts["status"].splitlines())
        process = made["process"]
        assert int(status["NoNewPrivs"]) == int(bool(process.get("noNewPrivileges")))
        bounding = (process.get("capabilities") or {}).get("bounding") or ()
        assert not int(status["CapBnd"], 16) & ~sum(
            1 << abi.CAPABILITIES.index(name) for name in set(bounding) if name in abi.CAPABILITIES
        )
        for name in ("Inh", "Amb"):
            asked = (process.get("capabilities") or {}).get({"Inh": "inheritable", "Amb": "ambient"}[name])
            assert int(status["Cap" + name], 16) == 0 or asked
        assert status.get("Seccomp", "\t2") == ("\t2" if linux.get("seccomp") else "\t0")
        user = process.get("user") or {}
        ids = [[str(user.get(name, 0))] * 4 for name in ("uid", "gid")]
        assert [status["Uid"].split(), status["Gid"].split()] == ids
        groups = {user.get("gid", 0), *(user.get("additionalGids") or ())}
        assert {int(group) for group in status["Groups"].split()} <= groups
        if user.get("umask") is not None:
            assert int(status["Umask"], 8) == user["umask"]
        masked = linux.get("maskedPaths") or ()
        if not parts["namespaces"] and [path for path in masked if path.startswith("/proc")]:
            return  # the shell's own folder is covered
        asked = {entry["type"] for entry in linux["namespaces"]}
        new = {line.partition(":")[0] for line in parts["namespaces"].splitlines() if line not in ours}
        names = {kind: abi.NAMESPACES[kind][0] for kind in asked}
        assert set(names.values()) <= new | {"net"}, (names, new)
        mounts = [bundles.Mount(line) for line in parts["mounts"].splitlines()]
        for entry in made.get("mounts") or ():
            if entry["destination"] in masked:
                continue  # what is seen there is the mask
            for mount in [mount for mount in mounts if mount.point == entry["destination"]][-1:]:
                for word in ("ro", "nosuid", "nodev", "noexec"):
                    opposite = {"ro": "rw"}.get(word, word[2:])
                    if word in (entry.get("options") or ()) and opposite not in entry["options"]:
                        assert word in mount.options, (entry, mount)

    try:
        attempt()
    finally:
        bundle.config = document()
    assert len(ran) > 3


# --- what is kept of a container, changed by hand -------------------------------------------------

VERBS = [
    ["state", "ID"], ["list"], ["list", "--format=json"], ["ps", "--format=json", "ID"], ["kill", "ID", "0"],
    ["kill", "--all", "ID", "0"], ["stats", "ID"], ["events", "--stats", "ID"], ["exec", "ID", "true"],
    ["exec", "--user=1000", "ID", "true"], ["exec", "--process=FILE", "ID"], ["pause", "ID"],
    ["update", "--pids-limit=90", "ID"], ["resume", "ID"], ["delete", "ID"],
]  # fmt: skip


def called(words, timeout=30):
    """The status of minictr with WORDS in a child of ours, which has all its modules, and what it says."""
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            try:
                null = os.open("/dev/null", os.O_RDONLY)
                for source, target in ((null, 0), (said.fileno(), 1), (said.fileno(), 2)):
                    os.dup2(source, target)
                sys.stdout = open(1, "w", closefd=False, encoding="utf-8", errors="surrogateescape")
                sys.stderr = open(2, "w", closefd=False)
                status = cli.main(words)
                sys.stdout.flush()
                os._exit(status)
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(99)
        end = time.monotonic() + timeout
        found, status = os.waitpid(pid, os.WNOHANG)
        while not found and time.monotonic() < end:
            time.sleep(0.002)
            found, status = os.waitpid(pid, os.WNOHANG)
        if not found:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return 99, "it did not come to an end"
        said.seek(0)
        return os.WEXITSTATUS(status), said.read().decode("utf-8", "surrogateescape")


def told(words, found):
    """Where it fails, that is told in one line which nobody is asked to report."""
    status, said = found
    assert status != 99 and "Traceback" not in said and "please report" not in said, (words, found)
    if status and words[0] != "exec":  # of which 1 is the program's
        assert re.search(r"(?m)^minictr: [^\n]+\n\Z", said), (words, found)


@real
@pytest.mark.parametrize("file", ["config.json", "state.json"])
def test_whatever_is_kept_of_a_container_a_verb_does_it_or_says_why_in_one_line(busybox_copy, minictr, file):
    made = bundles.Bundle(busybox_copy(), document())
    made.process.update(
        args=["sleep", "1000"], user={"uid": 0, "gid": 0, "additionalGids": [3], "umask": 0o22}
    )
    made.process.update(scheduler={"policy": "SCHED_OTHER"}, ioPriority={"class": "IOPRIO_CLASS_BE"})
    made.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {
                "names": ["acct"],
                "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}],
            }
        ],
    }
    hook = {"path": "/bin/true", "args": ["true"], "env": ["A=B"], "timeout": 5}
    made.config["hooks"] = {name: [dict(hook)] for name in ("poststart", "poststop")}
    runtime = bundles.Runtime("minictr", minictr)
    runtime.run(made, "--detach").ok
    kept = os.path.join(minictr.state(), made.identifier)
    process = os.path.join(made.path, "process.json")
    with open(process, "w") as out:
        json.dump({"args": ["true"], "cwd": "/", "user": {"uid": 5, "gid": 5}}, out)
    names = {"ID": made.identifier, "--process=FILE": "--process=" + process}
    before = {}
    for name in ("config.json", "state.json"):
        with open(os.path.join(kept, name)) as text:
            before[name] = text.read()

    def keep(changes):
        for name, text in dict(before, **changes).items():
            with open(os.path.join(kept, name), "w") as out:
                out.write(text)

    @settings(FEW, max_examples=50)
    @given(changed(json.loads(before[file])), st.sampled_from(VERBS), st.integers(0, 5))
    def attempt(content, verb, lost):
        changes = {file: json.dumps(content)}
        if file == "config.json" and not lost:
            changes["state.json"] = "{"
        for words in (verb, VERBS[8]):  # exec reads most of it
            keep(changes)
            words = ["--root", minictr.state()] + [names.get(word, word) for word in words]
            told(words[2:], called(words))
            keep({})
            if verb == ["pause", "ID"]:
                called(["--root", minictr.state(), "resume", made.identifier])

    try:
        attempt()
    finally:
        keep({})
        assert runtime.verb("delete", "--force", made.identifier).ok


@real
def test_any_user_is_who_it_says_or_one_line(minictr, busybox_root):
    known = {"root": 0, "daemon": 1, "app": 1000, "nobody": 65534, "": 0}
    texts = st.text(max_size=6) | st.sampled_from(
        ["0", "00", "1000", "65535", "65536", "4294967294", "4294967295", "4294967296", "-1", "+1",
         "1e3", "0x0", " 0",
         "0 ", "app", "root\n", "nobody", "app:app", "1000:29", "\u0661", "app:", ":app", "1.0",
         "18446744073709551616"]
    )  # fmt: skip

    @FEW
    @given(texts.filter(lambda text: "\0" not in text))
    def attempt(text):
        found = minictr("run", "--user=" + text, "--read-only", "--rootfs", busybox_root, "--", "id", "-u")
        if found.status:
            assert found.status in (123, 125) and re.match(r"minictr: [^\n]+\n$", found.err), found
            assert found.out == ""
            return
        name = text.partition(":")[0]
        expected = known.get(name, int(name) if re.match("[0-9]+$", name) else None)
        assert found.ok.out == "%s\n" % expected, found

    attempt()
