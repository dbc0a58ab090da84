"""Turns the published files of a dataset, or their mirrors, into a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from risctl.data.datasets.counts import counted, differences, explanation, published_counts
from risctl.data.datasets.descriptor import AnnotationFiles, DatasetDescriptor
from risctl.data.download.fetching import Downloads, Stage, fetch_annotations, fetch_images, no_stage
from risctl.data.download.hub_folder import fetch_hub_folder
from risctl.data.free_space import require_space
from risctl.data.records import Dataset
from risctl.data.store.reader import Store
from risctl.data.store.shards import Sharding
from risctl.data.store.verify import Verification, verify_masks, verify_store
from risctl.data.store.writer import StoreInfo, write_store
from risctl.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A dataset that was made into a store.

    Attributes:
        name: The dataset's name.
        split_by: Its way of splitting.
        store: The store that was written.
        counts: Split -> kind -> count; of all splits under `total`.
        counted: What is reported: kind of count -> its name.
        published: The published counts, empty if there are none.
        differences: A line for each split whose counts are not the published ones.
        explanation: What is probably behind the differences.
        verification: What was compared with the published files, None without `verify`.
        warnings: What was repaired, left out or is missing.
    """

    name: str
    split_by: str
    store: StoreInfo
    counts: Mapping[str, Mapping[str, int]]
    published: Mapping[str, Mapping[str, int | None]]
    differences: tuple[str, ...]
    counted: Mapping[str, str] = field(default_factory=dict)
    explanation: str | None = None
    verification: Verification | None = None
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Returns it as plain data."""
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
            else {"checked": self.verification.checked, "oddities": self.verification.warnings},
        }

    def table(self) -> str:
        """Returns the counts beside the published ones, as text."""
        kinds = self.counted or {kind: kind for kind in ("images", "refs", "sentences")}
        rows = [("split", *(f"{name} (published)" for name in kinds.values()))]
        for split, counts in self.counts.items():
            known = self.published.get(split, {})
            rows.append((split, *(_beside(counts[kind], known.get(kind)) for kind in kinds)))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        return "\n".join([f"{self.name} ({self.split_by}) -> {self.store.path}", *lines])


def _beside(count: int, figure: int | None) -> str:
    return f"{count:,} ({'-' if figure is None else f'{figure:,}'})"


def prepare_dataset(
    dataset: DatasetDescriptor,
    *,
    out: Path,
    source: Path | None = None,
    images: Path | None = None,
    split_by: str | None = None,
    link: bool = False,
    shards: Sharding | None = None,
    verify: bool = False,
    allow_missing: bool = False,
    options: Mapping[str, Any] | None = None,
    downloads: Downloads | None = None,
    stage: Stage = no_stage,
) -> Prepared:
    """Writes the store of a dataset.

    Args:
        dataset: A dataset with a reader.
        out: The store to write.
        source: The folder of the published files; without it they are looked for in the data root of `downloads`,
            and what is missing is fetched.
        images: The folder of the images, None to look for them around the published files.
        split_by: The way of splitting, None for the dataset's usual one.
        link: Whether the store holds paths instead of images.
        shards: How the images are divided among files beside the store; None keeps them in it.
        verify: Whether the store is read back and its masks are compared with the published ones.
        allow_missing: Whether what lacks its image or mask is left out instead of refused.
        options: The values of the dataset's own options.
        downloads: Where downloads go.
        stage: Called with the label of each stage of the work.

    Returns:
        The store with its counts and warnings.

    Raises:
        DataError: The published files are missing or broken. The store is then as it was before, except that a failed
            `verify` leaves the new one for inspection.
        MachineError: The disk is too small, or there is no network.
        UsageError: Nothing says where the files are, or the user did not agree to a download.
    """
    assert dataset.read is not None
    split_by = split_by or next(iter(dataset.split_by), "")
    found: AnnotationFiles | None
    if source is None and not dataset.sources and dataset.hub and downloads is not None:
        source = hub_source(dataset, downloads, stage)
    if source is None and not dataset.sources and dataset.obtain:
        raise UsageError(
            f"{dataset.name} cannot be downloaded by a program: {dataset.obtain}; then name its folder with --from"
        )
    if source is None:
        if downloads is None or not dataset.sources:
            raise UsageError("give the folder of the published files, or where to download to")
        found = fetch_annotations(dataset, split_by, downloads, stage)
        source = downloads.root
    else:
        found = dataset.find(source, split_by) if dataset.find else None
    if found is not None and downloads is not None and source == downloads.root and images is None:
        fetch_images(dataset, found, downloads, stage)
    keywords: dict[str, Any] = dict(options or {})
    if dataset.split_by:
        keywords["split_by"] = split_by
    if dataset.images is not None:
        keywords["images"] = images
    if dataset.can_drop:
        keywords["on_missing"] = "drop" if allow_missing else "refuse"
    with stage("reading masks") as advance:
        content = dataset.read(source, progress=advance, **keywords)
    if not link:
        needed = sum(image.path.stat().st_size for image in content.images.values() if image.path is not None)
        advice = "; free some, name another place with --out, or keep the pictures where they are with --link"
        require_space(out, needed, what=str(out), advice=advice)
    with stage("writing pictures") as advance:
        info = write_store(content, out, link=link, shards=shards, progress=advance)
    counts = counted(content)
    instances = found.instances if found is not None else None
    return Prepared(
        name=dataset.name,
        split_by=split_by,
        store=info,
        counts=counts,
        published=published_counts(content.name, content.split_by),
        differences=tuple(differences(content.name, content.split_by, counts)),
        counted=dataset.counted,
        explanation=explanation(content.name, content.split_by, counts),
        verification=verify_prepared(out, instances=instances, stage=stage) if verify else None,
        warnings=(*info.warnings, *_warnings(dataset, content)),
    )


def hub_source(dataset: DatasetDescriptor, downloads: Downloads, stage: Stage) -> Path:
    """Returns what a dataset of the hub is read from: the table's name there, or its folder under the data root.

    Raises:
        UsageError: The user does not agree to the download.
        DataError: An archive is damaged.
        MachineError: The hub cannot be reached, or does not give the dataset to everybody.
    """
    if dataset.hub_files is None:
        return Path(dataset.hub)
    folder = downloads.root / dataset.name
    if not folder.is_dir() and not downloads.agree(f"{dataset.name} is not in {folder}. Download {dataset.hub}?"):
        raise UsageError(
            f"the files of {dataset.name} are not in {folder}; download {dataset.hub} from the hub with --yes, or name "
            "their folder with --from"
        )
    return fetch_hub_folder(dataset.hub, downloads.root, name=dataset.name, wanted=dataset.hub_files, stage=stage)


def verify_prepared(path: Path, *, instances: Path | None, stage: Stage = no_stage) -> Verification:
    """Checks the store `path` against itself and, if given, against the published file `instances`.

    Raises:
        DataError: It is damaged, or its masks are not the published ones.
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


def _warnings(dataset: DatasetDescriptor, content: Dataset) -> list[str]:
    splits = {record.split for record in content.records}
    lines = [f"{count:,} {what}" for what, count in content.notes.items()]
    lines += [
        meaning
        for (split_by, split), meaning in dataset.missing_splits.items()
        if split_by == content.split_by and split not in splits
    ]
    return lines
