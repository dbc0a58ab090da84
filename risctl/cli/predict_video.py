"""The video side of `risctl predict`: a video and phrases in, a mask a frame out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from risctl.cli import console
from risctl.errors import UsageError

if TYPE_CHECKING:
    from risctl.engine.predictor import Predictor


def predict_video(
    predictor: Predictor,
    source: str,
    texts: list[str],
    *,
    out: Path,
    clip_length: int,
    overlap: int,
    query: Literal["clip", "video"],
    as_json: bool,
) -> None:
    """Write the predictions of one video and print a line a text; Ctrl-C keeps the finished frames and exits with 130.

    Raises `UsageError` if the outputs would lie among the frames, and what reading videos raises.
    """
    from risctl.engine.video_files import VideoPredictions
    from risctl.engine.video_predictor import VideoPredictor
    from risctl.vision.video_frames import Video

    video = Video.open(Path(source))
    if video.pictures and out.resolve() == video.path.resolve():
        raise UsageError(f"{out} is the folder of the frames; name another with --out")
    answerer = VideoPredictor(predictor, clip_length=clip_length, overlap=overlap, query=query)
    if predictor.system.takes_clips and (video.count is None or video.count > clip_length):
        console.say(
            f"in clips of {clip_length} frames: a whole-video pass, as ReferFormer was published with, may differ; "
            f"the query is chosen per {query}"
        )
    files = VideoPredictions(out, video, texts=texts, model=str(predictor.path), threshold=predictor.threshold)
    stopped = False
    with files:
        try:
            for answers in console.progress(answerer.predict(video, texts), label=video.path.name, total=video.count):
                files.add(answers)
            files.done()
        except KeyboardInterrupt:
            stopped = True
    records = files.records()
    for record in records:
        if not as_json:
            line = "\t".join((record["text"], f"{record['frames']} frames", record["masks"], record["overlay"]))
            console.result(line, data=record, as_json=False)
    if as_json:
        console.result("", data=records, as_json=True)
    if stopped:
        console.say(f"interrupted: the {files.frames} finished frames are kept in {out}")
        raise KeyboardInterrupt
