"""Scores tracks that other tools predicted for pairs of video and phrase: cgF1 of SA-Co/VEval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from risctl.data.datasets.saco_veval.reader import pair_of
from risctl.data.store.clips import ClipRef
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError
from risctl.evaluation.concept_report import VIDEO, ConceptReport, concept_report
from risctl.evaluation.concept_rows import CGF1
from risctl.evaluation.report import Report
from risctl.evaluation.scoring.coverage import Coverage, Missing
from risctl.evaluation.scoring.matching import Tally
from risctl.evaluation.scoring.source import BrokenEntry, UnreadableMaskError, digest
from risctl.evaluation.scoring.track_source import KEY, TrackEntry, TrackSource
from risctl.evaluation.track_rows import counted_tracks, counting_tracks
from risctl.evaluation.video_report import MiddleFrame
from risctl.metrics.tracks import Track, united
from risctl.vision import rle

Progress = Callable[[int, int], None]


class PredictedTracks(MiddleFrame):
    """The predicted tracks of pairs, read pair by pair; shows each by the middle frame that has an instance.

    Attributes:
        broken: Tracks that could not be read.
        unknown: Tracks of no pair of the split.
        count: Tracks in the file.
    """

    def __init__(self, source: TrackSource, store: Store, *, split: str, lenient: bool) -> None:
        """Finds the tracks of each pair of a split.

        Raises:
            UsageError: The split is unknown, or joins several, whose ids are not distinct.
            DataError: A track is broken, without `lenient`, or none is of a pair of the split.
        """
        super().__init__(store)
        self.source, self._lenient = source, lenient
        refs = [self.clips.ref(row) for row in store.refs(split).tolist()]
        if len({store.ref(ref.row).split for ref in refs}) > 1:
            raise UsageError(
                f"the ids of videos are distinct within a file of annotations alone; name one of the splits with "
                f"--split: {', '.join(store.splits)}"
            )
        self.refs: dict[tuple[int, int], ClipRef] = {pair_of(ref.ref_id): ref for ref in refs}
        self.broken, self.unknown, self.count = Tally(), Tally(), 0
        self._entries: dict[tuple[int, int], list[TrackEntry]] = {}
        for one in source.tracks():
            self.count += 1
            if isinstance(one, BrokenEntry):
                self._break(one.where, one.problem)
            elif one.pair in self.refs:
                self._entries.setdefault(one.pair, []).append(one)
            else:
                self.unknown.add(f"video {one.pair[0]}, category {one.pair[1]}")
        if self.count and not self._entries and not self.broken.count:
            raise DataError(
                f"none of the {self.count:,} tracks of {source.path} is of the split {split!r} of {store.path}; it has "
                f"{self.unknown.text()}"
            )

    def missing(self) -> list[tuple[int, int]]:
        """Returns the pairs without a track."""
        return [pair for pair in self.refs if pair not in self._entries]

    def of(self, pair: tuple[int, int]) -> tuple[list[Track], list[float]]:
        """Returns the tracks of a pair and their scores. Raises `DataError` if one cannot be read and must be."""
        ref = self.refs[pair]
        image = self.clips.store.image(ref.frames[0])
        tracks: list[Track] = []
        scores: list[float] = []
        for one in self._entries.get(pair, ()):
            try:
                found = self.source.masks(one.position, frames=len(ref.frames), height=image.height, width=image.width)
            except UnreadableMaskError as error:
                self._break(self.source.where(one.position), str(error))
                continue
            tracks.append(found)
            scores.append(one.score)
        return tracks, scores

    def masks_of(self, sentences: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (row, bool mask (H, W)) of the sentences' middle frames: all tracks that count, united."""
        for row in sentences:
            ref, frame = self.ref_of(row), self.frame_of(row)
            kept = counting_tracks(*self.of(pair_of(ref.ref_id)))
            image = self.clips.store.image(frame)
            mask = united(kept).get(ref.frames.index(frame))
            yield row, np.zeros((image.height, image.width), dtype=bool) if mask is None else rle.decode(mask)

    def _break(self, where: str, problem: str) -> None:
        if not self._lenient:
            raise DataError(
                f"{self.source.path}, {where}: {problem}; mend it, or leave such predictions out with --lenient"
            )
        self.broken.add(where)


def score_tracks(
    source: TrackSource,
    store: Store,
    *,
    split: str,
    missing: Missing | None = None,
    strict: bool = False,
    lenient: bool = False,
    progress: Progress | None = None,
    resamples: int = 1000,
) -> tuple[ConceptReport, Coverage, PredictedTracks]:
    """Measures predicted tracks on a split of a store of SA-Co/VEval.

    A pair without any is one for which nothing was predicted, as in the published code. Tracks of pairs that were not
    asked are counted and left out; the published code takes each as a further, negative pair.

    Args:
        source: The predictions.
        store: The store.
        split: The split: a file of annotations.
        missing: `refuse` refuses pairs without a track; None and `empty` take them as "nothing".
        strict: Refuses tracks of no pair.
        lenient: Leaves out tracks that cannot be read, and counts them.
        progress: Called with the numbers of pairs that are done and that there are.
        resamples: How often pairs are drawn again for the intervals; 0 for none.

    Returns:
        The report, what was done with the predictions, and the tracks of each pair.

    Raises:
        UsageError: The split is unknown, or the options exclude each other.
        DataError: Predictions are broken, of a wrong size, or of no pair of the split.
    """
    if missing == "skip":
        raise UsageError("cgf1 counts a pair without a track as 'nothing is there'; leave --missing skip out")
    if strict and lenient:
        raise UsageError("--strict takes nothing that is broken; leave --lenient out")
    tracks = PredictedTracks(source, store, split=split, lenient=lenient)
    lacking = tracks.missing()
    if strict and tracks.unknown.count:
        raise DataError(f"{source.path}: {tracks.unknown.text()} tracks are of no pair of the split (--strict)")
    if lacking and missing == "refuse":
        named = ", ".join(f"video {video}, category {category}" for video, category in lacking[:3])
        raise DataError(
            f"{source.path} has no track of {len(lacking):,} of the {len(tracks.refs):,} pairs of the split {split!r}: "
            f"{named}; --missing empty takes them as 'nothing is there'"
        )
    rows = []
    for done, (pair, ref) in enumerate(tracks.refs.items(), start=1):
        rows.append(counted_tracks(tracks.clips, ref, ref.sentences[0], *tracks.of(pair)))
        if progress is not None:
            progress(done, len(tracks.refs))
    coverage = Coverage(
        path=source.path,
        kind=source.kind,
        key=KEY,
        sha256=digest(source.path),
        predictions=tracks.count,
        matched=len(tracks.refs) - len(lacking),
        missing=len(lacking),
        missing_as="empty",
        unknown=tracks.unknown,
        broken=tracks.broken,
        united=0,
    )
    notes = tuple(
        note if not note.startswith("missing: ") else f"{note}, as published: nothing is predicted for them"
        for note in coverage.notes()
    )
    report = concept_report(rows, store, split=split, protocol=CGF1, notes=notes, media=VIDEO, resamples=resamples)
    return report, coverage, tracks


def with_videos(report: Report, tracks: PredictedTracks) -> Report:
    """Returns the report of a page with the videos' names."""
    store = tracks.clips.store
    return replace(report, videos={store.image(ref.frames[0]).image_id: ref.video for ref in tracks.refs.values()})
