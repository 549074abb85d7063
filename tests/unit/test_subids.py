"""Which subordinate ids a user has, by files that may hold anything."""

import os
import re
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import in_child

from minictr import helper, idmaps, subids

SUBUID = """\
# comment:1:2
me:100000:65536
other:200000:65536
1000:300000:10

me:165536:65536
me:400000:0
me:-5:10
me:0100000:65536
me:0x10:10
me:1_0:10
me:500000:65536:more
me:500000
me: 500000:65536
me:500000:65536 \r
me:4294967290:100
me:99999999999:1
:600000:65536
ME:700000:65536
me:\u0663:10
"""


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_ranges_are_found_by_name_and_by_number_in_the_order_of_the_file(tmp_path):
    path = write(tmp_path / "subuid", SUBUID)

    found = subids.ranges("subuid", 1000, ("me",), path=path, getsubids="")

    assert found == ((100000, 65536), (300000, 10), (165536, 65536))


def test_malformed_lines_are_skipped(tmp_path):
    assert subids.ranges("subuid", 7, ("ME",), path=write(tmp_path / "f", SUBUID), getsubids="") == (
        (700000, 65536),
    )


@pytest.mark.parametrize(
    "text, found",
    [
        ("me:10:20\nme:15:20\n", ((10, 20), (15, 20))),
        ("me:10:20", ((10, 20),)),
        ("me:0:1\n", ((0, 1),)),
        ("me:4294967294:1\n", ((4294967294, 1),)),
        ("me:4294967295:1\n", ()),
        ("", ()),
        ("\0\0\0", ()),
        ("me:1:1\0\n", ()),
    ],
    ids=[
        "overlapping",
        "no line end",
        "zero",
        "the last id",
        "the id that is none",
        "empty",
        "zeros",
        "zero byte",
    ],
)
def test_edges_of_the_file(tmp_path, text, found):
    assert subids.ranges("subgid", 5, ("me",), path=write(tmp_path / "f", text), getsubids="") == found


@pytest.mark.parametrize(
    "ranges, lines",
    [
        (((100, 10), (100, 10)), ((1, 100, 10),)),
        (((100, 10), (105, 10)), ((1, 100, 10), (11, 110, 5))),
        (((105, 10), (100, 30)), ((1, 105, 10), (11, 100, 5), (16, 115, 15))),
        (((0, 10),), ((1, 0, 7), (8, 8, 2))),
        (
            ((100, 5), (110, 5), (90, 40)),
            ((1, 100, 5), (6, 110, 5), (11, 90, 10), (21, 105, 5), (26, 115, 15)),
        ),
    ],
    ids=["twice", "overlapping", "within", "the caller among them", "around two"],
)
def test_no_id_is_mapped_twice_whatever_the_file_has(ranges, lines):
    assert idmaps._keep(0, 7, ranges) == ((0, 7, 1),) + lines


def test_a_missing_file_has_no_ranges(tmp_path):
    assert subids.ranges("subuid", 0, ("root",), path=str(tmp_path / "none"), getsubids="") == ()


NUMBERS = st.integers(0, 1 << 33).map(str) | st.sampled_from(
    ["0", "1", "", "-1", "+5", " 7", "7 ", "007", "1_0", "4294967294", "4294967295", "4294967296", "\u0663"]
)
LINES = st.tuples(st.text("me# \0", max_size=2), NUMBERS, NUMBERS).map(":".join)
LINES |= st.text("m:05\n", max_size=9) | st.lists(NUMBERS, max_size=4).map(":".join)


@given(st.lists(st.tuples(LINES, st.sampled_from("\n\n\n\r\t")), max_size=8))
def test_no_file_can_give_ids_that_do_not_exist(lines):
    text = "".join(line + end for line, end in lines)
    form = "([^:]+):(0|[1-9][0-9]{0,9}):([1-9][0-9]{0,9})"
    plain = [re.fullmatch(form, line) for line in text.split("\n")]
    found = [(line.group(1), int(line.group(2)), int(line.group(3))) for line in plain if line]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subids.paths, "read_text", lambda path, limit=0: text)
        assert subids._lines("subuid", "x") == [row for row in found if sum(row[1:]) < 1 << 32]


@given(st.lists(st.tuples(st.integers(0, 1 << 21), st.integers(1, 1 << 20)), max_size=30))
def test_a_free_range_overlaps_no_other(lines):
    text = "".join("u%d:%d:%d\n" % (index, start, count) for index, (start, count) in enumerate(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subids.paths, "read_text", lambda path, limit=0: text if "sub" in path else "")
        start = subids.free_range()
    assert start >= subids.FIRST
    assert all(start + 65536 <= first or first + count <= start for first, count in lines)


def test_a_free_range_is_the_first_without_lines_and_users(monkeypatch):
    files = {
        "/etc/subuid": "a:100000:65536\n",
        "/etc/subgid": "b:165536:65536\n",
        "/etc/passwd": "late:x:231072:100::/:\n",
        "/etc/group": "root:x:0:\nlater:x:231080:\n",
    }
    monkeypatch.setattr(subids.paths, "read_text", lambda path, limit=0: files[path])

    assert subids.free_range() == 231081
    assert subids.free_range(7) == 231073
    assert subids.free_range(taken=((231081, 2),)) == 231083


def test_there_may_be_no_free_range(monkeypatch):
    monkeypatch.setattr(
        subids.paths, "read_text", lambda path, limit=0: "a:0:2147483000\n" if "sub" in path else ""
    )

    with pytest.raises(LookupError, match="no free range of 65536 ids"):
        subids.free_range()


def test_all_names_of_a_user_count(tmp_path):
    path = write(
        tmp_path / "passwd", "me:x:1000:1::/:\nroot:x:0:0::/:\nalso:x:1000:1::/:\nbad:x:1000x:1::/:\n"
    )

    assert subids.user_names(1000, path) == ("me", "also")


def test_a_user_nobody_knows_has_no_name(tmp_path):
    assert subids.user_names(4294967294, write(tmp_path / "passwd", "")) == ()


# --- helpers ----------------------------------------------------------------------------------


def program(path, text="#!/bin/sh\n"):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_the_fixed_directories_come_before_path(tmp_path, monkeypatch):
    program(tmp_path / "sh")
    ours = program(tmp_path / "only-here")
    monkeypatch.setenv("PATH", "relative:%s" % tmp_path)

    assert subids.helper("sh") != str(tmp_path / "sh")
    assert subids.helper("only-here") == ours
    assert subids.helper("nowhere") == ""


def test_what_cannot_be_run_is_no_helper(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "data").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert subids.helper("folder") == subids.helper("data") == ""


def test_a_relative_path_is_not_searched(tmp_path, monkeypatch):
    program(tmp_path / "here")
    monkeypatch.setenv("PATH", ".:")
    monkeypatch.chdir(str(tmp_path))

    assert subids.helper("here") == ""


def test_where_there_is_no_descriptor_for_getsubids_nobody_is_asked(tmp_path):
    path = program(tmp_path / "getsubids", "#!/bin/sh\necho 0: me 500000 65536\n")

    def with_one_left():
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, free + 1))
        return subids.ranges("subuid", 1000, ("me",), path=str(tmp_path / "none"), getsubids=path)

    assert helper.Helper  # it is loaded: that takes descriptors, too
    assert in_child(with_one_left) == "()"


def test_getsubids_may_not_be_executable(tmp_path):
    (tmp_path / "getsubids").write_text("no program")
    path = str(tmp_path / "getsubids")
    assert subids.ranges("subuid", 1000, ("me",), path=str(tmp_path / "none"), getsubids=path) == ()


def test_getsubids_is_asked_where_the_file_has_nothing(tmp_path):
    asked = tmp_path / "asked"
    path = program(
        tmp_path / "getsubids",
        '#!/bin/sh\necho "$@" "$CANARY" >> %s\n' % asked
        + 'echo "0: me 500000 65536"\necho "1: me 7 x"\necho "2: me 600000 10"\n'
        + 'echo "3: me 4294967290 10"\n',
    )
    os.environ["CANARY"] = "leaked"
    try:
        found = subids.ranges("subgid", 1000, ("me",), path=str(tmp_path / "none"), getsubids=path)
    finally:
        del os.environ["CANARY"]

    assert found == ((500000, 65536), (600000, 10))
    assert asked.read_text().split("\n")[0].strip() == "-g me"


def test_getsubids_may_fail(tmp_path):
    path = program(tmp_path / "getsubids", "#!/bin/sh\necho Error fetching ranges >&2\nexit 1\n")

    assert subids.ranges("subuid", 1000, ("me",), path=str(tmp_path / "none"), getsubids=path) == ()


def test_getsubids_is_not_asked_where_the_file_has_a_range(tmp_path):
    path = program(tmp_path / "getsubids", "#!/bin/sh\necho 0: me 1 1\n")
    file = write(tmp_path / "subuid", "me:100000:65536\n")

    assert subids.ranges("subuid", 1000, ("me",), path=file, getsubids=path) == ((100000, 65536),)
