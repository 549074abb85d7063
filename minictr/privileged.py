"""--privileged: the container that is confined by its namespaces alone, as podman has it.

Side: host
"""

import _stat as stat
import os

# Those that the container has its own of: terminals, shared memory, queues. The host's virtual consoles
# are whoever's who sits there.
_OWN = ("pts", "ptmx", "shm", "mqueue", "fd", "console", "tty")


def loosen(config: "dict") -> None:
    """Take from CONFIG what the other layers would have put around the program."""
    config["process"]["noNewPrivileges"] = False
    linux = config["linux"]
    linux["maskedPaths"], linux["readonlyPaths"] = [], []
    for mount in config["mounts"]:
        if mount["type"] == "sysfs":
            mount["options"] = [option for option in mount["options"] if option != "ro"]
    named = linux.get("devices") or []
    taken = [entry["path"] for entry in named] + [mount["destination"] for mount in config["mounts"]]
    linux["devices"] = named + [entry for entry in host_devices() if entry["path"] not in taken]
    resources = linux.setdefault("resources", {})
    resources["devices"] = [{"allow": True, "access": "rwm"}] + list(resources.get("devices") or [])


def host_devices(directory: str = "/dev") -> "list[dict]":
    """The entries of linux.devices for what lies below DIRECTORY, without links and other mounts."""
    found = []  # type: list[dict]
    device = os.lstat(directory).st_dev
    pending = [directory]
    while pending:
        place = pending.pop()
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except (PermissionError, FileNotFoundError):  # nor could the container open it; it was just unplugged
            continue
        for entry in entries:
            name = entry.name
            if place == directory and (name in _OWN or name[:3] == "tty" and name[3:].isdigit()):
                continue
            try:
                state = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # it has just been unplugged
                continue
            if stat.S_ISDIR(state.st_mode) and state.st_dev == device:
                pending.append(entry.path)
            elif stat.S_ISCHR(state.st_mode) or stat.S_ISBLK(state.st_mode):
                found.append(_entry(entry.path, state))
    return found


def _entry(path: str, state: "os.stat_result") -> "dict":
    return {
        "path": path,
        "type": "c" if stat.S_ISCHR(state.st_mode) else "b",
        "major": os.major(state.st_rdev),
        "minor": os.minor(state.st_rdev),
        "fileMode": stat.S_IMODE(state.st_mode),
        "uid": state.st_uid,
        "gid": state.st_gid,
    }
