"""Nothing left behind: each system call of a start fails in turn, and each process is killed at each.

What broke is said in one line, or does not matter; and then there is no process, mount, cgroup, network
device and state of the container any more, or what is noted down is cleared away by the next command.
"""

import os
import time

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
    "detached": Form("-d"),
}

# What makes, changes, takes away, or tells the other process
CALLS = """
    mount umount2 fsopen fsconfig fsmount open_tree move_mount mount_setattr pivot_root mkdir mkdirat mknodat
    symlinkat fchownat openat2 renameat unlinkat rmdir fchmod flock sethostname setresuid setresgid
    setgroups capset capget prctl chdir fchdir getcwd setsid clone clone3 unshare execve socketpair
    socket ioctl sendmsg recvmsg write wait4 close_range keyctl fstatfs rt_sigaction rt_sigprocmask
    rt_sigtimedwait fcntl pipe2 dup2 getgroups geteuid memfd_create execveat rename access
""".split()
# What looks, cannot fail, or is the interpreter's and the C library's own
OTHERS = """
    openat read close newfstatat fstat stat lstat lseek getdents64 mmap munmap mremap mprotect brk getrandom
    gettid getpid getppid getuid getgid getegid getresuid getresgid getsockname uname futex exit_group
    set_robust_list set_tid_address arch_prctl rseq prlimit64 readlink readlinkat statfs getpgrp pipe dup
    rt_sigreturn restart_syscall clock_nanosleep poll sysinfo clock_gettime time gettimeofday fstatfs64
    madvise sigaltstack connect sendto recvfrom pread64 exit umask sched_getaffinity
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


_counted = {}


def counts(breaker, name):
    """For each process of a start that goes well, how often it makes each call."""
    if name not in _counted:
        made = breaker(name)
        whole = made.run(*made.words, "true")
        assert whole.result.status == 0, whole.result
        forget(made, name)
        _counted[name] = [whole.counts(pid) for pid in whole.pids]
        assert len(_counted[name]) == len(FORMS[name].names)
    return _counted[name]


def forget(made, name):
    """Delete the last container, which lives on in the detached form."""
    if name == "detached":
        made.minictr("delete", "--force", made.names[-1])


def is_over(made):
    """All processes of the containers so far are gone."""
    support.wait_until(lambda: not made.processes(), 10, "there are still processes")


@pytest.mark.parametrize("name", sorted(FORMS))
def test_every_call_that_changes_something_is_broken(breaker, name):
    """A new one must be put into one of the two lists above."""
    seen = set().union(*counts(breaker, name))

    assert sorted(seen - set(CALLS) - set(OTHERS)) == []


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", sorted(FORMS))
def test_a_failure_at_any_step_leaves_nothing(breaker, name, call):
    made = breaker(name)
    count = max(found.get(call, 0) for found in counts(breaker, name))
    for number in steps.chosen(count, FORMS[name].most):
        broken = made.run(*made.words, "true", calls=call, inject="%s:error=EIO:when=%d" % (call, number))
        check_words(broken)
        if broken.result.status <= 1:
            forget(made, name)
        is_over(made)
        if made.rest():
            assert made.minictr("list", "-q", user=made.account) == (0, "", "")
            assert made.rest() == [], broken.result


def check_words(broken):
    """One line, if it mattered."""
    lines = broken.result.err.splitlines()
    lines = [line for line in lines if not line.startswith("minictr: warning: ")]
    assert [line for line in lines if not line.startswith("minictr: ")] == [], broken.result
    for word in ("Traceback", "[Errno", "please report", "Error("):
        assert word not in broken.result.err, broken.result
    words = [text[:2] for _, name, text in broken.hits if name == "write"]
    if broken.result.status == 0:
        assert len(lines) <= 1 and all("clean up: " in line for line in lines), broken.result
    elif "1," in words:  # the id of a detached container, which runs
        assert (broken.result.status, lines) == (1, []), broken.result
    else:
        assert broken.result.status in (123, 125, 126, 127), broken.result
        assert len(lines) == 1 or "2," in words and not lines, broken.result


# --- kill -9 ------------------------------------------------------------------------------------

RUNTIME = """
    flock mkdirat fchmod mkdir write openat2 renameat socketpair clone3 clone open_tree mount_setattr sendmsg
    recvmsg wait4 rt_sigtimedwait rmdir unlinkat rt_sigprocmask fstatfs umask read pipe2 ioctl
""".split()


@pytest.mark.parametrize("call", RUNTIME)
@pytest.mark.parametrize("name", ["root", "user", "middle"])
def test_a_killed_runtime_takes_its_container_with_it(breaker, name, call):
    made = breaker(name)
    count = counts(breaker, name)[0].get(call, 0)
    for number in steps.chosen(count, FORMS[name].most):
        inject = "%s:signal=SIGKILL:when=%d" % (call, number)
        broken = made.run(*made.words, "sleep", "0.2", calls=call, inject=inject, follow=False)
        assert broken.result == (-9, ""), broken.result
        is_over(made)
    assert made.minictr("list", "-q", user=made.account) == (0, "", "")
    assert made.rest() == []


@pytest.mark.parametrize("call", RUNTIME)
def test_a_killed_runtime_leaves_a_detached_container_whole_or_none(breaker, call):
    made = breaker("detached")
    for number in steps.chosen(counts(breaker, "detached")[0].get(call, 0), 4):
        inject = "%s:signal=SIGKILL:when=%d" % (call, number)
        broken = made.run(*made.words, "sleep", "100", calls=call, inject=inject, follow=False)
        assert broken.result.status == -9, broken.result
        listed = made.minictr("list", "-q").ok.lines
        if listed:
            assert listed == made.names[-1:] and made.processes()
            assert made.minictr("state", "-q", made.names[-1]).status == 0
            made.minictr("delete", "--force", made.names[-1]).ok
        is_over(made)
        assert made.rest() == []


# Of init alone, and in the order of its steps nowhere far from each other
INIT = """
    setsid prctl unshare mount open_tree setresgid setresuid sethostname socket ioctl move_mount
    mount_setattr fsopen fsconfig fsmount mkdirat symlinkat openat2 fchdir pivot_root umount2 chdir getcwd
    keyctl setgroups capset close_range execve
""".split()


@pytest.mark.parametrize("call", INIT)
@pytest.mark.parametrize("name", ["root", "user"])
def test_a_killed_init_is_an_error_and_leaves_nothing(breaker, name, call):
    made = breaker(name)
    runtime, init = counts(breaker, name)[:2]
    first = runtime.get(call, 0) + 1  # strace counts for each process: the runtime must be through
    numbers = [number for number in steps.chosen(init.get(call, 0), FORMS[name].most) if number >= first]
    for number in numbers:
        inject = "%s:signal=SIGKILL:when=%d" % (call, number)
        broken = made.run(*made.words, "true", calls=call, inject=inject)
        last = broken.result.err.splitlines()[-1:]
        assert broken.result.status in (125, 137), broken.result
        assert broken.result.status == 137 or "killed by signal 9" in last[0], broken.result
        is_over(made)
        assert made.rest() == []


MIDDLE = ["prctl", "unshare", "write", "clone3", "fstatfs", "recvmsg"]


@pytest.mark.parametrize("call", MIDDLE)
def test_a_killed_middle_process_is_an_error_and_leaves_nothing(breaker, call):
    made = breaker("middle")
    runtime, middle, init = counts(breaker, "middle")
    for number in range(1, middle.get(call, 0) + 1):
        if number <= runtime.get(call, 0):
            continue  # it would be the runtime
        broken = made.run(*made.words, "true", calls=call, inject="%s:signal=SIGKILL:when=%d" % (call, number))
        assert broken.result.status == 125, broken.result
        assert len(broken.result.err.splitlines()) == 1
        is_over(made)
        assert made.rest() == []


# --- without a tracer, at any time --------------------------------------------------------------


@pytest.mark.parametrize("name", ["root", "user", "middle"])
def test_a_runtime_that_is_killed_at_any_time(breaker, name):
    """The processes run at their own speed, so that each may be anywhere."""
    made = breaker(name)
    for turn in range(25):
        made.names.append("step-%d-any-%d" % (os.getpid(), turn))
        live = made.minictr.start("run", "--name", made.names[-1], *made.words, "sleep", "100", user=made.account)
        time.sleep(0.02 + 0.002 * turn)
        live.kill()
        is_over(made)
    assert made.minictr("list", "-q", user=made.account) == (0, "", "")
    assert made.rest() == []
