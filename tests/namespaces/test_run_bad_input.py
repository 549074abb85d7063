"""`run` on bad input: one clear line, an exit status of ours, and nothing on the host touched."""

import json
import os
import resource
import stat

import pytest
from canaries import refused
from support import needs

pytestmark = needs("root", "userns", "rootless", "newuidmap", "busybox")


# --- the root -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: open(path, "w").close(), "Not a directory"),
        (os.mkfifo, "Not a directory"),
        (lambda path: os.symlink("root", path), "levels of symbolic links"),
        (lambda path: os.symlink("/", path), "is the host's own root"),
        (os.mkdir, "executable file not found in $PATH"),
    ],
    ids=["missing", "a file", "a FIFO", "a circle of links", "a link to /", "empty"],
)
def test_a_root_that_is_none(minictr, tmp_path, make, why):
    path = str(tmp_path / "root")
    make(path)
    refused(minictr("run", "--rootfs", path, "--", "true"), why)


def test_a_root_that_the_user_may_not_enter(minictr, ranged, tmp_path):
    os.mkdir(str(tmp_path / "closed"), 0o700)
    os.mkdir(str(tmp_path / "closed/root"))
    run = minictr("run", "--rootfs", str(tmp_path / "closed/root"), "--", "true", user=ranged)

    refused(run, "Permission denied; hint: a directory above it is closed to this user: chmod a+x")
    run = minictr("run", "--rootfs", str(tmp_path / "closed"), "--", "true", user=ranged)
    refused(run, "Permission denied; hint: the root file system is closed to this user: chmod a+rx")


@pytest.mark.parametrize("name", ["sys", "proc"])
@pytest.mark.parametrize("inside", [False, True], ids=["out", "inside"])
def test_a_link_in_the_place_of_proc_or_sys_is_refused(minictr, busybox_copy, canary, name, inside):
    """CVE-2019-19921: what is written below a false /proc goes nowhere, or to the host."""
    root = busybox_copy()
    os.rmdir(root + "/" + name)
    os.symlink("/tmp" if inside else canary.path, root + "/" + name)
    os.makedirs(root + canary.path)
    run = minictr("run", "--rootfs", root, "--", "true")

    refused(run, "mount on /%s: a symbolic link" % name, (125,))
    assert canary.untouched


@pytest.mark.parametrize("there", [False, True], ids=["missing inside", "there inside"])
@pytest.mark.parametrize(
    "options", [(), ("--read-only",), ("--overlay",), ("--userns", "host")], ids=" ".join
)
def test_a_link_in_the_place_of_dev_leads_nowhere_on_the_host(minictr, busybox_copy, canary, there, options):
    """CVE-2026-41579, CVE-2026-47766: devices were made on the host."""
    root = busybox_copy()
    os.rmdir(root + "/dev")
    os.symlink(canary.path, root + "/dev")
    if there:
        os.makedirs(root + canary.path)
    run = minictr("run", *options, "--rootfs", root, "--", "sh", "-c", "echo x >/dev/null; ls /dev")

    assert {"null", "pts", "shm"} <= set(run.ok.fields)
    assert canary.untouched


@pytest.mark.parametrize("name", ["dev", "sys", "proc"])
def test_a_file_in_the_place_of_a_directory_is_refused(minictr, busybox_copy, name):
    root = busybox_copy()
    os.rmdir(root + "/" + name)
    with open(root + "/" + name, "w"):
        pass
    refused(minictr("run", "--rootfs", root, "--", "true"), "/" + name)


# --- its passwd ---------------------------------------------------------------------------------


def _fill(path, size):
    with open(path, "wb") as file:
        file.truncate(size)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (os.mkfifo, "not a regular file"),
        (os.mkdir, "not a regular file"),
        (lambda path: os.symlink("/etc/passwd", path), "symbolic links"),
        (lambda path: os.symlink("../../../../../../no/where", path), "no etc/passwd"),
        (lambda path: _fill(path, 1 << 30), "longer than"),
        (lambda path: os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5)), "not a regular file"),
    ],
    ids=["FIFO", "directory", "link to itself", "link out of the root", "1 GB", "/dev/zero"],
)
def test_a_passwd_that_is_none(minictr, busybox_copy, make, why):
    """CVE-2024-9676. For exec, which reads that of a container that runs, it is in tests/security."""
    root = busybox_copy()
    os.unlink(root + "/etc/passwd")
    make(root + "/etc/passwd")
    run = minictr("run", "-u", "app", "--rootfs", root, "--", "true", timeout=20)

    refused(run, why)


def test_a_passwd_that_is_a_link_to_the_hosts_shows_the_containers(minictr, busybox_copy):
    root = busybox_copy()
    os.rename(root + "/etc/passwd", root + "/etc/real")
    os.symlink("/etc/real", root + "/etc/passwd")

    assert minictr("run", "-u", "app", "--rootfs", root, "--", "id", "-u").ok.out == "1000\n"


# --- config.json --------------------------------------------------------------------------------


def _nested(depth):
    return '{"ociVersion": "1.0.2", "root": {"path": "x"}, "deep": ' + "[" * depth + "]" * depth + "}"


@pytest.fixture
def bundle(tmp_path, minictr):
    """Runs a bundle with this text or these bytes as config.json; the Result."""

    def run(content, **options):
        if content is not None:
            (tmp_path / "config.json").write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )
        return minictr("run", "--bundle", str(tmp_path), "bad", timeout=30, **options)

    return run


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "the document is not an object"),
        ("null", "is not an object"),
        ("{}", "ociVersion is missing"),
        ('{"ociVersion": "1.0.2"', "not JSON"),
        ('{"ociVersion": "1.0.2", "ociVersion": "x", "root": {"path": "/"}}', ""),
        ('{"ociVersion": NaN}', ""),
        ('{"a":' * 5000, ""),
        ("\0" * 100, "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (_nested(100), ""),
        (_nested(100000), "nested too deeply"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_a_config_that_is_none(bundle, content, why):
    refused(bundle(content), why, (125,))


def test_a_config_that_is_missing(bundle):
    refused(bundle(None), "No such file or directory", (125,))


def test_a_config_of_100_megabytes_is_not_even_read(bundle, tmp_path):
    with open(str(tmp_path / "config.json"), "wb") as file:
        file.write(b'{"ociVersion": "1.0.2", "x": "')
        file.truncate(100 << 20)
    run = bundle(None, setup=lambda: resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20)))

    refused(run, "longer than 32 MiB", (125,))
    assert run.seconds < 10


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["FIFO", "directory"])
def test_a_config_that_is_no_file(bundle, tmp_path, make):
    make(str(tmp_path / "config.json"))

    refused(bundle(None), "config.json", (125,))


def test_a_truncated_config_is_refused_wherever_it_ends(bundle, minictr):
    """At each of a hundred places."""
    whole = minictr("spec").ok.out
    assert json.loads(whole)
    step = len(whole.rstrip()) // 100
    for end in range(1, len(whole.rstrip()), step):
        refused(bundle(whole[:end]), "not JSON", (125,))
