"""The package in one file of bytecode, for the doors that `make` builds (`doors`).

A start needs more than fifty modules, and to find and open each costs 0.04 ms more than to find it in
a table: from one file the cold start of a container is 2 ms (12 %) shorter, measured in turn with
the same package as files. What is not needed is not read: to read the pack whole cost 0.5 ms, and
0.8 MB that a runtime keeps beside its container.

Run as a script, which writes to the standard output: packed.py DIRECTORY SHOWN AT

Side: host
"""

import ast
import hashlib
import marshal
import os
import sys
from importlib.util import MAGIC_NUMBER


def pack(directory: str, shown: str, at: int) -> bytes:
    """The modules of DIRECTORY: MAGIC_NUMBER, and how long the next part is, in four bytes, by which a door
    knows its own; marshalled, the code of `unpack` and what its `install` takes; and the codes that are told
    of there, each behind the mark of this pack.

    shown: the directory that a traceback names; at: where in a file the pack will lie
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
    mark = hashlib.sha256(b"".join(codes.values())).digest()[:8]
    unpack, size = marshal.loads(codes["minictr.unpack"]), 0
    while True:  # the index is as long as the numbers in it, which count it
        end, table = at + len(MAGIC_NUMBER) + 4 + size, {}
        for module, data in codes.items():
            table[module] = (end, end + len(mark) + len(data), needs[module])
            end = table[module][1]
        index = marshal.dumps((unpack, (mark, table)))
        if len(index) == size:
            head = MAGIC_NUMBER + size.to_bytes(4, "little")
            return head + index + b"".join([mark + data for data in codes.values()])
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


if __name__ == "__main__":
    sys.stdout.buffer.write(pack(sys.argv[1], sys.argv[2], int(sys.argv[3])))
