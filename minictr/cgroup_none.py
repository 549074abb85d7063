"""No cgroup: what would need one is refused, or comes back as a record of what is lost.

Side: host
"""

from .cgroup_files import PATIENCE
from .cgroup_group import Group
from .cgroup_settings import LOSSES, cause, without_devices
from .errors import ContainerError, Degradation


def asked(resources: "dict") -> "list[str]":
    """The groups of `linux.resources` in which a limit is asked for. Devices are none of them."""
    return [name for name in LOSSES if _asks(resources.get(name))]


def _asks(value: object) -> bool:
    if isinstance(value, dict):
        return any(_asks(item) for item in value.values())
    return bool(value) and value is not True and value != -1


class None_(Group):
    """why, fix: sentences for the records; number: an errno of which `causes` knows more, or 0"""

    kind = "none"

    def __init__(self, why: str, fix: str = "", number: int = 0) -> None:
        super().__init__([])
        self.why, self.fix, self.number = why, fix, number

    def create(self) -> "list[Degradation]":
        return []

    def apply(self, resources: "dict") -> "list[Degradation]":
        """A record of the limits asked for, and one of the device rules, which every container has."""
        word = "" if self.fix else cause(self.number)
        record = without_devices(self.number, "" if word else self.why, self.fix, word)
        return self.update(resources) + [record]

    def update(self, resources: "dict") -> "list[Degradation]":
        names = asked(resources)
        if not names:
            return []
        wanted, lost = "limits for " + ", ".join(names), "; ".join([LOSSES[name] for name in names])
        return [Degradation("cgroup-none", "cgroup", wanted, "no cgroup", lost, 0, self.why, self.fix)]

    def lacks(self, resources: "dict") -> "dict[str, str]":
        return {name: "" for name in asked(resources)}

    def lacking(self, name: str, controller: str) -> Degradation:
        record = Degradation(
            "cgroup-none", "cgroup", "limits for " + name, "no cgroup", LOSSES[name], self.number
        )
        if self.number:
            record.cause = cause(self.number)
        else:
            record.why, record.fix = self.why, self.fix
        return record

    def join_files(self) -> "tuple[int, ...]":
        return ()

    def freeze(self, patience: float = PATIENCE) -> None:
        raise ContainerError("freeze the container", self.why, 0, self.fix)

    def thaw(self) -> None:
        raise ContainerError("thaw the container", self.why, 0, self.fix)

    def frozen(self) -> bool:
        return False

    def pids(self) -> "list[int]":
        return []

    def signal(self, number: int) -> int:
        return 0

    def kill(self, patience: float = 10.0) -> bool:
        """False: whoever kills has to do it by the process namespace."""
        return False

    def stats(self) -> "dict[str, object]":
        raise ContainerError("measure the container", self.why, 0, self.fix)

    def oom_kills(self) -> int:
        return 0
