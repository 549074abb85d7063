"""libseccomp, by ctypes: the filter that runc and crun would make of a profile.

`missing()` says why it cannot be asked. Debian's libseccomp2 has the library.
"""

import ctypes
import os
import struct
import tempfile

# include/seccomp.h
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": 0xC000003E, "SCMP_ARCH_X86": 0x40000003, "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_AARCH64": 0xC00000B7, "SCMP_ARCH_ARM": 0x40000028, "SCMP_ARCH_RISCV64": 0xC00000F3,
    "SCMP_ARCH_PPC64LE": 0xC0000015, "SCMP_ARCH_S390X": 0x80000016,
}  # fmt: skip
NATIVE = {
    "x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64", "riscv64": "SCMP_ARCH_RISCV64",
    "ppc64le": "SCMP_ARCH_PPC64LE", "s390x": "SCMP_ARCH_S390X",
}  # fmt: skip
OPERATORS = {
    "SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6, "SCMP_CMP_MASKED_EQ": 7,
}  # fmt: skip
_EEXIST = 17


class _Condition(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint), ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64), ("second", ctypes.c_uint64),
    )  # fmt: skip


try:
    _library = ctypes.CDLL("libseccomp.so.2")
    _library.seccomp_init.restype = ctypes.c_void_p
except OSError as error:
    _library, _why = None, str(error)


def missing():
    """Why libseccomp cannot be asked, or ""."""
    return "" if _library else "there is no libseccomp: " + _why


def number(name, architecture):
    """The number of a call, None where libseccomp knows none."""
    token = ctypes.c_uint32(ARCHITECTURES[architecture])
    found = _library.seccomp_syscall_resolve_name_arch(token, name.encode())
    return found if found >= 0 else None


def program(profile, machine, action):
    """The program for PROFILE, rules added as runc adds them; None where libseccomp refuses one.

    action: from the name of an action and its number to what the kernel knows
    """
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = ctypes.c_void_p(_library.seccomp_init(ctypes.c_uint32(default)))
    try:
        if machine != os.uname().machine:
            _library.seccomp_arch_remove(context, ctypes.c_uint32(0))  # SCMP_ARCH_NATIVE
        for name in [NATIVE[machine]] + profile["architectures"]:
            status = _library.seccomp_arch_add(context, ctypes.c_uint32(ARCHITECTURES[name]))
            assert status in (0, -_EEXIST), (name, status)
        for rule in profile["syscalls"]:
            what = action(rule["action"], rule.get("errnoRet"))
            if what != default and not _add(context, what, rule):
                return None
        with tempfile.TemporaryFile() as file:
            assert _library.seccomp_export_bpf(context, file.fileno()) == 0
            file.seek(0)
            return _native(file.read(), machine)
    finally:
        _library.seccomp_release(context)


def _native(code, machine):
    """CODE, which comes in the byte order of MACHINE, in that of this one."""
    order = ">" if machine == "s390x" else "<"
    form = "HBBI" * (len(code) // 8)
    return struct.pack("=" + form, *struct.unpack(order + form, code))


def _add(context, what, rule):
    conditions = [
        _Condition(arg["index"], OPERATORS[arg["op"]], arg["value"], arg.get("valueTwo", 0))
        for arg in rule.get("args", ())
    ]
    groups = [conditions]
    if len({condition.argument for condition in conditions}) < len(conditions):
        groups = [[condition] for condition in conditions]
    for name in rule["names"]:
        known = _library.seccomp_syscall_resolve_name(name.encode())
        if known == -1:  # __NR_SCMP_ERROR: no architecture has it
            continue
        for group in groups:
            array = (_Condition * len(group))(*group)
            if _library.seccomp_rule_add_array(context, ctypes.c_uint32(what), known, len(group), array):
                return False
    return True
