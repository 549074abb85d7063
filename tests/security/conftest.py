"""The ways to be inside a container, for attacks that must fail in each."""

import itertools
import os

import bundles
import pytest
import support

_numbers = itertools.count(1)
# (the form of `run`, whether the attack comes by `exec` into it)
FORMS = {
    "run": ("native", False), "run, host ids": ("host", False), "bundle": ("bundle", False),
    "rootless": ("rootless", False), "exec": ("native", True), "exec, host ids": ("host", True),
    "exec, bundle": ("bundle", True), "exec, rootless": ("rootless", True),
}  # fmt: skip


class Inside:
    """A way to run programs inside. root: where the root of the container lies on the host

    account: whose containers they are, None for root; userns: they have a user namespace
    """

    def __init__(self, name, minictr, root, account) -> None:
        self.name, self.minictr, self.account = name, minictr, account
        self.kind, self.by_exec = FORMS[name]
        self.userns = self.kind in ("native", "rootless")
        self.bundle = bundles.Bundle(root) if self.kind == "bundle" else None
        self.root = self.bundle.root if self.bundle else root
        self.identifier = "hole-%d-%d" % (os.getpid(), next(_numbers))
        self.running = False

    @property
    def how(self) -> dict:
        return {"user": self.account}

    def sh(self, script, *options, exec_options=(), **how) -> support.Result:
        return self(["sh", "-c", script], *options, exec_options=exec_options, **how)

    def __call__(self, command, *options, exec_options=(), **how) -> support.Result:
        """Run COMMAND. options: of the native `run`; exec_options: of `exec`; how: of a Runner"""
        if self.by_exec:
            if not self.running:
                self.start(*options)
            return self.exec(command, *exec_options, **how)
        return self.run(command, *options, **how)

    def run(self, command, *options, **how) -> support.Result:
        """The `run` of this form, whether attacks come by it or not."""
        how = dict(self.how, **how)
        if self.bundle:
            assert not options
            self.bundle.process["args"] = list(command)
            return bundles.Runtime("minictr", self.minictr).run(self.bundle, **how)
        return self.minictr(*(self._words(options) + ["--"] + list(command)), **how)

    def start(self, *options, command=("sleep", "1002")) -> None:
        """Have it run in the background, until the end of the test."""
        if self.bundle:
            self.identifier = self.bundle.identifier
            self.bundle.process["args"] = list(command)
            found = bundles.Runtime("minictr", self.minictr).run(self.bundle, "--detach", **self.how)
        else:
            more = ["--detach", "--name", self.identifier, "--"]
            found = self.minictr(*(self._words(options) + more + list(command)), **self.how)
        assert found.ok
        self.running = True

    def exec(self, command, *options, **how) -> support.Result:
        words = ["exec"] + list(options) + [self.identifier] + list(command)
        return self.minictr(*words, **dict(self.how, **how))

    def end(self) -> None:
        if self.running:
            assert self.minictr("delete", "--force", self.identifier, **self.how).ok

    def _words(self, options) -> "list[str]":
        words = ["run"] + (["--userns", "host"] if self.kind == "host" else [])
        return words + list(options) + ["--rootfs", self.root]


@pytest.fixture
def ways(request, minictr, busybox_copy):
    """Makes an Inside by its name in FORMS; it is ended with the test."""
    made = []

    def make(name):
        support.require("root", "userns", "busybox")
        account = None
        if FORMS[name][0] == "rootless":
            support.require("rootless", "newuidmap")
            account = request.getfixturevalue("ranged")
        made.append(Inside(name, minictr, busybox_copy(account), account))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture(params=sorted(FORMS))
def inside(request, ways):
    """Every way."""
    return ways(request.param)
