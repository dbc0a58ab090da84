"""Writes a report as JSON, Markdown or one HTML page, by the file's ending."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from risctl import __version__
from risctl.errors import UsageError
from risctl.evaluation.report import Report
from risctl.metrics.figures import has_iou, sample_ious
from risctl.output_files import OutputFiles
from risctl.visualization.report.markdown import render_markdown
from risctl.visualization.report.page import render_page
from risctl.visualization.report.sample_images import listing_of, worst_and_best
from risctl.visualization.report.samples import IllustratedSample, Listing

ENDINGS = (".html", ".md", ".json")
LISTED_IN_TEXT = 12
"""How many worst, and how many best samples JSON and Markdown list."""


def check_report_paths(paths: Iterable[Path]) -> None:
    """Raises `UsageError` for a path whose ending names no form of report, or for one that is named twice."""
    named: set[Path] = set()
    for path in paths:
        if path.suffix.lower() not in ENDINGS:
            raise UsageError(f"a report is {', '.join(ENDINGS)}, by the ending of its name; got {path}")
        if path.absolute() in named:
            raise UsageError(f"{path} is named twice; each report needs a file of its own")
        named.add(path.absolute())


def write_report(
    path: Path,
    report: Report,
    *,
    about: Mapping[str, Any],
    pictures: Sequence[IllustratedSample] = (),
    listing: Listing | None = None,
    outputs: OutputFiles | None = None,
) -> None:
    """Writes `report` to `path`, whole or not at all.

    Args:
        path: A file that ends in .html, .md or .json.
        report: The evaluation.
        about: Further facts to state before the rest, such as "model" and "data".
        pictures: For a page: samples with images.
        listing: For a page: the samples that are listed; by default those of `listing_of`.
        outputs: The guard of the command's output files.

    Raises:
        UsageError: Another ending.
        DataError: The file cannot be written.
        MachineError: The disk is full or fails.
    """
    check_report_paths([path])
    data = {**about, "written_by": f"risctl {__version__}", **report.to_dict(), **_extremes(report)}
    if path.suffix.lower() == ".html":
        content = render_page(data, listing=listing_of(report) if listing is None else listing, pictures=pictures)
    elif path.suffix.lower() == ".md":
        content = render_markdown(data)
    else:
        content = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    (outputs or OutputFiles()).write_text(path, content)


def _extremes(report: Report) -> dict[str, list[dict[str, Any]]]:
    """Returns the worst and the best samples under the first protocol, ready for JSON; null where there is no IoU."""
    result = next(iter(report.results.values()))
    rows = result.rows
    iou, known = sample_ious(rows, result.protocol), has_iou(rows, result.protocol)
    at = {int(key): position for position, key in enumerate(rows.key)}

    def records(keys: Sequence[int]) -> list[dict[str, Any]]:
        samples = [
            {"sample": key, "iou": round(float(iou[at[key]]), 5) if known[at[key]] else None, **rows.ids(at[key])}
            for key in keys
        ]
        return [
            sample | {"video": report.videos[sample["image_id"]]} if report.videos else sample for sample in samples
        ]

    worst, best = worst_and_best(result, each=LISTED_IN_TEXT)
    return {"worst": records(worst), "best": records(best)}
