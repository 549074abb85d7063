"""Who a user is, by files that may hold anything."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minictr import users
from minictr.errors import ContainerError

PASSWD = b"""\
# comment:x:0:0::/:
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin

me:x:1000:1001:Me,,,:/home/me:/bin/sh
me:x:0:0:a second one:/root:/bin/sh
12:x:0:0:a name of digits:/root:/bin/sh
crlf:x:7:7::/home/crlf:/bin/sh\r
short:x:8:8
nohome:x:9:9:::
relative:x:10:10::home:
"""
BROKEN = b"""\
overflow:x:4294967296:0::/:
minus:x:-1:0::/:
nobody:x:4294967295:0::/:
text:x:zero:0::/:
empty:x::0::/:
group:x:3:4294967295::/:
plus:x:+3:3::/:
arabic:x:\xd9\xa3:3::/:
underscore:x:1_0:3::/:
hex:x:0x0:3::/:
huge:x:00000000000000000000000:3::/:
nul\0:x:3:3::/:
few:x:3
:x:0:0:no name:/:
+:x:0:0:NIS:/:
-bad:x:0:0:NIS:/:
"""
GROUP = b"""\
root:x:0:
wheel:x:10:root,me
video:x:44:me
empty:x:45:
video:x:0:a second one
13:x:0:
toolarge:x:4294967295:me
"""


def resolve(user, groups=()):
    return users.resolve(PASSWD, GROUP, user, groups)


@pytest.mark.parametrize(
    "user, uid, gid, groups, home",
    [
        ("", 0, 0, (0, 10), "/root"),
        ("root", 0, 0, (0, 10), "/root"),
        ("0", 0, 0, (0, 10), "/root"),
        ("me", 1000, 1001, (1001, 10, 44), "/home/me"),
        ("1000", 1000, 1001, (1001, 10, 44), "/home/me"),
        ("001000", 1000, 1001, (1001, 10, 44), "/home/me"),
        ("me:video", 1000, 44, (44,), "/home/me"),
        ("me:5000", 1000, 5000, (5000,), "/home/me"),
        ("me:", 1000, 1001, (1001, 10, 44), "/home/me"),
        ("5000", 5000, 0, (0,), "/"),
        ("5000:5000", 5000, 5000, (5000,), "/"),
        ("4294967294", 4294967294, 0, (0,), "/"),
        ("12", 12, 0, (0,), "/"),
        ("me:13", 1000, 13, (13,), "/home/me"),
        ("crlf", 7, 7, (7,), "/home/crlf"),
        ("short", 8, 8, (8,), "/"),
        ("nohome", 9, 9, (9,), "/"),
        ("relative", 10, 10, (10,), "/"),
    ],
)
def test_a_user_is_found_by_name_and_by_number(user, uid, gid, groups, home):
    found = resolve(user)
    assert (found.uid, found.gid, found.groups, found.home) == (uid, gid, groups, home)


@pytest.mark.parametrize(
    "user, why",
    [
        ("nobody-knows", "no entry in etc/passwd of the container"),
        ("me:nobody-knows", "no entry in etc/group of the container"),
        ("4294967295", "ids are 0 to 4294967294"),
        ("4294967296", "ids are 0 to 4294967294"),
        ("9" * 5000, "ids are 0 to 4294967294"),
        ("me:4294967295", "ids are 0 to 4294967294"),
        ("-1", "ids are 0 to 4294967294"),
        ("+0", "ids are 0 to 4294967294"),
        ("0x0", "no entry"),
        (" 0", "no entry"),
        ("\u0663", "no entry"),
        ("1_0", "no entry"),
        (":video", "is not of the form USER[:GROUP]; hint: for root write 0:video"),
        (":", "is not of the form USER[:GROUP]; hint: for root write 0:GROUP"),
        ("me:video:more", "no entry"),
    ],
)
def test_what_is_no_user_is_an_error_and_never_root(user, why):
    """CVE-2016-3697, CVE-2024-40635."""
    with pytest.raises(ContainerError) as caught:
        resolve(user)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", BROKEN.split(b"\n")[:-1], ids=repr)
def test_a_malformed_line_is_as_good_as_none(line):
    name = os.fsdecode(line.split(b":")[0])
    assert list(users._users(line)) == []
    if name and name[0] not in "+-":
        with pytest.raises(ContainerError):
            users.resolve(line + b"\n", b"", name)


def test_more_groups_come_after_those_of_the_file_and_each_is_there_once():
    assert resolve("me", ("empty", "44", "999")).groups == (1001, 10, 44, 45, 999)


@pytest.mark.parametrize("group", ["unknown", "4294967295", "-1", ""])
def test_an_unknown_additional_group_is_an_error(group):
    with pytest.raises(ContainerError, match="^group"):
        resolve("me", (group,))


def test_a_container_without_files_still_has_numbers():
    found = users.resolve(b"", b"", "5:6", ("7",))
    assert found == users.User(uid=5, gid=6, groups=(6, 7), home="/", name="")
    with pytest.raises(ContainerError) as caught:
        users.resolve(b"", b"", "me")
    assert str(caught.value) == "user me: the container has no etc/passwd; hint: give a number"


def test_a_name_that_is_not_utf8_is_found():
    assert users.resolve(b"m\xff:x:5:6::/:\n", b"", os.fsdecode(b"m\xff")).uid == 5


IDS = st.integers(0, users.MAX_ID)
BYTES = st.binary(max_size=200) | st.lists(
    st.sampled_from([b"root", b"me", b"x", b"0", b"5", b"4294967296", b"-1", b":", b"\n", b",", b"/", b"\0"])
).map(b"".join)
WORDS = st.text(max_size=20) | st.sampled_from(["root", "me", "0", "-1", "me:0", "5:me", "00", "4294967296"])


@given(BYTES, BYTES, WORDS, st.lists(WORDS, max_size=3).map(tuple))
def test_whatever_the_files_and_names_are_ids_are_in_range_or_there_is_one_error(passwd, group, user, groups):
    try:
        found = users.resolve(passwd, group, user, groups)
    except ContainerError as error:
        assert "\n" not in str(error)
        return
    for number in (found.uid, found.gid) + found.groups:
        assert 0 <= number <= users.MAX_ID
    assert found.home.startswith("/") and "\0" not in found.home
    assert found.gid == found.groups[0]


@given(BYTES, BYTES, IDS, IDS)
def test_digits_are_that_number_whatever_the_files_say(passwd, group, uid, gid):
    found = users.resolve(passwd, group, "%d:%d" % (uid, gid))
    assert (found.uid, found.gid, found.groups) == (uid, gid, (gid,))


class TestLookup:
    """Under a directory, as a container has it."""

    @pytest.fixture
    def root(self, tmp_path):
        (tmp_path / "etc").mkdir()
        descriptor = os.open(str(tmp_path), os.O_PATH | os.O_DIRECTORY)
        yield descriptor, tmp_path / "etc"
        os.close(descriptor)

    def test_the_files_are_the_containers_own(self, root):
        descriptor, etc = root
        (etc / "passwd").write_bytes(b"me:x:77:78::/home/me:\n")
        (etc / "group").write_bytes(b"more:x:79:me\n")
        assert users.lookup(descriptor, "me").groups == (78, 79)
        assert users.home(descriptor, 77) == "/home/me"
        assert users.home(descriptor, 5) == "/"

    def test_no_files_are_empty_files(self, root):
        descriptor, etc = root
        assert users.lookup(descriptor, "5").uid == 5
        etc.rmdir()
        etc.write_bytes(b"")
        assert users.lookup(descriptor, "5").uid == 5

    def test_a_link_stays_below_the_root(self, root):
        descriptor, etc = root
        (etc / "passwd").symlink_to("/etc/../../../../other")
        (etc.parent / "other").write_bytes(b"me:x:77:78::/:\n")
        assert users.lookup(descriptor, "me").uid == 77

    def test_a_link_to_a_file_of_the_host_leads_nowhere(self, root):
        descriptor, etc = root
        (etc / "passwd").symlink_to("/proc/self/environ")
        assert users.lookup(descriptor, "5").name == ""

    @pytest.mark.parametrize("name", ["passwd", "group"])
    def test_a_fifo_does_not_block(self, root, name):
        descriptor, etc = root
        os.mkfifo(str(etc / name))
        with pytest.raises(ContainerError, match="read etc/%s of the container: not a regular file" % name):
            users.lookup(descriptor, "5")

    def test_a_link_to_itself_is_an_error(self, root):
        descriptor, etc = root
        (etc / "passwd").symlink_to("passwd")
        with pytest.raises(ContainerError, match="read etc/passwd of the container"):
            users.lookup(descriptor, "5")

    def test_an_endless_file_is_an_error(self, root):
        descriptor, etc = root
        with open(str(etc / "passwd"), "wb") as file:
            file.truncate(1 << 30)
        with pytest.raises(ContainerError, match="longer than"):
            users.lookup(descriptor, "5")
