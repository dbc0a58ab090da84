"""Overlays: what is drawn where, at any size of image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import COLOURS, colour

GREY = 90


def disc(height: int, width: int, *, y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def near(pixels: np.ndarray, paint: tuple[int, int, int]) -> np.ndarray:
    """Where `pixels` (H, W, 3) have the full colour `paint`, as the label's strip has."""
    return (np.abs(pixels.astype(int) - paint) <= 1).all(axis=2)


def test_the_object_is_tinted_evenly_and_the_rest_left_alone() -> None:
    mask = disc(240, 320, y=120, x=160, radius=60)
    drawn = overlay(grey(240, 320), [mask])
    assert drawn.shape == (240, 320, 3) and drawn.dtype == np.uint8
    inner = disc(240, 320, y=120, x=160, radius=57)
    assert np.ptp(drawn[inner], axis=0).max() == 0
    assert (drawn[inner][0] != GREY).any()
    outer = ~disc(240, 320, y=120, x=160, radius=70)
    assert (drawn[outer] == GREY).all()


def test_the_tint_lets_the_image_show_through() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    mask = np.ones((100, 100), dtype=bool)
    drawn = overlay(image, [mask])
    for channel in range(3):
        assert np.corrcoef(image[..., channel].ravel(), drawn[..., channel].ravel())[0, 1] > 0.99


def test_the_outline_lies_outside_the_object_in_its_colour() -> None:
    mask = disc(240, 320, y=120, x=160, radius=60)
    drawn = overlay(grey(240, 320), [mask])
    ring = disc(240, 320, y=120, x=160, radius=61.2) & ~disc(240, 320, y=120, x=160, radius=60.2)
    distance = np.abs(drawn[ring].astype(int) - COLOURS[0]).max(axis=1)
    assert np.median(distance) < 40


def test_one_pixel_objects_can_be_seen() -> None:
    mask = np.zeros((200, 200), dtype=bool)
    mask[100, 100] = True
    drawn = overlay(grey(200, 200), [mask])
    assert ((drawn != GREY).any(axis=2)).sum() >= 9


def test_the_input_is_not_changed() -> None:
    image, mask = grey(50, 60), disc(50, 60, y=20, x=20, radius=9)
    overlay(image, [mask], ["a cup"])
    assert (image == GREY).all() and mask.sum() == disc(50, 60, y=20, x=20, radius=9).sum()


def test_a_label_stands_beside_the_object_within_the_image() -> None:
    mask = disc(240, 320, y=140, x=160, radius=50)
    with_label = overlay(grey(240, 320), [mask], ["the red cup"])
    without = overlay(grey(240, 320), [mask])
    assert with_label.shape == (240, 320, 3)
    changed = (with_label != without).any(axis=2)
    assert changed.sum() > 500
    rows = np.flatnonzero(changed.any(axis=1))
    assert rows[-1] < 90, "above the object, which begins in row 91"
    assert near(with_label, COLOURS[0])[changed].mean() > 0.5


@given(
    st.integers(20, 400),
    st.integers(20, 400),
    st.lists(st.tuples(st.floats(-0.1, 1.1), st.floats(-0.1, 1.1), st.floats(0.02, 0.9)), min_size=1, max_size=4),
)
@settings(max_examples=60)
def test_labels_never_cover_an_object(height: int, width: int, discs: list[tuple[float, float, float]]) -> None:
    masks = [disc(height, width, y=y * height, x=x * width, radius=r * min(height, width)) for y, x, r in discs]
    labels = [f"thing number {index}" for index in range(len(masks))]
    without = overlay(grey(height, width), masks)
    drawn = overlay(grey(height, width), masks, labels)
    assert drawn.shape[0] >= height and drawn.shape[1] >= width
    changed = (drawn[:height, :width] != without).any(axis=2)
    assert not (changed & np.logical_or.reduce(masks)).any()


def test_an_object_that_fills_the_image_is_named_below_it() -> None:
    drawn = overlay(grey(240, 320), [np.ones((240, 320), dtype=bool)], ["everything"])
    assert drawn.shape[0] > 240 and drawn.shape[1] == 320
    np.testing.assert_array_equal(drawn[:240], overlay(grey(240, 320), [np.ones((240, 320), dtype=bool)]))
    bar = drawn[240:]
    assert (bar == 255).all(axis=2).mean() > 0.5
    assert near(bar, COLOURS[0]).any() and (bar < 60).all(axis=2).any()


def test_an_empty_answer_is_named_below_the_image() -> None:
    nothing = np.zeros((240, 320), dtype=bool)
    drawn = overlay(grey(240, 320), [nothing], ["the unicorn"])
    assert (drawn[:240] == GREY).all()
    assert drawn.shape[0] > 240
    other = overlay(grey(240, 320), [np.ones((240, 320), dtype=bool)], ["the unicorn"])
    assert (drawn[240:] != other[240:]).any(), "it reads otherwise than a label of something found"


def test_each_object_has_its_colour() -> None:
    masks = [disc(200, 600, y=100, x=60 + 80 * index, radius=25) for index in range(7)]
    drawn = overlay(grey(200, 600), masks)
    tints = {tuple(drawn[100, 60 + 80 * index]) for index in range(7)}
    assert len(tints) == 7
    assert colour(7) == colour(0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (8, 8), (30, 2000), (3000, 40)])
def test_labels_are_legible_at_any_size(shape: tuple[int, int]) -> None:
    drawn = overlay(grey(*shape), [np.ones(shape, dtype=bool)], ["the cup"])
    bar = drawn[shape[0] :]
    assert bar.shape[0] >= 20 and bar.shape[1] >= 240
    dark = (bar < 100).all(axis=2)
    rows = np.flatnonzero(dark.any(axis=1))
    assert rows[-1] - rows[0] >= 8, "letters are at least 9 pixels high"


def test_letters_grow_with_the_image() -> None:
    heights = []
    for side in (200, 800, 2000):
        drawn = overlay(grey(side, side), [np.ones((side, side), dtype=bool)], ["the cup"])
        heights.append(drawn.shape[0] - side)
    assert heights[0] < heights[1] < heights[2]


@pytest.mark.parametrize("text", ["кружка слева", "左边的猫", "🐈", "a\tb\nc", "\u202eabc", "", "w" * 500, "x " * 400])
def test_any_text_can_be_a_label(text: str) -> None:
    mask = disc(120, 160, y=60, x=80, radius=20)
    drawn = overlay(grey(120, 160), [mask], [text])
    assert drawn.shape[1] >= 160 and drawn.shape[2] == 3


@pytest.mark.parametrize(
    ("picture", "mask", "labels"),
    [
        (np.zeros((4, 4), dtype=np.uint8), np.ones((4, 4), dtype=bool), None),
        (np.zeros((4, 4, 3)), np.ones((4, 4), dtype=bool), None),
        (np.zeros((4, 4, 3), dtype=np.uint8), np.ones((4, 5), dtype=bool), None),
        (np.zeros((4, 4, 3), dtype=np.uint8), np.ones((4, 4), dtype=bool), ["one", "two"]),
    ],
)
def test_what_does_not_fit_is_refused(picture: np.ndarray, mask: np.ndarray, labels: list[str] | None) -> None:
    with pytest.raises(ValueError):
        overlay(picture, [mask], labels)
