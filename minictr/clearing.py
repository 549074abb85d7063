"""A directory that somebody has put into a container's, taken away with all that is in it.

Side: host
"""

import os

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def clear(place: int, name: str, path: str) -> None:
    """Remove the directory NAME of PLACE, which is called PATH. However deep it is, one descriptor is
    open: what it has of directories comes up into PLACE before it is entered.

    No link is followed and no mount crossed: what is mounted on cannot be renamed (rename(2), EBUSY).
    Raises OSError with the path of what is in the way.
    """
    todo = [_bring_up(place, place, name, path)]
    while todo:
        name = todo.pop()
        inner = os.open(name, _FLAGS, dir_fd=place)
        try:
            for entry in os.listdir(inner):
                try:
                    os.unlink(entry, dir_fd=inner)
                except IsADirectoryError:
                    todo.append(_bring_up(place, inner, entry, "%s/%s" % (path, name)))
                except OSError as error:
                    raise _at(error, path, name, entry)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=place)


def _bring_up(place: int, source: int, name: str, path: str) -> str:
    """Its name in PLACE, a new one. path: of SOURCE"""
    taken, number = set(os.listdir(place)), 0
    while "removed.%d" % number in taken:
        number += 1
    try:
        os.rename(name, "removed.%d" % number, src_dir_fd=source, dst_dir_fd=place)
    except OSError as error:
        raise _at(error, path, name)
    return "removed.%d" % number


def _at(error: OSError, *names: str) -> OSError:
    return OSError(error.errno, os.strerror(error.errno or 0), "/".join(names))
