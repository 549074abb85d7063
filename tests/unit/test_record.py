import pytest

from minictr.record import Record


class Point(Record):
    x: int
    y: int = 0


def test_fields_are_the_annotations_in_order():
    assert Point.fields == ("x", "y")


def test_a_field_that_is_not_given_has_its_default():
    assert Point(x=1).y == 0


def test_a_missing_field_is_named():
    with pytest.raises(AttributeError, match="x"):
        Point(y=1)


def test_a_field_that_is_not_annotated_is_refused_by_name():
    with pytest.raises(TypeError, match="Point has no field .*z"):
        Point(x=1, z=2)


def test_a_record_cannot_be_changed():
    point = Point(x=1)
    with pytest.raises(AttributeError, match="Point.x cannot be changed"):
        point.x = 2
    assert point.x == 1


def test_records_are_compared_by_value_and_type():
    class Other(Record):
        x: int
        y: int = 0

    assert Point(x=1) == Point(x=1, y=0)
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != Other(x=1)


def test_a_record_has_no_hash_as_its_parts_may_have_none():
    with pytest.raises(TypeError):
        hash(Point(x=1))


def test_replace_gives_a_changed_copy():
    point = Point(x=1)
    assert point.replace(y=5) == Point(x=1, y=5)
    assert point == Point(x=1)


def test_repr_shows_every_field_as_it_would_be_written():
    assert eval(repr(Point(x=1, y=-1))) == Point(x=1, y=-1)
