"""--security-opt label=...: an SELinux context put together as podman and docker do it.

What is not said comes from the policy, which has a file for containers (lxc_contexts), with two categories
drawn for this container, so that it is kept from its neighbours of the same type (MCS); where the policy has
none, from the context that minictr itself runs in.

Side: host
"""

import os

from . import lsm, paths
from .errors import EXIT_REQUIRED, ContainerError, printable
from .words import bad

_KEYS = ("user", "role", "type", "level")
_CATEGORIES = 1024  # c0 to c1023, in every policy that has categories


def put(text: str, value: str, config: "dict") -> None:
    """One option TEXT, label=VALUE, into CONFIG. Raises ContainerError."""
    key, _, part = value.partition(":")
    process, linux = config["process"], config["linux"]
    if value == "disable":
        process["selinuxLabel"] = linux["mountLabel"] = ""
        return
    if key not in _KEYS + ("filetype",) or not part:
        known = "disable, user:USER, role:ROLE, type:TYPE, level:LEVEL and filetype:TYPE"
        raise bad("--security-opt", text, "is not supported", "known are " + known)
    why, fix = lsm.why_not(lsm.SELINUX)
    if why:
        raise ContainerError("--security-opt " + printable(text), why, 0, fix, EXIT_REQUIRED)
    if "selinuxLabel" not in process:
        process["selinuxLabel"], linux["mountLabel"] = _defaults()
    if key != "filetype" and process["selinuxLabel"]:
        process["selinuxLabel"] = _changed(process["selinuxLabel"], key, part)
    if key in ("user", "level") and linux["mountLabel"]:
        linux["mountLabel"] = _changed(linux["mountLabel"], key, part)
    if key == "filetype" and process["selinuxLabel"]:
        fields = process["selinuxLabel"].split(":", 3)
        linux["mountLabel"] = ":".join([fields[0], "object_r", part] + fields[3:])


def _changed(context: str, key: str, part: str) -> str:
    fields = context.split(":", 3)
    place = _KEYS.index(key)
    fields[place : place + 1] = [part]
    return ":".join(fields)


def _defaults() -> "tuple[str, str]":
    """The contexts of a container's process and of its files, the second "" where the policy names none."""
    named = {}
    for line in paths.read_text("/etc/selinux/%s/contexts/lxc_contexts" % _policy()).splitlines():
        key, equals, value = line.partition("=")
        if equals:
            named[key.strip()] = value.strip().strip('"')
    process, file = named.get("process", ""), named.get("file", "")
    if not process:
        return lsm.own_context(), ""
    if paths.read_text("/sys/fs/selinux/mls").strip() == "1":
        level = "s0:" + _drawn()
        process, file = _changed(process, "level", level), _changed(file, "level", level) if file else ""
    return process, file


def _policy() -> str:
    for line in paths.read_text("/etc/selinux/config").splitlines():
        key, equals, value = line.partition("=")
        if equals and key.strip() == "SELINUXTYPE":
            return value.strip()
    return "targeted"


def _drawn() -> str:
    """Two different categories: "c12,c345"."""
    first, second = 0, 0
    while first == second:
        first, second = sorted([int.from_bytes(os.urandom(2), "little") % _CATEGORIES for _ in range(2)])
    return "c%d,c%d" % (first, second)
