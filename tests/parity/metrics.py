"""Parity of figures: masks, and what each public codebase says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import more_metrics
import numpy as np

from risctl.metrics.accumulator import Accumulator
from risctl.metrics.protocols import Protocol, get_protocol
from risctl.metrics.video import Task, measure_clip, video_figures

Row = tuple[str, float, float]

# Some codebases print fractions; figures here are percentages.
FRACTIONS = {"a2d", "phrasecut"}
FRACTIONS_OF_RELA = {"T_acc", "N_acc"}


def rows(case: dict[str, Any], arrays: Mapping[str, np.ndarray], folder: Path) -> Iterator[Row]:
    """Yield (output, largest absolute error, tolerance) for every figure of every protocol of `case`."""
    del folder
    if more_metrics.is_mine(case):
        for name, found, stated_figures, tolerance in more_metrics.runs(case, arrays):
            yield from _compare(name, found, stated_figures, tolerance)
        return
    masks = [_masks(case, arrays, number) for number in range(case["samples"])]
    for name, stated in case["protocols"].items():
        tolerance = stated["tolerance"]
        if name == "davis_frames":
            yield from _compare(name, _davis_frames(masks), stated["figures"], tolerance)
        elif name == "davis_clip":
            for task in get_args(Task):
                found = _davis_clip(arrays, task)
                yield from _compare(f"{name}.{task}", found, stated["figures"].get(task, {}), tolerance)
        elif name == "rela":
            for number, run in enumerate(stated["runs"]):
                yield from _compare(f"{name}.{number}", _rela(masks, run), run["figures"], tolerance)
        else:
            yield from _compare(name, _plain(name, masks, case["scores"]), stated["figures"], tolerance)


def _masks(case: dict[str, Any], arrays: Mapping[str, np.ndarray], number: int) -> tuple[np.ndarray, np.ndarray]:
    height, width = case["sizes"][number]

    def unpack(name: str) -> np.ndarray:
        bits = np.unpackbits(arrays[f"{name}_bits_{number}"], count=height * width)
        return bits.reshape(height, width).astype(bool)

    return unpack("pred"), unpack("gt")


def _protocol(name: str) -> Protocol:
    # The masks of these cases are compared as they are, also by protocols that resize.
    return replace(get_protocol(name), resolution="original")


def _plain(name: str, masks: list[tuple[np.ndarray, np.ndarray]], scores: list[float]) -> dict[str, float]:
    accumulator = Accumulator(_protocol(name))
    for number, ((prediction, target), score) in enumerate(zip(masks, scores, strict=True)):
        accumulator.add(prediction, target, key=number, image_id=number, score=score)
    found = accumulator.figures()
    if name == "cris":
        found |= {f"Pr@{bound}0": found[f"Pr@0.{bound}"] for bound in range(5, 10)}
    if name in FRACTIONS:
        found = {figure: value / 100 for figure, value in found.items()}
    # COCOeval says -1 where there is nothing of a size.
    return {figure: -1.0 if np.isnan(value) else value for figure, value in found.items()}


def _rela(masks: list[tuple[np.ndarray, np.ndarray]], run: dict[str, Any]) -> dict[str, float]:
    accumulator = Accumulator(_protocol("rela"))
    for number, (prediction, target) in enumerate(masks):
        wanted = np.zeros_like(target) if number in run["empty_ground_truth"] else target
        said_none = bool(run["predicted_no_target"][number])
        accumulator.add(prediction, wanted, key=number, image_id=number, predicted_none=said_none)
    found = {name.replace("-", "_"): value for name, value in accumulator.figures().items()}
    return {name: value / 100 if name in FRACTIONS_OF_RELA else value for name, value in found.items()}


def _davis_frames(masks: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    accumulator = Accumulator(get_protocol("davis"))
    for number, (prediction, target) in enumerate(masks):
        accumulator.add(prediction, target, key=number, image_id=number)
    found = accumulator.figures()
    kept = accumulator.rows()
    j = np.divide(kept.intersection, kept.union, out=np.ones(len(kept)), where=kept.union > 0)
    means = {"J_mean": found["J"] / 100, "F_mean": found["F"] / 100, "JF_mean": found["J&F"] / 100}
    return {"J": j, "F": kept.boundary, **means}


def _davis_clip(arrays: Mapping[str, np.ndarray], task: Task) -> dict[str, Any]:
    clip = measure_clip(arrays["clip_pred"], arrays["clip_gt"], task=task)
    # After matching, the published lists follow the predicted labels, not the objects.
    order = np.argsort(clip.labels)
    per_object = {
        "J-Mean per object": np.array(clip.j_means())[order],
        "F-Mean per object": np.array(clip.f_means())[order],
    }
    return {**video_figures([clip]), **per_object}


def _compare(prefix: str, found: Mapping[str, Any], stated: Mapping[str, Any], tolerance: float) -> Iterator[Row]:
    if not stated:
        yield prefix, float("inf"), tolerance
    for figure, value in stated.items():
        yield f"{prefix}.{figure}", _error(found.get(figure), value), tolerance


def _error(ours: Any, stated: Any) -> float:
    if ours is None or np.shape(ours) != np.shape(stated):
        return float("inf")
    first, second = np.asarray(ours, dtype=np.float64), np.asarray(stated, dtype=np.float64)
    if not np.array_equal(np.isnan(first), np.isnan(second)):
        return float("inf")
    return float(np.nanmax(np.abs(first - second), initial=0.0))
