"""COCO divided for zero-shot segmentation: training pictures show no unseen class at all.

A ref stands for all things of one class in a picture; its sentence is the class's name, its ability "seen" or "unseen".
Crowds are kept as annotations, which COCO's evaluation passes over; they belong to no ref.
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
    """An instance file and the folder of its pictures."""

    instances: Path
    images: Path


def make_coco_zsi(
    split: str,
    training: InstanceFolder,
    *,
    test: InstanceFolder | None = None,
    held_out: float = 0.1,
    seed: int = 0,
    on_missing: OnMissing = "refuse",
    progress: Progress | None = None,
) -> Dataset:
    """Returns the dataset of `split` ("48_17" or "65_15").

    Splits: "train", pictures of `training` without any unseen object, be it in a crowd; "val", the share `held_out` of
    these, by chance; "test", the pictures of `test`, or without it those of `training` that were dropped for an unseen
    object. Classes of neither part are left out. Only "test" has refs to unseen classes.

    Raises `DataError` for a file that is not COCO's or names no picture that is there, `UsageError` for another split
    or share.
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
    own = _read(training, ordered, problems, progress=progress)
    unseen = {number for number, name in ordered.items() if name in classes.unseen}
    dropped = own.images.keys() & {image for image, number in own.shown if number in unseen}
    clean = sorted(own.images.keys() - dropped)
    chosen = set(random.Random(seed).sample(clean, round(held_out * len(clean))))
    split_of = {image: "val" if image in chosen else "train" for image in clean}
    _add(dataset, own, split_of, classes)
    if test is None:
        _add(dataset, own, dict.fromkeys(sorted(dropped), "test"), classes)
    else:
        other = _read(test, ordered, problems, progress=progress)
        if repeated := own.images.keys() & other.images.keys():
            raise DataError(f"{test.instances} and {training.instances} share picture {min(repeated)}; name two files")
        _add(dataset, other, dict.fromkeys(sorted(other.images), "test"), classes)
        for image in dropped:
            problems.repair("training pictures left out for an unseen object", image)
    if on_missing == "refuse":
        problems.refuse_losses(str(training.instances))
    if not any(record.split == "train" for record in dataset.records):
        raise DataError(f"{training.instances} has no picture in {training.images} to train on; check the paths")
    dataset.notes = problems.notes()
    return dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class _Readings:
    """shown: which pictures show which categories, also where an annotation has no usable mask."""

    images: Mapping[int, ImageRecord]
    annotations: Mapping[int, Annotation]
    shown: frozenset[tuple[int, int]]


def _read(
    pictures: InstanceFolder, classes: Mapping[int, str], problems: Problems, *, progress: Progress | None
) -> _Readings:
    """Returns the pictures that are there, and their annotations of `classes`."""
    read = read_instances(pictures.instances, problems)
    wrong = [name for number, name in classes.items() if read.categories.get(number) != name]
    if wrong:
        raise DataError(
            f"{pictures.instances} has not COCO's categories: {len(wrong)} are missing, such as {wrong[0]!r}"
        )
    images = {}
    for number, one in read.images.items():
        path = pictures.images / one.file_name
        if not path.is_file():
            problems.lose("pictures missing", path)
            continue
        images[number] = one.at(path)
    wanted = {number: one for number, one in read.annotations.items() if one["category_id"] in classes}
    things = Instances(path=read.path, images=read.images, categories=read.categories, annotations=wanted)
    annotations, broken = rasterise(things, of_images=images.keys(), progress=progress)
    for number in broken:
        problems.lose("annotations without a usable mask", number)
    shown = frozenset((one["image_id"], one["category_id"]) for one in wanted.values())
    return _Readings(images=images, annotations=annotations, shown=shown)


def _add(dataset: Dataset, readings: _Readings, split_of: Mapping[int, str], classes: ClassSplit) -> None:
    """Adds the pictures of `split_of` that show anything, a ref for each class in them."""
    grouped: dict[int, dict[int, list[int]]] = {}
    for one in readings.annotations.values():
        if one.image_id in split_of and not one.crowd:
            grouped.setdefault(one.image_id, {}).setdefault(one.category_id, []).append(one.annotation_id)
    for one in readings.annotations.values():
        if one.image_id in grouped:
            dataset.annotations[one.annotation_id] = one  # type: ignore[index]
    for image, split in split_of.items():
        if image not in grouped:
            continue
        dataset.images[image] = readings.images[image]  # type: ignore[index]
        for category, things in sorted(grouped[image].items()):
            name, number = dataset.categories[category], len(dataset.records)
            text = Expression(
                sentence_id=number,
                raw=name,
                sent=name,
                tokens=tuple(name.split()),
                abilities=("seen" if name in classes.seen else "unseen",),
            )
            dataset.records.append(
                Record(ref_id=number, image_id=image, split=split, annotation_ids=tuple(things), expressions=(text,))
            )
