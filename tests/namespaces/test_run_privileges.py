"""`run`: capabilities, what --security-opt lifts, and the user namespace that is asked for."""

import os
import stat

import pytest
import refusal
import support
from callers import RANGE, root_range
from support import needs

from minictr import privileged

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")

DEFAULT = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE "
    "SYS_CHROOT KILL AUDIT_WRITE"
).split()
STATUS = ["cat", "/proc/self/status"]


def mask(names):
    return sum(1 << refusal.CAPABILITIES.index(name) for name in names)


def status_of(run):
    lines = [line.partition(":") for line in run.ok.lines]
    return {name: value.strip() for name, _, value in lines}


def capabilities(run):
    """The sets that /proc/self/status shows, by Bnd, Prm, Eff, Inh, Amb."""
    return {name[3:]: int(value, 16) for name, value in status_of(run).items() if name.startswith("Cap")}


def every_capability():
    """What the kernel knows, as far as this process has it to give."""
    with open("/proc/self/status") as file:
        (line,) = [line for line in file if line.startswith("CapBnd:")]
    return int(line.split()[1], 16)


@pytest.fixture
def inside(minictr, strong_caller, busybox_root):
    def run(command, *options, **more):
        command = ["sh", "-c", command] if isinstance(command, str) else command
        words = list(options) + ["--read-only", "--rootfs", busybox_root, "--"] + list(command)
        return minictr("run", *words, **dict(strong_caller.options, **more))

    run.caller = strong_caller
    return run


# --- capabilities -------------------------------------------------------------------------------


def test_the_default_capabilities(inside):
    kept = mask(DEFAULT)

    assert capabilities(inside(STATUS)) == {"Bnd": kept, "Prm": kept, "Eff": kept, "Inh": 0, "Amb": 0}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--cap-add", "NET_ADMIN"), DEFAULT + ["NET_ADMIN"]),
        (("--cap-add", "CAP_NET_ADMIN,sys_admin"), DEFAULT + ["NET_ADMIN", "SYS_ADMIN"]),
        (("--cap-drop", "CHOWN"), [name for name in DEFAULT if name != "CHOWN"]),
        (("--cap-drop", "ALL"), []),
        (("--cap-drop", "all", "--cap-add", "KILL"), ["KILL"]),
    ],
    ids=" ".join,
)
def test_capabilities_added_and_taken_away(inside, options, names):
    kept = mask(names)

    assert capabilities(inside(STATUS, *options)) == {
        "Bnd": kept,
        "Prm": kept,
        "Eff": kept,
        "Inh": 0,
        "Amb": 0,
    }


def test_all_capabilities_are_those_of_the_user_namespace(inside):
    found = capabilities(inside(STATUS, "--cap-add", "ALL"))

    assert found["Bnd"] == found["Eff"] == found["Prm"]
    known = every_capability()
    assert found["Eff"] & known == known
    assert (found["Inh"], found["Amb"]) == (0, 0)


@pytest.mark.parametrize("user", ["app", "4321"])
def test_another_user_holds_none_but_could_be_given_some(inside, user):
    found = capabilities(inside(STATUS, "-u", user))

    assert (found["Eff"], found["Prm"], found["Inh"], found["Amb"]) == (0, 0, 0, 0)


def test_a_user_of_the_number_0_is_root_under_any_name(minictr, busybox_copy):
    root = busybox_copy()
    with open(os.path.join(root, "etc/passwd"), "a") as file:
        file.write("toor:x:0:0::/:/bin/sh\n")
    words = ("-u", "toor", "--cap-drop", "CHOWN", "--cap-add", "NET_ADMIN", "--rootfs", root, "--")
    kept = mask([name for name in DEFAULT + ["NET_ADMIN"] if name != "CHOWN"])

    found = capabilities(minictr("run", *(words + tuple(STATUS))))
    assert found == {"Bnd": kept, "Prm": kept, "Eff": kept, "Inh": 0, "Amb": 0}


@pytest.mark.parametrize(
    "options, kept",
    [
        ((), "CAP_KILL"),
        (("-u", "1"), "none; at most CAP_KILL"),
        (("-u", "1", "--cap-add", "CHOWN"), "CAP_CHOWN; at most CAP_CHOWN, CAP_KILL"),
    ],
)
def test_the_plan_says_which_capabilities_the_program_has(minictr, busybox_root, options, kept):
    dropped = ("--cap-drop", ",".join(name for name in DEFAULT if name not in ("KILL", "CHOWN")))
    dropped += () if "--cap-add" in options else ("--cap-drop", "CHOWN")
    run = minictr("explain", *(dropped + options + ("--rootfs", busybox_root, "--", "true"))).ok
    (line,) = [line for line in run.lines if "capabilities" in line]
    assert line.partition("keep the capabilities ")[2] == kept


GIVEN = ("-u", "1", "--cap-drop", "CHOWN", "--cap-add", "NET_ADMIN")
BOUND = mask([name for name in DEFAULT + ["NET_ADMIN"] if name != "CHOWN"])
OWN, MORE = mask(["NET_ADMIN"]), mask(["NET_RAW"])


@pytest.mark.parametrize(
    "options, held, passed_on",
    [
        ((), OWN, OWN),
        (("--user", "1:5"), OWN, OWN),
        (("--user", "0"), BOUND, 0),  # else root could do nothing: exec keeps no_new_privs
        (("--user", "root"), BOUND, 0),
        (("--user", "2"), 0, 0),
        (("--user", "2", "--cap", "CAP_NET_RAW"), MORE, MORE),
    ],
)
def test_a_further_program_of_another_user_has_what_that_user_has(minictr, inside, options, held, passed_on):
    assert inside(["sleep", "1000"], "-d", "--name", "box", *GIVEN).ok
    found = minictr("exec", *(options + ("box",) + tuple(STATUS)), **inside.caller.options)
    minictr("delete", "--force", "box", **inside.caller.options).ok

    expected = {"Bnd": BOUND, "Prm": held, "Eff": held, "Inh": passed_on, "Amb": passed_on}
    assert capabilities(found) == expected


def test_what_was_dropped_cannot_be_used(inside):
    assert inside("chown 1 /dev/shm", "--cap-drop", "CHOWN").err == (
        "chown: /dev/shm: Operation not permitted\n"
    )
    assert inside("chown 1 /dev/shm").ok


def test_capabilities_of_a_user_namespace_do_not_reach_the_host(inside):
    """All of them, and yet none over what is the host's."""
    script = (
        "mount -o remount,rw / ; echo 1 >/proc/sys/kernel/panic; mknod /dev/shm/x b 7 0; date -s 2000-01-01"
    )
    run = inside(script, "--cap-add", "ALL")

    assert len(run.err.splitlines()) == 4, run  # each of them refused


@pytest.mark.parametrize("option", ["--cap-add", "--cap-drop"])
def test_a_capability_that_does_not_exist_is_refused_by_name(inside, option):
    run = inside(["true"], option, "NO_SUCH")

    assert (run.status, run.out) == (125, "")
    assert run.err.startswith("minictr: %s NO_SUCH: " % option) and run.err.count("\n") == 1


# --- --security-opt -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ((), "1"),
        (("--security-opt", "no-new-privileges"), "1"),
        (("--security-opt", "no-new-privileges=true"), "1"),
        (("--security-opt", "no-new-privileges=false"), "0"),
        (("--security-opt", "no-new-privileges:false"), "0"),
    ],
    ids=lambda value: " ".join(value) or "-",
)
def test_no_new_privileges(inside, options, value):
    assert status_of(inside(STATUS, *options))["NoNewPrivs"] == value


@needs("mmdebstrap", "overlay")
@pytest.mark.parametrize(("value", "user"), [("true", "65534"), ("false", "0")])
def test_without_it_a_set_user_id_program_works_inside(minictr, strong_caller, debian_root, value, user):
    script = "cp /usr/bin/id /id; chmod 4755 /id; setpriv --reuid 65534 --clear-groups /id -u"
    options = ("--security-opt", "no-new-privileges=" + value, "--overlay", "--rootfs", debian_root)
    run = minictr("run", *options, "--", "sh", "-c", script, **strong_caller.options)

    assert (run.status, run.out) == (0, user + "\n"), run  # what a user's overlay cannot change is told


def test_masked_paths_are_empty_and_can_be_shown(inside):
    assert inside("cat /proc/timer_list; ls /proc/acpi /sys/firmware 2>&1; true").ok.out in (
        "/proc/acpi:\n\n/sys/firmware:\n",
        "ls: /proc/acpi: No such file or directory\n/sys/firmware:\n",
        "/proc/acpi:\n\nls: /sys/firmware: No such file or directory\n",
    )
    assert inside(["ls", "-A", "/sys/dev/block"]).ok.out == ""
    shown = inside(["ls", "/sys/firmware"], "--security-opt", "unmask=/sys/firmware").ok.out
    assert shown.split() == sorted(os.listdir("/sys/firmware"))
    shown = inside(["cat", "/proc/self/mountinfo"], "--security-opt", "unmask=ALL").ok.out
    assert " /proc/" not in shown and " /sys/" not in shown


HEAT = "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
HOT = "mount -t tmpfs none /sys/devices/system/cpu; mkdir -p $(dirname {0}); echo 7 >{0}; ".format(HEAT)


@pytest.mark.parametrize("options, shown", [([], ""), (["--security-opt", "unmask=ALL"], "7\n")])
def test_how_often_a_processor_was_too_hot_is_masked(minictr, busybox_root, options, shown):
    """GHSA-6fw5-f8r9-fgfm, where it is counted; a machine without that is made one that has it. The host's
    own /sys shows it, which --net host brings in."""
    words = ["run", "--net", "host"] + options + ["--rootfs", busybox_root, "--", "cat", HEAT]
    call = [support.python(), "-m", "minictr", "--root", minictr.state()] + words
    run = minictr.command(
        "unshare", "-m", "sh", "-c", HOT + '"$@"', "sh", *call, env={"PYTHONPATH": support.checkout()}
    )
    assert (run.out, run.status == 0) == (shown, bool(shown)), run


def test_more_paths_can_be_masked(inside):
    run = inside("cat /proc/uptime /proc/version; ls /etc", "--security-opt", "mask=/proc/uptime:/etc")

    assert run.ok.out.startswith("Linux version ") and run.out.count("\n") == 1


@pytest.mark.parametrize(
    "path", ["/proc/sys/kernel/panic", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity"]
)
def test_kernel_settings_are_read_only(inside, path):
    if not os.path.exists(path):
        pytest.skip("this kernel has no " + path)
    run = inside("echo 1 >" + path)

    assert run.status == 1
    assert "Read-only file system" in run.err


@pytest.mark.parametrize(
    "option", ["seccomp=/no/such.json", "apparmor=", "label=nested", "nonsense", "systempaths=x"]
)
def test_what_is_not_enforced_is_refused_by_name(inside, option):
    run = inside(["true"], "--security-opt", option)

    assert (run.status, run.out) == (125, "")
    assert run.err.startswith("minictr: --security-opt %s: " % option) and run.err.count("\n") == 1


# --- seccomp ------------------------------------------------------------------------------------

CLONE_NEWNS, TIOCSTI = 0x20000, 0x5412
# Kept until the end, so that one that is not refused shows
ASKED = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def said(result):
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "done"
print(said(libc.unshare(0x20000)), said(libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)),
      said(libc.personality(0x40000)), said(libc.ioctl(0, 0x5412, b"x")), said(libc.chroot(b"/")))
"""


@pytest.fixture
def asked(minictr, strong_caller):
    """What calls come back from a container of the host's own root."""

    def run(*options):
        words = list(options) + ["--", "/usr/bin/python3", "-c", ASKED]
        return minictr("run", *words, **strong_caller.options).ok.fields

    return run


@needs("seccomp")
def test_the_builtin_filter_refuses_calls(asked):
    assert asked() == ["EPERM", "EPERM", "EPERM", "EIO", "done"]
    assert asked("--security-opt", "seccomp=builtin", "--init") == ["EPERM", "EPERM", "EPERM", "EIO", "done"]


@needs("seccomp")
def test_it_follows_the_capabilities(asked):
    assert asked("--cap-drop", "SYS_CHROOT")[4] == "EPERM"
    assert asked("--cap-add", "SYS_ADMIN")[:3] == ["done", "done", "EPERM"]


@needs("seccomp")
def test_without_it_the_kernel_decides(asked):
    """So each refusal above is the filter's."""
    found = asked("--security-opt", "seccomp=unconfined", "--cap-add", "SYS_ADMIN")

    assert found[:3] + found[4:] == ["done", "done", "done", "done"] and found[3] != "EIO"


@needs("seccomp")
@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ((), "2"),
        (("--security-opt", "no-new-privileges=false"), "2"),
        (("--security-opt", "no-new-privileges=false", "--cap-drop", "ALL", "-u", "4321"), "2"),
        (("--init",), "2"),
        (("--strict",), "2"),
        (("--security-opt", "seccomp=unconfined"), "0"),
    ],
    ids=lambda value: " ".join(value) or "-",
)
def test_the_filter_is_on_every_process(inside, options, mode):
    run = inside("grep -h ^Seccomp: /proc/1/status /proc/self/status", *options)

    assert run.ok.fields == ["Seccomp:", mode] * 2


@needs("seccomp")
def test_a_profile_of_a_file(inside, tmp_path):
    profile = tmp_path / "profile.json"
    rules = """{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errno": "ENOSPC"},
        {"names": ["uname"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}}"""
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [%s]}' % rules)
    run = inside("mkdir /tmp/x; uname", "--tmpfs", "/tmp", "--security-opt", "seccomp=%s" % profile)

    assert run == (0, "Linux\n", "mkdir: can't create directory '/tmp/x': No space left on device\n")


@needs("seccomp")
def test_a_program_that_joins_has_the_filter(minictr, inside):
    options = ("-d", "--name", "box")
    assert inside(["sleep", "1000"], *options).ok.out == "box\n"
    run = minictr(
        "exec",
        "box",
        "sh",
        "-c",
        "grep ^Seccomp: /proc/self/status; unshare -i true",
        **inside.caller.options,
    )
    minictr("delete", "--force", "box", **inside.caller.options).ok

    assert run.out == "Seccomp:\t2\n" and "Operation not permitted" in run.err


@needs("seccomp")
def test_a_program_that_cannot_have_the_filter_of_the_first_does_not_join(minictr, inside):
    assert inside(["sleep", "1000"], "-d", "--name", "box").ok
    how = dict(inside.caller.options, refuse=["seccomp"])
    found = minictr("exec", "box", "echo", "joined", **how)
    minictr("delete", "--force", "box", **inside.caller.options).ok

    assert (found.status, found.out, found.err.count("\n")) == (255, "", 1), found
    assert found.err.startswith("minictr: seccomp: a filter of system calls is required: "), found


@needs("seccomp")
def test_where_no_filter_can_be_had_that_is_told(inside):
    run = inside("grep ^Seccomp_filters: /proc/self/status; echo started", refuse=["seccomp"])

    assert run.out.splitlines()[-1] == "started" and run.status == 0
    assert run.err.startswith("minictr: warning: seccomp: wanted a filter of system calls, got none; ")
    assert run.err.count("\n") == 1 and "the seccomp filter that" in run.err
    assert inside("true", "--security-opt", "seccomp=unconfined", refuse=["seccomp"]).ok


@needs("seccomp")
def test_where_no_filter_can_be_had_strict_refuses(inside):
    run = inside("echo started", "--strict", refuse=["seccomp"])

    assert (run.status, run.out) == (123, "")
    assert run.err.startswith("minictr: seccomp: a filter of system calls is required: ")


# --- --privileged -------------------------------------------------------------------------------


def host_devices():
    """What `find` sees below /dev, but for terminals and other file systems."""
    found = set()
    for place, directories, names in os.walk("/dev"):
        directories[:] = [name for name in directories if not os.path.ismount(os.path.join(place, name))]
        for path in [os.path.join(place, name) for name in names]:
            if stat.S_IFMT(os.lstat(path).st_mode) in (stat.S_IFCHR, stat.S_IFBLK):
                found.add(path)
    return {path for path in found if not path.startswith(("/dev/tty", "/dev/ptmx", "/dev/console"))}


@pytest.mark.parametrize("source", [(), ("--userns", "host")], ids=["-", "--userns host"])
def test_a_privileged_container_is_confined_by_its_namespaces_alone(inside, source):
    if source and inside.caller.name != "root":
        pytest.skip("is for root")
    run = inside("cat /proc/self/status /proc/self/mountinfo", "--privileged", *source)
    words = dict(line.split(":\t") for line in run.ok.lines if ":\t" in line)

    assert (words["NoNewPrivs"], words.get("Seccomp", "0")) == ("0", "0")
    assert int(words["CapBnd"], 16) & every_capability() == every_capability()
    assert words["CapEff"] == words["CapPrm"] == words["CapBnd"]
    mounts = {line.split()[4]: line.split()[5].split(",") for line in run.lines if " - " in line}
    assert not [place for place in mounts if place.startswith(("/proc/", "/sys/"))]
    assert "rw" in mounts["/sys"] and "rw" in mounts["/proc"]


def test_a_privileged_container_has_the_devices_of_the_host(inside):
    run = inside("find /dev -type c -o -type b", "--privileged")
    found = {path for path in run.ok.lines if not path.startswith(("/dev/pts/", "/dev/tty"))}

    assert found >= host_devices() and not any(path.startswith("/dev/tty1") for path in run.lines)


def test_none_of_many_devices_is_left_out(tmp_path):
    for number in range(1200):
        place = tmp_path / ("disk%d" % (number // 400))
        place.mkdir(exist_ok=True)
        os.mknod(str(place / str(number)), 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    assert len(privileged.host_devices(str(tmp_path))) == 1200


@needs("seccomp")
@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (("--security-opt", "seccomp=builtin"), {"Seccomp": "2"}),
        (("--security-opt", "no-new-privileges"), {"NoNewPrivs": "1"}),
        (("--cap-drop", "ALL"), {"CapBnd": "0000000000000000", "CapEff": "0000000000000000"}),
        (("-u", "4321"), {"CapEff": "0000000000000000", "CapAmb": "0000000000000000"}),
    ],
    ids=" ".join,
)
def test_what_is_asked_for_beside_it_holds(inside, options, changed):
    plain, other = (
        status_of(inside(STATUS, "--privileged")),
        status_of(inside(STATUS, "--privileged", *options)),
    )

    assert {name: other[name] for name in changed} == changed
    assert {name for name in changed if plain[name] != other[name]} | {"CapAmb"} >= set(changed)


def test_what_is_masked_by_name_stays_masked_all_the_same(inside):
    run = inside("cat /proc/uptime", "--privileged", "--security-opt", "mask=/proc/uptime")

    assert run.ok.out == ""


# --- user namespaces ----------------------------------------------------------------------------

MAPS = "cat /proc/self/uid_map; echo -; cat /proc/self/gid_map"


def maps_of(run):
    parts = run.ok.out.split("-\n")
    return [[tuple(map(int, line.split())) for line in part.splitlines()] for part in parts]


@pytest.mark.parametrize("which", ["auto", "private"])
def test_a_namespace_of_its_own_is_the_default_and_can_be_asked_for(minictr, busybox_root, which):
    run = minictr("run", "--userns", which, "--read-only", "--rootfs", busybox_root, "--", "sh", "-c", MAPS)

    assert maps_of(run) == [[(0, first, RANGE)] for first in root_range()]


def test_root_may_choose_the_ids(minictr, busybox_root):
    options = ("--uidmap", "0:200000:10", "--uidmap", "1000:300000:1", "--gidmap", "0:400000:2000")
    run = minictr("run", *options, "--read-only", "--rootfs", busybox_root, "--", "sh", "-c", MAPS)

    assert maps_of(run) == [[(0, 200000, 10), (1000, 300000, 1)], [(0, 400000, 2000)]]


def test_the_map_of_users_holds_for_groups_where_only_that_is_given(minictr, busybox_root):
    run = minictr(
        "run", "--uidmap", "0:200000:10", "--read-only", "--rootfs", busybox_root, "--", "sh", "-c", MAPS
    )

    assert maps_of(run) == [[(0, 200000, 10)]] * 2


def test_a_user_may_choose_from_its_range_and_no_further(minictr, ranged, busybox_root):
    options = ("--read-only", "--rootfs", busybox_root, "--", "sh", "-c", MAPS)
    chosen = "0:%d:100" % (ranged.start + 5)
    run = minictr("run", "--uidmap", chosen, *options, user=ranged)
    assert maps_of(run) == [[(0, ranged.start + 5, 100)]] * 2

    run = minictr("run", "--uidmap", "0:0:1", *options, user=ranged)
    assert (run.status, run.out) == (125, "")
    assert run.err.startswith("minictr: ") and run.err.count("\n") == 1


def test_a_user_may_map_itself_alone(minictr, unranged, busybox_root):
    maps = ("--uidmap", "7:%d:1" % unranged.uid, "--gidmap", "8:%d:1" % unranged.gid)
    options = maps + ("-u", "7:8", "--read-only", "--rootfs", busybox_root)
    run = minictr("run", *options, "--", "sh", "-c", MAPS, user=unranged)

    assert maps_of(run) == [[(7, unranged.uid, 1)], [(8, unranged.gid, 1)]]


def test_groups_that_a_user_alone_cannot_have_are_told_of(minictr, unranged, busybox_root):
    maps = ("--uidmap", "0:%d:1" % unranged.uid, "--gidmap", "0:%d:1" % unranged.gid)
    words = maps + ("--group-add", "0,70", "--read-only", "--rootfs", busybox_root, "--", "id", "-G")
    run = minictr("run", *words, user=unranged)
    told = "groups: wanted 70, got none of them; setgroups(2) is denied where the caller alone is mapped"
    assert (run.status, run.out) == (0, "0\n")
    assert run.err.startswith("minictr: warning: " + told) and run.err.count("\n") == 1

    run = minictr("run", "--strict", *words, user=unranged)
    assert (run.status, run.out) == (123, "") and "groups: 70 is required: setgroups(2)" in run.err


def test_groups_of_its_own_files_that_a_user_alone_cannot_have_are_noted(minictr, unranged, busybox_root):
    maps = ("--uidmap", "1000:%d:1" % unranged.uid, "--gidmap", "1000:%d:1" % unranged.gid)
    words = maps + ("-u", "app", "--read-only", "--rootfs", busybox_root, "--", "id", "-G")
    assert minictr("run", *words, user=unranged).ok.out == "1000\n"
    assert "groups: wanted 29, got none of them" in minictr("--debug", "run", *words, user=unranged).err


@pytest.mark.parametrize("name", ["ranged", "unranged"])
def test_a_user_can_keep_its_id(minictr, request, busybox_root, name):
    account = request.getfixturevalue(name)
    options = ("--userns", "keep-id", "--read-only", "--rootfs", busybox_root)
    script = "id -u; id -g; touch /dev/shm/x; stat -c %u /dev/shm/x"
    run = minictr("run", *options, "--", "sh", "-c", script, user=account)

    assert (run.status, run.lines) == (0, [str(account.uid), str(account.gid), str(account.uid)])
    map_of = minictr("run", *options, "--", "cat", "/proc/self/uid_map", user=account).out.splitlines()
    own = [line.split() for line in map_of if line.split()[0] == str(account.uid)]
    assert own == [[str(account.uid), str(account.uid), "1"]]


@pytest.mark.parametrize("name", ["ranged", "unranged"])
def test_a_user_can_choose_who_it_is_inside(minictr, request, busybox_root, name):
    account = request.getfixturevalue(name)
    options = ("--userns", "keep-id:uid=1000,gid=1000", "--read-only", "--rootfs", busybox_root)
    script = "id -u; id -g; awk '$1 == 1000' /proc/self/uid_map; echo $HOME"
    run = minictr("run", *options, "--", "sh", "-c", script, user=account)
    assert (run.status, run.out.split()) == (0, ["1000", "1000", "1000", str(account.uid), "1", "/home/app"])


def test_a_user_who_is_not_among_the_ids_is_refused(minictr, busybox_root):
    run = minictr("run", "--uidmap", "0:200000:10", "-u", "app", "--rootfs", busybox_root, "--", "true")

    assert (run.status, run.out) == (125, "")
    assert run.err.startswith("minictr: become user 1000: ") and run.err.count("\n") == 1


def test_the_hosts_user_namespace_is_not_for_users(minictr, ranged, busybox_root):
    """Not without a warning, and not under --strict: nothing else can be isolated then."""
    options = ("--userns", "host", "--rootfs", busybox_root, "--", "true")
    run = minictr("run", "--strict", *options, user=ranged)

    assert (run.status, run.out) == (123, "")
    assert run.err.startswith("minictr: ") and run.err.count("\n") == 1
