"""The library's keywords as the command line that they stand for: hostname="x" is --hostname=x.

Side: host
"""

import os

from .errors import step

# Names that read better of several
_PLURALS = {
    name + "s": name
    for name in ("volume", "mount", "device", "ulimit", "annotation", "sysctl", "time-offset", "env-file")
}
_COLON = ("volume", "device", "tmpfs")  # what stands between key and value of a dict; elsewhere "="


def request(
    args, root, config: "dict | None", options: "dict[str, object]", terminal: bool = False
) -> "dict":
    """What a worker is asked for. Raises ValueError and TypeError for what is no request.

    terminal: one may be asked for
    """
    bundled = config is not None or "bundle" in options
    given = None if args is None else words(args)
    if bundled == (args is not None):
        raise ValueError("either args, or a bundle or configuration, which has its own")
    for name in ("help", "json", "interactive"):
        if options.get(name):
            raise ValueError("%s=True is for the command line alone" % name)
    if options.get("tty") and not terminal:
        raise ValueError("run() waits for the end, and has no terminal to give: use Container(..., tty=True)")
    identifier = options.pop("name", None)
    if bundled:
        argv = flags(options) + [text(identifier) if identifier else os.urandom(6).hex()]
    else:
        argv = flags(dict(options, name=identifier)) + ["--"] + (given or [])
    if config is not None:
        from . import document

        # what is no JSON is told here; dicts and strings of other kinds are plain there
        config = document.dumps(config)  # type: ignore[assignment]
    return {
        "argv": argv, "args": given, "root": place(root), "config": config, "environ": dict(os.environ),
        "terminal": terminal,
    }  # fmt: skip


def words(args) -> "list[str]":
    if isinstance(args, (str, bytes)):
        raise TypeError("args is a list of words: there is no shell to split %r" % (args,))
    return [text(item) for item in args]


def place(root: object) -> str:
    """The directory of containers, "" for the usual one."""
    if not root:
        return ""
    with step("find the current directory", hints={2: "change to one that is there"}):
        return os.path.abspath(text(root))


def flags(options: "dict[str, object]") -> "list[str]":
    """hostname="x", cap_add=["A", "B"], env={"K": "v"}, init=True: --hostname=x --cap-add=A ...

    None in a dict stands for the key alone: env={"K": None} takes the caller's K, env={"K": ""} does not.
    """
    found = []
    for key, value in options.items():
        name = key.replace("_", "-")
        name = _PLURALS.get(name, name)
        if value is None or value is False:
            continue
        try:
            if hasattr(value, "items"):  # os.environ is no dict
                value = [_pair(name, item, given) for item, given in value.items()]
            for item in value if isinstance(value, (list, tuple, set, frozenset)) else (value,):
                found.append("--%s=%s" % (name, "true" if item is True else text(item)))
        except TypeError as error:  # such as docker-py's volumes={"/a": {"bind": "/b"}}
            raise TypeError("%s: %s" % (key, error)) from None
    return found


def _pair(name: str, key: object, value: object) -> str:
    word, mark = text(key), ":" if name in _COLON else "="
    if mark == "=" and (not word or mark in word):  # what follows the mark would be its value
        raise ValueError("%s: %r is no name" % (name, word))
    return word if value is None else word + mark + text(value)


def text(value: object) -> str:
    """VALUE as the word that it is: a number of an enumeration is a number, and a str is nothing more.

    Raises UnicodeEncodeError, a ValueError, for a str that has no bytes, as subprocess does."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, (int, float)):
        return str(int(value) if isinstance(value, int) else float(value))
    word = str.__str__(os.fsdecode(value))  # type: ignore[arg-type]
    if "\0" in word:
        raise ValueError("embedded null byte in %r" % word)
    os.fsencode(word)
    return word
