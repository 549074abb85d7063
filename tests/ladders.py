"""What minictr says of the steps it had to go down: on stderr, in the log, in the state."""

import errno
import json
import os

import support

FIELDS = ["code", "errno", "fix", "got", "layer", "level", "lost", "wanted", "why"]
SCRIPT = "echo started"

# chroot(2) again, and up: the root that is found there should be the same as before
ESCAPE = """\
import os, tempfile
own, above = os.stat("/"), os.open("/", os.O_RDONLY)
os.chroot("/tmp")
os.fchdir(above)
for _ in range(64):
    os.chdir("..")
os.chroot(".")
print("held" if os.path.samestat(own, os.stat("/")) else "escaped to %s" % os.listdir("/"))
"""


def calls(names: str, error: str) -> "list[str]":
    """The refusals NAMES, each with ERROR. A filter cannot see the flags of clone3, so that is away."""
    found = ["%s=%s" % (name, error) for name in names.split()]
    return found + ["clone3=ENOSYS"] if "clone&" in names else found


class Told:
    """A run and all that it said of itself. records: the steps down of the log, as objects

    warnings, notices: of them, those shown on stderr and those that nobody asked for
    """

    def __init__(self, result: support.Result, log: str) -> None:
        self.result = result
        self.lines = result.raw_err.decode("utf-8", "surrogateescape").splitlines()
        logged = []
        if os.path.exists(log):
            with open(log) as file:
                logged = [json.loads(line) for line in file]  # one object a line, or this fails
        assert [set(line) >= {"level", "msg", "time"} for line in logged] == [True] * len(logged)
        self.records = [line["degradation"] for line in logged if "degradation" in line]
        self.warnings = [record for record in self.records if record["level"] == "warning"]
        self.notices = [record for record in self.records if record["level"] == "notice"]
        assert len(self.records) == len(self.warnings) + len(self.notices)
        self.errors = [line["msg"] for line in logged if line["level"] == "error"]
        self._check(logged)

    def _check(self, logged: "list[dict]") -> None:
        for record in self.records:
            assert sorted(record) == FIELDS
            assert record["lost"] and record["why"], record
            assert "\n" not in "".join(str(value) for value in record.values())
        messages = [line["msg"] for line in logged if line["level"] != "info"]
        shown = ["warning: " + text if text not in self.errors else text for text in messages]
        assert ["minictr: " + text for text in shown] == self.lines, self.result
        for record, text in zip(self.warnings, messages):
            assert text == "%s: wanted %s, got %s; %s; lost: %s%s" % (
                record["layer"], record["wanted"], record["got"], record["why"], record["lost"],
                "; fix: " + record["fix"] if record["fix"] else "",
            )  # fmt: skip

    def without(self, *codes: str) -> "list[dict]":
        """The warnings but for CODES, which a caller always gets."""
        return [record for record in self.warnings if record["code"] not in codes]

    def short(self, *without: str) -> "list[tuple[str, str, str, str, int]]":
        """Of each warning what a program would look at."""
        names = ("code", "layer", "wanted", "got", "errno")
        return [tuple(record[name] for name in names) for record in self.without(*without)]


def tell(minictr: support.Runner, *words: str, **options: object) -> Told:
    """Run `minictr WORDS` with a log."""
    log = os.path.join(support.SESSION.place("log", 0o777), "log")
    return Told(minictr("--log", log, "--log-format", "json", *words, **options), log)


def number(name: str) -> int:
    return getattr(errno, name) if name else 0
