"""Defines what the `prepare` commands share: options, the check of the output path, and the report of a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console

if TYPE_CHECKING:
    from risctl.data.records import Dataset
    from risctl.data.store.shards import Sharding
    from risctl.data.store.writer import StoreInfo

LinkOption = Annotated[bool, typer.Option("--link", help="Keep the pictures where they are; store their paths.")]
ShardsOption = Annotated[
    str | None,
    typer.Option(
        "--shards",
        metavar="N|SIZE",
        help="Keep the pictures in N files beside the store, or in files of a SIZE such as 4GB: for millions of them.",
        show_default=False,
    ),
]
MissingOption = Annotated[
    bool,
    typer.Option("--allow-missing", help="Leave out what lacks its picture or a valid mask, instead of refusing."),
]
SharesOption = Annotated[
    str, typer.Option("--splits", metavar="NAME=SHARE,...", help="Shares of the pictures that the splits get.")
]
SHARES = "train=0.8,val=0.1,test=0.1"


def out_option(default: str) -> Any:
    """Returns the option `--out` of a command whose store is DATA_ROOT/`default` unless named."""
    return typer.Option("--out", "-o", help=f"The store to write; default: DATA_ROOT/{default}.", show_default=False)


def check_output(out: Path, *, overwrite: bool) -> Path:
    """Returns `out` if a store may be written there. Raises `UsageError` if something is there that must stay."""
    from risctl.data.store.output_path import check_output_path

    check_output_path(out, overwrite=overwrite)
    return out


def check_file(path: Path, *, overwrite: bool, inputs: Iterable[Path | None] = ()) -> Path:
    """Returns `path` if a file that is no store may be written there.

    Args:
        path: The file to write.
        overwrite: Whether a file that is there already may be replaced.
        inputs: Files that the command reads.

    Raises:
        UsageError: A file must stay there, or it is one of the inputs.
    """
    from risctl.output_files import OutputFiles

    OutputFiles(inputs=inputs, overwrite=overwrite).claim(path)
    return path


def sharding_of(shards: str | None, *, link: bool = False) -> Sharding | None:
    """Returns how `--shards` divides the pictures. Raises `UsageError` for another text, or with `--link`."""
    from risctl.data.store.shards import Sharding
    from risctl.errors import UsageError

    if shards is not None and link:
        raise UsageError("--link keeps the pictures where they are, and no shards are written; leave one of both out")
    return None if shards is None else Sharding.parse(shards)


def write(dataset: Dataset, out: Path, *, link: bool = False, shards: Sharding | None = None) -> StoreInfo:
    """Writes the store, with a progress bar."""
    from risctl.data.store.writer import write_store

    with console.counting("store") as progress:
        info = write_store(dataset, out, link=link, shards=shards, progress=progress)
    for warning in info.warnings:
        console.warn(warning)
    return info


IMAGES_AND_REFS = {"images": "images", "refs": "refs", "sentences": "sentences"}
OBJECTS = {"refs": "objects", "sentences": "sentences"}


def report_store(
    info: StoreInfo,
    *,
    as_json: bool,
    counted: Mapping[str, str] = IMAGES_AND_REFS,
    lines: Sequence[str] = (),
    more: Mapping[str, Any] | None = None,
) -> None:
    """Prints what was written as the command's result.

    Args:
        info: The store.
        as_json: Whether to print JSON.
        counted: What is reported of each split: kind of count -> its name.
        lines: Further lines of the text.
        more: Further entries of the JSON.
    """
    report = [
        f"{split}: " + ", ".join(f"{row[kind]:,} {name}" for kind, name in counted.items())
        for split, row in info.counts.items()
    ]
    report += lines
    report += [f"note: {note}: {count:,}" for note, count in info.notes.items()]
    apart = f" in {info.shards} shards" if info.shards else ""
    report.append(f"wrote {info.path} ({info.bytes / 1e6:.1f} MB{apart})")
    data = {
        "store": str(info.path),
        "bytes": info.bytes,
        "fingerprint": info.fingerprint,
        **({"shards": info.shards} if info.shards else {}),
        "counts": {split: dict(row) for split, row in info.counts.items()},
        "notes": dict(info.notes),
        **(more or {}),
    }
    console.result(report, data=data, as_json=as_json)


def ability_counts(dataset: Dataset) -> dict[str, int]:
    """Returns how many sentences need each ability, those of scenes first and in their order."""
    from collections import Counter

    from risctl.data.datasets.scenes.phrases import ABILITIES

    counts = Counter(
        ability for record in dataset.records for expression in record.expressions for ability in expression.abilities
    )
    return {ability: counts[ability] for ability in ABILITIES} | dict(counts)
