"""The training items that a recipe asks for: pictures or clips, of one store or of several."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from risctl.data.box_grounding.dataset import BoxGroundingDataset
from risctl.data.loading.clip_dataset import PseudoClipDataset, ReferringVideoDataset
from risctl.data.loading.image_dataset import ReferringImageDataset, Resizable
from risctl.data.loading.instance_dataset import InstanceDataset
from risctl.data.loading.joint_dataset import JointDataset, held_back_files
from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store
from risctl.data.transforms.augmentations import Augmentations, RandomCrop
from risctl.errors import UsageError
from risctl.language.coco_classes import CLASSES
from risctl.recipe.data import AugmentSection
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.protocols import CategoryLearner, InstanceLearner, takes_clips
from risctl.training.box_grounding_dataset import box_grounding_dataset


def training_dataset(
    recipe: Recipe, store: Store, system: System, *, also: Sequence[Store] = ()
) -> ReferringImageDataset | JointDataset | BoxGroundingDataset:
    """Return the items of `recipe`'s training split, of `store` and of the stores `also`.

    Of questions about boxes, those that the recipe's files ask, and those about what `system`, as it is, finds. Raises
    `UsageError` for clips of a system that takes none, changes or categories that it cannot be trained with,
    `DataError` if a store has nothing to train on.
    """
    if recipe.data.items == "box_grounding":
        return box_grounding_dataset(recipe, (store, *also), system)
    _check_categories(system, (store, *also))
    first = _of_store(recipe, store, system)
    if not also:
        return first
    held_back = held_back_files((store, *also), recipe.data.train_split)
    parts = [first, *(_of_store(recipe, one, system) for one in also)]
    gone = sum(part.leave_out(held_back) for part in parts)
    for before, part in pairwise(parts):
        part.first = before.first + len(before)
    return JointDataset(parts, held_back=gone)


def _of_store(recipe: Recipe, store: Store, system: System) -> ReferringImageDataset:
    data, augment = recipe.data, recipe.data.augment
    changes = _changes(augment, system)
    options: dict[str, Any] = {
        "sentences": data.sentences,
        "text_field": data.text_field,
        "flip": augment.flip if augment else 0.0,
        "colour": augment.colour if augment else 0.0,
        "seed": recipe.train.seed,
    }
    instances = data.items == "instances"
    if instances and not isinstance(system, InstanceLearner):
        raise UsageError(
            f"data.items=instances, but {recipe.model.system} learns from expressions; use data.items=expressions"
        )
    if instances or (isinstance(system, InstanceLearner) and system.instances_only):
        if data.frames is not None:
            raise UsageError(
                f"data.frames={data.frames}, but {recipe.model.system} is trained on pictures; set it to null"
            )
        if changes:
            raise UsageError(
                f"data.augment.photometric, crop and sizes change a phrase's picture; {recipe.model.system} is trained "
                "on all things of one: take them out"
            )
        options |= {"zoom": augment.zoom, "paste": augment.paste} if augment else {}
        # Drawn cups are no photographed ones: by other numbers, they are of no class.
        known = CLASSES if data.items == "instances" else None
        return InstanceDataset(store, data.train_split, system.preprocess, known=known, **options)
    if augment and (augment.zoom or augment.paste):
        raise UsageError(
            f"data.augment.zoom and paste are for training on all things of a picture; {recipe.model.system} learns "
            "from phrases: take them out"
        )
    options["augmentations"] = changes
    if data.frames is None:
        return ReferringImageDataset(store, data.train_split, system.preprocess, **options)
    if not takes_clips(system) and data.frames > 1:
        raise UsageError(f"data.frames={data.frames}, but this {recipe.model.system} takes one frame; set it to 1")
    kind = ReferringVideoDataset if is_video_store(store) else PseudoClipDataset
    return kind(store, data.train_split, system.preprocess, frames=data.frames, **options)


def _changes(augment: AugmentSection | None, system: System) -> Augmentations:
    if augment is None:
        return Augmentations()
    if augment.sizes and not isinstance(system.preprocess, Resizable):
        raise UsageError("data.augment.sizes: this model has inputs of one size; take the key out")
    crop = None if augment.crop is None else RandomCrop(**augment.crop.model_dump())
    return Augmentations(photometric=augment.photometric, crop=crop, sizes=augment.sizes, longest=augment.longest)


def _check_categories(system: System, stores: Sequence[Store]) -> None:
    """Where a phrase's category is learned, as its number, the stores must agree on it and the model have room."""
    if not isinstance(system, CategoryLearner) or system.num_categories <= 1:
        return
    named: dict[int, str] = {}
    for store in stores:
        for number, name in store.categories.items():
            if named.setdefault(number, name) != name:
                raise UsageError(
                    f"category {number} is {named[number]!r} in one store and {name!r} in {store.path}: with several "
                    "kinds of data, set model.classes=1, referred or not"
                )
    if max(named, default=0) >= system.num_categories:
        raise UsageError(
            f"model.classes={system.num_categories}, but the stores have categories up to {max(named)}: set it to "
            f"{max(named) + 1} or more, or to 1, referred or not"
        )
