"""Zero-shot figures on hand-made cases whose answer is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from risctl.metrics.zero_shot import gzsi_figures, harmonic_mean, matches, zsi_figures

SEEN, UNSEEN = (1, 2), (3, 4)


def truth(*things: tuple[int, int, list[float]]) -> dict[str, Any]:
    return {
        "images": [{"id": one, "height": 100, "width": 100} for one in (1, 2)],
        "categories": [{"id": one, "name": str(one)} for one in (*SEEN, *UNSEEN)],
        "annotations": [
            {"id": number, "image_id": image, "category_id": category, "bbox": box, "segmentation": [outline(box)]}
            for number, (image, category, box) in enumerate(things, start=1)
        ],
    }


def outline(box: list[float]) -> list[float]:
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def found(image: int, category: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def test_all_found_is_a_hundred_and_nothing_found_is_zero() -> None:
    there = truth((1, 3, [10, 10, 20, 20]), (2, 4, [0, 0, 50, 50]))
    right = [found(1, 3, [10, 10, 20, 20], 0.9), found(2, 4, [0, 0, 50, 50], 0.1)]
    assert list(zsi_figures(there, right, unseen=UNSEEN, of="bbox").values()) == pytest.approx([100] * 4)
    assert set(zsi_figures(there, [], unseen=UNSEEN, of="bbox").values()) == {0}


def test_overlap_decides_at_each_threshold() -> None:
    """A box of the same height and 55 of 100 columns overlaps by 0.55; a class that is not there counts in no mean."""
    there = truth((1, 3, [0, 0, 100, 20]))
    figures = zsi_figures(there, [found(1, 3, [0, 0, 55, 20], 0.5)], unseen=UNSEEN, of="bbox")
    assert figures == {
        "recall@100 0.4": pytest.approx(100),
        "recall@100 0.5": pytest.approx(100),
        "recall@100 0.6": 0,
        "mAP 0.5": pytest.approx(100),
    }


def test_a_better_scored_mistake_halves_the_precision_not_the_recall() -> None:
    there = truth((1, 3, [10, 10, 20, 20]))
    results = [found(1, 3, [60, 60, 20, 20], 0.9), found(1, 3, [10, 10, 20, 20], 0.5)]
    figures = zsi_figures(there, results, unseen=UNSEEN, of="bbox")
    assert figures["recall@100 0.5"] == pytest.approx(100)
    assert figures["mAP 0.5"] == pytest.approx(50)


def test_seen_and_unseen_are_measured_apart_and_joined() -> None:
    """Of two seen classes one is found, of the unseen things all: 50, 100, and their harmonic mean 66.7."""
    there = truth((1, 1, [0, 0, 20, 20]), (1, 2, [50, 50, 20, 20]), (2, 3, [0, 0, 40, 40]))
    results = [found(1, 1, [0, 0, 20, 20], 0.9), found(2, 3, [0, 0, 40, 40], 0.9), found(2, 1, [70, 0, 9, 9], 0.1)]
    figures = gzsi_figures(there, results, seen=SEEN, unseen=UNSEEN, of="bbox")
    assert figures["seen mAP 0.5"] == pytest.approx(50)
    assert figures["unseen recall@100 0.5"] == pytest.approx(100)
    assert (figures["HM mAP 0.5"], figures["HM recall@100 0.5"]) == pytest.approx((200 / 3, 200 / 3))
    assert math.isnan(zsi_figures(truth((1, 1, [0, 0, 9, 9])), results, unseen=UNSEEN, of="bbox")["mAP 0.5"])
    assert harmonic_mean(0, 0) == 0


def test_masks_and_what_pycocotools_is_given_stays() -> None:
    there = truth((1, 3, [10, 10, 20, 20]))
    result = found(1, 3, [10, 10, 20, 20], 0.9) | {"segmentation": there["annotations"][0]["segmentation"]}
    kept = (repr(there), repr(result))
    from pycocotools import mask

    [encoded] = mask.frPyObjects(result["segmentation"], 100, 100)
    assert zsi_figures(there, [result | {"segmentation": encoded}], unseen=UNSEEN)["mAP 0.5"] == pytest.approx(100)
    assert (repr(there), repr(result)) == kept


def test_masks_decide_by_their_pixels_not_by_their_boxes() -> None:
    """A thing is the left half of its box's mask: as a box it overlaps fully, as a mask by a half, so not by .6."""
    there = truth((1, 3, [0, 0, 40, 20]))
    half = found(1, 3, [0, 0, 40, 20], 0.9) | {"segmentation": encoded([0, 0, 20, 20])}
    assert zsi_figures(there, [half], unseen=UNSEEN, of="bbox")["recall@100 0.6"] == pytest.approx(100)
    of_masks = zsi_figures(there, [half], unseen=UNSEEN)
    assert (of_masks["recall@100 0.4"], of_masks["recall@100 0.6"]) == (pytest.approx(100), 0)


def test_a_hundred_things_of_an_image_count() -> None:
    """The right one is the 101st by score: not found. As the hundredth it is."""
    there = truth((1, 3, [80, 80, 20, 20]))
    wrong = [found(1, 3, [0, 0, 5, 5], 0.9 - number / 1000) for number in range(100)]
    right = found(1, 3, [80, 80, 20, 20], 0.1)
    assert zsi_figures(there, [*wrong, right], unseen=UNSEEN, of="bbox")["recall@100 0.5"] == 0
    assert zsi_figures(there, [*wrong[1:], right], unseen=UNSEEN, of="bbox")["recall@100 0.5"] == pytest.approx(100)
    assert zsi_figures(there, [*wrong[1:], right], unseen=UNSEEN, of="bbox")["mAP 0.5"] == pytest.approx(1)


def test_one_thing_is_found_once() -> None:
    """A second box on the same thing is a mistake: of two things one is found, and half the recall is reached."""
    there = truth((1, 3, [0, 0, 20, 20]), (1, 3, [50, 50, 20, 20]))
    twice = [found(1, 3, [0, 0, 20, 20], 0.9), found(1, 3, [1, 0, 20, 20], 0.8)]
    assert zsi_figures(there, twice, unseen=UNSEEN, of="bbox")["recall@100 0.5"] == pytest.approx(50)


def test_recall_by_images() -> None:
    """Found of class 3: one of two in the first image, none of one in the second; of 4, which is there once, all."""
    there = truth((1, 3, [0, 0, 20, 20]), (1, 3, [50, 50, 20, 20]), (2, 3, [0, 0, 9, 9]), (2, 4, [20, 0, 50, 20]))
    results = [found(1, 3, [0, 0, 20, 20], 0.9), found(2, 4, [20, 0, 27, 20], 0.9)]
    counted = matches(there, results, classes=UNSEEN, of="bbox")
    assert counted.there.tolist() == [[2, 0], [1, 1]]
    assert counted.found[0.5].tolist() == [[1, 0], [0, 1]]
    assert counted.found[0.6].tolist() == [[1, 0], [0, 0]]
    whole = zsi_figures(there, results, unseen=UNSEEN, of="bbox")
    assert counted.recall(0.5).tolist() == pytest.approx([whole["recall@100 0.5"]])
    assert whole["recall@100 0.5"] == pytest.approx((100 / 3 + 100) / 2)
    weights = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert counted.recall(0.5, weights=weights).tolist() == pytest.approx([50, 50])
    nothing = matches(there, [], classes=UNSEEN, of="bbox")
    assert nothing.recall(0.4).tolist() == [0]


def encoded(box: list[float]) -> dict[str, Any]:
    from pycocotools import mask

    [one] = mask.frPyObjects([outline(box)], 100, 100)
    return one
