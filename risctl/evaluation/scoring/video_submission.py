"""Reads the masks of videos as benchmarks take them, and measures them: `[Annotations/]VIDEO/EXPRESSION/FRAME.png`."""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from risctl.data.store.clips import ClipRef, ClipStore, expression_number
from risctl.data.store.reader import Store, TextField
from risctl.errors import DataError
from risctl.evaluation.expression_rows import ExpressionRow, figures_of, measured_row
from risctl.evaluation.report import Report
from risctl.evaluation.scoring.coverage import Coverage, Missing
from risctl.evaluation.scoring.matching import NAMED, Tally
from risctl.evaluation.scoring.png_source import MAX_PNG_BYTES, read_png
from risctl.evaluation.scoring.source import UnreadableMaskError, digest
from risctl.evaluation.scoring.video_results import VideoResults
from risctl.evaluation.video_evaluator import Progress, VideoReport
from risctl.evaluation.video_report import MiddleFrame, report_of
from risctl.metrics.protocols import VIDEOS, Protocol
from risctl.metrics.video_expressions import ExpressionMeter

KEY = "video + expression"
_NAME = re.compile(r"(?:.*/)?(?P<video>[^/]+)/(?P<expression>\d{1,9})/(?P<frame>[^/]+)\.png")

Expression = tuple[str, int]
"""The name of a video and the publisher's number of an expression of it."""


class VideoSubmission:
    """The masks of a folder or a zip: one PNG an expression and frame, set where the value is not 0.

    Attributes:
        path: The folder or zip.
        kind: What it is, in words.
        frames: The file of each frame's stem, by expression.
        misnamed: PNG files that are not named so.
    """

    def __init__(self, path: Path) -> None:
        """Opens a folder or a zip. Raises `DataError` if it cannot be read, or holds no such file."""
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        if path.is_dir():
            names = [file.relative_to(path).as_posix() for file in sorted(path.rglob("*.png"))]
            self.kind = "a folder of videos' masks"
        else:
            try:
                self._zip = zipfile.ZipFile(path)
            except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
                raise DataError(f"{path} cannot be read as a folder or zip of videos' masks: {error}") from error
            names = [name for name in self._zip.namelist() if name.lower().endswith(".png")]
            self.kind = "a zip of videos' masks"
        self.frames: dict[Expression, dict[str, str]] = {}
        self.misnamed = Tally()
        for name in names:
            match = _NAME.fullmatch(name)
            if match is None:
                self.misnamed.add(name)
                continue
            own = self.frames.setdefault((match["video"], int(match["expression"])), {})
            if own.setdefault(match["frame"], name) != name:
                raise DataError(
                    f"{path} has the frame {match['frame']} of {match['video']}/{match['expression']} twice"
                )
        if not self.frames:
            raise DataError(f"{path} holds no masks of videos; expected [Annotations/]VIDEO/EXPRESSION/FRAME.png")

    def mask(self, name: str, *, height: int, width: int) -> np.ndarray:
        """Returns the mask of a file, bool (H, W). Raises `DataError` if it is damaged or of another size."""
        try:
            mask = read_png(self._bytes(name), height=height, width=width)
        except UnreadableMaskError as error:
            raise DataError(f"{self.path}, {name}: {error}") from error
        if mask.shape != (height, width):
            raise DataError(
                f"{self.path}, {name} has {mask.shape[0]}x{mask.shape[1]} pixels, its frame {height}x{width} "
                "(height x width)"
            )
        return mask

    def _bytes(self, name: str) -> bytes:
        try:
            size = self._zip.getinfo(name).file_size if self._zip else (self.path / name).stat().st_size
            if size > MAX_PNG_BYTES:
                raise UnreadableMaskError(f"it is larger than {MAX_PNG_BYTES:,} bytes")
            return self._zip.read(name) if self._zip else (self.path / name).read_bytes()
        except UnreadableMaskError:
            raise
        except Exception as error:  # on damaged bytes zipfile raises nearly anything
            raise UnreadableMaskError(f"it cannot be read ({error})") from error

    def close(self) -> None:
        """Closes the zip."""
        if self._zip is not None:
            self._zip.close()


VideoMasks = VideoSubmission | VideoResults


def open_video_masks(path: Path) -> VideoMasks:
    """Opens the masks of videos: a folder, a zip, or a JSON file. Raises `DataError` if it is none of these."""
    try:
        with path.open("rb") as file:
            start = file.read(4096).lstrip()
    except OSError:
        start = b""
    if start.startswith(b"["):
        raise DataError(
            f"{path} is a JSON list; masks of videos are a folder or zip of VIDEO/EXPRESSION/FRAME.png, or an object "
            "of videos, as Sa2VA writes it"
        )
    return VideoResults(path) if start.startswith(b"{") else VideoSubmission(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedExpression:
    """An expression of the split: its object, its sentence's row and id, and the files of its frames.

    `absent` says that nothing was predicted for its whole video.
    """

    ref: ClipRef
    sample: int
    sentence_id: int
    frames: Mapping[str, Any]
    absent: bool


class SubmittedMasks(MiddleFrame):
    """Shows each sample by the middle frame of its object, with the submitted mask: `image_of` and `masks_of`."""

    def __init__(self, submission: VideoMasks, store: Store) -> None:
        super().__init__(store)
        self._submission = submission

    def masks_of(self, sentences: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (row, bool mask (H, W)) of the sentences' middle frames; all False where there is none."""
        for row in sentences:
            frame = self.frame_of(row)
            image = self.clips.store.image(frame)
            sentence = self.clips.store.sentence(row)
            video = self.clips.ref(sentence.ref).video
            files: Mapping[str, Any] = self._submission.frames.get((video, expression_number(sentence.sentence_id)), {})
            name = files.get(PurePosixPath(image.file_name).stem)
            empty = np.zeros((image.height, image.width), dtype=bool)
            yield (
                row,
                empty if name is None else self._submission.mask(name, height=image.height, width=image.width),
            )


def score_submission(
    submission: VideoMasks,
    store: Store,
    *,
    split: str,
    text_field: TextField = "sent",
    missing: Missing = "refuse",
    protocol: Protocol = VIDEOS,
    progress: Progress | None = None,
    resamples: int = 1000,
) -> tuple[Report, Coverage, VideoReport]:
    """Measures the masks of a submission on a split of a store of videos: J and F of each expression.

    Expressions without a published target are left out, as when a model is evaluated. Memory does not grow with the
    number of frames.

    Args:
        submission: The masks.
        store: A store of videos.
        split: The split.
        text_field: Which form of the sentences is reported.
        missing: What becomes of an expression that lacks a frame: "empty" takes the frame as an empty mask, but where
            nothing of the video was predicted does what the protocol says, "skip" leaves the expression out.
        protocol: The protocol of the figures.
        progress: Called with the numbers of expressions that are done and that there are.
        resamples: How often videos are drawn again for the intervals; 0 for none.

    Raises:
        UsageError: The split is unknown.
        DataError: Frames are missing, or a mask is damaged or of another size.
    """
    began = time.monotonic()
    clips = ClipStore(store)
    expressions, unknown = expressions_of(clips, submission, split=split)
    lacking, complete = Tally(), []
    for one in expressions:
        wanted = {frame_name(store, frame) for frame in one.ref.frames}
        if wanted <= one.frames.keys():
            complete.append(one)
        else:
            lacking.add(f"{one.ref.video}/{expression_number(one.sentence_id)}")
    if lacking.count and missing == "refuse":
        raise DataError(
            f"{submission.path} lacks masks of {lacking.text()} of the {len(expressions):,} expressions of the split "
            f"{split!r}; --missing empty counts their missing frames as empty masks, --missing skip leaves them out"
        )
    counted = complete if missing == "skip" else expressions
    if not counted:
        raise DataError(
            f"{submission.path} is complete for none of the {len(expressions):,} expressions of the split {split!r}"
        )
    rows: list[ExpressionRow] = []
    zero = protocol.absent_video == "zero"
    for done, one in enumerate(counted, start=1):
        meter = None if zero and one.absent else _measured(clips, submission, one)
        rows.append(measured_row(clips, one.ref, meter, sample=one.sample, text_field=text_field))
        if progress is not None:
            progress(done, len(counted))
    measured = VideoReport(
        figures=figures_of(rows, protocol),
        rows=tuple(rows),
        videos=len({one.ref.video for one in counted}),
        frames=sum(len(frames) for frames in {one.ref.video: one.ref.frames for one in counted}.values()),
        clip_length=1,
        query="video",
        seconds=time.monotonic() - began,
    )
    coverage = Coverage(
        path=submission.path,
        kind=submission.kind,
        key=KEY,
        sha256=digest(submission.path),
        predictions=len(submission.frames),
        matched=len(complete),
        missing=lacking.count,
        missing_as=missing,
        unknown=unknown,
        broken=Tally(),
        united=0,
    )
    protocol = replace(protocol, threshold_source="masks")
    report = report_of(measured, store, split=split, text_field=text_field, protocol=protocol, resamples=resamples)
    absent = sum(one.absent for one in counted) if zero else 0
    of_absent = f"{absent:,} expressions of videos without any prediction count 0, also without a target"
    notes = (*coverage.notes(), *([f"missing: {of_absent}, as published"] if absent else []), *report.notes)
    return replace(report, notes=notes, predictions=coverage.describe()), coverage, measured


def expressions_of(
    clips: ClipStore, submission: VideoMasks, *, split: str, measurable: bool = True
) -> tuple[list[SubmittedExpression], Tally]:
    """Returns the expressions of a split with the frames that a submission has of each, and what it has beside.

    Args:
        clips: The store.
        submission: The masks.
        split: The split.
        measurable: Whether only expressions with a published target are returned.

    Raises:
        DataError: There are none, or the submission has none of them.
    """
    expressions, known = [], set()
    predicted = {video for video, _ in submission.frames}
    for row in clips.store.refs(split).tolist():
        ref = clips.ref(row)
        for sample in ref.sentences:
            sentence_id = clips.store.sentence(sample).sentence_id
            key = (ref.video, expression_number(sentence_id))
            known.add(key)
            if ref.measurable or not measurable:
                frames = submission.frames.get(key, {})
                expressions.append(
                    SubmittedExpression(
                        ref=ref,
                        sample=sample,
                        sentence_id=sentence_id,
                        frames=frames,
                        absent=ref.video not in predicted,
                    )
                )
    if not expressions:
        raise DataError(f"the split {split!r} of {clips.store.path} has no expression with masks to score")
    unknown = Tally(submission.misnamed.count, list(submission.misnamed.first))
    for video, expression in submission.frames:
        if (video, expression) not in known:
            unknown.add(f"{video}/{expression}")
    if not known & submission.frames.keys():
        held = ", ".join(f"{video}/{number}" for video, number in list(submission.frames)[:NAMED])
        raise DataError(
            f"none of the {len(submission.frames):,} expressions of {submission.path} is of the split {split!r} of "
            f"{clips.store.path}; it holds {held}"
        )
    return expressions, unknown


def _measured(clips: ClipStore, submission: VideoMasks, one: SubmittedExpression) -> ExpressionMeter:
    meter = ExpressionMeter()
    for frame in one.ref.frames:
        target = clips.masks(one.ref, [frame])[0]
        height, width = target.shape
        name = one.frames.get(frame_name(clips.store, frame))
        mask = np.zeros_like(target) if name is None else submission.mask(name, height=height, width=width)
        meter.add(mask, target, void=clips.void(frame))
    return meter


def frame_name(store: Store, frame: int) -> str:
    """Returns the name of a frame within its video, without its ending, by its image row."""
    return PurePosixPath(store.image(frame).file_name).stem
