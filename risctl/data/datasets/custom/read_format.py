"""Reads what annotation tools wrote, by the readers of `data/formats`, into a dataset of the user's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from risctl.data.datasets.custom.builder import DatasetBuilder
from risctl.data.datasets.custom.issues import Location
from risctl.data.formats.found import FoundObject, FoundProblem, Reader
from risctl.data.formats.write import IMAGES
from risctl.errors import DataError
from risctl.vision import rle

COCO = "coco"
"""COCO-style JSON, which `read` takes without a reader of formats."""

_FILES = {
    "instances.json": COCO,
    "results.json": "coco-results",
    "tasks.json": "label-studio",
    "annotations.xml": "cvat",
    "data.yaml": "yolo-seg",
    "Annotations": "davis",
}
"""By what a folder is recognised; any other folder with JSON files is labelme's."""
_START = 2**16
_FEW = 20


def recognised(path: Path) -> str | None:
    """Returns the format of a file or folder; None for JSON Lines and COCO-style JSON in a file.

    Raises:
        DataError: A folder holds nothing that is known.
    """
    if path.is_dir():
        for name, format_ in _FILES.items():
            if (path / name).exists():
                return format_
        if any(b'"shapes"' in _start_of(file) for file in islice(path.rglob("*.json"), _FEW)):
            return "labelme"
        raise DataError(
            f"{path} holds no annotations that are known here: {', '.join(_FILES)}, or labelme's JSON files; name the "
            "file, or the format with --format"
        )
    if path.suffix.lower() == ".xml":
        return "cvat"
    if path.suffix.lower() == ".json":
        return _of_list(path)
    return None


def _of_list(path: Path) -> str | None:
    """Returns the format of a JSON file that begins with a list: tasks or results; None for another."""
    start = _start_of(path)
    if not re.match(rb"\[\s*\{", start):
        return None
    if b'"segmentation"' in start or b'"category_id"' in start:
        return "coco-results"
    return "label-studio" if b'"data"' in start else None


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_START).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def images_of(path: Path, images: Path | None) -> Path:
    """Returns the folder that a format's image paths start from: the given one, else `images/` beside or within it."""
    if images is not None:
        return images
    folder = path if path.is_dir() else path.parent
    beside = (folder.parent / IMAGES, folder / IMAGES)
    return next((one for one in beside if one.is_dir()), folder)


def read_format(
    path: Path, reader: Reader, builder: DatasetBuilder, *, progress: Callable[[int, int | None], None] | None
) -> None:
    """Adds the objects of a file or folder to `builder`, problems to its issues."""
    for done, found in enumerate(reader(path, Path(builder.images)), start=1):
        location = Location(found.line, found.file)
        if isinstance(found, FoundProblem):
            builder.issues.problem(location, found.message)
        else:
            _add(found, location, builder)
        if progress:
            progress(done, None)


def _add(found: FoundObject, location: Location, builder: DatasetBuilder) -> None:
    image = builder.add_image(location, found.image, image_id=found.image_id)
    numbers = []
    if image is not None:
        size = builder.size(image)
        if found.size is not None and found.size != size:
            builder.issues.problem(
                location,
                f"{found.image}: is listed with {found.size[1]}x{found.size[0]} pixels, its file has "
                f"{size[1]}x{size[0]} (width x height)",
            )
            return
        if found.mask is not None:
            try:
                value = found.mask(*size)
            except DataError as error:
                builder.issues.problem(location, f"mask: {error}")
                return
            nothing = found.may_be_empty and rle.area(value) == 0
            mask = None if nothing else builder.read_mask(location, image, value)
            if mask is not None:
                numbers.append(builder.add_annotation(location, image, mask, category=found.category or None))
    if found.phrases:
        builder.add_target(location, image, {"texts": list(found.phrases)}, annotations=numbers)
