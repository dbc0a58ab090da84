"""The video side of `risctl predict`: a video and phrases in, a mask a frame out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from risctl.cli import console
from risctl.errors import DataError, UsageError

if TYPE_CHECKING:
    from risctl.inference.predictor import Predictor
    from risctl.vision.video_frames import Video


def open_video(source: str, *, out: Path) -> Video:
    """Look at the video to be read. Raises `UsageError` if `out` is its folder of frames, and what opening raises."""
    from risctl.vision.video_frames import Video

    video = Video.open(Path(source))
    if video.pictures and out.resolve() == video.path.resolve():
        raise UsageError(f"{out} is the folder of the frames; name another with --out")
    return video


def predict_video(
    predictor: Predictor,
    video: Video,
    texts: list[str],
    *,
    out: Path,
    clip_length: int,
    overlap: int,
    query: Literal["clip", "video"],
    as_json: bool,
) -> None:
    """Write the predictions of one video and print a line a text; Ctrl-C keeps the finished frames and exits with 130.

    So does a video that breaks off, which then raises `DataError`.
    """
    from risctl.inference.video_output_files import VideoPredictions
    from risctl.inference.video_predictor import VideoPredictor
    from risctl.systems.protocols import takes_clips

    answerer = VideoPredictor(
        predictor.system, threshold=predictor.threshold, clip_length=clip_length, overlap=overlap, query=query
    )
    if takes_clips(predictor.system) and (video.count is None or video.count > clip_length):
        console.say(
            f"in clips of {clip_length} frames: a whole-video pass, as ReferFormer was published with, may differ; "
            f"the query is chosen per {query}"
        )
    files = VideoPredictions(out, video, texts=texts, model=str(predictor.path), threshold=predictor.threshold)
    stopped: BaseException | None = None
    try:
        with files, console.counting(video.name) as progress:
            for answers in answerer.predict(video, texts, progress=progress):
                files.add(answers)
            files.done()
    except (KeyboardInterrupt, DataError) as error:
        if not files.frames:
            raise
        stopped = error
    records = files.records()
    for record in records:
        if not as_json:
            line = "\t".join((record["text"], f"{record['frames']} frames", record["masks"], record["overlay"]))
            console.result(line, data=record, as_json=False)
    if as_json:
        console.result("", data=records, as_json=True)
    if stopped is not None:
        console.say(f"not done to the end: the {files.frames} finished frames are kept in {out}")
        raise stopped
