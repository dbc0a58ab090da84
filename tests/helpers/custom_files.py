"""Makes a small dataset as a user writes one, for the tests of reading, checking and preparing it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 60
SQUARE = [10, 5, 30, 5, 30, 25, 10, 25]


def write_image(path: Path, *, seed: int = 0, height: int = HEIGHT, width: int = WIDTH, turned: int = 1) -> Path:
    """Write an image of noise; `turned` is its EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = turned
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def square(*, height: int = HEIGHT, width: int = WIDTH, x: int = 10, y: int = 5, side: int = 20) -> np.ndarray:
    """Return a mask, bool (height, width), with a square set."""
    mask = np.zeros((height, width), dtype=bool)
    mask[y : y + side, x : x + side] = True
    return mask


def mask_file(path: Path, mask: np.ndarray, *, mode: str = "L") -> Path:
    """Write a mask as a PNG of a mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask.astype(np.uint8) * (1 if mode in ("P", "I;16") else 255))
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 30, 30])
    elif mode == "I;16":
        image = Image.fromarray(mask.astype(np.uint16))
    else:
        image = image.convert(mode)
    image.save(path)
    return path


def png(image: Image.Image) -> bytes:
    """Return the bytes of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def lines(path: Path, entries: Sequence[Any]) -> Path:
    """Write JSON Lines; a text entry is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def sound(folder: Path, *, images: int = 10) -> Path:
    """Write a sound file of several images, with two texts of a thing and one of nothing each; return it."""
    entries = []
    for number in range(images):
        write_image(folder / f"photos/{number}.jpg", seed=number)
        polygon = [value + number % 4 for value in SQUARE]
        name = f"photos/{number}.jpg"
        entries.append({"image": name, "texts": ["the red cup", "cup"], "mask": polygon, "category": "cup"})
        entries.append({"image": name, "text": "a zebra", "mask": None, "abilities": ["absent"]})
    return lines(folder / "cups.jsonl", entries)
