"""What the library asks its helper about a container that exists: the caller's side of `answers`.

Side: host
"""

import os

from . import service
from .attended import error_from
from .errors import ContainerError


def request(root: str, argv: list, identifier: str, created: str) -> "dict":
    """CREATED, if it is not "": an error unless that of the container is so."""
    environ = dict(os.environ)
    return {"argv": argv, "root": root, "environ": environ, "id": identifier, "created": created}


def ask(root: str, name: str, argv: list, identifier: str = "", created: str = "") -> object:
    """Have a worker do NAME, and what it answers. Raises ContainerError."""
    wish = dict(request(root, argv, identifier, created), name=name)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        talk = service.open((null, null, null), "verb", wish)
    finally:
        os.close(null)
    try:
        said = talk.hear()
    finally:
        talk.close()
    if said is None:
        doing = "%s container %s" % (name, argv[0]) if argv else "list the containers"
        raise ContainerError(doing, "the library's helper was killed")
    if said[0] == "error":
        raise error_from(said)
    return said[1]
