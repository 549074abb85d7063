"""The door: call `cli`, print the error, leave.

Side: host
"""

import gc
import sys

# Since 3.15 `-X lazy_imports=all` has a module loaded when it is first used: in the container, from its root
if hasattr(sys, "set_lazy_imports"):
    sys.set_lazy_imports("normal")


class Memory:
    """What finds none leaves with one line: who would tell it otherwise may not be there yet. SystemError is
    what the C of Python may raise then."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        none = isinstance(error, OSError) and error.errno == 12  # ENOMEM
        if none or isinstance(error, (MemoryError, SystemError)):
            posix = sys.modules["posix"]  # which is in the interpreter
            posix.write(2, b"minictr: start: Cannot allocate memory; hint: ulimit -v may be too small\n")
            posix._exit(125)


# `python3 minictr`: the folder was named, and this is no module of the package. One of a zip has no package
# yet, either, before Python 3.10
if __name__ == "__main__" and not __package__:
    from os.path import abspath, basename, dirname

    _folder = dirname(abspath(__file__))
    sys.path.insert(0, dirname(_folder))
    with Memory():
        _package = __import__(basename(_folder))
        del sys.path[0]  # what else lies beside the folder may be anybody's
        __import__(_package.__name__ + ".__main__")
    sys.modules[_package.__name__ + ".__main__"].main()

try:
    with Memory():
        from . import unix as os
except ImportError as missing:
    sys.stderr.write("minictr: start: %s; hint: call it by the python3 of the system\n" % missing)
    sys.exit(125)


def main() -> None:
    """Never returns. Leaves by os._exit, which saves 1 ms of taking the interpreter down."""
    with Memory():
        _main()


def _main() -> None:
    gc.disable()  # nothing here lives long enough to be worth collecting: 0.7 ms of a start
    _open_standard_streams()
    _print_names_as_they_are()
    from . import cli

    status = cli.main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            status = status or 141  # who reads may stop; as if by SIGPIPE
        except (OSError, ValueError) as error:
            if not status:  # a full disk, a closed stream: the words are lost, which must show
                from .report import say

                say("write to the standard output: %s" % (getattr(error, "strerror", "") or error))
                status = 125
    os._exit(status)


def _open_standard_streams() -> None:
    """A caller may have closed them: then the next file opened would take their numbers, and a
    container would write into it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            null = os.open("/dev/null", os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(null, True)  # the program is to have it, too


def _print_names_as_they_are() -> None:
    """A path or a word from outside may be no text of this locale's, or of any: out go its bytes."""
    how = {"encoding": "utf-8", "errors": "surrogateescape"}
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(**how)
    elif sys.stdout is not None:  # 3.6
        sys.stdout = open(1, "w", closefd=False, **how)  # type: ignore[call-overload]


if __name__ == "__main__":
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):  # the latter since 3.11
        del sys.path[0]  # the current directory, where -m looks first: a json.py in it may be anybody's
    main()
