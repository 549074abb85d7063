"""The table of causes, on hosts that are made up."""

import errno
import os

import pytest

from minictr import abi, causes, causes_ids, cgroup, fixes, signs, subids
from minictr import host as host_module
from minictr.abi import EACCES, EINVAL, ENODEV, ENOENT, ENOSPC, ENOSYS, EPERM, EROFS

WHOLE_PROC = "22 27 0:21 / /proc rw,nosuid - proc proc rw\n"
ROOT = "27 1 254:0 / / rw - ext4 /dev/vda rw\n"


class FakeHost:
    """What `signs` reads. files: path to text; caps: held; uid: whose process this is"""

    def __init__(self, monkeypatch):
        self.files = {"/proc/self/mountinfo": ROOT + WHOLE_PROC, "/proc/self/uid_map": "0 0 4294967295\n"}
        self.caps = (1 << 41) - 1
        self.bounding = (1 << 41) - 1
        self.uid = 0
        self.helpers = {}
        self.nnp = False
        self.release = "6.1.0-1-amd64"
        monkeypatch.setattr(signs, "read", lambda path, limit=0: self.files.get(path, ""))
        monkeypatch.setattr(signs.libc, "capget", lambda: (self.caps, self.caps, 0))
        monkeypatch.setattr(signs, "bounded", lambda number: bool(self.bounding >> number & 1))
        monkeypatch.setattr(signs, "no_new_privs", lambda: self.nnp)
        monkeypatch.setattr(signs, "surroundings", lambda: self.around)
        monkeypatch.setattr(signs, "unit", lambda: "web.service")
        monkeypatch.setattr(
            host_module, "kernel", lambda: tuple(int(part) for part in self.release.split(".")[:2])
        )
        monkeypatch.setattr(os, "geteuid", lambda: self.uid)
        monkeypatch.setattr(os, "getegid", lambda: self.uid)
        monkeypatch.setattr(subids, "helper", lambda name: self.helpers.get(name, ""))
        monkeypatch.setattr(subids.paths, "read_text", lambda path, limit=0: self.files.get(path, ""))
        self.around = ""

    def user(self, uid=1000, name="me"):
        self.uid, self.caps = uid, 0
        if name:
            self.files["/etc/passwd"] = "%s:x:%d:%d::/home/me:/bin/sh\n" % (name, uid, uid)

    def sysctl(self, name, value):
        self.files["/proc/sys/" + name.replace(".", "/")] = "%s\n" % value

    def mounted(self, *lines):
        self.files["/proc/self/mountinfo"] = ROOT + "".join(line + "\n" for line in lines)


@pytest.fixture
def host(monkeypatch):
    return FakeHost(monkeypatch)


def all_codes():
    return sorted({code for codes, _, _ in causes.TABLE for code in codes} | {"something else"})


@pytest.mark.parametrize("code", all_codes())
def test_every_refusal_has_one_line_in_ascii(host, code):
    for uid in (0, 1000):
        host.user(uid) if uid else None
        for number in [0] + sorted(errno.errorcode):
            for inside in (False, True):
                cause = causes.why(code, number, inside=inside, said="it\u2028 said\n")
                assert cause.why, (number, inside)
                for text in (cause.why, cause.fix):
                    assert text.encode("ascii") and text.isprintable() or not text, (number, inside)
                    assert not text.endswith("."), (number, inside)


# --- user namespaces --------------------------------------------------------------------------


def test_no_user_namespaces_allowed_at_all(host):
    host.user()
    host.sysctl("user.max_user_namespaces", 0)

    assert causes.why("userns", ENOSPC) == fixes.Cause(
        why="user.max_user_namespaces is 0",
        fix="as root: echo user.max_user_namespaces=15000 >> /etc/sysctl.d/90-minictr.conf"
        " && sysctl -p /etc/sysctl.d/90-minictr.conf",
    )


def test_another_kind_is_at_zero(host):
    host.sysctl("user.max_user_namespaces", 1000)
    host.sysctl("user.max_net_namespaces", 0)

    assert causes.why("userns", ENOSPC).why == "user.max_net_namespaces is 0"
    assert causes.why("network", ENOSPC).why == "user.max_net_namespaces is 0"


def test_a_limit_around_us_is_not_raised_by_ours(host):
    host.files["/proc/self/uid_map"] = "1000 1000 1\n"
    host.sysctl("user.max_user_namespaces", 0x7FFFFFFF)

    assert causes.why("userns", ENOSPC).fix.startswith("start outside of that")


def test_a_limit_that_is_reached_is_doubled(host):
    host.sysctl("user.max_user_namespaces", 1000)

    cause = causes.why("userns", ENOSPC)

    assert "user.max_user_namespaces is 1000" in cause.why
    assert cause.fix.startswith("echo user.max_user_namespaces=2000 >> ")


def test_the_switch_of_debian(host):
    host.user()
    host.sysctl("kernel.unprivileged_userns_clone", 0)

    cause = causes.why("userns", EPERM)

    assert cause.why.startswith("kernel.unprivileged_userns_clone is 0")
    assert "kernel.unprivileged_userns_clone=1" in cause.fix


def test_the_switch_of_debian_does_not_concern_root(host):
    host.sysctl("kernel.unprivileged_userns_clone", 0)

    assert "unprivileged" not in causes.why("userns", EPERM).why


def test_the_switch_of_ubuntu_prints_a_profile_for_the_launcher(host, monkeypatch):
    host.user()
    host.sysctl("kernel.apparmor_restrict_unprivileged_userns", 1)
    monkeypatch.setattr(fixes, "launcher", lambda: ("/opt/minictr", True))

    for code, number in (("userns", EPERM), ("mount", EACCES), ("maps", EPERM)):
        cause = causes.why(code, number, inside=code != "userns")
        assert cause.why.startswith("kernel.apparmor_restrict_unprivileged_userns is 1")
        assert cause.fix == (
            "as root: echo 'abi <abi/4.0>, profile minictr /opt/minictr flags=(unconfined) { userns, }'"
            " > /etc/apparmor.d/minictr && apparmor_parser -r /etc/apparmor.d/minictr"
        )


def test_without_the_launcher_the_profile_has_no_path(host, monkeypatch):
    host.user()
    host.sysctl("kernel.apparmor_restrict_unprivileged_userns", 1)
    monkeypatch.setattr("sys.argv", ["-m"])

    fix = causes.why("userns", EACCES).fix

    assert "launcher, /usr/local/bin/minictr (python3 -m cannot have a profile)" in fix


def test_the_switch_of_ubuntu_is_seen_from_inside_by_the_name_of_the_profile(host):
    host.files["/proc/self/uid_map"] = "0 1000 1\n"
    host.sysctl("kernel.apparmor_restrict_unprivileged_userns", 1)
    host.files["/sys/module/apparmor/parameters/enabled"] = "Y\n"
    host.files["/proc/self/attr/apparmor/current"] = "unprivileged_userns (enforce)\n"

    assert "apparmor_restrict" in causes.why("mount", EACCES).why


def test_a_profile_that_is_in_the_way_is_told_the_rule(host):
    host.files["/sys/module/apparmor/parameters/enabled"] = "Y\n"
    host.files["/proc/self/attr/current"] = "docker-default (enforce)\n"

    cause = causes.why("mount", EACCES)
    assert cause.why == "the AppArmor profile docker-default (enforce) does not allow it"
    assert "'mount,'" in cause.fix and "docker-default" in cause.fix

    host.around = "docker"
    assert "apparmor=unconfined" in causes.why("mount", EACCES).fix


@pytest.mark.parametrize("profile", ["unconfined", "minictr (unconfined)", "x (complain)", ""])
def test_a_profile_that_denies_nothing_is_not_blamed(host, profile):
    host.files["/sys/module/apparmor/parameters/enabled"] = "Y\n"
    host.files["/proc/self/attr/current"] = profile

    assert causes.why("mount", EACCES).why == "Permission denied"


def test_an_id_that_the_outer_namespace_does_not_know(host):
    host.user(65534)
    host.files["/proc/self/uid_map"] = "0 1000 1\n"

    assert "our own id has no place in /proc/self/uid_map" in causes.why("userns", EPERM).why


def test_a_chroot_is_no_place_for_namespaces(host):
    host.files["/proc/self/mountinfo"] = WHOLE_PROC

    for code, number in (("userns", EPERM), ("pivot_root", EINVAL), ("mount", EINVAL)):
        assert causes.why(code, number).why.startswith("we are in a chroot")


@pytest.mark.parametrize("around", ["", "docker", "podman", "kubernetes", "lxc", "systemd"])
@pytest.mark.parametrize("number", [EPERM, ENOSYS])
def test_the_filter_of_whatever_runs_us(host, around, number):
    host.around = around
    host.files["/proc/self/status"] = "Name:\tpython3\nSeccomp:\t2\n"

    for code in ("userns", "mount", "pivot_root", "clone3"):
        cause = causes.why(code, number)
        assert "seccomp filter" in cause.why and (around or "around us") in cause.why
        expected = {
            "": "grep Seccomp:", "kubernetes": "seccompProfile.type: Unconfined",
            "lxc": "lxc.seccomp.profile", "systemd": "systemctl edit web.service",
        }.get(around, "--security-opt seccomp=unconfined")  # fmt: skip
        assert expected in cause.fix


def test_a_capability_that_is_missing_outside_of_any_user_namespace(host):
    host.caps = 0

    assert causes.why("mount", EPERM).why == "CAP_SYS_ADMIN is not held"
    assert causes.why("chroot", EPERM).why == "CAP_SYS_CHROOT is not held"
    assert causes.why("mount", EPERM, inside=True).why == "Operation not permitted"


def test_selinux_comes_last(host):
    host.files["/sys/fs/selinux/enforce"] = "1"
    host.files["/proc/self/attr/current"] = "system_u:system_r:httpd_t:s0\0"

    cause = causes.why("mount", EACCES)

    assert cause.why == "SELinux may deny it to system_u:system_r:httpd_t:s0"
    assert "audit2allow" in cause.fix


def test_an_old_kernel(host):
    host.release = "4.18.0"

    assert causes.why("idmap", ENOSYS).why.startswith("idmapped mounts need Linux 5.12 or newer")
    assert causes.why("time", ENOSYS).why.startswith("time needs Linux 5.6 or newer")
    assert causes.why("overlay", EPERM, inside=True).why.startswith(
        "overlayfs in a user namespace needs Linux 5.11"
    )


# --- id maps ----------------------------------------------------------------------------------


def good_helpers(host, tmp_path, mode=0o4755):
    for name in ("newuidmap", "newgidmap"):
        path = tmp_path / name
        path.write_text("")
        path.chmod(mode)
        host.helpers[name] = str(path)
    host.files["/etc/subuid"] = host.files["/etc/subgid"] = "me:100000:65536\n"
    return host.helpers["newuidmap"], host.helpers["newgidmap"]


@pytest.fixture
def owned_by_root(monkeypatch):
    """Files that a test without privileges makes count as root's."""
    stat = os.stat

    def as_root(path, **options):
        state = stat(path, **options)
        return os.stat_result(tuple(state)[:4] + (0, 0) + tuple(state)[6:10])

    monkeypatch.setattr(causes_ids.os, "stat", as_root)


@pytest.mark.parametrize(
    "release, command",
    [
        ("ID=debian\n", "apt-get install uidmap"),
        ('ID=ubuntu\nID_LIKE="debian"\n', "apt-get install uidmap"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install shadow-utils"),
        ("ID=fedora\n", "dnf install shadow-utils"),
        ("ID=alpine\n", "apk add shadow-subids"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "zypper install shadow"),
        ("ID=arch\n", "pacman -S shadow"),
        ("ID=unheard-of\n", "install the package that has newuidmap"),
        ("", "install the package that has newuidmap"),
    ],
)
def test_the_package_of_newuidmap(host, release, command):
    host.files["/etc/os-release"] = release
    host.files["/etc/subuid"] = host.files["/etc/subgid"] = "root:100000:65536\n"

    cause = causes.why("newuidmap", ENOENT, names=("root",))

    assert cause == fixes.Cause(why="newuidmap is not installed", fix=command)


def test_both_helpers_missing_are_one_package_and_two_sentences(host):
    host.user()
    host.files["/etc/os-release"] = "ID=debian\n"

    cause = causes.why("subids", 0)

    assert cause.why == (
        "newuidmap is not installed; /etc/subuid has no range for me; /etc/subgid has no range for me"
    )
    assert cause.fix == (
        "as root: apt-get install uidmap && echo me:100000:65536 | tee -a /etc/subuid >> /etc/subgid"
    )


def test_a_helper_without_its_bit(host, tmp_path, owned_by_root):
    host.user()
    path, other = good_helpers(host, tmp_path, mode=0o755)

    cause = causes.why("newuidmap", 0)

    assert cause.why == "%s has neither the setuid bit of root nor the file capability" % path
    assert cause.fix == "as root: chown 0:0 %s && chmod 4755 %s" % (path, path)
    assert path in causes.why("subids").fix and other in causes.why("subids").fix


def test_a_helper_of_the_host_seen_from_a_container(host, tmp_path, monkeypatch):
    host.user()
    good_helpers(host, tmp_path)
    host.files["/proc/self/uid_map"] = "0 100000 65536\n"
    stat = os.stat
    monkeypatch.setattr(
        causes_ids.os,
        "stat",
        lambda path: os.stat_result(tuple(stat(path))[:4] + (65534,) * 2 + tuple(stat(path))[6:10]),
    )

    assert "its setuid bit has no power" in causes.why("newuidmap").why


def test_a_file_capability_is_as_good_as_the_bit(host, tmp_path, owned_by_root, monkeypatch):
    host.user()
    good_helpers(host, tmp_path, mode=0o755)
    monkeypatch.setattr(signs, "file_capabilities", lambda path: 1 << abi.CAP_SETUID | 1 << abi.CAP_SETGID)

    assert causes.why("subids") == fixes.Cause()


@pytest.mark.parametrize(
    "data, mask",
    [
        (b"\1\0\0\2" + b"\x80\0\0\0" + b"\0" * 12, 1 << 7),
        (b"\1\0\0\3" + b"\x40\0\0\0" + b"\0" * 4 + b"\1\0\0\0" + b"\0" * 8, 1 << 6 | 1 << 32),
        (b"\0\0\0\2" + b"\x80\0\0\0" + b"\0" * 12, 0),
        (b"\1\0\0\2", 0),
        (b"", 0),
    ],
    ids=["revision 2", "revision 3", "not effective", "cut off", "empty"],
)
def test_file_capabilities_are_read(monkeypatch, data, mask):
    monkeypatch.setattr(signs.libc, "getxattr", lambda path, name: data)

    assert signs.file_capabilities("/usr/bin/newuidmap") == mask


def test_a_helper_on_a_mount_with_nosuid(host, tmp_path, owned_by_root, monkeypatch):
    host.user()
    good_helpers(host, tmp_path)
    monkeypatch.setattr(signs, "mount_flags", lambda path: os.ST_NOSUID)
    host.mounted("30 27 0:9 / %s rw,nosuid - tmpfs t rw" % tmp_path)

    cause = causes.why("newgidmap", 0)

    assert cause.why.endswith("lies on a mount with nosuid, where its setuid bit has no power")
    assert cause.fix == "as root: mount -o remount,suid %s" % tmp_path


def test_no_new_privs_takes_the_power_of_helpers(host, tmp_path, owned_by_root, monkeypatch):
    host.user()
    good_helpers(host, tmp_path)
    monkeypatch.setattr(signs, "mount_flags", lambda path: 0)
    host.nnp = True

    assert causes.why("subids").why.startswith("no_new_privs is set in the caller")
    host.around = "systemd"
    assert "NoNewPrivileges=no in web.service" in causes.why("subids").fix


def test_no_new_privs_is_to_go_before_what_has_no_power_under_it_is_installed(host):
    host.user()
    host.files["/etc/os-release"] = "ID=debian\n"
    host.files["/etc/subuid"] = host.files["/etc/subgid"] = "me:100000:65536\n"
    host.nnp = True

    cause = causes.why("subids")

    assert cause.why.startswith("no_new_privs is set in the caller")
    assert cause.why.endswith("; newuidmap is not installed")
    assert cause.fix.startswith("start from a login shell")
    assert cause.fix.endswith("; then as root: apt-get install uidmap")


def test_a_bounding_set_without_setuid(host, tmp_path, owned_by_root, monkeypatch):
    host.user()
    good_helpers(host, tmp_path)
    monkeypatch.setattr(signs, "mount_flags", lambda path: 0)
    host.bounding, host.around = 0, "podman"

    cause = causes.why("newuidmap")

    assert "lacks CAP_SETUID" in cause.why and cause.fix == "start the outer container with --cap-add SETUID"
    host.bounding = 1 << abi.CAP_SETUID
    assert "lacks CAP_SYS_ADMIN" in causes.why("newuidmap").why


def test_ranges_that_are_too_small(host, tmp_path, owned_by_root, monkeypatch):
    host.user()
    good_helpers(host, tmp_path)
    monkeypatch.setattr(signs, "mount_flags", lambda path: 0)
    host.files["/etc/subgid"] = "me:100000:10\n"
    host.helpers["usermod"] = "/usr/sbin/usermod"

    cause = causes.why("subids", 0, uid=1000, names=("me",), need=65536)

    assert cause.why == "/etc/subgid gives 10 ids, the container needs 65536"
    assert cause.fix == "as root: usermod --add-subuids 165536-231071 --add-subgids 165536-231071 me"


def test_a_range_by_number_is_a_range(host, tmp_path, owned_by_root, monkeypatch):
    host.user()
    good_helpers(host, tmp_path)
    monkeypatch.setattr(signs, "mount_flags", lambda path: 0)
    host.files["/etc/subuid"] = host.files["/etc/subgid"] = "1000:100000:65536\n"

    assert causes.why("subids") == fixes.Cause()


def test_a_user_without_a_name(host, monkeypatch):
    host.user(54321, name="")
    monkeypatch.setattr(subids, "user_names", lambda uid: ())

    cause = causes.why("subids")

    assert "uid 54321 has no name, which newuidmap asks for" in cause.why
    assert "useradd --uid 54321 --no-create-home user54321" in cause.fix


def test_a_caller_with_another_group_than_their_own(host, tmp_path, owned_by_root, monkeypatch):
    """As after newgrp: src/newuidmap.c of shadow compares it with that of /etc/passwd."""
    host.user()
    good_helpers(host, tmp_path)
    monkeypatch.setattr(signs, "mount_flags", lambda path: 0)
    monkeypatch.setattr(os, "getgid", lambda: 1005)
    said = "newuidmap: Target process 7 is owned by a different user: uid:1000 pw_uid:1000 st_uid:1000, "

    cause = causes.why("newuidmap", 0, said=said + "gid:1005 pw_gid:1000 st_gid:1005")
    assert "/etc/passwd alone, and ours is 1005" in cause.why and cause.fix.startswith("call newgrp without")

    cause = causes.why("newuidmap", 0, said=said + "gid:1005 pw_gid:1005 st_gid:0")
    assert "hidepid" in cause.fix


def test_what_the_helper_said_is_kept(host, tmp_path, owned_by_root, monkeypatch):
    host.user()
    good_helpers(host, tmp_path)
    monkeypatch.setattr(signs, "mount_flags", lambda path: 0)
    said = "newuidmap: uid range [1-65537) -> [100000-165536) not allowed"

    cause = causes.why("newuidmap", 0, said=said)

    assert cause.why == said and "/etc/subuid" in cause.fix


def test_maps_that_are_not_ours_to_give(host):
    host.caps &= ~(1 << 31)
    assert "CAP_SETFCAP" in causes.why("maps", EPERM).why
    host.files["/proc/self/uid_map"] = "0 1000 1\n"
    assert "not all mapped in the user namespace around us" in causes.why("uid_map", EPERM).why


# --- mounts -----------------------------------------------------------------------------------


def test_a_masked_proc(host):
    host.mounted(
        WHOLE_PROC.strip(),
        "40 22 0:5 /null /proc/kcore rw - devtmpfs d rw",
        "41 22 0:9 / /proc/acpi ro - tmpfs t ro",
    )

    cause = causes.why("proc", EPERM, inside=True)

    assert cause.why == (
        "a part of /proc is hidden (mounts on /proc/kcore, /proc/acpi), so the kernel shows no fresh one"
    )
    assert cause.fix == "umount /proc/kcore /proc/acpi"
    host.around = "docker"
    assert "systempaths=unconfined" in causes.why("proc", EPERM, inside=True).fix


def test_the_kernels_own_empty_directories_hide_nothing(host):
    host.mounted(WHOLE_PROC.strip(), "40 22 0:5 / /proc/sys/fs/binfmt_misc rw - binfmt_misc b rw")

    assert causes.why("proc", EPERM, inside=True).why.startswith("proc is for the owner of the pid namespace")


def test_no_whole_proc(host):
    host.mounted("22 27 0:21 /1/root /proc rw - proc proc rw")
    assert causes.why("proc", EPERM, inside=True).why.startswith("no whole proc is mounted here")
    host.mounted("22 27 0:21 / /proc rw - proc proc rw,subset=pid")
    assert "subset=pid" in causes.why("proc", EPERM, inside=True).why
    host.mounted("22 27 0:21 / /proc ro,nosuid - proc proc rw")
    assert causes.why("proc", EPERM, inside=True).why.startswith("/proc is read-only here")


def test_sysfs_belongs_to_the_network(host):
    host.mounted("23 27 0:22 / /sys rw - sysfs sysfs rw", "31 23 0:30 / /sys/fs/cgroup rw - cgroup2 c rw")

    assert causes.why("sysfs", EPERM, inside=True).why.startswith(
        "sysfs is for the owner of the network namespace"
    )


def test_a_file_system_that_is_not_loaded(host):
    assert causes.why("overlay", ENODEV).fix == "modprobe overlay"
    assert causes.why("mount", ENODEV, kind="fuse").fix == "modprobe fuse"


def test_a_mount_point_may_have_any_name(host):
    names = ["/a\fb", "/a\x1cb", "/a\u2028b", "/a\\012b"]
    host.mounted(*["%d 1 0:9 / %s rw - tmpfs x rw" % (number, name) for number, name in enumerate(names)])

    assert [mount.place for mount in signs.mounts()][-4:] == names[:3] + ["/a\nb"]


def test_an_initramfs_is_no_root_to_pivot_from(host):
    host.files["/proc/self/mountinfo"] = "1 1 0:2 / / rw - rootfs rootfs rw\n"

    cause = causes.why("pivot_root", EINVAL)

    assert cause.why.startswith("the root of this host is its initramfs") and "switch_root" in cause.fix


def test_a_file_system_without_idmapped_mounts_is_named(host):
    host.mounted("50 27 0:40 / /data rw - nfs4 server:/ rw")

    assert causes.why("idmap", EINVAL, path="/data/root").why.startswith(
        "nfs4 cannot be mounted with other ids"
    )
    assert causes.why("idmap", EINVAL, path="/database").why.startswith("ext4 ")


# --- everything else ----------------------------------------------------------------------------


def test_a_cgroup_that_is_not_ours(host, monkeypatch):
    host.user()
    layout = cgroup.Layout(kind="v1", hierarchies=(("/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct")),))
    monkeypatch.setattr(cgroup, "layout", lambda: layout)
    monkeypatch.setattr(causes.os.path, "isdir", lambda path: False)
    fix = causes.why("cgroup-files", EACCES).fix
    assert fix.startswith("as root: for name in cpu,cpuacct; do ") and "chown 1000 minictr-1000 " in fix
    monkeypatch.setattr(causes.os.path, "isdir", lambda path: True)
    assert causes.why("cgroup-files", EACCES).fix.startswith("boot with cgroup v2 alone")
    host.mounted("31 23 0:30 / /sys/fs/cgroup rw - cgroup2 c rw")
    monkeypatch.setattr(causes.os.path, "exists", lambda path: path == "/run/user/1000/systemd/private")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    scope = "systemd-run --user --scope -p Delegate=yes minictr ..."
    assert causes.why("cgroup-files", EACCES).fix == "start with: " + scope
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    scope = "start with: XDG_RUNTIME_DIR=/run/user/1000 " + scope
    assert causes.why("cgroup-files", EACCES).fix == scope
    monkeypatch.setattr(causes.os.path, "exists", lambda path: False)
    assert causes.why("cgroup-files", EACCES).fix == "as root: loginctl enable-linger 1000; then " + scope
    monkeypatch.setattr(causes.os.path, "isdir", lambda path: False)
    assert "chown 1000 minictr-1000" in causes.why("cgroup-files", EACCES).fix
    host.around = "docker"
    assert "writable-cgroups=true" in causes.why("cgroup-files", EROFS).fix


def test_a_state_directory_that_cannot_be_written(host, tmp_path):
    host.user()

    cause = causes.why("state", EROFS, path=str(tmp_path / "not" / "there"))

    assert cause.why == "%s is on a read-only file system" % tmp_path
    assert "XDG_RUNTIME_DIR" in cause.fix and "--root DIR" in cause.fix


def test_no_null_device(host):
    assert causes.why("/dev/null", ENOENT).fix == "mknod -m 666 /dev/null c 1 3"
    assert causes.why("fork", ENOENT, path="/dev/null").fix == "mknod -m 666 /dev/null c 1 3"
    assert causes.why("fork", ENOENT, path="/else").fix == ""


def test_names_from_outside_cannot_write_lines_of_their_own(host):
    host.mounted(
        WHOLE_PROC.strip(), "40 22 0:5 / /proc/a\\012minictr:\\040all\\040is\\040well rw - tmpfs t rw"
    )

    assert "\n" not in causes.why("proc", EPERM, inside=True).why
