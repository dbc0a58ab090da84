"""Evaluation during training: the evaluator, on the recipe's validation split, under its protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError, unknown_name
from risctl.evaluation.image_evaluator import Progress, evaluate
from risctl.evaluation.video_evaluator import evaluate_videos
from risctl.metrics.protocols import get_protocol
from risctl.recipe.schema import Recipe
from risctl.systems.base import System


class Validation:
    """Measures a system between steps of its training.

    Raises `UsageError` for an unknown protocol or split, `DataError` if the split is empty, before any training.
    """

    def __init__(self, recipe: Recipe, store: Store, *, device: torch.device) -> None:
        self.recipe = recipe
        self.store = store
        self.device = device
        self.protocol = get_protocol(recipe.eval.protocol)
        self.count = len(store.sentences(recipe.data.val_split))
        if not self.count:
            raise DataError(f"the split {recipe.data.val_split!r} of {store.path} has no sentence to evaluate on")
        if recipe.train.eval_limit is not None:
            self.count = min(self.count, recipe.train.eval_limit)

    def figures(self, system: System, *, progress: Progress | None = None) -> dict[str, float]:
        """Return the figures of `system`, those that are finite, and leave it in training mode.

        With several processes all must call it: each measures a share. Raises `UsageError` if `train.best` names no
        figure of the protocol.
        """
        if is_video_store(self.store):
            return self._checked(self._videos(system, progress))
        report = evaluate(
            system,
            self.store,
            split=self.recipe.data.val_split,
            protocols=self.protocol,
            text_field=self.recipe.data.text_field,
            device=self.device,
            text_batch=self.recipe.eval.text_batch,
            threshold=self.recipe.eval.threshold,
            limit=self.recipe.train.eval_limit,
            workers=self.recipe.data.workers,
            progress=progress,
            resamples=0,
        )
        return self._checked(report.results[self.protocol.name].figures)

    def _videos(self, system: System, progress: Progress | None) -> dict[str, float]:
        report = evaluate_videos(
            system,
            self.store,
            split=self.recipe.data.val_split,
            text_field=self.recipe.data.text_field,
            threshold=self.recipe.eval.threshold or 0.5,
            limit=self.recipe.train.eval_limit,
            progress=progress,
        )
        return report.figures

    def _checked(self, figures: Mapping[str, float]) -> dict[str, float]:
        if self.recipe.train.best not in figures:
            raise UsageError(f"train.best: {unknown_name('figure', self.recipe.train.best, figures)}")
        return {name: float(value) for name, value in figures.items() if math.isfinite(value)}

    def describe(self) -> str:
        """Return what is measured, for a log line."""
        return f"{self.recipe.data.val_split}, {self.count} sentences, protocol {self.protocol.name}"
