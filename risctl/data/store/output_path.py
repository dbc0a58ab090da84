"""Checks where a store may be written: over another store only on request, and over no other file."""

from __future__ import annotations

from pathlib import Path

from risctl.data.store import schema
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError
from risctl.output_files import check_replaceable


def check_output_path(out: Path, *, overwrite: bool) -> None:
    """Checks that a store may be written to `out`.

    Args:
        out: The file.
        overwrite: Whether an existing store, be it damaged, truncated or of another version, may be replaced.

    Raises:
        UsageError: A store is there and must not be replaced, or another file is there.
    """
    if not out.exists() or out.is_dir():  # a folder is refused where it would be written to
        return
    if not out.is_file():  # a pipe or a device
        raise UsageError(f"{out} is no regular file; name another file with --out")
    with out.open("rb") as file:
        head = file.read(schema.HEADER_BYTES)
    if not schema.is_of_a_store(head):
        raise UsageError(f"{out} is there already and is no risctl store; name another file with --out")
    if not overwrite:
        check_replaceable(out, overwrite=False, description=_described(out))


def _described(path: Path) -> str:
    try:
        with Store(path) as store:
            count = store.count("all")
            of = " ".join(part for part in (store.name, f"({store.split_by})" if store.split_by else "") if part)
            return f"a store of {of}: {count['images']:,} pictures, {count['sentences']:,} sentences"
    except DataError:
        return "a damaged store, or one of another version"
