"""Where the pictures of a published set lie, in the folder layouts that people have, and whether they can be used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from risctl.data.datasets.descriptor import ImageCollection
from risctl.data.datasets.problems import Problems
from risctl.errors import DataError
from risctl.vision.images import image_size

SAMPLED = 64


class ImageFolders:
    """The folders that hold a set's pictures, the one with most of them first."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)

    def path(self, file_name: str) -> Path:
        """Returns the file of a picture; if there is none, where it would be looked for first."""
        bare = PurePosixPath(file_name).name
        for name in dict.fromkeys((file_name, bare)):
            for folder in self.folders:
                if (folder / name).is_file():
                    return folder / name
        return self.folders[0] / file_name


def sampled(names: Sequence[str]) -> list[str]:
    """Returns some of `names`, evenly spaced: enough to tell which folders hold them."""
    return list(names[:: max(1, len(names) // SAMPLED)])


def find_images(
    collection: ImageCollection, *, around: Iterable[Path], images: Path | None, sample: Sequence[str]
) -> ImageFolders | None:
    """Returns the folders that hold the pictures, or None if there are none.

    `images`, if given, is such a folder or one that holds it; else they are looked for in the folders `around`. The one
    with most of the file names `sample` comes first, then those that have others of them. A folder given that has none
    is returned all the same, so that what it lacks can be named. Raises `DataError` if `images` is no folder.
    """
    if images is not None and not images.is_dir():
        raise DataError(f"{images} is no folder; give the one that holds {sample[0] if sample else 'the pictures'}")
    bases = [images] if images is not None else list(dict.fromkeys(around))
    held: dict[Path, set[str]] = {}
    for base in bases:
        for inner in collection.folders:
            for folder in sorted(base.glob(inner)) if "*" in inner else [base / inner]:
                if folder not in held and folder.is_dir():
                    held[folder] = {name for name in sample if _holds(folder, name)}
    chosen: list[Path] = []
    found: set[str] = set()
    for folder in sorted(held, key=lambda one: -len(held[one])):
        if held[folder] - found:
            chosen.append(folder)
            found |= held[folder]
    if not chosen and images is not None:
        chosen = [images]
    return ImageFolders(chosen) if chosen else None


def _holds(folder: Path, name: str) -> bool:
    return (folder / name).is_file() or (folder / PurePosixPath(name).name).is_file()


def size_of(path: Path, *, annotated: tuple[int, int] | None, problems: Problems) -> tuple[int, int] | None:
    """Returns the (height, width) of a picture that can be used; None, and a loss is noted, for one that cannot.

    `annotated` is the size that its annotations were made for, None if that is not published.
    """
    if not path.is_file():
        problems.lose("pictures missing", path)
        return None
    try:
        found = image_size(path)
    except DataError:
        problems.lose("files that are no pictures", path)
        return None
    if annotated is not None and found != annotated:
        told = f"{path}: {found[0]}x{found[1]}, annotated {annotated[0]}x{annotated[1]}"
        problems.lose("pictures of another size than annotated", told)
        return None
    return found
