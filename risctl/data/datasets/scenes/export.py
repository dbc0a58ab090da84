"""Writes single scenes as files, to look at and to test a model on."""

from __future__ import annotations

import json
from itertools import count as count_from
from itertools import islice
from pathlib import Path

from PIL import Image

from risctl.data.datasets.scenes.generate import make_scene, split_of
from risctl.output_files import OutputFiles


def check_images(folder: Path, *, count: int, outputs: OutputFiles) -> None:
    """Raises `UsageError` if a file of `write_images` is there already and must stay."""
    for index in _first_of_test(count):
        path = _path(folder, index)
        outputs.check(path)
        outputs.check(path.with_suffix(".json"))


def write_images(
    folder: Path, *, count: int, seed: int, size: tuple[int, int] | None = None, outputs: OutputFiles | None = None
) -> list[Path]:
    """Writes the first scenes of the split test as `folder/scene_*.png`.

    A JSON file of the same name lies beside each: `{"image", "expressions": [{"text", "abilities", "target", "box"}]}`;
    `target` is the category referred to and `box` its (x, y, width, height) in pixels, both null if nothing fits.

    Args:
        folder: Where the files go.
        count: How many scenes.
        seed: The seed of the scenes.
        size: The (width, height) of the images, None for the usual sizes.
        outputs: The guard of the command's output files.

    Returns:
        The paths of the images.

    Raises:
        UsageError: A file is there already and must stay.
    """
    outputs = outputs or OutputFiles()
    return [_write(folder, index, seed=seed, size=size, outputs=outputs) for index in _first_of_test(count)]


def _first_of_test(count: int) -> list[int]:
    return list(islice((index for index in count_from() if split_of(index) == "test"), count))


def _path(folder: Path, index: int) -> Path:
    return folder / f"scene_{index:06d}.png"


def _write(folder: Path, index: int, *, seed: int, size: tuple[int, int] | None, outputs: OutputFiles) -> Path:
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
    path = _path(folder, index)
    with outputs.writing(path) as part:
        Image.fromarray(scene.pixels).save(part, "PNG")
    text = json.dumps({"image": path.name, "expressions": expressions}, indent=2)
    outputs.write_text(path.with_suffix(".json"), text + "\n")
    return path
