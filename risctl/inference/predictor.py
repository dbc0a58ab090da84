"""Predicts the masks of phrases in images with a trained model.

The model is pure, the predictor is stateful, as in segment-anything: it keeps the image that it encoded last, so that a
further phrase costs its own part only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch

from risctl.checkpoints.loaded_model import LoadedModel, load_checkpoint
from risctl.devices import device_name, pick_device
from risctl.errors import UsageError
from risctl.inference.encoded_image import (
    EncodedImage,
    PreparedImage,
    Tokens,
    decode,
    device_of,
    encode,
    encode_texts,
    encode_together,
    prepare,
)
from risctl.language.tokens import words_of
from risctl.metrics.protocols import get_protocol
from risctl.results import Detection, Prediction
from risctl.systems.base import Output, System
from risctl.systems.protocols import BoxGrounder, as_detector
from risctl.vision.image_inputs import ImageInput, read_input


class Predictor:
    """Predicts the masks of phrases in images.

    Attributes:
        system: The model, in evaluation mode on its device.
        threshold: A pixel belongs to the mask if its probability is above it.
        path: The checkpoint file.

    Example:
        >>> predictor = risctl.Predictor.load("mini", device="cpu")
        >>> cup, plate = predictor.predict("table.jpg", ["the red cup", "the plate behind it"])
        >>> cup.mask.shape
        (480, 640)
        >>> [chair] = predictor.predict_texts("the left chair")  # the same image, not encoded again
    """

    def __init__(
        self, loaded: LoadedModel, *, threshold: float | None = None, no_target_threshold: float | None = None
    ) -> None:
        """Takes a checkpoint that was opened.

        Args:
            loaded: What `load_checkpoint` returned.
            threshold: In [0, 1): a pixel belongs to the mask if its probability is above it. None takes
                that of its recipe's protocol, if the protocol fixes one, else `eval.threshold` of the recipe, else 0.5.
            no_target_threshold: In [0, 1]: a phrase whose score is below it gets an empty mask and
                `Prediction.matched` is False; 0 gives every phrase a mask. None takes the model's own.

        Raises:
            UsageError: A threshold is out of range.
        """
        if no_target_threshold is not None and not 0 <= no_target_threshold <= 1:
            raise UsageError(f"expected a no-target threshold between 0 and 1, got {no_target_threshold:g}")
        settings = loaded.recipe.eval
        self._protocol = get_protocol(settings.protocol).at_threshold(given=threshold, recipe=settings.threshold)
        self.threshold: float = self._protocol.threshold
        self.system: System = loaded.system
        if no_target_threshold is not None:
            self.system.no_target_threshold = no_target_threshold
        self.path: Path = loaded.path
        self._loaded = loaded
        self._image: EncodedImage | None = None
        self._pixels: np.ndarray | None = None

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        device: str = "auto",
        threshold: float | None = None,
        no_target_threshold: float | None = None,
    ) -> Predictor:
        """Opens a model by name.

        Args:
            model: A run folder (its `best` checkpoint, else its `last`), a checkpoint file, or `mini`, the model that
                the package comes with, which None stands for as well.
            device: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda` or `mps`.
            threshold: See `Predictor`.
            no_target_threshold: See `Predictor`.

        Returns:
            The predictor, in evaluation mode.

        Raises:
            CheckpointError: There is no usable checkpoint.
            MachineError: The device is absent.
            UsageError: A threshold is out of range.
        """
        loaded = load_checkpoint(model, pick_device(device))
        return cls(loaded, threshold=threshold, no_target_threshold=no_target_threshold)

    @property
    def no_target_threshold(self) -> float:
        """The score from which a phrase is answered with a mask; 0: every phrase is."""
        return self.system.no_target_threshold

    @property
    def device(self) -> torch.device:
        """The device that the model computes on."""
        return device_of(self.system)

    @overload
    def predict(self, image: ImageInput, texts: str | Sequence[str]) -> list[Prediction]: ...
    @overload
    def predict(self, image: list[Any], texts: str | Sequence[str]) -> list[list[Prediction]]: ...
    def predict(
        self, image: ImageInput | list[Any], texts: str | Sequence[str]
    ) -> list[Prediction] | list[list[Prediction]]:
        """Predicts one mask per phrase; each image is encoded once.

        Args:
            image: An image in any form that `risctl.vision.image_inputs.read_input` takes, or a list of images. Masks
                are of the image as a viewer shows it (EXIF orientation applied). The last one stays set for
                `predict_texts`.
            texts: One phrase or several.

        Returns:
            One prediction per phrase, in their order; for a list of images, one such list per image.

        Raises:
            DataError: An image cannot be read.
            UsageError: There is no phrase, a phrase has no word, or `image` is of another type.
        """
        tokens = self._tokens(texts)
        if isinstance(image, (list, tuple)):
            return [self._predict(one, tokens) for one in image]
        return self._predict(image, tokens)

    def _predict(self, image: ImageInput, tokens: Sequence[tuple[str, Tokens]]) -> list[Prediction]:
        self.set_image(image)
        return list(self._decoded(*self._current(), tokens))

    @torch.inference_mode()
    def set_image(self, image: ImageInput) -> None:
        """Reads and encodes an image for `predict_texts` and `detect`.

        Args:
            image: In any form that `predict` takes.

        Raises:
            DataError: It cannot be read. The image that was set before then stays.
            UsageError: It is of a type that is not known.
        """
        pixels = read_input(image)
        encoded = encode(self.system, prepare(self.system.preprocess, pixels))
        self._image, self._pixels = encoded, pixels

    @property
    def forks(self) -> bool:
        """Whether it may compute in processes that are forked from this one: on a CPU alone."""
        return self.device.type == "cpu"

    def prepare_image(self, pixels: np.ndarray) -> PreparedImage:
        """Makes an image ready to be encoded; may be called from any thread.

        Args:
            pixels: RGB, uint8 (H, W, 3).

        Returns:
            The image as the network takes it.
        """
        return prepare(self.system.preprocess, pixels)

    @torch.inference_mode()
    def encode_images(self, images: Sequence[PreparedImage]) -> list[EncodedImage]:
        """Encodes images together, for `set_encoded`.

        Args:
            images: What `prepare_image` returned, of one size or several.

        Returns:
            One encoded image per image, in their order.
        """
        return encode_together(self.system, images)

    def set_encoded(self, encoded: EncodedImage, pixels: np.ndarray) -> None:
        """Sets an image as `set_image` does, without encoding it again.

        Args:
            encoded: What `encode_images` returned for it.
            pixels: What it was made of, RGB uint8 (H, W, 3).
        """
        self._image, self._pixels = encoded, pixels

    def reset_image(self) -> None:
        """Lets go of the image that is set, and of its memory."""
        self._image = self._pixels = None

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
        tokens = self._tokens(texts)
        return self._decoded(*self._current(), tokens)

    @torch.inference_mode()
    def detect(self, names: Sequence[str], *, min_score: float = 0.3) -> list[Detection]:
        """Detects the instances of categories in the image that is set.

        Args:
            names: The categories.
            min_score: Only instances that score above it are returned; 0.05 gives all that COCO's AP counts.

        Returns:
            The instances, the highest score first.

        Raises:
            UsageError: No image is set, the model only takes phrases, or it does not know a category.
        """
        image, _ = self._current()
        return as_detector(self.system).detect(image.features, [names], geometry=image.geometry, min_score=min_score)

    def unknown_words(self, text: str) -> list[str]:
        """Returns the words of `text` that the model has not seen in training, each once, in order."""
        return self._loaded.vocabulary.unknown(text)

    def warnings(self, text: str) -> list[str]:
        """Returns what to know about how `text` is read: unknown words, and words beyond the model's limit."""
        warnings = []
        unknown, words = self.unknown_words(text), words_of(text)
        if unknown:
            warnings.append(f"not among the words of its training: {', '.join(map(repr, unknown))}")
        _, mask = self.system.preprocess.text(text)
        ids_per_word = self.system.grounding_spec.ids_per_word if isinstance(self.system, BoxGrounder) else 1
        read = int(mask.sum()) // ids_per_word
        if read < len(words) and bool(mask.all()):
            warnings.append(f"only the first {read} of {len(words)} words are read")
        return warnings

    def describe(self) -> str:
        """Returns one line: the model, its size, its checkpoint, its device and its threshold."""
        count = sum(parameter.numel() for parameter in self.system.parameters())
        step = self._loaded.header.get("step")
        parts = [
            f"{self._loaded.recipe.name} ({self._loaded.recipe.model.system})",
            f"{count / 1e6:.1f} M parameters",
            f"{self.path}" + (f" at step {step}" if step is not None else ""),
            device_name(self.device),
            f"mask where {self._protocol.threshold_text()}",
        ]
        return ", ".join(parts)

    def _tokens(self, texts: str | Sequence[str]) -> list[tuple[str, Tokens]]:
        """Returns every phrase with its tokens; all are checked before anything is computed."""
        phrases = [texts] if isinstance(texts, str) else list(texts)
        if not phrases:
            raise UsageError("expected at least one phrase, got none; say what to look for")
        for text in phrases:
            if not isinstance(text, str):
                raise UsageError(f"expected a phrase as a string, got {text!r}")
        return [(text, self.system.preprocess.text(text)) for text in phrases]

    def _current(self) -> tuple[EncodedImage, np.ndarray]:
        if self._image is None or self._pixels is None:
            raise UsageError("no image is set: call set_image(image) or predict(image, texts) first")
        return self._image, self._pixels

    def _decoded(
        self, image: EncodedImage, pixels: np.ndarray, tokens: Sequence[tuple[str, Tokens]]
    ) -> Iterator[Prediction]:
        size = self._loaded.recipe.eval.text_batch
        for start in range(0, len(tokens), size):
            texts, batch = zip(*tokens[start : start + size], strict=True)
            # Not around the whole loop: a generator must not leave the mode on between two predictions.
            with torch.inference_mode():
                output = decode(self.system, image, encode_texts(self.system, batch))
            for row, text in enumerate(texts):
                # One at a time: probabilities are of the image's size, which may be a hundred times the output's.
                [prediction] = self.system.predict(
                    _row(output, row), geometries=[image.geometry], texts=[text], threshold=self.threshold
                )
                yield replace(prediction, image=pixels)


def _row(output: Output, row: int) -> Output:
    """Returns one row of `output`, without what only a loss needs."""
    return Output(
        logits=output.logits[row : row + 1],
        scores=None if output.scores is None else output.scores[row : row + 1],
        boxes=None if output.boxes is None else output.boxes[row : row + 1],
        maps={name: values[row : row + 1] for name, values in output.maps.items()},
    )
