"""Variables of the program's environment as the command line has them: --env and --env-file.

Side: host
"""

from . import unix as os
from .errors import printable
from .words import absolute, bad

LIMIT = 1 << 20  # bytes of a file; an environment cannot be larger than a few of these


def put(option: str, text: str, line: str, values: "dict[str, str]") -> None:
    """NAME=VALUE; NAME, with the caller's value if it has one; or PREFIX*, all of the caller's."""
    name, equals, value = line.partition("=")
    if not name:
        raise bad(option, text, "a variable has no name")
    if equals:
        values[name] = value
    elif name.endswith("*"):
        values.update(item for item in os.environment().items() if item[0].startswith(name[:-1]))
    elif name in os.environment():
        values[name] = os.environment()[name]


def lines(path: str) -> "list[str]":
    """The lines of PATH that say something, as docker reads them: no quotes, no continuation, # only where a
    line begins, no blank in a name."""
    try:
        with open(absolute(path), "rb") as file:
            content = file.read(LIMIT + 1)
    except OSError as error:
        raise bad("--env-file", path, os.strerror(error.errno or 0)) from None
    if len(content) > LIMIT or b"\0" in content:
        raise bad("--env-file", path, "holds a NUL byte, or more than %d bytes" % LIMIT)
    content = content[3:] if content.startswith(b"\xef\xbb\xbf") else content  # a mark of the encoding
    stripped = [line.lstrip(b" \t").rstrip(b"\r") for line in content.split(b"\n")]
    found = [os.fsdecode(line) for line in stripped if line and not line.startswith(b"#")]
    for name in [line.partition("=")[0] for line in found]:
        if " " in name or "\t" in name:
            why = "a name with a blank: %s" % printable(name)
            raise bad("--env-file", path, why, "NAME=VALUE, a line each")
    return found
