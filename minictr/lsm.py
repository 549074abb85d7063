"""AppArmor and SELinux: the label that the program runs under, and that of its mounts.

A label is asked for by writing it to attr/exec of the very process, and the kernel gives it when that
process next executes something. So the last process to be ours writes it, right before the program:
init, or the stand-in. Before that a child of init asks for the same, reads it back and is gone, so that
a profile which is not loaded ends `create` and not `start`. At last the runtime looks, from outside, at
what the program has got.

Where it is written is decided by the kernel and never by a name in the container: below the runtime's own
procfs, through no mount and no link but thread-self (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881).

Sources: Documentation/admin-guide/LSM/apparmor.rst, proc_pid_attr(5), security/selinux/hooks.c

Side: both
"""

import time

from . import abi, libc, mounts, paths
from . import unix as os
from .errors import ContainerError, Degradation, from_os, printable
from .record import Record
from .sync import Channel

APPARMOR, SELINUX = "AppArmor", "SELinux"
SELINUX_XATTR = "security.selinux"
SELINUXFS = "/sys/fs/selinux"
_LONGEST = 4095  # bytes: what a file below attr takes in one write is a page
# A mode of AppArmor, what it loses, and what helps; the second is of profiles that only give a program a name
_TOOTHLESS = (
    ("complain", "what the profile would deny is only logged", "aa-enforce %s"),
    ("unconfined", "the profile denies nothing", "load %s without the flag unconfined"),
)
# runc and libselinux: proc and sysfs have labels of their own for each file, cgroup gets them from policy
_UNLABELLED = ("bind", "proc", "sysfs", "mqueue", "cgroup", "cgroup2")


class Label(Record):
    """layer: APPARMOR or SELINUX; name: the profile, or the context"""

    layer: str
    name: str

    @property
    def written(self) -> bytes:
        """What goes into attr/exec."""
        word = "exec " if self.layer == APPARMOR else ""
        return os.fsencode(word + self.name)


# --- what is asked for, and whether it can be had: host ---------------------------------------


def wanted(process: "dict") -> "tuple[Label, ...]":
    """The labels that a `process` of config.json asks for, in one order whatever the document's."""
    pairs = ((APPARMOR, process.get("apparmorProfile")), (SELINUX, process.get("selinuxLabel")))
    return tuple([Label(layer=layer, name=name) for layer, name in pairs if name])


def why_not(layer: str) -> "tuple[str, str]":
    """Why the security module LAYER is not active here, and what would help; ("", "") if it is."""
    if layer == APPARMOR:
        enabled = paths.read_text("/sys/module/apparmor/parameters/enabled").strip()
        if enabled == "Y":
            return "", ""
        if enabled:
            return "it is switched off", "boot with the kernel words apparmor=1 security=apparmor"
        return "the kernel has no AppArmor", "use a kernel with AppArmor, or ask for no profile"
    if "selinuxfs" not in paths.read_text("/proc/filesystems").split():
        fix = "boot a kernel that has it with the words security=selinux selinux=1, or ask for no label"
        return "the kernel has no SELinux, or it is switched off", fix
    if own_context() in ("", "kernel"):
        return "SELinux has no policy loaded", "load one: load_policy"
    return "", ""


def own_context() -> str:
    """The SELinux context that we run in ourselves, "" without one."""
    return paths.read_text("/proc/self/attr/current").strip("\0\n ")


def missing(plan) -> "list[Degradation]":
    """A record for each label that PLAN has and this kernel cannot give."""
    records = []  # type: list[Degradation]
    for label in plan.labels:
        why, fix = why_not(label.layer)
        if why and not (label.layer == APPARMOR and label.name == "unconfined"):
            lost = "the profile is not applied" if label.layer == APPARMOR else "the label is not applied"
            code = label.layer.lower()
            records.append(Degradation(code, label.layer, printable(label.name), "none", lost, 0, why, fix))
    if plan.mount_label:
        why, fix = why_not(SELINUX)
        if why:
            lost, name = "the mounts are not labelled", printable(plan.mount_label)
            records.append(Degradation("mount-label", SELINUX, name, "none", lost, 0, why, fix))
    return records


def possible(labels: "tuple[Label, ...]") -> "tuple[Label, ...]":
    """Those of LABELS that this kernel can give."""
    return tuple([label for label in labels if not why_not(label.layer)[0]])


def prepared(plan):
    """PLAN with the labels alone that this kernel can give, and the mount label on its mounts."""
    kept = possible(plan.labels)
    if len(kept) > 1:
        raise ContainerError("choose a label", "AppArmor and SELinux together", hint="ask for one of them")
    for label in kept:
        check_name(label.layer, label.name)
    mount_label = plan.mount_label if plan.mount_label and not why_not(SELINUX)[0] else ""
    if mount_label:
        check_name(SELINUX, mount_label)
        labelled = tuple([with_context(mount, mount_label) for mount in plan.mounts])
        plan = plan.replace(mounts=labelled)
    return plan.replace(labels=kept, mount_label=mount_label)


def check_name(layer: str, name: str) -> None:
    """Raises ContainerError for what the kernel would read otherwise than it is meant."""
    what = "profile" if layer == APPARMOR else "label"
    if not name.isprintable() or name != name.strip() or '"' in name or len(os.fsencode(name)) > _LONGEST - 5:
        doing = "choose the %s %s %s" % (layer, what, printable(name))
        raise ContainerError(doing, "a name is printable, without quotes and spaces around it")


def with_context(mount: mounts.Mount, label: str) -> mounts.Mount:
    """MOUNT with its files under LABEL, if that is a matter of its file system and not of another's."""
    given = any(word.partition("=")[0] in ("context", "fscontext", "rootcontext") for word in mount.words)
    return mount if given or mount.kind in _UNLABELLED else mount.replace(context=label)


# --- taking it: container -----------------------------------------------------------------------


def open_attributes(proc: int, label: Label) -> int:
    """An O_PATH descriptor of the directory of this thread that has the file `exec` for LABEL.

    proc: from paths.open_proc. Since 5.8 AppArmor has a directory of its own.
    """
    names = ["thread-self/attr"]
    if label.layer == APPARMOR:
        names.insert(0, "thread-self/attr/apparmor")
    for name in names:
        try:
            return open_genuine(proc, proc, name, abi.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise from_os("open /proc/%s" % name, error) from error
    raise ContainerError("open /proc/thread-self/attr", "the kernel has no security module")


def open_genuine(proc: int, directory: int, name: str, flags: int) -> int:
    """NAME below DIRECTORY, on the very mount of the procfs PROC. Raises OSError, or ContainerError where
    something lies over it."""
    try:
        resolve = abi.RESOLVE_NO_XDEV | abi.RESOLVE_NO_MAGICLINKS
        return libc.openat2(directory, name, flags, resolve)
    except OSError as error:
        if error.errno == abi.EXDEV:
            raise _covered(name) from None
        if error.errno not in (abi.ENOSYS, abi.EPERM):
            raise
    found = os.open(name, flags | os.O_CLOEXEC, dir_fd=directory)
    if _mount_id(proc, found) == _mount_id(proc, proc):
        return found
    os.close(found)
    raise _covered(name)


def _mount_id(proc: int, descriptor: int) -> str:
    """The id of the mount a descriptor lies on, by PROC: the /proc of a container may say anything."""
    place = "self/fdinfo/%d" % descriptor
    try:
        text = paths.read_proc(proc, place)
    except PermissionError:  # before 5.13 what a process that is not dumpable has there is the host's root's
        libc.prctl(abi.PR_SET_DUMPABLE, 1)
        text = paths.read_proc(proc, place)
        libc.prctl(abi.PR_SET_DUMPABLE, 0)
    return text.partition("mnt_id:")[2].split()[0]


def _covered(name: str) -> ContainerError:
    return ContainerError("open /proc/%s" % name, "something is mounted over it")


def prove(proc: int, label: Label) -> None:
    """Have a child take LABEL for what it would execute, and read it back: it then ends, and nothing of us
    has changed. Raises ContainerError."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            take(proc, open_attributes(proc, label), label)
            Channel(-1, writer).say("taken")
        except ContainerError as error:
            Channel(-1, writer).say_error(error)
        finally:
            os._exit(0)
    os.close(writer)
    try:
        Channel(reader).expect("taken")
    finally:
        os.close(reader)
        os.waitpid(pid, 0)


def label_keys(proc: int, attributes: int, label: Label) -> None:
    """Have the keys that are made next belong to the program: with SELinux a keyring has a label, too."""
    if label.layer == SELINUX:
        try:
            file = open_genuine(proc, attributes, "keycreate", os.O_WRONLY)
            os.write(file, label.written)
            os.close(file)
        except OSError as error:
            raise refused(label, error.errno or abi.EIO) from error


def take(proc: int, attributes: int, label: Label) -> None:
    """What this process executes next runs under LABEL. Raises ContainerError, also where the kernel says
    that it has understood something else."""
    data = label.written
    try:
        file = open_genuine(proc, attributes, "exec", os.O_RDWR)
        if os.write(file, data) != len(data):
            raise ContainerError(_doing(label), "the kernel took a part of it")
        said = os.pread(file, 65536, 0).decode("utf-8", "surrogateescape")
        os.close(file)
    except OSError as error:
        raise refused(label, error.errno or abi.EIO) from error
    if not matches(label, said):
        raise ContainerError(
            _doing(label), "the kernel reports %s" % printable(said.strip("\0\n ") or "none")
        )


def label_file(descriptor: int, context: str, what: str) -> None:
    """Give the file WHAT the SELinux context CONTEXT. Raises ContainerError."""
    try:
        libc.setxattr(paths.descriptor_path(descriptor), SELINUX_XATTR, os.fsencode(context) + b"\0")
    except OSError as error:  # without its number, which would permit a step down
        raise ContainerError(
            "give %s the label %s" % (what, context), os.strerror(error.errno or 0)
        ) from error


def refused(label: Label, number: int) -> ContainerError:
    """The kernel has answered NUMBER to LABEL."""
    why = hint = ""
    if label.layer == APPARMOR:
        if number == abi.ENOENT:
            why, hint = "no profile of that name is loaded", "load it: apparmor_parser -r FILE"
        elif number in (abi.EPERM, abi.EACCES):
            hint = "the profile that minictr itself runs under must allow it: 'change_profile -> %s,'" % (
                label.name
            )
    elif number == abi.EINVAL:
        why, hint = "no valid context of the policy", "user:role:type[:level], as `ps -Z` shows them"
    elif number in (abi.EPERM, abi.EACCES):
        hint = "the policy must allow the domain that minictr runs in 'process setexec' and the transition"
    return ContainerError(_doing(label), why, number, hint)


def _doing(label: Label) -> str:
    if label.layer == APPARMOR:
        return "apply the AppArmor profile %s" % printable(label.name)
    return "apply the SELinux label %s" % printable(label.name)


# --- looking from outside: host -----------------------------------------------------------------


def matches(label: Label, said: str) -> bool:
    """Whether SAID, from a file below attr, is LABEL."""
    said, name = said.strip("\0\n "), label.name
    if label.layer == SELINUX:  # user, role and type; the kernel writes the level in its own way
        return said.split(":")[:3] == name.split(":")[:3]
    return _parts(said) == _parts(name)


def _parts(text: str) -> "list[str]":
    """The profiles of an AppArmor label, without mode and namespace: "a//&:ns://b (enforce)"."""
    if text.endswith(")") and " (" in text:
        text = text[: text.rindex(" (")]
    found = []
    for part in text.split("//&"):
        if part.startswith(":"):  # ":ns://name", or ":ns:name" as it is written
            part = part[1:].partition(":")[2]
            part = part[2:] if part.startswith("//") else part
        found.append(part)
    return sorted(found)


def confirm(labels: "tuple[Label, ...]", proc: int, pid: int, usual: bool) -> "list[Degradation]":
    """See from outside that process PID runs under LABELS; what is in force and denies nothing comes back.

    It may be over already, or have executed a further program that its own profile gives another label:
    what must not be is that it runs under ours. Raises ContainerError if it does.
    usual: nobody asked for more, so that what denies nothing is a notice
    """
    records = []
    for label in labels:
        said = settled(proc, pid, label)
        if said is None:
            continue
        if not matches(label, said) and said == _current(proc, os.getpid(), label):
            why = "process %d runs under %s" % (pid, printable(said.strip("\0\n ")))
            raise ContainerError(_doing(label), why)
        record = toothless(label, said, usual)
        if record is not None:
            records.append(record)
    return records


def settled(proc: int, pid: int, label: Label) -> "str | None":
    """What the kernel says that the program which PID has just executed runs under, asked for as LABEL; None
    where PID is gone. execve(2) closes descriptors, by which we learn of it, a moment before it changes the
    label: what looks like ours is looked at again, for half a second."""
    said = _current(proc, pid, label)
    for _ in range(100):
        if said is None or matches(label, said) or said != _current(proc, os.getpid(), label):
            break
        time.sleep(0.005)
        said = _current(proc, pid, label)
    return said


def first_child(proc: int, pid: int) -> int:
    """The program below a process 1 of ours, 0 if it is gone (or the kernel shows no children)."""
    try:
        words = paths.read_proc(proc, "%d/task/%d/children" % (pid, pid)).split()
    except OSError:
        return 0
    return int(words[0]) if words else 0


def _current(proc: int, pid: int, label: Label) -> "str | None":
    names = ("apparmor/current", "current") if label.layer == APPARMOR else ("current",)
    for name in names:
        try:
            return paths.read_proc(proc, "%d/attr/%s" % (pid, name))
        except OSError as error:
            if error.errno in (abi.ENOENT, abi.EINVAL, abi.ESRCH):
                continue  # before 5.8; or the process is gone
            raise from_os("read the label of process %d" % pid, error) from error
    return None


def toothless(label: Label, said: str, usual: bool) -> "Degradation | None":
    """A record of a label that is in force, but by which nothing is denied. USUAL: nobody asked for more."""
    level = "notice" if usual else "warning"
    for mode, lost, fix in _TOOTHLESS if label.layer == APPARMOR else ():
        if said.rstrip("\0\n ").endswith("(%s)" % mode):
            name = printable(label.name)
            return Degradation(
                "apparmor-" + mode, APPARMOR, name + " enforced", "in %s mode" % mode, lost, 0,
                "the profile was loaded so", fix % name, level,
            )  # fmt: skip
    why, fix = _permissive(said) if label.layer == SELINUX else ("", "")
    if why:
        return Degradation(
            "selinux-permissive", SELINUX, printable(label.name) + " enforced", "permissive",
            "what the policy would deny is only logged", 0, why, fix, level,
        )  # fmt: skip
    return None


def _permissive(said: str) -> "tuple[str, str]":
    """Why a process under the context SAID is denied nothing, and what would help; ("", "") if it is."""
    if paths.read_text(SELINUXFS + "/enforce").strip() == "0":
        return "SELinux is in permissive mode", "setenforce 1"
    context = said.strip("\0\n ")
    try:  # sel_write_access() in security/selinux/selinuxfs.c; any class will do, and 1 is in every policy
        file = os.open(SELINUXFS + "/access", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(file, os.fsencode("%s %s 1" % (context, context)))
            answer = os.read(file, 4096).split()
        finally:
            os.close(file)
    except OSError:  # the policy need not let us ask
        return "", ""
    if len(answer) > 5 and int(answer[5], 16) & abi.AVD_FLAGS_PERMISSIVE:
        name = printable((context.split(":") + ["", "", ""])[2])
        return "the policy has the type %s as a permissive one" % name, "semanage permissive -d %s" % name
    return "", ""
