"""Predicts the masks of phrases in videos with exported models, clip by clip, as `risctl.inference.video_predictor`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from risctl.errors import DataError, UsageError
from risctl.results import FramePredictions
from risctl.runtime.clip_predictor import ClipPredictor, Tokens
from risctl.runtime.predictor import OnnxPredictor
from risctl.vision.video_clips import CLIP_LENGTH, Progress, Query, clips_of, frames_of
from risctl.vision.video_frames import Frame, OnDamaged, Video


class OnnxVideoPredictor:
    """Predicts one mask per phrase and frame of a video, without torch.

    A model of images sees each frame alone.

    Attributes:
        threshold: A pixel belongs to the mask if its probability is above it.
    """

    def __init__(
        self, predictor: OnnxPredictor, *, clip_length: int = CLIP_LENGTH, overlap: int = 0, query: Query = "clip"
    ) -> None:
        """Takes an opened model.

        Args:
            predictor: The model.
            clip_length: Frames that are encoded together.
            overlap: Frames that a clip shares with the one before.
            query: Whether the query of the answer is chosen per clip, or over the whole video in a first pass.

        Raises:
            UsageError: The overlap is not between 0 and `clip_length` - 1, the clips are longer than the graph takes,
                or the model has no queries to choose over the whole video.
        """
        if not 0 <= overlap < clip_length:
            raise UsageError(f"expected an overlap from 0 to {clip_length - 1} (clip length - 1), got {overlap}")
        if isinstance(predictor, ClipPredictor) and clip_length > predictor.most_frames:
            raise UsageError(
                f"the graphs of {predictor.manifest.name} take {predictor.most_frames} frames at once; give "
                f"--clip-len {predictor.most_frames}, or the checkpoint"
            )
        if query == "video" and not isinstance(predictor, ClipPredictor):
            raise UsageError("this model has one answer to a text: --query video needs one with queries")
        self.predictor = predictor
        self.threshold = predictor.threshold
        self._length, self._query = clip_length, query
        self._overlap = overlap if predictor.takes_clips else 0

    def predict(
        self,
        video: Video | str | Path,
        texts: str | Sequence[str],
        *,
        progress: Progress | None = None,
        on_damaged: OnDamaged | None = None,
    ) -> Iterator[FramePredictions]:
        """Yields the predictions frame by frame; see `risctl.VideoPredictor.predict`.

        Raises:
            UsageError: A phrase has no word.
            DataError: The video is damaged; the frames before the damage are yielded first.
        """
        video = video if isinstance(video, Video) else Video.open(Path(video))
        phrases = [texts] if isinstance(texts, str) else list(texts)
        done = 0
        total = None if video.count is None else (2 if self._query == "video" else 1) * video.count

        def count(frames: int) -> None:
            nonlocal done
            done += frames
            if progress is not None:
                progress(done, total)

        count(0)
        if not isinstance(self.predictor, ClipPredictor):
            for frame in frames_of(video, on_damaged):
                yield FramePredictions(frame=frame, predictions=tuple(self.predictor.predict(frame.pixels, phrases)))
                count(1)
            return
        tokens = [self.predictor.tokens(text) for text in phrases]
        queries: Sequence[int | None] = [None] * len(phrases)
        if self._query == "video":
            queries = self._choose(self.predictor, video, tokens, count, on_damaged)
        for frames, first in self._clips(video, on_damaged):
            clip = self.predictor.encode_clip([frame.pixels for frame in frames])
            found = [
                self.predictor.chosen(clip, text, self.predictor.ask(clip, ids), query=query)[first:]
                for text, ids, query in zip(phrases, tokens, queries, strict=True)
            ]
            for frame, *predictions in zip(frames[first:], *found, strict=True):
                yield FramePredictions(frame=frame, predictions=tuple(predictions))
                count(1)

    def _clips(self, video: Video, on_damaged: OnDamaged | None) -> Iterator[tuple[list[Frame], int]]:
        return clips_of(frames_of(video, on_damaged), length=self._length, overlap=self._overlap)

    def _choose(
        self,
        predictor: ClipPredictor,
        video: Video,
        tokens: Sequence[Tokens],
        count: Callable[[int], None],
        on_damaged: OnDamaged | None,
    ) -> list[int | None]:
        """Returns for each text the query whose score, averaged over all frames, is highest; counts the frames."""
        totals: list[np.ndarray | None] = [None] * len(tokens)
        # Where the frames break off, so they do in the second pass, after all that could be read.
        with contextlib.suppress(DataError):
            for frames, first in self._clips(video, on_damaged):
                clip = predictor.encode_clip([frame.pixels for frame in frames])
                for index, ids in enumerate(tokens):
                    scores = predictor.ask(clip, ids).scores[first:].sum(0)
                    before = totals[index]
                    totals[index] = scores if before is None else before + scores
                count(len(frames) - first)
        return [None if total is None else int(total.argmax()) for total in totals]
