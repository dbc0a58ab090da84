"""Brings the published files of a dataset under the data root: what is missing is downloaded and unpacked."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from risctl.data.datasets.descriptor import AnnotationFiles, DatasetDescriptor
from risctl.data.datasets.image_folders import ImageFolders, find_images, sampled
from risctl.data.download.archives import MAX_BYTES, check_zip, unpack
from risctl.data.download.hub import NotOnHubError
from risctl.data.download.hub_tables import fetch_table
from risctl.data.download.mirrors import RetryPolicy, download
from risctl.data.download.source import Source
from risctl.data.free_space import require_space
from risctl.errors import DataError, MachineError, UsageError
from risctl.network.largest import largest_download

Advance = Callable[[int, int | None], None]
"""Called with (done, total or None)."""
Stage = Callable[[str], AbstractContextManager[Advance | None]]
"""Given a label, opens a stage of the work and yields what to call as it advances."""


def no_stage(_: str) -> AbstractContextManager[Advance | None]:
    """Shows nothing."""
    return nullcontext(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloads:
    """Where downloads go, and whether the user agrees to the gigabytes of the images.

    Attributes:
        root: The data root.
        agree: Called with a question that says how much; it may raise or return False.
        patience: How long a server is waited for.
    """

    root: Path
    agree: Callable[[str], bool] = field(default=lambda _: False)
    retries: RetryPolicy | None = None


def missing_sources(dataset: DatasetDescriptor, root: Path) -> list[Source]:
    """Returns the sources of the annotations that are not under the data root."""
    return [
        source
        for source in dataset.sources
        if not any((root / inner / source.provides).is_file() for inner in ("", "data"))
    ]


def present_annotations(dataset: DatasetDescriptor, split_by: str, root: Path) -> AnnotationFiles | None:
    """Returns the annotations that are under the data root, None if there are none."""
    try:
        return dataset.find(root, split_by) if dataset.find else None
    except DataError:
        return None


def present_images(dataset: DatasetDescriptor, found: AnnotationFiles, images: Path | None) -> ImageFolders | None:
    """Returns the folders of the images that `found` is about, looked for in the folder `images` if it is given."""
    if dataset.images is None or dataset.image_names is None:
        return None
    sample = sampled(dataset.image_names(found))
    return find_images(dataset.images, around=found.search_folders, images=images, sample=sample)


def fetch_annotations(dataset: DatasetDescriptor, split_by: str, downloads: Downloads, stage: Stage) -> AnnotationFiles:
    """Returns the annotations under the data root, after fetching what is missing.

    Raises:
        DataError: They cannot be had, or are not what they should be.
        MachineError: The disk is too small, or there is no network.
    """
    assert dataset.find is not None
    found = present_annotations(dataset, split_by, downloads.root)
    if found is not None and found.complete:
        return found
    for source in missing_sources(dataset, downloads.root):
        try:
            fetch(source, downloads, stage)
        except DataError as refused:
            # The table that stands in for an archive has one way of splitting.
            if not source.table or split_by != dataset.split_by[0]:
                raise
            try:
                with stage(f"reading the table {source.table}"):
                    fetch_table(source.table, downloads.root, name=dataset.name, split_by=split_by)
            except (NotOnHubError, MachineError) as error:
                raise type(refused)(f"{refused}. Nor is its table on the hub to be had: {error}") from error
    return dataset.find(downloads.root, split_by)


def fetch_images(dataset: DatasetDescriptor, found: AnnotationFiles, downloads: Downloads, stage: Stage) -> None:
    """Fetches the images if they are not in or around the data root and the user agrees.

    Raises:
        UsageError: The user does not agree.
        DataError: They cannot be had, or the archives hold others.
        MachineError: The disk is too small, or there is no network.
    """
    if dataset.images is None or not dataset.images.sources or present_images(dataset, found, None) is not None:
        return
    sources, root = dataset.images.sources, downloads.root
    about = sum(source.about for source in sources)
    size, name = f"{about / 1e9:.1f} GB", dataset.images.name
    if not downloads.agree(f"{name} is not under {root}. Download its {size} and unpack as much again?"):
        raise UsageError(
            f"the pictures, {name} ({size}), are not under {root}; download them with --yes, "
            f"or name the folder that holds them with --images"
        )
    require_space(root, 2 * about, what=name)
    for source in sources:
        fetch(source, downloads, stage)
    if present_images(dataset, found, None) is None:
        archives = ", ".join(source.file_name for source in sources)
        raise DataError(f"{archives} held none of the pictures of {found.files[0]}; see {root / sources[0].folder}")


def fetch(source: Source, downloads: Downloads, stage: Stage) -> None:
    """Downloads a source; an archive is unpacked and removed, while the record of the download stays."""
    folder = downloads.root / source.folder
    target = downloads.root / "downloads" / source.file_name if source.is_archive else folder / source.file_name
    with stage(f"downloading {source.file_name}") as advance:
        found = download(
            source.mirrors,
            target,
            size=source.size,
            sha256=source.sha256,
            check=check_zip if source.is_archive else _check_json,
            # The rough size is what the user was told; a file of several times that is another one.
            max_bytes=min(largest_download(), max(4 * source.about, 100 * 10**6)),
            retries=downloads.retries,
            progress=advance,
        )
    if source.is_archive:
        with stage(f"unpacking {source.file_name}") as advance:
            unpack(found.path, folder, max_bytes=min(MAX_BYTES, max(10 * source.about, 10**9)), progress=advance)
        found.path.unlink()


def _check_json(path: Path) -> None:
    """Raises `DataError` unless the file begins and ends as JSON does; servers answer with web pages, too."""
    with path.open("rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
        file.seek(max(0, path.stat().st_size - 64))
        tail = file.read().rstrip()
    if not (head[:1] in (b"[", b"{") and tail[-1:] in (b"]", b"}")):
        raise DataError(f"it is not complete JSON ({json.dumps(head[:20].decode(errors='replace'))}...)")
