"""podman, containerd and dockerd, with minictr or runc below them."""

import functools
import json
import os
import shutil
import signal

import pytest
import support

# What says "up", and when it is asked to end "bye"
TRAP = ("sh", "-c", "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done")
SLEEP = ("busybox",) + TRAP
LIMITS = ("nofile=1024:1024", "nproc=1024:1024")  # no more than root without CAP_SYS_RESOURCE may give


def judged(test):
    """A test of an engine, its first argument: where it fails it is tried with runc. If that fails too it is
    the machine, or this version of the engine, and the test skips with what runc had to say."""

    @functools.wraps(test)
    def both(engine, **fixtures):
        try:
            test(engine, **fixtures)
        except AssertionError:
            engine.kept = True
            with engine.below("runc"):
                engine.clear()
                try:
                    test(engine, **fixtures)
                except AssertionError as error:
                    pytest.skip("with runc as well: %s" % str(error).strip()[:300])
            raise

    return both


class Engine:
    """What the engines have in common.

    runtime: the name of the one that is used; kept: there may be containers that do not go by themselves
    """

    def __init__(self) -> None:
        self.runtime, self.kept = "minictr", True

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
cgroup_manager = "%s"
events_logger = "file"
runtime_supports_json = ["minictr", "runc"]
runtime_supports_nocgroup = ["minictr"]
[engine.runtimes]
minictr = ["%s"]
runc = ["%s"]
"""

# podman 4.3 has an option for this, which it does not pass to the command that ends a container
ROOTED = """#!/bin/sh
exec %s --root %s/state "$@"
"""


class Podman(Engine):
    """podman(WORDS): run it, with the files of its own.

    yard: None where it is a user's: of account, a user without privileges, or of who runs the tests
    manager: who makes the cgroups of its containers: "cgroupfs", podman itself and the runtime, or "systemd"
    """

    def __init__(self, yard, launcher: str, archive: str, account=None, manager: str = "cgroupfs") -> None:
        super().__init__()
        self.yard, self.account = yard, account
        self.place = account.place("p") if account else support.SESSION.place("p", 0o700)
        self.runner = support.Runner()
        runc = shutil.which("runc", path=support.PATH)
        runtimes = (self._rooted("minictr", launcher), self._rooted("runc", runc))
        write(self.place, "containers.conf", CONTAINERS_CONF % ((json.dumps(LIMITS), manager) + runtimes))
        self.locks = "/dev/shm/libpod_rootless_lock_%d" % (account.uid if account else os.getuid())
        self.shared = os.path.exists(self.locks)  # with the other containers of who runs the tests
        for name in ("tmp", "xdg", "r", "graph"):
            os.mkdir(os.path.join(self.place, name), 0o700)
            if account:
                os.chown(os.path.join(self.place, name), account.uid, account.gid)
        made = self("import", "--quiet", archive, "busybox")
        assert made.status == 0, made

    def _rooted(self, name: str, path: "str | None") -> str:
        made = write(self.place, name, ROOTED % (path, self.place))
        os.chmod(made, 0o755)
        return made

    def __call__(self, *words: str, **options: object) -> support.Result:
        return self.start(*words, **options).wait()

    def start(self, *words: str, **options: object) -> support.Live:
        command, env = self.words() + words, self.environment()
        self.kept = self.kept or "--rm" not in words
        if self.yard:
            return self.yard.start(*command, env=env, **options)
        return self.runner.start_command(*command, user=self.account, env=env, **options)

    def words(self) -> "tuple[str, ...]":
        """podman with its places. One command of its own, which ends a container, knows no environment; and
        a runroot of more than 50 characters is refused, there without a word."""
        places = [("--tmpdir", "tmp"), ("--runroot", "r"), ("--root", "graph")]
        words = ["podman", "--runtime", self.runtime, "--storage-driver", "overlay"]
        for option, name in places:
            words += [option, os.path.join(self.place, name)]
        return tuple(words)

    def environment(self) -> "dict[str, str]":
        env = {
            "CONTAINERS_CONF": self.place + "/containers.conf",
            "TMPDIR": self.place + "/tmp",
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",  # podman 5
        }
        if self.account:
            env["XDG_RUNTIME_DIR"] = self.place + "/xdg"
        elif "XDG_RUNTIME_DIR" in os.environ:  # where their systemd is
            env["XDG_RUNTIME_DIR"] = os.environ["XDG_RUNTIME_DIR"]
        return env

    def run(self, *words: str, **options: object) -> support.Result:
        """`podman run --rm` without a network, which most tests do not need."""
        return self("run", "--rm", "--network", "none", *words, **options)

    def box(self, *words: str) -> str:
        """A container in the background; its id."""
        return self("run", "-d", "--network", "none", *words).ok.out.strip()

    def clear(self) -> None:
        """Remove every pod and container: two commands, which take a second together."""
        if self.kept:
            for kind in ("pod", "container"):
                self(kind, "rm", "--all", "--force", "--time", "0").ok
        self.kept = False

    def remove(self, *names: str) -> None:
        self("rm", "--force", "--time", "0", *names)

    def inspect(self, name: str) -> dict:
        return json.loads(self("inspect", name).ok.out)[0]

    def end(self) -> None:
        """Of a user: their files, which have ids that only they may use; the process that keeps their user
        namespace, with the mounts that are below it; and the locks, whose place is not theirs."""
        if not self.account:
            script = 'cd "$0"; ! mountpoint -q overlay || umount overlay; rm -r *'
            self("unshare", "sh", "-c", script, self.place + "/graph").ok
        for folder, _, names in os.walk(self.place):
            if "pause.pid" in names:
                with open(folder + "/pause.pid") as file:
                    os.kill(int(file.read()), signal.SIGKILL)
        self.runner.finish()
        if os.path.exists(self.locks) and not self.shared:
            os.unlink(self.locks)


CONTAINERD_CONF = """
version = 2
root = "%s/root"
state = "%s/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "%s/socket"
"""


class Containerd(Engine):
    """containerd(WORDS): run ctr with them. The daemon runs until `end`."""

    def __init__(self, yard, launcher: str, root: str) -> None:
        super().__init__()
        self.yard, self.root = yard, root
        self.binaries = {"minictr": launcher, "runc": shutil.which("runc", path=support.PATH) or ""}
        self.place = support.SESSION.place("c", 0o700)
        config = write(self.place, "config.toml", CONTAINERD_CONF % ((self.place,) * 3))
        self.daemon = daemon(yard, self.place, "containerd", "--config", config)
        answers(self.place, lambda: self("version").status == 0)

    def __call__(self, *words: str, **options: object) -> support.Result:
        return self.start(*words, **options).wait()

    def start(self, *words: str, **options: object) -> support.Live:
        return self.yard.start("ctr", "--address", self.place + "/socket", *words, **options)

    def run(self, *words: str, options: "tuple[str, ...]" = (), **how: object) -> support.Result:
        """Run the container WORDS[0] with the program that follows."""
        return self("run", "--rm", *(self.options() + tuple(options) + (self.root,) + words), **how)

    def box(self, *words: str, options: "tuple[str, ...]" = ()) -> support.Result:
        return self("run", "--detach", *(self.options() + tuple(options) + (self.root,) + words)).ok

    def options(self) -> "tuple[str, ...]":
        return ("--runc-binary", self.binaries[self.runtime], "--env", "PATH=/bin", "--rootfs")

    def clear(self) -> None:
        for name in self("container", "ls", "--quiet").lines:
            self("task", "delete", "--force", name)
            self("container", "delete", name)

    def end(self) -> None:
        _end(self.daemon)


class Docker(Engine):
    """docker(WORDS): run docker's client. The daemon, and the containerd that it starts, run until `end`.

    The runtime is the daemon's default one, as a service's cannot be chosen.
    remap: the name of a user whose ranges of ids the containers have
    """

    def __init__(self, yard, launcher: str, archive: str, remap: str = "") -> None:
        super().__init__()
        self.yard, self.launcher, self.remap = yard, launcher, remap
        self.place = self._place()
        self.daemon = daemon(yard, self.place, *self._command())
        # not "version": from 25 on dockerd panics at that where rootlesskit is without a network driver
        answers(self.place, lambda: self("ps").status == 0)
        assert self("import", archive, "busybox").status == 0

    def _place(self) -> str:
        return support.SESSION.place("d", 0o711 if self.remap else 0o700)

    def _command(self) -> "tuple[str, ...]":
        return ("dockerd", "--config-file", self._configure())

    def __call__(self, *words: str, **options: object) -> support.Result:
        return self.start(*words, **options).wait()

    def start(self, *words: str, **options: object) -> support.Live:
        client = ("/usr/bin/docker", "--host", "unix://%s/socket" % self.place)
        env = {"DOCKER_CONFIG": self.place + "/client"}
        return self.yard.start(*(client + words), env=env, **options)

    def run(self, *words: str, **options: object) -> support.Result:
        return self("run", "--rm", "--network", "none", *words, **options)

    def box(self, *words: str) -> str:
        return self("run", "-d", "--network", "none", *words).ok.out.strip()

    def inspect(self, name: str) -> dict:
        return json.loads(self("inspect", name).ok.out)[0]

    def clear(self) -> None:
        names = self("ps", "--all", "--quiet").lines
        if names:
            self("rm", "--force", *names)

    def below(self, runtime: str) -> Engine:
        super().below(runtime)
        self._choose()
        return self

    def __exit__(self, *what: object) -> None:
        super().__exit__(*what)
        self._choose()

    def _choose(self) -> None:
        self._configure()
        self.daemon.signal(signal.SIGHUP)
        wanted = (0, self.runtime + "\n", "")
        support.wait_until(lambda: self("info", "--format", "{{.DefaultRuntime}}") == wanted)

    def _configure(self) -> str:
        place = self.place
        text = {
            "data-root": place + "/data",
            "exec-root": place + "/exec",
            "pidfile": place + "/pid",
            "hosts": ["unix://%s/socket" % place],
            "runtimes": {"minictr": {"path": self.launcher}},
            "default-runtime": self.runtime,
            "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 1024}},
        }  # type: dict[str, object]
        text.update(self._further())
        return write(place, "daemon.json", json.dumps(text))

    def _further(self) -> "dict[str, object]":
        text = {"exec-opts": ["native.cgroupdriver=cgroupfs"]}  # type: dict[str, object]
        if self.remap:
            text["userns-remap"] = self.remap
        return text

    def end(self) -> None:
        _end(self.daemon)


class RootlessDocker(Docker):
    """Docker of a user: rootlesskit makes a user namespace, in which dockerd and minictr are root. It has no
    cgroups, and no network but the yard's."""

    def __init__(self, yard, launcher: str, archive: str, account) -> None:
        self.account = account
        super().__init__(yard, launcher, archive)

    def _place(self) -> str:
        return self.account.place("d")

    def _command(self) -> "tuple[str, ...]":
        place, account = self.place, self.account
        become = ("setpriv", "--reuid", account.name, "--regid", str(account.gid), "--init-groups")
        env = ("env", "HOME=" + place, "XDG_RUNTIME_DIR=" + place, "TMPDIR=" + place)
        kit = ("rootlesskit", "--state-dir", place + "/kit", "--net=host", "--copy-up=/etc", "--copy-up=/run")
        return become + env + kit + super()._command() + ("--rootless",)

    def _further(self) -> "dict[str, object]":
        text = {"storage-driver": "vfs", "bridge": "none"}  # type: dict[str, object]
        text.update(dict.fromkeys(("iptables", "ip6tables", "ip-forward"), False))
        return text


class Buildah:
    """buildah(WORDS), root's, with places of its own"""

    def __init__(self, yard) -> None:
        self.yard, self.place = yard, support.SESSION.place("b", 0o700)

    def __call__(self, *words: str) -> support.Result:
        places = ("--root", self.place + "/graph", "--runroot", self.place + "/r", "--storage-driver", "vfs")
        env = {"TMPDIR": self.place, "BUILDAH_HISTORY": "false"}
        return self.yard.run("buildah", *(places + words), env=env)


def write(place: str, name: str, text: str) -> str:
    path = os.path.join(place, name)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o644)
    return path


def daemon(yard, place: str, *command: str) -> support.Live:
    """Its words go to a file: nobody reads a pipe, and it would wait for that."""
    script = 'exec "$@" >%s/log 2>&1' % place
    return yard.start("sh", "-c", script, "sh", *command, timeout=600)


def answers(place: str, asked) -> None:
    """Wait until the daemon of PLACE is up: until ASKED(); its own last words say why it is not."""
    try:
        support.wait_until(asked, 30)
    except AssertionError:
        with open(place + "/log", errors="replace") as log:
            raise AssertionError("the daemon is not up: " + log.read()[-2000:])


def _end(daemon: support.Live) -> None:
    """Ask it to end, by its process id."""
    daemon.signal(signal.SIGTERM)
    daemon.wait(30)
