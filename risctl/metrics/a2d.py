"""Computes average precision as the A2D-Sentences and JHMDB papers report it (pycocotools' COCOeval, segm, useCats 0).

Each sample is an "image" of its own with one instance and any number of scored candidates. COCOeval is given the
known overlaps in place of masks, so that masks need not be kept.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from typing import Any

import numpy as np
from pycocotools.cocoeval import COCOeval

_STATISTICS = ("mAP_0.5:0.95", "AP_0.5", "AP_0.75", "mAP_small", "mAP_medium", "mAP_large")


def average_precision(
    *,
    sample: np.ndarray,
    score: np.ndarray,
    intersection: np.ndarray,
    union: np.ndarray,
    predicted: np.ndarray,
) -> dict[str, float]:
    """Computes mAP .5:.95, AP .5 and .75, and mAP by size of the target.

    Args:
        sample: Which sample each candidate belongs to, int (N,). Every sample needs a candidate.
        score: The score of each candidate, (N,).
        intersection: Pixels that candidate and target share, (N,).
        union: Pixels in either, (N,).
        predicted: Pixels of the candidate, (N,).

    Returns:
        The figures as fractions; NaN where no target has the size. Small is up to 32 x 32 pixels, medium up to 96 x 96.
    """
    if not len(sample):
        return dict.fromkeys(_STATISTICS, float("nan"))
    evaluation = _KnownOverlaps(sample, score, intersection, union, predicted)
    # COCOeval prints its table on stdout, which belongs to results.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # -1 stands for "nothing of that size".
    values = [float(value) if value >= 0 else float("nan") for value in evaluation.stats[: len(_STATISTICS)]]
    return dict(zip(_STATISTICS, values, strict=True))


class _KnownOverlaps(COCOeval):
    def __init__(
        self,
        sample: np.ndarray,
        score: np.ndarray,
        intersection: np.ndarray,
        union: np.ndarray,
        predicted: np.ndarray,
    ) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            super().__init__(iouType="segm")
        # Like COCO's own code, no overlap is an IoU of 0 even if both masks are empty.
        self._overlaps = np.divide(intersection, union, out=np.zeros(len(sample)), where=union > 0)
        self._sample, self._score, self._predicted = sample, score, predicted
        self._target = intersection + union - predicted
        self.params.useCats = 0
        self.params.catIds = [1]
        self.params.imgIds = np.unique(sample).tolist()

    def _prepare(self) -> None:
        self._gts: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
        self._dts: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
        self.evalImgs: Any = defaultdict(list)
        self.eval: dict[str, Any] = {}
        for row, sample in enumerate(self._sample.tolist()):
            key = (sample, 1)
            # Ids begin at 1: COCOeval takes a match with id 0 for no match.
            if key not in self._gts:
                area = int(self._target[row])
                self._gts[key] = [{"id": len(self._gts) + 1, "area": area, "iscrowd": 0, "ignore": 0}]
            candidate = {"id": row + 1, "score": float(self._score[row]), "area": int(self._predicted[row]), "row": row}
            self._dts[key].append(candidate)

    def computeIoU(self, imgId: int, catId: int) -> np.ndarray:  # noqa: N802, N803 - COCOeval calls it
        candidates = self._dts[imgId, 1]
        order = np.argsort([-candidate["score"] for candidate in candidates], kind="mergesort")
        best = [candidates[position]["row"] for position in order[: self.params.maxDets[-1]]]
        return self._overlaps[best][:, None]
