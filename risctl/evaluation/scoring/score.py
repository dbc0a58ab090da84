"""Measures predictions that another tool wrote, under every protocol, as if a model had made them here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from risctl.data.ignored import ignored_region
from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store, TextField
from risctl.data.store.rows import RefRow
from risctl.errors import DataError, UsageError
from risctl.evaluation.image_evaluator import trained_on
from risctl.evaluation.report import Report, Result
from risctl.evaluation.scoring.coverage import Coverage, Missing
from risctl.evaluation.scoring.masks import Resize, WrongSizeError
from risctl.evaluation.scoring.matching import Matches, Tally, match, sentence_names
from risctl.evaluation.scoring.predicted_masks import PredictedMasks
from risctl.evaluation.scoring.source import PredictionSource, UnreadableMaskError, digest
from risctl.evaluation.target_attributes import attributes_of
from risctl.metrics.accumulator import Accumulator
from risctl.metrics.overlaps import Mask
from risctl.metrics.protocols import Protocol
from risctl.vision import rle

Progress = Callable[[int, int], None]


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
    first_only = all(protocol.sentences == "first" for protocol in chosen)
    matches = match(source, store, split=split, key=key, first_only=first_only, lenient=lenient)
    count = int(matches.counted.sum())
    if len(matches.missing) and missing == "refuse":
        raise DataError(
            f"{source.path} has no prediction of {len(matches.missing):,} of the {count:,} sentences of "
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
        matched=count - len(matches.missing) - broken.count,
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
    rows = matches.rows[matches.counted].tolist()
    ref: RefRow | None = None
    for done, row in enumerate(rows, start=1):
        sentence = store.sentence(row)
        if ref is None or ref.row != sentence.ref:
            ref = store.ref(sentence.ref)
            target = store.mask(sentence.ref)
            size = (target["size"][0], target["size"][1])
            facts = attributes_of(store, ref, pixels=rle.area(target))
            ignored = ignored_region(store, ref.image)
        try:
            found = masks.of(row, size=size)
        except WrongSizeError as error:
            wrong.add(str(error))
            continue
        except UnreadableMaskError as error:
            if not lenient or missing == "refuse":
                raise masks.error(f"{error}; mend it, or count such predictions as missing with --lenient") from None
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
            ignored=ignored,
        )
        if progress is not None:
            progress(done, len(rows))
    if wrong.count:
        raise masks.error(f"{wrong.count:,} masks have another size than their images: {wrong.first[0]}")
    if not len(accumulator):
        raise DataError("no sentence has a prediction that can be read, so there is nothing to measure")
    return accumulator, broken, empty


def _is_empty(mask: Mask) -> bool:
    return rle.area(mask) == 0 if isinstance(mask, dict) else not mask.any()


def _joined(one: Tally, other: Tally) -> Tally:
    return Tally(one.count + other.count, [*one.first, *other.first][: max(len(one.first), len(other.first))])
