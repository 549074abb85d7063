"""Where words to the user go: stderr, and the log that engines read.

Side: host
"""

import sys
import time

from . import unix as os
from .errors import ContainerError, Degradation, printable


class Report:
    """path: the log file, "" for none; json: one object a line instead of text
    quiet: what ends nothing goes to the log alone: an engine reads stderr together with stdout, or as the
        container's own
    inside: see outputs.reach, once a container is known; root: those below this state root count, too
    ending: as of oom.found where memory ran out while a program of exec ran
    """

    def __init__(self, path: str = "", json: bool = False, debug: bool = False, quiet: bool = False) -> None:
        self.path, self.json, self.debug, self.quiet = path, json, debug, quiet
        self.records = []  # type: list[Degradation]
        self.inside = self.others = None  # type: set[tuple[int, int]] | None
        self.root = ""
        self.ending = {}  # type: dict[str, object]

    def seen(self, record: Degradation) -> None:
        """A step down was taken."""
        self.records.append(record)
        shown = record.level == "warning" or self.debug
        self._log(record.level, str(record), record)
        if shown and not self.quiet:
            say("%s: %s" % (record.level, record))

    def error(self, error: ContainerError) -> None:
        self._log("error", str(error), None)
        say(str(error))

    def warn(self, error: ContainerError) -> None:
        """Something failed that does not end what is being done."""
        self._log("warning", str(error), None)
        if not self.quiet:
            say("warning: %s" % error)

    def note(self, message: str) -> None:
        """What only --debug shows."""
        if self.debug:
            self._log("debug", message, None)
            if not self.quiet:
                say("debug: " + message)

    def _log(self, level: str, message: str, record: "Degradation | None") -> None:
        if not self.path:
            return
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        level = level if level != "notice" else "info"  # engines know the levels of logrus alone
        if self.json:
            from . import document

            line = {"level": level, "msg": message, "time": moment}  # type: dict[str, object]
            if record is not None:
                line["degradation"] = record.as_dict()
            text = document.dumps(line) + "\n"
        else:
            said = printable(message.replace("\\", "\\\\").replace('"', '\\"'))
            text = 'time="%s" level=%s msg="%s"\n' % (moment, level, said)
        try:
            from . import outputs  # for those who want a log

            if self.root and self.others is None:
                self.others = outputs.reach_of_all(self.root)
            inside = (self.inside or set()) | (self.others or set())
            log = outputs.open_output(self.path, os.O_CREAT | os.O_APPEND, inside=inside)
            try:
                data = text.encode("utf-8", "surrogateescape")
                while data:
                    data = data[os.write(log, data) :]
            finally:
                os.close(log)
        except OSError as error:
            path, self.path, self.quiet = self.path, "", False
            say("warning: cannot write the log %s: %s" % (path, error.strerror))


def say(message: str) -> None:
    """One line on stderr: names from outside must not write one of their own, nor move the cursor."""
    line = "minictr: " + printable(message) + "\n"
    try:
        os.write(2, line.encode(sys.getfilesystemencoding(), "backslashreplace"))
    except OSError:
        pass  # a closed or full stderr must not change what happens
