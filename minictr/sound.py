"""What the files of a container's state directory may hold. They were sound when they were written; whoever
has changed one by hand is told so by each verb, and can still delete the container.

Side: host
"""

from .errors import REPORT, ContainerError

READING = "read the configuration of container %s"

_TEXTS = ("cgroups", "cgroup_parents", "resctrl", "landlock", "landlock_places")  # lists of them
_KINDS = {
    "pid": int, "start_time": int, "stop_signal": int, "status": str, "bundle": str, "rootfs": str,
    "home": str, "created": str, "boot": str, "command": str, "annotations": dict, "exit": dict,
    "degradations": list,
}  # fmt: skip
_KINDS.update(dict.fromkeys(_TEXTS, list))
_NEEDED = ("root", "process")  # of a configuration, what is there
_PARTS = _NEEDED + ("linux", "hooks", "annotations")  # and what is an object


class trusting:
    """What is done with a container's configuration, which was sound when it was written. Where it is not any
    more, as somebody has changed it by hand, that is told instead of what it has led to."""

    def __init__(self, identifier: str, config: "dict") -> None:
        self.identifier, self.config = identifier, config

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        bugs = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
        if isinstance(error, bugs) or getattr(error, "hint", "") == REPORT:  # such as one inside
            from . import config as rules  # only here: to look at all of it takes time, and hardly ever helps

            try:
                rules.check(self.config)
            except ContainerError as found:
                raise ContainerError(READING % self.identifier, "it is broken: " + found.why)


def checked(doing: str, config: object) -> "dict":
    """CONFIG. Raises ContainerError where it has not the parts that every verb looks for."""
    if not isinstance(config, dict) or not all(map(config.get, _NEEDED)):
        raise ContainerError(doing, "it is broken: something is missing")
    if not all(isinstance(config.get(name) or {}, dict) for name in _PARTS):
        raise ContainerError(doing, "it is broken: something is no object")
    return config


def _is_record(record: "dict") -> bool:
    texts = [record.get(name, "") for name in ("why", "fix")] + [record.get("code")]
    return all(isinstance(text, str) for text in texts) and isinstance(record.get("errno", 0), int)


def _is_rule(word: str) -> bool:
    """Whether WORD is one of `landlock_asked`."""
    kind, _, value = word.partition("=")
    if kind in ("connect", "bind"):
        return value == "none" or value.isdigit() and len(value) <= 5 and int(value) <= 65535
    if kind == "scope":
        return value in ("abstract", "signal")
    return bool(kind) and not kind.strip("rwx") and value.startswith("/")


def _are_names(texts: "list[str]") -> bool:
    """Whether the kernel can be asked for them."""
    try:
        return b"\0" not in "\n".join(texts).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # JSON has halves of characters, too
        return False


def is_state(content: "dict") -> bool:
    """Whether all that is worked with is of its kind: whoever has changed the file by hand can delete it."""
    if not all(isinstance(content.get(name, kind()), kind) for name, kind in _KINDS.items()):
        return False
    unit, records = content.get("systemd") or {}, content.get("degradations", ())  # None for no unit
    texts = [text for name in _TEXTS for text in content.get(name, ())]
    return (
        all(isinstance(text, str) for text in texts)
        and _are_names(texts + [content.get("home", ""), content.get("rootfs", "")])
        and all(map(_is_rule, content.get("landlock", ())))
        and all(isinstance(record, dict) and _is_record(record) for record in records)
        and isinstance(unit, dict)
        and (not unit or isinstance(unit.get("unit"), str) and "user" in unit)
    )
