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

    from risctl.cli.predict.skipped import Skipped
    from risctl.inference.predictor import Predictor
    from risctl.models.predictor import PromptedPredictor
    from risctl.output_files import OutputFiles
    from risctl.results import Detection

_MAX_DRAWN = 20
_LARGEST_COCO_ID = 90
_LEAST_SCORE = 0.05  # as COCO's evaluation takes it; what scores less is not even mentioned
_MAX_DIGITS = 15  # of a number that JSON's readers keep exactly


def parse_names(text: str) -> list[str]:
    """Returns the category names of a text such as "zebra, cup". Raises `UsageError` if there is none."""
    names = list(dict.fromkeys(" ".join(part.lower().split()) for part in text.split(",") if part.strip()))
    if not names:
        raise UsageError('expected --classes with names between commas, such as "zebra, skateboard"')
    return names


def predict_classes(
    predictor: Predictor | PromptedPredictor,
    images: Sequence[InputImage],
    names: list[str],
    *,
    folder: DetectionFolder,
    skipped: Skipped,
    score: float,
    as_json: bool,
) -> None:
    """Detects categories in images and writes an overlay and COCO results for each.

    Args:
        predictor: The opened model.
        images: The images; one that cannot be read is reported, and the others are still done.
        names: The categories' names.
        folder: The files to write.
        skipped: Counts the images that cannot be read.
        score: Detections must score more than this.
        as_json: Whether the results are printed as JSON.

    Raises:
        DataError: An image could not be read.
    """
    category_numbers, image_numbers = category_ids(names), image_ids(images)
    results: list[dict[str, Any]] = []
    for image in console.progress(images, label="predict"):
        with skipped.reading(image.shown) as attempt:
            pixels = read_image(image)
            predictor.set_image(pixels)
        if attempt.failed:
            continue
        found = predictor.detect(names, min_score=min(score, _LEAST_SCORE))
        detections = [detection for detection in found if detection.score > score]
        number = image_numbers[image.file_name]
        entries = [
            _result(detection, image=image, image_id=number, category_id=category_numbers[detection.name])
            for detection in detections
        ]
        drawn = folder.write(image, pixels, detections, entries)
        results.extend(entries)
        if not detections:
            weaker = f" above {score:g}; the best scores {found[0].score:.3f}, see --min-score" if found else ""
            console.warn(f"{image.shown}: no object of these categories was found{weaker}")
        if not as_json:
            for detection in detections:
                box = ",".join(f"{side:.1f}" for side in detection.box)
                line = console.line_of((detection.name, f"{detection.score:.3f}", box, str(drawn)))
                console.result(line, data=None, as_json=False)
    if as_json:
        console.result("", data=results, as_json=True)
    skipped.raise_if_any()


class DetectionFolder:
    """A folder of detections: for each image an overlay, `IMAGE.classes.png`, and COCO results, `IMAGE.classes.json`.

    Raises `UsageError` at once if files of one of the images are there already and must stay.
    """

    def __init__(self, folder: Path, images: Sequence[InputImage], *, labels: bool, outputs: OutputFiles) -> None:
        from risctl.output_files import DETECTIONS

        self._labels, self._outputs = labels, outputs
        self._bases = {
            image.file_name: folder / outputs.base_name(folder, image.stem, DETECTIONS, source=image.file_name)
            for image in images
        }
        for base in self._bases.values():
            outputs.check(base.with_name(f"{base.name}.png"))
            outputs.check(base.with_name(f"{base.name}.json"))

    def write(
        self, image: InputImage, pixels: np.ndarray, detections: Sequence[Detection], entries: list[dict[str, Any]]
    ) -> Path:
        """Writes the files of an image, (H, W, 3) uint8, and returns the path of the overlay."""
        from PIL import Image, PngImagePlugin

        from risctl.vision import rle
        from risctl.vision.drawing.overlays import overlay

        best = detections[:_MAX_DRAWN]
        masks = [rle.decode(detection.segmentation) for detection in best]
        names = [f"{detection.name} {detection.score:.2f}" for detection in best]
        drawn = overlay(pixels, masks, names if self._labels else None)
        # Where nothing was found, the JSON names no image.
        about = PngImagePlugin.PngInfo()
        about.add_itxt("file_name", image.file_name)
        base = self._bases[image.file_name]
        path = base.with_name(f"{base.name}.png")
        with self._outputs.writing(path) as part:
            Image.fromarray(drawn).save(part, format="PNG", pnginfo=about)
        self._outputs.write_text(base.with_name(f"{base.name}.json"), json.dumps(entries, ensure_ascii=False) + "\n")
        return path


def category_ids(names: Iterable[str]) -> dict[str, int]:
    """Returns COCO's ids of its own categories; other names are numbered from 91 on."""
    from risctl.language.coco_classes import CLASSES

    coco = {name: number for number, name in CLASSES.items()}
    others = [name for name in names if name not in coco]
    return coco | {name: _LARGEST_COCO_ID + index for index, name in enumerate(others, start=1)}


def image_ids(images: Iterable[InputImage]) -> dict[str, int]:
    """Returns a number for each image, by its `file_name`; all are distinct.

    It is the number at the end of the file's name, as COCO's files have it, or, where there is none or another image
    has it, one made of the file's path.
    """
    from risctl.output_files import digest

    numbers: dict[str, int] = {}
    taken: set[int] = set()
    for image in images:
        digits = image.stem[len(image.stem.rstrip("0123456789")) :]
        number = int(digits) if 0 < len(digits) <= _MAX_DIGITS else -1
        if number < 0 or number in taken:
            number = int(digest(image.file_name, length=12), 16)
        while number in taken:
            number += 1
        taken.add(number)
        numbers[image.file_name] = number
    return numbers


def _result(detection: Detection, *, image: InputImage, image_id: int, category_id: int) -> dict[str, Any]:
    """Returns an entry of COCO results, with the image and the category by name."""
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [round(side, 2) for side in detection.box],
        "score": round(detection.score, 6),
        "segmentation": detection.segmentation,
        "image": image.shown,
        "file_name": image.file_name,
        "category": detection.name,
    }
