"""Divides COCO for zero-shot instance segmentation: training images show no unseen class at all.

A ref stands for all objects of one class in an image; its sentence is the class's name, its ability "seen" or "unseen".
Crowds are kept as annotations, which COCO's evaluation ignores; they belong to no ref.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from risctl.data.datasets.coco_instances import Instances, Progress, rasterise, read_instances
from risctl.data.datasets.problems import OnMissing, Problems
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.errors import DataError, UsageError
from risctl.language.coco_classes import CLASSES, SPLITS, ClassSplit


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFolder:
    """An instance file and the folder of its images."""

    instances: Path
    images: Path


def make_coco_zsi(
    split: str,
    training: InstanceFolder,
    *,
    test: InstanceFolder | None = None,
    held_out: float = 0.0,
    seed: int = 0,
    on_missing: OnMissing = "refuse",
    progress: Progress | None = None,
) -> Dataset:
    """Returns the dataset of a division into seen and unseen classes.

    The split "train" has the images of `training` without any unseen object, not even in a crowd; "val" the share
    `held_out` of these; "test" the images of `test`, or without it those of `training` that were dropped for an unseen
    object. Classes of neither part are left out, and only "test" has refs to unseen classes.

    Args:
        split: "48_17" or "65_15".
        training: The instances to train on.
        test: The instances to test on.
        held_out: The share of training images for "val".
        seed: Decides which these are.
        on_missing: Whether missing images are refused or left out.
        progress: Called with (done, total) annotations.

    Raises:
        DataError: A file is not COCO's, or names no image that is there.
        UsageError: Another split, or a share that is out of range.
    """
    if split not in SPLITS:
        raise UsageError(f"expected one of {', '.join(SPLITS)}, got {split!r}")
    if not 0 <= held_out < 1:
        raise UsageError(f"expected a share of held-out pictures from 0 to below 1, got {held_out}")
    classes, problems = SPLITS[split], Problems()
    ids = {name: number for number, name in CLASSES.items()}
    ordered = {ids[name]: name for name in (*classes.seen, *classes.unseen)}
    dataset = Dataset(
        name=f"coco-zsi-{split.replace('_', '-')}",
        split_by="class",
        categories=ordered,
        images={},
        annotations={},
        records=[],
    )
    train_data = _read_instances(training, ordered, problems, progress=progress)
    unseen = {number for number, name in ordered.items() if name in classes.unseen}
    dropped = train_data.images.keys() & {image for image, number in train_data.shown if number in unseen}
    clean = sorted(train_data.images.keys() - dropped)
    chosen = set(random.Random(seed).sample(clean, round(held_out * len(clean))))
    split_of = {image: "val" if image in chosen else "train" for image in clean}
    _add(dataset, train_data, split_of, classes)
    if test is None:
        _add(dataset, train_data, dict.fromkeys(sorted(dropped), "test"), classes)
    else:
        test_data = _read_instances(test, ordered, problems, progress=progress)
        if repeated := train_data.images.keys() & test_data.images.keys():
            raise DataError(f"{test.instances} and {training.instances} share picture {min(repeated)}; name two files")
        _add(dataset, test_data, dict.fromkeys(sorted(test_data.images), "test"), classes)
        for image in dropped:
            problems.repair("training pictures left out for an unseen object", image)
    if on_missing == "refuse":
        problems.refuse_losses(str(training.instances))
    if not any(record.split == "train" for record in dataset.records):
        raise DataError(f"{training.instances} has no picture in {training.images} to train on; check the paths")
    dataset.notes = problems.notes()
    return dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class _InstanceData:
    """What was read; `shown` has the (image, category) pairs, also where an annotation has no usable mask."""

    images: Mapping[int, ImageRecord]
    annotations: Mapping[int, Annotation]
    shown: frozenset[tuple[int, int]]


def _read_instances(
    files: InstanceFolder, classes: Mapping[int, str], problems: Problems, *, progress: Progress | None
) -> _InstanceData:
    """Returns the images that are there, and their annotations of `classes`."""
    instances_file = read_instances(files.instances, problems)
    wrong = [name for number, name in classes.items() if instances_file.categories.get(number) != name]
    if wrong:
        raise DataError(f"{files.instances} has not COCO's categories: {len(wrong)} are missing, such as {wrong[0]!r}")
    images = {}
    for number, one in instances_file.images.items():
        path = files.images / one.file_name
        if not path.is_file():
            problems.lose("pictures missing", path)
            continue
        images[number] = one.at(path)
    wanted = {number: one for number, one in instances_file.annotations.items() if one["category_id"] in classes}
    of_classes = Instances(
        path=instances_file.path, images=instances_file.images, categories=instances_file.categories, annotations=wanted
    )
    annotations, broken = rasterise(of_classes, of_images=images.keys(), progress=progress)
    for number in broken:
        problems.lose("annotations without a usable mask", number)
    shown = frozenset((one["image_id"], one["category_id"]) for one in wanted.values())
    return _InstanceData(images=images, annotations=annotations, shown=shown)


def _add(dataset: Dataset, data: _InstanceData, split_of: Mapping[int, str], classes: ClassSplit) -> None:
    """Adds the images of `split_of` that show anything, with a ref for each class in them."""
    grouped: dict[int, dict[int, list[int]]] = {}
    for annotation in data.annotations.values():
        if annotation.image_id in split_of and not annotation.crowd:
            grouped.setdefault(annotation.image_id, {}).setdefault(annotation.category_id, []).append(
                annotation.annotation_id
            )
    for annotation in data.annotations.values():
        if annotation.image_id in grouped:
            dataset.annotations[annotation.annotation_id] = annotation  # type: ignore[index]
    for image, split in split_of.items():
        if image not in grouped:
            continue
        dataset.images[image] = data.images[image]  # type: ignore[index]
        for category, annotation_ids in sorted(grouped[image].items()):
            name, number = dataset.categories[category], len(dataset.records)
            text = Expression(
                sentence_id=number,
                raw=name,
                sent=name,
                tokens=tuple(name.split()),
                abilities=("seen" if name in classes.seen else "unseen",),
            )
            dataset.records.append(
                Record(
                    ref_id=number,
                    image_id=image,
                    split=split,
                    annotation_ids=tuple(annotation_ids),
                    expressions=(text,),
                )
            )
