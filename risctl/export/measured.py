"""Measures what a graph of less precision loses: the figures of both on the same samples of a store."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.data.batch import Batch
from risctl.data.store.reader import Store
from risctl.evaluation.image_evaluator import evaluate
from risctl.export.calibration import Chosen, examples
from risctl.export.formats import Run
from risctl.export.trace import Example
from risctl.metrics.breakdowns import headline
from risctl.metrics.protocols import Protocol
from risctl.results import Prediction
from risctl.systems.base import Output, System

_TIMED = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class _GraphFeatures(VisualFeatures):
    """What the first graph gave of some images, and which of them each expression is about.

    Attributes:
        image_of: (N,).
    """

    image_of: Tensor

    def select(self, index: Tensor) -> _GraphFeatures:
        return replace(self, image_of=self.image_of[index])


class GraphSystem(System):
    """A system that computes with its exported graphs, and does all else as it does: inputs, masks, "no match"."""

    def __init__(self, system: System, encode: Run, answer: Run) -> None:
        """Takes the system and what runs its graphs."""
        super().__init__()
        self.system = system
        self.preprocess = system.preprocess
        self.no_target_threshold = system.no_target_threshold
        self.compares_at_input = system.compares_at_input
        self._encode, self._answer = encode, answer

    def encode_image(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W) with padding (B, H, W)."""
        maps = tuple(self._encode([images, padding]))
        return _GraphFeatures(maps=maps, strides=(), padding=padding, image_of=torch.arange(len(images)))

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Returns the token ids (B, L) as they are: the second graph reads them."""
        return TextFeatures(words=words, mask=word_mask, sentence=words)

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Answers N expressions."""
        assert isinstance(visual, _GraphFeatures)
        inputs = [*visual.maps, visual.padding, visual.image_of, text.words, text.mask]
        logits, *scores = self._answer(inputs)
        return Output(logits=logits, scores=scores[0] if scores else None)

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Raises `NotImplementedError`: graphs do not learn."""
        raise NotImplementedError

    def predict(self, output: Output, **given: Any) -> list[Prediction]:
        """Returns the predictions as the system does."""
        return self.system.predict(output, **given)


def measure(
    full: GraphSystem, less: GraphSystem, store: Store, chosen: Chosen, *, protocol: Protocol
) -> dict[str, Any]:
    """Returns the figures of two exports of one model on the same samples, as JSON values.

    Args:
        full: The model's graphs in fp32.
        less: Its graphs of less precision.
        store: The store.
        chosen: The samples.
        protocol: The protocol of the figures, which are in percent.
    """
    figures: list[Mapping[str, float]] = []
    samples = 0
    for one in (full, less):
        report = evaluate(
            one,
            store,
            split=chosen.measured_split,
            sentences=chosen.measured_rows,
            protocols=protocol,
            text_batch=1,
            resamples=0,
        )
        [result] = report.results.values()
        figures.append(result.figures)
        samples = len(result.rows)
    mean = headline(protocol)
    before, after = (one.get(mean, math.nan) for one in figures)
    images = len({store.sentence(row).image for row in chosen.measured_rows})
    return {
        "store": store.name,
        "fingerprint": store.fingerprint,
        "calibrated_on": {"split": chosen.split, "samples": len(chosen.rows)},
        "measured_on": {"split": chosen.measured_split, "samples": samples, "images": images},
        "protocol": protocol.describe(),
        "figure": mean,
        "fp32": {name: _number(value) for name, value in figures[0].items()},
        "int8": {name: _number(value) for name, value in figures[1].items()},
        "loss": _number(before - after),
        "time_ratio": time_ratio(full, less, examples(full, store, chosen.rows[:_TIMED])),
    }


def time_ratio(full: GraphSystem, less: GraphSystem, given: Iterable[Example]) -> float:
    """Returns the median time of an image with one expression in the second one, over that in the first.

    They take turns, so that whatever else the machine does slows both.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for example in given:
        for place, one in enumerate((full, less)):
            began = time.perf_counter()
            visual = one.encode_image(example.images, example.padding)
            one.decode(visual.select(example.image_of), one.encode_text(example.words, example.word_mask))
            seconds[place].append(time.perf_counter() - began)
    return statistics.median(seconds[1]) / statistics.median(seconds[0])


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
