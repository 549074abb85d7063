"""Who starts containers: root, and users with more and less to give to a container."""

import pytest
import support

RANGE = 65536  # how many ids a container gets


class Caller:
    """Somebody who runs minictr.

    name: in words; options: of Runner, to be them; account: None for root
    ranged: the container has a range of ids, and not the caller's alone
    """

    def __init__(self, name: str, account, ranged: bool, **options: object) -> None:
        self.name, self.account, self.ranged = name, account, ranged
        self.options = dict(options, user=account)

    def owns(self, copy) -> str:
        """A root to write to, whose files are theirs: COPY is busybox_copy or debian_copy."""
        if self.ranged or self.account is None:
            return copy(self.account)
        alone = _Alone(self.account)
        return copy(alone)

    def said(self, result) -> str:
        """What RESULT says on stderr beside the one warning that these callers always get."""
        lines = result.err.splitlines(keepends=True)
        if not self.ranged:
            assert lines[:1] and lines[0].startswith("minictr: warning: id map: wanted a range of ids"), (
                result
            )
            lines.pop(0)
        return "".join(lines)

    def expect(self, result):
        """RESULT, if the command succeeded and said nothing else."""
        assert (result.status, self.said(result)) == (0, ""), result
        return result


class _Alone:
    """An account as if it had no range: all files of a copy are its own."""

    def __init__(self, account) -> None:
        self.uid, self.gid, self.start = account.uid, account.gid, 0


NAMES = ("root", "ranged", "unranged", "no-helpers")


def make(request, name: str) -> Caller:
    support.require("root", "userns")
    if name == "root":
        return Caller(name, None, True)
    support.require("rootless")
    if name == "unranged":
        return Caller(name, request.getfixturevalue("unranged"), False)
    if name == "ranged":
        support.require("newuidmap")
    account = request.getfixturevalue("ranged")
    if name == "no-helpers":
        return Caller(name, account, False, cover="no-helpers")
    return Caller(name, account, True)


def root_range() -> "tuple[int, int]":
    """The (first uid, first gid) on the host of the ids that root's containers get."""
    found = []
    for path in ("/etc/subuid", "/etc/subgid"):
        with open(path) as file:
            own = [line.split(":") for line in file if line.split(":")[0] in ("root", "0")]
        if own:
            found.append(int(own[0][1]))
        else:
            with open("/var/lib/minictr/ids") as file:  # where the range that was free is noted down
                found.append(int(file.read()))
    return found[0], found[1]


LOCALES = {
    "UTF-8": {"LC_ALL": "C.UTF-8"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},  # as Python 3.6 has it by itself
    "Latin-1": {"LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": "0"},
}


def locale(name: str) -> "dict[str, str]":
    """The environment of the locale NAME, which is made where the machine has what it takes."""
    if name != "Latin-1":
        return LOCALES[name]

    def make() -> str:
        place = support.SESSION.place("locales")
        words = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", place + "/en_US.ISO-8859-1"]
        return "" if support._fails(*words) else place

    place = support._once("Latin-1", make)
    if not place:
        pytest.skip("localedef has no ISO-8859-1; the package locales has it")
    return dict(LOCALES[name], LOCPATH=place)
