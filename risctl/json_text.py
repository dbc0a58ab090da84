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
