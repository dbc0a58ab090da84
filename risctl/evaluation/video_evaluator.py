"""Evaluates a system on videos: J and F of every expression, and Ref-DAVIS17's own figures.

"Per expression": the masks of what an expression refers to, over all stored frames, are compared with the true ones;
frames in which neither shows anything count as 1. Ref-DAVIS17 lets the objects of a video compete for each pixel, once
for each of its four annotators, and averages these (Khoreva et al. 2018; DAVIS 2017).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from risctl.data.store.clips import ClipRef, ClipStore
from risctl.data.store.reader import Store, TextField
from risctl.distributed import failing_together, gather, rank_and_world_size
from risctl.errors import DataError, UnreadableImageError
from risctl.evaluation.expression_rows import ExpressionRow, figures_of, measured_row
from risctl.inference.batched_inference import UnreadableImages
from risctl.inference.encoded_image import evaluation_mode
from risctl.inference.video_predictor import FramePredictor, VideoPredictor
from risctl.language.tokens import words_of
from risctl.metrics.protocols import VIDEOS, Protocol
from risctl.metrics.video import VOID, ClipMeasures, Task, average_over_annotators, measure_clip, video_figures
from risctl.metrics.video_expressions import ExpressionMeter
from risctl.systems.base import System
from risctl.systems.protocols import takes_clips
from risctl.vision.video_clips import CLIP_LENGTH, Query
from risctl.vision.video_frames import FOLDER_RATE, Frame, Video

Progress = Callable[[int, int], None]

DAVIS_CLIP = 36
"""Frames that the published ReferFormer sees at once on Ref-DAVIS17."""

_ANNOTATORS = tuple(f"annotator-{number}" for number in (1, 2, 3, 4))
_KEPT, _BACKGROUND = 0.5, 0.1
_TASKS: tuple[Task, ...] = ("semi-supervised", "unsupervised")


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoReport:
    """An evaluation on videos.

    Attributes:
        figures: In percent.
        rows: One per expression.
        videos: How many videos were read.
        frames: How many frames were read.
        clip_length: Frames that were encoded together.
        query: Over what the query of the answer was chosen: each clip, or the whole video.
        seconds: Duration of the whole pass.
    """

    figures: dict[str, float]
    rows: tuple[ExpressionRow, ...] = field(repr=False)
    videos: int
    frames: int
    clip_length: int
    query: Query
    seconds: float

    def to_text(self) -> str:
        """Returns the report as plain text."""
        lines = [f"{name:32} {value:6.2f}" for name, value in self.figures.items()]
        counts = f"{len(self.rows)} expressions, {self.videos} videos, {self.frames} frames"
        lines.append(f"{counts}; J and F per expression, means over frames")
        if self.clip_length > 1:
            lines.append(f"in clips of {self.clip_length} frames, the query chosen for each {self.query}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClipTask:
    """An expression of a video: its ref, its sentence's row, its text, and its annotator."""

    ref: ClipRef
    sample: int
    text: str
    annotator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVideo(Video):
    """A video whose frames are in a store."""

    store: Store
    rows: tuple[int, ...]

    @classmethod
    def of(cls, store: Store, name: str, rows: tuple[int, ...]) -> StoredVideo:
        """Returns the video `name` of the image rows `rows`."""
        return cls(path=Path(name), rate=FOLDER_RATE, count=len(rows), store=store, rows=rows)

    def frames(self) -> Iterator[Frame]:
        """Yields the frames in order."""
        for index, row in enumerate(self.rows):
            yield Frame(index=index, name=f"{index:05d}", pixels=self.store.pixels(row))


def evaluate_videos(
    system: System | FramePredictor,
    store: Store,
    *,
    split: str,
    text_field: TextField = "sent",
    clip_length: int | None = None,
    threshold: float = 0.5,
    protocol: Protocol = VIDEOS,
    limit: int | None = None,
    progress: Progress | None = None,
    unreadable: UnreadableImages | None = None,
) -> VideoReport:
    """Evaluates a system on a split of a store of videos.

    As published, the query is chosen for each clip on Ref-DAVIS17, elsewhere over the whole video, in two passes where
    it has several clips. Expressions without a word, or without a published mask, are left out. With several processes,
    each evaluates a share of the videos.

    Args:
        system: The system, on its device; or what predicts videos itself, at a threshold of its own.
        store: A store of videos.
        split: The split.
        text_field: Which form of the expressions is read.
        clip_length: Frames that are encoded together; None: 36 for Ref-DAVIS17, else 8.
        threshold: Pixels whose probability is above it belong to the mask.
        protocol: The protocol of the figures; its own threshold does not matter.
        limit: Evaluates the first so many expressions only, without Ref-DAVIS17's own figures.
        progress: Called with the numbers of videos that are done and that there are.
        unreadable: Called with the error of a frame that cannot be read, whose video is then left out; None: it is
            raised.

    Raises:
        UsageError: The split is unknown.
        DataError: There is nothing to evaluate, or a frame is damaged.
    """
    began = time.monotonic()
    clips = ClipStore(store)
    davis = store.name == "ref-davis17" and limit is None
    plan = _plan(clips, split, text_field=text_field, limit=limit)
    if not plan:
        raise DataError(f"the split {split!r} of {store.path} has no expression with masks to evaluate on")
    length = clip_length or (DAVIS_CLIP if store.name == "ref-davis17" else CLIP_LENGTH)
    of_clips = isinstance(system, System) and takes_clips(system)
    query: Query = "video" if of_clips and store.name != "ref-davis17" else "clip"
    rank, world = rank_and_world_size()
    own = list(plan.items())[rank::world]
    found: dict[str, _Measured] = {}
    with running(system), failing_together():
        for done, (video, tasks) in enumerate(own, start=1):
            predictor = predictor_of(system, tasks[0].ref, threshold=threshold, clip_length=length, query=query)
            try:
                found[video] = _measured(clips, video, tasks, predictor, davis=davis, text_field=text_field)
            except UnreadableImageError as error:
                if unreadable is None:
                    raise
                unreadable(error)
            if progress is not None:
                progress(done, len(own))
    every = {video: one for part in gather(found) for video, one in part.items()}
    plan = {video: tasks for video, tasks in plan.items() if video in every}
    if not plan:
        raise DataError(f"no video of the split {split!r} of {store.path} can be read")
    # In the order of the plan, whoever measured them.
    rows = [row for video in plan for row in every[video].rows]
    measured: dict[tuple[Task, str], list[ClipMeasures]] = {}
    for video in plan:
        for key, one in every[video].clips.items():
            measured.setdefault(key, []).append(one)
    figures = figures_of(rows, protocol)
    for task in _TASKS if measured else ():
        of_annotators = [video_figures(clips) for (one, _), clips in measured.items() if one == task]
        figures |= {f"{name} ({task})": 100 * value for name, value in average_over_annotators(of_annotators).items()}
    return VideoReport(
        figures=figures,
        rows=tuple(rows),
        videos=len(plan),
        frames=sum(len(tasks[0].ref.frames) for tasks in plan.values()),
        clip_length=length if of_clips else 1,
        query=query,
        seconds=time.monotonic() - began,
    )


def running(system: System | FramePredictor) -> AbstractContextManager[None]:
    """Returns a context in which a system is in evaluation mode; what predicts videos itself is in it."""
    return evaluation_mode(system) if isinstance(system, System) else nullcontext()


def predictor_of(
    system: System | FramePredictor, ref: ClipRef, *, threshold: float, clip_length: int, query: Query
) -> FramePredictor:
    """Returns the predictor for the video of `ref`; a video of one clip needs no second pass."""
    if not isinstance(system, System):
        return system
    several = len(ref.frames) > clip_length
    return VideoPredictor(system, threshold=threshold, clip_length=clip_length, query=query if several else "clip")


@dataclass(slots=True, kw_only=True)
class _Measured:
    """The rows of a video's expressions, and what DAVIS measures of each annotator's objects."""

    rows: list[ExpressionRow]
    clips: dict[tuple[Task, str], ClipMeasures]


def _plan(clips: ClipStore, split: str, *, text_field: TextField, limit: int | None) -> dict[str, list[_ClipTask]]:
    plan: dict[str, list[_ClipTask]] = {}
    count = 0
    for row in clips.store.refs(split):
        ref = clips.ref(int(row))
        for sentence_row in ref.sentences if ref.measurable else ():
            sentence = clips.store.sentence(sentence_row)
            text = sentence.text(text_field)
            if not words_of(text) or (limit is not None and count >= limit):
                continue
            count += 1
            annotator = next((ability for ability in sentence.abilities if ability in _ANNOTATORS), "")
            plan.setdefault(ref.video, []).append(
                _ClipTask(ref=ref, sample=sentence_row, text=text, annotator=annotator)
            )
    return plan


def _measured(
    clips: ClipStore,
    name: str,
    tasks: Sequence[_ClipTask],
    predictor: FramePredictor,
    *,
    davis: bool,
    text_field: TextField,
) -> _Measured:
    frames = tasks[0].ref.frames
    video = StoredVideo.of(clips.store, name, frames)
    meters = [ExpressionMeter() for _ in tasks]
    objects = list(dict.fromkeys(one.ref.row for one in tasks))
    label_of = {row: number for number, row in enumerate(objects, start=1)}
    labels: dict[str, list[np.ndarray]] = {one: [] for one in _ANNOTATORS} if davis else {}
    true_labels: list[np.ndarray] = []
    refs = {one.ref.row: one.ref for one in tasks}
    for answers in predictor.predict(video, [one.text for one in tasks]):
        place = answers.frame.index
        true = {row: clips.masks(ref, [frames[place]])[0] for row, ref in refs.items()}
        void = clips.void(frames[place])
        for one, meter, prediction in zip(tasks, meters, answers.predictions, strict=True):
            meter.add(prediction.mask, true[one.ref.row], void=void)
        if davis:
            shape = answers.frame.pixels.shape[:2]
            whole = np.zeros(shape, dtype=np.uint8)
            for row in objects:
                whole[true[row]] = label_of[row]
            if void is not None:
                whole[void] = VOID
            true_labels.append(whole)
            for annotator, own in labels.items():
                layers = np.zeros((len(objects) + 1, *shape), dtype=np.float32)
                layers[0] = _BACKGROUND
                for one, prediction in zip(tasks, answers.predictions, strict=True):
                    if one.annotator == annotator:
                        kept = np.where(prediction.probability < _KEPT, 0.0, prediction.probability)
                        layers[label_of[one.ref.row]] = kept
                own.append(layers.argmax(0).astype(np.uint8))
    rows = [
        measured_row(clips, one.ref, meter, sample=one.sample, text_field=text_field)
        for one, meter in zip(tasks, meters, strict=True)
    ]
    measured: dict[tuple[Task, str], ClipMeasures] = {}
    for annotator, own in labels.items():
        predicted, target = np.stack(own), np.stack(true_labels)
        for task in _TASKS:
            measured[task, annotator] = measure_clip(predicted, target, task=task)
    return _Measured(rows=rows, clips=measured)
