"""Messages between the runtime and the container's first process: what is none is an error, in one line."""

import os
import types

import pytest

from minictr import clone, init, libc, program, sync, twin
from minictr.errors import ContainerError, Degradation


@pytest.fixture
def said():
    """A channel in which something has been said, and nothing more will be: said(bytes)."""
    opened = []

    def say(data):
        reader, writer = os.pipe()
        opened.append(reader)
        if os.fork() == 0:
            os.close(reader)
            try:
                while data:
                    data = data[os.write(writer, data) :]
            finally:
                os._exit(0)
        os.close(writer)
        return sync.Channel(reader, reader)

    yield say
    for descriptor in opened:
        os.close(descriptor)
        os.wait()


def error(doing="do", why="why", number="1", hint="", status="125", cause=""):
    return "\t".join(("error", doing, why, number, hint, status, cause)).encode() + b"\n"


def warning(number):
    record = Degradation("code", "layer", "wanted", "got", "lost")
    words = [str(getattr(record, name)) for name in Degradation.__slots__]
    words[Degradation.__slots__.index("errno")] = number
    return b"warning\t" + "\t".join(words).encode() + b"\n"


WRONG = [
    b"errno\n", b"errno\t\n", b"errno\tXY\n", b"label\n", b"error\n", b"error\tone\n", error(number="x"),
    error(number="-1"), error(why="", number="9" * 40), error(status="0"), error(status="256"),
    error(status=""), error(number="1", cause="a\tfield more"), b"x" * (sync.MAX_MESSAGE + 1),
    error(number="\x1b[2J"),
]  # fmt: skip


@pytest.mark.parametrize("data", WRONG, ids=range(len(WRONG)))
def test_what_is_no_message_is_no_end_of_the_start(said, data):
    with pytest.raises(
        ContainerError, match="listen to the other process: it said what is no message"
    ) as found:
        program.until_running(said(data), "true")
    assert found.value.status == 125 and len(str(found.value)) < 1000 and str(found.value).isprintable()


BIRTH = [
    b"warning\n", warning("x"), warning("-1"), warning("5000"), b"warning" + b"\tx" * 20 + b"\n",
    b"console\n", b"listener\n", b"ready\n", b"ready\t1\t2\n", b"error\n", b"\xff\xfe" * sync.MAX_MESSAGE,
]  # fmt: skip


@pytest.mark.parametrize("data", BIRTH, ids=range(len(BIRTH)))
def test_what_is_no_message_ends_the_making(said, data):
    birth = object.__new__(clone.Birth)
    birth.channel, birth.lost, birth.seen = said(data), {}, print
    with pytest.raises(ContainerError, match="listen to the other process: it said what is no message"):
        birth.until("ready", 1)


@pytest.mark.parametrize("number", [b"x", b"-1", b"9" * 40])
def test_what_is_no_number_of_an_error_ends_the_report(said, number):
    birth = object.__new__(clone.Birth)
    birth.channel = said(b"root\tpivot_root\nattempt\tlayer\tname\trefused\t" + number + b"\twords\n")
    with pytest.raises(ContainerError, match="listen to the other process: it said what is no message"):
        twin._listen(birth, None, None)


def test_an_error_of_the_peer_is_raised_where_something_else_is_waited_for(said):
    with pytest.raises(ContainerError, match="^do: why$"):
        said(error()).expect("taken")


def test_a_message_may_be_as_long_as_a_filter(said):
    line = b"filter\t0\tFalse\t" + b"06" * 8 * 4096 + b"\n"
    assert len(said(line * 3).hear()[3]) == 65536


def test_messages_that_come_at_once_may_be_longer_together(said):
    channel = said(b"warning\t%s\n" % (b"x" * 60000) * 40)
    for _ in range(40):
        assert len(channel.hear()[1]) == 60000
    assert channel.hear() is None


def test_who_sends_descriptors_without_end_is_not_listened_to():
    ours, theirs = libc.socketpair()
    channel, peer = sync.Channel(ours, carries=True), sync.Channel(theirs)
    for _ in range(3):
        peer.say("none", fds=(0,) * 100)
    try:
        with pytest.raises(ContainerError, match="it said what is no message: 300 descriptors"):
            while channel.hear():
                pass
    finally:
        for descriptor in channel.received + [ours, theirs]:
            os.close(descriptor)


def test_nothing_is_imported_in_a_process_of_the_container(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("import os\nos.mkdir(%r)\n" % str(tmp_path / "ran"))
    monkeypatch.syspath_prepend(str(tmp_path))
    ours, theirs = [sync.Channel(end) for end in libc.socketpair()]
    child = os.fork()
    if child == 0:
        try:
            ours.close()
            plan = types.SimpleNamespace(maps=None, namespaces=())
            stages = [init.import_no_more, lambda me: __import__("planted")]
            init.main(plan, theirs, init.Handed(), {}, stages)
        finally:
            os._exit(2)
    theirs.close()
    try:
        assert ours.hear()[:3] == [
            "error", "set up the container",
            "load the Python library: planted was not loaded before the container was entered",
        ]  # fmt: skip
    finally:
        ours.close()
        assert os.waitpid(child, 0)[1] == 1 << 8
    assert not (tmp_path / "ran").exists()
