import errno
import os

import pytest

from minictr.errors import EXIT_ERROR, EXIT_REQUIRED, ContainerError, Degradation, printable, step


def test_an_error_says_what_was_done_why_it_failed_and_what_may_help():
    error = ContainerError("mount proc on /proc", number=errno.EPERM, hint="create a user namespace")
    assert str(error) == "mount proc on /proc: Operation not permitted; hint: create a user namespace"
    assert error.status == EXIT_ERROR


def test_a_step_turns_an_os_error_into_a_container_error():
    with pytest.raises(ContainerError) as caught, step("open the root", {errno.ENOENT: "make it"}):
        raise FileNotFoundError(errno.ENOENT, "x", "/no/such")
    assert str(caught.value) == "open the root: /no/such: No such file or directory; hint: make it"
    assert caught.value.number == errno.ENOENT


def test_a_step_does_not_say_a_path_twice():
    with pytest.raises(ContainerError) as caught, step("open /no/such"):
        raise FileNotFoundError(errno.ENOENT, "x", "/no/such")
    assert str(caught.value) == "open /no/such: No such file or directory"


def test_a_step_does_not_say_the_number_of_a_descriptor(tmp_path):
    with open(str(tmp_path / "file"), "w") as file:
        with pytest.raises(ContainerError) as caught, step("read the directory"):
            os.listdir(file.fileno())  # Python takes the number for the name
    assert str(caught.value) == "read the directory: Not a directory"


def test_a_step_lets_everything_else_through():
    with pytest.raises(ValueError), step("count"):
        raise ValueError("three")


def test_the_inner_step_is_the_one_that_is_named():
    with pytest.raises(ContainerError, match="^inner: "), step("outer"), step("inner"):
        raise OSError(errno.EBUSY, "")


def test_a_degradation_says_what_is_lost():
    record = Degradation(
        "root-fallback", "root", "pivot_root", "chroot", "the old root", errno.EINVAL, fix="x"
    )
    assert str(record) == (
        "root: wanted pivot_root, got chroot; Invalid argument; lost: the old root; fix: x"
    )
    assert record.as_dict()["errno"] == errno.EINVAL
    assert set(record.as_dict()) == set(Degradation.FIELDS)


def test_where_steps_down_are_refused_a_degradation_is_an_error_of_its_own_status():
    error = Degradation("root-fallback", "root", "pivot_root", "chroot", "x", errno.EINVAL).as_error()
    assert str(error) == "root: pivot_root is required: Invalid argument"
    assert error.status == EXIT_REQUIRED


@pytest.mark.parametrize(
    "value, text",
    [
        ("plain", "plain"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\u202e", r"\u202e"),
        (b"caf\xe9", r"caf\xe9"),
        ("\ud800", r"\ud800"),
        ("d\u00e9j\u00e0", "d\u00e9j\u00e0"),
        (12, "12"),
    ],
    ids=["text", "newline", "escape", "right to left", "undecodable", "half a pair", "accents", "number"],
)
def test_what_comes_from_outside_cannot_write_a_line_or_move_the_cursor(value, text):
    assert printable(value) == text
