"""`risctl report`: a page with the learning curves of runs or of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import OverwriteOption, QuietOption

EXAMPLE = "Example: risctl report runs/vlt-scenes-1 runs/vlt-scenes-2 --out curves.html"

app = typer.Typer()


@app.command("report", epilog=EXAMPLE)
def report_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN…|SWEEP",
            help="Run folders of `risctl train`, finished or not, or the folder of a sweep.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page (.html) or picture (.png) to write.")] = Path(
        "curves.html"
    ),
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw the learning curves of runs, or of all runs of a sweep, on one page.

    The page needs no network: loss and its terms, the learning rate, the norm of the gradient, samples per second, the
    share of the time in which data was waited for, memory, and every figure of the evaluations over the steps, and a
    table of what each run came to. A .png has the curves alone.
    """
    from risctl.errors import UsageError
    from risctl.output_files import OutputFiles
    from risctl.training.run_record import read_run_record
    from risctl.training.sweep import read_sweep
    from risctl.training.sweep_points import sweep_points
    from risctl.visualization.report.run_page import run_page, runs_of_sweep, short_names, sweep_page

    as_picture = out.suffix.lower() == ".png"
    if not as_picture and out.suffix.lower() != ".html":
        raise UsageError(f"--out writes .html or .png, not {out}")
    outputs = OutputFiles(overwrite=overwrite)
    outputs.claim(out)
    with console.quiet_if(quiet):
        sweeps = [path for path in runs if (path / "sweep.json").is_file()]
        if sweeps and len(runs) > 1:
            raise UsageError(f"a page shows one sweep or several runs; {sweeps[0]} is a sweep: give it alone")
        points = sweep_points(read_sweep(sweeps[0])) if sweeps else []
        if as_picture:
            from risctl.visualization.report.curve_picture import curve_picture

            if sweeps:
                records, names, styles = runs_of_sweep(points)
            else:
                records, names = [read_run_record(path) for path in runs], short_names(runs)
                styles = list(range(len(records)))
            picture = curve_picture(records, names, styles)
            with outputs.writing(out) as part:
                picture.save(part, format="PNG")
        else:
            page = sweep_page(read_sweep(sweeps[0]), points) if sweeps else run_page([*map(read_run_record, runs)])
            outputs.write_text(out, page)
        console.result(str(out), data=None, as_json=False)
