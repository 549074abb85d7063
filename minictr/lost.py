"""What can still be known of a container whose state.json is missing or broken: a disk was full or failed,
somebody was there. Its configuration lies beside it and says where its cgroup is; that has its processes.

Side: host
"""

from . import cgroup, lifetime, sound, state
from . import config as document
from . import unix as os
from .errors import ContainerError, step
from .spec import cgroup_path


def content(entry: state.Entry) -> "dict[str, object]":
    """As much of what state.json would say as `list`, `kill`, `stop` and `delete` need, and that it is
    "lost"; {} where nobody can tell.

    Raises ContainerError where it cannot be looked at now.
    """
    config = {}  # type: dict
    try:
        if entry.has_config():
            found = entry.load_config()
            document.check(found)
            config = found
    except ContainerError as error:
        if error.number:
            raise  # else it is broken as well
    linux, noted = config.get("linux") or {}, _noted(config)
    try:
        if noted.get("cgroups"):
            group = cgroup.reopen(cgroup.layout(), noted["cgroups"], noted.get("cgroup_parents") or [])
        else:
            group = cgroup.open(cgroup.layout(), cgroup_path(linux, entry.identifier, entry.path))
    except ContainerError:  # no path of a cgroup
        return {}
    with step("look for container %s" % entry.identifier):
        times = {pid: lifetime.start_time(pid) for pid in group.pids()}
    directories = group.directories()
    if _is_anothers(entry, directories):
        return {}
    earlier = bool(noted.get("boot")) and lifetime.boot() not in ("", noted["boot"])
    living = [pid for pid in times if times[pid] and not earlier]  # else who has its cgroup now
    first = min(living, key=lambda pid: (times[pid], pid)) if living else 0  # all else came later
    return {
        "lost": True,
        "id": entry.identifier,
        "status": "running" if living else "stopped",
        "pid": first,
        "start_time": times.get(first, 0),
        "annotations": config.get("annotations") or {},
        "owner": os.fstat(entry.descriptor).st_uid,
        "own_pids": earlier or any(one.get("type") == "pid" for one in linux.get("namespaces") or ()),
        "cgroups": directories,
        "cgroup_parents": group.parents,
        "systemd": noted.get("systemd"),
    }


def _noted(config: "dict") -> "dict":
    """What its runtime has noted there, {} where that is nothing, or not as we write it."""
    noted = config.get("minictr")
    return noted if isinstance(noted, dict) and sound.is_state(noted) else {}


def _is_anothers(entry: state.Entry, directories: "list[str]") -> bool:
    """Whether a container that is known has that cgroup: of two that name the same, one after the other."""
    for identifier in state.identifiers(entry.root):
        if identifier == entry.identifier:
            continue
        other = state.find(os.path.dirname(entry.path), entry.root, identifier, wait=False)
        if other is not None:
            try:
                theirs = other.load().get("cgroups")
            finally:
                other.close()
            if isinstance(theirs, list) and set(theirs) & set(directories):
                return True
    return False
