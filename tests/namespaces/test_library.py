"""`import minictr`: what programs in Python get, and what of them must stay as it was."""

import os

import callers
import pytest
import support
from support import needs

from minictr import host

pytestmark = needs("root", "busybox")

# --- run ------------------------------------------------------------------------------------------


def test_what_the_program_says_and_how_it_ends_comes_back(library, strong_caller):
    text = """
        done = sh("cat; id -u; echo oops >&2; exit 3", input="given\\n", capture_output=True, text=True)
        print(repr((done.returncode, done.stdout, done.stderr, done.signal, done.oom_killed, done.warnings)))
        mixed = sh("exec 2>&1; echo mixed >&2", stdout=minictr.PIPE)
        print(sh("kill -9 $$", init=True).returncode, mixed.stdout)
        done = run("sh", "-c", "echo 1; echo 2 >&2", stdout=minictr.PIPE, stderr=minictr.STDOUT)
        print(sorted(done.stdout.split()), done.stderr)
    """
    found = library(text, strong_caller).ok
    assert found.lines == [
        "(3, 'given\\n0\\n', 'oops\\n', None, False, [])",
        "137 b'mixed\\n'",
        "[b'1', b'2'] None",
    ]


def test_a_word_that_cannot_be_sent_is_waited_for_by_nobody(library, strong_caller):
    """Where the kernel has no memory for it, say."""
    text = """
        try:
            run("true")
        except OSError as error:
            print(error)
    """
    found = library(text, strong_caller, refuse=["sendto=ENOBUFS"])
    assert found == (0, "[Errno 105] No buffer space available\n", ""), found


def test_a_word_that_has_no_bytes_is_refused_as_by_subprocess(library):
    text = """
        for options in ({"args": ["\\ud800"]}, {"env": {"A": "\\ud800"}}, {"volumes": ["/\\ud800:/x"]}):
            try:
                print(minictr.run(**dict({"args": ["true"]}, **dict(options, **WHERE))))
            except UnicodeEncodeError:
                print("none")
    """
    assert library(text).ok.fields == ["none"] * 3


@pytest.mark.parametrize("mode", ["0", "1"])
def test_the_helper_takes_names_for_what_the_caller_does(library, mode):
    """In a locale of Latin-1 a Python may be told to take them for UTF-8 (PYTHONUTF8, -X utf8)."""
    env = dict(callers.locale("Latin-1"), PYTHONUTF8=mode)
    text = """
        text = os.fsdecode(b"\\xc3\\xa4\\xe2\\x82\\xac")
        print(sh("printf %s $A", env={"A": text}, capture_output=True).stdout)
    """
    assert library(text, env=env).ok.out == repr("\u00e4\u20ac".encode("utf-8")) + "\n"


TERMINAL = """
        def until(file, word):
            found = b""
            while word not in found:
                found += file.read(4096)
            return found.decode()
"""


def test_a_container_may_have_a_terminal(library, strong_caller):
    """Of its own, which controls its session; once nobody holds the other end, the program is hung up."""
    text = (
        TERMINAL
        + """
        import fcntl, struct, termios
        run("true")
        before = sorted(os.listdir("/proc/self/fd"))
        box = minictr.Container(["sh"], tty=True, **WHERE).start()
        fcntl.ioctl(box.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
        box.terminal.write(b"stty size; tty; stty -echo; echo $((6 * 7))\\n")
        print("33 99" in until(box.terminal, b"42"))
        box.terminal.write(b"trap '' INT; (trap - INT; sleep 100); echo st''opped\\n")
        time.sleep(0.3)
        box.terminal.write(b"\\x03")
        until(box.terminal, b"stopped")
        box.terminal.close()
        print(box.wait(timeout=20).returncode is not None)
        box.remove()
        with minictr.Container(["sh", "-c", "exit 7"], tty=True, **WHERE) as box:
            done = box.wait()
            try:
                print(box.terminal.read(100))
            except OSError as error:
                print(error.errno)
        print(done.returncode, box.terminal.closed, sorted(os.listdir("/proc/self/fd")) == before)
    """
    )
    assert library(text, strong_caller).ok.lines == ["True", "True", "5", "7 True True"]


def test_what_has_no_terminal_or_streams_to_give_says_so(library):
    text = """
        for call in (
            lambda: run("true", tty=True),
            lambda: minictr.Container(["true"], tty=True, stdout=minictr.PIPE, **WHERE),
            lambda: minictr.Container(["true"], tty=True, detach=True, **WHERE).start(),
            lambda: minictr.Container(["true"], stdout=minictr.PIPE, detach=True, **WHERE),
        ):
            try:
                call()
            except (ValueError, minictr.ContainerError) as error:
                print(type(error).__name__, error)
        with minictr.Container(["sleep", "9"], **WHERE) as box:
            try:
                box.exec(["true"], tty=True)
            except minictr.ContainerError as error:
                print(error)
        from minictr import spec
        config = spec.default_config(["tty"], ROOT, True)
        config["process"]["terminal"] = True
        try:
            minictr.run(config=config, root=STATE)
        except minictr.ContainerError as error:
            print(error)
        with minictr.Container(config=config, root=STATE) as box:
            print(box.terminal.read(100).split())
    """
    lines = library(text).ok.lines
    assert lines[0].startswith(
        "ValueError run() waits for the end, and has no terminal to give: use Container"
    )
    assert lines[1].startswith("ValueError stdin, stdout and stderr may not be used with tty")
    assert lines[2].startswith("ContainerError make a terminal: with --detach nobody is left")
    assert lines[3] == "ValueError a detached program has none of our streams: log_file= takes what it prints"
    assert lines[4] == "exec: tty: exec() waits for the end, and has no terminal to give"
    assert lines[5].startswith("run: run() waits for the end, and has no terminal to give; hint: Container")
    assert lines[6] == "[b'/dev/pts/0']"


def test_a_signal_that_ends_it_is_told_as_subprocess_does(library):
    text = """
        box = minictr.Container(["sleep", "100"], **WHERE)
        with box:
            box.kill(signal.SIGKILL)
            done = box.wait()
        print(done.returncode, done.signal)
    """
    assert library(text).ok.fields == ["-9", "9"]


def test_a_container_has_the_time_that_it_was_given(library):
    """Not a second more, as its worker once looked at the door first; and more than poll(2) takes at once."""
    text = """
        for seconds, program in ((0.2, "100"), (3000000, "0.1")):
            with minictr.Container(["sleep", program], timeout=seconds, **WHERE) as box:
                begun = time.monotonic()
                print(box.wait(timeout=20).returncode, time.monotonic() - begun < 0.9)
    """
    assert library(text).ok.lines == ["-9 True", "0 True"]


def test_streams_that_are_not_named_are_the_callers(library):
    found = library("sh('cat; echo out; echo err >&2')", stdin="in\n")
    assert found == (0, "in\nout\n", "err\n")


def test_much_output_on_both_streams_and_much_input_is_no_deadlock(library):
    text = """
        data = b"x" * 3000000
        done = sh("cat & yes | head -c 2000000 >&2; wait", input=data, capture_output=True)
        print(done.returncode, len(done.stdout), len(done.stderr))
        print(len(sh("cat", input=data, capture_output=True).stdout), run("true", input=data).returncode)
    """
    # in busybox a background job of a shell without job control reads /dev/null
    assert library(text).ok.fields == ["0", "0", "2000000", "3000000", "0"]


def test_input_takes_time_in_proportion_to_its_size(library):
    text = """
        import array
        def took(size):
            started = time.monotonic()
            assert sh("cat >/dev/null", input=b"x" * size).returncode == 0
            return time.monotonic() - started
        took(1)
        print(took(60000000) < 40 * (took(6000000) + 0.02))
        for data in (bytearray(b"abc"), memoryview(b"abc"), array.array("H", [0x6161, 0x6161]), b""):
            print(len(sh("cat", input=data, capture_output=True).stdout), end=" ")
        for data in (5, 0, [1]):
            try:
                run("true", input=data)
            except TypeError as error:
                print(os.listdir(STATE), end=" ")
    """
    assert library(text).ok.lines == ["True", "3 3 4 0 [] [] [] "]


def test_text_has_its_older_name_too(library):
    """The only one of Python 3.6: code that is to run there has it."""
    text = """
        import subprocess
        print(repr(sh("printf 'a\\r\\nb'", stdout=minictr.PIPE, universal_newlines=True).stdout))
        print(repr(sh("echo a", stdout=minictr.PIPE, text=True, universal_newlines=True).stdout))
        print(repr(sh("echo a", stdout=minictr.PIPE, universal_newlines=False).stdout))
        with minictr.Container(["cat"], stdin=-1, stdout=-1, universal_newlines=True, **WHERE) as box:
            print(repr(box.exec(["echo", "b"], stdout=minictr.PIPE, universal_newlines=True).stdout))
            box.stdin.write("c\\n")
            box.stdin.close()
            print(repr(box.stdout.read()))
        try:
            sh("echo never", text=True, universal_newlines=False)
        except subprocess.SubprocessError as error:
            print(type(error).__name__)
    """
    assert library(text).ok.lines == [
        "'a\\nb'", "'a\\n'", "b'a\\n'", "'b\\n'", "'c\\n'", "SubprocessError"
    ]  # fmt: skip


def test_help_shows_all_that_there_is(library):
    """What is imported when it is first asked for as well."""
    text = """
        import pydoc
        shown = pydoc.plain(pydoc.render_doc(minictr))
        print([name for name in minictr.__all__ if name not in shown or name not in dir(minictr)])
        print("Make a container, run ARGS in it" in shown, "class Container(" in shown)
    """
    assert library(text).ok.lines == ["[]", "True True"]


def test_the_exceptions_are_those_of_subprocess_and_ours(library):
    text = """
        import subprocess
        try:
            sh("echo out; exit 4", check=True, capture_output=True)
        except subprocess.CalledProcessError as error:
            print(isinstance(error, minictr.ContainerError), error.returncode, error.stdout, error)
            print(error.completed.returncode)
        try:
            sh("echo early; sleep 100", timeout=1.5, capture_output=True)
        except subprocess.TimeoutExpired as error:
            print(isinstance(error, minictr.TimeoutExpired), error.output, error)
        try:
            sh("printf 'a\\\\303'; sleep 100", timeout=1.5, capture_output=True, text=True, encoding="utf-8")
        except subprocess.TimeoutExpired as error:
            print(error.output)  # cut inside a character, and bytes as there
        sh("exit 0", check=True, timeout=30)
        for words, options in ((["no-such"], {}), (["/etc"], {}), (["true"], {"volumes": ["/no/such:/x"]})):
            try:
                run(*words, **options)
            except minictr.ContainerError as error:
                print(error.status, error)
    """
    lines = library(text).ok.lines
    shown = "Command '['sh', '-c', 'echo out; exit 4']' returned non-zero exit status 4."
    assert lines[:2] == ["True 4 b'out\\n' " + shown, "4"]
    assert lines[2].startswith(
        "True b'early\\n' Command '['sh', '-c', 'echo early; sleep 100']' timed out after 1.5"
    )
    assert lines[3] == "b'a\\xc3'"
    assert lines[4] == '127 exec: "no-such": executable file not found in $PATH'
    assert lines[5].startswith("126 ") and lines[6].startswith("125 --volume /no/such:/x: ")


def test_a_timeout_kills_every_process_of_the_container(library, strong_caller):
    text = """
        started = time.monotonic()
        try:
            sh("trap '' TERM; (sleep SECONDS; echo late) & (setsid sleep SECONDS) & sleep SECONDS", timeout=1)
        except minictr.TimeoutExpired:
            pass
        print(time.monotonic() - started < 20)
        found = []
        for name in os.listdir("/proc"):
            try:
                with open("/proc/%s/cmdline" % name, "rb") as file:
                    found += [name] if b"sleep\\x00SECONDS" in file.read() else []
            except OSError:
                pass
        print(found, os.listdir(STATE))
    """
    text = text.replace("SECONDS", str(10000000 + os.getpid()))  # another run looks for others
    assert library(text, strong_caller).ok.lines == ["True", "[] []"]


@needs("cgroup")
def test_a_kill_for_want_of_memory_is_told(library):
    text = """
        done = sh("x=$(yes | head -c 100000000); true", memory="16m", stderr=minictr.DEVNULL)
        print(done.oom_killed, sh("true", memory="16m").oom_killed)
        print(done.warnings)
    """
    lines = library(text).ok.lines
    assert lines[0] == "True False"
    assert "memory ran out: the kernel killed " in lines[1]


def test_a_program_of_exec_that_is_killed_for_want_of_memory_is_told(library):
    """And none that fails later in the same container."""
    text = """
        with minictr.Container(["sleep", "100"], memory="16m", **WHERE) as box:
            for words in ("x=$(yes | head -c 100000000); exit 5", "exit 6", "true"):
                done = box.exec(["sh", "-c", words], stderr=minictr.DEVNULL)
                print(done.returncode != 0, done.oom_killed, done.warnings)
    """
    lines = library(text).ok.lines
    assert lines[0].startswith("True True ['memory ran out: the kernel killed ")
    assert lines[1:] == ["True False []", "False False []"]


@needs("seccomp")
def test_a_step_down_is_in_the_result_and_not_on_stderr(library):
    text = """
        done = run("true")
        told = [(record.code, record.got) for record in done.degradations]
        print(done.returncode, told, len(done.warnings))
        with minictr.Container(["sleep", "9"], **WHERE) as box:
            print([record.code for record in box.degradations])
        try:
            run("true", strict=True)
        except minictr.IsolationError as error:
            print(error.status)
    """
    found = library(text, refuse=["pivot_root=EPERM"]).ok
    assert found.lines[0].startswith("0 [('root-move', ") and found.lines[0].endswith(" 1"), found
    assert found.lines[1:] == ["['root-move']", "123"]


def test_what_makes_no_sense_of_the_streams_or_words_is_told_at_once(library):
    text = """
        run("true")
        before = helpers(), os.listdir("/proc/self/fd")
        wrong = (
            {"stdout": 999}, {"stdin": 999}, {"stderr": -9},
            {"stdout": minictr.STDOUT}, {"stdin": minictr.STDOUT},
            {"capture_output": True, "stderr": minictr.STDOUT}, {"input": b"", "stdin": minictr.PIPE},
            {"detach": True},
        )
        def tell(call):
            try:
                call()
            except (OSError, TypeError, ValueError) as error:
                return type(error).__name__, getattr(error, "errno", None)
        for options in wrong:
            print(*tell(lambda: run("true", **options)))
        print((helpers(), os.listdir("/proc/self/fd")) == before)
        with minictr.Container(["sleep", "1000"], **WHERE) as box:
            print([tell(lambda: run("true", **options)) == tell(lambda: box.exec(["true"], **options))
                for options in wrong], *tell(lambda: box.exec("id")))
    """
    assert library(text).ok.lines == [
        "OSError 9", "OSError 9", "OSError 9", "ValueError None", "ValueError None", "ValueError None",
        "ValueError None", "ValueError None", "True", "[%s] TypeError None" % ", ".join(["True"] * 8),
    ]  # fmt: skip


def test_options_are_those_of_the_command_line(library, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("of the host\n")
    text = """
        os.chdir(sys.argv[4])
        done = sh("hostname; cat /d/file; id -u; pwd; echo $A$B; grep CapBnd /proc/self/status; umask",
            hostname="box", volumes=["./data:/d:ro"], user=7, workdir="/tmp", env={"A": "1", "B": "2"},
            cap_drop=["ALL"], umask="0077", tmpfs=["/tmp"], capture_output=True, text=True)
        print(done.stdout, end="")
        print(sh("cat /d/file", volumes={"./data": "/d:ro"}, capture_output=True, text=True).stdout, end="")
        wrong = {"hostnam": "x"}, {"read_only": "maybe"}, {"volumes": True}, {"hostname": ""}, {"cwd": "/"}
        for options in wrong:
            try:
                run("true", **options)
            except minictr.ContainerError as error:
                print(error.status, error)
        try:
            run("true", volumes={"/a": {"bind": "/b", "mode": "ro"}})  # as docker-py has it
        except TypeError as error:
            print(error)
        wrong = (("true", {}), (None, {}), (["true"], {"config": {}}), (["true"], {"tty": True}),
            (["a\\0b"], {}), (["true"], {"env": {"A": "\\0"}}), (["true"], {"hostname": b"a\\0"}),
            (["true"], {"env": {"A=B": "C"}}), (["true"], {"env": {"": "C"}}))
        for words, options in wrong:
            try:
                minictr.run(words, root=STATE, **options)
            except (TypeError, ValueError) as error:
                print(type(error).__name__)
    """
    lines = library(text, None, str(tmp_path)).ok.lines
    assert lines[:7] == ["box", "of the host", "7", "/tmp", "12", "CapBnd:\t0000000000000000", "0077"]
    assert lines[7] == "of the host"
    assert lines[8] == "125 run: unknown option --hostnam; hint: did you mean --hostname?"
    assert lines[9].startswith("125 --read-only") and lines[10].startswith("125 --volume true")
    assert lines[11].startswith("125 --hostname: has no value")
    assert lines[12] == "125 --cwd: is called otherwise here; hint: --workdir DIR"
    assert lines[13] == "volumes: expected str, bytes or os.PathLike object, not dict"
    assert lines[14:] == ["TypeError"] + ["ValueError"] * 8


def test_what_is_empty_or_nought_in_a_dict_is_a_value_and_none_is_the_callers(library):
    """A variable set to nothing hides the caller's, which may be a secret."""
    text = """
        os.environ["A"] = os.environ["B"] = os.environ["C"] = "of the caller"
        done = sh("echo [$A] [$B] [$C]; ulimit -c; cat /proc/sys/net/ipv4/ip_forward",
            env={"A": "", "B": 0, "C": None}, ulimits={"core": 0}, sysctls={"net.ipv4.ip_forward": 0},
            annotations={"a": ""}, tmpfs={"/tmp": ""}, capture_output=True, text=True)
        print(done.stdout, end="")
        with minictr.Container(["sleep", "100"], **WHERE) as box:
            print(box.exec(["sh", "-c", "echo [$A]"], env={"A": ""}, stdout=minictr.PIPE).stdout)
            print(box.exec(["sh", "-c", "echo [$C]"], env=os.environ, stdout=minictr.PIPE).stdout)
    """
    last = ["b'[]\\n'", "b'[of the caller]\\n'"]
    assert library(text).ok.lines == ["[] [0] [of the caller]", "0", "0"] + last


def test_a_bundle_and_a_configuration_run_as_the_bundle_form_does(library, tmp_path):
    text = """
        import json
        from minictr import spec
        config = spec.default_config(["sh", "-c", "echo $0 in a bundle; exit 6"], ROOT)
        with open(sys.argv[4] + "/config.json", "w") as file:
            json.dump(config, file)
        config["process"]["args"] = ("sh", "-c", "echo given; exit 7")  # a tuple will do
        for wanted in ({"bundle": sys.argv[4]}, {"config": config}):
            done = minictr.run(root=STATE, allow_degraded=True, capture_output=True, **wanted)
            print(done.returncode, done.stdout, done.args)
        config["hostname"] = sys  # no JSON
        try:
            minictr.run(root=STATE, config=config)
        except TypeError as error:
            print(error)
        config["hostname"] = "box"
        config["process"]["cwd"] = "relative"
        try:
            minictr.run(root=STATE, config=config)
        except minictr.ContainerError as error:
            print(error)
    """
    lines = library(text, None, str(tmp_path)).ok.lines
    assert lines[:2] == ["6 b'sh in a bundle\\n' None", "7 b'given\\n' None"]
    assert lines[2].startswith("no JSON for <module 'sys'")
    assert "process.cwd" in lines[3]


def test_values_of_enumerations_and_of_kinds_of_str_and_dict_are_what_they_stand_for(library):
    text = """
        import collections, enum, pathlib
        from minictr import spec
        class Word(str, enum.Enum):
            ECHO, BOX = "echo", "box"
        class Text(str):
            pass
        class Level(enum.IntEnum):
            SEVEN = 7
        done = run(Word.ECHO, Text("this"), Level.SEVEN, 1.5, True, hostname=Word.BOX,
            env={Text("A"): Text("b")}, user=Level.SEVEN, stop_signal=signal.SIGTERM, capture_output=True)
        print(done.stdout, [type(word) for word in done.args] == [str] * 5)
        config = collections.OrderedDict(spec.default_config([Word.ECHO, Text("that")], Text(ROOT)))
        config["process"]["user"] = collections.OrderedDict(uid=Level.SEVEN, gid=0)
        where = {"root": pathlib.Path(STATE), "allow_degraded": True}
        print(minictr.run(config=config, capture_output=True, **where).stdout)
        with minictr.Container(["sleep", "100"], name=Word.BOX, **WHERE) as box:
            got = minictr.Container.get(Word.BOX, root=STATE)
            print(got.id, got.exec([Word.ECHO], stdout=minictr.PIPE).stdout)
            box.kill(signal.SIGKILL)
            box.wait()
    """
    assert library(text).ok.lines == ["b'this 7 1.5 True\\n' True", "b'that\\n'", "box b'\\n'"]


# --- Container ------------------------------------------------------------------------------------


@needs("cgroup")
def test_a_container_from_its_start_to_its_removal(library):
    text = """
        box = minictr.Container(["sh", "-c", "echo up; while read x; do echo got $x; done; exit 5"],
            stdin=minictr.PIPE, stdout=minictr.PIPE, text=True, name="box", hostname="box", **WHERE)
        print(box.status)
        with box:
            print(box.id, box.pid > 1, box.stdout.readline(), end="")
            box.stdin.write("this\\n")
            box.stdin.flush()
            print(box.stdout.readline(), box.status, box.state()["id"], end="\\n")
            done = box.exec(["sh", "-c", "hostname; id -u; echo $E; pwd; cat"], input="in", user="3",
                env=["E=e"], workdir="/bin", capture_output=True, text=True)
            print(done.returncode, done.stdout.split())
            try:
                box.exec(["sh", "-c", "exit 9"], check=True)
            except minictr.CalledProcessError as error:
                print(error.returncode)
            try:
                box.exec(["sleep", "1000"], timeout=0.5)
            except minictr.TimeoutExpired:
                print("killed", box.status)
            box.pause()
            print(box.status)
            box.resume()
            box.update(pids_limit=77)
            print(box.stats()["pids"]["limit"])
            try:
                box.wait(timeout=0.1)
            except minictr.TimeoutExpired:
                print(box.status)
            box.stdin.close()
            print(box.wait().returncode, box.status, box.state())
            try:
                box.kill()
            except minictr.ContainerError as error:
                print(error)
        box.remove()
        print(os.listdir(STATE))
    """
    lines = library(text).ok.lines
    assert lines == [
        "new", "box True up", "got this", " running box", "0 ['box', '3', 'e', '/bin', 'in']", "9",
        "killed running", "paused", "77", "running", "5 stopped {}", "container does not exist: box", "[]",
    ]  # fmt: skip


def test_what_is_written_to_it_arrives_whole_though_a_signal_comes(library):
    text = """
        signal.signal(signal.SIGALRM, lambda *_: None)
        options = dict(WHERE, stdin=minictr.PIPE, stdout=minictr.PIPE)
        for data, text in (("x" * 1000000, True), (b"x" * 1000000, False)):
            with minictr.Container(["sh", "-c", "sleep 1; wc -c"], text=text, **options) as box:
                signal.setitimer(signal.ITIMER_REAL, 0.3)
                box.stdin.write(data)
                box.stdin.close()
                print(int(box.stdout.read()))
        with minictr.Container(["sleep", "1000"], **options) as box:
            box.stdin.write(b"nobody reads it")
    """
    assert library(text).ok.lines == ["1000000", "1000000"]


def test_the_output_of_what_exec_has_started_is_not_waited_for_after_a_timeout(library):
    text = """
        with minictr.Container(["sleep", "1000"], **WHERE) as box:
            started = time.monotonic()
            try:
                box.exec(["sh", "-c", "sleep 500 & echo this; sleep 500"], timeout=1, capture_output=True)
            except minictr.TimeoutExpired as error:
                print(error.output, time.monotonic() - started < 15, box.status)
    """
    assert library(text).ok.out == "b'this\\n' True running\n"


def test_it_is_removed_by_many_threads_at_once_and_without_files_that_were_detached(library):
    """Where Python has no GIL, one thread in thirty found a file closed under its hands."""
    text = """
        failed = []
        threading.excepthook = lambda told: failed.append(told.exc_value)
        for number in range(4):
            box = minictr.Container(["cat"], stdin=minictr.PIPE, stdout=minictr.PIPE, **WHERE).start()
            threads = [threading.Thread(target=box.remove) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        box = minictr.Container(["cat"], stdin=minictr.PIPE, **WHERE).start()
        taken = box.stdin.detach()
        box.remove()
        taken.close()
        print(failed, box.status)
    """
    assert library(text).ok.lines == ["[] stopped"]


def test_a_call_waits_for_another_helper_however_often_a_thread_dismisses_it(library):
    text = """
        def dismiss():
            for _ in range(8):
                time.sleep(0.02)
                minictr.dismiss_helper()  # which waits while one is started

        thread = threading.Thread(target=dismiss)
        thread.start()
        print(sh("exit 3").returncode)
        thread.join()
    """
    assert library(text).ok.out == "3\n"


def test_a_container_lives_on_after_the_thread_that_started_it(library):
    text = """
        box = minictr.Container(["sleep", "1000"], **WHERE)
        thread = threading.Thread(target=box.start)
        thread.start()
        thread.join()
        time.sleep(0.3)
        print(box.status)
        box.remove()
        print(box.status, os.listdir(STATE))
    """
    assert library(text).ok.lines == ["running", "stopped []"]


def test_an_end_that_has_come_is_told_whatever_time_there_is_to_wait(library):
    """As subprocess does: a timeout of 0 only looks, and one that is too long for a lock waits."""
    text = """
        for seconds in (0, -1, float("inf"), 1e300):
            with minictr.Container(["sh", "-c", "exit 7"], **WHERE) as box:
                while seconds <= 0 and os.path.exists("/proc/%d" % box.pid):
                    time.sleep(0.001)
                for _ in range(2000):
                    try:
                        print(box.wait(timeout=seconds).returncode)
                        break
                    except minictr.TimeoutExpired:
                        time.sleep(0.001)
    """
    assert library(text).ok.fields == ["7"] * 4


def test_a_signal_handler_may_end_the_container_that_is_waited_for(library):
    """It runs in the midst of `wait`, whose descriptor is closed under it, and its number another's then."""
    text = """
        files = []

        def handle(*_):
            box.remove()
            files.extend(os.pipe())
            files.extend(os.pipe())

        signal.signal(signal.SIGALRM, handle)
        for made in (minictr.Container(["sleep", "100"], **WHERE), None):
            box = made or minictr.Container(["sleep", "100"], detach=True, **WHERE)
            with box:
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                print(box.wait(timeout=15).returncode)
        print(len(files), os.listdir(STATE))
    """
    found = library(text).ok.lines
    assert (found[0], found[2]) == ("-9", "8 []"), found


FORKED = """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: there is a thread beside the fork

        def child(act):
            pid = os.fork()
            if pid == 0:
                try:
                    act()
                    os._exit(0)
                finally:
                    os._exit(1)
            return os.waitpid(pid, 0)[1]
"""


@pytest.mark.parametrize("detach", [False, True])
def test_a_process_that_was_forked_only_looks_on(library, detach):
    """The container is its parent's: neither the end of a `with` nor a `wait` there takes it from that."""
    text = (
        FORKED
        + """
        with minictr.Container(["sleep", "100"], detach=%r, **WHERE) as box:
            def leave():
                with box:
                    assert box.status == "running"

            def wait():
                assert box.wait(timeout=10).returncode in (-9, None)

            print(child(leave), box.status)
            signal.signal(signal.SIGALRM, lambda *_: box.kill("KILL"))  # a fork beside a thread is warned of
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            print(child(wait), box.wait(timeout=10).returncode)
        with minictr.Container(["sleep", "100"], detach=%r, **WHERE) as box:
            print(child(box.remove), box.wait(timeout=10).returncode)
        print(os.listdir(STATE))
    """
    )
    found = library(text % (detach, detach)).ok.lines
    assert found[:1] + found[3:] == ["0 running", "[]"], found
    assert set(found[1:3]) <= {"0 -9", "0 None"} if detach else {"0 -9"}, found


def test_one_of_two_threads_starts_a_container(library):
    text = """
        sys.setswitchinterval(1e-6)
        run("true")
        for _ in range(5):
            box, started = minictr.Container(["sleep", "100"], **WHERE), []

            def start():
                try:
                    started.append(box.start())
                except minictr.ContainerError as error:
                    assert str(error) == "start the container: it was started before", error

            threads = [threading.Thread(target=start) for _ in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(len(started), len(minictr.containers(STATE)))
            box.remove()
    """
    assert library(text).ok.lines == ["1 1"] * 5


def test_a_caller_who_has_no_descriptor_left_loses_none(library):
    text = """
        import resource
        run("true")
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        held = []
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for free in range(12):
            try:
                with minictr.Container(["true"], **WHERE):
                    pass
                print("made with", free)
                break
            except OSError as error:
                assert error.errno == 24, error
            except minictr.ContainerError as error:  # before 3.8 to start another helper takes two more
                assert error.number == 24, error
            spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(free)]
            for descriptor in spare + [held.pop()]:
                os.close(descriptor)
    """
    assert library(text).ok.out.startswith("made with")


AT_THE_END = """
import sys, threading
sys.path.append(sys.argv[1])
import minictr
box = minictr.Container(["sleep", "1000"], rootfs=sys.argv[2], root=sys.argv[3], detach=True).start()
box.kill("KILL")
threading.kept = lambda: box
"""


def test_a_program_may_end_with_a_container_that_another_module_refers_to(minictr, busybox_root):
    """It goes last then, when the modules that it would ask are empty."""
    words = ("-c", AT_THE_END, support.CHECKOUT, busybox_root, minictr.state())
    assert minictr.command(support.sys.executable, *words) == (0, "", "")
    support.wait_until(lambda: "running" not in minictr("list").out, what="it has ended")
    (identifier,) = minictr("list", "--quiet").fields
    assert minictr("delete", identifier).ok


def test_a_terminal_for_which_the_caller_has_no_descriptor_is_an_error_and_no_container(library):
    """The kernel drops what finds no room by then, without an error (MSG_CTRUNC)."""
    text = """
        import resource, minictr.spec
        run("true")
        before, limits = sorted(os.listdir("/proc/self/fd")), resource.getrlimit(resource.RLIMIT_NOFILE)
        signal.signal(signal.SIGALRM, lambda *_: resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1])))
        wish = minictr.spec.default_config(["sleep", "1000"], ROOT)
        wish["process"]["terminal"] = True
        wish["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "sleep 0.5"]}]}
        box = minictr.Container(config=wish, root=STATE)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            print(box.start().terminal)
        except minictr.ContainerError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        print(sorted(os.listdir("/proc/self/fd")) == before, minictr.containers(root=STATE))
        del wish["hooks"]
        with minictr.Container(config=wish, root=STATE) as box:
            print(os.isatty(box.terminal.fileno()))
    """
    said = "take the terminal of the container: Too many open files; hint: ulimit -n 1024"
    assert library(text).ok.lines == [said, "True []", "True"]


def test_a_container_ends_with_the_last_reference_to_it(library):
    text = """
        started = minictr.Container(["sleep", "1000"], **WHERE).start().id
        while os.listdir(STATE):
            time.sleep(0.01)
        print(len(started))
    """
    assert library(text).ok.out == "12\n"


@pytest.mark.parametrize(
    "what",
    ["run('nope')", "minictr.Container(['nope'], **WHERE).start()", "box.exec(['nope'])",
     "run('true', volumes=['/no/such:/x'])", "run('sleep', '1000', timeout=0.01)", "1 / 0"],
)  # fmt: skip
def test_nor_does_an_error_that_was_caught_keep_it(library, what):
    """What was raised lay in the object that had raised it: a circle, with all that its callers held."""
    text = """
        import gc
        gc.disable()
        def use():
            box = minictr.Container(["sleep", "1000"], **WHERE).start()
            %s
        try:
            use()
        except Exception as error:
            print(type(error).__name__, len(os.listdir(STATE)))
        end = time.monotonic() + 5
        while os.listdir(STATE) and time.monotonic() < end:
            time.sleep(0.01)
        print(os.listdir(STATE))
    """
    found = library(text % what).ok.lines
    assert found[0].endswith("Error 1") or found[0] == "TimeoutExpired 1"
    assert found[1:] == ["[]"]


def test_a_container_that_is_frozen_can_be_removed(library):
    support.require("cgroup")
    text = """
        with minictr.Container(["sleep", "1000"], **WHERE) as box:
            box.pause()
        print(os.listdir(STATE))
    """
    assert library(text).ok.out == "[]\n"


def test_a_detached_container_lives_on_without_its_maker(library, minictr):
    text = """
        box = minictr.Container(["sleep", "1000"], detach=True, name="on", **WHERE).start()
        print(box.status)
    """
    assert library(text).ok.lines == ["running"]
    assert minictr("state", "--quiet", "on").status == 0
    assert minictr("delete", "--force", "on").ok


def test_what_fails_at_the_start_of_a_container_is_an_exception(library):
    text = """
        before = look()
        for words in (["no-such"], ["/etc"]):
            box = minictr.Container(words, stdout=minictr.PIPE, **WHERE)
            try:
                box.start()
            except minictr.ContainerError as error:
                print(error.status, box.status)
            box.remove()
        after = look()
        print(len(after[-1]) - len(before[-1]), os.listdir(STATE))
    """
    assert library(text).ok.lines == ["127 new", "126 new", "1 []"]  # the door to the helper stays open


# --- the caller -----------------------------------------------------------------------------------

UNCHANGED = """
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGHUP})
    os.umask(0o027)
    run("true")  # the door to the helper stays open
    before = look()

    def interrupt():
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    def fail(call, kind):
        try:
            call()
        except kind:
            return
        raise AssertionError(kind)

    assert sh("exit 3", capture_output=True).returncode == 3
    fail(lambda: run("no-such"), minictr.ContainerError)
    fail(lambda: run("true", volumes=["/no:/no"]), minictr.ContainerError)
    fail(lambda: run("sleep", "100", timeout=0.3, capture_output=True), minictr.TimeoutExpired)
    started = time.monotonic()
    fail(lambda: run("true", timeout=0), minictr.TimeoutExpired)
    assert time.monotonic() - started < 10
    fail(lambda: run("sleep", "100", timeout=0.001), minictr.TimeoutExpired)  # in the making
    pid = os.fork()
    if pid == 0:
        time.sleep(0.7)
        os.kill(os.getppid(), signal.SIGINT)
        os._exit(0)
    fail(lambda: run("sleep", "100", capture_output=True), KeyboardInterrupt)
    os.waitpid(pid, 0)
    with minictr.Container(["sleep", "100"], stdout=minictr.PIPE, **WHERE) as box:
        box.exec(["true"])
    del box
    after = look()
    for one, other in zip(before, after):
        assert one == other, (one, other)
    assert no_child() and os.listdir(STATE) == []
    print("well")
"""


def test_nothing_of_the_caller_is_changed_whatever_happens(library, strong_caller):
    found = library(UNCHANGED, strong_caller)
    assert found == (0, "well\n", ""), found


@pytest.mark.parametrize("handler", ["signal.SIG_IGN", "reap"])
def test_it_does_not_matter_what_the_caller_does_about_children(library, handler):
    text = """
        def reap(*_):
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                pass
        signal.signal(signal.SIGCHLD, %s)
        print([sh("exit %%d" %% number).returncode for number in range(5)])
        with minictr.Container(["sh", "-c", "exit 9"], **WHERE) as box:
            print(box.wait().returncode, no_child())
    """
    assert library(text % handler).ok.lines == ["[0, 1, 2, 3, 4]", "9 True"]


@pytest.mark.parametrize("closed", [(0,), (1, 2), (0, 1, 2)], ids=repr)
def test_a_caller_without_standard_streams_is_served(library, tmp_path, closed):
    text = """
        done = sh("cat; echo out; echo err >&2", capture_output=True)
        lost = sh("cat; echo out; echo err >&2; exit 3")
        with open(sys.argv[4], "w") as file:
            print(done.returncode, done.stdout, done.stderr, lost.returncode, file=file)
    """
    out = tmp_path / "out"
    assert library(text, None, str(out), close=closed, stdin="").status == 0
    assert out.read_text() == "0 b'out\\n' b'err\\n' 3\n"


def test_threads_make_containers_at_once(library, strong_caller):
    text = """
        sys.setswitchinterval(1e-5)
        results, ends, ticks = {}, threading.Event(), [0]

        def busy():
            while not ends.is_set():
                ticks[0] += 1

        def make(number):
            for turn in range(3):
                done = sh("echo %d; exit %d" % (number, number), capture_output=True, text=True)
                results[number, turn] = (done.returncode, done.stdout)

        other = threading.Thread(target=busy)
        other.start()
        threads = [threading.Thread(target=make, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ends.set()
        other.join()
        wanted = {(number, turn): (number, "%d\\n" % number) for number in range(6) for turn in range(3)}
        print(results == wanted, no_child(), os.listdir(STATE))
    """
    assert library(text, strong_caller).ok.out == "True True []\n"


def test_a_caller_with_a_large_heap_and_threads_is_not_forked(library):
    text = """
        heap = bytearray(300 << 20)
        for place in range(0, len(heap), 4096):
            heap[place] = 1
        if hasattr(os, "register_at_fork"):  # since 3.7
            os.register_at_fork(before=lambda: print("forked"))
        threading.Thread(target=time.sleep, args=(2,), daemon=True).start()
        done = sh("grep VmSize /proc/1/status", capture_output=True, text=True)
        run("true")
        print(done.returncode)
    """
    assert library(text).ok.out == "0\n"


def test_the_door_to_the_helper_is_no_leak_to_be_warned_of(library):
    assert library("run('true')", env={"PYTHONWARNINGS": "always"}).ok.out == ""


def test_a_container_that_is_let_go_of_is_no_leak_to_be_warned_of(library, minictr):
    text = """
        minictr.Container(["true"], **WHERE).start().wait()
        minictr.Container(["sleep", "1000"], **WHERE).start()
        minictr.Container(["sleep", "1000"], detach=True, name="on", **WHERE).start()
        box = minictr.Container(["true"], **WHERE).start()
        os.closerange(3, 100)
        del box
    """
    assert library(text, env={"PYTHONWARNINGS": "always"}).ok.out == ""
    assert minictr("delete", "--force", "on").ok.out == ""


@pytest.mark.parametrize("then", ["", "minictr.dismiss_helper()", "if os.fork(): os._exit(os.wait()[1])"])
def test_who_closes_all_descriptors_as_a_daemon_does_is_served_on(library, tmp_path, then):
    """The number of the door is another file's by then: nothing is said to that, and it stays open."""
    text = """
        run("true")
        os.closerange(3, 100)
        files = [open(sys.argv[4], "w") for _ in range(20)]
        {then}
        print(sh("exit 4").returncode, sh("exit 5").returncode, flush=True)
        for file in files:
            file.write("kept ")
            file.close()
        os._exit(0)
    """
    assert library(text.format(then=then), None, str(tmp_path / "file")).ok.lines[-1] == "4 5"
    assert (tmp_path / "file").read_text() == "kept "


def test_a_handler_that_raises_while_the_helper_is_started_leaves_no_child(library, tmp_path):
    slow = tmp_path / "python"
    slow.write_text('#!/bin/sh\nsleep 1\nexec %s "$@"\n' % support.sys.executable)
    slow.chmod(0o755)
    text = """
        usual, sys.executable = sys.executable, sys.argv[4]
        before = os.listdir("/proc/self/fd")
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            run("true")
        except KeyboardInterrupt as error:
            kept = error
        print(no_child(), os.listdir("/proc/self/fd") == before)
        sys.executable = usual
        print(sh("exit 3").returncode)
    """
    assert library(text, None, str(slow)).ok.lines == ["True True", "3"]


EMBEDDED = """\
#!{python}
import signal, sys
signal.alarm(20)  # whatever comes of it has an end
with open({log!r}, "a") as file:
    file.write("started\\n")
sys.path.insert(0, {checkout!r})
sys.executable = {program!r}
{frozen}
import minictr
for _ in range(2):
    try:
        minictr.run(["true"], root={state!r})
    except minictr.ContainerError as error:
        print(error)
"""


@pytest.mark.parametrize(
    "frozen, starts", [("pass", 3), ("sys.frozen = True", 1)], ids=["embedded", "frozen"]
)
def test_a_program_that_is_its_own_python_does_not_start_itself_without_end(
    minictr, tmp_path, frozen, starts
):
    """As what PyInstaller makes is, or uWSGI, whose executable is named where Python's is looked for."""
    program, log = str(tmp_path / "program"), str(tmp_path / "log")
    named = support.sys.executable if starts == 1 else program
    with open(program, "w") as file:
        file.write(
            EMBEDDED.format(
                python=support.sys.executable,
                log=log,
                checkout=support.CHECKOUT,
                program=named,
                frozen=frozen,
                state=minictr.state(),
            )  # fmt: skip
        )
    os.chmod(program, 0o755)
    found = minictr.command(program)
    said = (
        "start the library's helper: sys.executable is this program itself, and no Python: %s; hint: " % named
    )
    assert [line[: len(said)] for line in found.ok.lines] == [said] * 2, found
    with open(log) as file:
        assert file.read() == "started\n" * starts


def test_the_place_of_the_package_may_be_named_relatively(library, tmp_path):
    (tmp_path / "here").symlink_to(support.CHECKOUT)
    text = """
        sys.path[0] = "here"
        for name in [name for name in sys.modules if name.split(".")[0] == "minictr"]:
            del sys.modules[name]
        import minictr
        minictr.run
        os.chdir("/")
        print(run("true").returncode)
    """
    assert library(text, cwd=str(tmp_path)).ok.out == "0\n"


def test_a_caller_whose_directory_is_gone_is_served(library, tmp_path):
    text = """
        os.chdir(sys.argv[4])
        os.rmdir(sys.argv[4])
        print(sh("pwd", capture_output=True, text=True).stdout, end="")
        for options in ({"volumes": ["./x:/y"]}, {"root": "relative"}):
            try:
                minictr.run(["true"], **dict(WHERE, **options))
            except minictr.ContainerError as error:
                print(error.doing)
    """
    (tmp_path / "gone").mkdir()
    assert library(text, None, str(tmp_path / "gone")).ok.lines == ["/"] + ["find the current directory"] * 2


def test_a_process_that_was_forked_has_a_helper_of_its_own(library):
    text = """
        run("true")
        pid = os.fork()
        if pid == 0:
            os._exit(sh("exit 8").returncode)
        print(os.WEXITSTATUS(os.waitpid(pid, 0)[1]), sh("exit 7").returncode)
    """
    assert library(text).ok.fields == ["8", "7"]


def test_who_asks_one_thing_after_the_other_is_served_by_one_worker(library):
    text = """
        os.chdir("/tmp")
        run("true")
        for _ in range(10):  # on a busy machine a worker is late at the door, and gets another beside it
            time.sleep(0.5)
            before = helpers()
            opened = [len(os.listdir("/proc/%d/fd" % pid)) for pid in before]
            for number in range(5):
                assert sh("exit %d" % number).returncode == number
                time.sleep(0.1)  # the answer comes first, its place at the door after that
            if helpers() == before:
                break
        print(len(before) > 1, helpers() == before)
        print(opened == [len(os.listdir("/proc/%d/fd" % pid)) for pid in before])
        print({os.readlink("/proc/%d/cwd" % pid) for pid in before})
    """
    assert library(text).ok.lines == ["True True", "True", "{'/'}"]


def test_nothing_of_a_container_sticks_to_the_worker_that_makes_the_next(library, minictr, tmp_path):
    text = """
        def see(**options):
            script = "umask; echo $E; pwd; id -u; cat; ls /d; ulimit -n; cat /proc/self/oom_score_adj"
            return sh(script, capture_output=True, text=True, env=["E"], **options).stdout.split()

        plain, worker = see(input="in"), helpers()
        os.chdir(sys.argv[4])
        os.environ["E"] = "set"
        odd = see(input="other", volumes=[".:/d"], user=7, workdir="/d", umask="0002", memory="64m",
            ulimits=["nofile=77:77"], oom_score_adj=7, cap_drop=["ALL"], userns="host")
        os.chdir("/")
        del os.environ["E"]
        print(*odd)
        print(see(input="in") == plain, helpers() == worker)
        print(sh("exit 4", keep=True, name="kept").returncode, see(input="in") == plain)
        import fcntl
        fcntl.flock(os.open(STATE + "/kept", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    """
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("")
    lines = library(text, None, str(tmp_path / "data")).ok.lines
    assert minictr("delete", "kept").ok
    assert lines == ["0002 set /d 7 otherfile 77 7", "True True", "4 True"]


def test_others_are_served_while_a_worker_stands_behind_a_container(library):
    text = """
        from minictr import spec
        slow = spec.default_config(["true"], ROOT)
        slow["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "4"]}]}
        where = {"root": STATE, "config": slow, "allow_degraded": True}
        ended = []
        thread = threading.Thread(target=lambda: ended.append(minictr.run(**where)))
        run("true")
        thread.start()
        time.sleep(1)
        print(sh("exit 8").returncode, ended)
        thread.join()
        with minictr.Container(["sleep", "1000"], **WHERE):
            started = time.monotonic()
            print([sh("exit %d" % number).returncode for number in range(3)])
            with minictr.Container(["sleep", "1000"], **WHERE):
                time.sleep(1.3)  # who stands behind one for long is replaced
                print(sh("exit 3").returncode, time.monotonic() - started < 20)
    """
    assert library(text).ok.lines == ["8 []", "[0, 1, 2]", "3 True"]


def test_a_helper_that_was_killed_is_started_again(library):
    text = """
        print(sh("exit 5").returncode, len(helpers()) >= 1)
        for turn in range(4):
            found = helpers()
            for pid in (found, found[:1], found[-1:], found)[turn]:  # all, the helper, a worker
                os.kill(pid, 9)
            print(sh("exit 6").returncode, run("true").returncode)
        with minictr.Container(["sleep", "100"], **WHERE) as box:
            with open("/proc/%d/status" % box.pid) as file:
                parent = [int(line.split()[1]) for line in file if line.startswith("PPid:")]
            for pid in set(helpers()) - set(parent):  # all but who stands behind it
                os.kill(pid, 9)
            print(sh("exit 7").returncode)
    """
    assert library(text).ok.lines == ["5 True"] + ["6 0"] * 4 + ["7"]


def test_a_helper_that_is_killed_with_a_large_request_before_it_is_no_wait_for_ever(library):
    text = """
        run("true")
        found = helpers()
        for pid in found:
            os.kill(pid, signal.SIGSTOP)

        def ask():
            try:
                sh("exit 7 # " + "x" * 100000, env=dict.fromkeys(map(str, range(90)), "x" * 9999))
            except minictr.ContainerError:  # it is too much, or a name is none: but something is said
                pass

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(0.1)
        for pid in found:
            os.kill(pid, 9)
        thread.join(20)
        print(thread.is_alive())
        sys.stdout.flush()
        os._exit(0)
    """
    assert library(text).ok.out == "False\n"


def test_the_helper_holds_nothing_of_the_callers_open(library):
    """Else the end of a pipe would not be seen as long as it waits for more work."""
    text = """
        import select

        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        print(run("true").returncode, len(helpers()) >= 1)
        os.close(writer)
        print(select.select([reader], [], [], 5)[0] == [reader] and os.read(reader, 1))
    """
    assert library(text).ok.lines == ["0 True", "b''"]


def test_a_helper_that_is_dismissed_ends_and_the_containers_go_on(library):
    text = """
        minictr.dismiss_helper()  # there is none
        words = ["sh", "-c", "read x; exit 5"]
        with minictr.Container(words, stdin=minictr.PIPE, **WHERE) as box:
            pid = os.fork()
            if pid == 0:
                box.stdin.close()
                before = len(os.listdir("/proc/self/fd"))
                minictr.dismiss_helper()  # of the child, which has none
                print(before - len(os.listdir("/proc/self/fd")), flush=True)
                time.sleep(1000)
            time.sleep(1.2)  # who stands behind it has been replaced
            old = helpers()
            minictr.dismiss_helper()
            time.sleep(0.3)
            print(len(set(old) & set(helpers())), box.status, set(helpers()) > set(old))
            box.stdin.close()
            print(box.wait().returncode)
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        minictr.dismiss_helper()
        while helpers():
            time.sleep(0.01)
        print(sh("exit 4").returncode)
    """
    assert library(text).ok.lines == ["1", "1 running False", "5", "4"]


@needs("landlock")
def test_who_dismisses_the_helper_cannot_get_around_landlock_by_the_library(library, tmp_path):
    (tmp_path / "file").write_text("whole\n")
    text = """
        import ctypes
        run("true")
        libc, asked = ctypes.CDLL(None), ctypes.c_uint64(1 << 1)  # LANDLOCK_ACCESS_FS_WRITE_FILE
        ruleset = libc.syscall(444, ctypes.byref(asked), ctypes.sizeof(asked), 0)
        print(libc.syscall(446, ruleset, 0))  # no_new_privs, which others than root need first, would be seen
        os.close(ruleset)
        minictr.dismiss_helper()
        try:
            done = run("sh", "-c", "echo broken >/mnt/file", volumes=[sys.argv[4] + ":/mnt"], userns="host")
            print(done.returncode == 0)
        except minictr.ContainerError:
            print(False)
    """
    found = library(text, None, str(tmp_path))
    assert found.lines == ["0", "False"], found
    assert (tmp_path / "file").read_text() == "whole\n"


def test_the_container_ends_with_a_caller_that_is_killed(library, minictr):
    text = """
        run("true")
        box = minictr.Container(["sleep", "1000"], **WHERE).start()
        run("true")
        print(box.pid, *helpers())
        sys.stdout.flush()
        os.kill(os.getpid(), 9)
    """
    found = library(text)
    assert found.status == -9 and len(found.fields) >= 4
    for pid in found.fields:
        support.wait_until(lambda pid=pid: support.gone(int(pid)), what="the container and the helper end")
    support.wait_until(lambda: minictr("list", "--quiet").out == "", what="nothing is left of it")


@needs("pidfd")
def test_the_container_ends_with_its_maker_though_what_that_has_forked_lives_on(library, minictr):
    text = """
        box = minictr.Container(["sleep", "1000"], **WHERE).start()
        child = os.fork()
        if child == 0:
            time.sleep(1000)
        print(box.pid, child)
        sys.stdout.flush()
        os.kill(os.getpid(), 9)
    """
    found = library(text)
    assert found.status == -9
    box, child = [int(pid) for pid in found.fields]
    try:
        support.wait_until(lambda: support.gone(box), what="the container ends")
        support.wait_until(lambda: minictr("list", "--quiet").out == "", what="nothing is left of it")
        assert not support.gone(child)
    finally:
        os.kill(child, 9)


@needs("rootless")
def test_a_caller_that_has_given_up_its_rights_has_no_use_of_its_old_helper(library, minictr, unranged):
    """Else who takes over a process that was root would have root again."""
    text = """
        print(run("cat", "/proc/self/uid_map", capture_output=True).stdout.split()[1] != b"0")
        uid = int(sys.argv[4])
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        from minictr import service
        door = list(service._services.values())[0].door
        os.environ["XDG_RUNTIME_DIR"] = "/no"
        done = minictr.run(["cat", "/proc/self/uid_map"], rootfs=ROOT, capture_output=True, root=sys.argv[5])
        print(done.stdout.split(), list(service._services.values())[0].door is not door)
    """
    found = library(text, None, str(unranged.uid), minictr.state(unranged), reachable=True)
    assert (found.status, found.err) == (0, ""), found
    assert found.lines == ["True", "[b'0', b'%d', b'1'] True" % unranged.uid]


@needs("root")
def test_who_asks_is_who_it_was_when_it_asked(library):
    """CVE-2013-4288: a process without rights asks, and executes a program with the set-user-ID bit before
    anybody looks at it. Here it takes root back instead."""
    text = """
        from minictr import service
        run("true")
        stopped = helpers()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        os.setresuid(7, 7, 0)
        door = list(service._services.values())[0].door
        talk = service._ask(door, (0, 1, 2), ("verb", {"root": "", "name": "list", "argv": []}))
        os.setresuid(0, 0, 0)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        print(*talk.hear())
    """
    assert library(text).ok.out == "stale\n"


@pytest.mark.skipif(host.kernel() < (6, 5), reason="the kernel gives no pidfd of who asks (6.5)")
def test_who_asks_is_no_other_that_has_its_number_by_now(library):
    """A process that has given up its capabilities asks and ends, and one that has them gets its number."""
    text = """
        import ctypes, socket, struct
        from minictr import conversation, service
        libc = ctypes.CDLL(None)
        run("true")
        stopped = helpers()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        door = list(service._services.values())[0].door
        ours, theirs = socket.socketpair()
        asking = os.fork()
        if asking == 0:
            for number in range(41):
                libc.prctl(24, number)  # PR_CAPBSET_DROP
            talk = service._ask(door, (0, 1, 2), ("verb", {"root": "", "name": "list", "argv": []}))
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("=i", talk.sock.fileno()))
            theirs.sendmsg([b"t"], [rights])
            os._exit(0)
        packed = ours.recvmsg(1, 64)[1][0][2]
        os.waitpid(asking, 0)
        number = ctypes.create_string_buffer(struct.pack("=i", asking))
        words = [0, 0, 0, 0, int(signal.SIGCHLD), 0, 0, 0, ctypes.addressof(number), 1, 0]
        arguments = ctypes.create_string_buffer(struct.pack("=11Q", *words))
        libc.syscall.restype = ctypes.c_long
        pid = libc.syscall(435, arguments, 88)  # clone3(2) with that number
        if pid == 0:
            libc.pause()
        talk = conversation.Conversation(socket.socket(fileno=struct.unpack("=i", packed)[0]))
        for stop in stopped:
            os.kill(stop, signal.SIGCONT)
        print(pid == asking, *talk.hear())
        os.kill(pid, 9)
    """
    assert library(text).ok.out == "True stale\n"


def test_a_handler_that_raises_while_a_worker_is_waited_for_leaves_no_container(library):
    text = """
        run("true")
        for kind in (minictr.run, lambda *words, **where: minictr.Container(*words, **where).start()):
            stopped = helpers()
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            try:
                kind(["sleep", "1000"], **WHERE)
            except KeyboardInterrupt as error:
                kept = error  # and with it whatever the frames refer to
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
            time.sleep(1)
            print(os.listdir(STATE))
        sys.stdout.flush()
        os.kill(os.getpid(), 9)  # else it would end them
    """
    found = library(text)
    assert found.lines == ["[]", "[]"], found


@needs("rootless")
def test_a_caller_that_may_not_search_its_directory_is_served(library, minictr, unranged, tmp_path):
    (tmp_path / "own").mkdir(0o700)
    text = """
        uid = int(sys.argv[4])
        os.chdir(sys.argv[6])
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        os.environ["XDG_RUNTIME_DIR"] = "/no"
        where = {"rootfs": ROOT, "root": sys.argv[5]}
        print(minictr.run(["pwd"], capture_output=True, **where).stdout)
        from minictr import spec
        config = spec.default_config(["true"], "tmp")
        with minictr.Container(["sleep", "100"], **where) as box:
            calls = (
                lambda: minictr.run(["true"], **dict(where, rootfs="tmp")),
                lambda: minictr.run(["true"], volumes=["./etc:/etc"], **where),
                lambda: minictr.run(config=config, allow_degraded=True, root=sys.argv[5]),
                lambda: box.exec(["true"], pid_file="tmp/pid"),
                lambda: box.update(resources="dev/null"),
            )
            for call in calls:
                try:
                    print(call())
                except minictr.ContainerError as error:
                    print(error)
    """
    own = str(tmp_path / "own")
    lines = library(text, None, str(unranged.uid), minictr.state(unranged), own, reachable=True).ok.lines
    assert lines[0] == "b'/\\n'" and len(lines) == 6
    assert all("Permission denied" in line for line in lines[1:]), lines


def test_changes_of_limits_and_variables_of_the_caller_count_at_once(library):
    text = """
        import resource
        run("true")
        resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))
        os.environ["GIVEN"] = "now"
        print(sh("ulimit -n; echo $GIVEN", env=["GIVEN"], capture_output=True).stdout.split())
    """
    assert library(text).ok.out == "[b'99', b'now']\n"


def test_a_worker_has_the_variables_of_each_caller_anew(library):
    text = """
        os.environ["GIVEN"] = "before"
        print(sh("echo $GIVEN", env=["GIVEN"], capture_output=True).stdout)
        os.environ["GIVEN"] = "now"
        print(sh("echo $GIVEN", env=["GIVEN"], capture_output=True).stdout)
        del os.environ["GIVEN"]
        print(sh("echo $GIVEN", env=["GIVEN"], capture_output=True).stdout)
    """
    assert library(text).ok.lines == ["b'before\\n'", "b'now\\n'", "b'\\n'"]


# --- imports --------------------------------------------------------------------------------------


def test_the_import_is_cheap_and_the_command_line_pays_nothing(minictr):
    text = "import sys; sys.path.append(%r); before = set(sys.modules); import minictr;"
    text += "print(sorted(set(sys.modules) - before)); minictr.run; print('subprocess' in sys.modules);"
    text += "print([name for name in minictr.__all__ if not hasattr(minictr, name)]); minictr.nonsense"
    found = minictr.command(support.sys.executable, "-IS", "-c", text % support.CHECKOUT)
    assert found.lines == ["['minictr']", "False", "[]"], found
    assert "has no attribute 'nonsense'" in found.err
    words = ("-X", "importtime", "-m", "minictr", "--version")
    if support.sys.version_info >= (3, 7):
        found = minictr.command(support.sys.executable, *words, env={"PYTHONPATH": support.CHECKOUT})
        assert "minictr.cli" in found.err and "minictr.library" not in found.err


def test_the_module_is_of_use_from_one_file(minictr, busybox_root, tmp_path):
    import shutil

    archive = shutil.make_archive(str(tmp_path / "one"), "zip", support.CHECKOUT, "minictr")
    text = "import sys; sys.path.insert(0, sys.argv[1]); import minictr;"
    text += "print(minictr.run(['true'], rootfs=sys.argv[2], root=sys.argv[3]).returncode, minictr.__file__)"
    found = minictr.command(support.sys.executable, "-c", text, archive, busybox_root, minictr.state())
    assert found.ok.fields == ["0", os.path.join(archive, "minictr", "__init__.py")]
