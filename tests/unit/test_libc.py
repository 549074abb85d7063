import errno
import os
import signal
import socket
import stat

import pytest
from support import in_child, needs

from minictr import abi, libc, paths


def open_descriptors(*numbers):
    found = []
    for number in numbers:
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return found


def status_line(name):
    with open("/proc/self/status") as file:
        return next(line.split()[1] for line in file if line.startswith(name + ":"))


def test_a_failed_call_carries_errno_message_and_path():
    with pytest.raises(OSError) as caught:
        libc.mount("none", "/no/such/place", "tmpfs")
    assert caught.value.errno in (errno.ENOENT, errno.EPERM)
    assert caught.value.filename == "/no/such/place"
    assert caught.value.strerror == os.strerror(caught.value.errno)


def test_a_kernel_without_a_call_is_told_by_enosys():
    with pytest.raises(OSError) as caught:
        libc._bind_syscall(-1)()
    assert caught.value.errno == errno.ENOSYS


def test_capget_agrees_with_proc():
    names = ("CapEff", "CapPrm", "CapInh")
    assert libc.capget() == tuple(int(status_line(name), 16) for name in names)


def test_capset_gives_up_what_is_not_in_the_mask():
    def give_up():
        effective, permitted, inheritable = libc.capget()
        keep = ~(1 << abi.CAP_SYS_ADMIN)
        libc.capset(effective & keep, permitted & keep, inheritable & keep)
        return libc.capget() == (effective & keep, permitted & keep, inheritable & keep)

    assert in_child(give_up) == "True"


def test_a_process_gets_the_first_fifteen_bytes_of_its_name():
    def rename():
        libc.prctl_name("minictr: init of x")
        with open("/proc/self/comm") as file:
            return file.read()

    assert in_child(rename) == "minictr: init o\n"


def test_the_type_of_a_file_system_is_told_by_its_magic():
    descriptor = os.open("/proc", os.O_RDONLY)
    try:
        assert libc.fstatfs_type(descriptor) == abi.PROC_SUPER_MAGIC
    finally:
        os.close(descriptor)


def test_a_limit_is_set_and_2_to_the_64_minus_1_is_none():
    def limit():
        libc.prlimit(0, abi.RLIMITS.index("RLIMIT_CORE"), 0, 2**64 - 1)
        with open("/proc/self/limits") as file:
            return next(line.split()[4:6] for line in file if line.startswith("Max core file size"))

    found = in_child(limit)
    assert found == "['0', 'unlimited']" or found.startswith("PermissionError")


def test_close_range_closes_its_range_and_no_more():
    def close():
        with open("/dev/null") as null:
            for number in (100, 101, 102):
                os.dup2(null.fileno(), number)
        libc.close_range(101, 102)
        return open_descriptors(100, 101, 102)

    assert in_child(close) == "[100]"


@needs("seccomp")
@pytest.mark.parametrize("error", ["", "ENOSYS", "EPERM"])
def test_descriptors_are_closed_where_the_kernel_refuses_to_close_a_range_of_them(error):
    import refusal

    def close():
        proc = paths.open_proc()
        with open("/dev/null") as null:
            for number in (899, 900, 901, 902):
                os.dup2(null.fileno(), number)
        if error:
            refusal.refuse(["close_range=" + error])
        paths.close_from(900, {901}, proc)
        return open_descriptors(899, 900, 901, 902)

    assert in_child(close) == "[899, 901]"


def test_a_memfd_can_be_sealed():
    import fcntl

    descriptor = libc.memfd_create("test", abi.MFD_CLOEXEC | abi.MFD_ALLOW_SEALING)
    try:
        fcntl.fcntl(descriptor, abi.F_ADD_SEALS, abi.F_SEAL_ALL)
        with pytest.raises(PermissionError):
            os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


def test_a_pair_of_sockets_is_connected_and_closes_on_exec():
    one, other = libc.socketpair()
    try:
        os.write(one, b"word")
        assert os.read(other, 10) == b"word"
        assert not os.get_inheritable(one)
        assert not os.get_inheritable(other)
    finally:
        os.close(one)
        os.close(other)


@needs("openat2")
def test_openat2_stays_under_its_root(tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    directory = os.open(str(tmp_path), os.O_PATH)
    try:
        with pytest.raises(FileNotFoundError):
            libc.openat2(directory, "link", os.O_RDONLY, abi.RESOLVE_IN_ROOT)
        with pytest.raises(OSError) as caught:
            libc.openat2(directory, "../x", os.O_RDONLY, abi.RESOLVE_BENEATH)
        assert caught.value.errno == errno.EXDEV
    finally:
        os.close(directory)


def test_a_process_is_signalled_by_its_descriptor():
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(1)
    try:
        pidfd = libc.pidfd_open(pid)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        os.kill(pid, signal.SIGKILL)
    else:
        libc.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


@needs("root")
def test_names_are_set_in_a_uts_namespace_of_their_own():
    def name():
        libc.unshare(abi.CLONE_NEWUTS)
        libc.sethostname("host")
        libc.setdomainname("domain")
        found = os.uname().nodename
        with open("/proc/sys/kernel/domainname") as file:
            return found + " " + file.read().strip()

    before = os.uname().nodename
    assert in_child(name) == "host domain"
    assert os.uname().nodename == before


@needs("root", "root-mount", "mount-api")
def test_a_file_system_is_made_detached_and_moved_into_place(tmp_path):
    def make():
        libc.unshare(abi.CLONE_NEWNS)
        libc.mount("", "/", "", abi.MS_REC | abi.MS_PRIVATE)
        context = libc.fsopen("tmpfs")
        libc.fsconfig_set(context, "mode", "0710")
        mount = libc.fsmount(context, abi.MOUNT_ATTR_NOSUID)
        target = os.open(str(tmp_path), os.O_PATH | os.O_DIRECTORY)
        libc.move_mount(mount, target)
        found = os.stat(str(tmp_path))
        return stat.S_IMODE(found.st_mode), bool(os.statvfs(str(tmp_path)).f_flag & os.ST_NOSUID)

    assert in_child(make) == str((0o710, True))


@needs("root", "root-mount", "idmap")
def test_a_cloned_mount_is_made_read_only_without_the_original(tmp_path):
    def make():
        libc.unshare(abi.CLONE_NEWNS)
        libc.mount("", "/", "", abi.MS_REC | abi.MS_PRIVATE)
        source = os.open(str(tmp_path), os.O_PATH | os.O_DIRECTORY)
        mount = libc.open_tree(source, ".", abi.OPEN_TREE_CLONE)
        libc.mount_setattr(mount, abi.MOUNT_ATTR_RDONLY)
        os.mkdir(str(tmp_path / "original"))
        try:
            os.mkdir("copy", dir_fd=mount)
        except OSError as error:
            return error.strerror

    assert in_child(make) == os.strerror(errno.EROFS)


@needs("seccomp")
def test_a_filter_of_minictr_s_own_makes_the_kernel_refuse():
    import refusal

    def refused():
        libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
        libc.prctl_seccomp(refusal.assemble(["fsopen=EUSERS"]))
        libc.fsopen("tmpfs")

    assert in_child(refused).startswith("OSError: [Errno %d]" % errno.EUSERS)


def test_the_numbers_agree_with_those_of_the_tests():
    import refusal

    for machine, numbers in refusal.SYSCALLS.items():
        for name, number in abi.SYSCALLS[machine].items():
            assert numbers[name] == number
        for name in ("OPEN_TREE", "MOVE_MOUNT", "FSOPEN", "FSCONFIG", "FSMOUNT", "CLONE3", "OPENAT2",
                     "PIDFD_OPEN", "PIDFD_SEND_SIGNAL", "CLOSE_RANGE", "MOUNT_SETATTR"):  # fmt: skip
            assert numbers[name.lower()] == getattr(abi, name)
    assert abi.CAPABILITIES == tuple("CAP_" + name for name in refusal.CAPABILITIES)


# --- descriptors through a socket ---------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 252])
def test_descriptors_go_through_a_socket_and_close_on_exec(count):
    here, there = libc.socketpair()
    sent = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
    libc.send_descriptors(here, b"word\n", tuple(sent))
    data, got = libc.receive_descriptors(there, 100)
    assert data == b"word\n"
    assert len(got) == count and not set(got) & set(sent)
    for descriptor in got:
        assert os.path.sameopenfile(descriptor, sent[0])
        assert not os.get_inheritable(descriptor)
    for descriptor in got + sent + [here, there]:
        os.close(descriptor)


def test_what_comes_without_descriptors_and_the_end_are_told():
    here, there = libc.socketpair()
    os.write(here, b"x" * 300)
    assert libc.receive_descriptors(there, 200) == (b"x" * 200, [])
    assert libc.receive_descriptors(there, 200) == (b"x" * 100, [])
    os.close(here)
    assert libc.receive_descriptors(there, 200) == (b"", [])
    with pytest.raises(BrokenPipeError):
        libc.send_descriptors(there, b"x", (there,))
    os.close(there)


def test_a_signal_does_not_end_the_waiting_for_a_message():
    here, there = libc.socketpair()

    def body():
        caught = []
        signal.signal(signal.SIGALRM, lambda *_: (caught.append(1), os.write(here, b"late")))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        return "%s %s" % (libc.receive_descriptors(there, 10), caught)

    assert in_child(body) == "(b'late', []) [1]"
    os.close(here)
    os.close(there)


# --- files of the host ------------------------------------------------------------------------------


def test_of_a_file_of_the_host_as_much_is_read_as_was_asked_for(tmp_path):
    (tmp_path / "long").write_text("x" * 100000)
    assert paths.read_text(str(tmp_path / "long"), 70000) == "x" * 70000
    assert paths.read_text(str(tmp_path / "long")) == "x" * 100000


@pytest.mark.parametrize(
    "kind", ["missing", "below a file", "a pipe", "a socket", "of a process that has ended"]
)
def test_a_file_of_the_host_that_says_nothing_is_empty_at_once(tmp_path, kind):
    place = str(tmp_path / "x")
    opened = -1
    if kind == "below a file":
        (tmp_path / "x").touch()
        place += "/y"
    elif kind == "a pipe":
        os.mkfifo(place)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(place)
    elif kind == "of a process that has ended":
        pid = os.fork()
        if pid == 0:
            signal.pause()
        opened = os.open("/proc/%d/stat" % pid, abi.O_PATH)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        place = paths.descriptor_path(opened)
    assert paths.read_text(place) == ""
    if opened >= 0:
        os.close(opened)
