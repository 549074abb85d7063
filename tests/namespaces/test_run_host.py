"""`run` without --rootfs: the host's own root, read-only, with nothing private to be seen."""

import os
import subprocess
import tempfile

import pytest
import support
from support import needs

pytestmark = needs("root", "userns", "rootless", "newuidmap")


@pytest.fixture
def shown():
    """A directory of the host's that no private place hides, owned by root: mode 0755."""
    with tempfile.TemporaryDirectory(prefix="minictr-test-", dir="/var/lib") as directory:
        os.chmod(directory, 0o755)
        yield directory


def test_a_shell_runs_with_nothing_downloaded(minictr, caller):
    run = minictr("run", "--", "sh", "-c", "echo hello from $(id -u)", **caller.options)

    assert caller.expect(run).out == "hello from 0\n"


@pytest.mark.parametrize(
    "place", ["/", "/etc", "/usr", "/usr/bin", "/var", "/var/lib", "/boot", "/opt", "/srv"]
)
def test_nothing_can_be_written_to_it(minictr, strong_caller, place):
    name = "%s/minictr-must-not-be" % place.rstrip("/")
    run = minictr("run", "--", "touch", name, **strong_caller.options)

    assert (run.status, run.err) == (1, "touch: cannot touch '%s': Read-only file system\n" % name)
    assert not os.path.exists(name)


def test_not_even_by_the_hosts_root_in_its_own_user_namespace(minictr):
    run = minictr("run", "--userns", "host", "--", "touch", "/etc/minictr-must-not-be")

    assert (run.status, run.err.split(": ")[-1]) == (1, "Read-only file system\n")
    assert not os.path.exists("/etc/minictr-must-not-be")


@pytest.mark.parametrize("place", ["/tmp", "/var/tmp", "/run", "/dev", "/dev/shm", "/home", "/root"])
def test_private_places_can_be_written_to_and_the_host_sees_none_of_it(minictr, caller, place):
    name = place + "/minictr-must-not-be"
    run = minictr("run", "--", "sh", "-c", 'echo x >"$0" && cat "$0"', name, **caller.options)

    assert caller.expect(run).out == "x\n"
    assert not os.path.exists(name)


@pytest.mark.parametrize("place", ["/tmp", "/var/tmp", "/run", "/home", "/root"])
def test_what_the_host_has_there_is_hidden(minictr, caller, place):
    run = minictr("run", "--", "ls", "-A", place, **caller.options)

    assert caller.expect(run).out == ""


def test_the_callers_home_is_hidden_wherever_it_is(minictr, shown, strong_caller):
    home = shown + "/home-of-mine"
    os.mkdir(home)
    with open(home + "/letter", "w"):
        pass
    run = minictr("run", "--", "ls", "-A", home, env={"HOME": home}, **strong_caller.options)

    assert run.ok.out == ""


def test_a_working_directory_that_is_hidden_is_told_how_to_show(minictr, ranged):
    run = minictr("run", "-w", ranged.home, "--", "pwd", user=ranged)
    said = "minictr: change to the working directory %s: No such file or directory" % ranged.home
    assert run == (125, "", said + "; hint: --volume SRC:DST shows what the host has there\n")


@pytest.mark.parametrize("name", ["ranged", "unranged"])
@pytest.mark.parametrize("options", [(), ("--overlay",)], ids=["", "overlay"])
def test_who_keeps_its_id_has_an_empty_home_that_it_can_write_to(minictr, request, name, options):
    """It was not there, or root's."""
    account = request.getfixturevalue(name)
    env, words = {"HOME": account.home}, ("run", "--userns", "keep-id") + options
    with open(account.home + "/letter", "w"):
        pass
    run = minictr(
        *words + ("--", "sh", "-c", "cd && pwd && ls -A && echo x >y && cat y"), user=account, env=env
    )
    assert (run.status, run.out) == (0, account.home + "\nx\n"), run
    assert "y" not in os.listdir(account.home)
    above = os.path.dirname(account.home)
    run = minictr(*words + ("-v", above + ":" + above, "--", "ls", account.home), user=account, env=env)
    assert run.status == 0 and "letter" in run.lines, run  # it was handed in


@pytest.fixture
def chroot(shown):
    """A root beside the host's that somebody works in, with what the kernel shows of all processes."""
    places = [os.path.join(shown, "root", name) for name in ("proc", "sys", "dev/pts")]
    made = []
    try:
        for place, kind in zip(places, ("proc", "sysfs", "devpts")):
            os.makedirs(place)
            subprocess.run(["mount", "-t", kind, "none", place], check=True)
            made.append(place)
        yield os.path.dirname(places[0])
    finally:
        for place in made:
            subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("mode", [0o755, 0o700])
@pytest.mark.parametrize("options", [(), ("--overlay",)], ids=["read-only", "overlay"])
def test_what_the_kernel_shows_in_another_root_of_the_host_is_hidden(
    minictr, strong_caller, chroot, mode, options
):
    os.chmod(chroot, mode)
    script = "cd %s 2>/dev/null && find proc sys dev/pts; true" % chroot
    run = minictr("run", *(options + ("--", "sh", "-c", script)), **strong_caller.options)

    assert (run.status, run.fields) == (0, ["proc", "sys", "dev/pts"] if mode == 0o755 else []), run


def test_it_is_shown_to_who_asks_for_it(minictr, chroot):
    for option in (("-v", "%s:%s" % (chroot, chroot)), ("--security-opt", "unmask=ALL")):
        run = minictr("run", *(option + ("--", "ls", chroot + "/proc")))
        assert run.status == 0 and str(os.getpid()) in run.fields, run


def test_dev_has_the_default_devices_and_none_of_the_hosts_disks(minictr, caller):
    run = minictr("run", "--", "ls", "/dev", **caller.options)

    expected = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert caller.expect(run).fields == expected.split()


def test_proc_shows_the_containers_processes_alone(minictr, caller):
    run = minictr("run", "--", "sh", "-c", "echo /proc/[0-9]*", **caller.options)

    assert caller.expect(run).out == "/proc/1\n"


# --- secrets ------------------------------------------------------------------------------------


@pytest.fixture
def secret(shown):
    name = shown + "/secret"
    with open(name, "w") as file:
        file.write("do not tell\n")
    os.chmod(name, 0o600)
    return name


def test_what_only_root_may_read_stays_unreadable(minictr, caller, secret):
    run = minictr("run", "--", "cat", secret, **caller.options)

    assert (run.status, run.out) == (1, "")
    assert caller.said(run) == "cat: %s: Permission denied\n" % secret


@pytest.mark.parametrize(
    "options", [("--overlay",), ("--cap-add", "ALL"), ("--init",), ("--pid", "host")], ids=" ".join
)
def test_it_stays_so_with_other_options(minictr, strong_caller, secret, options):
    run = minictr("run", *options, "--", "cat", secret, **strong_caller.options)

    assert (run.status, run.out) == (1, "")
    assert run.err.endswith("cat: %s: Permission denied\n" % secret)


def test_only_the_hosts_root_reads_it_where_root_asks_for_that(minictr, secret):
    assert minictr("run", "--userns", "host", "--", "cat", secret).ok.out == "do not tell\n"


def test_a_set_user_id_program_gives_no_power_over_the_host(minictr, caller, secret):
    script = "test -u /usr/bin/passwd && su -c 'cat %s' </dev/null" % secret
    run = minictr("run", "--", "sh", "-c", script, **caller.options)

    assert run.status != 0
    assert "do not tell" not in run.out + run.err


def test_a_file_of_a_group_that_the_caller_has_on_the_host_is_closed(minictr, shown):
    name = shown + "/for-a-group"
    with open(name, "w") as file:
        file.write("do not tell\n")
    os.chmod(name, 0o640)
    os.chown(name, 0, 4)  # adm
    run = minictr("run", "--", "cat", name, setup=lambda: os.setgroups([0, 4]))

    assert (run.status, run.out) == (1, "")


# --- --overlay ----------------------------------------------------------------------------------


def only_about_overlays(text):
    lines = text.splitlines()
    return [
        line for line in lines if not line.startswith("minictr: warning: root: wanted a writable overlay")
    ]


@needs("overlay")
@pytest.mark.parametrize("place", ["/etc", "/var", "/opt"])
def test_an_overlay_makes_it_writable_and_throws_the_changes_away(minictr, caller, place):
    with open("/proc/self/mountinfo") as file:
        if [line for line in file if line.split()[4].split("/")[1] == place[1:]]:
            pytest.skip("something is mounted below %s, which stays read-only then" % place)
    name = place + "/minictr-must-not-be"
    script = 'echo x >"$0" && cat "$0"'
    run = minictr("run", "--overlay", "--", "sh", "-c", script, name, **caller.options)

    assert (run.status, run.out) == (0, "x\n")
    assert only_about_overlays(caller.said(run)) == []
    assert not os.path.exists(name)


@needs("overlay")
def test_an_overlay_of_the_hosts_root_can_change_its_files(minictr):
    script = "echo changed >/etc/hosts; cat /etc/hosts; rm /etc/passwd; ls /etc/passwd"
    with open("/etc/hosts") as file:
        before = file.read()
    run = minictr("run", "--userns", "host", "--overlay", "--", "sh", "-c", script)

    assert run.out == "changed\n"
    assert only_about_overlays(run.err)[0].startswith("ls: cannot access '/etc/passwd'")
    assert os.path.exists("/etc/passwd")
    with open("/etc/hosts") as file:
        assert file.read() == before


@needs("overlay", "root", "seccomp", "pidfd")
def test_directories_that_cannot_be_overlaid_are_one_line(minictr):
    script = os.path.join(support.CHECKOUT, "tests", "unmountable.py")
    command = [support.python(), script, "overlay", "--", support.python(), "-m", "minictr"]
    command += ["--root", minictr.state(), "run", "--userns", "host", "--overlay", "--", "true"]
    found = minictr.command(*command, env={"PYTHONPATH": support.checkout()})
    refused = [line for line in found.err.splitlines() if "mounted there or below" not in line]
    assert (found.status, len(refused)) == (0, 1), found
    assert "wanted a writable overlay of /" in refused[0] and " /usr, " in refused[0], found


@needs("overlay")
def test_strict_refuses_an_overlay_that_is_not_whole(minictr):
    run = minictr("run", "--strict", "--overlay", "--", "true")

    assert (run.status, run.out) == (123, "")
    assert run.err.startswith("minictr: root: a writable overlay") and run.err.count("\n") == 1


# --- volumes on it ------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["/tmp/work", "/home/me/work", "/run/work", "/root/work", "/srv", "/mnt"])
def test_a_volume_can_be_shown_in_it(minictr, strong_caller, tmp_path, place):
    (tmp_path / "file").write_text("from outside\n")
    run = minictr(
        "run", "-v", "%s:%s" % (tmp_path, place), "--", "cat", place + "/file", **strong_caller.options
    )

    assert run.ok.out == "from outside\n"


@needs("idmap")
def test_a_volume_of_root_s_keeps_its_ids_and_the_root_beside_it_does_not(minictr, shown, secret, tmp_path):
    tmp_path.chmod(0o700)
    script = "cd /mnt; touch made; stat -c %%u . %s; cat %s" % (secret, secret)
    run = minictr("run", "-v", "%s:/mnt" % tmp_path, "--", "sh", "-c", script)

    assert (run.status, run.out) == (1, "0\n65534\n")
    assert run.err == "cat: %s: Permission denied\n" % secret
    assert os.stat(str(tmp_path / "made")).st_uid == 0


RESOLVER = """set -e; mount --make-rprivate /; mount -t tmpfs run /run; mkdir /run/upper /run/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work etc /etc
ln -sf /run/names /etc/resolv.conf; echo secret >/run/names; chmod 600 /run/names; exec "$@"
"""


@needs("unshare", "overlay")
def test_the_list_of_name_servers_is_shown_as_it_is_on_the_host(minictr):
    """It lies in /run, which is hidden, so that it is mounted; but nobody has asked for it as a volume."""
    words = ["unshare", "-m", "sh", "-c", RESOLVER, "sh", support.python(), "-m", "minictr"]
    words += ["--root", minictr.state(), "run", "--net", "host", "--", "sh", "-c"]
    words.append("stat -Lc %u /etc/resolv.conf; cat /etc/resolv.conf")
    run = minictr.command(*words, env={"PYTHONPATH": support.checkout()})

    assert (run.status, run.out) == (1, "65534\n"), run
    assert run.err == "cat: /etc/resolv.conf: Permission denied\n"


def test_a_volume_at_a_place_that_does_not_exist_is_refused(minictr, tmp_path):
    run = minictr("run", "-v", "%s:/nowhere" % tmp_path, "--", "true")

    assert (run.status, run.out) == (125, "")
    assert "/nowhere does not exist on the host, whose root is read-only here" in run.err
    assert run.err.count("\n") == 1


def test_another_containers_files_and_processes_are_out_of_reach(minictr, strong_caller):
    script = "touch /tmp/minictr-mark; echo ready; cat"
    other = minictr.start("run", "--", "sh", "-c", script, **strong_caller.options)
    other.expect("ready\n")
    run = minictr("run", "--", "sh", "-c", "ls -A /tmp; kill -9 %d" % other.pid, **strong_caller.options)

    assert (run.status, run.out) == (1, "")
    assert "No such process" in run.err
    assert not os.path.exists("/tmp/minictr-mark")
    other.close_input()
    assert other.wait().status == 0
