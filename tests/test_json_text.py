"""JSON that others wrote."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risctl.data.json_scan import Scanner
from risctl.json_text import parse_json, within_depth


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "NaN", "[Infinity]", "-Infinity", "9" * 5000, "{", "", b"\xff\xfe\x00"]
)
def test_what_is_wrong_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize("text", ['{"a": ' * 100_000, '{"a": [1, }', '{"a": ' + "9" * 5000 + "}"])
def test_a_scanner_raises_value_errors_alone(text: str) -> None:
    scanner = Scanner(text)
    with pytest.raises(ValueError):
        for _ in scanner.members():
            scanner.value()


def test_depth_is_counted_in_lists_and_mappings() -> None:
    assert within_depth(3, 0) and within_depth([], 1) and not within_depth([[]], 1)
    assert parse_json('{"a": [1]}', max_depth=2) == {"a": [1]}
    with pytest.raises(ValueError, match="more than 1 levels deep"):
        parse_json('{"a": [1]}', max_depth=1)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(values)
def test_what_json_writes_is_read(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
