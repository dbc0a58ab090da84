"""The training items that a recipe asks for: pictures, or clips of a store of videos."""

from __future__ import annotations

from typing import Any

from risctl.data.clip_loading import ClipTrainingSet
from risctl.data.loading import TrainingSet
from risctl.data.store.reader import Store
from risctl.data.thing_loading import ThingTrainingSet
from risctl.errors import UsageError
from risctl.recipe.schema import Recipe
from risctl.systems.base import System


def training_items(recipe: Recipe, store: Store, system: System) -> TrainingSet:
    """Return the items of `recipe`'s training split.

    Raises `UsageError` for clips of a system that takes none, `DataError` if the store has nothing to train on.
    """
    data, augment = recipe.data, recipe.data.augment
    options: dict[str, Any] = {
        "sentences": data.sentences,
        "text_field": data.text_field,
        "flip": augment.flip if augment else 0.0,
        "colour": augment.colour if augment else 0.0,
        "seed": recipe.train.seed,
    }
    if system.learns_things:
        if data.frames is not None:
            raise UsageError(
                f"data.frames={data.frames}, but {recipe.model.system} is trained on pictures; set it to null"
            )
        options |= {"zoom": augment.zoom, "paste": augment.paste} if augment else {}
        return ThingTrainingSet(store, data.train_split, system.preprocess, **options)
    if augment and (augment.zoom or augment.paste):
        raise UsageError(
            f"data.augment.zoom and paste are for training on all things of a picture; {recipe.model.system} learns "
            "from phrases: take them out"
        )
    if data.frames is None:
        return TrainingSet(store, data.train_split, system.preprocess, **options)
    if not system.takes_clips and data.frames > 1:
        raise UsageError(f"data.frames={data.frames}, but this {recipe.model.system} takes one frame; set it to 1")
    return ClipTrainingSet(store, data.train_split, system.preprocess, frames=data.frames, **options)
