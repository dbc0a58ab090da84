"""`risctl compare`: two or more evaluations, sample by sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption

EXAMPLE = "Example: risctl compare a.jsonl b.jsonl --report comparison.html"

app = typer.Typer()


@app.command("compare", epilog=EXAMPLE)
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_A RUN_B",
            help="Rows that `risctl eval --rows` wrote: the file, the JSON report that names it, or a folder with "
            "rows.jsonl. Each further run is compared with the first.",
            show_default=False,
        ),
    ],
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol", "-p", help="Under which protocol. Default: the first that all have.", show_default=False
        ),
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            "--report",
            "-r",
            help="Write it to this file too: .md, .html or .json; may be repeated.",
            show_default=False,
        ),
    ] = None,
    flips: Annotated[int, typer.Option("--flips", min=0, help="How many flipped samples are printed each way.")] = 10,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Of the images, for the intervals.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the resamples.")] = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare evaluations sample by sample, with confidence intervals of the differences.

    Differences are paired, with 95% intervals from resampled images. Beside the figures it tells which breakdowns
    changed beyond their interval, and the samples that are right in one run and wrong in the other at IoU .5.

    Runs must be of the same data, split, texts, protocol, threshold and samples; what differs is told.
    """
    from risctl.evaluation.comparison import compare_runs
    from risctl.evaluation.saved_rows import read_run
    from risctl.files import replacing
    from risctl.visualization.comparison import as_text
    from risctl.visualization.report.files import check_report_paths

    check_report_paths(report or ())
    with console.quiet_if(quiet):
        read = [read_run(path) for path in runs]
        console.say(f"{len(read)} runs, {', '.join(str(run.path) for run in read)}")
        data = compare_runs(read, protocol=protocol, resamples=resamples, seed=seed).to_dict()
        for path in report or ():
            with replacing(path) as beside:
                beside.write_text(_written(data, path.suffix.lower()), encoding="utf-8", newline="\n")
            console.say(f"report: {path}")
        console.result(as_text(data, flips=flips), data=data, as_json=as_json)


def _written(data: dict[str, object], ending: str) -> str:
    if ending == ".json":
        import json

        return json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    if ending == ".md":
        from risctl.visualization.comparison import as_markdown

        return as_markdown(data)
    from risctl.visualization.report.comparison_page import as_page

    return as_page(data)
