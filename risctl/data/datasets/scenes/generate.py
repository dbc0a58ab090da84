"""Scenes with expressions, as a `Dataset`; scene i of a seed is always the same, whoever makes it."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from PIL import Image

from risctl.data.datasets.image_buffer import ImageBuffer
from risctl.data.datasets.scenes import expression_sampling, render, spatial_relations
from risctl.data.datasets.scenes.catalogue import CATEGORY_IDS
from risctl.data.datasets.scenes.expression_sampling import Referral
from risctl.data.datasets.scenes.phrases import Scene
from risctl.data.datasets.scenes.spatial_relations import Thing
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.errors import UsageError
from risctl.vision import rle

JPEG_QUALITY = 92
"""JPEG, as the photographs of the published sets are. A scene takes 30 kB, 0.6 ms to write and 0.7 ms to read; as PNG,
for its grain, 120 kB, 28 ms and 2 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeScene:
    """Scene number `index`: `pixels` uint8 (H, W, 3), `owner` int16 (H, W) the index in `things` of what is seen there
    (-1: background), and what is referred to."""

    index: int
    theme: str
    pixels: np.ndarray
    owner: np.ndarray
    things: list[Thing]
    referrals: list[Referral]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedScene:
    """A scene as it is kept: `data` the encoded picture, `things` their categories and masks."""

    index: int
    width: int
    height: int
    data: bytes
    things: list[tuple[str, rle.RLE]]
    referrals: list[Referral]


Progress = Callable[[Iterable[PackedScene]], Iterable[PackedScene]]


def make_scene(index: int, *, seed: int, size: tuple[int, int] | None = None) -> MadeScene:
    """Return scene `index` of `seed`, at `size` (width, height) or one of the usual sizes."""
    for attempt in range(100):
        rng = np.random.default_rng([seed, index, attempt])
        view = render.render(rng, size=size)
        things = spatial_relations.things_of(view)
        referrals = expression_sampling.referrals(Scene(things), theme=view.theme, shape=view.owner.shape, rng=rng)
        if len(view.things) >= 3 and len(referrals) >= 2:
            break
    return MadeScene(
        index=index, theme=view.theme, pixels=view.pixels, owner=view.owner, things=things, referrals=referrals
    )


def split_of(index: int) -> str:
    """Return the split of scene `index`: of every ten, the ninth is for validation and the tenth for the test."""
    return {8: "val", 9: "test"}.get(index % 10, "train")


def make_scenes(
    *, count: int, seed: int, size: tuple[int, int] | None = None, workers: int = 1, progress: Progress | None = None
) -> Dataset:
    """Return `count` scenes of `seed` with expressions, in the splits train, val and test (80, 10 and 10 of a hundred).

    Scene i depends on `seed` and i alone: not on `count`, nor on the number of `workers` (processes). Images are of
    `size` (width, height) or of several usual sizes near 320 x 240, as JPEG. Every expression carries the abilities it
    needs (`phrases.ABILITIES`). `progress` is given the scenes as they come and passes them on. Raises `UsageError` if
    there are too few scenes for three splits, or sides no picture has.
    """
    if count < 10:
        raise UsageError(f"at least 10 scenes are needed for train, val and test; got {count}")
    if seed < 0:
        raise UsageError(f"a seed is 0 or more; got {seed}")
    if size is not None and not all(160 <= side <= 2048 for side in size):
        raise UsageError(f"a scene's width and height are from 160 to 2048 pixels; got {size[0]}x{size[1]}")
    pictures = ImageBuffer()
    dataset = Dataset(
        name="scenes",
        split_by=f"seed{seed}",
        categories={number: name for name, number in CATEGORY_IDS.items()},
        images=pictures,
        annotations={},
        records=[],
    )
    scenes: Iterable[PackedScene] = _packed_scenes(count=count, seed=seed, size=size, workers=workers)
    for scene in progress(scenes) if progress else scenes:
        _add(dataset, pictures, scene)
    return dataset


def _packed_scenes(*, count: int, seed: int, size: tuple[int, int] | None, workers: int) -> Iterator[PackedScene]:
    """Yield scenes in their order, made by `workers` processes."""
    make = partial(_pack, seed=seed, size=size)
    if workers <= 1:
        yield from map(make, range(count))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=leave_interrupts) as pool:
        yield from pool.map(make, range(count), chunksize=16)


def leave_interrupts() -> None:
    """Let the main process alone answer Ctrl-C: it stops the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _pack(index: int, *, seed: int, size: tuple[int, int] | None) -> PackedScene:
    scene = make_scene(index, seed=seed, size=size)
    stream = io.BytesIO()
    Image.fromarray(scene.pixels).save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    height, width = scene.owner.shape
    masks = [(one.category, rle.encode(scene.owner == k)) for k, one in enumerate(scene.things)]
    return PackedScene(
        index=index, width=width, height=height, data=stream.getvalue(), things=masks, referrals=scene.referrals
    )


def _add(dataset: Dataset, pictures: ImageBuffer, scene: PackedScene) -> None:
    image_id = scene.index + 1
    pictures.add(
        ImageRecord(
            image_id=image_id,
            file_name=f"scene_{scene.index:06d}.jpg",
            height=scene.height,
            width=scene.width,
            data=scene.data,
        )
    )
    assert isinstance(dataset.annotations, dict)
    first = len(dataset.annotations) + 1
    for number, (category, mask) in enumerate(scene.things, start=first):
        dataset.annotations[number] = Annotation(
            annotation_id=number, image_id=image_id, category_id=CATEGORY_IDS[category], box=rle.box(mask), mask=mask
        )
    sentence_id = dataset.records[-1].expressions[-1].sentence_id + 1 if dataset.records else 1
    for referral in scene.referrals:
        expressions = []
        for saying in referral.sayings:
            expressions.append(
                Expression(
                    sentence_id=sentence_id,
                    raw=saying.raw,
                    sent=saying.sent,
                    tokens=tuple(saying.sent.split()),
                    abilities=saying.abilities,
                )
            )
            sentence_id += 1
        dataset.records.append(
            Record(
                ref_id=len(dataset.records) + 1,
                image_id=image_id,
                split=split_of(scene.index),
                annotation_ids=() if referral.target is None else (first + referral.target,),
                expressions=tuple(expressions),
            )
        )
