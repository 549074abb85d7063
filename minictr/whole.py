"""A program from its start to its end in one call, as `subprocess.run` has it: input, output, time.

Side: host
"""

import io
import time

from .attended import PIPE, Attended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .attended import Stream


class Codec:
    """Between text and bytes, as subprocess does it; bytes stay bytes unless TEXT or one of the others.

    lines: universal_newlines, the older name of TEXT; SubprocessError where it says something else
    """

    def __init__(
        self, text: "bool | None", encoding: "str | None", errors: "str | None", lines: "bool | None"
    ) -> None:
        if text is not None and lines is not None and bool(text) != bool(lines):
            from subprocess import SubprocessError  # 8 ms

            raise SubprocessError("text and universal_newlines are two names for one thing, and differ")
        self.text = bool(text or lines or encoding or errors)
        self.encoding, self.errors = encoding, errors

    def decode(self, data: bytes) -> "bytes | str":
        return self.file(io.BytesIO(data)).read() if self.text else data

    def encode(self, data: "bytes | str | None") -> memoryview:
        """Its bytes, of which a rest is taken without a copy. TypeError for what has none."""
        if isinstance(data, str):
            file = io.BytesIO()
            words = self.file(file)
            words.write(data)
            words.flush()
            return memoryview(file.getvalue())
        return memoryview(b"" if data is None else data).cast("B")

    def file(self, binary):
        if not self.text:
            return binary
        return io.TextIOWrapper(binary, encoding=self.encoding, errors=self.errors)


def three(input, stdin: "Stream", stdout: "Stream", stderr: "Stream", capture: bool) -> tuple:
    """The three streams, of which `input` and `capture_output` are pipes."""
    if capture:
        if stdout is not None or stderr is not None:
            raise ValueError("stdout and stderr may not be used with capture_output")
        stdout = stderr = PIPE
    if input is not None:
        if stdin is not None:
            raise ValueError("stdin may not be used with input")
        stdin = PIPE
    return stdin, stdout, stderr


def complete(program: Attended, codec: Codec, data, timeout: "float | None", check: bool):
    deadline = None if timeout is None else time.monotonic() + timeout
    data = codec.encode(data)
    try:
        program.start()
        over = program.pump(program.all_over, deadline, data)
        if not over:
            program.end()
    except BaseException:
        program.end()
        raise
    finally:
        program.close()
    if not over:
        from .failures import TimeoutExpired  # subprocess: 8 ms

        raise TimeoutExpired(program.args, timeout or 0, *program.taken())
    if program.failed is not None:
        raise program.failure()
    done = program.result
    assert done is not None
    done.stdout, done.stderr = [None if data is None else codec.decode(data) for data in program.taken()]
    if check:
        done.check_returncode()
    return done
