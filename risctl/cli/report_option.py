"""`--report FILE`: an evaluation as a page, Markdown or JSON, the same wherever something is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console

if TYPE_CHECKING:
    import numpy as np

    from risctl.data.store.reader import Store
    from risctl.evaluation.report import Report
    from risctl.visualization.report.sample_images import Looked

ReportOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--report",
        help="Write the report to this file: .html (one page with the worst and best samples, to filter and sort), "
        ".md or .json. Can be given several times.",
        show_default=False,
    ),
]
PicturesOption = Annotated[
    int, typer.Option("--pictures", min=0, max=100, help="Worst and best samples shown on a page, each.")
]


def check_reports(paths: Sequence[Path] | None) -> None:
    """Raise `UsageError` for paths that no report could be written to, before anything is computed."""
    if paths:
        from risctl.visualization.report.files import check_report_paths

        check_report_paths(paths)


def write_reports(
    paths: Sequence[Path] | None,
    report: Report,
    *,
    about: Mapping[str, Any],
    store: Store,
    find: Callable[[Sequence[int]], Iterable[tuple[int, np.ndarray]]],
    look: Callable[[int], Looked] | None = None,
    pictures: int,
) -> dict[str, list[str]]:
    """Write the reports asked for; return {"reports": paths}, or nothing if there are none.

    find: yields (row, bool mask (H, W)) of what is found for the sentences of these rows; look: returns the picture of
    a row, by default the stored one.
    """
    if not paths:
        return {}
    from risctl.visualization.report.files import write_report
    from risctl.visualization.report.sample_images import listing_of, picture_samples

    listing, shown = None, []
    if any(path.suffix.lower() == ".html" for path in paths):
        listing = listing_of(report)
        shown = picture_samples(report, listing, store, find=find, look=look, each=pictures)
    for path in paths:
        write_report(path, report, about=about, pictures=shown, listing=listing)
        console.say(f"report: {path}")
    return {"reports": [str(path) for path in paths]}
