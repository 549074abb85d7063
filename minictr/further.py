"""The stages of a further process in a container that runs, as `exec` has it made.

Nothing is imported here, nothing printed, no lock taken (`init`).

Side: container
"""

from . import abi, init, last, libc, privileges
from . import unix as os
from .errors import step
from .init import Init


def begin(me: Init) -> None:
    init.import_no_more(me)  # with the mount namespace that is joined, every name leads inside
    init.begin(me)


def enter_container(me: Init) -> None:
    """The namespaces are joined; take the ids, the root and the directory."""
    plan = me.plan
    libc.prctl(abi.PR_SET_DUMPABLE, 0)
    if any(kind == "user" for kind, _ in plan.joins):
        privileges.become_root(plan.setup_uid, plan.setup_gid)
        libc.prctl(abi.PR_SET_DUMPABLE, 0)
        privileges.tie_to_runtime()
    bare = "root" in me.handed.bare
    if bare:
        from . import landlock_instead  # loaded by `execution`, before the fork

        me.prefix = plan.root.path
        root = landlock_instead.join(me)
    else:
        root = me.handed.root
        with step("enter the root of the container"):
            os.fchdir(root)
            libc.chroot(".")
    init.instead_of_namespaces(me, me.handed.bare)
    if plan.terminal:
        from . import console  # loaded by `clone`, before the fork

        console.attach(-1 if bare else root, me.channel, plan)
        if not me.handed.apart:  # else it is for the child, which leads a session of its own
            console.take()
    init.change_directory(plan.cwd, root if bare else -1)


STAGES = (
    begin, init.join_cgroup, enter_container, init.own_null,
    last.change_user, last.wait_go, last.execute,
)  # fmt: skip
