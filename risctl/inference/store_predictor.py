"""Predicts the expressions of a store with any model: what evaluators and contact sheets ask, whatever its family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch

from risctl.data.store.reader import Store, TextField
from risctl.errors import UnreadableImageError, UsageError
from risctl.inference.batch_size import BatchSize
from risctl.inference.batched_inference import (
    BatchedPredictor,
    UnreadableImages,
    prepared_images,
    sentences_by_image,
)
from risctl.inference.encoded_image import PreparedImage, device_of, encode_together, evaluation_mode
from risctl.results import Prediction
from risctl.systems.base import System
from risctl.systems.protocols import window_of

CUT = "sentences longer than the model reads, whose ends were cut"
"""The warning of sentences that are answered all the same; those of the others count as an empty mask."""


class PhrasePredictor(Protocol):
    """Predicts the masks of phrases in the image that was set last; `Predictor` does, and models of other families do.

    Attributes:
        threshold: A pixel belongs to the mask if its probability is above it.
        no_target_threshold: The score from which a phrase is answered with a mask.
    """

    threshold: float

    @property
    def path(self) -> object:
        """What records call the model."""

    @property
    def no_target_threshold(self) -> float:
        """The score from which a phrase is answered with a mask."""

    def set_image(self, image: Any) -> None:
        """Reads and encodes an image."""

    @property
    def forks(self) -> bool:
        """Whether it may compute in processes that are forked from this one."""

    def prepare_image(self, pixels: np.ndarray) -> Any:
        """Makes an RGB image, uint8 (H, W, 3), ready to be encoded; from any thread."""

    def encode_images(self, images: Sequence[Any]) -> list[Any]:
        """Encodes images that `prepare_image` gave, in their order."""

    def set_encoded(self, encoded: Any, pixels: np.ndarray) -> None:
        """Sets an image that `encode_images` gave, as `set_image` does."""

    def reset_image(self) -> None:
        """Lets go of the image that is set."""

    def iter_predictions(self, texts: str | Sequence[str]) -> Iterator[Prediction]:
        """Yields one prediction per phrase."""

    def warnings(self, text: str) -> list[str]:
        """Returns what to know about how `text` is read. Raises `UsageError` if it cannot be."""

    def describe(self) -> str:
        """Returns one line on the model."""


class StorePredictor(Protocol):
    """Predicts the expressions of a store's images.

    Attributes:
        warnings: Counts what got an empty mask for want of an answer.
    """

    warnings: Counter[str]

    @property
    def forks(self) -> bool:
        """Whether it may compute in processes that are forked from this one."""

    def running(self) -> AbstractContextManager[None]:
        """Returns a context within which `predict` is called."""

    def images(
        self, store: Store, rows: Sequence[int], *, workers: int, unreadable: UnreadableImages | None
    ) -> Iterator[Any]:
        """Yields the images of `rows`, each with its `row`; see `prepared_images`."""

    def predict(self, image: Any, texts: Sequence[str]) -> list[Prediction]:
        """Predicts one mask per expression in an image that `images` yielded."""


class SystemOnStore:
    """One of risctl's systems."""

    def __init__(self, system: System, *, text_batch: int, threshold: float, image_batch: int | str = 1) -> None:
        """Predicts with a system.

        Args:
            system: The system.
            text_batch: Expressions that are decoded together.
            threshold: Pixels above it make up the mask.
            image_batch: Images that are encoded together, or `auto`; see `BatchSize`.
        """
        self._system = system
        self._image_batch = image_batch
        self._predictor = BatchedPredictor(system, text_batch=text_batch, threshold=threshold)
        self.warnings = self._predictor.warnings

    def running(self) -> AbstractContextManager[None]:
        """Returns a context in which the system is in evaluation mode."""
        return evaluation_mode(self._system)

    def images(
        self, store: Store, rows: Sequence[int], *, workers: int, unreadable: UnreadableImages | None
    ) -> Iterator[Any]:
        """Yields the images of `rows`, prepared by `workers` processes."""
        images = prepared_images(
            store,
            rows,
            self._system.preprocess,
            workers=workers,
            window=window_of(self._system),
            unreadable=unreadable,
        )
        return images if self._image_batch == 1 else self._encoded(images)

    def _encoded(self, images: Iterator[PreparedImage]) -> Iterator[PreparedImage]:
        """Yields images, encoded in batches."""
        size = BatchSize(self._image_batch)
        while some := list(islice(images, size.current)):
            with torch.no_grad():
                encoded = encode_together(self._system, some)
            size.observe(len(some))
            yield from (replace(image, encoded=one) for image, one in zip(some, encoded, strict=True))

    @property
    def forks(self) -> bool:
        """Whether it may compute in processes that are forked from this one: on a CPU alone."""
        return device_of(self._system).type == "cpu"

    def predict(self, image: Any, texts: Sequence[str]) -> list[Prediction]:
        """Predicts one mask per expression."""
        return self._predictor.predict(image, texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image of a store.

    Attributes:
        row: Its row.
        pixels: RGB, uint8 (H, W, 3).
    """

    row: int
    pixels: np.ndarray


class PredictorOnStore:
    """A model that takes images as they are, such as those of transformers, which prepare them themselves.

    Attributes:
        predictor: The model.
    """

    def __init__(self, predictor: PhrasePredictor) -> None:
        """Predicts with `predictor`."""
        self.warnings: Counter[str] = Counter()
        self.predictor = predictor

    @property
    def forks(self) -> bool:
        """Whether it may compute in processes that are forked from this one."""
        return self.predictor.forks

    def running(self) -> AbstractContextManager[None]:
        """Returns an empty context: the model is in evaluation mode."""
        return nullcontext()

    def images(
        self, store: Store, rows: Sequence[int], *, workers: int, unreadable: UnreadableImages | None
    ) -> Iterator[StoredImage]:
        """Yields the images of `rows`; decoding takes little beside such models, so that `workers` are not used."""
        for row in rows:
            try:
                pixels = store.pixels(row)
            except UnreadableImageError as error:
                if unreadable is None:
                    raise
                unreadable(error)
                continue
            yield StoredImage(row=row, pixels=pixels)

    def predict(self, image: StoredImage, texts: Sequence[str]) -> list[Prediction]:
        """Predicts one mask per expression; one without a word, or that is not finite, gets an empty mask."""
        read = [text for text in texts if self._is_read(text)]
        found: dict[str, Prediction] = {}
        if read:
            self.predictor.set_image(image.pixels)
            for prediction in self.predictor.iter_predictions(list(dict.fromkeys(read))):
                if np.isfinite(prediction.probability).all():
                    found[prediction.text] = prediction
                else:
                    self.warnings["predictions that are not finite"] += 1
            self.predictor.reset_image()
        return [found[text] if text in found else self._empty(text, image) for text in texts]

    def _is_read(self, text: str) -> bool:
        try:
            cut = self.predictor.warnings(text)
        except UsageError:
            self.warnings["sentences without a word"] += 1
            return False
        if cut:
            self.warnings[CUT] += 1
        return True

    def _empty(self, text: str, image: StoredImage) -> Prediction:
        empty = np.zeros(image.pixels.shape[:2], dtype=np.float32)
        return Prediction(text=text, probability=empty, threshold=self.predictor.threshold, score=0.0, box=None)


def on_store(
    model: System | StorePredictor, *, text_batch: int, threshold: float, image_batch: int | str = 1
) -> StorePredictor:
    """Returns what predicts on a store: a system is wrapped, anything else does so itself."""
    if isinstance(model, System):
        return SystemOnStore(model, text_batch=text_batch, threshold=threshold, image_batch=image_batch)
    return model


def predicted_masks(
    model: System | StorePredictor,
    store: Store,
    sentences: Sequence[int],
    *,
    text_field: TextField,
    threshold: float,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (row, bool mask (H, W)) for the sentences of these rows, image by image."""
    predictor = on_store(model, text_batch=8, threshold=threshold)
    by_image = sentences_by_image(store, sentences)
    with predictor.running():
        for image in predictor.images(store, list(by_image), workers=0, unreadable=None):
            rows = by_image[image.row]
            texts = [store.sentence(row).text(text_field) for row in rows]
            for row, prediction in zip(rows, predictor.predict(image, texts), strict=True):
                yield row, prediction.probability > threshold
