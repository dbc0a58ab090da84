"""`risctl doctor`: checks the installation and prints a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption

app = typer.Typer()


@app.command("doctor", epilog="Example: risctl doctor --json")
def doctor(
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data-root",
            envvar="RISCTL_DATA",
            help="A folder to look for stores in; may be repeated.",
            show_default="data",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Also import the packages that take long, and wait for torch however long it takes."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the installation: versions, devices, disk space, datasets and models.

    It takes 3 seconds at most: what does not answer in time, such as a torch that is read for the first time, is noted
    as not examined. The report can be pasted into a bug report. Exit code 5 if something is broken.
    """
    from risctl.environment.doctor import examine
    from risctl.errors import MachineError

    health = examine(data=tuple(data or (Path("data"),)), full=full)
    console.result(health.text(), data=health.to_dict(), as_json=as_json)
    if health.broken:
        names = ", ".join(finding.name for finding in health.broken)
        raise MachineError(f"broken: {names}; the report says how to repair it")
