"""What the program may do: --cap-add, --cap-drop and --security-opt, into the configuration.

Side: host
"""

from . import abi, host
from . import unix as os
from .spec import DEFAULT_CAPABILITIES
from .words import bad, boolean, capability, number


def capabilities(given: "dict", config: "dict", fields: "dict") -> None:
    """podman's rule: root has what is granted; another user only what was added by name, and that
    in the ambient set, because execve(2) would take it away from a user who is not root."""
    added = _capability_names("--cap-add", given.get("cap-add", ()))
    dropped = _capability_names("--cap-drop", given.get("cap-drop", ()))
    both = [name for name in added if name in dropped]
    if both:
        raise bad("--cap-add", both[0], "is dropped by --cap-drop too")
    every = "ALL" in added or "privileged" in given
    base = list(abi.CAPABILITIES) if every else list(DEFAULT_CAPABILITIES)
    granted = set() if "ALL" in dropped else set(base) - set(dropped)
    granted |= set(added) - {"ALL"}
    names = [name for name in abi.CAPABILITIES if name in granted]
    sets = {"bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": []}
    if not _is_root(config, fields):
        own = [name for name in names if name in added or "ALL" in added]
        sets = {"effective": own, "permitted": own, "inheritable": own, "ambient": own}
        sets["bounding"] = names
    config["process"]["capabilities"] = {kind: list(value) for kind, value in sets.items()}


def of_root(sets: "dict") -> "dict":
    """SETS, as config.json has them, for a user who turns out to be root."""
    names = list(sets.get("bounding") or ())
    return {"bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": []}


def of_another(sets: "dict", uid: int) -> "dict":
    """SETS for the user UID, where they were made for another: what that one was given by name stays its
    own. As podman has it."""
    if uid == 0:
        return of_root(sets)
    return {"bounding": list(sets.get("bounding") or ())}


def _is_root(config: "dict", fields: "dict") -> bool:
    user = str(fields["user"]).partition(":")[0]
    return user == "root" or number(user) == 0 or (not user and config["process"]["user"]["uid"] == 0)


def _capability_names(option: str, values: "list[str]") -> "list[str]":
    names = []
    for word in [word for text in values for word in text.split(",")]:
        names.append("ALL" if word.strip().upper() == "ALL" else capability(option, word))
    return names


def security(given: "dict", config: "dict", fields: "dict") -> None:
    asked = {}  # type: dict[str, list[tuple[str, str]]]
    for text in given.get("security-opt", ()):
        # docker still takes the colon that stood here before 1.11
        split = min([text.find(mark) for mark in "=:" if mark in text] or [len(text)])
        name, value = text[:split], text[split + 1 :]
        if name not in SECURITY_OPTIONS:
            raise bad(
                "--security-opt", text, "is not supported", "supported are " + ", ".join(SECURITY_OPTIONS)
            )
        asked.setdefault(name, []).append((text, value))
    if "privileged" in given:
        from . import privileged  # only for it

        privileged.loosen(config)
    else:
        for name, default in _DEFAULTS.items():
            asked.setdefault(name, [("%s=%s" % (name, default), default)])
    for name, put in SECURITY_OPTIONS.items():
        for text, value in asked.get(name, ()):
            put(text, value, config, fields)


def _no_new_privileges(text: str, value: str, config: "dict", fields: "dict") -> None:
    wanted = not value or boolean("--security-opt no-new-privileges", value)
    config["process"]["noNewPrivileges"] = wanted


def _unmask(text: str, value: str, config: "dict", fields: "dict") -> None:
    patterns = ["*"] if value.upper() == "ALL" else _paths(text, value)
    linux = config["linux"]
    for kind in ("maskedPaths", "readonlyPaths"):
        linux[kind] = [
            path for path in linux[kind] if not any(_matches(path, pattern) for pattern in patterns)
        ]


def _systempaths(text: str, value: str, config: "dict", fields: "dict") -> None:
    if value != "unconfined":
        raise bad("--security-opt", text, "is not supported", "the value is unconfined")
    _unmask(text, "ALL", config, fields)


def _mask(text: str, value: str, config: "dict", fields: "dict") -> None:
    hidden = config["linux"]["maskedPaths"]
    if "*" in value:  # it would be taken for a name, of nothing
        raise bad("--security-opt", text, "patterns are for unmask alone")
    hidden += [path for path in _paths(text, value) if path not in hidden]


def _seccomp(text: str, value: str, config: "dict", fields: "dict") -> None:
    """The profile of the last one counts: unconfined, builtin, or that of a file."""
    linux, capabilities = config["linux"], set(config["process"]["capabilities"]["bounding"])
    linux.pop("seccomp", None)
    if not value:
        raise bad("--security-opt", text, "is not of the form seccomp=builtin|unconfined|FILE")
    if value == "unconfined":
        return
    if value == "builtin":
        from . import seccomp_default

        linux["seccomp"] = seccomp_default.profile(capabilities, abi.machine(), host.kernel())
        fields["nested_users"] = "CAP_SYS_ADMIN" in capabilities  # as that profile has it
        return
    from . import seccomp_file  # only where a file is named

    linux["seccomp"] = seccomp_file.load(text, value, capabilities)


def _apparmor(text: str, value: str, config: "dict", fields: "dict") -> None:
    if not value:
        raise bad("--security-opt", text, "is not of the form apparmor=PROFILE|unconfined")
    config["process"]["apparmorProfile"] = "" if value == "unconfined" else value


def _label(text: str, value: str, config: "dict", fields: "dict") -> None:
    from . import contexts

    contexts.put(text, value, config)


def _paths(text: str, value: str) -> "list[str]":
    paths = [os.path.normpath("/" + path.lstrip("/")) for path in value.split(":") if path[:1] == "/"]
    if len(paths) != value.count(":") + 1:
        raise bad("--security-opt", text, "takes absolute paths with : between them")
    if any(mark in path.rstrip("*") for path in paths for mark in "*?["):
        raise bad("--security-opt", text, "of patterns only a * at the end is known")
    return paths


def _matches(path: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    if not pattern.endswith("*"):
        return path == pattern
    prefix = pattern[:-1]
    return path.startswith(prefix) and "/" not in path[len(prefix) :]


# By name, in the order in which they are put into the configuration, whatever the order given: what is
# masked stays so. text: the whole option; value: what follows the name, "" for nothing. What is rare is
# imported by its function.
SECURITY_OPTIONS = {
    "no-new-privileges": _no_new_privileges,
    "unmask": _unmask,
    "systempaths": _systempaths,
    "mask": _mask,
    "seccomp": _seccomp,
    "apparmor": _apparmor,
    "label": _label,
}
# What those that are not given are taken to say
_DEFAULTS = {"seccomp": "builtin"}
