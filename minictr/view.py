"""A container's files as its program will see them, before anything is mounted: what lies over what.

A volume, or what a root's links lead to, may hold etc/passwd. Sources are the host's paths, as the
configuration names them; below them, and below the root, links lead where they lead inside.

Side: host
"""

import _stat as stat

from . import abi, paths
from . import unix as os
from .errors import ContainerError
from .record import MYPY

if MYPY:
    from typing import Any

_NOTHING = -1  # what lies there has no files that anybody could know
_FLAGS = abi.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class View:
    """root: a descriptor, the caller's; entries: `mounts` of a configuration; bundle: where relative ones are

    layers: where they lie, without links, and a descriptor of each; the later ones cover the earlier
    """

    def __init__(self, root: int, entries: "Any", bundle: str) -> None:
        self.layers = [((), root)]  # type: list[tuple[tuple[str, ...], int]]
        self.opened = []  # type: list[int]
        for entry in entries:
            options = entry.get("options") or ()
            bound = entry.get("type") == "bind" or "bind" in options or "rbind" in options
            # a copy has what it covers; what an overlay would show is not looked into
            if bound or (entry.get("type") == "tmpfs" and "tmpcopyup" not in options):
                source = os.path.join(bundle, entry.get("source") or "") if bound else ""
                itself = "src-nofollow" in options or "copy-symlink" in options
                found = self._open(source, os.O_NOFOLLOW if itself else 0) if bound else _NOTHING
                names = _names(paths.plain(entry["destination"]))
                # one that is made again lies where it is called, and follows none that is there
                last = names[-1:] if "copy-symlink" in options and _is_link(found) else []
                try:
                    place = self._walk(names[: len(names) - len(last)])[0] + tuple(last)
                except OSError:  # the mount will tell
                    continue
                self.layers.append((place, found))

    def _open(self, source: str, flag: int) -> int:
        try:
            self.opened.append(os.open(source, abi.O_PATH | os.O_CLOEXEC | flag))
        except OSError:  # the same
            return _NOTHING
        return self.opened[-1]

    def close(self) -> None:
        for descriptor in self.opened:
            os.close(descriptor)

    def read(self, path: str, limit: int) -> bytes:
        """The content of the regular file PATH, b"" where there is none; raises as paths.read_file, but not
        for what a mount has there: a device, say, is to hide the root's."""
        place, layer = self._walk(_names(path))
        if layer == _NOTHING:
            return b""
        below, descriptor = place[len(self.layers[layer][0]) :], self.layers[layer][1]
        try:
            if below:
                return paths.read_file(descriptor, "/".join(below), limit)
            return paths.read_found(descriptor, path, limit)
        except (OSError, ContainerError):
            if layer:
                return b""
            raise

    def _walk(self, todo: "list[str]") -> "tuple[tuple[str, ...], int]":
        """Where that leads to, and the number of the layer that it is in; _NOTHING where nothing is known of
        it: then what is left of it is taken as it is called."""
        place, links, layer = (), 0, 0  # type: tuple[str, ...], int, int
        while todo:
            name = todo.pop(0)
            if name == "..":
                place = place[:-1]
                continue
            layer = self._covering(place + (name,))
            target = self._link(layer, place + (name,))
            if links == paths.MAX_LINKS and target:
                raise OSError(abi.ELOOP, os.strerror(abi.ELOOP))
            if target is None:
                return place + (name,) + tuple(todo), _NOTHING
            if not target:
                place += (name,)
                continue
            links += 1
            place, todo = () if target[0] == "/" else place, _names(target) + todo
        return place, self._covering(place)

    def _covering(self, place: "tuple[str, ...]") -> int:
        return max(number for number, (top, _) in enumerate(self.layers) if place[: len(top)] == top)

    def _link(self, layer: int, place: "tuple[str, ...]") -> "str | None":
        """What the link there says, "" for what is none, None for what is not there."""
        top, descriptor = self.layers[layer]
        below = place[len(top) :]
        if descriptor == _NOTHING:
            return None
        if not below:  # what lies there may be a link itself, which leads on in the container
            return os.readlink("", dir_fd=descriptor) if layer and _is_link(descriptor) else ""
        try:
            folder = paths.open_in(descriptor, "/".join(below[:-1]))
            try:
                found = os.open(below[-1], _FLAGS, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError as error:
            if layer or error.errno in (abi.ENOENT, abi.ENOTDIR):
                return None
            raise
        try:
            return os.readlink("", dir_fd=found) if _is_link(found) else ""
        finally:
            os.close(found)


def _is_link(descriptor: int) -> bool:
    return descriptor != _NOTHING and stat.S_ISLNK(os.fstat(descriptor).st_mode)


def _names(path: str) -> "list[str]":
    return [name for name in path.split("/") if name not in ("", ".")]
