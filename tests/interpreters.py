"""The interpreter that minictr runs by, as what an attack is after: a loader that is given it, and what must
stay as it is."""

import hashlib
import os
import re
import struct
import subprocess

import pytest
import support


def state_of(path):
    """What changes if the file PATH is written to, exchanged, or given another mode."""
    found = os.stat(path)
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest(), found.st_mode, found.st_ino, found.st_ctime_ns


def executable(path, content):
    """A file that can be executed: CONTENT, text or bytes."""
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    os.chmod(path, 0o755)


def assembled(code):
    """CODE, of x86_64 in the syntax of Intel, as a program: position-independent, one segment (elf(5))."""
    place = support.SESSION.place("loader")
    with open(place + "/code.s", "w") as file:
        file.write(code)
    words = ["-msyntax=intel", "-mnaked-reg", "-o", place + "/code.o", place + "/code.s"]
    subprocess.run(["x86_64-linux-gnu-as"] + words, check=True)
    binary = ["-O", "binary", "-j", ".text", place + "/code.o", place + "/code"]
    subprocess.run(["x86_64-linux-gnu-objcopy"] + binary, check=True)
    with open(place + "/code", "rb") as file:
        made = file.read()
    size = 120 + len(made)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 0x1000) + made


def load_by(root, python, code):
    """Have ROOT load the dynamic program PYTHON by CODE: where that looks for its loader in a container."""
    shown = subprocess.run(["readelf", "--program-headers", python], stdout=subprocess.PIPE, check=True)
    found = re.search(r"interpreter: (/[^]]+)]", shown.stdout.decode())
    if found is None:
        pytest.skip("this interpreter is static")
    os.makedirs(root + os.path.dirname(found.group(1)), exist_ok=True)
    executable(root + found.group(1), assembled(code))
