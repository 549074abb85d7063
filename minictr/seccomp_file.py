"""--security-opt seccomp=FILE: a profile as Docker and podman keep it, to one as config.json has it.

Beside what config.json knows, such a file may say

    archMap: which architectures run on a machine, and which beside each
    includes, excludes: the capabilities, machines and kernels a rule is for; all of the capabilities
        that it includes, and none of those that it excludes, are those of the container's bounding set
    name for names; errno and defaultErrno, words, for the numbers of errnoRet and defaultErrnoRet

A key that is not known is refused: misspelt, it would leave the container weaker than its author thinks.

Side: host
"""

import _stat as stat
import os

from . import abi, document, host, seccomp
from .errors import ContainerError, printable
from .words import absolute, bad, number

LIMIT = 4 << 20  # bytes; Docker's own profile has 15 kB

_PLAIN = ("defaultAction", "defaultErrnoRet", "architectures", "flags", "listenerPath", "listenerMetadata")
_TOP = _PLAIN + ("defaultErrno", "archMap", "syscalls")
_RULE = ("names", "name", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes")
_ARG = ("index", "value", "valueTwo", "op")
# Go's words for the machines, which these files use (libseccomp's own beside them)
_WORDS = {
    "x86_64": ("amd64",), "i386": ("x86", "386"), "aarch64": ("arm64",), "arm": ("arm",),
    "riscv64": ("riscv64",), "ppc64le": ("ppc64le",), "s390x": ("s390x",),
    "loongarch64": ("loong64", "loongarch64"),
}  # fmt: skip


def load(text: str, path: str, capabilities: "set[str]") -> "dict[str, object]":
    """The profile in the file PATH for a container with CAPABILITIES in its bounding set.

    text: the option, for errors, which are ContainerErrors
    """
    try:
        profile, machine = _parse(_read(absolute(path))), abi.machine()
        seccomp.check(profile, machine)
        return _chosen(profile, machine, host.kernel(), capabilities)
    except OSError as error:
        raise bad("--security-opt", text, os.strerror(error.errno or 0)) from None
    except ContainerError as error:
        raise bad("--security-opt", text, error.why) from None


def _wrong(where: str, why: str) -> ContainerError:
    return ContainerError("read the seccomp profile", "%s: %s" % (where, why) if where else why)


def _read(path: str) -> object:
    # a FIFO that nobody writes to would hold us up
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _wrong("", "is not a regular file")
        content = file.read(LIMIT + 1)
    if len(content) > LIMIT:
        raise _wrong("", "is longer than %d MiB" % (LIMIT >> 20))
    try:
        return document.loads(content.decode("utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one
        raise _wrong("", "is not JSON: %s" % error) from None


# --- one form to the other ----------------------------------------------------------------------


def _parse(content: object) -> "dict":
    """The profile with words as numbers; its rules keep what they include and exclude."""
    given = _object(content, "", _TOP)
    if given.get("archMap") and given.get("architectures"):
        raise _wrong("archMap", "says the same as architectures, so only one of them may be there")
    profile = {key: given[key] for key in _PLAIN if given.get(key) is not None}
    for key in ("listenerPath", "listenerMetadata"):
        if not isinstance(given.get(key) or "", str):
            raise _wrong(key, "is not a string")
    _number(given, profile, "defaultErrno", "defaultErrnoRet", "")
    if given.get("archMap"):
        profile["architectures"] = _architectures(given["archMap"])
    rules = _array(given.get("syscalls"), "syscalls")
    profile["syscalls"] = [_rule(rule, "syscalls[%d]" % at) for at, rule in enumerate(rules)]
    return profile


def _architectures(table: object) -> "list[str]":
    """Those of the machine's own entry: without one it has none beside itself."""
    found, own = [], abi.machine()  # type: list[str], str
    for at, item in enumerate(_array(table, "archMap")):
        where = "archMap[%d]" % at
        entry = _object(item, where, ("architecture", "subArchitectures"))
        name = entry.get("architecture")
        if not isinstance(name, str) or name not in seccomp.ARCHITECTURES:
            raise _wrong(where + ".architecture", "%s is not known" % printable(name))
        if seccomp.ARCHITECTURES[name] == own:
            found += [name] + _array(entry.get("subArchitectures"), where + ".subArchitectures")
    return found


def _rule(content: object, where: str) -> "dict":
    given = _object(content, where, _RULE)
    rule = {key: given[key] for key in ("names", "action", "errnoRet") if given.get(key) is not None}
    if given.get("name"):
        if given.get("names"):
            raise _wrong(where + ".name", "says the same as names, so only one of them may be there")
        rule["names"] = [given["name"]]
    _number(given, rule, "errno", "errnoRet", where + ".")
    if given.get("args"):
        args = _array(given["args"], where + ".args")
        rule["args"] = [_object(arg, "%s.args[%d]" % (where, at), _ARG) for at, arg in enumerate(args)]
    for key in ("includes", "excludes"):
        if given.get(key):
            rule[key] = _condition(given[key], "%s.%s" % (where, key))
    return rule


def _condition(content: object, where: str) -> "dict":
    given = _object(content, where, ("caps", "arches", "minKernel"))
    for key in ("caps", "arches"):
        words = _array(given.get(key), "%s.%s" % (where, key))
        if not all(isinstance(word, str) for word in words):
            raise _wrong("%s.%s" % (where, key), "holds something that is not a string")
        given[key] = words
    if given.get("minKernel"):
        numbers = [number(word) for word in str(given["minKernel"]).split(".")[:2]]
        if len(numbers) < 2 or min(numbers) < 0:
            raise _wrong(where + ".minKernel", "%s is not a version" % printable(given["minKernel"]))
        given["minKernel"] = tuple(numbers)
    return given


def _number(given: "dict", made: "dict", word: str, number: str, where: str) -> None:
    """Put the errno that is called WORD in GIVEN into MADE as NUMBER; where both stand they must agree."""
    name = given.get(word)
    if not name:
        return
    import errno  # names of errnos: only here

    value = getattr(errno, str(name), None) if str(name).startswith("E") else None
    if value is None:
        raise _wrong(where + word, "%s is not known" % printable(name))
    if made.setdefault(number, value) != value:
        raise _wrong(where + word, "%s is not %s, which %s says" % (name, printable(made[number]), number))


# --- what is meant for us -----------------------------------------------------------------------


def _chosen(
    profile: "dict", machine: str, kernel: "tuple[int, int]", capabilities: "set[str]"
) -> "dict[str, object]":
    words = _WORDS.get(machine, (machine,))

    def meant(rule: "dict") -> bool:
        wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
        return not (
            any(cap in capabilities for cap in unwanted.get("caps", ()))
            or any(word in unwanted.get("arches", ()) for word in words)
            or kernel >= unwanted.get("minKernel", (1 << 30, 0))
            or not all(cap in capabilities for cap in wanted.get("caps", ()))
            or (wanted.get("arches") and not any(word in wanted["arches"] for word in words))
            or kernel < wanted.get("minKernel", (0, 0))
        )

    rules = [rule for rule in profile["syscalls"] if meant(rule)]
    for rule in rules:
        rule.pop("includes", None)
        rule.pop("excludes", None)
    return dict(profile, syscalls=rules)


def _object(value: object, where: str, keys: "tuple[str, ...]") -> "dict":
    if not isinstance(value, dict):
        raise _wrong(where, "is not an object")
    for key in value:
        if key not in keys:
            raise _wrong(where, "%s is not known; known are %s" % (printable(repr(key)), ", ".join(keys)))
    return dict(value)


def _array(value: object, where: str) -> "list":
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(where, "is not a list")
    return value
