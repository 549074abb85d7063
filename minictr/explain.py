"""The plan in words, or as JSON: what `run` would do, without doing it.

Side: host
"""

import os

from . import document, preparation
from . import plan as plan_module
from .errors import printable
from .record import Record
from .spec import Spec


def show(spec: Spec, root_path: str) -> int:
    """Print the plan for SPEC. The exit status."""
    plan = preparation.prepare(spec, os.path.join(root_path, spec.identifier))
    for record in plan.records:
        preparation.explain(record)
    if spec.json:
        print(document.dumps(as_json(plan)))
    else:
        for number, line in enumerate(describe(plan), 1):
            print("%2d. %s" % (number, printable(line)))
        for record in plan.records:
            print("    certain: %s" % printable(record))
    return 0


def describe(plan: plan_module.Plan) -> "list[str]":
    """One line a step, in the order they are taken."""
    root, credentials = plan.root, plan.credentials
    lines = ["remember the container %s in %s" % (plan.identifier, root.stage)]
    what = "have systemd start the unit" if plan.spec.systemd else "make the cgroup"
    lines.append("%s %s" % (what, plan.cgroup_path) if plan.cgroup_path else "make no cgroup")
    if plan.cgroup_path and plan.cgroup_free:
        lines.append("  where that is not allowed: in the sub-tree that was handed to us")
    lines += ["limit %s" % words for words in _limits(plan.resources)] if plan.cgroup_path else []
    lines += ["join the %s namespace %s" % join for join in plan.joins]
    lines.append("clone into new namespaces: %s" % (", ".join(plan.namespaces) or "none"))
    if plan.maps is not None:
        lines.append(str(plan.maps))
        if plan.maps.otherwise is not None:
            lines.append("  where that is refused: %s" % plan.maps.otherwise)
    if plan.time_offsets:
        lines.append("set the clocks: %s" % plan.time_offsets.strip().replace("\n", ", "))
    if plan.hostname:
        lines.append("set the host name %s" % plan.hostname)
    if "network" in plan.namespaces:
        lines.append("bring the loopback device up")
    lines.append("attach the root file system %s%s" % (root.path, _shown(root)))
    lines += [str(mount) for mount in plan.mounts]
    devices = ", ".join([device.path for device in plan.devices])
    lines.append("make the devices %s (%s)" % (devices, ", else ".join(plan.device_ways)))
    if plan.new_user and not plan.spec.nested_users:
        lines.append("allow no user namespace below its own")
    if plan.terminal:
        lines.append("open a terminal on /dev/console")
    for name, paths in (("mask", plan.masked_paths), ("make read-only:", plan.readonly_paths)):
        if paths:
            lines.append("%s %s" % (name, ", ".join(paths)))
    lines += ["set sysctl %s = %s" % item for item in plan.sysctl]
    lines.append("change the root by %s" % ", else ".join(root.ways))
    if "chdir" in root.ways:
        lines.append("  where only chdir is left: confine the program to the root and volumes by Landlock")
    lines.append("change to the directory %s" % plan.cwd)
    lines.append(
        "become user %d, group %d, groups %s" % (credentials.uid, credentials.gid, _groups(credentials))
    )
    if credentials.capabilities is not None:
        lines.append("keep the capabilities %s" % _kept(credentials))
    if credentials.no_new_privs:
        lines.append("set no_new_privs")
    if plan.spec.landlock:
        lines.append("allow by Landlock no more than %s" % " ".join(plan.spec.landlock))
    if plan.seccomp is not None:
        lines.append("install a filter of system calls: %s" % _filter(plan.seccomp))
    lines += ["run it under the %s label %s" % (label.layer, label.name) for label in plan.labels]
    lines.append("execute %s%s" % (" ".join(plan.args), _how(plan)))
    return lines


def _shown(root: plan_module.Root) -> str:
    words = [
        ("the host's own", root.source == "host"),
        ("read-only", root.readonly or root.early_readonly and not root.overlay),
        ("under an overlay in memory", root.overlay), ("with the container's ids", root.idmap),
    ]  # fmt: skip
    told = ", ".join([word for word, true in words if true])
    return " (%s)" % told if told else ""


def _kept(credentials) -> str:
    """Those of the program: execve(2) leaves who is not root the ambient ones (capabilities(7))."""
    sets = credentials.capabilities
    own, most = sets["ambient" if credentials.uid else "effective"], sets["bounding"]
    return (_names(own) or "none") + ("" if own == most else "; at most " + (_names(most) or "none"))


def _groups(credentials) -> str:
    if credentials.groups is None:
        return "as they are (setgroups is denied)"
    return ", ".join([str(group) for group in credentials.groups]) or "none"


def _filter(profile: "dict") -> str:
    """What it does with calls that it does not name, and how many rules it has beside that."""
    count = len(profile.get("syscalls") or ())
    return "%s but for %d %s" % (profile["defaultAction"], count, "rule" if count == 1 else "rules")


def _names(mask: int) -> str:
    from . import abi

    return ", ".join([name for bit, name in enumerate(abi.CAPABILITIES) if mask >> bit & 1])


def _how(plan: plan_module.Plan) -> str:
    below = " below a reaping process 1" if plan.spec.init else ""
    return below + (" by a stand-in" if plan.guard == "standin" else "")


def _limits(resources: "dict") -> "list[str]":
    """ "memory: limit 67108864, swap 134217728" for each group of linux.resources."""
    found = []
    for name, wanted in resources.items():
        if isinstance(wanted, dict):
            words = ["%s %s" % (key, _plain(value)) for key, value in wanted.items()]
            found.append("%s: %s" % (name, ", ".join(words)))
        elif wanted:
            found.append("%s: %s" % (name, _plain(wanted)))
    return found


def _plain(value: object) -> str:
    return printable(value) if not isinstance(value, (list, dict)) else document.dumps(value)


def as_json(value: object) -> object:
    """Records as objects, tuples as arrays; the configuration itself is left out."""
    if isinstance(value, Spec):
        return {name: as_json(item) for name, item in value.__dict__.items() if name != "config"}
    if isinstance(value, Record):
        return {name: as_json(item) for name, item in value.__dict__.items()}
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    return value
