"""Rows: what is kept of each sample, in columns. Masks are not."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The samples of one protocol, ordered by `key`; every column has N entries.

    key: int64, unique, which sample of the dataset it is; image_id, ref_id, sentence_id: int64, the publisher's;
    text, abilities: object arrays of str and of tuples of str; score: float64, how sure the system was;
    targeted, predicted_none: bool; intersection, union, predicted: int64 pixels at the protocol's resolution;
    boundary: float64, the F of the DAVIS protocol, else NaN.
    """

    key: np.ndarray
    image_id: np.ndarray
    ref_id: np.ndarray
    sentence_id: np.ndarray
    text: np.ndarray
    abilities: np.ndarray
    score: np.ndarray
    targeted: np.ndarray
    predicted_none: np.ndarray
    intersection: np.ndarray
    union: np.ndarray
    predicted: np.ndarray
    boundary: np.ndarray

    def __len__(self) -> int:
        return len(self.key)

    @property
    def target(self) -> np.ndarray:
        """Pixels of the target (N,) at the protocol's resolution."""
        return self.intersection + self.union - self.predicted

    def subset(self, chosen: np.ndarray) -> Rows:
        """Return the rows where `chosen` (N,) bool is True, or those whose positions it holds."""
        return Rows(**{name: column[chosen] for name, column in self.columns().items()})

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def known_abilities(self) -> list[str]:
        """Return the names of the abilities that any row is tagged with, in alphabetical order."""
        return sorted({ability for tags in self.abilities for ability in tags})

    def with_ability(self, ability: str) -> Rows:
        """Return the rows tagged with `ability`."""
        return self.subset(np.array([ability in tags for tags in self.abilities], dtype=bool))

    def ids(self, position: int) -> dict[str, Any]:
        """Return what identifies the row at `position`, ready for JSON."""
        return {
            "image_id": int(self.image_id[position]),
            "ref_id": int(self.ref_id[position]),
            "sentence_id": int(self.sentence_id[position]),
            "text": self.text[position],
            "abilities": list(self.abilities[position]),
        }
