"""A dataset from outside the package: its descriptor and its reader, in one file.

Its published form is a file `toy.json`, a list of {"split", "text", "box"}: a white image of 32 x 24 pixels for each
entry, with a black box (x, y, width, height) that the text refers to.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from risctl.data.datasets.descriptor import TOTAL, DatasetDescriptor, counts
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.errors import DataError
from risctl.vision import rle

HEIGHT, WIDTH = 24, 32


def read_toy(source: Path, *, progress: Callable[[int, int | None], None] | None = None) -> Dataset:
    """Reads `toy.json` in the folder `source`. Raises `DataError` if it is not there."""
    try:
        entries = json.loads((source / "toy.json").read_text())
    except OSError as error:
        raise DataError(f"expected {source / 'toy.json'}: {error.strerror}") from error
    images, annotations, records = {}, {}, []
    for number, entry in enumerate(entries, start=1):
        x, y, width, height = entry["box"]
        mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
        mask[y : y + height, x : x + width] = True
        stream = io.BytesIO()
        Image.fromarray(np.where(mask[..., None], 0, 255).astype(np.uint8).repeat(3, axis=2)).save(stream, "PNG")
        images[number] = ImageRecord(
            image_id=number, file_name=f"{number}.png", height=HEIGHT, width=WIDTH, data=stream.getvalue()
        )
        annotations[number] = Annotation(
            annotation_id=number, image_id=number, category_id=1, box=(x, y, width, height), mask=rle.encode(mask)
        )
        text = entry["text"]
        expression = Expression(sentence_id=number, raw=text, sent=text, tokens=tuple(text.split()))
        records.append(
            Record(
                ref_id=number,
                image_id=number,
                split=entry["split"],
                annotation_ids=(number,),
                expressions=(expression,),
            )
        )
        if progress:
            progress(number, len(entries))
    return Dataset(
        name="toy",
        split_by="published",
        categories={1: "box"},
        images=images,
        annotations=annotations,
        records=records,
    )


TOY = DatasetDescriptor(
    name="toy",
    help="Toy: black boxes on white pictures.",
    example="--from toy",
    read=read_toy,
    published={"published": {"train": counts(3, 3, 3), "val": counts(1, 1, 1), TOTAL: counts(4, 4, 4)}},
    linkable=False,
)


def write_toy(folder: Path, *, train: int = 3) -> Path:
    """Writes the published form of the dataset into `folder` and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    boxes = [
        {"split": "train" if number < train else "val", "text": f"the box number {number}", "box": [number, 2, 8, 10]}
        for number in range(train + 1)
    ]
    (folder / "toy.json").write_text(json.dumps(boxes))
    return folder
