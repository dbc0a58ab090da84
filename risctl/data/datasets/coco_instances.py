"""Reads COCO's `instances.json`: images, categories, and the mask of every instance as RLE."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from risctl.data.datasets.problems import Problems
from risctl.data.records import Annotation, ImageRecord
from risctl.errors import DataError
from risctl.json_text import parse_json
from risctl.vision import rle

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

Overlaps = Literal["object", "background"]
"""What pixels that several polygons of an instance cover are."""

OVERLAPS: tuple[Overlaps, ...] = ("object", "background")

MAX_SIDE = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceImage:
    """An image as `instances.json` lists it."""

    image_id: int
    file_name: str
    height: int
    width: int

    def at(self, path: Path) -> ImageRecord:
        """Returns its record, with the file `path`."""
        return ImageRecord(
            image_id=self.image_id, file_name=self.file_name, height=self.height, width=self.width, path=path
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """A parsed `instances.json`.

    Attributes:
        path: The file.
        images: The images by id.
        categories: The names of the categories by id.
        annotations: The annotations by id, as published; only their ids are checked.
        only_referred: Whether the file is not the published one and lacks what nobody refers to.
    """

    path: Path
    images: dict[int, InstanceImage]
    categories: dict[int, str]
    annotations: dict[int, dict[str, Any]]
    only_referred: bool = False


def read_instances(path: Path, problems: Problems) -> Instances:
    """Reads the file `path`. Of repeated ids the first is kept, and counted.

    Raises `DataError` naming the file, and the entry, if it is missing, not valid JSON, or not of COCO's form.
    """
    try:
        content = parse_json(path.read_bytes(), not_finite=True)  # entries are checked, and named, one by one
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({error}); get the file again") from error
    return instances_of(content, path, problems)


def instances_of(content: Any, path: Path, problems: Problems) -> Instances:
    """Returns what the content of an `instances.json` says; `path` names where it is from. See `read_instances`."""
    images: dict[int, InstanceImage] = {}
    for place, entry in _entries(content, "images", path):
        image = _image(entry, f"{path}: images[{place}]")
        if image.image_id in images:
            problems.repair("repeated image ids, first kept", image.image_id)
        images.setdefault(image.image_id, image)
    categories: dict[int, str] = {}
    for place, entry in _entries(content, "categories", path):
        where = f"{path}: categories[{place}]"
        categories.setdefault(_integer(entry, "id", where), _string(entry, "name", where))
    annotations: dict[int, dict[str, Any]] = {}
    for place, entry in _entries(content, "annotations", path):
        where = f"{path}: annotations[{place}]"
        annotation_id = _integer(entry, "id", where)
        _integer(entry, "image_id", where)
        _integer(entry, "category_id", where)
        if annotation_id in annotations:
            problems.repair("repeated annotation ids, first kept", annotation_id)
        annotations.setdefault(annotation_id, entry)
    info = content.get("info")
    return Instances(
        path=path,
        images=images,
        categories=categories,
        annotations=annotations,
        only_referred=isinstance(info, dict) and info.get("only_referred") is True,
    )


def rasterise(
    instances: Instances,
    *,
    of_images: Collection[int],
    overlaps: Overlaps = "object",
    progress: Progress | None = None,
) -> tuple[dict[int, Annotation], dict[int, str]]:
    """Returns the annotations of the images `of_images` with their masks, and those without one: id -> why.

    The polygons of one instance are united, as COCO does; what several of them cover is background if `overlaps` says
    so.
    """
    chosen = [annotation for annotation in instances.annotations.values() if annotation["image_id"] in of_images]
    annotations: dict[int, Annotation] = {}
    broken: dict[int, str] = {}
    for done, entry in enumerate(chosen, start=1):
        try:
            annotations[entry["id"]] = _annotation(entry, instances, overlaps)
        except DataError as error:
            broken[entry["id"]] = str(error)
        if progress:
            progress(done, len(chosen))
    return annotations, broken


def without_short_polygons(segmentation: Any) -> Any:
    """Returns a segmentation without polygons of fewer than three points, as detectron2 leaves them out.

    What has no other polygon, or is of another form, is returned as it is.
    """
    if not isinstance(segmentation, list):
        return segmentation
    kept = [one for one in segmentation if not isinstance(one, list) or (len(one) >= 6 and len(one) % 2 == 0)]
    return kept or segmentation


def _annotation(entry: dict[str, Any], instances: Instances, overlaps: Overlaps) -> Annotation:
    image = instances.images[entry["image_id"]]
    if entry["category_id"] not in instances.categories:
        raise DataError(f"category {entry['category_id']} is not in the file's categories")
    mask = rle.from_segmentation(entry.get("segmentation"), height=image.height, width=image.width, overlaps=overlaps)
    return Annotation(
        annotation_id=entry["id"],
        image_id=image.image_id,
        category_id=entry["category_id"],
        box=_box(entry.get("bbox"), mask),
        mask=mask,
        crowd=bool(entry.get("iscrowd", 0)),
    )


def _box(published: Any, mask: rle.RLE) -> tuple[float, float, float, float]:
    """Returns the published box, or the mask's where none is published."""
    if published is None:
        return rle.box(mask)
    numbers = isinstance(published, list) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) for value in published
    )
    if not numbers or len(published) != 4:
        raise DataError(f"a box is four numbers x, y, width, height; got {published!r:.60}")
    x, y, width, height = (float(value) for value in published)
    return x, y, width, height


def _entries(content: Any, key: str, path: Path) -> list[tuple[int, dict[str, Any]]]:
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path} has no list of {key!r}; expected COCO's instances.json")
    return list(enumerate(entries))


def _image(entry: dict[str, Any], where: str) -> InstanceImage:
    height, width = _integer(entry, "height", where), _integer(entry, "width", where)
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise DataError(f"{where} has size {height}x{width} (height x width)")
    file_name = _string(entry, "file_name", where)
    # The name is joined to a folder of the user's, so it may name nothing outside of it.
    parts = PurePosixPath(file_name).parts
    if file_name.startswith("/") or "\\" in file_name or PureWindowsPath(file_name).drive or ".." in parts:
        raise DataError(f"{where} has file name {file_name!r}; expected a bare name, or a path within a folder")
    return InstanceImage(image_id=_integer(entry, "id", where), file_name=file_name, height=height, width=width)


def _integer(entry: dict[str, Any], key: str, where: str) -> int:
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise DataError(f"{where} has {key} {value!r:.60}; expected a whole number")
    return value


def _string(entry: dict[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise DataError(f"{where} has {key} {value!r:.60}; expected a text")
    return value
