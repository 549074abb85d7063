"""The cause of a refusal and the commands that repair it, in the words of the host at hand.

Side: host
"""

import os

from . import signs
from .errors import printable
from .record import Record

# The package that has a program, by the ID of os-release(5)
UIDMAP = {
    "debian": "uidmap", "fedora": "shadow-utils", "rhel": "shadow-utils", "centos": "shadow-utils",
    "suse": "shadow", "opensuse": "shadow", "sles": "shadow", "arch": "shadow", "alpine": "shadow-subids",
    "void": "shadow", "gentoo": "sys-apps/shadow", "amzn": "shadow-utils", "mageia": "shadow-utils",
    "openwrt": "shadow-utils",
}  # fmt: skip
PACKAGES = {
    "newuidmap": UIDMAP,
    "newgidmap": UIDMAP,
    "apparmor_parser": {"debian": "apparmor", "suse": "apparmor-parser", "arch": "apparmor"},
}
INSTALL = {
    "debian": "apt-get install %s", "fedora": "dnf install %s", "rhel": "dnf install %s",
    "centos": "dnf install %s", "amzn": "dnf install %s", "suse": "zypper install %s",
    "opensuse": "zypper install %s", "sles": "zypper install %s", "arch": "pacman -S %s",
    "alpine": "apk add %s", "void": "xbps-install %s", "gentoo": "emerge %s",
    "mageia": "urpmi %s", "openwrt": "opkg install %s",
}  # fmt: skip
SYSCTL_FILE = "/etc/sysctl.d/90-minictr.conf"


class Cause(Record):
    """why: a sentence; fix: a command, or a line and where it goes; "" where nothing is known"""

    why: str = ""
    fix: str = ""


def as_root(command: str) -> str:
    return command if os.geteuid() == 0 and signs.initial() else "as root: " + command


def chain(commands: "list[str]") -> str:
    """The commands one after the other."""
    text = "; then ".join([command for command in commands if command])
    return text.replace("; then as root: ", " && ") if text.startswith("as root: ") else text


def set_sysctl(name: str, value: int) -> str:
    """The command that sets a kernel parameter now and at every start."""
    return as_root("echo %s=%d >> %s && sysctl -p %s" % (name, value, SYSCTL_FILE, SYSCTL_FILE))


def install(program: str) -> str:
    """The command that installs PROGRAM on this distribution."""
    names = PACKAGES.get(program, {})
    for family in signs.distribution():
        if family in names and family in INSTALL:
            return as_root(INSTALL[family] % names[family])
    return "install the package that has %s" % program


def launcher() -> "tuple[str, bool]":
    """The path of the launcher script, and whether we were started by it."""
    import sys  # built in

    path = os.path.abspath(sys.argv[0]) if sys.argv and sys.argv[0] not in ("", "-c", "-m") else ""
    if path and not path.endswith(".py") and os.path.isfile(path) and os.access(path, os.X_OK):
        return printable(os.path.realpath(path)), True
    return "/usr/local/bin/minictr", False


def apparmor_profile(path: str) -> str:
    """A profile that grants PATH user namespaces and otherwise confines nothing."""
    return "abi <abi/4.0>, profile minictr %s flags=(unconfined) { userns, }" % path


def grant_userns() -> str:
    """The command that loads a profile for the launcher. AppArmor attaches to the path of the file
    that is executed: a script can have a profile of its own, `python3 -m` has python3's."""
    path, running = launcher()
    file = "/etc/apparmor.d/minictr"
    load = as_root("echo '%s' > %s && apparmor_parser -r %s" % (apparmor_profile(path), file, file))
    if running:
        return load
    return "start minictr by its launcher, %s (python3 -m cannot have a profile), and %s" % (path, load)


def give_range(uid: int, names: "tuple[str, ...]", size: int = 65536) -> str:
    """The command that gives the user a range of subordinate ids that nobody has."""
    from . import subids  # deferred: only where a range is missing

    try:
        first = subids.free_range(size)
    except LookupError as error:
        return "make room in /etc/subuid and /etc/subgid: %s" % error
    if names and subids.helper("usermod"):
        span = "%d-%d" % (first, first + size - 1)
        return as_root("usermod --add-subuids %s --add-subgids %s %s" % (span, span, printable(names[0])))
    line = "%s:%d:%d" % (printable(names[0]) if names else uid, first, size)
    return as_root("echo %s | tee -a /etc/subuid >> /etc/subgid" % line)


def give_name(uid: int) -> str:
    """The command that makes an account of a bare number, with ranges of its own."""
    name = "user%d" % uid
    make = "useradd --uid %d --no-create-home %s" % (uid, name)
    return chain([as_root(make), give_range(uid, (name,))])


# --- what the container or service around us must be given -------------------------------------

_OPTION = {
    # what is in the way: docker and podman, kubernetes, lxc, systemd
    "seccomp": (
        "start the outer container with --security-opt seccomp=unconfined",
        "securityContext.seccompProfile.type: Unconfined in the pod",
        "lxc.seccomp.profile = in the configuration of the outer container, with nothing behind it",
        "RestrictNamespaces=no and SystemCallFilter= in %s: systemctl edit %s",
    ),
    "apparmor": (
        "start the outer container with --security-opt apparmor=unconfined",
        "securityContext.appArmorProfile.type: Unconfined in the pod",
        "lxc.apparmor.profile = unconfined in the configuration of the outer container",
        "AppArmorProfile= in %s: systemctl edit %s",
    ),
    "no_new_privs": (
        "start the outer container without --security-opt no-new-privileges",
        "securityContext.allowPrivilegeEscalation: true in the pod",
        "lxc.no_new_privs = 0 in the configuration of the outer container",
        "NoNewPrivileges=no in %s, and nothing that implies it: systemctl edit %s",
    ),
    "unmask": (
        "start the outer container with --security-opt systempaths=unconfined (podman: unmask=ALL)",
        "securityContext.procMount: Unmasked and hostUsers: false in the pod",
        "lxc.mount.auto = proc:rw sys:rw in the configuration of the outer container",
        "ProtectKernelTunables=no and ProcSubset=all in %s: systemctl edit %s",
    ),
    "cgroup": (
        "start the outer container with --security-opt writable-cgroups=true (podman: unmask=/sys/fs/cgroup)",
        "securityContext.privileged: true in the pod: no smaller grant makes cgroups writable",
        "lxc.mount.auto = cgroup:rw in the configuration of the outer container",
        "Delegate=yes and ProtectControlGroups=no in %s: systemctl edit %s",
    ),
    "capability": (
        "start the outer container with --cap-add {}",
        'securityContext.capabilities.add: ["{}"] in the pod',
        "lxc.cap.drop = without {} in the configuration of the outer container",
        "CapabilityBoundingSet= and AmbientCapabilities= in %s: systemctl edit %s",
    ),
}  # type: dict[str, tuple[str, str, str, str]]
_COLUMN = {"docker": 0, "podman": 0, "kubernetes": 1, "lxc": 2, "systemd": 3}


def outside(what: str, otherwise: str, value: str = "") -> str:
    """How whatever runs us is told to permit WHAT; OTHERWISE where it is not known."""
    around = signs.surroundings()
    if around not in _COLUMN:
        return otherwise
    text = _OPTION[what][_COLUMN[around]].replace("{}", value)
    return text % (signs.unit(), signs.unit()) if around == "systemd" else text


def capability(name: str) -> str:
    """How the capability NAME ("CAP_SYS_ADMIN") is come by."""
    otherwise = "give it %s, or start as another user" if os.geteuid() == 0 else "start as root (%s)"
    return outside("capability", otherwise % name, name[4:])
