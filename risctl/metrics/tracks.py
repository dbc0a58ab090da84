"""Compares tracks: the masks of one instance by frame. Source: SAM 3's `VideoDemoF1Eval` (SA-Co/VEval)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from risctl.vision import rle
from risctl.vision.rle import RLE

Track = Mapping[int, RLE]
"""The masks of an instance by the frame's place; a frame that does not show it is not there."""


def track_ious(predictions: Sequence[Track], targets: Sequence[Track]) -> np.ndarray:
    """Returns the IoU of each prediction with each target, float64 (P, G).

    It is the sum of the intersections over the sum of the unions of all frames; of two tracks without a pixel it is 1.

    Raises:
        ValueError: Masks of a frame differ in size.
    """
    own, others = ([_areas(track) for track in tracks] for tracks in (predictions, targets))
    found = np.zeros((len(predictions), len(targets)))
    for row, prediction in enumerate(predictions):
        for column, target in enumerate(targets):
            both = own[row].keys() & others[column].keys()
            shared = sum(rle.overlap(prediction[frame], target[frame])[0] for frame in both)
            union = sum(own[row].values()) + sum(others[column].values()) - shared
            found[row, column] = shared / union if union else 1.0
    return found


def united(tracks: Sequence[Track]) -> dict[int, RLE]:
    """Returns the union of tracks by frame."""
    by_frame: dict[int, list[RLE]] = {}
    for track in tracks:
        for frame, mask in track.items():
            by_frame.setdefault(frame, []).append(mask)
    return {frame: own[0] if len(own) == 1 else rle.union(own) for frame, own in by_frame.items()}


def overlap_of(prediction: Track, target: Track) -> tuple[int, int, int]:
    """Returns the pixels of all frames that two tracks share, that either has, and that the first one has."""
    own, other = _areas(prediction), _areas(target)
    shared = sum(rle.overlap(prediction[frame], target[frame])[0] for frame in own.keys() & other.keys())
    return shared, sum(own.values()) + sum(other.values()) - shared, sum(own.values())


def _areas(track: Track) -> dict[int, int]:
    return {frame: rle.area(mask) for frame, mask in track.items()}
