"""Parses the JSON inside a file that may be damaged or hostile: bounded, plain and without half characters."""

from __future__ import annotations

import json
from typing import Any

MAX_BYTES = 16 * 2**20
"""The layout of a store has some 100 bytes for each 64 MB of images, so this is that of many terabytes."""


def parse(data: bytes) -> dict[str, Any]:
    """Returns the object that `data` holds.

    Raises:
        ValueError: It is no JSON object, has numbers that are none (`Infinity`, `NaN`), or is too large or too deep.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"{len(data):,} bytes are too many")
    try:
        found = json.loads(data, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is no text") from error
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    return found


def whole(value: Any, *, name: str, most: int) -> int:
    """Returns `value`, a whole number from 0 to `most`. Raises `ValueError`, which has `name`, for anything else."""
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{name} is impossible")
    return value


def text(value: Any, *, name: str) -> str:
    """Returns `value`, a text that can be written. Raises `ValueError`, which has `name`, for anything else."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} has half of a character (a lone surrogate)") from error
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")
