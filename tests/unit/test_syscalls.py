import os
import re
import subprocess

import bpf
import libseccomp
import make_syscalls
import pytest
import support

from minictr import abi, syscalls


@pytest.mark.parametrize("word", sorted(syscalls.TABLES))
def test_a_table_has_a_number_for_every_name(word):
    table = syscalls.table(word)
    text = syscalls.TABLES[word].replace(";", " ").split()
    assert len(table) == len([name for name in text if not name.isdigit()])
    assert {"read", "execve", "openat", "seccomp", "clone3", "landlock_restrict_self"} <= set(table)
    assert all(0 <= number < 1 << 32 for number in table.values())


@pytest.mark.parametrize("word", sorted(syscalls.TABLES))
def test_numbers_from_424_on_are_the_same_everywhere(word):
    start = 0x40000000 if word == "x32" else 0
    names = """
        OPEN_TREE MOVE_MOUNT FSOPEN FSCONFIG FSMOUNT CLONE3 OPENAT2 PIDFD_OPEN PIDFD_SEND_SIGNAL
        CLOSE_RANGE MOUNT_SETATTR LANDLOCK_CREATE_RULESET
    """
    for name in names.split():
        assert syscalls.table(word)[name.lower()] == start + getattr(abi, name)


@pytest.mark.parametrize("machine", sorted(abi.SYSCALLS))
def test_the_tables_agree_with_the_numbers_that_minictr_itself_calls(machine):
    for name, number in abi.SYSCALLS[machine].items():
        assert syscalls.table(machine)[name] == number
    assert syscalls.table(machine)["bpf"] == abi.BPF_CALL[machine]


def test_every_architecture_with_a_table_has_its_audit_number():
    assert set(abi.AUDIT_ARCH) == set(syscalls.TABLES)
    assert abi.AUDIT_ARCH == bpf.AUDIT


def test_one_number_may_have_two_names():
    arm = syscalls.table("arm")
    assert arm["sync_file_range2"] == arm["arm_sync_file_range"] == 341


def test_calls_inside_socketcall_and_ipc():
    inner = syscalls.multiplexed("socketcall")
    assert (inner["socket"], inner["accept4"], inner["sendmmsg"]) == (1, 18, 20)
    inner = syscalls.multiplexed("ipc")
    assert (inner["semop"], inner["msgsnd"], inner["shmctl"]) == (1, 11, 24)


@pytest.mark.parametrize("word, name, symbols", make_syscalls.HEADERS, ids=lambda value: str(value)[:11])
def test_the_tables_agree_with_the_headers_of_this_machine(word, name, symbols):
    places = ["/usr/lib/linux/uapi/" + name]  # from Debian 13 on, where one package has them all
    if word in ("x86_64", "i386", "x32"):
        places.append("/usr/include/x86_64-linux-gnu/asm/" + os.path.basename(name))
    found = [place for place in places if os.path.exists(place)]
    numbers = make_syscalls.parse(found[0], symbols) if found else preprocessed(word)
    assert len(numbers) > 250
    table = syscalls.table(word)
    for name, number in numbers.items():
        assert table.get(name, number) == number  # headers newer than the tables may have more


# What the compilers of other architectures define, and where Debian has their headers
CROSS = {
    "aarch64": ("aarch64-linux-gnu", ()),
    "arm": ("arm-linux-gnueabihf", ("__ARM_EABI__",)),
    "riscv64": ("riscv64-linux-gnu", ("__riscv_xlen=64", "__LP64__")),
    "ppc64le": ("powerpc64le-linux-gnu", ("__powerpc64__",)),
    "s390x": ("s390x-linux-gnu", ("__s390x__",)),
}


def cross(word):
    """The preprocessor's command for the headers of another architecture."""
    if word not in CROSS:
        pytest.skip("Debian 12 has no kernel headers of " + word)
    support.require("headers-" + word)
    support.require("cpp")
    triplet, defines = CROSS[word]
    include = "/usr/%s/include" % triplet
    return ["cpp", "-undef", "-nostdinc", "-P", "-I", include] + ["-D" + each for each in defines]


def preprocessed(word):
    """The numbers of asm/unistd.h, which many architectures put together by conditions."""
    command = cross(word)
    header = "#include <asm/unistd.h>\n"
    macros = subprocess.run(command + ["-dM"], input=header, stdout=-1, check=True, encoding="ascii").stdout
    names = sorted(set(re.findall(r"^#define (__(?:ARM_)?NR_[a-z]\w*) ", macros, re.M)))
    text = header + "".join(["@%s %s\n" % (name.partition("NR_")[2], name) for name in names])
    expanded = subprocess.run(command, input=text, stdout=-1, check=True, encoding="ascii").stdout
    sums = re.findall(r"@(\w+)\s([^@]+)", expanded)
    return {name: sum([int(each, 0) for each in re.findall(r"\w+", value)]) for name, value in sums}


@pytest.mark.parametrize("word", sorted(CROSS))
def test_what_is_asked_of_a_terminal_has_the_numbers_of_the_headers(word):
    """powerpc has its own for some of them."""
    own = dict(zip(("TIOCSWINSZ", "TIOCSPTLCK", "TIOCGPTN", "TIOCGPTPEER"), abi.TERMINALS[word == "ppc64le"]))
    own.update({name: getattr(abi, name) for name in ("TIOCSCTTY", "TIOCSTI", "TIOCLINUX")})
    text = "#include <asm/ioctls.h>\n" + "".join(["@%s\n" % name for name in own])
    said = subprocess.run(cross(word), input=text, stdout=-1, check=True, encoding="ascii").stdout
    sizes = {"struct winsize": 8, "unsigned int": 4, "int": 4}
    said = re.sub(r"sizeof\((.*?)\)", lambda found: str(sizes[found.group(1)]), said)
    said = re.sub(r"'(.)'", lambda found: str(ord(found.group(1))), said)
    said = re.sub(r"\b(\d+)U\b", r"\1", said)
    assert [eval(" ".join(value.split())) for value in said.split("@")[1:]] == list(own.values())


@pytest.mark.skipif(bool(libseccomp.missing()), reason=libseccomp.missing())
@pytest.mark.parametrize("name", sorted(libseccomp.ARCHITECTURES))
def test_the_tables_agree_with_libseccomp(name):
    from minictr import seccomp

    known = 0
    for call, number in syscalls.table(seccomp.ARCHITECTURES[name]).items():
        found = libseccomp.number(call, name)
        assert found in (None, number), call
        known += found is not None
    assert known > 250
