"""Defines what a page shows of single samples: the listing that is filtered and sorted, and some with images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The groups of one breakdown.

    Attributes:
        names: The names of the groups.
        of: For each listed sample, the indices of the groups that it belongs to.
    """

    names: Sequence[str]
    of: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """N samples in columns.

    Attributes:
        columns: N values each, None where unknown: "sample" (the number in links), "text", "image", "ref", "sentence",
            "words", "area" (as a fraction of the image), "distractors", "score", "targeted"; where it is measured "f";
            for videos "video" (the name).
        ious: N values in [0, 1] by protocol, None for a sample that the protocol leaves out, or that has no target
            where the protocol keeps such samples apart.
        ranks: N values in [0, 1] by protocol, by which samples are sorted: the IoU, else 1 for a sample without a
            target in which nothing was predicted and 0 for another; None for a sample that the protocol leaves out.
        groups: The groups of each breakdown, by its name.
        total: How many samples there are; if they are too many, those with the lowest IoU are listed.
    """

    columns: Mapping[str, Sequence[Any]]
    ious: Mapping[str, Sequence[float | None]]
    ranks: Mapping[str, Sequence[float | None]]
    groups: Mapping[str, Groups]
    total: int

    def __len__(self) -> int:
        return len(self.columns["sample"])


@dataclass(frozen=True, slots=True, kw_only=True)
class IllustratedSample:
    """A sample with its image: the target on the left, the prediction on the right.

    Attributes:
        position: Its position in the listing.
        kind: "worst" or "best".
        jpeg: The image as JPEG.
        width: Of the image, in pixels.
        height: Of the image, in pixels.
        note: What stands beside the IoU.
    """

    position: int
    kind: str
    jpeg: bytes
    width: int
    height: int
    note: str
