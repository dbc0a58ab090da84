"""`risctl predict IMAGE --classes "zebra, cup"`: the things of classes, by name."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.cli import console
from risctl.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from risctl.inference.predictor import Predictor
    from risctl.results import Detection

_DRAWN = 20
_BEYOND_COCO = 90


def names_of(text: str) -> list[str]:
    """Return the class names of "zebra, cup". Raises `UsageError` if there is none."""
    names = list(dict.fromkeys(" ".join(part.lower().split()) for part in text.split(",") if part.strip()))
    if not names:
        raise UsageError('expected --classes with names between commas, such as "zebra, skateboard"')
    return names


def predict_classes(
    predictor: Predictor,
    pictures: Iterable[tuple[str, str, np.ndarray]],
    names: list[str],
    *,
    out: Path,
    score: float,
    as_json: bool,
) -> None:
    """Find the classes `names` in pictures (shown name, file stem, pixels) and write an overlay and COCO's results."""
    numbers = category_ids(names)
    results: list[dict[str, Any]] = []
    for shown, stem, pixels in pictures:
        predictor.set_image(pixels)
        found = predictor.detect(names, min_score=score)
        own = [_result(one, image=shown, stem=stem, number=numbers[one.name]) for one in found]
        drawn = out / f"{stem}.classes.png"
        _draw(pixels, found, drawn)
        _write(own, out / f"{stem}.classes.json")
        results.extend(own)
        if not found:
            console.warn(f"{shown}: none of the classes was found")
        if not as_json:
            for one in found:
                box = ",".join(f"{side:.1f}" for side in one.box)
                console.result("\t".join((one.name, f"{one.score:.3f}", box, str(drawn))), data=None, as_json=False)
    if as_json:
        console.result("", data=results, as_json=True)


def category_ids(names: Iterable[str]) -> dict[str, int]:
    """Return COCO's category ids of its own classes; other names are numbered from 91 on."""
    from risctl.language.coco_classes import CLASSES

    coco = {name: number for number, name in CLASSES.items()}
    others = [name for name in names if name not in coco]
    return coco | {name: _BEYOND_COCO + place for place, name in enumerate(others, start=1)}


def _result(found: Detection, *, image: str, stem: str, number: int) -> dict[str, Any]:
    """Return an entry of COCO's results; the picture's id is the number that its file's name ends with, else 0."""
    digits = stem[len(stem.rstrip("0123456789")) :]
    return {
        "image_id": int(digits or 0),
        "category_id": number,
        "bbox": [round(side, 2) for side in found.box],
        "score": round(found.score, 6),
        "segmentation": found.segmentation,
        "image": image,
        "category": found.name,
    }


def _draw(pixels: np.ndarray, found: list[Detection], path: Path) -> None:
    from PIL import Image

    from risctl.files import replacing
    from risctl.vision import rle
    from risctl.vision.drawing.overlays import overlay

    best = found[:_DRAWN]
    masks = [rle.decode(one.segmentation) for one in best]
    drawn = overlay(pixels, masks, [f"{one.name} {one.score:.2f}" for one in best])
    with replacing(path) as beside:
        Image.fromarray(drawn).save(beside, format="PNG")


def _write(results: list[dict[str, Any]], path: Path) -> None:
    from risctl.files import replacing

    with replacing(path) as beside:
        beside.write_text(json.dumps(results, ensure_ascii=False) + "\n", encoding="utf-8")
