"""Reads the rows of a table of the user's own, CSV or parquet, as the entries that JSON Lines have."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from risctl.data.datasets.custom.entries import Progress
from risctl.data.datasets.custom.issues import Issues, Location
from risctl.errors import DataError, MachineError
from risctl.json_text import parse_json

SUFFIXES = (".csv", ".tsv", ".parquet")
_LISTS = ("texts", "abilities", "box")
_NUMBERS = ("id", "image_id")
_LONGEST_CELL = 2**24
_BATCH = 500


def table_of(path: Path) -> Path | None:
    """Returns the table of a folder: `metadata.csv` (or .tsv, .parquet, .jsonl), or the only table there; else None."""
    if not path.is_dir():
        return None
    for suffix in (*SUFFIXES, ".jsonl"):
        if (path / f"metadata{suffix}").is_file():
            return path / f"metadata{suffix}"
    tables = [one for one in sorted(path.iterdir()) if one.suffix.lower() in SUFFIXES and one.is_file()]
    return tables[0] if len(tables) == 1 else None


def rows(path: Path, issues: Issues, *, progress: Progress | None = None) -> Iterator[tuple[Location, dict[str, Any]]]:
    """Yields the entries of a table with their lines; of parquet with the numbers of their rows, from 1.

    An empty cell says nothing, but for that of a mask (without a box): nothing is there that the text is about.

    Args:
        path: The table.
        issues: What is wrong with rows is added here.
        progress: Called with the number of lines that are read.

    Raises:
        DataError: The file cannot be read as a table.
        MachineError: pyarrow, which reads parquet, is not installed.
    """
    read = _parquet(path) if path.suffix.lower() == ".parquet" else _separated(path)
    for line, row in read:
        location = Location(line)
        if progress:
            progress(line, None)
        if None in row:
            issues.problem(location, "has more cells than the first line has columns")
            continue
        try:
            yield location, _entry(row)
        except ValueError as error:
            issues.problem(location, str(error))


def plain_rows(path: Path) -> Iterator[tuple[int, Mapping[Any, Any]]]:
    """Yields the rows of a table as they are, with their numbers; whoever reads them checks the columns.

    Raises:
        DataError: The file cannot be read as a table.
        MachineError: pyarrow, which reads parquet, is not installed.
    """
    return _parquet(path, check=False) if path.suffix.lower() == ".parquet" else _separated(path, check=False)


def _separated(path: Path, *, check: bool = True) -> Iterator[tuple[int, Mapping[Any, Any]]]:
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            names = reader.fieldnames or ()  # read here, so that lines are counted from the next one
            if check:
                _check_columns(path, names)
            line = reader.line_num + 1
            for row in reader:
                yield line, row
                line = reader.line_num + 1
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (at byte {error.start + 1}); save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path} is no table of comma-separated values: line {reader.line_num}: {error}") from error


def _parquet(path: Path, *, check: bool = True) -> Iterator[tuple[int, Mapping[Any, Any]]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MachineError(f"{path} needs pyarrow, which reads parquet: pip install 'risctl[tables]'") from error
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if check:
                _check_columns(path, names)
            line = 0
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    line += 1
                    yield line, row
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these
        raise DataError(f"{path} cannot be read as parquet: {' '.join(str(error).split())[:200]}") from error


def _check_columns(path: Path, names: Any) -> None:
    found = list(names)
    if not {"image", "file_name"} & set(found) or not {"text", "texts"} & set(found):
        raise DataError(
            f"{path}: expected the columns image (or file_name) and text (or texts) in the first line, got "
            f"{', '.join(map(str, found))[:200] or 'none'}; see risctl data format"
        )


def _entry(row: Mapping[Any, Any]) -> dict[str, Any]:
    entry = {str(key).strip(): value for key, value in row.items() if not _is_empty(value)}
    if "file_name" in entry:
        entry.setdefault("image", entry.pop("file_name"))
    for key in _LISTS:
        if isinstance(entry.get(key), str):
            entry[key] = _listed(key, entry[key])
    for key in _NUMBERS:
        if isinstance(entry.get(key), str):
            try:
                entry[key] = int(entry[key])
            except ValueError:
                raise ValueError(f"{key}: expected a whole number, got {entry[key]!r:.40}") from None
    mask = entry.get("mask")
    if isinstance(mask, str) and mask.lstrip()[:1] in ("[", "{"):
        entry["mask"] = _json("mask", mask)
    elif isinstance(mask, str) and mask.strip() == "null":
        entry["mask"] = None
    if "box" not in entry:
        entry.setdefault("mask", None)
    return entry


def _listed(key: str, text: str) -> list[Any]:
    """Returns the list of a cell: JSON, or, of boxes and abilities, parts between spaces or commas."""
    if text.lstrip().startswith("["):
        value = _json(key, text)
        if not isinstance(value, list):
            raise ValueError(f"{key}: expected a list, got {text!r:.60}")
        return value
    if key == "texts":
        raise ValueError(f'texts: expected a list such as ["left cup", "cup on the left"], got {text!r:.60}')
    if key != "box":
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise ValueError(f"box: expected x, y, width, height in pixels, got {text!r:.60}") from None


def _json(key: str, text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise ValueError(f"{key}: not valid JSON: {error}") from None


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
