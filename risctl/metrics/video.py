"""Computes the region and boundary measures of video object segmentation, as DAVIS 2017 defines them.

J is the IoU of an object in a frame; F is the F-measure of its contour, matched within a small radius. Sources: Perazzi
et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation" (CVPR 2016); Pont-Tuset et al.,
"The 2017 DAVIS Challenge"; Caelles et al., "The 2019 DAVIS Challenge" (matching of unsupervised proposals).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from risctl.errors import DataError

Task = Literal["unsupervised", "semi-supervised"]

RADIUS = 0.008
"""How far apart contours may be and still match, as a share of the image's diagonal."""

VOID = 255
"""The label of pixels that are ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipMeasures:
    """The measures of the objects of a clip.

    Attributes:
        j: J of each object in each frame that counts, float64 (objects, frames).
        f: F likewise.
        labels: The predicted label that each object was compared with.
    """

    j: np.ndarray
    f: np.ndarray
    labels: tuple[int, ...]

    def j_means(self) -> list[float]:
        """Returns the mean J of each object."""
        return [float(value) for value in self.j.mean(axis=1)]

    def f_means(self) -> list[float]:
        """Returns the mean F of each object."""
        return [float(value) for value in self.f.mean(axis=1)]


def region_measure(prediction: np.ndarray, target: np.ndarray, *, void: np.ndarray | None = None) -> float:
    """Computes J of two bool masks (H, W): the IoU outside `void`, 1 if both are empty there."""
    if void is not None:
        prediction, target = prediction & ~void, target & ~void
    union = np.count_nonzero(prediction | target)
    return np.count_nonzero(prediction & target) / union if union else 1.0


def boundary_measure(prediction: np.ndarray, target: np.ndarray, *, void: np.ndarray | None = None) -> float:
    """Computes F of two bool masks (H, W): the harmonic mean of precision and recall of their contours.

    A pixel of one contour matches if the other contour comes within ceil(RADIUS x diagonal) pixels of it, which is what
    dilating with a disk of that radius tests.
    """
    if void is not None:
        prediction, target = prediction & ~void, target & ~void
    reach = np.ceil(RADIUS * np.linalg.norm(prediction.shape))
    found, wanted = np.argwhere(outline(prediction)), np.argwhere(outline(target))
    if not len(found) and not len(wanted):
        return 1.0
    if not len(found) or not len(wanted):
        return 0.0
    precision = _share_within(found, wanted, reach)
    recall = _share_within(wanted, found, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask: np.ndarray) -> np.ndarray:
    """Returns the contour (H, W) bool of a bool mask: pixels unlike their right, lower or lower right neighbour.

    The image's own border is no contour: a mask that fills the image has none.
    """
    edge = np.zeros_like(mask)
    across = mask[:, :-1] ^ mask[:, 1:]
    down = mask[:-1] ^ mask[1:]
    edge[:, :-1] |= across
    edge[:-1] |= down
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def decay(values: np.ndarray) -> float:
    """Returns how much a measure (frames,) falls from the first quarter of a clip to the last."""
    frames = len(values)
    bounds = (np.round(np.linspace(1, frames, 5) + 1e-10) - 1).astype(int)
    return float(values[bounds[0] : bounds[1] + 1].mean() - values[bounds[3] : bounds[4] + 1].mean())


def measure_clip(prediction: np.ndarray, target: np.ndarray, *, task: Task) -> ClipMeasures:
    """Computes J and F of each object of a clip from label maps.

    Args:
        prediction: Predicted labels (frames, H, W): 0 background, 1 to N objects.
        target: Annotated labels (frames, H, W); 255 is void. Its highest label says how many objects there are.
        task: "semi-supervised" compares labels with labels and leaves out the first frame, which such systems are
            given, and the last. "unsupervised" counts all frames and lets each object have the predicted label that
            suits it best (Hungarian assignment on the mean of J and F), so swapped identities are forgiven.

    Raises:
        DataError: The clips differ in shape, are too short or without an object, or a semi-supervised prediction has a
            label that no object has.
    """
    if prediction.shape != target.shape:
        raise DataError(f"label maps differ in (frames, height, width): {prediction.shape} and {target.shape}")
    wanted = _highest_label(target)
    if task == "semi-supervised":
        prediction, target = prediction[1:-1], target[1:-1]
    if not len(target):
        raise DataError(f"a clip is too short to be evaluated as {task}")
    void = target == VOID
    if not wanted:
        raise DataError("a clip has no object to evaluate")
    found = int(prediction.max())
    if task == "semi-supervised":
        if found > wanted:
            raise DataError(f"the prediction has label {found}, but the clip only {wanted} objects")
        pairs = [_measure_object(prediction == index, target == index, void) for index in range(1, wanted + 1)]
        labels = tuple(range(1, wanted + 1))
        return ClipMeasures(j=np.stack([j for j, _ in pairs]), f=np.stack([f for _, f in pairs]), labels=labels)
    proposals = max(found, wanted)
    shape = (proposals, wanted, len(target))
    every_j, every_f = np.zeros(shape), np.zeros(shape)
    for label in range(1, proposals + 1):
        for index in range(1, wanted + 1):
            measured = _measure_object(prediction == label, target == index, void)
            every_j[label - 1, index - 1], every_f[label - 1, index - 1] = measured
    rows, columns = linear_sum_assignment(-(every_j.mean(axis=2) + every_f.mean(axis=2)) / 2)
    order = np.argsort(columns)
    rows, columns = rows[order], columns[order]
    labels = tuple(int(row) + 1 for row in rows)
    return ClipMeasures(j=every_j[rows, columns], f=every_f[rows, columns], labels=labels)


def video_figures(clips: Sequence[ClipMeasures]) -> dict[str, float]:
    """Computes the DAVIS figures as fractions: means, over all objects of all clips, of mean, recall and decay.

    Recall is the share of frames above 0.5. NaN if there is no clip.
    """
    found = {}
    for name in ("J", "F"):
        objects = [values for clip in clips for values in (clip.j if name == "J" else clip.f)]
        found[f"{name}-Mean"] = _mean([float(values.mean()) for values in objects])
        found[f"{name}-Recall"] = _mean([float((values > 0.5).mean()) for values in objects])
        found[f"{name}-Decay"] = _mean([decay(values) for values in objects])
    return {"J&F-Mean": (found["J-Mean"] + found["F-Mean"]) / 2} | found


def average_over_annotators(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the mean of each figure over sets of expressions, as Ref-DAVIS17 reports its four annotators."""
    return {name: _mean([figure[name] for figure in figures]) for name in (figures[0] if figures else ())}


def _measure_object(prediction: np.ndarray, target: np.ndarray, void: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    frames = list(zip(prediction, target, void, strict=True))
    j = np.array([region_measure(found, wanted, void=hidden) for found, wanted, hidden in frames])
    f = np.array([boundary_measure(found, wanted, void=hidden) for found, wanted, hidden in frames])
    return j, f


def _share_within(points: np.ndarray, others: np.ndarray, reach: float) -> float:
    # Distances are roots of whole numbers, so the small margin admits no further pixel.
    distances, _ = cKDTree(others).query(points, distance_upper_bound=reach + 1e-6)
    return float(np.count_nonzero(np.isfinite(distances))) / len(points)


def _highest_label(target: np.ndarray) -> int:
    labels = target[target != VOID]
    return int(labels.max()) if labels.size else 0


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
