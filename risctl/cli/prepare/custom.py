"""`risctl prepare custom`: a file of the user's own, or what an annotation tool wrote, into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.data import WARNINGS, CustomArgument, FormOption, ImagesOption
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption, RootOption
from risctl.cli.prepare.store_output import (
    SHARES,
    LinkOption,
    SharesOption,
    check_output,
    out_option,
    report_store,
    write,
)

EPILOG = "Example: risctl prepare custom cups.jsonl --out data/cups.h5"


def custom(
    file: CustomArgument,
    images: ImagesOption = None,
    form: FormOption = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the dataset; default: FILE's.", show_default=False)
    ] = None,
    splits: SharesOption = SHARES,
    seed: Annotated[int, typer.Option("--seed", help="Decides which picture goes to which split.")] = 0,
    out: Annotated[Path | None, out_option("FILE.h5")] = None,
    link: LinkOption = False,
    overwrite: OverwriteOption = False,
    data_root: RootOption = Path("data"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Your own data: JSON Lines, COCO-style JSON, or what an annotation tool wrote, as risctl data format tells.

    Splits are those that the file names; if it names none, pictures are shared out by --splits.
    """
    from risctl.data.datasets.custom.read import check_custom, refusal
    from risctl.data.splits import parse_shares

    shares = parse_shares(splits)
    with console.quiet_if(quiet):
        place = check_output(out or data_root / f"{file.stem}.h5", overwrite=overwrite)
        with console.counting("checking") as progress:
            checked = check_custom(
                file, images=images, name=name, shares=shares, seed=seed, form=form, progress=progress
            )
        if checked.dataset is None:
            raise refusal(checked)
        for warning in checked.warnings[:WARNINGS]:
            console.warn(f"{file}:{warning.line}: {warning.message}")
        if len(checked.warnings) > WARNINGS:
            console.warn(f"{file}: {len(checked.warnings) - WARNINGS:,} more; risctl data check --json lists all")
        report_store(write(checked.dataset, place, link=link), as_json=as_json)
