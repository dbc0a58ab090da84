"""Computes the key of cached features, by which a stale cache is recognised, and finds the frozen encoders."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from torch import nn

from risctl import __version__
from risctl.core.encoders import frozen_prefix
from risctl.data.features import schema
from risctl.data.features.schema import IMAGES, TEXTS, Key
from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store
from risctl.errors import UsageError
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.cacheable import FeatureCacheable

AUTO = "auto"
# Of a preprocess, what changes targets or texts alone.
_NOT_OF_PICTURES = ("target_size", "max_words")


def as_cacheable(system: System) -> FeatureCacheable:
    """Returns `system` as one whose encoders' features can be cached.

    Raises:
        UsageError: No layer of its encoders is frozen.
    """
    if not isinstance(system, FeatureCacheable) or not frozen_encoders(system):
        raise UsageError(
            f"nothing of this {type(system).__name__}'s encoders is frozen from the first layer on, so there are no "
            "features to compute once; freeze the backbone (model.visual.frozen=true, model.visual.frozen_stages; for "
            "darknet53 model.visual.batch_statistics=false), or set data.features=null"
        )
    return system


def frozen_encoders(system: FeatureCacheable) -> dict[str, nn.Module]:
    """Returns the encoders of `system`, in training mode, whose first layers are frozen, by group of features."""
    encoders = {IMAGES: system.visual, TEXTS: system.text}
    return {group: encoder for group, encoder in encoders.items() if frozen_prefix.frozen_prefix_of(encoder)}


def key_of(recipe: Recipe, store: Store, system: System, *, weighed: bool = True) -> Key:
    """Returns the key of the features that training `recipe` on `store` with `system` needs.

    Args:
        recipe: The recipe.
        store: The store.
        system: The system that the recipe describes.
        weighed: Whether to digest the weights, which a dry run has none of.

    Raises:
        UsageError: Nothing can be computed in advance: there are no images with expressions, no frozen encoder, or the
            images are augmented at random.
    """
    check_items(recipe, store)
    encoders = frozen_encoders(as_cacheable(system))
    check_augmentation(recipe, encoders)
    described: dict[str, dict[str, Any]] = {IMAGES: {}, TEXTS: {}}
    for group, encoder in encoders.items():
        described[group] = {
            "name": type(encoder).__name__,
            "weights": frozen_prefix.digest(frozen_prefix.frozen_prefix_of(encoder)) if weighed else "",
            "preprocessing": _settings(system.preprocess, of_pictures=group == IMAGES),
        }
    if TEXTS in encoders:
        words = "\n".join(system.preprocess.vocabulary.to_list())  # type: ignore[attr-defined]
        described[TEXTS]["vocabulary"] = hashlib.sha256(words.encode()).hexdigest()
        if recipe.data.augment is not None and recipe.data.augment.flip and recipe.data.augment.flip_text != "words":
            described[TEXTS]["mirrored"] = recipe.data.augment.flip_text
    return Key(
        store=store.fingerprint,
        images=described[IMAGES],
        texts=described[TEXTS],
        code=code_version(),
        orientations=2 if recipe.data.augment is not None and recipe.data.augment.flip else 1,
    )


def code_version() -> str:
    """Returns what features record of this version of the code."""
    return f"risctl {__version__}, features {schema.VERSION}"


def check_items(recipe: Recipe, store: Store) -> None:
    """Checks that `recipe` learns from the images of `store` as they are, each with an expression.

    Clips have no features: their frames are drawn anew each time, those of images are moved at random, and a video
    backbone (Video Swin) sees all frames of a clip together, so its features of a frame depend on the draw.

    Raises:
        UsageError: It does not.
    """
    data = recipe.data
    if data.frames is not None or is_video_store(store):
        raise UsageError(
            "clips are of frames drawn anew each time, which a video backbone sees together, so there are no features "
            "of them to compute once; set data.features=null, or train on pictures (data.frames=null)"
        )
    if data.items != "expressions":
        how = (
            "from boxes, not pictures"
            if data.items == "box_grounding"
            else "its backbone, too, from pictures that change"
        )
        raise UsageError(f"data.items={data.items} learns {how}: there are no features to compute once")


def check_augmentation(recipe: Recipe, encoders: dict[str, nn.Module]) -> None:
    """Checks that the recipe's augmentations can be applied to cached features.

    Raises:
        UsageError: There is one besides mirroring.
    """
    augment = recipe.data.augment
    if augment is None or IMAGES not in encoders:
        return
    unchanged = type(augment)().model_dump()
    for name, value in augment.model_dump().items():
        if name not in ("flip", "flip_text") and value != unchanged[name]:
            raise UsageError(
                f"data.augment.{name} changes the pictures at random, which features computed before cannot follow; "
                f"take it out (~data.augment.{name}) or set data.features=null. data.augment.flip goes: both "
                "orientations are kept"
            )


def default_path(recipe: Recipe, store: Path) -> Path:
    """Returns where the features of a recipe on a store lie unless named: beside the store."""
    return store.with_name(f"{store.name.removesuffix('.h5')}.{recipe.name}{schema.SUFFIX}")


def _settings(preprocess: Any, *, of_pictures: bool) -> str:
    plain = {
        name: value
        for name, value in sorted(vars(preprocess).items())
        if isinstance(value, bool | int | float | str | None) and (name not in _NOT_OF_PICTURES) == of_pictures
    }
    if not of_pictures:
        plain = {name: value for name, value in plain.items() if name == "max_words"}
    return " ".join([type(preprocess).__name__, *(f"{name}={value}" for name, value in plain.items())])
