"""Our outputs beside a parity case's stored ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Row = tuple[str, float, float]
"""Output, largest absolute error (infinite if we have no such output, or of another shape), tolerance."""


def compare(ours: Mapping[str, Any], case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Iterator[Row]:
    """Yield a row for every output that the case lists, tolerances as it states them."""
    for output in case["outputs"]:
        yield output, _error(ours.get(output), arrays.get(output)), case["tolerances"][output]["max_abs_difference"]


def _error(ours: Any, expected: np.ndarray | None) -> float:
    if ours is None or expected is None or np.shape(ours) != np.shape(expected):
        return float("inf")
    difference = np.abs(np.asarray(ours, dtype=np.float64) - np.asarray(expected, dtype=np.float64))
    return float(difference.max(initial=0.0))
