"""Reads PBench: tables with `image`, `expression` and `masks`, a list of RLEs that is empty where nothing is meant."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from risctl.data.datasets.image_buffer import ImageBuffer
from risctl.data.datasets.parquet_tables import files_with_columns
from risctl.data.download.hub_tables import rows_of_tables
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.errors import DataError
from risctl.json_text import parse_json
from risctl.language.tokens import words_of
from risctl.vision import rle
from risctl.vision.images import image_size

DENSE = "dense"
"""The split that is measured at one threshold."""
_SPLIT = re.compile(rf"level_[0-4]|{DENSE}")
_COLUMNS = ("image", "expression", "masks")


def read_pbench(source: Path, *, progress: Callable[[int, int | None], None] | None = None) -> Dataset:
    """Reads PBench. It has no ids, so rows are numbered as they come: predictions name these numbers.

    Args:
        source: A parquet file, a folder with such, or the table's name on the hub.
        progress: Called with (done, None) rows.

    Raises:
        DataError: It is no such table, or a row is broken.
        MachineError: The table cannot be had, or pyarrow is not installed.
    """
    files = files_with_columns(source, _COLUMNS, name="PBench")
    images = ImageBuffer()
    annotations: dict[int, Annotation] = {}
    records: list[Record] = []
    for file in files:
        split = _SPLIT.search(file.name) or _SPLIT.search(file.parent.name)
        if split is None:
            raise DataError(f"{file}: expected a file named after its split, level_0 to level_4 or {DENSE}")
        try:
            for row in rows_of_tables([file], columns=_COLUMNS, batch=16):
                number = len(records) + 1
                image = _image(row["image"], number=number)
                images.add(image)
                own = _annotations(row["masks"], image=image, first=len(annotations) + 1)
                annotations |= {one.annotation_id: one for one in own}
                records.append(_record(str(row["expression"]), number=number, split=split[0], own=own))
                if progress is not None:
                    progress(number, None)
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise DataError(f"{file} is of another form than expected: {error!r:.200}") from error
    if not records:
        raise DataError(f"{source} holds no row")
    return Dataset(
        name="pbench",
        split_by="",
        categories={1: "object"},
        images=images,
        annotations=annotations,
        records=records,
    )


def _image(image: dict[str, Any], *, number: int) -> ImageRecord:
    data = image["bytes"]
    if not isinstance(data, bytes):
        raise DataError(f"row {number}: expected the bytes of a picture")
    height, width = image_size(data)
    name = Path(str(image.get("path") or "")).name or f"{number}.jpg"
    return ImageRecord(image_id=number, file_name=name, height=height, width=width, data=data)


def _annotations(masks: Any, *, image: ImageRecord, first: int) -> list[Annotation]:
    if isinstance(masks, str):
        masks = parse_json(masks)
    masks = [masks] if isinstance(masks, dict) else masks or []
    found: list[Annotation] = []
    for mask in masks:
        mask = parse_json(mask) if isinstance(mask, str) else mask
        try:
            encoded = rle.from_segmentation(mask, height=image.height, width=image.width)
        except DataError as error:
            raise DataError(f"row {image.image_id}: {error}") from error
        found.append(
            Annotation(
                annotation_id=first + len(found),
                image_id=image.image_id,
                category_id=1,
                box=rle.box(encoded),
                mask=encoded,
            )
        )
    return found


def _record(text: str, *, number: int, split: str, own: list[Annotation]) -> Record:
    if not text.strip():
        raise DataError(f"row {number} has no expression")
    expression = Expression(
        sentence_id=number, raw=text, sent=" ".join(text.lower().split()), tokens=tuple(words_of(text.lower()))
    )
    ids = tuple(one.annotation_id for one in own)
    return Record(ref_id=number, image_id=number, split=split, annotation_ids=ids, expressions=(expression,))
