"""--systemd-cgroup on a host without systemd, or without a way to it."""

import json
import os

import pytest
import support
from support import needs

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
    done = minictr("--systemd-cgroup", "run", "--", "true", user=unranged)
    assert done.status == 0
    lines = [line for line in done.err.splitlines() if "cgroup" in line]
    assert lines[0].startswith("minictr: warning: cgroup: wanted one of its own, got none; ")
    assert "loginctl enable-linger USER" in lines[0]


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
