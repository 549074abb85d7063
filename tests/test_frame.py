"""The doors to minictr (folder, launcher, .pyz, pip) and what the suite itself promises."""

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap

import accounts
import leftovers
import pytest
import roots
import support
from support import CHECKOUT, needs

import minictr as package

PYTHON = os.path.realpath(sys.executable)  # of no virtual environment
# what a start cannot afford, or what a small Python may lack
DEAR = {
    "argparse", "asyncio", "configparser", "ctypes", "dataclasses", "decimal", "difflib", "enum", "inspect",
    "json", "logging", "multiprocessing", "pathlib", "random", "re", "shutil", "socket", "ssl",
    "subprocess", "tempfile", "threading", "typing", "zipfile",
}  # fmt: skip


def make(tree, *words):
    """Run make in TREE, without the settings of a make around the suite."""
    done = subprocess.run(
        ["make", "-C", str(tree)] + list(words), env={"PATH": support.PATH, "HOME": os.path.expanduser("~")},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()


@pytest.fixture(scope="module")
def tree():
    """A copy of the checkout's own files to build in."""
    place = support.SESSION.place("tree")
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        if os.path.exists(os.path.join(CHECKOUT, name)):
            shutil.copy(os.path.join(CHECKOUT, name), place)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(os.path.join(CHECKOUT, "minictr"), os.path.join(place, "minictr"), ignore=ignored)
    return place


@pytest.fixture(scope="module")
def installed(tree):
    """What `make install` makes, at the place it is made for; `/bin/minictr` below it is the launcher."""
    support.require("make")
    prefix = support.SESSION.place("prefix") + "/usr"
    make(tree, "install", "PREFIX=" + prefix, "PYTHON=" + PYTHON)
    return prefix


@pytest.fixture(scope="module")
def pyz(tree):
    support.require("make")
    make(tree, "dist", "PYTHON=" + PYTHON)
    return tree + "/dist/minictr.pyz"


@pytest.fixture(scope="module")
def pip_script(tree):
    """The command that pip puts into a virtual environment."""
    venv = support.SESSION.place("venv")
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    if sys.version_info < (3, 7):  # its own pip does not see which versions still know this Python
        subprocess.run([venv + "/bin/pip", "install", "-q", "pip>=21,<22"], check=True)
    done = subprocess.run(
        [venv + "/bin/pip", "install", "-q", "--disable-pip-version-check", "--no-deps", tree],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()
    return venv + "/bin/minictr"


VERSION = (0, "minictr version {0}\ncommit: minictr-{0}\nspec: 1.3.0\n".format(package.__version__), "")


# --- the doors --------------------------------------------------------------------------------


def test_the_module_is_a_door(minictr):
    assert minictr("--version", state=False) == VERSION


def test_a_copied_folder_is_a_door(minictr, tmp_path):
    shutil.copytree(os.path.join(CHECKOUT, "minictr"), str(tmp_path / "minictr"))
    assert minictr.command(PYTHON, "-m", "minictr", "--version", cwd=str(tmp_path)) == VERSION


@pytest.mark.parametrize("name", ["minictr", "another name"])
@pytest.mark.parametrize("file", ["", "/__main__.py"], ids=["folder", "file"])
@pytest.mark.parametrize("option", [[], ["-I"]], ids=["plain", "isolated"])
def test_the_folder_is_a_door_by_its_own_name(minictr, tmp_path, name, file, option):
    """As a folder with __main__.py in it is for every Python; by a path that is relative, too."""
    shutil.copytree(os.path.join(CHECKOUT, "minictr"), str(tmp_path / name))
    strangers(tmp_path)
    for path, cwd in ((name, str(tmp_path)), (str(tmp_path / name), "/")):
        command = [PYTHON] + option + [path + file]
        assert minictr.command(*(command + ["--version"]), cwd=cwd) == VERSION
        assert minictr.command(*(command + ["features"]), cwd=cwd).ok.out.startswith("{")


def test_bytecode_that_ends_early_is_told(minictr, tmp_path):
    """As a full disk, or a copy that broke off, leaves it."""
    folder = str(tmp_path / "minictr")
    shutil.copytree(os.path.join(CHECKOUT, "minictr"), folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = [PYTHON, "-m", "minictr", "resume", "nobody"]
    assert "does not exist: nobody" in minictr.command(*command, cwd=str(tmp_path)).err
    half = [name for name in os.listdir(folder + "/__pycache__") if name.startswith("control.")]
    os.truncate(os.path.join(folder, "__pycache__", half[0]), 100)
    found = minictr.command(*command, cwd=str(tmp_path))
    assert (found.status, found.out, found.err.count("\n")) == (125, "", 1), found
    assert found.err.endswith("; hint: remove %s/__pycache__, or install it anew\n" % folder)


@needs("root", "root-mount", "unshare")
def test_a_library_of_python_on_a_file_system_without_programs_is_told(minictr):
    """The words of the loader are those for want of memory."""
    module = getattr(__import__("_ctypes"), "__file__", None)
    if module is None:
        pytest.skip("this interpreter has it built in")
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,noexec "$0" || exit 9; exec "$@"'
    command = ("unshare", "-m", "sh", "-c", script, os.path.dirname(module), PYTHON, "-m", "minictr")
    found = minictr.command(*command, "features", env={"PYTHONPATH": CHECKOUT})
    assert (found.status, found.out, found.err.count("\n")) == (125, "", 1), found
    assert found.err.startswith("minictr: load the Python library: "), found
    assert "; hint: it lies on a file system that is mounted noexec: " in found.err, found


def strangers(place):
    """Modules in PLACE that may not be imported, of names that the standard library has, too."""
    for name in ("_ctypes", "ctypes", "difflib", "fcntl", "json", "select", "socket", "struct", "time"):
        (place / (name + ".py")).write_text("raise SystemExit('a stranger was imported')\n")


@pytest.mark.parametrize("words", [["doctor", "--json"], ["features"], ["run", "--no-such"]], ids=" ".join)
def test_the_module_imports_nothing_from_the_current_directory(minictr, tmp_path, words):
    strangers(tmp_path)
    command = [PYTHON, "-m", "minictr"] + words
    found = minictr.command(*command, cwd=str(tmp_path), env={"PYTHONPATH": CHECKOUT})
    assert "stranger" not in found.err
    assert found.status == (125 if words[0] == "run" else 0)
    shutil.copytree(os.path.join(CHECKOUT, "minictr"), str(tmp_path / "minictr"))
    assert minictr.command(*command, cwd=str(tmp_path)).status == found.status


def test_an_isolated_python_keeps_its_path(minictr, pip_script):
    python = os.path.join(os.path.dirname(pip_script), "python")
    for option in ["-I"] + (["-P"] if sys.version_info >= (3, 11) else []):
        assert minictr.command(python, option, "-m", "minictr", "features").ok.out.startswith("{")


def test_the_launcher_is_a_door_with_an_empty_environment(minictr, installed):
    empty = {name: None for name in ("PATH", "HOME", "USER", "LOGNAME", "LANG", support.MARK)}
    assert minictr.command(installed + "/bin/minictr", "--version", env=empty) == VERSION


def test_the_one_file_is_a_door(minictr, pyz):
    assert minictr.command(PYTHON, pyz, "--version") == VERSION
    bin_of_python = os.path.dirname(PYTHON) + ":" + support.PATH
    assert minictr.command(pyz, "--version", env={"PATH": bin_of_python}) == VERSION


def test_pip_makes_a_door(minictr, pip_script):
    assert minictr.command(pip_script, "--version") == VERSION


def test_the_types_of_the_library_reach_who_imports_it(pip_script):
    import glob

    python = os.path.dirname(os.path.dirname(pip_script))
    assert len(glob.glob(python + "/lib/python*/site-packages/minictr/py.typed")) == 1


def test_every_door_gives_the_same_help(minictr, installed, pyz, pip_script):
    launched = minictr.command(installed + "/bin/minictr", "--help")
    assert launched.ok.out
    for command in ([PYTHON, pyz], [pip_script]):
        assert minictr.command(*(command + ["--help"])) == (0, launched.out, "")
    assert minictr("--help", state=False) == (0, launched.out, "")


def test_every_door_leaves_with_the_status_of_an_error(minictr, installed, pyz, pip_script):
    launched = minictr.command(installed + "/bin/minictr", "no-such-verb")
    assert launched.status == 125
    assert launched.err.startswith("minictr: ")
    for command in ([PYTHON, pyz], [pip_script], [PYTHON, "-m", "minictr"]):
        found = minictr.command(*(command + ["no-such-verb"]), env={"PYTHONPATH": CHECKOUT})
        assert found == (125, "", launched.err)


@needs("root", "busybox")
def test_every_door_runs_a_container(minictr, busybox_root, installed, pyz, pip_script):
    doors = [[installed + "/bin/minictr"], [PYTHON, pyz], [pip_script], [PYTHON, "-m", "minictr"]]
    words = ["--root", minictr.state(), "run", "--rootfs", busybox_root, "--", "sh", "-c", "echo $$; exit 7"]
    for door in doors:
        found = minictr.command(*(door + words), env={"PYTHONPATH": CHECKOUT})
        assert (found.status, found.out) == (7, "1\n"), found


# What loads modules that a plain run does not, with a word of what it says
RARE = [
    (["run", "--landlock", "rx=/", "--", "echo", "ran"], "ran"),
    (["run", "--require", "container", "--memory", "64m", "--", "echo", "ran"], "ran"),
    (
        ["run", "--init", "--time-offset", "9", "--security-opt", "no-new-privileges", "--", "echo", "ran"],
        "ran",
    ),
    (["report", "--", "true"], "level: "),
    (["explain", "--json", "--", "true"], "{"),
    (["doctor", "--json"], "{"),
    (["features"], "{"),
    (["stats"], "CPU %"),
    (["list"], "PID"),
]


@needs("root", "busybox", "landlock")
@pytest.mark.parametrize("words, says", RARE, ids=lambda value: " ".join(value[:2]) if value[1:] else "")
def test_every_door_leads_to_what_is_rarely_used(
    minictr, busybox_root, installed, pyz, pip_script, words, says
):
    if "--" in words:
        at = words.index("--")
        words = words[:at] + ["--rootfs", busybox_root] + words[at:]
    for door in ([installed + "/bin/minictr"], [PYTHON, pyz], [pip_script], [PYTHON, "-m", "minictr"]):
        found = minictr.command(*(door + ["--root", minictr.state()] + words), env={"PYTHONPATH": CHECKOUT})
        assert found.status == 0 and says in found.out, found


# --- make install -----------------------------------------------------------------------------


def test_the_launcher_names_its_python_and_its_library_absolutely(installed):
    with open(installed + "/bin/minictr") as file:
        text = file.read()
    assert text.startswith("#!%s -IS\n" % PYTHON)
    assert "place = '%s/lib/minictr'" % installed in text


def test_the_launcher_listens_to_no_python_variable_and_no_current_directory(minictr, installed, tmp_path):
    for name in ("minictr", "os", "struct", "site", "sitecustomize"):
        (tmp_path / (name + ".py")).write_text("raise SystemExit('a stranger was imported')\n")
    env = {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "os.py"), "PYTHONHOME": str(tmp_path)}
    found = minictr.command(installed + "/bin/minictr", "--version", cwd=str(tmp_path), env=env)
    assert found == VERSION


def loaded(minictr, launcher, *words, **options):
    """(modules that a launcher imports; those of minictr's that came from the pack; those compiled anew).

    What the pack makes by itself, beside what importlib asks it for, is not told.
    """
    found = minictr.command(PYTHON, "-ISv", launcher, *words, **options)
    modules = set(re.findall(r"^import '?([\w.]+)'? #", found.err, re.M))
    packed = set(re.findall(r"^import '?(minictr[.\w]*)'? # <Pack object", found.err, re.M))
    return modules, packed, re.findall(r"^# code object from '?(\S+/minictr/\w+\.py)\b", found.err, re.M)


def test_the_launcher_takes_the_files_where_the_pack_is_another_pythons(minictr, installed, tmp_path):
    copy = str(tmp_path / "usr")
    shutil.copytree(installed, copy)
    pack = copy + "/lib/minictr/minictr.pack"
    with open(pack, "r+b") as file:
        file.write(b"\0\0\0\0")
    with open(copy + "/bin/minictr") as file:
        text = file.read()
    with open(copy + "/bin/minictr", "w") as file:
        file.write(text.replace(installed, copy))
    assert minictr.command(copy + "/bin/minictr", "--version") == VERSION
    os.unlink(pack)
    assert minictr.command(copy + "/bin/minictr", "--version") == VERSION


def test_the_launcher_compiles_nothing(minictr, installed):
    for folder, _, names in os.walk(installed + "/lib/minictr"):
        for name in names:
            if name.endswith(".py") and sys.version_info >= (3, 7):
                os.utime(os.path.join(folder, name), (1, 1))  # as an image builder would
    modules, packed, compiled = loaded(minictr, installed + "/bin/minictr", "--version")
    assert {"minictr", "minictr.__main__", "minictr.cli"} <= packed
    assert packed == {name for name in modules if name.split(".")[0] == "minictr"}
    assert not compiled


def test_the_launcher_imports_nothing_dear(minictr, installed):
    modules, _, _ = loaded(minictr, installed + "/bin/minictr", "--version")
    assert not modules & (DEAR | {"runpy", "site"})


@needs("root", "busybox")
def test_a_start_imports_nothing_dear_and_compiles_nothing(minictr, installed, busybox_root):
    words = ["--root", minictr.state(), "run", "--rootfs", busybox_root, "--", "true"]
    modules, packed, compiled = loaded(minictr, installed + "/bin/minictr", *words)
    assert not modules & (DEAR | {"runpy", "site", "os", "_collections_abc", "_socket"})
    assert "minictr.lifecycle" in packed
    assert packed == {name for name in modules if name.split(".")[0] == "minictr"}
    assert not compiled


LEFT_OUT = [
    (
        ["run", "--rootfs", "ROOT", "--", "true"],
        "joined libc_rare living middle newuidmap setns sound variables",
    ),
    (["state", "nobody"], "cgroup cgroup_files foreground orphans subids sync words"),
    (["kill", "nobody"], "cgroup cgroup_files foreground orphans subids sync"),
]


@needs("root", "busybox")
@pytest.mark.parametrize("words, others", LEFT_OUT, ids=[words[0] for words, _ in LEFT_OUT])
def test_what_is_for_others_alone_is_not_loaded(minictr, installed, busybox_root, words, others):
    words = [busybox_root if word == "ROOT" else word for word in words]
    place = installed + "/lib/minictr"
    text = "import sys; sys.path.append(%r); from minictr.__main__ import main; main()" % place
    found = minictr.command(PYTHON, "-ISv", "-c", text, "--root", minictr.state(), *words)
    modules = set(re.findall(r"^import '?minictr\.(\w+)'? #", found.err, re.M))
    assert "state" in modules
    assert not modules.intersection(others.split())


# cgroups of either version, --memory and how it ends, a terminal, a bundle with hooks, a profile of AppArmor
MANY = "cgroup_v1 cgroup_v2 devices_bpf cgroup_mount cgroup_stats oom terminal console hooks lsm".split()


@pytest.mark.parametrize("name", MANY)
def test_what_many_starts_need_imports_nothing_dear_either(minictr, installed, name):
    text = "import sys; sys.path.append(%r); import minictr.%s" % (installed + "/lib/minictr", name)
    modules, _, _ = loaded(minictr, "-c", text)
    assert "minictr." + name in modules
    assert not modules & (DEAR | {"runpy", "site", "os", "_collections_abc", "_socket"})


@needs("root", "root-mount", "unshare")
def test_the_launcher_works_from_a_read_only_disk(minictr, installed):
    script = textwrap.dedent("""\
        mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" || exit 9
        if touch "$0/x" 2>/dev/null; then exit 8; fi
        exec "$0/bin/minictr" --version
    """)
    found = minictr.command("unshare", "-m", "sh", "-c", script, installed)
    assert found == VERSION


def test_what_is_installed_is_for_everybody_to_read_whatever_the_umask(minictr, tree, tmp_path):
    prefix = str(tmp_path / "usr")
    command = ["make", "-C", tree, "install", "PREFIX=" + prefix, "PYTHON=" + PYTHON]
    assert minictr.command(*command, umask=0o077).status == 0
    for folder, _, names in os.walk(prefix + "/lib"):
        assert os.stat(folder).st_mode & 0o777 == 0o755
        for name in names:
            assert os.stat(os.path.join(folder, name)).st_mode & 0o777 == 0o644
    assert os.stat(prefix + "/bin/minictr").st_mode & 0o777 == 0o755


def test_destdir_is_where_it_is_built_and_not_where_it_is_looked_for(tree, tmp_path):
    stage = str(tmp_path / "stage")
    make(tree, "install", "PREFIX=/opt/x", "DESTDIR=" + stage, "PYTHON=" + PYTHON)
    with open(stage + "/opt/x/bin/minictr") as file:
        assert "place = '/opt/x/lib/minictr'" in file.read()
    for folder, _, names in os.walk(stage):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                assert stage.encode() not in file.read(), name


def test_a_launcher_without_its_library_says_so(minictr, tree, tmp_path):
    """As in the stage of a package that is being built."""
    stage, prefix = str(tmp_path / "stage"), str(tmp_path / "usr")
    make(tree, "install", "PREFIX=" + prefix, "DESTDIR=" + stage, "PYTHON=" + PYTHON)
    hint = "put what was installed there, the whole of DESTDIR, or make install with another PREFIX"
    said = "minictr: find its library: there is none in %s/lib/minictr; hint: %s\n" % (prefix, hint)
    assert minictr.command(stage + prefix + "/bin/minictr", "--version") == (125, "", said)


def test_a_launcher_takes_the_library_of_another_version(minictr, tree, tmp_path):
    """Which is there when the stage of one is tried, or while another is put in place."""
    other, stage, prefix = [str(tmp_path / name) for name in ("tree", "stage", "usr")]
    shutil.copytree(tree, other, ignore=shutil.ignore_patterns("dist", "build"))
    with open(other + "/minictr/more.py", "w") as file:
        file.write("from . import abi, errors\n")
    make(other, "install", "PREFIX=" + prefix, "PYTHON=" + PYTHON)
    make(tree, "install", "PREFIX=" + prefix, "DESTDIR=" + stage, "PYTHON=" + PYTHON)
    assert minictr.command(stage + prefix + "/bin/minictr", "--version") == VERSION


@pytest.mark.parametrize("name", ["a b", "a'b", 'a"b', "a\\b;`x`", "a$$x"])
def test_a_place_may_be_called_whatever(minictr, tree, tmp_path, name):
    make(tree, "install", "PREFIX=%s/%s" % (tmp_path, name), "PYTHON=" + PYTHON)
    launcher = "%s/%s/bin/minictr" % (tmp_path, name.replace("$$", "$"))  # which make has its own use for
    assert minictr.command(launcher, "--version") == VERSION
    make(tree, "uninstall", "PREFIX=%s/%s" % (tmp_path, name))
    assert not os.path.exists(launcher)


def test_a_python_with_a_blank_is_refused(minictr, tree, tmp_path):
    command = ["make", "-C", tree, "install", "PREFIX=%s" % tmp_path, "PYTHON=/a b/python3"]
    said = "PYTHON must be a path without blanks: the launcher's first line has no quotes\n"
    assert minictr.command(*command).err.startswith(said)
    assert os.listdir(str(tmp_path)) == []


def test_installing_again_leaves_no_module_of_the_old_version(tree, tmp_path):
    prefix = str(tmp_path / "usr")
    make(tree, "install", "PREFIX=" + prefix, "PYTHON=" + PYTHON)
    old = prefix + "/lib/minictr/minictr/old.py"
    open(old, "w").close()
    make(tree, "install", "PREFIX=" + prefix, "PYTHON=" + PYTHON)
    assert not os.path.exists(old)


def test_uninstall_takes_away_what_install_brought(tree, tmp_path):
    prefix = str(tmp_path / "usr")
    make(tree, "install", "PREFIX=" + prefix, "PYTHON=" + PYTHON)
    (tmp_path / "usr" / "lib" / "other").mkdir()
    make(tree, "uninstall", "PREFIX=" + prefix)
    found = [
        os.path.join(folder, name)[len(prefix) :]
        for folder, dirs, names in os.walk(prefix)
        for name in dirs + names
    ]
    assert sorted(found) == ["/bin", "/lib", "/lib/other"]


# --- make dist --------------------------------------------------------------------------------


def test_the_one_file_is_the_same_whenever_it_is_built(tree, pyz, tmp_path):
    again = str(tmp_path / "again")
    shutil.copytree(tree, again, ignore=shutil.ignore_patterns("dist"))
    for folder, _, names in os.walk(again):
        for name in names:
            os.utime(os.path.join(folder, name), (10**9, 10**9))
    make(again, "dist", "PYTHON=" + PYTHON)
    with open(pyz, "rb") as one, open(again + "/dist/minictr.pyz", "rb") as other:
        assert one.read() == other.read()


def test_the_one_file_compiles_nothing(minictr, pyz):
    modules, packed, compiled = loaded(minictr, pyz, "--version")
    assert {"minictr", "minictr.__main__", "minictr.cli"} <= packed
    assert packed == {name for name in modules if name.split(".")[0] == "minictr"}
    assert not compiled


def test_the_one_file_takes_its_sources_where_no_pack_is_this_pythons(minictr, pyz, tmp_path):
    import importlib.util

    with open(pyz, "rb") as file:
        content = file.read()
    magic = importlib.util.MAGIC_NUMBER
    other = bytes([magic[0] ^ 1]) + magic[1:]
    for place, old, new in (
        ("the pack itself", magic, other),
        ("what the door knows", repr(magic).encode(), repr(other).encode()),
    ):
        assert content.count(old), place
        (tmp_path / "other.pyz").write_bytes(content.replace(old, new, 1))
        assert minictr.command(PYTHON, str(tmp_path / "other.pyz"), "--version") == VERSION
        _, packed, _ = loaded(minictr, str(tmp_path / "other.pyz"), "--version")
        assert not packed, place


# --- the sources ------------------------------------------------------------------------------

SOURCES = [
    os.path.join(folder, name)
    for top in ("minictr", "tests")
    for folder, _, names in os.walk(os.path.join(CHECKOUT, top))
    for name in sorted(names)
    if name.endswith(".py")
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: os.path.relpath(path, CHECKOUT))
def test_every_source_is_python_3_6(path):
    with open(path) as file:
        text = file.read()
    if sys.version_info < (3, 8):  # ast.parse cannot look back yet; this Python has hardly more than 3.6
        compile(text, path, "exec", dont_inherit=True)
        return
    parsed = ast.parse(text, path, feature_version=(3, 6))
    for node in ast.walk(parsed):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            assert node.names[0].name != "annotations"  # a name that 3.6 does not know
        assert not isinstance(node, ast.NamedExpr)  # the parser lets these two pass
        assert not (isinstance(node, ast.arguments) and node.posonlyargs)


PACKAGE = [path for path in SOURCES if path.startswith(os.path.join(CHECKOUT, "minictr"))]


@pytest.mark.skipif(not hasattr(sys, "stdlib_module_names"), reason="3.10 can list its library")
def test_the_package_imports_the_standard_library_alone():
    for path in PACKAGE:
        with open(path) as file:
            parsed = ast.parse(file.read(), path)
        for node in ast.walk(parsed):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in names:
                assert name.split(".")[0] in sys.stdlib_module_names, "%s imports %s" % (path, name)


def test_no_command_needs_what_is_the_librarys_alone():
    """Which looks for its own place by __file__, that a module from the launcher's pack has not."""
    librarys = {"asking", "attended", "library", "service", "watch", "whole"}
    for path in PACKAGE:
        with open(path) as file:
            parsed = ast.parse(file.read(), path)
        found = set()
        for node in ast.walk(parsed):
            if isinstance(node, ast.ImportFrom) and node.level:
                found |= {node.module} if node.module else {alias.name for alias in node.names}
        name = os.path.basename(path)[:-3]
        assert name in librarys | {"__init__"} or not found & librarys, path


def test_only_libc_imports_ctypes():
    for path in PACKAGE:
        with open(path) as file:
            found = re.search(r"^\s*(import|from) _?ctypes", file.read(), re.M)
        assert bool(found) == (os.path.basename(path) == "libc.py"), path


def test_what_runs_inside_opens_no_text_file():
    """open() may ask for a codec by the locale, whose module lies outside the root."""
    inside = 0
    for path in PACKAGE:
        with open(path) as file:
            parsed = ast.parse(file.read(), path)
        if not (ast.get_docstring(parsed) or "").endswith(("Side: container", "Side: both")):
            continue
        inside += 1
        for node in ast.walk(parsed):
            called = node.func if isinstance(node, ast.Call) else None
            assert not (isinstance(called, ast.Name) and called.id == "open"), (path, called.lineno)
    assert inside > 20


# --- the suite --------------------------------------------------------------------------------

LEAVES = {
    "a process": ("subprocess.Popen(['setsid', '-f', 'sleep', '1000'])", "process .*sleep 1000"),
    "a mount": ("subprocess.run(['mount', '-t', 'tmpfs', 'x', place])", "mount .*/left-.* \\(tmpfs of /\\)"),
    "a cgroup": ("os.mkdir(cgroup + '/minictr-left-%d' % os.getpid())", "cgroup .*/minictr-left"),
    "a container's cgroup": ("os.mkdir(cgroup + spec.cgroup_of('x', place + '/x'))", "cgroup .*/minictr-x-"),
    "a file": ("open(os.environ['LEFT'], 'w').close()", "file /dev/shm/minictr-left"),
}

INNER = """\
import os, subprocess
import leftovers, support
from minictr import spec
leftovers.SETTLE = 0.3

def test_it(minictr):
    place = support.SESSION.place("left")
    cgroup = support.cgroup_mounts()[0][1] if support.cgroup_mounts() else ""
    %s
"""


@needs("root", "cgroup", "ps")
@pytest.mark.parametrize("what", sorted(LEAVES))
def test_the_suite_fails_when_a_test_leaves(minictr, tmp_path, what):
    statement, named = LEAVES[what]
    left = "/dev/shm/minictr-left-%d" % os.getpid()
    try:
        found = run_suite(minictr, tmp_path, INNER.replace("%s", statement), LEFT=left)
    finally:
        if what == "a file":
            os.unlink(left)
    assert found.status == 1
    assert "left behind" in found.out
    assert re.search(named, found.out)


@needs("root")
def test_the_suite_passes_when_a_test_leaves_nothing(minictr, tmp_path):
    found = run_suite(minictr, tmp_path, INNER % "pass")
    assert found.status == 0, found


@needs("root", "cgroup")
def test_a_suite_leaves_alone_what_another_makes_at_the_same_time(minictr, tmp_path):
    """Cgroups in which nobody lives, a note of a container that has ended, a mount."""
    first, second, flag = tmp_path / "first", tmp_path / "second", str(tmp_path / "flag-")
    for place in (first, second):
        place.mkdir()
    body = """
    import contextlib, json, shutil
    flag, state = os.environ["FLAG"], support.SESSION.place("state")
    support.wait_until(lambda: os.path.exists(flag + "second"), 30)
    made = [cgroup + "/minictr-test-%d-7" % os.getpid(), cgroup + spec.cgroup_of("x", state + "/x")]
    note = "/run/minictr/test-%d" % os.getpid()
    for folder in made:
        os.mkdir(folder)
    os.makedirs(note)
    for name in ("config.json", "state.json"):
        with open(note + "/" + name, "w") as file:
            json.dump({"bundle": place}, file)
    subprocess.run(["mount", "-t", "tmpfs", "x", place], check=True)
    open(flag + "first", "w").close()
    support.wait_until(lambda: os.path.exists(flag + "over"), 30)
    subprocess.run(["umount", place], check=True)
    for folder in made:
        os.rmdir(folder)
    shutil.rmtree(note)
    with contextlib.suppress(OSError):  # it was there, or another has put something in it
        os.rmdir("/run/minictr")
"""
    live = start_suite(minictr, first, INNER.replace("%s", body), FLAG=flag)
    body = """
    flag = os.environ["FLAG"]
    open(flag + "second", "w").close()
    support.wait_until(lambda: os.path.exists(flag + "first"), 30)
"""
    found = run_suite(minictr, second, INNER.replace("%s", body), FLAG=flag)
    open(flag + "over", "w").close()
    assert found.status == 0, found
    done = live.wait()
    assert done.status == 0, done


def test_the_suite_looks_into_directories_however_deep_they_are(tmp_path):
    """As cgroups of somebody else's may be; os.walk() of Python 3.11 and before ends at 1,000."""
    top, depth = str(tmp_path / "top"), sys.getrecursionlimit() + 100
    try:
        os.makedirs(top)
        made = [top]
        for _ in range(depth):
            made.append(made[-1] + "/d")
            os.mkdir(made[-1])
        assert list(leftovers.folders(top)) == made
    finally:
        subprocess.run(["rm", "-rf", top], check=True)  # shutil.rmtree() does no better


@needs("root", "debian")
def test_on_ci_a_missing_package_is_a_failure(minictr, tmp_path):
    text = INNER % "support.NEEDS['x'] = (lambda: 'there is no x', 'x-package'); support.require('x')"
    assert run_suite(minictr, tmp_path, text, CI=None).status == 0
    found = run_suite(minictr, tmp_path, text, CI="true")
    assert found.status == 1
    assert "there is no x; the package x-package has it" in found.out


@needs("root", "useradd")
def test_users_are_made_and_removed_with_their_ranges(minictr, tmp_path):
    text = textwrap.dedent("""\
        def test_users(minictr, ranged, unranged):
            for name in ("subuid", "subgid"):
                with open("/etc/" + name) as file:
                    lines = file.read().splitlines()
                assert "%s:%d:65536" % (ranged.name, ranged.start) in lines
                assert not [line for line in lines if line.startswith(unranged.name)]
            assert minictr.command("id", "-u", user=ranged).fields == [str(ranged.uid)]
            assert minictr.command("touch", "x", user=unranged, cwd=unranged.home) == (0, "", "")
    """)
    before = databases()
    assert run_suite(minictr, tmp_path, text).status == 0
    assert databases() == before


def databases():
    found = {}
    for path in ("/etc/passwd", "/etc/group", "/etc/subuid", "/etc/subgid"):
        if os.path.exists(path):
            with open(path) as file:
                lines = [line for line in file if not of_another_run(line)]
                found[path] = sorted(lines)  # the order of lines is useradd's own affair
    return found


def of_another_run(line):
    """Of one that is under way still, as that which is looked at is not."""
    found = re.match("[^:]*?%s([0-9]+)[a-z]:" % accounts.PREFIX, line)
    return bool(found) and not support.gone(int(found.group(1)))


def run_suite(minictr, place, text, **env):
    """Run the suite's frame, copied to PLACE, with a test module of the one TEXT."""
    return start_suite(minictr, place, text, **env).wait()


def start_suite(minictr, place, text, **env):
    tests = str(place / "tests")
    if not os.path.exists(tests):
        os.mkdir(tests)
        for name in os.listdir(os.path.join(CHECKOUT, "tests")):
            if name.endswith(".py") and not name.startswith("test_"):
                shutil.copy(os.path.join(CHECKOUT, "tests", name), tests)
        shutil.copy(os.path.join(CHECKOUT, "setup.cfg"), str(place))
        shutil.copytree(os.path.join(CHECKOUT, "minictr"), str(place / "minictr"))
    with open(tests + "/test_inner.py", "w") as file:
        file.write(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    return minictr.start_command(*command, cwd=str(place), env=env)


def test_every_user_can_run_this_python_and_read_the_package(minictr, unranged):
    found = minictr.command(
        support.python(), "-c", "import _ctypes, struct, minictr.libc", user=unranged,
        env={"PYTHONPATH": support.checkout()},
    )  # fmt: skip
    assert found.ok


def test_a_link_in_a_closed_directory_is_in_nobodys_reach(tmp_path):
    """As a virtual environment's Python is, where the checkout lies in root's home."""
    (tmp_path / "python").symlink_to("/bin/sh")
    assert roots.reachable("/bin/sh")
    assert roots.reachable(str(tmp_path / "python"))
    tmp_path.chmod(0o700)
    assert not roots.reachable(str(tmp_path / "python"))


@needs("root", "root-mount", "busybox", "make", "cgroup")
def test_the_benchmark_measures_everyone_and_leaves_nothing(minictr, tmp_path):
    script = os.path.join(CHECKOUT, "tests", "bench.py")
    env = {"TMPDIR": str(tmp_path)}
    found = minictr.command(PYTHON, script, "--runs", "1", "--gaps", "0", env=env)
    assert (found.status, found.err) == (0, ""), found
    assert "left out: minictr" not in found.out
    for name in ("minictr run --bundle", "minictr run --rootfs", "minictr run --cgroups disabled --rootfs"):
        rows = [line.split()[len(name.split()) :] for line in found.lines if line.startswith("  %s " % name)]
        assert [len(row) for row in rows] == [3, 4], found
        assert float(rows[0][0]) > 1
        assert int(rows[1][1]) > 1000
    assert os.listdir(str(tmp_path)) == []


@needs("root", "busybox", "make", "cgroup")
def test_the_benchmark_of_the_verbs_does_too(minictr, tmp_path):
    script = os.path.join(CHECKOUT, "tests", "bench_verbs.py")
    env = {"TMPDIR": str(tmp_path)}
    found = minictr.command(PYTHON, script, "--runs", "1", "--living", "1,2", env=env)
    assert (found.status, found.err) == (0, ""), found
    rows = [line.split()[1:] for line in found.lines if line.startswith("minictr ") and "among" not in line]
    assert [len(row) for row in rows] == [10] and min(float(time) for time in rows[0][::2]) > 1, found
    assert [line.split()[0] for line in found.lines[-3:-1]] == ["1", "2"], found
    assert found.lines[-1] == "processes of minictr that stay beside them: 0", found
    assert os.listdir(str(tmp_path)) == []
