"""The door: call `cli`, print the error, leave.

Side: host
"""

import gc
import os
import sys


def main() -> None:
    """Never returns. Leaves by os._exit, which saves 1 ms of taking the interpreter down."""
    gc.disable()  # nothing here lives long enough to be worth collecting: 0.7 ms of a start
    _open_standard_streams()
    from . import cli

    status = cli.main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            status = status or 1  # a full disk, a closed pipe: the words are lost, which must show
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


if __name__ == "__main__":
    main()
