import json

import bpf
import pytest
import seccomp_reference as reference
from seccomp_reference import EDGES, FAMILY, check, fixture

from minictr import abi, seccomp, seccomp_default, spec, syscalls

ALLOW, EPERM, ENOSYS, EIO = reference.ALLOW, reference.ERRNO | 1, reference.ENOSYS, reference.ERRNO | 5
MACHINES = sorted(syscalls.TABLES.keys() - {"x32"})
DEFAULT = set(spec.DEFAULT_CAPABILITIES)


def program(machine="x86_64", *more, **options):
    given = seccomp_default.profile(DEFAULT | set(more), machine, **options)
    return bpf.Bpf(seccomp.compile(given, machine).program)


def verdicts(made, names, machine="x86_64", arguments=(0,) * 6):
    return {made.call(machine, syscalls.table(machine)[name], arguments) for name in names.split()}


# --- the list -----------------------------------------------------------------------------------


def listed(*capabilities):
    given = seccomp_default.profile(set(capabilities), "x86_64")
    return {name for one in given["syscalls"] if one["action"] == "SCMP_ACT_ALLOW" for name in one["names"]}


def test_every_name_is_a_call_of_some_architecture():
    known = {name for word in syscalls.TABLES for name in syscalls.table(word)}
    for capabilities in (DEFAULT, set(abi.CAPABILITIES)):
        rules = seccomp_default.profile(capabilities, "x86_64")["syscalls"]
        assert {name for one in rules for name in one["names"]} <= known


def test_no_name_is_listed_twice():
    names = seccomp_default._ALWAYS.split()
    assert len(names) == len(set(names))


def test_nothing_is_allowed_that_docker_refuses_but_what_is_newer_or_another_machine_s():
    docker = {name for one in fixture("docker")["syscalls"] for name in one["names"]}
    newer = """
        cachestat fchmodat2 futex_requeue futex_wait futex_wake getxattrat listmount listxattrat
        map_shadow_stack mseal name_to_handle_at pkey_alloc pkey_free pkey_mprotect removexattrat
        setxattrat statmount uretprobe process_vm_readv process_vm_writev
    """
    elsewhere = """
        arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2
        riscv_flush_icache riscv_hwprobe s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr
        swapcontext
    """
    assert listed("CAP_SYS_CHROOT") - docker == set((newer + elsewhere).split())
    missing = "clone3 io_uring_enter io_uring_register io_uring_setup socketcall"
    assert docker - listed("CAP_SYS_CHROOT") == set(missing.split())


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "capabilities", [DEFAULT, set(), set(abi.CAPABILITIES)], ids=["default", "none", "all"]
)
def test_the_program_means_what_the_profile_says(machine, capabilities):
    given = seccomp_default.profile(capabilities, machine)
    check(
        given,
        machine,
        [(0,) * 6, (abi.CLONE_NEWPID,) * 6, (abi.TIOCSTI,) * 6, ((1 << 32) + abi.TIOCLINUX,) * 6],
    )


def test_the_program_is_short_and_quickly_walked():
    made = program()
    assert len(made.code) < 500
    for name in ("read", "write", "openat", "futex", "mmap", "epoll_wait", "getpid"):
        made.call("x86_64", syscalls.table("x86_64")[name])
        assert made.steps <= 11
    made.call("x86_64", syscalls.table("x86_64")["socket"], (2, 1, 0, 0, 0, 0))
    assert made.steps <= 16


def test_it_is_json():
    given = seccomp_default.profile(DEFAULT, "x86_64")
    assert json.loads(json.dumps(given)) == given


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("machine", MACHINES)
def test_what_holds_the_kernel_open_is_refused_even_with_all_capabilities(machine):
    made = program(machine, *abi.CAPABILITIES)
    names = "add_key keyctl request_key userfaultfd io_uring_setup io_uring_enter kexec_load swapon"
    assert verdicts(made, names, machine) == {EPERM}


NAMESPACES = """
    unshare setns mount umount2 pivot_root mount_setattr move_mount open_tree fsopen fsmount fsconfig
    fspick bpf perf_event_open quotactl sethostname setdomainname fanotify_init open_by_handle_at
    reboot init_module finit_module delete_module acct kcmp pidfd_getfd process_madvise clock_settime
    settimeofday vhangup syslog mbind set_mempolicy
"""


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_capabilities_that_are_not_granted_are_refused(machine):
    assert verdicts(program(machine), NAMESPACES, machine) == {EPERM}
    # newer than all that is allowed
    assert verdicts(program(machine), "open_tree_attr file_getattr fchroot", machine) == {ENOSYS}


@pytest.mark.parametrize(
    "capability, names",
    [
        ("CAP_SYS_ADMIN", "unshare setns mount pivot_root move_mount open_tree_attr clone3 bpf syslog"),
        ("CAP_BPF", "bpf"), ("CAP_PERFMON", "perf_event_open"), ("CAP_SYSLOG", "syslog"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_SYS_MODULE", "init_module finit_module delete_module"), ("CAP_SYS_PACCT", "acct"),
        ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"), ("CAP_SYS_RAWIO", "iopl ioperm"),
        ("CAP_SYS_TIME", "clock_settime settimeofday"), ("CAP_SYS_TTY_CONFIG", "vhangup"),
        ("CAP_SYS_NICE", "mbind set_mempolicy get_mempolicy set_mempolicy_home_node"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ],
)  # fmt: skip
def test_a_capability_brings_its_calls(capability, names):
    assert ALLOW not in verdicts(program(), names)
    assert verdicts(program("x86_64", capability), names) == {ALLOW}


def test_chroot_follows_its_capability():
    assert verdicts(program(), "chroot") == {ALLOW}
    given = seccomp_default.profile(DEFAULT - {"CAP_SYS_CHROOT"}, "x86_64")
    assert verdicts(bpf.Bpf(seccomp.compile(given, "x86_64").program), "chroot") == {EPERM}


def test_tracing_is_for_kernels_on_which_it_cannot_lead_past_a_filter():
    names = "ptrace process_vm_readv process_vm_writev"
    assert verdicts(program(), names) == {ALLOW}
    assert verdicts(program(kernel=(4, 7)), names) == {EPERM}
    assert verdicts(program("x86_64", "CAP_SYS_PTRACE", kernel=(4, 7)), names) == {ALLOW}


# --- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", MACHINES)
def test_clone_makes_threads_and_processes_but_no_namespaces(machine):
    """And clone3, whose flags are out of a filter's sight, is not there (CVE-2021-41133)."""
    made, index = program(machine), 1 if machine == "s390x" else 0
    thread, process = 0x3D0F00, 17
    for flags in (
        thread,
        process,
        process | 1 << 32,
        abi.CLONE_NEWTIME,
    ):  # the last is a signal's number to clone
        arguments = [flags if at == index else abi.CLONE_NEWUSER for at in range(6)]
        assert verdicts(made, "clone", machine, arguments) == {ALLOW}
    for name in ("NEWNS", "NEWCGROUP", "NEWUTS", "NEWIPC", "NEWUSER", "NEWPID", "NEWNET"):
        for more in (process, thread, 1 << 32, 0xFFFFFFFF00000000):
            flags = getattr(abi, "CLONE_" + name) | more
            if FAMILY.get(machine, "")[1:] == (machine,):
                flags &= 0xFFFFFFFF
            arguments = [flags if at == index else 0 for at in range(6)]
            assert verdicts(made, "clone", machine, arguments) == {EPERM}
    assert verdicts(made, "clone3", machine) == {ENOSYS}


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_types_into_the_terminal(machine):
    """CVE-2017-5226, CVE-2019-10063, CVE-2023-1523."""
    made = program(machine)
    for request in (abi.TIOCSTI, abi.TIOCLINUX):
        for high in (0, 1, 0x80000000, 0xFFFFFFFF):
            assert verdicts(made, "ioctl", machine, (0, request + (high << 32), 0, 0, 0, 0)) == {EIO}
    for request in [0x5401, abi.TIOCSTI - 1, abi.TIOCSTI + 1, abi.TIOCLINUX + 1, 0xFFFFFFFF80045430] + EDGES:
        if request & 0xFFFFFFFF not in (abi.TIOCSTI, abi.TIOCLINUX):
            assert verdicts(made, "ioctl", machine, (0, request, abi.TIOCSTI, 0, 0, 0)) == {ALLOW}


@pytest.mark.parametrize("machine", MACHINES)
def test_families_of_sockets_are_chosen(machine):
    made = program(machine)
    allowed = [
        family
        for family in range(60)
        if verdicts(made, "socket", machine, (family, 1, 0, 0, 0, 0)) == {ALLOW}
    ]
    assert {1, 2, 10, 16, 17} <= set(allowed)
    assert not {abi.AF_ALG, abi.AF_VSOCK, 12, 19, 20, 23, 25, 34, 37} & set(allowed)
    assert max(allowed) == 45
    if machine not in ("i386", "arm"):
        high = {
            made.call(machine, syscalls.table(machine)["socket"], (family + (1 << 32),) * 6)
            for family in range(60)
        }
        assert high == {EPERM}  # the kernel would take the low half: AF_ALG


@pytest.mark.parametrize("machine", ["i386", "s390x", "ppc64le"])
def test_socketcall_makes_no_sockets_but_uses_them(machine):
    made = program(machine)
    for high in (0, 7 << 32):
        assert verdicts(made, "socketcall", machine, (high + 1,) * 6) == {EPERM}
        assert verdicts(made, "socketcall", machine, (high + 3,) * 6) == {ALLOW}


@pytest.mark.parametrize("machine", MACHINES)
def test_personalities_are_docker_s(machine):
    made = program(machine)
    asked = [0, 8, 0x20000, 0x20008, 0xFFFFFFFF, 1, 9, 0x40000, 0x400000, 0x20009, 0xFFFFFFFE]
    allowed = [
        value for value in asked if verdicts(made, "personality", machine, (value, 0, 0, 0, 0, 0)) == {ALLOW}
    ]
    assert allowed == [0, 8, 0x20000, 0x20008, 0xFFFFFFFF]


# --- architectures ------------------------------------------------------------------------------


def test_32_bit_programs_run_but_x32_s_do_not():
    made = program()
    assert made.call("i386", syscalls.table("i386")["write"]) == ALLOW
    assert {
        made.call("x86_64", number) for number in (0x40000000, 0x40000001, 0x40000208, 0x40000000 + 56)
    } == {ENOSYS}
    made = program("aarch64")
    assert made.call("arm", syscalls.table("arm")["set_tls"]) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_each_machine_has_what_a_program_starts_with(machine):
    names = (
        "execve exit_group read write openat close mmap munmap brk mprotect futex rt_sigaction getrandom rseq"
    )
    names = names.replace("mmap", "mmap2") if machine in ("i386", "arm") else names
    assert verdicts(program(machine), names, machine) == {ALLOW}


def test_no_call_from_another_machine_is_let_through():
    made = program()
    assert {made.call(word, 1) for word in ("aarch64", "s390x", "riscv64")} == {reference.KILL_PROCESS}
