"""Writes Ref-YouTube-VOS's submission, a zip of masks, and checks that it is complete."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from risctl.data.store.clips import ClipStore, expression_number
from risctl.data.store.reader import Store, TextField
from risctl.errors import DataError
from risctl.evaluation.video_evaluator import StoredVideo, running
from risctl.inference.video_predictor import FramePredictor, VideoPredictor
from risctl.output_files import OutputFiles
from risctl.systems.base import System
from risctl.systems.protocols import takes_clips
from risctl.vision.video_clips import CLIP_LENGTH, Query

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What was written.

    Attributes:
        path: The zip.
        videos: How many videos.
        expressions: How many expressions.
        masks: How many masks: one per expression and frame.
    """

    path: Path
    videos: int
    expressions: int
    masks: int


def write_submission(
    system: System | FramePredictor,
    store: Store,
    out: Path,
    *,
    split: str,
    text_field: TextField = "sent",
    clip_length: int = CLIP_LENGTH,
    threshold: float = 0.5,
    progress: Progress | None = None,
    outputs: OutputFiles | None = None,
) -> Submission:
    """Writes `Annotations/VIDEO/EXPRESSION/FRAME.png` (0 and 255) for a split into a zip, whole or not at all.

    The query is chosen over the whole video, as published.

    Args:
        system: The model; or what predicts videos itself.
        store: A store of videos.
        out: The zip.
        split: The split.
        text_field: Which form of the expressions is read.
        clip_length: Frames that are encoded together.
        threshold: Pixels whose probability is above it belong to the mask.
        progress: Called with the numbers of videos that are done and that there are.
        outputs: The output files of the command, which the zip is claimed from.

    Raises:
        DataError: The store holds no videos, or the zip is not complete.
    """
    clips = ClipStore(store)
    by_video: dict[str, list[tuple[int, str]]] = {}
    frames: dict[str, tuple[int, ...]] = {}
    for row in store.refs(split):
        ref = clips.ref(int(row))
        frames[ref.video] = ref.frames
        for sentence_row in ref.sentences:
            sentence = store.sentence(sentence_row)
            number = expression_number(sentence.sentence_id)
            by_video.setdefault(ref.video, []).append((number, sentence.text(text_field)))
    expected = {
        _entry(name, number, store.image(frame).file_name)
        for name, expressions in by_video.items()
        for number, _ in expressions
        for frame in frames[name]
    }
    predictor: FramePredictor
    if isinstance(system, System):
        query: Query = "video" if takes_clips(system) else "clip"
        predictor = VideoPredictor(system, threshold=threshold, clip_length=clip_length, query=query)
    else:
        predictor = system
    with running(system), (outputs or OutputFiles()).writing(out) as beside:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as file:
            for done, (name, expressions) in enumerate(by_video.items(), start=1):
                video = StoredVideo.of(store, name, frames[name])
                for answers in predictor.predict(video, [text for _, text in expressions]):
                    image = store.image(frames[name][answers.frame.index])
                    for (number, _), prediction in zip(expressions, answers.predictions, strict=True):
                        file.writestr(_entry(name, number, image.file_name), _png(prediction.mask))
                if progress is not None:
                    progress(done, len(by_video))
        with zipfile.ZipFile(beside) as file:
            names = file.namelist()
        if len(names) != len(set(names)) or set(names) != expected:
            missing = sorted(expected - set(names))
            raise DataError(
                f"the submission is not complete: {len(missing)} of {len(expected)} masks are missing"
                + (f", the first {missing[0]}" if missing else "; expressions repeat")
            )
    count = sum(len(expressions) for expressions in by_video.values())
    return Submission(path=out, videos=len(by_video), expressions=count, masks=len(expected))


def _entry(video: str, number: int, file_name: str) -> str:
    return f"Annotations/{video}/{number}/{Path(file_name).stem}.png"


def _png(mask: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(stream, "PNG")
    return stream.getvalue()
