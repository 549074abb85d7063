"""The verb exec: its command line, to a Wish.

Side: host
"""

from . import execution
from . import unix as os
from .errors import ContainerError, step
from .wish import Wish
from .words import MAX_FDS, absolute, bad, boolean, capability, integer

HELP = {
    "exec": """usage: minictr exec [OPTION...] ID COMMAND [ARGUMENT...]
       minictr exec [OPTION...] --process FILE ID

Run a further program in container ID, in all its namespaces, its cgroup and under its filter.

  -p, --process FILE            a `process` object as in config.json; - for standard input
  -t, --tty                     a terminal of its own
  -i, --interactive             accepted: standard input is passed on as it is
  -u, --user UID[:GID]          or names of the container's
  -g, --additional-gids GID     one more group
  -e, --env NAME[=VALUE]        one more variable; NAME alone takes the caller's
      --env-file FILE           variables, one a line
  -w, --workdir, --cwd DIR      the directory it starts in
  -c, --cap NAME                one more capability
      --no-new-privs            set no_new_privs
  -d, --detach                  return once it runs
      --pid-file FILE           write its process id there
      --console-socket SOCKET   where the terminal of a detached program is sent
      --pidfd-socket SOCKET     where a pidfd of it is sent
      --cgroup [CONTROLLER,...:]PATH
                                a cgroup below the container's to run in; on v1 of each controller
      --preserve-fds N          pass on N descriptors from 3 up
      --ignore-paused           in a paused container wait until it is resumed
      --apparmor PROFILE        an AppArmor profile other than the container's
      --process-label LABEL     an SELinux label other than the container's

The exit status is the program's; 255 for an error of minictr's.""",
}

# long and short name, field of Wish ("" for what is only accepted), kind: "flag", "one", "many"
_OPTIONS = (
    ("--process", "-p", "process", "one"),
    ("--tty", "-t", "tty", "flag"),
    ("--interactive", "-i", "", "flag"),
    ("--user", "-u", "user", "one"),
    ("--additional-gids", "-g", "groups", "many"),
    ("--env", "-e", "env", "many"),
    ("--env-file", "", "env_files", "many"),
    ("--cwd", "", "cwd", "one"),
    ("--workdir", "-w", "cwd", "one"),  # as run has it, and podman
    ("--cap", "-c", "caps", "many"),
    ("--no-new-privs", "", "no_new_privs", "flag"),
    ("--detach", "-d", "detach", "flag"),
    ("--pid-file", "", "pid_file", "one"),
    ("--console-socket", "", "console_socket", "one"),
    ("--pidfd-socket", "", "pidfd_socket", "one"),
    ("--cgroup", "", "cgroup", "many"),
    ("--preserve-fds", "", "preserve_fds", "one"),
    ("--ignore-paused", "", "ignore_paused", "flag"),
    ("--apparmor", "", "apparmor", "one"),
    ("--process-label", "", "label", "one"),
)


def parse(argv: "list[str]") -> Wish:
    """Options come before the id; what follows it is the command, whatever it looks like."""
    values, rest = {}, list(argv)  # type: dict, list[str]
    while rest and rest[0].startswith("-") and rest[0] != "--":
        _take(values, rest)
    if rest and rest[0] == "--":
        rest.pop(0)
    if not rest:
        raise ContainerError("exec", "no container id", hint="minictr exec ID COMMAND")
    identifier = rest.pop(0)
    if rest and rest[0] == "--":
        rest.pop(0)
    if "process" in values:
        values["process"] = _load(values["process"], values.get("tty", False))
    elif not rest:
        raise ContainerError("exec", "no command", hint="minictr exec ID COMMAND, or --process FILE")
    if values.get("pid_file"):
        values["pid_file"] = absolute(values["pid_file"])
    if "preserve_fds" in values:
        values["preserve_fds"] = integer("--preserve-fds", values["preserve_fds"], 0, MAX_FDS)
    values["caps"] = tuple([capability("--cap", word) for word in values.get("caps", ())])
    if "env_files" in values:  # what --env says holds, as with run
        from . import variables  # only for who has some

        lines = [line for path in values.pop("env_files") for line in variables.lines(path)]
        values["env"] = tuple(lines) + values.get("env", ())
    if "env" in values:
        values["env"] = tuple([text for word in values["env"] for text in _variable(word)])
    values.pop("", None)
    return Wish(identifier=identifier, args=tuple(rest), **values)


def _take(values: "dict", rest: "list[str]") -> None:
    word = rest.pop(0)
    name, equals, value = word.partition("=")
    if not word.startswith("--") and len(word) > 2 and word[2] != "=":  # -it, -eA=B
        name, equals, value = word[:2], "=", word[2:]
        if any(name == row[1] and row[3] == "flag" for row in _OPTIONS):
            rest.insert(0, "-" + word[2:])
            equals, value = "", ""
    found = [row for row in _OPTIONS if name in row[:2]]
    if not found:
        from . import verbs  # which has called us

        error = verbs.unknown(name, name, [row[0] for row in _OPTIONS], "exec")
        error.hint = error.hint or "minictr exec --help"
        raise error
    _, _, field, kind = found[0]
    if kind == "flag":
        values[field] = not equals or boolean(name, value)
        return
    if not equals:
        if not rest:
            raise ContainerError("exec", "%s needs a value" % name, hint="minictr exec --help")
        value = rest.pop(0)
    if kind == "many":
        values[field] = values.get(field, ()) + (value,)
    else:
        values[field] = value


def _variable(word: str) -> "list[str]":
    """NAME=VALUE; of a NAME alone the caller's value, if it has one, as with run."""
    if not word or word.startswith("="):
        raise bad("--env", word, "is not NAME[=VALUE]")
    if "=" in word:
        return [word]
    return ["%s=%s" % (word, os.environment()[word])] if word in os.environment() else []


def _load(path: str, tty: bool) -> "dict":
    from . import config

    process = config.load_part(path, config.check_process)
    return dict(process, terminal=process.get("terminal") or tty)


def execute(root_path: str, report, argv: "list[str]") -> int:
    """The verb exec. Errors of ours leave with 255, as runc's do."""
    try:
        with step("exec"):
            return execution.run(root_path, report, parse(argv))
    except ContainerError as error:
        from .cli import explained  # which has called us

        report.error(explained(error))
        return execution.EXIT_EXEC


CALLS = {"exec": execute}
