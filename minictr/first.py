"""The stages of a container's first process, from its birth to the program: process 1.

    setsid, death signal, cgroup       | the runtime writes the id maps meanwhile
    open the host's sources, isolate   |
    <- placed
    ids of the set-up, host name, loopback, mounts, devices, console, covers
    -> built, <- enter (where the runtime has hooks to run)
    sysctl
    new root, directory, keyring, groups, capabilities, user
    <- filter (the runtime has compiled it meanwhile)
    -> ready
    <- kept, -> kept (`create` alone: it may end now)
    close everything
    <- go
    seccomp, execve

Nothing is imported here, nothing printed, no lock taken (`init`).

Side: container
"""

from . import abi, covers, devices, enter, init, last, libc, maps, namespaces, paths, privileges, rootfs
from . import unix as os
from .errors import ContainerError, Degradation, step
from .init import Init


def open_host(me: Init) -> None:
    me.proc = paths.open_proc()
    me.stage = rootfs.Stage(me.plan, me.proc, me.degrade, {})
    try:
        me.stage.open_sources()
    except ContainerError as error:
        # a place of the container's own ids, as in podman's store, is open to us once they are mapped
        waits = me.plan.new_user and "user" not in me.lost and me.placed is None
        if error.number != abi.EACCES or not waits:
            raise
        me.placed = me.channel.expect("placed")
        me.stage.open_sources()
    if "mount" in me.namespaces or any(kind == "mount" for kind, _ in me.plan.joins):
        me.stage.isolate()
    else:
        me.stage.mountable, me.stage.obstacle = False, "there is no mount namespace of its own"
    if not me.plan.root.idmap:
        me.stage.attach()


def wait_placed(me: Init) -> None:
    """The maps are written. Take the ids of the set-up, so that what is made has an owner."""
    placed = me.plan.new_user and "user" not in me.lost
    if placed or me.plan.idmapped(me.lost):
        way, trees = me.placed or me.channel.expect("placed")
        if placed and way != me.maps.way:
            me.maps = me.maps.otherwise
            me.plan = me.stage.plan = _with_fewer_ids(me.plan, me.maps)
        me.stage.trees.update(zip([int(index) for index in trees.split()], me.channel.received))
    if me.plan.root.idmap:
        me.stage.attach()
    if placed:
        privileges.become_root(*_setup_ids(me))
        privileges.tie_to_runtime()  # the change of ids forgot it
    elif any(kind == "user" for kind, _ in me.plan.joins):
        privileges.become_root(0, 0)
        privileges.tie_to_runtime()
        if me.plan.spec.source != "bundle":
            me.plan = me.stage.plan = _with_fewer_ids(me.plan, maps.own(me.proc))
    _say_lost(me)
    libc.prctl(abi.PR_SET_DUMPABLE, 0)


def _with_fewer_ids(plan, table):
    """PLAN with the ids that the container turns out to have."""
    mounts = [mount.replace(words=maps.known_words(mount, table.uids, table.gids)) for mount in plan.mounts]
    return plan.replace(mounts=tuple(mounts))


def _setup_ids(me: Init) -> "tuple[int, int]":
    if me.maps is me.plan.maps:
        return me.plan.setup_uid, me.plan.setup_gid
    return me.maps.uids[0][0], me.maps.gids[0][0]


_LOSSES = {
    "user": "the container's root is the host's",
    "pid": "processes of the host can be seen and signalled, and the container's may outlive it",
    "mount": rootfs.LOST,
    "network": "the host's network and its abstract sockets can be reached",
    "ipc": "shared memory and message queues of the host can be reached",
    "uts": "the host name is the host's",
    "cgroup": "the paths of the host's cgroups are shown",
    "time": "the clocks are the host's",
}


def _say_lost(me: Init) -> None:
    instead = init.instead_of_namespaces(me, me.lost)
    for kind in sorted(me.lost, key=lambda kind: (kind != "user", kind)):  # the others go with it
        lost = instead.get(kind) or _LOSSES[kind]
        if kind == "user" and os.geteuid():
            lost = "root and every other user of the container: the program runs as the caller"
        me.degrade(
            Degradation(
                kind + "-namespace",
                kind + " namespace",
                "a new one",
                "the host's",
                lost,
                me.lost[kind],
                cause="userns" if kind == "user" else kind,
            )  # fmt: skip
        )


# --- the container as the program will see it -------------------------------------------------


def raise_lo(me: Init) -> None:
    if "network" not in me.namespaces:
        return
    try:
        devices.raise_lo()
    except ContainerError as error:
        if error.number not in rootfs.REFUSED:
            raise
        me.degrade(
            Degradation(
                "loopback",
                "network",
                "the loopback device up",
                "down",
                "127.0.0.1 and ::1 cannot be reached inside",
                error.number,
                cause="lo",
            )  # fmt: skip
        )


def build_root(me: Init) -> None:
    stage, plan = me.stage, me.plan
    stage.lay()
    stage.populate()
    devices.populate(stage, plan)
    if stage.mountable and not plan.root.early_readonly:
        with step("make the working directory %s" % plan.cwd):
            os.close(paths.make_in(stage.root, plan.cwd))
    if not plan.spec.nested_users and "user" in me.namespaces:
        namespaces.close_users(me)
    if plan.terminal:
        from . import console  # loaded by `clone`, before the fork

        here = stage.mountable
        console.attach(stage.root if here else -1, me.channel, plan, stage if here else None)
        console.take()
    if stage.mountable:
        covers.Covers(stage).lay(plan.masked_paths, plan.readonly_paths)


def run_hooks(me: Init) -> None:
    """The runtime's hooks, then those of this side, all before the root is changed."""
    if "prestart" in me.plan.hooks or "createRuntime" in me.plan.hooks:
        me.channel.say("built")
        me.channel.expect("enter")
    os.umask(me.umask)
    last.run_hooks(me, "createContainer", "creating")
    os.umask(0)
    me.stage.freeze()  # hooks mount below the root, and may need a place for it
    if me.plan.sysctl:  # last, for docker's hook sets some, and brings the devices of others
        from . import sysctls  # loaded by `clone`, before the fork

        sysctls.set_all(me)


def enter_root(me: Init) -> None:
    me.way = enter.enter(me.stage)
    plan = me.plan
    if me.way == "chdir":
        me.prefix = plan.root.path
        if me.stage.confinement is not None:
            me.rulesets.append(me.stage.confinement)
    hint = "" if plan.spec.source == "bundle" else "--volume SRC:DST shows what the host has there"
    init.change_directory(plan.cwd, me.stage.root if me.prefix else -1, hint)


STAGES = (
    init.begin, init.join_cgroup, open_host, wait_placed, namespaces.name_host, raise_lo, build_root,
    run_hooks, enter_root, init.import_no_more, init.own_null, last.change_user, last.wait_go, last.execute,
)  # fmt: skip
