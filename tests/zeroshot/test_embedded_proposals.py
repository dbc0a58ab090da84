"""The seam to instances that the package finds by itself, with a stand-in for the finder."""

from __future__ import annotations

import numpy as np

from risctl.vision.rle import encode
from risctl.zeroshot.proposals.base import Picture
from risctl.zeroshot.proposals.embedded import Embedded, Instance

PICTURE = Picture(pixels=np.zeros((20, 30, 3), dtype=np.uint8), name="black.png")


def _mask(top: int, left: int) -> np.ndarray:
    mask = np.zeros((20, 30), dtype=bool)
    mask[top : top + 4, left : left + 6] = True
    return mask


def test_instances_become_proposals_best_first() -> None:
    asked: list[tuple[tuple[int, ...], int]] = []

    def find(image: np.ndarray, most: int) -> list[Instance]:
        asked.append((image.shape, most))
        return [
            (_mask(1, 2), 0.3, "dog", (2, 1, 8, 5)),
            (encode(_mask(8, 9)), 0.9, "person", (9, 8, 15, 12)),
            (np.zeros((20, 30), dtype=bool), 0.8, "cat", (0, 0, 0, 0)),
            (_mask(12, 20), 0.5, "no class of COCO", (20, 12, 26, 16)),
        ]

    source = Embedded(find, most=7)
    found = source(PICTURE)
    assert asked == [((20, 30, 3), 7)]
    assert found.scores.tolist() == [np.float32(0.9), np.float32(0.5), np.float32(0.3)]
    assert found.categories.tolist() == [1, 0, 18]
    assert np.array_equal(found.masks, np.stack([_mask(8, 9), _mask(12, 20), _mask(1, 2)]))
    assert "embedded" in source.name


def test_nothing_found_is_no_proposal() -> None:
    found = Embedded(lambda image, most: [])(PICTURE)
    assert found.masks.shape == (0, 20, 30)
