"""config.json of a bundle: read, and checked in one place.

What is not known is ignored, as the specification wants it; what is known and wrong is an error
that names the property. Source: opencontainers/runtime-spec 1.3, config.md, config-linux.md and
its JSON schema.

Side: host
"""

from . import abi, document, words
from . import unix as os
from .errors import ContainerError, printable, step

MAX_CONFIG = 32 << 20  # bytes; engines write some 30 kB


def load(bundle: str) -> dict:
    """The checked configuration of the bundle directory BUNDLE. Raises ContainerError."""
    path = os.path.join(bundle, "config.json")
    doing = "read %s" % printable(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        hint = "minictr spec > config.json" if error.errno == abi.ENOENT else ""
        raise ContainerError(doing, "", error.errno or 0, hint) from error
    config = _parsed(descriptor, doing)
    check(config)
    return config  # type: ignore[return-value]


def load_part(path: str, check) -> dict:
    """The part of a configuration in the file PATH, - for standard input, which CHECK finds sound."""
    doing = "read %s" % ("standard input" if path == "-" else printable(path))
    with step(doing):
        descriptor = os.dup(0) if path == "-" else os.open(words.absolute(path), os.O_RDONLY | os.O_CLOEXEC)
    part = _parsed(descriptor, doing)
    try:
        check(part)
    except Invalid as error:
        raise ContainerError(doing, error.why) from None
    return part  # type: ignore[return-value]


def _parsed(descriptor: int, doing: str) -> object:
    """The document that DESCRIPTOR, which is closed, gives."""
    try:
        return document.loads(_read(descriptor, doing))
    except ValueError as error:
        raise ContainerError(doing, "not JSON: %s" % error) from None
    finally:
        os.close(descriptor)


def _read(descriptor: int, doing: str) -> str:
    pieces, left = [], MAX_CONFIG  # type: list[bytes], int
    try:
        while left > 0:
            piece = os.read(descriptor, min(left, 1 << 20))
            if not piece:
                return b"".join(pieces).decode("utf-8")
            pieces.append(piece)
            left -= len(piece)
    except OSError as error:
        raise ContainerError(doing, "", error.errno or 0) from error
    except UnicodeDecodeError:
        raise ContainerError(doing, "not UTF-8") from None
    raise ContainerError(doing, "longer than %d MiB" % (MAX_CONFIG >> 20))


def check(config: object) -> None:
    """Raises ContainerError naming the first property that is wrong."""
    _CONFIG(config, "")
    linux = config.get("linux") or {}  # type: ignore[attr-defined]
    _contradictions(config, linux)  # type: ignore[arg-type]


def check_process(process: object) -> None:
    """The same for a `process` object on its own."""
    _PROCESS(process, "process")
    if not process.get("args"):  # type: ignore[attr-defined]
        raise Invalid("process.args", "is empty or missing")
    _check_limits(process)  # type: ignore[arg-type]
    _check_rare(process, {})  # type: ignore[arg-type]


def check_resources(resources: object) -> None:
    """The same for a `linux.resources` object on its own."""
    _RESOURCES(resources, "resources")


class Invalid(ContainerError):
    """A property that is wrong: where it is, and why."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__("read config.json", "%s %s" % (where.lstrip(".") or "the document", why))


# --- shapes: a checker takes a value and where it is ------------------------------------------


def text(value: object, where: str) -> None:
    if not isinstance(value, str):
        raise Invalid(where, "is not a string")
    if "\0" in value:
        raise Invalid(where, "has a NUL in it")
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise Invalid(where, "has a character that cannot be written, or half of one") from None


def boolean(value: object, where: str) -> None:
    if value is not True and value is not False:
        raise Invalid(where, "is not true or false")


def number(low: int, high: int):
    def check_number(value: object, where: str) -> None:
        if type(value) is not int:  # and not a bool, which is one
            raise Invalid(where, "is not a whole number")
        if not low <= value <= high:
            raise Invalid(where, "is not between %d and %d" % (low, high))

    return check_number


def word(*allowed: str):
    def check_word(value: object, where: str) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise Invalid(where, "is not one of %s" % ", ".join([name for name in allowed if name]))

    return check_word


def array(of):
    def check_array(value: object, where: str) -> None:
        if not isinstance(value, list):
            raise Invalid(where, "is not an array")
        for index, item in enumerate(value):
            of(item, "%s[%d]" % (where, index))

    return check_array


def mapping(of):
    def check_mapping(value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise Invalid(where, "is not an object")
        for key, item in value.items():
            of(item, "%s.%s" % (where, printable(key)))

    return check_mapping


def table(required: "tuple[str, ...]", **fields: object):
    """An object; null is as good as absent, as engines write it for what they leave out."""

    def check_table(value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise Invalid(where, "is not an object")
        for name in required:
            if value.get(name) is None:
                raise Invalid("%s.%s" % (where, name), "is missing")
        for name, item in value.items():
            checker = fields.get(name)
            if checker is not None and item is not None:
                checker(item, "%s.%s" % (where, name))  # type: ignore[operator]

    return check_table


U16, U32, U64 = number(0, 2**16 - 1), number(0, 2**32 - 1), number(0, 2**64 - 1)
I32, I64 = number(-(2**31), 2**31 - 1), number(-(2**63), 2**63 - 1)
_ID = number(0, 2**32 - 2)  # one more is (uid_t) -1, "no change" to setresuid(2)
_TEXTS = array(text)


def _absolute(value: object, where: str) -> None:
    text(value, where)
    if not value.startswith("/"):  # type: ignore[attr-defined]
        raise Invalid(where, "is not an absolute path")


def _environment(value: object, where: str) -> None:
    text(value, where)
    if value.find("=") < 1:  # type: ignore[attr-defined]
        raise Invalid(where, "is not NAME=VALUE")


_MAPPING = table(("containerID", "hostID", "size"), containerID=_ID, hostID=_ID, size=U32)
_HOOK = table(("path",), path=_absolute, args=_TEXTS, env=_TEXTS, timeout=number(1, 2**31))
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_ACTIONS = ("KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG", "NOTIFY")
_OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
_POLICIES = ("OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE")
_MEMORY_MODES = (
    "DEFAULT", "BIND", "INTERLEAVE", "WEIGHTED_INTERLEAVE", "PREFERRED", "PREFERRED_MANY", "LOCAL",
)  # fmt: skip


def _cpus(value: object, where: str) -> None:
    text(value, where)
    if value.strip("0123456789, -"):  # type: ignore[attr-defined]
        raise Invalid(where, "is not a list of CPUs")


def _page_size(value: object, where: str) -> None:
    text(value, where)
    digits = value[:-2]  # type: ignore[index]
    if value[-2:] not in ("KB", "MB", "GB") or digits.strip("0123456789") or digits[:1] in ("", "0"):  # type: ignore[index]
        raise Invalid(where, "is not a size such as 2MB")


_PROCESS = table(
    ("cwd",),
    terminal=boolean,
    consoleSize=table(("height", "width"), height=U16, width=U16),
    user=table((), uid=_ID, gid=_ID, umask=number(0, 0o777), additionalGids=array(_ID), username=text),
    args=_TEXTS,
    env=array(_environment),
    cwd=_absolute,
    capabilities=table((), **{name: _TEXTS for name in
                              ("bounding", "effective", "permitted", "inheritable", "ambient")}),
    rlimits=array(table(("type", "soft", "hard"), type=word(*abi.RLIMITS), soft=U64, hard=U64)),
    noNewPrivileges=boolean,
    apparmorProfile=text,
    selinuxLabel=text,
    oomScoreAdj=number(-1000, 1000),
    scheduler=table(("policy",), policy=word(*["SCHED_" + name for name in _POLICIES]), nice=I32,
                    priority=I32, flags=_TEXTS, runtime=U64, deadline=U64, period=U64),
    ioPriority=table(("class",), priority=number(0, 7),
                     **{"class": word("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")}),
    execCPUAffinity=table((), initial=_cpus, final=_cpus),
)  # fmt: skip
_SECCOMP = table(
    ("defaultAction",),
    defaultAction=word(*["SCMP_ACT_" + action for action in _ACTIONS]),
    defaultErrnoRet=U32,
    architectures=_TEXTS,
    flags=_TEXTS,
    listenerPath=text,
    listenerMetadata=text,
    syscalls=array(
        table(
            ("names", "action"),
            names=_TEXTS,
            action=word(*["SCMP_ACT_" + action for action in _ACTIONS]),
            errnoRet=U32,
            args=array(
                table(
                    ("index", "value", "op"), index=number(0, 5), value=U64, valueTwo=U64,
                    op=word(*["SCMP_CMP_" + operator for operator in _OPERATORS]),
                )
            ),
        )
    ),
)  # fmt: skip
_DEVICE = table(  # engines write the type of the file into its mode, too
    ("type", "path"), type=word("c", "b", "u", "p"), path=_absolute, major=number(0, 2**12 - 1),
    minor=number(0, 2**20 - 1), fileMode=number(0, 0xFFFF), uid=_ID, gid=_ID,
)  # fmt: skip
_RATES = array(table(("major", "minor"), major=I64, minor=I64, rate=U64))
_WEIGHTS = array(table(("major", "minor"), major=I64, minor=I64, weight=U16, leafWeight=U16))
_RESOURCES = table(
    (),
    unified=mapping(text),
    devices=array(table(("allow",), allow=boolean, type=text, major=I64, minor=I64, access=text)),
    pids=table(("limit",), limit=I64),
    blockIO=table(
        (), weight=U16, leafWeight=U16, weightDevice=_WEIGHTS, throttleReadBpsDevice=_RATES,
        throttleWriteBpsDevice=_RATES, throttleReadIOPSDevice=_RATES, throttleWriteIOPSDevice=_RATES,
    ),
    cpu=table((), cpus=text, mems=text, period=U64, quota=I64, burst=U64, realtimePeriod=U64,
              realtimeRuntime=I64, shares=U64, idle=I64),
    hugepageLimits=array(table(("pageSize", "limit"), pageSize=_page_size, limit=U64)),
    memory=table((), kernel=I64, kernelTCP=I64, limit=I64, reservation=I64, swap=I64, swappiness=U64,
                 disableOOMKiller=boolean, useHierarchy=boolean, checkBeforeUpdate=boolean),
    network=table((), classID=U32, priorities=array(table(("name", "priority"), name=text, priority=U32))),
    rdma=mapping(table((), hcaHandles=U32, hcaObjects=U32)),
)  # fmt: skip
_LINUX = table(
    (),
    namespaces=array(table(("type",), type=word(*abi.NAMESPACES), path=text)),
    uidMappings=array(_MAPPING),
    gidMappings=array(_MAPPING),
    timeOffsets=mapping(table((), secs=I64, nanosecs=number(0, 999999999))),
    devices=array(_DEVICE),
    cgroupsPath=text,
    rootfsPropagation=word("shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate",
                           "runbindable", ""),
    resources=_RESOURCES,
    seccomp=_SECCOMP,
    sysctl=mapping(text),
    maskedPaths=_TEXTS,
    readonlyPaths=_TEXTS,
    mountLabel=text,
    personality=table(("domain",), domain=word("LINUX", "LINUX32"), flags=_TEXTS),
    intelRdt=table((), closID=text, schemata=_TEXTS, l3CacheSchema=text, memBwSchema=text,
                   enableMonitoring=boolean),
    memoryPolicy=table((), mode=word(*["MPOL_" + mode for mode in _MEMORY_MODES]), nodes=text, flags=_TEXTS),
    netDevices=mapping(table((), name=text)),
)  # fmt: skip
_CONFIG = table(
    ("ociVersion", "root"),
    ociVersion=text,
    process=_PROCESS,
    root=table(("path",), path=text, readonly=boolean),
    hostname=text,
    domainname=text,
    mounts=array(
        table(("destination",), destination=text, type=text, source=text, options=_TEXTS,
              uidMappings=array(_MAPPING), gidMappings=array(_MAPPING))
    ),
    hooks=table((), **{name: array(_HOOK) for name in _HOOKS}),
    annotations=mapping(text),
    linux=_LINUX,
)  # fmt: skip


def _contradictions(config: "dict", linux: "dict") -> None:
    _check_version(config["ociVersion"])
    _check_namespaces(linux.get("namespaces") or ())
    if not config["root"]["path"]:  # which would be the bundle itself
        raise Invalid("root.path", "is empty")
    if "" in (config.get("annotations") or {}):
        raise Invalid("annotations", "has an empty name")
    seccomp = linux.get("seccomp") or {}
    if seccomp.get("listenerMetadata") and not seccomp.get("listenerPath"):
        raise Invalid("linux.seccomp.listenerMetadata", "needs a listenerPath")
    if not (config.get("process") or {}).get("args"):
        raise Invalid("process.args", "is empty or missing")
    _check_owned(config, linux)
    _check_devices(linux.get("devices") or ())
    _check_limits(config["process"])
    _check_rare(config["process"], linux)
    _check_mounts(config.get("mounts") or ())


def _check_version(text: str) -> None:
    """SemVer 2.0.0: a pre-release follows -, build metadata follows +, which podman has written."""
    version = text.partition("+")[0].partition("-")[0].split(".")
    if len(version) != 3 or version[0] != "1" or min(map(words.number, version)) < 0:
        raise Invalid("ociVersion", "%s is not a version 1" % printable(text))


def _check_namespaces(entries) -> None:
    kinds = [entry["type"] for entry in entries]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise Invalid("linux.namespaces", "names %s twice" % kind)
    for index, entry in enumerate(entries):
        if entry.get("path"):
            _absolute(entry["path"], "linux.namespaces[%d].path" % index)


def _check_owned(config: "dict", linux: "dict") -> None:
    """What belongs to a namespace is set in one that the container has, not in the host's."""
    entries = linux.get("namespaces") or ()
    kinds = [entry["type"] for entry in entries]
    new = [entry["type"] for entry in entries if not entry.get("path")]
    for name in ("hostname", "domainname"):
        if config.get(name) and "uts" not in kinds:
            raise Invalid(name, "needs a namespace of the kind uts")
        if len(os.fsencode(config.get(name) or "")) > 64:
            raise Invalid(name, "is longer than 64 bytes")
    if (linux.get("uidMappings") or linux.get("gidMappings")) and "user" not in kinds:
        raise Invalid("linux.uidMappings", "needs a user namespace")
    for clock in linux.get("timeOffsets") or {}:
        if clock not in ("monotonic", "boottime") or "time" not in new:
            raise Invalid(
                "linux.timeOffsets.%s" % printable(clock), "needs a new time namespace, and a clock of it"
            )
    named = tuple([name for name in ("hostname", "domainname") if config.get(name)])
    for key in linux.get("sysctl") or {}:
        from . import sysctls  # only for those who set some

        why = sysctls.refusal(key, kinds, named)
        if why:
            raise Invalid("linux.sysctl.%s" % printable(key), why)


def _check_devices(entries) -> None:
    for index, device in enumerate(entries):
        for name in ("major", "minor"):
            if device["type"] != "p" and device.get(name) is None:
                raise Invalid("linux.devices[%d].%s" % (index, name), "is missing")


def _check_limits(process: "dict") -> None:
    limits = process.get("rlimits") or ()
    kinds = [limit["type"] for limit in limits]
    for index, limit in enumerate(limits):
        where = "process.rlimits[%d]" % index
        if limit["soft"] > limit["hard"]:
            raise Invalid(where, "has a soft limit above its hard limit")
        if limit["type"] in kinds[:index]:
            raise Invalid(where, "is a second %s" % limit["type"])


def _check_rare(process: "dict", linux: "dict") -> None:
    found = None
    asked = [process.get(name) for name in ("scheduler", "execCPUAffinity")] + [linux.get("memoryPolicy")]
    if any(asked):
        from . import scheduling  # only for those who have some

        found = scheduling.wrong(process, linux)
    if linux.get("netDevices") and not found:
        from . import netdevices

        found = netdevices.wrong(linux["netDevices"])
    if linux.get("intelRdt") and not found:
        from . import resctrl

        found = resctrl.wrong(linux["intelRdt"])
    if found:
        raise Invalid(*found)


def _check_mounts(entries) -> None:
    for index, entry in enumerate(entries):
        where = "mounts[%d]" % index
        if not entry["destination"]:
            raise Invalid(where + ".destination", "is empty")
        options = entry.get("options") or ()
        bind = entry.get("type") == "bind" or "bind" in options or "rbind" in options
        if bind and not entry.get("source"):
            raise Invalid(where + ".source", "is missing")
        if not bind and not entry.get("type"):
            raise Invalid(where + ".type", "is missing")
        for name, other in (("uidMappings", "gidMappings"), ("gidMappings", "uidMappings")):
            if entry.get(name) and not bind:
                raise Invalid("%s.%s" % (where, name), "only a bind mount can have other ids")
            if entry.get(other) and not entry.get(name):
                raise Invalid("%s.%s" % (where, name), "is missing: users and groups are mapped together")
