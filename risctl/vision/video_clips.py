"""Cuts videos into clips, which a model sees at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from risctl.errors import DataError
from risctl.vision.video_frames import Frame, OnDamaged, Video

Query = Literal["clip", "video"]
"""The frames over which a model chooses the query that it answers with."""

Progress = Callable[[int, int | None], None]
"""Receives the numbers of frames that are done and that there are, None if that is unknown."""

CLIP_LENGTH = 8
"""Frames that a model sees at once, unless told otherwise."""


def frames_of(video: Video, on_damaged: OnDamaged | None) -> Iterator[Frame]:
    """Yields the frames of a video; without `on_damaged`, one that cannot be read is an error."""
    return video.frames() if on_damaged is None else video.readable_frames(on_damaged)


def clips_of(frames: Iterator[Frame], *, length: int, overlap: int) -> Iterator[tuple[list[Frame], int]]:
    """Yields (frames of a clip, index of the first that no clip before had); the last clip may be shorter.

    Raises:
        DataError: The frames break off; those before are yielded first.
    """
    held: list[Frame] = []
    first = 0
    stopped = None
    try:
        for frame in frames:
            held.append(frame)
            if len(held) == length:
                yield held, first
                held = held[length - overlap :]
                first = len(held)
    except DataError as error:
        stopped = error
    if len(held) > first:
        yield held, first
    if stopped is not None:
        raise stopped
