"""Counts pairs of video and phrase: true tracks, predicted ones, and the hits among them, as SA-Co/VEval does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from risctl.data.store.clips import ClipRef, ClipStore
from risctl.evaluation.concept_rows import ConceptRow
from risctl.metrics.concept import SCORE_THRESHOLD, concept_sample
from risctl.metrics.rows import Facts
from risctl.metrics.tracks import Track, overlap_of, track_ious, united
from risctl.vision import rle


def true_tracks(clips: ClipStore, ref: ClipRef) -> list[Track]:
    """Returns the tracks of a pair, by the place of the frame in its video: a category of the store is a track."""
    categories = clips.store.numbers("annotations/category")
    places = {frame: place for place, frame in enumerate(ref.frames)}
    tracks: dict[int, dict[int, rle.RLE]] = {}
    for frame, rows in ref.annotations.items():
        for row in rows:
            tracks.setdefault(int(categories[row]), {})[places[frame]] = clips.store.annotation(row).mask
    return [tracks[number] for number in sorted(tracks)]


def counting_tracks(tracks: Sequence[Track], scores: Sequence[float]) -> list[Track]:
    """Returns the predicted tracks that count."""
    return [track for track, score in zip(tracks, scores, strict=True) if score >= SCORE_THRESHOLD]


def counted_tracks(
    clips: ClipStore, ref: ClipRef, sentence: int, tracks: Sequence[Track], scores: Sequence[float]
) -> ConceptRow:
    """Returns the row of a pair.

    Args:
        clips: A store of videos with tracks.
        ref: The pair.
        sentence: The row of its sentence.
        tracks: The predicted tracks.
        scores: Their scores.
    """
    one = clips.store.sentence(sentence)
    kept, truth = counting_tracks(tracks, scores), true_tracks(clips, ref)
    whole = united(truth)
    intersection, union, predicted = overlap_of(united(kept), whole)
    shares = [rle.area(mask) / (mask["size"][0] * mask["size"][1]) for mask in whole.values()]
    return ConceptRow(
        sample=sentence,
        split=clips.store.ref(ref.row).split,
        image_id=clips.store.image(ref.frames[0]).image_id,
        ref_id=ref.ref_id,
        sentence_id=one.sentence_id,
        text=one.raw,
        abilities=one.abilities,
        found=concept_sample(track_ious(kept, truth)),
        # The area is the mean over the frames that show an instance.
        facts=Facts(targets=len(truth), area=float(np.mean(shares)) if shares else 0.0),
        intersection=intersection,
        union=union,
        predicted=predicted,
    )
