"""Chooses samples of a store that a model's activations are observed on, and others that the loss is measured on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from risctl.data.batch import Item, collate
from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError, unknown_name
from risctl.export.trace import Example
from risctl.systems.base import System

MOST_SAMPLES = 1024
"""Samples that are calibrated on at most: more change ranges little and take long."""

MOST_MEASURED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a model is calibrated and measured on.

    Attributes:
        store: The store.
        split: The split to calibrate on; None: train if the store has it, else val.
        samples: How many sentences, of different images as far as there are so many.
        measured: How many sentences the loss is measured on, of images that were not used to calibrate.
    """

    store: Path
    split: str | None = None
    samples: int = 64
    measured: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Sentences of a store.

    Attributes:
        split: The split that is calibrated on.
        rows: Its sentences to calibrate on, by their rows.
        measured_split: The split that is measured on.
        measured_rows: Its sentences to measure on, by their rows.
    """

    split: str
    rows: tuple[int, ...]
    measured_split: str
    measured_rows: tuple[int, ...]


def choose(store: Store, calibration: Calibration) -> Chosen:
    """Chooses sentences at random, the same every time.

    The loss is measured on val, or on the split that is calibrated on if there is no val; never on an image that was
    used to calibrate. Splits of tests are refused: what a model is made with must not be what it is judged by.

    Raises:
        UsageError: The split is unknown or of tests, a count is out of bounds, or the store holds videos.
        DataError: There are too few images.
    """
    for name, count, most in (
        ("samples to calibrate on", calibration.samples, MOST_SAMPLES),
        ("samples to measure on", calibration.measured, MOST_MEASURED),
    ):
        if not 1 <= count <= most:
            raise UsageError(f"expected 1 to {most:,} {name}, got {count:,}")
    if is_video_store(store):
        raise UsageError(f"{store.path} holds videos; int8 is calibrated on a store of images")
    split = calibration.split or next((name for name in ("train", "val") if name in store.splits), None)
    if split is None:
        raise UsageError(
            f"{store.path} has neither train nor val; give --calibration-split, one of {', '.join(store.splits)}"
        )
    if split not in store.splits:
        raise UsageError(unknown_name("split", split, store.splits))
    if split.lower().startswith("test"):
        raise UsageError(f"{split} is a split of tests, which nothing is calibrated on; take train or val")
    rows, images = _of_different_images(store, split, calibration.samples)
    measured_split = "val" if "val" in store.splits else split
    others = [row for row in _shuffled(store.sentences(measured_split)) if store.sentence(row).image not in images]
    if not rows or not others:
        raise DataError(
            f"{store.path} has too few images in {split} and {measured_split} to calibrate on some and to measure on "
            "others; take fewer samples, or a larger store"
        )
    return Chosen(
        split=split,
        rows=tuple(rows),
        measured_split=measured_split,
        measured_rows=tuple(sorted(others[: calibration.measured])),
    )


def examples(system: System, store: Store, rows: tuple[int, ...]) -> Iterator[Example]:
    """Yields the inputs of one image and one sentence for each of `rows`.

    Raises:
        DataError: An image is damaged.
    """
    for row in rows:
        sample = store.sample(row)
        try:
            words, mask = system.preprocess.text(sample.text)
        except UsageError:  # a sentence without a word is no example of anything
            continue
        image, geometry = system.preprocess.image(sample.image)
        item = Item(image=image, words=words, word_mask=mask, target=None, geometry=geometry, text=sample.text)
        batch = collate([item]).to("cpu")
        yield Example(
            images=batch.images,
            padding=batch.padding,
            image_of=torch.zeros(1, dtype=torch.int64),
            words=batch.words,
            word_mask=batch.word_mask,
        )


def _of_different_images(store: Store, split: str, count: int) -> tuple[list[int], set[int]]:
    """Returns sentences of different images, and these images; at most half the images where all are of one split."""
    available = len(store.images(split))
    most = count if split != "val" and "val" in store.splits else min(count, available // 2)
    rows: list[int] = []
    images: set[int] = set()
    for row in _shuffled(store.sentences(split)):
        if len(rows) == most:
            break
        image = store.sentence(row).image
        if image not in images:
            rows.append(row)
            images.add(image)
    return rows, images


def _shuffled(rows: np.ndarray) -> list[int]:
    return [int(row) for row in np.random.default_rng(0).permutation(rows)]
