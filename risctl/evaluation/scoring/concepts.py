"""Scores instances that other tools predicted for pairs of picture and phrase: cgF1 and PBench's F1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError
from risctl.evaluation.concept_report import ConceptReport, concept_report
from risctl.evaluation.concept_rows import PBENCH, ConceptTruth, counted, counting
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
    threshold: float | None = None,
    strict: bool = False,
    lenient: bool = False,
    progress: Progress | None = None,
    resamples: int = 1000,
) -> tuple[ConceptReport, Coverage, InstanceMasks]:
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
        threshold: For arrays of probabilities: an instance is where they exceed this.
        strict: Refuses pairs without a prediction, and predictions of no pair.
        lenient: Leaves out predictions that cannot be read, and counts them.
        progress: Called with the numbers of pairs that are done and that there are.
        resamples: How often pairs are drawn again for the intervals; 0 for none.

    Returns:
        The report, what was done with the predictions, and the masks of each pair.

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
    if strict and (lenient or resize or missing == "empty"):
        raise UsageError(
            "--strict takes nothing that is missing, broken or resized; leave --lenient, --missing and --resize out"
        )
    matches = match(source, store, split=split, key=key, lenient=lenient, instances=True)
    if strict and matches.unknown.count:
        raise DataError(f"{source.path}: {matches.unknown.text()} predictions are of no pair of the split (--strict)")
    if len(matches.missing) and (missing == "refuse" or strict):
        raise DataError(
            f"{source.path} has no prediction of {len(matches.missing):,} of the {len(matches.rows):,} pairs of the "
            f"split {split!r}: {sentence_names(store, matches.missing.tolist())}"
        )
    truth, broken = ConceptTruth(store), Tally()
    if protocol == PBENCH:
        resize = "nearest"
    instances = InstanceMasks(
        source,
        store,
        matches,
        protocol=protocol,
        resize=resize,
        threshold=threshold,
        broken=broken if lenient else None,
    )
    rows = []
    for place, row in enumerate(matches.rows.tolist()):
        if truth.counts(row):
            masks, scores = instances.of(place)
            rows.append(counted(store, truth, row, masks, scores, protocol=protocol))
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
        resized=instances.resized,
    )
    notes = tuple(
        note if not note.startswith("missing: ") else f"{note}, as published: nothing is predicted for them"
        for note in coverage.notes()
    )
    report = concept_report(rows, store, split=split, protocol=protocol, notes=notes, resamples=resamples)
    return report, coverage, instances


class InstanceMasks:
    """The predicted instances of pairs, read one by one: what is counted, and what the pictures of a report show.

    Attributes:
        resized: The masks that were resized.
    """

    def __init__(
        self,
        source: PredictionSource,
        store: Store,
        matches: Matches,
        *,
        protocol: str,
        resize: Resize | None,
        threshold: float | None,
        broken: Tally | None,
    ) -> None:
        self._source, self._store, self._matches = source, store, matches
        self._protocol, self._resize, self._threshold, self._broken = protocol, resize, threshold, broken
        self.resized = Tally()

    def of(self, place: int) -> tuple[list[RLE], list[float]]:
        """Returns the instances of a pair, by its place among those of the split, and their scores.

        What cannot be read is an error unless it is tallied.
        """
        image = self._store.image(self._store.sentence(int(self._matches.rows[place])).image)
        size = (image.height, image.width)
        masks: list[RLE] = []
        scores: list[float] = []
        for one in self._matches.of(place):
            where = self._source.where(one.position)
            try:
                written = self._source.mask(one.position, height=size[0], width=size[1])
                if written is None:
                    continue
                mask, changed = checked(
                    written, size=size, protocols=(), resize=self._resize, threshold=self._threshold
                )
            except WrongSizeError as error:
                raise DataError(f"{self._source.path}, {where}: {error}") from None
            except UnreadableMaskError as error:
                if self._broken is None:
                    raise DataError(
                        f"{self._source.path}, {where}: {error}; mend it, or leave such predictions out with --lenient"
                    ) from None
                self._broken.add(where)
                continue
            if changed:
                self.resized.add(where)
            masks.append(_encoded(mask))
            scores.append(1.0 if one.score is None else one.score)
        return masks, scores

    def masks_of(self, sentences: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (row, bool mask (H, W)) of the sentences of these rows: all instances that count, united."""
        places = {int(row): place for place, row in enumerate(self._matches.rows)}
        for row in sentences:
            kept = counting(*self.of(places[row]), protocol=self._protocol)
            image = self._store.image(self._store.sentence(row).image)
            empty = np.zeros((image.height, image.width), dtype=bool)
            yield row, rle.decode(rle.union(kept)) if kept else empty


def _encoded(mask: Mask) -> RLE:
    return mask if isinstance(mask, dict) else rle.encode(mask)
