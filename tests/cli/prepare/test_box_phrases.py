"""`risctl prepare box-phrases`: the published files as one file of boxes and phrases, and what is kept away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from risctl.cli import app
from risctl.data.box_grounding.files import read_box_grounding, read_layouts
from risctl.errors import DataError, UsageError


def run(*arguments: str) -> None:
    app.app(["prepare", "box-phrases", *arguments], standalone_mode=False)


def boxes_of(*ids: int) -> dict[str, Any]:
    """Images of 100x50 with a person on the left and a dog on the right."""
    entry = {"width": 100, "height": 50, "boxes": [[1, 10, 10, 20, 30], [18, 60, 10, 30, 30]]}
    return {str(number): entry for number in ids}


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "train_boxes.json").write_text(json.dumps(boxes_of(7, 8, 9)))

    def row(picture: int, phrase: str, box: list[int]) -> dict[str, Any]:
        return {
            "image": f"COCO_train2014_{picture:012d}.jpg",
            "phrase": phrase,
            "bbox": box,
            "atts": {"r1": ["man"], "r2": ["none"]},
        }

    rows = [row(7, "man in red", [10, 10, 20, 30]), row(7, "dog", [60, 10, 30, 30]), row(8, "left", [10, 10, 20, 30])]
    (folder / "my_test_split.json").write_text(json.dumps(rows))
    (folder / "my_val_split.json").write_text(json.dumps([row(9, "right dog", [60, 10, 30, 30])]))
    return folder


def test_the_sample_becomes_one_file_told_as_json(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RISCTL_DATA", str(tmp_path / "root"))
    run("--refcoco-sample", str(sample), "--json")
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "file": str(tmp_path / "root" / "refcoco-boxes.jsonl"),
        "phrases": 4,
        "pictures": 3,
        "chance": 0.5,
    }
    found = read_box_grounding(Path(told["file"]), classes=80)
    assert [(one.text, one.targets, one.colours) for one in found] == [
        ("man in red", (0,), ("red",)),
        ("dog", (1,), ()),
        ("left", (0,), ()),
        ("right dog", (1,), ()),
    ]
    assert found[0].boxes.category_ids.tolist() == [0, 16] and found[0].boxes.aspect == 2
    assert found[0].boxes.corners[0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.8])


def test_images_of_evaluations_and_named_ones_are_left_out(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = tmp_path / "evaluation"
    away.mkdir()
    (away / "eval_boxes.json").write_text(json.dumps(boxes_of(8, 100)))
    (tmp_path / "ids.txt").write_text("9\n")
    out = tmp_path / "kept.jsonl"
    run(
        "--refcoco-sample",
        str(sample),
        "--keep-away",
        str(away),
        "--exclude",
        str(tmp_path / "ids.txt"),
        "-o",
        str(out),
    )
    assert "2 phrases about the boxes of 1 pictures" in capsys.readouterr().out
    assert [one.text for one in read_box_grounding(out, classes=80)] == ["man in red", "dog"]


def test_referitgame_by_its_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "referit"
    folder.mkdir()
    files: dict[str, Any] = {
        "bbox": {"1_1": [0, 0, 50, 50], "1_2": [50, 0, 100, 50]},
        "imcrop": {"1": ["1_1", "1_2"], "2": []},
        "imsize": {"1": [100, 50]},
        "query_train": {"1_1": ["man on the left"]},
        "query_val": {"1_2": ["sky", "blue sky"]},
    }
    for name, content in files.items():
        (folder / f"referit_{name}.json").write_text(json.dumps(content))
    out = tmp_path / "boxes.jsonl"
    run("--referitgame", str(folder), "-o", str(out))
    found = read_box_grounding(out, classes=80)
    assert [(one.text, one.targets) for one in found] == [("man on the left", (0,)), ("sky", (1,)), ("blue sky", (1,))]
    assert found[0].boxes.category_ids[0] == 0
    run("--referitgame", str(folder), "--splits", "val", "-o", str(tmp_path / "val.jsonl"))
    assert len(read_box_grounding(tmp_path / "val.jsonl", classes=80)) == 2
    capsys.readouterr()


def test_layouts_without_phrases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = np.repeat([7, 8, 9], 2).astype(np.int32)
    corners = np.tile(np.array([0.5, 0.5, 0.2, 0.4], dtype=np.float16), (6, 1))
    np.savez(tmp_path / "boxes.npz", image_id=ids, cls80=(ids - 7).astype(np.uint8), cxcywh=corners)
    (tmp_path / "ids.txt").write_text("8\n")
    out = tmp_path / "layouts.jsonl"
    run("--layouts", str(tmp_path / "boxes.npz"), "--exclude", str(tmp_path / "ids.txt"), "-o", str(out))
    assert "the boxes of 2 pictures, no phrases" in capsys.readouterr().out
    assert sorted(one.category_ids.tolist() for one in read_layouts(out, classes=80)) == [[0, 0], [2, 2]]
    assert read_box_grounding(out, classes=80) == []


def test_refusals(sample: Path, tmp_path: Path) -> None:
    out = ["-o", str(tmp_path / "out.jsonl")]
    with pytest.raises(UsageError, match="one source"):
        run(*out)
    with pytest.raises(UsageError, match="one source"):
        run("--refcoco-sample", str(sample), "--referitgame", str(sample), *out)
    with pytest.raises(DataError, match="train_boxes"):
        run("--refcoco-sample", str(tmp_path), *out)
    with pytest.raises(DataError, match="referit"):
        run("--referitgame", str(tmp_path), *out)
    assert not (tmp_path / "out.jsonl").exists()
