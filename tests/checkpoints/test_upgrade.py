"""Recipes and parameter names that risctl 0.1 wrote are read under today's names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from risctl.checkpoints.upgrade import upgraded_names, upgraded_recipe
from risctl.recipe.document import dump
from risctl.recipe.load import parse_recipe
from risctl.training.run_folder import RunFolder


def version_1() -> dict[str, Any]:
    return {
        "name": "old",
        "model": {"system": "mini", "most": 7, "floor": 0.1, "presence": 0.4},
        "data": {
            "store": "a.h5",
            "items": "questions",
            "questions": {"made": 3, "found": True, "drop": 0.2, "detector": 0.3, "colours": 0.4, "typo": 0.5},
            "augment": {"crop": {"share": 0.25, "short": [64], "least": 32, "most": 48}},
        },
        "train": {"epochs": 1, "start": {"checkpoint": "b", "parts": ["chooser"], "anew": ["finder"]}},
        "optim": {"multipliers": {"finder.trunk": 0.05, "finder.detect": 0.5, "finder": 1.0}},
        "stages": {"things": {"data": {"items": "things", "questions": {"made": 9}}}},
    }


def test_a_recipe_of_version_1_has_the_keys_of_today() -> None:
    old = version_1()
    recipe = parse_recipe(upgraded_recipe(old, version=1), source="test")
    assert old == version_1()
    model: Any = recipe.model
    assert (model.max_count, model.score_threshold, model.no_target_threshold) == (7, 0.1, 0.4)
    assert recipe.data.items == "box_grounding"
    assert recipe.data.box_grounding.model_dump(exclude_defaults=True) == {
        "generated": 3,
        "detected": True,
        "box_dropout": 0.2,
        "detector_noise": 0.3,
        "random_colours": 0.4,
        "typos": 0.5,
    }
    assert recipe.data.augment is not None and recipe.data.augment.crop is not None
    crop = recipe.data.augment.crop
    assert (crop.probability, crop.short_sides, crop.min_size, crop.max_size) == (0.25, (64,), 32, 48)
    assert recipe.train.init_weights is not None
    assert (recipe.train.init_weights.include, recipe.train.init_weights.exclude) == (("box_selector",), ("detector",))
    assert recipe.optim.multipliers == {"detector.backbone": 0.05, "detector.head": 0.5, "detector": 1.0}
    stage = recipe.stage("things")
    assert (stage.data.items, stage.data.box_grounding.generated) == ("instances", 9)


def test_a_recipe_of_today_is_left_alone() -> None:
    recipe = parse_recipe(upgraded_recipe(version_1(), version=1), source="test")
    values = recipe.model_dump(mode="json")
    assert upgraded_recipe(values, version=2) == values == upgraded_recipe(values, version=1)


def test_a_run_folder_of_version_1_opens(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(dump(version_1()))
    assert RunFolder.open(tmp_path).recipe() == parse_recipe(upgraded_recipe(version_1(), version=1), source="test")


def test_parameters_of_version_1_have_the_names_of_today() -> None:
    names = {"finder.trunk.a": 1, "mean.finder.trunk.b": 2, "refinder.trunk.c": 3, "training.exp_avg finder.trunk.d": 4}
    assert list(upgraded_names(names, system="mini", version=1)) == [
        "detector.backbone.a",
        "mean.detector.backbone.b",
        "refinder.trunk.c",
        "training.exp_avg detector.backbone.d",
    ]
    assert upgraded_names(names, system="vlt", version=1) == names == upgraded_names(names, system="mini", version=2)
