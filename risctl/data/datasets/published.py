"""The published counts of the datasets, to be shown beside what was read.

Some of the sentence counts come from secondary sources, and papers print 142,209 for RefCOCO's 142,210: a difference is
worth a warning that shows both numbers, never a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping

Counts = Mapping[str, int | None]
"""`images`, `refs` and `sentences`; None where no figure is published."""

TOTAL = "total"


def _row(images: int | None, refs: int | None, sentences: int | None) -> Counts:
    return {"images": images, "refs": refs, "sentences": sentences}


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
}


def published(name: str, split_by: str) -> Mapping[str, Counts]:
    """Return the published counts of each split and of `total`; empty if none are known."""
    return PUBLISHED.get((name, split_by), {})


def differences(name: str, split_by: str, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return one line for each split whose counts differ from the published ones, with both."""
    lines = []
    for split, figures in published(name, split_by).items():
        if split not in counts:
            lines.append(f"{name} ({split_by}): no split {split}; published: {_listed(figures)}")
            continue
        own = {what: counts[split][what] for what, figure in figures.items() if figure is not None}
        if any(own[what] != figures[what] for what in own):
            lines.append(f"{name} ({split_by}) {split}: {_listed(own)}; published: {_listed(figures)}")
    return lines


def _listed(figures: Counts) -> str:
    return ", ".join(f"{figure:,} {what}" for what, figure in figures.items() if figure is not None)
