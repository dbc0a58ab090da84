"""Scores instances that other tools predicted for pairs of picture and phrase: cgF1 and PBench's F1."""

from __future__ import annotations

from collections.abc import Callable

from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError
from risctl.evaluation.concept_report import (
    PBENCH,
    ConceptReport,
    ConceptRow,
    ConceptTruth,
    concept_report,
    concept_sample_of,
    is_dense,
)
from risctl.evaluation.scoring.coverage import Coverage, Missing
from risctl.evaluation.scoring.masks import Resize, WrongSizeError, checked
from risctl.evaluation.scoring.matching import Matches, Tally, match, sentence_names
from risctl.evaluation.scoring.source import PredictionSource, UnreadableMaskError, digest
from risctl.metrics.overlaps import Mask
from risctl.vision import rle
from risctl.vision.rle import RLE

Progress = Callable[[int, int], None]


def score_concepts(
    source: PredictionSource,
    store: Store,
    *,
    split: str,
    protocol: str,
    key: str | None = None,
    missing: Missing | None = None,
    resize: Resize | None = None,
    lenient: bool = False,
    progress: Progress | None = None,
    resamples: int = 1000,
) -> tuple[ConceptReport, Coverage]:
    """Measures predicted instances on a split of a store.

    Predictions of one sentence are its instances, also without scores, which then count as certain. A pair without any
    is one for which nothing was predicted, as in the published code. Masks are read pair by pair.

    Args:
        source: The predictions.
        store: A store of images.
        split: The split, or `all`: the figures are then the means over the splits, as the benchmarks are reported.
        protocol: "cgf1" or "pbench".
        key: See `pick_key`.
        missing: `refuse` refuses pairs without a prediction; None and `empty` take them as "nothing".
        resize: "nearest" brings masks to the size of their image; PBench's own rule, so that it is taken there anyway.
        lenient: Leaves out predictions that cannot be read, and counts them.
        progress: Called with the numbers of pairs that are done and that there are.
        resamples: How often pairs are drawn again for the intervals; 0 for none.

    Raises:
        UsageError: The split or the key is unknown, or the options exclude each other.
        DataError: Predictions are broken, of a wrong size, or of no pair of the split.
    """
    if is_video_store(store):
        raise UsageError(f"{store.path} holds videos; {protocol} is of pictures")
    if missing == "skip":
        raise UsageError(
            f"{protocol} counts a pair without a prediction as 'nothing is there'; leave --missing skip out"
        )
    matches = match(source, store, split=split, key=key, lenient=lenient, instances=True)
    if len(matches.missing) and missing == "refuse":
        raise DataError(
            f"{source.path} has no prediction of {len(matches.missing):,} of the {len(matches.rows):,} pairs of the "
            f"split {split!r}: {sentence_names(store, matches.missing.tolist())}"
        )
    truth, broken, resized = ConceptTruth(store), Tally(), Tally()
    if protocol == PBENCH:
        resize = "nearest"
    rows = []
    for place, row in enumerate(matches.rows.tolist()):
        if truth.counts(row):
            sentence = store.sentence(row)
            image, ref = store.image(sentence.image), store.ref(sentence.ref)
            masks, scores = _instances(
                source,
                matches,
                place,
                size=(image.height, image.width),
                resize=resize,
                broken=broken if lenient else None,
                resized=resized,
            )
            found = concept_sample_of(
                masks, scores, truth.instances(row), protocol=protocol, dense=is_dense(protocol, ref.split)
            )
            rows.append(
                ConceptRow(
                    sample=row,
                    split=ref.split,
                    image_id=image.image_id,
                    sentence_id=sentence.sentence_id,
                    text=sentence.raw,
                    found=found,
                )
            )
        if progress is not None:
            progress(place + 1, len(matches.rows))
    if not rows:
        raise DataError(f"no pair of the split {split!r} of {store.path} counts, so there is nothing to measure")
    coverage = Coverage(
        path=source.path,
        kind=source.kind,
        key=matches.key.describe(),
        sha256=digest(source.path),
        predictions=matches.entries,
        matched=len(matches.rows) - len(matches.missing),
        missing=len(matches.missing),
        missing_as="empty",
        unknown=matches.unknown,
        broken=Tally(matches.broken.count + broken.count, [*matches.broken.first, *broken.first][:3]),
        united=0,
        resized=resized,
    )
    notes = tuple(
        note if not note.startswith("missing: ") else f"{note}, as published: nothing is predicted for them"
        for note in coverage.notes()
    )
    report = concept_report(rows, store, split=split, protocol=protocol, notes=notes, resamples=resamples)
    return report, coverage


def _instances(
    source: PredictionSource,
    matches: Matches,
    place: int,
    *,
    size: tuple[int, int],
    resize: Resize | None,
    broken: Tally | None,
    resized: Tally,
) -> tuple[list[RLE], list[float]]:
    """Returns the instances of a pair and their scores; what cannot be read is an error unless it is tallied."""
    masks: list[RLE] = []
    scores: list[float] = []
    for one in matches.of(place):
        where = source.where(one.position)
        try:
            written = source.mask(one.position, height=size[0], width=size[1])
            if written is None:
                continue
            mask, changed = checked(written, size=size, protocols=(), resize=resize)
        except WrongSizeError as error:
            raise DataError(f"{source.path}, {where}: {error}") from None
        except UnreadableMaskError as error:
            if broken is None:
                raise DataError(
                    f"{source.path}, {where}: {error}; mend it, or leave such predictions out with --lenient"
                ) from None
            broken.add(where)
            continue
        if changed:
            resized.add(where)
        masks.append(_encoded(mask))
        scores.append(1.0 if one.score is None else one.score)
    return masks, scores


def _encoded(mask: Mask) -> RLE:
    return mask if isinstance(mask, dict) else rle.encode(mask)
