"""--security-opt seccomp=: a profile in the form that Docker and podman keep it in, and the builtin one."""

import hashlib
import json
import os

import make_seccomp_ready
import pytest
import seccomp_reference as reference

from minictr import abi, host, options, seccomp, seccomp_default, seccomp_file, seccomp_ready, spec
from minictr.errors import ContainerError

DEFAULT = set(spec.DEFAULT_CAPABILITIES)


def config(*argv):
    return options.parse(list(argv) + ["--", "true"]).config


def option(value):
    return config("--security-opt", "seccomp=" + value)["linux"].get("seccomp")


# --- which one ----------------------------------------------------------------------------------


def builtin(*more):
    return seccomp_default.profile(DEFAULT | set(more), abi.machine(), host.kernel())


def test_the_builtin_profile_is_the_default_and_follows_the_capabilities():
    assert config()["linux"]["seccomp"] == option("builtin") == builtin()
    assert config("--cap-add", "SYS_ADMIN")["linux"]["seccomp"] == builtin("CAP_SYS_ADMIN") != builtin()
    argv = ("--security-opt=seccomp=builtin", "--cap-drop=SYS_CHROOT")
    assert config(*argv)["linux"]["seccomp"] != builtin()


def test_without_a_profile_there_is_no_filter():
    assert option("unconfined") is None


def test_the_last_profile_counts():
    both = ["--security-opt=seccomp=unconfined", "--security-opt=seccomp=builtin"]
    assert "seccomp" in config(*both)["linux"]
    assert "seccomp" not in config(*both[::-1])["linux"]


# --- compiled beforehand ------------------------------------------------------------------------


def test_the_program_that_is_kept_is_the_one_that_would_be_compiled():
    """If not: python3 tests/make_seccomp_ready.py >minictr/seccomp_ready.py"""
    with open(seccomp_ready.__file__) as file:
        assert file.read() == make_seccomp_ready.text()


@pytest.mark.parametrize("machine", make_seccomp_ready.MACHINES)
def test_it_is_found_for_that_profile_alone(machine):
    profile = seccomp_default.profile(DEFAULT, machine)
    assert seccomp_ready.find(profile, machine) == seccomp_ready.PROGRAMS[machine]
    assert seccomp_ready.find(json.loads(json.dumps(profile)), machine)  # as state keeps it
    others = [seccomp_default.profile(DEFAULT | {"CAP_SYS_ADMIN"}, machine)]
    others += [seccomp_default.profile(DEFAULT, machine, (4, 7)), {"defaultAction": "SCMP_ACT_ALLOW"}]
    changed = json.loads(json.dumps(profile))
    changed["syscalls"][-1]["args"][0]["value"] = 1
    others += [changed, dict(profile, defaultAction="SCMP_ACT_KILL"), dict(profile, flags=[])]
    assert [seccomp_ready.find(other, machine) for other in others] == [None] * len(others)
    assert seccomp_ready.find(profile, "s390x") is None


# --- a file -------------------------------------------------------------------------------------


class Kept:
    """A profile file with RULES, and what becomes of it."""

    def __init__(self, path):
        self.path = str(path)

    def load(self, content, *capabilities):
        with open(self.path, "w") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))
        return seccomp_file.load("seccomp=" + self.path, self.path, DEFAULT | set(capabilities))

    def names(self, *rules, **more):
        """The names of the RULES that are left."""
        capabilities = more.pop("capabilities", ())
        given = dict({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(rules)}, **more)
        return [rule["names"][0] for rule in self.load(given, *capabilities)["syscalls"]]

    def refusal(self, content):
        with pytest.raises(ContainerError) as caught:
            self.load(content)
        assert str(caught.value).startswith("--security-opt seccomp=%s: " % self.path)
        assert "\n" not in str(caught.value)
        return caught.value.why


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(abi, "machine", lambda: "x86_64")
    monkeypatch.setattr(host, "kernel", lambda: (5, 10))
    return Kept(tmp_path / "profile.json")


def rule(called, **more):
    return dict({"names": [called], "action": "SCMP_ACT_ALLOW"}, **more)


def test_a_profile_as_config_json_has_it_stays_as_it_is(kept):
    given = {
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/run/a", "listenerMetadata": "m",
        "syscalls": [rule("mkdir", action="SCMP_ACT_NOTIFY"),
                     rule("read", args=[{"index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_EQ"}])],
    }  # fmt: skip
    assert kept.load(given) == given


def test_what_others_leave_null_or_empty_is_as_good_as_absent(kept):
    empty = {"args": None, "comment": "", "includes": {}, "excludes": None, "errnoRet": None, "name": ""}
    given = {"defaultAction": "SCMP_ACT_ERRNO", "archMap": None, "flags": None}
    assert kept.load(dict(given, syscalls=[rule("read", **empty)])) == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [rule("read")],
    }
    assert kept.load(given)["syscalls"] == []


@pytest.mark.parametrize(
    ("includes", "excludes", "stays"),
    [
        ({"caps": ["CAP_SYS_ADMIN"]}, {}, False), ({"caps": ["CAP_CHOWN"]}, {}, True),
        ({"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}, {}, False),
        ({}, {"caps": ["CAP_SYS_ADMIN"]}, True), ({}, {"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"]}, False),
        ({"arches": ["amd64"]}, {}, True), ({"arches": ["arm64", "x86"]}, {}, False),
        ({}, {"arches": ["amd64"]}, False), ({}, {"arches": ["s390x"]}, True),
        ({"minKernel": "4.8"}, {}, True), ({"minKernel": "5.10"}, {}, True),
        ({"minKernel": "5.11"}, {}, False), ({"minKernel": "10.0"}, {}, False),
        ({}, {"minKernel": "5.10"}, False), ({}, {"minKernel": "5.11"}, True),
        ({"caps": ["CAP_CHOWN"], "arches": ["arm"]}, {}, False),
        ({"caps": ["CAP_CHOWN"]}, {"caps": ["CAP_KILL"]}, False),
    ],
)  # fmt: skip
def test_a_rule_is_for_some_containers_machines_and_kernels(kept, includes, excludes, stays):
    given = [rule("read", includes=includes, excludes=excludes), rule("write")]
    assert kept.names(*given) == (["read"] if stays else []) + ["write"]


def test_a_capability_that_is_added_brings_its_rules(kept):
    given = rule("mount", includes={"caps": ["CAP_SYS_ADMIN"]})
    assert kept.names(given, capabilities=["CAP_SYS_ADMIN"]) == ["mount"]


def test_architectures_are_those_of_the_machine(kept):
    table = [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_MIPS64", "subArchitectures": ["SCMP_ARCH_MIPS"]},
    ]
    given = {"defaultAction": "SCMP_ACT_ERRNO", "archMap": table}
    assert kept.load(given)["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert kept.load(dict(given, archMap=table[1:]))["architectures"] == []


def test_errnos_may_be_words(kept):
    given = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS"}
    given["syscalls"] = [
        rule("read", action="SCMP_ACT_ERRNO", errno="EACCES"),
        rule("write", action="SCMP_ACT_ERRNO", errno="EPERM", errnoRet=1),
    ]
    made = kept.load(given)
    assert made["defaultErrnoRet"] == 38
    assert [one["errnoRet"] for one in made["syscalls"]] == [13, 1]


def test_one_name_may_stand_for_many(kept):
    assert kept.names({"name": "read", "action": "SCMP_ACT_ALLOW"}) == ["read"]


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"defaultAction": None}, "defaultAction: is missing"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "defaultAction: SCMP_ACT_NOTIFY would stop the start itself"),
        ({"defaultErrno": "ENONSENSE"}, "defaultErrno: ENONSENSE is not known"),
        ({"defaultErrno": "errorcode"}, "defaultErrno: errorcode is not known"),
        ({"defaultErrno": "EPERM", "defaultErrnoRet": 2}, "defaultErrno: EPERM is not 2, which"),
        ({"architectures": ["SCMP_ARCH_VAX"]}, "architectures: 'SCMP_ARCH_VAX' is not known"),
        ({"architectures": ["SCMP_ARCH_X86"], "archMap": [{}]}, "archMap: says the same as architectures"),
        ({"archMap": [{"architecture": "SCMP_ARCH_VAX"}]}, "archMap[0].architecture: SCMP_ARCH_VAX is"),
        ({"archMap": {}, "flags": ["X"]}, "flags: 'X' is not known"),
        ({"archMap": 1}, "archMap: is not a list"),
        ({"listenerPath": 1}, "listenerPath: is not a string"),
        ({"defaultActoin": 1}, "'defaultActoin' is not known; known are defaultAction"),
        ({"syscalls": {}}, "syscalls: is not a list"),
        ({"syscalls": ["read"]}, "syscalls[0]: is not an object"),
        ({"syscalls": [rule("a"), rule("b", action="ALLOW")]}, "syscalls[1].action: 'ALLOW' is not known"),
        ({"syscalls": [rule("b", action="SCMP_ACT_NOTIFY")]}, "syscalls[0].action: SCMP_ACT_NOTIFY needs"),
        ({"syscalls": [rule("b", name="c")]}, "syscalls[0].name: says the same as names"),
        ({"syscalls": [rule(1)]}, "syscalls[0].names: holds something that is not a string"),
        ({"syscalls": [rule("b", exclude={})]}, "syscalls[0]: 'exclude' is not known; known are names"),
        ({"syscalls": [rule("b", args=[{"valu": 1}])]}, "syscalls[0].args[0]: 'valu' is not"),
        ({"syscalls": [rule("b", args=[{"op": "EQ"}])]}, "syscalls[0].args[0].op: 'EQ' is not"),
        ({"syscalls": [rule("b", includes={"cap": []})]}, "syscalls[0].includes: 'cap' is not known"),
        ({"syscalls": [rule("b", includes={"caps": [1]})]}, "syscalls[0].includes.caps: holds something"),
        ({"syscalls": [rule("b", includes={"minKernel": "new"})]}, "syscalls[0].includes.minKernel: new"),
        ({"syscalls": [rule("b", includes={"minKernel": "4.\u00b2"})]}, "syscalls[0].includes.minKernel: 4."),
        ({"syscalls": [rule("b", excludes={"minKernel": "4." + "8" * 5000})]}, "syscalls[0].excludes"),
        ({"syscalls": [rule("a\nb", errno="E\nX")]}, r"syscalls[0].errno: E\nX is not"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_wrong_is_named(kept, changes, why):
    given = dict({"defaultAction": "SCMP_ACT_ERRNO"}, **changes)
    assert kept.refusal(given).startswith(why)


@pytest.mark.parametrize(
    "content, why",
    [
        ("", "is not JSON: "), ("{", "is not JSON: "), ("[" * 100000, "is not JSON: nested too deeply"),
        ("[]", "is not an object"), ("7", "is not an object"), ('"\\ud800"', "is not an object"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_profile_is_an_error(kept, content, why):
    assert kept.refusal(content).startswith(why)


def test_bytes_that_are_no_text_are_an_error(kept):
    with open(kept.path, "wb") as file:
        file.write(b'{"defaultAction": "\xff"}')
    with pytest.raises(ContainerError, match="is not JSON: "):
        seccomp_file.load("x", kept.path, DEFAULT)


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda path: None, "No such file or directory"), (os.mkdir, "Is a directory"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: os.symlink("/dev/zero", path), "is not a regular file"),
        (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40), "is longer than 4 MiB"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error_at_once(kept, make, why):
    make(kept.path)
    with pytest.raises(ContainerError) as caught:
        seccomp_file.load("seccomp=x", kept.path, DEFAULT)
    assert str(caught.value) == "--security-opt seccomp=x: " + why


def test_a_path_may_be_relative(kept, tmp_path, monkeypatch):
    kept.load({"defaultAction": "SCMP_ACT_LOG"})
    monkeypatch.chdir(str(tmp_path))
    assert option("profile.json") == {"defaultAction": "SCMP_ACT_LOG", "syscalls": []}


# --- one that is in use -------------------------------------------------------------------------

PODMAN = "/usr/share/containers/seccomp.json"
OF_PODMAN_4 = "cc374cf23846ce1f62f4dc807a8e2b8673c783c6f56cb475467621035d281e6c"


def same_podmans() -> bool:
    with open(PODMAN, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest() == OF_PODMAN_4


@pytest.mark.skipif(not os.path.exists(PODMAN), reason="the package golang-github-containers-common has it")
@pytest.mark.skipif(os.path.exists(PODMAN) and not same_podmans(), reason="the configuration is by podman 4")
@pytest.mark.skipif(abi.machine() != "x86_64", reason="the configuration is of an x86_64 machine")
def test_podmans_own_file_means_what_podman_makes_of_it():
    """podman's configuration of a container has the profile as podman reads its file."""
    theirs = reference.fixture("podman-root")
    ours = seccomp_file.load("x", PODMAN, DEFAULT)

    assert seccomp.compile(ours, "x86_64").program == seccomp.compile(theirs, "x86_64").program
