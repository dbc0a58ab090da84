"""ZSI's recipe section."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.small_models import ZSI as SMALL
from helpers.small_models import recipe_of

from risctl.errors import RecipeError


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"long_side": 32}, "no less than `model.short_side`"),
        ({"split": "60_20"}, "model.split"),
        ({"visual": {"name": "small_cnn", "weights": "imagenet"}}, "weights of resnet18"),
        ({"text": {"dim": 12}}, "model.text.vectors"),
    ],
)
def test_recipes_refuse(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        recipe_of(SMALL | changes)
