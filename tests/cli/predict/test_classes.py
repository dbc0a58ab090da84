"""`risctl predict --classes`: things found by class name, as files and lines."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import Run
from helpers.tiny import tiny_store
from helpers.tiny_zsi import tiny_zsi
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO

from risctl.cli.predict.classes import category_ids, parse_names
from risctl.errors import UsageError


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny_zsi(tmp_path)


@pytest.fixture
def predict(risctl: Run) -> Run:
    return partial(risctl, "predict")


def test_things_by_name(predict: Run, checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A seen class, an unseen one and a word of no class: COCO's results, masks of the picture's size, an overlay."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save("photo_000012.png")
    asked = (
        "photo_000012.png",
        "--classes",
        "Zebra, skateboard,castle",
        "--model",
        checkpoint,
        "--min-score",
        0.05,
        "--json",
    )
    code, out, err = predict(*asked)
    assert code == 0, err
    results = json.loads(out)
    assert results == json.loads(Path("predictions/photo_000012.classes.json").read_text())
    assert {result["category"]: result["category_id"] for result in results} == {
        "zebra": 24,
        "skateboard": 41,
        "castle": 91,
    }
    assert 0 < len(results) <= 100
    assert [result["score"] for result in results] == sorted((result["score"] for result in results), reverse=True)
    for result in results:
        assert result["image_id"] == 12 and result["segmentation"]["size"] == [60, 90]
        x, y, width, height = result["bbox"]
        assert 0 <= x <= x + width <= 90.01 and 0 <= y <= y + height <= 60.01
        assert coco_masks.decode(result["segmentation"]).shape == (60, 90)
    there = COCO()
    there.dataset = {
        "images": [{"id": 12, "height": 60, "width": 90}],
        "categories": [{"id": number} for number in (24, 41, 91)],
        "annotations": [],
    }
    there.createIndex()
    read = there.loadRes("predictions/photo_000012.classes.json")
    capfd.readouterr()  # it prints
    assert [one["segmentation"] for one in read.dataset["annotations"]] == [
        result["segmentation"] for result in results
    ]
    with Image.open("predictions/photo_000012.classes.png") as drawn:
        assert drawn.width >= 90
    code, out, err = predict(*asked[:-1], "--min-score", 0.99, "--overwrite")
    assert (code, out) == (0, "")
    assert "no object of these categories was found above 0.99; the best scores 0." in err and "--min-score" in err


def test_two_bears_are_two_lines(predict: Run, shared: Path) -> None:
    """By default what a person would count, and not the many boxes of little score that COCO's AP is fed with."""
    photo = shared / "data" / "coco_mini" / "images" / "000000318080.jpg"
    sure = predict(photo, "--classes", "bear, dog", "--out", "sure", "--quiet")
    assert [line.split("\t")[0] for line in sure.out.splitlines()] == ["bear", "bear"], sure.err
    every = predict(photo, "--classes", "bear, dog", "--out", "every", "--quiet", "--min-score", 0.05)
    assert len(every.out.splitlines()) > 10


def test_pictures_of_one_name_and_one_that_cannot_be_read(predict: Run, checkpoint: Path, tmp_path: Path) -> None:
    """All but the damaged one are done; files and numbers are told apart; what is there stays."""
    long = f"{'w' * 241}.png"
    for name in ("a/photo.png", "b/photo.jpg", "b/photo7.png", "c/photo7.png", long):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save(name)
    Path("b/photo.jpg").write_bytes(Path("b/photo.jpg").read_bytes()[:200])
    Image.new("RGB", (40, 30), "red").save("a/photo.jpg")
    pictures = ("a/photo.png", "b/photo.jpg", "a/photo.jpg", "b/photo7.png", "c/photo7.png", long)
    common = ("--classes", "zebra,castle", "--model", checkpoint, "--json", "--min-score", 0)
    code, out, err = predict(*pictures, *common)
    assert code == 4 and "b/photo.jpg is a damaged or truncated picture" in err and "1 of 6 pictures" in err
    numbers = {result["file_name"]: result["image_id"] for result in json.loads(out)}
    assert set(numbers) == {str(tmp_path / name) for name in pictures if name != "b/photo.jpg"}
    assert len(set(numbers.values())) == 5 and numbers[str(tmp_path / "b/photo7.png")] == 7
    written = [json.loads(path.read_text()) for path in Path("predictions").glob("*.json")]
    assert {results[0]["file_name"] for results in written} == set(numbers)
    assert all(len({result["image_id"] for result in results}) == 1 for results in written)
    code, out, err = predict(*pictures, *common)
    assert (code, out) == (2, "") and "--overwrite" in err


def test_a_picture_in_which_nothing_was_found_keeps_its_files(predict: Run, checkpoint: Path) -> None:
    for name in ("a/photo.png", "b/photo.png"):
        Path(name).parent.mkdir()
        Image.new("RGB", (90, 60), "red").save(name)
        common = ("--classes", "zebra", "--model", checkpoint, "--min-score", 1, "--overwrite")
        assert predict(name, *common).code == predict(name, *common).code == 0
    assert len(list(Path("predictions").glob("*.json"))) == 2


def test_a_phrase_is_answered(predict: Run, checkpoint: Path) -> None:
    """Of an unseen class and of a word of no class; other words of the place give another answer."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save("photo.png")
    texts = ("the skateboard on the left", "the skateboard on the right", "biggest castle")
    code, out, err = predict("photo.png", *texts, "--model", checkpoint, "--json")
    assert code == 0, err
    left, right, castle = json.loads(out)
    assert all(0 < one["score"] <= 1 for one in (left, right, castle))
    centres = [one["box"][0] + one["box"][2] / 2 for one in (left, right) if one["box"]]
    assert len(centres) == 2 and centres[0] < centres[1]


def test_what_cannot_be_asked(predict: Run, checkpoint: Path) -> None:
    Image.new("RGB", (80, 60)).save("photo.png")
    code, _, err = predict("photo.png", "--classes", "zebr", "--model", checkpoint)
    assert code == 2 and "did you mean 'zebra'" in err
    code, _, err = predict("photo.png", "--classes", "cat, castle moat", "--model", checkpoint)
    assert code == 2 and "'moat' of 'castle moat' has no vector in this checkpoint" in err
    assert len(err.strip().splitlines()) == 2  # what the model is, and the error
    code, _, err = predict("photo.png", "--classes", "cat", "--text", "a cat", "--model", checkpoint)
    assert code == 2 and "--text" in err and "--video" in err


def test_a_system_that_answers_phrases_says_so(predict: Run, tiny_checkpoint: Path) -> None:
    Image.new("RGB", (80, 60)).save("photo.png")
    code, _, err = predict("photo.png", "--classes", "cat", "--model", tiny_checkpoint)
    assert code == 2 and "answers phrases" in err


def test_eval_by_class_is_for_what_finds_classes(risctl: Run, tiny_checkpoint: Path, tmp_path: Path) -> None:
    store = tiny_store(tmp_path, images=3, validation=1)
    code, _, err = risctl("eval", "--model", tiny_checkpoint, "--data", store, "--protocol", "zsi")
    assert code == 2 and "answers phrases" in err


def test_names_and_their_numbers() -> None:
    assert parse_names(" Tennis  racket,cat,, cat") == ["tennis racket", "cat"]
    with pytest.raises(UsageError, match="names between commas"):
        parse_names(" ,")
    numbers = category_ids(["castle", "cat", "moat"])
    assert (numbers["castle"], numbers["cat"], numbers["moat"]) == (91, 17, 92)
