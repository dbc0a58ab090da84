"""Divides samples by their expression and their target, and computes the figures of each part.

Pure functions on rows: an evaluation, a comparison, and rows that were read back from a file give the same parts.
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
"""Figures of fewer samples are marked as unreliable."""

NO_ABILITY = "none of these"

# The union of the edges at which published tables divide RefCOCO (1-2, 3, 4-5, 6-) and RefCOCOg (1-5, 6-7, 8-10, 11-).
_LENGTHS = (1, 3, 4, 6, 8, 11, 21)
# About equal parts on a logarithmic scale; RefCOCO's targets cover 10% of the image in the median, small objects 1%.
_AREAS = (0.0, 0.01, 0.03, 0.1, 0.3)
_MAX_DISTRACTORS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """One way to divide the samples.

    Attributes:
        name: The breakdown's name in JSON.
        title: Its heading.
        about: What decides, and what is left out.
        groups: By the group's name, in order: which rows belong to it, bool (N,). A row may be in several groups or
            none.
    """

    name: str
    title: str
    about: str
    groups: dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The figures of a group of samples.

    Attributes:
        samples: How many samples.
        images: How many images.
        figures: Figures by name in percent; NaN where not measurable.
        interval: The 95 % interval over images of the figure that `headline` names; None if it was not asked for.
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
    """Returns the breakdowns that `rows` hold enough information for; groups without a sample are left out."""
    found = [one(rows) for one in (by_length, by_ability, by_category, by_area, by_distractors, by_targets)]
    return [one for one in found if one.groups]


def by_length(rows: Rows) -> Breakdown:
    """Divides the rows by the number of words of their expression."""
    words = np.array([len(words_of(text)) for text in rows.text], dtype=np.int64)
    return Breakdown(
        name="length",
        title="Expression length",
        about="words of the expression, as white space separates them",
        groups=_present(_between(words, _LENGTHS, name=_words_name)),
    )


def by_ability(rows: Rows) -> Breakdown:
    """Divides the rows by the abilities that their expression needs.

    The data's own tags are used where it has some; otherwise words of the expression decide
    (`risctl.language.ability_words`).
    """
    tags = rows.known_abilities()
    if any(ability in tags for ability in ABILITIES):
        ordered = [one for one in ABILITIES if one in tags] + [tag for tag in tags if tag not in ABILITIES]
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
    """Divides the rows by the category of their target, the most frequent first."""
    names = sorted({name for categories in rows.categories for name in categories})
    groups = _tagged(rows.categories, names)
    return Breakdown(
        name="category",
        title="Category",
        about="category of the target; without samples that have no target, several for a target of several",
        groups=dict(sorted(groups.items(), key=lambda pair: -int(pair[1].sum()))),
    )


def by_area(rows: Rows) -> Breakdown:
    """Divides the rows by the share of the image that their target covers."""
    known = np.isfinite(rows.area) & rows.targeted
    groups = _between(np.where(known, rows.area, -1.0), _AREAS, name=_share_name)
    return Breakdown(
        name="area",
        title="Target area",
        about="share of the picture that the target covers; without samples that have no target",
        groups=_present(groups),
    )


def by_distractors(rows: Rows) -> Breakdown:
    """Divides the rows by how many other instances of the target's category are annotated in the image."""
    known = np.where(rows.targeted, rows.distractors, -1)
    edges = tuple(range(_MAX_DISTRACTORS + 1))
    return Breakdown(
        name="distractors",
        title="Same-category distractors",
        about="other annotated instances of the target's category in the picture, a crowd counts as one; without "
        "samples that have no target",
        groups=_present(_between(known, edges, name=_count_name)),
    )


def by_targets(rows: Rows) -> Breakdown:
    """Divides the rows by how many instances are referred to; no groups where all rows have the same number."""
    groups = _present(_between(rows.targets, (0, 1, 2), name=("no target", "one", "several").__getitem__))
    return Breakdown(
        name="targets",
        title="Number of targets",
        about="how many annotated instances the expression refers to",
        groups=groups if len(groups) > 1 else {},
    )


def headline(protocol: Protocol) -> str:
    """Returns the name of the figure that stands for a protocol where there is room for one only."""
    if protocol.boundary:
        return "J&F"
    return "gIoU" if protocol.no_target == "counted" else protocol.names[1]


def measured(breakdown: Breakdown, rows: Rows, protocol: Protocol, *, resamples: int = 0) -> dict[str, Part]:
    """Computes the figures of each group of a breakdown, average precisions excepted.

    Args:
        breakdown: The breakdown.
        rows: The samples that it divides.
        protocol: The protocol of the figures.
        resamples: Resamples for the intervals of the headline figure; 0 for no intervals.
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
    """Returns, for each name, which of the tuples of names `tags` (N,) hold it."""
    groups = {name: np.zeros(len(tags), dtype=bool) for name in names}
    for position, own in enumerate(tags):
        for name in own:
            groups[name][position] = True
    return groups


def _between(values: np.ndarray, edges: tuple[float, ...], *, name: Callable[[int], str]) -> dict[str, np.ndarray]:
    """Returns which `values` (N,) lie from each edge up to the next, the last without end; smaller ones in none."""
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
    return f"{number} or more" if number == _MAX_DISTRACTORS else f"{number}"
