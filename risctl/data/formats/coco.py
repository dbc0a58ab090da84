"""Writes COCO instances: RLE, so that holes stay, and the phrase among the attributes of the annotation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from risctl.data.formats.annotated import AnnotatedImage
from risctl.data.formats.json_file import write_json
from risctl.output_files import OutputFiles
from risctl.vision import rle


def write_coco(images: Iterable[AnnotatedImage], folder: Path, outputs: OutputFiles) -> list[Path]:
    """Writes `instances.json`. Empty masks are left out, their images stay.

    By convention an RLE is marked as a crowd; here it is not, since evaluation ignores crowds. Readers take either.
    """
    categories: dict[str, int] = {}
    listed: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image in images:
        listed.append(
            {"id": image.image_id, "file_name": image.file_name, "height": image.height, "width": image.width}
        )
        for one in image.masks:
            if not rle.area(one.mask):
                continue
            annotation: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": image.image_id,
                "category_id": categories.setdefault(one.category, len(categories) + 1),
                "segmentation": one.mask,
                "area": rle.area(one.mask),
                "bbox": list(rle.box(one.mask)),
                "iscrowd": 0,
                "attributes": {
                    "phrase": one.phrases[0],
                    "phrases": list(one.phrases),
                    "ref_id": one.ref_id,
                    "sent_ids": list(one.sentence_ids),
                },
            }
            if one.score is not None:
                annotation["score"] = one.score
            annotations.append(annotation)
    path = folder / "instances.json"
    data = {
        "images": listed,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
        "annotations": annotations,
    }
    write_json(path, data, outputs)
    return [path]


def write_coco_results(images: Iterable[AnnotatedImage], folder: Path, outputs: OutputFiles) -> list[Path]:
    """Writes `results.json`, one entry a phrase, with the keys that `risctl score` matches by; empty masks stay."""
    results = [
        {
            "image_id": image.image_id,
            "category_id": 1,
            "segmentation": one.mask,
            "score": 1.0 if one.score is None else one.score,
            "bbox": list(rle.box(one.mask)),
            "text": phrase,
            **({"sent_id": one.sentence_ids[place], "ref_id": one.ref_id} if one.sentence_ids else {}),
        }
        for image in images
        for one in image.masks
        for place, phrase in enumerate(one.phrases)
    ]
    write_json(folder / "results.json", results, outputs)
    return [folder / "results.json"]
