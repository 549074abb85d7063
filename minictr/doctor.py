"""`minictr doctor`: what this host allows, why not, and how to change it.

A check is a line of CHECKS; what it tries is in `probes`, why something was refused in `causes`.

Side: host
"""

import _stat as stat
import json
import os
import sys

from . import (
    abi,
    causes,
    cgroup,
    cgroup_files,
    delegation,
    fixes,
    libc_rare,
    maps,
    paths,
    plan,
    probes,
    signs,
    state,
)
from .errors import ContainerError, printable
from .host import Host
from .host import probe as look
from .record import Record
from .spec import Spec, default_config
from .tester import Ground, Result, adopting, attempt, within

USAGE = """usage: minictr doctor [--json]

Try out what a container needs, in throw-away processes, and say how to repair what is refused.
Exit status: 0 where a full container can run (every namespace, a root and a /proc of its own), else 1.
"""


class Finding(Record):
    """ok: None for what is neither good nor bad; required: for a full container"""

    check: str
    ok: "bool | None"
    required: bool = False
    why: str = ""
    fix: str = ""
    detail: str = ""

    def line(self, fixes_shown: "list[str]") -> str:
        """For people: a fix that the lines above have shown is not shown again."""
        mark = {True: "ok", False: "no", None: "info"}[self.ok]
        said = [text for text in (self.detail, self.why) if text]
        if self.fix:
            said.append("fix: " + ("as above" if self.fix in fixes_shown else self.fix))
            fixes_shown.append(self.fix)
        return ("%-5s %-18s %s" % (mark, self.check, "; ".join(said))).rstrip()


class Patient:
    """What the checks share.

    table: the id maps a container would get; ground: how its namespaces are made here
    obstacle: why none can be made, None where they can
    """

    def __init__(self) -> None:
        self.host = look(True)
        self.table = _table(self.host)
        self.ground = Ground()
        self.obstacle = None  # type: Finding | None

    def alone(self) -> "maps.Maps | None":
        """The maps that need no helper."""
        table = self.table
        if table is not None and table.way == "helpers":
            return table.otherwise  # type: ignore[return-value]
        return table


def run(argv: "list[str]") -> int:
    """The verb; its exit status comes back."""
    if any(word in ("-h", "--help") for word in argv):
        _say(USAGE)
        return 0
    unknown = [word for word in argv if word != "--json"]
    if unknown:
        raise ContainerError(
            "doctor", "unknown argument %s" % printable(unknown[0]), hint="minictr doctor [--json]"
        )
    findings, shown = [], []  # type: list[Finding], list[str]
    with adopting():
        patient = Patient()
        for check in CHECKS:
            for finding in check(patient):
                findings.append(finding)
                if not argv:
                    _say(finding.line(shown) + "\n")
    missing = [finding.check for finding in findings if finding.required and not finding.ok]
    ok, verdict = not missing, _verdict(missing, patient)
    if argv:
        document = {"ok": ok, "verdict": verdict, "checks": [finding.__dict__ for finding in findings]}
        _say(json.dumps(document, indent=2) + "\n")
    else:
        _say("\n%s\n" % verdict)
    return 0 if ok else 1


def _verdict(missing: "list[str]", patient: Patient) -> str:
    if not missing:
        return "a full container can run here (exit status 0)"
    text = "a full container cannot run here (exit status 1); what stands in the way: " + ", ".join(missing)
    if missing == ["user namespace"] and patient.host.holds(abi.CAP_SYS_ADMIN):
        text += "; with --userns host everything else is there"
    return text


def _say(text: str) -> None:
    if sys.stdout is not None:  # the caller may have closed it
        sys.stdout.write(text.encode("ascii", "backslashreplace").decode())
        sys.stdout.flush()


def _table(host: Host) -> "maps.Maps | None":
    """The id maps that `run` would choose."""
    spec = Spec(
        config=default_config(["true"], "/"), identifier="doctor", bundle="/", source="host", userns="auto"
    )
    try:
        return plan.make(spec, host, "/").maps
    except ContainerError:
        alone = {"uids": ((0, host.uid, 1),), "gids": ((0, host.gid, 1),)}
        return maps.Maps(way="self", deny_setgroups=True, **alone)


def _finding(check: str, result: Result, required: bool, patient: Patient, **facts: object) -> Finding:
    """RESULT with its cause."""
    if result.ok:
        return Finding(check=check, ok=True, required=required, detail=result.detail)
    inside = patient.ground.table is not None and result.code != "userns"
    cause = causes.why(result.code, result.number, said=result.said, inside=inside, **facts)
    why, fix = cause.why or result.said, cause.fix or result.fix
    if result.number and os.strerror(result.number) not in why:
        why = "%s: %s" % (os.strerror(result.number), why)
    return Finding(check=check, ok=False, required=required, why=why, fix=fix)


# --- the checks -------------------------------------------------------------------------------


def system(patient: Patient):
    version = "%d.%d.%d" % sys.version_info[:3]
    yield Finding(check="python", ok=True, detail="%s, %s" % (version, printable(sys.executable or "?")))
    host = patient.host
    who = "root" if host.privileged else "uid %d" % host.uid
    around = signs.surroundings()
    kernel = "%s, %s" % (os.uname().release, abi.machine())
    inside = ", inside %s" % {"systemd": "a service of systemd"}.get(around, around) if around else ""
    yield Finding(check="kernel", ok=None, detail=kernel)
    nested = "" if host.initial else ", in a user namespace"
    yield Finding(check="caller", ok=None, detail=who + nested + inside)
    result = attempt(probes.system_calls)
    detail = (
        "all of the newer ones" if not result.detail else "without %s (older ways are used)" % result.detail
    )
    yield Finding(check="system calls", ok=None, detail=detail if result.ok else result.said)


def proc_itself(patient: Patient):
    """Id maps are written there, descriptors named: nothing goes without it."""
    try:
        os.close(paths.open_proc())
        paths.own_proc()
    except ContainerError as error:
        fix = fixes.as_root("mount -t proc proc /proc")
        yield Finding(check="/proc", ok=False, required=True, why=error.why, fix=fix)


def user_namespace(patient: Patient):
    """Its power, and not its being: something is mounted in it."""
    table = patient.alone()
    patient.ground = Ground(table=table)
    result = Result(ok=False, code="userns", said="no id maps could be chosen")
    if table is not None:
        result = attempt(within, patient.ground, abi.CLONE_NEWNS, probes.power)
    finding = _finding("user namespace", result, True, patient)
    if _powerless(result, patient):
        why = "it is made, but has no power: " + finding.why
        finding = Finding(check="user namespace", ok=False, required=True, why=why, fix=finding.fix)
    if not result.ok and result.code not in ("mount", "tmpfs"):
        patient.ground = Ground()
        if not patient.host.holds(abi.CAP_SYS_ADMIN):
            patient.obstacle = finding
    yield finding


def _powerless(result: Result, patient: Patient) -> bool:
    """The user namespace is there; what was refused is the first thing that asks for its
    capabilities: a mount, or the mount namespace that was to be made by the same clone."""
    if result.code == "userns" and result.number in (abi.EPERM, abi.EACCES):
        alone = attempt(within, patient.ground, 0, probes.nothing)
        return alone.ok or alone.code != "userns"
    return result.code in ("mount", "tmpfs")


def id_maps(patient: Patient):
    table, host = patient.table, patient.host
    if patient.ground.table is None:
        yield Finding(check="id maps", ok=False, why="there is no user namespace")
        return
    if table is None or table.way == "self":
        cause = causes.why("subids", 0, uid=host.uid, names=host.names)
        yield Finding(check="id maps", ok=False, why=cause.why, fix=cause.fix, detail="the caller alone")
        return
    result = attempt(probes.id_maps, table)
    if result.ok or table.way != "helpers":
        yield _finding("id maps", result, False, patient)
        return
    for name in ("newuidmap", "newgidmap"):  # why the one that failed did
        cause = causes.why(name, 0, said=result.said, uid=host.uid, names=host.names)
        if cause.fix or result.said.startswith(name):
            break
    said = "; ".join(
        [text for text in (result.said, cause.why) if text and text != result.said or not cause.why]
    )
    yield Finding(check="id maps", ok=False, why=said or cause.why, fix=cause.fix or result.fix)


def namespaces(patient: Patient):
    """Each part that a full container has, and those that it can do without."""
    users = patient.ground.table is not None
    make = patient.host.initial and not users and patient.host.holds(abi.CAP_MKNOD)
    for name, required, flags, body in (
        ("mounts", True, abi.CLONE_NEWNS, probes.mount),
        ("fresh /proc", True, abi.CLONE_NEWNS | abi.CLONE_NEWPID, probes.proc),
        ("pivot_root", True, abi.CLONE_NEWNS, probes.pivot_root),
        ("chroot", False, 0, probes.chroot),
        ("host name", True, abi.CLONE_NEWUTS, probes.host_name),
        ("network", True, abi.CLONE_NEWNET, probes.network),
        ("ipc", True, abi.CLONE_NEWNS | abi.CLONE_NEWIPC, probes.ipc),
        ("cgroup namespace", True, abi.CLONE_NEWCGROUP, probes.cgroup_namespace),
        ("time namespace", False, 0, probes.clock),
        ("sysfs", False, abi.CLONE_NEWNS | abi.CLONE_NEWNET, probes.sysfs),
        ("devices", False, abi.CLONE_NEWNS, lambda: probes.null_device(make)),
        ("overlay", False, abi.CLONE_NEWNS, lambda: probes.overlay(users)),
    ):
        result = attempt(within, patient.ground, flags, body)
        if not result.ok and patient.obstacle and result.number == abi.EPERM:
            why = "only with a user namespace, or more capabilities"
            yield Finding(check=name, ok=False, required=required, why=why, fix=patient.obstacle.fix)
            continue
        yield _finding(name, result, required, patient)


def idmapped_mounts(patient: Patient):
    table = patient.table
    if not (patient.host.initial and patient.host.holds(abi.CAP_SYS_ADMIN)):
        yield Finding(
            check="id-mapped mounts", ok=None, detail="for root alone; without root nothing needs them"
        )
    elif table is None or patient.ground.table is None:
        yield Finding(check="id-mapped mounts", ok=False, why="there is no user namespace")
    else:
        result = attempt(probes.idmapped_mount, table)
        yield _finding("id-mapped mounts", result, False, patient, path="/")


def confinement(patient: Patient):
    """seccomp, no_new_privs, and the security modules."""
    yield _finding("seccomp", attempt(probes.seccomp), False, patient)
    result = attempt(probes.no_new_privs)
    if result.ok and patient.host.no_new_privs:
        result = Result(
            ok=True, detail="set in the caller: newuidmap and other set-uid programs have no power"
        )
    yield _finding("no_new_privs", result, False, patient)
    profile = signs.apparmor()
    detail = "off" if not profile else "on, our profile: %s" % profile
    if profile and signs.sysctl("kernel.apparmor_restrict_unprivileged_userns") == 1:
        detail += "; user namespaces are for programs with a profile that grants userns"
    yield Finding(check="AppArmor", ok=None, detail=detail)
    context = signs.selinux()
    yield Finding(
        check="SELinux", ok=None, detail="enforcing, our context: %s" % context if context else "off"
    )
    try:
        detail = "version %d" % libc_rare.landlock_abi()
    except OSError as error:
        detail = "none (%s)" % error.strerror
    yield Finding(check="Landlock", ok=None, detail=detail)


def cgroups(patient: Patient):
    layout = cgroup.layout()
    if layout.kind == "none":
        cause = causes.why("cgroup-files", abi.ENOENT)
        yield Finding(check="cgroups", ok=False, why=cause.why, fix=cause.fix)
        return
    own = cgroup_files.own(signs.read("/proc/self/cgroup"))
    if layout.hierarchies:
        parts = [(mount, names, own.get(names[0], "/")) for mount, names in layout.hierarchies]
    else:
        parts = [(layout.unified, (), own.get("", "/"))]
    open_to_us, closed = [], []  # type: list[str], list[str]
    refused = (0, "")
    for mount, names, path in parts:
        place = _group_place(mount, path, patient, bool(names))
        names = names or tuple(signs.read(place + "/cgroup.controllers").split())
        number = _closed(place, layout.kind == "v2")
        if number:
            refused = (number, place)
        (closed if number else open_to_us).extend(names)
    detail = "%s, controllers: %s" % (layout.kind, " ".join(open_to_us) or "none")
    if closed or refused[0]:
        cause = causes.why("cgroup-files", refused[0], path=refused[1])
        yield Finding(check="cgroups", ok=False, detail=detail, why=cause.why, fix=cause.fix)
        return
    missing = [name for name in ("memory", "cpu", "pids") if name not in open_to_us]
    why, fix = _absent(missing[0], layout, place) if missing else ("", "")
    yield Finding(check="cgroups", ok=not missing, detail=detail, why=why, fix=fix)


def _absent(controller: str, layout: cgroup.Layout, place: str) -> "tuple[str, str]":
    """Why a limit that is often asked for cannot be had, and what helps."""
    from . import cgroup_absent, cgroup_refusal  # only here

    if layout.hierarchies:
        cause = cgroup_absent.from_v1(controller, layout.mount_point)
        return cause.why, cause.fix
    below = place[len(layout.unified) :] + "/container"
    return cgroup_refusal.kept_back(cgroup_files.Part(layout.unified, below, ()), controller)


def service_manager(patient: Patient):
    """Only --systemd-cgroup needs it."""
    from . import systemd

    if not os.path.isdir("/run/systemd/system"):  # sd_booted(3)
        yield Finding(
            check="systemd", ok=None, detail="not process 1: without --systemd-cgroup nothing needs it"
        )
        return
    try:
        manager = systemd.Manager(systemd.is_user())
    except ContainerError as error:
        yield Finding(check="systemd", ok=False, why=error.why, fix=error.hint)
        return
    detail = "version %d, by %s" % (manager.version, printable(manager.bus.address))
    manager.close()
    yield Finding(check="systemd", ok=True, detail=detail)


def _group_place(mount: str, path: str, patient: Patient, v1: bool) -> str:
    """Where a container's cgroup would be made: at the top by root, else below our own, or where on v2 a
    sub-tree was handed to us."""
    if patient.host.privileged and patient.host.initial:
        return mount
    if not v1:
        path = delegation.nearest(mount, path) or path
    return mount + (path.rstrip("/") if ".." not in path and os.path.isdir(mount + path) else "")


def _closed(place: str, v2: bool) -> int:
    """The errno that keeps us from making a cgroup in PLACE, 0 for none. Nothing is made."""
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        return abi.EROFS
    names = ("", "/cgroup.procs", "/cgroup.subtree_control") if v2 else ("",)
    needed = [place + name for name in names if os.path.exists(place + name)]
    return 0 if all(os.access(path, os.W_OK) for path in needed) else abi.EACCES


def state_directory(patient: Patient):
    """Where it would be made; it is not made."""
    try:
        path = state.default_root()
    except ContainerError as error:
        yield Finding(check="state directory", ok=False, required=True, why=error.why, fix=error.hint)
        return
    place = signs.existing(path)
    flags = signs.mount_flags(place)
    words = [
        word
        for bit, word in ((os.ST_NOSUID, "nosuid"), (os.ST_NODEV, "nodev"), (os.ST_NOEXEC, "noexec"))
        if flags & bit
    ]
    detail = "%s%s" % (printable(path), " (%s: does not matter)" % ", ".join(words) if words else "")
    number = abi.EROFS if flags & os.ST_RDONLY else 0 if os.access(place, os.W_OK) else abi.EACCES
    if not number and signs.full(place):
        number = abi.ENOSPC
    if not number:
        yield Finding(check="state directory", ok=True, required=True, detail=detail)
        return
    cause = causes.why("state", number, path=path)
    yield Finding(
        check="state directory", ok=False, required=True, detail=detail, why=cause.why, fix=cause.fix
    )


def null_device(patient: Patient):
    """The one thing of the host's /dev that every start needs."""
    try:
        null = os.stat("/dev/null")
        right = stat.S_ISCHR(null.st_mode) and null.st_rdev == os.makedev(1, 3)
    except OSError:
        right = False
    cause = causes.why("/dev/null", abi.ENOENT)
    if not right:
        yield Finding(check="/dev/null", ok=False, required=True, why=cause.why, fix=cause.fix)


CHECKS = (
    system, proc_itself, user_namespace, id_maps, namespaces, idmapped_mounts, confinement, cgroups,
    service_manager, state_directory, null_device,
)  # fmt: skip
