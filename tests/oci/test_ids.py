"""Ids that are shown otherwise: in a user namespace that is joined, and on a mount alone."""

import os
import subprocess

import pytest
import support
from bundles import unlike
from support import needs, wait_until

pytestmark = needs("root", "busybox", "userns", "idmap", "unshare")

LINES = [{"containerID": 0, "hostID": 300000, "size": 65536}]


@pytest.fixture
def users():
    """The path of a user namespace with the ids of LINES."""
    with subprocess.Popen(["unshare", "--user", "sleep", "1000"]) as process:
        path = "/proc/%d/ns/user" % process.pid
        wait_until(lambda: os.readlink(path) != os.readlink("/proc/self/ns/user"))
        for name in ("uid_map", "gid_map"):
            with open("/proc/%d/%s" % (process.pid, name), "w") as file:
                file.write("0 300000 65536")
        yield path
        process.kill()


@pytest.fixture
def shared(bundle):
    """A bundle with a volume that has a file of root's and one of user 2005's."""
    made, place = bundle(), support.SESSION.place("shared")
    for name, uid in (("root", 0), ("some", 2005)):
        open(os.path.join(place, name), "w").close()
        os.chown(os.path.join(place, name), uid, uid)
    entry = {"destination": "/home", "type": "bind", "source": place, "options": ["rbind"]}
    made.config["mounts"].append(entry)
    return made


def owners(runtime, made):
    return runtime.sh(made, "stat -c %u /home/root /home/some")


def test_the_maps_of_a_joined_namespace_may_be_named(runtime, bundle, users):
    unlike(runtime, "runc", "warns of it", since=(1, 1, 15))
    made = bundle()
    made.namespaces(user=users)
    made.linux.update(uidMappings=LINES, gidMappings=LINES)
    assert runtime.sh(made, "cat /proc/self/uid_map").ok.fields == ["0", "300000", "65536"]


@pytest.mark.parametrize("word", ["idmap", "ridmap"])
def test_without_a_user_namespace_there_are_no_other_ids(own, bundle, word):
    """config.md, "Linux mount options": an error, where the mount has no ids of its own either."""
    made = bundle()
    place = support.SESSION.place("volume")
    made.config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": place, "options": ["bind", word]}
    )
    why = (
        "%s: there are no other ids to show; hint: give it uidMappings and gidMappings, or the bundle " % word
    )
    found = own.sh(made, "true")
    assert found == (125, "", "minictr: mount %s on /mnt: %sa user namespace\n" % (place, why))


@pytest.mark.parametrize("name", ["uidMappings", "gidMappings"])
def test_other_maps_than_it_has_are_refused(own, bundle, users, name):
    made = bundle()
    made.namespaces(user=users)
    made.linux.update(uidMappings=LINES, gidMappings=LINES)
    made.linux[name] = [dict(LINES[0], hostID=300001)]
    why = "the namespace has other ids than linux.%s: 0:300000:65536; hint: leave linux.%s out" % (name, name)
    assert own.sh(made, "true") == (125, "", "minictr: join the user namespace: %s\n" % why)


def test_a_volume_has_the_ids_of_a_joined_namespace(own, shared, users):
    shared.namespaces(user=users)
    assert owners(own, shared).ok.fields == ["65534", "65534"]
    shared.config["mounts"][-1]["options"].append("idmap")
    assert owners(own, shared).ok.fields == ["0", "2005"]


def test_a_volume_has_ids_of_its_own_without_a_user_namespace(own, shared):
    lines = [{"containerID": 2000, "hostID": 1000, "size": 10}]
    shared.config["mounts"][-1].update(uidMappings=lines, gidMappings=lines)
    assert owners(own, shared).ok.fields == ["65534", "1005"]


@pytest.mark.parametrize("word", ["idmap", "ridmap"])
def test_ids_are_shown_on_one_mount_or_on_all_below(own, shared, users, word):
    """config.md, "Linux mount options": idmap is not recursive."""
    below = shared.config["mounts"][-1]["source"] + "/below"
    os.mkdir(below)
    shared.namespaces(user=users)
    shared.config["mounts"][-1]["options"].append(word)
    subprocess.check_call(["mount", "-t", "tmpfs", "-o", "uid=2005", "below", below])
    try:
        found = own.sh(shared, "stat -c %u /home/some /home/below").ok.fields
    finally:
        subprocess.check_call(["umount", below])
    assert found == ["2005", "65534" if word == "idmap" else "2005"]
