"""The container's own terminal: a pseudo terminal of its own devpts.

The pair is opened by descriptor (TIOCGPTPEER, since 4.13), never by the name /dev/pts/N, which
the container could exchange (CVE-2025-52565).

Side: both
"""

import _struct as struct
import fcntl

from . import abi, libc, mounting, mounts, paths
from . import unix as os
from .errors import ContainerError, step


def attach(root: int, channel, plan, stage=None) -> None:
    """In init: open a terminal, send its master to the runtime; its other end is our standard streams.

    root: the directory whose /dev/pts it is of, -1 for the host's
    stage: the rootfs.Stage of a new container, where it is mounted on /dev/console
    """
    with step("open a terminal", hints={abi.ENOENT: "mount devpts on /dev/pts"}):
        flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
        where = stage.in_dev("/dev/pts") if stage else (root, "/dev/pts")
        master = _open_ptmx(where, flags) if root >= 0 else os.open("/dev/ptmx", flags)
        fcntl.ioctl(master, abi.TIOCSPTLCK, struct.pack("i", 0))
        slave = fcntl.ioctl(master, abi.TIOCGPTPEER, flags)
    if plan.console_size:
        set_size(master, *plan.console_size)
    _give(slave, plan.credentials.uid)
    channel.say("console", fds=(master,))
    os.close(master)
    if stage:
        with step("mount the terminal on /dev/console"):
            dev, name = stage.in_dev("/dev/console")
            target = paths.make_in(dev, name, directory=False)
            mount = mounts.Mount(target="/dev/console", kind="bind", source="terminal")
            os.close(mounting.bind(root, slave, target, mount))
            os.close(target)
    for number in (0, 1, 2):
        os.dup2(slave, number)


def take() -> None:
    """Make the terminal the one that controls our session."""
    fcntl.ioctl(0, abi.TIOCSCTTY, 0)


def _give(terminal: int, uid: int) -> None:
    """To the program's user, who else could not open it again by its name. The group stays the terminals'."""
    if os.fstat(terminal).st_uid != uid:
        try:
            os.fchown(terminal, uid, -1)
        except OSError as error:
            if error.errno not in (abi.EPERM, abi.EINVAL):  # nobody's to give, or an id without a map
                raise


def _open_ptmx(where: "tuple[int, str]", flags: int) -> int:
    """Of a genuine devpts, whatever else the container has in that place: opening that could be to use it."""
    directory = paths.open_in(*where)
    try:
        if libc.fstatfs_type(directory) != abi.DEVPTS_SUPER_MAGIC:
            raise ContainerError("open a terminal", "/dev/pts is no devpts", hint="mount devpts on /dev/pts")
        return os.open("ptmx", flags | os.O_NOFOLLOW, dir_fd=directory)
    finally:
        os.close(directory)


def keep_newlines(terminal: int) -> None:
    """What the program writes is to be read by another, as from runc: a newline alone ends a line
    (termios(3) ONLCR)."""
    import termios

    mode = termios.tcgetattr(terminal)
    mode[1] &= ~termios.ONLCR
    termios.tcsetattr(terminal, termios.TCSANOW, mode)


def copy_size(terminal: int) -> None:
    """Give TERMINAL the size of the caller's, which is the first of the standard streams that is one."""
    for source in (0, 1, 2):
        try:
            size = os.get_terminal_size(source)
        except OSError:
            continue
        set_size(terminal, size.lines, size.columns)
        return


def set_size(terminal: int, rows: int, columns: int) -> None:
    """ioctl_tty(2) TIOCSWINSZ."""
    with step("set the size of the terminal"):
        fcntl.ioctl(terminal, abi.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
