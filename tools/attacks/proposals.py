"""Attacks files of mask proposals: npz archives, COCO results, PNGs; of one image of 24 x 32 pixels.

They carry no digests: a flipped bit of a mask is another mask. What is read is right if it is masks of the image's size
with finite scores and with categories.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from attacks.checkpoints import JSON_VALUES, _cut, _flip, _number, _raw, _repacked, _shape, _stretch
from risctl.vision import rle
from risctl.zeroshot.proposals.base import InputImage
from risctl.zeroshot.proposals.files import open_proposal_files

SUITE_COUNT = 60
SIZE = (24, 32)
IMAGE = InputImage(pixels=np.zeros((*SIZE, 3), dtype=np.uint8), name="a_0042.jpg", image_id=42)
FILES = ("plain.npz", "packed.npz", "results.json", "set.json", "42.png", "42/1.png")


def prepare(folder: Path) -> None:
    """Writes the proposals of the image in every form."""
    random = np.random.default_rng(0)
    masks = random.random((5, *SIZE)) > 0.5
    arrays = {"masks": masks, "scores": np.linspace(0, 1, 5, dtype=np.float32), "categories": np.arange(5)}
    np.savez(folder / "plain.npz", **arrays)
    np.savez_compressed(folder / "packed.npz", **arrays)
    entries = [
        {"image_id": 42, "segmentation": rle.encode(mask), "score": 0.5, "category_id": number}
        for number, mask in enumerate(masks)
    ]
    entries.append({"image_id": 42, "segmentation": [[0, 4, 8, 4, 8, 6, 0, 6]], "score": 1})
    (folder / "results.json").write_text(json.dumps(entries))
    images = [{"id": 42, "file_name": IMAGE.name}]
    (folder / "set.json").write_text(json.dumps({"images": images, "annotations": entries}))
    (folder / "42").mkdir()
    Image.fromarray(random.integers(0, 4, SIZE, dtype=np.uint8)).save(folder / "42.png")
    Image.fromarray((masks[0] * 255).astype(np.uint8)).save(folder / "42/1.png")


def mutate(folder: Path, target: Path, random: Random) -> str:
    """Writes mutated proposals into `target`."""
    name = random.choice(FILES)
    data = (folder / name).read_bytes()
    own = {".npz": (_repacked, _shape, _swollen), ".json": (_value,), ".png": (_sides, _sides, _many)}
    chosen = random.choice((_flip, _flip, _cut, _stretch, _number, *own[Path(name).suffix] * 2))
    path = target / "given" / name if name.endswith(".png") else target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(chosen(data, random))
    return f"{chosen.__name__} {name}"


def check(folder: Path, target: Path) -> str:
    """Returns whether the mutated proposals are some of the image."""
    [path] = target.iterdir()
    found = open_proposal_files(path)(IMAGE)
    count = len(found)
    sound = found.masks.dtype == bool and found.masks.shape == (count, *SIZE)
    sound &= found.scores.shape == found.categories.shape == (count,)
    sound &= bool((np.isfinite(found.scores) & (found.categories >= 0)).all())
    return "right" if sound else "wrong"


def _swollen(data: bytes, random: Random) -> bytes:
    """Writes masks by the million, which compress to a few kilobytes."""
    out = io.BytesIO()
    count = random.choice((5, 1000, 9_999, 10_001, 400_000))
    masks = np.zeros((count, *SIZE), dtype=bool)
    more = {"other": np.zeros(3 * 2**26, dtype=np.uint8)} if random.random() < 0.3 else {}
    np.savez_compressed(out, masks=masks, scores=np.zeros(count, dtype=random.choice(("f2", "f8", "u1"))), **more)
    return out.getvalue()


def _value(data: bytes, random: Random) -> bytes:
    """Puts a hostile value into the place of another."""
    content = where = json.loads(data)
    while True:
        key = random.choice(list(where)) if isinstance(where, dict) else random.randrange(len(where))
        if not isinstance(where[key], dict | list) or not where[key] or random.random() < 0.2:
            break
        where = where[key]
    where[key] = "MARK"
    return json.dumps(content).replace('"MARK"', _raw(random.choice(JSON_VALUES))).encode()


def _sides(data: bytes, random: Random) -> bytes:
    """Changes what a PNG says of its sides, with a sum that fits."""
    sides = [random.choice((0, 1, *SIZE, 33, 60_000, 178_956_970, 2**31 - 1, 2**32 - 1)) for _ in range(2)]
    head = struct.pack(">II", *sides) + data[24:29]
    return data[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + data[33:]


def _many(data: bytes, random: Random) -> bytes:
    """Writes a PNG of 16 bits with a label for each pixel."""
    out = io.BytesIO()
    size = random.choice((SIZE, (2400, 3200)))
    Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint32).astype(np.uint16).reshape(size)).save(out, "PNG")
    return out.getvalue()
