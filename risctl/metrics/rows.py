"""Holds what is kept of each sample, in columns; masks are not kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the data says of a sample's target.

    Attributes:
        targets: How many annotations it has; -1 if unknown.
        categories: Their category names, each once.
        area: The target's share of the image's pixels; NaN if unknown.
        distractors: Other annotations of these categories in the image; -1 if unknown.
    """

    targets: int = -1
    categories: tuple[str, ...] = ()
    area: float = float("nan")
    distractors: int = -1


UNKNOWN = Facts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """N samples under one protocol, ordered by `key`.

    Attributes:
        key: Which sample of the dataset it is, unique int64 (N,).
        image_id: The publisher's image id, int64 (N,).
        ref_id: The publisher's ref id, int64 (N,).
        sentence_id: The publisher's expression id, int64 (N,).
        text: The expressions, object (N,) of str.
        abilities: The data's ability tags, object (N,) of tuples of str.
        score: The confidence of the prediction, float64 (N,).
        targeted: Whether the expression has a target, bool (N,).
        predicted_none: Whether it was predicted to have none, bool (N,).
        intersection: Pixels shared at the protocol's resolution, int64 (N,).
        union: Pixels in either, int64 (N,).
        predicted: Pixels predicted, int64 (N,).
        boundary: F of the DAVIS protocol, float64 (N,); NaN elsewhere.
        region: J of a video, float64 (N,), a mean over its frames that does not follow from pixel counts; NaN
            elsewhere.
        box_overlap: Generalised IoU of the predicted with the annotated box, float64 (N,); NaN without one of them.
        targets: See `Facts`, int64 (N,).
        categories: See `Facts`, object (N,) of tuples of str.
        area: See `Facts`, float64 (N,).
        distractors: See `Facts`, int64 (N,).
        others: Further candidates for average precision, object (N,) of tuples of (score, intersection, union,
            predicted).
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
    region: np.ndarray
    box_overlap: np.ndarray
    targets: np.ndarray
    categories: np.ndarray
    area: np.ndarray
    distractors: np.ndarray
    others: np.ndarray

    def __len__(self) -> int:
        return len(self.key)

    @property
    def target(self) -> np.ndarray:
        """Pixels of the target (N,) at the protocol's resolution."""
        return self.intersection + self.union - self.predicted

    def subset(self, chosen: np.ndarray) -> Rows:
        """Returns the rows where `chosen` (N,) bool is True, or those whose positions it holds."""
        return Rows(**{name: column[chosen] for name, column in self.columns().items()})

    def columns(self) -> dict[str, np.ndarray]:
        """Returns the columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def known_abilities(self) -> list[str]:
        """Returns the names of the abilities that any row is tagged with, in alphabetical order."""
        return sorted({ability for tags in self.abilities for ability in tags})

    def ids(self, position: int) -> dict[str, Any]:
        """Returns what identifies the row at `position`, ready for JSON."""
        return {
            "image_id": int(self.image_id[position]),
            "ref_id": int(self.ref_id[position]),
            "sentence_id": int(self.sentence_id[position]),
            "text": self.text[position],
            "abilities": list(self.abilities[position]),
        }

    def facts(self, position: int) -> dict[str, Any]:
        """Returns the `Facts` of the row at `position`, ready for JSON; null where unknown."""
        targets, distractors = int(self.targets[position]), int(self.distractors[position])
        area = float(self.area[position])
        return {
            "targets": targets if targets >= 0 else None,
            "categories": list(self.categories[position]),
            "area": area if np.isfinite(area) else None,
            "distractors": distractors if distractors >= 0 else None,
        }


def rows_of(records: Sequence[Mapping[str, Any]]) -> Rows:
    """Returns the rows that an evaluation wrote as JSON objects, all of one protocol, ordered by key.

    Raises:
        KeyError: An object lacks ids or pixel counts. Anything else that is missing is unknown.
    """
    ordered = sorted(records, key=lambda record: record["sample"])

    def column(name: str, kind: type, *, missing: Any = None) -> np.ndarray:
        values = [record[name] if missing is None else record.get(name) for record in ordered]
        return np.array([missing if value is None else value for value in values], dtype=kind)

    def tuples(name: str) -> np.ndarray:
        return objects([tuple(record.get(name, ())) for record in ordered])

    return Rows(
        key=column("sample", np.int64),
        image_id=column("image_id", np.int64),
        ref_id=column("ref_id", np.int64),
        sentence_id=column("sentence_id", np.int64),
        text=objects([record["text"] for record in ordered]),
        abilities=tuples("abilities"),
        score=column("score", np.float64, missing=float("nan")),
        targeted=column("targeted", np.bool_),
        predicted_none=column("predicted_none", np.bool_),
        intersection=column("intersection", np.int64),
        union=column("union", np.int64),
        predicted=column("predicted", np.int64),
        boundary=column("boundary", np.float64, missing=float("nan")),
        region=column("region", np.float64, missing=float("nan")),
        box_overlap=column("box_overlap", np.float64, missing=float("nan")),
        targets=column("targets", np.int64, missing=-1),
        categories=tuples("categories"),
        area=column("area", np.float64, missing=float("nan")),
        distractors=column("distractors", np.int64, missing=-1),
        others=objects([tuple(map(tuple, record.get("others", ()))) for record in ordered]),
    )


def objects(values: Sequence[object]) -> np.ndarray:
    """Returns `values` (N) as an object array (N,); numpy would make a 2-D array of tuples of one length."""
    column = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):
        column[position] = value
    return column
