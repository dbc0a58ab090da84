"""Scenes in which some things move: short videos, and expressions that hold in all of their frames.

What tells a thing apart is its kind, its colour, or how it moves; place and order change on the way and are not said.
Video i of a seed is always the same.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import numpy as np
from PIL import Image

from risctl.data.clips import VIDEOS
from risctl.data.datasets.image_buffer import ImageBuffer
from risctl.data.datasets.scenes import backgrounds, layout, render, spatial_relations
from risctl.data.datasets.scenes.catalogue import CATEGORY_IDS, KINDS, THEMES
from risctl.data.datasets.scenes.generate import JPEG_QUALITY, leave_interrupts, split_of
from risctl.data.datasets.scenes.layout import Placed
from risctl.data.datasets.scenes.render import View
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.errors import UsageError
from risctl.vision import rle

MOTION = "motion"
"""The ability that an expression needs which tells things apart by how they move."""

LEAST_SPEED = 0.012
"""Of the picture's width, a frame: what moves at all moves so much that it can be seen."""

LEAST_AREA = 0.008
_STILL_SHARE = 0.4
_WAYS = {-1: "moving to the left", 0: "standing still", 1: "moving to the right"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedVideo:
    """Video number `index` as it is kept: encoded frames, and of each thing that is spoken of its category, its masks
    by frame, None where it does not show, and what is said: (text, abilities)."""

    index: int
    height: int
    width: int
    frames: tuple[bytes, ...]
    things: tuple[tuple[str, tuple[rle.RLE | None, ...], tuple[tuple[str, tuple[str, ...]], ...]], ...]


Progress = Callable[[Iterable[PackedVideo]], Iterable[PackedVideo]]


def make_moving_scenes(
    *,
    count: int,
    frames: int,
    seed: int,
    size: tuple[int, int] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Dataset:
    """Return `count` videos of `frames` frames with expressions, in the splits train, val and test.

    Images are of `size` (width, height), or of several usual sizes. Raises `UsageError` if there are too few videos
    for three splits, or too few frames to see a motion.
    """
    if count < 10:
        raise UsageError(f"at least 10 videos are needed for train, val and test; got {count}")
    if not 2 <= frames <= 500:
        raise UsageError(f"a video has from 2 to 500 frames; got {frames}")
    pictures = ImageBuffer()
    dataset = Dataset(
        name="moving-scenes",
        split_by=VIDEOS,
        categories={number: name for name, number in CATEGORY_IDS.items()},
        images=pictures,
        annotations={},
        records=[],
    )
    videos: Iterable[PackedVideo] = _packed(count, frames=frames, seed=seed, size=size, workers=workers)
    sentence = 0
    for video in progress(videos) if progress else videos:
        sentence = _add(dataset, pictures, video, sentence=sentence)
    return dataset


def make_video(index: int, *, frames: int, seed: int, size: tuple[int, int] | None = None) -> PackedVideo:
    """Return video `index` of `seed`."""
    for attempt in range(100):
        rng = np.random.default_rng([seed, index, attempt, frames])
        width, height = size or render.SHAPES[int(rng.integers(len(render.SHAPES)))]
        theme = THEMES[int(rng.integers(len(THEMES)))]
        horizon = int(height * rng.uniform(0.3, 0.45))
        light = float(rng.uniform(0.25, 0.75) * np.pi)
        things = layout.place(
            layout.plan(theme, rng), height=height, width=width, horizon=horizon, light=light, rng=rng
        )
        steps = [_step(one, frames=frames, width=width, rng=rng) for one in things]
        canvas = backgrounds.draw(theme, height=height, width=width, horizon=horizon, rng=rng)
        drawn = []
        for frame in range(frames):
            moved = [replace(one, left=one.left + round(step * frame)) for one, step in zip(things, steps, strict=True)]
            # One exposure and one grain: the camera does not change from frame to frame.
            camera = np.random.default_rng([seed, index, attempt, frames, 1])
            drawn.append(render.compose(canvas.copy(), moved, light=light, rng=camera))
        said = _said(View(theme, *drawn[0], things), steps)
        if said:
            break
    spoken = tuple(
        (things[number].plan.category, tuple(_mask(owner == number) for _, owner in drawn), texts)
        for number, texts in said.items()
    )
    return PackedVideo(
        index=index,
        height=height,
        width=width,
        frames=tuple(_encoded(pixels) for pixels, _ in drawn),
        things=spoken,
    )


def _step(one: Placed, *, frames: int, width: int, rng: np.random.Generator) -> float:
    """Return the pixels a frame that a thing moves to the right: 0, or what keeps it in the picture to the end."""
    way = int(rng.choice([-1, 1]))
    room = one.left if way < 0 else width - one.right
    speed = float(rng.uniform(LEAST_SPEED, 4 * LEAST_SPEED)) * width
    most = room / max(frames - 1, 1)
    if rng.random() < _STILL_SHARE or KINDS[one.plan.category].stands == "wall" or most < LEAST_SPEED * width:
        return 0.0
    return way * min(speed, most)


def _said(view: View, steps: list[float]) -> dict[int, tuple[tuple[str, tuple[str, ...]], ...]]:
    """Return for each thing that can be told apart, by its number, what is said of it and what that takes."""
    seen = spatial_relations.things_of(view)
    ways = [int(np.sign(step)) for step in steps]
    least = LEAST_AREA * view.owner.size
    kinds = [one.category for one in seen]
    colours = [(one.category, one.colour) for one in seen]
    motions = list(zip(kinds, ways, strict=True))
    all_of = list(zip(kinds, [one.colour for one in seen], ways, strict=True))
    said = {}
    for number, one in enumerate(seen):
        if one.visible < least:
            continue
        texts: list[tuple[str, tuple[str, ...]]] = []
        if kinds.count(kinds[number]) == 1:
            texts.append((f"the {one.category}", ("category",)))
        elif colours.count(colours[number]) == 1:
            texts.append((f"the {one.colour} {one.category}", ("category", "colour")))
        if kinds.count(kinds[number]) > 1 and motions.count(motions[number]) == 1:
            texts.append((f"the {one.category} {_WAYS[ways[number]]}", ("category", MOTION)))
        elif colours.count(colours[number]) > 1 and all_of.count(all_of[number]) == 1:
            texts.append((f"the {one.colour} {one.category} {_WAYS[ways[number]]}", ("category", "colour", MOTION)))
        if texts:
            said[number] = tuple(texts)
    return said


def _mask(mask: np.ndarray) -> rle.RLE | None:
    return rle.encode(mask) if mask.any() else None


def _encoded(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return stream.getvalue()


def _packed(count: int, *, frames: int, seed: int, size: tuple[int, int] | None, workers: int) -> Iterator[PackedVideo]:
    make = partial(make_video, frames=frames, seed=seed, size=size)
    if workers <= 1:
        yield from map(make, range(count))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=leave_interrupts) as pool:
        yield from pool.map(make, range(count), chunksize=4)


def _add(dataset: Dataset, pictures: ImageBuffer, video: PackedVideo, *, sentence: int) -> int:
    """Add a video to `dataset`; return the last sentence id given."""
    assert isinstance(dataset.annotations, dict)
    first = len(pictures) + 1
    for frame, data in enumerate(video.frames):
        pictures.add(
            ImageRecord(
                image_id=first + frame,
                file_name=f"video_{video.index:06d}/{frame:05d}.jpg",
                height=video.height,
                width=video.width,
                data=data,
            )
        )
    for category, masks, texts in video.things:
        numbers = []
        for frame, mask in enumerate(masks):
            if mask is None:
                continue
            number = len(dataset.annotations) + 1
            numbers.append(number)
            dataset.annotations[number] = Annotation(
                annotation_id=number,
                image_id=first + frame,
                category_id=CATEGORY_IDS[category],
                box=rle.box(mask),
                mask=mask,
            )
        expressions = []
        for text, abilities in texts:
            sentence += 1
            expressions.append(
                Expression(sentence_id=sentence, raw=text, sent=text, tokens=tuple(text.split()), abilities=abilities)
            )
        dataset.records.append(
            Record(
                ref_id=len(dataset.records) + 1,
                image_id=first,
                split=split_of(video.index),
                annotation_ids=tuple(numbers),
                expressions=tuple(expressions),
            )
        )
    return sentence
