"""Taking features computed before in the place of pictures: what `data.features` of a recipe does to a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from risctl.core.encoders import stems
from risctl.data.features.reader import FeatureCache
from risctl.data.features.recall import Recall
from risctl.data.features.schema import IMAGES, Key
from risctl.data.loading import TrainingSet
from risctl.data.store.reader import Store
from risctl.engine.feature_keys import AUTO, default_path, frozen_encoders, key_of
from risctl.errors import DataError, UsageError
from risctl.recipe.schema import Recipe
from risctl.systems.base import System

# Of the largest number in a sample: fp16 keeps 11 bits, and another device or batch sums in another order.
_NOISE = 0.01


def use_features(recipe: Recipe, store: Store, system: System, items: object, *, device: torch.device) -> str | None:
    """Let `items` take features instead of pictures where the recipe says so; return what to tell about it.

    `auto` takes those beside the store if they are there. Raises `DataError` if they are stale, damaged or of other
    samples, `UsageError` if the recipe cannot be trained on features.
    """
    asked = recipe.data.features
    if asked is None:
        return None
    if type(items) is not TrainingSet:
        raise UsageError(
            "features stand for the pictures of one store, each with a phrase; set data.features=null for things, "
            "clips, questions and joined stores"
        )
    path = default_path(recipe, store.path) if asked == AUTO else Path(asked)
    key = key_of(recipe, store, system)
    again = f"make them again: risctl prepare features {store.path} --recipe {recipe.name}"
    if asked == AUTO and not path.exists():
        return f"features: none at {path}, so the whole trunk runs at every step; {again.replace(' again', '')}"
    recall = Recall(path)
    check_key(recall.cache, key, again=again)
    if recall.cache.layout.split != recipe.data.train_split:
        raise DataError(
            f"the features {path} are of the split {recall.cache.layout.split!r}, not of {recipe.data.train_split!r}; "
            f"{again}"
        )
    _check_first(recall.cache, store, system, device=device, again=again)
    items.features = recall
    kept = " and ".join(f"{len(recall.cache.keys(group)):,} {group}" for group in recall.cache.groups)
    twice = ", both orientations" if recall.cache.layout.key.orientations > 1 else ""
    return f"features: {path}, {kept}{twice}; pictures are not read"


def check_key(cache: FeatureCache, key: Key, *, again: str) -> None:
    """Raise `DataError` saying what has changed since `cache` was made, if it is stale."""
    if differing := key.differences(cache.layout.key):
        raise DataError(f"the features {cache.path} are stale: {'; '.join(differing)}. {again}, or data.features=null")


def _check_first(cache: FeatureCache, store: Store, system: System, *, device: torch.device, again: str) -> None:
    """Compute the first sample of each kind anew: what no key tells, as another decoder of pictures, shows here."""
    encoders: dict[str, nn.Module] = frozen_encoders(system)
    for group, encoder in encoders.items():
        keys = cache.keys(group)
        if not keys:
            continue
        if group == IMAGES:
            row = int(np.flatnonzero(store.numbers("images/id") == int(keys[0]))[0])
            image, geometry = system.preprocess.image(store.pixels(row))
            inputs, mask = image, geometry.padding()
        else:
            inputs, mask = system.preprocess.text(keys[0])
        with torch.no_grad():
            now = stems.begin(encoder, inputs[None].to(device), mask[None].to(device))
        for mine, theirs in zip(now, cache.sample(group, keys[0]), strict=True):
            wanted, kept = mine[0].float().cpu().numpy(), theirs.astype(np.float32)
            most = float(np.abs(wanted).max(initial=0.0))
            if wanted.shape != kept.shape or float(np.abs(wanted - kept).max(initial=0.0)) > _NOISE * most + 1e-6:
                raise DataError(
                    f"the features {cache.path} are stale: {group} {keys[0]!r} gives others now than are kept. "
                    f"{again}, or data.features=null"
                )
