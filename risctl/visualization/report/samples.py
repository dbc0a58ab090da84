"""What a page shows of single samples: the list that is filtered and sorted, and some with pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """One breakdown's groups by name, and for each sample listed which of them (indices) it belongs to."""

    names: Sequence[str]
    of: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Samples in columns of N values; None where unknown.

    columns: "sample" (the number in links), "text", "image", "ref", "sentence", "words", "area" (share of the picture),
    "distractors", "score", "targeted", where it is measured "f", of videos also "video" (the name); ious: by protocol,
    in [0, 1], None for one that the protocol leaves out; groups: by the name of the breakdown; total: how many samples
    there are, of which those with the lowest IoU are listed if they are too many.
    """

    columns: Mapping[str, Sequence[Any]]
    ious: Mapping[str, Sequence[float | None]]
    groups: Mapping[str, Groups]
    total: int

    def __len__(self) -> int:
        return len(self.columns["sample"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictured:
    """A sample with its picture: the target on the left, what was found on the right, as JPEG.

    position: in the listing; kind: whether it is among the best or the worst; width, height: of the picture, in pixels.
    """

    position: int
    kind: str
    jpeg: bytes
    width: int
    height: int
    note: str
