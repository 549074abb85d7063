import json
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minictr import document

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)  # fmt: skip
fragments = st.sampled_from(
    list('{}[]:,"\\0123456789eE+-. \t\n\r\0\x0b\xa0\ufeff') + ["true", "null", "NaN", "\\u", "d800"]
)


def outcome(loads, text):
    try:
        return loads(text)
    except ValueError as error:
        return ("ValueError", str(error))


def strictly(text):
    """As json reads it, but for NaN and Infinity, which are no JSON."""
    return json.loads(text, parse_constant=document._Context.parse_constant)


@given(values)
def test_what_is_written_is_read_back(value):
    assert document.loads(document.dumps(value)) == value


@given(values)
def test_what_is_written_is_what_json_would_write(value):
    assert document.dumps(value) == json.dumps(value, separators=(",", ":"))


@given(values, st.sampled_from(["  ", "\t"]))
def test_what_is_written_for_people_is_what_json_would_write(value, indent):
    assert document.pretty(value, indent) == json.dumps(value, indent=indent)


@given(values, st.integers(0, 3), st.sampled_from(["", " ", "\n\t\r "]))
def test_every_document_is_read_as_json_reads_it(value, indent, space):
    text = space + json.dumps(value, indent=indent or None, ensure_ascii=False) + space
    assert document.loads(text) == json.loads(text) == value


@given(st.lists(fragments).map("".join))
def test_every_other_text_is_read_or_refused_as_json_does_it(text):
    assert outcome(document.loads, text) == outcome(strictly, text)


@given(values, st.data())
def test_a_truncated_document_is_refused_as_json_does_it(value, data):
    text = json.dumps([value])
    text = text[: data.draw(st.integers(0, len(text) - 1))]
    assert outcome(document.loads, text) == outcome(strictly, text)


@pytest.mark.parametrize("text", ["[" * 100000, '{"a":' * 100000], ids=["lists", "objects"])
def test_a_document_that_is_nested_too_deeply_is_refused(text):
    with pytest.raises(ValueError, match="nested too deeply"):
        document.loads(text)


def test_without_the_c_module_json_does_it_all(monkeypatch):
    monkeypatch.setitem(sys.modules, "_json", None)
    text = ' {"a": [1, 2.5, "\\u00e9", null, true]} '
    assert document.loads(text) == json.loads(text)
    assert document.dumps(json.loads(text)) == json.dumps(json.loads(text), separators=(",", ":"))


def test_with_the_c_module_json_is_not_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "json", None)
    assert document.loads(document.dumps({"a": [1, {}], "b": []})) == {"a": [1, {}], "b": []}


def test_a_tuple_is_written_as_a_list():
    assert document.dumps((1, ("a",))) == '[1,["a"]]'


def test_what_is_no_json_is_refused_by_its_value():
    with pytest.raises(TypeError, match="no JSON for b'x'"):
        document.dumps({"a": b"x"})


def test_numbers_keep_their_kind_and_their_digits():
    found = document.loads("[1, 1.0, -0.0, 12345678901234567890, 1e400]")
    assert [type(number) for number in found] == [int, float, float, int, float]
    assert math.copysign(1, found[2]) == -1
    assert found[3] == 12345678901234567890
