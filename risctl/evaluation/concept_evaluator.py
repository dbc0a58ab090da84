"""Evaluates a detector on pairs of picture and phrase: cgF1 and PBench's F1 of the instances that it detects."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from risctl.data.store.reader import Store
from risctl.distributed import failing_together, gather, rank_and_world_size
from risctl.errors import DataError, UsageError
from risctl.evaluation.concept_report import ConceptReport, concept_report
from risctl.evaluation.concept_rows import PBENCH, ConceptRow, ConceptTruth, counted, counting
from risctl.inference.encoded_image import encode, evaluation_mode, prepare
from risctl.metrics.concept import SCORE_THRESHOLD
from risctl.results import Detection
from risctl.systems.base import System
from risctl.systems.protocols import as_detector
from risctl.vision import rle

Progress = Callable[[int, int], None]

PBENCH_SCORE = 0.3
"""Detections count for PBench, which has no threshold of its own, from `Predictor.detect`'s default score on."""


@torch.inference_mode()
def evaluate_concepts(
    system: System,
    store: Store,
    *,
    split: str,
    protocol: str,
    limit: int | None = None,
    progress: Progress | None = None,
    resamples: int = 1000,
) -> ConceptReport:
    """Evaluates the instances that a system detects for each phrase of a split.

    A detector knows categories by name: a phrase that names none is one for which nothing is predicted, and is counted
    in the notes. With several processes, each evaluates a share of the pairs.

    Args:
        system: A detector.
        store: A store of images.
        split: The split, or `all`.
        protocol: "cgf1" or "pbench".
        limit: Evaluates the first so many pairs only.
        progress: Called with the numbers of pairs that are done and that there are.
        resamples: How often pairs are drawn again for the intervals; 0 for none.

    Raises:
        UsageError: The split is unknown, or the system detects nothing by name.
        DataError: No phrase of the split names a category of the system, or no pair counts.
    """
    as_detector(system)
    truth = ConceptTruth(store)
    every = [row for row in store.sentences(split).tolist()[:limit] if truth.counts(row)]
    if not every:
        raise DataError(f"no pair of the split {split!r} of {store.path} counts, so there is nothing to measure")
    rank, world = rank_and_world_size()
    own = every[rank::world]
    found: list[tuple[ConceptRow, bool]] = []
    with evaluation_mode(system), failing_together():
        for done, row in enumerate(own, start=1):
            sentence = store.sentence(row)
            detections = _detected(system, store, sentence.image, sentence.sent, protocol=protocol)
            masks = [one.segmentation for one in detections or ()]
            scores = [one.score for one in detections or ()]
            counts = counted(store, truth, row, masks, scores, protocol=protocol)
            found.append((counts, detections is not None))
            if progress is not None:
                progress(done, len(own))
    pairs = sorted((one for part in gather(found) for one in part), key=lambda one: one[0].sample)
    unknown = sum(not known for _, known in pairs)
    if unknown == len(pairs):
        raise DataError(
            f"none of the {len(pairs):,} phrases of the split {split!r} names a category that this model detects"
        )
    notes = []
    if unknown:
        notes.append(f"{unknown:,} phrases name no category of the model: nothing is predicted for them")
    if limit is not None:
        notes.append(f"limited: the first {limit:,} pairs of the split")
    if protocol == PBENCH:
        notes.append(f"detections with a score above {PBENCH_SCORE:g}")
    rows = [row for row, _ in pairs]
    return concept_report(rows, store, split=split, protocol=protocol, notes=notes, resamples=resamples)


@torch.inference_mode()
def detected_masks(
    system: System, store: Store, sentences: Sequence[int], *, protocol: str
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (row, bool mask (H, W)) of the sentences of these rows: all instances that count, united.

    Args:
        system: A detector.
        store: A store of images.
        sentences: Rows of sentences.
        protocol: "cgf1" or "pbench".
    """
    with evaluation_mode(system):
        for row in sentences:
            sentence = store.sentence(row)
            image = store.image(sentence.image)
            found = _detected(system, store, sentence.image, sentence.sent, protocol=protocol) or ()
            kept = counting([one.segmentation for one in found], [one.score for one in found], protocol=protocol)
            yield row, rle.decode(rle.union(kept)) if kept else np.zeros((image.height, image.width), dtype=bool)


def _detected(system: System, store: Store, image: int, phrase: str, *, protocol: str) -> list[Detection] | None:
    """Returns the instances of a phrase in the image of this row, None if the system knows no such category."""
    encoded = encode(system, prepare(system.preprocess, store.pixels(image)))
    least = PBENCH_SCORE if protocol == PBENCH else math.nextafter(SCORE_THRESHOLD, 0.0)
    try:
        return as_detector(system).detect(encoded.features, [[phrase]], geometry=encoded.geometry, min_score=least)
    except UsageError:
        return None
