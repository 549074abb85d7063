"""The plan in words, or as JSON: what `run` would do, without doing it.

Side: host
"""

import os

from . import abi, document, mounts, preparation, privileges
from . import plan as plan_module
from .errors import printable
from .record import Record
from .spec import Spec


def show(spec: Spec, root_path: str) -> int:
    """Print the plan for SPEC. The exit status."""
    place = os.path.join(root_path, spec.identifier)
    plan = preparation.prepare(spec, place)
    for record in plan.records:
        preparation.explain(record)
    if spec.json:
        print(document.dumps(as_json(plan)))
    else:
        for number, line in enumerate(describe(plan, place), 1):
            print("%2d. %s" % (number, printable(line)))
        for record in plan.records:
            print("    certain: %s" % printable(record))
    return 0


def describe(plan: plan_module.Plan, place: str) -> "list[str]":
    """One line a step, in the order they are taken. place: of the container's state"""
    return _around(plan, place) + _inside(plan) + _program(plan) + _end(plan)


def _around(plan: plan_module.Plan, place: str) -> "list[str]":
    """What is made before anything of it is."""
    lines = ["remember the container %s in %s" % (plan.identifier, place)]
    if plan.spec.log_file:
        lines.append("write its output to %s" % plan.spec.log_file)
    if not plan.cgroup_path:
        lines.append("make no cgroup")
    elif plan.spec.systemd:
        lines.append("have systemd start the unit %s" % plan.cgroup_path)
    else:
        lines.append("make the cgroup %s" % plan.cgroup_path)
    if plan.cgroup_path and plan.cgroup_free:
        lines.append("  where that is not allowed: in the sub-tree that was handed to us")
    lines += ["limit %s" % words for words in _limits(plan.resources)] if plan.cgroup_path else []
    lines += ["join the %s namespace %s" % join for join in plan.joins]
    lines.append("clone into new namespaces: %s" % (", ".join(plan.namespaces) or "none"))
    if plan.oom_score_adj is not None:
        lines.append("set oom_score_adj to %d" % plan.oom_score_adj)
    if plan.maps is not None:
        lines.append(str(plan.maps))
        if plan.maps.otherwise is not None:
            lines.append("  where that is refused: %s" % plan.maps.otherwise)
    if plan.time_offsets:
        lines.append("set the clocks: %s" % plan.time_offsets.strip().replace("\n", ", "))
    return lines


def _inside(plan: plan_module.Plan) -> "list[str]":
    """The container as its program will see it."""
    root = plan.root
    lines = ["set the host name %s" % plan.hostname] if plan.hostname else []
    lines += ["set the domain name %s" % plan.domainname] if plan.domainname else []
    if "network" in plan.namespaces:
        lines.append("bring the loopback device up")
    lines.append("attach the root file system %s%s" % (root.path, _shown(root)))
    lines += [str(mount) + _options(mount) for mount in plan.mounts]
    devices = ", ".join([device.path for device in plan.devices])
    lines.append("make the devices %s (%s)" % (devices, ", else ".join(plan.device_ways)))
    if plan.new_user and not plan.spec.nested_users:
        lines.append("allow no user namespace below its own")
    if plan.terminal:
        lines.append("open a terminal on /dev/console")
    for name, paths in (("mask", plan.masked_paths), ("make read-only:", plan.readonly_paths)):
        if paths:
            lines.append("%s %s" % (name, ", ".join(paths)))
    lines += _hooks(plan, "prestart", "createRuntime")
    lines += ["set sysctl %s = %s" % item for item in plan.sysctl]
    lines += _hooks(plan, "createContainer")
    lines.append("change the root by %s" % ", else ".join(root.ways))
    if "chdir" in root.ways:
        lines.append("  where only chdir is left: confine the program to the root and volumes by Landlock")
    return lines


def _program(plan: plan_module.Plan) -> "list[str]":
    credentials = plan.credentials
    lines = ["change to the directory %s" % plan.cwd]
    if not plan.spec.no_new_keyring:
        lines.append("take a new session keyring")
    lines.append(
        "become user %d, group %d, groups %s" % (credentials.uid, credentials.gid, _groups(credentials))
    )
    if credentials.capabilities is not None:
        lines.append("keep the capabilities %s" % _kept(credentials))
    lines.append("set the umask to %04o" % credentials.umask)
    lines += ["set %s to %s" % (abi.RLIMITS[kind], _range(soft, hard)) for kind, soft, hard in plan.rlimits]
    if credentials.no_new_privs:
        lines.append("set no_new_privs")
    if plan.spec.landlock:
        lines.append("allow by Landlock no more than %s" % " ".join(plan.spec.landlock))
    if plan.seccomp is not None:
        lines.append("install a filter of system calls: %s" % _filter(plan.seccomp))
    lines += ["run it under the %s label %s" % (label.layer, label.name) for label in plan.labels]
    for what, file in (("id", plan.spec.id_file), ("process id", plan.spec.pid_file)):
        lines += ["write its %s to %s" % (what, file)] if file else []
    lines += _hooks(plan, "startContainer")
    names = [entry.partition("=")[0] for entry in plan.env]
    lines.append(
        "give it the variables %s and no other" % ", ".join(names) if names else "give it no variables"
    )
    return lines + ["execute %s%s" % (" ".join(plan.args), _how(plan))]


def _end(plan: plan_module.Plan) -> "list[str]":
    lines = _hooks(plan, "poststart")
    if plan.spec.timeout:
        lines.append("kill it after %g seconds" % plan.spec.timeout)
    kept = "keep what is known of it" if plan.spec.keep else "forget it"
    lines.append("leave it in the background" if plan.spec.detach else "wait for its end, and " + kept)
    return lines + _hooks(plan, "poststop")


def _hooks(plan: plan_module.Plan, *names: str) -> "list[str]":
    hooks = [(name, hook) for name in names for hook in plan.hooks.get(name, ())]
    return ["run the %s hook %s" % (name, " ".join((hook.path,) + hook.args[1:])) for name, hook in hooks]


def _options(mount: mounts.Mount) -> str:
    """What a mount may do, in the words of mount(8), and the options of its file system."""
    found = []
    for name, (_, attribute, on) in mounts.FLAGS.items():
        if on and attribute and (mount.set | mount.set_all) & attribute == attribute:
            found.append(name + " with all below" * bool(mount.set_all & attribute))
    found += mount.words + ((mount.idmap,) if mount.idmap else ())
    return " (%s)" % ", ".join(found) if found else ""


def _range(soft: int, hard: int) -> str:
    words = ["no limit" if number == 2**64 - 1 else str(number) for number in (soft, hard)]
    return words[0] if soft == hard else "%s, at most %s" % (words[0], words[1])


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
    return ", ".join(privileges.capability_names(mask))


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
