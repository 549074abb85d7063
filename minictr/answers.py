"""What the library asks about containers that exist, whoever has made them: the answers, as plain values.

Side: host
"""

import os
import select
import time

from . import control, looking, measuring, state, verbs
from .errors import ContainerError

CLEANING = 30  # seconds that whoever stands behind a container may take to clean up behind it


def answer(name: str, root_path: str, report, words: list, sock) -> object:
    """NAME is a verb of the command line, or a key of _CALLS; sock: readable once the caller is gone."""
    if name in _CALLS:
        return _CALLS[name](root_path, report, words, sock)
    call = verbs.CALLS.get(name) or control.CALLS[name]
    call(root_path, report, words)
    return None


def check(root_path: str, identifier: str, created: str) -> None:
    """Raises ContainerError if the container of that time is gone: its id may be another's by now."""
    if not _there(root_path, identifier, created):
        raise verbs.missing(identifier)


def _there(root_path: str, identifier: str, created: str) -> bool:
    found = _look(root_path, identifier)
    if found is None or not created:
        return found is not None
    # where state.json is lost it may be the one; of one that is only being made nothing was known so far
    return found["created"] == created or not (found["created"] or found["creating"])


def look(root_path: str, report, words: list, sock) -> "dict | None":
    """What a container is known by, None where there is none.

    pid, start_time: of its first process, 0 before there is one, or after the end of one that was kept
    created: when, which tells it from a later one with its id; args: of its configuration, else None
    creating: it is only being made
    degradations: as in state.json
    """
    return _look(root_path, words[0])


def _look(root_path: str, identifier: str) -> "dict | None":
    entry = _open(root_path, identifier)
    if entry is None:
        return None
    try:
        content = entry.load()
        creating = content.get("status") == "creating"
        if creating:  # what may come to nothing is not yet waited for
            content.update(pid=0, start_time=0)
        return {
            "id": identifier,
            "pid": _number(content.get("pid")),
            "start_time": _number(content.get("start_time")),
            "created": str(content.get("created") or ""),
            "creating": creating,
            "args": _args(entry),
            "degradations": content.get("degradations") or [],
        }
    finally:
        entry.close()


def _open(root_path: str, identifier: str) -> "state.Entry | None":
    """Not locked: only looked at."""
    state.check_id(identifier)
    root = state.open_existing(root_path)
    if root is None:
        return None
    try:
        return state.find(root_path, root, identifier, wait=False)
    finally:
        os.close(root)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _args(entry: state.Entry) -> "list[str] | None":
    try:
        return entry.load_config()["process"]["args"]
    except (ContainerError, KeyError, TypeError):
        return None  # it is only being made, or its files are broken


def listed(root_path: str, report, words: list, sock) -> "list[dict]":
    """Of every container what `look` tells."""
    found = [_look(root_path, content["id"]) for content in looking.contents(root_path, report)]
    return [one for one in found if one is not None]


def ending(root_path: str, report, words: list, sock) -> "dict | None":
    """How a container ended: what is noted of it; waits until nobody stands behind it any more.

    words: its id; when it was created; at most how many seconds to wait, None for no limit
    {} where nothing is noted, or it is gone. None if somebody stands behind it still
    """
    identifier, created, seconds = words
    deadline, pause = time.monotonic() + (seconds or 0), 0.002
    while True:
        entry = _open(root_path, identifier)
        if entry is None:
            return {}
        try:
            content = entry.load()
            if created and content.get("created") not in (None, created):
                return {}
            if not state.is_foreground(entry) or state.is_orphan(entry):
                return looking.exit_record(content)
        finally:
            entry.close()
        if seconds is not None and time.monotonic() >= deadline:
            return None
        if select.select([sock], [], [], pause)[0]:  # nobody wants to know any more
            return None
        pause = min(pause * 1.5, 0.1)


def remove(root_path: str, report, words: list, sock) -> None:
    """End and forget a container, words: its id, and when it was created. One that is gone is no error."""
    identifier, created = words
    for _ in range(2):  # one that its runtime keeps has to be forgotten once that is gone
        if not _there(root_path, identifier, created):
            return
        verbs.delete(root_path, report, ["--force", identifier])
        if ending(root_path, report, [identifier, created, CLEANING], sock) is None:
            raise ContainerError("remove container %s" % identifier, "its runtime does not let go of it")


def _state(root_path: str, report, words: list, sock) -> "dict | None":
    """words: its id; when it was created, or "" """
    entry = verbs.find(root_path, words[0])
    if entry is None:
        return None
    content = dict(entry.load(), id=words[0])
    if "status" not in content and state.is_foreground(entry) and not state.is_orphan(entry):
        content["status"] = "creating"  # nothing is written down so far
    if words[1] and content.get("created") not in (None, words[1]):
        return None
    return looking.state_of(content)


def _stats(root_path: str, report, words: list, sock) -> object:
    return measuring.used(root_path, words[0])


_CALLS = {
    "look": look,
    "list": listed,
    "ending": ending,
    "remove": remove,
    "state": _state,
    "stats": _stats,
}
