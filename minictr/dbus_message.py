"""Messages of D-Bus as bytes: what is sent is right, and what is received is believed in nothing.

A value is a Python one for its type: y n q i u x t int, b bool, s o g str, ay bytes, other arrays a list,
structs and dict entries a tuple, a variant the pair (signature, value).

Source: dbus.freedesktop.org, "D-Bus Specification" 0.43, "Type System" and "Message Protocol"

Side: host
"""

from .record import Record

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
LIMIT = 1 << 20  # bytes of a message that we take; the protocol has 2^27
DEPTH = 16  # of containers in each other; the protocol has 64

_SIZES = {"y": 1, "n": 2, "q": 2, "i": 4, "u": 4, "x": 8, "t": 8, "b": 4}
_SIGNED = "nix"
_ALIGNMENTS = dict(_SIZES, s=4, o=4, g=1, a=4, v=1)
_ALIGNMENTS.update({"(": 8, "{": 8})

# Code of a header field, its name here, its type
_FIELDS = {
    1: ("path", "o"), 2: ("interface", "s"), 3: ("member", "s"), 4: ("error", "s"), 5: ("reply", "u"),
    6: ("destination", "s"), 7: ("sender", "s"), 8: ("signature", "g"), 9: ("fds", "u"),
}  # fmt: skip
_REQUIRED = {
    CALL: ("path", "member"), RETURN: ("reply",), ERROR: ("error", "reply"),
    SIGNAL: ("path", "interface", "member"),
}  # fmt: skip
_PATH = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_/")


class Message(Record):
    """kind: CALL, RETURN, ERROR, SIGNAL; reply: the serial of the call that it answers; error: its name

    big: the byte order of `content`, which holds values of `signature`
    """

    kind: int
    serial: int
    path: str = ""
    interface: str = ""
    member: str = ""
    error: str = ""
    reply: int = 0
    destination: str = ""
    sender: str = ""
    signature: str = ""
    fds: int = 0
    content: bytes = b""
    big: bool = False

    def values(self) -> "list":
        """Raises ValueError."""
        return unpack(self.signature, self.content, self.big)


# --- types ----------------------------------------------------------------------------------------


def split(signature: str, depth: int = 0) -> "list[str]":
    """The single complete types of SIGNATURE. Raises ValueError."""
    if len(signature) > 255:
        raise ValueError("a signature of more than 255 characters")
    found, at = [], 0
    while at < len(signature):
        end = _end(signature, at, depth)
        found.append(signature[at:end])
        at = end
    return found


def _end(signature: str, at: int, depth: int) -> int:
    """Where the complete type that starts at AT ends."""
    code = signature[at : at + 1]
    if depth > DEPTH:
        raise ValueError("types in each other, deeper than %d" % DEPTH)
    if code and code in "ybnqiuxtsogv":
        return at + 1
    if code == "a" and signature[at + 1 : at + 2] == "{":
        key = at + 2
        value = _end(signature, key, depth + 1)
        end = _end(signature, value, depth + 1)
        if signature[key] in "a(v" or signature[end : end + 1] != "}":
            raise ValueError("no dict entry in the signature %r" % signature)
        return end + 1
    if code == "a":
        return _end(signature, at + 1, depth + 1)
    if code == "(":
        end = at + 1
        while signature[end : end + 1] != ")":
            end = _end(signature, end, depth + 1)
        if end > at + 1:
            return end + 1
    raise ValueError("no type at %d of the signature %r" % (at, signature))


def is_path(text: str) -> bool:
    """Whether TEXT is an object path."""
    return text == "/" or bool(
        text.startswith("/") and not text.endswith("/") and "//" not in text and _PATH.issuperset(text)
    )


# --- to bytes -------------------------------------------------------------------------------------


def pack(signature: str, values: "tuple | list") -> bytes:
    """Values as a message's body has them, little-endian. Raises ValueError for what does not fit."""
    kinds, data = split(signature), bytearray()
    if len(kinds) != len(values):
        raise ValueError("%d values for %s" % (len(values), signature))
    for kind, value in zip(kinds, values):
        _pack(data, kind, value)
    return bytes(data)


def _pack(data: bytearray, kind: str, value) -> None:
    code = kind[0]
    _pad(data, _ALIGNMENTS[code])
    if code in _SIZES:
        _pack_number(data, code, value)
    elif code in "sog":
        _pack_text(data, code, value)
    elif code == "v":
        signature, inner = value
        if len(split(signature)) != 1:
            raise ValueError("a variant of %r" % signature)
        _pack_text(data, "g", signature)
        _pack(data, signature, inner)
    elif code == "a":
        _pack_array(data, kind[1:], value)
    else:
        kinds = split(kind[1:-1])
        if len(kinds) != len(value):
            raise ValueError("%d values for %s" % (len(value), kind))
        for inner_kind, inner in zip(kinds, value):
            _pack(data, inner_kind, inner)


def _pad(data: bytearray, alignment: int) -> None:
    data += bytes(-len(data) % alignment)


def _pack_number(data: bytearray, code: str, value: int) -> None:
    if code == "b" and value not in (0, 1):
        raise ValueError("%r is no truth value" % (value,))
    try:
        data += int(value).to_bytes(_SIZES[code], "little", signed=code in _SIGNED)
    except OverflowError:
        raise ValueError("%d does not fit into the type %s" % (value, code)) from None


def _pack_text(data: bytearray, code: str, value: str) -> None:
    try:
        text = value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("%r is not Unicode" % value) from None
    if b"\0" in text or code == "o" and not is_path(value):
        raise ValueError("%r is no text for D-Bus" % value)
    if code == "g":
        split(value)
    data += len(text).to_bytes(1 if code == "g" else 4, "little") + text + b"\0"


def _pack_array(data: bytearray, kind: str, values) -> None:
    """The padding before the first element does not count in the length."""
    place = len(data)
    data += bytes(4)
    _pad(data, _ALIGNMENTS[kind[0]])
    start = len(data)
    if kind == "y":
        data += bytes(values)
    else:
        for value in values:
            _pack(data, kind, value)
    data[place : place + 4] = (len(data) - start).to_bytes(4, "little")


def encode(message: Message) -> bytes:
    """MESSAGE as it is sent. Its content must be little-endian."""
    fields = []
    for number, (name, kind) in _FIELDS.items():
        value = getattr(message, name)
        if value:
            fields.append((number, (kind, value)))
    head = (ord("l"), message.kind, 0, 1, len(message.content), message.serial, fields)
    data = bytearray(pack("yyyyuua(yv)", head))
    _pad(data, 8)
    return bytes(data) + message.content


# --- from bytes -----------------------------------------------------------------------------------


class _Reader:
    """at: how far it was read; end: where it ends"""

    def __init__(self, data: bytes, big: bool) -> None:
        self.data, self.at, self.end = data, 0, len(data)
        self.order = "big" if big else "little"

    def take(self, length: int) -> bytes:
        if length > self.end - self.at:
            raise ValueError("it ends in the middle of a value")
        piece = self.data[self.at : self.at + length]
        self.at += length
        return piece

    def align(self, alignment: int) -> None:
        if self.take(-self.at % alignment).strip(b"\0"):
            raise ValueError("padding that is not zero")

    def number(self, code: str) -> int:
        value = int.from_bytes(self.take(_SIZES[code]), self.order, signed=code in _SIGNED)  # type: ignore[arg-type]
        if code == "b":
            if value not in (0, 1):
                raise ValueError("a truth value of %d" % value)
            return bool(value)
        return value

    def text(self, code: str) -> str:
        length = self.number("y" if code == "g" else "u")
        text = self.take(length)
        if self.take(1) != b"\0" or b"\0" in text:
            raise ValueError("a text that does not end with its only NUL")
        found = text.decode("utf-8")  # UnicodeDecodeError is a ValueError
        if code == "o" and not is_path(found):
            raise ValueError("%r is no object path" % found)
        if code == "g":
            split(found)
        return found

    def value(self, kind: str, depth: int = 0):
        code = kind[0]
        if depth > DEPTH:
            raise ValueError("values in each other, deeper than %d" % DEPTH)
        self.align(_ALIGNMENTS[code])
        if code in _SIZES:
            return self.number(code)
        if code in "sog":
            return self.text(code)
        if code == "v":
            signature = self.text("g")
            if len(split(signature)) != 1:
                raise ValueError("a variant of %r" % signature)
            return signature, self.value(signature, depth + 1)
        if code == "a":
            return self.array(kind[1:], depth + 1)
        return tuple([self.value(inner, depth + 1) for inner in split(kind[1:-1])])

    def array(self, kind: str, depth: int):
        length = self.number("u")
        self.align(_ALIGNMENTS[kind[0]])
        if kind == "y":
            return self.take(length)
        end, found = self.at + length, []
        if end > self.end:
            raise ValueError("an array that is longer than the message")
        while self.at < end:
            found.append(self.value(kind, depth))
        if self.at != end:
            raise ValueError("an array that ends in the middle of a value")
        return found


def unpack(signature: str, data: bytes, big: bool = False) -> "list":
    """The values of a body. Raises ValueError unless DATA is these values and nothing else."""
    reader = _Reader(data, big)
    values = [reader.value(kind) for kind in split(signature)]
    if reader.at != reader.end:
        raise ValueError("%d bytes after the last value" % (reader.end - reader.at))
    return values


HEAD = 16  # bytes, from which `length` is told


def length(head: bytes) -> int:
    """How long the message is that starts with HEAD. Raises ValueError."""
    if head[:1] not in (b"l", b"B") or head[3] != 1:
        raise ValueError("it is no message of version 1 of the protocol")
    order = "big" if head[:1] == b"B" else "little"
    body, fields = (int.from_bytes(head[at : at + 4], order) for at in (4, 12))  # type: ignore[arg-type]
    whole = HEAD + fields + -fields % 8 + body
    if whole > LIMIT:
        raise ValueError("a message of %d bytes" % whole)
    return whole


def decode(data: bytes) -> Message:
    """The message that is all of DATA. Its content is read by `Message.values`. Raises ValueError."""
    if len(data) < HEAD or length(data) != len(data):
        raise ValueError("it is not of the length that it says")
    reader = _Reader(data, data[:1] == b"B")
    _, kind, _, _, size, serial, fields = [reader.value(each) for each in split("yyyyuua(yv)")]
    reader.align(8)
    found = {}  # type: dict[str, object]
    for number, (signature, value) in fields:
        name, wanted = _FIELDS.get(number, ("", signature))
        if signature != wanted:
            raise ValueError("the header field %s is of the type %s" % (name, signature))
        if name:
            found[name] = value
    missing = [name for name in _REQUIRED.get(kind, ()) if not found.get(name)]
    if missing or not serial or not kind:
        raise ValueError("a header without %s" % (", ".join(missing) or "a serial number or a type"))
    if size and not found.get("signature"):
        raise ValueError("a body without a signature")
    return Message(kind=kind, serial=serial, content=data[reader.at :], big=data[:1] == b"B", **found)
