"""`unix` has what `os` has: the same things, and what it does itself gives the same."""

import os
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import CHECKOUT

from minictr import unix

paths = st.lists(st.sampled_from(["/", "//", ".", "..", "a", "b c", "\udcff", "é", ""]), max_size=9).map(
    "".join
)


@given(paths)
@pytest.mark.parametrize("name", ["split", "dirname", "basename", "normpath", "abspath", "realpath"])
def test_a_path_is_taken_apart_as_os_does_it(name, path):
    assert getattr(unix.path, name)(path) == getattr(os.path, name)(path)


@given(st.lists(paths, min_size=1, max_size=4))
def test_paths_are_joined_as_os_does_it(parts):
    assert unix.path.join(*parts) == os.path.join(*parts)


@pytest.mark.parametrize("name", ["exists", "isdir", "isfile"])
@pytest.mark.parametrize(
    "path", ["/", "/etc/passwd", "/dev/null", "/nowhere", "", "a\0b", "/proc/self/fd/999", 0, 999]
)
def test_what_a_path_leads_to_is_told_as_os_does_it(name, path):
    try:
        expected = getattr(os.path, name)(path)
    except ValueError:  # before 3.8
        expected = False
    assert getattr(unix.path, name)(path) == expected


def test_a_link_to_nowhere_does_not_exist(tmp_path):
    os.symlink("nowhere", str(tmp_path / "link"))
    assert not unix.path.exists(str(tmp_path / "link"))


@given(st.text() | st.binary())
def test_names_are_encoded_and_decoded_as_os_does_it(name):
    for function in ("fsencode", "fsdecode"):
        try:
            expected = getattr(os, function)(name)
        except UnicodeError as error:
            with pytest.raises(type(error)):
                getattr(unix, function)(name)
        else:
            assert getattr(unix, function)(name) == expected


@pytest.mark.parametrize("below", ["a", "a/b/c", "a/b/"])
def test_directories_are_made_with_those_above(tmp_path, below):
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    if sys.version_info >= (3, 7):
        os.makedirs(one + "/" + below, 0o700)
    else:  # which gave the mode to those above, too
        os.makedirs(os.path.dirname((one + "/" + below).rstrip("/")))
        os.mkdir(one + "/" + below, 0o700)
    unix.makedirs(other + "/" + below, 0o700)
    modes = [[os.stat(os.path.join(top, name)).st_mode for name in ("", "a", below)] for top in (one, other)]
    assert modes[0] == modes[1]
    with pytest.raises(FileExistsError):
        unix.makedirs(other + "/" + below)
    unix.makedirs(other + "/" + below, exist_ok=True)


def test_those_above_are_nobody_elses_to_write_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        unix.makedirs(str(tmp_path / "a" / "b" / "c"), 0o700)
    finally:
        os.umask(before)
    assert [os.stat(str(tmp_path / name)).st_mode & 0o777 for name in ("a", "a/b")] == [0o755, 0o755]


def test_the_environment_is_what_the_program_around_us_has_made_of_it(monkeypatch):
    monkeypatch.setenv("MINICTR_TEST", "\udcff")
    assert unix.getenv("MINICTR_TEST") == unix.environment()["MINICTR_TEST"] == "\udcff"
    monkeypatch.delenv("MINICTR_TEST")
    assert unix.getenv("MINICTR_TEST") == "" and "MINICTR_TEST" not in unix.environment()


def test_all_that_is_used_of_it_is_there():
    used = set()
    for name in os.listdir(CHECKOUT + "/minictr"):
        if name.endswith(".py"):
            with open(CHECKOUT + "/minictr/" + name, encoding="utf-8") as file:
                text = file.read()
            if "from . import unix as os" in text:
                used |= set(re.findall(r"\bos\.((?:path\.)?\w+)", text))
    assert {"open", "path.join"} <= used
    for name in used:
        found = unix
        for part in name.split("."):
            found = getattr(found, part)
