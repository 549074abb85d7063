"""What a seccomp profile says of a call, worked out rule by rule: slow, and plain enough to believe.

The rules are those that the docstring of minictr/seccomp.py promises. Numbers of calls come from
minictr's tables, which have tests of their own.
"""

import itertools
import json
import os

import bpf
import pytest
from support import CHECKOUT

from minictr import seccomp, syscalls

KILL_PROCESS, KILL_THREAD, TRAP, ERRNO = 0x80000000, 0, 0x30000, 0x50000
NOTIFY, TRACE, LOG, ALLOW = 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000
ENOSYS = ERRNO | 38
STRICTEST_FIRST = [KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, NOTIFY, TRACE, LOG, ALLOW]
ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD, "SCMP_ACT_KILL_THREAD": KILL_THREAD, "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP, "SCMP_ACT_ERRNO": ERRNO, "SCMP_ACT_NOTIFY": NOTIFY, "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": LOG, "SCMP_ACT_ALLOW": ALLOW,
}  # fmt: skip
WORDS = {
    "SCMP_ARCH_X86_64": "x86_64", "SCMP_ARCH_X86": "i386", "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_ARM": "arm", "SCMP_ARCH_RISCV64": "riscv64", "SCMP_ARCH_LOONGARCH64": "loongarch64",
    "SCMP_ARCH_PPC64LE": "ppc64le", "SCMP_ARCH_S390X": "s390x",
}  # fmt: skip
X32 = 0x40000000
MASKS = {"socketcall": 0xFFFFFFFF, "ipc": 0xFFFF}


class Newer:
    """The numbers after NEWEST that are not NAMED."""

    def __init__(self, newest, named):
        self.newest, self.named = newest, named

    def __contains__(self, number):
        return number > self.newest and number not in self.named


class Reference:
    """A profile, read rule by rule for each call."""

    def __init__(self, profile, machine):
        self.listed = {machine} | {WORDS.get(name) for name in profile.get("architectures", ())}
        self.default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
        self.all_rules = profile.get("syscalls", ())
        self.rules = [rule for rule in self.all_rules if _act(rule) != self.default]
        self.words = {}

    def verdict(self, architecture, number, arguments):
        """What the filter must say. ARCHITECTURE is as the kernel sees it: x32 is x86_64 from X32 on."""
        word = architecture
        if architecture == "x86_64" and number >= X32:
            word = "x32"
            if "x32" not in self.listed:
                return ENOSYS if "x86_64" in self.listed else KILL_PROCESS
        if word not in self.listed:
            return KILL_PROCESS
        names_of, newer = self._word(word)
        found = self._decide(names_of.get(number, frozenset()), arguments, word)
        if found is not None:
            return found
        if number in newer or (newer and word == "s390x" and number == 0):
            return ENOSYS
        return self.default

    def _word(self, word):
        """The names of each number, and the numbers that get ENOSYS because they are newer."""
        if word not in self.words:
            names_of = {}
            for name, number in syscalls.table(word).items():
                names_of.setdefault(number, set()).add(name)
            named = {
                number for number, names in names_of.items()
                if any(names & set(rule["names"]) for rule in self.all_rules)
            }  # fmt: skip
            counted = [number for number in named if word != "arm" or number < 0xF0000]
            for outer in set(MASKS) & set(syscalls.table(word)):
                if any(self._inside(outer, (number,)) for number in syscalls.multiplexed(outer).values()):
                    named.add(syscalls.table(word)[outer])  # known, though not by its name
            newer = set()
            if counted and _kind(self.default) not in (ALLOW, LOG, TRACE):
                newer = Newer(max(counted), named)
            self.words[word] = names_of, newer
        return self.words[word]

    def _decide(self, names, arguments, word):
        """What the rules on a call that is known by NAMES say, or None for nothing."""
        rules = [rule for rule in self.rules if names.intersection(rule["names"])]
        for rule in rules:
            if not rule.get("args"):
                return _act(rule)
        matching = [rule for rule in rules if _holds(rule["args"], arguments, word)]
        for outer in names & set(MASKS):
            matching += self._inside(outer, arguments)
        return min([_act(rule) for rule in matching], key=_rank) if matching else None

    def _inside(self, outer, arguments):
        """Rules, whatever their conditions, on the call that a first argument stands for."""
        meant = arguments[0] & MASKS[outer]
        inner = {name for name, number in syscalls.multiplexed(outer).items() if number == meant}
        rules = [rule for rule in self.rules if inner & set(rule["names"])]
        for rule in rules:
            if not rule.get("args"):
                return [rule]
        return [rule for rule in rules if _rank(_act(rule)) < _rank(self.default)]


def action(name, number):
    """From the name of an action and its number to what the kernel knows."""
    found = ACTIONS[name]
    if found in (ERRNO, TRACE):
        found |= 1 if number is None else number
    return found


def _act(rule):
    return action(rule["action"], rule.get("errnoRet"))


def _rank(action):
    return STRICTEST_FIRST.index(_kind(action))


def _kind(action):
    return action & 0xFFFF0000


def _holds(conditions, arguments, word):
    mask = 0xFFFFFFFF if word in ("i386", "arm", "x32") else 0xFFFFFFFFFFFFFFFF
    results = [_compare(condition, arguments[condition["index"]], mask) for condition in conditions]
    if len({condition["index"] for condition in conditions}) < len(conditions):
        return any(results)
    return all(results)


def _compare(condition, argument, mask):
    found, value = argument & mask, condition["value"] & mask
    operator = condition["op"][len("SCMP_CMP_") :]
    if operator == "MASKED_EQ":
        return found & value == condition.get("valueTwo", 0) & value
    return {
        "NE": found != value, "LT": found < value, "LE": found <= value,
        "EQ": found == value, "GE": found >= value, "GT": found > value,
    }[operator]  # fmt: skip


# --- asking both ------------------------------------------------------------------------------

FIXTURES = os.path.join(CHECKOUT, os.pardir, "shared", "fixtures", "oci")
WHOLE = (1 << 64) - 1
FAMILY = {
    "x86_64": ("x86_64", "i386"), "i386": ("x86_64", "i386"), "aarch64": ("aarch64", "arm"),
    "arm": ("aarch64", "arm"),
}  # fmt: skip
EDGES = sorted(
    {(edge + step) % (1 << 64) for edge in (0, 1 << 31, 1 << 32, 3 << 32, 1 << 63) for step in (-1, 0, 1)}
    | {0x5412, (1 << 32) + 0x5412, 0x7E020000}
)


def fixture(name):
    """linux.seccomp of a configuration that an engine wrote."""
    path = os.path.join(FIXTURES, name + ".json")
    if not os.path.exists(path):
        pytest.skip("the engines' configurations are not here")
    with open(path) as file:
        return json.load(file)["linux"]["seccomp"]


def compiled(given, machine="x86_64"):
    return bpf.Bpf(seccomp.compile(given, machine).program)


def calls(machine):
    """Every number that can matter on MACHINE, with its architecture as the kernel sees it."""
    for architecture in FAMILY.get(machine, (machine,)):
        for number in itertools.chain(
            range(700), range(0xEFFFE, 0xF0010), (0x3FFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
        ):
            yield architecture, number
        if architecture == "x86_64":
            for number in itertools.chain(range(0x40000000, 0x40000300), (0x4FFFFFFF,)):
                yield architecture, number
    yield "ppc64le" if machine != "ppc64le" else "s390x", 3


def check(given, machine, arguments, numbers=None):
    """The program for a profile says what the reference says; the program."""
    program, judge = compiled(given, machine), Reference(given, machine)
    for architecture, number in numbers or calls(machine):
        for values in arguments:
            found = program.call(architecture, number, values)
            wanted = judge.verdict(architecture, number, values)
            assert found == wanted, (architecture, number, values, hex(found), hex(wanted))
    return program
