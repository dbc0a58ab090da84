"""mini's chooser over foreign instances: place, number, categories that COCO lacks, and none at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_finders import write_finder
from helpers.tiny_sams import write_sam

from risctl.errors import UsageError
from risctl.models.chooser import Chooser, ChosenByCategory, ChosenByPhrase, load_chooser
from risctl.models.instances import Instances
from risctl.models.networks import DrawnFinder
from risctl.models.open import open_predictor
from risctl.models.predictor import PromptedPredictor

IMAGE = np.full((240, 480, 3), 128, dtype=np.uint8)
# Three persons side by side, and a dog under the middle one.
BOXES = np.array([[20, 40, 120, 220], [180, 40, 280, 220], [340, 40, 440, 220], [190, 180, 270, 238]], dtype=np.float32)


class Masks:
    """Draws a box as its own mask."""

    name = "boxes"

    def encode(self, pixels: np.ndarray) -> tuple[int, int]:
        return pixels.shape[0], pixels.shape[1]

    def masks(self, encoded: tuple[int, int], boxes: np.ndarray) -> np.ndarray:
        drawn = np.zeros((len(boxes), *encoded), dtype=np.float32)
        for mask, (x1, y1, x2, y2) in zip(drawn, boxes.astype(int), strict=True):
            mask[y1:y2, x1:x2] = 1
        return drawn


class Finder:
    """Finds given boxes in every picture."""

    name, min_score, draws = "given", 0.4, False

    def __init__(self, names: Sequence[str], boxes: np.ndarray = BOXES) -> None:
        self.labels = tuple(dict.fromkeys(names))
        self._found = Instances(boxes=boxes, scores=np.full(len(names), 0.9, dtype=np.float32), names=tuple(names))

    def find(self, pixels: np.ndarray) -> Instances:
        return self._found


class Prompted:
    """Finds persons and dogs by their nouns, and keeps what it was asked for."""

    name, min_score, draws = "prompted", 0.2, False

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        return pixels

    def find(self, encoded: np.ndarray, texts: Sequence[str]) -> list[Instances]:
        self.asked += texts
        rows = {"man": [0, 1, 2], "dog": [3]}
        return [
            Instances(
                boxes=BOXES[rows.get(text, [])],
                scores=np.full(len(rows.get(text, [])), 0.6, dtype=np.float32),
                names=(text,) * len(rows.get(text, [])),
            )
            for text in texts
        ]

    def is_truncated(self, text: str) -> bool:
        return False


@pytest.fixture(scope="module")
def chooser() -> Chooser:
    return load_chooser()


def _chosen(predictor: PromptedPredictor, text: str) -> list[int]:
    """Return which of `BOXES` make up the mask."""
    [found] = predictor.predict(IMAGE, text)
    centres = [(int(box[1] + 10), int(box[0] + 5)) for box in BOXES]
    return [row for row, (y, x) in enumerate(centres) if found.mask[y, x]]


NAMES = ("person", "person", "person", "dog")


def test_place_and_category_choose_among_instances_of_categories(chooser: Chooser) -> None:
    network = ChosenByCategory(DrawnFinder(Finder(NAMES), Masks()), chooser)
    predictor = PromptedPredictor(network, name="given", no_target_threshold=0.0)
    assert _chosen(predictor, "the man on the left") == [0]
    assert _chosen(predictor, "person on the right") == [2]
    assert _chosen(predictor, "the dog") == [3]
    assert predictor.describe().startswith("given + boxes + mini's chooser")
    assert [one.name for one in predictor.detect(["dog"])] == ["dog"]


def test_a_detector_by_text_is_asked_for_the_nouns(chooser: Chooser) -> None:
    finder = Prompted()
    predictor = PromptedPredictor(ChosenByPhrase(finder, Masks(), chooser), name="p", no_target_threshold=0.0)
    assert _chosen(predictor, "the man on the left") == [0]
    assert _chosen(predictor, "the dog below the man") == [3]
    assert finder.asked == ["man", "dog", "man"]
    [nothing] = predictor.predict(IMAGE, "the zeppelin")
    assert not nothing.matched and nothing.score == 0 and not nothing.mask.any()


def test_instances_that_coco_does_not_know_are_chosen_by_place(chooser: Chooser) -> None:
    network = ChosenByCategory(DrawnFinder(Finder(("zeppelin",) * 3, BOXES[:3]), Masks()), chooser)
    predictor = PromptedPredictor(network, name="given", no_target_threshold=0.0)
    assert _chosen(predictor, "the one on the left") == [0]


def test_no_and_many_instances(chooser: Chooser) -> None:
    none = ChosenByCategory(DrawnFinder(Finder((), BOXES[:0]), Masks()), chooser)
    [found] = PromptedPredictor(none, name="given", no_target_threshold=0.0).predict(IMAGE, "the man")
    assert not found.matched
    many = np.repeat(BOXES, 20, axis=0)
    network = ChosenByCategory(DrawnFinder(Finder(NAMES * 20, many), Masks()), chooser)
    [found] = PromptedPredictor(network, name="given", no_target_threshold=0.0).predict(IMAGE, "the dog")
    assert found.probability.shape == IMAGE.shape[:2]


def test_what_the_chooser_says_of_absent_things_is_the_score(chooser: Chooser) -> None:
    network = ChosenByCategory(DrawnFinder(Finder(NAMES), Masks()), chooser)
    predictor = PromptedPredictor(network, name="given")
    there, absent = predictor.predict(IMAGE, ["the man on the left", "the pizza"])
    assert predictor.no_target_threshold == chooser.no_target_threshold > 0
    assert there.score > absent.score  # type: ignore[union-attr]


def test_a_name_with_chooser_opens_it(tmp_path: Path) -> None:
    detector, sam = write_finder(tmp_path / "detr", "detr"), write_sam(tmp_path / "sam", gain=1e5)
    predictor = open_predictor(f"{detector}+{sam}+chooser", device="cpu", no_target_threshold=0.0)
    assert "mini's chooser" in predictor.describe()
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    [found] = predictor.predict(image, "the cup on the left")
    assert found.probability.shape == (40, 60)
    assert predictor.warnings("left " * 50)


def test_other_checkpoints_cannot_choose(monkeypatch: pytest.MonkeyPatch, chooser: Chooser) -> None:
    from dataclasses import replace

    from risctl.models import chooser as module

    loaded = module.load_checkpoint()
    monkeypatch.setattr(module, "load_checkpoint", lambda *_: replace(loaded, system=loaded.system.detector))
    with pytest.raises(UsageError, match="expected a checkpoint of mini"):
        load_chooser()
    spec = replace(chooser.system.grounding_spec, appearance=7)
    monkeypatch.setattr(chooser.system, "grounding_spec", spec)
    with pytest.raises(UsageError, match="reads features of its own detector"):
        Chooser(chooser.system)
