"""`risctl predict VIDEO PHRASE`: the masks of phrases in every frame of a video."""

from __future__ import annotations

import contextlib
from collections import ChainMap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from risctl.cli import console
from risctl.errors import DataError, UsageError

if TYPE_CHECKING:
    from risctl.cli.predict.skipped import Skipped
    from risctl.inference.predictor import Predictor
    from risctl.output_files import OutputFiles
    from risctl.vision.video_frames import Video

_FORMATS = ("png", "davis")


def open_video(source: str, *, out: Path) -> Video:
    """Opens a video.

    Args:
        source: A video file or a folder of frames.
        out: The folder that predictions are written to.

    Raises:
        UsageError: `out` is the folder of the frames.
        DataError: The video cannot be read.
    """
    from risctl.vision.video_frames import Video

    video = Video.open(Path(source))
    if video.images and out.resolve() == video.path.resolve():
        raise UsageError(f"{out} is the folder of the frames; name another folder with --out")
    if video.missing is not None:
        console.warn(f"{source} breaks off: {video.missing}; the frames before are predicted")
    return video


def check_video_formats(names: Sequence[str]) -> None:
    """Raises `UsageError` if one of the formats cannot hold a video."""
    other = [name for name in names if name not in _FORMATS]
    if other:
        raise UsageError(f"{', '.join(other)} is of pictures; --format of a video takes {' and '.join(_FORMATS)}")


def predict_video(
    predictor: Predictor,
    video: Video,
    phrases: list[str],
    *,
    out: Path,
    formats: Sequence[str],
    labels: bool,
    outputs: OutputFiles,
    skipped: Skipped,
    clip_length: int,
    overlap: int,
    query: Literal["clip", "video"],
    as_json: bool,
) -> None:
    """Writes the predictions of a video and prints one line per phrase.

    Args:
        predictor: The opened model.
        video: The video.
        phrases: The expressions.
        out: The folder to write to.
        formats: What is written: `png` (masks, overlay and record of each phrase), `davis`.
        labels: Whether overlays show the expression.
        outputs: The guard of the command's output files.
        skipped: Counts the expressions that were left out, and the frames that are.
        clip_length: Frames that the model sees at once.
        overlap: Frames that consecutive clips share.
        query: Whether the answering query is chosen in each clip or over the whole video.
        as_json: Whether the records are printed as JSON.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the finished frames are kept.
        DataError: The video breaks off, or frames could not be read; the finished frames are kept.
    """
    from risctl.inference.davis_files import DavisPredictions
    from risctl.inference.video_output_files import VideoPredictions
    from risctl.inference.video_predictor import VideoPredictor
    from risctl.systems.protocols import takes_clips

    video_predictor = VideoPredictor(
        predictor.system, threshold=predictor.threshold, clip_length=clip_length, overlap=overlap, query=query
    )
    if takes_clips(predictor.system) and (video.count is None or video.count > clip_length):
        console.say(
            f"predicting in clips of {clip_length} frames, with the query chosen per {query}; results may differ from "
            "one pass over the whole video, as ReferFormer was published with"
        )
    writers: list[VideoPredictions | DavisPredictions] = []
    if "png" in formats:
        writers.append(
            VideoPredictions(
                out,
                video,
                texts=phrases,
                model=str(predictor.path),
                threshold=predictor.threshold,
                labels=labels,
                outputs=outputs,
            )
        )
    if "davis" in formats:
        writers.append(DavisPredictions(out, video, texts=phrases, outputs=outputs))
    stopped: BaseException | None = None
    try:
        with contextlib.ExitStack() as stack:
            for writer in writers:
                stack.enter_context(writer)
            progress = stack.enter_context(console.counting(video.name))
            for answers in video_predictor.predict(video, phrases, progress=progress, on_damaged=skipped.frame):
                for writer in writers:
                    writer.add(answers)
            if not skipped.frames:
                for writer in writers:
                    writer.done()
    except (KeyboardInterrupt, DataError) as error:
        if not writers[0].frames:
            raise
        stopped = error
    # A record a phrase, which has what all writers tell of it.
    records = [dict(ChainMap(*several)) for several in zip(*(one.records() for one in writers), strict=True)]
    for record in records:
        if not as_json:
            places = (record[key] for key in ("masks", "overlay", "davis") if key in record)
            line = console.line_of((record["text"], f"{record['frames']} frames", *places))
            console.result(line, data=record, as_json=False)
    if as_json:
        console.result("", data=records, as_json=True)
    if stopped is not None:
        console.say(f"stopped before the end; the {writers[0].frames} finished frames are kept in {out}")
        raise stopped
    skipped.raise_if_any()
