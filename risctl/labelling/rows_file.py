"""Writes and reads files of rows: parquet, or JSON Lines where pyarrow is not installed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from risctl.errors import DataError, MachineError
from risctl.json_text import parse_json
from risctl.labelling.worker import COLUMNS, Row
from risctl.output_files import OutputFiles

PARQUET, JSON_LINES = "parquet", "jsonl"
KINDS = (PARQUET, JSON_LINES)
_GROUP = 1000  # rows that are in memory at once


def usual_kind() -> str:
    """Returns parquet, or jsonl where pyarrow is not installed."""
    return PARQUET if find_spec("pyarrow") is not None else JSON_LINES


def check_kind(kind: str) -> None:
    """Raises `MachineError` if the kind needs a package that is not installed."""
    if kind == PARQUET and find_spec("pyarrow") is None:
        raise MachineError("parquet needs pyarrow: pip install 'risctl[tables]', or take --format jsonl")


def write_rows(path: Path, rows: Iterable[Row], *, outputs: OutputFiles) -> None:
    """Writes rows, whole or not at all; the suffix of `path` says how."""
    if path.suffix != f".{PARQUET}":
        outputs.write_json_lines(path, rows)
        return
    import pyarrow
    from pyarrow import parquet

    schema = _schema()
    with outputs.writing(path) as part, parquet.ParquetWriter(part, schema, compression="zstd") as file:
        for some in _groups(rows):
            file.write_table(pyarrow.Table.from_pylist(some, schema=schema))


def read_rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a file. Raises `DataError` if it cannot be read."""
    if path.suffix != f".{PARQUET}":
        try:
            with path.open(encoding="utf-8") as file:
                for line, text in enumerate(file, start=1):
                    yield _checked(parse_json(text, max_depth=8), path, line)
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {path}: {error}") from error
        return
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            line = 0
            for batch in file.iter_batches(batch_size=_GROUP):
                for row in batch.to_pylist():
                    line += 1
                    yield _checked(row, path, line)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {' '.join(str(error).split())[:200]}") from error


def _checked(row: Any, path: Path, line: int) -> Row:
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("image", "phrase")):
        raise DataError(f"{path}, row {line}: expected a row of image and phrase")
    return {key: row.get(key) for key in COLUMNS}


def _groups(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    some: list[Row] = []
    for row in rows:
        some.append(row)
        if len(some) == _GROUP:
            yield some
            some = []
    if some:
        yield some


def _schema() -> Any:
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    rle = pa.struct([("size", pa.list_(pa.int32())), ("counts", text)])
    numbers = {"index": pa.int64(), "width": pa.int32(), "height": pa.int32(), "area": pa.int64(), "score": number}
    others = {"matched": pa.bool_(), "box": pa.list_(number), "segmentation": rle, "threshold": number}
    kinds = dict.fromkeys(COLUMNS, text) | numbers | others
    return pa.schema([(name, kinds[name]) for name in COLUMNS])


def dumped(value: Any) -> str:
    """Returns a value as JSON with sorted keys, for comparison and for files that people read."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1) + "\n"
