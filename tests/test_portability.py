"""The core on other Pythons than the suite's own: the oldest and the newest that pyenv has, or those that
are named, one that is linked with musl, say.

    MINICTR_TEST_PYTHON=/path/to/python[:...] make test ARGS=tests/test_portability.py

Only minictr runs on that Python, so it needs nothing but the standard library.
"""

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap

import bundles
import pytest
import roots
import support
from support import needs

pytestmark = needs("root", "busybox")


def reachable(python):
    """PYTHON as a path that every user can run; a copy of its whole installation where needed."""
    if roots.reachable(python):
        return python

    def copy():
        real = os.path.realpath(python)
        target = os.path.join(support.SESSION.place("other"), "python")
        shutil.copytree(os.path.dirname(os.path.dirname(real)), target, symlinks=True, ignore=support.UNUSED)
        subprocess.run(["chmod", "-R", "u+rwX,go=rX", target], check=True)
        return os.path.join(target, "bin", os.path.basename(real))

    return support._once(python, copy)


def others():
    """The Pythons to try."""
    if os.environ.get("MINICTR_TEST_PYTHON"):
        return os.environ["MINICTR_TEST_PYTHON"].split(":")
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = {}
    for path in glob.glob(root + "/versions/3.*/bin/python3"):
        version = tuple([int(number) for number in re.findall(r"\d+", path.split("/")[-3])[:2]])
        if version >= (3, 6) and version != sys.version_info[:2]:
            found[version] = path
    return [found[version] for version in sorted({min(found), max(found)})] if found else []


class Other:
    """minictr on the other Python. run: as Runner runs it; words: the command in pieces"""

    def __init__(self, python, runner, account):
        self.python, self.runner, self.account = python, runner, account
        self.env = {"PYTHONPATH": support.checkout()}
        if python.startswith(support.SESSION.directory):  # its library is not where it was linked for
            self.env["LD_LIBRARY_PATH"] = os.path.join(os.path.dirname(os.path.dirname(python)), "lib")

    def words(self, *args):
        root = self.runner.state(self.account)
        return [self.python, "-m", "minictr", "--root", root] + list(args)

    def start(self, *args, **options):
        env = dict(options.pop("env", None) or {}, **self.env)
        return self.runner.start_command(*self.words(*args), env=env, user=self.account, **options)

    def __call__(self, *args, **options):
        return self.start(*args, **options).wait()


@pytest.fixture(params=others() or [""], scope="session")
def python(request):
    if not request.param:
        pytest.skip("pyenv has no other Python to try, and MINICTR_TEST_PYTHON names none")
    return reachable(request.param)


@pytest.fixture(params=["root", "ranged", "unranged"])
def core(request, minictr, python):
    """Who runs it: root, a user with ranges of ids, a user without."""
    account = None
    if request.param != "root":
        support.require("rootless")
        account = request.getfixturevalue(request.param)
    return Other(python, minictr, account)


def said(core, result):
    """What RESULT says on stderr beside the one warning of those without ranges."""
    lines = [line for line in result.err.splitlines() if "wanted a range of ids" not in line]
    return "\n".join(lines)


def test_it_is_the_other_python_that_runs(core):
    found = core("doctor")
    words = (core.python, "-c", "import sys; print(sys.version.split()[0])")
    version = core.runner.command(*words, env=core.env).out.strip()
    assert "python             %s," % version in found.out, found


@needs("make")
@pytest.mark.parametrize("door", ["the one file", "the folder"])
def test_by_its_name_the_program_is_a_door_wherever_one_is(minictr, python, tmp_path, door):
    """Nothing of the current directory is imported: not even what Python needs for -m, before it is ours."""
    place = support.SESSION.place("doors")
    shutil.copytree(support.CHECKOUT + "/minictr", place + "/minictr", ignore=support.UNUSED)
    if door == "the one file":
        shutil.copy(support.CHECKOUT + "/Makefile", place)
        subprocess.run(["make", "-s", "-C", place, "dist", "PYTHON=" + sys.executable], check=True)
    for name in ("runpy", "pkgutil", "importlib", "json", "os", "struct", "ctypes"):
        (tmp_path / (name + ".py")).write_text("raise SystemExit('a stranger was imported')\n")
    path = place + ("/dist/minictr.pyz" if door == "the one file" else "/minictr")
    env = Other(python, minictr, None).env
    for option in ([], ["-I"]):
        found = minictr.command(python, *(option + [path, "features"]), cwd=str(tmp_path), env=env)
        assert found.status == 0 and found.out.startswith("{"), found


@needs("make")
def test_the_one_file_has_the_bytecode_of_every_python_that_it_was_built_with(minictr, python):
    place = support.SESSION.place("bytecode")
    shutil.copytree(support.CHECKOUT + "/minictr", place + "/minictr", ignore=support.UNUSED)
    shutil.copy(support.CHECKOUT + "/Makefile", place)
    bytecode = "BYTECODE=%s %s %s" % (sys.executable, python, python)
    subprocess.run(["make", "-s", "-C", place, "dist", "PYTHON=" + sys.executable, bytecode], check=True)
    env = Other(python, minictr, None).env
    for one in (sys.executable, python):
        found = minictr.command(one, "-ISv", place + "/dist/minictr.pyz", "--version", env=env)
        assert found.status == 0
        assert re.search(r"^import '?minictr\.cli'? # <Pack object", found.err, re.M), found.err[-2000:]


def test_a_document_takes_the_half_of_json_in_c_alone(minictr, python):
    """A Python whose half asks for more than ours is given has all of json imported at each start."""
    script = "import sys; from minictr import document; "
    script += "document.loads(document.dumps({'a': [1]})); print('json' in sys.modules)"
    found = minictr.command(python, "-S", "-c", script, env=Other(python, minictr, None).env)
    assert found == (0, "False\n", "")


@pytest.mark.parametrize("told", ["PYTHON_LAZY_IMPORTS=all", "PYTHONDEVMODE=1"])
def test_nothing_is_imported_from_a_container_where_python_imports_late(minictr, python, busybox_copy, told):
    """It can be told to: since 3.15 to load a module when it is first used, which may be inside; or to look
    after each name of an encoding, which has a module for it loaded."""
    root, other = busybox_copy(), Other(python, minictr, None)
    place = root + support.checkout() + "/minictr"
    shutil.copytree(support.CHECKOUT + "/minictr", place, ignore=shutil.ignore_patterns("__pycache__"))
    for name in os.listdir(place):
        with open(os.path.join(place, name), "w") as file:
            file.write("import posix\nposix.mkdir('/imported', 0o755)\n")
    other.env.update([told.split("=")])
    for words in (("--userns", "host"), ()):
        assert other("run", *(words + ("--rootfs", root, "--", "true"))).ok.out == ""
        assert not os.path.exists(root + "/imported")


def test_a_container_is_one(core, busybox_root):
    script = (
        "id -u; hostname; echo $$; ls /proc | grep -c '^[0-9]'; touch /x 2>/dev/null; cat /proc/self/uid_map"
    )
    found = core(
        "run", "--rootfs", busybox_root, "--hostname", "inside", "--read-only", "--", "sh", "-c", script
    )
    assert (found.status, said(core, found)) == (0, ""), found
    assert found.lines[:3] == ["0", "inside", "1"]
    assert int(found.lines[3]) <= 4


@pytest.mark.parametrize("script, status", [("exit 7", 7), ("sh -c 'kill -9 $$'; exit $?", 137)])
def test_the_status_comes_through(core, busybox_root, script, status):
    assert core("run", "--rootfs", busybox_root, "--", "sh", "-c", script).status == status


def test_no_such_program(core, busybox_root):
    found = core("run", "--rootfs", busybox_root, "--", "no-such-program")
    assert found.status == 127
    assert said(core, found) == 'minictr: exec: "no-such-program": executable file not found in $PATH'


def test_the_hosts_root(core):
    found = core(
        "run", "--", "sh", "-c", "id -u; touch /etc/x 2>/dev/null || echo no; echo x >/tmp/x; cat /tmp/x"
    )
    assert (found.status, found.fields) == (0, ["0", "no", "x"]), found


@needs("overlay")
def test_an_overlay(core, busybox_copy):
    account = core.account
    root = busybox_copy() if account is None else busybox_copy(account if account.start else _Alone(account))
    found = core("run", "--rootfs", root, "--overlay", "--", "sh", "-c", "touch /x && ls -d /x")
    assert (found.status, found.out) == (0, "/x\n"), found
    assert not os.path.exists(root + "/x")


class _Alone:
    """An account as if it had no range: all files of a copy are its own."""

    def __init__(self, account):
        self.uid, self.gid, self.start = account.uid, account.gid, 0


def test_files_devices_and_limits(core, busybox_root):
    source = support.SESSION.place("source")
    open(source + "/it", "w").close()
    script = "ls /home; stat -c '%t:%T' /dev/null; ulimit -n; env | grep ^A=; pwd; umask; "
    script += "echo x >/dev/shm/y; df /var | grep -c 1024"
    found = core(
        "run", "--rootfs", busybox_root, "--volume", source + ":/home:ro", "--tmpfs", "/var:size=1m",
        "--ulimit", "nofile=100", "--env", "A=\u00e4", "--workdir", "/tmp", "--", "sh", "-c", script,
    )  # fmt: skip
    assert found.status == 0, found
    assert found.fields == ["it", "1:3", "100", "A=\u00e4", "/tmp", "0022", "1"]


def test_a_terminal(core, busybox_root):
    live = core.start(
        "run",
        "-t",
        "--rootfs",
        busybox_root,
        "--",
        "sh",
        "-c",
        "tty; stty size; read x; echo got $x",
        tty=True,
    )
    live.resize(33, 77)
    live.expect("/dev/pts/0")
    live.send("word\n")
    found = live.wait()
    assert found.status == 0 and "got word" in found.out, found


def test_signals_are_passed_on(core, busybox_root):
    script = "trap 'echo heard; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    live = core.start("run", "--rootfs", busybox_root, "--", "sh", "-c", script)
    live.expect("up\n")
    live.signal(signal.SIGTERM)
    found = live.wait()
    assert (found.status, found.out) == (3, "up\nheard\n")


def test_a_life_detached(core, busybox_root):
    assert (
        core("run", "--detach", "--name", "it", "--rootfs", busybox_root, "--", "sleep", "1000").status == 0
    )
    assert json.loads(core("state", "it").out)["status"] == "running"
    assert core("list", "--quiet").out == "it\n"
    found = core("exec", "it", "sh", "-c", "echo second; exit 5")
    assert (found.status, found.out) == (5, "second\n"), found
    assert core("stop", "--time", "0", "it").status == 0
    assert core("delete", "it").status == 0
    assert core("list", "--quiet").out == ""


@needs("seccomp")
def test_a_bundle_with_a_filter(core, busybox_copy):
    account = core.account
    root = busybox_copy() if account is None else busybox_copy(account if account.start else _Alone(account))
    made = bundles.Bundle(root, None, account)
    made.process["args"] = ["sh", "-c", "grep ^Seccomp: /proc/self/status; mkdir /tmp/x 2>&1; id -u"]
    made.config["root"]["readonly"] = False
    made.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }
    if account is not None:
        made.namespaces("user")
        for name, number in (("uidMappings", account.uid), ("gidMappings", account.gid)):
            made.linux[name] = [{"containerID": 0, "hostID": number, "size": 1}]
        for mount in made.config["mounts"]:
            mount["options"] = [option for option in mount["options"] if option != "gid=5"]
    made.save()
    found = core("run", "--bundle", made.path, made.identifier)
    assert found.status == 0, found
    assert found.fields[:2] == ["Seccomp:", "2"]
    assert "No space left on device" in found.out and found.lines[-1] == "0"


@needs("cgroup")
def test_a_limit(core, busybox_root):
    if core.account is not None:
        pytest.skip("a user has no cgroup here")
    made = bundles.Bundle(roots.copy(busybox_root, support.SESSION.place("root")))
    made.linux["resources"] = {"pids": {"limit": 5}}
    made.linux["cgroupsPath"] += "/below"  # what is made above is marked as ours
    made.process["args"] = ["sh", "-c", "for i in 1 2 3 4 5 6 7; do sleep 0.2 & done; wait"]
    made.save()
    assert "can't fork" in core("run", "--bundle", made.path, made.identifier).err


@needs("timens")
def test_a_clock_of_its_own(core, busybox_root):
    found = core(
        "run",
        "--rootfs",
        busybox_root,
        "--time-offset",
        "100000000",
        "--",
        "cut",
        "-d.",
        "-f1",
        "/proc/uptime",
    )
    assert found.status == 0 and int(found.out) > 100000000, found


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=repr)
def test_closed_streams(core, busybox_root, closed):
    words = ("run", "--rootfs", busybox_root, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    found = core(*words, close=closed)
    assert (found.status, found.out) == (7, "" if 1 in closed else "out\n")


@pytest.mark.parametrize(
    "refusal",
    [
        "mount_setattr=ENOSYS",
        "openat2=ENOSYS",
        "clone3=ENOSYS",
        "fsopen=ENOSYS",
        "pivot_root",
        "close_range=ENOSYS",
    ],
)
@needs("seccomp")
def test_an_older_or_stricter_kernel(core, busybox_root, refusal):
    words = ("run", "--rootfs", busybox_root, "--", "sh", "-c", "id -u; ls /proc/$$/fd; true")
    found = core(*words, refuse=[refusal])
    assert (found.status, found.fields) == (0, ["0", "0", "1", "2"]), found


def test_bad_words_are_one_line(core):
    for words in (
        ("run", "--no-such-option"),
        ("run", "--rootfs", "/no/such", "--", "true"),
        ("no-such-verb",),
    ):
        found = core(*words)
        assert (found.status, found.out, found.err.count("\n")) == (125, "", 1), found


def test_a_program_that_imports_it_may_have_a_thread(core, busybox_root):
    script = textwrap.dedent("""\
        import sys, threading, time
        from minictr import lifecycle, options
        from minictr.report import Report

        sys.setswitchinterval(0.0001)

        def busy():
            while True:
                pass

        threading.Thread(target=busy, daemon=True).start()
        for number in range(5):
            spec = options.parse(["--rootfs", sys.argv[2], "--", "sh", "-c", "exit %d" % number], "run")
            assert lifecycle.Container(spec, sys.argv[1], Report()).run() == number
        print("well")
    """)
    state = core.runner.state(core.account)
    words = (core.python, "-c", script, state, busybox_root)
    found = core.runner.command(*words, user=core.account, env=core.env)
    assert (found.status, found.out) == (0, "well\n"), found


@needs("pypy3")
@pytest.mark.parametrize("words", [("run", "--", "true"), ("doctor",)], ids=" ".join)
def test_another_implementation_of_python_is_told_in_one_line(minictr, words):
    env = {"PYTHONPATH": support.CHECKOUT, "PYTHONDONTWRITEBYTECODE": "1"}
    found = minictr.command("pypy3", "-m", "minictr", *words, env=env)
    why = "CPython is needed, and this is pypy; hint: call it by the python3 of the system"
    assert found == (125, "", "minictr: start: %s\n" % why)
