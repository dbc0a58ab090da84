"""Makes short videos in which some objects move, with expressions that hold in all of their frames.

Expressions name category, colour or motion; place and order change within a video and are not used.
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

from risctl.data.datasets.image_buffer import ImageBuffer
from risctl.data.datasets.scenes import backgrounds, layout, render, spatial_relations
from risctl.data.datasets.scenes.catalogue import CATEGORIES, CATEGORY_IDS, THEMES
from risctl.data.datasets.scenes.generate import JPEG_QUALITY, ignore_interrupts, split_of
from risctl.data.datasets.scenes.layout import Placed
from risctl.data.datasets.scenes.render import View
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.data.store.clips import VIDEOS
from risctl.errors import UsageError
from risctl.vision import rle

MOTION = "motion"
"""The ability needed by expressions that tell objects apart by how they move."""

MIN_SPEED = 0.012
"""The smallest visible speed, as a share of the image's width per frame."""

MIN_AREA = 0.008
_STILL_SHARE = 0.4
_DIRECTIONS = {-1: "moving to the left", 0: "standing still", 1: "moving to the right"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedVideo:
    """A compressed video.

    Attributes:
        index: Its number.
        height: Rows of a frame.
        width: Columns of a frame.
        frames: The encoded frames.
        objects: Of each referred object its category, its masks by frame (None where it is not visible), and the
            (text, abilities) of its expressions.
    """

    index: int
    height: int
    width: int
    frames: tuple[bytes, ...]
    objects: tuple[tuple[str, tuple[rle.RLE | None, ...], tuple[tuple[str, tuple[str, ...]], ...]], ...]


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
    """Returns videos with expressions, in the splits train, val and test.

    Args:
        count: How many videos.
        frames: The frames of each.
        seed: Their seed; video i of a seed is always the same.
        size: The (width, height) of the frames; None: several usual sizes.
        workers: How many processes render.
        progress: Given the videos as they are made; passes them on.

    Raises:
        UsageError: There are too few videos for three splits, or too few frames to see a motion.
    """
    if count < 10:
        raise UsageError(f"at least 10 videos are needed for train, val and test; got {count}")
    if not 2 <= frames <= 500:
        raise UsageError(f"a video has from 2 to 500 frames; got {frames}")
    buffer = ImageBuffer()
    dataset = Dataset(
        name="moving-scenes",
        split_by=VIDEOS,
        categories={number: name for name, number in CATEGORY_IDS.items()},
        images=buffer,
        annotations={},
        records=[],
    )
    videos: Iterable[PackedVideo] = _packed(count, frames=frames, seed=seed, size=size, workers=workers)
    sentence = 0
    for video in progress(videos) if progress else videos:
        sentence = _add(dataset, buffer, video, sentence=sentence)
    return dataset


def make_video(index: int, *, frames: int, seed: int, size: tuple[int, int] | None = None) -> PackedVideo:
    """Returns video `index` of `seed`, at `size` (width, height) or one of the usual sizes."""
    for attempt in range(100):
        rng = np.random.default_rng([seed, index, attempt, frames])
        width, height = size or render.SHAPES[int(rng.integers(len(render.SHAPES)))]
        theme = THEMES[int(rng.integers(len(THEMES)))]
        horizon = int(height * rng.uniform(0.3, 0.45))
        light = float(rng.uniform(0.25, 0.75) * np.pi)
        objects = layout.place(
            layout.plan(theme, rng), height=height, width=width, horizon=horizon, light=light, rng=rng
        )
        steps = [_step(scene_object, frames=frames, width=width, rng=rng) for scene_object in objects]
        canvas = backgrounds.draw(theme, height=height, width=width, horizon=horizon, rng=rng)
        drawn = []
        for frame in range(frames):
            moved = [
                replace(one, left=one.left + round(step * frame)) for one, step in zip(objects, steps, strict=True)
            ]
            # One exposure and one grain: the camera does not change from frame to frame.
            camera = np.random.default_rng([seed, index, attempt, frames, 1])
            drawn.append(render.compose(canvas.copy(), moved, light=light, rng=camera))
        expressions = _expressions(View(theme, *drawn[0], objects), steps)
        if expressions:
            break
    referred_objects = tuple(
        (objects[number].plan.category, tuple(_mask(index_map == number) for _, index_map in drawn), texts)
        for number, texts in expressions.items()
    )
    return PackedVideo(
        index=index,
        height=height,
        width=width,
        frames=tuple(_encoded(pixels) for pixels, _ in drawn),
        objects=referred_objects,
    )


def _step(one: Placed, *, frames: int, width: int, rng: np.random.Generator) -> float:
    """Returns an object's motion to the right in pixels per frame: 0, or what keeps it in the image to the end."""
    direction = int(rng.choice([-1, 1]))
    room = one.left if direction < 0 else width - one.right
    speed = float(rng.uniform(MIN_SPEED, 4 * MIN_SPEED)) * width
    most = room / max(frames - 1, 1)
    if rng.random() < _STILL_SHARE or CATEGORIES[one.plan.category].stands == "wall" or most < MIN_SPEED * width:
        return 0.0
    return direction * min(speed, most)


def _expressions(view: View, steps: list[float]) -> dict[int, tuple[tuple[str, tuple[str, ...]], ...]]:
    """Returns the (text, abilities) of the expressions of each object that can be told apart, by its index."""
    visible = spatial_relations.scene_objects(view)
    directions = [int(np.sign(step)) for step in steps]
    min_area = MIN_AREA * view.index_map.size
    categories = [item.category for item in visible]
    colours = [(item.category, item.colour) for item in visible]
    motions = list(zip(categories, directions, strict=True))
    all_of = list(zip(categories, [item.colour for item in visible], directions, strict=True))
    expressions = {}
    for number, one in enumerate(visible):
        if one.visible_area < min_area:
            continue
        texts: list[tuple[str, tuple[str, ...]]] = []
        if categories.count(categories[number]) == 1:
            texts.append((f"the {one.category}", ("category",)))
        elif colours.count(colours[number]) == 1:
            texts.append((f"the {one.colour} {one.category}", ("category", "colour")))
        if categories.count(categories[number]) > 1 and motions.count(motions[number]) == 1:
            texts.append((f"the {one.category} {_DIRECTIONS[directions[number]]}", ("category", MOTION)))
        elif colours.count(colours[number]) > 1 and all_of.count(all_of[number]) == 1:
            texts.append(
                (f"the {one.colour} {one.category} {_DIRECTIONS[directions[number]]}", ("category", "colour", MOTION))
            )
        if texts:
            expressions[number] = tuple(texts)
    return expressions


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
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=ignore_interrupts) as pool:
        yield from pool.map(make, range(count), chunksize=4)


def _add(dataset: Dataset, buffer: ImageBuffer, video: PackedVideo, *, sentence: int) -> int:
    """Adds a video to `dataset`; return the last sentence id given."""
    assert isinstance(dataset.annotations, dict)
    first = len(buffer) + 1
    for frame, data in enumerate(video.frames):
        buffer.add(
            ImageRecord(
                image_id=first + frame,
                file_name=f"video_{video.index:06d}/{frame:05d}.jpg",
                height=video.height,
                width=video.width,
                data=data,
            )
        )
    for category, masks, texts in video.objects:
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
