"""`minictr report`: what the isolation of a container is worth, by trying it out.

A twin of the container is started, with the very options, whose first process tries what must not work
(`attempts`) and is looked at from outside. It executes nothing of the container's, runs no hooks and has no
terminal.

Side: host
"""

import _signal  # `signal` imports enum: 3 ms
import _socket
import os
import time

from . import abi, attempts, document, idtables, libc, lifecycle, paths, verdict
from .attempted import Attempt
from .bait import Bait
from .errors import ContainerError, printable
from .first import STAGES
from .record import Record
from .spec import ID_LENGTH, Spec
from .sync import errno_in, understood
from .verdict import Outside, Shown


def show(spec: Spec, root_path: str, report, stream) -> bool:
    """Print what a twin has shown to STREAM; whether all that was asked for was got."""
    quiet, report.quiet = report.quiet, True  # the steps down are part of what is printed
    try:
        found = examine(spec, root_path, report)
    finally:
        report.quiet, report.records = quiet, []
    made = verdict.structure(found)
    json = spec.json or spec.told == "json"
    print(document.pretty(made, "  ") if json else "\n".join(verdict.lines(found)), file=stream)
    return made["ok"]


class Found(Record):
    """What came of a twin. plan: its Plan; way: how the root was changed; records: its steps down
    labels: what a program was seen to run under, for each label of the plan
    """

    plan: object
    way: str
    attempts: "tuple[Attempt, ...]"
    outside: Outside
    labels: "tuple[Shown, ...]"
    records: tuple


def examine(spec: Spec, root_path: str, report) -> Found:
    """Start a twin of the container that SPEC wants, let it try, look at it, and take it away."""
    out = _Out(os.urandom(3).hex(), _volumes(spec))
    twin = lifecycle.Container(_twin_of(spec), root_path, report)
    try:
        twin.stages = STAGES[:-1] + (lambda me: attempts.probe(me, out.bait),)
        birth = twin.bear("running")
        birth.tell("go")
        return _listen(birth, out.bait, report)
    finally:
        twin.undo.run(report)
        twin.leave()
        out.take_in()


def _twin_of(spec: Spec) -> Spec:
    """The same without what reaches beyond the container: hooks, a terminal, moved network devices, files
    that are written for it."""
    config = dict(spec.config, hooks={})
    config["process"] = dict(config.get("process") or {}, terminal=False)
    linux = dict(config.get("linux") or {})
    for name in ("netDevices", "intelRdt"):
        linux.pop(name, None)
    if linux.get("cgroupsPath") and ":" not in linux["cgroupsPath"]:
        linux["cgroupsPath"] += "-twin"
    return spec.replace(
        config=dict(config, linux=linux), identifier=spec.identifier[: ID_LENGTH - 5] + "-twin", detach=False,
        keep=False, init=False, pid_file="", id_file="", log_file="", console_socket="", pidfd_socket="",
        timeout=0, listen_fds=0,
    )  # fmt: skip


def _listen(birth, bait: Bait, report) -> Found:
    way, told = birth.until("root", 1)[0], []  # type: str, list[Attempt]
    while len(told) < len(attempts.ATTEMPTS):
        layer, name, outcome, number, words = birth.until("attempt", 5)
        if name == attempts.SIGNAL and outcome == "possible" and not _signalled(bait.pid):
            outcome, number = "refused", str(abi.ESRCH)  # the number was another's inside
        with understood([name, number]):
            told.append(
                Attempt(layer=layer, name=name, outcome=outcome, errno=errno_in(number), detail=words)
            )
    birth.until("tried")
    outside = look(birth.pid)
    labels = _execute(birth, report) if birth.plan.labels else ()
    birth.tell("done")
    if labels:
        birth.channel.hear()  # its end: what it has executed is gone by then
    return Found(
        plan=birth.plan, way=way, attempts=tuple(told), outside=outside, labels=labels,
        records=tuple(report.records),
    )  # fmt: skip


def _execute(birth, report) -> "tuple[Shown, ...]":
    """Have the twin execute a program that waits, and read what that runs under."""
    from . import lsm  # loaded by `plan`

    birth.tell("execute")
    number, why = birth.until("executed", 2)
    with understood([number, why]):
        inside = int(number)
    pid = 0 if why else _child(birth, inside)
    shown = []
    for label in birth.plan.labels:
        said = lsm.settled(birth.proc, pid, label) if pid else None
        why = why or ("the program that was executed is not to be found" if said is None else "")
        said = said or ""
        held = lsm.matches(label, said)
        record = lsm.toothless(label, said, False) if held else None
        if record is not None:
            report.seen(record)
        shown.append(
            Shown(
                layer=label.layer,
                said=printable(said.strip("\0\n ")),
                held=held,
                why=why,
                lacks=record.lost if record else "",
            )  # fmt: skip
        )
    return tuple(shown)


def _child(birth, number: int) -> int:
    """The child of the twin's first process that has NUMBER inside (proc(5), NSpid); 0 if there is none."""
    for name in os.listdir("/proc"):
        status = _status(int(name)) if name.isdigit() else {}
        if status.get("PPid") == str(birth.pid) and status.get("NSpid", name).split()[-1] == str(number):
            return int(name)
    return 0


# --- what is put out for the attempts ---------------------------------------------------------


def _volumes(spec: Spec) -> "list[str]":
    """Directories of the host's that the container is handed, and has under the same names."""
    mounts = [mount for mount in spec.config.get("mounts") or () if mount.get("source")]
    sources = [(os.path.join(spec.bundle, mount["source"]), mount["destination"]) for mount in mounts]
    return [source for source, target in sources if os.path.normpath(source) == os.path.normpath(target)]


class _Out:
    """A process, a file and two sockets of the host's. word: a random one that their names have
    handed: where the file is only put if there is no other place
    """

    def __init__(self, word: str, handed: "list[str]") -> None:
        self.opened = []  # type: list
        self.directory, self.pid = "", 0
        content = "minictr-bait-%s-%s" % (word, os.urandom(8).hex())
        try:
            path = self._file(word, content, handed)
            self.pid = self._process("bait-" + word)
            self.bait = Bait(
                pid=self.pid, name="bait-" + word, path=path, content=content, device=_block_device(),
                abstract="minictr-bait-" + word, port=self._sockets("minictr-bait-" + word),
            )  # fmt: skip
        except BaseException:
            self.take_in()
            raise

    def _file(self, word: str, content: str, handed: "list[str]") -> str:
        places = ("/tmp", "/var/tmp", "/dev/shm", "/run")
        for place in sorted(places, key=lambda place: any(_lies_in(place, volume) for volume in handed)):
            try:
                os.mkdir("%s/minictr-bait-%s" % (place, word), 0o755)
            except OSError:
                continue
            self.directory = "%s/minictr-bait-%s" % (place, word)
            os.chmod(self.directory, 0o755)
            file = os.open(
                self.directory + "/file", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644
            )
            os.fchmod(file, 0o644)
            os.write(file, content.encode())
            os.close(file)
            return self.directory + "/file"
        raise ContainerError("put a file out for the attempts", "no directory is writable")

    def _process(self, name: str) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                libc.prctl(abi.PR_SET_PDEATHSIG, _signal.SIGKILL)
                libc.prctl_name(name)
                _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGURG,))
                while True:
                    time.sleep(1000)
            finally:  # by ^C, say: to take in what was put out is not for us
                os._exit(1)
        return pid

    def _sockets(self, name: str) -> int:
        abstract = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self.opened.append(abstract)
        abstract.bind("\0" + name)
        abstract.listen(1)
        loopback = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        self.opened.append(loopback)
        try:
            loopback.bind(("127.0.0.1", 0))
            loopback.listen(2)  # ours and that of the attempt
            own = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
            self.opened.append(own)
            own.connect(loopback.getsockname())  # bind(2) may not know yet that the loopback device is down
        except OSError:
            return 0
        return loopback.getsockname()[1]

    def take_in(self) -> None:
        for sock in self.opened:
            sock.close()
        if self.pid:
            os.kill(self.pid, _signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.directory:
            if os.path.exists(self.directory + "/file"):
                os.unlink(self.directory + "/file")
            os.rmdir(self.directory)


def _lies_in(place: str, directory: str) -> bool:
    return (place + "/").startswith(directory.rstrip("/") + "/")


def _signalled(pid: int) -> bool:
    """Whether SIGURG waits for the process, which has it blocked (proc(5), ShdPnd)."""
    pending = int(_status(pid).get("ShdPnd", "0"), 16)
    return bool(pending >> (_signal.SIGURG - 1) & 1)


def _block_device() -> "tuple[int, ...]":
    """The numbers of one of the host's block devices; one that we ourselves may open, if there is one."""
    found = ()  # type: tuple[int, ...]
    try:
        names = sorted(os.listdir("/sys/class/block"))
    except OSError:
        return ()
    for name in names:
        words = paths.read_text("/sys/class/block/%s/dev" % name).strip().split(":")
        if len(words) != 2:
            continue
        numbers = (int(words[0]), int(words[1]))
        found = found or numbers
        try:
            os.close(os.open("/dev/" + name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            return numbers
        except OSError:
            pass
    return found


# --- the look from outside --------------------------------------------------------------------


def look(pid: int) -> Outside:
    """What the host's /proc says of a process (proc(5), namespaces(7))."""
    own = []
    for kind, (name, _) in abi.NAMESPACES.items():
        try:
            if os.readlink("/proc/%d/ns/%s" % (pid, name)) != os.readlink("/proc/self/ns/" + name):
                own.append(kind)
        except OSError:
            pass  # a kernel without this kind
    status = _status(pid)
    users, groups = [
        idtables.rows(paths.read_text("/proc/%d/%s" % (pid, name))) for name in ("uid_map", "gid_map")
    ]
    roots = [outside - inside for inside, outside, size in users if inside <= 0 < inside + size]
    hosts = users + groups if os.geteuid() == 0 else users  # a user's group 0 is the user's own
    return Outside(
        own=tuple(own),
        root_id=roots[0] if roots else -1,
        hosts_root=any(outside == 0 for _, outside, _ in hosts),
        bounding=int(status.get("CapBnd", "0"), 16),
        effective=int(status.get("CapEff", "0"), 16),
        no_new_privs=status.get("NoNewPrivs") == "1",
        seccomp=int(status.get("Seccomp", "0")),
        filters=int(status.get("Seccomp_filters", "0")),
        cgroup=paths.read_text("/proc/%d/cgroup" % pid) != paths.read_text("/proc/self/cgroup"),
    )


def _status(pid: int) -> "dict[str, str]":
    rows = [line.partition(":") for line in paths.read_text("/proc/%d/status" % pid).splitlines()]
    return {name: value.strip() for name, _, value in rows}
