"""minictr inside a container: of runc, crun, bubblewrap, and its own."""

import json
import os

import bundles
import ladders
import pytest
import support
from support import needs

pytestmark = needs("root", "userns", "busybox")

STATE = "/run/inner"  # in the memory of the outer container


class Outer:
    """A container without CAP_SYS_ADMIN, and with a part of /proc covered, in which Python is.

    account: whose it is, None for root
    """

    def __init__(self, minictr, name, account, root):
        self.minictr, self.name, self.account, self.root = minictr, name, account, root
        self.program = "%s -m minictr --root %s" % (support.python(), STATE)
        self.seccomp = None
        prefix = os.path.dirname(os.path.dirname(os.path.realpath(support.python())))
        programs = [
            path for path in ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc") if os.path.isdir(path)
        ]
        more = [prefix, support.checkout(), support.SESSION.directory]
        self.shown = programs + [place for place in more if place not in programs]  # Debian's own is in /usr
        for path in self.shown:
            os.makedirs(root + path, exist_ok=True)

    def run(self, *words):
        """What minictr WORDS tells in there."""
        log = os.path.join(support.SESSION.place("log", 0o777), "log")
        inner = self.program.split() + ["--log", log, "--log-format", "json"]
        return ladders.Told(self.command(*(inner + list(words))), log)

    def command(self, *words):
        if self.name in ("runc", "crun"):
            return self._bundle(list(words))
        path = "PYTHONPATH=" + support.checkout()
        if self.name == "bwrap":
            outer = ["bwrap", "--bind", self.root, "/", "--dev", "/dev", "--proc", "/proc"]
            for place in self.shown:
                outer += ["--bind", place, place]
            outer += ["--ro-bind", "/dev/null", "/proc/keys", "--unshare-all", "--setenv"] + path.split("=")
            return self.minictr.command(*(outer + ["--"] + list(words)), user=self.account)
        outer = ["run", "--security-opt", "seccomp=unconfined", "--rootfs", self.root, "-e", path]
        for place in self.shown:
            outer += ["-v", "%s:%s:bind" % (place, place)]  # alone: below it are roots that have a /proc
        return self.minictr(*(outer + ["--"] + list(words)), user=self.account)

    def _bundle(self, words):
        made = bundles.Bundle(self.root)
        for place in self.shown:
            source = os.path.realpath(place)
            entry = {"destination": place, "type": "bind", "source": source, "options": ["bind", "rw"]}
            made.config["mounts"].append(entry)
        made.config["root"]["readonly"] = False
        made.process["args"] = words
        if self.seccomp:
            made.linux["seccomp"] = self.seccomp
        made.process["env"].append("PYTHONPATH=" + support.checkout())
        result = bundles.Runtime(self.name, self.minictr).run(made)
        os.rename(made.root, self.root)
        return result


KINDS = ("runc", "crun", "bwrap", "minictr", "minictr of a user")


@pytest.fixture(params=KINDS)
def outer(request, minictr, busybox_copy):
    name = request.param.split()[0]
    account = None
    if name == "bwrap" or request.param != name:
        support.require("rootless", "newuidmap")
        account = request.getfixturevalue("ranged")
    if name != "minictr":
        support.require(name)
    return Outer(minictr, name, account, busybox_copy(account))


def test_a_container_starts_inside_and_says_what_it_lost(outer, busybox_root):
    script = "id -u; hostname; ls /proc; cat /etc/hostname; echo x > /dev/null && echo written"
    told = outer.run("run", "--hostname", "box", "--rootfs", busybox_root, "--", "sh", "-c", script)

    assert told.result.status == 0, told.result
    lost = [record["code"] for record in told.warnings]
    assert lost[0] == "idmap-alone" and lost[1] in ("proc-empty", "proc-subset")
    assert lost[2:] == ["sysfs-none" if outer.name == "bwrap" else "sysfs-host"]  # which mounts no /sys
    assert "/proc/keys" in told.warnings[1]["why"] or "and 5 more" in told.warnings[1]["why"]
    assert told.result.lines[:2] == ["0", "box"] and told.result.lines[-2:] == ["busybox", "written"]
    assert lost[1] == "proc-subset" or told.result.lines[2:-2] == []


def test_its_namespaces_are_not_those_around_it(outer, busybox_root):
    look = "for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done"
    run = "run --host-proc --rootfs %s -- sh -c '%s'" % (busybox_root, look)
    result = outer.command("sh", "-c", "%s; exec %s 2>/dev/null" % (look, outer.program + " " + run))

    assert result.status == 0, result
    assert len(result.lines) == len(set(result.lines)) == 14


def test_its_files_are_protected_as_anywhere(outer, busybox_root):
    script = "touch /x; touch /mnt/x; touch /tmp/x && echo written; head -c 2 /dev/zero | wc -c"
    words = ["run", "--read-only", "--tmpfs", "/tmp", "-v", "/etc:/mnt:ro", "--rootfs", busybox_root]
    told = outer.run(*(words + ["--", "sh", "-c", "{ %s; } 2>&1" % script]))

    assert [line.rpartition(": ")[2] for line in told.result.lines] == [
        "Read-only file system", "Read-only file system", "written", "2",
    ], told.result  # fmt: skip


def test_the_root_around_it_is_its_own_without_a_rootfs(outer):
    told = outer.run("run", "--", "sh", "-c", "{ touch /x; cat /etc/hostname; } 2>&1")

    with open("/etc/hostname") as file:
        expected = ["touch: cannot touch '/x': Read-only file system", file.read().strip()]
    assert told.result.lines == expected, told.result


def test_strict_refuses_it(outer, busybox_root):
    told = outer.run("run", "--strict", "--rootfs", busybox_root, "--", "echo", "started")

    assert told.result == (123, ""), told.result
    assert told.lines == ["minictr: " + told.errors[0]]


def test_a_container_lives_there_and_is_ended_there(outer, busybox_root):
    """In one process namespace, which ends with the outer container."""
    script = "set -e; exec 2>&1; M='%s'; $M run -d --name one --rootfs %s -- sleep 100; "
    script %= (outer.program, busybox_root)
    script += "$M list -q; $M stop -t 0 one; $M state -q one || echo $?; $M delete one; $M list -q"
    result = outer.command("sh", "-c", script)

    lines = [line for line in result.lines if not line.startswith("minictr: warning: ")]
    assert (result.status, lines) == (0, ["one", "one", "1"]), result


# --- as Docker and podman start containers --------------------------------------------------------

# What their filters refuse a container without CAP_SYS_ADMIN (moby, profiles/seccomp/default.json)
REFUSED = """mount umount2 pivot_root unshare setns fsopen fsconfig fsmount fspick open_tree move_mount
    mount_setattr sethostname setdomainname keyctl add_key bpf""".split()


@pytest.mark.parametrize("name", ["runc", "crun"])
def test_inside_of_docker_the_chroot_is_left(minictr, busybox_copy, busybox_root, name):
    support.require(name)
    outer = Outer(minictr, name, None, busybox_copy())
    clone = {"index": 0, "value": 0x7E020000, "op": "SCMP_CMP_MASKED_EQ", "valueTwo": 0}
    outer.seccomp = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [clone]},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": _allowed(), "action": "SCMP_ACT_ALLOW"},
        ],
    }
    script = "id -u; cat /etc/hostname; ls /; cd ..; cat etc/hostname"
    told = outer.run("run", "--rootfs", busybox_root, "--", "sh", "-c", script)

    assert told.result.status == 0, told.result
    assert told.result.lines == ["0", "busybox"] + sorted(os.listdir(busybox_root)) + ["busybox"]
    kinds = ["user", "cgroup", "ipc", "mount", "network", "pid", "uts"]
    names = ["idmap-alone"] + [kind + "-namespace" for kind in kinds] + ["root-chroot"]
    assert [record["code"] for record in told.warnings] == names
    assert [record for record in told.warnings if not record["fix"]] == []


def _allowed():
    from minictr import syscalls  # the names of this machine's calls

    return sorted(set(syscalls.table(os.uname().machine)) - set(REFUSED + ["clone", "clone3"]))


# --- in a user namespace of one id ----------------------------------------------------------------


def alone(minictr, *words):
    """minictr WORDS as root of a namespace in which setgroups(2) is denied (unshare(1), --map-root-user)."""
    command = ["unshare", "-U", "-r", support.python(), "-m", "minictr", "--root", minictr.state()]
    return minictr.command(*(command + list(words)), env={"PYTHONPATH": support.checkout()})


@needs("unshare")
@pytest.mark.parametrize("options", [(), ("--userns", "host")], ids=["below", "in it"])
def test_a_container_starts_in_a_user_namespace_where_groups_are_denied(minictr, busybox_root, options):
    """It has no group 5 for terminals, and its cgroup no rules for devices: those are the host's root's."""
    script = "cat /proc/self/setgroups /proc/self/uid_map; stat -c %g /dev/pts/ptmx; id -G"
    found = alone(minictr, "run", *(options + ("--rootfs", busybox_root, "--", "sh", "-c", script)))

    assert found.ok.lines[0] == "deny" and found.fields[1:] == "0 0 1 0 0".split(), found


@needs("unshare")
def test_a_user_who_is_not_among_its_ids_is_named(minictr, busybox_root):
    words = ("--userns", "host", "-u", "1000:0", "--rootfs", busybox_root, "--", "true")
    said = "minictr: become user 1000: Invalid argument; hint: map the id: --uidmap, or a range\n"
    assert alone(minictr, "run", *words) == (125, "", said)


@needs("unshare")
def test_doctor_finds_the_user_namespace_below_one_where_groups_are_denied(minictr):
    checks = json.loads(alone(minictr, "doctor", "--json").out)["checks"]
    found = {check["check"]: check["ok"] for check in checks}
    assert (found["user namespace"], found["id maps"]) == (True, True), checks


@needs("unshare")
@pytest.mark.parametrize("options", [(), ("--userns", "host")], ids=["below", "in it"])
def test_groups_that_are_denied_there_are_told_of(minictr, busybox_root, options):
    words = options + ("--group-add", "0,70,71", "--rootfs", busybox_root, "--", "id", "-G")
    found = alone(minictr, "run", *words)
    told = "groups: wanted 70, 71, got none of them; setgroups(2) is denied in the user namespace around us"
    assert (found.status, found.out) == (0, "0\n")
    assert found.err.startswith("minictr: warning: " + told) and found.err.count("\n") == 1

    assert alone(minictr, "run", "--strict", *words).status == 123


@needs("unshare")
def test_a_root_that_is_the_only_id_there_is_not_to_be_mapped_to_another(minictr, busybox_root):
    found = alone(minictr, "run", "--require", "rootless", "--rootfs", busybox_root, "--", "true")
    assert (found.status, found.out) == (123, "")
    assert found.err == (
        "minictr: user is required: root inside is root of the user namespace around us; hint: start outside"
        " of the user namespace around us, which has no other id\n"
    )
