"""The last stages of the container's first process: who the program is, what holds it, and the program.

    keyring, groups, capabilities, user
    <- filter (the runtime has compiled it meanwhile)
    -> ready
    <- kept, -> kept (`create` alone: it may end now)
    close everything
    <- go
    -> hooked (where there are hooks before the program)
    label, Landlock, seccomp, execve

`me` is an init.Init. Nothing is imported here, nothing printed, no lock taken.

Side: container
"""

import _signal  # `signal` imports enum: 3 ms

from . import abi, libc, maps, mounts, paths, privileges, program
from . import unix as os
from .errors import ContainerError, Degradation, from_os, step
from .sync import Channel


def run_hooks(me, name: str, status: str) -> None:
    if name in me.plan.hooks:
        from . import hooks  # loaded by `plan`, before the fork

        hold = None
        if name == "startContainer":
            begin, end = (lambda: _begin_hook(me)), (lambda: _install_filter(me))
            hold = hooks.Hold(guard=me.hook_guard, proc=me.proc, begin=begin, end=end)
        hooks.run(me.plan.hooks[name], me.plan.spec.state(status, os.getpid()), hold)


def _begin_hook(me) -> "tuple[int, ...]":
    """A hook that may be the image's is held as the program will be: by label, Landlock and filter."""
    if me.plan.labels:
        _take_label(me, me.hook_guard, True)
    _restrict(me)
    return (me.attributes,) if me.plan.labels and me.hook_guard >= 0 else ()


def change_user(me) -> None:
    plan, credentials = me.plan, _credentials(me)
    _schedule(me, credentials)
    if plan.labels:
        _prove_label(me)
    _join_keyring(me)
    if plan.guard == "standin":
        _make_standin(me)
    if plan.spec.landlock:
        from . import landlock_asked  # loaded by `clone`, before the fork

        landlock_asked.prepare(me)
    if not credentials.no_new_privs:  # then the kernel asks for CAP_SYS_ADMIN, so while that is held
        credentials = _filter_early(me, credentials)
    privileges.apply(credentials, plan.last_cap)
    libc.prctl(abi.PR_SET_DUMPABLE, 0)  # the change of ids has set it to fs.suid_dumpable, which may be 1
    privileges.tie_to_runtime()
    if plan.personality is not None:
        from . import libc_rare  # loaded by `clone`, before the fork

        with step("set the personality"):
            libc_rare.personality(plan.personality)


def _credentials(me) -> "privileges.Credentials":
    """Those of the plan, as far as the user namespace that we are in lets them be had."""
    plan, credentials = me.plan, me.plan.credentials
    if me.maps is not None and me.maps.deny_setgroups:
        credentials = credentials.replace(groups=None)
    elif me.handed.root < 0 and any(kind == "user" for kind, _ in plan.joins):
        if paths.read_proc(me.proc, "self/setgroups").strip() == "deny":  # a user has mapped itself alone
            _tell_groups(me)
            credentials = credentials.replace(groups=None)
    if _powerless(me):
        credentials = credentials.replace(uid=os.geteuid(), gid=os.getegid(), groups=None, capabilities=None)
    return credentials


def _schedule(me, credentials: "privileges.Credentials") -> None:
    """What of scheduling is to be done before the ids change."""
    plan = me.plan
    if "memoryPolicy" in plan.extras:
        from . import scheduling  # loaded before the fork

        scheduling.set_memory_policy(plan.extras["memoryPolicy"])
    if plan.inner_user and credentials.uid and ("scheduler" in plan.extras or "ioPriority" in plan.extras):
        from . import scheduling  # loaded before the fork

        me.scheduled = scheduling.apply_own(plan.extras)  # once we have other ids, a user may not do it


def _filter_early(me, credentials: "privileges.Credentials") -> "privileges.Credentials":
    """Install the filter before the capabilities go, and what must come before it."""
    _take_filter(me)
    if me.filter is not None:  # which may answer what comes then as if it had been done (errnoRet 0)
        privileges.drop_bounding(credentials, me.plan.last_cap)
        _close_rest(me, me.handed.start + (me.proc,))
    if me.rulesets:
        from . import landlock  # which has made them

        credentials = landlock.enforce_early(me, credentials)
    filtered = me.filter is not None
    _install_filter(me)
    me.filtered = filtered
    return credentials


def _tell_groups(me) -> None:
    """Tell of those that the program does without in a joined user namespace, and of the caller's that
    come inside unasked; plan.make has done so for others."""
    wanted, spec, held = me.plan.credentials, me.plan.spec, os.getgroups()
    why = "setgroups(2) is denied in the user namespace that is joined"
    fix = "have newuidmap or root write the maps of that namespace"
    known = set(held) - {paths.NOBODY} | {wanted.gid}  # that number stands for any
    lost = [str(group) for group in wanted.groups or () if group not in known]
    if lost:
        level = "warning" if spec.groups or spec.source == "bundle" else "notice"
        what, fix_lost = "files that are open to these groups alone", "leave the groups out, or " + fix
        me.degrade(
            Degradation("groups", "groups", ", ".join(lost), "none of them", what, 0, why, fix_lost, level)
        )
    kept = maps.kept(os.getegid(), [group for group in held if group not in (wanted.groups or ())])
    if kept:
        me.degrade(maps.groups_kept(kept, why, fix, "notice" if spec.source == "bundle" else "warning"))


def _powerless(me) -> bool:
    """Without a user namespace, a user without privileges cannot become another: it stays who it is."""
    own = "user" in me.namespaces or any(kind == "user" for kind, _ in me.plan.joins)
    if own or os.geteuid() == 0 or libc.capget()[0] >> abi.CAP_SETUID & 1:
        return False
    if "user" not in me.lost:  # else that has been said
        lost = "root and every other user of the container: the program runs as the caller"
        why = "the container has no user namespace of its own"
        wanted = "user %d" % me.plan.credentials.uid
        me.degrade(Degradation("user", "user", wanted, "the caller", lost, 0, why, "leave --userns host out"))
    return True


def _join_keyring(me) -> None:
    """A session keyring of its own: the caller's keys are not the container's. It has no name: one of that
    name may be there, made by any user for others to join, who could then read the container's keys."""
    if me.plan.spec.no_new_keyring:
        return
    try:
        libc.new_session_keyring()
    except OSError as error:
        if error.errno in mounts.REFUSED:  # no keys in the kernel, or a filter: the program gets at none
            return
        if error.errno != abi.EDQUOT:
            raise
        me.degrade(
            Degradation(
                "keyring",
                "keyring",
                "a session keyring of its own",
                "the caller's",
                "keys of the caller's session can be used",
                error.errno,
                "the user has as many keys as may be",
                "raise kernel.keys.maxkeys and maxbytes",
            )  # fmt: skip
        )


def _prove_label(me) -> None:
    """That the program will get the label it is to run under, before anything else depends on it."""
    from . import lsm  # loaded by `plan`, before the fork

    me.attributes = lsm.open_attributes(me.proc, me.plan.labels[0])
    lsm.prove(me.proc, me.plan.labels[0])
    lsm.label_keys(me.proc, me.attributes, me.plan.labels[0])


def _take_label(me, guard: int, forked: bool) -> None:
    """For what is executed next: for the program, so its stand-in GUARD does it where there is one.

    forked: we are not the process any more that has opened the attributes
    """
    from . import lsm  # loaded by `plan`, before the fork

    if forked:
        mine = lsm.open_attributes(me.proc, me.plan.labels[0])
        os.dup2(mine, me.attributes)
        os.close(mine)
    if guard >= 0:
        from . import standin  # loaded by `clone`, before the fork

        standin.keep_open(me.attributes)
    else:
        lsm.take(me.proc, me.attributes, me.plan.labels[0])


REAPER_EXPOSED = (
    "it is the host's Python, which CAP_SYS_PTRACE would lay open", 0,
    "leave out the capability, or --init, or --userns and --uidmap",
)  # fmt: skip


def _make_standin(me) -> None:
    """Before a filter may refuse it; of the channel that will be ours when it runs."""
    if me.plan.spec.init and me.plan.credentials.may_trace:
        raise ContainerError("keep a reaping process 1", *REAPER_EXPOSED)
    from . import standin  # loaded by `clone`, before the fork

    if standin.supported():
        channel = me.handed.start[1] if me.handed.start else me.channel.outgoing
        label = me.plan.labels[0].written if me.plan.labels else b""
        apart = (int(me.plan.terminal), 0 if me.plan.spec.detach else _signal.SIGKILL)
        try:
            me.standin = standin.make(channel, me.attributes, label, apart if me.handed.apart else None)
            if "startContainer" in me.plan.hooks:
                from . import hooks  # loaded by `plan`, before the fork

                me.hook_guard = standin.make(hooks.CHANNEL, me.attributes, label)
        except OSError as error:
            raise ContainerError("make the stand-in", "", error.errno or 0, cause="standin") from error
        return
    why = "no stand-in for this architecture"
    fix = "chmod go-w the interpreter"  # the one thing that lays it open to a namespace of the default
    if me.plan.spec.userns in ("host", "config"):
        fix = "leave --userns, --uidmap and --gidmap out"
        if me.plan.spec.source == "bundle":
            fix = "give it a user namespace without the host's root"
    lost = "the host's Python: a program of the container could overwrite it"
    me.degrade(Degradation("standin", "interpreter", "a stand-in for it", "none", lost, 0, why, fix))


def _take_filter(me) -> None:
    """The runtime compiles it while we set up."""
    if me.plan.seccomp is not None:
        flags, listener, program = me.channel.expect("filter")
        me.filter = privileges.Filter(
            program=bytes.fromhex(program), flags=int(flags), listener=listener == "True"
        )


def _restrict(me) -> None:
    if me.rulesets:
        from . import landlock  # which has made them

        landlock.enforce(me)


def _install_filter(me) -> None:
    if me.filter is not None:
        with step("install the seccomp filter"):
            if me.filter.listener:
                from . import notify  # loaded by `clone`, before the fork

                notify.install(me.filter, me.channel)
            else:
                me.filter.install()
    me.filter = None


def wait_go(me) -> None:
    if me.plan.credentials.no_new_privs:
        _take_filter(me)
        if me.filter is not None and me.filter.listener:
            _restrict(me)
            _install_filter(me)  # while the runtime is there to pass the listener on
    if me.handed.start:
        program.check(me.plan.args[0], find_program(me, program.environment(me.plan.env))[0])
    done = _set_limits(me) + (["scheduled"] if me.scheduled else [])
    me.channel.say("ready", " ".join(done), " ".join(me.places))
    if me.handed.start:  # `create` ends, and who starts us comes later
        _end_when_asked(me.plan.spec.stop_signal)
        me.channel.expect("kept")  # we are noted down: who finds us without a runtime can end us
        libc.prctl(abi.PR_SET_PDEATHSIG, 0)
        me.channel.say("kept")
        me.channel.close()
        me.channel = Channel(me.handed.start[0], me.handed.start[1])
    _close_rest(me)  # the runtime's lock on its state directory is among it
    me.channel.expect("go")
    if me.plan.spec.detach:
        libc.prctl(abi.PR_SET_PDEATHSIG, 0)
    me.filtered = False
    if "startContainer" in me.plan.hooks:
        run_hooks(me, "startContainer", "created")
        me.channel.say("hooked")  # our end from now on is that the program runs


def _end_when_asked(stop_signal: int) -> None:
    """As runc's: `stop` on a created container, podman's too, would wait in vain for process 1, which has no
    use for a signal without a handler. Its program has none of these (execve(2))."""
    for number in {_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGQUIT, stop_signal}:
        try:
            _signal.signal(number, lambda number, _: os._exit(128 + number))
        except OSError:  # KILL, which needs none; the C library's own
            pass


def _set_limits(me) -> "list[str]":
    """Those that can be set from here; the runtime sets the others. It in turn may not be allowed to touch
    the limits of a process with another user id: only CAP_SYS_RESOURCE lets it."""
    done = []
    for resource, soft, hard in me.plan.rlimits:
        try:
            libc.prlimit(0, resource, soft, hard)
            done.append(str(resource))
        except PermissionError:
            pass
        except OSError as error:
            raise from_os("set %s" % abi.RLIMITS[resource], error) from error
    return done


def _close_rest(me, needed: "tuple[int, ...]" = ()) -> None:
    """Nothing of ours and of the caller's reaches the program (CVE-2024-21626). NEEDED stay open, too."""
    first = 3 + me.plan.spec.preserve_fds
    kept = {me.channel.incoming, me.channel.outgoing, me.standin, me.hook_guard, me.attributes}
    kept.update(needed)
    kept.update([ruleset.descriptor for ruleset in me.rulesets])
    if me.plan.labels or "startContainer" in me.plan.hooks:
        kept.add(me.proc)
    kept.discard(-1)
    if min(kept) < first:  # those that are passed on were open before ours, and have lower numbers
        raise ContainerError("pass descriptors on", "only %d are open" % (min(kept) - 3))
    paths.close_from(first, kept, me.proc)


def find_program(me, environment: "dict[str, str]") -> "tuple":
    """The files by which the program may be executed, its arguments, and its environment."""
    plan = me.plan
    if me.prefix.strip("/"):
        from . import loader  # loaded with what stands in for a root

        return loader.command(me.prefix, plan.cwd, list(plan.args), environment)
    return program.find(plan.args[0], environment), list(plan.args), environment


def confine(me) -> None:
    """What may only be in force when all else is done."""
    reaper_first = me.plan.labels and me.plan.spec.init
    if me.plan.labels and not reaper_first:
        _take_label(me, me.standin, False)
    if not reaper_first:
        _restrict(me)
    _install_filter(me)


def execute(me) -> None:
    """Become the program; what stops that is the runtime's to tell."""
    plan = me.plan
    candidates, arguments, environment = find_program(me, program.environment(plan.env))
    if me.standin >= 0:
        os.set_inheritable(me.channel.outgoing, True)
        arguments, candidates = candidates[:1] + arguments, [me.standin]
    confine(me)
    if plan.spec.init:
        from . import reaper  # loaded by `clone`, before the fork

        reaper.keep(me)
        if plan.labels:
            _take_label(me, me.standin, True)  # through /proc, which Landlock may close
            _restrict(me)
    if plan.spec.listen_fds:
        environment.update(LISTEN_FDS=str(plan.spec.listen_fds), LISTEN_PID=str(os.getpid()))
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # ignored until now
        _signal.signal(number, _signal.SIG_DFL)
    failure = None  # type: OSError | None
    for path in candidates:
        try:
            os.execve(path, arguments, environment)
        except OSError as error:
            if failure is None or error.errno == abi.EACCES:
                failure = error
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    refusal = program.exec_error(plan.args[0], failure.errno or 0 if failure else 0)
    if refusal.number == abi.EACCES and any("=/" in word for word in plan.spec.landlock):
        refusal.hint = "--landlock must allow it, its loader and its libraries: rx=PATH"
    raise refusal
