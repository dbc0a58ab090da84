"""The options `--report` and `--pictures` of every command that evaluates, and what they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console

if TYPE_CHECKING:
    import numpy as np

    from risctl.data.store.reader import Store
    from risctl.evaluation.published.beside import Trained
    from risctl.evaluation.report import Report
    from risctl.evaluation.sample_image import SampleImage
    from risctl.output_files import OutputFiles

ReportOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--report",
        "-r",
        help="Write a report to this file: .html (a page with the worst and best samples, which filters and sorts), "
        ".md or .json; may be repeated.",
        show_default=False,
    ),
]
PicturesOption = Annotated[
    int, typer.Option("--pictures", min=0, max=100, help="How many worst and how many best samples the page shows.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What a command that evaluates prints and writes.

    Attributes:
        rows: A file for one JSON line per sample.
        reports: The files of the report.
        pictures: How many worst and how many best samples a page shows.
        beside: Whether the published figures stand beside.
        outputs: The guard of the command's output files.
        as_json: Whether the figures are printed as JSON.
    """

    rows: Path | None
    reports: Sequence[Path] | None
    pictures: int
    beside: bool
    outputs: OutputFiles
    as_json: bool


def claim_outputs(
    *,
    inputs: Iterable[Path | None],
    overwrite: bool,
    reports: Sequence[Path] | None = None,
    others: Iterable[Path | None] = (),
) -> OutputFiles:
    """Checks the files that a command is to write before anything is computed.

    Args:
        inputs: Files that the command reads.
        overwrite: Whether files that are there already may be replaced.
        reports: The files of `--report`.
        others: Further files to write; None is ignored.

    Returns:
        The guard to write them through.

    Raises:
        UsageError: A report has an unknown ending, or a file is an input, is named twice, or is there already.
    """
    from risctl.output_files import OutputFiles

    if reports:
        from risctl.visualization.report.files import check_report_paths

        check_report_paths(reports)
    outputs = OutputFiles(inputs=inputs, overwrite=overwrite)
    for path in (*(reports or ()), *others):
        outputs.claim(path)
    return outputs


def write_reports(
    paths: Sequence[Path] | None,
    report: Report,
    *,
    trained: Trained,
    about: Mapping[str, Any],
    store: Store,
    masks_of: Callable[[Sequence[int]], Iterable[tuple[int, np.ndarray]]],
    image_of: Callable[[int], SampleImage] | None = None,
    pictures: int,
    outputs: OutputFiles,
) -> dict[str, list[str]]:
    """Writes the requested reports.

    Args:
        paths: Their files; None or empty for no report.
        report: The evaluation. Published figures stand beside its own wherever there are any.
        trained: What is known of the model.
        about: Further facts to state, such as the model.
        store: The store of the samples.
        masks_of: Yields (row, predicted bool mask (H, W)) of the sentences of the given rows.
        image_of: Returns the image of a row; by default the stored one.
        pictures: How many worst and how many best samples a page shows.
        outputs: The guard of the command's output files.

    Returns:
        {"reports": paths}, or an empty dict without reports.
    """
    if not paths:
        return {}
    from risctl.visualization.report.files import write_report
    from risctl.visualization.report.sample_images import image_samples, listing_of

    if report.published is None:
        beside = report.beside_published(trained)
        report = beside if beside.published is not None and beside.published.rows else report
    listing, shown = None, []
    if any(path.suffix.lower() == ".html" for path in paths):
        listing = listing_of(report)
        shown = image_samples(report, listing, store, masks_of=masks_of, image_of=image_of, each=pictures)
    for path in paths:
        write_report(path, report, about=about, pictures=shown, listing=listing, outputs=outputs)
        console.say(f"report: {path}")
    return {"reports": [str(path) for path in paths]}
