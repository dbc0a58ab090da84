"""Figures of zero-shot instance segmentation, of COCO's evaluation of masks or boxes (pycocotools).

ZSI: what is found of unseen classes alone; recall is the mean over classes with at most 100 things a picture. GZSI:
seen and unseen classes are asked for together, and the figures of both are joined by their harmonic mean.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

RECALL_AT = (0.4, 0.5, 0.6)
AP_AT = 0.5
_MOST = 100


def zsi_figures(
    truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    unseen: Collection[int],
    of: Literal["segm", "bbox"] = "segm",
) -> dict[str, float]:
    """Return "recall@100 .4", ".5" and ".6" and "mAP .5" of the classes `unseen`, in percent.

    truth: an instance file's content; results: COCO's results, of `image_id`, `category_id`, `score` and `bbox` or
    `segmentation`. A class of which nothing is there counts in no mean; NaN where no class is left.
    """
    precision, recall = _evaluated(truth, results, classes=unseen, of=of)
    figures = {f"recall@100 {at:g}": _mean(recall[at]) for at in RECALL_AT}
    return figures | {f"mAP {AP_AT:g}": _mean(precision[AP_AT])}


def gzsi_figures(
    truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    seen: Collection[int],
    unseen: Collection[int],
    of: Literal["segm", "bbox"] = "segm",
) -> dict[str, float]:
    """Return "seen …", "unseen …" and "HM …" of "mAP .5" and "recall@100 .5", in percent; as `zsi_figures`."""
    figures = {}
    for part, classes in (("seen", seen), ("unseen", unseen)):
        precision, recall = _evaluated(truth, results, classes=classes, of=of)
        figures[f"{part} mAP {AP_AT:g}"] = _mean(precision[AP_AT])
        figures[f"{part} recall@100 {AP_AT:g}"] = _mean(recall[AP_AT])
    for name in (f"mAP {AP_AT:g}", f"recall@100 {AP_AT:g}"):
        figures[f"HM {name}"] = harmonic_mean(figures[f"seen {name}"], figures[f"unseen {name}"])
    return figures


def harmonic_mean(first: float, second: float) -> float:
    """Return the harmonic mean of two figures, 0 if both are."""
    return 2 * first * second / (first + second) if first + second else 0.0


def _evaluated(
    truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], *, classes: Collection[int], of: str
) -> tuple[dict[float, np.ndarray], dict[float, np.ndarray]]:
    """Return precision and recall by IoU, (classes,) each, -1 where a class is not there."""
    wanted = sorted(classes)
    # pycocotools prints, and writes into what it is given.
    with contextlib.redirect_stdout(io.StringIO()):
        there = COCO()
        there.dataset = {
            "images": [dict(one) for one in truth["images"]],
            "categories": [dict(one) for one in truth["categories"]],
            "annotations": [_whole(one) for one in truth["annotations"] if one["category_id"] in classes],
        }
        there.createIndex()
        own = [dict(one) for one in results if one["category_id"] in classes]
        if not own:
            nothing = np.where([any(there.getAnnIds(catIds=[one])) for one in wanted], 0.0, -1.0)
            return dict.fromkeys(RECALL_AT, nothing), dict.fromkeys(RECALL_AT, nothing)
        measured = COCOeval(there, there.loadRes(own), of)
        measured.params.catIds = wanted
        measured.params.imgIds = sorted(there.imgs)
        measured.params.iouThrs = np.array(RECALL_AT)
        measured.params.maxDets = [1, 10, _MOST]
        measured.evaluate()
        measured.accumulate()
    precision = measured.eval["precision"][:, :, :, 0, -1]  # (IoUs, recalls, classes), all areas, 100 a picture
    recall = measured.eval["recall"][:, :, 0, -1]  # (IoUs, classes)
    return (
        {at: precision[place].mean(0) for place, at in enumerate(RECALL_AT)},
        {at: recall[place] for place, at in enumerate(RECALL_AT)},
    )


def _whole(annotation: Mapping[str, Any]) -> dict[str, Any]:
    return {"iscrowd": 0, "area": annotation["bbox"][2] * annotation["bbox"][3], **annotation}


def _mean(figures: np.ndarray) -> float:
    there = figures[figures >= 0]
    return 100 * float(there.mean()) if len(there) else float("nan")
