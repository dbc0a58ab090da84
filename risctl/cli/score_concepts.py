"""`risctl score` by cgf1 or pbench: instances of a phrase."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.cli import console

if TYPE_CHECKING:
    from risctl.data.store.reader import Store
    from risctl.evaluation.concept_report import ConceptReport
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
    lenient: bool,
    rows: Path | None,
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
        lenient: Whether predictions that cannot be read are left out.
        rows: A file for one JSON line per pair.
        outputs: The guard of the command's output files.
        as_json: Whether the figures are printed as JSON.
    """
    from risctl.evaluation.scoring.concepts import score_concepts
    from risctl.evaluation.scoring.open_source import open_predictions

    source = open_predictions(predictions)
    try:
        console.say(f"{predictions}, {source.kind}, on {store.path}, split {split}")
        with console.counting("score") as progress:
            report, coverage = score_concepts(
                source,
                store,
                split=split,
                protocol=protocol,
                key=key,
                missing=missing,
                resize=resize,
                lenient=lenient,
                progress=progress,
            )
    finally:
        source.close()
    told = f"predictions {coverage.describe()}"
    print_concepts(
        report,
        data={"data": str(store.path), "coverage": coverage.to_dict()},
        told=told,
        rows=rows,
        outputs=outputs,
        as_json=as_json,
    )


def print_concepts(
    report: ConceptReport, *, data: dict[str, Any], told: str, rows: Path | None, outputs: OutputFiles, as_json: bool
) -> None:
    """Prints a report, and writes its rows.

    Args:
        report: The report.
        data: What was measured on what, for the JSON.
        told: The same for the text.
        rows: A file for one JSON line per pair.
        outputs: The guard of the command's output files.
        as_json: Whether the figures are printed as JSON.
    """
    from risctl.evaluation.concept_report import row_dicts

    if rows is not None:
        outputs.write_json_lines(rows, row_dicts(report))
        console.say(f"rows: {rows}")
        data = {**data, "rows": str(rows)}
    console.result(f"{told}\n{report.to_text()}", data={**data, **report.to_dict()}, as_json=as_json)
