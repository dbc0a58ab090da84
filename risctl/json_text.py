"""Reads JSON that others wrote: whatever is wrong with it is one `ValueError`."""

from __future__ import annotations

import json
from typing import Any, NoReturn

MAX_DEPTH = 64
"""Lists and mappings within each other, at most."""


def parse_json(text: str | bytes, *, max_depth: int | None = None, not_finite: bool = False) -> Any:
    """Returns the value of a JSON text.

    Args:
        text: The text; bytes are UTF-8, -16 or -32.
        max_depth: How deep lists and mappings may be nested; None: as deep as can be parsed, some 900 levels.
        not_finite: Whether `NaN` and `Infinity` are taken, which some programs write, for readers that check each
            number and name the entry.

    Raises:
        ValueError: The text is no JSON (`NaN` and `Infinity` are none), is nested too deeply, or has a number of
            thousands of digits.
    """
    try:
        value = json.loads(text, parse_constant=None if not_finite else _not_json)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if max_depth is not None and not within_depth(value, max_depth):
        raise ValueError(f"it is nested more than {max_depth} levels deep")
    return value


def parse_object(data: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Returns the object that a JSON text holds.

    Args:
        data: The text.
        max_bytes: Its length in bytes, at most.

    Raises:
        ValueError: The text is longer, no JSON (see `parse_json`), or holds something else than an object.
    """
    if len(data) > max_bytes:
        raise ValueError(f"{len(data):,} bytes are too many")
    try:
        value = parse_json(data)
    except UnicodeDecodeError as error:
        raise ValueError("it is not text") from error
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def whole_number(value: Any, *, name: str, maximum: int) -> int:
    """Returns `value`, a whole number from 0 to `maximum`. Raises `ValueError`, which has `name`, for anything else."""
    if type(value) is not int or not 0 <= value <= maximum:
        raise ValueError(f"{name} is impossible")
    return value


def writable_text(value: Any, *, name: str) -> str:
    """Returns `value`, a text that can be encoded. Raises `ValueError`, which has `name`, for anything else."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} has half of a character (a lone surrogate)") from error
    return value


def within_depth(value: Any, depth: int) -> bool:
    """Returns whether lists and mappings in `value` are nested at most `depth` levels deep."""
    level = [value]
    for _ in range(depth + 1):
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        if not inner:
            return True
        level = [one for group in inner for one in group if isinstance(one, dict | list)]
    return False


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
