"""What is asked of exec: a Wish, and the Spec that it becomes in a container.

Side: host
"""

from . import program
from .errors import ContainerError
from .record import Record
from .spec import Spec

# What a `process` object that does not name it has from the container's own, as with runc and crun
CONFINING = ("capabilities", "apparmorProfile", "selinuxLabel")


class Wish(Record):
    """What argv asks of exec.

    process: a `process` object as config.json has it; None: the container's own, changed by:
    apparmor, label: the profile or SELinux label, also beside PROCESS; "" leaves it
    args; tty; user: UID[:GID] or names; groups: additional ones; env: NAME=VALUE; cwd; caps: names
    cgroup: [CONTROLLER,...:]PATH of cgroups below the container's
    """

    identifier: str
    process: "dict | None" = None
    args: "tuple[str, ...]" = ()
    tty: bool = False
    user: str = ""
    groups: "tuple[str, ...]" = ()
    env: "tuple[str, ...]" = ()
    cwd: str = ""
    caps: "tuple[str, ...]" = ()
    no_new_privs: bool = False
    detach: bool = False
    pid_file: str = ""
    console_socket: str = ""
    pidfd_socket: str = ""
    cgroup: "tuple[str, ...]" = ()
    preserve_fds: int = 0
    ignore_paused: bool = False
    apparmor: str = ""
    label: str = ""


def spec_of(wish: Wish, content: "dict", config: "dict", target) -> Spec:
    """The Spec of the program that WISH asks for. Raises ContainerError.

    content, config: what is kept of the container; target: an execution.Target
    """
    own = config.get("process") or {}
    if wish.process is None:
        process = _process(wish, own, target, content.get("source") or "bundle")
    else:  # what confines the container holds for it, too
        process = dict(wish.process)
        process.update({name: own.get(name) for name in CONFINING if not process.get(name)})
        if wish.process.get("capabilities") is not None:
            process["capabilities"] = wish.process["capabilities"]
    if (process.get("user") or {}).get("umask") is None:  # it is the container's
        mask = (own.get("user") or {}).get("umask")
        process["user"] = dict(process.get("user") or {}, umask=mask)
    if bool(process.get("terminal") and wish.detach) != bool(wish.console_socket):
        why = "a detached program with a terminal, and no other, hands it to a console socket"
        raise ContainerError(
            "make a terminal", why, hint="--console-socket PATH with --detach and a terminal"
        )
    if wish.apparmor:
        process = dict(process, apparmorProfile=wish.apparmor)
    if wish.label:
        process = dict(process, selinuxLabel=wish.label)
    changed = dict(config, process=process, hooks=None)
    return Spec(
        config=changed,
        identifier=wish.identifier,
        bundle=content.get("bundle") or "/",
        degrade="warn",
        detach=wish.detach,
        preserve_fds=wish.preserve_fds,
        console_socket=wish.console_socket,
        landlock=tuple(content.get("landlock") or ()),
        places=tuple(content.get("landlock_places") or ()),
        home="" if program.names_home(process) else _home(process, content, config, target),
    )


def _home(process: "dict", content: "dict", config: "dict", target) -> str:
    """The HOME of the user of PROCESS, as it was found for the container itself if that has the same."""
    uid, own = [(wanted.get("user") or {}).get("uid") or 0 for wanted in (process, config["process"])]
    if uid == own and content.get("home"):
        return content["home"]
    from . import aside, users  # only for another user

    return users.home(aside.Files(target.files), uid)


def _process(wish: Wish, own: "dict", target, source: str) -> "dict":
    """The container's own `process`, changed by what the command line says. source: as of Spec"""
    process = dict(own, args=list(wish.args), terminal=wish.tty)
    process["env"] = list(own.get("env") or []) + list(wish.env)
    if wish.cwd:
        process["cwd"] = wish.cwd
    if wish.no_new_privs:
        process["noNewPrivileges"] = True
    if wish.user or wish.groups:
        from . import aside, users  # only with --user

        ids = own.get("user") or {}
        user = wish.user or "%d:%d" % (ids.get("uid") or 0, ids.get("gid") or 0)
        found = users.lookup(aside.Files(target.files), user, wish.groups)
        process["user"] = {"uid": found.uid, "gid": found.gid, "additionalGids": list(found.groups)}
        if source != "bundle" and found.uid != (ids.get("uid") or 0):
            from . import grants  # only for another user; a bundle's are as it says, with runc too

            process["capabilities"] = grants.of_another(own.get("capabilities") or {}, found.uid)
    if wish.caps:
        sets = dict(process.get("capabilities") or {})
        names = ["bounding", "effective", "permitted"]
        if (process.get("user") or {}).get("uid"):  # execve(2) would take them away from who is not root;
            names += ["inheritable", "ambient"]  # root has nothing to inherit (CVE-2022-29162)
        elif sets.get("inheritable"):  # unless the configuration has it so; then as runc does
            names.append("ambient")
        for name in names:
            sets[name] = list(sets.get(name) or []) + list(wish.caps)
        process["capabilities"] = sets
    return process
