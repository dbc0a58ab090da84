"""Judges a file of predictions on any store: of images, of instances, or of videos."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from risctl.data.datasets.registry import DATASETS
from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store
from risctl.errors import UsageError
from risctl.evaluation.concept_page import page_report
from risctl.evaluation.concept_report import concept_protocol_of
from risctl.evaluation.expression_rows import video_protocol_of
from risctl.evaluation.report import Report
from risctl.evaluation.scoring.concepts import score_concepts
from risctl.evaluation.scoring.coverage import Missing
from risctl.evaluation.scoring.masks import Resize
from risctl.evaluation.scoring.open_source import open_predictions
from risctl.evaluation.scoring.score import score_predictions
from risctl.evaluation.scoring.track_source import TrackSource
from risctl.evaluation.scoring.tracks import score_tracks, with_videos
from risctl.evaluation.scoring.video_submission import open_video_masks, score_submission
from risctl.metrics.protocols import PROTOCOLS, Protocol, get_protocols

ORIGINAL = "original"


def score(
    predictions: str | Path,
    data: str | Path,
    *,
    split: str = "val",
    protocol: str | None = None,
    key: str | None = None,
    missing: Missing | None = None,
    resize: Resize | None = None,
    threshold: float | None = None,
    strict: bool = False,
    lenient: bool = False,
) -> Report:
    """Judges masks that any other tool wrote, as `evaluate` judges a model.

    Args:
        predictions: COCO results (.json), JSON Lines with `segmentation`, a folder or zip of PNG files named after the
            expressions, or a .npz of such arrays; of videos a folder or zip of VIDEO/EXPRESSION/FRAME.png, a JSON
            file of videos, or tracks as SAM 3 writes them.
        data: A store.
        split: A split of the store, or `all`.
        protocol: Names of protocols between commas; of instances (`cgf1`, `pbench`) or videos (`videos`, `mevis`,
            `long_rvos`, `ref_sav`) one alone. None takes the one that papers use on the dataset, or `original`.
        key: What names the expressions: `sent_id`, `ref_id` (with `sent_index`), `text` (with `image_id`), `file_name`
            (with `text`) or `image_id`; None takes the first of them that the predictions have.
        missing: `refuse`, `empty` or `skip`: what becomes of sentences without a prediction. None refuses them, or
            takes them as empty masks with `lenient`; of instances they are pairs for which nothing was predicted.
        resize: `nearest` brings masks of another size to that of their image, if its shape is the same to a pixel.
        threshold: For arrays of probabilities: the mask is where they exceed this.
        strict: Refuses unknown predictions, several of a sentence, and masks that are empty.
        lenient: Counts predictions that cannot be read as missing.

    Returns:
        The report, as `evaluate` returns it.

    Raises:
        UsageError: A name is unknown, or the options exclude each other or do not go with the store.
        DataError: Predictions are missing, broken, ambiguous, of a wrong size, or of no sentence of the split.

    Example:
        >>> report = risctl.score("masks.jsonl", "data.h5", split="val", protocol="original,lavt")
        >>> list(report.results)
        ['original', 'lavt']
    """
    began = time.monotonic()
    with Store(data) as store:
        if is_video_store(store):
            if concept_protocol_of(store, protocol) is not None and key is resize is threshold is None:
                track_source = TrackSource(Path(predictions))
                try:
                    counted, coverage, tracks = score_tracks(
                        track_source, store, split=split, missing=missing, strict=strict, lenient=lenient
                    )
                    seconds = time.monotonic() - began
                    return with_videos(
                        page_report(counted, store, seconds=seconds, predictions=coverage.describe()), tracks
                    )
                finally:
                    track_source.close()
            if key is not None or resize is not None or threshold is not None or strict or lenient:
                raise UsageError(
                    "masks of videos are named by video, expression and frame; of these options, missing "
                    "alone is for them"
                )
            submission = open_video_masks(Path(predictions))
            try:
                return score_submission(
                    submission,
                    store,
                    split=split,
                    missing=missing or "refuse",
                    protocol=video_protocol_of(store, protocol),
                )[0]
            finally:
                submission.close()
        concepts = concept_protocol_of(store, protocol)
        options: dict[str, Any] = {
            "split": split,
            "key": key,
            "missing": missing,
            "resize": resize,
            "threshold": threshold,
            "strict": strict,
            "lenient": lenient,
        }
        source = open_predictions(Path(predictions))
        try:
            if concepts is None:
                return score_predictions(source, store, protocols=protocols_of(store, protocol), **options)[0]
            found, coverage, _ = score_concepts(source, store, protocol=concepts, **options)
            return page_report(found, store, seconds=time.monotonic() - began, predictions=coverage.describe())
        finally:
            source.close()


def protocols_of(store: Store, names: str | None) -> tuple[Protocol, ...]:
    """Returns the protocols of masks called `names`, or the one by which papers measure on the store's dataset.

    Raises:
        UsageError: A name is unknown.
    """
    if names is not None:
        return get_protocols(names)
    dataset = DATASETS.get(store.name)
    return get_protocols(dataset.protocol if dataset is not None and dataset.protocol in PROTOCOLS else ORIGINAL)
