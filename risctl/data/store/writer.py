"""Writes a dataset to a store: one pass over the images, some 64 MB of them in memory, then the tables."""

from __future__ import annotations

import contextlib
import hashlib
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from risctl import __version__
from risctl.data.hdf5_file import DeferredErrorFile
from risctl.data.records import Annotation, Dataset, ImageRecord
from risctl.data.store import checks, index, linked_images, schema
from risctl.data.store.layout import Layout, Sums
from risctl.data.store.reader import Store
from risctl.data.store.shards import ImageParts, Sharding, ShardWriter, put_column
from risctl.errors import DataError, UsageError
from risctl.files import replacing

Progress = Callable[[int, int], None]
"""Called with (done, total) images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreInfo:
    """What was written.

    Attributes:
        path: The file.
        bytes: Its length in bytes, that of its shards included.
        fingerprint: Identifies its contents.
        counts: Images, refs and sentences by split.
        notes: Irregularities that were repaired, with their counts.
        warnings: What a person should know about the writing.
        shards: How many files beside it hold the images; 0 if it holds them itself.
    """

    path: Path
    bytes: int
    fingerprint: str
    counts: Mapping[str, Mapping[str, int]]
    notes: Mapping[str, int]
    warnings: tuple[str, ...] = ()
    shards: int = 0


def write_store(
    dataset: Dataset,
    out: Path,
    *,
    link: bool = False,
    shards: Sharding | None = None,
    progress: Progress | None = None,
) -> StoreInfo:
    """Writes `dataset` as a store, completely or not at all.

    Args:
        dataset: The dataset. Its images are read once, one at a time and in order, so that a mapping may create them
            on the way.
        out: The file to write.
        link: Whether only the absolute paths of the images are stored, instead of their encoded bytes.
        shards: How the images are divided among files of their own beside `out`; None keeps them in it.
        progress: Called with (done, total) images.

    Returns:
        What was written.

    Raises:
        UsageError: Both `link` and `shards` are given, or there would be too many shards.
        DataError: The dataset contradicts itself, or an image cannot be read.
        MachineError: The disk is full.
    """
    if link and shards is not None:
        raise UsageError("a linked store holds no pictures that shards could keep; leave --link or --shards out")
    old = _shards_of(out)
    apart = ShardWriter(out, shards, images=len(dataset.images)) if shards is not None else None
    with apart or contextlib.nullcontext():
        layout, length = _write(dataset, out, link=link, shards=apart, progress=progress)
        if apart is not None:
            apart.keep(old)
    if apart is None:
        for path in old:
            path.unlink(missing_ok=True)
    warnings = []
    if link and not linked_images.remember(image.path for image in dataset.images.values() if image.path is not None):
        file_name, variable = linked_images.remembered_file(), linked_images.VARIABLE
        warnings.append(
            f"{file_name} cannot be written: set {variable} to the folder of the pictures to read the store"
        )
    return StoreInfo(
        path=out,
        bytes=length + sum(one.bytes for one in layout.shards),
        fingerprint=layout.fingerprint,
        counts=dataset.counts(),
        notes=dict(dataset.notes),
        warnings=tuple(warnings),
        shards=len(layout.shards),
    )


def _write(
    dataset: Dataset, out: Path, *, link: bool, shards: ShardWriter | None, progress: Progress | None
) -> tuple[Layout, int]:
    """Writes the store's own file; returns its layout and its length."""
    tables = _annotation_tables(dataset) | _record_tables(dataset)
    with replacing(out) as part, DeferredErrorFile(part, "xb+") as disk:
        with h5py.File(disk, "w", userblock_size=schema.HEADER_BYTES) as file:
            blob: ImageParts | ShardWriter = ImageParts(file, disk) if shards is None else shards
            roots = linked_images.roots_of(out) if link else None
            tables |= _write_images(dataset, blob, roots=roots, progress=progress)
            _check_masks(dataset, tables)
            mark = schema.fingerprint(dataset.name, dataset.split_by, tables)
            tables = {
                name: np.ascontiguousarray(tables[name], dtype=kind) for name, (kind, _) in schema.columns().items()
            }
            found = Layout(
                name=dataset.name,
                split_by=dataset.split_by,
                fingerprint=mark,
                linked=link,
                notes=dict(dataset.notes),
                columns={name: put_column(file, name, values, disk) for name, values in tables.items()},
                parts=blob.parts,
                shards=tuple(shards.shards) if shards is not None else (),
                sums={
                    name: Sums(rows, put_column(file, f"sums/{name}", sums, disk))
                    for name, rows, sums in index.sums_of(tables)
                },
            )
            _check_readable(tables, found)
            layout = found.to_bytes()
            place = put_column(file, "layout", np.frombuffer(layout, dtype=np.uint8), disk)
            file.attrs["written_by"] = f"risctl {__version__}"
        length = disk.seek(0, io.SEEK_END)
        disk.seek(0)
        disk.write(schema.header(length, layout_at=place.offset, layout=layout, version=found.version))
        disk.raise_failure()
    return found, length


def _shards_of(out: Path) -> list[Path]:
    """Returns the shards of the store that is to be replaced."""
    if not out.is_file():
        return []
    try:
        with Store(out) as store:
            return store.shards
    except DataError:  # a damaged one may well name files of another
        return []


def _write_images(
    dataset: Dataset, blob: ImageParts | ShardWriter, *, roots: Sequence[str] | None, progress: Progress | None
) -> dict[str, np.ndarray]:
    """Writes the images to `blob`, or links to their files if there are `roots`; returns their columns."""
    link = roots is not None
    rows: dict[str, list[Any]] = {
        f"images/{name}": [] for name in ("id", "height", "width", "length", "crc32", "sha256", "part", "start")
    }
    names: list[str] = []
    paths: list[str] = []
    last: Path | None = None
    for done, (image_id, record) in enumerate(dataset.images.items(), start=1):
        if link and record.path is None:
            raise DataError(f"image {image_id} has no file, so a store cannot link to it; write it without --link")
        # Of images that share a file and follow each other, the file is read and kept once.
        if record.path is None or record.path != last:
            data = _bytes_of(record)
            if roots is not None and record.path is not None:
                linked_images.check_linkable(record.path, roots=roots)
            part, start = (-1, 0) if link else blob.add(data, row=done - 1)
            digest = np.frombuffer(hashlib.sha256(data).digest(), dtype=np.uint8)
            shared = (len(data), zlib.crc32(data), digest, part, start)
            last = record.path
        row = (image_id, record.height, record.width, *shared)
        for column, value in zip(rows.values(), row, strict=True):
            column.append(value)
        names.append(record.file_name)
        paths.append(str(record.path.absolute()) if link and record.path else "")
        if progress:
            progress(done, len(dataset.images))
    if not names:
        raise DataError(f"{dataset.name} has no image; there is nothing to store")
    blob.flush()
    tables = {name: np.array(values, dtype=schema.NUMBERS[name][0]) for name, values in rows.items()}
    return tables | _texts("images/file_name", names) | _texts("images/path", paths)


def _bytes_of(record: ImageRecord) -> bytes:
    if record.data is not None:
        return record.data
    if record.path is None:
        raise DataError(f"image {record.image_id} ({record.file_name}) has neither a file nor bytes")
    try:
        return record.path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the image {record.path}: {error.strerror or error}") from error


def _ordered(dataset: Dataset) -> list[Annotation]:
    """Returns the annotations by image, in the images' order. Raises `DataError` if an image is missing."""
    by_image: dict[int, list[Annotation]] = {image_id: [] for image_id in dataset.images}
    for annotation in dataset.annotations.values():
        if annotation.image_id not in by_image:
            raise DataError(
                f"annotation {annotation.annotation_id} is of image {annotation.image_id}, which the dataset lacks"
            )
        by_image[annotation.image_id].append(annotation)
    return [annotation for group in by_image.values() for annotation in group]


def _annotation_tables(dataset: Dataset) -> dict[str, np.ndarray]:
    ordered = _ordered(dataset)
    image_rows = {image_id: row for row, image_id in enumerate(dataset.images)}
    rows = np.array([image_rows[record.image_id] for record in ordered], dtype=np.int64)
    return {
        "images/annotations": np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(image_rows)))]),
        "annotations/id": np.array([record.annotation_id for record in ordered], dtype=np.int64),
        "annotations/image": rows,
        "annotations/category": np.array([record.category_id for record in ordered], dtype=np.int64),
        "annotations/box": np.array([record.box for record in ordered], dtype=np.float64).reshape(-1, 4),
        "annotations/crowd": np.array([record.crowd for record in ordered], dtype=np.uint8),
        "categories/id": np.array(list(dataset.categories), dtype=np.int64),
        **_texts("categories/name", list(dataset.categories.values())),
        **_texts("annotations/counts", [record.mask["counts"] for record in ordered]),
    }


def _check_masks(dataset: Dataset, tables: Mapping[str, np.ndarray]) -> None:
    """Raises `DataError` unless each mask has its image's size, which the store keeps only once."""
    sizes = {
        int(image_id): [int(height), int(width)]
        for image_id, height, width in zip(tables["images/id"], tables["images/height"], tables["images/width"])
    }
    for annotation in dataset.annotations.values():
        size = list(annotation.mask["size"])
        if size != sizes[annotation.image_id]:
            raise DataError(
                f"annotation {annotation.annotation_id}: a mask of {size} in an image of "
                f"{sizes[annotation.image_id]} (height, width)"
            )


def _check_readable(tables: Mapping[str, np.ndarray], layout: Layout) -> None:
    """Raises `DataError` unless a reader takes these numbers: it refuses what it cannot use, such as a box of NaN."""
    for name, values in tables.items():
        try:
            checks.check(name, values, layout=layout, numbers=tables.__getitem__)
        except ValueError as error:
            raise DataError(f"{layout.name} cannot be stored: {error}") from error


def _record_tables(dataset: Dataset) -> dict[str, np.ndarray]:
    image_rows = {image_id: row for row, image_id in enumerate(dataset.images)}
    annotation_rows = {one.annotation_id: row for row, one in enumerate(_ordered(dataset))}
    records = dataset.records
    for record in records:
        lost = [annotation_id for annotation_id in record.annotation_ids if annotation_id not in annotation_rows]
        if lost or record.image_id not in image_rows:
            what = f"annotation {lost[0]}" if lost else f"image {record.image_id}"
            raise DataError(f"ref {record.ref_id} points to {what}, which the dataset lacks")
    expressions = [expression for record in records for expression in record.expressions]
    splits = {split: row for row, split in enumerate(dict.fromkeys(record.split for record in records))}
    abilities = {
        name: row
        for row, name in enumerate(sorted({tag for expression in expressions for tag in expression.abilities}))
    }
    annotations, annotation_offsets = schema.pack_ragged(
        [annotation_rows[annotation_id] for annotation_id in record.annotation_ids] for record in records
    )
    tags, tag_offsets = schema.pack_ragged(
        [abilities[tag] for tag in expression.abilities] for expression in expressions
    )
    lengths = [len(record.expressions) for record in records]
    return {
        "refs/id": np.array([record.ref_id for record in records], dtype=np.int64),
        "refs/image": np.array([image_rows[record.image_id] for record in records], dtype=np.int64),
        "refs/split": np.array([splits[record.split] for record in records], dtype=np.int64),
        "refs/annotations/values": annotations,
        "refs/annotations/offsets": annotation_offsets,
        "refs/sentences": np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        "sentences/id": np.array([expression.sentence_id for expression in expressions], dtype=np.int64),
        "sentences/ref": np.repeat(np.arange(len(records)), lengths),
        "sentences/tokens/offsets": np.concatenate(
            [[0], np.cumsum([len(expression.tokens) for expression in expressions])]
        ),
        "sentences/abilities/values": tags,
        "sentences/abilities/offsets": tag_offsets,
        **_texts("splits", list(splits)),
        **_texts("abilities", list(abilities)),
        **_texts("sentences/raw", [expression.raw for expression in expressions]),
        **_texts("sentences/sent", [expression.sent for expression in expressions]),
        **_texts("tokens", [token for expression in expressions for token in expression.tokens]),
    }


def _texts(column: str, texts: Sequence[str]) -> dict[str, np.ndarray]:
    if column not in schema.SYSTEM_NAMES:
        for row, text in enumerate(texts):
            if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
                raise DataError(f"row {row} of {column} has half of a character (a lone surrogate): {text!r:.80}")
    blob, offsets = schema.pack_texts(texts)
    return {f"{column}/blob": blob, f"{column}/offsets": offsets}
