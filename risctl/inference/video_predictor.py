"""The video predictor: a model that is asked phrases about a video, clip by clip, in memory that does not grow.

A system that takes clips sees `clip_length` frames at once, `overlap` of them again from the clip before; any other
sees each frame as a picture. The published ReferFormer sees a whole video at once, so its results may differ: there all
frames inform each other within the pyramid (and a video backbone), and one query is the answer to the whole video. With
`query="video"` the query is chosen over the whole video here as well, in a first pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from risctl.core.encoders.base import TextFeatures
from risctl.errors import UsageError
from risctl.results import Prediction
from risctl.systems.base import Output, System
from risctl.systems.protocols import QuerySelector, takes_clips
from risctl.vision.geometry import Geometry
from risctl.vision.video_frames import Frame, Video

Query = Literal["clip", "video"]
Progress = Callable[[int, int | None], None]

CLIP_LENGTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameAnswers:
    """A frame and what each text means in it, in the order of the texts."""

    frame: Frame
    predictions: tuple[Prediction, ...]


class Answerer(Protocol):
    """What a video is asked with: a `Predictor`, or a system in training."""

    system: System
    threshold: float

    @property
    def device(self) -> torch.device:
        """Where the system computes."""
        ...


class VideoPredictor:
    """Answers phrases about videos with a mask a frame.

    >>> predictor = VideoPredictor(Predictor.load("referformer-r50.safetensors"))
    >>> for answers in predictor.predict(Video.open(Path("street.mp4")), ["the cyclist in red"]):
    ...     answers.frame.index, answers.predictions[0].mask
    """

    def __init__(
        self, predictor: Answerer, *, clip_length: int = CLIP_LENGTH, overlap: int = 0, query: Query = "clip"
    ) -> None:
        """Raises `UsageError` unless 0 <= overlap < clip_length."""
        if not 0 <= overlap < clip_length:
            raise UsageError(f"expected an overlap from 0 to {clip_length - 1} (clip length - 1), got {overlap}")
        self.predictor = predictor
        self.system = predictor.system
        self.clip_length = clip_length
        self.overlap = overlap if takes_clips(self.system) else 0
        self.query: Query = query

    def predict(
        self, video: Video, texts: Sequence[str], *, progress: Progress | None = None
    ) -> Iterator[FrameAnswers]:
        """Yield the answers frame by frame.

        progress: called with how many frames are done and how many there are to do, None if that is unknown; in two
        passes each counts twice. Raises `UsageError` for a text without a word, `DataError` for a broken video, after
        the frames before the break.
        """
        queries: Sequence[Tensor | None] = [None] * len(texts)
        read = [self._read(text) for text in texts]
        done = 0
        passes = 2 if self.query == "video" else 1
        total = None if video.count is None else passes * video.count

        def count(frames: int) -> None:
            nonlocal done
            done += frames
            if progress is not None:
                progress(done, total)

        count(0)
        if self.query == "video":
            queries = self._chosen(video, read, count)
        for frames, first in clips_of(video.frames(), length=self.clip_length, overlap=self.overlap):
            outputs, geometry = self._outputs(frames, read)
            answers: list[list[Prediction]] = [[] for _ in frames[first:]]
            for output, text, query in zip(outputs, texts, queries, strict=True):
                for place, prediction in enumerate(self._answers(output, geometry, text, query, first=first)):
                    answers[place].append(prediction)
            for frame, predictions in zip(frames[first:], answers, strict=True):
                yield FrameAnswers(frame=frame, predictions=tuple(predictions))
                count(1)

    @torch.inference_mode()
    def _read(self, text: str) -> TextFeatures:
        ids, mask = self.system.preprocess.text(text)
        device = self.predictor.device
        return self.system.encode_text(ids[None].to(device), mask[None].to(device))

    def _chosen(self, video: Video, texts: Sequence[TextFeatures], count: Callable[[int], None]) -> list[Tensor]:
        """Return for each text the query (1,) whose score, averaged over all frames, is highest; count the frames."""
        totals: list[Tensor | None] = [None] * len(texts)
        for frames, first in clips_of(video.frames(), length=self.clip_length, overlap=self.overlap):
            for number, output in enumerate(self._outputs(frames, texts)[0]):
                if "query_scores" not in output.maps:
                    raise UsageError("this model has one answer to a text: --query video needs one with queries")
                scores = output.maps["query_scores"][0, first:].sum(0)
                before = totals[number]
                totals[number] = scores if before is None else before + scores
            count(len(frames) - first)
        return [total.argmax()[None] for total in totals if total is not None]

    @torch.inference_mode()
    def _outputs(self, frames: Sequence[Frame], texts: Sequence[TextFeatures]) -> tuple[Iterator[Output], Geometry]:
        device = self.predictor.device
        prepared = [self.system.preprocess.image(frame.pixels) for frame in frames]
        geometry = prepared[0][1]
        images = torch.stack([image for image, _ in prepared]).to(device)
        padding = geometry.padding()[None].to(device, torch.bool)
        if takes_clips(self.system):
            features = self.system.encode_image(images[None], padding)
        else:
            features = self.system.encode_image(images, padding.expand(len(images), -1, -1))
        count = 1 if takes_clips(self.system) else len(frames)

        def decoded() -> Iterator[Output]:
            for text in texts:
                with torch.inference_mode():
                    output = self.system.decode(
                        features, text.select(torch.zeros(count, dtype=torch.int64, device=device))
                    )
                yield output

        return decoded(), geometry

    @torch.inference_mode()
    def _answers(
        self, output: Output, geometry: Geometry, text: str, query: Tensor | None, *, first: int
    ) -> list[Prediction]:
        if query is not None:
            assert isinstance(self.system, QuerySelector)
            output = self.system.select_query(output, query)
        logits = output.logits[0] if output.logits.ndim == 4 else output.logits  # (T, h, w)
        predictions = []
        for place in range(first, len(logits)):
            scores = output.scores
            if scores is not None:
                scores = scores[place : place + 1] if len(scores) == len(logits) else scores[:1]
            [prediction] = self.system.predict(
                Output(logits=logits[place : place + 1], scores=scores),
                geometries=[geometry],
                texts=[text],
                threshold=self.predictor.threshold,
            )
            predictions.append(prediction)
        return predictions


def clips_of(frames: Iterator[Frame], *, length: int, overlap: int) -> Iterator[tuple[list[Frame], int]]:
    """Yield (frames of a clip, place of the first that no clip before had); the last clip may be shorter."""
    held: list[Frame] = []
    first = 0
    for frame in frames:
        held.append(frame)
        if len(held) == length:
            yield held, first
            held = held[length - overlap :]
            first = len(held)
    if len(held) > first:
        yield held, first
