"""argv to a Spec: what podman and docker users type, and what is refused by name."""

import os
import stat
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import needs

import minictr
from minictr import abi, arrangement, cli, elsewhere, keywords, lsm, options, unix
from minictr.errors import ContainerError
from minictr.spec import DEFAULT_CAPABILITIES, READONLY_PATHS, masked_paths


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory):
    return str(tmp_path_factory.mktemp("rootfs"))


def parse(*argv):
    return options.parse(list(argv) + ["--", "true"])


def config(*argv):
    return parse(*argv).config


def refusal(*argv):
    """The one line with which ARGV, as a whole, is refused."""
    with pytest.raises(ContainerError) as caught:
        options.parse(list(argv))
    assert caught.value.status == 125
    assert "\n" not in str(caught.value)
    return str(caught.value)


def mounts(*argv):
    """The mounts by their place."""
    return {entry["destination"]: entry for entry in config(*argv)["mounts"]}


def test_of_the_library_none_and_false_are_for_what_is_left_out_and_an_empty_word_is_an_error():
    assert keywords.flags({"rootfs": None, "init": False, "volumes": [], "env": {}}) == []
    assert refusal(*keywords.flags({"rootfs": ""}), "--", "true").startswith("--rootfs: has no value")


# --- the two forms ------------------------------------------------------------------------------


def test_the_command_follows_two_dashes_and_is_left_alone():
    spec = options.parse(["--init", "--", "sh", "-c", "--", "--rootfs"])
    assert spec.config["process"]["args"] == ["sh", "-c", "--", "--rootfs"]
    assert (spec.init, spec.source, spec.degrade, spec.userns) == (True, "host", "warn", "auto")


@pytest.mark.parametrize(
    "argv, said",
    [
        ([], "run: no command; hint: minictr run -- COMMAND, or --help"),
        (["--"], "run: no command after --"),
        (["--rootfs", "/x", "sh"], "run: sh is not behind a --, and names of images are not supported"),
        (["alpine", "sh"], "hint: put -- before the command, and --rootfs DIR before that"),
        (["alpine", "--", "sh"], "alpine is not behind a --, and names of images are not supported"),
        (["-", "--", "sh"], "run: - is not behind a --"),
        (["--bundle", "/b", "--", "sh"], "--bundle: belongs to the form with the id of a bundle"),
        (["--console-socket", "/s", "--", "sh"], "--console-socket: belongs to the form"),
        (["--bundle", "/b", "id", "more"], "comes its id and nothing else"),
        (["--bundle", "/b"], "comes its id and nothing else"),
        (["--bundle", "/b", "-v", "/a:/b", "id"], "--volume: has no place beside a bundle"),
        (["--bundle", "/b", "a/b"], "run a/b: is not an id"),
        (["--json", "--", "sh"], "--json is an option of explain"),
        (["a\nb", "c"], r"run: a\nb is not behind"),
        (["ubuntu:22.04"], "ubuntu:22.04 is not behind a --, and names of images are not supported"),
        (["./script"], "hint: put -- before the command"),
    ],
)
def test_what_is_neither_form_is_said_to_be(argv, said):
    assert said in refusal(*argv)


def test_beside_a_bundle_it_is_the_option_that_is_out_of_place(tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    assert refusal("-it", "box").startswith("run: box is not behind a --")
    (tmp_path / "config.json").write_text("{}")
    assert refusal("-t", "box") == (
        "--tty: has no place beside a bundle, which has config.json, and runc's options; hint:"
        " process.terminal of config.json; to run the command box put -- before it"
    )
    assert refusal("-t", "box", "sh").startswith("run: box is not behind a --")


@pytest.fixture
def loaded(monkeypatch):
    """`config.load` that loads nothing, and the directories it was asked for."""
    asked = []

    class Config:
        @staticmethod
        def load(directory):
            asked.append(directory)
            return {"ociVersion": "1.0.0"}

    monkeypatch.setitem(sys.modules, "minictr.config", Config)
    monkeypatch.setattr(minictr, "config", Config, raising=False)
    return asked


def test_a_lone_word_is_the_id_of_a_bundle(loaded, tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    spec = options.parse(["--detach", "--pid-file", "pid", "c1"])
    assert loaded == [str(tmp_path)]
    assert (spec.identifier, spec.source, spec.degrade, spec.userns) == ("c1", "bundle", "refuse", "config")
    assert (spec.detach, spec.pid_file) == (True, str(tmp_path / "pid"))


def test_the_oci_form_takes_the_options_of_runc(loaded):
    spec = options.parse(
        ["-b", "/b", "--no-pivot", "--no-new-keyring", "--no-subreaper", "--preserve-fds=3", "--keep", "-d"]
        + ["--console-socket", "/s", "--allow-degraded", "--strict", "c1"]
    )
    assert (loaded, spec.bundle, spec.identifier) == (["/b"], "/b", "c1")
    assert (spec.no_pivot, spec.no_new_keyring, spec.keep, spec.strict, spec.detach) == (True,) * 5
    assert (spec.preserve_fds, spec.console_socket, spec.degrade) == (3, "/s", "warn")


def test_a_lone_word_without_a_bundle_is_told_about_the_command(loaded, tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    assert refusal("sh") == (
        "run: no config.json in the current directory; "
        "hint: to run the command sh put -- before it; a bundle is named by --bundle DIR"
    )
    assert loaded == []


def test_a_current_directory_that_is_gone_is_an_error(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(str(gone))
    gone.rmdir()
    assert (
        refusal("c1")
        == "find the current directory: No such file or directory; hint: cd to one that is there"
    )
    assert "find the current directory" in refusal("-v", "./a:/b", "--", "true")
    with pytest.raises(ContainerError, match="find the current directory"):  # and not "list"
        called = cli.Globals()
        called.root = "relative"
        cli._state_root(called)
    assert parse().source == "host"
    monkeypatch.chdir("/")


# --- the syntax of options ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ["--env", "A=b=c"],
        ["--env=A=b=c"],
        ["-e", "A=b=c"],
        ["-eA=b=c"],
        ["-e=A=b=c"],
        ["-iteA=b=c"],
        ["-ite", "A=b=c"],
    ],
    ids=" ".join,
)
def test_a_value_may_stand_where_podman_takes_it(argv):
    assert "A=b=c" in config(*argv)["process"]["env"]


def test_short_flags_may_be_written_together():
    spec = parse("-itd")
    assert spec.config["process"]["terminal"] and spec.detach


def test_a_flag_may_say_true_or_false():
    for word in ("1", "t", "T", "true", "TRUE", "True"):  # as Go's strconv.ParseBool takes them
        assert parse("--init=" + word).init
        assert parse("-d=" + word).detach
    for word in ("0", "f", "F", "false", "FALSE", "False"):
        assert not parse("--init", "--init=" + word).init
        assert not parse("-d", "-itd=" + word).detach
    assert refusal("--init=yes", "--", "x") == "--init yes: is true or false, or nothing"
    assert refusal("-d=", "--", "x") == "-d: is true or false, or nothing"
    assert not config("--security-opt=no-new-privileges=0")["process"]["noNewPrivileges"]


def test_the_last_of_an_option_that_holds_one_value_counts():
    assert config("--hostname", "a", "--hostname=b")["hostname"] == "b"


@pytest.mark.parametrize(
    "argv, said",
    [
        (["--volme", "/a:/b"], "run: unknown option --volme; hint: did you mean --volume?"),
        (["--bogus"], "run: unknown option --bogus; hint: minictr run --help"),
        (["-Z"], "run: unknown option -Z; hint: minictr run --help"),
        (["--qqqqqqq"], "run: unknown option --qqqqqqq; hint: minictr run --help"),
        (["-itZ"], "run: unknown option -Z"),
        (["--volume"], "--volume: has no value; hint: minictr run --help"),
        (["-h"], "-h: has no value"),
        (["--hostname="], "--hostname: has no value"),
        (["-v", ""], "-v: has no value"),
        (["--kernel-memory", "1g"], "--kernel-memory: Linux 5.16 has it no more"),
        (["--entrypoint", "x"], "--entrypoint: the words after -- are the whole command"),
        (["--add-host=a:1"], "--add-host: the container's files are left as they are"),
        (["-p", "80:80"], "-p: networks are not set up"),
        (["--restart=always"], "--restart: nothing stays resident"),
        (["--label", "a=b"], "--label: not supported; hint: --annotation"),
        (["--stop-timeout=3"], "--stop-timeout: not supported; hint: minictr stop --time SECONDS ID"),
        (["--env-host"], "--env-host: not supported; hint: --env NAME takes the caller's"),
        (["--tz=UTC"], "--tz: the container's files are left as they are; hint: --env TZ=ZONE"),
        (["--ro-bind", "/a", "/b"], "--ro-bind: is called otherwise here; hint: --volume SRC:DST:ro"),
        (
            ["--unshare-user"],
            "--unshare-user: every namespace but the clock's is a new one anyway; hint: leave",
        ),
        (["--ephemeral"], "--ephemeral: is called otherwise here; hint: --overlay"),
        (["-M", "name"], "-M: is called otherwise here; hint: --name ID"),
        (["-r"], "-r: root and a range of ids are mapped anyway; hint: leave it out"),
        (["--map-current-user"], "--map-current-user: is called otherwise here; hint: --userns keep-id"),
        (["--wd", "/"], "--wd: is called otherwise here; hint: --workdir DIR"),
        (["--no-new-privs"], "--no-new-privs: they cannot be gained anyway; hint: leave it out"),
        (["-f", "c.json"], "-f: not supported; hint: --bundle DIR"),
        (
            ["--root", "/x"],
            "run: unknown option --root; hint: it stands before the verb: minictr --root DIR run",
        ),
        (["--debug"], "run: unknown option --debug; hint: it stands before the verb: minictr --debug run"),
        (["--memory", "--", "true"], "--memory: has no value; hint: minictr run --help"),
        (["-itv", "--", "true"], "-v: has no value"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_that_is_not_there_is_refused_by_name(argv, said):
    if argv[-1].startswith("-") and argv[0] not in ("--volume", "-h"):  # with a command
        argv = argv + ["--", "true"]
    assert refusal(*argv).startswith(said)


def test_no_refused_option_is_in_the_table():
    refused = [name for names, _, _ in elsewhere.OPTIONS for name in names.split()]
    assert len(set(refused)) == len(refused)
    assert not set(refused) & set(options._INDEX)


def test_what_other_tools_have_is_none_of_our_verbs_and_the_globals_are_all_there():
    assert not set(elsewhere.VERBS) & set(cli.VERBS)
    assert set(elsewhere.GLOBALS) == set(cli._FLAGS + cli._VALUES)
    assert not set(elsewhere.GLOBALS) & set(options._INDEX)


def test_help_has_every_option_once_and_fits_a_terminal():
    with pytest.raises(options.HelpAsked) as caught:
        options.parse(["--help", "--", "true"])
    text = str(caught.value)
    assert text == options.help_text("run")
    assert text.startswith("usage: minictr run ")
    assert max(len(line) for line in text.split("\n")) <= 100
    text = options.help_text("explain")
    for name in options._INDEX:
        assert sum(name in line[:34].replace(",", "").split() for line in text.split("\n")) == 1, name


def test_explain_takes_json():
    assert options.parse(["--json", "--", "true"], "explain").json


# --- where the root comes from --------------------------------------------------------------------


def test_the_hosts_own_root_is_read_only_unless_changes_are_thrown_away():
    spec = parse()
    assert (spec.source, spec.overlay, spec.bundle) == ("host", "", "/")
    assert spec.config["root"] == {"path": "/", "readonly": True}
    spec = parse("--overlay")
    assert (spec.source, spec.overlay) == ("host", "tmpfs")
    assert not spec.config["root"]["readonly"]


def test_a_read_only_root_has_memory_over_its_temporary_directories_on_demand(rootfs):
    places = ("/tmp", "/var/tmp", "/run")
    words = ("--rootfs", rootfs, "--read-only", "--device", "/dev/null")
    assert not set(places) & set(mounts(*words))
    found = mounts(*words, "--read-only-tmpfs", "--tmpfs", "/run:size=1m")
    assert found["/var/tmp"]["options"] == ["nosuid", "nodev", "tmpcopyup", "mode=1777"]
    assert "size=1m" in found["/run"]["options"] and found["/tmp"]["type"] == "tmpfs"
    for less in (words + ("--read-only-tmpfs=false",), ("--rootfs", rootfs, "--read-only-tmpfs")):
        assert not set(places) & set(mounts(*less))


def test_a_directory_is_writable_unless_it_is_said_not_to_be(rootfs):
    spec = parse("--rootfs", rootfs)
    assert (spec.source, spec.overlay, spec.bundle) == ("rootfs", "", rootfs)
    assert spec.config["root"] == {"path": rootfs, "readonly": False}
    assert config("--rootfs", rootfs, "--read-only")["root"]["readonly"]
    assert parse("--rootfs", rootfs, "--overlay").overlay == "tmpfs"
    assert refusal("--overlay", "--read-only", "--", "x") == "--overlay: contradicts --read-only"


def test_a_relative_root_belongs_to_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "r").mkdir()
    monkeypatch.chdir(str(tmp_path))
    assert config("--rootfs", "r")["root"]["path"] == str(tmp_path / "r")


def test_who_writes_an_overlay_as_podman_does_is_told_how_it_is_called_here(rootfs):
    said = refusal("--rootfs", rootfs + ":O", "--", "true")
    assert said == "--rootfs %s:O: No such file or directory; hint: --overlay" % rootfs


def test_what_is_no_directory_is_no_root(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    hint = "; hint: of an archive: mkdir DIR && tar -C DIR -xf %s" % file
    assert refusal("--rootfs", str(file), "--", "x") == "--rootfs %s: Not a directory%s" % (file, hint)
    assert refusal("--rootfs", "/no/such", "--", "x") == "--rootfs /no/such: No such file or directory"
    assert "is the host's own root; hint: leave --rootfs out" in refusal("--rootfs=/.", "--", "x")


@pytest.fixture
def host(monkeypatch):
    """A host with these directories and links, for what `host_mounts` asks."""
    links = {"/var/run": "/run", "/home": "/var/home", "/etc/resolv.conf": "/run/stub/resolv.conf"}
    there = {"/tmp", "/var/tmp", "/run", "/var/home", "/root", "/srv/me", "/usr/sbin", "/var/home/me"}
    there |= {"/", "relative"}

    class Path:
        normpath = staticmethod(os.path.normpath)
        isdir = staticmethod(there.__contains__)
        isfile = staticmethod("/run/stub/resolv.conf".__eq__)

        @staticmethod
        def realpath(path):
            for link, target in links.items():
                if path == link or path.startswith(link + "/"):
                    return target + path[len(link) :]
            return path

    class Os:
        path = Path

    monkeypatch.setattr(arrangement, "os", Os)
    return there


def hidden(home, resolver=False):
    return [(entry["destination"], entry["options"][-1]) for entry in arrangement.host_mounts(home, resolver)]


def test_the_hosts_root_has_memory_over_its_temporary_and_home_directories(host):
    expected = [
        ("/tmp", "mode=1777"),
        ("/var/tmp", "mode=1777"),
        ("/run", "mode=755"),
        ("/var/home", "mode=755"),
        ("/root", "mode=700"),
    ]
    assert hidden("") == expected
    assert hidden("/srv/me") == expected + [("/srv/me", "mode=755")]


def test_a_home_of_who_keeps_its_id_is_its_own(host):
    def home(path):
        entries = arrangement.host_mounts(path, False, (7, 8))
        return [(one["destination"], one["options"]) for one in entries if "uid=7" in one["options"]]

    options = ["nosuid", "nodev", "uid=7", "gid=8", "mode=755"]
    assert home("/srv/me") == [("/srv/me", options)]
    assert home("/home/me") == [("/var/home/me", options)]  # else there would be none
    for path in ("/usr/sbin", "/gone", ""):
        assert home(path) == []


@pytest.mark.parametrize("home", ["/", "relative", "/home/me", "/var/home/me", "/usr/sbin", "/gone", "/root"])
def test_a_home_that_is_covered_or_of_the_system_is_not_hidden_again(host, home):
    assert hidden(home) == hidden("")


def test_only_what_the_host_has_is_mounted_over(host):
    host -= {"/var/tmp", "/root"}
    assert [place for place, _ in hidden("")] == ["/tmp", "/run", "/var/home"]


def test_with_the_hosts_network_the_resolver_stays_visible(host):
    assert hidden("", True) == hidden("") + [("/run/stub/resolv.conf", "ro")]


def test_the_order_hides_no_mount_behind_another(rootfs):
    places = list(mounts("--rootfs", rootfs, "-v", "/etc:/a/b", "--tmpfs", "/a", "-v", "/etc:/a/b/c"))
    assert places[0] == "/proc"
    assert places[-3:] == ["/a", "/a/b", "/a/b/c"]


# --- volumes --------------------------------------------------------------------------------------

BIND = ["rbind", "rprivate", "nosuid", "nodev"]
MEMORY = ["nosuid", "nodev", "noexec"]
PTS = ["nosuid", "noexec", "newinstance"]


@pytest.mark.parametrize(
    "words, expected",
    [
        ("", BIND),
        (":ro", BIND + ["rro"]),
        (":bind,ro", ["bind"] + BIND[1:] + ["ro"]),
        (":rw,exec", BIND + ["exec", "rw"]),
        (":suid,dev", ["rbind", "rprivate", "suid", "dev"]),
        (":bind,rshared", ["bind", "rshared", "nosuid", "nodev"]),
        (":rec,private,noexec", ["rbind", "private", "nosuid", "nodev", "noexec"]),
        (":rro", BIND + ["rro"]),
        (":idmap", BIND + ["ridmap"]),
        (":bind,idmap", ["bind"] + BIND[1:] + ["idmap"]),
        (":consistent,nocopy", BIND),
    ],
)
def test_the_options_of_a_volume_are_podmans(rootfs, words, expected):
    entry = mounts("--rootfs", rootfs, "-v", "/etc:/data" + words)["/data"]
    assert entry == {"destination": "/data", "type": "bind", "source": "/etc", "options": expected}


@pytest.mark.parametrize(
    "text, why",
    [
        ("/data", "volumes without a source on the host are not supported"),
        (
            "data:/data",
            "volumes with a name are not supported; hint: for the directory of this name write ./data",
        ),
        ("/no/such:/data", "/no/such: No such file or directory"),
        ("~/such:/data", "~/such: No such file or directory; hint: the shell knows ~ at the head of a word"),
        ("/etc:/data:ro:rw", "is not of the form SRC:DST[:OPTION,...]"),
        ("/etc::ro", "is not of the form"),
        (
            "./a:b:/data",
            "is not of the form SRC:DST[:OPTION,...]; hint: a name that has a : in it goes by --mount",
        ),
        ("/etc:", "is not of the form SRC:DST[:OPTION,...]"),
        (":/data", "is not of the form"),
        ("/etc:data", "data is not an absolute path"),
        ("/etc:/data:readwrite", "unknown option readwrite"),
        ("/etc:/data:ro,", "unknown option ''"),
        ("/etc:/data:ro,rw", "ro and rw contradict each other"),
        ("/etc:/data:shared,private", "shared and private contradict each other"),
        ("/etc:/data:U", "U: the files of the source are not given to another owner"),
        ("/etc:/data:O", "O: overlays on a volume are not supported"),
        ("/etc:/data:size=1m", "unknown option size=1m"),
        ("/etc:/", "the root itself cannot be mounted over"),
        ("/etc:/x/../", "the root itself"),
        ("/etc:/proc", "nothing may be mounted on /proc or below it"),
        ("/etc:/x/..//proc/sys", "nothing may be mounted on /proc or below it"),
        ("/etc:/proc/meminfo/x", "nothing may be mounted on /proc or below it"),
        ("/etc://proc", "nothing may be mounted on /proc or below it"),
        ("/dev:/dev/", "/dev is the container's own; hint: add single devices with --device"),
        ("/etc:/a\nb:q", r"unknown option q"),
    ],
)
def test_a_volume_that_cannot_be_is_one_clear_line(rootfs, text, why):
    said = refusal("--rootfs", rootfs, "-v", text, "--", "true")
    assert said.startswith("--volume ") and why in said


@pytest.mark.parametrize("word", ["z", "Z", "ro,z", "Z,exec"])
def test_a_volume_is_labelled_anew_where_that_means_nothing(rootfs, word):
    if not lsm.why_not(lsm.SELINUX)[0]:
        pytest.skip("SELinux is active here")
    plain = ",".join(part for part in word.split(",") if part not in "zZ")
    found = mounts("--rootfs", rootfs, "-v", "/etc:/data:" + word)["/data"]
    assert found == mounts("--rootfs", rootfs, "-v", "/etc:/data" + (plain and ":" + plain))["/data"]


def test_a_relative_source_belongs_to_the_current_directory(rootfs, tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(str(tmp_path))
    found = mounts("--rootfs", rootfs, "-v", ".:/x", "-v", "./a:/y", "-v", "a/../a:/z")
    assert [found[place]["source"] for place in ("/x", "/y", "/z")] == [
        str(tmp_path) + end for end in ("/.", "/./a", "/a/../a")
    ]


def test_two_mounts_on_one_place_contradict_each_other(rootfs):
    said = refusal("--rootfs", rootfs, "-v", "/etc:/a", "--tmpfs", "/b/../a", "--", "true")
    assert said == "--tmpfs /b/../a: there is a mount on /a already: --volume /etc:/a"


def test_a_mount_of_the_users_takes_the_place_of_a_default(rootfs):
    found = mounts("--rootfs", rootfs, "--tmpfs", "/dev/shm:size=1g", "-v", "/etc:/sys")
    assert found["/dev/shm"]["options"] == MEMORY + ["size=1g"]
    assert found["/sys"]["type"] == "bind"
    assert len(config("--tmpfs", "/tmp")["mounts"]) == len(config()["mounts"])


def test_in_the_hosts_own_root_a_place_must_exist_or_lie_in_memory():
    said = refusal("-v", "/etc:/no/such/place", "--", "true")
    assert "/no/such/place does not exist on the host, whose root is read-only here" in said
    for argv in (["-v", "/etc:/tmp/new/place"], ["-v", "/etc:/usr"], ["--overlay", "-v", "/etc:/no/such"]):
        parse(*argv)
    parse("-v", "/etc:/tmp/new", "--tmpfs", "/tmp/new/below")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("type=bind,source=/etc,target=/m", BIND),
        ("type=bind,src=/etc,dst=/m,ro", BIND + ["rro"]),
        ("src=/etc,destination=/m,readonly=true,type=bind", BIND + ["rro"]),
        ("type=bind,src=/etc,dst=/m,readonly=false", BIND),
        ("type=bind,src=/etc,dst=/m,rw=false", BIND + ["rro"]),
        ("type=bind,src=/etc,dst=/m,bind-propagation=rslave", ["rbind", "rslave", "nosuid", "nodev"]),
        ("type=bind,src=/etc,dst=/m,bind-nonrecursive=true", ["bind", "rprivate", "nosuid", "nodev"]),
        ("type=bind,src=/etc,dst=/m,bind-recursive=readonly", BIND + ["rro"]),
        ("type=bind,src=/etc,dst=/m,consistency=cached,idmap", BIND + ["ridmap"]),
        ("type=tmpfs,target=/m", MEMORY),
        ("type=tmpfs,dst=/m,tmpfs-size=64mb,tmpfs-mode=1770", MEMORY + ["size=64m", "mode=1770"]),
        ("type=ramfs,dst=/m,tmpfs-mode=700", MEMORY + ["mode=700"]),
        ("type=devpts,dst=/m,uid=5", PTS + ["uid=5", "ptmxmode=0666", "mode=0620"]),
        ("type=devpts,dst=/m,mode=600,max=9", PTS + ["mode=600", "max=9", "ptmxmode=0666"]),
    ],
)
def test_a_mount_by_name_is_the_same_as_by_place(rootfs, text, expected):
    assert mounts("--rootfs", rootfs, "--mount", text)["/m"]["options"] == expected


def test_a_field_of_a_mount_may_stand_in_quotes(rootfs, tmp_path):
    for name in ("a,b", 'a"b'):
        (tmp_path / name).mkdir()
    found = mounts("--rootfs", rootfs, "--mount", 'type=bind,"source=%s/a,b","target=/m,n",ro' % tmp_path)
    assert found["/m,n"]["source"] == "%s/a,b" % tmp_path and found["/m,n"]["options"] == BIND + ["rro"]
    found = mounts("--rootfs", rootfs, "--mount", 'type=bind,"source=%s/a""b",target=/m' % tmp_path)
    assert found["/m"]["source"] == '%s/a"b' % tmp_path
    found = mounts("--rootfs", rootfs, "--mount", 'type=bind,source=%s/a"b,target=/m' % tmp_path)
    assert found["/m"]["source"] == '%s/a"b' % tmp_path


@pytest.mark.parametrize("word, text", [("z", "relabel=shared"), ("Z", "relabel=private")])
def test_labelling_anew_has_the_same_rules_under_either_name(rootfs, word, text):
    if lsm.why_not(lsm.SELINUX)[0]:
        mount = "type=bind,source=/etc,target=/m," + text
        assert mounts("--rootfs", rootfs, "--mount", mount)["/m"]["options"] == BIND
    else:
        said = refusal("--rootfs", rootfs, "--mount", "type=bind,source=/etc,target=/m," + text, "--", "true")
        assert "%s: files of the host are not labelled anew" % word in said


@pytest.mark.parametrize(
    "text, why",
    [
        ("source=/etc,target=/m", "has no type=; hint: type is bind, tmpfs, ramfs or devpts"),
        ("type=volume,source=v,target=/m", "type volume is not supported"),
        ("type=image,source=v,target=/m", "type image is not supported"),
        ("type=bind,target=/m", "has no source=PATH"),
        ("type=bind,source=/etc", "has no target=DIRECTORY"),
        ("type=bind,source=/etc,source=/usr,target=/m", "source is given twice"),
        ("type=bind,source=,target=/m", "source is given twice or without a value"),
        ("type=bind,source=/etc,target=/m,readonly=maybe", "readonly is true or false"),
        ("type=bind,source=/etc,target=/m,readonly=enabled", "readonly is true or false"),
        ("type=bind,source=/etc,target=/m,tmpfs-size=1m", "unknown option size=1m"),
        ("type=bind,source=/etc,target=/m,bind-propagation=up", "unknown option bind-propagation=up"),
        ("type=bind,source=/etc,target=/m,relabel=maybe", "unknown option relabel=maybe"),
        (
            "type=bind,source=/etc,target=/m,chown=true",
            "U: the files of the source are not given to another owner; hint: idmap",
        ),
        ('type=bind,"source=/etc,target=/m', "a quoted field ends with its quote"),
        ('type=bind,"source=/etc"x,target=/m', "a quoted field ends with its quote"),
        ("type=bind,source=/etc,target=/m,bind-recursive=up", "unknown option bind-recursive=up"),
        ("type=ramfs,target=/m,uid=5", "unknown option uid=5"),
        ("type=tmpfs,source=/etc,target=/m", "a tmpfs has no source"),
        ("type=tmpfs,target=/m,tmpfs-mode=999", "mode=999 is not an octal number up to 7777"),
        ("type=ramfs,target=/m,tmpfs-size=1m", "a ramfs has no limit; use a tmpfs"),
        ("type=tmpfs,target=/proc/x", "nothing may be mounted on /proc"),
    ],
)
def test_a_mount_by_name_that_cannot_be_is_one_clear_line(rootfs, text, why):
    assert why in refusal("--rootfs", rootfs, "--mount", text, "--", "true")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("/m", MEMORY),
        ("/m:exec,suid,dev,ro", ["suid", "dev", "exec", "ro"]),
        (
            "/m:size=64M,mode=0755,uid=1000",
            MEMORY + ["size=64m", "mode=0755", "uid=1000"],
        ),
        ("/m:size=50%,nr_inodes=10k", MEMORY + ["size=50%", "nr_inodes=10k"]),
        ("/m:mpol=prefer:0,huge=within_size", MEMORY + ["mpol=prefer:0", "huge=within_size"]),
        ("/m:size=1.5m", MEMORY + ["size=1572864"]),
        ("/m:size=0.5KiB", MEMORY + ["size=512"]),
        ("/m:tmpcopyup", MEMORY + ["tmpcopyup"]),
        ("/m:notmpcopyup", MEMORY),
    ],
)
def test_memory_has_the_documented_defaults(rootfs, text, expected):
    assert mounts("--rootfs", rootfs, "--tmpfs", text)["/m"]["options"] == expected


@pytest.mark.parametrize(
    "text, why",
    [
        ("/m:size=1x", "size=1x is not a size such as 64m"),
        ("/m:size=-1", "size=-1 is not a size such as 64m"),
        ("/m:size=1.5%", "size=1.5% is not a size"),
        ("/m:size=99999999999999999999g", "99999999999999999999g is not a size"),
        ("/m:size=", "size='' is not a size"),
        ("/m:size=64mxx", "size=64mxx is not a size"),
        ("/m:mode=", "mode='' is not an octal number"),
        ("/m:mode=17777", "mode=17777 is not an octal number"),
        ("/m:mpol=", "mpol='' is not a word the kernel has for it"),
        ("/m:size=1m,size=2m", "size is given twice"),
        ("/m:mode=07777777", "mode=07777777 is not an octal number"),
        ("/m:uid=4294967295", "uid=4294967295 is not a number"),
        ("/m:uid=me", "uid=me is not a number"),
        ("/m:mpol=bind:0;x", "is not a word the kernel has for it"),
        ("/m:U", "U: the files of the source are not given to another owner"),
        ("/m:rbind", "unknown option rbind"),
        ("m", "m is not an absolute path"),
    ],
)
def test_memory_that_cannot_be_is_one_clear_line(rootfs, text, why):
    assert why in refusal("--rootfs", rootfs, "--tmpfs", text, "--", "true")


def test_a_device_is_as_on_the_host(rootfs):
    state = os.stat("/dev/null")
    [entry] = config("--rootfs", rootfs, "--device", "/dev/null", "--device", "/dev/null:rwm")["linux"][
        "devices"
    ]
    assert entry == {
        "path": "/dev/null", "type": "c", "major": 1, "minor": 3,
        "fileMode": stat.S_IMODE(state.st_mode), "uid": state.st_uid, "gid": state.st_gid,
    }  # fmt: skip


def test_a_device_under_another_name_is_a_mount(rootfs):
    found = config("--rootfs", rootfs, "--device", "/dev/null:/dev/other:rwm")
    assert "devices" not in found["linux"]
    assert found["mounts"][-1]["source"] == "/dev/null"
    assert found["mounts"][-1]["options"][-2:] == ["dev", "ro"]


@pytest.fixture
def console(tmp_path):
    """A node of the host's first virtual console, which is not opened."""
    os.mknod(str(tmp_path / "console"), stat.S_IFCHR | 0o600, os.makedev(4, 1))
    return str(tmp_path / "console")


@needs("root")
@pytest.mark.parametrize("access, left", [("", "rwm"), (":rw", "rw"), (":r", "r"), (":wm", "wm")])
def test_what_may_be_done_with_a_device_is_a_rule_of_its_cgroup(rootfs, console, access, left):
    words = ("--rootfs", rootfs, "--device", console + ":/dev/it" + access)
    rule = {"allow": True, "type": "c", "major": 4, "minor": 1, "access": left}
    assert config(*words)["linux"]["resources"]["devices"] == [rule]


@needs("root")
def test_less_of_a_device_than_privileged_allows_is_a_contradiction(rootfs, console):
    words = ("--rootfs", rootfs, "--privileged", "--device", console + ":/dev/it:r", "--", "true")
    assert "contradicts --privileged, which allows all of every device" in refusal(*words)


@pytest.mark.parametrize(
    "text, why",
    [
        ("/etc/passwd:/dev/x", "/etc/passwd is not a device"),
        ("/etc/passwd", "/etc/passwd is not a device"),
        ("/dev/pts", "/dev/pts is not a device; hint: name the devices in it, each by a --device"),
        ("/dev/no-such", "/dev/no-such: No such file or directory"),
        ("/dev/null:r", "every container may read and write this device"),
        ("/dev/null:m", "every container may read and write this device"),
        ("/dev/null:rr", "is not of the form PATH[:DST][:rwm]"),
        ("/dev/null:/null", "must lie below /dev"),
        ("/dev/null:/dev/a:/dev/b", "is not of the form PATH[:DST][:rwm]"),
        (":/dev/a", "is not of the form PATH[:DST][:rwm]"),
        ("rwm", "rwm: No such file or directory"),
    ],
)
def test_a_device_that_cannot_be_is_one_clear_line(text, why):
    assert why in refusal("--device", text, "--", "true")


@pytest.mark.parametrize(
    "text, kind, numbers, access",
    [
        ("c 81:* rwm", "c", (81, -1), "rwm"),
        ("b *:0 r", "b", (-1, 0), "r"),
        ("a *:* mr", "a", (-1, -1), "mr"),
    ],
)
def test_a_rule_for_devices_is_one_of_the_configuration(rootfs, text, kind, numbers, access):
    found = config("--rootfs", rootfs, "--device", "/dev/null", "--device-cgroup-rule", text)["linux"]
    rule = {"allow": True, "type": kind, "major": numbers[0], "minor": numbers[1], "access": access}
    assert found["resources"]["devices"][1:] == [rule]


@pytest.mark.parametrize(
    "text",
    ["c", "c 81:*", "c 81:* ", "c 81 rwm", "d 1:3 r", "c 1:-1 r", "c 1:2:3 r", "c 2147483648:1 r", "c 1: r",
     "c 1:3 x", "c  1:3 r", "c 1:3 r w"],
)  # fmt: skip
def test_what_is_no_rule_for_devices_is_said_to_be(text):
    words = refusal("--device-cgroup-rule", text, "--", "true")
    assert words.endswith(
        "is not of the form TYPE MAJOR:MINOR RWM; hint: such as 'c 81:* rwm' for video devices"
    )


def test_a_personality_is_one_of_two(rootfs):
    assert config("--rootfs", rootfs, "--personality", "LINUX32")["linux"]["personality"] == {
        "domain": "LINUX32"
    }
    assert "is not one of LINUX and LINUX32" in refusal("--personality", "linux32", "--", "true")


def test_the_size_of_shared_memory_can_be_set():
    assert mounts("--shm-size", "1g")["/dev/shm"]["options"][-1] == "size=1g"
    assert mounts("--shm-size", "1.5g")["/dev/shm"]["options"][-1] == "size=1610612736"
    assert "the host's /dev/shm keeps its size" in refusal("--shm-size=1g", "--ipc=host", "--", "x")


# --- the program ----------------------------------------------------------------------------------


def test_the_environment_is_small_and_known(monkeypatch):
    monkeypatch.setenv("TERM", "vt100")
    monkeypatch.setenv("HOME", "/home/me")
    env = config("--name", "c1")["process"]["env"]
    assert env == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=c1",
        "container=minictr",
    ]
    assert "TERM=vt100" in config("-t")["process"]["env"]
    monkeypatch.delenv("TERM")
    assert "TERM=xterm" in config("-t")["process"]["env"]
    assert "HOSTNAME=" + os.uname().nodename in config("--uts", "host")["process"]["env"]


def test_variables_come_from_options_files_and_the_caller(tmp_path, monkeypatch):
    monkeypatch.setenv("MINE_A", "1")
    monkeypatch.setenv("MINE_B", "2")
    monkeypatch.setenv("MINE_EMPTY", "")
    file = tmp_path / "env"
    file.write_bytes(b"# comment\n\n  F=1 2 # 3\r\nPATH=/p\nMINE_B\nNOT_SET_ANYWHERE\nLAST='q'")
    env = config("-e", "F=2", "--env-file", str(file), "-e", "MINE_E*", "-e", "NOT_SET_ANYWHERE", "-e", "X=")
    assert env["process"]["env"][0] == "PATH=/p"
    assert env["process"]["env"][3:] == ["F=2", "MINE_B=2", "LAST='q'", "MINE_EMPTY=", "X="]
    assert "F=1 2 # 3" in config("--env-file", str(file))["process"]["env"]
    file.write_bytes(b"\xef\xbb\xbfA=1\n")  # as editors of Windows begin a file
    assert "A=1" in config("--env-file", str(file))["process"]["env"]


def test_a_broken_variable_is_an_error(tmp_path):
    assert refusal("-e", "=x", "--", "true") == "--env =x: a variable has no name"
    assert refusal("--env-file", "/no/such", "--", "x") == "--env-file /no/such: No such file or directory"
    assert refusal("--env-file", "/etc", "--", "x") == "--env-file /etc: Is a directory"
    assert "holds a NUL byte" in refusal("--env-file", "/dev/zero", "--", "x")
    (tmp_path / "env").write_text("=x\n")
    assert "a variable has no name" in refusal("--env-file", str(tmp_path / "env"), "--", "x")
    for line in ("export A=1", "A =1", "A\t"):
        (tmp_path / "env").write_text(line + "\n")
        said = refusal("--env-file", str(tmp_path / "env"), "--", "x")
        assert "env: a name with a blank: " in said and said.endswith("; hint: NAME=VALUE, a line each")


@pytest.mark.parametrize(
    "text, soft, hard",
    [
        ("nofile=1024", 1024, 1024),
        ("nofile=1024:2048", 1024, 2048),
        ("nofile=-1", 2**64 - 1, 2**64 - 1),
        ("nofile=0:unlimited", 0, 2**64 - 1),
        ("NOFILE=1", 1, 1),
    ],
)
def test_a_limit_is_named_as_ulimit_names_it(text, soft, hard):
    limits = config("--ulimit", "nofile=7", "--ulimit", text)["process"]["rlimits"]
    assert limits == [{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]


def test_the_callers_limits_are_what_podman_calls_host():
    assert not config("--ulimit", "host")["process"].get("rlimits")
    assert len(config("--ulimit", "host", "--ulimit", "nofile=7")["process"]["rlimits"]) == 1


@pytest.mark.parametrize(
    "option, text, why",
    [
        ("--ulimit", "files=1", "there is no limit of that name; hint: the names are as, core, cpu"),
        ("--ulimit", "nofile=2:1", "the soft limit is above the hard one"),
        ("--ulimit", "nofile=-2", "is not of the form NAME=SOFT[:HARD]"),
        ("--ulimit", "nofile=1:2:3", "is not of the form"),
        ("--ulimit", "nofile=18446744073709551616", "is not of the form"),
        ("--ulimit", "hosts", "is not of the form"),
        ("--pids-limit", "0", "is not a number from 1 to 4194304; hint: -1 is for no limit"),
        ("--memory-swap", "x", "is not a size such as 64m; hint: -1 is for no limit"),
        ("--shm-size", "1x", "--shm-size 1x: 1x is not a size such as 64m"),
        ("--umask", "0888", "is not an octal number up to 0777"),
        ("--umask", "1000", "is not an octal number up to 0777"),
        ("--oom-score-adj", "1001", "is not a number from -1000 to 1000"),
        ("--oom-score-adj", "5-", "is not a number"),
        ("--workdir", "relative", "is not an absolute path"),
        ("--group-add", "keep-groups", "the caller's own are not passed on"),
        ("--group-add", "a,,b", "takes names or numbers of groups"),
        ("--preserve-fds", "-1", "is not a number from 0"),
        ("--timeout", "soon", "is not a number of seconds"),
        ("--timeout", "1e3", "is not a number of seconds"),
        ("--stop-signal", "NOPE", "there is no signal of that name or number"),
        ("--stop-signal", "0", "there is no signal"),
        ("--stop-signal", "_IGN", "there is no signal"),
        ("--stop-signal", "RTMIN+31", "there is no signal"),
        ("--systemd", "yes", "is not one of true, false and always"),
        ("--stop-signal", "TERM+1", "there is no signal"),
        ("--cgroups", "maybe", "is not one of enabled and disabled"),
        ("--sysctl", "kernel.shmmax", "is not of the form NAME=VALUE"),
        ("--annotation", "=x", "is not of the form NAME=VALUE"),
        ("--name", "..", "is not an id: 1 to 247 letters, digits"),
        ("--name", "a/b", "is not an id"),
        ("--name", "x" * 248, "is not an id"),
        ("--hostname", "x" * 65, "a name has 1 to 64 bytes"),
        ("--hostname", "a b", "a name has letters, digits, _, - and . alone"),
        ("--hostname", "-a", "a name has letters"),
        ("--domainname", "a/b", "a name has letters"),
    ],
)
def test_a_value_out_of_range_is_one_clear_line(option, text, why):
    said = refusal(option, text, "--", "true")
    assert said.startswith(option) and why in said


@pytest.mark.parametrize("words", [("--cgroups", "disabled"), ("--cgroupns", "host")], ids=" ".join)
def test_a_systemd_needs_a_cgroup_of_its_own(rootfs, words):
    said = refusal("--rootfs", rootfs, "--systemd", "always", *words, "--", "true")
    assert said.startswith("--systemd always: contradicts --cgroups disabled and --cgroupns: ")


@pytest.mark.parametrize(
    "words, command, known",
    [
        ([], "/sbin/init", True), ([], "/usr/lib/systemd/systemd", True), ([], "systemd", True),
        (["--systemd", "false"], "/sbin/init", False), ([], "/init", False), ([], "sh", False),
        (["--systemd", "always"], "sh", True), (["--cgroups", "disabled"], "/sbin/init", False),
        (["--cgroupns", "host"], "/sbin/init", False),
    ],
)  # fmt: skip
def test_for_a_systemd_there_is_what_it_expects_of_who_starts_it(rootfs, words, command, known):
    asked = options.parse(["--rootfs", rootfs, "-v", "/etc:/run/lock"] + words + ["--", command])
    found = {entry["destination"]: entry for entry in asked.config["mounts"]}
    assert found["/run/lock"]["type"] == "bind" and asked.stop_signal == (37 if known else 15)
    assert [found.get(place, {}).get("type") for place in ("/run", "/tmp")] == [
        "tmpfs" if known else None
    ] * 2
    assert ("rw" in found.get("/sys/fs/cgroup", {}).get("options", ())) is known
    own = ["--stop-signal", "HUP", "-v", "/etc:/sys/fs/cgroup", "-m", "64m"]
    asked = options.parse(["--rootfs", rootfs] + own + ["--", "/sbin/init"])
    shown = [entry["type"] for entry in asked.config["mounts"] if entry["destination"] == "/sys/fs/cgroup"]
    assert (shown, asked.stop_signal) == (["bind"], 1)


@pytest.mark.parametrize(
    "text, number",
    [
        ("TERM", 15),
        ("SIGKILL", 9),
        ("int", 2),
        ("10", 10),
        ("RTMIN+3", 37),
        ("SIGRTMAX-14", 50),
        ("RTMIN", 34),
    ],
)
def test_a_stop_signal_has_a_name_or_a_number(text, number):
    import signal

    expected = {37: signal.SIGRTMIN + 3, 34: signal.SIGRTMIN, 50: signal.SIGRTMAX - 14}.get(number, number)
    assert parse("--stop-signal", text).stop_signal == expected


def test_the_rest_of_the_program_goes_where_config_json_has_it():
    spec = parse(
        "-w", "/x", "-u", "me:7", "--group-add", "a,b", "--group-add=9", "--umask=077", "--oom-score-adj=-5"
    )
    process = spec.config["process"]
    assert (process["cwd"], process["user"]["umask"], process["oomScoreAdj"]) == ("/x", 0o77, -5)
    assert (spec.user, spec.groups) == ("me:7", ("a", "b", "9"))
    assert config()["process"]["user"] == {"uid": 0, "gid": 0, "umask": 0o22}


def test_what_config_json_has_no_word_for_is_in_the_spec(tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    spec = parse(
        "--name", "c_1+2.3-x", "-d", "-i", "--init", "--strict", "--keep", "--no-pivot",
        "--no-new-keyring", "--allow-degraded", "--host-proc", "--pidfile", "p", "--log-file", "/l",
        "--preserve-fds", "2", "--cgroups", "disabled", "--stop-signal", "INT",
    )  # fmt: skip
    assert spec.identifier == "c_1+2.3-x"
    assert spec.config["hostname"] == "c-1-2.3-x"
    assert (spec.pid_file, spec.log_file) == (str(tmp_path / "p"), "/l")
    assert (spec.preserve_fds, spec.stop_signal, spec.cgroups) == (2, 2, "disabled")
    for name in ("detach", "init", "strict", "keep", "no_pivot", "no_new_keyring", "host_proc"):
        assert getattr(spec, name) is True


def test_what_is_to_be_removed_is_not_to_be_kept_as_well():
    assert parse("-d", "--rm").remove and not parse("-d", "--keep").remove
    assert refusal("--rm", "--keep", "--", "true") == "--rm: contradicts --keep"
    for name, key in (("hostname", "kernel.hostname"), ("domainname", "kernel/domainname")):
        words = ("--" + name, "a", "--sysctl", key + "=b", "--", "true")
        assert refusal(*words) == "--sysctl %s=b: contradicts --%s" % (key, name)
    alone = parse("--domainname", "a", "--sysctl", "kernel.hostname=b", "--", "true")
    assert alone.config["linux"]["sysctl"] == {"kernel.hostname": "b"}


def test_a_container_without_a_name_has_a_random_one():
    first, second = parse(), parse()
    assert first.identifier != second.identifier
    assert len(first.identifier) == 12 and not first.identifier.strip("0123456789abcdef")
    assert first.config["hostname"] == first.identifier


def test_a_time_limit_needs_somebody_who_watches():
    assert parse("--timeout", "1.5").timeout == 1.5
    said = refusal("--timeout", "5", "-d", "--", "true")
    assert said == "--timeout 5: with --detach nothing stays resident to watch the time"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--timeout", "5"], "--timeout: after create nothing stays resident to watch the time"),
        (
            ["-m", "1g", "--memory-watch"],
            "--memory-watch: after create nothing stays resident to look at the memory",
        ),
        (["--report"], "--report: is an option of run; report has the same arguments"),
        (["--report=json"], "--report: is an option of run; report has the same arguments"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_create_cannot_do_is_refused_and_not_in_its_help(words, message):
    with pytest.raises(ContainerError) as caught:
        options.parse(words + ["--", "true"], "create")
    assert str(caught.value) == message
    name = message.partition(":")[0]
    assert name in options.help_text("run") and name not in options.help_text("create")


# --- namespaces -----------------------------------------------------------------------------------


def namespaces(*argv):
    return {entry["type"]: entry.get("path", "new") for entry in config(*argv)["linux"]["namespaces"]}


ALL = dict.fromkeys(("pid", "network", "ipc", "uts", "mount", "cgroup"), "new")


@pytest.mark.parametrize(
    "argv, changed",
    [
        ([], {}),
        (["--ipc", "shareable"], {}),
        (["--pid", "host"], {"pid": None}),
        (["--ipc=host"], {"ipc": None}),
        (["--uts=host"], {"uts": None}),
        (["--net=host"], {"network": None}),
        (["--network", "none"], {}),
        (["--cgroupns=host"], {"cgroup": None}),
        (["--time=private"], {"time": "new"}),
        (["--time=host"], {}),
        (["--pid=ns:/proc/1/ns/pid"], {"pid": "/proc/1/ns/pid"}),
        (["--net=/run/netns/x"], {"network": "/run/netns/x"}),
        (["--userns=ns:/proc/1/ns/user"], {"user": "/proc/1/ns/user"}),
        (["--uidmap=0:100000:10"], {"user": "new"}),
    ],
    ids=" ".join,
)
def test_a_namespace_is_new_shared_or_joined(argv, changed):
    expected = dict(ALL, **changed)
    assert namespaces(*argv) == {kind: value for kind, value in expected.items() if value}


@pytest.mark.parametrize(
    "option, value",
    [
        ("--pid", "container:x"),
        ("--net", "bridge"),
        ("--ipc", "none"),
        ("--userns", "nomap"),
        ("--uts", "ns:x"),
    ],
)
def test_a_kind_of_namespace_that_is_not_there_is_refused_by_name(option, value):
    assert "%s %s: is not one of " % (option, value) in refusal(option, value, "--", "true")


@pytest.mark.parametrize(
    "option, file", [("net", "net"), ("pid", "pid"), ("cgroupns", "cgroup"), ("userns", "user")]
)
def test_who_names_a_container_is_told_how_its_namespace_is_named(option, file):
    said = refusal("--" + option, "container:web", "--", "true")
    hint = "--userns ns:/proc/PID/ns/user, with the pid that minictr state tells"
    if option != "userns":
        hint = "--%s ns:/proc/PID/ns/%s %s" % (option, file, hint)
    assert said.startswith("--%s container:web: is not one of " % option) and said.endswith("; hint: " + hint)


@pytest.mark.parametrize("value", ["bridge", "pasta:-t,80"])
def test_who_names_a_network_that_others_make_is_told_that_none_is(value):
    said = refusal("--net", value, "--", "true")
    assert said.endswith("; hint: networks are not set up: --net host, or the ns:PATH of one that is")


def test_the_hosts_processes_come_with_the_hosts_proc():
    assert parse("--pid=host").host_proc
    assert not parse().host_proc


def test_the_hosts_ipc_comes_with_the_files_of_it(rootfs):
    entry = mounts("--rootfs", rootfs, "--ipc=host")["/dev/shm"]
    assert (entry["type"], entry["source"]) == ("none", "/dev/shm")


def test_a_name_needs_a_uts_namespace_of_its_own():
    assert "hostname" not in config("--uts=host")
    assert "hostname" not in config("--uts=ns:/proc/1/ns/uts")
    assert refusal("--uts=host", "-h", "x", "--", "true") == "--hostname x: needs --uts private"
    found = config("--hostname=a.b", "--domainname", "c")
    assert (found["hostname"], found["domainname"]) == ("a.b", "c")


@pytest.mark.parametrize(
    "argv, userns",
    [([], "auto"), (["--userns=auto"], "auto"), (["--userns=private"], "auto"), (["--userns=host"], "host"),
     (["--userns=ns:/x"], "config"), (["--uidmap=0:1:1"], "config")],
)  # fmt: skip
def test_who_decides_about_the_user_namespace(argv, userns):
    assert parse(*argv).userns == userns


def test_keep_id_is_the_caller_inside_and_for_the_unprivileged(monkeypatch):
    monkeypatch.setattr(unix, "geteuid", lambda: 1000)
    monkeypatch.setattr(unix, "getegid", lambda: 1001)
    spec = parse("--userns=keep-id")
    assert (spec.userns, spec.kept) == ("keep-id", (1000, 1001))
    assert spec.config["process"]["user"] == {"uid": 1000, "gid": 1001, "umask": 0o22}
    assert parse("--userns=keep-id:uid=7").kept == (7, 1001)
    assert parse("--userns=keep-id:gid=8,uid=7").kept == (7, 8)
    for wrong in ("uid=x", "uid", "size=5", "uid=4294967295"):
        said = refusal("--userns=keep-id:" + wrong, "--", "x")
        assert "is not of the form keep-id[:uid=NUMBER,gid=NUMBER]" in said
    assert spec.config["process"]["capabilities"]["effective"] == []
    monkeypatch.setattr(unix, "geteuid", lambda: 0)
    assert refusal("--userns=keep-id", "--", "x") == "--userns keep-id: is for callers who are not root"


def test_ids_are_mapped_as_given_and_one_map_serves_for_both():
    linux = config("--uidmap", "0:100000:1000", "--uidmap", "1000:1000:1")["linux"]
    assert linux["uidMappings"] == [
        {"containerID": 0, "hostID": 100000, "size": 1000},
        {"containerID": 1000, "hostID": 1000, "size": 1},
    ]
    assert linux["gidMappings"] == linux["uidMappings"]
    linux = config("--uidmap=0:1:1", "--gidmap=0:2:1")["linux"]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": 2, "size": 1}]


@pytest.mark.parametrize(
    "argv, why",
    [
        (["--uidmap=0:1"], "is not of the form CONTAINER:HOST:SIZE"),
        (["--uidmap=0:-1:1"], "is not of the form"),
        (["--uidmap=0:1:0"], "a range has one at least"),
        (["--gidmap=0:4294967295:1"], "ids are 0 to 4294967294"),
        (["--uidmap=1:0:4294967295"], "ids are 0 to 4294967294"),
        (["--uidmap=0:0:10", "--uidmap=9:100:1"], "overlaps another range"),
        (["--uidmap=0:0:10", "--uidmap=10:9:1"], "overlaps another range"),
        (["--uidmap=0:0:10", "--userns=host"], "--userns host: contradicts --uidmap"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_map_that_cannot_be_is_one_clear_line(argv, why):
    assert why in refusal(*(argv + ["--", "true"]))


@pytest.mark.parametrize(
    "argv, offsets",
    [
        (["5"], {"monotonic": (5, 0), "boottime": (5, 0)}),
        (["monotonic=1.5"], {"monotonic": (1, 500000000)}),
        (["boottime=-1.25"], {"boottime": (-2, 750000000)}),
        (["-3"], {"monotonic": (-3, 0), "boottime": (-3, 0)}),
        (["monotonic=1", "boottime=+2"], {"monotonic": (1, 0), "boottime": (2, 0)}),
    ],
    ids=" ".join,
)
def test_clocks_are_moved_in_a_time_namespace(argv, offsets):
    argv = [word for text in argv for word in ("--time-offset", text)]
    assert namespaces(*argv)["time"] == "new"
    assert config(*argv)["linux"]["timeOffsets"] == {
        clock: {"secs": seconds, "nanosecs": nanos} for clock, (seconds, nanos) in offsets.items()
    }


@pytest.mark.parametrize(
    "text", ["realtime=1", "1.0000000001", "x", "--1", "1.", "monotonic=", "9" * 19, "1.-5"]
)
def test_an_offset_that_is_none_is_an_error(text):
    assert refusal("--time-offset", text, "--", "true").startswith("--time-offset " + text)


@pytest.mark.parametrize("which", ["host", "ns:/proc/1/ns/time"])
def test_an_offset_needs_clocks_of_its_own(which):
    assert "needs a time namespace of its own" in refusal("--time-offset=1", "--time", which, "--", "x")


def test_kernel_parameters_and_annotations_are_kept_whole():
    found = config("--sysctl", "net.a=1=2", "--annotation", "b=", "--annotation=c=d")
    assert found["linux"]["sysctl"] == {"net.a": "1=2"}
    assert found["annotations"] == {"b": "", "c": "d"}


# --- privileges -----------------------------------------------------------------------------------


def capabilities(*argv):
    return config(*argv)["process"]["capabilities"]


def test_root_has_the_usual_fourteen_and_nothing_to_inherit():
    sets = capabilities()
    assert set(sets["bounding"]) == set(DEFAULT_CAPABILITIES)
    assert sets["bounding"] == sets["effective"] == sets["permitted"]
    assert sets["inheritable"] == sets["ambient"] == []


@pytest.mark.parametrize(
    "argv, expected",
    [
        (["--cap-drop=ALL"], set()),
        (["--cap-drop", "all", "--cap-add", "net_admin,CAP_SYS_TIME"], {"CAP_NET_ADMIN", "CAP_SYS_TIME"}),
        (["--cap-add=ALL"], set(abi.CAPABILITIES)),
        (["--cap-add=ALL", "--cap-drop=SYS_ADMIN"], set(abi.CAPABILITIES) - {"CAP_SYS_ADMIN"}),
        (["--cap-drop=chown", "--cap-drop=kill"], set(DEFAULT_CAPABILITIES) - {"CAP_CHOWN", "CAP_KILL"}),
        (["--cap-add=SYS_PTRACE"], set(DEFAULT_CAPABILITIES) | {"CAP_SYS_PTRACE"}),
    ],
    ids=" ".join,
)
def test_capabilities_are_added_and_dropped(argv, expected):
    sets = capabilities(*argv)
    assert set(sets["bounding"]) == set(sets["effective"]) == set(sets["permitted"]) == expected
    assert sets["inheritable"] == sets["ambient"] == []


@pytest.mark.parametrize("user", ["0", "000", "root", "root:5", "0:5"])
def test_root_is_root_however_it_is_written(user):
    assert capabilities("--user", user)["effective"]


@pytest.mark.parametrize("user", ["me", "1000", "1000:0", "toor"])
def test_another_user_has_what_was_added_by_name_alone(user):
    sets = capabilities("--user", user)
    assert set(sets["bounding"]) == set(DEFAULT_CAPABILITIES)
    for kind in ("effective", "permitted", "inheritable", "ambient"):
        assert sets[kind] == []
    sets = capabilities("--user", user, "--cap-add", "net_admin", "--cap-add", "kill")
    assert set(sets["bounding"]) == set(DEFAULT_CAPABILITIES) | {"CAP_NET_ADMIN"}
    for kind in ("effective", "permitted", "inheritable", "ambient"):
        assert sets[kind] == ["CAP_KILL", "CAP_NET_ADMIN"]
    sets = capabilities("--user", user, "--cap-add", "all", "--cap-drop", "kill")
    assert sets["bounding"] == sets["ambient"] and "CAP_KILL" not in sets["ambient"]


@pytest.mark.parametrize(
    "argv, why",
    [
        (["--cap-add=SYS_NOTHING"], "--cap-add SYS_NOTHING: there is no capability of that name"),
        (["--cap-drop=kill,"], "--cap-drop: there is no capability of that name"),
        (["--cap-add=kill", "--cap-drop=CAP_KILL"], "--cap-add CAP_KILL: is dropped by --cap-drop too"),
        (["--cap-add=ALL", "--cap-drop=ALL"], "--cap-add ALL: is dropped by --cap-drop too"),
        (["--security-opt=seccomp=/no/such.json"], "seccomp=/no/such.json: No such file or directory"),
        (["--security-opt=seccomp"], "seccomp: is not of the form seccomp=builtin|unconfined|FILE"),
        (["--security-opt=seccomp="], "seccomp=: is not of the form seccomp=builtin|unconfined|FILE"),
        (["--security-opt=apparmor"], "is not of the form apparmor=PROFILE|unconfined"),
        (["--security-opt=label=nested"], "is not supported; hint: known are disable, user:USER"),
        (["--security-opt=label:type"], "is not supported; hint: known are disable, user:USER"),
        (["--security-opt=mask=/proc/*"], "patterns are for unmask alone"),
        (["--security-opt=mask=/etc:/a*"], "patterns are for unmask alone"),
        (["--security-opt=proc-opts=hidepid=2"], "is not supported; hint: supported are"),
        (["--security-opt=no-new-privileges=maybe"], "is true or false, or nothing"),
        (["--security-opt=mask=relative"], "takes absolute paths with : between them"),
        (["--security-opt=unmask="], "takes absolute paths"),
        (["--security-opt=unmask=/proc/[a]*"], "of patterns only a * at the end is known"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_enforced_is_refused(argv, why):
    assert why in refusal(*(argv + ["--", "true"]))


def test_new_privileges_are_off_unless_asked_for():
    assert config()["process"]["noNewPrivileges"] is True
    for text in (
        "no-new-privileges",
        "no-new-privileges=true",
        "no-new-privileges:true",
        "seccomp=unconfined",
    ):
        assert config("--security-opt", text)["process"]["noNewPrivileges"] is True
    assert config("--security-opt=no-new-privileges=false")["process"]["noNewPrivileges"] is False


def hidden_paths(*texts):
    linux = config(*["--security-opt=" + text for text in texts])["linux"]
    return linux["maskedPaths"], linux["readonlyPaths"]


def test_paths_are_masked_and_shown():
    usual = masked_paths()
    assert hidden_paths() == (usual, READONLY_PATHS)
    assert hidden_paths("unmask=ALL") == hidden_paths("systempaths=unconfined") == ([], [])
    assert hidden_paths("mask=/a:/b/../c") == (usual + ["/a", "/c"], READONLY_PATHS)
    masked, readonly = hidden_paths("unmask=/proc/acpi:/proc/sys")
    assert "/proc/acpi" not in masked and "/proc/sys" not in readonly
    assert len(masked) + len(readonly) == len(usual) + len(READONLY_PATHS) - 2
    masked, readonly = hidden_paths("unmask=/proc/*")
    assert masked == [path for path in usual if path.startswith("/sys")] and readonly == []


# What Docker 28, podman 5 and containerd 2 mask, together
ENGINES_MASK = """
    /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug
    /proc/scsi /proc/timer_list /proc/timer_stats /sys/dev/block /sys/devices/virtual/powercap /sys/firmware
    /sys/fs/selinux
"""


def test_what_any_engine_masks_is_masked(tmp_path):
    assert masked_paths(str(tmp_path)) == ENGINES_MASK.split()

    for name in ("cpu0", "cpu1", "cpu11", "cpufreq"):
        (tmp_path / name / "thermal_throttle").mkdir(parents=True)
    more = masked_paths(str(tmp_path))[len(ENGINES_MASK.split()) :]
    assert more == ["%s/%s/thermal_throttle" % (tmp_path, name) for name in ("cpu0", "cpu1", "cpu11")]


@pytest.mark.parametrize("texts", [("mask=/proc/acpi", "unmask=ALL"), ("unmask=ALL", "mask=/proc/acpi")])
def test_what_is_masked_by_name_stays_masked(texts):
    assert hidden_paths(*texts) == (["/proc/acpi"], [])


def test_one_configuration_does_not_change_another():
    config("--cap-add=ALL", "--security-opt=unmask=ALL", "--shm-size=1g", "--name", "other")
    first, second = parse("--name", "x"), parse("--name", "x")
    first.config["process"]["capabilities"]["bounding"].append("changed")
    first.config["mounts"][0]["options"].append("changed")
    assert parse("--name", "x") == second


# --- anything at all ------------------------------------------------------------------------------

NAMES = sorted(options._INDEX)
VALUES = [
    "/etc:/a",
    "/a",
    "0",
    "-1",
    "host",
    "ns:/x",
    "A=b",
    "ALL",
    "a,b",
    ":",
    "=",
    ",",
    "1:2:3",
    "type=bind,",
]
WORDS = (
    st.sampled_from(NAMES)
    | st.sampled_from(VALUES)
    | st.binary(max_size=8).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))
)
PAIRS = st.tuples(st.sampled_from(NAMES), WORDS).map(lambda pair: pair[0] + "=" + pair[1])


@given(st.lists(WORDS | PAIRS, max_size=6), st.booleans())
def test_any_words_are_a_spec_or_one_line(words, native):
    try:
        spec = options.parse(words + ["--", "true"] if native else words)
    except ContainerError as error:
        assert error.status == 125
        assert str(error).isprintable()
    except options.HelpAsked:
        pass
    else:
        assert spec.config["process"]["args"]
        assert not spec.identifier.strip(options.CONTAINER_ID)
