"""Compares the targets of a user's file with each other: splits, texts of one image, and their counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from risctl.data import splits
from risctl.data.datasets.custom.issues import Issues, Location
from risctl.data.datasets.custom.register import Register, number_of
from risctl.language.tokens import words_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What one entry says of an image."""

    location: Location
    image: str
    annotations: tuple[int, ...]
    texts: tuple[str, ...]
    split: str | None
    abilities: tuple[str, ...]
    number: int | None


class Comparisons:
    """What is known of a file's targets, as far as `register` remembers it.

    Some of it is a problem, or worth a warning, only when the whole file was read.
    """

    def __init__(self, register: Register) -> None:
        """Compares with nothing yet."""
        self._register = register
        self._without_split, self._ambiguities = Issues(), Issues()
        self._split_names: dict[int, str] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._target_count = 0

    def add(self, target: Target) -> None:
        """Compares a target with those before."""
        self._target_count += 1
        self._compare_split(target)
        self._compare_texts(target)

    def _compare_split(self, target: Target) -> None:
        if target.split is None:
            self._without_split.problem(
                target.location, "no split, though others have one; give all of them one, or none"
            )
            return
        number = number_of(target.split)
        self._split_names[number] = target.split
        before, other, _ = self._register.first("split of image", target.image, (target.location, number, 0))
        if other == number:
            return
        row = (target.location, 0, 0)
        if self._register.first("image in several splits", target.image, row) is row:
            self._ambiguities.warn(
                target.location,
                f"its picture is in split {target.split}, and in {self._split_names[other]} by {before}: what is "
                "tested has been trained on",
            )

    def _compare_texts(self, target: Target) -> None:
        """Notes texts that one image has for two targets: no model can answer both."""
        mark = number_of(repr(target.annotations))
        for text in target.texts:
            name = f"{target.image}\0{' '.join(words_of(text))}"
            before, other, _ = self._register.first("text", name, (target.location, mark, 0))
            if other != mark:
                self._ambiguities.warn(
                    target.location, f"the text {text!r:.60} has another target in this picture ({before})"
                )

    def count(self, target: Target) -> None:
        """Counts a target whose image can be read, by its split, or by its image where it names none."""
        if target.split is None:
            self._register.count(target.image, 1, len(target.texts))
            return
        counts = self._counts.setdefault(target.split, {"images": 0, "refs": 0, "sentences": 0})
        row = (target.location, 0, 0)
        counts["images"] += self._register.first(f"image in {target.split}", target.image, row) is row
        counts["refs"] += 1
        counts["sentences"] += len(target.texts)

    def counts(self, issues: Issues, *, shares: Mapping[str, float], seed: int) -> dict[str, dict[str, int]]:
        """Returns images, refs and sentences of what was counted, by split; images without one are shared out."""
        if self._counts:
            return self._counts
        # Two numbers an image are all that is in memory of each.
        rows = np.fromiter(self._register.counts(), dtype=np.dtype((np.int64, 2)))
        places = splits.assigned(len(rows), shares=shares, seed=seed)
        found = {}
        for place in dict.fromkeys(places.tolist()):
            own = rows[places == place]
            refs, sentences = own.sum(0).tolist()
            found[list(shares)[place]] = {"images": len(own), "refs": refs, "sentences": sentences}
        warn_of_empty_splits(issues, len(rows), shares.keys() - found.keys())
        return found

    def finish(self, issues: Issues) -> bool:
        """Adds the issues of the file as a whole to the others; returns whether there are no problems."""
        if not self._target_count and not issues.problem_count:
            issues.problem(Location(1), "there is no text, and so nothing to learn or to measure")
        if self._without_split.problem_count < self._target_count:
            issues.add(self._without_split)
        if issues.problem_count:
            return False
        issues.add(self._ambiguities)
        return True


def warn_of_empty_splits(issues: Issues, count: int, names: Iterable[str]) -> None:
    """Warns of splits that no image falls to."""
    for split in names:
        issues.warn(Location(1), f"no picture falls to split {split}: {count} are too few for its share")
