"""Predictions as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from risctl.errors import DataError
from risctl.inference import output_files
from risctl.inference.output_files import PredictionFolder
from risctl.results import Prediction
from risctl.vision import rle


def prediction(*, height: int, width: int, text: str = "the red cup") -> Prediction:
    probability = np.zeros((height, width), dtype=np.float32)
    probability[height // 4 : height // 2, width // 4 : width // 2] = 0.8
    return Prediction(
        text=text,
        probability=probability,
        threshold=0.5,
        score=0.8,
        box=rle.box(rle.encode(probability > 0.5)),
        image=np.full((height, width, 3), 90, dtype=np.uint8),
    )


def test_the_files_say_what_the_record_says(tmp_path: Path) -> None:
    one = prediction(height=120, width=160)
    record = PredictionFolder(tmp_path / "out").write(one, image="a/b.jpg", name="b", model="best.safetensors")
    assert record == json.loads((tmp_path / "out" / "b.the-red-cup.json").read_text())
    np.testing.assert_array_equal(np.asarray(Image.open(record["mask"])) == 255, one.mask)
    assert record["box"] == [40, 30, 40, 30] and record["area"] == 1200


def test_overlays_of_large_images_are_scaled_down_and_masks_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_files, "_OVERLAY_PIXELS", 30_000)
    record = PredictionFolder(tmp_path).write(prediction(height=400, width=600), image="b.jpg", name="b", model="m")
    assert Image.open(record["mask"]).size == (600, 400)
    with Image.open(record["overlay"]) as drawn:
        assert drawn.width * drawn.height <= 30_000 * 1.3 and drawn.width > 200
        inside, outside = drawn.getpixel((80, 53)), drawn.getpixel((180, 120))
    assert inside != outside
    assert all(abs(value - 90) < 8 for value in outside)  # type: ignore[union-attr]


def test_long_names_fit_the_file_system(tmp_path: Path) -> None:
    one = prediction(height=20, width=20, text="word " * 60)
    folder = PredictionFolder(tmp_path)
    first = folder.write(one, image="1", name="я" * 120, model="m")
    second = folder.write(one, image="2", name="я" * 119 + "!", model="m")
    assert first["mask"] != second["mask"]
    assert Path(first["mask"]).is_file() and Path(second["mask"]).is_file()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file"):
        PredictionFolder(tmp_path / "file").write(prediction(height=9, width=9), image="b", name="b", model="m")
