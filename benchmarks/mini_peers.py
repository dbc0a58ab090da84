"""Baselines for mini: simple ways of segmenting an expression's object, and the upper bound of any selection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from risctl.core.fusion.box_selector import BoxScores
from risctl.core.heads.instance_masks import paste_logits
from risctl.data.datasets.coco_phrases.about_boxes import CATEGORIES
from risctl.data.datasets.coco_phrases.lexicon import nouns, plural
from risctl.systems.mini.model import DetectedFeatures, Mini
from risctl.vision.geometry import Geometry

WHOLE, ELLIPSE, LARGEST, NAMED, BEST = (
    "whole image",
    "centre ellipse",
    "largest, named by the model",
    "largest, named by lexicon",
    "best detection",
)
PEERS = (WHOLE, ELLIPSE, LARGEST, NAMED, BEST)
# Fraction of the image's sides; the best on the validation split of generated expressions.
ELLIPSE_SHARE = 0.8
_MIN_SCORE = 0.3  # score from which a detection counts as one of its class
_STRIDE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedInstances:
    """The detections of one image at its own size.

    Attributes:
        masks: (N, H, W) bool.
        areas: (N,) areas of their boxes.
        scores: (N, K) class scores.
    """

    masks: np.ndarray
    areas: np.ndarray
    scores: np.ndarray


def draw_all(system: Mini, visual: DetectedFeatures, geometry: Geometry) -> DetectedInstances:
    """Returns all detections of the one image of `visual`, each with its mask."""
    features, present = visual.maps[0], visual.detections.mask[0]
    corners = visual.detections.corners[0][present]
    areas = (corners[:, 2:] - corners[:, :2]).prod(-1)
    masks = np.zeros((0, geometry.height, geometry.width), dtype=bool)
    if len(corners):
        rows = torch.zeros(len(corners), dtype=torch.int64, device=corners.device)
        squares = system.detector.masks(features, corners, rows)
        logits = paste_logits(squares, corners, height=features.shape[2], width=features.shape[3], stride=_STRIDE)
        masks = (geometry.invert(logits.float().sigmoid()) > 0.5).cpu().numpy()
    return DetectedInstances(
        masks=masks, areas=areas.cpu().numpy(), scores=visual.detections.scores[0][present].float().cpu().numpy()
    )


def ellipse(height: int, width: int, *, share: float = ELLIPSE_SHARE) -> np.ndarray:
    """Returns a centred ellipse that spans `share` of the image's sides, (H, W) bool."""
    y = (np.arange(height) + 0.5) / height * 2 - 1
    x = (np.arange(width) + 0.5) / width * 2 - 1
    return np.hypot(y[:, None], x[None]) <= share


def named_class(text: str) -> int | None:
    """Returns the class of the first noun of `text` that names a category, None if there is none.

    The first noun is the head of nearly all such expressions: "man left of the red car".
    """
    known = _class_by_noun()
    words = re.findall(r"[a-z]+", text.lower())
    for start in range(len(words)):
        for length in (3, 2, 1):
            class_index = known.get(" ".join(words[start : start + length]))
            if class_index is not None:
                return class_index
    return None


@cache
def _class_by_noun() -> dict[str, int]:
    best: dict[str, tuple[float, int]] = {}
    for class_index, category in enumerate(CATEGORIES):
        for noun, weight in [*nouns(category), (category, 0.5)]:
            for form in (noun, plural(noun)):
                if weight > best.get(form, (0.0, 0))[0]:
                    best[form] = (weight, class_index)
    return {noun: class_index for noun, (_, class_index) in best.items()} | {"people": 0, "persons": 0}


def largest_of(detections: DetectedInstances, class_index: int | None) -> np.ndarray | None:
    """Returns the mask of the largest detection of a class (None: of any), None if there is no detection.

    If no detection has the class with a sufficient score, the most probable one is taken.
    """
    if not len(detections.areas):
        return None
    scores = detections.scores.max(1) if class_index is None else detections.scores[:, class_index]
    certain = scores >= _MIN_SCORE
    chosen = int(np.where(certain, detections.areas, -1).argmax()) if certain.any() else int(scores.argmax())
    return detections.masks[chosen]


def best_of(detections: DetectedInstances, targets: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    """Returns for each target (H, W) bool the mask that overlaps it most, None without detections or target."""
    if not len(detections.masks):
        return [None] * len(targets)
    flat_masks = detections.masks.reshape(len(detections.masks), -1).astype(np.float32)
    flat_targets = np.stack([target.reshape(-1) for target in targets]).astype(np.float32)
    intersection = flat_masks @ flat_targets.T
    union = flat_masks.sum(1)[:, None] + flat_targets.sum(1)[None] - intersection
    best = (intersection / np.maximum(union, 1)).argmax(0)
    return [detections.masks[row] if target.any() else None for row, target in zip(best, targets, strict=True)]


def peers(
    detections: DetectedInstances, choice: BoxScores, texts: Sequence[str], targets: Sequence[np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """Returns for each text the mask of each of `PEERS`, for one image."""
    height, width = targets[0].shape
    nothing = np.zeros((height, width), dtype=bool)
    whole, middle = ~nothing, ellipse(height, width)
    kinds: Tensor = choice.noun.argmax(-1)
    best = best_of(detections, targets)
    masks_by_text = []
    for row, text in enumerate(texts):
        chosen = {
            LARGEST: largest_of(detections, int(kinds[row])),
            NAMED: largest_of(detections, named_class(text)),
            BEST: best[row],
        }
        masks = {name: nothing if mask is None else mask for name, mask in chosen.items()}
        masks_by_text.append({WHOLE: whole, ELLIPSE: middle, **masks})
    return masks_by_text
