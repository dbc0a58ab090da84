"""`risctl predict VIDEO PHRASE`: the masks of phrases in every frame of a video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from risctl.cli import console
from risctl.errors import DataError, UsageError

if TYPE_CHECKING:
    from risctl.cli.predict.skipped import Skipped
    from risctl.inference.predictor import Predictor
    from risctl.output_files import OutputFiles
    from risctl.vision.video_frames import Video


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


def predict_video(
    predictor: Predictor,
    video: Video,
    phrases: list[str],
    *,
    out: Path,
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
    files = VideoPredictions(
        out,
        video,
        texts=phrases,
        model=str(predictor.path),
        threshold=predictor.threshold,
        labels=labels,
        outputs=outputs,
    )
    stopped: BaseException | None = None
    try:
        with files, console.counting(video.name) as progress:
            for answers in video_predictor.predict(video, phrases, progress=progress, on_damaged=skipped.frame):
                files.add(answers)
            if not skipped.frames:
                files.done()
    except (KeyboardInterrupt, DataError) as error:
        if not files.frames:
            raise
        stopped = error
    records = files.records()
    for record in records:
        if not as_json:
            line = console.line_of((record["text"], f"{record['frames']} frames", record["masks"], record["overlay"]))
            console.result(line, data=record, as_json=False)
    if as_json:
        console.result("", data=records, as_json=True)
    if stopped is not None:
        console.say(f"stopped before the end; the {files.frames} finished frames are kept in {out}")
        raise stopped
    skipped.raise_if_any()
