"""Predicts with exported models of videos, whose graphs take the frames of a clip; an image is a clip of one frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from risctl.errors import CheckpointError
from risctl.results import Prediction
from risctl.runtime.inputs import Laid
from risctl.runtime.manifest import ANSWER, ENCODE, Manifest, read_manifest
from risctl.runtime.predictor import OnnxPredictor

Tokens = tuple[np.ndarray, np.ndarray]
"""Token ids (L,) and their mask."""

_STRIDE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedClip:
    """The frames of a clip, encoded.

    Attributes:
        features: The maps by name, (T, C, h, w).
        laid: The first frame in its input; all lie alike.
    """

    features: dict[str, np.ndarray]
    laid: Laid


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryAnswers:
    """What all queries answer to one expression about a clip.

    Attributes:
        logits: (T, Q, h, w).
        scores: (T, Q) in [0, 1].
        boxes: (T, Q, 4), cx cy w h in shares of the image.
    """

    logits: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray


class ClipPredictor(OnnxPredictor):
    """Predicts with an exported model of videos; of images as `OnnxPredictor` does."""

    in_clips = True

    @property
    def takes_clips(self) -> bool:
        """Whether it sees several frames of a video at once."""
        return not self.frames_apart

    @property
    def most_frames(self) -> int:
        """How many frames it takes at once, at most."""
        return clip_settings(self.manifest)[0]

    @property
    def frames_apart(self) -> bool:
        """Whether each frame is answered by itself."""
        return clip_settings(self.manifest)[1]

    def encode_clip(self, frames: Sequence[np.ndarray]) -> EncodedClip:
        """Encodes frames, uint8 RGB (H, W, 3), all of one size."""
        laid = [self.prepare_image(pixels) for pixels in frames]
        feed = {"frames": np.concatenate([one.images for one in laid]), "padding": laid[0].padding}
        names = self.manifest.graphs[ENCODE].outputs
        return EncodedClip(features=dict(zip(names, self._run(ENCODE, feed), strict=True)), laid=laid[0])

    def ask(self, clip: EncodedClip, tokens: Tokens) -> QueryAnswers:
        """Returns what all queries answer to an expression."""
        ids, mask = tokens
        feed = {**clip.features, "padding": clip.laid.padding, "words": ids[None], "word_mask": mask[None]}
        found = dict(zip(self.manifest.graphs[ANSWER].outputs, self._run(ANSWER, feed), strict=True))
        return QueryAnswers(logits=found["logits"][0], scores=found["scores"][0], boxes=found["boxes"][0])

    def tokens(self, text: str) -> Tokens:
        """Returns the token ids of a text. Raises `UsageError` if it has no word."""
        return self._tokens(text)

    def chosen(
        self, clip: EncodedClip, text: str, answers: QueryAnswers, *, query: int | None = None
    ) -> list[Prediction]:
        """Returns a prediction per frame, of the query whose mean score over the frames is highest.

        Args:
            clip: The frames.
            text: The expression.
            answers: What the queries answer.
            query: The query, in place of the best one.
        """
        scores = answers.scores
        found = []
        best = int(scores.mean(0).argmax()) if query is None else query
        rows, columns = (-(-side // _STRIDE) for side in clip.laid.padding.shape[1:])
        for frame, of_frame in enumerate(scores):
            if self.frames_apart and query is None:
                best = int(of_frame.argmax())
            score = float(of_frame[best] if self.frames_apart else scores[:, best].mean())
            logits = answers.logits[frame, best, :rows, :columns]
            found.append(self._prediction(text, clip.laid, logits, score=score, logits=True))
            box = _box(answers.boxes[frame, best], height=clip.laid.height, width=clip.laid.width)
            found[-1] = replace(found[-1], predicted_box=box)
        return found

    def _encoded(self, laid: Laid) -> tuple[dict[str, np.ndarray], Laid]:
        outputs = self._run(ENCODE, {"frames": laid.images, "padding": laid.padding})
        return dict(zip(self.manifest.graphs[ENCODE].outputs, outputs, strict=True)), laid

    def _answers(self, tokens: Sequence[tuple[str, Tokens]]) -> Iterator[Prediction]:
        clip = EncodedClip(features=self._features, laid=self._image_set())
        for text, ids in tokens:
            [prediction] = self.chosen(clip, text, self.ask(clip, ids))
            yield replace(prediction, image=self._pixels)


def open_exported(
    folder: Path, *, threshold: float | None = None, no_target_threshold: float | None = None, threads: int = 0
) -> OnnxPredictor:
    """Opens an exported model, of images or of videos; arguments and errors as of `OnnxPredictor`."""
    kind = ClipPredictor if "clip" in read_manifest(folder).header else OnnxPredictor
    return kind(folder, threshold=threshold, no_target_threshold=no_target_threshold, threads=threads)


def clip_settings(manifest: Manifest) -> tuple[int, bool]:
    """Returns how many frames a model of videos takes at once, at most, and whether it answers each by itself.

    Raises:
        CheckpointError: Its description is damaged.
    """
    settings = manifest.header.get("clip")
    most = settings.get("most_frames") if isinstance(settings, dict) else None
    if not isinstance(settings, dict) or type(most) is not int or most < 1:
        raise CheckpointError(f"{manifest.folder} is damaged: its description does not say how many frames it takes")
    return most, settings.get("frames_apart") is True


def _box(shares: np.ndarray, *, height: int, width: int) -> tuple[float, float, float, float]:
    """Returns a box, cx cy w h in shares of an image, as x, y, width and height in its pixels."""
    across, down, wide, tall = (float(one) for one in shares)
    return (across - wide / 2) * width, (down - tall / 2) * height, wide * width, tall * height
