"""Writes COCO instances: RLE, so that holes stay, and the phrase among the attributes of the annotation.

What is written is read back by `datasets/custom`, which takes COCO-style JSON anyway; results are read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from risctl.data.formats.annotated import AnnotatedImage
from risctl.data.formats.found import Found, FoundObject, FoundProblem, MaskOf, images_by_stem, read_json
from risctl.data.formats.json_file import write_json
from risctl.errors import DataError
from risctl.output_files import OutputFiles
from risctl.vision import rle

INSTANCE_SCORE = 0.5
"""Several results of one phrase are instances: those that score as much are united."""


def write_coco(images: Iterable[AnnotatedImage], folder: Path, outputs: OutputFiles) -> list[Path]:
    """Writes `instances.json`. Phrases of empty masks stand in a list of their own, `expressions`.

    By convention an RLE is marked as a crowd; here it is not, since evaluation ignores crowds. Readers take either.
    """
    categories: dict[str, int] = {}
    listed: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    absent: list[dict[str, Any]] = []
    for image in images:
        listed.append(
            {"id": image.image_id, "file_name": image.file_name, "height": image.height, "width": image.width}
        )
        for one in image.masks:
            if not rle.area(one.mask):
                absent.append({"image_id": image.image_id, "annotation_ids": [], "texts": list(one.phrases)})
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
        **({"expressions": absent} if absent else {}),
    }
    write_json(path, data, outputs)
    return [path]


def write_coco_results(images: Iterable[AnnotatedImage], folder: Path, outputs: OutputFiles) -> list[Path]:
    """Writes `results.json`, one entry a phrase, with the keys that `risctl score` matches by; empty masks stay."""
    results = [
        {
            "image_id": image.image_id,
            "file_name": image.file_name,
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


def read_coco_results(path: Path, images: Path) -> Iterator[Found]:
    """Reads results with `text`: one object a phrase, an empty mask for nothing there.

    The image is that of `file_name`, else the one whose file's name ends in the number `image_id`.

    Raises:
        DataError: The file is no list of results.
    """
    entries = read_json(path / "results.json" if path.is_dir() else path)
    if not isinstance(entries, list):
        raise DataError(f"{path} holds no list of results")
    numbers: dict[int, str] | None = None
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    places: dict[tuple[Any, ...], int] = {}
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not isinstance(entry.get("text"), str) or "segmentation" not in entry:
            yield FoundProblem(message=f"result {number:,}: expected an object with text and segmentation")
            continue
        if not isinstance(entry.get("file_name"), str):
            numbers = _numbered_images(images) if numbers is None else numbers
            name = numbers.get(entry["image_id"]) if isinstance(entry.get("image_id"), int) else None
            if name is None:
                yield FoundProblem(
                    message=f"result {number:,}: no picture in {images} is named after image_id "
                    f"{entry.get('image_id')!r:.40}, and there is no file_name"
                )
                continue
            entry["file_name"] = name
        key = (entry["file_name"], entry["text"], repr(entry.get("ref_id")), repr(entry.get("sent_id")))
        groups.setdefault(key, []).append(entry)
        places.setdefault(key, number)
    for key, group in groups.items():
        first = group[0]
        image_id = first.get("image_id")
        if len(group) > 1:
            group = [one for one in group if _scores(one)]
        yield FoundObject(
            image=first["file_name"],
            phrases=(first["text"],),
            mask=_mask_of([one["segmentation"] for one in group if one["segmentation"] is not None]),
            image_id=image_id if isinstance(image_id, int) and not isinstance(image_id, bool) else None,
            may_be_empty=True,
            file=f"result {places[key]:,}",
        )


def _scores(entry: dict[str, Any]) -> bool:
    score = entry.get("score")
    return isinstance(score, int | float) and score >= INSTANCE_SCORE


def _mask_of(segmentations: list[Any]) -> MaskOf | None:
    if not segmentations:
        return None
    return lambda height, width: rle.union(
        [rle.from_segmentation(one, height=height, width=width) for one in segmentations]
    )


def _numbered_images(images: Path) -> dict[int, str]:
    """Returns the image files by the number that their name ends in, as COCO's own have it."""
    found: dict[int, str] = {}
    for stem, path in images_by_stem(images).items():
        digits = stem[len(stem.rstrip("0123456789")) :]
        if 0 < len(digits) <= 18:
            found.setdefault(int(digits), path)
    return found
