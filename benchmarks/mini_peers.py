"""What stands beside mini's answers: simple ways of finding what a phrase means, and the best that it could choose."""

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
from risctl.systems.mini.model import FoundFeatures, Mini
from risctl.vision.geometry import Geometry

WHOLE, ELLIPSE, LARGEST, NAMED, BEST = (
    "whole image",
    "centre ellipse",
    "largest, named by the model",
    "largest, named by lexicon",
    "best of what is found",
)
PEERS = (WHOLE, ELLIPSE, LARGEST, NAMED, BEST)
# The share of the picture's sides, which does best on the validation split of made phrases.
ELLIPSE_SHARE = 0.8
_SURE = 0.3  # the score from which a thing counts as one of its class
_STRIDE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundThings:
    """The things of one picture at its own size: masks (N, H, W) bool, areas (N,) of their boxes, scores (N, K)."""

    masks: np.ndarray
    areas: np.ndarray
    scores: np.ndarray


def draw_all(system: Mini, seen: FoundFeatures, geometry: Geometry) -> FoundThings:
    """Return every thing that was found in the one picture of `seen`, each drawn as if it were chosen."""
    features, there = seen.maps[0], seen.things.mask[0]
    corners = seen.things.corners[0][there]
    areas = (corners[:, 2:] - corners[:, :2]).prod(-1)
    masks = np.zeros((0, geometry.height, geometry.width), dtype=bool)
    if len(corners):
        rows = torch.zeros(len(corners), dtype=torch.int64, device=corners.device)
        squares = system.detector.masks(features, corners, rows)
        drawn = paste_logits(squares, corners, height=features.shape[2], width=features.shape[3], stride=_STRIDE)
        masks = (geometry.invert(drawn.float().sigmoid()) > 0.5).cpu().numpy()
    return FoundThings(
        masks=masks, areas=areas.cpu().numpy(), scores=seen.things.scores[0][there].float().cpu().numpy()
    )


def ellipse(height: int, width: int, *, share: float = ELLIPSE_SHARE) -> np.ndarray:
    """Return an ellipse in the middle, of `share` of the picture's sides, bool (H, W)."""
    y = (np.arange(height) + 0.5) / height * 2 - 1
    x = (np.arange(width) + 0.5) / width * 2 - 1
    return np.hypot(y[:, None], x[None]) <= share


def named_kind(text: str) -> int | None:
    """Return the class of the first noun of `text` that people call things by, None if there is none.

    The first noun is the head of nearly all such phrases: "man left of the red car".
    """
    known = _kinds_by_noun()
    words = re.findall(r"[a-z]+", text.lower())
    for place in range(len(words)):
        for length in (3, 2, 1):
            kind = known.get(" ".join(words[place : place + length]))
            if kind is not None:
                return kind
    return None


@cache
def _kinds_by_noun() -> dict[str, int]:
    best: dict[str, tuple[float, int]] = {}
    for kind, category in enumerate(CATEGORIES):
        for noun, weight in [*nouns(category), (category, 0.5)]:
            for form in (noun, plural(noun)):
                if weight > best.get(form, (0.0, 0))[0]:
                    best[form] = (weight, kind)
    return {noun: kind for noun, (_, kind) in best.items()} | {"people": 0, "persons": 0}


def largest_of(things: FoundThings, kind: int | None) -> np.ndarray | None:
    """Return the mask of the largest thing of class `kind` (None: of any), None if nothing is found.

    Where no thing is surely of the class, it is the one that is most likely of it.
    """
    if not len(things.areas):
        return None
    scores = things.scores.max(1) if kind is None else things.scores[:, kind]
    sure = scores >= _SURE
    chosen = int(np.where(sure, things.areas, -1).argmax()) if sure.any() else int(scores.argmax())
    return things.masks[chosen]


def best_of(things: FoundThings, targets: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    """Return for each of `targets` (H, W) bool the mask that overlaps it most, None if nothing is found or meant."""
    if not len(things.masks):
        return [None] * len(targets)
    own = things.masks.reshape(len(things.masks), -1).astype(np.float32)
    wanted = np.stack([one.reshape(-1) for one in targets]).astype(np.float32)
    shared = own @ wanted.T
    united = own.sum(1)[:, None] + wanted.sum(1)[None] - shared
    best = (shared / np.maximum(united, 1)).argmax(0)
    return [things.masks[row] if target.any() else None for row, target in zip(best, targets, strict=True)]


def peers(
    things: FoundThings, choice: BoxScores, texts: Sequence[str], targets: Sequence[np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """Return for each text the mask of each of `PEERS`, of one picture."""
    height, width = targets[0].shape
    nothing = np.zeros((height, width), dtype=bool)
    whole, middle = ~nothing, ellipse(height, width)
    kinds: Tensor = choice.noun.argmax(-1)
    best = best_of(things, targets)
    found = []
    for row, text in enumerate(texts):
        chosen = {
            LARGEST: largest_of(things, int(kinds[row])),
            NAMED: largest_of(things, named_kind(text)),
            BEST: best[row],
        }
        masks = {name: nothing if mask is None else mask for name, mask in chosen.items()}
        found.append({WHOLE: whole, ELLIPSE: middle, **masks})
    return found
