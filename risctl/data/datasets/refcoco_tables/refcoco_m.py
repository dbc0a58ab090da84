"""Reads RefCOCO-M (`moondream/refcoco-m`): RefCOCO's val by unc with new masks, a row an image with its pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from risctl.data.datasets.image_buffer import ImageBuffer
from risctl.data.datasets.parquet_tables import files_with_columns
from risctl.data.download.hub_tables import rows_of_tables
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.errors import DataError
from risctl.language.tokens import words_of
from risctl.vision import rle
from risctl.vision.images import image_size

SPLIT = "val"
_COLUMNS = ("image", "image_id", "file_name", "samples")


def read_refcoco_m(source: Path, *, progress: Callable[[int, int | None], None] | None = None) -> Dataset:
    """Reads RefCOCO-M. It has no ids of sentences, so these are numbered as they come.

    Args:
        source: A parquet file, a folder with such, or the table's name on the hub.
        progress: Called with (done, None) images.

    Raises:
        DataError: It is no such table, or an entry is broken.
        MachineError: The table cannot be had, or pyarrow is not installed.
    """
    files = files_with_columns(source, _COLUMNS, name="RefCOCO-M")
    images = ImageBuffer()
    annotations: dict[int, Annotation] = {}
    records: list[Record] = []
    categories: dict[str, int] = {}
    sentences = 0
    try:
        for done, row in enumerate(rows_of_tables(files, columns=_COLUMNS, batch=16), start=1):
            where = f"{source}: image {row['image_id']}"
            image = _image(row, where=where, taken=images)
            images.add(image)
            for sample in row["samples"]:
                number = len(records) + 1
                texts = [text.strip() for text in sample["sentences"] if text.strip()]
                if not texts:
                    raise DataError(f"{where}: an object without a sentence")
                category = categories.setdefault(str(sample["category"]), len(categories) + 1)
                annotations[number] = _annotation(sample["mask"], number=number, image=image, category=category)
                expressions = tuple(
                    Expression(
                        sentence_id=sentences + place,
                        raw=text,
                        sent=" ".join(text.lower().split()),
                        tokens=tuple(words_of(text.lower())),
                    )
                    for place, text in enumerate(texts)
                )
                sentences += len(texts)
                records.append(
                    Record(
                        ref_id=number,
                        image_id=image.image_id,
                        split=SPLIT,
                        annotation_ids=(number,),
                        expressions=expressions,
                    )
                )
            if progress is not None:
                progress(done, None)
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise DataError(f"{source} is of another form than expected: {error!r:.200}") from error
    if not records:
        raise DataError(f"{source} holds no object")
    return Dataset(
        name="refcoco-m",
        split_by="",
        categories={number: name for name, number in categories.items()},
        images=images,
        annotations=annotations,
        records=records,
    )


def _image(row: Mapping[str, Any], *, where: str, taken: ImageBuffer) -> ImageRecord:
    data, number = row["image"]["bytes"], row["image_id"]
    if not isinstance(data, bytes) or type(number) is not int:
        raise DataError(f"{where}: expected the bytes of a picture and a number, image_id")
    if number in taken:
        raise DataError(f"{where} is there twice")
    height, width = image_size(data)
    return ImageRecord(image_id=number, file_name=str(row["file_name"]), height=height, width=width, data=data)


def _annotation(mask: Mapping[str, Any], *, number: int, image: ImageRecord, category: int) -> Annotation:
    counts = mask["counts"]
    counts = counts.decode("ascii", errors="replace") if isinstance(counts, bytes) else counts
    try:
        found = rle.from_segmentation(
            {"size": list(mask["size"]), "counts": counts}, height=image.height, width=image.width
        )
    except DataError as error:
        raise DataError(f"image {image.image_id}, object {number}: {error}") from error
    return Annotation(
        annotation_id=number, image_id=image.image_id, category_id=category, box=rle.box(found), mask=found
    )
