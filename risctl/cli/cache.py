"""`risctl cache`: lists, verifies and clears downloads, word vectors and features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption, RootOption
from risctl.errors import DataError

if TYPE_CHECKING:
    from risctl.environment.caches import CacheEntry

app = typer.Typer(
    help="List, verify and clear cached downloads, word vectors and features.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

_SHOWN = 3


@app.command("ls", epilog="Example: risctl cache ls --data-root data --json")
def list_caches(data_root: RootOption = Path("data"), as_json: JsonOption = False) -> None:
    """List cached files with their size and what uses them.

    Downloads and features are in the data root, word vectors and the thresholds of `risctl models calibrate` in
    $RISCTL_CACHE or the user's cache folder. Models downloaded from the Hugging Face hub are in its own cache: see
    `hf cache`.
    """
    from risctl.environment.caches import find_caches

    entries = find_caches(data_root)
    console.result(_table(entries), data={"entries": [_record(entry) for entry in entries]}, as_json=as_json)


@app.command("verify", epilog="Example: risctl cache verify")
def verify_caches(
    data_root: RootOption = Path("data"), as_json: JsonOption = False, quiet: QuietOption = False
) -> None:
    """Compare cached files with the checksums recorded when they were made. Exit code 4 if one is damaged."""
    from risctl.environment.caches import find_caches

    damaged, rows = [], []
    with console.quiet_if(quiet):
        for entry in console.progress(find_caches(data_root), label="verify"):
            try:
                outcome = entry.verify()
            except DataError as error:
                damaged.append(str(error))
                outcome = "damaged"
            rows.append((entry, outcome))
    data = {"entries": [_record(entry) | {"verified": outcome} for entry, outcome in rows], "damaged": damaged}
    console.result([f"{entry.path}: {outcome}" for entry, outcome in rows], data=data, as_json=as_json)
    if damaged:
        more = f", and {len(damaged) - _SHOWN} more" if len(damaged) > _SHOWN else ""
        raise DataError(f"{len(damaged)} damaged: {'; '.join(damaged[:_SHOWN])}{more}. `risctl cache gc` removes them")


@app.command("gc", epilog="Example: risctl cache gc --dry-run")
def clear_caches(
    data_root: RootOption = Path("data"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed, and remove nothing.")] = False,
    downloads: Annotated[
        bool, typer.Option("--downloads", help="Also remove all downloads; they can be downloaded again.")
    ] = False,
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Also remove all word vectors; they can be converted again.")
    ] = False,
    features: Annotated[
        bool, typer.Option("--features", help="Also remove all features; they can be computed again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove unusable files: outdated or damaged features, vectors without a source, remains of killed writers."""
    from risctl.environment.caches import DOWNLOAD, FEATURES, VECTORS, find_caches

    flags = ((DOWNLOAD, downloads), (VECTORS, vectors), (FEATURES, features))
    requested = {kind for kind, flag in flags if flag}
    removed = [entry for entry in find_caches(data_root) if entry.unusable or entry.kind in requested]
    if not dry_run:
        for entry in removed:
            entry.remove()
    lines = [f"{entry.path}: {entry.unusable or 'requested'}" for entry in removed]
    total = sum(entry.bytes for entry in removed)
    lines.append(f"{'would free' if dry_run else 'freed'} {_bytes(total)} in {len(removed)} entries")
    data = {"removed": [_record(entry) for entry in removed], "bytes": total, "dry_run": dry_run}
    console.result(lines, data=data, as_json=as_json)


def _table(entries: Sequence[CacheEntry]) -> str:
    if not entries:
        return "nothing is cached"
    rows = [
        (
            entry.kind,
            _bytes(entry.bytes),
            str(entry.path),
            f"unusable: {entry.unusable}" if entry.unusable else entry.used_by,
        )
        for entry in entries
    ]
    return f"{console.table(rows, right=[1])}\n{_bytes(sum(entry.bytes for entry in entries))} in total"


def _record(entry: CacheEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "path": str(entry.path),
        "files": [str(file) for file in entry.files],
        "bytes": entry.bytes,
        "used_by": entry.used_by,
        "unusable": entry.unusable,
    }


def _bytes(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"
