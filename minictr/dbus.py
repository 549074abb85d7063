"""A connection to a D-Bus message bus, or to systemd itself, by a Unix socket.

    client                                  server
      | NUL, AUTH EXTERNAL 31303030 -------> |  the user id, which the kernel vouches for (SO_PEERCRED)
      | <---------------------------- OK ... |
      | BEGIN, and from here on messages --> |
      | Hello (a bus only) ----------------> |
      | <--------------- our name on the bus |
      | a call ----------------------------> |
      | <-- signals - - - return, or error   |

Descriptors are neither asked for nor taken: recv(2) lets the kernel drop them.

Source: dbus.freedesktop.org, "D-Bus Specification" 0.43, "Authentication Protocol", "Message Bus"

Side: host
"""

import _socket  # `socket` takes 8 ms
import os
import sys
import time

from . import abi, dbus_message, idtables
from .dbus_message import Message
from .errors import ContainerError, printable

PATIENCE = 30.0  # seconds for an answer: systemd waits for slices and for other jobs
_LINE = 4096  # bytes of an answer before BEGIN
_BUS = "org.freedesktop.DBus"


class Unreachable(ContainerError):
    """There is no such bus, or it does not answer as it should."""


class Refused(ContainerError):
    """An error came back. name: "org.freedesktop.DBus.Error.AccessDenied" """

    def __init__(self, doing: str, name: str, text: str) -> None:
        super().__init__(doing, printable(text[:500]) or name)
        self.name = name


class Connection:
    """address: "unix:path=/run/dbus/system_bus_socket", as D-Bus writes it

    direct: the other side is systemd itself and no bus: no Hello, no name, no rules for signals
    Raises Unreachable.
    """

    def __init__(self, address: str, direct: bool = False, patience: float = PATIENCE) -> None:
        self.address, self.patience, self.direct = address, patience, direct
        self.serial, self.pending, self.unsent = 0, b"", b""
        self.signals = []  # type: list[Message]
        self.name, self.pid = "", 0
        self.socket = self._connect()
        try:
            self._authenticate(time.monotonic() + patience)
            if not direct:
                hello = self.call("greet the bus", "/org/freedesktop/DBus", _BUS, "Hello", to=_BUS)
                if not hello:
                    raise self._unreachable("it has no name for us")
                self.name = str(hello[0])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.socket.close()

    # --- the socket ---------------------------------------------------------------------------

    def _connect(self):
        number = 0
        for place in places(self.address):
            peer = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            try:
                peer.settimeout(self.patience)
                peer.connect(place)
                self._check_peer(peer)
                return peer
            except OSError as error:
                number = error.errno or abi.EIO
                peer.close()
            except BaseException:
                peer.close()
                raise
        raise self._unreachable("" if number else "it names no Unix socket", number)

    def _check_peer(self, peer) -> None:
        """Who else could listen there is no bus of ours. pid: 0 where it is in no process namespace of
        ours, so that our numbers of processes mean others to it."""
        found = peer.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        self.pid, uid = [int.from_bytes(found[at : at + 4], sys.byteorder) for at in (0, 4)]
        if uid not in (0, os.geteuid()):
            raise self._unreachable("it belongs to user %d" % uid)

    def _send(self, data: bytes) -> None:
        try:
            self.socket.sendall(self.unsent + data)
        except OSError as error:
            raise self._unreachable("", error.errno or abi.EIO) from error
        self.unsent = b""

    def _receive(self, end: float) -> None:
        """Add to what is pending; at least one byte."""
        left = end - time.monotonic()
        try:
            if left <= 0:
                raise OSError
            self.socket.settimeout(left)
            data = self.socket.recv(65536)
        except OSError as error:  # with a timeout it has no number
            why = "" if error.errno else "it does not answer within %g seconds" % self.patience
            raise self._unreachable(why, error.errno or 0) from error
        if not data:
            raise self._unreachable("it closed the connection")
        self.pending += data

    def _unreachable(self, why: str, number: int = 0) -> Unreachable:
        return Unreachable("talk to D-Bus at %s" % printable(self.address), why, number)

    # --- authentication -----------------------------------------------------------------------

    def _authenticate(self, end: float) -> None:
        """As the user that the kernel tells the other side; in a user namespace that may be another than
        we know, and then it is asked to find out by itself.

        systemd must hear BEGIN before it says OK. What comes in together with BEGIN, it reads only when
        more comes (sd-bus as of 252): a message sent right after it may wait for ever.
        """
        uid = str(outer_uid()).encode("ascii")
        words = b"\0AUTH EXTERNAL " + b"".join([b"%02x" % digit for digit in uid]) + b"\r\n"
        self._send(words + (b"BEGIN\r\n" if self.direct else b""))
        word = self._line(end)
        if word == b"REJECTED" and not self.direct:
            self._send(b"AUTH EXTERNAL\r\n")
            word = self._line(end)
            if word == b"DATA":
                self._send(b"DATA\r\n")
                word = self._line(end)
        if word != b"OK":
            raise self._unreachable("it does not let user %s in" % uid.decode("ascii"), abi.EACCES)
        if not self.direct:
            self.unsent = b"BEGIN\r\n"  # together with the first message

    def _line(self, end: float) -> bytes:
        """The first word of a line."""
        while b"\r\n" not in self.pending:
            if len(self.pending) > _LINE:
                raise self._unreachable("a line without an end")
            self._receive(end)
        line, _, self.pending = self.pending.partition(b"\r\n")
        return (line.split() or [b""])[0]

    # --- messages -----------------------------------------------------------------------------

    def call(
        self, doing: str, path: str, interface: str, member: str, signature: str = "",
        values: "tuple" = (), to: str = "",
    ) -> "list":  # fmt: skip
        """Call a method; the values that it returns. Signals that come meanwhile are kept.

        doing: what the error says was done. Raises Refused, and Unreachable.
        """
        return self.values(self.call_for_message(doing, path, interface, member, signature, values, to))

    def call_for_message(
        self, doing: str, path: str, interface: str, member: str, signature: str = "",
        values: "tuple" = (), to: str = "",
    ) -> Message:  # fmt: skip
        """The same; the whole message that came back."""
        self.serial += 1
        message = Message(
            kind=dbus_message.CALL, serial=self.serial, path=path, interface=interface, member=member,
            destination="" if self.direct else to, signature=signature,
            content=dbus_message.pack(signature, values),
        )  # fmt: skip
        self._send(dbus_message.encode(message))
        end = time.monotonic() + self.patience
        while True:
            found = self._next(end)
            if found.kind == dbus_message.SIGNAL:
                self.signals.append(found)
            elif found.reply == self.serial and found.kind == dbus_message.RETURN:
                return found
            elif found.reply == self.serial and found.kind == dbus_message.ERROR:
                raise Refused(doing, found.error, self._text(found))

    def match(self, rule: str) -> None:
        """Have the bus send us signals. Whom we are connected to directly does so unasked."""
        if not self.direct:
            self.call("listen on the bus", "/org/freedesktop/DBus", _BUS, "AddMatch", "s", (rule,), to=_BUS)

    def signal(self, interface: str, member: str, signature: str, sender: str, wanted) -> "list":
        """Wait for a signal from the connection SENDER, whose values WANTED takes; others are dropped.

        sender: a unique name: everybody may send signals that are called so. Raises Unreachable.
        """
        end = time.monotonic() + self.patience
        while True:
            found = self.signals.pop(0) if self.signals else self._next(end)
            if (found.kind, found.interface, found.member) != (dbus_message.SIGNAL, interface, member):
                continue
            if found.signature == signature and (self.direct or found.sender == sender):
                values = self.values(found)
                if wanted(values):
                    return values

    def _next(self, end: float) -> Message:
        try:
            while len(self.pending) < dbus_message.HEAD:
                self._receive(end)
            size = dbus_message.length(self.pending[: dbus_message.HEAD])
            while len(self.pending) < size:
                self._receive(end)
            data, self.pending = self.pending[:size], self.pending[size:]
            return dbus_message.decode(data)
        except ValueError as error:
            raise self._unreachable("it breaks the protocol: %s" % printable(error)) from error

    def values(self, message: Message) -> "list":
        """What MESSAGE holds. Raises Unreachable."""
        try:
            return message.values()
        except ValueError as error:
            raise self._unreachable("it breaks the protocol: %s" % printable(error)) from error

    def _text(self, message: Message) -> str:
        """What an error says in words, which is its first value if that is a text."""
        if not message.signature.startswith("s"):
            return ""
        return str(self.values(message)[0])


# --- addresses ----------------------------------------------------------------------------------------

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"


def candidates(user: bool) -> "list[tuple[str, bool]]":
    """The addresses of the system's bus, or of the user's, and of the service manager itself; whether it
    is the manager itself. In the order to try them."""
    if not user:
        given = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS
        return [(given, False), ("unix:path=/run/systemd/private", True)]
    found = []
    if os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        found.append((os.environ["DBUS_SESSION_BUS_ADDRESS"], False))
    directories = [os.environ.get("XDG_RUNTIME_DIR") or "", "/run/user/%d" % outer_uid()]
    for direct, name in ((False, "/bus"), (True, "/systemd/private")):
        for directory in directories:
            address = ("unix:path=" + _escape(directory + name), direct)
            if directory.startswith("/") and address not in found:
                found.append(address)
    return found


def places(address: str) -> "list[bytes]":
    """The Unix sockets of ADDRESS: paths, and NUL and a name for abstract ones."""
    found = []
    for part in address.split(";"):
        kind, _, rest = part.strip().partition(":")
        pairs = [pair.partition("=") for pair in rest.split(",")]
        values = {name: _unescape(value) for name, _, value in pairs}
        if kind == "unix" and values.get("path"):
            found.append(values["path"])
        elif kind == "unix" and values.get("abstract"):
            found.append(b"\0" + values["abstract"])
    return found


def _escape(path: str) -> str:
    plain = b"-_/.\\*0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return "".join([chr(byte) if byte in plain else "%%%02x" % byte for byte in os.fsencode(path)])


def _unescape(text: str) -> bytes:
    first, *rest = text.split("%")
    found = os.fsencode(first)
    for piece in rest:
        if len(piece) < 2 or piece[:2].strip("0123456789abcdefABCDEF"):
            return b""  # no address, so no socket
        found += bytes([int(piece[:2], 16)]) + os.fsencode(piece[2:])
    return found


def outer_uid() -> int:
    """Our effective user id as the user namespace above ours has it; the same outside of one."""
    uid = os.geteuid()
    for inside, outside, count in idtables.read("uid_map"):
        if inside <= uid < inside + count:
            return outside + uid - inside
    return uid
