"""The command line of exec, to a Wish.

Side: host
"""

from .errors import ContainerError, printable
from .execution import Wish
from .words import MAX_FDS, absolute, bad, boolean, capability, integer

# long and short name, field of Wish ("" for what is only accepted), kind: "flag", "one", "many"
_OPTIONS = (
    ("--process", "-p", "process", "one"),
    ("--tty", "-t", "tty", "flag"),
    ("--interactive", "-i", "", "flag"),
    ("--user", "-u", "user", "one"),
    ("--additional-gids", "-g", "groups", "many"),
    ("--env", "-e", "env", "many"),
    ("--cwd", "", "cwd", "one"),
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
    for word in values.get("env", ()):
        if "=" not in word[1:]:
            raise bad("--env", word, "is not NAME=VALUE")
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
        raise ContainerError("exec", "unknown option %s" % printable(name), hint="minictr exec --help")
    _, _, field, kind = found[0]
    if kind == "flag":
        values[field] = not equals or boolean(name, value)
        return
    if not equals:
        if not rest:
            raise ContainerError("exec", "%s needs a value" % name)
        value = rest.pop(0)
    if kind == "many":
        values[field] = values.get(field, ()) + (value,)
    else:
        values[field] = value


def _load(path: str, tty: bool) -> "dict":
    from . import config

    process = config.load_part(path, config.check_process)
    return dict(process, terminal=process.get("terminal") or tty)
