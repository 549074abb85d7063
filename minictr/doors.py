"""The two doors that `make` builds around a pack (`packed`): the launcher of `make install`, and the one file
of `make dist`, a zip archive that Python runs (PEP 441), of the sources and the packs of some Pythons.

A zip archive has no place for what Python compiles: a start would compile all that it needs each time, and
take five times as long as from a pack. Nothing in it is compressed, so a pack is read where it lies, and a
Python without zlib does, too.

Both take a pack only under a Python whose magic number (importlib) it has, and the sources otherwise. They
are short, as they are compiled anew at every start.

Run as a script: doors.py install PYTHON LIBRARY DESTDIR LAUNCHER
                 doors.py dist TARGET FOLDER PYTHON...   with a pack for each PYTHON

Side: host
"""

import io
import os
import subprocess
import sys
import zipfile

PACK = "minictr.pack"
_IMPORTS = """import sys
from _frozen_importlib_external import MAGIC_NUMBER
from marshal import loads
from posix import O_CLOEXEC, close, open, pread

"""
# file, place, at, head: the pack is in FILE at AT, its index is the HEAD (four bytes) that stands before it.
# With closed streams FILE may be one of them, which the program would get.
_TAKE = """if file > 2 and pread(file, 8, at) == MAGIC_NUMBER + head:
    names = {}
    code, rest = loads(pread(file, int.from_bytes(head, "little"), at + 8))
    exec(code, names)
    names["install"](file, place, *rest)
elif file >= 0:
    close(file)
"""
_LAUNCHER = """place = %(library)r
sys.path.append(place)
at, head = 0, %(head)r
try:
    file = open(place + "/%(pack)s", O_CLOEXEC)
except OSError:
    file = -1  # the modules lie beside it
%(take)stry:
    from minictr.__main__ import main
except ModuleNotFoundError as error:
    if error.name != "minictr":
        raise
    hint = "put what was installed there, the whole of DESTDIR, or make install with another PREFIX"
    sys.stderr.write("minictr: find its library: there is none in %%s; hint: %%s\\n" %% (place, hint))
    sys.exit(125)
main()
"""
_ONE_FILE = """place = __file__.rpartition("/")[0]
at, head = %(packs)r.get(MAGIC_NUMBER, (0, b""))
file = open(place, O_CLOEXEC) if head else -1
%(take)sfrom minictr.__main__ import main

main()
"""
_FIRST_LINE = b"#!/usr/bin/env python3\n"
_HEADER = 30  # bytes of a member before its name, which its content follows (APPNOTE.TXT, 4.3.7)
_TAG = "import sys; sys.stdout.write(sys.implementation.cache_tag)"  # cpython-311


def install(python: str, library: str, destdir: str, launcher: str) -> None:
    """Write the pack into DESTDIR/LIBRARY and the launcher to DESTDIR/LAUNCHER, each whole or not at all."""
    place = destdir + library
    content = _packed(python, place + "/minictr", library + "/minictr", 0)
    words = {"library": library, "pack": PACK, "head": content[4:8], "take": _TAKE}
    _write(os.path.join(place, PACK), content, 0o644)
    text = "#!%s -IS\n" % python + _IMPORTS + _LAUNCHER % words
    _write(destdir + launcher, text.encode("utf-8"), 0o755)


def dist(target: str, folder: str, *pythons: str) -> None:
    """Write the package in FOLDER into the file TARGET, whole or not at all; of the same sources and PYTHONS
    the same bytes."""
    members, packs, at = [], {}, len(_FIRST_LINE)
    for python in pythons:
        name = "minictr.%s.pack" % _said(python, "-c", _TAG).decode("ascii")
        content = _packed(python, folder, "minictr", at + _HEADER + len(name))
        if content[:4] not in packs:
            packs[content[:4]] = at + _HEADER + len(name), content[4:8]
            members.append((name, content))
            at += _HEADER + len(name) + len(content)
    members.append(("__main__.py", (_IMPORTS + _ONE_FILE % {"packs": packs, "take": _TAKE}).encode("ascii")))
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), "rb") as file:
                members.append(("minictr/" + name, file.read()))
    archive = io.BytesIO(_FIRST_LINE)
    archive.seek(0, io.SEEK_END)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
        for name, content in members:
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.create_system, member.external_attr = 3, 0o100644 << 16
            out.writestr(member, content)
    os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    _write(target, archive.getvalue(), 0o755)


def _packed(python: str, directory: str, shown: str, at: int) -> bytes:
    """The modules of DIRECTORY as `packed` says them in PYTHON."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "packed.py")
    return _said(python, script, directory, shown, str(at))


def _said(python: str, *words: str) -> bytes:
    return subprocess.run((python, "-IS") + words, check=True, stdout=subprocess.PIPE).stdout


def _write(path: str, content: bytes, mode: int) -> None:
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.chmod(path + ".new", mode)
    os.replace(path + ".new", path)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
