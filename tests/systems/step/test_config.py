"""STEP's recipe section."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.small_models import STEP as SMALL
from helpers.small_models import recipe_of

from risctl.errors import RecipeError


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"input_size": 100}, "a multiple of 8, for instance 96 or 104"),
        ({"levels": [3, 1]}, "ascending order"),
        ({"levels": [6]}, "model.levels"),
        ({"visual": {"name": "deeplab_resnet101", "weights": "imagenet"}}, "weights of resnet18, resnet50"),
        ({"visual": {"name": "resnet18", "weights": "deeplabv3"}}, "weights of resnet50, resnet101 only"),
    ],
)
def test_recipes_refuse(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        recipe_of(SMALL | changes)


def test_norms_are_kept_with_loaded_weights_by_default() -> None:
    def norms(**visual: Any) -> bool:
        return recipe_of(SMALL | {"visual": {"name": "resnet50", **visual}}).model.visual.frozen_norms

    assert (norms(), norms(weights="imagenet"), norms(weights="imagenet", frozen_norms=False)) == (False, True, False)
