"""Iterates over the targets of a dataset or a store, for listings and statistics."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from risctl.data import splits
from risctl.data.datasets.custom.images import UprightImages
from risctl.data.records import Dataset
from risctl.data.store.reader import Store
from risctl.vision import rle


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One referred target, of a dataset or of a store.

    Of a video, these are of the frame that shows most of it; only `area_fraction` is the mean over frames.

    Attributes:
        split: Its split.
        ref_id: The publisher's id.
        image_id: The publisher's id of its image.
        file_name: Name of its image.
        sentence_ids: Ids of its sentences.
        texts: Its sentences.
        abilities: What it takes to understand each sentence.
        categories: Names of its categories.
        mask: Its mask, None for a no-target ref.
        area_fraction: Fraction of the image that it covers.
        annotation_count: Number of annotations that it unites.
        distractors: Number of other annotations of its categories in the image.
    """

    split: str
    ref_id: int
    image_id: int
    file_name: str
    sentence_ids: tuple[int, ...]
    texts: tuple[str, ...]
    abilities: tuple[tuple[str, ...], ...]
    categories: tuple[str, ...]
    mask: rle.RLE | None
    area_fraction: float
    annotation_count: int
    distractors: int


def targets_of(source: Dataset | Store, *, split: str = splits.ALL) -> Iterator[Target]:
    """Yields the targets of a split of a dataset or store. Raises `UsageError` for an unknown split."""
    return _of_store(source, split) if isinstance(source, Store) else _of_dataset(source, split)


def subset_of_images(dataset: Dataset, *, split: str, count: int, seed: int) -> Dataset:
    """Returns a dataset of at most `count` images of a split, drawn with `seed`, and the refs of that split about them.

    Raises:
        UsageError: The split is unknown.
    """
    taken = set(splits.matching(split, dict.fromkeys(record.split for record in dataset.records)))
    records = [record for record in dataset.records if record.split in taken]
    ids = sorted({record.image_id for record in records})
    kept = set(random.Random(seed).sample(ids, min(count, len(ids))))
    return replace(
        dataset,
        images={image_id: dataset.images[image_id] for image_id in sorted(kept)},
        annotations={key: one for key, one in dataset.annotations.items() if one.image_id in kept},
        records=[record for record in records if record.image_id in kept],
    )


def _of_dataset(dataset: Dataset, split: str) -> Iterator[Target]:
    taken = set(splits.matching(split, dict.fromkeys(record.split for record in dataset.records)))
    around = Counter((annotation.image_id, annotation.category_id) for annotation in dataset.annotations.values())
    images = dataset.images
    # Records of images that are stored turned are costly to make.
    names = images.names if isinstance(images, UprightImages) else {key: one.file_name for key, one in images.items()}
    for record in dataset.records:
        if record.split not in taken:
            continue
        own = [dataset.annotations[annotation_id] for annotation_id in record.annotation_ids]
        summary = _summarize([(one.image_id, one.category_id, one.mask) for one in own], around)
        yield Target(
            split=record.split,
            ref_id=record.ref_id,
            image_id=record.image_id,
            file_name=names[record.image_id],
            sentence_ids=tuple(expression.sentence_id for expression in record.expressions),
            texts=tuple(expression.sent for expression in record.expressions),
            abilities=tuple(expression.abilities for expression in record.expressions),
            categories=tuple(dataset.categories[kind] for kind in summary.category_ids),
            mask=summary.mask,
            area_fraction=summary.area_fraction,
            annotation_count=summary.annotation_count,
            distractors=summary.distractors,
        )


def _of_store(store: Store, split: str) -> Iterator[Target]:
    rows = store.refs(split)
    images, kinds = store.numbers("annotations/image"), store.numbers("annotations/category")
    around = Counter(zip(images.tolist(), kinds.tolist(), strict=True))
    texts, ids = store.texts(splits.ALL), store.numbers("sentences/id").tolist()
    tagged = len(store.numbers("sentences/abilities/values")) > 0
    for row in rows.tolist():
        ref = store.ref(row)
        sentences = ref.sentences.tolist()
        own = [store.annotation(annotation) for annotation in ref.annotations]
        summary = _summarize([(record.image, record.category_id, record.mask) for record in own], around)
        yield Target(
            split=ref.split,
            ref_id=ref.ref_id,
            image_id=ref.image_id,
            file_name=store.image(ref.image).file_name,
            sentence_ids=tuple(ids[sentence] for sentence in sentences),
            texts=tuple(texts[sentence] for sentence in sentences),
            abilities=tuple(store.sentence(sentence).abilities if tagged else () for sentence in sentences),
            categories=tuple(store.categories.get(kind, str(kind)) for kind in summary.category_ids),
            mask=summary.mask,
            area_fraction=summary.area_fraction,
            annotation_count=summary.annotation_count,
            distractors=summary.distractors,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Summary:
    """A target's annotations summarized; see `Target`."""

    category_ids: tuple[int, ...]
    mask: rle.RLE | None
    area_fraction: float
    annotation_count: int
    distractors: int


def _summarize(own: Sequence[tuple[int, int, rle.RLE]], around: Mapping[tuple[int, int], int]) -> _Summary:
    """Summarizes annotations (image, category, mask); `around` counts all annotations by image and category."""
    if not own:
        return _Summary(category_ids=(), mask=None, area_fraction=0.0, annotation_count=0, distractors=0)
    frames: dict[int, list[tuple[int, rle.RLE]]] = {}
    for image, kind, mask in own:
        frames.setdefault(image, []).append((kind, mask))
    masks = {image: rle.union([mask for _, mask in inside]) for image, inside in frames.items()}
    image = max(frames, key=lambda one: len(frames[one]))
    kinds = tuple(dict.fromkeys(kind for kind, _ in frames[image]))
    shares = [rle.area(mask) / (mask["size"][0] * mask["size"][1]) for mask in masks.values()]
    return _Summary(
        category_ids=kinds,
        mask=masks[image],
        area_fraction=sum(shares) / len(shares),
        annotation_count=len(frames[image]),
        distractors=sum(around[image, kind] for kind in kinds) - len(frames[image]),
    )
