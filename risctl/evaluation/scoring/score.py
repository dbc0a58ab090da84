"""Measures predictions that another tool wrote, under every protocol, as if a model had made them here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store, TextField
from risctl.data.store.rows import RefRow
from risctl.errors import DataError, UsageError
from risctl.evaluation.image_evaluator import trained_on
from risctl.evaluation.report import Report, Result
from risctl.evaluation.scoring.masks import Resize, WrongSizeError, checked, united
from risctl.evaluation.scoring.matching import Matches, Scored, Tally, match, sentence_names
from risctl.evaluation.scoring.source import PredictionSource, UnreadableMaskError, digest
from risctl.evaluation.target_attributes import attributes_of
from risctl.metrics.accumulator import Accumulator
from risctl.metrics.overlaps import Mask, target_mask
from risctl.metrics.protocols import Protocol
from risctl.vision import rle

Progress = Callable[[int, int], None]
Missing = Literal["refuse", "empty", "skip"]
MISSING: tuple[Missing, ...] = ("refuse", "empty", "skip")

INSTANCE_THRESHOLD = 0.5
"""Instances of a sentence are united from this score on."""


@dataclass(slots=True, kw_only=True)
class Coverage:
    """What was done with the predictions.

    Attributes:
        path: The file or folder.
        kind: What it is, in words.
        key: What named the expressions.
        sha256: Its digest.
        predictions: How many it holds.
        matched: Sentences that have a prediction.
        missing: Sentences that have none.
        missing_as: What was done with these.
        unknown: Predictions of no sentence of the split.
        broken: Predictions that could not be read.
        united: Sentences with several instances.
        resized: Masks that were resized.
        empty: Empty masks of sentences that have a target.
    """

    path: Path
    kind: str
    key: str
    sha256: str
    predictions: int
    matched: int
    missing: int
    missing_as: Missing
    unknown: Tally
    broken: Tally
    united: int
    resized: Tally = field(default_factory=Tally)
    empty: Tally = field(default_factory=Tally)

    def to_dict(self) -> dict[str, Any]:
        """Returns the coverage, ready for JSON."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "key": self.key,
            "sha256": self.sha256,
            "predictions": self.predictions,
            "matched": self.matched,
            "missing": self.missing,
            "missing_as": self.missing_as,
            "unknown": self.unknown.count,
            "broken": self.broken.count,
            "several_instances": self.united,
            "resized": self.resized.count,
            "empty": self.empty.count,
        }

    def describe(self) -> str:
        """Returns what was scored, in words."""
        return (
            f"{self.sha256[:12]} ({self.kind}), matched by {self.key}: {self.matched:,} of "
            f"{self.matched + self.missing:,} sentences"
        )

    def notes(self) -> Iterator[str]:
        """Yields what a reader of the figures must know of the predictions."""
        if self.missing:
            what = "count as empty masks" if self.missing_as == "empty" else "are left out of the figures"
            yield f"missing: {self.missing:,} sentences without a prediction {what}"
        if self.broken.count:
            yield f"broken: {self.broken.text()} predictions could not be read and count as missing"
        if self.unknown.count:
            yield f"unknown: {self.unknown.text()} predictions are of no sentence of the split"
        if self.united:
            yield (
                f"instances: {self.united:,} sentences have several; a mask is the union of those with a score of at "
                f"least {INSTANCE_THRESHOLD:g}"
            )
        if self.resized.count:
            yield f"resized by nearest neighbour to the size of their images: {self.resized.text()} masks"
        if self.empty.count:
            yield f"empty: {self.empty.text()} sentences with a target have an empty mask"


class PredictedMasks:
    """The masks of a source by sentence, checked: what `measure` and the pictures of a report read."""

    def __init__(
        self,
        source: PredictionSource,
        store: Store,
        matches: Matches,
        *,
        protocols: Sequence[Protocol],
        resize: Resize | None = None,
        threshold: float | None = None,
    ) -> None:
        self._source, self._store, self._matches = source, store, matches
        self._protocols, self._resize, self._threshold = protocols, resize, threshold
        self._places = {int(row): place for place, row in enumerate(matches.rows)}
        self.resized = Tally()

    def of(self, row: int, *, size: tuple[int, int]) -> tuple[Mask, float, bool | None] | None:
        """Returns mask, score and "says none" of the sentence of `row`; None where it has no prediction.

        Args:
            row: The sentence's row.
            size: (height, width) of its image.

        Raises:
            WrongSizeError: The mask has another size than its image.
            UnreadableMaskError: The mask cannot be read.
        """
        several = self._matches.of(self._places[row])
        if not several:
            return None
        score = max((one.score for one in several if one.score is not None), default=1.0)
        if self._matches.instances:
            several = [one for one in several if one.score is not None and one.score >= INSTANCE_THRESHOLD]
        masks = [self._mask(one, size) for one in several]
        none = several[0].says_none if len(several) == 1 else None
        return (united(masks) if masks else rle.empty(*size)), score, none

    def _mask(self, one: Scored, size: tuple[int, int]) -> Mask:
        where = self._source.where(one.position)
        try:
            found = self._source.mask(one.position, height=size[0], width=size[1])
            mask, resized = checked(
                found, size=size, protocols=self._protocols, resize=self._resize, threshold=self._threshold
            )
        except WrongSizeError as error:
            raise WrongSizeError(f"{where}: {error}") from None
        except UnreadableMaskError as error:
            raise UnreadableMaskError(f"{where}: {error}") from None
        if resized:
            self.resized.add(where)
        return mask

    def decoded(self, rows: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (row, bool mask (H, W)) of sentences, at the size of their images, as pictures of a report need it."""
        for row in rows:
            image = self._store.image(self._store.sentence(row).image)
            found = self.of(row, size=(image.height, image.width))
            mask = np.zeros((image.height, image.width), dtype=bool) if found is None else _dense(found[0])
            yield row, target_mask(mask, resolution=(image.height, image.width))


def score_predictions(
    source: PredictionSource,
    store: Store,
    *,
    split: str,
    protocols: Sequence[Protocol],
    text_field: TextField = "sent",
    key: str | None = None,
    missing: Missing | None = None,
    resize: Resize | None = None,
    threshold: float | None = None,
    strict: bool = False,
    lenient: bool = False,
    progress: Progress | None = None,
    resamples: int = 1000,
) -> tuple[Report, Coverage, PredictedMasks]:
    """Measures predictions on a split of a store by all protocols in one pass.

    Masks are read one by one: memory does not grow with their number but for a row of numbers each.

    Args:
        source: The predictions.
        store: A store of images.
        split: The split.
        protocols: The protocols. Masks meet no threshold, so theirs do not matter.
        text_field: Which form of the sentences is reported.
        key: See `pick_key`.
        missing: What becomes of sentences without a prediction; None refuses them, and counts them as empty masks where
            `lenient`.
        resize: See `checked`.
        threshold: See `checked`.
        strict: Refuses predictions that are unknown, missing, resized, several of a sentence, or empty by mistake.
        lenient: Counts predictions that cannot be read as missing.
        progress: Called with the numbers of sentences that are done and that there are.
        resamples: How often images are drawn again for the intervals; 0 for none.

    Returns:
        The report, what was done with the predictions, and their masks.

    Raises:
        UsageError: The split or the key is unknown, or the options exclude each other.
        DataError: Predictions are missing, broken, ambiguous, of a wrong size, or of no sentence of the split.
    """
    if is_video_store(store):
        raise UsageError(f"{store.path} holds videos; predictions of images are scored here")
    if strict and (lenient or resize or missing not in (None, "refuse")):
        raise UsageError(
            "--strict takes nothing that is missing, broken or resized; leave --lenient, --missing and --resize out"
        )
    missing = missing or ("empty" if lenient else "refuse")
    began = time.monotonic()
    chosen = [replace(protocol, threshold_source="masks") for protocol in protocols]
    matches = match(source, store, split=split, key=key, lenient=lenient)
    if len(matches.missing) and missing == "refuse":
        raise DataError(
            f"{source.path} has no prediction of {len(matches.missing):,} of the {len(matches.rows):,} sentences of "
            f"the split {split!r}: {sentence_names(store, matches.missing.tolist())}; --missing empty counts them as "
            "empty masks, --missing skip leaves them out"
        )
    if strict:
        _check_strict(matches, source)
    masks = PredictedMasks(source, store, matches, protocols=chosen, resize=resize, threshold=threshold)
    accumulator, broken, empty = _measured(
        masks, store, matches, chosen, text_field=text_field, missing=missing, lenient=lenient, progress=progress
    )
    if strict and empty.count:
        raise DataError(f"{source.path}: {empty.text()} sentences with a target have an empty mask (--strict)")
    results = [Result.of(accumulator.rows(one.name), one, resamples=resamples) for one in chosen]
    coverage = Coverage(
        path=source.path,
        kind=source.kind,
        key=matches.key.describe(),
        sha256=digest(source.path),
        predictions=matches.entries,
        matched=len(matches.rows) - len(matches.missing) - broken.count,
        missing=len(matches.missing) + broken.count,
        missing_as=missing,
        unknown=matches.unknown,
        broken=_joined(matches.broken, broken),
        united=matches.united,
        resized=masks.resized,
        empty=empty,
    )
    report = Report.of(
        store,
        results,
        split=split,
        text_field=text_field,
        checkpoint=None,
        seconds=time.monotonic() - began,
        device="cpu",
        notes=(*coverage.notes(), *trained_on(store, split)),
        predictions=coverage.describe(),
    )
    return report, coverage, masks


def _check_strict(matches: Matches, source: PredictionSource) -> None:
    if matches.unknown.count:
        raise DataError(
            f"{source.path}: {matches.unknown.text()} predictions are of no sentence of the split (--strict)"
        )
    if matches.united:
        raise DataError(f"{source.path}: {matches.united:,} sentences have several predictions (--strict)")


def _measured(
    masks: PredictedMasks,
    store: Store,
    matches: Matches,
    protocols: Sequence[Protocol],
    *,
    text_field: TextField,
    missing: Missing,
    lenient: bool,
    progress: Progress | None,
) -> tuple[Accumulator, Tally, Tally]:
    accumulator, wrong, broken, empty = Accumulator(protocols), Tally(), Tally(), Tally()
    first_only = all(protocol.sentences == "first" for protocol in protocols)
    ref: RefRow | None = None
    for done, row in enumerate(matches.rows.tolist(), start=1):
        sentence = store.sentence(row)
        if ref is None or ref.row != sentence.ref:
            ref = store.ref(sentence.ref)
            target = store.mask(sentence.ref)
            size = (target["size"][0], target["size"][1])
            facts = attributes_of(store, ref, pixels=rle.area(target))
        if first_only and row != ref.sentences[0]:
            continue
        try:
            found = masks.of(row, size=size)
        except WrongSizeError as error:
            wrong.add(str(error))
            continue
        except UnreadableMaskError as error:
            if not lenient or missing == "refuse":
                raise DataError(f"{error}; mend it, or count such predictions as missing with --lenient") from None
            broken.add(str(error).partition(":")[0])
            found = None
        if found is None and missing == "skip":
            continue
        mask, score, none = found or (rle.empty(*size), 1.0, None)
        if found is not None and ref.annotations and _is_empty(mask):
            empty.add(f"{sentence.sentence_id} {sentence.sent!r}")
        accumulator.add(
            mask,
            target,
            key=row,
            image_id=ref.image_id,
            ref_id=ref.ref_id,
            sentence_id=sentence.sentence_id,
            text=sentence.text(text_field),
            abilities=sentence.abilities,
            score=score,
            targeted=bool(ref.annotations),
            predicted_none=none,
            first=row == ref.sentences[0],
            facts=facts,
        )
        if progress is not None:
            progress(done, len(matches.rows))
    if wrong.count:
        raise DataError(f"{wrong.count:,} masks have another size than their images: {wrong.first[0]}")
    if not len(accumulator):
        raise DataError("no sentence has a prediction that can be read, so there is nothing to measure")
    return accumulator, broken, empty


def _is_empty(mask: Mask) -> bool:
    return rle.area(mask) == 0 if isinstance(mask, dict) else not mask.any()


def _dense(mask: Mask) -> np.ndarray:
    return rle.decode(mask) if isinstance(mask, dict) else mask


def _joined(one: Tally, other: Tally) -> Tally:
    return Tally(one.count + other.count, [*one.first, *other.first][: max(len(one.first), len(other.first))])
