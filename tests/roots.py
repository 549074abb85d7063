"""Root file systems to run containers from: Debian's static busybox, and a whole Debian.

The busybox one is made for each run of the suite. Debian takes a minute and the network, so it is
made once and kept: in $XDG_CACHE_HOME/minictr-tests, else ~/.cache/minictr-tests, else, where
other users cannot go there (root's home), /var/cache/minictr-tests.
"""

import fcntl
import os
import shutil
import stat
import subprocess

SUITE = "bookworm"
PACKAGES = ("procps",)

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/:/bin/false
app:x:1000:1000:An application:/home/app:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
"""
GROUP = """\
root:x:0:
daemon:x:1:
audio:x:29:app
app:x:1000:
nogroup:x:65534:
"""


def make_busybox(root: str) -> None:
    """Fill the directory ROOT: every applet of busybox in /bin, the usual directories, four users."""
    busybox = static_busybox()
    for name in "bin dev etc home home/app proc root run sys tmp usr usr/bin var var/tmp".split():
        os.makedirs(os.path.join(root, name), exist_ok=True)
        os.chmod(os.path.join(root, name), 0o1777 if name.endswith("tmp") else 0o755)
    os.chmod(os.path.join(root, "root"), 0o700)
    os.chown(os.path.join(root, "home/app"), 1000, 1000) if os.geteuid() == 0 else None
    shutil.copyfile(busybox, os.path.join(root, "bin/busybox"))
    os.chmod(os.path.join(root, "bin/busybox"), 0o755)
    listed = subprocess.run([busybox, "--list"], stdout=subprocess.PIPE, check=True).stdout.decode()
    for applet in listed.split():
        if applet != "busybox":
            os.symlink("busybox", os.path.join(root, "bin", applet))
    os.symlink("../../bin/busybox", os.path.join(root, "usr/bin/env"))
    for name, text in (("passwd", PASSWD), ("group", GROUP), ("hostname", "busybox\n")):
        path = os.path.join(root, "etc", name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o644)


def debian() -> str:
    """The Debian root, from the cache or made now. RuntimeError says why it cannot be made."""
    folder = cache()
    os.makedirs(folder, mode=0o755, exist_ok=True)
    root = os.path.join(folder, "-".join((SUITE, "minbase") + PACKAGES))
    with open(root + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of runs at the same time, one makes it
        if not os.path.isdir(root):
            new = root + ".new"
            subprocess.run(["rm", "-rf", "--one-file-system", new], check=True)
            done = subprocess.run(
                ["mmdebstrap", "--quiet", "--variant=minbase", "--include=" + ",".join(PACKAGES), SUITE, new],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError("mmdebstrap: " + done.stdout.decode(errors="replace")[-2000:])
            os.chmod(new, 0o755)
            os.rename(new, root)
    return root


def cache() -> str:
    home = os.path.expanduser("~")
    folder = os.environ.get("XDG_CACHE_HOME")
    if not folder:
        closed = os.geteuid() == 0 and not reachable(home)
        folder = "/var/cache" if closed else os.path.join(home, ".cache")
    return os.path.join(folder, "minictr-tests")


def copy(root: str, target: str, account: object = None) -> str:
    """Copy ROOT into the empty directory TARGET, to be changed by a test.

    account: whose it will be: owned by the ids that root and the others of the container are on the
    host when 0 is mapped to the account and the rest to its range (all to the account without one)
    """
    subprocess.run(["cp", "-a", "--reflink=auto", root + "/.", target], check=True)
    if account is not None:
        for folder, directories, files in os.walk(target):
            for name in directories + files:
                _give(os.path.join(folder, name), account)
        _give(target, account)
    return target


def _give(path: str, account) -> None:
    found = os.lstat(path)
    uid, gid = (account.host_id(i) if account.start else 0 for i in (found.st_uid, found.st_gid))
    os.lchown(path, uid or account.uid, account.gid if not found.st_gid or not account.start else gid)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(path, stat.S_IMODE(found.st_mode))  # chown takes the set-user-ID bits away


def static_busybox() -> str:
    """The path of a busybox that needs no library, or ""."""
    for path in ("/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"):
        if os.path.exists(path):
            with open(path, "rb") as file:
                if b"/ld-" not in file.read(4096):  # the name of a program interpreter, near the start
                    return path
    return ""


def reachable(path: str) -> bool:
    """Whether every user can go to PATH and read it: by its name, and where a link of that name leads to."""
    if not os.path.exists(path) or not os.stat(path).st_mode & 0o004:
        return False
    for place in (os.path.abspath(path), os.path.realpath(path)):
        while place != "/":
            place = os.path.dirname(place)
            if not os.stat(place).st_mode & 0o001:
                return False
    return True
