"""What minictr tells without making a container: spec, explain, --version, help, the global options."""

import json
import os
import sys

import pytest
import support
from support import needs

import minictr as package

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")


# --- spec ---------------------------------------------------------------------------------------


def bundle_of(minictr, busybox_copy, place, caller, *words):
    """A bundle with what `spec` prints, changed to run a command that shows itself."""
    account = caller.account
    root = caller.owns(busybox_copy)
    config = json.loads(minictr("spec", *words, **caller.options).ok.out)
    config["process"]["args"] = ["sh", "-c", "id -u; hostname; cat /proc/self/uid_map; touch /x"]
    config["root"]["path"] = root
    with open(place + "/config.json", "w") as file:
        json.dump(config, file)
    if account:
        os.chown(place, account.uid, account.gid)
    return config


def test_the_printed_configuration_runs_as_root(minictr, busybox_copy, tmp_path):
    class Root:
        account, options, owns = None, {}, staticmethod(lambda copy: copy())

    bundle_of(minictr, busybox_copy, str(tmp_path), Root)
    run = minictr("run", "--bundle", str(tmp_path), "spec-1")

    assert (run.status, run.lines[:2]) == (1, ["0", "minictr"])
    assert run.fields[2:] == ["0", "0", "4294967295"]
    assert "Read-only file system" in run.err


@pytest.mark.parametrize("name", ["ranged", "unranged", "no-helpers"])
def test_the_rootless_one_runs_for_a_user_whoever_that_is(minictr, request, busybox_copy, tmp_path, name):
    import callers

    caller = callers.make(request, name)
    bundle_of(minictr, busybox_copy, str(tmp_path), caller, "--rootless")
    run = minictr("run", "--bundle", str(tmp_path), "spec-1", **caller.options)

    assert (run.status, run.lines[:2]) == (1, ["0", "minictr"])
    assert run.fields[2:] == ["0", str(caller.account.uid), "1"]
    assert run.err == "touch: /x: Read-only file system\n"


def test_it_is_a_valid_document(minictr):
    for words in ((), ("--rootless",)):
        config = json.loads(minictr("spec", *words, user=65534).ok.out)
        assert config["ociVersion"] == "1.3.0"
        assert config["process"]["args"] == ["sh"] and config["root"]["path"] == "rootfs"
        kinds = {entry["type"] for entry in config["linux"]["namespaces"]}
        assert kinds == {"pid", "network", "ipc", "uts", "mount", "cgroup"} | ({"user"} if words else set())
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 65534, "size": 1}]


# --- explain ------------------------------------------------------------------------------------


def test_explain_tells_the_steps_and_takes_none(minictr, caller, busybox_root, tmp_path):
    words = ("-v", "%s:/data:ro" % tmp_path, "--hostname", "box", "-u", "app", "-w", "/x")
    words += ("--rootfs", busybox_root, "--", "sh", "-c", "echo ran")
    run = minictr("explain", *words, **caller.options)

    assert (run.status, run.err) == (0, "")
    lines = run.lines
    numbers = [int(line.split(".")[0]) for line in lines if line.split(".")[0].strip().isdigit()]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 15
    steps = [
        "clone into new namespaces", "map user ids", "set the host name box",
        "attach the root file system " + busybox_root, "mount proc on /proc",
        "mount %s on /data" % tmp_path, "make the devices /dev/null", "mask /proc/acpi",
        "change the root by pivot_root, else move, else chroot, else chdir", "change to the directory /x",
        "become user 1000", "execute sh -c echo ran",
    ]  # fmt: skip
    places = [[number for number, line in enumerate(lines) if step in line] for step in steps]
    assert [] not in places, run
    assert sorted(places) == places  # in the order in which they are taken
    assert "ran" not in lines
    assert os.listdir(minictr.state(caller.account)) == []
    assert not os.path.exists(busybox_root + "/data")


def test_only_a_container_that_starts_has_its_range_of_ids_noted_down(minictr, busybox_root, tmp_path):
    """What explain and doctor have said holds all the same: the same range is found again."""
    place = tmp_path / "minictr"
    cover = {"/var/lib": str(tmp_path), "/etc/subuid": "", "/etc/subgid": ""}
    words = ("--read-only", "--rootfs", busybox_root, "--", "cat", "/proc/self/uid_map")
    explained = minictr("explain", *words, cover=cover).ok.out
    assert minictr("doctor", cover=cover).status == 0
    assert not place.exists()

    start = minictr("run", *words, cover=cover).ok.fields[1]
    assert (place / "ids").read_text() == start + "\n"
    assert "map user ids 0 to %s (65536)" % start in explained
    assert minictr("explain", *words, cover=cover).ok.out.count(" to %s " % start) == 1


def test_a_range_of_ids_that_there_is_no_room_to_note_down_leaves_nothing(minictr, busybox_root, tmp_path):
    (tmp_path / "minictr").mkdir()
    cover = {"/var/lib": str(tmp_path), "/etc/subuid": "", "/etc/subgid": ""}
    words = (sys.executable, "-m", "minictr", "--root", minictr.state(None), "run", "--rootfs", busybox_root)
    script = "mount -t tmpfs -o size=4k,mode=755 tmpfs /var/lib/minictr; cd /var/lib/minictr; echo >full\n"
    script += '"$@" -- true && "$@" -- true && echo ran; ls'
    found = minictr.command(
        "sh", "-c", script, "sh", *words, cover=cover, env={"PYTHONPATH": support.CHECKOUT}
    )
    assert found.ok.fields == ["ran", "full"]


def test_a_range_of_ids_that_cannot_be_noted_down_is_recorded(minictr, busybox_root, tmp_path):
    """Nothing is weaker by it, so it is in the log and in the state alone."""
    cover = {"/var/lib": str(tmp_path), "/etc/subuid": "", "/etc/subgid": ""}
    script = 'mount -o remount,bind,ro /var/lib && exec "$@" true'
    words = (sys.executable, "-m", "minictr", "--root", minictr.state(None), "--log", "/dev/stderr")
    words = ("sh", "-c", script, "sh") + words + ("--log-format", "json", "run", "--rootfs", busybox_root)
    env = {"PYTHONPATH": support.CHECKOUT}
    for more in ((), ("--strict",)):
        found = minictr.command(*words, *more, "--", cover=cover, env=env)
        (record,) = [json.loads(line)["degradation"] for line in found.err.splitlines()]
        assert (found.status, record["level"], record["code"]) == (0, "notice", "range-unnoted")
        assert record["why"] == "/var/lib/minictr/ids cannot be written: Read-only file system"
        assert "subuid" in record["fix"]


@pytest.mark.parametrize("options", [("--uidmap", "0:7000:9", "--gidmap", "0:7000:9"), ("--userns", "host")])
def test_a_range_of_ids_that_is_not_taken_is_not_noted_down(minictr, busybox_root, tmp_path, options):
    cover = {"/var/lib": str(tmp_path), "/etc/subuid": "", "/etc/subgid": ""}
    minictr("run", *options, "--rootfs", busybox_root, "--", "true", cover=cover).ok
    assert os.listdir(str(tmp_path)) == []


def test_what_a_killed_process_left_of_the_note_does_not_matter(minictr, busybox_root, tmp_path):
    """Its number is this one's now."""
    cover = {"/var/lib": str(tmp_path), "/etc/subuid": "", "/etc/subgid": ""}
    words = (sys.executable, "-m", "minictr", "--root", minictr.state(None), "run", "--rootfs", busybox_root)
    script = 'mkdir /var/lib/minictr; echo 7777777777 >/var/lib/minictr/ids.$$; exec "$@" -- echo ran'
    found = minictr.command(
        "sh", "-c", script, "sh", *words, cover=cover, env={"PYTHONPATH": support.CHECKOUT}
    )
    assert found.ok.out == "ran\n"
    (name,) = os.listdir(str(tmp_path / "minictr"))
    assert name == "ids" and (tmp_path / "minictr" / name).read_text() != "7777777777\n"


@pytest.mark.parametrize("note", ["4000000000", "99999999999", "one"])
def test_a_note_of_a_range_that_cannot_be_is_none(minictr, busybox_root, tmp_path, note):
    (tmp_path / "minictr").mkdir()
    (tmp_path / "minictr" / "ids").write_text(note + "\n")
    cover = {"/var/lib": str(tmp_path), "/etc/subuid": "", "/etc/subgid": ""}
    words = ("run", "--rootfs", busybox_root, "--", "cat", "/proc/self/uid_map")
    start = minictr(*words, cover=cover).ok.fields[1]
    assert (tmp_path / "minictr" / "ids").read_text() == start + "\n"


def test_where_others_have_all_ids_root_is_told_what_helps(minictr, busybox_root, tmp_path):
    (tmp_path / "all").write_text("x:100000:2147383648\n")
    cover = dict.fromkeys(("/etc/subuid", "/etc/subgid"), str(tmp_path / "all"))
    words = "no range of 65536 ids is free below 2^31; hint: give root one in /etc/subuid and /etc/subgid"
    told = "minictr: choose id maps: %s, or --userns host\n" % words
    assert minictr("run", "--rootfs", busybox_root, "--", "true", cover=cover) == (125, "", told)
    assert minictr("run", "--userns", "host", "--rootfs", busybox_root, "--", "true", cover=cover).status == 0
    assert "no    id maps " in minictr("doctor", cover=cover).out


@pytest.mark.parametrize("manager, told", [("cgroupfs", False), ("disabled", True)])
def test_explain_knows_who_keeps_the_cgroup(minictr, busybox_root, manager, told):
    words = ("explain", "--rootfs", busybox_root, "--", "true")
    lines = minictr("--cgroup-manager", manager, *words).ok.lines
    assert (" 2. make no cgroup" in lines) is told


def test_steps_down_that_are_certain_are_told(minictr, unranged, busybox_root):
    run = minictr("explain", "--rootfs", busybox_root, "--", "true", user=unranged)

    (line,) = [line for line in run.ok.lines if "certain: " in line]
    assert "certain: id map: wanted a range of ids, got the caller's own id; " in line
    assert "/etc/subuid" in line and "fix: as root: usermod" in line  # as `run` would say it


def test_explain_as_json(minictr, caller, busybox_root):
    words = ("--json", "--rootfs", busybox_root, "-u", "app", "--", "sh", "-c", "echo ran")
    plan = json.loads(minictr("explain", *words, **caller.options).ok.out)

    assert plan["args"] == ["sh", "-c", "echo ran"]
    assert plan["root"]["path"] == busybox_root
    assert plan["credentials"]["uid"] == 1000
    assert "user" in plan["namespaces"] and plan["maps"]["way"] in ("direct", "helpers", "self")
    assert [mount["target"] for mount in plan["mounts"]][:2] == ["/proc", "/dev"]


def test_explain_prints_a_line_a_step_whatever_is_in_the_names(minictr, busybox_copy):
    root = busybox_copy()
    evil = root + "/e\x1b[2J\nvil"
    os.mkdir(evil)
    found = minictr(
        "explain", "-v", evil + ":/srv", "-w", "/w\x1b", "--rootfs", root, "--", "sh\x1b", "\n"
    ).ok
    numbers = [int(line.partition(".")[0]) for line in found.out.splitlines() if not line.startswith("    ")]
    assert numbers == list(range(1, len(numbers) + 1)), found
    assert "\x1b" not in found.out and "vil on /srv" in found.out


def test_explain_tells_how_each_mount_is_made_and_what_is_written_and_set(minictr, busybox_root, tmp_path):
    place = str(tmp_path)
    words = ("-v", place + ":/data:ro,noexec", "-v", place + ":/more:bind,ro", "--tmpfs", "/memory:size=1m")
    words += (
        "--pid-file",
        place + "/p",
        "--cidfile",
        place + "/c",
        "--log-file",
        place + "/l",
        "--umask",
        "27",
    )
    words += ("--ulimit", "nofile=5:10", "--ulimit", "core=-1", "--domainname", "nis", "--oom-score-adj", "7")
    words += ("--timeout", "3.5", "-e", "A=secret", "--rootfs", busybox_root, "--", "true")
    lines = [line.partition(". ")[2] for line in minictr("explain", *words).ok.lines]
    for line in [
        "write its output to %s/l" % place, "set oom_score_adj to 7", "set the domain name nis",
        "mount %s on /data (ro with all below, nosuid, nodev, noexec, ridmap)" % place,
        "mount %s on /more (ro, nosuid, nodev, ridmap)" % place,
        "mount tmpfs on /memory (nosuid, nodev, noexec, size=1m)", "set the umask to 0027",
        "set RLIMIT_NOFILE to 5, at most 10", "set RLIMIT_CORE to no limit", "take a new session keyring",
        "write its id to %s/c" % place, "write its process id to %s/p" % place,
        "give it the variables PATH, HOSTNAME, container, A, HOME and no other", "kill it after 3.5 seconds",
        "wait for its end, and forget it",
    ]:  # fmt: skip
        assert line in lines, lines
    assert os.listdir(place) == [] and "secret" not in str(lines)
    assert "leave it in the background" in minictr("explain", "-d", "--", "true").ok.out


def test_explain_of_a_bundle(minictr, busybox_copy, tmp_path):
    class Root:
        account, options, owns = None, {}, staticmethod(lambda copy: copy())

    config = bundle_of(minictr, busybox_copy, str(tmp_path), Root)
    names = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    config["hooks"] = {name: [{"path": "/h/" + name, "args": ["h", "A\x1b"]}] for name in names}
    (tmp_path / "config.json").write_text(json.dumps(config))
    run = minictr("explain", "--bundle", str(tmp_path), "some-id")

    assert "execute sh -c id -u" in run.ok.out
    hooks = [line.partition(". ")[2] for line in run.lines if " hook " in line]
    assert hooks == ["run the %s hook /h/%s A\\x1b" % (name, name) for name in names]
    assert os.listdir(minictr.state()) == []


@pytest.mark.parametrize(
    "words",
    [("--rootfs", "/no/where", "--", "true"), ("-u", "nobody-at-all", "--", "true"), ("--json",), ("x",)],
)
def test_explain_refuses_what_run_refuses(minictr, words):
    run = minictr("explain", *words)

    assert (run.status, run.out, run.err.count("\n")) == (125, "", 1)
    assert run.err.startswith("minictr: ")


def test_run_has_no_json(minictr):
    assert minictr("run", "--json", "--", "true") == (
        125,
        "",
        "minictr: run: --json is an option of explain and report\n",
    )


# --- version, help, global options --------------------------------------------------------------


@pytest.mark.parametrize("word", ["--version", "-v", "-V", "version"])
def test_the_version(minictr, word):
    lines = minictr(word, state=False).ok.lines

    assert lines[0] == "minictr version " + package.__version__
    assert "spec: 1.3.0" in lines


VERBS = ("run", "explain", "spec", "doctor", "list", "state", "kill", "stop", "delete")


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_help_names_every_verb(minictr, words):
    out = minictr(*words, state=False).ok.out

    assert out.startswith("usage: minictr ")
    assert [verb for verb in VERBS if "\n  %s " % verb not in out] == []


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_in_two_ways(minictr, verb):
    out = minictr(verb, "--help", state=False).ok.out

    assert out.startswith("usage: minictr %s" % verb)
    assert minictr("help", verb, state=False).ok.out == out
    assert max(len(line) for line in out.splitlines()) <= 110


def test_help_behind_two_dashes_is_the_programs(minictr, busybox_root):
    run = minictr("run", "--rootfs", busybox_root, "--", "echo", "--help")

    assert run.ok.out == "--help\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("nonsense",), "unknown verb nonsense; hint: minictr --help"),
        (("rm", "x"), "unknown verb rm; hint: minictr delete"),
        (("container", "ls"), "unknown verb container; hint: the verbs stand by themselves: minictr list"),
        (("images",), "unknown verb images; hint: there are no images: run --rootfs DIR"),
        (("ps",), "an id is expected; hint: minictr list"),
        (("--nonsense", "list"), "unknown global option --nonsense"),
        (("help", "nonsense"), "unknown topic nonsense"),
        (("--log-format", "x", "list"), "text or json"),
        (("--log",), "--log needs a value"),
        (("spec", "x"), "spec takes --rootless and --bundle, not x"),
    ],
)
def test_wrong_words_are_one_line(minictr, words, why):
    run = minictr(*words, state=False)

    assert (run.status, run.out, run.err.count("\n")) == (125, "", 1)
    assert run.err.startswith("minictr: ") and why in run.err


@pytest.mark.parametrize("style", ["text", "json"])
def test_the_log_gets_errors_and_warnings_too(minictr, unranged, busybox_root, style):
    log = unranged.place("log") + "/log"
    options = ("--log", log, "--log-format", style)
    ran = minictr(*options, "run", "--read-only", "--rootfs", busybox_root, "--", "true", user=unranged)
    failed = minictr(*options, "run", "--rootfs", "/no/where", "--", "true", user=unranged)

    assert (ran.status, failed.status) == (0, 125)
    with open(log) as file:
        lines = file.read().splitlines()
    shown = [line for line in lines if "level=warning" in line or "level=error" in line]
    if style == "json":
        entries = [json.loads(line) for line in lines]
        assert [set(entry) >= {"level", "msg", "time"} for entry in entries] == [True] * len(entries)
        shown = [entry["msg"] for entry in entries if entry["level"] in ("warning", "error")]
        assert ["minictr: warning: %s\n" % shown[0], "minictr: %s\n" % shown[1]] == [ran.err, failed.err]
    assert len(shown) == 2


def test_a_log_that_cannot_be_written_stops_nothing(minictr):
    words = ("run", "--read-only", "--strict", "--rootfs", "/no/where", "--", "true")
    run = minictr("--log", "/no/where/log", *words)

    assert run.status == 125
    assert run.err.splitlines()[0].startswith("minictr: warning: cannot write the log /no/where/log")


def test_the_state_root_can_be_chosen_and_must_be_nobody_elses(minictr, busybox_root, tmp_path):
    state = str(tmp_path / "state")
    words = ("run", "--read-only", "--rootfs", busybox_root, "--", "true")
    assert minictr("--root", state, *words, state=False).ok
    assert os.stat(state).st_mode & 0o777 == 0o700
    os.chmod(state, 0o777)

    run = minictr("--root=" + state, *words, state=False)
    assert (run.status, run.err.count("\n")) == (125, 1)
    assert "others may write to it" in run.err
