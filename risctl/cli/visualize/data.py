"""`risctl visualize data`: draws images of a store with their expressions."""

from __future__ import annotations

from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import (
    JsonOption,
    OverwriteOption,
    QuietOption,
    SeedOption,
    SplitOption,
    StoreArgument,
    text_field_of,
)
from risctl.cli.visualize.contact_sheets import ContactSheetFile, OutOption

EXAMPLE = "Example: risctl visualize data scenes.h5 --split val -n 24"


def data(
    store: StoreArgument,
    split: SplitOption = "val",
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=400, help="How many pictures are drawn.")] = 24,
    seed: SeedOption = 0,
    columns: Annotated[int, typer.Option("--columns", min=1, max=12, help="Pictures in a row.")] = 4,
    text_field: Annotated[
        str, typer.Option("--text-field", help="Which form of the text: sent, raw or raw_lower.")
    ] = "sent",
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw pictures of a store with what their expressions refer to, on one contact sheet.

    Each referred object has a colour: its mask in the picture, its expressions below. Prints the path of the sheet.
    """
    from risctl.data.store.reader import Store
    from risctl.visualization.dataset_contact_sheet import dataset_contact_sheet

    with console.quiet_if(quiet), Store(store) as opened:
        sheet = ContactSheetFile.claim(out, f"{store.stem}.{split}.png", overwrite=overwrite, inputs=[store])
        drawn = dataset_contact_sheet(
            opened, split=split, count=count, seed=seed, text_field=text_field_of(text_field), columns=columns
        )
        sheet.write(drawn.pixels)
        record = {"data": str(store), "split": split, "sheet": str(sheet.path), "pictures": drawn.entries}
        console.result(str(sheet.path), data=record, as_json=as_json)
