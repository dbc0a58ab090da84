"""Finds the folders of a dataset's images among the layouts that people have, and checks the images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from risctl.data.datasets.descriptor import ImageCollection
from risctl.data.datasets.problems import Problems
from risctl.errors import DataError
from risctl.vision.images import image_size

SAMPLE_SIZE = 64


class ImageFolders:
    """The folders that hold a dataset's images, the one with most of them first."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)

    def path(self, file_name: str) -> Path:
        """Returns the file of an image; if there is none, where it would be looked for first."""
        bare = PurePosixPath(file_name).name
        for name in dict.fromkeys((file_name, bare)):
            for folder in self.folders:
                if (folder / name).is_file():
                    return folder / name
        return self.folders[0] / file_name


def sampled(names: Sequence[str]) -> list[str]:
    """Returns some of `names`, evenly spaced: enough to tell which folders hold them."""
    return list(names[:: max(1, len(names) // SAMPLE_SIZE)])


def find_images(
    collection: ImageCollection, *, around: Iterable[Path], images: Path | None, sample: Sequence[str]
) -> ImageFolders | None:
    """Returns the folders that hold a collection's images, None if there are none.

    Args:
        collection: The images.
        around: The folders in and below which they are looked for.
        images: A folder that holds them directly or in a folder of the collection; it is the only one looked in, and
            is returned even without any image, so that what it lacks can be named.
        sample: Some of their file names: the folder with most of them comes first, then those that have others.

    Raises:
        DataError: `images` is not a folder.
    """
    if images is not None and not images.is_dir():
        raise DataError(f"{images} is not a folder; give the one that holds {sample[0] if sample else 'the pictures'}")
    bases = [images] if images is not None else list(dict.fromkeys(around))
    found_in: dict[Path, set[str]] = {}
    for base in bases:
        for inner in collection.folders:
            for folder in sorted(base.glob(inner)) if "*" in inner else [base / inner]:
                if folder not in found_in and folder.is_dir():
                    found_in[folder] = {name for name in sample if _holds(folder, name)}
    chosen: list[Path] = []
    found: set[str] = set()
    for folder in sorted(found_in, key=lambda one: -len(found_in[one])):
        if found_in[folder] - found:
            chosen.append(folder)
            found |= found_in[folder]
    if not chosen and images is not None:
        chosen = [images]
    return ImageFolders(chosen) if chosen else None


def _holds(folder: Path, name: str) -> bool:
    return (folder / name).is_file() or (folder / PurePosixPath(name).name).is_file()


def size_of(path: Path, *, annotated: tuple[int, int] | None, problems: Problems) -> tuple[int, int] | None:
    """Returns the (height, width) of an image; None, and a loss is counted, if it cannot be used.

    Args:
        path: The file.
        annotated: The (height, width) that its annotations were made for, None if that is not published.
        problems: Where losses are counted.
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
        sizes = f"{path}: {found[0]}x{found[1]}, annotated {annotated[0]}x{annotated[1]}"
        problems.lose("pictures of another size than annotated", sizes)
        return None
    return found
