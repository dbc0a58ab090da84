"""The schema of recipe files: shipped recipes and ablations fit it, and it refuses what reading them refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.json_schema import problems

from risctl.recipe.base import parse_recipe_file
from risctl.recipe.file_schema import file_json_schema
from risctl.recipe.shipped import shipped_ablations, shipped_recipes

SCHEMA = file_json_schema(installed=False)
FILES = {**shipped_recipes(), **shipped_ablations()}


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_every_shipped_file_fits(file: Path) -> None:
    values, _ = parse_recipe_file(file)
    assert problems(values, SCHEMA) == []


ON_BASE: dict[str, Any] = {"base": "vlt-refcoco", "model": {"encoder_layers": 1}}
WHOLE: dict[str, Any] = {
    "name": "mine",
    "model": {"system": "vlt"},
    "data": {"store": "data/mine.h5"},
    "train": {"epochs": 1},
}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (ON_BASE, None),
        ({"base": "vlt-refcoco"}, None),
        ({**ON_BASE, "base": None}, ".base: type string"),
        ({**ON_BASE, "model": {"encoder_layer": 1}}, ".model: anyOf"),
        ({**ON_BASE, "model": {"system": "vlt", "regions": 10}}, ".model: anyOf"),
        ({**ON_BASE, "optim": {"lr": 0}}, ".optim.lr: exclusiveMinimum 0"),
        ({**ON_BASE, "optim": {"schedule": {"milestones": [9]}}}, None),
        ({**ON_BASE, "data": {"augment": {"crop": {"probability": 2.0}}}}, ".data.augment: anyOf"),
        ({**ON_BASE, "optims": {}}, ".optims: unknown"),
        ({**ON_BASE, "ablation": {"paper": "vlt"}}, ".ablation: anyOf"),
        (WHOLE, None),
        ({**WHOLE, "model": {}}, ".model: oneOf"),
        ({"name": "mine", "model": {"encoder_layers": 1}}, ".data: required"),
        ({"name": "mine", "zeroshot": {"text_weight": 1.0}}, None),
        ({"zeroshot": {}}, ".name: required"),
    ],
)
def test_what_a_file_must_hold_depends_on_its_base(values: dict[str, Any], told: str | None) -> None:
    found = problems(values, SCHEMA)
    assert found == [] if told is None else any(line.startswith(told) for line in found), found


def test_changes_know_every_key_of_a_whole_recipe() -> None:
    definitions = SCHEMA["$defs"]
    whole, changes = definitions["Recipe"]["properties"], definitions["RecipeOnBase"]["properties"]
    assert {*changes} == {*whole, "base"}
    for name, one in definitions.items():
        if f"{name}Changes" in definitions:
            partial = definitions[f"{name}Changes"]
            assert {*partial["properties"]} == {*one["properties"]} and "required" not in partial
            assert partial["additionalProperties"] is False
            assert not any("default" in key for key in partial["properties"].values())
    assert not any("default" in key for name, key in changes.items() if name not in ("ablation", "stages"))
