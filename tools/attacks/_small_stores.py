"""Makes the small stores that are attacked."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.data.store.clips import VIDEOS
from risctl.vision import rle


def dataset(folder: Path, kind: str) -> Dataset:
    """Returns a dataset of six noise pictures; `kind` is "whole", "linked" (files in `folder`) or "video"."""
    generator = np.random.default_rng(0)
    images, annotations, records = {}, {}, []
    video = kind == "video"
    for row in range(6):
        height, width = (20, 24) if video else (20 + row, 24 + row % 3)
        data = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(data, "PNG")
        name = f"film {row // 3}/{row:05d}.png" if video else f"{row}.png"
        path = folder / "pictures" / name
        if kind == "linked":
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data.getvalue())
        images[100 + row] = ImageRecord(
            image_id=100 + row,
            file_name=name,
            height=height,
            width=width,
            path=path if kind == "linked" else None,
            data=None if kind == "linked" else data.getvalue(),
        )
        for annotation_id in (10 * row + 1, 10 * row + 2):
            mask = rle.encode(generator.random((height, width)) < 0.4)
            annotations[annotation_id] = Annotation(
                annotation_id=annotation_id,
                image_id=100 + row,
                category_id=1 + annotation_id % 2,
                box=rle.box(mask),
                mask=mask,
                crowd=row == 1,
            )
    for row in range(2 if video else 6):
        first = 3 * row if video else row
        own = (
            [10 * frame + 1 for frame in range(first, first + 3)] if video else [10 * row + 1, 10 * row + 2][: row % 3]
        )
        texts = [f"the café {row}", f"cup {row}"][: 1 + row % 2]
        expressions = [
            Expression(
                sentence_id=10 * row + number, raw=text.upper(), sent=text, tokens=tuple(text.split()), abilities=tags
            )
            for number, (text, tags) in enumerate(zip(texts, [("colour",), ()], strict=False))
        ]
        split = ("train", "val", "test")[row % 3]
        records.append(
            Record(
                ref_id=50 + row,
                image_id=100 + first,
                split=split,
                annotation_ids=tuple(own),
                expressions=tuple(expressions),
            )
        )
    return Dataset(
        name="attacked",
        split_by=VIDEOS if video else "turns",
        categories={1: "cup", 2: "dog"},
        images=images,
        annotations=annotations,
        records=records,
        notes={"oddities": 2},
    )
