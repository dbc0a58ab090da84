"""Reads proposals that another program wrote: COCO RLE JSON, npz, or folders of PNGs.

The proposals of an image are found by its id, else by its file's name, stem, or the number at the stem's end
(`COCO_train2014_000000581857.jpg` is 581857).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from risctl.errors import DataError
from risctl.json_text import parse_json
from risctl.vision.rle import from_segmentation
from risctl.zeroshot.proposals.base import InputImage, Proposals, from_rles, no_proposals


def keys_of(image: InputImage) -> list[str]:
    """Returns the keys under which the proposals of `image` may be stored, the most specific first."""
    stem = Path(image.name).stem
    number = re.search(r"(\d+)$", stem)
    names = [str(image.image_id)] if image.image_id is not None else []
    return list(dict.fromkeys([*names, image.name, stem, *([str(int(number[1]))] if number else [])]))


class JsonProposals:
    """A COCO result file: a list of {"image_id" or "file_name", "segmentation", "score", "category_id"}.

    A COCO dataset file is read too: its "annotations", its "images" naming the files. Entries that name
    no image belong to every image of their masks' size.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"file {path}"
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as JSON proposals: {error}") from error
        files: dict[Any, str] = {}
        if isinstance(content, dict):
            files = {one.get("id"): str(one.get("file_name", "")) for one in content.get("images", [])}
            content = content.get("annotations")
        if not isinstance(content, list) or not all(
            isinstance(value, dict) and "segmentation" in value for value in content
        ):
            raise DataError(
                f'expected in {path} a list of {{"image_id", "segmentation", "score"}}, as COCO results are'
            )
        self._entries: dict[str, list[dict[str, Any]]] = {}
        for value in content:
            for key in _names(value, files):
                self._entries.setdefault(key, []).append(value)

    def __call__(self, image: InputImage) -> Proposals:
        """Returns the entries of `image` as proposals. Raises `DataError` for masks of another size."""
        entries = next((self._entries[key] for key in [*keys_of(image), ""] if key in self._entries), [])
        height, width = image.size
        try:
            rles = [from_segmentation(entry["segmentation"], height=height, width=width) for entry in entries]
        except DataError as error:
            raise DataError(f"{self.path} does not fit {image.name}: {error}") from error
        return from_rles(
            rles,
            scores=np.array([float(entry.get("score", 1.0)) for entry in entries], dtype=np.float32),
            categories=np.array([int(entry.get("category_id") or 0) for entry in entries], dtype=np.int64),
            image=image,
        )


def _names(entry: dict[str, Any], files: dict[Any, str]) -> Iterable[str]:
    if "image_id" in entry:
        yield str(entry["image_id"])
        if files.get(entry["image_id"]):
            yield files[entry["image_id"]]
    elif "file_name" in entry:
        yield str(entry["file_name"])
    else:
        yield ""


class NpzProposals:
    """A folder of `KEY.npz`, or one file for one image.

    A file holds `masks` (N, H, W) and optionally `scores` (N,) and `categories` (N,).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"npz {path}"

    def __call__(self, image: InputImage) -> Proposals:
        """Returns the arrays of `image` as proposals. Raises `DataError` if they do not fit it."""
        path = self.path if self.path.is_file() else _first(self.path / f"{key}.npz" for key in keys_of(image))
        if path is None:
            return no_proposals(image)
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} cannot be read as an npz of proposals: {error}") from error
        masks = arrays.get("masks")
        if masks is None or masks.ndim != 3 or (masks.shape[1:] != image.size and len(masks)):
            got = "no such array" if masks is None else f"{masks.shape}"
            raise DataError(f"expected in {path} masks of shape (N, {image.size[0]}, {image.size[1]}), got {got}")
        count = len(masks)
        if not count:
            return no_proposals(image)
        scores = arrays.get("scores", np.ones(count))
        categories = arrays.get("categories", np.zeros(count))
        if len(scores) != count or len(categories) != count:
            raise DataError(f"{path} has {count} masks, {len(scores)} scores and {len(categories)} categories")
        return Proposals(
            masks=masks > (0.5 if masks.dtype.kind == "f" else 0),
            scores=scores.astype(np.float32),
            categories=categories.astype(np.int64),
        )


class PngProposals:
    """A folder `KEY/` of PNGs, one per proposal and set where not 0; or `KEY.png`, in which each value but 0 is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"PNG folder {path}"

    def __call__(self, image: InputImage) -> Proposals:
        """Returns the PNGs of `image` as proposals, those of its own folder if there is one."""
        folder = _first((self.path / key for key in keys_of(image)), folders=True)
        if folder is not None:
            masks = [_read(path, image) != 0 for path in sorted(folder.glob("*.png"))]
        else:
            file = _first(self.path / f"{key}.png" for key in keys_of(image))
            values = None if file is None else _read(file, image)
            masks = [] if values is None else [values == label for label in np.unique(values) if label]
        if not masks:
            return no_proposals(image)
        return Proposals(masks=np.stack(masks), scores=np.ones(len(masks), dtype=np.float32))


def open_proposal_files(path: Path) -> JsonProposals | NpzProposals | PngProposals:
    """Returns the source that reads `path`, a `.json` or `.npz` file or a folder; raises `DataError` for another."""
    if path.is_dir():
        return NpzProposals(path) if any(path.glob("*.npz")) else PngProposals(path)
    if path.suffix == ".json" and path.is_file():
        return JsonProposals(path)
    if path.suffix == ".npz" and path.is_file():
        return NpzProposals(path)
    raise DataError(
        f"expected proposals in a .json or .npz file or a folder of .npz or PNG files, found none at {path}"
    )


def _first(paths: Iterable[Path], *, folders: bool = False) -> Path | None:
    return next((path for path in paths if path.name and (path.is_dir() if folders else path.is_file())), None)


def _read(path: Path, image: InputImage) -> np.ndarray:
    try:
        with Image.open(path) as opened:
            values = np.array(opened)
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{path} cannot be read as a PNG of proposals: {error}") from error
    if values.ndim == 3:
        values = values[..., :3].max(axis=2)
    if values.shape != image.size:
        raise DataError(f"{path} is {values.shape[0]}x{values.shape[1]}, its image {image.size[0]}x{image.size[1]}")
    return values
