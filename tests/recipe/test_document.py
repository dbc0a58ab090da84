"""Recipes as text: YAML 1.2's plain words, lines of keys, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from risctl.recipe.document import DocumentError, dump, read


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("3e-4", 3e-4),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("017", 17),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-01-02", "2024-01-02"),
        ("1_000", "1_000"),
        ("true", True),
        ("~", None),
        ("", None),
        ("'16'", "16"),
        (".inf", float("inf")),
        ("[2, 3e-1]", [2, 0.3]),
        ("<<", "<<"),
    ],
)
def test_plain_words(plain: str, value: Any) -> None:
    read_value, _ = read(f"key: {plain}")
    assert read_value == {"key": value}
    assert type(read_value["key"]) is type(value)


def test_lines_of_keys() -> None:
    _, lines = read("# a comment\na:\n  b: 1\n\n  c: {d: 2,\n      e: 3}\n")
    assert lines == {("a",): 2, ("a", "b"): 3, ("a", "c"): 5, ("a", "c", "d"): 5, ("a", "c", "e"): 6}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "b.c is given twice, first on line 3"),
        ("a: 1\na: 2\n", 2, "a is given twice"),
        ("a: &x 1\nb: *x\n", 2, "cannot use anchors and aliases"),
        ("a: 1\nb: [1, 2\n", 3, "expected"),
        ("a: 1\n\tb: 2\n", 2, "cannot start any token"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, "could not determine a constructor"),
        ("a: 1\n3: 2\n", 2, "is not a string"),
        ("a: 1\n? [x]\n: 2\n", 2, "is not a string"),
        ("a: 1\n---\nb: 2\n", 2, "expected a single document"),
        ("a: 1\nb: \x07\n", 2, "a character that YAML forbids"),
        ("[" * 5000, 1, ""),
    ],
)
def test_refuses(text: str, line: int, says: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(text)
    assert [where for where, _ in caught.value.problems] == [line]
    assert says in caught.value.problems[0][1]


def test_an_empty_document_is_nothing() -> None:
    assert read("# only a comment\n") == (None, {})


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


@settings(deadline=None)
@given(values)
def test_what_is_written_reads_back(value: Any) -> None:
    assert read(dump(value))[0] == value


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.text(), max_size=4))
def test_text_reads_back_by_the_rules_of_yaml_1_1_too(value: dict[str, str]) -> None:
    assert yaml.safe_load(dump(value)) == value
