"""The host's interpreter cannot be reached from a container whose root is the host's (CVE-2019-5736)."""

import errno
import os
import shutil
import stat
import sys
import textwrap

import pytest
import support
from interpreters import executable, load_by, state_of
from support import needs

from minictr import program, standin

pytestmark = [
    needs("root", "busybox"),
    pytest.mark.skipif(not standin.supported(), reason="there is no stand-in for this machine"),
]

PYTHON = os.path.realpath(sys.executable)
HOST = ("run", "--userns", "host")


@pytest.fixture(autouse=True)
def _the_interpreter_is_as_it_was():
    before = state_of(PYTHON)
    yield
    assert state_of(PYTHON) == before


EVIL = """\
#!%s
print("the interpreter of the host has run")
open("/tmp/it-ran", "w").close()
try:
    open("/proc/self/exe", "r+b").write(b"evil")
except Exception as error:
    print(error)
"""


@pytest.mark.parametrize(
    "name", ["/proc/self/exe", "/proc/1/exe", "/proc/thread-self/exe", "/proc/self/task/1/exe"]
)
@pytest.mark.parametrize(
    "extra", [(), ("--cap-add", "ALL"), ("--init",)], ids=["", "all capabilities", "init"]
)
def test_an_entry_point_that_names_our_executable_gains_nothing(minictr, busybox_copy, name, extra):
    root = busybox_copy()
    executable(root + "/entry", EVIL % name)
    found = minictr(*(HOST + extra + ("--rootfs", root, "--", "/entry")))
    assert found.status != 0
    assert "interpreter" not in found.out + found.err or "is missing in the root" in found.err, found
    assert not os.path.exists(root + "/tmp/it-ran")


def test_an_entry_point_that_is_a_link_to_our_executable_gains_nothing(minictr, busybox_copy):
    root = busybox_copy()
    os.symlink("/proc/self/exe", root + "/entry")
    found = minictr(*(HOST + ("--rootfs", root, "--", "/entry", "-c", "print('ran')")))
    assert (found.status != 0, found.out) == (True, "")


# What a container would have a dynamic program loaded by: it tells whose /proc/self/exe it has become
LOADER = """\
    .text
    lea rdi, [rip + path]
    sub rsp, 4096
    mov rsi, rsp
    mov edx, 4096
    mov eax, 89             # readlink
    syscall
    mov edx, eax
    mov rsi, rsp
    mov edi, 1
    mov eax, 1              # write
    syscall
    xor edi, edi
    mov eax, 231            # exit_group
    syscall
path:
    .asciz "/proc/self/exe"
"""


def with_the_loader(root, python):
    """Have ROOT load our executable PYTHON by LOADER, and an entry that leads to it."""
    load_by(root, python, LOADER)
    os.symlink("/proc/self/exe", root + "/entry")


x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the loader is written for x86_64")


@x86_64
@needs("as-x86_64", "readelf")
def test_a_loader_of_the_containers_does_not_get_our_executable_to_hold(minictr, busybox_copy):
    """The whole attack: a link to our executable, and a loader that is run with it as /proc/self/exe. It
    could open that, become another program, and then write."""
    root = busybox_copy()
    with_the_loader(root, PYTHON)
    found = minictr(*(HOST + ("--rootfs", root, "--", "/entry")))
    assert (found.status != 0, found.out) == (True, "")


@x86_64
@needs("as-x86_64", "readelf", "rootless")
@pytest.mark.parametrize("name", ["ranged", "unranged"])
def test_a_user_whose_own_interpreter_it_is_is_as_safe(minictr, busybox_copy, request, name):
    """Root inside is the user outside, and may write what belongs to the user."""
    account = request.getfixturevalue(name)
    root = busybox_copy()
    original = os.path.realpath(support.python())
    place = account.place("python")
    os.mkdir(place + "/bin")
    os.symlink(os.path.dirname(os.path.dirname(original)) + "/lib", place + "/lib")
    python = shutil.copy(original, place + "/bin")
    for path in (place, place + "/bin", python):
        os.chown(path, account.uid, account.gid)
    with_the_loader(root, python)
    words = [python, "-m", "minictr", "--root", minictr.state(account), "run", "--rootfs", root, "--"]
    env = {"PYTHONPATH": support.checkout()}
    assert minictr.command(*words, "echo", "ran", user=account, env=env).out == "ran\n"
    found = minictr.command(*words, "/entry", user=account, env=env)
    assert (found.status != 0, found.out) == (True, "")


# /proc/1/exe, and every descriptor of process 1, as a program sees them that runs as root with everything
LOOK = """\
for n in /proc/[0-9]*/exe; do stat -L -c '%d:%i' $n; done
for n in /proc/1/fd/*; do stat -L -c '%d:%i' $n 2>/dev/null; done
grep -o '[^ ]*python[^ ]*' /proc/1/maps /proc/1/mountinfo /proc/1/environ
true
"""


@pytest.mark.parametrize("form", ["native", "bundle"])
def test_no_name_under_proc_leads_to_the_interpreter(minictr, busybox_copy, form):
    root = busybox_copy()
    busybox = os.stat(root + "/bin/busybox")
    found = run_form(minictr, form, root, ["sh", "-c", LOOK])
    assert found.ok.lines
    own = os.stat(PYTHON)
    assert "%d:%d" % (own.st_dev, own.st_ino) not in found.lines
    assert found.lines[0] == "%d:%d" % (busybox.st_dev, busybox.st_ino)
    assert "python" not in found.out


def run_form(minictr, form, root, command, **options):
    """Run COMMAND as root with every capability, in a container without a user namespace of its own."""
    if form == "native":
        return minictr(*(HOST + ("--cap-add", "ALL", "--rootfs", root, "--") + tuple(command)), **options)
    import bundles

    made = bundles.Bundle(root)
    made.process["args"] = command
    made.config["root"]["readonly"] = False
    everything = ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]
    made.process["capabilities"] = dict.fromkeys(("bounding", "permitted", "effective"), everything)
    return bundles.Runtime("minictr", minictr).run(made, **options)


def test_the_reaper_cannot_be_reached_without_the_capability_to_trace(minictr, busybox_copy):
    root = busybox_copy()
    words = HOST + (
        "--init",
        "--rootfs",
        root,
        "--",
        "sh",
        "-c",
        "readlink /proc/1/exe; cat /proc/1/maps; true",
    )
    found = minictr(*words)
    assert found.out == "", found


def test_a_program_never_meets_the_interpreter_while_others_are_started(minictr, busybox_copy):
    """A container that shares the host's processes looks at each that comes, as fast as it can."""
    root = busybox_copy()
    # Until it is told: a number of looks would take minutes where there are many processes, or by emulation
    script = """\
        there=" $(echo /proc/[0-9]*) "
        while [ ! -e /over ]; do
            for n in /proc/[0-9]*; do
                case "$there" in *" $n "*) ;; *) readlink $n/exe;; esac
            done
            >/looked
        done 2>/dev/null | grep -c "^$0" ; true
    """
    watcher = minictr.start(
        *(HOST + ("--pid", "host", "--rootfs", root, "--", "sh", "-c", textwrap.dedent(script), PYTHON))
    )
    try:
        support.wait_until(lambda: os.path.exists(root + "/looked"), 60, "no look at the processes was taken")
        for _ in range(5):
            assert minictr(*(HOST + ("--rootfs", root, "--", "true"))).ok
    finally:
        open(root + "/over", "w").close()
    found = watcher.wait()
    assert (found.status, found.out) == (0, "0\n"), found


# --- errors through the stand-in -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, status, words",
    [
        ("missing", 127, "stat /entry: no such file or directory"),
        ("a directory", 126, "is a directory: permission denied"),
        (
            "not executable",
            126,
            "permission denied; hint: " + program._HINTS[errno.EACCES],
        ),
        (
            "garbage",
            126,
            "exec format error; hint: " + program._HINTS[errno.ENOEXEC],
        ),
        (
            "no interpreter",
            127,
            "no such file or directory; hint: its interpreter or loader is missing in the root",
        ),
        (
            "no loader",
            127,
            "no such file or directory; hint: its interpreter or loader is missing in the root",
        ),
        ("a loop", 127, "stat /entry: too many levels of symbolic links: no such file or directory"),
        ("below a file", 127, "stat /entry: not a directory: no such file or directory"),
    ],
)
@pytest.mark.parametrize("userns", ["host", "auto"])
def test_what_cannot_be_run_has_its_words_and_its_status(minictr, busybox_copy, kind, status, words, userns):
    root = busybox_copy()
    path = root + "/entry"
    command = "/entry"
    if kind == "a directory":
        os.mkdir(path)
    elif kind == "not executable":
        executable(path, "#!/bin/sh\n")
        os.chmod(path, 0o644)
    elif kind == "garbage":
        executable(path, "\1\2\3 no program\n")
    elif kind == "no interpreter":
        executable(path, "#!/no/such\n")
    elif kind == "no loader":
        with open("/bin/true", "rb") as file:
            data = file.read()
        if b"ld-" not in data[:8192]:
            pytest.skip("/bin/true is static here")
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, 0o755)
    elif kind == "a loop":
        os.symlink("entry", path)
    elif kind == "below a file":
        open(path, "w").close()
        command, words = "/entry/x", words.replace("/entry", "/entry/x")
    found = minictr("run", "--userns", userns, "--rootfs", root, "--", command)
    assert found == (status, "", 'minictr: exec: "%s": %s\n' % (command, words))


def test_a_program_from_the_path_is_found_and_told_its_own_name(minictr, busybox_copy):
    root = busybox_copy()
    executable(root + "/usr/bin/tool", '#!/bin/sh\necho "$0" "$@"\n')
    found = minictr(*(HOST + ("--rootfs", root, "--", "tool", "a", "b c")))
    assert found.ok.out == "/usr/bin/tool a b c\n"
    found = minictr(*(HOST + ("--rootfs", root, "--", "sh", "-c", 'cat /proc/$$/cmdline | tr "\\0" "|"')))
    assert found.ok.out.startswith("sh|-c|")


def test_no_descriptor_of_ours_leaks_through_the_stand_in(minictr, busybox_copy):
    found = minictr(*(HOST + ("--rootfs", busybox_copy(), "--", "sh", "-c", "ls /proc/$$/fd; true")))
    assert found.ok.fields == ["0", "1", "2"]


def test_a_filter_and_a_personality_of_the_configuration_do_not_stop_the_stand_in(minictr, busybox_copy):
    """uname and memfd_create may be refused, and the filter is in force early without no_new_privs."""
    import bundles

    made = bundles.Bundle(busybox_copy())
    made.process["noNewPrivileges"] = False
    made.process["args"] = ["echo", "ran"]
    made.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {
                "names": ["uname", "memfd_create", "ftruncate", "pwrite64"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 1,
            }
        ],
    }
    if os.uname().machine == "x86_64":
        made.linux["personality"] = {"domain": "LINUX32"}
    assert bundles.Runtime("minictr", minictr).run(made).ok.out == "ran\n"


def test_the_stand_in_is_for_nobody_to_write(minictr, busybox_copy):
    """Whoever holds a descriptor of it (here, through the interpreter line) finds a sealed file."""
    root = busybox_copy()
    mode = os.stat(PYTHON).st_mode
    assert stat.S_ISREG(mode)
    executable(root + "/entry", "#!/proc/self/exe\n")
    for _ in range(3):
        assert minictr(*(HOST + ("--rootfs", root, "--", "/entry"))).status != 0
    assert os.stat(PYTHON).st_mode == mode


@needs("unshare")
@pytest.mark.skipif(not os.path.exists("/proc/sys/vm/memfd_noexec"), reason="Linux before 6.3")
def test_where_no_file_in_memory_may_be_executed_that_is_told_and_what_would_allow_it(minictr, busybox_root):
    """In a PID namespace of the test's own, which the setting is of."""
    script = 'echo 2 >/proc/sys/vm/memfd_noexec && exec "$@"'
    words = HOST + ("--rootfs", busybox_root, "--", "true")
    words = ("sh", "-c", script, "sh", sys.executable, "-m", "minictr", "--root", minictr.state(None)) + words
    env = {"PYTHONPATH": support.CHECKOUT}
    found = minictr.command("unshare", "--pid", "--fork", "--mount-proc", *words, env=env)

    fix = "echo vm.memfd_noexec=1 >> /etc/sysctl.d/90-minictr.conf && sysctl -p /etc/sysctl.d/90-minictr.conf"
    why = "vm.memfd_noexec is 2: no file in memory may be executed"
    assert (found.status, found.err) == (125, "minictr: make the stand-in: %s; hint: %s\n" % (why, fix))
