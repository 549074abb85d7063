"""What Landlock does not see of TCP, refused by whatever filter there is; and nothing else is."""

import bpf
import pytest
import seccomp_reference as reference
from hypothesis import example, given
from hypothesis import strategies as some
from seccomp_reference import fixture

from minictr import landlock_gaps, seccomp, seccomp_default, spec, syscalls

MPTCP, SMC = 262, 256
WIDE = 7 << 32  # the kernel looks at an int
FASTOPEN = 0x20000000


def compiled(profile, machine="x86_64"):
    return bpf.Bpf(seccomp.compile(profile, machine).program)


def call(made, name, *arguments, word="x86_64"):
    return made.call(word, syscalls.table(word)[name], arguments + (0,) * (6 - len(arguments)))


def errno(number):
    return reference.ERRNO | number


PROFILES = {
    "builtin": lambda: seccomp_default.profile(set(spec.DEFAULT_CAPABILITIES), "x86_64", (6, 1)),
    "docker": lambda: fixture("docker"),
    "podman": lambda: fixture("podman-root"),
    "all calls": lambda: {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"]},
    "without conditions": lambda: {
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["read", "socket", "sendto", "sendmsg", "socketcall"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["socket", "write"], "action": "SCMP_ACT_KILL"},
            {"names": ["sendmmsg", "connect"], "action": "SCMP_ACT_LOG", "args": []},
        ],
    },
}  # fmt: skip


@pytest.fixture(params=sorted(PROFILES))
def both(request):
    """A profile's filter without and with what refuses these ways."""
    given = PROFILES[request.param]()
    return compiled(given), compiled(landlock_gaps.narrowed(given))


@pytest.mark.parametrize("family", [2, 10, WIDE + 2])
@pytest.mark.parametrize("protocol", [MPTCP, SMC, WIDE + MPTCP])
def test_sockets_that_are_taken_for_tcp_are_refused(both, family, protocol):
    before, after = (call(made, "socket", family, 1, protocol) for made in both)
    known = (errno(93),) if before & 0xFFFF0000 != reference.ERRNO else (errno(93), before)
    assert after in known
    assert call(both[1], "socket", 43, 1, 0) & 0xFFFF0000 == reference.ERRNO


@pytest.mark.parametrize("name, index", [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)])
@pytest.mark.parametrize("word", ["x86_64", "i386"])
def test_nothing_is_connected_by_sending(both, name, index, word):
    for more in (0, 0x40, 0x4000 | WIDE):
        arguments = (3,) * index + (FASTOPEN | more,)
        assert call(both[1], name, *arguments, word=word) == errno(95)
        plain = (3,) * index + (more,)
        before, after = (call(made, name, *plain, word=word) for made in both)
        assert before == after


def test_nor_by_a_call_that_other_machines_have():
    """send(2) has a number of its own on arm."""
    given = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_ARM"]}
    made = compiled(landlock_gaps.narrowed(given), "aarch64")
    assert call(made, "send", 3, 0, 1, FASTOPEN, word="arm") == errno(95)
    assert call(made, "send", 3, 0, 1, 0, word="arm") == reference.ALLOW


def test_what_a_profile_does_not_know_stays_unknown():
    """Programs take ENOSYS for a kernel that is older, and fall back."""
    given = {
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["read", "socket"], "action": "SCMP_ACT_ALLOW"}],
    }  # fmt: skip
    before, after = compiled(given), compiled(landlock_gaps.narrowed(given))
    for architecture, number in reference.calls("x86_64"):
        assert after.call(architecture, number, (0,) * 6) == before.call(architecture, number, (0,) * 6)


def test_socketcall_hides_which_socket_is_meant_so_it_makes_none(both):
    assert call(both[1], "socketcall", 1, 0, word="i386") & 0xFFFF0000 == reference.ERRNO


def test_every_other_call_is_as_it_was(both):
    values = [(0,) * 6, (1,) * 6, (2, 1, 6, 0, 0, 0), (10, 2, 17, 0, 0, 0), (1, 1, MPTCP, 0, 0, 0)]
    values += [(17, 3, SMC, 0, 0, 0), (16, 3, 9, 0, 0, 0), (40, 1, 0, 0, 0, 0)]
    hidden = ("i386", syscalls.table("i386")["socketcall"])
    for architecture, number in reference.calls("x86_64"):
        if (architecture, number) != hidden:
            for arguments in values:
                before, after = (made.call(architecture, number, arguments) for made in both)
                assert before == after, (architecture, number, arguments)


# and the number of an errno or a tracer that goes with it
ACTIONS = some.one_of(
    some.tuples(some.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_KILL"]), some.none()),
    some.tuples(some.sampled_from(["SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"]), some.sampled_from([None, 1, 5])),
)
rules = some.fixed_dictionaries({
    "names": some.lists(some.sampled_from(["socket", "sendto", "read", "connect"]), max_size=4),
    "action": ACTIONS,
    "args": some.lists(
        some.fixed_dictionaries({
            "index": some.integers(0, 3), "op": some.sampled_from(sorted(seccomp.OPERATORS)),
            "value": some.integers(0, 3), "valueTwo": some.integers(0, 3),
        }), max_size=2),
})  # fmt: skip


SAID_AND_ALLOWED = [
    {"names": ["socket"], "action": ("SCMP_ACT_ERRNO", None), "args": []},  # which is the default's 1
    {"names": ["socket"], "action": ("SCMP_ACT_ALLOW", None), "args": []},
]


@example(("SCMP_ACT_ERRNO", 1), SAID_AND_ALLOWED, 0, 0)
@given(ACTIONS, some.lists(rules, max_size=5), some.integers(0, 3), some.integers(0, 3))
def test_whatever_the_profile_it_refuses_these_and_is_else_as_it_was(default, syscalls_, first, last):
    given = {"defaultAction": default[0], "defaultErrnoRet": default[1]}
    given["syscalls"] = [
        dict(rule, action=rule["action"][0], errnoRet=rule["action"][1]) for rule in syscalls_
    ]
    before, after = compiled(given), compiled(landlock_gaps.narrowed(given))
    for name in ("socket", "sendto", "read", "connect"):
        plain = (first, 1, last, 0)
        assert call(after, name, *plain) == call(before, name, *plain)
    for name, arguments in (("socket", (2, 1, MPTCP)), ("sendto", (first, 1, last, FASTOPEN))):
        found, was = call(after, name, *arguments), call(before, name, *arguments)
        assert found & 0xFFFF0000 in (reference.ERRNO, reference.KILL_THREAD), (hex(was), hex(found))


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_limits_of_other_processes_are_refused(name):
    given = PROFILES[name]()
    before, after = compiled(given), compiled(landlock_gaps.narrowed(given, False, True))
    for pid in (1, 4711, WIDE, WIDE + 1):
        assert call(after, "prlimit64", pid, 7) in (errno(3), call(before, "prlimit64", pid, 7))
        assert call(after, "prlimit64", pid, 7) & 0xFFFF0000 == reference.ERRNO
    assert call(after, "prlimit64", 0, 7) == call(before, "prlimit64", 0, 7)
    assert call(after, "socket", 2, 1, MPTCP) == call(before, "socket", 2, 1, MPTCP)
