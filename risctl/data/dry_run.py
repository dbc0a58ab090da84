"""Reports what preparing a dataset would do, before anything moves: downloads, sizes, and the space for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.data.datasets.descriptor import AnnotationFiles, DatasetDescriptor
from risctl.data.download.fetching import missing_sources, present_annotations, present_images
from risctl.data.download.source import Source
from risctl.data.free_space import free_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """The steps that preparing a dataset would take. Sizes are in bytes.

    Attributes:
        name: The dataset.
        split_by: Its way of splitting.
        out: The store that would be written.
        link: Whether the store would hold the paths of the images instead of the images.
        annotations: The annotation files that are there.
        downloads: What would be downloaded.
        collection: The name of the collection of images.
        present: How many of the images are there.
        wanted: How many images the annotations are about, None where these are not there yet.
        folders: Where the images are.
        store_bytes: The size of the store, None where it is not known before the downloads.
        free: The free space where downloads and store go.
    """

    name: str
    split_by: str
    out: Path
    link: bool
    annotations: tuple[Path, ...]
    downloads: tuple[Source, ...]
    collection: str
    present: int
    wanted: int | None
    folders: tuple[Path, ...]
    store_bytes: int | None
    free: int

    @property
    def download_bytes(self) -> int:
        """The bytes that would be downloaded."""
        return sum(source.about for source in self.downloads)

    @property
    def needed(self) -> int:
        """The space it takes at most: archives are unpacked before they are removed."""
        unpacked = sum(source.about for source in self.downloads if source.is_archive)
        return self.download_bytes + unpacked + (self.store_bytes or 0)

    def as_json(self) -> dict[str, Any]:
        """Returns it as plain data."""
        return {
            "name": self.name,
            "split_by": self.split_by,
            "store": str(self.out),
            "annotations": [str(path) for path in self.annotations],
            "downloads": [
                {"file": download.file_name, "about_bytes": download.about, "mirrors": _mirrors(download)}
                for download in self.downloads
            ],
            "pictures": {
                "collection": self.collection,
                "present": self.present,
                "wanted": self.wanted,
                "folders": [str(folder) for folder in self.folders],
            },
            "download_bytes": self.download_bytes,
            "store_bytes": self.store_bytes,
            "needed_bytes": self.needed,
            "free_bytes": self.free,
        }

    def as_text(self) -> str:
        """Returns it as text for a person."""
        lines = [f"{self.name}{f' ({self.split_by})' if self.split_by else ''}: a plan only, nothing has been changed"]
        lines += [f"annotations: {path}" for path in self.annotations]
        for source in self.downloads:
            lines.append(f"download {source.file_name}, about {_size(source.about)}, from")
            lines += [f"  {mirror}" for mirror in _mirrors(source)]
        if self.wanted is None:
            lines.append(f"pictures: {self.collection}; the annotations say which ones")
        else:
            where = f" in {', '.join(map(str, self.folders))}" if self.folders else ""
            lines.append(f"pictures: {self.present:,} of {self.wanted:,} are there{where}")
        if self.link:
            lines.append(f"store: {self.out}, masks and texts only, with the paths of the pictures")
        elif self.store_bytes is None:
            lines.append(f"store: {self.out}, about as large as the pictures it takes in")
        else:
            lines.append(f"store: {self.out}, about {_size(self.store_bytes)}")
        short = "" if self.needed <= self.free else ": NOT ENOUGH"
        lines.append(f"room: up to {_size(self.needed)} needed, {_size(self.free)} free{short}")
        return "\n".join(lines)


def dry_run(
    dataset: DatasetDescriptor,
    *,
    out: Path,
    root: Path,
    source: Path | None = None,
    images: Path | None = None,
    split_by: str = "",
    link: bool = False,
) -> DryRun:
    """Returns what preparing the dataset with these options would do. It reads files and writes none.

    Args:
        dataset: A dataset that can be downloaded.
        out: The store.
        root: The data root, where downloads go.
        source: The folder of the published files, None to download them.
        images: The folder of the images, None to look for them around the annotations.
        split_by: The way of splitting, the dataset's usual one if empty.
        link: Whether the store is to hold paths instead of images.

    Raises:
        DataError: The folder `source` does not have the published files.
    """
    assert dataset.find is not None and dataset.image_names is not None and dataset.images is not None
    split_by = split_by or next(iter(dataset.split_by), "")
    missing: list[Source] = []
    found: AnnotationFiles | None
    if source is not None:
        found = dataset.find(source, split_by)
    else:
        found = present_annotations(dataset, split_by, root)
        if found is None or not found.complete:
            missing = missing_sources(dataset, root)
        if found is None and not missing:
            dataset.find(root, split_by)  # raises with what is wrong with the files
    folders = None if found is None else present_images(dataset, found, images)
    names = None if found is None else dataset.image_names(found)
    if folders is None and images is None and source is None:
        missing += dataset.images.sources
    files = [folders.path(name) for name in names or ()] if folders else []
    sizes = [path.stat().st_size for path in files if path.is_file()]
    return DryRun(
        name=dataset.name,
        split_by=split_by,
        out=out,
        link=link,
        annotations=found.files if found else (),
        downloads=tuple(missing),
        collection=dataset.images.name,
        present=len(sizes),
        wanted=None if names is None else len(names),
        folders=folders.folders if folders else (),
        store_bytes=0 if link else sum(sizes) if sizes else None,
        free=free_bytes(out),
    )


def _mirrors(source: Source) -> list[str]:
    return [*source.mirrors, *([f"hf://datasets/{source.table}"] if source.table else [])]


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
