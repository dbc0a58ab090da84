"""`risctl predict IMAGE --classes "zebra, cup"`: detects the objects of categories by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.cli import console
from risctl.cli.predict.inputs import InputImage, read_image
from risctl.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from risctl.inference.predictor import Predictor
    from risctl.output_files import OutputFiles
    from risctl.results import Detection

_MAX_DRAWN = 20
_LARGEST_COCO_ID = 90


def parse_names(text: str) -> list[str]:
    """Returns the category names of a text such as "zebra, cup". Raises `UsageError` if there is none."""
    names = list(dict.fromkeys(" ".join(part.lower().split()) for part in text.split(",") if part.strip()))
    if not names:
        raise UsageError('expected --classes with names between commas, such as "zebra, skateboard"')
    return names


def predict_classes(
    predictor: Predictor,
    images: Sequence[InputImage],
    names: list[str],
    *,
    out: Path,
    score: float,
    as_json: bool,
) -> None:
    """Detects categories in images and writes an overlay and COCO results for each.

    Args:
        predictor: The opened model.
        images: The images.
        names: The categories' names.
        out: The folder to write to.
        score: Detections must score more than this.
        as_json: Whether the results are printed as JSON.
    """
    from risctl.output_files import OutputFiles

    outputs = OutputFiles(inputs=[image.path for image in images])
    ids = category_ids(names)
    results: list[dict[str, Any]] = []
    for image in console.progress(images, label="predict"):
        pixels = read_image(image)
        predictor.set_image(pixels)
        detections = predictor.detect(names, min_score=score)
        own = [_result(detection, image=image, category_id=ids[detection.name]) for detection in detections]
        base = outputs.base_name(out, image.stem, "classes", source=image.shown, key="image")
        drawn = out / f"{base}.png"
        _draw(pixels, detections, drawn, owner=image.shown, outputs=outputs)
        outputs.write_text(out / f"{base}.json", json.dumps(own, ensure_ascii=False) + "\n", owner=image.shown)
        results.extend(own)
        if not detections:
            console.warn(f"{image.shown}: no object of these categories was found")
        if not as_json:
            for detection in detections:
                box = ",".join(f"{side:.1f}" for side in detection.box)
                line = console.line_of((detection.name, f"{detection.score:.3f}", box, str(drawn)))
                console.result(line, data=None, as_json=False)
    if as_json:
        console.result("", data=results, as_json=True)


def category_ids(names: Iterable[str]) -> dict[str, int]:
    """Returns COCO's ids of its own categories; other names are numbered from 91 on."""
    from risctl.language.coco_classes import CLASSES

    coco = {name: number for number, name in CLASSES.items()}
    others = [name for name in names if name not in coco]
    return coco | {name: _LARGEST_COCO_ID + index for index, name in enumerate(others, start=1)}


def _result(detection: Detection, *, image: InputImage, category_id: int) -> dict[str, Any]:
    """Returns an entry of COCO results; the image's id is the number at the end of its file name, else 0."""
    digits = image.stem[len(image.stem.rstrip("0123456789")) :]
    return {
        "image_id": int(digits or 0),
        "category_id": category_id,
        "bbox": [round(side, 2) for side in detection.box],
        "score": round(detection.score, 6),
        "segmentation": detection.segmentation,
        "image": image.shown,
        "category": detection.name,
    }


def _draw(pixels: np.ndarray, detections: list[Detection], path: Path, *, owner: str, outputs: OutputFiles) -> None:
    from PIL import Image

    from risctl.vision import rle
    from risctl.vision.drawing.overlays import overlay

    best = detections[:_MAX_DRAWN]
    masks = [rle.decode(detection.segmentation) for detection in best]
    drawn = overlay(pixels, masks, [f"{detection.name} {detection.score:.2f}" for detection in best])
    with outputs.writing(path, owner=owner) as part:
        Image.fromarray(drawn).save(part, format="PNG")
