"""Puts the shards of a collection together, with nothing missing or twice, and writes rows in other formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from risctl.data.formats.annotated import AnnotatedImage, AnnotatedMask
from risctl.data.formats.file_names import FileNames
from risctl.data.formats.write import IMAGES, write_formats, write_images
from risctl.errors import DataError
from risctl.inference.output_files import PredictionFolder
from risctl.labelling.output import LabelFolder
from risctl.labelling.reading import base_name, read_address, source_bytes
from risctl.labelling.worker import Row
from risctl.output_files import OutputFiles
from risctl.results import Prediction
from risctl.vision import rle

REFUSED = "refused"
_NAMED = 10  # missing parts that a message names
_SAME = (
    "source",
    "split",
    "phrases",
    "digest",
    "threshold",
    "no_target_threshold",
    "min_score",
    "size",
    "images",
    "plan",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Folders of labels that together are one whole collection.

    Attributes:
        folders: The folders, opened.
        places: For each part, in order, the folder that has it.
    """

    folders: tuple[LabelFolder, ...]
    places: tuple[LabelFolder, ...]

    def rows(self) -> Iterator[Row]:
        """Yields all rows in the order of the collection. Raises `DataError` if a part has changed."""
        for number, folder in enumerate(self.places):
            yield from folder.rows_of(number, check=True)

    @property
    def images(self) -> int:
        """How many images the collection has."""
        return int(self.folders[0].about["images"])


def open_all(paths: Sequence[Path]) -> Joined:
    """Opens the folders of all shards of a collection.

    Raises:
        DataError: They are of different collections, a part is missing, or one is there twice.
    """
    folders = [LabelFolder(path) for path in paths]
    for folder in folders:
        folder.open()
    first = folders[0]
    for other in folders[1:]:
        for key in _SAME:
            if other.about.get(key) != first.about.get(key):
                raise DataError(
                    f"{other.path} and {first.path} are not of one collection: their {key} differs "
                    f"({other.about.get(key)!r:.60} and {first.about.get(key)!r:.60})"
                )
    count = -(-int(first.about["images"]) // first.size)
    found: dict[int, LabelFolder] = {}
    for folder in folders:
        for number in folder.numbers():
            if not folder.is_done(number):
                continue
            if number in found:
                raise DataError(f"part {number} is in {found[number].path} and in {folder.path}; name each shard once")
            found[number] = folder
    missing = [number for number in range(count) if number not in found]
    if missing:
        named = ", ".join(map(str, missing[:_NAMED])) + (", …" if len(missing) > _NAMED else "")
        raise DataError(f"{len(missing)} of {count} parts are missing ({named}): {_who(missing, folders)}")
    return Joined(folders=tuple(folders), places=tuple(found[number] for number in range(count)))


def _who(missing: Sequence[int], folders: Sequence[LabelFolder]) -> str:
    """Returns whose parts are missing, and what to do."""
    unfinished = [str(one.path) for one in folders if one.left()]
    shares = {one.about["shard"][1] for one in folders}
    total = max(shares)
    present = {one.about["shard"][0] for one in folders}
    absent = sorted({number % total + 1 for number in missing} - present) if len(shares) == 1 else []
    told = [f"{', '.join(unfinished)} not finished; go on with --resume"] if unfinished else []
    told += [f"no folder of shard {', '.join(f'{one}/{total}' for one in absent[:_NAMED])}"] if absent else []
    return "; ".join(told) or "name the folders of all shards"


def write_annotations(
    rows: Iterator[Row], out: Path, names: Sequence[str], *, images: bool, outputs: OutputFiles
) -> dict[str, int]:
    """Writes rows in formats of annotation tools; rows with an error and refused ones are left out.

    Args:
        rows: The rows, in the order of their images.
        out: The folder of the formats' folders.
        names: The formats.
        images: Whether the images are copied, too.
        outputs: The guard of the command's output files.
    """
    names_of = FileNames()
    annotated: list[AnnotatedImage] = []
    sources: list[tuple[str, str]] = []
    for index, of_image in groupby(_usable(rows), lambda row: row["index"]):
        own = list(of_image)
        file_name = names_of.distinct(base_name(own[0]["image"]), number=index)
        masks = tuple(
            AnnotatedMask(mask=row["segmentation"], phrases=(row["phrase"],), score=row["score"]) for row in own
        )
        height, width = own[0]["height"], own[0]["width"]
        annotated.append(
            AnnotatedImage(image_id=index + 1, file_name=file_name, height=height, width=width, masks=masks)
        )
        sources.append((file_name, own[0]["image"]))
    written = write_formats(names, lambda name: annotated, out, outputs=outputs)
    if images:
        files = ((name, lambda image=image: source_bytes(image)) for name, image in sources)
        written[IMAGES] = write_images(files, out, names=names, outputs=outputs)
    return written


def write_pictures(rows: Iterator[Row], out: Path, *, labels: bool = True, outputs: OutputFiles) -> int:
    """Writes mask, overlay and record of each row, as `risctl predict` does, and returns the number of rows."""
    folder = PredictionFolder(out, labels=labels, outputs=outputs)
    count = 0
    for _, of_image in groupby(_usable(rows), lambda row: row["index"]):
        pixels: np.ndarray | None = None
        for row in of_image:
            pixels = read_address(row["image"]) if pixels is None else pixels
            prediction = Prediction(
                text=row["phrase"],
                probability=np.ascontiguousarray(rle.decode(row["segmentation"])).astype(np.float32),
                threshold=row["threshold"],
                score=row["score"],
                box=None if row["box"] is None else tuple(row["box"]),
                matched=row["matched"],
                image=pixels,
            )
            stem = base_name(row["image"]).rpartition(".")[0] or base_name(row["image"])
            folder.write(prediction, image=row["image"], name=stem, file_name=row["image"], model=row["model"])
            count += 1
    return count


def _usable(rows: Iterator[Row]) -> Iterator[Row]:
    return (row for row in rows if not row["error"] and row["decision"] != REFUSED)
