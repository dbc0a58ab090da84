"""Lists the known datasets, with what is published of them and what lies under the data root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.data.datasets.descriptor import TOTAL, Counts, DatasetDescriptor
from risctl.data.datasets.registry import DATASETS, load_plugins
from risctl.data.download.fetching import present_annotations
from risctl.data.features import schema as features
from risctl.data.store.reader import Store
from risctl.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEntry:
    """A store on the disk: its file, the dataset's name and way of splitting, and its counts in all."""

    path: Path
    name: str
    split_by: str
    counts: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """Returns it as plain data."""
        return {"path": str(self.path), "name": self.name, "split_by": self.split_by, "counts": dict(self.counts)}

    def as_text(self) -> str:
        """Returns it as text for a person."""
        way = f"{self.split_by}: " if self.split_by else ""
        return f"{self.path} ({way}{self.counts['sentences']:,} sentences, {self.counts['images']:,} pictures)"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEntry:
    """A known dataset: its descriptor, its annotation files and its stores under the data root."""

    dataset: DatasetDescriptor
    annotations: tuple[Path, ...]
    stores: tuple[StoreEntry, ...]

    def as_json(self) -> dict[str, Any]:
        """Returns it as plain data."""
        dataset = self.dataset
        sources = (*dataset.sources, *(dataset.images.sources if dataset.images else ()))
        return {
            "name": dataset.name,
            "about": dataset.summary,
            "protocol": dataset.protocol,
            "split_by": list(dataset.split_by),
            "published": {
                way: {one: dict(row) for one, row in table.items()} for way, table in dataset.published.items()
            },
            "download_bytes": sum(source.about for source in sources) if dataset.sources else None,
            "annotations": [str(path) for path in self.annotations],
            "stores": [store.as_json() for store in self.stores],
        }

    def as_text(self) -> str:
        """Returns it as text for a person, a line for each fact that is known."""
        lines = [f"{self.dataset.name}: {self.dataset.summary}", f"  protocol: {self.dataset.protocol}"]
        for way, table in self.dataset.published.items():
            splits = ", ".join(f"{split} {self._figures(row)}" for split, row in table.items() if split != TOTAL)
            total = f"in all {self._figures(table[TOTAL])}" if TOTAL in table else ""
            lines.append(f"  published, split by {way}: {'; '.join(part for part in (splits, total) if part)}")
        lines += [f"  published files: {path}" for path in self.annotations]
        lines += [f"  store: {store.as_text()}" for store in self.stores]
        return "\n".join(lines)

    def _figures(self, row: Counts) -> str:
        """Returns the most telling figure of a split that is published."""
        kind = next(kind for kind in ("sentences", "refs", "images") if row.get(kind) is not None)
        return f"{row[kind]:,} {self.dataset.counted.get(kind, kind)}"


def list_datasets(data_root: Path) -> tuple[list[DatasetEntry], list[StoreEntry]]:
    """Returns the known datasets, those of plugins too, and the stores under `data_root` that are of none of them.

    Raises:
        MachineError: A plugin cannot be loaded.
    """
    load_plugins()
    stores = _stores(data_root)
    entries = []
    for dataset in DATASETS.values():
        names = (dataset.name, *dataset.stored_as)
        files = [present_annotations(dataset, way, data_root) for way in dataset.split_by or ("",)]
        paths = dict.fromkeys(path for found in files if found for path in found.files)
        own = tuple(store for store in stores if store.name in names)
        entries.append(DatasetEntry(dataset=dataset, annotations=tuple(paths), stores=own))
    known = {store.path for entry in entries for store in entry.stores}
    return entries, [store for store in stores if store.path not in known]


def _stores(data_root: Path) -> list[StoreEntry]:
    found = []
    for path in sorted(data_root.rglob("*.h5")) if data_root.is_dir() else []:
        if path.name.endswith(features.SUFFIX):
            continue
        try:
            with Store(path) as store:
                counts = store.count("all")
                found.append(StoreEntry(path=path, name=store.name, split_by=store.split_by, counts=counts))
        except DataError:  # another program's file, or a damaged store: `risctl prepare verify` says what is wrong
            continue
    return found
