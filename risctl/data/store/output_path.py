"""Where a store may be written: not over another one unless that is asked for, and over nothing else at all."""

from __future__ import annotations

from pathlib import Path

from risctl.data.store import schema
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError
from risctl.output_files import check_replaceable


def check_output_path(out: Path, *, overwrite: bool) -> None:
    """Raise `UsageError` if the file `out` is there and must stay: a store without `overwrite`, anything else always.

    A store that is damaged, cut short or of another version counts as a store.
    """
    if not out.exists() or out.is_dir():  # a folder is refused where it would be written to
        return
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
