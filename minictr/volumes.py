"""What --volume, --mount, --tmpfs and --device mean, in the words of config.json.

The syntax is podman's and docker's; where the two differ, the stricter of their defaults holds.

Side: host
"""

import _stat as stat

from . import mounts
from . import unix as os
from .errors import ContainerError, printable
from .mounts import entry
from .words import absolute, bad, number, size

_PROPAGATION = (
    "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable",
)  # fmt: skip

# Rows of words of which one at most may be given, and the word that holds where none is. podman's
# manual has these defaults; that of noexec for tmpfs is in docker's code too, but not in podman's
_BIND_WORDS = (
    (("rbind", "bind"), "rbind"),
    (_PROPAGATION, "rprivate"),
    (("nosuid", "suid"), "nosuid"),
    (("nodev", "dev"), "nodev"),
    (("exec", "noexec"), ""),
    (("rw", "ro", "rro"), ""),
    (("idmap",), ""),
)
_TMPFS_WORDS = (
    (("nosuid", "suid"), "nosuid"),
    (("nodev", "dev"), "nodev"),
    (("noexec", "exec"), "noexec"),
    (("rw", "ro"), ""),
    (("noatime", "relatime", "strictatime"), ""),
    (("tmpcopyup", "notmpcopyup"), ""),
    (("noswap",), ""),
)
_DEVPTS_WORDS = ((("nosuid",), "nosuid"), (("noexec",), "noexec"), (("newinstance",), "newinstance"))

_ALIASES = {"rec": "rbind", "readonly": "ro", "norec": "bind"}
# For macOS and for volumes with a name: docker and podman ignore them on a bind mount
_IGNORED = ("cached", "delegated", "consistent", "copy", "nocopy")
_REFUSED = {  # why, hint
    "U": ("the files of the source are not given to another owner", "idmap shows them as the container's"),
    "O": ("overlays on a volume are not supported", "ro keeps what is there as it is"),
}

# The options of a file system that take a value, and what the value must look like
_TMPFS_VALUES = {
    "size": "size", "mode": "octal", "uid": "number", "gid": "number", "nr_inodes": "size",
    "nr_blocks": "size", "mpol": "word", "huge": "word",
}  # fmt: skip
_RAMFS_VALUES = {"mode": "octal"}
_DEVPTS_VALUES = {"uid": "number", "gid": "number", "mode": "octal", "max": "number"}


def parse(given: "dict", options: "tuple[str, ...]") -> "list[tuple[str, str, dict]]":
    """(option, text, mount or device) of all that is GIVEN of OPTIONS, in their order."""
    readers = {"volume": volume, "mount": mount, "tmpfs": tmpfs, "device": device}
    return [("--" + name, text, readers[name](text)) for name in options for text in given.get(name, ())]


def volume(text: str) -> "dict":
    """The mount of `--volume SRC:DST[:OPTION,...]`."""
    parts = text.split(":")
    if len(parts) == 1:
        why = "volumes without a source on the host are not supported"
        raise bad("--volume", text, why, "write SRC:DST, or --tmpfs DST")
    if len(parts) > 3 or "" in parts or "/" in "".join(parts[2:]):
        hint = "a name that has a : in it goes by --mount type=bind,source=SRC,target=DST"
        raise bad("--volume", text, "is not of the form SRC:DST[:OPTION,...]", hint if parts[2:] else "")
    source, target = parts[:2]
    if "/" not in source and not source.startswith("."):
        hint = "for the directory of this name write ./%s" % printable(source)
        raise bad("--volume", text, "volumes with a name are not supported", hint)
    words = parts[2].split(",") if len(parts) == 3 else []
    return _bind("--volume", text, source, target, _choose("--volume", text, words, _BIND_WORDS, {}))


def tmpfs(text: str) -> "dict":
    """The mount of `--tmpfs DST[:OPTION,...]`."""
    target, _, rest = text.partition(":")
    words = rest.split(",") if rest else []
    return _memory("--tmpfs", text, "tmpfs", target, words)


def temporary(asked: "list[str | None]") -> "list[tuple[str, str, dict]]":
    """What podman mounts over a read-only root, but on the places ASKED for otherwise."""
    found = []
    for place in ("/tmp", "/var/tmp", "/run"):
        if place not in asked:
            options = ["nosuid", "nodev", "tmpcopyup", "mode=755" if place == "/run" else "mode=1777"]
            found.append(("--read-only-tmpfs", place, entry(place, "tmpfs", "tmpfs", options)))
    return found


def mount(text: str) -> "dict":
    """The mount of `--mount type=TYPE,KEY=VALUE,...`."""
    fields = {}  # type: dict[str, str]
    words = []
    for field in _fields(text):
        key, equals, value = field.partition("=")
        key = _KEYS.get(key, key)
        if key in ("type", "source", "target") and value and key not in fields:
            fields[key] = value
        elif key in ("type", "source", "target"):
            raise bad("--mount", text, "%s is given twice or without a value" % key)
        elif key != "consistency":
            words += _mount_words(text, key, equals, value)
    kind = fields.get("type", "")
    if "target" not in fields:
        raise bad("--mount", text, "has no target=DIRECTORY")
    if kind == "bind":
        if "source" not in fields:
            raise bad("--mount", text, "has no source=PATH")
        options = _choose("--mount", text, words, _BIND_WORDS, {})
        return _bind("--mount", text, fields["source"], fields["target"], options)
    if kind not in ("tmpfs", "ramfs", "devpts"):
        why = "type %s is not supported" % printable(kind) if kind else "has no type="
        raise bad("--mount", text, why, "type is bind, tmpfs, ramfs or devpts")
    if "source" in fields:
        raise bad("--mount", text, "a %s has no source" % kind)
    if kind == "devpts":
        return _devpts(text, fields["target"], words)
    return _memory("--mount", text, kind, fields["target"], words)


def _fields(text: str) -> "list[str]":
    """TEXT at its commas; a field may stand in quotes, with commas and doubled quotes in it (RFC 4180)."""
    if '"' not in text:
        return text.split(",")
    import _csv  # `csv` imports re: 7 ms

    try:
        rows = list(_csv.reader([text], strict=True))
    except _csv.Error:
        rows = []
    if len(rows) != 1:
        why = "a quoted field ends with its quote, before a comma"
        raise bad("--mount", text, why, 'such as "source=/a,b",target=/c')
    return rows[0]


def device(text: str) -> "dict":
    """The entry of linux.devices for `--device PATH[:DST][:rwm]`, from the node on the host. What may be
    done with the device is the cgroup's to say (`device_rule`).

    Under another name it is a mount: where mknod(2) is refused, a runtime binds the node of the
    host that has the name an entry of linux.devices gives it.
    """
    parts, access = _device_parts(text)
    if len(parts) > 2 or "" in parts or not 0 < len(access) == len(set(access)):
        raise bad("--device", text, "is not of the form PATH[:DST][:rwm]")
    state = _state("--device", text, parts[0])
    kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(state.st_mode))
    if kind is None:
        hint = "name the devices in it, each by a --device" if stat.S_ISDIR(state.st_mode) else ""
        raise bad("--device", text, "%s is not a device" % printable(parts[0]), hint)
    target = _target("--device", text, parts[-1])
    if not target.startswith("/dev/"):
        raise bad("--device", text, "a device's place must lie below /dev")
    if target != os.path.normpath(parts[0]):
        options = ["bind", "rprivate", "nosuid", "noexec", "dev", "ro"]  # its mode: see devices._ATTRIBUTES
        # type none: the ids of its files are left as the host has them
        return entry(target, "none", absolute(parts[0]), options)
    return {
        "path": target,
        "type": kind,
        "major": os.major(state.st_rdev),
        "minor": os.minor(state.st_rdev),
        "fileMode": stat.S_IMODE(state.st_mode),
        "uid": state.st_uid,
        "gid": state.st_gid,
    }


def _device_parts(text: str) -> "tuple[list[str], str]":
    """Its one or two paths, and the access."""
    parts = text.split(":")
    access = parts.pop() if len(parts) > 1 and not parts[-1].strip("rwm") else "rwm"
    return parts, access


def device_rule(text: str, privileged: bool) -> "dict":
    """The entry of linux.resources.devices for a `--device` that `device` has found to be one. Raises
    ContainerError for less than rw of what another rule allows."""
    parts, access = _device_parts(text)
    state = os.stat(parts[0])
    kind = "c" if stat.S_ISCHR(state.st_mode) else "b"
    major, minor = os.major(state.st_rdev), os.minor(state.st_rdev)
    rule = {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}
    from . import device_rules  # only with --device

    if device_rules.less_than_use(rule):
        if privileged:
            raise bad("--device", text, "contradicts --privileged, which allows all of every device")
        [asked] = device_rules.normal([rule], ())
        if any(other.covers(asked) and other.access & device_rules.USE for other in device_rules.DEFAULTS):
            raise bad("--device", text, "every container may read and write this device")
    return rule


def cgroup_rule(text: str) -> "dict":
    """The same for `--device-cgroup-rule "TYPE MAJOR:MINOR RWM"`: for devices that come later, too."""
    kind, numbers, access = (text.split(" ") + ["", ""])[:3]
    values = [(-1 if part == "*" else number(part)) for part in numbers.split(":")]
    known = [part == "*" or 0 <= value < 1 << 31 for part, value in zip(numbers.split(":"), values)]
    form = text.count(" ") == 2 and kind in ("a", "b", "c") and bool(access) and not access.strip("rwm")
    if not form or known != [True, True]:
        why = "is not of the form TYPE MAJOR:MINOR RWM"
        raise bad("--device-cgroup-rule", text, why, "such as 'c 81:* rwm' for video devices")
    return {"allow": True, "type": kind, "major": values[0], "minor": values[1], "access": access}


def size_option(option: str, text: str) -> str:
    """The option of a tmpfs that limits it to TEXT: bytes, or with k, m, g, t or %."""
    return "size=" + _value(option, text, "size", text, "size")


_KEYS = {
    "src": "source", "dst": "target", "destination": "target", "dest": "target", "ro": "readonly",
    "tmpfs-size": "size", "tmpfs-mode": "mode", "chown": "U",
}  # fmt: skip
_TRUTH = {"": True, "true": True, "1": True, "false": False, "0": False}


def _mount_words(text: str, key: str, equals: str, value: str) -> "list[str]":
    """One field of --mount in the words that --volume and --tmpfs have for it."""
    if key == "bind-propagation" and value in _PROPAGATION:
        return [value]
    if key == "relabel" and value in ("shared", "private"):
        return ["z" if value == "shared" else "Z"]
    if key == "bind-recursive" and value in ("enabled", "disabled", "readonly"):
        return {"enabled": ["rbind"], "disabled": ["bind"], "readonly": ["rbind", "rro"]}[value]
    switches = {
        "readonly": ("ro", ""), "rw": ("rw", "ro"), "bind-nonrecursive": ("bind", "rbind"),
        "idmap": ("idmap", ""), "U": ("U", ""),
    }  # type: dict[str, tuple[str, str]]  # fmt: skip
    if key not in switches:
        return [key + equals + value]
    if value.lower() not in _TRUTH:
        raise bad("--mount", text, "%s is true or false" % key)
    word = switches[key][0 if _TRUTH[value.lower()] else 1]
    return [word] if word else []


def _choose(
    option: str, text: str, words: "list[str]",
    rows: "tuple[tuple[tuple[str, ...], str], ...]", values: "dict[str, str]",
) -> "list[str]":  # fmt: skip
    """The options of a mount: the defaults of ROWS, then what WORDS say."""
    given = [_ALIASES.get(word, word) for word in words if word not in _IGNORED]
    chosen = []
    for row, default in rows:
        found = [word for word in given if word in row]
        if len(found) > 1:
            raise bad(option, text, "%s and %s contradict each other" % (found[0], found[1]))
        chosen += found or ([default] if default else [])
    known = {word for row, _ in rows for word in row}
    seen = set()  # type: set[str]
    for word in given:
        key, equals, value = word.partition("=")
        if word in known:
            continue
        if word in _REFUSED:
            why, hint = _REFUSED[word]
            raise bad(option, text, "%s: %s" % (word, why), hint if rows is _BIND_WORDS else "")
        if word in ("z", "Z"):
            _without_labels(option, text, word)
            continue
        if key not in values or not equals:
            raise bad(option, text, "unknown option %s" % (printable(word) or "''"))
        if key in seen:
            raise bad(option, text, "%s is given twice" % key)
        seen.add(key)
        chosen.append("%s=%s" % (key, _value(option, text, key, value, values[key])))
    return chosen


def _without_labels(option: str, text: str, word: str) -> None:
    """z and Z have the source labelled anew, which means nothing without SELinux: so it is with podman."""
    from . import lsm  # only for who asks

    if not lsm.why_not(lsm.SELINUX)[0]:
        hint = "label the source before: chcon -R -t container_file_t SRC"
        raise bad(option, text, "%s: files of the host are not labelled anew" % word, hint)


def _value(option: str, text: str, key: str, value: str, form: str) -> str:
    """VALUE as the kernel takes it. FORM: "size" (with k, m, g, t or %), "octal", "number", "word"."""
    if form == "size":
        lower = value.lower()
        for ending in ("ib", "b"):  # docker and podman write 64mib and 64mb for 64m
            if lower.endswith(ending) and lower[: -len(ending)][-1:] in tuple("kmgt"):
                lower = lower[: -len(ending)]
        count = number(lower[:-1]) if lower[-1:] == "%" else _bytes(lower)
        good = count >= 0
        value = str(count) if good and "." in lower else lower
    elif form == "octal":
        good = 0 < len(value) <= 5 and not value.strip("01234567") and int(value, 8) <= 0o7777
    elif form == "number":
        good = 0 <= number(value) < 2**32 - 1
    else:
        good = bool(value) and not value.strip("abcdefghijklmnopqrstuvwxyz_=:-0123456789")
    if not good:
        why = "%s is not %s" % (printable(value) or "''", _FORMS[form])
        raise bad(option, text, why if option == "--shm-size" else "%s=%s" % (key, why))
    return value


_FORMS = {
    "size": "a size such as 64m", "octal": "an octal number up to 7777", "number": "a number",
    "word": "a word the kernel has for it",
}  # fmt: skip


def _bytes(text: str) -> int:
    """-1 for what is no size, or more than the kernel can count: it would take what is left of it."""
    try:
        return size("", text)
    except ContainerError:
        return -1


def _memory(option: str, text: str, kind: str, target: str, words: "list[str]") -> "dict":
    target = _target(option, text, target)
    if kind == "ramfs" and any(word.startswith("size=") for word in words):
        raise bad(option, text, "a ramfs has no limit; use a tmpfs")
    values = _TMPFS_VALUES if kind == "tmpfs" else _RAMFS_VALUES
    options = _choose(option, text, words, _TMPFS_WORDS, values)
    return entry(target, kind, kind, [word for word in options if word != "notmpcopyup"])


def _devpts(text: str, target: str, words: "list[str]") -> "dict":
    options = _choose("--mount", text, words, _DEVPTS_WORDS, _DEVPTS_VALUES) + ["ptmxmode=0666"]
    if not any(word.startswith("mode=") for word in options):
        options.append("mode=0620")
    return entry(_target("--mount", text, target), "devpts", "devpts", options)


def _bind(option: str, text: str, source: str, target: str, options: "list[str]") -> "dict":
    target = _target(option, text, target)
    _state(option, text, source)
    if "rbind" in options:  # what is mounted below the source too; docker's ro is for that as well
        options = [{"idmap": "ridmap", "ro": "rro"}.get(word, word) for word in options]
    return entry(target, "bind", absolute(source), options)


def _state(option: str, text: str, source: str) -> os.stat_result:
    try:
        return os.stat(absolute(source))
    except OSError as error:
        hint = "the shell knows ~ at the head of a word alone: write $HOME" if source[:1] == "~" else ""
        raise bad(option, text, "%s: %s" % (printable(source), error.strerror), hint) from None


def _target(option: str, text: str, target: str) -> str:
    """TARGET cleaned: absolute, and none of the places that the runtime itself depends on."""
    if not target.startswith("/"):
        raise bad(option, text, "%s is not an absolute path" % (printable(target) or "''"))
    clean = os.path.normpath("/" + target.lstrip("/"))
    if clean == "/":
        raise bad(option, text, "the root itself cannot be mounted over", "use --rootfs")
    if clean == "/proc" or (clean.startswith("/proc/") and clean not in mounts.TELLING):
        # a false /proc would turn our own writes to it into lies (CVE-2019-16884)
        raise bad(option, text, "nothing may be mounted on /proc or below it")
    if clean == "/dev":
        raise bad(option, text, "/dev is the container's own", "add single devices with --device")
    return clean
