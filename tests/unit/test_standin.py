"""The stand-in, and the program that waits: their bytes are those of their sources, and they do what those
say."""

import errno
import fcntl
import mmap
import os
import signal
import socket
import struct
import subprocess
import time
import types

import pytest
import refusal
import support
from support import needs

from minictr import abi, last, standin, sync, unix, waiter

ASSEMBLERS = {
    "x86_64": ["x86_64-linux-gnu-as", "--64", "-msyntax=intel", "-mnaked-reg"],
    "aarch64": ["aarch64-linux-gnu-as"],
}


# --- seals --------------------------------------------------------------------------------------------


def test_nobody_can_change_it_by_any_descriptor():
    """Who runs it can open it again by /proc/self/exe."""
    held = standin.sealed(b"program")
    other = os.open("/proc/self/fd/%d" % held, os.O_RDWR)
    for change in (
        lambda: os.pwrite(other, b"x", 0),
        lambda: os.ftruncate(other, 0),
        lambda: os.ftruncate(held, 100),
        lambda: mmap.mmap(other, 7),
        lambda: fcntl.fcntl(other, abi.F_ADD_SEALS, 0),
    ):
        with pytest.raises(PermissionError):
            change()
    assert os.pread(held, 100, 0) == b"program"
    os.close(other)
    os.close(held)


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
    make: a stand-in of the channel, as standin.make does
    """

    def __init__(self, path, *arguments, environment=None, change=None, make=standin.make):
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
                place = make(theirs)
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
        word, number = self.failure
        assert word == "errno"
        return number

    @property
    def failure(self):
        """What was not to be had, and the errno."""
        word, number = self.said.decode("utf-8", "surrogateescape").rstrip("\n").split("\t")
        return word, standin.errno_from(number)


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


LABEL = b"exec minictr-test"


def labelled(place):
    """How a stand-in is made that writes LABEL to the file `exec` in PLACE."""

    def make(channel):
        attributes = os.open(str(place), abi.O_PATH | os.O_DIRECTORY)
        standin.keep_open(attributes)
        return standin.make(channel, attributes, LABEL)

    return make


def test_what_it_writes_to_stays_open_on_an_older_python_as_well(monkeypatch, tmp_path):
    """One that cannot say so of what was opened with O_PATH."""

    def refused(descriptor, inheritable):
        raise OSError(errno.EBADF, "")

    attributes = os.open(str(tmp_path), abi.O_PATH | os.O_DIRECTORY)
    assert not os.get_inheritable(attributes)
    monkeypatch.setattr(unix, "set_inheritable", refused)
    last._take_label(types.SimpleNamespace(attributes=attributes), 0, False)
    assert os.get_inheritable(attributes)
    os.close(attributes)


@runs
def test_a_label_is_written_before_the_program_runs(tmp_path):
    (tmp_path / "exec").write_bytes(b"")
    script = 'read -r label <"$0"; echo "$label"; ls /proc/$$/fd; :'
    found = Ended("/bin/sh", "sh", "-c", script, str(tmp_path / "exec"), make=labelled(tmp_path))
    lines = found.out.split(b"\n")
    assert (found.status, found.said, lines[0]) == (0, b"", LABEL)
    assert set(lines[1:]) <= {b"0", b"1", b"2", b""}
    found = Ended("/no/such", "x", make=labelled(tmp_path))
    assert (found.errno, found.status) == (errno.ENOENT, 127)


@runs
@pytest.mark.parametrize("file, number", [("/no/such", errno.ENOENT), ("/dev/full", errno.ENOSPC)])
def test_without_its_label_the_program_does_not_run(tmp_path, file, number):
    (tmp_path / "exec").symlink_to(file)
    found = Ended("/bin/sh", "sh", "-c", "echo ran", make=labelled(tmp_path))
    assert (found.failure, found.out, found.status) == (("label", number), b"", 127)


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


@pytest.mark.parametrize(
    "source, users, fix",
    [
        ("host", "host", "leave --userns, --uidmap and --gidmap out"),
        ("rootfs", "config", "leave --userns, --uidmap and --gidmap out"),
        ("rootfs", "auto", "chmod go-w the interpreter"),
        ("bundle", "config", "give it a user namespace without the host's root"),
    ],
)
def test_a_machine_without_a_stand_in_is_told_with_what_makes_it_unnecessary(monkeypatch, source, users, fix):
    monkeypatch.setattr(standin, "_HERE", "vax")
    spec = types.SimpleNamespace(init=False, source=source, userns=users)
    told = []
    last._make_standin(types.SimpleNamespace(plan=types.SimpleNamespace(spec=spec), degrade=told.append))
    assert [(record.code, record.fix) for record in told] == [("standin", fix)]


class Born:
    """A stand-in that has a child first. channel: the caller's end; number: what it says of the child"""

    def __init__(self, path, *arguments, apart=(0, 0), refusals=()):
        self.channel, theirs = socket.socketpair()
        reader, writer = os.pipe()
        self.mother = os.fork()
        if self.mother == 0:
            try:
                self.channel.close()
                os.dup2(writer, 1)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                theirs.set_inheritable(True)
                place = standin.make(theirs.fileno(), apart=apart)
                if refusals:
                    refusal.refuse(list(refusals))
                os.execve(place, [path] + list(arguments), {"PATH": "/usr/bin:/bin"})
            finally:
                os._exit(99)
        theirs.close()
        os.close(writer)
        self.output, self.left = os.fdopen(reader, "rb"), [self.mother]
        self.channel.settimeout(20)

    def number(self):
        """That of the child, which waits."""
        told, _, number = self.channel.recv(100).partition(b"\t")
        assert (told, number[-1:]) == (b"born", b"\n")
        assert os.WEXITSTATUS(os.waitpid(self.mother, 0)[1]) == 0
        self.left = [int(number)]
        return int(number)

    def failures(self):
        """What the two say until both are gone, in any order."""
        said = b""
        while True:
            piece = self.channel.recv(100)
            said += piece
            if not piece:
                break
        pairs = [line.split("\t") for line in said.decode("utf-8", "surrogateescape").split("\n")[:-1]]
        self.left += [int(number) for word, number in pairs if word == "born"]
        self.close()
        return [(word, standin.errno_from(field)) for word, field in pairs if word != "born"]

    def close(self):
        self.channel.close()
        self.output.close()
        for pid in self.left:
            reap(pid)


def reap(pid):
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # it was waited for, or is not ours


@runs
@pytest.mark.parametrize("word, out, status", [(b"go\n", b"ran", 7), (b"", b"", 127)], ids=["go", "the end"])
def test_a_child_that_is_the_callers_executes_the_program(word, out, status):
    """It leads a session of its own, and goes on when it hears a word; without one it ends with its door."""
    script = "printf ran; exit $(( ($(ps -o sid= -p $$) == $$) * 7 ))"
    born = Born("/bin/sh", "sh", "-c", script)
    child = born.number()
    assert os.waitpid(child, os.WNOHANG) == (0, 0)  # it waits, and is no grandchild
    if word:
        born.channel.sendall(word)
    else:
        born.channel.shutdown(socket.SHUT_WR)
    assert born.output.read() == out
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == status
    assert born.channel.recv(1) == b""
    born.close()


@runs
@needs("seccomp")
@pytest.mark.parametrize(
    "refusals, apart, number",
    [
        (["clone=EAGAIN"], (0, 0), errno.EAGAIN), (["setsid=EACCES"], (0, 0), errno.EACCES),
        (["prctl=ENOSYS"], (0, 9), errno.ENOSYS), ([], (1, 0), errno.ENOTTY),
        (["read=EIO"], (0, 0), errno.EIO),
    ],
    ids=["clone", "setsid", "prctl", "a terminal that is none", "read"],
)  # fmt: skip
def test_what_the_child_is_refused_is_told(refusals, apart, number):
    born = Born("/bin/sh", "sh", "-c", "echo ran", apart=apart, refusals=refusals)
    born.channel.shutdown(socket.SHUT_WR)
    assert born.output.read() == b""
    assert born.failures() == [("birth", number)]


@runs
def test_a_program_that_the_child_cannot_execute_is_told_as_any():
    born = Born("/no/such", "x")
    born.number()
    born.channel.sendall(b"go\n")
    assert born.failures() == [("errno", errno.ENOENT)]


@runs
def test_a_child_that_waits_ends_with_whose_it_is():
    """Though its channel is still open: it is ours, and it is the child of a process that ends."""
    ours, theirs = socket.socketpair()
    middle = os.fork()
    if middle == 0:
        try:
            born = Born("/bin/sh", "sh", "-c", "echo ran", apart=(0, signal.SIGKILL))
            child = born.number()
            send_descriptor(theirs, born.channel.fileno(), b"%d" % child)
            theirs.recv(1)
        finally:
            os._exit(0)
    number, channel = receive_descriptor(ours)
    end = time.monotonic() + 10
    while b") S " not in reading("/proc/%s/stat" % number):  # before that it has not asked for it, maybe
        assert time.monotonic() < end
    ours.sendall(b"x")
    os.waitpid(middle, 0)
    with socket.socket(fileno=channel) as door:
        door.settimeout(20)
        assert door.recv(1) == b""
    reap(int(number))  # ours, where the tests take in orphans
    ours.close()
    theirs.close()


def reading(path):
    with open(path, "rb") as file:
        return file.read()


def send_descriptor(door, descriptor, word):
    door.sendmsg([word], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("=i", descriptor))])


def receive_descriptor(door):
    word, [(_, _, data)], _, _ = door.recvmsg(20, socket.CMSG_SPACE(4))
    return word.decode(), struct.unpack("=i", data)[0]
