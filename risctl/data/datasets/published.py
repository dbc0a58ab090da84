"""The published counts of the datasets, to be shown beside what was read.

Some of the sentence counts come from secondary sources, and papers print 142,209 for RefCOCO's 142,210: a difference is
worth a warning that shows both numbers, never a refusal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from risctl.data.records import Dataset
from risctl.data.store.reader import Store

Counts = Mapping[str, int | None]
"""`images`, `refs` and `sentences`; None where no figure is published. In all, some sets also have figures for the
sentences about nothing (`of_nothing`) and about several things (`of_several`)."""

TOTAL = "total"
JOINED = " + "
"""Stands between splits that are published as one."""


def _row(images: int | None, refs: int | None, sentences: int | None, **more: int) -> Counts:
    return {"images": images, "refs": refs, "sentences": sentences, **more}


# RefCOCOg is also quoted with 104,560 sentences, 54,822 refs and 26,711 images: that counts Google's test split, which
# was never published. The totals here are of what the files hold.
# (name, split by) -> split -> counts. An image can be in several splits, so the images of `total` are no sum.
PUBLISHED: Mapping[tuple[str, str], Mapping[str, Counts]] = {
    ("refcoco", "unc"): {
        "train": _row(16_994, 42_404, 120_624),
        "val": _row(1_500, 3_811, 10_834),
        "testA": _row(750, 1_975, 5_657),
        "testB": _row(750, 1_810, 5_095),
        TOTAL: _row(19_994, 50_000, 142_210),
    },
    ("refcoco", "google"): {
        "train": _row(19_213, 40_000, None),
        "val": _row(4_559, 5_000, None),
        "test": _row(4_527, 5_000, None),
        TOTAL: _row(19_994, 50_000, 142_210),
    },
    ("refcoco+", "unc"): {
        "train": _row(16_992, 42_278, 120_191),
        "val": _row(1_500, 3_805, 10_758),
        "testA": _row(750, 1_975, 5_726),
        "testB": _row(750, 1_798, 4_889),
        TOTAL: _row(19_992, 49_856, 141_564),
    },
    ("refcocog", "umd"): {
        "train": _row(21_899, 42_226, 80_512),
        "val": _row(1_300, 2_573, 4_896),
        "test": _row(2_600, 5_023, 9_602),
        TOTAL: _row(25_799, 49_822, 95_010),
    },
    ("refcocog", "google"): {
        "train": _row(24_698, 44_822, 85_474),
        "val": _row(4_650, 5_000, 9_536),
        TOTAL: _row(None, 49_822, 95_010),
    },
    # Of RefClef no counts of its two splits are published, only the number of pictures in its archive.
    ("refclef", "unc"): {TOTAL: _row(19_997, None, None)},
    ("refclef", "berkeley"): {TOTAL: _row(19_997, None, None)},
    ("grefcoco", "unc"): {TOTAL: _row(19_994, None, 278_232, of_nothing=32_202, of_several=80_022)},
    # A ref is a phrase. miniv's 100 pictures are of val, and have a file of their own.
    ("phrasecut", "published"): {
        "train": _row(71_746, None, 310_816),
        f"val{JOINED}miniv": _row(2_971, None, 20_316),
        "test": _row(2_545, None, 14_354),
        "miniv": _row(100, None, 821),
        TOTAL: _row(77_262, None, 345_486),
    },
}


def published(name: str, split_by: str) -> Mapping[str, Counts]:
    """Return the published counts of each split and of `total`; empty if none are known."""
    return PUBLISHED.get((name, split_by), {})


def counted(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return the dataset's counts per split, of splits published as one together, and in all.

    A picture in several splits counts once in a sum. What is about nothing or several things is counted in all, where
    there is any.
    """
    refs = (
        (record.split, record.image_id, len(record.annotation_ids), len(record.expressions))
        for record in dataset.records
    )
    return _counted(dataset.name, dataset.split_by, refs)


def store_counts(store: Store) -> dict[str, dict[str, int]]:
    """Return the same counts of a store."""
    columns = (
        [store.splits[one] for one in store.numbers("refs/split")],
        store.numbers("refs/image").tolist(),
        np.diff(store.numbers("refs/annotations/offsets")).tolist(),
        np.diff(store.numbers("refs/sentences")).tolist(),
    )
    return _counted(store.name, store.split_by, zip(*columns, strict=True))


def _counted(name: str, split_by: str, refs: Iterable[tuple[str, int, int, int]]) -> dict[str, dict[str, int]]:
    """Count refs, each (split, image, number of annotations, number of sentences)."""
    joined = {split: split.split(JOINED) for split in published(name, split_by) if JOINED in split}
    images: dict[str, set[int]] = {}
    counts: dict[str, Counter[str]] = {}
    total: Counter[str] = Counter()
    for split, image, things, sentences in refs:
        for key in (split, *(whole for whole, parts in joined.items() if split in parts), TOTAL):
            images.setdefault(key, set()).add(image)
            counts.setdefault(key, Counter()).update(refs=1, sentences=sentences)
        total["of_nothing"] += sentences if things == 0 else 0
        total["of_several"] += sentences if things > 1 else 0
    ordered = [
        *(key for key in counts if key not in joined and key != TOTAL),
        *(key for key in joined if key in counts),
    ]
    table = {key: {"images": len(images[key]), **counts[key]} for key in (*ordered, TOTAL)}
    table[TOTAL] |= {kind: count for kind, count in total.items() if count}
    return table


def differences(name: str, split_by: str, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return one line for each split whose counts differ from the published ones, with both."""
    lines = []
    for split, figures in published(name, split_by).items():
        if split not in counts:
            lines.append(f"{name} ({split_by}): no split {split}; published: {_listed(figures)}")
            continue
        own = {what: counts[split].get(what, 0) for what, figure in figures.items() if figure is not None}
        if any(own[what] != figures[what] for what in own):
            lines.append(f"{name} ({split_by}) {split}: {_listed(own)}; published: {_listed(figures)}")
    return lines


# (name, split by): total sentences that are also told of the set, and what is behind them.
_TOLD_OTHERWISE: Mapping[tuple[str, str], Mapping[int, str]] = {
    ("refcoco", "unc"): {142_209: "papers print as many, the published files hold one more"},
    ("refcoco", "google"): {142_209: "papers print as many, the published files hold one more"},
    ("refcocog", "google"): {
        104_560: "as many are quoted with the test split, which was not published with the others"
    },
}


def explanation(name: str, split_by: str, counts: Mapping[str, Mapping[str, int]]) -> str | None:
    """Return, as a line, what makes counts differ from the published ones; None if they do not.

    What was left out on reading is counted apart, in the notes of the dataset.
    """
    if not differences(name, split_by, counts):
        return None
    figures = {what: figure for what, figure in published(name, split_by)[TOTAL].items() if figure is not None}
    own = {what: counts[TOTAL].get(what, 0) for what in figures}
    told = _TOLD_OTHERWISE.get((name, split_by), {}).get(own.get("sentences", 0))
    if told is not None:
        return f"{name} ({split_by}): {own['sentences']:,} sentences: {told}"
    if own == figures:
        how = "the same in all, divided otherwise: files of another way of splitting"
    elif any(own[what] > figures[what] for what in figures):
        how = "more than published: files of another release, or several joined"
    elif any(2 * own[what] < figures[what] for what in figures):
        how = "a part of what was published: an extract, or splits that are not there"
    else:
        how = "fewer than published: another release, files cut short, or what was left out on reading (see the notes)"
    return f"{name} ({split_by}): {how}"


_NAMES = {"of_nothing": "sentences about nothing", "of_several": "sentences about several things"}


def _listed(figures: Counts) -> str:
    return ", ".join(f"{figure:,} {_NAMES.get(what, what)}" for what, figure in figures.items() if figure is not None)
