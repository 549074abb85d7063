"""The mounts that the kernel tells of, as it writes them."""

import os

from minictr import mountinfo, paths

TEXT = (
    "21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "30 21 0:22 / /proc rw,nosuid - proc shared:7 rw\n"
    "29 30 0:22 /sys /proc/s\u2028\x0by rw master:3 shared:4 propagate_from:2 - proc proc ro\n"
    "40 21 0:40 / /a\\040b\\011c\\012d\\134040e rw master:9 - tmpfs none rw,size=4k\n"
)


def test_a_row_is_a_mount():
    rows = mountinfo.table(TEXT)
    assert [(number, row.parent, row.root, row.kind, row.shared) for number, row in rows.items()] == [
        (21, 1, "/", "ext4", True),
        (30, 21, "/", "proc", False),
        (29, 30, "/sys", "proc", True),
        (40, 21, "/", "tmpfs", False),
    ]
    assert [row.place for row in rows.values()] == ["/", "/proc", "/proc/s\u2028\x0by", "/a b\tc\nd\\040e"]


def test_what_hangs_from_a_mount_is_found_whatever_its_number():
    rows = mountinfo.table(TEXT)
    assert mountinfo.below(rows, 30) == [30, 29]
    assert sorted(mountinfo.below(rows, 21)) == [21, 29, 30, 40]
    assert mountinfo.below(rows, 40) == [40]
    assert mountinfo.below(rows, 99) == []


def test_the_uppermost_mount_is_its_own_parent():
    """As in a mount namespace whose root is an initramfs."""
    rows = mountinfo.table("1 1 0:2 / / rw - rootfs rootfs rw\n2 1 0:22 / /proc rw - proc proc rw\n")
    assert mountinfo.below(rows, 2) == [2]
    assert mountinfo.below(rows, 1) == [1, 2]


def test_a_descriptor_lies_on_the_mount_of_its_place():
    proc = paths.open_proc()
    place = mountinfo.own()[mountinfo.mount_id(proc)].place
    assert place == "/proc" and mountinfo.mount_id(proc, proc) == mountinfo.mount_id(proc)
    os.close(proc)
