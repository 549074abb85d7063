"""What users of runc are used to, where the specification has nothing to say."""

import json
import os
import resource
import signal
import stat
import time

import pytest
import support
from bundles import unlike
from support import needs

from minictr import outputs
from minictr.errors import ContainerError

pytestmark = needs("root", "busybox")

CPUS = os.sched_getaffinity(0)


def shared_pids(made):
    made.namespaces("-pid")
    made.linux["maskedPaths"] = made.linux["readonlyPaths"] = []


# --- the terminal ---------------------------------------------------------------------------------


def test_a_terminal_belongs_to_the_programs_user(runtime, bundle):
    """Or it could not be opened again by its name."""
    made = bundle()
    made.process.update(terminal=True, user={"uid": 1000, "gid": 1000})
    made.process["args"] = ["sh", "-c", "stat -c %u:%g /dev/pts/0; echo again >/dev/pts/0"]
    found = runtime.run(made, tty=True).ok.out.replace("\r", "")
    assert "1000:5\nagain\n" in found  # crun may begin it with the time


def test_a_terminal_of_exec_belongs_to_the_programs_user(runtime, box):
    unlike(runtime, "crun", "leaves it to root")
    one = box(runtime)
    script = "echo again >$(tty); stat -c %u:%g $(tty)"
    found = runtime.verb("exec", "--tty", "--user", "1000:1000", one.id, "sh", "-c", script, tty=True)
    assert found.ok.out.replace("\r", "") == "again\n1000:5\n"


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_what_goes_to_a_pipe_has_newlines_alone(own, bundle, box, verb):
    """A terminal inside puts a carriage return before each, which a script does not want; runc, which needs a
    terminal outside, takes that from it too."""
    if verb == "run":
        made = bundle()
        made.process.update(terminal=True, args=["printf", "one\\ntwo\\n"])
        assert own.run(made).ok.out == "one\ntwo\n"
    else:
        one = box(own)
        assert own.verb("exec", "--tty", one.id, "printf", "one\\ntwo\\n").ok.out == "one\ntwo\n"


# --- the environment ------------------------------------------------------------------------------


def test_an_empty_home_is_none(own, bundle):
    made = bundle()
    made.process["env"] = ["PATH=/bin", "HOME=/before", "HOME="]
    assert own.sh(made, "echo $HOME").ok.out == "/root\n"


MOUNTED = {
    "a file": ("/etc/passwd", "bind", "etc/passwd", ["bind", "ro"], "/elsewhere"),
    "a link": ("/etc/passwd", "bind", "link", ["bind", "ro"], "/elsewhere"),
    "a directory": ("/etc/", "none", "etc", ["rbind"], "/elsewhere"),
    "an empty file": ("/etc/passwd", "bind", "empty", ["bind"], "/"),
    "a device": ("/etc/passwd", "bind", "/dev/null", ["bind"], "/"),
    "nothing": ("/etc", "tmpfs", "tmpfs", [], "/"),
    "a copy": ("/etc", "tmpfs", "tmpfs", ["tmpcopyup"], "/root"),
    "another": ("/etc/other", "bind", "etc/passwd", ["bind"], "/root"),
}


@pytest.mark.parametrize("over", MOUNTED)
def test_a_home_is_that_of_the_users_that_the_program_sees(runtime, bundle, over):
    if over in ("a copy", "an empty file", "a device"):
        unlike(runtime, "crun", "does not copy in every version, and an empty file gives an empty HOME")
    made = bundle()
    source = support.SESSION.place("source")
    os.mkdir(source + "/etc")
    with open(source + "/etc/passwd", "w") as file:
        file.write("root:x:0:0:root:/elsewhere:/bin/sh\n")
    os.symlink("etc/passwd", source + "/link")
    open(source + "/empty", "w").close()
    target, kind, name, options, home = MOUNTED[over]
    entry = {"destination": target, "type": kind, "source": name, "options": options}
    if kind != "tmpfs":
        entry["source"] = os.path.join(source, name)
    made.config["mounts"].append(entry)
    made.process["env"] = ["PATH=/bin"]
    assert runtime.sh(made, "echo $HOME").ok.out == home + "\n"


LINKED = {
    "a directory of a volume": ({"etc": "/data/etc"}, [("/data", "")], "/elsewhere"),
    "a relative one": ({"etc": "data/../data/etc"}, [("/data", "")], "/elsewhere"),
    "a file of a volume": ({"etc/passwd": "../data/etc/passwd"}, [("/data", "")], "/elsewhere"),
    "a link to a volume": ({"etc": "/there", "there": "data/etc"}, [("/data", "")], "/elsewhere"),
    "a volume on a link": ({"etc": "/srv/etc", "here": "srv"}, [("/here", "")], "/elsewhere"),
    "one that leads out": ({"etc": "/data/out"}, [("/data", "")], "/inside"),
    "one that leads nowhere": ({"etc": "/data/nothing"}, [("/data", "")], "/"),
    "what another covers": ({"etc": "/data/etc"}, [("/data/etc", "etc"), ("/data", "hidden")], "/hidden"),
}


@pytest.mark.parametrize("led", LINKED)
def test_a_home_is_that_of_the_users_behind_a_link(own, bundle, led):
    """As exec, which looks when all is mounted, finds it."""
    made, source = bundle(), support.SESSION.place("source")
    links, volumes, home = LINKED[led]
    passwd = "root:x:0:0:root:%s:/bin/sh\n"
    for folder, where in ((source + "/etc", "/elsewhere"), (source + "/hidden/etc", "/hidden")):
        os.makedirs(folder)
        with open(folder + "/passwd", "w") as file:
            file.write(passwd % where)
    os.makedirs(made.root + "/inside" + source + "/etc")
    os.symlink("/inside" + source + "/etc", source + "/out")
    with open(made.root + "/inside" + source + "/etc/passwd", "w") as file:
        file.write(passwd % "/inside")
    for folder in ("data/etc", "srv"):
        os.makedirs(os.path.join(made.root, folder), exist_ok=True)
    for name, target in links.items():
        path = os.path.join(made.root, name)
        if os.path.lexists(path):
            os.rename(path, path + ".before")
        os.symlink(target, path)
    for target, name in volumes:
        made.config["mounts"].append(
            {
                "destination": target,
                "type": "bind",
                "source": os.path.join(source, name),
                "options": ["rbind"],
            }
        )
    made.process["env"] = ["PATH=/bin"]
    found = own.sh(made, "echo $HOME; cut -d: -f6 /etc/passwd 2>/dev/null || echo /").ok.out
    assert found == "%s\n%s\n" % (home, home)


@pytest.mark.parametrize(
    "option, there", [("copy-symlink", "nothing"), ("copy-symlink", "the same"), ("src-nofollow", "a file")]
)
def test_a_home_is_that_of_the_users_behind_a_link_that_is_mounted(own, bundle, option, there):
    """It leads where it leads inside: on the host, by the same words, to other users."""
    made, source = bundle(), support.SESSION.place("source")
    os.mkdir(source + "/data")
    for path, where in ((source + "/passwd", "/wrong"), (source + "/data/passwd", "/elsewhere")):
        with open(path, "w") as file:
            file.write("root:x:0:0:root:%s:/bin/sh\n" % where)
    os.symlink("../%s/passwd" % os.path.basename(source), source + "/link")
    inside = "/" + os.path.basename(source)
    if there != "a file":
        os.unlink(made.root + "/etc/passwd")
    if there == "the same":
        os.symlink(os.readlink(source + "/link"), made.root + "/etc/passwd")
    for target, name in ((inside, "/data"), ("/etc/passwd", "/link")):
        entry = {"destination": target, "type": "bind", "source": source + name}
        made.config["mounts"].append(dict(entry, options=["rbind", option]))
    made.process["env"] = ["PATH=/bin"]
    found = own.sh(made, "readlink /etc/passwd; echo $HOME; cut -d: -f6 /etc/passwd").ok.lines
    assert found == ["..%s/passwd" % inside, "/elsewhere", "/elsewhere"]


@pytest.mark.parametrize("user, home", [("0", "/root"), ("1000", "/home/app"), ("4321", "/")])
def test_exec_has_the_home_of_its_user(runtime, box, user, home):
    unlike(runtime, "crun", "has that of the container's user")
    one = box(runtime)
    assert runtime.verb("exec", "--user", user, one.id, "sh", "-c", "echo $HOME").ok.out == home + "\n"


def test_exec_has_a_home_where_the_engine_names_none(own, box, tmp_path):
    """As Docker's exec, which leaves it to the runtime."""
    one = box(own)
    process = dict(one.bundle.process, args=["sh", "-c", "echo $HOME"], user={"uid": 1000, "gid": 0})
    (tmp_path / "process.json").write_text(json.dumps(process))
    found = own.verb("exec", "--process", str(tmp_path / "process.json"), one.id)
    assert found.ok.out == "/home/app\n"


def test_a_home_of_the_configuration_counts_for_exec_too(runtime, box):
    one = box(runtime, change=lambda made: made.process["env"].append("HOME=/elsewhere"))
    for user in ("0", "1000"):
        found = runtime.verb("exec", "--user", user, one.id, "sh", "-c", "echo $HOME")
        assert found.ok.out == "/elsewhere\n"


# --- exec ----------------------------------------------------------------------------------------


def test_an_exec_that_fails_leaves_no_pid_file(runtime, box, tmp_path):
    one = box(runtime)
    assert runtime.verb("exec", "--pid-file", str(tmp_path / "pid"), one.id, "/no/such").status != 0
    assert os.listdir(str(tmp_path)) == []


def test_a_pid_file_is_replaced_whatever_a_killed_process_has_left_beside_it(tmp_path):
    left = tmp_path / (".pid.%d" % os.getpid())
    left.write_text("1")
    for name in ("pid", "n" * 255):
        outputs.write_pid_file(str(tmp_path / name), 1234)
        assert (tmp_path / name).read_text() == "1234"
    assert len(os.listdir(str(tmp_path))) == 3


def test_a_pid_file_on_a_full_disk_leaves_nothing_half_written(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(ContainerError, match="write the pid file"):
            outputs.write_pid_file(str(tmp_path / "pid"), 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("count", [8, 12, 16, 20, 24, 28, 31])
def test_an_exec_without_descriptors_to_spare_has_the_status_of_an_error(own, box, count):
    one, limit = box(own), resource.RLIMIT_NOFILE
    found = own.verb("exec", one.id, "true", setup=lambda: resource.setrlimit(limit, (count, count)))
    assert found.status in (0, 255) and "Traceback" not in found.err, found


@pytest.mark.parametrize("ids", ["the host's", "its own"])
def test_a_pipe_of_exec_can_be_opened_again_by_its_name(runtime, box, ids):
    """Log files that are links to /dev/stdout are as common as they are odd."""

    def own_ids(made):
        made.namespaces("user")
        lines = [{"containerID": 0, "hostID": 200000, "size": 2000}]
        made.linux.update(uidMappings=lines, gidMappings=lines)
        for folder, _, _ in os.walk(made.root):  # what is made in it belongs to them
            os.chown(folder, 200000, 200000)

    if ids == "its own":
        unlike(runtime, "crun", "does not translate the ids")
    one = box(runtime, change=own_ids if ids == "its own" else None)
    script = "cat /dev/stdin >/dev/stdout; echo two >/dev/stderr"
    live = runtime.start_verb("exec", "--user", "1000:1000", one.id, "sh", "-c", script)
    live.send("one\n")
    live.close_input()
    assert live.wait() == (0, "one\n", "two\n")


@pytest.mark.parametrize("options", [[], ["--user", "1000:0"], ["--process"]], ids=" ".join)
def test_exec_has_the_umask_of_the_container(own, box, tmp_path, options):
    """As runc has it since 1.2."""
    one = box(own, change=lambda made: made.process["user"].update(umask=0o027))
    words = ["sh", "-c", "umask"]
    if options == ["--process"]:
        process = dict(one.bundle.process, args=words, user={"uid": 1000, "gid": 0})
        (tmp_path / "process.json").write_text(json.dumps(process))
        options, words = options + [str(tmp_path / "process.json")], []
    assert own.verb("exec", *(options + [one.id] + words)).ok.out == "0027\n"


# --- processors -----------------------------------------------------------------------------------


@pytest.mark.skipif(len(CPUS) < 2, reason="there is one processor alone")
@pytest.mark.parametrize("verb", ["run", "exec"])
def test_a_container_is_not_held_to_the_processors_of_its_engine(own, bundle, box, verb):
    """But to those of its cpuset."""

    def hold():
        os.sched_setaffinity(0, {min(CPUS)})

    made = bundle()
    made.process["args"] = ["nproc"]
    if verb == "run":
        assert own.run(made, setup=hold).ok.out == "%d\n" % len(CPUS)
        made.linux["resources"] = {"cpu": {"cpus": str(max(CPUS))}}
        assert own.run(made, setup=hold).ok.out == "1\n"
    else:
        one = box(own)
        assert own.verb("exec", one.id, "nproc", setup=hold).ok.out == "%d\n" % len(CPUS)


# --- file systems in memory -----------------------------------------------------------------------


def test_a_tmpfs_has_the_mode_of_what_it_covers(runtime, bundle):
    unlike(runtime, "crun", "has 01777")
    made = bundle()
    os.mkdir(made.root + "/private")
    os.chmod(made.root + "/private", 0o2710)
    for target in ("/private", "/fresh/one"):
        made.config["mounts"].append({"destination": target, "type": "tmpfs", "source": "tmpfs"})
    assert runtime.sh(made, "stat -c %a /private /fresh/one").ok.fields == ["2710", "1777"]


def test_a_tmpfs_has_the_mode_that_is_asked_for(own, bundle):
    made = bundle()
    entry = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=700"]}
    made.config["mounts"].append(entry)
    assert own.sh(made, "stat -c %a /tmp").ok.fields == ["700"]


def test_dev_can_be_read_only(runtime, bundle):
    """Once the devices, the terminals and the links are in it."""
    made = bundle()
    for entry in made.config["mounts"]:
        if entry["destination"] == "/dev":
            entry["options"].append("ro")
    made.process["terminal"] = True
    script = "echo >/dev/null; echo up >/dev/shm/x; tty; stat -c %t /dev/console; touch /dev/x"
    found = runtime.sh(made, script, tty=True).out.replace("\r", "")
    assert "/dev/pts/0\n88\ntouch: /dev/x: Read-only file system\n" in found  # crun may say the time


def test_a_tmpfs_that_copies_up_can_be_read_only(own, bundle):
    made = bundle()
    entry = {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "tmpcopyup"]}
    made.config["mounts"].append(entry)
    made.config["root"]["readonly"] = False
    found = own.sh(made, "head -n 1 /etc/passwd; touch /etc/x")
    assert found.out.startswith("root:") and "Read-only file system" in found.err


def test_a_tmpfs_is_read_only_once_all_that_belongs_in_it_is_there(runtime, bundle):
    made = bundle()
    source = support.SESSION.place("source")
    made.config["mounts"] += [
        {"destination": "/fresh", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]},
        {"destination": "/fresh/memory", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/fresh/host", "type": "bind", "source": source, "options": ["bind"]},
    ]
    made.linux["devices"] = [{"path": "/fresh/zero", "type": "c", "major": 1, "minor": 5}]
    script = "touch /fresh/memory/x /fresh/host/x && stat -c %t:%T /fresh/zero; touch /fresh/x"
    found = runtime.sh(made, script)
    assert found.out == "1:5\n" and "/fresh/x: Read-only file system" in found.err


# --- ending ---------------------------------------------------------------------------------------


def test_signal_0_only_asks(runtime, box):
    one = box(runtime)
    assert one.verb("kill", "0") == (0, "", "")
    one.verb("kill", "KILL").ok
    support.wait_until(lambda: support.gone(one.pid))
    found = one.verb("kill", "0")
    assert found.status != 0
    if runtime.name != "crun":
        assert "container not running" in found.err


@pytest.mark.parametrize("first", ["lives", "has ended"])
def test_to_kill_a_container_without_a_pid_namespace_is_to_kill_all_of_it(own, box, first):
    """Its first process is no process 1: the others would go on, and nobody could tell whose they are."""
    one = box(own, change=shared_pids)
    pids = json.loads(one.verb("ps", "--format=json").ok.out)
    assert len(pids) == 2
    if first == "has ended":
        os.kill(one.pid, signal.SIGKILL)
        support.wait_until(lambda: support.gone(one.pid))
    else:
        one.verb("kill", "TERM")
        time.sleep(0.1)
    assert one.verb("kill", "KILL") == (0, "", "")
    support.wait_until(lambda: all(support.gone(pid) for pid in pids))
    assert one.status == "stopped"


def test_a_container_that_is_kept_keeps_its_cgroup(own, bundle):
    made = bundle()
    made.process["args"] = ["true"]
    own.run(made, "--keep").ok
    folders = [point + "/" + made.identifier for _, point in support.cgroup_mounts()]
    assert any(map(os.path.isdir, folders))
    own.delete(made)
    assert not any(map(os.path.isdir, folders))


def test_the_status_of_one_that_is_kept_survives_a_full_disk(own, bundle):
    made = bundle()
    made.process["args"] = ["sh", "-c", "echo up; read line; exit 3"]
    live = own.start(made, "--keep")
    live.expect("up\n")
    resource.prlimit(live.process.pid, resource.RLIMIT_FSIZE, (0, 0))
    live.send("\n")
    found = live.wait()
    assert found.status == 3 and "write the state of container" in found.err
    own.delete(made)


def test_one_in_the_foreground_is_forgotten_when_delete_returns(own, bundle):
    made = bundle()
    made.process["args"] = ["sh", "-c", "echo up; exec sleep 1000"]
    live = own.start(made)
    live.expect("up\n")
    live.signal(signal.SIGSTOP)
    ending = own.start_verb("delete", "--force", made.identifier)
    time.sleep(0.3)
    assert ending.running
    live.signal(signal.SIGCONT)
    assert ending.wait() == (0, "", "")
    assert os.listdir(own.runner.state()) == []
    assert live.wait().status == 137


def test_delete_says_what_a_container_does_that_is_still_there(own, box):
    one = box(own)
    said = "minictr: delete container %s: it is %%s; hint: minictr stop %s before, or delete --force\n" % (
        one.id,
        one.id,
    )
    assert one.verb("delete") == (125, "", said % "running")
    assert one.verb("pause").ok
    assert one.verb("delete") == (125, "", said % "paused")


def test_one_that_was_created_and_never_started_is_deleted_without_force(runtime, box):
    """buildah leaves it to that where the network of a build cannot be made."""
    one = box(runtime, verb="create")
    assert one.verb("delete").ok
    support.wait_until(lambda: not os.path.exists("/proc/%d" % one.pid))
    assert one.verb("state").status


def test_one_of_which_the_state_is_lost_is_not_taken_for_one_that_has_ended(runtime, box):
    unlike(runtime, "crun", "forgets it")
    one = box(runtime)
    folder = os.path.join(runtime.runner.state(), one.id)
    place = [os.path.join(folder, name) for name in os.listdir(folder) if name == "state.json"][0]
    with open(place) as file:
        before = file.read()
    os.truncate(place, 0)
    found = one.verb("delete")
    assert found.status != 0 and found.err
    assert os.path.exists(folder) and not support.gone(one.pid)
    with open(place, "w") as file:
        file.write(before)
    assert one.status == "running"


@needs("cgroup")
@pytest.mark.parametrize(
    "lost", ["", None, '{"ociVersion":"1.3.0","pid":1'], ids=["empty", "gone", "cut off"]
)
@pytest.mark.parametrize("words", ["kill KILL", "kill --all KILL", "stop --time=0", "delete --force"])
def test_one_of_which_the_state_is_lost_is_found_by_its_cgroup(own, box, lost, words):
    one = box(own)
    place = os.path.join(own.runner.state(), one.id, "state.json")
    os.unlink(place)
    if lost is not None:
        with open(place, "w") as file:
            file.write(lost)
    row = json.loads(own.verb("list", "--format=json").ok.out)[0]
    assert (row["id"], row["pid"], row["status"], row["owner"]) == (one.id, one.pid, "running", "root")
    assert one.verb(*words.split()).ok
    support.wait_until(lambda: support.gone(one.pid))
    assert one.verb("delete", "--force").ok
    assert own.verb("list", "--quiet").ok.out == ""


@needs("cgroup")
def test_one_of_which_the_state_is_lost_is_found_by_a_relative_path_too(own, box):
    def place(made):
        made.linux["cgroupsPath"] = "./" + made.linux["cgroupsPath"].lstrip("/")

    one = box(own, change=place)
    os.unlink(os.path.join(own.runner.state(), one.id, "state.json"))
    assert one.verb("delete", "--force").ok
    support.wait_until(lambda: support.gone(one.pid))


@needs("cgroup")
def test_one_of_which_the_state_is_lost_is_not_another_that_has_its_cgroup_now(own, bundle, box):
    first = bundle()
    first.process["args"] = ["true"]
    assert own.run(first, "--detach").ok
    support.wait_until(lambda: own.verb("state", "--quiet", first.identifier).status == 1)
    second = box(own, change=lambda made: made.linux.update(cgroupsPath=first.linux["cgroupsPath"]))
    os.unlink(os.path.join(own.runner.state(), first.identifier, "state.json"))
    row = json.loads(own.verb("list", "--format=json").ok.out)[0]
    assert [row[name] for name in ("id", "pid", "status", "owner")] == [first.identifier, 0, "stopped", ""]
    assert own.verb("kill", first.identifier, "KILL").status == 125
    assert own.verb("delete", "--force", first.identifier).ok
    assert second.status == "running"


@pytest.mark.parametrize(
    "change",
    [
        {"pid": "1"},
        {"status": 5},
        {"cgroups": 5},
        {"annotations": []},
        {"degradations": {}},
        {"systemd": {"unit": "x"}},
        {"systemd": 5},
        {"cgroups": [5]},
        {"cgroup_parents": [{}]},
        {"exit": 5},
        {"degradations": [5]},
        {"created": 5},
        {"resctrl": [5]},
        {"resctrl": 5},
        {"landlock": [5]},
        {"landlock": ["connect=x"]},
        {"home": "\0"},
        {"cgroups": ["\ud800"]},
        {"degradations": [{"code": []}]},
        {"stop_signal": "x"},
    ],  # fmt: skip
    ids=lambda change: "-".join(str(word) for word in list(change.items())[0]),
)
def test_one_of_which_the_state_is_nonsense_can_be_deleted(own, box, change):
    one = box(own, change=lambda made: made.linux.pop("cgroupsPath"))
    place = os.path.join(own.runner.state(), one.id, "state.json")
    with open(place) as file:
        before = json.load(file)
    with open(place, "w") as file:
        json.dump(dict(before, **change), file)
    assert " running " in own.verb("list").ok.out  # found by its cgroup
    found = one.verb("delete")
    assert (found.status, found.err.count("\n")) == (125, 1)
    for verb in ("state", "ps"):
        one.verb(verb).ok
    one.verb("delete", "--force").ok
    support.wait_until(lambda: support.gone(one.pid))


@pytest.mark.parametrize("state", ["whole", "lost"])
@pytest.mark.parametrize(
    "change",
    [
        None, [], {}, {"process": 3}, {"linux": [1]}, {"linux": {"namespaces": 5}},
        {"linux": {"cgroupsPath": 5}}, {"annotations": [1]}, {"hooks": {"poststop": [1]}},
    ],
    ids=str,
)  # fmt: skip
def test_one_of_which_the_configuration_is_nonsense_can_be_deleted(own, box, change, state):
    """It may be JSON all the same. No verb of this or another container stumbles over it."""
    one = box(own, change=lambda made: made.linux.pop("cgroupsPath"))
    place = os.path.join(own.runner.state(), one.id)
    with open(os.path.join(place, "config.json")) as file:
        before = json.load(file)
    with open(os.path.join(place, "config.json"), "w") as file:
        json.dump(dict(before, **change) if change else change, file)
    if state == "lost":
        os.truncate(os.path.join(place, "state.json"), 3)
    assert " running " in own.verb("list").ok.out  # found by its cgroup
    for verb in ("state", "ps"):
        one.verb(verb).ok
    if not isinstance(change, dict) or not change:
        found = own.verb("exec", one.id, "true")
        assert found.err.count("\n") == 1 and found.err.startswith("minictr: "), found
    found = one.verb("delete", "--force")
    assert found.status == 0 and found.err.count("\n") <= 1
    support.wait_until(lambda: support.gone(one.pid))
    assert own.verb("list", "--quiet").ok.out == ""


@pytest.mark.parametrize("where", ["in", "in/a/b"])
def test_what_is_mounted_in_the_directory_of_a_container_is_left_alone(own, box, where):
    """And the container is known until that is gone."""
    one = box(own)
    folder = os.path.join(own.runner.state(), one.id)
    os.makedirs(os.path.join(folder, where, "top"))
    own.runner.command("mount", "--bind", one.bundle.root, os.path.join(folder, where)).ok
    before = sorted(os.listdir(one.bundle.root))
    found = one.verb("delete", "--force")
    with open("/proc/self/mountinfo") as rows:
        (point,) = [row.split()[4] for row in rows if folder in row]
    why = "Device or resource busy; hint: something is mounted there: umount it"
    said = "minictr: remove the directory of container %s: %s: %s\n"
    try:
        assert found == (125, "", said % (one.id, point, why))
        assert sorted(os.listdir(one.bundle.root)) == before
        assert one.status == "stopped"
    finally:
        own.runner.command("umount", "--no-canonicalize", point).ok
    assert one.verb("delete").ok
    assert not os.path.exists(folder)


@pytest.mark.parametrize(
    "verb, place, value, why",
    [
        ("exec", "mounts 0 options", 5, "mounts[0].options is not an array"),
        ("exec", "process rlimits", [5], "process.rlimits[0] is not an object"),
        ("exec", "process capabilities bounding", [5], "process.capabilities.bounding[0] is not a string"),
        ("exec", "process cwd", [], "process.cwd is not a string"),  # which shows inside alone
        ("update", "linux resources", {"pids": 5}, "linux.resources.pids is not an object"),
        ("start", "hooks", {"poststart": [5]}, "hooks.poststart[0] is not an object"),
    ],
    ids=lambda value: str(value).replace(" ", "-"),
)
def test_what_is_nonsense_in_a_configuration_is_named(own, box, verb, place, value, why):
    """And a container that cannot be started is one that can be started yet."""
    one = box(own, verb="create" if verb == "start" else "run")
    path = os.path.join(own.runner.state(), one.id, "config.json")
    with open(path) as file:
        before = file.read()
    config = json.loads(before)
    *above, last = [int(word) if word.isdigit() else word for word in place.split()]
    parent = config
    for key in above:
        parent = parent[key]
    parent[last] = value
    with open(path, "w") as file:
        json.dump(config, file)
    words = {"exec": ["true"], "update": ["--pids-limit=90"], "start": []}[verb]
    doing = "read the configuration of container %s: it is broken" % one.id
    doing = "read config.json" if verb == "start" else doing  # whose hooks are looked at before
    assert one.verb(verb, *words) == (255 if verb == "exec" else 125, "", "minictr: %s: %s\n" % (doing, why))
    assert one.status == ("created" if verb == "start" else "running")
    with open(path, "w") as file:
        file.write(before)
    assert one.verb(verb, *words).ok


def test_two_of_which_the_states_are_lost_do_not_stand_in_each_others_way(own, box):
    """One shares the host's processes, so that all of its own are to be killed; of the other, whose
    configuration was changed to what is no path of a cgroup, nobody can tell any more."""
    one, other = box(own, change=shared_pids), box(own)
    pids = json.loads(one.verb("ps", "--format=json").ok.out)
    assert len(pids) == 2
    place = os.path.join(own.runner.state(), other.id, "config.json")
    os.rename(place, place + ".whole")
    with open(place + ".whole") as file, open(place, "w") as changed:
        config = json.load(file)
        json.dump(dict(config, linux=dict(config["linux"], cgroupsPath="/../x")), changed)
    os.kill(other.pid, signal.SIGKILL)
    support.wait_until(lambda: support.gone(other.pid))
    for each in (one, other):
        os.truncate(os.path.join(own.runner.state(), each.id, "state.json"), 3)
    rows = {row["id"]: row["status"] for row in json.loads(own.verb("list", "--format=json").ok.out)}
    assert rows == {one.id: "running", other.id: "stopped"}
    assert one.verb("kill", "KILL") == (0, "", "")
    support.wait_until(lambda: all(support.gone(pid) for pid in pids))
    os.rename(place + ".whole", place)
    for each in (one, other):
        assert each.verb("delete", "--force") == (0, "", "")


def test_a_container_has_the_name_of_its_directory(own, box):
    one = box(own)
    place = os.path.join(own.runner.state(), one.id, "state.json")
    with open(place) as file:
        before = json.load(file)
    with open(place, "w") as file:
        json.dump(dict(before, id="another"), file)
    assert own.verb("list", "--quiet").ok.out == one.id + "\n"
    assert json.loads(one.verb("state").ok.out)["id"] == one.id


# --- privileges -----------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", [0, 7])
def test_a_capability_that_cannot_be_ambient_is_told_and_left_out(own, bundle, tmp_path, uid):
    """Root has what is permitted all the same: for it that is a notice."""
    made = bundle()
    made.process["user"] = {"uid": uid, "gid": uid}
    made.process["capabilities"].update(inheritable=["CAP_KILL"], ambient=["CAP_KILL", "CAP_CHOWN"])
    log = str(tmp_path / "log")
    made.save()
    made.process["args"] = ["grep", "CapAmb", "/proc/self/status"]
    made.save()
    found = own.verb("--log", log, "run", "--bundle", made.path, made.identifier)
    assert (found.status, found.fields) == (0, ["CapAmb:", "0000000000000020"]), found
    told = "capabilities: wanted ambient CAP_CHOWN, got nothing; "
    assert found.err == "" if uid == 0 else found.err.startswith("minictr: warning: " + told), found
    with open(log) as file:
        line = file.readline()
    assert told in line and "level=%s " % ("warning" if uid else "info") in line


def test_a_capability_that_the_caller_lacks_is_told_and_left_out(own, bundle, tmp_path):
    log = str(tmp_path / "log")
    made = bundle()
    made.process["args"] = ["grep", "-E", "Cap(Inh|Bnd)", "/proc/self/status"]
    made.process["capabilities"]["inheritable"] = ["CAP_CHOWN", "CAP_KILL"]
    made.save()
    lacking = ["setpriv", "--bounding-set=-chown", "--inh-caps=-chown"]
    words = own._words({}) + ["--log", log, "run", "--bundle", made.path, made.identifier]
    found = own.runner.start_command(*(lacking + words), env={"PYTHONPATH": support.CHECKOUT}).wait()
    assert (found.status, found.fields[:2]) == (0, ["CapInh:", "0000000000000020"]), found
    assert int(found.fields[3], 16) & 1 == 0
    assert "warning: capabilities: wanted CAP_CHOWN, got nothing; the caller does not hold it" in found.err
    with open(log) as file:
        assert "level=warning" in file.readline()


def test_a_capability_that_a_further_program_cannot_have_is_told_as_well(own, box, tmp_path):
    log, wanted = str(tmp_path / "log"), {"bounding": ["CAP_KILL", "CAP_TIME_TRAVEL"]}
    with open(str(tmp_path / "process"), "w") as file:
        args = ["grep", "CapBnd", "/proc/self/status"]
        json.dump({"args": args, "cwd": "/", "user": {"uid": 0, "gid": 0}, "capabilities": wanted}, file)
    found = own.verb("--log", log, "exec", "--process", file.name, box(own).id)
    assert found.ok.fields == ["CapBnd:", "0000000000000020"]
    with open(log) as file:
        line = file.readline()
    assert "level=warning" in line and "wanted CAP_TIME_TRAVEL, got nothing" in line, line


@needs("rootless", "newuidmap")
def test_a_user_is_told_of_no_capability_that_a_further_program_has(minictr, busybox_root, ranged):
    words = ("--rootfs", busybox_root, "--", "sleep", "1000")
    minictr("run", "-d", "--name", "box", *words, user=ranged).ok
    found = minictr("exec", "box", "grep", "CapEff", "/proc/self/status", user=ranged)
    minictr("delete", "--force", "box", user=ranged).ok
    assert found.ok.fields == ["CapEff:", "00000000a80425fb"]


def test_a_bounding_set_that_cannot_be_lowered_ends_the_start(own, bundle):
    made = bundle()
    made.process["args"] = ["true"]
    why = "drop capabilities from the bounding set: Operation not permitted; hint: it takes CAP_SETPCAP"
    found = own.run(made, drop=["SETPCAP"])
    assert (found.status, found.out, found.err.split("\n")[-2]) == (125, "", "minictr: " + why)


def test_what_is_ambient_for_the_caller_is_not_for_the_program(own, bundle):
    """Not even where the program may inherit it."""
    made = bundle()
    made.process["args"] = ["grep", "-E", "Cap(Inh|Amb)", "/proc/self/status"]
    made.process["capabilities"]["inheritable"] = ["CAP_KILL"]
    found = own.run(made, wrap=["setpriv", "--inh-caps=+kill", "--ambient-caps=+kill"])
    assert found.ok.fields == ["CapInh:", "0000000000000020", "CapAmb:", "0000000000000000"]


def test_exec_with_a_capability_has_it_ambient_if_the_container_may_inherit_it(own, box):
    def inheritable(made):
        sets = made.process["capabilities"]
        sets["bounding"] = sets["bounding"] + ["CAP_SYSLOG"]
        sets.update(inheritable=["CAP_KILL", "CAP_SYSLOG"], ambient=["CAP_KILL"])

    one = box(own, change=inheritable)
    words = ["--cap", "CAP_SYSLOG", one.id, "grep", "CapAmb", "/proc/self/status"]
    assert own.verb("exec", *words).ok.fields == ["CapAmb:", "%016x" % (1 << 34 | 1 << 5)]


def test_exec_with_a_capability_has_it_as_another_user_too(own, box):
    """execve(2) leaves who is not root what is ambient alone."""
    one = box(own)
    words = ["--user", "1000", "--cap", "CAP_KILL", one.id, "grep", "CapEff", "/proc/self/status"]
    assert own.verb("exec", *words).ok.fields == ["CapEff:", "%016x" % (1 << 5)]


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SYS_ADMIN", "cap_sys_admin", "CAP_SYS_ADMIN"])
def test_exec_takes_a_capability_as_run_does(own, box, name):
    found = own.verb("exec", "-c", name, box(own).id, "grep", "CapEff", "/proc/self/status")
    assert int(found.ok.fields[1], 16) >> 21 & 1


@pytest.mark.parametrize(
    "words, why",
    [
        (["-c", "bogus"], "--cap bogus: there is no capability of that name"),
        (["-c", "ALL"], "--cap ALL: there is no capability of that name"),
        (["-e", "=b"], "--env =b: is not NAME[=VALUE]"),
        (["-e", ""], "--env: is not NAME[=VALUE]"),
        (["--usr", "7"], "exec: unknown option --usr; hint: did you mean --user?"),
        (["-Z"], "exec: unknown option -Z; hint: minictr exec --help"),
        (["--preserve-fds", "\u00b2"], "--preserve-fds \u00b2: is not a number from 0 to 1048576"),
        (["--process", "/no/such"], "read /no/such: No such file or directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_exec_is_asked_for_and_cannot_do_is_named(own, box, words, why):
    found = own.verb("exec", *words, box(own).id, "true", env={"LC_ALL": "C.UTF-8"})
    assert found == (255, "", "minictr: %s\n" % why)


@pytest.mark.parametrize(
    "process, why",
    [
        ("{", "not JSON: "),
        ({"cwd": "/", "args": []}, "process.args is empty or missing"),
        ({"cwd": "/", "args": ["sh"], "rlimits": [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]},
         "process.rlimits[0] has a soft limit above its hard limit"),
    ],
    ids=["no JSON", "no program", "limits"],
)  # fmt: skip
def test_a_process_that_is_none_is_named_with_its_file(own, box, tmp_path, process, why):
    path = tmp_path / "process.json"
    path.write_text(process if isinstance(process, str) else json.dumps(process))
    found = own.verb("exec", "--process", str(path), box(own).id)
    assert (found.status, found.out) == (255, "")
    assert found.err.startswith("minictr: read %s: %s" % (path, why))


EXEC = [
    (["--env", "A=1", "-e", "B=2", "--env=C=3"], "echo $A$B$C", "123"),
    (["-e", "PATH=/nowhere:/bin"], "echo $PATH", "/nowhere:/bin"),
    (["--user", "1000:29"], "id -u; id -g", "1000\n29"),
    (["-u", "1000"], "id -u", "1000"),
    (["--user=1000:29", "--additional-gids", "5", "-g", "7"], "id -G | tr ' ' '\\n' | sort -n", "5\n7\n29"),
    (["--cwd", "/tmp"], "pwd", "/tmp"),
    (["--no-new-privs"], "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
    ([], "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0"),
    (
        ["--cap", "CAP_SYS_TIME", "--cap=CAP_SYSLOG"],
        "grep CapEff /proc/self/status",
        "CapEff:\t0000000402000000",
    ),
    (["--env", "A=1", "--cwd=/tmp", "-u", "7:8"], "echo $A $PWD $(/bin/id -u)", "1 /tmp 7"),
]


@pytest.mark.parametrize("options, script, said", EXEC, ids=[" ".join(row[0]) for row in EXEC])
def test_exec_takes_its_options_in_every_form(runtime, box, options, script, said):
    if "--additional-gids" in options:
        unlike(runtime, "crun", "has no such option")
    if {"-e", "-g"} & set(options) and len(options) > 2:
        unlike(runtime, "runc", "has versions that take one form alone")
    if "1000" in options:
        unlike(runtime, "crun", "takes no user without a group", since=(1, 21))

    def bare(made):
        made.process.update(noNewPrivileges=False, capabilities={})

    one = box(runtime, change=bare)
    assert runtime.verb(*(["exec"] + options + [one.id, "/bin/sh", "-c", script])) == (0, said + "\n", "")


@pytest.mark.parametrize("words", [["-w", "/tmp"], ["-w/tmp"], ["--workdir=/tmp"]], ids=" ".join)
def test_exec_starts_in_a_directory_by_the_names_that_run_has_for_it(own, box, words):
    assert own.verb("exec", *words, box(own).id, "/bin/pwd") == (0, "/tmp\n", "")


def test_exec_takes_variables_from_a_file_as_run_does(own, box, tmp_path):
    file = tmp_path / "variables"
    file.write_text("# of the file\nA=1\nB=2 3\n\nOURS\nNOBODYS\n")
    words = ["-e", "A=4", "--env-file", str(file), box(own).id, "/bin/sh", "-c"]
    script = "echo $A $B $OURS ${NOBODYS-none}"
    assert own.verb("exec", *words, script, env={"OURS": "mine"}) == (0, "4 2 3 mine none\n", "")
    found = own.verb("exec", "--env-file", "/no/such", "x", "true")
    assert found == (255, "", "minictr: --env-file /no/such: No such file or directory\n")


def test_exec_takes_a_variable_of_the_callers_by_its_name(own, box):
    words = ["-e", "OURS", "-e", "NOBODYS", box(own).id, "/bin/sh", "-c", "echo $OURS ${NOBODYS-none}"]
    assert own.verb("exec", *words, env={"OURS": "mine"}) == (0, "mine none\n", "")


@pytest.mark.parametrize("flags", [["-i"], ["-it"], ["--interactive=true"]], ids=" ".join)
def test_exec_may_be_told_to_be_interactive(own, box, flags):
    found = own.verb("exec", *flags, box(own).id, "head", "-n", "1", stdin="a line\n")
    assert "a line" in found.ok.out


def test_debug_tells_what_is_done(own, bundle, tmp_path):
    made = bundle()
    made.process["args"] = ["true"]
    made.save()
    log = str(tmp_path / "log")
    words = ["--debug", "--log", log, "run", "--bundle", made.path, made.identifier]
    found = own.verb(*words)
    assert found.status == 0 and found.err.startswith("minictr: debug: plan: "), found
    with open(log) as file:
        lines = file.read().splitlines()
    assert all(" level=debug msg=" in line for line in lines) and len(lines) > 10


def test_debug_leaves_the_status_and_the_last_line_as_they_are(own, bundle, tmp_path):
    """Engines with debugging switched on look for them, too."""
    made = bundle()
    made.process["args"] = ["/no/such"]
    made.save()
    log = str(tmp_path / "log")
    words = ["--debug", "--log", log, "--log-format=json", "create", "--bundle", made.path, made.identifier]
    found = own.verb(*words)
    assert found.status == 127 and "Traceback" not in found.err
    with open(log) as file:
        last = json.loads(file.read().splitlines()[-1])
    assert last["level"] == "error" and "no such file or directory" in last["msg"]


@pytest.mark.parametrize("held", [True, False], ids=["no_new_privs", "new privileges"])
def test_a_hook_inside_is_held_by_the_filter_of_the_program(runtime, bundle, held):
    made = bundle()
    made.process.update(args=["echo", "started"], noNewPrivileges=held)
    made.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "mkdir /dev/shm/x"]}
    made.config["hooks"] = {"startContainer": [hook]}
    found = runtime.run(made)
    assert found.status != 0 and found.out == "", found


# --- of a user, without a cgroup ------------------------------------------------------------------


def of_a_user(made, account, script):
    """What `spec --rootless` prints for ACCOUNT."""
    made.namespaces("user")
    for name, number in (("uidMappings", account.uid), ("gidMappings", account.gid)):
        made.linux[name] = [{"containerID": 0, "hostID": number, "size": 1}]
    for mount in made.config["mounts"]:
        mount["options"] = [word for word in mount["options"] if word != "gid=5"]
    made.process["args"] = ["sh", "-c", script]
    return made


@pytest.fixture
def lives(own, bundle, unranged):
    """The process id of a container of a user's, whose id is that of the second."""
    made = of_a_user(bundle(account=unranged), unranged, "echo up; exec sleep 1000")
    live = own.start(made, "--detach", user=unranged)
    live.expect("up\n")
    assert live.wait().status == 0
    found = own.verb("state", made.identifier, user=unranged)
    yield json.loads(found.ok.out)["pid"], made.identifier
    own.verb("delete", "--force", made.identifier, user=unranged)


@pytest.fixture
def ranged_box(bundle, ranged):
    """Starts a container of a user's that has a range of ids, for a runtime, with an oom_score_adj."""
    made = []

    def start(runtime):
        one = of_a_user(bundle(account=ranged), ranged, "echo up; exec sleep 1000")
        for name, first in (("uidMappings", ranged.uid), ("gidMappings", ranged.gid)):
            one.linux[name] = [
                {"containerID": 0, "hostID": first, "size": 1},
                {"containerID": 1, "hostID": ranged.start, "size": 2000},
            ]
        one.process["oomScoreAdj"] = 321
        made.append((runtime, one))
        live = runtime.start(one, "--detach", user=ranged)
        live.expect("up\n")
        assert live.wait().status == 0
        return one

    yield start
    for runtime, one in made:
        runtime.verb("delete", "--force", one.identifier, user=ranged)


def test_a_user_with_a_range_of_ids_runs_further_programs(runtime, ranged_box, ranged):
    """The maps are written, nobody has to ask newuidmap again; and what joins may not be looked into by a
    user, whose file of the score is root's then."""
    one = ranged_box(runtime)
    script = "id -u; cat /proc/self/oom_score_adj"
    words = ["exec", "--user", "1000:1000", one.identifier, "sh", "-c", script]
    score = "0" if runtime.name == "crun" else "321"
    assert runtime.verb(*words, user=ranged) == (0, "1000\n%s\n" % score, "")


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_a_user_gives_a_program_with_other_ids_its_scheduler(own, ranged_box, ranged, verb):
    """To a process of other ids than its own a user may give none: it takes it before it takes them."""
    script = "cut -d ' ' -f 19,41 /proc/$$/stat; ionice -p $$"
    rare = {"scheduler": {"policy": "SCHED_BATCH", "nice": 3}, "ioPriority": {"class": "IOPRIO_CLASS_IDLE"}}
    one = ranged_box(own)
    one.process.update(rare, user={"uid": 1000, "gid": 1000}, args=["sh", "-c", script])
    if verb == "run":
        first, one.identifier = one.identifier, one.identifier + "-again"
        found = own.run(one, user=ranged)
        one.identifier = first
    else:
        with open(one.path + "/process.json", "w") as file:
            json.dump(one.process, file)
        os.chmod(one.path + "/process.json", 0o644)
        words = ["exec", "--process", one.path + "/process.json", one.identifier]
        found = own.verb(*words, user=ranged)
    assert found == (0, "3 3\nidle\n", "")


def test_a_user_joins_the_namespaces_of_another_container(own, bundle, unranged, lives):
    """setgroups(2) is denied there, as the user has written the maps alone."""
    made = of_a_user(bundle(account=unranged), unranged, "id -u; ls -d /proc/1; cat /proc/1/comm")
    kinds = {"user": "user", "pid": "pid", "ipc": "ipc", "uts": "uts", "network": "net"}
    made.namespaces(**{kind: "/proc/%d/ns/%s" % (lives[0], name) for kind, name in kinds.items()})
    del made.linux["uidMappings"], made.linux["gidMappings"]
    assert own.run(made, user=unranged).ok.out == "0\n/proc/1\nsleep\n"


def test_groups_that_a_user_alone_cannot_have_are_refused(own, bundle, unranged):
    made = of_a_user(bundle(account=unranged), unranged, "id -G")
    made.process["user"]["additionalGids"] = [0]  # the process's own, as podman names it
    assert own.run(made, user=unranged).ok.out == "0\n"

    made.process["user"]["additionalGids"] = [0, 70]
    found = own.run(made, user=unranged)
    assert (found.status, found.out) == (123, "")
    assert "groups: 70 is required: setgroups(2) is denied where the caller alone is mapped" in found.err
    found = own.run(made, "--allow-degraded", user=unranged)
    assert (found.status, found.out) == (0, "0\n") and "warning: groups: wanted 70" in found.err


def test_a_group_that_is_shown_as_nobodys_is_not_taken_for_the_one_that_is_asked_for(
    own, bundle, unranged, lives
):
    """It may be any of the caller's, and cannot be taken away there."""
    made = of_a_user(bundle(account=unranged), unranged, "true")
    kinds = {"user": "user", "pid": "pid", "ipc": "ipc", "uts": "uts", "network": "net"}
    made.namespaces(**{kind: "/proc/%d/ns/%s" % (lives[0], name) for kind, name in kinds.items()})
    del made.linux["uidMappings"], made.linux["gidMappings"]
    made.process["user"]["additionalGids"] = [65534]
    made.save()
    words = ["setpriv", "--reuid", str(unranged.uid), "--regid", str(unranged.gid), "--groups", "2345"]
    words += own._words({"user": unranged}) + ["run", "--bundle", made.path, made.identifier]
    found = own.runner.command(*words, env={"PYTHONPATH": support.checkout()})
    why = "groups: 65534 is required: setgroups(2) is denied in the user namespace that is joined; hint: "
    assert (found.status, found.out) == (123, "") and found.err.startswith("minictr: " + why), found


@pytest.mark.parametrize("groups", [[], [0], [70]], ids=["none", "its own", "another"])
def test_a_namespace_that_is_joined_may_deny_groups(own, bundle, lives, groups):
    """Where there are none to set none are set; and none of the caller's come in, whose rights would go
    along."""
    made = bundle()
    made.namespaces(user="/proc/%d/ns/user" % lives[0])
    for mount in made.config["mounts"]:
        mount["options"] = [word for word in mount["options"] if word != "gid=5"]
    made.process.update(user={"uid": 0, "gid": 0, "additionalGids": groups}, args=["id", "-G"])
    made.save()
    words = ["setpriv", "--groups", "2345,6"] + own._words({}) + ["--debug", "run", "--bundle", made.path]
    how = {"env": {"PYTHONPATH": support.checkout()}}
    found = own.runner.command(*(words + [made.identifier]), **how)
    why = "groups: 70 is required: setgroups(2) is denied in the user namespace that is joined; hint: leave "
    if groups == [70]:
        assert (found.status, found.out) == (123, "") and why in found.err, found
        found = own.runner.command(*(words + ["--allow-degraded", made.identifier]), **how)
        assert "warning: groups: wanted 70, got none of them" in found.err
    assert (found.status, found.out) == (0, "0\n"), found


def test_exec_says_that_it_cannot_set_groups(own, lives, unranged):
    """Which the container has not been refused either."""
    found = own.verb("exec", "--additional-gids", "70", lives[1], "id", "-G", user=unranged)
    why = "groups: 70 is required: setgroups(2) is denied where the caller alone is mapped"
    assert (found.status, found.out) == (255, "") and why in found.err, found
    assert own.verb("exec", "--additional-gids", "0", lives[1], "id", "-G", user=unranged) == (0, "0\n", "")


def test_a_namespace_that_is_joined_may_have_no_group_of_terminals(minictr, busybox_root, lives):
    words = ("run", "--userns", "/proc/%d/ns/user" % lives[0], "--rootfs", busybox_root, "--", "echo", "well")
    assert minictr(*words) == (0, "well\n", "")


def test_to_kill_all_of_one_that_has_ended_is_no_error_for_a_user(own, unranged, lives):
    for _ in range(2):
        assert own.verb("kill", "--all", lives[1], "KILL", user=unranged) == (0, "", "")
        support.wait_until(lambda: support.gone(lives[0]))


def test_what_is_created_only_is_closed_to_a_user(own, bundle, unranged):
    made = of_a_user(bundle(account=unranged), unranged, "true")
    made.save()
    words = ["--bundle", made.path, made.identifier]
    assert own.start_verb("create", *words, user=unranged).wait().status == 0
    found = own.verb("exec", made.identifier, "true", user=unranged)
    assert found.status == 255 and "Permission denied; hint: start it first" in found.err, found
    own.verb("delete", "--force", made.identifier, user=unranged).ok


@pytest.mark.parametrize("kind", ["-pid", "pid"])
def test_who_cannot_be_found_again_is_told_of(own, bundle, unranged, kind):
    made = of_a_user(bundle(account=unranged), unranged, "true")
    if kind == "-pid":
        shared_pids(made)
        made.config["mounts"][0].update(type="bind", source="/proc", options=["rbind"])
    made.save()
    found = own.verb("--debug", "run", "--bundle", made.path, made.identifier, user=unranged)
    assert found.status == 0
    assert ("cannot be found" in found.err) == (kind == "-pid"), found


# --- pid files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["create", "run", "exec"])
def test_a_pid_file_that_is_none_is_written_to(own, box, bundle, tmp_path, verb):
    """A device, and be it /dev/null, is not replaced."""
    place, output = str(tmp_path / "null"), str(tmp_path / "stdout")
    os.mknod(place, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.symlink("/proc/self/fd/1", output)
    for path in (place, output):
        words = ["--pid-file", path]
        if verb == "exec":
            words = ["exec"] + words + ["--detach", box(own).id, "true"]
        else:
            made = bundle()
            made.process["args"] = ["true"]
            made.save()
            words = [verb] + words + ["--bundle", made.path, made.identifier]
        live = own.start_verb(*words)
        support.wait_until(lambda live=live: not live.running)
        live.read(0)
        assert live.out.strip().isdigit() == (path == output), live.out
        if verb == "create":
            own.verb("delete", "--force", made.identifier).ok
        assert live.wait().status == 0
    assert os.stat(place).st_rdev == os.makedev(1, 3) and os.path.islink(output)
    assert sorted(os.listdir(str(tmp_path))) == ["null", "stdout"]


def test_a_pid_file_may_be_the_output_and_that_a_file(own, box, tmp_path):
    output = str(tmp_path / "stdout")
    os.symlink("/proc/self/fd/1", output)
    script = 'exec "$@" >"$0"'
    words = ["sh", "-c", script, str(tmp_path / "file")] + own._words({})
    one = box(own)
    found = own.runner.command(
        *(words + ["exec", "--pid-file", output, one.id, "true"]), env={"PYTHONPATH": support.CHECKOUT}
    )
    assert found == (0, "", "") and (tmp_path / "file").read_text().isdigit() and os.path.islink(output)


@pytest.mark.parametrize("option", ["--pid-file", "--log", "--log-file"])
@pytest.mark.parametrize("which", ["the file", "its directory", "where a link of root's leads"])
def test_nothing_is_written_through_a_link_of_another_users(own, bundle, tmp_path, unranged, option, which):
    """Root writes where a user may write, too: who makes the link would choose the file."""
    place = unranged.place("outputs")
    target, theirs = tmp_path / "target", place + "/theirs"
    os.mkfifo(str(target))
    os.symlink(str(tmp_path if which == "its directory" else target), theirs)
    os.chown(theirs, unranged.uid, unranged.gid, follow_symlinks=False)
    link = theirs
    if which == "its directory":
        link += "/target"
    elif which != "the file":
        link = str(tmp_path / "way")
        os.symlink(theirs, link)
    reader = os.open(str(target), os.O_RDONLY | os.O_NONBLOCK)
    made = bundle()
    words = ["run", "--bundle", made.path, made.identifier]
    if option == "--log-file":
        words = ["run", "--rootfs", made.root, "--log-file", link, "--", "echo", "said"]
    made.process["args"] = ["true"]
    if option == "--log":
        made.process["args"] = ["/no/such"]
    made.save()
    words[1:1] = ["--pid-file", link] if option == "--pid-file" else []
    words[:0] = ["--log", link] if option == "--log" else []
    found = own.verb(*words)
    try:
        written = os.read(reader, 4096)
    except BlockingIOError:
        written = b""
    os.close(reader)

    assert written == b"", (written, found)
    if option == "--pid-file" and which == "the file":  # in its place, as with runc
        assert found.status == 0 and not os.path.islink(link)
    elif option == "--log":
        assert found.status == 127 and "cannot write the log %s" % link in found.err
    else:
        assert found.status == 125 and "it is a link of another user's" in found.err


def test_a_start_that_fails_removes_no_device(own, bundle, tmp_path):
    made, place = bundle(), str(tmp_path / "null")
    os.mknod(place, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    made.process["args"] = ["/no/such"]
    assert own.run(made, "--pid-file", place).status == 127
    assert os.stat(place).st_rdev == os.makedev(1, 3)


# --- the process of exec --------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [[7, 7, 8], [5, 6, 5]])
def test_a_group_may_be_named_twice(runtime, bundle, groups):
    made = bundle()
    made.process.update(user={"uid": 1, "gid": 6, "additionalGids": groups}, args=["id", "-G"])
    found = runtime.run(made).ok.fields
    assert set(map(int, found)) == {6} | set(groups)


def test_more_groups_than_there_may_be_are_one_line(own, bundle):
    made = bundle()
    made.process["user"] = {"uid": 1, "gid": 6, "additionalGids": list(range(1, 65538))}
    found = own.sh(made, "true")
    assert found == (125, "", "minictr: set groups: 65537 are more than there may be\n")


@pytest.mark.parametrize("given", [None, {}], ids=["null", "none"])
def test_capabilities_that_a_process_does_not_name_are_the_containers(runtime, box, tmp_path, given):
    one = box(runtime)
    words = ["grep", "CapBnd", "/proc/self/status"]
    process = {"args": words, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    process["capabilities"] = given
    (tmp_path / "process.json").write_text(json.dumps(process))
    found = runtime.verb("exec", "--process", str(tmp_path / "process.json"), one.id).ok.fields
    assert found == (["CapBnd:", "0" * 16] if given == {} else runtime.verb("exec", one.id, *words).ok.fields)


@pytest.mark.parametrize(
    "options",
    [
        ("--detach", "--tty"),
        ("--detach", "--console-socket", "/no/such"),
        ("--tty", "--console-socket", "/no/such"),
    ],
    ids=["no socket", "no terminal", "not detached"],
)
def test_a_terminal_that_nobody_would_have_is_refused(runtime, box, options):
    unlike(runtime, "crun", "takes what it is given")
    found = runtime.verb("exec", *(options + (box(runtime).id, "true")))
    assert found.status == 255, found


@pytest.mark.parametrize("word", ["STKFLT", "SIGSTKFLT", "16"])
def test_a_signal_has_its_name_in_every_python(own, box, word):
    assert box(own).verb("kill", word) == (0, "", "")


@needs("cgroup")
def test_where_its_cgroup_is_the_bundle_of_one_that_is_lost_does_not_say(own, box):
    """The note is its runtime's alone: a property of the bundle that is called so names what it likes."""
    other = box(own)
    with open(os.path.join(own.runner.state(), other.id, "state.json")) as file:
        theirs = json.load(file)["cgroups"]
    noted = {"cgroups": theirs, "cgroup_parents": [], "systemd": None}
    one = box(own, change=lambda made: made.config.update(minictr=noted))
    for identifier in (one.id, other.id):
        os.unlink(os.path.join(own.runner.state(), identifier, "state.json"))
    rows = {row["id"]: row["pid"] for row in json.loads(own.verb("list", "--format=json").ok.out)}
    assert rows == {one.id: one.pid, other.id: other.pid}


@pytest.mark.parametrize("names", ["clone clone3 fork vfork", "setsid", "prctl", "read"])
def test_a_filter_that_refuses_to_make_a_process_keeps_nobody_from_joining(runtime, box, names):
    if names in ("prctl", "read"):
        unlike(runtime, "crun", "has the filter before it is done")

    def refuse(made):
        rules = [{"names": names.split(), "action": "SCMP_ACT_ERRNO"}]
        made.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
        made.process["args"] = ["sh", "-c", "echo up; exec sleep 1001"]

    one = box(runtime, change=refuse)
    assert runtime.verb("exec", one.id, "true") == (0, "", "")
