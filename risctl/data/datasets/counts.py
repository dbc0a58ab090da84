"""Compares the counts of a dataset with the published ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from risctl.data.datasets.descriptor import JOINED, TOTAL, Counts
from risctl.data.datasets.registry import DATASETS
from risctl.data.records import Dataset
from risctl.data.store.reader import Store


def published_counts(name: str, split_by: str) -> Mapping[str, Counts]:
    """Returns the published counts of each split and of `total`; empty if none are known."""
    return DATASETS[name].published.get(split_by, {}) if name in DATASETS else {}


def counted(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Returns the counts of each split, of splits that are published as one, and of all under `total`.

    An image in several splits counts once in a sum. `total` also has the sentences that refer to nothing
    (`of_nothing`) and to several objects (`of_several`), where there are any.
    """
    refs = (
        (record.split, record.image_id, len(record.annotation_ids), len(record.expressions))
        for record in dataset.records
    )
    return _counted(dataset.name, dataset.split_by, refs)


def store_counts(store: Store) -> dict[str, dict[str, int]]:
    """Returns the counts of a store, as `counted` does of a dataset."""
    columns = (
        [store.splits[number] for number in store.numbers("refs/split")],
        store.numbers("refs/image").tolist(),
        np.diff(store.numbers("refs/annotations/offsets")).tolist(),
        np.diff(store.numbers("refs/sentences")).tolist(),
    )
    return _counted(store.name, store.split_by, zip(*columns, strict=True))


def _counted(name: str, split_by: str, refs: Iterable[tuple[str, int, int, int]]) -> dict[str, dict[str, int]]:
    """Counts refs, each (split, image, number of annotations, number of sentences)."""
    joined = {split: split.split(JOINED) for split in published_counts(name, split_by) if JOINED in split}
    images: dict[str, set[int]] = {}
    counts: dict[str, Counter[str]] = {}
    total: Counter[str] = Counter()
    for split, image, objects, sentences in refs:
        for key in (split, *(whole for whole, parts in joined.items() if split in parts), TOTAL):
            images.setdefault(key, set()).add(image)
            counts.setdefault(key, Counter()).update(refs=1, sentences=sentences)
        total["of_nothing"] += sentences if objects == 0 else 0
        total["of_several"] += sentences if objects > 1 else 0
    ordered = [
        *(key for key in counts if key not in joined and key != TOTAL),
        *(key for key in joined if key in counts),
    ]
    table = {key: {"images": len(images[key]), **counts[key]} for key in (*ordered, TOTAL)}
    table[TOTAL] |= {kind: count for kind, count in total.items() if count}
    return table


def differences(name: str, split_by: str, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Returns one line for each split whose counts differ from the published ones, with both."""
    lines = []
    for split, figures in published_counts(name, split_by).items():
        if split not in counts:
            lines.append(f"{name} ({split_by}): no split {split}; published: {_listed(name, figures)}")
            continue
        counted_here = {what: counts[split].get(what, 0) for what, figure in figures.items() if figure is not None}
        if any(counted_here[what] != figures[what] for what in counted_here):
            lines.append(
                f"{name} ({split_by}) {split}: {_listed(name, counted_here)}; published: {_listed(name, figures)}"
            )
    return lines


def explanation(name: str, split_by: str, counts: Mapping[str, Mapping[str, int]]) -> str | None:
    """Return, as a line, what makes counts differ from the published ones; None if they do not.

    What was left out on reading is counted apart, in the notes of the dataset.
    """
    if not differences(name, split_by, counts):
        return None
    figures = {
        what: figure for what, figure in published_counts(name, split_by).get(TOTAL, {}).items() if figure is not None
    }
    counted_here = {what: counts[TOTAL].get(what, 0) for what in figures}
    reason = DATASETS[name].quoted_totals.get(split_by, {}).get(counted_here.get("sentences", 0))
    if reason is not None:
        return f"{name} ({split_by}): {counted_here['sentences']:,} sentences: {reason}"
    if counted_here == figures:
        how = "the same in all, divided otherwise: files of another way of splitting"
    elif any(counted_here[what] > figures[what] for what in figures):
        how = "more than published: files of another release, or several joined"
    elif any(2 * counted_here[what] < figures[what] for what in figures):
        how = "a part of what was published: an extract, or splits that are not there"
    else:
        how = "fewer than published: another release, files cut short, or what was left out on reading (see the notes)"
    return f"{name} ({split_by}): {how}"


_NAMES = {"of_nothing": "sentences about nothing", "of_several": "sentences about several objects"}


def _listed(name: str, figures: Counts) -> str:
    names = {**DATASETS[name].counted, **_NAMES}
    return ", ".join(f"{figure:,} {names.get(what, what)}" for what, figure in figures.items() if figure is not None)
