"""What the files of a group say before they are changed, to be written again where one is refused.

Side: host
"""

from .cgroup_group import Group
from .cgroup_settings import Setting
from .errors import ContainerError

# How a device, of which a file says nothing, gets no setting again; elsewhere by 0
_NONE = {
    "io.max": "rbps=max wbps=max riops=max wiops=max", "io.weight": "default", "io.bfq.weight": "default",
    "blkio.weight_device": "default", "blkio.bfq.weight_device": "default",
}  # fmt: skip


def before(group: Group, resources: "dict") -> "list[Setting]":
    """The settings by which what RESOURCES changes is as it is now."""
    found = []
    for setting in group.convert(resources)[1]:
        for name in setting.names:
            value = _value(name, setting.value, _text(group, setting.controller, name))
            if value is not None:
                found.append(Setting(setting.controller, name, value, ""))
    return found


def put_back(group: Group, settings: "list[Setting]") -> None:
    """One by one: what is not to be had again, as a limit of memory below what is in use by now, keeps
    none of the others away."""
    for _ in range(2):  # a limit of memory and one of memory with swap allow each other
        left = []
        for setting in settings:
            try:
                group.settle([setting])
            except ContainerError:  # the refusal before is what the user has to hear of
                left.append(setting)
        settings = left


def _text(group: Group, controller: str, name: str) -> "str | None":
    """None where it cannot be read."""
    try:
        return group.read(controller, name)
    except OSError:
        return None


def _value(name: str, new: str, text: "str | None") -> "str | None":
    """What is to be written instead of NEW for TEXT to be there again, None where nobody knows."""
    lines = (text or "").splitlines()
    if text is None:
        return None
    device, _, rest = new.partition(" ")
    if rest and ":" in device:
        old = [line for line in lines if line.split()[:1] == [device]]
        return old[0] if old else "%s %s" % (device, _NONE.get(name, "0"))
    if name == "memory.oom_control":
        return lines[0].split()[1] if lines else None
    if len(lines) > 1 and not lines[0].startswith("default "):
        return None
    if not any(lines):
        return "\n"  # as a set of v2 that nobody has limited; a write of nothing at all would do nothing
    return lines[0]
