r"""Measures the boxes that mini lists for names of classes, as `risctl predict --classes` does.

    python benchmarks/mini_classes.py MODEL [MODEL ...] --instances instances.json --images images --ids ids.txt

MODEL is a run folder or a checkpoint. All 80 classes of COCO are asked for at once in the images whose ids the file
`ids.txt` lists. A box is right if its IoU with an instance of its class that no better box has taken is at least 0.5;
in a crowd of its class it does not count; every other box is false. Printed are recall and false boxes an image above
several scores, and the false boxes of each model at the recall that the first one has there. A minute on one core for
100 images.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.inference.encoded_image import encode, prepare
from risctl.language.coco_classes import CLASSES
from risctl.systems.mini.model import DetectedFeatures, Mini

SCORES = (0.05, 0.1, 0.2, 0.3, 0.4)
_MATCH = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Boxes of all images by falling score: the scores, and how many so far are right and false."""

    scores: np.ndarray
    right: np.ndarray
    false: np.ndarray
    instances: int
    images: int

    def at_score(self, score: float) -> tuple[float, float]:
        """Returns the recall and the false boxes an image of the boxes that score more than `score`."""
        count = int((self.scores > score).sum())
        if not count:
            return 0.0, 0.0
        return self.right[count - 1] / max(self.instances, 1), self.false[count - 1] / self.images

    def at_recall(self, recall: float) -> tuple[float, float] | None:
        """Returns the score and the false boxes an image at which `recall` is reached, None if it never is."""
        place = int(np.searchsorted(self.right, recall * self.instances - 1e-9))
        return None if place >= len(self.right) else (float(self.scores[place]), self.false[place] / self.images)


def main() -> int:
    """Runs the measurements and prints them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    for part in ("instances", "images", "ids"):
        parser.add_argument(f"--{part}", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="where to write all figures")
    arguments = parser.parse_args()
    report: dict[str, Any] = {}
    first: Curve | None = None
    for path in arguments.models:
        system = load_checkpoint(path).system
        if not isinstance(system, Mini):
            sys.exit(f"{path} is not a mini model")
        system.eval()
        own = curve(system, arguments.instances, images=arguments.images, ids=arguments.ids)
        first = own if first is None else first
        report[str(path)] = compared(own, first)
        print(path, json.dumps(report[str(path)], indent=1), flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


@torch.inference_mode()
def curve(system: Mini, instances: Path, *, images: Path, ids: Path) -> Curve:
    """Returns how right and false boxes add up by falling score, on the images whose ids the file `ids` lists."""
    wanted = {int(line) for line in ids.read_text(encoding="utf-8").split()}
    annotated = json.loads(instances.read_text(encoding="utf-8"))
    files = {image["id"]: Path(image["file_name"]).name for image in annotated["images"] if image["id"] in wanted}
    by_image: dict[int, list[dict[str, Any]]] = {}
    for annotation in annotated["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    place = {category: index for index, category in enumerate(sorted(CLASSES))}
    scores, right, count = [], [], 0
    for image_id, name in files.items():
        with Image.open(images / name) as image:
            pixels = np.array(image.convert("RGB"))
        visual = _encoded(system, pixels)
        corners = visual.boxes.corners[0].numpy() * np.array([pixels.shape[1], pixels.shape[0]] * 2)
        best = visual.detections.scores[0].max(1) if visual.detections.mask.shape[1] else None
        own = by_image.get(image_id, [])
        boxes = np.array([annotation["bbox"] for annotation in own], dtype=np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        crowd = np.array([bool(annotation.get("iscrowd")) for annotation in own], dtype=bool)
        labels = np.array([place[annotation["category_id"]] for annotation in own], dtype=np.int64)
        count += int((~crowd).sum())
        if best is None:
            continue
        verdicts = judged(corners, best.indices.numpy(), boxes=boxes, labels=labels, crowd=crowd)
        scores.extend(
            score for score, verdict in zip(best.values.tolist(), verdicts, strict=True) if verdict is not None
        )
        right.extend(verdict for verdict in verdicts if verdict is not None)
    order = np.argsort(-np.array(scores), kind="stable")
    flags = np.array(right, dtype=bool)[order]
    return Curve(
        scores=np.array(scores)[order],
        right=np.cumsum(flags),
        false=np.cumsum(~flags),
        instances=count,
        images=len(files),
    )


def judged(
    corners: np.ndarray, classes: np.ndarray, *, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray
) -> list[bool | None]:
    """Returns whether each box, by falling score, is right; None where it lies in a crowd of its class.

    Args:
        corners: (N, 4) xyxy of the boxes.
        classes: (N,) their classes.
        boxes: (G, 4) xyxy of the annotated instances.
        labels: (G,) their classes.
        crowd: (G,) bool, whether one stands for a crowd.
    """
    overlaps = box_ious(corners, boxes)
    low, high = np.maximum(corners[:, None, :2], boxes[:, :2]), np.minimum(corners[:, None, 2:], boxes[:, 2:])
    shares = (high - low).clip(0).prod(-1) / (corners[:, 2:] - corners[:, :2]).prod(-1).clip(1e-6)[:, None]
    free = ~crowd
    verdicts: list[bool | None] = []
    for number, label in enumerate(classes.tolist()):
        fits = np.where(free & (labels == label), overlaps[number], 0.0)
        if len(fits) and fits.max() >= _MATCH:
            free[fits.argmax()] = False
            verdicts.append(True)
        else:
            crowded = bool((shares[number][crowd & (labels == label)] >= _MATCH).any())
            verdicts.append(None if crowded else False)
    return verdicts


def compared(own: Curve, first: Curve) -> dict[str, Any]:
    """Returns recall and false boxes at each of `SCORES`, and the false boxes at the recall of the first there."""
    report = {}
    for score in SCORES:
        recall, false = own.at_score(score)
        wanted, others = first.at_score(score)
        reached = own.at_recall(wanted)
        report[f"{score:g}"] = {
            "recall": round(100 * recall, 1),
            "false boxes an image": round(false, 2),
            "first model": {"recall": round(100 * wanted, 1), "false boxes an image": round(others, 2)},
            "at its recall": None
            if reached is None
            else {"score": round(reached[0], 3), "false boxes an image": round(reached[1], 2)},
        }
    return report


def box_ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the IoU (N, M) of boxes (N, 4) and (M, 4), xyxy."""
    low, high = np.maximum(first[:, None, :2], second[:, :2]), np.minimum(first[:, None, 2:], second[:, 2:])
    shared = (high - low).clip(0).prod(-1)
    areas: Sequence[np.ndarray] = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (first, second)]
    return shared / (areas[0][:, None] + areas[1] - shared).clip(1e-9)


def _encoded(system: Mini, pixels: np.ndarray) -> DetectedFeatures:
    features = encode(system, prepare(system.preprocess, pixels)).features
    if not isinstance(features, DetectedFeatures):
        raise TypeError(f"expected features of mini, got {type(features).__name__}")
    return features


if __name__ == "__main__":
    sys.exit(main())
