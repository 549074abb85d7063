"""The words of update, ps and events, and how limits are put together: no container needed."""

import pytest

from minictr import cgroup_files, control, living, measuring, memory_watch, updates, words
from minictr.errors import ContainerError

# --- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, size",
    [
        ("0", 0), ("1", 1), ("-1", -1), ("1024", 1024), ("1b", 1), ("1k", 1024), ("1K", 1024), ("2kb", 2048),
        ("2KiB", 2048), ("64m", 64 << 20), ("64MB", 64 << 20), ("1g", 1 << 30), ("1.5g", 3 << 29),
        ("0.5k", 512), ("3t", 3 << 40), ("1p", 1 << 50), ("0.3k", 307), ("9007199254740993", 2**53 + 1),
    ],
)  # fmt: skip
def test_a_size_is_a_number_with_a_unit(text, size):
    assert words.size("--memory", text) == size


NO_SIZES = [
    "", "x", "m", "b", "ib", "-2", "+1", "1 m", "1mm", "1.", ".5", "1.5.5", "1e9", "0x10", "1ib", "\u0663",
    "9" * 30,
]  # fmt: skip


@pytest.mark.parametrize("text", NO_SIZES)
def test_what_is_no_size_is_named(text):
    with pytest.raises(ContainerError) as caught:
        words.size("--memory", text)
    assert str(caught.value).endswith(": is not a size such as 64m")


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("5s", 5), ("5", 5), ("0.25", 0.25), ("500ms", 0.5), ("1m30s", 90), ("1h", 3600), ("1.5h", 5400),
        ("100us", 1e-4), ("1ns", 1e-9), ("1h1m1s", 3661), (".5s", 0.5),
    ],
)  # fmt: skip
def test_a_duration_is_numbers_with_units(text, seconds):
    assert measuring.duration("--interval", text) == pytest.approx(seconds)


NO_DURATIONS = ["", "s", "x", "5x", "-1s", "5 s", "1.2.3s", "1h-5m", "5sm", "0", "0s", ".s", "\u0663s"]


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_what_is_no_duration_is_named(text):
    with pytest.raises(ContainerError) as caught:
        measuring.duration("--interval", text)
    assert str(caught.value).startswith("--interval")


def test_options_become_resources():
    given = {
        "--memory": "1g", "--memory-swap": "-1", "--memory-reservation": "0", "--cpu-quota": "-1",
        "--cpu-period": "100000", "--cpu-burst": "5", "--cpu-share": "512", "--cpu-idle": "1",
        "--cpu-rt-period": "6", "--cpu-rt-runtime": "7", "--cpuset-cpus": "0-1", "--cpuset-mems": "0",
        "--pids-limit": "9", "--blkio-weight": "10", "--memory-swappiness": "0",
    }  # fmt: skip
    assert set(given) == set(updates.OPTIONS) - {"--cpu-shares"}
    assert updates.changes(given) == {
        "memory": {"limit": 1 << 30, "swap": -1, "reservation": 0, "swappiness": 0},
        "cpu": {
            "quota": -1, "period": 100000, "burst": 5, "shares": 512, "idle": 1,
            "realtimePeriod": 6, "realtimeRuntime": 7, "cpus": "0-1", "mems": "0",
        },
        "pids": {"limit": 9},
        "blockIO": {"weight": 10},
    }  # fmt: skip
    assert updates.changes({"--memory": ""}) == {}
    assert updates.changes({"--cpus": "0"}) == updates.changes({"--cpus": "0.0"}) == {}  # as of the others


# --- limits together ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "memory, before, result",
    [
        ({"limit": 5}, {}, {"limit": 5, "swap": 0}),
        ({"limit": 5}, {"swap": 9}, {"limit": 5, "swap": 9}),
        ({"limit": 5, "swap": 7}, {"limit": 3, "swap": 9}, {"limit": 5, "swap": 7}),
        ({"swap": 9}, {"limit": 3}, {"limit": 3, "swap": 9}),
        ({"limit": 0, "swap": 0}, {"limit": 3, "swap": 9}, {"limit": 0, "swap": 0}),
        ({"limit": -1}, {"limit": 3, "swap": 9}, {"limit": -1, "swap": -1}),
        ({"limit": -1, "swap": 8}, {"limit": 3, "swap": 9}, {"limit": -1, "swap": 8}),
        ({"limit": None, "swap": 9}, {"limit": None}, {"limit": 0, "swap": 9}),
        ({"reservation": 4}, {"limit": 3, "swap": 9}, {"reservation": 4}),
    ],
)
def test_memory_and_swap_stand_beside_each_other(memory, before, result):
    changes = {"memory": memory, "pids": {"limit": 1}}
    assert updates.beside(changes, {"memory": before}) == {"memory": result, "pids": {"limit": 1}}


def test_without_memory_nothing_stands_beside_a_change():
    changes = {"pids": {"limit": 1}}
    assert updates.beside(changes, {"memory": {"limit": 3}}) is changes


@pytest.mark.parametrize(
    "before, changes, result",
    [
        ({}, {}, {}),
        ({}, {"pids": {"limit": 5}}, {"pids": {"limit": 5}}),
        ({"pids": {"limit": 5}}, {"pids": {"limit": 0}}, {"pids": {"limit": 5}}),
        ({"pids": {"limit": 5}}, {"pids": {"limit": -1}}, {"pids": {"limit": -1}}),
        ({"pids": {"limit": 5}}, {"pids": None}, {"pids": {"limit": 5}}),
        ({"cpu": {"shares": 5, "cpus": "0"}}, {"cpu": {"shares": 6}}, {"cpu": {"shares": 6, "cpus": "0"}}),
        ({"cpu": {"cpus": "0"}}, {"cpu": {"shares": 6, "cpus": ""}}, {"cpu": {"shares": 6, "cpus": "0"}}),
        ({"cpu": {"idle": 1}}, {"cpu": {"idle": 0}}, {"cpu": {"idle": 0}}),
        ({"cpu": {"idle": 1}}, {"cpu": {"idle": None}}, {"cpu": {"idle": 1}}),
        ({"memory": {"swappiness": 5}}, {"memory": {"swappiness": 0}}, {"memory": {"swappiness": 0}}),
        ({}, {"memory": {"limit": 5, "checkBeforeUpdate": True}}, {"memory": {"limit": 5}}),
        ({"devices": [1]}, {"devices": [{"allow": False}]}, {"devices": [1]}),
        ({"unified": {"a.b": "1"}}, {"unified": {"c.d": "2"}}, {"unified": {"a.b": "1", "c.d": "2"}}),
        (
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": 2}]},
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 3}]},
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 3}, {"pageSize": "1GB", "limit": 2}]},
        ),
        (
            {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]}},
            {"blockIO": {"weight": 0, "throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 2}]}},
            {
                "blockIO": {
                    "throttleReadBpsDevice": [
                        {"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 16, "rate": 2},
                    ]
                }
            },
        ),
    ],
)  # fmt: skip
def test_what_is_in_force_is_what_was_and_what_was_changed(before, changes, result):
    kept = repr(before)
    assert updates.merged(before, changes) == result
    assert repr(before) == kept


# --- ps ---------------------------------------------------------------------------------------

TABLE = b"""\
UID        PID  PPID CMD
root         1     0 /sbin/init 42
me          42     1 \xff\xfe
root       142    42 sleep 42
"""


@pytest.mark.parametrize(
    "pids, lines",
    [([], [0]), ([42], [0, 2]), ([1, 142], [0, 1, 3]), ([7], [0])],
    ids=["none", "one", "two", "gone"],
)
def test_lines_of_a_table_are_chosen_by_the_column_pid(pids, lines):
    found = TABLE.splitlines(True)
    assert control.chosen(TABLE, pids) == b"".join([found[number] for number in lines])


@pytest.mark.parametrize("text", [b"", b"CMD\nsleep\n", b"PPID\n1\n"])
def test_a_table_without_that_column_is_an_error(text):
    with pytest.raises(ContainerError) as caught:
        control.chosen(text, [1])
    assert str(caught.value) == "read what ps says: it has no column PID; hint: add pid to its arguments"


@pytest.mark.parametrize("line", [b"sh -c x 1", b"", b"x"])
def test_a_line_of_which_the_process_cannot_be_told_is_an_error(line):
    with pytest.raises(ContainerError) as caught:
        control.chosen(b"CMD PID\n" + line + b"\n", [1])
    assert caught.value.hint == "let the column PID come first"


def test_a_name_that_a_process_gives_itself_is_no_reason_not_to_see_the_others():
    """busybox's ps prints it as it is: it was a line of its own, or ended the verb for every container."""
    table = (
        b"PID   USER     COMMAND\n   7 root     {a\nb\r} \x1b[2Jx\n  42 root     {c\x1b[2J\xc2\x9bm} s\xff\n"
    )
    assert control.chosen(table, [42]) == b"PID   USER     COMMAND\n  42 root     {c?[2J?m} s\xff\n"
    assert control.chosen(table, [7]) == b"PID   USER     COMMAND\n   7 root     {a\n"


def test_who_has_left_the_container_while_its_memory_was_measured_is_not_killed(monkeypatch):
    """The number is another process's then, which the container may have waited for."""
    members, killed = [7, 8, 9], []
    monkeypatch.setattr(living, "by_namespace", lambda first: list(members))
    monkeypatch.setattr(memory_watch, "memory_of", lambda pid: 8 in members and members.remove(8) or 100)
    monkeypatch.setattr(cgroup_files, "signal", lambda found, number: killed.extend(found) or found)
    memory_watch.Watch(100).look(7)
    assert killed == [7, 9]
