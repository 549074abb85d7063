"""Write minictr/seccomp_ready.py: the builtin seccomp profile, compiled.

python3 tests/make_seccomp_ready.py >minictr/seccomp_ready.py
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from minictr import seccomp, seccomp_default, spec

MACHINES = ("aarch64", "x86_64")  # on others the profile is compiled at each start
WIDTH = 100

HEAD = '''\
"""The builtin seccomp profile of a container with the default capabilities, compiled.

Made by tests/make_seccomp_ready.py, which `seccomp` and `seccomp_default` speak through; not to be
edited. It saves 0.8 ms of a start.

Side: host
"""

RULES = {rules}  # of the profile
FLAGS = {flags}  # of seccomp(2)
# An array of struct sock_filter in hexadecimal, by machine
PROGRAMS = {{
'''
TAIL = '''\
}


def find(profile: "dict", machine: str) -> "str | None":
    """The program of PROFILE, if it is the one that was compiled."""
    if machine not in PROGRAMS or len(profile.get("syscalls") or ()) != RULES:
        return None
    from . import seccomp_default, spec  # which are there already, but for a bundle

    wanted = seccomp_default.profile(set(spec.DEFAULT_CAPABILITIES), machine)
    return PROGRAMS[machine] if profile == wanted else None
'''


def text() -> str:
    """The module."""
    lines, rules, flags = [], set(), set()
    for machine in MACHINES:
        profile = seccomp_default.profile(set(spec.DEFAULT_CAPABILITIES), machine)
        made = seccomp.compile(profile, machine)
        assert not made.listener
        rules.add(len(profile["syscalls"]))
        flags.add(made.flags)
        digits = made.program.hex()
        lines.append('    "%s": (' % machine)
        for at in range(0, len(digits), WIDTH):
            lines.append('        "%s"' % digits[at : at + WIDTH])
        lines.append("    ),")
    head = HEAD.format(rules=max(rules), flags=max(flags))
    assert len(rules) == len(flags) == 1
    return head + "\n".join(lines) + "\n" + TAIL


if __name__ == "__main__":
    sys.stdout.write(text())
