"""The stand-in, and the program that waits: their bytes are those of their sources, and they do what those
say."""

import errno
import os
import socket
import struct
import subprocess

import pytest
import support
from support import needs

from minictr import abi, standin, sync, unix, waiter

HERE = abi.machine()
ASSEMBLERS = {
    "x86_64": ["x86_64-linux-gnu-as", "--64", "-msyntax=intel", "-mnaked-reg"],
    "aarch64": ["aarch64-linux-gnu-as"],
}


# --- bytes --------------------------------------------------------------------------------------------


def assemble(machine, text, place):
    """The code that TEXT comes to."""
    support.require("as-" + machine)
    source, linked, binary = (str(place / name) for name in ("code.s", "code.o", "code.bin"))
    with open(source, "w") as file:
        file.write("    .text\n" + text)
    subprocess.run(ASSEMBLERS[machine] + ["-o", linked, source], check=True)
    objcopy = ASSEMBLERS[machine][0][: -len("as")] + "objcopy"
    subprocess.run([objcopy, "-O", "binary", "-j", ".text", linked, binary], check=True)
    with open(binary, "rb") as file:
        return file.read()


@pytest.mark.parametrize("made", [standin, waiter], ids=["stand-in", "waiter"])
@pytest.mark.parametrize("machine", sorted(standin.SOURCES))
def test_the_code_is_what_the_sources_assemble_to(machine, made, tmp_path):
    assert assemble(machine, made.SOURCES[machine], tmp_path).hex() == made._CODE[machine]


def test_what_waits_is_there_wherever_the_stand_in_is():
    assert set(waiter.SOURCES) == set(waiter._CODE) == set(standin.SOURCES)


@needs("readelf")
@pytest.mark.parametrize("words", [(standin, 7), (waiter, 3, 4)], ids=["stand-in", "waiter"])
@pytest.mark.parametrize("machine", sorted(standin.SOURCES))
def test_the_file_is_an_executable_of_one_segment_that_cannot_be_written(machine, words, tmp_path):
    path = tmp_path / "file"
    data = words[0].elf(machine, *words[1:])
    path.write_bytes(data)
    done = subprocess.run(
        ["readelf", "--wide", "--file-header", "--program-headers", str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert "EXEC (Executable file)" in text
    assert {"x86_64": "X86-64", "aarch64": "AArch64"}[machine] in text
    loads = [line.split() for line in text.splitlines() if line.strip().startswith("LOAD")]
    assert len(loads) == 1
    assert loads[0][-3:-1] == ["R", "E"]
    assert int(loads[0][4], 16) == int(loads[0][5], 16) == len(data)  # FileSiz, MemSiz


@pytest.mark.parametrize("channel", [0, 3, 255, 1 << 20])
def test_the_last_bytes_are_the_descriptors_and_the_label(channel):
    for machine in standin.SOURCES:
        assert standin.elf(machine, channel)[-12:] == struct.pack("<iiI", channel, -1, 0)
        labelled = standin.elf(machine, channel, 9, b"exec some-profile")
        assert labelled.endswith(struct.pack("<iiI", channel, 9, 17) + b"exec some-profile")


# --- what it does ---------------------------------------------------------------------------------------


class Ended:
    """What came of a program that was started through a stand-in.

    said: on the channel, up to its end; out: on standard output; status: the exit status
    """

    def __init__(self, path, *arguments, environment=None, change=None):
        channel, theirs = os.pipe()
        output, inner = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.dup2(inner, 1)
                os.closerange(3, theirs)
                os.closerange(theirs + 1, 1024)
                os.set_inheritable(theirs, True)
                if change:
                    change(theirs)
                place = standin.make(theirs)
                os.execve(place, [path] + list(arguments), environment or {})
            finally:
                os._exit(99)
        os.close(theirs)
        os.close(inner)
        with open(channel, "rb") as said, open(output, "rb") as out:
            self.said, self.out = said.read(), out.read()
        _, status = os.waitpid(child, 0)
        self.status = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)

    @property
    def errno(self):
        word, number = self.said.decode("utf-8", "surrogateescape").rstrip("\n").split("\t")
        assert word == "errno"
        return standin.errno_from(number)


runs = pytest.mark.skipif(not standin.supported(), reason="there is no stand-in for this machine")


@runs
def test_the_program_has_its_arguments_and_its_environment():
    environment = {"ONE": "1", "TWO": "zwei", "EMPTY": ""}
    words = ["sh", "-c", 'for w; do printf "<%s>" "$w"; done; printf "[%s%s%s]" "$ONE" "$TWO" "$EMPTY"', "sh"]
    words += ["a", "", "b c", "x" * 5000]
    found = Ended("/bin/sh", *words, environment=environment)
    expected = "".join("<%s>" % word for word in words[4:]) + "[1zwei]"
    assert (found.status, found.out.decode(), found.said) == (0, expected, b"")


@runs
@pytest.mark.parametrize("count", [0, 1, 2, 3, 500])
def test_any_number_of_arguments_and_variables_will_do(count):
    environment = {"V%d" % number: str(number) for number in range(count)}
    script = 'echo $# ; env | grep -c "^V[0-9]"'
    found = Ended("/bin/sh", "sh", "-c", script, "sh", *(["x"] * count), environment=environment)
    assert found.out.split() == [b"%d" % count, b"%d" % count]


@runs
def test_the_status_is_the_programs():
    assert Ended("/bin/sh", "sh", "-c", "exit 7").status == 7


@runs
def test_the_program_does_not_have_the_channel():
    found = Ended("/bin/sh", "sh", "-c", "ls /proc/$$/fd; :")
    assert set(found.out.split()) <= {b"0", b"1", b"2"}


@runs
def test_what_stops_it_is_told_and_it_ends(tmp_path):
    plain, garbage, script = tmp_path / "plain", tmp_path / "garbage", tmp_path / "script"
    plain.write_text("#!/bin/sh\n")
    garbage.write_bytes(b"\1\2\3")
    garbage.chmod(0o755)
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    (tmp_path / "loop").symlink_to("loop")
    for path, number in (
        ("/no/such", errno.ENOENT), (str(script), errno.ENOENT), (str(plain), errno.EACCES),
        (str(tmp_path), errno.EACCES), (str(garbage), errno.ENOEXEC), (str(plain / "x"), errno.ENOTDIR),
        (str(tmp_path / "loop"), errno.ELOOP), ("/" + "x" * 300, errno.ENAMETOOLONG),
    ):  # fmt: skip
        found = Ended(path, "x")
        assert (found.errno, found.status, found.out) == (number, 127, b""), path


@runs
def test_without_a_channel_the_program_does_not_run():
    """Else it would run with a descriptor of ours, or unbeknown to the runtime."""
    found = Ended("/bin/sh", "sh", "-c", "echo ran", change=os.close)
    assert (found.said, found.out, found.status) == (b"", b"", 127)


def test_every_errno_comes_through_the_channel():
    reader, writer = os.pipe()
    channel = sync.Channel(reader, writer)
    for number in range(1, 134):
        os.write(writer, b"errno\t" + bytes([number + 32]) + b"\n")
        word, field = channel.hear()
        assert (word, standin.errno_from(field)) == ("errno", number)
    channel.close()


@runs
def test_the_stand_in_cannot_be_written_by_anybody():
    channel, theirs = os.pipe()
    descriptor = standin.make(theirs)
    with pytest.raises(PermissionError):
        os.write(descriptor, b"x")
    for size in (0, os.fstat(descriptor).st_size + 1):
        with pytest.raises(PermissionError):
            os.truncate(descriptor, size)
    again = os.open("/proc/self/fd/%d" % descriptor, os.O_RDWR)
    with pytest.raises(PermissionError):
        os.pwrite(again, b"x", 0)
    for number in (descriptor, again, channel, theirs):
        os.close(number)


@runs
def test_the_machine_is_the_one_that_was_started_on(monkeypatch):
    """A personality changes what uname(2) says, and a filter may refuse it."""

    def refused():
        raise PermissionError(errno.EPERM, "")

    monkeypatch.setattr(unix, "uname", refused)
    channel, theirs = os.pipe()
    assert standin.supported()
    for number in (standin.make(theirs), channel, theirs):
        os.close(number)


@runs
def test_a_child_that_is_the_callers_executes_the_program():
    """It leads a session of its own, and goes on when it hears a word; without one it ends with its door."""
    for word, out, status in ((b"go\n", b"ran", 7), (b"", b"", 127)):
        ours, theirs = socket.socketpair()
        reader, writer = os.pipe()
        mine = os.fork()
        if mine == 0:
            try:
                ours.close()
                os.dup2(writer, 1)
                theirs.set_inheritable(True)
                place = standin.make(theirs.fileno(), apart=(0, 0))
                script = "printf ran; exit $(( ($(ps -o sid= -p $$) == $$) * 7 ))"
                os.execve(place, ["/bin/sh", "sh", "-c", script], {"PATH": "/usr/bin:/bin"})
            finally:
                os._exit(99)
        theirs.close()
        os.close(writer)
        told, _, number = ours.recv(100).partition(b"\t")
        child = int(number)
        assert (told, number[-1:]) == (b"born", b"\n")
        assert os.WEXITSTATUS(os.waitpid(mine, 0)[1]) == 0
        assert os.waitpid(child, os.WNOHANG) == (0, 0)  # it waits, and is no grandchild
        if word:
            ours.sendall(word)
        else:
            ours.shutdown(socket.SHUT_WR)
        with open(reader, "rb") as file:
            assert file.read() == out
        assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == status
        assert ours.recv(1) == b""
        ours.close()
