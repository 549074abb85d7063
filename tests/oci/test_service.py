"""Services of systemd's that are containers, as README has them; root's and a user's own manager's."""

import os
import signal
import subprocess
import sys

import pytest
import support
from support import needs, wait_until
from units import USER, show, systemctl

pytestmark = needs("systemd", "busybox")

# what tells that it is ready, from the host's own root, which has a Python
TELL = (
    "import os, socket, time; told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
    "told.connect(os.environ['NOTIFY_SOCKET']); told.send(b'STATUS=it is'); told.send(b'READY=1');"
    "time.sleep(1000)"
)


@pytest.fixture
def service(minictr, tmp_path):
    """Starts one: `systemctl start` has come back, and what `systemctl show` says then comes back."""
    unit = "minictr-test-%d.service" % os.getpid()

    def start(kind, *words, **properties):
        options = ["--unit", unit, "--quiet", "--property", "Type=" + kind]
        for name, value in properties.items():
            options += ["--property", "%s=%s" % (name, value)]
        package = os.path.join(support.CHECKOUT, "minictr")
        runs = [sys.executable, "-I", package, "--root", minictr.state(), "run", "--name", "it"]
        command = ["systemd-run"] + ["--user"] * USER + options + runs + list(words)
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return show(unit, "ActiveState", "MainPID", "StatusText")

    def stop():
        systemctl("stop", unit)
        assert show(unit, "ActiveState")["ActiveState"] in ("inactive", "failed")
        return minictr("list", "--quiet").ok.out

    start.unit, start.stop = unit, stop
    yield start
    systemctl("stop", unit)
    systemctl("reset-failed", unit)
    minictr("delete", "--force", "it").ok


def runs(minictr):
    return minictr("state", "--quiet", "it").status == 0


def test_the_foreground_form_is_a_service_that_is_started_again(service, minictr, busybox_root):
    words = ("--init", "--rootfs", busybox_root, "--", "sleep", "1000")
    first = service("exec", *words, Restart="always", RestartSec="100ms")["MainPID"]
    wait_until(lambda: runs(minictr), 60)
    os.kill(int(first), signal.SIGKILL)
    wait_until(lambda: show(service.unit, "MainPID")["MainPID"] not in ("0", first), 60)
    wait_until(lambda: runs(minictr), 60)
    assert service.stop() == ""


@pytest.mark.skipif(USER, reason="systemd takes the word of root's file alone for a process outside the unit")
def test_a_detached_one_is_a_service_that_forks(service, minictr, busybox_root, tmp_path):
    file = str(tmp_path / "pid")
    script = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
    words = ("-d", "--rm", "--pid-file", file, "--rootfs", busybox_root, "--", "sh", "-c", script)
    found = service("forking", *words, PIDFile=file)
    assert found["ActiveState"] == "active" and found["MainPID"] == (tmp_path / "pid").read_text()
    assert service.stop() == ""


def test_a_program_can_tell_systemd_that_it_is_ready(service, minictr):
    socket = ("--volume", "${NOTIFY_SOCKET}:/run/notify", "--env", "NOTIFY_SOCKET=/run/notify")
    words = ("--cgroups", "disabled") + socket + ("--", "python3", "-c", TELL)
    found = service("notify", *words, NotifyAccess="all")
    assert (found["ActiveState"], found["StatusText"]) == ("active", "it is")
    assert service.stop() == ""
