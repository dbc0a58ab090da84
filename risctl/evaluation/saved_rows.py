"""Reads the rows that an earlier evaluation saved, to compare them with those of another."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.errors import DataError, UsageError
from risctl.json_text import parse_json
from risctl.metrics.protocols import PROTOCOLS, VIDEO_PROTOCOLS, Protocol, ThresholdSource
from risctl.metrics.rows import Rows, rows_of

ROWS = "rows.jsonl"
"""What the rows are called in a folder."""

_SHARED = ("dataset", "split_by", "split", "fingerprint", "text_field")
"""What the runs of a comparison must agree in."""


def _whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**53


def _number(value: Any) -> bool:
    return value is None or _whole(value) or (type(value) is float and math.isfinite(value))


def _list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str | int) for one in value)


def _lists(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, list) and all(map(_number, one)) for one in value)


_WHOLE = ("a whole number", _whole)
_COUNT = ("a whole number or null", lambda value: value is None or _whole(value))
_NUMBER = ("a number or null", _number)
_NAMES = ("a list of names", _list)
_TEXT = ("text", lambda value: value is None or isinstance(value, str))
_FLAG = ("true or false", lambda value: isinstance(value, bool))
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("sample", "image_id", "ref_id", "sentence_id", "intersection", "union", "predicted"), _WHOLE),
    **dict.fromkeys(("targets", "distractors"), _COUNT),
    **dict.fromkeys(("score", "boundary", "region", "box_overlap", "area", "threshold"), _NUMBER),
    **dict.fromkeys(("abilities", "categories"), _NAMES),
    **dict.fromkeys(("text", "video", "checkpoint", *_SHARED), _TEXT),
    **dict.fromkeys(("targeted", "predicted_none"), _FLAG),
    "others": ("a list of lists of numbers", _lists),
}
"""What the values of a row are, and how messages describe it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """An evaluation's rows.

    Attributes:
        path: The file.
        origin: Identifies the data; empty where the file does not say it.
        checkpoint: The first letters of the weights' hash; None if unknown.
        protocols: The protocols by name.
        rows: The samples by protocol.
    """

    path: Path
    origin: dict[str, str]
    checkpoint: str | None
    protocols: dict[str, Protocol]
    rows: dict[str, Rows]

    def data(self) -> str:
        """Returns the data in words."""
        if not self.origin:
            return "unknown data"
        name, by = self.origin["dataset"], self.origin["split_by"]
        whole = f"{name} ({by})" if by else name
        return f"{whole}, split {self.origin['split']}, texts {self.origin['text_field']}, {self.origin['fingerprint']}"


def read_run(source: Path) -> MeasuredRun:
    """Reads the rows that `risctl eval --rows` wrote.

    Args:
        source: A JSON Lines file, a folder with `rows.jsonl`, or the JSON report that names the file.

    Raises:
        UsageError: There is no such file.
        DataError: A line is not a row; it is named.
    """
    path = _rows_file(source)
    records: dict[str, list[dict[str, Any]]] = {}
    first: dict[str, Any] | None = None
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                record = _record(line, where=f"{path}, line {number}")
                first = first or record
                different = [name for name in _SHARED if record.get(name) != first.get(name)]
                if different:
                    raise DataError(
                        f"{path}, line {number}: {different[0]} is {record.get(different[0])!r}, before it was "
                        f"{first.get(different[0])!r}; a file holds the rows of one evaluation"
                    )
                records.setdefault(record["protocol"], []).append(record)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if first is None:
        raise DataError(f"{path} is empty; write rows with `risctl eval … --rows FILE`")
    return MeasuredRun(
        path=source,
        origin={name: str(first[name] or "") for name in _SHARED} if all(name in first for name in _SHARED) else {},
        checkpoint=first.get("checkpoint"),
        protocols={name: _protocol(name, own, path=path) for name, own in records.items()},
        rows={name: _rows(own, path=path) for name, own in records.items()},
    )


def _rows_file(source: Path) -> Path:
    how = "write one with `risctl eval --model RUN --data STORE --rows FILE`"
    if source.is_dir():
        if not (source / ROWS).is_file():
            raise UsageError(f"the folder {source} holds no {ROWS}; {how}")
        return source / ROWS
    if not source.is_file():
        raise UsageError(f"{source} is no file of rows; {how}")
    if source.suffix.lower() != ".json":
        return source
    try:
        named = parse_json(source.read_text(encoding="utf-8")).get("rows")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{source} is no report of `risctl eval --json`: {error}") from error
    if not isinstance(named, str):
        raise UsageError(f"the report {source} names no file of rows; {how} --json")
    beside = [Path(named), source.parent / named, source.parent / Path(named).name]
    found = next((path for path in beside if path.is_file()), None)
    if found is None:
        raise UsageError(f"the rows {named} that the report {source} names are not there; {how}")
    return found


def _record(line: str, *, where: str) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except ValueError:
        record = None
    if isinstance(record, dict) and "video" in record and "protocol" not in record:
        raise UsageError(
            f"{where} is of a video and names no protocol, as rows of earlier versions; write them again with --rows"
        )
    if not isinstance(record, dict) or not isinstance(record.get("protocol"), str) or "sample" not in record:
        raise DataError(f"{where}: expected a row that `risctl eval --rows` wrote, got {line.strip()[:60]!r}")
    for name, (expected, fits) in _FIELDS.items():
        if name in record and not fits(record[name]):
            raise DataError(f"{where}: expected {name} to be {expected}, got {json.dumps(record[name])[:60]}")
    return record


def _protocol(name: str, records: list[dict[str, Any]], *, path: Path) -> Protocol:
    known_protocols = PROTOCOLS | VIDEO_PROTOCOLS
    if name not in known_protocols:
        raise DataError(f"{path}: the protocol {name!r} is not known here; known: {', '.join(known_protocols)}")
    thresholds = {one for one in (record.get("threshold") for record in records) if one is not None}
    if len(thresholds) > 1:
        raise DataError(f"{path}: the rows of {name} have several thresholds: {sorted(thresholds)}")
    protocol = known_protocols[name]
    said = records[0].get("threshold_source")
    known: tuple[ThresholdSource, ...] = ("recipe", "option", "masks")
    source = next((one for one in known if said == one), None)
    for threshold in thresholds:
        if source and all(record.get("threshold_source") == source for record in records):
            protocol = protocol.with_threshold(threshold, source=source)
        elif threshold != protocol.threshold:
            protocol = protocol.with_threshold(threshold, source="saved")
    return protocol


def _rows(records: list[dict[str, Any]], *, path: Path) -> Rows:
    try:
        rows = rows_of(records)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: a row lacks {error}; write the rows again with `risctl eval … --rows FILE`"
        ) from error
    twice = rows.key[1:][rows.key[1:] == rows.key[:-1]]
    if len(twice):
        raise DataError(f"{path}: sample {int(twice[0])} is in it twice; each counts once")
    return rows
