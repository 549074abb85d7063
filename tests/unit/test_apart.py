"""Whether a filter lets the stand-in have a child: said by the profile, judged by the filter itself."""

import itertools

import pytest
import seccomp_reference as reference
from hypothesis import given
from hypothesis import strategies as st

from minictr import apart, seccomp, seccomp_default, spec, syscalls

PASSING = (reference.ALLOW, reference.LOG)


def profiles():
    yield "builtin", lambda: seccomp_default.profile(set(spec.DEFAULT_CAPABILITIES), "x86_64", (6, 1))
    for name in ("docker", "podman-root", "podman-rootless"):
        yield name, lambda name=name: reference.fixture(name)


def passes(profile):
    return {name: apart._passes(profile, name, known) for name, known in apart._CALLS.items()}


@pytest.mark.parametrize("make", [make for _, make in profiles()], ids=[name for name, _ in profiles()])
def test_the_filters_of_engines_let_it(make):
    assert set(passes(make()).values()) == {True}


@pytest.mark.parametrize("name", sorted(apart._CALLS))
def test_one_that_refuses_any_of_the_calls_does_not(name):
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [name], "action": "SCMP_ACT_ERRNO"}]}
    assert [one for one, found in passes(profile).items() if not found] == [name]


def rules():
    args = st.fixed_dictionaries({
        "index": st.integers(0, 5), "op": st.sampled_from(sorted(seccomp.OPERATORS)),
        "value": st.sampled_from([0, 1, 8, 0x8011, 0x540E, 0x7E020000]), "valueTwo": st.sampled_from([0, 1]),
    })  # fmt: skip
    return st.fixed_dictionaries({
        "names": st.lists(st.sampled_from(sorted(apart._CALLS)), min_size=1, max_size=3),
        "action": st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"]),
        "args": st.lists(args, max_size=2),
    })  # fmt: skip


@given(
    st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL"]),
    st.lists(rules(), max_size=4),
    st.sampled_from([None, 7]),
)
def test_what_is_said_to_pass_passes_whatever_else_the_arguments_are(default, made, number):
    for rule in made:
        if number and rule["action"] == "SCMP_ACT_ERRNO":
            rule["errnoRet"] = number
    profile = {"defaultAction": default, "syscalls": made}
    program = reference.compiled(profile)
    for name, known in apart._CALLS.items():
        if apart._passes(profile, name, known):
            for other in itertools.product((0, 1, 1 << 40), repeat=2):
                values = [known.get(index, other[index % 2]) for index in range(6)]
                verdict = program.call("x86_64", syscalls.table("x86_64")[name], values)
                assert verdict & 0xFFFF0000 in PASSING, (name, values)
