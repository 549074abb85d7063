"""Real users without privileges, made for a run of the suite and removed at its end.

Their lines in /etc/subuid and /etc/subgid are added and taken out again one by one, under a lock,
so that runs at the same time, and an administrator's editor, do not lose each other's work.
"""

import contextlib
import fcntl
import os
import pwd
import re
import subprocess

from support import SESSION

PREFIX = "mctr"  # of their names; the rest is the process id of the run
SIZE = 65536
FILES = ("/etc/subuid", "/etc/subgid")
DATABASES = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow") + FILES


class Account:
    """A user. start: the first of their SIZE subordinate ids, the same for uids and gids; 0 for none"""

    def __init__(self, name: str, start: int) -> None:
        entry = pwd.getpwnam(name)
        self.name, self.uid, self.gid, self.start = name, entry.pw_uid, entry.pw_gid, start
        self.home = entry.pw_dir

    def __repr__(self) -> str:
        return "Account(%s, uid %d, ids from %d)" % (self.name, self.uid, self.start)

    def place(self, name: str) -> str:
        """A new, empty directory of theirs."""
        return SESSION.place(name, 0o755, (self.uid, self.gid))

    def host_id(self, inside: int) -> int:
        """What id INSIDE is on the host, where 0 is mapped to the user and the range follows."""
        return self.start + inside - 1 if inside else self.uid


def create(letter: str, ranges: bool) -> Account:
    """Make a user whose name ends in LETTER."""
    name = "%s%d%s" % (PREFIX, SESSION.adopter, letter)
    home = SESSION.place("home", 0o700)
    with _lock():
        subprocess.run(
            ["useradd", "--no-create-home", "--home-dir", home, "--shell", "/bin/sh", name],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        _remove_ranges(name)  # of useradd's own choice
        start = 0
        if ranges:
            start = _free_range()
            for path in FILES:
                with open(path, "a") as file:
                    file.write("%s:%d:%d\n" % (name, start, SIZE))
    account = Account(name, start)
    os.chown(home, account.uid, account.gid)
    return account


def remove(account: Account) -> None:
    """Remove a user. What they left is found by the check at the end of the suite."""
    _remove(account.name)


def remove_stale() -> None:
    """Remove the users of runs that were killed before they could do it."""
    for entry in pwd.getpwall():
        found = re.match(PREFIX + r"(\d+)[a-z]$", entry.pw_name)
        if found and not os.path.exists("/proc/" + found.group(1)):
            _remove(entry.pw_name)


def remaining() -> "list[str]":
    """Lines of the user databases that name a user of this run."""
    found = []
    for path in DATABASES:
        with contextlib.suppress(FileNotFoundError, PermissionError), open(path) as file:
            own = "%s%d" % (PREFIX, SESSION.adopter)
            found += ["%s: %s" % (path, line.strip()) for line in file if line.startswith(own)]
    return found


def _remove(name: str) -> None:
    with _lock():
        done = subprocess.run(["userdel", "--force", name], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if done.returncode not in (0, 6):  # 6: there is none
            raise RuntimeError("userdel: " + done.stderr.decode())
        _remove_ranges(name)


def _remove_ranges(name: str) -> None:
    for path in FILES:
        with contextlib.suppress(FileNotFoundError), open(path, "r+") as file:
            lines = file.readlines()
            kept = [line for line in lines if not line.startswith(name + ":")]
            if kept != lines:
                file.seek(0)
                file.writelines(kept)
                file.truncate()


def _free_range() -> int:
    """The start of SIZE ids that nobody has, high up, where useradd does not choose them."""
    taken = []
    for path in FILES:
        with contextlib.suppress(FileNotFoundError), open(path) as file:
            for line in file:
                fields = line.split(":")
                if len(fields) == 3 and fields[1].isdigit() and fields[2].strip().isdigit():
                    taken.append((int(fields[1]), int(fields[1]) + int(fields[2])))
    start = 1000000000
    while any(first < start + SIZE and start < end for first, end in taken):
        start += SIZE
    return start


@contextlib.contextmanager
def _lock():
    with open("/run/lock/minictr-tests" if os.path.isdir("/run/lock") else "/run/minictr-tests", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
