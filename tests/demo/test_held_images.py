"""The images that are kept."""

from __future__ import annotations

import numpy as np

from risctl.demo.held_images import HeldImage, HeldImages


def image(name: str, side: int = 10) -> HeldImage:
    return HeldImage(digest=name, pixels=np.zeros((side, side, 3), dtype=np.uint8))


def test_those_asked_for_last_are_kept() -> None:
    held = HeldImages(count=2, pixel_bytes=10_000)
    for name in "ab":
        held.put(image(name))
    assert held.get("a") is not None
    held.put(image("c"))
    assert len(held) == 2 and held.get("b") is None and held.get("a") is not None and held.get("c") is not None


def test_their_pixels_are_bounded_and_the_last_one_stays() -> None:
    held = HeldImages(count=9, pixel_bytes=700)
    held.put(image("a"))
    held.put(image("b"))
    held.put(image("c"))
    assert held.get("a") is None and len(held) == 2
    held.put(image("large", 100))
    assert len(held) == 1 and held.get("large") is not None
