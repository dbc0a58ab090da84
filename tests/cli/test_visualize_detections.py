"""`risctl visualize detections`: what is found by class beside what is annotated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from systems.tiny import tiny_store
from systems.tiny_zsi import tiny_zsi

from risctl.cli.app import main
from risctl.language.coco_classes import SPLITS


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["risctl", "visualize", "detections", *map(str, arguments)])
    try:
        main()
    except SystemExit as left:
        return int(left.code or 0)
    return 0


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tiny_store(tmp_path, images=5, validation=3)


def test_a_sheet_is_written(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of classes of the checkpoint; unseen ones alone; named ones."""
    model, sheet = tiny_zsi(tmp_path), tmp_path / "sheet.png"
    common = (store, "--model", model, "--split", "val", "-n", 2, "--most", 3, "--out", sheet, "--json")
    for more, names in (
        ((), {*SPLITS["48_17"].seen, *SPLITS["48_17"].unseen}),
        (("--unseen",), {*SPLITS["48_17"].unseen}),
        (("--classes", "castle, zebra"), {"castle", "zebra"}),
    ):
        assert call(monkeypatch, *common, *more) == 0
        told = json.loads(capsys.readouterr().out)
        assert len(told["pictures"]) == 2
        for picture in told["pictures"]:
            scores = [one["score"] for one in picture["found"]]
            assert 0 < len(scores) <= 3 and scores == sorted(scores, reverse=True)
            assert {one["class"] for one in picture["found"]} <= names
        with Image.open(sheet) as drawn:
            assert drawn.width > 400


def test_what_cannot_be_drawn(
    store: Path,
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = (store, "--split", "val", "--out", tmp_path / "sheet.png")
    assert call(monkeypatch, *common, "--model", tiny_checkpoint, "--classes", "cat") == 2
    assert "answers phrases" in capsys.readouterr().err
    assert call(monkeypatch, *common, "--model", tiny_checkpoint, "--unseen") == 2
    assert "--unseen asks a ZSI" in capsys.readouterr().err
    assert not (tmp_path / "sheet.png").exists()
