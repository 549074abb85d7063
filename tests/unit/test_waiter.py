"""The program that only waits, under which a twin's label is read: it runs, it waits, and it ends."""

import os
import signal
import time

import pytest
import refusal
from support import in_child, needs

from minictr import abi, standin, waiter

runs = pytest.mark.skipif(not standin.supported(), reason="there is no such program for this machine")


def state(pid):
    """The letter of proc(5), stat; "" where there is no such process."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def becomes(pid, letters):
    """Whether the state of PID is one of LETTERS within some seconds."""
    end = time.monotonic() + 10
    while state(pid) not in letters and time.monotonic() < end:
        time.sleep(0.01)
    return state(pid) in letters


@runs
def test_it_is_executed_waits_and_is_taken_away():
    waiting = waiter.Waiter()
    waiting.execute()
    try:
        assert waiting.why == ""
        assert os.readlink("/proc/%d/exe" % waiting.pid).startswith("/memfd:minictr")
        assert becomes(waiting.pid, "S")
        time.sleep(0.2)
        assert state(waiting.pid) == "S"
    finally:
        waiting.take_away()
    assert state(waiting.pid) == ""


@runs
def test_it_has_nothing_of_ours_but_its_pipes():
    opened = os.open("/", os.O_RDONLY | os.O_CLOEXEC)
    waiting = waiter.Waiter()
    waiting.execute()
    place = "/proc/%d/fd/" % waiting.pid
    found = {int(name): os.readlink(place + name) for name in os.listdir(place)}
    waiting.take_away()
    own = [path for number, path in found.items() if number in waiting.theirs]
    assert len(own) == 2 and all(path.startswith("pipe:") for path in own)
    assert opened not in found
    os.close(opened)


@runs
def test_it_does_not_outlive_who_has_executed_it():
    reader, writer = os.pipe()
    holder = os.fork()
    if holder == 0:
        waiting = waiter.Waiter()
        waiting.execute()
        os.write(writer, b"%d" % waiting.pid)
        signal.pause()
    pid = int(os.read(reader, 20))
    assert state(pid)
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    assert becomes(pid, ("", "Z", "X"))  # it is left to whoever waits for orphans here
    os.close(reader)
    os.close(writer)


def refused(*calls):
    """Why there is nothing, where the kernel refuses CALLS once it is made."""

    def body():
        waiting = waiter.Waiter()
        refusal.refuse(list(calls))
        waiting.execute()
        waiting.take_away()
        return waiting.why

    return in_child(body)


@runs
@needs("seccomp")
def test_where_it_cannot_be_executed_that_is_told():
    why = "execute a file in memory under it: Operation not permitted"
    assert refused("execveat", "execve") == why


@runs
@needs("seccomp")
def test_where_there_can_be_no_process_for_it_that_is_told():
    why = "there is no process to execute it in: Resource temporarily unavailable"
    assert refused("clone=EAGAIN", "clone3=EAGAIN") == why


@needs("seccomp")
@runs
def test_where_there_can_be_no_file_in_memory_that_is_told():
    def body():
        refusal.refuse(["memfd_create"])
        waiting = waiter.Waiter()
        waiting.execute()
        waiting.take_away()
        return waiting.why

    assert in_child(body) == "make a file in memory to execute: Operation not permitted"


def test_where_there_is_none_for_the_machine_that_is_told(monkeypatch):
    monkeypatch.setattr(waiter, "_CODE", {})
    waiting = waiter.Waiter()
    waiting.execute()
    waiting.take_away()
    assert waiting.pid == 0
    assert waiting.why == "there is no program to execute for it on " + abi.machine()


@runs
def test_what_is_killed_by_its_execution_is_told(monkeypatch):
    """As by a filter, or by a module that lets nothing be mapped: not by what it does."""
    broken = {abi.machine(): "00" * 64 if abi.machine() == "aarch64" else "0f0b" * 32}
    monkeypatch.setattr(waiter, "_CODE", broken)
    waiting = waiter.Waiter()
    waiting.execute()
    waiting.take_away()
    assert waiting.why == "what was executed was killed by signal %d" % signal.SIGILL


@runs
def test_what_has_lost_its_pipes_ends_and_stays_to_be_looked_at():
    """SELinux gives /dev/null in their place."""
    null = os.open("/dev/null", os.O_RDWR)
    waiting = waiter.Waiter()
    for descriptor in waiting.theirs:
        os.dup2(null, descriptor)
    waiting.execute()
    assert (waiting.why, state(waiting.pid)) == ("", "Z")
    waiting.take_away()
    assert state(waiting.pid) == ""
    os.close(null)
