"""Predicts the expressions of a store: each image is encoded once, its expressions are decoded in batches."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from risctl.data.batch import Preprocess
from risctl.data.loading.frame_sampling import frames_of_window
from risctl.data.loading.loader import batches
from risctl.data.store.reader import Store
from risctl.data.store.windows import FrameWindows
from risctl.errors import RisctlError, UnreadableImageError, UsageError
from risctl.inference.encoded_image import (
    PreparedImage,
    Tokens,
    decode,
    encode,
    encode_texts,
    prepare,
)
from risctl.results import Detection, Prediction
from risctl.systems.base import System
from risctl.systems.protocols import as_detector

UnreadableImages = Callable[[UnreadableImageError], None]
"""Called with the error of an image that cannot be read, and is left out."""


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """Stands for an image that cannot be read."""

    error: UnreadableImageError


_Loaded = PreparedImage | RisctlError | _LeftOut


class _StoredImages(Dataset[_Loaded]):
    """Images of a store, prepared. An error is returned in place of its image: a loader's worker would bury it."""

    def __init__(
        self, store: Store, rows: Sequence[int], preprocess: Preprocess, *, window: int, leaves_out: bool
    ) -> None:
        self._store, self._rows, self._preprocess, self._window = store, rows, preprocess, window
        self._windows = FrameWindows(store)
        self._leaves_out = leaves_out

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> _Loaded:
        row = self._rows[index]
        try:
            if self._window > 1:
                return self._with_frames_around(row)
            return prepare(self._preprocess, self._store.pixels(row), row=row)
        except UnreadableImageError as error:
            return _LeftOut(error) if self._leaves_out else error
        except RisctlError as error:
            return error

    def _with_frames_around(self, row: int) -> PreparedImage:
        number, rows = self._windows.around(row)
        numbers = frames_of_window(tuple(rows), centre=number, length=self._window)
        frames = {one: self._preprocess.image(self._store.pixels(rows[one])) for one in set(numbers)}
        return PreparedImage(
            tensor=torch.stack([frames[one][0] for one in numbers]),
            geometry=frames[number][1],
            row=row,
            frame=numbers.index(number),
        )


def prepared_images(
    store: Store,
    rows: Sequence[int],
    preprocess: Preprocess,
    *,
    workers: int,
    window: int = 1,
    unreadable: UnreadableImages | None = None,
) -> Iterator[PreparedImage]:
    """Yields the images of `rows`, prepared by `workers` processes (0: in this one).

    Args:
        store: The store.
        rows: Rows of images.
        preprocess: The system's preprocess.
        workers: Processes that decode images; 0 for none.
        window: Frames that each image is prepared with, those around it (see `FrameWindows`); 1: the image alone.
        unreadable: Called with the error of each image that cannot be read, which is then left out; None: the first is
            raised.

    Raises:
        DataError: An image is damaged, or the store keeps no frames around it.
    """
    loader: DataLoader[_Loaded] = DataLoader(
        _StoredImages(store, rows, preprocess, window=window, leaves_out=unreadable is not None),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_ignore_interrupts,
        # The loader draws a seed for its workers: not from torch's global state, which a training run continues from.
        generator=torch.Generator().manual_seed(0),
    )
    images: Iterator[PreparedImage | _LeftOut] = batches(loader)
    for loaded in images:
        if not isinstance(loaded, _LeftOut):
            yield loaded
        elif unreadable is not None:
            unreadable(loaded.error)


class BatchedPredictor:
    """Predicts many expressions per image, `text_batch` at a time, the image encoded once.

    Attributes:
        warnings: Counts what got an empty mask for want of an answer: expressions without a word, predictions that are
            not finite.
    """

    def __init__(self, system: System, *, text_batch: int, threshold: float) -> None:
        self.warnings: Counter[str] = Counter()
        self._system = system
        self._text_batch = text_batch
        self._threshold = threshold

    @torch.no_grad()
    def predict(self, image: PreparedImage, texts: Sequence[str]) -> list[Prediction]:
        """Predicts one mask per expression, in the order of `texts`."""
        tokens = [self._tokens(text) for text in texts]
        known = [(position, one) for position, one in enumerate(tokens) if one is not None]
        predictions: dict[int, Prediction] = {}
        if known:
            encoded = encode(self._system, image)
            for start in range(0, len(known), self._text_batch):
                positions, some = zip(*known[start : start + self._text_batch], strict=True)
                output = decode(self._system, encoded, encode_texts(self._system, some))
                decoded = self._system.predict(
                    output,
                    geometries=[image.geometry] * len(positions),
                    texts=[texts[position] for position in positions],
                    threshold=self._threshold,
                )
                predictions.update(zip(positions, decoded, strict=True))
        return [self._checked(predictions.get(position), image, text) for position, text in enumerate(texts)]

    def _tokens(self, text: str) -> Tokens | None:
        try:
            return self._system.preprocess.text(text)
        except UsageError:
            self.warnings["sentences without a word"] += 1
            return None

    def _checked(self, prediction: Prediction | None, image: PreparedImage, text: str) -> Prediction:
        if prediction is not None:
            if np.isfinite(prediction.probability).all():
                return prediction
            self.warnings["predictions that are not finite"] += 1
        empty = np.zeros((image.geometry.height, image.geometry.width), dtype=np.float32)
        return Prediction(text=text, probability=empty, threshold=self._threshold, score=0.0, box=None)


@torch.inference_mode()
def detections_in_store(
    system: System, store: Store, rows: Sequence[int], groups: Sequence[Sequence[str]], *, min_score: float
) -> dict[int, list[Detection]]:
    """Returns the detections of the categories `groups` (see `Detector.detect`) in the images of `rows`, by row.

    Raises:
        UsageError: The system detects nothing by category, or does not know a name.
        DataError: An image is damaged.
    """
    detector = as_detector(system)
    detections = {}
    for image in prepared_images(store, rows, system.preprocess, workers=0):
        features = encode(system, image).features
        detections[image.row] = detector.detect(features, groups, geometry=image.geometry, min_score=min_score)
    return detections


def sentences_by_image(store: Store, sentences: Sequence[int]) -> dict[int, list[int]]:
    """Returns the rows of sentences by the row of their image, both ascending."""
    by_image: dict[int, list[int]] = {}
    for row in sorted(sentences):
        by_image.setdefault(store.sentence(row).image, []).append(row)
    return dict(sorted(by_image.items()))


def _ignore_interrupts(_: int) -> None:
    # Ctrl-C reaches the whole process group; the evaluating process ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
