"""Makes scenes with expressions into a `Dataset`; scene i of a seed is always the same."""

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
from risctl.data.datasets.scenes.spatial_relations import SceneObject
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.errors import UsageError
from risctl.vision import rle

JPEG_QUALITY = 92
"""JPEG, as the photographs of the published sets are. A scene takes 30 kB, 0.6 ms to write and 0.7 ms to read; as PNG,
for its grain, 120 kB, 28 ms and 2 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedScene:
    """A rendered scene.

    Attributes:
        index: Its number.
        theme: Its background.
        pixels: The image, uint8 of shape (H, W, 3).
        index_map: int16 of shape (H, W): the index in `objects` of what is visible at each pixel, -1 for background.
        objects: The objects.
        referrals: The referred objects with their expressions.
    """

    index: int
    theme: str
    pixels: np.ndarray
    index_map: np.ndarray
    objects: list[SceneObject]
    referrals: list[Referral]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedScene:
    """A compressed scene: `data` is the encoded image, `objects` the categories and masks."""

    index: int
    width: int
    height: int
    data: bytes
    objects: list[tuple[str, rle.RLE]]
    referrals: list[Referral]


Progress = Callable[[Iterable[PackedScene]], Iterable[PackedScene]]


def make_scene(index: int, *, seed: int, size: tuple[int, int] | None = None) -> RenderedScene:
    """Returns scene `index` of `seed`, at `size` (width, height) or one of the usual sizes."""
    for attempt in range(100):
        rng = np.random.default_rng([seed, index, attempt])
        view = render.render(rng, size=size)
        objects = spatial_relations.scene_objects(view)
        referrals = expression_sampling.referrals(Scene(objects), theme=view.theme, shape=view.index_map.shape, rng=rng)
        if len(view.objects) >= 3 and len(referrals) >= 2:
            break
    return RenderedScene(
        index=index,
        theme=view.theme,
        pixels=view.pixels,
        index_map=view.index_map,
        objects=objects,
        referrals=referrals,
    )


def split_of(index: int) -> str:
    """Returns the split of scene `index`: of every ten, the ninth is "val" and the tenth "test"."""
    return {8: "val", 9: "test"}.get(index % 10, "train")


def make_scenes(
    *, count: int, seed: int, size: tuple[int, int] | None = None, workers: int = 1, progress: Progress | None = None
) -> Dataset:
    """Returns scenes with expressions, in the splits train, val and test (80, 10 and 10 of a hundred).

    Scene i depends on `seed` and i alone, and not on `count` or `workers`. Every expression carries the abilities that
    it needs (`phrases.ABILITIES`).

    Args:
        count: How many scenes.
        seed: Their seed.
        size: The (width, height) of the images; None: several sizes near 320 x 240.
        workers: How many processes render.
        progress: Given the scenes as they are made; passes them on.

    Raises:
        UsageError: There are too few scenes for three splits, or the seed or size is out of range.
    """
    if count < 10:
        raise UsageError(f"at least 10 scenes are needed for train, val and test; got {count}")
    if seed < 0:
        raise UsageError(f"a seed is 0 or more; got {seed}")
    if size is not None and not all(160 <= side <= 2048 for side in size):
        raise UsageError(f"a scene's width and height are from 160 to 2048 pixels; got {size[0]}x{size[1]}")
    buffer = ImageBuffer()
    dataset = Dataset(
        name="scenes",
        split_by=f"seed{seed}",
        categories={number: name for name, number in CATEGORY_IDS.items()},
        images=buffer,
        annotations={},
        records=[],
    )
    scenes: Iterable[PackedScene] = _packed_scenes(count=count, seed=seed, size=size, workers=workers)
    for scene in progress(scenes) if progress else scenes:
        _add(dataset, buffer, scene)
    return dataset


def _packed_scenes(*, count: int, seed: int, size: tuple[int, int] | None, workers: int) -> Iterator[PackedScene]:
    """Yields scenes in their order, made by `workers` processes."""
    make = partial(_pack, seed=seed, size=size)
    if workers <= 1:
        yield from map(make, range(count))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=ignore_interrupts) as pool:
        yield from pool.map(make, range(count), chunksize=16)


def ignore_interrupts() -> None:
    """Leaves Ctrl-C to the main process, which stops the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _pack(index: int, *, seed: int, size: tuple[int, int] | None) -> PackedScene:
    scene = make_scene(index, seed=seed, size=size)
    stream = io.BytesIO()
    Image.fromarray(scene.pixels).save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    height, width = scene.index_map.shape
    masks = [(one.category, rle.encode(scene.index_map == k)) for k, one in enumerate(scene.objects)]
    return PackedScene(
        index=index, width=width, height=height, data=stream.getvalue(), objects=masks, referrals=scene.referrals
    )


def _add(dataset: Dataset, buffer: ImageBuffer, scene: PackedScene) -> None:
    image_id = scene.index + 1
    buffer.add(
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
    for number, (category, mask) in enumerate(scene.objects, start=first):
        dataset.annotations[number] = Annotation(
            annotation_id=number, image_id=image_id, category_id=CATEGORY_IDS[category], box=rle.box(mask), mask=mask
        )
    sentence_id = dataset.records[-1].expressions[-1].sentence_id + 1 if dataset.records else 1
    for referral in scene.referrals:
        expressions = []
        for worded in referral.expressions:
            expressions.append(
                Expression(
                    sentence_id=sentence_id,
                    raw=worded.raw,
                    sent=worded.sent,
                    tokens=tuple(worded.sent.split()),
                    abilities=worded.abilities,
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
