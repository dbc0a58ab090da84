"""Turns an evaluation on videos into a report, for the same page, Markdown and JSON as an evaluation on images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from risctl.data.store.clips import ClipRef, ClipStore
from risctl.data.store.reader import Store, TextField
from risctl.distributed import rank_and_world_size
from risctl.evaluation.report import Report, Result
from risctl.evaluation.sample_image import SampleImage
from risctl.evaluation.video_evaluator import StoredVideo, VideoReport, predictor_of, running
from risctl.inference.video_predictor import FramePredictor
from risctl.metrics.breakdowns import Breakdown
from risctl.metrics.protocols import VIDEOS, Protocol
from risctl.metrics.rows import rows_of
from risctl.systems.base import System
from risctl.vision import rle


def report_of(
    measured: VideoReport,
    store: Store,
    *,
    split: str,
    text_field: TextField,
    protocol: Protocol = VIDEOS,
    limit: int | None = None,
    checkpoint: str | None = None,
    device: torch.device | str = "cpu",
    resamples: int = 1000,
) -> Report:
    """Returns what `evaluate_videos` measured as a report, its intervals over videos.

    Ref-DAVIS17's own figures stand beside, without an interval.

    Args:
        measured: What `evaluate_videos` returned.
        store: The store that it evaluated.
        split: Its split.
        text_field: Its form of the expressions.
        protocol: `VIDEOS` at the threshold of the evaluation.
        limit: Its limit.
        checkpoint: The hash to report.
        device: The device to report.
        resamples: How often videos are drawn again for the intervals.
    """
    clips = ClipStore(store)
    ordered = sorted(measured.rows, key=lambda row: row.sample)
    sentences = [store.sentence(row.sample) for row in ordered]
    facts = {row: _attributes(clips, clips.ref(row)) for row in {sentence.ref for sentence in sentences}}
    records = [
        asdict(row) | {"image_id": store.image(one.image).image_id, "boundary": row.f, "region": row.j} | facts[one.ref]
        for row, one in zip(ordered, sentences, strict=True)
    ]
    if measured.clip_length > 1:
        clip = f"; in clips of {measured.clip_length} frames, the query chosen for each {measured.query}"
        protocol = replace(protocol, remark=protocol.remark + clip)
    rows = rows_of(records)
    counts = np.array([record["objects"] for record in records])
    result = Result.of(rows, protocol, resamples=resamples, further=_by_objects(counts))
    report = Report.of(
        store,
        [replace(result, figures=result.figures | measured.figures)],
        split=split,
        text_field=text_field,
        checkpoint=checkpoint,
        seconds=measured.seconds,
        device=device,
        processes=rank_and_world_size()[1],
    )
    left_out = report.total_sentences - report.sentences if limit is None else 0
    return replace(
        report,
        split_by="",
        images=measured.videos,
        total_sentences=report.total_sentences - left_out,
        notes=(f"left out: {left_out} expressions without a word or a published target",) if left_out else (),
        videos={record["image_id"]: record["video"] for record in records},
    )


def row_dicts(report: Report, measured: VideoReport) -> Iterator[dict[str, Any]]:
    """Yields one row an expression, ready for JSON: its measures, and what `risctl compare` must know to pair it.

    Args:
        report: What `report_of` made of the evaluation.
        measured: The evaluation.
    """
    own = {row.sample: row for row in measured.rows}
    for row in report.rows():
        one = own[row["sample"]]
        yield {**row, **asdict(one), "region": one.j}


class MiddleFrame:
    """Finds the middle one of the frames in which a sample's object is annotated.

    Attributes:
        clips: The store's clips.
    """

    def __init__(self, store: Store) -> None:
        self.clips = ClipStore(store)

    def ref_of(self, sentence: int) -> ClipRef:
        """Returns the object of the sentence of this row."""
        return self.clips.ref(self.clips.store.sentence(sentence).ref)

    def frame_of(self, sentence: int) -> int:
        """Returns the image row of the sentence's middle frame."""
        ref = self.ref_of(sentence)
        return ref.frames[_middle(ref)]

    def image_of(self, sentence: int) -> SampleImage:
        """Returns the frame of the sentence of this row, and its object's mask in it."""
        ref = self.ref_of(sentence)
        number = _middle(ref)
        frame = ref.frames[number]
        target = self.clips.masks(ref, [frame])[0]
        note = f"frame {number + 1} of {len(ref.frames)}"
        return SampleImage(pixels=self.clips.store.pixels(frame), target=target, note=note)


class MiddleFrames(MiddleFrame):
    """Shows each sample of a model's evaluation by its middle frame: `image_of` and `masks_of`."""

    def __init__(
        self,
        system: System | FramePredictor,
        store: Store,
        measured: VideoReport,
        *,
        text_field: TextField,
        threshold: float,
    ) -> None:
        super().__init__(store)
        self._system = system
        self._threshold = threshold
        self._measured = measured
        self._text_field: TextField = text_field

    def masks_of(self, sentences: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (row, bool mask (H, W)) that the system predicts for that frame, as when it was evaluated."""
        refs_by_video: dict[str, list[tuple[int, ClipRef]]] = {}
        for row in sorted(sentences):
            ref = self.ref_of(row)
            refs_by_video.setdefault(ref.video, []).append((row, ref))
        length, query = self._measured.clip_length, self._measured.query
        with running(self._system):
            for name, own in refs_by_video.items():
                ref = own[0][1]
                predictor = predictor_of(self._system, ref, threshold=self._threshold, clip_length=length, query=query)
                texts = [self.clips.store.sentence(row).text(self._text_field) for row, _ in own]
                wanted = [_middle(one) for _, one in own]
                for answers in predictor.predict(StoredVideo.of(self.clips.store, name, ref.frames), texts):
                    for (row, _), number, one in zip(own, wanted, answers.predictions, strict=True):
                        if number == answers.frame.index:
                            yield row, one.mask
                    if answers.frame.index == max(wanted):
                        break


def _middle(ref: ClipRef) -> int:
    """Returns the index in the video of the middle one of the frames that show the object, of all if none does."""
    shown = [number for number, frame in enumerate(ref.frames) if frame in ref.annotations]
    shown = shown or list(range(len(ref.frames)))
    return shown[len(shown) // 2]


def _attributes(clips: ClipStore, ref: ClipRef) -> dict[str, Any]:
    """Returns an object's attributes, as rows have them, and the most objects annotated in a frame that shows it.

    The area is the mean over the frames that show the object, distractors are the most in such a frame. A store's only
    category tells samples nothing, so it is left out.
    """
    if not ref.annotations:
        return {"targets": 0, "categories": [], "area": float("nan"), "distractors": -1, "objects": 0}
    store = clips.store
    category, crowd = store.numbers("annotations/category"), store.numbers("annotations/crowd")
    instances = [[row for row in store.annotations_of(frame).tolist() if not crowd[row]] for frame in ref.annotations]
    masks = [rle.union([store.annotation(row).mask for row in own]) for own in ref.annotations.values()]
    kinds = {int(category[row]) for own in ref.annotations.values() for row in own}
    targets = max(map(len, ref.annotations.values()))
    return {
        "targets": targets,
        "categories": [store.category(kind) for kind in sorted(kinds)] if len(store.categories) > 1 else [],
        "area": float(np.mean([rle.area(mask) / (mask["size"][0] * mask["size"][1]) for mask in masks])),
        "distractors": max(sum(int(category[row]) in kinds for row in own) - targets for own in instances),
        "objects": max(map(len, instances)),
    }


def _by_objects(counts: np.ndarray) -> list[Breakdown]:
    groups = {str(count): counts == count for count in np.unique(counts)}
    about = "the most instances annotated in a frame that shows the target"
    one = Breakdown(name="objects", title="Objects in the video", about=about, groups=groups)
    return [one] if len(groups) > 1 else []
