"""The verbs that start and end containers that exist: start, kill, stop, delete; and what all verbs on those
share. Those that only look are in `looking`, those on one that lives, which are rarer, in `control`.

Each takes the state root, a report and its arguments, prints, and returns the exit status.

Side: host
"""

import _signal

from . import living, state
from . import unix as os
from .errors import EXIT_ERROR, UNENDING, ContainerError, printable

HELP = {
    "start": """usage: minictr start ID

Run the program of a container that was created.""",
    "kill": """usage: minictr kill [--all|-a] ID [SIGNAL]
       minictr kill [--all|-a] --signal|-s SIGNAL ID

Send SIGNAL (a name, with or without SIG, or a number; TERM) to the container's first process; with
--all, to every process of its cgroup. 0 only asks whether it lives. KILL is for every process of a
container without a PID namespace of its own.""",
    "stop": """usage: minictr stop [-t|--time SECONDS] ID...

Send the stop signal, and after SECONDS (10) KILL. 0 when each has ended.""",
    "delete": """usage: minictr delete [--force|-f] ID...

Forget a container that has ended, or was created and never started; with --force, end it first, also one
that is being created. An unknown id is then no error.""",
}


# --- starting -----------------------------------------------------------------------------------


def start(root_path: str, report, argv: "list[str]") -> int:
    _, _, ids = scan(argv, {}, {}, 1, 1)
    entry = find(root_path, ids[0], hooks=True)
    if entry is None:
        raise missing(ids[0])
    content = entry.load()
    now = living.status(dict(content, id=ids[0]))
    if now != "created":
        raise ContainerError("start container %s" % ids[0], "it is %s, not created" % now)
    living.start(entry, content, report)
    return 0


# --- ending -----------------------------------------------------------------------------------


def kill(root_path: str, report, argv: "list[str]") -> int:
    flags, values, words = scan(argv, {"--all": "-a"}, {"--signal": "-s"}, 1, 2)
    if len(words) > 1 and "--signal" in values:
        raise ContainerError("read the options", "%s is a word too many" % printable(words[1]))
    number = signal_number((words[1:] or [values.get("--signal", "TERM")])[0])
    entry = find(root_path, words[0], wait=False)
    if entry is None:
        raise missing(words[0])
    content = living.load(entry)
    if "--all" in flags and content.get("cgroups"):
        if not living.over(content):
            living.group_of(content).signal(number)
    elif not living.kill(content, number) and "--all" not in flags:  # that all have ended is no error with it
        raise ContainerError("kill container %s" % words[0], "container not running")
    if number == _signal.SIGKILL and living.is_stuck(content):
        living.kill_rest(content)
    return 0


def stop(root_path: str, report, argv: "list[str]") -> int:
    from . import words  # only here

    _, values, ids = scan(argv, {}, {"--time": "-t"}, 1, None)
    seconds = values.get("--time", "10")
    if words.number(seconds.replace(".", "", 1)) < 0:
        raise ContainerError("read the options", "--time takes seconds, not %s" % printable(seconds))
    known = {identifier: _known(root_path, identifier) for identifier in ids}
    for identifier, content in known.items():
        _send(root_path, identifier, content, content.get("stop_signal") or _signal.SIGTERM)
    living.wait_ended(list(known.values()), float(seconds))  # without the locks, which others need meanwhile
    for identifier, content in known.items():
        _send(root_path, identifier, content, _signal.SIGKILL)
    if not living.wait_killed(list(known.values()), 10):
        raise ContainerError("stop the container", UNENDING)
    return 0


def _known(root_path: str, identifier: str) -> "dict":
    entry = find(root_path, identifier)
    if entry is None:
        raise missing(identifier)
    content = living.load(entry)
    _leave(entry)
    return content


def _send(root_path: str, identifier: str, content: "dict", number: int) -> None:
    """A signal for the container that CONTENT tells of. Another one may have got its id by now, and with it
    the path of its cgroup."""
    entry = find(root_path, identifier)
    if entry is None:
        return
    now = living.load(entry)
    if all(now.get(name) == content.get(name) for name in ("pid", "start_time", "created")):
        living.kill(now, number)
    _leave(entry)


def _leave(entry: "state.Entry") -> None:
    entry.close()
    os.close(entry.root)


def delete(root_path: str, report, argv: "list[str]") -> int:
    flags, _, ids = scan(argv, {"--force": "-f"}, {}, 1, None)
    failed = []  # type: list[ContainerError]
    for identifier in ids:
        try:
            _delete_one(root_path, identifier, "--force" in flags, report)
        except ContainerError as error:  # which is no reason for those that follow to stay
            failed.append(error)
    for before in failed[:-1]:
        report.error(before)
    if failed:
        raise failed[-1]
    return 0


def _delete_one(root_path: str, identifier: str, force: bool, report) -> None:
    entry = find(root_path, identifier, wait=False)
    if entry is not None:
        try:
            _delete(entry, force, report)
        finally:
            entry.close()
    elif not force:
        raise missing(identifier)


def _delete(entry: state.Entry, force: bool, report) -> None:
    doing = "delete container %s" % entry.identifier
    if not force:
        _refuse_living(entry, doing, False)
    if living.seize(entry, doing, force):
        if not force:
            _refuse_living(entry, doing, True)  # what it is only the lock makes certain
        living.destroy(entry, living.load(entry), report)


def _refuse_living(entry: state.Entry, doing: str, locked: bool) -> None:
    """One that was created and never started goes as if it had ended, although runtime.md wants an error: so
    it is with runc and crun, and buildah leaves it to that where the network of a build cannot be made."""
    content = living.load(entry)
    now = living.status(content)
    if now in ("running", "paused"):
        hint = "minictr stop %s before, or delete --force" % entry.identifier
        raise ContainerError(doing, "it is %s" % now, hint=hint)
    if now == "creating" and not state.is_orphan(entry):
        raise ContainerError(doing, "it is being created", hint="wait for that, or --force")
    if locked and (not content or content.get("lost")) and not state.is_foreground(entry):
        # else another one deletes it
        raise ContainerError(doing, "its state.json is missing or broken", hint="--force")


# --- words ------------------------------------------------------------------------------------


def signal_number(word: str) -> int:
    """TERM, SIGTERM, 15, RTMIN+1; 0, which only asks (kill(2)). Raises ContainerError."""
    from . import words  # only here

    number = words.signal_number(word)
    if not number and word != "0":
        hint = "a name or a number, such as KILL or 9, without a dash"
        raise ContainerError("read the signal", "%s is none" % (printable(word) or '""'), hint=hint)
    return number


def find(root_path: str, identifier: str, wait: bool = True, hooks: bool = False) -> "state.Entry | None":
    """wait, hooks: for who works on it, as of state.find"""
    state.check_id(identifier)
    root = state.open_existing(root_path)
    return None if root is None else state.find(root_path, root, identifier, wait, hooks)


def missing(identifier: str) -> ContainerError:
    return ContainerError("", "container does not exist: %s" % identifier, status=EXIT_ERROR)


def scan(argv, flags: "dict", values: "dict", least: int, most: "int | None", lists: "list[str]" = []):
    """Which flags were given, the values of options, and the words: at least LEAST, at most MOST.

    flags, values: long option to short one; lists: options that may be given several times
    """
    seen, given, words = set(), {}, []  # type: set[str], dict, list[str]
    known = dict(flags, **dict(values, **dict.fromkeys(lists, "")))
    rest = argv[:]
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        name, equals, value = word.partition("=")
        if word[1] != "-" and len(word) > 2 and word[2] != "=":  # -qf json, -t5
            name, equals, value = word[:2], "=", word[2:]
            if any(short == name for key, short in flags.items()):
                rest.insert(0, "-" + value)
                equals = ""
        long = [key for key, short in known.items() if name in (key, short)]
        if not long:
            raise unknown(word, name, list(known))
        if long[0] in flags:
            seen.add(long[0])
            if equals and not _boolean(name, value):
                seen.remove(long[0])
        else:
            if not equals and not rest:
                raise ContainerError("read the options", "%s needs a value" % name)
            value = value if equals else rest.pop(0)
            given[long[0]] = given.get(long[0], []) + [value] if long[0] in lists else value
    if len(words) < least:
        raise ContainerError("read the options", "an id is expected", hint="minictr list has them all")
    if most is not None and len(words) > most:
        raise ContainerError("read the options", "%s is a word too many" % printable(words[most]))
    return seen, given, words


def unknown(word: str, name: str, known: "list[str]", doing: str = "read the options") -> ContainerError:
    """WORD has NAME, which is none of the long options KNOWN."""
    from . import elsewhere, words  # only for a mistake

    hint = elsewhere.before(name, "VERB") or (words.nearest(name, known) if name[:2] == "--" else "")
    if doing == "read the options" and "--signal" in known and words.signal_number(word.lstrip("-")):
        hint = "without a dash, behind the id"  # as kill(1) has it
    return ContainerError(doing, "unknown option %s" % printable(word), hint=hint)


def _boolean(name: str, value: str) -> bool:
    from . import words  # only where a flag has a value

    return words.boolean(name, value)


CALLS = {
    "start": start,
    "kill": kill,
    "stop": stop,
    "delete": delete,
}
