"""`risctl label review`: a page of the least sure answers, and the decisions that were made on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption

app = typer.Typer(no_args_is_help=True, help="Review labels: a page to accept or refuse answers, and what was decided.")


@app.command("page", epilog="Example: risctl label review page labels --out review")
def page(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="The folders of all shards, or of one run.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the page.", show_default=False)],
    count: Annotated[int, typer.Option("--count", min=1, max=100_000, help="How many answers it shows.")] = 200,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a page with the least sure answers, to accept or refuse in a browser."""
    with console.quiet_if(quiet):
        from risctl.labelling.join import open_all
        from risctl.labelling.review_page import write_review
        from risctl.output_files import OutputFiles

        outputs = OutputFiles(overwrite=overwrite)
        outputs.check_folder(out)
        joined = open_all(folders)
        about = joined.folders[0].about
        number = write_review(
            joined.rows(),
            out,
            count=count,
            plan=about["plan"],
            no_target=about["no_target_threshold"],
            outputs=outputs,
        )
    console.result(console.line_of((f"{number} answers", str(out / "index.html"))), data=None, as_json=False)


@app.command("apply", epilog="Example: risctl label review apply labels ~/Downloads/decisions.json")
def apply(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR... DECISIONS", help="The folders, then the file.")],
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write decisions into the rows: `decision` becomes accepted or refused.

    The file is what the page's button saves. It may be applied again.
    """
    from risctl.errors import UsageError

    if len(folders) < 2:
        raise UsageError("expected the folders of labels, then the file of decisions that the page saved")
    with console.quiet_if(quiet):
        from risctl.labelling.decisions import apply_decisions, read_decisions

        counts = apply_decisions(folders[:-1], read_decisions(folders[-1]))
    line = console.line_of(f"{number} {name}" for name, number in counts.items())
    console.result(line, data=counts, as_json=as_json)
