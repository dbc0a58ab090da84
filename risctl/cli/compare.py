"""`risctl compare`: compares two or more evaluations sample by sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption
from risctl.cli.report_option import claim_outputs

EXAMPLE = "Example: risctl compare a.jsonl b.jsonl --report comparison.html"

app = typer.Typer()


@app.command("compare", epilog=EXAMPLE)
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_A RUN_B",
            help="Rows written by `risctl eval --rows`: the file, the JSON report that names it, or a folder with "
            "rows.jsonl. Each further run is compared with the first.",
            show_default=False,
        ),
    ],
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            "-p",
            help="The protocol to compare under. Default: the first that all runs have.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            "--report",
            "-r",
            help="Also write the comparison to this file: .md, .html or .json; may be repeated.",
            show_default=False,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    flips: Annotated[
        int, typer.Option("--flips", min=0, help="How many gained and how many lost samples are printed.")
    ] = 10,
    resamples: Annotated[
        int, typer.Option("--resamples", min=100, help="Bootstrap resamples of the images, for the intervals.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the resamples.")] = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare evaluations sample by sample, with confidence intervals of the differences.

    Differences are paired; their 95% intervals come from resampled images. The output also names the breakdowns that
    changed beyond their interval, and the samples that are right in one run and wrong in the other at IoU 0.5.

    Runs must be of the same data, split, texts, protocol, threshold and samples; the error names what differs.
    """
    from risctl.errors import UsageError
    from risctl.evaluation.comparison import compare_runs
    from risctl.evaluation.concept_comparison import compare_pairs, is_of_pairs, read_pairs
    from risctl.evaluation.saved_rows import read_run
    from risctl.visualization.comparison import as_text

    outputs = claim_outputs(inputs=runs, overwrite=overwrite, reports=report)
    with console.quiet_if(quiet):
        if any(is_of_pairs(path) for path in runs):
            if protocol is not None:
                raise UsageError("rows of instances are of one protocol each; leave --protocol out")
            pairs = [read_pairs(path) for path in runs]
            console.say(f"{len(pairs)} runs: {', '.join(str(run.path) for run in pairs)}")
            data = compare_pairs(pairs, resamples=resamples, seed=seed)
        else:
            saved = [read_run(path) for path in runs]
            outputs.add_inputs(run.path for run in saved)
            console.say(f"{len(saved)} runs: {', '.join(str(run.path) for run in saved)}")
            data = compare_runs(saved, protocol=protocol, resamples=resamples, seed=seed).to_dict()
        for path in report or ():
            outputs.write_text(path, _render(data, path.suffix.lower()))
            console.say(f"report: {path}")
        console.result(as_text(data, flips=flips), data=data, as_json=as_json)


def _render(data: dict[str, object], ending: str) -> str:
    if ending == ".json":
        import json

        return json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    if ending == ".md":
        from risctl.visualization.comparison import as_markdown

        return as_markdown(data)
    from risctl.visualization.report.comparison_page import as_page

    return as_page(data)
