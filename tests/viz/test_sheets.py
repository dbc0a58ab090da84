"""Contact sheets."""

from __future__ import annotations

import numpy as np
import pytest

from risctl.viz.sheets import contact_sheet


def flat(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def test_pictures_stand_in_rows_above_their_captions() -> None:
    pictures = [flat(100, 200, 10), flat(300, 100, 20), flat(50, 50, 30)]
    sheet = contact_sheet(pictures, ["one", "two", "three"], columns=2, cell=120)
    assert sheet.dtype == np.uint8 and sheet.shape[1] == 2 * (120 + 12) + 12
    for value in (10, 20, 30):
        assert (sheet == value).all(axis=2).sum() > 1000
    assert ((sheet == 30).all(axis=2)).sum() >= 2500, "small pictures are not scaled"
    bare = contact_sheet(pictures, columns=2, cell=120)
    assert bare.shape[0] < sheet.shape[0]


def test_a_sheet_is_no_wider_than_its_pictures_need() -> None:
    assert contact_sheet([flat(10, 10, 5)], columns=4, cell=100).shape[1] == 100 + 24


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(ValueError):
        contact_sheet([])
    with pytest.raises(ValueError):
        contact_sheet([flat(10, 10, 5)], ["one", "two"])
