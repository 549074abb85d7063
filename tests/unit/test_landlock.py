"""Landlock without the kernel: the words of its options, what a version lacks, its numbers."""

import os
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as some
from support import needs

from minictr import abi, landlock, landlock_asked, loader, options
from minictr.errors import ContainerError

HEADER = "/usr/include/linux/landlock.h"


def words(*argv):
    return options.parse(list(argv) + ["--", "true"]).landlock


@pytest.mark.parametrize(
    "argv, expected",
    [
        ([], ()),
        (["--landlock", "rx=/usr,rw=/tmp"], ("rx=/usr", "rw=/tmp")),
        (["--landlock", "ro=/usr", "--landlock", "xwr=/a"], ("r=/usr", "rwx=/a")),
        (["--landlock", "r=/a,b,rx=/c=d,e=/f"], ("r=/a,b", "rx=/c=d,e=/f")),
        (
            ["--landlock-connect", "443,80", "--landlock-connect=0"],
            ("connect=443", "connect=80", "connect=0"),
        ),
        (["--landlock-bind", "none"], ("bind=none",)),
        (["--landlock-bind", "065535"], ("bind=65535",)),
        (["--landlock-scope", "signal,abstract"], ("scope=signal", "scope=abstract")),
        (["--landlock-scope", "signal", "--landlock", "r=/"], ("r=/", "scope=signal")),
    ],
)
def test_the_options_become_words(argv, expected):
    assert words(*argv) == expected


@pytest.mark.parametrize(
    "option, text",
    [
        ("--landlock", "/usr"), ("--landlock", "rx=usr"), ("--landlock", "=/usr"), ("--landlock", "rq=/usr"),
        ("--landlock", "rr=/usr"), ("--landlock", "rx="), ("--landlock", "r=/usr,rx=tmp"),
        ("--landlock", ",r=/usr"),
        ("--landlock-connect", "65536"), ("--landlock-connect", "-1"), ("--landlock-connect", "http"),
        ("--landlock-connect", "80,none"), ("--landlock-bind", "80,"), ("--landlock-bind", "\u0663"),
        ("--landlock-scope", "none"), ("--landlock-scope", "signal,"),
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused_by_name(option, text):
    with pytest.raises(ContainerError) as caught:
        words(option, text)

    assert str(caught.value).startswith(option)


ALL = ("r=/usr", "rw=/tmp", "connect=80", "bind=none", "scope=signal")
TRUNCATE = ("landlock-truncate", "r=/usr rw=/tmp")
PORTS = ("landlock-ports", "connect=80 bind=none")
IOCTL = ("landlock-ioctl", "r=/usr")
SCOPE = ("landlock-scope", "scope=signal")


@pytest.mark.parametrize(
    "version, expected",
    [
        (1, [TRUNCATE, PORTS, IOCTL, SCOPE]), (2, [TRUNCATE, PORTS, IOCTL, SCOPE]),
        (3, [PORTS, IOCTL, SCOPE]), (4, [IOCTL, SCOPE]), (5, [SCOPE]), (6, []), (7, []),
    ],
)  # fmt: skip
def test_what_a_version_lacks_is_told(version, expected):
    records = landlock_asked.lacking(ALL, version)

    assert [(record.code, record.wanted) for record in records] == expected
    assert all(record.lost and record.why and record.level == "warning" for record in records)


@pytest.mark.parametrize("word", ALL)
def test_nothing_is_told_of_what_was_not_asked_for(word):
    kinds = {"r=/usr": [TRUNCATE[0], IOCTL[0]], "rw=/tmp": [TRUNCATE[0]], "scope=signal": [SCOPE[0]]}
    codes = [record.code for record in landlock_asked.lacking((word,), 1)]

    assert codes == kinds.get(word, [PORTS[0]])


@needs("kernel-headers")
def test_the_numbers_are_those_of_the_kernels_header():
    with open(HEADER) as file:
        text = file.read()
    defined = dict(re.findall(r"#define (LANDLOCK_\w+)\s+\((1ULL << \d+|1U << \d+)\)", text))
    own = {name: value for name, value in vars(abi).items() if re.match("LANDLOCK_(ACCESS|SCOPE)_", name)}

    assert len(defined) >= 13  # of version 1
    common = [name for name in defined if name in own]
    assert [own[name] for name in common] == [1 << int(defined[name].split()[-1]) for name in common]
    assert {name for name in defined if "ACCESS" in name} <= set(own)


@pytest.mark.parametrize(
    "version, files, ports",
    [
        (1, 13, 0),
        (2, 14, 0),
        (3, 15, 0),
        (4, 15, 2),
        (5, 16, 2),
        (7, 16, 2),
        (8, 16, 2),
        (9, 17, 2),
        (10, 17, 4),
    ],
)
def test_every_version_handles_all_the_rights_that_it_knows(version, files, ports):
    assert landlock.file_rights(version) == 2**files - 1
    assert landlock.port_rights(version) == 2**ports - 1


def test_writing_makes_no_device_nodes():
    nodes = abi.LANDLOCK_ACCESS_FS_MAKE_CHAR | abi.LANDLOCK_ACCESS_FS_MAKE_BLOCK

    assert landlock.WRITE & nodes == 0
    every = landlock.READ | landlock.WRITE | landlock.EXECUTE | landlock.SOCKETS
    assert every | nodes == landlock.file_rights(landlock.NEWEST)


# --- programs -------------------------------------------------------------------------------------


def elf(word, order, interpreter):
    """The least that names a loader: ELF header, two program headers, a name. elf(5)"""
    wide = word == "Q"
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    start, size = (64, 56) if wide else (52, 32)
    at = start + 2 * size
    header = ident + struct.pack(
        order + "HHI" + word * 3 + "IHHHHHH", 2, 0, 1, 0, start, 0, 0, start, size, 2, 0, 0, 0
    )
    load, name = (1, 0, 10), (3, at, len(interpreter))
    table = b""
    for kind, offset, length in (load, name):
        if wide:
            table += struct.pack(order + "IIQQQQQQ", kind, 0, offset, 0, 0, length, 0, 0)
        else:
            table += struct.pack(order + "IIIIIIII", kind, offset, 0, 0, length, 0, 0, 0)
    return header + table + interpreter + b"\0" * 8


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("word", ["I", "Q"])
def test_the_loader_of_a_program_is_found_for_every_word_and_byte_order(tmp_path, word, order):
    program = tmp_path / "program"
    program.write_bytes(elf(word, order, b"/lib/ld.so\0"))

    assert loader.interpreter(str(program)) == "/lib/ld.so"


@needs("readelf")
def test_the_loader_of_this_python_is_the_one_that_readelf_names(minictr):
    import sys

    program = os.path.realpath(sys.executable)
    said = minictr.command("readelf", "-l", program).ok.out
    named = re.findall(r"program interpreter: (\S+)\]", said)

    assert [loader.interpreter(program)] == (named or [""])


@given(
    data=some.binary(max_size=200),
    cut=some.integers(0, 250),
    flips=some.lists(some.integers(0, 150), max_size=4),
)
def test_no_file_makes_the_search_for_a_loader_fail(tmp_path_factory, data, cut, flips):
    whole = bytearray(elf("Q", "<", b"/lib/ld.so\0"))
    for place in flips:
        whole[place] ^= 0xFF
    path = tmp_path_factory.getbasetemp() / "any-program"
    for content in (data, b"\x7fELF\x02\x01" + data, bytes(whole[:cut]), bytes(whole)):
        path.write_bytes(content)
        assert isinstance(loader.interpreter(str(path)), str)
