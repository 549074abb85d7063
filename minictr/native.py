"""The native form of `run`: options, by name already, to an OCI configuration and a Spec.

There is no second path behind this: an option becomes the property of config.json that podman
or docker would write for it. Each stage reads the options of one subject; a later one may look
at what an earlier one has put down.

Side: host
"""

from . import abi, arrangement, grants
from . import unix as os
from .errors import printable
from .spec import DEFAULT_PATH, Spec, default_config
from .words import MAX_FDS, absolute, bad, integer, number, signal_number

UNLIMITED = 2**64 - 1  # RLIM_INFINITY as config.json has it
MAX_ID = 2**32 - 2  # 2**32 - 1 is "no id" to the kernel
NAME_LENGTH = 64  # __NEW_UTS_LEN, include/uapi/linux/utsname.h

PIDS = 2048  # how many processes a container may have where nobody says: podman's default
_LIMITS = frozenset((
    "memory", "memory-swap", "memory-reservation", "memory-swappiness", "oom-kill-disable", "memory-watch",
    "cpus", "cpu-shares", "cpu-period", "cpu-quota", "cpu-rt-period", "cpu-rt-runtime", "cpuset-cpus",
    "cpuset-mems", "pids-limit", "blkio-weight", "blkio-weight-device", "device-read-bps",
    "device-write-bps", "device-read-iops", "device-write-iops", "cgroup-conf", "cgroup-parent",
))  # fmt: skip
_HOST_NAME = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-."


def configure(given: "dict", command: "list[str]", identifier: str) -> Spec:
    """The Spec for COMMAND in a container of the id IDENTIFIER.

    given: by the first long name of an option: True for a flag, its text, or a list of texts
    Raises ContainerError, which names the option.
    """
    fields = {"identifier": identifier, "degrade": "warn", "userns": "auto"}  # type: dict
    if "systemd" in given or command[0].endswith(("/init", "systemd")):
        from . import systemd_inside  # hardly ever

        given = systemd_inside.configure(given, command)
    root = _root(given, fields)
    readonly = not fields["overlay"] and (fields["source"] == "host" or "read-only" in given)
    config = default_config(command, root, readonly)
    for stage in _STAGES:
        stage(given, config, fields)
    return Spec(config=config, bundle=root, **fields)


def _root(given: "dict", fields: "dict") -> str:
    fields["overlay"] = "tmpfs" if "overlay" in given else ""
    if "overlay" in given and "read-only" in given:
        raise bad("--overlay", "", "contradicts --read-only")
    if "rootfs" not in given:
        fields["source"] = "host"
        return "/"
    fields["source"] = "rootfs"
    root = absolute(given["rootfs"])
    try:
        descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        hint = "--overlay" if root.endswith(":O") else ""  # so podman spells it
        if error.errno == abi.EACCES:
            hint = "a directory above it is closed to this user: chmod a+x, or start as who may enter it"
        if os.path.isfile(root):
            hint = "of an archive: mkdir DIR && tar -C DIR -xf %s" % printable(given["rootfs"])
        raise bad("--rootfs", given["rootfs"], os.strerror(error.errno or 0), hint) from None
    try:
        own = os.path.samestat(os.fstat(descriptor), os.stat("/"))
    finally:
        os.close(descriptor)
    if own:  # as a directory like any other it would be written to
        raise bad("--rootfs", given["rootfs"], "is the host's own root", "leave --rootfs out")
    return root


# --- namespaces -----------------------------------------------------------------------------

_NAMESPACES = (
    ("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("net", "network"), ("cgroupns", "cgroup"),
    ("time", "time"),
)  # fmt: skip
# What an option takes, where that is not what most take
_CHOICES = {"net": "host, none, private or ns:PATH", "userns": "auto, private, host, keep-id or ns:PATH"}


def _namespaces(given: "dict", config: "dict", fields: "dict") -> None:
    chosen = {entry["type"]: entry for entry in config["linux"]["namespaces"]}
    for option, kind in _NAMESPACES:
        wanted = given.get(option, "")
        if wanted == "host":
            chosen.pop(kind, None)
        elif wanted == "private" or (option, wanted) in (("net", "none"), ("ipc", "shareable")):
            chosen[kind] = {"type": kind}
        elif option in given:
            chosen[kind] = {"type": kind, "path": _namespace_path(option, wanted)}
    fields["host_proc"] = "host-proc" in given or given.get("pid") == "host"
    if "time-offset" in given:
        if "path" in chosen.setdefault("time", {"type": "time"}) or given.get("time") == "host":
            raise bad("--time-offset", given["time-offset"][0], "needs a time namespace of its own")
        config["linux"]["timeOffsets"] = _time_offsets(given["time-offset"])
    config["linux"]["namespaces"] = list(chosen.values())


def _namespace_path(option: str, wanted: str) -> str:
    path = wanted[3:] if wanted.startswith("ns:") else wanted
    if "/" not in path:
        choices = _CHOICES.get(option, "host, private or ns:PATH")
        raise bad("--" + option, wanted, "is not one of %s" % choices, _of_container(option, wanted))
    return absolute(path)


def _of_container(option: str, wanted: str) -> str:
    """What to write for podman's container:ID, and for the networks that podman and docker make."""
    if option == "net" and wanted.partition(":")[0] in ("bridge", "pasta", "slirp4netns", "default"):
        return "networks are not set up: --net host, or the ns:PATH of one that is"
    if not wanted.startswith("container:"):
        return ""
    name, user = option.replace("cgroupns", "cgroup"), "--userns ns:/proc/PID/ns/user"
    words = user if option == "userns" else "--%s ns:/proc/PID/ns/%s %s" % (option, name, user)
    return words + ", with the pid that minictr state tells"


def _time_offsets(values: "list[str]") -> "dict[str, dict[str, int]]":
    """[monotonic=|boottime=]SECONDS[.FRACTION] to linux.timeOffsets; no name means both clocks."""
    offsets = {}
    for text in values:
        clock, _, amount = text.rpartition("=")
        if clock not in ("", "monotonic", "boottime"):
            raise bad("--time-offset", text, "the clocks are monotonic and boottime")
        negative = amount.startswith("-")
        whole, point, fraction = amount[1 if amount[:1] in ("-", "+") else 0 :].partition(".")
        seconds, nanos = number(whole), number((fraction if point else "0").ljust(9, "0"))
        if not 0 <= seconds < 2**62 or nanos < 0 or len(fraction) > 9 or (point and not fraction):
            raise bad("--time-offset", text, "is not of the form [CLOCK=]SECONDS[.FRACTION]")
        if negative:  # nanoseconds count upwards from the second, below zero too
            seconds, nanos = (-seconds - 1, 10**9 - nanos) if nanos else (-seconds, 0)
        for name in (clock,) if clock else ("monotonic", "boottime"):
            offsets[name] = {"secs": seconds, "nanosecs": nanos}
    return offsets


def _users(given: "dict", config: "dict", fields: "dict") -> None:
    """The user namespace: one of its own unless --userns says otherwise, mapped as the plan decides."""
    wanted = given.get("userns", "auto")
    maps = {name: given[name] for name in ("uidmap", "gidmap") if name in given}
    if maps and wanted not in ("auto", "private"):
        raise bad("--userns", wanted, "contradicts --%s" % list(maps)[0])
    linux = config["linux"]
    if maps:
        for name in ("uidmap", "gidmap"):  # podman: what is given for one holds for the other
            option = name if name in maps else list(maps)[0]
            linux[name[:3] + "Mappings"] = _id_map("--" + option, maps[option])
    elif wanted in ("auto", "private", "host"):
        fields["userns"] = "auto" if wanted == "private" else wanted
        return
    elif wanted.partition(":")[0] == "keep-id":
        if os.geteuid() == 0:
            raise bad("--userns", wanted, "is for callers who are not root")
        fields["userns"], fields["kept"] = "keep-id", _kept_ids(wanted)
        config["process"]["user"].update(uid=fields["kept"][0], gid=fields["kept"][1])
        return
    fields["userns"] = "config"
    entry = {"type": "user"}
    if "uidMappings" not in linux:
        entry["path"] = _namespace_path("userns", wanted)
    linux["namespaces"].append(entry)


def _kept_ids(text: str) -> "tuple[int, int]":
    """keep-id[:uid=N,gid=N]: what the caller's user and group are inside, their own numbers without that."""
    kept = {"uid": os.geteuid(), "gid": os.getegid()}
    for word in filter(None, text.partition(":")[2].split(",")):
        name, _, value = word.partition("=")
        if name not in kept or not 0 <= number(value) <= MAX_ID:
            raise bad("--userns", text, "is not of the form keep-id[:uid=NUMBER,gid=NUMBER]")
        kept[name] = number(value)
    return kept["uid"], kept["gid"]


def _id_map(option: str, values: "list[str]") -> "list[dict[str, int]]":
    """CONTAINER:HOST:SIZE to linux.uidMappings. Ids: 0 to 2**32-2, and no range overlaps another."""
    entries = []  # type: list[dict[str, int]]
    for text in values:
        numbers = [number(part) for part in text.split(":")]
        if len(numbers) != 3 or -1 in numbers:
            raise bad(option, text, "is not of the form CONTAINER:HOST:SIZE")
        inside, outside, size = numbers
        if size == 0 or max(inside, outside) + size - 1 > MAX_ID:
            raise bad(option, text, "ids are 0 to %d, and a range has one at least" % MAX_ID)
        for other in entries:
            for key, first in (("containerID", inside), ("hostID", outside)):
                if first < other[key] + other["size"] and other[key] < first + size:
                    raise bad(option, text, "overlaps another range")
        entries.append({"containerID": inside, "hostID": outside, "size": size})
    return entries


def _names(given: "dict", config: "dict", fields: "dict") -> None:
    """Host and domain name: they belong to a UTS namespace of the container's own."""
    own = {"type": "uts"} in config["linux"]["namespaces"]
    for option in ("hostname", "domainname"):
        if option not in given:
            continue
        name = given[option]
        if not own:
            raise bad("--" + option, name, "needs --uts private")
        if len(os.fsencode(name)) > NAME_LENGTH:
            raise bad("--" + option, name, "a name has 1 to %d bytes" % NAME_LENGTH)
        if name.strip(_HOST_NAME + "_") or name[0] in "-.":
            why = "a name has letters, digits, _, - and . alone, and does not begin with - or ."
            raise bad("--" + option, name, why)
        config[option] = name
    if not own:
        del config["hostname"]
    elif "hostname" not in given:
        legal = "".join(char if char in _HOST_NAME else "-" for char in fields["identifier"])
        config["hostname"] = legal[: NAME_LENGTH - 1].strip("-.") or config["hostname"]


# --- the process ------------------------------------------------------------------------------


def _process(given: "dict", config: "dict", fields: "dict") -> None:
    process = config["process"]
    process["terminal"] = "tty" in given
    cwd = given.get("workdir", "/")
    if not cwd.startswith("/"):
        raise bad("--workdir", cwd, "is not an absolute path")
    process["cwd"] = cwd
    umask = given.get("umask", "0022")  # podman's; the caller's own would make runs differ
    if not 0 < len(umask) <= 4 or umask.strip("01234567") or int(umask, 8) > 0o777:
        raise bad("--umask", umask, "is not an octal number up to 0777")
    process["user"]["umask"] = int(umask, 8)
    if "ulimit" in given:
        # "host" is podman's word for what is so anyway: the caller's own
        asked = [text for text in given["ulimit"] if text != "host"]
        limits = {limit["type"]: limit for limit in map(_ulimit, asked)}
        process["rlimits"] = list(limits.values())
    if "personality" in given:
        if given["personality"] not in ("LINUX", "LINUX32"):
            raise bad("--personality", given["personality"], "is not one of LINUX and LINUX32")
        config["linux"]["personality"] = {"domain": given["personality"]}
    if "oom-score-adj" in given:
        process["oomScoreAdj"] = integer("--oom-score-adj", given["oom-score-adj"], -1000, 1000)
    own = "%d:%d" % fields["kept"] if fields["userns"] == "keep-id" else ""
    fields["user"] = given.get("user", own)
    fields["groups"] = tuple(name for text in given.get("group-add", ()) for name in text.split(","))
    if "keep-groups" in fields["groups"] or "" in fields["groups"]:
        kept = "keep-groups" in fields["groups"]
        why = "the caller's own are not passed on" if kept else "takes names or numbers of groups"
        raise bad("--group-add", ",".join(fields["groups"]), why)


def _ulimit(text: str) -> "dict":
    name, equals, limits = text.partition("=")
    kind = "RLIMIT_" + name.upper()
    soft, colon, hard = limits.partition(":")
    values = [
        UNLIMITED if value in ("-1", "unlimited", "infinity") else number(value)
        for value in (soft, hard if colon else soft)
    ]
    if not equals or -1 in values or max(values) > UNLIMITED:
        raise bad("--ulimit", text, "is not of the form NAME=SOFT[:HARD]")
    if kind not in abi.RLIMITS:
        known = ", ".join(sorted(limit[7:].lower() for limit in abi.RLIMITS))
        raise bad("--ulimit", text, "there is no limit of that name", "the names are " + known)
    if values[0] > values[1]:
        raise bad("--ulimit", text, "the soft limit is above the hard one")
    return {"type": kind, "soft": values[0], "hard": values[1]}


def _environment(given: "dict", config: "dict", fields: "dict") -> None:
    """HOME is left to the entry of the user in the container's own files."""
    name, _, path = DEFAULT_PATH.partition("=")
    values = {name: path}
    if "tty" in given:
        values["TERM"] = os.getenv("TERM") or "xterm"
    if config.get("hostname"):
        values["HOSTNAME"] = config["hostname"]
    elif given.get("uts") == "host":
        values["HOSTNAME"] = os.uname().nodename
    values["container"] = "minictr"
    if "env" in given or "env-file" in given:
        from . import variables  # only for those who set some

        for path in given.get("env-file", ()):
            for line in variables.lines(path):
                variables.put("--env-file", path, line, values)
        for text in given.get("env", ()):
            variables.put("--env", text, text, values)
    config["process"]["env"] = ["%s=%s" % item for item in values.items()]


# --- the container ----------------------------------------------------------------------------


def _kernel(given: "dict", config: "dict", fields: "dict") -> None:
    for option, place in (("sysctl", config["linux"]), ("annotation", config)):
        pairs = {}
        for text in given.get(option, ()):
            name, equals, value = text.partition("=")
            if not name or not equals:
                raise bad("--" + option, text, "is not of the form NAME=VALUE")
            if option == "sysctl":
                _check_sysctl(text, name, given, config)
            pairs[name] = value
        if pairs:
            place[option if option == "sysctl" else "annotations"] = pairs
    wanted = given.get("cgroups", "auto")
    if wanted not in ("auto", "enabled", "disabled"):
        raise bad("--cgroups", wanted, "is not one of enabled and disabled")
    fields["cgroups"] = wanted
    _limits(given, config, fields)


def _limits(given: "dict", config: "dict", fields: "dict") -> None:
    """Processes are limited for everyone who has a cgroup; the rest for those who ask."""
    if "pids-limit" not in given and fields["cgroups"] != "disabled":
        config["linux"].setdefault("resources", {})["pids"] = {"limit": PIDS}
        fields["assumed"] = ("pids",)
    if not _LIMITS.isdisjoint(given):
        from . import resources  # only where a limit is asked for

        resources.configure(given, config, fields)


def _check_sysctl(text: str, name: str, given: "dict", config: "dict") -> None:
    from . import sysctls  # only for those who set some

    kinds = [entry["type"] for entry in config["linux"]["namespaces"]]
    why = sysctls.refusal(name, kinds, tuple(given), "--")
    if why:
        raise bad("--sysctl", text, why)


def _life(given: "dict", config: "dict", fields: "dict") -> None:
    for option in ("detach", "init", "strict", "keep", "no-pivot", "no-new-keyring", "json"):
        fields[option.replace("-", "_")] = option in given
    fields["remove"] = "rm" in given
    if fields["remove"] and fields["keep"]:
        raise bad("--rm", "", "contradicts --keep")
    for option, field in (("pid-file", "pid_file"), ("cidfile", "id_file"), ("log-file", "log_file")):
        fields[field] = absolute(given[option]) if option in given else ""
    fields["preserve_fds"] = integer("--preserve-fds", given.get("preserve-fds", "0"), 0, MAX_FDS)
    fields["stop_signal"] = _signal_number(given.get("stop-signal", "TERM"))
    fields["timeout"] = _seconds(given.get("timeout", "0"))
    if fields["timeout"] and fields["detach"]:
        why = "with --detach nothing stays resident to watch the time"
        raise bad("--timeout", given["timeout"], why)
    if fields.get("memory_watch") and fields["detach"]:
        raise bad("--memory-watch", "", "with --detach nothing stays resident to look at the memory")


def _signal_number(text: str) -> int:
    value = signal_number(text)
    if not value:
        raise bad("--stop-signal", text, "there is no signal of that name or number")
    return value


def _seconds(text: str) -> float:
    whole, point, fraction = text.partition(".")
    if number(whole) < 0 or (point and number(fraction) < 0) or len(whole) > 9:
        raise bad("--timeout", text, "is not a number of seconds")
    return float(text)


def _landlock(given: "dict", config: "dict", fields: "dict") -> None:
    if any(name.startswith("landlock") for name in given):
        from . import landlock_asked  # only for those who ask

        fields["landlock"] = landlock_asked.parse(given)


_STAGES = (
    _namespaces, _users, _names, arrangement.configure, _process, _environment, grants.capabilities,
    grants.security, _landlock, _kernel, _life,
)  # fmt: skip
