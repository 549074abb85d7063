"""The package in one file of bytecode, for the launcher that `make install` writes.

A start needs some fifty modules, and to find and open each costs 0.04 ms more than to find it in
a table: from one file the cold start of a container is 2 ms (12 %) shorter, measured in turn with
the same package as files. What is not needed is not read: to read the pack whole cost 0.5 ms, and
0.8 MB that a runtime keeps beside its container. The launcher takes the pack only under the very
Python it was made by (the magic number of importlib), and the files beside it otherwise.

Run as a script: packed.py PYTHON LIBRARY DESTDIR LAUNCHER

Side: host
"""

import marshal
import os
import sys
from importlib.util import MAGIC_NUMBER

LAUNCH = '''#!{python} -IS
import marshal
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER
from posix import O_CLOEXEC, O_RDONLY, close, open, pread

PLACE = {library!r}
sys.path.append(PLACE)


class Packed:
    """A finder and loader for what {pack} has."""

    file, table = -1, {{}}

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in Packed.table:
            return None
        spec = ModuleSpec(name, Packed, is_package=name == "minictr")
        if name == "minictr":
            spec.submodule_search_locations.append(PLACE + "/minictr")
        return spec

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        start, end = Packed.table[module.__name__]
        exec(marshal.loads(pread(Packed.file, end - start, start)), module.__dict__)


def find_pack():
    try:
        file = open(PLACE + "/{pack}", O_RDONLY | O_CLOEXEC)
    except OSError:
        return  # the modules lie beside it
    start = pread(file, {head}, 0)
    if start[:4] == MAGIC_NUMBER and file > 2:  # with a standard stream closed, its number is not ours
        Packed.file, Packed.table = file, marshal.loads(start[4:])
        sys.meta_path.insert(0, Packed)
    else:
        close(file)


find_pack()
from minictr.__main__ import main

main()
'''
PACK = "minictr.pack"


def pack(directory: str, shown: str) -> "tuple[bytes, int]":
    """The modules of DIRECTORY: MAGIC_NUMBER, then a marshalled {name: (start, end)} of the codes
    that follow, counted from the start of the file. With it, how long the part before the codes is.

    shown: the directory that a traceback names
    """
    codes = {}
    for name in sorted(os.listdir(directory)):
        if name.endswith(".py"):
            with open(os.path.join(directory, name), "rb") as file:
                source = file.read()
            # 2: without docstrings, a tenth of it all. Nothing here is decided by an assert
            code = compile(source, os.path.join(shown, name), "exec", dont_inherit=True, optimize=2)
            module = "minictr" if name == "__init__.py" else "minictr." + name[:-3]
            codes[module] = marshal.dumps(code)
    size = 0
    while True:  # the index is as long as the numbers in it, which count it
        at, table = len(MAGIC_NUMBER) + size, {}
        for module, data in codes.items():
            table[module] = (at, at + len(data))
            at += len(data)
        index = marshal.dumps(table, 2)  # version 2 has no references, so its length is steady
        if len(index) == size:
            head = MAGIC_NUMBER + index
            return head + b"".join(codes.values()), len(head)
        size = len(index)


def install(python: str, library: str, destdir: str, launcher: str) -> None:
    """Write the pack into DESTDIR/LIBRARY and the launcher to DESTDIR/LAUNCHER, each whole or not at all."""
    place = destdir + library
    content, head = pack(place + "/minictr", library + "/minictr")
    text = LAUNCH.format(python=python, library=library, pack=PACK, head=head)
    _write(os.path.join(place, PACK), content, 0o644)
    _write(destdir + launcher, text.encode("utf-8"), 0o755)


def _write(path: str, content: bytes, mode: int) -> None:
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.chmod(path + ".new", mode)
    os.replace(path + ".new", path)


if __name__ == "__main__":
    install(*sys.argv[1:])
