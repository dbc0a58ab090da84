"""Pixels have the names that people give them, or none."""

from __future__ import annotations

import pytest
import torch

from risctl.vision.colour_names import NAMES, colour_shares, name_pixels


@pytest.mark.parametrize(
    ("pixel", "name"),
    [
        *(((200, 20, 30), "red"), ((30, 40, 200), "blue"), ((250, 250, 250), "white"), ((5, 5, 5), "black")),
        *(((230, 220, 30), "yellow"), ((240, 130, 20), "orange"), ((20, 140, 40), "green"), ((110, 60, 25), "brown")),
        *(((128, 128, 128), "gray"), ((250, 150, 180), "pink"), ((120, 30, 160), "purple")),
    ],
)
def test_plain_colours(pixel: tuple[int, int, int], name: str) -> None:
    assert NAMES[int(name_pixels(torch.tensor(pixel) / 255))] == name
    assert NAMES[int(colour_shares(torch.tensor(pixel) / 255).argmax())] == name


def test_what_is_between_is_shared() -> None:
    shares = colour_shares(torch.tensor([[100.0, 110, 125], [190, 190, 190]]) / 255)
    assert torch.allclose(shares.sum(-1), torch.ones(2), atol=1e-5)
    assert min(float(shares[0, NAMES.index(name)]) for name in ("blue", "gray")) > 0.1
    assert min(float(shares[1, NAMES.index(name)]) for name in ("white", "gray")) > 0.1


def test_what_is_between_has_no_name() -> None:
    assert int(name_pixels(torch.tensor([0.72, 0.71, 0.7]))) == -1  # light gray or off-white


def test_any_pixels_are_named_each_by_itself() -> None:
    pixels = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(0))
    named = name_pixels(pixels)
    assert named.shape == (4, 5)
    assert named.dtype == torch.int64
    assert int(named.min()) >= -1 and int(named.max()) < len(NAMES)
    assert int(named[2, 3]) == int(name_pixels(pixels[2, 3]))
