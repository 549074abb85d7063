"""What a container is given of the machine itself: network devices, and a share of the processor's caches.

Each function takes the lifecycle.Container, whose `devices` and `resctrl` it sets.

Side: host
"""

from . import netdevices, resctrl
from .errors import ContainerError


def give(me, birth) -> None:
    """To the first process of BIRTH, a clone.Birth, which has its namespaces and waits."""
    if "netDevices" in me.plan.extras:
        if "network" in birth.lost:  # they would be moved to the host's own, under other names
            raise ContainerError("move network devices", "the container has the host's network")
        me.devices = netdevices.Moved(birth.proc, birth.pid)
        me.undo.push("give the network devices back", lambda: _take_back(me))
        for name, value in me.plan.extras["netDevices"].items():
            me.devices.take(name, (value or {}).get("name") or name)
    if "intelRdt" in me.plan.extras:
        group = resctrl.Group(me.plan.extras["intelRdt"], me.spec.identifier, resctrl.mount_point())
        me.resctrl = group.made
        me.undo.push("remove the class of service", lambda: resctrl.remove(group.made))
        group.make()
        group.join(birth.pid)


def _take_back(me) -> None:
    """Where the start has failed. A container that has run takes its network along, and the devices."""
    if me.devices is not None:
        me.devices.give_back()
        me.devices.close()
