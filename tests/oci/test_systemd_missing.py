"""--systemd-cgroup on a host without systemd, or without a way to it."""

import json
import os
import socket
import threading

import pytest
import support
from support import needs

from minictr import dbus_message

pytestmark = [
    needs("busybox"),
    pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="systemd is there"),
]


@needs("root")
def test_a_bundle_is_refused_with_what_helps(own, bundle):
    one = bundle()
    one.linux["cgroupsPath"] = "system.slice:test:x"
    one.save()
    done = own.verb("--systemd-cgroup", "create", "--bundle", one.path, one.identifier)
    assert (done.status, done.out) == (123, "")
    assert done.err.startswith(
        "minictr: cgroup: one of its own is required: there is no bus to it: talk to D-Bus at "
    )
    assert (
        "hint: start the container on a host with systemd as process 1, or without --systemd-cgroup"
        in done.err
    )
    assert len(done.err.splitlines()) == 1


@needs("rootless")
def test_the_native_form_goes_without_and_says_so(minictr, unranged):
    done = minictr("--systemd-cgroup", "run", "--memory", "64m", "--", "true", user=unranged)
    assert done.status == 0
    lines = [line for line in done.err.splitlines() if "; there is no bus to it: " in line]
    assert lines[0].startswith("minictr: warning: cgroup: wanted one of its own, got none; ")
    assert lines[1].startswith(
        "minictr: warning: memory: wanted 67108864 bytes at most, got as much for each"
    )
    fix = "loginctl enable-linger {0}; and have XDG_RUNTIME_DIR=/run/user/{0}".format(unranged.uid)
    assert [fix in line for line in lines] == [True, True]


@pytest.mark.parametrize("verb", ["run", "create", "explain"])
def test_a_path_of_another_form_is_refused_before_anything_is_done(own, bundle, verb):
    one = bundle()
    one.linux["cgroupsPath"] = "/a/b"
    one.save()
    done = own.verb("--systemd-cgroup", verb, "--bundle", one.path, one.identifier)
    assert (done.status, done.out) == (125, "")
    assert done.err.startswith(
        "minictr: place the cgroup /a/b: cgroupsPath has not the form slice:prefix:name"
    )


def test_explain_tells_of_the_unit(minictr):
    done = minictr(
        "--systemd-cgroup", "explain", "--name", "web", "--cgroup-parent", "my.slice", "--", "true"
    )
    assert " 2. have systemd start the unit my.slice:minictr:web\n" in done.out


def test_a_peer_that_is_no_bus_is_told(own, bundle, tmp_path):
    one, path = bundle(), str(tmp_path / "bus")
    one.linux["cgroupsPath"] = "system.slice:test:x"
    one.save()
    support.require("root")
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        live = own.start_verb(
            "--systemd-cgroup", "create", "--bundle", one.path, one.identifier,
            env={"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=" + path},
        )  # fmt: skip
        peer = listener.accept()[0]
        peer.recv(100)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        done = live.wait()
        peer.close()
    assert done.status == 123
    assert "does not let user 0 in" in done.err and len(done.err.splitlines()) == 1


def test_the_doctor_does_not_miss_it(minictr):
    found = {check["check"]: check for check in json.loads(minictr("doctor", "--json").out)["checks"]}
    assert found["systemd"]["ok"] is None
    assert found["systemd"]["detail"] == "not process 1: without --systemd-cgroup nothing needs it"


# --- one that speaks nonsense -----------------------------------------------------------------------


class Bus(threading.Thread):
    """A bus that lets everybody in, and answers each call with the next of BODIES: (signature, bytes)."""

    def __init__(self, path, bodies):
        super().__init__()
        self.bodies, self.socket = bodies, socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(1)
        self.socket.settimeout(20)
        self.start()

    def run(self):
        with self.socket:
            peer = self.socket.accept()[0]
        with peer:
            peer.settimeout(20)
            peer.recv(65536)
            peer.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
            for number, (signature, content) in enumerate(self.bodies, 1):
                if not peer.recv(65536):
                    return
                answer = dbus_message.Message(
                    kind=dbus_message.RETURN, serial=number, reply=number, signature=signature,
                    content=content, sender=":1.1",
                )  # fmt: skip
                peer.sendall(dbus_message.encode(answer))
            peer.recv(65536)


def body(signature, *values):
    return signature, dbus_message.pack(signature, values)


# Hello, NameHasOwner, Version, ControlGroup, AddMatch, StartTransientUnit
WELL = [
    body("s", ":1.2"), body("b", True), body("v", ("s", "252")), body("v", ("s", "/")), ("", b""),
    body("o", "/job"),
]  # fmt: skip


@needs("root", "cgroup")
@pytest.mark.parametrize(
    "well, nonsense, why",
    [
        (0, ("", b""), "it has no name for us"),
        (0, ("s", b"\xff\xff\xff\xff"), "it breaks the protocol: it ends in the middle of a value"),
        (1, ("b", b"\2\0\0\0"), "it breaks the protocol: a truth value of 2"),
        (2, ("", b""), "ask systemd for its Version: it answers with no text"),
        (2, body("(s)", ("s",)), "ask systemd for its Version: it answers with no text"),
        (2, body("(su)", ("s", 7)), "ask systemd for its Version: it answers with no text"),
        (2, body("v", ("u", 7)), "ask systemd for its Version: it answers with no text"),
        (3, ("v", b"\1"), "it breaks the protocol: it ends in the middle of a value"),
        (5, ("", b""), "systemd answers with no job"),
        (5, ("o", b"\1\0\0\0x\0"), "it breaks the protocol: 'x' is no object path"),
        (5, ("o", b""), "it breaks the protocol: it ends in the middle of a value"),
    ],
)
def test_a_bus_that_speaks_nonsense_is_told_in_a_line(own, bundle, well, nonsense, why):
    path = os.path.join(support.SESSION.place("bus"), "socket")
    bus = Bus(path, WELL[:well] + [nonsense])
    one = bundle()
    one.linux["cgroupsPath"] = "system.slice:test:x"
    one.save()
    words = ("--systemd-cgroup", "run", "--bundle", one.path, one.identifier)
    done = own.verb(*words, env={"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=" + path})
    bus.join()
    assert (done.out, done.err.count("\n")) == ("", 1), done
    assert done.err.startswith("minictr: ") and why in done.err, done
    assert done.status in (123, 125)


@needs("root", "cgroup")
def test_a_version_without_an_end_is_none(own, bundle):
    """int() refuses thousands of digits."""
    path = os.path.join(support.SESSION.place("bus"), "socket")
    bus = Bus(path, WELL[:2] + [body("v", ("s", "9" * 5000)), WELL[3], WELL[4], ("", b"")])
    one = bundle()
    one.linux["cgroupsPath"] = "system.slice:test:x"
    one.save()
    words = ("--systemd-cgroup", "run", "--bundle", one.path, one.identifier)
    done = own.verb(*words, env={"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=" + path})
    bus.join()
    assert done.err.endswith("systemd answers with no job\n"), done
