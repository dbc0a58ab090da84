"""Contact sheets."""

from __future__ import annotations

import numpy as np
import pytest

from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.contact_sheet import contact_sheet, fit_image, grid


def flat(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def test_images_stand_in_rows_above_their_captions() -> None:
    images = [flat(100, 200, 10), flat(300, 100, 20), flat(50, 50, 30)]
    sheet = contact_sheet(images, ["one", "two", "three"], columns=2, cell=120)
    assert sheet.dtype == np.uint8 and sheet.shape[1] == 2 * (120 + 12) + 12
    for value in (10, 20, 30):
        assert (sheet == value).all(axis=2).sum() > 1000
    assert ((sheet == 30).all(axis=2)).sum() >= 2500, "small pictures are not scaled"
    bare = contact_sheet(images, columns=2, cell=120)
    assert bare.shape[0] < sheet.shape[0]


def test_a_sheet_is_no_wider_than_its_images_need() -> None:
    assert contact_sheet([flat(10, 10, 5)], columns=4, cell=100).shape[1] == 100 + 24


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(ValueError):
        contact_sheet([])
    with pytest.raises(ValueError):
        contact_sheet([flat(10, 10, 5)], ["one", "two"])


def test_a_grid_leaves_its_panels_as_they_are_under_the_heading() -> None:
    panels = [flat(30, 40, 10), flat(50, 20, 20), flat(10, 10, 30)]
    sheet = grid(panels, columns=2, heading=[Caption(text="what this is", colour=(0, 158, 115))])
    below = sheet[-(50 + 10 + 2 * 12) :]
    for panel, value in zip(panels, (10, 20, 30), strict=True):
        assert (below == value).all(axis=2).sum() == panel.shape[0] * panel.shape[1]
    assert (sheet == (0, 158, 115)).all(axis=2).sum() > 100
    assert grid(panels, columns=2).shape[1] == 2 * (40 + 12) + 12
    with pytest.raises(ValueError, match="at least one"):
        grid([], columns=2)


def test_a_small_mask_survives_being_fitted() -> None:
    mask = np.zeros((1000, 2000), dtype=bool)
    mask[500, 700] = True
    image, [small, none] = fit_image(flat(1000, 2000, 5), [mask, np.zeros_like(mask)], width=100, height=100)
    assert image.shape == (50, 100, 3)
    assert 1 <= small.sum() <= 4 and small[25, 35] and not none.any()


def test_captions_stand_under_the_image_however_narrow_it_is() -> None:
    image = flat(30, 10, 200)
    captions = [Caption(text="a long caption that needs several lines " * 3, colour=(0, 158, 115)), Caption(text="b")]
    whole = with_captions(image, captions, size=14)
    assert (whole[:30, :10] == 200).all()
    assert whole.shape[1] == 240 and whole.shape[0] > 30 + 3 * 14
    assert with_captions(image, captions, size=14, width=400).shape[1] == 400
