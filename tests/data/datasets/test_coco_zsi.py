"""COCO divided into seen and unseen classes: what is trained on, what is tested, what is left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from risctl.data.datasets.coco_zsi.reader import InstanceFolder, make_coco_zsi
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError, UsageError
from risctl.evaluation.instance_evaluator import evaluate_classes
from risctl.language.coco_classes import CLASSES, SPLITS
from risctl.results import Detection
from risctl.vision import rle
from risctl.vision.resize import ResizeLongest

SHOWN = {
    1: ("person",),
    2: ("person", "dog"),
    3: ("zebra", "zebra", "hot dog"),
    4: ("hot dog",),
    5: ("cat",),
    6: ("horse",),
}


def instances(
    folder: Path, shown: dict[int, tuple[str, ...]], name: str = "instances.json", *, crowds: tuple[int, ...] = ()
) -> InstanceFolder:
    """Write images that show things of the classes named; the last thing of those in `crowds` is a crowd."""
    ids = {name: number for number, name in CLASSES.items()}
    annotations: list[dict[str, Any]] = []
    for image, names in shown.items():
        Image.new("RGB", (40, 30), (image, 0, 0)).save(folder / f"{image}.png")
        for place, one in enumerate(names):
            left = 5 + 10 * place
            outline = [left, 5, left + 8, 5, left + 8, 20, left, 20]
            annotations.append(
                {
                    "id": 10 * image + place,
                    "image_id": image,
                    "category_id": ids[one],
                    "segmentation": [outline],
                    "bbox": [left, 5, 8, 15],
                    "iscrowd": int(image in crowds and place == len(names) - 1),
                }
            )
    content = {
        "images": [{"id": index, "file_name": f"{index}.png", "height": 30, "width": 40} for index in shown],
        "categories": [{"id": number, "name": name} for number, name in CLASSES.items()],
        "annotations": annotations,
    }
    (folder / name).write_text(json.dumps(content))
    return InstanceFolder(instances=folder / name, images=folder)


def test_the_published_divisions(shared: Path) -> None:
    """By the published word vectors: each column of a division's file is that of its class in the other's order."""
    folder = shared / "data" / "word_vectors"
    if not folder.is_dir():
        pytest.skip(f"no word vectors at {folder}")
    columns = np.loadtxt(folder / "word_w2v_withbg_48_17.txt", delimiter=",").T[1:]
    other = np.loadtxt(folder / "word_w2v_withbg_65_15.txt", delimiter=",").T[1:]
    order = (*SPLITS["65_15"].seen, *SPLITS["65_15"].unseen)
    found = [order[int(np.abs(other - column).max(1).argmin())] for column in columns]
    assert found == [*SPLITS["48_17"].seen, *SPLITS["48_17"].unseen]


def test_training_images_show_no_unseen_class(tmp_path: Path) -> None:
    dataset = make_coco_zsi("48_17", instances(tmp_path, SHOWN), held_out=0.0)
    shown = {record.image_id: [] for record in dataset.records}
    for record in dataset.records:
        shown[record.image_id].append((record.split, record.expressions[0].sent, record.expressions[0].abilities))
    assert shown == {
        1: [("train", "person", ("seen",))],
        3: [("train", "zebra", ("seen",))],
        6: [("train", "horse", ("seen",))],
        2: [("test", "person", ("seen",)), ("test", "dog", ("unseen",))],
        5: [("test", "cat", ("unseen",))],
    }
    assert list(dataset.categories.values()) == [*SPLITS["48_17"].seen, *SPLITS["48_17"].unseen]
    [zebras] = [record for record in dataset.records if record.image_id == 3]
    assert len(zebras.annotation_ids) == 2
    write_store(dataset, tmp_path / "zsi.h5")
    with Store(tmp_path / "zsi.h5") as store:
        assert sorted(store.splits) == ["test", "train"]
        assert list(store.categories.values()) == [*SPLITS["48_17"].seen, *SPLITS["48_17"].unseen]


def test_an_unseen_crowd_is_an_unseen_object(tmp_path: Path) -> None:
    """Its image is not trained on; the crowd is no target, and what is found of it no mistake."""
    shown = SHOWN | {1: ("person", "dog"), 3: ("zebra", "zebra"), 7: ("cup",)}
    dataset = make_coco_zsi("48_17", instances(tmp_path, shown, crowds=(1, 3, 7)), held_out=0.0)
    split_of = {record.image_id: record.split for record in dataset.records}
    assert split_of == {1: "test", 2: "test", 3: "train", 5: "test", 6: "train"}
    [person] = [record for record in dataset.records if record.image_id == 1]
    assert (person.expressions[0].sent, len(person.annotation_ids)) == ("person", 1)
    [zebra] = [record for record in dataset.records if record.image_id == 3]
    assert len(zebra.annotation_ids) == 1
    write_store(dataset, tmp_path / "zsi.h5")
    with Store(tmp_path / "zsi.h5") as store:
        report = evaluate_classes(Oracle(store, ("dog", "cat")), store, split="test", generalised=False)  # type: ignore[arg-type]
    assert (report.instances, report.detections) == ({"seen": 2, "unseen": 2}, 3)
    assert report.figures["mAP 0.5"] == pytest.approx(100)


def test_the_other_division_and_a_test_file(tmp_path: Path) -> None:
    training = instances(tmp_path, SHOWN)
    test = instances(tmp_path, {7: ("toilet",), 8: ("dog",)}, "test.json")
    dataset = make_coco_zsi("65_15", training, test=test, held_out=0.4, seed=1)
    counts = dataset.counts()
    assert (counts["train"]["images"], counts["val"]["images"], counts["test"]["images"]) == (2, 1, 2)
    unseen = {
        record.expressions[0].sent for record in dataset.records if record.expressions[0].abilities == ("unseen",)
    }
    assert unseen == {"toilet"}
    assert dataset.notes == {"training pictures left out for an unseen object": 3}
    with pytest.raises(DataError, match="share picture 1"):
        make_coco_zsi("65_15", training, test=training)


def test_what_is_missing_is_refused_or_counted(tmp_path: Path) -> None:
    training = instances(tmp_path, SHOWN)
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match="1 pictures missing"):
        make_coco_zsi("48_17", training)
    assert make_coco_zsi("48_17", training, on_missing="drop").notes == {"pictures missing, left out": 1}
    with pytest.raises(UsageError, match="48_17, 65_15"):
        make_coco_zsi("60_20", training)
    content = json.loads((tmp_path / "instances.json").read_text())
    content["categories"] = content["categories"][:5]
    (tmp_path / "instances.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="not COCO's categories"):
        make_coco_zsi("48_17", training)


class Oracle:
    """A system that finds just what is annotated, and only that of the classes `knows`."""

    class_split = SPLITS["48_17"]

    def __init__(self, store: Store, knows: tuple[str, ...]) -> None:
        self.store, self.knows, self.row = store, knows, -1
        self.preprocess = self
        self.rows = [int(row) for row in store.images("test")]

    def image(self, pixels: np.ndarray) -> tuple[torch.Tensor, ResizeLongest]:
        self.row = self.rows.pop(0)
        geometry = ResizeLongest.fit(height=pixels.shape[0], width=pixels.shape[1], longest=32, multiple=32)
        return geometry.image(pixels), geometry

    def parameters(self) -> Iterator[torch.Tensor]:
        return iter(())

    def encode_image(self, images: torch.Tensor, padding: torch.Tensor) -> None:
        assert images.shape[-2:] == padding.shape[-2:]

    def detect(
        self, features: None, groups: list[tuple[str, ...]], *, geometry: ResizeLongest, min_score: float
    ) -> list[Detection]:
        del features, geometry, min_score
        names = [name for group in groups for name in group]
        things = [self.store.annotation(int(row)) for row in self.store.annotations_of(self.row)]
        named = [(self.store.categories[thing.category_id], thing) for thing in things]
        return [
            Detection(name=name, score=0.5, box=one.box, segmentation=one.mask)
            for name, one in named
            if name in names and name in self.knows
        ]


@pytest.mark.parametrize(
    ("knows", "zsi", "seen", "unseen"),
    [
        (("person", "dog", "cat"), 100, 100, 100),
        (("person", "dog"), 50, 100, 50),
        (("dog", "cat"), 100, 0, 100),
    ],
)
def test_what_is_found_is_measured(tmp_path: Path, knows: tuple[str, ...], zsi: int, seen: int, unseen: int) -> None:
    """On the test images: a person with a dog, and a cat."""
    write_store(make_coco_zsi("48_17", instances(tmp_path, SHOWN), held_out=0.0), tmp_path / "zsi.h5")
    with Store(tmp_path / "zsi.h5") as store:
        report = evaluate_classes(Oracle(store, knows), store, split="test", generalised=False)  # type: ignore[arg-type]
        assert list(report.figures.values()) == pytest.approx([zsi] * 4)
        assert (report.images, report.instances) == (2, {"seen": 1, "unseen": 2})
        report = evaluate_classes(Oracle(store, knows), store, split="test", generalised=True)  # type: ignore[arg-type]
        assert report.figures["seen mAP 0.5"] == pytest.approx(seen)
        assert report.figures["unseen recall@100 0.5"] == pytest.approx(unseen)
        expected = 2 * seen * unseen / (seen + unseen)
        assert report.figures["HM mAP 0.5"] == pytest.approx(expected)


def test_boxes_are_measured_apart_from_masks(tmp_path: Path) -> None:
    """As the paper's ZSD figures: of masks that are empty the boxes still count."""
    write_store(make_coco_zsi("48_17", instances(tmp_path, SHOWN), held_out=0.0), tmp_path / "zsi.h5")

    class Hollow(Oracle):
        def detect(self, *given: Any, **named: Any) -> list[Detection]:
            nothing = rle.encode(np.zeros((30, 40), dtype=bool))
            return [replace(one, segmentation=nothing) for one in super().detect(*given, **named)]

    with Store(tmp_path / "zsi.h5") as store:
        masks, boxes = (
            evaluate_classes(Hollow(store, ("dog", "cat")), store, split="test", generalised=False, of=of).figures  # type: ignore[arg-type]
            for of in ("segm", "bbox")
        )
    assert (masks["mAP 0.5"], boxes["mAP 0.5"]) == (0, pytest.approx(100))
