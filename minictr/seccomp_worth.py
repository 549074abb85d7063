"""What a seccomp profile is worth: which calls can pass it, with one argument or another. Its names do not
say so: every call may be allowed by name, and a condition may hold always, or never.

Side: host
"""

import itertools

from . import seccomp
from .abi import BPF_JEQ_K, BPF_JGE_K

_ENOUGH = 20000  # arguments tried on one call


def idle(profile: "dict[str, object]", machine: str) -> str:
    """An architecture on which the filter of PROFILE lets every call pass that is known, "" for none.

    machine: as abi.machine() says it. Raises ContainerError for a profile that is malformed
    """
    for word, calls in seccomp.verdicts(profile, machine).items():
        if not any(_refuses(action) for verdict in set(calls.values()) for action in outcomes(verdict)):
            return word
    return ""


def passing(profile: "dict[str, object]", machine: str, names: "tuple[str, ...]") -> "list[str]":
    """Those of NAMES, of system calls, that may pass on an architecture: conditions that keep one from it are
    not counted on, as those on the bits of one argument leave more ways than can be tried."""
    found = [
        [calls.get(name, seccomp.ENOSYS) for calls in seccomp.verdicts(profile, machine).values()]
        for name in names
    ]
    return [
        name for name, verdicts in zip(names, found)
        if not all(_refuses(action) for verdict in verdicts for action in _actions(verdict))
    ]  # fmt: skip


def _actions(verdict) -> "list[int]":
    return [verdict] if isinstance(verdict, int) else [action for action, _ in verdict[1]]


def outcomes(verdict) -> "set[int]":
    """The actions that VERDICT, as `cbpf` has them, comes to: arguments are tried that lie beside the numbers
    in its conditions, where these begin and cease to hold."""
    if isinstance(verdict, int):
        return {verdict}
    wide, cases = verdict
    limit = (1 << (64 if wide else 32)) - 1
    tried = {}  # type: dict[int, set[int]]
    for _, conditions in cases:
        for argument, _, _, value, mask in conditions:
            tried.setdefault(argument, {0, limit}).update(_around(value & limit, mask & limit, limit))
    order = list(tried)
    found = set()
    for values in itertools.islice(itertools.product(*tried.values()), _ENOUGH):
        found.add(_decided(cases, dict(zip(order, values)), limit))
    return found


def _around(value: int, mask: int, limit: int) -> "set[int]":
    if mask == limit:
        return {value, max(value - 1, 0), min(value + 1, limit)}
    bits = [0] + [1 << place for place in range(64) if mask >> place & 1]
    near = [value & mask ^ bit for bit in bits]
    return set(near + [number | limit & ~mask for number in near])


def _decided(cases, values: "dict[int, int]", limit: int) -> int:
    for action, conditions in cases:
        if all(_holds(condition, values[condition[0]], limit) for condition in conditions):
            return action
    raise ValueError("the last case has no conditions")


def _holds(condition, found: int, limit: int) -> bool:
    _, comparison, opposite, value, mask = condition
    value &= limit
    if comparison == BPF_JEQ_K:
        return (found & mask == value & mask) != opposite
    return (found >= value if comparison == BPF_JGE_K else found > value) != opposite


def _refuses(action: int) -> bool:
    return action & ~0xFFFF not in seccomp.PASSING
