"""From published files, or their mirrors, to a store: what `risctl prepare` does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.data.datasets import SETS, PublishedSet
from risctl.data.datasets.published import counted, differences, explanation, published
from risctl.data.download.fetching import Downloads, Stage, fetch_pictures, fetched_annotations, no_stage
from risctl.data.records import Dataset
from risctl.data.store.reader import Store
from risctl.data.store.verify import Verification, verify_masks, verify_store
from risctl.data.store.writer import StoreInfo, write_store
from risctl.errors import MachineError, UsageError, unknown_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What came of it: the dataset's names, the store, counts per split and in all, what differs from
    the published and why."""

    name: str
    split_by: str
    store: StoreInfo
    counts: Mapping[str, Mapping[str, int]]
    published: Mapping[str, Mapping[str, int | None]]
    differences: tuple[str, ...]
    explanation: str | None = None
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
            "explanation": self.explanation,
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


def prepare_set(
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
    """Write the store `out` of the published set `name` (a key of `SETS`).

    The published files are read from `source`; without it from the data root of `downloads`, after fetching what is
    not there. The other options are those of `risctl prepare`. Raises `DataError`, `MachineError` or `UsageError`; the
    store is then as it was before, except that a `verify` that fails leaves the new one for inspection.
    """
    known = set_named(name)
    split_by = split_by or known.split_by[0]
    if source is None:
        if downloads is None:
            raise UsageError("give the folder of the published files, or where to download to")
        found = fetched_annotations(known, split_by, downloads, stage)
        source = downloads.root
    else:
        found = known.find(source, split_by)
    if downloads is not None and source == downloads.root and images is None:
        fetch_pictures(known, found, downloads, stage)
    with stage("reading masks") as advance:
        dataset = known.read(
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
    counts = counted(dataset)
    return Prepared(
        name=name,
        split_by=split_by,
        store=info,
        counts=counts,
        published=published(name, split_by),
        differences=tuple(differences(name, split_by, counts)),
        explanation=explanation(name, split_by, counts),
        verification=verify_prepared(out, instances=found.instances, stage=stage) if verify else None,
        warnings=tuple(_warnings(dataset)),
    )


def set_named(name: str) -> PublishedSet:
    """Return what is known of the published set `name`. Raises `UsageError` naming the nearest if there is none."""
    if name not in SETS:
        raise UsageError(unknown_name("published set", name, SETS))
    return SETS[name]


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


# (name, split by), a split: what it means that the files lack it.
_LACKING = {
    ("refcocog", "google", "test"): "RefCOCOg split by google has no test split, and its val shares pictures with "
    "train; umd does not",
    ("grefcoco", "unc", "testA"): "gRefCOCO's testA and testB were first withheld for a competition: these files are "
    "of then; later ones have them",
    ("phrasecut", "published", "miniv"): "PhraseCut's val is without the 100 pictures of miniv, which have a file of "
    "their own, refer_miniv.json; the published counts have them in val",
    ("phrasecut", "published", "train"): "PhraseCut without refer_train.json: there is nothing to train on",
}


def _warnings(dataset: Dataset) -> list[str]:
    splits = {record.split for record in dataset.records}
    lines = [f"{count:,} {what}" for what, count in dataset.notes.items()]
    lines += [
        told
        for (name, split_by, split), told in _LACKING.items()
        if (name, split_by) == (dataset.name, dataset.split_by) and split not in splits
    ]
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
