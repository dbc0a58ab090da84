"""Where the files of a RefCOCO set lie: the folder layouts that people have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from risctl.errors import DataError, UsageError, nearest, unknown_name

# Set -> its ways of splitting, the usual one first. Not every published archive holds all of them.
SPLIT_BY = {"refcoco": ("unc", "google"), "refcoco+": ("unc",), "refcocog": ("umd", "google")}

_FOLDERS = ("", "data", "annotations", "refer/data")
_IMAGES = (
    "",
    "images/mscoco/images/train2014",
    "images/train2014",
    "train2014",
    "images/mscoco/train2014",
    "mscoco/images/train2014",
    "coco/train2014",
    "coco/images/train2014",
    "images",
)


def find_annotations(root: Path, *, name: str, split_by: str) -> tuple[Path, Path]:
    """Return (refs(SPLITBY).p, instances.json) of the set `name` under `root`.

    `root` is the folder that holds the set's folder, directly or in `data/`, or the set's folder itself. Raises
    `UsageError` for an unknown set, `DataError` telling where was looked and what there is instead.
    """
    if name not in SPLIT_BY:
        raise UsageError(unknown_name("RefCOCO set", name, SPLIT_BY))
    if not root.is_dir():
        raise DataError(f"{root} is no folder; give the one that holds {name}/refs({split_by}).p")
    tried = [root / folder / name for folder in _FOLDERS]
    # The set's own folder, unless it says by its name that it is another's.
    if root.name not in SPLIT_BY or root.name == name:
        tried.append(root)
    for folder in tried:
        if (folder / "instances.json").is_file() and _split_files(folder):
            return _chosen(folder, name=name, split_by=split_by), folder / "instances.json"
    for folder in tried[:-1]:
        if folder.is_dir():
            lacks = "instances.json" if _split_files(folder) else f"refs({split_by}).p"
            raise DataError(f"{folder} has no {lacks}; get {name} again, or name the folder that holds it")
    looked = ", ".join(str(folder) for folder in tried)
    raise DataError(f"no {name} under {root}: looked for refs({split_by}).p and instances.json in {looked}")


def _split_files(folder: Path) -> dict[str, Path]:
    found = {}
    for path in sorted(folder.glob("refs(*).p")):
        match = re.fullmatch(r"refs\((.+)\)\.p", path.name)
        if match:
            found[match[1]] = path
    return found


def _chosen(folder: Path, *, name: str, split_by: str) -> Path:
    present = _split_files(folder)
    if split_by not in present:
        near = nearest(split_by, present) or next(iter(present))
        raise DataError(
            f"{folder} has no refs({split_by}).p; it is split by {', '.join(present)}: try --split-by {near}"
        )
    return present[split_by]


def find_images(root: Path, *, annotations: Path, images: Path | None, sample: Sequence[str]) -> Path | None:
    """Return the folder that holds the pictures of COCO train2014, or None if there is none.

    `images`, if given, is that folder or one that holds it; else it is looked for around `root` and around
    `annotations`, the folder of the set. Of several the one with most of the file names `sample` is taken, the first of
    equals; a folder given that has none of them is returned all the same, so that what it lacks can be named.
    Raises `DataError` if `images` is no folder.
    """
    if images is not None:
        if not images.is_dir():
            raise DataError(f"{images} is no folder; give the one that holds {sample[0] if sample else 'the pictures'}")
        bases = [images]
    else:
        bases = list(dict.fromkeys([root, annotations, annotations.parent, annotations.parent.parent]))
    candidates = [base / inner for base in bases for inner in _IMAGES]
    best, most = (images, 0) if images else (None, 0)
    for folder in candidates:
        held = sum((folder / file_name).is_file() for file_name in sample) if folder.is_dir() else 0
        if held > most:
            best, most = folder, held
    return best
