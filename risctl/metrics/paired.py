"""Compares two runs on the same samples: breakdowns that changed, and samples that flipped between right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from risctl.metrics.bootstrap import Difference, check_paired, paired_subset_differences
from risctl.metrics.breakdowns import FEW_SAMPLES, breakdowns, headline, measured
from risctl.metrics.figures import sample_ious
from risctl.metrics.protocols import Protocol
from risctl.metrics.rows import Rows

RIGHT = 0.5
"""The IoU from which a sample counts as right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPart:
    """A group of a breakdown in both runs.

    Attributes:
        breakdown: The breakdown's name.
        title: Its heading.
        group: The group's name.
        samples: How many samples the group has.
        images: How many images they are of.
        figure: The figure that is compared.
        before: The first run's figure in percent.
        after: The second run's figure in percent.
        difference: Second minus first, with its interval.
    """

    breakdown: str
    title: str
    group: str
    samples: int
    images: int
    figure: str
    before: float
    after: float
    difference: Difference

    @property
    def few(self) -> bool:
        """Whether there are too few samples to rely on."""
        return self.samples < FEW_SAMPLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A sample that one run has right and the other wrong.

    Attributes:
        position: The sample's position among the rows.
        before: The first run's IoU, a fraction.
        after: The second run's IoU, a fraction.
    """

    position: int
    before: float
    after: float

    @property
    def won(self) -> bool:
        """Whether the second run is the one that is right."""
        return self.after > self.before


def compared_parts(
    first: Rows, second: Rows, protocol: Protocol, *, seed: int = 0, resamples: int = 1000
) -> list[ChangedPart]:
    """Compares every group of every breakdown, in the order of the breakdowns.

    The figure is the protocol's headline; where a group has none (without any target there is no mIoU), its gIoU.
    Groups with no figure, or of a single image, are left out.

    Raises:
        UsageError: The runs hold different samples.
    """
    check_paired(first, second)
    candidates = (headline(protocol), "gIoU")
    found = []
    for breakdown in breakdowns(first):
        before, after = (measured(breakdown, rows, protocol) for rows in (first, second))
        figures = {group: _measurable(part.figures, candidates) for group, part in before.items()}
        for figure in dict.fromkeys(name for name in figures.values() if name is not None):
            chosen = {group: one for group, one in breakdown.groups.items() if figures[group] == figure}
            subsets = list(chosen.values())
            differences = paired_subset_differences(
                first, second, protocol, subsets, figure=figure, seed=seed, resamples=resamples
            )
            found += [
                ChangedPart(
                    breakdown=breakdown.name,
                    title=breakdown.title,
                    group=group,
                    samples=before[group].samples,
                    images=before[group].images,
                    figure=figure,
                    before=before[group].figures[figure],
                    after=after[group].figures[figure],
                    difference=difference,
                )
                for group, difference in zip(chosen, differences, strict=True)
                if np.isfinite(difference.low)
            ]
    return found


def flips(first: Rows, second: Rows, protocol: Protocol) -> list[Flip]:
    """Returns the samples that one run has right (IoU .5 by the protocol's comparison) and the other wrong.

    The largest changes come first. A sample without a target is right where it was predicted as such, if the protocol
    scores that.
    """
    before, after = sample_ious(first, protocol), sample_ious(second, protocol)
    changed = np.flatnonzero(_right(before, protocol) != _right(after, protocol))
    order = changed[np.argsort(-np.abs(after - before)[changed], kind="stable")]
    return [
        Flip(position=int(position), before=float(before[position]), after=float(after[position])) for position in order
    ]


def _right(ious: np.ndarray, protocol: Protocol) -> np.ndarray:
    return ious >= RIGHT if protocol.compare == ">=" else ious > RIGHT


def _measurable(figures: dict[str, float], names: Sequence[str]) -> str | None:
    return next((name for name in names if np.isfinite(figures.get(name, float("nan")))), None)
