"""Makes small datasets for the tests of the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from helpers import refer_files

from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.vision import rle


def dataset(*, images: int = 4, seed: int = 0, folder: Path | None = None, side: int = 24) -> Dataset:
    """Return a dataset of noise images: one target, a target of two annotations and no target, in turns.

    With `folder` the images are files there, without they are bytes.
    """
    random = np.random.default_rng(seed)
    pictures, annotations, records = {}, {}, []
    for row in range(images):
        image_id = 1000 + 7 * row
        height, width = side + row % 3, side + row % 5
        data = refer_files.jpeg(height, width, seed=seed + row)
        name = f"{image_id}.jpg"
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        pictures[image_id] = ImageRecord(
            image_id=image_id,
            file_name=name,
            height=height,
            width=width,
            path=folder / name if folder else None,
            data=None if folder else data,
        )
        own = [10 * row + 1, 10 * row + 2]
        for annotation_id in own:
            mask = rle.encode(random.random((height, width)) < 0.4)
            annotations[annotation_id] = Annotation(
                annotation_id=annotation_id,
                image_id=image_id,
                category_id=1 + row % 2,
                box=rle.box(mask),
                mask=mask,
                crowd=row == 1,
            )
        records.append(
            Record(
                ref_id=500 + row,
                image_id=image_id,
                split=("train", "val", "testA")[row % 3],
                annotation_ids=tuple(own[: row % 3]),
                expressions=tuple(
                    Expression(
                        sentence_id=100 * row + number,
                        raw=f"The Café {number}",
                        sent=f"the café {number}",
                        tokens=("the", "café", str(number)),
                        abilities=("colour",) if number else (),
                    )
                    for number in range(1 + row % 2)
                ),
            )
        )
    return Dataset(
        name="noise",
        split_by="turns",
        categories={1: "cup", 2: "dog"},
        images=pictures,
        annotations=annotations,
        records=records,
        notes={"oddities": 2},
    )
