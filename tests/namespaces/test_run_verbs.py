"""The verbs on containers that `run` has made, and those that only tell: list, state, kill, stop, delete."""

import calendar
import json
import os
import signal
import time

import pytest
from support import gone, needs, wait_until

from minictr import spec

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")

TITLES = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
SLEEP = "exec sleep 1000"


class Made:
    """Detached containers of a caller; `verb` runs a verb on them."""

    def __init__(self, minictr, caller, root, place):
        self.minictr, self.caller, self.root, self.place = minictr, caller, root, place

    def verb(self, *argv, **more):
        return self.minictr(*argv, **dict(self.caller.options, **more))

    def run(self, name, script=SLEEP, *options):
        """The process id of the first process of a new container NAME."""
        files = ("--pid-file", self.place + "/" + name, "--log-file", self.place + "/log-" + name)
        words = options + files + ("--read-only", "--rootfs", self.root)
        assert self.verb("run", "-d", "--name", name, *words, "--", "sh", "-c", script).ok
        with open(self.place + "/" + name) as file:
            return int(file.read())

    def said(self, name):
        with open(self.place + "/log-" + name) as file:
            return file.read()

    def state(self, name):
        return json.loads(self.verb("state", name).ok.out)


@pytest.fixture
def made(minictr, strong_caller, busybox_root, tmp_path):
    if strong_caller.account:
        os.chown(str(tmp_path), strong_caller.account.uid, strong_caller.account.gid)
    made = Made(minictr, strong_caller, busybox_root, str(tmp_path))
    yield made
    for name in made.verb("list", "--quiet").lines:
        assert made.verb("delete", "--force", name).ok


# --- list ---------------------------------------------------------------------------------------


def test_a_list_without_containers_is_a_line_of_titles(made):
    assert made.verb("list").ok.fields == TITLES
    assert made.verb("list", "--quiet").ok.out == ""
    assert json.loads(made.verb("list", "--format", "json").ok.out) == []


def test_a_list_has_a_line_for_each_container(made):
    pid = made.run("one")
    made.run("two", "exit 0")
    wait_until(lambda: made.state("two")["status"] == "stopped")
    titles, one, two = [line.split() for line in made.verb("list").ok.lines]

    owner = made.caller.account.name if made.caller.account else "root"
    assert titles == TITLES
    assert (one[:4], one[5]) == (["one", str(pid), "running", made.root], owner)
    assert (two[:4], two[5]) == (["two", "0", "stopped", made.root], owner)


def test_a_list_has_one_line_for_each_whatever_their_places_are_called(minictr, busybox_root, tmp_path):
    place = tmp_path / "bundle\x1b[2J\nroot 1 running"
    place.mkdir()
    (place / "config.json").write_text(json.dumps(spec.default_config(["sh"], busybox_root)))
    assert minictr("create", "--bundle", str(place), "odd").ok
    found = minictr("list").ok.out
    assert minictr("delete", "--force", "odd").ok
    assert found.count("\n") == 2 and "\x1b" not in found, found


def test_what_state_tells_of_a_container_is_no_annotation_of_its_image(minictr, busybox_root, tmp_path):
    """Rules of Landlock, say, that there are none of."""
    config = spec.default_config(["sleep", "1000"], busybox_root)
    names = ("landlock", "degradations", "exit", "other")
    config["annotations"] = {"org.minictr." + name: '["rx=/usr"]' for name in names}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert minictr("create", "--bundle", str(tmp_path), "annotated").ok
    shown = json.loads(minictr("state", "annotated").ok.out)["annotations"]
    assert minictr("delete", "--force", "annotated").ok
    assert shown == {"org.minictr.other": '["rx=/usr"]'}


@pytest.mark.parametrize("words", [("--quiet",), ("-q",)])
def test_quietly_it_is_the_ids_alone(made, words):
    made.run("b")
    made.run("a")

    assert made.verb("list", *words).ok.out == "a\nb\n"


@pytest.mark.parametrize("words", [("--format", "json"), ("--format=json",), ("-f", "json")])
def test_as_json_it_is_what_engines_expect(made, words):
    pid = made.run("one")
    (entry,) = json.loads(made.verb("list", *words).ok.out)

    assert sorted(entry) == ["bundle", "created", "id", "ociVersion", "owner", "pid", "rootfs", "status"]
    assert (entry["id"], entry["pid"], entry["status"]) == ("one", pid, "running")
    moment = calendar.timegm(time.strptime(entry["created"].partition(".")[0], "%Y-%m-%dT%H:%M:%S"))
    assert abs(moment - time.time()) < 60 and entry["created"].endswith("Z")


def test_the_containers_of_another_user_are_not_listed(minictr, made, unranged):
    made.run("one")

    assert minictr("list", "--quiet", user=unranged).ok.out == ""


# --- state --------------------------------------------------------------------------------------


def test_the_state_is_that_of_the_oci_specification(made):
    pid = made.run("one", SLEEP, "--annotation", "org.example=x y")
    state = made.state("one")

    assert {key: state[key] for key in ("ociVersion", "id", "status", "pid", "bundle")} == {
        "ociVersion": "1.3.0", "id": "one", "status": "running", "pid": pid, "bundle": made.root,
    }  # fmt: skip
    assert state["annotations"]["org.example"] == "x y"
    assert made.verb("kill", "one", "KILL").ok
    wait_until(lambda: gone(pid))
    state = made.state("one")
    assert (state["status"], state["pid"]) == ("stopped", 0)


@pytest.mark.parametrize("name", ["unranged", "no-helpers"])
def test_steps_down_are_part_of_it(minictr, request, busybox_root, name):
    import callers

    options = callers.make(request, name).options
    run = ("run", "-d", "--name", "weak", "--read-only", "--rootfs", busybox_root, "--", "sleep", "1000")
    assert minictr(*run, **options).status == 0
    state = json.loads(minictr("state", "weak", **options).ok.out)
    (record,) = [
        record
        for record in json.loads(state["annotations"]["org.minictr.degradations"])
        if record["level"] == "warning"
    ]
    assert minictr("delete", "-f", "weak", **options).ok

    assert (record["code"], record["got"]) == ("idmap-alone", "the caller's own id")
    assert record["why"] and record["lost"] and record["fix"]


@pytest.mark.parametrize("words", [("--quiet", "one"), ("-q", "one")])
def test_quietly_the_status_tells_whether_it_runs(made, words):
    assert made.verb("state", *words) == (1, "", "")
    pid = made.run("one")
    assert made.verb("state", *words) == (0, "", "")
    assert made.verb("kill", "one", "KILL").ok
    wait_until(lambda: gone(pid))
    assert made.verb("state", *words) == (1, "", "")


# --- kill ---------------------------------------------------------------------------------------

TRAPS = 'for s in TERM USR1 HUP INT; do trap "echo $s" $s; done; echo ready; while :; do sleep 0.05; done'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "TERM"), (("TERM",), "TERM"), (("SIGUSR1",), "USR1"), (("hup",), "HUP"), (("2",), "INT"),
        (("sigint",), "INT"), (("-s", "USR1"), "USR1"), (("--signal=hup",), "HUP"),
    ],
)  # fmt: skip
def test_kill_sends_a_signal(made, words, said):
    made.run("one", TRAPS)
    wait_until(lambda: made.said("one") == "ready\n")
    assert made.verb("kill", "one", *words).ok

    wait_until(lambda: made.said("one") == "ready\n%s\n" % said)
    assert made.state("one")["status"] == "running"


def test_kill_ends_a_container_and_all_of_it(made):
    pid = made.run("one", "sleep 1000 & sleep 2000 & wait")
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        others = [int(word) for word in file.read().split()]
    assert made.verb("kill", "one", "KILL").ok

    for process in [pid] + others:
        wait_until(lambda process=process: gone(process))


@pytest.mark.parametrize("word", ["NOSUCH", "00x", "65", "-1", "SIG", "SIG_IGN", "TERM+1", ""])
def test_a_signal_that_is_none_is_refused(made, word):
    made.run("one")
    run = made.verb("kill", "one", word)

    assert (run.status, run.out) == (125, "")
    assert run.err.startswith("minictr: ") and run.err.count("\n") == 1
    assert made.state("one")["status"] == "running"


def test_what_has_ended_cannot_be_killed(made):
    pid = made.run("one", "exit 0")
    wait_until(lambda: gone(pid))

    run = made.verb("kill", "one", "TERM")
    assert (run.status, run.err.count("\n")) == (125, 1)
    assert "container not running" in run.err


def test_who_has_the_number_of_one_that_has_ended_is_not_taken_for_it(made):
    """The kernel gives it to another process some day, which started at another time."""
    pid = made.run("one")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gone(pid))
    other = made.minictr.start_command("sleep", "1000", user=made.caller.account)
    with open(made.minictr.state(made.caller.account) + "/one/state.json", "r+") as file:
        content = json.load(file)
        file.seek(0)
        json.dump(dict(content, pid=other.pid), file)
        file.truncate()

    assert [made.state("one")[name] for name in ("status", "pid")] == ["stopped", 0]
    for words in (["kill", "one", "KILL"], ["kill", "one", "0"], ["pause", "one"], ["exec", "one", "true"]):
        assert "container not running" in made.verb(*words).err
    assert made.verb("stop", "one").ok and made.verb("delete", "--force", "one").ok
    assert other.running
    other.kill()


def test_what_ends_takes_no_further_program(made):
    """Process 1 is there until all of its namespace were waited for, which whoever ran exec may not do."""
    pid = made.run("one")
    live = made.minictr.start("exec", "one", "sh", "-c", "echo up; sleep 1000", **made.caller.options)
    live.expect("up")
    live.signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not os.path.exists("/proc/%d/root/bin" % pid))
    try:
        assert not gone(pid)
        found = made.verb("exec", "one", "true")
        assert (found.status, found.out) == (255, "") and found.err.endswith(": container not running\n"), (
            found
        )
    finally:
        live.signal(signal.SIGCONT)
    assert live.wait().status == 137


@pytest.mark.parametrize("options", [(), ("--user", "app")], ids=["root", "app"])
def test_below_what_init_keeps_further_programs_run(made, options):
    """It is closed to a user, whose exec said "Permission denied"; the program below it is not."""
    first = made.run("one", "sleep 0.1 & exec sleep 1000", "--init", *options)
    assert made.verb("exec", *(options + ("one", "cat", "/proc/1/comm"))).ok.out == "minictr-init\n"
    made.verb("exec", "-d", "one", "sleep", "1001").ok
    assert first in json.loads(made.verb("ps", "--format", "json", "one").ok.out)
    assert "sleep 1001" in made.verb("ps", "one", "-eo", "pid,args").ok.out
    assert made.verb("kill", "--all", "one", "KILL").ok
    wait_until(lambda: gone(first))
    found = made.verb("exec", "one", "true")
    assert (found.status, found.err.count("\n")) == (255, 1) and "container not running" in found.err, found


# --- stop ---------------------------------------------------------------------------------------


def test_stop_asks_and_the_program_ends_by_itself(made):
    made.run("one", "trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.05; done")
    wait_until(lambda: made.said("one") == "ready\n")
    run = made.verb("stop", "one")

    assert run.ok.seconds < 5
    assert made.said("one") == "ready\nbye\n"
    assert made.state("one")["status"] == "stopped"


@pytest.mark.parametrize("words", [("--time", "0.5"), ("-t", "0.5"), ("-t=0",)])
def test_and_is_made_to_if_it_does_not(made, words):
    pid = made.run("one", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    wait_until(lambda: made.said("one") == "ready\n")
    assert made.verb("stop", *words, "one").ok

    assert gone(pid)


def test_several_are_stopped_at_once(made):
    for name in ("a", "b", "c"):
        made.run(name, "trap '' TERM; while :; do sleep 0.05; done")
    run = made.verb("stop", "-t", "0.5", "a", "b", "c")

    assert run.ok.seconds < 5
    assert [made.state(name)["status"] for name in "abc"] == ["stopped"] * 3


def stubborn(made, name, *options):
    pid = made.run(name, "trap '' TERM; echo ready; while :; do sleep 0.05; done", *options)
    wait_until(lambda: made.said(name).endswith("ready\n"))
    return pid


def test_a_container_that_is_named_twice_is_stopped_once(made):
    made.run("one")
    assert made.verb("stop", "-t", "0", "one", "one", timeout=20) == (0, "", "")


def test_while_stop_waits_others_may_look_and_kill(made):
    pid = stubborn(made, "one")
    stop = made.minictr.start("stop", "-t", "30", "one", **made.caller.options)
    time.sleep(0.3)
    assert made.state("one")["status"] == "running"
    assert made.verb("kill", "one", "KILL").ok.seconds < 5
    assert stop.wait(10) == (0, "", "")
    assert gone(pid)


def test_stop_spares_a_later_container_of_the_same_id(made):
    """By the path of its cgroup it could not be told from the other."""
    options = ("--pid", "host", "--userns", "host") if not made.caller.account else ()
    stubborn(made, "one", *options)
    stubborn(made, "two")
    stop = made.minictr.start("stop", "-t", "4", "one", "two", **made.caller.options)
    time.sleep(0.3)
    assert made.verb("delete", "--force", "one").ok
    pid = stubborn(made, "one", *options)
    assert stop.wait(20) == (0, "", "")
    assert made.state("two")["status"] == "stopped"
    assert made.state("one")["status"] == "running" and not gone(pid)


@pytest.mark.parametrize("word", ["x", ".", "-1", "1.2.3", "\u00b2"])
def test_what_is_no_time_is_named(made, word):
    why = "minictr: read the options: --time takes seconds, not %s; hint: minictr stop --help\n" % word
    assert made.verb("stop", "--time=" + word, "one", env={"LC_ALL": "C.UTF-8"}) == (125, "", why)


def test_stop_ends_a_foreground_container_and_its_runtime(made):
    words = (
        "--name",
        "front",
        "--read-only",
        "--rootfs",
        made.root,
        "--",
        "sh",
        "-c",
        "echo ready; " + SLEEP,
    )
    live = made.minictr.start("run", *words, **made.caller.options)
    live.expect("ready")
    assert made.verb("stop", "-t", "0", "front").ok

    assert live.wait().status == 128 + signal.SIGKILL


# --- delete -------------------------------------------------------------------------------------


def test_delete_forgets_one_that_has_ended(made):
    pid = made.run("one", "exit 0")
    wait_until(lambda: gone(pid))
    assert made.verb("delete", "one").ok

    assert made.verb("list", "-q").ok.out == ""
    made.run("one")  # the name is free again


def test_one_that_is_to_be_removed_at_its_end_is_forgotten_by_the_next_command(made):
    pid = made.run("one", SLEEP, "--rm")
    made.run("two", "exit 0")
    assert made.verb("list", "-q").ok.out == "one\ntwo\n"
    assert made.state("one")["status"] == "running" and not gone(pid)
    assert made.verb("kill", "one", "KILL").ok
    wait_until(lambda: gone(pid))

    assert made.verb("list", "-q").ok.out == "two\n"
    pid = made.run("one", "exit 0", "--rm")
    wait_until(lambda: gone(pid))
    made.run("one")  # the name is free again


def test_one_that_is_to_be_removed_at_its_end_may_be_deleted_before(made):
    made.run("one", SLEEP, "--rm")
    assert made.verb("delete", "--force", "one").ok
    assert made.verb("list", "-q").ok.out == ""


def test_one_that_runs_is_not_deleted_without_force(made):
    pid = made.run("one")
    run = made.verb("delete", "one")
    assert (run.status, run.out, run.err.count("\n")) == (125, "", 1)
    assert "it is running" in run.err and not gone(pid)

    assert made.verb("delete", "--force", "one").ok
    assert gone(pid)
    assert made.verb("list", "-q").ok.out == ""


def test_one_that_cannot_be_deleted_keeps_no_other(minictr, busybox_root):
    for name, seconds in (("one", "0"), ("two", "1000"), ("three", "0")):
        minictr("run", "-d", "--name", name, "--rootfs", busybox_root, "--", "sleep", seconds).ok
    wait_until(lambda: minictr("list").out.count(" stopped ") == 2)
    found = minictr("delete", "one", "missing", "two", "three")
    said = "minictr: container does not exist: missing\n"
    said += "minictr: delete container two: it is running; hint: minictr stop two before, or delete --force\n"
    assert found == (125, "", said)
    assert minictr("list", "--quiet").ok.out == "two\n"
    minictr("delete", "--force", "two").ok


def test_several_are_deleted(made):
    for name in ("a", "b"):
        made.run(name)
    assert made.verb("delete", "-f", "a", "no-such", "b").ok

    assert made.verb("list", "-q").ok.out == ""


# --- flags with a value ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["false", "0", "F"])
def test_a_flag_that_says_no_is_as_good_as_absent(made, value):
    made.run("one")
    assert "it is running" in made.verb("delete", "--force=" + value, "one").err
    assert made.verb("delete", "-f", "--force=" + value, "one").status == 125
    assert made.verb("list", "--quiet=" + value).ok.fields[:6] == TITLES
    assert json.loads(made.verb("state", "-q=" + value, "one").ok.out)["status"] == "running"
    assert made.verb("exec", "--tty=" + value, "-d=" + value, "one", "echo", "here").ok.out == "here\n"


def test_a_flag_with_another_value_is_an_error(made):
    made.run("one")
    why = "minictr: --force maybe: is true or false, or nothing\n"
    assert made.verb("delete", "--force=maybe", "one") == (125, "", why)
    why = "minictr: --detach maybe: is true or false, or nothing\n"
    assert made.verb("exec", "--detach=maybe", "one", "true") == (255, "", why)
    assert made.verb("exec", "--detach=True", "one", "echo", "unseen").status == 0


@pytest.mark.parametrize("pid", ["private", "host"])
def test_exec_has_the_oom_score_of_the_container(made, pid):
    """Among the host's processes no process comes between, which could take it first."""
    made.run("one", SLEEP, "--pid", pid, "--oom-score-adj", "321")
    assert made.verb("exec", "one", "cat", "/proc/self/oom_score_adj").ok.out == "321\n"


@pytest.mark.parametrize("option, kind", [("-u", "user"), ("-g", "group")])
def test_exec_names_an_id_that_the_container_does_not_have(made, option, kind):
    made.run("one")
    run = made.verb("exec", option, "70000", "one", "true")
    assert (run.status, run.out) == (255, "")
    assert run.err.startswith("minictr: become %s 70000: the container has " % kind)
    assert "and 70000 is not among them" in run.err


# --- unknown ids --------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [("state",), ("kill",), ("stop",), ("delete",)])
def test_an_unknown_id_is_one_line(made, verb):
    made.run("other")
    for name in ("no-such", "../other", "", "x" * 1025, "a/b"):
        run = made.verb(*verb, name)
        assert (run.status, run.out, run.err.count("\n")) == (125, "", 1), run
        assert run.err.startswith("minictr: ")
    assert made.verb(*verb, "no-such").err == "minictr: container does not exist: no-such\n"
    assert made.state("other")["status"] == "running"


@pytest.mark.parametrize("words", [("state",), ("kill",), ("stop",), ("delete",), ("state", "a", "b"),
                                   ("list", "x"), ("list", "--nonsense"), ("list", "--format", "nonsense"),
                                   ("stop", "-t", "x", "a"), ("stop", "-t")])  # fmt: skip
def test_wrong_words_are_one_line(made, words):
    run = made.verb(*words)

    assert (run.status, run.out, run.err.count("\n")) == (125, "", 1), run
    assert run.err.startswith("minictr: ")


def test_what_follows_two_dashes_is_an_id_even_where_it_looks_like_an_option(made):
    assert made.verb("kill", "--", "-f").err == "minictr: container does not exist: -f\n"
    assert made.verb("ps", "--", "-f").err == "minictr: container does not exist: -f\n"
    assert made.verb("delete", "--force", "--", "-f", "--time").ok


@pytest.mark.parametrize(
    "words, why",
    [
        (("delete", "--forc", "a"), "unknown option --forc; hint: did you mean --force?"),
        (("list", "-Z"), "unknown option -Z; hint: minictr list --help"),
        (("list", "-qZ"), "unknown option -Z; hint: minictr list --help"),
        (("ps", "-Z", "a"), "unknown option -Z; hint: minictr ps --help"),
        (("spec", "--rootles"), "unknown option --rootles; hint: did you mean --rootless?"),
        (("stop", "-t"), "-t needs a value; hint: minictr stop --help"),
        (("start",), "an id is expected; hint: minictr list has them all"),
        (("kill", "-9", "a"), "unknown option -9; hint: without a dash, behind the id"),
        (("kill", "a", "-KILL"), "unknown option -KILL; hint: without a dash, behind the id"),
        (("kill", "-x", "a"), "unknown option -x; hint: minictr kill --help"),
        (("ps", "-a"), "unknown option -a; hint: minictr list has every container"),
        (
            ("list", "--root", "/x"),
            "unknown option --root; hint: it stands before the verb: minictr --root DIR VERB",
        ),
        (("kill", "-s", "TERM", "a", "KILL"), "KILL is a word too many; hint: minictr kill --help"),
    ],
)
def test_wrong_words_are_told_with_what_would_be_right(made, words, why):
    assert made.verb(*words) == (125, "", "minictr: read the options: %s\n" % why)


def test_short_options_may_be_written_together_and_with_their_values(made):
    made.run("one")
    assert made.verb("list", "-qf", "json").ok.out == made.verb("list", "-q", "-fjson").ok.out == "one\n"
    assert json.loads(made.verb("ps", "-fjson", "one").ok.out)
    assert made.verb("stop", "-t0", "one").ok
    assert made.verb("delete", "-f=false", "one").ok


@pytest.mark.parametrize("words, extra", [(("list", "x"), "x"), (("kill", "a", "TERM", "more"), "more")])
def test_a_word_too_many_is_named(made, words, extra):
    why = "minictr: read the options: %s is a word too many; hint: minictr %s --help\n" % (extra, words[0])
    assert made.verb(*words) == (125, "", why)
