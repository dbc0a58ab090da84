"""`risctl cache`: what is kept so as not to be fetched or computed again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption, RootOption
from risctl.errors import DataError

if TYPE_CHECKING:
    from risctl.environment.caches import Entry

app = typer.Typer(
    help="List, verify and clear cached downloads, word vectors and features.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

_NAMED = 3


@app.command("ls", epilog="Example: risctl cache ls --data-root data --json")
def list_caches(data_root: RootOption = Path("data"), as_json: JsonOption = False) -> None:
    """List what is kept, its size, and what uses it.

    Downloads and features lie under the data root, word vectors in $RISCTL_CACHE or the user's cache folder. Models
    fetched from the Hugging Face hub are in its own cache: `hf cache`.
    """
    from risctl.environment.caches import find_caches

    found = find_caches(data_root)
    console.result(_table(found), data={"entries": [_data(one) for one in found]}, as_json=as_json)


@app.command("verify", epilog="Example: risctl cache verify")
def verify_caches(
    data_root: RootOption = Path("data"), as_json: JsonOption = False, quiet: QuietOption = False
) -> None:
    """Check what is kept against the sums recorded when it was fetched or computed. Damage ends with exit code 4."""
    from risctl.environment.caches import find_caches

    damaged, rows = [], []
    with console.quiet_if(quiet):
        for entry in console.progress(find_caches(data_root), label="checking"):
            try:
                how = entry.verify()
            except DataError as error:
                damaged.append(str(error))
                how = "damaged"
            rows.append((entry, how))
    data = {"entries": [_data(entry) | {"verified": how} for entry, how in rows], "damaged": damaged}
    console.result("\n".join(f"{entry.path}: {how}" for entry, how in rows), data=data, as_json=as_json)
    if damaged:
        more = f", and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
        raise DataError(f"{len(damaged)} damaged: {'; '.join(damaged[:_NAMED])}{more}. `risctl cache gc` removes them")


@app.command("gc", epilog="Example: risctl cache gc --dry-run")
def clear_caches(
    data_root: RootOption = Path("data"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")] = False,
    downloads: Annotated[
        bool, typer.Option("--downloads", help="All downloads, too: they can be fetched again.")
    ] = False,
    vectors: Annotated[
        bool, typer.Option("--vectors", help="All word vectors, too: they are converted again.")
    ] = False,
    features: Annotated[
        bool, typer.Option("--features", help="All features, too: they can be computed again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what nothing can use: stale and damaged features, vectors without a source, what killed writers left."""
    from risctl.environment.caches import DOWNLOAD, FEATURES, VECTORS, find_caches

    asked = {kind for kind, given in ((DOWNLOAD, downloads), (VECTORS, vectors), (FEATURES, features)) if given}
    gone = [entry for entry in find_caches(data_root) if entry.useless or entry.kind in asked]
    if not dry_run:
        for entry in gone:
            entry.remove()
    lines = [f"{entry.path}: {entry.useless or 'asked for'}" for entry in gone]
    total = sum(entry.bytes for entry in gone)
    lines.append(f"{'would free' if dry_run else 'freed'} {_bytes(total)} in {len(gone)} entries")
    data = {"removed": [_data(entry) for entry in gone], "bytes": total, "dry_run": dry_run}
    console.result("\n".join(lines), data=data, as_json=as_json)


def _table(found: Sequence[Entry]) -> str:
    if not found:
        return "nothing is kept"
    rows = [
        (one.kind, _bytes(one.bytes), str(one.path), f"useless: {one.useless}" if one.useless else one.used_by)
        for one in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{kind:<{widths[0]}}  {size:>{widths[1]}}  {path:<{widths[2]}}  {used}".rstrip()
        for kind, size, path, used in rows
    ]
    return "\n".join([*lines, f"{_bytes(sum(one.bytes for one in found))} in all"])


def _data(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "path": str(entry.path),
        "files": [str(one) for one in entry.files],
        "bytes": entry.bytes,
        "used_by": entry.used_by,
        "useless": entry.useless,
    }


def _bytes(size: int) -> str:
    for unit, of in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= of:
            return f"{size / of:.1f} {unit}"
    return f"{size} B"
