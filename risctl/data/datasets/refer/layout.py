"""Finds the annotations of a dataset in REFER's form in the folder layouts that people have."""

from __future__ import annotations

import re
from pathlib import Path

from risctl.errors import DataError, UsageError, nearest, unknown_name

# Dataset -> its ways of splitting, the usual one first. Not every published archive holds all of them.
SPLIT_BY = {
    "refcoco": ("unc", "google"),
    "refcoco+": ("unc",),
    "refcocog": ("umd", "google"),
    "refclef": ("unc", "berkeley"),
    "grefcoco": ("unc",),
    "rrsis-d": ("unc",),
}

# The folders of datasets that are not called as the dataset.
_FOLDER_OF = {"rrsis-d": "rrsisd"}

_FOLDERS = ("", "data", "annotations", "refer/data")


def file_of_refs(name: str, split_by: str) -> str:
    """Returns the usual file name of the refs."""
    return f"grefs({split_by}).json" if name == "grefcoco" else f"refs({split_by}).p"


def find_annotations(root: Path, *, name: str, split_by: str) -> tuple[Path, Path]:
    """Returns the paths of (the refs, instances.json) of a dataset.

    Args:
        root: The folder that holds the dataset's folder, directly or in `data/`, or the dataset's folder itself.
        name: The dataset.
        split_by: The way of splitting.

    Raises:
        UsageError: An unknown dataset.
        DataError: The files are not there; where they were looked for, and what there is instead, is named.
    """
    if name not in SPLIT_BY:
        raise UsageError(unknown_name("RefCOCO dataset", name, SPLIT_BY))
    wanted = file_of_refs(name, split_by)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give the one that holds {_FOLDER_OF.get(name, name)}/{wanted}")
    own = _FOLDER_OF.get(name, name)
    tried = [root / folder / own for folder in _FOLDERS]
    # The set's own folder, unless it says by its name that it is another's.
    others = {_FOLDER_OF.get(one, one) for one in SPLIT_BY} - {own}
    if root.name not in others:
        tried.append(root)
    for folder in tried:
        if (folder / "instances.json").is_file() and _split_files(folder, name):
            return _chosen(folder, name=name, split_by=split_by), folder / "instances.json"
    for folder in tried[:-1]:
        if folder.is_dir():
            lacks = "instances.json" if _split_files(folder, name) else wanted
            raise DataError(f"{folder} has no {lacks}; get {name} again, or name the folder that holds it")
    looked = ", ".join(str(folder) for folder in tried)
    raise DataError(f"no {name} under {root}: looked for {wanted} and instances.json in {looked}")


def _split_files(folder: Path, name: str) -> dict[str, Path]:
    """Returns the files of refs by their way of splitting: the published pickle, or JSON if there is that alone."""
    found = {}
    start = "grefs" if name == "grefcoco" else "refs"
    for form in (f"{start}(*).json", f"{start}(*).p"):
        for path in sorted(folder.glob(form)):
            match = re.search(r"\((.+)\)", path.name)
            if match:
                found[match[1]] = path
    return found


def _chosen(folder: Path, *, name: str, split_by: str) -> Path:
    present = _split_files(folder, name)
    if split_by not in present:
        near = nearest(split_by, present) or next(iter(present))
        raise DataError(
            f"{folder} has no {file_of_refs(name, split_by)}; it is split by {', '.join(present)}: "
            f"try --split-by {near}"
        )
    return present[split_by]


def search_folders(root: Path, instances: Path) -> tuple[Path, ...]:
    """Returns the folders in which images are looked for: the user's, and those above the annotations."""
    return root, *instances.parents[:3]
