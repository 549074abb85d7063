"""Run a command as rootless podman runs its runtime: as root of a user namespace with a mount namespace
beside it. The caller is 0 in it, and COUNT subordinate ids from START on are the rest.

    python3 tests/reexec.py START COUNT COMMAND...
"""

import ctypes
import os
import subprocess
import sys

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000  # include/uapi/linux/sched.h


def main() -> None:
    start, count, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    pid, (reader, writer) = os.getpid(), os.pipe()
    outside = os.fork()
    if outside == 0:  # the maps are written from outside
        os.close(writer)
        os.read(reader, 1)
        for helper, own in (("newuidmap", os.getuid()), ("newgidmap", os.getgid())):
            subprocess.run([helper, str(pid), "0", str(own), "1", "1", start, count], check=True)
        os._exit(0)
    if ctypes.CDLL(None).unshare(CLONE_NEWUSER | CLONE_NEWNS):
        sys.exit("no user namespace can be made")
    os.close(writer)
    _, status = os.waitpid(outside, 0)
    if status:
        sys.exit("the maps could not be written")
    os.setresgid(0, 0, 0)
    os.setgroups([])
    os.setresuid(0, 0, 0)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
