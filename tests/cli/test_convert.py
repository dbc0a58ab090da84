"""`risctl convert`, run as a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import prediction_files, store_files
from helpers.command_line import Run

from risctl.cli.formats_option import NAMES
from risctl.data.formats.registry import FORMATS
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "noise.h5"
    write_store(store_files.dataset(images=6), path)
    return path


def test_the_help_names_every_format() -> None:
    assert list(NAMES) == list(FORMATS)


def test_every_format_is_written_beside_the_images(risctl: Run, store: Path, tmp_path: Path) -> None:
    code, out, err = risctl("convert", store, "--to", ",".join(NAMES), "--out", tmp_path / "out", "--json")
    assert code == 0, err
    told = json.loads(out)["files"]
    assert set(told) == {*NAMES, "images"} and told["images"] == 6
    with Store(store) as opened:
        assert (tmp_path / "out" / "images" / "1000.jpg").read_bytes() == opened.image_bytes(0)
    copied = tmp_path / "out" / "yolo-seg" / "images" / "1000.jpg"
    assert copied.read_bytes() == (tmp_path / "out" / "images" / "1000.jpg").read_bytes()
    assert (tmp_path / "out" / "yolo-seg" / "labels" / "1000.txt").is_file()
    # What was written scores as what it is: the store's own masks.
    results = tmp_path / "out" / "coco-results" / "results.json"
    code, out, err = risctl("score", results, "--data", store, "--split", "all", "--json", "--quiet")
    assert code == 0, err
    assert json.loads(out)["figures"]["mIoU"] == 100


def test_files_that_are_there_stay_unless_told(risctl: Run, store: Path, tmp_path: Path) -> None:
    command = ("convert", store, "--to", "davis", "--out", tmp_path, "--no-images")
    assert risctl(*command)[0] == 0
    code, _, err = risctl(*command)
    assert code == 2 and "holds files already; replace them with --overwrite" in err
    assert risctl(*command, "--overwrite")[0] == 0
    code, _, err = risctl("convert", store, "--to", "cocoo")
    assert code == 2 and "unknown format 'cocoo'; did you mean 'coco'?" in err


def test_predictions_of_every_form_are_converted(risctl: Run, store: Path, tmp_path: Path) -> None:
    expressions = prediction_files.expressions(store, "all")
    masks = prediction_files.shifted_targets(store, "all")
    written = []
    for name in ("json_lines", "coco_results", "png_folder", "npz"):
        folder = tmp_path / name
        folder.mkdir()
        predictions = getattr(prediction_files, name)(folder, expressions, masks)
        out = tmp_path / f"out-{name}"
        code, told, err = risctl(
            "convert", predictions, "--data", store, "--to", "coco-results", "--out", out, "--json"
        )
        assert code == 0, err
        data = json.loads(told)
        assert data["converted"] == data["sentences"] == len(masks) and data["files"]["images"] == 6
        written.append(json.loads((out / "coco-results" / "results.json").read_text()))
    texts = [[(one["sent_id"], one["segmentation"]) for one in results] for results in written]
    assert texts[0] and all(one == texts[0] for one in texts)
    # They score as what they were converted from.
    figures = []
    for path in (tmp_path / "json_lines", tmp_path / "out-json_lines" / "coco-results"):
        [file] = path.glob("*.json*")
        code, told, err = risctl("score", file, "--data", store, "--split", "all", "--json", "--quiet")
        assert code == 0, err
        figures.append(json.loads(told)["figures"])
    assert figures[0] == figures[1]


@pytest.mark.parametrize(
    "broken", ['{"sent_id"', '{"sent_id": SENT, "segmentation": {"size": [24, 24], "counts": "00"}}']
)
def test_a_broken_line_is_named_and_nothing_written(risctl: Run, store: Path, tmp_path: Path, broken: str) -> None:
    expressions = prediction_files.expressions(store, "all")
    masks = prediction_files.shifted_targets(store, "all")
    predictions = prediction_files.json_lines(tmp_path, expressions, masks)
    lines = predictions.read_text().splitlines()
    lines[2] = broken.replace("SENT", str(json.loads(lines[2])["sent_id"]))
    predictions.write_text("\n".join(lines) + "\n")
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out"
    for command, made in (
        (("convert", predictions, "--data", store, "--to", "coco,labelme", "--out", out), out),
        (("score", predictions, "--data", store, "--split", "all", "--rows", rows), rows),
    ):
        code, _, err = risctl(*command)
        assert code == 4 and "line 3" in err and "--lenient" in err and not made.exists(), err
        code, told, err = risctl(*command, "--lenient", "--json")
        assert code == 0 and made.exists(), err
        data = json.loads(told)
        assert data.get("coverage", data)["broken"] == 1
    assert data["coverage"]["missing"] == 1
    converted = json.loads((out / "coco" / "instances.json").read_text())["annotations"]
    texts = [text for one in converted for text in one["attributes"]["phrases"]]
    assert 0 < len(texts) < len(masks)


def test_options_of_predictions_need_their_store(risctl: Run, store: Path) -> None:
    code, _, err = risctl("convert", store, "--to", "coco", "--lenient")
    assert code == 2 and "name their store with --data" in err
