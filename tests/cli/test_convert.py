"""`risctl convert`, run as a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import store_files
from helpers.command_line import Run

from risctl.cli.convert import NAMES
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
