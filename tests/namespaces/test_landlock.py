"""Landlock in its two places: around a program whose root could not be changed, and, on request, inside a
container.

Every attack is made with the layer and without it: there it must succeed, or its failure elsewhere would
prove nothing. The layer is off where the kernel refuses it, by a seccomp filter as an older kernel would.
User namespaces are refused by a filter, too, but for a host that has none: there the kernel itself does it.
"""

import errno
import json
import os
import shutil
import socket

import bundles
import ladders
import pytest
import refusal
import support
from support import needs

from minictr import landlock

pytestmark = needs("root", "busybox", "seccomp", "landlock")
with_namespaces = needs("userns", "rootless")


def switched_off():
    with open("/proc/sys/user/max_user_namespaces") as file:
        return int(file.read()) == 0


OFF = ["landlock_create_ruleset=ENOSYS"]
NO_NAMESPACES = [] if switched_off() else refusal.userns_refusals()
NO_ROOT = ["pivot_root", "chroot"] + NO_NAMESPACES


class Place:
    """A container's root and the host around it, as seen by a caller who gets a directory only.

    host: a directory of the caller's; in it "secret", and "true", which runs
    """

    def __init__(self, minictr, root, account):
        self.minictr, self.root, self.account = minictr, root, account
        owner = (account.uid, account.gid) if account else (0, 0)
        self.host = support.SESSION.place("host", 0o755, owner)
        self.secret = self.write("secret")
        shutil.copy("/bin/busybox", os.path.join(self.host, "true"))
        self.refused = NO_NAMESPACES if account else NO_ROOT

    def write(self, name):
        path = os.path.join(self.host, name)
        with open(path, "w") as file:
            file.write("the host's\n")
        os.chown(path, *os.stat(self.host)[4:6])
        return path

    def run(self, command, *words, off=False, **options):
        """COMMAND of the container's shell, silent on stderr; {host} and {secret} are filled in."""
        more = dict(host=self.host, secret=self.secret, up="../" * 20, **options.pop("more", {}))
        text = "exec 2>/dev/null; " + command.format(**more)
        words = list(words) + ["--rootfs", self.root, "--", "sh", "-c", text]
        refused = self.refused + (OFF if off else [])
        return ladders.tell(self.minictr, "run", *words, user=self.account, refuse=refused, **options)


@pytest.fixture(params=["root", "user"])
def place(request, minictr, busybox_copy):
    account = request.getfixturevalue("unranged") if request.param == "user" else None
    return Place(minictr, busybox_copy(account), account)


@pytest.fixture
def as_user(minictr, busybox_copy, unranged):
    return Place(minictr, busybox_copy(unranged), unranged)


@pytest.fixture
def as_root(minictr, busybox_copy):
    return Place(minictr, busybox_copy(), None)


# --- in the place of a root ---------------------------------------------------------------------

# Each with files of its own: {secret}
ATTACKS = {
    "an absolute name": "cat {secret}",
    "parent directories": "cat {up}{secret}",
    "a link in the root": "ln -s {secret} tmp/link && cat tmp/link",
    "/proc/self/root": "cat /proc/self/root{secret}",
    "an open directory": "exec 9<. && cat /proc/self/fd/9/{up}{secret}",
    "the working directory": "cat /proc/self/cwd/{up}{secret}",
    "going there": "cd {host} && cat $(basename {secret})",
    "writing": "echo x >{secret}",
    "making a file": "echo x >{secret}-new",
    "removing": "rm {secret}",
    "moving in": "mv {secret} tmp/stolen && cat tmp/stolen",
    "moving out": "echo x >tmp/x && mv tmp/x {secret}",
    "executing": "{host}/true true",
    "listing": "ls {host}",
    "truncating": "truncate -s 1 {secret}",
}


def attack(place, off):
    """{attack: exit status} of all, made one after the other; and what the run told."""
    lines = ["cd tmp; cd ..; exec 2>/dev/null"]
    for number, name in enumerate(sorted(ATTACKS)):
        text = ATTACKS[name].format(secret=place.write("secret%d" % number), host=place.host, up="../" * 20)
        lines.append("(%s) >/dev/null; echo '%s:'$?" % (text, name))
    told = place.run("{script}", off=off, more={"script": "\n".join(lines)})
    return dict(line.split(":") for line in told.result.lines), told


def test_without_landlock_the_hosts_files_can_be_had(place):
    found, told = attack(place, off=True)

    assert found == dict.fromkeys(ATTACKS, "0"), told.result
    assert [record["code"] for record in told.warnings][-2:] == ["root-chdir", "landlock"]


def test_landlock_keeps_the_hosts_files_closed(place):
    found, told = attack(place, off=False)

    assert sorted(found) == sorted(ATTACKS), told.result
    assert [name for name, status in found.items() if status == "0"] == []
    left = {
        name: open_text(os.path.join(place.host, name)) for name in os.listdir(place.host) if name != "true"
    }
    assert left == dict.fromkeys(["secret"] + ["secret%d" % n for n in range(len(ATTACKS))], "the host's\n")
    assert [record["code"] for record in told.warnings][-1] == "root-chdir"


def open_text(path):
    with open(path) as file:
        return file.read()


@pytest.mark.parametrize("off", [False, True], ids=["with Landlock", "without"])
def test_root_without_a_root_of_its_own_reads_the_shadow_file_only_without_landlock(as_root, off):
    """By its name, and through a process of the host's, such as /proc/1: with all that this asks for."""
    for command in ("cat /etc/shadow", "cat /proc/{pid}/root/etc/shadow"):
        told = as_root.run(command, "--cap-add", "SYS_PTRACE", off=off, more={"pid": os.getpid()})
        assert ("root:" in told.result.out) == off, told.result


@pytest.mark.parametrize("off", [False, True], ids=["with Landlock", "without"])
def test_no_device_of_the_hosts_can_be_made_in_the_root(as_root, off):
    """With the capability for it, and no cgroup that says which."""
    told = as_root.run("mknod tmp/zero c 1 5", "--cgroups", "disabled", off=off)

    assert (told.result.status == 0) == off, told.result


def test_what_is_in_the_root_works(place):
    command = "echo x >tmp/x && mkdir tmp/d && mv tmp/x tmp/d && cat tmp/d/x && rm -r tmp/d && ls"
    told = place.run(
        command
        + " && echo >/dev/null && cat </dev/zero | head -c 1 >/dev/null && cat /proc/meminfo >/dev/null"
    )

    assert told.result.status == 0, told.result
    assert told.result.lines[0] == "x" and "bin" in told.result.lines


@pytest.mark.parametrize("name", ["/proc/1/cmdline", "/proc/kcore", "/proc/sys/kernel/hostname", "/dev/kmsg"])
def test_of_proc_and_dev_no_more_is_open_than_is_said(as_root, name):
    assert as_root.run("head -c 1 %s" % name).result.status != 0
    if name != "/proc/kcore" and name != "/dev/kmsg":  # other things keep these closed, too
        assert as_root.run("head -c 1 %s" % name, off=True).result.status == 0


@needs("root")
@pytest.mark.parametrize("where", ["proc", "srv/chroot/proc"])
def test_what_the_kernel_shows_in_a_root_is_closed(as_user, where):
    """As where somebody works in it by chroot(1): its /proc has every process of the host."""
    target = os.path.join(as_user.root, where)
    os.makedirs(target, exist_ok=True)
    as_user.minictr.command("mount", "-t", "proc", "proc", target).ok
    try:
        command = (
            "cat %s/1/status >/dev/null && echo open; ls >/dev/null && echo x >tmp/x && cat tmp/x" % where
        )
        told, off = as_user.run(command), as_user.run(command, off=True)
    finally:
        as_user.minictr.command("umount", target).ok

    assert told.result.lines == ["x"], told.result
    assert off.result.lines == ["open", "x"], off.result


@pytest.mark.parametrize(
    "options, status",
    [([], 0), (["--read-only"], 1), (["--overlay"], 1)],
    ids=["writable", "read-only", "an overlay that cannot be had"],
)
def test_a_root_is_as_writable_as_was_asked_for(as_user, options, status):
    told = as_user.run("echo x >tmp/x", *options)

    assert told.result.status == status, told.result


@pytest.mark.parametrize("mode, status", [("", 0), (":ro", 1), (":rro", 1)])
def test_a_volume_is_open_where_it_lies(as_user, mode, status):
    volume = "%s:/mnt%s" % (as_user.host, mode)
    told = as_user.run("cat {secret} && echo x >{host}/new", "--volume", volume)

    assert (told.result.status, told.result.lines[0]) == (status, "the host's"), told.result


@pytest.mark.parametrize("mode, status", [("", 0), (":noexec", 126)])
def test_a_volume_lets_programs_run_where_it_lies_unless_it_is_told_not_to(as_user, mode, status):
    told = as_user.run("{host}/true true", "--volume", "%s:/mnt%s" % (as_user.host, mode))

    assert told.result.status == status, told.result


def test_what_is_asked_for_lies_in_a_root_that_is_only_a_directory(as_user):
    words = ["--landlock", "rx=/bin", "--rootfs", as_user.root]
    command = ["sh", "-c", "cat etc/passwd || echo closed"]
    found = as_user.minictr("run", *words, "--", *command, user=as_user.account, refuse=as_user.refused)

    assert found.out == "closed\n", found


@with_namespaces
def test_with_mounts_of_its_own_the_root_shows_them_where_it_lies(minictr, busybox_copy):
    """A namespace can be had, but the root cannot be changed: then it is laid over its own place."""
    place = Place(minictr, busybox_copy(), None)
    place.refused = ["pivot_root", "chroot"]
    shown = place.host + ":/mnt:ro"
    told = place.run("cat mnt/secret; echo x >mnt/new; cat {secret}; ls proc/self/", "-v", shown)

    assert told.result.lines[0] == "the host's" and "cmdline" in told.result.lines, told.result
    assert told.result.out.count("the host's") == 1
    assert "new" not in os.listdir(place.host)


@with_namespaces
@needs("overlay", "userns-overlay", "idmap")
def test_an_overlay_that_is_laid_there_can_be_written_to(minictr, busybox_copy):
    place = Place(minictr, busybox_copy(), None)
    place.refused = ["pivot_root", "chroot"]
    told = place.run("echo x >new && cat new; echo x >{secret}", "--overlay")

    assert told.result.lines == ["x"], told.result
    assert "new" not in os.listdir(place.root) and os.path.getsize(place.secret) > 2


@with_namespaces
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_nor_is_more_open_where_it_cannot_be_laid_there(minictr, busybox_copy, error):
    """Its mounts lie on the stage, and a volume is reached where it lies, too: as it was asked for."""
    place = Place(minictr, busybox_copy(), None)
    place.refused = ["pivot_root", "chroot", "move_mount=" + error]
    other = support.SESSION.place("other", 0o777)
    script = "cat mnt/secret {secret}; echo x >{host}/new; echo x >mnt/new; echo x >{other}/new; cat {hidden}"
    more = {"other": other, "hidden": os.path.join(support.SESSION.place("hidden", 0o755), "file")}
    with open(more["hidden"], "w") as file:
        file.write("hidden\n")
    shown = ("-v", place.host + ":/mnt:ro", "-v", other + ":/srv")
    told = place.run(script, "--userns", "host", *shown, more=more)

    assert told.result.lines == ["the host's", "the host's"], told.result
    assert "new" not in os.listdir(place.host) and os.listdir(other) == ["new"]


@with_namespaces
def test_the_hosts_own_root_is_not_laid_over_itself(minictr):
    """Nothing of it is hidden by that, so that what a container of it would not show is closed."""
    secret = os.path.join(support.SESSION.place("host", 0o755), "secret")
    with open(secret, "w") as file:
        file.write("the host's\n")
    made = "/var/tmp/minictr-test-%d" % os.getpid()
    script = "cat /etc/os-release >/dev/null && echo shown; cat %s; echo x >%s; cat /proc/1/comm" % (
        secret,
        made,
    )
    run = minictr("run", "--userns", "host", "--", "sh", "-c", script, refuse=["pivot_root", "chroot"])

    assert (run.out, os.path.exists(made)) == ("shown\n", False), run


def test_the_hosts_own_root_shows_what_a_container_of_it_would_show(minictr, unranged):
    secret = os.path.join(support.SESSION.place("host", 0o755), "secret")
    with open(secret, "w") as file:
        file.write("the host's\n")
    made = "/var/tmp/minictr-test-%d" % os.getpid()
    script = "cat /etc/os-release >/dev/null && echo shown; ls /tmp /home /run; "
    script += "cat %s /etc/hostname; echo x >%s" % (secret, made)
    words = ["run", "--security-opt", "mask=/etc/hostname", "--", "sh", "-c", script]
    run = minictr(*words, user=unranged, refuse=NO_NAMESPACES)
    left = os.path.exists(made)
    off = minictr(*words, user=unranged, refuse=NO_NAMESPACES + OFF)
    os.unlink(made)

    assert (run.out, left) == ("shown\n", False), run
    assert "the host's" in off.out and off.status == 0


WATCH = """
import ctypes, os, sys
c = ctypes.CDLL(None)
watch = c.inotify_init1(0)
print(c.inotify_add_watch(watch, sys.argv[1].encode(), 0x100) > 0, flush=True)  # IN_CREATE
print(b"a name" in os.read(watch, 4096))
os.listdir(sys.argv[1])
"""


def test_that_files_outside_may_be_watched_is_told(minictr, unranged):
    """Landlock has no rule for it: names in a directory come out that cannot be listed."""
    place = unranged.place("watched")
    words = ["--", "/usr/bin/python3", "-IS", "-c", WATCH, place]
    live = minictr.start("run", *words, user=unranged, refuse=NO_NAMESPACES)
    live.expect("True\n")
    open(place + "/a name", "w").close()
    found = live.wait()

    assert (found.status, found.out) == (1, "True\nTrue\n"), found
    assert "watched (inotify)" in found.err and "PermissionError" in found.err, found


NAMED = """
import os, socket, sys
os.chdir(sys.argv[1])
try:
    socket.socket(socket.AF_UNIX).connect("socket")
except OSError as error:
    sys.exit(error.errno)
"""


@pytest.mark.parametrize("where", ["a volume", "outside", "outside, without Landlock"])
def test_a_socket_with_a_name_is_reached_in_a_volume_and_before_version_nine_outside(
    minictr, unranged, where
):
    place = unranged.place("named")
    denied = landlock.version() >= 9 and where == "outside"
    refused = NO_NAMESPACES + (OFF if "without" in where else [])
    words = ["-v", place + ":/mnt:ro"] if where == "a volume" else []
    words += ["--", "/usr/bin/python3", "-IS", "-c", NAMED, place]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place + "/socket")
        os.chmod(place + "/socket", 0o777)
        server.listen(1)
        told = ladders.tell(minictr, "run", *words, user=unranged, refuse=refused)
    lost = " ".join(record["lost"] for record in told.warnings if record["code"] == "root-chdir")

    assert told.result.status == (errno.EACCES if denied else 0), told.result
    if "without" not in where:
        assert ("named sockets" in lost) == (landlock.version() < 9)


# --- in the place of namespaces -------------------------------------------------------------------

# To a server of TCP, in Perl: $to is its address
WAYS = {
    "TCP": "socket(S, PF_INET, SOCK_STREAM, 6) or die $!; connect(S, $to) or die $!",
    "MPTCP": "socket(S, PF_INET, SOCK_STREAM, 262) or die $!; connect(S, $to) or die $!",
    "Fast Open": "socket(S, PF_INET, SOCK_STREAM, 6) or die $!; send(S, 1, 0x20000000, $to) or die $!",
}


@pytest.mark.parametrize("off", [False, True], ids=["with Landlock", "without"])
def test_without_a_pid_namespace_no_other_process_can_be_signalled(as_user, off):
    sleeper = as_user.minictr.start_command("sleep", "60", user=as_user.account)
    told = as_user.run("kill -0 {pid}", off=off, more={"pid": sleeper.pid})
    lost = [record["lost"] for record in told.warnings if record["code"] == "pid-namespace"]

    assert (told.result.status == 0) == off, told.result
    assert ["signalled" in text for text in lost] == [off]
    sleeper.kill()


LIMIT = """
import resource, sys
resource.prlimit(0, resource.RLIMIT_CORE, (0, 0))
try:
    resource.prlimit(int(sys.argv[1]), resource.RLIMIT_CPU, (1, 1))
except OSError as error:
    sys.exit(error.errno)
"""


@pytest.mark.parametrize("filtered", [True, False], ids=["with a filter", "without"])
def test_nor_can_one_be_ended_by_a_limit(minictr, unranged, filtered):
    """RLIMIT_CPU has the kernel kill it, and Landlock looks at no limits: the filter refuses it."""
    busy = minictr.start_command("sh", "-c", "while :; do :; done", user=unranged)
    words = [] if filtered else ["--security-opt", "seccomp=unconfined"]
    words += ["--", "/usr/bin/python3", "-IS", "-c", LIMIT, str(busy.pid)]
    told = ladders.tell(minictr, "run", *words, user=unranged, refuse=NO_NAMESPACES)
    if filtered:
        busy.kill()
    lost = [record["lost"] for record in told.warnings if record["code"] == "pid-namespace"]

    assert told.result.status == (errno.ESRCH if filtered else 0), told.result
    assert busy.wait().status in ((-9,) if filtered else (-9, -24))
    assert ["limit" in text for text in lost] == [not filtered]


@with_namespaces
def test_limits_of_others_are_out_of_reach_with_the_scope(minictr, ranged):
    other = minictr.start_command("sleep", "60", user=ranged)
    words = ["--pid", "host", "--", "/usr/bin/python3", "-IS", "-c", LIMIT, str(other.pid)]
    assert minictr("run", *words, user=ranged).status == 0
    assert minictr("run", "--landlock-scope", "signal", *words, user=ranged).status == errno.ESRCH
    other.kill()


@pytest.mark.parametrize("off", [False, True], ids=["with Landlock", "without"])
def test_without_a_network_namespace_there_is_no_tcp(as_user, off):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        port = listener.getsockname()[1]
        told = as_user.run("nc -w 1 127.0.0.1 {port} -e true", off=off, more={"port": port})

    assert (told.result.status == 0) == off, told.result


DATAGRAM = """
import socket, sys
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", int(sys.argv[1])))
except OSError as error:
    sys.exit(error.errno)
"""


@pytest.mark.parametrize("off", [False, True], ids=["with Landlock", "without"])
def test_nor_is_there_udp_from_version_ten_on(minictr, unranged, off):
    denied = landlock.version() >= 10 and not off
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0 if denied else 20)
        words = ["--", "/usr/bin/python3", "-IS", "-c", DATAGRAM, str(server.getsockname()[1])]
        told = ladders.tell(
            minictr, "run", *words, user=unranged, refuse=NO_NAMESPACES + (OFF if off else [])
        )
        try:
            arrived = server.recv(9) == b"x"
        except BlockingIOError:
            arrived = False
    (lost,) = [record["lost"] for record in told.warnings if record["code"] == "network-namespace"]

    assert (told.result.status, arrived) == (errno.EACCES if denied else 0, not denied), told.result
    assert ("UDP" in lost) == denied


@pytest.mark.skipif(not shutil.which("perl"), reason="there is no Perl")
@pytest.mark.parametrize("way", sorted(WAYS))
@pytest.mark.parametrize("kind", ["with Landlock", "without a filter", "without both"])
def test_nor_is_there_any_by_what_landlock_does_not_see(minictr, unranged, way, kind):
    refused = NO_NAMESPACES + (OFF if kind == "without both" else [])
    words = [] if kind == "with Landlock" else ["--security-opt", "seccomp=unconfined"]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        script = "use Socket; $to = sockaddr_in(%d, INADDR_LOOPBACK); " % listener.getsockname()[1]
        words += ["--", "perl", "-e", "close STDERR; " + script + WAYS[way]]
        told = ladders.tell(minictr, "run", *words, user=unranged, refuse=refused)
    lost = [record["lost"] for record in told.warnings if record["code"] == "network-namespace"]

    unseen = ("MPTCP", "Fast Open")
    if kind == "without a filter" and told.result.status == errno.EACCES:
        unseen = ("MPTCP",)  # mended in late stable kernels (6.12.118), by no new version of Landlock
    assert (told.result.status == 0) == (
        kind == "without both" or (kind != "with Landlock" and way in unseen)
    )
    assert ["MPTCP" in text for text in lost] == [kind == "without a filter"]


@pytest.mark.parametrize("off", [False, True], ids=["landlock", "without it"])
def test_a_hook_inside_is_held_as_the_program_is(minictr, busybox_copy, off):
    """It may be the image's."""
    made = bundles.Bundle(busybox_copy())
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        script = "timeout 1 nc 127.0.0.1 %d; true" % server.getsockname()[1]
        made.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
        made.process["args"] = ["true"]
        refused = ["clone&CLONE_NEWNET", "clone3=ENOSYS"] + (OFF if off else [])
        found = bundles.Runtime("minictr", minictr).run(made, "--allow-degraded", refuse=refused)
        server.settimeout(0.1)
        try:
            server.accept()[0].close()
            reached = True
        except socket.timeout:
            reached = False

    assert (found.status, reached) == (0, off), found


def test_only_what_was_lost_is_taken_away(minictr, busybox_copy):
    """--pid host and --net host are wishes, and no losses."""
    place = Place(minictr, busybox_copy(), None)
    place.refused = ["clone&CLONE_NEWUTS", "clone3=ENOSYS"]
    told = place.run("kill -0 {pid}", "--pid", "host", "--userns", "host", more={"pid": os.getpid()})

    assert told.result.status == 0, told.result


# --- what it says -----------------------------------------------------------------------------------


def test_a_confined_root_says_by_what_and_what_is_lost_all_the_same(place):
    told = place.run("true")
    (record,) = [record for record in told.warnings if record["layer"] in ("root", "Landlock")]

    assert (record["code"], record["got"]) == ("root-chdir", "chdir")
    assert record["lost"].startswith("Landlock (version ") and "owners" in record["lost"]


@pytest.mark.parametrize("error", ["ENOSYS", "EOPNOTSUPP", "EPERM"])
def test_where_there_is_no_landlock_a_further_record_says_so(as_user, error):
    as_user.refused = as_user.refused + ["landlock_create_ruleset=" + error]
    told = as_user.run("true")
    (record,) = [record for record in told.warnings if record["code"] == "landlock"]

    assert told.result.status == 0
    assert record["errno"] == ladders.number(error) and record["fix"]
    if error == "EOPNOTSUPP":
        assert "lsm=" in record["fix"]


def test_another_error_of_landlock_ends_the_start(as_user):
    as_user.refused = as_user.refused + ["landlock_create_ruleset=ENOMEM"]
    told = as_user.run("true")

    assert told.result == (125, "") and len(told.errors) == 1, told.result


@pytest.mark.parametrize("call", ["landlock_add_rule", "landlock_restrict_self"])
def test_half_a_confinement_is_none(as_user, call):
    as_user.refused = as_user.refused + [call + "=EPERM"]
    told = as_user.run("echo ran")

    assert told.result == (125, "") and "Landlock" in told.errors[0], told.result


def test_no_new_privs_is_set_whatever_was_asked(as_user):
    words = ["--security-opt", "no-new-privileges=false"]
    told = as_user.run("grep NoNewPrivs </proc/self/status; cat {secret}", *words)

    assert told.result.fields == ["NoNewPrivs:", "1"], told.result
    assert [record["code"] for record in told.notices if record["layer"] == "no_new_privs"] == [
        "no-new-privs"
    ]


def test_explain_tells_of_it(minictr, busybox_root):
    words = ["--landlock", "rx=/", "--landlock-bind", "none", "--rootfs", busybox_root, "--", "true"]
    lines = minictr("explain", *words).ok.lines

    assert any(line.endswith("confine the program to the root and volumes by Landlock") for line in lines)
    assert any(line.endswith("allow by Landlock no more than rx=/ bind=none") for line in lines)


# --- programs ---------------------------------------------------------------------------------------


class TestPrograms:
    """Of a root that is none: the kernel would look for their loaders on the host."""

    @pytest.fixture
    def run(self, minictr, debian_root, unranged):
        def run(*command, **options):
            words = ["--rootfs", debian_root] + options.pop("words", []) + ["--"] + list(command)
            return ladders.tell(minictr, "run", *words, user=unranged, refuse=NO_NAMESPACES, **options).result

        return run

    @pytest.mark.parametrize(
        "command",
        [
            ["bash", "-c", "echo $0"],
            ["/bin/bash", "-c", "echo $0"],
            ["/usr/bin/bash", "-c", "echo $0"],
        ],
        ids=["by PATH", "by a linked directory", "by its name"],
    )
    def test_a_dynamic_program_runs_by_the_roots_own_loader(self, run, debian_root, command):
        result = run(*command)

        assert result.status == 0 and result.lines[-1].startswith(debian_root + "/"), result

    def test_its_libraries_are_the_roots(self, run, debian_root):
        result = run("bash", "-c", "while read -r l; do echo $l; done </proc/self/maps")
        mapped = {line.split()[-1] for line in result.lines if ".so" in line}

        assert mapped and {name for name in mapped if not name.startswith(debian_root + "/")} == set(), result

    def test_a_script_runs_by_the_interpreter_that_it_names(self, run):
        result = run("ldd", "--version")

        assert result.status == 0 and "ldd" in result.lines[0], result

    def test_relative_names_start_from_the_working_directory(self, run):
        assert run("./env", "A=1", words=["--workdir", "/usr/bin"]).lines[-1] == "A=1"

    @pytest.mark.parametrize(
        "name, status, why",
        [
            ("no-such", 127, "not found in $PATH"), ("/no/such", 127, "no such file"),
            ("/etc", 126, "directory"), ("/etc/passwd", 126, "permission denied"),
            ("/../../../../bin/no-such", 127, "no such file"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_executed_is_told_as_ever(self, run, name, status, why):
        result = run(name)

        assert result.status == status and why in result.err.splitlines()[-1], result

    def test_a_missing_loader_is_told(self, minictr, busybox_copy, unranged):
        root = busybox_copy(unranged)
        shutil.copy("/bin/ls", os.path.join(root, "bin", "dynamic"))
        words = ["--rootfs", root, "--", "dynamic"]
        result = ladders.tell(minictr, "run", *words, user=unranged, refuse=NO_NAMESPACES).result

        assert result.status == 127 and "its interpreter or loader is missing" in result.err, result


# --- a further program ----------------------------------------------------------------------------


def test_a_further_program_of_such_a_container_is_confined_too(place):
    words = ["-d", "--name", "bare", "--rootfs", place.root, "--", "sleep", "60"]
    place.minictr("run", *words, user=place.account, refuse=place.refused)

    inside = place.minictr("exec", "bare", "sh", "-c", "ls; cat %s" % place.secret, user=place.account)
    place.minictr("delete", "--force", "bare", user=place.account).ok

    assert "bin" in inside.lines and "the host's" not in inside.out, inside
    assert "Permission denied" in inside.err


@with_namespaces
def test_nor_does_a_further_program_get_at_a_volume_where_it_lies(minictr, busybox_copy):
    """The mounts are to be seen in the root."""
    place = Place(minictr, busybox_copy(), None)
    words = ["-d", "--name", "bare", "-v", place.host + ":/mnt:ro", "--rootfs", place.root]
    assert minictr("run", *words, "--", "sleep", "60", refuse=["pivot_root", "chroot"]).status == 0

    inside = minictr("exec", "bare", "sh", "-c", "cat mnt/secret; cat %s" % place.secret)
    minictr("delete", "--force", "bare").ok

    assert inside.out == "the host's\n" and "Permission denied" in inside.err, inside


def test_nor_does_it_reach_what_a_namespace_would_hide(as_user):
    words = ["-d", "--name", "bare", "--rootfs", as_user.root, "--", "sleep", "60"]
    as_user.minictr("run", *words, user=as_user.account, refuse=as_user.refused)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        script = "timeout 1 nc 127.0.0.1 %d </dev/null" % server.getsockname()[1]
        inside = as_user.minictr("exec", "bare", "sh", "-c", script, user=as_user.account)
        as_user.minictr("delete", "--force", "bare", user=as_user.account).ok
        server.settimeout(0.1)
        with pytest.raises(socket.timeout):
            server.accept()

    assert "Permission denied" in inside.err, inside


# --- on request -------------------------------------------------------------------------------------


@pytest.fixture(params=["root", "ranged"])
def inside(request, minictr, busybox_root):
    support.require("userns", "rootless")
    account = request.getfixturevalue("ranged") if request.param == "ranged" else None

    def run(command, *words, **options):
        words = list(words) + ["--rootfs", busybox_root, "--read-only", "--tmpfs", "/tmp:exec"]
        words += ["--", "sh", "-c", command]
        return minictr("run", *words, user=account, **options)

    return run


SERVE = "nc -l -p 80 >/dev/null & sleep 0.3; echo x | nc -w 2 127.0.0.1 80; s=$?; kill $!; exit $s"
ASKED = {
    "reading": (["--landlock", "rx=/bin,rw=/tmp"], "cat /etc/passwd"),
    "listing": (["--landlock", "rx=/bin,rw=/tmp"], "ls /"),
    "writing": (["--landlock", "rx=/"], "echo x >/tmp/x"),
    "executing": (["--landlock", "rx=/bin,rw=/tmp"], "cp /bin/busybox /tmp/true && /tmp/true"),
    "mounting for root": (["--landlock", "rwx=/", "--cap-add", "sys_admin"], "mount -t tmpfs none /tmp"),
    "connecting": (["--landlock-connect", "81"], SERVE),
    "binding": (["--landlock-bind", "none"], SERVE),
}


@pytest.mark.parametrize("what", sorted(ASKED))
def test_what_is_not_allowed_is_denied(inside, what):
    words, command = ASKED[what]
    others = [word for word in words if word in ("--cap-add", "sys_admin")]

    assert inside(command, *others).status == 0
    assert inside(command, *words).status != 0


@pytest.mark.parametrize(
    "words, command",
    [
        (["--landlock", "rx=/bin,rw=/tmp"], "ls /bin && echo x >/tmp/x && cat /tmp/x"),
        (["--landlock", "rx=/,rw=/tmp"], "cat /etc/passwd && echo x >/tmp/x"),
        (["--landlock", "rwx=/"], "cp /bin/busybox /tmp/true && /tmp/true"),
        (["--landlock-connect", "80", "--landlock-bind", "80"], SERVE),
        (["--landlock-scope", "signal", "--init"], "sleep 9 & kill -0 $! && kill $!"),
    ],
)
def test_what_is_allowed_works(inside, words, command):
    assert inside(command, *words).status == 0


@with_namespaces
@pytest.mark.parametrize("scope", [[], ["--landlock-scope", "signal"]], ids=["without", "with the scope"])
def test_other_processes_are_out_of_reach_with_the_scope(minictr, busybox_root, ranged, scope):
    other = minictr.start_command("sleep", "60", user=ranged)
    words = scope + ["--pid", "host", "--rootfs", busybox_root, "--", "kill", "-0", str(other.pid)]
    result = minictr("run", *words, user=ranged)
    other.kill()

    assert (result.status == 0) == (not scope), result


@with_namespaces
@needs("mmdebstrap")
@pytest.mark.parametrize("scope", [[], ["--landlock-scope", "abstract"]], ids=["without", "with the scope"])
def test_an_abstract_socket_of_others_is_out_of_reach_with_the_scope(minictr, debian_root, scope):
    name = "minictr-test-%d" % os.getpid()
    script = (
        "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un(qq(\\0%s))) or die $!" % name
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name)
        listener.listen(5)
        words = scope + ["--net", "host", "--rootfs", debian_root, "--read-only", "--", "perl", "-e", script]
        result = minictr("run", *words)

    assert (result.status == 0) == (not scope), result


@with_namespaces
@needs("mmdebstrap")
@pytest.mark.parametrize("way", sorted(WAYS))
@pytest.mark.parametrize("by", ["run", "exec", "no filter", "one that allows all", "free"])
def test_no_way_leads_to_a_port_that_is_not_allowed(minictr, debian_root, tmp_path, way, by):
    """Landlock looks at plain TCP alone, so the filter refuses what else reaches a server of TCP."""
    profile = tmp_path / "profile.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        script = "use Socket; $to = sockaddr_in(%d, INADDR_LOOPBACK); " % listener.getsockname()[1]
        program = ["perl", "-e", script + WAYS[way]]
        words = ["--net", "host", "--rootfs", debian_root, "--read-only"]
        words += ["--landlock-connect", "none"] if by != "free" else []
        words += {
            "no filter": ["--security-opt", "seccomp=unconfined"],
            "one that allows all": ["--security-opt", "seccomp=%s" % profile],
        }.get(by, [])
        if by == "exec":
            minictr("run", "-d", "--name", "ports", *(words + ["--", "sleep", "60"])).ok
            found = minictr("exec", "ports", *program)
            minictr("delete", "--force", "ports").ok
        else:
            found = minictr("run", *(words + ["--"] + program))
        listener.settimeout(0.1)
        try:
            listener.accept()[0].close()
            came = True
        except socket.timeout:
            came = False

    assert came == (by == "free" or (by == "no filter" and way != "TCP")), found
    assert ("lost: by MPTCP" in found.err) == (by == "no filter")


@with_namespaces
def test_that_there_is_no_filter_beside_rules_for_ports_is_refused_where_it_must_not_be(
    minictr, busybox_root
):
    words = ["--landlock-bind", "80", "--rootfs", busybox_root]
    strict = minictr("run", "--strict", "--security-opt", "seccomp=unconfined", *(words + ["--", "true"]))

    assert strict.status == 123 and "bind=80 is required: there is no filter of system calls" in strict.err


def test_without_no_new_privs_it_is_in_force_as_well(inside):
    words = ["--landlock", "rx=/", "--security-opt", "no-new-privileges=false"]
    run = inside("grep NoNewPrivs /proc/self/status; echo x >/tmp/x", *words)

    assert run.fields == ["NoNewPrivs:", "0"] and run.status != 0, run


def test_a_program_that_may_not_be_executed_is_told_with_the_cure(inside):
    run = inside("true", "--landlock", "r=/")

    assert run.status == 126 and "rx=PATH" in run.err, run


def test_a_path_that_is_missing_ends_the_start(inside):
    run = inside("true", "--landlock", "rx=/,rw=/no/such")

    assert run == (125, "") and run.err.startswith("minictr: allow /no/such by Landlock: No such file"), run


@with_namespaces
def test_the_state_shows_what_was_asked_for_and_exec_obeys(minictr, busybox_root):
    words = ["--landlock", "rx=/", "--landlock-bind", "80", "-d", "--name", "asked", "--rootfs", busybox_root]
    minictr("run", *(words + ["--tmpfs", "/tmp", "--", "sleep", "60"])).ok
    shown = json.loads(minictr("state", "asked").ok.out)
    denied = minictr("exec", "asked", "sh", "-c", "echo x >/tmp/x")
    minictr("delete", "--force", "asked").ok

    assert json.loads(shown["annotations"]["org.minictr.landlock"]) == ["rx=/", "bind=80"]
    assert denied.status == 1 and "Permission denied" in denied.err


@with_namespaces
@pytest.mark.parametrize(
    "change",
    [
        "rm -r shelf/in; ln -s /etc shelf/in", "rm -r shelf/in", "rm -r shelf/in; ln -s in shelf/in",
        "rm -r shelf/in; touch shelf/in", ":",
    ],
)  # fmt: skip
def test_a_link_that_the_container_makes_opens_nothing_to_a_further_program(minictr, busybox_copy, change):
    """The rules of `exec` are for the files that they were for when the container started."""
    root = busybox_copy()
    os.makedirs(root + "/shelf/in/deep")
    with open(root + "/shelf/in/file", "w") as file:
        file.write("inside\n")
    places = "rx=/bin,w=/shelf,r=/shelf/in,r=/shelf/in/deep"
    words = ["--landlock", places, "-d", "--name", "moved", "--rootfs", root]
    script = "cd /; %s; mkdir shelf/done; sleep 60" % change
    minictr("run", *(words + ["--", "sh", "-c", script])).ok
    support.wait_until(lambda: os.path.exists(root + "/shelf/done"))
    found = minictr("exec", "moved", "sh", "-c", "cat /etc/passwd; cat /shelf/in/file; /bin/true && echo ran")
    minictr("delete", "--force", "moved").ok

    assert found.out == ("inside\n" if change == ":" else "") + "ran\n", found


@with_namespaces
@pytest.mark.parametrize("error", ["ENOSYS", "EOPNOTSUPP"])
@pytest.mark.parametrize(
    "asked, options",
    [
        ("rx=/bin", ["--landlock", "rx=/bin"]),
        ("connect=443", ["--landlock-connect", "443", "--security-opt", "seccomp=unconfined"]),
    ],
    ids=["files", "ports without a filter"],
)
def test_what_is_asked_for_and_cannot_be_had_is_a_record(minictr, busybox_root, error, asked, options):
    words = options + ["--rootfs", busybox_root, "--", "cat", "/etc/passwd"]
    refused = ["landlock_create_ruleset=" + error]
    told = ladders.tell(minictr, "run", *words, refuse=refused)
    strict = minictr("run", "--strict", *words, refuse=refused)

    assert told.result.status == 0 and "root" in told.result.out
    assert told.short() == [("landlock-asked", "Landlock", asked, "nothing", ladders.number(error))]
    assert (strict.status, strict.out) == (123, "") and "Landlock: %s is required" % asked in strict.err


def test_the_program_gets_no_descriptor_of_ours(inside):
    run = inside("ls -l /proc/self/fd", "--landlock", "rx=/", "--init")

    assert "landlock" not in run.out and len(run.lines) == 5, run  # 0 to 2, and that of ls
