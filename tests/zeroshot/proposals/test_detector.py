"""What a detector finds by category name, as proposals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_zsi import tiny_zsi

from risctl.errors import CheckpointError, UsageError
from risctl.language.coco_classes import CLASSES, SPLITS
from risctl.results import Detection
from risctl.vision.rle import encode
from risctl.zeroshot.proposals.base import InputImage
from risctl.zeroshot.proposals.detector import DetectorProposals
from risctl.zeroshot.proposals.sources import open_source

CPU = torch.device("cpu")


class Finder:
    """Finds, of each part, what it was told to."""

    def __init__(self, *found: Detection) -> None:
        self.found = found
        self.asked: list[tuple[str, ...]] = []

    def set_image(self, image: np.ndarray) -> None:
        self.asked.clear()

    def detect(self, names: tuple[str, ...], *, min_score: float) -> list[Detection]:
        self.asked.append(names)
        return [one for one in self.found if one.name in names and one.score > min_score]

    def reset_image(self) -> None:
        self.asked.append(())


def thing(name: str, score: float, left: int) -> Detection:
    mask = np.zeros((20, 40), dtype=bool)
    mask[2:12, left : left + 10] = True
    return Detection(name=name, score=score, box=(left, 2, 10, 10), segmentation=encode(mask))


def test_things_of_both_parts_become_proposals_best_first() -> None:
    """One region found as two classes is one proposal, as the better; each part is asked for alone."""
    finder = Finder(thing("zebra", 0.3, 0), thing("cow", 0.6, 0), thing("cup", 0.1, 20), thing("dog", 0.01, 30))
    source = DetectorProposals(finder, [("zebra",), ("cow", "cup", "dog")], name="x")
    found = source(InputImage(pixels=np.zeros((20, 40, 3), dtype=np.uint8)))
    assert finder.asked == [("zebra",), ("cow", "cup", "dog"), ()]
    ids = {name: number for number, name in CLASSES.items()}
    assert found.categories.tolist() == [ids["cow"], ids["cup"]]
    assert found.scores.tolist() == pytest.approx([0.6, 0.1])
    assert found.masks[1, 2:12, 20:30].all() and found.masks.sum() == 200
    finder.found = ()
    assert source(InputImage(pixels=np.zeros((20, 40, 3), dtype=np.uint8))).masks.shape == (0, 20, 40)


def test_empty_masks_and_unknown_categories() -> None:
    empty = Detection(name="cat", score=0.8, box=(0, 0, 0, 0), segmentation=encode(np.zeros((20, 40), dtype=bool)))
    finder = Finder(thing("dog", 0.3, 0), thing("person", 0.9, 10), empty, thing("no class of COCO", 0.5, 20))
    names = [("dog", "person", "cat", "no class of COCO")]
    found = DetectorProposals(finder, names, name="x", min_score=0.0, max_overlap=1.0, max_count=7)(
        InputImage(pixels=np.zeros((20, 40, 3), dtype=np.uint8))
    )
    assert found.scores.tolist() == [np.float32(0.9), np.float32(0.5), np.float32(0.3)]
    assert found.categories.tolist() == [1, 0, 18]
    assert found.masks[0, 2:12, 10:20].all() and found.masks[2, 2:12, 0:10].all()


def test_a_checkpoint_proposes(tmp_path: Path) -> None:
    source = open_source(f"zsi:{tiny_zsi(tmp_path)}", device=CPU, max_count=7)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    found = source(InputImage(pixels=pixels))
    assert 0 < len(found) <= 7 and found.masks.shape[1:] == (50, 70)
    split = SPLITS["48_17"]
    assert {CLASSES[category] for category in found.categories.tolist()} <= {*split.seen, *split.unseen}
    assert (np.diff(found.scores) <= 0).all()


def test_what_proposes_nothing_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="zsi:CHECKPOINT"):
        open_source("zsi", device=CPU)
    with pytest.raises(UsageError, match="holds no ZSI"):
        open_source(f"zsi:{tiny_checkpoint}", device=CPU)
    with pytest.raises(CheckpointError):
        open_source(f"zsi:{tmp_path / 'none'}", device=CPU)
