"""`risctl label join`: puts shards together, and writes rows in other formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.label.writing import complete, wanted_of, write_wanted
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption
from risctl.errors import UsageError


def join(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="The folders of all shards, or of one whole run.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="A file .parquet or .jsonl of all rows, or a folder.", show_default=False),
    ],
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT[,FORMAT…]",
            help="For a folder: parquet, jsonl, png, coco, coco-results, labelme, yolo-seg, cvat, label-studio, davis.",
            autocompletion=complete,
            show_default=False,
        ),
    ] = None,
    review: Annotated[
        Path | None,
        typer.Option(help="A folder for a page with the least sure answers, to accept or refuse.", show_default=False),
    ] = None,
    review_count: Annotated[int, typer.Option(min=1, max=100_000, help="How many answers the page shows.")] = 200,
    copies: Annotated[
        bool, typer.Option("--images/--no-images", help="With formats of annotation tools: copy the pictures, too.")
    ] = True,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Join the shards of a collection, with nothing missing or twice.

    All parts are compared with what was written. A shard that is missing, or
    not finished, is named. Formats of annotation tools leave out what was
    refused in a review, and what has an error.
    """
    with console.quiet_if(quiet):
        from risctl.labelling.join import open_all
        from risctl.labelling.rows_file import write_rows
        from risctl.output_files import OutputFiles

        wanted = wanted_of(formats, out)
        if any(out.resolve() == folder.resolve() for folder in folders):
            raise UsageError(f"{out} is one of the shards; name another output")
        outputs = OutputFiles(overwrite=overwrite)
        if wanted.file:
            outputs.claim(out)
        else:
            outputs.check_folder(out)
        wanted.check(source="", resume=True, overwrite=overwrite)
        joined = open_all(folders)
        about = joined.folders[0].about
        files = write_wanted(wanted, joined.rows, about, copies=copies, review=review, count=review_count)
        if not wanted.file and not wanted.further:
            write_rows(out / f"labels.{wanted.kind}", joined.rows(), outputs=outputs)
        counts = [folder.counts() for folder in joined.folders]
    rows, failed = (sum(column) for column in zip(*counts, strict=True))
    console.result(
        console.line_of((f"{joined.images} pictures", f"{rows} rows", f"{failed} errors", str(out))),
        data={"images": joined.images, "rows": rows, "failed": failed, "files": files, "out": str(out)},
        as_json=as_json,
    )
