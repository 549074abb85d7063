#!/usr/bin/env python3
"""Run tests in virtual machines: on kernels and set-ups that the machine at hand has not.

    tests/vm.py [OPTION...] KIND... [-- ARGUMENT OF PYTEST...]

`make test-vm` calls it. A kind is a set-up of the machine and what is tested in it by default (KINDS). A
machine is made from Debian's packages alone: its root file system by mmdebstrap, with Debian's kernel for
clouds and an initramfs of a static busybox, once, into the cache of the tests (roots.cache()), some 300 MB.
That takes minutes and the network; later runs need neither. An image of this checkout is made for each run.
Both lie below a throw-away layer, so that nothing written inside reaches a file outside. Nothing is
installed on the host; of it are needed Python 3.6, mmdebstrap, mke2fs and qemu (Debian's packages
mmdebstrap, e2fsprogs, debian-archive-keyring and qemu-system-x86 or qemu-system-arm), and no privileges
where mmdebstrap needs none.

With a /dev/kvm that works a machine is nearly as fast as its host. Without, it is emulated, twenty times
slower: the tests find MINICTR_TEST_EMULATED in their environment. The machine has two processors, 1.5 GB of
memory and no network.

  --suite NAME        Debian's release, trixie where not given; the pytest of those before bookworm is too old
  --kernel NAME       the release whose kernel it has, its own where not given; that of bullseye is Linux 5.10
  --timeout SECONDS   for each machine, 1800 where not given; its making is not counted
  --tests PATHS       what is tested, instead of what each kind names; words between spaces
  --accel NAME        kvm or tcg (emulation), without a trial
  --verbose           print the machine's console too

Exit status: 0 where pytest's was 0 in every machine, else 1; 2: wrong usage.

How: qemu -> kernel -> INIT (in the initramfs: modules, file systems) -> BOOT (process 1, or before systemd
becomes it) -> TESTS, whose output comes out by a virtio port, with the exit status as the last line.
"""

import argparse
import collections
import fcntl
import hashlib
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import roots

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SUITE = "trixie"
OLD_SUITES = ("buster", "bullseye")  # before pytest 7
MEMORY = 1536  # MiB
MARKER = "minictr-vm: "
ALIVE = MARKER + "the kernel is up"
TRIAL = 20  # seconds that a kernel has to be up with KVM: one is enough where that works

MOVED = "test_nor_does_it_lose_what_is_hidden_below_a_moved_root"
WAITING = "test_a_process_that_waits_for_its_start_cannot_be_looked_into"

# append: words for the kernel; systemd: as process 1; setup: a line of shell before the tests
# as_root, as_user: the tests that are run by root, and by a user (in a session where there is systemd)
# packages: names between spaces, beside PACKAGES, of an image of its own
Kind = collections.namedtuple("Kind", "append systemd setup as_root as_user packages")
Kind.__new__.__defaults__ = ("",)
KINDS = {
    "v2": Kind(
        append="",
        systemd=True,
        setup="",
        as_root="tests/namespaces/test_cgroup_kernel.py tests/namespaces/test_run_limits.py"
        " tests/oci/test_systemd.py tests/oci/test_systemd_inside.py tests/oci/test_service.py",
        as_user="tests/oci/test_systemd.py tests/oci/test_systemd_inside.py tests/oci/test_service.py",
    ),
    "podman": Kind(
        append="",
        systemd=True,
        setup="",
        as_root="tests/engines/test_podman_systemd.py tests/engines/test_podman_limits.py",
        as_user="tests/engines/test_podman_systemd.py",
        packages="make podman",
    ),
    "cri": Kind(
        append="",
        systemd=True,
        setup="",
        as_root="tests/engines/test_cri.py",
        as_user="",
        packages="containerd containernetworking-plugins golang-github-kubernetes-cri-api-dev make podman"
        " protobuf-compiler python3-grpcio",
    ),
    "apparmor": Kind(
        append="lsm=landlock,lockdown,yama,apparmor",
        systemd=False,
        setup="echo 1 >/proc/sys/fs/suid_dumpable",  # whoever changes its ids can be looked into then
        as_root="tests/oci/test_lsm.py tests/security/test_interpreter.py::" + WAITING,
        as_user="",
    ),
    "selinux": Kind(
        append="apparmor=0 security=selinux selinux=1 enforcing=1",
        systemd=False,
        setup="",
        as_root="tests/oci/test_lsm.py",
        as_user="",
    ),
    "nouserns": Kind(
        append="",
        systemd=False,
        setup="echo 0 >/proc/sys/user/max_user_namespaces",
        as_root="tests/namespaces/test_landlock.py",
        as_user="",
    ),
    "initramfs": Kind(
        append="minictr_root=initramfs",
        systemd=False,
        setup="mount -t tmpfs -o mode=1777 tmp /tmp",  # mounts of the initramfs itself cannot be id-mapped
        as_root="tests/namespaces/test_initramfs.py tests/oci/test_bundle.py::" + MOVED,
        as_user="",
    ),
}

# name of the architecture: Debian's, the qemu, words for it by emulation, the console
Machine = collections.namedtuple("Machine", "debian qemu emulated console")
MACHINES = {
    # with five levels of page tables emulation is slower
    "x86_64": Machine("amd64", "qemu-system-x86_64 -M q35,i8042=off", "max,la57=off", "ttyS0"),
    "aarch64": Machine("arm64", "qemu-system-aarch64 -M virt,gic-version=max", "max", "ttyAMA0"),
}

# systemd-sysv is not there: BOOT starts what it wants to
PACKAGES = (
    "apparmor busybox-static crun dbus dbus-user-session iproute2 kmod libcap2-bin libpam-systemd libseccomp2"
    " mount passwd procps python3 python3-hypothesis python3-jsonschema python3-pytest runc secilc strace"
    " systemd uidmap util-linux"
)
MODULES = "virtio_pci virtio_blk virtio_console ext4 overlay loop veth bridge"
SOURCE = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian %s main"
USER = 1000  # the id of "tester", who has subordinate ids

# --- inside -----------------------------------------------------------------------------------------------

# What mmdebstrap runs outside of the new root, $1; `new` is the folder for what is made. The modules are
# those that the kernel's own modprobe names, in its order. A bind mount shows none of what mmdebstrap has
# mounted in the root.
RECIPE = """\
set -eu
root=$1 new=%(new)s
export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
mkdir "$new/debs" "$root/initramfs"
(
    cd "$new/debs"
    depends=$(apt-cache depends --recurse --important linux-image-cloud-%(arch)s%(kernel)s)
    apt-get -qq download $(echo "$depends" | grep -E '^linux-(base|image|binary|modules)-[0-9]' | sort -u)
)
for deb in "$new"/debs/*.deb; do  # in those of before trixie /lib is a directory: here it stays a link
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink
done
rm -r "$new/debs"
cat >"$root/initramfs/make" <<'END'
set -eu
cd /initramfs
version=$(ls /lib/modules)
depmod "$version"
mkdir dev new modules srv
cp /bin/busybox .  # not into bin: the system's own comes there if this stays the root
printf '%%s\\n' '#!/busybox sh' >init
for module in %(modules)s; do modprobe --set-version "$version" --show-depends $module; done |
while read -r word path rest; do
    if [ "$word" != insmod ] || [ -e "modules/${path##*/}" ]; then continue; fi
    cp "$path" modules
    echo "/busybox insmod /modules/${path##*/} || /busybox echo cannot load $path" >>init
done
cat >>init <<'INIT'
%(init)s
INIT
chmod 755 init
find . | busybox cpio -o -H newc >/boot/initramfs
useradd --create-home --uid %(user)d --shell /bin/sh tester
for file in /etc/subuid /etc/subgid; do echo tester:100000:65536 >$file; done
echo 127.0.0.1 localhost minictr-vm >/etc/hosts
echo minictr-vm >/etc/hostname
echo 42424242424242424242424242424242 >/etc/machine-id  # or it would be a first boot
cd /usr/lib/systemd/system/sysinit.target.wants  # of what systemd starts first, what is of use here
ls | grep -v -x -e systemd-journald.service -e 'systemd-tmpfiles-setup.*' | xargs rm
END
chroot "$root" sh /initramfs/make
mv "$root/boot/initramfs" "$new/initramfs"
cp "$root"/boot/vmlinuz-* "$new/kernel" 2>/dev/null || cp "$root"/usr/lib/modules/*/vmlinuz "$new/kernel"
rm -rf "$root"/initramfs "$root"/boot/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb
unshare --mount sh -euc '
    mount --make-rprivate /
    mount --bind "$1" /mnt
    size=$(du -sxm /mnt | cut -f 1)
    mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1 -d /mnt "$2" "$((size + size / 4 + 512))M"
' sh "$root" "$new/root"
"""

# After the modules are in. The disks are in the order of the command line. Of that the kernel puts into the
# environment what it does not know itself.
INIT = """\
/busybox mount -t devtmpfs dev /dev
/busybox echo "%s" >/dev/console
/busybox mount -t ext4 /dev/vda /new && /busybox mount -t ext4 /dev/vdb /srv || /busybox poweroff -f
/busybox umount /dev
if [ "$minictr_root" = initramfs ]; then
    /busybox cp -af /new/* / && /busybox umount /new || /busybox poweroff -f
    exec /bin/sh /srv/boot
fi
/busybox mount --move /srv /new/srv
exec /busybox switch_root /new /bin/sh /srv/boot""" % (ALIVE)

BOOT = """\
# process 1, in the root file system
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=755 run /run
. /srv/kind
if [ "$SYSTEMD" ]; then
    mkdir -p /run/systemd/system
    cat >/run/systemd/system/minictr-tests.service <<END
[Unit]
After=dbus.socket
Wants=dbus.socket
[Service]
ExecStart=/bin/sh /srv/tests
Delegate=yes
OOMPolicy=continue
END
    exec env TERM=dumb /lib/systemd/systemd --unit=minictr-tests.service --show-status=no
fi
mkdir -p /dev/pts /dev/shm /dev/mqueue /run/lock
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for name in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$name"; done >/run/on
while read -r name; do echo "$name" >/sys/fs/cgroup/cgroup.subtree_control; done </run/on
for pair in fd: stdin:/0 stdout:/1 stderr:/2; do ln -sf "/proc/self/fd${pair#*:}" "/dev/${pair%:*}"; done
ip link set lo up
hostname minictr-vm
sh /srv/tests
"""

TESTS = """\
# run the tests, and say how they ended; the machine is ended from outside
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
. /srv/kind
grep -q minictr.emulated /proc/cmdline && export MINICTR_TEST_EMULATED=1
port=/dev/$(grep -l '^out$' /sys/class/virtio-ports/*/name | cut -d / -f 5)
exec >"$port" 2>&1 </dev/null
status=5  # pytest's word for no test
judge() {
    "$@"
    case $? in 0) [ $status != 5 ] || status=0 ;; 5) ;; *) status=1 ;; esac
}
read -r seconds rest </proc/uptime
echo "%(marker)sLinux $(uname -r), up for $seconds s; security modules $(cat /sys/kernel/security/lsm)"
cd /srv/checkout
python3 -m compileall -q minictr tests  # a user cannot keep what is compiled
[ -z "$SETUP" ] || sh -c "$SETUP" || status=1
[ -z "$AS_ROOT" ] || judge python3 -m pytest -p no:cacheprovider $AS_ROOT "$@"
if [ "$AS_USER" ]; then
    set -- python3 -m pytest -p no:cacheprovider $AS_USER "$@"
    become="setpriv --reuid=%(user)d --regid=%(user)d --init-groups env HOME=/home/tester USER=tester"
    if [ "$SYSTEMD" ]; then
        systemctl start user@%(user)d.service
        become="$become XDG_RUNTIME_DIR=/run/user/%(user)d"
        set -- systemd-run --user --quiet --pipe --wait --collect --same-dir \\
            -E PATH -E LC_ALL -E MINICTR_TEST_EMULATED -p OOMPolicy=continue "$@"
    fi
    judge $become "$@"
fi
echo "%(marker)sstatus $status"
while :; do sleep 1000; done
"""


# --- what a machine is made of ----------------------------------------------------------------------------


class VmError(Exception):
    """What cannot be had, and why: one line."""


def program(name: str, package: str) -> str:
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise VmError("there is no %s; Debian's package %s has it" % (name, package))
    return path


def call(doing: str, command: "list[str]", **how: object) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how
    )
    if done.returncode:
        lines = done.stdout.decode(errors="replace").strip().splitlines()[-8:]
        raise VmError("%s: %s failed: %s" % (doing, os.path.basename(command[0]), " | ".join(lines)))


def base(suite: str, kernel: str, machine: Machine, name: str, kind: Kind) -> str:
    """The folder with `kernel`, `initramfs` and `root`, from the cache or made now. It is of all kinds but
    those that have packages of their own."""
    packages = " ".join([PACKAGES, kind.packages]).strip()
    values = {"arch": machine.debian, "modules": MODULES, "init": INIT, "user": USER}
    values["kernel"] = "/" + kernel if kernel else ""
    digest = hashlib.sha256((RECIPE % dict(values, new="") + packages).encode()).hexdigest()[:12]
    os.makedirs(roots.cache(), mode=0o755, exist_ok=True)
    parts = [suite] + [name] * bool(kind.packages) + ["on-" + kernel] * bool(kernel) + [machine.debian]
    start = os.path.join(roots.cache(), "vm-" + "-".join(parts))
    path = "%s-%s" % (start, digest)
    with open(start + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(path):
            return path
        release = suite + (" on the kernel of " + kernel if kernel else "")
        print("%smaking a Debian %s for it, once" % (MARKER, release), flush=True)
        folder, stem = os.path.split(start)
        for old in os.listdir(folder):
            if old.startswith(stem + "-"):
                shutil.rmtree(os.path.join(folder, old))
        # in a user namespace mmdebstrap's root is nobody to the caller's own files
        with tempfile.TemporaryDirectory(prefix="minictr-vm-", dir="/var/tmp") as new:
            os.chmod(new, 0o700 if os.geteuid() == 0 else 0o777)
            with open(new + "/recipe", "w") as file:
                file.write(RECIPE % dict(values, new=shlex.quote(new)))
            os.chmod(new + "/recipe", 0o644)
            command = [program("mmdebstrap", "mmdebstrap"), "--quiet", "--variant=minbase", "--format=null"]
            command += ["--architectures=" + machine.debian, "--include=" + ",".join(packages.split())]
            command += ["--dpkgopt=path-exclude=/usr/share/%s/*" % name for name in ("doc", "man", "locale")]
            if kernel:
                line = SOURCE % kernel
                command += ['--setup-hook=echo "%s" >"$1/etc/apt/sources.list.d/kernel.list"' % line]
                command += ['--aptopt=APT::Default-Release "%s"' % suite]  # a newer one's kernel alone
            command += ['--customize-hook=sh %s/recipe "$1"' % shlex.quote(new), suite, "/dev/null"]
            program("mke2fs", "e2fsprogs")
            call("make the machine from Debian's packages, which needs the network", command)
            os.mkdir(path + ".new")
            files = [new + "/" + name for name in ("kernel", "initramfs", "root")]
            call("keep what was made", ["cp", "--sparse=always"] + files + [path + ".new"])
        os.rename(path + ".new", path)
    return path


def disk_of_the_checkout(place: str, kind: Kind, arguments: "list[str]") -> str:
    """An image with this checkout and what the machine is to do."""
    top = os.path.join(place, "srv")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    os.mkdir(top)
    for name in ("minictr", "tests"):
        shutil.copytree(os.path.join(CHECKOUT, name), os.path.join(top, "checkout", name), ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "Makefile", "README.md", "LICENSE"):
        shutil.copy(os.path.join(CHECKOUT, name), os.path.join(top, "checkout", name))
    lines = [
        "SYSTEMD=%s" % ("1" if kind.systemd else ""),
        "SETUP=" + shlex.quote(kind.setup),
        "AS_ROOT=" + shlex.quote(kind.as_root),
        "AS_USER=" + shlex.quote(kind.as_user),
        "set -- " + " ".join(map(shlex.quote, arguments)),
    ]
    texts = {"kind": "\n".join(lines) + "\n", "boot": BOOT, "tests": TESTS % {"marker": MARKER, "user": USER}}
    for name, text in texts.items():
        with open(os.path.join(top, name), "w") as file:
            file.write(text)
    subprocess.run(["chmod", "-R", "u=rwX,go=rX", top], check=True)
    image = os.path.join(place, "disk")
    words = "-q -t ext4 -O ^has_journal -E root_owner=0:0 -d".split()
    call("make an image of the checkout", [program("mke2fs", "e2fsprogs")] + words + [top, image, "64M"])
    return image


# --- the machine ------------------------------------------------------------------------------------------


def qemu(machine: Machine, accel: str, folder: str, disk: str, console: str, append: str) -> "list[str]":
    emulator, *options = machine.qemu.split()
    package = "qemu-system-x86" if machine.debian == "amd64" else "qemu-system-arm"
    command = [program(emulator, package)] + options
    if accel == "kvm":
        command += ["-accel", "kvm", "-cpu", "host"]
    else:  # each processor in a thread of its own has shown to be slower, not faster
        command += ["-accel", "tcg,thread=single,tb-size=512", "-cpu", machine.emulated]
        append += " minictr.emulated"
    command += ["-m", str(MEMORY), "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-kernel", folder + "/kernel", "-initrd", folder + "/initramfs", "-serial", "file:" + console]
    for image in (folder + "/root", disk):
        command += ["-drive", "if=virtio,format=raw,snapshot=on,file=" + image.replace(",", ",,")]
    command += ["-chardev", "stdio,id=out,signal=off", "-device", "virtio-serial-pci"]
    command += ["-device", "virtserialport,chardev=out,name=out"]
    words = "console=%s panic=-1 quiet no_timer_check %s" % (machine.console, append)
    return command + ["-append", words]


def contents(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


class Run:
    """One machine, from its start to its end. status: what it said of the tests; "" before that"""

    def __init__(self, command: "list[str]", console: str) -> None:
        self.console, self.status, self.pending = console, "", b""
        self.began = time.monotonic()
        pipe = subprocess.PIPE
        # at an end of its standard input qemu would take the port for closed
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        os.set_blocking(self.process.stdout.fileno(), False)

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def is_up(self) -> bool:
        """Wait for a sign of life of the kernel, TRIAL seconds at most."""
        while self.seconds() < TRIAL and self.process.poll() is None:
            if ALIVE in contents(self.console):
                return True
            time.sleep(0.1)
        return False

    def follow(self, timeout: float) -> None:
        """Print what the tests print, until they or the machine or the time have ended."""
        output = self.process.stdout
        while not self.status and self.seconds() < timeout:
            if not select.select([output], [], [], 1)[0]:
                continue
            data = output.read1(1 << 16) if hasattr(output, "read1") else output.read(1 << 16)
            if not data:
                return
            self.pending += data
            *lines, self.pending = self.pending.split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                if text.startswith(MARKER + "status "):
                    self.status = text.split()[-1]
                else:
                    print(text, flush=True)

    def end(self) -> str:
        """End it; qemu's last words."""
        self.process.kill()
        said = self.process.communicate()[1].decode(errors="replace").strip()
        return said.splitlines()[-1] if said else ""


def boot(command, accels: "list[str]", console: str) -> Run:
    """A machine that runs. command(accel): how it is started. ACCELS loses what does not work here."""
    while True:
        run = Run(command(accels[0]), console)
        try:
            if len(accels) == 1 or run.is_up():
                return run
        except BaseException:  # an interrupt
            run.end()
            raise
        said = run.end() or "the kernel showed no sign of life"
        print("%s%s does not work here (%s)" % (MARKER, accels.pop(0), said), flush=True)


def test(name: str, options: argparse.Namespace, accels: "list[str]") -> bool:
    """Boot a machine and run the tests; whether they passed."""
    kind, machine = KINDS[name], MACHINES[os.uname().machine]
    if options.tests:
        kind = kind._replace(as_root=options.tests, as_user=options.tests if kind.as_user else "")
    folder = base(options.suite, options.kernel, machine, name, kind)
    with tempfile.TemporaryDirectory(prefix="minictr-vm-") as place:
        console = os.path.join(place, "console")
        disk = disk_of_the_checkout(place, kind, options.arguments)

        def command(accel):
            return qemu(machine, accel, folder, disk, console, kind.append)

        run = boot(command, accels, console)
        try:
            print("%s%s, by %s" % (MARKER, name, accels[0]), flush=True)
            run.follow(options.timeout)
        finally:
            said = run.end()
        if not run.status or options.verbose:
            lines = contents(console).splitlines()
            print("\n".join(lines if options.verbose else lines[-40:]))
    word = {"": "no result", "0": "passed", "5": "no test was chosen"}.get(run.status, "failed")
    if not run.status:
        late = run.seconds() >= options.timeout
        word += ", its time is up" if late else ", it has ended (%s)" % (said or "its console is above")
    print("%s%s: %s after %.0f s" % (MARKER, name, word, run.seconds()), flush=True)
    return run.status == "0"


def main() -> int:
    parser = argparse.ArgumentParser(description="see the head of " + __file__)
    parser.add_argument("kinds", nargs="+", choices=sorted(KINDS), metavar="KIND")
    parser.add_argument("--suite", default=SUITE)
    parser.add_argument("--kernel", default="")
    parser.add_argument("--timeout", type=float, default=1800)
    parser.add_argument("--tests", default="")
    parser.add_argument("--accel", choices=["kvm", "tcg"])
    parser.add_argument("--verbose", action="store_true")
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:cut])
    options.arguments = words[cut + 1 :]
    if os.uname().machine not in MACHINES:
        sys.exit(MARKER + "no machine of this architecture is known: " + os.uname().machine)
    if options.suite in OLD_SUITES:
        sys.exit(MARKER + "%s has too old a pytest; --kernel %s gives its kernel" % ((options.suite,) * 2))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    accels = [options.accel] if options.accel else ["tcg"]
    if not options.accel and os.access("/dev/kvm", os.R_OK | os.W_OK):
        accels.insert(0, "kvm")
    try:
        passed = [test(kind, options, accels) for kind in options.kinds]
    except VmError as error:
        sys.exit(MARKER + str(error))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
