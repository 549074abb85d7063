import os
import signal

from support import needs, wait_until

from minictr import slim


def mapping(head, **fields):
    return head + "\n" + "".join("%s:%12s kB\n" % item for item in fields.items()) + "VmFlags: rd mr mw me\n"


def test_only_files_that_nobody_changed_are_given_back():
    text = (
        mapping("00400000-00420000 r--p 00000000 fe:00 22  /usr/bin/python3.11", Rss=128, Anonymous=0, Swap=0)
        + mapping(
            "00420000-006f2000 r-xp 00020000 fe:00 22  /usr/bin/python 3", Rss=2628, Anonymous=0, Swap=0
        )
        + mapping(
            "00946000-00a87000 rw-p 00545000 fe:00 22  /usr/bin/python3.11", Rss=1276, Anonymous=0, Swap=0
        )
        # relocated, and then made read-only
        + mapping("7f0000000000-7f0000004000 r--p 001cf000 fe:00 7  /usr/lib/libc.so.6", Anonymous=16, Swap=0)
        + mapping("7f0000008000-7f0000009000 r-xp 00000000 fe:00 7  /usr/lib/libc.so.6", Anonymous=0, Swap=4)
        + mapping(
            "7f0000010000-7f0000011000 r--s 00000000 fe:00 9  /usr/lib/gconv.cache", Anonymous=0, Swap=0
        )
        + mapping("7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0  [vdso]", Rss=4, Anonymous=0, Swap=0)
        + mapping("7f0000020000-7f0000021000 r--p 00000000 00:00 0 ", Rss=4, Anonymous=0, Swap=0)
    )
    assert slim.clean(text) == [(0x400000, 0x20000), (0x420000, 0x2D2000)]


def test_of_a_text_that_is_none_nothing_is_given_back():
    assert slim.clean("") == []
    assert slim.clean("a b c d e\nAnonymous: 0 kB\nVmFlags:\n") == []


def resident(pid):
    """KiB of RAM that a process uses."""
    with open("/proc/%d/status" % pid) as file:
        return [int(line.split()[1]) for line in file if line.startswith("VmRSS:")][0]


@needs("root", "busybox")
def test_a_runtime_that_waits_gets_smaller_and_does_its_duty_all_the_same(minictr, busybox_root):
    script = "trap 'exit 7' TERM; while :; do sleep 0.1; done"
    live = minictr.start("run", "--rootfs", busybox_root, "--", "sh", "-c", "echo up; " + script)
    live.expect("up")
    before = resident(live.pid)
    wait_until(lambda: resident(live.pid) < before - 2048, what="2 MiB are given back")
    live.signal(signal.SIGTERM)
    assert live.wait().status == 7


def test_a_process_that_has_given_back_all_it_could_goes_on():
    assert os.path.exists("/proc/self/smaps")
    slim.down()
    assert sorted(str(n) for n in range(3)) == ["0", "1", "2"]
