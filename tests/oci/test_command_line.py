"""What stands before and beside the verbs: global options, help, --version, features; and what engines
make of it."""

import json
import os
import re
import socket
import sys

import bundles
import pytest
import support
from support import needs

from minictr import __version__, cli, features, hooks, mounts, report, scheduling, seccomp
from minictr.errors import ContainerError, Degradation

# --- help -----------------------------------------------------------------------------------------

HELPFUL = sorted(set(cli.VERBS) - {"help", "version", "checkpoint", "restore"})


@pytest.mark.parametrize("verb", HELPFUL)
def test_every_verb_has_help(minictr, verb):
    found = minictr(verb, "--help", state=False).ok
    assert found.lines[0].startswith("usage: minictr %s" % verb)
    assert minictr("help", verb, state=False) == found_of(found)
    if verb in ("run", "explain", "report"):  # there it is --hostname
        assert minictr(verb, "-h", state=False).status == 125
    else:
        assert minictr(verb, "-h", state=False) == found_of(found)


@pytest.mark.parametrize("verb", ["run", "create", "explain", "report"])
def test_help_is_a_flag_that_may_have_a_value(minictr, verb):
    wanted = minictr(verb, "--help", state=False).ok.out
    assert minictr(verb, "--help=true", "--", "true", state=False) == (0, wanted, "")
    said = "minictr: --help x: is true or false, or nothing\n"
    assert minictr(verb, "--help=x", "--", "true", state=False) == (125, "", said)


def test_a_configuration_is_written_into_a_bundle_that_has_none(minictr, tmp_path):
    assert minictr("spec", "-b", str(tmp_path)) == (0, "", "")
    path = tmp_path / "config.json"
    assert path.read_text() == minictr("spec").ok.out
    path.write_text("mine")
    why = "write %s: File exists; hint: it is left as it is" % path
    assert minictr("spec", "--bundle=%s" % tmp_path) == (125, "", "minictr: %s\n" % why)
    assert path.read_text() == "mine"


def found_of(result):
    return result.status, result.out, result.err


def test_the_list_of_verbs_is_whole(minictr):
    found = [line.split()[0] for line in minictr("--help", state=False).ok.lines if line.startswith("  ")]
    assert sorted(word for word in found if not word.startswith("-") and word in cli.VERBS) == HELPFUL


@pytest.mark.parametrize(
    "words, message",
    [
        (["help", "nonsense"], "show help: unknown topic nonsense; hint: minictr --help"),
        (["--help", "nonsense"], "show help: unknown topic nonsense; hint: minictr --help"),
        (["nonsense", "--help"], "read the options: unknown verb nonsense; hint: minictr --help"),
        (["lst"], "read the options: unknown verb lst; hint: did you mean list?"),
        (["ls"], "read the options: unknown verb ls; hint: minictr list"),
        (["pull", "x"], "read the options: unknown verb pull; hint: there are no images: run --rootfs DIR"),
        (["a\nb"], "read the options: unknown verb a\\nb; hint: minictr --help"),
    ],
)
def test_a_topic_that_nobody_knows_is_an_error(minictr, words, message):
    assert minictr(*words, state=False) == (125, "", "minictr: %s\n" % message)


@pytest.mark.parametrize("verb", ["exec", "ps"])
def test_help_behind_an_id_is_asked_of_another_program(minictr, verb):
    found = minictr(verb, "nobody", "--help")
    assert (found.status, found.out) == (255 if verb == "exec" else 125, "")
    assert "container does not exist" in found.err


# --- checkpoint and restore -----------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["checkpoint", "restore"])
@pytest.mark.parametrize("words", [["--help"], ["x"], []], ids=["--help", "an id", "nothing"])
def test_neither_checkpoint_nor_restore_can_be_had(minictr, verb, words):
    message = "minictr: %s: not supported: minictr neither saves nor restores processes\n" % verb
    assert minictr(verb, *words) == (125, "", message)


# --- --version ------------------------------------------------------------------------------------


def by_docker(text):
    """Name, version and commit, as parseRuntimeVersion() in moby daemon/info_unix.go finds them."""
    name = version = commit = ""
    for line in text.strip().split("\n"):
        if "version" in line:
            parts = line.split("version")
            name, version = parts[0].strip(), parts[-1].strip()
        elif line.startswith("commit:"):
            commit = line[len("commit:") :].strip()
    return name, version, commit


def by_go_runc(text):
    """The version, the commit and the specification's, as go-runc once found them, or ValueError."""
    one, two, three = text.strip().split("\n")
    (_, version), (_, commit), (_, spec) = one.split("version "), two.split(": "), three.split(": ")
    return version, commit, spec


def test_engines_find_the_version(minictr):
    found = minictr("--version", state=False).ok
    release = "minictr-" + __version__
    assert by_docker(found.out) == ("minictr", __version__, release)
    assert by_go_runc(found.out) == (__version__, release, "1.3.0")
    assert found.lines[0] == "minictr version " + __version__
    assert minictr("version", state=False) == found_of(found)


# --- global options ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ["--systemd-cgroup"], ["--systemd-cgroup=false"], ["--debug"], ["--debug=True"], ["--debug=0"],
        ["--rootless", "auto"], ["--rootless=true"], ["--rootless=false"],
        ["--cgroup-manager=cgroupfs"], ["--cgroup-manager", "systemd"], ["--cgroup-manager", "disabled"],
        ["--criu", "/usr/sbin/criu"],
        ["--log-format=json", "--rootless", "true", "--systemd-cgroup", "--debug"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_global_options_of_engines_are_taken(minictr, options):
    assert minictr(*(options + ["list", "--quiet"])) == (0, "", "")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--rootless=maybe"], "read the options: --rootless is true, false or auto"),
        (["--rootless"], "read the options: --rootless needs a value"),
        (["--cgroup-manager=x"], "read the options: --cgroup-manager is cgroupfs, systemd or disabled"),
        (["--log-format", "xml"], "read the options: --log-format is text or json"),
        (["--debug=maybe"], "--debug maybe: is true or false, or nothing"),
        (["--systemd-cgroup="], "--systemd-cgroup: is true or false, or nothing"),
        (["--frobnicate"], "read the options: unknown global option --frobnicate; hint: minictr --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_global_option_is_named(minictr, words, message):
    words = words + (["list"] if words != ["--rootless"] else [])
    assert minictr(*words, state=False) == (125, "", "minictr: %s\n" % message)


@pytest.mark.parametrize("words", [["doctor"], ["features"], ["spec"], ["--help"]], ids=" ".join)
def test_who_reads_may_stop_reading(minictr, words):
    reader, writer = os.pipe()
    os.close(reader)
    found = minictr.command(
        sys.executable, "-u", "-m", "minictr", *words, env={"PYTHONPATH": support.CHECKOUT},
        setup=lambda: os.dup2(writer, 1), pass_fds=(writer,),
    )  # fmt: skip
    os.close(writer)
    assert (found.status, found.err) == (141, "")


@pytest.mark.parametrize(
    "words", [["list"], ["features"], ["explain", "--", "true"], ["--version"]], ids=" ".join
)
@pytest.mark.parametrize("python", [[], ["-u"]], ids=["at the end", "at once"])
def test_an_answer_that_finds_no_room_is_an_error(minictr, words, python):
    with open("/dev/full", "w") as full:
        found = minictr.command(
            sys.executable, *python, "-m", "minictr", *words,
            env={"PYTHONPATH": support.CHECKOUT}, setup=lambda: os.dup2(full.fileno(), 1),
            pass_fds=(full.fileno(),),
        )  # fmt: skip
    assert (found.status, found.err.count("\n")) == (125, 1), found
    assert found.err.startswith("minictr: ") and found.err.endswith(": No space left on device\n")


def test_a_notice_in_a_log_has_a_level_that_engines_know(tmp_path):
    log = tmp_path / "log"
    reporter = report.Report(str(log))
    reporter.seen(Degradation("code", "layer", "more", "less", "something", level="notice"))
    assert " level=info " in log.read_text()


def test_what_is_said_in_a_log_stays_between_its_quotes(tmp_path, capfd):
    """A name of the image's, say, must not end the field and begin one of its own."""
    log = tmp_path / "log"
    reporter = report.Report(str(log))
    for word in ('a" level=info msg="b', 'a\\" level=info msg=\\"b', "a\\", "a\nb\x1b[2J"):
        reporter.error(ContainerError("run " + word, "no"))
    for line in log.read_text().splitlines():
        said = line.partition(" msg=")[2]
        assert re.fullmatch(r'"([^"\\]|\\.)*"', said), line
    assert len(log.read_text().splitlines()) == 4
    assert "\x1b" not in log.read_text() + capfd.readouterr().err


@pytest.mark.parametrize("joined", [False, True], ids=["--log FILE", "--log=FILE"])
def test_engines_find_the_error_in_the_log(minictr, tmp_path, joined):
    log = str(tmp_path / "log")
    words = ["--log=" + log, "--log-format=json"] if joined else ["--log", log, "--log-format", "json"]
    assert minictr(*(words + ["pause", "nobody"])).status == 125
    with open(log) as file:
        lines = [json.loads(line) for line in file]
    assert [(line["level"], line["msg"]) for line in lines] == [("error", "container does not exist: nobody")]


# --- features -----------------------------------------------------------------------------------------


@pytest.fixture
def told(minictr):
    return json.loads(minictr("features", state=False).ok.out)


def test_features_are_what_the_specification_wants_of_them(told):
    import jsonschema

    made = bundles.schema("features-schema.json")
    jsonschema.Draft4Validator(made).validate(told)

    def closed(schema, value, path=""):
        """What VALUE has and SCHEMA does not speak of."""
        known = schema.get("properties")
        if known is None or not isinstance(value, dict):
            return []
        found = []
        for name, item in value.items():
            inner = closed(known[name], item, path + name + ".") if name in known else [path + name]
            found += inner
        return found

    # features-linux.md and specs-go/features of 1.3 have these; the schema does not yet
    later = ["linux.intelRdt.schemata", "linux.intelRdt.monitoring", "linux.memoryPolicy"]
    assert [name for name in closed(made, told) if name not in later] == []


def test_features_takes_no_argument(minictr):
    assert minictr("features", "x") == (
        125,
        "",
        "minictr: read the options: features takes none, not x; hint: minictr features --help\n",
    )


# The table of config.md, but for remount, and mount options of file systems there
OPTIONS = """
async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime
noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev
rdiratime rnodev
relatime rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate
rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime
suid symfollow sync tmpcopyup unbindable idmap ridmap
"""


def test_every_mount_option_of_the_features_is_one(told):
    assert len(set(told["mountOptions"])) == len(told["mountOptions"])
    for option in told["mountOptions"]:
        made = mounts.parse("/x", "tmpfs", "x", [option])
        assert made.words == (), option
    for option in OPTIONS.split():
        assert option in told["mountOptions"], option


@pytest.mark.parametrize("option", ["nofail", "noauto"])
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_what_is_meant_for_mount_8_is_left_out_of_a_mount(option, kind):
    assert mounts.parse("/x", kind, "/y", [option]).words == ()


@pytest.mark.parametrize("option", [
    "copy", "nocopy", "z", "Z", "U", "cached", "delegated", "consistent", "volume-opt=o=size=1m,uid=3",
])  # fmt: skip
def test_what_engines_have_seen_to_is_left_out_of_a_bind_mount(option):
    """podman 4 hands on that nothing is to be copied into a volume, podman 5 what the volume itself was made
    with, buildah whatever was given; a file system may have an option of that name."""
    assert mounts.parse("/x", "bind", "/y", ["rbind", option]).words == ()
    assert mounts.parse("/x", "9p", "y", [option]).words == tuple(option.split(","))


def test_hooks_and_filters_are_those_of_the_code(told):
    assert told["hooks"] == list(hooks.NAMES)
    filters = told["linux"]["seccomp"]
    assert filters["operators"] == list(seccomp.OPERATORS)
    assert set(seccomp.ACTIONS) == set(filters["actions"])
    assert set(filters["supportedFlags"]) <= set(filters["knownFlags"])
    release = tuple(int(word) for word in os.uname().release.partition("-")[0].split(".")[:2])
    for flag, since in (("LOG", (4, 14)), ("SPEC_ALLOW", (4, 17)), ("WAIT_KILLABLE_RECV", (5, 19))):
        assert ("SECCOMP_FILTER_FLAG_" + flag in filters["supportedFlags"]) == (release >= since), flag


@needs("seccomp")
def test_flags_are_supported_that_this_kernel_knows(minictr):
    known = json.loads(minictr("features").ok.out)["linux"]["seccomp"]["supportedFlags"]
    assert "SECCOMP_FILTER_FLAG_LOG" in known  # since 4.14
    found = json.loads(minictr("features", refuse=["seccomp=ENOSYS"]).ok.out)
    assert found["linux"]["seccomp"]["supportedFlags"] == []


def test_what_few_ask_for_is_named_as_it_is_done(told):
    linux = told["linux"]
    for name in ("apparmor", "selinux", "intelRdt", "netDevices"):
        assert linux[name]["enabled"] is True, name
    assert linux["memoryPolicy"]["modes"] == list(scheduling.MEMORY_MODES)
    assert linux["memoryPolicy"]["flags"] == list(scheduling.MEMORY_FLAGS)


@needs("root", "busybox", "cgroup", "seccomp")
@pytest.mark.parametrize("action", sorted(seccomp.ACTIONS))
def test_the_actions_of_a_filter_are_taken_that_features_names(own, bundle, told, action, tmp_path):
    made = bundle()
    made.process["args"] = ["true"]
    rule = {"names": ["sched_rr_get_interval"], "action": action}
    made.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    with socket.socket(socket.AF_UNIX) as agent:  # which takes connections, and is asked nothing
        if action == "SCMP_ACT_NOTIFY":
            made.linux["seccomp"]["listenerPath"] = str(tmp_path / "agent")
            agent.bind(str(tmp_path / "agent"))
            agent.listen(1)
        assert action in told["linux"]["seccomp"]["actions"] and own.run(made).ok


@needs("root", "busybox", "cgroup")
def test_every_hook_runs_that_features_names(own, bundle, told, tmp_path):
    made = bundle()
    place = str(tmp_path / "ran")
    os.mkdir(place)
    made.config["mounts"].append(
        {"destination": place, "type": "bind", "source": place, "options": ["bind", "rw"]}
    )
    made.config["hooks"] = {
        name: [{"path": "/bin/mkdir", "args": ["mkdir", "%s/%s" % (place, name)]}] for name in told["hooks"]
    }
    made.process["args"] = ["true"]
    own.run(made).ok
    support.wait_until(lambda: sorted(os.listdir(place)) == sorted(told["hooks"]))


@needs("runc")
def test_runcs_features_have_no_property_that_ours_lack(told, minictr):
    theirs = json.loads(minictr.command("runc", "features").ok.out)
    assert set(theirs) - set(told) == set()
    assert set(theirs["linux"]) - set(told["linux"]) == set()
    assert told["annotations"]["org.opencontainers.runc.checkpoint.enabled"] == "false"
    assert features.structure()["ociVersionMax"] == "1.3.0"
