"""`risctl score` on a store of videos: J and F."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.cli import console
from risctl.cli.report_option import Results, write_reports

if TYPE_CHECKING:
    from risctl.data.store.reader import Store, TextField
    from risctl.evaluation.scoring.coverage import Missing
    from risctl.metrics.protocols import Protocol


def score_videos(
    predictions: Path,
    store: Store,
    *,
    split: str,
    text_field: TextField,
    protocol: Protocol,
    missing: Missing,
    results: Results,
) -> None:
    """Scores the masks of videos and prints their figures.

    Args:
        predictions: A folder or zip of VIDEO/EXPRESSION/FRAME.png, or a JSON file of videos.
        store: The store of videos.
        split: The split.
        text_field: The form of the text.
        protocol: The protocol of the figures.
        missing: What becomes of expressions that lack a frame.
        results: What is printed and written.
    """
    from risctl.evaluation.published.beside import Trained
    from risctl.evaluation.scoring.video_submission import SubmittedMasks, open_video_masks, score_submission
    from risctl.evaluation.video_report import row_dicts

    submission = open_video_masks(predictions)
    try:
        console.say(f"{predictions}, {submission.kind}, on {store.path}, split {split}")
        with console.counting("score") as progress:
            report, coverage, measured = score_submission(
                submission,
                store,
                split=split,
                text_field=text_field,
                missing=missing,
                protocol=protocol,
                progress=progress,
            )
        trained = Trained(system="", weights="unknown: another tool's predictions", data="unknown")
        if results.beside:
            report = report.beside_published(trained)
        written: dict[str, Any] = {}
        if results.rows is not None:
            results.outputs.write_json_lines(results.rows, row_dicts(report, measured), allow_nan=True)
            console.say(f"rows: {results.rows}")
            written["rows"] = str(results.rows)
        about = {"data": str(store.path)}
        masks = SubmittedMasks(submission, store)
        written |= write_reports(
            results.reports,
            report,
            trained=trained,
            about=about,
            store=store,
            masks_of=masks.masks_of,
            image_of=masks.image_of,
            pictures=results.pictures,
            outputs=results.outputs,
        )
    finally:
        submission.close()
    figures = {**about, **report.to_dict(), "coverage": coverage.to_dict(), **written}
    console.result(report.to_text(), data=figures, as_json=results.as_json)
