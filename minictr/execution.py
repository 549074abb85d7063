"""exec: a further program in a container that runs.

It joins every namespace, the cgroup, the capabilities and the seccomp filter of the container,
and its root directory; joining some of them only has let programs of a container at the host
(CVE-2016-9962 and kin). Until it executes, the process cannot be traced from inside.

Side: host
"""

import _signal  # `signal` imports enum: 3 ms

from . import (
    abi,
    clone,
    foreground,
    further,
    host,
    identity,
    idtables,
    init,
    last,
    lifetime,
    living,
    maps,
    paths,
    plan,
    process,
    sound,
    state,
)
from . import unix as os
from .errors import ContainerError, cleaning, step
from .spec import Spec
from .wish import Wish, spec_of

EXIT_EXEC = 255  # runc's: an error of ours, not the program's


class Target:
    """The container that is joined: its namespaces and root, opened while it was known to be alive.

    root: its first process's root directory; files: where its etc/passwd is
    """

    def __init__(self, content: "dict") -> None:
        self.pid = content["pid"]
        doing, closed = "join container %s" % content["id"], ""
        if content.get("status") == "created":  # nobody may look into it but who may trace everything
            closed = "start it first: until it executes its program it is closed to a user"
        with step(doing, hints={abi.EACCES: closed}):
            try:
                self.root = self._root(content)
                self.joins = tuple([self._open(kind) for kind in abi.NAMESPACES if self._differs(kind)])
            except FileNotFoundError:
                raise self._gone(doing, content, closed) from None
            self.uids = idtables.rows(paths.read_text("/proc/%d/uid_map" % self.pid))
            self.gids = idtables.rows(paths.read_text("/proc/%d/gid_map" % self.pid))
            self.groups_denied = paths.read_text("/proc/%d/setgroups" % self.pid).strip() == "deny"
            self.files = self.root
            if "root" in _bare(content):
                self.files = os.open(content["rootfs"], abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stands = self.pid == content["pid"] or self.pid == living.oldest_child(content["pid"])
        if not (stands and living.alive(content)):  # or what was opened may be another process's
            raise ContainerError(doing, "container not running")

    def _root(self, content: "dict") -> int:
        """Of what --init keeps nothing shows to a user: it has executed nothing, so that its memory is the
        host's to look into. The program below it is in all that it is in."""
        flags = abi.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            return os.open("/proc/%d/root" % self.pid, flags)
        except (FileNotFoundError, PermissionError):  # the former where /proc hides it
            if not content.get("init") or content.get("status") == "created":
                raise
        self.pid = living.oldest_child(self.pid)
        return os.open("/proc/%d/root" % self.pid, flags)

    def is_reaper(self, content: "dict") -> bool:
        """Its process 1 is what --init keeps, a Python of the host's: after an upgrade it may be another one
        than ours. Where nobody has noted that: our executable, under the name that we give ourselves."""
        if content.get("init"):
            return True
        own = os.path.samestat(os.stat("/proc/%d/exe" % self.pid), os.stat("/proc/self/exe"))
        return own and paths.read_text("/proc/%d/comm" % self.pid) == "minictr-init\n"

    def _file(self, kind: str) -> str:
        return "/proc/%d/ns/%s" % (self.pid, abi.NAMESPACES[kind][0])

    def _gone(self, doing: str, content: "dict", closed: str) -> ContainerError:
        """Why its root and namespaces are not there. It ends, and waits for who were in its PID namespace to
        be waited for; or it goes on without its first thread, which has them; or we do not see it."""
        fields = lifetime.stat_fields(self.pid)
        alive = self.pid != 0 and living.alive(content)
        if alive and fields[:1] == ["Z"]:
            return ContainerError(doing, "the first thread of its process 1 has ended", abi.ENOENT)
        if alive and not fields:
            hint = closed or "mount /proc without hidepid, or with gid= of a group of the user's"
            return ContainerError(doing, "/proc hides its first process from us", hint=hint)
        return ContainerError(doing, "container not running", abi.ENOENT)

    def _differs(self, kind: str) -> bool:
        try:
            own = os.stat("/proc/self/ns/" + abi.NAMESPACES[kind][0])
        except FileNotFoundError:  # a kernel without this kind
            return False
        return os.stat(self._file(kind)).st_ino != own.st_ino

    def _open(self, kind: str) -> "tuple[str, str]":
        return kind, paths.descriptor_path(os.open(self._file(kind), os.O_RDONLY | os.O_CLOEXEC))


def run(root_path: str, report, wish: Wish, attend=process.attend) -> int:
    """Run the program; its exit status, 0 at once with WISH.detach. attend: who stands behind it"""
    doing = "exec in container %s" % wish.identifier
    process.check_descriptors(wish.preserve_fds)  # before anything of ours is open
    content, config = _look(root_path, wish.identifier)
    group = living.group_of(content)
    killed = _killed(group)
    if group.frozen() and not wish.ignore_paused:
        hint = "minictr resume %s, or --ignore-paused to wait" % wish.identifier
        raise ContainerError(doing, "cannot exec in a paused container", hint=hint)
    if not (wish.ignore_paused or wish.cgroup) and group.frozen_beside(content["pid"]):
        why = "its process 1 has been frozen inside, and the program would be with it"
        raise ContainerError(doing, why, hint="--cgroup PATH of another below it, or --ignore-paused to wait")
    birth = None
    try:
        target = Target(content)
        with sound.trusting(wish.identifier, config):
            made = _made(wish, content, config, target, report)
            foreground.hold_signals()
            birth = _conceive(made, wish, content, config, group, target, report)
            _bear(birth, wish, target, report)
        _let_run(birth, wish, content, report)
    except BaseException as error:
        if birth and birth.pid:
            _end(birth.pid, content, report)
        # killed, or without a root to be joined, as all would be a moment before process 1 has ended
        gone = birth is None and getattr(error, "number", 0) in (abi.ENOENT, abi.ESRCH)
        if gone or (birth and birth.over):
            living.wait_ended([content], 0.5)
        if isinstance(error, (OSError, ContainerError)) and not living.alive(content):
            # clone(2) says ENOMEM of its PID namespace
            raise ContainerError(doing, "container not running") from error
        raise
    if wish.detach:
        return 0
    status = attend(birth)
    if status and 0 <= killed < _killed(group):
        _tell_of_memory(group, killed, report)
    return status


def _end(pid: int, content: "dict", report) -> None:
    if living.frozen(content):  # on v1 it dies only when the container is resumed
        foreground.send(pid, _signal.SIGKILL)
        return
    try:
        foreground.finish(pid)
    except ContainerError as error:  # why we end must not be lost
        report.error(error)


def _killed(group) -> int:
    """How many processes the kernel has killed for want of memory; -1 where that cannot be read: the program
    and its status are not to be lost by it."""
    try:
        return group.oom_kills()
    except (OSError, ContainerError):
        return -1


def _tell_of_memory(group, before: int, report) -> None:
    """That memory ran out meanwhile: the status alone may be that of any kill."""
    try:
        from . import oom  # only where it did

        report.ending = oom.found(group)
    except Exception as error:  # as in lifecycle: the program's status must not be lost
        report.error(cleaning("look whether memory ran out", error))
    if report.ending:
        report.ending["kills"] -= before
        report.warn(ContainerError("", oom.line(report.ending)))


def _made(wish: Wish, content: "dict", config: "dict", target: Target, report) -> plan.Plan:
    """The plan, of which nothing may be weaker than the container is."""
    made = _plan(spec_of(wish, content, config, target), target, _bare(content))
    for record in made.records:
        report.seen(record)
    degrade = _no_weaker(content, report)
    if target.groups_denied:
        made = _without_groups(wish, made, target, degrade, report)
    made = process.check_seccomp(made, degrade)
    if made.labels:
        made = _with_labels(wish, made, report)
    if made.guard == "standin" and made.credentials.may_trace and target.is_reaper(content):
        raise ContainerError("exec in container %s" % wish.identifier, *last.REAPER_EXPOSED)
    return made


def _conceive(
    made: plan.Plan, wish: Wish, content: "dict", config: "dict", group, target: Target, report
) -> clone.Birth:
    """All that it is to join, open."""
    proc, mover = paths.open_proc(), group.mover()
    joins, join_else = _join_files(group, wish.cgroup), -1
    if joins and not wish.cgroup:
        join_else = group.join_else(content["pid"])
    crowded = not wish.cgroup and _crowded(content.get("cgroups") or [])
    handed = init.Handed(
        cgroup=joins, cgroup_else=join_else, root=target.root, proc=proc, bare=_bare(content),
        crowded=crowded, apart=_apart(made, crowded, config),
    )  # fmt: skip
    birth = clone.Birth(made, proc, handed, None, report.seen, further.STAGES, mover)
    birth.container = content["pid"]
    return birth


def _crowded(directories: "list[str]") -> bool:
    """Whether there is no room for two more processes: one that joins a cgroup may do so whatever its limit,
    its child is counted. Of v1's hierarchies one has the limit, and it is mostly called so."""
    for directory in sorted(directories, key=lambda name: "pids" not in name):
        most = paths.read_text(directory + "/pids.max").strip()
        if most:
            return most.isdigit() and int(paths.read_text(directory + "/pids.current") or 0) + 2 > int(most)
    return False


def _apart(made: plan.Plan, crowded: bool, config: "dict") -> bool:
    if made.guard != "standin":
        return False
    from . import apart  # only where the host's root is the container's

    return apart.needed(made, crowded, config.get("process") or {})


def _bear(birth: clone.Birth, wish: Wish, target: Target, report) -> None:
    """Its process, in the container, until it only waits for the word."""
    made = birth.plan
    affinity = _affinity(made)
    try:
        if affinity:
            affinity.begin()
        birth.start()
        process.give_pipes((), made, target.uids, target.gids)
        process.let_go(wish.preserve_fds)
        process.send_filter(birth)
        done = birth.until("ready", 2)
        process.ready_console(birth, wish.console_socket)
        if birth.handed.apart:
            from . import apart  # which has made it

            apart.bear(birth)
        report.note("process %d is to run %s in container %s" % (birth.pid, made.args[0], wish.identifier))
        process.set_limits(birth.pid, made, done)
        process.set_extras(birth.pid, made, done)
        if "intelRdt" in made.extras:
            from . import resctrl  # only for those who ask for it

            resctrl.Group(made.extras["intelRdt"], wish.identifier, resctrl.mount_point()).join(birth.pid)
        if affinity:
            affinity.end(birth.pid)
    finally:
        if affinity:
            affinity.give_back()


def _let_run(birth: clone.Birth, wish: Wish, content: "dict", report) -> None:
    if wish.pidfd_socket:
        process.send_pidfd(wish.pidfd_socket, birth.pid, b"setns")
    inside = set()  # type: set[tuple[int, int]]
    if wish.pid_file:
        from . import outputs  # only for those who want one

        inside = outputs.reach(birth.plan.spec.replace(source=content.get("source") or "bundle"))
        outputs.write_pid_file(wish.pid_file, birth.pid, inside)
    try:
        foreground.pass_signals()
        birth.tell("go")
        birth.running()
        if birth.plan.labels:
            process.confirm_labels(birth.plan, birth, report.seen)
    except BaseException:
        if wish.pid_file:
            outputs.take_pid_file(wish.pid_file, inside)
        raise


def _join_files(group, wanted: "tuple[str, ...]") -> "tuple[int, ...]":
    if not wanted:
        return group.join_files()
    from . import cgroup_below  # only with --cgroup

    return cgroup_below.join_files(group, cgroup_below.parse(wanted))


def _no_weaker(content: "dict", report):
    """A process is no weaker than the container: what that has lost, it may lose."""
    known = [record["code"] for record in content.get("degradations") or ()]

    def degrade(record) -> None:
        if record.code not in known:
            from . import preparation  # only where something is lost

            preparation.explain(record)
            raise record.as_error()
        report.seen(record)

    return degrade


def _bare(content: "dict") -> "tuple[str, ...]":
    """The layers that the container had to do without, and that Landlock may stand in for."""
    codes = [record["code"] for record in content.get("degradations") or ()]
    layers = {"root-chdir": "root", "pid-namespace": "pid", "network-namespace": "network"}
    bare = tuple([layers[code] for code in codes if code in layers])
    if bare:
        from . import landlock_instead  # noqa: F401  # in the container nothing can be imported
    return bare


def _look(root_path: str, identifier: str) -> "tuple[dict, dict]":
    """state.json and the configuration of a container that runs."""
    root = state.open_existing(root_path)
    entry = None if root is None else state.find(root_path, root, identifier)
    if entry is None:
        raise ContainerError("", "container does not exist: %s" % identifier)
    content = dict(entry.load(), id=identifier)
    if content.get("status") == "creating" or not living.alive(content):
        raise ContainerError("exec in container %s" % identifier, "container not running")
    config = entry.load_config()
    entry.close()
    return content, config


def _plan(spec: Spec, target: Target, bare: "tuple[str, ...]") -> plan.Plan:
    """The plan of which only the process is left: everything around it is joined."""
    made = plan.make(spec.replace(userns="joined"), host.probe(ranges=False), "")
    credentials = made.credentials
    identity.check(maps.Maps(way="direct", uids=target.uids, gids=target.gids), credentials)
    return made.replace(
        namespaces=(),
        joins=target.joins,
        maps=None,
        setup_uid=_setup_id(target.uids, credentials.uid),
        setup_gid=_setup_id(target.gids, credentials.gid),
        time_offsets="",
        mounts=made.mounts if "root" in bare else (),  # the volumes that are not to be seen in it
        mount_label="",
        root=made.root.replace(idmap=False),
        oom_score_adj=made.oom_score_adj,
        credentials=credentials,
        records=_capabilities_lost(made, target),
    )


def _capabilities_lost(made: plan.Plan, target: Target) -> tuple:
    """Who joins a user namespace holds everything there, whatever the configuration says of namespaces."""
    inside = any(kind == "user" for kind, _ in target.joins)
    found = [record for record in made.records if record.code == "capability"]
    return tuple([record for record in found if not (inside and record.why == identity.UNHELD)])


def _without_groups(wish: Wish, made: plan.Plan, target: Target, degrade, report) -> plan.Plan:
    """MADE with the groups that are the caller's own. Those which the container's files give to a user are
    nobody's wish, and only noted."""
    table, around = maps.Maps(way="direct", uids=target.uids, gids=target.gids), host.probe(ranges=False)
    asked, user = bool(wish.groups) or wish.process is not None, made.spec.config["process"].get("user") or {}
    wanted = made.credentials.replace(groups=tuple(user.get("additionalGids") or ()))
    for record in identity.groups_lost(made.spec, around, table, wanted):
        if asked:
            degrade(record)
        else:
            record.level = "notice"
            report.seen(record)
    return made.replace(credentials=made.credentials.replace(groups=None))


def _affinity(made: plan.Plan):
    if "execCPUAffinity" not in made.extras:
        return None
    from . import scheduling  # only for those who ask for it

    return scheduling.Affinity(made.extras["execCPUAffinity"])


def _with_labels(wish: Wish, made: plan.Plan, report) -> plan.Plan:
    """MADE with its labels as this kernel has them. Only what the container has gone without may be missing
    here, too."""
    from . import lsm  # only for those who have some

    given = wish.process or {}
    for record in lsm.missing(made):
        if given.get("apparmorProfile") or given.get("selinuxLabel") or wish.apparmor or wish.label:
            raise record.as_error()
        report.seen(record)
    return lsm.prepared(made)


def _setup_id(table: "tuple[tuple[int, int, int], ...]", own: int) -> int:
    """0 where the container has it, as with its own set-up."""
    return 0 if idtables.inside(table, 0) else own
