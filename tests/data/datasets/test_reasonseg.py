"""ReasonSeg in its published layout: the published masks, regions that are ignored, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import risctl
from risctl.data.datasets.reasonseg.reader import read_reasonseg
from risctl.data.ignored import ignored_region
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError
from risctl.vision import rle

SQUARE = [[2.9, 2.1], [9.5, 2.0], [9.9, 8.7], [2.2, 8.2]]


def shape(label: str, points: Any = SQUARE) -> dict[str, Any]:
    return {"label": label, "labels": [label], "shape_type": "polygon", "points": points, "flags": {}}


def write(folder: Path, name: str, annotation: Any, *, split: str = "val", encoding: str = "utf-8") -> None:
    (folder / split).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 16)).save(folder / split / f"{name}.jpg")
    text = annotation if isinstance(annotation, str) else json.dumps(annotation, ensure_ascii=False)
    (folder / split / f"{name}.json").write_bytes(text.encode(encoding))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    root = tmp_path / "ReasonSeg"
    ignored = [[8, 2], [14, 2], [14, 14], [8, 14]]
    several = ["what is the café for?", "something to sit in", "a place"]
    write(
        root,
        "a",
        {"text": several, "is_sentence": True, "shapes": [shape("target"), shape("Ignore_region", ignored)]},
        encoding="cp1252",
    )
    write(root, "b", {"text": ["the box"], "is_sentence": False, "shapes": [shape("target"), shape("FLAG", [[0, 0]])]})
    write(root, "c", {"text": ["the box"], "is_sentence": False, "shapes": [shape("target")]}, split="train")
    return root


def test_targets_ignored_regions_and_sentences_are_read(published: Path) -> None:
    content = read_reasonseg(published.parent)
    assert content.counts() == {
        "train": {"images": 1, "refs": 1, "sentences": 1},
        "val": {"images": 2, "refs": 2, "sentences": 4},
    }
    first = next(one for one in content.records if len(one.expressions) == 3)
    assert first.expressions[0].sent == "what is the café for?" and first.expressions[0].abilities == ("long query",)
    [target] = first.annotation_ids
    # The region to ignore is the larger shape: the target lies above it.
    assert rle.area(content.annotations[target].mask) == 8 * 7
    assert rle.area(content.annotations[target + 1].mask) == 7 * 13 - 2 * 7


def test_the_protocol_takes_first_sentences_and_ignores_regions(published: Path, tmp_path: Path) -> None:
    write_store(read_reasonseg(published), tmp_path / "r.h5")
    with Store(tmp_path / "r.h5") as store:
        ref = store.ref(int(store.refs("val")[0]))
        region = ignored_region(store, ref.image)
        assert region is not None and rle.area(region) == 77
        lines = []
        for row in store.sentences("val").tolist():
            sentence = store.sentence(row)
            # All that is ignored is predicted as well, which changes nothing.
            mask = rle.decode(store.mask(sentence.ref))
            ignored = ignored_region(store, sentence.image)
            mask = mask if ignored is None else mask | rle.decode(ignored)
            lines.append(json.dumps({"sent_id": sentence.sentence_id, "segmentation": rle.encode(mask)}))
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    report = risctl.score(tmp_path / "m.jsonl", tmp_path / "r.h5", split="val", protocol="reasonseg,lisa")
    assert len(report.results["reasonseg"].rows) == 2 and len(report.results["lisa"].rows) == 4
    assert report.figures == pytest.approx({"cIoU": 100, "gIoU": 100}, abs=1e-2)


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        ("{", "it is not JSON"),
        ({"shapes": []}, "expected text"),
        ({"text": [""], "shapes": []}, "expected text"),
        ({"text": ["a"], "shapes": [{}]}, "expected a shape with a label"),
        ({"text": ["a"], "shapes": [shape("target", [[1]])]}, "a list of points"),
        ({"text": ["a"], "shapes": [shape("target", [[1e30, 2]])]}, "points are pixels"),
        ({"text": ["a"]}, "a list of shapes"),
    ],
)
def test_what_cannot_be_used_is_named_or_left_out(annotation: Any, says: str, published: Path) -> None:
    write(published, "d", annotation)
    with pytest.raises(DataError, match=rf"val/d.json: .*{says}"):
        read_reasonseg(published)
    assert read_reasonseg(published, on_missing="drop").counts()["val"]["images"] == 2
