"""A prediction shows itself in a line, in a notebook, and as files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw

from risctl.errors import UsageError
from risctl.results import Prediction
from risctl.vision import rle
from risctl.vision.polygons import outlines

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def made(image: np.ndarray | None = PIXELS) -> Prediction:
    probability = np.zeros((40, 60), dtype=np.float32)
    probability[10:30, 20:50] = 0.9
    return Prediction(
        text="the red cup", probability=probability, threshold=0.5, score=0.87654, box=(20, 10, 30, 20), image=image
    )


def test_a_prediction_is_one_line() -> None:
    assert repr(made()) == (
        "Prediction('the red cup', score=0.877, mask=600 of 60x40 pixels, box=(20, 10, 30, 20), matched=True)"
    )
    nothing = Prediction(
        text="x", probability=np.zeros((4, 5), np.float32), threshold=0.5, score=0.0, box=None, matched=False
    )
    assert repr(nothing) == "Prediction('x', score=0.000, mask=0 of 5x4 pixels, box=none, matched=False)"


def test_a_notebook_shows_the_image_with_the_mask() -> None:
    data = made()._repr_png_()
    assert data is not None and data.startswith(b"\x89PNG")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), made().overlay())
    assert made(None)._repr_png_() is None


def test_a_cutout_is_transparent_outside_the_mask() -> None:
    cutout = made().cutout()
    assert cutout.shape == (40, 60, 4) and cutout.dtype == np.uint8
    assert np.array_equal(cutout[..., :3], PIXELS) and np.array_equal(cutout[..., 3] == 255, made().mask)
    with pytest.raises(ValueError, match="cutout"):
        made(None).cutout()
    with pytest.raises(ValueError, match="overlay"):
        made(None).overlay()


def test_saved_files_hold_what_their_suffix_says(tmp_path: Path) -> None:
    one = made()
    mask = np.asarray(Image.open(one.save(tmp_path / "mask.png")))
    assert mask.dtype == np.uint8 and np.array_equal(mask, one.mask * np.uint8(255))
    assert Image.open(one.save(str(tmp_path / "drawn.JPG"))).format == "JPEG"
    with np.load(one.save(tmp_path / "arrays.npz")) as held:
        assert np.array_equal(held["probability"], one.probability) and np.array_equal(held["mask"], one.mask)
    record = json.loads(one.save(tmp_path / "record.json").read_text())
    assert record == one.to_dict() and np.array_equal(rle.decode(record["segmentation"]), one.mask)
    assert record["area"] == 600 and record["box"] == [20, 10, 30, 20]


def test_saving_replaces_nothing_unasked_and_names_the_suffixes(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_text("mine")
    with pytest.raises(UsageError, match="overwrite=True"):
        made().save(path)
    assert path.read_text() == "mine"
    assert made().save(path, overwrite=True) == path
    for wrong in ("mask.bmp", "mask"):
        with pytest.raises(UsageError, match=r"\.png, \.jpg, \.jpeg, \.npz, \.json"):
            made().save(tmp_path / wrong)
    with pytest.raises(UsageError, match="kept no image"):
        made(None).save(tmp_path / "drawn.jpg")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mask.png"]


def test_the_outline_of_a_rectangle_is_its_corners() -> None:
    [polygon] = made().polygon()
    corners = {(polygon[place], polygon[place + 1]) for place in range(0, len(polygon), 2)}
    assert len(polygon) == 8 and corners == {(20, 10), (50, 10), (50, 30), (20, 30)}


def test_parts_and_holes_have_outlines_of_their_own() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[2:10, 2:10] = True
    mask[4:6, 4:6] = False
    mask[10:15, 10:15] = True  # touches the other part at a corner
    assert len(outlines(mask)) == 2 and len(outlines(mask, holes=True)) == 3
    assert outlines(np.zeros((5, 5), dtype=bool)) == []


def test_filled_outlines_give_a_round_mask_back() -> None:
    y, x = np.mgrid[:80, :90]
    mask = ((x - 40) / 30) ** 2 + ((y - 35) / 22) ** 2 < 1
    polygons = outlines(mask)
    filled = rle.decode(rle.from_segmentation(polygons, height=80, width=90))
    assert (filled & mask).sum() / (filled | mask).sum() > 0.97


@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_even_odd_filling_gives_any_mask_back(mask: np.ndarray) -> None:
    scale, filled = 8, np.zeros((mask.shape[0] * 8, mask.shape[1] * 8), dtype=bool)
    for polygon in outlines(mask, holes=True):
        canvas = Image.new("1", (filled.shape[1], filled.shape[0]))
        ImageDraw.Draw(canvas).polygon([scale * side for side in polygon], fill=1)
        filled ^= np.asarray(canvas)
    assert np.array_equal(filled[scale // 2 :: scale, scale // 2 :: scale], mask)
