"""Nothing left behind: each system call of a start fails in turn, and each process is killed at each.

What broke is said in one line, or does not matter; and then there is no process, mount, cgroup, network
device and state of the container any more, or what is noted down is cleared away by the next command.
"""

import collections
import os
import time

import bundles
import pytest
import steps
import support
from support import needs

pytestmark = needs("root", "userns", "busybox", "strace")


class Form:
    """A way to start a container.

    words: options of `run`; account: a fixture, or None for root; most: how many calls of one kind are
    broken, of more some; names: of the processes in the order of their births
    """

    def __init__(self, *words, account=None, most=2, names=("runtime", "init")):
        self.words, self.account, self.most, self.names = list(words), account, most, names


FORMS = {
    "root": Form(most=6),
    "user": Form(account="ranged", names=("runtime", "init", "newuidmap", "newgidmap")),
    "host ids": Form("--userns", "host"),
    "middle": Form("--time-offset", "5", names=("runtime", "middle", "init")),
    "joined": Form("--userns", "host", "--pid", "/proc/self/ns/pid", names=("runtime", "middle", "init")),
    "detached": Form("-d"),
}

# What makes, changes, takes away, or tells the other process
CALLS = {
    "mounts": "mount umount2 fsopen fsconfig fsmount pivot_root",
    "trees": "open_tree move_mount mount_setattr",
    "files": """mkdir mkdirat mknodat symlinkat fchown fchownat fchmodat fchmod rename renameat unlinkat rmdir
        flock""",
    "places": "openat2 chdir fchdir getcwd fstatfs access memfd_create",
    "identity": """sethostname setresuid setresgid setgroups getgroups geteuid capset capget prctl keyctl
        seccomp""",
    "processes": """clone clone3 unshare setns setsid execve execveat wait4 kill pidfd_open
        pidfd_send_signal bpf sched_setaffinity""",
    "words": "socketpair socket sendmsg recvmsg write pipe2 dup2 fcntl ioctl close_range",
}
# What looks, cannot fail, or is the interpreter's and the C library's own
OTHERS = """
    openat read close newfstatat fstat stat lstat lseek getdents64 mmap munmap mremap mprotect brk madvise
    getrandom gettid getpid getppid getpgrp getuid getgid getegid getresuid getresgid getsockname uname umask
    futex exit exit_group set_robust_list set_tid_address arch_prctl rseq prlimit64 sysinfo sched_getaffinity
    readlink readlinkat statfs pread64 pipe dup poll connect sendto recvfrom clock_nanosleep clock_gettime
    time gettimeofday sigaltstack rt_sigreturn rt_sigaction rt_sigprocmask rt_sigtimedwait restart_syscall
""".split()


@pytest.fixture
def breaker(minictr, request, busybox_root):
    """Makes Steps for a form, with the words of its container."""

    def make(name):
        form = FORMS[name]
        if form.account:
            support.require("rootless", "newuidmap")
        if name == "middle":
            support.require("timens")
        account = request.getfixturevalue(form.account) if form.account else None
        made = steps.Steps(minictr, account)
        made.words = form.words + ["--rootfs", busybox_root, "--"]
        return made

    return make


_counted, _started = {}, {}


def counts(breaker, name):
    """For each process of a start that goes well, how often it makes each call."""
    if name not in _counted:
        made = breaker(name)
        whole = made.run(*made.words, "sleep", "0.2")
        assert whole.result.status == 0, whole.result
        forget(made, name)
        _counted[name] = [whole.counts(pid) for pid in whole.pids]
        assert len(_counted[name]) == len(FORMS[name].names)
        _started[name] = whole.counts(whole.pids[0], "rt_sigtimedwait")
    return _counted[name]


def started(breaker, name):
    """How often the runtime makes each call until it only waits for the program."""
    counts(breaker, name)
    return _started[name]


def forget(made, name):
    """Delete the last container, which lives on in the detached form."""
    if name == "detached":
        made.minictr("delete", "--force", made.names[-1])


def is_over(made):
    """All processes of the containers so far are gone."""
    support.wait_until(lambda: not made.processes(), 6, "there are still processes")


@pytest.mark.parametrize("name", sorted(FORMS))
def test_every_call_that_changes_something_is_broken(breaker, name):
    """A new one must be put into one of the two lists above."""
    seen = set().union(*counts(breaker, name))

    assert sorted(seen - set(" ".join(CALLS.values()).split()) - set(OTHERS)) == []


def each(calls, counted, most):
    """(call, number) for the CALLS of a group that a process makes as often as COUNTED says."""
    for call in calls.split():
        for number in steps.chosen(counted.get(call, 0), most):
            yield call, number


@pytest.mark.parametrize("group", sorted(CALLS))
@pytest.mark.parametrize("name", sorted(FORMS))
def test_a_failure_at_any_step_leaves_nothing(breaker, name, group):
    made = breaker(name)
    counted = collections.Counter()
    for found in counts(breaker, name):
        counted |= found
    for call, number in each(CALLS[group], counted, FORMS[name].most):
        broken = made.run(*made.words, "true", calls=call, inject="%s:error=EIO:when=%d" % (call, number))
        check_words(broken)
        if broken.result.status == 0 or id_lost(broken):
            forget(made, name)
        is_over(made)
        left = made.rest()
        if "clean up: " in broken.result.err:  # one thing could not be taken away, and is noted down
            assert len([thing for thing in left if thing.startswith("cgroup ")]) <= 1, (left, broken)
            assert made.minictr("list", "-q", user=made.account) == (0, "", "")
            left = made.rest()
        assert left == [], broken


def id_lost(broken):
    """The id of a detached container could not be written: it runs."""
    return any(name == "write" and text.startswith("1,") for _, name, text in broken.hits)


def check_words(broken):
    """One line, if it mattered."""
    lines = broken.result.err.splitlines()
    lines = [line for line in lines if not line.startswith("minictr: warning: ")]
    assert [line for line in lines if not line.startswith("minictr: ")] == [], broken
    for word in ("Traceback", "[Errno", "please report", "Error("):
        assert word not in broken.result.err, broken
    words = [text[:2] for _, name, text in broken.hits if name == "write"]
    if broken.result.status == 0:
        mild = [line for line in lines if "clean up: " in line or "clear away container " in line]
        assert len(lines) <= 1 and lines == mild, broken
    elif id_lost(broken):
        why = "minictr: write to the standard output: Input/output error"
        assert (broken.result.status, lines) == (125, [why]), broken
    else:
        assert broken.result.status in (123, 125, 126, 127), broken
        later = ("clean up: ", "clear away container ")  # the call may have failed there, too
        first = [line for line in lines if not any(word in line for word in later)]
        assert len(first or lines) == 1 or "2," in words and not lines, broken


# --- a further program --------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["places", "identity", "processes"])
@pytest.mark.parametrize("options", [[], ["-d"]], ids=["waiting", "detached"])
def test_a_further_program_that_fails_at_any_step_leaves_the_container_as_it_was(
    minictr, busybox_root, tmp_path, options, group
):
    made = steps.Steps(minictr)
    minictr("run", "-d", "--name", "long", "--rootfs", busybox_root, "--", "sleep", "1000").ok
    as_it_was, pid_file = made.processes(), tmp_path / "pid"
    words = ["exec", *options, "--pid-file", str(pid_file), "long", "true"]
    try:
        for _ in range(2):  # the first one may write bytecode, by more calls
            whole = made.verb(*words)
        assert whole.result.status == 0, whole.result
        counted = collections.Counter()
        for pid in whole.pids:
            counted |= whole.counts(pid)
        del counted["geteuid"]  # by which is found out whether we are one of set-user-ID
        for call, number in each(CALLS[group], counted, 2):
            if pid_file.exists():
                pid_file.unlink()
            broken = made.verb(*words, calls=call, inject="%s:error=EIO:when=%d" % (call, number))
            said = broken.result.err.splitlines()
            if broken.result.status:
                assert broken.result.status == 255 and len(said) == 1, broken
                assert said[0].startswith("minictr: ") and "[Errno" not in said[0], broken
                assert not (options and pid_file.exists()), broken
            support.wait_until(lambda: made.processes() == as_it_was, 6, repr(broken))
        assert minictr("state", "--quiet", "long").status == 0
    finally:
        minictr("delete", "--force", "long").ok
    assert made.rest() == []


# --- create, start, delete ----------------------------------------------------------------------

VERBS = ("create", "start", "delete")
# Of the runtime: what is made, told, noted down and taken away
LIFE = "clone3 flock mkdirat renameat openat2 sendmsg recvmsg write kill pidfd_send_signal unlinkat rmdir"


class Life:
    """A bundle whose container is made, started and deleted by verbs of their own, any of which may break."""

    def __init__(self, minictr, root):
        self.minictr, self.made = minictr, steps.Steps(minictr)
        bundle = bundles.Bundle(root)
        bundle.process["args"] = ["sleep", "1000"]
        bundle.save()
        self.words = {
            "create": ["create", "--bundle", bundle.path, bundle.identifier],
            "start": ["start", bundle.identifier],
            "delete": ["delete", "--force", bundle.identifier],
        }
        self.made.names += [bundle.identifier, os.path.basename(bundle.linux["cgroupsPath"])]

    def verb(self, verb, **how):
        """VERB, broken as by Steps, on a container that has come so far."""
        for before in VERBS[: VERBS.index(verb)]:
            self.minictr(*self.words[before]).ok
        return self.made.verb(*self.words[verb], follow=False, **how)

    def is_clean(self, broken):
        is_over(self.made)
        assert self.made.rest() == [], broken


@needs("cgroup")
@pytest.mark.parametrize("how", ["error=EIO", "signal=SIGKILL"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_of_a_bundle_that_breaks_leaves_nothing_that_delete_does_not_take(
    minictr, busybox_copy, verb, how
):
    """And what a failed `create` leaves, nobody has to delete."""
    life = Life(minictr, busybox_copy())
    for _ in range(2):  # the first one may write bytecode, by more calls
        whole = life.verb(verb)
        assert whole.result.status == 0, whole.result
        minictr(*life.words["delete"]).ok
    hits = 0
    for call, number in each(LIFE, whole.counts(whole.pids[0]), 2):
        broken = life.verb(verb, calls=call, inject="%s:%s:when=%d" % (call, how, number))
        hits += bool(broken.hits) or broken.result.status == -9
        assert "Traceback" not in broken.result.err and len(broken.result.err.splitlines()) < 2, broken
        if verb == "create" and broken.result.status == 125:
            life.is_clean(broken)
        assert minictr("list", "--quiet").ok and minictr(*life.words["delete"]).ok, broken
        life.is_clean(broken)
    assert hits > 5


# --- kill -9 ------------------------------------------------------------------------------------

# Of the runtime, and of init alone: the steps between them are nowhere far
RUNTIME = {
    "files": "flock mkdirat fchmod mkdir openat2 renameat rmdir unlinkat umask fstatfs",
    "words": "socketpair write sendmsg recvmsg read pipe2 ioctl",
    "processes": "clone3 clone open_tree mount_setattr wait4 rt_sigtimedwait rt_sigprocmask",
}
INIT = {
    "identity": "setsid prctl unshare setresgid setresuid sethostname keyctl setgroups capset",
    "mounts": "mount open_tree move_mount mount_setattr fsopen fsconfig fsmount mkdirat symlinkat openat2",
    "root": "socket ioctl fchdir pivot_root umount2 chdir getcwd close_range execve",
}


@pytest.mark.parametrize("group", sorted(RUNTIME))
@pytest.mark.parametrize("name", ["root", "user", "middle", "joined"])
def test_a_killed_runtime_takes_its_container_with_it(breaker, name, group):
    made, killed = breaker(name), 0
    for call, number in each(RUNTIME[group], counts(breaker, name)[0], FORMS[name].most):
        inject = "%s:signal=SIGKILL:when=%d" % (call, number)
        seconds = "8" if number <= started(breaker, name)[call] else "0.1"
        broken = made.run(*made.words, "sleep", seconds, calls=call, inject=inject, follow=False)
        assert broken.result.status in (-9, 0), broken  # there may have been one call fewer this time
        killed += broken.result.status == -9
        is_over(made)
    assert made.minictr("list", "-q", user=made.account) == (0, "", "")
    assert made.rest() == [] and killed > len(made.names) // 2


def whole_or_none(made):
    """True or False; None while init, which has inherited the lock, is dying."""
    listed = made.minictr("list", "-q").ok.lines
    running = made.minictr("state", "-q", made.names[-1]).status == 0
    if listed == made.names[-1:] and running:
        return True
    return False if not listed and not made.processes() else None


@pytest.mark.parametrize("group", sorted(RUNTIME))
def test_a_killed_runtime_leaves_a_detached_container_whole_or_none(breaker, group):
    made, killed = breaker("detached"), 0
    for call, number in each(RUNTIME[group], counts(breaker, "detached")[0], 3):
        inject = "%s:signal=SIGKILL:when=%d" % (call, number)
        broken = made.run(*made.words, "sleep", "100", calls=call, inject=inject, follow=False)
        assert broken.result.status in (-9, 0), broken
        killed += broken.result.status == -9
        support.wait_until(lambda: whole_or_none(made) is not None, 10, repr(broken))
        if whole_or_none(made):
            made.minictr("delete", "--force", made.names[-1]).ok
        is_over(made)
        assert made.rest() == [], broken
    assert killed > len(made.names) // 2


@pytest.mark.parametrize("group", sorted(INIT))
@pytest.mark.parametrize("name", ["root", "user"])
def test_a_killed_init_is_an_error_and_leaves_nothing(breaker, name, group):
    made = breaker(name)
    runtime, init = counts(breaker, name)[:2]
    for call, number in each(INIT[group], init, FORMS[name].most):
        if number <= runtime.get(call, 0):
            continue  # strace counts for each process, so this would be the runtime
        broken = made.run(
            *made.words, "true", calls=call, inject="%s:signal=SIGKILL:when=%d" % (call, number)
        )
        if broken.result.status == 125:
            assert "killed by signal 9" in broken.result.err.splitlines()[-1], broken
        else:  # after the word to go, it is the program that was killed
            assert (broken.result.status, call) in ((137, "close_range"), (137, "execve")), broken
        is_over(made)
        assert made.rest() == [], broken


@pytest.mark.parametrize("name", ["middle", "joined"])
def test_a_killed_middle_process_is_an_error_and_leaves_nothing(breaker, name):
    made = breaker(name)
    runtime, middle, _ = counts(breaker, name)
    for call, number in each("prctl unshare setns write clone3 fstatfs recvmsg getrandom", middle, 100):
        if number <= runtime.get(call, 0):
            continue  # it would be the runtime
        broken = made.run(
            *made.words, "true", calls=call, inject="%s:signal=SIGKILL:when=%d" % (call, number)
        )
        assert broken.result.status == 125, broken
        assert len(broken.result.err.splitlines()) == 1, broken
        is_over(made)
        assert made.rest() == [], broken
    assert made.names[3:]


# --- without a tracer, at any time --------------------------------------------------------------


@pytest.mark.parametrize("name", ["root", "user", "middle"])
def test_a_runtime_that_is_killed_at_any_time(breaker, name):
    """The processes run at their own speed, so that each may be anywhere."""
    made = breaker(name)
    for turn in range(25):
        made.names.append("step-%d-any-%d" % (os.getpid(), turn))
        live = made.minictr.start(
            "run", "--name", made.names[-1], *made.words, "sleep", "100", user=made.account
        )
        time.sleep(0.02 + 0.002 * turn)
        live.kill()
        is_over(made)
    assert made.minictr("list", "-q", user=made.account) == (0, "", "")
    assert made.rest() == []


RACE = """\
import os, sys, time
sys.path.insert(0, sys.argv[1])
from minictr import orphans, state
from minictr.report import Report

root = state.open_root(sys.argv[2])
end = time.monotonic() + 1.5
pid = os.fork()
if pid == 0:
    while time.monotonic() < end:
        orphans.sweep(sys.argv[2], root, Report())
    os._exit(0)
count = 0
while time.monotonic() < end:
    count += 1
    entry = state.create(sys.argv[2], root, "race-%d" % count)
    entry.save({"status": "creating"})
    entry.remove()
    entry.close()
os.waitpid(pid, 0)
print(count > 20, os.listdir(sys.argv[2]))
"""


def test_a_container_in_its_first_moment_is_not_taken_for_an_orphan(minictr):
    command = (support.sys.executable, "-c", RACE, support.CHECKOUT, minictr.state())
    assert minictr.command(*command).ok.out == "True []\n"
