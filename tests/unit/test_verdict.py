"""The verdict on a label: what was asked for and is not in force is never called as asked."""

import json
import os

import jsonschema
import pytest

from minictr import host, isolation, kernel_files, lsm, plan, spec, twin, verdict

NAMES = {"apparmor": "box", "selinux": "u:r:box_t:s0"}
WHY = "there is no program to execute for it on vax"
ABSENT = object()
OUTSIDE = verdict.Outside(
    own=("user", "pid", "mount", "network", "ipc", "uts", "cgroup"), root_id=100000, hosts_root=False,
    bounding=0, effective=0, no_new_privs=True, seccomp=2, filters=1, cgroup=True,
)  # fmt: skip


def found(layer, name, shown):
    """As of a twin whose program was seen to have SHOWN, where NAME was asked for."""
    config = spec.default_config(["true"], "/tmp")
    config["process"][{"apparmor": "apparmorProfile", "selinux": "selinuxLabel"}[layer]] = name
    made = plan.make(spec.Spec(config=config, identifier="x", bundle="/"), host.probe(ranges=False), "/stage")
    return twin.Found(
        plan=made, way="pivot_root", attempts=(), outside=OUTSIDE, records=(),
        labels=() if shown is ABSENT else (shown,),
    )  # fmt: skip


def shown(layer, said="", held=False, lacks="", why=""):
    name = lsm.APPARMOR if layer == "apparmor" else lsm.SELINUX
    return verdict.Shown(layer=name, said=said, held=held, lacks=lacks, why=why)


@pytest.mark.parametrize("layer", sorted(NAMES))
@pytest.mark.parametrize(
    "seen, got, proven, ok",
    [
        ({"said": "box (enforce)", "held": True}, "box (enforce)", True, True),
        ({"said": "unconfined"}, "unconfined", True, False),
        ({"said": ""}, "none", True, False),
        ({"said": "box", "held": True, "lacks": "it is only logged"}, "box; it is only logged", True, False),
        ({"why": WHY}, "asked for, but not proven: " + WHY, False, True),
        (None, "none", False, False),
    ],
    ids=["in force", "another", "none", "without teeth", "not seen", "no such module"],
)
def test_what_is_said_of_a_label(layer, seen, got, proven, ok):
    made = found(layer, NAMES[layer], ABSENT if seen is None else shown(layer, **seen))
    row = [row for row in verdict.rows(made) if row.layer == layer][0]
    proof = ("label of a program read from outside",) if proven else ()
    assert (row.asked, row.got, row.proof, row.ok) == (NAMES[layer], got, proof, ok)
    others = [row for row in verdict.rows(made) if row.layer not in (layer, "root")]
    assert verdict.structure(made)["ok"] is (ok and all(row.ok for row in others))
    last = verdict.lines(made)[-1]
    assert ("not as asked" in last and layer in last) is not ok
    with open(os.path.join(os.path.dirname(__file__), "../report-schema.json")) as file:
        jsonschema.validate(verdict.structure(made), json.load(file))


@pytest.mark.parametrize(
    "profile, got, level",
    [
        ({"defaultAction": "SCMP_ACT_ERRNO"}, "1 in force", "rootless"),
        ({"defaultAction": "SCMP_ACT_ALLOW"}, "1 in force; its filter lets every system call pass", "none"),
    ],
)
def test_a_filter_that_holds_nothing_back_is_told(profile, got, level):
    config = spec.default_config(["true"], "/tmp")
    config["linux"].update(seccomp=profile)
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config["linux"]["gidMappings"] = config["linux"]["uidMappings"]
    wish = spec.Spec(config=config, identifier="x", bundle="/")
    made = twin.Found(
        plan=plan.make(wish, host.probe(ranges=False), "/stage"), way="pivot_root", attempts=(),
        outside=OUTSIDE, records=(), labels=(),
    )  # fmt: skip
    row = [row for row in verdict.rows(made) if row.layer == "seccomp"][0]
    assert (row.asked, row.got, row.ok) == ("a filter", got, True)
    assert verdict.level(made) == level


def test_no_profile_asked_for_is_none_had():
    made = found("apparmor", "unconfined", ABSENT)
    assert [row.ok for row in verdict.rows(made) if row.layer == "apparmor"] == [True]


def test_a_name_writes_no_line_of_its_own():
    made = found("selinux", "u:r\nlevel: rootless", ABSENT)
    assert "level: rootless" not in "\n".join(verdict.lines(made)).split("\n")[:-1]


@pytest.mark.parametrize(
    "mount, said",
    [
        ({"type": "sysfs", "options": ["ro"]}, ""),
        ({"type": "sysfs", "options": []}, "/sys can be written to"),
        ({"type": "tmpfs", "options": []}, ""),
        ({"type": "bind", "source": "/srv", "options": ["bind"]}, ""),
        ({"type": "bind", "source": "/sys", "options": ["rbind"]}, "/sys can be written to"),
        ({"type": "bind", "source": "/sys", "options": ["bind", "ro"]}, ""),
        ({"type": "bind", "source": "/sys", "options": ["rbind", "ro"]}, "/sys can be written to"),
        ({"type": "bind", "source": "/sys", "options": ["rbind", "rro"]}, ""),
    ],
    ids=[
        "read-only",
        "writable",
        "memory",
        "another directory",
        "the host's",
        "that alone, read-only",
        "read-only but for what is below",
        "read-only throughout",
    ],
)
def test_what_can_be_written_to_counts_if_it_is_the_kernels(mount, said):
    config = spec.default_config(["true"], "/tmp")
    kept = [entry for entry in config["mounts"] if not entry["destination"].startswith("/sys")]
    config["mounts"] = kept + [dict({"destination": "/sys", "source": mount["type"]}, **mount)]
    made = plan.make(spec.Spec(config=config, identifier="x", bundle="/"), host.probe(ranges=False), "/stage")
    assert kernel_files.uncovered(made) == said
    assert not kernel_files.writable(made, "/elsewhere")


@pytest.mark.parametrize(
    "rules, every",
    [
        ([], False),
        ([{"allow": True}], True),
        ([{"allow": True, "access": "r"}], True),
        ([{"allow": True, "access": "m"}], False),
        ([{"allow": True}, {"allow": False}], False),
        ([{"allow": True}, {"allow": False, "type": "b"}], True),
        ([{"allow": True}, {"allow": False, "access": "w"}], True),
        ([{"allow": True}, {"allow": False, "access": "rw"}], False),
        ([{"allow": True, "type": "b", "minor": 0}], True),
        ([{"allow": True, "type": "b"}, {"allow": False, "type": "b", "minor": 0}], True),
        ([{"allow": True, "type": "b", "minor": 0}, {"allow": False, "type": "b", "minor": 0}], False),
        ([{"allow": True, "type": "b", "minor": 0}, {"allow": False, "type": "b"}], False),
        ([{"allow": True, "type": "c", "major": 81}], False),
    ],
    ids=str,
)
def test_rules_that_name_no_major_number_are_for_every_device(rules, every):
    config = spec.default_config(["true"], "/tmp")
    config["linux"]["resources"] = {"devices": rules}
    made = plan.make(spec.Spec(config=config, identifier="x", bundle="/"), host.probe(ranges=False), "/stage")
    assert isolation.every_device(made) is every
