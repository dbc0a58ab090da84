"""Rows: what is kept of each sample, in columns. Masks are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the data says of a sample's target, to tell samples apart by.

    targets: how many annotations it has, -1 if unknown; categories: their names, each once; area: its share of the
    picture's pixels; distractors: other annotations of the picture of one of these categories, -1 if unknown.
    """

    targets: int = -1
    categories: tuple[str, ...] = ()
    area: float = float("nan")
    distractors: int = -1


UNKNOWN = Facts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The samples of one protocol, ordered by `key`; every column has N entries.

    key: int64, unique, which sample of the dataset it is; image_id, ref_id, sentence_id: int64, the publisher's;
    text, abilities: object arrays of str and of tuples of str; score: float64, how sure the system was;
    targeted, predicted_none: bool; intersection, union, predicted: int64 pixels at the protocol's resolution;
    boundary: float64, the F of the DAVIS protocol, else NaN; region: float64, the J of a video, a mean over its frames,
    which does not follow from the pixels, else NaN;
    targets, categories, area, distractors: int64, tuples of str, float64 and int64, see `Facts`;
    others: tuples of (score, intersection, union, predicted), the system's further candidates, of which average
    precision takes account.
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
        """Return the rows where `chosen` (N,) bool is True, or those whose positions it holds."""
        return Rows(**{name: column[chosen] for name, column in self.columns().items()})

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def known_abilities(self) -> list[str]:
        """Return the names of the abilities that any row is tagged with, in alphabetical order."""
        return sorted({ability for tags in self.abilities for ability in tags})

    def ids(self, position: int) -> dict[str, Any]:
        """Return what identifies the row at `position`, ready for JSON."""
        return {
            "image_id": int(self.image_id[position]),
            "ref_id": int(self.ref_id[position]),
            "sentence_id": int(self.sentence_id[position]),
            "text": self.text[position],
            "abilities": list(self.abilities[position]),
        }

    def facts(self, position: int) -> dict[str, Any]:
        """Return the `Facts` of the row at `position`, ready for JSON; null where unknown."""
        targets, distractors = int(self.targets[position]), int(self.distractors[position])
        area = float(self.area[position])
        return {
            "targets": targets if targets >= 0 else None,
            "categories": list(self.categories[position]),
            "area": area if np.isfinite(area) else None,
            "distractors": distractors if distractors >= 0 else None,
        }


def rows_of(records: Sequence[Mapping[str, Any]]) -> Rows:
    """Return the rows that an evaluation wrote as JSON objects, all of one protocol, ordered by key.

    Raises `KeyError` for one without the ids and pixel counts; what else is missing is unknown.
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
        targets=column("targets", np.int64, missing=-1),
        categories=tuples("categories"),
        area=column("area", np.float64, missing=float("nan")),
        distractors=column("distractors", np.int64, missing=-1),
        others=objects([tuple(map(tuple, record.get("others", ()))) for record in ordered]),
    )


def objects(values: Sequence[object]) -> np.ndarray:
    """Return `values` (N) as an object array (N,); numpy would make a 2-D array of tuples of one length."""
    column = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):
        column[position] = value
    return column
