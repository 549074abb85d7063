"""Containers that exist already, whoever has made them, as a program in Python gets hold of them."""

import re

import pytest
import support
from support import needs

pytestmark = needs("root", "busybox")

TOLD = support.exit_told()

NO_PIDFD = pytest.mark.parametrize(
    "refused", [[], ["pidfd_open=ENOSYS"]], ids=["pidfd", "no pidfd"]
)  # fmt: skip


# --- wait -----------------------------------------------------------------------------------------


@NO_PIDFD
def test_the_end_of_a_detached_container_is_waited_for(library, strong_caller, refused):
    """Not busily: the thread is hardly ever woken up."""
    if refused:
        support.require("seccomp")
    text = """
        import resource
        script = "trap 'exit 5' TERM; while true; do sleep 0.1; done"
        box = minictr.Container(["sh", "-c", script], detach=True, **WHERE).start()
        started = time.monotonic()
        try:
            box.wait(timeout=1)
        except minictr.TimeoutExpired as error:
            print(0.9 < time.monotonic() - started < 10, box.status, error)
        threading.Timer(2, box.kill).start()
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        done = box.wait(60)
        woken = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before
        print(type(done).__name__, done.returncode, done.signal, done.oom_killed, box.status, woken < 100)
        print(box.wait(0).returncode, time.monotonic() - started < 20)
        box.remove()
        print(box.wait().returncode, os.listdir(STATE))
    """
    lines = library(text, strong_caller, refuse=refused).ok.lines
    status = 5 if TOLD and not refused else None
    assert re.match(r"True running Command '\['sh', .*\]' timed out after 1 seconds$", lines[0])
    assert lines[1:] == [
        "Ending %s None False stopped True" % status, "%s True" % status, "%s []" % status
    ]  # fmt: skip


def test_a_status_that_is_not_known_is_no_success(library):
    support.require("seccomp")
    text = """
        box = minictr.Container(["true"], detach=True, name="box", **WHERE).start()
        try:
            box.wait().check_returncode()
        except minictr.ContainerError as error:
            print(error)
        box.remove()
    """
    found = library(text, refuse=["pidfd_open=EPERM"]).ok
    assert found.out.startswith("check the exit status of container box: it is not known: ")


@pytest.mark.skipif(not TOLD, reason="the kernel tells nobody but the parent how a process ended (6.15)")
def test_how_it_ended_is_known_though_nobody_waited_by_then(library, strong_caller):
    text = """
        found = set()
        for _ in range(10):
            with minictr.Container(["sh", "-c", "exit 7"], detach=True, name="one", **WHERE) as one:
                found.add(one.wait().returncode)
        print(found)
        one = minictr.Container(["sh", "-c", "exit 7"], detach=True, name="one", **WHERE).start()
        two = minictr.Container(["sleep", "1000"], detach=True, name="two", **WHERE).start()
        got = minictr.Container.get("two", root=STATE)
        two.kill("KILL")
        while two.status != "stopped" or one.status != "stopped":
            time.sleep(0.01)
        one.remove()
        print(one.wait().returncode, two.wait(), got.wait(0).signal)
        try:
            one.wait().check_returncode()
        except minictr.CalledProcessError as error:
            print(error.returncode)
        two.remove()
    """
    assert library(text, strong_caller).ok.lines == [
        "{7}", "7 Ending(args=['sleep', '1000'], returncode=-9) 9", "7"
    ]  # fmt: skip


def test_a_start_that_is_interrupted_leaves_no_detached_container(library):
    text = """
        def took():
            started = time.monotonic()
            with minictr.Container(["true"], detach=True, **WHERE):
                return time.monotonic() - started
        usual = sorted(took() for _ in range(9))[4]
        raised = 0
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        for turn in range(150):  # that it runs has been said then, and not been heard
            box = minictr.Container(["sleep", "1000"], detach=True, **WHERE)
            try:
                signal.setitimer(signal.ITIMER_REAL, usual * (0.7 + turn * 0.003))
                box.start()
                time.sleep(20)
            except KeyboardInterrupt:
                raised += 1
            if box.id:  # it was started, or nearly
                box.remove()
        end = time.monotonic() + 10  # of one that was only asked for nobody waits until it is undone
        while os.listdir(STATE) and time.monotonic() < end:
            time.sleep(0.02)
        print(raised, minictr.containers(STATE), os.listdir(STATE))
    """
    assert library(text).ok.out == "150 [] []\n"


@NO_PIDFD
def test_another_process_with_the_number_of_the_first_is_not_taken_for_it(library, refused):
    if refused:
        support.require("seccomp")
    text = """
        import json
        box = minictr.Container(["sleep", "1000"], detach=True, name="box", **WHERE).start()
        box.kill("KILL")
        box.wait()
        with open(STATE + "/box/state.json") as file:
            content = json.load(file)
        content["pid"] = os.getpid()  # and the start time of the other
        with open(STATE + "/box/state.json", "w") as file:
            json.dump(content, file)
        got = minictr.Container.get("box", root=STATE)
        print(got.status, got.wait(10).returncode)
        got.remove()
    """
    assert library(text, refuse=refused).ok.out == "stopped None\n"


@needs("cgroup")
def test_a_detached_container_that_had_no_memory_left_says_so(library):
    text = """
        script = "x=$(yes | head -c 100000000); true"
        where = dict(WHERE, detach=True, memory="16m")
        with minictr.Container(["sh", "-c", script], **where) as box:
            print(box.wait(60).oom_killed)
        with minictr.Container(["true"], **where) as box:
            print(box.wait(60).oom_killed)
    """
    assert library(text).ok.fields == ["True", "False"]


def test_many_threads_wait_for_the_same_and_for_others(library, strong_caller):
    text = """
        run("true")
        thread = threading.Thread(target=id, args=(0,))  # the first makes the C library catch a signal
        thread.start()
        def alone():
            while len(os.listdir("/proc/self/task")) > 1:
                time.sleep(0.01)
        alone()
        before = look()
        boxes = [minictr.Container(["sleep", "2"], detach=True, **WHERE).start() for _ in range(3)]
        found = []
        def wait(box):
            found.append((box.id, box.wait(60).returncode))
        threads = [threading.Thread(target=wait, args=(box,)) for box in boxes * 3]
        for thread in threads:
            thread.start()
        print([sh("exit %d" % number).returncode for number in range(3)])
        for thread in threads:
            thread.join()
        print(len(found), len(set(found)))
        for box in boxes:
            box.remove()
        del box, boxes, threads, thread
        alone()
        after = look()
        for one, other in zip(before, after):
            assert one == other, (one, other)
        print(no_child(), os.listdir(STATE))
    """
    assert library(text, strong_caller).ok.lines == ["[0, 1, 2]", "9 3", "True []"]


def test_the_descriptor_of_one_that_is_watched_is_no_standard_stream(library, tmp_path):
    """Else the next container would get it as its own."""
    text = """
        with minictr.Container(["sleep", "1000"], detach=True, **WHERE) as box:
            with open(sys.argv[4], "w") as file:
                for name in sorted(os.listdir("/proc/self/fd")):
                    try:
                        place = os.readlink("/proc/self/fd/" + name)
                    except OSError:  # the look itself
                        continue
                    if "pidfd" in place:
                        print(int(name) > 9, file=file)
    """
    out = tmp_path / "out"
    assert library(text, None, str(out), close=(0, 1, 2), stdin="").status == 0
    assert out.read_text() == "True\n"


# --- get ------------------------------------------------------------------------------------------


def test_one_that_the_command_line_has_started_is_got_and_left_as_it_is(library, minictr, strong_caller):
    text = """
        with minictr.Container.get("web", root=STATE) as web:
            print(web.id, web.pid > 1, web.status, web.detached, web.args, web.state()["status"], web.stdout)
            done = web.exec(["sh", "-c", "hostname; exit 3"], capture_output=True, text=True, env={"A": "1"})
            print(done.returncode, done.stdout.strip(), [record.code for record in web.degradations])
            try:
                web.start()
            except minictr.ContainerError as error:
                print(error)
        print(web.status)
        pid = web.pid
        web.kill()  # process 1 is deaf to it
        web.kill(signal.SIGUSR1)
        print(minictr.Container.get("web", root=STATE).pid == pid)
    """
    words = ("-d", "--name", "web", "--hostname", "web", "--rootfs", library.root, "--", "sleep", "1000")
    assert minictr("run", *words, **strong_caller.options).status == 0
    lines = library(text, strong_caller).ok.lines
    assert lines[0] == "web True running True ['sleep', '1000'] running None"
    assert lines[1].startswith("3 web [")
    assert lines[2:] == ["start container web: it is running, not created", "running", "True"]
    text = """
        web = minictr.Container.get("web", root=STATE)
        web.kill("KILL")
        print(web.wait(60).returncode, web.status, web.state()["pid"])
        web.remove()
        web.remove()
        print(web.status, web.state(), os.listdir(STATE))
    """
    found = library(text, strong_caller).ok.lines
    assert found == ["%s stopped 0" % (-9 if TOLD else None), "stopped {} []"]


@needs("cgroup")
def test_one_that_was_got_can_be_paused_limited_and_measured(library, minictr):
    text = """
        box = minictr.Container.get("box", root=STATE)
        box.pause()
        print(box.status, minictr.Container.get("box", root=STATE).status)
        box.resume()
        box.update(pids_limit=77)
        print(box.status, box.stats()["pids"]["limit"])
        box.pause()
        box.remove()
        print(os.listdir(STATE))
    """
    assert minictr("run", "-d", "--name", "box", "--rootfs", library.root, "--", "sleep", "1000").status == 0
    assert library(text).ok.lines == ["paused paused", "running 77", "[]"]


def test_where_there_is_none_the_error_is_one_line(library, strong_caller):
    text = """
        for name in ("none", "../x", ""):
            for root in (STATE, STATE + "/none"):
                try:
                    minictr.Container.get(name, root=root)
                except minictr.ContainerError as error:
                    print(error.status, error)
        print(os.listdir(STATE), minictr.containers(STATE), minictr.containers(STATE + "/none"))
    """
    lines = library(text, strong_caller).ok.lines
    assert lines[:2] == ["125 container does not exist: none"] * 2
    assert lines[2].startswith("125 use the container id '../x': ids are letters")
    assert lines[2] == lines[3] and lines[4] == lines[5] and len(lines) == 7
    assert lines[6] == "[] [] []"


CREATE = """
    import json, subprocess
    from minictr import sample, spec
    def create(name, *words):
        config = spec.default_config(list(words), ROOT)
        if os.geteuid():
            sample.make_rootless(config)
        with open(sys.argv[4] + "/config.json", "w") as file:
            json.dump(config, file)
        command = [sys.executable, "-m", "minictr", "--root", STATE, "create", "--allow-degraded"]
        null = subprocess.DEVNULL
        subprocess.run(
            command + ["--bundle", sys.argv[4], name], stdin=null, stdout=null, stderr=null, check=True,
            env=dict(os.environ, PYTHONPATH=sys.argv[1]),
        )
        return minictr.Container.get(name, root=STATE)
"""


def test_one_that_was_only_created_is_started(library, strong_caller, tmp_path):
    text = (
        CREATE
        + """
    box = create("box", "sh", "-c", "sleep 1; exit 6")
    print(box.status)
    with box:
        print(box.status, box.start() is box, box.status)
        try:
            box.start()
        except minictr.ContainerError as error:
            print(error)
        print(box.wait(60).returncode)
    print(box.status)
    box.remove()
    box = create("box", "true")
    box.kill("KILL")
    print(box.wait(60).signal)
    try:
        box.start()
    except minictr.ContainerError as error:
        print(error)
    box.remove()
    box = create("box", "true")
    box.remove()
    print(os.listdir(STATE))
    """
    )
    place = tmp_path / "bundle"
    place.mkdir()
    place.chmod(0o777)
    assert library(text, strong_caller, str(place)).ok.lines == [
        "created", "created True running", "start container box: it is running, not created",
        str(6 if TOLD else None), "stopped",
        str(9 if TOLD else None), "start container box: it is stopped, not created", "[]",
    ]  # fmt: skip


@pytest.mark.parametrize("kept", [False, True], ids=["forgotten", "kept"])
def test_one_that_another_process_stands_behind_is_waited_for_and_removed(library, strong_caller, kept):
    """Its runtime has cleaned up when either returns."""
    maker = """
        keep = len(sys.argv) > 4
        box = minictr.Container(["sh", "-c", "sleep 2; exit 4"], name="one", keep=keep, **WHERE).start()
        with minictr.Container(["sleep", "1000"], name="two", keep=keep, **WHERE) as two:
            print("ready")
            sys.stdout.flush()
            box.wait()
            two.wait()
    """
    text = """
        one, two = minictr.containers(root=STATE)
        print(one.id, two.id, one.wait(60).returncode, [one.status, one.state().get("status")])
        two.remove()
        print(sorted(os.listdir(STATE)))
        one.remove()
        print(sorted(os.listdir(STATE)), one.wait().returncode)
    """
    live = library(maker, strong_caller, *["keep"] * kept, start=True, name="maker.py")
    live.expect("ready")
    lines = library(text, strong_caller).ok.lines
    status = 4 if kept or TOLD else None
    assert lines == [
        "one two %s ['stopped', %s]" % (status, "'stopped'" if kept else None),
        "['one']" if kept else "[]", "[] %s" % status,
    ]  # fmt: skip
    assert live.wait().status == 0


@needs("seccomp")
def test_what_a_kept_container_has_noted_is_told_where_the_kernel_tells_nothing(library, minictr):
    text = """
        done = minictr.Container.get("kept", root=STATE).wait(60)
        print(done.returncode, done.signal, done.args)
        minictr.Container.get("kept", root=STATE).remove()
    """
    words = ("run", "--keep", "--name", "kept", "--rootfs", library.root, "--", "sh", "-c")
    for script, status in (("exit 9", 9), ("sleep 2; exit 8", 8)):
        live = minictr.start(*words, script)
        if status == 9:
            assert live.wait().status == 9
        else:
            support.wait_until(lambda: minictr("state", "--quiet", "kept").status == 0, what="it runs")
        found = library(text, refuse=["pidfd_open=ENOSYS"]).ok
        assert found.out == "%d None ['sh', '-c', %r]\n" % (status, script)
        assert live.wait().status == status if status == 8 else True


def test_a_later_container_of_the_same_id_is_another_one(library):
    text = """
        old = minictr.Container(["sleep", "1000"], detach=True, name="box", **WHERE).start()
        got = minictr.Container.get("box", root=STATE)
        minictr.Container.get("box", root=STATE).remove()
        new = minictr.Container(["sleep", "1000"], detach=True, name="box", **WHERE).start()
        for box in (old, got):
            for call in (box.kill, box.stats, box.pause, lambda: box.exec(["true"])):
                try:
                    call()
                except minictr.ContainerError as error:
                    print(error)
            print(box.status, box.state(), box.wait(60).signal)
            box.remove()
        print(new.status, minictr.Container.get("box", root=STATE).pid == new.pid)
        new.remove()
    """
    gone = ["container does not exist: box"] * 4 + ["stopped {} %s" % (9 if TOLD else None)]
    assert library(text).ok.lines == gone + gone + ["running True"]


def test_what_its_maker_asks_of_one_that_has_ended_is_not_done_to_a_later_one(library):
    text = """
        box = minictr.Container(["true"], name="again", **WHERE).start()
        box.wait(timeout=20)
        with minictr.Container(["sleep", "100"], name="again", **WHERE) as later:
            calls = (lambda: box.kill("KILL"), lambda: box.exec(["true"]), box.pause, box.stats)
            for call in calls:
                try:
                    print("done", call())
                except minictr.ContainerError as error:
                    print(error)
            box.remove()
            print(box.status, box.state(), later.status)
    """
    found = library(text).ok.lines
    assert found == ["container does not exist: again"] * 4 + ["stopped {} running"]


def test_one_that_is_only_being_made_is_got_but_not_waited_for(library):
    text = """
        from minictr import spec
        config = spec.default_config(["sh", "-c", "exit 3"], ROOT)
        config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "3"]}]}
        box = minictr.Container(config=config, name="box", detach=True, root=STATE, allow_degraded=True)
        thread = threading.Thread(target=box.start)
        thread.start()
        while not minictr.containers(STATE):
            time.sleep(0.05)
        got = minictr.Container.get("box", root=STATE)
        print(got.status)
        try:
            got.wait(60)
        except minictr.ContainerError as error:
            print(error)
        thread.join()
        print(got.wait(60).returncode, got.pid == box.pid)
        box.remove()
    """
    lines = library(text).ok.lines
    assert lines[:2] == ["creating", "wait for container box: it is only being made"]
    assert lines[2].endswith(" True")


def test_all_containers_are_listed(library, strong_caller):
    text = """
        for name in ("b", "a"):
            minictr.Container(["sleep", "1000"], detach=True, name=name, **WHERE).start()
        with minictr.Container(["sleep", "1000"], name="c", **WHERE):
            found = minictr.containers(root=STATE)
            print([(box.id, box.status, box.args) for box in found])
            print(found[0])
        for box in minictr.containers(STATE):
            box.remove()
        print([(box.id, box.status) for box in found], minictr.containers(root=STATE))
    """
    lines = library(text, strong_caller).ok.lines
    assert lines[0] == str([(name, "running", ["sleep", "1000"]) for name in "abc"])
    assert re.match(r"Container\(\['sleep', '1000'\], id='a', pid=\d+\)$", lines[1])
    assert lines[2] == str([(name, "stopped") for name in "abc"]) + " []"
