"""A program of `exec` that alone is born into the PID namespace of the container: what makes it stays out.

    runtime                                 ours                    its child
      |-- clone ------------------------------>|
      |                                        | join all; its ids, its filter
      |<------------------------------- ready -|
      |-- go --------------------------------->|
      |                                        | become the stand-in
      |                                        |-- CLONE_PARENT ------>|
      |<-------------------------------- born -| end                   |
      |-- go ------------------------------------------------------- ->|
      |<-- end of file: the program runs                               |

Who may trace in our own user namespace is not held back from a process that is not dumpable. All that it has
would be open: the host's root to begin with, the host's Python, descriptors, capabilities (CVE-2016-9962).
In a user namespace of the container's nobody may trace the host's Python.

Side: both
"""

import _operator as operator  # built in; what `operator` adds is a file

from . import program, setns, standin
from . import unix as os
from .errors import ContainerError
from .sync import garbled, understood

_DOING = "make a process in the container"

# What the stand-in calls for it, and what is known of the arguments: CLONE_PARENT | SIGCHLD,
# PR_SET_PDEATHSIG, TIOCSCTTY
_CALLS = {
    "clone": {0: 0x8011, 1: 0, 2: 0, 3: 0, 4: 0},
    "setsid": {},
    "prctl": {0: 1},
    "ioctl": {0: 0, 1: 0x540E, 2: 0},
    "read": {2: 8},
    "write": {},
}  # type: dict[str, dict[int, int]]
_PASSING = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
_COMPARED = {
    "SCMP_CMP_NE": operator.ne, "SCMP_CMP_LT": operator.lt, "SCMP_CMP_LE": operator.le,
    "SCMP_CMP_EQ": operator.eq, "SCMP_CMP_GE": operator.ge, "SCMP_CMP_GT": operator.gt,
    "SCMP_CMP_MASKED_EQ": operator.eq,
}  # fmt: skip


def needed(made, crowded: bool, own: "dict") -> bool:
    """Whether it is to be so for the plan.Plan MADE.

    A label is asked for by the program's own process, and keeps others from tracing it before that. The
    listener of a filter is sent by a child of ours (`notify`), which cannot stay out. A filter may refuse
    what the stand-in does for it. And who has no room for one process more, of those without the right to
    trace, is to be looked into all the same.

    crowded: there is none; own: `process` of its configuration
    """
    kinds = [kind for kind, _ in made.joins]
    wanted = made.guard == "standin" and "pid" in kinds and "user" not in kinds
    if not wanted or made.labels or made.listener or not standin.supported():
        return False
    if made.seccomp and not all(_passes(made.seccomp, name, known) for name, known in _CALLS.items()):
        return False
    names = [name for sets in (own.get("capabilities") or {}).values() for name in sets or ()]
    traced = made.credentials.may_trace or "CAP_SYS_PTRACE" in names
    return traced or not crowded


def _passes(profile: "dict", name: str, known: "dict[int, int]") -> bool:
    """Whether PROFILE, as `seccomp` reads it, is certain to let a call pass with the arguments KNOWN."""
    default = profile["defaultAction"], profile.get("defaultErrnoRet")
    rules = [rule for rule in profile.get("syscalls") or () if name in rule["names"]]
    # one that does what the default does is as good as absent
    rules = [rule for rule in rules if (rule["action"], rule.get("errnoRet")) != default]
    for rule in rules:
        if not rule.get("args"):
            return rule["action"] in _PASSING  # it decides alone
    hold = [(rule["action"] in _PASSING, _holds(rule["args"], known)) for rule in rules]
    if any(found is not False and not passing for passing, found in hold):
        return False
    return default[0] in _PASSING or any(found and passing for passing, found in hold)


def _holds(conditions: "list[dict]", known: "dict[int, int]") -> "bool | None":
    """None where that is up to arguments that are not known, or to two conditions on one of them."""
    indices = [one["index"] for one in conditions]
    if len(set(indices)) < len(indices) or not known.keys() >= set(indices):
        return None
    for one in conditions:
        value, wanted = known[one["index"]], one["value"]
        if one["op"] == "SCMP_CMP_MASKED_EQ":
            value, wanted = value & wanted, (one.get("valueTwo") or 0) & wanted
        if not _COMPARED[one["op"]](value, wanted):
            return False
    return True


def start(birth) -> None:
    """Make our own process; on return of that it waits for nothing but `go`.

    birth: a clone.Birth, whose plan joins the PID namespace for the child
    """
    spaces = setns.opened(birth)
    moved = (lambda me: me.channel.expect("moved"),) if birth.mover else ()
    join = (lambda me: setns.join(spaces),)
    birth.stages = birth.stages[:1] + moved + birth.stages[1:2] + join + birth.stages[2:]
    birth.fork()
    for _, descriptor in spaces:
        os.close(descriptor)
    birth.peer.close()
    if birth.mover:
        birth.mover(birth.pid)
        birth.tell("moved")


def bear(birth) -> None:
    """Have it bear the child, which is ours from now on, and end."""
    birth.tell("go")
    said = birth.channel.hear()
    if said is None:
        raise ContainerError(_DOING, birth.ending())
    program.refuse(said, birth.plan.args[0])
    with understood(said):
        child = int(said[1])
    os.waitpid(birth.pid, 0)
    birth.pid = 0
    try:  # who may trace the child could have been quicker, with the number of another process
        found = os.waitpid(child, os.WNOHANG)[0] if said[0] == "born" and child > 0 else -1
    except ChildProcessError:
        found = -1
    if found < 0:
        raise garbled(said)
    if found:  # as all in a container whose process 1 has been killed, a moment before that is over
        birth.over = True
        raise ContainerError(_DOING, "it was killed")
    birth.pid = child
