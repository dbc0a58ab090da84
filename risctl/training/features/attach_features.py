"""Lets training read cached features in place of images, as `data.features` of a recipe says."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from risctl.core.encoders import frozen_prefix
from risctl.data.features.cached_features import CachedFeatures
from risctl.data.features.reader import FeatureCache
from risctl.data.features.schema import IMAGES, Key
from risctl.data.loading.image_dataset import ReferringImageDataset
from risctl.data.loading.joint_dataset import JointDataset
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.cacheable import FeatureCacheable
from risctl.training.features.keys import AUTO, as_cacheable, default_path, frozen_encoders, key_of

# Of the largest number in a sample: fp16 keeps 11 bits, and another device or batch sums in another order.
_NOISE = 0.01


def attach_features(
    recipe: Recipe, stores: Sequence[Store], system: System, items: object, *, device: torch.device
) -> str | None:
    """Lets the datasets of `stores` read cached features instead of images where the recipe says so.

    `auto` takes the caches beside the stores, each its own; where one is missing, or none can exist, or training with
    them would not be the same, the images stay.

    Returns:
        What to log about it.

    Raises:
        DataError: The features are stale, damaged or of other samples.
        UsageError: A file is named that the recipe cannot be trained on.
    """
    setting = recipe.data.features
    if setting is None:
        return None
    if setting != AUTO and len(stores) > 1:
        raise UsageError(
            f"data.features={setting} is one file, and there are {len(stores)} stores, each with its own; set "
            "data.features=auto, which takes those beside them, or null"
        )
    paths = [default_path(recipe, one.path) if setting == AUTO else Path(setting) for one in stores]
    missing = [path for path in paths if not path.exists()] if setting == AUTO else []
    again = f"make them again: {_command(recipe, stores)}"
    try:
        keys = [key_of(recipe, one, system, weighed=not missing) for one in stores]
    except UsageError as error:
        if setting != AUTO:
            raise
        return f"features: none, so the encoders run whole at every step: {error}"
    if setting == AUTO and keys[0].images and differs_in_batches(recipe, stores, system):
        return (
            "features: none, so the encoders run whole at every step: pictures of several sizes are filled up in a "
            "batch, which shows in what the backbone makes of them; features are of each alone. Set data.batch_size=1 "
            "(and optim.accumulate) or, of one store, name the file, data.features=FILE, to take them all the same"
        )
    if missing:
        absent = " and ".join(map(str, missing))
        return f"features: none at {absent}, so the encoders run whole at every step; {again.replace(' again', '')}"
    parts: Sequence[object] = items.parts if isinstance(items, JointDataset) else (items,)
    told = []
    for path, key, store, part in zip(paths, keys, stores, parts, strict=True):
        if type(part) is not ReferringImageDataset:
            raise TypeError(f"expected the items of pictures with a phrase each, got {type(part).__name__}")
        part.features = _recalled(path, key, store, recipe=recipe, system=system, device=device, again=again)
        told.append(_told(part.features.cache))
    return f"features: {'; '.join(told)}; {'pictures are not read' if keys[0].images else 'texts are not encoded'}"


def differs_in_batches(recipe: Recipe, stores: Sequence[Store], system: System) -> bool:
    """Returns whether images are padded to the size of others in their batch, which would change their features."""
    if not isinstance(system, FeatureCacheable) or not system.padding_changes_features or recipe.data.batch_size == 1:
        return False
    sizes: set[tuple[int, int]] = set()
    for store in stores:
        rows = store.images(recipe.data.train_split)
        heights, widths = store.numbers("images/height")[rows], store.numbers("images/width")[rows]
        sizes.update(zip(heights.tolist(), widths.tolist(), strict=True))
    inputs = {system.preprocess.fit(height=height, width=width).padding().shape for height, width in sizes}
    return len(inputs) > 1


def _recalled(
    path: Path, key: Key, store: Store, *, recipe: Recipe, system: System, device: torch.device, again: str
) -> CachedFeatures:
    """Opens the features of a store.

    Raises:
        DataError: They are not those of `key` on the split trained on.
    """
    features = CachedFeatures(path)
    check_key(features.cache, key, again=again)
    if features.cache.layout.split != recipe.data.train_split:
        raise DataError(
            f"the features {path} are of the split {features.cache.layout.split!r}, not of "
            f"{recipe.data.train_split!r}; {again}"
        )
    _check_first(features.cache, store, system, device=device, again=again)
    return features


def _told(cache: FeatureCache) -> str:
    kept = " and ".join(f"{len(cache.keys(group)):,} {group}" for group in cache.groups)
    twice = ", both orientations" if cache.layout.key.orientations > 1 else ""
    return f"{cache.path}, {kept}{twice}"


def _command(recipe: Recipe, stores: Sequence[Store]) -> str:
    also = [f"data.also=[{','.join(recipe.data.also)}]"] if recipe.data.also else []
    return shlex.join(["risctl", "prepare", "features", str(stores[0].path), "--recipe", recipe.name, *also])


def check_key(cache: FeatureCache, key: Key, *, again: str) -> None:
    """Checks that a cache is not stale.

    Raises:
        DataError: Something has changed since `cache` was made; the message says what.
    """
    if differing := key.differences(cache.layout.key):
        raise DataError(f"the features {cache.path} are stale: {'; '.join(differing)}. {again}, or data.features=null")


def _check_first(cache: FeatureCache, store: Store, system: System, *, device: torch.device, again: str) -> None:
    """Compares the first sample of each group with one computed now: a change that no key records shows here."""
    cacheable = as_cacheable(system)
    for group, encoder in frozen_encoders(cacheable).items():
        keys = cache.keys(group)
        if not keys:
            continue
        if group == IMAGES:
            row = int(np.flatnonzero(store.numbers("images/id") == int(keys[0]))[0])
            image, geometry = system.preprocess.image(store.pixels(row))
            inputs, mask = cacheable.before_backbone(image[None], geometry.padding()[None])
        else:
            inputs, mask = (one[None] for one in system.preprocess.text(keys[0]))
        with torch.no_grad():
            now = frozen_prefix.begin(encoder, inputs.to(device), mask.to(device))
        for mine, theirs in zip(now, cache.sample(group, keys[0]), strict=True):
            wanted, kept = mine[0].float().cpu().numpy(), theirs.astype(np.float32)
            largest = float(np.abs(wanted).max(initial=0.0))
            if wanted.shape != kept.shape or float(np.abs(wanted - kept).max(initial=0.0)) > _NOISE * largest + 1e-6:
                raise DataError(
                    f"the features {cache.path} are stale: {group} {keys[0]!r} gives others now than are kept. "
                    f"{again}, or data.features=null"
                )
