"""Gives the masks of videos frame by frame, in the form that formats of annotation tools are written from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from risctl.data.formats.annotated import LABEL, AnnotatedImage, AnnotatedMask
from risctl.data.formats.file_names import FileNames
from risctl.data.store.clips import ClipRef, ClipStore
from risctl.data.store.reader import Store, TextField
from risctl.evaluation.scoring.video_submission import VideoMasks, expressions_of, frame_name
from risctl.vision import rle

MasksOfFrame = Callable[[int], list[AnnotatedMask]]
"""Returns the masks of a frame by its image row."""


def frame_files(store: Store, split: str) -> dict[int, str]:
    """Returns a file name for each frame of the videos of a split, by its image row: `VIDEO/FRAME.ext`, made safe."""
    clips, taken, names = ClipStore(store), FileNames(), {}
    for row in clips.store.refs(split).tolist():
        for frame in clips.ref(row).frames:
            if frame not in names:
                names[frame] = taken.distinct(store.image(frame).file_name, number=frame)
    return names


def annotated_frames(store: Store, names: Mapping[int, str], masks_of: MasksOfFrame) -> Iterator[AnnotatedImage]:
    """Yields frames with their masks.

    Args:
        store: A store of videos.
        names: The file names of `frame_files`.
        masks_of: `stored_masks` or `submitted_masks`.
    """
    for row, name in names.items():
        image = store.image(row)
        yield AnnotatedImage(
            image_id=image.image_id,
            file_name=name,
            height=image.height,
            width=image.width,
            masks=tuple(masks_of(row)),
        )


def stored_masks(store: Store, *, split: str, text_field: TextField = "sent") -> MasksOfFrame:
    """Returns what gives the annotated masks of a frame; an object that it does not show is left out there.

    A phrase that refers to nothing in its video has an empty mask in each frame.
    """
    clips = ClipStore(store)
    by_frame: dict[int, list[ClipRef]] = {}
    for row in store.refs(split).tolist():
        ref = clips.ref(row)
        for frame in ref.annotations or (ref.frames if ref.no_target else ()):
            by_frame.setdefault(frame, []).append(ref)

    def masks_of(frame: int) -> list[AnnotatedMask]:
        return [
            _annotated(store, ref, ref.sentences, clips.masks(ref, [frame])[0], text_field=text_field)
            for ref in by_frame.get(frame, ())
            if ref.sentences
        ]

    return masks_of


def submitted_masks(
    submission: VideoMasks, store: Store, *, split: str, text_field: TextField = "sent"
) -> tuple[MasksOfFrame, int, int]:
    """Returns what gives the submitted masks of a frame, how many expressions it has, and how many the split has.

    An expression is left out in frames for which it has no mask.

    Raises:
        DataError: None of the submission's expressions is of the split.
    """
    clips = ClipStore(store)
    expressions, _ = expressions_of(clips, submission, split=split, measurable=False)
    by_video: dict[str, list[tuple[ClipRef, int, Mapping[str, object]]]] = {}
    for one in expressions:
        if one.frames:
            by_video.setdefault(one.ref.video, []).append((one.ref, one.sample, one.frames))

    def masks_of(frame: int) -> list[AnnotatedMask]:
        image, found = store.image(frame), []
        name = frame_name(store, frame)
        for ref, sample, frames in by_video.get(image.file_name.rpartition("/")[0], ()):
            if name in frames:
                mask = submission.mask(frames[name], height=image.height, width=image.width)  # type: ignore[arg-type]
                found.append(_annotated(store, ref, (sample,), mask, text_field=text_field))
        return found

    return masks_of, sum(map(len, by_video.values())), len(expressions)


def _annotated(
    store: Store, ref: ClipRef, sentences: tuple[int, ...], mask: np.ndarray, *, text_field: TextField
) -> AnnotatedMask:
    own = [store.sentence(row) for row in sentences]
    return AnnotatedMask(
        mask=rle.encode(mask),
        phrases=tuple(one.text(text_field) for one in own),
        category=LABEL,
        ref_id=ref.ref_id,
        sentence_ids=tuple(one.sentence_id for one in own),
    )
