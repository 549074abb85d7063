"""Calls that fail when nobody expects it: too many open files, no memory, a signal at a bad time.

That is no reason to take a container that runs for one that is not there, to leave something of it behind,
or to make it a weaker one.
"""

import json
import os
import resource
import signal

import bundles
import pytest
import steps
import support
from support import needs

from minictr import cgroup, spec, subids

V2 = cgroup.layout().kind == "v2"
pytestmark = needs("root", "userns", "busybox")


@pytest.fixture
def long(minictr, busybox_root):
    """A container that runs, by its name."""
    minictr("run", "-d", "--name", "long", "--rootfs", busybox_root, "--", "sleep", "1000").ok
    yield "long"
    minictr("delete", "--force", "long").ok


def running(minictr, name):
    return json.loads(minictr("state", name).ok.out)["status"] == "running"


# --- a container that runs is not forgotten -------------------------------------------------------


@pytest.mark.parametrize("error", ["EMFILE", "ENOMEM"])
def test_a_process_that_cannot_be_opened_is_not_taken_for_gone(minictr, long, error):
    for verb in (["kill", long], ["stop", "--time", "0", long], ["delete", "--force", long]):
        found = minictr(*verb, refuse=["pidfd_open=" + error])
        assert (found.status, found.out, found.err.count("\n")) == (125, "", 1), found
        assert found.err.startswith("minictr: signal process "), found
        assert running(minictr, long)


@needs("strace")
@pytest.mark.parametrize("error", ["EMFILE", "ENOMEM", "EIO", "EACCES"])
@pytest.mark.parametrize("call", ["newfstatat .", "openat .", "openat2 .", "openat2 long"])
def test_what_cannot_be_read_now_is_not_taken_for_missing(minictr, busybox_root, error, call):
    """The state root, looked at and opened, the container's directory in it, and state.json."""
    made = steps.Steps(minictr)
    options = ("--cgroup-parent", "/step-%d" % os.getpid())  # not where it would be looked for
    minictr("run", "-d", "--name", "long", *options, "--rootfs", busybox_root, "--", "sleep", "1000").ok
    call, place = call.split()
    directory = place == "." and call == "openat2"
    place = os.path.normpath(os.path.join(minictr.state(), place))
    for verb in (["delete", "--force", "long"], ["state", "long"], ["kill", "long", "KILL"], ["list"]):
        if verb == ["list"] and directory and error == "EACCES":
            continue  # it may be somebody else's
        # a list looks before that for what a killed runtime has left
        number = 2 if verb == ["list"] and directory else 1
        inject = "%s:error=%s:when=%d" % (call, error, number)
        broken = made.verb(*verb, calls=call, inject=inject, path=place)
        assert broken.hits and broken.result.status == 125, broken
        assert broken.result.out == "" and broken.result.err.count("\n") == 1, broken
        assert running(minictr, "long")
    minictr("delete", "--force", "long").ok


@needs("strace")
def test_nor_is_one_whose_state_is_lost_where_its_configuration_cannot_be_read_now(minictr, long):
    """It says where the cgroup is that the container would be found by."""
    made = steps.Steps(minictr)
    place = os.path.join(minictr.state(), long)
    with open(place + "/state.json") as file:
        whole = file.read()
    os.truncate(place + "/state.json", 3)
    for verb in (["delete", "--force", long], ["kill", long, "KILL"]):
        inject = "openat2:error=EMFILE:when=2"  # of what lies in there; the first is of state.json
        broken = made.verb(*verb, calls="openat2", inject=inject, path=place)
        assert ["config.json" in hit[2] for hit in broken.hits] == [True], broken
        assert broken.result.status == 125, broken
        assert broken.result.err.count("\n") == 1 and "Too many open files" in broken.result.err, broken
    with open(place + "/state.json", "w") as file:
        file.write(whole)
    assert running(minictr, long)


def test_a_user_is_told_that_a_state_directory_is_closed(minictr, ranged):
    closed = support.SESSION.place("closed", 0o700)
    os.mkdir(closed + "/state", 0o700)
    for verb in (["delete", "--force", "x"], ["list"], ["state", "x"], ["exec", "x", "true"]):
        found = minictr("--root", closed + "/state", *verb, state=False, user=ranged)
        assert found.out == "" and found.status == (255 if verb[0] == "exec" else 125), found
        assert found.err == "minictr: look at the state directory %s/state: Permission denied\n" % closed


# --- what was begun is taken back -----------------------------------------------------------------


@needs("strace", "cgroup")
def test_of_a_cgroup_that_cannot_be_had_nothing_is_left(minictr, busybox_root):
    made = steps.Steps(minictr)
    name = "step-%d-0" % os.getpid()
    path = spec.cgroup_of(name, os.path.join(minictr.state(), name))
    path = cgroup.open(cgroup.layout(), path).directories()[-1]
    words = ("--rootfs", busybox_root, "--", "true")
    broken = made.run(*words, calls="openat", inject="openat:error=EACCES:when=1", path=path)

    assert broken.hits and made.names == [name], broken
    assert broken.result == (0, ""), broken  # nobody asked for a limit
    assert made.rest() == [], broken


@needs("strace", "cgroup2" if V2 else "cgroup1")
def test_a_pause_that_fails_leaves_nothing_stopped(minictr, long):
    made = steps.Steps(minictr)
    with open(os.path.join(minictr.state(), long, "state.json")) as file:
        directories = json.load(file)["cgroups"]
    name = "cgroup.events" if V2 else "freezer.state"
    (path,) = [each for each in directories if os.path.exists(os.path.join(each, name))]
    whole = made.verb("pause", long, calls="openat", path=path)
    assert whole.result.status == 0 and name in whole.calls[-1][2], whole  # the look whether all have stopped
    minictr("resume", long).ok
    broken = made.verb(
        "pause", long, calls="openat", inject="openat:error=EMFILE:when=%d" % len(whole.calls), path=path
    )
    said = "minictr: freeze the container: Too many open files; hint: "
    assert broken.hits and broken.result.status == 125 and broken.result.err.startswith(said), broken
    assert running(minictr, long)


@needs("strace", "cgroup", "cgroup2-controllers" if V2 else "cgroup1")
def test_a_limit_that_cannot_be_noted_down_is_not_in_force(minictr, long):
    made = steps.Steps(minictr)
    place = os.path.join(minictr.state(), long)
    files = sorted(os.listdir(place))
    before = json.loads(minictr("events", "--stats", long).ok.out)["data"]["pids"]["limit"]
    broken = made.verb("update", "--pids-limit", "99", long, calls="renameat", inject="renameat:error=EIO")
    said = "minictr: write the configuration of container long: "
    assert broken.hits and broken.result.status == 125 and broken.result.err.startswith(said), broken
    assert json.loads(minictr("events", "--stats", long).ok.out)["data"]["pids"]["limit"] == before
    assert sorted(os.listdir(place)) == files


@needs("strace", "cgroup1")
def test_the_status_of_a_program_is_not_lost_where_its_end_cannot_be_looked_into(minictr, busybox_root):
    made = steps.Steps(minictr)
    words = ("--memory", "64m", "--rootfs", busybox_root, "--", "sh", "-c", "exit 3")
    broken = made.run(*words, calls="openat", inject="openat:error=EIO", path="memory.oom_control")

    said = "minictr: look whether memory ran out: memory.oom_control: Input/output error\n"
    assert broken.hits and broken.result == (3, "", said), broken
    assert made.rest() == [], broken


@needs("strace")
def test_nor_is_it_where_its_end_cannot_be_noted_down(minictr, busybox_root):
    """The disk of the state directory has become read-only, say."""
    made = steps.Steps(minictr)
    words = ("--keep", "--rootfs", busybox_root, "--", "sh", "-c", "exit 3")
    broken = made.run(*words, calls="fchmod", inject="fchmod:error=EROFS", follow=False)

    said = "minictr: let go of container %s: Read-only file system\n" % made.names[0]
    assert broken.hits and broken.result == (3, "", said), broken
    assert minictr("list", "--quiet") == (0, "", "")  # what nobody stands behind is cleared away
    assert made.rest() == [], broken


@pytest.mark.parametrize("verb", [["create"], ["run", "--detach"]], ids=" ".join)
def test_what_was_made_is_not_given_up_for_signals_that_cannot_be_looked_for(minictr, busybox_root, verb):
    """It was left, with an error, where a filter around us has no sigtimedwait(2)."""
    words = verb + ["--name", "it", "--rootfs", busybox_root, "--", "sleep", "1000"]
    assert minictr(*words, refuse=["rt_sigtimedwait=ENOSYS"]).ok
    assert minictr("delete", "--force", "it").ok


def test_who_cannot_wait_for_its_end_ends_it(minictr, busybox_root):
    found = minictr("run", "--rootfs", busybox_root, "--", "sleep", "1000", refuse=["rt_sigtimedwait=ENOSYS"])
    assert found == (125, "", "minictr: wait for the end of the program: Function not implemented\n")
    assert os.listdir(minictr.state()) == []


@needs("strace")
def test_a_program_that_runs_is_not_ended_for_the_pipes_that_it_was_started_by(minictr, busybox_root):
    made = steps.Steps(minictr)
    minictr("create", "--name", "it", "--rootfs", busybox_root, "--", "sleep", "1000").ok
    broken = made.verb("start", "it", calls="unlinkat,unlink", inject="unlinkat,unlink:error=EROFS")
    assert len(broken.hits) == 2 and broken.result == (0, "", ""), broken
    assert running(minictr, "it")
    again = minictr("start", "it")
    assert (again.status, again.err) == (125, "minictr: start container it: it is running, not created\n")
    minictr("delete", "--force", "it").ok
    assert os.listdir(minictr.state()) == []


@needs("strace")
@pytest.mark.parametrize("options", [[], ["--userns", "host"], ["--time-offset", "5"]], ids=" ".join)
@pytest.mark.parametrize("call", ["sched_setaffinity", "prctl", "setsid"])
def test_a_signal_to_all_ends_the_start_once(minictr, busybox_root, options, call):
    """As a terminal sends it: to the runtime and to who has just been born."""
    made = steps.Steps(minictr)
    for number in (1, 2, 3):
        words = options + ["--rootfs", busybox_root, "--", "true"]
        inject = "%s:signal=SIGTERM:when=%d" % (call, number)
        broken = made.run(*words, calls=call, inject=inject)
        said = "minictr: make the container: interrupted by signal %d\n" % signal.SIGTERM
        assert broken.result in [(128 + signal.SIGTERM, "", said), (0, "", "")], broken
        assert made.rest() == [], broken


@needs("strace", "timens")
def test_who_outlives_the_runtime_does_not_do_its_work(minictr, busybox_root):
    """The process between, which hears that it is gone, and cannot tell anybody."""
    made = steps.Steps(minictr)
    words = ("--time-offset", "5", "--rootfs", busybox_root, "--", "true")
    # before it has said that the maps are written; the other does not end with it, as in the moment between
    # the end of its files and its own
    inject = "mount_setattr:signal=SIGKILL:when=1 prctl:retval=0:when=2"
    broken = made.run(*words, calls="mount_setattr,prctl,write", inject=inject)

    assert "PR_SET_PDEATHSIG, SIGKILL" in "".join([text for _, _, text in broken.hits]), broken
    assert broken.result.status == -signal.SIGKILL, broken
    assert [text for _, name, text in broken.calls if name == "write" and text.startswith("2, ")] == []
    support.wait_until(lambda: not made.processes())
    assert minictr("list", "--quiet") == (0, "", "")
    assert made.rest() == []


@needs("strace")
def test_a_middle_process_that_is_killed_before_its_word_is_waited_for_by_nobody(minictr, long):
    """As the kernel may do for want of memory in its cgroup: a child is born of it, and nobody knows."""
    made = steps.Steps(minictr)
    whole = made.verb("exec", long, "true", calls="write,execve")
    assert whole.result == (0, "", ""), whole
    (middle,) = [pid for pid, _, text in whole.calls if "init\\t" in text]
    last = whole.counts(middle)["write"]
    for number in (last - 1, last):  # to the runtime, and to the child
        inject = "write:signal=SIGKILL:when=%d" % number
        broken = made.verb("exec", long, "true", calls="write", inject=inject)
        # the runtime, where it writes as often
        assert broken.result.status in (255, -9) and broken.result.err.count("\n") < 2, broken
        support.wait_until(lambda: len(json.loads(minictr("ps", "-f", "json", long).ok.out)) == 1)
        assert running(minictr, long)


SMALL = """\
import re, resource, sys
sys.path.insert(0, sys.argv[1])
import minictr.__main__, minictr.cli, minictr.lifecycle, minictr.living, minictr.native, minictr.options
with open("/proc/self/status") as file:
    size = int(re.search("VmData:[^0-9]*([0-9]+)", file.read()).group(1)) + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (size << 10, size << 10))
del sys.argv[1:3]
minictr.__main__.main()
"""


@pytest.mark.parametrize("more", [0, 64, 128, 256, 384, 512, 768, 1024])
def test_where_memory_ends_is_told_in_one_line(minictr, busybox_root, more):
    words = (support.sys.executable, "-c", SMALL, support.CHECKOUT, str(more), "--root", minictr.state())
    found = minictr.command(*words, "run", "--name", "small", "--rootfs", busybox_root, "--", "true")

    said = [line for line in found.err.splitlines() if "minictr: clean up: " not in line]
    assert found.status == 0 and said == [] or found.status == 125 and len(said) == 1, found
    assert "please report" not in found.err, found
    assert minictr("list", "--quiet") == (0, "", "")


LESS = """\
import re, resource, sys
sys.path.insert(0, sys.argv[1])
import minictr.__main__
with open("/proc/self/status") as file:
    size = int(re.search("VmSize:[^0-9]*([0-9]+)", file.read()).group(1)) + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (size << 10, size << 10))
del sys.argv[1:3]
minictr.__main__.main()
"""


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_so_it_is_where_there_is_room_for_the_interpreter_alone(minictr, busybox_root, verb):
    """By what has been loaded, which may be no more than the door."""
    rest = ["exec", "nobody", "true"] if verb == "exec" else ["run", "--rootfs", busybox_root, "--", "true"]
    failed = 255 if verb == "exec" else 125
    seen = set()
    for more in range(0, 1600, 100):
        words = (support.CHECKOUT, str(more), "--root", minictr.state(), *rest)
        found = minictr.command(support.sys.executable, "-c", LESS, *words)
        said = [line for line in found.err.splitlines() if "minictr: clean up: " not in line]
        seen.add(said[0] if said else "")
        door = bool(said) and said[0].startswith("minictr: start: Cannot allocate memory; hint: ulimit -v")
        assert found.status == 0 and said == [] or len(said) == 1, found
        assert found.status in ([125] if door else [0, failed]), found
    assert len(seen) > 1
    assert minictr("list", "--quiet") == (0, "", "")


@needs("strace")
@pytest.mark.parametrize("verb", [["create"], ["run", "-d"]], ids=" ".join)
def test_one_that_is_not_made_after_all_has_no_files_with_its_ids(minictr, busybox_root, tmp_path, verb):
    made = steps.Steps(minictr)
    words = ("--cidfile", str(tmp_path / "id"), "--pid-file", str(tmp_path / "pid"), "--rootfs", busybox_root)
    inject = "fchmod:error=EIO"  # once those are written
    words = (*verb, *words, "--", "sleep", "100")
    broken = made.verb(*words, calls="fchmod", inject=inject, follow=False)
    assert (len(broken.hits), broken.result.status) == (1, 125), broken
    assert os.listdir(str(tmp_path)) == [] == made.rest()


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_log_on_a_full_disk_stops_nothing(minictr, busybox_root, format):
    said = "minictr: warning: cannot write the log /dev/full: No space left on device\n"
    words = ("--log", "/dev/full", "--log-format", format)
    words += ("run", "--log-file", "/dev/null", "--rootfs", busybox_root, "--sysctl")
    found = minictr(*words, "net.ipv4.no_such=1", "--", "true")
    assert (found.status, found.out) == (125, "")
    assert found.err.startswith(said) and found.err.count("\n") == 2, found
    refused = ["setdomainname"]
    words = words[:-1] + ("--domainname", "dom", "--", "sh", "-c", "exit 3")
    found = minictr(*words, refuse=refused)
    assert found.status == 3 and found.err.startswith(said), found


def test_a_note_that_cannot_be_written_leaves_no_half_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(subids, "NOTE", str(tmp_path / "ids"))

    def write():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        subids.note_range(65536)

    assert support.in_child(write).startswith("OSError: [Errno 27]")
    assert os.listdir(str(tmp_path)) == []


@needs("strace")
def test_an_error_is_not_taken_for_a_second_refusal_of_proc(minictr, busybox_root):
    made = steps.Steps(minictr)
    words = ("--host-proc", "--rootfs", busybox_root, "--", "true")
    inject = "fsmount:error=EPERM:when=1 mount:error=EPERM:when=2 fsopen:error=EIO:when=2"
    broken = made.run(*words, calls="fsmount,mount,fsopen", inject=inject)
    assert len(broken.hits) == 3, broken
    assert broken.result == (125, "", "minictr: mount proc on /proc: Input/output error\n"), broken


HELPERS = {
    "is killed": "kill -9 $$",
    "finds no memory": "echo newuidmap: write to uid_map failed: Cannot allocate memory >&2; exit 1",
}


@needs("newuidmap", "rootless")
@pytest.mark.parametrize("how", sorted(HELPERS))
def test_a_helper_that_fails_of_something_else_is_no_reason_for_fewer_ids(minictr, ranged, busybox_root, how):
    script = os.path.join(support.SESSION.place("helper"), "helper")
    with open(script, "w") as file:
        file.write("#!/bin/sh\n%s\n" % HELPERS[how])
    os.chmod(script, 0o755)
    cover = {path: script for path in support.COVERS["no-helpers"]()}
    found = minictr("run", "--rootfs", busybox_root, "--", "true", user=ranged, cover=cover)

    assert (found.status, found.out, found.err.count("\n")) == (125, "", 1), found
    assert found.err.startswith("minictr: run /"), found


# --- descriptors --------------------------------------------------------------------------------


@needs("seccomp")
@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
@pytest.mark.parametrize("hooks", [None, {"startContainer": [{"path": "/bin/true"}]}], ids=["", "a hook"])
def test_descriptors_are_closed_whatever_a_root_has_for_a_list_of_them(
    minictr, busybox_copy, error, hooks
):  # fmt: skip
    """Where a range of them cannot be closed at once, and the container has no /proc of its own."""
    made = bundles.Bundle(busybox_copy(None))
    os.makedirs(made.root + "/proc/self/fd")
    made.config["mounts"] = [mount for mount in made.config["mounts"] if mount["type"] != "proc"]
    made.linux.update(maskedPaths=[], readonlyPaths=[])
    made.process["args"] = ["sh", "-c", "echo started; (echo leaked >&9) 2>/dev/null; :"]
    if hooks:
        made.config["hooks"] = hooks
    leak = os.path.join(support.SESSION.place("leak"), "leak")
    own = bundles.Runtime("minictr", minictr)
    with open(leak, "w") as file:
        found = own.run(
            made, refuse=["close_range=" + error], pass_fds=(9,), setup=lambda: os.dup2(file.fileno(), 9)
        )  # fmt: skip

    assert found == (0, "started\n", "")
    assert os.stat(leak).st_size == 0
