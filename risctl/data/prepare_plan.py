"""What preparing a published set would do, told before anything moves: downloads, sizes, and the room for them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.data.datasets import Found, PublishedSet
from risctl.data.datasets.image_folders import Pictures, find_pictures, sampled
from risctl.data.download.fetching import Downloads, missing_annotations, present_annotations
from risctl.data.download.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps. Sizes are in bytes; `store_bytes` is None where it cannot be told before the downloads.

    found: the annotation files that are there; downloads: what would be fetched; pictures: how many are there, of how
    many, where; `free` is the room where downloads and the store go.
    """

    name: str
    split_by: str
    out: Path
    link: bool
    found: tuple[Path, ...]
    downloads: tuple[Source, ...]
    pictures: str
    present: int
    wanted: int | None
    folders: tuple[Path, ...]
    store_bytes: int | None
    free: int

    @property
    def download_bytes(self) -> int:
        """How much would be downloaded."""
        return sum(source.about for source in self.downloads)

    @property
    def needed(self) -> int:
        """How much room it takes at most: archives are unpacked before they are removed."""
        unpacked = sum(source.about for source in self.downloads if source.is_archive)
        return self.download_bytes + unpacked + (self.store_bytes or 0)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "name": self.name,
            "split_by": self.split_by,
            "store": str(self.out),
            "annotations": [str(path) for path in self.found],
            "downloads": [
                {"file": one.file_name, "about_bytes": one.about, "mirrors": _mirrors(one)} for one in self.downloads
            ],
            "pictures": {
                "collection": self.pictures,
                "present": self.present,
                "wanted": self.wanted,
                "folders": [str(folder) for folder in self.folders],
            },
            "download_bytes": self.download_bytes,
            "store_bytes": self.store_bytes,
            "needed_bytes": self.needed,
            "free_bytes": self.free,
        }

    def told(self) -> str:
        """Return it as text for a person."""
        lines = [f"{self.name} ({self.split_by}): a plan only, nothing has been changed"]
        lines += [f"annotations: {path}" for path in self.found]
        for source in self.downloads:
            lines.append(f"download {source.file_name}, about {_size(source.about)}, from")
            lines += [f"  {mirror}" for mirror in _mirrors(source)]
        if self.wanted is None:
            lines.append(f"pictures: {self.pictures}; which ones is told by the annotations")
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


def plan_set(
    published: PublishedSet,
    *,
    out: Path,
    source: Path | None,
    images: Path | None,
    split_by: str | None,
    link: bool,
    downloads: Downloads,
) -> Plan:
    """Return what preparing the set with these options would do. It reads files and writes none.

    Raises `DataError` if the folder `source` has not the published files.
    """
    split_by = split_by or published.split_by[0]
    missing: list[Source] = []
    if source is not None:
        found: Found | None = published.find(source, split_by)
    else:
        found = present_annotations(published, split_by, downloads)
        if found is None or not found.whole:
            missing = missing_annotations(published, downloads)
        if found is None and not missing:
            published.find(downloads.root, split_by)  # raises with what is wrong with the files
    pictures, names = _pictures(published, found, images)
    if pictures is None and images is None and source is None:
        missing += [downloads.images[one] for one in published.pictures]
    files = [pictures.path(one) for one in names or ()] if pictures else []
    sizes = [path.stat().st_size for path in files if path.is_file()]
    folder = next(parent for parent in out.absolute().parents if parent.is_dir())
    return Plan(
        name=published.name,
        split_by=split_by,
        out=out,
        link=link,
        found=found.files if found else (),
        downloads=tuple(missing),
        pictures=published.layout.name,
        present=len(sizes),
        wanted=None if names is None else len(names),
        folders=pictures.folders if pictures else (),
        store_bytes=0 if link else sum(sizes) if sizes else None,
        free=shutil.disk_usage(folder).free,
    )


def _pictures(
    published: PublishedSet, found: Found | None, images: Path | None
) -> tuple[Pictures | None, list[str] | None]:
    """Return the folders of the pictures, and the names of those that are wanted, None where that is not known."""
    if found is None:
        return None, None
    names = published.names(found)
    return find_pictures(published.layout, around=found.around, images=images, sample=sampled(names)), names


def _mirrors(source: Source) -> list[str]:
    return [*source.mirrors, *([f"hf://datasets/{source.table}"] if source.table else [])]


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
