"""The ladder of id maps: whatever keeps newuidmap from its work has its own sentence and its own fix."""

import os
import shutil

import ladders
import pytest
import support
from support import needs

pytestmark = needs("root", "rootless", "newuidmap", "busybox", "setpriv")

LOOK = "cat /proc/self/uid_map /proc/self/setgroups; stat -c %u:%g /bin /dev/pts/ptmx"


def run(minictr, root, *words, **options):
    words = ["run"] + list(words) + ["--rootfs", root, "--", "sh", "-c", LOOK]
    return ladders.tell(minictr, *words, **options)


def path(name):
    return shutil.which(name, path=support.PATH)


def helpers():
    return {name: path(name) for name in ("newuidmap", "newgidmap")}


def no_bit(account):
    return {"cover": "plain-helpers"}


def one_bit(account):
    """One of the helpers works: what it has written stays, and in that process nothing else can be."""
    plain = support.COVERS["plain-helpers"]()
    return {"cover": {name: copy for name, copy in plain.items() if name.endswith("newgidmap")}}


def not_installed(account):
    return {"cover": "no-helpers"}


def no_new_privs(account):
    return {"no_new_privs": True}


def no_uids(account):
    return {"cover": {"/etc/subuid": ""}}


def no_gids(account):
    return {"cover": {"/etc/subgid": ""}}


def too_far(account):
    return {"cover": {"/etc/subuid": lines("%s:4294967290:65536\n" % account.name)}}


def lines(text):
    place = os.path.join(support.SESSION.place("file"), "file")
    with open(place, "w") as file:
        file.write(text)
    os.chmod(place, 0o644)
    return place


SENTENCES = [
    # what is wrong; a part of why, a part of the fix
    (
        no_bit,
        "{newuidmap} has neither the setuid bit of root nor the file capability",
        "chmod 4755 {newuidmap}",
    ),
    (not_installed, "newuidmap is not installed", "uidmap"),
    (no_new_privs, "no_new_privs is set in the caller", "start from a login shell"),
    (no_uids, "/etc/subuid has no range for {user}", "usermod --add-subuids"),
    (no_gids, "/etc/subgid has no range for {user}", "--add-subgids"),
    (too_far, "/etc/subuid has no range for {user}", "usermod --add-subuids"),
    (
        one_bit,
        "{newgidmap} has neither the setuid bit of root nor the file capability",
        "chmod 4755 {newgidmap}",
    ),
]
each_sentence = pytest.mark.parametrize(
    "wrong, why, fix", SENTENCES, ids=[row[0].__name__ for row in SENTENCES]
)


def said(told, account, why, fix):
    """Whether the one record says WHY and FIX."""
    assert [record["code"] for record in told.warnings] == ["idmap-alone"], told.result
    record = told.warnings[0]
    names = dict(helpers(), user=account.name)
    assert why.format(**names) in record["why"], record
    assert fix.format(**names) in record["fix"], record
    assert (record["layer"], record["got"]) == ("id map", "the caller's own id")


@each_sentence
def test_each_obstacle_has_its_sentence_and_its_fix(minictr, busybox_root, ranged, wrong, why, fix):
    told = run(minictr, busybox_root, user=ranged, **wrong(ranged))

    assert told.result.status == 0, told.result
    said(told, ranged, why, fix)
    mapped, setgroups, owner, terminal = told.result.lines
    assert mapped.split() == ["0", str(ranged.uid), "1"] and setgroups == "deny"
    assert owner == "65534:65534" and terminal == "0:0"


@each_sentence
def test_strict_refuses_each(minictr, busybox_root, ranged, wrong, why, fix):
    told = run(minictr, busybox_root, "--strict", user=ranged, **wrong(ranged))

    assert told.result == (123, ""), told.result
    assert told.lines == ["minictr: " + told.errors[0]]
    names = dict(helpers(), user=ranged.name)
    assert told.errors[0].startswith("id map: a range of ids is required: ")
    assert why.format(**names) in told.errors[0] and fix.format(**names) in told.errors[0]


@each_sentence
def test_the_command_s_own_user_is_then_the_one_that_is_mapped(
    minictr, busybox_root, ranged, wrong, why, fix
):
    words = [
        "run",
        "--user",
        "app",
        "--rootfs",
        busybox_root,
        "--",
        "sh",
        "-c",
        "id -u; cat /proc/self/uid_map",
    ]
    told = ladders.tell(minictr, *words, user=ranged, **wrong(ranged))

    assert told.result.fields == ["1000", "1000", str(ranged.uid), "1"], told.result
    said(told, ranged, why, fix)


def as_root_first(minictr, account, root, *words, script=""):
    """minictr as ACCOUNT, after SCRIPT in a mount namespace of the command's own, started by WORDS."""
    command = list(words) + [support.python(), "-m", "minictr", "--root", minictr.state(account)]
    command += ["run", "--rootfs", root, "--", "cat", "/proc/self/uid_map"]
    script += " exec " + " ".join(command)
    result = minictr.command("unshare", "-m", "sh", "-c", script, env={"PYTHONPATH": support.checkout()})
    assert result.fields == ["0", str(account.uid), "1"], result
    assert len(result.err.splitlines()) == 1, result
    return result.err


def become(account):
    return ["setpriv", "--reuid=%d" % account.uid, "--regid=%d" % account.gid, "--clear-groups"]


@needs("unshare")
def test_a_mount_with_nosuid_is_named(minictr, busybox_root, ranged):
    folder = os.path.dirname(os.path.realpath(path("newuidmap")))
    script = "mount --bind {0} {0} && mount -o remount,bind,nosuid {0} &&".format(folder)
    said = as_root_first(minictr, ranged, busybox_root, *become(ranged), script=script)

    assert "%s lies on a mount with nosuid, where its setuid bit has no power" % path("newuidmap") in said
    assert "fix: as root: mount -o remount,suid " + folder in said


@needs("unshare")
@pytest.mark.parametrize("name", ["newuidmap", "newgidmap"])
def test_a_bounding_set_that_lacks_a_capability_is_named(minictr, busybox_root, ranged, name):
    capability = {"newuidmap": "setuid", "newgidmap": "setgid"}[name]
    words = become(ranged) + ["--bounding-set=-" + capability]
    said = as_root_first(minictr, ranged, busybox_root, *words)

    assert "the bounding set of the caller lacks CAP_%s, which %s needs" % (capability.upper(), name) in said
    assert "; fix: start from a login shell" in said


def test_groups_of_a_user_without_helpers_do_not_stop_the_start(minictr, busybox_root, ranged):
    """They cannot be taken away where a user has mapped itself alone: setgroups(2) is denied."""
    words = ["setpriv", "--reuid", str(ranged.uid), "--regid", str(ranged.gid)]
    words += ["--groups", "%d,2345" % ranged.gid, support.python(), "-m", "minictr"]
    words += ["--root", minictr.state(ranged), "run", "--rootfs", busybox_root, "--", "id", "-u"]
    env = {"PYTHONPATH": support.checkout(), "HOME": ranged.home}
    found = minictr.command(*words, cover="plain-helpers", env=env)

    assert (found.status, found.out) == (0, "0\n"), found
    assert "minictr: warning: id map: wanted a range of ids, got the caller's own id" in found.err


@pytest.mark.parametrize("maps", ["none to be had", "by option"])
def test_groups_that_come_inside_are_told_of(minictr, busybox_root, ranged, maps):
    """What is open to them is open to the program: the socket of a daemon that makes its users root, say."""
    place = support.SESSION.place("source")
    with open(place + "/file", "w") as file:
        file.write("for the group\n")
    os.chown(place + "/file", 0, 2345)
    os.chmod(place + "/file", 0o040)
    words = ["setpriv", "--reuid", str(ranged.uid), "--regid", str(ranged.gid)]
    words += ["--groups", "%d,2345" % ranged.gid, support.python(), "-m", "minictr"]
    words += ["--root", minictr.state(ranged), "run"]
    program = ["--rootfs", busybox_root, "-v", place + ":/tmp", "--", "cat", "/tmp/file"]
    cover = "plain-helpers"
    if maps == "by option":
        program[:0] = ["--uidmap", "0:%d:1" % ranged.uid, "--gidmap", "0:%d:1" % ranged.gid]
        cover = None
    env = {"PYTHONPATH": support.checkout(), "HOME": ranged.home}
    found = minictr.command(*(words + program), cover=cover, env=env)

    assert (found.status, found.out) == (0, "for the group\n"), found
    told = [line for line in found.err.splitlines() if line.startswith("minictr: warning: groups: ")]
    assert "wanted none of the caller's, got the caller's: 2345; " in told[0] and "; fix: " in told[0]
    found = minictr.command(*(words + ["--strict"] + program), cover=cover, env=env)
    assert (found.status, found.out) == (123, ""), found


def test_a_user_without_a_name_or_range(minictr, busybox_root):
    told = run(minictr, busybox_root, user=4000000000)

    assert told.result.status == 0, told.result
    assert "uid 4000000000 has no name, which newuidmap asks for" in told.warnings[0]["why"]
    assert "useradd --uid 4000000000" in told.warnings[0]["fix"]


def test_a_user_without_a_range(minictr, busybox_root, unranged):
    told = run(minictr, busybox_root, user=unranged)

    assert told.result.status == 0
    why = "/etc/subuid has no range for %s; /etc/subgid has no range for %s" % ((unranged.name,) * 2)
    said(told, unranged, why, "usermod --add-subuids")


# --- ranges that are there ------------------------------------------------------------------------


def test_a_range_by_the_number_of_the_user_is_as_good(minictr, busybox_root, ranged):
    text = lines("%d:%d:65536\n" % (ranged.uid, ranged.start))
    told = run(minictr, busybox_root, user=ranged, cover={"/etc/subuid": text, "/etc/subgid": text})

    assert (told.result.status, told.warnings) == (0, []), told.result
    assert told.result.lines[1].split() == ["1", str(ranged.start), "65536"]


def test_two_ranges_are_both_used(minictr, busybox_root, ranged):
    half = (ranged.name, ranged.start, ranged.name, ranged.start + 1000)
    text = lines("%s:%d:1000\n%s:%d:1000\n" % half)
    told = run(minictr, busybox_root, user=ranged, cover={"/etc/subuid": text, "/etc/subgid": text})

    assert (told.result.status, told.warnings) == (0, []), told.result
    assert [line.split() for line in told.result.lines[1:3]] == [
        ["1", str(ranged.start), "1000"],
        ["1001", str(ranged.start + 1000), "1000"],
    ]


@pytest.mark.parametrize(
    "words, kind, number, have, size",
    [
        (["--user", "70000"], "user", 70000, 65537, 65536),
        (["--user", "0:70000"], "group", 70000, 65537, 65536),
        (["--group-add", "70000"], "group", 70000, 65537, 65536),
        (["--user", "app"], "user", 1000, 11, 10),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_range_that_is_too_small_is_an_error_before_anything_is_done(
    minictr, busybox_root, ranged, words, kind, number, have, size
):
    text = lines("%s:%d:%d\n" % (ranged.name, ranged.start, size))
    covers = {"/etc/subuid": text, "/etc/subgid": text}
    told = run(minictr, busybox_root, *words, user=ranged, cover=covers)

    assert told.result == (125, ""), told.result
    expected = (
        "become %s %d: the container has %d ids, and %d is not among them; hint: a larger range in /etc/sub%s"
    )
    assert told.errors[0].startswith(expected % (kind, number, have, number, kind[0] + "id")), told.errors


def test_root_s_range_is_too_small_for_an_id_beyond_it(minictr, busybox_root):
    told = run(minictr, busybox_root, "--user", "70000")

    assert told.result == (125, "")
    assert told.errors[0].startswith("become user 70000: the container has 65536 ids")


@pytest.mark.parametrize("word, whom", [("uid=70000", "user 70000"), ("gid=70000", "group 70000")])
def test_the_owner_of_a_tmpfs_must_be_among_them(minictr, busybox_root, word, whom):
    told = run(minictr, busybox_root, "--tmpfs", "/tmp:%s" % word)

    assert told.result == (125, "")
    assert told.errors[0].startswith("give /tmp to %s: the container has 65536 ids, and 70000 is" % whom)


def test_nor_is_it_dropped_where_the_helpers_fail(minictr, busybox_root, ranged):
    words = ["--tmpfs", "/tmp:uid=1000"]
    assert run(minictr, busybox_root, *words, user=ranged).result.status == 0
    told = run(minictr, busybox_root, *words, user=ranged, cover="plain-helpers")

    assert told.result == (125, "")
    assert told.errors[0].startswith("give /tmp to user 1000: the container has 1 ids, and 1000 is")


@pytest.mark.parametrize("whose", ["root", "another user", "nobody"])
def test_ids_of_another_user_are_refused_by_the_helper(minictr, busybox_root, ranged, unranged, whose):
    start = {"root": 0, "another user": unranged.uid, "nobody": ranged.start + 65536}[whose]
    words = ["--uidmap", "0:%d:1" % start, "--gidmap", "0:%d:1" % ranged.gid]
    told = run(minictr, busybox_root, *words, user=ranged)

    assert told.result == (125, ""), told.result
    assert told.warnings == []
    assert told.errors[0].startswith("run %s: newuidmap: uid range [0-1) -> [%d" % (path("newuidmap"), start))
    assert told.errors[0].endswith(
        "not allowed; hint: take ids that /etc/subuid and /etc/subgid give to the user"
    )


def test_maps_that_only_helpers_could_write_are_an_error_without_them(minictr, busybox_root, ranged):
    words = ["--uidmap", "0:%d:100" % ranged.start]
    told = run(minictr, busybox_root, *words, user=ranged, cover="no-helpers")

    assert told.result == (125, "")
    assert told.errors[0].startswith("choose id maps: ") and "newuidmap is not installed" in told.errors[0]
