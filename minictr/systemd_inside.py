"""A container whose process 1 is a systemd: what that expects of who starts it.

Memory on /run, /run/lock and /tmp, a cgroup of its own to divide, and to be ended by RTMIN+3
(systemd.io/CONTAINER_INTERFACE; podman-run(1), --systemd). The variable `container` every program has.

Side: host
"""

import os

from .mounts import entry
from .words import bad

INITS = ("/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init")  # and whatever is called systemd
_MEMORY = (("/run", "mode=755"), ("/run/lock", "mode=1777"), ("/tmp", "mode=1777"))


def configure(given: "dict", command: "list[str]") -> "dict":
    """GIVEN, whose `systemd` is then whether it is one, with what goes with that if nothing else is said."""
    wanted = given.get("systemd", "true")
    if wanted not in ("true", "false", "always"):
        raise bad("--systemd", wanted, "is not one of true, false and always")
    named = command[0] in INITS or os.path.basename(command[0]) == "systemd"
    given = dict(given, systemd=wanted == "always" or (wanted == "true" and named))
    if not given["systemd"]:
        return given
    if given.get("cgroups") == "disabled" or given.get("cgroupns", "private") != "private":
        if wanted == "always":
            why = "contradicts --cgroups disabled and --cgroupns: a systemd divides a cgroup of its own"
            raise bad("--systemd", wanted, why)
        return dict(given, systemd=False)
    given.setdefault("stop-signal", "RTMIN+3")
    given.setdefault("cgroups", "enabled")  # that it has none is to be told
    return given


def memory(asked: "list[str | None]") -> "list[tuple[str, str, dict]]":
    """What is mounted, but on the places ASKED for otherwise."""
    return [
        ("--systemd", place, entry(place, "tmpfs", "tmpfs", ["nosuid", "nodev", "tmpcopyup", mode]))
        for place, mode in _MEMORY
        if place not in asked
    ]
