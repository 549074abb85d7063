"""From a Spec to its Plan: look at the host, and at the container's own users.

Nothing is changed but for a note, where a container is to start: `explain` stops here.

Side: host
"""

from . import host, paths, plan
from . import unix as os
from .errors import Degradation, step
from .spec import Spec


def explain(record: Degradation) -> None:
    """Add to RECORD what the host has to say of its cause."""
    if record.cause:
        from . import causes  # only where something was refused

        cause = causes.why(record.cause, record.errno, uid=os.geteuid())
        record.why, record.fix = record.why or cause.why, record.fix or cause.fix


def prepare(spec: Spec, stage: str, starts: bool = False) -> plan.Plan:
    """Look at the host and decide. Where the container STARTS, the range of ids that was found for it is
    noted down."""
    seen = host.probe(ranges=spec.userns not in ("host", "config") or _asks_helpers(spec))
    if spec.user or spec.groups or spec.source != "bundle":
        spec = with_user(spec)
    else:
        spec = with_home(spec)
    made = plan.make(spec, seen, stage)
    if starts and not seen.noted:
        host.note_range(seen.free_id)
    if made.labels or made.mount_label:
        made = _with_labels(made)
    if spec.landlock:
        from . import landlock_asked, landlock_ports  # only for those who ask

        records = landlock_asked.missing(spec.landlock)
        records += landlock_ports.missing(spec.landlock) if made.seccomp is None else []
        made = made.replace(records=made.records + tuple(records))
    return made


def _with_labels(made: plan.Plan) -> plan.Plan:
    """MADE with its labels as this kernel has them. What was asked for by an option is never done without."""
    from . import lsm  # only for those who have some

    records = lsm.missing(made)
    if records and made.spec.source != "bundle":
        raise records[0].as_error()
    return lsm.prepared(made.replace(records=made.records + tuple(records)))


def _asks_helpers(spec: Spec) -> bool:
    """A configuration with maps that a user cannot write alone."""
    linux = spec.config.get("linux") or {}
    lines = [(line["hostID"], line["size"]) for line in linux.get("uidMappings") or ()]
    return bool(lines) and os.geteuid() != 0 and lines != [(os.geteuid(), 1)]


def with_user(spec: Spec) -> Spec:
    """SPEC with the user that the container's own files know, and that user's HOME."""
    from . import users  # not for a bundle

    root = _open_root(spec)
    try:
        found = users.lookup(root, spec.user, spec.groups)
    finally:
        os.close(root)
    process = dict(spec.config["process"])
    process["user"] = dict(
        process.get("user") or {}, uid=found.uid, gid=found.gid, additionalGids=list(found.groups)
    )
    if spec.user and found.uid == 0:  # by another name than root's
        from . import grants  # which the options have loaded

        process["capabilities"] = grants.of_root(process["capabilities"])
    home = "" if names_home(process) else found.home
    return spec.replace(config=dict(spec.config, process=process), home=home)


def with_home(spec: Spec) -> Spec:
    """SPEC with a HOME, where a bundle names none: docker and containerd leave it to the runtime."""
    process = spec.config["process"]
    if names_home(process):
        return spec
    from . import users  # podman's bundles need none of it

    uid = (process.get("user") or {}).get("uid") or 0
    over = _over_passwd(spec.config.get("mounts") or ())
    if over is not None:
        return spec.replace(home=users.home_in(_passwd_of(over, spec.bundle), uid))
    root = _open_root(spec)
    try:
        return spec.replace(home=users.home(root, uid))
    finally:
        os.close(root)


def _over_passwd(entries) -> "dict | None":
    """The mount that the program will see in the place of the root's own etc/passwd, if there is one. What
    an overlay over /etc would show is not looked into."""
    for entry in reversed(entries):
        options = entry.get("options") or ()
        bound = entry.get("type") == "bind" or "bind" in options or "rbind" in options
        empty = entry.get("type") == "tmpfs" and "tmpcopyup" not in options
        if paths.plain(entry["destination"]) in ("/etc", "/etc/passwd") and (bound or empty):
            return entry if bound else {}
    return None


def _passwd_of(entry: "dict", bundle: str) -> str:
    """The file of the host's that a bind mount shows as /etc/passwd, "" where there is none."""
    if not entry:
        return ""
    source = os.path.join(bundle, entry.get("source") or "")
    return source + "/passwd" if paths.plain(entry["destination"]) == "/etc" else source


def names_home(process: "dict") -> bool:
    """PROCESS has a HOME of its own. An empty one is none, as with runc."""
    value = ""
    for word in process.get("env") or ():
        if word.startswith("HOME="):
            value = word[5:]
    return bool(value)


def _open_root(spec: Spec) -> int:
    path = os.path.join(spec.bundle, spec.config["root"]["path"])
    with step("open the root file system %s" % path):
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
