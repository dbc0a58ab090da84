"""Builds the training dataset that a recipe describes: images or clips, of one store or of several."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from risctl.data.box_grounding.dataset import BoxGroundingDataset
from risctl.data.loading.clip_dataset import (
    AnnotatedFrameDataset,
    ClipDataset,
    PseudoClipDataset,
    ReferringVideoDataset,
)
from risctl.data.loading.image_dataset import ReferringImageDataset, Resizable
from risctl.data.loading.instance_dataset import InstanceDataset
from risctl.data.loading.joint_dataset import JointDataset, held_back_files
from risctl.data.loading.loader import EpochSampler
from risctl.data.loading.phrase_instances import PhraseInstanceDataset
from risctl.data.loading.published_polygons import PublishedPolygons
from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store
from risctl.data.transforms.augmentations import Augmentations, RandomCrop
from risctl.data.transforms.preprocess import SquarePreprocess
from risctl.errors import UsageError
from risctl.language.coco_classes import CLASSES
from risctl.language.flips import SWAPS
from risctl.recipe.data import AugmentSection
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.protocols import (
    CategoryLearner,
    InstanceLearner,
    PhraseInstanceLearner,
    WindowEncoder,
    takes_clips,
)
from risctl.training.box_grounding_dataset import box_grounding_dataset
from risctl.training.global_batch import GlobalBatch, global_batch

TrainingDataset = ReferringImageDataset | JointDataset | BoxGroundingDataset


def training_dataset(recipe: Recipe, store: Store, system: System, *, also: Sequence[Store] = ()) -> TrainingDataset:
    """Builds the training dataset of `recipe`.

    Args:
        recipe: The recipe.
        store: The store to train on.
        system: The system with its current weights: with `data.box_grounding.detected` it detects boxes.
        also: Further stores to train on.

    Raises:
        UsageError: The system cannot be trained with the recipe's clips, augmentations or categories.
        DataError: A store has nothing to train on.
    """
    _check_sharing(recipe, (store, *also), system)
    if recipe.data.items == "box_grounding":
        return box_grounding_dataset(recipe, (store, *also), system)
    _check_categories(system, (store, *also))
    parts = [_of_store(recipe, one, system) for one in (store, *also)]
    for part, file in zip(parts, recipe.data.polygons, strict=False):
        _attach_polygons(part, Path(file), recipe, system)
    if not also:
        return parts[0]
    left_out = 0
    if recipe.data.evaluation_images == "left_out":
        held_back = held_back_files((store, *also), recipe.data.train_split)
        left_out = sum(part.leave_out(held_back) for part in parts)
    for before, part in pairwise(parts):
        part.first = before.first + len(before)
    return JointDataset(parts, held_back=left_out)


def epoch_sampler(
    recipe: Recipe, dataset: TrainingDataset, *, rank: int = 0, batching: GlobalBatch | None = None
) -> EpochSampler:
    """Returns the order in which a recipe's training goes through its dataset.

    Args:
        recipe: The recipe.
        dataset: Its training dataset.
        rank: This process, from 0.
        batching: How the samples of a step are divided; None: this process has them all.

    Raises:
        UsageError: The samples fill no step, or have no orientation to group them by.
    """
    data = recipe.data
    batching = batching or global_batch(recipe, processes=1)
    if data.same_orientation and isinstance(dataset, BoxGroundingDataset):
        raise UsageError("data.same_orientation=true, but these samples are boxes without images; take it out")
    return EpochSampler(
        len(dataset),
        batching.batch_size,
        seed=recipe.train.seed,
        rank=rank,
        world=batching.processes,
        accumulate=batching.accumulate,
        ordered_as=data.batch_size,
        last_batch=data.last_batch,
        lengths=getattr(dataset, "lengths", None),
        kinds=None if isinstance(dataset, BoxGroundingDataset) or not data.same_orientation else dataset.orientations(),
        images=None
        if isinstance(dataset, BoxGroundingDataset) or data.phrases_per_image == 1
        else dataset.image_rows(),
        per_image=data.phrases_per_image,
    )


def _of_store(recipe: Recipe, store: Store, system: System) -> ReferringImageDataset:
    data, augment = recipe.data, recipe.data.augment
    augmentations = _augmentations(augment, system)
    options: dict[str, Any] = {
        "sentences": data.sentences,
        "text_field": data.text_field,
        "flip": augment.flip if augment else 0.0,
        "colour": augment.colour if augment else 0.0,
        "seed": recipe.train.seed,
        "shares_images": data.phrases_per_image > 1,
    }
    instances = data.items == "instances"
    if instances and not isinstance(system, InstanceLearner):
        raise UsageError(
            f"data.items=instances, but {recipe.model.system} learns from expressions; use data.items=expressions"
        )
    if instances or (isinstance(system, InstanceLearner) and system.instances_only):
        if data.frames is not None:
            raise UsageError(
                f"data.frames={data.frames}, but {recipe.model.system} is trained on images; set it to null"
            )
        if augmentations or (augment and augment.flip_text != "words"):
            raise UsageError(
                "data.augment.photometric, flip_text, crop and sizes are for training on expressions; "
                f"{recipe.model.system} is trained on all instances of an image: take them out"
            )
        options |= {"zoom": augment.zoom, "paste": augment.paste} if augment else {}
        # A drawn cup is not a photographed one: categories with other ids or names are unknown.
        known = CLASSES if data.items == "instances" else None
        options["boxes_only"] = any(Path(name).resolve() == store.path.resolve() for name in data.boxes_only)
        return InstanceDataset(store, data.train_split, system.preprocess, known=known, **options)
    if augment and (augment.zoom or augment.paste):
        raise UsageError(
            f"data.augment.zoom and paste are for training on all instances of an image; {recipe.model.system} learns "
            "from expressions: take them out"
        )
    options["augmentations"] = augmentations
    options["flip_text"] = SWAPS[augment.flip_text if augment else "words"]
    if isinstance(system, PhraseInstanceLearner) and system.learns_phrase_instances:
        if data.frames is not None or (augment and augment.crop):
            raise UsageError(
                f"data.frames and data.augment.crop do not go with this {recipe.model.system}, which is trained on the "
                "instances of whole images: take them out"
            )
        return PhraseInstanceDataset(store, data.train_split, system.preprocess, **options)
    if data.frames is None:
        return ReferringImageDataset(store, data.train_split, system.preprocess, **options)
    dataset_class: type[ClipDataset] = ReferringVideoDataset if is_video_store(store) else PseudoClipDataset
    if not takes_clips(system) and data.frames > 1:
        if not isinstance(system, WindowEncoder) or is_video_store(store):
            raise UsageError(f"data.frames={data.frames}, but this {recipe.model.system} takes one frame; set it to 1")
        if augment and augment.colour:
            raise UsageError("data.augment.colour changes images alone, not frames around them; use photometric")
        dataset_class = AnnotatedFrameDataset
    return dataset_class(store, data.train_split, system.preprocess, frames=data.frames, **options)


def _attach_polygons(dataset: ReferringImageDataset, file: Path, recipe: Recipe, system: System) -> None:
    """Lets a dataset rasterise its targets from published polygons."""
    if not isinstance(system.preprocess, SquarePreprocess):
        raise UsageError(
            f"data.polygons is for systems with square inputs; {recipe.model.system} has others: take it out"
        )
    if recipe.data.frames is not None or recipe.data.items != "expressions" or dataset.augmentations:
        raise UsageError(
            "data.polygons is for training on expressions about whole images: take data.frames and "
            "data.augment.photometric, crop and sizes out"
        )
    store = dataset.store
    ids = store.numbers("annotations/id")[store.numbers("refs/annotations/values")]
    dataset.polygons = PublishedPolygons.read(file, annotation_ids=set(ids.tolist()))


def _augmentations(augment: AugmentSection | None, system: System) -> Augmentations:
    if augment is None:
        return Augmentations()
    if not isinstance(system.preprocess, Resizable):
        for key, sizes in (("sizes", augment.sizes), ("crop.sizes", augment.crop.sizes if augment.crop else ())):
            if sizes:
                raise UsageError(f"data.augment.{key}: this model has inputs of one size; take the key out")
    crop = augment.crop
    return Augmentations(
        photometric=augment.photometric,
        per_frame=augment.photometric_per_frame,
        swap_channels=augment.swap_channels,
        crop=None if crop is None else RandomCrop(**crop.model_dump(exclude={"boxes"})),
        sizes=augment.sizes,
        longest=augment.longest,
        clipped_boxes=crop is not None and crop.boxes == "clipped",
    )


def _check_sharing(recipe: Recipe, stores: Sequence[Store], system: System) -> None:
    """Raises `UsageError` where expressions cannot share an image and `data.phrases_per_image` wants them to."""
    data, name = recipe.data, recipe.model.system
    if data.phrases_per_image == 1:
        return
    crop = None if data.augment is None else data.augment.crop
    problem = None
    if data.items != "expressions":
        problem = f"data.items={data.items} has no expressions about an image"
    elif isinstance(system, InstanceLearner) and system.instances_only:
        problem = f"{name} is trained on all instances of an image, once each"
    elif any(is_video_store(store) for store in stores):
        problem = "each expression about a video has frames of its own"
    elif data.frames is not None and not takes_clips(system) and data.frames > 1:
        problem = f"this {name} is trained on the frames around each annotated one"
    elif crop is not None and crop.keep_object:
        problem = "with data.augment.crop.keep_object each expression has a crop of its own"
    if problem is not None:
        raise UsageError(f"data.phrases_per_image={data.phrases_per_image}, but {problem}; set it to 1")


def _check_categories(system: System, stores: Sequence[Store]) -> None:
    """Raises `UsageError` unless all stores agree on the categories, which a category learner knows by id."""
    if not isinstance(system, CategoryLearner) or system.num_categories <= 1:
        return
    named: dict[int, str] = {}
    for store in stores:
        for number, name in store.categories.items():
            if named.setdefault(number, name) != name:
                raise UsageError(
                    f"category {number} is {named[number]!r} in one store and {name!r} in {store.path}: with several "
                    "datasets, set model.classes=1, referred or not"
                )
    if max(named, default=0) >= system.num_categories:
        raise UsageError(
            f"model.classes={system.num_categories}, but the stores have categories up to {max(named)}: set it to "
            f"{max(named) + 1} or more, or to 1, referred or not"
        )
