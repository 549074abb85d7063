"""A container's cgroup in the making: made, limited, or gone without.

Each function takes the lifecycle.Container, whose `group`, `plan` and `watch` it sets.

Side: host
"""

from . import abi, cgroup, cgroup_place, cgroup_settings, foreground, idtables
from . import unix as os
from .errors import ContainerError, Degradation
from .spec import cgroup_of


def make(me) -> None:
    """The cgroup and its limits."""
    if not me.plan.cgroup_path:
        me.group = cgroup.none("--cgroups disabled")
        records = []  # type: list[Degradation]
    elif me.spec.systemd:
        records = _open_unit(me)
    else:
        path = me.plan.cgroup_path
        me.group = cgroup.open(cgroup.layout(), path)
        if me.group.kind == "none":
            records = [_without(me, ContainerError("create the cgroup", me.group.why, 0, me.group.fix))]
        else:
            records = _create(me, noted=path == cgroup_of(me.spec.identifier, me.entry.path))
    records += _limit(me)
    if not me.spec.systemd:  # whose unit does not start before there is a process
        records += _hand_over(me)
    if me.spec.source != "bundle":
        records += _show(me)
    _tell(me, records)


def _show(me) -> "list[Degradation]":
    """What of the cgroup the program sees: of none nothing, as it would be the caller's; of one of v1 nothing
    to write to, as it could raise its limits there."""
    mounts, records = me.plan.mounts, []  # type: tuple, list[Degradation]
    divided = any(map(cgroup_place.writable, mounts))
    if divided:
        from . import cgroup_owner  # only for a systemd inside
    if me.group.kind == "none":
        mounts = tuple([mount for mount in mounts if mount.kind != "cgroup"])
    elif divided and me.group.kind != "v2":
        closed = [mount.replace(set=mount.set | abi.MOUNT_ATTR_RDONLY) for mount in mounts]
        mounts = tuple([new if cgroup_place.writable(old) else old for old, new in zip(mounts, closed)])
        records.append(cgroup_owner.unsafe(me.plan.cgroup_owner))
    elif divided and me.plan.cgroup_owner < 0:
        records.append(cgroup_owner.unknown())
    if mounts != me.plan.mounts:
        me.plan = me.plan.replace(mounts=mounts)
    return records


def _hand_over(me) -> "list[Degradation]":
    """v1 has no delegation that is safe; and what was there before may be of others."""
    if me.plan.cgroup_owner in (-1, os.geteuid()) or me.group.kind != "v2" or not me.group.fresh:
        return []
    from . import cgroup_owner  # only for one that is mounted to be written to

    return cgroup_owner.hand_over(me.group.parts[0], me.plan.cgroup_owner)


def _open_unit(me) -> "list[Degradation]":
    from . import cgroup_systemd  # with the protocol, 2 ms

    annotations = me.spec.config.get("annotations") or {}
    layout, path = cgroup.layout(), me.plan.cgroup_path
    try:
        me.group, records = cgroup_systemd.open(layout, path, me.spec.identifier, annotations)
    except cgroup_systemd.Missing as error:
        me.group = cgroup.none(error.why, error.hint)  # whatever the errno: it is none of a cgroup's files
        return [_without(me, error)]
    return records + _create(me, noted=False)


def move(me, pid: int) -> None:
    """The first process, to a cgroup that it cannot join by itself."""
    _tell(me, me.group.mover()(pid) + _hand_over(me))
    me.group.close()
    me.entry.save(me.content("creating"))  # only now it is known where that is


def _tell(me, records: "list[Degradation]") -> None:
    for record in records:
        if record.code == "cgroup-devices" and not _narrow(me, record):
            if me.plan.inner_user or not idtables.initial():
                continue  # in a user namespace no node can be made
            if not me.plan.cgroup_path:
                record.level = "notice"  # no cgroup was asked for, and every engine names devices
        me.certain(record)


def _narrow(me, record: Degradation) -> bool:
    """Whether a device was given to be read alone, written alone, or not to be opened: that is lost with the
    rules, and RECORD says so."""
    from . import device_rules  # only where they could not be set

    found = [rule for rule in me.plan.resources.get("devices") or () if device_rules.less_than_use(rule)]
    if found:
        record.lost = "a device that was not given for both may be read and written, as its node allows"
    return bool(found)


def _note(me) -> None:
    """So that who finds what is left of us knows where to look."""
    parents = me.group.missing_parents()
    me.entry.save(dict(me.content("creating"), cgroup_parents=parents))


def _create(me, noted: bool) -> "list[Degradation]":
    """Make it, where that is not allowed in the sub-tree that was handed to us, else go without.

    noted: who finds what is left of us knows where to look
    """
    me.undo.push("remove the cgroup", lambda: remove(me))
    if not noted:
        _note(me)
    try:
        with foreground.undisturbed():
            return me.group.create()
    except ContainerError as error:
        if error.number not in cgroup_settings.DENIED:  # else it is not ours to make
            raise
        refused = error
    remove(me)  # what was made until then; the next one is another group
    if me.plan.cgroup_free:
        from . import delegation  # not for root

        found = delegation.find(cgroup.layout(), me.plan.cgroup_path)
        if found is not None:
            me.group = found
            _note(me)
            with foreground.undisturbed():
                return me.group.create()
    me.group = cgroup.none(refused.why, refused.hint, refused.number)
    return [_without(me, refused)]


def _limit(me) -> "list[Degradation]":
    """Set the limits. What nobody asked for may be missing, and it is only noted."""
    wanted = dict(me.plan.resources)
    assumed = {name: wanted.pop(name) for name in me.spec.assumed}
    lacks = me.group.lacks(wanted)
    records = []  # type: list[Degradation]
    if lacks and (me.spec.degrade == "warn" or me.group.kind == "none"):
        from . import lesser  # only where a limit was asked for that cannot be had

        me.plan, records = lesser.step_down(me.plan, me.group, lacks)
        if "memory" in lacks and me.spec.memory_watch:
            from . import memory_watch

            me.watch = memory_watch.Watch(wanted["memory"]["limit"])
        wanted = {name: value for name, value in wanted.items() if name not in lacks}
    records += me.group.apply(wanted)
    missing = me.group.lacks(assumed)
    for name, controller in missing.items() if me.group.kind != "none" else ():
        record = me.group.lacking(name, controller)
        record.level = "notice"
        records.append(record)
    if len(missing) < len(assumed):
        records += me.group.update(assumed)
    return records


def _without(me, error: ContainerError) -> Degradation:
    """Nobody asked for a limit: a notice will do, without the time it takes to find out why. With
    `--cgroups enabled` or `--cgroup-parent`, a warning."""
    asked = me.spec.cgroups == "enabled" or me.spec.systemd
    asked = asked or (me.spec.source != "bundle" and "cgroupsPath" in me.spec.config["linux"])
    record = Degradation(
        "cgroup-none", "cgroup", "one of its own", "none", "limits, and counting what it uses",
        error.number, error.why, error.hint, "warning" if asked else "notice",
    )  # fmt: skip
    if not error.hint and (asked or me.spec.refuses(record)):
        record.cause = cgroup_settings.cause(error.number)
        record.why = "" if record.cause else error.why
    return record


def remove(me) -> None:
    me.group.close()  # it may have been one descriptor too many that ended the start
    me.group.kill()
    me.group.remove()
