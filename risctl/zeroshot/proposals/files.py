"""Reads proposals that another program wrote: COCO RLE JSON, npz, or folders of PNGs.

The proposals of an image are found by its id, else by its file's name, stem, or the number at the stem's end
(`COCO_train2014_000000581857.jpg` is 581857).

Whatever a file says is checked before it takes memory: masks of the image's size only, and no more than `MAX_BYTES`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from risctl.errors import CheckpointError, DataError
from risctl.json_text import parse_json
from risctl.vision.label_images import read_labels
from risctl.vision.rle import from_segmentation
from risctl.weights.npz import read_npz
from risctl.zeroshot.proposals.base import InputImage, Proposals, from_rles, no_proposals

MAX_COUNT = 10_000
"""Proposals of an image, at most; sources give some hundreds."""

MAX_BYTES = 2**31
"""Bytes of an image's masks, at most."""


def keys_of(image: InputImage) -> list[str]:
    """Returns the keys under which the proposals of `image` may be stored, the most specific first."""
    stem = Path(image.name).stem
    number = re.search(r"([0-9]{1,18})$", stem)
    names = [str(image.image_id)] if image.image_id is not None else []
    keys = dict.fromkeys([*names, image.name, stem, *([str(int(number[1]))] if number else [])])
    # The name may come from a stranger's store.
    return [key for key in keys if "\0" not in key and not Path(key).is_absolute() and ".." not in Path(key).parts]


class JsonProposals:
    """A COCO result file: a list of {"image_id" or "file_name", "segmentation", "score", "category_id"}.

    A COCO dataset file is read too: its "annotations", its "images" naming the files. Entries that name
    no image belong to every image of their masks' size.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"file {path}"
        try:
            content = parse_json(path.read_text(encoding="utf-8"), not_finite=True)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as JSON proposals: {error}") from error
        files: dict[str, str] = {}
        if isinstance(content, dict):
            images = content.get("images", [])
            if not isinstance(images, list) or not all(isinstance(one, dict) for one in images):
                raise DataError(f'expected in {path} a list of images, {{"id", "file_name"}}, under "images"')
            files = {str(one.get("id")): str(one.get("file_name", "")) for one in images}
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
        _check_count(len(entries), image, source=self.path)
        try:
            rles = [from_segmentation(entry["segmentation"], height=height, width=width) for entry in entries]
            scores = [_score_of(entry) for entry in entries]
            categories = [_category_of(entry) for entry in entries]
        except DataError as error:
            raise DataError(f"{self.path} does not fit {image.name}: {error}") from error
        return from_rles(
            rles,
            scores=np.array(scores, dtype=np.float32),
            categories=np.array(categories, dtype=np.int64),
            image=image,
        )


def _names(entry: dict[str, Any], files: dict[str, str]) -> Iterable[str]:
    if "image_id" in entry:
        key = str(entry["image_id"])
        yield key
        if files.get(key):
            yield files[key]
    elif "file_name" in entry:
        yield str(entry["file_name"])
    else:
        yield ""


def _score_of(entry: dict[str, Any]) -> float:
    score = entry.get("score", 1.0)
    # Predicted overlaps may be a little beyond 1.
    if type(score) not in (int, float) or not abs(score) < 1e6:
        raise DataError(f'a "score" is a number, from 0 to 1; got {_short(score)}')
    return float(score)


def _category_of(entry: dict[str, Any]) -> int:
    category = entry.get("category_id") or 0
    if type(category) is not int or not 0 <= category < 2**31:
        raise DataError(f'a "category_id" is a whole number; got {_short(category)}')
    return category


def _short(value: Any) -> str:
    try:
        return f"{value!r:.40}"
    except ValueError:  # a whole number of thousands of digits
        return "an endless number"


def _check_count(count: int, image: InputImage, *, source: Path, itemsize: int = 1) -> None:
    """Raises `DataError` for more masks than an image can have, or that fit into memory."""
    height, width = image.size
    size = count * height * width * itemsize
    if count > MAX_COUNT or size > MAX_BYTES:
        raise DataError(
            f"{source} has {count:,} proposals of {image.name or 'the image'}, {size:,} bytes of masks; at most "
            f"{MAX_COUNT:,} and {MAX_BYTES:,} bytes are read. Keep the best ones, as bool or as RLEs"
        )


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
            arrays = read_npz(path, what="an npz of proposals", kinds="biuf", check=_Fitting(image, path))
        except CheckpointError as error:
            raise DataError(str(error)) from None
        masks = arrays.get("masks")
        if masks is None:
            raise DataError(f"expected in {path} masks of shape (N, {image.size[0]}, {image.size[1]}), got none")
        count = len(masks)
        if not count:
            return no_proposals(image)
        scores = arrays.get("scores", np.ones(count))
        categories = arrays.get("categories", np.zeros(count))
        if scores.shape != (count,) or categories.shape != (count,):
            raise DataError(f"{path} has {count} masks, {scores.size} scores and {categories.size} categories")
        if not np.isfinite(scores).all() or not ((categories >= 0) & (categories < 2**31)).all():
            raise DataError(f"expected in {path} finite scores, and whole numbers from 0 as categories")
        return Proposals(
            masks=masks > (0.5 if masks.dtype.kind == "f" else 0),
            scores=scores.astype(np.float32),
            categories=categories.astype(np.int64),
        )


class _Fitting:
    """Lets the arrays of an npz be read that are proposals of an image, and no others."""

    def __init__(self, image: InputImage, path: Path) -> None:
        self.image, self.path = image, path

    def __call__(self, name: str, shape: tuple[int, ...], size: int) -> bool:
        height, width = self.image.size
        if name == "masks":
            if len(shape) != 3 or (shape[1:] != (height, width) and shape[0]):
                raise DataError(f"expected in {self.path} masks of shape (N, {height}, {width}), got {shape}")
            count = shape[0]
            _check_count(count, self.image, source=self.path, itemsize=-(-size // max(1, count * height * width)))
        elif name in ("scores", "categories"):
            if len(shape) != 1 or shape[0] > MAX_COUNT:
                raise DataError(f"expected in {self.path} {name} of shape (N,), got {shape}")
        else:
            return False
        return True


class PngProposals:
    """A folder `KEY/` of PNGs, one per proposal and set where not 0; or `KEY.png`, in which each value but 0 is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"PNG folder {path}"

    def __call__(self, image: InputImage) -> Proposals:
        """Returns the PNGs of `image` as proposals, those of its own folder if there is one."""
        folder = _first((self.path / key for key in keys_of(image)), folders=True)
        if folder is not None:
            files = sorted(folder.glob("*.png"))
            _check_count(len(files), image, source=folder)
            masks = [_read(path, image) != 0 for path in files]
        else:
            file = _first(self.path / f"{key}.png" for key in keys_of(image))
            values = np.zeros(image.size, dtype=np.uint8) if file is None else _read(file, image)
            labels = [label for label in np.unique(values) if label]
            _check_count(len(labels), image, source=file or self.path)
            masks = [values == label for label in labels]
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
    for path in paths:
        try:
            if path.name and (path.is_dir() if folders else path.is_file()):
                return path
        except OSError:  # a name that no file can have
            continue
    return None


def _read(path: Path, image: InputImage) -> np.ndarray:
    """Returns the values of a PNG of the image's size, the largest of its channels where it has several."""
    values = read_labels(path, size=image.size)
    return values[..., :3].max(axis=2) if values.ndim == 3 else values
