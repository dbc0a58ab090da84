"""`risctl score` by cgf1 or pbench: instances of a phrase, in pictures or as tracks through videos."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.cli import console
from risctl.cli.report_option import Results, write_reports

if TYPE_CHECKING:
    import numpy as np

    from risctl.data.store.reader import Store
    from risctl.evaluation.concept_report import ConceptReport
    from risctl.evaluation.report import Report
    from risctl.evaluation.sample_image import SampleImage
    from risctl.evaluation.scoring.coverage import Missing
    from risctl.evaluation.scoring.masks import Resize


def score_instances(
    predictions: Path,
    store: Store,
    *,
    split: str,
    protocol: str,
    key: str | None,
    missing: Missing | None,
    resize: Resize | None,
    threshold: float | None,
    strict: bool,
    lenient: bool,
    results: Results,
) -> None:
    """Scores instances and prints their figures.

    Args:
        predictions: The predictions.
        store: A store of images.
        split: The split.
        protocol: "cgf1" or "pbench".
        key: What names the pairs; None takes the first that the predictions have.
        missing: Whether pairs without a prediction are refused.
        resize: How masks of another size are brought to that of their image.
        threshold: For arrays of probabilities: an instance is where they exceed this.
        strict: Whether missing and unknown predictions are refused.
        lenient: Whether predictions that cannot be read are left out.
        results: What is printed and written.
    """
    from risctl.evaluation.scoring.concepts import score_concepts
    from risctl.evaluation.scoring.open_source import open_predictions

    began = time.monotonic()
    source = open_predictions(predictions)
    try:
        console.say(f"{predictions}, {source.kind}, on {store.path}, split {split}")
        with console.counting("score") as progress:
            report, coverage, masks = score_concepts(
                source,
                store,
                split=split,
                protocol=protocol,
                key=key,
                missing=missing,
                resize=resize,
                threshold=threshold,
                strict=strict,
                lenient=lenient,
                progress=progress,
            )
        page = None
        if results.reports or results.beside:
            from risctl.evaluation.concept_page import page_report

            page = page_report(report, store, seconds=time.monotonic() - began, predictions=coverage.describe())
        print_concepts(
            report,
            data={"data": str(store.path), "coverage": coverage.to_dict()},
            told=f"predictions {coverage.describe()}",
            page=page,
            store=store,
            masks_of=masks.masks_of,
            results=results,
        )
    finally:
        source.close()


def score_tracks_of(
    predictions: Path,
    store: Store,
    *,
    split: str,
    missing: Missing | None,
    strict: bool,
    lenient: bool,
    results: Results,
) -> None:
    """Scores tracks on a store of SA-Co/VEval and prints their figures; see `score_instances`."""
    from risctl.evaluation.scoring.track_source import TrackSource
    from risctl.evaluation.scoring.tracks import score_tracks, with_videos

    began = time.monotonic()
    source = TrackSource(predictions)
    try:
        console.say(f"{predictions}, {source.kind}, on {store.path}, split {split}")
        with console.counting("score") as progress:
            report, coverage, tracks = score_tracks(
                source, store, split=split, missing=missing, strict=strict, lenient=lenient, progress=progress
            )
        page = None
        if results.reports or results.beside:
            from risctl.evaluation.concept_page import page_report

            page = page_report(report, store, seconds=time.monotonic() - began, predictions=coverage.describe())
            page = with_videos(page, tracks)
        print_concepts(
            report,
            data={"data": str(store.path), "coverage": coverage.to_dict()},
            told=f"predictions {coverage.describe()}",
            page=page,
            store=store,
            masks_of=tracks.masks_of,
            image_of=tracks.image_of,
            results=results,
        )
    finally:
        source.close()


def print_concepts(
    report: ConceptReport,
    *,
    data: dict[str, Any],
    told: str,
    page: Report | None,
    store: Store,
    masks_of: Callable[[Sequence[int]], Iterable[tuple[int, np.ndarray]]],
    image_of: Callable[[int], SampleImage] | None = None,
    results: Results,
) -> None:
    """Prints a report, and writes its rows and its pages.

    Args:
        report: The report.
        data: What was measured on what, for the JSON.
        told: The same for the text.
        page: The report with breakdowns, where it is asked for.
        store: The store of the pairs.
        masks_of: Yields (row, predicted bool mask (H, W)) of the sentences of the given rows.
        image_of: Returns the image of a row; by default the stored one.
        results: What is printed and written.
    """
    from risctl.evaluation.concept_report import row_dicts
    from risctl.evaluation.published.beside import Trained

    text = f"{told}\n{report.to_text()}"
    if results.rows is not None:
        results.outputs.write_json_lines(results.rows, row_dicts(report))
        console.say(f"rows: {results.rows}")
        data = {**data, "rows": str(results.rows)}
    if page is not None:
        trained = Trained(system="", weights="unknown", data="unknown")
        if results.beside:
            page = page.beside_published(trained)
        if page.published is not None:
            text = f"{text}\n\n{page.published.to_text()}"
            data = {**data, "published": page.published.to_dict()}
        about: dict[str, Any] = {name: data[name] for name in ("model", "data") if name in data}
        data |= write_reports(
            results.reports,
            page,
            trained=trained,
            about=about,
            store=store,
            masks_of=masks_of,
            image_of=image_of,
            pictures=results.pictures,
            outputs=results.outputs,
        )
    console.result(text, data={**data, **report.to_dict()}, as_json=results.as_json)
