"""Predicts with any network that segments by text, in the seat of `risctl.inference.predictor.Predictor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from risctl.errors import UsageError
from risctl.results import Detection, Prediction
from risctl.vision import rle
from risctl.vision.image_inputs import ImageInput, read_input
from risctl.zeroshot.text_prompted import Candidates, TextPromptedNetwork

_DRAWN = 8  # masks that are drawn together: they have the image's size
_TEXTS = 16  # texts that are found together


@runtime_checkable
class CategoryFinder(Protocol):
    """A network that finds the instances of categories that it was trained on."""

    labels: tuple[str, ...]

    def encode(self, pixels: np.ndarray) -> Any:
        """Finds the instances of an RGB image."""


class PromptedPredictor:
    """Predicts the masks of phrases with a network of transformers, or a pipeline of several.

    An image is encoded once for all its phrases as far as the network allows. Of the candidates of a phrase, all that
    score at least `min_score` make up the mask, or those that a chooser chose; the surest is always among them. If even
    that scores less than `no_target_threshold`, there is no match and the mask is empty.

    Attributes:
        name: The model's name, as the person wrote it.
        threshold: A pixel belongs to the mask if its probability is above it.
        no_target_threshold: The score from which a phrase is answered with a mask.
        min_score: The score from which a candidate belongs to the mask; 0: the network chooses, or has one candidate.
        path: The name once more: what records call the model.
    """

    def __init__(
        self,
        network: TextPromptedNetwork,
        *,
        name: str,
        device: str = "cpu",
        threshold: float | None = None,
        no_target_threshold: float | None = None,
        surest: bool = False,
    ) -> None:
        """Takes a network that was opened.

        Args:
            network: The network.
            name: The model's name.
            device: Where it computes, for people to read.
            threshold: In [0, 1); None takes 0.5.
            no_target_threshold: In [0, 1]; None takes the network's own.
            surest: Whether the surest candidate alone is the answer.

        Raises:
            UsageError: A threshold is out of range.
        """
        if threshold is not None and not 0 <= threshold < 1:
            raise UsageError(f"expected a threshold of at least 0 and below 1, got {threshold:g}")
        if no_target_threshold is not None and not 0 <= no_target_threshold <= 1:
            raise UsageError(f"expected a no-target threshold between 0 and 1, got {no_target_threshold:g}")
        self.name = self.path = name
        self.threshold = 0.5 if threshold is None else threshold
        self.no_target_threshold = network.min_score if no_target_threshold is None else no_target_threshold
        self.min_score = network.min_score
        self._network, self._device, self._surest = network, device, surest
        self._encoded: Any = None
        self._pixels: np.ndarray | None = None

    def predict(
        self, image: ImageInput | list[Any], texts: str | Sequence[str]
    ) -> list[Prediction] | list[list[Prediction]]:
        """Predicts one mask per phrase; each image is encoded once, as far as the network allows.

        Args:
            image: An image, or a list of images, in any form that `risctl.Predictor.predict` takes.
            texts: One phrase or several.

        Returns:
            One prediction per phrase, in their order; for a list of images, one such list per image.

        Raises:
            DataError: An image cannot be read.
            UsageError: There is no phrase, a phrase has no word, or `image` is of another type.
        """
        phrases = _phrases(texts)
        if isinstance(image, (list, tuple)):
            return [self._predict(one, phrases) for one in image]
        return self._predict(image, phrases)

    def _predict(self, image: ImageInput, phrases: Sequence[str]) -> list[Prediction]:
        self.set_image(image)
        return self.predict_texts(phrases)

    def set_image(self, image: ImageInput) -> None:
        """Reads and encodes an image for `predict_texts` and `detect`.

        Args:
            image: In any form that `predict` takes.

        Raises:
            DataError: It cannot be read. The image that was set before then stays.
            UsageError: It is of a type that is not known.
        """
        pixels = read_input(image)
        self._encoded, self._pixels = self._network.encode(pixels), pixels

    @property
    def forks(self) -> bool:
        """Whether it may compute in processes that are forked from this one: on a CPU alone."""
        return self._device.startswith("cpu")

    def prepare_image(self, pixels: np.ndarray) -> np.ndarray:
        """Returns `pixels` as they are: networks of transformers prepare images as they encode them."""
        return pixels

    def encode_images(self, images: Sequence[np.ndarray]) -> list[Any]:
        """Encodes images for `set_encoded`, together if the network can.

        Args:
            images: RGB, uint8 (H, W, 3) each.

        Returns:
            What the network makes of each image, in their order.
        """
        together = getattr(self._network, "encode_images", None)
        if together is not None and len(images) > 1:
            return list(together(images))
        return [self._network.encode(pixels) for pixels in images]

    def set_encoded(self, encoded: Any, pixels: np.ndarray) -> None:
        """Sets an image as `set_image` does, without encoding it again.

        Args:
            encoded: What `encode_images` returned for it.
            pixels: What it was made of, RGB uint8 (H, W, 3).
        """
        self._encoded, self._pixels = encoded, pixels

    def reset_image(self) -> None:
        """Lets go of the image that is set, and of its memory."""
        self._encoded = self._pixels = None

    def predict_texts(self, texts: str | Sequence[str]) -> list[Prediction]:
        """Predicts one mask per phrase in the image that is set.

        Args:
            texts: One phrase or several.

        Returns:
            One prediction per phrase, in their order.

        Raises:
            UsageError: No image is set, there is no phrase, or a phrase has no word.
        """
        return list(self.iter_predictions(texts))

    def iter_predictions(self, texts: str | Sequence[str]) -> Iterator[Prediction]:
        """Yields what `predict_texts` returns, one by one: many masks of a large image need not fit in memory.

        Args:
            texts: One phrase or several. All are checked before the first prediction.

        Raises:
            UsageError: No image is set, there is no phrase, or a phrase has no word.
        """
        phrases, pixels = _phrases(texts), self._current()
        return self._found(phrases, pixels)

    def detect(self, names: Sequence[str], *, min_score: float = 0.3) -> list[Detection]:
        """Detects the instances of categories in the image that is set.

        Args:
            names: The categories.
            min_score: Only instances that score above it are returned.

        Returns:
            The instances, the highest score first.

        Raises:
            UsageError: No image is set, the network is prompted by text only, or it does not know a category.
        """
        from risctl.models.detections import detections_of

        self._current()
        return detections_of(self._network, self._encoded, names, min_score=min_score, name=self.name)

    def warnings(self, text: str) -> list[str]:
        """Returns what to know about how `text` is read: whether its end is cut.

        Raises:
            UsageError: It has no word.
        """
        _phrases(text)
        return ["longer than the model reads; its end is cut"] if self._network.is_truncated(text) else []

    def describe(self) -> str:
        """Returns one line: the network, its device and its thresholds."""
        which = "the surest instance alone" if self._surest else f"instances that score {self.min_score:g}"
        return f"{self._network.name}, {self._device}, {which}, mask where probability > {self.threshold:g}"

    def answers_at(self, texts: Sequence[str], min_scores: Sequence[float]) -> Iterator[tuple[float, list[np.ndarray]]]:
        """Yields the score of each phrase, and its mask for each of `min_scores`, as if every phrase had a match.

        Args:
            texts: Phrases about the image that is set.
            min_scores: Scores from which a candidate belongs to the mask; candidates are drawn once for all of them.

        Raises:
            UsageError: No image is set.
        """
        pixels, own = self._current(), self.min_score
        for text in texts:
            [candidates] = self._network.find(self._encoded, [text])
            masks: dict[float, np.ndarray] = {}
            probability = np.zeros(pixels.shape[:2], dtype=np.float32)
            drawn: set[int] = set()
            score = 0.0
            for least in sorted(min_scores, reverse=True):
                try:
                    self.min_score = least
                    chosen, score = self._chosen(candidates)
                finally:
                    self.min_score = own
                new = [one for one in chosen if one not in drawn]
                for start in range(0, len(new), _DRAWN):
                    np.maximum(probability, candidates.draw(new[start : start + _DRAWN]).max(0), out=probability)
                drawn.update(new)
                masks[least] = probability > self.threshold
            yield score, [masks[least] for least in min_scores]

    def candidates(self, text: str, *, most: int) -> list[dict[str, Any]]:
        """Returns the candidates of a phrase in the image that is set, the highest score first, as JSON values.

        Args:
            text: The phrase.
            most: How many are drawn and returned at most.

        Returns:
            For each its `probability`, `box` (x1, y1, x2, y2 in pixels; None of an empty mask) and `chosen`, whether it
            belongs to the answer.

        Raises:
            UsageError: No image is set, or the phrase has no word.
        """
        self._current()
        [candidates] = self._network.find(self._encoded, _phrases(text))
        chosen, score = self._chosen(candidates)
        answered = set(chosen) if score >= self.no_target_threshold else set()
        scores = np.where(np.isfinite(candidates.scores), candidates.scores, 0)
        found = []
        for index in np.argsort(-scores, kind="stable")[:most].tolist():
            mask = candidates.draw([index])[0] > self.threshold
            box = rle.box(rle.encode(mask)) if mask.any() else None
            corners = None if box is None else [box[0], box[1], box[0] + box[2], box[1] + box[3]]
            probability = round(float(scores[index]), 6)
            found.append({"probability": probability, "box": corners, "chosen": index in answered})
        return found

    def _current(self) -> np.ndarray:
        if self._pixels is None:
            raise UsageError("no image is set: call set_image(image) or predict(image, texts) first")
        return self._pixels

    def _found(self, phrases: Sequence[str], pixels: np.ndarray) -> Iterator[Prediction]:
        encoded = self._encoded
        for start in range(0, len(phrases), _TEXTS):
            some = phrases[start : start + _TEXTS]
            for text, candidates in zip(some, self._network.find(encoded, some), strict=True):
                yield self._prediction(text, candidates, pixels)

    def _prediction(self, text: str, candidates: Candidates, pixels: np.ndarray) -> Prediction:
        chosen, score = self._chosen(candidates)
        # Nothing found is no match, whatever the threshold: there is no best guess.
        matched = bool(chosen) and score >= self.no_target_threshold
        probability = np.zeros(pixels.shape[:2], dtype=np.float32)
        for start in range(0, len(chosen) if matched else 0, _DRAWN):
            drawn = candidates.draw(chosen[start : start + _DRAWN])
            np.maximum(probability, drawn.max(0), out=probability)
        mask = probability > self.threshold
        return Prediction(
            text=text,
            probability=probability,
            threshold=self.threshold,
            score=score,
            box=rle.box(rle.encode(mask)) if mask.any() else None,
            matched=matched,
            image=pixels,
        )

    def _chosen(self, candidates: Candidates) -> tuple[list[int], float]:
        """Returns the positions of the candidates that make up the mask, the surest first, and the score."""
        if not len(candidates.scores):
            return [], 0.0
        scores = np.where(np.isfinite(candidates.scores), candidates.scores, 0)
        best = int(scores.argmax())
        if candidates.chosen is not None:
            score = candidates.presence if candidates.presence is not None else float(scores[best])
            return (list(candidates.chosen[:1]) if self._surest else list(candidates.chosen)), score
        if scores[best] <= 0:
            return [], 0.0
        if self._surest:
            return [best], float(scores[best])
        others = np.flatnonzero((scores >= max(self.min_score, 1e-6)) & (np.arange(len(scores)) != best))
        return [best, *others.tolist()], float(scores[best])


def _phrases(texts: str | Sequence[str]) -> list[str]:
    """Returns the phrases, all checked before anything is computed."""
    phrases = [texts] if isinstance(texts, str) else list(texts)
    if not phrases:
        raise UsageError("expected at least one phrase, got none; say what to look for")
    for text in phrases:
        if not isinstance(text, str):
            raise UsageError(f"expected a phrase as a string, got {text!r}")
        if not any(character.isalnum() for character in text):
            raise UsageError(f"expected a text with at least one word, got {text!r:.60}")
    return phrases
