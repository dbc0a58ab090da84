"""Matches the entries of a file of predictions with the sentences of a split."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from risctl.data.store.reader import Store
from risctl.errors import DataError
from risctl.evaluation.scoring.keys import Key, Value, check_ambiguous, pick_key
from risctl.evaluation.scoring.source import BrokenEntry, Entry, Position, PredictionSource

NAMED = 3
"""How many of a kind a message names."""

_NONE = -1


@dataclass(slots=True)
class Tally:
    """A count with the first few names."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Counts one."""
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(name)

    def text(self) -> str:
        """Returns the count and the first names."""
        more = ", …" if self.count > len(self.first) else ""
        return f"{self.count:,} ({', '.join(self.first)}{more})" if self.count else "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Which predictions are of which sentences.

    Attributes:
        key: What they were matched by.
        rows: The sentence rows of the split, int64 (N,).
        entries: How many predictions there are.
        counted: Which of them any protocol counts, bool (N,).
        missing: Counted sentences without a prediction, as rows.
        unknown: Predictions of no sentence of the split.
        broken: Predictions that cannot be read.
        instances: Whether several scored predictions of one sentence are instances, to be united.
        united: How many sentences have several.
    """

    key: Key
    rows: np.ndarray
    entries: int
    counted: np.ndarray
    missing: np.ndarray
    unknown: Tally
    broken: Tally
    instances: bool
    united: int
    _positions: list[Position]
    _scores: array[float]
    _says_none: array[int]
    _first: np.ndarray
    _next: array[int]

    def of(self, place: int) -> list[Scored]:
        """Returns the predictions of the sentence at `place` of `rows`, in the order of the file."""
        found, entry = [], int(self._first[place])
        while entry != _NONE:
            none = self._says_none[entry]
            score = self._scores[entry]
            found.append(
                Scored(
                    position=self._positions[entry],
                    score=None if math.isnan(score) else score,
                    says_none=None if none < 0 else bool(none),
                )
            )
            entry = self._next[entry]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A prediction: where its mask lies, its score, and whether it says that there is no target."""

    position: Position
    score: float | None
    says_none: bool | None


def match(
    source: PredictionSource,
    store: Store,
    *,
    split: str,
    key: str | None = None,
    first_only: bool = False,
    lenient: bool = False,
    instances: bool = False,
) -> Matches:
    """Matches all entries of a source with the sentences of a split.

    Only positions, scores and links are kept in memory, no mask.

    Args:
        source: The predictions.
        store: The store.
        split: The split.
        key: See `pick_key`.
        first_only: Whether only the first sentence of each ref counts; the others may lack a prediction.
        lenient: Whether entries that cannot be read are counted, and are errors otherwise.
        instances: Whether several entries of a sentence are its instances, also without scores.

    Raises:
        UsageError: The split or the key is unknown, or the predictions do not have the key's fields.
        DataError: An entry is broken, ambiguous or there twice, or none is of the split.
    """
    rows = store.sentences(split)
    if not len(rows):
        raise DataError(f"the split {split!r} of {store.path} has no sentence to score")
    chosen: Key | None = None
    places = {int(row): place for place, row in enumerate(rows)}
    first = np.full(len(rows), _NONE, dtype=np.int64)
    last = np.full(len(rows), _NONE, dtype=np.int64)
    positions: list[Position] = []
    scores, says_none, following = array("d"), array("b"), array("q")
    unknown, broken, twice = Tally(), Tally(), Tally()
    ambiguous: dict[Value, None] = {}
    several: set[int] = set()
    scored = True
    entries = 0
    for entry in source.entries():
        entries += 1
        if isinstance(entry, BrokenEntry):
            _broken(broken, entry, source, lenient=lenient)
            continue
        chosen = chosen or pick_key(store, split, entry.fields, name=key)
        try:
            value = chosen.value(entry.fields)
        except ValueError as error:
            _broken(
                broken, BrokenEntry(where=source.where(entry.position), problem=str(error)), source, lenient=lenient
            )
            continue
        if value in chosen.ambiguous:
            ambiguous[value] = None
            continue
        named = chosen.rows.get(value)
        if named is None:
            unknown.add(" ".join(map(str, value)))
            continue
        scored = scored and entry.score is not None
        for row in named:
            place = places[row]
            number = len(positions)
            _append(entry, positions, scores, says_none, following)
            if first[place] == _NONE:
                first[place] = number
            else:
                following[int(last[place])] = number
                several.add(place)
                twice.add(f"{' '.join(map(str, value))} at {source.where(entry.position)}")
            last[place] = number
    if chosen is None:
        detail = f": {broken.count:,} entries, all broken" if broken.count else ""
        raise DataError(f"{source.path} holds no prediction{detail}")
    check_ambiguous(chosen, list(ambiguous), store)
    if several and not scored and not instances:
        raise DataError(
            f"{source.path} has several predictions of one sentence without a score each: {twice.text()}; each "
            "sentence needs one mask, or instances with scores"
        )
    if not positions:
        raise DataError(
            f"none of the {entries:,} predictions is of the split {split!r} of {store.path}; by {chosen.describe()} "
            f"they name {', '.join(unknown.first)}; list the expressions with `risctl score --template {store.path}`"
        )
    counted = np.ones(len(rows), dtype=bool)
    if first_only:
        counted = rows == store.numbers("refs/sentences")[store.numbers("sentences/ref")[rows]]
    return Matches(
        key=chosen,
        rows=rows,
        entries=entries,
        counted=counted,
        missing=rows[counted & (first == _NONE)],
        unknown=unknown,
        broken=broken,
        instances=bool(several),
        united=len(several),
        _positions=positions,
        _scores=scores,
        _says_none=says_none,
        _first=first,
        _next=following,
    )


def _append(
    entry: Entry, positions: list[Position], scores: array[float], says_none: array[int], following: array[int]
) -> None:
    positions.append(entry.position)
    scores.append(float("nan") if entry.score is None else entry.score)
    says_none.append(-1 if entry.says_none is None else int(entry.says_none))
    following.append(_NONE)


def _broken(tally: Tally, entry: BrokenEntry, source: PredictionSource, *, lenient: bool) -> None:
    if not lenient:
        raise DataError(f"{source.path}, {entry}; mend it, or count such predictions as missing with --lenient")
    tally.add(entry.where)


def sentence_names(store: Store, rows: Sequence[int]) -> str:
    """Returns the first few sentences, with their ids, for messages."""
    first = [store.sentence(int(row)) for row in rows[:NAMED]]
    more = ", …" if len(rows) > NAMED else ""
    return ", ".join(f"{one.sentence_id} {one.sent!r}" for one in first) + more
