"""A seccomp profile in the form of config.json, translated into a filter.

What a rule means where the specification is silent is what runc and libseccomp make of it:

    - a rule without conditions decides alone; the first of several does
    - where conditions of several rules hold at once, the strictest action counts, in the order in
      which the kernel combines filters
    - conditions of one rule hold together, unless two are about the same argument: then each is a
      rule of its own
    - a rule whose action is the default one is as good as absent
    - names that an architecture does not know are skipped
    - "socket" and its kin cover socketcall(2) too, where there is one, and so for ipc(2). Their
      arguments lie in memory there, out of reach of conditions; so a rule with conditions counts
      for the whole call where it is stricter than the default, and not at all where it is laxer
      (libseccomp ignores the conditions)
    - unless the default lets calls pass, a call newer than the newest in the profile gets ENOSYS,
      so that programs fall back to an older one

Side: host
"""

from . import abi, syscalls
from .cbpf import Program
from .errors import ContainerError, printable
from .privileges import Filter

ACTIONS = {
    "SCMP_ACT_KILL": abi.SECCOMP_RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": abi.SECCOMP_RET_KILL_PROCESS,
    "SCMP_ACT_KILL_THREAD": abi.SECCOMP_RET_KILL_THREAD,
    "SCMP_ACT_TRAP": abi.SECCOMP_RET_TRAP,
    "SCMP_ACT_ERRNO": abi.SECCOMP_RET_ERRNO,
    "SCMP_ACT_NOTIFY": abi.SECCOMP_RET_USER_NOTIF,
    "SCMP_ACT_TRACE": abi.SECCOMP_RET_TRACE,
    "SCMP_ACT_LOG": abi.SECCOMP_RET_LOG,
    "SCMP_ACT_ALLOW": abi.SECCOMP_RET_ALLOW,
}
# Actions that carry a number, and its limit
_NUMBERED = {"SCMP_ACT_ERRNO": abi.MAX_ERRNO, "SCMP_ACT_TRACE": 0xFFFF}
PASSING = (abi.SECCOMP_RET_ALLOW, abi.SECCOMP_RET_LOG, abi.SECCOMP_RET_TRACE)
ENOSYS = abi.SECCOMP_RET_ERRNO | abi.ENOSYS

# Operator: the comparison that decides it, and whether its opposite is meant
OPERATORS = {
    "SCMP_CMP_NE": (abi.BPF_JEQ_K, True),
    "SCMP_CMP_LT": (abi.BPF_JGE_K, True),
    "SCMP_CMP_LE": (abi.BPF_JGT_K, True),
    "SCMP_CMP_EQ": (abi.BPF_JEQ_K, False),
    "SCMP_CMP_GE": (abi.BPF_JGE_K, False),
    "SCMP_CMP_GT": (abi.BPF_JGT_K, False),
    "SCMP_CMP_MASKED_EQ": (abi.BPF_JEQ_K, False),
}

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": abi.SECCOMP_FILTER_FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": abi.SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": abi.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}

# The word of a profile, and that of `syscalls`; "" where there is no table
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": "x86_64", "SCMP_ARCH_X86": "i386", "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_AARCH64": "aarch64", "SCMP_ARCH_ARM": "arm", "SCMP_ARCH_RISCV64": "riscv64",
    "SCMP_ARCH_LOONGARCH64": "loongarch64", "SCMP_ARCH_PPC64LE": "ppc64le", "SCMP_ARCH_S390X": "s390x",
    "SCMP_ARCH_MIPS": "", "SCMP_ARCH_MIPS64": "", "SCMP_ARCH_MIPS64N32": "", "SCMP_ARCH_MIPSEL": "",
    "SCMP_ARCH_MIPSEL64": "", "SCMP_ARCH_MIPSEL64N32": "", "SCMP_ARCH_PPC": "", "SCMP_ARCH_PPC64": "",
    "SCMP_ARCH_S390": "", "SCMP_ARCH_PARISC": "", "SCMP_ARCH_PARISC64": "", "SCMP_ARCH_M68K": "",
    "SCMP_ARCH_SH": "", "SCMP_ARCH_SHEB": "",
}  # fmt: skip
# Architectures whose programs run on one kernel; of others a kernel sees no calls
_FAMILIES = (("x86_64", "i386", "x32"), ("aarch64", "arm"))
# Where a condition compares the low half of an argument, as libseccomp does
_NARROW = ("i386", "arm", "x32")
_LARGEST = (1 << 64) - 1
# arm's own calls, which are older than any other number near them
_ARM_PRIVATE = 0xF0000


def compile(profile: "dict[str, object]", machine: str) -> Filter:  # noqa: A001
    """The filter that PROFILE, linux.seccomp of a config.json, describes.

    machine: as abi.machine() says it
    Raises ContainerError for a profile that is malformed, or larger than a filter may be.
    """
    words = _architectures(profile, machine)
    default, rules = _read(profile)
    program, native = Program(big_endian=machine == "s390x"), abi.AUDIT_ARCH[machine]
    blocks = []
    # what is written last comes first in the program: the machine's own calls
    for audit in sorted({abi.AUDIT_ARCH[word] for word in words}, key=lambda audit: audit == native):
        group = [word for word in words if abi.AUDIT_ARCH[word] == audit]
        blocks.append((audit, program.search(*_ranges(group, default, rules))))
    program.dispatch(blocks, abi.SECCOMP_RET_KILL_PROCESS)
    if len(program) > abi.BPF_MAXINSNS:
        count = (len(program), abi.BPF_MAXINSNS)
        raise _bad("", "it makes %d instructions, a filter has room for %d" % count)
    listener = any(action == abi.SECCOMP_RET_USER_NOTIF for _, action, _ in rules)
    return Filter(program=program.bytes(), flags=_flags(profile, listener), listener=listener)


def check(profile: "dict[str, object]", machine: str) -> None:
    """Raises ContainerError for a PROFILE that `compile` would refuse for what it says."""
    _architectures(profile, machine)
    _read(profile)
    _flags(profile, False)


def verdicts(profile: "dict[str, object]", machine: str) -> "dict[str, dict[str, object]]":
    """What the filter of PROFILE makes of each call that is known, by architecture and name, as `cbpf` has
    it; programs of other architectures it ends."""
    default, rules = _read(profile)
    found = {}
    for word in _architectures(profile, machine):
        known, newest = _verdicts(word, default, rules)
        found[word] = {
            name: known.get(number, default if newest is None or number <= newest else ENOSYS)
            for name, number in syscalls.table(word).items()
        }
    return found


# --- from rules to verdicts ---------------------------------------------------------------------

# A rule: names, action, and alternatives, each of them conditions that hold together; None for a
# rule without conditions. Conditions and verdicts are as `cbpf` has them.


def _ranges(words: "list[str]", default: int, rules) -> "tuple[list[int], list[object]]":
    """Where verdicts start, and the verdicts, for architectures that share one row of numbers."""
    starts, verdicts = [], []  # type: list[int], list[object]

    def put(start: int, verdict: object) -> None:
        if not verdicts or verdicts[-1] != verdict:
            starts.append(start)
            verdicts.append(verdict)

    for word in words:
        expected = abi.X32_SYSCALL_BIT if word == "x32" else 0
        if expected and not starts:
            put(0, abi.SECCOMP_RET_KILL_PROCESS)
        known, newest = _verdicts(word, default, rules)
        beyond = default if newest is None else ENOSYS
        for number in sorted(known):
            if number > expected:
                put(expected, default if newest is None or number <= newest else beyond)
            put(number, known[number])
            expected = number + 1
        put(expected, beyond)
    if words == ["x86_64"]:
        put(abi.X32_SYSCALL_BIT, ENOSYS)  # as a kernel without x32 says
    return starts, verdicts


def _verdicts(word: str, default: int, rules) -> "tuple[dict[int, object], int | None]":
    """The verdicts on calls of an architecture that differ from DEFAULT, by number.

    Also the number of the newest call in RULES if what is newer gets ENOSYS, else None; that
    number is among the verdicts, whatever is said of it.
    """
    table = syscalls.table(word)
    numbered = _numbered(table, rules)
    decided, cases = _decide(numbered, default)
    verdicts = dict(decided)  # type: dict[int, object]
    for name, mask in (("socketcall", 0xFFFFFFFF), ("ipc", 0xFFFF)):  # ipc(2) has a version above
        if name in table and table[name] not in verdicts:
            found = _multiplexed(name, mask, default, rules)
            if found:
                cases.setdefault(table[name], []).extend(found)
    wide, last = word not in _NARROW, ((default, ()),)
    for number, found in cases.items():
        verdicts[number] = (wide, tuple(sorted(found, key=_strictness)) + last)
    if default & ~0xFFFF in PASSING:
        return verdicts, None
    named = [number for numbers, _, _ in numbered for number in numbers]
    if word == "arm":
        verdicts.update({number: verdicts.get(number, default) for number in named if number >= _ARM_PRIVATE})
        named = [number for number in named if number < _ARM_PRIVATE]
    newest = max(named or [-1])
    if newest < 0:
        return verdicts, None
    verdicts.setdefault(newest, default)
    if word == "s390x":
        # a number too large for the svc instruction, unknown to the kernel, is seen as 0, which is no call
        verdicts.setdefault(0, ENOSYS)
    return verdicts, newest


def _numbered(table: "dict[str, int]", rules) -> "list[tuple[list[int], int, tuple | None]]":
    """RULES with numbers for names."""
    return [
        ([number for number in map(table.get, names) if number is not None], action, alternatives)
        for names, action, alternatives in rules
    ]


def _decide(numbered, default: int) -> "tuple[dict[int, int], dict[int, list]]":
    """The calls on which a rule decides whatever the arguments, and the cases of others."""
    decided, cases = {}, {}  # type: dict[int, int], dict[int, list]
    for numbers, action, alternatives in reversed(numbered):
        if action == default:
            continue
        if alternatives is None:
            decided.update(dict.fromkeys(numbers, action))
            continue
        for number in numbers:
            cases[number] = [(action, conditions) for conditions in alternatives] + cases.get(number, [])
    for number in decided:
        cases.pop(number, None)
    return decided, cases


def _multiplexed(name: str, mask: int, default: int, rules) -> "list[tuple[int, tuple]]":
    """The cases of a call whose first argument, under MASK, says which call is meant."""
    decided, cases = _decide(_numbered(syscalls.multiplexed(name), rules), default)
    for number, found in cases.items():
        strictest = min(found, key=_strictness)
        if _strictness(strictest) < _strictness((default, ())):
            decided[number] = strictest[0]
    return [(decided[number], ((0, abi.BPF_JEQ_K, False, number, mask),)) for number in sorted(decided)]


def _strictness(case: "tuple[int, tuple]") -> int:
    """The less, the stricter: the kernel takes the least action of several filters, as signed numbers."""
    action = case[0] & ~0xFFFF
    return action - (1 << 32) if action >> 31 else action


# --- reading ------------------------------------------------------------------------------------


def _bad(where: str, why: str) -> ContainerError:
    return ContainerError("read the seccomp profile", where + ": " + why if where else why)


def _read(profile: "dict[str, object]") -> "tuple[int, list]":
    """The default action, and the rules."""
    default = _action(profile, "defaultAction", "defaultErrnoRet", "")
    if default == abi.SECCOMP_RET_USER_NOTIF:
        raise _bad("defaultAction", "SCMP_ACT_NOTIFY would stop the start itself")
    rules = []
    for index, entry in enumerate(_list(profile, "syscalls", "")):
        where = "syscalls[%d]." % index
        if not isinstance(entry, dict):
            raise _bad(where[:-1], "is not an object")
        names = _list(entry, "names", where)
        try:
            "".join(names)
        except TypeError:
            raise _bad(where + "names", "holds something that is not a string") from None
        action = _action(entry, "action", "errnoRet", where)
        if action == abi.SECCOMP_RET_USER_NOTIF:
            if "write" in names:
                raise _bad(where + "action", "SCMP_ACT_NOTIFY for write would stop the start itself")
            if not profile.get("listenerPath"):
                raise _bad(where + "action", "SCMP_ACT_NOTIFY needs listenerPath")
        rules.append((names, action, _alternatives(entry, where)))
    return default, rules


def _architectures(profile: "dict[str, object]", machine: str) -> "list[str]":
    if machine not in syscalls.TABLES:
        raise _bad("", "the numbers of system calls on %s are not known" % machine)
    wanted = {machine}
    for name in _list(profile, "architectures", ""):
        wanted.add(_known(name, ARCHITECTURES, "architectures"))
    family = next((words for words in _FAMILIES if machine in words), (machine,))
    return [word for word in family if word in wanted]


def _action(entry: "dict[str, object]", key: str, number_key: str, where: str) -> int:
    name, number = entry.get(key), entry.get(number_key)
    action = _known(name, ACTIONS, where + key)
    if name in _NUMBERED:
        limit = _NUMBERED[str(name)]
        return action | (abi.EPERM if number is None else _integer(number, limit, where + number_key))
    if number is not None:
        raise _bad(where + number_key, "%s takes no number" % name)
    return action


def _alternatives(entry: "dict[str, object]", where: str) -> "tuple[tuple, ...] | None":
    conditions = []
    for index, arg in enumerate(_list(entry, "args", where)):
        place = "%sargs[%d]." % (where, index)
        if not isinstance(arg, dict):
            raise _bad(place[:-1], "is not an object")
        comparison, opposite = _known(arg.get("op"), OPERATORS, place + "op")
        argument = _integer(arg.get("index"), 5, place + "index")
        value = _integer(arg.get("value"), _LARGEST, place + "value")
        second = _integer(arg.get("valueTwo") or 0, _LARGEST, place + "valueTwo")
        masked = arg["op"] == "SCMP_CMP_MASKED_EQ"
        value, mask = (second, value) if masked else (value, _LARGEST)
        conditions.append((argument, comparison, opposite, value, mask))
    if not conditions:
        return None
    if len({condition[0] for condition in conditions}) < len(conditions):
        return tuple((condition,) for condition in conditions)
    return (tuple(conditions),)


def _flags(profile: "dict[str, object]", listener: bool) -> int:
    """The flags of seccomp(2): those asked for; where none are spoken of, as runc has it."""
    if profile.get("flags") is None:
        flags = abi.SECCOMP_FILTER_FLAG_SPEC_ALLOW
    else:
        flags = 0
        for name in _list(profile, "flags", ""):
            flags |= _known(name, FLAGS, "flags")
    if not listener:
        return flags & ~abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV  # without one it is an error
    if flags & abi.SECCOMP_FILTER_FLAG_TSYNC:
        flags |= abi.SECCOMP_FILTER_FLAG_TSYNC_ESRCH  # else the two results cannot be told apart
    return flags | abi.SECCOMP_FILTER_FLAG_NEW_LISTENER


def _list(entry: "dict[str, object]", key: str, where: str) -> list:
    value = entry.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _bad(where + key, "is not a list")
    return value


def _known(name: object, table: dict, where: str):
    if not isinstance(name, str) or name not in table:
        raise _bad(where, "is missing" if name is None else "%s is not known" % printable(repr(name)))
    return table[name]


def _integer(value: object, limit: int, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= limit:
        found = "is missing" if value is None else "%s is not a number" % printable(repr(value))
        raise _bad(where, "%s from 0 to %d" % (found, limit) if value is not None else found)
    return value
