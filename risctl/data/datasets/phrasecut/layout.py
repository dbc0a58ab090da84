"""Where the files of PhraseCut lie: the folders that people keep them in."""

from __future__ import annotations

import re
from pathlib import Path

from risctl.errors import DataError

NAME = "phrasecut"
SPLIT_BY = "published"
SPLITS = ("train", "val", "test", "miniv")
_FOLDERS = ("", NAME, "VGPhraseCut_v0", "data/VGPhraseCut_v0", "PhraseCutDataset/data/VGPhraseCut_v0", f"data/{NAME}")


def find_tasks(root: Path) -> dict[str, Path]:
    """Returns split -> `refer_SPLIT.json` under `root`, those that are there. Raises `DataError` if none is."""
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give the one that holds refer_train.json")
    for inner in _FOLDERS:
        found = {split: root / inner / f"refer_{split}.json" for split in SPLITS}
        found = {split: path for split, path in found.items() if path.is_file()}
        if found:
            return found
    looked = ", ".join(str(root / inner) for inner in _FOLDERS)
    raise DataError(f"no PhraseCut under {root}: looked for refer_train.json, refer_val.json, ... in {looked}")


def search_folders(root: Path, tasks: dict[str, Path]) -> tuple[Path, ...]:
    """Returns the folders around which images are looked for."""
    return root, *next(iter(tasks.values())).parents[:2]


def file_names(tasks: dict[str, Path]) -> list[str]:
    """Returns the file names of the images of all phrases, each once, without parsing all their polygons."""
    matches = (match for path in tasks.values() for match in re.finditer(rb'"image_id"\s*:\s*(\d+)', path.read_bytes()))
    return list(dict.fromkeys(f"{int(match[1])}.jpg" for match in matches))
