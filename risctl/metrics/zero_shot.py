"""Computes the figures of zero-shot instance segmentation with COCO's evaluation of masks or boxes (pycocotools).

ZSI: detections of unseen classes alone; recall is the mean over classes with at most 100 detections per image. GZSI:
seen and unseen classes are detected together, and the figures of both are joined by their harmonic mean.
Source: Zheng et al., "Zero-Shot Instance Segmentation" (CVPR 2021).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

RECALL_AT = (0.4, 0.5, 0.6)
AP_AT = 0.5
_MAX_DETECTIONS = 100


def zsi_figures(
    truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    unseen: Collection[int],
    of: Literal["segm", "bbox"] = "segm",
) -> dict[str, float]:
    """Computes "recall@100 .4", ".5" and ".6" and "mAP .5" of the unseen classes, in percent.

    Args:
        truth: The content of an instance file.
        results: COCO results with `image_id`, `category_id`, `score` and `bbox` or `segmentation`.
        unseen: Category ids.
        of: Whether masks or boxes are compared.

    Returns:
        Figures by name. A class without an instance counts in no mean; NaN where no class is left.
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
    """Computes mAP .5 and recall@100 .5 of seen and unseen classes, and their harmonic means (HM), in percent."""
    figures = {}
    for part, classes in (("seen", seen), ("unseen", unseen)):
        precision, recall = _evaluated(truth, results, classes=classes, of=of)
        figures[f"{part} mAP {AP_AT:g}"] = _mean(precision[AP_AT])
        figures[f"{part} recall@100 {AP_AT:g}"] = _mean(recall[AP_AT])
    for name in (f"mAP {AP_AT:g}", f"recall@100 {AP_AT:g}"):
        figures[f"HM {name}"] = harmonic_mean(figures[f"seen {name}"], figures[f"unseen {name}"])
    return figures


def harmonic_mean(first: float, second: float) -> float:
    """Returns the harmonic mean of two figures, 0 if both are."""
    return 2 * first * second / (first + second) if first + second else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """What recall is made of, for I images and K classes.

    Attributes:
        there: How many instances there are, (I, K).
        found: By IoU threshold: how many of them are detected, (I, K).
    """

    there: np.ndarray
    found: dict[float, np.ndarray]

    def recall(self, at: float, *, weights: np.ndarray | None = None) -> np.ndarray:
        """Computes the mean over classes of the share of instances that is detected, in percent.

        Args:
            at: The IoU threshold.
            weights: How often each image counts, whole numbers (R, I); once each by default.

        Returns:
            (R,); a class without an instance counts in no mean, NaN where no class has one.
        """
        each = np.ones((1, len(self.there))) if weights is None else weights
        there = each @ self.there
        shares = (each @ self.found[at]) / np.maximum(there, 1)  # 0 where nothing is there
        with np.errstate(invalid="ignore"):
            return 100 * shares.sum(1) / (there > 0).sum(1)


def matches(
    truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    classes: Collection[int],
    of: Literal["segm", "bbox"] = "segm",
) -> Matches:
    """Counts instances and matches image by image, in the order of image ids; arguments as of `zsi_figures`."""
    wanted, pictures = sorted(classes), sorted(record["id"] for record in truth["images"])
    rows, columns = ({one: place for place, one in enumerate(listed)} for listed in (pictures, wanted))
    there = np.zeros((len(pictures), len(wanted)))
    for one in truth["annotations"]:
        if one["category_id"] in columns and not one.get("iscrowd"):
            there[rows[one["image_id"]], columns[one["category_id"]]] += 1
    found = {at: np.zeros_like(there) for at in RECALL_AT}
    measured = _measured(truth, results, classes=classes, of=of)
    for one in [] if measured is None else measured.evalImgs:
        if one is not None:
            counted = (np.asarray(one["gtMatches"]) > 0) & (np.asarray(one["gtIgnore"]) == 0)
            for at, row in zip(RECALL_AT, counted, strict=True):
                found[at][rows[one["image_id"]], columns[one["category_id"]]] = row.sum()
    return Matches(there=there, found=found)


def _evaluated(
    truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], *, classes: Collection[int], of: str
) -> tuple[dict[float, np.ndarray], dict[float, np.ndarray]]:
    """Returns precision and recall by IoU, (classes,) each, -1 where a class is not there."""
    measured = _measured(truth, results, classes=classes, of=of)
    if measured is None:
        there = {record["category_id"] for record in truth["annotations"] if not record.get("iscrowd")}
        nothing = np.where([category in there for category in sorted(classes)], 0.0, -1.0)
        return dict.fromkeys(RECALL_AT, nothing), dict.fromkeys(RECALL_AT, nothing)
    with contextlib.redirect_stdout(io.StringIO()):
        measured.accumulate()
    precision = measured.eval["precision"][:, :, :, 0, -1]  # (IoUs, recalls, classes), 100 per image
    recall = measured.eval["recall"][:, :, 0, -1]  # (IoUs, classes)
    return (
        {at: precision[place].mean(0) for place, at in enumerate(RECALL_AT)},
        {at: recall[place] for place, at in enumerate(RECALL_AT)},
    )


def _measured(
    truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], *, classes: Collection[int], of: str
) -> COCOeval | None:
    """Returns COCO's evaluation of the classes, image by image; None if nothing of them was detected."""
    # pycocotools prints, and writes into what it is given.
    with contextlib.redirect_stdout(io.StringIO()):
        there = COCO()
        there.dataset = {
            "images": [dict(record) for record in truth["images"]],
            "categories": [dict(record) for record in truth["categories"]],
            "annotations": [_whole(record) for record in truth["annotations"] if record["category_id"] in classes],
        }
        there.createIndex()
        own = [dict(result) for result in results if result["category_id"] in classes]
        if not own:
            return None
        measured = COCOeval(there, there.loadRes(own), of)
        measured.params.catIds = sorted(classes)
        measured.params.imgIds = sorted(there.imgs)
        measured.params.iouThrs = np.array(RECALL_AT)
        measured.params.maxDets = [1, 10, _MAX_DETECTIONS]
        measured.params.areaRng, measured.params.areaRngLbl = [[0, 1e10]], ["all"]
        measured.evaluate()
    return measured


def _whole(annotation: Mapping[str, Any]) -> dict[str, Any]:
    return {"iscrowd": 0, "area": annotation["bbox"][2] * annotation["bbox"][3], **annotation}


def _mean(figures: np.ndarray) -> float:
    there = figures[figures >= 0]
    return 100 * float(there.mean()) if len(there) else float("nan")
