"""The package in one file of bytecode, for the launcher that `make install` writes.

A start needs nearly sixty modules, and to find and open each costs 0.04 ms more than to find it in
a table: from one file the cold start of a container is 2 ms (12 %) shorter, measured in turn with
the same package as files. What is not needed is not read: to read the pack whole cost 0.5 ms, and
0.8 MB that a runtime keeps beside its container. The launcher takes the pack only under the very
Python it was made by (the magic number of importlib), and the files beside it otherwise. It is short,
as it is compiled anew at every start.

Run as a script: packed.py PYTHON LIBRARY DESTDIR LAUNCHER

Side: host
"""

import ast
import marshal
import os
import sys
from importlib.util import MAGIC_NUMBER

LAUNCH = """#!{python} -IS
import sys
from _frozen_importlib_external import MAGIC_NUMBER
from marshal import loads
from posix import O_CLOEXEC, close, open, pread

PLACE = {library!r}
sys.path.append(PLACE)
try:
    file = open(PLACE + "/{pack}", O_CLOEXEC)
except OSError:
    file = -1  # the modules lie beside it
if file > 2 and pread(file, 8, 0) == MAGIC_NUMBER + {size}:  # closed streams: it may be one, and not ours
    names = {{}}
    code, table = loads(pread(file, {head}, 8))
    exec(code, names)
    names["install"](file, table, PLACE)
elif file >= 0:
    close(file)
try:
    from minictr.__main__ import main
except ModuleNotFoundError as error:
    if error.name != "minictr":
        raise
    hint = "put what was installed there, the whole of DESTDIR, or make install with another PREFIX"
    sys.stderr.write("minictr: find its library: there is none in %s; hint: %s\\n" % (PLACE, hint))
    sys.exit(125)
main()
"""
PACK = "minictr.pack"


def pack(directory: str, shown: str) -> "tuple[bytes, int]":
    """The modules of DIRECTORY: MAGIC_NUMBER, and how long the next part is, in four bytes, by which a
    launcher knows its own; marshalled, the code of `unpack` and its table; and the codes that the table tells
    of, at places counted from the start. With it, the number of those bytes.

    shown: the directory that a traceback names
    """
    codes, needs = {}, {}
    for name in sorted(os.listdir(directory)):
        if name.endswith(".py"):
            with open(os.path.join(directory, name), "rb") as file:
                tree = ast.parse(file.read())
            module = sys.intern("minictr" if name == "__init__.py" else "minictr." + name[:-3])
            needs[module] = _imports(tree)
            _forget_annotations(tree)
            # 2: without docstrings, a tenth of it all. Nothing here is decided by an assert
            code = compile(tree, os.path.join(shown, name), "exec", dont_inherit=True, optimize=2)
            codes[module] = marshal.dumps(code)
    unpack, size = marshal.loads(codes["minictr.unpack"]), 0
    while True:  # the index is as long as the numbers in it, which count it
        at, table = len(MAGIC_NUMBER) + 4 + size, {}
        for module, data in codes.items():
            table[module] = (at, at + len(data), needs[module])
            at += len(data)
        index = marshal.dumps((unpack, table))
        if len(index) == size:
            return MAGIC_NUMBER + size.to_bytes(4, "little") + index + b"".join(codes.values()), size
        size = len(index)


def _forget_annotations(tree: ast.Module) -> None:
    """Those of functions, which nothing reads at run time: 0.4 ms (1.5 %) of a start, measured in turn."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None


def _imports(tree: ast.Module) -> "tuple[str, ...]":
    """The modules of ours that this one imports when it is loaded."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            found += [node.module] if node.module else [alias.name for alias in node.names]
    # interned: a name is then written once
    return tuple([sys.intern("minictr." + name) for name in found if name != "__version__"])


def install(python: str, library: str, destdir: str, launcher: str) -> None:
    """Write the pack into DESTDIR/LIBRARY and the launcher to DESTDIR/LAUNCHER, each whole or not at all."""
    place = destdir + library
    content, head = pack(place + "/minictr", library + "/minictr")
    size = head.to_bytes(4, "little")
    text = LAUNCH.format(python=python, library=library, pack=PACK, head=head, size=size)
    _write(os.path.join(place, PACK), content, 0o644)
    _write(destdir + launcher, text.encode("utf-8"), 0o755)


def _write(path: str, content: bytes, mode: int) -> None:
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.chmod(path + ".new", mode)
    os.replace(path + ".new", path)


if __name__ == "__main__":
    install(*sys.argv[1:])
