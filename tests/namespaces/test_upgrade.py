"""Another version takes the place of the one that has made a container, while that lives; or another boot of
the kernel has come since."""

import json
import os
import re
import shutil
import sys

import pytest
import support
from support import needs

from minictr import cgroup, doors

V2 = cgroup.layout().kind == "v2"
pytestmark = needs("root", "userns", "busybox")


# --- the code of a runtime that stands behind a container -----------------------------------------


def put(door, place, change):
    """minictr in PLACE as a folder or as one file, what CHANGE makes of each module, written over what is
    there. What starts it."""
    path = os.path.join(place, "minictr")
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path)
    for name in os.listdir(support.CHECKOUT + "/minictr"):
        if name.endswith(".py"):
            with open(os.path.join(support.CHECKOUT, "minictr", name)) as file:
                text = change(file.read())
            with open(os.path.join(path, name), "w") as file:
                file.write(text)
    if door == "the one file":
        doors.dist(path + ".built", path, sys.executable)
        shutil.rmtree(path)
        path += ".pyz"
        shutil.copyfile(place + "/minictr.built", path)  # not renamed: its number stays
    return [sys.executable, "-I", path]


def has_settled(live):
    """Whether a runtime only waits, and has given back what is mapped of Python."""
    with open("/proc/%d/status" % live.pid) as file:
        found = dict(re.findall(r"^(\w+):\s+(\d+) kB", file.read(), re.M))
    return int(found["RssFile"]) < 3500  # before that 4800 and more, with every Python so far


@needs("cgroup", "cgroup2-controllers" if V2 else "cgroup1")
@pytest.mark.parametrize("door", ["the folder", "the one file"])
def test_the_end_of_a_program_is_told_when_its_runtime_s_code_is_another_version_s(
    minictr, busybox_root, door
):  # fmt: skip
    place = support.SESSION.place("upgrade")
    command = put(door, place, str) + ["--root", minictr.state()]
    script = "echo ready; read line; exec dd if=/dev/zero of=/dev/shm/eaten bs=1M count=64 2>/dev/null"
    words = ("--name", "it", "-m", "24m", "--memory-swap", "24m", "--rootfs", busybox_root, "--", "sh", "-c")
    run = minictr.start_command(*command, "run", *words, script)
    run.expect("ready")
    program = minictr.start_command(*command, "exec", "it", "sh", "-c", script)
    program.expect("ready")
    support.wait_until(lambda: has_settled(run) and has_settled(program), 30)

    put(door, place, lambda text: "#" * 999 + "\nraise RuntimeError('another version')\n")
    said = (
        r"minictr: warning: memory ran out: the kernel killed \d process(es)? of the container at the limit"
    )
    for live in (program, run):
        live.send("\n")
        found = live.wait()
        assert (found.status, found.out.strip(), found.err.count("\n")) == (137, "ready", 1), found
        assert re.match(said, found.err), found
    assert os.listdir(minictr.state()) == []


# --- the library's helper -------------------------------------------------------------------------

PROGRAM = """\
import sys
sys.path.insert(0, sys.argv[1])
import minictr

how = {"rootfs": sys.argv[2], "root": sys.argv[3]}
box = minictr.Container(["sleep", "1000"], **how).start()
print(minictr.run(["sh", "-c", "exit 5"], **how).returncode, flush=True)
sys.stdin.readline()
try:
    print(minictr.run(["sh", "-c", "exit 5"], **how).returncode)
except minictr.ContainerError as error:
    print(error)
box.remove()
"""
_DONE = 'self.talk.say("done", self.status'


@pytest.mark.parametrize(
    ("door", "change"),
    [
        ("the folder", "other code"), ("the folder", "gone"),
        ("the one file", "other code"), ("the one file", "other messages"),
    ],
)  # fmt: skip
def test_a_helper_whose_code_was_replaced_makes_no_more_containers(minictr, busybox_root, door, change):
    """One half of its modules would be of one version, the other of another."""
    place = support.SESSION.place("upgrade")
    path = put(door, place, str)[-1]
    where = path if door == "the one file" else place
    words = (sys.executable, "-c", PROGRAM, where, busybox_root, minictr.state())
    live = minictr.start_command(*words)
    live.expect("5\n")
    if change == "other code":
        put(door, place, lambda text: text.replace(_DONE, _DONE + " * 2"))
        said = "10"
    elif change == "other messages":
        put(door, place, lambda text: text.replace("PROTOCOL = ", "PROTOCOL = 99"))
        said = (
            "start the library's helper: this program has loaded another version of minictr than lies in %s"
        )
        said = said % where + " by now; hint: start the program anew"
    else:
        shutil.rmtree(path, ignore_errors=True)
        if door == "the one file":
            os.unlink(path)
        said = "start the library's helper: it ended without a word; hint: does this run? PYTHONPATH=%s %s"
        said = said % (where, sys.executable) + " -c 'import minictr.worker'"
    live.send("\n")
    assert live.wait() == (0, "5\n%s\n" % said, "")
    assert os.listdir(minictr.state()) == []  # its first one is with who stands behind it


# --- what was noted down ------------------------------------------------------------------------------

# What 0.1.0 began with: all else came later, and may be missing
FIRST = """
    ociVersion id status pid bundle rootfs annotations created owner start_time stop_signal command home
    own_pids landlock cgroups cgroup_parents systemd resctrl degradations
"""


def older(state):
    return {name: state[name] for name in FIRST.split()}


def later(state):
    return dict(state, later={"of": ["a", {"later": "version"}]}, ociVersion="1.9.0")


@needs("cgroup", "cgroup2-controllers" if V2 else "cgroup1")
@pytest.mark.parametrize("change", [older, later])
def test_a_container_is_worked_on_by_another_version(minictr, busybox_root, change):
    """Which has only what state.json says. That of today is what the next version will find."""
    words = ("-m", "64m", "--init", "--rootfs", busybox_root, "--", "sleep", "1000")
    minictr("create", "--name", "it", *words).ok
    place = os.path.join(minictr.state(), "it")
    with open(place + "/state.json") as file:
        state = json.load(file)
    with open(place + "/state.json", "w") as file:
        json.dump(change(state), file)

    def status():
        return json.loads(minictr("state", "it").ok.out)["status"]

    assert status() == "created"
    assert minictr("start", "it") == (0, "", "") and status() == "running"
    assert minictr("exec", "--user", "5", "it", "sh", "-c", "id -u; exit 7") == (7, "5\n", "")
    assert len(json.loads(minictr("ps", "--format", "json", "it").ok.out)) == 2
    assert minictr("update", "--memory", "48m", "it") == (0, "", "")
    assert json.loads(minictr("stats", "--format", "json", "it").ok.out)[0]["mem_limit"] == 48 << 20
    assert minictr("pause", "it") == (0, "", "") and status() == "paused"
    assert minictr("resume", "it") == (0, "", "") and status() == "running"
    assert minictr("kill", "it", "KILL") == (0, "", "")
    support.wait_until(lambda: status() == "stopped")
    assert minictr("delete", "it") == (0, "", "")
    assert os.listdir(minictr.state()) == []


# --- another boot -----------------------------------------------------------------------------------


@needs("cgroup")
def test_of_an_earlier_boot_nothing_lives_whoever_has_its_numbers(minictr, busybox_root):
    """A state directory on a disk is older than the kernel that runs: in a start-up that is always the same a
    process may have the number and the time of one that was a container's, and others its cgroup."""
    words = ("--name", "it", "--pid", "host", "--rootfs", busybox_root, "--", "sleep", "1000")
    minictr("run", "-d", *words).ok
    place = os.path.join(minictr.state(), "it")
    as_it_is = os.path.join(support.SESSION.place("noted"), "it")
    shutil.copytree(place, as_it_is)
    with open(place + "/state.json") as file:
        noted = json.load(file)
    (pid,) = json.loads(minictr("ps", "--format", "json", "it").ok.out)

    with open(place + "/state.json", "w") as file:
        json.dump(dict(noted, boot="00000000-0000-4000-8000-000000000000"), file)
    assert json.loads(minictr("state", "it").ok.out)["status"] == "stopped"
    assert minictr("ps", "--format", "json", "it") == (0, "[]\n", "")
    for verb in (["kill", "it", "KILL"], ["pause", "it"], ["update", "--pids-limit", "9", "it"]):
        found = minictr(*verb)
        assert found.status == 125 and found.err.endswith(" container it: container not running\n"), found
    assert minictr("kill", "--all", "it", "KILL") == (0, "", "")
    assert minictr("stop", "--time", "0", "it") == (0, "", "")
    found = minictr("delete", "--force", "it")
    said = r"minictr: warning: remove the cgroup \S+: processes run in it that are not the container's: %d\n"
    assert found.status == 0 and re.match(said % pid, found.err), found
    assert os.listdir(minictr.state()) == [] and not support.gone(pid)

    shutil.copytree(as_it_is, place)  # its configuration alone can tell, where that is not to be read
    os.truncate(place + "/state.json", 3)
    with open(place + "/config.json") as file:
        config = json.load(file)
    config["minictr"]["boot"] = "00000000-0000-4000-8000-000000000000"
    with open(place + "/config.json", "w") as file:
        json.dump(config, file)
    row = json.loads(minictr("list", "--format", "json").ok.out)[0]
    assert (row["id"], row["pid"], row["status"]) == ("it", 0, "stopped")
    assert minictr("kill", "it", "KILL").status == 125
    found = minictr("delete", "--force", "it")
    assert found.status == 0 and re.match(said % pid, found.err), found
    assert os.listdir(minictr.state()) == [] and not support.gone(pid)

    shutil.copytree(as_it_is, place)
    minictr("delete", "--force", "it").ok  # of this one
    assert support.gone(pid)
