"""From the `model` section of a recipe to a system: which names there are, and what each is built of."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np

from risctl.errors import UsageError, unknown_name
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.model import ModelSection
from risctl.systems.base import System

SYSTEMS = {
    "vlt": "risctl.systems.vlt.build:build_vlt",
    "step": "risctl.systems.step.build:build_step",
    "referformer": "risctl.systems.referformer.build:build_referformer",
    "zsi": "risctl.systems.zsi.build:build_zsi",
    "mini": "risctl.systems.mini.build:build_mini",
}
"""What builds each system that a recipe can name: a module and its function. Only the one asked for is imported, for
what other systems are made of takes seconds to import."""


def build_system(
    model: ModelSection,
    *,
    vocabulary: Vocabulary,
    vectors: np.ndarray | None = None,
    pretrained: bool = True,
) -> System:
    """Return the system that a recipe's `model` section describes.

    vectors: float32 (len(vocabulary), dim), what `model.text.vectors` holds for the vocabulary; without them the words
    have zero vectors where published ones are asked for, for a checkpoint to fill in. pretrained: read
    `model.visual.weights`; False where a checkpoint follows. On the meta device nothing is read.

    Raises `UsageError` for vectors of another shape, `CheckpointError` for weights of another backbone.
    """
    if model.system not in SYSTEMS:
        raise UsageError(unknown_name("system", model.system, SYSTEMS))
    module, _, function = SYSTEMS[model.system].partition(":")
    build: Callable[..., System] = getattr(import_module(module), function)
    return build(model, vocabulary, vectors, pretrained)
