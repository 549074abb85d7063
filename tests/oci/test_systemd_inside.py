"""A container whose process 1 is a real systemd, the host's own: it boots, nothing of it fails, and it ends.

They run where systemd is process 1, as root or in a user's session, with cgroup v2: a virtual machine.
"""

import os

import pytest
import support
from bundles import V2
from support import needs
from units import SLICE, slices

pytestmark = [
    needs("systemd"),
    pytest.mark.skipif(not V2, reason="cgroup v1 has no delegation that is safe"),
]

NAME = "minictr-test-inside-%d" % os.getpid()
MADE = "dev etc home proc root run sys tmp usr var/lib var/log var/tmp".split()
KEPT = ("dbus-1", "group", "ld.so.cache", "nsswitch.conf", "pam.d", "passwd", "systemd")  # of /etc
ANSWERS = """
systemctl is-system-running --wait
systemctl --failed --plain --no-legend
systemctl is-active systemd-logind.service dbus.service systemd-journald.service multi-user.target
loginctl list-sessions --no-legend | wc -l
systemd-run --quiet --pipe --wait -p User=1 -p PrivateTmp=yes sh -c 'id -u; cat /proc/self/cgroup'
cat /sys/fs/cgroup/memory.max
"""


@pytest.fixture(scope="module", autouse=True)
def _slice():
    with slices(SLICE):
        yield


@pytest.fixture
def root(minictr, tmp_path):
    """The host's /usr is to be laid over its own."""
    made = tmp_path / "root"
    for name in MADE:
        (made / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink("/" + name):
            (made / name).symlink_to(os.readlink("/" + name))
    kept = ["/etc/" + name for name in KEPT if os.path.exists("/etc/" + name)]
    minictr.command("cp", "-r", "--preserve=mode,links", *kept + [str(made / "etc")]).ok
    (made / "etc" / "machine-id").write_text("")
    return str(made)


@pytest.mark.parametrize("how", [(), ("--systemd-cgroup",)], ids=["", "in a scope"])
def test_a_systemd_boots_as_a_user_too_and_ends_when_asked(minictr, root, how):
    words = ["-d", "--name", NAME, "-m", "512m", "--rootfs", root, "-v", "/usr:/usr:ro", "--"]
    started = minictr(*how, "run", *words, "/usr/lib/systemd/systemd", timeout=120).ok
    try:
        assert started.err == ""
        support.wait_until(
            lambda: minictr("exec", NAME, "test", "-S", "/run/systemd/private").status == 0, 120
        )
        said = minictr("exec", NAME, "sh", "-c", ANSWERS, timeout=300).ok
        lines = said.out.splitlines()
        assert lines[0] == "running", said
        assert lines[1:6] == ["active"] * 4 + ["0"], said
        assert lines[6] == "1" and lines[7].startswith("0::/system.slice/run-"), said
        assert lines[8] == str(512 << 20), said
        assert minictr("stop", "--time", "120", NAME, timeout=200).ok.err == ""
    finally:
        minictr("delete", "--force", NAME).ok
