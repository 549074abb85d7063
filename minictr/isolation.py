"""Whether a plan asks for a layer of isolation at all, and whether a start that requires some may go on.

Side: host
"""

from . import abi, device_rules, idtables, kernel_files, libc, privileges
from . import unix as os
from .errors import EXIT_REQUIRED, ContainerError
from .levels import NAMESPACES
from .record import MYPY
from .spec import DEFAULT_CAPABILITIES

if MYPY:
    from .maps import Maps
    from .plan import Plan

_UNCOVERED = "leave unmask=, a /sys to write to and what has the host's mounted below it out"


def check(plan: "Plan") -> None:
    """Raise ContainerError, with exit status 123, where a layer is required that PLAN does not even ask
    for: what could be had and is refused, a record tells later."""
    _check(plan, plan.spec.require)


def check_files(plan: "Plan") -> None:
    """The same for the host's files once the kernel has refused the user namespace, which kept PLAN from
    them."""
    if "files" in plan.spec.require:
        _check(without_user(plan), ("files",))


def _check(plan: "Plan", layers: "tuple[str, ...]") -> None:
    for layer in layers:
        why, fix = unasked(layer, plan)
        if why:
            raise ContainerError("%s is required" % layer, why, 0, _fix(layer, fix, plan), EXIT_REQUIRED)


def _fix(layer: str, fix: str, plan: "Plan") -> str:
    """FIX, which speaks of the option of its own that took LAYER away, by what can be said in its stead."""
    if plan.spec.source == "bundle":
        if layer in NAMESPACES:
            if fix.startswith("start"):
                return fix
            ids = fix.startswith("map it")
            return "%s of config.json" % ("the mappings" if ids else "a new one in linux.namespaces")
        return _BUNDLE.get(layer, fix)
    if _privileged(plan) and layer in ("no-new-privs", "seccomp", "masked-paths"):
        return "leave --privileged out"
    return fix


# What of a bundle it is that takes a layer away. --no-pivot and --no-new-keyring are options there, too
_BUNDLE = {
    "proc": "a mount of the type proc on /proc and a new pid namespace in config.json",
    "capabilities": "process.capabilities of config.json",
    "files": "a user namespace in config.json, or what is named taken out of it",
    "no-new-privs": "process.noNewPrivileges of config.json",
    "seccomp": "linux.seccomp of config.json",
    "apparmor": "process.apparmorProfile of config.json",
    "selinux": "process.selinuxLabel of config.json",
    "landlock": "only containers of the native form have such rules",
    "devices": "linux.resources.devices of config.json, and a cgroup",
    "masked-paths": "linux.maskedPaths and readonlyPaths of config.json, and /sys read-only",
    "resources": "leave --cgroup-manager disabled out",
}


_LABELS = {"apparmor": ("profile", "apparmor=PROFILE"), "selinux": ("label", "label=type:TYPE")}


def unasked(layer: str, plan: "Plan") -> "tuple[str, str]":
    """Why LAYER will not be there, and what would change that; two empty strings if it is asked for."""
    if layer in NAMESPACES:
        return _unasked_namespace(layer, plan)
    credentials, spec = plan.credentials, plan.spec
    if layer == "files":
        return _unasked_files(plan)
    if layer == "root":
        if plan.root.ways[:1] in (("pivot_root",), ("move",)) and "mount" in plan.namespaces:
            return "", ""
        return "the root is changed by %s" % ", ".join(plan.root.ways), "leave --no-pivot out"
    if layer == "proc":
        kinds = [mount.kind for mount in plan.mounts if mount.target == "/proc"]
        fresh = kinds[-1:] == ["proc"] and "pid" in plan.namespaces
        return ("", "") if fresh else ("there is no /proc of its own", "leave --pid host out")
    if layer == "capabilities":
        return _unasked_capabilities(plan)
    if layer == "no-new-privs" and not credentials.no_new_privs:
        return "no_new_privs is not asked for", "leave --security-opt no-new-privileges=false out"
    if layer == "seccomp":
        return _unasked_filter(plan.seccomp)
    if layer in ("apparmor", "selinux"):
        names = {"apparmor": "apparmorProfile", "selinux": "selinuxLabel"}
        name = (spec.config.get("process") or {}).get(names[layer])
        if not name or (layer, name) == ("apparmor", "unconfined"):  # which is one that denies nothing
            what, option = _LABELS[layer]
            return "no %s is asked for" % what, "--security-opt " + option
    if layer == "landlock" and not spec.landlock:
        return "no Landlock rules are asked for", "--landlock"
    if layer == "keyring" and spec.no_new_keyring:
        return "the session keyring is the caller's", "leave --no-new-keyring out"
    if layer == "masked-paths":
        why = kernel_files.uncovered(plan)
        return (why, _UNCOVERED) if why else ("", "")
    if layer == "devices":
        return _unasked_devices(plan)
    if layer == "resources" and not plan.cgroup_path:
        return "the container has no cgroup", "leave --cgroups disabled out"
    return "", ""


# What opens files of the host's without a user namespace: mounts, handles, modules, the machine's ports. The
# first takes mounts off in any: what hides parts of the host's own root, or keeps its root's settings closed
_OPENING = ("CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SYS_MODULE", "CAP_SYS_RAWIO")
# And together: programs that read all of the kernel's memory, in which the files lie (bpf_probe_read_kernel)
_READING = ("CAP_BPF", "CAP_PERFMON")
# Another kernel in the place of this one takes a capability for which the builtin filter has no such call
_BOOTING = ("CAP_SYS_BOOT",)
_KEXEC = ("kexec_load", "kexec_file_load")


def _unasked_files(plan: "Plan") -> "tuple[str, str]":
    """A root of its own keeps nobody who has other ways to the host's files."""
    if "mount" not in plan.namespaces:
        return "the container has no mount namespace", "leave the host's namespaces out"
    initial = idtables.initial()
    inside = plan.inner_user or not initial
    # of a namespace that is joined nobody knows yet whom it maps
    rooted = initial and (not plan.new_user or plan.maps is None or idtables.outside(plan.maps.uids, 0))
    opening = _opening(plan, inside, rooted)
    if opening:
        why = "it is granted %s, by which files of the host's are opened" % ", ".join(opening)
        return why, "leave --cap-add and --privileged out"
    if not plan.inner_user:
        if not libc.capget()[0] >> abi.CAP_SYS_ADMIN & 1:  # then it has Landlock
            return "", ""
        place, option = kernel_files.processes(plan), "what brings that"
        if "pid" not in plan.namespaces:
            place, option = "/proc", "--pid"
        elif plan.host_proc:
            place, option = "/proc", "--host-proc"
        if place:  # of those that have no more capabilities
            why = "the roots of other processes are in reach, by %s/PID/root" % place.rstrip("/")
            return why, "leave %s or --userns host out" % option
    why, fix = _unasked_devices(plan) if not inside else ("", "")
    if why:
        return why + ", so any device may be opened", fix
    why = kernel_files.uncovered(plan) if rooted else ""
    return (why + ", so the host may be had run anything", _UNCOVERED) if why else ("", "")


def _opening(plan: "Plan", inside: bool, rooted: bool) -> "list[str]":
    """Those of its capabilities by which files of the host's are opened, or read.

    inside: it is in a user namespace; rooted: the host's root is somebody in it
    """
    extra = names_beyond_default(plan.credentials.capabilities) or ()
    if inside:
        return [name for name in extra if name in _OPENING[:1] and (rooted or plan.root.source == "host")]
    counted = _OPENING + (_READING if set(_READING) <= set(extra) else ())
    if set(_BOOTING) & set(extra) and _may_call(_KEXEC, plan.seccomp):
        counted += _BOOTING
    return [name for name in extra if name in counted]


def _may_call(names: "tuple[str, ...]", profile: "dict | None") -> bool:
    """Whether one of NAMES can pass the filter."""
    if profile is None:
        return True
    from . import seccomp_worth  # only where a filter is asked what it is worth

    return bool(seccomp_worth.passing(profile, abi.machine(), names))


def without_user(plan: "Plan") -> "Plan":
    """PLAN as it has come out where the kernel refused its user namespace."""
    return plan.replace(namespaces=tuple([kind for kind in plan.namespaces if kind != "user"]))


def _unasked_filter(profile: "dict | None") -> "tuple[str, str]":
    """What a filter leaves to a tracer a program inside lets pass: it need only trace a child of its own.
    Calls that this machine does not have, or nobody knows, are none that are refused."""
    if profile is None:
        return "there is no filter of system calls", "leave --security-opt seccomp=unconfined out"
    from . import seccomp_worth, syscalls  # only where a filter is asked what it is worth

    known = syscalls.table(abi.machine()) if abi.machine() in syscalls.TABLES else {}
    rules = [rule for rule in profile.get("syscalls") or () if known.keys() & (rule.get("names") or ())]
    if "SCMP_ACT_TRACE" in {rule["action"] for rule in rules} | {profile["defaultAction"]}:
        return (
            "SCMP_ACT_TRACE leaves calls to a tracer, which may be a program inside",
            "SCMP_ACT_ERRNO instead",
        )
    word = seccomp_worth.idle(profile, abi.machine())
    if word:
        of = "" if word == abi.machine() else " of " + word
        return "its filter lets every system call%s pass" % of, "a profile that refuses some"
    return "", ""


def _unasked_namespace(layer: str, plan: "Plan") -> "tuple[str, str]":
    if layer in plan.namespaces:
        return _unasked_ids(plan.maps) if layer == "user" and plan.maps is not None else ("", "")
    if any(kind == layer for kind, _ in plan.joins):
        return "the namespace is another's, which is joined", "leave the path out"
    option = {"network": "--net", "cgroup": "--cgroupns", "mount": "the mount namespace"}.get(
        layer, "--" + layer
    )
    option = "--userns" if layer == "user" else option
    return "the %s namespace is the host's" % layer, "%s private" % option


def _unasked_ids(maps: "Maps") -> "tuple[str, str]":
    """A group 0 that the caller has without being root is the caller's own."""
    only = sum([count for _, _, count in idtables.read("uid_map")]) == 1
    for what, option, table in (("user", "--uidmap", maps.uids), ("group", "--gidmap", maps.gids)):
        number = next((inside for inside, outside, _ in table if outside == 0), -1)
        if number >= 0 and (what == "user" or os.geteuid() == 0):
            name = "root" if what == "user" else "group 0"
            inside = name if number == 0 else "%s %d" % (what, number)
            fix = "map it to another id: " + option
            if only:
                fix = "start outside of the user namespace around us, which has no other id"
            return "%s inside is %s" % (inside, around(name)), fix
    return "", ""


def around(name: str) -> str:
    """Whose NAME, a user outside of a container, is: only in the host's own namespace it is the host's."""
    initial = idtables.initial()
    return "the host's " + name if initial else name + " of the user namespace around us"


def _unasked_devices(plan: "Plan") -> "tuple[str, str]":
    if every_device(plan):
        option = "--privileged" if _privileged(plan) else "--device-cgroup-rule"
        return "every device may be used", "leave %s out" % option
    inside = plan.inner_user or not idtables.initial()
    if inside or plan.cgroup_path:
        return "", ""
    return "there is neither a user namespace nor a cgroup", "leave --userns host or --cgroups disabled out"


def _privileged(plan: "Plan") -> bool:
    """By the rule that `privileged` puts before the others; a rule that was asked for has a type."""
    resources = (plan.spec.config.get("linux") or {}).get("resources") or {}
    return bool([rule for rule in resources.get("devices") or () if rule.get("allow") and "type" not in rule])


def every_device(plan: "Plan") -> bool:
    """The rules let the container use whatever device it has, or makes, a node of; be it of one minor number
    alone, as the first disk of each driver is."""
    allowed = {}  # type: dict[tuple[str, int], int]
    linux = plan.spec.config.get("linux") or {}
    for rule in device_rules.normal((linux.get("resources") or {}).get("devices") or []):
        use = rule.access & device_rules.USE
        for kind in ("bc" if rule.kind == "a" else rule.kind) if rule.major == -1 else "":
            if rule.allow:
                allowed[kind, rule.minor] = allowed.get((kind, rule.minor), 0) | use
                continue
            for key in allowed:
                if key[0] == kind and rule.minor in (-1, key[1]):
                    allowed[key] &= ~use
    return any(allowed.values())


def _unasked_capabilities(plan: "Plan") -> "tuple[str, str]":
    sets = plan.credentials.capabilities
    extra = names_beyond_default(sets)
    if sets is None or extra is None:
        return "the program keeps the capabilities that it is born with", "name those it is to have"
    if extra:
        return "it is granted %s" % ", ".join(extra), "leave --cap-add and --privileged out"
    # a program with file capabilities takes them up (CVE-2022-24769)
    if sets["inheritable"] & ~sets["ambient"]:
        return "it has capabilities to inherit that are not ambient", "leave them out"
    return "", ""


def names_beyond_default(sets: "dict[str, int] | None") -> "list[str] | None":
    """The capabilities in SETS, bit masks, beyond the default fourteen; None where all are kept."""
    if sets is None:
        return None
    mask = 0
    for value in sets.values():
        mask |= value
    return [name for name in privileges.capability_names(mask) if name not in DEFAULT_CAPABILITIES]
