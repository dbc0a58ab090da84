"""Reads clips from a store of videos, which is a store whose images are frames.

A frame's file name is `VIDEO/FRAME.ext`, and the frames of a video are stored together, in order of time. A ref is one
object of a video, or several: its annotations are in the frames that show them, its image is the first frame of the
video. The store's `split_by` is `videos`. A ref without annotations has none published, unless its sentences are tagged
`NO_TARGET`: these refer to nothing that any frame shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from risctl.data.store import schema
from risctl.data.store.reader import Store
from risctl.errors import DataError
from risctl.vision import rle

VIDEOS = schema.VIDEOS
"""`split_by` of a store whose images are frames."""

PER_VIDEO = 1000
"""Sentence ids of a published dataset: PER_VIDEO times the video's number, plus the publisher's number within it."""

NO_TARGET = "no-target"
"""The tag of expressions that are known to refer to nothing in the video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRef:
    """A ref: the objects of a video that an expression refers to, mostly one.

    Attributes:
        row: Row of the ref.
        ref_id: The publisher's id.
        video: Name of the video.
        frames: Image rows of all frames of the video, in order of time.
        annotations: Rows of the objects' annotations by image row, for the frames that show them.
        sentences: Rows of its sentences.
        no_target: Whether it is known to refer to nothing.
    """

    row: int
    ref_id: int
    video: str
    frames: tuple[int, ...]
    annotations: dict[int, tuple[int, ...]]
    sentences: tuple[int, ...]
    no_target: bool = False

    @property
    def measurable(self) -> bool:
        """Whether what it refers to is known, so that masks can be compared with it."""
        return bool(self.annotations) or self.no_target


class ClipStore:
    """A store of videos, read by clips."""

    def __init__(self, store: Store) -> None:
        """Wraps `store`. Raises `DataError` if its images are not frames of videos."""
        if not is_video_store(store):
            raise DataError(f"{store.path} holds images, not videos: expected split_by {VIDEOS!r}")
        self.store = store

    @cached_property
    def _video_of(self) -> tuple[list[str], dict[str, tuple[int, ...]]]:
        names = [self.store.image(row).file_name.rpartition("/")[0] for row in range(self._images)]
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            rows.setdefault(name, []).append(row)
        heights, widths = self.store.numbers("images/height"), self.store.numbers("images/width")
        for name, own in rows.items():
            if np.ptp(heights[own]) or np.ptp(widths[own]):
                raise DataError(
                    f"the frames of {name} in {self.store.path} have several sizes; prepare the store again"
                )
        return names, {name: tuple(own) for name, own in rows.items()}

    @property
    def _images(self) -> int:
        return len(self.store.numbers("images/id"))

    def ref(self, row: int) -> ClipRef:
        """Returns the ref of `row`."""
        plain = self.store.ref(row)
        names, frames = self._video_of
        video = names[plain.image]
        places = self.store.numbers("annotations/image")
        annotations: dict[int, tuple[int, ...]] = {}
        for annotation in plain.annotations:
            frame = int(places[annotation])
            annotations[frame] = (*annotations.get(frame, ()), annotation)
        sentences = tuple(int(sentence) for sentence in plain.sentences)
        return ClipRef(
            row=plain.row,
            ref_id=plain.ref_id,
            video=video,
            frames=frames[video],
            annotations=annotations,
            sentences=sentences,
            no_target=not annotations and any(self._is_no_target(sentence) for sentence in sentences[:1]),
        )

    def masks(self, ref: ClipRef, frames: Sequence[int]) -> np.ndarray:
        """Returns the union of the objects' masks, bool (T, H, W), at the image rows `frames`."""
        masks = []
        for frame in frames:
            if frame in ref.annotations:
                own = [self.store.annotation(row).mask for row in ref.annotations[frame]]
                masks.append(rle.decode(own[0] if len(own) == 1 else rle.union(own)))
            else:
                image = self.store.image(frame)
                masks.append(np.zeros((image.height, image.width), dtype=bool))
        return np.stack(masks)

    def _is_no_target(self, sentence: int) -> bool:
        return NO_TARGET in self.store.sentence(sentence).abilities

    def void(self, frame: int) -> np.ndarray | None:
        """Returns the void pixels, bool (H, W), of a frame by its image row: evaluation ignores them. None if none."""
        rows = self.store.annotations_of(frame)
        crowds = rows[self.store.numbers("annotations/crowd")[rows] > 0]
        return (
            np.any([rle.decode(self.store.annotation(int(row)).mask) for row in crowds], axis=0)
            if len(crowds)
            else None
        )


def expression_number(sentence_id: int) -> int:
    """Returns the publisher's number of an expression within its video."""
    return sentence_id % PER_VIDEO


def is_video_store(store: Store) -> bool:
    """Returns whether a store's images are frames of videos."""
    return store.split_by == VIDEOS


def sample_frames(
    count: int, *, length: int, generator: np.random.Generator, among: Sequence[int] | None = None
) -> list[int]:
    """Samples frames of a clip, as ReferFormer's training does.

    One frame is drawn, then one at distance 1 to 3 on either side, then any others. Frames repeat where there are too
    few.

    Args:
        count: Frames of the video.
        length: Frames to sample.
        generator: The only source of random draws.
        among: Frames from which the first one is drawn, all if None.

    Returns:
        `length` numbers from 0 to `count` - 1, sorted.
    """
    centre = int(generator.choice(among if among else range(count)))
    before, after = (int(generator.integers(1, 4)) for _ in range(2))
    chosen = [centre, max(0, centre - before), min(count - 1, centre + after)][:length]
    others = [index for index in range(count) if index not in chosen]
    missing = length - len(chosen)
    if missing:
        pool = others if len(others) >= missing else others + chosen
        chosen += [int(index) for index in generator.choice(pool, size=missing, replace=len(pool) < missing)]
    return sorted(chosen)
