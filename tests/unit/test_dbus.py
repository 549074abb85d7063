"""Messages of D-Bus: their bytes by the rules of the specification, and what is refused."""

import os
import socket
import subprocess
import threading

import pytest
import support
from hypothesis import given
from hypothesis import strategies as st
from support import needs

from minictr import dbus, dbus_message
from minictr.dbus_message import Message

# "Type System", "Marshaling": little-endian bytes of values, with each alignment that there is
BYTES = [
    ("y", (5,), b"\x05"),
    ("yu", (5, 6), b"\x05\0\0\0\x06\0\0\0"),
    ("yt", (1, 2), b"\x01" + b"\0" * 7 + b"\x02" + b"\0" * 7),
    ("n", (-2,), b"\xfe\xff"),
    ("yq", (1, 513), b"\x01\0\x01\x02"),
    ("x", (-1,), b"\xff" * 8),
    ("b", (True,), b"\x01\0\0\0"),
    ("s", ("foo",), b"\x03\0\0\0foo\0"),
    ("ys", (1, ""), b"\x01\0\0\0\0\0\0\0\0"),
    ("o", ("/a",), b"\x02\0\0\0/a\0"),
    ("g", ("a{sv}",), b"\x05a{sv}\0"),
    ("ay", (b"ab",), b"\x02\0\0\0ab"),
    ("at", ([5],), b"\x08\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0"),  # the padding is not counted
    ("at", ([],), b"\0\0\0\0\0\0\0\0"),  # and is there without an element, too
    ("(yu)", ((1, 2),), b"\x01\0\0\0\x02\0\0\0"),
    ("y(y)", (1, (2,)), b"\x01" + b"\0" * 7 + b"\x02"),
    ("v", (("u", 7),), b"\x01u\0\0\x07\0\0\0"),
    ("a{yv}", ([(1, ("y", 2))],), b"\x05\0\0\0\0\0\0\0\x01\x01y\0\x02"),
    ("a(sv)", ([("a", ("b", False))],), b"\x10" + bytes(7) + b"\x01\0\0\0a\0\x01b" + bytes(8)),
]  # fmt: skip


@pytest.mark.parametrize("signature, values, data", BYTES)
def test_values_have_the_bytes_of_the_specification(signature, values, data):
    assert dbus_message.pack(signature, values) == data
    assert dbus_message.unpack(signature, data) == list(values)


@pytest.mark.parametrize(
    "signature, values",
    [
        ("y", (256,)), ("u", (-1,)), ("n", (40000,)), ("b", (2,)), ("s", ("a\0b",)), ("s", ("\udc80",)),
        ("o", ("a",)), ("o", ("/a/",)), ("o", ("/a//b",)), ("o", ("",)), ("g", ("a",)), ("v", (("uu", 1),)),
        ("u", (1, 2)), ("(yy)", ((1,),)), ("z", (1,)), ("a", ([],)), ("()", ((),)), ("{sv}", (("a", 1),)),
        ("a{vs}", ([],)), ("a{s}", ([],)), ("a{sss}", ([],)), ("y" * 256, (1,) * 256),
        ("a" * 40 + "y", ([],)),
    ],
)  # fmt: skip
def test_what_has_no_form_is_not_sent(signature, values):
    with pytest.raises(ValueError):
        dbus_message.pack(signature, values)


@pytest.mark.parametrize(
    "signature, data, why",
    [
        ("u", b"\x01\0\0", "ends in the middle"),
        ("u", b"\x01\0\0\0\0", "1 bytes after"),
        ("yu", b"\x01\x01\0\0\x02\0\0\0", "padding that is not zero"),
        ("b", b"\x02\0\0\0", "a truth value of 2"),
        ("s", b"\x03\0\0\0foo\x01", "its only NUL"),
        ("s", b"\x03\0\0\0f\0o\0", "its only NUL"),
        ("s", b"\x01\0\0\0\xff\0", "can't decode"),
        ("s", b"\xff\xff\xff\xfffoo\0", "ends in the middle"),
        ("o", b"\x01\0\0\0a\0", "no object path"),
        ("g", b"\x01a\0", "no type"),
        ("at", b"\x09\0\0\0\0\0\0\0" + bytes(9), "ends in the middle"),
        ("au", b"\xff\xff\xff\x7f" + bytes(8), "longer than the message"),
        ("au", b"\x06\0\0\0" + bytes(8), "ends in the middle of a value"),
        ("ay", b"\x05\0\0\0" + bytes(4), "ends in the middle"),
        ("v", b"\x02uu\0\0\0\0\0", "a variant of"),
        ("v", b"\x01v\0" * 40, "deeper than"),
    ],
)
def test_what_is_no_message_is_not_believed(signature, data, why):
    with pytest.raises(ValueError) as caught:
        dbus_message.unpack(signature, data)
    assert why in str(caught.value)


CALL = Message(
    kind=dbus_message.CALL, serial=7, path="/org/freedesktop/DBus", interface="org.freedesktop.DBus",
    member="Hello", destination="org.freedesktop.DBus",
)  # fmt: skip


def test_a_call_has_the_bytes_that_libdbus_sends():
    """Its fields may come in any order; this is that of libdbus, by strace of dbus-send, sorted by code."""
    assert dbus_message.encode(CALL) == (
        b"l\1\0\1\0\0\0\0\7\0\0\0\x6d\0\0\0"
        b"\1\1o\0\x15\0\0\0/org/freedesktop/DBus\0\0\0"
        b"\2\1s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0"
        b"\3\1s\0\5\0\0\0Hello\0\0\0"
        b"\6\1s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0"
    )


def test_a_message_comes_back_as_it_was():
    body = dbus_message.pack("uoss", (30, "/job/30", "x.scope", "done"))
    message = CALL.replace(signature="uoss", content=body)
    found = dbus_message.decode(dbus_message.encode(message))
    assert found == message
    assert found.values() == [30, "/job/30", "x.scope", "done"]


def test_a_peer_may_write_the_other_byte_order():
    data = b"B\2\0\1\0\0\0\4\0\0\0\7\0\0\0\x0f\5\1u\0\0\0\0\1\x08\1g\0\1u\0" + b"\0" + b"\0\0\0\x2a"
    assert dbus_message.decode(data).values() == [42]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"x" + data[1:],
        lambda data: data[:3] + b"\2" + data[4:],  # version
        lambda data: data[:8] + bytes(4) + data[12:],  # serial number 0
        lambda data: data[:1] + b"\0" + data[2:],  # no type
        lambda data: data[:1] + b"\2" + data[2:],  # an answer to nothing
        lambda data: data.replace(b"\1\1o", b"\1\1s"),  # a path that is no path
        lambda data: data[:4] + b"\xff\xff\xff\x7f" + data[8:],
        lambda data: data[:12] + b"\xff\xff\xff\x7f" + data[16:],
        lambda data: b"",
    ],
)
def test_a_broken_header_is_refused(change):
    with pytest.raises(ValueError):
        dbus_message.decode(change(dbus_message.encode(CALL)))


@given(st.binary(max_size=200), st.sampled_from([1, 2, 3, 4]), st.binary(max_size=64))
def test_no_bytes_make_anything_else_than_a_refusal(fields, kind, body):
    head = b"l" + bytes([kind, 0, 1]) + len(body).to_bytes(4, "little") + b"\1\0\0\0"
    data = head + len(fields).to_bytes(4, "little") + fields + bytes(-len(fields) % 8) + body
    try:
        dbus_message.decode(data).values()
    except ValueError:
        pass


@given(st.binary(max_size=100), st.sampled_from(["a{sv}", "a(sv)", "v", "aas", "(ybnqiuxtsog)ay"]))
def test_no_body_makes_anything_else_than_a_refusal(data, signature):
    try:
        again = dbus_message.pack(signature, dbus_message.unpack(signature, data))
    except ValueError:
        return
    assert again == data


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address, found",
    [
        ("unix:path=/run/bus", [b"/run/bus"]),
        ("unix:path=/run/bus,guid=12", [b"/run/bus"]),
        ("unix:abstract=/tmp/x", [b"\0/tmp/x"]),
        ("unix:path=/a%20b%3b", [b"/a b;"]),
        ("unix:path=/a;unix:path=/b", [b"/a", b"/b"]),
        ("tcp:host=localhost,port=1;unix:path=/b", [b"/b"]),
        ("unix:path=/a%2", []), ("unix:path=/a%zz", []), ("unix:tmpdir=/tmp", []), ("", []), (";;:,=", []),
    ],
)  # fmt: skip
def test_addresses_are_read(address, found):
    assert dbus.places(address) == found


def test_a_users_bus_is_looked_for_in_order(monkeypatch):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/given")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/my run")
    user = "/run/user/%d" % os.getuid()
    assert dbus.candidates(True) == [
        ("unix:path=/given", False), ("unix:path=/my%20run/bus", False), ("unix:path=%s/bus" % user, False),
        ("unix:path=/my%20run/systemd/private", True), ("unix:path=%s/systemd/private" % user, True),
    ]  # fmt: skip
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    monkeypatch.setenv("XDG_RUNTIME_DIR", user)
    assert dbus.candidates(True)[0] == ("unix:path=%s/bus" % user, False)


# --- peers that are no bus ------------------------------------------------------------------------


class Peer:
    """A socket that says what it was given, piece by piece, each after it has heard something."""

    def __init__(self, path, *pieces):
        self.heard, self.pieces = b"", pieces
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(1)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        connection = self.socket.accept()[0]
        with connection:
            for piece in self.pieces:
                heard = connection.recv(65536)
                self.heard += heard
                if piece is None:
                    connection.settimeout(10)
                    while heard:
                        heard = connection.recv(65536)
                elif heard:
                    connection.sendall(piece)
        self.socket.close()


OK = b"OK 0123456789abcdef0123456789abcdef\r\n"


@pytest.mark.parametrize(
    "pieces, why",
    [
        ((b"",), "closed the connection"),
        ((b"REJECTED EXTERNAL\r\n", b"REJECTED\r\n"), "does not let user"),
        ((b"REJECTED EXTERNAL\r\n", b"DATA\r\n", b"ERROR\r\n"), "does not let user"),
        ((b"x" * 5000,), "a line without an end"),
        ((None,), "does not answer within 0.3 seconds"),
        ((OK, None), "does not answer within 0.3 seconds"),
        ((OK, b"HTTP/1.1 400 Bad Request\r\n\r\n"), "it is no message"),
        ((OK, b"l\2\0\1\0\0\0\x7f\1\0\0\0\0\0\0\0"), "a message of"),
        ((OK, b"l\2\0\1\0\0\0\0\1\0\0\0\0\0\0\0"), "a header without reply"),
    ],
)
def test_a_peer_that_is_no_bus_is_told_in_a_line(tmp_path, pieces, why):
    path = str(tmp_path / "bus")
    peer = Peer(path, *pieces)
    with pytest.raises(dbus.Unreachable) as caught:
        dbus.Connection("unix:path=" + path, patience=0.3)
    peer.thread.join()
    assert str(caught.value).startswith("talk to D-Bus at unix:path=%s: " % path)
    assert why in str(caught.value) and "\n" not in str(caught.value)


def test_it_may_be_asked_to_find_out_who_we_are(tmp_path):
    """As it must in a user namespace, where our number is another one."""
    hello = dbus_message.encode(
        Message(kind=2, serial=1, reply=1, signature="s", content=dbus_message.pack("s", (":1.7",)))
    )
    path = str(tmp_path / "bus")
    peer = Peer(path, b"REJECTED EXTERNAL\r\n", b"DATA\r\n", OK, hello)
    bus = dbus.Connection("unix:path=" + path, patience=5)
    assert bus.name == ":1.7"
    bus.close()
    peer.thread.join()
    uid = "".join("%02x" % ord(digit) for digit in str(os.getuid()))
    assert peer.heard.startswith(b"\0AUTH EXTERNAL %s\r\nAUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n" % uid.encode())


@pytest.mark.parametrize(
    "address, why", [("unix:path=/nowhere", "No such file"), ("tcp:host=a", "no Unix socket")]
)
def test_a_bus_that_is_not_there_is_told(address, why):
    with pytest.raises(dbus.Unreachable) as caught:
        dbus.Connection(address)
    assert why in str(caught.value)


# --- a real bus -----------------------------------------------------------------------------------

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path=%s</listen><auth>EXTERNAL</auth><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>
"""


@pytest.fixture
def bus(tmp_path):
    """The address of Debian's dbus-daemon, which has read no configuration of the host's."""
    support.require("dbus-daemon", "dbus-send")
    config, path = tmp_path / "bus.conf", tmp_path / "bus"
    config.write_text(CONFIG % path)
    daemon = subprocess.Popen(
        ["dbus-daemon", "--config-file=%s" % config, "--nofork", "--print-address"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield daemon.stdout.readline().decode().strip()
    finally:
        daemon.terminate()
        daemon.wait()
        daemon.stdout.close()


def send(bus, *words):
    done = subprocess.run(
        ["dbus-send", "--bus=" + bus] + list(words),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    return done.stdout.decode()


NAME, PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"


@needs("dbus-daemon", "dbus-send")
class TestARealBus:
    def test_it_lets_us_in_and_answers(self, bus):
        connection = dbus.Connection(bus)
        names = connection.call("list names", PATH, NAME, "ListNames", to=NAME)[0]
        assert connection.name in names and NAME in names
        assert connection.pid > 0
        listed = send(bus, "--print-reply", "--dest=" + NAME, PATH, NAME + ".ListNames")
        assert 'string "%s"' % connection.name in listed
        connection.close()

    def test_its_errors_are_told_with_what_was_done(self, bus):
        connection = dbus.Connection(bus)
        with pytest.raises(dbus.Refused) as caught:
            connection.call("start it", "/", "a.b", "C", "s", ("x",), to="org.freedesktop.systemd1")
        assert caught.value.name == "org.freedesktop.DBus.Error.ServiceUnknown"
        assert str(caught.value).startswith("start it: The name org.freedesktop.systemd1 was not provided")
        # and the connection is as good as before
        assert connection.call("ask", PATH, NAME, "NameHasOwner", "s", (NAME,), to=NAME) == [True]
        connection.close()

    def test_a_signal_counts_only_from_whom_it_is_expected(self, bus):
        connection = dbus.Connection(bus, patience=0.5)
        connection.match("type='signal',member='JobRemoved'")
        words = ["/a", "a.b.JobRemoved", "uint32:3", "objpath:/job/3", "string:x.scope", "string:done"]
        send(bus, "--type=signal", *words)
        with pytest.raises(dbus.Unreachable):
            connection.signal("a.b", "JobRemoved", "uoss", ":1.999", lambda said: True)
        send(bus, "--type=signal", *words)
        sender = _sender_of_next_signal(connection)
        assert sender.startswith(":1.")
        connection.close()

    def test_signals_that_come_before_the_answer_are_kept(self, bus):
        connection = dbus.Connection(bus, patience=5)
        connection.match("type='signal',member='JobRemoved'")
        send(
            bus,
            "--type=signal",
            "/a",
            "a.b.JobRemoved",
            "uint32:3",
            "objpath:/job/3",
            "string:x",
            "string:done",
        )
        connection.call("ask", PATH, NAME, "ListNames", to=NAME)
        kept = [signal for signal in connection.signals if signal.member == "JobRemoved"]
        found = connection.signal(
            "a.b", "JobRemoved", "uoss", kept[0].sender, lambda said: said[1] == "/job/3"
        )
        assert found == [3, "/job/3", "x", "done"]
        connection.close()


def _sender_of_next_signal(connection):
    return connection._next(support.time.monotonic() + 5).sender
