"""Breakdowns: samples told apart by what was asked and what was to be found, and the figures of each part.

Pure functions on rows: an evaluation, a comparison of two and whoever reads rows back from a file get the same parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from risctl.language.ability_words import ABILITIES, abilities_in
from risctl.language.tokens import words_of
from risctl.metrics.bootstrap import Interval, subset_intervals
from risctl.metrics.figures import ratio, terms, with_derived
from risctl.metrics.protocols import Protocol
from risctl.metrics.rows import Rows

FEW_SAMPLES = 30
"""A figure of fewer samples is to be read with care."""

NO_ABILITY = "none of these"

# The union of the edges at which published tables divide RefCOCO (1-2, 3, 4-5, 6-) and RefCOCOg (1-5, 6-7, 8-10, 11-).
_LENGTHS = (1, 3, 4, 6, 8, 11, 21)
# About equal parts on a logarithmic scale; RefCOCO's targets have 10% of the picture in the median, small things 1%.
_AREAS = (0.0, 0.01, 0.03, 0.1, 0.3)
_MOST_DISTRACTORS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """Samples by one thing that tells them apart.

    name: of the breakdown, as in JSON; title: for a heading; about: what decides, and what is left out;
    groups: by name, in order, which rows (N,) bool belong; a row may be in several or none.
    """

    name: str
    title: str
    about: str
    groups: dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some of the samples: how many, of how many images, and their figures in percent; NaN where not measurable.

    interval: 95%, over images, of the figure that `headline` names; None if it was not asked for.
    """

    samples: int
    images: int
    figures: dict[str, float]
    interval: Interval | None = None

    @property
    def few(self) -> bool:
        """Whether there are too few samples to rely on."""
        return self.samples < FEW_SAMPLES


def breakdowns(rows: Rows) -> list[Breakdown]:
    """Return the breakdowns that `rows` know enough for; groups without a sample are left out."""
    found = [one(rows) for one in (by_length, by_ability, by_category, by_area, by_distractors, by_targets)]
    return [one for one in found if one.groups]


def by_length(rows: Rows) -> Breakdown:
    """Return the rows by the number of words of their expression."""
    words = np.array([len(words_of(text)) for text in rows.text], dtype=np.int64)
    return Breakdown(
        name="length",
        title="Expression length",
        about="words of the expression, as white space separates them",
        groups=_present(_between(words, _LENGTHS, name=_words_name)),
    )


def by_ability(rows: Rows) -> Breakdown:
    """Return the rows by what it takes to understand their expression.

    The data's own tags where it has such; else the words of the text are asked (`language.ability_words`).
    """
    tags = rows.known_abilities()
    if any(ability in tags for ability in ABILITIES):
        ordered = [one for one in ABILITIES if one in tags] + [one for one in tags if one not in ABILITIES]
        about = "abilities that the expression needs, as the data says; an expression may need several"
        return Breakdown(name="ability", title="Ability", about=about, groups=_tagged(rows.abilities, ordered))
    heard = np.empty(len(rows), dtype=object)
    for position, text in enumerate(rows.text):
        heard[position] = abilities_in(text) or (NO_ABILITY,)
    about = "words of the expression that call for the ability are looked for, since the data has no tags"
    return Breakdown(
        name="ability", title="Ability words", about=about, groups=_present(_tagged(heard, [*ABILITIES, NO_ABILITY]))
    )


def by_category(rows: Rows) -> Breakdown:
    """Return the rows by the category of their target, the most frequent first."""
    names = sorted({name for categories in rows.categories for name in categories})
    groups = _tagged(rows.categories, names)
    return Breakdown(
        name="category",
        title="Category",
        about="category of the target; without samples that have no target, several for a target of several",
        groups=dict(sorted(groups.items(), key=lambda pair: -int(pair[1].sum()))),
    )


def by_area(rows: Rows) -> Breakdown:
    """Return the rows by the share of the picture that their target covers."""
    known = np.isfinite(rows.area) & rows.targeted
    groups = _between(np.where(known, rows.area, -1.0), _AREAS, name=_share_name)
    return Breakdown(
        name="area",
        title="Target area",
        about="share of the picture that the target covers; without samples that have no target",
        groups=_present(groups),
    )


def by_distractors(rows: Rows) -> Breakdown:
    """Return the rows by how many other things of the target's category are annotated in the picture."""
    known = np.where(rows.targeted, rows.distractors, -1)
    edges = tuple(range(_MOST_DISTRACTORS + 1))
    return Breakdown(
        name="distractors",
        title="Same-category distractors",
        about="other annotated things of the target's category in the picture, a crowd counts as one; without samples "
        "that have no target",
        groups=_present(_between(known, edges, name=_count_name)),
    )


def by_targets(rows: Rows) -> Breakdown:
    """Return the rows by how many things are meant, where that differs; no groups where it does not."""
    groups = _present(_between(rows.targets, (0, 1, 2), name=("no target", "one", "several").__getitem__))
    return Breakdown(
        name="targets",
        title="Number of targets",
        about="how many annotated things the expression means",
        groups=groups if len(groups) > 1 else {},
    )


def headline(protocol: Protocol) -> str:
    """Return the name of the figure that stands for a protocol where there is room for one."""
    if protocol.boundary:
        return "J&F"
    return "gIoU" if protocol.no_target == "counted" else "mIoU"


def measured(breakdown: Breakdown, rows: Rows, protocol: Protocol, *, resamples: int = 0) -> dict[str, Part]:
    """Return the figures of each group of `breakdown`, average precisions excepted.

    resamples: of the intervals of the headline figure, 0 for none.
    """
    every = terms(rows, protocol)
    bounds = subset_intervals(
        rows, protocol, list(breakdown.groups.values()), figure=headline(protocol), resamples=resamples
    )
    parts = {}
    for (name, chosen), interval in zip(breakdown.groups.items(), bounds, strict=True):
        found = {
            figure: 100 * ratio(top[chosen].sum(), bottom[chosen].sum()) for figure, (top, bottom) in every.items()
        }
        parts[name] = Part(
            samples=int(chosen.sum()),
            images=len(np.unique(rows.image_id[chosen])),
            figures=with_derived(found),
            interval=interval,
        )
    return parts


def _tagged(tags: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Return which of `tags` (N,), tuples of names, hold each name."""
    groups = {name: np.zeros(len(tags), dtype=bool) for name in names}
    for position, own in enumerate(tags):
        for name in own:
            groups[name][position] = True
    return groups


def _between(values: np.ndarray, edges: tuple[float, ...], *, name: Callable[[int], str]) -> dict[str, np.ndarray]:
    """Return which of `values` (N,) lie from each edge up to the next, the last without end; smaller ones nowhere."""
    place = np.searchsorted(edges, values, side="right") - 1
    return {name(number): place == number for number in range(len(edges))}


def _present(groups: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: chosen for name, chosen in groups.items() if chosen.any()}


def _words_name(number: int) -> str:
    first = _LENGTHS[number]
    if number + 1 == len(_LENGTHS):
        return f"{first} or more"
    last = _LENGTHS[number + 1] - 1
    return f"{first}" if first == last else f"{first}-{last}"


def _share_name(number: int) -> str:
    if number + 1 == len(_AREAS):
        return f"{_AREAS[number]:.0%} or more"
    return f"{_AREAS[number]:.0%} to {_AREAS[number + 1]:.0%}" if number else f"under {_AREAS[1]:.0%}"


def _count_name(number: int) -> str:
    return f"{number} or more" if number == _MOST_DISTRACTORS else f"{number}"
