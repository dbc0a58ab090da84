"""Writes and reads palette PNG files as DAVIS and VOC have them: index 0 is background, 1 and on are masks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from risctl.data.formats.annotated import PHRASES, AnnotatedImage, phrase_row
from risctl.data.formats.found import Found, FoundObject, FoundProblem, MaskOf, phrase_rows
from risctl.errors import DataError
from risctl.output_files import OutputFiles
from risctl.vision import rle
from risctl.vision.label_images import read_labels

ANNOTATIONS = "Annotations"
MOST = 254
"""Masks of an image at most: 255 stands for void pixels."""


def write_davis(images: Iterable[AnnotatedImage], folder: Path, outputs: OutputFiles) -> list[Path]:
    """Writes `Annotations/NAME.png` and `phrases.jsonl`.

    Masks may overlap, indices cannot: the later one lies above, and the row of one that it hides in part has its whole
    mask as `segmentation`. Equal masks share an index. A phrase of nothing has the index 0.

    Raises:
        DataError: An image has more masks than there are indices.
    """
    rows: list[dict[str, Any]] = []
    written = []
    for image in images:
        path, own = write_indices(image, folder, outputs)
        written.append(path)
        rows += own
    outputs.write_json_lines(folder / PHRASES, rows)
    return [*written, folder / PHRASES]


def write_indices(image: AnnotatedImage, folder: Path, outputs: OutputFiles) -> tuple[Path, list[dict[str, Any]]]:
    """Writes the file of one image. Returns it, and the image's rows of `phrases.jsonl`; see `write_davis`."""
    numbers: dict[str, int] = {}
    for one in image.masks:
        if rle.area(one.mask):
            numbers.setdefault(one.mask["counts"], len(numbers) + 1)
    if len(numbers) > MOST:
        raise DataError(f"{image.file_name} has {len(numbers)} masks; a palette file has room for {MOST}")
    indices = np.zeros((image.height, image.width), dtype=np.uint8)
    masks = {counts: rle.decode({"size": [image.height, image.width], "counts": counts}) for counts in numbers}
    for counts, number in numbers.items():
        indices[masks[counts]] = number
    hidden = {counts for counts, number in numbers.items() if ((indices == number) != masks[counts]).any()}
    rows = []
    for one in image.masks:
        row = phrase_row(image, one, index=numbers.get(one.mask["counts"], 0))
        rows.append(row | ({"segmentation": one.mask} if one.mask["counts"] in hidden else {}))
    path = folder / ANNOTATIONS / PurePosixPath(image.file_name).with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = Image.fromarray(indices)
    shown.putpalette(palette())
    with outputs.writing(path) as part:
        shown.save(part, "PNG")
    return path, rows


def read_davis(folder: Path, images: Path) -> Iterator[Found]:
    """Reads `Annotations/NAME.png` by the rows of `phrases.jsonl`, which name the image, the index and the phrases."""
    if not (folder / PHRASES).is_file():
        raise DataError(
            f"{folder} has no {PHRASES}, and masks by index have no phrases of their own; write a line "
            '{"file_name": "a.jpg", "index": 1, "phrases": ["the red cup"]} for each'
        )
    for found in phrase_rows(folder):
        if isinstance(found, FoundProblem):
            yield found
            continue
        line, row = found
        index, name = row.get("index"), row["file_name"]
        if type(index) is not int or not 0 <= index <= MOST:
            yield FoundProblem(
                message=f"index: expected a number from 0 to {MOST}, got {index!r:.40}", file=PHRASES, line=line
            )
            continue
        mask: MaskOf | None = None
        if row.get("segmentation") is not None:
            mask = partial(_segmentation, row["segmentation"])
        elif index:
            mask = partial(_indexed, folder / ANNOTATIONS, name, index)
        category = row.get("category")
        yield FoundObject(
            image=name,
            phrases=tuple(row["phrases"]),
            mask=mask,
            category=category if isinstance(category, str) else None,
            file=PHRASES,
            line=line,
        )


def _segmentation(value: Any, height: int, width: int) -> rle.RLE:
    return rle.from_segmentation(value, height=height, width=width)


def _indexed(annotations: Path, name: str, index: int, height: int, width: int) -> rle.RLE:
    plain = os.path.normpath(PurePosixPath(name).with_suffix(".png"))
    if plain.startswith(("/", "..")):
        raise DataError(f"{name!r:.80} leads out of {annotations}")
    values = read_labels(annotations / plain, size=(height, width))
    if values.ndim != 2:
        raise DataError(f"{annotations / plain} has colours; expected a palette file, or one channel of indices")
    return rle.encode(values == index)


def palette() -> list[int]:
    """Returns VOC's 256 colours: the bits of an index, three at a time, are the high bits of red, green and blue."""
    colours = []
    for index in range(256):
        colour = [0, 0, 0]
        for place in range(8):
            for channel in range(3):
                colour[channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
        colours += colour
    return colours
