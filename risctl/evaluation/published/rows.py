"""Reads the published figures: rows of papers' tables, each with its source, from the YAML files of `tables/`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from risctl.errors import DataError
from risctl.metrics.protocols import PROTOCOLS, VIDEO_PROTOCOLS
from risctl.section import Section

TABLES = Path(__file__).resolve().parent / "tables"
DETECTION_PROTOCOLS = ("zsi", "gzsi")
"""The protocols of detection by category, which `risctl.metrics.zero_shot` computes."""

KNOWN_PROTOCOLS = (*PROTOCOLS, *VIDEO_PROTOCOLS, *DETECTION_PROTOCOLS)
_MAX_BYTES = 200_000

Text = Annotated[str, Field(min_length=1, max_length=300)]
Percent = Annotated[float, Field(ge=0.0, le=100.0, strict=False)]


class PublishedRow(Section):
    """One row of a published table.

    A row of a file inherits what its table says, and a table what its file says.
    """

    system: Text = Field(description="Name of the system, as in a recipe's `model.system`, or of one not built here.")
    paper: Text = Field(description="Authors, title, venue and year.")
    model: Text = Field(description="The variant: its backbone, and what else tells it from the others.")
    dataset: Text = Field(description="Name of the dataset, as in a store.")
    split_by: Text | None = Field(default=None, description="Whose division into splits; null where there is one.")
    split: Text = Field(description="The split that the figures are of.")
    protocol: Text = Field(description="The protocol that the figures were computed by.")
    figures: Annotated[dict[str, Percent], Field(min_length=1)] = Field(description="The figures, in percent.")
    weights: Text = Field(description="The weights that the training began with.")
    data: Text = Field(description="What was trained on.")
    source: Text = Field(description="Where the figures stand: table and page, or section of a README.")
    checked: bool = Field(description="Whether they were compared with that source.")
    remark: Text | None = Field(default=None, description="What else must be known to compare them.")


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """Returns all rows, in the order of the files' names.

    Raises:
        DataError: A file is damaged; the message names the file, the row and the key.
    """
    return tuple(row for file in sorted(TABLES.glob("*.yaml")) for row in read_rows(file))


def read_rows(file: Path) -> list[PublishedRow]:
    """Reads the rows of one file.

    Raises:
        DataError: The file cannot be read, or a row lacks a key, has an unknown one or a wrong value.
    """
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise DataError(f"{file}: expected published figures of at most {_MAX_BYTES:,} bytes; install risctl again")
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{file}: published figures cannot be read ({error}); install risctl again") from error
    rows = []
    for place, values in _merged(content, file):
        try:
            row = PublishedRow.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise DataError(f"{file}: {place}: {key}: {first['msg']}") from error
        if row.protocol not in KNOWN_PROTOCOLS:
            raise DataError(f"{file}: {place}: expected a protocol of {', '.join(KNOWN_PROTOCOLS)}; got {row.protocol}")
        rows.append(row)
    return rows


def _merged(content: Any, file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each row's place in words and its values, with those of its table and of the file."""
    shared = _mapping(content, f"{file}: the file")
    for index, table in enumerate(_listed(shared.pop("tables", None), f"{file}: tables"), start=1):
        defaults = _mapping(table, f"{file}: table {index}")
        for number, row in enumerate(_listed(defaults.pop("rows", None), f"{file}: table {index}: rows"), start=1):
            place = f"table {index}, row {number}"
            yield place, {**shared, **defaults, **_mapping(row, f"{file}: {place}")}


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: expected keys and values, got {type(value).__name__}")
    return dict(value)


def _listed(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: expected a list with at least one entry, got {type(value).__name__}")
    return value
