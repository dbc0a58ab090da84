"""Finds the files of a parquet table, on the disk or on the hub, and its columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from risctl.data.download.hub import NotOnHubError, copies_from_hub
from risctl.data.download.hub_tables import require_pyarrow
from risctl.errors import DataError, MachineError

SUFFIX = ".parquet"


def table_files(source: Path) -> list[Path]:
    """Returns the files of a table, sorted by name.

    Args:
        source: A parquet file, a folder with such, or OWNER/NAME of the hub, also after `hf://datasets/`.

    Raises:
        DataError: There are none.
        MachineError: The hub cannot be reached, or pyarrow is not installed.
    """
    require_pyarrow(str(source))
    if source.is_file():
        return [source]
    if source.is_dir():
        found = sorted(source.rglob(f"*{SUFFIX}"))
        if not found:
            raise DataError(f"{source} holds no parquet files; expected those of a table of the hub")
        return found
    # A path has one of the two strokes of an address.
    name = re.sub(r"^hf:/{1,2}datasets/", "", source.as_posix())
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith("."):
        raise DataError(f"{source} is neither a file, nor a folder, nor OWNER/NAME of a table on the hub")
    try:
        return copies_from_hub(name, SUFFIX)
    except NotOnHubError as error:
        raise MachineError(
            f"the table {name} cannot be had from the hub: {error}; put its parquet files into a folder and name it "
            "with --from"
        ) from error


def files_with_columns(source: Path, columns: Collection[str], *, name: str) -> list[Path]:
    """Returns the files of the table `name`. Raises as `table_files`, and `DataError` if a column is missing."""
    files = table_files(source)
    missing = set(columns) - columns_of(files)
    if missing:
        raise DataError(f"{source} is not {name}: it has no column {min(missing)}")
    return files


def columns_of(files: Sequence[Path]) -> frozenset[str]:
    """Returns the names of the columns that all files have. Raises `DataError` if one is no table."""
    from pyarrow import parquet

    found: frozenset[str] | None = None
    for file in files:
        try:
            names = frozenset(parquet.read_schema(file).names)
        except (OSError, ValueError) as error:
            raise DataError(f"{file} cannot be read as a table: {error!s:.200}") from error
        found = names if found is None else found & names
    return found or frozenset()
