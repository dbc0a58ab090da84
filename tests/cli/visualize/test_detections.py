"""`risctl visualize detections`: what is found by class beside what is annotated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.command_line import Run
from helpers.tiny import tiny_store
from helpers.tiny_zsi import tiny_zsi
from PIL import Image

from risctl.language.coco_classes import SPLITS


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tiny_store(tmp_path, images=5, validation=3)


def test_a_sheet_is_written(risctl: Run, store: Path, tmp_path: Path) -> None:
    """Of classes of the checkpoint; unseen ones alone; named ones."""
    model, sheet = tiny_zsi(tmp_path), tmp_path / "sheet.png"
    common = ("visualize", "detections", store, "--model", model, "--split", "val", "-n", 2, "--max-count", 3)
    for more, names in (
        ((), {*SPLITS["48_17"].seen, *SPLITS["48_17"].unseen}),
        (("--unseen",), {*SPLITS["48_17"].unseen}),
        (("--classes", "castle, zebra"), {"castle", "zebra"}),
    ):
        told = json.loads(risctl(*common, *more, "--out", sheet, "--json", "--overwrite").out)
        assert len(told["pictures"]) == 2
        for image in told["pictures"]:
            scores = [one["score"] for one in image["found"]]
            assert 0 < len(scores) <= 3 and scores == sorted(scores, reverse=True)
            assert {one["class"] for one in image["found"]} <= names
        with Image.open(sheet) as drawn:
            assert drawn.width > 400


def test_what_cannot_be_drawn(risctl: Run, store: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    common = ("visualize", "detections", store, "--split", "val", "--out", "sheet.png", "--model", tiny_checkpoint)
    ran = risctl(*common, "--classes", "cat")
    assert ran.code == 2 and "answers phrases" in ran.err
    ran = risctl(*common, "--unseen")
    assert ran.code == 2 and "--unseen detects the unseen" in ran.err
    assert not (tmp_path / "sheet.png").exists()
