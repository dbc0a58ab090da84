"""Reads and checks the header of a checkpoint, before anything is built or read by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from risctl import __version__
from risctl.errors import CheckpointError
from risctl.json_text import MAX_DEPTH, parse_json

FORMAT_VERSION = 2

_Count = Annotated[int, Field(ge=0, le=2**53)]


class _Entries(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _Dataset(_Entries):
    name: str | None = None
    split_by: str | None = None
    split: str | None = None
    fingerprint: str | None = None
    also: list[dict[str, Any]] = []


class _Header(_Entries):
    format_version: Annotated[int, Field(ge=1)]
    risctl: str
    recipe: dict[str, Any]
    vocabulary: list[str]
    sha256: dict[str, str]
    dataset: _Dataset | None = None
    protocol: str | None = None
    step: _Count | None = None
    epoch: float | None = None
    metrics: dict[str, Any] | None = None
    position: dict[str, Any] | None = None
    state: dict[str, Any] | None = None
    without_vector: list[str] = []
    imported_from: str | None = None


def parse_header(text: str | None, path: Path) -> dict[str, Any]:
    """Returns the header of a checkpoint.

    Args:
        text: The metadata entry `risctl` of the file; None if there is none.
        path: The file, for messages.

    Raises:
        CheckpointError: There is none, it is damaged, or written by a newer version.
    """
    if text is None:
        raise CheckpointError(f"{path} was not written by risctl: it has no risctl header; see `risctl import`")
    try:
        header = parse_json(text, max_depth=MAX_DEPTH)
        if "\\u" in text:
            json.dumps(header, ensure_ascii=False).encode()  # halves of surrogate pairs are no text
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: its header is no JSON ({error})") from error
    version = header.get("format_version") if isinstance(header, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise CheckpointError(f"{path} is damaged: its header has no format version")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} was written by risctl {header.get('risctl')!s:.40} (format {version!s:.12}); this is risctl "
            f"{__version__} (format {FORMAT_VERSION}): upgrade it to read the file"
        )
    absent = [key for key in ("recipe", "vocabulary", "sha256", "risctl") if key not in header]
    if absent:
        raise CheckpointError(f"{path} is damaged: its header lacks {', '.join(absent)}")
    if not isinstance(header["recipe"], dict) or not isinstance(header["recipe"].get("model"), dict):
        raise CheckpointError(f"{path} is damaged: its header has no recipe")
    if not isinstance(header["vocabulary"], list):
        got = type(header["vocabulary"]).__name__
        raise CheckpointError(f"{path} is damaged: expected a list of words, got {got}")
    try:
        _Header.model_validate(header)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(f"{path} is damaged: {where:.80} in its header: {first['msg']}") from None
    return header
