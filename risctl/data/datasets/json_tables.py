"""Reads the JSON objects in which datasets are published, each mistake one `DataError` that says where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from risctl.errors import DataError
from risctl.json_text import parse_json


def read_json(file: Path) -> dict[str, Any]:
    """Returns the table that a JSON file holds. Raises `DataError` if it cannot be read, or holds none."""
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    return table(content, what=str(file))


def table(value: Any, *, what: str) -> dict[str, Any]:
    """Returns `value`, a table. Raises `DataError`, which has `what`, for anything else."""
    if not isinstance(value, dict):
        raise DataError(f"expected a table: {what}; got {type(value).__name__}")
    return value
