"""Checks the numbers of a store before they are used: whatever a file says, no row, size or place is out of range."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from risctl.data.store import schema
from risctl.data.store.layout import Layout
from risctl.vision.images import MAX_PIXELS

Numbers = Callable[[str], np.ndarray]
"""Returns another column by its name, checked."""

# A row says where it belongs, and offsets say which rows belong to it: both must agree.
_OWNERS = {"annotations/image": "images/annotations", "sentences/ref": "refs/sentences"}
# Two rows of one id could not be told apart. (Sentences are told apart by their rows; some publishers repeat ids.)
_UNIQUE = ("images/id", "annotations/id", "categories/id")


def check(name: str, values: np.ndarray, *, layout: Layout, numbers: Numbers, start: int | None = None) -> None:
    """Raises `ValueError`, which names the column and where possible the row, unless `values` are possible.

    Args:
        name: Name of the column.
        values: Its values.
        layout: The layout of the store.
        numbers: Returns the columns that `name` is compared with, of the same rows.
        start: Of a column of which some rows were read, the first of these; what only the whole column tells is then
            left unchecked.
    """
    whole = start is None
    if name in schema.RANGES:
        last = layout.rows(schema.RANGES[name][1])
        inside = (values[0] == 0 and values[-1] == last) if whole else (values[0] >= 0 and values[-1] <= last)
        if not inside or (values[1:] < values[:-1]).any():
            raise ValueError(f"{name} are not offsets")
    elif name in schema.POINTERS:
        count = layout.rows(schema.POINTERS[name])
        _require((values >= 0) & (values < count), f"{name} points beyond its table", values)
        if name in _OWNERS and whole:
            owners = np.repeat(np.arange(count), np.diff(numbers(_OWNERS[name])))
            _require(values == owners, f"{name} contradicts {_OWNERS[name]}", values)
    elif name in _UNIQUE and whole:
        # Most are sorted as they come.
        ordered = values if (values[1:] > values[:-1]).all() else np.sort(values)
        if (ordered[1:] == ordered[:-1]).any():
            raise ValueError(f"{name.partition('/')[0]} have repeated ids")
    else:
        _check_rows(name, values, layout=layout, numbers=numbers)


def _check_rows(name: str, values: np.ndarray, *, layout: Layout, numbers: Numbers) -> None:
    """Checks what can be told of each row alone."""
    if name == "annotations/box":
        _require(np.isfinite(values).all(axis=1), f"{name} has a number that is not finite", values)
    elif name == "images/height":
        # A mask may be read without its image, so the size is bounded here, and not only by what is decoded.
        _require(values > 0, f"{name} is no height", values)
    elif name == "images/width":
        heights = numbers("images/height").astype(np.int64)
        _require((values > 0) & (heights * values <= MAX_PIXELS), f"{name} is no width, or too large", values)
    elif name == "images/length":
        _require(values >= 0, f"{name} is no length", values)
    elif name == "images/part" and not layout.linked:
        _require((values >= 0) & (values < len(layout.parts)), f"{name} points beyond the parts", values)
    elif name == "images/start" and not layout.linked:
        ends = np.array([part.length for part in layout.parts], dtype=np.int64)[numbers("images/part")]
        # By subtraction: a sum could overflow.
        room = ends - numbers("images/length")
        _require((values >= 0) & (values <= room), f"{name} leads out of its part", values)


def _require(right: np.ndarray, problem: str, values: np.ndarray) -> None:
    if not right.all():
        row = int(np.argmin(right))
        raise ValueError(f"{problem} in row {row}: {values[row].tolist()}")
