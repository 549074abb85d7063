"""The verb spec: a default config.json to begin with.

Side: host
"""

from . import abi, document, verbs
from . import unix as os
from .errors import ContainerError, printable, step

HELP = """usage: minictr spec [--rootless] [--bundle|-b DIR]

Print a default config.json; with --bundle, write it into DIR, where there must be none. --rootless: for an
ordinary user, who is root inside."""


def spec(argv: "list[str]") -> int:
    """Print the default configuration. --rootless: with the caller mapped to root; --bundle: into a file"""
    if "--help" in argv or "-h" in argv:
        print(HELP)
        return 0
    flags, values, words = verbs.scan(argv, {"--rootless": ""}, {"--bundle": "-b"}, 0, None)
    if words:
        raise ContainerError(
            "read the options", "spec takes --rootless and --bundle, not %s" % printable(words[0])
        )
    from . import host, seccomp_default
    from .spec import DEFAULT_CAPABILITIES, default_config

    config = default_config(["sh"], "rootfs")
    config["linux"]["seccomp"] = seccomp_default.profile(
        set(DEFAULT_CAPABILITIES), abi.machine(), host.kernel()
    )
    if "--rootless" in flags:
        make_rootless(config)
    text = document.pretty(config, "\t")
    if "--bundle" in values:
        _write_new(values["--bundle"] + "/config.json", text + "\n")
    else:
        print(text)
    return 0


def _write_new(path: str, text: str) -> None:
    with step("write %s" % printable(path), hints={abi.EEXIST: "it is left as it is"}):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        os.write(descriptor, text.encode("ascii"))
        os.close(descriptor)


def make_rootless(config) -> None:
    """Change the default CONFIG into one that an ordinary user can run: root inside is the caller."""
    linux = config["linux"]
    linux["namespaces"].append({"type": "user"})
    for name, number in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
        linux[name] = [{"containerID": 0, "hostID": number, "size": 1}]
    for mount in config["mounts"]:
        mount["options"] = [option for option in mount["options"] if option != "gid=5"]
