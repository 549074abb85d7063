"""What the words of an option are read with.

Side: host
"""

import _signal  # `signal` imports enum: 3 ms

from . import abi
from . import unix as os
from .errors import ContainerError, printable, step

MAX_SIZE = (1 << 63) - 1
MAX_FDS = 1 << 20  # how many descriptors may be passed on; fs.nr_open of most hosts

here = ""  # where relative paths start, if that is a place that we may not go to; "": the current directory


def bad(option: str, value: str, why: str, hint: str = "") -> ContainerError:
    """The error of one option: `--volume a:b: why; hint: ...`."""
    return ContainerError(("%s %s" % (option, printable(value))).rstrip(), why, hint=hint)


def nearest(name: str, known: "list[str]") -> str:
    """The hint at the one of KNOWN that NAME may have been meant to be, "" where none is like it."""
    from difflib import get_close_matches  # 10 ms, for an error

    plain = {other.lstrip("-"): other for other in known}  # without the dashes, which all have in common
    close = get_close_matches(name.lstrip("-"), list(plain), 1)
    return "did you mean %s?" % plain[close[0]] if close else ""


def absolute(path: str) -> str:
    """PATH of the caller's, from the root; `..` is left for the kernel to follow."""
    if path.startswith("/"):
        return path
    with step("find the current directory", hints={2: "cd to one that is there"}):
        return os.path.join(here or os.getcwd(), path)


_TRUTH = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True)
_TRUTH.update(dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False))


def boolean(option: str, text: str) -> bool:
    """What --FLAG=TEXT says, by Go's rules (strconv.ParseBool), as engines and their users write it."""
    if text not in _TRUTH:
        raise bad(option, text, "is true or false, or nothing")
    return _TRUTH[text]


def capability(option: str, text: str) -> str:
    """The name that OPTION=TEXT stands for, in any case and without its CAP_, too."""
    name = text.strip().upper()
    name = name if name.startswith("CAP_") else "CAP_" + name
    if name not in abi.CAPABILITIES:
        raise bad(option, text, "there is no capability of that name")
    return name


def number(text: str) -> int:
    """The value of ASCII digits alone; -1 for a sign, a space, another script's digits, nothing."""
    plain = 0 < len(text) <= 20 and not text.strip("0123456789")
    return int(text) if plain else -1


def integer(option: str, text: str, low: int, high: int) -> int:
    """The whole number TEXT, which must lie between LOW and HIGH."""
    sign = -1 if text.startswith("-") else 1
    digits = number(text[1:] if sign < 0 else text)
    if digits < 0 or not low <= sign * digits <= high:
        raise bad(option, text, "is not a number from %d to %d" % (low, high))
    return sign * digits


def size(option: str, text: str, hint: str = "") -> int:
    """Bytes: a number, with a part after a point if need be, and k, m, g, t or p (kb, KiB ...); -1."""
    if text == "-1":
        return -1
    digits, unit = text.lower(), 0
    if digits.endswith("b"):
        digits = digits[:-1]
        if digits.endswith("i") and digits[-2:-1] in "kmgtp":
            digits = digits[:-1]
    if digits[-1:] in ("k", "m", "g", "t", "p"):
        unit = 10 * ("kmgtp".index(digits[-1]) + 1)
        digits = digits[:-1]
    whole, point, part = digits.partition(".")
    if not whole or (whole + part).strip("0123456789") or (point and not part) or len(digits) > 20:
        raise bad(option, text, "is not a size such as 64m", hint)
    value = (int(whole + part) << unit) // 10 ** len(part)
    if value > MAX_SIZE:
        raise bad(option, text, "is not below 2^63 bytes")
    return value


def signal_number(text: str) -> int:
    """The number of TERM, SIGTERM, 15, RTMIN+1 or RTMAX-1; 0 for what is no signal."""
    name = text.upper()
    name = name[3:] if name.startswith("SIG") else name
    base, sign, offset = name.partition("-" if "-" in name else "+")
    value, step = 0, 0
    if name and not name.strip("0123456789"):
        value = int(name[:9])
    elif base[:1].isalpha():  # not SIG_IGN
        value = int(getattr(_signal, "SIG" + base, 16 if base == "STKFLT" else 0))  # which came with 3.11
    if sign:
        known = (base, sign) in (("RTMIN", "+"), ("RTMAX", "-")) and offset and not offset.strip("0123456789")
        step = int(sign + offset[:9]) if known else -_signal.NSIG
        value = value + step if value + step >= _signal.SIGRTMIN else 0
    return value if 1 <= value <= _signal.SIGRTMAX else 0
