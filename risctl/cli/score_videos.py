"""`risctl score` on a store of videos: J and F."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.cli import console
from risctl.cli.report_option import write_reports

if TYPE_CHECKING:
    from risctl.data.store.reader import Store, TextField
    from risctl.evaluation.scoring.coverage import Missing
    from risctl.metrics.protocols import Protocol
    from risctl.output_files import OutputFiles


def score_videos(
    predictions: Path,
    store: Store,
    *,
    split: str,
    text_field: TextField,
    protocol: Protocol,
    missing: Missing,
    rows: Path | None,
    reports: Sequence[Path] | None,
    pictures: int,
    beside: bool,
    outputs: OutputFiles,
    as_json: bool,
) -> None:
    """Scores the masks of videos and prints their figures.

    Args:
        predictions: A folder or zip of VIDEO/EXPRESSION/FRAME.png, or a JSON file of videos.
        store: The store of videos.
        split: The split.
        text_field: The form of the text.
        protocol: The protocol of the figures.
        missing: What becomes of expressions that lack a frame.
        rows: A file for one JSON line per expression.
        reports: The files of the report.
        pictures: How many worst and how many best samples a page shows.
        beside: Whether the published figures stand beside.
        outputs: The guard of the command's output files.
        as_json: Whether the figures are printed as JSON.
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
        if beside:
            report = report.beside_published(trained)
        written: dict[str, Any] = {}
        if rows is not None:
            outputs.write_json_lines(rows, row_dicts(report, measured), allow_nan=True)
            console.say(f"rows: {rows}")
            written["rows"] = str(rows)
        about = {"data": str(store.path)}
        masks = SubmittedMasks(submission, store)
        written |= write_reports(
            reports,
            report,
            trained=trained,
            about=about,
            store=store,
            masks_of=masks.masks_of,
            image_of=masks.image_of,
            pictures=pictures,
            outputs=outputs,
        )
    finally:
        submission.close()
    result = {**about, **report.to_dict(), "coverage": coverage.to_dict(), **written}
    console.result(report.to_text(), data=result, as_json=as_json)
