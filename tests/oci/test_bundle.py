"""The OCI form of `run`: properties of config.json, one by one.

A test with `runtime` holds for minictr and for runc and crun, which so judge the test; one with `own`
is about what minictr does in its own way, or what the judges at hand are too old for.
"""

import itertools
import json
import os
import resource
import signal
import stat
import subprocess
import textwrap

import bundles
import callers
import pytest
import support
from support import needs

from minictr import privileges
from minictr import spec as spec_module

pytestmark = needs("root", "busybox", "cgroup")

ALL = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


def lacks(runtime, *names):
    """Skip for the judges NAMES, which do not know the property."""
    if runtime.name in names:
        pytest.skip("%s does not have it in every version" % runtime.name)


# --- where a bundle comes from ------------------------------------------------------------------


@needs("runc")
@pytest.mark.parametrize("kind", ["root", "ranged", "unranged"])
def test_what_runc_prints_as_a_default_runs(runtime, bundle, request, kind):
    account = None if kind == "root" else request.getfixturevalue(kind)
    made = bundle(account=account)
    words = ["runc", "spec", "--bundle", made.path] + ([] if account is None else ["--rootless"])
    assert runtime.runner.command(*words, user=account).ok
    with open(made.path + "/config.json") as file:
        made.config = json.load(file)
    assert made.process["args"] == ["sh"]
    made.process["terminal"] = False
    made.config["ociVersion"] = "1.0.2"
    seen = runtime.look(made, user=account)
    assert seen.ids == ([0] * 4, [0] * 4, seen.ids[2])
    assert seen.hostname == "runc"
    assert seen.limit("Max open files") == ("1024", "1024")
    assert "nosuid" in seen.mount("/dev/shm").options
    assert "ro" in seen.mount("/").options
    if account is not None:
        assert seen.uid_map == [(0, account.uid, 1)]
        assert seen.gid_map == [(0, account.gid, 1)]


@pytest.mark.parametrize("kind", ["root", "ranged", "unranged"])
def test_what_minictr_prints_as_a_default_runs(runtime, bundle, request, kind):
    account = None if kind == "root" else request.getfixturevalue(kind)
    made = bundle(account=account)
    words = ["spec"] + ([] if account is None else ["--rootless"])
    made.config = json.loads(runtime.runner(*words, user=account, state=False).ok.out)
    if runtime.name == "crun":
        made.config["ociVersion"] = "1.0.2"
    seen = runtime.look(made, user=account)
    assert seen.ids[:2] == ([0] * 4, [0] * 4)
    assert seen.status["NoNewPrivs"] == "1"
    assert seen.capabilities("Eff") == set(spec_module.DEFAULT_CAPABILITIES)
    if account is not None:
        assert seen.uid_map == [(0, account.uid, 1)]


def test_the_bundle_is_the_current_directory_where_none_is_named(minictr, bundle):
    made = bundle()
    made.process["args"] = ["echo", "here"]
    made.save()
    assert minictr("run", made.identifier, cwd=made.path) == (0, "here\n", "")


def test_an_id_without_a_configuration_says_what_is_missing(minictr, tmp_path):
    hint = "to run the command ls put -- before it; a bundle is named by --bundle DIR"
    said = "minictr: run: no config.json in the current directory; hint: %s\n" % hint
    assert minictr("run", "ls", cwd=str(tmp_path)) == (125, "", said)


def test_the_root_may_be_named_by_an_absolute_path(runtime, bundle):
    made = bundle()
    made.config["root"]["path"] = made.root
    assert runtime.sh(made, "ls -d /bin/busybox").ok.out == "/bin/busybox\n"


def test_a_source_starts_from_the_bundle(runtime, bundle):
    made = bundle()
    os.mkdir(made.path + "/beside")
    open(made.path + "/beside/it", "w").close()
    made.config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": "beside", "options": ["bind", "ro"]}
    )
    assert runtime.sh(made, "ls /mnt").ok.out == "it\n"


@pytest.mark.parametrize("ids", ["host ids", "a user namespace"])
def test_a_file_may_tell_of_the_machine_in_place_of_the_kernels(runtime, bundle, tmp_path, ids):
    """As lxcfs has them, and podman on a host in FIPS mode."""
    made, told = bundle(), tmp_path / "told"
    told.write_text("MemTotal: 42 kB\n")
    if ids != "host ids":
        line = {"containerID": 0, "hostID": 300000, "size": 65536}
        made.namespaces("user")
        made.linux.update(uidMappings=[line], gidMappings=[line])
    names = "meminfo", "uptime", "stat", "sys/kernel/ns_last_pid"
    for name in names:
        mount = {
            "destination": "/proc/" + name,
            "type": "bind",
            "source": str(told),
            "options": ["bind", "ro"],
        }
        made.config["mounts"].append(mount)
    found = runtime.sh(made, "cd /proc; cat %s; cat self/comm; echo >meminfo" % " ".join(names))
    assert found.lines == ["MemTotal: 42 kB"] * 4 + ["cat"] and found.status == 1


def test_what_is_not_known_is_ignored(runtime, bundle):
    made = bundle()
    made.config["surprise"] = {"nested": [1, 2.5, None]}
    made.process["surprise"] = made.linux["surprise"] = made.config["root"]["surprise"] = "?"
    made.config["windows"] = {"layerFolders": ["x"]}
    assert runtime.sh(made, "echo well").ok.out == "well\n"


def test_null_is_as_good_as_absent(own, bundle):
    made = bundle()
    made.config.update(hostname=None, hooks=None, annotations=None)
    made.process.update(rlimits=None, capabilities=None, env=None, apparmorProfile=None)
    made.linux.update(sysctl=None, seccomp=None, resources=None, devices=None, maskedPaths=None)
    assert own.sh(made, "echo well").ok.out == "well\n"


# --- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("script, status", [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_status_is_the_programs(runtime, bundle, script, status):
    # process 1 ignores its own signals: a child is killed, and its status passed on
    made = bundle()
    assert runtime.sh(made, "sh -c '%s'; exit $?" % script).status == status


@pytest.mark.parametrize(
    "args, status, words",
    [
        (["no-such-program"], 127, 'exec: "no-such-program": executable file not found in $PATH'),
        (["/no/such"], 127, 'exec: "/no/such": stat /no/such: no such file or directory'),
        (["/loop"], 127, 'exec: "/loop": stat /loop: too many levels of symbolic links: no such file or'),
        (
            ["/etc/passwd/x"],
            127,
            'exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory: no such file or',
        ),
        (["/etc"], 126, 'exec: "/etc": is a directory'),
        (["/etc/passwd"], 126, 'exec: "/etc/passwd": permission denied'),
        (["/script"], 127, 'exec: "/script": no such file or directory; hint: '),
    ],
    ids=["not in PATH", "no file", "a loop", "in a file", "a directory", "no program", "no interpreter"],
)
def test_a_program_that_cannot_run_has_its_own_status(own, bundle, args, status, words):
    made = bundle()
    with open(made.root + "/script", "w") as file:
        file.write("#!/no/such/interpreter\n")
    os.chmod(made.root + "/script", 0o755)
    os.symlink("loop", made.root + "/loop")
    made.process["args"] = args
    found = own.run(made)
    assert (found.status, found.out) == (status, "")
    assert found.err.startswith("minictr: " + words), found


def test_an_id_is_free_again_after_the_end(runtime, bundle):
    made = bundle()
    for number in range(2):
        assert runtime.sh(made, "echo %d" % number).ok.out == "%d\n" % number


def test_an_id_is_taken_while_it_runs(runtime, bundle):
    made = bundle()
    made.process["args"] = ["sh", "-c", "echo up; read line"]
    live = runtime.start(made)
    live.expect("up\n")
    found = runtime.run(made)
    assert found.status != 0
    assert "exists" in found.err
    live.close_input()
    live.wait()


def test_a_detached_one_runs_on_and_has_its_pid_noted(runtime, bundle, tmp_path):
    made = bundle()
    made.process["args"] = ["sleep", "1000"]
    file = str(tmp_path / "pid")
    assert runtime.run(made, "--detach", "--pid-file", file).ok
    with open(file) as text:
        pid = int(text.read())
    try:
        with open("/proc/%d/cmdline" % pid) as text:
            assert text.read() == "sleep\0001000\000"
    finally:
        os.kill(pid, signal.SIGKILL)
        support.wait_until(lambda: support.gone(pid))
        runtime.delete(made)


# --- namespaces -----------------------------------------------------------------------------------

SHORT = {"network": "net", "mount": "mnt"}


def host_namespace(kind):
    return os.readlink("/proc/self/ns/" + SHORT.get(kind, kind))


def test_namespaces_are_new_where_they_are_named(runtime, bundle):
    seen = runtime.look(bundle())
    for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup"):
        assert seen.namespaces[SHORT.get(kind, kind)] != host_namespace(kind), kind
    for kind in ("user", "time"):
        assert seen.namespaces[kind] == host_namespace(kind), kind


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "cgroup", "pid"])
def test_a_namespace_that_is_not_named_is_the_hosts(runtime, bundle, kind):
    made = bundle()
    made.namespaces("-" + kind)
    if kind == "uts":
        del made.config["hostname"]
    if kind == "ipc":  # the host's mqueue is not the container's to mount again
        made.config["mounts"] = [m for m in made.config["mounts"] if m["type"] != "mqueue"]
    if kind == "pid":
        made.linux["maskedPaths"] = made.linux["readonlyPaths"] = []
    made.process["args"] = ["readlink", "/proc/self/ns/" + SHORT.get(kind, kind)]
    assert runtime.run(made).ok.out == host_namespace(kind) + "\n"


@pytest.fixture
def elsewhere():
    """A process in namespaces of its own, to be joined."""
    sleeper = subprocess.Popen(
        ["unshare", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child", "sh", "-c",
         "hostname elsewhere; echo up; exec sleep 1000"], stdout=subprocess.PIPE,
    )  # fmt: skip
    assert sleeper.stdout.readline() == b"up\n"
    yield "/proc/%d/ns/" % sleeper.pid
    sleeper.kill()
    sleeper.wait()
    sleeper.stdout.close()


@needs("unshare")
@pytest.mark.parametrize("kind", ["network", "ipc", "uts"])
def test_a_namespace_with_a_path_is_joined(runtime, bundle, elsewhere, kind):
    made = bundle()
    path = elsewhere + SHORT.get(kind, kind)
    made.namespaces(**{kind: path})
    if kind == "uts":
        made.config.pop("hostname")
    made.process["args"] = ["sh", "-c", "readlink /proc/self/ns/%s; hostname" % SHORT.get(kind, kind)]
    found = runtime.run(made).ok.lines
    assert found[0] == os.readlink(path)
    assert found[1] == {"uts": "elsewhere"}.get(kind, "minictr")


@needs("unshare")
def test_a_pid_namespace_with_a_path_is_joined(runtime, bundle, elsewhere):
    made = bundle()
    path = elsewhere + "pid_for_children"
    made.namespaces(pid=path)
    made.process["args"] = ["sh", "-c", "readlink /proc/self/ns/pid; ps -o args"]
    found = runtime.run(made).ok
    assert found.lines[0] == os.readlink(path)
    assert "sleep 1000" in found.out


def test_a_path_that_is_another_namespace_is_an_error(own, bundle):
    made = bundle()
    made.namespaces(network="/proc/self/ns/uts")
    found = own.run(made)
    assert found == (125, "", "minictr: join the network namespace: not a network namespace\n")


@needs("userns")
def test_a_user_namespace_has_the_maps_of_the_configuration(runtime, bundle):
    made = bundle()
    made.namespaces("user")
    made.linux["uidMappings"] = [
        {"containerID": 0, "hostID": 3000000, "size": 1000},
        {"containerID": 1000, "hostID": 4000000, "size": 10},
    ]
    made.linux["gidMappings"] = [{"containerID": 0, "hostID": 5000000, "size": 1000}]
    give(made, 3000000, 5000000)
    seen = runtime.look(made)
    assert seen.uid_map == [(0, 3000000, 1000), (1000, 4000000, 10)]
    assert seen.gid_map == [(0, 5000000, 1000)]
    assert seen.ids == ([0] * 4, [0] * 4, seen.ids[2])
    assert seen.namespaces["user"] != host_namespace("user")
    assert seen.node("/dev/null")[:4] == ("c", 0o666, 1, 3)


def give(bundle, uid, gid):
    """Have the root file system belong to a container whose 0 is UID and GID."""
    for folder, directories, files in os.walk(bundle.root):
        for name in directories + files + ["."]:
            os.lchown(os.path.join(folder, name), uid, gid)


@needs("timens")
def test_clocks_are_moved_in_a_time_namespace(own, bundle):
    made = bundle()
    made.namespaces("time")
    made.linux["timeOffsets"] = {"monotonic": {"secs": 5}, "boottime": {"secs": 86400 * 365, "nanosecs": 5}}
    with open("/proc/uptime") as file:
        before = file.read().split()[0]
    found = own.sh(made, "cut -d' ' -f1 /proc/uptime; cat /proc/self/timens_offsets").ok
    assert 86400 * 365 <= float(found.lines[0]) - float(before) < 86400 * 365 + 60
    assert found.fields[1:] == ["monotonic", "5", "0", "boottime", str(86400 * 365), "5"]


# --- mounts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, flags",
    [
        ([], "rw relatime"),
        (["ro"], "ro relatime"),
        (["ro", "rw"], "rw relatime"),
        (["nosuid", "nodev", "noexec"], "rw nosuid nodev noexec relatime"),
        (["nosuid", "suid", "nodev", "dev", "noexec", "exec"], "rw relatime"),
        (["noatime"], "rw noatime"),
        (["strictatime"], "rw"),
        (["noatime", "norelatime"], "rw noatime"),
        (["strictatime", "nostrictatime"], "rw relatime"),
        (["nodiratime"], "rw nodiratime relatime"),
        (["ro", "noexec", "relatime"], "ro noexec relatime"),
        (["ro", ""], "ro relatime"),  # as podman 5 has it with --systemd
        (["ro", "iversion"], "ro relatime"),  # which mount(2) knows alone
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else value.replace(" ", ","),
)
def test_a_tmpfs_has_the_flags_of_its_options(runtime, bundle, options, flags):
    made = bundle()
    if {"rw", "suid", "nostrictatime", "iversion"} & set(options):
        lacks(runtime, "crun")  # there a later option does not undo an earlier one, nor is iversion one
    if {"ro", "noexec", "relatime"} <= set(options):
        bundles.unlike(runtime, "crun", "sets nosymfollow for them", since=(1, 9))
    made.config["mounts"].append(
        {
            "destination": "/mnt",
            "type": "tmpfs",
            "source": "it",
            "options": options + ["size=64k", "mode=700"],
        }
    )
    found = runtime.look(made).mount("/mnt")
    assert found.options == set(flags.split())
    assert (found.kind, found.source) == ("tmpfs", "it")
    assert {"size=64k", "mode=700"} <= found.words


def test_flags_of_the_file_system_are_its_own(runtime, bundle):
    """Not of the mount alone."""
    lacks(runtime, "crun")
    made = bundle()
    options = ["sync", "dirsync", "lazytime"]
    made.config["mounts"].append({"destination": "/mnt", "type": "tmpfs", "source": "it", "options": options})
    assert set(options) <= runtime.look(made).mount("/mnt").words


def test_several_options_may_be_one_word(runtime, bundle):
    made = bundle()
    mount = {"destination": "/mnt", "type": "tmpfs", "source": "it", "options": ["mode=700,size=64k", "ro"]}
    made.config["mounts"].append(mount)
    found = runtime.look(made).mount("/mnt")
    assert {"size=64k", "mode=700"} <= found.words and "ro" in found.options


@needs("overlay")
@pytest.mark.parametrize("layers", [2, 12])
def test_an_overlay_may_have_many_layers(runtime, bundle, layers):
    """Whose names are longer together than fsconfig(2) takes: podman's of an image, say."""
    made = bundle()
    places = [support.SESSION.place("layer-" + "x" * 120) for _ in range(layers)]
    for number, place in enumerate(places):
        open("%s/%d" % (place, number), "w").close()
    mount = {"destination": "/mnt", "type": "overlay", "source": "/" + "s" * 300, "options": ["private"]}
    mount["options"].append("lowerdir=" + ":".join(places))
    made.config["mounts"].append(mount)
    assert sorted(runtime.sh(made, "ls /mnt").ok.fields) == sorted(map(str, range(layers)))


@needs("overlay")
@pytest.mark.parametrize("by", ["one word", "one word each"])
def test_the_place_of_a_layer_may_have_a_comma_in_it(own, bundle, by):
    """Behind a backslash, as overlayfs has it; podman gives all options of an overlay as one."""
    made = bundle()
    places = [support.SESSION.place("layer,ro,%d" % number) for number in range(2)]
    open(places[0] + "/a", "w").close()
    options = ["lowerdir=" + ":".join(place.replace(",", "\\,") for place in places), "userxattr", "ro"]
    options = [",".join(options)] if by == "one word" else options
    made.config["mounts"].append(
        {"destination": "/mnt", "type": "overlay", "source": "overlay", "options": options}
    )
    assert own.sh(made, "ls /mnt").ok.out == "a\n"


@needs("overlay")
def test_more_layers_than_the_kernel_reads_are_refused(own, bundle):
    made = bundle()
    places = [support.SESSION.place("layer-" + "x" * 180) for _ in range(30)]
    mount = {"destination": "/mnt", "type": "overlay", "source": "overlay"}
    mount["options"] = ["lowerdir=" + ":".join(places)]
    made.config["mounts"].append(mount)
    found = own.sh(made, "ls /mnt")
    why = "mount overlay on /mnt: its options are longer than mount(2) takes"
    assert found == (125, "", "minictr: %s\n" % why)


def test_recursive_options_hold_for_a_new_file_system(own, bundle):
    made = bundle()
    options = ["rro", "rnosuid", "rnoexec", "rnoatime", "nodev", "rdev"]
    made.config["mounts"].append({"destination": "/mnt", "type": "tmpfs", "source": "it", "options": options})
    assert own.look(made).mount("/mnt").options == {"ro", "nosuid", "noexec", "noatime"}


@pytest.mark.parametrize(
    "options, flags",
    [
        (["bind"], "rw"),
        (["rbind"], "rw"),
        (["bind", "ro"], "ro"),
        (["rbind", "ro", "nosuid", "nodev"], "ro nosuid nodev"),
        (["bind", "noexec", "nosuid"], "rw noexec nosuid"),
        (["bind", "ro", "rw"], "rw"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else value.replace(" ", ","),
)
def test_a_bind_mount_has_the_flags_of_its_options(runtime, bundle, options, flags):
    made = bundle()
    if "rw" in options:
        lacks(runtime, "crun")
    source = support.SESSION.place("source")
    mount = {"destination": "/mnt", "type": "bind", "source": source, "options": options}
    made.config["mounts"].append(mount)
    found = runtime.look(made).mount("/mnt")
    assert found.options - {"relatime"} == set(flags.split())
    assert found.root.endswith(source)


@needs("unshare")
@pytest.mark.parametrize("refused", [[], ["mount_setattr=ENOSYS"]], ids=["now", "before 5.12"])
@pytest.mark.parametrize(
    "source, options, flags",
    [
        ("noatime", ["bind", "relatime"], "rw,relatime"),
        ("noatime", ["bind", "ro"], "ro,noatime"),
        ("strictatime,nodiratime", ["bind", "ro"], "ro,nodiratime"),
        ("nodiratime", ["bind", "diratime"], "rw,relatime"),
    ],
)
def test_a_bind_mount_keeps_the_flags_that_its_options_do_not_take_back(
    minictr, bundle, source, options, flags, refused
):
    made, place = bundle(), support.SESSION.place("source")
    made.config["mounts"].append({"destination": "/mnt", "type": "bind", "source": place, "options": options})
    made.process["args"] = ["grep", " /mnt ", "/proc/self/mountinfo"]
    made.save()
    run = (support.python(), "-m", "minictr", "--root", minictr.state(), "run", "-b", made.path, "box")
    script = 'mount -t tmpfs -o %s it %s; exec "$@"' % (source, place)
    found = minictr.command(
        "unshare",
        "-m",
        "sh",
        "-c",
        script,
        "sh",
        *run,
        refuse=refused,
        env={"PYTHONPATH": support.checkout()},
    )
    assert found.ok.fields[5] == flags


def test_a_bind_mount_brings_what_lies_below_only_if_asked(runtime, bundle):
    made = bundle()
    source = support.SESSION.place("source")
    os.mkdir(source + "/below")
    for where, kind in (("/one", "bind"), ("/all", "rbind")):
        made.config["mounts"].append(
            {"destination": where, "type": "bind", "source": source, "options": [kind, "ro"]}
        )
    made.process["args"] = ["sh", "-c", "ls /one/below /all/below; [ -w /all/below ] && echo writable"]
    script = 'mount -t tmpfs x "$0/below" && touch "$0/below/it" && exec "$@"'
    found = runtime.run(made, wrap=["unshare", "-m", "sh", "-c", script, source])
    assert found.out == "/all/below:\nit\n\n/one/below:\nwritable\n", found


def test_a_source_that_is_a_link_is_mounted_itself_if_that_is_asked(own, bundle):
    made = bundle()
    source = support.SESSION.place("source")
    os.symlink("/etc/passwd", source + "/link")
    for where, options in (("/followed", ["bind"]), ("/itself", ["bind", "src-nofollow"])):
        made.config["mounts"].append(
            {"destination": where, "type": "bind", "source": source + "/link", "options": options}
        )
    script = "readlink /followed; readlink /itself; cmp /followed /etc/passwd >/dev/null || echo differs"
    assert own.sh(made, script).ok.out == "/etc/passwd\ndiffers\n"


def test_a_source_that_is_a_link_is_made_again_if_that_is_asked(runtime, bundle):
    """What podman's `no-dereference` becomes. The same link may be there already, and nothing else."""
    bundles.unlike(runtime, "runc", "does not know the option")
    if runtime.name == "crun" and bundles.version("crun") < (1, 9):
        pytest.skip("crun does not know the option")
    made, source = bundle(), support.SESSION.place("source")
    os.symlink("/etc/passwd", source + "/link")
    with open(source + "/file", "w") as file:
        file.write("whole\n")
    for where, name in (("/new/link", "link"), ("/there", "link"), ("/new/file", "file")):
        made.config["mounts"].append(
            {
                "destination": where,
                "type": "bind",
                "source": source + "/" + name,
                "options": ["rbind", "copy-symlink"],
            }
        )
    os.symlink("/etc/passwd", made.root + "/there")
    script = "readlink /new/link; readlink /there; cat /new/file"
    assert runtime.sh(made, script).ok.out == "/etc/passwd\n/etc/passwd\nwhole\n"
    os.unlink(made.root + "/there")
    with open(made.root + "/there", "w") as file:
        file.write("the image's\n")
    refused = runtime.sh(made, script)
    assert refused.status and refused.out == "", refused
    with open(made.root + "/there") as file:
        assert file.read() == "the image's\n"


def test_recursive_options_hold_for_what_lies_below(own, bundle):
    made = bundle()
    source = support.SESSION.place("source")
    os.mkdir(source + "/below")
    made.config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": source, "options": ["rbind", "rro", "rnosuid"]}
    )
    seen = look_in_mounts(own, made, 'mount -t tmpfs x "%s/below"' % source)
    for place in ("/mnt", "/mnt/below"):
        assert {"ro", "nosuid"} <= seen.mount(place).options


def look_in_mounts(runtime, bundle, script):
    """What a program sees where the runtime starts in mounts that SCRIPT has made for it."""
    bundle.process["args"] = ["sh", "-c", bundles.LOOK]
    found = runtime.run(bundle, wrap=["unshare", "-m", "sh", "-c", script + ' && exec "$@"', "sh"])
    return bundles.Seen(found.ok.out)


@needs("unshare")
@pytest.mark.parametrize(
    "option, tag", [("rprivate", ""), ("private", ""), ("rslave", "master"), ("slave", "master"),
                    ("rshared", "shared"), ("", "master")],
)  # fmt: skip
def test_a_mount_has_the_propagation_of_its_option(runtime, bundle, option, tag):
    made = bundle()
    source = support.SESSION.place("source")
    made.linux["rootfsPropagation"] = "rshared" if option == "rshared" else "rslave"
    options = ["rbind"] + ([option] if option else [])
    made.config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": source, "options": options}
    )
    script = 'mount --make-rprivate / && mount -t tmpfs x "%s" && mount --make-shared "%s"' % (source, source)
    seen = look_in_mounts(runtime, made, script)
    assert [word.split(":")[0] for word in seen.mount("/mnt").tags] == ([tag] if tag else [])


PROPAGATIONS = ("", "private", "rprivate", "slave", "rslave", "shared", "rshared")


def changed(runtime, made, *flags):
    """What MADE, whose program ends at once, changes on a host that shares its mounts, as with systemd."""
    made.process["args"] = ["true"]
    state = runtime.runner.state()  # on a mount of its own, as in /run: else that of / would not be shared
    script = """\
        mount --bind "$1" "$1" && shift && mkdir "$0/more" && mount -t tmpfs more "$0/more"
        mkdir "$0/more/proc" && mount -t proc proc "$0/more/proc" && mount --make-rshared /
        cut -d' ' -f3- /proc/self/mountinfo >"$0/before"
        "$@" || exit
        cut -d' ' -f3- /proc/self/mountinfo >"$0/after"
        diff "$0/before" "$0/after"
    """
    place = support.SESSION.place("mountinfo")
    wrap = ["unshare", "-m", "--propagation", "private", "sh", "-c", textwrap.dedent(script), place, state]
    return runtime.run(made, *flags, wrap=wrap).ok.out


@needs("unshare")
@pytest.mark.parametrize("propagation", PROPAGATIONS)
def test_nothing_of_the_container_is_mounted_on_a_host_that_shares_its_mounts(runtime, bundle, propagation):
    made = bundle()
    made.linux["rootfsPropagation"] = propagation
    assert changed(runtime, made) == ""


@needs("unshare")
@pytest.mark.parametrize("propagation", ["", "private", "shared", "rshared"])
def test_nor_does_it_lose_what_is_hidden_below_a_moved_root(own, bundle, propagation):
    made = bundle()
    made.linux["rootfsPropagation"] = propagation
    assert changed(own, made, "--no-pivot") == ""


@pytest.mark.parametrize("flags", [[], ["--no-pivot"]], ids=["pivot_root", "move"])
@pytest.mark.parametrize("propagation", ["unbindable", "runbindable"])
def test_the_root_can_be_unbindable(own, bundle, propagation, flags):
    made = bundle()
    made.linux["rootfsPropagation"] = propagation
    found = own.look(made, *flags)
    assert found.mount("/").tags == ["unbindable"]
    assert found.mount("/proc").tags == (["unbindable"] if propagation.startswith("r") else [])


@needs("unshare")
@pytest.mark.parametrize(
    "option, tag", [("rprivate", ""), ("rslave", "master"), ("unbindable", "unbindable")]
)
@pytest.mark.parametrize("root", ["shared", "rshared", "private"])
def test_a_mount_that_says_itself_how_it_spreads_does_not_take_it_from_the_root(
    runtime, bundle, root, option, tag
):
    if root == "rshared":
        bundles.unlike(runtime, "crun", "gives every mount what the root has")
    if root == "rshared":
        bundles.unlike(runtime, "runc", "makes the root shared after its mounts", since=(1, 2))
    made = bundle()
    source = support.SESSION.place("source")
    made.linux["rootfsPropagation"] = root
    made.config["mounts"] += [
        {"destination": "/mnt", "type": "bind", "source": source, "options": ["bind", option]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": [option]},
        {"destination": "/tmp/in", "type": "tmpfs", "source": "tmpfs"},
    ]
    script = 'mount --make-rprivate / && mount -t tmpfs x "%s" && mount --make-shared "%s"' % (source, source)
    seen = look_in_mounts(runtime, made, script)
    tags = [[w.split(":")[0] for w in seen.mount(point).tags] for point in ("/mnt", "/tmp", "/tmp/in")]
    inner = ["shared"] if root == "rshared" and runtime.name == "minictr" else []  # runc: not of its options
    assert tags == [[tag] if tag else [], ["unbindable"] if tag == "unbindable" else [], inner]


@needs("unshare")
def test_a_propagation_of_the_root_alone_is_not_that_of_what_is_mounted_in_it(runtime, bundle):
    made = bundle()
    made.linux["rootfsPropagation"] = "shared"
    source = support.SESSION.place("source")
    made.config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": source, "options": ["bind"]}
    )
    seen = look_in_mounts(runtime, made, "mount --make-rprivate /")
    assert [seen.mount(point).tags for point in ("/mnt", "/proc", "/dev/shm")] == [[], [], []]
    if runtime.name != "runc":  # which leaves the root private
        assert seen.mount("/").tags[0].startswith("shared:")


@needs("unshare")
def test_a_root_that_is_private_alone_leaves_volumes_what_the_host_mounts_in_them(runtime, bundle):
    made = bundle()
    made.linux["rootfsPropagation"] = "private"
    source = support.SESSION.place("source")
    made.config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": source, "options": ["bind"]}
    )
    script = 'mount --make-rprivate / && mount -t tmpfs x "%s" && mount --make-shared "%s"' % (source, source)
    script += ' && mkdir "%s/slave" && mount --bind "%s" "%s/slave"' % (source, source, source)
    script += ' && mount --make-slave "%s/slave"' % source
    made.config["mounts"][-1]["source"] = source + "/slave"
    seen = look_in_mounts(runtime, made, script)
    assert [word.split(":")[0] for word in seen.mount("/mnt").tags] == ["master"]


@needs("unshare")
def test_a_mount_point_of_the_hosts_may_have_any_name(own, bundle):
    made = bundle()
    made.process["args"] = ["echo", "well"]
    place = support.SESSION.place("host") + "/a b\\c\td\ne\ff\vg\x1ch\x85i\u2028j"
    os.mkdir(place)
    wrap = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs x "$0" && exec "$@"', place]
    found = own.run(made, "--no-pivot", wrap=wrap)
    assert found == (0, "well\n", "")


@needs("unshare")
def test_a_shared_mount_spreads_to_the_host(runtime, bundle):
    made = bundle()
    source = support.SESSION.place("source")
    os.mkdir(source + "/below")
    made.linux["rootfsPropagation"] = "rshared"
    made.config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": source, "options": ["rbind", "rshared"]}
    )
    made.process["capabilities"] = dict.fromkeys(("bounding", "permitted", "effective"), ["CAP_SYS_ADMIN"])
    made.process["args"] = ["sh", "-c", "mount -t tmpfs spread /mnt/below && echo ok"]
    script = """\
        mount --make-rprivate / && mount -t tmpfs x "$0" && mount --make-shared "$0" && mkdir "$0/below"
        "$@" || exit
        grep -c "^spread $0/below" /proc/mounts
    """
    wrap = ["unshare", "-m", "sh", "-c", textwrap.dedent(script), source]
    assert runtime.run(made, wrap=wrap).ok.out == "ok\n1\n"


def test_later_mounts_cover_earlier_ones(runtime, bundle):
    made = bundle()
    for name in ("one", "two"):
        made.config["mounts"].append(
            {"destination": "/mnt", "type": "tmpfs", "source": name, "options": ["nosuid"]}
        )
    seen = runtime.look(made)
    assert seen.mount("/mnt").source == "two"


def test_targets_are_made_although_the_root_is_read_only(runtime, bundle):
    made = bundle()
    source = support.SESSION.place("source")
    open(source + "/file", "w").close()
    made.config["root"]["readonly"] = True
    made.config["mounts"] += [
        {"destination": "/a/new/place", "type": "bind", "source": source, "options": ["bind"]},
        {"destination": "/a/new/file", "type": "bind", "source": source + "/file", "options": ["bind"]},
    ]
    found = runtime.sh(made, "ls -F /a/new; touch /a/x 2>&1; touch /a/new/place/x && echo yes").ok
    assert found.lines[:2] == ["file", "place/"]
    assert "Read-only file system" in found.lines[2]
    assert found.lines[3] == "yes"


@needs("unshare")
@pytest.mark.parametrize(
    "options, hint",
    [
        (["bind"], "nor without what is mounted below it in a user namespace: use rbind"),
        (["rbind", "nodiratime"], "nor change how it notes access times"),
        (["rbind", "rnoatime"], "nor change how it notes access times"),
        (["rbind", "suid"], "a user namespace can neither lift a stricter flag of the host's own mount"),
    ],
)
def test_what_a_user_namespace_keeps_of_the_hosts_mount_is_told(own, bundle, options, hint):
    made = bundle()
    source = support.SESSION.place("source")
    made.namespaces("user")
    lines = [{"containerID": 0, "hostID": 0, "size": 65536}]
    made.linux.update(uidMappings=lines, gidMappings=lines)
    made.config["mounts"].append(
        {"destination": "/mnt", "type": "none", "source": source, "options": options}
    )
    made.process["args"] = ["true"]
    script = 'mount -t tmpfs -o nosuid x "%s" && mkdir "%s/y" && mount -t tmpfs x "%s/y"' % ((source,) * 3)
    found = own.run(made, wrap=["unshare", "-m", "sh", "-c", script + ' && exec "$@"', "sh"])
    assert (found.status, found.out, found.err.count("\n")) == (125, "", 1)
    assert found.err.startswith("minictr: mount %s on /mnt: " % source) and hint in found.err
    assert "/proc/self" not in found.err


def test_what_cannot_be_bound_is_told(own, bundle):
    made = bundle()
    fresh = {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["unbindable"]}
    made.config["mounts"].append(fresh)
    made.linux["readonlyPaths"] = ["/mnt"]
    found = own.sh(made, "true")
    assert found == (
        125,
        "",
        "minictr: make /mnt read-only: Invalid argument; hint: it lies on an unbindable mount\n",
    )


def test_the_root_is_writable_if_it_is_not_said_otherwise(runtime, bundle):
    made = bundle()
    made.config["root"] = {"path": "rootfs"}
    assert runtime.sh(made, "echo x >/it").ok
    assert os.path.exists(made.root + "/it")


def test_a_tmpfs_copies_up_what_it_covers(own, bundle):
    made = bundle()
    made.config["mounts"].append(
        {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
    )
    found = own.sh(made, "ls /etc; stat -c %a /etc/passwd; grep -c ' /etc ' /proc/mounts").ok
    assert found.fields == ["group", "hostname", "passwd", "644", "1"]


def test_what_a_tmpfs_copies_up_is_as_it_was(own, bundle):
    """A set-user-ID bit too, which a change of owner takes away; links are not followed, and what is neither
    of these is left out: to open a FIFO would hold the start."""
    made = bundle()
    made.config["mounts"].append(
        {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
    )
    etc = made.root + "/etc/"
    os.symlink("/etc/no/such", etc + "link")
    os.mkfifo(etc + "fifo")
    os.mkdir(etc + "folder")
    with open(etc + "program", "w") as file:
        file.write("#!/bin/sh\n")
    for name, mode in (("program", 0o4751), ("folder", 0o3705)):
        os.chown(etc + name, 5, 6)
        os.chmod(etc + name, mode)
    script = "cd /etc; ls; readlink link; stat -c '%a %u %g' program folder; cat program"
    found = own.sh(made, script).ok
    names = ["folder", "group", "hostname", "link", "passwd", "program"]
    assert found.lines == names + ["/etc/no/such", "4751 5 6", "3705 5 6", "#!/bin/sh"]


def test_a_tmpfs_copies_up_a_tree_of_any_depth(own, bundle):
    made = bundle()
    made.config["mounts"].append(
        {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
    )
    deep = "n=0; while [ $n -lt 1500 ]; do mkdir -m 2750 d; cd -P d; n=$((n+1)); done; echo end >leaf"
    subprocess.run(["sh", "-c", deep], cwd=made.root + "/etc", check=True)
    os.mkdir(made.root + "/etc/d/e")
    os.chown(made.root + "/etc/d/e", 5, 6)
    script = "cd /etc; n=0; while cd -P d; do n=$((n+1)); done 2>/dev/null; echo $n; cat leaf; stat -c %a ."
    script += "; stat -c '%u %g' /etc/d/e; ls /etc"
    found = own.sh(made, script, setup=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)))
    subprocess.run(["rm", "-rf", made.root + "/etc/d"], check=True)
    assert found.ok.fields == ["1500", "end", "2750", "5", "6", "d", "group", "hostname", "passwd"]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"source": "/no/such"}, "mount /no/such on /mnt: "),
        ({"source": "/no\nsuch"}, "mount /no\\nsuch on /mnt: "),
        ({"destination": "/proc/x"}, "nothing may be mounted over /proc"),
        ({"destination": "/proc/self/attr/exec"}, "nothing may be mounted over /proc"),
        ({"destination": "/proc/meminfo"}, "the source is a directory, the target a file"),
        ({"type": "tmpfs", "destination": "/proc/stat", "options": []}, "nothing may be mounted over /proc"),
        ({"destination": "/"}, "a mount over the root"),
        ({"destination": "/etc/passwd"}, "the source is a directory, the target a file"),
        ({"type": "tmpfs", "destination": "/etc/passwd", "options": []}, "the target is not a directory"),
        ({"type": "no-such-fs", "options": []}, "mount no-such-fs on /mnt: "),
        ({"type": "tmpfs", "options": ["no-such-option"]}, "Unknown parameter 'no-such-option'"),
        ({"options": ["rbind", "readonly", "no-exec"]}, "readonly is no option of a bind mount"),
        ({"type": "none", "options": ["bind", "mode=700"]}, "mode=700 is no option of a bind mount"),
        ({"options": ["rbind", "a\nb"]}, "a\\nb is no option of a bind mount"),
        ({"options": ["bind", "remount", "ro"]}, "remount: a mount is made here, not changed; hint: "),
        ({"type": "tmpfs", "options": ["remount"]}, "remount: a mount is made here, not changed; hint: "),
        ({"type": "sysfs", "options": ["no-such-option"]}, "Unknown parameter 'no-such-option'"),
        ({"type": "devpts", "options": ["no-such-option"]}, "mount devpts on /mnt: "),
    ],
    ids=["no source", "no source in a line",
         "over proc", "over what a label is written to", "a directory over a file of proc",
         "memory over a file of proc",
         "over the root", "another kind", "no directory", "no file system", "no option",
         "no option of a bind", "nor of that", "nor in a line", "a changed bind", "a changed tmpfs",
         "no option of sysfs", "no option of devpts"],
)  # fmt: skip
def test_a_mount_that_cannot_be_is_an_error_in_one_line(own, bundle, change, words):
    made = bundle()
    source = support.SESSION.place("source")
    mount = {"destination": "/mnt", "type": "bind", "source": source, "options": ["bind"]}
    made.config["mounts"].append(dict(mount, **change))
    made.process["args"] = ["true"]
    found = own.run(made, "--allow-degraded")  # which is for what is not allowed here, and not for this
    assert (found.status, found.out, found.err.count("\n")) == (125, "", 1), found
    assert found.err.startswith("minictr: ") and words in found.err, found


@needs("idmap", "userns", "unshare")
@pytest.mark.parametrize("options", [[], ["idmap"], ["ridmap"]], ids=str)
def test_what_is_mounted_on_a_volume_stays_inside(minictr, busybox_copy, options):
    """Also where the host's mount is shared, as all are under systemd, and its copy was made outside."""
    bundle = bundles.Bundle(busybox_copy())
    bundle.namespaces("user")
    ids = [{"containerID": 0, "hostID": 3000000, "size": 65536}]
    bundle.linux.update(uidMappings=ids, gidMappings=ids)
    give(bundle, 3000000, 3000000)
    volume = support.SESSION.place("volume")
    mount = {"destination": "/mnt", "type": "bind", "source": volume, "options": ["rbind"] + options}
    bundle.config["mounts"].append(mount)
    for names in bundle.process["capabilities"].values():
        names.append("CAP_SYS_ADMIN")
    bundle.process["args"] = [
        "sh",
        "-c",
        "mount -t tmpfs none /mnt/sub && touch /mnt/sub/file && ls /mnt/sub",
    ]
    bundle.save()
    run = [support.python(), "-m", "minictr", "--root", minictr.state(), "run", "-b", bundle.path]
    script = "mount -t tmpfs none %s && mount --make-shared %s && mkdir %s/sub && %s && ls -A %s/sub" % (
        volume, volume, volume, " ".join(run + [bundle.identifier]), volume,
    )  # fmt: skip
    result = minictr.command("unshare", "-m", "sh", "-c", script, env={"PYTHONPATH": support.checkout()})

    assert (result.status, result.out) == (0, "file\n"), result


@needs("idmap", "userns")
@pytest.mark.parametrize("maps", ["the container's", "its own"])
def test_the_ids_of_a_mount_are_mapped(own, bundle, maps):
    made = bundle()
    source = support.SESSION.place("source")
    for name, uid in (("a", 0), ("b", 1000)):
        open(source + "/" + name, "w").close()
        os.chown(source + "/" + name, uid, uid)
    mount = {"destination": "/mnt", "type": "bind", "source": source, "options": ["bind", "idmap"]}
    made.namespaces("user")
    entries = [{"containerID": 0, "hostID": 3000000, "size": 65536}]
    made.linux["uidMappings"] = made.linux["gidMappings"] = entries
    if maps == "its own":  # the ids of the file system, shifted onto the container's
        mount["uidMappings"] = mount["gidMappings"] = [
            {"containerID": 0, "hostID": 3000000 + 10, "size": 65536 - 10}
        ]
    give(made, 3000000, 3000000)
    made.config["mounts"].append(mount)
    found = own.sh(made, "stat -c '%n %u %g' /mnt/*").ok
    shift = 10 if maps == "its own" else 0
    assert found.lines == ["/mnt/a %d %d" % (shift, shift), "/mnt/b %d %d" % (1000 + shift, 1000 + shift)]


# --- masked, read-only, devices -------------------------------------------------------------------


def test_masked_paths_are_empty(runtime, bundle):
    made = bundle()
    os.mkdir(made.root + "/secret")
    for name in ("secret/inside", "file"):
        with open(os.path.join(made.root, name), "w") as file:
            file.write("words")
    made.linux["maskedPaths"] = ["/secret", "/file", "/proc/keys", "/sys/firmware", "/no/such"]
    found = runtime.sh(made, "ls -A /secret /sys/firmware; cat /file /proc/keys; touch /secret/x 2>&1")
    assert found.out.splitlines()[:3] == ["/secret:", "", "/sys/firmware:"]
    assert "words" not in found.out and "keyring" not in found.out
    assert "Read-only file system" in found.out


def test_read_only_paths_are_not_writable(runtime, bundle):
    made = bundle()
    os.mkdir(made.root + "/frozen")
    made.linux["readonlyPaths"] = ["/frozen", "/proc/sys", "/no/such"]
    made.config["root"]["readonly"] = False
    script = "touch /frozen/x /etc/x; echo x >/proc/sys/kernel/hostname; ls /etc/x; ls -d /no"
    found = runtime.sh(made, script)
    assert found.out == "/etc/x\n"
    assert found.err.count("Read-only file system") == 2


def test_what_lies_below_a_read_only_path_is_not_writable_either(own, bundle):
    made = bundle()
    for place in ("/frozen", "/frozen/below"):
        made.config["mounts"].append({"destination": place, "type": "tmpfs", "source": "tmpfs"})
    made.linux["readonlyPaths"] = ["/frozen"]
    found = own.sh(made, "touch /frozen/x /frozen/below/x")
    assert found.err.count("Read-only file system") == 2, found


def test_a_masked_file_is_a_null_of_which_nothing_can_be_changed(own, bundle):
    """It is the host's own."""
    made = bundle()
    mode = os.stat("/dev/null").st_mode
    made.linux["maskedPaths"] = ["/etc/passwd"]
    found = own.sh(made, "stat -c %t:%T /etc/passwd; chmod {0:o} /etc/passwd".format(mode & 0o777))
    assert found.out == "1:3\n" and "Read-only file system" in found.err, found


def test_a_masked_path_that_leads_to_no_name_ends_the_start(own, bundle):
    made = bundle()
    made.linux["maskedPaths"] = ["/proc/self/exe"]
    found = own.sh(made, "true")
    assert found == (125, "", "minictr: mask /proc/self/exe: Too many levels of symbolic links\n")


@pytest.mark.parametrize("kind", ["maskedPaths", "readonlyPaths"])
@pytest.mark.parametrize("owner", ["the program", "nobody inside"])
def test_a_path_that_the_set_up_cannot_reach_is_not_left_open_to_the_program(own, bundle, kind, owner):
    """Root of a user namespace may not enter what belongs to a group that has no map; its owner may."""
    made = bundle()
    made.namespaces("user")
    start = 1700000000
    for name in ("uidMappings", "gidMappings"):
        made.linux[name] = [{"containerID": 0, "hostID": start, "size": 65536}]
    os.makedirs(made.root + "/closed/inner/deep")
    os.chown(made.root + "/closed", start + 1000 if owner == "the program" else 77, 77)
    os.chmod(made.root + "/closed", 0o700)
    made.linux[kind] = ["/closed/inner", "/closed/inner/deep"]
    made.process["user"] = {"uid": 1000, "gid": 1000}
    made.process["args"] = ["ls", "/closed/inner"]
    found = own.run(made)

    doing = "mask /closed/inner" if kind == "maskedPaths" else "make /closed/inner read-only"
    if owner == "the program":
        assert found == (125, "", "minictr: %s: Permission denied\n" % doing)
    else:
        assert found == (1, "", "ls: /closed/inner: Permission denied\n")


@pytest.mark.parametrize("spelt", ["/", "/etc/..", "/link"])
def test_the_root_itself_can_be_a_read_only_path(own, bundle, spelt):
    made = bundle()
    os.symlink("/", made.root + "/link")
    made.linux["readonlyPaths"] = [spelt]
    made.config["root"]["readonly"] = False
    found = own.sh(made, "touch /etc/x /dev/shm/x")
    assert found.err.count("Read-only file system") == 2


@pytest.mark.parametrize("spelt", ["/", "/etc/..", "/link"])
def test_the_root_itself_cannot_be_masked(own, bundle, spelt):
    made = bundle()
    os.symlink("/", made.root + "/link")
    made.linux["maskedPaths"] = [spelt]
    made.process["args"] = ["true"]
    assert own.run(made) == (125, "", "minictr: mask %s: it is the root itself\n" % spelt)


def test_the_default_devices_are_there(runtime, bundle):
    seen = runtime.look(bundle())
    for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
        assert seen.node("/dev/" + name) == ("c", 0o666, 1, minor, 0, 0)
    assert seen.node("/dev/tty")[:4] == ("c", 0o666, 5, 0)
    assert seen.links == {
        "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
    }  # fmt: skip


def test_devices_are_made_with_mode_and_owner(runtime, bundle):
    made = bundle()
    made.linux["devices"] = [
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 5, "gid": 6},
        {"path": "/dev/disk", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
        {"path": "/dev/deep/er", "type": "c", "major": 1, "minor": 3},
    ]
    seen = runtime.look(made)
    assert seen.node("/dev/fuse") == ("c", 0o640, 10, 229, 5, 6)
    assert seen.node("/dev/disk") == ("b", 0o600, 7, 0, 0, 0)
    assert seen.node("/dev/pipe")[:2] == ("p", 0o622)
    assert runtime.sh(made, "stat -c %t:%T /dev/deep/er").ok.out == "1:3\n"


@pytest.mark.parametrize("ids", ["host ids", "a user namespace"])
def test_the_maker_of_terminals_is_the_containers_own(runtime, bundle, ids):
    """Docker names it for --privileged."""
    made = bundle()
    made.linux["devices"] = [{"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2, "fileMode": 0o666}]
    if ids != "host ids":
        line = {"containerID": 0, "hostID": 300000, "size": 65536}
        made.namespaces("user")
        made.linux.update(uidMappings=[line], gidMappings=[line])
    script = "exec 3<>/dev/ptmx; ls /dev/pts; readlink /dev/ptmx"
    assert runtime.sh(made, script).ok.out in ("0\nptmx\npts/ptmx\n", "0\nptmx\n/dev/pts/ptmx\n")


@pytest.mark.parametrize("kind", ["c", "p"])
def test_a_device_may_be_there_already(runtime, bundle, kind):
    made = bundle()
    flag = stat.S_IFCHR if kind == "c" else stat.S_IFIFO
    os.mknod(made.root + "/node", flag | 0o600, os.makedev(1, 5) if kind == "c" else 0)
    made.linux["devices"] = [{"path": "/node", "type": kind, "major": 1, "minor": 5, "fileMode": 0o600}]
    found = runtime.sh(made, "stat -c '%F %a' /node")
    assert found.ok.out == "%s 600\n" % ("character special file" if kind == "c" else "fifo")


def test_the_links_of_dev_may_be_there_already(runtime, bundle):
    made = bundle()
    made.config["mounts"] = [
        entry for entry in made.config["mounts"] if not entry["destination"].startswith("/dev")
    ]
    os.symlink("/proc/self/fd/../fd", made.root + "/dev/fd")
    found = runtime.sh(made, "readlink /dev/fd; readlink /dev/stdin")
    assert found.ok.lines == ["/proc/self/fd/../fd", "/proc/self/fd/0"]


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_a_dev_that_is_read_only_has_its_devices_all_the_same(own, bundle, kind):
    made = bundle()
    mounts = [entry for entry in made.config["mounts"] if not entry["destination"].startswith("/dev")]
    options = ["nosuid", "ro", "mode=755"]
    made.config["mounts"] = mounts + [
        {"destination": "/dev", "type": kind, "source": kind, "options": options}
    ]
    made.linux["devices"] = [{"path": "/dev/deep/er", "type": "c", "major": 1, "minor": 3}]
    found = own.sh(made, "stat -c %t:%T /dev/deep/er; touch /dev/x 2>&1")
    assert found.lines == ["1:3", "touch: /dev/x: Read-only file system"]


@pytest.mark.parametrize("there", ["another device", "another kind", "a file", "a link to it", "a wider one"])
def test_what_is_there_in_the_place_of_a_device_is_an_error(own, bundle, there):
    """config-linux.md, "Devices": where it does not match."""
    made = bundle()
    node = made.root + "/node"
    if there == "a file":
        open(node, "w").close()
    elif there == "a link to it":
        os.symlink("/dev/zero", node)
    else:
        kind = stat.S_IFBLK if there == "another kind" else stat.S_IFCHR
        os.mknod(node, kind | 0o644, os.makedev(1, 3 if there == "another device" else 5))
    made.linux["devices"] = [{"path": "/node", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600}]
    found = own.sh(made, "true")
    if there == "a wider one":
        assert (
            found.status == 123
            and "devices: /node with the mode 600 and the owner 0:0 is required" in found.err
        )
        assert stat.S_IMODE(os.stat(node).st_mode) == 0o644
    else:
        assert found == (125, "", "minictr: make the device /node: File exists\n")


@pytest.mark.parametrize("mode", [0o020640, 0o060640])
def test_a_mode_with_a_type_in_it_does_not_change_that_of_the_device(own, bundle, mode):
    """Engines write one."""
    made = bundle()
    made.linux["devices"] = [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": mode}]
    assert own.look(made).node("/dev/x") == ("c", 0o640, 1, 3, 0, 0)


def test_a_device_that_is_not_allowed_cannot_be_used(runtime, bundle):
    made = bundle()
    made.linux["resources"] = {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 10, "minor": 250, "access": "r"},
        ]
    }
    script = """\
        mknod /none c 10 250; mknod /kmsg c 1 11; mknod /loop b 7 0
        for f in /none /kmsg /loop; do dd if=$f of=/dev/null count=0 2>&1; done
        echo x >/dev/null && echo null
    """
    made.config["root"]["readonly"] = False
    found = runtime.sh(made, textwrap.dedent(script))
    assert "can't open '/none': No such device" in found.out  # past the rules: nobody has that number
    assert "can't open '/kmsg': Operation not permitted" in found.out
    assert "can't open '/loop': Operation not permitted" in found.out
    assert found.out.endswith("null\n")


# --- the process ------------------------------------------------------------------------------------


def test_the_user_and_its_groups_are_those_of_the_configuration(runtime, bundle):
    made = bundle()
    made.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 7, 1001], "umask": 0o027}
    seen = runtime.look(made)
    assert seen.ids == ([1000] * 4, [1001] * 4, [5, 7, 1001])
    assert seen.umask == 0o027
    assert seen.capabilities("Eff") == seen.capabilities("Prm") == set()


def test_an_annotation_gives_nobody_the_callers_groups(own, bundle):
    """podman's --group-add keep-groups makes one, but so may an image. It is told of."""
    made = bundle()
    made.config["annotations"] = {"run.oci.keep_original_groups": "1"}
    made.process["user"] = {"uid": 1000, "gid": 1000}
    wrap = ["setpriv", "--groups", "70001,70002"]
    made.process["args"] = ["grep", "^Groups:", "/proc/self/status"]
    assert own.run(made, wrap=wrap).ok.fields == ["Groups:"]
    told = own.verb("explain", "--bundle", made.path, made.identifier).ok.out
    assert "groups: wanted the caller's, got none of them; the annotation" in told


@pytest.mark.parametrize("hooks", [{}, {"createRuntime": [{"path": "/bin/true"}]}], ids=["plain", "hooks"])
def test_explain_names_where_its_state_will_be(own, bundle, hooks):
    made = bundle()
    made.config["hooks"] = hooks
    made.save()
    told = own.verb("explain", "--bundle", made.path, made.identifier).ok.lines[0]
    place = own.runner.state() + "/" + made.identifier
    assert told.endswith("remember the container %s in %s" % (made.identifier, place))


def test_no_group_of_the_callers_is_kept(runtime, bundle):
    """CVE-2022-36109, CVE-2023-25173."""

    def join():
        os.setgroups([4, 24, 27])

    seen = runtime.look(bundle(), setup=join)
    assert seen.ids[2] == []


@pytest.mark.parametrize("umask", [0, 0o077])
def test_the_umask_is_0022_whatever_the_callers(runtime, bundle, umask):
    assert runtime.look(bundle(), umask=umask).umask == 0o022


@pytest.mark.parametrize(
    "name, line, soft, hard",
    [
        ("NOFILE", "Max open files", 100, 200),
        ("NPROC", "Max processes", 1000, 2000),
        ("CORE", "Max core file size", 0, 4096),
        ("STACK", "Max stack size", 1 << 20, 1 << 22),
        ("NICE", "Max nice priority", 0, 0),
        ("RTTIME", "Max realtime timeout", 7, 9),
    ],
)
def test_limits_are_set(runtime, bundle, name, line, soft, hard):
    made = bundle()
    made.process["rlimits"] = [{"type": "RLIMIT_" + name, "soft": soft, "hard": hard}]
    assert runtime.look(made).limit(line) == (str(soft), str(hard))


def test_the_environment_is_the_configurations_alone(runtime, bundle):
    made = bundle()
    words = ["PATH=/bin", "HOME=/here", "EMPTY=", "EQUALS=a=b=c", "SPACE= x ", "UNICODE=\u00e4\u20ac"]
    made.process["env"] = words
    assert runtime.look(made, env={"CANARY": "1"}).environment == words


@pytest.mark.parametrize("uid, home", [(0, "/root"), (1000, "/home/app"), (4321, "/")])
def test_home_comes_from_the_roots_own_passwd_where_it_is_not_given(runtime, bundle, uid, home):
    made = bundle()
    if uid == 4321:
        lacks(runtime, "crun")
    made.process["user"] = {"uid": uid, "gid": 0}
    made.process["env"] = ["PATH=/bin"]
    assert sorted(runtime.look(made).environment) == ["HOME=" + home, "PATH=/bin"]


def test_the_program_is_looked_for_in_the_path_of_the_configuration(runtime, bundle):
    made = bundle()
    os.mkdir(made.root + "/own")
    with open(made.root + "/own/tool", "w") as file:
        file.write("#!/bin/sh\necho own\n")
    os.chmod(made.root + "/own/tool", 0o755)
    made.process["env"] = ["PATH=/own:/bin"]
    made.process["args"] = ["tool"]
    assert runtime.run(made).ok.out == "own\n"


def test_arguments_are_passed_on_as_they_are(runtime, bundle):
    made = bundle()
    words = ["", " ", "a b", "$HOME", "\\", "\n", "-x", "\u20ac"]
    made.process["args"] = ["sh", "-c", 'for word; do printf "<%s>" "$word"; done', "sh"] + words
    assert runtime.run(made).ok.out == "".join("<%s>" % word for word in words)


@pytest.mark.parametrize("cwd", ["/", "/home/app", "/not/yet/there"])
def test_the_working_directory_is_that_of_the_configuration(runtime, bundle, cwd):
    made = bundle()
    made.config["root"]["readonly"] = False
    made.process["cwd"] = cwd
    assert runtime.look(made).cwd == cwd


def test_capabilities_are_those_of_the_configuration(runtime, bundle):
    made = bundle()
    made.process["capabilities"] = {
        "bounding": ALL + ["CAP_SYS_TIME"], "effective": ["CAP_CHOWN"], "permitted": ALL,
    }  # fmt: skip
    made.process["user"] = {"uid": 0, "gid": 0}
    made.process["noNewPrivileges"] = False
    seen = runtime.look(made)
    assert seen.capabilities("Bnd") == set(ALL + ["CAP_SYS_TIME"])
    assert seen.capabilities("Inh") == seen.capabilities("Amb") == set()
    assert seen.status["NoNewPrivs"] == "0"


def test_ambient_capabilities_reach_a_user_without_privileges(runtime, bundle):
    made = bundle()
    made.process["user"] = {"uid": 1000, "gid": 1000}
    names = ("bounding", "effective", "permitted", "inheritable", "ambient")
    made.process["capabilities"] = dict.fromkeys(names, ["CAP_NET_BIND_SERVICE"])
    seen = runtime.look(made)
    for name in ("Eff", "Prm", "Inh", "Amb", "Bnd"):
        assert seen.capabilities(name) == {"CAP_NET_BIND_SERVICE"}


def test_a_configuration_without_capabilities_leaves_none(runtime, bundle):
    bundles.unlike(runtime, "runc", "leaves the caller's", since=(1, 2))
    made = bundle()
    del made.process["capabilities"]
    seen = runtime.look(made)
    assert seen.capabilities("Eff") == seen.capabilities("Bnd") == set()


@pytest.mark.parametrize("options", [[], ["--strict"]], ids=["", "strict"])
def test_a_capability_that_nobody_knows_is_a_warning_and_left_out(own, bundle, tmp_path, options):
    made = bundle()
    for names in made.process["capabilities"].values():  # which are one list
        names.append("CAP_TIME_TRAVEL")
    said = "capabilities: wanted CAP_TIME_TRAVEL, got nothing; this kernel does not know the name; "
    said += "lost: what it allows"
    made.process["args"] = ["grep", "CapBnd", "/proc/self/status"]
    found = own.run(made, *options)
    assert (found.status, found.err) == (0, "minictr: warning: %s\n" % said), found
    assert int(found.fields[1], 16) == privileges.capability_mask(spec_module.DEFAULT_CAPABILITIES, 40)[0]

    log = str(tmp_path / "log")
    words = ["create"] + options + ["--bundle", made.path, made.identifier]
    assert own.verb("--log", log, "--log-format", "json", *words) == (0, "", "")
    assert own.verb("delete", "--force", made.identifier).ok
    with open(log) as file:
        line = json.loads(file.readline())
    assert (line["level"], line["msg"]) == ("warning", said)


@pytest.mark.parametrize("on", [True, False])
def test_no_new_privileges(runtime, bundle, on):
    made = bundle()
    made.process["noNewPrivileges"] = on
    assert runtime.look(made).status["NoNewPrivs"] == str(int(on))


def test_the_oom_score_is_set(runtime, bundle):
    made = bundle()
    made.process["oomScoreAdj"] = 321
    assert runtime.look(made).oom_score_adj == 321


def test_the_program_leads_a_session_of_its_own(runtime, bundle):
    assert runtime.look(bundle()).session == 1


def test_no_descriptor_reaches_the_program(runtime, bundle):
    """CVE-2024-21626."""
    read, write = os.pipe()
    os.set_inheritable(read, True)
    os.set_inheritable(write, True)
    try:
        found = runtime.look(bundle(), pass_fds=(read, write)).descriptors
    finally:
        os.close(read)
        os.close(write)
    assert found == [0, 1, 2]


def test_descriptors_are_passed_on_if_asked(runtime, bundle):
    def place():
        os.dup2(os.open("/etc/hostname", os.O_RDONLY), 3)
        os.dup2(3, 4)

    made = bundle()
    found = runtime.look(made, "--preserve-fds", "2", setup=place, pass_fds=(3, 4)).descriptors
    assert found == [0, 1, 2, 3, 4]


def test_a_terminal_is_the_containers_own(runtime, bundle):
    bundles.unlike(runtime, "crun", "shows the number of its terminal otherwise", since=(1, 9))
    made = bundle()
    made.process["terminal"] = True
    made.process["consoleSize"] = {"height": 33, "width": 77}
    made.process["args"] = ["sh", "-c", "tty; stat -c %t /dev/console; test -t 0 -a -t 1 -a -t 2 && echo yes"]
    found = runtime.run(made, tty=True)
    assert found.status == 0
    # 88 is 136, the major number of pseudo terminals
    assert found.out.replace("\r", "") == "/dev/pts/0\n88\nyes\n"


@pytest.mark.parametrize("one, other", list(itertools.permutations(callers.LOCALES, 2)))
def test_a_bundle_says_the_same_in_every_locale_whoever_goes_on_with_it(own, box, one, other):
    """Its texts are UTF-8, as of every JSON, whatever Python takes names for."""
    text = "\u00e4\u20ac"

    def change(made):
        made.process["env"] += ["TEXT=" + text]
        made.config["annotations"] = {text: text}
        words = ["sh", "-c", 'cat >/dev/null; printf %s "$0" >%s/said' % ("%s", made.path), text]
        made.config["hooks"] = {"poststop": [{"path": "/bin/sh", "args": words}]}
        made.process["args"] = ["sh", "-c", 'printf \'%s|%s\' "$0" "$TEXT" >/said; sleep 1000', text]
        made.config["root"]["readonly"] = False

    made = box(In(own, callers.locale(one)), change=change, verb="create")
    made.runtime = In(own, callers.locale(other))
    assert made.verb("start").ok.out == ""
    said = made.bundle.root + "/said"
    support.wait_until(lambda: os.path.exists(said) and os.path.getsize(said))
    with open(said, "rb") as file:
        assert file.read().decode("utf-8") == text + "|" + text
    found = own.verb("exec", made.id, "sh", "-c", 'printf %s "$TEXT"', env=callers.locale(other))
    assert found.ok.raw_out.decode("utf-8") == text
    assert json.loads(made.verb("state").ok.out)["annotations"] == {text: text}
    assert made.verb("delete", "--force").ok
    with open(made.bundle.path + "/said", "rb") as file:
        assert file.read().decode("utf-8") == text


class In:
    """The runtime in an environment."""

    name = "minictr"

    def __init__(self, runtime, env):
        self.runtime, self.env = runtime, env

    def verb(self, *words, **how):
        return self.runtime.verb(*words, env=self.env, **how)

    def start_verb(self, *words, **how):
        return self.runtime.start_verb(*words, env=self.env, **how)


# --- the kernel's names and numbers -----------------------------------------------------------------


def test_the_host_name_is_the_configurations(runtime, bundle):
    made = bundle()
    made.config["hostname"] = "a-name.example"
    assert runtime.look(made).hostname == "a-name.example"


def test_the_domain_name_is_the_configurations(own, bundle):
    made = bundle()
    made.config["domainname"] = "example.org"
    assert own.sh(made, "cat /proc/sys/kernel/domainname").ok.out == "example.org\n"


def test_a_kernel_parameter_that_is_not_there_is_told_as_that(own, bundle):
    """Not in words that podman takes for a program which was not found."""
    made = bundle()
    made.linux["sysctl"] = {"net.ipv4.no_such": "1"}
    words = "minictr: set sysctl net.ipv4.no_such: there is no parameter of that name\n"
    assert own.run(made) == (125, "", words)


def test_a_host_name_of_its_own_and_one_as_a_kernel_parameter_contradict_each_other(runtime, bundle):
    made = bundle()
    made.config["hostname"] = "one"
    made.linux["sysctl"] = {"kernel.hostname": "another"}
    run = runtime.sh(made, "hostname")
    assert run.status and not run.out and "kernel.hostname" in run.err, run


@pytest.mark.parametrize(
    "name, value, path",
    [
        ("net.ipv4.ip_forward", "1", "net/ipv4/ip_forward"),
        ("net.ipv4.ping_group_range", "0\t7", "net/ipv4/ping_group_range"),
        ("kernel.shmmni", "77", "kernel/shmmni"),
        ("fs.mqueue.msg_max", "11", "fs/mqueue/msg_max"),
        ("kernel.domainname", "h\u00f6hle", "kernel/domainname"),
        ("net/ipv4/ip_unprivileged_port_start", "80", "net/ipv4/ip_unprivileged_port_start"),
    ],
)
def test_kernel_parameters_are_set(runtime, bundle, name, value, path):
    if "/" in name:
        lacks(runtime, "runc", "crun")
    made = bundle()
    made.linux["sysctl"] = {name: value}
    with open("/proc/sys/" + path) as file:
        before = file.read()
    assert runtime.sh(made, "cat /proc/sys/" + path).ok.out == value + "\n"
    with open("/proc/sys/" + path) as file:
        assert file.read() == before


@needs("unshare")
@pytest.mark.parametrize(
    "kind, change, look",
    [
        ("network", ("sysctl", {"net.ipv4.ip_default_ttl": "99"}), "cat /proc/sys/net/ipv4/ip_default_ttl"),
        ("ipc", ("sysctl", {"kernel.shmmni": "77"}), "cat /proc/sys/kernel/shmmni"),
        ("uts", ("hostname", "changed"), "hostname"),
    ],
    ids=["network", "ipc", "uts"],
)
@pytest.mark.parametrize("whose", ["ours", "another's"])
def test_nothing_is_set_in_our_own_namespace_by_its_path(minictr, bundle, kind, change, look, whose):
    made, (name, value) = bundle(), change
    made.config.pop("hostname", None)
    (made.linux if name == "sysctl" else made.config)[name] = value
    made.process["args"] = ["sh", "-c", look]
    made.save()
    run = " ".join([support.python(), "-m", "minictr", "--root", minictr.state(), "run", "-b", made.path])
    file = {"network": "net"}.get(kind, kind)
    other = "" if whose == "ours" else "unshare --%s " % file
    script = """
        %ssleep 100 & other=$!; sleep 0.2
        sed -i 's|"type": "%s"|&, "path": "/proc/'$other'/ns/%s"|' %s/config.json
        before=$(%s); %s box; echo $?; [ "$before" = "$(%s)" ] && echo as before; kill $other
    """ % (other, kind, file, made.path, look, run, look)
    result = minictr.command("unshare", "-nui", "sh", "-c", script, env={"PYTHONPATH": support.checkout()})

    if whose == "ours":
        assert result.lines == ["125", "as before"], result
        assert "needs a namespace of the kind %s, other than ours" % kind in result.err
    else:
        assert result.lines[1:] == ["0", "as before"], result
        assert result.lines[0] in ("99", "77", "changed")


def test_loopback_is_up(runtime, bundle):
    assert runtime.sh(bundle(), "ping -c 1 -W 5 127.0.0.1 >/dev/null && echo up").ok.out == "up\n"


@needs("seccomp")
def test_system_calls_are_filtered(runtime, bundle):
    made = bundle()
    made.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["kexec_load"], "action": "SCMP_ACT_KILL"},
        ],
    }
    made.config["root"]["readonly"] = False
    found = runtime.sh(made, "grep ^Seccomp: /proc/self/status; mkdir /x 2>&1; ls -d /x 2>&1")
    assert found.fields[:2] == ["Seccomp:", "2"]
    assert "mkdir: can't create directory '/x': No space left on device\n" in found.out
    assert "No such file" in found.out


@pytest.mark.parametrize("free", [True, False], ids=["with new privileges", "without"])
@needs("seccomp")
def test_a_filter_without_no_new_privileges_holds_for_a_user_too(runtime, bundle, free):
    made = bundle()
    made.process["user"] = {"uid": 1000, "gid": 1000}
    made.process["noNewPrivileges"] = not free
    made.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["uname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    }
    found = runtime.sh(made, "grep -e ^Seccomp: -e ^NoNew /proc/self/status; uname 2>&1")
    assert found.lines == ["NoNewPrivs:\t%d" % (not free), "Seccomp:\t2", ""], found


@needs("seccomp")
def test_where_no_filter_can_be_had_a_bundle_is_refused(own, bundle):
    made = bundle()
    made.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    found = own.sh(made, "echo started", refuse=["seccomp"])
    assert (found.status, found.out) == (123, "")
    assert found.err.startswith("minictr: seccomp: a filter of system calls is required: ")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="elsewhere a kernel may know one personality only")
def test_the_personality_is_set(own, bundle):
    made = bundle()
    made.linux["personality"] = {"domain": "LINUX32"}
    assert own.sh(made, "uname -m").ok.out == "i686\n"


# --- cgroups ----------------------------------------------------------------------------------------


@needs("cgroup1")
@pytest.mark.parametrize(
    "resources, controller, files",
    [
        ({"memory": {"limit": 67108864}}, "memory", {"memory.limit_in_bytes": "67108864"}),
        ({"memory": {"reservation": 8388608}}, "memory", {"memory.soft_limit_in_bytes": "8388608"}),
        ({"cpu": {"quota": 50000, "period": 200000}}, "cpu",
         {"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "200000"}),
        ({"cpu": {"shares": 512}}, "cpu", {"cpu.shares": "512"}),
        ({"cpu": {"cpus": "0", "mems": "0"}}, "cpuset", {"cpuset.cpus": "0", "cpuset.mems": "0"}),
        ({"pids": {"limit": 33}}, "pids", {"pids.max": "33"}),
    ],
    ids=["memory", "reservation", "quota", "shares", "cpus", "pids"],
)  # fmt: skip
def test_limits_are_in_force_on_v1(runtime, bundle, resources, controller, files):
    made = bundle()
    made.namespaces("-cgroup")
    made.linux["resources"] = resources
    made.process["args"] = ["sh", "-c", "cat /proc/self/cgroup; echo up; read line"]
    live = runtime.start(made)
    lines = live.expect("up\n").decode().splitlines()
    group = [line.split(":")[2] for line in lines if controller in line.split(":")[1].split(",")][0]
    point = [
        point for kind, point in support.cgroup_mounts() if controller in os.path.basename(point).split(",")
    ]
    for name, value in files.items():
        with open(point[0] + group + "/" + name) as file:
            assert file.read().strip() == value
    assert group.endswith("/" + made.identifier)
    live.close_input()
    live.wait()


@needs("cgroup1")
def test_memory_for_tcp_is_limited_on_v1_and_that_of_the_kernel_by_no_kernel(own, bundle):
    """runc leaves both out, with a warning."""
    name = "memory.kmem.tcp.limit_in_bytes"
    if not any(os.path.exists("%s/%s" % (point, name)) for _, point in support.cgroup_mounts()):
        pytest.skip("the kernel has no limit of memory for TCP")
    made, file = bundle(), "/sys/fs/cgroup/memory/" + name
    made.config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"})
    made.linux["resources"] = {"memory": {"kernelTCP": 52428800}}
    assert own.sh(made, "cat " + file).ok.out == "52428800\n"
    made.linux["resources"]["memory"]["kernel"] = 52428800
    found = own.sh(made, "cat " + file)
    assert (found.status, found.out) == (123, ""), found
    assert found.err == (
        "minictr: cgroup: memory kernel 52428800 is required: Linux has given it up in 5.16; "
        "hint: leave it out: `limit` counts that memory, too\n"
    )
    assert own.run(made, "--allow-degraded").out == "52428800\n"


def test_too_many_processes_are_refused(runtime, bundle):
    made = bundle()
    made.linux["resources"] = {"pids": {"limit": 5}}
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 0.3 & done; wait; echo end"
    found = runtime.sh(made, script)
    assert "can't fork" in found.err


@needs("cgroup1")
def test_what_is_mounted_is_of_the_version_that_was_asked_for(own, bundle):
    made = bundle()
    made.config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup"})
    made.process["args"] = ["true"]
    said = "mount cgroup2 on /sys/fs/cgroup: the container's cgroups are of version 1"
    found = own.run(made)
    assert found == (125, "", "minictr: %s; hint: the type cgroup mounts them\n" % said)


def test_cgroups_are_mounted_whatever_their_name_has(own, bundle):
    """Of what Python takes for the end of a line the kernel knows one alone."""
    made = bundle()
    made.namespaces("-cgroup")
    made.linux["cgroupsPath"] += "/a\u2028b"
    made.config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"})
    assert own.sh(made, "find /sys/fs/cgroup -name cgroup.procs | head -n 1").ok.out.strip()


@pytest.fixture
def halves():
    """What covers each hierarchy with a cgroup of it: as a container sees them that was given its host's
    cgroup namespace, in which an engine runs."""
    points = [point for kind, point in support.cgroup_mounts() if kind == "cgroup"]
    points = points or [point for _, point in support.cgroup_mounts()]
    covers = {point: "%s/minictr-test-%d-half" % (point, os.getpid()) for point in points}
    for point, place in covers.items():
        os.mkdir(place)
        for name in ("cpuset.cpus", "cpuset.mems") if "cpuset" in os.path.basename(point).split(",") else ():
            with open(os.path.join(point, name)) as above, open(os.path.join(place, name), "w") as file:
                file.write(above.read())
    yield covers
    for place in covers.values():
        os.rmdir(place)


@needs("cgroup")
def test_a_containers_own_cgroup_is_mounted_where_the_host_shows_but_a_part_of_them(own, bundle, halves):
    """Docker in Docker, on v1, where both are in the host's cgroup namespace."""
    made = bundle()
    made.namespaces("-cgroup")
    made.config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"})
    script = (
        "grep -h -x 1 $(find /sys/fs/cgroup -name cgroup.procs -maxdepth 2) | wc -l; cat /proc/self/cgroup"
    )
    count, *paths = own.sh(made, script, cover=halves).ok.lines
    assert int(count) >= len(halves)
    assert len([line for line in paths if "-half/" + made.identifier in line]) == len(halves), paths


# --- steps down ------------------------------------------------------------------------------------


def put(config, path, value):
    names = path.split(".")
    for name in names[:-1]:
        config = config[name]
    config[names[-1]] = value


def test_strict_refuses_even_where_degraded_is_allowed(own, bundle):
    made = bundle()
    assert own.run(made, "--allow-degraded", "--strict", refuse=["pivot_root"]).status == 123


def test_an_empty_property_asks_for_nothing(own, bundle):
    made = bundle()
    made.config["hooks"] = {}
    made.process["apparmorProfile"] = made.process["selinuxLabel"] = made.linux["mountLabel"] = ""
    made.linux["netDevices"] = {}
    made.process["args"] = ["true"]
    assert own.run(made).ok


def test_a_step_down_is_refused_in_this_form(own, bundle):
    made = bundle()
    made.process["args"] = ["echo", "ran"]
    found = own.run(made, refuse=["pivot_root"])
    assert (found.status, found.out) == (123, "")
    assert found.err.startswith("minictr: root: pivot_root is required: ")


def test_a_step_down_is_a_warning_if_that_is_allowed(own, bundle):
    made = bundle()
    made.process["args"] = ["echo", "ran"]
    found = own.run(made, "--allow-degraded", refuse=["pivot_root"])
    assert (found.status, found.out) == (0, "ran\n")
    assert found.err.startswith("minictr: warning: root: wanted pivot_root, got move")


def test_steps_down_stand_in_the_state(own, bundle):
    made = bundle()
    made.config["annotations"] = {"a": "b"}
    made.process["args"] = ["sh", "-c", "echo up; read line"]
    live = own.start(made, "--allow-degraded", refuse=["pivot_root"])
    live.expect("up\n")
    state = json.loads(own.runner("state", made.identifier).ok.out)
    assert state["status"] == "running" and state["bundle"] == made.path
    assert state["annotations"]["a"] == "b"
    records = json.loads(state["annotations"]["org.minictr.degradations"])
    assert [record["code"] for record in records] == ["root-move"]
    live.close_input()
    live.wait()


@pytest.mark.parametrize(
    "asked, levels",
    [
        ({"fileMode": 0o644, "uid": 5, "gid": 6}, []),
        ({"fileMode": 0o640, "uid": 5, "gid": 6}, ["warning"]),
        ({"fileMode": 0o666, "uid": 5, "gid": 6}, ["notice"]),
        ({"fileMode": 0o644, "uid": 5, "gid": 7}, ["notice"]),
    ],
    ids=["alike", "more open", "less open", "another owner"],
)
def test_a_device_that_is_bound_with_another_mode_or_owner_is_told_of(own, bundle, asked, levels):
    made = bundle()
    made.namespaces("user")
    made.linux["uidMappings"] = made.linux["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    place = support.SESSION.place("node") + "/it"
    os.mknod(place, 0o644 | stat.S_IFCHR, os.makedev(10, 250))
    os.chown(place, 5, 6)
    made.linux["devices"] = [dict(asked, path=place, type="c", major=10, minor=250)]
    made.process["args"] = ["sh", "-c", "stat -c '%%a %%u %%g' %s; read line" % place]
    live = own.start(made, "--allow-degraded")
    live.expect("644 5 6\n")
    state = json.loads(own.runner("state", made.identifier).ok.out)
    live.close_input()
    live.wait()
    records = json.loads(state["annotations"].get("org.minictr.degradations") or "[]")
    assert [(record["code"], record["level"]) for record in records] == [
        ("device-bound", level) for level in levels
    ]
    made.process["args"] = ["true"]
    assert own.run(made).status == (123 if levels == ["warning"] else 0)


def test_mode_and_owner_of_a_device_that_is_bound_are_not_the_containers(own, bundle):
    """Such are /dev/null and all others in a user namespace, and its root may be the host's."""
    made = bundle()
    made.namespaces("user")
    made.linux["uidMappings"] = made.linux["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    place = support.SESSION.place("node") + "/it"
    os.mknod(place, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.chmod(place, 0o602)
    made.linux["devices"] = [{"path": place, "type": "c", "major": 1, "minor": 3, "fileMode": 0o602}]
    found = own.sh(made, "chmod 666 {0}; chown 7 {0}; echo x >{0} && echo written".format(place))
    assert (found.status, found.out) == (0, "written\n"), found
    state = os.stat(place)
    assert (stat.S_IMODE(state.st_mode), state.st_uid) == (0o602, 0)


@pytest.mark.parametrize("kind", ["nothing", "another kind", "another number", "a link to it"])
def test_what_is_no_such_device_of_the_hosts_is_not_bound(own, bundle, kind):
    made = bundle()
    made.namespaces("user")
    made.linux["uidMappings"] = made.linux["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    place = support.SESSION.place("node") + "/it"
    if kind == "a link to it":
        os.symlink("/dev/null", place)
    elif kind != "nothing":
        flag = stat.S_IFBLK if kind == "another kind" else stat.S_IFCHR
        os.mknod(place, 0o666 | flag, os.makedev(1, 5 if kind == "another number" else 3))
    made.linux["devices"] = [{"path": place, "type": "c", "major": 1, "minor": 3}]
    found = own.sh(made, "true")
    why = "the host has no %s" % place if kind == "nothing" else "the host's is another device"
    assert found == (125, "", "minictr: make the device %s: %s\n" % (place, why))


def test_a_pipe_is_made_where_no_other_device_can_be(own, bundle):
    made = bundle()
    made.namespaces("user")
    made.linux["uidMappings"] = made.linux["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    made.linux["devices"] = [{"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 5, "gid": 6}]
    assert own.sh(made, "stat -c '%F %a %u %g' /dev/pipe").ok.out == "fifo 622 5 6\n"


@needs("seccomp")
def test_a_pipe_of_the_hosts_is_none_of_the_containers(own, bundle):
    """Not even where none can be made."""
    made = bundle()
    place = support.SESSION.place("pipe") + "/it"
    os.mkfifo(place)
    made.linux["devices"] = [{"path": place, "type": "p"}]
    found = own.sh(made, "true", refuse=["mknod"])
    assert found == (125, "", "minictr: make the device %s: Operation not permitted\n" % place)


# --- a configuration that is none -------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, words",
    [
        (b"", "not JSON: "),
        (b'{"ociVersion": "1.0.2", "process": {"ar', "not JSON: "),
        (b"[" * 100000, "nested too deeply"),
        (b'{"a":' * 100000, "nested too deeply"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "the document is not an object"),
        (b"{}", "ociVersion is missing"),
        (b'{"x": NaN}', "not JSON: "),
    ],
    ids=["empty", "cut off", "deep arrays", "deep objects", "no UTF-8", "an array", "an empty object", "NaN"],
)
def test_a_configuration_that_is_none_is_one_clear_line(own, bundle, text, words):
    made = bundle()
    made.save()
    with open(made.path + "/config.json", "wb") as file:
        file.write(text)
    found = own.runner("run", "--bundle", made.path, made.identifier)
    assert (found.status, found.out, found.err.count("\n")) == (125, "", 1)
    assert found.err.startswith("minictr: read ") and words in found.err, found


def test_a_huge_configuration_is_not_read_whole(own, bundle):
    made = bundle()
    with open(made.path + "/config.json", "wb") as file:
        file.truncate(100 << 20)
    found = own.runner("run", "--bundle", made.path, made.identifier)
    assert found == (125, "", "minictr: read %s/config.json: longer than 32 MiB\n" % made.path)


@pytest.mark.parametrize("kind", ["a directory", "a FIFO", "not there", "not readable"])
def test_a_configuration_that_is_no_file_is_one_clear_line(own, bundle, unranged, kind):
    made = bundle()
    path = made.path + "/config.json"
    made.save()
    os.unlink(path)
    if kind == "a directory":
        os.mkdir(path)
    elif kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "not readable":
        os.close(os.open(path, os.O_CREAT, 0))
    user = unranged if kind == "not readable" else None
    found = own.runner("run", "--bundle", made.path, made.identifier, user=user, timeout=10)
    assert (found.status, found.out, found.err.count("\n")) == (125, "", 1), found
    assert found.err.startswith("minictr: read %s: " % path)


def test_an_invalid_property_is_named_and_nothing_is_run(own, bundle):
    made = bundle()
    made.process["user"]["uid"] = -1
    made.process["args"] = ["touch", "/it"]
    found = own.run(made)
    assert found == (125, "", "minictr: read config.json: process.user.uid is not between 0 and 4294967294\n")
    assert not os.path.exists(made.root + "/it")
