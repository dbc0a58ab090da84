"""Predicts the masks of phrases in videos: any model finds them in the first frame, a tracker carries them on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from risctl.errors import UsageError
from risctl.inference.store_predictor import PhrasePredictor
from risctl.models.tracking import MaskTracker, Track, TrackedFrame
from risctl.results import FramePredictions, Prediction
from risctl.vision import rle
from risctl.vision.video_clips import Progress, frames_of
from risctl.vision.video_frames import Frame, OnDamaged, Video

_SHOWN = 0.5  # the probability from which an object shows in a frame


class TrackedVideoPredictor:
    """Predicts one mask per phrase and frame, in the place of `risctl.inference.video_predictor.VideoPredictor`.

    In the first frame the answers are those of the model that reads the phrases; a phrase that has no match there has
    none in the whole video. In further frames, `Prediction.score` is the probability that the object shows, and where
    it does not the mask is empty.

    Attributes:
        threshold: A pixel of a further frame belongs to the mask if its probability is above it.
    """

    def __init__(
        self,
        predictor: PhrasePredictor,
        tracker: MaskTracker,
        *,
        threshold: float = 0.5,
        on_no_match: Callable[[Prediction], None] | None = None,
    ) -> None:
        """Takes the two models.

        Args:
            predictor: Finds the phrases in the first frame.
            tracker: Carries their masks on.
            threshold: In [0, 1): a pixel of a further frame belongs to the mask if its probability is above it.
            on_no_match: Called with the answer of each phrase that has no mask in the first frame.

        Raises:
            UsageError: The threshold is out of range.
        """
        if not 0 <= threshold < 1:
            raise UsageError(f"expected a threshold of at least 0 and below 1, got {threshold:g}")
        self.threshold = threshold
        self._predictor, self._tracker, self._on_no_match = predictor, tracker, on_no_match

    def predict(
        self,
        video: Video | str | Path,
        texts: str | Sequence[str],
        *,
        progress: Progress | None = None,
        on_damaged: OnDamaged | None = None,
    ) -> Iterator[FramePredictions]:
        """Yields the predictions frame by frame; see `VideoPredictor.predict`.

        Raises:
            UsageError: There is no phrase, or a phrase has no word.
            DataError: The video is damaged; the frames before the damage are yielded first.
        """
        video = video if isinstance(video, Video) else Video.open(Path(video))
        phrases = [texts] if isinstance(texts, str) else list(texts)
        if not phrases:
            raise UsageError("expected at least one phrase, got none; say what to look for")
        if progress is not None:
            progress(0, video.count)
        carried: _Carried | None = None
        for done, frame in enumerate(frames_of(video, on_damaged), start=1):
            if carried is None:
                # One answer a phrase, however often it is asked.
                self._predictor.set_image(frame.pixels)
                found = {one.text: one for one in self._predictor.iter_predictions(list(dict.fromkeys(phrases)))}
                self._predictor.reset_image()
                carried = _Carried(self._tracker, frame.pixels, found)
                if self._on_no_match is not None:
                    for text in carried.absent:
                        self._on_no_match(found[text])
            else:
                found = carried.follow(frame, threshold=self.threshold)
            yield FramePredictions(frame=frame, predictions=tuple(found[text] for text in phrases))
            if progress is not None:
                progress(done, video.count)


class _Carried:
    """The phrases that have a mask in the first frame, carried on; the others stay without."""

    def __init__(self, tracker: MaskTracker, pixels: np.ndarray, first: dict[str, Prediction]) -> None:
        self._first = first
        self._texts = [text for text, one in first.items() if one.matched and one.mask.any()]
        self.absent = [text for text in first if text not in self._texts]
        self._track: Track | None = None
        if self._texts:
            self._track = tracker.start(pixels, [first[text].mask for text in self._texts])

    def follow(self, frame: Frame, *, threshold: float) -> dict[str, Prediction]:
        """Returns the answers for the next frame, by phrase."""
        found: TrackedFrame | None = None if self._track is None else self._track.follow(frame.pixels)
        answers = {}
        for text, first in self._first.items():
            probability, score = np.zeros(frame.pixels.shape[:2], dtype=np.float32), first.score
            shown = False
            if found is not None and text in self._texts:
                number = self._texts.index(text)
                score = float(found.scores[number])
                shown = score > _SHOWN
                if shown:
                    probability = found.probabilities[number]
            mask = probability > threshold
            answers[text] = Prediction(
                text=text,
                probability=probability,
                threshold=threshold,
                score=score,
                box=rle.box(rle.encode(mask)) if mask.any() else None,
                matched=shown,
                image=frame.pixels,
            )
        return answers
