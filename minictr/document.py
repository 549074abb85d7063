"""JSON in and out without the `json` package.

`json` imports `re` (5 ms of a 10 ms start); the scanner and encoder in C that do its work, in
`_json`, need neither. Where that module is missing or differs, `json` itself does it all.

A document is the same in every locale. In one whose names are not UTF-8 for Python (Latin-1, and C with 3.6)
its texts are, here, what Python makes of their bytes in UTF-8: else other bytes would be handed on, or none.

Side: host
"""

import sys

from . import unix as os

_SAME = sys.getfilesystemencoding() == "utf-8"


def loads(text: str) -> object:
    """The value of a JSON document. Raises ValueError, whose message is json's own."""
    value = _value(text)
    try:
        return value if _SAME else _with_texts(value, _here)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _value(text: str) -> object:
    try:
        scan = _scanner()
        start = len(text) - len(text.lstrip(" \t\n\r"))
        value, end = scan(text, start)
        if text[end:].strip(" \t\n\r"):
            raise ValueError
        return value
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except Exception:  # any surprise, in the document or in the C module: json has the last word
        import json  # 5 ms: only where the text is broken or the C module is missing

        try:
            return json.loads(text, parse_constant=_Context.parse_constant)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def dumps(value: object) -> str:
    """The compact text of VALUE: dicts, lists, tuples, str, int, float, bool, None.

    A configuration of 10 KB takes 0.04 ms; written in Python, 0.65 ms.
    """
    if not _SAME:
        value = _with_texts(value, _everywhere)
    try:
        from _json import encode_basestring_ascii, make_encoder

        encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, True)
    except (ImportError, TypeError):  # it is missing, or asks for something else
        import json

        return json.dumps(value, separators=(",", ":"), default=_refuse)
    return "".join(encode(value, 0))


def _refuse(value: object) -> object:
    raise TypeError("no JSON for %r" % (value,))


def pretty(value: object, indent: str, start: str = "\n") -> str:
    """The text of VALUE for people, each member on a line of its own, INDENT deeper than what it is in."""
    inner = start + indent
    if isinstance(value, dict) and value:
        rows = [_quote(str(key)) + ": " + pretty(member, indent, inner) for key, member in value.items()]
        return "{%s%s%s}" % (inner, ("," + inner).join(rows), start)
    if isinstance(value, (list, tuple)) and value:
        return "[%s%s%s]" % (
            inner,
            ("," + inner).join([pretty(item, indent, inner) for item in value]),
            start,
        )
    return dumps(value)


def _with_texts(value: object, change) -> object:
    """VALUE with CHANGE(text) in the place of each text."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, (list, tuple)):
        return [_with_texts(member, change) for member in value]
    if isinstance(value, dict):
        return {_with_texts(name, change): _with_texts(member, change) for name, member in value.items()}
    return value


def _here(text: str) -> str:
    """What Python, in this locale, makes of TEXT in UTF-8. Half a character is for others to refuse."""
    try:
        return os.fsdecode(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return text


def _everywhere(text: str) -> str:
    """The text whose UTF-8 TEXT stands for, in this locale."""
    try:
        return os.fsencode(text).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text


class _Context:
    """What _json.make_scanner asks of a decoder, as json.JSONDecoder has it."""

    strict = True
    object_hook = object_pairs_hook = array_hook = None  # the last is asked for since 3.15
    parse_float, parse_int = float, int
    memo = {}  # type: dict[str, str]

    @staticmethod
    def parse_constant(name: str) -> object:
        raise ValueError("%s is no JSON" % name)


def _scanner():
    import _json

    return _json.make_scanner(_Context)  # type: ignore[arg-type]


def _quote(text: str) -> str:
    text = text if _SAME else _everywhere(text)
    try:
        from _json import encode_basestring_ascii
    except ImportError:
        from json import dumps as encode_basestring_ascii
    return encode_basestring_ascii(text)
