"""Verifies a store: that it is consistent, and that it agrees with the annotations it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from risctl.data.datasets.coco_instances import OVERLAPS, read_instances, without_short_polygons
from risctl.data.datasets.problems import Problems
from risctl.data.store import schema
from risctl.data.store.columns import DamagedStoreError
from risctl.data.store.linked_images import UnnamedFolderError
from risctl.data.store.reader import Store
from risctl.errors import DataError
from risctl.vision import rle
from risctl.vision.images import WrongSizeError, decode_stored

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

# Published boxes are drawn around polygons, not pixels: both sides of a mask may differ by a pixel and rounding.
BOX_TOLERANCE = 2.0
NAMED = 5


@dataclass(slots=True, kw_only=True)
class Verification:
    """The result of a verification.

    Attributes:
        checked: How many of what were checked.
        failures: What is wrong, one line each.
        warnings: What is unusual, one line each.
    """

    checked: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def raise_if_failed(self, path: Path) -> None:
        """Raises `DataError` with the first few failures, if there are any."""
        if self.failures:
            more = f", and {len(self.failures) - NAMED:,} more" if len(self.failures) > NAMED else ""
            raise DataError(f"{path} is damaged: {'; '.join(self.failures[:NAMED])}{more}. Prepare the store again")


def verify_store(store: Store, *, progress: Progress | None = None) -> Verification:
    """Checks that a store is consistent.

    The fingerprint, row references, unique ids, every text, every image's size once decoded, and every mask's encoding
    are checked.
    Boxes that differ from their masks' are warnings, since some are published so.

    Args:
        store: The store.
        progress: Called with (done, total) images and annotations.

    Returns:
        What was checked, and what is wrong.

    Raises:
        UnnamedFolderError: It links to images in folders that nobody named.
    """
    found = Verification()
    if not _check_tables(store, found):
        return found
    images, annotations = len(store.numbers("images/id")), len(store.numbers("annotations/id"))
    total = images + annotations
    for row in range(images):
        _check_image(store, row, found)
        if progress:
            progress(row + 1, total)
    outside = 0
    for row in range(annotations):
        outside += _check_annotation(store, row, found)
        if progress:
            progress(images + row + 1, total)
    if outside:
        found.warnings.append(
            f"{outside:,} of {annotations:,} published boxes differ from their mask's by over 2 pixels"
        )
    found.checked |= {"pictures decoded": images, "masks well formed": annotations}
    return found


def verify_masks(store: Store, instances: Path, *, progress: Progress | None = None) -> Verification:
    """Checks that every mask of a store equals its polygons in the file `instances`, run for run.

    What several polygons of an object cover is part of all masks, or background in all.

    Args:
        store: The store.
        instances: A published `instances.json`.
        progress: Called with (done, total) annotations.

    Returns:
        What was checked, and what is wrong.
    """
    found = Verification()
    published = read_instances(instances, Problems())
    count = len(store.numbers("annotations/id"))
    rules = OVERLAPS
    for row in range(count):
        stored = store.annotation(row)
        entry = published.annotations.get(stored.annotation_id)
        if entry is None:
            found.failures.append(f"annotation {stored.annotation_id} is not in {instances}")
        else:
            height, width = stored.mask["size"]
            polygons = without_short_polygons(entry.get("segmentation"))
            fitting = [
                rule
                for rule in rules
                if rle.from_segmentation(polygons, height=height, width=width, overlaps=rule) == stored.mask
            ]
            if fitting:
                rules = tuple(fitting)
            else:
                found.failures.append(f"the mask of annotation {stored.annotation_id} is not what {instances} says")
            if entry["category_id"] != stored.category_id or entry["image_id"] != store.image(stored.image).image_id:
                found.failures.append(f"annotation {stored.annotation_id} has another image or category in {instances}")
        if progress:
            progress(row + 1, count)
    found.checked["masks compared with their polygons"] = count
    return found


def _check_tables(store: Store, found: Verification) -> bool:
    """Checks all columns and texts; returns whether the columns can be read."""
    tables = {}
    for name in schema.columns():
        try:
            tables[name] = store.numbers(name)
        except DamagedStoreError as error:
            found.failures.append(error.where)
    if found.failures:
        return False
    mark = schema.fingerprint(store.name, store.split_by, tables)
    if mark != store.fingerprint:
        found.failures.append(f"its content has fingerprint {mark}, recorded is {store.fingerprint}")
    for table in ("refs", "sentences"):  # of the others a reader refuses repeated ids
        ids = tables[f"{table}/id"]
        if len(np.unique(ids)) != len(ids):
            found.failures.append(f"{table} have repeated ids")
    sizes = {table: len(tables[f"{table}/id"]) for table in ("images", "annotations", "refs", "sentences")}
    for read, rows in (
        (lambda _: store.categories, 1),
        (store.ref, sizes["refs"]),
        (store.sentence, sizes["sentences"]),
    ):
        for row in range(rows):
            try:
                read(row)
            except DamagedStoreError as error:
                found.failures.append(error.where)
    found.checked |= sizes
    return True


def _check_image(store: Store, row: int, found: Verification) -> None:
    try:
        image = store.image(row)
        data = store.image_bytes(row)
        if hashlib.sha256(data).digest() != store.numbers("images/sha256")[row].tobytes():
            found.failures.append(f"image {image.image_id} is not the file that was stored")
            return
        decode_stored(data, size=(image.height, image.width))
    except UnnamedFolderError:
        raise  # of the first one: nothing is wrong with the store
    except DamagedStoreError as error:
        found.failures.append(error.where)
    except WrongSizeError as error:
        size = "x".join(map(str, error.size))
        found.failures.append(f"image {image.image_id} has {size}, not {image.height}x{image.width} pixels")
    except DataError as error:
        found.failures.append(f"image {image.image_id} ({image.file_name}): {error}")


def _check_annotation(store: Store, row: int, found: Verification) -> bool:
    """Checks one mask; returns whether its box differs from the published one."""
    try:
        annotation = store.annotation(row)
        rle.check(annotation.mask)
    except DamagedStoreError as error:
        found.failures.append(error.where)
        return False
    except DataError as error:
        found.failures.append(f"annotation row {row}: {error}")
        return False
    around = rle.box(annotation.mask)
    return any(
        abs(mine - theirs) > BOX_TOLERANCE
        for mine, theirs in (
            (around[0], annotation.box[0]),
            (around[1], annotation.box[1]),
            (around[0] + around[2], annotation.box[0] + annotation.box[2]),
            (around[1] + around[3], annotation.box[1] + annotation.box[3]),
        )
    )
