import errno
import os
import struct
import sys

import pytest
import refusal
import support
from support import needs

PROGRAM = [sys.executable, os.path.join(support.CHECKOUT, "tests", "refusal.py")]


def refused(program, machine, number, flags=0, argument=0):
    """The errno with which PROGRAM, run by a small interpreter, answers a system call; 0 if it allows it."""
    data = struct.pack("=iIQ", number, refusal._AUDIT_ARCH[machine], 0)
    arguments = [0] * 6
    arguments[argument] = flags
    data += struct.pack("=6Q", *arguments)
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator, position = 0, 0
    while True:
        operation, true, false, value = code[position]
        position += 1
        if operation == refusal._LOAD:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif operation == refusal._JUMP_EQUAL:
            position += true if accumulator == value else false
        elif operation == refusal._JUMP_SET:
            position += true if accumulator & value else false
        else:
            assert operation == refusal._RETURN
            return 0 if value == refusal._SECCOMP_RET_ALLOW else value & 0xFFFF


@pytest.mark.parametrize("machine", sorted(refusal.SYSCALLS))
def test_each_call_is_refused_with_its_errno_and_no_other_is(machine):
    numbers = refusal.SYSCALLS[machine]
    program = refusal.assemble(["pivot_root=ENOSYS", "clone&CLONE_NEWUSER", "mount=EACCES"], machine)
    answers = {name: refused(program, machine, number) for name, number in numbers.items()}
    assert answers.pop("pivot_root") == errno.ENOSYS
    assert answers.pop("mount") == errno.EACCES
    assert set(answers.values()) == {0}
    new_user = refusal.FLAGS["CLONE_NEWUSER"]
    assert refused(program, machine, numbers["clone"], new_user | 17) == errno.EPERM
    assert refused(program, machine, numbers["clone"], refusal.FLAGS["CLONE_NEWNS"]) == 0


def test_mknod_stands_for_what_the_c_library_calls_by_that_name():
    program = refusal.assemble(["mknod"], "x86_64")
    assert refused(program, "x86_64", 133) == refused(program, "x86_64", 259) == errno.EPERM
    assert refused(refusal.assemble(["mknod"], "aarch64"), "aarch64", 33) == errno.EPERM


def test_a_name_that_is_not_known_is_an_error():
    with pytest.raises(ValueError, match="no number for the system call foo on x86_64"):
        refusal.assemble(["foo"], "x86_64")


CASES = [
    (["--refuse", "sethostname=ENOSYS"], "import socket; socket.sethostname('x')", "[Errno 38]"),
    (["--refuse", "mknod=EACCES"], "import os; os.mknod('/tmp/x', 0o666 | 0o020000)", "[Errno 13]"),
    (["--refuse", "chroot"], "import os; os.chroot('/')", "[Errno 1]"),
    (["--drop", "CAP_SYS_CHROOT"], "import os; os.chroot('/')", "[Errno 1]"),
    (["--drop", "ALL"], "import os; os.chroot('/')", "[Errno 1]"),
]


@needs("root")
@pytest.mark.parametrize("options, program, answer", CASES, ids=[" ".join(case[0]) for case in CASES])
def test_the_kernel_refuses_what_it_was_told_to(minictr, options, program, answer):
    command = PROGRAM + options + ["--", sys.executable, "-c", program]
    assert answer in minictr.command(*command).err


@needs("root", "newuidmap")
def test_a_covered_program_is_gone_for_the_command_alone(minictr):
    assert minictr.command("sh", "-c", "exec newuidmap", cover="no-helpers").status in (126, 127)
    assert "usage" in minictr.command("newuidmap").err


@needs("root", "newuidmap")
def test_a_plain_helper_runs_without_its_privileges(minictr, ranged):
    found = minictr.command(
        "sh", "-c", "stat -c %a $(command -v newuidmap)", cover="plain-helpers", user=ranged
    )
    assert found == (0, "755\n", "")


@needs("root", "seccomp")
def test_a_user_s_set_user_id_programs_keep_working_under_a_filter(minictr, ranged):
    found = minictr.command("grep", "NoNewPrivs", "/proc/self/status", user=ranged, refuse=["pivot_root"])
    assert found.fields == ["NoNewPrivs:", "0"]


@needs("root", "root-mount", "seccomp", "unshare")
def test_user_namespaces_are_refused_and_others_are_not(minictr):
    refusals = refusal.userns_refusals("ENOSPC")
    assert os.strerror(errno.ENOSPC) in minictr.command("unshare", "-U", "true", refuse=refusals).err
    assert minictr.command("unshare", "-m", "true", refuse=refusals) == (0, "", "")
