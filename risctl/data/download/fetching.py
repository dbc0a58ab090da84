"""Bringing the files of a published set under the data root: what is not there is downloaded and unpacked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from risctl.data.datasets import COCO_PHRASES, Found, PublishedSet
from risctl.data.datasets.image_folders import find_pictures, sampled
from risctl.data.download.archives import check_zip, unpack
from risctl.data.download.hub_files import NotOnHubError
from risctl.data.download.hub_tables import fetch_table
from risctl.data.download.mirrors import Patience, download
from risctl.data.download.sources import ANNOTATIONS, IMAGES, Source
from risctl.errors import DataError, MachineError, UsageError

Advance = Callable[[int, int | None], None]
"""Called with (done, total or None)."""
Stage = Callable[[str], AbstractContextManager[Advance | None]]
"""Given a label, opens a stage of the work and yields what to call as it advances."""


def no_stage(_: str) -> AbstractContextManager[Advance | None]:
    """Show nothing."""
    return nullcontext(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloads:
    """Where to download to, and whether the pictures' many gigabytes are agreed to.

    `agree` is asked with a sentence that says how much; it may raise or return False.
    """

    root: Path
    agree: Callable[[str], bool] = field(default=lambda _: False)
    patience: Patience | None = None
    annotations: Mapping[str, Source] = field(default_factory=lambda: ANNOTATIONS)
    images: Mapping[str, Source] = field(default_factory=lambda: IMAGES)


def missing_annotations(published: PublishedSet, downloads: Downloads) -> list[Source]:
    """Return the sources of the annotations that are not under the data root."""
    return [
        downloads.annotations[name]
        for name, marker in published.archives.items()
        if not any((downloads.root / inner / marker).is_file() for inner in ("", "data"))
    ]


def fetched_annotations(published: PublishedSet, split_by: str, downloads: Downloads, stage: Stage) -> Found:
    """Return the annotations under the data root, after fetching what is not there.

    Raises `DataError` or `MachineError` if they cannot be had, or are not what they should be.
    """
    found = present_annotations(published, split_by, downloads)
    if found is not None and found.whole:
        return found
    for source in missing_annotations(published, downloads):
        _fetch_annotations(source, published, split_by, downloads, stage)
    return published.find(downloads.root, split_by)


def present_annotations(published: PublishedSet, split_by: str, downloads: Downloads) -> Found | None:
    """Return the annotations that are under the data root, None if there are none."""
    try:
        return published.find(downloads.root, split_by)
    except DataError:
        return None


def _fetch_annotations(
    source: Source, published: PublishedSet, split_by: str, downloads: Downloads, stage: Stage
) -> None:
    """Fetch the source; where no mirror answers, the table that stands in for it, if there is one so split."""
    try:
        fetch(source, downloads, stage)
    except DataError as refused:
        if not source.table or split_by != published.split_by[0]:
            raise
        try:
            with stage(f"reading the table {source.table}"):
                fetch_table(source.table, downloads.root, name=published.name, split_by=split_by)
        except (NotOnHubError, MachineError) as error:
            raise type(refused)(f"{refused}. Nor is its table on the hub to be had: {error}") from error


def fetch_pictures(published: PublishedSet, found: Found, downloads: Downloads, stage: Stage) -> None:
    """Fetch the pictures if they are not in or around the data root, and that is agreed to.

    Raises `UsageError` if it is not, `DataError` or `MachineError` if they cannot be had.
    """
    sample = sampled(published.names(found))
    if find_pictures(published.layout, around=found.around, images=None, sample=sample) is not None:
        return
    sources = [downloads.images[name] for name in published.pictures]
    about = sum(source.about for source in sources)
    size, name, root = f"{about / 1e9:.1f} GB", published.layout.name, downloads.root
    if not downloads.agree(f"{name} is not under {root}. Download its {size} and unpack as much again?"):
        raise UsageError(
            f"the pictures, {name} ({size}), are not under {root}; download them with --yes, "
            f"or name the folder that holds them with --images"
        )
    check_free(root, 2 * about)
    for source in sources:
        fetch(source, downloads, stage)
    if find_pictures(published.layout, around=found.around, images=None, sample=sample) is None:
        held = ", ".join(source.file_name for source in sources)
        raise DataError(f"{held} held none of the pictures, such as {sample[0]}; see {root / sources[0].folder}")


def fetched_coco(downloads: Downloads, stage: Stage) -> tuple[Path, Path]:
    """Return COCO's training instances of 2014 and the folder of their pictures, after fetching what is not there.

    Raises as `fetched_annotations` and `fetch_pictures` do.
    """
    found = fetched_annotations(COCO_PHRASES, COCO_PHRASES.split_by[0], downloads, stage)
    fetch_pictures(COCO_PHRASES, found, downloads, stage)
    sample = sampled(COCO_PHRASES.names(found))
    pictures = find_pictures(COCO_PHRASES.layout, around=found.around, images=None, sample=sample)
    if pictures is None:
        raise DataError(f"the pictures of {found.files[0]} are gone")
    return found.files[0], pictures.folders[0]


def check_free(folder: Path, needed: int) -> None:
    """Raise `MachineError` unless the disk of `folder` has `needed` bytes free."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MachineError(f"{needed / 1e9:.1f} GB are needed and {folder} has {free / 1e9:.1f} GB free")


def fetch(source: Source, downloads: Downloads, stage: Stage) -> None:
    """Download a source; unpack an archive and remove it: the record of what was downloaded stays."""
    folder = downloads.root / source.folder
    target = downloads.root / "downloads" / source.file_name if source.is_archive else folder / source.file_name
    with stage(f"downloading {source.file_name}") as advance:
        found = download(
            source.mirrors,
            target,
            size=source.size,
            sha256=source.sha256,
            check=check_zip if source.is_archive else check_json,
            patience=downloads.patience,
            progress=advance,
        )
    if source.is_archive:
        with stage(f"unpacking {source.file_name}") as advance:
            unpack(found.path, folder, progress=advance)
        found.path.unlink()


def check_json(path: Path) -> None:
    """Raise `DataError` unless the file begins and ends as JSON does; servers answer with web pages, too."""
    with path.open("rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
        file.seek(max(0, path.stat().st_size - 64))
        tail = file.read().rstrip()
    if not (head[:1] in (b"[", b"{") and tail[-1:] in (b"]", b"}")):
        raise DataError(f"it is no whole JSON ({json.dumps(head[:20].decode(errors='replace'))}...)")
