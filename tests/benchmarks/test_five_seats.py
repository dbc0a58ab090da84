"""The seats of the comparison of five models: mini's masks in any boxes, and the largest named instance."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from risctl.models.chooser import load_chooser
from risctl.models.instances import Instances
from risctl.models.networks import DrawnFinder, FoundImage

_BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")
sys.path.insert(0, _BENCHMARKS)  # it imports others that stand beside it
five_seats = importlib.import_module("five_seats")
sys.path.remove(_BENCHMARKS)


def test_mini_draws_a_box_where_it_is() -> None:
    picture = Image.new("RGB", (300, 160), (90, 120, 90))
    ImageDraw.Draw(picture).ellipse((180, 30, 280, 130), fill=(200, 40, 40))
    pixels = np.array(picture)
    masks = five_seats.MiniMasks(load_chooser().system)
    boxes = np.array([[180, 30, 280, 130], [10, 20, 60, 90]], dtype=np.float32)
    drawn = masks.masks(masks.encode(pixels), boxes)
    assert drawn.shape == (2, 160, 300)
    for mask, (x1, y1, x2, y2) in zip(drawn, boxes.astype(int), strict=True):
        outside = mask.copy()
        outside[y1 - 3 : y2 + 3, x1 - 3 : x2 + 3] = 0
        assert mask[y1:y2, x1:x2].max() > 0.5 and outside.max() < 0.5


def test_the_largest_of_the_named_category_is_chosen() -> None:
    class Finder:
        name, labels, min_score, draws = "finder", ("dog", "cup"), 0.4, False

        def find(self, pixels: np.ndarray) -> Instances:
            raise NotImplementedError

    boxes = np.array([[0, 0, 4, 4], [0, 0, 9, 9], [0, 0, 20, 20], [0, 0, 30, 30]], dtype=np.float32)
    scores = np.array([0.9, 0.5, 0.1, 0.8], dtype=np.float32)
    found = Instances(boxes=boxes, scores=scores, names=("dog", "dog", "dog", "cup"))
    seat = five_seats.LargestNamed(DrawnFinder(Finder(), None))
    encoded = FoundImage(instances=found, draw=lambda positions: np.zeros((len(positions), 30, 30)))
    dog, plane = seat.find(encoded, ["the dog", "the plane"])
    # The third is larger, but not certain enough.
    assert dog.scores.argmax() == 1 and dog.scores[2] == 0 and dog.scores[3] == 0 and not plane.scores.any()
