"""Which ids a container's user namespace has, as far as that can be decided from what is known of the host.

Side: host
"""

from . import abi, maps
from .errors import ContainerError
from .host import Host
from .idtables import RANGE
from .spec import Spec


def choose(spec: Spec, host: Host, linux: "dict", process: "dict") -> maps.Maps:
    """The ladder of id maps, as far as it can be seen from here. What the user namespace around us
    denies, one below it has not got, whoever writes its maps."""
    table = _table(spec, host, linux, process)
    return table.replace(deny_setgroups=True) if host.groups_denied else table


def _table(spec: Spec, host: Host, linux: "dict", process: "dict") -> maps.Maps:
    uids, gids = lines(linux, "uidMappings"), lines(linux, "gidMappings")
    if uids or gids:
        if not (uids and gids):
            raise ContainerError("choose id maps", "uidMappings and gidMappings come together")
        return _given(host, uids, gids, spec.userns == "joined")
    if spec.userns in ("config", "joined") and not host.privileged:
        raise ContainerError("choose id maps", "a user namespace without uidMappings and gidMappings")
    if host.privileged and spec.userns != "keep-id":
        return _root_maps(host)
    return _rootless_maps(spec, host, process.get("user") or {})


def lines(linux: "dict", name: str) -> "tuple[tuple[int, int, int], ...]":
    return tuple([(line["containerID"], line["hostID"], line["size"]) for line in linux.get(name) or ()])


def _given(host: Host, uids: "tuple", gids: "tuple", written: bool) -> maps.Maps:
    """written: they exist, and nobody has to ask newuidmap for them again"""
    if host.holds(abi.CAP_SETUID) and host.holds(abi.CAP_SETGID):
        return maps.Maps(way="direct", uids=uids, gids=gids)
    if [line[1:] for line in uids] == [(host.uid, 1)] and [line[1:] for line in gids] == [(host.gid, 1)]:
        return maps.Maps(way="self", uids=uids, gids=gids, deny_setgroups=True)
    if written:
        return maps.Maps(way="direct", uids=uids, gids=gids)
    _check_helpers(host)
    return maps.Maps(way="helpers", uids=uids, gids=gids, newuidmap=host.newuidmap, newgidmap=host.newgidmap)


def _root_maps(host: Host) -> maps.Maps:
    """An unprivileged range: root inside is nobody outside. In a user namespace that is not the
    host's, the ids we have are all there is."""
    if not host.initial:
        own = [
            tuple([(first, first, count) for first, _, count in table])
            for table in (host.uid_map, host.gid_map)
        ]
        return maps.Maps(way="direct", uids=own[0], gids=own[1])
    if host.free_id < 0:
        why = "no range of %d ids is free below 2^31" % RANGE
        hint = "give root one in /etc/subuid and /etc/subgid, or --userns host"
        raise ContainerError("choose id maps", why, hint=hint)
    start_uid = host.subuids[0] if host.subuids else (host.free_id, RANGE)
    start_gid = host.subgids[0] if host.subgids else (host.free_id, RANGE)
    uids, gids = ((0,) + start_uid,), ((0,) + start_gid,)
    return maps.Maps(way="direct", uids=uids, gids=gids)


def _rootless_maps(spec: Spec, host: Host, user: "dict") -> maps.Maps:
    uid, gid = user.get("uid") or 0, user.get("gid") or 0
    if spec.userns == "keep-id":
        uid, gid = spec.kept
    alone = maps.Maps(way="self", uids=((uid, host.uid, 1),), gids=((gid, host.gid, 1),), deny_setgroups=True)
    if not (host.subuids and host.subgids and host.newuidmap and host.newgidmap) or host.no_new_privs:
        return alone
    if spec.userns == "keep-id":
        uids, gids = _keep(uid, host.uid, host.subuids), _keep(gid, host.gid, host.subgids)
    else:
        uids, gids = _keep(0, host.uid, host.subuids), _keep(0, host.gid, host.subgids)
    return maps.Maps(
        way="helpers", uids=uids, gids=gids,
        newuidmap=host.newuidmap, newgidmap=host.newgidmap, otherwise=alone,
    )  # fmt: skip


def _keep(inside: int, outside: int, ranges: "tuple[tuple[int, int], ...]") -> "tuple":
    """OUTSIDE is seen as INSIDE, and the ranges fill the numbers around it from 0 up."""
    lines, at = [], 0
    for start, count in _disjoint(ranges, outside):
        while count:
            if at == inside:
                lines.append((inside, outside, 1))
                at += 1
            length = min(count, inside - at) if at < inside else count
            lines.append((at, start, length))
            at, start, count = at + length, start + length, count - length
    if at <= inside:
        lines.append((inside, outside, 1))
    return tuple(lines)


def _disjoint(ranges: "tuple[tuple[int, int], ...]", outside: int) -> "list[tuple[int, int]]":
    """RANGES without what one of those before has, or OUTSIDE is: a file may have a line twice, and the
    kernel takes no map that has an id twice."""
    found, taken = [], [(outside, outside + 1)]
    for start, count in ranges:
        end, all_ = start + count, (start, start + count)
        for low, high in sorted(taken):
            if start < high and low < end:
                if start < low:
                    found.append((start, low - start))
                start = high
        if start < end:
            found.append((start, end - start))
        taken.append(all_)
    return found


def _check_helpers(host: Host) -> None:
    if not (host.newuidmap and host.newgidmap):
        raise ContainerError("choose id maps", "the ids are not the caller's alone", cause="subids")
