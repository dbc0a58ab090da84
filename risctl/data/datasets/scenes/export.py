"""Writes single scenes as files, to look at and to test a model on."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from risctl.data.datasets.scenes.generate import make_scene, split_of
from risctl.files import replacing


def write_images(folder: Path, *, count: int, seed: int, size: tuple[int, int] | None = None) -> list[Path]:
    """Writes the first scenes of the split test as `folder/scene_*.png`.

    A JSON file of the same name lies beside each: `{"image", "expressions": [{"text", "abilities", "target", "box"}]}`;
    `target` is the category referred to and `box` its (x, y, width, height) in pixels, both null if nothing fits.

    Args:
        folder: Where the files go.
        count: How many scenes.
        seed: The seed of the scenes.
        size: The (width, height) of the images, None for the usual sizes.

    Returns:
        The paths of the images.
    """
    written: list[Path] = []
    index = 0
    while len(written) < count:
        if split_of(index) == "test":
            written.append(_write(folder, index, seed=seed, size=size))
        index += 1
    return written


def _write(folder: Path, index: int, *, seed: int, size: tuple[int, int] | None) -> Path:
    scene = make_scene(index, seed=seed, size=size)
    height, width = scene.index_map.shape
    expressions = []
    for referral in scene.referrals:
        referred = None if referral.target is None else scene.objects[referral.target]
        box = None
        if referred is not None:
            left, top, right, bottom = (round(side * (width, height)[k % 2]) for k, side in enumerate(referred.box))
            box = [left, top, right - left, bottom - top]
        for worded in referral.expressions:
            target = referred.category if referred else None
            expressions.append({"text": worded.sent, "abilities": worded.abilities, "target": target, "box": box})
    path = folder / f"scene_{index:06d}.png"
    with replacing(path) as part:
        Image.fromarray(scene.pixels).save(part, "PNG")
    with replacing(path.with_suffix(".json")) as part:
        text = json.dumps({"image": path.name, "expressions": expressions}, indent=2)
        part.write_text(text + "\n", encoding="utf-8")
    return path
