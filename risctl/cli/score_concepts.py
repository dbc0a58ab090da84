"""`risctl score` by cgf1 or pbench: instances of a phrase, in pictures or as tracks through videos."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.cli import console
from risctl.cli.report_option import write_reports

if TYPE_CHECKING:
    import numpy as np

    from risctl.data.store.reader import Store
    from risctl.evaluation.concept_report import ConceptReport
    from risctl.evaluation.report import Report
    from risctl.evaluation.sample_image import SampleImage
    from risctl.evaluation.scoring.coverage import Missing
    from risctl.evaluation.scoring.masks import Resize
    from risctl.output_files import OutputFiles


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
    rows: Path | None,
    reports: Sequence[Path] | None,
    pictures: int,
    beside: bool,
    outputs: OutputFiles,
    as_json: bool,
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
        rows: A file for one JSON line per pair.
        reports: The files of the report.
        pictures: How many worst and how many best pairs a page shows.
        beside: Whether the published figures stand beside.
        outputs: The guard of the command's output files.
        as_json: Whether the figures are printed as JSON.
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
        told = f"predictions {coverage.describe()}"
        page = None
        if reports or beside:
            from risctl.evaluation.concept_page import page_report

            page = page_report(report, store, seconds=time.monotonic() - began, predictions=coverage.describe())
        print_concepts(
            report,
            data={"data": str(store.path), "coverage": coverage.to_dict()},
            told=told,
            rows=rows,
            page=page,
            store=store,
            masks_of=masks.masks_of,
            reports=reports,
            pictures=pictures,
            beside=beside,
            outputs=outputs,
            as_json=as_json,
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
    rows: Path | None,
    reports: Sequence[Path] | None,
    pictures: int,
    beside: bool,
    outputs: OutputFiles,
    as_json: bool,
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
        if reports or beside:
            from risctl.evaluation.concept_page import page_report

            page = page_report(report, store, seconds=time.monotonic() - began, predictions=coverage.describe())
            page = with_videos(page, tracks)
        print_concepts(
            report,
            data={"data": str(store.path), "coverage": coverage.to_dict()},
            told=f"predictions {coverage.describe()}",
            rows=rows,
            page=page,
            store=store,
            masks_of=tracks.masks_of,
            image_of=tracks.image_of,
            reports=reports,
            pictures=pictures,
            beside=beside,
            outputs=outputs,
            as_json=as_json,
        )
    finally:
        source.close()


def print_concepts(
    report: ConceptReport,
    *,
    data: dict[str, Any],
    told: str,
    rows: Path | None,
    page: Report | None,
    store: Store,
    masks_of: Callable[[Sequence[int]], Iterable[tuple[int, np.ndarray]]],
    image_of: Callable[[int], SampleImage] | None = None,
    reports: Sequence[Path] | None,
    pictures: int,
    beside: bool,
    outputs: OutputFiles,
    as_json: bool,
) -> None:
    """Prints a report, and writes its rows and its pages.

    Args:
        report: The report.
        data: What was measured on what, for the JSON.
        told: The same for the text.
        rows: A file for one JSON line per pair.
        page: The report with breakdowns, where it is asked for.
        store: The store of the pairs.
        masks_of: Yields (row, predicted bool mask (H, W)) of the sentences of the given rows.
        image_of: Returns the image of a row; by default the stored one.
        reports: The files of the report.
        pictures: How many worst and how many best pairs a page shows.
        beside: Whether the published figures stand beside.
        outputs: The guard of the command's output files.
        as_json: Whether the figures are printed as JSON.
    """
    from risctl.evaluation.concept_report import row_dicts
    from risctl.evaluation.published.beside import Trained

    text = f"{told}\n{report.to_text()}"
    if rows is not None:
        outputs.write_json_lines(rows, row_dicts(report))
        console.say(f"rows: {rows}")
        data = {**data, "rows": str(rows)}
    if page is not None:
        trained = Trained(system="", weights="unknown", data="unknown")
        if beside:
            page = page.beside_published(trained)
        if page.published is not None:
            text = f"{text}\n\n{page.published.to_text()}"
            data = {**data, "published": page.published.to_dict()}
        about: dict[str, Any] = {name: data[name] for name in ("model", "data") if name in data}
        data |= write_reports(
            reports,
            page,
            trained=trained,
            about=about,
            store=store,
            masks_of=masks_of,
            image_of=image_of,
            pictures=pictures,
            outputs=outputs,
        )
    console.result(text, data={**data, **report.to_dict()}, as_json=as_json)
