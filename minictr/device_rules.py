"""The rules for devices of config.json in a normal form, and in that of cgroup v1.

A rule names a device, or all with some number, and some of the accesses read, write and mknod. For
each access the last rule that names device and access decides; without one the access is denied.
After the rules of the configuration come those that every container has.

Side: host
"""

from . import abi
from .errors import ContainerError

_BITS = {"r": abi.BPF_DEVCG_ACC_READ, "w": abi.BPF_DEVCG_ACC_WRITE, "m": abi.BPF_DEVCG_ACC_MKNOD}
USE = abi.BPF_DEVCG_ACC_READ | abi.BPF_DEVCG_ACC_WRITE
ALL = USE | abi.BPF_DEVCG_ACC_MKNOD


class Rule:
    """kind: "c", "b" or "a" for all devices; major, minor: -1 for any; access: BPF_DEVCG_ACC_*"""

    __slots__ = ("access", "allow", "kind", "major", "minor")

    def __init__(self, allow: bool, kind: str, major: int, minor: int, access: int) -> None:
        self.allow, self.kind, self.major, self.minor, self.access = allow, kind, major, minor, access

    def __repr__(self) -> str:
        return ("allow " if self.allow else "deny ") + str(self)

    def __str__(self) -> str:
        if self.kind == "a":
            return "a"
        numbers = ["*" if number < 0 else str(number) for number in (self.major, self.minor)]
        letters = "".join([letter for letter in "rwm" if self.access & _BITS[letter]])
        return "%s %s:%s %s" % (self.kind, numbers[0], numbers[1], letters)

    def covers(self, other: "Rule") -> bool:
        """Whether every device of OTHER is one of ours. Not to be asked of the kind "a"."""
        return self.kind == other.kind and self.major in (-1, other.major) and self.minor in (-1, other.minor)

    def overlaps(self, other: "Rule") -> bool:
        """Whether some device is both ours and of OTHER."""
        return (
            self.kind == other.kind
            and (self.major == other.major or -1 in (self.major, other.major))
            and (self.minor == other.minor or -1 in (self.minor, other.minor))
        )


# runtime-spec config-linux.md "Default Devices", which every container has, and making nodes, which
# is no access. Of runc's list /dev/console (5:1) is left out: the container's own is a pseudo-terminal,
# and 5:1 the host's console.
DEFAULTS = tuple(
    Rule(True, kind, major, minor, access)
    for kind, major, minor, access in (
        ("c", -1, -1, _BITS["m"]), ("b", -1, -1, _BITS["m"]),
        ("c", 1, 3, ALL), ("c", 1, 5, ALL), ("c", 1, 7, ALL), ("c", 1, 8, ALL), ("c", 1, 9, ALL),
        ("c", 5, 0, ALL), ("c", 5, 2, ALL), ("c", 136, -1, ALL),
    )
)  # fmt: skip


def less_than_use(rule: "dict") -> bool:
    """Whether RULE, of `linux.resources.devices`, lets a device be read alone, or be written alone; or one
    that it names be made alone, as any may be."""
    used = set(rule.get("access") or "rwm") & set("rw")
    named = -1 not in (_number(rule, "major"), _number(rule, "minor"))
    return bool(rule.get("allow")) and (len(used) == 1 or (named and not used))


def normal(rules: "list[dict]", after: "tuple[Rule, ...]" = DEFAULTS) -> "list[Rule]":
    """The rules of `linux.resources.devices` and then those AFTER them.

    A rule of the kind "a" stands for all devices and accesses: one with a number or with fewer accesses
    becomes two, for the kinds "c" and "b". Raises ContainerError for what is no rule.
    """
    found = []  # type: list[Rule]
    for rule in rules:
        kind = rule.get("type") or "a"
        major, minor = _number(rule, "major"), _number(rule, "minor")
        access = 0
        for letter in rule.get("access") or "rwm":
            if letter not in _BITS:
                raise ContainerError("read a rule for devices", "the access %r is not of r, w and m" % letter)
            access |= _BITS[letter]
        if kind not in ("a", "b", "c"):
            raise ContainerError("read a rule for devices", "the type %r is none of a, b and c" % (kind,))
        kinds = "cb" if kind == "a" and (major, minor, access) != (-1, -1, ALL) else kind
        found += [Rule(bool(rule.get("allow")), each, major, minor, access) for each in kinds]
    return found + list(after)


def _number(rule: "dict", name: str) -> int:
    number = rule.get(name)
    if number is None or number == -1:
        return -1
    if not isinstance(number, int) or not 0 <= number < 1 << 31:
        raise ContainerError("read a rule for devices", "%s %s is no device number" % (name, number))
    return number


def for_v1(rules: "list[Rule]") -> "tuple[bool, list[Rule]]":
    """What cgroup v1 can hold (security/device_cgroup.c): whether all is allowed, and exceptions from it.

    Raises ContainerError where a rule takes a part of an exception back, as "allow c 1:*" and then
    "deny c 1:3": the kernel would leave the exception as it is.
    """
    allowed, exceptions, holes = False, {}, []  # type: bool, dict[str, Rule], list[Rule]
    for rule in rules:
        if rule.kind == "a":
            allowed, exceptions, holes = rule.allow, {}, []
            continue
        name = "%s %d:%d" % (rule.kind, rule.major, rule.minor)
        if rule.allow != allowed:
            had = exceptions[name].access if name in exceptions else 0
            exceptions[name] = Rule(rule.allow, rule.kind, rule.major, rule.minor, rule.access | had)
            for hole in holes:
                hole.access &= ~rule.access if rule.covers(hole) else ALL
            continue
        for other in list(exceptions.values()):
            if rule.covers(other):
                other.access &= ~rule.access
            elif rule.overlaps(other):
                holes.append(Rule(rule.allow, rule.kind, rule.major, rule.minor, rule.access & other.access))
    exceptions = {name: rule for name, rule in exceptions.items() if rule.access}
    for hole in holes:
        if any(rule.overlaps(hole) and rule.access & hole.access for rule in exceptions.values()):
            why = "it takes a part of another rule back, which cgroup v1 cannot do"
            hint = "write rules for single devices in place of the wider one"
            raise ContainerError("set the rule for devices %r" % hole, why, 0, hint)
    return allowed, list(exceptions.values()) + ([] if allowed else _opened_for_both(exceptions))


def _opened_for_both(allowed: "dict[str, Rule]") -> "list[Rule]":
    """Further exceptions for what one allows to read and another to write: the kernel wants a single one for
    an open for both (match_exception() in security/device_cgroup.c)."""
    found = []
    for reads in allowed.values():
        for writes in allowed.values():
            if (reads.access & USE, writes.access & USE) == (_BITS["r"], _BITS["w"]) and reads.overlaps(
                writes
            ):
                numbers = max(reads.major, writes.major), max(reads.minor, writes.minor)
                found.append(Rule(True, reads.kind, *numbers, USE))
    return found
