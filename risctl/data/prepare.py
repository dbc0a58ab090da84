"""From published files, or their mirrors, to a store: what `risctl prepare` does."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from risctl.data.archives import check_zip, unpack
from risctl.data.datasets import READERS
from risctl.data.datasets.published import TOTAL, differences, published
from risctl.data.datasets.refer_layout import SPLIT_BY, find_annotations, find_images
from risctl.data.download import Patience, download
from risctl.data.records import Dataset
from risctl.data.sources import ANNOTATIONS, IMAGES, Source
from risctl.data.store.reader import Store
from risctl.data.store.verify import Verification, verify_masks, verify_store
from risctl.data.store.writer import StoreInfo, write_store
from risctl.errors import DataError, MachineError, UsageError, unknown_name

Advance = Callable[[int, int | None], None]
"""Called with (done, total or None)."""
Stage = Callable[[str], AbstractContextManager[Advance | None]]
"""Given a label, opens a stage of the work and yields what to call as it advances."""


def no_stage(_: str) -> AbstractContextManager[Advance | None]:
    """Show nothing."""
    return nullcontext(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What came of it: the dataset's names, the store, counts per split and in all, what differs from the published."""

    name: str
    split_by: str
    store: StoreInfo
    counts: Mapping[str, Mapping[str, int]]
    published: Mapping[str, Mapping[str, int | None]]
    differences: tuple[str, ...]
    verification: Verification | None = None
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "name": self.name,
            "split_by": self.split_by,
            "store": str(self.store.path),
            "bytes": self.store.bytes,
            "fingerprint": self.store.fingerprint,
            "counts": {split: dict(row) for split, row in self.counts.items()},
            "published": {split: dict(row) for split, row in self.published.items()},
            "differences": list(self.differences),
            "notes": dict(self.store.notes),
            "warnings": list(self.warnings),
            "verified": None
            if self.verification is None
            else {"checked": self.verification.checked, "oddities": self.verification.oddities},
        }

    def table(self) -> str:
        """Return the counts beside the published ones, as text."""
        kinds = ("images", "refs", "sentences")
        rows = [("split", *(f"{kind} (published)" for kind in kinds))]
        for split, counts in self.counts.items():
            known = self.published.get(split, {})
            rows.append((split, *(_beside(counts[kind], known.get(kind)) for kind in kinds)))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        return "\n".join([f"{self.name} ({self.split_by}) -> {self.store.path}", *lines])


def _beside(count: int, figure: int | None) -> str:
    return f"{count:,} ({'-' if figure is None else f'{figure:,}'})"


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


def prepare_refer(
    name: str,
    *,
    out: Path,
    source: Path | None = None,
    images: Path | None = None,
    split_by: str | None = None,
    link: bool = False,
    verify: bool = False,
    allow_missing: bool = False,
    downloads: Downloads | None = None,
    stage: Stage = no_stage,
) -> Prepared:
    """Write the store `out` of the set `name` ("refcoco", "refcoco+", "refcocog").

    The published files are read from `source`; without it from the data root of `downloads`, after fetching what is
    not there. The other options are those of `risctl prepare`. Raises `DataError`, `MachineError` or `UsageError`; the
    store is then as it was before, except that a `verify` that fails leaves the new one for inspection.
    """
    if name not in SPLIT_BY:
        raise UsageError(unknown_name("RefCOCO set", name, SPLIT_BY))
    split_by = split_by or SPLIT_BY[name][0]
    if source is None:
        if downloads is None:
            raise UsageError("give the folder of the published files, or where to download to")
        source = _fetched_annotations(name, downloads, stage)
    _, instances = find_annotations(source, name=name, split_by=split_by)
    if downloads is not None and source == downloads.root and images is None:
        images = _fetched_images(instances, downloads, stage)
    with stage("reading masks") as advance:
        dataset = READERS[name](
            source,
            split_by=split_by,
            images=images,
            on_missing="drop" if allow_missing else "refuse",
            progress=advance,
        )
    if not link:
        _check_space(dataset, out)
    with stage("writing pictures") as advance:
        info = write_store(dataset, out, link=link, progress=advance)
    counts = with_total(dataset)
    return Prepared(
        name=name,
        split_by=split_by,
        store=info,
        counts=counts,
        published=published(name, split_by),
        differences=tuple(differences(name, split_by, counts)),
        verification=verify_prepared(out, instances=instances, stage=stage) if verify else None,
        warnings=tuple(_warnings(dataset)),
    )


def verify_prepared(path: Path, *, instances: Path | None, stage: Stage = no_stage) -> Verification:
    """Check the store `path` against itself and, if given, against the published file `instances`.

    Raises `DataError` if it is damaged or its masks are not the published ones.
    """
    with Store(path) as store:
        with stage("verifying pictures and masks") as advance:
            found = verify_store(store, progress=advance)
        found.raise_if_failed(path)
        if instances is not None:
            with stage("comparing masks with polygons") as advance:
                compared = verify_masks(store, instances, progress=advance)
            compared.raise_if_failed(path)
            found.checked |= compared.checked
    return found


def with_total(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return the dataset's counts per split and in all; a picture in several splits counts once in all."""
    counts = dataset.counts()
    total = {kind: sum(row[kind] for row in counts.values()) for kind in ("refs", "sentences")}
    return counts | {TOTAL: {"images": len({record.image_id for record in dataset.records}), **total}}


def _warnings(dataset: Dataset) -> list[str]:
    lines = [f"{count:,} {what}" for what, count in dataset.notes.items()]
    if (dataset.name, dataset.split_by) == ("refcocog", "google"):
        lines.append("RefCOCOg split by google has no test split, and its val shares pictures with train; umd does not")
    return lines


def _check_space(dataset: Dataset, out: Path) -> None:
    needed = sum(record.path.stat().st_size for record in dataset.images.values() if record.path is not None)
    folder = next(parent for parent in out.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MachineError(
            f"{out} needs {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; "
            f"free some, name another place with --out, or keep the pictures where they are with --link"
        )


def _fetched_annotations(name: str, downloads: Downloads, stage: Stage) -> Path:
    """Return the data root with the published files of `name` in it, fetching them if they are not there."""
    if not any((downloads.root / inner / name / "instances.json").is_file() for inner in ("", "data")):
        _fetch(downloads.annotations[name], downloads, stage)
    return downloads.root


def _fetched_images(instances: Path, downloads: Downloads, stage: Stage) -> Path:
    """Return the folder of COCO train2014 in or around the data root, fetching it if it is not there."""
    folder = downloads.root / "images" / "train2014"
    names = re.finditer(rb"COCO_train2014_\d{12}\.jpg", instances.read_bytes())
    sample = [match[0].decode() for match in islice(names, 64)]
    present = find_images(downloads.root, annotations=instances.parent, images=None, sample=sample)
    if present is not None:
        return present
    source = downloads.images["train2014"]
    size = f"{source.about / 1e9:.1f} GB"
    if not downloads.agree(
        f"COCO train2014 is not under {downloads.root}. Download its {size} and unpack as much again?"
    ):
        raise UsageError(
            f"the pictures, COCO train2014 ({size}), are not under {downloads.root}; download them with --yes, "
            f"or name the folder that holds them with --images"
        )
    _check_free(downloads.root, 2 * source.about)
    _fetch(source, downloads, stage)
    if not folder.is_dir():
        raise DataError(f"{source.file_name} held no folder train2014; see {downloads.root / source.folder}")
    return folder


def _check_free(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MachineError(f"{needed / 1e9:.1f} GB are needed and {folder} has {free / 1e9:.1f} GB free")


def _fetch(source: Source, downloads: Downloads, stage: Stage) -> None:
    """Download an archive, unpack it and remove it; the record of what was downloaded stays."""
    target = downloads.root / "downloads" / source.file_name
    with stage(f"downloading {source.file_name}") as advance:
        found = download(
            source.mirrors,
            target,
            size=source.size,
            sha256=source.sha256,
            check=check_zip,
            patience=downloads.patience,
            progress=advance,
        )
    with stage(f"unpacking {source.file_name}") as advance:
        unpack(found.path, downloads.root / source.folder, progress=advance)
    found.path.unlink()
