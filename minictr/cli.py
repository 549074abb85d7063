"""argv to a verb: the global options, the verbs, help.

Side: host
"""

import sys

from . import __version__
from . import unix as os
from .errors import EXIT_ERROR, ContainerError, Interrupted, from_os, printable, step

USAGE = """usage: minictr [GLOBAL OPTION...] VERB [OPTION...] ...

  run       make a container and run a program in it
  create    make a container and stop before its program runs
  start     run the program of a created container
  exec      run a further program in a container that runs
  explain   what run would do, step by step, without doing it
  report    what the isolation of run with these options is worth, tried out
  spec      print a default OCI configuration
  doctor    what this host allows, why not, and how to change it
  list      the containers of this user
  state     what is known of one, as JSON
  kill      send a signal to its first process
  stop      ask it to end, then make it
  pause     freeze every process of one
  resume    let them go on
  ps        its processes
  update    change its limits
  events    what it uses, every few seconds, and when memory ran out
  stats     what containers use now
  delete    forget one that has ended
  features  what this version can do, as JSON

Global options:
  --root DIR                where containers are remembered
  --log FILE                append errors and warnings to FILE
  --log-format text|json    (text)
  --debug                   say more: the plan, notices, where an error came from
  --systemd-cgroup          have systemd keep the cgroup, as a scope; cgroupsPath is then
                            slice:prefix:name
  --cgroup-manager cgroupfs|systemd|disabled
                            crun's option; disabled: a container has no cgroup
  --rootless true|false|auto
                            accepted: it is found out which capabilities are held
  --criu PATH               accepted, of runc's: nothing is saved or restored
  --version, --help

minictr VERB --help tells the rest."""


# ENFILE, EMFILE, EFBIG: any call may say so, and without a descriptor `causes` cannot be loaded
_SCARCE = {
    23: "the host has its most files open: sysctl fs.file-max",
    24: "the caller may have too few files open: ulimit -n 1024",
    27: "ulimit -f of the caller is too small",
}
_SMALL = "ulimit -v of the caller may be too small"
_FLAGS = ("--debug", "--systemd-cgroup")
_VALUES = ("--root", "--log", "--log-format", "--rootless", "--cgroup-manager", "--criu")


class Globals:
    """What stands before the verb."""

    def __init__(self) -> None:
        self.root = self.log = self.criu = ""
        self.log_format, self.rootless = "text", "auto"
        self.debug = self.systemd_cgroup = False
        self.cgroup_manager = "cgroupfs"


def main(argv: "list[str]") -> int:
    """Run the command ARGV; the exit status. Errors are one line on stderr."""
    from .report import Report, say

    options = Globals()
    try:
        _refuse_lent_power()
        verb, rest = _globals(argv, options)
        report = Report(options.log, options.log_format == "json", options.debug, _quiet(options, verb))
    except ContainerError as error:
        say(str(error))
        return error.status
    failed = 255 if verb == "exec" else EXIT_ERROR  # as runc has it
    try:
        return VERBS[verb](options, report, rest)
    except ContainerError as error:
        _trace(report)
        if error.doing == "read the options" and not error.hint:
            error.hint = "minictr %s --help" % verb
        report.error(explained(error))
        return error.status
    except OSError as error:  # one that no step has named
        if isinstance(error, BrokenPipeError) and _unheard():
            return 128 + 13  # as SIGPIPE would have had it: who reads has heard enough
        _trace(report)
        report.error(explained(from_os(verb, error)))
        return failed
    except (MemoryError, SystemError):  # the latter of C that had no memory, either
        _trace(report)
        report.error(ContainerError(verb, "", 12, _SMALL))  # ENOMEM
        return failed
    except (ImportError, EOFError) as error:
        _trace(report)
        report.error(_not_loaded(error))
        return failed
    except Interrupted as error:
        doing = {"exec": "exec", "start": "start the container"}.get(verb, "make the container")
        report.error(ContainerError(doing, str(error)))
        return error.status
    except KeyboardInterrupt:
        return 130


def _not_loaded(error: Exception) -> ContainerError:
    """A Python without that module, or without a descriptor to open it by; bytecode that ends early."""
    hint = ""
    if isinstance(error, EOFError):  # of a full disk, or a copy that broke off
        hint = "remove %s/__pycache__, or install it anew" % os.path.dirname(os.path.abspath(__file__))
    if "failed to map segment" in str(error):  # the loader of libraries has found no memory for one
        hint = _SMALL
    if _on_noexec(getattr(error, "path", None)):  # the same words of glibc's loader, others of musl's
        hint = "it lies on a file system that is mounted noexec: mount -o remount,exec, or another Python"
    if isinstance(error, ModuleNotFoundError):  # such as Debian's python3-minimal
        hint = "install the rest of its standard library (on Debian: apt-get install python3)"
    return ContainerError("load the Python library", str(error), hint=hint)


def _on_noexec(path: "str | None") -> bool:
    try:
        return bool(path and os.statvfs(path).f_flag & 8)  # ST_NOEXEC
    except OSError:
        return False


def _refuse_lent_power() -> None:
    """Below a set-user-ID program, options that are anybody's would be root's (CVE-2020-5291,
    CVE-2022-31214). AT_SECURE would not tell: a change of the security label sets it, too."""
    pairs = (("user", os.getuid(), os.geteuid()), ("group", os.getgid(), os.getegid()))
    for what, real, effective in pairs:
        if real != effective:
            why = "it would run with the %s id %d for %d: it is no set-%s-ID program"
            raise ContainerError(
                "start", why % (what, effective, real, what), hint="run it as the user it is for, or by sudo"
            )


def _unheard() -> bool:
    """Nobody reads any more what we print."""
    import select  # only for this

    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _quiet(options: Globals, verb: str) -> bool:
    """Whether warnings have no place on stderr. With a log an engine calls, unless for `run`: of `ps`
    and `state` it reads what is there together with the answer, of `create` and `exec` the program's own."""
    return verb in ("ps", "state", "list") or bool(options.log) and verb != "run"


def _trace(report) -> None:
    """With --debug where it went wrong. The error itself follows: an engine looks for it in the log."""
    if report.debug and not report.quiet:
        import traceback

        for line in traceback.format_exc().rstrip().split("\n"):
            print(printable(line), file=sys.stderr)


def explained(error: ContainerError) -> ContainerError:
    """ERROR with what the host has to say of its cause, where nobody has asked yet."""
    if error.cause and not error.hint:
        from . import causes  # only where something was refused

        cause = causes.why(error.cause, error.number)
        error.hint = cause.fix
        if cause.why not in error.why:
            error.why = "%s: %s" % (error.why, cause.why)
    error.hint = error.hint or _SCARCE.get(error.number, "")
    return error


def _globals(argv: "list[str]", options: Globals) -> "tuple[str, list[str]]":
    rest = list(argv)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        if name in ("--version", "-v", "-V"):  # the last is crun's
            return "version", rest
        if name in ("--help", "-h"):
            return "help", rest
        if name in _FLAGS:
            setattr(options, name[2:].replace("-", "_"), not equals or _boolean(name, value))
        elif name in _VALUES:
            if not equals:
                if not rest:
                    raise ContainerError("read the options", "%s needs a value" % name)
                value = rest.pop(0)
            setattr(options, name[2:].replace("-", "_"), value)
        else:
            raise ContainerError(
                "read the options", "unknown global option %s" % printable(name), hint="minictr --help"
            )
    if options.log_format not in ("text", "json"):
        raise ContainerError("read the options", "--log-format is text or json")
    if options.rootless not in ("true", "false", "auto"):
        raise ContainerError("read the options", "--rootless is true, false or auto")
    if options.cgroup_manager not in ("cgroupfs", "systemd", "disabled"):
        raise ContainerError("read the options", "--cgroup-manager is cgroupfs, systemd or disabled")
    if options.cgroup_manager == "systemd":
        options.systemd_cgroup = True
    if not rest:
        return "help", rest
    if rest[0] not in VERBS:
        raise ContainerError(
            "read the options", "unknown verb %s" % printable(rest[0]), hint=_nearest(rest[0])
        )
    return rest[0], rest[1:]


def _nearest(verb: str) -> str:
    from . import elsewhere, words  # only for a mistake

    return elsewhere.VERBS.get(verb) or words.nearest(verb, list(VERBS)) or "minictr --help"


def _boolean(name: str, value: str) -> bool:
    from . import words  # only where a flag has a value

    return words.boolean(name, value)


def _state_root(options: Globals) -> str:
    from . import state

    if not options.root:
        return state.default_root()
    with step("find the current directory", hints={2: "cd to one that is there"}):
        return os.path.abspath(options.root)


def _asked(options: Globals, argv: "list[str]", verb: str):
    """The Spec of a VERB with the options of `run`; None where its help was asked for, which is printed."""
    from . import options as native

    words = ("--help", "-h") if verb == "create" else ("--help",)  # of the others -h is --hostname
    try:
        if not _wants_help(argv, words=words):
            return _called(options, native.parse(argv, verb))
    except native.HelpAsked:
        pass
    print(native.help_text(verb))
    return None


def _run(options: Globals, report, argv: "list[str]") -> int:
    spec = _asked(options, argv, "run")
    if spec is None:
        return 0
    report.root = _state_root(options)
    if spec.told:
        from . import twin  # only with --report

        twin.show(spec, report.root, report, sys.stderr)
    from . import lifecycle

    container = lifecycle.Container(spec, report.root, report)
    status = container.run()
    if spec.detach and spec.source != "bundle":
        print(spec.identifier)
    return status


def _called(options: Globals, spec):
    """SPEC with what its caller says beside the verb: who keeps the cgroup, and the sockets that a service
    manager has opened for us (sd_listen_fds(3)), which come before those of --preserve-fds, as with runc."""
    spec = spec.replace(systemd=options.systemd_cgroup)
    if options.cgroup_manager == "disabled":
        spec = spec.replace(cgroups="disabled")
    from .words import number  # which `options` has loaded

    count = number(os.getenv("LISTEN_FDS", ""))
    if count < 0 or os.getenv("LISTEN_PID") != str(os.getpid()):
        return spec
    return spec.replace(listen_fds=count, preserve_fds=count + spec.preserve_fds)


def _explain(options: Globals, report, argv: "list[str]") -> int:
    spec = _asked(options, argv, "explain")
    if spec is None:
        return 0
    from . import explain

    return explain.show(spec, _state_root(options))


def _report(options: Globals, report, argv: "list[str]") -> int:
    spec = _asked(options, argv, "report")
    if spec is None:
        return 0
    from . import twin

    return 0 if twin.show(spec, _state_root(options), report, sys.stdout) else 1


def _spec(options: Globals, report, argv: "list[str]") -> int:
    from . import sample

    return sample.spec(argv)


def _verb(name: str, room: str):
    """A verb on containers that exist: the module ROOM has it, its HELP and its CALLS."""

    def call(options: Globals, report, argv: "list[str]") -> int:
        module = __import__("%s.%s" % (__package__, room), fromlist=["CALLS"])
        if _wants_help(argv, name in ("exec", "ps")):
            print(module.HELP[name])
            return 0
        report.root = _state_root(options)
        return module.CALLS[name](report.root, report, argv)

    return call


def _refused(name: str):
    """A verb of runc's. Also with --help: that is how podman asks whether it can be had."""

    def call(options: Globals, report, argv: "list[str]") -> int:
        raise ContainerError(name, "not supported: minictr neither saves nor restores processes")

    return call


def _create(options: Globals, report, argv: "list[str]") -> int:
    spec = _asked(options, argv, "create")
    if spec is None:
        return 0
    spec = spec.replace(detach=True)
    from . import lifecycle

    report.root = _state_root(options)
    status = lifecycle.Container(spec, report.root, report).create()
    if spec.source != "bundle":
        print(spec.identifier)
    return status


def _version(options: Globals, report, argv: "list[str]") -> int:
    """Three lines, as runc has had them from the start.

    Docker takes name and version from around the word "version", wherever that stands, and shows what
    follows "commit:" as the runtime's version. podman shows it all. containerd's go-runc once wanted three
    such lines; now it takes what follows "runc version " at the very start, which would be no truth, and
    else leaves the version empty. With one more "version" in the first line both Docker and the old go-runc
    would go wrong.
    """
    print("minictr version %s" % __version__)
    print("commit: minictr-%s" % __version__)  # Debian's runc, too, has its release here
    print("spec: 1.3.0")
    return 0


def _help(options: Globals, report, argv: "list[str]") -> int:
    if not argv:
        print(USAGE)
        return 0
    if argv[0] not in VERBS or argv[0] in ("help", "version"):
        raise ContainerError("show help", "unknown topic %s" % argv[0], hint="minictr --help")
    return VERBS[argv[0]](options, report, ["--help"])


def _doctor(options: Globals, report, argv: "list[str]") -> int:
    from . import doctor

    return doctor.run(argv)


def _features(options: Globals, report, argv: "list[str]") -> int:
    from . import features

    return features.run(argv)


def _wants_help(argv: "list[str]", program: bool = False, words=("--help", "-h")) -> bool:
    """program: what follows the first word that is no option belongs to another program

    words: without -h where that is --hostname
    """
    for word in argv:
        if word == "--" or (program and not word.startswith("-")):
            return False
        if word in words:
            return True
    return False


VERBS = {
    "run": _run,
    "create": _create,
    "explain": _explain,
    "report": _report,
    "spec": _spec,
    "doctor": _doctor,
    "version": _version,
    "help": _help,
}
_ROOMS = {
    "verbs": ("start", "kill", "stop", "delete"),
    "exec_line": ("exec",),
    "looking": ("list", "state"),
    "control": ("pause", "resume", "ps", "update"),
    "measuring": ("events", "stats"),
}
VERBS.update({name: _verb(name, room) for room, names in _ROOMS.items() for name in names})
VERBS.update(features=_features, checkpoint=_refused("checkpoint"), restore=_refused("restore"))
