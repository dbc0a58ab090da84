"""Computes the figures of concept segmentation, where a phrase asks for every instance: cgF1 and PBench's F1.

A sample is an (image, phrase) pair with any number of true instances, none for a negative one. Sources: SAM 3's
`CGF1Evaluator` (SA-Co, where a sample may have several annotators, of whom the most favourable one counts) and the
evaluation of PBench. All values are fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from scipy.optimize import linear_sum_assignment

IOU_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).round(2).tolist())
"""The thresholds of IoU, .50 to .95 by .05."""

SCORE_THRESHOLD = 0.5
"""Predictions of SA-Co count from this score on."""

SUPPRESSION_IOU = 0.5
"""PBench drops a prediction whose mask overlaps a larger one by more."""

SMALL = 1e-4
"""What is added to the denominators of cgF1."""
SMALL_PRESENCE = 1e-6
"""The same of its figures of presence."""
SMALL_PBENCH = 1e-8
"""The same of PBench's."""


Counts = TypeVar("Counts", float, np.ndarray)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptSample:
    """What one sample adds to the sums.

    Attributes:
        true: How many true instances there are.
        predicted: How many predictions count.
        hits: Matched pairs of at least each threshold's IoU, int64 (T,).
    """

    true: int
    predicted: int
    hits: np.ndarray

    @property
    def misses(self) -> np.ndarray:
        """True instances without a match, (T,)."""
        return self.true - self.hits

    @property
    def false(self) -> np.ndarray:
        """Predictions without a match, (T,)."""
        return self.predicted - self.hits

    def f1(self, *, small: float = SMALL) -> np.ndarray:
        """Returns the F1 of the sample at each threshold, (T,)."""
        return f1_of(self.hits, self.false, self.misses, small)[2]


def pairwise_ious(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the IoU of each prediction with each target, float64 (P, G), of bool masks (P, H, W) and (G, H, W)."""
    flat = [
        masks.reshape(len(masks), masks.shape[1] * masks.shape[2]).astype(np.float64)
        for masks in (predictions, targets)
    ]
    shared = flat[0] @ flat[1].T
    union = flat[0].sum(1)[:, None] + flat[1].sum(1)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def concept_sample(ious: np.ndarray, *, thresholds: Sequence[float] = IOU_THRESHOLDS) -> ConceptSample:
    """Matches predictions with true instances once, for the largest total IoU, and counts at each threshold.

    Args:
        ious: IoU of each prediction that counts with each true instance, float64 (P, G).
        thresholds: The thresholds of IoU.
    """
    rows, columns = linear_sum_assignment(-ious)
    matched = ious[rows, columns]
    hits = (matched[:, None] >= np.asarray(thresholds)[None]).sum(0)
    return ConceptSample(true=ious.shape[1], predicted=ious.shape[0], hits=hits.astype(np.int64))


def favourable(samples: Sequence[ConceptSample]) -> ConceptSample:
    """Returns the sample as the most favourable of its annotators sees it.

    A true negative with any annotator wins; else the highest mean F1 over the thresholds, the earlier one on ties.

    Args:
        samples: The sample by each annotator, in order.
    """
    best = samples[0]
    for one in samples:
        if not one.true and not one.predicted:
            return one
        if one.f1().mean() > best.f1().mean():
            best = one
    return best


def concept_figures(samples: Sequence[ConceptSample]) -> dict[str, float]:
    """Computes cgF1 and what it is made of.

    Returns:
        `cgF1`, `precision`, `recall`, `F1`, `positive_macro_F1`, `positive_micro_F1` (pmF1) and
        `positive_micro_precision` as means over IoU .50 to .95, and at .5 and .75 with `@0.5` and `@0.75`; and the
        image-level `IL_precision`, `IL_recall`, `IL_F1`, `IL_FPR` and `IL_MCC`.
    """
    hits, false, misses, positive_false = (np.zeros(len(IOU_THRESHOLDS)) for _ in range(4))
    both = np.zeros((0, len(IOU_THRESHOLDS)))
    for one in samples:
        hits, false, misses = hits + one.hits, false + one.false, misses + one.misses
        if one.true:
            positive_false = positive_false + one.false
            if one.predicted:
                both = np.concatenate([both, one.f1()[None]])
    presence = _presence(samples)
    precision, recall, f1 = f1_of(hits, false, misses, SMALL)
    positive_precision = hits / (hits + positive_false + SMALL)
    positive_f1 = 2 * positive_precision * recall / (positive_precision + recall + SMALL)
    curves = {
        "cgF1": positive_f1 * presence["IL_MCC"],
        "precision": precision,
        "recall": recall,
        "F1": f1,
        "positive_macro_F1": both.mean(0) if len(both) else np.zeros(len(IOU_THRESHOLDS)),
        "positive_micro_F1": positive_f1,
        "positive_micro_precision": positive_precision,
    }
    found = {name: float(curve.mean()) for name, curve in curves.items()} | presence
    for threshold in (0.5, 0.75):
        place = IOU_THRESHOLDS.index(threshold)
        found |= {f"{name}@{threshold:g}": float(curve[place]) for name, curve in curves.items()}
    return found


def pbench_figures(samples: Sequence[ConceptSample]) -> dict[str, Any]:
    """Computes PBench's F1, the mean over samples with a target, and its image-level counts."""
    scores = [float(one.f1(small=SMALL_PBENCH).mean()) if one.predicted else 0.0 for one in samples if one.true]
    hit, absent, alarm, miss = _presence_counts(samples)
    return {
        "f1": float(np.mean(scores)) if scores else float("nan"),
        "il_tp": hit,
        "il_tn": absent,
        "il_fp": alarm,
        "il_fn": miss,
        "n_samples": len(samples),
        "n_valid_f1": len(scores),
    }


def suppressed(masks: np.ndarray) -> np.ndarray:
    """Returns which of the masks, bool (P, H, W), PBench keeps, int64 (N,), the largest first."""
    return suppressed_of(np.count_nonzero(masks, axis=(1, 2)), pairwise_ious(masks, masks))


def suppressed_of(areas: np.ndarray, ious: np.ndarray) -> np.ndarray:
    """Returns which of P masks PBench keeps, int64 (N,), the largest first.

    Of equal areas the later mask comes first.

    Args:
        areas: Their areas, int64 (P,).
        ious: The IoU of each with each, float64 (P, P).
    """
    order = np.argsort(areas, kind="stable")[::-1]
    kept: list[int] = []
    for one in order.tolist():
        if all(ious[one, other] <= SUPPRESSION_IOU for other in kept):
            kept.append(one)
    return np.array(kept, dtype=np.int64)


def f1_of(hits: np.ndarray, false: np.ndarray, misses: np.ndarray, small: float) -> tuple[np.ndarray, ...]:
    """Returns precision, recall and F1 of counts; `small` is added to each denominator."""
    precision = hits / (hits + false + small)
    recall = hits / (hits + misses + small)
    return precision, recall, 2 * precision * recall / (precision + recall + small)


def _presence_counts(samples: Sequence[ConceptSample]) -> tuple[int, int, int, int]:
    """Returns how many samples are found present rightly, absent rightly, present wrongly, absent wrongly."""
    hit = sum(bool(one.true) and bool(one.predicted) for one in samples)
    absent = sum(not one.true and not one.predicted for one in samples)
    alarm = sum(not one.true and bool(one.predicted) for one in samples)
    return hit, absent, alarm, len(samples) - hit - absent - alarm


def _presence(samples: Sequence[ConceptSample]) -> dict[str, float]:
    hit, absent, alarm, miss = _presence_counts(samples)
    precision = hit / (hit + alarm + SMALL_PRESENCE)
    recall = hit / (hit + miss + SMALL_PRESENCE)
    return {
        "IL_precision": precision,
        "IL_recall": recall,
        "IL_F1": 2 * precision * recall / (precision + recall + SMALL_PRESENCE),
        "IL_FPR": alarm / (alarm + absent + SMALL_PRESENCE),
        "IL_MCC": float(mcc_of(float(hit), float(absent), float(alarm), float(miss))),
    }


def mcc_of(hit: Counts, absent: Counts, alarm: Counts, miss: Counts) -> Counts:
    """Returns Matthews' correlation of counts: present rightly, absent rightly, present wrongly, absent wrongly."""
    root = np.sqrt((hit + alarm) * (hit + miss) * (absent + alarm) * (absent + miss))
    return (hit * absent - alarm * miss) / (root + SMALL_PRESENCE)
