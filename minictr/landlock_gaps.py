"""What Landlock does not see, refused by the filter of system calls: of TCP, where ports are asked for; of
other processes, where signals to them are a matter of Landlock.

Its rules are for sockets of TCP that bind(2) and connect(2). So they let pass

    sockets of MPTCP and SMC, which a server of TCP takes for its own kind (security/landlock/net.c)
    MSG_FASTOPEN, by which sendto(2) and its kin connect (tcp_sendmsg_fastopen in net/ipv4/tcp.c)

The errnos are those of a kernel that has none of them: programs fall back to what it has. listen(2) of a
socket that is bound to no port takes a free one, which cannot be told from any other listen(2).

A process of the same user is ended by a limit of processor time, too, that prlimit(2) sets for it. Which of
them are the program's own the filter cannot know, so none but the caller's limits may be set so.

Side: host
"""

from . import abi, landlock_instead, seccomp
from .errors import Degradation

_FAMILIES = (2, 10)  # AF_INET, AF_INET6
_PROTOCOLS = (256, 262)  # IPPROTO_SMC, IPPROTO_MPTCP: include/uapi/linux/in.h, smc.h
_AF_SMC = 43
_SYS_SOCKET = 1  # of socketcall(2): include/uapi/linux/net.h
_FASTOPEN = 0x20000000  # MSG_FASTOPEN
_PASSING = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
SIGNALS = "scope=signal"  # as `landlock_asked` has it
_INT = 0xFFFFFFFF  # that the kernel looks at, of a register


def asked(words) -> bool:
    """Whether WORDS, as `landlock_asked` has them, are about ports."""
    return any(word.startswith(("connect=", "bind=")) for word in words)


def narrowed(profile: "dict", ports: bool = True, limits: bool = False) -> "dict[str, object]":
    """PROFILE, linux.seccomp of a config.json that has been checked, without these ways around Landlock."""
    rules = profile.get("syscalls") or []
    more = (_REFUSALS if ports else []) + (_LIMITS if limits else [])
    if profile["defaultAction"] not in _PASSING:  # what is named nowhere is refused, and stays unknown
        named = {name for rule in rules for name in rule["names"]}
        more = [rule for rule in more if rule["names"][0] in named]
    default = _action(profile, "defaultAction", "defaultErrnoRet")
    made = _conditional(rules, {rule["names"][0] for rule in more}, default)
    return dict(profile, syscalls=made + more)


def _refusal(name: str, errno: int, *conditions: "tuple[int, int, int]") -> "dict":
    args = [
        {"index": index, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": value}
        for index, mask, value in conditions
    ]
    return {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": args}


_REFUSALS = [_refusal("socket", abi.EAFNOSUPPORT, (0, _INT, _AF_SMC))]
_REFUSALS += [
    _refusal("socket", abi.EPROTONOSUPPORT, (0, _INT, family), (2, _INT, protocol))
    for family in _FAMILIES for protocol in _PROTOCOLS
]  # fmt: skip
_REFUSALS += [
    _refusal(name, abi.EOPNOTSUPP, (index, _FASTOPEN, _FASTOPEN))
    for name, index in (("send", 3), ("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3))
]
_REFUSALS += [_refusal("socketcall", abi.EPROTONOSUPPORT, (0, _INT, _SYS_SOCKET))]
# As if there were no other process: EPERM is what most profiles do anyway, and would be no rule at all
_LIMITS = [
    {"names": ["prlimit64"], "action": "SCMP_ACT_ERRNO", "errnoRet": abi.ESRCH,
     "args": [{"index": 0, "op": "SCMP_CMP_NE", "value": 0}]}
]  # fmt: skip


def _conditional(rules: "list[dict]", names: "set[str]", default: "tuple") -> "list[dict]":
    """RULES, in which one without conditions on one of NAMES has one that always holds: such a rule would
    outdo every other. So the first of them, but for those that say what the default does, is the only rule
    on that name."""
    bare = {}  # type: dict[str, dict]
    for rule in rules:
        if not rule.get("args") and _action(rule, "action", "errnoRet") != default:
            for name in names.intersection(rule["names"]):
                bare.setdefault(name, rule)
    made = []
    for rule in rules:
        made.append(dict(rule, names=[name for name in rule["names"] if name not in bare]))
        own = [name for name in bare if bare[name] is rule]
        if own:
            made.append(dict(rule, names=own, args=[{"index": 0, "op": "SCMP_CMP_GE", "value": 0}]))
    return made


def _action(entry: "dict", key: str, number: str) -> "tuple":
    value = entry.get(number)
    return seccomp.ACTIONS[entry[key]], abi.EPERM if value is None else value


def missing(words, shared: bool) -> "list[Degradation]":
    """What of these is not refused where there is no filter; nothing for a kernel whose Landlock has no
    ports, or scopes, which has been told. shared: the processes of others are there"""
    found, known = [], landlock_instead.version()
    why, fix = "there is no filter of system calls", "leave seccomp=unconfined and --privileged out"
    if asked(words) and known >= 4:
        wanted = " ".join([word for word in words if asked((word,))])
        got, lost = "ports of plain TCP alone", "by MPTCP and TCP Fast Open every port is reached"
        found.append(Degradation("landlock-filter", "Landlock", wanted, got, lost, 0, why, fix))
    if SIGNALS in words and shared and known >= 6:
        got, lost = "no signals, but limits", "what ends the same user's processes by prlimit(2)"
        found.append(Degradation("landlock-filter", "Landlock", SIGNALS, got, lost, 0, why, fix))
    return found
