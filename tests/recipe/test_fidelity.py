"""The table in docs/fidelity.md: every row has a source, a key that exists, and says equal or why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from risctl.recipe.keys import known_keys
from risctl.recipe.schema import recipe_json_schema

DOCS = Path(__file__).resolve().parents[2] / "docs" / "fidelity.md"
SYSTEMS = {"VLT", "STEP", "ZSI", "CRIS", "Global-Local CLIP", "ReferFormer", "LAVT", "ReLA"}


def rows() -> list[list[str]]:
    if not DOCS.is_file():
        pytest.skip("these tests do not stand in a checkout")
    cells = [line.strip("| ").split(" | ") for line in DOCS.read_text(encoding="utf-8").splitlines()]
    return [row for row in cells if row[0] in SYSTEMS]


def test_every_row_names_where_it_is_published_and_says_equal_or_why_not() -> None:
    found = rows()
    assert {row[0] for row in found} == SYSTEMS and len(found) > 70
    named = re.compile(r"`[\w/*]+\.(py|sh|yaml)`|paper|README|`configs/|the configs|mmdetection 1|detectron2")
    for row in found:
        _, item, published, here, equal = row  # five cells each
        assert named.search(published) or item == "what the paper does not state", row
        assert here and (equal.startswith("yes") or len(equal) > 20), row
        assert not re.search(r"unknown|not known|\?", equal), row


def test_keys_in_the_table_are_keys_of_recipes() -> None:
    known = {".".join(path) for path in known_keys(recipe_json_schema(installed=False))}
    used = {
        key
        for row in rows()
        for key in re.findall(r"`((?:model|data|optim|train|eval)(?:\.[a-z_]+)+)(?:[:=][^`]*)?`", row[3])
    }
    assert len(used) > 50
    assert used <= known, used - known
