"""Makes a dataset of generated phrases for the images and masks of a COCO instance file."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from risctl.data.datasets.coco_instances import Instances, Progress, rasterise, read_instances
from risctl.data.datasets.coco_phrases.colours import colour_of
from risctl.data.datasets.coco_phrases.describe import Describer, Phrase
from risctl.data.datasets.coco_phrases.instances import Instance
from risctl.data.datasets.image_folders import size_of
from risctl.data.datasets.problems import OnMissing, Problems
from risctl.data.records import Annotation, Dataset, Expression, Record
from risctl.data.splits import assign_splits
from risctl.errors import DataError, UsageError
from risctl.vision import rle
from risctl.vision.images import decode_stored

SHARES: Mapping[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}
HELD_OUT = "test"
_MAX_TARGETS = 8
_PHRASES_A_TARGET = 3


def make_coco_phrases(
    instances_path: Path,
    *,
    images: Path,
    seed: int = 0,
    exclude: Collection[int] = (),
    held_out: Collection[int] = (),
    shares: Mapping[str, float] = SHARES,
    on_missing: OnMissing = "refuse",
    progress: Progress | None = None,
) -> Dataset:
    """Returns a dataset of phrases for the images of a COCO instance file.

    Of each image at most 8 instances get up to 3 phrases each; it also gets a phrase for a group where there is one,
    and a no-target phrase. The same file, seed and options give the same dataset; the phrases of an image depend on
    the seed and its id alone, its split also on the other images.

    Args:
        instances_path: The instance file.
        images: The folder of its images.
        seed: Decides phrases and splits.
        exclude: Ids of images to leave out.
        held_out: Ids of the images of the split `test`.
        shares: Split -> its share of the other images.
        on_missing: Whether missing images and masks are refused or left out.
        progress: Called with (done, total) images.

    Raises:
        DataError: The file is not COCO's, an image is missing or of another size (unless `on_missing="drop"`), or
            nothing is left.
        UsageError: A share is not positive.
    """
    if not shares or any(share <= 0 for share in shares.values()):
        raise UsageError(f"shares of splits are positive numbers; got {dict(shares)}")
    problems = Problems()
    instances = read_instances(instances_path, problems)
    listed = [one for _, one in sorted(instances.images.items()) if one.image_id not in exclude]
    usable = {
        entry.image_id: entry
        for entry in listed
        if size_of(images / entry.file_name, annotated=(entry.height, entry.width), problems=problems)
    }
    annotations, broken = rasterise(instances, of_images=usable.keys())
    for annotation_id in broken:
        problems.lose("annotations without a usable mask", annotation_id)
    if on_missing == "refuse":
        problems.refuse_losses(str(instances_path))
    if not usable:
        raise DataError(f"no picture of {instances_path} is left in {images}; check --images and --exclude")
    split_of = assign_splits([one for one in sorted(usable) if one not in held_out], shares=shares, seed=seed)
    split_of |= {one: HELD_OUT for one in usable if one in held_out}
    splits = [*shares, *({HELD_OUT} - shares.keys())]
    of_image: dict[int, list[Annotation]] = {}
    for one in annotations.values():
        of_image.setdefault(one.image_id, []).append(one)
    records: list[Record] = []
    for done, (image_id, image) in enumerate(usable.items(), start=1):
        rng = random.Random(f"{seed} {image_id}")
        own = of_image.get(image_id, [])
        pixels = decode_stored((images / image.file_name).read_bytes())
        describer = Describer(_instances_of(own, pixels=pixels, instances=instances), rng)
        for phrases in _phrases_of_image(describer, rng, categories=list(instances.categories.values())):
            ids = tuple(own[index].annotation_id for index in phrases[0].targets)
            records.append(_record(phrases, image_id=image_id, split=split_of[image_id], ids=ids, ref_id=len(records)))
        if progress:
            progress(done, len(usable))
    records = _numbered(sorted(records, key=lambda record: splits.index(record.split)))
    kept = {record.image_id for record in records}
    return Dataset(
        name="coco-phrases",
        split_by="image",
        categories=instances.categories,
        images={number: one.at(images / one.file_name) for number, one in usable.items() if number in kept},
        annotations={key: one for key, one in annotations.items() if one.image_id in kept},
        records=records,
        notes=problems.notes(),
    )


def read_ids(path: Path) -> set[int]:
    """Returns the image ids in the file `path`: whole numbers, one a line or parted by spaces or commas.

    Raises `DataError` naming the line of anything else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    excluded = set()
    for number, line in enumerate(lines, start=1):
        for word in line.replace(",", " ").split():
            if not word.isdigit():
                raise DataError(f"{path}, line {number}: expected picture ids (whole numbers), got {word!r:.40}")
            excluded.add(int(word))
    return excluded


def _instances_of(annotations: Sequence[Annotation], *, pixels: np.ndarray, instances: Instances) -> list[Instance]:
    height, width = pixels.shape[:2]
    found = []
    for annotation in annotations:
        x, y, wide, high = annotation.box
        category = instances.categories[annotation.category_id]
        found.append(
            Instance(
                corners=(x / width, y / height, (x + wide) / width, (y + high) / height),
                category=category,
                area=rle.area(annotation.mask) / (height * width),
                colour=None if annotation.crowd else colour_of(pixels, rle.decode(annotation.mask), category=category),
                crowd=annotation.crowd,
            )
        )
    return found


def _phrases_of_image(describer: Describer, rng: random.Random, *, categories: Sequence[str]) -> list[list[Phrase]]:
    """Returns the phrases of an image, those of one target together."""
    targets = describer.targets()
    found = []
    for index in sorted(rng.sample(targets, min(_MAX_TARGETS, len(targets)))):
        phrases = [describer.single(index) for _ in range(_PHRASES_A_TARGET)]
        # An instance that nothing tells from its peers gets no phrase.
        found.append(list({phrase.text: phrase for phrase in phrases if phrase is not None}.values()))
    group, absent = describer.group(), describer.absent(categories)
    found.extend([one] for one in (group, absent) if one is not None)
    return [phrases for phrases in found if phrases]


def _record(phrases: Sequence[Phrase], *, image_id: int, split: str, ids: tuple[int, ...], ref_id: int) -> Record:
    return Record(
        ref_id=ref_id,
        image_id=image_id,
        split=split,
        annotation_ids=ids,
        expressions=tuple(
            Expression(
                sentence_id=0,
                raw=phrase.text,
                sent=phrase.text,
                tokens=tuple(phrase.text.split()),
                abilities=phrase.abilities,
            )
            for phrase in phrases
        ),
    )


def _numbered(records: Sequence[Record]) -> list[Record]:
    """Returns the records with ids in their order, of refs and of sentences."""
    numbered, sentence = [], 0
    for ref_id, record in enumerate(records):
        expressions = []
        for expression in record.expressions:
            expressions.append(
                Expression(
                    sentence_id=sentence,
                    raw=expression.raw,
                    sent=expression.sent,
                    tokens=expression.tokens,
                    abilities=expression.abilities,
                )
            )
            sentence += 1
        numbered.append(
            Record(
                ref_id=ref_id,
                image_id=record.image_id,
                split=record.split,
                annotation_ids=record.annotation_ids,
                expressions=tuple(expressions),
            )
        )
    return numbered
