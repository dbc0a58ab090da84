"""`risctl prepare custom`: a file of the user's own, or what an annotation tool wrote, into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from risctl.cli import console
from risctl.cli.data import REMOTE, WARNINGS, CustomArgument, FormOption, ImagesOption, own_place
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption, RootOption
from risctl.cli.prepare.store_output import (
    SHARES,
    LinkOption,
    ShardsOption,
    SharesOption,
    check_output,
    out_option,
    report_store,
    sharding_of,
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
    shards: ShardsOption = None,
    overwrite: OverwriteOption = False,
    data_root: RootOption = Path("data"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Your own data: JSON Lines, COCO-style JSON, tables, annotation tools' files, as risctl data format tells.

    Pictures, masks and FILE itself may be addresses (https, s3, gs, hf); they are kept below DATA_ROOT/remote.

    Splits are those that the file names; if it names none, pictures are shared out by --splits.
    """
    from risctl.data.datasets.custom.read import check_custom, refusal
    from risctl.data.splits import parse_shares

    shares, source = parse_shares(splits), own_place(file)
    sharding = sharding_of(shards, link=link)
    stem = Path(urlsplit(file).path).stem if isinstance(source, str) else source.stem
    with console.quiet_if(quiet):
        place = check_output(out or data_root / f"{stem}.h5", overwrite=overwrite)
        with console.counting("checking") as progress:
            checked = check_custom(
                source,
                images=None if images is None else own_place(images),
                name=name,
                shares=shares,
                seed=seed,
                form=form,
                remote=data_root / REMOTE,
                progress=progress,
            )
        if checked.dataset is None:
            raise refusal(checked)
        for warning in checked.warnings[:WARNINGS]:
            console.warn(f"{file}:{warning.line}: {warning.message}")
        if checked.warning_count > WARNINGS:
            console.warn(f"{file}: {checked.warning_count - WARNINGS:,} more; risctl data check --json lists all")
        report_store(write(checked.dataset, place, link=link, shards=sharding), as_json=as_json)
