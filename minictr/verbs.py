"""The verbs on containers that exist: list, state, start, exec, kill, stop, delete; and spec. Those on
one that lives, which are rarer, are in `control`.

Each takes the state root, a report and its arguments, prints, and returns the exit status.

Side: host
"""

import _signal

from . import abi, document, foreground, living, state
from . import unix as os
from .errors import EXIT_ERROR, ContainerError, printable, step

HELP = {
    "list": """usage: minictr list [--quiet|-q] [--format table|json]

The containers of this user: id, process id, status, bundle, creation, owner.""",
    "state": """usage: minictr state [--quiet|-q] ID

What is known of container ID, as JSON (OCI runtime specification, "State"). With --quiet nothing
is printed and the exit status tells: 0 while it runs, paused or not, 1 otherwise.""",
    "start": """usage: minictr start ID

Run the program of a container that was created.""",
    "exec": """usage: minictr exec [OPTION...] ID COMMAND [ARGUMENT...]
       minictr exec [OPTION...] --process FILE ID

Run a further program in container ID, in all its namespaces, its cgroup and under its filter.

  -p, --process FILE            a `process` object as in config.json; - for standard input
  -t, --tty                     a terminal of its own
  -i, --interactive             accepted: standard input is passed on as it is
  -u, --user UID[:GID]          or names of the container's
  -g, --additional-gids GID     one more group
  -e, --env NAME=VALUE          one more variable
      --cwd DIR                 the directory it starts in
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
    "kill": """usage: minictr kill [--all|-a] ID [SIGNAL]

Send SIGNAL (a name, with or without SIG, or a number; TERM) to the container's first process; with
--all, to every process of its cgroup. 0 only asks whether it lives. KILL is for every process of a
container without a PID namespace of its own.""",
    "stop": """usage: minictr stop [-t|--time SECONDS] ID...

Send the stop signal, and after SECONDS (10) KILL. 0 when each has ended.""",
    "delete": """usage: minictr delete [--force|-f] ID...

Forget a container that has ended; with --force, end it first, also one that is being created. An
unknown id is then no error.""",
}


SPEC_HELP = """usage: minictr spec [--rootless] [--bundle|-b DIR]

Print a default config.json; with --bundle, write it into DIR, where there must be none. --rootless: for an
ordinary user, who is root inside."""


def spec(argv: "list[str]") -> int:
    """Print the default configuration. --rootless: with the caller mapped to root; --bundle: into a file"""
    if "--help" in argv or "-h" in argv:
        print(SPEC_HELP)
        return 0
    flags, values, words = scan(argv, {"--rootless": ""}, {"--bundle": "-b"}, 0, None)
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


# --- looking ----------------------------------------------------------------------------------


def list_verb(root_path: str, report, argv: "list[str]") -> int:
    quiet, style = scan(argv, {"--quiet": "-q"}, {"--format": "-f"}, 0, 0)[:2]
    wanted = style.get("--format", "table")
    if wanted not in ("table", "json"):
        raise ContainerError("read the options", "--format is table or json, not %s" % printable(wanted))
    rows = [_row(content) for content in contents(root_path, report)]
    if "--quiet" in quiet:
        for row in rows:
            print(row["id"])
    elif wanted == "json":
        print(document.dumps(rows))
    else:
        titles = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")
        print_table(titles, [tuple([str(row[title.lower()]) for title in titles]) for row in rows])
    return 0


def contents(root_path: str, report) -> "list[dict]":
    """What is known of every container; what a killed runtime left is cleared away on the way."""
    root = state.open_existing(root_path)
    if root is None:
        return []
    living.sweep(root_path, root, report)
    found = []
    for identifier in state.identifiers(root):
        try:
            entry = state.find(root_path, root, identifier, wait=False)
        except ContainerError as error:
            if error.number != abi.EACCES:  # a directory of somebody else's
                raise
            continue
        if entry is not None:
            try:
                found.append(dict(living.load(entry), id=identifier))
            finally:
                os.close(entry.descriptor)
    return found


def _row(content: "dict") -> "dict":
    runs = living.alive(content)
    return {
        "ociVersion": content.get("ociVersion", ""),
        "id": content["id"],
        "pid": content.get("pid", 0) if runs else 0,
        "status": status(content),
        "bundle": content.get("bundle", ""),
        "rootfs": content.get("rootfs", ""),
        "created": content.get("created", ""),
        "owner": _name(content.get("owner")),
    }


def status(content: "dict") -> str:
    """creating, created, running, paused or stopped: what state.json says, checked against the process
    and its cgroup."""
    if content.get("status") == "creating":
        return "creating"
    if not living.alive(content):
        return "stopped"
    if living.frozen(content):
        return "paused"
    return "created" if content.get("status") == "created" else "running"


def _name(uid: object) -> str:
    from . import subids

    if not isinstance(uid, int):  # its state.json is lost
        return ""
    names = subids.user_names(uid)
    return names[0] if names else "#%d" % uid


def print_table(titles: "tuple[str, ...]", rows: "list[tuple[str, ...]]") -> None:
    """Whatever is in them, a row is a line: a bundle's path may have any character."""
    lines = [titles] + [tuple([printable(cell) for cell in row]) for row in rows]
    widths = [max([len(line[column]) for line in lines]) + 3 for column in range(len(titles))]
    for line in lines:
        print("".join([text.ljust(width) for text, width in zip(line, widths)]).rstrip())


_OURS = ("org.minictr.degradations", "org.minictr.exit", "org.minictr.landlock")


def state_of(content: "dict") -> "dict":
    """The OCI state of a container; our records of steps down are among its annotations."""
    annotations = dict(content.get("annotations") or {})
    for name in _OURS:  # which an image's annotations may have, too
        annotations.pop(name, None)
    if content.get("degradations"):
        annotations["org.minictr.degradations"] = document.dumps(content["degradations"])
    now = status(content)
    ending = exit_record(content) if now == "stopped" else {}
    if ending:
        annotations["org.minictr.exit"] = document.dumps(ending)
    if content.get("landlock"):
        annotations["org.minictr.landlock"] = document.dumps(content["landlock"])
    return {
        "ociVersion": content.get("ociVersion", "1.3.0"),
        "id": content["id"],
        "status": now,
        "bundle": content.get("bundle", ""),
        "rootfs": content.get("rootfs", ""),
        "created": content.get("created", ""),
        "annotations": annotations,
        "pid": content.get("pid", 0) if now != "stopped" else 0,
    }


def exit_record(content: "dict") -> "dict":
    """How a container ended: what was noted down by who stood behind it, else what its cgroup, which stays
    until the container is deleted, tells of memory that ran out."""
    if content.get("exit"):
        return content["exit"]
    from . import oom  # not for one that lives

    try:
        group = living.group_of(content)
        return oom.found(group) if group.kind != "none" else {}
    except ContainerError:  # its file system is not mounted any more
        return {}


def state_verb(root_path: str, report, argv: "list[str]") -> int:
    flags, _, ids = scan(argv, {"--quiet": "-q"}, {}, 1, 1)
    entry = find(root_path, ids[0], wait=False)
    content = {} if entry is None else living.load(entry)
    if entry is None or entry.forgotten():
        if "--quiet" in flags:
            return 1
        raise missing(ids[0])
    content["id"] = ids[0]
    if "--quiet" in flags:
        return 0 if status(content) in ("running", "paused") else 1
    print(document.pretty(state_of(content), "  "))
    return 0


# --- starting -----------------------------------------------------------------------------------


def start(root_path: str, report, argv: "list[str]") -> int:
    _, _, ids = scan(argv, {}, {}, 1, 1)
    entry = find(root_path, ids[0], hooks=True)
    if entry is None:
        raise missing(ids[0])
    content = entry.load()
    now = status(dict(content, id=ids[0]))
    if now != "created":
        raise ContainerError("start container %s" % ids[0], "it is %s, not created" % now)
    living.start(entry, content, report)
    return 0


def execute(root_path: str, report, argv: "list[str]") -> int:
    """The verb exec. Errors of ours leave with 255, as runc's do."""
    from . import execution, wishes

    try:
        with step("exec"):
            return execution.run(root_path, report, wishes.parse(argv))
    except ContainerError as error:
        report.error(error)
        return execution.EXIT_EXEC


# --- ending -----------------------------------------------------------------------------------


def kill(root_path: str, report, argv: "list[str]") -> int:
    flags, _, words = scan(argv, {"--all": "-a"}, {}, 1, 2)
    number = signal_number(words[1] if len(words) > 1 else "TERM")
    entry = find(root_path, words[0], wait=False)
    if entry is None:
        raise missing(words[0])
    content = living.load(entry)
    if "--all" in flags and content.get("cgroups"):
        if not living.over(content):
            living.group_of(content).signal(number)
    elif not living.kill(content, number) and "--all" not in flags:  # that all have ended is no error with it
        raise ContainerError("kill container %s" % words[0], "container not running")
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
    if not living.wait_ended(list(known.values()), 10):
        raise ContainerError("stop the container", "it does not end, not even when killed")
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
    content = living.load(entry)
    now = status(content)
    if now in ("created", "running", "paused"):
        raise ContainerError(doing, "it is %s" % now, hint="minictr stop it, or --force")
    if now == "creating" and not state.is_orphan(entry):
        raise ContainerError(doing, "it is being created", hint="wait for that, or --force")
    if locked and (not content or content.get("lost")) and not state.is_foreground(entry):
        # else another one deletes it
        raise ContainerError(doing, "its state.json is missing or broken", hint="--force")


# --- words ------------------------------------------------------------------------------------


def signal_number(word: str) -> int:
    """TERM, SIGTERM, 15, RTMIN+1; 0, which only asks (kill(2)). Raises ContainerError."""
    number = foreground.signal_number(word)
    if not number and word != "0":
        raise ContainerError("read the signal", "%s is none" % printable(word))
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
    rest = argv[:]
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        name, equals, value = word.partition("=")
        known = dict(flags, **dict(values, **dict.fromkeys(lists, "")))
        long = [key for key, short in known.items() if name in (key, short)]
        if not word.startswith("-") or word == "-":
            words.append(word)
        elif not long:
            raise ContainerError("read the options", "unknown option %s" % printable(word))
        elif long[0] in flags:
            seen.add(long[0])
            if equals and not _boolean(name, value):
                seen.remove(long[0])
        else:
            if not equals and not rest:
                raise ContainerError("read the options", "%s needs a value" % name)
            value = value if equals else rest.pop(0)
            given[long[0]] = given.get(long[0], []) + [value] if long[0] in lists else value
    if len(words) < least:
        raise ContainerError("read the options", "an id is expected")
    if most is not None and len(words) > most:
        raise ContainerError("read the options", "%s is a word too many" % printable(words[most]))
    return seen, given, words


def _boolean(name: str, value: str) -> bool:
    from . import words  # only where a flag has a value

    return words.boolean(name, value)


CALLS = {
    "start": start,
    "exec": execute,
    "list": list_verb,
    "state": state_verb,
    "kill": kill,
    "stop": stop,
    "delete": delete,
}
