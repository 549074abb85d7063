"""SCMP_ACT_NOTIFY: the descriptor on which calls are reported, from the process to the agent.

    init                          a helper of init's             runtime           agent
      |-- clone, same descriptors ---->|                            |                |
      | seccomp(2)                     |                            |                |
      |-- its number ----------------->|                            |                |
      |                                |-- listener, descriptor --->|                |
      |                                                             |-- with state ->|

The filter is on init alone, and may report the very calls that sending a descriptor takes: so that is
done by a process without it. Until the agent has the descriptor, init does nothing but write(2), which
a profile cannot have reported.

Source: runtime-spec, config-linux.md, "Seccomp" and "The Container Process State"; seccomp_unotify(2)

Side: both
"""

import _socket
import os
import sys

from . import abi, document, forks, libc
from .errors import ContainerError, from_os, step

PATIENCE = 10.0  # seconds that the agent has to take the connection
_HINTS = {
    abi.EINVAL: "the kernel lacks what the profile asks for: SCMP_ACT_NOTIFY came with Linux 5.0, "
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV with 5.19",
    abi.EBUSY: "there is a filter with a listener on it already, and one is all that may be",
}


def install(made, channel) -> None:
    """Put a filter with a listener on this process; the listener goes out by the CHANNEL.

    made: a privileges.Filter
    """
    parent = os.getpid()
    reader, writer = os.pipe()
    with step("make a process that sends the seccomp listener"):
        helper = forks.clone(abi.CLONE_FILES)
    if helper == 0:
        _help(reader, channel, parent)
    number = b"-1"
    try:
        with step("install the seccomp filter", hints=_HINTS):
            listener = made.install()
        number = b"%d" % listener
    finally:
        os.write(writer, number)
        os.waitpid(helper, 0)
        os.close(reader)
        os.close(writer)
    os.close(listener)


def _help(reader: int, channel, parent: int) -> None:
    """Never returns. What is closed here would be closed in the parent too."""
    libc.prctl(abi.PR_SET_PDEATHSIG, 9)
    if os.getppid() == parent:  # else it is dead already, and nobody will write
        listener = int(os.read(reader, 16))
        if listener >= 0:
            channel.say("listener", fds=(listener,))
    os._exit(0)


def send(profile: "dict", state: "dict", pid: int, listener: int) -> None:
    """Give LISTENER to the agent of PROFILE, and close it.

    state: that of the container (runtime.md, "State"); pid: the process that has the filter
    """
    path = profile["listenerPath"]
    doing = "send the seccomp listener to %s" % path
    told = {"ociVersion": state["ociVersion"], "fds": ["seccompFd"], "pid": pid, "state": state}
    if profile.get("listenerMetadata"):
        told["metadata"] = profile["listenerMetadata"]
    text = document.dumps(told).encode()
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, listener.to_bytes(4, sys.byteorder))
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.settimeout(PATIENCE)
        sock.connect(path)
        sent = sock.sendmsg([text], [rights])
        if sent < len(text):  # who has it all may have closed its end
            sock.sendall(text[sent:])
    except OSError as error:
        raise from_os(doing, error, "start the agent that listenerPath names") from error
    finally:
        sock.close()
        os.close(listener)


def check(profile: "dict") -> None:
    """Raises ContainerError for a listenerPath that no socket can have."""
    path = profile["listenerPath"]
    if not path.startswith("/") or len(os.fsencode(path)) > 107:  # sizeof sun_path, unix(7)
        why = "is not an absolute path of at most 107 bytes"
        raise ContainerError("listenerPath %s" % path, why)
