"""Maps of ids written by the set-uid programs newuidmap and newgidmap, which have the user's ranges checked.

Side: host
"""

from . import abi
from . import unix as os
from .errors import ContainerError
from .helper import Helper

# What ends the words of a helper that was not refused anything
_FAILURES = (abi.EINTR, abi.EIO, abi.EAGAIN, abi.ENOMEM, abi.ENFILE, abi.EMFILE, abi.ENOSPC)


def write(pid: int, maps) -> None:
    """Both at once: each takes a millisecond to start.

    pid: a process in the user namespace; maps: a maps.Maps
    Raises ContainerError, with an errno where it failed of something else than that it is not allowed.
    """
    running = []
    for path, table in ((maps.newuidmap, maps.uids), (maps.newgidmap, maps.gids)):
        words = [str(pid)] + [str(number) for line in table for number in line]
        running.append((path, Helper([path] + words)))
    failed = [(path, helper.wait()) for path, helper in running]
    for path, (status, said) in failed:
        if status:
            from . import causes  # only now: the host is asked why

            if not said:
                killed = status & 127
                said = (
                    "it was killed by signal %d" % killed
                    if killed
                    else "it ended with status %d" % (status >> 8)
                )
            cause = causes.why(os.path.basename(path), 0, said=said)
            number = next((one for one in _FAILURES if said.endswith(os.strerror(one))), 0)
            number = number or (abi.EINTR if status & 127 else 0)
            raise ContainerError("run %s" % path, cause.why or said, number, cause.fix)
