"""The targets of a dataset or a store, one after another, with what is told of them in lists and numbers."""

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
    """One referred target, whoever keeps it.

    Texts, their ids and abilities go together. `mask` is None if there is no target; `share` is the part of the
    picture that it covers; `things` how many annotations it joins; `likes` how many other things of its categories are
    annotated in its picture. Of a video these are of one frame, but `share` is the mean over frames.
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
    share: float
    things: int
    likes: int


def targets_of(source: Dataset | Store, *, split: str = splits.ALL) -> Iterator[Target]:
    """Yield the targets of a split of a dataset or store. Raises `UsageError` for an unknown split."""
    return _of_store(source, split) if isinstance(source, Store) else _of_dataset(source, split)


def some_pictures(dataset: Dataset, *, split: str, count: int, seed: int) -> Dataset:
    """Return the dataset of `count` pictures of a split, at most, chosen by `seed`, and what that split says of them.

    Raises `UsageError` for an unknown split.
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
    around = Counter((one.image_id, one.category_id) for one in dataset.annotations.values())
    images = dataset.images
    # Records of images that are stored turned are costly to make.
    names = images.names if isinstance(images, UprightImages) else {key: one.file_name for key, one in images.items()}
    for record in dataset.records:
        if record.split not in taken:
            continue
        own = [dataset.annotations[one] for one in record.annotation_ids]
        shown = _shown([(one.image_id, one.category_id, one.mask) for one in own], around)
        yield Target(
            split=record.split,
            ref_id=record.ref_id,
            image_id=record.image_id,
            file_name=names[record.image_id],
            sentence_ids=tuple(one.sentence_id for one in record.expressions),
            texts=tuple(one.sent for one in record.expressions),
            abilities=tuple(one.abilities for one in record.expressions),
            categories=tuple(dataset.categories[kind] for kind in shown.kinds),
            mask=shown.mask,
            share=shown.share,
            things=shown.things,
            likes=shown.likes,
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
        own = [store.annotation(one) for one in ref.annotations]
        shown = _shown([(one.image, one.category_id, one.mask) for one in own], around)
        yield Target(
            split=ref.split,
            ref_id=ref.ref_id,
            image_id=ref.image_id,
            file_name=store.image(ref.image).file_name,
            sentence_ids=tuple(ids[one] for one in sentences),
            texts=tuple(texts[one] for one in sentences),
            abilities=tuple(store.sentence(one).abilities if tagged else () for one in sentences),
            categories=tuple(store.categories.get(kind, str(kind)) for kind in shown.kinds),
            mask=shown.mask,
            share=shown.share,
            things=shown.things,
            likes=shown.likes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What a target's annotations come to. In a video they are spread over frames: the share is their mean, the rest
    is of the frame that shows most of them, the first of such."""

    kinds: tuple[int, ...]
    mask: rle.RLE | None
    share: float
    things: int
    likes: int


def _shown(own: Sequence[tuple[int, int, rle.RLE]], around: Mapping[tuple[int, int], int]) -> _Shown:
    """Return what annotations, each (image, category, mask), come to, with `around` counting all there are."""
    if not own:
        return _Shown(kinds=(), mask=None, share=0.0, things=0, likes=0)
    frames: dict[int, list[tuple[int, rle.RLE]]] = {}
    for image, kind, mask in own:
        frames.setdefault(image, []).append((kind, mask))
    masks = {image: rle.union([mask for _, mask in inside]) for image, inside in frames.items()}
    image = max(frames, key=lambda one: len(frames[one]))
    kinds = tuple(dict.fromkeys(kind for kind, _ in frames[image]))
    shares = [rle.area(mask) / (mask["size"][0] * mask["size"][1]) for mask in masks.values()]
    return _Shown(
        kinds=kinds,
        mask=masks[image],
        share=sum(shares) / len(shares),
        things=len(frames[image]),
        likes=sum(around[image, kind] for kind in kinds) - len(frames[image]),
    )
