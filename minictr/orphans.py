"""Containers that nobody stands behind any more: the next command that meets them clears them away.

Those are what a killed runtime has left, and a detached container that was to be removed at its end.

Side: host
"""

from . import abi, state
from .errors import ContainerError, cleaning


def sweep(root_path: str, root: int, report) -> None:
    """Look for them in a whole state root. What cannot be cleared away is told; the next one may be."""
    for identifier in state.identifiers(root):
        entry = None
        try:
            entry = state.find(root_path, root, identifier, wait=False)
            if entry is not None and state.is_orphan(entry):
                from . import living  # hardly ever, and each start asks

                living.destroy(entry, entry.load(), report)
                report.note("removed %s, whose runtime was killed" % identifier)
            elif entry is not None and state.is_passing(entry):
                from . import living  # with --detach --rm alone

                content = entry.load()
                if content.get("status") in living.SETTLED and not living.alive(content):
                    living.destroy(entry, content, report)
                    report.note("removed %s, which has ended" % identifier)
        except (OSError, ContainerError) as error:  # no reason for another container to fail
            if entry is not None or getattr(error, "number", 0) != abi.EACCES:  # else it is somebody else's
                report.error(cleaning("clear away container %s" % identifier, error))
        finally:
            if entry is not None:
                entry.close()
