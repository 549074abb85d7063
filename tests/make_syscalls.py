"""Write minictr/syscalls.py from the kernel's own headers, so that no number is typed by hand.

    python3 tests/make_syscalls.py linux-libc-dev_VERSION_all.deb >minictr/syscalls.py

Since 6.11 one package of Debian, linux-libc-dev, carries the headers of every architecture
(`apt-get download linux-libc-dev`; trixie-backports and sid have the newest kernel). A folder into
which such a package was unpacked will do as well.
"""

import os
import re
import subprocess
import sys
import tempfile

# Our word for an architecture, the file below usr/lib/linux/uapi, what symbols in it stand for
X32_BIT = 0x40000000
ARM_PRIVATE = 0x0F0000
HEADERS = (
    ("x86_64", "x86/asm/unistd_64.h", {}),
    ("i386", "x86/asm/unistd_32.h", {}),
    ("x32", "x86/asm/unistd_x32.h", {"__X32_SYSCALL_BIT": X32_BIT}),
    ("aarch64", "arm64/asm/unistd_64.h", {}),
    ("arm", "arm/asm/unistd-eabi.h", {"__NR_SYSCALL_BASE": 0}),
    ("riscv64", "riscv/asm/unistd_64.h", {}),
    ("loongarch64", "loongarch/asm/unistd_64.h", {}),
    ("ppc64le", "powerpc/asm/unistd_64.h", {}),
    ("s390x", "s390/asm/unistd_64.h", {}),
)
# asm/unistd.h of arm defines these beside the numbers of unistd-eabi.h
ARM_EXTRA = (
    "arm/asm/unistd.h",
    {"__NR_SYSCALL_BASE": 0, "__ARM_NR_BASE": ARM_PRIVATE, "__NR_arm_sync_file_range": 341},
)

DEFINE = re.compile(r"^#define\s+__(?:ARM_)?NR_(\w+)\s+(.+?)\s*(?:/\*.*)?$", re.M)
NUMBER = re.compile(r"^\(?(?:(\w+)\s*\+\s*)?(\w+)\)?$")

HEAD = '''\
"""System call numbers by architecture, as seccomp profiles name them.

Made by tests/make_syscalls.py from {package} ({kernel});
not to be edited. In a table each number starts a run of names that are numbered one by one from it
on. A table stays text until somebody asks for it.

Side: host
"""

'''

TAIL = '''
# include/uapi/linux/net.h, ipc.h: system calls that the first argument of another one can stand for
MULTIPLEXED = {
    "socketcall": """
%s""",
    "ipc": """
%s""",
}

_parsed = {}  # type: dict[str, dict[str, int]]


def table(architecture: str) -> "dict[str, int]":
    """Name to number, not to be changed. KeyError for an architecture that has no table."""
    found = _parsed.get(architecture)
    if found is None:
        found = _parsed[architecture] = _parse(TABLES[architecture])
    return found


def multiplexed(name: str) -> "dict[str, int]":
    """Of "socketcall" or "ipc": what the number in its first argument stands for."""
    found = _parsed.get(name)
    if found is None:
        found = _parsed[name] = _parse(MULTIPLEXED[name])
    return found


def _parse(text: str) -> "dict[str, int]":
    numbers = {}  # type: dict[str, int]
    for run in text.split(";"):
        names = run.split()
        first = int(names.pop(0))
        numbers.update(zip(names, range(first, first + len(names))))
    return numbers
'''


def main(source: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if os.path.isdir(source):
            folder, package = source, "an unpacked linux-libc-dev"
        else:
            subprocess.run(["dpkg-deb", "-x", source, folder], check=True)
            field = subprocess.run(
                ["dpkg-deb", "-W", "--showformat=${Package} ${Version}", source],
                check=True, stdout=subprocess.PIPE, universal_newlines=True,
            )  # fmt: skip
            package = "Debian's " + field.stdout
        sys.stdout.write(module(folder, package))


def module(folder: str, package: str) -> str:
    text = HEAD.format(package=package, kernel=kernel_version(folder))
    text += "TABLES = {\n"
    for word, name, symbols in HEADERS:
        numbers = parse(os.path.join(folder, "usr/lib/linux/uapi", name), symbols)
        if word == "arm":
            name, extra = ARM_EXTRA
            assert numbers["arm_sync_file_range"] == extra["__NR_arm_sync_file_range"]
            numbers.update(parse(os.path.join(folder, "usr/lib/linux/uapi", name), extra))
        text += '    "%s": """\n%s""",\n' % (word, runs(numbers))
    include = os.path.join(folder, "usr/include/linux")
    return text + "}\n" + TAIL % (runs(socketcalls(include)), runs(ipc_calls(include)))


def kernel_version(folder: str) -> str:
    """What linux/version.h says."""
    with open(os.path.join(folder, "usr/include/linux/version.h")) as file:
        major, patch, sub = re.findall(r"LINUX_VERSION_(?:MAJOR|PATCHLEVEL|SUBLEVEL) (\d+)", file.read())
    return "Linux %s.%s.%s" % (major, patch, sub)


def parse(path: str, symbols: "dict[str, int]") -> "dict[str, int]":
    """The system calls of one header."""
    with open(path) as file:
        found = {}
        for name, value in DEFINE.findall(file.read()):
            if name in ("BASE", "SYSCALL_BASE", "OABI_SYSCALL_BASE", "SYSCALL_MASK"):
                continue
            base, number = NUMBER.match(value).groups()
            total = symbols[base] if base else 0
            found[name] = total + (symbols[number] if number in symbols else int(number, 0))
        return found


def socketcalls(include: str) -> "dict[str, int]":
    with open(os.path.join(include, "net.h")) as file:
        found = re.findall(r"^#define SYS_(\w+)\s+(\d+)", file.read(), re.M)
    return {name.lower(): int(number) for name, number in found}


def ipc_calls(include: str) -> "dict[str, int]":
    with open(os.path.join(include, "ipc.h")) as file:
        found = re.findall(r"^#define ((?:SEM|MSG|SHM)\w+)\s+(\d+)", file.read(), re.M)
    return {name.lower(): int(number) for name, number in found}


def runs(numbers: "dict[str, int]") -> str:
    """NUMBERS as text: a first number and the names that follow it, runs parted by ";".

    A number with two names is written twice.
    """
    order = sorted(numbers, key=lambda name: (numbers[name], name))
    parts = []  # type: list[list[str]]
    expected = -1
    for name in order:
        if numbers[name] != expected:
            parts.append([str(numbers[name])])
            expected = numbers[name]
        parts[-1].append(name)
        expected += 1
    return ";\n".join(wrap(words) for words in parts) + "\n"


def wrap(words: "list[str]") -> str:
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) > 109:
            lines.append(word)
        else:
            lines[-1] += " " + word
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
