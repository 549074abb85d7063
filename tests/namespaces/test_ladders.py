"""Each step down, because the kernel refuses something for real: a seccomp filter answers EPERM, as
an engine's profile does, or ENOSYS, as an old kernel does.

The container starts all the same, and what it lost is said: on stderr, in the log, in the state. With
--strict, and in the OCI form, that is an error instead.
"""

import json
import os

import bundles
import ladders
import pytest
import refusal
import support
from support import needs

from minictr import landlock, sample

pytestmark = needs("root", "userns", "busybox", "seccomp")

NEW_MOUNT_CALLS = "fsopen fsconfig fsmount open_tree move_mount mount_setattr"
HOST_MQUEUE = (
    ("mqueue-host", "the host's, read-only") if os.path.ismount("/dev/mqueue") else ("mqueue-none", "none")
)

# Records: code, layer, wanted, got, and the errno where it is not that of the refusal
ROOT_MOVE = ("root-move", "root", "pivot_root", "move")
ROOT_CHROOT = ("root-chroot", "root", "pivot_root", "chroot")
ROOT_CHROOT_UNASKED = ROOT_CHROOT + ("",)
ROOT_CHDIR = ("root-chdir", "root", "pivot_root", "chdir")
MOUNTS = ("mounts", "mounts", "a private view", "none")
HOSTNAME = ("hostname", "host name", "box", "the host's")
DOMAINNAME = ("domainname", "domain name", "dom", "the host's")
PROC_EMPTY = ("proc-empty", "proc", "a fresh proc on /proc", "an empty directory", "EPERM")
SYSFS_HOST = ("sysfs-host", "sysfs", "a fresh sysfs on /sys", "the host's, read-only", "EPERM")
MQUEUE = (HOST_MQUEUE[0], "mqueue", "a fresh mqueue on /dev/mqueue", HOST_MQUEUE[1], "EPERM")
NO_STANDIN = "minictr: make the stand-in: the seccomp filter that "
IDMAP = ("idmap", "id-mapped mount", "the files of ROOT with the container's ids", "the host's ids")


try:
    NO_LANDLOCK = 0 * landlock.version()
except OSError as refusal_of_it:  # the errno
    NO_LANDLOCK = refusal_of_it.errno


def namespace(kind, error=None):
    record = (kind + "-namespace", kind + " namespace", "a new one", "the host's")
    return record if error is None else record + (error,)


def without_user(asked=()):
    """Without a user namespace, an ordinary user gets none of the others."""
    kinds = sorted(("cgroup", "ipc", "mount", "network", "pid", "uts") + asked)
    found = [namespace("user", None)] + [namespace(kind, "EPERM") for kind in kinds]
    return found + [ROOT_CHDIR + ("EPERM",)]


class Case:
    """calls: what is refused; words: options of `run`
    root, user, oci: the records in the native form as root, as another user, and in the OCI form as
        root, where there is no user namespace
    """

    def __init__(self, calls, root=(), user=None, oci=None, words=()):
        self.calls, self.words = calls, list(words)
        self.records = {"root": root, "user": root if user is None else user}
        self.records["oci"] = self.records["user"] if oci is None else oci

    def expected(self, kind, error, place):
        """What Told.short() should be, where the refusal was ERROR and the root lies in PLACE."""
        found = []
        for record in self.records[kind]:
            wanted = record[2].replace("ROOT", place)
            number = ladders.number(record[4] if len(record) > 4 else error)
            found.append(record[:2] + (wanted, record[3], number))
            if record[0] == "root-chdir" and NO_LANDLOCK:
                wanted = "the program confined to its root"
                found.append(("landlock", "Landlock", wanted, "nothing", NO_LANDLOCK))
        return found


CASES = {
    "pivot_root": Case("pivot_root", [ROOT_MOVE]),
    "pivot_root and moving mounts": Case("pivot_root mount&MS_MOVE", [ROOT_CHROOT]),
    "pivot_root and chroot": Case("pivot_root chroot", [ROOT_CHDIR]),
    "mount": Case("mount", [MOUNTS, ROOT_CHROOT_UNASKED]),
    "mount and chroot": Case("mount chroot", [MOUNTS, ROOT_CHDIR]),
    "sethostname": Case("sethostname", [HOSTNAME], words=["--hostname", "box"]),
    "setdomainname": Case("setdomainname", [DOMAINNAME], words=["--domainname", "dom"]),
    "mknod": Case("mknod"),
    "openat2": Case("openat2"),
    "open_tree": Case("open_tree", [IDMAP], []),
    "move_mount": Case("move_mount", [IDMAP], []),
    "fsopen": Case("fsopen"),
    "fsconfig": Case("fsconfig"),
    "fsmount": Case("fsmount"),
    "mount_setattr": Case("mount_setattr", [IDMAP], []),
    "every new mount call": Case(NEW_MOUNT_CALLS, [IDMAP], []),
    "every new call for files": Case(
        NEW_MOUNT_CALLS + " openat2 close_range memfd_create", [IDMAP], [], oci=()
    ),
    "clone3": Case("clone3"),
    "user": Case("clone&CLONE_NEWUSER", [namespace("user")], without_user(), oci=()),
    "pid": Case("clone&CLONE_NEWPID", [namespace("pid"), PROC_EMPTY], oci=[namespace("pid")]),
    "mount namespace": Case("clone&CLONE_NEWNS", [namespace("mount"), ROOT_CHROOT_UNASKED]),
    "network": Case("clone&CLONE_NEWNET", [namespace("network"), SYSFS_HOST], oci=[namespace("network")]),
    "ipc": Case("clone&CLONE_NEWIPC", [namespace("ipc"), MQUEUE], oci=[namespace("ipc")]),
    "uts": Case("clone&CLONE_NEWUTS", [namespace("uts")]),
    "cgroup": Case("unshare&CLONE_NEWCGROUP", [namespace("cgroup")]),
    "time": Case("unshare&CLONE_NEWTIME", [namespace("time")], words=["--time-offset", "5"]),
    "user, with a time namespace": Case(
        "unshare&CLONE_NEWUSER",
        [namespace("user")],
        without_user(("time",)),
        oci=(),
        words=["--time-offset", "5"],
    ),
    "pid, with a time namespace": Case(
        "clone&CLONE_NEWPID",
        [namespace("pid"), PROC_EMPTY],
        oci=[namespace("pid")],
        words=["--time-offset", "5"],
    ),
    "two at once": Case("pivot_root sethostname", [HOSTNAME, ROOT_MOVE], words=["--hostname", "box"]),
    "memfd_create": Case("memfd_create"),
    "close_range": Case("close_range"),
    "pidfd_open": Case("pidfd_open"),
    "keyctl": Case("keyctl"),
}
each_case = pytest.mark.parametrize("case", sorted(CASES))
each_error = pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])


@pytest.fixture(params=["root", "ranged", "unranged"])
def caller(request):
    """Options of Runner, and which records are expected."""
    if request.param == "root":
        return {}, "root"
    support.require("rootless", "newuidmap")
    return {"user": request.getfixturevalue(request.param)}, "user"


def start(minictr, caller, case, error, root, *words, **options):
    """Run a container under the refusals of CASE; what it told."""
    refused = ladders.calls(CASES[case].calls, error)
    words = list(words) + CASES[case].words + ["--rootfs", root, "--"]
    words += options.pop("command", ["sh", "-c", ladders.SCRIPT])
    return ladders.tell(minictr, "run", *words, refuse=refused, **dict(caller[0], **options))


# --- the native form ----------------------------------------------------------------------------


@each_case
@each_error
def test_a_container_starts_and_says_what_it_lost(minictr, busybox_root, caller, case, error):
    told = start(minictr, caller, case, error, busybox_root)

    assert told.result == (0, "started\n"), told.result
    assert told.short("idmap-alone") == CASES[case].expected(caller[1], error, busybox_root)
    # both that a filter is around us and what to do about it
    own = [record for record in told.warnings if record["errno"] == ladders.number(error)]
    assert [record for record in own if not record["fix"]] == []


@each_case
def test_strict_refuses_every_step_down(minictr, busybox_root, caller, case):
    expected = CASES[case].expected(caller[1], "EPERM", busybox_root)
    told = start(minictr, caller, case, "EPERM", busybox_root, "--strict")

    if caller[0] and caller[0]["user"].start == 0:
        expected.insert(0, ("idmap-alone", "id map", "a range of ids", "", 0))
    if not expected:
        assert told.result == (0, "started\n", "")
        return
    assert told.result == (123, ""), told.result
    assert told.records == told.notices and len(told.lines) == 1
    wanted = ["minictr: %s: %s is required: " % record[1:3] for record in expected]
    assert [text for text in wanted if told.lines[0].startswith(text)], (wanted, told.lines)


@needs("rootless")
def test_what_goes_with_the_user_namespace_of_a_user_has_the_fix_of_that(minictr, busybox_root, ranged):
    """That one is told first, so that it is what --strict names."""
    words, refused = ("--rootfs", busybox_root, "--", "true"), refusal.userns_refusals()
    first, *others = ladders.tell(minictr, "run", *words, refuse=refused, user=ranged).warnings

    assert first["code"] == "user-namespace" and first["fix"]
    others = [record for record in others if record["code"].endswith("-namespace")]
    whys = {(record["why"], record["fix"]) for record in others}
    assert len(others) > 4 and whys == {("that takes a user namespace, or CAP_SYS_ADMIN", first["fix"])}
    told = ladders.tell(minictr, "run", "--strict", *words, refuse=refused, user=ranged)
    assert told.lines == ["minictr: user namespace: a new one is required: %(why)s; hint: %(fix)s" % first]


@pytest.mark.parametrize("case", ["pivot_root", "mount", "sethostname", "user", "cgroup", "mount_setattr"])
def test_the_state_of_a_container_keeps_what_it_lost(minictr, busybox_root, caller, case):
    told = start(
        minictr, caller, case, "EPERM", busybox_root, "-d", "--name", "kept", command=["sleep", "100"]
    )
    assert told.result == (0, "kept\n"), told.result
    assert told.short("idmap-alone") == CASES[case].expected(caller[1], "EPERM", busybox_root)
    with open(os.path.join(minictr.state(caller[0].get("user")), "kept", "state.json")) as file:
        noted = json.load(file)
    shown = json.loads(minictr("state", "kept", **caller[0]).ok.out)

    assert noted["degradations"] == told.records != []
    assert json.loads(shown["annotations"]["org.minictr.degradations"]) == told.records
    minictr("delete", "--force", "kept", **caller[0]).ok


def test_a_container_that_lost_nothing_says_nothing(minictr, busybox_root, caller):
    told = ladders.tell(
        minictr, "run", "--rootfs", busybox_root, "--", "sh", "-c", ladders.SCRIPT, **caller[0]
    )

    assert told.result == (0, "started\n")
    assert told.short("idmap-alone") == []


# --- the OCI form -------------------------------------------------------------------------------


@pytest.fixture
def bundle(busybox_copy, caller):
    """A bundle of the caller's, with its own ids where it is not root."""
    account = caller[0].get("user")
    made = bundles.Bundle(busybox_copy(account), account=account)
    made.process["args"] = ["sh", "-c", ladders.SCRIPT]
    if account is not None:
        sample.make_rootless(made.config)
        for name, own in (("uidMappings", account.uid), ("gidMappings", account.gid)):
            made.linux[name] = [{"containerID": 0, "hostID": own, "size": 1}]
    return made


def start_bundle(minictr, caller, case, error, made, *words):
    """The same as `start` for a bundle, whose configuration has the words of CASE in its own way."""
    made.config["hostname"], made.config["domainname"] = "box", "dom"
    if "--time-offset" in CASES[case].words:
        made.namespaces("time")
        made.linux["timeOffsets"] = {"boottime": {"secs": 5}}
    made.save()
    words = list(words) + ["--bundle", made.path, made.identifier]
    refused = ladders.calls(CASES[case].calls, error)
    return ladders.tell(minictr, "run", *words, refuse=refused, **caller[0])


@each_case
def test_a_bundle_refuses_every_step_down_unless_it_is_told_otherwise(minictr, caller, bundle, case):
    kind = "oci" if caller[1] == "root" else "user"
    expected = CASES[case].expected(kind, "EPERM", bundle.root)

    told = start_bundle(minictr, caller, case, "EPERM", bundle)
    if kind == "oci" and "memfd_create" in CASES[case].calls:
        assert (told.result.status, len(told.lines)) == (125, 1) and told.lines[0].startswith(NO_STANDIN)
        return
    if expected:
        assert told.result == (123, ""), told.result
        assert told.warnings == [] and len(told.lines) == 1
        wanted = ["minictr: %s: %s is required: " % record[1:3] for record in expected]
        assert [text for text in wanted if told.lines[0].startswith(text)], (wanted, told.lines)
    else:
        assert told.result == (0, "started\n", "")

    told = start_bundle(minictr, caller, case, "EPERM", bundle, "--allow-degraded")
    assert told.result == (0, "started\n"), told.result
    assert told.short() == expected


# --- what ends the start ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refused, words",
    [
        (["pivot_root=EIO"], []),
        (["chroot=EIO", "pivot_root"], []),
        (["mount=ENOMEM"], []),
        (["sethostname=EFAULT"], []),
        (["setdomainname=EINVAL"], ["--domainname", "dom"]),
        (["openat2=EIO"], []),
        (["move_mount=EBUSY"], []),
        (["pivot_root=ENOMEM"], []),
        (["fsopen=ENFILE"], []),
        (["fsmount=ENOMEM"], []),
        (["mount_setattr=EIO"], []),
        (["clone&CLONE_NEWUSER=ENOMEM", "clone3=ENOSYS"], []),
        (["clone&CLONE_NEWNET=ENOMEM", "clone3=ENOSYS"], []),
        (["clone3=EAGAIN"], []),
        (["clone", "clone3"], []),
        (["unshare&CLONE_NEWCGROUP=ENOMEM"], []),
        (["unshare&CLONE_NEWTIME=ENOMEM"], ["--time-offset", "5"]),
        (["close_range=EIO"], []),
        (["keyctl=ENOMEM"], []),
        (["setns"], ["--net", "/proc/self/ns/net"]),
        (["umount2"], []),
        (["seccomp=ENOMEM"], []),
        (["capset=EIO"], []),
        (["keyctl=EIO"], []),
        (["fchdir=EIO"], []),
        (["prlimit64=EIO"], ["--ulimit", "nofile=100"]),
    ],
    ids=" ".join,
)
def test_what_does_not_mean_not_allowed_here_ends_the_start(minictr, busybox_root, caller, refused, words):
    words = words + ["--rootfs", busybox_root, "--", "sh", "-c", ladders.SCRIPT]
    told = ladders.tell(minictr, "run", *words, refuse=refused, **caller[0])

    assert told.result == (125, ""), told.result
    assert told.short("idmap-alone") == [] and len(told.errors) == 1
    assert "[Errno" not in told.errors[0]


def test_one_refusal_is_no_excuse_for_another_error(minictr, busybox_root, caller):
    """The combined clone is refused, and of the parts one fails for another reason."""
    refused = ["clone&CLONE_NEWUTS", "clone&CLONE_NEWIPC=ENOMEM", "clone3=ENOSYS"]
    told = ladders.tell(minictr, "run", "--rootfs", busybox_root, "--", "true", refuse=refused, **caller[0])

    assert told.result == (125, "")
    assert told.errors == ["make the ipc namespace: Cannot allocate memory"]


def test_without_a_user_namespace_root_needs_the_stand_in(minictr, busybox_root):
    """Else the program could find the host's interpreter at /proc/self/exe and overwrite it."""
    words = ["--userns", "host", "--rootfs", busybox_root, "--", "true"]
    told = ladders.tell(minictr, "run", *words, refuse=["memfd_create"])

    assert (told.result.status, len(told.lines)) == (125, 1) and told.lines[0].startswith(NO_STANDIN)


@needs("strace")
@pytest.mark.parametrize("words", [[], ["--time-offset", "5"]], ids=["directly", "by a middle process"])
def test_a_lost_user_namespace_brings_the_stand_in(minictr, busybox_root, words):
    refused = refusal.userns_refusals()
    words = ["run"] + words + ["--rootfs", busybox_root, "--", "true"]
    trace = os.path.join(support.SESSION.place("trace"), "trace")
    command = ["strace", "-f", "-e", "trace=memfd_create,execveat", "-o", trace, support.sys.executable]
    command += ["-m", "minictr", "--root", minictr.state()] + words
    result = minictr.command(*command, refuse=refused, env={"PYTHONPATH": support.checkout()})

    assert result.status == 0, result
    with open(trace) as file:
        seen = file.read()
    assert "memfd_create(" in seen
