"""Rows that others wrote: read as they are, or refused by line and name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.made_rows import write_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from risctl.errors import DataError, RisctlError
from risctl.evaluation.saved_rows import read_run


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", (1, 5, 9, 10), protocols=("original",))
    return path.read_text().splitlines()


@pytest.mark.parametrize(
    "more", ["[" * 100_000, "[" * 500 + "]" * 500, "9" * 5000, "NaN", "Infinity", '{"a": 1', '"\x01"']
)
def test_what_is_no_json_is_named_by_line(tmp_path: Path, lines: list[str], more: str) -> None:
    (tmp_path / "rows.jsonl").write_text(f'{lines[0]}\n{lines[1][:-1]}, "x": {more}}}\n')
    if more.endswith("]"):
        read_run(tmp_path)  # what no one looks at may be anything
        return
    with pytest.raises(DataError, match=r"line 2: expected a row"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sample": 2**70}, "expected sample to be a whole number"),
        ({"sample": "a"}, "expected sample to be a whole number"),
        ({"intersection": 1.5}, "expected intersection to be a whole number"),
        ({"predicted": True}, "expected predicted to be a whole number"),
        ({"threshold": "0.5"}, "expected threshold to be a number"),
        ({"threshold": [1]}, "expected threshold to be a number"),
        ({"score": 10**400}, "expected score to be a number"),
        ({"abilities": 3}, "expected abilities to be a list of names"),
        ({"abilities": [[1]]}, "expected abilities to be a list of names"),
        ({"targeted": "yes"}, "expected targeted to be true or false"),
        ({"others": [3]}, "expected others to be a list of lists"),
        ({"text": ["a"]}, "expected text to be text"),
        ({"checkpoint": {}}, "expected checkpoint to be text"),
        ({"dataset": [1]}, "expected dataset to be text"),
    ],
)
def test_values_of_the_wrong_kind_are_named(
    tmp_path: Path, lines: list[str], changes: dict[str, Any], says: str
) -> None:
    (tmp_path / "rows.jsonl").write_text(f"{lines[0]}\n{json.dumps({**json.loads(lines[1]), **changes})}\n")
    with pytest.raises(DataError, match=rf"line 2: {says}"):
        read_run(tmp_path)


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = values | st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=2)


@settings(max_examples=150)
@given(data=st.data())
def test_any_value_is_read_or_refused(lines: list[str], tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    folder = tmp_path_factory.getbasetemp() / "any_rows"
    folder.mkdir(exist_ok=True)
    records = [json.loads(line) for line in lines]
    for record in records:
        name = data.draw(st.sampled_from(sorted(record)))
        record[name] = data.draw(anything)
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    try:
        read_run(folder)
    except RisctlError as error:
        assert "\n" not in str(error)
