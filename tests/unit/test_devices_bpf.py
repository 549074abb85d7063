"""The rules for devices: what they mean, and that the program of v2 and the list of v1 say the same."""

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minictr import abi, cgroup_v1, device_rules, devices_bpf
from minictr.errors import ContainerError

R, W, M = abi.BPF_DEVCG_ACC_READ, abi.BPF_DEVCG_ACC_WRITE, abi.BPF_DEVCG_ACC_MKNOD
KINDS = {"c": abi.BPF_DEVCG_DEV_CHAR, "b": abi.BPF_DEVCG_DEV_BLOCK}


def run(program, kind, major, minor, access):
    """The verdict of a program: the instructions it may have, and no other, one after the other."""
    memory = struct.pack("=III", access << 16 | KINDS[kind], major, minor)
    registers, at = [None] * 10, 0
    while True:
        code, both, offset, value = struct.unpack_from("=BBhi", program, 8 * at)
        to, source = (both & 15, both >> 4) if sys.byteorder == "little" else (both >> 4, both & 15)
        at += 1
        if code == 0x61:  # r = *(u32 *)(r1 + offset)
            assert source == 1, "only the context may be read"
            registers[to] = struct.unpack_from("=I", memory, offset)[0]
        elif code == 0xB7:
            registers[to] = value % (1 << 64)
        elif code == 0xBC:
            registers[to] = registers[source] % (1 << 32)
        elif code == 0x54:
            registers[to] = registers[to] & value % (1 << 32)
        elif code == 0x74:
            registers[to] = registers[to] % (1 << 32) >> value
        elif code in (0x15, 0x55):
            assert offset >= 0, "a jump back: the kernel refuses loops"
            at += offset if (registers[to] == value % (1 << 64)) == (code == 0x15) else 0
        elif code == 0x95:
            assert registers[0] in (0, 1), "another verdict than the kernel knows"
            return bool(registers[0])
        else:
            raise AssertionError("unknown instruction %#x" % code)


def meant(rules, kind, major, minor, access):
    """What the rules say: of each access, the last that names it."""
    for bit in (R, W, M):
        if access & bit:
            verdict = False
            for rule in rules:
                named = rule.kind in ("a", kind) and rule.major in (-1, major) and rule.minor in (-1, minor)
                if named and rule.access & bit:
                    verdict = rule.allow
            if not verdict:
                return False
    return True


class KernelV1:
    """security/device_cgroup.c: devcgroup_update_access() and devcgroup_check_permission()."""

    def __init__(self):
        self.allow, self.exceptions = True, []

    def write(self, name, line):
        if line == "a":
            self.allow, self.exceptions = name == "devices.allow", []
            return
        kind, numbers, letters = line.split()
        device = (kind,) + tuple(-1 if n == "*" else int(n) for n in numbers.split(":"))
        access = sum({"r": R, "w": W, "m": M}[letter] for letter in letters)
        assert (name == "devices.allow") != self.allow, "a line that takes an exception back"
        self.exceptions.append((device, access))

    def check(self, kind, major, minor, access):
        for (kind_, major_, minor_), named in self.exceptions:
            if kind_ == kind and major_ in (-1, major) and minor_ in (-1, minor):
                if self.allow and named & access:
                    return False
                if not self.allow and not access & ~named:
                    return True
        return self.allow


def with_program(rules, kind, major, minor, access):
    return run(devices_bpf.program(device_rules.normal(rules)), kind, major, minor, access)


def with_list(rules, kind, major, minor, access):
    allowed, exceptions = device_rules.for_v1(device_rules.normal(rules))
    kernel = KernelV1()
    kernel.write("devices.allow" if allowed else "devices.deny", "a")
    for rule in exceptions:
        kernel.write("devices.deny" if allowed else "devices.allow", str(rule))
    return kernel.check(kind, major, minor, access)


DENY_ALL = {"allow": False, "access": "rwm"}
ALLOW_ALL = {"allow": True, "access": "rwm"}
FUSE = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}
MISC = {"allow": True, "type": "c", "major": 10}
MISC_W = {"allow": True, "type": "c", "major": 10, "access": "w"}
CASES = [
    ("no rule, null", [], ("c", 1, 3, R | W), True),
    ("no rule, a disk", [], ("b", 8, 0, R), False),
    ("no rule, a pseudo-terminal", [], ("c", 136, 7, R | W), True),
    ("no rule, the host's console", [], ("c", 5, 1, R), False),
    ("no rule, making any node", [], ("b", 8, 0, M), True),
    ("no rule, making and reading", [], ("b", 8, 0, M | R), False),
    ("all denied, null", [DENY_ALL], ("c", 1, 3, R | W), True),
    ("all denied, fuse", [DENY_ALL], ("c", 10, 229, R | W), False),
    ("fuse allowed", [DENY_ALL, FUSE], ("c", 10, 229, R | W), True),
    ("fuse allowed, its neighbour", [DENY_ALL, FUSE], ("c", 10, 228, R), False),
    ("fuse allowed, a disk with its numbers", [DENY_ALL, FUSE], ("b", 10, 229, R), False),
    ("fuse allowed, then all denied", [FUSE, DENY_ALL], ("c", 10, 229, R), False),
    ("reading by one rule and writing by a wider one, both", [DENY_ALL, dict(FUSE, access="r"), MISC_W],
     ("c", 10, 229, R | W), True),
    ("reading by one rule and writing by a wider one, its neighbour", [DENY_ALL, dict(FUSE, access="r"),
     MISC_W], ("c", 10, 228, R | W), False),
    ("reading by the minor and writing by the major, both", [DENY_ALL,
     {"allow": True, "type": "c", "minor": 229, "access": "r"}, MISC_W], ("c", 10, 229, R | W), True),
    ("all allowed", [ALLOW_ALL], ("b", 8, 0, R | W | M), True),
    ("all allowed, then disks denied", [ALLOW_ALL, {"allow": False, "type": "b", "major": 8}],
     ("b", 8, 1, R), False),
    ("only writing denied, for one who reads and writes",
     [ALLOW_ALL, {"allow": False, "type": "b", "major": 8, "access": "w"}], ("b", 8, 1, R | W), False),
    ("only writing denied, for one who reads",
     [ALLOW_ALL, {"allow": False, "type": "b", "major": 8, "access": "w"}], ("b", 8, 1, R), True),
    ("reading and writing allowed by two rules",
     [dict(FUSE, access="r"), dict(FUSE, access="w")], ("c", 10, 229, R | W), True),
    ("a number of -1 is any", [dict(FUSE, minor=-1)], ("c", 10, 7, R), True),
    ("no access named is every access", [{"allow": True, "type": "c", "major": 10}], ("c", 10, 7, W), True),
    ("all kinds, but one number", [{"allow": True, "type": "a", "major": 8}], ("b", 8, 0, R), True),
    ("all kinds, but another number", [{"allow": True, "type": "a", "major": 8}], ("b", 9, 0, R), False),
    ("reading of one and writing of its neighbour, which is not to be read", [dict(FUSE, access="r"),
     dict(FUSE, minor=230, access="w")], ("c", 10, 230, R), False),
    ("fuse allowed, a disk with its numbers denied", [FUSE, dict(FUSE, type="b", allow=False)],
     ("c", 10, 229, R), True),
    ("all of it allowed, a disk with its numbers denied", [MISC, dict(FUSE, type="b", allow=False)],
     ("c", 10, 229, R), True),
    ("fuse allowed, its neighbour of all numbers denied", [FUSE, {"allow": False, "type": "c", "minor": 230}],
     ("c", 10, 229, R), True),
    ("fuse allowed, all of another number denied", [FUSE, {"allow": False, "type": "c", "major": 11}],
     ("c", 10, 229, R), True),
    ("reading allowed, writing of one denied", [dict(MISC, access="r"), dict(FUSE, allow=False, access="w")],
     ("c", 10, 229, R), True),
    ("writing of one denied, then of all", [dict(MISC, access="rw"), dict(FUSE, allow=False, access="w"),
     dict(MISC, allow=False, access="w")], ("c", 10, 228, R), True),
    ("writing of one denied, then of all, but allowed of another", [
        MISC_W, dict(FUSE, allow=False, access="w"), dict(MISC_W, allow=False),
        dict(FUSE, major=11, access="w"),
     ], ("c", 11, 229, W), True),
    ("all devices, but to read", [{"allow": True, "access": "r"}], ("b", 9, 0, W), False),
]  # fmt: skip


@pytest.mark.parametrize("form", [with_program, with_list], ids=["v2", "v1"])
@pytest.mark.parametrize(
    "rules, access, verdict", [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_verdict(form, rules, access, verdict):
    assert form(rules, *access) is verdict


numbers = st.sampled_from([-1, 0, 1, 3])
rule = st.fixed_dictionaries(
    {
        "allow": st.booleans(),
        "type": st.sampled_from(["a", "b", "c", "c"]),
        "major": numbers,
        "minor": numbers,
        "access": st.sampled_from(["r", "w", "m", "rw", "rwm", "rwm"]),
    }
)
rules_ = st.lists(rule | st.just(DENY_ALL) | st.just(ALLOW_ALL), max_size=6)
device = st.tuples(st.sampled_from("cb"), st.sampled_from([0, 1, 2, 3]), st.sampled_from([0, 1, 2, 3]))


@given(rules_, device, st.integers(1, 7))
def test_the_program_says_what_the_rules_say(rules, device, access):
    assert with_program(rules, *device, access) == meant(device_rules.normal(rules), *device, access)


@given(rules_, device, st.integers(1, 7))
def test_the_list_of_v1_says_it_too_or_is_refused(rules, device, access):
    """For several accesses at once it may say less: the kernel wants one line that names them all."""
    try:
        said = with_list(rules, *device, access)
    except ContainerError as error:
        assert "takes a part of another rule back" in str(error)
        return
    right = meant(device_rules.normal(rules), *device, access)
    assert said == right if access in (R, W, M) else said <= right


def test_a_hole_in_a_wider_rule_is_refused_on_v1():
    rules = [{"allow": True, "type": "c", "major": 10}, dict(FUSE, allow=False)]
    with pytest.raises(ContainerError) as caught:
        device_rules.for_v1(device_rules.normal(rules))
    assert str(caught.value) == (
        "set the rule for devices deny c 10:229 rw: it takes a part of another rule back, which cgroup v1"
        " cannot do; hint: write rules for single devices in place of the wider one"
    )


@pytest.mark.parametrize(
    "bad, words",
    [
        ({"allow": True, "type": "x"}, "the type 'x' is none of a, b and c"),
        ({"allow": True, "access": "rx"}, "the access 'x' is not of r, w and m"),
        ({"allow": True, "type": "c", "major": -2}, "major -2 is no device number"),
        ({"allow": True, "type": "c", "major": 1, "minor": 1 << 31}, "minor 2147483648 is no device number"),
        ({"allow": True, "type": "c", "major": 1.5}, "major 1.5 is no device number"),
    ],
)
def test_what_is_no_rule_is_refused(bad, words):
    with pytest.raises(ContainerError, match=words):
        device_rules.normal([bad])


def test_the_list_kept_for_containers_without_rules_is_that_of_the_defaults():
    assert cgroup_v1.DEVICES == tuple(map(str, device_rules.DEFAULTS))


def test_a_program_starts_with_the_context_and_is_short():
    program = devices_bpf.program(device_rules.normal([DENY_ALL]))
    registers = 0x12 if sys.byteorder == "little" else 0x21
    assert program[:8] == bytes([0x61, registers, 0, 0, 0, 0, 0, 0])
    assert len(program) // 8 < 100
