"""Recipes as text: YAML 1.2's plain words, lines of keys, and what is refused."""

from __future__ import annotations

import contextlib
import time
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
        ("a: !!python/object/apply:os.system [ls]\n", 1, "is not for recipes"),
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


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        ("!!int abc", "expected a whole number, got 'abc'"),
        ("!!int 0x1f", "expected a whole number, got '0x1f'"),
        ("!!int [1]", "expected a whole number, got a list"),
        ("!!float x", "expected a number, got 'x'"),
        ("!!bool yes", "expected true or false, got 'yes'"),
        ("!!null x", "expected null, got 'x'"),
        ("!!timestamp 2024-01-01", "the tag !!timestamp is not for recipes"),
        ("!!timestamp soon", "the tag !!timestamp is not for recipes"),
        ("!!binary aGk=", "the tag !!binary is not for recipes"),
        ("!!set {a}", "the tag !!set is not for recipes"),
        ("!mine 1", "the tag !mine is not for recipes"),
        ("!!seq {}", "expected a sequence"),
        ("!!str [1]", "expected a scalar"),
        ("9" * 5000, "at most 400 digits, got one of 5,000"),
        ("!!int " + "9" * 5000, "at most 400 digits"),
        ('"\\U00110000"', "not in range"),
        ("[" * 50 + "]" * 50, "nested more than 40 levels deep"),
        ("a\0b", "a character that YAML forbids"),
    ],
)
def test_tags_and_numbers_are_right_or_one_line(plain: str, says: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(f"first: 1\nkey: {plain}\n")
    [(line, what)] = caught.value.problems
    assert says in what and "\n" not in what and len(what) < 200
    assert line in (1, 2)


@pytest.mark.parametrize(
    ("plain", "value"), [("!!str 5", "5"), ("!!int 5", 5), ("!!float 5", 5.0), ("!!bool True", True), ("!!null", None)]
)
def test_tags_of_json_types_are_read(plain: str, value: Any) -> None:
    assert read(f"key: {plain}")[0] == {"key": value}


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"key{number}: 1\n" for number in range(7000)),
        "a: [" + "1, " * 30_000 + "]",
        "a: 1\n" * 15_000,
        "{" * 90_000,
        "? " * 45_000,
        "a: &x [1, 1]\n" + "".join(f"b{number}: &y{number} [*x, *x]\n" for number in range(2000)),
        "\n" * 90_000,
        "x" * 10_000_000,
        "key: 1\n" * 1_500_000,
    ],
)
def test_the_longest_recipe_is_read_or_refused_within_seconds(text: str) -> None:
    start = time.process_time()
    with contextlib.suppress(DocumentError):
        read(text)
    assert time.process_time() - start < 5


FRAGMENTS = """a|b: |- |? |[|]|{|}|, |: |!!int |!!float |!!map |!x |&a |*a|'|"|#|%YAML 1.1|---|...|1|.5|1e9|~|true|é"""
fragments = st.sampled_from([*FRAGMENTS.split("|"), "\n", "\n  ", "|\n", ">\n ", "\t", "\0"])


@given(st.lists(fragments, max_size=30).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read(text)
    except DocumentError as error:
        assert error.problems and all(line >= 1 and "\n" not in what for line, what in error.problems)
