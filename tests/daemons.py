"""podman, containerd and dockerd, with minictr or runc below them."""

import functools
import json
import os

import pytest
import support

LIMITS = ("nofile=1024:1024", "nproc=1024:1024")  # no more than root without CAP_SYS_RESOURCE may give


def judged(test):
    """A test of an engine, its first argument: where it fails it is tried with runc. If that fails too it is
    the machine, or this version of the engine, and the test skips with what runc had to say."""

    @functools.wraps(test)
    def both(engine, **fixtures):
        if os.environ.get("NOJUDGE"):
            return test(engine, **fixtures)
        try:
            test(engine, **fixtures)
        except AssertionError:
            with engine.below("runc"):
                engine.clear()
                try:
                    test(engine, **fixtures)
                except AssertionError as error:
                    pytest.skip("with runc as well: %s" % str(error).strip()[:300])
            raise

    return both


class Engine:
    """What the engines have in common. runtime: the name of the one that is used"""

    def __init__(self) -> None:
        self.runtime = "minictr"

    def below(self, runtime: str) -> "Engine":
        self.runtime, self.usual = runtime, self.runtime
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *what: object) -> None:
        self.runtime = self.usual


CONTAINERS_CONF = """
[containers]
default_ulimits = %s
default_sysctls = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["minictr", "runc"]
runtime_supports_nocgroup = ["minictr"]
[engine.runtimes]
minictr = ["%s"]
runc = ["/usr/sbin/runc", "/usr/bin/runc"]
"""
STORAGE_CONF = """
[storage]
driver = "%s"
runroot = "%s/r"
graphroot = "%s/graph"
"""


class Podman(Engine):
    """podman(WORDS): run it, with the files of its own. account: a user without privileges"""

    def __init__(self, yard, launcher: str, archive: str, account=None) -> None:
        super().__init__()
        self.yard, self.account = yard, account
        # a runroot of more than 50 characters is refused
        self.place = account.place("p") if account else support.SESSION.place("p", 0o700)
        self.runner = support.Runner()
        self._write("containers.conf", CONTAINERS_CONF % (json.dumps(LIMITS), launcher))
        self._write("storage.conf", STORAGE_CONF % ("overlay", self.place, self.place))
        for name in ("tmp", "xdg"):
            os.mkdir(os.path.join(self.place, name), 0o700)
            if account:
                os.chown(os.path.join(self.place, name), account.uid, account.gid)
        assert self("import", "--quiet", archive, "busybox").status == 0

    def __call__(self, *words: str, **options: object) -> support.Result:
        return self.start(*words, **options).wait()

    def start(self, *words: str, **options: object) -> support.Live:
        command, env = self.words() + words, self.environment()
        if self.account is None:
            return self.yard.start(*command, env=env, **options)
        return self.runner.start_command(*command, user=self.account, env=env, **options)

    def words(self) -> "tuple[str, ...]":
        return ("podman", "--runtime", self.runtime, "--tmpdir", self.place + "/tmp")

    def environment(self) -> "dict[str, str]":
        env = {
            "CONTAINERS_CONF": self.place + "/containers.conf",
            "CONTAINERS_STORAGE_CONF": self.place + "/storage.conf",
            "TMPDIR": self.place + "/tmp",
        }
        if self.account:
            env["XDG_RUNTIME_DIR"] = self.place + "/xdg"
        return env

    def run(self, *words: str, **options: object) -> support.Result:
        """`podman run --rm` without a network, which most tests do not need."""
        return self("run", "--rm", "--network", "none", *words, **options)

    def box(self, *words: str) -> str:
        """A container in the background; its id."""
        return self("run", "-d", "--network", "none", *words).ok.out.strip()

    def clear(self) -> None:
        """Remove every pod and container."""
        for kind in ("pod", "container"):
            names = self(kind, "ls", "--quiet", *(["--all"] if kind == "container" else [])).lines
            if names:
                self(kind, "rm", "--force", "--time", "0", *names)

    def remove(self, *names: str) -> None:
        self("rm", "--force", "--time", "0", *names)

    def inspect(self, name: str) -> dict:
        return json.loads(self("inspect", name).ok.out)[0]

    def _write(self, name: str, text: str) -> None:
        with open(os.path.join(self.place, name), "w") as file:
            file.write(text)
        os.chmod(file.name, 0o644)
