"""The `model` sections of systems small enough for tests, and recipes of nothing but such a section."""

from __future__ import annotations

from typing import Any

from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe

VLT: dict[str, Any] = {
    "system": "vlt",
    "input_size": 64,
    "max_words": 6,
    "queries": 2,
    "hidden": 8,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "feed_forward": 8,
    "fusion_channels": 8,
    "visual": {"name": "small_cnn"},
    "text": {"hidden": 8, "dim": 8},
}
STEP: dict[str, Any] = {
    "system": "step",
    "input_size": 64,
    "max_words": 8,
    "folds": 1,
    "filters": 32,
    "attention": 8,
    "embedding": 12,
    "context_channels": 8,
    "visual": {"name": "small_cnn"},
    "text": {"hidden": 10, "dim": 12},
}
REFERFORMER: dict[str, Any] = {
    "system": "referformer",
    "short_side": 48,
    "queries": 3,
    "hidden": 32,
    "heads": 4,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "feed_forward": 32,
    "mask_channels": 16,
    "visual": {"name": "small_cnn"},
    "text": {"tokens": None, "weights": None, "layers": 1, "width": 16, "heads": 2, "feed_forward": 16},
}
LAVT: dict[str, Any] = {
    "system": "lavt",
    "input_size": 64,
    "max_words": 6,
    "fusion_heads": [1, 2, 2, 2],
    "decoder_channels": 16,
    "visual": {"name": "small_cnn"},
    "text": {"tokens": None, "weights": None, "layers": 1, "width": 16, "heads": 2, "feed_forward": 16, "dropout": 0.0},
}
RELA: dict[str, Any] = {
    "system": "rela",
    "input_size": 64,
    "max_words": 8,
    "regions": 4,
    "hidden": 32,
    "heads": 4,
    "pixel_layers": 1,
    "pixel_feed_forward": 32,
    "points": 2,
    "mask_channels": 16,
    "layers": 3,
    "feed_forward": 32,
    "visual": {"name": "small_cnn"},
    "language_gates": True,
    "text": {"tokens": None, "weights": None, "layers": 1, "width": 16, "heads": 2, "feed_forward": 16},
}
CRIS: dict[str, Any] = {
    "system": "cris",
    "input_size": 64,
    "max_words": 8,
    "hidden": 16,
    "heads": 2,
    "decoder_layers": 2,
    "feed_forward": 24,
    "visual": {"name": "small_cnn"},
    "text": {
        "name": "clip", "tokens": None, "layers": 1, "width": 16, "heads": 2, "feed_forward": 24, "projection": 20
    },
}  # fmt: skip
ZSI: dict[str, Any] = {
    "system": "zsi",
    "border_anchors": True,  # anchors of coarse maps reach beyond small images
    "short_side": 64,
    "long_side": 96,
    "max_words": 8,
    "channels": 8,
    "hidden": 24,
    "vocabulary_words": 9,
    "proposals": 30,
    "visual": {"name": "small_cnn"},
    "text": {"vectors": "given.txt", "dim": 12},
}


def recipe_of(model: dict[str, Any]) -> Recipe:
    """Return a recipe with the section `model`, about a store that does not exist."""
    mapping = {"name": "small", "model": model, "data": {"store": "none.h5"}, "train": {"epochs": 1}}
    return parse_recipe(mapping, source="test")


SMALL_VLT = """
name: small
model:
  system: vlt
  input_size: 64
  max_words: 4
  queries: 2
  hidden: 8
  heads: 2
  encoder_layers: 1
  decoder_layers: 1
  feed_forward: 8
  fusion_channels: 8
  visual: {name: small_cnn}
  text: {hidden: 8, dim: 8}
"""
"""The first sections of a recipe that trains in a second."""
