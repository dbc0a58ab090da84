"""Computes statistics of a dataset: counts, lengths, areas, distractors, categories and words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from risctl.data import splits
from risctl.data.records import Dataset
from risctl.data.store.reader import Store
from risctl.data.targets import targets_of
from risctl.language.tokens import words_of

_MAX_LISTED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Minimum (`least`), quartiles, maximum (`most`) and mean, by their names in the JSON output."""

    least: float
    quarter: float
    median: float
    three_quarters: float
    most: float
    mean: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Quantiles | None:
        """Returns the quantiles of `numbers`, None if there are none."""
        if not len(numbers):
            return None
        quantiles = np.quantile(np.asarray(numbers, dtype=np.float64), [0, 0.25, 0.5, 0.75, 1]).tolist()
        return cls(
            least=quantiles[0],
            quarter=quantiles[1],
            median=quantiles[2],
            three_quarters=quantiles[3],
            most=quantiles[4],
            mean=float(np.mean(numbers)),
        )

    def as_json(self) -> dict[str, float]:
        """Returns the numbers as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}

    def as_text(self, form: str) -> str:
        """Returns the numbers as text, each with the format `form`, such as ".1f"."""
        numbers = [format(getattr(self, name), form) for name in ("least", "quarter", "median", "three_quarters")]
        return f"{' / '.join(numbers)} / {format(self.most, form)} (mean {format(self.mean, form)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The statistics of a dataset.

    Attributes:
        counts: By split: images, targets, sentences, no-target refs and targets of several objects.
        words: Words per sentence.
        area_fractions: Fraction of the image that a target covers.
        distractors: Other annotations of its category in the image.
        alone: Number of targets without distractors.
        categories: Number of targets by category.
        abilities: Number of sentences by what it takes to understand them.
        vocabulary: Number of different words.
        once: Number of words that occur once.
        commonest: The most frequent words with their counts.
    """

    counts: Mapping[str, Mapping[str, int]]
    words: Quantiles | None
    area_fractions: Quantiles | None
    distractors: Quantiles | None
    alone: int
    categories: Mapping[str, int]
    abilities: Mapping[str, int]
    vocabulary: int
    once: int
    commonest: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """Returns the statistics as plain data, with all categories and abilities."""

        def plain(quantiles: Quantiles | None) -> dict[str, float] | None:
            return quantiles.as_json() if quantiles else None

        return {
            "counts": {split: dict(row) for split, row in self.counts.items()},
            "words_a_sentence": plain(self.words),
            "share_of_picture": plain(self.area_fractions),
            "distractors": plain(self.distractors),
            "targets_without_distractors": self.alone,
            "categories": dict(self.categories),
            "abilities": dict(self.abilities),
            "vocabulary": {"words": self.vocabulary, "once": self.once, "commonest": dict(self.commonest)},
        }

    def as_text(self) -> str:
        """Returns the statistics as a table and lists for a person."""
        kinds = ("images", "targets", "sentences", "no_target", "several")
        rows: list[tuple[str, ...]] = [("split", "images", "targets", "sentences", "of nothing", "of several")]
        rows += [(split, *(f"{row[kind]:,}" for kind in kinds)) for split, row in self.counts.items()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        lines += ["", "least / quarter / median / three quarters / most"]
        if self.words:
            lines.append(f"words a sentence:      {self.words.as_text('.0f')}")
        if self.area_fractions:
            lines.append(f"share of picture:      {self.area_fractions.as_text('.1%')}")
        if self.distractors:
            lines.append(f"others of its kind:    {self.distractors.as_text('.0f')}; none for {self.alone:,} targets")
        lines += ["", f"categories, {len(self.categories):,}: {_listed(self.categories)}"]
        if self.abilities:
            lines.append(f"abilities: {_listed(self.abilities)}")
        lines.append(f"words, {self.vocabulary:,}, {self.once:,} of them once: {_listed(self.commonest)}")
        return "\n".join(lines)


def stats_of(source: Dataset | Store, *, split: str = splits.ALL) -> Stats:
    """Computes the statistics of a split of a dataset or store. Raises `UsageError` for an unknown split."""
    counts: dict[str, Counter[str]] = {}
    images: dict[str, set[int]] = {}
    lengths: list[int] = []
    area_fractions: list[float] = []
    distractors: list[int] = []
    categories: Counter[str] = Counter()
    abilities: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for target in targets_of(source, split=split):
        row = counts.setdefault(target.split, Counter())
        images.setdefault(target.split, set()).add(target.image_id)
        row.update(
            targets=1,
            sentences=len(target.texts),
            no_target=target.annotation_count == 0,
            several=target.annotation_count > 1,
        )
        if target.annotation_count:
            area_fractions.append(target.area_fraction)
            distractors.append(target.distractors)
            categories.update(target.categories)
        for text, needed in zip(target.texts, target.abilities, strict=True):
            found = words_of(text)
            lengths.append(len(found))
            words.update(found)
            abilities.update(needed)
    kinds = ("targets", "sentences", "no_target", "several")
    return Stats(
        counts={
            name: {"images": len(images[name]), **{kind: row[kind] for kind in kinds}} for name, row in counts.items()
        },
        words=Quantiles.of(lengths),
        area_fractions=Quantiles.of(area_fractions),
        distractors=Quantiles.of(distractors),
        alone=sum(number == 0 for number in distractors),
        categories=dict(categories.most_common()),
        abilities=dict(abilities.most_common()),
        vocabulary=len(words),
        once=sum(number == 1 for number in words.values()),
        commonest=dict(words.most_common(_MAX_LISTED)),
    )


def _listed(numbers: Mapping[str, int]) -> str:
    first = list(numbers.items())[:_MAX_LISTED]
    more = ", ..." if len(numbers) > _MAX_LISTED else ""
    return ", ".join(f"{name} {number:,}" for name, number in first) + more
