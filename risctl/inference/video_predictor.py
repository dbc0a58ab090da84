"""Predicts the masks of phrases in videos, clip by clip, in memory that does not grow with the video.

A system that takes clips encodes `clip_length` frames together, `overlap` of them shared with the clip before; any
other encodes each frame alone. The published ReferFormer encodes a whole video at once, so its masks may differ: there
all frames inform each other within the pyramid (and a video backbone), and one query stands for the whole video. With
`query="video"` the query is chosen over the whole video here as well, in a first pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from risctl.core.encoders.base import TextFeatures
from risctl.errors import DataError, UsageError
from risctl.inference.encoded_image import decode, encode_frames, encode_texts, prepare
from risctl.inference.predictor import Predictor
from risctl.results import FramePredictions, Prediction
from risctl.systems.base import Output, System
from risctl.systems.protocols import QuerySelector, takes_clips
from risctl.vision.geometry import Geometry
from risctl.vision.video_clips import CLIP_LENGTH, Progress, Query, clips_of, frames_of
from risctl.vision.video_frames import Frame, OnDamaged, Video


class FramePredictor(Protocol):
    """Predicts one mask per phrase and frame of a video; `VideoPredictor` does, and trackers do.

    Attributes:
        threshold: A pixel belongs to the mask if its probability is above it.
    """

    threshold: float

    def predict(
        self,
        video: Video | str | Path,
        texts: str | Sequence[str],
        *,
        progress: Progress | None = None,
        on_damaged: OnDamaged | None = None,
    ) -> Iterator[FramePredictions]:
        """Yields the predictions frame by frame; see `VideoPredictor.predict`."""


class VideoPredictor:
    """Predicts one mask per phrase and frame of a video.

    Example:
        >>> predictor = risctl.VideoPredictor.load("mini", device="cpu")
        >>> for result in predictor.predict("street", ["the cyclist in red"]):
        ...     print(result.frame.index, result.predictions[0].mask.shape)
        0 (480, 640)
        1 (480, 640)
    """

    def __init__(
        self,
        system: System,
        *,
        threshold: float = 0.5,
        clip_length: int = CLIP_LENGTH,
        overlap: int = 0,
        query: Query = "clip",
    ) -> None:
        """Takes a system in evaluation mode.

        Args:
            system: Any system; one that takes no clips gets each frame alone.
            threshold: A pixel belongs to the mask if its probability is above it.
            clip_length: Frames that are encoded together.
            overlap: Frames that a clip shares with the one before.
            query: Whether the query of the answer is chosen per clip, or over the whole video in a first pass.

        Raises:
            UsageError: The overlap is not between 0 and `clip_length` - 1.
        """
        if not 0 <= overlap < clip_length:
            raise UsageError(f"expected an overlap from 0 to {clip_length - 1} (clip length - 1), got {overlap}")
        self.system = system
        self.threshold = threshold
        self.clip_length = clip_length
        self.overlap = overlap if takes_clips(system) else 0
        self.query: Query = query

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        device: str = "auto",
        threshold: float | None = None,
        clip_length: int = CLIP_LENGTH,
        overlap: int = 0,
        query: Query = "clip",
    ) -> VideoPredictor:
        """Opens a model by name.

        Args:
            model: What `Predictor.load` takes.
            device: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda` or `mps`.
            threshold: A pixel belongs to the mask if its probability is above it. None takes the model's own.
            clip_length: Frames that are encoded together.
            overlap: Frames that a clip shares with the one before.
            query: Whether the query of the answer is chosen per clip, or over the whole video in a first pass.

        Returns:
            The predictor, in evaluation mode.

        Raises:
            CheckpointError: There is no usable checkpoint.
            MachineError: The device is absent.
            UsageError: A threshold is out of range, or the overlap is not between 0 and `clip_length` - 1.
        """
        opened = Predictor.load(model, device=device, threshold=threshold)
        return cls(opened.system, threshold=opened.threshold, clip_length=clip_length, overlap=overlap, query=query)

    def predict(
        self,
        video: Video | str | Path,
        texts: str | Sequence[str],
        *,
        progress: Progress | None = None,
        on_damaged: OnDamaged | None = None,
    ) -> Iterator[FramePredictions]:
        """Yields the predictions frame by frame.

        Args:
            video: An opened video, or the path of a video file or a folder of frames.
            texts: One phrase or several.
            progress: Called with the numbers of frames that are done and that there are, None if that is unknown. In
                two passes each frame counts twice.
            on_damaged: Called with the error of each frame that cannot be read, in every pass; it is left out. None:
                such a frame ends the predictions.

        Raises:
            UsageError: A phrase has no word, or the system has no queries to choose over the whole video.
            DataError: The video is damaged; the frames before the damage are yielded first.
        """
        video = video if isinstance(video, Video) else Video.open(Path(video))
        phrases = [texts] if isinstance(texts, str) else list(texts)
        encoded = [self._encode_text(text) for text in phrases]
        queries: Sequence[Tensor | None] = [None] * len(phrases)
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
            queries = self._choose_queries(video, encoded, count, on_damaged)
        for frames, first in clips_of(frames_of(video, on_damaged), length=self.clip_length, overlap=self.overlap):
            outputs, geometry = self._outputs(frames, encoded)
            predictions: list[list[Prediction]] = [[] for _ in frames[first:]]
            for output, text, query in zip(outputs, phrases, queries, strict=True):
                for index, prediction in enumerate(self._predictions(output, geometry, text, query, first=first)):
                    predictions[index].append(prediction)
            for frame, of_frame in zip(frames[first:], predictions, strict=True):
                yield FramePredictions(frame=frame, predictions=tuple(of_frame))
                count(1)

    @torch.inference_mode()
    def _encode_text(self, text: str) -> TextFeatures:
        return encode_texts(self.system, [self.system.preprocess.text(text)])

    def _choose_queries(
        self,
        video: Video,
        texts: Sequence[TextFeatures],
        count: Callable[[int], None],
        on_damaged: OnDamaged | None,
    ) -> list[Tensor | None]:
        """Returns for each text the query (1,) whose score, averaged over all frames, is highest; counts the frames."""
        totals: list[Tensor | None] = [None] * len(texts)
        # Where the frames break off, so they do in the second pass, after all that could be read.
        with contextlib.suppress(DataError):
            for frames, first in clips_of(frames_of(video, on_damaged), length=self.clip_length, overlap=self.overlap):
                for index, output in enumerate(self._outputs(frames, texts)[0]):
                    if "query_scores" not in output.maps:
                        raise UsageError("this model has one answer to a text: --query video needs one with queries")
                    scores = output.maps["query_scores"][0, first:].sum(0)
                    before = totals[index]
                    totals[index] = scores if before is None else before + scores
                count(len(frames) - first)
        return [None if total is None else total.argmax()[None] for total in totals]

    @torch.inference_mode()
    def _outputs(self, frames: Sequence[Frame], texts: Sequence[TextFeatures]) -> tuple[Iterator[Output], Geometry]:
        prepared = [prepare(self.system.preprocess, frame.pixels) for frame in frames]
        clip = encode_frames(self.system, prepared, as_clip=takes_clips(self.system))

        def decoded() -> Iterator[Output]:
            for text in texts:
                with torch.inference_mode():
                    output = decode(self.system, clip, text)
                yield output

        return decoded(), clip.geometry

    @torch.inference_mode()
    def _predictions(
        self, output: Output, geometry: Geometry, text: str, query: Tensor | None, *, first: int
    ) -> list[Prediction]:
        if query is not None:
            assert isinstance(self.system, QuerySelector)
            output = self.system.select_query(output, query)
        logits = output.logits[0] if output.logits.ndim == 4 else output.logits  # (T, h, w)
        predictions = []
        for index in range(first, len(logits)):
            scores = output.scores
            if scores is not None:
                scores = scores[index : index + 1] if len(scores) == len(logits) else scores[:1]
            [prediction] = self.system.predict(
                Output(logits=logits[index : index + 1], scores=scores),
                geometries=[geometry],
                texts=[text],
                threshold=self.threshold,
            )
            predictions.append(prediction)
        return predictions
