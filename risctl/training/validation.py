"""Evaluates a system during its training, on the recipe's validation split and under its protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch

from risctl.data.splits import ALL, matches
from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError, unknown_name
from risctl.evaluation.expression_rows import video_protocol_of
from risctl.evaluation.image_evaluator import Progress, evaluate
from risctl.evaluation.video_evaluator import evaluate_videos
from risctl.inference.batched_inference import UnreadableImages
from risctl.metrics.protocols import VIDEOS, get_protocol
from risctl.recipe.schema import Recipe
from risctl.systems.base import System


def validation_of(recipe: Recipe, store: Store, *, device: torch.device) -> tuple[Validation | None, str | None]:
    """Returns what evaluates the training of `recipe`, or why nothing does.

    Nothing does with `train.eval_every=null`, and in a store of nothing but the split trained on, such as one made of
    a person's own few pictures.

    Returns:
        The validation, or None; and a line for the log, if there is something to say.

    Raises:
        UsageError: The protocol or split is unknown.
        DataError: The split is empty.
    """
    if recipe.train.eval_every is None:
        return None, None
    data = recipe.data
    if not any(matches(data.val_split, one) for one in store.splits):
        if all(matches(data.train_split, one) for one in store.splits):
            return None, (
                f"no evaluation: {store.path} has no split {data.val_split!r} and none but the one trained on, so "
                f"there will be no `best`; data.val_split={data.train_split} evaluates on what is trained on"
            )
        raise UsageError(
            f"data.val_split: {unknown_name('split', data.val_split, [*store.splits, ALL])}; or train without "
            "evaluation: train.eval_every=null"
        )
    return Validation(recipe, store, device=device), None


class Validation:
    """Evaluates a system between steps of its training.

    Raises:
        UsageError: The protocol or split is unknown.
        DataError: The split is empty.
    """

    def __init__(self, recipe: Recipe, store: Store, *, device: torch.device) -> None:
        self.recipe = recipe
        self.store = store
        self.device = device
        self.protocol = get_protocol(recipe.eval.protocol).at_threshold(given=None, recipe=recipe.eval.threshold)
        self.count = len(store.sentences(recipe.data.val_split))
        if recipe.train.eval_sentences == "first":
            self.protocol = replace(self.protocol, sentences="first")
            self.count = len(store.refs(recipe.data.val_split))
        if not self.count:
            raise DataError(f"the split {recipe.data.val_split!r} of {store.path} has no sentence to evaluate on")
        if recipe.train.eval_limit is not None:
            self.count = min(self.count, recipe.train.eval_limit)

    def figures(
        self, system: System, *, progress: Progress | None = None, unreadable: UnreadableImages | None = None
    ) -> dict[str, float]:
        """Evaluates `system` and leaves it in training mode.

        With several processes all must call it: each evaluates a share.

        Args:
            system: The system.
            progress: Called with the numbers of images that are done and that there are.
            unreadable: Called with the error of an image that cannot be read, which is then left out, of a video with
                its whole video; None: the first is raised.

        Returns:
            The finite metrics by name.

        Raises:
            UsageError: `train.best` or `train.early_stop.figure` names no metric of the protocol.
            DataError: An image cannot be read, or none can.
        """
        if is_video_store(self.store):
            return self._checked(self._videos(system, progress, unreadable))
        report = evaluate(
            system,
            self.store,
            split=self.recipe.data.val_split,
            protocols=self.protocol,
            text_field=self.recipe.eval_text_field,
            device=self.device,
            text_batch=self.recipe.eval.text_batch,
            limit=self.recipe.train.eval_limit,
            workers=self.recipe.data.workers,
            progress=progress,
            resamples=0,
            unreadable=unreadable,
        )
        return self._checked(report.results[self.protocol.name].figures)

    def _videos(
        self, system: System, progress: Progress | None, unreadable: UnreadableImages | None
    ) -> dict[str, float]:
        report = evaluate_videos(
            system,
            self.store,
            split=self.recipe.data.val_split,
            text_field=self.recipe.eval_text_field,
            threshold=VIDEOS.at_threshold(given=None, recipe=self.recipe.eval.threshold).threshold,
            protocol=video_protocol_of(self.store, None),
            limit=self.recipe.train.eval_limit,
            progress=progress,
            unreadable=unreadable,
        )
        return report.figures

    def _checked(self, figures: Mapping[str, float]) -> dict[str, float]:
        train = self.recipe.train
        stop = train.early_stop.figure if train.early_stop else None
        for key, figure in {"train.best": train.best, "train.early_stop.figure": stop or train.best}.items():
            if figure not in figures:
                raise UsageError(f"{key}: {unknown_name('figure', figure, figures)}")
        return {name: float(value) for name, value in figures.items() if math.isfinite(value)}

    def describe(self, *, left_out: int = 0) -> str:
        """Returns what is evaluated, for a line of the log; `left_out` images could not be read."""
        images = f"{left_out} image{'s' if left_out > 1 else ''}"
        less = f" less those of {images} that cannot be read" if left_out else ""
        return f"{self.recipe.data.val_split}, {self.count} sentences{less}, protocol {self.protocol.name}"
