"""A recipe of a small video system, and a system that knows the answers of the videos of `video_files`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from helpers.small_models import REFERFORMER

from risctl.data.store.reader import Store
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.base import Output


def recipe_of(store: Path, **sections: dict[str, Any]) -> Recipe:
    values: dict[str, Any] = {
        "name": "clips",
        "model": REFERFORMER,
        "data": {"store": str(store), "val_split": "test", "batch_size": 2, "workers": 0, "frames": 2},
        "optim": {"lr": 1e-3},
        "train": {"epochs": 2, "best": "J&F"},
    }
    return parse_recipe(
        {
            name: values[name] | sections.get(name, {}) if isinstance(values[name], dict) else values[name]
            for name in values
        },
        source="test",
    )


def perfect(system: torch.nn.Module, store: Store) -> None:
    """Let the system know the answers: of made frames, red is the first object and green the second."""

    def decode(visual: Any, text: Any) -> Output:
        pictures = visual.maps[0]
        red = text.sentence[0, 0] > 0
        wanted = (pictures[:, :, 0] > 0.6) if red else (pictures[:, :, 1] > 0.6)
        return Output(logits=wanted.float() * 20 - 10)

    def encode_image(images: Any, padding: Any) -> Any:
        from risctl.core.encoders.base import VisualFeatures

        return VisualFeatures(maps=(images,), strides=(1,), padding=padding)

    def encode_text(words: Any, mask: Any) -> Any:
        from risctl.core.encoders.base import TextFeatures

        red = (words == 2).any(1).float()[:, None]
        return TextFeatures(words=red[:, None], mask=mask[:, :1], sentence=red)

    system.decode, system.encode_image, system.encode_text = decode, encode_image, encode_text
