"""`risctl predict --format`: predictions in the formats of annotation tools, and back into a store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import custom_files
from helpers.command_line import Run
from PIL import Image

from risctl.cli.formats_option import NAMES
from risctl.data.formats.registry import FORMATS
from risctl.data.store.reader import Store
from risctl.vision import rle


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(2):
        custom_files.write_image(tmp_path / "photos" / f"{number}.png", seed=number, height=30, width=40)
    return tmp_path / "photos"


def test_the_help_names_every_format() -> None:
    assert list(NAMES) == list(FORMATS)


def test_a_folder_in_every_format_at_once_and_back(
    risctl: Run, photos: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    options = ("--model", tiny_checkpoint, "--device", "cpu", "--out", "out", "--format", ",".join(("png", *NAMES)))
    result = risctl("predict", photos, "the red cup", "left", *options, "--json")
    assert result.code == 0, result.err
    records = json.loads(result.out)
    assert len(records) == 4 and all(Path(record["mask"]).is_file() for record in records)
    assert (Path("out") / "images" / "1.png").read_bytes() == (photos / "1.png").read_bytes()
    masks = {(Path(one["image"]).name, one["text"]): one["segmentation"]["counts"] for one in records}
    for name in NAMES:
        store = tmp_path / f"{name}.h5"
        code, _, err = risctl("prepare", "custom", Path("out") / name, "--out", store, "--splits", "all-of-it=1")
        assert code == 0, (name, err)
        with Store(store) as opened:
            found = {
                (opened.image(sentence.image).file_name, sentence.raw): opened.mask(sentence.ref)["counts"]
                for sentence in map(opened.sentence, range(4))
            }
        assert found == masks, name
    results = json.loads((Path("out") / "coco-results" / "results.json").read_text())
    assert [one["score"] for one in results] == [record["score"] for record in records]
    # What is there stays, and is an error before the model is loaded.
    code, _, err = risctl("predict", photos, "left", "--model", "none.safetensors", "--out", "out", "--format", "coco")
    assert code == 2 and "holds files already" in err


def test_without_png_no_other_file_is_written(risctl: Run, photos: Path, tiny_checkpoint: Path) -> None:
    options = ("--model", tiny_checkpoint, "--device", "cpu", "--always", "--out", "out")
    result = risctl("predict", photos / "0.png", "cup", *options, "--format", "labelme", "--no-images")
    assert result.code == 0, result.err
    assert len(result.out.rstrip("\n").split("\t")) == 3 and "out/labelme: 1 file" in result.err
    assert [path.name for path in Path("out").rglob("*") if path.is_file()] == ["0.json"]


def test_formats_that_are_none_are_named(risctl: Run, photos: Path, tmp_path: Path) -> None:
    code, _, err = risctl("predict", photos, "cup", "--format", "png,labelmee")
    assert code == 2 and "unknown format 'labelmee'; did you mean 'labelme'?" in err
    code, _, err = risctl("predict", photos, "--classes", "cup", "--format", "coco")
    assert code == 2 and "--format" in err
    code, _, err = risctl("predict", photos, "cup", "--video", "--format", "coco,davis")
    assert code == 2 and "coco is of pictures; --format of a video takes png and davis" in err


def test_a_video_as_davis(risctl: Run, photos: Path, tiny_checkpoint: Path) -> None:
    options = ("--video", "--model", tiny_checkpoint, "--device", "cpu", "--always", "--out", "out")
    result = risctl("predict", photos, "cup", "left", *options, "--format", "davis", "--json", "--quiet")
    assert result.code == 0, result.err
    records = json.loads(result.out)
    assert [(one["text"], one["frames"], one["complete"]) for one in records] == [("cup", 2, True), ("left", 2, True)]
    rows = [json.loads(line) for line in Path("out/davis/phrases.jsonl").read_text().splitlines()]
    assert [(row["file_name"], row["phrases"]) for row in rows] == [
        (f"photos/{number}.png", [text]) for number in range(2) for text in ("cup", "left")
    ]
    for row in rows:
        with Image.open(Path("out/davis/Annotations") / row["file_name"]) as image:
            assert image.mode == "P"
            indices = np.asarray(image)
        mask = rle.decode(row["segmentation"]) if "segmentation" in row else indices == row["index"]
        assert row["index"] == 0 or mask.any()
    # The record of both formats says where each is.
    again = risctl("predict", photos, "cup", *options[:-1], "both", "--format", "png,davis", "--json", "--quiet")
    assert again.code == 0, again.err
    [record] = json.loads(again.out)
    assert Path(record["masks"]).is_dir() and Path(record["davis"]).is_dir()
