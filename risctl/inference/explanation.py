"""Predicts one phrase in an image or a clip and explains the prediction, for systems that can."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from risctl.errors import UsageError
from risctl.inference.encoded_image import decode, encode_frames, encode_texts, prepare
from risctl.inference.predictor import Predictor
from risctl.results import Prediction
from risctl.systems.base import Output
from risctl.systems.explanation import Explainable, Explanation
from risctl.systems.protocols import takes_clips
from risctl.vision.images import read_image
from risctl.vision.video_frames import Frame, Video, is_video_name

E = TypeVar("E", bound=Explanation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedPrediction(Generic[E]):
    """A prediction with what its system shows of it.

    Attributes:
        frames: The predictions with their images: one for an image, one per frame for a clip.
        names: What to call each frame.
        explanation: What the system shows.
        is_clip: Whether the frames were encoded together, as one clip.
    """

    frames: tuple[Prediction, ...]
    names: tuple[str, ...]
    explanation: E
    is_clip: bool


def explain(
    predictor: Predictor, source: Path, text: str, *, kind: str | None = None, max_frames: int = 6
) -> ExplainedPrediction[Any]:
    """Predicts and explains one phrase.

    Args:
        predictor: The model.
        source: An image; for a system that takes clips also a video or a folder of frames.
        text: The phrase.
        kind: The kind of explanation that is wanted; None for whatever the system shows.
        max_frames: How many frames of a video are taken, evenly spaced; they are encoded together.

    Raises:
        UsageError: The system shows nothing, or another kind; the phrase has no word.
        DataError: The source cannot be read.
    """
    system = _explainable(predictor)
    if kind not in (None, system.explanation_kind):
        raise UsageError(
            f"expected a model that shows {kind}; {_held(predictor)}, which shows {system.explanation_kind}: draw them "
            "with `risctl visualize attention`"
        )
    is_clip = takes_clips(predictor.system)
    if is_clip:
        clip = _frames(source, max_count=max_frames)
        predictions, names = _predict_clip(predictor, clip, text), [frame.name for frame in clip]
    else:
        predictions, names = predictor.predict(source, text), [source.stem]
    return ExplainedPrediction(
        frames=tuple(predictions), names=tuple(names), explanation=system.explain(predictions), is_clip=is_clip
    )


def explain_set_image(predictor: Predictor, text: str) -> ExplainedPrediction[Any]:
    """Predicts and explains one phrase in the image that is set; a system that takes clips gets one of one frame.

    Raises:
        UsageError: No image is set, the system shows nothing, or the phrase has no word.
    """
    system = _explainable(predictor)
    predictions = predictor.predict_texts(text)
    is_clip = takes_clips(predictor.system)
    if is_clip:
        pixels = predictions[0].image
        assert pixels is not None  # a predictor keeps it
        predictions = _predict_clip(predictor, [Frame(index=0, name="image", pixels=pixels)], text)
    return ExplainedPrediction(
        frames=tuple(predictions), names=("image",), explanation=system.explain(predictions), is_clip=is_clip
    )


def _explainable(predictor: Predictor) -> Explainable:
    if not isinstance(predictor.system, Explainable):
        raise UsageError(
            f"{_held(predictor)}, which shows nothing of how it came to a prediction; `risctl predict` draws its masks"
        )
    return predictor.system


def _held(predictor: Predictor) -> str:
    return f"{predictor.path} holds a {type(predictor.system).__name__}"


@torch.inference_mode()
def _predict_clip(predictor: Predictor, frames: list[Frame], text: str) -> list[Prediction]:
    """Returns the predictions of frames that are encoded together, each with its own maps and image."""
    system = predictor.system
    clip = encode_frames(system, [prepare(system.preprocess, frame.pixels) for frame in frames], as_clip=True)
    output = decode(system, clip, encode_texts(system, [system.preprocess.text(text)]))
    predictions = []
    for index, frame in enumerate(frames):
        of_frame = Output(
            logits=output.logits[0, index : index + 1],
            scores=output.scores,
            maps={name: values[0, index : index + 1] for name, values in output.maps.items()},
        )
        [prediction] = system.predict(of_frame, geometries=[clip.geometry], texts=[text], threshold=predictor.threshold)
        predictions.append(replace(prediction, image=frame.pixels))
    return predictions


def _frames(source: Path, *, max_count: int) -> list[Frame]:
    if not source.is_dir() and not is_video_name(source.name):
        return [Frame(index=0, name=source.stem, pixels=read_image(source))]
    video = Video.open(source)
    # What a file says of its length may be missing or wrong: then it is counted.
    count = len(video.images) or sum(1 for _ in video.frames())
    wanted = {int(index) for index in np.linspace(0, count - 1, min(max_count, count)).round()}
    return [frame for frame in video.frames() if frame.index in wanted]
