"""Questions about boxes: a phrase, all the boxes of a picture with their kinds, and which of them are meant. No pixels.

They teach and measure the choice among things apart from finding them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from risctl.language.flips import swap_left_right

UNKNOWN = -1
"""The kind of a box of which only the place is known."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoxPicture:
    """The boxes of a picture.

    corners (N, 4) float32, xyxy in [0, 1]; kinds (N,) int64, index of the class or `UNKNOWN`; aspect: width / height.
    sureness (N,) float32 in [0, 1]: how likely each is a thing at all; blend (N,): how much of its class scores goes to
    its kind, the rest to `other`; appearance (N, A) float32 or None: shares of colour names.
    """

    corners: np.ndarray
    kinds: np.ndarray
    aspect: float
    sureness: np.ndarray | None = None
    blend: np.ndarray | None = None
    other: np.ndarray | None = None
    appearance: np.ndarray | None = None

    def keep(self, index: np.ndarray) -> BoxPicture:
        """Return the picture with the boxes `index` alone."""
        parts = {name: getattr(self, name) for name in ("corners", "kinds", "sureness", "blend", "other", "appearance")}
        return replace(self, **{name: part[index] for name, part in parts.items() if part is not None})

    def mirrored(self) -> BoxPicture:
        """Return the picture with left and right exchanged."""
        x1, y1, x2, y2 = self.corners.T
        return replace(self, corners=np.stack([1 - x2, y1, 1 - x1, y2], 1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoxQuestion:
    """A phrase about the boxes of a picture, and the indices of those that it means (none: nothing there is meant).

    colours: which colours the phrase says of what it means, as far as is known; None where it may name others' colours.
    """

    picture: BoxPicture
    text: str
    targets: tuple[int, ...]
    colours: tuple[str, ...] | None = ()

    def mirrored(self) -> BoxQuestion:
        """Return the question of the mirror image."""
        return replace(self, picture=self.picture.mirrored(), text=swap_left_right(self.text))

    def keep(self, index: np.ndarray) -> BoxQuestion:
        """Return the question with the boxes `index` alone; every target must be among them."""
        place = {int(old): new for new, old in enumerate(index)}
        return replace(self, picture=self.picture.keep(index), targets=tuple(place[one] for one in self.targets))


def questions_per_box(questions: Sequence[BoxQuestion]) -> float:
    """Return the mean of 1 / boxes: what is right by chance where each phrase means one box."""
    return float(np.mean([1 / len(one.picture.kinds) for one in questions])) if questions else 0.0
