"""Answers phrases in the first frames of a video that was sent."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from risctl.demo.limits import Deadline, Limits
from risctl.demo.problems import ProblemError
from risctl.results import Prediction
from risctl.runtime.predictor import OnnxPredictor
from risctl.vision.video_frames import Video

# Containers that hold their pictures themselves. A playlist or a list of parts, which the reader of videos knows too,
# names other files, and so would have this machine's read.
_CONTAINERS = ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (0, b"OggS"), (8, b"AVI "))


def takes_videos(predictor: object) -> bool:
    """Returns whether a predictor can answer videos here."""
    from importlib.util import find_spec

    if isinstance(predictor, OnnxPredictor) or find_spec("av") is None:
        return False
    from risctl.inference.predictor import Predictor

    return isinstance(predictor, Predictor)


def answer_video(
    predictor: Any, data: bytes, phrases: Sequence[str], *, limits: Limits, deadline: Deadline
) -> dict[str, Any]:
    """Answers phrases in the first frames of a video.

    Args:
        predictor: One that `takes_videos`.
        data: The video's bytes.
        phrases: The phrases.
        limits: The server's bounds.
        deadline: Until when frames are answered; those that are done by then are returned.

    Raises:
        ProblemError: It is no video of a kind that is taken, or its frames are too large.
        DataError: It is damaged.
    """
    if not any(data[start : start + len(mark)] == mark for start, mark in _CONTAINERS):
        raise ProblemError(415, "wrong-type", "expected a video as MP4, MOV, WebM, Matroska, Ogg or AVI")
    from risctl.inference.video_predictor import VideoPredictor

    frames: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="risctl-demo-") as folder:
        path = Path(folder) / "video.mp4"
        path.write_bytes(data)
        video = Video.open(path)
        size = next(frame.pixels.shape for frame in video.frames())
        if size[0] * size[1] > limits.video_pixels:
            raise ProblemError(
                413, "too-many-pixels", f"frames of {size[1]}x{size[0]} are over the limit of {limits.video_pixels:,}"
            )
        predicting = VideoPredictor(predictor.system, threshold=predictor.threshold)
        whole = True
        for answers in predicting.predict(video, list(phrases)):
            if len(frames) == limits.video_frames or deadline.passed:
                whole = False
                break
            frames.append(
                {
                    "index": answers.frame.index,
                    "time": answers.frame.time,
                    "image": _jpeg(answers.frame.pixels),
                    "results": [result(one) for one in answers.predictions],
                }
            )
    return {"rate": video.rate, "whole": whole, "frames": frames}


def result(prediction: Prediction, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Returns an answer as JSON values."""
    return {**prediction.to_dict(), "warnings": list(warnings)}


def _jpeg(pixels: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return base64.b64encode(file.getvalue()).decode("ascii")
