"""The command line of `run`: a table of options, what it says about them, and argv to a Spec.

Two forms. The native one is named as podman and docker name things, and its command follows
`--`; the OCI one is runc's, options and the id of a bundle. Written by hand: argparse takes 8 ms
to import, more than a container takes to start.

Side: host
"""

from . import unix as os
from .errors import ContainerError, printable
from .spec import CONTAINER_ID, ID_LENGTH, Spec
from .words import MAX_FDS, absolute, bad, boolean, integer, nearest

BIND_HELP = """ro, rw, exec, noexec, suid, nosuid, dev, nodev, bind, rec, idmap, private, rprivate,
    shared, slave and kin (rec, rprivate, nosuid, nodev); ro, alone, is for what is mounted below, too; z and
    Z where there is no SELinux"""

REQUIRE_HELP = """what must be there, or the exit status is 123: the levels sandbox, container, rootless; the
    layers user, pid, mount, network, ipc, uts, cgroup, time, files, root, proc, capabilities, no-new-privs,
    seccomp, apparmor, selinux, landlock, keyring, devices, masked-paths, interpreter, resources"""

# Names, value, help. No value is a flag; one that ends in "..." may be given several times. The
# first long name is the key that the rest of the code knows. A row of one is a heading.
OPTIONS = (
    ("The root file system, the host's own where none is named",),
    ("--rootfs", "DIR", "the directory that becomes the root"),
    ("--read-only", "", "nothing can be written to it (the host's own never can)"),
    ("--read-only-tmpfs", "", "with --read-only: memory over /tmp, /var/tmp and /run"),
    ("--overlay", "", "changes go to memory and are thrown away at the end"),
    ("-b, --bundle", "DIR", "OCI form: where config.json is (the current directory)"),
    ("Files",),
    ("-v, --volume", "SRC:DST[:OPTION,...]...", "show SRC of the host as DST; " + BIND_HELP),
    ("--mount", "type=TYPE,...", "type=bind,source=SRC,target=DST[,readonly]; or tmpfs, ramfs, devpts"),
    ("--tmpfs", "DST[:OPTION,...]...", "memory at DST: size=, mode=, exec ... (nosuid, nodev, noexec)"),
    ("--shm-size", "SIZE", "the size of /dev/shm (64m)"),
    ("--device", "PATH[:DST][:rwm]...", "a device of the host; r: to be read alone, w: to be written alone"),
    ("--device-cgroup-rule", "RULE...", "devices whose nodes it may use, such as 'c 81:* rwm'; * is any"),
    ("The program",),
    ("-w, --workdir", "DIR", "the directory it starts in (/)"),
    ("-u, --user", "USER[:GROUP]", "names or numbers, by the container's own files (root)"),
    ("--group-add", "GROUP...", "one more group of the user's"),
    ("-e, --env", "NAME[=VALUE]...", "a variable; NAME or PREFIX* alone takes the caller's"),
    ("--env-file", "FILE...", "variables, one a line"),
    ("-t, --tty", "", "a terminal of its own"),
    ("-i, --interactive", "", "accepted: standard input is passed on as it is"),
    ("--init", "", "a process 1 above it that reaps orphans and forwards signals"),
    ("--ulimit", "NAME=SOFT[:HARD]...", "a limit such as nofile=1024; -1 for none (the caller's: host)"),
    ("--umask", "OCTAL", "the mask for the files it makes (0022)"),
    ("--personality", "DOMAIN", "LINUX, or LINUX32 for programs that are to see a 32-bit machine"),
    ("--oom-score-adj", "NUMBER", "-1000 to 1000: who is killed first when memory runs out"),
    ("--preserve-fds", "N", "pass on N descriptors from 3 up (0)"),
    ("--stop-signal", "SIGNAL", "what stop sends first (TERM)"),
    ("--timeout", "SECONDS", "kill it after this time"),
    ("Limits: bytes, or with k, m, g, t",),
    ("-m, --memory", "SIZE", "memory; who takes more is killed"),
    ("--memory-swap", "SIZE", "memory and swap together, -1 for all swap (twice the memory)"),
    ("--memory-reservation", "SIZE", "what is left to it when memory is short"),
    ("--memory-swappiness", "N", "0 to 100: how readily it is swapped out (cgroup v1)"),
    ("--oom-kill-disable", "", "who takes more memory waits instead of being killed (cgroup v1)"),
    ("--memory-watch", "", "without a cgroup: look at its memory ten times a second, and kill it"),
    ("--cpus", "NUMBER", "so many CPUs at most, such as 1.5"),
    ("-c, --cpu-shares", "N", "its part where CPUs are short, 2 to 262144 (1024)"),
    ("--cpu-period", "MICROSECONDS", "what --cpu-quota is a part of (100000)"),
    ("--cpu-quota", "MICROSECONDS", "CPU time in each period"),
    ("--cpu-rt-period", "MICROSECONDS", "the same for realtime threads (cgroup v1)"),
    ("--cpu-rt-runtime", "MICROSECONDS", "their time in each of these"),
    ("--cpuset-cpus", "LIST", "the CPUs it runs on, such as 0-2,5"),
    ("--cpuset-mems", "LIST", "the memory nodes it uses"),
    ("--pids-limit", "N", "processes and threads, -1 for no limit (2048, where it has a cgroup)"),
    ("--blkio-weight", "N", "its part of the disks, 10 to 1000"),
    ("--blkio-weight-device", "DEVICE:N...", "the same for one of them"),
    ("--device-read-bps", "DEVICE:SIZE...", "bytes a second read from a block device"),
    ("--device-write-bps", "DEVICE:SIZE...", "bytes written"),
    ("--device-read-iops", "DEVICE:N...", "operations a second"),
    ("--device-write-iops", "DEVICE:N...", "operations a second"),
    ("--cgroup-conf", "FILE=VALUE...", "any setting of cgroup v2, such as memory.high=64m"),
    ("--cgroup-parent", "PATH", "the cgroup that its own is made below"),
    ("--cgroups", "enabled|disabled", "whether it has a cgroup (where one can be had)"),
    ("Privileges",),
    ("--cap-add", "NAME,...", "grant a capability, or ALL"),
    ("--cap-drop", "NAME,...", "take one away, or ALL"),
    ("--privileged", "", "all capabilities and devices, no filter, nothing masked or read-only"),
    ("--security-opt", "OPTION...", """no-new-privileges=false; seccomp=builtin|unconfined|FILE;
    mask=PATH:PATH; unmask=PATH:PATH|ALL; apparmor=PROFILE|unconfined; label=type:TYPE and kin, disable"""),
    ("--landlock", "MODE=PATH,...", "Landlock: no other files than these; MODE of r, w and x"),
    ("--landlock-connect", "PORT,...", "no other TCP ports to connect to; none for no port at all"),
    ("--landlock-bind", "PORT,...", "no other TCP ports to bind; none for no port at all"),
    ("--landlock-scope", "WHAT,...", "abstract: no abstract sockets of others; signal: no signals to others"),
    ("--no-new-keyring", "", "stay in the caller's session keyring"),
    ("Namespaces: private, host, or the PATH of one",),
    ("--userns", "WHICH", "also auto (the default), keep-id[:uid=N,gid=N] (a caller's ids inside)"),
    ("--uidmap", "INSIDE:HOST:SIZE...", "the user ids it sees"),
    ("--gidmap", "INSIDE:HOST:SIZE...", "the group ids it sees"),
    ("--pid", "WHICH", "processes (private)"),
    ("--ipc", "WHICH", "shared memory and queues (private)"),
    ("--uts", "WHICH", "host name (private)"),
    ("--net, --network", "WHICH", "network, loopback alone (private); also none"),
    ("--cgroupns", "WHICH", "view of the cgroups (private)"),
    ("--time", "WHICH", "clocks (host)"),
    ("--time-offset", "[CLOCK=]SECONDS...", "monotonic or boottime clock, or both, moved by SECONDS"),
    ("--host-proc", "", "the host's /proc may stand in where no fresh one can be had"),
    ("--no-pivot", "", "do not use pivot_root"),
    ("--no-subreaper", "", "accepted, of runc's: none is needed"),
    ("-h, --hostname", "NAME", "host name (the container's id)"),
    ("--domainname", "NAME", "NIS domain name"),
    ("--sysctl", "NAME=VALUE...", "a kernel parameter of one of its namespaces"),
    ("The container",),
    ("--name", "ID", "its id (a random one)"),
    ("--systemd", "true|false|always", "process 1 is a systemd; true: if called so, or /sbin/init (true)"),
    ("-d, --detach", "", "return once the program runs"),
    ("--rm", "", "forget it at its end, as always in the foreground; a detached one by the next run or list"),
    ("--pid-file, --pidfile", "FILE", "write the program's process id there"),
    ("--cidfile", "FILE", "write its id there; no file may be there before"),
    ("--log-file", "FILE", "where its output goes, in the foreground too (a detached one's is dropped)"),
    ("--annotation", "NAME=VALUE...", "for hooks and for state"),
    ("--keep", "", "keep the state after the end"),
    ("--console-socket", "SOCKET", "OCI form: where the terminal is sent"),
    ("--pidfd-socket", "SOCKET", "OCI form: where a pidfd of its first process is sent"),
    ("--strict", "", "no step down from the strongest form of isolation: exit status 123"),
    ("--require", "LAYER,...|LEVEL...", REQUIRE_HELP),
    ("--report", "", "tell first, on stderr, what the isolation is worth (--report=json: as JSON)"),
    ("--allow-degraded", "", "OCI form: steps down with a warning (the native form has them)"),
    ("--json", "", "explain, report: print JSON"),
    ("--help", "", "print this"),
)  # fmt: skip

# What runc has, and so the OCI form: there the configuration says everything else
OCI_OPTIONS = (
    "bundle", "pid-file", "detach", "no-pivot", "no-subreaper", "no-new-keyring", "preserve-fds",
    "keep", "console-socket", "pidfd-socket", "strict", "require", "report", "allow-degraded", "json", "help",
)  # fmt: skip
OCI_ONLY = ("bundle", "console-socket", "pidfd-socket")
NOT_FOR_CREATE = {
    "timeout": "after create nothing stays resident to watch the time",
    "memory-watch": "after create nothing stays resident to look at the memory",
    "report": "is an option of run; report has the same arguments",
}


class HelpAsked(Exception):
    """--help was among the options; the text is the message."""


def parse(argv: "list[str]", verb: str = "run", document: "dict | None" = None) -> Spec:
    """The Spec for the words after the verb.

    document: a configuration to be checked and taken instead of the bundle's config.json
    Raises ContainerError for what cannot be understood or is not supported, HelpAsked for --help.
    """
    given, words, command = _scan(argv, verb)
    if "help" in given:
        raise HelpAsked(help_text(verb))
    if "json" in given and verb not in JSON_VERBS:
        raise ContainerError(verb, "--json is an option of %s" % " and ".join(JSON_VERBS))
    for name in given if verb == "create" else ():
        if name in NOT_FOR_CREATE:
            raise ContainerError("--" + name, NOT_FOR_CREATE[name])
    foreign = [name for name in given if name not in OCI_OPTIONS]
    named = "bundle" in given or document is not None
    if command is not None:
        spec = _native_form(given, command, verb)
    elif len(words) == 1 and not foreign and (named or _is_id(words[0])):
        spec = _oci_form(given, words[0], verb, document)
    else:
        raise _neither_form(given, words, foreign, verb)
    return _required(spec, given) if "require" in given or "report" in given else spec


def _required(spec: Spec, given: "dict") -> Spec:
    """SPEC with what concerns the proof of isolation, in both forms alike."""
    from . import levels  # only with these

    layers = levels.parse(",".join(given.get("require", ()))) if "require" in given else ()
    return spec.replace(require=layers, told=given.get("report", ""))


def _neither_form(given: "dict", words: "list[str]", foreign: "list[str]", verb: str) -> ContainerError:
    if "bundle" in given and not foreign:
        return ContainerError(verb, "after the options of a bundle comes its id and nothing else")
    here = len(words) == 1 and _is_id(words[0]) and os.path.exists("config.json")
    if "bundle" in given or here:
        why = "has no place beside a bundle, which has config.json, and runc's options"
        hints = ["process.terminal of config.json"] if foreign[0] in ("tty", "interactive") else []
        hints += [] if "bundle" in given else ["to run the command %s put -- before it" % words[0]]
        return ContainerError("--" + foreign[0], why, hint="; ".join(hints))
    if not words:
        return ContainerError(verb, "no command", hint="minictr %s -- COMMAND, or --help" % verb)
    why = "%s is not behind a --, and names of images are not supported" % printable(words[0])
    hint = "put -- before the command" + ("" if "rootfs" in given else ", and --rootfs DIR before that")
    return ContainerError(verb, why, hint=hint)


def help_text(verb: str = "run") -> str:
    """What `minictr VERB --help` prints, without the last newline."""
    lines = [
        "usage: minictr %s [OPTION...] -- COMMAND [ARGUMENT...]" % verb,
        "       minictr %s [OPTION...] [--bundle DIR] ID" % verb,
    ]
    for row in OPTIONS:
        if len(row) == 1:
            lines += ["", row[0] + ":"]
            continue
        names, value, text = row
        left = "  " + (names if names.startswith("-") and names[1] != "-" else "    " + names)
        left += " " + value if value else ""
        if "--json" in names and verb not in JSON_VERBS or verb == "create" and names[2:] in NOT_FOR_CREATE:
            continue
        lines += _columns(left, text)
    return "\n".join(lines)


_MARGIN, _WIDTH = 34, 100  # where the second column of the help begins, and ends


def _columns(left: str, text: str) -> "list[str]":
    lines = [left] if len(left) >= _MARGIN else []
    line = "" if lines else left
    for word in text.split():
        if len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line = ""
        line = line.ljust(_MARGIN) + word if len(line) < _MARGIN else line + " " + word
    return lines + [line]


# --- argv ---------------------------------------------------------------------------------------

FLAG, TEXT, LIST = 0, 1, 2
JSON_VERBS = ("explain", "report")


def _index() -> "dict[str, tuple[str, int]]":
    index = {}
    for row in OPTIONS:
        if len(row) == 1:
            continue
        names, value, _ = row
        words = names.split(", ")
        key = [word for word in words if word.startswith("--")][0][2:]
        kind = FLAG if not value else LIST if value.endswith("...") else TEXT
        for word in words:
            index[word] = (key, kind)
    return index


_INDEX = _index()


def _scan(argv: "list[str]", verb: str) -> "tuple[dict[str, object], list[str], list[str] | None]":
    """The options by key; the words from the first that is none; or the command after `--`."""
    given = {}  # type: dict
    rest = iter(argv)
    for word in rest:
        if word == "--":
            return given, [], list(rest)
        if word[:1] != "-" or word == "-":
            return given, [word] + list(rest), None
        if word[:2] == "--":
            name, equals, value = word.partition("=")
            _take(given, name, value if equals else None, rest, verb)
            continue
        letters = word[1:]  # -it, -vSRC:DST, -v=SRC:DST, -d=false
        while letters:
            name, letters = "-" + letters[0], letters[1:]
            attached = None
            if letters[:1] == "=":
                attached, letters = letters[1:], ""
            elif letters and _INDEX.get(name, ("", FLAG))[1] != FLAG:
                attached, letters = letters, ""
            _take(given, name, attached, rest, verb)
    return given, [], None


def _take(given: "dict", name: str, value: "str | None", rest, verb: str) -> None:
    """One option into GIVEN; its value may be the next word of REST, whatever that looks like."""
    if name not in _INDEX:
        raise _unknown(name, verb)
    key, kind = _INDEX[name]
    if kind == FLAG:
        if name == "--report":
            value, given[key] = None, _report_style(value)
            return
        given[key] = value is None or boolean(name, value)
        if not given[key]:
            del given[key]
        return
    if value is None:
        value = next(rest, None)
        if value == "--":  # the value was forgotten: no option has such a one
            value = None
    if not value:  # of no option is an empty value more than a shell variable that was not set
        raise ContainerError(name, "has no value", hint="minictr %s --help" % verb)
    if kind == LIST:
        given.setdefault(key, []).append(value)
    else:
        given[key] = value


def _report_style(value: "str | None") -> str:
    if value not in (None, "table", "json"):
        raise bad("--report", value or "", "is table or json")
    return value or "table"


def _unknown(name: str, verb: str) -> ContainerError:
    from . import elsewhere  # only for a mistake

    refused = elsewhere.option(name)
    if refused:
        return ContainerError(name, refused[0], hint=refused[1])
    hint = elsewhere.before(name, verb) or nearest(name, [known for known in _INDEX if known[:2] == "--"])
    return ContainerError(
        verb, "unknown option %s" % printable(name), hint=hint or "minictr %s --help" % verb
    )


# --- the two forms ------------------------------------------------------------------------------


def _native_form(given: "dict", command: "list[str]", verb: str) -> Spec:
    for name in OCI_ONLY:
        if name in given:
            why = "belongs to the form with the id of a bundle"
            raise ContainerError("--" + name, why, hint="minictr %s --bundle DIR ID" % verb)
    if not command:
        raise ContainerError(verb, "no command after --")
    if "name" in given:
        identifier = _identifier("--name", given["name"])
    else:
        identifier = os.urandom(6).hex()
    from . import native  # a bundle needs none of it

    return native.configure(given, command, identifier)


def _oci_form(given: "dict", word: str, verb: str, document: "dict | None" = None) -> Spec:
    identifier = _identifier(verb, word)
    bundle = os.path.normpath(absolute(given.get("bundle", ".")))
    named = "bundle" in given or document is not None
    if not named and not os.path.exists(os.path.join(bundle, "config.json")):
        hint = "to run the command %s put -- before it; a bundle is named by --bundle DIR" % word
        raise ContainerError(verb, "no config.json in the current directory", hint=hint)
    count = integer("--preserve-fds", given.get("preserve-fds", "0"), 0, MAX_FDS)
    from . import config  # the native form reads no document

    if document is None:
        document = config.load(bundle)
    else:
        config.check(document)
    return Spec(
        config=document,
        identifier=identifier,
        bundle=bundle,
        source="bundle",
        degrade="warn" if "allow-degraded" in given else "refuse",
        strict="strict" in given,
        detach="detach" in given,
        pid_file=absolute(given["pid-file"]) if "pid-file" in given else "",
        preserve_fds=count,
        no_pivot="no-pivot" in given,
        no_new_keyring="no-new-keyring" in given,
        keep="keep" in given,
        console_socket=given.get("console-socket", ""),
        pidfd_socket=given.get("pidfd-socket", ""),
        json="json" in given,
    )


def _identifier(option: str, text: str) -> str:
    """A container's id: it becomes the name of a directory and of a cgroup."""
    if not _is_id(text):
        why = "is not an id: 1 to %d letters, digits and _ + - . alone" % ID_LENGTH
        raise bad(option, text, why)
    return text


def _is_id(text: str) -> bool:
    return 0 < len(text) <= ID_LENGTH and not text.strip(CONTAINER_ID) and text not in (".", "..")
