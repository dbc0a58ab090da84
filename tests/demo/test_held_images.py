"""The images that are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from risctl.demo.held_images import HeldImage, HeldImages


def image(name: str, side: int = 10) -> HeldImage:
    return HeldImage(digest=name, pixels=np.zeros((side, side, 3), dtype=np.uint8))


@dataclass(frozen=True, slots=True)
class Encoded:
    maps: tuple[np.ndarray, ...]
    names: dict[str, np.ndarray]


def test_those_asked_for_last_are_kept() -> None:
    held = HeldImages(count=2, most_bytes=10_000)
    for name in "ab":
        held.put(image(name))
    assert held.get("a") is not None
    held.put(image("c"))
    assert len(held) == 2 and held.get("b") is None and held.get("a") is not None and held.get("c") is not None


def test_their_pixels_are_bounded_and_the_last_one_stays() -> None:
    held = HeldImages(count=9, most_bytes=700)
    held.put(image("a"))
    held.put(image("b"))
    held.put(image("c"))
    assert held.get("a") is None and len(held) == 2
    held.put(image("large", 100))
    assert len(held) == 1 and held.get("large") is not None


def test_what_models_made_of_them_counts() -> None:
    held = HeldImages(count=9, most_bytes=1_000)
    held.put(image("a"))
    second = image("b")
    held.put(second)
    assert len(held) == 2
    second.encoded["first"] = Encoded(maps=(np.zeros(50, dtype=np.float32),), names={"boxes": np.zeros(25)})
    assert second.nbytes == 300 + 200 + 200
    held.put(second)
    assert len(held) == 2
    second.encoded["second"] = [np.zeros(8)]
    held.put(second)
    assert len(held) == 1 and held.get("b") is second
