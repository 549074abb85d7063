"""A program in a root file system that is no root: what the kernel would look up by an absolute name,
and so on the host, is looked up in the root file system here.

A static program runs as it is; a script by the interpreter that it names, a dynamic program by the
loader that it names, both from the root file system: LOADER --library-path DIRECTORIES PROGRAM, which
glibc's and musl's loader take alike. What the program executes by itself gets no such help, but its
PATH and HOME lead into the root file system.

Side: container
"""

import _struct as struct
import os

from . import abi, paths, program
from .errors import ContainerError

MAX_SCRIPTS = 4  # a script of a script ...; the kernel's own limit (exec_binprm() in fs/exec.c) is 5
_HEADER = 4096  # bytes, more than the ELF header or a name has
_ELF_CLASSES = {1: ("I", 28, 42, 4, 16), 2: ("Q", 32, 54, 8, 32)}
_PT_INTERP = 3
_PLACES = ("/usr/local/lib", "/lib", "/usr/lib", "/lib64", "/usr/lib64")


def command(
    prefix: str, cwd: str, arguments: "list[str]", environment: "dict[str, str]"
) -> "tuple[list[str], list[str], dict[str, str]]":
    """What to execute for ARGUMENTS, the arguments then, and the environment.

    prefix: where the root file system lies; cwd: the directory, inside
    Raises ContainerError, as program.find does.
    """
    root = _Root(prefix, cwd)
    name = arguments[0]
    try:
        path = root.find(name, environment.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
        first, rest = name, arguments[1:]
        for _ in range(MAX_SCRIPTS):
            head = _read(path.real, 0, 256)  # as much as the kernel looks at
            if head[:2] != b"#!":
                break
            words = os.fsdecode(head[2:].partition(b"\n")[0]).strip(" \t\r").split(None, 1)
            if not words:
                raise program.exec_error(name, abi.ENOEXEC)
            rest = words[1:] + [path.shown] + rest
            first, path = words[0], root.resolve(words[0], name)
        wanted = interpreter(path.real)
        if wanted:
            found = root.resolve(wanted, name)
            rest = ["--library-path", ":".join(root.libraries()), path.shown] + rest
            first, path = found.real, found
    finally:
        os.close(root.descriptor)
    return [path.real], [first] + rest, root.environment(environment)


class _Path:
    """real: where it lies on the host, behind no link; shown: the same, by the name that was asked for
    if that leads there: a program may look at its name"""

    def __init__(self, real: str, shown: str) -> None:
        self.real, self.shown = real, shown


class _Root:
    """The root file system at PREFIX. cwd: what relative names start from"""

    def __init__(self, prefix: str, cwd: str) -> None:
        self.prefix, self.cwd = prefix.rstrip("/"), cwd
        self.descriptor = os.open(prefix, abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def find(self, name: str, path: str) -> _Path:
        """NAME as execvp(3) looks for it. Raises ContainerError."""
        if "/" in name:
            return self.resolve(name, name, found=False)
        failure = 0
        for place in path.split(":"):
            inside = os.path.join(place or ".", name)
            try:
                return self._resolve(inside)
            except OSError as error:
                failure = abi.EACCES if error.errno == abi.EACCES else failure
        raise program.exec_error(name, failure)

    def resolve(self, inside: str, name: str, found: bool = True) -> _Path:
        """The file INSIDE, which runs or is the program NAME. Raises ContainerError."""
        try:
            return self._resolve(inside)
        except OSError as error:
            raise program.exec_error(name, error.errno or 0, found) from None

    def _resolve(self, inside: str) -> _Path:
        inside = os.path.join(self.cwd, inside)
        descriptor = paths.open_in(self.descriptor, inside)
        try:
            real = os.readlink(paths.descriptor_path(descriptor))
            state = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if os.path.isdir(real):
            raise OSError(abi.EISDIR, os.strerror(abi.EISDIR), inside)
        if not os.access(real, os.X_OK):
            raise OSError(abi.EACCES, os.strerror(abi.EACCES), inside)
        shown = self.prefix + os.path.normpath(inside)
        try:
            same = os.path.samestat(os.stat(shown), state)
        except OSError:
            same = False
        return _Path(real, shown if same else real)

    def libraries(self) -> "list[str]":
        """The directories that its loader would look in: those that every C library knows, those of
        Debian's architectures below them, and those of ld.so.conf."""
        found = []  # type: list[str]
        for place in list(_PLACES) + self._configured("/etc/ld.so.conf"):
            for inside in self._triplets(place) + [place]:
                real = self._directory(inside)
                if real and real not in found and ":" not in real:
                    found.append(real)
        return found

    def _triplets(self, place: str) -> "list[str]":
        try:
            names = os.listdir(self._directory(place) or "/nowhere")
        except OSError:
            return []
        return [place + "/" + name for name in sorted(names) if "-linux-" in name]

    def _directory(self, inside: str) -> str:
        try:
            descriptor = paths.open_in(self.descriptor, inside, abi.O_PATH | os.O_DIRECTORY)
        except OSError:
            return ""
        try:
            return os.readlink(paths.descriptor_path(descriptor))
        finally:
            os.close(descriptor)

    def _configured(self, name: str, deep: int = 0) -> "list[str]":
        """ld.so.conf(5): a directory a line, or `include` with a pattern, of which /*.conf is known."""
        try:
            lines = os.fsdecode(paths.read_file(self.descriptor, name, 1 << 16)).splitlines()
        except (OSError, ContainerError):
            return []
        found = []  # type: list[str]
        for line in lines:
            words = line.partition("#")[0].split()
            if len(words) == 2 and words[0] == "include" and words[1].endswith("/*.conf") and not deep:
                place = os.path.join("/etc", words[1][: -len("/*.conf")])
                try:
                    names = sorted(os.listdir(self._directory(place) or "/nowhere"))
                except OSError:
                    names = []
                for inner in names:
                    found += self._configured(place + "/" + inner, 1) if inner.endswith(".conf") else []
            elif len(words) == 1 and words[0].startswith("/"):
                found.append(words[0])
        return found

    def environment(self, environment: "dict[str, str]") -> "dict[str, str]":
        """With PATH and HOME in the root file system."""
        changed = dict(environment)
        for name in ("PATH", "HOME"):
            if name in changed:
                places = changed[name].split(":")
                changed[name] = ":".join([self.prefix + p if p.startswith("/") else p for p in places])
        return changed


def interpreter(path: str) -> str:
    """The loader that the program PATH names (PT_INTERP of elf(5)), "" for a static one."""
    head = _read(path, 0, _HEADER)
    kind = _ELF_CLASSES.get(head[4]) if len(head) >= 64 and head[:4] == b"\x7fELF" else None
    if kind is None or head[5] not in (1, 2):
        return ""
    word, at_start, at_size, at_offset, at_length = kind
    order = "<" if head[5] == 1 else ">"
    start = struct.unpack_from(order + word, head, at_start)[0]
    size, count = struct.unpack_from(order + "HH", head, at_size)
    for at in range(start, start + size * count, size or 1):
        entry = _read(path, at, size)
        if len(entry) < at_length + 8:
            return ""
        if struct.unpack_from(order + "I", entry)[0] == _PT_INTERP:
            offset, length = [
                struct.unpack_from(order + word, entry, field)[0] for field in (at_offset, at_length)
            ]
            return os.fsdecode(_read(path, offset, min(length, _HEADER)).partition(b"\0")[0])
    return ""


def _read(path: str, offset: int, length: int) -> bytes:
    """A part of a program, b"" of one that may be executed but not read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, length, offset)
    except (OSError, OverflowError):  # no file, or no such place in one
        return b""
    finally:
        os.close(descriptor)
