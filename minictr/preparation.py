"""From a Spec to its Plan: look at the host, and at the container's own users.

Nothing is changed but for a note, where a container is to start: `explain` stops here.

Side: host
"""

import _stat as stat

from . import host, paths, plan, program
from . import unix as os
from .errors import ContainerError, Degradation, printable, step
from .record import MYPY
from .spec import Spec

if MYPY:
    from typing import Any

_USERS = ("/etc", "/etc/passwd", "/etc/group")


def explain(record: Degradation) -> None:
    """Add to RECORD what the host has to say of its cause."""
    if record.cause:
        from . import causes  # only where something was refused

        cause = causes.why(record.cause, record.errno, uid=os.geteuid())
        record.why, record.fix = record.why or cause.why, record.fix or cause.fix


def prepare(spec: Spec, stage: str, starts: bool = False) -> plan.Plan:
    """Look at the host and decide. Where the container STARTS, the range of ids that was found for it is
    noted down."""
    if spec.straight_root:
        _refuse_links(spec)
    seen = host.probe(ranges=spec.userns not in ("host", "config") or _asks_helpers(spec))
    if spec.user or spec.groups or spec.source != "bundle":
        spec = with_user(spec)
    else:
        spec = with_home(spec)
    made = plan.make(spec, seen, stage)
    if starts and not seen.noted:
        made = _with_range_noted(made, seen)
    if made.labels or made.mount_label:
        made = _with_labels(made)
    if spec.landlock:
        from . import landlock_asked, landlock_gaps  # only for those who ask

        records = landlock_asked.missing(spec.landlock)
        if made.seccomp is None:
            records += landlock_gaps.missing(spec.landlock, "pid" not in made.namespaces)
        made = made.replace(records=made.records + tuple(records))
    return made


def _with_range_noted(made: plan.Plan, seen: host.Host) -> plan.Plan:
    """MADE, with the range of ids noted down that root's containers get, where it has that."""
    from . import fixes, subids  # hardly ever: it is noted down once

    table = made.maps
    if table is None or all(outside != seen.free_id for _, outside, _ in table.uids + table.gids):
        return made
    number = subids.note_range(seen.free_id)
    if not number:
        return made
    wanted, got = "the same range of ids at each start", "the first that is free"
    lost = "that it is the same, where /etc/subuid or /etc/subgid changes above 2^30"
    why = "%s cannot be written: %s" % (subids.NOTE, os.strerror(number))
    fix = fixes.give_range(seen.uid, seen.names)
    record = Degradation("range-unnoted", "id map", wanted, got, lost, number, why, fix, "notice")
    return made.replace(records=made.records + (record,))


def _with_labels(made: plan.Plan) -> plan.Plan:
    """MADE with its labels as this kernel has them. What was asked for by an option is never done without."""
    from . import lsm  # only for those who have some

    records = lsm.missing(made)
    if records and made.spec.source != "bundle":
        raise records[0].as_error()
    return lsm.prepared(made.replace(records=made.records + tuple(records)))


def _refuse_links(spec: Spec) -> None:
    """What a relative root.path names comes with the root file system, which is not trusted: by a link there
    the container would have whatever of the host's it leads to as its root. runc refuses it, too. Where it
    is opened to be used that is seen to again; here it is told, and by `explain`."""
    try:
        os.close(paths.open_straight(spec.bundle, spec.straight_root))
    except OSError as error:
        try:
            leads = printable(os.readlink(error.filename))
        except OSError:  # it is none, or not there, which is told later
            return
        doing = "open the root file system %s" % error.filename
        hint = "root.path of config.json may name that itself"
        raise ContainerError(doing, "it is a symbolic link to %s" % leads, hint=hint) from None


def _asks_helpers(spec: Spec) -> bool:
    """A configuration with maps that a user cannot write alone."""
    linux = spec.config.get("linux") or {}
    lines = [(line["hostID"], line["size"]) for line in linux.get("uidMappings") or ()]
    return bool(lines) and os.geteuid() != 0 and lines != [(os.geteuid(), 1)]


def with_user(spec: Spec) -> Spec:
    """SPEC with the user that the container's own files know, and that user's HOME."""
    from . import users  # not for a bundle

    with _Files(spec) as files:
        found = users.lookup(files, spec.user, spec.groups)
    process = dict(spec.config["process"])
    process["user"] = dict(
        process.get("user") or {}, uid=found.uid, gid=found.gid, additionalGids=list(found.groups)
    )
    if spec.user and found.uid == 0:  # by another name than root's
        from . import grants  # which the options have loaded

        process["capabilities"] = grants.of_root(process["capabilities"])
    home = "" if program.names_home(process) else found.home
    return spec.replace(config=dict(spec.config, process=process), home=home)


def with_home(spec: Spec) -> Spec:
    """SPEC with a HOME, where a bundle names none: docker and containerd leave it to the runtime."""
    process = spec.config["process"]
    if program.names_home(process):
        return spec
    from . import users  # podman's bundles need none of it

    uid = (process.get("user") or {}).get("uid") or 0
    with _Files(spec) as files:
        return spec.replace(home=users.home(files, uid))


class _Files:
    """Where the container's own users and groups are to be looked up: in its root, nearly always; in a View
    where something is mounted over them, or a link leads elsewhere, which may be to a volume."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.root, self.view = spec, _open_root(spec), None  # type: Spec, int, Any

    def __enter__(self) -> "Any":
        mounts = self.spec.config.get("mounts") or ()
        places = [entry["destination"] for entry in mounts if "etc" in entry["destination"]]
        if any(paths.plain(place) in _USERS for place in places) or any(map(self._leads, _USERS)):
            from . import view  # hardly ever

            self.view = view.View(self.root, mounts, self.spec.bundle)
        return self.root if self.view is None else self.view

    def _leads(self, path: str) -> bool:
        """Whether PATH is a link."""
        try:
            mode = os.stat(path[1:], dir_fd=self.root, follow_symlinks=False).st_mode
        except OSError:
            return False
        return stat.S_ISLNK(mode)

    def __exit__(self, *_: object) -> None:
        if self.view is not None:
            self.view.close()
        os.close(self.root)


def _open_root(spec: Spec) -> int:
    path = os.path.join(spec.bundle, spec.config["root"]["path"])
    with step("open the root file system %s" % path):
        if spec.straight_root:
            return paths.open_straight(spec.bundle, spec.straight_root)
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
