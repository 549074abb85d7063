"""systemd's units as systemctl shows them: of the system where root asks, else of the user's own manager."""

import contextlib
import os
import subprocess

USER = os.geteuid() != 0
SLICE = "user.slice" if USER else "system.slice"  # where a container is if nobody says


def systemctl(*words):
    command = ["systemctl"] + (["--user"] if USER else []) + list(words)
    environment = dict(
        os.environ, XDG_RUNTIME_DIR=os.environ.get("XDG_RUNTIME_DIR", "/run/user/%d" % os.getuid())
    )
    done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment)
    return done.stdout.decode()


def show(unit, *names):
    text = systemctl("show", unit, "--property=" + ",".join(names))
    return dict(line.split("=", 1) for line in text.splitlines())


@contextlib.contextmanager
def slices(*names: str):
    """They are there during a block. A slice stays when its last scope has gone, so what was not there before
    is stopped afterwards."""
    made = [name for name in names if show(name, "ActiveState")["ActiveState"] != "active"]
    systemctl("start", *names)
    try:
        yield
    finally:
        if made:
            systemctl("stop", *made)
