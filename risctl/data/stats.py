"""What a dataset holds, in numbers: how many, how long, how large, of what kind, among what, in which words."""

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

_MOST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How numbers spread: least, quarter, median, three quarters, most, and their mean."""

    least: float
    quarter: float
    median: float
    three_quarters: float
    most: float
    mean: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread | None:
        """Return the spread of `numbers`, None of none."""
        if not len(numbers):
            return None
        places = np.quantile(np.asarray(numbers, dtype=np.float64), [0, 0.25, 0.5, 0.75, 1]).tolist()
        return cls(
            least=places[0],
            quarter=places[1],
            median=places[2],
            three_quarters=places[3],
            most=places[4],
            mean=float(np.mean(numbers)),
        )

    def as_json(self) -> dict[str, float]:
        """Return it as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}

    def told(self, form: str) -> str:
        """Return it as text, each number in `form` (such as ".1f")."""
        numbers = [format(getattr(self, name), form) for name in ("least", "quarter", "median", "three_quarters")]
        return f"{' / '.join(numbers)} / {format(self.most, form)} (mean {format(self.mean, form)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The numbers of a dataset.

    counts: by split, images, targets, sentences, and targets that are nothing or several things. `words` are words a
    sentence; `shares` the part of the picture that a target covers; `likes` other things of its category there.
    """

    counts: Mapping[str, Mapping[str, int]]
    words: Spread | None
    shares: Spread | None
    likes: Spread | None
    alone: int
    categories: Mapping[str, int]
    abilities: Mapping[str, int]
    vocabulary: int
    once: int
    commonest: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data, categories and abilities in full."""
        spreads = {name: getattr(self, name) for name in ("words", "shares", "likes")}
        return {
            "counts": {split: dict(row) for split, row in self.counts.items()},
            "words_a_sentence": spreads["words"] and spreads["words"].as_json(),
            "share_of_picture": spreads["shares"] and spreads["shares"].as_json(),
            "distractors": spreads["likes"] and spreads["likes"].as_json(),
            "targets_without_distractors": self.alone,
            "categories": dict(self.categories),
            "abilities": dict(self.abilities),
            "vocabulary": {"words": self.vocabulary, "once": self.once, "commonest": dict(self.commonest)},
        }

    def told(self) -> str:
        """Return it as text for a person."""
        kinds = ("images", "targets", "sentences", "no_target", "several")
        rows: list[tuple[str, ...]] = [("split", "images", "targets", "sentences", "of nothing", "of several")]
        rows += [(split, *(f"{row[kind]:,}" for kind in kinds)) for split, row in self.counts.items()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        lines += ["", "least / quarter / median / three quarters / most"]
        if self.words:
            lines.append(f"words a sentence:      {self.words.told('.0f')}")
        if self.shares:
            lines.append(f"share of picture:      {self.shares.told('.1%')}")
        if self.likes:
            lines.append(f"others of its kind:    {self.likes.told('.0f')}; none for {self.alone:,} targets")
        lines += ["", f"categories, {len(self.categories):,}: {_listed(self.categories)}"]
        if self.abilities:
            lines.append(f"abilities: {_listed(self.abilities)}")
        lines.append(f"words, {self.vocabulary:,}, {self.once:,} of them once: {_listed(self.commonest)}")
        return "\n".join(lines)


def stats_of(source: Dataset | Store, *, split: str = splits.ALL) -> Stats:
    """Return the numbers of a split of a dataset or store. Raises `UsageError` for an unknown split."""
    counts: dict[str, Counter[str]] = {}
    images: dict[str, set[int]] = {}
    lengths: list[int] = []
    shares: list[float] = []
    likes: list[int] = []
    categories: Counter[str] = Counter()
    abilities: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for one in targets_of(source, split=split):
        row = counts.setdefault(one.split, Counter())
        images.setdefault(one.split, set()).add(one.image_id)
        row.update(targets=1, sentences=len(one.texts), no_target=one.things == 0, several=one.things > 1)
        if one.things:
            shares.append(one.share)
            likes.append(one.likes)
            categories.update(one.categories)
        for text, needed in zip(one.texts, one.abilities, strict=True):
            own = words_of(text)
            lengths.append(len(own))
            words.update(own)
            abilities.update(needed)
    kinds = ("targets", "sentences", "no_target", "several")
    return Stats(
        counts={
            name: {"images": len(images[name]), **{kind: row[kind] for kind in kinds}} for name, row in counts.items()
        },
        words=Spread.of(lengths),
        shares=Spread.of(shares),
        likes=Spread.of(likes),
        alone=sum(number == 0 for number in likes),
        categories=dict(categories.most_common()),
        abilities=dict(abilities.most_common()),
        vocabulary=len(words),
        once=sum(number == 1 for number in words.values()),
        commonest=dict(words.most_common(_MOST)),
    )


def _listed(numbers: Mapping[str, int]) -> str:
    first = list(numbers.items())[:_MOST]
    more = ", ..." if len(numbers) > _MOST else ""
    return ", ".join(f"{name} {number:,}" for name, number in first) + more
