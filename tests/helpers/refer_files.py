"""Makes small published REFER folders, whole or damaged, for the tests of reading and preparing."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZES = {1: (40, 60), 2: (50, 30), 3: (32, 32)}  # image id -> (height, width)


def jpeg(height: int, width: int, *, seed: int = 0) -> bytes:
    """Return a JPEG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def file_name(image_id: int) -> str:
    """Return the name of an image as COCO has it."""
    return f"COCO_train2014_{image_id:012d}.jpg"


def sentence(sent_id: int, text: str) -> dict[str, Any]:
    """Return a published sentence."""
    return {"sent_id": sent_id, "raw": text.upper(), "sent": text, "tokens": text.split()}


def ref(ref_id: int, *, image: int, annotation: int, split: str, sentences: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a published ref."""
    return {
        "ref_id": ref_id,
        "ann_id": annotation,
        "category_id": 1,
        "image_id": image,
        "file_name": file_name(image).replace(".jpg", f"_{ref_id}.jpg"),
        "split": split,
        "sent_ids": [one["sent_id"] for one in sentences],
        "sentences": sentences,
    }


def square(annotation_id: int, image: int, x: float, y: float, side: float) -> dict[str, Any]:
    """Return a published annotation: a square, as a polygon."""
    polygon = [x, y, x + side, y, x + side, y + side, x, y + side]
    return {
        "id": annotation_id,
        "image_id": image,
        "category_id": 1,
        "bbox": [x, y, side, side],
        "segmentation": [polygon],
        "iscrowd": 0,
    }


def published() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return (refs, instances) of a small, sound set: three images, four refs, six sentences."""
    refs = [
        ref(10, image=1, annotation=100, split="train", sentences=[sentence(0, "left cup"), sentence(1, "the cup")]),
        ref(11, image=1, annotation=101, split="train", sentences=[sentence(2, "right cup")]),
        ref(12, image=2, annotation=102, split="val", sentences=[sentence(3, "the only cup"), sentence(4, "cup")]),
        ref(13, image=3, annotation=103, split="testA", sentences=[sentence(5, "big cup")]),
    ]
    instances = {
        "images": [
            {"id": one, "file_name": file_name(one), "height": height, "width": width}
            for one, (height, width) in SIZES.items()
        ],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "dog"}],
        "annotations": [
            square(100, 1, 2, 3, 10),
            square(101, 1, 30, 10, 20),
            square(102, 2, 5, 5, 15),
            square(103, 3, 1, 1, 30),
            square(104, 3, 4, 4, 8),
        ],
    }
    return refs, instances


def write(
    root: Path,
    *,
    refs: Any = None,
    instances: Any = None,
    folder: str = "refcoco",
    images: str = "images/train2014",
    split_by: str = "unc",
    protocol: int = 2,
) -> Path:
    """Write a set under `root` in the published layout and return `root`."""
    sound_refs, sound_instances = published()
    data = root / folder
    data.mkdir(parents=True, exist_ok=True)
    (data / f"refs({split_by}).p").write_bytes(
        pickle.dumps(refs if refs is not None else sound_refs, protocol=protocol)
    )
    (data / "instances.json").write_text(json.dumps(instances if instances is not None else sound_instances))
    image_folder = root / images
    image_folder.mkdir(parents=True, exist_ok=True)
    for one, (height, width) in SIZES.items():
        (image_folder / file_name(one)).write_bytes(jpeg(height, width, seed=one))
    return root
