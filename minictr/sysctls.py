"""Kernel parameters of the container's namespaces: which of them may be set, and how they are.

Side: both
"""

from . import abi, paths
from . import unix as os
from .errors import ContainerError, step

# Which namespace a sysctl belongs to: only one that the container owns may be set (sysctl-net,
# ipc_namespaces(7), uts_namespaces(7); the list is runc's and crun's)
_IPC = (
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
    "kernel.shmmni", "kernel.shm_rmid_forced",
)  # fmt: skip


def refusal(key: str, kinds: "list[str]", named: "tuple[str, ...]" = (), mark: str = "") -> str:
    """Why the sysctl KEY may not be set in a container that has namespaces of KINDS, or "".

    named: which of hostname and domainname are asked for beside it; mark: what stands before such a word
    """
    name = key.replace("/", ".")
    if ".." in name or name.startswith("."):
        return "is not the name of a sysctl"
    if name.startswith("net."):
        needed = "network"
    elif name in _IPC or name.startswith("fs.mqueue."):
        needed = "ipc"
    elif name in ("kernel.domainname", "kernel.hostname"):
        needed = "uts"
    else:
        return "belongs to no namespace: it would change the host"
    if needed not in kinds:
        return "needs a namespace of the kind %s" % needed
    own = name[len("kernel.") :]
    contradicts = needed == "uts" and own in named  # one of the two would be set in vain
    return "contradicts %s%s" % (mark, own) if contradicts else ""


def set_all(me) -> None:
    """Those of the plan of ME, an init.Init. Those of a namespace that was refused would be the host's."""
    kinds = me.namespaces + [kind for kind, _ in me.plan.joins]
    for key, value in me.plan.sysctl:
        doing = "set sysctl %s" % key
        why = refusal(key, kinds)
        if why:
            raise ContainerError(doing, why + ", which was refused")
        with step(doing):
            try:
                paths.write_proc(me.proc, "sys/" + key.replace(".", "/"), os.fsencode(value))
            except FileNotFoundError as error:  # whose words engines take for a missing program
                raise ContainerError(doing, "there is no parameter of that name", abi.ENOENT) from error
