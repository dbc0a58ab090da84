"""Asking a system about the pictures of a store: each picture encoded once for all its sentences."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from risctl.core.encoders.base import VisualFeatures
from risctl.data.batch import Preprocess
from risctl.data.store.reader import Store, TextField
from risctl.errors import RisctlError, UsageError
from risctl.results import Prediction
from risctl.systems.base import System
from risctl.vision.geometry import Geometry


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture ready for a system: its row in the store, its input (3, H, W), how that lies over the picture."""

    row: int
    image: Tensor
    geometry: Geometry


class _Stored(Dataset["Shown | RisctlError"]):
    """Images of a store, preprocessed. An error is returned in place of its image: a loader's worker would bury it."""

    def __init__(self, store: Store, rows: Sequence[int], preprocess: Preprocess) -> None:
        self._store, self._rows, self._preprocess = store, rows, preprocess

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Shown | RisctlError:
        row = self._rows[index]
        try:
            image, geometry = self._preprocess.image(self._store.pixels(row))
        except RisctlError as error:
            return error
        return Shown(row, image, geometry)


def pictures(store: Store, rows: Sequence[int], preprocess: Preprocess, *, workers: int) -> Iterator[Shown]:
    """Yield the pictures of `rows`, prepared by so many `workers` (0: here). Raises `DataError` for a damaged one."""
    loader: DataLoader[Shown | RisctlError] = DataLoader(
        _Stored(store, rows, preprocess),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_ignore_interrupts,
        # The loader draws a seed for its workers: not from torch's global state, which a training run continues from.
        generator=torch.Generator().manual_seed(0),
    )
    for picture in loader:
        if isinstance(picture, RisctlError):
            raise picture
        yield picture


class BatchedPredictor:
    """Asks texts of a picture, some at a time, the picture encoded once. `oddities` counts what could not be asked."""

    def __init__(self, system: System, *, device: torch.device | str, text_batch: int, threshold: float) -> None:
        self.oddities: Counter[str] = Counter()
        self._system = system
        self._device = torch.device(device)
        self._text_batch = text_batch
        self._threshold = threshold

    @torch.no_grad()
    def ask(self, picture: Shown, texts: Sequence[str]) -> list[Prediction]:
        """Return the prediction of each text, in order."""
        words = [self._words(text) for text in texts]
        known = [position for position, one in enumerate(words) if one is not None]
        found: dict[int, Prediction] = {}
        if known:
            padding = picture.geometry.padding()[None].to(self._device)
            visual = self._system.encode_image(picture.image[None].to(self._device), padding)
            for start in range(0, len(known), self._text_batch):
                some = known[start : start + self._text_batch]
                encoded = [one for one in (words[position] for position in some) if one is not None]
                asked = [texts[position] for position in some]
                found.update(zip(some, self._decode(visual, picture.geometry, encoded, asked), strict=True))
        return [self._checked(found.get(position), picture, text) for position, text in enumerate(texts)]

    def _decode(
        self, visual: VisualFeatures, geometry: Geometry, encoded: Sequence[tuple[Tensor, Tensor]], texts: Sequence[str]
    ) -> list[Prediction]:
        ids, masks = (_stacked(column).to(self._device) for column in zip(*encoded, strict=True))
        same = torch.zeros(len(texts), dtype=torch.int64, device=self._device)
        output = self._system.decode(visual.select(same), self._system.encode_text(ids, masks))
        return self._system.predict(output, geometries=[geometry] * len(texts), texts=texts, threshold=self._threshold)

    def _words(self, text: str) -> tuple[Tensor, Tensor] | None:
        try:
            return self._system.preprocess.text(text)
        except UsageError:
            self.oddities["sentences without a word"] += 1
            return None

    def _checked(self, prediction: Prediction | None, picture: Shown, text: str) -> Prediction:
        if prediction is not None:
            if np.isfinite(prediction.probability).all():
                return prediction
            self.oddities["predictions that are not finite"] += 1
        nothing = np.zeros((picture.geometry.height, picture.geometry.width), dtype=np.float32)
        return Prediction(text=text, probability=nothing, threshold=self._threshold, score=0.0, box=None)


@contextmanager
def evaluating(system: System) -> Iterator[None]:
    """Put `system` in evaluation mode within the block, then back in the mode it came in."""
    was_training = system.training
    system.eval()
    try:
        yield
    finally:
        system.train(was_training)


def masks_of(
    system: System,
    store: Store,
    sentences: Sequence[int],
    *,
    text_field: TextField,
    threshold: float,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (row, bool mask (H, W)) of what `system` finds for the sentences of these rows, ordered by picture."""
    asked: dict[int, list[int]] = {}
    for row in sorted(sentences):
        asked.setdefault(store.sentence(row).image, []).append(row)
    asker = BatchedPredictor(system, device=device, text_batch=8, threshold=threshold)
    with evaluating(system):
        for picture in pictures(store, sorted(asked), system.preprocess, workers=0):
            rows = asked[picture.row]
            texts = [store.sentence(row).text(text_field) for row in rows]
            for row, prediction in zip(rows, asker.ask(picture, texts), strict=True):
                yield row, prediction.probability > threshold


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    """Return rows (L_i,) as (N, L), the shorter ones filled up with zeros."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def _ignore_interrupts(_: int) -> None:
    # Ctrl-C reaches the whole process group; the evaluating process ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
