"""`minictr features`: what this version can do, whatever the host (runtime-spec features.md).

Everything is taken from the tables that the work itself is done by. What is known but has no effect is
not in here.

Side: host
"""

import json

from . import __version__, abi, hooks, libc_rare, mounts, scheduling, seccomp
from .errors import ContainerError, printable

HELP = """usage: minictr features

What this version can do, as JSON (OCI runtime specification, "Features Structure")."""


def run(argv: "list[str]") -> int:
    if "--help" in argv or "-h" in argv:
        print(HELP)
        return 0
    if argv:
        raise ContainerError("read the options", "features takes none, not %s" % printable(argv[0]))
    print(json.dumps(structure(), indent=4))
    return 0


def structure() -> "dict[str, object]":
    """The features structure."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": list(hooks.NAMES),
        "mountOptions": mounts.known_options(),
        "linux": {
            "namespaces": sorted(abi.NAMESPACES),
            "capabilities": list(abi.CAPABILITIES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": _seccomp(),
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "memoryPolicy": {
                "modes": list(scheduling.MEMORY_MODES),
                "flags": list(scheduling.MEMORY_FLAGS),
            },
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {
            "org.minictr.version": __version__,
            "org.opencontainers.runc.checkpoint.enabled": "false",
        },
        "potentiallyUnsafeConfigAnnotations": [],  # none has an effect
    }


def _seccomp() -> "dict[str, object]":
    return {
        "enabled": True,
        "actions": list(seccomp.ACTIONS),
        "operators": list(seccomp.OPERATORS),
        "archs": [name for name, table in seccomp.ARCHITECTURES.items() if table],
        "knownFlags": list(seccomp.FLAGS),
        "supportedFlags": [name for name in seccomp.FLAGS if libc_rare.seccomp_knows(seccomp.FLAGS[name])],
    }
