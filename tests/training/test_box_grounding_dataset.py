"""The box-grounding samples of a recipe: those of files, generated ones, and those about detected boxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny import build_tiny, tiny_dataset, tiny_recipe, tiny_store

from risctl.data.box_grounding.boxes import Boxes
from risctl.data.box_grounding.files import write_box_grounding
from risctl.data.box_grounding.samples import BoxGroundingSample, ImageBoxes
from risctl.data.records import Expression, Record
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError, UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.mini.model import Mini
from risctl.systems.registry import build_system
from risctl.training.box_grounding_dataset import box_grounding_dataset, boxes_of_image, detected_box_samples
from risctl.training.datasets import training_dataset
from risctl.vision import rle


def recipe_of(store: Path, **samples: Any) -> Recipe:
    model: dict[str, Any] = {"system": "mini", "input_size": 64, "max_words": 6, "channels": 32, "layers": 1}
    model |= {"heads": 2, "mask_channels": 16, "text": {"buckets": 64}}
    data = {"store": str(store), "items": "box_grounding", "box_grounding": samples, "workers": 0}
    values = {"name": "t", "model": model, "data": data, "train": {"epochs": 1, "seed": 4}}
    return parse_recipe(values, source="test")


def mini_of(recipe: Recipe) -> Mini:
    torch.manual_seed(0)
    system = build_system(recipe.model, vocabulary=Vocabulary(["red", "box", "left"]))
    assert isinstance(system, Mini)
    return system


class Knowing(Mini):
    """Finds the true boxes of the store's images, told apart by their shape, a little off, and one more."""

    truth: dict[tuple[int, int], list[tuple[float, ...]]]

    def boxes_of(self, visual: Any) -> Boxes:
        padding = visual.padding[0]
        size = (int((~padding).any(1).sum()), int((~padding).any(0).sum()))
        found = [*self.truth[size], (0.45, 0.0, 0.55, 0.1)]
        corners = torch.tensor(found)[None] + 0.004
        count = len(found)
        return Boxes(
            corners=corners,
            classes=torch.eye(80)[None, :count],
            mask=torch.ones(1, count, dtype=torch.bool),
            aspect=torch.tensor([1.5]),
            confidence=torch.linspace(0, 1, count)[None],
        )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Images of different shapes, and one phrase that means nothing there."""
    dataset = tiny_dataset(images=4, validation=1)
    dataset.records.append(
        Record(
            ref_id=99,
            image_id=0,
            split="train",
            annotation_ids=(),
            expressions=(Expression(sentence_id=999, raw="cat", sent="cat", tokens=("cat",)),),
        )
    )
    write_store(dataset, tmp_path / "things.h5")
    with Store(tmp_path / "things.h5") as opened:
        yield opened


def truth_of(system: Mini, store: Store) -> dict[tuple[int, int], list[tuple[float, ...]]]:
    found = {}
    for image in store.images("train"):
        size = store.image(int(image))
        padding = system.preprocess.fit(height=size.height, width=size.width).padding()
        shape = (int((~padding).any(1).sum()), int((~padding).any(0).sum()))
        spans = [rle.box(store.annotation(int(annotation)).mask) for annotation in store.annotations_of(int(image))]
        found[shape] = [
            (x / size.width, y / size.height, (x + w) / size.width, (y + h) / size.height)
            for x, y, w, h in (span for span in spans if span)
        ]
    assert len(found) == len(store.images("train")), "two pictures have one shape"
    return found


def test_found_questions_mean_the_boxes_on_their_targets(store: Store) -> None:
    system = mini_of(recipe_of(store.path))
    system.__class__ = Knowing
    system.truth = truth_of(system, store)
    system.train()
    found = detected_box_samples(system, store, split="train")
    assert system.training
    assert len(found) == len(store.sentences("train")) == 13
    for one in found:
        if one.text == "cat":
            assert one.targets == ()
            continue
        [target] = one.targets
        middle = one.boxes.corners[target, [0, 2]].mean()
        if one.text.startswith(("left", "right")):
            assert (middle < 0.5) == one.text.startswith("left")
        assert one.boxes.confidence is not None and len(one.boxes.category_ids) == 3
    assert len({id(one.boxes) for one in found}) == 3


def test_what_was_not_found_is_not_asked_for(store: Store) -> None:
    system = mini_of(recipe_of(store.path))
    system.__class__ = Knowing
    system.truth = {shape: boxes[:1] for shape, boxes in truth_of(system, store).items()}
    found = detected_box_samples(system, store, split="train")
    assert len(found) == 7 and all(one.targets in ((0,), ()) for one in found)
    system.truth = {shape: [] for shape in system.truth}
    assert [sample.text for sample in detected_box_samples(system, store, split="train")] == ["cat"]


def test_boxes_become_an_image_with_their_two_likeliest_classes() -> None:
    boxes = Boxes(
        corners=torch.tensor([[[0.1, 0.2, 1.2, 0.9], [0, 0, 0, 0]]]),
        classes=torch.tensor([[[0.1, 0.3, 0.6], [0.0, 0, 0]]]),
        mask=torch.tensor([[True, False]]),
        aspect=torch.tensor([0.7]),
        confidence=torch.tensor([[0.4, 0.0]]),
        appearance=torch.rand(1, 2, 4),
    )
    one = boxes_of_image(boxes)
    assert one.corners.tolist() == pytest.approx(np.array([[0.1, 0.2, 1.0, 0.9]]), abs=1e-6)
    assert (one.category_ids.tolist(), one.aspect) == ([2], pytest.approx(0.7))
    assert (
        one.second_category_ids is not None
        and one.category_share is not None
        and one.appearance is not None
        and one.confidence is not None
    )
    assert one.second_category_ids.tolist() == [1] and one.category_share.tolist() == pytest.approx([2 / 3])
    assert one.appearance.shape == (1, 4) and one.confidence.tolist() == pytest.approx([0.4])


def test_a_recipe_asks_for_files_made_and_found_ones(store: Store, tmp_path: Path) -> None:
    corners = np.array([[0.1, 0.1, 0.3, 0.9], [0.6, 0.1, 0.9, 0.9]], dtype=np.float32)
    image = ImageBoxes(corners=corners, category_ids=np.array([0, 16]), aspect=1.0)
    write_box_grounding(tmp_path / "boxes.jsonl", [BoxGroundingSample(boxes=image, text="left man", targets=(0,))] * 3)
    recipe = recipe_of(store.path, files=[str(tmp_path / "boxes.jsonl")], generated=4, detected=True)
    system = mini_of(recipe)
    with torch.no_grad():
        for tower in system.detector.head.towers:
            tower.leave.bias.normal_()
    items = training_dataset(recipe, store, system)
    assert items is not None and len(items.annotated) == 3 and items.generated == 4
    assert any(detection.text == "cat" for detection in items.detected) and len(items) == 7 + len(items.detected)
    again = training_dataset(recipe, store, system)
    assert [detection.text for detection in again.detected] == [detection.text for detection in items.detected]
    with torch.device("meta"):
        foreseen = build_system(recipe.model, vocabulary=Vocabulary(["red"]))
    assert box_grounding_dataset(recipe, [store], foreseen).detected == []


def test_what_cannot_be_asked_for_is_refused(store: Store, tmp_path: Path) -> None:
    recipe = recipe_of(store.path, files=[str(tmp_path / "none.jsonl")])
    with pytest.raises(DataError, match=r"none\.jsonl"):
        training_dataset(recipe, store, mini_of(recipe))
    bare = recipe_of(store.path)
    with pytest.raises(DataError, match="no sample"):
        training_dataset(bare, store, mini_of(bare))
    vlt = tiny_recipe(tiny_store(tmp_path), data={"items": "box_grounding"})
    with pytest.raises(UsageError, match=r"data\.items=expressions"):
        training_dataset(vlt, store, build_tiny(vlt.model, vocabulary=Vocabulary(["red"])))
